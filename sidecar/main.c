/* weft-sidecar: reads its bootstrap file, opens its listeners, starts its workers, waits for a
 * signal. Worker 0 runs on the main thread and hears the signals. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "sidecar/certs.h"
#include "sidecar/config/load.h"
#include "sidecar/export/otlp.h"
#include "sidecar/operate.h"
#include "sidecar/worker.h"
#include "weft/flags.h"
#include "weft/log.h"
#include "weft/mem.h"
#include "weft/num.h"

#define WORKERS_MAX "64"

typedef struct settings {
    const char *config;
    const char *spans;
    const char *otlp;
    const char *dns;
    int64_t workers;
    int64_t drain;
    double trace_ratio;
    bool unsafe_plaintext;
    bool check;
    bool version;
} settings;

typedef struct program {
    settings set;
    config_snapshot *snapshot;
    certs certs;
    sidecar_shared shared;
    worker *workers;
    operate *operate;      /* the admin server, or NULL */
    otlp_rpc *collector;   /* where shared.otlp sends, or NULL */
    uint32_t worker_count; /* initialised */
    uint32_t threads;      /* started, worker 0 not counted */
    int signals;
    net_watch watch;
    bool told; /* the first signal came */
} program;

/* ---- settings */

static void print_help(const weft_flags *flags) {
    weft_buf text;
    weft_buf_init(&text, 1 << 16);
    (void)weft_flags_help(flags, &text);
    fputs(weft_buf_str(&text), stdout);
    weft_buf_free(&text);
}

/* What was asked for instead of running (1), or what is wrong with it. */
static int judge(const settings *s, const weft_flags *flags, int rc, weft_diags *problems) {
    if (flags->help || s->version) {
        if (flags->help)
            print_help(flags);
        else
            puts("weft-sidecar " WEFT_VERSION);
        return 1;
    }
    if (!rc && flags->args_count)
        (void)weft_diag_add(problems, NULL, 0, 0, NULL, "give the file with -c",
                            "\"%s\": not a flag", flags->args[0]);
    if (!rc && !s->config)
        (void)weft_diag_add(problems, NULL, 0, 0, "--config", "weft-sidecar -c FILE",
                            "a bootstrap file is needed");
    weft_diags_print(problems, stderr);
    return rc ? rc : problems->count ? WEFT_EPARSE : 0;
}

static int read_settings(settings *s, weft_arena *arena, int argc, char **argv) {
    const weft_flag table[] = {
        {.name = "config",
         .letter = 'c',
         .type = WEFT_FLAG_STRING,
         .to.string = &s->config,
         .env = "WEFT_SIDECAR_CONFIG",
         .value = "FILE",
         .help = "The bootstrap file: Envoy's YAML or JSON, in the subset that is supported."},
        {.name = "workers",
         .type = WEFT_FLAG_INT,
         .to.integer = &s->workers,
         .initial = "1",
         .min = "1",
         .max = WORKERS_MAX,
         .help = "Threads; each has connections and upstream connections of its own."},
        {.name = "drain",
         .type = WEFT_FLAG_DURATION,
         .to.duration = &s->drain,
         .initial = "10s",
         .min = "0",
         .max = "1h",
         .env = "WEFT_DRAIN",
         .help = "How long open calls may take after SIGTERM."},
        {.name = "spans",
         .type = WEFT_FLAG_STRING,
         .to.string = &s->spans,
         .value = "FILE",
         .env = "WEFT_SPANS",
         .help = "Where spans go, a line of JSON each; appended. None: nowhere."},
        {.name = "otlp",
         .type = WEFT_FLAG_STRING,
         .to.string = &s->otlp,
         .value = "ADDRESS",
         .env = "WEFT_OTLP",
         .help = "Where spans go as OTLP over gRPC: 127.0.0.1:4317, unix:/path. None: nowhere."},
        {.name = "dns",
         .type = WEFT_FLAG_STRING,
         .to.string = &s->dns,
         .value = "SERVERS",
         .env = "WEFT_DNS",
         .help = "For STRICT_DNS: 127.0.0.1:53,[::1]:53. None: /etc/resolv.conf's."},
        {.name = "trace-ratio",
         .type = WEFT_FLAG_DOUBLE,
         .to.real = &s->trace_ratio,
         .initial = "1",
         .min = "0",
         .max = "1",
         .help = "The share of traces that begin here which is recorded."},
        {.name = "unsafe-plaintext",
         .type = WEFT_FLAG_BOOL,
         .to.boolean = &s->unsafe_plaintext,
         .help = "Allow plaintext to and from other machines."},
        {.name = "check",
         .type = WEFT_FLAG_BOOL,
         .to.boolean = &s->check,
         .help = "Check the bootstrap file and its certificates, and end."},
        {.name = "version",
         .type = WEFT_FLAG_BOOL,
         .to.boolean = &s->version,
         .help = "Print the version and end."},
    };
    weft_flags flags = {.program = "weft-sidecar",
                        .about = "Carries a service's calls: mTLS, routing, balancing, retries, "
                                 "deadlines, metrics, traces.",
                        .table = table,
                        .count = WEFT_COUNT(table)};
    weft_diags problems;
    weft_diags_init(&problems, arena, 0);
    const int rc = weft_flags_load(&flags, arena, argc, (const char *const *)argv, &problems);
    return judge(s, &flags, rc, &problems);
}

/* ---- setting up */

static int check_otlp(const settings *s) {
    weft_addr addr;
    const char *why = "";
    int rc = s->otlp ? weft_addr_parse(s->otlp, &addr, &why) : 0;
    if (!rc && s->otlp && !weft_addr_is_local(&addr) && !s->unsafe_plaintext) {
        rc = WEFT_EINVAL;
        why = "spans would leave this machine in plaintext; --unsafe-plaintext allows it";
    }
    if (rc) fprintf(stderr, "weft-sidecar: --otlp %s: %s\n", s->otlp, why);
    return rc;
}

static int load(program *p) {
    if (check_otlp(&p->set)) return WEFT_EINVAL;
    weft_arena *arena = weft_arena_new(0);
    if (!arena) return WEFT_ENOMEM;
    weft_diags problems;
    weft_diags_init(&problems, arena, 0);
    const config_options options = {
        .size = sizeof options, .file = p->set.config, .unsafe_plaintext = p->set.unsafe_plaintext};
    int rc = config_load(p->set.config, &options, &p->snapshot, &problems);
    weft_diags_print(&problems, stderr);
    if (rc && !problems.count)
        fprintf(stderr, "weft-sidecar: %s: %s\n", p->set.config, weft_strerror(rc));
    weft_arena_free(arena);
    char why[CERTS_WHY];
    if (!rc && (rc = certs_load(p->snapshot, &p->certs, why)))
        fprintf(stderr, "weft-sidecar: %s\n", why);
    return rc;
}

static int open_sockets(program *p) {
    const uint32_t count = p->snapshot->listener_count;
    p->shared.sockets = weft_malloc((count + 1) * sizeof(int));
    if (!p->shared.sockets) return WEFT_ENOMEM;
    for (uint32_t i = 0; i < count; i++) p->shared.sockets[i] = -1;
    for (uint32_t i = 0; i < count; i++) {
        const config_listener *l = &p->snapshot->listeners[i];
        const net_socket_options options = {.mode = (int)l->mode};
        net_why why;
        const int rc = net_socket_listen(&l->address, &options, &p->shared.sockets[i], &why);
        if (rc) {
            fprintf(stderr, "weft-sidecar: listener %s: %s\n", l->name, why.text);
            return rc;
        }
    }
    return 0;
}

static int prepare(program *p) {
    sidecar_shared *s = &p->shared;
    s->publisher = config_publisher_new();
    s->clusters = weft_calloc(p->snapshot->cluster_count + 1, sizeof *s->clusters);
    if (!s->publisher || !s->clusters) return WEFT_ENOMEM;
    for (uint32_t i = 0; p->set.workers == 1 && i < p->snapshot->cluster_count; i++)
        cluster_shared_alone(&s->clusters[i]);
    config_publish(s->publisher, p->snapshot);
    s->snapshot = p->snapshot;
    s->cluster_tls = p->certs.clusters;
    s->listener_tls = p->certs.listeners;
    s->self_id = p->certs.self;
    s->trace_ratio = p->set.trace_ratio;
    s->drain = p->set.drain;
    s->dns = p->set.dns;
    s->spans_fd = -1;
    if (p->set.spans) {
        s->spans_fd = open(p->set.spans, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (s->spans_fd < 0) {
            fprintf(stderr, "weft-sidecar: --spans %s: %s\n", p->set.spans, strerror(errno));
            return WEFT_EIO;
        }
    }
    return open_sockets(p);
}

static int make_workers(program *p) {
    p->workers = weft_calloc((size_t)p->set.workers, sizeof *p->workers);
    if (!p->workers) return WEFT_ENOMEM;
    for (uint32_t i = 0; i < (uint32_t)p->set.workers; i++) {
        p->worker_count = i + 1;
        const int rc = worker_init(&p->workers[i], &p->shared, i);
        if (rc) return rc;
    }
    /* Each worker has its own descriptors: a listener that drains closes the last. */
    for (uint32_t i = 0; i < p->snapshot->listener_count; i++) {
        (void)close(p->shared.sockets[i]);
        p->shared.sockets[i] = -1;
    }
    return 0;
}

/* ---- running */

/* The first signal drains, the second ends at once. */
static void everywhere(program *p, void (*call)(void *)) {
    for (uint32_t i = 0; i < p->worker_count; i++)
        (void)!net_loop_post(p->workers[i].loop, call, &p->workers[i]);
}

static void drain_all(void *user) { everywhere(user, worker_drain); }

static void on_signal(net_watch *watch, unsigned events) {
    program *p = watch->user;
    struct signalfd_siginfo info;
    (void)events;
    if (read(p->signals, &info, sizeof info) != (ssize_t)sizeof info) return;
    weft_log(WEFT_LOG_INFO, p->told ? "ending" : "draining",
             WEFT_S("signal", strsignal((int)info.ssi_signo)));
    everywhere(p, p->told ? worker_stop : worker_drain);
    p->told = true;
}

/* Before any thread starts, so that all of them leave the signals to the descriptor. */
static int hear_signals(program *p) {
    sigset_t set;
    struct sigaction hangup = {0};
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    /* A terminal that goes drains too, but not what nohup started. */
    if (!sigaction(SIGHUP, NULL, &hangup) && hangup.sa_handler != SIG_IGN)
        (void)sigaddset(&set, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL)) return WEFT_EIO;
    p->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (p->signals < 0) return WEFT_EIO;
    (void)signal(SIGPIPE, SIG_IGN);
    return net_watch_start(p->workers[0].loop, &p->watch, p->signals, NET_READABLE, on_signal, p);
}

static void say_ready(program *p) {
    weft_buf line;
    weft_buf_init(&line, 1 << 16);
    char text[WEFT_ADDR_TEXT];
    for (uint32_t i = 0; i < p->snapshot->listener_count; i++) {
        const weft_addr addr = net_listener_addr(p->workers[0].listeners[i]->net);
        (void)weft_buf_printf(&line, "%s%s=%s", i ? " " : "", p->snapshot->listeners[i].name,
                              weft_addr_format(&addr, text));
    }
    weft_log(WEFT_LOG_INFO, "ready", WEFT_S("listeners", weft_buf_str(&line)),
             WEFT_S("identity", p->shared.self_id), WEFT_I("workers", p->set.workers));
    const char *variable = getenv("WEFT_READY_FD");
    int64_t fd = -1;
    if (variable && *variable && weft_parse_int64(variable, &fd) >= 0 && fd >= 0 && fd <= 1 << 20) {
        (void)weft_buf_addc(&line, '\n');
        if (write((int)fd, line.data, line.len) != (ssize_t)line.len)
            weft_log(WEFT_LOG_WARN, "WEFT_READY_FD cannot be written to", WEFT_I("fd", fd));
        if (fd > 2) (void)close((int)fd);
    }
    weft_buf_free(&line);
}

/* After signals are heard, so that no thread of it takes them. */
static int start_export(program *p) {
    if (!p->set.otlp) return 0;
    p->collector = otlp_rpc_new(p->set.otlp, "native");
    if (!p->collector) return WEFT_ENOMEM;
    const otlp_config config = {.source = {.self_id = p->shared.self_id, .service = "weft-sidecar"},
                                .seed = weft_rng_system_seed(),
                                .send = otlp_rpc_send,
                                .cancel = otlp_rpc_cancel,
                                .user = p->collector};
    return otlp_exporter_start(&config, &p->shared.otlp);
}

static int run(program *p) {
    int rc = hear_signals(p);
    if (!rc) rc = start_export(p);
    for (uint32_t i = 1; i < p->worker_count && !rc; i++) {
        if (pthread_create(&p->workers[i].thread, NULL, worker_run, &p->workers[i])) {
            rc = WEFT_EIO;
        } else {
            p->threads++;
        }
    }
    if (!rc) {
        say_ready(p);
        (void)worker_run(&p->workers[0]);
    } else {
        fprintf(stderr, "weft-sidecar: cannot start: %s\n", weft_strerror(rc));
        everywhere(p, worker_stop);
    }
    for (uint32_t i = 1; i <= p->threads; i++) (void)pthread_join(p->workers[i].thread, NULL);
    return rc;
}

static void clean_up(program *p) {
    operate_free(p->operate);
    net_watch_stop(&p->watch);
    for (uint32_t i = 0; i < p->worker_count; i++) worker_free(&p->workers[i]);
    weft_free(p->workers);
    otlp_exporter_stop(p->shared.otlp); /* with the workers' last spans */
    otlp_rpc_free(p->collector);
    if (p->signals >= 0) (void)close(p->signals);
    for (uint32_t i = 0; p->shared.sockets && i < p->snapshot->listener_count; i++)
        if (p->shared.sockets[i] >= 0) (void)close(p->shared.sockets[i]);
    weft_free(p->shared.sockets);
    weft_free(p->shared.clusters);
    if (p->shared.spans_fd >= 0) (void)close(p->shared.spans_fd);
    certs_free(&p->certs);
    config_unref(p->snapshot);
    config_publisher_free(p->shared.publisher);
}

static int serve(program *p) {
    net_why why = {""};
    int rc = prepare(p);
    if (!rc && (rc = make_workers(p))) {
        if (rc == WEFT_EINVAL && p->set.dns)
            fprintf(stderr, "weft-sidecar: --dns %s: write 127.0.0.1:53,[::1]:53\n", p->set.dns);
        else
            fprintf(stderr, "weft-sidecar: cannot start: %s\n", weft_strerror(rc));
    }
    if (!rc) {
        rc =
            operate_start(&p->shared, p->workers, p->worker_count, drain_all, p, &p->operate, &why);
        if (rc)
            fprintf(stderr, "weft-sidecar: admin: %s\n", *why.text ? why.text : weft_strerror(rc));
    }
    return rc ? rc : run(p);
}

int main(int argc, char **argv) {
    program p = {.signals = -1, .shared.spans_fd = -1};
    weft_arena *arena = weft_arena_new(0);
    if (!arena) return 1;
    weft_log_set_service("weft-sidecar");
    int rc = read_settings(&p.set, arena, argc, argv);
    if (rc) {
        weft_arena_free(arena);
        return rc > 0 ? 0 : 2;
    }
    rc = load(&p);
    if (!rc && !p.set.check) rc = serve(&p);
    clean_up(&p);
    weft_arena_free(arena);
    return rc ? 1 : 0;
}
