/* The traps of the data path, one test each; time; the end of connections; what callbacks may do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/h2/pair.h"
#include "weft/clock.h"
#include "weft/mem.h"

/* ---- the traps of performance.md (1 is in test_hpack.c) */

/* 2: bytes that nobody will read any more give their credit back, and the peer is told. */
static void test_dropped_bytes_return_credit(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    p.rig.limits.stream_window = 1 << 20;
    p.rig.limits.conn_window = p.rig.limits.buffered_max = 1 << 20;
    pair_join(&p);
    h2_stream *stalled[4], *asked[4];
    for (int i = 0; i < 4; i++) {
        asked[i] = pair_ask(&p, true);
        pair_settle(&p);
        stalled[i] = p.request;
        pair_answer(&p, stalled[i]);
        pair_send_zeros(stalled[i], 400000, false);
    }
    pair_settle(&p);
    /* The cap holds: the server may send no more until somebody reads. */
    assert_int_equal(p.received, 1 << 20);
    assert_int_equal(h2_conn_get_info(p.server.conn).send_window, 0);
    assert_int_equal(h2_conn_get_info(p.client.conn).buffered, 1 << 20);
    assert_int_equal(h2_conn_queued(p.server.conn), 4 * 400000 - (1 << 20));
    /* Both sides know: at once who holds it, after a while who may not send. */
    assert_true(h2_conn_is_stuffed(p.client.conn));
    assert_false(h2_conn_is_stuffed(p.server.conn));
    rig_advance(&p.rig, H2_STUFFED_AFTER);
    assert_true(h2_conn_is_stuffed(p.server.conn));
    pair_drop(asked[0]); /* reset with 400,000 bytes unread */
    assert_int_equal(p.client.wanted, 1);
    pair_settle(&p);
    assert_true(p.received > 1 << 20);
    for (int i = 1; i < 4; i++) pair_drop(asked[i]);
    pair_settle(&p);
    assert_int_equal(h2_conn_get_info(p.client.conn).buffered, 0);
    assert_true(h2_conn_get_info(p.server.conn).send_window >= 1 << 19);
    assert_int_equal(h2_conn_queued(p.server.conn), 0);
    assert_false(h2_conn_is_stuffed(p.client.conn));
    assert_false(h2_conn_is_stuffed(p.server.conn));
    assert_int_equal(p.resets, 4);
    pair_end(&p);
}

/* 2 again: bytes queued for sending and dropped by a reset do not count as sent. */
static void test_dropped_queue_returns_window(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    p.rig.limits.stream_window = 1000;
    pair_join(&p);
    const int64_t before = h2_conn_get_info(p.client.conn).send_window;
    h2_stream *s = pair_ask(&p, false);
    assert_int_equal(pair_send_zeros(s, 5000, true), 1000);
    assert_int_equal(h2_stream_queued(s), 4000);
    assert_int_equal(h2_conn_get_info(p.client.conn).send_window, before - 1000);
    h2_reset(s, H2_CANCEL);
    assert_int_equal(h2_stream_queued(s), 0);
    pair_drop(s);
    pair_settle(&p);
    assert_int_equal(p.reset.code, H2_CANCEL);
    assert_true(p.reset.by_peer);
    pair_end(&p);
}

/* 3: a stream that starts above the high-water mark waits, and goes on when there is room. */
static void test_opened_above_high_water(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    p.rig.limits.output_high = 20000;
    pair_join(&p);
    h2_stream *a = pair_ask(&p, false);
    assert_true(pair_send_zeros(a, 60000, true) >= 20000);
    h2_stream *b = pair_ask(&p, false);
    assert_int_equal(pair_send_zeros(b, 100, true), 0);
    assert_int_equal(h2_stream_queued(b), 100);
    pair_settle(&p);
    assert_int_equal(h2_stream_queued(a), 0);
    assert_int_equal(h2_stream_queued(b), 0);
    assert_int_equal(p.received, 60100);
    assert_int_equal(p.ends, 2);
    pair_end(&p);
}

/* 5: sparse identifiers share slots of the table, and are found all the same. */
static void test_sparse_identifiers(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    pair_join(&p);
    h2_conn *c = p.server.conn;
    /* HEADERS by hand: :method GET, :scheme http, :path / from the static table. */
    for (uint32_t i = 0; i < 900; i++) {
        const uint32_t id = 1 + i * 0x20000;
        const uint8_t frame[] = {0,
                                 0,
                                 3,
                                 1,
                                 4,
                                 (uint8_t)(id >> 24),
                                 (uint8_t)(id >> 16),
                                 (uint8_t)(id >> 8),
                                 (uint8_t)id,
                                 0x82,
                                 0x86,
                                 0x84};
        assert_int_equal(h2_conn_input(c, frame, sizeof frame, NULL), 0);
    }
    assert_int_equal(p.requests, 900);
    for (uint32_t i = 900; i--;) {
        const uint32_t id = 1 + i * 0x20000;
        const uint8_t frame[] = {
            0,           0, 1, 0, 1, (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8),
            (uint8_t)id, 7};
        assert_int_equal(h2_conn_input(c, frame, sizeof frame, NULL), 0);
    }
    assert_int_equal(p.ends, 900);
    assert_int_equal(h2_conn_get_info(c).streams_peer, 900);
    pair_end(&p);
}

/* 6: the list of a request may be gone before anything is written. */
static void test_list_is_not_kept(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    p.rig.limits.stream_window = 10;
    pair_join(&p);
    h2_stream *s = pair_ask(&p, false);
    assert_int_equal(pair_send_zeros(s, 50, false), 10);
    http_fields list;
    rig_fields(&p.rig, &list, "x-last", "word", NULL);
    assert_int_equal(h2_send_trailers(s, &list), 0);
    http_fields_clear(&list);
    h2_consume(p.request ? p.request : s, 0);
    for (int i = 0; i < 20 && !p.trailers; i++) {
        pair_settle(&p);
        if (p.request) h2_consume(p.request, h2_stream_buffered(p.request));
    }
    assert_int_equal(p.received, 50);
    assert_int_equal(p.trailers, 1);
    pair_end(&p);
}

/* ---- by reference */

static h2_stream *forward_to;
static void forward(h2_stream *s, const weft_slice *data, bool ended) {
    const int64_t n = h2_send_data(forward_to, data, 1, ended);
    assert_true(n >= 0);
    if (n) h2_consume(s, (size_t)n);
}

/* Payload that came in a chunk leaves in the same chunk. */
static void test_data_by_reference(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    pair_join(&p);
    h2_stream *s = pair_ask(&p, false);
    h2_stream *onward = pair_ask(&p, false);
    pair_settle(&p);
    forward_to = onward;
    p.on_bytes = forward;
    weft_chunk *chunk = weft_chunk_new(p.rig.chunks);
    const uint32_t id = h2_stream_id(s);
    uint8_t head[] = {0, 0x20, 0, 0, 1, 0, 0, 0, (uint8_t)id};
    memcpy(chunk->data, head, 9);
    memset(chunk->data + 9, 'r', 8192);
    chunk->used = 9 + 8192;
    assert_int_equal(h2_conn_input(p.server.conn, chunk->data, chunk->used, chunk), 0);
    assert_int_equal(chunk->refs, 2);
    assert_true(pair_output(&p.client) > 8192);
    weft_chain_clear(&p.client.wire);
    assert_int_equal(chunk->refs, 1);
    weft_chunk_unref(chunk);
    p.on_bytes = NULL;
    pair_end(&p);
}

/* ---- time */

static void test_ping(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    pair_join(&p);
    h2_conn_ping(p.client.conn);
    h2_conn_ping(p.client.conn);
    assert_true(pair_output(&p.client) == 17);
    rig_advance(&p.rig, 3 * WEFT_NS_PER_MS);
    pair_settle(&p);
    assert_int_equal(p.pongs, 1);
    assert_int_equal(p.rtt, 3 * WEFT_NS_PER_MS);
    assert_int_equal(h2_conn_get_info(p.client.conn).rtt, 3 * WEFT_NS_PER_MS);
    pair_end(&p);
}

static void test_header_timeout(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    pair_join(&p);
    const uint8_t half[] = {0, 0, 8, 6};
    assert_int_equal(h2_conn_input(p.server.conn, half, 4, NULL), 0);
    assert_true(h2_conn_deadline(p.server.conn) <= p.rig.now + p.rig.limits.header_timeout);
    rig_advance(&p.rig, p.rig.limits.header_timeout - 1);
    assert_int_equal(h2_conn_tick(p.server.conn), 0);
    rig_advance(&p.rig, 2);
    assert_int_equal(h2_conn_tick(p.server.conn), WEFT_ELIMIT);
    assert_int_equal(h2_env_stats(p.rig.env)->timeout_header, 1);
    pair_end(&p);
}

static void test_idle_timeout(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    p.rig.limits.idle_timeout = 5 * WEFT_NS_PER_S;
    p.rig.limits.ping_interval = 0;
    pair_join(&p);
    h2_stream *s = pair_ask(&p, true);
    pair_settle(&p);
    rig_advance(&p.rig, 60 * WEFT_NS_PER_S);
    assert_int_equal(h2_conn_tick(p.server.conn), 0);
    assert_int_equal(h2_env_stats(p.rig.env)->timeout_idle, 0);
    pair_drop(s);
    pair_settle(&p);
    rig_advance(&p.rig, 6 * WEFT_NS_PER_S);
    assert_true(h2_conn_deadline(p.server.conn) <= p.rig.now);
    assert_int_equal(h2_conn_tick(p.server.conn), 0);
    pair_settle(&p);
    assert_int_equal(h2_env_stats(p.rig.env)->timeout_idle, 1);
    assert_true(h2_conn_finished(p.server.conn));
    assert_true(h2_conn_finished(p.client.conn));
    pair_end(&p);
}

/* ---- the end of connections */

static void test_drain(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    pair_join(&p);
    h2_stream *s = pair_ask(&p, true);
    pair_settle(&p);
    h2_conn_drain(p.server.conn);
    h2_conn_drain(p.server.conn);
    pair_settle(&p);
    assert_int_equal(p.goaways, 2);
    assert_null(pair_ask(&p, true));
    assert_false(h2_conn_finished(p.server.conn));
    pair_answer(&p, p.request);
    assert_int_equal(pair_send_zeros(p.request, 10, true), 10);
    assert_int_equal(p.server.wanted, 1);
    pair_settle(&p);
    assert_true(h2_conn_finished(p.server.conn));
    assert_true(h2_conn_finished(p.client.conn));
    assert_false(h2_stream_open(s));
    pair_end(&p);
}

/* What was certainly never sent may be sent again elsewhere. */
static bool unprocessed_of[8];
static void note_reset(h2_stream *s, const h2_reset_info *info) {
    unprocessed_of[h2_stream_id(s) / 2] = info->unprocessed;
}

static void test_never_sent(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    static h2_callbacks own;
    own = pair_callbacks;
    own.on_reset = note_reset;
    weft_chain_init(&p.client.wire, p.rig.chunks);
    weft_chain_init(&p.server.wire, p.rig.chunks);
    p.client.conn = h2_conn_new(p.rig.env, H2_CLIENT, &p.rig.limits, &own, &p.client);
    p.server.conn = h2_conn_new(p.rig.env, H2_SERVER, &p.rig.limits, &pair_callbacks, &p.server);
    pair_settle(&p);
    pair_ask(&p, true);
    assert_true(pair_output(&p.client) > 0);
    pair_ask(&p, true);
    const int64_t second = pair_output(&p.client);
    pair_ask(&p, true);
    h2_conn_free(p.client.conn, (size_t)second);
    p.client.conn = NULL;
    assert_false(unprocessed_of[0]);
    assert_true(unprocessed_of[1]);
    assert_true(unprocessed_of[2]);
    pair_end(&p);
}

static void test_eof(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    pair_join(&p);
    assert_int_equal(h2_conn_eof(p.server.conn), 0);
    assert_true(h2_conn_finished(p.server.conn));
    pair_ask(&p, true);
    assert_int_equal(h2_conn_eof(p.client.conn), WEFT_ECLOSED);
    assert_int_equal(p.resets, 1);
    assert_true(p.reset.conn_lost);
    pair_end(&p);
}

/* ---- what pair_callbacks may do */

static void free_all(h2_stream *s, http_fields *fields) {
    (void)fields;
    h2_conn *server = P->server.conn, *client = P->client.conn;
    P->server.conn = P->client.conn = NULL;
    h2_conn_free(client, 0);
    h2_conn_free(server, 0);
    assert_false(h2_stream_open(s));
    pair_drop(s);
}

static void test_free_inside_callback(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    pair_join(&p);
    p.on_request = free_all;
    pair_ask(&p, true);
    assert_true(pair_output(&p.client) > 0);
    const weft_slice *at = &p.client.wire.head->slice;
    assert_int_equal(h2_conn_input(p.server.conn, at->data, at->len, at->chunk), WEFT_ECLOSED);
    assert_int_equal(p.resets, 2);
    rig_check(&p.rig, 0, 1); /* the client's handle */
    pair_end(&p);
}

static void refuse(h2_stream *s, http_fields *fields) {
    (void)fields;
    pair_drop(s);
}

static void test_refuse(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    pair_join(&p);
    p.on_request = refuse;
    pair_ask(&p, false);
    pair_settle(&p);
    assert_int_equal(p.reset.code, H2_REFUSED_STREAM);
    assert_true(p.reset.unprocessed);
    pair_end(&p);
}

static void test_capacity(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    p.rig.limits.max_streams = 2;
    pair_join(&p);
    h2_stream *a = pair_ask(&p, true);
    pair_ask(&p, true);
    assert_null(pair_ask(&p, true));
    assert_int_equal(h2_conn_can_request(p.client.conn), 0);
    pair_settle(&p);
    assert_int_equal(p.capacity, 0);
    pair_drop(a);
    pair_settle(&p);
    assert_int_equal(p.capacity, 1);
    assert_non_null(pair_ask(&p, true));
    pair_end(&p);
}

static int allowed;
static int allow(size_t size, void *user) {
    (void)size;
    (void)user;
    return allowed-- > 0;
}

/* Memory that is out, at each moment in turn: calls fail or connections end, and nothing is lost. */
static void test_no_memory(void **state) {
    (void)state;
    for (int after = 0; after < 60; after++) {
        pair p;
        pair_begin(&p);
        pair_join(&p);
        allowed = after;
        weft_mem_hook(allow, NULL);
        for (int i = 0; i < 40; i++) {
            http_fields list;
            h2_stream *s = NULL;
            http_fields_init(&list, p.rig.fields);
            int failed = http_fields_add_text(&list, ":method", "POST");
            if (!failed) failed = http_fields_add_text(&list, ":scheme", "http");
            if (!failed) failed = http_fields_add_text(&list, ":path", "/a.B/C");
            if (!failed) failed = h2_request(p.client.conn, &list, false, NULL, &s);
            http_fields_clear(&list);
            if (failed) continue;
            pair_hold(s);
            (void)!pair_send_zeros(s, (size_t)i * 3000, i % 2);
            if (rig_pass(&p.client, p.server.conn, SIZE_MAX, 0, true) < 0) break;
            if (rig_pass(&p.server, p.client.conn, SIZE_MAX, 0, true) < 0) break;
        }
        weft_mem_hook(NULL, NULL);
        pair_end(&p);
    }
}

/* A hundred thousand calls with cancels and resets on both sides leave nothing behind. */
static void test_many_calls(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    p.rig.limits.reset_min = 1000000;
    pair_join(&p);
    for (int i = 0; i < 100000; i++) {
        const uint64_t what = weft_rng_below(&p.rig.rng, 10);
        h2_stream *s = pair_ask(&p, what % 2);
        assert_non_null(s);
        if (what == 0) h2_reset(s, H2_CANCEL);
        if (what != 1) assert_true(rig_pass(&p.client, p.server.conn, SIZE_MAX, 0, true) >= 0);
        const bool came = p.count == 2;
        if (came && what == 2) h2_reset(p.request, H2_INTERNAL_ERROR);
        if (came && what > 2) {
            if (h2_stream_open(p.request)) {
                pair_answer(&p, p.request);
                assert_true(
                    pair_send_zeros(p.request, weft_rng_below(&p.rig.rng, 3000), what > 4) >= 0);
            }
            if (what % 3) assert_int_equal(rig_settle(&p.client, &p.server), 0);
        }
        while (p.count) pair_drop(p.held[0]);
        if (what == 1 || what % 4 == 0) pair_settle(&p);
        while (p.count) pair_drop(p.held[0]);
    }
    pair_settle(&p);
    while (p.count) pair_drop(p.held[0]);
    pair_settle(&p);
    rig_check(&p.rig, 2, 0);
    assert_int_equal(h2_conn_get_info(p.client.conn).buffered, 0);
    assert_int_equal(h2_conn_get_info(p.server.conn).buffered, 0);
    assert_int_equal(h2_conn_get_info(p.client.conn).streams_local, 0);
    assert_int_equal(h2_conn_get_info(p.server.conn).streams_peer, 0);
    assert_int_equal(h2_conn_get_info(p.client.conn).send_window,
                     h2_conn_get_info(p.server.conn).recv_window);
    pair_end(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropped_bytes_return_credit),
        cmocka_unit_test(test_dropped_queue_returns_window),
        cmocka_unit_test(test_opened_above_high_water),
        cmocka_unit_test(test_sparse_identifiers),
        cmocka_unit_test(test_list_is_not_kept),
        cmocka_unit_test(test_data_by_reference),
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_header_timeout),
        cmocka_unit_test(test_idle_timeout),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_never_sent),
        cmocka_unit_test(test_eof),
        cmocka_unit_test(test_free_inside_callback),
        cmocka_unit_test(test_refuse),
        cmocka_unit_test(test_capacity),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_many_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
