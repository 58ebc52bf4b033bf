/* What a snapshot says of files that are right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sidecar/config/build.h"
#include "tests/unit/sidecar_config/files.h"
#include "weft/clock.h"
#include "weft/status.h"

#define MS WEFT_NS_PER_MS
#define S WEFT_NS_PER_S

static void minimal(void **state) {
    (void)state;
    config_snapshot *s = files_good("minimal");
    char text[WEFT_ADDR_TEXT];
    assert_string_equal(s->node.id, "order-1");
    assert_true(s->has_admin);
    assert_string_equal(weft_addr_format(&s->admin, text), "unix:/run/weft/admin.sock");
    assert_int_equal(s->listener_count, 1);
    assert_int_equal(s->cluster_count, 1);
    assert_int_equal(s->route_count, 1);
    const config_listener *l = config_find_listener(s, "outbound");
    assert_int_equal(l->direction, CONFIG_OUTBOUND);
    assert_null(l->tls);
    assert_int_equal(l->h2.max_streams, 1000);
    assert_int_equal(l->h2.stream_window, 256 << 10);
    assert_int_equal(l->h2.connection_window, 16 << 20);
    assert_int_equal(l->h2.max_header_bytes, 60 << 10);
    const config_cluster *c = config_find_cluster(s, "product.shop");
    assert_int_equal(c->balance.policy, CONFIG_ROUND_ROBIN);
    assert_int_equal(c->connect_timeout, 5 * S);
    for (int i = 0; i < CONFIG_CLASSES; i++) assert_int_equal(c->thresholds[i].max_requests, 1024);
    assert_int_equal(c->endpoint_count, 1);
    assert_int_equal(c->endpoints[0].weight, 1);
    assert_string_equal(weft_addr_format(&c->endpoints[0].address, text), "127.0.0.1:9000");
    const config_route *r = &l->routes->vhosts[0].routes[0];
    assert_ptr_equal(r->shares[0].cluster, c);
    assert_string_equal(r->name, "product[0]");
    assert_ptr_equal(r->retry, &config_retry_default);
    assert_null(config_find_cluster(s, "cart"));
    assert_null(config_find_listener(s, "cart"));
    config_unref(s);
}

static void full_listener(const config_snapshot *s) {
    const config_listener *l = &s->listeners[0];
    assert_string_equal(s->node.zone, "eu/eu-1/r3");
    assert_int_equal(l->address.kind, WEFT_ADDR_ABSTRACT);
    assert_int_equal(l->h2.max_streams, 200);
    assert_int_equal(l->h2.stream_window, 1 << 20);
    assert_int_equal(l->h2.connection_window, 8 << 20);
    assert_int_equal(l->h2.hpack_table, 8192);
    assert_int_equal(l->h2.keepalive_interval, 30 * S);
    assert_int_equal(l->h2.keepalive_timeout, 5 * S);
    assert_int_equal(l->h2.idle_timeout, 60 * S);
    assert_int_equal(l->h2.max_age, 3600 * S);
    assert_int_equal(l->h2.max_stream_duration, 600 * S);
    assert_int_equal(l->h2.max_headers, 64);
    assert_int_equal(l->h2.max_header_bytes, 32 << 10);
}

static void full_routes(const config_snapshot *s) {
    const config_vhost *v = &s->listeners[0].routes->vhosts[0];
    assert_int_equal(v->route_count, 5);
    assert_int_equal(v->domain_count, 4); /* the one with a port is the same */
    const config_route *watch = &v->routes[0], *canary = &v->routes[1];
    assert_int_equal(watch->priority, CONFIG_CLASS_CRITICAL);
    assert_true(watch->grpc_timeout_capped);
    assert_int_equal(watch->grpc_timeout_max, 30 * S);
    assert_true(watch->retry->declared);
    assert_int_equal(watch->retry->codes, 0);
    assert_int_equal(canary->header_count, 5);
    assert_string_equal(canary->headers[0].name.text, "x-canary");
    assert_string_equal(canary->headers[1].match.text.text, "te");
    assert_int_equal(canary->headers[3].kind, CONFIG_HEADER_ABSENT);
    assert_true(canary->grpc_only);
    assert_int_equal(canary->timeout, 2 * S);
    assert_int_equal(canary->total_weight, 100);
    assert_int_equal(canary->shares[1].upto, 100);
    const config_retry *retry = canary->retry;
    assert_int_equal(retry->codes, 1u << WEFT_UNAVAILABLE | 1u << WEFT_RESOURCE_EXHAUSTED);
    assert_true(retry->conditions & CONFIG_RETRY_5XX);
    assert_true(retry->conditions & CONFIG_RETRY_REFUSED);
    assert_int_equal(retry->max_retries, 3);
    assert_int_equal(retry->per_try_timeout, 500 * MS);
    assert_int_equal(retry->backoff_base, 10 * MS);
    assert_int_equal(retry->backoff_max, 100 * MS);
    assert_int_equal(retry->statuses[0], 429);
    assert_int_equal(v->routes[4].action, CONFIG_REPLY);
    assert_string_equal(v->routes[4].reply_body.text, "ok\n");
}

static void full_cluster(const config_snapshot *s) {
    const config_cluster *c = &s->clusters[0];
    assert_int_equal(c->discovery, CONFIG_DNS);
    assert_int_equal(c->balance.policy, CONFIG_PEAK_EWMA);
    assert_int_equal(c->balance.default_rtt, 20 * MS);
    assert_int_equal(c->balance.decay, 5 * S);
    assert_int_equal(c->balance.failure_penalty, 5 * S);
    assert_int_equal(c->dns_refresh, 2 * S);
    const config_thresholds *normal = &c->thresholds[CONFIG_CLASS_NORMAL];
    assert_int_equal(normal->max_connections, 10);
    assert_int_equal(normal->max_pending, 20);
    assert_int_equal(normal->max_requests, 30);
    assert_true(normal->budget_percent > 24.9 && normal->budget_percent < 25.1);
    assert_int_equal(normal->budget_floor, 5);
    assert_int_equal(normal->max_retries, UINT32_MAX);
    assert_int_equal(c->thresholds[CONFIG_CLASS_CRITICAL].max_retries, 7);
    assert_int_equal(c->thresholds[CONFIG_CLASS_CRITICAL].max_requests, 300);
    assert_int_equal(c->thresholds[CONFIG_CLASS_BATCH].max_requests, 1024);
    assert_string_equal(c->tls->server_name, "product.shop");
    assert_string_equal(c->tls->ids[0], "spiffe://mesh.local/ns/shop/sa/product");
    assert_string_equal(c->tls->dns[0], "product.internal");
    assert_string_equal(c->tls->domain, "mesh.local");
    assert_string_equal(c->tls->key_file, "key.pem");
    assert_int_equal(c->h2.max_streams, 50);
    assert_int_equal(c->h2.idle_timeout, 0);
    assert_int_equal(c->endpoint_count, 3);
    assert_int_equal(c->endpoints[0].weight, 3);
    assert_int_equal(c->endpoints[0].address.kind, WEFT_ADDR_NAME);
    assert_string_equal(c->endpoints[0].zone, "/a/");
    assert_int_equal(c->endpoints[1].health, CONFIG_DRAINING);
    assert_int_equal(c->endpoints[2].priority, 1);
    assert_int_equal(c->endpoints[2].health, CONFIG_UNHEALTHY);
    assert_int_equal(s->clusters[1].balance.policy, CONFIG_LEAST_REQUEST);
}

static config_idempotency method(const config_snapshot *s, const char *path) {
    return config_method(s, path, strlen(path));
}

static void full(void **state) {
    (void)state;
    config_snapshot *s = files_good("full");
    full_listener(s);
    full_routes(s);
    full_cluster(s);
    assert_int_equal(method(s, "/shop.product.v1.ProductService/GetProduct"),
                     CONFIG_NO_SIDE_EFFECTS);
    assert_int_equal(method(s, "/shop.product.v1.ProductService/PutProduct"), CONFIG_IDEMPOTENT);
    assert_int_equal(method(s, "/shop.product.v1.ProductService/Other"),
                     CONFIG_IDEMPOTENCY_UNKNOWN);
    config_unref(s);
}

static void tls(void **state) {
    (void)state;
    config_snapshot *s = files_good("tls");
    const config_listener *l = &s->listeners[0];
    assert_int_equal(l->direction, CONFIG_INBOUND);
    assert_true(l->tls->server && l->tls->require_peer);
    assert_string_equal(l->tls->cert_file, "cert.pem");
    assert_string_equal(l->tls->ca_file, "ca.pem");
    assert_int_equal(l->tls->id_count, 0);
    assert_false(s->clusters[0].tls->server);
    config_unref(s);
}

/* Versions follow content, not the text or the format. */
static void versions(void **state) {
    (void)state;
    weft_buf dump, copy;
    config_snapshot *a = files_good("full"), *b = files_good("minimal");
    assert_string_not_equal(a->version, b->version);
    assert_int_equal(strlen(a->version), CONFIG_VERSION_TEXT - 1);
    weft_buf_init(&dump, 0);
    weft_buf_init(&copy, 0);
    assert_int_equal(config_dump(a, &dump), 0);
    const char *begin = strstr(weft_buf_str(&dump), "\"bootstrap\":");
    assert_non_null(begin);
    begin += strlen("\"bootstrap\":");
    const size_t len = strlen(begin) - 2;
    weft_buf_add(&copy, begin, len);
    config_snapshot *again = files_parse(weft_buf_str(&copy));
    assert_string_equal(again->version, a->version);
    assert_int_equal(again->clusters[0].hash, a->clusters[0].hash);
    assert_int_not_equal(again->clusters[0].hash, again->clusters[1].hash);
    config_unref(again);
    weft_buf_free(&dump);
    weft_buf_free(&copy);
    config_unref(a);
    config_unref(b);
}

static void unsafe_plaintext(void **state) {
    (void)state;
    config_options options = {.size = sizeof options, .skip_files = true, .unsafe_plaintext = true};
    config_snapshot *s = NULL;
    weft_buf text;
    files_read(CONFIG_FILES "/bad/listener_public_plaintext.yaml", &text);
    assert_int_equal(config_parse(weft_buf_str(&text), text.len, &options, &s, NULL), 0);
    config_unref(s);
    options.unsafe_plaintext = false;
    assert_int_equal(config_parse(weft_buf_str(&text), text.len, &options, &s, NULL), WEFT_EPARSE);
    weft_buf_free(&text);
}

static void missing_file(void **state) {
    (void)state;
    config_snapshot *s = NULL;
    weft_arena *arena = weft_arena_new(0);
    weft_diags diags;
    weft_diags_init(&diags, arena, 0);
    assert_int_equal(config_load("/nonexistent/x.yaml", NULL, &s, &diags), WEFT_ENOTFOUND);
    assert_int_equal(diags.count, 1);
    assert_string_equal(diags.first->text, "there is no such file");
    weft_arena_free(arena);
}

/* The same message on the wire; fields of others are ignored, but not within TLS. */
static void from_wire(void **state) {
    (void)state;
    config_snapshot *a = files_good("tls"), *b = NULL;
    const config_options options = {.size = sizeof options, .skip_files = true};
    const config_owner *owner = (const config_owner *)a;
    weft_arena *arena = weft_arena_new(0);
    weft_diags diags;
    size_t len = 0;
    weft_diags_init(&diags, arena, 0);
    uint8_t *bytes = weft_pack(arena, &owner->source->base, &len);
    assert_int_equal(config_from_wire(bytes, len, &options, &b, &diags), 0);
    assert_string_equal(a->version, b->version);
    config_unref(b);
    /* An unknown field of the bootstrap: number 99, varint. */
    uint8_t *more = weft_arena_alloc(arena, len + 3);
    memcpy(more, bytes, len);
    memcpy(more + len, "\x98\x06\x01", 3);
    assert_int_equal(config_from_wire(more, len + 3, &options, &b, &diags), 0);
    config_unref(b);
    /* The same inside of the listener's TLS context. */
    Google__Protobuf__Any *any = owner->source->static_resources->listeners[0]
                                     ->filter_chains[0]
                                     ->transport_socket->typed_config;
    const ProtobufCBinaryData before = any->value;
    uint8_t *inner = weft_arena_alloc(arena, before.len + 3);
    memcpy(inner, before.data, before.len);
    memcpy(inner + before.len, "\x98\x06\x01", 3);
    any->value = (ProtobufCBinaryData){before.len + 3, inner};
    bytes = weft_pack(arena, &owner->source->base, &len);
    any->value = before;
    assert_int_equal(config_from_wire(bytes, len, &options, &b, &diags), WEFT_EPARSE);
    assert_non_null(strstr(diags.first->text, "field 99"));
    assert_int_equal(config_from_wire((const uint8_t *)"\xff", 1, &options, &b, &diags),
                     WEFT_EPARSE);
    weft_arena_free(arena);
    config_unref(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minimal),
        cmocka_unit_test(full),
        cmocka_unit_test(tls),
        cmocka_unit_test(versions),
        cmocka_unit_test(unsafe_plaintext),
        cmocka_unit_test(missing_file),
        cmocka_unit_test(from_wire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
