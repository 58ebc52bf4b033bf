/* Every allocation of the runtime fails once, on client and server: calls end with a status, nothing crashes,
 * nothing is left. What C-core allocates is its own. */
#include "echo.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "weft/mem.h"

typedef Rpctest__EchoReply reply_t;

static atomic_long countdown = -1; /* allocations until the one that fails; below 0: none will */

static int allow(size_t size, void *user) {
    (void)size;
    (void)user;
    if (atomic_load_explicit(&countdown, memory_order_relaxed) < 0) return 1;
    return atomic_fetch_sub(&countdown, 1) != 0;
}

static echo e;
static int outcomes[17];

static void note(weft_status st) {
    assert_in_range(st.code, 0, 16);
    outcomes[st.code]++;
    if (st.code == WEFT_OK || st.code == WEFT_RESOURCE_EXHAUSTED || st.code == WEFT_CANCELLED)
        return;
    /* The native transport's connections are of our memory too. */
    if (st.code == WEFT_UNAVAILABLE && strcmp(echo_transport()->name, "native") == 0) return;
    fail_msg("%s: %s", weft_code_name((int)st.code), weft_status_message(st));
}

static void count_down(void *user, weft_status st, reply_t *reply) {
    assert_true(reply || weft_failed(st));
    atomic_fetch_sub((atomic_int *)user, 1);
}

static void call_all_kinds(weft_ctx *ctx, weft_channel *channel) {
    reply_t *reply = NULL;
    atomic_int left = 1;
    note(rpctest_echo_unary(channel, ctx, REQUEST(.text = (char *)"a"), &reply));
    note(rpctest_echo_inline(channel, ctx, REQUEST(.text = (char *)"b"), &reply));
    rpctest_echo_unary_async(channel, ctx, REQUEST(.text = (char *)"c"), count_down, &left);
    while (atomic_load(&left)) sched_yield();
    rpctest_echo_down_stream *d =
        rpctest_echo_down(channel, ctx, REQUEST(.text = (char *)"d", .count = 3));
    while (rpctest_echo_down_next(d, &reply)) rpctest_echo_down_keep(d);
    note(rpctest_echo_down_end(d));
    rpctest_echo_up_stream *u = rpctest_echo_up(channel, ctx);
    for (int i = 0; i < 3; i++) (void)rpctest_echo_up_send(u, REQUEST(.text = (char *)"u"));
    note(rpctest_echo_up_end(u, &reply));
    rpctest_echo_both_stream *b = rpctest_echo_both(channel, ctx);
    for (int i = 0; i < 3; i++)
        if (!rpctest_echo_both_send(b, REQUEST(.text = (char *)"b")) ||
            !rpctest_echo_both_next(b, &reply))
            break;
    note(rpctest_echo_both_end(b));
    weft_group *group = weft_group_new(ctx);
    if (!group) return;
    for (int i = 0; i < 3; i++) {
        int part = rpctest_echo_unary_start(channel, group, REQUEST(.text = (char *)"g"), &reply);
        if (part < 0) assert_int_equal(part, WEFT_ENOMEM);
    }
    note(weft_group_wait(group));
}

static bool one_round(long n) {
    atomic_store(&countdown, n);
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    if (ctx) {
        assert_true(weft_ctx_add_metadata(ctx, "x-some", "value", 5) == 0 ||
                    atomic_load(&countdown) < 0);
        weft_channel *channel = weft_dial(weft_server_address(e.server, 0));
        weft_status st = rpctest_echo_unary(channel, ctx, REQUEST(.count = 1), NULL);
        if (st.code != WEFT_UNAVAILABLE) /* the channel could not be made */
            call_all_kinds(ctx, channel);
        weft_channel_free(channel);
        weft_ctx_free(ctx);
    }
    bool done = atomic_exchange(&countdown, -1) >= 0;
    return done;
}

static void calls(void **state) {
    (void)state;
    memset(&e, 0, sizeof e);
    echo_start(&e, NULL, false);
    long n = 0;
    /* Which thread gets which allocation changes from round to round; each number is tried more than once. */
    for (int extra = 0; extra < 20; n++)
        if (one_round(n)) extra++;
    print_message("%ld allocations failed\n", n - 20);
    assert_true(n > 60);
    assert_true(outcomes[WEFT_RESOURCE_EXHAUSTED] > 10);
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(5));
    assert_code(rpctest_echo_unary(e.channel, ctx, REQUEST(.count = 1), NULL), WEFT_OK);
    weft_ctx_free(ctx);
}

static void end(void **state) {
    (void)state;
    weft_channel_free(e.channel);
    echo_stop_server(&e);
}

static void servers(void **state) {
    (void)state;
    bool done = false;
    for (long n = 0; !done; n++) {
        atomic_store(&countdown, n);
        weft_server *server = weft_server_new();
        if (server) {
            const rpctest_echo_service none = {.unary = NULL};
            bool ok = rpctest_echo_service_add(server, &none, NULL) == 0 &&
                      weft_server_listen(server, "127.0.0.1:0") == 0 &&
                      weft_server_start(server) == 0;
            if (!ok) assert_true(*weft_server_error(server));
            weft_server_free(server);
        }
        done = atomic_exchange(&countdown, -1) >= 0;
    }
}

int main(void) {
    weft_mem_hook(allow, NULL);
    const struct CMUnitTest tests[] = {cmocka_unit_test(calls), cmocka_unit_test(end),
                                       cmocka_unit_test(servers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
