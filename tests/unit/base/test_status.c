#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/base/sweep.h"
#include "weft/status.h"

static void ok_carries_nothing(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    weft_status st = weft_status_make(arena, WEFT_OK, "ignored");
    assert_false(weft_failed(st));
    assert_null(st.body);
    assert_string_equal(weft_status_message(st), "");
    assert_int_equal(weft_arena_used(arena), 0);
    assert_false(weft_failed(weft_ok()));
    weft_arena_free(arena);
}

static void text_and_code(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    weft_status st = weft_status_make(arena, WEFT_NOT_FOUND, "no product \"%s\"", "sku-9");
    assert_true(weft_failed(st));
    assert_int_equal(weft_status_code(st), 5);
    assert_string_equal(weft_status_message(st), "no product \"sku-9\"");
    assert_int_equal(weft_status_code(weft_status_make(arena, 17, "x")), WEFT_UNKNOWN);
    assert_int_equal(weft_status_code(weft_status_make(arena, -1, "x")), WEFT_UNKNOWN);
    weft_arena_free(arena);
}

static void copies_outlive_the_source(void **state) {
    (void)state;
    weft_arena *from = weft_arena_new(0);
    weft_arena *to = weft_arena_new(0);
    static const uint8_t details[] = {8, 5, 0, 18};
    weft_status_body body = {weft_arena_strdup(from, "text"),
                             weft_arena_memdup(from, details, sizeof details), sizeof details};
    weft_status copy = weft_status_copy(to, (weft_status){WEFT_ABORTED, &body});
    weft_arena_free(from);
    assert_int_equal(copy.code, WEFT_ABORTED);
    assert_string_equal(weft_status_message(copy), "text");
    assert_int_equal(copy.body->details_len, sizeof details);
    assert_memory_equal(copy.body->details, details, sizeof details);
    copy = weft_status_copy(to, (weft_status){WEFT_ABORTED, NULL});
    assert_null(copy.body);
    weft_arena_free(to);
}

static void without_memory_the_code_stays(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(64);
    weft_status st = weft_status_make(arena, WEFT_INTERNAL, "%0100d", 1);
    assert_int_equal(st.code, WEFT_INTERNAL);
    assert_string_equal(weft_status_message(st), "INTERNAL (no memory left for the message)");
    st = weft_status_make(NULL, WEFT_ABORTED, "x");
    assert_int_equal(st.code, WEFT_ABORTED);
    assert_non_null(strstr(weft_status_message(st), "ABORTED"));
    weft_arena_free(arena);
}

static int make_and_copy(void *user) {
    (void)user;
    static char text[3000];
    static const uint8_t details[3000];
    memset(text, 'x', sizeof text - 1);
    weft_arena *arena = weft_arena_new(0);
    if (!arena) return -1;
    weft_status_body body = {text, details, sizeof details};
    weft_status made = weft_status_make(arena, WEFT_DATA_LOSS, "%s", text);
    weft_status copy = weft_status_copy(arena, (weft_status){WEFT_DATA_LOSS, &body});
    assert_int_equal(made.code, WEFT_DATA_LOSS);
    assert_int_equal(copy.code, WEFT_DATA_LOSS);
    assert_int_equal(copy.body->details == NULL, copy.body->details_len == 0);
    const int whole = !strcmp(weft_status_message(made), text) &&
                      !strcmp(weft_status_message(copy), text) && copy.body->details;
    weft_arena_free(arena);
    return whole ? 0 : -1;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    int last = -1;
    assert_true(sweep_run(make_and_copy, NULL, &last) >= 3);
    assert_int_equal(last, 0);
}

static void names_both_ways(void **state) {
    (void)state;
    for (int code = 0; code <= 16; code++)
        assert_int_equal(weft_code_parse(weft_code_name(code)), code);
    assert_string_equal(weft_code_name(16), "UNAUTHENTICATED");
    assert_string_equal(weft_code_name(17), "UNKNOWN");
    assert_string_equal(weft_code_name(-1), "UNKNOWN");
    assert_int_equal(weft_code_parse("not_found"), -1);
    assert_int_equal(weft_code_parse(""), -1);
}

/* What `st` makes weft_report print. */
static int report_into(weft_status st, char *out, size_t size) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(stderr);
    const int saved = dup(2);
    dup2(ends[1], 2);
    const int rc = weft_report(st);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    close(ends[1]);
    const ssize_t n = read(ends[0], out, size - 1);
    out[n > 0 ? n : 0] = '\0';
    close(ends[0]);
    return rc;
}

static void reports(void **state) {
    (void)state;
    char out[400];
    weft_arena *arena = weft_arena_new(0);
    assert_int_equal(report_into(weft_ok(), out, sizeof out), 0);
    assert_string_equal(out, "");
    weft_status st = weft_status_make(arena, WEFT_NOT_FOUND, "no product \"sku-9\"");
    assert_int_equal(report_into(st, out, sizeof out), 1);
    assert_string_equal(out, "error: NOT_FOUND: no product \"sku-9\"\n");
    assert_int_equal(report_into((weft_status){WEFT_CANCELLED, NULL}, out, sizeof out), 1);
    assert_string_equal(out, "error: CANCELLED\n");
    /* A server must not be able to write to the terminal. */
    st = weft_status_make(arena, WEFT_INTERNAL, "a\nb\x1b[2J");
    assert_int_equal(report_into(st, out, sizeof out), 1);
    assert_string_equal(out, "error: INTERNAL: a\nb\\x1b[2J\n");
    weft_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ok_carries_nothing),
        cmocka_unit_test(text_and_code),
        cmocka_unit_test(copies_outlive_the_source),
        cmocka_unit_test(without_memory_the_code_stays),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(names_both_ways),
        cmocka_unit_test(reports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
