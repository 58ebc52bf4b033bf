/* Weft and python3-grpcio call each other: every kind of call, statuses, metadata, deadlines, cancellation,
 * compression, large messages, health, reflection. The Python side is rpc_peer.py. */
#include "tests/unit/rpc/echo.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PEER "tests/integration/rpc_peer.py"

typedef Rpctest__EchoReply reply_t;

typedef struct peer {
    pid_t pid;
    int in, out;
} peer;

static void peer_start(peer *p, const char *role, const char *address) {
    int in[2], out[2];
    assert_int_equal(pipe(in) | pipe(out), 0);
    p->pid = fork();
    if (p->pid == 0) {
        (void)dup2(in[0], 0);
        (void)dup2(out[1], 1);
        (void)close(in[1]);
        (void)close(out[0]);
        (void)execl("/usr/bin/python3", "python3", PEER, role, address, NULL);
        _exit(98);
    }
    assert_true(p->pid > 0);
    (void)close(in[0]);
    (void)close(out[1]);
    p->in = in[1];
    p->out = out[0];
}

static bool read_line(peer *p, char *line, size_t size) {
    size_t len = 0;
    while (len + 1 < size) {
        ssize_t n = read(p->out, line + len, 1);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0 || line[len] == '\n') break;
        len++;
    }
    line[len] = '\0';
    return len > 0;
}

static void peer_end(peer *p) {
    int status = 0;
    (void)close(p->in);
    (void)close(p->out);
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    assert_int_equal(status, 0);
}

/* ---- Python calls Weft */

static void python_calls(bool tcp) {
    static echo e;
    peer p;
    char line[256], last[256] = "";
    int lines = 0;
    memset(&e, 0, sizeof e);
    echo_start(&e, NULL, tcp);
    peer_start(&p, "client", weft_server_address(e.server, 0));
    for (; read_line(&p, line, sizeof line); lines++) (void)snprintf(last, sizeof last, "%s", line);
    peer_end(&p);
    assert_string_equal(last, "done");
    assert_int_equal(lines, 8);
    echo_stop(&e);
}

static void python_calls_unix(void **state) {
    (void)state;
    python_calls(false);
}

static void python_calls_tcp(void **state) {
    (void)state;
    python_calls(true);
}

/* ---- Weft calls Python */

static peer python;
static char folder[] = "/tmp/weft-python-XXXXXX";
static weft_channel *channel;

static int start(void **state) {
    char address[128], line[64];
    (void)state;
    if (!mkdtemp(folder)) return 1;
    (void)snprintf(address, sizeof address, "unix:%s/s", folder);
    peer_start(&python, "server", address);
    if (!read_line(&python, line, sizeof line) || strcmp(line, "ready") != 0) return 1;
    channel = weft_dial(address);
    return 0;
}

static int stop(void **state) {
    (void)state;
    weft_channel_free(channel);
    peer_end(&python);
    assert_nothing_lives();
    return rmdir(folder);
}

static void unary(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    reply_t *reply = NULL;
    assert_int_equal(weft_ctx_add_metadata(ctx, "x-echo", "value", 5), 0);
    assert_int_equal(weft_ctx_add_metadata(ctx, "x-echo-bin", "\0\xff", 2), 0);
    assert_code(rpctest_echo_unary(channel, ctx, REQUEST(.text = (char *)"h\xc3\xa4llo"), &reply),
                WEFT_OK);
    assert_string_equal(reply->text, "h\xc3\xa4llo");
    assert_string_equal(reply->traceparent, weft_ctx_traceparent(ctx));
    size_t len = 0;
    assert_string_equal(weft_ctx_initial(ctx, "x-initial", 0, &len), "value");
    assert_memory_equal(weft_ctx_trailing(ctx, "x-trailing-bin", 0, &len), "\0\xff", 2);
    assert_int_equal(len, 2);
    weft_ctx_max_reply(ctx, 6 << 20);
    assert_code(rpctest_echo_unary(channel, ctx, REQUEST(.reply_bytes = 5 << 20), &reply), WEFT_OK);
    assert_int_equal(reply->payload.len, 5 << 20);
    weft_ctx_free(ctx);
}

static void statuses(void **state) {
    (void)state;
    for (int code = 1; code <= 16; code++) {
        weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
        weft_status st = rpctest_echo_unary(
            channel, ctx, REQUEST(.code = code, .message = (char *)"why \xe2\x86\x92 5%"), NULL);
        assert_status(st, (weft_code)code, "why \xe2\x86\x92 5%");
        if (code == 8)
            assert_memory_equal(st.body->details, "\x08\x08\x12\x06no tea", st.body->details_len);
        weft_ctx_free(ctx);
    }
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    assert_code(rpctest_echo_missing(channel, ctx, REQUEST(.count = 1), NULL), WEFT_UNIMPLEMENTED);
    weft_ctx_free(ctx);
}

static void deadline(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_MS(100));
    assert_code(rpctest_echo_unary(channel, ctx, REQUEST(.sleep_ms = 20000), NULL),
                WEFT_DEADLINE_EXCEEDED);
    weft_ctx_free(ctx);
}

static void streams(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    reply_t *reply = NULL;
    int got = 0;
    rpctest_echo_down_stream *d =
        rpctest_echo_down(channel, ctx, REQUEST(.text = (char *)"d", .count = 300));
    for (; rpctest_echo_down_next(d, &reply); got++) assert_int_equal(reply->count, got);
    assert_int_equal(got, 300);
    assert_code(rpctest_echo_down_end(d), WEFT_OK);
    rpctest_echo_up_stream *u = rpctest_echo_up(channel, ctx);
    for (int i = 0; i < 300; i++)
        assert_true(rpctest_echo_up_send(u, REQUEST(.text = (char *)"u")));
    assert_code(rpctest_echo_up_end(u, &reply), WEFT_OK);
    assert_int_equal(reply->count, 300);
    rpctest_echo_both_stream *b = rpctest_echo_both(channel, ctx);
    for (int i = 0; i < 100; i++) {
        assert_true(rpctest_echo_both_send(b, REQUEST(.text = (char *)"b")));
        assert_true(rpctest_echo_both_next(b, &reply));
        assert_string_equal(reply->text, "b");
    }
    assert_true(rpctest_echo_both_send(b, REQUEST(.code = 10)));
    assert_false(rpctest_echo_both_next(b, &reply));
    assert_status(rpctest_echo_both_end(b), WEFT_ABORTED, "enough");
    d = rpctest_echo_down(channel, ctx, REQUEST(.text = (char *)"d", .count = 100000000));
    assert_true(rpctest_echo_down_next(d, &reply));
    assert_code(rpctest_echo_down_end(d), WEFT_CANCELLED);
    weft_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest calls[] = {cmocka_unit_test(python_calls_unix),
                                       cmocka_unit_test(python_calls_tcp)};
    const struct CMUnitTest called[] = {cmocka_unit_test(unary), cmocka_unit_test(statuses),
                                        cmocka_unit_test(deadline), cmocka_unit_test(streams)};
    (void)signal(SIGPIPE, SIG_IGN);
    int failed = cmocka_run_group_tests(calls, NULL, NULL);
    return failed + cmocka_run_group_tests(called, start, stop);
}
