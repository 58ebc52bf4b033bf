#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "weft/flags.h"

static const char *text_target;
static int64_t int_target;
static double real_target;
static bool bool_target;
static int64_t duration_target;
static uint64_t size_target;
static weft_addr address_target;
static int choice_target;
static weft_flag_list list_target;
static const char *const levels[] = {"debug", "info", "warn", NULL};

/* In the order of the types. */
static const weft_flag rows[] = {
    {.name = "text", .type = WEFT_FLAG_STRING, .to.string = &text_target, .min = "1", .max = "5"},
    {.name = "int", .type = WEFT_FLAG_INT, .to.integer = &int_target, .min = "-2", .max = "1000"},
    {.name = "real", .type = WEFT_FLAG_DOUBLE, .to.real = &real_target, .min = "0", .max = "1"},
    {.name = "bool", .type = WEFT_FLAG_BOOL, .to.boolean = &bool_target},
    {.name = "time", .type = WEFT_FLAG_DURATION, .to.duration = &duration_target, .min = "1ms"},
    {.name = "size", .type = WEFT_FLAG_SIZE, .to.size = &size_target, .max = "1MiB"},
    {.name = "addr", .type = WEFT_FLAG_ADDRESS, .to.address = &address_target},
    {.name = "enum", .type = WEFT_FLAG_ENUM, .to.choice = &choice_target, .choices = levels},
    {.name = "list", .type = WEFT_FLAG_LIST, .to.list = &list_target},
};

static void good_values_arrive(void **state) {
    (void)state;
    static const char *const texts[] = {"abc",  "-2",  "0.25", "yes", "1.5s",
                                        "1MiB", "a:1", "warn", "item"};
    weft_arena *arena = weft_arena_new(0);
    char copy[8] = "abc";
    for (size_t i = 0; i < WEFT_COUNT(rows); i++) {
        assert_int_equal(rows[i].type, i);
        const char *why = "untouched";
        assert_int_equal(weft_flag_parse(&rows[i], i ? texts[i] : copy, arena, true, &why, NULL),
                         0);
        assert_null(why);
    }
    copy[0] = 'X';
    assert_string_equal(text_target, "abc");
    assert_int_equal(int_target, -2);
    assert_true(real_target == 0.25);
    assert_true(bool_target);
    assert_int_equal(duration_target, 1500000000);
    assert_int_equal(size_target, 1048576);
    assert_int_equal(address_target.kind, WEFT_ADDR_NAME);
    assert_int_equal(choice_target, 2);
    assert_int_equal(list_target.count, 1);
    assert_string_equal(list_target.items[0], "item");
    assert_int_equal(weft_flag_parse(&rows[8], "more", arena, true, NULL, NULL), 0);
    assert_int_equal(list_target.count, 2);
    assert_string_equal(list_target.items[1], "more");
    assert_null(list_target.items[2]);
    /* Checked, not stored. */
    assert_int_equal(weft_flag_parse(&rows[1], "7", arena, false, NULL, NULL), 0);
    assert_int_equal(int_target, -2);
    weft_arena_free(arena);
}

static void bad_values_are_explained(void **state) {
    (void)state;
    static const struct {
        size_t row;
        const char *text, *why, *hint;
    } cases[] = {
        {0, "", "\"\" has 0 bytes; allowed: 1 to 5 bytes", NULL},
        {0, "abcdef", "\"abcdef\" has 6 bytes; allowed: 1 to 5 bytes", NULL},
        {1, "x", "\"x\" is not a whole number; allowed: -2 to 1000", NULL},
        {1, "-3", "-3 is out of range; allowed: -2 to 1000", NULL},
        {1, "1001", "1001 is out of range; allowed: -2 to 1000", NULL},
        {1, "99999999999999999999", "99999999999999999999 is out of range; allowed: -2 to 1000",
         NULL},
        {2, "1.01", "1.01 is out of range; allowed: 0 to 1", NULL},
        {2, "nan", "\"nan\" is not a number such as 0.25; allowed: 0 to 1", NULL},
        {3, "maybe", "\"maybe\" is not true or false", NULL},
        {4, "5", "\"5\" is not a duration such as 250ms, 1.5s, 2m or 1h30m; allowed: at least 1ms",
         NULL},
        {4, "999us", "999us is out of range; allowed: at least 1ms", NULL},
        {5, "2MiB", "2MiB is out of range; allowed: at most 1MiB", NULL},
        {6, "a", "\"a\": the port is missing: write host:port", NULL},
        {7, "wran", "\"wran\" is not one of debug, info or warn", "did you mean \"warn\"?"},
        {7, "", "\"\" is not one of debug, info or warn", NULL},
    };
    weft_arena *arena = weft_arena_new(0);
    int_target = 55;
    for (size_t i = 0; i < WEFT_COUNT(cases); i++) {
        const char *why = NULL;
        const char *hint = NULL;
        assert_int_equal(
            weft_flag_parse(&rows[cases[i].row], cases[i].text, arena, true, &why, &hint),
            WEFT_EPARSE);
        assert_string_equal(why, cases[i].why);
        if (cases[i].hint)
            assert_string_equal(hint, cases[i].hint);
        else
            assert_null(hint);
    }
    assert_int_equal(int_target, 55);
    assert_int_equal(weft_flag_parse(&rows[1], "x", arena, true, NULL, NULL), WEFT_EPARSE);
    weft_arena_free(arena);
    /* Without memory there is still a reason. */
    const char *why = NULL;
    arena = weft_arena_new(1);
    assert_int_equal(weft_flag_parse(&rows[1], "x", arena, true, &why, NULL), WEFT_EPARSE);
    assert_non_null(why);
    assert_int_equal(weft_flag_parse(&rows[0], "abc", arena, true, &why, NULL), WEFT_ENOMEM);
    weft_arena_free(arena);
}

static void the_table_is_checked(void **state) {
    (void)state;
    int64_t n = 0;
    int choice = 0;
    weft_arena *arena = weft_arena_new(0);
    const weft_flags good = {.program = "p", .table = rows, .count = WEFT_COUNT(rows)};
    assert_int_equal(weft_flags_check(&good, NULL), 0);
    const weft_flag bad[] = {
        {.name = "Upper", .type = WEFT_FLAG_INT, .to.integer = &n},
        {.name = "-dash", .type = WEFT_FLAG_INT, .to.integer = &n},
        {.name = "no-way", .type = WEFT_FLAG_INT, .to.integer = &n},
        {.name = "", .type = WEFT_FLAG_INT, .to.integer = &n},
        {.type = WEFT_FLAG_INT, .to.integer = &n},
        {.name = "a", .type = WEFT_FLAG_INT},
        {.name = "a", .type = WEFT_FLAG_INT, .to.integer = &n, .letter = '7'},
        {.name = "a", .type = WEFT_FLAG_INT, .to.integer = &n, .min = "2", .max = "1"},
        {.name = "a", .type = WEFT_FLAG_INT, .to.integer = &n, .min = "x"},
        {.name = "a", .type = WEFT_FLAG_INT, .to.integer = &n, .max = "x"},
        {.name = "a", .type = WEFT_FLAG_INT, .to.integer = &n, .choices = levels},
        {.name = "a", .type = WEFT_FLAG_INT, .to.integer = &n, .initial = "5", .max = "4"},
        {.name = "a", .type = WEFT_FLAG_ENUM, .to.choice = &choice},
        {.name = "a", .type = WEFT_FLAG_ENUM, .to.choice = &choice, .choices = levels, .min = "1"},
        {.name = "a",
         .type = WEFT_FLAG_ENUM,
         .to.choice = &choice,
         .choices = levels,
         .initial = "x"},
    };
    for (size_t i = 0; i < WEFT_COUNT(bad); i++) {
        const weft_flags flags = {.program = "p", .table = &bad[i], .count = 1};
        weft_diags problems;
        weft_diags_init(&problems, arena, 0);
        assert_int_equal(weft_flags_check(&flags, &problems), WEFT_EINVAL);
        assert_int_equal(problems.count, 1);
    }
    const weft_flag twins[] = {
        {.name = "a", .letter = 'x', .env = "E", .type = WEFT_FLAG_INT, .to.integer = &n},
        {.name = "a", .type = WEFT_FLAG_INT, .to.integer = &n},
        {.name = "b", .letter = 'x', .type = WEFT_FLAG_INT, .to.integer = &n},
        {.name = "c", .env = "E", .type = WEFT_FLAG_INT, .to.integer = &n},
    };
    weft_diags problems;
    weft_diags_init(&problems, arena, 0);
    const weft_flags flags = {.program = "p", .table = twins, .count = WEFT_COUNT(twins)};
    assert_int_equal(weft_flags_check(&flags, &problems), WEFT_EINVAL);
    assert_int_equal(problems.count, 3);
    weft_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_values_arrive),
        cmocka_unit_test(bad_values_are_explained),
        cmocka_unit_test(the_table_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
