#include "tools/weft/up_mesh.h"

#include <string.h>
#include <unistd.h>

#include "tools/weft/bootstrap.h"
#include "tools/weft/dev_certs.h"
#include "tools/weft/folder.h"
#include "tools/weft/up_sup.h"
#include "weft/clock.h"
#include "weft/flags.h"

#define SUFFIX "-sidecar"

bool up_mesh_reserved(const char *name) {
    size_t len = strlen(name), suffix = sizeof SUFFIX - 1;
    return strcmp(name, UP_MESH_CLIENT) == 0 || strcmp(name, "ca") == 0 ||
           (len > suffix && strcmp(name + len - suffix, SUFFIX) == 0);
}

const char *up_mesh_program(weft_arena *arena, const char *bin_dir) {
    const char *beside = weft_arena_printf(arena, "%s/weft-sidecar", bin_dir);
    return beside && access(beside, X_OK) < 0 ? "weft-sidecar" : beside;
}

/* ---- the plan --------------------------------------------------------------------------------------- */

void up_mesh_sidecar(up_service *out) {
    *out = (up_service){.instances = 1,
                        .is_sidecar = true,
                        .app = UP_NONE,
                        .restart = UP_ALWAYS,
                        .backoff_ns = 100 * WEFT_NS_PER_MS,
                        .max_backoff_ns = 5 * WEFT_NS_PER_S,
                        .check = UP_CHECK_TELLS,
                        .ready_ns = 10 * WEFT_NS_PER_S,
                        .grace_ns = 15 * WEFT_NS_PER_S};
}

static bool mentions_upstreams(const up_service *service) {
    for (size_t i = 0; i < service->command_count; i++)
        if (strstr(service->command[i], "${WEFT_UPSTREAM_")) return true;
    for (size_t i = 0; i < service->env_count; i++)
        if (strstr(service->env[i].value, "${WEFT_UPSTREAM_")) return true;
    return false;
}

static int add_sidecar(up_plan *plan, size_t index, size_t app, const char *program) {
    static const char *const arguments[] = {"-c", "${dir}/${name}-${instance}.yaml", "--spans",
                                            "${dir}/${name}-${instance}.spans"};
    up_service *to = &plan->services[index];
    up_mesh_sidecar(to);
    to->app = app;
    to->name = UP_MESH_CLIENT;
    if (app != UP_NONE) {
        to->name = weft_arena_printf(plan->arena, "%s" SUFFIX, plan->services[app].name);
        to->instances = plan->services[app].instances;
        if (plan->sidecars_tcp) to->listen = "tcp";
    }
    to->command = weft_arena_calloc(plan->arena, WEFT_COUNT(arguments) + 2, sizeof *to->command);
    if (!to->name || !to->command) return WEFT_ENOMEM;
    to->command[to->command_count++] = program;
    for (size_t i = 0; i < WEFT_COUNT(arguments); i++)
        to->command[to->command_count++] = arguments[i];
    return 0;
}

/* The app uses its sidecar, after all others. */
static int use_sidecar(up_plan *plan, size_t app, size_t index) {
    up_service *service = &plan->services[app];
    const size_t n = service->use_count;
    size_t *use = weft_arena_calloc(plan->arena, n + 2, sizeof *use);
    const char **uses = weft_arena_calloc(plan->arena, n + 2, sizeof *uses);
    if (!use || !uses) return WEFT_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        use[i] = service->use[i];
        uses[i] = service->uses[i];
    }
    use[n] = index;
    uses[n] = plan->services[index].name;
    service->names_upstreams = mentions_upstreams(service);
    service->use = use;
    service->uses = uses;
    service->use_count = n + 1;
    service->sidecar = index;
    return 0;
}

int up_mesh_expand(up_plan *plan, const char *bin_dir) {
    const size_t n = plan->count, total = 2 * n + 1;
    up_service *services = weft_arena_calloc(plan->arena, total, sizeof *services);
    size_t *order = weft_arena_calloc(plan->arena, total, sizeof *order);
    const char *program = up_mesh_program(plan->arena, bin_dir);
    if (!services || !order || !program) return WEFT_ENOMEM;
    memcpy(services, plan->services, n * sizeof *services);
    for (size_t i = 0; i <= n; i++) order[i] = n + i;
    for (size_t i = 0; i < n; i++) order[n + 1 + i] = plan->order[i];
    plan->services = services;
    plan->order = order;
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = add_sidecar(plan, n + i, i, program);
        if (rc == 0) rc = use_sidecar(plan, i, n + i);
    }
    if (rc == 0) rc = add_sidecar(plan, total - 1, UP_NONE, program);
    plan->count = total;
    plan->sidecar_count = n + 1;
    return rc;
}

/* ---- files ------------------------------------------------------------------------------------------ */

struct mesh {
    up_sup *sup;
    weft_arena *arena;
    const char *dir;
    size_t apps; /* services that are no sidecars, the first ones */
    dev_certs certs;
    dev_cert *leaves; /* of apps, then of the command */
};

static int fail(struct mesh *mesh, int rc, const char *format, ...) WEFT_PRINTF(3, 4);
static int fail(struct mesh *mesh, int rc, const char *format, ...) {
    va_list args;
    va_start(args, format);
    weft_buf_vprintf(&mesh->sup->failure, format, args);
    va_end(args);
    return rc;
}

static int make_certificates(struct mesh *mesh) {
    crypto_why why = {""};
    const up_plan *plan = mesh->sup->plan;
    mesh->leaves = weft_arena_calloc(mesh->arena, mesh->apps + 1, sizeof *mesh->leaves);
    if (!mesh->leaves) return WEFT_ENOMEM;
    mesh->certs = (dev_certs){.arena = mesh->arena,
                              .dir = mesh->dir,
                              .domain = plan->domain,
                              .name_space = plan->mesh,
                              .now = weft_wall(NULL),
                              .ttl = UP_MESH_TTL};
    int rc = dev_certs_open(&mesh->certs, &why);
    for (size_t i = 0; i <= mesh->apps && rc == 0; i++)
        rc = dev_certs_leaf(&mesh->certs, i < mesh->apps ? plan->services[i].name : UP_MESH_CLIENT,
                            &mesh->leaves[i], &why);
    dev_certs_close(&mesh->certs);
    return rc ? fail(mesh, rc, "no certificates: %s", why.text) : 0;
}

/* What `index` is to those that call it; all its instances. */
static int describe_peer(struct mesh *mesh, size_t index, bootstrap_peer *peer) {
    const up_service *service = &mesh->sup->plan->services[index];
    weft_addr *endpoints = weft_arena_calloc(mesh->arena, service->instances, sizeof *endpoints);
    if (!endpoints) return WEFT_ENOMEM;
    for (unsigned n = 0; n < service->instances; n++)
        endpoints[n] = mesh->sup->instances[mesh->sup->first[service->sidecar] + n].addr;
    *peer = (bootstrap_peer){.service = service->name,
                             .id = mesh->leaves[index].id,
                             .endpoints = endpoints,
                             .endpoint_count = service->instances};
    return 0;
}

/* Whom a sidecar reaches: what its app uses, or all services. */
static int describe_peers(struct mesh *mesh, const up_instance *sidecar, const up_instance *app,
                          bootstrap *what) {
    bootstrap_peer *peers = weft_arena_calloc(mesh->arena, mesh->apps, sizeof *peers);
    if (!peers) return WEFT_ENOMEM;
    const size_t count = app ? app->service->use_count - 1 : mesh->apps;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = describe_peer(mesh, app ? app->service->use[i] : i, &peers[i]);
        if (app && app->service->names_upstreams)
            peers[i].listen = app->names.upstreams[i] + strlen("unix:");
    }
    what->peers = peers;
    what->peer_count = count;
    what->outbound = sidecar->names.outbound + strlen("unix:");
    return rc;
}

static int write_bootstrap(struct mesh *mesh, up_instance *sidecar) {
    up_sup *sup = mesh->sup;
    const size_t app_index = sidecar->service->app;
    up_instance *app = app_index == UP_NONE
                           ? NULL
                           : &sup->instances[sup->first[app_index] + sidecar->names.number];
    const dev_cert *leaf = &mesh->leaves[app ? app_index : mesh->apps];
    const char *base = weft_arena_printf(mesh->arena, "%s/%s-%u", mesh->dir, sidecar->service->name,
                                         sidecar->names.number);
    const char *file = weft_arena_printf(mesh->arena, "%s.yaml", base);
    const char *spans = weft_arena_printf(mesh->arena, "%s.spans", base);
    bootstrap what = {.node = sidecar->voice.label,
                      .service = leaf->name,
                      .name_space = sup->plan->mesh,
                      .domain = sup->plan->domain,
                      .ca_file = mesh->certs.ca.cert_file,
                      .cert_file = leaf->cert_file,
                      .key_file = leaf->key_file,
                      .admin = weft_arena_printf(mesh->arena, "%s/%s.admin",
                                                 sup->options->runtime_dir, sidecar->voice.label)};
    if (!base || !file || !spans || !what.admin) return WEFT_ENOMEM;
    if (app) {
        what.inbound = &sidecar->addr;
        what.app = &app->addr;
    }
    int rc = describe_peers(mesh, sidecar, app, &what);
    if (rc) return rc;
    unlink(spans); /* of the last run */
    weft_buf text;
    weft_buf_init(&text, 0);
    rc = bootstrap_write(&what, &text);
    int error = rc ? 0 : folder_write_file(file, text.data, text.len, 0600);
    weft_buf_free(&text);
    return error ? fail(mesh, WEFT_EIO, "cannot write %s: %s", file, strerror(error)) : rc;
}

int up_mesh_prepare(up_sup *sup) {
    struct mesh mesh = {.sup = sup,
                        .arena = sup->arena,
                        .dir = sup->instances[sup->count - 1].names.dir,
                        .apps = sup->plan->count - sup->plan->sidecar_count};
    int rc = make_certificates(&mesh);
    for (size_t i = 0; i < sup->count && rc == 0; i++)
        if (sup->instances[i].service->is_sidecar) rc = write_bootstrap(&mesh, &sup->instances[i]);
    return rc;
}
