/* The client of the benchmarks: unary gRPC calls as gRPC sends them, traceparent, grpc-timeout and x-request-id
 * new in each, every reply's status, length and content checked; whatever is not as it must be ends it with
 * exit status 1 at once.
 *
 * Closed loop (no --rate): each stream calls again when it was answered. Open loop: calls are due at random
 * (Poisson) moments, the same ones for the same --seed, and latency counts from when a call was due, not from
 * when a stream was free for it: no coordinated omission.
 *
 * It measures itself and, between the same two moments, the processor time of the processes that --pid names,
 * and prints one line of JSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "weft/crypto.h"
#include "weft/flags.h"
#include "weft/mem.h"

#define PIDS_MAX 16
#define DRAIN_MAX (10 * WEFT_NS_PER_S) /* that long calls may take to end after the measurement */

typedef struct load_conn load_conn;

/* One stream's worth of calls: in its connection's idle list, or under way. */
typedef struct call {
    struct call *next;
    load_conn *conn;
    int64_t since; /* when it began; open loop: when it was due */
    uint64_t number;
    body_reader body;
    bool answered; /* :status 200 came */
} call;

struct load_conn {
    bench_conn base;
    call *idle;
    uint64_t completed;
    bool open;
};

typedef enum phase { CONNECTING, WARMING, MEASURING, DRAINING } phase;

static struct options {
    weft_addr target;
    int64_t connections, streams, seed, duration, warmup;
    uint64_t body;
    double rate;
    bool hold;
    const char *authority, *path;
    weft_flag_list headers, pids;
    const char *ca, *cert, *key, *domain, *id;
} o;

static bench b;
static weft_rng arrivals;
static load_conn *conns;
static phase now_in;
static size_t open_conns, warm_conns, next_conn;
static uint64_t numbers, under_way, measured;
static int64_t due, warm_until, begun, ended; /* due: when the next call of the open loop is */
static int timer = -1;
static http_fields request;
static hist latency;
static clockid_t cpu_clocks[PIDS_MAX];
static int64_t cpu_begun[PIDS_MAX], cpu_ended[PIDS_MAX];
static tls_context *tls;

/* ---- one call */

static void hex(char *out, size_t digits) {
    for (size_t i = 0; i < digits; i += 16) {
        uint64_t bits = weft_rng_u64(&b.rng);
        for (size_t k = i; k < digits && k < i + 16; k++, bits >>= 4)
            out[k] = "0123456789abcdef"[bits & 15];
    }
}

static int send_request(load_conn *conn, call *c, h2_stream **stream) {
    char trace[HTTP_TRACEPARENT_LEN + 1] = "00-", id[36], timeout[HTTP_TIMEOUT_TEXT];
    http_fields list;
    http_fields_init(&list, b.fields);
    must(http_fields_copy(&list, &request), "memory");
    hex(trace + 3, 32);
    trace[35] = '-';
    hex(trace + 36, 16);
    memcpy(trace + 52, "-01", 3);
    hex(id, 36);
    id[8] = id[13] = id[18] = id[23] = '-';
    /* 30 to 90 s: no proxy ends a call for it. */
    const int64_t left =
        30 * WEFT_NS_PER_S + (int64_t)weft_rng_below(&b.rng, 60 * (uint64_t)WEFT_NS_PER_S);
    const size_t n = http_timeout_format(left, timeout);
    must(http_fields_add_known(&list, HTTP_NAME_GRPC_TIMEOUT, timeout, n), "memory");
    must(http_fields_add_known(&list, HTTP_NAME_TRACEPARENT, trace, HTTP_TRACEPARENT_LEN),
         "memory");
    must(http_fields_add_known(&list, HTTP_NAME_REQUEST_ID, id, sizeof id), "memory");
    const int error = h2_request(conn->base.h2, &list, false, c, stream);
    http_fields_clear(&list);
    return error;
}

/* False: the peer takes no more streams now; the call stays idle. */
static bool start(load_conn *conn, int64_t since) {
    call *c = conn->idle;
    h2_stream *stream = NULL;
    const int error = send_request(conn, c, &stream);
    if (error == WEFT_EAGAIN) return false;
    if (error) die("a request could not be sent: %s", weft_error_name(error));
    conn->idle = c->next;
    c->since = since;
    c->number = ++numbers;
    c->body = (body_reader){0};
    c->answered = false;
    under_way++;
    must(body_send(&b, stream, (uint32_t)o.body, c->number, true) < 0, "sending a body");
    return true;
}

static void start_closed(load_conn *conn) {
    while (conn->idle && now_in < DRAINING && start(conn, weft_now(NULL))) continue;
}

/* ---- open loop */

static void arm(int64_t when) {
    const struct itimerspec spec = {
        .it_value = {.tv_sec = when / WEFT_NS_PER_S, .tv_nsec = when % WEFT_NS_PER_S}};
    must(timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, NULL), "timerfd_settime");
}

/* Starts what is due as far as there are streams. */
static void start_due(void) {
    if (now_in == CONNECTING) return;
    while (due <= weft_now(NULL) && (now_in < DRAINING || due < ended)) {
        size_t tried = 0;
        for (; tried < (size_t)o.connections; tried++) {
            load_conn *conn = &conns[next_conn];
            next_conn = (next_conn + 1) % (size_t)o.connections;
            if (conn->idle && start(conn, due)) break;
        }
        if (tried == (size_t)o.connections) return; /* an answer will come and call again */
        due -= (int64_t)(log(1 - weft_rng_double(&arrivals)) * 1e9 / o.rate);
    }
    if (now_in < DRAINING) arm(due);
}

static void timer_ready(net_watch *watch, unsigned events) {
    uint64_t times;
    (void)events;
    (void)!read(watch->fd, &times, sizeof times);
    start_due();
}

/* ---- what streams say */

static void on_headers(h2_stream *stream, h2_headers_kind kind, http_fields *fields, bool end) {
    call *c = h2_stream_user(stream);
    if (kind == H2_HEADERS_RESPONSE && !end) {
        const http_field *status = http_fields_find(fields, HTTP_NAME_STATUS);
        if (!status || strcmp(status->value, "200")) die("a reply of status %s", status->value);
        c->answered = true;
        return;
    }
    if (kind == H2_HEADERS_INFORM) return;
    int code = 0;
    const char *text = "";
    size_t len = 0;
    uint64_t number = 0;
    const int missing = http_grpc_outcome(fields, &code, &text, &len);
    if (missing || code) die("a reply of grpc-status %d: %.*s", code, (int)len, text);
    if (!c->answered || c->body.have != o.body || !body_good(&c->body, &number) ||
        number != c->number)
        die("a reply that differs: %u bytes of %llu, call %llu of %llu", c->body.have,
            (unsigned long long)o.body, (unsigned long long)number, (unsigned long long)c->number);
    h2_stream_release(stream);
    const int64_t now = weft_now(NULL);
    load_conn *conn = c->conn;
    c->next = conn->idle;
    conn->idle = c;
    under_way--;
    if (now_in == MEASURING) measured++;
    if (now_in >= MEASURING && c->since >= begun && (now_in == MEASURING || c->since < ended))
        hist_add(&latency, now - c->since);
    if (!conn->completed++) warm_conns++;
    if (o.rate > 0)
        start_due();
    else if (!o.hold)
        start_closed(conn);
}

static void on_data(h2_stream *stream, const weft_slice *data, bool end) {
    call *c = h2_stream_user(stream);
    body_read(&b, &c->body, data->data, data->len);
    h2_consume(stream, data->len);
    if (end) die("a reply without trailers");
}

static void on_reset(h2_stream *stream, const h2_reset_info *info) {
    (void)stream;
    die("a call was reset: %s (%s)", info->text, h2_code_name(info->code));
}

static void on_capacity(h2_conn *h2) {
    load_conn *conn = (load_conn *)h2_conn_user(h2);
    if (o.rate > 0)
        start_due();
    else if (!o.hold)
        start_closed(conn);
}

static void on_goaway(h2_conn *h2, const h2_goaway_info *info) {
    (void)h2;
    die("GOAWAY (%s): %.*s", h2_code_name(info->code), (int)info->debug_len, info->debug);
}

static void on_want_write(h2_conn *h2) {
    net_conn_want_write(((bench_conn *)h2_conn_user(h2))->net);
}

static const h2_callbacks callbacks = {.on_headers = on_headers,
                                       .on_data = on_data,
                                       .on_reset = on_reset,
                                       .on_capacity = on_capacity,
                                       .on_goaway = on_goaway,
                                       .on_want_write = on_want_write};

/* ---- connections */

static void on_opened(bench_conn *base) {
    load_conn *conn = (load_conn *)base;
    open_conns++;
    conn->open = true;
    if (o.hold) {
        must(!start(conn, weft_now(NULL)), "a first call");
    } else if (o.rate <= 0) {
        start_closed(conn);
    }
}

static void on_closed(bench_conn *conn, const char *reason) {
    (void)conn;
    die("a connection ended: %s", *reason ? reason : "closed by the peer");
}

static void load_tls(void) {
    crypto_why why;
    crypto_certs roots = {0}, chain = {0};
    crypto_bundle *bundle = NULL;
    crypto_key *key = NULL;
    crypto_svid *svid = NULL;
    if (crypto_certs_load(o.ca, &roots, &why) || crypto_certs_load(o.cert, &chain, &why) ||
        crypto_key_load(o.key, false, &key, &why) ||
        crypto_bundle_new(o.domain, &roots, &bundle, &why) ||
        crypto_svid_new(key, &chain, true, &svid, &why))
        die("%s", why.text);
    const tls_config config = {
        .role = TLS_CLIENT, .svid = svid, .bundle = bundle, .ids = &o.id, .id_count = 1};
    if (tls_context_new(&config, &tls, &why)) die("%s", why.text);
}

static void connect_all(void) {
    conns = weft_calloc((size_t)o.connections, sizeof *conns);
    call *calls = weft_calloc((size_t)(o.connections * o.streams), sizeof *calls);
    must(!conns || !calls, "memory");
    for (int64_t i = 0; i < o.connections; i++) {
        load_conn *conn = &conns[i];
        conn->base = (bench_conn){.bench = &b,
                                  .callbacks = &callbacks,
                                  .role = H2_CLIENT,
                                  .opened = on_opened,
                                  .closed = on_closed};
        for (int64_t k = 0; k < o.streams; k++) {
            call *c = &calls[i * o.streams + k];
            c->conn = conn;
            c->next = conn->idle;
            conn->idle = c;
        }
        const net_dial dial = {
            .addr = &o.target, .handler = &bench_handler, .user = &conn->base, .tls = tls};
        net_why why;
        if (net_connect(b.loop, &dial, &conn->base.net, &why)) die("%s", why.text);
    }
}

/* ---- the run */

static void read_cpu(int64_t *out) {
    for (size_t i = 0; i < o.pids.count; i++) {
        struct timespec t;
        if (clock_gettime(cpu_clocks[i], &t)) die("process %s is gone", o.pids.items[i]);
        out[i] = t.tv_sec * WEFT_NS_PER_S + t.tv_nsec;
    }
}

/* Moves on to the next phase when it is time; false: over. */
static bool progress(void) {
    const int64_t now = weft_now(NULL);
    switch (now_in) {
    case CONNECTING:
        if (open_conns < (size_t)o.connections) {
            if (now - warm_until > DRAIN_MAX) die("only %zu connections opened", open_conns);
            return true;
        }
        now_in = WARMING;
        due = now;
        warm_until = now + o.warmup;
        if (o.rate > 0) start_due();
        return true;
    case WARMING:
        if (now - warm_until > DRAIN_MAX) die("only %zu connections were answered", warm_conns);
        /* All connections are in use (also in the open loop, which takes turns). */
        if (now < warm_until || warm_conns < (size_t)o.connections) return true;
        read_cpu(cpu_begun);
        begun = weft_now(NULL);
        now_in = MEASURING;
        return true;
    case MEASURING:
        if (now < begun + o.duration) return true;
        read_cpu(cpu_ended);
        ended = weft_now(NULL);
        now_in = DRAINING;
        return true;
    default:
        if (now - ended > DRAIN_MAX) die("%llu calls never ended", (unsigned long long)under_way);
        return under_way > 0 || (o.rate > 0 && due < ended);
    }
}

static void report(void) {
    const double seconds = (double)(ended - begun) / 1e9;
    (void)printf("{\"calls\": %llu, \"seconds\": %.6f, \"cpu_ns\": [", (unsigned long long)measured,
                 seconds);
    for (size_t i = 0; i < o.pids.count; i++)
        (void)printf("%s%lld", i ? ", " : "", (long long)(cpu_ended[i] - cpu_begun[i]));
    struct timespec self;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &self);
    (void)printf("], \"self_cpu_ns\": %lld, \"sent\": %llu, \"latency_ns\": {\"mean\": %.0f",
                 (long long)(self.tv_sec * WEFT_NS_PER_S + self.tv_nsec),
                 (unsigned long long)numbers,
                 latency.count ? latency.sum / (double)latency.count : 0.0);
    static const struct {
        const char *name;
        double share;
    } shares[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};
    for (size_t i = 0; i < WEFT_COUNT(shares); i++)
        (void)printf(", \"%s\": %llu", shares[i].name,
                     (unsigned long long)hist_at(&latency, shares[i].share));
    (void)printf("}}\n");
    (void)fflush(stdout);
}

/* Every connection was used once; they stay until standard input ends. */
static void hold(void) {
    const int64_t until = weft_now(NULL) + 6 * DRAIN_MAX;
    while (warm_conns < (size_t)o.connections) {
        must(net_loop_turn(b.loop, WEFT_NS_PER_S / 10), "the loop");
        if (weft_now(NULL) > until) die("only %zu connections were answered", warm_conns);
    }
    (void)puts("ready");
    (void)fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) continue;
}

static const weft_flag table[] = {
    {.name = "target",
     .type = WEFT_FLAG_ADDRESS,
     .to.address = &o.target,
     .required = true,
     .help = "Whom to call."},
    {.name = "connections",
     .letter = 'c',
     .type = WEFT_FLAG_INT,
     .to.integer = &o.connections,
     .initial = "1",
     .min = "1",
     .max = "10000",
     .help = "Connections."},
    {.name = "streams",
     .letter = 's',
     .type = WEFT_FLAG_INT,
     .to.integer = &o.streams,
     .initial = "1",
     .min = "1",
     .max = "1000",
     .help = "Calls at once on each."},
    {.name = "body",
     .letter = 'b',
     .type = WEFT_FLAG_SIZE,
     .to.size = &o.body,
     .initial = "105",
     .min = "13",
     .max = "1MiB",
     .help = "Bytes of DATA each way, with the prefix of the message."},
    {.name = "rate",
     .letter = 'r',
     .type = WEFT_FLAG_DOUBLE,
     .to.real = &o.rate,
     .initial = "0",
     .min = "0",
     .help = "Calls a second (open loop); 0: as fast as they are answered (closed loop)."},
    {.name = "duration",
     .letter = 'd',
     .type = WEFT_FLAG_DURATION,
     .to.duration = &o.duration,
     .initial = "1s",
     .max = "1h",
     .help = "How long to measure."},
    {.name = "warmup",
     .type = WEFT_FLAG_DURATION,
     .to.duration = &o.warmup,
     .initial = "200ms",
     .help = "How long to call before, at least until every connection was answered once."},
    {.name = "pid",
     .letter = 'p',
     .type = WEFT_FLAG_LIST,
     .to.list = &o.pids,
     .help = "A process whose processor time is measured; again for more."},
    {.name = "header",
     .letter = 'H',
     .type = WEFT_FLAG_LIST,
     .to.list = &o.headers,
     .help = "One more header field, NAME:VALUE."},
    {.name = "authority",
     .type = WEFT_FLAG_STRING,
     .to.string = &o.authority,
     .initial = "product.shop:8080",
     .help = "The :authority."},
    {.name = "path",
     .type = WEFT_FLAG_STRING,
     .to.string = &o.path,
     .initial = "/shop.product.v1.ProductService/GetProduct",
     .help = "The :path."},
    {.name = "seed",
     .type = WEFT_FLAG_INT,
     .to.integer = &o.seed,
     .initial = "1",
     .help = "Of everything random."},
    {.name = "hold",
     .type = WEFT_FLAG_BOOL,
     .to.boolean = &o.hold,
     .help = "Call once on each connection, print \"ready\", keep them until standard input ends."},
    {.name = "ca", .type = WEFT_FLAG_STRING, .to.string = &o.ca, .help = "Speak TLS: the roots."},
    {.name = "cert",
     .type = WEFT_FLAG_STRING,
     .to.string = &o.cert,
     .help = "Our certificate chain."},
    {.name = "key", .type = WEFT_FLAG_STRING, .to.string = &o.key, .help = "Its key."},
    {.name = "domain",
     .type = WEFT_FLAG_STRING,
     .to.string = &o.domain,
     .initial = "mesh.local",
     .help = "The trust domain."},
    {.name = "id",
     .type = WEFT_FLAG_STRING,
     .to.string = &o.id,
     .initial = "spiffe://mesh.local/ns/shop/sa/product",
     .help = "The SPIFFE ID of whom to call."},
};

static void read_flags(int argc, char **argv) {
    weft_arena *arena = weft_arena_new(0); /* values live in it: as long as the program */
    must(!arena, "memory");
    weft_diags problems;
    weft_diags_init(&problems, arena, 0);
    weft_flags flags = {.program = "bench_load", .table = table, .count = WEFT_COUNT(table)};
    if (weft_flags_load(&flags, arena, argc, (const char *const *)argv, &problems)) {
        weft_diags_print(&problems, stderr);
        die("see bench_load --help");
    }
    if (flags.help) {
        weft_buf text;
        weft_buf_init(&text, 0);
        must(weft_flags_help(&flags, &text), "memory");
        (void)fputs(weft_buf_str(&text), stdout);
        exit(0);
    }
    if (o.pids.count > PIDS_MAX) die("at most %d processes", PIDS_MAX);
    for (size_t i = 0; i < o.pids.count; i++) {
        const pid_t pid = (pid_t)strtol(o.pids.items[i], NULL, 10);
        if (clock_getcpuclockid(pid, &cpu_clocks[i])) die("no process %s", o.pids.items[i]);
    }
}

static void prepare(void) {
    bench_init(&b, (uint64_t)o.seed);
    arrivals = weft_rng_fork(&b.rng);
    b.limits.peer_streams_default = 100;
    http_fields_init(&request, b.fields);
    bench_field(&b, &request, ":method", "POST");
    bench_field(&b, &request, ":scheme", "http");
    bench_field(&b, &request, ":path", o.path);
    bench_field(&b, &request, ":authority", o.authority);
    bench_field(&b, &request, "te", "trailers");
    bench_field(&b, &request, "content-type", "application/grpc");
    bench_field(&b, &request, "user-agent", "grpc-c/40.0.0 (linux; chttp2)");
    bench_field(&b, &request, "grpc-accept-encoding", "identity, deflate, gzip");
    for (size_t i = 0; i < o.headers.count; i++) bench_field_line(&b, &request, o.headers.items[i]);
    if (o.ca) {
        if (!o.cert || !o.key) die("--ca needs --cert and --key");
        load_tls();
    }
    if (o.rate > 0) {
        static net_watch watch;
        timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        must(timer < 0, "timerfd_create");
        must(net_watch_start(b.loop, &watch, timer, NET_READABLE, timer_ready, NULL), "the timer");
    }
}

int main(int argc, char **argv) {
    read_flags(argc, argv);
    prepare();
    warm_until = weft_now(NULL);
    connect_all();
    if (o.hold) {
        hold();
        _Exit(0);
    }
    while (progress()) must(net_loop_turn(b.loop, WEFT_NS_PER_MS), "the loop");
    report();
    _Exit(0);
}
