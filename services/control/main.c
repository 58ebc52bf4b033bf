/* weft-control: the control plane of a mesh. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/control/control.h"
#include "weft/flags.h"
#include "weft/log.h"
#include "weft/num.h"
#include "weft/tls.h"

#ifndef WEFT_VERSION
#define WEFT_VERSION "0"
#endif

#define DRAIN_NS WEFT_NS_PER_S /* streams last for ever: there is little to wait for */
#define MAX_CALLS 4096         /* a sidecar holds three streams */

typedef struct settings {
    control_options control;
    weft_flag_list listen, grants;
    const char *admin;
    int level;
    bool version;
} settings;

static const char *const levels[] = {"debug", "info", "warn", "error", "off", NULL};

/* ---- flags */

/* The process's one. */
static settings given = {.level = WEFT_LOG_INFO};

static const weft_flag table[] = {
    {.name = "listen",
     .letter = 'l',
     .type = WEFT_FLAG_LIST,
     .to.list = &given.listen,
     .env = "WEFT_LISTEN",
     .value = "ADDRESS",
     .help = "Where sidecars reach it, over mTLS: host:port, [v6]:port or unix:/path; port 0 is "
             "any free one. May be given again."},
    {.name = "state",
     .type = WEFT_FLAG_STRING,
     .to.string = &given.control.state,
     .required = true,
     .value = "DIR",
     .min = "1",
     .max = "900",
     .help = "Its folder, for its owner only: keys, documents, what was there before a restart."},
    {.name = "store",
     .type = WEFT_FLAG_STRING,
     .to.string = &given.control.store,
     .value = "sqlite:PATH",
     .max = "1000",
     .help = "Where documents, tokens and the audit log are (control.db in the state folder)."},
    {.name = "admin",
     .type = WEFT_FLAG_STRING,
     .to.string = &given.admin,
     .value = "ADDRESS",
     .help = "Socket on which its owner is admin (unix:DIR/admin.sock)."},
    {.name = "trust-domain",
     .type = WEFT_FLAG_STRING,
     .to.string = &given.control.domain,
     .initial = MODEL_DOMAIN,
     .help = "First part of every identity."},
    {.name = "role",
     .type = WEFT_FLAG_LIST,
     .to.list = &given.grants,
     .value = "ROLE=ID",
     .help = "Gives the role viewer, operator or admin at the admin API to an identity. May be "
             "given again."},
    {.name = "leaf",
     .type = WEFT_FLAG_DURATION,
     .to.duration = &given.control.leaf,
     .initial = "24h",
     .min = "1s",
     .max = "720h",
     .help = "How long certificates are valid."},
    {.name = "overlap",
     .type = WEFT_FLAG_DURATION,
     .to.duration = &given.control.overlap,
     .initial = "1h",
     .min = "1ms",
     .max = "720h",
     .help = "How long a new root is known before it signs."},
    {.name = "heartbeat",
     .type = WEFT_FLAG_DURATION,
     .to.duration = &given.control.heartbeat,
     .initial = "10s",
     .min = "10ms",
     .max = "1h",
     .help = "How often instances say how they are."},
    {.name = "down-after",
     .type = WEFT_FLAG_DURATION,
     .to.duration = &given.control.down_after,
     .initial = "30s",
     .min = "10ms",
     .max = "1h",
     .help = "How long after its last heartbeat an instance is down."},
    {.name = "grace",
     .type = WEFT_FLAG_DURATION,
     .to.duration = &given.control.grace,
     .initial = "5s",
     .min = "1ms",
     .max = "1h",
     .help = "How long after its stream broke."},
    {.name = "plaintext",
     .type = WEFT_FLAG_BOOL,
     .to.boolean = &given.control.plaintext,
     .help = "No TLS: for development, on unix sockets and loopback only. Who reaches it is "
             "believed what it says it is; nobody gets renewals."},
    {.name = "log-level",
     .type = WEFT_FLAG_ENUM,
     .to.choice = &given.level,
     .env = "WEFT_LOG",
     .choices = levels,
     .initial = "info",
     .help = "What is logged."},
    {.name = "version",
     .letter = 'V',
     .type = WEFT_FLAG_BOOL,
     .to.boolean = &given.version,
     .help = "Print the version and exit."},
};

static int grant(settings *set, weft_diags *problems) {
    int error = 0;
    for (size_t i = 0; i < set->grants.count; i++) {
        const char *why = "";
        if (roles_add(&set->control.roles, set->grants.items[i], &why) < 0)
            error = weft_diag_add(problems, NULL, 0, 0, "--role", NULL, "%s: %s",
                                  set->grants.items[i], why);
    }
    return error;
}

/* 1: go on; else the exit code is in *code. */
static bool load(settings *set, weft_arena *arena, int argc, char **argv, int *code) {
    weft_flags flags = {.program = "weft-control",
                        .about = "The control plane of a mesh: identities, registry, routing.",
                        .table = table,
                        .count = WEFT_COUNT(table)};
    weft_diags problems;
    weft_diags_init(&problems, arena, 0);
    int error = weft_flags_load(&flags, arena, argc, (const char *const *)argv, &problems);
    if (!error && flags.args_count)
        error = weft_diag_add(&problems, NULL, 0, 0, flags.args[0], "--help lists the flags",
                              "takes no arguments");
    if (!error && !flags.help && !set->version) error = grant(set, &problems);
    if (error) weft_diags_print(&problems, stderr);
    *code = error ? 2 : 0;
    if (!error && flags.help) {
        weft_buf text;
        weft_buf_init(&text, 0);
        if (!weft_flags_help(&flags, &text)) (void)fputs(weft_buf_str(&text), stdout);
        weft_buf_free(&text);
    } else if (!error && set->version) {
        (void)printf("weft-control %s\n", WEFT_VERSION);
    } else if (!error && !set->listen.count) {
        (void)fputs("error: nowhere to listen: give --listen ADDRESS or set WEFT_LISTEN\n", stderr);
        *code = 2;
    } else {
        return !error;
    }
    return false;
}

/* ---- servers */

typedef struct servers {
    weft_server *mesh, *admin;
    control_admin_door mesh_door, admin_door;
    tls_context *tls;  /* what the mesh's server shows now */
    uint64_t sequence; /* of the bundle in it */
    int64_t renews;    /* wall ns */
} servers;

static int fail(const char *what) {
    (void)fprintf(stderr, "error: %s\n", what);
    return 1;
}

static int make_tls(control *c, servers *all) {
    crypto_why why = {""};
    crypto_svid *svid = NULL;
    tls_context *tls = NULL;
    uint64_t sequence;
    crypto_bundle *bundle = join_bundle(&c->desk, &sequence);
    int error = control_svid(c, &svid, &why);
    const tls_config config = {.role = TLS_SERVER,
                               .svid = svid,
                               .bundle = bundle,
                               .peer_cert_optional = true,
                               .clock = c->options.clock};
    if (!error) error = tls_context_new(&config, &tls, &why);
    crypto_svid_unref(svid);
    crypto_bundle_unref(bundle);
    if (error) return fail(why.text);
    tls_context_unref(all->tls);
    all->tls = tls;
    all->sequence = sequence;
    all->renews = weft_wall(c->options.clock) + ca_leaf_life(c->authority) / 2;
    return 0;
}

static int open_mesh(control *c, const settings *set, servers *all) {
    weft_server_options options = {
        .size = sizeof options, .max_calls = MAX_CALLS, .grace_ns = DRAIN_NS};
    if (!c->options.plaintext) {
        if (make_tls(c, all)) return 1;
        options.tls = all->tls;
        options.transport = "native";
    }
    all->mesh = weft_server_new_with(&options);
    all->mesh_door = (control_admin_door){.c = c};
    if (!all->mesh || control_serve_identity(all->mesh, c) < 0 ||
        control_serve_registry(all->mesh, c) < 0 || control_serve_discovery(all->mesh, c) < 0 ||
        control_serve_admin(all->mesh, &all->mesh_door) < 0)
        return fail("out of memory");
    for (size_t i = 0; i < set->listen.count; i++)
        if (weft_server_listen(all->mesh, set->listen.items[i]) < 0)
            return fail(weft_server_error(all->mesh));
    if (weft_server_start(all->mesh) < 0) return fail(weft_server_error(all->mesh));
    for (size_t i = 0; i < CONTROL_ADDRESSES_MAX && weft_server_address(all->mesh, i); i++) {
        (void)snprintf(c->addresses[i], sizeof c->addresses[i], "%s",
                       weft_server_address(all->mesh, i));
        c->address_count = i + 1;
    }
    return 0;
}

static int open_admin(control *c, const settings *set, servers *all) {
    const weft_server_options options = {.size = sizeof options, .grace_ns = DRAIN_NS};
    char address[1024];
    if (set->admin)
        (void)snprintf(address, sizeof address, "%s", set->admin);
    else
        (void)snprintf(address, sizeof address, "unix:%s/admin.sock", set->control.state);
    if (strncmp(address, "unix:", 5) != 0)
        return fail("--admin must be unix:/path: whoever reaches it is admin; for remote use give "
                    "--role and use --listen");
    all->admin = weft_server_new_with(&options);
    all->admin_door = (control_admin_door){.c = c, .owner = true};
    if (!all->admin || control_serve_admin(all->admin, &all->admin_door) < 0)
        return fail("out of memory");
    if (weft_server_listen(all->admin, address) < 0 || weft_server_start(all->admin) < 0)
        return fail(weft_server_error(all->admin));
    return 0;
}

static void close_all(servers *all) {
    if (all->admin) weft_server_drain(all->admin);
    if (all->mesh) weft_server_drain(all->mesh);
    if (all->admin) weft_server_wait(all->admin);
    if (all->mesh) weft_server_wait(all->mesh);
    weft_server_free(all->admin);
    weft_server_free(all->mesh);
    tls_context_unref(all->tls);
}

/* Our own certificate at half life, and every new bundle. */
static void keep_tls(control *c, servers *all) {
    uint64_t sequence;
    if (!all->tls) return;
    crypto_bundle_unref(join_bundle(&c->desk, &sequence));
    if (sequence == all->sequence && weft_wall(c->options.clock) < all->renews) return;
    if (make_tls(c, all) || weft_server_set_tls(all->mesh, all->tls) < 0)
        weft_log(WEFT_LOG_ERROR, "our own certificate could not be renewed; trying again");
}

/* Whoever started us waits for a line with the first address. */
static void tell_ready(const control *c) {
    const char *variable = getenv("WEFT_READY_FD");
    char line[WEFT_ADDR_TEXT + 2];
    int64_t fd = -1;
    if (!variable || !*variable) return;
    if (weft_parse_int64(variable, &fd) < 0 || fd < 0 || fd > 1 << 20) return;
    const int size = snprintf(line, sizeof line, "%s\n", c->addresses[0]);
    if (write((int)fd, line, (size_t)size) != size)
        weft_log(WEFT_LOG_WARN, "WEFT_READY_FD cannot be written to", WEFT_I("fd", fd));
    if (fd > 2) (void)close((int)fd);
}

static int run(const settings *set, const sigset_t *ends) {
    control *c = NULL;
    crypto_why why = {""};
    servers all = {0};
    int number = 0;
    const struct timespec second = {.tv_sec = 1};
    if (control_open(&set->control, &c, &why) < 0) return fail(why.text);
    int code = control_start(c) < 0 ? fail("no thread could be started") : 0;
    if (!code) code = open_mesh(c, set, &all);
    if (!code) code = open_admin(c, set, &all);
    if (!code) {
        weft_log(WEFT_LOG_INFO, "serving", WEFT_S("address", c->addresses[0]),
                 WEFT_S("identity", c->identity));
        tell_ready(c);
        while ((number = sigtimedwait(ends, NULL, &second)) < 0) keep_tls(c, &all);
        weft_log(WEFT_LOG_INFO, "stopping");
    }
    control_stop(c); /* the registry is saved as it is: streams that end now were not broken */
    close_all(&all);
    control_close(c);
    return code;
}

int main(int argc, char **argv) {
    sigset_t ends;
    int code = 1;
    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGTERM);
    (void)sigaddset(&ends, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &ends, NULL); /* all threads inherit it; run() takes them */
    (void)signal(SIGPIPE, SIG_IGN);
    weft_arena *arena = weft_arena_new(0);
    if (!arena) return fail("out of memory");
    if (load(&given, arena, argc, argv, &code)) {
        weft_log_set_level((weft_log_level)given.level);
        weft_log_set_service("weft-control");
        code = run(&given, &ends);
    }
    weft_arena_free(arena);
    return code;
}
