#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/unit/base/sweep.h"
#include "weft/flags.h"

typedef struct options {
    const char *config;
    int64_t streams;
    bool verbose;
    bool tls;
    int64_t drain;
    weft_addr listen;
    int level;
    weft_flag_list labels;
    const char *token;
} options;

static options o;
static const char *const levels[] = {"debug", "info", "warn", NULL};

static const weft_flag table[] = {
    {.name = "config", .letter = 'c', .type = WEFT_FLAG_STRING, .to.string = &o.config},
    {.name = "max-streams",
     .letter = 'n',
     .type = WEFT_FLAG_INT,
     .to.integer = &o.streams,
     .env = "WEFT_TEST_STREAMS",
     .initial = "100",
     .min = "1",
     .max = "1000"},
    {.name = "verbose", .letter = 'v', .type = WEFT_FLAG_BOOL, .to.boolean = &o.verbose},
    {.name = "tls",
     .letter = 't',
     .type = WEFT_FLAG_BOOL,
     .to.boolean = &o.tls,
     .initial = "true",
     .env = "WEFT_TEST_TLS"},
    {.name = "drain", .type = WEFT_FLAG_DURATION, .to.duration = &o.drain, .initial = "10s"},
    {.name = "listen",
     .letter = 'l',
     .type = WEFT_FLAG_ADDRESS,
     .to.address = &o.listen,
     .initial = "127.0.0.1:0",
     .env = "WEFT_TEST_LISTEN"},
    {.name = "level",
     .type = WEFT_FLAG_ENUM,
     .to.choice = &o.level,
     .choices = levels,
     .initial = "info"},
    {.name = "label",
     .type = WEFT_FLAG_LIST,
     .to.list = &o.labels,
     .initial = "a=1,b=2",
     .env = "WEFT_TEST_LABELS"},
    {.name = "token", .type = WEFT_FLAG_STRING, .to.string = &o.token, .hidden = true},
};

static weft_arena *arena;
static weft_flags flags;
static weft_diags problems;

static int start(void **state) {
    (void)state;
    arena = weft_arena_new(0);
    memset(&o, 0, sizeof o);
    flags = (weft_flags){.program = "prog", .table = table, .count = WEFT_COUNT(table)};
    weft_diags_init(&problems, arena, 0);
    unsetenv("WEFT_TEST_STREAMS");
    unsetenv("WEFT_TEST_TLS");
    unsetenv("WEFT_TEST_LISTEN");
    unsetenv("WEFT_TEST_LABELS");
    return arena ? 0 : -1;
}

static int stop(void **state) {
    (void)state;
    weft_arena_free(arena);
    return 0;
}

/* Loads the words that follow, up to NULL. */
static int load(const char *first, ...) {
    const char *argv[32] = {"prog"};
    int argc = 1;
    va_list args;
    va_start(args, first);
    for (const char *word = first; word; word = va_arg(args, const char *)) argv[argc++] = word;
    va_end(args);
    return weft_flags_load(&flags, arena, argc, argv, &problems);
}

static void expect_problems(const char *want) {
    weft_buf all;
    weft_buf_init(&all, 0);
    for (const weft_diag *d = problems.first; d; d = d->next) {
        assert_int_equal(weft_diag_format(d, &all), 0);
        weft_buf_addc(&all, '\n');
    }
    assert_string_equal(weft_buf_str(&all), want);
    weft_buf_free(&all);
}

static void the_table_is_well_formed(void **state) {
    (void)state;
    assert_int_equal(weft_flags_check(&flags, &problems), 0);
}

static void initial_values(void **state) {
    (void)state;
    o.config = "kept";
    assert_int_equal(load(NULL), 0);
    assert_string_equal(o.config, "kept"); /* no initial value: untouched */
    assert_int_equal(o.streams, 100);
    assert_true(o.tls);
    assert_false(o.verbose);
    assert_int_equal(o.drain, 10 * INT64_C(1000000000));
    assert_int_equal(o.level, 1);
    assert_int_equal(o.labels.count, 2);
    assert_string_equal(o.labels.items[1], "b=2");
    assert_int_equal(flags.args_count, 0);
    assert_null(flags.args[0]);
    assert_int_equal(weft_flags_source(&flags, "drain"), WEFT_FLAG_INITIAL);
    assert_int_equal(weft_flags_source(&flags, "config"), WEFT_FLAG_UNSET);
    assert_int_equal(weft_flags_source(&flags, "nonsense"), WEFT_FLAG_UNSET);
}

static void every_way_to_write_a_flag(void **state) {
    (void)state;
    assert_int_equal(load("--config", "a", "--max-streams=5", "-v", "--no-tls", "-lhost:1",
                          "--level", "warn", NULL),
                     0);
    assert_string_equal(o.config, "a");
    assert_int_equal(o.streams, 5);
    assert_true(o.verbose);
    assert_false(o.tls);
    assert_string_equal(o.listen.host, "host");
    assert_int_equal(o.level, 2);
    assert_int_equal(load("-vtn", "7", "-c=b", "--verbose=false", NULL), 0);
    assert_int_equal(o.streams, 7);
    assert_true(o.tls);
    assert_false(o.verbose);
    assert_string_equal(o.config, "b");
    assert_int_equal(load("-n=8", "--config=", "--token=t", "--config", "-", NULL), 0);
    assert_int_equal(o.streams, 8);
    assert_string_equal(o.config, "-"); /* the last one counts */
    assert_int_equal(load("--config=", NULL), 0);
    assert_string_equal(o.config, "");
    assert_int_equal(load("--config=--tls", NULL), 0);
    assert_string_equal(o.config, "--tls");
}

static void what_is_no_flag_is_kept(void **state) {
    (void)state;
    assert_int_equal(load("apply", "-v", "-", "x y", "--", "--drain", "-q", "--", NULL), 0);
    static const char *const want[] = {"apply", "-", "x y", "--drain", "-q", "--"};
    assert_int_equal(flags.args_count, 6);
    for (size_t i = 0; i < 6; i++) assert_string_equal(flags.args[i], want[i]);
    assert_null(flags.args[6]);
    assert_true(o.verbose);
    o.verbose = false;
    flags.stop_early = true;
    assert_int_equal(load("-n5", "run", "-v", "--unknown", NULL), 0);
    assert_int_equal(flags.args_count, 3);
    assert_false(o.verbose);
    assert_int_equal(o.streams, 5);
}

static void the_stronger_source_wins(void **state) {
    (void)state;
    setenv("WEFT_TEST_STREAMS", "200", 1);
    setenv("WEFT_TEST_LISTEN", "env:1", 1);
    setenv("WEFT_TEST_TLS", "off", 1);
    setenv("WEFT_TEST_LABELS", "x,,y,", 1);
    assert_int_equal(load("--max-streams=300", NULL), 0);
    assert_int_equal(o.streams, 300);
    assert_string_equal(o.listen.host, "env");
    assert_false(o.tls);
    assert_int_equal(o.labels.count, 2);
    assert_string_equal(o.labels.items[0], "x");
    assert_string_equal(o.labels.items[1], "y");
    assert_int_equal(weft_flags_source(&flags, "max-streams"), WEFT_FLAG_ARGS);
    assert_int_equal(weft_flags_source(&flags, "listen"), WEFT_FLAG_ENV);
    /* A file is weaker than both, stronger than the initial value. */
    const weft_flag_source file = WEFT_FLAG_FILE;
    assert_int_equal(weft_flags_set(&flags, "max-streams", "400", file, &problems, "f", 1, 1), 0);
    assert_int_equal(weft_flags_set(&flags, "listen", "file:1", file, &problems, "f", 2, 1), 0);
    assert_int_equal(weft_flags_set(&flags, "drain", "3s", file, &problems, "f", 3, 1), 0);
    assert_int_equal(weft_flags_set(&flags, "label", "z", file, &problems, "f", 4, 1), 0);
    assert_int_equal(o.streams, 300);
    assert_string_equal(o.listen.host, "env");
    assert_int_equal(o.drain, 3 * INT64_C(1000000000));
    assert_int_equal(o.labels.count, 2);
    assert_int_equal(weft_flags_source(&flags, "drain"), WEFT_FLAG_FILE);
    setenv("WEFT_TEST_LABELS", "", 1); /* empty is not set */
    assert_int_equal(load("--label", "p", "--label=q,r", NULL), 0);
    assert_int_equal(o.labels.count, 2);
    assert_string_equal(o.labels.items[1], "q,r"); /* only the environment splits */
}

static void all_problems_at_once(void **state) {
    (void)state;
    setenv("WEFT_TEST_STREAMS", "many", 1);
    assert_int_equal(load("--drian=1s", "--drain", "5", "--xyzzy", "-q", "--max-streams", "2000",
                          "--no-config", "--no-tls=1", "--level=wran", "--listen=a", "--config",
                          "--verbose", "-c", NULL),
                     WEFT_EPARSE);
    expect_problems("WEFT_TEST_STREAMS: \"many\" is not a whole number; allowed: 1 to 1000\n"
                    "--drian: unknown flag (did you mean \"--drain\"?)\n"
                    "--drain: \"5\" is not a duration such as 250ms, 1.5s, 2m or 1h30m\n"
                    "--xyzzy: unknown flag (see --help)\n"
                    "-q: unknown flag (see --help)\n"
                    "--max-streams: 2000 is out of range; allowed: 1 to 1000\n"
                    "--no-config: only a switch can be turned off\n"
                    "--no-tls: takes no value\n"
                    "--level: \"wran\" is not one of debug, info or warn (did you mean \"warn\"?)\n"
                    "--listen: \"a\": the port is missing: write host:port\n"
                    "--config: a value is missing (if --verbose is the value, write it after '=')\n"
                    "-c: a value is missing\n");
    assert_int_equal(o.streams, 100);
    assert_true(o.verbose); /* what was good took effect */
}

static void hidden_flags_are_not_suggested(void **state) {
    (void)state;
    assert_int_equal(load("--tokn=1", NULL), WEFT_EPARSE);
    expect_problems("--tokn: unknown flag (see --help)\n");
}

static void settings_of_a_file(void **state) {
    (void)state;
    assert_int_equal(load(NULL), 0);
    const weft_flag_source file = WEFT_FLAG_FILE;
    assert_int_equal(weft_flags_set(&flags, "drian", "1s", file, &problems, "w.yaml", 3, 5),
                     WEFT_ENOTFOUND);
    assert_int_equal(weft_flags_set(&flags, "drain", "1", file, &problems, "w.yaml", 4, 8),
                     WEFT_EPARSE);
    expect_problems("w.yaml:3:5: drian: unknown setting (did you mean \"drain\"?)\n"
                    "w.yaml:4:8: drain: \"1\" is not a duration such as 250ms, 1.5s, 2m or "
                    "1h30m\n");
}

static void help_excuses_missing_flags(void **state) {
    (void)state;
    const char *name = NULL;
    const weft_flag needy[] = {{.name = "name",
                                .type = WEFT_FLAG_STRING,
                                .to.string = &name,
                                .required = true,
                                .env = "WEFT_TEST_LISTEN"}};
    flags.table = needy;
    flags.count = 1;
    assert_int_equal(load(NULL), WEFT_EPARSE);
    expect_problems("--name: must be given (or set WEFT_TEST_LISTEN)\n");
    assert_int_equal(load("-h", NULL), 0);
    assert_true(flags.help);
    assert_int_equal(load("--help", NULL), 0);
    assert_true(flags.help);
    assert_int_equal(load("--name=x", NULL), 0);
    assert_false(flags.help);
    setenv("WEFT_TEST_LISTEN", "y", 1);
    assert_int_equal(load(NULL), 0);
    assert_string_equal(name, "y");
}

static void no_arguments_at_all(void **state) {
    (void)state;
    const char *const none[] = {NULL};
    assert_int_equal(weft_flags_load(&flags, arena, 0, none, NULL), 0);
    assert_int_equal(flags.args_count, 0);
}

static int load_all(void *user) {
    (void)user;
    weft_arena *own = weft_arena_new(0);
    if (!own) return WEFT_ENOMEM;
    static char long_text[3000];
    memset(long_text, 'x', sizeof long_text - 1);
    const char *const argv[] = {"prog",    "--config", long_text, "--label",        long_text,
                                "--label", long_text,  "word",    "--max-streams=x"};
    weft_flags mine = {.program = "prog", .table = table, .count = WEFT_COUNT(table)};
    weft_diags diags;
    weft_diags_init(&diags, own, 0);
    int rc = weft_flags_load(&mine, own, 8, argv, &diags);
    if (!rc) {
        assert_string_equal(o.config, long_text);
        assert_int_equal(o.labels.count, 2);
        /* With a problem to report as well. */
        assert_true(weft_flags_load(&mine, own, 9, argv, &diags) < 0);
    } else {
        assert_int_equal(rc, WEFT_ENOMEM);
    }
    weft_arena_free(own);
    memset(&o, 0, sizeof o);
    return rc;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    int last = -1;
    assert_true(sweep_run(load_all, NULL, &last) >= 4);
    assert_int_equal(last, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_table_is_well_formed, start, stop),
        cmocka_unit_test_setup_teardown(initial_values, start, stop),
        cmocka_unit_test_setup_teardown(every_way_to_write_a_flag, start, stop),
        cmocka_unit_test_setup_teardown(what_is_no_flag_is_kept, start, stop),
        cmocka_unit_test_setup_teardown(the_stronger_source_wins, start, stop),
        cmocka_unit_test_setup_teardown(all_problems_at_once, start, stop),
        cmocka_unit_test_setup_teardown(hidden_flags_are_not_suggested, start, stop),
        cmocka_unit_test_setup_teardown(settings_of_a_file, start, stop),
        cmocka_unit_test_setup_teardown(help_excuses_missing_flags, start, stop),
        cmocka_unit_test_setup_teardown(no_arguments_at_all, start, stop),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
