/* Chunks and chains against a plain array of bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "weft/chunk.h"
#include "weft/rng.h"

static weft_rng rng;
static weft_chunk_pool *pool;

static uint64_t below(uint64_t n) { return weft_rng_below(&rng, n); }

static int set_up(void **state) {
    (void)state;
    weft_rng_seed(&rng, 3);
    pool = weft_chunk_pool_new(0, 4);
    return pool == NULL;
}

static int tear_down(void **state) {
    (void)state;
    const weft_chunk_stats stats = weft_chunk_pool_stats(pool);
    weft_chunk_pool_free(pool);
    return stats.live || stats.links || stats.kept > 4;
}

/* A chain and what it must hold. */
#define MOST 200000
typedef struct model {
    weft_chain chain;
    uint8_t *bytes;
    size_t len;
} model;

static void check(const model *m) {
    size_t at = 0;
    assert_int_equal(m->chain.bytes, m->len);
    assert_int_equal(m->chain.head == NULL, m->chain.tail == NULL);
    for (const weft_link *link = m->chain.head; link; link = link->next) {
        if (!link->slice.len) assert_null(link->next);
        assert_true(link->slice.chunk->refs > 0);
        assert_memory_equal(link->slice.data, m->bytes + at, link->slice.len);
        at += link->slice.len;
    }
    assert_int_equal(at, m->len);
}

static void fill(uint8_t *to, size_t size) {
    for (size_t i = 0; i < size; i++) to[i] = (uint8_t)below(256);
}

static void add(model *m) {
    static uint8_t data[50000];
    const size_t size = below(3) ? below(700) : below(sizeof data);
    if (m->len + size > MOST) return;
    fill(data, size);
    assert_int_equal(weft_chain_add(&m->chain, data, size), 0);
    memcpy(m->bytes + m->len, data, size);
    m->len += size;
}

static void reserve(model *m) {
    const size_t size = 1 + below(below(2) ? 100 : WEFT_CHUNK_SIZE), used = below(size + 1);
    if (m->len + size > MOST) return;
    uint8_t *to = weft_chain_reserve(&m->chain, size);
    assert_non_null(to);
    fill(to, used);
    memcpy(m->bytes + m->len, to, used);
    weft_chain_commit(&m->chain, used);
    m->len += used;
}

static void share(model *to, const model *from) {
    for (const weft_link *link = from->chain.head; link; link = link->next) {
        if (below(3) || to->len + link->slice.len > MOST || !link->slice.len) continue;
        weft_slice piece = link->slice;
        const size_t skip = below(piece.len);
        piece.data += skip;
        piece.len = 1 + below(piece.len - skip);
        memcpy(to->bytes + to->len, piece.data, piece.len);
        assert_int_equal(weft_chain_add_slice(&to->chain, &piece), 0);
        to->len += piece.len;
    }
}

static void move(model *to, model *from) {
    const size_t size = below(4) ? below(from->len + 1) : from->len;
    if (to->len + size > MOST) return;
    assert_int_equal(weft_chain_move(&to->chain, &from->chain, size), 0);
    memcpy(to->bytes + to->len, from->bytes, size);
    to->len += size;
    memmove(from->bytes, from->bytes + size, from->len - size);
    from->len -= size;
}

static void consume(model *m) {
    const size_t size = below(m->len + 1);
    weft_chain_consume(&m->chain, size);
    memmove(m->bytes, m->bytes + size, m->len - size);
    m->len -= size;
}

static void cut(model *m) {
    m->len = below(m->len + 1);
    weft_chain_cut(&m->chain, m->len);
}

static void act(model *a, model *b) {
    switch (below(9)) {
    case 0:
    case 1:
        add(a);
        break;
    case 2:
    case 3:
        reserve(a);
        break;
    case 4:
        if (a != b) share(a, b);
        break;
    case 5:
        if (a != b) move(a, b);
        break;
    case 6:
        consume(a);
        break;
    case 7:
        if (!below(3)) cut(a);
        break;
    default:
        if (below(20)) break;
        weft_chain_clear(&a->chain);
        a->len = 0;
    }
}

static void test_random(void **state) {
    (void)state;
    model models[3];
    for (int i = 0; i < 3; i++) {
        models[i].bytes = malloc(MOST);
        models[i].len = 0;
        weft_chain_init(&models[i].chain, pool);
    }
    for (int step = 0; step < 6000; step++) {
        model *a = &models[below(3)], *b = &models[below(3)];
        act(a, b);
        check(a);
        check(b);
    }
    for (int i = 0; i < 3; i++) {
        weft_chain_clear(&models[i].chain);
        free(models[i].bytes);
    }
}

static void test_by_reference(void **state) {
    (void)state;
    weft_chain chain;
    struct iovec iov[4];
    weft_chain_init(&chain, pool);
    weft_chunk *chunk = weft_chunk_new(pool);
    memset(chunk->data, 'x', 2000);
    chunk->used = 2000;
    const weft_slice whole = {chunk->data, 2000, chunk}, small = {chunk->data, 10, chunk};
    assert_int_equal(weft_chain_add(&chain, "head", 4), 0);
    assert_int_equal(weft_chain_add_slice(&chain, &whole), 0);
    assert_int_equal(chunk->refs, 2);
    assert_int_equal(weft_chain_add_slice(&chain, &small),
                     0); /* a copy behind what the chunk has */
    assert_int_equal(chunk->refs, 2);
    assert_int_equal(chunk->used, 2010);
    assert_int_equal(weft_chain_iov(&chain, iov, 4), 2);
    assert_int_equal(iov[0].iov_len, 4);
    assert_int_equal(iov[1].iov_len, 2010);
    assert_ptr_equal(iov[1].iov_base, chunk->data);
    weft_chain_consume(&chain, 1000);
    assert_int_equal(weft_chain_iov(&chain, iov, 1), 1);
    assert_int_equal(iov[0].iov_len, 1014);
    weft_chain_clear(&chain);
    assert_int_equal(chunk->refs, 1);
    weft_chunk_unref(chunk);
}

static void test_maximum(void **state) {
    (void)state;
    weft_chunk_pool *small = weft_chunk_pool_new(2, 1);
    static uint8_t data[40000];
    weft_chain chain;
    weft_chain_init(&chain, small);
    assert_int_equal(weft_chain_add(&chain, data, 20000), 0);
    assert_int_equal(weft_chain_add(&chain, data, 20000), WEFT_ENOMEM);
    assert_int_equal(chain.bytes, 20000);
    assert_int_equal(weft_chunk_pool_stats(small).refused, 1);
    weft_chain_clear(&chain);
    assert_int_equal(weft_chunk_pool_stats(small).kept, 1);
    assert_int_equal(weft_chunk_pool_stats(small).peak, 2);
    weft_chunk_pool_free(small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_random, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_by_reference, set_up, tear_down),
        cmocka_unit_test(test_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
