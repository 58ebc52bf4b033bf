#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "weft/rng.h"
#include "weft/utf8.h"

/* The definition itself, slow: decode by bits, then forbid what Unicode forbids. */
static size_t naive_prefix(const unsigned char *p, size_t size) {
    size_t at = 0;
    while (at < size) {
        const unsigned char c = p[at];
        const size_t len = c < 0x80 ? 1 : c >= 0xF0 && c < 0xF8 ? 4 : c >= 0xE0 ? 3 : 2;
        if ((c >= 0x80 && c < 0xC0) || c >= 0xF8 || len > size - at) return at;
        uint32_t point = len == 1 ? c : c & (0xFFu >> (len + 1));
        for (size_t i = 1; i < len; i++) {
            if ((p[at + i] & 0xC0) != 0x80) return at;
            point = point << 6 | (p[at + i] & 0x3F);
        }
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        if (point < least[len] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000))
            return at;
        at += len;
    }
    return size;
}

static void every_code_point_survives(void **state) {
    (void)state;
    for (uint32_t point = 0; point <= 0x10FFFF; point++) {
        char text[4];
        uint32_t back = 0;
        const size_t len = weft_utf8_encode(point, text);
        if (weft_utf8_decode(text, len, &back) != (int)len || !weft_utf8_valid(text, len))
            fail_msg("U+%04X", (unsigned)point);
        const int surrogate = point >= 0xD800 && point < 0xE000;
        if (back != (surrogate ? 0xFFFD : point)) fail_msg("U+%04X", (unsigned)point);
    }
    char text[4];
    assert_int_equal(weft_utf8_encode(0x110000, text), 3);
    assert_memory_equal(text, "\xEF\xBF\xBD", 3);
}

static void ill_formed(void **state) {
    (void)state;
    static const char *const cases[] = {
        "\x80",
        "\xBF",
        "\xC0\x80",
        "\xC1\xBF",
        "\xC2",
        "\xC2z",
        "\xE0\x80\x80",
        "\xE0\x9F\xBF",
        "\xED\xA0\x80",
        "\xED\xBF\xBF",
        "\xE2\x82",
        "\xF0\x80\x80\x80",
        "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80",
        "\xF8\x88\x80\x80\x80",
        "\xFE",
        "\xFF",
        "\xF0\x9F\x98",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[64];
        const size_t len = strlen(cases[i]);
        assert_false(weft_utf8_valid(cases[i], len));
        /* Behind ASCII of every length, so that each path of the fast loop meets it. */
        for (size_t before = 0; before < 50; before++) {
            memset(text, 'a', sizeof text);
            memcpy(text + before, cases[i], len);
            assert_int_equal(weft_utf8_prefix(text, before + len), before);
            assert_int_equal(weft_utf8_prefix(text, sizeof text), before);
        }
    }
    assert_true(weft_utf8_valid(NULL, 0));
    assert_true(weft_utf8_valid("a\0b", 3));
}

static void all_pairs_and_triples_as_defined(void **state) {
    (void)state;
    unsigned char text[4] = {0};
    for (unsigned a = 0x7F; a < 0x100; a++) {
        for (unsigned b = 0x70; b < 0x100; b++) {
            text[0] = (unsigned char)a;
            text[1] = (unsigned char)b;
            if (weft_utf8_prefix(text, 2) != naive_prefix(text, 2)) fail_msg("%x %x", a, b);
            for (unsigned c = 0x7F; c < 0xC2; c++) {
                text[2] = (unsigned char)c;
                text[3] = 0x80;
                if (weft_utf8_prefix(text, 4) != naive_prefix(text, 4))
                    fail_msg("%x %x %x", a, b, c);
            }
        }
    }
}

static void random_mixtures_as_defined(void **state) {
    (void)state;
    weft_rng rng;
    weft_rng_seed(&rng, 11);
    for (int round = 0; round < 20000; round++) {
        unsigned char text[200];
        size_t len = 0;
        while (len < 150) {
            const uint64_t kind = weft_rng_below(&rng, 40);
            if (kind < 20) {
                size_t run = weft_rng_below(&rng, 40);
                while (run-- && len < 150) text[len++] = 'a';
            } else if (kind < 39 || round % 2) {
                len +=
                    weft_utf8_encode((uint32_t)weft_rng_below(&rng, 0x110000), (char *)text + len);
            } else {
                text[len++] = (unsigned char)weft_rng_u64(&rng);
            }
        }
        const size_t skip = weft_rng_below(&rng, 9);
        const size_t want = naive_prefix(text + skip, len - skip);
        assert_int_equal(weft_utf8_prefix(text + skip, len - skip), want);
        assert_int_equal(weft_utf8_valid(text + skip, len - skip), want == len - skip);
    }
}

/* Unicode 3.9, table 3-11: how many bytes each replacement character stands for. */
static void maximal_subparts(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int steps[9];
    } cases[] = {
        {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", {-1, -1, -1, -1, -1, -1, -1, -1, 1}},
        {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", {-1, -1, -1, -1, -1, -1, -1, -1, 1}},
        {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", {-1, -1, -1, -1, -1, 1, -1, -1, 1}},
        {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", {-2, -1, -3, -2, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t at = 0;
        for (size_t step = 0; at < 9; step++) {
            uint32_t point = 0;
            const int n = weft_utf8_decode(cases[i].text + at, 9 - at, &point);
            assert_int_equal(n, cases[i].steps[step]);
            if (n < 0) assert_int_equal(point, 0xFFFD);
            at += (size_t)(n < 0 ? -n : n);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_survives),
        cmocka_unit_test(ill_formed),
        cmocka_unit_test(all_pairs_and_triples_as_defined),
        cmocka_unit_test(random_mixtures_as_defined),
        cmocka_unit_test(maximal_subparts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
