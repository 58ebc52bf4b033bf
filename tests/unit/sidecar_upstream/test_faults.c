/* A call while memory runs out, allocation by allocation, and while the network does its worst: it ends
 * with a status that is true, nothing leaks, and the next call is well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/sidecar_upstream/mesh.h"
#include "weft/log.h"
#include "weft/mem.h"
#include "weft/status.h"

static mesh m;

/* ---- memory */

/* Fails one allocation of the sidecar: those of the test, the client and the servers are let through. A
 * loop that is no sidecar's says so when its turn begins and ends. */
static size_t allocations, fail_at;
static int strangers; /* whoever runs now is none of the sidecar */

static int allow(size_t size, void *user) {
    (void)size;
    (void)user;
    return strangers || allocations++ != fail_at;
}

#define ROUTE "timeout: 5s, retry_policy: {retry_on: \"unavailable,reset\", num_retries: 2}, "

/* One call with every step of a long way: its endpoint refuses it first, then the server asks for
 * another attempt, which answers in several frames. */
static void play(mesh_call *c) {
    static const size_t size = 3000; /* more than lies in the call itself */
    mesh_call_begin(&m, c, (int64_t)size, true, "x-key", "a value that is not in any table", NULL);
    bool told[MESH_SERVERS][MESH_REQUESTS] = {{false}};
    for (int step = 0; step < 3000 && !c->done; step++) {
        strangers = 0;
        mesh_run(&m, 5);
        strangers = 1;
        for (size_t i = 0; i < m.server_count; i++) {
            mesh_server *s = &m.servers[i];
            for (size_t k = 0; k < s->request_count; k++) {
                mesh_request *r = &s->requests[k];
                if (told[i][k] || !r->ended || r->over) continue;
                told[i][k] = true;
                if (i == 0 && k == 0) {
                    mesh_reset(r, H2_REFUSED_STREAM);
                } else if (!*r->previous) {
                    mesh_headers(r);
                    mesh_trailers(r, WEFT_UNAVAILABLE);
                } else {
                    assert_int_equal(r->bytes, size);
                    mesh_headers(r);
                    mesh_data(r, 40000, false);
                    mesh_data(r, 40000, false);
                    mesh_trailers(r, WEFT_OK);
                }
            }
        }
    }
    if (!c->done) fail_msg("allocation %zu: the call does not end", fail_at);
}

/* What may be said of a call that memory ran out for. */
static bool honest(const mesh_call *c) {
    if (c->reset) return true; /* no memory to say more: the stream or its connection is gone */
    switch (c->status) {
    case WEFT_OK:
        return c->bytes == 80000;
    case WEFT_UNAVAILABLE:
    case WEFT_RESOURCE_EXHAUSTED:
    case WEFT_DEADLINE_EXCEEDED:
    case WEFT_CANCELLED:
    case WEFT_INTERNAL:
        return true;
    default:
        return false;
    }
}

/* True when the allocation to fail was never asked for. */
static bool sweep(size_t *good, bool mtls) {
    mesh_call c;
    mesh_build(&m, &(mesh_config){.servers = 2, .route = ROUTE, .mtls = mtls});
    assert_int_equal(mesh_start(&m), 0);
    mesh_dial(&m);
    allocations = 0;
    weft_mem_hook(allow, NULL);
    strangers = 1;
    m.strangers = &strangers;
    play(&c);
    weft_mem_hook(NULL, NULL);
    m.strangers = NULL;
    if (!honest(&c))
        fail_msg("allocation %zu: status %d, \"%s\", %zu bytes", fail_at, c.status, c.message,
                 c.bytes);
    if (!c.reset && c.status == WEFT_OK) ++*good;
    /* Whatever was lost, the sidecar serves. */
    m.servers[0].ok = m.servers[1].ok = true;
    mesh_run(&m, 1500);
    if (!m.client_up) mesh_dial(&m);
    mesh_call_begin(&m, &c, 10, true, "grpc-timeout", "5S", NULL);
    mesh_run(&m, 6000);
    if (!c.done || c.reset || c.status != WEFT_OK)
        fail_msg("after allocation %zu: status %d, \"%s\"", fail_at, c.status, c.message);
    mesh_close(&m);
    return allocations <= fail_at;
}

static void every_allocation(bool mtls) {
    size_t good = 0;
    weft_log_set_level(WEFT_LOG_OFF);
    for (fail_at = 0; !sweep(&good, mtls); fail_at++) {}
    weft_log_set_level(WEFT_LOG_INFO);
    print_message("%zu allocations, %zu calls went well all the same\n", fail_at, good);
    assert_true(fail_at > 30);
    assert_true(good >= 1); /* the last: nothing failed */
}

static void test_memory(void **state) {
    (void)state;
    every_allocation(false);
}
static void test_memory_mtls(void **state) {
    (void)state;
    every_allocation(true);
}

/* Setting up fails cleanly, too. */
static void test_memory_at_start(void **state) {
    (void)state;
    weft_log_set_level(WEFT_LOG_OFF);
    int rc = 0;
    allocations = 0;
    for (fail_at = 0; allocations >= fail_at && fail_at < 10000; fail_at++) {
        mesh_build(&m, &(mesh_config){.servers = 1, .dns = true, .endpoints = "echo.test:80"});
        allocations = 0;
        strangers = 0;
        weft_mem_hook(allow, NULL);
        rc = mesh_start(&m);
        weft_mem_hook(NULL, NULL);
        mesh_close(&m);
    }
    assert_int_equal(rc, 0); /* nothing failed at last */
    weft_log_set_level(WEFT_LOG_INFO);
    assert_true(fail_at > 10);
}

/* ---- the network */

static void storm(uint64_t seed) {
    enum { CALLS = 24 };
    mesh_call calls[CALLS];
    mesh_open(&m,
              &(mesh_config){.servers = 3, .route = ROUTE, .seed = seed, .mtls = seed % 4 == 0});
    const net_faults faults = {.latency_max = 20 * WEFT_NS_PER_MS,
                               .segment_max = 1 + (uint32_t)seed % 200,
                               .short_read = 100000,
                               .short_write = 100000,
                               .refuse = 100000,
                               .lose_connect = 50000};
    net_sim_set_faults(m.sim, &faults);
    for (int i = 0; i < 3; i++) {
        m.servers[i].ok = true;
        m.servers[i].limits.max_streams = 1 + (uint32_t)(seed + (uint64_t)i) % 3;
    }
    for (int i = 0; i < CALLS; i++) {
        mesh_call_begin(&m, &calls[i], 100 * i, true, NULL);
        mesh_run(&m, (int64_t)weft_rng_below(net_sim_rng(m.sim), 15));
        const uint64_t what = weft_rng_below(net_sim_rng(m.sim), 10);
        mesh_server *s = &m.servers[what % 3];
        mesh_peer *p = s->peer_count ? &s->peers[s->peer_count - 1] : NULL;
        if (what < 3 && p && p->alive && s->peer_count < MESH_PEERS / 2) mesh_cut(p);
        if (what == 4 && !calls[i / 2].done) mesh_call_cancel(&calls[i / 2]);
    }
    mesh_run(&m, 6000); /* the route's timeout is 5 s */
    for (int i = 0; i < CALLS; i++)
        if (!calls[i].done)
            fail_msg("seed %llu: call %d does not end", (unsigned long long)seed, i);
    net_sim_set_faults(m.sim, &(net_faults){0});
    mesh_run(&m, 10500);
    mesh_unary(&m, &calls[0]);
    mesh_run(&m, 0);
    assert_true(calls[0].done && !calls[0].reset);
    assert_int_equal(calls[0].status, WEFT_OK);
    mesh_close(&m);
}

static void test_network(void **state) {
    (void)state;
    weft_log_set_level(WEFT_LOG_OFF);
    for (uint64_t seed = 1; seed <= 60; seed++) storm(seed);
    weft_log_set_level(WEFT_LOG_INFO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_memory_mtls),
        cmocka_unit_test(test_memory_at_start),
        cmocka_unit_test(test_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
