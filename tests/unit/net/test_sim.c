/* The simulated network: what holds under any faults, and that a seed replays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/pki.h"
#include "tests/unit/net/rig.h"
#include "weft/mem.h"
#include "weft/net_sim.h"

#define SERVER "10.0.0.1:80"
#define CLIENTS 3
#if defined(__SANITIZE_THREAD__) /* one thread: it has little to see here */
#define SEEDS 100
#else
#define SEEDS 1000
#endif
#define PRODUCT_ID "spiffe://mesh.local/ns/shop/sa/product"

typedef struct world {
    test_pki mesh;
    crypto_svid *order, *product;
    tls_context *client_tls, *server_tls;
} world;

static int setup(void **state) {
    static world w;
    pki_init(&w.mesh, "mesh.local", "mesh");
    w.order = pki_svid(&w.mesh, "/ns/shop/sa/order", PKI_NOW, PKI_DAY);
    w.product = pki_svid(&w.mesh, "/ns/shop/sa/product", PKI_NOW, PKI_DAY);
    w.client_tls = pki_client(&w.mesh, w.order, PRODUCT_ID, NULL);
    w.server_tls = pki_server(&w.mesh, w.product, NULL);
    *state = &w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    tls_context_unref(w->client_tls);
    tls_context_unref(w->server_tls);
    crypto_svid_unref(w->order);
    crypto_svid_unref(w->product);
    pki_free(&w->mesh);
    return 0;
}

typedef struct mesh {
    net_sim *sim;
    net_loop *server_loop, *client_loop;
    echo_server server;
    echo_client clients[CLIENTS];
} mesh;

static void mesh_init(mesh *m, uint64_t seed, const net_faults *faults, tls_context *tls) {
    memset(m, 0, sizeof *m);
    assert_int_equal(net_sim_new(seed, PKI_NOW, &m->sim), 0);
    net_sim_set_faults(m->sim, faults);
    net_loop_config config = {.sim = m->sim, .host = "b"};
    assert_int_equal(net_loop_new(&config, &m->server_loop), 0);
    config.host = "a";
    assert_int_equal(net_loop_new(&config, &m->client_loop), 0);
    echo_listen_sim(&m->server, m->server_loop, SERVER, tls);
}

static void mesh_dial(mesh *m, size_t i, tls_context *tls, size_t total) {
    const weft_addr addr = rig_addr(SERVER);
    assert_int_equal(echo_dial(&m->clients[i], m->client_loop, &addr, tls, total, NULL), 0);
}

static void mesh_free(mesh *m) {
    net_loop_free(m->client_loop);
    net_loop_free(m->server_loop);
    net_sim_free(m->sim);
}

static int64_t at(int64_t ms) { return PKI_NOW + ms * WEFT_NS_PER_MS; }

static void test_perfect(void **state) {
    world *w = *state;
    static const net_faults none;
    for (int tls = 0; tls < 2; tls++) {
        mesh m;
        mesh_init(&m, 1, &none, tls ? w->server_tls : NULL);
        mesh_dial(&m, 0, tls ? w->client_tls : NULL, 1048576);
        (void)net_sim_run(m.sim, at(60000), NULL, NULL);
        assert_int_equal(m.clients[0].received, 1048576);
        assert_false(m.clients[0].bad);
        assert_int_equal(m.clients[0].closed, 1);
        assert_int_equal(m.clients[0].error, 0);
        assert_int_equal(m.server.closed, 1);
        assert_int_equal(net_loop_stats(m.client_loop)->conns, 0);
        assert_int_equal(net_loop_stats(m.server_loop)->conns, 0);
        assert_int_equal(weft_now(net_sim_clock(m.sim)), at(60000));
        mesh_free(&m);
    }
}

static bool client_done(void *user) { return ((echo_client *)user)->closed; }

static void test_latency(void **state) {
    (void)state;
    const net_faults faults = {.latency_min = 10 * WEFT_NS_PER_MS,
                               .latency_max = 10 * WEFT_NS_PER_MS};
    mesh m;
    mesh_init(&m, 1, &faults, NULL);
    mesh_dial(&m, 0, NULL, 1);
    (void)net_sim_run(m.sim, at(60000), client_done, &m.clients[0]);
    /* There and back to connect, there and back with the byte. */
    assert_int_equal(weft_now(net_sim_clock(m.sim)), at(40));
    mesh_free(&m);
}

static void test_refusals(void **state) {
    (void)state;
    net_faults faults = {0};
    mesh m;
    mesh_init(&m, 1, &faults, NULL);
    const weft_addr nobody = rig_addr("10.0.0.9:80"), name = rig_addr("product:80");
    assert_int_equal(echo_dial(&m.clients[0], m.client_loop, &nobody, NULL, 1, NULL), 0);
    assert_int_equal(echo_dial(&m.clients[1], m.client_loop, &name, NULL, 1, NULL), WEFT_EINVAL);
    (void)net_sim_run(m.sim, at(1000), NULL, NULL);
    assert_string_equal(m.clients[0].reason, "10.0.0.9:80: cannot connect: Connection refused");
    /* Lost: the time limit ends it. */
    faults.lose_connect = 1000000;
    net_sim_set_faults(m.sim, &faults);
    m.clients[0] = (echo_client){0};
    mesh_dial(&m, 0, NULL, 1);
    (void)net_sim_run(m.sim, at(30000), client_done, &m.clients[0]);
    assert_string_equal(m.clients[0].reason, SERVER ": no answer to connect within 10000 ms");
    assert_int_equal(weft_now(net_sim_clock(m.sim)), at(11000));
    mesh_free(&m);
}

static void test_partition(void **state) {
    (void)state;
    const net_faults faults = {.latency_min = WEFT_NS_PER_MS, .latency_max = 3 * WEFT_NS_PER_MS};
    mesh m;
    mesh_init(&m, 7, &faults, NULL);
    mesh_dial(&m, 0, NULL, 500000);
    (void)net_sim_run(m.sim, at(6), NULL, NULL);
    net_sim_partition(m.sim, "a", "b", true);
    (void)net_sim_run(m.sim, at(10), NULL, NULL);
    const size_t before = m.clients[0].received;
    (void)net_sim_run(m.sim, at(5000), NULL, NULL);
    assert_int_equal(m.clients[0].received, before);
    assert_true(before < 500000);
    net_sim_partition(m.sim, "b", "a", false);
    (void)net_sim_run(m.sim, at(10000), NULL, NULL);
    assert_int_equal(m.clients[0].received, 500000);
    assert_false(m.clients[0].bad);
    mesh_free(&m);
}

static void test_kill(void **state) {
    (void)state;
    const net_faults faults = {.latency_min = WEFT_NS_PER_MS, .latency_max = WEFT_NS_PER_MS};
    mesh m;
    mesh_init(&m, 7, &faults, NULL);
    m.clients[0].stay = m.clients[1].stay = true;
    mesh_dial(&m, 0, NULL, 10);
    mesh_dial(&m, 1, NULL, 10);
    (void)net_sim_run(m.sim, at(100), NULL, NULL);
    assert_int_equal(m.clients[0].received, 10);
    net_sim_kill(m.sim, "b");
    m.clients[0].total = 20;
    net_conn_want_write(m.clients[0].conn);
    mesh_dial(&m, 2, NULL, 10);
    (void)net_sim_run(m.sim, at(60000), NULL, NULL);
    assert_int_equal(m.clients[0].received, 10);
    assert_int_equal(m.clients[0].closed, 0); /* just silent */
    assert_int_equal(m.clients[2].error, WEFT_ETIMEOUT);
    mesh_free(&m);
}

/* A process that ends: peers see it at once. */
static void test_process_ends(void **state) {
    (void)state;
    const net_faults faults = {.latency_min = WEFT_NS_PER_MS, .latency_max = WEFT_NS_PER_MS};
    mesh m;
    mesh_init(&m, 7, &faults, NULL);
    m.clients[0].stay = true;
    mesh_dial(&m, 0, NULL, 10);
    (void)net_sim_run(m.sim, at(100), NULL, NULL);
    net_loop_free(m.server_loop);
    net_loop_config config = {.sim = m.sim, .host = "b"};
    (void)net_sim_run(m.sim, at(200), NULL, NULL);
    assert_int_equal(m.clients[0].closed, 1);
    assert_int_equal(net_loop_new(&config, &m.server_loop), 0);
    mesh_dial(&m, 1, NULL, 10);
    (void)net_sim_run(m.sim, at(300), NULL, NULL);
    assert_string_equal(m.clients[1].reason, SERVER ": cannot connect: Connection refused");
    mesh_free(&m);
}

/* ---- any faults: no byte wrong, everything told, nothing left; and the same again from the same seed */

static net_faults some_faults(weft_rng *rng) {
    const net_faults faults = {
        .latency_min = (int64_t)weft_rng_below(rng, 2 * WEFT_NS_PER_MS),
        .latency_max = (int64_t)weft_rng_below(rng, 20 * WEFT_NS_PER_MS),
        .buffer = 1 + (uint32_t)weft_rng_below(rng, 40000),
        .segment_max = (uint32_t)weft_rng_below(rng, 3000),
        .short_read = (uint32_t)weft_rng_below(rng, 500000),
        .short_write = (uint32_t)weft_rng_below(rng, 500000),
        .reset = weft_rng_below(rng, 3) ? 0 : (uint32_t)weft_rng_below(rng, 100000),
        .refuse = weft_rng_below(rng, 5) ? 0 : 200000,
        .lose_connect = weft_rng_below(rng, 5) ? 0 : 200000,
    };
    return faults;
}

static uint64_t chaos(world *w, uint64_t seed) {
    weft_rng rng;
    weft_rng_seed(&rng, seed);
    const net_faults faults = some_faults(&rng);
    const bool tls = weft_rng_below(&rng, 4) == 0;
    const bool harmless = !faults.reset && !faults.refuse && !faults.lose_connect;
    mesh m;
    mesh_init(&m, seed, &faults, tls ? w->server_tls : NULL);
    size_t totals[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++) {
        totals[i] = 1 + weft_rng_below(&rng, 30000);
        m.clients[i].chunk = 1 + (size_t)weft_rng_below(&rng, 9000);
        mesh_dial(&m, i, tls ? w->client_tls : NULL, totals[i]);
    }
    if (weft_rng_below(&rng, 3) == 0) {
        (void)net_sim_run(m.sim, at(45 + (int64_t)weft_rng_below(&rng, 60)), NULL, NULL);
        net_sim_partition(m.sim, "a", "b", true);
        (void)net_sim_run(m.sim, at(200), NULL, NULL);
        net_sim_partition(m.sim, "a", "b", false);
    }
    (void)net_sim_run(m.sim, at(600000), NULL, NULL);
    for (size_t i = 0; i < CLIENTS; i++) {
        const echo_client *client = &m.clients[i];
        if (!client->closed || client->bad || (harmless && client->received != totals[i]))
            fail_msg("seed %llu client %zu: closed %d bad %d received %zu of %zu: %s",
                     (unsigned long long)seed, i, client->closed, client->bad, client->received,
                     totals[i], client->reason);
    }
    if (m.server.open || net_loop_stats(m.client_loop)->conns ||
        net_loop_stats(m.server_loop)->conns)
        fail_msg("seed %llu: connections are left", (unsigned long long)seed);
    assert_int_equal(weft_chunk_pool_stats(net_loop_chunks(m.server_loop)).links, 0);
    assert_int_equal(weft_chunk_pool_stats(net_loop_chunks(m.client_loop)).links, 0);
    const uint64_t trace = net_sim_trace(m.sim);
    mesh_free(&m);
    return tls ? 0 : trace; /* keys are not from the seed */
}

static void test_chaos(void **state) {
    const char *one = getenv("WEFT_SEED");
    if (one) {
        (void)chaos(*state, strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        const uint64_t trace = chaos(*state, seed);
        if (seed % 10 == 0 && chaos(*state, seed) != trace)
            fail_msg("seed %llu does not replay", (unsigned long long)seed);
    }
}

/* ---- every allocation fails once while connections are made, used and closed */

static size_t countdown; /* 0: none fails */

static int allow(size_t size, void *user) {
    (void)size, (void)user;
    return !countdown || --countdown;
}

static void test_failmalloc(void **state) {
    world *w = *state;
    const net_faults faults = {.latency_max = WEFT_NS_PER_MS, .segment_max = 700};
    const weft_addr addr = rig_addr(SERVER);
    for (int tls = 0; tls < 2; tls++) {
        bool untouched = false;
        for (size_t n = 1; !untouched; n++) {
            mesh m;
            mesh_init(&m, 1, &faults, tls ? w->server_tls : NULL);
            countdown = n;
            weft_mem_hook(allow, NULL);
            const int error = echo_dial(&m.clients[0], m.client_loop, &addr,
                                        tls ? w->client_tls : NULL, 5000, NULL);
            (void)net_sim_run(m.sim, at(60000), NULL, NULL);
            untouched = countdown != 0;
            weft_mem_hook(NULL, NULL);
            if (untouched) assert_int_equal(m.clients[0].received, 5000);
            assert_false(m.clients[0].bad);
            if (error) assert_int_equal(error, WEFT_ENOMEM);
            mesh_free(&m); /* asserts that nothing is left */
            assert_true(error || m.clients[0].closed);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_perfect),  cmocka_unit_test(test_latency),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_partition),
        cmocka_unit_test(test_kill),     cmocka_unit_test(test_process_ends),
        cmocka_unit_test(test_chaos),    cmocka_unit_test(test_failmalloc),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
