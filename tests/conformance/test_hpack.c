/* A million fields each way between our HPACK and libnghttp2's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/hpack_diff.h"

#define SEEDS 20
#define FIELDS 50000

static void test_encode(void **state) {
    (void)state;
    for (uint64_t seed = 100; seed < 100 + SEEDS; seed++) {
        const char *problem = hpack_diff_encode(seed, FIELDS);
        if (problem) fail_msg("seed %d: %s", (int)seed, problem);
    }
}

static void test_decode(void **state) {
    (void)state;
    for (uint64_t seed = 200; seed < 200 + SEEDS; seed++) {
        const char *problem = hpack_diff_decode(seed, FIELDS);
        if (problem) fail_msg("seed %d: %s", (int)seed, problem);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
