/* Hash map from strings or bytes to pointers that remembers the order of insertion.
 *
 * Keys are copied; values are the caller's. The hash is SipHash-1-3 under a random process-wide seed, so
 * that strangers who choose keys cannot make them collide; iteration goes in insertion order, so the seed
 * never shows. Memory comes from weft_malloc, at most `max` entries of it. One thread at a time. */
#ifndef WEFT_MAP_H
#define WEFT_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "weft/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_map_entry weft_map_entry;

/* Fields are private. A zeroed map is an empty map with the default maximum. */
typedef struct weft_map {
    weft_map_entry *entries; /* in insertion order, with holes where some were removed */
    uint32_t *index;         /* 1 + position in entries, open addressing; 0: free */
    uint32_t index_size;     /* a power of two, or 0 */
    uint32_t entries_cap;
    uint32_t entries_used; /* holes included */
    uint32_t count;        /* holes not included */
    uint32_t max;
} weft_map;

/* An empty map of at most `max` entries (0: 1,048,576; never more than 2^30). Does not allocate. */
void weft_map_init(weft_map *map, size_t max);

/* Gives the memory back, after calling `free_value` (may be NULL) on each value in insertion order. The
 * map is empty and usable afterwards. _clear keeps the tables for reuse. */
void weft_map_free(weft_map *map, void (*free_value)(void *value));
void weft_map_clear(weft_map *map, void (*free_value)(void *value));

size_t weft_map_count(const weft_map *map);

/* Stores `value` under `key`, in place of what was there (which keeps its place in the order). `value` may
 * be NULL. WEFT_ENOMEM or WEFT_ELIMIT leave the map as it was. A key is at most 2^31 - 1 bytes. The string
 * forms take the bytes before the '\0'. */
int weft_map_put(weft_map *map, const char *key, void *value) WEFT_MUST_USE;
int weft_map_put_bytes(weft_map *map, const void *key, size_t size, void *value) WEFT_MUST_USE;

/* As _put, but WEFT_EEXIST, and no change, when the key is taken. */
int weft_map_add(weft_map *map, const char *key, void *value) WEFT_MUST_USE;
int weft_map_add_bytes(weft_map *map, const void *key, size_t size, void *value) WEFT_MUST_USE;

/* The value, or NULL when there is none (or the value is NULL). */
void *weft_map_get(const weft_map *map, const char *key);
void *weft_map_get_bytes(const weft_map *map, const void *key, size_t size);

/* Where the value is kept, to read or replace it, or NULL. Valid until the next put, add or free. */
void **weft_map_find(const weft_map *map, const char *key);
void **weft_map_find_bytes(const weft_map *map, const void *key, size_t size);

/* Takes the key out and returns its value, or NULL when it was not there. Never fails. */
void *weft_map_remove(weft_map *map, const char *key);
void *weft_map_remove_bytes(weft_map *map, const void *key, size_t size);

/* Steps through the entries in insertion order; start with *cursor = 0; returns 0 at the end. Any output
 * may be NULL. `key` ends in '\0' (not counted in `size`) and lives until its entry goes. Between steps
 * entries may be removed, but none put or added.
 *
 *     size_t at = 0; const char *key; void *value;
 *     while (weft_map_next(&map, &at, &key, NULL, &value)) ... */
int weft_map_next(const weft_map *map, size_t *cursor, const char **key, size_t *size,
                  void **value);

/* SipHash-1-3 of `size` bytes under a 128-bit key (Aumasson and Bernstein, "SipHash: a fast short-input
 * PRF", with 1 compression and 3 finalisation rounds). Pure; any thread. */
uint64_t weft_siphash13(const void *data, size_t size, uint64_t key0, uint64_t key1);

#ifdef __cplusplus
}
#endif
#endif
