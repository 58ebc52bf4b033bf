#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "weft/error.h"

static void names_and_sentences(void **state) {
    (void)state;
    assert_string_equal(weft_error_name(WEFT_EPARSE), "WEFT_EPARSE");
    assert_string_equal(weft_strerror(WEFT_EPARSE), "malformed input");
    assert_string_equal(weft_strerror(0), "ok");
#define X(name, number, text)                                       \
    assert_int_equal(WEFT_##name, -(number));                       \
    assert_string_equal(weft_error_name(-(number)), "WEFT_" #name); \
    assert_string_equal(weft_strerror(-(number)), text);
    WEFT_ERRORS(X)
#undef X
}

static void strange_numbers_have_names_too(void **state) {
    (void)state;
    const int strange[] = {1, 17, -15, -4096, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        assert_string_equal(weft_strerror(strange[i]), "unknown error");
        assert_non_null(weft_error_name(strange[i]));
    }
}

static void errno_maps_to_the_nearest(void **state) {
    (void)state;
    assert_int_equal(weft_error_from_errno(0), 0);
    assert_int_equal(weft_error_from_errno(ENOENT), WEFT_ENOTFOUND);
    assert_int_equal(weft_error_from_errno(EWOULDBLOCK), WEFT_EAGAIN);
    assert_int_equal(weft_error_from_errno(EMFILE), WEFT_ELIMIT);
    assert_int_equal(weft_error_from_errno(EPIPE), WEFT_ECLOSED);
    for (int i = 1; i < 4096; i++) assert_true(weft_error_from_errno(i) < 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_sentences),
        cmocka_unit_test(strange_numbers_have_names_too),
        cmocka_unit_test(errno_maps_to_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
