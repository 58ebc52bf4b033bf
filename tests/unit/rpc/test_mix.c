/* Ten thousand calls of all kinds with random cancels, deadlines and early ends: in the end nothing is left. */
#include "echo.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/rpc/internal.h"
#include "weft/clock.h"
#include "weft/rng.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define CALLS 2500
#else
#define CALLS 10000
#endif
#define THREADS 8

typedef Rpctest__EchoReply reply_t;

static echo e;
static atomic_int next_call;
static atomic_int outcomes[17];

typedef struct canceller {
    weft_ctx *ctx;
    atomic_bool quit;
    pthread_t thread;
} canceller;

static void note(weft_status st) {
    assert_in_range(st.code, 0, 16);
    if (st.code == WEFT_INTERNAL || st.code == WEFT_UNKNOWN || st.code == WEFT_UNAVAILABLE)
        print_message("%s: %s\n", weft_code_name((int)st.code), weft_status_message(st));
    atomic_fetch_add(&outcomes[st.code], 1);
}

static void one_unary(weft_ctx *ctx, weft_rng *rng) {
    reply_t *reply = NULL;
    static uint8_t payload[50000];
    size_t size = weft_rng_below(rng, sizeof payload);
    int64_t sleep = weft_rng_below(rng, 4) ? 0 : 5;
    if (weft_rng_below(rng, 2))
        note(rpctest_echo_unary(e.channel, ctx,
                                REQUEST(.payload = {size, payload}, .sleep_ms = sleep), &reply));
    else
        note(rpctest_echo_inline(e.channel, ctx, REQUEST(.payload = {size, payload}), &reply));
}

static void one_down(weft_ctx *ctx, weft_rng *rng) {
    reply_t *reply = NULL;
    uint64_t stop_at = weft_rng_below(rng, 40);
    rpctest_echo_down_stream *s =
        rpctest_echo_down(e.channel, ctx, REQUEST(.text = (char *)"d", .count = 20));
    for (uint64_t i = 0; i < stop_at && rpctest_echo_down_next(s, &reply); i++) continue;
    note(rpctest_echo_down_end(s));
}

static void one_up(weft_ctx *ctx, weft_rng *rng) {
    reply_t *reply = NULL;
    uint64_t count = weft_rng_below(rng, 20), fail_at = weft_rng_below(rng, 60);
    rpctest_echo_up_stream *s = rpctest_echo_up(e.channel, ctx);
    for (uint64_t i = 0; i < count; i++)
        if (!rpctest_echo_up_send(s, REQUEST(.text = (char *)"u", .code = i == fail_at ? 10 : 0)))
            break;
    note(rpctest_echo_up_end(s, &reply));
}

static void one_both(weft_ctx *ctx, weft_rng *rng) {
    reply_t *reply = NULL;
    uint64_t count = weft_rng_below(rng, 10);
    rpctest_echo_both_stream *s = rpctest_echo_both(e.channel, ctx);
    for (uint64_t i = 0; i < count; i++) {
        if (!rpctest_echo_both_send(
                s, REQUEST(.text = (char *)"b", .count = 1 + (int32_t)weft_rng_below(rng, 3))))
            break;
        if (!rpctest_echo_both_next(s, &reply)) break;
    }
    if (weft_rng_below(rng, 2)) rpctest_echo_both_close_send(s);
    if (weft_rng_below(rng, 8) == 0) weft_ctx_cancel(ctx);
    note(rpctest_echo_both_end(s));
}

static void one_group(weft_ctx *ctx, weft_rng *rng) {
    weft_group *group = weft_group_new(ctx);
    reply_t *replies[6] = {NULL};
    for (int i = 0; i < 6; i++)
        (void)rpctest_echo_unary_start(
            e.channel, group, REQUEST(.text = (char *)"g", .code = weft_rng_below(rng, 12) ? 0 : 9),
            &replies[i]);
    if (weft_rng_below(rng, 3)) note(weft_group_wait(group));
}

static void count_down(void *user, weft_status st, reply_t *reply) {
    assert_true(reply || weft_failed(st));
    atomic_fetch_sub((atomic_int *)user, 1);
}

static void one_async(weft_ctx *ctx, weft_rng *rng) {
    atomic_int left = 4;
    for (int i = 0; i < 4; i++)
        rpctest_echo_unary_async(e.channel, ctx, REQUEST(.text = (char *)"a"), count_down, &left);
    if (weft_rng_below(rng, 4) == 0) weft_ctx_cancel(ctx);
    while (atomic_load(&left)) sched_yield();
}

static void *cancel_randomly(void *user) {
    canceller *c = user;
    for (int i = 0; i < 200 && !atomic_load(&c->quit); i++) sched_yield();
    weft_ctx_cancel(c->ctx);
    return NULL;
}

static void one_call(weft_rng *rng) {
    static void (*const kinds[])(weft_ctx *, weft_rng *) = {one_unary, one_unary, one_down, one_up,
                                                            one_both,  one_group, one_async};
    int64_t timeout = weft_rng_below(rng, 8) ? WEFT_TIMEOUT_S(60)
                                             : WEFT_TIMEOUT_US((int64_t)weft_rng_below(rng, 3000));
    canceller c = {.ctx = weft_ctx_new(timeout)};
    bool cancelled = weft_rng_below(rng, 10) == 0;
    if (cancelled && pthread_create(&c.thread, NULL, cancel_randomly, &c) != 0) cancelled = false;
    kinds[weft_rng_below(rng, sizeof kinds / sizeof *kinds)](c.ctx, rng);
    atomic_store(&c.quit, true);
    if (cancelled) (void)pthread_join(c.thread, NULL);
    weft_ctx_free(c.ctx);
}

static void *caller(void *user) {
    weft_rng rng;
    weft_rng_seed(&rng, (uint64_t)(uintptr_t)user);
    while (atomic_fetch_add(&next_call, 1) < CALLS) one_call(&rng);
    return NULL;
}

static void mixed(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    memset(&e, 0, sizeof e);
    echo_start(&e, NULL, false);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, caller, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++) (void)pthread_join(threads[i], NULL);
    for (int kind = 0; kind < RPC_LIVE_KINDS; kind++)
        if (kind != RPC_SERVER_CALLS && kind != RPC_CTXS && kind != RPC_STREAMS)
            assert_int_equal(rpc_live_count((rpc_live)kind), 0);
    echo_stop(&e);
    assert_true(atomic_load(&outcomes[WEFT_OK]) > CALLS / 4);
    assert_true(atomic_load(&outcomes[WEFT_CANCELLED]) > 0);
    assert_true(atomic_load(&outcomes[WEFT_DEADLINE_EXCEEDED]) > 0);
    assert_int_equal(atomic_load(&outcomes[WEFT_INTERNAL]), 0);
    assert_int_equal(atomic_load(&outcomes[WEFT_UNKNOWN]), 0);
    assert_int_equal(atomic_load(&outcomes[WEFT_UNAVAILABLE]), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(mixed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
