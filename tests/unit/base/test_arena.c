#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "tests/unit/base/sweep.h"
#include "weft/arena.h"
#include "weft/rng.h"

static void blocks_are_aligned_and_apart(void **state) {
    (void)state;
    enum { BLOCKS = 3000 };
    static struct {
        unsigned char *at;
        size_t size;
    } blocks[BLOCKS];
    weft_rng rng;
    weft_rng_seed(&rng, 1);
    weft_arena *arena = weft_arena_new(0);
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i].size = weft_rng_below(&rng, i % 500 == 0 ? 200000 : 100);
        blocks[i].at = weft_arena_alloc(arena, blocks[i].size);
        assert_non_null(blocks[i].at);
        assert_int_equal((uintptr_t)blocks[i].at % 16, 0);
        memset(blocks[i].at, (int)(i & 0xFF), blocks[i].size);
    }
    /* Had two blocks overlapped, the later fill would show in the earlier. */
    for (size_t i = 0; i < BLOCKS; i++)
        for (size_t j = 0; j < blocks[i].size; j++) assert_int_equal(blocks[i].at[j], i & 0xFF);
    assert_true(weft_arena_held(arena) >= weft_arena_used(arena));
    weft_arena_free(arena);
    weft_arena_free(NULL);
}

static void empty_blocks_are_unique(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    void *a = weft_arena_alloc(arena, 0);
    void *b = weft_arena_calloc(arena, 0, 10);
    void *c = weft_arena_memdup(arena, NULL, 0);
    assert_non_null(a);
    assert_true(a != b && b != c && a != c);
    weft_arena_free(arena);
}

static void the_cap_holds_and_the_arena_survives(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(1024);
    assert_non_null(weft_arena_alloc(arena, 1000));
    assert_null(weft_arena_alloc(arena, 32));
    assert_non_null(weft_arena_alloc(arena, 16));
    assert_null(weft_arena_alloc(arena, 1));
    assert_int_equal(weft_arena_used(arena), 1024);
    weft_arena_reset(arena);
    assert_int_equal(weft_arena_used(arena), 0);
    assert_non_null(weft_arena_alloc(arena, 1024));
    weft_arena_reset(arena);
    /* Many empty blocks are no way around the cap. */
    size_t blocks = 0;
    while (weft_arena_alloc(arena, 0)) blocks++;
    assert_int_equal(blocks, 64);
    weft_arena_free(arena);
}

static void absurd_sizes_fail(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    volatile size_t huge = SIZE_MAX;
    assert_null(weft_arena_alloc(arena, huge));
    assert_null(weft_arena_alloc(arena, huge - 15));
    assert_null(weft_arena_calloc(arena, huge / 2, 3));
    assert_non_null(weft_arena_alloc(arena, 1));
    weft_arena_free(arena);
}

static void reset_keeps_the_first_chunk_only(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    const size_t first = weft_arena_held(arena);
    void *before = weft_arena_alloc(arena, 8);
    assert_non_null(weft_arena_alloc(arena, 1000000));
    assert_true(weft_arena_held(arena) > 1000000);
    weft_arena_reset(arena);
    assert_int_equal(weft_arena_held(arena), first);
    assert_ptr_equal(weft_arena_alloc(arena, 8), before);
    weft_arena_free(arena);
}

static void strings(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    assert_string_equal(weft_arena_strdup(arena, ""), "");
    assert_string_equal(weft_arena_strdup(arena, "abc"), "abc");
    assert_string_equal(weft_arena_strndup(arena, "abcdef", 3), "abc");
    assert_string_equal(weft_arena_strndup(arena, "ab", 30), "ab");
    assert_string_equal(weft_arena_strndup(arena, "ab", SIZE_MAX), "ab");
    assert_string_equal(weft_arena_printf(arena, "%d %s", 7, "x"), "7 x");
    for (int width = 250; width < 262; width++) {
        const char *text = weft_arena_printf(arena, "%*d|", width, 1);
        assert_int_equal(strlen(text), width + 1);
        assert_int_equal(text[width], '|');
    }
    assert_memory_equal(weft_arena_memdup(arena, "a\0b", 3), "a\0b", 3);
    weft_arena_free(arena);
}

typedef struct trail {
    weft_arena *arena;
    char text[16];
    size_t len;
} trail;

static trail current;

static void leave(void *user) { current.text[current.len++] = *(const char *)user; }

static void leave_and_defer(void *user) {
    leave(user);
    assert_int_equal(weft_arena_defer(current.arena, leave, "z"), 0);
}

static void cleanups_run_in_reverse_once(void **state) {
    (void)state;
    current = (trail){.arena = weft_arena_new(0)};
    assert_int_equal(weft_arena_defer(current.arena, leave, "a"), 0);
    assert_int_equal(weft_arena_defer(current.arena, leave_and_defer, "b"), 0);
    assert_int_equal(weft_arena_defer(current.arena, leave, "c"), 0);
    weft_arena_reset(current.arena);
    assert_string_equal(current.text, "cbza");
    assert_int_equal(weft_arena_defer(current.arena, leave, "d"), 0);
    weft_arena_free(current.arena);
    assert_string_equal(current.text, "cbzad");
}

static void count_cleanup(void *user) { (*(size_t *)user)++; }

static int use_everything(void *user) {
    size_t registered = 0;
    size_t cleaned = 0;
    int rc = -1;
    (void)user;
    weft_arena *arena = weft_arena_new(0);
    if (!arena) return -1;
    for (int i = 0; i < 40; i++) {
        if (weft_arena_defer(arena, count_cleanup, &cleaned)) goto done;
        registered++;
        if (!weft_arena_printf(arena, "%0500d", i)) goto done;
        if (!weft_arena_calloc(arena, 30, 30)) goto done;
    }
    rc = 0;
done:
    weft_arena_free(arena);
    assert_int_equal(cleaned, registered);
    return rc;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    int last = -1;
    assert_true(sweep_run(use_everything, NULL, &last) >= 4);
    assert_int_equal(last, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned_and_apart),
        cmocka_unit_test(empty_blocks_are_unique),
        cmocka_unit_test(the_cap_holds_and_the_arena_survives),
        cmocka_unit_test(absurd_sizes_fail),
        cmocka_unit_test(reset_keeps_the_first_chunk_only),
        cmocka_unit_test(strings),
        cmocka_unit_test(cleanups_run_in_reverse_once),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
