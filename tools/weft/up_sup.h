/* The supervisor behind `weft up`: one thread, one poll loop; children, pipes, timers and signals are its
 * events. up_sup.c decides (order, restarts, stopping), up_instance.c does (processes, pipes, readiness). */
#ifndef TOOLS_WEFT_UP_SUP_H
#define TOOLS_WEFT_UP_SUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tools/weft/up_out.h"
#include "tools/weft/up_plan.h"
#include "weft/addr.h"

typedef struct up_options {
    const char *runtime_dir;    /* sockets; owner-only; exists */
    const char *state_dir;      /* data of the services; exists */
    const char *bin_dir;        /* ${bin} */
    const char *const *command; /* runs once all are ready, NULL-terminated; NULL: none */
    const char *env_file;       /* written once all are ready; NULL: none */
    const up_var
        *variables; /* for the command, NULL-named at the end; NULL: addresses of all services */
    int64_t command_grace_ns; /* SIGTERM to SIGKILL of the command; 0: 10 s */
    bool run;                 /* as `weft run`: the command is what this is about, see up_sup.c */
    up_out *out;
} up_options;

/* Runs the plan until a signal, the end of the command or a failure, then stops everything in order. Returns
 * the exit code: 0 after SIGINT or SIGTERM, the command's, or 1 when a service failed. Signals are blocked and
 * SIGPIPE is ignored from here on; when it returns no child is left. */
int up_run(const up_plan *plan, const up_options *options);

/* ---- inside ----------------------------------------------------------------------------------------- */

typedef enum up_state {
    UP_WAITING,  /* for what it uses */
    UP_STARTING, /* runs, not known to be ready */
    UP_READY,
    UP_BACKOFF,  /* ended, starts again at restart_at */
    UP_STOPPING, /* told to end */
    UP_DONE,     /* ended by itself and that is fine */
    UP_ENDED     /* ended on our word, or never started */
} up_state;

#define UP_LAST_LINES 12
#define UP_LINE_MAX (64 * 1024)

/* Invariant: pid > 0 exactly in STARTING, READY and STOPPING; descriptors are -1 when there is none. */
typedef struct up_instance {
    struct up_sup *sup;
    const up_service *service;
    up_instance_names names;
    up_voice voice;
    weft_addr addr; /* parsed names.listen */
    up_state state;
    pid_t pid;
    pid_t probe_pid;
    int out_fd, ready_fd, probe_fd;
    int64_t started, ready_at;  /* monotonic ns */
    int64_t next_try, try_wait; /* connect_try, while nothing listens; next_try 0: not now */
    int64_t restart_at, kill_at;
    unsigned restarts; /* in a row */
    bool was_ready;
    bool killed;               /* by us, after the grace */
    weft_buf line;             /* of output, not complete yet */
    char *last[UP_LAST_LINES]; /* ring of weft_malloc'ed lines, for reports */
    size_t last_count;
    char reason[200]; /* why it is not ready, "" if nothing is known */
} up_instance;

typedef struct up_sup {
    const up_plan *plan;
    const up_options *options;
    up_out *out;
    weft_arena *arena;
    up_instance *instances; /* those of a service stand together */
    size_t count;
    size_t *first; /* of each service: index of its first instance */
    int signal_fd;
    int guard; /* see process_guard_start; -1: none */
    int64_t began;
    pid_t command_pid; /* 0: not running */
    int64_t command_kill_at;
    int command_code;
    bool announced; /* everything was ready once */
    bool stopping;
    int signals; /* stop signals received */
    int code;
    weft_buf failure; /* what is printed at the end; empty: nothing failed */
} up_sup;

/* Fills names, address and directories of every instance. 0 or a negative WEFT_E…, reported. */
int up_instances_prepare(up_sup *sup) WEFT_MUST_USE;
void up_instances_free(up_sup *sup);

/* Starts the process. 0, or a positive errno with the reason in `reason`. */
int up_instance_start(up_instance *in) WEFT_MUST_USE;
/* SIGTERM to its group; SIGKILL after the grace (see up_instance_timers). */
void up_instance_stop(up_instance *in);
void up_instance_kill(up_instance *in);
/* Reads a piece of its output; complete lines are printed. */
typedef enum up_read { UP_READ_END, UP_READ_LATER, UP_READ_MORE } up_read;
up_read up_instance_read(up_instance *in);
/* No more output: an unfinished line is printed. */
void up_instance_close_output(up_instance *in);
/* Events of readiness. They return true when the instance has just become ready. */
bool up_instance_ready_event(up_instance *in);
bool up_instance_probe_event(up_instance *in);
/* Its process was reaped: reads the rest, closes everything, ends what is left of its group. */
void up_instance_ended(up_instance *in);
/* Looks whether it listens by now, when it is time to. */
void up_instance_try(up_instance *in, int64_t now);

/* The last lines it printed, indented, one a line. */
void up_instance_last_lines(const up_instance *in, weft_buf *out);

/* The environment for the command, and for shells: WEFT_UPSTREAM_* of all services and WEFT_NAMESPACE. Arena. */
const char *const *up_command_env(up_sup *sup) WEFT_MUST_USE;
/* Writes them as `export NAME='value'` lines, owner-only, whole or not at all. 0 or a positive errno. */
int up_write_env_file(up_sup *sup, const char *path) WEFT_MUST_USE;

#endif
