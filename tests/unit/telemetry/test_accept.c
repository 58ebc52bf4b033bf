/* What is taken, cut, left out and refused of OTLP; trees of spans; histograms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "services/telemetry/telemetry.h"
#include "weft/pb.h"
#include "weft/telemetry/v1/telemetry.pb-c.h"

static weft_arena *arena;

static int set_up(void **state) {
    (void)state;
    arena = weft_arena_new(0);
    return arena ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    weft_arena_free(arena);
    return 0;
}

static void *need(size_t size) {
    void *p = weft_arena_calloc(arena, 1, size);
    assert_non_null(p);
    return p;
}

static char *text(const char *t) { return (char *)(uintptr_t)t; }

static Otlp__KeyValue *attribute(const char *key, const char *value) {
    Otlp__KeyValue *kv = need(sizeof *kv);
    otlp__key_value__init(kv);
    kv->key = text(key);
    kv->value = need(sizeof *kv->value);
    otlp__any_value__init(kv->value);
    kv->value->value_case = OTLP__ANY_VALUE__VALUE_STRING_VALUE;
    kv->value->string_value = text(value);
    return kv;
}

static Otlp__Span *span(const char *trace16, const char *id8, const char *parent8) {
    Otlp__Span *s = need(sizeof *s);
    otlp__span__init(s);
    s->trace_id = (ProtobufCBinaryData){strlen(trace16), (uint8_t *)text(trace16)};
    s->span_id = (ProtobufCBinaryData){strlen(id8), (uint8_t *)text(id8)};
    s->parent_span_id = (ProtobufCBinaryData){strlen(parent8), (uint8_t *)text(parent8)};
    s->name = text("/pkg.Service/Method");
    s->start_time_unix_nano = 1000;
    s->end_time_unix_nano = 3000;
    s->kind = OTLP__SPAN__SPAN_KIND__SPAN_KIND_SERVER;
    return s;
}

/* A request of one resource, with `count` spans. */
static OtlpTrace__ExportTraceServiceRequest *request(Otlp__Span **spans, size_t count,
                                                     const char *scope) {
    OtlpTrace__ExportTraceServiceRequest *r = need(sizeof *r);
    otlp_trace__export_trace_service_request__init(r);
    Otlp__ResourceSpans *rs = need(sizeof *rs), **rss = need(sizeof(void *));
    otlp__resource_spans__init(rs);
    rs->resource = need(sizeof *rs->resource);
    otlp__resource__init(rs->resource);
    rs->resource->attributes = need(2 * sizeof(void *));
    rs->resource->attributes[0] = attribute("service.name", "order");
    rs->resource->attributes[1] = attribute("service.namespace", "shop");
    rs->resource->n_attributes = 2;
    Otlp__ScopeSpans *ss = need(sizeof *ss);
    otlp__scope_spans__init(ss);
    ss->scope = need(sizeof *ss->scope);
    otlp__instrumentation_scope__init(ss->scope);
    ss->scope->name = text(scope);
    ss->spans = spans;
    ss->n_spans = count;
    rs->scope_spans = need(sizeof(void *));
    rs->scope_spans[0] = ss;
    rs->n_scope_spans = 1;
    rss[0] = rs;
    r->resource_spans = rss;
    r->n_resource_spans = 1;
    return r;
}

static Telemetry__SpanDetail *detail(const tel_span *s) {
    return (Telemetry__SpanDetail *)weft_unpack(&telemetry__span_detail__descriptor, s->detail,
                                                s->detail_len, NULL, arena, NULL, NULL);
}

#define TRACE "0123456789abcdef"

static void test_takes(void **state) {
    (void)state;
    Otlp__Span *s = span(TRACE, "span-one", "parent-1");
    s->attributes = need(2 * sizeof(void *));
    s->attributes[0] = attribute("weft.peer.id", "spiffe://mesh.local/ns/shop/sa/cart");
    s->attributes[1] = attribute("rpc.response.status_code", "NOT_FOUND");
    s->n_attributes = 2;
    tel_batch b;
    assert_int_equal(tel_accept_spans(request(&s, 1, "weft-sidecar"), arena, &b), 0);
    assert_int_equal(b.count, 1);
    assert_int_equal(b.rejected, 0);
    assert_string_equal(b.spans[0].service, "order.shop");
    assert_string_equal(b.spans[0].peer, "cart.shop");
    assert_string_equal(b.spans[0].name, "pkg.Service/Method");
    assert_string_equal(b.spans[0].callee, "");
    assert_int_equal(b.spans[0].grpc, 5);
    assert_true(b.spans[0].sidecar);
    assert_true(b.spans[0].has_parent);
    assert_int_equal(detail(&b.spans[0])->n_attributes, 2);
}

static void test_callee(void **state) {
    (void)state;
    Otlp__Span *s[2] = {span(TRACE, "span-one", ""), span(TRACE, "span-two", "span-one")};
    for (int i = 0; i < 2; i++) {
        s[i]->kind = OTLP__SPAN__SPAN_KIND__SPAN_KIND_CLIENT;
        s[i]->attributes = need(2 * sizeof(void *));
        s[i]->attributes[0] = attribute("weft.cluster", "product.shop;v2");
        s[i]->attributes[1] = attribute("weft.attempt", "1");
        s[i]->n_attributes = (size_t)i + 1;
    }
    tel_batch b;
    assert_int_equal(tel_accept_spans(request(s, 2, "weft-sidecar"), arena, &b), 0);
    assert_string_equal(b.spans[0].callee, "product.shop");
    assert_string_equal(b.spans[1].callee, "");
    assert_int_equal(tel_accept_spans(request(s, 2, "an app's"), arena, &b), 0);
    assert_string_equal(b.spans[0].callee, "");
}

static void test_rejects(void **state) {
    (void)state;
    Otlp__Span *s[5] = {span("short", "span-one", ""), span(TRACE, "span", ""),
                        span(TRACE, "span-one", ""), span(TRACE, "span-two", ""),
                        span(TRACE, "span-two", "")};
    s[2]->start_time_unix_nano = 0;
    s[4]->span_id.data = (uint8_t[8]){0};
    tel_batch b;
    assert_int_equal(tel_accept_spans(request(s, 5, ""), arena, &b), 0);
    assert_int_equal(b.count, 1);
    assert_int_equal(b.rejected, 4);
    assert_string_equal(b.why, "a trace_id is not 16 bytes, or all zero");
}

static void test_too_many(void **state) {
    (void)state;
    Otlp__Span *one = span(TRACE, "span-one", "");
    Otlp__Span **all = need((TEL_SPANS_PER_REQUEST + 7) * sizeof(void *));
    for (size_t i = 0; i < TEL_SPANS_PER_REQUEST + 7; i++) all[i] = one;
    tel_batch b;
    assert_int_equal(tel_accept_spans(request(all, TEL_SPANS_PER_REQUEST + 7, ""), arena, &b), 0);
    assert_int_equal(b.count, TEL_SPANS_PER_REQUEST);
    assert_int_equal(b.rejected, 7);
}

static char *long_text(const char *unit, size_t times) {
    const size_t len = strlen(unit);
    char *t = need(len * times + 1);
    for (size_t i = 0; i < times; i++) memcpy(t + i * len, unit, len);
    return t;
}

static void test_cuts(void **state) {
    (void)state;
    Otlp__Span *s = span(TRACE, "span-one", "");
    const size_t many = TEL_ATTRIBUTES + 10;
    s->attributes = need((many + 2) * sizeof(void *));
    s->attributes[0] = attribute("long", long_text("\xe2\x82\xac", TEL_VALUE_BYTES));
    s->attributes[1] = attribute(long_text("k", TEL_KEY_BYTES + 1), "never");
    for (size_t i = 0; i < many; i++) s->attributes[i + 2] = attribute("key", "value");
    s->n_attributes = many + 2;
    s->name = long_text("n", TEL_NAME_BYTES * 2);
    s->end_time_unix_nano = 10;
    s->dropped_events_count = 3;
    tel_batch b;
    assert_int_equal(tel_accept_spans(request(&s, 1, ""), arena, &b), 0);
    assert_int_equal(b.count, 1);
    assert_int_equal(strlen(b.spans[0].name), TEL_NAME_BYTES);
    assert_int_equal(b.spans[0].end, b.spans[0].start);
    Telemetry__SpanDetail *d = detail(&b.spans[0]);
    assert_non_null(d); /* whole characters: it is UTF-8 */
    assert_int_equal(d->n_attributes, TEL_ATTRIBUTES);
    assert_int_equal(strlen(d->attributes[0]->value->string_value), TEL_VALUE_BYTES / 3 * 3);
    assert_int_equal(d->dropped, many + 2 - TEL_ATTRIBUTES + 3);
}

static void test_too_much_detail(void **state) {
    (void)state;
    Otlp__Span *s = span(TRACE, "span-one", "");
    s->attributes = need(100 * sizeof(void *));
    char *value = long_text("v", TEL_VALUE_BYTES);
    for (size_t i = 0; i < 100; i++) s->attributes[i] = attribute("key", value);
    s->n_attributes = 100;
    tel_batch b;
    assert_int_equal(tel_accept_spans(request(&s, 1, ""), arena, &b), 0);
    assert_int_equal(detail(&b.spans[0])->n_attributes, 0);
    assert_int_equal(detail(&b.spans[0])->dropped, 100);
}

static void test_memory(void **state) {
    (void)state;
    Otlp__Span *s = span(TRACE, "span-one", "");
    s->name = long_text("n", TEL_NAME_BYTES * 2);
    OtlpTrace__ExportTraceServiceRequest *r = request(&s, 1, "");
    for (size_t cap = 16; cap < 2048; cap += 16) {
        weft_arena *small = weft_arena_new(cap);
        tel_batch b;
        const int rc = tel_accept_spans(r, small, &b);
        assert_true(rc == 0 || rc == WEFT_ENOMEM);
        weft_arena_free(small);
    }
}

/* ---- log records */

static OtlpLogs__ExportLogsServiceRequest *logs(Otlp__LogRecord **records, size_t count) {
    OtlpLogs__ExportLogsServiceRequest *r = need(sizeof *r);
    otlp_logs__export_logs_service_request__init(r);
    Otlp__ResourceLogs *rl = need(sizeof *rl);
    otlp__resource_logs__init(rl);
    Otlp__ScopeLogs *sl = need(sizeof *sl);
    otlp__scope_logs__init(sl);
    sl->log_records = records;
    sl->n_log_records = count;
    rl->scope_logs = need(sizeof(void *));
    rl->scope_logs[0] = sl;
    rl->n_scope_logs = 1;
    r->resource_logs = need(sizeof(void *));
    r->resource_logs[0] = rl;
    r->n_resource_logs = 1;
    return r;
}

static Otlp__LogRecord *record(const char *body) {
    Otlp__LogRecord *l = need(sizeof *l);
    otlp__log_record__init(l);
    l->body = attribute("", body)->value;
    l->severity_number = 9;
    return l;
}

static void test_logs(void **state) {
    (void)state;
    Otlp__LogRecord *l[4] = {record("one"), record("two"), record("one"), record("bad")};
    l[1]->time_unix_nano = 77;
    l[1]->trace_id = (ProtobufCBinaryData){16, (uint8_t *)text(TRACE)};
    l[3]->span_id = (ProtobufCBinaryData){3, (uint8_t *)text("abc")};
    tel_batch a, b;
    assert_int_equal(tel_accept_logs(logs(l, 4), 5, arena, &a), 0);
    assert_int_equal(a.count, 3);
    assert_int_equal(a.rejected, 1);
    assert_int_equal(a.logs[0].time, 5);
    assert_int_equal(a.logs[1].time, 77);
    assert_true(a.logs[1].has_trace);
    assert_string_equal(a.logs[1].body, "two");
    assert_string_equal(a.logs[0].service, "unknown");
    /* Said twice it is two records; sent again it is the same two. */
    assert_memory_not_equal(a.logs[0].key, a.logs[2].key, 16);
    assert_int_equal(tel_accept_logs(logs(l, 4), 900, arena, &b), 0);
    for (int i = 0; i < 3; i++) assert_memory_equal(a.logs[i].key, b.logs[i].key, 16);
}

static void test_any(void **state) {
    (void)state;
    Otlp__KeyValue *kv[2] = {attribute("a", "x\"y"), attribute("b", "")};
    kv[1]->value->value_case = OTLP__ANY_VALUE__VALUE_INT_VALUE;
    kv[1]->value->int_value = -7;
    Otlp__KeyValueList list = OTLP__KEY_VALUE_LIST__INIT;
    list.values = kv;
    list.n_values = 2;
    Otlp__AnyValue v = OTLP__ANY_VALUE__INIT;
    v.value_case = OTLP__ANY_VALUE__VALUE_KVLIST_VALUE;
    v.kvlist_value = &list;
    weft_buf out;
    weft_buf_init(&out, 0);
    tel_any_text(&v, &out);
    assert_string_equal(weft_buf_str(&out), "{\"a\":\"x\\\"y\",\"b\":-7}");
    weft_buf_free(&out);
}

/* ---- trees */

static tel_node node(const char *id, const char *parent, int64_t start, int64_t end, bool server,
                     const char *service) {
    tel_node n = {.has_parent = *parent != '\0',
                  .start = start,
                  .end = end,
                  .server = server,
                  .service = service};
    memcpy(n.id, id, strnlen(id, 8));
    memcpy(n.parent, parent, strnlen(parent, 8));
    return n;
}

static void test_tree(void **state) {
    (void)state;
    tel_node n[] = {node("c2", "a", 50, 60, false, "s"),   node("a", "", 0, 100, true, "s"),
                    node("c1", "a", 10, 40, false, "s"),   node("d", "c1", 12, 30, true, "t"),
                    node("x", "gone", 20, 25, false, "t"), node("y", "gone", 200, 210, false, "t")};
    uint32_t order[6];
    assert_int_equal(tel_tree(n, 6, order), 0);
    const uint32_t expected[6] = {1, 2, 3, 4, 0, 5};
    assert_memory_equal(order, expected, sizeof expected);
    assert_int_equal(n[3].depth, 2);
    assert_true(n[4].missing && n[4].inferred);
    assert_int_equal(n[4].depth, 3);
    assert_true(n[5].missing && !n[5].inferred);
    assert_int_equal(n[5].depth, 0);
}

static void test_rings(void **state) {
    (void)state;
    tel_node n[] = {node("a", "b", 0, 1, false, "s"), node("b", "a", 1, 2, false, "s"),
                    node("c", "c", 2, 3, false, "s"), node("d", "b", 3, 4, false, "s")};
    uint32_t order[4];
    assert_int_equal(tel_tree(n, 4, order), 0);
    unsigned seen = 0;
    for (int i = 0; i < 4; i++) seen |= 1u << order[i];
    assert_int_equal(seen, 15);
    assert_int_equal(order[0], 0);
    assert_true(n[0].missing);
    assert_true(n[2].missing);
    assert_int_equal(tel_tree(n, 0, order), 0);
}

/* ---- histograms */

static void test_histogram(void **state) {
    (void)state;
    tel_histogram h = {{0}}, back;
    for (int64_t us = 1; us <= 1000; us++) tel_histogram_add(&h, us * 1000);
    const int64_t p50 = tel_histogram_quantile(&h, 0.5), p99 = tel_histogram_quantile(&h, 0.99);
    assert_true(p50 >= 500000 && p50 <= 500000 * 5 / 4);
    assert_true(p99 >= 990000 && p99 <= 990000 * 5 / 4);
    tel_histogram_add(&h, 0);
    tel_histogram_add(&h, INT64_MAX);
    weft_buf bytes;
    weft_buf_init(&bytes, 0);
    tel_histogram_write(&h, &bytes);
    tel_histogram_read(&back, bytes.data, bytes.len);
    assert_memory_equal(&back, &h, sizeof h);
    tel_histogram_merge(&back, &h);
    assert_int_equal(back.counts[0], 2 * h.counts[0]);
    tel_histogram_read(&back, "\xff\1\1\1\1", 5);
    assert_int_equal(tel_histogram_quantile(&back, 0.5), 0);
    weft_buf_free(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_takes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_callee, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rejects, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cuts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_much_detail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_logs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_any, set_up, tear_down),
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_rings),
        cmocka_unit_test(test_histogram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
