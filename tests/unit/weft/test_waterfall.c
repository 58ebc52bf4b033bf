/* Traces drawn with characters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tools/weft/waterfall.h"

#define MS INT64_C(1000000)
#define BEGIN (INT64_C(1700000000) * 1000 * MS)

static char *text(const char *t) { return (char *)(uintptr_t)t; }

static Telemetry__Span span(const char *service, const char *name, unsigned depth, int64_t start,
                            int64_t took, int grpc) {
    Telemetry__Span s = TELEMETRY__SPAN__INIT;
    s.service = text(service);
    s.name = text(name);
    s.depth = depth;
    s.start_unix_nano = BEGIN + start;
    s.duration_nano = took;
    s.grpc_status = grpc;
    s.kind = OTLP__SPAN__SPAN_KIND__SPAN_KIND_SERVER;
    s.origin = TELEMETRY__ORIGIN__ORIGIN_APP;
    return s;
}

static const char *drawn(Telemetry__Span **spans, size_t count, waterfall_style style) {
    static weft_buf out;
    Telemetry__TraceSummary summary = TELEMETRY__TRACE_SUMMARY__INIT;
    Telemetry__GetTraceResponse trace = TELEMETRY__GET_TRACE_RESPONSE__INIT;
    summary.trace_id = text("4bf92f3577b34da6a3ce929d0e0e4736");
    summary.service = spans[0]->service;
    summary.name = spans[0]->name;
    summary.start_unix_nano = BEGIN;
    summary.duration_nano = 40 * MS;
    summary.spans = (uint32_t)count;
    summary.errors = 1;
    trace.summary = &summary;
    trace.spans = spans;
    trace.n_spans = count;
    weft_buf_free(&out);
    weft_buf_init(&out, 0);
    waterfall(&trace, &style, &out);
    return weft_buf_str(&out);
}

static void draws(void **state) {
    (void)state;
    Telemetry__Span a =
        span("order.shop", "shop.order.v1.OrderService/PlaceOrder", 0, 0, 40 * MS, 0);
    Telemetry__Span b =
        span("order.shop", "shop.user.v1.UserService/GetUser", 1, 10 * MS, 20 * MS, 5);
    Telemetry__Span c = span("user.shop", "shop.user.v1.UserService/GetUser", 2, 20 * MS, 1500, 5);
    b.kind = OTLP__SPAN__SPAN_KIND__SPAN_KIND_CLIENT;
    b.origin = c.origin = TELEMETRY__ORIGIN__ORIGIN_SIDECAR;
    b.parent_missing = b.parent_inferred = true;
    c.error = true;
    c.status_message = text("no user \"u-9\"");
    Telemetry__Span *spans[] = {&a, &b, &c};
    assert_string_equal(
        drawn(spans, 3, (waterfall_style){.width = 103, .ascii = true}),
        "trace 4bf92f3577b34da6a3ce929d0e0e4736  order.shop shop.order.v1.OrderService/PlaceOrder\n"
        "2023-11-14T22:13:20.000000Z  40.0 ms  3 spans  1 error\n"
        "\n"
        "SERVICE   TOLD BY  WHAT                                                                 TOOK  STATUS\n"
        "order     app      serves OrderService/PlaceOrder  ==============================    40.0 ms  OK\n"
        "~ order   sidecar  calls UserService/GetUser              ================           20.0 ms  NOT_FOUND\n"
        "    user  sidecar  serves UserService/GetUser                     =                   1.5 \xc2\xb5s  NOT_FOUND\n"
        "      no user \"u-9\"\n"
        "\n"
        "~ 1 span: the parent is not here; shown below the call its service was answering.\n");
}

/* What services send must not command the terminal, nor break the columns. */
static void is_safe(void **state) {
    (void)state;
    Telemetry__Span a = span("a\x1b[31m", "x\ny\x07\xc2\x9b", 0, 0, 40 * MS, -1);
    Telemetry__Span b = span("b", "", 40, -5 * MS, 900 * MS, -1);
    a.error = true;
    a.status_message = text("one\ntwo");
    Telemetry__Span *spans[] = {&a, &b};
    const char *out = drawn(spans, 2, (waterfall_style){.width = 1});
    assert_null(strchr(out, '\x1b'));
    assert_null(strchr(out, '\a'));
    assert_null(strstr(out, "\xc2\x9b"));
    assert_non_null(strstr(out, "one?two\n"));
    assert_non_null(strstr(out, "x?y??"));
    assert_non_null(strstr(out, "(no name)"));
    assert_non_null(strstr(out, "ERROR"));
}

static void cuts(void **state) {
    (void)state;
    weft_buf out;
    weft_buf_init(&out, 0);
    assert_int_equal(waterfall_text("gr\xc3\xbc\xc3\x9f", 4, &out), 4);
    assert_string_equal(weft_buf_str(&out), "gr\xc3\xbc\xc3\x9f");
    weft_buf_clear(&out);
    assert_int_equal(waterfall_text("gr\xc3\xbc\xc3\x9f", 3, &out), 3);
    assert_string_equal(weft_buf_str(&out), "gr\xe2\x80\xa6");
    weft_buf_clear(&out);
    waterfall_duration(999, &out);
    waterfall_duration(61 * 1000 * MS, &out);
    assert_string_equal(weft_buf_str(&out), "999 ns61.00 s");
    weft_buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(draws), cmocka_unit_test(is_safe),
                                       cmocka_unit_test(cuts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
