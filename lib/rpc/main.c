/* A whole main() for a service: flags, listening, signals, drain. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server.h"
#include "weft/buf.h"
#include "weft/clock.h"
#include "weft/flags.h"
#include "weft/log.h"
#include "weft/num.h"

#ifndef WEFT_VERSION
#define WEFT_VERSION "0"
#endif

typedef struct settings {
    weft_flag_list listen;
    int64_t grace, max_calls, threads;
    int level;
    bool unsafe, version;
} settings;

static const char *const levels[] = {"debug", "info", "warn", "error", "off", NULL};

static int load(settings *to, weft_flags *flags, weft_arena *arena, int argc, char **argv) {
    const weft_flag table[] = {
        {.name = "listen",
         .letter = 'l',
         .type = WEFT_FLAG_LIST,
         .to.list = &to->listen,
         .env = "WEFT_LISTEN",
         .value = "ADDRESS",
         .help =
             "Where to listen: host:port, [v6]:port, unix:/path or unix-abstract:name; port 0 is any "
             "free one. May be given again, or several separated by commas."},
        {.name = "grace",
         .type = WEFT_FLAG_DURATION,
         .to.duration = &to->grace,
         .min = "1ms",
         .max = "1h",
         .help = "How long calls may go on after SIGTERM before they are cancelled "
                 "(10s unless the program says otherwise)."},
        {.name = "max-calls",
         .type = WEFT_FLAG_INT,
         .to.integer = &to->max_calls,
         .min = "1",
         .max = "1000000",
         .help = "Calls in progress at a time; more are refused with RESOURCE_EXHAUSTED (1000)."},
        {.name = "threads",
         .type = WEFT_FLAG_INT,
         .to.integer = &to->threads,
         .min = "1",
         .max = "4096",
         .help = "Worker threads for unary handlers, started when needed (32)."},
        {.name = "log-level",
         .type = WEFT_FLAG_ENUM,
         .to.choice = &to->level,
         .env = "WEFT_LOG",
         .choices = levels,
         .help = "What is logged (info)."},
        {.name = "unsafe-plaintext",
         .type = WEFT_FLAG_BOOL,
         .to.boolean = &to->unsafe,
         .help = "Allow addresses that other machines can reach. Traffic is not encrypted."},
        {.name = "version",
         .letter = 'V',
         .type = WEFT_FLAG_BOOL,
         .to.boolean = &to->version,
         .help = "Print the version and exit."},
    };
    weft_diags problems;
    weft_diags_init(&problems, arena, 0);
    flags->table = table;
    flags->count = WEFT_COUNT(table);
    int error = weft_flags_load(flags, arena, argc, (const char *const *)argv, &problems);
    if (error == 0 && flags->args_count)
        error = weft_diag_add(&problems, NULL, 0, 0, flags->args[0], "--help lists the flags",
                              "takes no arguments");
    if (error < 0) weft_diags_print(&problems, stderr);
    if (error == 0 && flags->help) {
        weft_buf text;
        weft_buf_init(&text, 0);
        if (weft_flags_help(flags, &text) == 0) (void)fputs(weft_buf_str(&text), stdout);
        weft_buf_free(&text);
    }
    flags->table = NULL; /* ends with this function */
    return error;
}

/* ---- signals: a handler and a descriptor. Unlike a blocked mask it does not depend on which threads other
 * libraries started before main got here. */

static atomic_int signal_fd = -1;

static void on_signal(int number) {
    int before = errno;
    const uint64_t one = 1;
    (void)number;
    (void)!write(atomic_load(&signal_fd), &one, sizeof one);
    errno = before;
}

static const int handled[] = {SIGTERM, SIGINT};

static void set_handlers(void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < 2; i++) (void)sigaction(handled[i], &action, NULL);
}

/* Whoever started us waits for a line with the first address. */
static void tell_ready(const weft_server *server) {
    const char *variable = getenv("WEFT_READY_FD");
    int64_t fd = -1;
    weft_buf line;
    if (!variable || !*variable) return;
    if (weft_parse_int64(variable, &fd) < 0 || fd < 0 || fd > 1 << 20) {
        weft_log(WEFT_LOG_WARN, "WEFT_READY_FD is not a descriptor", WEFT_S("value", variable));
        return;
    }
    weft_buf_init(&line, 4096);
    (void)weft_buf_printf(&line, "%s\n", weft_server_address(server, 0));
    if (line.error || write((int)fd, line.data, line.len) != (ssize_t)line.len)
        weft_log(WEFT_LOG_WARN, "WEFT_READY_FD cannot be written to", WEFT_I("fd", fd));
    weft_buf_free(&line);
    if (fd > 2) (void)close((int)fd);
}

static void log_serving(const weft_server *server) {
    weft_buf list;
    const char *address = NULL;
    weft_buf_init(&list, 4096);
    for (size_t i = 0; (address = weft_server_address(server, i)); i++)
        (void)weft_buf_printf(&list, "%s%s", i ? ", " : "", address);
    weft_log(WEFT_LOG_INFO, "serving", WEFT_S("address", weft_buf_str(&list)),
             WEFT_I("services", (int64_t)weft_map_count(&server->services)));
    weft_buf_free(&list);
}

/* ---- main */

static bool listen_everywhere(weft_server *server, const settings *set) {
    for (size_t i = 0; i < set->listen.count; i++) {
        /* In the environment commas separated the items already, on the command line they did not. */
        char *item = weft_heap_strdup(set->listen.items[i]);
        char *rest = item;
        char *one = NULL;
        while ((one = strsep(&rest, ",")))
            if (*one && weft_server_listen(server, one) < 0) break;
        weft_free(item);
        if (!item || one) return false;
    }
    return true;
}

static int start(weft_server *server, const settings *set) {
    server->options.grace_ns = set->grace;
    server->options.max_calls = (size_t)set->max_calls;
    server->options.threads = (int)set->threads;
    if (set->level >= 0) weft_log_set_level((weft_log_level)set->level);
    if (getenv("WEFT_SERVICE")) weft_log_set_service(getenv("WEFT_SERVICE"));
    if (set->unsafe) weft_server_unsafe_plaintext(server);
    if (!listen_everywhere(server, set) || weft_server_start(server) < 0) {
        (void)fprintf(stderr, "error: %s\n", weft_server_error(server));
        return 1;
    }
    return 0;
}

static bool stopped(weft_server *server) {
    (void)pthread_mutex_lock(&server->lock);
    bool gone = server->state == RPC_STOPPED;
    (void)pthread_mutex_unlock(&server->lock);
    return gone;
}

/* The first signal drains, the second cancels, the third is the system's. One descriptor brings signals and
 * the end of the drain. */
static void serve(weft_server *server, int fd) {
    int signals = 0;
    while (!stopped(server)) {
        uint64_t count = 0;
        /* ThreadSanitizer holds signals back in read, not in poll. */
        if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1) < 0 && errno == EINTR)
            continue;
        if (read(fd, &count, sizeof count) < 0 && errno != EINTR) break;
        if (stopped(server) || !count) continue;
        if (signals == 0) {
            weft_log(WEFT_LOG_INFO, "draining",
                     WEFT_I("grace_ms", server->options.grace_ns / WEFT_NS_PER_MS));
            weft_server_drain(server);
            if (!server->drainer_runs)
                break; /* cancelled already; nobody would say when it is done */
        }
        if (signals + (int)count > 1) {
            set_handlers(SIG_DFL);
            rpc_server_hurry(server);
        }
        signals += (int)count;
    }
    weft_server_wait(server);
    weft_log(WEFT_LOG_INFO, "stopped");
}

static int run(weft_server *server, const settings *set) {
    int fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0) {
        (void)fprintf(stderr, "error: eventfd: %s\n", strerror(errno));
        return 1;
    }
    atomic_store(&signal_fd, fd);
    server->notify_fd = fd;
    (void)signal(SIGPIPE, SIG_IGN);
    set_handlers(on_signal);
    int code = start(server, set);
    if (code == 0) {
        log_serving(server);
        tell_ready(server);
        serve(server, fd);
    }
    set_handlers(SIG_DFL);
    weft_server_free(server);
    atomic_store(&signal_fd, -1);
    (void)close(fd);
    return code;
}

/* What the program asked for holds unless a flag says otherwise. */
static void prefill(settings *set, const weft_server *server) {
    set->grace = server->options.grace_ns;
    set->max_calls = (int64_t)server->options.max_calls;
    set->threads = server->options.threads;
}

int weft_server_main(weft_server *server, int argc, char **argv) {
    settings set = {.level = -1};
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    weft_flags flags = {
        .program = slash      ? slash + 1
                   : argc > 0 ? argv[0]
                              : "server",
        .about =
            "A gRPC service. It serves until SIGTERM or SIGINT, finishes what was begun, and exits 0.",
    };
    weft_arena *arena = weft_arena_new(0);
    int code = 1;
    if (!server || !arena) {
        (void)fputs("error: out of memory\n", stderr);
    } else if (prefill(&set, server), load(&set, &flags, arena, argc, argv) < 0) {
        code = 2;
    } else if (flags.help) {
        code = 0;
    } else if (set.version) {
        (void)printf("%s %s\n", flags.program, WEFT_VERSION);
        code = 0;
    } else if (!set.listen.count && !server->address_count) {
        (void)fprintf(stderr, "error: nowhere to listen: give --listen ADDRESS (127.0.0.1:5000, "
                              "unix:/path) or set WEFT_LISTEN\n");
        code = 2;
    } else {
        code = run(server, &set);
        server = NULL;
    }
    weft_server_free(server);
    weft_arena_free(arena);
    return code;
}
