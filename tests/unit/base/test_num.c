#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft/num.h"
#include "weft/rng.h"

static void integers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int rc;
        int64_t want;
    } cases[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"+4", 0, 4},
        {"007", 0, 7},
        {"9223372036854775807", 0, INT64_MAX},
        {"-9223372036854775808", 0, INT64_MIN},
        {"9223372036854775808", WEFT_ELIMIT, 0},
        {"-9223372036854775809", WEFT_ELIMIT, 0},
        {"99999999999999999999999", WEFT_ELIMIT, 0},
        {"", WEFT_EPARSE, 0},
        {NULL, WEFT_EPARSE, 0},
        {"-", WEFT_EPARSE, 0},
        {"--1", WEFT_EPARSE, 0},
        {" 1", WEFT_EPARSE, 0},
        {"1 ", WEFT_EPARSE, 0},
        {"1.0", WEFT_EPARSE, 0},
        {"1e3", WEFT_EPARSE, 0},
        {"0x10", WEFT_EPARSE, 0},
        {"99999999999999999999999x", WEFT_EPARSE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t got = 12345;
        assert_int_equal(weft_parse_int64(cases[i].text, &got), cases[i].rc);
        assert_int_equal(got, cases[i].rc ? 12345 : cases[i].want);
    }
    uint64_t u = 5;
    assert_int_equal(weft_parse_uint64("18446744073709551615", &u), 0);
    assert_true(u == UINT64_MAX);
    assert_int_equal(weft_parse_uint64("18446744073709551616", &u), WEFT_ELIMIT);
    assert_int_equal(weft_parse_uint64("-1", &u), WEFT_EPARSE);
    assert_int_equal(weft_parse_uint64("", &u), WEFT_EPARSE);
    assert_int_equal(weft_parse_uint64(NULL, &u), WEFT_EPARSE);
    assert_true(u == UINT64_MAX);
}

static void doubles(void **state) {
    (void)state;
    static const char *const good[] = {"0", "1", "-.5", "2.5e-3", "1E+10", "5.", "+3", "0.1"};
    static const char *const bad[] = {"",     ".",   "-",     "e5",  "1e", "1e+",
                                      "nan",  "inf", "0x1p3", " 1",  "1 ", "1,5",
                                      "1.5.", "--1", "1f",    "1_0", NULL};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        double got = 0;
        assert_int_equal(weft_parse_double(good[i], &got), 0);
        assert_true(got == strtod(good[i], NULL));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        double got = 77;
        assert_int_equal(weft_parse_double(bad[i], &got), WEFT_EPARSE);
        assert_true(got == 77);
    }
    double got = 77;
    errno = 9;
    assert_int_equal(weft_parse_double("1e999", &got), WEFT_ELIMIT);
    assert_int_equal(weft_parse_double("-1e999", &got), WEFT_ELIMIT);
    assert_true(got == 77);
    assert_int_equal(weft_parse_double("1e-999", &got), 0);
    assert_true(got == 0);
    assert_int_equal(errno, 9);
}

static void doubles_survive_as_short_text(void **state) {
    (void)state;
    char out[WEFT_NUM_TEXT];
    assert_int_equal(weft_format_double(0.1, out), 3);
    assert_string_equal(out, "0.1");
    weft_format_double(-0.0, out);
    assert_string_equal(out, "-0");
    weft_format_double(1e300, out);
    assert_string_equal(out, "1e+300");
    weft_format_double(NAN, out);
    assert_string_equal(out, "NaN");
    weft_format_double(-INFINITY, out);
    assert_string_equal(out, "-Infinity");
    weft_rng rng;
    weft_rng_seed(&rng, 5);
    for (int i = 0; i < 20000; i++) {
        const uint64_t bits = weft_rng_u64(&rng);
        double value = 0;
        double back = 0;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        const size_t len = weft_format_double(value, out);
        assert_int_equal(len, strlen(out));
        assert_int_equal(weft_parse_double(out, &back), 0);
        assert_memory_equal(&back, &value, sizeof value);
    }
}

static void the_locale_does_not_matter(void **state) {
    (void)state;
    static const char *const commas[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", NULL};
    for (size_t i = 0; commas[i] && !setlocale(LC_NUMERIC, commas[i]); i++) continue;
    char out[WEFT_NUM_TEXT];
    double value = 0;
    weft_format_double(1.5, out);
    assert_string_equal(out, "1.5");
    assert_int_equal(weft_parse_double("2.25", &value), 0);
    assert_true(value == 2.25);
    setlocale(LC_NUMERIC, "C");
}

static void bools(void **state) {
    (void)state;
    static const char *const on[] = {"true", "TRUE", "yes", "on", "1"};
    static const char *const off[] = {"false", "No", "off", "0"};
    static const char *const bad[] = {"", "t", "2", "truee", " true", NULL};
    int got = 7;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(weft_parse_bool(bad[i], &got), WEFT_EPARSE);
    assert_int_equal(got, 7);
    for (size_t i = 0; i < sizeof on / sizeof on[0]; i++) {
        assert_int_equal(weft_parse_bool(on[i], &got), 0);
        assert_int_equal(got, 1);
    }
    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {
        assert_int_equal(weft_parse_bool(off[i], &got), 0);
        assert_int_equal(got, 0);
    }
}

static void durations(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int rc;
        int64_t want;
    } cases[] = {
        {"250ms", 0, 250000000},
        {"1.5s", 0, 1500000000},
        {"2m", 0, 120000000000},
        {"1h", 0, 3600000000000},
        {"1h30m", 0, 5400000000000},
        {"1d2h3m4s5ms6us7ns", 0, 93784005006007},
        {"0", 0, 0},
        {"-0", 0, 0},
        {"0s", 0, 0},
        {"-1.5s", 0, -1500000000},
        {"0.000000001s", 0, 1},
        {"0.0000000010000000000000000000s", 0, 1},
        {"1.5ns", WEFT_EPARSE, 0},
        {"0.0000000001s", WEFT_EPARSE, 0},
        {"0.0000000010000000000000000001s", WEFT_EPARSE, 0},
        {"9223372036854775807ns", 0, INT64_MAX},
        {"-9223372036854775808ns", 0, INT64_MIN},
        {"9223372036854775808ns", WEFT_ELIMIT, 0},
        {"106752d", WEFT_ELIMIT, 0},
        {"99999999999999999999999s", WEFT_ELIMIT, 0},
        {"99999999999999999999999", WEFT_EPARSE, 0},
        {"1", WEFT_EPARSE, 0},
        {"s", WEFT_EPARSE, 0},
        {".5s", WEFT_EPARSE, 0},
        {"5.s", WEFT_EPARSE, 0},
        {"1s1s", WEFT_EPARSE, 0},
        {"1ms1s", WEFT_EPARSE, 0},
        {"1s-5ms", WEFT_EPARSE, 0},
        {"+1s", WEFT_EPARSE, 0},
        {"1 s", WEFT_EPARSE, 0},
        {"1S", WEFT_EPARSE, 0},
        {"1w", WEFT_EPARSE, 0},
        {"", WEFT_EPARSE, 0},
        {"-", WEFT_EPARSE, 0},
        {NULL, WEFT_EPARSE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t got = 12345;
        const int rc = weft_parse_duration(cases[i].text, &got);
        if (rc != cases[i].rc) fail_msg("%s: %d", cases[i].text, rc);
        if (got != (rc ? 12345 : cases[i].want))
            fail_msg("%s: %lld", cases[i].text, (long long)got);
    }
}

static void sizes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int rc;
        uint64_t want;
    } cases[] = {
        {"0", 0, 0},
        {"4096", 0, 4096},
        {"64KiB", 0, 65536},
        {"1.5MiB", 0, 1572864},
        {"10kB", 0, 10000},
        {"10KB", 0, 10000},
        {"1TiB", 0, UINT64_C(1) << 40},
        {"18446744073709551615", 0, UINT64_MAX},
        {"16777216TiB", WEFT_ELIMIT, 0},
        {"18446744073709551616", WEFT_ELIMIT, 0},
        {"0.3KiB", WEFT_EPARSE, 0},
        {"1.5", WEFT_EPARSE, 0},
        {"64kib", WEFT_EPARSE, 0},
        {"64 KiB", WEFT_EPARSE, 0},
        {"-1", WEFT_EPARSE, 0},
        {"1KiB1B", WEFT_EPARSE, 0},
        {"KiB", WEFT_EPARSE, 0},
        {"", WEFT_EPARSE, 0},
        {NULL, WEFT_EPARSE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t got = 12345;
        const int rc = weft_parse_size(cases[i].text, &got);
        if (rc != cases[i].rc) fail_msg("%s: %d", cases[i].text, rc);
        if (got != (rc ? 12345 : cases[i].want)) fail_msg("%s", cases[i].text);
    }
}

static void texts_parse_back(void **state) {
    (void)state;
    weft_rng rng;
    char out[WEFT_NUM_TEXT];
    weft_rng_seed(&rng, 6);
    for (int i = 0; i < 20000; i++) {
        const uint64_t u = weft_rng_u64(&rng) >> weft_rng_below(&rng, 64);
        const int64_t ns = (int64_t)(i % 2 ? u : 0 - u);
        int64_t signed_back = 0;
        uint64_t back = 0;
        size_t len = 0;
        len = weft_format_duration(ns, out);
        assert_int_equal(len, strlen(out));
        assert_int_equal(weft_parse_duration(out, &signed_back), 0);
        assert_int_equal(signed_back, ns);
        len = weft_format_int64(ns, out);
        assert_int_equal(len, strlen(out));
        assert_int_equal(weft_parse_int64(out, &signed_back), 0);
        assert_int_equal(signed_back, ns);
        len = weft_format_size(u, out);
        assert_int_equal(len, strlen(out));
        assert_int_equal(weft_parse_size(out, &back), 0);
        assert_true(back == u);
    }
}

static void texts_read_well(void **state) {
    (void)state;
    static const struct {
        int64_t ns;
        const char *want;
    } durations_want[] = {
        {0, "0s"},
        {1, "1ns"},
        {1500, "1.5us"},
        {250000000, "250ms"},
        {1500000000, "1.5s"},
        {90000000000, "1m30s"},
        {3600000000000, "1h"},
        {86400000000000, "24h"},
        {3600500000000, "1h500ms"},
        {-1000000, "-1ms"},
        {INT64_MIN, "-2562047h47m16.854775808s"},
    };
    char out[WEFT_NUM_TEXT];
    for (size_t i = 0; i < sizeof durations_want / sizeof durations_want[0]; i++) {
        weft_format_duration(durations_want[i].ns, out);
        assert_string_equal(out, durations_want[i].want);
    }
    weft_format_size(65536, out);
    assert_string_equal(out, "64KiB");
    weft_format_size(1000, out);
    assert_string_equal(out, "1000B");
    weft_format_size(0, out);
    assert_string_equal(out, "0B");
    weft_format_uint64(UINT64_MAX, out);
    assert_string_equal(out, "18446744073709551615");
    for (int kind = WEFT_NUM_INT64; kind <= WEFT_NUM_SIZE; kind++)
        assert_non_null(weft_num_expected((weft_num_kind)kind));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),
        cmocka_unit_test(doubles),
        cmocka_unit_test(doubles_survive_as_short_text),
        cmocka_unit_test(the_locale_does_not_matter),
        cmocka_unit_test(bools),
        cmocka_unit_test(durations),
        cmocka_unit_test(sizes),
        cmocka_unit_test(texts_parse_back),
        cmocka_unit_test(texts_read_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
