/* The app behind the sidecar in its tests: does with each call what the call's x-plan says.
 *
 *   sidecar_soak_server ADDRESS [CUT_EVERY]   prints "ready" once it listens; cuts the connection of every
 *                                             CUT_EVERYth call (0: never)
 *
 * A line on standard input, whatever it says, is answered with a line of JSON: what its connections count. The
 * end of standard input ends it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/sidecar_soak.h"
#include "weft/mem.h"

#define LAZY_WAIT (3 * WEFT_NS_PER_MS)

typedef struct incoming {
    h2_stream *stream;
    plan plan;
    uint32_t seen; /* bytes of the request */
    bool ended;    /* all of it came */
    bool answered;
    bool late; /* PLAN_LAZY: reading has not begun */
    weft_timer timer;
} incoming;

typedef struct served {
    bench_conn base;
    weft_list link;
} served;

static bench b;
static http_fields response, trailers;
static weft_list conns;
static uint64_t calls, cuts, resets, cut_every;

static void done(incoming *in) {
    weft_timer_cancel(&in->timer);
    h2_stream_release(in->stream);
    weft_free(in);
}

/* Everything was said: the call is over once it is out. A client that still sends is told to stop. */
static void finish(incoming *in) {
    in->answered = true;
    if (!h2_stream_queued(in->stream)) done(in);
}

static void fail(incoming *in) {
    http_fields list;
    http_fields_init(&list, b.fields);
    must(http_grpc_reply(&list, (int)in->plan.code, "as planned"), "memory");
    (void)!h2_respond(in->stream, &list, true);
    http_fields_clear(&list);
    finish(in);
}

static void send_body(incoming *in, uint32_t size, bool with_trailers) {
    if (!h2_respond(in->stream, &response, false) &&
        body_send(&b, in->stream, size, 0, false) >= 0 && with_trailers)
        (void)!h2_send_trailers(in->stream, &trailers);
}

static void reset(incoming *in) {
    resets++;
    h2_reset(in->stream, in->plan.code);
    done(in);
}

/* All of the request is there. The call may be gone afterwards. */
static void answer(incoming *in) {
    if (in->answered) return;
    switch (in->plan.kind) {
    case PLAN_ECHO:
        (void)!h2_send_trailers(in->stream, &trailers);
        finish(in);
        return;
    case PLAN_DOWN:
        send_body(in, in->plan.size, true);
        finish(in);
        return;
    case PLAN_UP:
    case PLAN_LAZY:
        send_body(in, BODY_HEAD, true);
        finish(in);
        return;
    case PLAN_FAIL:
        fail(in);
        return;
    case PLAN_RESET:
        reset(in);
        return;
    case PLAN_CUT:
        send_body(in, in->plan.size, false);
        reset(in);
        return;
    default:
        return; /* PLAN_HOLD waits, PLAN_EARLY was answered */
    }
}

static void wake(weft_timer *timer, int64_t now) {
    incoming *in = timer->user;
    (void)now;
    in->late = false;
    h2_consume(in->stream, h2_stream_buffered(in->stream));
    if (in->ended) answer(in);
}

static void begin(h2_stream *stream, const http_fields *fields) {
    incoming *in = weft_calloc(1, sizeof *in);
    must(!in, "memory");
    in->stream = stream;
    for (uint32_t i = 0; i < fields->count; i++)
        if (!strcmp(fields->at[i]->name, PLAN_HEADER)) in->plan = plan_parse(fields->at[i]->value);
    weft_timer_init(&in->timer, wake, in);
    h2_stream_set_user(stream, in);
    if (in->plan.kind == PLAN_LAZY) {
        in->late = true;
        weft_timer_arm(net_loop_timers(b.loop), &in->timer, net_loop_now(b.loop) + LAZY_WAIT);
    } else if (in->plan.kind == PLAN_ECHO) {
        (void)!h2_respond(stream, &response, false);
    } else if (in->plan.kind == PLAN_HOLD) {
        send_body(in, BODY_HEAD, false);
    }
    if (++calls % (cut_every ? cut_every : UINT64_MAX) == 0) {
        cuts++;
        net_conn_abort(((bench_conn *)h2_conn_user(h2_stream_conn(stream)))->net, WEFT_ECLOSED,
                       "cut");
    }
}

static void on_headers(h2_stream *stream, h2_headers_kind kind, http_fields *fields, bool end) {
    if (kind == H2_HEADERS_REQUEST) begin(stream, fields);
    incoming *in = h2_stream_user(stream);
    in->ended |= end;
    if (in->plan.kind == PLAN_EARLY && !in->answered) {
        fail(in);
    } else if (end) {
        answer(in);
    }
}

static void on_data(h2_stream *stream, const weft_slice *data, bool end) {
    incoming *in = h2_stream_user(stream);
    in->ended |= end;
    in->seen += (uint32_t)data->len;
    if (in->plan.kind == PLAN_HOLD || in->late) return;
    if (in->plan.kind == PLAN_ECHO) {
        const int64_t sent = data->len ? h2_send_data(stream, data, 1, false) : 0;
        if (sent > 0) h2_consume(stream, (size_t)sent);
    } else {
        h2_consume(stream, data->len);
    }
    if (in->plan.kind == PLAN_RESET && in->seen >= in->plan.size) {
        reset(in);
    } else if (end) {
        answer(in);
    }
}

static void on_sent(h2_stream *stream, size_t size) {
    incoming *in = h2_stream_user(stream);
    if (in->plan.kind == PLAN_ECHO) {
        const size_t owed = h2_stream_buffered(stream);
        h2_consume(stream, size < owed ? size : owed);
    }
    if (in->answered && !h2_stream_queued(stream)) done(in);
}

static void on_reset(h2_stream *stream, const h2_reset_info *info) {
    (void)info;
    done(h2_stream_user(stream));
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
    weft_list_remove(&((served *)conn)->link);
    weft_free(conn);
}

static int on_accept(net_listener *listener, net_conn *net) {
    (void)listener;
    served *conn = weft_calloc(1, sizeof *conn);
    if (!conn) return WEFT_ENOMEM;
    conn->base = (bench_conn){
        .bench = &b, .net = net, .callbacks = &callbacks, .role = H2_SERVER, .closed = on_closed};
    net_conn_set_handler(net, &bench_handler, &conn->base);
    weft_list_push_back(&conns, &conn->link);
    return 0;
}

static void tell(const char *question) {
    if (!question) _Exit(0);
    long long send = 0, receive = 0;
    size_t count = 0, buffered = 0, streams = 0;
    weft_list_each(&conns, at) {
        const served *conn = WEFT_CONTAINER(at, served, link);
        if (!conn->base.h2) continue;
        const h2_conn_info info = h2_conn_get_info(conn->base.h2);
        count++;
        send += info.send_window;
        receive += info.recv_window;
        buffered += info.buffered;
        streams += info.streams_peer;
    }
    (void)printf("{\"connections\": %zu, \"send\": %lld, \"receive\": %lld, \"buffered\": %zu, "
                 "\"streams\": %zu, \"handles\": %zu, \"calls\": %llu, \"resets\": %llu, "
                 "\"cuts\": %llu}\n",
                 count, send, receive, buffered, streams, h2_env_gauges(b.env).streams,
                 (unsigned long long)calls, (unsigned long long)resets, (unsigned long long)cuts);
    (void)fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 2) die("usage: sidecar_soak_server ADDRESS [CUT_EVERY]");
    bench_init(&b, 1);
    weft_list_init(&conns);
    cut_every = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    http_fields_init(&response, b.fields);
    http_fields_init(&trailers, b.fields);
    bench_field(&b, &response, ":status", "200");
    bench_field(&b, &response, "content-type", "application/grpc");
    bench_field(&b, &trailers, "grpc-status", "0");
    const weft_addr addr = bench_addr(argv[1]);
    const net_socket_options options = {.backlog = 1024};
    net_listen listen = {.on_accept = on_accept};
    net_listener *listener = NULL;
    net_why why;
    if (net_socket_listen(&addr, &options, &listen.fd, &why) ||
        net_listener_new(b.loop, &listen, &listener, &why))
        die("%s", why.text);
    (void)signal(SIGPIPE, SIG_IGN);
    on_lines(&b, tell);
    (void)puts("ready");
    (void)fflush(stdout);
    must(net_loop_run(b.loop), "the loop");
    return 0;
}
