/* The saga engine against scripted steps, a clock that stands still and a real database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/shop/order/saga.h"
#include "weft/clock.h"

#define LEASE (10 * WEFT_NS_PER_S)

/* What the steps answer, in order of calls; what was asked. */
static struct script {
    weft_code answers[32];
    size_t count, at;
    char asked[1024]; /* "a(k) b(k) …" */
    char news[1024];
    int ended;
    saga_state end;
    char failed[64];
    void (*meanwhile)(void); /* in the middle of the next call */
} script;

static weft_clock_manual manual;
static char path[128];
static weft_db *db;
static saga_engine *engine;
static weft_ctx *ctx;

static void add(char *text, size_t size, const char *more) {
    const size_t len = strlen(text);
    (void)snprintf(text + len, size - len, "%s%s", len ? ", " : "", more);
}

static weft_status play(weft_ctx *call, const char *key, const char **result) {
    add(script.asked, sizeof script.asked, key);
    void (*meanwhile)(void) = script.meanwhile;
    script.meanwhile = NULL;
    if (meanwhile) meanwhile();
    *result = "left";
    const weft_code code = script.at < script.count ? script.answers[script.at++] : WEFT_OK;
    return code == WEFT_OK ? weft_ok() : weft_error(call, code, "scripted");
}

static weft_status act(void *user, weft_ctx *call, const saga *s, const char *key,
                       const char **result) {
    (void)user;
    assert_string_equal(s->subject, "thing");
    return play(call, key, result);
}

static void news(void *user, weft_tx *tx, const saga *s, const char *what) {
    (void)user;
    (void)tx;
    (void)s;
    add(script.news, sizeof script.news, what);
}

static void ended(void *user, weft_ctx *call, weft_tx *tx, const saga *s) {
    (void)user;
    (void)call;
    (void)tx;
    script.ended++;
    script.end = s->state;
    if (s->state == SAGA_FAILED)
        (void)snprintf(script.failed, sizeof script.failed, "%s %d %s",
                       s->kind->steps[s->failed_step].name, s->code, s->message);
}

static const saga_step steps[] = {{"a", act, act}, {"b", act, act}, {"c", act, NULL}};
static const saga_kind both_ways = {
    .name = "both", .steps = steps, .count = 3, .news = news, .ended = ended};
static const saga_kind forward = {.name = "forward",
                                  .steps = steps,
                                  .count = 2,
                                  .forward_only = true,
                                  .news = news,
                                  .ended = ended};
static const saga_kind *const kinds[] = {&both_ways, &forward, NULL};

static int set_up(void **state) {
    (void)state;
    const weft_migration migrations[] = {{"sagas", saga_schema}};
    memset(&script, 0, sizeof script);
    weft_clock_manual_init(&manual, 1000 * WEFT_NS_PER_S);
    (void)snprintf(path, sizeof path, "/tmp/weft-saga-%d-XXXXXX", (int)getpid());
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    const weft_db_options options = {.size = sizeof options,
                                     .migrations = migrations,
                                     .migration_count = 1,
                                     .clock = &manual.clock};
    assert_int_equal(weft_db_open(path, &options, &db, NULL), 0);
    const saga_options saga_setup = {.service = "test",
                                     .db = db,
                                     .clock = &manual.clock,
                                     .lease_ns = LEASE,
                                     .threads = 1,
                                     .kinds = kinds};
    engine = saga_engine_new(&saga_setup);
    ctx = weft_ctx_new(WEFT_NO_TIMEOUT);
    return engine && ctx ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    static const char *const ends[] = {"", "-wal", "-shm"};
    weft_ctx_free(ctx);
    saga_engine_stop(engine);
    weft_db_close(db);
    for (size_t i = 0; i < 3; i++) {
        char file[140];
        (void)snprintf(file, sizeof file, "%s%s", path, ends[i]);
        unlink(file);
    }
    return 0;
}

static void begin(const saga_kind *kind) {
    weft_tx *tx;
    assert_int_equal(weft_tx_begin(db, WEFT_WRITE, &tx), 0);
    saga_begin(engine, tx, kind, "s", "thing");
    assert_int_equal(weft_tx_commit(tx), 0);
}

static void answer(weft_code code) { script.answers[script.count++] = code; }

static saga_pass work(bool now) {
    int64_t next_try;
    return saga_work(engine, ctx, "s", now, &next_try);
}

static saga now_stored(void) {
    saga s;
    assert_int_equal(saga_load(engine, ctx, "s", &s), 0);
    return s;
}

static int due(void) {
    const char *ids[4];
    return saga_due(db, ctx, weft_wall(&manual.clock), ids, 4);
}

/* ---- the ways a saga can go */

static void completes(void **state) {
    (void)state;
    begin(&both_ways);
    assert_int_equal(work(true), SAGA_ENDED);
    assert_string_equal(script.asked, "s/a, s/b, s/c");
    assert_string_equal(script.news, "a: done, b: done, c: done");
    assert_int_equal(script.ended, 1);
    assert_int_equal(script.end, SAGA_COMPLETED);
    assert_string_equal(now_stored().steps[1].result, "left");
    assert_int_equal(work(true), SAGA_ENDED); /* and again does nothing */
    assert_string_equal(script.asked, "s/a, s/b, s/c");
    assert_int_equal(script.ended, 1);
}

static void undoes_in_reverse(void **state) {
    (void)state;
    answer(WEFT_OK);
    answer(WEFT_OK);
    answer(WEFT_FAILED_PRECONDITION);
    begin(&both_ways);
    assert_int_equal(work(true), SAGA_ENDED);
    assert_string_equal(script.asked, "s/a, s/b, s/c, s/b/undo, s/a/undo");
    assert_string_equal(script.news,
                        "a: done, b: done, c: refused: scripted, b: undone, a: undone");
    assert_int_equal(script.end, SAGA_FAILED);
    assert_string_equal(script.failed, "c 9 scripted");
}

static void first_refused_undoes_nothing(void **state) {
    (void)state;
    answer(WEFT_NOT_FOUND);
    begin(&both_ways);
    assert_int_equal(work(true), SAGA_ENDED);
    assert_string_equal(script.asked, "s/a");
    assert_string_equal(script.failed, "a 5 scripted");
}

/* ---- outcomes that are not known */

static void asks_again_until_known(void **state) {
    (void)state;
    static const weft_code unknown[] = {WEFT_UNAVAILABLE, WEFT_DEADLINE_EXCEEDED, WEFT_CANCELLED,
                                        WEFT_UNKNOWN,     WEFT_INTERNAL,          WEFT_ABORTED,
                                        WEFT_DATA_LOSS,   WEFT_RESOURCE_EXHAUSTED};
    for (size_t i = 0; i < 8; i++) answer(unknown[i]);
    begin(&both_ways);
    for (size_t i = 0; i < 8; i++) {
        int64_t next_try = 0;
        assert_int_equal(saga_work(engine, ctx, "s", true, &next_try), SAGA_LATER);
        const int64_t pause = next_try - weft_wall(&manual.clock);
        assert_true(pause > 0 && pause <= 5 * WEFT_NS_PER_S);
        assert_int_equal(now_stored().steps[0].state, STEP_STARTED);
        assert_int_equal(now_stored().steps[0].tries, i + 1);
    }
    assert_int_equal(work(true), SAGA_ENDED);
    assert_string_equal(script.asked, "s/a, s/a, s/a, s/a, s/a, s/a, s/a, s/a, s/a, s/b, s/c");
}

static void waits_for_its_time(void **state) {
    (void)state;
    answer(WEFT_UNAVAILABLE);
    begin(&both_ways);
    assert_int_equal(due(), 0); /* its caller is at it */
    assert_int_equal(work(false), SAGA_LATER);
    assert_string_equal(script.asked, "");
    assert_int_equal(work(true), SAGA_LATER);
    assert_int_equal(due(), 0);
    assert_int_equal(work(false), SAGA_LATER); /* not yet */
    assert_string_equal(script.asked, "s/a");
    weft_clock_manual_advance(&manual, 5 * WEFT_NS_PER_S);
    assert_int_equal(due(), 1);
    assert_int_equal(work(false), SAGA_ENDED);
    assert_int_equal(due(), 0);
}

/* A policy on the way may refuse a repeat; that says nothing of the try before it. */
static void refusals_on_the_way_prove_nothing_later(void **state) {
    (void)state;
    static const weft_code codes[] = {WEFT_PERMISSION_DENIED, WEFT_UNAUTHENTICATED,
                                      WEFT_UNIMPLEMENTED, WEFT_ALREADY_EXISTS};
    answer(WEFT_UNAVAILABLE);
    for (size_t i = 0; i < 4; i++) answer(codes[i]);
    answer(WEFT_FAILED_PRECONDITION);
    begin(&both_ways);
    for (size_t i = 0; i < 5; i++) assert_int_equal(work(true), SAGA_LATER);
    assert_int_equal(work(true), SAGA_ENDED);
    assert_int_equal(script.end, SAGA_FAILED);
}

static void a_refused_first_try_is_a_refusal(void **state) {
    (void)state;
    answer(WEFT_PERMISSION_DENIED);
    begin(&both_ways);
    assert_int_equal(work(true), SAGA_ENDED);
    assert_string_equal(script.failed, "a 7 scripted");
}

static void an_undo_is_repeated_too(void **state) {
    (void)state;
    answer(WEFT_OK);
    answer(WEFT_FAILED_PRECONDITION);
    answer(WEFT_UNAVAILABLE);
    begin(&both_ways);
    assert_int_equal(work(true), SAGA_LATER);
    assert_int_equal(now_stored().state, SAGA_COMPENSATING);
    assert_int_equal(now_stored().steps[0].state, STEP_UNDOING);
    assert_int_equal(work(true), SAGA_ENDED);
    assert_string_equal(script.asked, "s/a, s/b, s/a/undo, s/a/undo");
    assert_string_equal(script.failed, "b 9 scripted"); /* kept over the retry */
}

/* ---- parking */

static void parks_an_undo_that_is_refused(void **state) {
    (void)state;
    answer(WEFT_OK);
    answer(WEFT_FAILED_PRECONDITION);
    answer(WEFT_FAILED_PRECONDITION);
    begin(&both_ways);
    assert_int_equal(work(true), SAGA_LATER);
    assert_true(now_stored().parked);
    assert_string_equal(script.news, "a: done, b: refused: scripted, a: parked: scripted");
    weft_clock_manual_advance(&manual, 3600 * WEFT_NS_PER_S);
    assert_int_equal(due(), 0);
    assert_int_equal(work(true), SAGA_LATER); /* nobody touches it */
    assert_int_equal(script.at, 3);
    assert_int_equal(saga_unpark(db), 0); /* a restart */
    assert_int_equal(due(), 1);
    assert_int_equal(work(false), SAGA_ENDED);
    assert_int_equal(script.end, SAGA_FAILED);
}

static void forward_only_parks(void **state) {
    (void)state;
    answer(WEFT_OK);
    answer(WEFT_FAILED_PRECONDITION);
    begin(&forward);
    assert_int_equal(work(true), SAGA_LATER);
    assert_true(now_stored().parked);
    assert_string_equal(script.asked, "s/a, s/b");
    assert_int_equal(saga_unpark(db), 0);
    assert_int_equal(work(true), SAGA_ENDED);
    assert_int_equal(script.end, SAGA_COMPLETED);
}

/* ---- leases */

static void hold_lease(const char *owner) {
    weft_lease lease;
    assert_int_equal(weft_lease_acquire(db, "saga/s", owner, LEASE, &lease), 0);
}

static void leaves_alone_what_others_hold(void **state) {
    (void)state;
    begin(&both_ways);
    hold_lease("someone else");
    assert_int_equal(work(true), SAGA_BUSY);
    assert_string_equal(script.asked, "");
    weft_clock_manual_advance(&manual, LEASE); /* that one died */
    assert_int_equal(work(true), SAGA_ENDED);
}

static void oversleep(void) {
    weft_clock_manual_advance(&manual, 2 * LEASE);
    hold_lease("someone else");
}

/* The answer came, but the lease had run out meanwhile: nothing may be written. */
static void cannot_write_without_its_lease(void **state) {
    (void)state;
    begin(&both_ways);
    script.meanwhile = oversleep;
    assert_int_equal(work(true), SAGA_LATER);
    assert_int_equal(now_stored().steps[0].state, STEP_STARTED);
    assert_string_equal(script.news, "");
    weft_clock_manual_advance(&manual, LEASE);
    assert_int_equal(work(true), SAGA_ENDED);
    assert_string_equal(script.asked, "s/a, s/a, s/b, s/c"); /* the same key, so no harm */
}

static void half_asleep(void) { weft_clock_manual_advance(&manual, LEASE * 6 / 10); }

static void renews_its_lease(void **state) {
    (void)state;
    begin(&both_ways);
    script.meanwhile = half_asleep;
    assert_int_equal(work(true), SAGA_ENDED);
    assert_int_equal(now_stored().state, SAGA_COMPLETED);
}

static void unknown_ids(void **state) {
    (void)state;
    int64_t next_try;
    assert_int_equal(saga_work(engine, ctx, "nothing", true, &next_try), SAGA_LATER);
    saga s;
    assert_int_equal(saga_load(engine, ctx, "nothing", &s), WEFT_ENOTFOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(completes),
        TEST(undoes_in_reverse),
        TEST(first_refused_undoes_nothing),
        TEST(asks_again_until_known),
        TEST(waits_for_its_time),
        TEST(refusals_on_the_way_prove_nothing_later),
        TEST(a_refused_first_try_is_a_refusal),
        TEST(an_undo_is_repeated_too),
        TEST(parks_an_undo_that_is_refused),
        TEST(forward_only_parks),
        TEST(leaves_alone_what_others_hold),
        TEST(cannot_write_without_its_lease),
        TEST(renews_its_lease),
        TEST(unknown_ids),
    };
    return cmocka_run_group_tests_name("saga", tests, NULL, NULL);
}
