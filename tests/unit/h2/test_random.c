/* Random histories: two engines, every kind of action on either side, bytes cut anywhere. Every byte is
 * checked, windows are compared, and in the end nothing may be left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/h2_rig.h"

/* One side's view of one stream. */
typedef struct talk {
    struct talk *next;
    h2_stream *stream;
    uint32_t id;
    bool server;
    bool responded, ended; /* ours */
    bool heard, over;      /* headers came; the peer is done, or it was reset */
    size_t sent, received, unconsumed;
    uint64_t sent_sum; /* on_sent and immediate */
} talk;

#define MOST_IDS 40000

typedef struct history {
    h2_rig rig;
    h2_end client, server;
    talk *talks;
    size_t alive;
    uint64_t opened, completed, resets, refused, data_bytes, whole;
    int32_t sizes[2][MOST_IDS]; /* what a side sent on a stream in all, once it ended; else -1 */
} history;

static history *H;

static uint8_t byte_at(uint32_t id, bool from_server, size_t at) {
    return (uint8_t)(id * 31 + at * 7 + (at >> 8) + (from_server ? 101 : 0));
}

static talk *talk_new(h2_stream *s, bool server) {
    talk *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->stream = s;
    t->id = h2_stream_id(s);
    t->server = server;
    t->next = H->talks;
    H->talks = t;
    H->alive++;
    h2_stream_set_user(s, t);
    return t;
}

static void talk_end(talk *t) {
    talk **at = &H->talks;
    while (*at != t) at = &(*at)->next;
    *at = t->next;
    H->alive--;
    h2_stream_release(t->stream);
    free(t);
}

static void ended(talk *t) {
    t->ended = true;
    assert_true(t->id < MOST_IDS);
    H->sizes[t->server][t->id] = (int32_t)t->sent;
}

static void check_whole(const talk *t) {
    assert_int_equal(H->sizes[!t->server][t->id], t->received);
    H->whole++;
}

static uint64_t below(uint64_t n) { return weft_rng_below(&H->rig.rng, n); }

static void on_headers(h2_stream *s, h2_headers_kind kind, http_fields *fields, bool end) {
    talk *t = h2_stream_user(s);
    if (kind == H2_HEADERS_REQUEST) {
        if (!below(50)) {
            H->refused++;
            h2_stream_release(s);
            return;
        }
        t = talk_new(s, true);
        assert_non_null(http_fields_find(fields, HTTP_NAME_PATH));
    }
    assert_false(t->over);
    if (kind != H2_HEADERS_INFORM) t->heard = true;
    if (end) {
        t->over = true;
        check_whole(t);
    }
    if (!below(3)) {
        http_fields kept;
        http_fields_init(&kept, H->rig.fields);
        assert_int_equal(http_fields_move(&kept, fields), 0);
        http_fields_clear(&kept);
    }
    if (!below(100)) talk_end(t);
}

static void on_data(h2_stream *s, const weft_slice *data, bool end) {
    talk *t = h2_stream_user(s);
    assert_false(t->over);
    for (size_t i = 0; i < data->len; i++) {
        assert_int_equal(data->data[i], byte_at(t->id, !t->server, t->received + i));
    }
    t->received += data->len;
    t->unconsumed += data->len;
    H->data_bytes += data->len;
    if (end) {
        t->over = true;
        check_whole(t);
    }
    if (below(2)) {
        h2_consume(s, t->unconsumed);
        t->unconsumed = 0;
    }
    if (!below(200)) talk_end(t);
}

static void on_reset(h2_stream *s, const h2_reset_info *info) {
    talk *t = h2_stream_user(s);
    assert_false(h2_stream_open(s));
    assert_non_null(info->text);
    H->resets++;
    t->over = t->ended = true;
    if (below(2)) talk_end(t);
}

static void on_sent(h2_stream *s, size_t size) {
    talk *t = h2_stream_user(s);
    t->sent_sum += size;
    assert_true(t->sent_sum <= t->sent);
    if (!below(100)) talk_end(t);
}

static const h2_callbacks callbacks = {
    .on_headers = on_headers, .on_data = on_data, .on_reset = on_reset, .on_sent = on_sent};

/* ---- actions */

static void open_one(void) {
    http_fields list;
    h2_stream *s = NULL;
    char number[24];
    snprintf(number, sizeof number, "%u", (unsigned)below(1000));
    rig_fields(&H->rig, &list, ":method", "POST", ":scheme", "http", ":path", "/a.B/C",
               ":authority", number, "te", "trailers", "x-small", number, "grpc-timeout", "1S",
               NULL);
    if (!below(10)) {
        char *large = malloc(20001);
        memset(large, 'v', 20000);
        large[20000] = 0;
        assert_int_equal(http_fields_add_text(&list, "x-large", large), 0);
        free(large);
    }
    const bool end = !below(4);
    const int got = h2_request(H->client.conn, &list, end, NULL, &s);
    http_fields_clear(&list);
    if (got == WEFT_EAGAIN) return;
    assert_int_equal(got, 0);
    H->opened++;
    talk *t = talk_new(s, false);
    if (end) ended(t);
}

static talk *any(void) {
    if (!H->alive) return NULL;
    talk *t = H->talks;
    for (uint64_t skip = below(H->alive < 40 ? H->alive : 40); skip; skip--) t = t->next;
    return t;
}

static void send_some(talk *t, bool end) {
    static uint8_t buffer[60000];
    const size_t size = below(8) ? below(300) : below(sizeof buffer);
    for (size_t i = 0; i < size; i++) buffer[i] = byte_at(t->id, t->server, t->sent + i);
    weft_chain chain;
    weft_chain_init(&chain, H->rig.chunks);
    assert_int_equal(weft_chain_add(&chain, buffer, size), 0);
    weft_slice slices[8];
    size_t count = 0;
    for (weft_link *at = chain.head; at; at = at->next) slices[count++] = at->slice;
    const int64_t n = h2_send_data(t->stream, slices, count, end);
    weft_chain_clear(&chain);
    assert_true(n >= 0 || n == WEFT_ELIMIT);
    if (n < 0) return;
    assert_true((size_t)n <= size);
    t->sent += size;
    t->sent_sum += (size_t)n;
    if (end) ended(t);
}

static void act(talk *t) {
    http_fields list;
    const uint64_t what = below(20);
    if (what == 0) {
        talk_end(t);
    } else if (what == 1 && !below(4)) {
        h2_reset(t->stream, H2_CANCEL);
        t->over = t->ended = true;
    } else if (what < 6) {
        h2_consume(t->stream, t->unconsumed);
        t->unconsumed = 0;
    } else if (!h2_stream_open(t->stream) || t->ended) {
        if (t->over && below(2)) {
            H->completed++;
            talk_end(t);
        }
    } else if (t->server && !t->responded) {
        const bool inform = !below(10), end = !inform && !below(10);
        rig_fields(&H->rig, &list, ":status", inform ? "103" : "200", "grpc-x", "y", NULL);
        assert_int_equal(h2_respond(t->stream, &list, end), 0);
        http_fields_clear(&list);
        t->responded = !inform;
        if (end) ended(t);
    } else if (what < 9) {
        rig_fields(&H->rig, &list, "grpc-status", "0", NULL);
        assert_int_equal(h2_send_trailers(t->stream, &list), 0);
        http_fields_clear(&list);
        ended(t);
    } else {
        send_some(t, !below(6));
    }
}

static void transfer(void) {
    const bool there = below(2);
    h2_end *from = there ? &H->client : &H->server;
    h2_end *to = there ? &H->server : &H->client;
    const size_t piece = below(4) ? 0 : 1 + below(40);
    const int64_t n = rig_pass(from, to->conn, 1 + below(below(3) ? 100000 : 500), piece, below(2));
    if (n < 0) fail_msg("%d %s / %s", (int)n, h2_conn_reason(from->conn), h2_conn_reason(to->conn));
}

static void check_windows(void) {
    const h2_conn_info c = h2_conn_get_info(H->client.conn), s = h2_conn_get_info(H->server.conn);
    assert_true(c.send_window >= 0 && s.send_window >= 0);
    assert_true(c.recv_window >= 0 && s.recv_window >= 0);
    assert_true(c.send_window <= s.recv_window && s.send_window <= c.recv_window);
    assert_true(c.buffered <= H->rig.limits.buffered_max);
    assert_true(s.buffered <= H->rig.limits.buffered_max);
}

static void run(uint64_t seed, int steps, const h2_limits *limits) {
    static history h;
    memset(&h, 0, sizeof h);
    memset(h.sizes, -1, sizeof h.sizes);
    H = &h;
    rig_begin(&h.rig, seed);
    if (limits) h.rig.limits = *limits;
    weft_chain_init(&h.client.wire, h.rig.chunks);
    weft_chain_init(&h.server.wire, h.rig.chunks);
    h.client.conn = h2_conn_new(h.rig.env, H2_CLIENT, &h.rig.limits, &callbacks, NULL);
    h.server.conn = h2_conn_new(h.rig.env, H2_SERVER, &h.rig.limits, &callbacks, NULL);
    for (int i = 0; i < steps; i++) {
        const uint64_t what = below(10);
        if (what < 1) {
            open_one();
        } else if (what < 6) {
            talk *t = any();
            if (t) act(t);
        } else {
            transfer();
        }
        if (i % 64 == 0) check_windows();
    }
    /* Everybody lets go; then nothing is owed. */
    assert_int_equal(rig_settle(&h.client, &h.server), 0);
    while (h.talks) talk_end(h.talks);
    assert_int_equal(rig_settle(&h.client, &h.server), 0);
    const h2_conn_info c = h2_conn_get_info(h.client.conn), s = h2_conn_get_info(h.server.conn);
    assert_int_equal(c.buffered, 0);
    assert_int_equal(s.buffered, 0);
    assert_int_equal(c.streams_local, 0);
    assert_int_equal(s.streams_peer, 0);
    assert_true(c.send_window == s.recv_window);
    assert_true(s.send_window == c.recv_window);
    assert_true(s.recv_window >= h.rig.limits.conn_window / 2);
    assert_true(h.opened > (uint64_t)steps / 40 && h.completed > 10 && h.resets > 0);
    assert_true(h.whole > h.opened / 8);
    weft_chain_clear(&h.client.wire);
    weft_chain_clear(&h.server.wire);
    h2_conn_free(h.client.conn, 0);
    h2_conn_free(h.server.conn, 0);
    rig_end(&h.rig);
}

static void test_peer_limits(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) run(seed, 20000, NULL);
}

static void test_tight_limits(void **state) {
    (void)state;
    h2_limits tight;
    h2_limits_peer(&tight);
    tight.max_streams = 12;
    tight.stream_window = 5000;
    tight.conn_window = 65535;
    tight.buffered_max = 100000;
    tight.output_high = 20000;
    tight.made_reset_max = tight.reset_min = 100000;
    for (uint64_t seed = 1; seed <= 10; seed++) run(seed, 20000, &tight);
}

/* The connection goes away in the middle of everything. */
static void test_sudden_end(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        static history h;
        memset(&h, 0, sizeof h);
        memset(h.sizes, -1, sizeof h.sizes);
        H = &h;
        rig_begin(&h.rig, seed);
        weft_chain_init(&h.client.wire, h.rig.chunks);
        weft_chain_init(&h.server.wire, h.rig.chunks);
        h.client.conn = h2_conn_new(h.rig.env, H2_CLIENT, &h.rig.limits, &callbacks, NULL);
        h.server.conn = h2_conn_new(h.rig.env, H2_SERVER, &h.rig.limits, &callbacks, NULL);
        for (uint64_t i = below(2000); i; i--) {
            talk *t = any();
            if (!below(8)) open_one();
            if (t && below(2)) act(t);
            transfer();
        }
        weft_chain_clear(&h.client.wire);
        weft_chain_clear(&h.server.wire);
        h2_conn_free(h.client.conn, 0);
        h2_conn_free(h.server.conn, 0);
        while (h.talks) {
            assert_false(h2_stream_open(h.talks->stream));
            assert_null(h2_stream_conn(h.talks->stream));
            talk_end(h.talks);
        }
        rig_end(&h.rig);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peer_limits),
        cmocka_unit_test(test_tight_limits),
        cmocka_unit_test(test_sudden_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
