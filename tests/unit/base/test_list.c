#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "weft/list.h"
#include "weft/rng.h"

typedef struct item {
    int id;
    weft_list link;
} item;

static void check(const weft_list *head, const int *ids, size_t count) {
    size_t i = 0;
    weft_list_each(head, at) {
        assert_true(i < count);
        assert_int_equal(WEFT_CONTAINER(at, item, link)->id, ids[i++]);
        assert_ptr_equal(at->next->prev, at);
        assert_ptr_equal(at->prev->next, at);
    }
    assert_int_equal(i, count);
    assert_int_equal(weft_list_count(head), count);
    assert_int_equal(weft_list_empty(head), count == 0);
}

static void order_of_every_insertion(void **state) {
    (void)state;
    item items[5];
    weft_list head;
    weft_list_init(&head);
    check(&head, NULL, 0);
    assert_null(weft_list_front(&head));
    assert_null(weft_list_back(&head));
    assert_null(weft_list_pop_front(&head));
    for (int i = 0; i < 5; i++) {
        items[i].id = i;
        weft_list_init(&items[i].link);
    }
    weft_list_push_back(&head, &items[2].link);
    weft_list_push_front(&head, &items[0].link);
    weft_list_insert_after(&items[0].link, &items[1].link);
    weft_list_push_back(&head, &items[4].link);
    weft_list_insert_before(&items[4].link, &items[3].link);
    check(&head, (const int[]){0, 1, 2, 3, 4}, 5);
    assert_ptr_equal(weft_list_front(&head), &items[0].link);
    assert_ptr_equal(weft_list_back(&head), &items[4].link);
    weft_list_remove(&items[2].link);
    weft_list_remove(&items[2].link); /* harmless */
    assert_true(weft_list_empty(&items[2].link));
    check(&head, (const int[]){0, 1, 3, 4}, 4);
    assert_ptr_equal(weft_list_pop_front(&head), &items[0].link);
    weft_list_each_safe(&head, at) weft_list_remove(at);
    check(&head, NULL, 0);
}

static void splice(void **state) {
    (void)state;
    item items[4];
    weft_list a;
    weft_list b;
    weft_list_init(&a);
    weft_list_init(&b);
    for (int i = 0; i < 4; i++) {
        items[i].id = i;
        weft_list_push_back(i < 2 ? &a : &b, &items[i].link);
    }
    weft_list_splice(&a, &b);
    check(&a, (const int[]){0, 1, 2, 3}, 4);
    check(&b, NULL, 0);
    weft_list_splice(&a, &b);
    check(&a, (const int[]){0, 1, 2, 3}, 4);
    weft_list_splice(&b, &a);
    check(&b, (const int[]){0, 1, 2, 3}, 4);
    check(&a, NULL, 0);
}

static void random_moves_lose_nothing(void **state) {
    (void)state;
    enum { ITEMS = 50, LISTS = 3 };
    item items[ITEMS];
    weft_list lists[LISTS];
    weft_rng rng;
    weft_rng_seed(&rng, 2);
    for (size_t i = 0; i < LISTS; i++) weft_list_init(&lists[i]);
    for (size_t i = 0; i < ITEMS; i++) weft_list_push_back(&lists[0], &items[i].link);
    for (int step = 0; step < 5000; step++) {
        weft_list *node = &items[weft_rng_below(&rng, ITEMS)].link;
        weft_list *list = &lists[weft_rng_below(&rng, LISTS)];
        weft_list_remove(node);
        if (step % 2)
            weft_list_push_back(list, node);
        else
            weft_list_push_front(list, node);
        size_t sum = 0;
        for (size_t i = 0; i < LISTS; i++) sum += weft_list_count(&lists[i]);
        assert_int_equal(sum, ITEMS);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_of_every_insertion),
        cmocka_unit_test(splice),
        cmocka_unit_test(random_moves_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
