/* Prometheus text and span lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sidecar/export/export.h"

static void has(const weft_buf *out, const char *text) {
    if (!strstr(weft_buf_str(out), text)) fail_msg("no \"%s\" in:\n%s", text, weft_buf_str(out));
}

static void call(telemetry *t, const char *method, uint32_t status, int64_t duration) {
    const telemetry_key key = {.direction = TELEMETRY_OUT,
                               .grpc_status = status,
                               .service = "shop.Product",
                               .service_len = 12,
                               .method = method,
                               .method_len = strlen(method),
                               .peer = "product.shop",
                               .peer_len = 12,
                               .route = "product[0]",
                               .route_len = 10};
    telemetry_call(t, &key, duration, 1);
}

static void prometheus(void **state) {
    (void)state;
    weft_buf out;
    telemetry *t = telemetry_new(0, 0);
    weft_buf_init(&out, 0);
    call(t, "Get", 0, 12000);
    call(t, "Get", 0, 3000000);
    call(t, "a\"b\\c\nd\x01", 14, 1);
    telemetry_at(t)[TELEMETRY_RETRIES_TRANSPARENT] = 7;
    assert_int_equal(export_prometheus(t, &out), 0);
    has(&out, "# HELP weft_retries_total Attempts after the first.\n"
              "# TYPE weft_retries_total counter\n"
              "weft_retries_total{cause=\"policy\"} 0\n"
              "weft_retries_total{cause=\"transparent\"} 7\n");
    has(&out, "# TYPE weft_connections_open gauge\n");
    has(&out, "\nweft_attempts_total 0\n");
    has(&out, "weft_requests_total{direction=\"outbound\",service=\"shop.Product\",method=\"Get\","
              "peer=\"product.shop\",grpc_status=\"0\",route=\"product[0]\"} 2\n");
    has(&out, "method=\"a\\\"b\\\\c\\nd?\"");
    has(&out, "route=\"product[0]\",le=\"0.00001\"} 0\n");
    has(&out, "route=\"product[0]\",le=\"0.000025\"} 1\n");
    has(&out, "route=\"product[0]\",le=\"0.0025\"} 1\n");
    has(&out, "route=\"product[0]\",le=\"0.005\"} 2\n");
    has(&out, "route=\"product[0]\",le=\"+Inf\"} 2\n");
    has(&out, "weft_request_duration_seconds_sum{direction=\"outbound\",service=\"shop.Product\","
              "method=\"Get\",peer=\"product.shop\",grpc_status=\"0\",route=\"product[0]\"} "
              "0.003012\n");
    weft_buf_free(&out);
    telemetry_free(t);
}

/* Every line is a comment or a sample; every family is told of once, before its samples. */
static void well_formed(void **state) {
    (void)state;
    weft_buf out;
    telemetry *t = telemetry_new(1, 0);
    weft_buf_init(&out, 0);
    call(t, "Get", 0, 1);
    call(t, "List", 0, 1);
    assert_int_equal(export_prometheus(t, &out), 0);
    has(&out, "service=\"other\"");
    char family[100] = "";
    for (char *line = out.data, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        if (strncmp(line, "# HELP ", 7) == 0) {
            assert_true(strlen(line) > 7 + strcspn(line + 7, " ") + 1);
            continue;
        }
        if (strncmp(line, "# TYPE ", 7) == 0) {
            (void)snprintf(family, sizeof family, "%.*s", (int)strcspn(line + 7, " "), line + 7);
            continue;
        }
        if (strncmp(line, family, strlen(family)) != 0) fail_msg("%s in %s", line, family);
        assert_non_null(strchr(line, ' '));
    }
    for (unsigned i = 0; i < TELEMETRY_COUNTER_COUNT; i++) {
        const char *name = telemetry_table[i].name;
        const bool first = i == 0 || strcmp(telemetry_table[i - 1].name, name) != 0;
        for (unsigned k = 0; first && k < i; k++)
            assert_string_not_equal(telemetry_table[k].name, name);
        assert_int_equal(first, *telemetry_table[i].help != '\0');
    }
    weft_buf_free(&out);
    telemetry_free(t);
}

static void families(void **state) {
    (void)state;
    weft_buf out;
    static const char *const labels[] = {"cluster", "product.shop;v2", "what", "a\"b", NULL};
    weft_buf_init(&out, 0);
    export_family(&out, "weft_cluster_pending", "gauge", "Waiting.");
    export_sample(&out, "weft_cluster_pending", labels, 3);
    export_sample(&out, "weft_up", NULL, 0.5);
    assert_string_equal(weft_buf_str(&out),
                        "# HELP weft_cluster_pending Waiting.\n"
                        "# TYPE weft_cluster_pending gauge\n"
                        "weft_cluster_pending{cluster=\"product.shop;v2\",what=\"a\\\"b\"} 3\n"
                        "weft_up 0.5\n");
    weft_buf_free(&out);
}

static span make(void) {
    span s = {.trace_id = {0xab, 1}, .id = {0xcd, 2}, .start = 1000, .duration = 25};
    s.kind = SPAN_CLIENT;
    s.grpc_status = 14;
    s.sampled = true;
    span_set(&s, SPAN_NAME, "shop.Product/Get", 16);
    span_set(&s, SPAN_ERROR, "quote \" here", 12);
    span_set(&s, SPAN_PEER, "", 0);
    return s;
}

static void span_line(void **state) {
    (void)state;
    weft_buf out;
    span s = make();
    weft_buf_init(&out, 0);
    assert_int_equal(export_span(&s, &out), 0);
    assert_string_equal(weft_buf_str(&out),
                        "{\"traceId\":\"ab010000000000000000000000000000\","
                        "\"spanId\":\"cd02000000000000\",\"kind\":3,"
                        "\"startTimeUnixNano\":\"1000\",\"endTimeUnixNano\":\"1025\","
                        "\"grpcStatus\":14,\"sampled\":true,\"name\":\"shop.Product/Get\","
                        "\"error.type\":\"quote \\\" here\"}\n");
    s.parent[7] = 1;
    s.attempt = true;
    s.attempt_number = 2;
    s.bytes_in = 5;
    weft_buf_clear(&out);
    assert_int_equal(export_span(&s, &out), 0);
    has(&out, "\"parentSpanId\":\"0000000000000001\"");
    has(&out, "\"attempt\":2,\"bytesIn\":5,\"bytesOut\":0");
    weft_buf_free(&out);
}

/* Lines that do not fit stay in the buffer; no half line is written. */
static void span_lines(void **state) {
    (void)state;
    weft_buf out;
    const span s = make();
    span_buffer *b = span_buffer_new(0);
    weft_buf_init(&out, 1000);
    for (int i = 0; i < 10; i++) assert_true(span_buffer_add(b, &s));
    size_t written = 0;
    for (int i = 0; i < 10 && span_buffer_stats(b).waiting; i++) {
        weft_buf_clear(&out);
        const size_t n = export_spans(b, 0, &out);
        assert_true(n > 0);
        assert_int_equal(out.data[out.len - 1], '\n');
        assert_int_equal(out.error, 0);
        written += n;
    }
    assert_int_equal(written, 10);
    span_buffer_free(b);
    weft_buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prometheus), cmocka_unit_test(well_formed), cmocka_unit_test(families),
        cmocka_unit_test(span_line),  cmocka_unit_test(span_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
