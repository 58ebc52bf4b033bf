/* Connections to endpoints: when one is up, when there is another, who waits and who is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/sidecar_upstream/mesh.h"
#include "weft/status.h"

static mesh m;

static void expect(const mesh_call *c, int status, const char *part) {
    assert_true(c->done);
    if (c->reset || c->status != status) fail_msg("status %d, %s", c->status, c->message);
    if (part && !strstr(c->message, part)) fail_msg("\"%s\" is not in \"%s\"", part, c->message);
}

static size_t up(void) { return upstream_conns_up(m.worker.up); }
static cluster_bulkhead *bulkhead(void) { return &mesh_shared(&m)->classes[CONFIG_CLASS_NORMAL]; }
static uint32_t pending(void) { return cluster_gauge_now(&bulkhead()->pending); }
static mesh_server *server(void) { return &m.servers[0]; }

#define LIMITS(text) .cluster = "    circuit_breakers: {thresholds: [{" text "}]}\n"

/* ---- when it is up */

static void test_up_with_settings(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){0});
    server()->mute = true;
    mesh_unary(&m, &c);
    mesh_run(&m, 990);
    assert_int_equal(server()->peer_count, 1); /* accepted, but nobody spoke HTTP/2 */
    assert_int_equal(up(), 0);
    assert_int_equal(pending(), 1);
    assert_false(c.done);
    mesh_run(&m, 20); /* connect_timeout is 1 s, SETTINGS included */
    expect(&c, WEFT_UNAVAILABLE, "10.0.1.1:80");
    assert_int_equal(mesh_counter(&m, TELEMETRY_CONNECT_FAILURES), 1);
    assert_int_equal(pending(), 0);
    server()->mute = false;
    server()->ok = true;
    mesh_run(&m, 200);
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    expect(&c, WEFT_OK, NULL);
    assert_int_equal(up(), 1);
    assert_int_equal(mesh_counter(&m, TELEMETRY_CONNECTIONS_OPEN_OUT), 1);
    mesh_close(&m);
}

static void test_connect_timeout(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){0});
    net_sim_set_faults(m.sim, &(net_faults){.lose_connect = 1000000});
    mesh_unary(&m, &c);
    mesh_run(&m, 990);
    assert_false(c.done);
    mesh_run(&m, 20);
    expect(&c, WEFT_UNAVAILABLE, "10.0.1.1:80");
    assert_true(c.done_at >= WEFT_NS_PER_S);
    mesh_close(&m);
}

/* ---- how many */

static void test_one_for_all(void **state) {
    (void)state;
    mesh_call calls[40];
    mesh_open(&m, &(mesh_config){.servers = 2});
    m.servers[0].ok = m.servers[1].ok = true;
    for (int i = 0; i < 40; i++) mesh_unary(&m, &calls[i]);
    mesh_run(&m, 0);
    for (int i = 0; i < 40; i++) expect(&calls[i], WEFT_OK, NULL);
    assert_int_equal(m.servers[0].peer_count, 1);
    assert_int_equal(m.servers[1].peer_count, 1);
    mesh_close(&m);
}

static void test_another_when_full(void **state) {
    (void)state;
    mesh_call calls[5];
    mesh_open(&m, &(mesh_config){0});
    server()->limits.max_streams = 2;
    for (int i = 0; i < 5; i++) mesh_unary(&m, &calls[i]);
    mesh_run(&m, 0);
    assert_int_equal(server()->request_count, 5);
    assert_int_equal(server()->peer_count, 3);
    assert_int_equal(up(), 3);
    for (size_t i = 0; i < 5; i++) mesh_answer(mesh_at(&m, 0, i));
    mesh_run(&m, 0);
    for (int i = 0; i < 5; i++) expect(&calls[i], WEFT_OK, NULL);
    mesh_close(&m);
}

/* All connections there may be are full: whoever comes waits, in order, for a stream that ends. */
static void test_queue(void **state) {
    (void)state;
    enum { MOST = UPSTREAM_CONNS_MAX, CALLS = MOST + 3 };
    mesh_call calls[CALLS];
    mesh_open(&m, &(mesh_config){0});
    server()->limits.max_streams = 1;
    for (int i = 0; i < CALLS; i++) mesh_unary(&m, &calls[i]);
    mesh_run(&m, 100);
    assert_int_equal(server()->request_count, MOST);
    assert_int_equal(server()->peer_count, MOST);
    assert_int_equal(pending(), 3);
    for (size_t i = 0; i < CALLS; i++) {
        mesh_answer(mesh_at(&m, 0, i));
        mesh_run(&m, 0);
        expect(&calls[i], WEFT_OK, NULL);
    }
    assert_int_equal(server()->peer_count, MOST);
    assert_int_equal(pending(), 0);
    mesh_close(&m);
}

static void test_max_connections(void **state) {
    (void)state;
    mesh_call a, b;
    mesh_open(&m, &(mesh_config){LIMITS("max_connections: 1")});
    server()->limits.max_streams = 1;
    mesh_unary(&m, &a);
    mesh_unary(&m, &b);
    mesh_run(&m, 0);
    assert_int_equal(server()->peer_count, 1); /* b waits for a's stream */
    assert_int_equal(pending(), 1);
    assert_true(mesh_counter(&m, TELEMETRY_OVERFLOW_CONNECTIONS) >= 1);
    mesh_answer(mesh_at(&m, 0, 0));
    mesh_run(&m, 0);
    expect(&a, WEFT_OK, NULL);
    mesh_answer(mesh_at(&m, 0, 1));
    mesh_run(&m, 0);
    expect(&b, WEFT_OK, NULL);
    mesh_close(&m);
}

/* The limit is the cluster's: who is sent to an endpoint without a connection finds one elsewhere. */
static void test_max_connections_elsewhere(void **state) {
    (void)state;
    mesh_call calls[6];
    mesh_open(&m, &(mesh_config){.servers = 2, LIMITS("max_connections: 1")});
    m.servers[0].ok = m.servers[1].ok = true;
    for (int i = 0; i < 6; i++) {
        mesh_unary(&m, &calls[i]);
        mesh_run(&m, 0);
        expect(&calls[i], WEFT_OK, NULL);
    }
    assert_int_equal(m.servers[0].peer_count + m.servers[1].peer_count, 1);
    mesh_close(&m);
}

/* The peer may allow more streams at any time (RFC 9113 section 6.5.3). */
static void test_more_streams(void **state) {
    (void)state;
    mesh_call calls[3];
    mesh_open(&m, &(mesh_config){LIMITS("max_connections: 1")});
    server()->limits.max_streams = 1;
    for (int i = 0; i < 3; i++) mesh_unary(&m, &calls[i]);
    mesh_run(&m, 0);
    assert_int_equal(server()->request_count, 1);
    server()->limits.max_streams = 2;
    mesh_max_streams(&server()->peers[0], 2);
    mesh_run(&m, 0);
    assert_int_equal(server()->request_count, 2);
    mesh_answer(mesh_at(&m, 0, 1));
    mesh_run(&m, 0);
    mesh_answer(mesh_at(&m, 0, 2));
    mesh_answer(mesh_at(&m, 0, 0));
    mesh_run(&m, 0);
    for (int i = 0; i < 3; i++) expect(&calls[i], WEFT_OK, NULL);
    mesh_close(&m);
}

/* ---- limits that refuse, by their names */

static void test_no_connections(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){LIMITS("max_connections: 0")});
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    expect(&c, WEFT_UNAVAILABLE, "max_connections");
    assert_int_equal(mesh_counter(&m, TELEMETRY_CONNECT_FAILURES), 0);
    mesh_close(&m);
}

static void test_max_pending(void **state) {
    (void)state;
    mesh_call a, b, c;
    mesh_open(&m, &(mesh_config){LIMITS("max_pending_requests: 2")});
    server()->mute = true;
    mesh_unary(&m, &a);
    mesh_unary(&m, &b);
    mesh_unary(&m, &c);
    mesh_run(&m, 10);
    expect(&c, WEFT_UNAVAILABLE, "max_pending_requests");
    assert_false(a.done || b.done);
    assert_int_equal(mesh_counter(&m, TELEMETRY_OVERFLOW_PENDING), 1);
    mesh_call_cancel(&a); /* makes room */
    mesh_run(&m, 0);
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    assert_false(c.done);
    mesh_close(&m);
}

static void test_max_requests(void **state) {
    (void)state;
    mesh_call a, b;
    mesh_open(&m, &(mesh_config){LIMITS("max_requests: 1")});
    mesh_unary(&m, &a);
    mesh_unary(&m, &b);
    mesh_run(&m, 0);
    expect(&b, WEFT_UNAVAILABLE, "max_requests");
    assert_int_equal(mesh_counter(&m, TELEMETRY_OVERFLOW_REQUESTS), 1);
    mesh_answer(mesh_at(&m, 0, 0));
    mesh_run(&m, 0);
    expect(&a, WEFT_OK, NULL);
    mesh_unary(&m, &b);
    mesh_run(&m, 0);
    mesh_answer(mesh_at(&m, 0, 1));
    mesh_run(&m, 0);
    expect(&b, WEFT_OK, NULL);
    mesh_close(&m);
}

/* ---- who leaves before their turn */

static void test_deadline_while_queued(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){0});
    server()->mute = true;
    mesh_call_begin(&m, &c, 5, true, "grpc-timeout", "50m", NULL);
    mesh_run(&m, 49);
    assert_false(c.done);
    mesh_run(&m, 3);
    expect(&c, WEFT_DEADLINE_EXCEEDED, "no connection to echo");
    assert_int_equal(pending(), 0);
    mesh_close(&m);
}

static void test_cancel_while_connecting(void **state) {
    (void)state;
    mesh_call a, b;
    mesh_open(&m, &(mesh_config){0});
    net_sim_set_faults(m.sim, &(net_faults){.latency_min = 50 * WEFT_NS_PER_MS,
                                            .latency_max = 50 * WEFT_NS_PER_MS});
    mesh_unary(&m, &a);
    mesh_unary(&m, &b);
    mesh_run(&m, 60); /* at the sidecar, which dials */
    assert_int_equal(pending(), 2);
    mesh_call_cancel(&a);
    mesh_run(&m, 60);
    assert_int_equal(pending(), 1);
    mesh_run(&m, 200);
    assert_int_equal(server()->request_count, 1); /* a never left */
    mesh_answer(mesh_at(&m, 0, 0));
    mesh_run(&m, 200);
    expect(&b, WEFT_OK, NULL);
    mesh_close(&m);
}

static void test_cancel_while_queued(void **state) {
    (void)state;
    mesh_call a, b, c;
    mesh_open(&m, &(mesh_config){LIMITS("max_connections: 1")});
    server()->limits.max_streams = 1;
    mesh_unary(&m, &a);
    mesh_unary(&m, &b);
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    assert_int_equal(pending(), 2);
    mesh_call_cancel(&b);
    mesh_run(&m, 0);
    assert_int_equal(pending(), 1);
    mesh_call_cancel(&a); /* a stream that is cancelled makes room, too */
    mesh_run(&m, 0);
    assert_true(mesh_at(&m, 0, 0)->over);
    mesh_answer(mesh_at(&m, 0, 1));
    mesh_run(&m, 0);
    expect(&c, WEFT_OK, NULL);
    mesh_close(&m);
}

static void test_cancel_after_headers(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){0});
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    mesh_headers(mesh_at(&m, 0, 0));
    mesh_run(&m, 0);
    assert_int_equal(c.headers, 1);
    mesh_call_cancel(&c);
    mesh_run(&m, 0);
    assert_true(mesh_at(&m, 0, 0)->over);
    assert_int_equal(mesh_at(&m, 0, 0)->reset, H2_CANCEL);
    assert_int_equal(up(), 1); /* the connection is none the worse */
    mesh_close(&m);
}

/* ---- connections that leave */

/* A peer that goes away takes its streams' room with it: who waits for it needs another connection. */
static void test_goaway_with_queue(void **state) {
    (void)state;
    mesh_call a, b;
    mesh_open(&m, &(mesh_config){LIMITS("max_connections: 2")});
    server()->limits.max_streams = 1;
    mesh_unary(&m, &a);
    mesh_run(&m, 0);
    mesh_request *first = mesh_at(&m, 0, 0);
    /* The second connection cannot be had yet. */
    mesh_listen(&m, 0, false);
    mesh_unary(&m, &b);
    mesh_run(&m, 0);
    assert_int_equal(pending(), 1);
    mesh_listen(&m, 0, true);
    mesh_run(&m, 200);
    mesh_goaway(first->peer, h2_stream_id(first->stream));
    mesh_run(&m, 0);
    mesh_answer(mesh_at(&m, 0, 1));
    mesh_run(&m, 0);
    expect(&b, WEFT_OK, NULL);
    assert_false(a.done);
    mesh_answer(first);
    mesh_run(&m, 0);
    expect(&a, WEFT_OK, NULL);
    mesh_close(&m);
}

/* However many connections are on their way out with a stream that does not end, there is one for
 * those who come. */
static void test_long_streams_on_leaving(void **state) {
    (void)state;
    enum { LONG = UPSTREAM_CONNS_MAX + 2 };
    mesh_call streams[LONG], c;
    mesh_open(&m, &(mesh_config){0});
    for (size_t i = 0; i < LONG; i++) {
        mesh_unary(&m, &streams[i]);
        mesh_run(&m, 0);
        mesh_request *r = mesh_at(&m, 0, i);
        mesh_headers(r);
        mesh_goaway(r->peer, h2_stream_id(r->stream));
        mesh_run(&m, 0);
    }
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    mesh_answer(mesh_at(&m, 0, LONG));
    mesh_run(&m, 0);
    expect(&c, WEFT_OK, NULL);
    for (size_t i = 0; i < LONG; i++) mesh_trailers(mesh_at(&m, 0, i), WEFT_OK);
    mesh_run(&m, 0);
    for (size_t i = 0; i < LONG; i++) expect(&streams[i], WEFT_OK, NULL);
    assert_int_equal(up(), 1);
    mesh_close(&m);
}

/* max_connection_duration: GOAWAY from us; the stream goes on, new ones and those that wait go to
 * another connection. */
static void test_age(void **state) {
    (void)state;
    mesh_call a, b, c;
    mesh_open(&m, &(mesh_config){.cluster = "    typed_extension_protocol_options:\n"
                                            "      envoy.extensions.upstreams.http.v3."
                                            "HttpProtocolOptions:\n"
                                            "        \"@type\": type.googleapis.com/envoy."
                                            "extensions.upstreams.http.v3.HttpProtocolOptions\n"
                                            "        common_http_protocol_options: "
                                            "{max_connection_duration: 5s}\n"
                                            "        explicit_http_config: "
                                            "{http2_protocol_options: {}}\n"});
    server()->limits.max_streams = 1;
    mesh_unary(&m, &a);
    mesh_run(&m, 4000);
    mesh_listen(&m, 0, false);
    mesh_unary(&m, &b); /* cannot dial: waits for a's stream */
    mesh_run(&m, 10);
    assert_int_equal(pending(), 1);
    mesh_listen(&m, 0, true);
    mesh_run(&m, 1000); /* a's connection is too old now */
    assert_true(mesh_at(&m, 0, 0)->peer->goaway);
    mesh_answer(mesh_at(&m, 0, 1));
    mesh_run(&m, 0);
    expect(&b, WEFT_OK, NULL);
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    assert_false(a.done);
    mesh_answer(mesh_at(&m, 0, 2));
    mesh_answer(mesh_at(&m, 0, 0));
    mesh_run(&m, 0);
    expect(&a, WEFT_OK, NULL);
    expect(&c, WEFT_OK, NULL);
    mesh_close(&m);
}

/* A connection does not outlive its peer's certificate: GOAWAY then, an end WIRE_GRACE later. */
static void test_certificate_expires(void **state) {
    (void)state;
    mesh_call a, b, c;
    mesh_open(&m, &(mesh_config){.mtls = true});
    mesh_certify(&m, 60 * WEFT_NS_PER_S);
    mesh_unary(&m, &a);
    mesh_unary(&m, &b);
    mesh_run(&m, 59000);
    mesh_peer *old = mesh_at(&m, 0, 0)->peer;
    assert_false(old->goaway);
    mesh_run(&m, 1500);
    assert_true(old->goaway);
    mesh_answer(mesh_at(&m, 0, 0)); /* what was begun may end */
    mesh_unary(&m, &c);             /* what is new meets the certificate that has expired */
    mesh_run(&m, 0);
    expect(&a, WEFT_OK, NULL);
    expect(&c, WEFT_UNAVAILABLE, "expired");
    mesh_certify(&m, PKI_DAY);
    mesh_run(&m, 200);
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    mesh_answer(mesh_at(&m, 0, 2));
    mesh_run(&m, 0);
    expect(&c, WEFT_OK, NULL);
    assert_ptr_not_equal(mesh_at(&m, 0, 2)->peer, old);
    mesh_run(&m, WIRE_GRACE / WEFT_NS_PER_MS + 3000);
    expect(&b, WEFT_UNAVAILABLE, NULL); /* and cannot go on for ever */
    assert_false(old->alive);
    assert_int_equal(up(), 1);
    mesh_close(&m);
}

/* ---- draining */

static void test_drain(void **state) {
    (void)state;
    mesh_call open, late;
    mesh_open(&m, &(mesh_config){0});
    mesh_unary(&m, &open);
    mesh_run(&m, 0);
    worker_drain(&m.worker);
    mesh_run(&m, 10);
    assert_false(m.worker.ended);
    assert_false(h2_conn_can_request(m.client.h2)); /* GOAWAY came */
    assert_null(m.worker.listeners[0]->net);
    (void)late;
    mesh_answer(mesh_at(&m, 0, 0));
    mesh_run(&m, 10);
    expect(&open, WEFT_OK, NULL);
    assert_true(m.worker.ended);
    assert_false(m.client_up);
    assert_true(mesh_at(&m, 0, 0)->peer->goaway);
    mesh_close(&m);
}

/* Who does not end in time is cut off. */
static void test_drain_limit(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){0});
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    worker_drain(&m.worker);
    mesh_run(&m, 4900);
    assert_false(m.worker.ended);
    mesh_run(&m, 200);
    assert_true(m.worker.ended);
    mesh_close(&m);
}

/* ---- endpoints that come and go */

static void test_names(void **state) {
    (void)state;
    mesh_call a, b, c;
    mesh_build(&m, &(mesh_config){.servers = 2, .dns = true, .endpoints = "echo.test:80"});
    assert_int_equal(mesh_start(&m), 0);
    mesh_dial(&m);
    m.servers[1].ok = true;
    mesh_unary(&m, &a);
    mesh_run(&m, 10);
    expect(&a, WEFT_UNAVAILABLE, "do not resolve");
    assert_int_equal(net_sim_set_name(m.sim, "echo.test", "10.0.1.1"), 0);
    mesh_run(&m, 10000);
    mesh_unary(&m, &a);
    mesh_run(&m, 0);
    mesh_request *r = mesh_at(&m, 0, 0);
    /* Another joins. */
    assert_int_equal(net_sim_set_name(m.sim, "echo.test", "10.0.1.1 10.0.1.2"), 0);
    mesh_run(&m, 10000);
    assert_int_equal(upstream_endpoints(m.worker.up->clusters[0])->count, 2);
    mesh_unary(&m, &b);
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    assert_int_equal(m.servers[1].request_count, 1);
    /* The first leaves: its calls end in peace, nobody new goes there. */
    assert_int_equal(net_sim_set_name(m.sim, "echo.test", "10.0.1.2"), 0);
    mesh_run(&m, 10000);
    assert_true(r->peer->goaway);
    assert_false(a.done);
    for (size_t i = 0; i < server()->request_count; i++) mesh_answer(mesh_at(&m, 0, i));
    mesh_run(&m, 0);
    expect(&a, WEFT_OK, NULL);
    expect(&b, WEFT_OK, NULL);
    expect(&c, WEFT_OK, NULL);
    assert_false(r->peer->alive);
    for (int i = 0; i < 3; i++) {
        mesh_unary(&m, &a);
        mesh_run(&m, 0);
        expect(&a, WEFT_OK, NULL);
    }
    /* A name that no longer resolves keeps its last good addresses. */
    assert_int_equal(net_sim_set_name(m.sim, "echo.test", NULL), 0);
    mesh_run(&m, 20000);
    mesh_unary(&m, &a);
    mesh_run(&m, 0);
    expect(&a, WEFT_OK, NULL);
    mesh_close(&m);
}

/* An endpoint leaves while calls wait for a stream on it, or for its connection: they go elsewhere. */
static void gone_while_waiting(bool connecting) {
    mesh_call first, c;
    mesh_build(&m, &(mesh_config){.servers = 2,
                                  .dns = true,
                                  .endpoints = "echo.test:80",
                                  LIMITS("max_connections: 3")});
    assert_int_equal(net_sim_set_name(m.sim, "echo.test", "10.0.1.1"), 0);
    assert_int_equal(mesh_start(&m), 0);
    mesh_dial(&m);
    server()->limits.max_streams = 1;
    m.servers[1].ok = true;
    mesh_run(&m, 10);
    mesh_unary(&m, &first);
    mesh_run(&m, 0);
    assert_int_equal(server()->request_count, 1);
    server()->mute = true;
    if (!connecting) mesh_listen(&m, 0, false);
    assert_int_equal(net_sim_set_name(m.sim, "echo.test", "10.0.1.2"), 0);
    /* Nobody tells when the watch asks again: there is always one that waits. */
    do {
        mesh_unary(&m, &c);
        mesh_run(&m, 200);
        if (!c.done) assert_true(mesh_counter(&m, TELEMETRY_ATTEMPTS) > 1);
        if (upstream_endpoints(m.worker.up->clusters[0])->all[0]->address.host[7] == '2') break;
        mesh_call_cancel(&c);
    } while (mesh_now(&m) < 60 * WEFT_NS_PER_S);
    expect(&c, WEFT_OK, NULL);
    assert_int_equal(server()->request_count, 1);
    mesh_answer(mesh_at(&m, 0, 0));
    mesh_run(&m, 0);
    expect(&first, WEFT_OK, NULL);
    mesh_run(&m, 3000);
    assert_int_equal(up(), 1);
    mesh_close(&m);
}

static void test_gone_while_queued(void **state) {
    (void)state;
    gone_while_waiting(false);
}
static void test_gone_while_connecting(void **state) {
    (void)state;
    gone_while_waiting(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up_with_settings),
        cmocka_unit_test(test_connect_timeout),
        cmocka_unit_test(test_one_for_all),
        cmocka_unit_test(test_another_when_full),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_max_connections),
        cmocka_unit_test(test_max_connections_elsewhere),
        cmocka_unit_test(test_more_streams),
        cmocka_unit_test(test_no_connections),
        cmocka_unit_test(test_max_pending),
        cmocka_unit_test(test_max_requests),
        cmocka_unit_test(test_deadline_while_queued),
        cmocka_unit_test(test_cancel_while_connecting),
        cmocka_unit_test(test_cancel_while_queued),
        cmocka_unit_test(test_cancel_after_headers),
        cmocka_unit_test(test_goaway_with_queue),
        cmocka_unit_test(test_long_streams_on_leaving),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_certificate_expires),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_limit),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_gone_while_queued),
        cmocka_unit_test(test_gone_while_connecting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
