/* The regex engine: a table, and random patterns against regcomp(3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <regex.h>

#include <cmocka.h>

#include "sidecar/config/regex.h"
#include "weft/rng.h"

static const struct {
    const char *pattern, *text;
    bool match;
} table[] = {
    {"", "", true},
    {"", "a", false},
    {"abc", "abc", true},
    {"abc", "abcd", false},
    {"abc", "xabc", false},
    {"a.c", "a\nc", false},
    {"a.c",
     "a\xc3"
     "c",
     true},
    {"a|bc", "bc", true},
    {"a|", "", true},
    {"(a|b)*c", "ababc", true},
    {"(?:ab)+", "ababab", true},
    {"(ab)?", "ab", true},
    {"a{3}", "aaa", true},
    {"a{3}", "aa", false},
    {"a{2,}", "aaaaa", true},
    {"a{2,3}", "aaaa", false},
    {"a{0}", "", true},
    {"a{0,1}b", "b", true},
    {"(a{2}){2}", "aaaa", true},
    {"(a|b{2}){3}", "abba", true},
    {"a{,3}", "a{,3}", true},
    {"a{x", "a{x", true},
    {"[a-c]+", "abcabc", true},
    {"[^a-c]", "d", true},
    {"[^a-c]", "b", false},
    {"[]a]+", "]a]", true},
    {"[a-]", "-", true},
    {"[[:digit:][:alpha:]]+", "a1", true},
    {"[\\d.]+", "1.2", true},
    {"\\w+\\s\\D", "ab_ x", true},
    {"\\/\\.\\x41", "/.A", true},
    {"^/a$", "/a", true},
    {"/shop\\.[a-z]+\\.v[0-9]+\\..*", "/shop.product.v1.ProductService/Get", true},
    {"a+?b*?c??", "aab", true},
    {".*\\.shop", "product.shop", true},
    {"(a*)*", "aaaa", true},
    {"(a*)+b", "aaab", true},
    {"(|a)+", "aaa", true},
    {"((((((a))))))", "a", true},
};

static const char *const broken[] = {
    "(",           ")",
    "a)",          "[",
    "[z-a]",       "[[:nope:]]",
    "*",           "a**",
    "+",           "a|*",
    "\\1",         "\\",
    "\\b",         "\\pL",
    "(?i)a",       "(?=a)",
    "(?P<x>a)",    "a^b",
    "a$b",         "^*",
    "a{3,2}",      "a{1001}",
    "(a{500}){3}", ".*a.{20}",
    "\\x4",        "a{2}{3}",
    "(^a|b)",      "((((((((((){999}){999}){999}){999}){999}){999}){999}){999}){999})",
};

static void matches(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        weft_arena *arena = weft_arena_new(0);
        const config_regex *regex = NULL;
        const char *why = "";
        if (config_regex_compile(arena, table[i].pattern, &regex, &why))
            fail_msg("%s: %s", table[i].pattern, why);
        if (config_regex_match(regex, table[i].text, strlen(table[i].text)) != table[i].match)
            fail_msg("%s on %s", table[i].pattern, table[i].text);
        weft_arena_free(arena);
    }
}

static void refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        weft_arena *arena = weft_arena_new(0);
        const config_regex *regex = NULL;
        const char *why = NULL;
        if (!config_regex_compile(arena, broken[i], &regex, &why)) fail_msg("%s", broken[i]);
        assert_non_null(why);
        weft_arena_free(arena);
    }
}

static size_t random_pattern(weft_rng *rng, char *out, int depth) {
    size_t n = 0;
    const unsigned pieces = 1 + (unsigned)weft_rng_below(rng, 3);
    for (unsigned i = 0; i < pieces; i++) {
        switch (weft_rng_below(rng, depth > 0 ? 7 : 4)) {
        case 0:
        case 1:
            out[n++] = (char)('a' + weft_rng_below(rng, 3));
            break;
        case 2:
            out[n++] = '.';
            break;
        case 3:
            memcpy(out + n, "[^a]", 4);
            n += 4;
            break;
        default:
            out[n++] = '(';
            n += random_pattern(rng, out + n, depth - 1);
            out[n++] = '|';
            n += random_pattern(rng, out + n, depth - 1);
            out[n++] = ')';
        }
        static const char *const often[] = {"", "", "", "*", "+", "?", "{2}", "{1,2}", "{0,2}"};
        const char *suffix = often[weft_rng_below(rng, 9)];
        memcpy(out + n, suffix, strlen(suffix));
        n += strlen(suffix);
    }
    return n;
}

static void against_regcomp(void **state) {
    (void)state;
    weft_rng rng;
    int refused = 0;
    weft_rng_seed(&rng, 7);
    for (int round = 0; round < 3000; round++) {
        char pattern[400], anchored[410], text[8];
        regex_t oracle;
        const config_regex *regex = NULL;
        const char *why = "";
        weft_arena *arena = weft_arena_new(0);
        pattern[random_pattern(&rng, pattern, 2)] = '\0';
        (void)snprintf(anchored, sizeof anchored, "^(%s)$", pattern);
        const int rc = config_regex_compile(arena, pattern, &regex, &why);
        if (rc == WEFT_ELIMIT) { /* seldom: too many states */
            assert_true(++refused < 300);
            weft_arena_free(arena);
            continue;
        }
        if (rc) fail_msg("%s: %s", pattern, why);
        assert_int_equal(regcomp(&oracle, anchored, REG_EXTENDED | REG_NOSUB), 0);
        for (int i = 0; i < 30; i++) {
            const size_t len = (size_t)weft_rng_below(&rng, sizeof text);
            for (size_t k = 0; k < len; k++) text[k] = (char)('a' + weft_rng_below(&rng, 3));
            text[len] = '\0';
            const bool want = regexec(&oracle, text, 0, NULL, 0) == 0;
            if (config_regex_match(regex, text, len) != want)
                fail_msg("%s on \"%s\" should be %d", pattern, text, want);
        }
        regfree(&oracle);
        weft_arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches),
        cmocka_unit_test(refusals),
        cmocka_unit_test(against_regcomp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
