#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tools/weft/call.h"
#include "tools/weft/cmd.h"
#include "weft/rpc.h"

/* What every command's table must have. */
static void tables(void **state) {
    (void)state;
    for (size_t i = 0; cmd_at(i); i++) {
        const struct cmd *about = cmd_at(i);
        print_message("%s\n", about->name);
        assert_ptr_equal(cmd_find(about->name), about);
        assert_non_null(about->summary);
        assert_true(strlen(about->summary) <= 64);
        assert_non_null(about->usage);
        if (about->raw) continue;
        assert_non_null(about->run);
        assert_non_null(about->about);
        weft_arena *arena = weft_arena_new(0);
        weft_diags problems;
        weft_diags_init(&problems, arena, 0);
        const weft_flags flags = {
            .program = about->name, .table = about->flags, .count = about->flag_count};
        int rc = weft_flags_check(&flags, &problems);
        weft_diags_print(&problems, stdout);
        assert_int_equal(rc, 0);
        for (size_t f = 0; f < about->flag_count; f++) assert_non_null(about->flags[f].help);
        weft_arena_free(arena);
    }
}

static void suggestions(void **state) {
    (void)state;
    assert_string_equal(cmd_suggest("cal"), "call");
    assert_string_equal(cmd_suggest("verison"), "version");
    assert_null(cmd_suggest("frobnicate"));
    assert_null(cmd_find("frobnicate"));
}

static void headers(void **state) {
    (void)state;
    static const struct {
        const char *line;
        int rc;
        const char *key, *value;
    } cases[] = {
        {"x-user: alice", 0, "x-user", "alice"}, {"X-User:alice  ", 0, "x-user", "alice"},
        {"x-empty:", 0, "x-empty", ""},          {"x-colon: a:b", 0, "x-colon", "a:b"},
        {"x-bin: aGk=", 0, "x-bin", "hi"},       {"x-bin: aGk", 0, "x-bin", "hi"},
        {"x-bin: a b", WEFT_EINVAL, NULL, NULL}, {"no colon", WEFT_EINVAL, NULL, NULL},
        {": value", WEFT_EINVAL, NULL, NULL},    {"grpc-timeout: 1S", WEFT_EINVAL, NULL, NULL},
        {"sp ace: x", WEFT_EINVAL, NULL, NULL},  {"x-text: \xc3\xa4", WEFT_EINVAL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_ctx *ctx = weft_ctx_new(WEFT_NO_TIMEOUT);
        const char *why;
        print_message("%s\n", cases[i].line);
        assert_int_equal(call_add_header(ctx, cases[i].line, &why), cases[i].rc);
        if (cases[i].rc == 0) {
            size_t len;
            const char *value = weft_ctx_metadata(ctx, cases[i].key, 0, &len);
            assert_non_null(value);
            assert_string_equal(value, cases[i].value);
        } else {
            assert_non_null(why);
        }
        weft_ctx_free(ctx);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables),
        cmocka_unit_test(suggestions),
        cmocka_unit_test(headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
