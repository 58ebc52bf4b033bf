/* Two servers: what a handler's context carries on to the calls it makes. And groups of calls. */
#include "echo.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "weft/clock.h"

typedef Rpctest__EchoReply reply_t;

static echo near, far;

static int start(void **state) {
    (void)state;
    memset(&near, 0, sizeof near);
    memset(&far, 0, sizeof far);
    echo_start(&far, NULL, true);
    near.next = far.channel;
    echo_start(&near, NULL, false);
    return 0;
}

static int stop(void **state) {
    (void)state;
    weft_channel_free(near.channel);
    echo_stop_server(&near);
    echo_stop(&far);
    return 0;
}

static void trace_and_deadline_go_through(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(30));
    reply_t *reply = NULL;
    assert_code(
        rpctest_echo_unary(near.channel, ctx, REQUEST(.text = (char *)"c", .hops = 1), &reply),
        WEFT_OK);
    assert_string_equal(reply->text, "c");
    assert_true(strncmp(reply->peer, "ipv4:127.0.0.1:", 15) == 0);
    assert_memory_equal(reply->traceparent, weft_ctx_traceparent(ctx), 36);
    assert_true(reply->remaining_ms > 20000 && reply->remaining_ms <= 31000);
    weft_ctx_free(ctx);
}

static void given_trace_goes_through(void **state) {
    (void)state;
    static const char given[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(30));
    reply_t *reply = NULL;
    assert_int_equal(weft_ctx_add_metadata(ctx, "traceparent", given, sizeof given - 1), 0);
    assert_int_equal(weft_ctx_add_metadata(ctx, "tracestate", "a=1,b=2", 7), 0);
    assert_string_equal(weft_ctx_trace_id(ctx), "0af7651916cd43dd8448eb211c80319c");
    assert_code(rpctest_echo_unary(near.channel, ctx, REQUEST(.hops = 1), &reply), WEFT_OK);
    assert_memory_equal(reply->traceparent, given, 36);
    assert_string_equal(reply->traceparent + 52, "-00"); /* not sampled stays so */
    weft_ctx_free(ctx);
}

static void deadline_ends_all(void **state) {
    (void)state;
    /* On a busy machine a call can expire before the far handler begins: then another, with more time. */
    for (int64_t ms = 150; !atomic_load(&far.entered) && ms < 20000; ms *= 4) {
        weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_MS(ms));
        weft_status st =
            rpctest_echo_unary(near.channel, ctx, REQUEST(.hops = 1, .sleep_ms = 60000), NULL);
        assert_code(st, WEFT_DEADLINE_EXCEEDED);
        weft_ctx_free(ctx);
    }
    echo_await(&far.cancelled, 1);
    echo_await(&near.cancelled, 1);
}

static void *cancel_far_in(void *user) {
    echo_await(&far.entered, 1);
    weft_ctx_cancel(user);
    return NULL;
}

static void cancellation_goes_through(void **state) {
    (void)state;
    weft_ctx *root = weft_ctx_new(WEFT_NO_TIMEOUT);
    weft_ctx *ctx = weft_ctx_child(root, WEFT_NO_TIMEOUT);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_far_in, root), 0);
    assert_code(rpctest_echo_unary(near.channel, ctx, REQUEST(.hops = 1, .sleep_ms = 20000), NULL),
                WEFT_CANCELLED);
    (void)pthread_join(thread, NULL);
    echo_await(&far.cancelled, 1);
    echo_await(&near.cancelled, 1);
    weft_ctx_free(ctx);
    weft_ctx_free(root);
}

/* A caller that dies without a word: its connection goes, and with it all it asked for. */
static void lost_caller(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(30));
    rpctest_echo_both_stream *s = rpctest_echo_both(near.channel, ctx);
    reply_t *reply = NULL;
    assert_true(rpctest_echo_both_send(s, REQUEST(.count = 1)));
    assert_true(rpctest_echo_both_next(s, &reply));
    assert_code(rpctest_echo_both_status(s), WEFT_OK);
    weft_server_free(near.server); /* from the other side: the stream ends, too */
    near.server = NULL;
    assert_false(rpctest_echo_both_next(s, &reply));
    weft_status st = rpctest_echo_both_end(s);
    assert_true(st.code == WEFT_CANCELLED || st.code == WEFT_UNAVAILABLE);
    assert_code(rpctest_echo_unary(near.channel, ctx, REQUEST(.count = 1), NULL), WEFT_UNAVAILABLE);
    weft_ctx_free(ctx);
}

/* ---- groups */

static void group_all(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(30));
    weft_group *group = weft_group_new(ctx);
    reply_t *replies[40] = {NULL};
    char text[40][24];
    for (int i = 0; i < 40; i++) {
        (void)snprintf(text[i], sizeof text[i], "part %d", i);
        weft_channel *channel = i % 2 ? near.channel : far.channel;
        assert_int_equal(
            rpctest_echo_unary_start(channel, group, REQUEST(.text = text[i]), &replies[i]), i);
    }
    assert_code(weft_group_wait(group), WEFT_OK);
    for (int i = 0; i < 40; i++) assert_string_equal(replies[i]->text, text[i]);
    assert_int_equal(weft_group_wait_any(group), WEFT_ENOTFOUND);
    assert_code(weft_group_status(group, 39), WEFT_OK);
    assert_code(weft_group_status(group, 40), WEFT_INTERNAL);
    weft_ctx_free(ctx);
}

static void group_first_failure_cancels(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(30));
    weft_group *group = weft_group_new(ctx);
    reply_t *slow = NULL, *bad = NULL, *late = NULL;
    assert_int_equal(
        rpctest_echo_unary_start(near.channel, group, REQUEST(.sleep_ms = 20000), &slow), 0);
    echo_await(&near.entered, 1);
    assert_int_equal(rpctest_echo_unary_start(near.channel, group,
                                              REQUEST(.code = 9, .message = (char *)"broken"),
                                              &bad),
                     1);
    assert_status(weft_group_wait(group), WEFT_FAILED_PRECONDITION,
                  "test.rpc.v1.EchoService/Unary: broken");
    assert_code(weft_group_status(group, 0), WEFT_CANCELLED);
    assert_status(weft_group_status(group, 1), WEFT_FAILED_PRECONDITION, "broken");
    assert_null(slow);
    echo_await(&near.cancelled, 1);
    assert_int_equal(rpctest_echo_unary_start(near.channel, group, REQUEST(.count = 1), &late), 2);
    assert_code(weft_group_status(group, 2), WEFT_CANCELLED);
    weft_ctx_free(ctx);
}

static void group_keeps_going(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(30));
    weft_group *group = weft_group_new(ctx);
    weft_channel *nobody = weft_dial("nobody");
    reply_t *good = NULL, *bad = NULL;
    weft_group_keep_going(group);
    assert_int_equal(rpctest_echo_unary_start(nobody, group, REQUEST(.count = 1), &bad), 0);
    assert_int_equal(rpctest_echo_unary_start(near.channel, group, REQUEST(.sleep_ms = 20), &good),
                     1);
    assert_int_equal(weft_group_wait_any(group), 0);
    assert_code(weft_group_status(group, 0), WEFT_UNAVAILABLE);
    assert_int_equal(weft_group_wait_any(group), 1);
    assert_code(weft_group_status(group, 1), WEFT_OK);
    assert_non_null(good);
    assert_null(bad);
    assert_code(weft_group_wait(group), WEFT_UNAVAILABLE);
    weft_ctx_free(ctx);
    weft_channel_free(nobody);
}

static void group_cancelled_and_freed(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(30));
    reply_t *reply = NULL;
    weft_group *group = weft_group_new(ctx);
    for (int i = 0; i < 5; i++)
        assert_int_equal(
            rpctest_echo_unary_start(near.channel, group, REQUEST(.sleep_ms = 20000), &reply), i);
    echo_await(&near.entered, 5);
    weft_group_cancel(group);
    assert_code(weft_group_wait(group), WEFT_CANCELLED);
    /* And one that nobody waits for. */
    weft_group *left = weft_group_new(ctx);
    for (int i = 0; i < 5; i++)
        assert_int_equal(
            rpctest_echo_unary_start(near.channel, left, REQUEST(.sleep_ms = 20000), &reply), i);
    weft_ctx_free(ctx);
    assert_null(reply);
}

static void group_of_a_cancelled_context(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(30));
    weft_group *group = weft_group_new(ctx);
    reply_t *reply = NULL;
    assert_int_equal(
        rpctest_echo_unary_start(near.channel, group, REQUEST(.sleep_ms = 20000), &reply), 0);
    weft_ctx_cancel(ctx);
    assert_code(weft_group_wait(group), WEFT_CANCELLED);
    weft_group *none = weft_group_new(ctx);
    assert_int_equal(rpctest_echo_unary_start(near.channel, none, REQUEST(.count = 1), &reply), 0);
    assert_code(weft_group_wait(none), WEFT_CANCELLED);
    weft_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
        T(trace_and_deadline_go_through),
        T(given_trace_goes_through),
        T(deadline_ends_all),
        T(cancellation_goes_through),
        T(lost_caller),
        T(group_all),
        T(group_first_failure_cancels),
        T(group_keeps_going),
        T(group_cancelled_and_freed),
        T(group_of_a_cancelled_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
