/* Aggregated discovery over gRPC: a stream of a node has the state machine of xds/stream.h, resources of build/
 * for this node, and two threads: the handler's reads, one of its own writes.
 *
 *     request ──► reader ──► xds_stream ◄── writer ◄── world (documents, registry)
 *                               └─────────────┴──► response */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "envoy/service/discovery/v3/ads.weft.h"
#include "services/control/build/build.h"
#include "services/control/control.h"
#include "services/control/xds/stream.h"
#include "weft/log.h"
#include "weft/map.h"
#include "weft/mem.h"

typedef envoy_discovery_aggregated_discovery_stream_aggregated_resources_server_stream wire_stream;
#define wire_next envoy_discovery_aggregated_discovery_stream_aggregated_resources_server_next
#define wire_send envoy_discovery_aggregated_discovery_stream_aggregated_resources_server_send
#define wire_keep envoy_discovery_aggregated_discovery_stream_aggregated_resources_server_keep
#define wire_status envoy_discovery_aggregated_discovery_stream_aggregated_resources_server_status

#define FIRST_WORLD_NS \
    (5 * WEFT_NS_PER_S) /* how long a stream waits for the first one after the start */
#define WRITER_STACK ((size_t)256 * 1024)
#define RESPONSE_ARENA ((size_t)64 << 20)

/* What was built for a node; lives in its own arena, since streams point into it. */
typedef struct built {
    weft_arena *arena;
    control_build_output output; /* strings are the arena's and the world's */
    world *from;                 /* a reference */
    size_t demand;               /* how many names were asked for */
} built;

/* Invariants: `stream` and `demand` are used under `lock`; `now` is replaced by the writer only, under it. */
typedef struct node_stream {
    control *c;
    weft_ctx *ctx;
    wire_stream *wire;
    control_node node; /* strings live in the context */
    world_watch watch;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool due; /* something happened */
    bool over;
    xds_stream *stream;
    built *now;
    weft_map demand; /* names asked for that were not there → NULL */
} node_stream;

static void poke(node_stream *s) {
    (void)pthread_mutex_lock(&s->lock);
    s->due = true;
    (void)pthread_cond_signal(&s->wake);
    (void)pthread_mutex_unlock(&s->lock);
}

static void on_world(world_watch *watch) { poke(WEFT_CONTAINER(watch, node_stream, watch)); }

/* ---- building */

static void built_free(built *b) {
    if (!b) return;
    world_unref(b->from);
    weft_arena_free(b->arena);
}

/* The names asked for, copied into the arena. */
static int take_demand(node_stream *s, weft_arena *arena, control_node *node) {
    size_t at = 0;
    const char *name;
    int error = 0;
    (void)pthread_mutex_lock(&s->lock);
    const size_t room = weft_map_count(&s->demand);
    const char **names = weft_arena_calloc(arena, room ? room : 1, sizeof *names);
    node->demand = names;
    node->demand_count = 0;
    if (!names) error = WEFT_ENOMEM;
    while (!error && weft_map_next(&s->demand, &at, &name, NULL, NULL)) {
        names[node->demand_count] = weft_arena_strdup(arena, name);
        if (!names[node->demand_count++]) error = WEFT_ENOMEM;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return error;
}

static int build(node_stream *s, world *w, built **out, const char **why) {
    control_node node = s->node;
    weft_arena *arena = weft_arena_new(0);
    built *made = arena ? weft_arena_calloc(arena, 1, sizeof *made) : NULL;
    if (!made) {
        weft_arena_free(arena);
        return WEFT_ENOMEM;
    }
    made->arena = arena;
    made->from = world_ref(w);
    int error = take_demand(s, arena, &node);
    made->demand = node.demand_count;
    if (!error) error = control_build(w->docs->set, &w->view, &node, arena, &made->output, why);
    if (error)
        built_free(made);
    else
        *out = made;
    return error;
}

/* The writer's: what is there now, if it is not what the stream has. */
static int rebuild(node_stream *s) {
    built *fresh = NULL;
    const char *why = "";
    world *w = world_get(&s->c->world);
    (void)pthread_mutex_lock(&s->lock);
    const bool same = w == s->now->from && weft_map_count(&s->demand) == s->now->demand;
    (void)pthread_mutex_unlock(&s->lock);
    int error = same ? 0 : build(s, w, &fresh, &why);
    if (error)
        weft_log(WEFT_LOG_WARN, "a node's resources cannot be built: it keeps what it has",
                 WEFT_S("node", s->node.id), WEFT_S("why", *why ? why : weft_strerror(error)));
    if (!error && !same) {
        (void)pthread_mutex_lock(&s->lock);
        error = xds_stream_set(s->stream, &fresh->output);
        built *old = error ? fresh : s->now;
        if (!error) s->now = fresh;
        (void)pthread_mutex_unlock(&s->lock);
        built_free(old);
    }
    world_unref(w);
    return error;
}

/* ---- writing */

static bool write_due(node_stream *s, weft_arena *arena) {
    for (;;) {
        EnvoyDiscovery__DiscoveryResponse *response = NULL;
        (void)pthread_mutex_lock(&s->lock);
        const int more = xds_stream_next(s->stream, weft_now(NULL), arena, &response);
        (void)pthread_mutex_unlock(&s->lock);
        if (more <= 0) return more == 0;
        const bool sent = wire_send(s->wire, response);
        weft_arena_reset(arena);
        if (!sent) return false;
    }
}

/* False: the stream is over. */
static bool wait_due(node_stream *s) {
    (void)pthread_mutex_lock(&s->lock);
    while (!s->due && !s->over) {
        const int64_t when = xds_stream_wake(s->stream);
        if (when == INT64_MAX) {
            (void)pthread_cond_wait(&s->wake, &s->lock);
            continue;
        }
        const struct timespec until = {.tv_sec = when / WEFT_NS_PER_S,
                                       .tv_nsec = when % WEFT_NS_PER_S};
        if (pthread_cond_timedwait(&s->wake, &s->lock, &until)) break;
    }
    s->due = false;
    const bool go_on = !s->over;
    (void)pthread_mutex_unlock(&s->lock);
    return go_on && !world_closed(&s->c->world);
}

static void *writer(void *user) {
    node_stream *s = user;
    weft_arena *arena = weft_arena_new(RESPONSE_ARENA);
    bool good = arena != NULL;
    while (good && wait_due(s)) {
        (void)rebuild(s);
        good = write_due(s, arena);
    }
    weft_arena_free(arena);
    return NULL;
}

static bool start_writer(node_stream *s, pthread_t *thread) {
    pthread_attr_t attributes;
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, WRITER_STACK);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool good = pthread_create(thread, &attributes, writer, s) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return good;
}

/* ---- reading */

/* A node is what its certificate says. */
static weft_status attest(node_stream *s) {
    const control_peer peer = control_peer_of(s->c, s->ctx);
    char identity[CRYPTO_TOKEN_IDENTITY], line[AUDIT_TEXT];
    if (peer.trusted) return weft_ok();
    if (!peer.identity)
        return weft_unauthenticated(s->ctx, "discovery needs mTLS: join first, with a token");
    if (s->node.kind == CONTROL_NODE_GRPC && !*s->node.service) return weft_ok();
    const char *home = *s->node.name_space ? s->node.name_space : MODEL_NAMESPACE;
    if (!crypto_spiffe_format(s->c->options.domain, home, s->node.service, identity,
                              sizeof identity) &&
        !strcmp(identity, peer.identity))
        return weft_ok();
    (void)snprintf(line, sizeof line, "discovery refused: %s may not ask as %.64s.%.64s",
                   peer.identity, s->node.service, home);
    (void)audit_refusal(&s->c->log, "discovery.refused", peer.identity, line);
    return weft_permission_denied(s->ctx, "%s", line);
}

static void want(void *user, const char *name) {
    node_stream *s = user;
    char full[512];
    /* Subsets come with their service. */
    const size_t size = strcspn(name, ";");
    if (!size || size >= sizeof full) return;
    memcpy(full, name, size);
    full[size] = '\0';
    if (weft_map_put(&s->demand, full, NULL) < 0)
        weft_log(WEFT_LOG_DEBUG, "a node asks for too many names", WEFT_S("node", s->node.id));
}

static weft_status hear(node_stream *s, const EnvoyDiscovery__DiscoveryRequest *request) {
    const char *why = "";
    (void)pthread_mutex_lock(&s->lock);
    const int error = xds_stream_request(s->stream, request, &why);
    for (int type = 0; !error && type < CONTROL_XDS_TYPES; type++)
        xds_stream_wants(s->stream, (control_xds_type)type, want, s);
    s->due = true;
    (void)pthread_cond_signal(&s->wake);
    (void)pthread_mutex_unlock(&s->lock);
    if (request->error_detail)
        weft_log(WEFT_LOG_WARN, "a node refuses its resources", WEFT_S("node", s->node.id),
                 WEFT_S("type", request->type_url), WEFT_S("why", request->error_detail->message));
    if (!error) return weft_ok();
    return error == WEFT_ENOMEM ? weft_resource_exhausted(s->ctx, "out of memory")
                                : weft_invalid(s->ctx, "resource_names", "%s", why);
}

static weft_status begin(node_stream *s, const EnvoyDiscovery__DiscoveryRequest *request) {
    const char *why = "";
    if (!request->node) return weft_invalid(s->ctx, "node", "must be in the first request");
    if (control_node_read(&request->node->base, weft_ctx_arena(s->ctx), &s->node, &why) < 0)
        return weft_invalid(s->ctx, "node", "%s", why);
    weft_status st = attest(s);
    if (weft_failed(st)) return st;
    world *w = world_wait(&s->c->world, 0, weft_now(NULL) + FIRST_WORLD_NS);
    if (!w) return weft_unavailable(s->ctx, "the control plane is not ready yet; try again");
    const int error = build(s, w, &s->now, &why);
    world_unref(w);
    if (error == WEFT_EINVAL) return weft_invalid(s->ctx, "node", "%s", why);
    if (error) return weft_resource_exhausted(s->ctx, "%s", weft_strerror(error));
    s->stream = xds_stream_new(&s->now->output, s->c->identity);
    return s->stream ? weft_ok() : weft_resource_exhausted(s->ctx, "out of memory");
}

static weft_status talk(node_stream *s) {
    EnvoyDiscovery__DiscoveryRequest *request;
    pthread_t thread;
    if (!wire_next(s->wire, &request)) return wire_status(s->wire);
    wire_keep(s->wire); /* the node's strings are used to the end */
    weft_status st = begin(s, request);
    if (!weft_failed(st)) st = hear(s, request);
    if (weft_failed(st)) return st;
    world_watch_begin(&s->c->world, &s->watch);
    const bool writing = start_writer(s, &thread);
    if (!writing) st = weft_resource_exhausted(s->ctx, "no thread for this stream");
    while (!weft_failed(st) && wire_next(s->wire, &request)) st = hear(s, request);
    if (!weft_failed(st)) st = wire_status(s->wire);
    world_watch_end(&s->c->world, &s->watch);
    (void)pthread_mutex_lock(&s->lock);
    s->over = true;
    (void)pthread_cond_signal(&s->wake);
    (void)pthread_mutex_unlock(&s->lock);
    if (writing) (void)pthread_join(thread, NULL);
    return st;
}

static weft_status serve(weft_ctx *ctx, wire_stream *wire) {
    pthread_condattr_t monotonic;
    node_stream s = {.c = weft_ctx_service(ctx), .ctx = ctx, .wire = wire};
    s.watch.changed = on_world;
    (void)pthread_mutex_init(&s.lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s.wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    weft_map_init(&s.demand, CONTROL_DEMAND_MAX);
    const weft_status st = talk(&s);
    xds_stream_free(s.stream);
    built_free(s.now);
    weft_map_free(&s.demand, NULL);
    (void)pthread_cond_destroy(&s.wake);
    (void)pthread_mutex_destroy(&s.lock);
    return st;
}

int control_serve_discovery(weft_server *server, control *c) {
    static const envoy_discovery_aggregated_discovery_service handlers = {
        .stream_aggregated_resources = serve};
    return envoy_discovery_aggregated_discovery_service_add(server, &handlers, c);
}
