/* gRPC over HTTP/2: timeouts, status, messages, paths, trace context. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "weft/clock.h"
#include "weft/http_grpc.h"
#include "weft/rng.h"

static void test_timeout(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ns; /* -1: not a timeout */
    } cases[] = {
        {"1n", 1},
        {"250m", 250 * WEFT_NS_PER_MS},
        {"30S", 30 * WEFT_NS_PER_S},
        {"5u", 5000},
        {"2M", 120 * WEFT_NS_PER_S},
        {"1H", 3600 * WEFT_NS_PER_S},
        {"0S", 0},
        {"99999999H", INT64_MAX},
        {"00000001S", WEFT_NS_PER_S},
        {"", -1},
        {"S", -1},
        {"1", -1},
        {"123456789n", -1},
        {"1s", -1},
        {"-1S", -1},
        {"1 S", -1},
        {"1.5S", -1},
        {"2562048H", INT64_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t ns = -1;
        const int got = http_timeout_parse(cases[i].text, strlen(cases[i].text), &ns);
        if (got != (cases[i].ns < 0 ? WEFT_EPARSE : 0) || ns != cases[i].ns)
            fail_msg("%s: %ld", cases[i].text, (long)ns);
    }
    char out[HTTP_TIMEOUT_TEXT];
    static const struct {
        int64_t ns;
        const char *text;
    } texts[] = {{1, "1n"},
                 {0, "1n"},
                 {-5, "1n"},
                 {99999999, "99999999n"},
                 {100000000, "100000u"},
                 {WEFT_NS_PER_S, "1000000u"},
                 {100 * WEFT_NS_PER_S, "100000m"},
                 {INT64_MAX, "2562047H"}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(http_timeout_format(texts[i].ns, out), strlen(texts[i].text));
        assert_string_equal(out, texts[i].text);
    }
    /* What is written is never longer than what was meant, and at most a part in 10,000 shorter. */
    weft_rng rng;
    weft_rng_seed(&rng, 1);
    for (int i = 0; i < 100000; i++) {
        const int64_t ns = (int64_t)(weft_rng_u64(&rng) >> (1 + weft_rng_below(&rng, 62))) + 1;
        int64_t back = 0;
        const size_t len = http_timeout_format(ns, out);
        assert_int_equal(http_timeout_parse(out, len, &back), 0);
        assert_true(back <= ns && back >= ns - ns / 10000);
    }
}

static void test_status(void **state) {
    (void)state;
    assert_int_equal(http_grpc_status_parse("0", 1), 0);
    assert_int_equal(http_grpc_status_parse("16", 2), 16);
    assert_int_equal(http_grpc_status_parse("17", 2), WEFT_UNKNOWN);
    assert_int_equal(http_grpc_status_parse("-1", 2), -1);
    assert_int_equal(http_grpc_status_parse("", 0), -1);
    assert_int_equal(http_grpc_status_parse("1x", 2), -1);
    assert_int_equal(http_grpc_from_http(400), WEFT_INTERNAL);
    assert_int_equal(http_grpc_from_http(401), WEFT_UNAUTHENTICATED);
    assert_int_equal(http_grpc_from_http(403), WEFT_PERMISSION_DENIED);
    assert_int_equal(http_grpc_from_http(404), WEFT_UNIMPLEMENTED);
    assert_int_equal(http_grpc_from_http(429), WEFT_UNAVAILABLE);
    assert_int_equal(http_grpc_from_http(503), WEFT_UNAVAILABLE);
    assert_int_equal(http_grpc_from_http(200), WEFT_UNKNOWN);
    assert_int_equal(http_grpc_from_h2(0), WEFT_INTERNAL);
    assert_int_equal(http_grpc_from_h2(7), WEFT_UNAVAILABLE);
    assert_int_equal(http_grpc_from_h2(8), WEFT_CANCELLED);
    assert_int_equal(http_grpc_from_h2(11), WEFT_RESOURCE_EXHAUSTED);
    assert_int_equal(http_grpc_from_h2(12), WEFT_PERMISSION_DENIED);
    assert_int_equal(http_grpc_from_h2(4711), WEFT_UNKNOWN);
    assert_int_equal(http_h2_from_grpc(WEFT_CANCELLED), 8);
    assert_int_equal(http_status_from_grpc(WEFT_NOT_FOUND), 404);
    assert_int_equal(http_status_from_grpc(99), 500);
    assert_true(http_grpc_content_type("application/grpc", 16));
    assert_true(http_grpc_content_type("application/grpc+proto", 22));
    assert_true(http_grpc_content_type("Application/gRPC;x=y", 20));
    assert_false(http_grpc_content_type("application/grpc-web", 20));
    assert_false(http_grpc_content_type("application/json", 16));
    assert_false(http_grpc_content_type("application", 11));
}

static void test_message(void **state) {
    (void)state;
    char out[64], back[64];
    size_t n = http_grpc_message_encode("caf\xc3\xa9 100%\n", 11, out, sizeof out);
    assert_int_equal(n, 19);
    assert_memory_equal(out, "caf%C3%A9 100%25%0A", 19);
    n = http_grpc_message_encode("caf\xc3\xa9 100%\n", 11, out, sizeof out);
    assert_int_equal(http_grpc_message_decode(out, n, back), 11);
    assert_memory_equal(back, "caf\xc3\xa9 100%\n", 11);
    assert_int_equal(http_grpc_message_encode("\xc3\xa9", 2, out, 4), 6);
    assert_int_equal(http_grpc_message_decode("50% off%zz%4", 12, back), 12);
    assert_memory_equal(back, "50% off%zz%4", 12);
    assert_int_equal(http_grpc_message_decode("%41%4a%4A", 9, back), 3);
    assert_memory_equal(back, "AJJ", 3);
    weft_rng rng;
    weft_rng_seed(&rng, 2);
    for (int i = 0; i < 20000; i++) {
        char text[40], coded[120], again[120];
        const size_t len = weft_rng_below(&rng, sizeof text);
        for (size_t k = 0; k < len; k++) text[k] = (char)weft_rng_below(&rng, 256);
        const size_t size = http_grpc_message_encode(text, len, coded, sizeof coded);
        assert_int_equal(http_grpc_message_decode(coded, size, again), len);
        assert_memory_equal(text, again, len);
    }
}

static void test_replies(void **state) {
    (void)state;
    http_pool *pool = http_pool_new(0, 1);
    http_fields list;
    http_facts facts;
    int code = 0;
    const char *text = NULL;
    size_t len = 0;
    http_fields_init(&list, pool);
    assert_int_equal(http_grpc_outcome(&list, &code, &text, &len), WEFT_ENOTFOUND);
    assert_int_equal(code, WEFT_UNKNOWN);
    assert_int_equal(http_grpc_reply(&list, WEFT_UNAVAILABLE, "no endpoint of caf\xc3\xa9"), 0);
    assert_int_equal(http_validate(&list, HTTP_SECTION_RESPONSE, &facts), 0);
    assert_int_equal(http_grpc_outcome(&list, &code, &text, &len), 0);
    assert_int_equal(code, WEFT_UNAVAILABLE);
    assert_string_equal(text, "no endpoint of caf%C3%A9");
    http_fields_clear(&list);
    char *large = malloc(30001);
    memset(large, '\n', 30000);
    large[30000] = '\0';
    assert_int_equal(http_grpc_trailers(&list, 13, large), 0);
    assert_int_equal(list.count, 2);
    assert_true(list.at[1]->value_len <= 8192 && list.at[1]->value_len > 8000);
    free(large);
    http_fields_clear(&list);
    assert_int_equal(http_grpc_trailers(&list, 99, " "), 0);
    assert_int_equal(http_validate(&list, HTTP_SECTION_TRAILERS, &facts), 0);
    assert_string_equal(list.at[0]->value, "2");
    http_fields_clear(&list);
    http_pool_free(pool);
}

static void test_path(void **state) {
    (void)state;
    http_grpc_path p;
    assert_int_equal(http_grpc_path_split("/a.b.C/Do", 9, &p), 0);
    assert_int_equal(p.service_len, 5);
    assert_memory_equal(p.service, "a.b.C", 5);
    assert_int_equal(p.method_len, 2);
    assert_memory_equal(p.method, "Do", 2);
    static const char *const bad[] = {"", "/", "a/b", "/a", "/a/", "//b", "/a/b/c", "*"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(http_grpc_path_split(bad[i], strlen(bad[i]), &p), WEFT_EPARSE);
    }
}

/* Messages of every size in pieces of every size. */
static void test_reader(void **state) {
    (void)state;
    weft_rng rng;
    weft_rng_seed(&rng, 4);
    for (int round = 0; round < 300; round++) {
        uint8_t wire[20000];
        size_t sizes[20], total = 0, count = 1 + weft_rng_below(&rng, 20);
        for (size_t i = 0; i < count; i++) {
            sizes[i] = weft_rng_below(&rng, 900);
            http_grpc_prefix(wire + total, i % 2, (uint32_t)sizes[i]);
            total += HTTP_GRPC_PREFIX;
            memset(wire + total, (int)i, sizes[i]);
            total += sizes[i];
        }
        http_grpc_reader reader = {.max = 1000};
        size_t begun = 0, ended = 0, seen = 0;
        for (size_t at = 0; at < total;) {
            size_t piece = 1 + weft_rng_below(&rng, 300);
            if (piece > total - at) piece = total - at;
            const uint8_t *data = wire + at, *payload = NULL;
            size_t len = piece, payload_len = 0;
            bool compressed = false;
            for (int event; (event = http_grpc_read(&reader, &data, &len, &compressed, &payload,
                                                    &payload_len)) != HTTP_GRPC_MORE;) {
                assert_true(event > 0);
                if (event == HTTP_GRPC_BEGIN) {
                    assert_int_equal(compressed, begun % 2);
                    assert_int_equal(reader.left, sizes[begun++]);
                    seen = 0;
                } else if (event == HTTP_GRPC_PAYLOAD) {
                    for (size_t k = 0; k < payload_len; k++)
                        assert_int_equal(payload[k], (uint8_t)ended);
                    seen += payload_len;
                } else {
                    assert_int_equal(seen, sizes[ended++]);
                }
            }
            assert_int_equal(len, 0);
            at += piece;
        }
        assert_int_equal(ended, count);
        assert_true(http_grpc_reader_idle(&reader));
    }
    const uint8_t large[] = {0, 0, 0, 4, 0}, odd[] = {2, 0, 0, 0, 0};
    const uint8_t *at = large, *payload = NULL;
    size_t len = 5, payload_len = 0;
    bool compressed = false;
    http_grpc_reader reader = {.max = 1023};
    assert_int_equal(http_grpc_read(&reader, &at, &len, &compressed, &payload, &payload_len),
                     WEFT_ELIMIT);
    reader = (http_grpc_reader){.max = 1023};
    at = odd;
    len = 5;
    assert_int_equal(http_grpc_read(&reader, &at, &len, &compressed, &payload, &payload_len),
                     WEFT_EPARSE);
    reader = (http_grpc_reader){.max = 1023};
    len = 3;
    at = large;
    assert_int_equal(http_grpc_read(&reader, &at, &len, &compressed, &payload, &payload_len),
                     HTTP_GRPC_MORE);
    assert_false(http_grpc_reader_idle(&reader));
}

static void test_trace(void **state) {
    (void)state;
    static const char good[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    http_trace trace;
    char out[HTTP_TRACEPARENT_LEN];
    assert_int_equal(http_traceparent_parse(good, 55, &trace), 0);
    assert_int_equal(trace.flags, HTTP_TRACE_SAMPLED);
    assert_int_equal(trace.trace_id[0], 0x0a);
    assert_int_equal(trace.span_id[7], 0x31);
    http_traceparent_format(&trace, out);
    assert_memory_equal(out, good, 55);
    static const char *const fine[] = {
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(http_traceparent_parse(fine[i], strlen(fine[i]), &trace), 0);
    }
    static const char *const bad[] = {"",
                                      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
                                      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
                                      "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                      "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                      "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                                      "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                                      "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
                                      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333g-01",
                                      "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (http_traceparent_parse(bad[i], strlen(bad[i]), &trace) != WEFT_EPARSE)
            fail_msg("%s", bad[i]);
    }
    /* Any character anywhere. */
    for (size_t at = 0; at < 55; at++) {
        const bool dash = at == 2 || at == 35 || at == 52;
        for (int c = 0; c < 256; c++) {
            char text[56];
            memcpy(text, good, sizeof text);
            text[at] = (char)c;
            const bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
            const int rc = http_traceparent_parse(text, 55, &trace);
            if ((rc == 0) != (dash ? c == '-' : digit)) fail_msg("%s", text);
            if (rc || at < 2 || at > 51) continue;
            http_traceparent_format(&trace, out);
            assert_memory_equal(out, text, 55);
        }
    }
}

/* A field that nobody else has is written again in place. */
static void test_trace_renewed(void **state) {
    (void)state;
    static const char text[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    http_pool *pool = http_pool_new(0, 1);
    http_trace trace;
    http_field *f = http_field_known(pool, HTTP_NAME_TRACEPARENT, text, 55);
    assert_non_null(f);
    assert_int_equal(http_traceparent_parse(f->value, f->value_len, &trace), 0);
    for (uint8_t i = 0; i < 8; i++) trace.span_id[i] = (uint8_t)(0x1f * (i + 1));
    assert_true(http_traceparent_renew(f, &trace));
    assert_string_equal(f->value, "00-0af7651916cd43dd8448eb211c80319c-1f3e5d7c9bbad9f8-01");
    trace.flags = 0; /* more than the span has changed */
    assert_false(http_traceparent_renew(f, &trace));
    trace.flags = HTTP_TRACE_SAMPLED;
    (void)http_field_ref(f);
    assert_false(http_traceparent_renew(f, &trace));
    http_field_unref(f);
    http_field_unref(f);
    f = http_field_intern(pool, "traceparent", 11, text, 55);
    assert_false(http_traceparent_renew(f, &trace));
    assert_string_equal(f->value, text);
    http_field_unref(f);
    /* A later version is passed on as what we understand of it; so are flags of its. */
    static const char *const others[] = {
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03"};
    for (size_t i = 0; i < 2; i++) {
        f = http_field_known(pool, HTTP_NAME_TRACEPARENT, others[i], strlen(others[i]));
        assert_int_equal(http_traceparent_parse(f->value, f->value_len, &trace), 0);
        assert_false(http_traceparent_renew(f, &trace));
        assert_string_equal(f->value, others[i]);
        http_field_unref(f);
    }
    http_pool_free(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace_renewed), cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_status),        cmocka_unit_test(test_message),
        cmocka_unit_test(test_replies),       cmocka_unit_test(test_path),
        cmocka_unit_test(test_reader),        cmocka_unit_test(test_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
