#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/weft/cmd.h"
#include "tools/weft/folder.h"
#include "tools/weft/up_file.h"
#include "tools/weft/up_mesh.h"
#include "tools/weft/up_out.h"
#include "tools/weft/up_sup.h"

static struct {
    const char *state_dir, *runtime_dir, *env_file, *log_file;
    int format;
    bool quiet, check, without_sidecars;
} opt;

/* Longest folder for sockets that leaves room for names within the 107 bytes of a socket's path. */
#define RUNTIME_BASE_MAX 30

/* ---- folders ---------------------------------------------------------------------------------------- */

static const char *absolute(weft_arena *arena, const char *path) {
    char *full = realpath(path, NULL);
    const char *kept = full ? weft_arena_strdup(arena, full) : path;
    free(full);
    return kept;
}

/* The folder of the services' data; NULL after an error was printed. */
static const char *state_dir(weft_arena *arena, const up_plan *plan) {
    const char *path = opt.state_dir, *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (!path && xdg && *xdg == '/') path = weft_arena_printf(arena, "%s/weft/%s", xdg, plan->mesh);
    if (!path && home && *home == '/')
        path = weft_arena_printf(arena, "%s/.local/state/weft/%s", home, plan->mesh);
    if (!path) {
        cmd_error("no place for the services' data: HOME is not set (say --state-dir DIR)");
        return NULL;
    }
    int error = folder_make(path);
    if (error) {
        cmd_error("cannot make the state directory %s: %s", path, strerror(error));
        return NULL;
    }
    return absolute(arena, path);
}

/* One mesh at a time on a state directory. The descriptor that holds the lock, or -1 after an error was printed. */
static int lock_state(weft_arena *arena, const char *dir) {
    const char *path = weft_arena_printf(arena, "%s/.weft-up.lock", dir);
    int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0) {
        cmd_error("cannot use the state directory %s: %s", dir, strerror(errno));
        return -1;
    }
    char pid[24] = "";
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
        pid[n > 0 ? n : 0] = '\0';
        cmd_error(
            "another weft up (process %s) runs on the data in %s: stop it, or say --state-dir DIR",
            *pid ? pid : "unknown", dir);
        close(fd);
        return -1;
    }
    int len = snprintf(pid, sizeof pid, "%d", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)len, 0) < 0) {
        cmd_error("cannot write %s: %s", path, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

static bool usable_base(const char *dir) {
    return dir && *dir == '/' && strlen(dir) <= RUNTIME_BASE_MAX && access(dir, W_OK | X_OK) == 0;
}

/* An owner-only folder for the sockets; NULL after an error was printed. *made tells whether to remove it. */
static const char *runtime_dir(weft_arena *arena, const up_plan *plan, bool *made) {
    *made = opt.runtime_dir == NULL;
    if (opt.runtime_dir) {
        struct stat st;
        int error = folder_make(opt.runtime_dir);
        if (!error && stat(opt.runtime_dir, &st) < 0) error = errno;
        if (error) {
            cmd_error("cannot make the runtime directory %s: %s", opt.runtime_dir, strerror(error));
            return NULL;
        }
        if (st.st_uid != geteuid() || (st.st_mode & 077)) {
            cmd_error("others may enter the runtime directory %s: chmod 700 it", opt.runtime_dir);
            return NULL;
        }
        return absolute(arena, opt.runtime_dir);
    }
    const char *base = getenv("XDG_RUNTIME_DIR");
    if (!usable_base(base)) base = getenv("TMPDIR");
    if (!usable_base(base)) base = "/tmp";
    char *path = weft_arena_printf(arena, "%s/weft-%.20s-XXXXXX", base, plan->mesh);
    if (!path || !mkdtemp(path)) {
        cmd_error("cannot make a folder for sockets in %s: %s", base, strerror(errno));
        return NULL;
    }
    return path;
}

/* ---- the command ------------------------------------------------------------------------------------ */

static void print_plan(const up_plan *plan) {
    printf("%s: %zu service%s in namespace %s, started in this order:\n", plan->file, plan->count,
           plan->count == 1 ? "" : "s", plan->mesh);
    for (size_t i = 0; i < plan->count; i++) {
        const up_service *service = &plan->services[plan->order[i]];
        printf("  %s", service->name);
        if (service->instances > 1) printf(" x %u", service->instances);
        for (size_t u = 0; u < service->use_count; u++)
            printf("%s %s", u ? "," : ", after", service->uses[u]);
        putchar('\n');
    }
    if (plan->sidecars)
        printf("each with a sidecar; identities are spiffe://%s/ns/%s/sa/SERVICE\n", plan->domain,
               plan->mesh);
}

static int load(const cmd_args *in, up_plan **plan) {
    weft_diags diags;
    weft_diags_init(&diags, in->arena, 0);
    int rc = up_file_load(in->args[0], in->arena, plan, &diags);
    if (rc == 0) return EXIT_OK;
    weft_diags_print(&diags, stderr);
    if (diags.count == 0)
        cmd_error("cannot read %s: %s", in->args[0],
                  rc == WEFT_EIO || rc == WEFT_ENOTFOUND ? strerror(errno) : weft_strerror(rc));
    return EXIT_USAGE;
}

static int run_mesh(const cmd_args *in, up_plan *plan, up_out *out) {
    up_options options = {.command = in->rest, .env_file = opt.env_file, .out = out};
    bool made = false;
    int code = EXIT_FAILED;
    options.bin_dir = cmd_program_dir(in->arena);
    options.state_dir = state_dir(in->arena, plan);
    int lock = options.state_dir ? lock_state(in->arena, options.state_dir) : -1;
    if (lock >= 0) options.runtime_dir = runtime_dir(in->arena, plan, &made);
    if (!options.bin_dir) cmd_error("cannot find the folder of this program in /proc");
    if (options.bin_dir && options.runtime_dir && plan->sidecars &&
        up_mesh_expand(plan, options.bin_dir) < 0) {
        cmd_error("out of memory");
        options.bin_dir = NULL;
    }
    if (options.bin_dir && options.runtime_dir) code = up_run(plan, &options);
    if (options.env_file && code != EXIT_USAGE) unlink(options.env_file);
    if (made && options.runtime_dir) folder_remove(options.runtime_dir);
    if (lock >= 0) close(lock);
    return code;
}

static int run(const cmd_args *in) {
    if (in->count != 1)
        return cmd_usage_error(in->cmd, in->count ? "one file at a time, got %zu" : "which file?",
                               in->count);
    if (in->rest && !in->rest[0]) return cmd_usage_error(in->cmd, "no command after \"--\"");
    up_plan *plan;
    int code = load(in, &plan);
    if (code != EXIT_OK) return code;
    if (opt.without_sidecars) plan->sidecars = false;
    if (opt.check) {
        print_plan(plan);
        return EXIT_OK;
    }
    /* The command owns standard output. */
    int fd = in->rest ? STDERR_FILENO : STDOUT_FILENO;
    if (opt.log_file)
        fd = open(opt.log_file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        cmd_error("cannot write %s: %s", opt.log_file, strerror(errno));
        return EXIT_FAILED;
    }
    up_out out;
    up_out_init(&out, fd, opt.format == CMD_JSON, opt.quiet && !opt.log_file);
    code = run_mesh(in, plan, &out);
    up_out_free(&out);
    if (opt.log_file) close(fd);
    return code;
}

static const weft_flag flags[] = {
    CMD_STRING("state-dir", 0, &opt.state_dir, "DIR",
               "Where services keep their data, a folder each; it stays. Default: "
               "$XDG_STATE_HOME/weft/NAMESPACE, else ~/.local/state/weft/NAMESPACE."),
    CMD_STRING("runtime-dir", 0, &opt.runtime_dir, "DIR",
               "Where the sockets are, owner-only. Default: a new one, removed at the end."),
    CMD_STRING(
        "env-file", 0, &opt.env_file, "FILE",
        "Once all are ready, write export lines of WEFT_UPSTREAM_<NAME> for other shells; removed at the end."),
    CMD_STRING("log-file", 0, &opt.log_file, "FILE", "Write the logs there."),
    CMD_OUTPUT(&opt.format, "Logs for people, or one JSON object a line."),
    CMD_BOOL("quiet", 'q', &opt.quiet,
             "Nothing on the terminal but what fails; --log-file still gets the logs."),
    CMD_BOOL("without-sidecars", 0, &opt.without_sidecars,
             "Let the services dial each other, whatever the file says of a mesh."),
    CMD_BOOL("check", 0, &opt.check,
             "Check the file, print the order of its services, run nothing."),
};

const struct cmd cmd_up = {
    .name = "up",
    .usage = "FILE [-- COMMAND [ARGUMENT...]]",
    .summary = "Run the services of a file on this machine",
    .about =
        "Runs the services of a YAML file (contract: weft/up/v1/up.proto): starts each once what it "
        "uses is ready, shows their logs with their names, restarts those that fail, and on ctrl-C or "
        "SIGTERM stops them in reverse order. With a COMMAND, runs it once all are ready, with their "
        "addresses in WEFT_UPSTREAM_<NAME>, then stops everything and returns its exit code; logs "
        "then go to standard error.",
    .more =
        "Examples:\n"
        "  weft up shop.yaml                            until ctrl-C\n"
        "  weft up -q shop.yaml -- ./place-orders 100   a test against the whole mesh\n"
        "  weft up --check shop.yaml                    is the file right?\n"
        "\n"
        "A file:\n"
        "  namespace: shop\n"
        "  services:\n"
        "    - name: product\n"
        "      command: [\"${bin}/weft-shop\", product, --db, \"${dir}/product.db\"]\n"
        "    - name: order\n"
        "      command: [\"${bin}/weft-shop\", order, --db, \"${dir}/order.db\"]\n"
        "      uses: [product]\n"
        "\n"
        "With mesh: {sidecars: true} in the file every instance gets a sidecar and an identity, and the COMMAND\n"
        "one called client; they dial services by name through WEFT_OUTBOUND. Certificates, bootstrap files and\n"
        "spans of the sidecars are in .mesh of the state directory.\n"
        "\n"
        "Exit codes: 0 stopped by ctrl-C or SIGTERM; COMMAND's own; 1 a service failed or did not become\n"
        "ready; 2 wrong flags or file; 126, 127 COMMAND could not be run.\n",
    .flags = flags,
    .flag_count = WEFT_COUNT(flags),
    .run = run,
};
