#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "tests/unit/base/sweep.h"
#include "weft/mem.h"

static void nothing_is_still_something(void **state) {
    (void)state;
    void *a = weft_malloc(0);
    void *b = weft_calloc(0, 8);
    assert_non_null(a);
    assert_non_null(b);
    assert_ptr_not_equal(a, b);
    a = weft_realloc(a, 0);
    assert_non_null(a);
    weft_free(a);
    weft_free(b);
    weft_free(NULL);
}

static void calloc_zeroes_and_refuses_overflow(void **state) {
    (void)state;
    unsigned char *p = weft_calloc(100, 3);
    for (size_t i = 0; i < 300; i++) assert_int_equal(p[i], 0);
    weft_free(p);
    volatile size_t half = SIZE_MAX / 2;
    assert_null(weft_calloc(half, 3));
}

static int refuse_large(size_t size, void *user) {
    (*(int *)user)++;
    return size < 100;
}

static void the_hook_decides(void **state) {
    (void)state;
    int calls = 0;
    weft_mem_hook(refuse_large, &calls);
    char *p = weft_malloc(50);
    assert_non_null(p);
    memcpy(p, "kept", 5);
    assert_null(weft_realloc(p, 100));
    assert_string_equal(p, "kept"); /* a failed realloc leaves the block alone */
    assert_null(weft_malloc(100));
    assert_null(weft_calloc(10, 10));
    char *copy = weft_heap_strdup("short");
    assert_string_equal(copy, "short");
    weft_free(copy);
    weft_free(p);
    weft_mem_hook(NULL, NULL);
    assert_int_equal(calls, 5);
    p = weft_malloc(1000);
    assert_non_null(p);
    weft_free(p);
}

static int two_allocations(void *user) {
    (void)user;
    char *a = weft_heap_strdup("a");
    char *b = weft_heap_strdup("b");
    int rc = a && b ? 0 : 1;
    weft_free(a);
    weft_free(b);
    return rc;
}

static void the_sweep_fails_each_in_turn(void **state) {
    (void)state;
    int last = 1;
    assert_int_equal(sweep_run(two_allocations, NULL, &last), 2);
    assert_int_equal(last, 0);
}

static void *churn(void *user) {
    (void)user;
    for (size_t i = 0; i < 2000; i++) {
        char *p = weft_malloc(i % 97);
        p = weft_realloc(p, i % 53);
        weft_free(p);
    }
    return NULL;
}

static void threads_share_the_heap(void **state) {
    (void)state;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, NULL), 0);
    for (size_t i = 0; i < 4; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_still_something),
        cmocka_unit_test(calloc_zeroes_and_refuses_overflow),
        cmocka_unit_test(the_hook_decides),
        cmocka_unit_test(the_sweep_fails_each_in_turn),
        cmocka_unit_test(threads_share_the_heap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
