/* Inside of `weft gen`.
 *
 *   cli.c         flags, the order of everything, what is printed
 *   cli_files.c   inputs and import folders, the temporary folder, moving what changed
 *   cli_run.c     finding and running protoc
 *   cli_errors.c  protoc's words, made precise */
#ifndef CODEGEN_CLI_H
#define CODEGEN_CLI_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "weft/arena.h"
#include "weft/buf.h"
#include "weft/diag.h"
#include "weft/flags.h"

typedef struct cli_names { /* a growing list of strings in the arena */
    const char **items;
    size_t count, cap;
} cli_names;

typedef struct cli_output {
    const char *from, *to; /* the temporary file, its place */
    bool changed;
} cli_output;

typedef struct cli {
    weft_arena *arena;
    weft_diags errors, warnings;

    const char *out, *prefix, *protoc, *plugin, *protoc_gen_c, *descriptor_set;
    weft_flag_list imports;
    bool messages, list, check;
    int format;       /* 0 text, 1 json */
    sigset_t signals; /* the mask of before; ^C waits until the temporary folder is gone */

    cli_names roots;    /* import folders, in order */
    cli_names inputs;   /* "root/shop/v1/user.proto" */
    const char *temp;   /* the temporary folder, or NULL */
    const char *anchor; /* the folder it is in */
    cli_output *outputs;
    size_t output_count, output_cap;
} cli;

void cli_add(cli *c, cli_names *names, const char *name);
const char *cli_join(cli *c, const char *folder, const char *name);

/* ---- cli_files.c: each returns 0 or the exit code, with the reason in c->errors ---- */

int cli_find_roots(cli *c);
int cli_find_inputs(cli *c, const char *const *args, size_t count);
int cli_make_temp(cli *c);
void cli_remove_temp(cli *c);
/* What protoc made, compared with what is there. */
int cli_compare(cli *c);
int cli_move(cli *c);
/* Regular files below `folder` whose name ends with `ending`, sorted, at most `max`; folders
 * whose names begin with '.' are skipped. */
void cli_walk(cli *c, const char *folder, const char *ending, size_t max, cli_names *found);

/* ---- cli_run.c ------------------------------------------------------------------------------- */

int cli_run_protoc(cli *c);

/* ---- cli_errors.c ---------------------------------------------------------------------------- */

/* Sorts protoc's standard error into c->errors and c->warnings. */
void cli_read_errors(cli *c, const char *text);
/* The file of the most similar name, or NULL. */
const char *cli_suggest_file(cli *c, const char *name, const cli_names *files);

#endif
