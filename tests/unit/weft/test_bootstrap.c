/* What weft writes for sidecars, judged by the sidecar's own reader; and what it sees in files of others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sidecar/config/load.h"
#include "tools/weft/bootstrap.h"

static weft_addr addr_of(const char *text) {
    weft_addr addr;
    assert_int_equal(weft_addr_parse(text, &addr, NULL), 0);
    return addr;
}

static config_snapshot *parse(const weft_buf *text) {
    const config_options options = {.size = sizeof options, .file = "made", .skip_files = true};
    config_snapshot *snapshot = NULL;
    weft_arena *arena = weft_arena_new(0);
    weft_diags diags;
    weft_diags_init(&diags, arena, 0);
    const int rc = config_parse(weft_buf_str(text), text->len, &options, &snapshot, &diags);
    weft_diags_print(&diags, stderr);
    weft_arena_free(arena);
    assert_int_equal(rc, 0);
    return snapshot;
}

static bootstrap order_of(const weft_addr *inbound, const weft_addr *app) {
    return (bootstrap){.node = "order-0",
                       .service = "order",
                       .name_space = "shop",
                       .domain = "mesh.local",
                       .ca_file = "/c/ca.pem",
                       .cert_file = "/c/or\"der.pem",
                       .key_file = "/c/order.key",
                       .admin = "/r/order.admin",
                       .inbound = inbound,
                       .app = app,
                       .outbound = "/r/order.out"};
}

static void check_inbound(const config_snapshot *s, const char *to) {
    char text[WEFT_ADDR_TEXT];
    const config_listener *in = config_find_listener(s, "inbound");
    assert_non_null(in);
    assert_int_equal(in->direction, CONFIG_INBOUND);
    assert_true(in->tls->require_peer);
    assert_string_equal(in->tls->domain, "mesh.local");
    assert_string_equal(in->tls->cert_file, "/c/or\"der.pem");
    assert_string_equal(in->tls->ca_file, "/c/ca.pem");
    const config_cluster *app = config_find_cluster(s, BOOTSTRAP_APP);
    assert_non_null(app);
    assert_null(app->tls);
    assert_int_equal(app->endpoint_count, 1);
    assert_string_equal(weft_addr_format(&app->endpoints[0].address, text), to);
    assert_ptr_equal(in->routes->any->routes[0].shares[0].cluster, app);
    assert_true(in->routes->any->routes[0].timeout == 0);
}

static void writes(void **state) {
    (void)state;
    char text[WEFT_ADDR_TEXT];
    weft_addr inbound = addr_of("127.0.0.1:7001"), app = addr_of("unix:/r/order.sock");
    const weft_addr products[] = {addr_of("unix:/r/product-0.in"), addr_of("[::1]:7002")};
    const weft_addr users[] = {addr_of("unix-abstract:user")};
    const bootstrap_peer peers[] = {
        {.service = "product",
         .id = "spiffe://mesh.local/ns/shop/sa/product",
         .endpoints = products,
         .endpoint_count = 2},
        {.service = "user",
         .id = "spiffe://mesh.local/ns/shop/sa/user",
         .endpoints = users,
         .endpoint_count = 1,
         .listen = "/r/order.user"},
    };
    bootstrap what = order_of(&inbound, &app);
    what.peers = peers;
    what.peer_count = 2;
    weft_buf out;
    weft_buf_init(&out, 0);
    assert_int_equal(bootstrap_write(&what, &out), 0);
    config_snapshot *s = parse(&out);
    assert_string_equal(s->node.id, "order-0");
    assert_string_equal(s->node.cluster, "order.shop");
    assert_string_equal(weft_addr_format(&s->admin, text), "unix:/r/order.admin");
    assert_int_equal(s->listener_count, 3);
    assert_int_equal(s->cluster_count, 3);
    check_inbound(s, "unix:/r/order.sock");
    const config_cluster *product = config_find_cluster(s, "product.shop");
    assert_int_equal(product->balance.policy, CONFIG_PEAK_EWMA);
    assert_int_equal(product->endpoint_count, 2);
    assert_string_equal(weft_addr_format(&product->endpoints[1].address, text), "[::1]:7002");
    assert_int_equal(product->tls->id_count, 1);
    assert_string_equal(product->tls->ids[0], "spiffe://mesh.local/ns/shop/sa/product");
    assert_string_equal(product->tls->server_name, "product.shop");
    const config_cluster *user = config_find_cluster(s, "user.shop");
    assert_string_equal(weft_addr_format(&user->endpoints[0].address, text), "unix-abstract:user");
    const config_listener *listener = config_find_listener(s, "outbound");
    assert_int_equal(listener->direction, CONFIG_OUTBOUND);
    assert_string_equal(weft_addr_format(&listener->address, text), "unix:/r/order.out");
    const config_table *routes = listener->routes;
    assert_int_equal(routes->vhost_count, 2);
    assert_non_null(config_index_find(&routes->domains, "product", 7));
    assert_non_null(config_index_find(&routes->domains, "user.shop", 9));
    const config_listener *one = config_find_listener(s, "outbound-user");
    assert_string_equal(weft_addr_format(&one->address, text), "unix:/r/order.user");
    assert_ptr_equal(one->routes->any->routes[0].shares[0].cluster, user);
    config_unref(s);
    weft_buf_free(&out);
}

static void writes_what_calls_nobody(void **state) {
    (void)state;
    weft_addr inbound = addr_of("unix:/r/order.in"), app = addr_of("127.0.0.1:5000");
    bootstrap what = order_of(&inbound, &app);
    weft_buf out;
    weft_buf_init(&out, 0);
    assert_int_equal(bootstrap_write(&what, &out), 0);
    config_snapshot *s = parse(&out);
    assert_int_equal(s->listener_count, 1);
    check_inbound(s, "127.0.0.1:5000");
    config_unref(s);
    weft_buf_free(&out);
}

static void writes_what_nobody_calls(void **state) {
    (void)state;
    const weft_addr products[] = {addr_of("unix:/r/product.in")};
    const bootstrap_peer peer = {.service = "product",
                                 .id = "spiffe://mesh.local/ns/shop/sa/product",
                                 .endpoints = products,
                                 .endpoint_count = 1};
    bootstrap what = order_of(NULL, NULL);
    what.peers = &peer;
    what.peer_count = 1;
    weft_buf out;
    weft_buf_init(&out, 0);
    assert_int_equal(bootstrap_write(&what, &out), 0);
    config_snapshot *s = parse(&out);
    assert_int_equal(s->listener_count, 1);
    assert_int_equal(s->cluster_count, 1);
    assert_null(config_find_cluster(s, BOOTSTRAP_APP));
    config_unref(s);
    weft_buf_free(&out);
}

/* ---- reading */

#define ADDRESS(host, port) "{socketAddress: {address: \"" host "\", port_value: " port "}}"
#define ROUTES(cluster)                                                                \
    "[{filters: [{typed_config: {routeConfig: {virtual_hosts: [{routes: [{match: {}, " \
    "route: {cluster: " cluster "}}]}]}}}]}]"
#define CLUSTER(name, address)                                                                    \
    "{name: " name ", loadAssignment: {endpoints: [{lb_endpoints: [{endpoint: {address: " address \
    "}}]}]}}"

static void looks(void **state) {
    (void)state;
    static const struct {
        const char *text, *outbound, *app;
    } cases[] = {
        {"{}", NULL, NULL},
        {"static_resources: 3", NULL, NULL},
        {"static_resources: {listeners: [1, {}, {address: 7}]}", NULL, NULL},
        {"static_resources: {listeners: [{address: {pipe: {path: /r/o}}}]}", "unix:/r/o", NULL},
        {"{\"staticResources\": {\"listeners\": [{\"trafficDirection\": \"OUTBOUND\", \"address\": "
         "{\"pipe\": {\"path\": \"@o\"}}}]}}",
         "unix-abstract:o", NULL},
        {"static_resources: {listeners: [{address: " ADDRESS("::1", "80") "}, {address: " ADDRESS(
             "127.0.0.1", "81") "}]}",
         "[::1]:80", NULL},
        {"static_resources: {listeners: [{traffic_direction: INBOUND, address: " ADDRESS("0.0.0.0", "80") ", filterChains: " ROUTES(
             "b") "}], clusters: [" CLUSTER("a", ADDRESS("127.0.0.1",
                                                         "1")) ", " CLUSTER("b",
                                                                            ADDRESS("127.0.0.1",
                                                                                    "5000")) "]}",
         NULL, "127.0.0.1:5000"},
        {"static_resources: {listeners: [{filter_chains: [{transport_socket: {}}]}, {address: " ADDRESS(
             "127.0.0.1", "82") "}]}",
         "127.0.0.1:82", NULL},
        {"static_resources: {listeners: [{traffic_direction: INBOUND, filter_chains: " ROUTES(
             "gone") "}], clusters: []}",
         NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[] = "/tmp/weft-look-XXXXXX";
        const int fd = mkstemp(path);
        const size_t len = strlen(cases[i].text);
        assert_true(fd >= 0 && write(fd, cases[i].text, len) == (ssize_t)len);
        (void)close(fd);
        weft_arena *arena = weft_arena_new(0);
        weft_diags diags;
        weft_diags_init(&diags, arena, 0);
        bootstrap_view view;
        const int rc = bootstrap_look(path, arena, &view, &diags);
        (void)unlink(path);
        weft_diags_print(&diags, stderr);
        assert_int_equal(rc, 0);
        const char *got[] = {view.outbound, view.app}, *want[] = {cases[i].outbound, cases[i].app};
        for (int k = 0; k < 2; k++) {
            if (!want[k] != !got[k]) fail_msg("case %zu: %s", i, got[k] ? got[k] : "nothing");
            if (want[k]) assert_string_equal(got[k], want[k]);
        }
        weft_arena_free(arena);
    }
}

static void looks_at_rubbish(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    weft_diags diags;
    weft_diags_init(&diags, arena, 0);
    bootstrap_view view;
    assert_int_equal(bootstrap_look("/no/such/file", arena, &view, &diags), WEFT_ENOTFOUND);
    assert_int_equal(diags.count, 0);
    weft_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes),
        cmocka_unit_test(writes_what_calls_nobody),
        cmocka_unit_test(writes_what_nobody_calls),
        cmocka_unit_test(looks),
        cmocka_unit_test(looks_at_rubbish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
