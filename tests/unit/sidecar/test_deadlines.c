/* Deadlines: each is called once, not early and at most a millisecond late, whatever comes and goes. */
#include "sidecar/deadlines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "weft/rng.h"

#define MS INT64_C(1000000)

typedef struct owner {
    int64_t at;
    uint32_t place;
    int fired;
} owner;

static weft_timer_wheel wheel;
static deadlines d;
static int64_t last; /* the advance before this one */

static void add(owner *o, int64_t at) {
    *o = (owner){.at = at, .place = deadline_add(&d, at, o)};
    assert_true(o->place != DEADLINE_NONE);
}

static void due(void *user, int64_t now) {
    owner *o = user;
    assert_true(o->at <= now);
    assert_true(o->at > last - MS);
    o->place = DEADLINE_NONE;
    o->fired++;
}

static void begin(void (*fire)(void *owner, int64_t now)) {
    last = 0;
    weft_timer_wheel_init(&wheel, 0);
    deadlines_init(&d, &wheel, fire);
}

static void advance(int64_t now) {
    (void)weft_timer_wheel_advance(&wheel, now);
    last = now;
}

static void end(void) {
    deadlines_stop(&d);
    deadlines_free(&d);
    assert_int_equal(weft_timer_wheel_count(&wheel), 0);
}

static void in_any_order(void **state) {
    owner o[4];
    (void)state;
    begin(due);
    add(&o[0], 30 * MS);
    add(&o[1], 10 * MS);
    add(&o[2], 20 * MS);
    add(&o[3], 10 * MS);
    /* One timer stands for all. */
    assert_int_equal(weft_timer_wheel_count(&wheel), 1);
    advance(9 * MS);
    for (int i = 0; i < 4; i++) assert_int_equal(o[i].fired, 0);
    advance(10 * MS);
    assert_int_equal(o[1].fired + o[3].fired, 2);
    deadline_remove(&d, o[2].place);
    advance(29 * MS);
    assert_int_equal(o[0].fired, 0);
    advance(30 * MS);
    assert_int_equal(o[0].fired, 1);
    assert_int_equal(o[2].fired, 0);
    assert_int_equal(weft_timer_wheel_count(&wheel), 0);
    end();
}

/* What is due already is called at the next advance. */
static void over_already(void **state) {
    owner o;
    (void)state;
    begin(due);
    advance(100 * MS);
    last = 0;
    add(&o, 50 * MS);
    assert_int_equal(o.fired, 0);
    (void)weft_timer_wheel_advance(&wheel, 100 * MS);
    assert_int_equal(o.fired, 1);
    end();
}

static owner second, third;

static void adds_another(void *user, int64_t now) {
    (void)user;
    deadline_remove(&d, third.place);
    add(&second, now + 5 * MS);
    d.due = due;
}

static void changes_from_inside(void **state) {
    owner first;
    (void)state;
    begin(adds_another);
    add(&first, 10 * MS);
    add(&third, 10 * MS);
    advance(10 * MS);
    assert_int_equal(third.fired, 0);
    advance(14 * MS);
    assert_int_equal(second.fired, 0);
    advance(15 * MS);
    assert_int_equal(second.fired, 1);
    end();
}

/* Places are used again, and those of a crowd that has gone are forgotten. */
static void bounded(void **state) {
    static owner o[5000];
    (void)state;
    begin(due);
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 10; i++) add(&o[i], 1000 * MS);
        for (int i = 0; i < 10; i++) deadline_remove(&d, o[i].place);
    }
    assert_int_equal(d.used, 10);
    for (int i = 0; i < 5000; i++) add(&o[i], 1000 * MS);
    for (int i = 1; i < 5000; i++) deadline_remove(&d, o[i].place);
    add(&o[1], 5 * MS);
    advance(5 * MS);
    assert_int_equal(o[1].fired, 1);
    assert_in_range(d.used, 1, 1);
    advance(1000 * MS);
    assert_int_equal(o[0].fired, 1);
    end();
}

static void at_random(void **state) {
    static owner o[300];
    weft_rng rng;
    int64_t now = 0;
    (void)state;
    weft_rng_seed(&rng, 7);
    begin(due);
    for (int i = 0; i < 300; i++) o[i].place = DEADLINE_NONE;
    for (int step = 0; step < 20000; step++) {
        owner *one = &o[weft_rng_below(&rng, 300)];
        if (one->place == DEADLINE_NONE) {
            add(one, now + (int64_t)weft_rng_below(&rng, 50 * (uint64_t)MS));
        } else if (weft_rng_below(&rng, 2)) {
            deadline_remove(&d, one->place);
            one->place = DEADLINE_NONE;
        }
        if (weft_rng_below(&rng, 4)) continue;
        now += (int64_t)weft_rng_below(&rng, 3 * (uint64_t)MS);
        advance(now);
        for (int i = 0; i < 300; i++)
            assert_true(o[i].place == DEADLINE_NONE || o[i].at > now - MS);
    }
    for (int i = 0; i < 300; i++)
        if (o[i].place != DEADLINE_NONE) deadline_remove(&d, o[i].place);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_any_order),        cmocka_unit_test(over_already),
        cmocka_unit_test(changes_from_inside), cmocka_unit_test(bounded),
        cmocka_unit_test(at_random),
    };
    return cmocka_run_group_tests_name("sidecar/deadlines", tests, NULL, NULL);
}
