/* Sets of endpoints, bulkheads, retry budget, backoff. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <pthread.h>

#include <cmocka.h>

#include "tests/unit/sidecar_cluster/cluster_support.h"
#include "weft/mem.h"

/* An address that stays keeps its state; one that leaves lives on until its last attempt ended. */
static void change(void **state) {
    (void)state;
    bed b;
    bed_open(&b, CONFIG_ROUND_ROBIN, 3);
    cluster_endpoint *one = b.set->all[1], *zero = b.set->all[0];
    one->requests = 77;
    cluster_endpoint_ref(zero);
    const uint64_t epoch = b.set->epoch;
    cluster_member next[] = {bed_member(5), bed_member(1), bed_member(1)};
    next[1].weight = 9;
    next[0].host = "product.internal";
    assert_int_equal(cluster_set_update(b.set, next, 3), 0);
    assert_true(b.set->epoch > epoch);
    assert_int_equal(b.set->count, 2);
    assert_ptr_equal(b.set->all[1], one);
    assert_int_equal(one->requests, 77);
    assert_int_equal(one->weight, 9);
    assert_string_equal(b.set->all[0]->host, "product.internal");
    assert_string_equal(one->host, "10.0.0.2:80");
    assert_int_equal(b.gone, 2);
    assert_int_equal(b.released, 1);
    assert_true(zero->gone);
    cluster_set_health(b.set, zero, false); /* harmless */
    bed_close(&b);
    assert_int_equal(b.gone, 4);
    assert_int_equal(b.released, 3);
    lb_start(zero->set, zero, LB_UNARY); /* its set is still there */
    cluster_endpoint_unref(zero);
    assert_int_equal(b.released, 4);
}

static void health(void **state) {
    (void)state;
    bed b;
    cluster_member m[] = {bed_member(0), bed_member(1), bed_member(2), bed_member(3)};
    bed_open(&b, CONFIG_RANDOM, 0);
    m[2].priority = m[3].priority = 1;
    m[1].health = CONFIG_DRAINING;
    assert_int_equal(cluster_set_update(b.set, m, 4), 0);
    assert_int_equal(b.set->ready_count, 1);
    assert_ptr_equal(b.set->ready[0], b.set->all[0]);
    cluster_set_health(b.set, b.set->all[0], false); /* fail over to the next priority */
    assert_int_equal(b.set->ready_count, 2);
    assert_ptr_equal(b.set->ready[0], b.set->all[2]);
    assert_false(b.set->panic);
    cluster_set_health(b.set, b.set->all[2], false);
    cluster_set_health(b.set, b.set->all[3], false);
    assert_true(b.set->panic); /* none: all of the best priority */
    assert_int_equal(b.set->ready_count, 2);
    assert_ptr_equal(b.set->ready[1], b.set->all[1]);
    /* A list that says the same does not undo what checks found; one that changes does. */
    assert_int_equal(cluster_set_update(b.set, m, 4), 0);
    assert_true(b.set->panic);
    m[0].health = CONFIG_UNHEALTHY;
    assert_int_equal(cluster_set_update(b.set, m, 4), 0);
    m[0].health = CONFIG_HEALTHY;
    assert_int_equal(cluster_set_update(b.set, m, 4), 0);
    assert_false(b.set->panic);
    assert_ptr_equal(b.set->ready[0], b.set->all[0]);
    bed_close(&b);
}

static void many(void **state) {
    (void)state;
    static cluster_member members[CLUSTER_ENDPOINTS_MAX + 1];
    bed b;
    bed_open(&b, CONFIG_RANDOM, 0);
    for (size_t i = 0; i <= CLUSTER_ENDPOINTS_MAX; i++) {
        members[i] = bed_member(i);
        members[i].weight = UINT32_MAX;
    }
    assert_int_equal(cluster_set_update(b.set, members, CLUSTER_ENDPOINTS_MAX + 1), WEFT_ELIMIT);
    assert_int_equal(cluster_set_update(b.set, members, CLUSTER_ENDPOINTS_MAX), 0);
    assert_int_equal(b.set->upto[b.set->count - 1],
                     (uint64_t)CLUSTER_WEIGHT_MAX * CLUSTER_ENDPOINTS_MAX);
    bed_close(&b);
}

static int refuse(size_t size, void *user) {
    (void)size;
    return (*(int *)user)-- > 0;
}

static void out_of_memory(void **state) {
    (void)state;
    bed b;
    bed_open(&b, CONFIG_RANDOM, 2);
    cluster_endpoint *kept = b.set->all[0];
    const cluster_member next[] = {bed_member(7), bed_member(0), bed_member(8)};
    int rc = WEFT_ENOMEM;
    for (int allowed = 0; rc; allowed++) {
        int left = allowed;
        weft_mem_hook(refuse, &left);
        rc = cluster_set_update(b.set, next, 3);
        weft_mem_hook(NULL, NULL);
        if (!rc) break;
        assert_int_equal(rc, WEFT_ENOMEM);
        assert_int_equal(b.set->count, 2);
        assert_ptr_equal(b.set->all[0], kept);
        assert_true(allowed < 100);
    }
    assert_int_equal(b.set->count, 3);
    assert_ptr_equal(b.set->all[1], kept);
    bed_close(&b);
}

static void of_config(void **state) {
    (void)state;
    bed b;
    config_endpoint endpoints[2] = {{.host = "", .weight = 2}, {.host = "two", .weight = 1}};
    bed_open(&b, CONFIG_RANDOM, 0);
    endpoints[0].address = bed_member(0).address;
    endpoints[1].address = bed_member(1).address;
    b.config.endpoints = endpoints;
    b.config.endpoint_count = 2;
    assert_int_equal(cluster_set_static(b.set), 0);
    assert_int_equal(b.set->all[0]->weight, 2);
    assert_string_equal(b.set->all[0]->host, "10.0.0.1:80");
    assert_string_equal(b.set->all[1]->host, "two");
    config_cluster other = b.config;
    other.balance.policy = CONFIG_PEAK_EWMA;
    cluster_set_config(b.set, &other);
    assert_string_equal(b.set->lb.policy->name, "peak_ewma");
    bed_close(&b);
}

/* ---- */

static void bulkhead_of(bool alone) {
    cluster_shared shared;
    memset(&shared, 0, sizeof shared);
    if (alone) cluster_shared_alone(&shared);
    cluster_gauge *g = &shared.classes[CONFIG_CLASS_NORMAL].requests;
    for (int i = 0; i < 3; i++) assert_true(cluster_gauge_take(g, 3));
    assert_false(cluster_gauge_take(g, 3));
    assert_int_equal(cluster_gauge_now(g), 3);
    assert_int_equal(cluster_gauge_refused(g), 1);
    cluster_gauge_drop(g);
    assert_true(cluster_gauge_take(g, 3));
    assert_false(cluster_gauge_take(g, 0));
    /* A full class does not starve another. */
    assert_true(cluster_gauge_take(&shared.classes[CONFIG_CLASS_CRITICAL].requests, 3));
    for (int i = 0; i < 3; i++) cluster_gauge_drop(g);
    assert_int_equal(cluster_gauge_now(g), 0);
    assert_int_equal(cluster_gauge_refused(g), 2);
}

static void bulkhead(void **state) {
    (void)state;
    bulkhead_of(false);
    bulkhead_of(true);
}

static void budget(void **state) {
    (void)state;
    cluster_budget b;
    int64_t now = 1000 * S;
    memset(&b, 0, sizeof b);
    /* 10 a second over the window, whatever the load. */
    int taken = 0;
    for (int i = 0; i < 500; i++) taken += cluster_budget_retry(&b, now, 20, 10);
    assert_int_equal(taken, 100);
    assert_int_equal(b.refused, 400);
    /* They come back as the window moves on. */
    now += 9 * S;
    assert_false(cluster_budget_retry(&b, now, 20, 10));
    now += S;
    assert_true(cluster_budget_retry(&b, now, 20, 10));
    now += 100 * S;
    for (int i = 0; i < 1000; i++) cluster_budget_request(&b, now + i * S / 1000 * 5);
    now += 5 * S;
    assert_int_equal(cluster_budget_left(&b, now, 20, 10), 300);
    assert_int_equal(cluster_budget_left(&b, now, 20, 0), 200);
    assert_int_equal(cluster_budget_left(&b, now, 0, 0), 0);
    for (taken = 0; cluster_budget_retry(&b, now, 20, 0);) taken++;
    assert_int_equal(taken, 200);
    assert_int_equal(cluster_budget_left(&b, now + 20 * S, 20, 10), 100);
    /* Many at once, up to what a second can hold. */
    now += 100 * S;
    cluster_budget_requests(&b, now, 990);
    cluster_budget_requests(&b, now, 10);
    assert_int_equal(cluster_budget_left(&b, now, 20, 0), 200);
    cluster_budget_requests(&b, now + S, UINT32_MAX);
    cluster_budget_requests(&b, now + S, UINT32_MAX);
    assert_int_equal(cluster_budget_left(&b, now + S, 100, 0), 1000 + (1 << 24) - 1);
    /* Long silence: seconds that look alike modulo 2^20 are a long way apart. */
    assert_int_equal(cluster_budget_left(&b, now + 500000 * S, 20, 0), 0);
}

static void *hammer(void *user) {
    cluster_budget *b = user;
    for (int i = 0; i < 20000; i++) cluster_budget_request(b, 5 * S + i * 10000);
    return NULL;
}

static void budget_shared(void **state) {
    (void)state;
    cluster_budget b;
    pthread_t ids[4];
    memset(&b, 0, sizeof b);
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&ids[i], NULL, hammer, &b), 0);
    for (int i = 0; i < 4; i++) pthread_join(ids[i], NULL);
    assert_int_equal(cluster_budget_left(&b, 6 * S, 100, 0), 80000); /* none is lost */
}

static void backoff(void **state) {
    (void)state;
    cluster_backoff k = {0, 0};
    weft_rng rng;
    int64_t now = 50 * S, most = CLUSTER_BACKOFF_BASE;
    weft_rng_seed(&rng, 5);
    assert_true(cluster_backoff_open(&k, now));
    for (int i = 0; i < 20; i++) {
        const int64_t wait = cluster_backoff_failed(&k, now, &rng) - now;
        assert_in_range(wait, most / 2, most);
        assert_false(cluster_backoff_open(&k, now + wait - 1));
        assert_true(cluster_backoff_open(&k, now + wait));
        now += wait;
        most = most * 2 < CLUSTER_BACKOFF_MAX ? most * 2 : CLUSTER_BACKOFF_MAX;
    }
    assert_int_equal(k.failures, 20);
    cluster_backoff_reset(&k);
    assert_true(cluster_backoff_open(&k, 0));
    assert_in_range(cluster_backoff_failed(&k, 0, &rng), CLUSTER_BACKOFF_BASE / 2,
                    CLUSTER_BACKOFF_BASE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(change),    cmocka_unit_test(health),
        cmocka_unit_test(many),      cmocka_unit_test(out_of_memory),
        cmocka_unit_test(of_config), cmocka_unit_test(bulkhead),
        cmocka_unit_test(budget),    cmocka_unit_test(budget_shared),
        cmocka_unit_test(backoff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
