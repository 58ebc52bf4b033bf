/* Starting and ending processes. One thread: fork is used without exec in places. */
#ifndef TOOLS_WEFT_PROCESS_H
#define TOOLS_WEFT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct process_spec {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH if it has no slash */
    const char *const *envp; /* NULL-terminated */
    const char *dir;         /* to run in; NULL: here */
    bool own_group;          /* a process group of its own, standard input from /dev/null */
    int out_fd;              /* becomes 1 and 2; -1: ours */
    int ready_fd;            /* becomes 3; -1: none */
} process_spec;

/* Starts a program that dies with this process (PR_SET_PDEATHSIG). Returns 0 and *pid, or a positive errno and in
 * *what, if not NULL, the name of the thing that failed: the program or the folder. The child has the default
 * signal mask and actions and none of our other descriptors. */
int process_start(const process_spec *spec, pid_t *pid, const char **what)
    __attribute__((warn_unused_result));

/* Forks a process that dies with this one and calls `run(user, fd)` and exits with what that returns; `fd` is the
 * writing end of the pipe whose reading end is *fd_out, and its only descriptor above 2; standard streams are
 * /dev/null. Returns 0 or a positive errno. */
int process_fork(int (*run)(void *user, int fd), void *user, pid_t *pid, int *fd_out)
    __attribute__((warn_unused_result));

/* Sends `sig` to the process group of `leader`, which we have not reaped yet. */
void process_signal_group(pid_t leader, int sig);

/* "exit status 3" or "killed by SIGSEGV"; returns out. */
char *process_describe(int status, char out[64]);

/* What a shell would return for it: the exit code, or 128 + signal. */
int process_exit_code(int status);

/* A guard: a process that outlives this one for a moment, should this one be killed, and kills the process groups
 * it was told of. PR_SET_PDEATHSIG does that for our children; this does it for theirs. Returns the descriptor
 * through which it is told, or -1 when it could not be started; closing it with no group left ends it. */
int process_guard_start(void);
void process_guard_add(int guard, pid_t leader);
void process_guard_remove(int guard, pid_t leader);

/* Kills and reaps all children, also those that orphaned grandchildren became by PR_SET_CHILD_SUBREAPER.
 * Returns how many it had to kill. */
size_t process_kill_all(void);

#endif
