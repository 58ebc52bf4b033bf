/* Routing: golden tables (who gets what, in golden.txt), precedence, weights, deadlines, retries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sidecar/config/load.h"
#include "sidecar/route/route.h"
#include "tests/unit/sidecar_config/files.h"
#include "weft/clock.h"
#include "weft/status.h"

#define S WEFT_NS_PER_S
#define GOLDEN "tests/unit/sidecar_route"

static route_text text(const char *t) { return (route_text){t, strlen(t)}; }

/* Headers "a=1;b=2" after one another; a name may come several times. */
static bool find_header(const void *user, const char *name, size_t name_len, size_t index,
                        route_text *value) {
    for (const char *at = user; *at;) {
        const size_t len = strcspn(at, ";");
        const char *equal = memchr(at, '=', len);
        if (equal && (size_t)(equal - at) == name_len && !memcmp(at, name, name_len) &&
            index-- == 0) {
            *value = (route_text){equal + 1, (size_t)(at + len - equal) - 1};
            return true;
        }
        at += len + (at[len] == ';');
    }
    return false;
}

static route_request request(const char *authority, const char *path, const char *headers) {
    return (route_request){.authority = text(authority),
                           .path = text(path),
                           .grpc = strstr(headers, "grpc=1") != NULL,
                           .header = find_header,
                           .user = headers};
}

/* golden.txt: "authority path headers -> route", "-" for nothing; a route that is not found is the
 * name of the outcome. */
static void golden(void **state) {
    (void)state;
    weft_buf routes, cases;
    files_read(GOLDEN "/golden.yaml", &routes);
    files_read(GOLDEN "/golden.txt", &cases);
    config_snapshot *s = files_parse(weft_buf_str(&routes));
    const config_table *table = s->listeners[0].routes;
    int line = 0, checked = 0, wrong = 0;
    for (char *at = cases.data, *end; at && *at; at = end) {
        static const char *const outcomes[] = {"found", "NO_SERVICE", "AMBIGUOUS", "NO_RULE"};
        char authority[200], path[400], headers[800], want[100];
        end = at + strcspn(at, "\n");
        if (*end) *end++ = '\0';
        line++;
        if (!*at || *at == '#') continue;
        if (sscanf(at, "%199s %399s %799s -> %99s", authority, path, headers, want) != 4)
            fail_msg("golden.txt:%d: %s", line, at);
        const route_request r = request(strcmp(authority, "-") ? authority : "", path, headers);
        const route_result got = route_match(table, &r);
        const char *name = got.route ? got.route->name : outcomes[got.outcome];
        if (strcmp(name, want) != 0) {
            print_error("golden.txt:%d: %s: got %s\n", line, at, name);
            wrong++;
        }
        checked++;
    }
    assert_int_equal(wrong, 0);
    assert_true(checked > 80);
    config_unref(s);
    weft_buf_free(&routes);
    weft_buf_free(&cases);
}

/* The indices find what trying every route in order would find. */
static void same_as_linear(void **state) {
    (void)state;
    static const char *const kinds[] = {"prefix", "path", "path_separated_prefix"};
    static const char *const parts[] = {"/a",     "/b",  "/ab", "/a/b", "/a/",
                                        "/a/b/c", "/b/", "/",   "/ab/c"};
    weft_rng rng;
    weft_rng_seed(&rng, 99);
    for (int round = 0; round < 60; round++) {
        weft_buf yaml, good;
        weft_buf_init(&yaml, 0);
        weft_buf_init(&good, 0);
        const unsigned count = 1 + (unsigned)weft_rng_below(&rng, 12);
        for (unsigned i = 0; i < count; i++) {
            const char *kind = kinds[weft_rng_below(&rng, 3)];
            const char *part = parts[weft_rng_below(&rng, 9)];
            const bool slash = part[strlen(part) - 1] == '/';
            if (slash && *kind == 'p' && kind[4] == '_') part = "/b";
            weft_buf_printf(&yaml,
                            "              - {name: r%u, match: {%s: %s, case_sensitive: %s}, "
                            "direct_response: {status: 200}}\n",
                            i, kind, part, weft_rng_below(&rng, 5) ? "true" : "false");
        }
        files_read(CONFIG_FILES "/good/minimal.yaml", &good);
        char *hole = strstr(good.data, "              - match: {prefix: /}");
        const char *after = strstr(good.data, "          http_filters:");
        weft_buf whole;
        weft_buf_init(&whole, 0);
        weft_buf_add(&whole, good.data, (size_t)(hole - good.data));
        weft_buf_add(&whole, yaml.data, yaml.len);
        weft_buf_adds(&whole, after);
        config_snapshot *s = files_parse(weft_buf_str(&whole));
        const config_vhost *v = &s->listeners[0].routes->vhosts[0];
        for (int i = 0; i < 60; i++) {
            char path[16];
            const size_t len = 1 + (size_t)weft_rng_below(&rng, 6);
            path[0] = '/';
            for (size_t k = 1; k < len; k++) path[k] = "ab/AB?c"[weft_rng_below(&rng, 7)];
            path[len] = '\0';
            const route_request r = request("product", path, "");
            const config_route *got = route_in_vhost(v, &r), *want = NULL;
            for (uint32_t k = 0; k < v->route_count && !want; k++) {
                config_vhost alone = *v;
                const uint32_t item = k;
                alone.exact = alone.segment = (config_index){NULL, 0};
                alone.general = &item;
                alone.general_count = 1;
                want = route_in_vhost(&alone, &r);
            }
            if (got != want)
                fail_msg("%s: %s, not %s\n%s", path, got ? got->name : "none",
                         want ? want->name : "none", weft_buf_str(&yaml));
        }
        config_unref(s);
        weft_buf_free(&whole);
        weft_buf_free(&yaml);
        weft_buf_free(&good);
    }
}

static void explained(const config_table *table, const char *authority, const char *path,
                      int status, const char *want) {
    char out[ROUTE_TEXT];
    const route_request r = request(authority, path, "");
    const route_result got = route_match(table, &r);
    const size_t len = route_explain(table, &r, &got, out);
    assert_int_equal(len, strlen(out));
    assert_null(strchr(out, '\n'));
    assert_int_equal(route_status(&got), status);
    assert_string_equal(out, want);
}

static void one_line_errors(void **state) {
    (void)state;
    weft_buf routes;
    files_read(GOLDEN "/golden.yaml", &routes);
    config_snapshot *s = files_parse(weft_buf_str(&routes));
    const config_table *table = s->listeners[0].routes;
    explained(table, "nobody", "/x.Y/Z", WEFT_UNAVAILABLE,
              "no service \"nobody\" is known here, and none exports \"/x.Y/Z\"; known: product, "
              "wild-suffix, wild-deep, wild-prefix, cart, inventory; dial one of these, or declare "
              "the service in uses");
    explained(table, "localhost:5000", "/shop.Shared/Get", WEFT_UNIMPLEMENTED,
              "\"shop.Shared\" is exported by several services: cart, inventory; name one of them "
              "as :authority");
    explained(table, "cart", "/nothing\"\x01", WEFT_UNIMPLEMENTED,
              "no route of cart matches \"/nothing??\"; its routes: cart[0], cart[1]");
    char big[2000], out[ROUTE_TEXT];
    memset(big, 'x', sizeof big - 1);
    big[0] = '/';
    big[sizeof big - 1] = '\0';
    const route_request r = request(big, big, "");
    const route_result got = route_match(table, &r);
    assert_true(route_explain(table, &r, &got, out) < ROUTE_TEXT);
    config_unref(s);
    weft_buf_free(&routes);
}

static void weights(void **state) {
    (void)state;
    config_snapshot *s = files_good("full");
    const config_route *canary = &s->listeners[0].routes->vhosts[0].routes[1];
    weft_rng rng;
    int second = 0;
    weft_rng_seed(&rng, 42);
    for (int i = 0; i < 100000; i++)
        second += route_pick(canary, weft_rng_u64(&rng)) == &s->clusters[1];
    assert_in_range(second, 9600, 10400);
    assert_ptr_equal(route_pick(canary, 0), &s->clusters[0]);
    assert_ptr_equal(route_pick(canary, UINT64_MAX), &s->clusters[1]);
    config_unref(s);
}

static void timeouts(void **state) {
    (void)state;
    config_route r = {.timeout = 0};
    assert_int_equal(route_timeout(&r, -1), INT64_MAX);
    assert_int_equal(route_timeout(&r, 5 * S), 5 * S);
    r.timeout = 2 * S;
    assert_int_equal(route_timeout(&r, -1), 2 * S);
    assert_int_equal(route_timeout(&r, 5 * S), 2 * S);
    assert_int_equal(route_timeout(&r, S), S);
    r = (config_route){.max_stream_duration = 3 * S};
    assert_int_equal(route_timeout(&r, -1), 3 * S);
    assert_int_equal(route_timeout(&r, 5 * S), 3 * S);
    r.grpc_timeout_capped = true; /* 0: whatever the caller asks for */
    assert_int_equal(route_timeout(&r, 5 * S), 5 * S);
    assert_int_equal(route_timeout(&r, -1), 3 * S);
    r.grpc_timeout_max = 4 * S;
    assert_int_equal(route_timeout(&r, 5 * S), 4 * S);
    assert_int_equal(route_timeout(&r, 0), 0);
}

static config_idempotency known(void *user, const char *path, size_t len) {
    (void)path;
    (void)len;
    ++*(int *)user;
    return CONFIG_IDEMPOTENT;
}

static void retries(void **state) {
    (void)state;
    config_snapshot *s = files_good("full");
    const config_vhost *v = &s->listeners[0].routes->vhosts[0];
    const config_route *plain = &s->listeners[0].routes->vhosts[1].routes[0];
    int asked = 0;
    const config_retry *r =
        route_retry(s, plain, text("/shop.product.v1.ProductService/GetProduct?x"), NULL, NULL);
    assert_ptr_equal(r, &config_retry_default);
    assert_true(route_retry_code(r, WEFT_UNAVAILABLE));
    assert_false(route_retry_code(r, WEFT_INTERNAL));
    assert_false(route_retry_code(r, 99));
    r = route_retry(s, plain, text("/a/B"), NULL, NULL);
    assert_ptr_equal(r, &route_retry_transparent);
    assert_false(route_retry_code(r, WEFT_UNAVAILABLE));
    assert_true(r->conditions & CONFIG_RETRY_REFUSED);
    assert_ptr_equal(route_retry(s, plain, text("/a/B"), known, &asked), &config_retry_default);
    assert_int_equal(asked, 1);
    r = route_retry(s, &v->routes[1], text("/a/B"), known, &asked);
    assert_ptr_equal(r, v->routes[1].retry); /* written for the route: holds for any method */
    assert_int_equal(asked, 1);
    assert_true(route_retry_http(r, 500) && route_retry_http(r, 599) && route_retry_http(r, 429));
    assert_false(route_retry_http(r, 404) || route_retry_http(r, 600));
    config_unref(s);
}

static void backoff(void **state) {
    (void)state;
    weft_rng rng;
    weft_rng_seed(&rng, 1);
    for (unsigned attempt = 1; attempt < 40; attempt++) {
        int64_t most = 25 * WEFT_NS_PER_MS, sum = 0;
        for (unsigned i = 1; i < attempt && most < 250 * WEFT_NS_PER_MS; i++) most *= 2;
        if (most > 250 * WEFT_NS_PER_MS) most = 250 * WEFT_NS_PER_MS;
        for (int i = 0; i < 1000; i++) {
            const int64_t wait = route_backoff(&config_retry_default, attempt, &rng);
            assert_in_range(wait, 0, most);
            sum += wait;
        }
        assert_in_range(sum / 1000, most * 45 / 100, most * 55 / 100);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),          cmocka_unit_test(same_as_linear),
        cmocka_unit_test(one_line_errors), cmocka_unit_test(weights),
        cmocka_unit_test(timeouts),        cmocka_unit_test(retries),
        cmocka_unit_test(backoff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
