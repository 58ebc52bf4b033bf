/* Insertion-ordered hash map: a dense array of entries and a table of positions in it.
 *
 * Removing leaves a hole (key NULL) in the array, so cursors stay valid; holes are squeezed out when the
 * array is full. The index uses linear probing at a load of at most 1/2 and closes gaps on removal, so it
 * needs no tombstones. */
#include "weft/map.h"

#include <stdatomic.h>
#include <string.h>

#include "weft/mem.h"
#include "weft/rng.h"

#define DEFAULT_MAX (UINT32_C(1) << 20)
#define LARGEST_MAX (UINT32_C(1) << 30)
#define FIRST_ENTRIES 8u
#define KEY_MAX ((size_t)INT32_MAX)

struct weft_map_entry {
    char *key; /* NULL: a hole */
    void *value;
    uint64_t hash;
    uint32_t size;
};

void weft_map_init(weft_map *map, size_t max) {
    *map = (weft_map){.max = max && max < LARGEST_MAX ? (uint32_t)max : max ? LARGEST_MAX : 0};
}

static uint32_t max_of(const weft_map *map) { return map->max ? map->max : DEFAULT_MAX; }

/* Half of the process's hash key; the first caller of each draws it. */
static uint64_t key_half(int which) {
    static _Atomic uint64_t halves[2];
    uint64_t half = atomic_load_explicit(&halves[which], memory_order_relaxed);
    if (half) return half;
    uint64_t drawn = weft_rng_system_seed() | 1;
    if (atomic_compare_exchange_strong(&halves[which], &half, drawn)) return drawn;
    return half;
}

static uint64_t hash_of(const void *key, size_t size) {
    return weft_siphash13(key, size, key_half(0), key_half(1));
}

static uint32_t home_of(const weft_map *map, uint64_t hash) {
    return (uint32_t)hash & (map->index_size - 1);
}

/* Position in the index of the key, or of the free place where it would go. The index is not empty. */
static uint32_t probe(const weft_map *map, const void *key, size_t size, uint64_t hash) {
    uint32_t at = home_of(map, hash);
    for (; map->index[at]; at = (at + 1) & (map->index_size - 1)) {
        const weft_map_entry *entry = &map->entries[map->index[at] - 1];
        if (entry->hash == hash && entry->size == size && !memcmp(entry->key, key, size)) break;
    }
    return at;
}

static weft_map_entry *lookup(const weft_map *map, const void *key, size_t size) {
    if (!map->count || size > KEY_MAX) return NULL;
    if (!size) key = "";
    const uint32_t found = map->index[probe(map, key, size, hash_of(key, size))];
    return found ? &map->entries[found - 1] : NULL;
}

/* Squeezes the holes out and fills the (zeroed) index again. */
static void rebuild(weft_map *map) {
    uint32_t used = 0;
    for (uint32_t i = 0; i < map->entries_used; i++)
        if (map->entries[i].key) map->entries[used++] = map->entries[i];
    map->entries_used = used;
    for (uint32_t i = 0; i < used; i++) {
        uint32_t at = home_of(map, map->entries[i].hash);
        while (map->index[at]) at = (at + 1) & (map->index_size - 1);
        map->index[at] = i + 1;
    }
}

/* Room for one more entry. On failure nothing has changed that anyone can see. */
static int make_room(weft_map *map) {
    if (map->entries_used < map->entries_cap) return 0;
    if (map->entries_cap && map->count <= map->entries_cap - map->entries_cap / 4) {
        memset(map->index, 0, map->index_size * sizeof *map->index);
        rebuild(map);
        return 0;
    }
    const uint32_t cap = map->entries_cap ? map->entries_cap * 2 : FIRST_ENTRIES;
    const uint32_t index_size = cap * 2;
    uint32_t *index = weft_calloc(index_size, sizeof *index);
    if (!index) return WEFT_ENOMEM;
    weft_map_entry *entries = weft_realloc(map->entries, cap * sizeof *entries);
    if (!entries) {
        weft_free(index);
        return WEFT_ENOMEM;
    }
    weft_free(map->index);
    map->entries = entries;
    map->entries_cap = cap;
    map->index = index;
    map->index_size = index_size;
    rebuild(map);
    return 0;
}

static int insert(weft_map *map, const void *key, size_t size, void *value, int replace) {
    if (size > KEY_MAX) return WEFT_ELIMIT;
    weft_map_entry *entry = lookup(map, key, size);
    if (entry && !replace) return WEFT_EEXIST;
    if (entry) {
        entry->value = value;
        return 0;
    }
    if (map->count >= max_of(map)) return WEFT_ELIMIT;
    char *copy = weft_malloc(size + 1);
    if (!copy) return WEFT_ENOMEM;
    if (size) memcpy(copy, key, size);
    copy[size] = '\0';
    int rc = make_room(map);
    if (rc) {
        weft_free(copy);
        return rc;
    }
    const uint64_t hash = hash_of(copy, size);
    map->index[probe(map, copy, size, hash)] = map->entries_used + 1;
    map->entries[map->entries_used++] =
        (weft_map_entry){.key = copy, .value = value, .hash = hash, .size = (uint32_t)size};
    map->count++;
    return 0;
}

int weft_map_put(weft_map *map, const char *key, void *value) {
    return insert(map, key, strlen(key), value, 1);
}

int weft_map_put_bytes(weft_map *map, const void *key, size_t size, void *value) {
    return insert(map, key, size, value, 1);
}

int weft_map_add(weft_map *map, const char *key, void *value) {
    return insert(map, key, strlen(key), value, 0);
}

int weft_map_add_bytes(weft_map *map, const void *key, size_t size, void *value) {
    return insert(map, key, size, value, 0);
}

void **weft_map_find(const weft_map *map, const char *key) {
    return weft_map_find_bytes(map, key, strlen(key));
}

void **weft_map_find_bytes(const weft_map *map, const void *key, size_t size) {
    weft_map_entry *entry = lookup(map, key, size);
    return entry ? &entry->value : NULL;
}

void *weft_map_get(const weft_map *map, const char *key) {
    return weft_map_get_bytes(map, key, strlen(key));
}

void *weft_map_get_bytes(const weft_map *map, const void *key, size_t size) {
    const weft_map_entry *entry = lookup(map, key, size);
    return entry ? entry->value : NULL;
}

/* Frees place `at` of the index and moves later members of its run up, so that no probe stops short. */
static void close_gap(weft_map *map, uint32_t at) {
    const uint32_t mask = map->index_size - 1;
    uint32_t gap = at;
    for (uint32_t i = (at + 1) & mask; map->index[i]; i = (i + 1) & mask) {
        const uint32_t home = home_of(map, map->entries[map->index[i] - 1].hash);
        if (((i - home) & mask) < ((i - gap) & mask)) continue; /* its home lies after the gap */
        map->index[gap] = map->index[i];
        gap = i;
    }
    map->index[gap] = 0;
}

void *weft_map_remove(weft_map *map, const char *key) {
    return weft_map_remove_bytes(map, key, strlen(key));
}

void *weft_map_remove_bytes(weft_map *map, const void *key, size_t size) {
    weft_map_entry *entry = lookup(map, key, size);
    if (!entry) return NULL;
    void *value = entry->value;
    char *gone = entry->key; /* `key` may be this very memory: free it last */
    close_gap(map, probe(map, entry->key, entry->size, entry->hash));
    entry->key = NULL;
    entry->value = NULL;
    map->count--;
    weft_free(gone);
    return value;
}

size_t weft_map_count(const weft_map *map) { return map->count; }

int weft_map_next(const weft_map *map, size_t *cursor, const char **key, size_t *size,
                  void **value) {
    while (*cursor < map->entries_used) {
        const weft_map_entry *entry = &map->entries[(*cursor)++];
        if (!entry->key) continue;
        if (key) *key = entry->key;
        if (size) *size = entry->size;
        if (value) *value = entry->value;
        return 1;
    }
    return 0;
}

void weft_map_clear(weft_map *map, void (*free_value)(void *value)) {
    for (uint32_t i = 0; i < map->entries_used; i++) {
        weft_map_entry *entry = &map->entries[i];
        if (!entry->key) continue;
        if (free_value) free_value(entry->value);
        weft_free(entry->key);
        entry->key = NULL;
    }
    map->entries_used = 0;
    map->count = 0;
    if (map->index) memset(map->index, 0, map->index_size * sizeof *map->index);
}

void weft_map_free(weft_map *map, void (*free_value)(void *value)) {
    weft_map_clear(map, free_value);
    weft_free(map->entries);
    weft_free(map->index);
    *map = (weft_map){.max = map->max};
}
