#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weft/log.h"
#include "weft/utf8.h"

static int ends[2];
static weft_clock_manual manual;

static int start(void **state) {
    (void)state;
    if (pipe(ends)) return -1;
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    weft_clock_manual_init(&manual, INT64_C(1769903999123456789));
    weft_log_set_clock(&manual.clock);
    weft_log_set_fd(ends[1]);
    weft_log_set_level(WEFT_LOG_DEBUG);
    return 0;
}

static int stop(void **state) {
    (void)state;
    weft_log_set_fd(2);
    weft_log_set_clock(NULL);
    weft_log_set_service(NULL);
    weft_log_set_trace(NULL, NULL);
    close(ends[0]);
    return close(ends[1]);
}

#define TIME "{\"time\":\"2026-01-31T23:59:59.123456Z\","

/* Everything logged since the last call. */
static char *logged(void) {
    static char text[70000];
    ssize_t n = read(ends[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void a_line_is_json(void **state) {
    (void)state;
    weft_log(WEFT_LOG_INFO, "placed", WEFT_S("order", "o-1"), WEFT_I("total", INT64_MIN),
             WEFT_D("ratio", 0.1), WEFT_B("paid", 1), WEFT_B("sent", 0), WEFT_S("note", NULL));
    assert_string_equal(logged(), TIME "\"level\":\"info\",\"msg\":\"placed\",\"order\":\"o-1\","
                                       "\"total\":-9223372036854775808,\"ratio\":0.1,\"paid\":true,"
                                       "\"sent\":false,\"note\":null}\n");
    weft_log(WEFT_LOG_WARN, "bare");
    assert_string_equal(logged(), TIME "\"level\":\"warn\",\"msg\":\"bare\"}\n");
    weft_log(WEFT_LOG_ERROR, "odd", WEFT_D("a", NAN), WEFT_D("b", INFINITY),
             WEFT_D("c", -INFINITY));
    assert_string_equal(logged(), TIME "\"level\":\"error\",\"msg\":\"odd\",\"a\":\"NaN\","
                                       "\"b\":\"Infinity\",\"c\":\"-Infinity\"}\n");
}

static void hostile_text_stays_on_its_line(void **state) {
    (void)state;
    weft_log(WEFT_LOG_INFO, "a\n{\"level\":\"error\"}\xFF", WEFT_S("k\"ey", "\x1b[2J\\"));
    assert_string_equal(
        logged(),
        TIME "\"level\":\"info\",\"msg\":\"a\\n{\\\"level\\\":\\\"error\\\"}\xEF\xBF\xBD\","
             "\"k\\\"ey\":\"\\u001b[2J\\\\\"}\n");
}

static void levels(void **state) {
    (void)state;
    weft_log_set_level(WEFT_LOG_WARN);
    assert_false(weft_log_enabled(WEFT_LOG_INFO));
    assert_true(weft_log_enabled(WEFT_LOG_WARN));
    weft_log(WEFT_LOG_INFO, "hidden");
    assert_string_equal(logged(), "");
    weft_log_set_level(WEFT_LOG_OFF);
    assert_false(weft_log_enabled(WEFT_LOG_ERROR));
    assert_false(weft_log_enabled(WEFT_LOG_OFF));
    weft_log_write(WEFT_LOG_OFF, "never", NULL);
    assert_string_equal(logged(), "");
    weft_log_level level = WEFT_LOG_ERROR;
    assert_int_equal(weft_log_parse_level("Debug", &level), 0);
    assert_int_equal(level, WEFT_LOG_DEBUG);
    assert_int_equal(weft_log_parse_level("verbose", &level), WEFT_EINVAL);
    assert_int_equal(weft_log_parse_level(NULL, &level), WEFT_EINVAL);
    assert_int_equal(level, WEFT_LOG_DEBUG);
}

static void fields_are_not_evaluated_when_off(void **state) {
    (void)state;
    int evaluated = 0;
    weft_log_set_level(WEFT_LOG_ERROR);
    weft_log(WEFT_LOG_INFO, "x", WEFT_I("n", ++evaluated));
    assert_int_equal(evaluated, 0);
}

static void service_and_trace(void **state) {
    (void)state;
    weft_log_set_service("order");
    weft_log_set_trace("0123456789abcdef0123456789abcdef", "0123456789abcdef");
    weft_log(WEFT_LOG_INFO, "x");
    assert_string_equal(logged(), TIME "\"level\":\"info\",\"service\":\"order\",\"msg\":\"x\","
                                       "\"trace_id\":\"0123456789abcdef0123456789abcdef\","
                                       "\"span_id\":\"0123456789abcdef\"}\n");
    weft_log_set_trace("0123456789ABCDEF0123456789abcdef", "short"); /* not ids: cleared */
    weft_log(WEFT_LOG_INFO, "x");
    assert_null(strstr(logged(), "_id"));
}

static void long_lines_are_cut_and_marked(void **state) {
    (void)state;
    static char huge[40000];
    /* A character of two bytes at every offset: the cut must not fall inside one. */
    for (size_t i = 0; i + 2 < sizeof huge; i += 2) memcpy(huge + i, "\xC3\xA9", 2);
    for (size_t skip = 0; skip < 2; skip++) {
        weft_log(WEFT_LOG_INFO, skip ? "odd" : "even!", WEFT_S("a", huge), WEFT_I("after", 7),
                 WEFT_S("b", huge), WEFT_I("last", 8));
        const char *line = logged();
        const size_t len = strlen(line);
        assert_true(len > 15000 && len <= 16384);
        assert_int_equal(line[len - 1], '\n');
        assert_non_null(strstr(line, "\xE2\x80\xA6\",\"after\":7,\"b\":\""));
        assert_string_equal(line + len - 19, ",\"truncated\":true}\n");
        assert_true(weft_utf8_valid(line, len));
    }
}

static void any_number_of_fields_fits_the_bound(void **state) {
    (void)state;
    static weft_log_field fields[3001];
    for (size_t value = 0; value < 40; value++) {
        char text[64] = {0};
        memset(text, '\n', value);
        for (size_t i = 0; i < 3000; i++) fields[i] = WEFT_S("key", text);
        weft_log_write(WEFT_LOG_INFO, "many", fields);
        const char *line = logged();
        const size_t len = strlen(line);
        assert_true(len <= 16384);
        assert_string_equal(line + len - 19, ",\"truncated\":true}\n");
        assert_int_equal(strcspn(line, "\n"), len - 1);
    }
}

static void a_lost_line_is_counted(void **state) {
    (void)state;
    const uint64_t before = weft_log_dropped();
    weft_log_set_fd(-1);
    errno = 77;
    weft_log(WEFT_LOG_INFO, "lost");
    assert_int_equal(errno, 77);
    assert_int_equal(weft_log_dropped(), before + 1);
}

static void a_torn_line_does_not_spoil_the_next(void **state) {
    (void)state;
    static char filler[8000];
    memset(filler, 'f', sizeof filler - 1);
    const uint64_t before = weft_log_dropped();
    (void)fcntl(ends[1], F_SETFL, O_NONBLOCK);
    while (weft_log_dropped() == before) weft_log(WEFT_LOG_INFO, "fill", WEFT_S("f", filler));
    char last = 0;
    char *text = logged();
    for (; *text; text = logged()) last = text[strlen(text) - 1];
    weft_log(WEFT_LOG_INFO, "next");
    text = logged();
    if (last != '\n') {
        assert_int_equal(text[0], '\n');
        text++;
    }
    assert_string_equal(text, TIME "\"level\":\"info\",\"msg\":\"next\"}\n");
    weft_log(WEFT_LOG_INFO, "next");
    assert_int_equal(logged()[0], '{');
}

enum { THREADS = 4, LINES = 100 };

static void *log_lines(void *user) {
    char trace[33];
    snprintf(trace, sizeof trace, "%032d", *(int *)user);
    weft_log_set_trace(trace, NULL);
    for (int i = 0; i < LINES; i++) weft_log(WEFT_LOG_INFO, "t", WEFT_I("thread", *(int *)user));
    return NULL;
}

static void threads_do_not_mix(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    int ids[THREADS];
    for (int i = 0; i < THREADS; i++) {
        ids[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, log_lines, &ids[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    int lines = 0;
    char *rest = NULL;
    for (char *line = strtok_r(logged(), "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char want[256];
        const int thread = line[strlen(line) - 2] - '0';
        snprintf(want, sizeof want,
                 TIME "\"level\":\"info\",\"msg\":\"t\",\"trace_id\":\"%032d\",\"thread\":%d}",
                 thread, thread);
        assert_string_equal(line, want);
        lines++;
    }
    assert_int_equal(lines, THREADS * LINES);
}

/* The level must come from WEFT_LOG before anyone sets it: runs first. */
static void the_environment_sets_the_level(void **state) {
    (void)state;
    assert_int_equal(setenv("WEFT_LOG", "error", 1), 0);
    assert_false(weft_log_enabled(WEFT_LOG_WARN));
    assert_true(weft_log_enabled(WEFT_LOG_ERROR));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_sets_the_level),
        cmocka_unit_test_setup_teardown(a_line_is_json, start, stop),
        cmocka_unit_test_setup_teardown(hostile_text_stays_on_its_line, start, stop),
        cmocka_unit_test_setup_teardown(levels, start, stop),
        cmocka_unit_test_setup_teardown(fields_are_not_evaluated_when_off, start, stop),
        cmocka_unit_test_setup_teardown(service_and_trace, start, stop),
        cmocka_unit_test_setup_teardown(long_lines_are_cut_and_marked, start, stop),
        cmocka_unit_test_setup_teardown(any_number_of_fields_fits_the_bound, start, stop),
        cmocka_unit_test_setup_teardown(a_lost_line_is_counted, start, stop),
        cmocka_unit_test_setup_teardown(a_torn_line_does_not_spoil_the_next, start, stop),
        cmocka_unit_test_setup_teardown(threads_do_not_mix, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
