/* The span buffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sidecar/telemetry/span.h"
#include "weft/rng.h"

static span make(uint64_t n, const char *name) {
    span s = {.kind = SPAN_CLIENT, .start = (int64_t)n, .duration = 5, .sampled = true};
    memcpy(s.id, &n, sizeof n);
    span_set(&s, SPAN_NAME, name, strlen(name));
    return s;
}

typedef struct seen {
    uint64_t next;
    size_t stop; /* refuse after so many */
    size_t count;
} seen;

static bool take(void *user, const span *s) {
    seen *to = user;
    uint64_t n;
    char want[40];
    if (to->stop && to->count == to->stop) return false;
    memcpy(&n, s->id, sizeof n);
    assert_int_equal(n, to->next);
    (void)snprintf(want, sizeof want, "call %d", (int)n);
    assert_int_equal(s->texts[SPAN_NAME].len, strlen(want));
    assert_memory_equal(s->texts[SPAN_NAME].text, want, strlen(want));
    assert_null(s->texts[SPAN_PEER].text);
    to->next++;
    to->count++;
    return true;
}

static bool add(span_buffer *b, uint64_t n) {
    char name[40];
    (void)snprintf(name, sizeof name, "call %d", (int)n);
    const span s = make(n, name);
    return span_buffer_add(b, &s);
}

static void order(void **state) {
    (void)state;
    span_buffer *b = span_buffer_new(0);
    seen to = {0, 0, 0};
    assert_int_equal(span_buffer_stats(b).bytes, 0);
    for (uint64_t i = 0; i < 1000; i++) assert_true(add(b, i));
    assert_int_equal(span_buffer_stats(b).waiting, 1000);
    assert_int_equal(span_buffer_drain(b, 10, take, &to), 10);
    to.stop = 15;
    assert_int_equal(span_buffer_drain(b, 0, take, &to), 5);
    to.stop = 0;
    assert_int_equal(span_buffer_stats(b).waiting, 985);
    for (uint64_t i = 1000; i < 1100; i++) assert_true(add(b, i));
    assert_int_equal(span_buffer_drain(b, 0, take, &to), 1085);
    assert_int_equal(span_buffer_stats(b).bytes, 0);
    assert_int_equal(span_buffer_drain(b, 0, take, &to), 0);
    assert_true(add(b, 1100));
    assert_int_equal(span_buffer_drain(b, 0, take, &to), 1);
    span_buffer_free(b);
}

static void bounded(void **state) {
    (void)state;
    span_buffer *b = span_buffer_new(64u << 10);
    seen to = {0, 0, 0};
    uint64_t n = 0;
    while (add(b, n)) n++;
    assert_true(n > 100);
    for (int i = 0; i < 10; i++) assert_false(add(b, n));
    span_stats stats = span_buffer_stats(b);
    assert_int_equal(stats.dropped, 11);
    assert_int_equal(stats.added, n);
    assert_true(stats.bytes <= 64u << 10);
    assert_int_equal(span_buffer_drain(b, 0, take, &to), n);
    assert_true(add(b, n));
    span_buffer_free(b);
}

static bool check_long(void *user, const span *s) {
    (void)user;
    for (int i = 0; i < SPAN_TEXT_COUNT; i++) {
        assert_int_equal(s->texts[i].len, SPAN_TEXT_MAX);
        for (unsigned k = 0; k < SPAN_TEXT_MAX; k++) assert_int_equal(s->texts[i].text[k], 'a' + i);
    }
    return true;
}

static void long_texts(void **state) {
    (void)state;
    static char text[SPAN_TEXT_COUNT][70000];
    span_buffer *b = span_buffer_new(0);
    span s = {.kind = SPAN_SERVER};
    for (int i = 0; i < SPAN_TEXT_COUNT; i++) {
        memset(text[i], 'a' + i, sizeof text[i]);
        span_set(&s, (span_text)i, text[i], sizeof text[i]);
    }
    for (int i = 0; i < 20; i++) assert_true(span_buffer_add(b, &s));
    assert_int_equal(span_buffer_drain(b, 0, check_long, NULL), 20);
    span_buffer_free(b);
}

static void sampling(void **state) {
    (void)state;
    weft_rng rng;
    int hits = 0;
    weft_rng_seed(&rng, 3);
    for (int i = 0; i < 100000; i++) {
        uint8_t id[16];
        for (int k = 0; k < 16; k++) id[k] = (uint8_t)weft_rng_u64(&rng);
        assert_true(span_sample(id, 1));
        assert_false(span_sample(id, 0));
        hits += span_sample(id, 0.1);
        if (span_sample(id, 0.1)) assert_true(span_sample(id, 0.5));
    }
    assert_in_range(hits, 9700, 10300);
    span s = {.duration = 100};
    assert_false(span_keep(&s, 0));
    assert_false(span_keep(&s, 101));
    assert_true(span_keep(&s, 100));
    s.grpc_status = 14;
    assert_true(span_keep(&s, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),
        cmocka_unit_test(bounded),
        cmocka_unit_test(long_texts),
        cmocka_unit_test(sampling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
