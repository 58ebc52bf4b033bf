/* Contexts, metadata rules, traces and where targets lead: no server needed. */
#include "echo.h"

#include <stdlib.h>
#include <string.h>

#include "google/rpc/error_details.pb-c.h"
#include "lib/rpc/internal.h"
#include "weft/clock.h"

static weft_ctx *ctx;

static int start(void **state) {
    (void)state;
    ctx = weft_ctx_new(WEFT_TIMEOUT_S(60));
    return 0;
}

static int stop(void **state) {
    (void)state;
    weft_ctx_free(ctx);
    assert_nothing_lives();
    return 0;
}

static void deadlines(void **state) {
    (void)state;
    assert_true(weft_ctx_remaining(ctx) > WEFT_TIMEOUT_S(59));
    assert_false(weft_ctx_cancelled(ctx));
    weft_ctx *child = weft_ctx_child(ctx, WEFT_TIMEOUT_S(100));
    assert_true(weft_ctx_deadline(child) == weft_ctx_deadline(ctx));
    weft_ctx_free(child);
    child = weft_ctx_child(ctx, WEFT_TIMEOUT_S(1));
    assert_true(weft_ctx_deadline(child) < weft_ctx_deadline(ctx));
    weft_ctx_free(child);
    weft_ctx *past = weft_ctx_new(-5);
    assert_int_equal(weft_ctx_remaining(past), 0);
    assert_true(weft_ctx_cancelled(past));
    weft_ctx_free(past);
    weft_ctx *endless = weft_ctx_new(WEFT_NO_TIMEOUT);
    assert_true(weft_ctx_deadline(endless) == WEFT_NO_DEADLINE);
    assert_true(weft_ctx_remaining(endless) == WEFT_NO_TIMEOUT);
    weft_ctx_free(endless);
    endless = weft_ctx_new(INT64_MAX - 1);
    assert_true(weft_ctx_deadline(endless) == WEFT_NO_DEADLINE);
    weft_ctx_free(endless);
}

static void cancellation_runs_down_not_up(void **state) {
    (void)state;
    weft_ctx *a = weft_ctx_child(ctx, WEFT_NO_TIMEOUT), *b = weft_ctx_child(a, WEFT_NO_TIMEOUT);
    weft_ctx *c = weft_ctx_child(ctx, WEFT_NO_TIMEOUT);
    weft_ctx_cancel(a);
    weft_ctx_cancel(a);
    assert_true(weft_ctx_cancelled(a) && weft_ctx_cancelled(b));
    assert_false(weft_ctx_cancelled(c) || weft_ctx_cancelled(ctx));
    weft_ctx *late = weft_ctx_child(b, WEFT_NO_TIMEOUT);
    assert_true(weft_ctx_cancelled(late));
    weft_ctx_free(late);
    weft_ctx_free(c);
    weft_ctx_free(b);
    weft_ctx_free(a);
}

static void memory(void **state) {
    (void)state;
    assert_string_equal(weft_printf(ctx, "%d %s", 7, "x"), "7 x");
    assert_string_equal(weft_strdup(ctx, "copy"), "copy");
    assert_string_equal(weft_strndup(ctx, "cut here", 3), "cut");
    assert_memory_equal(weft_memdup(ctx, "\0a", 2), "\0a", 2);
    void **array = weft_array(ctx, 3, sizeof *array);
    assert_null(array[0]);
    assert_null(array[2]);
    Rpctest__EchoReply *made = rpctest_echo_reply_new(ctx);
    assert_string_equal(made->text, "");
    assert_null(weft_array(ctx, SIZE_MAX / 2, 16));
}

static void metadata_rules(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",   "Upper",      "sp ace", ":path",    "grpc-timeout", "content-type",
        "te", "user-agent", "colon:", "\xc3\xbc", "new\nline"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(weft_ctx_add_metadata(ctx, bad[i], "v", 1), WEFT_EINVAL);
    assert_int_equal(weft_ctx_add_metadata(ctx, "ok", "line\nbreak", 10), WEFT_EINVAL);
    assert_int_equal(weft_ctx_add_metadata(ctx, "ok", "\x7f", 1), WEFT_EINVAL);
    assert_int_equal(weft_ctx_add_metadata(ctx, "ok", "\xc3\xbc", 2), WEFT_EINVAL);
    assert_int_equal(weft_ctx_add_metadata(ctx, "ok", NULL, 2), WEFT_EINVAL);
    assert_int_equal(weft_ctx_add_metadata(ctx, "ok-bin", "\xff\0\n", 3), 0);
    assert_int_equal(weft_ctx_add_metadata(ctx, "a.b_c-9", " ~", 2), 0);
    assert_int_equal(weft_ctx_add_metadata(ctx, "a.b_c-9", "two", 3), 0);
    assert_int_equal(weft_ctx_add_metadata(ctx, "empty", NULL, 0), 0);
    assert_int_equal(weft_ctx_add_initial(ctx, "x", "v", 1), WEFT_EINVAL); /* not in a handler */
    assert_int_equal(weft_ctx_add_trailing(ctx, "x", "v", 1), WEFT_EINVAL);
    size_t len = 0;
    assert_string_equal(weft_ctx_metadata(ctx, "a.b_c-9", 1, &len), "two");
    assert_null(weft_ctx_metadata(ctx, "a.b_c-9", 2, &len));
    char large[8192];
    memset(large, 'x', sizeof large);
    assert_int_equal(weft_ctx_add_metadata(ctx, "large", large, sizeof large), WEFT_ELIMIT);
    assert_int_equal(weft_ctx_add_metadata(ctx, "large", large, 8000), 0);
    assert_int_equal(weft_ctx_add_metadata(ctx, "more", large, 200), WEFT_ELIMIT);
}

static void traceparents(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319cxb7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333g-01",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
    };
    rpc_trace trace;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(rpc_trace_continue(&trace, bad[i], strlen(bad[i])));
    static const char later[] = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more";
    assert_true(rpc_trace_continue(&trace, later, sizeof later - 1));
    assert_memory_equal(rpc_trace_text(&trace), "00-0af7651916cd43dd8448eb211c80319c-", 36);
    assert_string_equal(rpc_trace_text(&trace) + 52, "-01");
    assert_int_equal(weft_ctx_add_metadata(ctx, "traceparent", "nonsense", 8), WEFT_EINVAL);
    weft_ctx *child = weft_ctx_child(ctx, WEFT_NO_TIMEOUT);
    assert_string_equal(weft_ctx_trace_id(child), weft_ctx_trace_id(ctx));
    assert_string_not_equal(weft_ctx_traceparent(child), weft_ctx_traceparent(ctx));
    weft_ctx_free(child);
}

static void statuses(void **state) {
    (void)state;
    assert_status(weft_not_found(ctx, "no %s", "tea"), WEFT_NOT_FOUND, "no tea");
    assert_status(weft_error(ctx, (weft_code)77, "odd"), WEFT_UNKNOWN, "odd");
    weft_status st = weft_invalid(ctx, "items[2].count", "must be at least %d", 1);
    assert_status(st, WEFT_INVALID_ARGUMENT, "items[2].count: must be at least 1");
    Google__Rpc__BadRequest *bad = (Google__Rpc__BadRequest *)weft_status_detail(
        ctx, st, &google__rpc__bad_request__descriptor);
    assert_non_null(bad);
    assert_int_equal(bad->n_field_violations, 1);
    assert_string_equal(bad->field_violations[0]->field, "items[2].count");
    assert_string_equal(bad->field_violations[0]->description, "must be at least 1");
    Google__Rpc__RequestInfo info = GOOGLE__RPC__REQUEST_INFO__INIT;
    info.request_id = (char *)"r-1";
    st = weft_status_with_detail(ctx, st, &info.base);
    assert_non_null(weft_status_detail(ctx, st, &google__rpc__bad_request__descriptor));
    Google__Rpc__RequestInfo *got = (Google__Rpc__RequestInfo *)weft_status_detail(
        ctx, st, &google__rpc__request_info__descriptor);
    assert_string_equal(got->request_id, "r-1");
    assert_null(weft_status_detail(ctx, weft_ok(), &google__rpc__request_info__descriptor));
    assert_int_equal(weft_status_with_detail(ctx, weft_ok(), &info.base).code, WEFT_OK);
}

/* ---- targets */

static void unreachable(const char *target, const char *part) {
    weft_channel *channel = weft_dial(target);
    assert_non_null(channel);
    weft_status st = rpctest_echo_unary(channel, ctx, REQUEST(.count = 1), NULL);
    assert_code(st, WEFT_UNAVAILABLE);
    if (!strstr(weft_status_message(st), part))
        fail_msg("\"%s\" is not in \"%s\"", part, weft_status_message(st));
    weft_channel_free(channel);
}

static void targets(void **state) {
    (void)state;
    unreachable(
        "inventory-v2.shop",
        "no way to \"inventory-v2.shop\": set WEFT_UPSTREAM_INVENTORY_V2_SHOP, or WEFT_OUTBOUND");
    unreachable("no such!", "is neither a service name nor an address");
    unreachable("", "is neither a service name nor an address");
    unreachable(NULL, "no target");
    unreachable("127.0.0.1:99999", "is neither a service name nor an address");
    assert_int_equal(setenv("WEFT_UPSTREAM_INVENTORY_V2", "not an address!", 1), 0);
    unreachable("inventory-v2", "WEFT_UPSTREAM_INVENTORY_V2=not an address! is not an address");
    unreachable("inventory-v2:8080",
                "WEFT_UPSTREAM_INVENTORY_V2=not an address! is not an address");
    assert_int_equal(unsetenv("WEFT_UPSTREAM_INVENTORY_V2"), 0);
    assert_int_equal(setenv("WEFT_OUTBOUND", "oops", 1), 0);
    unreachable("inventory-v2", "WEFT_OUTBOUND=oops is not an address");
    assert_int_equal(unsetenv("WEFT_OUTBOUND"), 0);
    char *before = getenv("WEFT_TRANSPORT") ? strdup(getenv("WEFT_TRANSPORT")) : NULL;
    assert_int_equal(setenv("WEFT_TRANSPORT", "pigeon", 1), 0);
    unreachable("127.0.0.1:5", "unknown transport");
    assert_int_equal(before ? setenv("WEFT_TRANSPORT", before, 1) : unsetenv("WEFT_TRANSPORT"), 0);
    free(before);
    unreachable("[::1]:1", "[::1]:1 cannot be reached");
    unreachable("unix:/nonexistent/socket", "unix:/nonexistent/socket cannot be reached");
    unreachable("unix-abstract:weft-nobody", "cannot be reached");
    unreachable("localhost:1", "localhost:1 cannot be reached");
}

/* The variables lead to a real server. */
static void variables_lead_there(void **state) {
    (void)state;
    static echo e;
    memset(&e, 0, sizeof e);
    echo_start(&e, NULL, true);
    const char *address = weft_server_address(e.server, 0);
    assert_int_equal(setenv("WEFT_UPSTREAM_ECHO_ONE", address, 1), 0);
    assert_int_equal(setenv("WEFT_OUTBOUND", address, 1), 0);
    static const char *const names[] = {"echo-one", "echo-one:443", "some-other.shop"};
    for (size_t i = 0; i < 3; i++) {
        weft_channel *channel = weft_dial(names[i]);
        assert_code(rpctest_echo_unary(channel, ctx, REQUEST(.count = 1), NULL), WEFT_OK);
        weft_channel_free(channel);
    }
    assert_int_equal(unsetenv("WEFT_UPSTREAM_ECHO_ONE"), 0);
    assert_int_equal(unsetenv("WEFT_OUTBOUND"), 0);
    weft_channel_free(e.channel);
    echo_stop_server(&e);
}

/* Misuse is said aloud and does no harm. */
static void contexts_in_use_are_not_freed(void **state) {
    (void)state;
    static echo e;
    memset(&e, 0, sizeof e);
    echo_start(&e, NULL, true);
    weft_ctx *used = weft_ctx_new(WEFT_TIMEOUT_S(10));
    rpctest_echo_both_stream *s = rpctest_echo_both(e.channel, used);
    weft_ctx_free(used); /* logged; cancels */
    assert_code(rpctest_echo_both_end(s), WEFT_CANCELLED);
    weft_ctx_free(used);
    weft_channel_free(e.channel);
    echo_stop_server(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
        T(deadlines),
        T(cancellation_runs_down_not_up),
        T(memory),
        T(metadata_rules),
        T(traceparents),
        T(statuses),
        T(targets),
        T(variables_lead_there),
        T(contexts_in_use_are_not_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
