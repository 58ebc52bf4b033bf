#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/base/sweep.h"
#include "weft/map.h"
#include "weft/rng.h"

static int one = 1;
static int two = 2;

static void put_get_remove(void **state) {
    (void)state;
    weft_map map = {0};
    assert_null(weft_map_get(&map, "a"));
    assert_null(weft_map_remove(&map, "a"));
    assert_int_equal(weft_map_put(&map, "a", &one), 0);
    assert_int_equal(weft_map_add(&map, "a", &two), WEFT_EEXIST);
    assert_ptr_equal(weft_map_get(&map, "a"), &one);
    assert_int_equal(weft_map_put(&map, "a", &two), 0);
    assert_ptr_equal(weft_map_get(&map, "a"), &two);
    assert_int_equal(weft_map_count(&map), 1);
    assert_int_equal(weft_map_put(&map, "", NULL), 0);
    assert_non_null(weft_map_find(&map, ""));
    assert_null(weft_map_get(&map, ""));
    *weft_map_find(&map, "") = &one;
    assert_ptr_equal(weft_map_get_bytes(&map, NULL, 0), &one);
    assert_ptr_equal(weft_map_remove(&map, "a"), &two);
    assert_null(weft_map_find(&map, "a"));
    weft_map_free(&map, NULL);
    assert_int_equal(weft_map_put(&map, "again", &one), 0);
    weft_map_free(&map, NULL);
}

static void bytes_are_not_strings(void **state) {
    (void)state;
    weft_map map;
    weft_map_init(&map, 0);
    assert_int_equal(weft_map_put_bytes(&map, "a\0b", 3, &one), 0);
    assert_int_equal(weft_map_add_bytes(&map, "a\0c", 3, &two), 0);
    assert_null(weft_map_get(&map, "a"));
    assert_ptr_equal(weft_map_get_bytes(&map, "a\0c", 3), &two);
    assert_ptr_equal(weft_map_remove_bytes(&map, "a\0b", 3), &one);
    assert_non_null(weft_map_find_bytes(&map, "a\0c", 3));
    weft_map_free(&map, NULL);
}

static void keys_are_copied(void **state) {
    (void)state;
    weft_map map;
    char key[] = "key";
    weft_map_init(&map, 0);
    assert_int_equal(weft_map_put(&map, key, &one), 0);
    key[0] = 'X';
    assert_ptr_equal(weft_map_get(&map, "key"), &one);
    size_t at = 0;
    const char *kept = NULL;
    size_t size = 0;
    assert_true(weft_map_next(&map, &at, &kept, &size, NULL));
    assert_string_equal(kept, "key");
    assert_int_equal(size, 3);
    assert_ptr_equal(weft_map_remove(&map, kept), &one); /* the map's own copy as argument */
    weft_map_free(&map, NULL);
}

static void the_maximum_holds(void **state) {
    (void)state;
    weft_map map;
    weft_map_init(&map, 3);
    assert_int_equal(weft_map_put(&map, "a", &one), 0);
    assert_int_equal(weft_map_put(&map, "b", &one), 0);
    assert_int_equal(weft_map_put(&map, "c", &one), 0);
    assert_int_equal(weft_map_put(&map, "d", &one), WEFT_ELIMIT);
    assert_int_equal(weft_map_put(&map, "a", &two), 0);
    assert_int_equal(weft_map_put_bytes(&map, "x", (size_t)INT32_MAX + 1, &two), WEFT_ELIMIT);
    weft_map_remove(&map, "b");
    assert_int_equal(weft_map_put(&map, "d", &one), 0);
    assert_int_equal(weft_map_count(&map), 3);
    weft_map_free(&map, NULL);
}

static void removing_while_walking(void **state) {
    (void)state;
    weft_map map;
    char key[16];
    weft_map_init(&map, 0);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "%03d", i);
        assert_int_equal(weft_map_put(&map, key, &one), 0);
    }
    size_t at = 0;
    const char *walked = NULL;
    int visited = 0;
    while (weft_map_next(&map, &at, &walked, NULL, NULL)) {
        snprintf(key, sizeof key, "%03d", visited < 50 ? visited : visited + 1);
        assert_string_equal(walked, key);
        if (visited == 49) weft_map_remove(&map, "050"); /* one ahead */
        if (visited % 2) weft_map_remove(&map, walked);
        visited++;
    }
    assert_int_equal(visited, 99);
    assert_int_equal(weft_map_count(&map), 50);
    weft_map_free(&map, NULL);
}

static size_t freed;
static void count_free(void *value) { freed += value != NULL; }

static void values_are_freed_once(void **state) {
    (void)state;
    weft_map map;
    weft_map_init(&map, 0);
    freed = 0;
    assert_int_equal(weft_map_put(&map, "a", &one), 0);
    assert_int_equal(weft_map_put(&map, "b", &one), 0);
    weft_map_remove(&map, "a");
    weft_map_clear(&map, count_free);
    assert_int_equal(freed, 1);
    assert_int_equal(weft_map_count(&map), 0);
    assert_null(weft_map_get(&map, "b"));
    assert_int_equal(weft_map_put(&map, "c", &one), 0);
    weft_map_free(&map, count_free);
    assert_int_equal(freed, 2);
}

/* The model: key k of 0..KEYS-1 is present with a value and a time of insertion, or not. */
enum { KEYS = 300 };
typedef struct model {
    int *value[KEYS];
    size_t inserted[KEYS]; /* 0: absent */
} model;

static void compare(const weft_map *map, const model *m) {
    size_t at = 0;
    size_t last = 0;
    size_t count = 0;
    const char *key = NULL;
    void *value = NULL;
    while (weft_map_next(map, &at, &key, NULL, &value)) {
        int k = -1;
        assert_int_equal(sscanf(key, "key-%d", &k), 1);
        assert_true(m->inserted[k] > last);
        last = m->inserted[k];
        assert_ptr_equal(value, m->value[k]);
        count++;
    }
    assert_int_equal(count, weft_map_count(map));
    for (size_t k = 0; k < KEYS; k++) count -= m->inserted[k] != 0;
    assert_int_equal(count, 0);
}

static void random_edits_match_a_model(void **state) {
    (void)state;
    static int values[KEYS];
    for (uint64_t seed = 1; seed <= 4; seed++) {
        static model m;
        weft_map map;
        weft_rng rng;
        memset(&m, 0, sizeof m);
        weft_rng_seed(&rng, seed);
        weft_map_init(&map, 0);
        for (size_t step = 1; step <= 12000; step++) {
            char key[16];
            const size_t k = weft_rng_below(&rng, KEYS);
            int *value = &values[weft_rng_below(&rng, KEYS)];
            /* Phases that mostly fill and mostly empty, to grow, squeeze and close gaps. */
            const uint64_t removes = step / 1500 % 2 ? 6 : 3;
            snprintf(key, sizeof key, "key-%zu", k);
            if (weft_rng_below(&rng, 9) < removes) {
                assert_ptr_equal(weft_map_remove(&map, key), m.inserted[k] ? m.value[k] : NULL);
                m.inserted[k] = 0;
            } else {
                assert_int_equal(weft_map_put(&map, key, value), 0);
                m.value[k] = value;
                if (!m.inserted[k]) m.inserted[k] = step;
            }
            assert_ptr_equal(weft_map_get(&map, key), m.inserted[k] ? m.value[k] : NULL);
            if (step % 50 == 0) compare(&map, &m);
        }
        weft_map_free(&map, NULL);
    }
}

static int fill_fifty(void *user) {
    weft_map *map = user;
    for (int i = 0; i < 50; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        int rc = weft_map_put(map, key, &one);
        if (!rc) continue;
        assert_int_equal(rc, WEFT_ENOMEM);
        /* Exactly what went in before is there. */
        assert_int_equal(weft_map_count(map), i);
        assert_null(weft_map_find(map, key));
        while (i-- > 0) {
            snprintf(key, sizeof key, "k%d", i);
            assert_ptr_equal(weft_map_get(map, key), &one);
        }
        weft_map_free(map, NULL);
        return rc;
    }
    weft_map_free(map, NULL);
    return 0;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    weft_map map = {0};
    int last = -1;
    assert_true(sweep_run(fill_fifty, &map, &last) >= 50);
    assert_int_equal(last, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_get_remove),
        cmocka_unit_test(bytes_are_not_strings),
        cmocka_unit_test(keys_are_copied),
        cmocka_unit_test(the_maximum_holds),
        cmocka_unit_test(removing_while_walking),
        cmocka_unit_test(values_are_freed_once),
        cmocka_unit_test(random_edits_match_a_model),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
