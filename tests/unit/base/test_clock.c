#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "weft/clock.h"
#include "weft/rng.h"

static void the_system_clock_moves(void **state) {
    (void)state;
    const int64_t before = weft_now(NULL);
    const int64_t after = weft_now(weft_clock_system());
    assert_true(before > 0 && after >= before);
    const int64_t wall = weft_wall(NULL) / WEFT_NS_PER_S;
    const int64_t libc = (int64_t)time(NULL);
    assert_true(wall >= libc - 2 && wall <= libc + 2);
}

static void the_manual_clock_stands_still(void **state) {
    (void)state;
    weft_clock_manual manual;
    weft_clock_manual_init(&manual, 500);
    assert_int_equal(weft_now(&manual.clock), 500);
    assert_int_equal(weft_now(&manual.clock), 500);
    weft_clock_manual_advance(&manual, 3 * WEFT_NS_PER_S);
    assert_int_equal(weft_now(&manual.clock), 3000000500);
    assert_int_equal(weft_wall(&manual.clock), 3000000500);
}

static void known_dates(void **state) {
    (void)state;
    static const struct {
        int64_t seconds, ns;
        const char *want;
    } cases[] = {
        {0, 0, "1970-01-01T00:00:00.000000Z"},
        {0, 999, "1970-01-01T00:00:00.000000Z"},
        {0, -1, "1969-12-31T23:59:59.999999Z"},
        {951782400, 0, "2000-02-29T00:00:00.000000Z"},
        {1769903999, 123456789, "2026-01-31T23:59:59.123456Z"},
        {4107542400, 0, "2100-03-01T00:00:00.000000Z"},
        {-2208988800, 0, "1900-01-01T00:00:00.000000Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[28];
        assert_string_equal(weft_time_format(cases[i].seconds * WEFT_NS_PER_S + cases[i].ns, out),
                            cases[i].want);
    }
    char out[28];
    assert_string_equal(weft_time_format(INT64_MAX, out), "2262-04-11T23:47:16.854775Z");
    assert_string_equal(weft_time_format(INT64_MIN, out), "1677-09-21T00:12:43.145224Z");
}

static void random_dates_agree_with_libc(void **state) {
    (void)state;
    weft_rng rng;
    weft_rng_seed(&rng, 3);
    for (int i = 0; i < 20000; i++) {
        const int64_t ns = (int64_t)weft_rng_u64(&rng);
        int64_t seconds = ns / WEFT_NS_PER_S;
        if (ns % WEFT_NS_PER_S < 0) seconds--;
        const time_t t = (time_t)seconds;
        struct tm tm;
        char want[20];
        char out[28];
        assert_non_null(gmtime_r(&t, &tm));
        assert_int_equal(strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%S", &tm), 19);
        weft_time_format(ns, out);
        assert_int_equal(strlen(out), 27);
        assert_memory_equal(out, want, 19);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_system_clock_moves),
        cmocka_unit_test(the_manual_clock_stands_still),
        cmocka_unit_test(known_dates),
        cmocka_unit_test(random_dates_agree_with_libc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
