/* One table describes a program's settings; from it come the command line, the environment, config files,
 * the --help text and the reference page, so that they cannot disagree.
 *
 *     struct { weft_addr listen; int64_t drain; bool verbose; } o;
 *     const weft_flag table[] = {
 *         {.name = "listen", .letter = 'l', .type = WEFT_FLAG_ADDRESS, .to.address = &o.listen,
 *          .env = "WEFT_LISTEN", .initial = "127.0.0.1:0", .help = "Where to listen."},
 *         {.name = "drain", .type = WEFT_FLAG_DURATION, .to.duration = &o.drain,
 *          .initial = "10s", .min = "0", .max = "1h", .help = "How long to wait for open calls."},
 *         {.name = "verbose", .letter = 'v', .type = WEFT_FLAG_BOOL, .to.boolean = &o.verbose,
 *          .help = "Say more."},
 *     };
 *     weft_flags flags = {.program = "weft-sidecar", .table = table, .count = WEFT_COUNT(table)};
 *     int rc = weft_flags_load(&flags, arena, argc, argv, &problems);
 *
 * A value comes from, the strongest first: the command line, the environment, a config file, the initial
 * value. One thread at a time. */
#ifndef WEFT_FLAGS_H
#define WEFT_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/addr.h"
#include "weft/arena.h"
#include "weft/buf.h"
#include "weft/diag.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* How a value is written is in num.h (int, double, bool, duration, size) and addr.h (address). */
typedef enum weft_flag_type {
    WEFT_FLAG_STRING, /* min and max are lengths in bytes */
    WEFT_FLAG_INT,    /* int64_t */
    WEFT_FLAG_DOUBLE,
    WEFT_FLAG_BOOL,     /* --name, --no-name, --name=false; never takes the next argument */
    WEFT_FLAG_DURATION, /* ns */
    WEFT_FLAG_SIZE,     /* bytes */
    WEFT_FLAG_ADDRESS,
    WEFT_FLAG_ENUM, /* one of `choices`; the target gets its position */
    WEFT_FLAG_LIST  /* strings; given again adds one; in the environment separated by commas */
} weft_flag_type;

typedef struct weft_flag_list {
    const char *const *items;
    size_t count;
} weft_flag_list;

/* One row. Everything but name, type and `to` may be left out. All pointers must outlive the weft_flags. */
typedef struct weft_flag {
    const char *name; /* "max-streams": lower case, digits, '-'; also the key in config files */
    char letter;      /* 'm' for -m */
    bool required;    /* must come from somewhere */
    bool hidden;      /* works, but is in no help text or page */
    weft_flag_type type;
    union { /* where the value goes: the member that `type` names; strings live in the arena */
        const char **string;
        int64_t *integer;
        double *real;
        bool *boolean;
        int64_t *duration;
        uint64_t *size;
        weft_addr *address;
        int *choice;
        weft_flag_list *list;
    } to;
    const char *env;     /* "WEFT_MAX_STREAMS"; an empty variable counts as not set */
    const char *initial; /* NULL: the target keeps what it holds */
    const char *min;     /* the range, both ends allowed, written like a value */
    const char *max;
    const char *const *choices; /* WEFT_FLAG_ENUM: the names, then NULL */
    const char *value;          /* what help calls the value, "FILE"; NULL: named after the type */
    const char *help;           /* one or more sentences */
} weft_flag;

/* Where a value came from, weakest first. */
typedef enum weft_flag_source {
    WEFT_FLAG_UNSET,
    WEFT_FLAG_INITIAL,
    WEFT_FLAG_FILE,
    WEFT_FLAG_ENV,
    WEFT_FLAG_ARGS
} weft_flag_source;

typedef struct weft_flags {
    /* Set by the caller. */
    const char *program; /* "weft-sidecar" */
    const char *usage;   /* what follows the flags, "COMMAND [ARGUMENT...]", or NULL */
    const char *about;   /* a sentence or two for --help, or NULL */
    const weft_flag *table;
    size_t count;
    bool
        stop_early; /* the first argument that is no flag ends the flags, as for `run COMMAND -x` */

    /* Set by weft_flags_load. */
    const char **args; /* what was no flag, in order, pointing into argv; then NULL */
    size_t args_count;
    bool help; /* --help or -h was given (unless the table has its own): print and exit 0 */

    /* Private. */
    weft_arena *arena;
    unsigned char *sources; /* a weft_flag_source for each row */
} weft_flags;

/* Fills the targets from initial values, the environment, then argv[1] and on ("--name value",
 * "--name=value", "-n value", "-nvalue", "-xyn value" for switches x and y, "--" ends the flags). Strings
 * and lists are copied into `arena`, which must outlive their use. Every problem is reported to
 * `problems` (may be NULL) with the flag or variable as its path, and the range or the nearest name.
 * WEFT_EPARSE if there was one (targets then hold whatever was good); WEFT_ENOMEM. When --help is given,
 * missing required flags are no problem. argv is not changed. */
int weft_flags_load(weft_flags *flags, weft_arena *arena, int argc, const char *const *argv,
                    weft_diags *problems) WEFT_MUST_USE;

/* Gives flag `name` the value `text` on behalf of `source`, after _load: for config files. Ignored, but
 * checked, when the flag has a value of a stronger source. The problem is reported at file:line:column.
 * WEFT_ENOTFOUND for an unknown name, WEFT_EPARSE for a bad value, WEFT_ENOMEM. To let a file satisfy a
 * required flag, leave `required` out of the table and test weft_flags_source. */
int weft_flags_set(weft_flags *flags, const char *name, const char *text, weft_flag_source source,
                   weft_diags *problems, const char *file, int line, int column) WEFT_MUST_USE;

/* Where the present value of `name` came from; WEFT_FLAG_UNSET also for an unknown name. */
weft_flag_source weft_flags_source(const weft_flags *flags, const char *name);

/* Checks the table itself: names and letters well-formed and unique, targets and choices present, ranges
 * and initial values good. For a unit test of each program; needs no _load. 0 or WEFT_EINVAL. */
int weft_flags_check(const weft_flags *flags, weft_diags *problems) WEFT_MUST_USE;

/* Checks `text` against a row and, if `store`, writes its target; strings are copied into `arena`. On
 * WEFT_EPARSE *why, made in `arena`, says what is wrong and what is allowed, and *hint (either may be
 * NULL) what to write instead, or is NULL. A list gets one more item. */
int weft_flag_parse(const weft_flag *flag, const char *text, weft_arena *arena, bool store,
                    const char **why, const char **hint) WEFT_MUST_USE;

/* Appends the --help text, wrapped at 80 columns, or the same as a Markdown table. The result is that of
 * the buffer: 0, WEFT_ENOMEM or WEFT_ELIMIT. */
int weft_flags_help(const weft_flags *flags, weft_buf *out);
int weft_flags_markdown(const weft_flags *flags, weft_buf *out);

/* What help calls the value of a row, "DURATION"; NULL for a switch. */
const char *weft_flag_value_name(const weft_flag *flag);

/* Appends the allowed range or choices, "1ms to 1h", "at least 1", "debug, info or warn"; nothing when
 * there is no limit. */
int weft_flag_add_range(const weft_flag *flag, weft_buf *out);

#ifdef __cplusplus
}
#endif
#endif
