/* The cost of lib/h2 alone: unary gRPC calls between a client engine and a server engine in memory, 105
 * bytes each way, headers as gRPC sends them with traceparent, grpc-timeout and x-request-id new each time.
 *
 *   h2_pair [CALLS [AT_ONCE [hop]]]   prints one line: calls, nanoseconds and (where the kernel lets us
 *                                     count) user instructions a call and side
 *
 * With "hop" a relay stands between them, as a sidecar would: it passes fields and payload by reference and
 * writes traceparent and grpc-timeout anew. What that adds to a call is the engine's part of a hop. */
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "weft/clock.h"
#include "weft/h2.h"
#include "weft/http_grpc.h"
#include "weft/rng.h"

#define BODY 105

typedef struct world {
    weft_chunk_pool *chunks;
    http_pool *fields;
    h2_env *env;
    h2_conn *client, *server;
    h2_conn *down, *up; /* of the relay; NULL: there is none */
    weft_chain to_server, to_client, to_down, to_up;
    http_fields request; /* what is the same in every call */
    http_fields response;
    http_fields trailers;
    weft_rng rng;
    long done;
    long wrong;
} world;

static world w;
static uint8_t body[BODY];

static void die(const char *what) {
    fprintf(stderr, "h2_pair: %s\n", what);
    exit(1);
}

static void must(int failed, const char *what) {
    if (failed) die(what);
}

/* ---- server: answers when the request has ended */

static void server_headers(h2_stream *s, h2_headers_kind kind, http_fields *fields, bool end) {
    (void)kind;
    (void)end;
    const http_field *path = http_fields_find(fields, HTTP_NAME_PATH);
    if (!path || path->value_len < 10) w.wrong++;
    h2_stream_set_user(s, &w);
}

static void server_data(h2_stream *s, const weft_slice *data, bool end) {
    h2_consume(s, data->len);
    if (!end) return;
    const weft_slice reply = {body, BODY, NULL};
    must(h2_respond(s, &w.response, false), "respond");
    must(h2_send_data(s, &reply, 1, false) != BODY, "reply");
    must(h2_send_trailers(s, &w.trailers), "trailers");
    h2_stream_release(s);
}

static void on_reset(h2_stream *s, const h2_reset_info *info) {
    (void)s;
    die(info->text);
}

/* ---- client */

static void client_headers(h2_stream *s, h2_headers_kind kind, http_fields *fields, bool end) {
    if (kind != H2_HEADERS_TRAILERS) return;
    int code = 0;
    const char *text = NULL;
    size_t len = 0;
    if (!end || http_grpc_outcome(fields, &code, &text, &len) || code) w.wrong++;
    h2_stream_release(s);
    w.done++;
}

static void client_data(h2_stream *s, const weft_slice *data, bool end) {
    (void)end;
    if (data->len != BODY || data->data[7] != body[7]) w.wrong++;
    h2_consume(s, data->len);
}

static const h2_callbacks server_callbacks = {
    .on_headers = server_headers, .on_data = server_data, .on_reset = on_reset};
static const h2_callbacks client_callbacks = {
    .on_headers = client_headers, .on_data = client_data, .on_reset = on_reset};

/* ---- relay: the user of a stream is the stream on the other side */

static void relay_request(h2_stream *s, h2_headers_kind kind, http_fields *fields, bool end) {
    h2_stream *peer = NULL;
    http_trace trace;
    int64_t left = 0;
    char text[HTTP_TRACEPARENT_LEN], timeout[HTTP_TIMEOUT_TEXT];
    if (kind != H2_HEADERS_REQUEST) die("trailers of a request");
    const http_field *parent = http_fields_find(fields, HTTP_NAME_TRACEPARENT);
    const http_field *limit = http_fields_find(fields, HTTP_NAME_GRPC_TIMEOUT);
    must(!parent || http_traceparent_parse(parent->value, parent->value_len, &trace), "trace");
    must(!limit || http_timeout_parse(limit->value, limit->value_len, &left), "timeout");
    trace.span_id[3]++;
    http_traceparent_format(&trace, text);
    const size_t n = http_timeout_format(left - 1000, timeout);
    must(http_fields_set(fields,
                         http_field_known(w.fields, HTTP_NAME_TRACEPARENT, text, sizeof text)),
         "set");
    must(http_fields_set(fields, http_field_known(w.fields, HTTP_NAME_GRPC_TIMEOUT, timeout, n)),
         "set");
    must(h2_request(w.up, fields, end, s, &peer), "relay");
    h2_stream_set_user(s, peer);
}

static void relay_data(h2_stream *s, const weft_slice *data, bool end) {
    const int64_t sent = h2_send_data(h2_stream_user(s), data, 1, end);
    must(sent != (int64_t)data->len, "relay data");
    h2_consume(s, (size_t)sent);
}

static void relay_response(h2_stream *s, h2_headers_kind kind, http_fields *fields, bool end) {
    h2_stream *peer = h2_stream_user(s);
    if (kind == H2_HEADERS_RESPONSE) {
        must(h2_respond(peer, fields, end), "relay response");
    } else {
        must(h2_send_trailers(peer, fields), "relay trailers");
    }
    if (!end) return;
    h2_stream_release(peer);
    h2_stream_release(s);
}

static const h2_callbacks down_callbacks = {
    .on_headers = relay_request, .on_data = relay_data, .on_reset = on_reset};
static const h2_callbacks up_callbacks = {
    .on_headers = relay_response, .on_data = relay_data, .on_reset = on_reset};

static void add(http_fields *list, const char *name, const char *value) {
    must(http_fields_push(list,
                          http_field_intern(w.fields, name, strlen(name), value, strlen(value))),
         name);
}

static void hex(char *out, size_t digits) {
    for (size_t i = 0; i < digits; i += 16) {
        uint64_t bits = weft_rng_u64(&w.rng);
        for (size_t k = i; k < digits && k < i + 16; k++, bits >>= 4) {
            out[k] = "0123456789abcdef"[bits & 15];
        }
    }
}

static void call(void) {
    char trace[HTTP_TRACEPARENT_LEN + 1] = "00-", id[36], timeout[HTTP_TIMEOUT_TEXT];
    http_fields list;
    http_fields_init(&list, w.fields);
    must(http_fields_copy(&list, &w.request), "copy");
    hex(trace + 3, 32);
    trace[35] = '-';
    hex(trace + 36, 16);
    memcpy(trace + 52, "-01", 3);
    hex(id, 36);
    id[8] = id[13] = id[18] = id[23] = '-';
    const size_t n = http_timeout_format((int64_t)weft_rng_below(&w.rng, 10000000000), timeout);
    must(http_fields_add_known(&list, HTTP_NAME_TRACEPARENT, trace, 55), "traceparent");
    must(http_fields_add_known(&list, HTTP_NAME_GRPC_TIMEOUT, timeout, n), "timeout");
    must(http_fields_add_known(&list, HTTP_NAME_REQUEST_ID, id, 36), "request id");
    h2_stream *s = NULL;
    must(h2_request(w.client, &list, false, &w, &s), "request");
    const weft_slice data = {body, BODY, NULL};
    must(h2_send_data(s, &data, 1, true) != BODY, "send");
    http_fields_clear(&list);
}

static void pass(h2_conn *from, weft_chain *wire, h2_conn *to) {
    must(h2_conn_output(from, wire) < 0, "output");
    while (wire->bytes) {
        const weft_slice *piece = &wire->head->slice;
        must(h2_conn_input(to, piece->data, piece->len, piece->chunk), h2_conn_reason(to));
        weft_chain_consume(wire, piece->len);
    }
}

static void exchange(void) {
    pass(w.client, &w.to_server, w.down ? w.down : w.server);
    if (w.down) pass(w.up, &w.to_up, w.server);
    pass(w.server, &w.to_client, w.up ? w.up : w.client);
    if (w.down) pass(w.down, &w.to_down, w.client);
}

static int counter_open(void) {
    struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
                                   .size = sizeof attr,
                                   .config = PERF_COUNT_HW_INSTRUCTIONS,
                                   .disabled = 1,
                                   .exclude_kernel = 1,
                                   .exclude_hv = 1};
    return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static void set_up(bool hop) {
    h2_limits *limits = calloc(1, sizeof *limits);
    if (!limits) die("memory");
    h2_limits_peer(limits);
    weft_rng_seed(&w.rng, 1);
    w.chunks = weft_chunk_pool_new(0, 0);
    w.fields = http_pool_new(0, 1);
    w.env = h2_env_new(w.chunks, w.fields, 1);
    w.server = h2_conn_new(w.env, H2_SERVER, limits, &server_callbacks, limits);
    w.client = h2_conn_new(w.env, H2_CLIENT, limits, &client_callbacks, NULL);
    if (hop) {
        w.down = h2_conn_new(w.env, H2_SERVER, limits, &down_callbacks, NULL);
        w.up = h2_conn_new(w.env, H2_CLIENT, limits, &up_callbacks, NULL);
    }
    weft_chain_init(&w.to_down, w.chunks);
    weft_chain_init(&w.to_up, w.chunks);
    weft_chain_init(&w.to_server, w.chunks);
    weft_chain_init(&w.to_client, w.chunks);
    http_fields_init(&w.request, w.fields);
    http_fields_init(&w.response, w.fields);
    http_fields_init(&w.trailers, w.fields);
    add(&w.request, ":method", "POST");
    add(&w.request, ":scheme", "http");
    add(&w.request, ":path", "/shop.product.v1.ProductService/GetProduct");
    add(&w.request, ":authority", "product.shop:8080");
    add(&w.request, "te", "trailers");
    add(&w.request, "content-type", "application/grpc");
    add(&w.request, "user-agent", "grpc-c/40.0.0 (linux; chttp2)");
    add(&w.request, "grpc-accept-encoding", "identity, deflate, gzip");
    add(&w.response, ":status", "200");
    add(&w.response, "content-type", "application/grpc");
    add(&w.response, "grpc-accept-encoding", "identity, deflate, gzip");
    add(&w.trailers, "grpc-status", "0");
    for (size_t i = 0; i < BODY; i++) body[i] = (uint8_t)(i * 7);
    for (int i = 0; i < 3; i++) exchange();
}

static void tear_down(void) {
    h2_limits *limits = h2_conn_user(w.server);
    h2_conn_free(w.down, 0);
    h2_conn_free(w.up, 0);
    weft_chain_clear(&w.to_down);
    weft_chain_clear(&w.to_up);
    h2_conn_free(w.client, 0);
    h2_conn_free(w.server, 0);
    http_fields_clear(&w.request);
    http_fields_clear(&w.response);
    http_fields_clear(&w.trailers);
    weft_chain_clear(&w.to_server);
    weft_chain_clear(&w.to_client);
    h2_env_free(w.env);
    http_pool_free(w.fields);
    weft_chunk_pool_free(w.chunks);
    free(limits);
}

int main(int argc, char **argv) {
    const long calls = argc > 1 ? strtol(argv[1], NULL, 10) : 200000;
    const long at_once = argc > 2 ? strtol(argv[2], NULL, 10) : 16;
    const bool hop = argc > 3 && !strcmp(argv[3], "hop");
    set_up(hop);
    const int counter = counter_open();
    long long instructions = 0;
    const int64_t began = weft_now(NULL);
    if (counter >= 0) ioctl(counter, PERF_EVENT_IOC_ENABLE, 0);
    for (long sent = 0; sent < calls;) {
        for (long i = 0; i < at_once && sent < calls; i++, sent++) call();
        exchange();
    }
    if (counter >= 0) ioctl(counter, PERF_EVENT_IOC_DISABLE, 0);
    const int64_t took = weft_now(NULL) - began;
    if (w.done != calls || w.wrong) die("not every call was answered right");
    printf("h2_pair%s: %ld calls, %ld at once: %.0f ns", hop ? " hop" : "", calls, at_once,
           (double)took / (double)calls / (hop ? 4 : 2));
    if (counter >= 0 && read(counter, &instructions, sizeof instructions) == sizeof instructions) {
        printf(", %.0f instructions", (double)instructions / (double)calls / (hop ? 4 : 2));
    }
    printf(" a call and side\n");
    tear_down();
    return 0;
}
