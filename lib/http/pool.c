/* Memory for fields: blocks of 22 sizes cut from slabs, and the table of interned fields. Slabs live as long
 * as the pool; what is freed waits for the next of its size. */
#include "lib/http/pool.h"

#include <assert.h>
#include <string.h>

#include "weft/mem.h"

#define SLAB_SIZE 16384u
#define FIRST_BUCKETS 256u
#define MAX_BUCKETS 65536u

typedef struct slab {
    struct slab *next;
    uint64_t blocks[];
} slab;

/* Class n < 16 holds 64 (n + 1) bytes, the others what `large` says. */
static const uint16_t large[BLOCK_CLASSES - BLOCK_SMALL_CLASSES] = {1280, 1536, 2048,
                                                                    2560, 3072, 4096};
#define LARGEST 4096u

uint8_t block_class_slow(size_t size) {
    if (size > LARGEST) return BLOCK_HUGE;
    uint8_t at = 0;
    while (large[at] < size) at++;
    return (uint8_t)(BLOCK_SMALL_CLASSES + at);
}

size_t block_size(uint8_t size_class, size_t size) {
    if (size_class < BLOCK_SMALL_CLASSES) return (size_class + 1u) * BLOCK_STEP;
    return size_class == BLOCK_HUGE ? size : large[size_class - BLOCK_SMALL_CLASSES];
}

static void *heap(http_pool *pool, size_t size) {
    void *p = pool->stats.bytes + size <= pool->max_bytes ? weft_malloc(size) : NULL;
    if (p) {
        pool->stats.bytes += size;
    } else {
        pool->stats.refused++;
    }
    return p;
}

int block_refill(http_pool *pool, uint8_t size_class) {
    slab *more = heap(pool, SLAB_SIZE);
    if (!more) return 0;
    more->next = pool->slabs;
    pool->slabs = more;
    const size_t size = block_size(size_class, 0);
    char *at = (char *)more->blocks;
    for (size_t left = SLAB_SIZE - sizeof *more; left >= size; left -= size, at += size) {
        free_block *block = (free_block *)(void *)at;
        block->next = pool->free[size_class];
        pool->free[size_class] = block;
    }
    return 1;
}

void *block_huge(http_pool *pool, size_t size) { return heap(pool, size); }

void block_huge_free(http_pool *pool, void *block, size_t size) {
    pool->stats.bytes -= size;
    weft_free(block);
}

http_pool *http_pool_new(size_t max_bytes, uint64_t seed) {
    http_pool *pool = weft_calloc(1, sizeof *pool);
    if (!pool) return NULL;
    pool->max_bytes = max_bytes ? max_bytes : (size_t)256 << 20;
    pool->seed = seed;
    pool->buckets = weft_calloc(FIRST_BUCKETS, sizeof *pool->buckets);
    if (!pool->buckets) {
        weft_free(pool);
        return NULL;
    }
    pool->bucket_count = FIRST_BUCKETS;
    pool->stats.bytes = FIRST_BUCKETS * sizeof *pool->buckets;
    return pool;
}

void http_pool_free(http_pool *pool) {
    if (!pool) return;
    assert(pool->stats.fields == 0 && "header fields are still referenced");
    assert(pool->stats.lists == 0 && "header lists are not cleared");
    while (pool->slabs) {
        slab *next = pool->slabs->next;
        weft_free(pool->slabs);
        pool->slabs = next;
    }
    weft_free(pool->buckets);
    weft_free(pool);
}

http_pool_stats http_pool_get_stats(const http_pool *pool) { return pool->stats; }

/* ---- hash: 8 bytes a step, folded 128-bit products; keyed, since strangers choose fields */

static uint64_t fold(uint64_t a, uint64_t b) {
    const unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t absorb(uint64_t state, const char *data, size_t len) {
    uint64_t word;
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, data + i, 8);
        state = fold(state ^ word, UINT64_C(0x9fb21c651e98df25));
    }
    word = 0;
    for (size_t shift = 0; i < len; i++, shift += 8) {
        word |= (uint64_t)(unsigned char)data[i] << shift;
    }
    return fold(state ^ word ^ (uint64_t)len << 56, UINT64_C(0xd6e8feb86659fd93));
}

uint32_t field_hash(uint64_t seed, const char *name, size_t name_len, const char *value,
                    size_t value_len) {
    uint64_t state = absorb(seed ^ UINT64_C(0x2545f4914f6cdd1d), name, name_len);
    state = fold(absorb(state, value, value_len), seed | 1);
    const uint32_t hash = (uint32_t)(state ^ state >> 32);
    return hash ? hash : 1;
}

/* ---- interned fields */

http_field *intern_find(http_pool *pool, uint32_t hash, const char *name, size_t name_len,
                        const char *value, size_t value_len) {
    http_field *field = pool->buckets[hash & (pool->bucket_count - 1)];
    for (; field; field = field->next) {
        if (field->hash == hash && field->name_len == name_len && field->value_len == value_len &&
            !memcmp(field->name, name, name_len) && !memcmp(field->value, value, value_len))
            return field;
    }
    return NULL;
}

/* Doubles the buckets; when memory is out the chains just grow longer. */
static void grow(http_pool *pool) {
    const size_t count = pool->bucket_count * 2;
    http_field **buckets = weft_calloc(count, sizeof *buckets);
    if (!buckets) return;
    for (size_t i = 0; i < pool->bucket_count; i++) {
        for (http_field *field = pool->buckets[i]; field;) {
            http_field *next = field->next;
            field->next = buckets[field->hash & (count - 1)];
            buckets[field->hash & (count - 1)] = field;
            field = next;
        }
    }
    weft_free(pool->buckets);
    pool->stats.bytes += pool->bucket_count * sizeof *buckets;
    pool->buckets = buckets;
    pool->bucket_count = count;
}

void intern_add(http_pool *pool, http_field *field) {
    if (pool->stats.interned >= pool->bucket_count && pool->bucket_count < MAX_BUCKETS) grow(pool);
    http_field **bucket = &pool->buckets[field->hash & (pool->bucket_count - 1)];
    field->next = *bucket;
    *bucket = field;
    field->flags |= HTTP_FIELD_INTERNED;
    pool->stats.interned++;
}

void intern_remove(http_field *field) {
    http_pool *pool = field->pool;
    http_field **at = &pool->buckets[field->hash & (pool->bucket_count - 1)];
    while (*at != field) at = &(*at)->next;
    *at = field->next;
    pool->stats.interned--;
}
