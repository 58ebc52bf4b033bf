#include "tests/fuzz/fuzz_h2.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/h2_rig.h"
#include "weft/clock.h"

#define HANDLES 64

typedef struct app {
    h2_rig rig;
    h2_conn *conn;
    weft_chain wire;
    h2_stream *handles[HANDLES];
} app;

static app *A;

static uint64_t below(uint64_t n) { return weft_rng_below(&A->rig.rng, n); }

static void forget(h2_stream *s) {
    const size_t at = (size_t)(uintptr_t)h2_stream_user(s);
    A->handles[at] = NULL;
    h2_stream_release(s);
}

static bool keep(h2_stream *s) {
    for (size_t i = 0; i < HANDLES; i++) {
        if (A->handles[i]) continue;
        A->handles[i] = s;
        h2_stream_set_user(s, (void *)(uintptr_t)i);
        return true;
    }
    h2_stream_release(s);
    return false;
}

static void act(h2_stream *s) {
    static const uint8_t zeros[40000];
    const weft_slice slice = {zeros, below(4) ? below(300) : below(sizeof zeros), NULL};
    http_fields list;
    switch (below(8)) {
    case 0:
        rig_fields(&A->rig, &list, ":status", below(5) ? "200" : "103", "x", "y", NULL);
        (void)!h2_respond(s, &list, !below(3));
        http_fields_clear(&list);
        break;
    case 1:
    case 2:
        (void)!h2_send_data(s, &slice, 1, !below(4));
        break;
    case 3:
        rig_fields(&A->rig, &list, "grpc-status", "0", NULL);
        (void)!h2_send_trailers(s, &list);
        http_fields_clear(&list);
        break;
    case 4:
        h2_consume(s, h2_stream_buffered(s));
        break;
    case 5:
        if (!below(4)) h2_reset(s, H2_CANCEL);
        break;
    case 6:
        if (!below(4)) forget(s);
        break;
    default:
        break;
    }
}

static void on_headers(h2_stream *s, h2_headers_kind kind, http_fields *fields, bool end) {
    (void)end;
    for (uint32_t i = 0; i < fields->count; i++) {
        if (fields->at[i]->flags & HTTP_FIELD_BAD) abort();
    }
    if (kind == H2_HEADERS_REQUEST && !keep(s)) return;
    if (below(30)) {
        act(s);
        return;
    }
    h2_conn *conn = A->conn;
    A->conn = NULL;
    h2_conn_free(conn, 0); /* every stream is reported, this one too */
}

static void on_data(h2_stream *s, const weft_slice *data, bool end) {
    volatile uint8_t sum = 0;
    (void)end;
    for (size_t i = 0; i < data->len; i++) sum = (uint8_t)(sum + data->data[i]);
    act(s);
}

static void on_reset(h2_stream *s, const h2_reset_info *info) {
    if (!info->text || h2_stream_open(s)) abort();
    forget(s);
}

static const h2_callbacks callbacks = {
    .on_headers = on_headers, .on_data = on_data, .on_reset = on_reset};

static void request(void) {
    http_fields list;
    h2_stream *s = NULL;
    rig_fields(&A->rig, &list, ":method", below(5) ? "POST" : "HEAD", ":scheme", "http", ":path",
               "/", ":authority", "a", NULL);
    if (!h2_request(A->conn, &list, below(2), NULL, &s)) keep(s);
    http_fields_clear(&list);
}

static void between(h2_role role) {
    if (!A->conn) return;
    if (role == H2_CLIENT && below(2)) request();
    h2_stream *s = A->handles[below(HANDLES)];
    if (s) act(s);
    if (below(3)) {
        if (h2_conn_output(A->conn, &A->wire) >= 0 && below(3)) weft_chain_clear(&A->wire);
    }
    if (!below(20)) h2_conn_drain(A->conn);
    if (!below(10)) {
        rig_advance(&A->rig, (int64_t)below(12000) * WEFT_NS_PER_MS);
        (void)!h2_conn_tick(A->conn);
    }
}

static void limits_of(h2_limits *limits, unsigned choice) {
    if (choice & 1) h2_limits_stranger(limits);
    if (choice & 2) {
        limits->max_streams = 4;
        limits->stream_window = 100;
        limits->buffered_max = limits->conn_window = 65535;
        limits->output_high = 1000;
        limits->hpack_decoder_table = 200;
        limits->idle_timeout = WEFT_NS_PER_S;
    }
}

int fuzz_h2(h2_role role, const uint8_t *data, size_t size) {
    static const uint8_t opening[] =
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\0\4\1\0\0\0\0";
    static app a;
    if (size < 2) return 0;
    memset(&a, 0, sizeof a);
    A = &a;
    rig_begin(&a.rig, data[1]);
    limits_of(&a.rig.limits, data[0] & 3u);
    weft_chain_init(&a.wire, a.rig.chunks);
    a.conn = h2_conn_new(a.rig.env, role, &a.rig.limits, &callbacks, NULL);
    const size_t most = (data[0] >> 3) ? (size_t)(data[0] >> 3) * 3 : size;
    if (data[0] & 4) {
        const size_t skip = role == H2_SERVER ? 0 : 24;
        if (h2_conn_input(a.conn, opening + skip, sizeof opening - 1 - skip, NULL)) abort();
    }
    between(role);
    for (size_t at = 2; at < size && a.conn;) {
        const size_t n = size - at < most ? size - at : most;
        uint8_t *exact = malloc(n);
        memcpy(exact, data + at, n);
        h2_conn *conn = a.conn;
        const int failed = h2_conn_input(conn, exact, n, NULL);
        free(exact);
        at += n;
        if (failed) break;
        between(role);
    }
    if (a.conn) h2_conn_free(a.conn, 0);
    for (size_t i = 0; i < HANDLES; i++) {
        if (a.handles[i]) h2_stream_release(a.handles[i]);
    }
    weft_chain_clear(&a.wire);
    rig_end(&a.rig);
    return 0;
}
