/* Balancing: distributions under fixed seeds, exclusions, what peak EWMA learns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/sidecar_cluster/cluster_support.h"

static const config_policy policies[] = {CONFIG_ROUND_ROBIN, CONFIG_LEAST_REQUEST, CONFIG_RANDOM,
                                         CONFIG_PEAK_EWMA};

/* With nothing to tell them apart, endpoints get equal shares. */
static void even(void **state) {
    (void)state;
    for (size_t p = 0; p < 4; p++) {
        bed b;
        int hits[10] = {0};
        bed_open(&b, policies[p], 10);
        const lb_request request = bed_request(&b);
        for (int i = 0; i < 10000; i++) hits[bed_pick(&b, &request)]++;
        for (int i = 0; i < 10; i++)
            assert_in_range(hits[i], policies[p] == CONFIG_ROUND_ROBIN ? 1000 : 880,
                            policies[p] == CONFIG_ROUND_ROBIN ? 1000 : 1120);
        bed_close(&b);
    }
}

static void by_weight(void **state) {
    (void)state;
    for (size_t p = 0; p < 4; p++) {
        bed b;
        int hits[3] = {0};
        cluster_member members[3] = {bed_member(0), bed_member(1), bed_member(2)};
        bed_open(&b, policies[p], 0);
        members[0].weight = 5;
        members[1].weight = 3;
        members[2].weight = 2;
        assert_int_equal(cluster_set_update(b.set, members, 3), 0);
        assert_true(b.set->weighted);
        const lb_request request = bed_request(&b);
        for (int i = 0; i < 10000; i++) hits[bed_pick(&b, &request)]++;
        if (policies[p] == CONFIG_ROUND_ROBIN) {
            assert_int_equal(hits[0], 5000);
            assert_int_equal(hits[1], 3000);
            assert_int_equal(hits[2], 2000);
        } else {
            assert_true(hits[0] > hits[1] && hits[1] > hits[2] && hits[2] > 1500);
        }
        bed_close(&b);
    }
}

/* A weight of 3 against two of 1 does not come three times in a row. */
static void smooth(void **state) {
    (void)state;
    bed b;
    cluster_member members[3] = {bed_member(0), bed_member(1), bed_member(2)};
    static const uint32_t want[] = {0, 1, 0, 2, 0, 0, 1, 0, 2, 0};
    bed_open(&b, CONFIG_ROUND_ROBIN, 0);
    members[0].weight = 3;
    assert_int_equal(cluster_set_update(b.set, members, 3), 0);
    const lb_request request = bed_request(&b);
    for (size_t i = 0; i < 10; i++) assert_int_equal(bed_pick(&b, &request), want[i]);
    bed_close(&b);
}

/* What was tried is not picked; when all were, any is. */
static void exclusion(void **state) {
    (void)state;
    for (size_t p = 0; p < 4; p++) {
        bed b;
        bed_open(&b, policies[p], 5);
        const cluster_endpoint *tried[5];
        for (size_t n = 0; n <= 5; n++) {
            int hits[5] = {0};
            lb_request request = bed_request(&b);
            request.tried = tried;
            request.tried_count = n;
            for (int i = 0; i < 2000; i++) hits[bed_pick(&b, &request)]++;
            for (size_t i = 0; i < 5; i++)
                if (i < n && n < 5)
                    assert_int_equal(hits[i], 0);
                else
                    assert_true(hits[i] > 0);
            if (n < 5) tried[n] = b.set->all[n];
        }
        bed_close(&b);
    }
}

static void few(void **state) {
    (void)state;
    for (size_t p = 0; p < 4; p++) {
        bed b;
        bed_open(&b, policies[p], 0);
        lb_request request = bed_request(&b);
        assert_null(lb_pick(b.set, &request));
        const cluster_member one = bed_member(0);
        assert_int_equal(cluster_set_update(b.set, &one, 1), 0);
        const cluster_endpoint *tried[] = {b.set->all[0]};
        request.tried = tried;
        request.tried_count = 1;
        assert_ptr_equal(lb_pick(b.set, &request), b.set->all[0]);
        bed_close(&b);
    }
}

static void less_busy(void **state) {
    (void)state;
    bed b;
    int hits[4] = {0};
    bed_open(&b, CONFIG_LEAST_REQUEST, 4);
    for (int i = 0; i < 50; i++) lb_start(b.set, b.set->all[0], LB_UNARY);
    const lb_request request = bed_request(&b);
    for (int i = 0; i < 3000; i++) hits[bed_pick(&b, &request)]++;
    assert_int_equal(hits[0], 0); /* one of two is always less busy */
    assert_true(hits[1] > 700 && hits[2] > 700 && hits[3] > 700);
    bed_close(&b);
}

/* ---- a little world: each endpoint has a latency and fails or not; 16 callers in a closed loop */

typedef struct world {
    bed *b;
    int64_t latency[8];
    bool failing[8];
    int hits[8];
} world;

static void run(world *w, lb_kind kind, int calls) {
    struct {
        cluster_endpoint *endpoint;
        int64_t begun, ends;
    } callers[16];
    memset(callers, 0, sizeof callers);
    for (int done = 0; done < calls; done++) {
        size_t next = 0;
        for (size_t i = 1; i < 16; i++)
            if (callers[i].ends < callers[next].ends) next = i;
        if (callers[next].endpoint) {
            if (callers[next].ends > w->b->now) w->b->now = callers[next].ends;
            const lb_outcome outcome = {.now = w->b->now,
                                        .kind = kind,
                                        .latency = callers[next].ends - callers[next].begun,
                                        .failed = w->failing[callers[next].endpoint->index]};
            lb_done(w->b->set, callers[next].endpoint, &outcome);
        }
        lb_request request = bed_request(w->b);
        request.kind = kind;
        cluster_endpoint *endpoint = lb_pick(w->b->set, &request);
        lb_start(w->b->set, endpoint, kind);
        w->hits[endpoint->index]++;
        callers[next].endpoint = endpoint;
        callers[next].begun = w->b->now;
        callers[next].ends = w->b->now + w->latency[endpoint->index];
    }
    for (size_t i = 0; i < 16; i++) {
        const lb_outcome outcome = {.now = w->b->now, .kind = kind, .latency = -1};
        if (callers[i].endpoint) lb_done(w->b->set, callers[i].endpoint, &outcome);
    }
    for (uint32_t i = 0; i < w->b->set->count; i++)
        assert_int_equal(w->b->set->all[i]->pending[kind], 0);
}

static void slow_gets_few(void **state) {
    (void)state;
    bed b;
    world w = {.b = &b};
    bed_open(&b, CONFIG_PEAK_EWMA, 5);
    for (int i = 0; i < 5; i++) w.latency[i] = 2 * MS;
    w.latency[3] = 80 * MS;
    run(&w, LB_UNARY, 20000);
    assert_true(w.hits[3] < 200); /* of 4,000 if all were equal */
    for (int i = 0; i < 5; i++)
        if (i != 3) assert_in_range(w.hits[i], 4300, 5700);
    bed_close(&b);
}

/* Errors that come fast must not draw the load; once healed, it comes back within the decay. */
static void failing_gets_few_and_heals(void **state) {
    (void)state;
    bed b;
    world w = {.b = &b};
    bed_open(&b, CONFIG_PEAK_EWMA, 4);
    for (int i = 0; i < 4; i++) w.latency[i] = 5 * MS;
    w.latency[2] = MS / 10;
    w.failing[2] = true;
    run(&w, LB_UNARY, 20000);
    assert_true(w.hits[2] < 100);
    w.failing[2] = false;
    b.now += 120 * S; /* memory of the peak is gone */
    memset(w.hits, 0, sizeof w.hits);
    run(&w, LB_UNARY, 4000);
    assert_true(w.hits[2] > 1000);
    bed_close(&b);
}

/* What streams take says nothing about unary calls. */
static void kinds_apart(void **state) {
    (void)state;
    bed b;
    bed_open(&b, CONFIG_PEAK_EWMA, 2);
    cluster_endpoint *e = b.set->all[0];
    const double before = lb_peak_ewma_cost(b.set, e, LB_UNARY, b.now);
    lb_start(b.set, e, LB_STREAM);
    const lb_outcome slow = {.now = b.now, .kind = LB_STREAM, .latency = 3 * S};
    lb_start(b.set, e, LB_STREAM);
    lb_done(b.set, e, &slow);
    assert_true(lb_peak_ewma_cost(b.set, e, LB_UNARY, b.now) == before);
    assert_true(lb_peak_ewma_cost(b.set, e, LB_STREAM, b.now) == 2 * 3e9);
    bed_close(&b);
}

static void peak_ewma_arithmetic(void **state) {
    (void)state;
    bed b;
    bed_open(&b, CONFIG_PEAK_EWMA, 2);
    cluster_endpoint *e = b.set->all[0];
    assert_true(lb_peak_ewma_cost(b.set, e, LB_UNARY, b.now) == 30e6);
    lb_outcome o = {.now = b.now, .kind = LB_UNARY, .latency = 10 * MS};
    lb_start(b.set, e, LB_UNARY);
    lb_done(b.set, e, &o); /* the first answer replaces the assumption */
    assert_true(lb_peak_ewma_cost(b.set, e, LB_UNARY, b.now) == 10e6);
    o.latency = 100 * MS; /* a peak counts at once */
    lb_start(b.set, e, LB_UNARY);
    lb_done(b.set, e, &o);
    assert_true(lb_peak_ewma_cost(b.set, e, LB_UNARY, b.now) == 100e6);
    o.now = b.now += 10 * S; /* one decay later: 1/e of it is left */
    const double later = lb_peak_ewma_cost(b.set, e, LB_UNARY, b.now);
    assert_true(later > 36.7e6 && later < 36.9e6);
    o.latency = -1; /* the caller went away: nothing is learned */
    lb_start(b.set, e, LB_UNARY);
    lb_done(b.set, e, &o);
    assert_true(lb_peak_ewma_cost(b.set, e, LB_UNARY, b.now) == later);
    o.failed = true;
    lb_start(b.set, e, LB_UNARY);
    lb_done(b.set, e, &o);
    assert_true(lb_peak_ewma_cost(b.set, e, LB_UNARY, b.now) == 5e9);
    o.pushback = 3600 * S; /* capped */
    lb_start(b.set, e, LB_UNARY);
    lb_done(b.set, e, &o);
    assert_true(lb_peak_ewma_cost(b.set, e, LB_UNARY, b.now) == (double)LB_PUSHBACK_MAX);
    assert_int_equal(e->failures, 2);
    assert_int_equal(e->requests, 5);
    bed_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(even),          cmocka_unit_test(by_weight),
        cmocka_unit_test(smooth),        cmocka_unit_test(exclusion),
        cmocka_unit_test(few),           cmocka_unit_test(less_busy),
        cmocka_unit_test(slow_gets_few), cmocka_unit_test(failing_gets_few_and_heals),
        cmocka_unit_test(kinds_apart),   cmocka_unit_test(peak_ewma_arithmetic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
