#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/weft/json_input.h"

static const struct {
    const char *text;
    const char *values[6];
} cases[] = {
    {"", {NULL}},
    {" \n\t ", {NULL}},
    {"{}", {"{}"}},
    {"{}{}", {"{}", "{}"}},
    {"{\"a\":1}\n{\"a\":2}\n", {"{\"a\":1}", "{\"a\":2}"}},
    {"{\n  \"a\": [1,\n 2]\n}\n\n[3] ", {"{\n  \"a\": [1,\n 2]\n}", "[3]"}},
    {"\"}{\" {\"a\":\"\\\"}\"}", {"\"}{\"", "{\"a\":\"\\\"}\"}"}},
    {"1 2\n\"x\"\"y\"", {"1", "2", "\"x\"", "\"y\""}},
    {"null{}", {"null", "{}"}},
    {"12[3]", {"12", "[3]"}},
    /* what is not finished or not JSON is handed out for the decoder to refuse */
    {"{\"a\":", {"{\"a\":"}},
    {"}", {"}"}},
    {"nonsense here", {"nonsense", "here"}},
};

static void check(json_input *in, const char *const *values) {
    const char *text;
    size_t len;
    for (; *values; values++) {
        assert_int_equal(json_input_next(in, &text, &len), 1);
        assert_int_equal(len, strlen(*values));
        assert_memory_equal(text, *values, len);
    }
    assert_int_equal(json_input_next(in, &text, &len), 0);
    assert_int_equal(json_input_next(in, &text, &len), 0);
}

static void from_text(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_input in;
        assert_int_equal(json_input_text(&in, cases[i].text), 0);
        check(&in, cases[i].values);
        json_input_free(&in);
    }
}

static void from_a_file(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(write(ends[1], cases[i].text, strlen(cases[i].text)),
                         strlen(cases[i].text));
        close(ends[1]);
        json_input in;
        json_input_fd(&in, ends[0]);
        check(&in, cases[i].values);
        json_input_free(&in);
        close(ends[0]);
    }
}

/* A value is handed out as soon as it is complete, not when more comes. */
static void as_they_come(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    json_input in;
    json_input_fd(&in, ends[0]);
    const char *text;
    size_t len;
    for (int i = 0; i < 100; i++) {
        char line[32];
        int size = snprintf(line, sizeof line, "{\"n\":%d}", i);
        assert_int_equal(write(ends[1], line, (size_t)size), size);
        assert_int_equal(json_input_next(&in, &text, &len), 1);
        assert_int_equal(len, size);
        assert_memory_equal(text, line, len);
    }
    close(ends[1]);
    assert_int_equal(json_input_next(&in, &text, &len), 0);
    json_input_free(&in);
    close(ends[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_text),
        cmocka_unit_test(from_a_file),
        cmocka_unit_test(as_they_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
