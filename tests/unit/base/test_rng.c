#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "weft/rng.h"

static void the_reference_sequence(void **state) {
    (void)state;
    /* The authors' code from state 1, 2, 3, 4. */
    static const uint64_t want[] = {
        UINT64_C(11520),
        UINT64_C(0),
        UINT64_C(1509978240),
        UINT64_C(1215971899390074240),
        UINT64_C(1216172134540287360),
        UINT64_C(607988272756665600),
    };
    weft_rng rng = {{1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        assert_true(weft_rng_u64(&rng) == want[i]);
    /* SplitMix64 from 0. */
    weft_rng_seed(&rng, 0);
    assert_true(rng.state[0] == UINT64_C(0xe220a8397b1dcdaf));
    assert_true(rng.state[1] == UINT64_C(0x6e789e6aa1b965f4));
    assert_true(rng.state[2] == UINT64_C(0x06c45d188009454f));
    assert_true(rng.state[3] == UINT64_C(0xf88bb8a8724c81ec));
}

static void below_is_in_range_and_even(void **state) {
    (void)state;
    weft_rng rng;
    weft_rng_seed(&rng, 9);
    assert_true(weft_rng_below(&rng, 0) == 0);
    assert_true(weft_rng_below(&rng, 1) == 0);
    size_t seen[7] = {0};
    for (int i = 0; i < 70000; i++) seen[weft_rng_below(&rng, 7)]++;
    for (size_t i = 0; i < 7; i++) assert_in_range(seen[i], 9600, 10400); /* 4 sigma */
    /* With n = 3 * 2^62, taking a remainder would hit the lowest third twice as often. */
    const uint64_t n = UINT64_C(3) << 62;
    size_t low = 0;
    for (int i = 0; i < 30000; i++) {
        const uint64_t x = weft_rng_below(&rng, n);
        assert_true(x < n);
        low += x < n / 3;
    }
    assert_in_range(low, 9670, 10330);
}

static void doubles_are_in_the_unit_interval(void **state) {
    (void)state;
    weft_rng rng;
    weft_rng_seed(&rng, 10);
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        const double d = weft_rng_double(&rng);
        assert_true(d >= 0 && d < 1);
        sum += d;
    }
    assert_true(sum > 49600 && sum < 50400);
    weft_rng ones = {{0, 0, 0, 0}};
    assert_true(weft_rng_double(&ones) == 0);
}

static void seeds_repeat_and_forks_differ(void **state) {
    (void)state;
    weft_rng a;
    weft_rng b;
    weft_rng_seed(&a, 77);
    weft_rng_seed(&b, 77);
    weft_rng child_a = weft_rng_fork(&a);
    weft_rng child_b = weft_rng_fork(&b);
    assert_memory_equal(&child_a, &child_b, sizeof child_a);
    size_t same = 0;
    for (int i = 0; i < 100; i++) {
        const uint64_t x = weft_rng_u64(&a);
        assert_true(x == weft_rng_u64(&b));
        same += x == weft_rng_u64(&child_a);
    }
    assert_int_equal(same, 0);
}

static void system_seeds_differ(void **state) {
    (void)state;
    const uint64_t a = weft_rng_system_seed();
    const uint64_t b = weft_rng_system_seed();
    assert_true(a != b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_sequence),
        cmocka_unit_test(below_is_in_range_and_even),
        cmocka_unit_test(doubles_are_in_the_unit_interval),
        cmocka_unit_test(seeds_repeat_and_forks_differ),
        cmocka_unit_test(system_seeds_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
