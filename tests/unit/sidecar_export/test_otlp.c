/* Spans as OTLP, the queue they wait in, and the thread that sends them. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "sidecar/export/otlp.h"
#include "weft/mem.h"
#include "weft/status.h"

#define S WEFT_NS_PER_S

static const otlp_source source = {.self_id = "spiffe://mesh.local/ns/shop/sa/order",
                                   .instance = "i-1"};

static span make(int number) {
    span s = {.start = 1000, .duration = 500, .kind = SPAN_CLIENT, .sampled = true};
    memset(s.trace_id, 7, sizeof s.trace_id);
    s.id[7] = (uint8_t)number;
    s.id[6] = 1;
    span_set(&s, SPAN_NAME, "pkg.Service/Method", 18);
    span_set(&s, SPAN_SERVICE, "pkg.Service", 11);
    return s;
}

static const Otlp__AnyValue *value(Otlp__KeyValue **list, size_t count, const char *key) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(list[i]->key, key)) return list[i]->value;
    fail_msg("no %s", key);
    return NULL;
}

static void encodes(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    OtlpTrace__ExportTraceServiceRequest *r = otlp_request(arena, &source, 2);
    span s = make(1);
    assert_int_equal(otlp_request_add(arena, r, &s), 0);
    s.grpc_status = 14;
    s.attempt = true;
    s.attempt_number = 2;
    s.parent[3] = 9;
    span_set(&s, SPAN_ERROR, "connect", 7);
    assert_int_equal(otlp_request_add(arena, r, &s), 0);
    assert_int_equal(otlp_request_count(r), 2);
    const Otlp__ResourceSpans *rs = r->resource_spans[0];
    const Otlp__Resource *res = rs->resource;
    assert_string_equal(value(res->attributes, res->n_attributes, "service.name")->string_value,
                        "order");
    assert_string_equal(
        value(res->attributes, res->n_attributes, "service.namespace")->string_value, "shop");
    assert_string_equal(
        value(res->attributes, res->n_attributes, "service.instance.id")->string_value, "i-1");
    const Otlp__Span *a = rs->scope_spans[0]->spans[0], *b = rs->scope_spans[0]->spans[1];
    assert_int_equal(a->parent_span_id.len, 0);
    assert_null(a->status);
    assert_string_equal(a->name, "pkg.Service/Method");
    assert_int_equal(a->start_time_unix_nano, 1000);
    assert_int_equal(a->end_time_unix_nano, 1500);
    assert_int_equal(b->parent_span_id.len, 8);
    assert_int_equal(b->status->code, OTLP__STATUS__STATUS_CODE__STATUS_CODE_ERROR);
    assert_string_equal(b->status->message, "connect");
    assert_int_equal(value(b->attributes, b->n_attributes, "rpc.grpc.status_code")->int_value, 14);
    assert_int_equal(value(b->attributes, b->n_attributes, "weft.attempt")->int_value, 2);
    assert_true(protobuf_c_message_check(&r->base));
    weft_arena_free(arena);
}

static void encodes_little(void **state) {
    (void)state;
    span s = make(1);
    for (size_t cap = 16; cap < 8192; cap += 16) {
        weft_arena *arena = weft_arena_new(cap);
        OtlpTrace__ExportTraceServiceRequest *r = otlp_request(arena, &source, 4);
        if (r) {
            const int rc = otlp_request_add(arena, r, &s);
            assert_true(rc == 0 || rc == WEFT_ENOMEM);
            assert_int_equal(otlp_request_count(r), rc == 0);
        }
        weft_arena_free(arena);
    }
}

/* ---- the queue */

static otlp_queue *queue_of(int spans, int64_t now) {
    otlp_queue *q = otlp_queue_new(&source, 0, 1);
    assert_non_null(q);
    for (int i = 0; i < spans; i++) {
        const span s = make(i);
        assert_true(otlp_queue_add(q, &s, now));
    }
    return q;
}

static void done(otlp_queue *q, int code, int64_t retry, int64_t now) {
    const otlp_answer answer = {.code = code, .retry = retry};
    otlp_queue_done(q, &answer, now);
}

static void batches(void **state) {
    (void)state;
    otlp_queue *q = queue_of(0, 0);
    assert_int_equal(otlp_queue_due(q, false), INT64_MAX);
    assert_null(otlp_queue_take(q, 0));
    const span s = make(1);
    (void)otlp_queue_add(q, &s, 5 * S);
    (void)otlp_queue_add(q, &s, 6 * S);
    assert_int_equal(otlp_queue_due(q, false), 5 * S + OTLP_DELAY);
    assert_int_equal(otlp_queue_due(q, true), 0);
    for (unsigned i = 2; i < OTLP_BATCH_MAX + 10; i++) (void)otlp_queue_add(q, &s, 6 * S);
    assert_int_equal(otlp_queue_due(q, false), 0);
    assert_int_equal(otlp_request_count(otlp_queue_take(q, 6 * S)), OTLP_BATCH_MAX);
    done(q, WEFT_OK, 0, 6 * S);
    assert_int_equal(otlp_queue_due(q, false), 6 * S + OTLP_DELAY);
    assert_int_equal(otlp_request_count(otlp_queue_take(q, 7 * S)), 10);
    const otlp_answer partly = {.rejected = 3};
    otlp_queue_done(q, &partly, 7 * S);
    const otlp_stats stats = otlp_queue_stats(q);
    assert_int_equal(stats.sent, OTLP_BATCH_MAX + 7);
    assert_int_equal(stats.refused, 3);
    assert_int_equal(stats.waiting, 0);
    otlp_queue_free(q);
}

static void retries(void **state) {
    (void)state;
    otlp_queue *q = queue_of(3, 0);
    int64_t now = S, wait = OTLP_BACKOFF_MIN;
    const OtlpTrace__ExportTraceServiceRequest *first = otlp_queue_take(q, now);
    for (int i = 0; i < 10; i++) {
        done(q, WEFT_UNAVAILABLE, 0, now);
        const int64_t due = otlp_queue_due(q, false);
        assert_true(due >= now + wait / 2 && due <= now + wait);
        now = due;
        wait = wait * 2 < OTLP_BACKOFF_MAX ? wait * 2 : OTLP_BACKOFF_MAX;
        assert_ptr_equal(otlp_queue_take(q, now),
                         first); /* the same batch, so that it is known again */
    }
    /* It is asked to wait longer, but not as long as it says. */
    done(q, WEFT_RESOURCE_EXHAUSTED, 3600 * S, now);
    assert_true(otlp_queue_due(q, false) >= now + OTLP_BACKOFF_MAX / 2);
    assert_true(otlp_queue_due(q, false) <= now + OTLP_BACKOFF_MAX);
    (void)otlp_queue_take(q, now);
    done(q, WEFT_OK, 0, now);
    assert_int_equal(otlp_queue_stats(q).sent, 3);
    assert_int_equal(otlp_queue_stats(q).retries, 11);
    otlp_queue_free(q);
}

static void gives_up(void **state) {
    (void)state;
    static const int final[] = {WEFT_INVALID_ARGUMENT, WEFT_UNIMPLEMENTED, WEFT_INTERNAL,
                                WEFT_PERMISSION_DENIED, WEFT_RESOURCE_EXHAUSTED};
    for (size_t i = 0; i < sizeof final / sizeof *final; i++) {
        otlp_queue *q = queue_of(2, 0);
        (void)otlp_queue_take(q, 0);
        done(q, final[i], 0, 0);
        assert_int_equal(otlp_queue_stats(q).refused, 2);
        assert_int_equal(otlp_queue_due(q, false), INT64_MAX);
        otlp_queue_free(q);
    }
    otlp_queue *q = queue_of(2, 0);
    (void)otlp_queue_take(q, 0);
    done(q, WEFT_UNAVAILABLE, 0, OTLP_BATCH_AGE);
    assert_int_equal(otlp_queue_stats(q).refused, 2);
    otlp_queue_free(q);
}

static void is_bounded(void **state) {
    (void)state;
    otlp_queue *q = otlp_queue_new(&source, 64 << 10, 1);
    const span s = make(1);
    int taken = 0;
    (void)otlp_queue_add(q, &s, 0);
    (void)otlp_queue_take(q, 0); /* a batch is under way all the while */
    for (int i = 0; i < 5000; i++) taken += otlp_queue_add(q, &s, 0);
    const otlp_stats stats = otlp_queue_stats(q);
    assert_true(taken > 50 && taken < 500);
    assert_int_equal(stats.dropped, 5000 - taken);
    assert_int_equal(stats.waiting, taken + 1);
    otlp_queue_free(q);
}

/* ---- the exporter */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int calls, spans, fail; /* the first `fail` calls */
    bool hold;
} collector = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, false};

static void collect(void *user, const OtlpTrace__ExportTraceServiceRequest *request,
                    int64_t timeout, otlp_answer *answer) {
    (void)user;
    (void)timeout;
    (void)pthread_mutex_lock(&collector.lock);
    while (collector.hold) (void)pthread_cond_wait(&collector.changed, &collector.lock);
    if (collector.calls++ < collector.fail) {
        answer->code = WEFT_UNAVAILABLE;
    } else {
        *answer = (otlp_answer){.code = WEFT_OK};
        collector.spans += (int)otlp_request_count(request);
    }
    (void)pthread_cond_broadcast(&collector.changed);
    (void)pthread_mutex_unlock(&collector.lock);
}

static void wait_spans(int count) {
    (void)pthread_mutex_lock(&collector.lock);
    while (collector.spans < count) (void)pthread_cond_wait(&collector.changed, &collector.lock);
    (void)pthread_mutex_unlock(&collector.lock);
}

static void exports(void **state) {
    (void)state;
    collector.calls = collector.spans = 0;
    collector.fail = 1;
    otlp_exporter *e = NULL;
    const otlp_config config = {.source = source, .seed = 1, .send = collect};
    assert_int_equal(otlp_exporter_start(&config, &e), 0);
    const span s = make(1);
    for (unsigned i = 0; i < OTLP_BATCH_MAX; i++) assert_true(otlp_exporter_add(e, &s));
    wait_spans(OTLP_BATCH_MAX); /* a full batch goes at once, and again after a failure */
    for (int i = 0; i < 5; i++) assert_true(otlp_exporter_add(e, &s));
    otlp_exporter_stop(e); /* sends what waits */
    assert_int_equal(collector.spans, OTLP_BATCH_MAX + 5);
}

/* A collector that hangs: adding goes on, and drops. */
static void hangs(void **state) {
    (void)state;
    collector.calls = collector.spans = collector.fail = 0;
    collector.hold = true;
    otlp_exporter *e = NULL;
    const otlp_config config = {
        .source = source, .queue_bytes = 256 << 10, .seed = 1, .send = collect};
    assert_int_equal(otlp_exporter_start(&config, &e), 0);
    const span s = make(1);
    int taken = 0;
    for (int i = 0; i < 20000; i++) taken += otlp_exporter_add(e, &s);
    const otlp_stats stats = otlp_exporter_stats(e);
    assert_true(taken < 20000);
    assert_int_equal(stats.dropped, 20000 - taken);
    (void)pthread_mutex_lock(&collector.lock);
    collector.hold = false;
    (void)pthread_cond_broadcast(&collector.changed);
    (void)pthread_mutex_unlock(&collector.lock);
    otlp_exporter_stop(e);
    assert_int_equal(collector.spans, taken);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes), cmocka_unit_test(encodes_little), cmocka_unit_test(batches),
        cmocka_unit_test(retries), cmocka_unit_test(gives_up),       cmocka_unit_test(is_bounded),
        cmocka_unit_test(exports), cmocka_unit_test(hangs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
