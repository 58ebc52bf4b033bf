/* Blocks of memory for fields and arrays of lists. */
#ifndef LIB_HTTP_POOL_H
#define LIB_HTTP_POOL_H

#include "weft/http.h"

#define BLOCK_CLASSES 22
#define BLOCK_SMALL_CLASSES 16 /* of 64, 128 … 1024 bytes; the others are larger */
#define BLOCK_STEP 64u
#define BLOCK_HUGE 255 /* straight from the heap */

typedef struct free_block {
    struct free_block *next;
} free_block;

/* Invariants: interned fields hang in buckets[hash & (bucket_count - 1)], each once; stats.bytes counts
 * slabs, huge blocks and buckets. */
struct http_pool {
    free_block *free[BLOCK_CLASSES];
    struct slab *slabs;
    http_field **buckets;
    size_t bucket_count; /* a power of two */
    size_t max_bytes;
    uint64_t seed;
    http_pool_stats stats;
};

/* The slow halves of what follows. */
uint8_t block_class_slow(size_t size);
int block_refill(http_pool *pool, uint8_t size_class);
void *block_huge(http_pool *pool, size_t size);
void block_huge_free(http_pool *pool, void *block, size_t size);

/* A block of at least `size` bytes and its class, or NULL. Blocks are aligned to 8. */
static inline void *block_new(http_pool *pool, size_t size, uint8_t *size_class) {
    const uint8_t c = size <= BLOCK_SMALL_CLASSES * BLOCK_STEP ? (uint8_t)((size - 1) / BLOCK_STEP)
                                                               : block_class_slow(size);
    *size_class = c;
    if (__builtin_expect(c == BLOCK_HUGE, 0)) return block_huge(pool, size);
    if (__builtin_expect(!pool->free[c], 0) && !block_refill(pool, c)) return NULL;
    free_block *block = pool->free[c];
    pool->free[c] = block->next;
    return block;
}

static inline void block_free(http_pool *pool, void *block, size_t size, uint8_t size_class) {
    if (__builtin_expect(size_class == BLOCK_HUGE, 0)) {
        block_huge_free(pool, block, size);
        return;
    }
    free_block *freed = block;
    freed->next = pool->free[size_class];
    pool->free[size_class] = freed;
}

size_t block_size(uint8_t size_class, size_t size);

/* The interned field equal to these bytes, or NULL. */
http_field *intern_find(http_pool *pool, uint32_t hash, const char *name, size_t name_len,
                        const char *value, size_t value_len);
void intern_add(http_pool *pool, http_field *field);
void intern_remove(http_field *field);

uint32_t field_hash(uint64_t seed, const char *name, size_t name_len, const char *value,
                    size_t value_len);

#endif
