/* Unary calls over a real server: outcomes, deadlines, metadata, traces, limits, what strangers send. */
#include "echo.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
