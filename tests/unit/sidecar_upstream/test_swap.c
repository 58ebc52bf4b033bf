/* A worker takes newer snapshots: what is under way goes on, what is new goes the new way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sidecar/apply.h"
#include "tests/unit/sidecar_upstream/mesh.h"
#include "weft/clock.h"
#include "weft/status.h"

static mesh m;

static void endpoints_change(void **state) {
    (void)state;
    mesh_call old, fresh;
    mesh_open(&m, &(mesh_config){.servers = 2, .endpoints = "10.0.1.1:80"});
    mesh_unary(&m, &old);
    mesh_run(&m, 0);
    mesh_request *held = mesh_at(&m, 0, 0);
    mesh_swap(&m, &(mesh_config){.endpoints = "10.0.1.2:80"});
    mesh_unary(&m, &fresh);
    mesh_run(&m, 10);
    mesh_answer(mesh_at(&m, 1, 0));
    mesh_run(&m, 10);
    assert_int_equal(fresh.status, WEFT_OK);
    assert_false(old.done);
    assert_true(held->peer->alive);
    mesh_answer(held);
    mesh_run(&m, 10);
    assert_int_equal(old.status, WEFT_OK);
    assert_false(held->peer->alive); /* idle, and nobody's endpoint */
    mesh_close(&m);
}

static void what_stays_keeps_its_connection(void **state) {
    (void)state;
    mesh_call one, two, three;
    mesh_open(&m, &(mesh_config){.servers = 2, .endpoints = "10.0.1.1:80"});
    m.servers[0].ok = m.servers[1].ok = true;
    mesh_unary(&m, &one);
    mesh_run(&m, 10);
    for (int i = 0; i < 3; i++) {
        mesh_swap(&m, &(mesh_config){.route = i % 2 ? "timeout: 3s, " : "timeout: 2s, "});
        mesh_unary(&m, &two);
        mesh_unary(&m, &three);
        mesh_run(&m, 10);
        assert_int_equal(two.status, WEFT_OK);
        assert_int_equal(three.status, WEFT_OK);
    }
    assert_int_equal(m.servers[0].peer_count, 1);
    assert_int_equal(m.servers[1].peer_count, 1);
    assert_int_equal(m.servers[0].request_count + m.servers[1].request_count, 7);
    assert_true(m.servers[1].request_count > 0);
    mesh_close(&m);
}

static void routes_change(void **state) {
    (void)state;
    mesh_call old, fresh;
    mesh_open(&m, &(mesh_config){.route = "timeout: 10s, "});
    mesh_unary(&m, &old);
    mesh_run(&m, 0);
    mesh_swap(&m, &(mesh_config){.route = "timeout: 1s, "});
    mesh_unary(&m, &fresh);
    mesh_run(&m, 2000);
    assert_int_equal(fresh.status, WEFT_DEADLINE_EXCEEDED); /* the new timeout */
    assert_false(old.done);                                 /* began with the old one */
    mesh_answer(mesh_at(&m, 0, 0));
    mesh_run(&m, 10);
    assert_int_equal(old.status, WEFT_OK);
    mesh_close(&m);
}

static void clusters_come_and_go(void **state) {
    (void)state;
    mesh_call old, fresh, again;
    mesh_open(&m, &(mesh_config){.servers = 2, .endpoints = "10.0.1.1:80"});
    mesh_unary(&m, &old);
    mesh_run(&m, 0);
    mesh_swap(&m, &(mesh_config){.name = "echo2", .endpoints = "10.0.1.2:80"});
    mesh_unary(&m, &fresh);
    mesh_run(&m, 10);
    mesh_answer(mesh_at(&m, 1, 0));
    mesh_run(&m, 10);
    assert_int_equal(fresh.status, WEFT_OK);
    mesh_answer(mesh_at(&m, 0, 0));
    mesh_run(&m, 10);
    assert_int_equal(old.status, WEFT_OK);
    mesh_swap(&m, &(mesh_config){.endpoints = "10.0.1.1:80"});
    mesh_unary(&m, &again);
    mesh_run(&m, 10);
    mesh_answer(mesh_at(&m, 0, 1));
    mesh_run(&m, 10);
    assert_int_equal(again.status, WEFT_OK);
    assert_int_equal(m.worker.up->count, 2);
    mesh_close(&m);
}

static void listeners_come_and_go(void **state) {
    (void)state;
    mesh_call old;
    mesh_open(&m, &(mesh_config){0});
    mesh_unary(&m, &old);
    mesh_run(&m, 0);
    mesh_swap(&m, &(mesh_config){.listener = "out2", .port = 81});
    mesh_run(&m, 10);
    assert_false(h2_conn_can_request(m.client.h2)); /* GOAWAY came */
    assert_int_equal(m.worker.listener_count, 1);
    mesh_answer(mesh_at(&m, 0, 0));
    mesh_run(&m, 10);
    assert_int_equal(old.status, WEFT_OK);
    assert_false(m.client_up);
    assert_true(weft_list_empty(&m.worker.leaving)); /* closed, and forgotten */
    mesh_swap(&m, &(mesh_config){0});
    mesh_dial(&m);
    m.servers[0].ok = true;
    mesh_unary(&m, &old);
    mesh_run(&m, 10);
    assert_int_equal(old.status, WEFT_OK);
    mesh_close(&m);
}

/* Calls all the time, snapshots all the time: nobody notices. */
static void a_storm(void **state) {
    (void)state;
    static const char *const sets[] = {"10.0.1.1:80", "10.0.1.1:80 10.0.1.2:80",
                                       "10.0.1.2:80 10.0.1.3:80", "10.0.1.3:80 10.0.1.1:80"};
    mesh_call calls[4];
    weft_rng rng;
    weft_rng_seed(&rng, 7);
    mesh_open(&m, &(mesh_config){.servers = 3});
    for (int i = 0; i < 3; i++) m.servers[i].ok = true;
    for (int round = 0; round < 15; round++) {
        for (int i = 0; i < 4; i++) {
            mesh_unary(&m, &calls[i]);
            mesh_run(&m, (int64_t)weft_rng_below(&rng, 2));
            mesh_swap(&m,
                      &(mesh_config){.endpoints = sets[weft_rng_below(&rng, 4)],
                                     .name = weft_rng_below(&rng, 4) ? NULL : "echo2",
                                     .route = weft_rng_below(&rng, 2) ? "timeout: 9s, " : NULL});
        }
        mesh_run(&m, 50);
        for (int i = 0; i < 4; i++) assert_int_equal(calls[i].status, WEFT_OK);
        bool full = false;
        for (int i = 0; i < 3; i++) full |= m.servers[i].peer_count > MESH_PEERS - 6;
        if (full) break;
    }
    mesh_close(&m);
}

/* The way from outside: through every worker's loop. */
static void applied(void **state) {
    (void)state;
    char why[APPLY_WHY];
    mesh_call one;
    mesh_open(&m, &(mesh_config){.servers = 2, .endpoints = "10.0.1.1:80"});
    m.servers[0].ok = m.servers[1].ok = true;
    sidecar_apply *apply = sidecar_apply_new(&m.shared, &m.worker, 1);
    assert_non_null(apply);
    config_snapshot *next =
        mesh_snapshot(&m, &(mesh_config){.name = "other", .endpoints = "10.0.1.2:80"});
    assert_int_equal(sidecar_apply_snapshot(apply, next, why), 0);
    assert_true(sidecar_apply_busy(apply));
    assert_int_equal(sidecar_apply_snapshot(apply, next, why), WEFT_EBUSY);
    config_unref(next);
    mesh_run(&m, 10);
    assert_false(sidecar_apply_busy(apply));
    mesh_unary(&m, &one);
    mesh_run(&m, 10);
    assert_int_equal(one.status, WEFT_OK);
    assert_int_equal(m.servers[1].request_count, 1);
    /* An address that is not ours: all is as it was. */
    next = mesh_snapshot(&m, &(mesh_config){.listener = "out2", .port = 81});
    assert_true(sidecar_apply_snapshot(apply, next, why) < 0);
    assert_string_not_equal(why, "");
    assert_false(sidecar_apply_busy(apply));
    config_unref(next);
    mesh_unary(&m, &one);
    mesh_run(&m, 10);
    assert_int_equal(one.status, WEFT_OK);
    mesh_close(&m);
    sidecar_apply_free(apply);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_change),
        cmocka_unit_test(what_stays_keeps_its_connection),
        cmocka_unit_test(routes_change),
        cmocka_unit_test(clusters_come_and_go),
        cmocka_unit_test(listeners_come_and_go),
        cmocka_unit_test(a_storm),
        cmocka_unit_test(applied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
