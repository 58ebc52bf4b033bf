#include "echo.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "google/rpc/error_details.pb-c.h"
#include "lib/rpc/internal.h"
#include "lib/rpc/server.h"

typedef Rpctest__EchoRequest request_t;
typedef Rpctest__EchoReply reply_t;

static void pause_ms(long ms) {
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&time, NULL);
}

void echo_await(atomic_int *counter, int value) {
    for (int i = 0; atomic_load(counter) < value; i++) {
        if (i > 10000) fail_msg("waited 10 s for a counter to reach %d", value);
        pause_ms(1);
    }
}

void assert_code(weft_status st, weft_code code) {
    if (st.code != code)
        fail_msg("status %s \"%s\" instead of %s", weft_code_name((int)st.code),
                 weft_status_message(st), weft_code_name((int)code));
}

void assert_status(weft_status st, weft_code code, const char *message) {
    assert_code(st, code);
    assert_string_equal(weft_status_message(st), message);
}

void assert_nothing_lives(void) {
    for (int kind = 0; kind < RPC_LIVE_KINDS; kind++) {
        for (int i = 0; rpc_live_count((rpc_live)kind) && i < 5000; i++) pause_ms(1);
        if (rpc_live_count((rpc_live)kind))
            fail_msg("%ld objects of kind %d are alive", rpc_live_count((rpc_live)kind), kind);
    }
}

/* ---- handlers */

static weft_status wait_ms(echo *e, weft_ctx *ctx, int64_t ms) {
    int64_t end = weft_now(NULL) + ms * WEFT_NS_PER_MS;
    while (weft_now(NULL) < end && !weft_ctx_cancelled(ctx)) pause_ms(1);
    if (!weft_ctx_cancelled(ctx)) return weft_ok();
    atomic_fetch_add(&e->cancelled, 1);
    return weft_ctx_status(ctx);
}

static weft_status failure(weft_ctx *ctx, const request_t *request) {
    weft_status st = weft_error(ctx, (weft_code)request->code, "%s", request->message);
    if (!request->want_detail) return st;
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    info.reason = (char *)"OUT_OF_TEA";
    info.domain = (char *)"kitchen.example";
    return weft_status_with_detail(ctx, st, &info.base);
}

static void echo_metadata(weft_ctx *ctx) {
    size_t len = 0;
    const char *value = weft_ctx_metadata(ctx, "x-echo", 0, &len);
    if (value) assert_int_equal(weft_ctx_add_initial(ctx, "x-initial", value, len), 0);
    for (size_t i = 0; (value = weft_ctx_metadata(ctx, "x-echo-bin", i, &len)); i++)
        assert_int_equal(weft_ctx_add_trailing(ctx, "x-trailing-bin", value, len), 0);
}

static weft_status fill(echo *e, weft_ctx *ctx, const request_t *request, reply_t *reply) {
    reply->text = weft_strdup(ctx, request->text);
    reply->traceparent = weft_strdup(ctx, weft_ctx_traceparent(ctx));
    reply->peer = weft_strdup(ctx, weft_ctx_peer(ctx));
    reply->remaining_ms =
        weft_ctx_deadline(ctx) == WEFT_NO_DEADLINE ? -1 : weft_ctx_remaining(ctx) / WEFT_NS_PER_MS;
    reply->payload = request->payload;
    if (request->reply_bytes) {
        reply->payload.len = (size_t)request->reply_bytes;
        reply->payload.data = weft_alloc(ctx, reply->payload.len);
        memset(reply->payload.data, 'r', reply->payload.len);
    }
    echo_metadata(ctx);
    if (request->sleep_ms && !request->hops) {
        weft_status st = wait_ms(e, ctx, request->sleep_ms);
        if (weft_failed(st)) return st;
    }
    return request->code ? failure(ctx, request) : weft_ok();
}

static weft_status unary(weft_ctx *ctx, const request_t *request, reply_t *reply) {
    echo *e = weft_ctx_service(ctx);
    atomic_fetch_add(&e->entered, 1);
    weft_status st = fill(e, ctx, request, reply);
    if (!weft_failed(st) && request->hops && e->next) {
        request_t on = *request;
        reply_t *far = NULL;
        on.hops--;
        st = rpctest_echo_unary(e->next, ctx, &on, &far);
        if (!weft_failed(st)) *reply = *far;
        if (st.code == WEFT_CANCELLED || st.code == WEFT_DEADLINE_EXCEEDED)
            atomic_fetch_add(&e->cancelled, 1);
    }
    atomic_fetch_add(&e->left, 1);
    return st;
}

static void *reply_later(void *user) {
    echo *e = user;
    weft_ctx *ctx = weft_deferred_ctx(e->deferred);
    if (e->deferred_waits) {
        atomic_fetch_add(&e->entered, 1);
        while (!weft_ctx_cancelled(ctx)) pause_ms(1);
        atomic_fetch_add(&e->cancelled, 1);
    }
    reply_t reply = {RPCTEST_ECHO_REPLY(.text = weft_strdup(ctx, "later"))};
    rpctest_echo_deferred_reply(e->deferred, weft_ok(), &reply);
    return NULL;
}

static weft_status deferred(weft_ctx *ctx, const request_t *request, reply_t *reply) {
    echo *e = weft_ctx_service(ctx);
    (void)reply;
    e->deferred = weft_defer(ctx);
    e->deferred_waits = request->sleep_ms > 0;
    assert_non_null(e->deferred);
    if (request->code)
        rpctest_echo_deferred_reply(e->deferred, failure(ctx, request), NULL);
    else if (pthread_create(&e->replier, NULL, reply_later, e) == 0)
        (void)pthread_detach(e->replier);
    return weft_ok(); /* whatever: the context is no longer this thread's */
}

static weft_status down(weft_ctx *ctx, const request_t *request, rpctest_echo_down_writer *out) {
    echo *e = weft_ctx_service(ctx);
    atomic_fetch_add(&e->entered, 1);
    reply_t reply = {RPCTEST_ECHO_REPLY(.text = request->text)};
    weft_status st = fill(e, ctx, request, &reply);
    for (int32_t i = 0; i < request->count && !weft_failed(st); i++) {
        reply.count = i;
        if (!rpctest_echo_down_send(out, &reply)) {
            atomic_fetch_add(&e->cancelled, 1);
            bool known = weft_ctx_cancelled(ctx);
            st = rpctest_echo_down_status(out);
            assert_true(weft_failed(st));
            if (st.code == WEFT_CANCELLED && !known) atomic_fetch_add(&e->unaware, 1);
            assert_false(rpctest_echo_down_send(out, &reply));
        }
    }
    atomic_fetch_add(&e->left, 1);
    return st;
}

static weft_status up(weft_ctx *ctx, rpctest_echo_up_reader *in, reply_t *reply) {
    echo *e = weft_ctx_service(ctx);
    request_t *request = NULL;
    size_t bytes = 0;
    char *first = NULL;
    atomic_fetch_add(&e->entered, 1);
    while (rpctest_echo_up_next(in, &request)) {
        if (!reply->count++) first = weft_strdup(ctx, request->text);
        bytes += request->payload.len;
        if (request->code) { /* ends early, while the client still sends */
            atomic_fetch_add(&e->left, 1);
            return failure(ctx, request);
        }
    }
    assert_false(rpctest_echo_up_next(in, &request));
    reply->text = weft_printf(ctx, "%s %zu", first ? first : "", bytes);
    weft_status st = rpctest_echo_up_status(in);
    if (weft_failed(st)) atomic_fetch_add(&e->cancelled, 1);
    atomic_fetch_add(&e->left, 1);
    return st;
}

static weft_status both(weft_ctx *ctx, rpctest_echo_both_server_stream *stream) {
    echo *e = weft_ctx_service(ctx);
    request_t *request = NULL;
    weft_status st = weft_ok();
    atomic_fetch_add(&e->entered, 1);
    echo_metadata(ctx);
    while (!weft_failed(st) && rpctest_echo_both_server_next(stream, &request)) {
        reply_t reply = {RPCTEST_ECHO_REPLY(.text = request->text, .payload = request->payload)};
        if (request->code) st = failure(ctx, request);
        for (int32_t i = 0; i < (request->count ? request->count : 1) && !weft_failed(st); i++)
            if (!rpctest_echo_both_server_send(stream, &reply))
                st = rpctest_echo_both_server_status(stream);
    }
    if (!weft_failed(st)) st = rpctest_echo_both_server_status(stream);
    if (weft_ctx_cancelled(ctx)) atomic_fetch_add(&e->cancelled, 1);
    atomic_fetch_add(&e->left, 1);
    return st;
}

/* ---- start and stop */

/* TEST_SERVER_TRANSPORT: so that client and server can have different ones. */
const weft_transport *echo_transport(void) {
    const char *why = NULL;
    const weft_transport *transport = rpc_transport(getenv("TEST_SERVER_TRANSPORT"), &why);
    if (!transport) fail_msg("%s", why);
    return transport;
}

void echo_start(echo *e, const weft_server_options *options, bool tcp) {
    char address[128] = "127.0.0.1:0";
    e->server = weft_server_new_with(options);
    assert_non_null(e->server);
    e->server->transport = e->transport ? e->transport : echo_transport();
    const rpctest_echo_service handlers = {
        .unary = unary,
        .unary_on = e->unary_on,
        .inline_ = unary,
        .inline__on = WEFT_INLINE,
        .deferred = deferred,
        .deferred_on = e->deferred_on,
        .down = down,
        .up = up,
        .both = both,
    };
    assert_int_equal(rpctest_echo_service_add(e->server, &handlers, e), 0);
    if (!tcp) {
        (void)snprintf(e->folder, sizeof e->folder, "/tmp/weft-echo-XXXXXX");
        assert_non_null(mkdtemp(e->folder));
        (void)snprintf(address, sizeof address, "unix:%s/socket", e->folder);
    }
    if (weft_server_listen(e->server, address) < 0 || weft_server_start(e->server) < 0)
        fail_msg("%s", weft_server_error(e->server));
    e->channel = weft_dial(weft_server_address(e->server, 0));
}

void echo_stop_server(echo *e) {
    weft_server_free(e->server);
    e->server = NULL;
    if (e->folder[0]) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/socket", e->folder);
        assert_int_equal(access(path, F_OK), -1); /* the socket file goes with its server */
        assert_int_equal(rmdir(e->folder), 0);
        e->folder[0] = '\0';
    }
}

void echo_stop(echo *e) {
    weft_channel_free(e->channel);
    echo_stop_server(e);
    assert_nothing_lives();
}
