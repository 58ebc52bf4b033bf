/* Unary calls at a steady rate over one connection, whatever comes of them: an open loop. Each call begins when it
 * is due, however many are under way, and what becomes of it is noted with its moments.
 *
 *   sidecar_load ADDRESS PATH RATE MESSAGE [NAME:VALUE…]   MESSAGE: a gRPC message in hex; more header fields
 *
 * Prints "ready" when the first call was answered. A line on standard input is answered with a line of JSON on what
 * ended since the last one; at the end of standard input no more calls begin, and when the last has ended comes the
 * last such line. Moments are CLOCK_MONOTONIC's, in seconds. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/sidecar_soak.h"
#include "weft/buf.h"
#include "weft/mem.h"

#define MESSAGE_MAX 4096u
#define FAILURES_MAX 20000u
#define TIMEOUT "5S"

typedef struct call {
    int64_t due, sent;
    bool content; /* of the answer */
} call;

static bench b;
static bench_conn conn;
static http_fields request;
static uint8_t message[HTTP_GRPC_PREFIX + MESSAGE_MAX];
static size_t message_len;
static weft_timer next;
static int64_t due, interval;
static bool ready, stopping;
static uint64_t begun, under_way;
/* since the last question */
static uint64_t ok, failed;
static int64_t late; /* the most that a call began after it was due */
static hist latency;
static weft_buf failures;

static double seconds(int64_t ns) { return (double)ns / 1e9; }

static void answer(void) {
    (void)printf("{\"ok\": %llu, \"failed\": %llu, \"late\": %.6f, \"p50\": %.6f, \"p99\": %.6f, "
                 "\"max\": %.6f, \"failures\": [%s]}\n",
                 (unsigned long long)ok, (unsigned long long)failed, seconds(late),
                 seconds((int64_t)hist_at(&latency, 0.5)),
                 seconds((int64_t)hist_at(&latency, 0.99)), seconds((int64_t)latency.max),
                 weft_buf_str(&failures));
    (void)fflush(stdout);
    ok = failed = 0;
    late = 0;
    memset(&latency, 0, sizeof latency);
    weft_buf_clear(&failures);
}

static void over(call *c, int code, const char *text, size_t len) {
    const int64_t now = weft_now(NULL);
    under_way--;
    if (code) {
        if (failed++ < FAILURES_MAX) {
            (void)weft_buf_printf(&failures, "%s[%.6f, %.6f, %d, \"", failures.len ? ", " : "",
                                  seconds(c->sent), seconds(now), code);
            (void)weft_buf_add_json(&failures, text, len);
            (void)weft_buf_adds(&failures, "\"]");
        }
    } else {
        ok++;
        hist_add(&latency, now - c->sent);
    }
    weft_free(c);
    if (!ready && !code) {
        ready = true;
        (void)puts("ready");
        (void)fflush(stdout);
    }
    if (stopping && !under_way) {
        answer();
        _Exit(0);
    }
}

/* ---- streams */

static void on_headers(h2_stream *stream, h2_headers_kind kind, http_fields *fields, bool end) {
    call *c = h2_stream_user(stream);
    int code = 0;
    const char *text = "";
    size_t len = 0;
    (void)kind;
    if (!end) return;
    if (http_grpc_outcome(fields, &code, &text, &len)) text = "no grpc-status", len = strlen(text);
    if (!code && !c->content) die("an answer without content");
    h2_stream_release(stream);
    over(c, code, text, len);
}

static void on_data(h2_stream *stream, const weft_slice *data, bool end) {
    call *c = h2_stream_user(stream);
    c->content = true;
    h2_consume(stream, data->len);
    if (end) die("an answer without trailers");
}

static void on_reset(h2_stream *stream, const h2_reset_info *info) {
    call *c = h2_stream_user(stream);
    h2_stream_release(stream);
    over(c, WEFT_UNAVAILABLE, info->text, strlen(info->text));
}

static void on_want_write(h2_conn *h2) {
    net_conn_want_write(((bench_conn *)h2_conn_user(h2))->net);
}

static const h2_callbacks callbacks = {.on_headers = on_headers,
                                       .on_data = on_data,
                                       .on_reset = on_reset,
                                       .on_want_write = on_want_write};

/* ---- the rate */

static void start(int64_t now) {
    call *c = weft_calloc(1, sizeof *c);
    h2_stream *stream = NULL;
    must(!c, "memory");
    c->due = due;
    c->sent = now;
    if (now - due > late) late = now - due;
    begun++;
    under_way++;
    const weft_slice body = {message, message_len, NULL};
    const int error = h2_request(conn.h2, &request, false, c, &stream);
    if (error) {
        const char *name = weft_error_name(error);
        over(c, WEFT_UNAVAILABLE, name, strlen(name));
        return;
    }
    must(h2_send_data(stream, &body, 1, true) < 0, "sending a message");
}

static void on_due(weft_timer *timer, int64_t now) {
    now = weft_now(NULL);
    for (; !stopping && due <= now; due += interval) start(now);
    if (!stopping) weft_timer_arm(net_loop_timers(b.loop), timer, due);
}

static void on_opened(bench_conn *base) {
    (void)base;
    due = weft_now(NULL);
    weft_timer_arm(net_loop_timers(b.loop), &next, due);
}

static void on_closed(bench_conn *base, const char *reason) {
    (void)base;
    die("the connection ended: %s", reason);
}

static void asked(const char *line) {
    if (line) {
        answer();
        return;
    }
    stopping = true;
    if (under_way) return;
    answer();
    _Exit(0);
}

/* ---- the command line */

static void read_message(const char *hex) {
    uint8_t *at = message + HTTP_GRPC_PREFIX;
    unsigned byte;
    for (; sscanf(hex, "%2x", &byte) == 1 && message_len < MESSAGE_MAX; hex += 2)
        at[message_len++] = (uint8_t)byte;
    if (*hex) die("MESSAGE is not hex, or too long");
    http_grpc_prefix(message, false, (uint32_t)message_len);
    message_len += HTTP_GRPC_PREFIX;
}

int main(int argc, char **argv) {
    if (argc < 5) die("usage: sidecar_load ADDRESS PATH RATE MESSAGE [NAME:VALUE…]");
    const double rate = strtod(argv[3], NULL);
    if (!(rate > 0)) die("RATE is to be more than 0");
    interval = (int64_t)(1e9 / rate);
    read_message(argv[4]);
    bench_init(&b, 1);
    weft_buf_init(&failures, 16 << 20);
    http_fields_init(&request, b.fields);
    bench_field(&b, &request, ":method", "POST");
    bench_field(&b, &request, ":scheme", "http");
    bench_field(&b, &request, ":path", argv[2]);
    bench_field(&b, &request, ":authority", "product");
    bench_field(&b, &request, "te", "trailers");
    bench_field(&b, &request, "content-type", "application/grpc");
    bench_field(&b, &request, "grpc-timeout", TIMEOUT);
    for (int i = 5; i < argc; i++) bench_field_line(&b, &request, argv[i]);
    weft_timer_init(&next, on_due, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    conn = (bench_conn){.bench = &b,
                        .callbacks = &callbacks,
                        .role = H2_CLIENT,
                        .opened = on_opened,
                        .closed = on_closed};
    const weft_addr target = bench_addr(argv[1]);
    const net_dial dial = {.addr = &target, .handler = &bench_handler, .user = &conn};
    net_why why;
    if (net_connect(b.loop, &dial, &conn.net, &why)) die("%s", why.text);
    on_lines(&b, asked);
    must(net_loop_run(b.loop), "the loop");
    return 0;
}
