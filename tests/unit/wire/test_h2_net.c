/* The HTTP/2 engine over connections, as a sidecar puts them together: over sockets with mTLS, and over the
 * simulated network with faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/h2_rig.h"
#include "tests/support/pki.h"
#include "weft/mem.h"
#include "weft/net_sim.h"

#define SERVER "10.0.0.1:443"
#define PRODUCT_ID "spiffe://mesh.local/ns/shop/sa/product"
#define CALLS 20
#define BODY_MAX 60000

/* ---- the glue: one h2_conn on one net_conn */

typedef struct wire {
    struct worker *worker;
    h2_conn *h2;
    net_conn *net;
    h2_role role;
    void *user;
    char reason[700];
    int closed;
} wire;

typedef struct worker {
    net_loop *loop;
    weft_chunk_pool *chunks;
    http_pool *fields;
    h2_env *env;
    h2_limits limits;
    tls_context *tls;
    net_listener *listener;
    wire *accepted;
} worker;

static const h2_callbacks callbacks;

/* So that a busy machine does not fail the test on real time. */
static const net_conn_options patient = {.open_timeout = 120 * WEFT_NS_PER_S};

static void on_turn(void *user, int64_t now) {
    const worker *w = user;
    if (w->env) h2_env_set_now(w->env, now);
}

static void begin_calls(wire *link);

static void on_open(net_conn *conn) {
    wire *link = net_conn_user(conn);
    link->h2 = h2_conn_new(link->worker->env, link->role, &link->worker->limits, &callbacks, link);
    assert_non_null(link->h2);
    net_conn_want_write(conn);
    if (link->role == H2_CLIENT) begin_calls(link);
}

static int on_input(net_conn *conn, const uint8_t *data, size_t size, weft_chunk *chunk) {
    const wire *link = net_conn_user(conn);
    const int error = h2_conn_input(link->h2, data, size, chunk);
    if (error) net_conn_close(conn, error, h2_conn_reason(link->h2));
    return 0;
}

static int on_eof(net_conn *conn) {
    const wire *link = net_conn_user(conn);
    const int error = h2_conn_eof(link->h2);
    net_conn_close(conn, error, error ? h2_conn_reason(link->h2) : "closed by the peer");
    return 0;
}

static int on_output(net_conn *conn, weft_chain *out) {
    const wire *link = net_conn_user(conn);
    const int64_t moved = h2_conn_output(link->h2, out);
    if (moved < 0 || h2_conn_finished(link->h2))
        net_conn_close(conn, moved < 0 ? (int)moved : 0, h2_conn_reason(link->h2));
    return 0;
}

static void on_close(net_conn *conn, int error, const char *reason) {
    wire *link = net_conn_user(conn);
    (void)error;
    if (link->h2) h2_conn_free(link->h2, net_conn_unsent(conn));
    link->h2 = NULL;
    link->net = NULL;
    link->closed = 1;
    (void)snprintf(link->reason, sizeof link->reason, "%s", reason);
    if (link == link->worker->accepted) {
        link->worker->accepted = NULL;
        weft_free(link);
    }
}

static const net_handler handler = {on_open, on_input, on_eof, on_output, on_close};

static void on_want_write(h2_conn *conn) {
    const wire *link = h2_conn_user(conn);
    net_conn_want_write(link->net);
}

static int on_accept(net_listener *listener, net_conn *conn) {
    worker *w = net_listener_user(listener);
    wire *link = weft_calloc(1, sizeof *link);
    assert_non_null(link);
    assert_null(w->accepted);
    link->worker = w;
    link->role = H2_SERVER;
    link->net = conn;
    w->accepted = link;
    net_conn_set_handler(conn, &handler, link);
    net_conn_set_options(conn, &patient);
    return w->tls ? net_conn_set_tls(conn, w->tls) : 0;
}

/* ---- an application: the server sends back what it got */

typedef struct call {
    h2_stream *stream;
    size_t total, received;
    bool bad, done, reset;
    size_t *left;
} call;

static call calls[CALLS];

static uint8_t pattern(size_t i) { return (uint8_t)(i * 13 + i / 241); }

static void on_headers(h2_stream *stream, h2_headers_kind kind, http_fields *fields, bool end) {
    (void)fields;
    if (kind == H2_HEADERS_REQUEST) {
        const wire *link = h2_conn_user(h2_stream_conn(stream));
        http_fields answer;
        http_fields_init(&answer, link->worker->fields);
        assert_int_equal(http_fields_add_text(&answer, ":status", "200"), 0);
        assert_int_equal(h2_respond(stream, &answer, end), 0);
        http_fields_clear(&answer);
        assert_false(end);
        return;
    }
    call *c = h2_stream_user(stream);
    if (end) c->done = true;
}

static void on_data(h2_stream *stream, const weft_slice *data, bool end) {
    call *c = h2_stream_user(stream);
    if (!c) {
        assert_true(h2_send_data(stream, data, data->len != 0, end) >= 0);
        h2_consume(stream, data->len);
        if (end) h2_stream_release(stream);
        return;
    }
    for (size_t i = 0; i < data->len; i++)
        if (data->data[i] != pattern(c->received + i)) c->bad = true;
    c->received += data->len;
    h2_consume(stream, data->len);
    if (!end) return;
    c->done = true;
    --*c->left;
    h2_stream_release(stream);
}

static void on_reset(h2_stream *stream, const h2_reset_info *info) {
    call *c = h2_stream_user(stream);
    (void)info;
    if (c) {
        c->reset = true;
        --*c->left;
    }
    h2_stream_release(stream);
}

static const h2_callbacks callbacks = {.on_headers = on_headers,
                                       .on_data = on_data,
                                       .on_reset = on_reset,
                                       .on_want_write = on_want_write};

static void begin_calls(wire *link) {
    static uint8_t body[BODY_MAX];
    for (size_t i = 0; i < BODY_MAX; i++) body[i] = pattern(i);
    for (size_t i = 0; i < CALLS; i++) {
        http_fields fields;
        http_fields_init(&fields, link->worker->fields);
        assert_int_equal(http_fields_add_text(&fields, ":method", "POST"), 0);
        assert_int_equal(http_fields_add_text(&fields, ":scheme", "https"), 0);
        assert_int_equal(http_fields_add_text(&fields, ":path", "/shop.Product/Get"), 0);
        assert_int_equal(http_fields_add_text(&fields, ":authority", "product"), 0);
        calls[i].total = 1 + i * 3001;
        calls[i].left = link->user;
        assert_int_equal(h2_request(link->h2, &fields, false, &calls[i], &calls[i].stream), 0);
        http_fields_clear(&fields);
        const weft_slice slice = {body, calls[i].total, NULL};
        assert_true(h2_send_data(calls[i].stream, &slice, 1, true) >= 0);
    }
}

/* ---- two workers */

static void worker_init(worker *w, net_loop_config config, tls_context *tls) {
    memset(w, 0, sizeof *w);
    w->chunks = weft_chunk_pool_new(0, 0);
    w->fields = http_pool_new(0, 1);
    w->tls = tls;
    h2_limits_peer(&w->limits);
    config.chunks = w->chunks;
    config.on_turn = on_turn;
    config.user = w;
    assert_int_equal(net_loop_new(&config, &w->loop), 0);
    w->env = h2_env_new(w->chunks, w->fields, 1);
    h2_env_set_now(w->env, net_loop_now(w->loop));
}

static void worker_free(worker *w) {
    net_loop_free(w->loop);
    assert_int_equal(h2_env_gauges(w->env).conns, 0);
    assert_int_equal(h2_env_gauges(w->env).streams, 0);
    h2_env_free(w->env);
    assert_int_equal(weft_chunk_pool_stats(w->chunks).live, 0);
    weft_chunk_pool_free(w->chunks);
    http_pool_free(w->fields);
}

static void listen_at(worker *w, const weft_addr *addr, int fd) {
    const net_listen listen = {.addr = addr, .fd = fd, .on_accept = on_accept, .user = w};
    assert_int_equal(net_listener_new(w->loop, &listen, &w->listener, NULL), 0);
}

static void dial(wire *link, worker *w, const weft_addr *addr, size_t *left) {
    *left = CALLS;
    memset(calls, 0, sizeof calls);
    *link = (wire){.worker = w, .role = H2_CLIENT, .user = left};
    const net_dial to = {
        .addr = addr, .handler = &handler, .user = link, .tls = w->tls, .options = patient};
    assert_int_equal(net_connect(w->loop, &to, &link->net, NULL), 0);
}

static void all_is_well(void) {
    for (size_t i = 0; i < CALLS; i++) {
        assert_false(calls[i].bad || calls[i].reset);
        assert_true(calls[i].done);
        assert_int_equal(calls[i].received, calls[i].total);
    }
}

typedef struct identities {
    test_pki mesh;
    crypto_svid *order, *product;
    tls_context *client, *server;
} identities;

static int setup(void **state) {
    static identities ids;
    pki_init(&ids.mesh, "mesh.local", "mesh");
    ids.order = pki_svid(&ids.mesh, "/ns/shop/sa/order", PKI_NOW, PKI_DAY);
    ids.product = pki_svid(&ids.mesh, "/ns/shop/sa/product", PKI_NOW, PKI_DAY);
    ids.client = pki_client(&ids.mesh, ids.order, PRODUCT_ID, NULL);
    ids.server = pki_server(&ids.mesh, ids.product, NULL);
    *state = &ids;
    return 0;
}

static int teardown(void **state) {
    identities *ids = *state;
    tls_context_unref(ids->client);
    tls_context_unref(ids->server);
    crypto_svid_unref(ids->order);
    crypto_svid_unref(ids->product);
    pki_free(&ids->mesh);
    return 0;
}

static void test_sockets(void **state) {
    const identities *ids = *state;
    for (int tls = 0; tls < 2; tls++) {
        worker server, client;
        wire link;
        size_t left;
        int fd = -1;
        weft_addr addr;
        assert_int_equal(weft_addr_parse("127.0.0.1:0", &addr, NULL), 0);
        assert_int_equal(net_socket_listen(&addr, NULL, &fd, NULL), 0);
        worker_init(&server, (net_loop_config){0}, tls ? ids->server : NULL);
        worker_init(&client, (net_loop_config){0}, tls ? ids->client : NULL);
        listen_at(&server, NULL, fd);
        addr = net_listener_addr(server.listener);
        dial(&link, &client, &addr, &left);
        while (left && !link.closed) {
            assert_int_equal(net_loop_turn(server.loop, 0), 0);
            assert_int_equal(net_loop_turn(client.loop, 0), 0);
        }
        all_is_well();
        h2_conn_drain(link.h2);
        while (!link.closed || server.accepted) {
            assert_int_equal(net_loop_turn(server.loop, 0), 0);
            assert_int_equal(net_loop_turn(client.loop, 0), 0);
        }
        worker_free(&client);
        worker_free(&server);
    }
}

static bool nothing_left(void *user) { return *(size_t *)user == 0; }

static void simulate(const identities *ids, uint64_t seed) {
    weft_rng rng;
    weft_rng_seed(&rng, seed);
    const net_faults faults = {
        .latency_min = (int64_t)weft_rng_below(&rng, WEFT_NS_PER_MS),
        .latency_max = (int64_t)weft_rng_below(&rng, 10 * WEFT_NS_PER_MS),
        .buffer = 1000 + (uint32_t)weft_rng_below(&rng, 60000),
        .segment_max = (uint32_t)weft_rng_below(&rng, 5000),
        .short_read = (uint32_t)weft_rng_below(&rng, 400000),
        .short_write = (uint32_t)weft_rng_below(&rng, 400000),
        .reset = weft_rng_below(&rng, 3) ? 0 : (uint32_t)weft_rng_below(&rng, 20000),
    };
    const bool tls = weft_rng_below(&rng, 4) == 0;
    net_sim *sim = NULL;
    worker server, client;
    wire link;
    size_t left;
    weft_addr addr;
    assert_int_equal(weft_addr_parse(SERVER, &addr, NULL), 0);
    assert_int_equal(net_sim_new(seed, PKI_NOW, &sim), 0);
    net_sim_set_faults(sim, &faults);
    worker_init(&server, (net_loop_config){.sim = sim, .host = "b"}, tls ? ids->server : NULL);
    worker_init(&client, (net_loop_config){.sim = sim, .host = "a"}, tls ? ids->client : NULL);
    listen_at(&server, &addr, -1);
    dial(&link, &client, &addr, &left);
    (void)net_sim_run(sim, PKI_NOW + 600 * WEFT_NS_PER_S, nothing_left, &left);
    if (!faults.reset && !link.closed) all_is_well();
    /* A connection that was reset before it opened has made no calls. */
    if (left && !(faults.reset && link.closed))
        fail_msg("seed %llu: %zu calls hang: %s", (unsigned long long)seed, left, link.reason);
    for (size_t i = 0; i < CALLS; i++) assert_false(calls[i].bad);
    worker_free(&client);
    worker_free(&server);
    net_sim_free(sim);
}

static void test_simulated(void **state) {
    for (uint64_t seed = 1; seed <= 200; seed++) simulate(*state, seed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_simulated),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
