/* The server of the benchmarks: answers each unary gRPC call with a body of the same size and number, status 0;
 * a request that is not as bench.h says with status 15 (DATA_LOSS).
 *
 *   bench_backend ADDRESS…     listens on all of them (127.0.0.1:7001, unix:/run/x/b.sock), prints "ready" once
 *                              it does; ends, with a count of calls, on SIGTERM or SIGINT
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"
#include "weft/mem.h"

/* A request in hand; pooled. */
typedef struct incoming {
    struct incoming *next; /* in the free list */
    body_reader body;
} incoming;

static bench b;
static incoming *spare;
static http_fields response, trailers, failure;
static uint64_t calls, bad;

static incoming *incoming_new(void) {
    incoming *in = spare;
    if (in) {
        spare = in->next;
    } else {
        in = weft_malloc(sizeof *in);
        must(!in, "memory");
    }
    in->body.have = 0;
    in->body.wrong = false;
    return in;
}

static void done(h2_stream *stream) {
    incoming *in = h2_stream_user(stream);
    in->next = spare;
    spare = in;
    h2_stream_release(stream);
}

static void answer(h2_stream *stream) {
    const incoming *in = h2_stream_user(stream);
    uint64_t number = 0;
    calls++;
    if (!body_good(&in->body, &number)) {
        bad++;
        (void)!h2_respond(stream, &failure, true);
    } else if (!h2_respond(stream, &response, false) &&
               body_send(&b, stream, in->body.have, number, false) >= 0) {
        (void)!h2_send_trailers(stream, &trailers);
    }
    if (!h2_stream_open(stream)) done(stream); /* else windows hold some of it back: on_sent */
}

static void on_sent(h2_stream *stream, size_t size) {
    (void)size;
    if (!h2_stream_open(stream)) done(stream);
}

static void on_headers(h2_stream *stream, h2_headers_kind kind, http_fields *fields, bool end) {
    if (kind == H2_HEADERS_REQUEST) {
        incoming *in = incoming_new();
        in->body.wrong = !http_fields_find(fields, HTTP_NAME_TRACEPARENT) ||
                         !http_fields_find(fields, HTTP_NAME_REQUEST_ID);
        h2_stream_set_user(stream, in);
    }
    if (end) answer(stream);
}

static void on_data(h2_stream *stream, const weft_slice *data, bool end) {
    incoming *in = h2_stream_user(stream);
    body_read(&b, &in->body, data->data, data->len);
    h2_consume(stream, data->len);
    if (end) answer(stream);
}

static void on_reset(h2_stream *stream, const h2_reset_info *info) {
    (void)info;
    done(stream);
}

static void on_want_write(h2_conn *conn) {
    net_conn_want_write(((bench_conn *)h2_conn_user(conn))->net);
}

static const h2_callbacks callbacks = {.on_headers = on_headers,
                                       .on_data = on_data,
                                       .on_reset = on_reset,
                                       .on_sent = on_sent,
                                       .on_want_write = on_want_write};

static void on_closed(bench_conn *conn, const char *reason) {
    (void)reason;
    weft_free(conn);
}

static int on_accept(net_listener *listener, net_conn *net) {
    (void)listener;
    bench_conn *conn = weft_calloc(1, sizeof *conn);
    if (!conn) return WEFT_ENOMEM;
    *conn = (bench_conn){
        .bench = &b, .net = net, .callbacks = &callbacks, .role = H2_SERVER, .closed = on_closed};
    net_conn_set_handler(net, &bench_handler, conn);
    return 0;
}

static void on_signal(int number) {
    (void)number;
    net_loop_stop(b.loop);
    net_loop_wake(b.loop);
}

int main(int argc, char **argv) {
    if (argc < 2) die("usage: bench_backend ADDRESS…");
    bench_init(&b, weft_rng_system_seed());
    http_fields_init(&response, b.fields);
    http_fields_init(&trailers, b.fields);
    http_fields_init(&failure, b.fields);
    bench_field(&b, &response, ":status", "200");
    bench_field(&b, &response, "content-type", "application/grpc");
    bench_field(&b, &response, "grpc-accept-encoding", "identity, deflate, gzip");
    bench_field(&b, &trailers, "grpc-status", "0");
    must(http_grpc_reply(&failure, 15, "the request was not what was sent"), "memory");
    for (int i = 1; i < argc; i++) {
        const weft_addr addr = bench_addr(argv[i]);
        const net_socket_options options = {.backlog = 4096};
        net_listen listen = {.on_accept = on_accept};
        net_listener *listener = NULL;
        net_why why;
        if (net_socket_listen(&addr, &options, &listen.fd, &why) ||
            net_listener_new(b.loop, &listen, &listener, &why))
            die("%s", why.text);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGTERM, on_signal);
    (void)signal(SIGINT, on_signal);
    (void)puts("ready");
    (void)fflush(stdout);
    must(net_loop_run(b.loop), "the loop");
    (void)printf("{\"calls\": %llu, \"bad\": %llu}\n", (unsigned long long)calls,
                 (unsigned long long)bad);
    (void)fflush(stdout);
    _Exit(0);
}
