/* Texts of numbers and times: what is written reads back, for many values. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/pb/scalar.h"
#include "weft/error.h"

/* A fixed sequence: a failure repeats. */
static uint64_t next(void) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void whole_numbers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int rc;
        int64_t value;
    } table[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"1e0", 0, 1},
        {"10e-1", 0, 1},
        {"0.10e1", 0, 1},
        {"12.50e1", 0, 125},
        {"1000000e-6", 0, 1},
        {"0.0", 0, 0},
        {"0e9999", 0, 0},
        {"-1E+2", 0, -100},
        {"1.", WEFT_EPARSE, 0},
        {"", WEFT_EPARSE, 0},
        {"-", WEFT_EPARSE, 0},
        {"1e", WEFT_EPARSE, 0},
        {"1e+", WEFT_EPARSE, 0},
        {"00", WEFT_EPARSE, 0},
        {" 1", WEFT_EPARSE, 0},
        {"0x1", WEFT_EPARSE, 0},
        {"1.25e1", WEFT_EINVAL, 0},
        {"1e-1", WEFT_EINVAL, 0},
        {"9223372036854775807", 0, INT64_MAX},
        {"9223372036854775808", WEFT_ELIMIT, 0},
        {"-9223372036854775808", 0, INT64_MIN},
        {"-9223372036854775809", WEFT_ELIMIT, 0},
        {"9.223372036854775807e18", 0, INT64_MAX},
        {"922337203685477580700e-2", 0, INT64_MAX},
        {"1e19", WEFT_ELIMIT, 0},
        {"1e99999999999999999999", WEFT_ELIMIT, 0},
        {"1e-99999999999999999999", WEFT_EINVAL, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int64_t value = 0;
        const int rc = pb_parse_int64(table[i].text, &value);
        if (rc != table[i].rc || value != table[i].value) fail_msg("%s: %d", table[i].text, rc);
    }
    for (int i = 0; i < 20000; i++) {
        char text[WEFT_NUM_TEXT];
        const uint64_t n = next() >> (next() & 63);
        uint64_t back = 0;
        int64_t signed_back = 0;
        weft_format_uint64(n, text);
        assert_int_equal(pb_parse_uint64(text, &back), 0);
        assert_true(back == n);
        weft_format_int64((int64_t)n, text);
        assert_int_equal(pb_parse_int64(text, &signed_back), 0);
        assert_true(signed_back == (int64_t)n);
    }
    uint64_t u = 0;
    assert_int_equal(pb_parse_uint64("18446744073709551615", &u), 0);
    assert_int_equal(pb_parse_uint64("18446744073709551616", &u), WEFT_ELIMIT);
    assert_int_equal(pb_parse_uint64("-1", &u), WEFT_ELIMIT);
    assert_int_equal(pb_parse_uint64("-0", &u), 0);
}

static void floats(void **state) {
    (void)state;
    for (int i = 0; i < 200000; i++) {
        const uint32_t bits = (uint32_t)next();
        float value, back = 0;
        char text[WEFT_NUM_TEXT];
        memcpy(&value, &bits, sizeof value);
        const size_t len = pb_format_float(value, text);
        assert_int_equal(len, strlen(text));
        assert_int_equal(pb_parse_float(text, &back), 0);
        if (isnan(value))
            assert_true(isnan(back));
        else
            assert_memory_equal(&value, &back, sizeof value);
        if (isfinite(value)) assert_true(pb_is_number(text));
    }
    float f = 0;
    assert_int_equal(pb_parse_float("3.4028235e38", &f), 0);
    assert_int_equal(pb_parse_float("3.4028236e38", &f), WEFT_ELIMIT);
    assert_int_equal(pb_parse_float("1e-60", &f), 0);
    assert_true(f == 0);
}

/* Against the C library, for the days it knows. */
static void timestamps(void **state) {
    (void)state;
    const uint64_t span = (uint64_t)(PB_TIMESTAMP_MAX - PB_TIMESTAMP_MIN) + 1;
    for (int i = 0; i < 100000; i++) {
        const int64_t seconds = PB_TIMESTAMP_MIN + (int64_t)(next() % span);
        const int32_t nanos = i % 4 ? (int32_t)(next() % 1000000000) : 0;
        char text[WEFT_NUM_TEXT], expected[32];
        const char *why = NULL;
        int64_t back = 0;
        int32_t back_nanos = 0;
        assert_true(pb_format_timestamp(seconds, nanos, text));
        const time_t at = (time_t)seconds;
        struct tm tm;
        gmtime_r(&at, &tm);
        (void)snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02d",
                       (tm.tm_year + 1900) % 10000, tm.tm_mon % 12 + 1, tm.tm_mday % 100,
                       tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100);
        assert_memory_equal(text, expected, 19);
        assert_true(pb_parse_timestamp(text, &back, &back_nanos, &why));
        assert_true(back == seconds && back_nanos == nanos);
    }
    char text[WEFT_NUM_TEXT];
    assert_false(pb_format_timestamp(PB_TIMESTAMP_MIN - 1, 0, text));
    assert_false(pb_format_timestamp(PB_TIMESTAMP_MAX + 1, 0, text));
    assert_false(pb_format_timestamp(0, 1000000000, text));
    assert_false(pb_format_timestamp(INT64_MIN, 0, text));
}

static void durations(void **state) {
    (void)state;
    for (int i = 0; i < 100000; i++) {
        const int sign = next() & 1 ? -1 : 1;
        const int64_t seconds = (int64_t)(next() % (uint64_t)PB_DURATION_MAX) * sign;
        const int32_t nanos = (int32_t)(next() % 1000000000) * sign;
        char text[WEFT_NUM_TEXT];
        const char *why = NULL;
        int64_t back = 0;
        int32_t back_nanos = 0;
        assert_true(pb_format_duration(seconds, nanos, text));
        assert_true(pb_parse_duration(text, &back, &back_nanos, &why));
        assert_true(back == seconds && back_nanos == nanos);
    }
    char text[WEFT_NUM_TEXT];
    assert_false(pb_format_duration(1, -1, text));
    assert_false(pb_format_duration(-1, 1, text));
    assert_false(pb_format_duration(PB_DURATION_MAX, 1, text));
    assert_false(pb_format_duration(INT64_MIN, 0, text));
    assert_false(pb_format_duration(0, INT32_MIN, text));
}

/* Numbers of JSON have points, whatever the user's language has. */
static void not_in_the_locale(void **state) {
    (void)state;
    static const char *const locales[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "ps_AF.UTF-8"};
    for (size_t i = 0; i < sizeof locales / sizeof *locales; i++) {
        char text[WEFT_NUM_TEXT];
        float f = 0;
        (void)setlocale(LC_ALL, locales[i]); /* or stays as it is */
        pb_format_float(1.5F, text);
        assert_string_equal(text, "1.5");
        assert_int_equal(pb_parse_float("0.25", &f), 0);
        assert_true(f == 0.25F);
        (void)setlocale(LC_ALL, "C");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers),     cmocka_unit_test(floats),
        cmocka_unit_test(timestamps),        cmocka_unit_test(durations),
        cmocka_unit_test(not_in_the_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
