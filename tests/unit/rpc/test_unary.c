/* Unary calls over a real server: outcomes, deadlines, metadata, traces, limits, what strangers send. */
#include "echo.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "weft/addr.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "weft/clock.h"

typedef Rpctest__EchoReply reply_t;

static echo e;

static int start(void **state) {
    (void)state;
    memset(&e, 0, sizeof e);
    echo_start(&e, NULL, false);
    return 0;
}

static int stop(void **state) {
    (void)state;
    echo_stop(&e);
    return 0;
}

static void answers(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    reply_t *reply = NULL;
    weft_status st = rpctest_echo_unary(e.channel, ctx, REQUEST(.text = (char *)"hello"), &reply);
    assert_code(st, WEFT_OK);
    assert_string_equal(reply->text, "hello");
    assert_true(strncmp(reply->peer, "unix:", 5) == 0);
    st = rpctest_echo_inline(e.channel, ctx, REQUEST(.text = (char *)""), &reply);
    assert_code(st, WEFT_OK);
    assert_string_equal(reply->text, "");
    weft_ctx_free(ctx);
}

static void every_code(void **state) {
    (void)state;
    const char *const messages[] = {"plain", "", "100 % sure\n\tüñ→😀", "%41%zz"};
    for (int code = 1; code <= 16; code++) {
        weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
        reply_t *reply = NULL;
        const char *message = messages[code % 4];
        weft_status st = rpctest_echo_unary(
            e.channel, ctx,
            REQUEST(.text = (char *)"x", .code = code, .message = (char *)(uintptr_t)message),
            &reply);
        assert_status(st, (weft_code)code, message);
        assert_null(reply);
        weft_ctx_free(ctx);
    }
}

static void codes_out_of_range_become_unknown(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    weft_status st =
        rpctest_echo_unary(e.channel, ctx, REQUEST(.code = 99, .message = (char *)"odd"), NULL);
    assert_status(st, WEFT_UNKNOWN, "odd");
    weft_ctx_free(ctx);
}

static void long_messages_are_cut(void **state) {
    (void)state;
    char text[5001];
    memset(text, 'm', 5000);
    text[2046] = (char)0xc3; /* a character across the cut */
    text[2047] = (char)0xbc;
    text[2048] = (char)0xc3;
    text[2049] = (char)0xbc;
    text[5000] = '\0';
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    weft_status st = rpctest_echo_unary(e.channel, ctx, REQUEST(.code = 3, .message = text), NULL);
    assert_code(st, WEFT_INVALID_ARGUMENT);
    size_t len = strlen(weft_status_message(st));
    assert_true(len > 2000 && len < 2100);
    assert_string_equal(weft_status_message(st) + len - 3, "\xE2\x80\xA6");
    weft_ctx_free(ctx);
}

static void details_travel(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    weft_status st = rpctest_echo_unary(
        e.channel, ctx, REQUEST(.code = 8, .message = (char *)"no tea", .want_detail = 1), NULL);
    assert_status(st, WEFT_RESOURCE_EXHAUSTED, "no tea");
    Google__Rpc__ErrorInfo *info =
        (Google__Rpc__ErrorInfo *)weft_status_detail(ctx, st, &google__rpc__error_info__descriptor);
    assert_non_null(info);
    assert_string_equal(info->reason, "OUT_OF_TEA");
    assert_string_equal(info->domain, "kitchen.example");
    assert_null(weft_status_detail(ctx, st, &google__rpc__bad_request__descriptor));
    weft_ctx_free(ctx);
}

static void unknown_names_are_named(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    assert_status(rpctest_absent_unary(e.channel, ctx, REQUEST(.text = (char *)""), NULL),
                  WEFT_UNIMPLEMENTED, "there is no service test.rpc.v1.AbsentService here");
    weft_method method = rpctest_echo_unary__method;
    method.path = "/test.rpc.v1.EchoService/Nope";
    assert_status(weft_stub_call(e.channel, ctx, &method, &REQUEST(.count = 1)->base, NULL),
                  WEFT_UNIMPLEMENTED, "service test.rpc.v1.EchoService has no method Nope");
    assert_status(rpctest_echo_missing(e.channel, ctx, REQUEST(.count = 1), NULL),
                  WEFT_UNIMPLEMENTED, "the service does not implement this method");
    method.path = "/nonsense";
    assert_status(weft_stub_call(e.channel, ctx, &method, &REQUEST(.count = 1)->base, NULL),
                  WEFT_UNIMPLEMENTED, "\"/nonsense\" is not /package.Service/Method");
    /* Long ones are cut. */
    char path[512], expected[512];
    for (int len = 399; len <= 402; len++) {
        (void)snprintf(path, sizeof path, "/%0*d/Nope", len, 7);
        (void)snprintf(expected, sizeof expected, "there is no service %.*s here",
                       len < 400 ? len : 400, path + 1);
        method.path = path;
        assert_status(weft_stub_call(e.channel, ctx, &method, &REQUEST(.count = 1)->base, NULL),
                      WEFT_UNIMPLEMENTED, expected);
    }
    weft_ctx_free(ctx);
}

/* ---- deadlines and cancellation */

static void expired_before(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(0);
    assert_status(rpctest_echo_unary(e.channel, ctx, REQUEST(.count = 1), NULL),
                  WEFT_DEADLINE_EXCEEDED, "test.rpc.v1.EchoService/Unary: the deadline has passed");
    assert_int_equal(atomic_load(&e.entered), 0);
    weft_ctx_free(ctx);
}

static void expires_during(void **state) {
    (void)state;
    /* On a busy machine a call can expire before its handler begins: then another, with more time. */
    for (int64_t ms = 100; !atomic_load(&e.entered) && ms < 20000; ms *= 4) {
        weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_MS(ms));
        int64_t before = weft_now(NULL);
        weft_status st = rpctest_echo_unary(e.channel, ctx, REQUEST(.sleep_ms = 60000), NULL);
        assert_true(weft_now(NULL) - before >= (ms - 1) * WEFT_NS_PER_MS);
        assert_code(st, WEFT_DEADLINE_EXCEEDED); /* from here or there: whose clock was first */
        weft_ctx_free(ctx);
    }
    echo_await(&e.cancelled, 1); /* the handler knows, too */
}

static void *cancel_when_entered(void *user) {
    echo_await(&e.entered, 1);
    weft_ctx_cancel(user);
    return NULL;
}

static void cancelled_by_another_thread(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_NO_TIMEOUT);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_when_entered, ctx), 0);
    weft_status st = rpctest_echo_unary(e.channel, ctx, REQUEST(.sleep_ms = 20000), NULL);
    assert_code(st, WEFT_CANCELLED);
    assert_non_null(strstr(weft_status_message(st), "cancelled before"));
    (void)pthread_join(thread, NULL);
    echo_await(&e.cancelled, 1);
    assert_status(rpctest_echo_unary(e.channel, ctx, REQUEST(.count = 1), NULL), WEFT_CANCELLED,
                  "test.rpc.v1.EchoService/Unary: cancelled");
    weft_ctx_free(ctx);
}

static void deadline_reaches_the_handler(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(50));
    reply_t *reply = NULL;
    assert_code(rpctest_echo_unary(e.channel, ctx, REQUEST(.count = 1), &reply), WEFT_OK);
    /* C-core rounds a timeout up to three digits, 100 ms here, before it sends it. */
    assert_in_range(reply->remaining_ms, 40000, 50100);
    weft_ctx_free(ctx);
    ctx = weft_ctx_new(WEFT_NO_TIMEOUT);
    assert_code(rpctest_echo_unary(e.channel, ctx, REQUEST(.count = 1), &reply), WEFT_OK);
    assert_int_equal(reply->remaining_ms, -1);
    weft_ctx_free(ctx);
}

/* ---- metadata and traces */

static void metadata_both_ways(void **state) {
    (void)state;
    const uint8_t binary[] = {0, 255, 10, 0, 7};
    size_t len = 0;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    assert_int_equal(weft_ctx_add_metadata(ctx, "x-echo", "a value", 7), 0);
    assert_int_equal(weft_ctx_add_metadata(ctx, "x-echo-bin", binary, sizeof binary), 0);
    assert_int_equal(weft_ctx_add_metadata(ctx, "x-echo-bin", "", 0), 0);
    assert_code(rpctest_echo_unary(e.channel, ctx, REQUEST(.count = 1), NULL), WEFT_OK);
    assert_string_equal(weft_ctx_initial(ctx, "x-initial", 0, &len), "a value");
    assert_int_equal(len, 7);
    const char *value = weft_ctx_trailing(ctx, "x-trailing-bin", 0, &len);
    assert_int_equal(len, sizeof binary);
    assert_memory_equal(value, binary, sizeof binary);
    assert_string_equal(weft_ctx_trailing(ctx, "x-trailing-bin", 1, &len), "");
    assert_null(weft_ctx_trailing(ctx, "x-trailing-bin", 2, NULL));
    /* And without knowing the keys. */
    assert_string_equal(weft_ctx_metadata_at(ctx, 0, &value, &len), "x-echo");
    assert_string_equal(value, "a value");
    assert_string_equal(weft_ctx_metadata_at(ctx, 2, &value, &len), "x-echo-bin");
    assert_int_equal(len, 0);
    assert_null(weft_ctx_metadata_at(ctx, 3, &value, &len));
    assert_string_equal(weft_ctx_initial_at(ctx, 0, &value, &len), "x-initial");
    assert_string_equal(value, "a value");
    assert_int_equal(len, 7);
    assert_null(weft_ctx_initial_at(ctx, 1, &value, &len));
    assert_string_equal(weft_ctx_trailing_at(ctx, 0, &value, &len), "x-trailing-bin");
    assert_memory_equal(value, binary, sizeof binary);
    assert_null(weft_ctx_trailing_at(ctx, 2, &value, &len));
    assert_int_equal(len, sizeof binary); /* untouched */
    /* The next call's take their place. */
    weft_ctx *plain = weft_ctx_new(WEFT_TIMEOUT_S(10));
    assert_code(rpctest_echo_unary(e.channel, plain, REQUEST(.count = 1), NULL), WEFT_OK);
    assert_null(weft_ctx_initial(plain, "x-initial", 0, NULL));
    weft_ctx_free(plain);
    weft_ctx_free(ctx);
}

static void much_metadata(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    char key[24];
    for (int i = 0; i < 60; i++) {
        (void)snprintf(key, sizeof key, "x-key-%d", i);
        assert_int_equal(weft_ctx_add_metadata(ctx, key, "v", 1), 0);
    }
    assert_int_equal(weft_ctx_add_metadata(ctx, "x-echo", "end", 3), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(weft_ctx_add_metadata(ctx, "x-echo-bin", "b", 1), 0);
    assert_code(rpctest_echo_unary(e.channel, ctx, REQUEST(.count = 1), NULL), WEFT_OK);
    assert_string_equal(weft_ctx_initial(ctx, "x-initial", 0, NULL), "end");
    assert_non_null(weft_ctx_trailing(ctx, "x-trailing-bin", 19, NULL));
    weft_ctx_free(ctx);
}

static void trace_goes_on(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    const char *ours = weft_ctx_traceparent(ctx);
    reply_t *reply = NULL;
    assert_int_equal(strlen(ours), 55);
    assert_code(rpctest_echo_unary(e.channel, ctx, REQUEST(.count = 1), &reply), WEFT_OK);
    assert_memory_equal(reply->traceparent, ours, 36);               /* the same trace */
    assert_memory_not_equal(reply->traceparent + 36, ours + 36, 16); /* another span */
    assert_string_equal(reply->traceparent + 52, "-01");
    weft_ctx_free(ctx);
}

/* ---- callbacks and deferred replies */

typedef struct outcome {
    atomic_int calls;
    weft_code code;
    char text[64];
    pthread_t thread;
    weft_code nested;
} outcome;

static void keep_outcome(void *user, weft_status st, reply_t *reply) {
    outcome *o = user;
    o->code = st.code;
    o->thread = pthread_self();
    (void)snprintf(o->text, sizeof o->text, "%s", reply ? reply->text : "");
    atomic_fetch_add(&o->calls, 1);
}

static void callbacks_come_once_and_elsewhere(void **state) {
    (void)state;
    outcome ok = {.calls = 0}, late = {.calls = 0}, nowhere = {.calls = 0};
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    weft_ctx *expired = weft_ctx_new(0);
    weft_channel *bad = weft_dial("no-such-service");
    rpctest_echo_unary_async(e.channel, ctx, REQUEST(.text = (char *)"called back"), keep_outcome,
                             &ok);
    rpctest_echo_unary_async(e.channel, expired, REQUEST(.count = 1), keep_outcome, &late);
    rpctest_echo_unary_async(bad, ctx, REQUEST(.count = 1), keep_outcome, &nowhere);
    echo_await(&ok.calls, 1);
    echo_await(&late.calls, 1);
    echo_await(&nowhere.calls, 1);
    assert_int_equal(ok.code, WEFT_OK);
    assert_string_equal(ok.text, "called back");
    assert_int_equal(late.code, WEFT_DEADLINE_EXCEEDED);
    assert_int_equal(nowhere.code, WEFT_UNAVAILABLE);
    assert_false(pthread_equal(ok.thread, pthread_self()));
    assert_false(pthread_equal(late.thread, pthread_self()));
    assert_false(pthread_equal(nowhere.thread, pthread_self()));
    weft_channel_free(bad);
    weft_ctx_free(ctx);
    weft_ctx_free(expired);
}

static void call_from_callback(void *user, weft_status st, reply_t *reply) {
    outcome *o = user;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    (void)st;
    (void)reply;
    o->nested = rpctest_echo_unary(e.channel, ctx, REQUEST(.count = 1), NULL).code;
    rpctest_echo_both_stream *stream = rpctest_echo_both(e.channel, ctx);
    assert_code(rpctest_echo_both_end(stream), WEFT_INTERNAL);
    weft_ctx_free(ctx);
    atomic_fetch_add(&o->calls, 1);
}

static void blocking_in_a_callback_is_refused(void **state) {
    (void)state;
    outcome o = {.calls = 0};
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    rpctest_echo_unary_async(e.channel, ctx, REQUEST(.count = 1), call_from_callback, &o);
    echo_await(&o.calls, 1);
    assert_int_equal(o.nested, WEFT_INTERNAL);
    weft_ctx_free(ctx);
}

static void deferred_replies(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    reply_t *reply = NULL;
    assert_code(rpctest_echo_deferred(e.channel, ctx, REQUEST(.count = 1), &reply), WEFT_OK);
    assert_string_equal(reply->text, "later");
    assert_status(rpctest_echo_deferred(e.channel, ctx,
                                        REQUEST(.code = 9, .message = (char *)"at once"), &reply),
                  WEFT_FAILED_PRECONDITION, "at once");
    weft_ctx_free(ctx);
}

static void a_deferred_call_is_cancelled(void **state) {
    (void)state;
    static const weft_where places[] = {WEFT_POOL, WEFT_INLINE};
    for (size_t i = 0; i < 2; i++) {
        memset(&e, 0, sizeof e);
        e.deferred_on = places[i];
        echo_start(&e, NULL, false);
        weft_ctx *ctx = weft_ctx_new(WEFT_NO_TIMEOUT);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, cancel_when_entered, ctx), 0);
        assert_code(rpctest_echo_deferred(e.channel, ctx, REQUEST(.sleep_ms = 1), NULL),
                    WEFT_CANCELLED);
        (void)pthread_join(thread, NULL);
        echo_await(&e.cancelled, 1); /* its late reply goes nowhere */
        weft_ctx_free(ctx);
        echo_stop(&e);
    }
}

/* ---- lives that end in a callback */

typedef struct last_words {
    atomic_int done;
    weft_ctx *ctx;
    weft_channel *channel;
} last_words;

static void free_everything(void *user, weft_status st, reply_t *reply) {
    last_words *own = user;
    assert_true(!weft_failed(st) && reply);
    weft_ctx_free(own->ctx);
    weft_channel_free(own->channel);
    atomic_store(&own->done, 1);
}

static void the_last_channel_ends_in_a_callback(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++) {
        last_words own = {.ctx = weft_ctx_new(WEFT_TIMEOUT_S(10)),
                          .channel = weft_dial(weft_server_address(e.server, 0))};
        weft_channel_free(e.channel); /* the other one, so that the client's loop ends, too */
        e.channel = NULL;
        rpctest_echo_unary_async(own.channel, own.ctx, REQUEST(.count = 1), free_everything, &own);
        echo_await(&own.done, 1);
        e.channel = weft_dial(weft_server_address(e.server, 0));
    }
}

static void a_server_comes_back(void **state) {
    (void)state;
    static echo again;
    char address[WEFT_ADDR_TEXT];
    memset(&again, 0, sizeof again);
    echo_start(&again, NULL, true);
    (void)snprintf(address, sizeof address, "%s", weft_server_address(again.server, 0));
    weft_channel *channel = again.channel;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    assert_code(rpctest_echo_unary(channel, ctx, REQUEST(.count = 1), NULL), WEFT_OK);
    weft_server_free(again.server);
    assert_code(rpctest_echo_unary(channel, ctx, REQUEST(.count = 1), NULL), WEFT_UNAVAILABLE);
    weft_server *server = weft_server_new();
    assert_int_equal(weft_server_listen(server, address), 0);
    assert_int_equal(weft_server_start(server), 0);
    weft_ctx_wait_for_ready(ctx, true);
    assert_code(rpctest_echo_unary(channel, ctx, REQUEST(.count = 1), NULL), WEFT_UNIMPLEMENTED);
    weft_ctx_free(ctx);
    weft_channel_free(channel);
    weft_server_free(server);
}

/* ---- limits */

static void large_replies(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    reply_t *reply = NULL;
    weft_status st = rpctest_echo_unary(e.channel, ctx, REQUEST(.reply_bytes = 5 << 20), &reply);
    assert_status(
        st, WEFT_RESOURCE_EXHAUSTED,
        "test.rpc.v1.EchoService/Unary: the reply is larger than max_reply, 4194304 bytes "
        "(weft_ctx_max_reply raises it)");
    weft_ctx_max_reply(ctx, 6 << 20);
    assert_code(rpctest_echo_unary(e.channel, ctx, REQUEST(.reply_bytes = 5 << 20), &reply),
                WEFT_OK);
    assert_int_equal(reply->payload.len, 5 << 20);
    weft_ctx_max_reply(ctx, 1000);
    assert_code(rpctest_echo_unary(e.channel, ctx, REQUEST(.reply_bytes = 2000), &reply),
                WEFT_RESOURCE_EXHAUSTED);
    weft_ctx_free(ctx);
}

/* Somebody listens and never says a word. */
static void silent_server(void **state) {
    (void)state;
    char target[64], expected[160];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof to;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&to, size), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&to, &size), 0);
    (void)snprintf(target, sizeof target, "127.0.0.1:%d", ntohs(to.sin_port));
    (void)snprintf(expected, sizeof expected,
                   "test.rpc.v1.EchoService/Unary: no answer from %s before the deadline", target);
    weft_channel *silent = weft_dial(target);
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_MS(500));
    assert_status(rpctest_echo_unary(silent, ctx, REQUEST(.count = 1), NULL),
                  WEFT_DEADLINE_EXCEEDED, expected);
    weft_ctx_free(ctx);
    weft_channel_free(silent);
    (void)close(fd);
}

static void no_server(void **state) {
    (void)state;
    weft_channel *nobody = weft_dial("127.0.0.1:1");
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    weft_status st = rpctest_echo_unary(nobody, ctx, REQUEST(.count = 1), NULL);
    assert_code(st, WEFT_UNAVAILABLE);
    assert_non_null(strstr(weft_status_message(st), "127.0.0.1:1 cannot be reached: "));
    assert_non_null(strstr(weft_status_message(st), "Connection refused"));
    weft_ctx *ready = weft_ctx_new(WEFT_TIMEOUT_MS(200));
    weft_ctx_wait_for_ready(ready, true);
    st = rpctest_echo_unary(nobody, ready, REQUEST(.count = 1), NULL);
    assert_code(st, WEFT_DEADLINE_EXCEEDED);
    weft_ctx_free(ready);
    weft_ctx_free(ctx);
    weft_channel_free(nobody);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
        T(answers),
        T(every_code),
        T(codes_out_of_range_become_unknown),
        T(long_messages_are_cut),
        T(details_travel),
        T(unknown_names_are_named),
        T(expired_before),
        T(expires_during),
        T(cancelled_by_another_thread),
        T(deadline_reaches_the_handler),
        T(metadata_both_ways),
        T(much_metadata),
        T(trace_goes_on),
        T(callbacks_come_once_and_elsewhere),
        T(blocking_in_a_callback_is_refused),
        T(deferred_replies),
        cmocka_unit_test(a_deferred_call_is_cancelled),
        T(the_last_channel_ends_in_a_callback),
        T(a_server_comes_back),
        T(large_replies),
        T(silent_server),
        T(no_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
