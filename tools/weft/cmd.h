/* The subcommands of `weft`: one struct each, in its cmd_<name>.c, all listed in cmd.c. */
#ifndef TOOLS_WEFT_CMD_H
#define TOOLS_WEFT_CMD_H

#include <stdio.h>

#include "weft/arena.h"
#include "weft/flags.h"

/* Exit codes every command keeps to; what else a command returns stands in its `more`. */
enum {
    EXIT_OK = 0,
    EXIT_FAILED = 1,     /* it was tried and did not work */
    EXIT_USAGE = 2,      /* flags, arguments or a file given to it are wrong; nothing was done */
    EXIT_UNREACHABLE = 3 /* nobody listens there */
};

/* What a command's run function gets. */
typedef struct cmd_args {
    const struct cmd *cmd;
    weft_arena *arena;       /* freed when the command returns */
    const char *const *args; /* what was no flag, before "--"; then NULL */
    size_t count;
    const char *const *rest; /* what followed "--"; then NULL. NULL when there was no "--" */
} cmd_args;

struct cmd {
    const char *name;
    const char *usage;      /* its arguments: "FILE [-- COMMAND…]" */
    const char *summary;    /* half a line, for the list */
    const char *about;      /* what it does, for its --help */
    const char *more;       /* examples and exit codes, printed below the flags */
    const weft_flag *flags; /* targets are static: a command runs once per process */
    size_t flag_count;
    const char *const
        *words; /* what its first argument may be, then NULL; NULL: files or anything */
    int (*run)(const cmd_args *in);
    int (*raw)(
        int argc,
        char **argv); /* instead of all the above: parses its own flags; argv[0] is its name */
};

/* Rows of flag tables that several commands have: NAME, LETTER (0: none), what it sets, what help calls the
 * value, help. */
#define CMD_STRING(name_, letter_, to_, value_, help_)                                      \
    {                                                                                       \
        .name = (name_), .letter = (letter_), .type = WEFT_FLAG_STRING, .to.string = (to_), \
        .value = (value_), .help = (help_)                                                  \
    }
#define CMD_LIST(name_, letter_, to_, value_, help_)                                    \
    {                                                                                   \
        .name = (name_), .letter = (letter_), .type = WEFT_FLAG_LIST, .to.list = (to_), \
        .value = (value_), .help = (help_)                                              \
    }
#define CMD_BOOL(name_, letter_, to_, help_)                                               \
    {                                                                                      \
        .name = (name_), .letter = (letter_), .type = WEFT_FLAG_BOOL, .to.boolean = (to_), \
        .help = (help_)                                                                    \
    }

/* -o, for people or for programs: sets an int to one of these. */
enum { CMD_TEXT, CMD_JSON };
extern const char *const cmd_formats[];
#define CMD_OUTPUT(to_, help_)                                                       \
    {                                                                                \
        .name = "output", .letter = 'o', .type = WEFT_FLAG_ENUM, .to.choice = (to_), \
        .choices = cmd_formats, .initial = "text", .help = (help_)                   \
    }

/* The commands in the order of the list that `weft help` prints; NULL past the end, and for an unknown name. */
const struct cmd *cmd_at(size_t index);
const struct cmd *cmd_find(const char *name);
/* The most similar name, or NULL. */
const char *cmd_suggest(const char *name);

/* Runs one command; argv[0] is its name. */
int cmd_execute(const struct cmd *cmd, int argc, char **argv);
/* The whole program: finds the command, parses its flags, runs it; returns the exit code. */
int cmd_main(int argc, char **argv);

/* --help of a command, and of weft itself. */
void cmd_print_help(const struct cmd *cmd, FILE *out);
void cmd_print_overview(FILE *out);

/* Prints "weft up: <text>" and where to read on, on standard error; returns EXIT_USAGE. */
int cmd_usage_error(const struct cmd *cmd, const char *format, ...) WEFT_PRINTF(2, 3);

/* "error: <text>" on standard error. */
void cmd_error(const char *format, ...) WEFT_PRINTF(1, 2);

/* The folder of the running program, in `arena`; NULL when it cannot be known. */
const char *cmd_program_dir(weft_arena *arena);

extern const struct cmd cmd_call, cmd_completion, cmd_dev_certs, cmd_gen, cmd_help, cmd_run, cmd_up,
    cmd_version, cmd_trace, cmd_logs;

#endif
