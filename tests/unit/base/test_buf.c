#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/base/sweep.h"
#include "weft/buf.h"
#include "weft/mem.h"
#include "weft/rng.h"
#include "weft/utf8.h"

static void an_unused_buffer_is_an_empty_string(void **state) {
    (void)state;
    weft_buf buf = {0};
    assert_string_equal(weft_buf_str(&buf), "");
    weft_buf_consume(&buf, 5);
    weft_buf_clear(&buf);
    weft_buf_commit(&buf, 0);
    assert_int_equal(weft_buf_adds(&buf, "zeroed"), 0);
    assert_string_equal(weft_buf_str(&buf), "zeroed");
    weft_buf_free(&buf);
    assert_null(buf.data);
    weft_buf_init(&buf, 10);
    char *empty = weft_buf_detach(&buf);
    assert_string_equal(empty, "");
    weft_free(empty);
}

static void random_edits_match_a_plain_array(void **state) {
    (void)state;
    static char model[20000];
    size_t len = 0;
    weft_rng rng;
    weft_buf buf;
    weft_rng_seed(&rng, 42);
    weft_buf_init(&buf, sizeof model);
    for (int step = 0; step < 3000; step++) {
        char piece[300];
        size_t n = weft_rng_below(&rng, sizeof piece);
        memset(piece, 'a' + step % 26, sizeof piece);
        if (weft_rng_below(&rng, 3) == 0) {
            n = n > len ? len : n;
            weft_buf_consume(&buf, n);
            memmove(model, model + n, len - n);
            len -= n;
        } else if (len + n <= sizeof model) {
            assert_int_equal(weft_buf_add(&buf, piece, n), 0);
            memcpy(model + len, piece, n);
            len += n;
        }
        assert_int_equal(buf.len, len);
        if (buf.data) assert_int_equal(buf.data[len], 0);
        assert_memory_equal(weft_buf_str(&buf), model, len);
    }
    weft_buf_consume(&buf, SIZE_MAX);
    assert_int_equal(buf.len, 0);
    weft_buf_free(&buf);
}

static void the_maximum_is_exact_and_the_error_sticks(void **state) {
    (void)state;
    weft_buf buf;
    weft_buf_init(&buf, 100);
    for (int i = 0; i < 100; i++) assert_int_equal(weft_buf_addc(&buf, 'x'), 0);
    assert_int_equal(weft_buf_addc(&buf, 'x'), WEFT_ELIMIT);
    assert_int_equal(buf.len, 100);
    assert_int_equal(buf.data[100], 0);
    weft_buf_consume(&buf, 50);
    assert_int_equal(weft_buf_adds(&buf, "y"), WEFT_ELIMIT); /* sticky */
    assert_null(weft_buf_reserve(&buf, 1));
    assert_null(weft_buf_detach(&buf));
    assert_int_equal(buf.error, 0);
    assert_int_equal(weft_buf_printf(&buf, "%0101d", 1), WEFT_ELIMIT);
    weft_buf_clear(&buf);
    assert_int_equal(weft_buf_printf(&buf, "%0100d", 1), 0);
    assert_int_equal(buf.len, 100);
    weft_buf_clear(&buf);
    assert_int_equal(weft_buf_printf(&buf, "%01000d", 1), WEFT_ELIMIT);
    weft_buf_free(&buf);
    weft_buf_init(&buf, SIZE_MAX);
    assert_null(weft_buf_reserve(&buf, SIZE_MAX - 1));
    assert_int_equal(buf.error, WEFT_ELIMIT);
    weft_buf_free(&buf);
}

static void a_buffer_may_append_itself(void **state) {
    (void)state;
    weft_buf buf;
    weft_buf_init(&buf, 0);
    weft_buf_adds(&buf, "0123456789");
    for (int i = 0; i < 6; i++) assert_int_equal(weft_buf_add(&buf, buf.data, buf.len), 0);
    assert_int_equal(buf.len, 640);
    for (size_t i = 0; i < buf.len; i++) assert_int_equal(buf.data[i], '0' + (char)(i % 10));
    assert_int_equal(weft_buf_printf(&buf, "%s", buf.data), 0);
    assert_int_equal(buf.len, 1280);
    weft_buf_free(&buf);
}

static void reserve_and_commit(void **state) {
    (void)state;
    weft_buf buf;
    weft_buf_init(&buf, 1000);
    char *to = weft_buf_reserve(&buf, 500);
    assert_non_null(to);
    assert_string_equal(weft_buf_str(&buf), "");
    memset(to, 'r', 500);
    weft_buf_commit(&buf, 3);
    assert_string_equal(weft_buf_str(&buf), "rrr");
    assert_non_null(weft_buf_reserve(&buf, 997));
    assert_null(weft_buf_reserve(&buf, 998));
    weft_buf_free(&buf);
}

static void check_json(const char *text, size_t size, const char *want) {
    weft_buf buf;
    weft_buf_init(&buf, 0);
    assert_int_equal(weft_buf_add_json(&buf, text, size), 0);
    assert_string_equal(weft_buf_str(&buf), want);
    weft_buf_free(&buf);
}

#define CHECK_JSON(text, want) check_json((text), sizeof(text) - 1, (want))

static void json_strings_are_escaped(void **state) {
    (void)state;
    CHECK_JSON("", "");
    CHECK_JSON("plain", "plain");
    CHECK_JSON("a\"b\\c/", "a\\\"b\\\\c/");
    CHECK_JSON("\b\f\n\r\t", "\\b\\f\\n\\r\\t");
    CHECK_JSON("\0\x1f\x7f", "\\u0000\\u001f\x7f");
    CHECK_JSON("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
    CHECK_JSON("\xFFz\xC3", "\xEF\xBF\xBDz\xEF\xBF\xBD");
    CHECK_JSON("\xF0\x9F\x98z", "\xEF\xBF\xBDz"); /* one mark for a cut-off character */
    CHECK_JSON("\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); /* a surrogate */
}

static void json_of_noise_is_valid_utf8(void **state) {
    (void)state;
    weft_rng rng;
    weft_rng_seed(&rng, 7);
    for (int round = 0; round < 200; round++) {
        char noise[2000];
        weft_buf buf;
        for (size_t i = 0; i < sizeof noise; i++) noise[i] = (char)weft_rng_u64(&rng);
        weft_buf_init(&buf, 0);
        assert_int_equal(weft_buf_add_json(&buf, noise, sizeof noise), 0);
        assert_true(weft_utf8_valid(buf.data, buf.len));
        for (size_t i = 0; i < buf.len; i++) assert_true((unsigned char)buf.data[i] >= 0x20);
        weft_buf_free(&buf);
    }
}

static void json_that_does_not_fit_leaves_nothing(void **state) {
    (void)state;
    char text[1500];
    weft_buf buf;
    memset(text, '\n', sizeof text);
    weft_buf_init(&buf, 2000);
    weft_buf_adds(&buf, "keep");
    assert_int_equal(weft_buf_add_json(&buf, text, sizeof text), WEFT_ELIMIT);
    assert_string_equal(weft_buf_str(&buf), "keep");
    weft_buf_free(&buf);
}

static void files(void **state) {
    (void)state;
    char path[] = "/tmp/weft-test-buf-XXXXXX";
    char content[10000];
    weft_buf buf;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (size_t i = 0; i < sizeof content; i++) content[i] = (char)(i * 7);
    assert_int_equal(write(fd, content, sizeof content), sizeof content);
    close(fd);
    weft_buf_init(&buf, sizeof content);
    assert_int_equal(weft_buf_read_file(&buf, path), 0);
    assert_int_equal(buf.len, sizeof content);
    assert_memory_equal(buf.data, content, sizeof content);
    weft_buf_free(&buf);
    weft_buf_init(&buf, sizeof content - 1);
    assert_int_equal(weft_buf_read_file(&buf, path), WEFT_ELIMIT);
    assert_int_equal(buf.len, 0);
    weft_buf_free(&buf);
    unlink(path);
    weft_buf_init(&buf, 0);
    assert_int_equal(weft_buf_read_file(&buf, path), WEFT_ENOTFOUND);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(weft_buf_read_file(&buf, "/tmp"), WEFT_EIO);
    assert_int_equal(errno, EISDIR);
    assert_int_equal(buf.error, 0); /* the next try may succeed */
    assert_int_equal(weft_buf_read_file(&buf, "/dev/null"), 0);
    assert_int_equal(buf.len, 0);
    weft_buf_free(&buf);
}

static int grow_in_every_way(void *user) {
    weft_buf buf;
    (void)user;
    weft_buf_init(&buf, 0);
    weft_buf_adds(&buf, "start");
    weft_buf_printf(&buf, "%0100d", 1);
    weft_buf_printf(&buf, "%0700d", 1);
    weft_buf_add_json(&buf, "\n\n\n", 3);
    char *to = weft_buf_reserve(&buf, 5000);
    if (to) weft_buf_commit(&buf, 5000);
    if (buf.data) assert_int_equal(buf.data[buf.len], 0);
    const int failed = buf.error;
    char *text = weft_buf_detach(&buf);
    assert_int_equal(text == NULL, failed != 0);
    weft_free(text);
    return failed;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    int last = -1;
    assert_true(sweep_run(grow_in_every_way, NULL, &last) >= 4);
    assert_int_equal(last, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unused_buffer_is_an_empty_string),
        cmocka_unit_test(random_edits_match_a_plain_array),
        cmocka_unit_test(the_maximum_is_exact_and_the_error_sticks),
        cmocka_unit_test(a_buffer_may_append_itself),
        cmocka_unit_test(reserve_and_commit),
        cmocka_unit_test(json_strings_are_escaped),
        cmocka_unit_test(json_of_noise_is_valid_utf8),
        cmocka_unit_test(json_that_does_not_fit_leaves_nothing),
        cmocka_unit_test(files),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
