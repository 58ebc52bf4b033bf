/* Blocks of memory for fields and arrays of lists. */
#ifndef LIB_HTTP_POOL_H
#define LIB_HTTP_POOL_H

#include "weft/http.h"

#define BLOCK_CLASSES 22
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

/* A block of at least `size` bytes and its class, or NULL. Blocks are aligned to 8. */
void *block_new(http_pool *pool, size_t size, uint8_t *size_class);
void block_free(http_pool *pool, void *block, size_t size, uint8_t size_class);
size_t block_size(uint8_t size_class, size_t size);

/* The interned field equal to these bytes, or NULL. */
http_field *intern_find(http_pool *pool, uint32_t hash, const char *name, size_t name_len,
                        const char *value, size_t value_len);
void intern_add(http_pool *pool, http_field *field);
void intern_remove(http_field *field);

uint32_t field_hash(uint64_t seed, const char *name, size_t name_len, const char *value,
                    size_t value_len);

#endif
