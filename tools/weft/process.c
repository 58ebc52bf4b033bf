#include "tools/weft/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_FD 3

/* What a child does first: dies with its parent, ordinary signals. */
static void begin_child(pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127); /* it is gone already */
    for (int sig = 1; sig < NSIG; sig++) signal(sig, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

struct failure {
    int error;
    bool dir;
};

_Noreturn static void exec_child(const process_spec *spec, int report) {
    struct failure failure = {0};
    /* Above everything that is put in place below. */
    int out = spec->out_fd >= 0 ? fcntl(spec->out_fd, F_DUPFD, 10) : -1;
    int ready = spec->ready_fd >= 0 ? fcntl(spec->ready_fd, F_DUPFD, 10) : -1;
    report = fcntl(report, F_DUPFD_CLOEXEC, 10);
    if (spec->own_group) {
        setpgid(0, 0);
        int null = open("/dev/null", O_RDONLY);
        if (null > 0) dup2(null, 0);
    }
    if (out >= 0) {
        dup2(out, 1);
        dup2(out, 2);
    }
    if (ready >= 0) dup2(ready, READY_FD);
    close_range(ready >= 0 ? READY_FD + 1 : READY_FD, ~0U, CLOSE_RANGE_CLOEXEC);
    if (spec->dir && chdir(spec->dir) < 0) {
        failure = (struct failure){errno, true};
    } else {
        execvpe(spec->argv[0], (char *const *)spec->argv, (char *const *)spec->envp);
        failure = (struct failure){errno, false};
    }
    ssize_t told = write(report, &failure, sizeof failure);
    _exit(told == (ssize_t)sizeof failure ? 127 : 126);
}

int process_start(const process_spec *spec, pid_t *pid, const char **what) {
    if (what) *what = spec->argv[0];
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0) return errno;
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0) {
        int error = errno;
        close(report[0]);
        close(report[1]);
        return error;
    }
    if (child == 0) {
        begin_child(parent);
        exec_child(spec, report[1]);
    }
    if (spec->own_group) setpgid(child, child); /* both do it: neither order is a race */
    close(report[1]);
    struct failure failure = {0};
    ssize_t n;
    while ((n = read(report[0], &failure, sizeof failure)) < 0 && errno == EINTR) {}
    close(report[0]);
    if (n != (ssize_t)sizeof failure) {
        *pid = child;
        return 0;
    }
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
    if (failure.dir && what) *what = spec->dir;
    return failure.error;
}

int process_fork(int (*run)(void *user, int fd), void *user, pid_t *pid, int *fd_out) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return errno;
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0) {
        int error = errno;
        close(ends[0]);
        close(ends[1]);
        return error;
    }
    if (child == 0) {
        begin_child(parent);
        int fd = dup2(ends[1], READY_FD);
        for (int i = 0; i < 3; i++) {
            int null = open("/dev/null", O_RDWR);
            dup2(null, i);
            if (null > READY_FD) close(null);
        }
        close_range(READY_FD + 1, ~0U, 0);
        _exit(run(user, fd));
    }
    close(ends[1]);
    *pid = child;
    *fd_out = ends[0];
    return 0;
}

/* ---- guard ------------------------------------------------------------------------------------------ */

#define GUARDED_MAX 4096

/* Reads process ids, negative ones to forget, until the writer is gone. */
_Noreturn static void guard_groups(int fd) {
    static pid_t groups[GUARDED_MAX];
    size_t count = 0;
    pid_t told;
    ssize_t n;
    while ((n = read(fd, &told, sizeof told)) == (ssize_t)sizeof told ||
           (n < 0 && errno == EINTR)) {
        if (n < 0) continue;
        if (told > 0 && count < GUARDED_MAX) groups[count++] = told;
        for (size_t i = 0; told < 0 && i < count; i++)
            if (groups[i] == -told) groups[i--] = groups[--count];
    }
    for (size_t i = 0; i < count; i++) kill(-groups[i], SIGKILL);
    _exit(0);
}

int process_guard_start(void) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return -1;
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0); /* ctrl-C is not for it */
        int fd = dup2(ends[0], READY_FD);
        for (int i = 0; i < 3; i++) {
            int null = open("/dev/null", O_RDWR);
            dup2(null, i);
            if (null > READY_FD) close(null);
        }
        close_range(READY_FD + 1, ~0U, 0);
        guard_groups(fd);
    }
    close(ends[0]);
    if (child > 0) return ends[1];
    close(ends[1]);
    return -1;
}

static void tell_guard(int guard, pid_t told) {
    ssize_t n;
    while (guard >= 0 && (n = write(guard, &told, sizeof told)) < 0 && errno == EINTR) {}
}

void process_guard_add(int guard, pid_t leader) { tell_guard(guard, leader); }

void process_guard_remove(int guard, pid_t leader) { tell_guard(guard, -leader); }

/* ---- ending ----------------------------------------------------------------------------------------- */

void process_signal_group(pid_t leader, int sig) {
    if (leader > 1 && kill(-leader, sig) < 0 && errno == ESRCH) kill(leader, sig);
}

char *process_describe(int status, char out[64]) {
    if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        snprintf(out, 64, "killed by SIG%s%s", name ? name : "?",
                 WCOREDUMP(status) ? " (core dumped)" : "");
    } else {
        snprintf(out, 64, "exit status %d", WEXITSTATUS(status));
    }
    return out;
}

int process_exit_code(int status) {
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static size_t kill_children(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *list = fopen(path, "re");
    if (!list) return 0;
    size_t killed = 0;
    int pid;
    while (fscanf(list, "%d", &pid) == 1)
        if (kill(pid, SIGKILL) == 0) killed++;
    fclose(list);
    return killed;
}

size_t process_kill_all(void) {
    size_t killed = 0;
    for (;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid > 0) continue;
        if (pid < 0) return killed; /* no child is left */
        size_t now = kill_children();
        if (now == 0) return killed; /* cannot see them: no /proc */
        killed += now;
        /* Each death orphans the next generation to us: wait for one, look again. */
        while (waitpid(-1, NULL, 0) < 0 && errno == EINTR) {}
    }
}
