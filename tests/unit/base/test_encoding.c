#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "weft/encoding.h"
#include "weft/rng.h"

static void hex(void **state) {
    (void)state;
    char text[64];
    unsigned char bytes[16];
    size_t n = 99;
    assert_int_equal(weft_hex_encode("\x00\x9f\xff", 3, text), 6);
    assert_string_equal(text, "009fff");
    assert_int_equal(weft_hex_encode("", 0, text), 0);
    assert_string_equal(text, "");
    assert_int_equal(weft_hex_decode("009fFF", 6, bytes, 3, &n), 0);
    assert_int_equal(n, 3);
    assert_memory_equal(bytes, "\x00\x9f\xff", 3);
    n = 99;
    assert_int_equal(weft_hex_decode("009fff", 6, bytes, 2, &n), WEFT_ELIMIT);
    assert_int_equal(weft_hex_decode("009", 3, bytes, 16, &n), WEFT_EPARSE);
    assert_int_equal(weft_hex_decode("0g", 2, bytes, 16, &n), WEFT_EPARSE);
    assert_int_equal(weft_hex_decode("g0", 2, bytes, 16, &n), WEFT_EPARSE);
    assert_int_equal(weft_hex_decode(" 00 ", 4, bytes, 16, &n), WEFT_EPARSE);
    assert_int_equal(n, 99);
    for (int c = 0; c < 256; c++) {
        const char pair[2] = {'0', (char)c};
        const int digit = c && strchr("0123456789abcdefABCDEF", c) != NULL;
        assert_int_equal(weft_hex_decode(pair, 2, bytes, 16, &n), digit ? 0 : WEFT_EPARSE);
    }
}

/* RFC 4648 section 10. */
static void base64_vectors(void **state) {
    (void)state;
    static const char *const vectors[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        char text[32];
        char bytes[32];
        size_t n = 0;
        const size_t size = strlen(vectors[i][0]);
        const size_t bare = strcspn(vectors[i][1], "=");
        const size_t len = weft_base64_encode(WEFT_BASE64_JSON_SEND, vectors[i][0], size, text);
        assert_string_equal(text, vectors[i][1]);
        assert_int_equal(len, strlen(text));
        assert_int_equal(weft_base64_encode(WEFT_BASE64_BIN_SEND, vectors[i][0], size, text), bare);
        assert_memory_equal(text, vectors[i][1], bare);
        assert_int_equal(
            weft_base64_decode(WEFT_BASE64_BIN_ACCEPT, vectors[i][1], len, bytes, 32, &n), 0);
        assert_int_equal(n, size);
        assert_memory_equal(bytes, vectors[i][0], size);
        assert_int_equal(
            weft_base64_decode(WEFT_BASE64_BIN_ACCEPT, vectors[i][1], bare, bytes, size, &n), 0);
        assert_int_equal(n, size);
    }
}

static int decode(weft_base64 accept, const char *text) {
    unsigned char bytes[64];
    size_t n = 0;
    return weft_base64_decode(accept, text, strlen(text), bytes, sizeof bytes, &n);
}

static void alphabets_and_padding_are_as_asked(void **state) {
    (void)state;
    const weft_base64 any = WEFT_BASE64_JSON_ACCEPT;
    const weft_base64 padded = WEFT_BASE64_STD | WEFT_BASE64_PAD;
    const weft_base64 bare = WEFT_BASE64_JWS;
    char text[16];
    weft_base64_encode(WEFT_BASE64_JWS, "\xfb\xff\xfe\xff", 4, text);
    assert_string_equal(text, "-__-_w");
    weft_base64_encode(WEFT_BASE64_JSON_SEND, "\xfb\xff\xfe\xff", 4, text);
    assert_string_equal(text, "+//+/w==");
    assert_int_equal(decode(any, "-__-_w"), 0);
    assert_int_equal(decode(any, "+//+/w=="), 0);
    assert_int_equal(decode(padded, "+//+/w=="), 0);
    assert_int_equal(decode(padded, "+//+/w"), WEFT_EPARSE);
    assert_int_equal(decode(padded, "-__-"), WEFT_EPARSE);
    assert_int_equal(decode(bare, "-__-_w"), 0);
    assert_int_equal(decode(bare, "-__-_w=="), WEFT_EPARSE);
    assert_int_equal(decode(bare, "+//+"), WEFT_EPARSE);
    static const char *const bad[] = {"Z",      "Zg=",      "Zg===", "Zm8==",     "=",     "==",
                                      "====",   "Zg==Zg==", "Zh==",  "Zm9=",      "Zg ==", "Zg==\n",
                                      "Zm9v\n", "Z=g=",     "Zm9vY", "\xC3\xA9zz"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (decode(any, bad[i]) != WEFT_EPARSE) fail_msg("accepted %s", bad[i]);
}

static void random_bytes_survive(void **state) {
    (void)state;
    weft_rng rng;
    weft_rng_seed(&rng, 8);
    for (size_t size = 0; size < 300; size++) {
        unsigned char data[300];
        unsigned char back[WEFT_BASE64_BYTES(WEFT_BASE64_TEXT(300))];
        char text[WEFT_HEX_TEXT(300)];
        for (size_t i = 0; i < size; i++) data[i] = (unsigned char)weft_rng_u64(&rng);
        const weft_base64 kinds[] = {WEFT_BASE64_JSON_SEND, WEFT_BASE64_BIN_SEND, WEFT_BASE64_JWS,
                                     WEFT_BASE64_URL | WEFT_BASE64_PAD};
        size_t n = 0;
        for (size_t k = 0; k < 4; k++) {
            const size_t len = weft_base64_encode(kinds[k], data, size, text);
            assert_int_equal(strlen(text), len);
            assert_true(len < WEFT_BASE64_TEXT(size));
            assert_true(size <= WEFT_BASE64_BYTES(len));
            assert_int_equal(weft_base64_decode(kinds[k], text, len, back, size, &n), 0);
            assert_int_equal(n, size);
            assert_memory_equal(back, data, size);
            if (size)
                assert_int_equal(weft_base64_decode(kinds[k], text, len, back, size - 1, &n),
                                 WEFT_ELIMIT);
            /* in place */
            assert_int_equal(weft_base64_decode(kinds[k], text, len, text, sizeof text, &n), 0);
            assert_memory_equal(text, data, size);
        }
        const size_t len = weft_hex_encode(data, size, text);
        assert_int_equal(weft_hex_decode(text, len, text, sizeof text, &n), 0);
        assert_memory_equal(text, data, size);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex),
        cmocka_unit_test(base64_vectors),
        cmocka_unit_test(alphabets_and_padding_are_as_asked),
        cmocka_unit_test(random_bytes_survive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
