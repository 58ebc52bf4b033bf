/* Our engine and a session of libnghttp2 back to back, in both roles: echo of random bodies with trailers,
 * cancels among them, windows small enough to block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/h2_rig.h"

#define CALLS 3000
#define BODY_MOST 150000
#define IDS (2 * CALLS + 2)

/* What each stream sends and got back, by stream identifier. */
typedef struct call {
    uint32_t size, sent, echoed;
    bool closed, cancelled, trailers, failed;
    uint8_t *queue; /* nghttp2 as server: what it has to echo */
    uint32_t queued, taken;
    bool ended, deferred;
} call;

typedef struct both {
    h2_rig rig;
    h2_end ours;
    nghttp2_session *theirs;
    call calls[IDS];
    unsigned open;
    unsigned finished;
} both;

static both *B;

static uint64_t below(uint64_t n) { return weft_rng_below(&B->rig.rng, n); }
static uint8_t byte_at(uint32_t id, uint32_t at) { return (uint8_t)(id * 13 + at * 3 + (at >> 9)); }

static uint32_t any_size(void) { return (uint32_t)(below(4) ? below(300) : below(BODY_MOST)); }

static void check_echo(uint32_t id, const uint8_t *data, size_t len) {
    call *c = &B->calls[id];
    for (size_t i = 0; i < len; i++)
        assert_int_equal(data[i], byte_at(id, c->echoed + (uint32_t)i));
    c->echoed += (uint32_t)len;
}

static void finish(uint32_t id) {
    call *c = &B->calls[id];
    assert_false(c->closed);
    c->closed = true;
    B->open--;
    B->finished++;
    if (c->cancelled) return;
    assert_false(c->failed);
    assert_true(c->trailers);
    assert_int_equal(c->echoed, c->size);
}

static void pump(void) {
    for (int quiet = 0; quiet < 2;) {
        bool any = false;
        const uint8_t *data = NULL;
        ssize_t n = 0;
        while ((n = nghttp2_session_mem_send(B->theirs, &data)) > 0) {
            any = true;
            for (size_t at = 0; at < (size_t)n;) {
                size_t piece = 1 + below(20000);
                if (piece > (size_t)n - at) piece = (size_t)n - at;
                const int failed = h2_conn_input(B->ours.conn, data + at, piece, NULL);
                if (failed) fail_msg("ours: %s", h2_conn_reason(B->ours.conn));
                at += piece;
            }
        }
        assert_int_equal(n, 0);
        assert_true(h2_conn_output(B->ours.conn, &B->ours.wire) >= 0);
        while (B->ours.wire.bytes) {
            const weft_slice *head = &B->ours.wire.head->slice;
            any = true;
            n = nghttp2_session_mem_recv(B->theirs, head->data, head->len);
            if (n < 0) fail_msg("nghttp2: %s", nghttp2_strerror((int)n));
            weft_chain_consume(&B->ours.wire, (size_t)n);
        }
        quiet = any ? 0 : quiet + 1;
    }
}

/* ---- our side as a server: echoes */

static void echo_headers(h2_stream *s, h2_headers_kind kind, http_fields *fields, bool end) {
    http_fields list;
    if (kind == H2_HEADERS_REQUEST) {
        assert_non_null(http_fields_find(fields, HTTP_NAME_PATH));
        h2_stream_set_user(s, &B->calls[h2_stream_id(s)]);
        rig_fields(&B->rig, &list, ":status", "200", "content-type", "application/grpc", NULL);
        assert_int_equal(h2_respond(s, &list, false), 0);
        http_fields_clear(&list);
    }
    if (!end) return;
    rig_fields(&B->rig, &list, "grpc-status", "0", NULL);
    assert_int_equal(h2_send_trailers(s, &list), 0);
    http_fields_clear(&list);
    if (!h2_stream_open(s) || !h2_stream_queued(s)) h2_stream_release(s);
}

static void echo_data(h2_stream *s, const weft_slice *data, bool end) {
    const int64_t n = h2_send_data(s, data, 1, false);
    assert_true(n >= 0);
    if (n) h2_consume(s, (size_t)n);
    http_fields none;
    http_fields_init(&none, B->rig.fields);
    if (end) echo_headers(s, H2_HEADERS_TRAILERS, &none, true);
}

/* The last bytes, and the trailers behind them, may go out long after the request. */
static void echo_sent(h2_stream *s, size_t size) {
    h2_consume(s, size);
    if (!h2_stream_open(s)) h2_stream_release(s);
}

static void echo_reset(h2_stream *s, const h2_reset_info *info) {
    assert_false(info->conn_lost);
    h2_stream_release(s);
}

static const h2_callbacks echo = {
    .on_headers = echo_headers, .on_data = echo_data, .on_reset = echo_reset, .on_sent = echo_sent};

/* ---- nghttp2 as a client */

static ssize_t body_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *user) {
    call *c = source->ptr;
    (void)session;
    (void)user;
    size_t n = c->size - c->sent < length ? c->size - c->sent : length;
    for (size_t i = 0; i < n; i++) buf[i] = byte_at((uint32_t)id, c->sent + (uint32_t)i);
    c->sent += (uint32_t)n;
    if (c->sent == c->size) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static int client_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                       size_t len, void *user) {
    (void)session;
    (void)flags;
    (void)user;
    check_echo((uint32_t)id, data, len);
    return 0;
}

static int client_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                         size_t namelen, const uint8_t *value, size_t valuelen, uint8_t flags,
                         void *user) {
    (void)session;
    (void)flags;
    (void)user;
    if (namelen == 11 && !memcmp(name, "grpc-status", 11)) {
        assert_int_equal(valuelen, 1);
        assert_int_equal(value[0], '0');
        B->calls[frame->hd.stream_id].trailers = true;
    }
    return 0;
}

static int client_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    (void)session;
    (void)user;
    if (code && !B->calls[id].cancelled) B->calls[id].failed = true;
    finish((uint32_t)id);
    return 0;
}

#define NV(n, v) \
    { (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), sizeof(n) - 1, sizeof(v) - 1, 0 }

static void begin(both *b, h2_role role, const h2_callbacks *cb,
                  const nghttp2_session_callbacks *ncb, uint32_t window) {
    memset(b, 0, sizeof *b);
    B = b;
    rig_begin(&b->rig, 11);
    b->rig.limits.stream_window = window;
    b->rig.limits.reset_min = CALLS;
    weft_chain_init(&b->ours.wire, b->rig.chunks);
    b->ours.conn = h2_conn_new(b->rig.env, role, &b->rig.limits, cb, NULL);
    if (role == H2_SERVER) {
        nghttp2_session_client_new(&b->theirs, ncb, b);
    } else {
        nghttp2_session_server_new(&b->theirs, ncb, b);
    }
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
                                               {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 50},
                                               {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 1000}};
    nghttp2_submit_settings(b->theirs, 0, settings, 3);
}

static void end(both *b) {
    pump();
    assert_int_equal(b->finished, CALLS);
    assert_int_equal(h2_conn_get_info(b->ours.conn).buffered, 0);
    weft_chain_clear(&b->ours.wire);
    h2_conn_free(b->ours.conn, 0);
    nghttp2_session_del(b->theirs);
    rig_end(&b->rig);
}

static void test_their_client(void **state) {
    (void)state;
    nghttp2_session_callbacks *cb = NULL;
    both *b = calloc(1, sizeof *b);
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, client_data);
    nghttp2_session_callbacks_set_on_header_callback(cb, client_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, client_close);
    begin(b, H2_SERVER, &echo, cb, 70000);
    for (unsigned sent = 0; sent < CALLS;) {
        for (uint64_t n = 1 + below(30); n && sent < CALLS; n--, sent++) {
            char number[24];
            const int digits = snprintf(number, sizeof number, "%u", (unsigned)below(5000));
            nghttp2_nv nv[] = {NV(":method", "POST"),
                               NV(":scheme", "http"),
                               NV(":path", "/a.B/Echo"),
                               NV(":authority", "here"),
                               NV("te", "trailers"),
                               NV("x-request-id", ""),
                               NV("content-type", "application/grpc")};
            nv[5].value = (uint8_t *)number;
            nv[5].valuelen = (size_t)digits;
            const uint32_t id = 1 + 2 * sent;
            call *c = &b->calls[id];
            c->size = any_size();
            const nghttp2_data_provider body = {.source = {.ptr = c}, .read_callback = body_read};
            assert_int_equal(nghttp2_submit_request(b->theirs, NULL, nv, 7, &body, NULL), id);
            b->open++;
            if (!below(10)) {
                c->cancelled = true;
                if (below(2)) pump();
                if (!c->closed)
                    nghttp2_submit_rst_stream(b->theirs, 0, (int32_t)id, NGHTTP2_CANCEL);
            }
        }
        pump();
    }
    end(b);
    nghttp2_session_callbacks_del(cb);
    free(b);
}

/* ---- nghttp2 as a server: echoes too */

static ssize_t echo_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *user) {
    call *c = source->ptr;
    (void)user;
    size_t n = c->queued - c->taken < length ? c->queued - c->taken : length;
    if (n) memcpy(buf, c->queue + c->taken, n);
    c->taken += (uint32_t)n;
    if (c->ended && c->taken == c->queued) {
        nghttp2_nv nv[] = {NV("grpc-status", "0"), NV("grpc-message", "")};
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(session, id, nv, 2);
        return (ssize_t)n;
    }
    if (n) return (ssize_t)n;
    c->deferred = true;
    return NGHTTP2_ERR_DEFERRED;
}

static void wake(nghttp2_session *session, uint32_t id) {
    if (!B->calls[id].deferred) return;
    B->calls[id].deferred = false;
    nghttp2_session_resume_data(session, (int32_t)id);
}

static int server_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    const uint32_t id = (uint32_t)frame->hd.stream_id;
    call *c = &B->calls[id % IDS];
    (void)user;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        nghttp2_nv nv[] = {NV(":status", "200"), NV("content-type", "application/grpc")};
        const nghttp2_data_provider body = {.source = {.ptr = c}, .read_callback = echo_read};
        c->queue = malloc(BODY_MOST);
        nghttp2_submit_response(session, (int32_t)id, nv, 2, &body);
    }
    if (id && frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
        (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)) {
        c->ended = true;
        wake(session, id);
    }
    return 0;
}

static int server_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                       size_t len, void *user) {
    call *c = &B->calls[id];
    (void)flags;
    (void)user;
    assert_true(c->queued + len <= BODY_MOST);
    memcpy(c->queue + c->queued, data, len);
    c->queued += (uint32_t)len;
    wake(session, (uint32_t)id);
    return 0;
}

static int server_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    (void)session;
    (void)code;
    (void)user;
    free(B->calls[id].queue);
    B->calls[id].queue = NULL;
    return 0;
}

/* ---- our side as a client */

static void ours_done(h2_stream *s) {
    const uint32_t id = h2_stream_id(s);
    h2_stream_release(s);
    finish(id);
}

static void ours_headers(h2_stream *s, h2_headers_kind kind, http_fields *fields, bool end) {
    if (kind == H2_HEADERS_TRAILERS)
        B->calls[h2_stream_id(s)].trailers =
            http_fields_find(fields, HTTP_NAME_GRPC_STATUS) != NULL;
    if (end) ours_done(s);
}

static void ours_data(h2_stream *s, const weft_slice *data, bool end) {
    check_echo(h2_stream_id(s), data->data, data->len);
    h2_consume(s, data->len);
    if (end) ours_done(s);
}

static void ours_reset(h2_stream *s, const h2_reset_info *info) {
    assert_true(info->by_peer);
    B->calls[h2_stream_id(s)].failed = true;
    ours_done(s);
}

static const h2_callbacks caller = {
    .on_headers = ours_headers, .on_data = ours_data, .on_reset = ours_reset};

static bool start_call(unsigned n) {
    char number[24];
    http_fields list;
    h2_stream *s = NULL;
    snprintf(number, sizeof number, "%u", (unsigned)below(5000));
    rig_fields(&B->rig, &list, ":method", "POST", ":scheme", "http", ":path", "/a.B/Echo",
               ":authority", "here", "te", "trailers", "x-request-id", number, "x-often",
               n % 3 ? "a" : "b", "grpc-timeout", "1S", NULL);
    const int got = h2_request(B->ours.conn, &list, false, NULL, &s);
    http_fields_clear(&list);
    if (got == WEFT_EAGAIN) return false;
    assert_int_equal(got, 0);
    const uint32_t id = h2_stream_id(s);
    call *c = &B->calls[id];
    c->size = any_size();
    uint8_t *body = malloc(c->size + 1);
    for (uint32_t i = 0; i < c->size; i++) body[i] = byte_at(id, i);
    const weft_slice slice = {body, c->size, NULL};
    assert_true(h2_send_data(s, &slice, 1, true) >= 0);
    free(body);
    B->open++;
    if (!below(10)) {
        if (below(2)) pump();
        if (!c->closed) {
            c->cancelled = true;
            h2_stream_release(s);
            finish(id);
        }
    }
    return true;
}

static void test_their_server(void **state) {
    (void)state;
    nghttp2_session_callbacks *cb = NULL;
    both *b = calloc(1, sizeof *b);
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, server_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, server_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, server_close);
    begin(b, H2_CLIENT, &caller, cb, 70000);
    pump();
    for (unsigned sent = 0; sent < CALLS;) {
        for (uint64_t n = 1 + below(60); n && sent < CALLS && start_call(sent); n--) sent++;
        pump();
    }
    end(b);
    for (size_t i = 0; i < IDS; i++) free(b->calls[i].queue);
    nghttp2_session_callbacks_del(cb);
    free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_their_client),
        cmocka_unit_test(test_their_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
