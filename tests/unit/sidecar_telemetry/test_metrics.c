/* Histograms and series. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sidecar/telemetry/metrics.h"
#include "weft/mem.h"
#include "weft/rng.h"

#define MS INT64_C(1000000)

static void bounds(void **state) {
    (void)state;
    for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++) {
        histogram h = {{0}, 0, 0};
        double label = 0;
        histogram_add(&h, histogram_bounds[i]); /* inclusive */
        histogram_add(&h, histogram_bounds[i] + 1);
        assert_int_equal(h.buckets[i], 1);
        assert_int_equal(h.buckets[i + 1], 1);
        assert_int_equal(sscanf(histogram_labels[i], "%lf", &label), 1);
        assert_true(label * 1e9 - (double)histogram_bounds[i] < 1 &&
                    (double)histogram_bounds[i] - label * 1e9 < 1);
    }
    histogram h = {{0}, 0, 0};
    histogram_add(&h, -5);
    histogram_add(&h, 0);
    histogram_add(&h, INT64_MAX);
    assert_int_equal(h.buckets[0], 2);
    assert_int_equal(h.buckets[HISTOGRAM_BOUNDS], 1);
}

/* Against the definition, over all magnitudes. */
static void buckets(void **state) {
    (void)state;
    weft_rng rng;
    weft_rng_seed(&rng, 1);
    for (int i = 0; i < 200000; i++) {
        const int64_t ns = (int64_t)(weft_rng_u64(&rng) >> (1 + weft_rng_below(&rng, 63)));
        histogram h = {{0}, 0, 0};
        unsigned want = 0;
        while (want < HISTOGRAM_BOUNDS && ns > histogram_bounds[want]) want++;
        histogram_add(&h, ns);
        if (h.buckets[want] != 1) fail_msg("%lld", (long long)ns);
    }
}

static void quantiles(void **state) {
    (void)state;
    histogram h = {{0}, 0, 0}, sum = {{0}, 0, 0};
    assert_int_equal(histogram_quantile(&h, 0.5), 0);
    for (int i = 1; i <= 100; i++) histogram_add(&h, i * MS);
    const int64_t p50 = histogram_quantile(&h, 0.5), p99 = histogram_quantile(&h, 0.99);
    assert_in_range(p50, 45 * MS, 55 * MS);
    assert_in_range(p99, 95 * MS, 100 * MS);
    histogram_merge(&sum, &h);
    histogram_merge(&sum, &h);
    assert_int_equal(sum.count, 200);
    assert_int_equal(histogram_quantile(&sum, 0.5), p50);
}

static telemetry_key key(const char *method, uint32_t status) {
    return (telemetry_key){.direction = TELEMETRY_OUT,
                           .grpc_status = status,
                           .service = "shop.Product",
                           .service_len = 12,
                           .method = method,
                           .method_len = strlen(method),
                           .peer = "product.shop",
                           .peer_len = 12,
                           .route = "r",
                           .route_len = 1};
}

static void call(telemetry *t, const char *method, uint32_t status, int64_t now) {
    const telemetry_key k = key(method, status);
    telemetry_call(t, &k, 3 * MS, now);
}

static void series(void **state) {
    (void)state;
    telemetry *t = telemetry_new(0, 0);
    assert_null(telemetry_first(t));
    call(t, "Get", 0, 1);
    call(t, "Get", 0, 2);
    call(t, "Get", 14, 3);
    call(t, "List", 0, 4);
    assert_int_equal(telemetry_series_count(t), 3);
    const telemetry_series *s = telemetry_first(t);
    assert_string_equal(s->key.method, "Get");
    assert_int_equal(s->duration.count, 2);
    assert_int_equal(s->touched, 2);
    s = telemetry_next(t, s);
    assert_int_equal(s->key.grpc_status, 14);
    s = telemetry_next(t, s);
    assert_string_equal(s->key.method, "List");
    assert_null(telemetry_next(t, s));
    telemetry_at(t)[TELEMETRY_RETRIES] += 3;
    assert_int_equal(telemetry_get(t, TELEMETRY_RETRIES), 3);
    assert_int_equal(telemetry_get(t, TELEMETRY_SERIES), 3);
    telemetry_free(t);
}

/* A handle counts where its call counted, until that is gone or another status is meant. */
static void handles(void **state) {
    (void)state;
    const telemetry_key k = key("Get", 0);
    const telemetry_handle none = {0};
    telemetry *t = telemetry_new(1, 100);
    assert_false(telemetry_call_again(t, &none, 0, 1, 1));
    const telemetry_handle h = telemetry_call(t, &k, 1, 1);
    assert_true(telemetry_call_again(t, &h, 0, 1, 50));
    assert_false(telemetry_call_again(t, &h, 14, 1, 51));
    const telemetry_series *s = telemetry_first(t);
    assert_int_equal(s->duration.count, 2);
    assert_int_equal(s->touched, 50);
    /* There is no room for a second: "other" gives no handle, so that refusals stay counted. */
    const telemetry_key k2 = key("List", 0);
    const telemetry_handle other = telemetry_call(t, &k2, 1, 52);
    assert_false(telemetry_call_again(t, &other, 0, 1, 53));
    assert_int_equal(telemetry_get(t, TELEMETRY_SERIES_REFUSED), 1);
    assert_int_equal(telemetry_sweep(t, 60), 0);
    assert_true(telemetry_call_again(t, &h, 0, 1, 61));
    assert_int_equal(telemetry_sweep(t, 161), 1);
    assert_false(telemetry_call_again(t, &h, 0, 1, 162));
    telemetry_free(t);
}

static void empty_and_long_labels(void **state) {
    (void)state;
    char name[2 * TELEMETRY_LABEL];
    telemetry *t = telemetry_new(0, 0);
    memset(name, 'x', sizeof name);
    const telemetry_key none = {.direction = TELEMETRY_IN};
    const telemetry_key big = {.method = name, .method_len = sizeof name};
    telemetry_call(t, &none, 1, 1);
    telemetry_call(t, &none, 1, 1);
    telemetry_call(t, &big, 1, 1);
    assert_int_equal(telemetry_series_count(t), 2);
    const telemetry_series *s = telemetry_first(t);
    assert_string_equal(s->key.service, "");
    assert_int_equal(telemetry_next(t, s)->key.method_len, TELEMETRY_LABEL);
    telemetry_free(t);
}

static void cap(void **state) {
    (void)state;
    telemetry *t = telemetry_new(100, 0);
    char method[20];
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(method, sizeof method, "M%d", i % 300);
        call(t, method, 0, i);
    }
    assert_int_equal(telemetry_series_count(t), 100);
    uint64_t total = 0, last = 0;
    const telemetry_series *end = NULL;
    for (const telemetry_series *s = telemetry_first(t); s; s = telemetry_next(t, s)) {
        total += s->duration.count;
        last = s->duration.count;
        end = s;
    }
    assert_int_equal(total, 1000);
    assert_string_equal(end->key.service, "other");
    assert_int_equal(last, telemetry_get(t, TELEMETRY_SERIES_REFUSED));
    telemetry_free(t);
}

static void sweep(void **state) {
    (void)state;
    telemetry *t = telemetry_new(50, 1000);
    char method[20];
    for (int i = 0; i < 60; i++) {
        (void)snprintf(method, sizeof method, "M%d", i);
        call(t, method, 0, 100);
    }
    for (int i = 0; i < 50; i += 5) {
        (void)snprintf(method, sizeof method, "M%d", i);
        call(t, method, 0, 900);
    }
    assert_int_equal(telemetry_sweep(t, 1000), 0);
    assert_int_equal(telemetry_sweep(t, 1200), 40);
    assert_int_equal(telemetry_series_count(t), 10);
    for (int i = 0; i < 50; i++) { /* found again or made anew */
        (void)snprintf(method, sizeof method, "M%d", i);
        call(t, method, 0, 1300);
    }
    assert_int_equal(telemetry_series_count(t), 50);
    uint64_t kept = 0;
    for (const telemetry_series *s = telemetry_first(t); s; s = telemetry_next(t, s))
        kept += s->duration.count == 3;
    assert_int_equal(kept, 10);
    assert_int_equal(telemetry_sweep(t, 100000), 50);
    assert_int_equal(telemetry_series_count(t), 0);
    assert_string_equal(telemetry_first(t)->key.peer, "other");
    telemetry_free(t);
}

static void merge(void **state) {
    (void)state;
    telemetry *total = telemetry_new(1000, 0), *a = telemetry_new(2, 0), *b = telemetry_new(10, 0);
    call(a, "Get", 0, 1);
    call(a, "List", 0, 1);
    call(a, "Put", 0, 1); /* other */
    call(b, "Get", 0, 5);
    telemetry_at(a)[TELEMETRY_ATTEMPTS] = 3;
    telemetry_at(b)[TELEMETRY_ATTEMPTS] = 4;
    assert_int_equal(telemetry_merge(total, a), 0);
    assert_int_equal(telemetry_merge(total, b), 0);
    assert_int_equal(telemetry_get(total, TELEMETRY_ATTEMPTS), 7);
    assert_int_equal(telemetry_series_count(total), 2);
    assert_int_equal(telemetry_first(total)->duration.count, 2);
    assert_int_equal(telemetry_first(total)->touched, 5);
    telemetry_free(total);
    telemetry_free(a);
    telemetry_free(b);
}

static int refuse(size_t size, void *user) {
    (void)size;
    return (*(int *)user)-- > 0;
}

static void out_of_memory(void **state) {
    (void)state;
    for (int allowed = 0; allowed < 8; allowed++) {
        int left = allowed;
        weft_mem_hook(refuse, &left);
        telemetry *t = telemetry_new(0, 0);
        if (t) {
            call(t, "Get", 0, 1);
            call(t, "List", 0, 1);
            call(t, "Get", 0, 1);
        }
        weft_mem_hook(NULL, NULL);
        uint64_t total = 0;
        if (!t) continue;
        for (const telemetry_series *s = telemetry_first(t); s; s = telemetry_next(t, s))
            total += s->duration.count;
        assert_int_equal(total, 3);
        telemetry_free(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds),    cmocka_unit_test(buckets),
        cmocka_unit_test(quantiles), cmocka_unit_test(series),
        cmocka_unit_test(handles),   cmocka_unit_test(empty_and_long_labels),
        cmocka_unit_test(cap),       cmocka_unit_test(sweep),
        cmocka_unit_test(merge),     cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
