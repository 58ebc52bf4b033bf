#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/base/sweep.h"
#include "weft/diag.h"

static void check_line(const weft_diag *diag, const char *want) {
    weft_buf line;
    weft_buf_init(&line, 0);
    assert_int_equal(weft_diag_format(diag, &line), 0);
    assert_string_equal(weft_buf_str(&line), want);
    weft_buf_free(&line);
}

static void lines_read_well(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    weft_diags diags;
    weft_diags_init(&diags, arena, 0);
    assert_int_equal(weft_diag_add(&diags, "mesh.yaml", 12, 7, "spec.retry.attemps",
                                   "did you mean \"attempts\"?", "unknown field"),
                     WEFT_EPARSE);
    check_line(diags.first,
               "mesh.yaml:12:7: spec.retry.attemps: unknown field (did you mean \"attempts\"?)");
    const weft_diag cases[] = {
        {.text = "bare"},
        {.text = "t", .file = "f"},
        {.text = "t", .file = "f", .line = 3},
        {.text = "t", .line = 3, .column = 4},
        {.text = "t", .line = 3},
        {.text = "t", .path = "a.b", .column = 9},
        {.text = "t", .path = ""},
        {.text = "two\nlines \x1b[31m\xFF", .hint = "a\tb"},
    };
    const char *const want[] = {
        "bare",      "f: t",   "f:3: t", "line 3, column 4: t",
        "line 3: t", "a.b: t", "t",      "two\\x0alines \\x1b[31m\xEF\xBF\xBD (a\\x09b)"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_line(&cases[i], want[i]);
    weft_arena_free(arena);
}

static void all_are_counted_some_are_kept(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    weft_diags diags;
    weft_diags_init(&diags, arena, 3);
    char text[] = "first";
    weft_diag_add(&diags, NULL, 0, 0, NULL, NULL, "%s", text);
    text[0] = 'X'; /* copied, not borrowed */
    for (int i = 0; i < 4; i++) weft_diag_add(&diags, NULL, 0, 0, NULL, NULL, "%d", i);
    assert_int_equal(diags.count, 5);
    char *printed = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&printed, &size);
    weft_diags_print(&diags, out);
    fclose(out);
    assert_string_equal(printed, "first\n0\n1\n... and 2 more\n");
    free(printed);
    assert_int_equal(weft_diag_add(NULL, NULL, 0, 0, NULL, NULL, "dropped"), WEFT_EPARSE);
    weft_arena_free(arena);
}

static int report_two(void *user) {
    (void)user;
    weft_arena *arena = weft_arena_new(0);
    if (!arena) return -1;
    static char long_text[5000];
    memset(long_text, 'x', sizeof long_text - 1);
    weft_diags diags;
    weft_diags_init(&diags, arena, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(weft_diag_add(&diags, "f", 1, 1, "p", "h", "%s", long_text), WEFT_EPARSE);
    assert_int_equal(diags.count, 2);
    size_t kept = 0;
    int whole = 1;
    for (const weft_diag *d = diags.first; d; d = d->next, kept++) {
        assert_non_null(d->text);
        if (strcmp(d->text, long_text) != 0) whole = 0;
    }
    weft_arena_free(arena);
    return whole && kept == 2 ? 0 : -1;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    int last = -1;
    assert_true(sweep_run(report_two, NULL, &last) >= 3);
    assert_int_equal(last, 0);
}

static void suggestions(void **state) {
    (void)state;
    static const char *const names[] = {
        "attempts", "timeout", "perTryTimeout", "listen", "lb", "retry", "max_streams", NULL, ""};
    static const struct {
        const char *given, *want;
    } cases[] = {
        {"attemps", "attempts"},
        {"atempts", "attempts"},
        {"attepmts", "attempts"},
        {"timout", "timeout"},
        {"TIMEOUT", "timeout"},
        {"pertrytimeout", "perTryTimeout"},
        {"per-try-timeout", "perTryTimeout"},
        {"max-streams", "max_streams"},
        {"maxStreams", "max_streams"},
        {"listne", "listen"},
        {"retyr", "retry"},
        {"bl", "lb"},
        {"xylophone", NULL},
        {"x", NULL},
        {"", NULL},
        {"zz", NULL},
        {"attributes", NULL},
        {"rules", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *got = weft_suggest(cases[i].given, names, sizeof names / sizeof names[0]);
        if (!cases[i].want) {
            if (got) fail_msg("%s: suggested %s", cases[i].given, got);
            continue;
        }
        if (!got) fail_msg("%s: nothing suggested", cases[i].given);
        assert_string_equal(got, cases[i].want);
    }
    assert_null(weft_suggest("listen", names, 0));
    char longest[200];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const char *const one[] = {longest};
    assert_null(weft_suggest(longest, one, 1)); /* beyond what is compared */
    assert_null(weft_suggest("aaaa", one, 1));
}

static void the_nearest_wins_and_the_first_of_equals(void **state) {
    (void)state;
    static const char *const names[] = {"drain-time", "drain-timeouts", "drain-timeout"};
    assert_string_equal(weft_suggest("drain-timeuot", names, 3), "drain-timeout");
    static const char *const equals[] = {"cat1", "cat2"};
    assert_string_equal(weft_suggest("cat3", equals, 2), "cat1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_read_well),
        cmocka_unit_test(all_are_counted_some_are_kept),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(suggestions),
        cmocka_unit_test(the_nearest_wins_and_the_first_of_equals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
