#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/codegen/cg.h"
#include "tools/codegen/cli.h"

#define MAX_ASKED 500 /* inputs looked at on their own after a failure */

extern char **environ;

static const char *own_folder(cli *c) {
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n <= 0) return NULL;
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash) return NULL;
    *slash = '\0';
    return cg_strdup(c->arena, path);
}

static const char *in_path(cli *c, const char *program) {
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t len = strcspn(path, ":");
        const char *full = cli_join(c, len ? cg_strndup(c->arena, path, len) : ".", program);
        if (access(full, X_OK) == 0)
            return strchr(full, '/') ? full : cg_printf(c->arena, "./%s", full);
        path += len + (path[len] == ':');
    }
    return NULL;
}

/* The program a flag names, else the one beside us, else the one in PATH. */
static const char *find_program(cli *c, const char *given, const char *name, const char *hint) {
    const char *folder = own_folder(c);
    const char *found = given;
    if (!given && folder) {
        found = cli_join(c, folder, name);
        if (access(found, X_OK) != 0) found = NULL;
    }
    if (given && !strchr(given, '/')) found = in_path(c, given);
    if (!found) found = in_path(c, given ? given : name);
    if (found && access(found, X_OK) == 0) return found;
    weft_diag_add(&c->errors, NULL, 0, 0, NULL, hint, "cannot find the program %s",
                  given ? given : name);
    return NULL;
}

/* Import folders beside the program: what `make install` puts there. */
static void add_installed_root(cli *c, cli_names *args) {
    const char *folder = own_folder(c);
    if (!folder) return;
    const char *protos = cg_printf(c->arena, "%s/../share/weft/proto", folder);
    if (access(protos, R_OK) == 0) cli_add(c, args, cg_printf(c->arena, "-I%s", protos));
}

static int start(const cli *c, const char *const *args, int err, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error) return error;
    error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!error) error = posix_spawn_file_actions_adddup2(&actions, err, STDOUT_FILENO);
    if (!error) error = posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
    posix_spawnattr_t how;
    posix_spawnattr_init(&how);
    posix_spawnattr_setsigmask(&how, &c->signals);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK);
    if (!error)
        error = posix_spawn(pid, args[0], &actions, &how, (char **)(uintptr_t)args, environ);
    posix_spawnattr_destroy(&how);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static void drain(int fd, weft_buf *out) {
    for (;;) {
        char *to = weft_buf_reserve(out, 4096);
        if (!to) return;
        ssize_t n = read(fd, to, 4096);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        weft_buf_commit(out, (size_t)n);
    }
}

/* Runs a program and appends what it says to `out`; its wait status, or -1, reported. */
static int run(cli *c, const char *const *args, weft_buf *out) {
    int ends[2], status = 0;
    pid_t pid;
    int error = pipe2(ends, O_CLOEXEC) < 0 ? errno : 0;
    if (!error) {
        error = start(c, args, ends[1], &pid);
        close(ends[1]);
        if (error) close(ends[0]);
    }
    if (error) {
        weft_diag_add(&c->errors, NULL, 0, 0, NULL, NULL, "cannot run %s: %s", args[0],
                      strerror(error));
        return -1;
    }
    drain(ends[0], out);
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    return status;
}

/* protoc stops at the first input that is wrong: it is asked about each of the others, too, so
 * that all problems are seen at once. */
static void ask_again(cli *c, const cli_names *front, weft_buf *out) {
    for (size_t i = 0; i < c->inputs.count && i < MAX_ASKED; i++) {
        cli_names args = {0};
        for (size_t k = 0; k < front->count; k++) cli_add(c, &args, front->items[k]);
        cli_add(c, &args, "--descriptor_set_out=/dev/null");
        cli_add(c, &args, c->inputs.items[i]);
        cli_add(c, &args, NULL);
        if (run(c, args.items, out) < 0) return;
    }
}

static int judge(cli *c, const char *program, int status, const weft_buf *said) {
    cli_read_errors(c, weft_buf_str(said));
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!good && !c->errors.count)
        weft_diag_add(&c->errors, NULL, 0, 0, NULL, NULL,
                      WIFSIGNALED(status) ? "%s was killed by signal %d" : "%s ended with code %d",
                      program, WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return good && !c->errors.count ? 0 : 1;
}

int cli_run_protoc(cli *c) {
    const char *protoc =
        find_program(c, c->protoc, "protoc", "install protobuf-compiler, or say --protoc PATH");
    const char *plugin = find_program(c, c->plugin, "protoc-gen-weft",
                                      "it belongs beside weft; or say --plugin PATH");
    if (!protoc || !plugin) return 1;
    const char *code = cli_join(c, c->temp, "code");
    if (mkdir(code, 0777) < 0) {
        weft_diag_add(&c->errors, code, 0, 0, NULL, NULL, "cannot make this folder: %s",
                      strerror(errno));
        return 1;
    }
    cli_names args = {0};
    cli_add(c, &args, protoc);
    cli_add(c, &args, "--error_format=gcc");
    for (size_t i = 0; i < c->roots.count; i++)
        cli_add(c, &args, cg_printf(c->arena, "-I%s", c->roots.items[i]));
    add_installed_root(c, &args);
    cli_names front = {0};
    for (size_t i = 0; i < args.count; i++) cli_add(c, &front, args.items[i]);
    cli_add(c, &args, cg_printf(c->arena, "--plugin=protoc-gen-weft=%s", plugin));
    cli_add(c, &args, cg_printf(c->arena, "--weft_out=%s", code));
    if (c->messages) cli_add(c, &args, "--weft_opt=messages");
    if (c->prefix) cli_add(c, &args, cg_printf(c->arena, "--weft_opt=prefix=%s", c->prefix));
    if (c->protoc_gen_c)
        cli_add(c, &args, cg_printf(c->arena, "--weft_opt=protoc_gen_c=%s", c->protoc_gen_c));
    if (c->descriptor_set) {
        cli_add(c, &args,
                cg_printf(c->arena, "--descriptor_set_out=%s", cli_join(c, c->temp, "set")));
        cli_add(c, &args, "--include_imports");
        cli_add(c, &args, "--include_source_info");
    }
    for (size_t i = 0; i < c->inputs.count; i++) cli_add(c, &args, c->inputs.items[i]);
    cli_add(c, &args, NULL);
    weft_buf said;
    weft_buf_init(&said, 16u << 20);
    int status = run(c, args.items, &said);
    if (status > 0 && c->inputs.count > 1 && !strstr(weft_buf_str(&said), "--weft_out:"))
        ask_again(c, &front, &said);
    int rc = status < 0 ? 1 : judge(c, protoc, status, &said);
    weft_buf_free(&said);
    return rc;
}
