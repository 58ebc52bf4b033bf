/* Plans: found by the very same fields only, in the same snapshot only, and no reference too many. */
#include "sidecar/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef struct world {
    http_pool *pool;
    plan_table plans;
    plan_key key;
    http_field *table[3]; /* references as HPACK's tables have them */
} world;

static http_field *field(world *w, int at, const char *name, const char *value) {
    http_field *f = http_field_intern(w->pool, name, strlen(name), value, strlen(value));
    assert_non_null(f);
    w->table[at] = http_field_ref(f);
    return f;
}

static void set_up(world *w) {
    *w = (world){.pool = http_pool_new(0, 1)};
    assert_non_null(w->pool);
    w->key = (plan_key){.path = field(w, 0, ":path", "/shop.Product/Get"),
                        .authority = field(w, 1, ":authority", "product"),
                        .type = field(w, 2, "content-type", "application/grpc")};
}

static void drop_call(const world *w) {
    http_field_unref(w->key.path);
    http_field_unref(w->key.authority);
    http_field_unref(w->key.type);
}

static void tear_down(world *w) {
    plan_free(&w->plans);
    for (int i = 0; i < 3; i++) http_field_unref(w->table[i]);
    assert_int_equal(http_pool_get_stats(w->pool).fields, 0);
    http_pool_free(w->pool);
}

static void found_again(void **state) {
    world w;
    (void)state;
    set_up(&w);
    assert_null(plan_find(&w.plans, &w.key, 1));
    plan *p = plan_make(&w.plans, &w.key, 1);
    assert_non_null(p);
    assert_true(p->serial > 0);
    assert_ptr_equal(plan_find(&w.plans, &w.key, 1), p);
    /* Whatever differs is another kind of call. */
    plan_key other = w.key;
    other.type = NULL;
    assert_null(plan_find(&w.plans, &other, 1));
    other = w.key;
    other.authority = NULL;
    assert_null(plan_find(&w.plans, &other, 1));
    other = w.key;
    other.peer = w.key.type;
    assert_null(plan_find(&w.plans, &other, 1));
    other = w.key;
    other.listener = (const struct worker_listener *)&w;
    assert_null(plan_find(&w.plans, &other, 1));
    other = w.key;
    other.path = NULL;
    assert_null(plan_find(&w.plans, &other, 1));
    assert_null(plan_make(&w.plans, &other, 1));
    drop_call(&w);
    tear_down(&w);
}

/* What is equal later is the same object, because the plan kept it. */
static void outlives_connections(void **state) {
    world w;
    (void)state;
    set_up(&w);
    plan *p = plan_make(&w.plans, &w.key, 1);
    drop_call(&w);
    for (int i = 0; i < 3; i++) http_field_unref(w.table[i]);
    assert_int_equal(http_pool_get_stats(w.pool).fields, 3);
    w.key = (plan_key){.path = field(&w, 0, ":path", "/shop.Product/Get"),
                       .authority = field(&w, 1, ":authority", "product"),
                       .type = field(&w, 2, "content-type", "application/grpc")};
    assert_ptr_equal(plan_find(&w.plans, &w.key, 1), p);
    drop_call(&w);
    tear_down(&w);
}

/* A field that only this call has is a literal's: there will be another next time. */
static void literals_make_none(void **state) {
    world w;
    (void)state;
    set_up(&w);
    plan_key key = w.key;
    key.path = http_field_known(w.pool, HTTP_NAME_PATH, "/a/b", 4);
    assert_null(plan_make(&w.plans, &key, 1));
    http_field_unref(key.path);
    key.path = http_static_field(4); /* nobody counts who has it */
    assert_non_null(plan_make(&w.plans, &key, 1));
    drop_call(&w);
    tear_down(&w);
}

static void another_snapshot(void **state) {
    world w;
    (void)state;
    set_up(&w);
    plan *p = plan_make(&w.plans, &w.key, 1);
    const uint64_t serial = p->serial;
    assert_null(plan_find(&w.plans, &w.key, 2));
    plan_key other = w.key;
    other.authority = NULL;
    assert_non_null(plan_make(&w.plans, &other, 2));
    /* The old one went with its snapshot, but whoever points at its slot may still look. */
    assert_true(p->serial != serial);
    assert_null(plan_find(&w.plans, &w.key, 1));
    assert_null(plan_find(&w.plans, &w.key, 2));
    drop_call(&w);
    tear_down(&w);
}

static void bounded(void **state) {
    world w;
    (void)state;
    set_up(&w);
    for (int i = 0; i < 1000; i++) {
        char path[32];
        plan_key key = w.key;
        const int len = snprintf(path, sizeof path, "/s/m%d", i);
        key.path = http_field_intern(w.pool, ":path", 5, path, (size_t)len);
        (void)http_field_ref(key.path);
        assert_non_null(plan_make(&w.plans, &key, 1));
        assert_non_null(plan_find(&w.plans, &key, 1));
        http_field_unref(key.path);
        http_field_unref(key.path);
    }
    assert_in_range(http_pool_get_stats(w.pool).fields, 4, PLAN_SLOTS + 3);
    drop_call(&w);
    tear_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_again),
        cmocka_unit_test(outlives_connections),
        cmocka_unit_test(literals_make_none),
        cmocka_unit_test(another_snapshot),
        cmocka_unit_test(bounded),
    };
    return cmocka_run_group_tests_name("sidecar/plan", tests, NULL, NULL);
}
