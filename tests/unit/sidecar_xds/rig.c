#include "tests/unit/sidecar_xds/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "weft/pb.h"

static const config_options options = {.size = sizeof options, .skip_files = true, .dynamic = true};

/* ---- queues */

static void queue_clear(rig_queue *q) {
    for (; q->count; q->count--, q->first = (q->first + 1) % RIG_QUEUE)
        weft_buf_free(&q->items[q->first]);
}

static void queue_put(rig_queue *q, const ProtobufCMessage *message) {
    assert_true(q->count < RIG_QUEUE);
    weft_buf *b = &q->items[(q->first + q->count++) % RIG_QUEUE];
    const size_t len = protobuf_c_message_get_packed_size(message);
    weft_buf_init(b, 0);
    uint8_t *to = (uint8_t *)weft_buf_reserve(b, len + 1);
    assert_non_null(to);
    protobuf_c_message_pack(message, to);
    weft_buf_commit(b, len);
}

static const void *queue_take(rig_queue *q, const ProtobufCMessageDescriptor *type,
                              weft_arena *arena) {
    weft_buf *b = &q->items[q->first];
    const void *message =
        weft_unpack(type, (const uint8_t *)weft_buf_str(b), b->len, NULL, arena, NULL, NULL);
    assert_non_null(message);
    weft_buf_free(b);
    q->first = (q->first + 1) % RIG_QUEUE;
    q->count--;
    return message;
}

/* ---- both sides */

static xds_client *new_client(const rig *r) {
    static const char *const names[] = {"outbound"};
    const xds_client_options with = {.base = r->base,
                                     .config = &options,
                                     .listeners = r->by_name ? names : NULL,
                                     .listener_count = r->by_name,
                                     .seed = r->seed};
    xds_client *client = xds_client_new(&with);
    assert_non_null(client);
    return client;
}

void rig_init(rig *r, const world *w, uint32_t uses, bool by_name, uint64_t seed) {
    static const char text[] = "node: {id: i-1, cluster: order.shop}\n";
    *r = (rig){.uses = uses, .by_name = by_name, .seed = seed};
    assert_int_equal(config_parse(text, sizeof text - 1, &options, &r->base, NULL), 0);
    r->client = new_client(r);
    rig_build(r, w);
}

void rig_free(rig *r) {
    queue_clear(&r->up);
    queue_clear(&r->down);
    xds_stream_free(r->stream);
    xds_client_free(r->client);
    config_unref(r->snapshot);
    config_unref(r->base);
    weft_arena_free(r->built);
}

void rig_open(rig *r, int64_t now) {
    if (r->stream) return;
    r->stream = xds_stream_new(&r->output, "test");
    assert_non_null(r->stream);
    xds_client_opened(r->client, now);
}

void rig_close(rig *r, int64_t now) {
    if (!r->stream) return;
    queue_clear(&r->up);
    queue_clear(&r->down);
    xds_stream_free(r->stream);
    r->stream = NULL;
    xds_client_closed(r->client, now);
}

void rig_build(rig *r, const world *w) {
    weft_arena *arena = weft_arena_new(0);
    control_build_output *next = weft_arena_calloc(arena, 1, sizeof *next);
    world_build(w, r->uses, arena, next);
    if (r->stream) assert_int_equal(xds_stream_set(r->stream, next), 0);
    r->output = *next;
    if (r->stream) assert_int_equal(xds_stream_set(r->stream, &r->output), 0);
    weft_arena_free(r->built);
    r->built = arena;
}

/* Routes of what is in force lead to what is in force. */
static void check_snapshot(const config_snapshot *s) {
    for (uint32_t i = 0; i < s->listener_count; i++) {
        const config_table *table = s->listeners[i].routes;
        for (uint32_t v = 0; v < table->vhost_count; v++)
            for (uint32_t k = 0; k < table->vhosts[v].route_count; k++) {
                const config_route *route = &table->vhosts[v].routes[k];
                for (uint32_t n = 0; n < route->share_count; n++)
                    assert_ptr_equal(config_find_cluster(s, route->shares[n].cluster->name),
                                     route->shares[n].cluster);
            }
    }
}

static void take(rig *r, int64_t now) {
    config_snapshot *next = xds_client_take(r->client, now);
    assert_string_equal(xds_client_problem(r->client), "");
    if (!next) return;
    check_snapshot(next);
    config_unref(r->snapshot);
    r->snapshot = next;
}

void rig_pump(rig *r, int64_t now) {
    weft_arena *arena = weft_arena_new(0);
    EnvoyDiscovery__DiscoveryRequest *request;
    EnvoyDiscovery__DiscoveryResponse *response;
    int rc = 0;
    take(r, now);
    while (r->stream && (rc = xds_client_next(r->client, arena, &request)) == 1)
        queue_put(&r->up, &request->base);
    assert_int_equal(rc, 0);
    while (r->stream && (rc = xds_stream_next(r->stream, now, arena, &response)) == 1) {
        r->responses++;
        r->resources += response->n_resources;
        queue_put(&r->down, &response->base);
    }
    assert_int_equal(rc, 0);
    weft_arena_free(arena);
}

bool rig_deliver_up(rig *r) {
    if (!r->stream || !r->up.count) return false;
    const char *why = "";
    weft_arena *arena = weft_arena_new(0);
    const EnvoyDiscovery__DiscoveryRequest *request =
        queue_take(&r->up, &envoy_discovery__discovery_request__descriptor, arena);
    assert_int_equal(xds_stream_request(r->stream, request, &why), 0);
    weft_arena_free(arena);
    return true;
}

bool rig_deliver_down(rig *r, int64_t now) {
    if (!r->stream || !r->down.count) return false;
    weft_arena *arena = weft_arena_new(0);
    const EnvoyDiscovery__DiscoveryResponse *response =
        queue_take(&r->down, &envoy_discovery__discovery_response__descriptor, arena);
    if (r->watch) r->watch(r->user, response);
    assert_int_equal(xds_client_response(r->client, response, now), 0);
    weft_arena_free(arena);
    take(r, now);
    return true;
}

void rig_run(rig *r, int64_t now) {
    for (int i = 0; i < 1000; i++) {
        rig_pump(r, now);
        const bool up = rig_deliver_up(r), down = rig_deliver_down(r, now);
        if (!up && !down) return;
    }
    fail_msg("both sides talk for ever");
}

void rig_restart_client(rig *r, bool keep, int64_t now) {
    weft_buf saved;
    weft_buf_init(&saved, 0);
    rig_close(r, now);
    assert_int_equal(xds_client_save(r->client, &saved), 0);
    xds_client_free(r->client);
    r->client = new_client(r);
    if (keep) assert_int_equal(xds_client_restore(r->client, saved.data, saved.len), 0);
    weft_buf_free(&saved);
    config_unref(r->snapshot);
    r->snapshot = NULL;
    take(r, now);
}

/* ---- what is expected */

static config_snapshot *expected(const rig *r, weft_arena *arena) {
    config_parts parts = {0};
    config_snapshot *out = NULL;
    char name[CONFIG_NAME_MAX];
    for (int i = 0; i < CONFIG_KINDS; i++) {
        const control_resources *all = &r->output.types[i];
        config_resource **list = weft_arena_calloc(arena, all->count + 1, sizeof *list);
        for (size_t k = 0; k < all->count; k++)
            assert_int_equal(config_resource_new((config_kind)i, all->items[k].value,
                                                 all->items[k].value_len, NULL, &options, name,
                                                 &list[k], NULL),
                             0);
        parts.items[i] = (const config_resource *const *)(const void *)list;
        parts.counts[i] = all->count;
    }
    assert_int_equal(config_assemble(r->base, &parts, &options, &out, NULL), 0);
    for (int i = 0; i < CONFIG_KINDS; i++)
        for (size_t k = 0; k < parts.counts[i]; k++)
            config_resource_unref((config_resource *)(uintptr_t)parts.items[i][k]);
    return out;
}

static void same_routes(const config_table *a, const config_table *b) {
    assert_int_equal(a->vhost_count, b->vhost_count);
    for (uint32_t v = 0; v < a->vhost_count; v++) {
        const config_route *x = &a->vhosts[v].routes[0], *y = &b->vhosts[v].routes[0];
        assert_string_equal(a->vhosts[v].name, b->vhosts[v].name);
        assert_int_equal(x->share_count, y->share_count);
        for (uint32_t n = 0; n < x->share_count; n++) {
            assert_string_equal(x->shares[n].cluster->name, y->shares[n].cluster->name);
            assert_int_equal(x->shares[n].weight, y->shares[n].weight);
        }
    }
}

/* Says what both sides think when they do not agree. */
static void explain(rig *r) {
    weft_buf text;
    if (xds_stream_settled(r->stream) && xds_client_ready(r->client)) return;
    for (int i = 0; i < CONTROL_XDS_TYPES; i++) {
        const xds_stream_state s = xds_stream_status(r->stream, (control_xds_type)i);
        print_message(
            "%d: subscribed %d wildcard %d names %zu told %zu in flight %d refused %d %s\n", i,
            s.subscribed, s.wildcard, s.names, s.resources, s.in_flight, s.refused, s.reason);
    }
    weft_buf_init(&text, 0);
    assert_int_equal(xds_client_describe(r->client, &text), 0);
    print_message("%s\n", weft_buf_str(&text));
    weft_buf_free(&text);
}

void rig_expect_converged(rig *r) {
    explain(r);
    weft_arena *arena = weft_arena_new(0);
    config_snapshot *want = expected(r, arena);
    assert_true(xds_stream_settled(r->stream));
    assert_true(xds_client_ready(r->client));
    assert_non_null(r->snapshot);
    assert_int_equal(r->snapshot->cluster_count, want->cluster_count);
    for (uint32_t i = 0; i < want->cluster_count; i++) {
        const config_cluster *c = config_find_cluster(r->snapshot, want->clusters[i].name);
        assert_non_null(c);
        assert_int_equal(c->hash, want->clusters[i].hash);
    }
    assert_int_equal(r->snapshot->listener_count, want->listener_count);
    for (uint32_t i = 0; i < want->listener_count; i++) {
        const config_listener *l = config_find_listener(r->snapshot, want->listeners[i].name);
        assert_non_null(l);
        same_routes(l->routes, want->listeners[i].routes);
    }
    config_unref(want);
    weft_arena_free(arena);
}
