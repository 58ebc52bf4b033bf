/* The three streaming kinds over a real server, and all the ways they can end. */
#include "echo.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "weft/clock.h"

typedef Rpctest__EchoReply reply_t;
typedef Rpctest__EchoRequest request_t;

static echo e;

static int start(void **state) {
    (void)state;
    memset(&e, 0, sizeof e);
    echo_start(&e, NULL, false);
    return 0;
}

static int start_tcp(void **state) {
    (void)state;
    memset(&e, 0, sizeof e);
    echo_start(&e, NULL, true);
    return 0;
}

static int stop(void **state) {
    (void)state;
    echo_stop(&e);
    return 0;
}

static void down(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    assert_int_equal(weft_ctx_add_metadata(ctx, "x-echo", "head", 4), 0);
    assert_int_equal(weft_ctx_add_metadata(ctx, "x-echo-bin", "\0\1", 2), 0);
    rpctest_echo_down_stream *s =
        rpctest_echo_down(e.channel, ctx, REQUEST(.text = (char *)"d", .count = 1000));
    reply_t *reply = NULL;
    int32_t got = 0;
    for (; rpctest_echo_down_next(s, &reply); got++) {
        assert_int_equal(reply->count, got);
        assert_string_equal(reply->text, "d");
        if (got == 0) assert_string_equal(weft_ctx_initial(ctx, "x-initial", 0, NULL), "head");
    }
    assert_int_equal(got, 1000);
    assert_false(rpctest_echo_down_next(s, &reply));
    assert_false(rpctest_echo_down_next(s, &reply));
    assert_code(rpctest_echo_down_end(s), WEFT_OK);
    size_t len = 0;
    assert_memory_equal(weft_ctx_trailing(ctx, "x-trailing-bin", 0, &len), "\0\1", 2);
    assert_int_equal(len, 2);
    weft_ctx_free(ctx);
}

static void down_empty_and_failing(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    reply_t *reply = NULL;
    rpctest_echo_down_stream *s = rpctest_echo_down(e.channel, ctx, REQUEST(.count = 0));
    assert_false(rpctest_echo_down_next(s, &reply));
    assert_code(rpctest_echo_down_end(s), WEFT_OK);
    s = rpctest_echo_down(e.channel, ctx, REQUEST(.code = 5, .message = (char *)"no such thing"));
    assert_false(rpctest_echo_down_next(s, &reply));
    assert_status(rpctest_echo_down_end(s), WEFT_NOT_FOUND, "no such thing");
    weft_ctx_free(ctx);
}

static void kept_messages_stay(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    rpctest_echo_down_stream *s =
        rpctest_echo_down(e.channel, ctx, REQUEST(.text = (char *)"kept", .count = 50));
    reply_t *reply = NULL, *kept[50];
    int got = 0;
    while (rpctest_echo_down_next(s, &reply)) {
        kept[got++] = reply;
        rpctest_echo_down_keep(s);
    }
    assert_code(rpctest_echo_down_end(s), WEFT_OK);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(kept[i]->count, i);
        assert_string_equal(kept[i]->text, "kept");
    }
    weft_ctx_free(ctx);
}

static void up(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    reply_t *reply = NULL;
    rpctest_echo_up_stream *s = rpctest_echo_up(e.channel, ctx);
    for (int i = 0; i < 1000; i++)
        assert_true(rpctest_echo_up_send(
            s,
            REQUEST(.text = (char *)"u",
                    .payload = {
                        100,
                        (uint8_t
                             *)(uintptr_t) "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"})));
    assert_code(rpctest_echo_up_end(s, &reply), WEFT_OK);
    assert_int_equal(reply->count, 1000);
    assert_string_equal(reply->text, "u 100000");
    s = rpctest_echo_up(e.channel, ctx);
    assert_code(rpctest_echo_up_end(s, &reply), WEFT_OK);
    assert_int_equal(reply->count, 0);
    weft_ctx_free(ctx);
}

/* The server ends while the client still sends: sending stops, the status is the server's. */
static void up_ended_early(void **state) {
    (void)state;
    static uint8_t payload[20000];
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    rpctest_echo_up_stream *s = rpctest_echo_up(e.channel, ctx);
    int sent = 0;
    while (rpctest_echo_up_send(s, REQUEST(.payload = {sizeof payload, payload},
                                           .code = sent == 3 ? 9 : 0, .message = (char *)"enough")))
        sent++;
    assert_true(sent >= 3);
    reply_t *reply = NULL;
    assert_status(rpctest_echo_up_end(s, &reply), WEFT_FAILED_PRECONDITION, "enough");
    assert_null(reply);
    weft_ctx_free(ctx);
}

static void both_ping_pong(void **state) {
    (void)state;
    char text[32];
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    rpctest_echo_both_stream *s = rpctest_echo_both(e.channel, ctx);
    reply_t *reply = NULL;
    for (int i = 0; i < 300; i++) {
        (void)snprintf(text, sizeof text, "ping %d", i);
        assert_true(rpctest_echo_both_send(s, REQUEST(.text = text)));
        assert_true(rpctest_echo_both_next(s, &reply));
        assert_string_equal(reply->text, text);
    }
    assert_code(rpctest_echo_both_status(s), WEFT_OK);
    rpctest_echo_both_close_send(s);
    assert_false(rpctest_echo_both_send(s, REQUEST(.text = text)));
    assert_false(rpctest_echo_both_next(s, &reply));
    assert_code(rpctest_echo_both_end(s), WEFT_OK);
    weft_ctx_free(ctx);
}

/* The context's arena is the writer's here: the reader, who gets metadata, must not be seen in it. */
static void *write_many(void *user) {
    weft_ctx *ctx = weft_stream_ctx(user);
    for (int i = 0; i < 2000; i++) {
        char *text = weft_strdup(ctx, "many");
        if (!rpctest_echo_both_send(user, REQUEST(.text = text))) return NULL;
        if (weft_failed(rpctest_echo_both_status(user))) return NULL;
    }
    rpctest_echo_both_close_send(user);
    return user;
}

static void both_reader_and_writer(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(30));
    assert_int_equal(weft_ctx_add_metadata(ctx, "x-echo", "head", 4), 0);
    rpctest_echo_both_stream *s = rpctest_echo_both(e.channel, ctx);
    pthread_t writer;
    void *wrote = NULL;
    reply_t *reply = NULL;
    int got = 0;
    assert_int_equal(pthread_create(&writer, NULL, write_many, s), 0);
    while (rpctest_echo_both_next(s, &reply))
        if (!got++) assert_string_equal(weft_ctx_initial(ctx, "x-initial", 0, NULL), "head");
    (void)pthread_join(writer, &wrote);
    assert_non_null(wrote);
    assert_int_equal(got, 2000);
    assert_code(rpctest_echo_both_end(s), WEFT_OK);
    weft_ctx_free(ctx);
}

static void messages_of_4_mib(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(60));
    size_t size = ((size_t)4 << 20) - 64;
    uint8_t *payload = weft_alloc(ctx, size);
    for (size_t i = 0; i < size; i++) payload[i] = (uint8_t)(i * 31 >> 3);
    rpctest_echo_both_stream *s = rpctest_echo_both(e.channel, ctx);
    reply_t *reply = NULL;
    for (int i = 0; i < 4; i++) {
        assert_true(rpctest_echo_both_send(s, REQUEST(.payload = {size, payload})));
        assert_true(rpctest_echo_both_next(s, &reply));
        assert_int_equal(reply->payload.len, size);
        assert_memory_equal(reply->payload.data, payload, size);
    }
    rpctest_echo_both_close_send(s);
    assert_false(rpctest_echo_both_next(s, &reply));
    assert_code(rpctest_echo_both_end(s), WEFT_OK);
    weft_ctx_free(ctx);
}

/* A message over the limit ends the stream, on either side. */
static void messages_too_large(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(60));
    size_t size = (size_t)5 << 20;
    uint8_t *payload = weft_alloc(ctx, size);
    memset(payload, 0, size);
    reply_t *reply = NULL;
    rpctest_echo_both_stream *s = rpctest_echo_both(e.channel, ctx);
    (void)rpctest_echo_both_send(s, REQUEST(.payload = {size, payload}));
    assert_false(rpctest_echo_both_next(s, &reply));
    assert_code(rpctest_echo_both_end(s), WEFT_RESOURCE_EXHAUSTED);
    weft_ctx_max_reply(ctx, 1000);
    rpctest_echo_down_stream *d =
        rpctest_echo_down(e.channel, ctx, REQUEST(.count = 3, .reply_bytes = 2000));
    assert_false(rpctest_echo_down_next(d, &reply));
    assert_code(rpctest_echo_down_end(d), WEFT_RESOURCE_EXHAUSTED);
    weft_ctx_free(ctx);
}

/* ---- giving up */

static void cancelled_in_the_middle(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    rpctest_echo_both_stream *s = rpctest_echo_both(e.channel, ctx);
    reply_t *reply = NULL;
    assert_true(rpctest_echo_both_send(s, REQUEST(.text = (char *)"one")));
    assert_true(rpctest_echo_both_next(s, &reply));
    weft_ctx_cancel(ctx);
    assert_false(rpctest_echo_both_next(s, &reply));
    assert_false(rpctest_echo_both_send(s, REQUEST(.text = (char *)"two")));
    assert_code(rpctest_echo_both_status(s), WEFT_CANCELLED);
    assert_code(rpctest_echo_both_end(s), WEFT_CANCELLED);
    echo_await(&e.cancelled, 1);
    weft_ctx_free(ctx);
}

static void *cancel_soon(void *user) {
    echo_await(&e.entered, 1);
    weft_ctx_cancel(user);
    return NULL;
}

static void cancel_wakes_a_reader(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_NO_TIMEOUT);
    pthread_t thread;
    reply_t *reply = NULL;
    rpctest_echo_both_stream *s = rpctest_echo_both(e.channel, ctx);
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, ctx), 0);
    assert_false(rpctest_echo_both_next(s, &reply));
    assert_code(rpctest_echo_both_end(s), WEFT_CANCELLED);
    (void)pthread_join(thread, NULL);
    echo_await(&e.cancelled, 1);
    weft_ctx_free(ctx);
}

static void deadline_wakes_a_reader(void **state) {
    (void)state;
    /* On a busy machine a stream can expire before its handler begins: then another, with more time. */
    for (int64_t ms = 100; !atomic_load(&e.entered) && ms < 20000; ms *= 4) {
        weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_MS(ms));
        reply_t *reply = NULL;
        rpctest_echo_both_stream *s = rpctest_echo_both(e.channel, ctx);
        assert_false(rpctest_echo_both_next(s, &reply));
        assert_code(rpctest_echo_both_end(s), WEFT_DEADLINE_EXCEEDED);
        weft_ctx_free(ctx);
    }
    echo_await(&e.left, 1);
    assert_true(atomic_load(&e.cancelled) >= 1);
}

/* A watch given up early: end does not wait for a server that has much more to say. */
static void ended_unread(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    reply_t *reply = NULL;
    rpctest_echo_down_stream *s =
        rpctest_echo_down(e.channel, ctx, REQUEST(.text = (char *)"w", .count = 100000000));
    for (int i = 0; i < 10; i++) assert_true(rpctest_echo_down_next(s, &reply));
    assert_status(rpctest_echo_down_end(s), WEFT_CANCELLED,
                  "test.rpc.v1.EchoService/Down: the stream was ended with messages unread");
    echo_await(&e.cancelled, 1);
    rpctest_echo_both_stream *b = rpctest_echo_both(e.channel, ctx);
    assert_true(rpctest_echo_both_send(b, REQUEST(.count = 100000000)));
    assert_true(rpctest_echo_both_next(b, &reply));
    assert_code(rpctest_echo_both_end(b), WEFT_CANCELLED);
    weft_ctx_free(ctx);
}

static void never_began(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(0);
    reply_t *reply = NULL;
    rpctest_echo_both_stream *s = rpctest_echo_both(e.channel, ctx);
    assert_non_null(s);
    assert_false(rpctest_echo_both_send(s, REQUEST(.count = 1)));
    assert_false(rpctest_echo_both_next(s, &reply));
    rpctest_echo_both_close_send(s);
    assert_code(rpctest_echo_both_status(s), WEFT_DEADLINE_EXCEEDED);
    assert_code(rpctest_echo_both_end(s), WEFT_DEADLINE_EXCEEDED);
    rpctest_echo_up_stream *u = rpctest_echo_up(e.channel, ctx);
    assert_false(rpctest_echo_up_send(u, REQUEST(.count = 1)));
    assert_code(rpctest_echo_up_end(u, &reply), WEFT_DEADLINE_EXCEEDED);
    weft_channel *nobody = weft_dial("127.0.0.1:1");
    weft_ctx *good = weft_ctx_new(WEFT_TIMEOUT_S(5));
    rpctest_echo_down_stream *d = rpctest_echo_down(nobody, good, REQUEST(.count = 1));
    assert_false(rpctest_echo_down_next(d, &reply));
    assert_code(rpctest_echo_down_end(d), WEFT_UNAVAILABLE);
    weft_channel_free(nobody);
    weft_ctx_free(good);
    weft_ctx_free(ctx);
}

/* ---- many */

static void *one_of_many(void *user) {
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(60));
    rpctest_echo_both_stream *s = rpctest_echo_both(e.channel, ctx);
    reply_t *reply = NULL;
    bool ok = rpctest_echo_both_send(s, REQUEST(.text = (char *)"first")) &&
              rpctest_echo_both_next(s, &reply);
    atomic_fetch_add((atomic_int *)user, 1);
    echo_await(user, 200); /* all of them are open now */
    for (int i = 0; i < 20 && ok; i++)
        ok = rpctest_echo_both_send(s, REQUEST(.text = (char *)"more")) &&
             rpctest_echo_both_next(s, &reply) && strcmp(reply->text, "more") == 0;
    rpctest_echo_both_close_send(s);
    ok = ok && !rpctest_echo_both_next(s, &reply);
    weft_status st = rpctest_echo_both_end(s);
    weft_ctx_free(ctx);
    return ok && !weft_failed(st) ? user : NULL;
}

static void two_hundred_at_once(void **state) {
    (void)state;
    static pthread_t threads[200];
    atomic_int open = 0;
    for (int i = 0; i < 200; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, one_of_many, &open), 0);
    for (int i = 0; i < 200; i++) {
        void *ok = NULL;
        (void)pthread_join(threads[i], &ok);
        assert_non_null(ok);
    }
    assert_int_equal(atomic_load(&e.entered), 200);
}

/* A transport whose third send fails, as one does when the caller has gone: that may be told before the
 * cancellation is. */
static const tp_call_events *real_events;
static tp_call_events failing_events;
static atomic_int sends;

static void fail_the_third(void *user, bool ok) {
    real_events->on_sent(user, ok && atomic_fetch_add(&sends, 1) != 2);
}

static void failing_accept(tp_call *call, const tp_call_events *events, void *user) {
    real_events = events;
    failing_events = *events;
    failing_events.on_sent = fail_the_third;
    echo_transport()->call_accept(call, &failing_events, user);
}

static void a_failed_send_is_a_cancellation(void **state) {
    (void)state;
    weft_transport failing = *echo_transport();
    failing.call_accept = failing_accept;
    memset(&e, 0, sizeof e);
    e.transport = &failing;
    echo_start(&e, NULL, false);
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    reply_t *reply = NULL;
    rpctest_echo_down_stream *s = rpctest_echo_down(e.channel, ctx, REQUEST(.count = 1000000));
    while (rpctest_echo_down_next(s, &reply)) continue;
    assert_code(rpctest_echo_down_end(s), WEFT_CANCELLED);
    echo_await(&e.left, 1);
    assert_int_equal(atomic_load(&e.cancelled), 1);
    assert_int_equal(atomic_load(&e.unaware), 0);
    weft_ctx_free(ctx);
    echo_stop(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
        T(down),
        T(down_empty_and_failing),
        T(kept_messages_stay),
        T(up),
        T(up_ended_early),
        T(both_ping_pong),
        T(both_reader_and_writer),
        T(messages_of_4_mib),
        cmocka_unit_test_setup_teardown(both_reader_and_writer, start_tcp, stop),
        T(messages_too_large),
        T(cancelled_in_the_middle),
        cmocka_unit_test(a_failed_send_is_a_cancellation),
        T(cancel_wakes_a_reader),
        T(deadline_wakes_a_reader),
        T(ended_unread),
        T(never_began),
        T(two_hundred_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
