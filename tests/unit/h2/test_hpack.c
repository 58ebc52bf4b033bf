/* HPACK: RFC 7541's own examples, what must be refused, tables under pressure, and libnghttp2's opinion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/h2/hpack.h"
#include "lib/h2/huffman.h"
#include "tests/support/hpack_diff.h"
#include "weft/encoding.h"
#include "weft/mem.h"
#include "weft/rng.h"

typedef struct fixture {
    http_pool *pool;
    hpack_decoder decoder;
    hpack_encoder encoder;
    hpack_scratch scratch;
    http_fields list;
    hpack_budget budget;
} fixture;

static void begin(fixture *f) {
    memset(f, 0, sizeof *f);
    huffman_init();
    f->pool = http_pool_new(0, 7);
    hpack_decoder_init(&f->decoder);
    hpack_encoder_init(&f->encoder, HPACK_TABLE_DEFAULT);
    http_fields_init(&f->list, f->pool);
}

static void end(fixture *f) {
    http_fields_clear(&f->list);
    hpack_decoder_free(&f->decoder);
    hpack_encoder_free(&f->encoder);
    hpack_scratch_free(&f->scratch);
    assert_int_equal(http_pool_get_stats(f->pool).fields, 0);
    http_pool_free(f->pool);
}

static int decode(fixture *f, const char *hex) {
    uint8_t *data = malloc(strlen(hex) / 2 + 1);
    size_t len = 0;
    assert_int_equal(weft_hex_decode(hex, strlen(hex), data, strlen(hex) / 2 + 1, &len), 0);
    uint8_t *exact = malloc(len ? len : 1);
    memcpy(exact, data, len);
    free(data);
    http_fields_clear(&f->list);
    f->budget = (hpack_budget){.max_bytes = 65536, .max_fields = 100};
    const int failed = hpack_decode(&f->decoder, &f->scratch, exact, len, &f->list, &f->budget);
    free(exact);
    return failed;
}

/* "name: value" lines of the list. */
static void expect(fixture *f, const char *text) {
    char got[2000] = "";
    size_t n = 0;
    for (uint32_t i = 0; i < f->list.count; i++) {
        n += (size_t)snprintf(got + n, sizeof got - n, "%s: %s\n", f->list.at[i]->name,
                              f->list.at[i]->value);
    }
    assert_string_equal(got, text);
}

static void test_rfc_requests(void **state) {
    (void)state;
    fixture f;
    /* Appendix C.3, plain, and C.4, Huffman-coded: the same three requests. */
    static const char *const blocks[2][3] = {
        {"828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865",
         "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"},
        {"828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf",
         "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"}};
    for (int kind = 0; kind < 2; kind++) {
        begin(&f);
        assert_int_equal(decode(&f, blocks[kind][0]), 0);
        expect(&f, ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n");
        assert_int_equal(f.decoder.table.bytes, 57);
        assert_int_equal(decode(&f, blocks[kind][1]), 0);
        expect(&f, ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n"
                   "cache-control: no-cache\n");
        assert_int_equal(f.decoder.table.bytes, 110);
        assert_int_equal(decode(&f, blocks[kind][2]), 0);
        expect(&f, ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\n"
                   "custom-key: custom-value\n");
        assert_int_equal(f.decoder.table.bytes, 164);
        end(&f);
    }
}

static void test_rfc_responses(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    /* Appendix C.6: a table of 256 bytes, entries evicted. */
    hpack_decoder_limit(&f.decoder, 256);
    assert_int_equal(decode(&f, "3fe101"
                                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d"
                                "1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3"),
                     0);
    expect(&f, ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n"
               "location: https://www.example.com\n");
    assert_int_equal(f.decoder.table.bytes, 222);
    assert_int_equal(decode(&f, "4883640effc1c0bf"), 0);
    expect(&f, ":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n"
               "location: https://www.example.com\n");
    assert_int_equal(f.decoder.table.bytes, 222);
    assert_int_equal(f.decoder.table.count, 4);
    end(&f);
}

static void test_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "80",                               /* index 0 */
        "be",                               /* an empty table has no entry 62 */
        "ff8080808010",                     /* an integer of more than 30 bits */
        "ffffffffffffffffffff0f",           /* one that never ends */
        "ff",                               /* one cut short */
        "0085",                             /* a name cut short */
        "0003616263",                       /* no value */
        "00036162630a61",                   /* a value cut short */
        "0001618100",                       /* Huffman: eight bits of 0 are '0' and a bad padding */
        "00016181ff",                       /* padding of eight bits */
        "00016184ffffffff",                 /* EOS */
        "0001618cf1e3c2e5f23a6ba0ab90f400", /* padding that is not ones */
        "7e0161",                           /* a name at an index that is not there */
        "8220",                             /* a size update after a field */
        "3fe21f",                           /* a size above the limit */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        fixture f;
        begin(&f);
        if (decode(&f, bad[i]) != WEFT_EPARSE) fail_msg("%s was decoded", bad[i]);
        end(&f);
    }
}

static void test_must_shrink(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    hpack_decoder_limit(&f.decoder, 100);
    assert_int_equal(decode(&f, "82"), WEFT_EPARSE);
    end(&f);
    begin(&f);
    hpack_decoder_limit(&f.decoder, 100);
    assert_int_equal(decode(&f, "3f4582"), 0);
    assert_int_equal(f.decoder.table.size, 100);
    end(&f);
}

/* Trap 1: an entry that a block uses and then evicts stays alive as long as the list. */
static void test_evicted_in_use(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    hpack_decoder_limit(&f.decoder, 40);
    assert_int_equal(decode(&f, "3f094001610162"), 0); /* a: b, cost 34 */
    assert_int_equal(f.decoder.table.count, 1);
    assert_int_equal(decode(&f, "be4001630164be"), 0); /* it, then c: d evicts it, then c: d */
    expect(&f, "a: b\nc: d\nc: d\n");
    assert_int_equal(f.decoder.table.count, 1);
    /* The name of the entry that goes is the name of the one that comes. */
    assert_int_equal(decode(&f, "7e0165"), 0);
    expect(&f, "c: e\n");
    /* A field larger than the table empties it. */
    assert_int_equal(decode(&f, "40016109313233343536373839"), 0);
    assert_int_equal(f.decoder.table.count, 0);
    /* The encoder too may evict what it has just named. */
    hpack_encoder_limit(&f.encoder, 80);
    uint8_t out[400];
    for (int round = 0; round < 50; round++) {
        char value[16];
        http_fields_clear(&f.list);
        snprintf(value, sizeof value, "%d", round / 2);
        assert_int_equal(http_fields_add_text(&f.list, "traceparent", value), 0);
        assert_int_equal(http_fields_add_text(&f.list, "te", value), 0);
        assert_int_equal(http_fields_add_text(&f.list, "x-other", value), 0);
        assert_true(hpack_encode(&f.encoder, &f.list, out) > 0);
    }
    end(&f);
}

static void test_budget(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    http_fields_clear(&f.list);
    uint8_t block[300];
    memset(block, 0x82, sizeof block);
    f.budget = (hpack_budget){.max_bytes = 65536, .max_fields = 100};
    assert_int_equal(hpack_decode(&f.decoder, &f.scratch, block, sizeof block, &f.list, &f.budget),
                     0);
    assert_true(f.budget.over);
    assert_int_equal(f.budget.fields, 300);
    assert_int_equal(f.list.count, 100);
    /* Fields past the budget still enter the table. */
    http_fields_clear(&f.list);
    f.budget = (hpack_budget){.max_bytes = 10, .max_fields = 100};
    const uint8_t add[] = {0x40, 1, 'a', 1, 'b'};
    assert_int_equal(hpack_decode(&f.decoder, &f.scratch, add, sizeof add, &f.list, &f.budget), 0);
    assert_true(f.budget.over);
    assert_int_equal(f.list.count, 0);
    assert_int_equal(decode(&f, "be"), 0);
    expect(&f, "a: b\n");
    end(&f);
}

/* What is sent how: once as a literal, the second time into the table, then by its index. */
static void test_second_sight(void **state) {
    (void)state;
    fixture f;
    uint8_t out[200];
    begin(&f);
    assert_int_equal(http_fields_add_text(&f.list, "x-tenant", "blue"), 0);
    assert_int_equal(hpack_encode(&f.encoder, &f.list, out), 1 + 1 + 8 + 1 + 4);
    assert_int_equal(out[0], 0x00);
    assert_true(hpack_encode(&f.encoder, &f.list, out) > 1);
    assert_int_equal(out[0], 0x40);
    assert_int_equal(hpack_encode(&f.encoder, &f.list, out), 1);
    assert_int_equal(out[0], 0xbe);
    /* Another object with the same text. */
    http_fields_clear(&f.list);
    assert_int_equal(http_fields_add_text(&f.list, "x-tenant", "blue"), 0);
    assert_int_equal(hpack_encode(&f.encoder, &f.list, out), 1);
    /* Names whose values are new each time: once for the name, then literals that name it. */
    for (int i = 0; i < 3; i++) {
        char value[3] = {'v', (char)('0' + i), 0};
        http_fields_clear(&f.list);
        assert_int_equal(http_fields_add_text(&f.list, "traceparent", value), 0);
        assert_int_equal(hpack_encode(&f.encoder, &f.list, out), i ? 5 : 1 + 1 + 11 + 1 + 2);
        assert_int_equal(out[0], i ? 0x0f : 0x40);
    }
    /* Secrets never. */
    for (int i = 0; i < 3; i++) {
        http_fields_clear(&f.list);
        assert_int_equal(http_fields_add_text(&f.list, "authorization", "s"), 0);
        assert_int_equal(hpack_encode(&f.encoder, &f.list, out), 4);
        assert_int_equal(out[0], 0x1f);
    }
    end(&f);
}

/* A literal that came as never-indexed leaves as one (RFC 7541 section 6.2.3). */
static void test_never_indexed_stays(void **state) {
    (void)state;
    fixture f;
    uint8_t out[100];
    begin(&f);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(decode(&f, "100161017a"), 0);
        assert_int_equal(hpack_encode(&f.encoder, &f.list, out), 5);
        assert_memory_equal(out,
                            "\x10\x01"
                            "a\x01"
                            "z",
                            5);
    }
    end(&f);
}

static void test_interned(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    assert_int_equal(decode(&f, "40016101624001610162"), 0);
    assert_ptr_equal(f.list.at[0], f.list.at[1]);
    assert_int_equal(http_pool_get_stats(f.pool).interned, 1);
    hpack_decoder other;
    hpack_decoder_init(&other);
    http_fields list;
    http_fields_init(&list, f.pool);
    const uint8_t add[] = {0x40, 1, 'a', 1, 'b'};
    hpack_budget budget = {.max_bytes = 1000, .max_fields = 10};
    assert_int_equal(hpack_decode(&other, &f.scratch, add, sizeof add, &list, &budget), 0);
    assert_ptr_equal(list.at[0], f.list.at[0]);
    http_fields_clear(&list);
    hpack_decoder_free(&other);
    end(&f);
}

static void test_huffman(void **state) {
    (void)state;
    weft_rng rng;
    weft_rng_seed(&rng, 3);
    huffman_init();
    for (int round = 0; round < 20000; round++) {
        char text[300], back[HUFFMAN_DECODED_MAX(1200)];
        uint8_t coded[1200];
        const size_t len = weft_rng_below(&rng, sizeof text);
        const bool binary = weft_rng_below(&rng, 2);
        for (size_t i = 0; i < len; i++) {
            text[i] = binary ? (char)weft_rng_below(&rng, 256)
                             : "0123456789abcdef-"[weft_rng_below(&rng, 17)];
        }
        const size_t size = huffman_size(text, len);
        uint8_t *exact = malloc(size ? size : 1);
        huffman_encode(text, len, coded);
        memcpy(exact, coded, size);
        assert_int_equal(huffman_decode(exact, size, back), len);
        assert_memory_equal(back, text, len);
        free(exact);
    }
}

static int budget_left;
static int allow(size_t size, void *user) {
    (void)size;
    (void)user;
    return budget_left-- > 0;
}

/* Memory that is out at any moment leaves tables that are right. */
static void test_no_memory(void **state) {
    (void)state;
    for (int after = 0; after < 12; after++) {
        fixture f;
        uint8_t out[2000];
        begin(&f);
        for (int i = 0; i < 40; i++) {
            char name[24];
            snprintf(name, sizeof name, "name-%d", i / 2);
            http_fields_clear(&f.list);
            assert_int_equal(http_fields_add_text(&f.list, name, "value"), 0);
            budget_left = i == 3 || i == 33 ? after : 1000;
            weft_mem_hook(allow, NULL);
            const int64_t n = hpack_encode(&f.encoder, &f.list, out);
            weft_mem_hook(NULL, NULL);
            if (n < 0) continue;
            http_fields_clear(&f.list);
            f.budget = (hpack_budget){.max_bytes = 65536, .max_fields = 100};
            assert_int_equal(
                hpack_decode(&f.decoder, &f.scratch, out, (size_t)n, &f.list, &f.budget), 0);
            assert_string_equal(f.list.at[0]->name, name);
        }
        end(&f);
    }
}

static void test_against_nghttp2(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        const char *problem = hpack_diff_encode(seed, 10000);
        if (!problem) problem = hpack_diff_decode(seed, 10000);
        if (problem) fail_msg("seed %d: %s", (int)seed, problem);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_requests),   cmocka_unit_test(test_rfc_responses),
        cmocka_unit_test(test_refused),        cmocka_unit_test(test_must_shrink),
        cmocka_unit_test(test_evicted_in_use), cmocka_unit_test(test_budget),
        cmocka_unit_test(test_second_sight),   cmocka_unit_test(test_never_indexed_stays),
        cmocka_unit_test(test_interned),       cmocka_unit_test(test_huffman),
        cmocka_unit_test(test_no_memory),      cmocka_unit_test(test_against_nghttp2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
