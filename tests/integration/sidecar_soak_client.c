/* Calls through sidecars that end in every way a call can end: answered, failed, reset by the server half way,
 * cancelled by us before anything left, between any two events or at any moment, out of time, with their
 * connection. Answers are checked where nothing was meant to disturb them.
 *
 *   sidecar_soak_client ADDRESS CALLS SEED CUT_EVERY
 *
 * Every CUT_EVERYth call (0: none) cuts its connection. When all calls are over it prints a line of JSON, what
 * came of them; a line on standard input is then answered with what its connections count. The end of
 * standard input ends it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/sidecar_soak.h"
#include "weft/flags.h"
#include "weft/mem.h"

#define CONNS 4u
#define AT_ONCE 64u
#define RETRY_WAIT (2 * WEFT_NS_PER_MS)

typedef enum mood {
    MOOD_STRICT,   /* the plan must come true */
    MOOD_AT_ONCE,  /* cancelled in the turn it began in */
    MOOD_EVENT,    /* cancelled when `events` more have come */
    MOOD_MOMENT,   /* cancelled by the clock */
    MOOD_DEADLINE, /* grpc-timeout of some milliseconds */
    MOOD_SLOW,     /* strict, but reads late */
    MOODS
} mood;

typedef struct lane {
    bench_conn base;
    bool open;
} lane;

typedef struct call {
    lane *lane;
    h2_stream *stream;
    plan plan;
    mood mood;
    uint32_t events, size;
    uint64_t number;
    body_reader body;
    weft_timer timer;
} call;

typedef enum ending { /* of a call */
                      END_OK,
                      END_STATUS,   /* another grpc-status */
                      END_RESET,    /* RST_STREAM */
                      END_LOST,     /* the connection */
                      END_CANCELLED /* by us */
} ending;
static const char *const ending_names[] = {"ok", "status", "reset", "lost", "cancelled"};
#define ENDINGS WEFT_COUNT(ending_names)

static bench b;
static weft_rng rng;
static weft_addr target;
static lane lanes[CONNS];
static weft_timer again; /* when no connection was to be had */
static http_fields request;
static uint64_t wanted, begun, ended, cut_every, cuts, wrong, unavailable;
static uint64_t endings[ENDINGS];
static size_t next_lane;
static char complaint[256];

static void start_calls(void);
static void connect_lane(lane *l);

/* ---- what a call is to be */

static uint32_t some_size(void) {
    switch (weft_rng_below(&rng, 20)) {
    case 0:
        return BODY_HEAD + (uint32_t)weft_rng_below(&rng, 600000);
    case 1:
    case 2:
        return BODY_HEAD + (uint32_t)weft_rng_below(&rng, 40000);
    default:
        return BODY_HEAD + (uint32_t)weft_rng_below(&rng, 1200);
    }
}

static void choose(call *c) {
    static const uint32_t resets[] = {H2_NO_ERROR, H2_INTERNAL_ERROR, H2_REFUSED_STREAM, H2_CANCEL};
    const uint64_t dice = weft_rng_below(&rng, 100);
    c->plan.kind = (plan_kind)weft_rng_below(&rng, PLAN_KINDS);
    if (weft_rng_below(&rng, 2)) c->plan.kind = PLAN_ECHO;
    c->plan.size = some_size();
    c->plan.code = c->plan.kind == PLAN_RESET || c->plan.kind == PLAN_CUT
                       ? resets[weft_rng_below(&rng, WEFT_COUNT(resets))]
                       : 1 + (uint32_t)weft_rng_below(&rng, 16);
    c->size = c->plan.kind == PLAN_DOWN ? BODY_HEAD : some_size();
    c->mood = dice < 60   ? MOOD_STRICT
              : dice < 66 ? MOOD_AT_ONCE
              : dice < 76 ? MOOD_EVENT
              : dice < 86 ? MOOD_MOMENT
              : dice < 92 ? MOOD_DEADLINE
                          : MOOD_SLOW;
    if (c->plan.kind == PLAN_HOLD && (c->mood == MOOD_STRICT || c->mood == MOOD_SLOW))
        c->mood = weft_rng_below(&rng, 2) ? MOOD_MOMENT : MOOD_DEADLINE; /* never ends by itself */
    c->events = (uint32_t)weft_rng_below(&rng, c->plan.kind == PLAN_HOLD ? 2 : 5);
}

/* ---- its end */

static void complain(const call *c, const char *what, int code) {
    wrong++;
    (void)snprintf(complaint, sizeof complaint,
                   "call %llu, plan %u.%u.%u, mood %u: %s (%d), %u bytes",
                   (unsigned long long)c->number, (unsigned)c->plan.kind, c->plan.size,
                   c->plan.code, (unsigned)c->mood, what, code, c->body.have);
}

static void over(call *c, ending how) {
    weft_timer_cancel(&c->timer);
    h2_stream_release(c->stream);
    endings[how]++;
    ended++;
    weft_free(c);
    start_calls();
}

static void cancel(call *c) {
    static const uint32_t codes[] = {H2_CANCEL, H2_NO_ERROR, H2_INTERNAL_ERROR};
    if (weft_rng_below(&rng, 2)) h2_reset(c->stream, codes[weft_rng_below(&rng, 3)]);
    over(c, END_CANCELLED);
}

/* One more event of the call; true when it is gone. */
static bool is_cancelled(call *c) {
    if (c->mood != MOOD_EVENT || c->events--) return false;
    cancel(c);
    return true;
}

static void ring(weft_timer *timer, int64_t now) {
    call *c = timer->user;
    (void)now;
    if (c->mood == MOOD_SLOW) {
        h2_consume(c->stream, h2_stream_buffered(c->stream));
    } else {
        cancel(c);
    }
}

static void ring_after(call *c, uint64_t ms) {
    weft_timer_arm(net_loop_timers(b.loop), &c->timer,
                   net_loop_now(b.loop) + (int64_t)weft_rng_below(&rng, ms * 1000000));
}

static bool is_strict(const call *c) { return c->mood == MOOD_STRICT || c->mood == MOOD_SLOW; }

static void judge(call *c, int code) {
    uint64_t number = 0;
    const bool body = c->plan.kind == PLAN_ECHO || c->plan.kind == PLAN_DOWN ||
                      c->plan.kind == PLAN_UP || c->plan.kind == PLAN_LAZY;
    if (code == WEFT_UNAVAILABLE && (cut_every || c->plan.code == H2_REFUSED_STREAM)) {
        unavailable++;
        return;
    }
    if (!is_strict(c)) return;
    if (c->plan.kind == PLAN_FAIL || c->plan.kind == PLAN_EARLY) {
        if (code != (int)c->plan.code) complain(c, "another status", code);
    } else if (body) {
        const bool good = body_good(&c->body, &number);
        if (code || !good || (c->plan.kind == PLAN_ECHO && number != c->number))
            complain(c, "no good answer", code);
    } else if (!code) {
        complain(c, "no failure", code);
    }
}

/* ---- what streams say */

static void on_headers(h2_stream *stream, h2_headers_kind kind, http_fields *fields, bool end) {
    call *c = h2_stream_user(stream);
    int code = 0;
    const char *text = "";
    size_t len = 0;
    (void)kind;
    if (is_cancelled(c)) return;
    if (!end) return;
    if (http_grpc_outcome(fields, &code, &text, &len)) complain(c, "no grpc-status", code);
    judge(c, code);
    over(c, code ? END_STATUS : END_OK);
}

static void on_data(h2_stream *stream, const weft_slice *data, bool end) {
    call *c = h2_stream_user(stream);
    body_read(&b, &c->body, data->data, data->len);
    if (c->mood != MOOD_SLOW) {
        h2_consume(stream, data->len);
    } else if (!weft_timer_armed(&c->timer)) {
        ring_after(c, 4);
    }
    if (is_cancelled(c) || !end) return;
    complain(c, "no trailers", 0);
    over(c, END_OK);
}

static void on_reset(h2_stream *stream, const h2_reset_info *info) {
    call *c = h2_stream_user(stream);
    const bool expected = c->plan.kind == PLAN_RESET || c->plan.kind == PLAN_CUT ||
                          c->plan.kind == PLAN_EARLY || cut_every;
    if (is_strict(c) && !expected && !info->conn_lost) complain(c, "a reset", (int)info->code);
    over(c, info->conn_lost ? END_LOST : END_RESET);
}

static void on_capacity(h2_conn *h2) {
    (void)h2;
    start_calls();
}

static void on_want_write(h2_conn *h2) {
    net_conn_want_write(((bench_conn *)h2_conn_user(h2))->net);
}

static const h2_callbacks callbacks = {.on_headers = on_headers,
                                       .on_data = on_data,
                                       .on_reset = on_reset,
                                       .on_capacity = on_capacity,
                                       .on_want_write = on_want_write};

/* ---- beginning */

static int send_request(call *c) {
    char text[PLAN_TEXT], timeout[HTTP_TIMEOUT_TEXT];
    http_fields list;
    http_fields_init(&list, b.fields);
    must(http_fields_copy(&list, &request), "memory");
    plan_format(&c->plan, text);
    bench_field(&b, &list, PLAN_HEADER, text);
    const uint64_t ms = c->mood == MOOD_DEADLINE ? 1 + weft_rng_below(&rng, 12) : 60000;
    const size_t n = http_timeout_format((int64_t)ms * WEFT_NS_PER_MS, timeout);
    must(http_fields_add_known(&list, HTTP_NAME_GRPC_TIMEOUT, timeout, n), "memory");
    const int error = h2_request(c->lane->base.h2, &list, false, c, &c->stream);
    http_fields_clear(&list);
    return error;
}

static lane *pick_lane(void) {
    for (size_t i = 0; i < CONNS; i++) {
        lane *l = &lanes[next_lane++ % CONNS];
        if (l->open && h2_conn_can_request(l->base.h2)) return l;
    }
    return NULL;
}

/* False: not now. */
static bool start(void) {
    lane *l = pick_lane();
    if (!l) return false;
    call *c = weft_calloc(1, sizeof *c);
    must(!c, "memory");
    c->lane = l;
    c->number = begun + 1;
    weft_timer_init(&c->timer, ring, c);
    choose(c);
    if (send_request(c)) {
        weft_free(c);
        return false;
    }
    begun++;
    must(body_send(&b, c->stream, c->size, c->number, true) < 0, "sending a body");
    if (c->mood == MOOD_MOMENT) ring_after(c, 8);
    if (cut_every && begun % cut_every == 0) {
        cuts++;
        l->open = false;
        net_conn_abort(l->base.net, WEFT_ECLOSED, "cut");
    } else if (c->mood == MOOD_AT_ONCE) {
        cancel(c);
    }
    return true;
}

static void start_calls(void) {
    static bool inside; /* a call that is cancelled at once comes back here */
    if (inside) return;
    inside = true;
    bool started = true;
    while (started && begun < wanted && begun - ended < AT_ONCE) started = start();
    inside = false;
    if (!started && !weft_timer_armed(&again))
        weft_timer_arm(net_loop_timers(b.loop), &again, net_loop_now(b.loop) + RETRY_WAIT);
    if (ended == wanted) net_loop_stop(b.loop);
}

static void on_again(weft_timer *timer, int64_t now) {
    (void)timer, (void)now;
    start_calls();
}

static void on_opened(bench_conn *conn) {
    ((lane *)conn)->open = true;
    start_calls();
}

static void on_closed(bench_conn *conn, const char *reason) {
    lane *l = (lane *)conn;
    if (!cut_every) die("a connection ended: %s", reason);
    l->open = false;
    connect_lane(l);
}

static void connect_lane(lane *l) {
    net_why why;
    l->base = (bench_conn){.bench = &b,
                           .callbacks = &callbacks,
                           .role = H2_CLIENT,
                           .opened = on_opened,
                           .closed = on_closed};
    const net_dial dial = {.addr = &target, .handler = &bench_handler, .user = &l->base};
    if (net_connect(b.loop, &dial, &l->base.net, &why)) die("%s", why.text);
}

/* ---- what came of it */

static void report(void) {
    (void)printf("{\"calls\": %llu, \"wrong\": %llu, \"unavailable\": %llu, \"cuts\": %llu",
                 (unsigned long long)begun, (unsigned long long)wrong,
                 (unsigned long long)unavailable, (unsigned long long)cuts);
    for (size_t i = 0; i < ENDINGS; i++)
        (void)printf(", \"%s\": %llu", ending_names[i], (unsigned long long)endings[i]);
    (void)printf(", \"complaint\": \"%s\"}\n", complaint);
    (void)fflush(stdout);
}

static void tell(const char *question) {
    if (!question) _Exit(0);
    long long send = 0, receive = 0;
    size_t count = 0, buffered = 0, queued = 0, streams = 0;
    for (size_t i = 0; i < CONNS; i++) {
        if (!lanes[i].base.h2) continue;
        const h2_conn_info info = h2_conn_get_info(lanes[i].base.h2);
        count++;
        send += info.send_window;
        receive += info.recv_window;
        buffered += info.buffered;
        queued += info.output + h2_conn_queued(lanes[i].base.h2);
        streams += info.streams_local;
    }
    (void)printf("{\"connections\": %zu, \"send\": %lld, \"receive\": %lld, \"buffered\": %zu, "
                 "\"queued\": %zu, \"streams\": %zu, \"handles\": %zu}\n",
                 count, send, receive, buffered, queued, streams, h2_env_gauges(b.env).streams);
    (void)fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc != 5) die("usage: sidecar_soak_client ADDRESS CALLS SEED CUT_EVERY");
    target = bench_addr(argv[1]);
    wanted = strtoull(argv[2], NULL, 10);
    bench_init(&b, strtoull(argv[3], NULL, 10));
    cut_every = strtoull(argv[4], NULL, 10);
    rng = weft_rng_fork(&b.rng);
    http_fields_init(&request, b.fields);
    bench_field(&b, &request, ":method", "POST");
    bench_field(&b, &request, ":scheme", "http");
    bench_field(&b, &request, ":path", "/test.Soak/Call");
    bench_field(&b, &request, ":authority", "soak");
    bench_field(&b, &request, "te", "trailers");
    bench_field(&b, &request, "content-type", "application/grpc");
    weft_timer_init(&again, on_again, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < CONNS; i++) connect_lane(&lanes[i]);
    must(net_loop_run(b.loop), "the loop");
    report();
    on_lines(&b, tell);
    for (;;) must(net_loop_turn(b.loop, WEFT_NS_PER_S), "the loop");
}
