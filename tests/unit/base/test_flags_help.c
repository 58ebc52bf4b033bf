#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "tests/unit/base/sweep.h"
#include "weft/flags.h"

static const char *config;
static int64_t streams;
static bool verbose;
static bool tls;
static int64_t drain;
static int level;
static weft_flag_list labels;
static const char *const levels[] = {"debug", "info", "warn", NULL};

static const weft_flag table[] = {
    {.name = "config",
     .letter = 'c',
     .type = WEFT_FLAG_STRING,
     .to.string = &config,
     .value = "FILE",
     .required = true,
     .help = "Where the settings are."},
    {.name = "max-streams",
     .type = WEFT_FLAG_INT,
     .to.integer = &streams,
     .env = "WEFT_MAX_STREAMS",
     .initial = "100",
     .min = "1",
     .max = "1000",
     .help = "How many calls one connection may carry at a time, counted from either side."},
    {.name = "verbose",
     .letter = 'v',
     .type = WEFT_FLAG_BOOL,
     .to.boolean = &verbose,
     .help = "Say more."},
    {.name = "tls",
     .type = WEFT_FLAG_BOOL,
     .to.boolean = &tls,
     .initial = "true",
     .help = "Do not encrypt."},
    {.name = "a-name-that-is-long-beyond-reason",
     .type = WEFT_FLAG_DURATION,
     .to.duration = &drain,
     .help = "Short | help."},
    {.name = "level",
     .type = WEFT_FLAG_ENUM,
     .to.choice = &level,
     .choices = levels,
     .initial = "info",
     .help = "What to log."},
    {.name = "label", .type = WEFT_FLAG_LIST, .to.list = &labels, .help = "Labels."},
    {.name = "secret", .type = WEFT_FLAG_BOOL, .to.boolean = &verbose, .hidden = true},
};

static const weft_flags flags = {.program = "prog",
                                 .usage = "COMMAND",
                                 .about = "Does what it does.",
                                 .table = table,
                                 .count = WEFT_COUNT(table)};

static void help_is_aligned_and_wrapped(void **state) {
    (void)state;
    weft_buf out;
    weft_buf_init(&out, 0);
    assert_int_equal(weft_flags_help(&flags, &out), 0);
    assert_string_equal(
        weft_buf_str(&out),
        "usage: prog [flags] COMMAND\n"
        "\n"
        "Does what it does.\n"
        "\n"
        "flags:\n"
        "  -c, --config FILE         Where the settings are. [required]\n"
        "      --max-streams NUMBER  How many calls one connection may carry at a time,\n"
        "                            counted from either side. [1 to 1000] [default: 100]\n"
        "                            [env: WEFT_MAX_STREAMS]\n"
        "  -v, --verbose             Say more.\n"
        "      --no-tls              Do not encrypt.\n"
        "      --a-name-that-is-long-beyond-reason DURATION\n"
        "                            Short | help.\n"
        "      --level NAME          What to log. [debug, info or warn] [default: info]\n"
        "      --label TEXT          Labels. [may be given again]\n"
        "  -h, --help                Show this text.\n");
    for (const char *line = out.data; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 80);
    weft_buf_free(&out);
}

static void markdown_is_a_table(void **state) {
    (void)state;
    weft_buf out;
    weft_buf_init(&out, 0);
    assert_int_equal(weft_flags_markdown(&flags, &out), 0);
    assert_string_equal(
        weft_buf_str(&out),
        "| flag | value | default | allowed | environment | meaning |\n"
        "|---|---|---|---|---|---|\n"
        "| `--config` | FILE | | required | | Where the settings are. |\n"
        "| `--max-streams` | NUMBER | `100` | 1 to 1000 | `WEFT_MAX_STREAMS` | How many calls one "
        "connection may carry at a time, counted from either side. |\n"
        "| `--[no-]verbose` | | `false` | | | Say more. |\n"
        "| `--[no-]tls` | | `true` | | | Do not encrypt. |\n"
        "| `--a-name-that-is-long-beyond-reason` | DURATION | | | | Short \\| help. |\n"
        "| `--level` | NAME | `info` | debug, info or warn | | What to log. |\n"
        "| `--label` | TEXT | | | | Labels. |\n");
    weft_buf_free(&out);
}

static int both(void *user) {
    (void)user;
    weft_buf out;
    weft_buf_init(&out, 0);
    (void)weft_flags_help(&flags, &out);
    const int rc = weft_flags_markdown(&flags, &out);
    assert_int_equal(rc, out.error);
    const size_t len = out.len;
    weft_buf_free(&out);
    if (!rc) assert_int_equal(len, *(size_t *)user);
    return rc;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    weft_buf out;
    int last = -1;
    weft_buf_init(&out, 0);
    assert_int_equal(weft_flags_help(&flags, &out), 0);
    assert_int_equal(weft_flags_markdown(&flags, &out), 0);
    size_t whole = out.len;
    weft_buf_free(&out);
    /* Never silently less than the whole. */
    assert_true(sweep_run(both, &whole, &last) > 10);
    assert_int_equal(last, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_is_aligned_and_wrapped),
        cmocka_unit_test(markdown_is_a_table),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
