#include "tests/support/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define ENV_MAX 512
#define READY_FD 3 /* in the child */

static long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

void proc_make_dir(char *path, size_t size) {
    const char *base = getenv("TMPDIR");
    (void)snprintf(path, size, "%s/weft-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(path)) {
        perror(path);
        exit(1);
    }
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void proc_remove_dir(const char *path) { (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

const char *proc_program(const char *name) {
    static struct { char name[32], path[512]; } known[8];
    const char *build = getenv("BUILD");
    size_t i = 0;
    while (i + 1 < 8 && known[i].name[0] && strcmp(known[i].name, name) != 0) i++;
    (void)snprintf(known[i].name, sizeof known[i].name, "%s", name);
    (void)snprintf(known[i].path, sizeof known[i].path, "%s/bin/%s", build ? build : "build", name);
    return known[i].path;
}

/* Ours without what `extra` sets, then `extra`. */
static void merge_env(const char *const *extra, char **out) {
    size_t n = 0;
    for (char **e = environ; *e && n < ENV_MAX - 1; e++) {
        const size_t len = strcspn(*e, "=") + 1;
        bool replaced = false;
        for (size_t i = 0; extra && extra[i]; i++) replaced |= strncmp(extra[i], *e, len) == 0;
        if (!replaced) out[n++] = *e;
    }
    for (size_t i = 0; extra && extra[i] && n < ENV_MAX - 1; i++) out[n++] = (char *)extra[i];
    out[n] = NULL;
}

bool proc_start(proc *p, const char *name, const char *const *argv, const char *const *env,
                const char *log) {
    int ends[2];
    const char *with_ready[ENV_MAX] = {"WEFT_READY_FD=3"};
    char *merged[ENV_MAX];
    for (size_t i = 0; env && env[i] && i + 2 < ENV_MAX; i++) with_ready[i + 1] = env[i];
    merge_env(with_ready, merged);
    if (pipe2(ends, O_CLOEXEC)) {
        perror("pipe");
        return false;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    posix_spawn_file_actions_adddup2(&actions, ends[1], READY_FD);
    *p = (proc){.ready = ends[0]};
    (void)snprintf(p->name, sizeof p->name, "%s", name);
    (void)snprintf(p->log, sizeof p->log, "%s", log);
    /* dup2 onto itself would keep the close-on-exec flag. */
    if (ends[1] == READY_FD) (void)fcntl(ends[1], F_SETFD, 0);
    const int error = posix_spawn(&p->pid, argv[0], &actions, NULL, (char **)argv, merged);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (!error) return true;
    fprintf(stderr, "%s: cannot start: %s\n", argv[0], strerror(error));
    close(ends[0]);
    *p = (proc){.ready = -1};
    return false;
}

static bool can_connect(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || strlen(path) >= sizeof address.sun_path) return false;
    memcpy(address.sun_path, path, strlen(path) + 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool good = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0) close(fd);
    return good;
}

/* A byte on the pipe is the sign; its end without one only says that the program does not know
 * the protocol. */
bool proc_wait_ready(proc *p, const char *path, int seconds) {
    const long long end = now_ms() + seconds * 1000LL;
    while (now_ms() < end) {
        struct pollfd one = {.fd = p->ready, .events = POLLIN};
        const int got = poll(&one, 1, 20);
        char byte;
        if (got > 0 && p->ready >= 0) {
            const bool said = read(p->ready, &byte, 1) == 1;
            close(p->ready);
            p->ready = -1;
            if (said) return true;
        }
        if (p->ready < 0 && can_connect(path)) return true;
        int status;
        if (p->pid > 0 && waitpid(p->pid, &status, WNOHANG) == p->pid) {
            fprintf(stderr, "%s ended before it was ready (status 0x%x)\n", p->name, status);
            p->pid = 0;
            return false;
        }
    }
    fprintf(stderr, "%s was not ready after %d s\n", p->name, seconds);
    return can_connect(path);
}

static void forget(proc *p) {
    if (p->ready >= 0) close(p->ready);
    p->ready = -1;
    p->pid = 0;
}

/* A pidfd becomes readable when the process ends: no polling. */
int proc_wait(proc *p, int seconds) {
    int status = 0;
    if (p->pid <= 0) return 0;
    const int fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    struct pollfd one = {.fd = fd, .events = POLLIN};
    if (fd >= 0) {
        while (poll(&one, 1, seconds * 1000) < 0 && errno == EINTR) {}
        close(fd);
    }
    if (waitpid(p->pid, &status, WNOHANG) != p->pid) return -1;
    forget(p);
    return status;
}

int proc_end(proc *p, int signal_number) {
    if (p->pid <= 0) return 0;
    (void)kill(p->pid, signal_number);
    int status = proc_wait(p, 20);
    if (status != -1) return status;
    fprintf(stderr, "%s did not end on signal %d\n", p->name, signal_number);
    (void)kill(p->pid, SIGKILL);
    status = proc_wait(p, 20);
    return status;
}

void proc_show_log(const proc *p) {
    FILE *in = fopen(p->log, "r");
    if (!in) return;
    fprintf(stderr, "---- the end of %s\n", p->log);
    if (fseek(in, -4000, SEEK_END)) rewind(in);
    char line[1024];
    while (fgets(line, sizeof line, in)) fputs(line, stderr);
    fputs("----\n", stderr);
    fclose(in);
}
