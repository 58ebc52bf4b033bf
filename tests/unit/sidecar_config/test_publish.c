/* Snapshots on their way to workers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <pthread.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "sidecar/config/publish.h"
#include "tests/unit/sidecar_config/files.h"

static int retired;

static void count_retired(void *user, config_view *view) {
    assert_ptr_equal(user, &retired);
    assert_non_null(view->snapshot);
    retired++;
}

static void requests_keep_theirs(void **state) {
    (void)state;
    config_publisher *publisher = config_publisher_new();
    config_reader *reader = config_reader_new(publisher, count_retired, &retired);
    assert_null(config_reader_view(reader));
    assert_null(config_current(publisher));
    assert_false(config_reader_poll(reader));
    config_snapshot *a = files_good("minimal"), *b = files_good("full");
    config_publish(publisher, a);
    assert_true(config_reader_poll(reader));
    assert_false(config_reader_poll(reader));
    config_view *request = config_view_ref(config_reader_view(reader));
    assert_ptr_equal(request->snapshot, a);
    config_unref(a);
    config_publish(publisher, b);
    config_unref(b);
    assert_ptr_equal(config_reader_view(reader), request); /* not before the loop's boundary */
    assert_true(config_reader_poll(reader));
    assert_ptr_equal(config_reader_view(reader)->snapshot, b);
    assert_string_equal(request->snapshot->node.id, "order-1"); /* still alive */
    assert_int_equal(retired, 0);
    config_view_unref(request);
    assert_int_equal(retired, 1);
    config_snapshot *now = config_current(publisher);
    assert_ptr_equal(now, b);
    config_unref(now);
    config_reader_free(reader);
    assert_int_equal(retired, 2);
    config_publisher_free(publisher);
}

/* ---- several workers while snapshots change */

static _Atomic bool done;

static void *worker(void *user) {
    config_publisher *publisher = user;
    config_reader *reader = config_reader_new(publisher, NULL, NULL);
    config_view *held = NULL;
    uint64_t last = 0;
    while (!atomic_load_explicit(&done, memory_order_relaxed)) {
        if (!config_reader_poll(reader)) continue;
        config_view *view = config_reader_view(reader);
        if (view->generation <= last) return user;
        last = view->generation;
        if (held) config_view_unref(held);
        held = config_view_ref(view);
        if (view->snapshot->listener_count != 1) return user;
    }
    if (held) config_view_unref(held);
    config_reader_free(reader);
    return NULL;
}

static void threads(void **state) {
    (void)state;
    pthread_t ids[3];
    config_publisher *publisher = config_publisher_new();
    atomic_store(&done, false);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, worker, publisher), 0);
    for (int i = 0; i < 60; i++) {
        config_snapshot *s = files_good(i % 2 ? "minimal" : "tls");
        config_publish(publisher, s);
        config_unref(s);
    }
    atomic_store(&done, true);
    for (int i = 0; i < 3; i++) {
        void *result = publisher;
        pthread_join(ids[i], &result);
        assert_null(result);
    }
    config_publisher_free(publisher);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_keep_theirs),
        cmocka_unit_test(threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
