#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "tools/weft/log_line.h"

static void text_lines(void **state) {
    (void)state;
    static const struct {
        const char *line, *shown;
    } cases[] = {
        {"", ""},
        {"plain words", "plain words"},
        {"{\"time\":\"2026-01-31T23:59:59.123456Z\",\"level\":\"info\",\"service\":\"order\",\"msg\":\"placed\","
         "\"order\":\"o-1\",\"total\":1299}",
         "23:59:59.123 info  placed order=o-1 total=1299"},
        {"{\"msg\":\"no time\"}", "no time"},
        {" { \"level\" : \"warn\" , \"msg\" : \"spaces\" } ", "warn  spaces"},
        {"{\"time\":12,\"msg\":\"x\"}", "12 x"},
        {"{\"time\":\"now\",\"msg\":\"x\"}", "now x"},
        {"{\"msg\":\"say \\\"hi\\\" \\\\ \\/\"}", "say \"hi\" \\ /"},
        {"{\"msg\":\"two\\nlines\\u001b[31m\"}", "two\\nlines\\u001b[31m"},
        {"{\"msg\":\"m\",\"a\":\"two words\",\"b\":\"x=y\",\"c\":\"\",\"d\":null,\"e\":true,\"f\":-1.5e3}",
         "m a=\"two words\" b=\"x=y\" d=null e=true f=-1.5e3"},
        {"{\"msg\":\"m\",\"list\":[1,{\"a\":\"]\"}],\"o\":{}}", "m list=[1,{\"a\":\"]\"}] o={}"},
        /* no message, or no object: as it is */
        {"{\"level\":\"info\"}", "{\"level\":\"info\"}"},
        {"{\"msg\":7}", "{\"msg\":7}"},
        {"{\"msg\":\"x\"", "{\"msg\":\"x\""},
        {"{\"msg\":\"x\",}", "{\"msg\":\"x\",}"},
        {"{\"msg\":\"x\"} tail", "{\"msg\":\"x\"} tail"},
        {"{\"msg\":\"x\" \"a\":1}", "{\"msg\":\"x\" \"a\":1}"},
        {"{\"msg\":\"x\",\"a\":[1}", "{\"msg\":\"x\",\"a\":[1}"},
        {"{msg:\"x\"}", "{msg:\"x\"}"},
        {"[1,2]", "[1,2]"},
        {"{", "{"},
        {"{}", "{}"},
        /* colours of a program are dropped, other control characters are made visible */
        {"\033[31mred\033[0m", "red"},
        {"tab\there\rbell\a", "tab\there\\x0dbell\\x07"},
        {"\033]0;title\007", "\\x1b]0;title\\x07"},
        {"\033[2Jcleared", "\\x1b[2Jcleared"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_buf out;
        weft_buf_init(&out, 0);
        log_line_text(cases[i].line, strlen(cases[i].line), false, &out);
        assert_string_equal(weft_buf_str(&out), cases[i].shown);
        weft_buf_free(&out);
    }
}

static void colored_lines(void **state) {
    (void)state;
    weft_buf out;
    weft_buf_init(&out, 0);
    const char *line = "\033[31mred";
    log_line_text(line, strlen(line), true, &out);
    assert_string_equal(weft_buf_str(&out),
                        "\033[31mred\033[0m"); /* never bleeds into the next line */
    weft_buf_clear(&out);
    line = "{\"level\":\"error\",\"msg\":\"m\",\"a\":1}";
    log_line_text(line, strlen(line), true, &out);
    assert_string_equal(weft_buf_str(&out), "\033[31merror\033[0m m\033[2m a=\033[0m1");
    weft_buf_free(&out);
}

static void json_lines(void **state) {
    (void)state;
    static const struct {
        const char *line;
        int instance;
        const char *shown;
    } cases[] = {
        {"{\"service\":\"order\",\"msg\":\"x\"}", -1, "{\"service\":\"order\",\"msg\":\"x\"}"},
        {"{\"msg\":\"x\"}", -1, "{\"service\":\"order\",\"msg\":\"x\"}"},
        {"{\"msg\":\"x\"}", 2, "{\"service\":\"order\",\"instance\":2,\"msg\":\"x\"}"},
        {"{\"service\":\"order\"}", 2, "{\"instance\":2,\"service\":\"order\"}"},
        {"{}", -1, "{\"service\":\"order\"}"},
        {"{}", 0, "{\"service\":\"order\",\"instance\":0}"},
        {"a \"b\" \033", -1,
         "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"service\":\"order\",\"msg\":\"a \\\"b\\\" \\u001b\"}"},
        {"{\"msg\":", 1,
         "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"service\":\"order\",\"instance\":1,\"msg\":\"{\\\"msg\\\":\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_buf out;
        weft_buf_init(&out, 0);
        log_line_json(cases[i].line, strlen(cases[i].line), "order", cases[i].instance, 0, &out);
        assert_string_equal(weft_buf_str(&out), cases[i].shown);
        weft_buf_free(&out);
    }
}

/* Every prefix of a line, and every line with a byte changed, is shown somehow without reading past its end. */
static void damaged_lines(void **state) {
    (void)state;
    const char *line =
        "{\"time\":\"2026-01-31T23:59:59.123456Z\",\"msg\":\"a\\\"b\",\"c\":[{\"d\":1},null]}";
    size_t len = strlen(line);
    for (size_t cut = 0; cut <= len; cut++) {
        char *copy = test_malloc(cut ? cut : 1);
        memcpy(copy, line, cut);
        weft_buf out;
        weft_buf_init(&out, 0);
        log_line_text(copy, cut, true, &out);
        log_line_json(copy, cut, "s", -1, 0, &out);
        for (size_t at = 0; at < cut; at++) {
            char kept = copy[at];
            static const char bytes[] = {'"', '\\', '{', '}', ']', '\0', '\n', ','};
            for (size_t b = 0; b < sizeof bytes; b++) {
                copy[at] = bytes[b];
                weft_buf_clear(&out);
                log_line_text(copy, cut, false, &out);
                assert_int_equal(out.error, 0);
            }
            copy[at] = kept;
        }
        weft_buf_free(&out);
        test_free(copy);
    }
}

static void deep_lines(void **state) {
    (void)state;
    char line[600] = "{\"msg\":\"m\",\"a\":";
    size_t at = strlen(line);
    for (int i = 0; i < 200; i++) line[at++] = '[';
    for (int i = 0; i < 200; i++) line[at++] = ']';
    line[at++] = '}';
    weft_buf out;
    weft_buf_init(&out, 0);
    log_line_text(line, at, false, &out); /* too deep to be looked into: as it is */
    assert_int_equal(out.len, at);
    weft_buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines), cmocka_unit_test(colored_lines),
        cmocka_unit_test(json_lines), cmocka_unit_test(damaged_lines),
        cmocka_unit_test(deep_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
