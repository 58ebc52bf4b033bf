/* Limits and floods: attackers are closed with ENHANCE_YOUR_CALM and counted, others are not disturbed. */
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

static void expect_calm(pair *p, int result, uint64_t counter) {
    assert_int_equal(result, WEFT_ELIMIT);
    assert_int_equal(counter, 1);
    assert_int_equal(h2_conn_error(p->server.conn), H2_ENHANCE_YOUR_CALM);
    assert_true(h2_conn_finished(p->server.conn));
    assert_true(strlen(h2_conn_reason(p->server.conn)) > 5);
    const size_t before = p->goaways;
    assert_true(pair_output(&p->server) > 0);
    while (p->server.wire.bytes) {
        const weft_slice *at = &p->server.wire.head->slice;
        assert_int_equal(h2_conn_input(p->client.conn, at->data, at->len, NULL), 0);
        weft_chain_consume(&p->server.wire, at->len);
    }
    assert_int_equal(p->goaways, before + 1);
    uint8_t more[9] = {0};
    assert_int_equal(h2_conn_input(p->server.conn, more, 9, NULL), WEFT_ECLOSED);
}

/* Frames, again and again, until the server has enough; its output is taken as a loop would. */
static int flood(pair *p, const void *frame, size_t len, size_t most) {
    int got = 0;
    for (size_t i = 0; i < most && !got; i++) {
        got = h2_conn_input(p->server.conn, frame, len, NULL);
        if (!got && i % 16 == 0) {
            assert_true(pair_output(&p->server) >= 0);
            weft_chain_clear(&p->server.wire);
        }
    }
    return got;
}

static void test_floods(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint8_t frame[32];
        size_t len, stat;
    } floods[] = {
#define STAT(name) offsetof(h2_stats, name)
        {"SETTINGS", {0, 0, 0, 4, 0, 0, 0, 0, 0}, 9, STAT(limit_settings)},
        {"PING", {0, 0, 8, 6, 0, 0, 0, 0, 0}, 17, STAT(limit_ping)},
        {"PRIORITY", {0, 0, 5, 2, 0, 0, 0, 0, 9, 0, 0, 0, 1, 1}, 14, STAT(limit_priority)},
        {"WINDOW_UPDATE", {0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 13, STAT(limit_window_update)},
        {"empty DATA", {0, 0, 0, 0, 0, 0, 0, 0, 1}, 9, STAT(limit_empty_data)},
        {"unknown", {0, 0, 0, 77, 0, 0, 0, 0, 0}, 9, STAT(limit_unknown)},
    };
    for (size_t i = 0; i < sizeof floods / sizeof floods[0]; i++) {
        pair p;
        pair_begin(&p);
        h2_limits_stranger(&p.rig.limits);
        pair_join(&p);
        h2_stream *open = pair_ask(&p, false);
        h2_stream *over = pair_ask(&p, true);
        pair_settle(&p);
        http_fields list;
        rig_fields(&p.rig, &list, ":status", "200", NULL);
        assert_int_equal(h2_respond(p.request, &list, true), 0);
        http_fields_clear(&list);
        assert_true(h2_stream_open(open) && h2_stream_open(over));
        const int got = flood(&p, floods[i].frame, floods[i].len, 100000);
        const uint64_t *stat =
            (const uint64_t *)(const void *)((const char *)h2_env_stats(p.rig.env) +
                                             floods[i].stat);
        if (!got) fail_msg("%s is no flood", floods[i].name);
        expect_calm(&p, got, *stat);
        pair_end(&p);
    }
}

/* Requests that are wrong in themselves, each of which makes us send RST_STREAM (CVE-2025-8671). */
/* One frame that changes the window of every stream two thousand times. */
static void test_window_settings(void **state) {
    (void)state;
    enum { COUNT = 2000 };
    static uint8_t frame[9 + 6 * COUNT] = {6 * COUNT >> 16, 6 * COUNT >> 8 & 255, 6 * COUNT & 255,
                                           4};
    for (size_t i = 0; i < COUNT; i++) {
        frame[9 + 6 * i + 1] = 4;
        frame[9 + 6 * i + 4] = (uint8_t)(1 + i % 2);
    }
    pair p;
    pair_begin(&p);
    pair_join(&p);
    assert_non_null(pair_ask(&p, false));
    pair_settle(&p);
    const int got = h2_conn_input(p.server.conn, frame, sizeof frame, NULL);
    expect_calm(&p, got, h2_env_stats(p.rig.env)->limit_settings);
    pair_end(&p);
}

static void test_made_you_reset(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    h2_limits_stranger(&p.rig.limits);
    pair_join(&p);
    int got = 0;
    for (uint32_t id = 1; !got && id < 100000; id += 2) {
        const uint8_t frame[] = {
            0, 0, 1, 1, 5, 0, (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id, 0x82};
        got = h2_conn_input(p.server.conn, frame, sizeof frame, NULL);
    }
    assert_int_equal(h2_env_stats(p.rig.env)->resets_out, p.rig.limits.made_reset_max + 1);
    /* The client knows nothing of these streams, so it is not asked. */
    assert_int_equal(got, WEFT_ELIMIT);
    assert_int_equal(h2_conn_error(p.server.conn), H2_ENHANCE_YOUR_CALM);
    assert_int_equal(h2_env_stats(p.rig.env)->limit_made_reset, 1);
    pair_end(&p);
}

static void test_rapid_reset(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    h2_limits_stranger(&p.rig.limits);
    pair_join(&p);
    int64_t got = 0;
    for (int i = 0; i < 10000 && got >= 0; i++) {
        h2_stream *s = pair_ask(&p, false);
        assert_non_null(s);
        pair_drop(s);
        got = rig_pass(&p.client, p.server.conn, SIZE_MAX, 0, true);
        if (got >= 0) pair_drop(p.request);
    }
    expect_calm(&p, (int)got, h2_env_stats(p.rig.env)->limit_reset);
    pair_end(&p);
}

/* Who cancels three of four calls, however many, is not that. */
static void test_honest_canceller(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    h2_limits_stranger(&p.rig.limits);
    pair_join(&p);
    for (int i = 0; i < 8000; i++) {
        h2_stream *s = pair_ask(&p, i % 4 == 0);
        if (i % 4) pair_drop(s);
        pair_settle(&p);
        if (i % 4 == 0) {
            pair_answer(&p, p.request);
            assert_int_equal(pair_send_zeros(p.request, 0, true), 0);
            pair_settle(&p);
            pair_drop(s);
        }
        pair_drop(p.request);
    }
    pair_settle(&p);
    pair_end(&p);
}

/* Nor who waits in vain: in an outage every call ends by its deadline. */
static void test_deadline_storm(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    h2_limits_stranger(&p.rig.limits);
    pair_join(&p);
    for (int i = 0; i < 100; i++) {
        for (int k = 0; k < 50; k++) assert_non_null(pair_ask(&p, true));
        pair_settle(&p);
        rig_advance(&p.rig, 250 * WEFT_NS_PER_MS);
        while (p.count) pair_drop(p.held[0]);
        pair_settle(&p);
    }
    assert_int_equal(h2_env_stats(p.rig.env)->limit_reset, 0);
    pair_end(&p);
}

static int send_block(pair *p, const uint8_t *block, size_t len, size_t piece, uint32_t id) {
    uint8_t type = 1;
    for (size_t at = 0; at < len || !at;) {
        const size_t n = len - at < piece ? len - at : piece;
        const uint8_t head[] = {(uint8_t)(n >> 16),
                                (uint8_t)(n >> 8),
                                (uint8_t)n,
                                type,
                                (uint8_t)((type == 1 ? 1 : 0) | (at + n == len ? 4 : 0)),
                                0,
                                (uint8_t)(id >> 16),
                                (uint8_t)(id >> 8),
                                (uint8_t)id};
        int got = h2_conn_input(p->server.conn, head, 9, NULL);
        if (!got && n) got = h2_conn_input(p->server.conn, block + at, n, NULL);
        if (got) return got;
        at += n;
        type = 9;
        if (!n) break;
    }
    return 0;
}

static void test_header_limits(void **state) {
    (void)state;
    static uint8_t block[200000];
    pair p;
    /* A block larger than header_block_max. */
    pair_begin(&p);
    pair_join(&p);
    int got = send_block(&p, block, sizeof block, 16384, 1);
    expect_calm(&p, got, h2_env_stats(p.rig.env)->limit_header_block);
    pair_end(&p);
    /* One in many frames. */
    pair_begin(&p);
    pair_join(&p);
    got = send_block(&p, block, 3000, 10, 1);
    expect_calm(&p, got, h2_env_stats(p.rig.env)->limit_continuation);
    pair_end(&p);
    /* An entry of 4,000 bytes named a thousand times. */
    pair_begin(&p);
    pair_join(&p);
    uint8_t *at = block;
    memcpy(at, "\x40\x01x\x7f\xa1\x1e", 6);
    at += 6;
    memset(at, 'v', 4000);
    at += 4000;
    memset(at, 0xbe, 1000);
    got = send_block(&p, block, 5006, 16384, 1);
    expect_calm(&p, got, h2_env_stats(p.rig.env)->limit_hpack_bomb);
    pair_end(&p);
    /* A list that is too long for us, but no attack: the stream is reset, the connection lives. */
    pair_begin(&p);
    pair_join(&p);
    memset(block, 0x90, 300);
    assert_int_equal(send_block(&p, block, 300, 16384, 1), 0);
    assert_int_equal(h2_env_stats(p.rig.env)->limit_header_fields, 1);
    assert_int_equal(h2_env_stats(p.rig.env)->resets_out, 1);
    assert_non_null(pair_ask(&p, true));
    pair_end(&p);
}

static void test_slow_reader(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    h2_limits_stranger(&p.rig.limits);
    p.rig.limits.ping_max = 1000000;
    pair_join(&p);
    const uint8_t ping[17] = {0, 0, 8, 6};
    int64_t got = 0;
    for (int i = 0; i < 1000000 && got >= 0; i++) {
        assert_int_equal(h2_conn_input(p.server.conn, ping, 17, NULL), 0);
        got = pair_output(&p.server); /* and nobody reads the wire */
    }
    assert_int_equal(got, WEFT_ELIMIT);
    assert_true(weft_chunk_pool_stats(p.rig.chunks).live < 2 * p.rig.limits.output_max / 16384);
    assert_int_equal(h2_env_stats(p.rig.env)->limit_output, 1);
    assert_true(h2_conn_finished(p.server.conn));
    pair_end(&p);
}

/* Stalled readers, however many, do not stop one more. */
static void test_stalled_readers(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    pair_join(&p);
    for (int i = 0; i < 16; i++) {
        pair_ask(&p, true);
        pair_settle(&p);
        pair_answer(&p, p.request);
        pair_send_zeros(p.request, 1 << 20, true);
    }
    pair_settle(&p);
    const size_t before = p.received;
    assert_int_equal(before, 16 * (256 << 10));
    pair_ask(&p, true);
    pair_settle(&p);
    pair_answer(&p, p.request);
    assert_int_equal(pair_send_zeros(p.request, 200000, true), 200000);
    pair_settle(&p);
    assert_int_equal(p.received, before + 200000);
    pair_end(&p);
}

static void test_queue_limit(void **state) {
    (void)state;
    pair p;
    pair_begin(&p);
    p.rig.limits.stream_window = 100;
    p.rig.limits.stream_queue_max = 1000;
    pair_join(&p);
    h2_stream *s = pair_ask(&p, false);
    assert_int_equal(pair_send_zeros(s, 900, false), 100);
    assert_int_equal(pair_send_zeros(s, 300, false), WEFT_ELIMIT);
    assert_int_equal(h2_stream_queued(s), 800);
    assert_int_equal(pair_send_zeros(s, 200, true), 0);
    pair_end(&p);
}

/* A connection error as RFC 9113 has it, or, if we say so, a frame that means nothing; which many are not. */
static void test_resets_of_idle_streams(void **state) {
    (void)state;
    static const uint8_t reset[13] = {0, 0, 4, 3, 0, 0, 0, 0, 101, 0, 0, 0, 8};
    static const uint8_t of_ours[13] = {0, 0, 4, 3, 0, 0, 0, 0, 2, 0, 0, 0, 8};
    for (int kind = 0; kind < 4; kind++) {
        pair p;
        pair_begin(&p);
        p.rig.limits.idle_reset = kind > 0;
        pair_join(&p);
        pair_settle(&p);
        if (kind == 0 || kind == 2) {
            const uint8_t *frame = kind ? of_ours : reset;
            assert_int_equal(h2_conn_input(p.server.conn, frame, 13, NULL), WEFT_EPARSE);
            assert_int_equal(h2_conn_error(p.server.conn), H2_PROTOCOL_ERROR);
        } else if (kind == 1) {
            assert_int_equal(h2_conn_input(p.server.conn, reset, 13, NULL), 0);
            pair_ask(&p, true);
            pair_settle(&p);
            pair_answer(&p, p.request);
            pair_settle(&p);
        } else {
            const int result = flood(&p, reset, 13, 5000);
            expect_calm(&p, result, h2_env_stats(p.rig.env)->limit_unknown);
        }
        pair_end(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floods),          cmocka_unit_test(test_made_you_reset),
        cmocka_unit_test(test_rapid_reset),     cmocka_unit_test(test_honest_canceller),
        cmocka_unit_test(test_deadline_storm),  cmocka_unit_test(test_header_limits),
        cmocka_unit_test(test_slow_reader),     cmocka_unit_test(test_stalled_readers),
        cmocka_unit_test(test_queue_limit),     cmocka_unit_test(test_resets_of_idle_streams),
        cmocka_unit_test(test_window_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
