#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "weft/clock.h"
#include "weft/rng.h"
#include "weft/timer.h"

#define MS WEFT_NS_PER_MS

static weft_timer_wheel wheel;
static size_t fired;
static weft_timer *last_fired;

static void note(weft_timer *timer, int64_t now) {
    (void)now;
    fired++;
    last_fired = timer;
}

static int start(void **state) {
    (void)state;
    weft_timer_wheel_init(&wheel, 0);
    fired = 0;
    last_fired = NULL;
    return 0;
}

static void never_early_at_most_a_millisecond_late(void **state) {
    (void)state;
    weft_timer timer;
    weft_timer_init(&timer, note, NULL);
    assert_false(weft_timer_armed(&timer));
    weft_timer_arm(&wheel, &timer, 5 * MS + 1);
    assert_true(weft_timer_armed(&timer));
    assert_int_equal(weft_timer_wheel_next(&wheel), 6 * MS);
    assert_int_equal(weft_timer_wheel_advance(&wheel, 5 * MS + 1), 0);
    assert_int_equal(weft_timer_wheel_advance(&wheel, 6 * MS - 1), 0);
    assert_int_equal(weft_timer_wheel_advance(&wheel, 6 * MS), 1);
    assert_false(weft_timer_armed(&timer));
    assert_int_equal(weft_timer_wheel_next(&wheel), WEFT_NO_DEADLINE);
}

static void the_past_is_due_at_the_next_advance(void **state) {
    (void)state;
    weft_timer timers[3];
    for (size_t i = 0; i < 3; i++) weft_timer_init(&timers[i], note, NULL);
    weft_timer_wheel_advance(&wheel, 1000 * MS);
    weft_timer_arm(&wheel, &timers[0], 1000 * MS);
    weft_timer_arm(&wheel, &timers[1], INT64_MIN);
    weft_timer_arm(&wheel, &timers[2], 10 * MS);
    assert_true(weft_timer_wheel_next(&wheel) <= 1000 * MS);
    assert_int_equal(fired, 0);
    weft_timer_cancel(&timers[2]);
    assert_int_equal(weft_timer_wheel_advance(&wheel, 500 * MS), 2); /* backwards, too */
    assert_ptr_equal(last_fired, &timers[0]);                        /* after the older one */
    weft_timer_arm(&wheel, &timers[2], 1001 * MS);
    assert_int_equal(weft_timer_wheel_advance(&wheel, 500 * MS), 0);
    assert_int_equal(weft_timer_wheel_advance(&wheel, 1001 * MS), 1);
}

static void arming_again_moves_and_cancel_disarms(void **state) {
    (void)state;
    weft_timer timer;
    weft_timer_init(&timer, note, NULL);
    weft_timer_cancel(&timer);
    weft_timer_arm(&wheel, &timer, 10 * MS);
    weft_timer_arm(&wheel, &timer, 3600 * INT64_C(1000) * MS);
    assert_int_equal(weft_timer_wheel_count(&wheel), 1);
    assert_int_equal(weft_timer_wheel_advance(&wheel, 20 * MS), 0);
    weft_timer_cancel(&timer);
    weft_timer_cancel(&timer);
    assert_int_equal(weft_timer_wheel_count(&wheel), 0);
    assert_int_equal(weft_timer_wheel_next(&wheel), WEFT_NO_DEADLINE);
    weft_timer_arm(&wheel, &timer, 30 * MS);
    weft_timer_arm(&wheel, &timer, WEFT_NO_DEADLINE);
    assert_false(weft_timer_armed(&timer));
    assert_int_equal(weft_timer_wheel_advance(&wheel, INT64_MAX), 0);
}

static void centuries(void **state) {
    (void)state;
    weft_timer timers[44];
    for (size_t i = 0; i < 44; i++) {
        weft_timer_init(&timers[i], note, NULL);
        int64_t ticks = INT64_C(1) << i;
        if (ticks > INT64_MAX / MS) ticks = INT64_MAX / MS;
        weft_timer_arm(&wheel, &timers[i], ticks * MS);
    }
    /* Following _next takes each to its deadline exactly, in a few steps. */
    size_t steps = 0;
    int64_t now = 0;
    while ((now = weft_timer_wheel_next(&wheel)) != WEFT_NO_DEADLINE) {
        const size_t before = fired;
        weft_timer_wheel_advance(&wheel, now);
        if (fired > before) assert_int_equal(last_fired->deadline, now);
        assert_true(++steps < 44 * WEFT_TIMER_LEVELS);
    }
    assert_int_equal(fired, 44);
}

static weft_timer *sequence[300];

static void note_sequence(weft_timer *timer, int64_t now) {
    (void)now;
    sequence[fired++] = timer;
}

static void deadlines_in_one_millisecond_keep_their_order(void **state) {
    (void)state;
    static weft_timer timers[300];
    weft_rng rng;
    weft_rng_seed(&rng, 4);
    for (size_t i = 0; i < 300; i++) {
        weft_timer_init(&timers[i], note_sequence, NULL);
        weft_timer_arm(&wheel, &timers[i], 700 * MS + 1 + (int64_t)weft_rng_below(&rng, 50));
    }
    assert_int_equal(weft_timer_wheel_advance(&wheel, 701 * MS), 300);
    for (size_t i = 1; i < 300; i++) {
        assert_true(sequence[i - 1]->deadline <= sequence[i]->deadline);
        if (sequence[i - 1]->deadline == sequence[i]->deadline)
            assert_true(sequence[i - 1] < sequence[i]); /* armed in the order of the array */
    }
}

/* ---- the property test: a wheel against a sorted list */

enum { TIMERS = 60 };

typedef struct shadow {
    weft_timer timer;
    int armed;
    int64_t deadline;
    uint64_t order; /* of arming */
    uint64_t late;  /* armed for a moment that was over, during this advance; 0: not so */
    size_t fires;
} shadow;

typedef struct world {
    weft_rng rng;
    shadow all[TIMERS];
    uint64_t orders;
    int64_t now;       /* of the advance that runs */
    int64_t present;   /* tick up to which the wheel has come, by the model */
    uint64_t advances; /* how many so far */
    uint64_t frozen;   /* `orders` when this advance began */
    int chaos;         /* callbacks arm and cancel */
} world;

static world w;

static int64_t tick_of(int64_t deadline) { return deadline <= 0 ? 0 : (deadline + MS - 1) / MS; }

static void arm(shadow *s, int64_t deadline) {
    weft_timer_arm(&wheel, &s->timer, deadline);
    s->armed = 1;
    s->deadline = deadline;
    s->order = ++w.orders;
    s->late = tick_of(deadline) <= w.present ? w.advances : 0;
}

static void cancel(shadow *s) {
    weft_timer_cancel(&s->timer);
    s->armed = 0;
}

static int64_t random_delay(void) {
    const uint64_t bits = weft_rng_below(&w.rng, 50);
    return (int64_t)(weft_rng_u64(&w.rng) >> (63 - bits)) - (bits < 8 ? 100 : 0);
}

/* The armed timer that must fire next in this advance, or NULL. */
static shadow *expected(void) {
    shadow *best = NULL;
    for (size_t i = 0; i < TIMERS; i++) {
        shadow *s = &w.all[i];
        if (!s->armed || tick_of(s->deadline) > w.now / MS) continue;
        if (s->order > w.frozen && s->late == w.advances) continue; /* waits for the next */
        if (!best || s->deadline < best->deadline ||
            (s->deadline == best->deadline && s->order < best->order))
            best = s;
    }
    return best;
}

static void on_fire(weft_timer *timer, int64_t now) {
    shadow *s = timer->user;
    assert_int_equal(now, w.now);
    assert_false(weft_timer_armed(timer));
    assert_ptr_equal(s, expected());
    s->armed = 0;
    s->fires++;
    if (tick_of(s->deadline) > w.present) w.present = tick_of(s->deadline);
    if (!w.chaos) return;
    for (int i = 0; i < 3; i++) {
        shadow *other = &w.all[weft_rng_below(&w.rng, TIMERS)];
        switch (weft_rng_below(&w.rng, 6)) {
        case 0:
            arm(s, now + random_delay());
            break;
        case 1:
            arm(other, now - random_delay() % (20 * MS));
            break;
        case 2:
            cancel(other);
            break;
        case 3:
            arm(other, s->deadline + random_delay() % (5 * MS));
            break;
        default:
            break;
        }
    }
}

static void advance(int64_t now) {
    w.now = now;
    w.frozen = w.orders;
    w.advances++;
    weft_timer_wheel_advance(&wheel, now);
    if (now / MS > w.present) w.present = now / MS;
    size_t armed = 0;
    for (size_t i = 0; i < TIMERS; i++) {
        const shadow *s = &w.all[i];
        assert_int_equal(weft_timer_armed(&s->timer), s->armed);
        armed += (size_t)s->armed;
        /* Nothing that was due before the call is left over. */
        if (s->armed && s->order <= w.frozen) assert_true(tick_of(s->deadline) > now / MS);
    }
    assert_int_equal(weft_timer_wheel_count(&wheel), armed);
}

static void check_next(void) {
    int64_t earliest = WEFT_NO_DEADLINE;
    for (size_t i = 0; i < TIMERS; i++)
        if (w.all[i].armed && w.all[i].deadline < earliest) earliest = w.all[i].deadline;
    const int64_t next = weft_timer_wheel_next(&wheel);
    if (earliest == WEFT_NO_DEADLINE) {
        assert_int_equal(next, WEFT_NO_DEADLINE);
        return;
    }
    const int64_t tick = tick_of(earliest) > w.present ? tick_of(earliest) : w.present;
    assert_true(next <= tick * MS);
    assert_true(next >= w.present * MS);
}

static void run_world(uint64_t seed, int chaos) {
    memset(&w, 0, sizeof w);
    weft_rng_seed(&w.rng, seed);
    w.chaos = chaos;
    int64_t now = (int64_t)weft_rng_below(&w.rng, UINT64_C(1) << 50);
    w.present = now / MS;
    weft_timer_wheel_init(&wheel, now);
    for (size_t i = 0; i < TIMERS; i++) weft_timer_init(&w.all[i].timer, on_fire, &w.all[i]);
    size_t total = 0;
    for (int step = 0; step < 800; step++) {
        shadow *s = &w.all[weft_rng_below(&w.rng, TIMERS)];
        switch (weft_rng_below(&w.rng, 8)) {
        case 0:
            cancel(s);
            break;
        case 1:
            now += random_delay() & INT64_MAX >> 20;
            advance(now);
            break;
        case 2: {
            const int64_t next = weft_timer_wheel_next(&wheel);
            if (next == WEFT_NO_DEADLINE) break;
            if (next > now) now = next;
            advance(now);
            break;
        }
        case 3:
            /* many in one millisecond */
            arm(s, (now / MS + 40) * MS + (int64_t)weft_rng_below(&w.rng, 20));
            break;
        default:
            arm(s, now + random_delay());
        }
        check_next();
    }
    for (size_t i = 0; i < TIMERS; i++) total += w.all[i].fires;
    assert_true(total > 50);
}

static void a_wheel_is_a_sorted_list(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) run_world(seed, 0);
}

static void even_when_callbacks_interfere(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) run_world(seed, 1);
}

static void again_at_once(weft_timer *timer, int64_t now) {
    fired++;
    weft_timer_arm(&wheel, timer, now);
    assert_int_equal(weft_timer_wheel_advance(&wheel, now + MS), 0); /* refused */
}

static void a_timer_that_arms_itself_for_now_does_not_hang(void **state) {
    (void)state;
    weft_timer timer;
    weft_timer_init(&timer, again_at_once, NULL);
    weft_timer_arm(&wheel, &timer, 1 * MS);
    assert_int_equal(weft_timer_wheel_advance(&wheel, 1 * MS), 1);
    assert_int_equal(weft_timer_wheel_advance(&wheel, 1 * MS), 1);
    assert_int_equal(fired, 2);
    /* Behind the timer being fired, but not behind `now`: in the same call, once. */
    weft_timer_arm(&wheel, &timer, 5 * MS);
    assert_int_equal(weft_timer_wheel_advance(&wheel, 9 * MS), 2);
}

static void free_self(weft_timer *timer, int64_t now) {
    (void)now;
    fired++;
    free(timer);
}

static void a_timer_may_free_itself(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        weft_timer *timer = malloc(sizeof *timer);
        assert_non_null(timer);
        weft_timer_init(timer, free_self, NULL);
        weft_timer_arm(&wheel, timer, 5 * MS);
    }
    assert_int_equal(weft_timer_wheel_advance(&wheel, 5 * MS), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(never_early_at_most_a_millisecond_late, start),
        cmocka_unit_test_setup(the_past_is_due_at_the_next_advance, start),
        cmocka_unit_test_setup(arming_again_moves_and_cancel_disarms, start),
        cmocka_unit_test_setup(centuries, start),
        cmocka_unit_test_setup(deadlines_in_one_millisecond_keep_their_order, start),
        cmocka_unit_test_setup(a_wheel_is_a_sorted_list, start),
        cmocka_unit_test_setup(even_when_callbacks_interfere, start),
        cmocka_unit_test_setup(a_timer_that_arms_itself_for_now_does_not_hang, start),
        cmocka_unit_test_setup(a_timer_may_free_itself, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
