/* Streams that stop: it opens COUNT of them on one connection and never reads, or sends to a server that never does.
 *
 *   sidecar_stall ADDRESS COUNT down|up
 *
 * down: each asks for 1 MiB and takes none of it. up: each sends 1 MiB to a PLAN_HOLD. Prints "ready" when each
 * has got the first bytes of its answer; ends, and its streams with it, at the end of standard input. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/sidecar_soak.h"

static bench b;
static bench_conn conn;
static http_fields request;
static unsigned long wanted, answered;
static bool down;

static void on_headers(h2_stream *stream, h2_headers_kind kind, http_fields *fields, bool end) {
    (void)stream, (void)kind, (void)fields;
    if (end) die("a stalled call was answered");
}

static void on_data(h2_stream *stream, const weft_slice *data, bool end) {
    (void)data;
    if (end) die("a stalled call was answered");
    if (h2_stream_user(stream)) return;
    h2_stream_set_user(stream, &b);
    if (++answered < wanted) return;
    (void)puts("ready");
    (void)fflush(stdout);
}

static void on_reset(h2_stream *stream, const h2_reset_info *info) {
    (void)stream;
    die("a stalled call was reset: %s", info->text);
}

static void on_want_write(h2_conn *h2) {
    net_conn_want_write(((bench_conn *)h2_conn_user(h2))->net);
}

static const h2_callbacks callbacks = {.on_headers = on_headers,
                                       .on_data = on_data,
                                       .on_reset = on_reset,
                                       .on_want_write = on_want_write};

static void on_settings_known(weft_timer *timer, int64_t now) {
    (void)timer, (void)now;
    for (unsigned long i = 0; i < wanted; i++) {
        h2_stream *stream = NULL;
        must(h2_request(conn.h2, &request, false, NULL, &stream), "a request");
        must(body_send(&b, stream, down ? BODY_HEAD : BODY_MAX, i, true) < 0, "sending");
    }
}

static void on_opened(bench_conn *base) {
    static weft_timer soon; /* so that the peer's SETTINGS are there: more than 100 streams */
    (void)base;
    weft_timer_init(&soon, on_settings_known, NULL);
    weft_timer_arm(net_loop_timers(b.loop), &soon, net_loop_now(b.loop) + 100 * WEFT_NS_PER_MS);
}

static void on_closed(bench_conn *base, const char *reason) {
    (void)base;
    die("the connection ended: %s", reason);
}

static void asked(const char *line) {
    if (!line) _Exit(0);
}

int main(int argc, char **argv) {
    if (argc != 4) die("usage: sidecar_stall ADDRESS COUNT down|up");
    wanted = strtoul(argv[2], NULL, 10);
    down = !strcmp(argv[3], "down");
    const plan p = {down ? PLAN_DOWN : PLAN_HOLD, down ? BODY_MAX : 0, 0};
    char text[PLAN_TEXT];
    plan_format(&p, text);
    bench_init(&b, 1);
    http_fields_init(&request, b.fields);
    bench_field(&b, &request, ":method", "POST");
    bench_field(&b, &request, ":scheme", "http");
    bench_field(&b, &request, ":path", "/test.Soak/Stall");
    bench_field(&b, &request, ":authority", "soak");
    bench_field(&b, &request, "te", "trailers");
    bench_field(&b, &request, "content-type", "application/grpc");
    bench_field(&b, &request, PLAN_HEADER, text);
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
