#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "weft/addr.h"
#include "weft/rng.h"

static void good_addresses(void **state) {
    (void)state;
    static const struct {
        const char *text;
        weft_addr_kind kind;
        const char *host;
        unsigned port;
        const char *formatted; /* NULL: as given */
        int local;
    } cases[] = {
        {"10.0.0.7:8080", WEFT_ADDR_IPV4, "10.0.0.7", 8080, NULL, 0},
        {"127.0.0.1:0", WEFT_ADDR_IPV4, "127.0.0.1", 0, NULL, 1},
        {"127.255.255.254:1", WEFT_ADDR_IPV4, "127.255.255.254", 1, NULL, 1},
        {"128.0.0.1:65535", WEFT_ADDR_IPV4, "128.0.0.1", 65535, NULL, 0},
        {"0.0.0.0:1", WEFT_ADDR_IPV4, "0.0.0.0", 1, NULL, 0},
        {"localhost:80", WEFT_ADDR_NAME, "localhost", 80, NULL, 0},
        {"Inventory.LOCAL:80", WEFT_ADDR_NAME, "inventory.local", 80, "inventory.local:80", 0},
        {"a_b-c.7d:80", WEFT_ADDR_NAME, "a_b-c.7d", 80, NULL, 0},
        {"example.com.:80", WEFT_ADDR_NAME, "example.com.", 80, NULL, 0},
        {"127.0.0.1.example:80", WEFT_ADDR_NAME, "127.0.0.1.example", 80, NULL, 0},
        {"unix:80", WEFT_ADDR_NONE, NULL, 0, NULL, 0},
        {"[::1]:80", WEFT_ADDR_IPV6, "::1", 80, NULL, 1},
        {"[::]:80", WEFT_ADDR_IPV6, "::", 80, NULL, 0},
        {"[FD00:0:0::7]:80", WEFT_ADDR_IPV6, "fd00::7", 80, "[fd00::7]:80", 0},
        {"[::ffff:127.0.0.1]:80", WEFT_ADDR_IPV6, "::ffff:127.0.0.1", 80, NULL, 1},
        {"[::ffff:10.0.0.1]:80", WEFT_ADDR_IPV6, "::ffff:10.0.0.1", 80, NULL, 0},
        {"unix:/run/app.sock", WEFT_ADDR_UNIX, "/run/app.sock", 0, NULL, 1},
        {"unix:///run/app.sock", WEFT_ADDR_UNIX, "/run/app.sock", 0, "unix:/run/app.sock", 1},
        {"unix:/a b:80", WEFT_ADDR_UNIX, "/a b:80", 0, NULL, 1},
        {"unix-abstract:weft/app", WEFT_ADDR_ABSTRACT, "weft/app", 0, NULL, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        weft_addr addr = {0};
        weft_addr back = {0};
        char text[WEFT_ADDR_TEXT];
        const char *why = NULL;
        const int rc = weft_addr_parse(cases[i].text, &addr, &why);
        if (cases[i].kind == WEFT_ADDR_NONE) {
            assert_int_equal(rc, WEFT_EPARSE);
            continue;
        }
        if (rc) fail_msg("%s: %s", cases[i].text, why);
        assert_int_equal(addr.kind, cases[i].kind);
        assert_string_equal(addr.host, cases[i].host);
        assert_int_equal(addr.port, cases[i].port);
        assert_string_equal(weft_addr_format(&addr, text),
                            cases[i].formatted ? cases[i].formatted : cases[i].text);
        assert_int_equal(weft_addr_is_local(&addr), cases[i].local);
        assert_int_equal(weft_addr_parse(text, &back, NULL), 0);
        assert_true(weft_addr_equal(&addr, &back));
    }
}

static void bad_addresses_say_why(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", "missing"},
        {NULL, "missing"},
        {"localhost", "port is missing"},
        {"localhost:", "port is missing"},
        {":8080", "host is missing"},
        {"localhost:http", "must be a number"},
        {"localhost:+80", "must be a number"},
        {"localhost:-1", "must be a number"},
        {"localhost: 80", "must be a number"},
        {"localhost:80 ", "must be a number"},
        {"localhost:65536", "65535"},
        {"localhost:99999999999999999999999", "65535"},
        {"localhost:000080", "65535"},
        {"http://localhost:80", "scheme"},
        {"http://localhost", "scheme"},
        {"::1:80", "brackets"},
        {"fd00::7", "brackets"},
        {"[::1]", "port must follow"},
        {"[::1]80", "port must follow"},
        {"[::1]:", "port is missing"},
        {"[::1:80", "']' is missing"},
        {"[]:80", "not an IPv6"},
        {"[127.0.0.1]:80", "not an IPv6"},
        {"[::1::2]:80", "not an IPv6"},
        {"[fe80::1%eth0]:80", "zones"},
        {"1.2.3:80", "not an IPv4"},
        {"256.0.0.1:80", "not an IPv4"},
        {"1.2.3.4.5:80", "not an IPv4"},
        {"1234:80", "not an IPv4"},
        {"0x7f.1:80", NULL},
        {"a..b:80", "empty label"},
        {".a:80", "empty label"},
        {"a..:80", "empty label"},
        {".:80", "empty label"},
        {"-a:80", "begin with '-'"},
        {"a-:80", "end with '-'"},
        {"a-.b:80", "end with '-'"},
        {"a b:80", "character"},
        {"a/b:80", "character"},
        {"b\xC3\xBC.de:80", "character"},
        {"a\n:80", "character"},
        {"unix:", "path is missing"},
        {"unix:relative", "begin with '/'"},
        {"unix://host/path", "authority"},
        {"unix:/dir/", "end with '/'"},
        {"unix:/a\nb", "control character"},
        {"unix-abstract:", "name is missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        weft_addr addr;
        weft_addr before;
        const char *why = NULL;
        memset(&addr, 0x5A, sizeof addr);
        before = addr;
        if (weft_addr_parse(cases[i][0], &addr, &why) != WEFT_EPARSE)
            fail_msg("accepted %s", cases[i][0]);
        assert_non_null(why);
        if (cases[i][1] && !strstr(why, cases[i][1])) fail_msg("%s: %s", cases[i][0], why);
        assert_memory_equal(&addr, &before, sizeof addr);
        assert_int_equal(weft_addr_parse(cases[i][0], &addr, NULL), WEFT_EPARSE);
    }
}

static void lengths_are_exact(void **state) {
    (void)state;
    char text[400];
    weft_addr addr;
    for (int len = 100; len < 115; len++) {
        snprintf(text, sizeof text, "unix:/%0*d", len - 1, 1);
        assert_int_equal(weft_addr_parse(text, &addr, NULL), len <= 107 ? 0 : WEFT_EPARSE);
        snprintf(text, sizeof text, "unix-abstract:%0*d", len, 1);
        assert_int_equal(weft_addr_parse(text, &addr, NULL), len <= 107 ? 0 : WEFT_EPARSE);
    }
    for (int len = 60; len < 67; len++) {
        snprintf(text, sizeof text, "x%0*d.y:1", len - 1, 1);
        assert_int_equal(weft_addr_parse(text, &addr, NULL), len <= 63 ? 0 : WEFT_EPARSE);
    }
    for (int len = 248; len < 262; len++) {
        size_t at = 0;
        while (at < (size_t)len) at += (size_t)snprintf(text + at, sizeof text - at, "aaaaaaaaa.");
        snprintf(text + len, sizeof text - (size_t)len, ":1");
        if (text[len - 1] == '.') {
            assert_int_equal(weft_addr_parse(text, &addr, NULL), len <= 254 ? 0 : WEFT_EPARSE);
        } else {
            assert_int_equal(weft_addr_parse(text, &addr, NULL), len <= 253 ? 0 : WEFT_EPARSE);
        }
    }
}

static void equality(void **state) {
    (void)state;
    weft_addr a;
    weft_addr b;
    assert_int_equal(weft_addr_parse("[0::1]:80", &a, NULL), 0);
    assert_int_equal(weft_addr_parse("[::0.0.0.1]:80", &b, NULL), 0);
    assert_true(weft_addr_equal(&a, &b));
    assert_int_equal(weft_addr_parse("[::1]:81", &b, NULL), 0);
    assert_false(weft_addr_equal(&a, &b));
    assert_int_equal(weft_addr_parse("unix:/a", &a, NULL), 0);
    assert_int_equal(weft_addr_parse("unix-abstract:/a", &b, NULL), 0);
    assert_false(weft_addr_equal(&a, &b));
    const weft_addr none = {0};
    char text[WEFT_ADDR_TEXT];
    assert_string_equal(weft_addr_format(&none, text), "");
    assert_false(weft_addr_is_local(&none));
}

static void noise_never_breaks_the_round_trip(void **state) {
    (void)state;
    static const char letters[] = "019af.:[]-_/%unixabstrct ";
    weft_rng rng;
    weft_rng_seed(&rng, 12);
    for (int round = 0; round < 50000; round++) {
        static const char *const starts[] = {"", "unix:", "unix-abstract:", "[", "a:"};
        char text[64];
        char formatted[WEFT_ADDR_TEXT];
        weft_addr addr;
        weft_addr back;
        size_t len = (size_t)snprintf(text, sizeof text, "%s", starts[weft_rng_below(&rng, 5)]);
        size_t more = weft_rng_below(&rng, 16);
        while (more--) text[len++] = letters[weft_rng_below(&rng, sizeof letters - 1)];
        text[len] = '\0';
        if (weft_addr_parse(text, &addr, NULL)) continue;
        weft_addr_format(&addr, formatted);
        assert_int_equal(weft_addr_parse(formatted, &back, NULL), 0);
        assert_true(weft_addr_equal(&addr, &back));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_addresses),
        cmocka_unit_test(bad_addresses_say_why),
        cmocka_unit_test(lengths_are_exact),
        cmocka_unit_test(equality),
        cmocka_unit_test(noise_never_breaks_the_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
