/* Real processes for integration tests: start, wait until ready, end, and a folder to work in.
 * Everything a test leaves behind is in its folder and its session; nothing sleeps where it can
 * wait. */
#ifndef TESTS_SUPPORT_PROC_H
#define TESTS_SUPPORT_PROC_H

#include <stdbool.h>
#include <sys/types.h>

typedef struct proc {
    pid_t pid; /* 0: not running */
    int ready; /* read end of the pipe behind WEFT_READY_FD, or -1 */
    char name[32];
    char log[256]; /* its standard output and error */
} proc;

/* A new folder that only we can enter, below TMPDIR or /tmp. Exits the test when that fails. */
void proc_make_dir(char *path, size_t size);
/* Removes it and all in it. */
void proc_remove_dir(const char *path);

/* $BUILD/bin/<name> (BUILD: build), in a static buffer a name. */
const char *proc_program(const char *name);

/* Starts argv[0] with our environment and `env` ("NAME=value"; later ones win; NULL ends). Its
 * output is appended to `log`. false when it could not be started (a sentence is on standard
 * error). */
bool proc_start(proc *p, const char *name, const char *const *argv, const char *const *env,
                const char *log);

/* Waits until it says on WEFT_READY_FD that it is ready, or, if it knows nothing of that, until
 * `socket` (a path, may be NULL) can be connected to. false when it ended or `seconds` passed. */
bool proc_wait_ready(proc *p, const char *socket, int seconds);

/* Waits for its end; -1 when it is still running after `seconds`, else its wait status. */
int proc_wait(proc *p, int seconds);

/* Sends a signal and waits for the end, killing it after 20 s. Returns the wait status; 0 if it
 * was not running. */
int proc_end(proc *p, int signal_number);

/* Copies the end of its log to standard error, for a test that failed. */
void proc_show_log(const proc *p);

#endif
