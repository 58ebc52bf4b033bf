/* Parts of the native transport by themselves: compressed messages, copies of metadata. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <zlib.h>

#include "lib/rpc/native.h"

/* As `bits` says: MAX_WBITS zlib, + 16 gzip. */
static size_t squeeze(const uint8_t *data, size_t size, int bits, uint8_t *out, size_t cap) {
    z_stream zip = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)size};
    assert_int_equal(deflateInit2(&zip, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    zip.next_out = out;
    zip.avail_out = (uInt)cap;
    assert_int_equal(deflate(&zip, Z_FINISH), Z_STREAM_END);
    const size_t len = zip.total_out;
    (void)deflateEnd(&zip);
    return len;
}

#define PLAIN 1000000u

static void inflates(void **state) {
    (void)state;
    static uint8_t plain[PLAIN], small[PLAIN];
    const size_t sizes[] = {0, 1, 4095, 4096, 4097, PLAIN};
    for (size_t i = 0; i < PLAIN; i++) plain[i] = (uint8_t)(i * i >> 7);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int bits = MAX_WBITS; bits <= MAX_WBITS + 16; bits += 16) {
            uint8_t *out = NULL;
            size_t len = 0;
            const size_t size = squeeze(plain, sizes[i], bits, small, sizeof small);
            assert_int_equal(nat_inflate(small, size, PLAIN, &out, &len), 0);
            assert_int_equal(len, sizes[i]);
            assert_memory_equal(out, plain, len);
            weft_free(out);
            if (sizes[i])
                assert_int_equal(nat_inflate(small, size, sizes[i] - 1, &out, &len), WEFT_ELIMIT);
            assert_int_equal(nat_inflate(small, size - 1, PLAIN, &out, &len), WEFT_EPARSE);
            small[0] ^= 0x55;
            assert_int_equal(nat_inflate(small, size, PLAIN, &out, &len), WEFT_EPARSE);
        }
    }
    uint8_t *out = NULL;
    size_t len = 0;
    assert_int_equal(nat_inflate(small, 0, PLAIN, &out, &len), WEFT_EPARSE);
    assert_null(out);
}

/* A thousand to one: refused after as much as was allowed, and no more memory than that. */
static void bombs_are_refused(void **state) {
    (void)state;
    static uint8_t zeros[PLAIN], small[PLAIN];
    uint8_t *out = NULL;
    size_t len = 0;
    const size_t size = squeeze(zeros, PLAIN, MAX_WBITS + 16, small, sizeof small);
    assert_true(size < 2000);
    assert_int_equal(nat_inflate(small, size, 10000, &out, &len), WEFT_ELIMIT);
    assert_null(out);
    assert_true(len <= 10001);
}

static void metadata_there_and_back(void **state) {
    (void)state;
    static const uint8_t bytes[] = {0, 255, ',', 7};
    const tp_header list[] = {
        {"x-a", 3, "one", 3}, {"x-b-bin", 7, bytes, sizeof bytes}, {"x-c-bin", 7, "", 0}};
    bool failed = false;
    http_pool *pool = http_pool_new(0, 1);
    http_fields fields;
    http_fields_init(&fields, pool);
    nat_headers *copy = nat_headers_copy(list, 3, &failed);
    assert_int_equal(http_fields_add_text(&fields, ":status", "200"), 0);
    assert_int_equal(http_fields_add_text(&fields, "content-type", "application/grpc"), 0);
    assert_int_equal(nat_headers_send(copy, &fields), 0);
    /* Two values in one field, one of them no base64. */
    assert_int_equal(http_fields_add_text(&fields, "x-d-bin", "AAE, !!,Ag"), 0);
    nat_headers *back = nat_headers_take(&fields, &failed);
    assert_false(failed);
    assert_int_equal(back->count, 5);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(back->at[i].key_len, list[i].key_len);
        assert_memory_equal(back->at[i].key, list[i].key, list[i].key_len);
        assert_int_equal(back->at[i].value_len, list[i].value_len);
        assert_memory_equal(back->at[i].value, list[i].value, list[i].value_len);
    }
    assert_memory_equal(back->at[3].value, "\0\1", 2);
    assert_memory_equal(back->at[4].value, "\2", 1);
    weft_free(copy);
    weft_free(back);
    http_fields_clear(&fields);
    http_pool_free(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(inflates),
                                       cmocka_unit_test(bombs_are_refused),
                                       cmocka_unit_test(metadata_there_and_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
