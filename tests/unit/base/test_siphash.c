#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "weft/map.h"

/* What CPython 3.11 (algorithm siphash13) says with PYTHONHASHSEED=0, which makes the key zero:
 * hash(b"abcdefghijklmnopqrstuvwxyz0123456789"[:size]) & (2**64 - 1). */
static void agrees_with_cpython(void **state) {
    (void)state;
    static const struct {
        size_t size;
        uint64_t want;
    } cases[] = {
        {1, UINT64_C(0x407448d2b89b1813)},  {2, UINT64_C(0x555508cbc6add439)},
        {7, UINT64_C(0x6db12aae9070f506)},  {8, UINT64_C(0x3f7b849c0b8e35ea)},
        {9, UINT64_C(0xf89b34a3d11eb6e5)},  {15, UINT64_C(0x1fd27a29b0e9dc7a)},
        {16, UINT64_C(0x94f60d3d29e6a312)}, {17, UINT64_C(0x61c47e6da27eaccc)},
        {24, UINT64_C(0x42acf3a099aff2dc)}, {36, UINT64_C(0xfe9ee02c60cec362)},
    };
    static const char text[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_true(weft_siphash13(text, cases[i].size, 0, 0) == cases[i].want);
}

/* Key 00 01 .. 0f, messages of no and of one byte: the first two of the Rust library's SipHasher13
 * vectors. */
static void keys_count(void **state) {
    (void)state;
    const uint64_t key0 = UINT64_C(0x0706050403020100);
    const uint64_t key1 = UINT64_C(0x0f0e0d0c0b0a0908);
    assert_true(weft_siphash13(NULL, 0, key0, key1) == UINT64_C(0xabac0158050fc4dc));
    assert_true(weft_siphash13("", 1, key0, key1) == UINT64_C(0xc9f49bf37d57ca93));
    assert_true(weft_siphash13("", 1, key0, 0) != weft_siphash13("", 1, key0, key1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_cpython),
        cmocka_unit_test(keys_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
