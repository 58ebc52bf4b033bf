/* Look-up tables. Their keys are an operator's, so a fast hash without a secret will do: whoever
 * sends paths cannot make chains longer than the keys that are there. */
#include <string.h>

#include "sidecar/config/build.h"

static uint32_t hash_of(const char *key, size_t len) {
    uint64_t h = len * UINT64_C(0x9e3779b97f4a7c15), word;
    for (; len >= 8; key += 8, len -= 8) {
        memcpy(&word, key, 8);
        h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
        h ^= h >> 32;
    }
    word = 0;
    memcpy(&word, key, len);
    h = (h ^ word) * UINT64_C(0xc4ceb9fe1a85ec53);
    return (uint32_t)(h >> 32);
}

const config_slot *config_index_find(const config_index *index, const char *key, size_t len) {
    if (!index->slots) return NULL;
    const uint32_t hash = hash_of(key, len);
    for (uint32_t at = hash & index->mask; index->slots[at].key; at = (at + 1) & index->mask) {
        const config_slot *slot = &index->slots[at];
        if (slot->hash == hash && slot->key_len == len && !memcmp(slot->key, key, len)) return slot;
    }
    return NULL;
}

/* The slot for an entry's key, taken if it is new. */
static config_slot *slot_for(config_slot *slots, uint32_t mask, const index_entry *entry) {
    const uint32_t hash = hash_of(entry->key, entry->len);
    uint32_t at = hash & mask;
    for (; slots[at].key; at = (at + 1) & mask)
        if (slots[at].hash == hash && slots[at].key_len == entry->len &&
            !memcmp(slots[at].key, entry->key, entry->len))
            return &slots[at];
    slots[at] = (config_slot){.key = entry->key, .key_len = entry->len, .hash = hash};
    return &slots[at];
}

config_index build_index(config_build *b, const index_entry *entries, size_t count) {
    config_index none = {NULL, 0};
    uint32_t size = 2;
    if (!count) return none;
    while (size < 2 * count) size *= 2;
    config_slot *slots = build_alloc(b, size, sizeof *slots);
    uint32_t *items = build_alloc(b, count, sizeof *items);
    if (!slots || !items) return none;
    for (size_t i = 0; i < count; i++) slot_for(slots, size - 1, &entries[i])->count++;
    for (size_t i = 0; i < count; i++) {
        config_slot *slot = slot_for(slots, size - 1, &entries[i]);
        if (slot->items) continue;
        slot->items = items;
        items += slot->count;
        slot->count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        config_slot *slot = slot_for(slots, size - 1, &entries[i]);
        uint32_t *list = (uint32_t *)(uintptr_t)slot->items;
        bool known = false;
        for (uint32_t k = 0; k < slot->count && !known; k++) known = list[k] == entries[i].item;
        if (!known) list[slot->count++] = entries[i].item;
    }
    return (config_index){slots, size - 1};
}

config_wild build_wild(config_build *b, const index_entry *entries, size_t count) {
    config_wild wild = {.index = build_index(b, entries, count)};
    uint32_t *lengths = build_alloc(b, count, sizeof *lengths);
    if (!lengths) return wild;
    for (size_t i = 0; i < count; i++) {
        uint32_t at = 0;
        while (at < wild.length_count && lengths[at] > entries[i].len) at++;
        if (at < wild.length_count && lengths[at] == entries[i].len) continue;
        memmove(lengths + at + 1, lengths + at, (wild.length_count - at) * sizeof *lengths);
        lengths[at] = entries[i].len;
        wild.length_count++;
    }
    wild.lengths = lengths;
    return wild;
}

/* ---- routes */

/* Length of "/first-segment/" at the front of a path; 0 when there is no second slash. */
static uint32_t segment_of(const char *path, uint32_t len) {
    const char *end = len > 1 ? memchr(path + 1, '/', len - 1) : NULL;
    return end ? (uint32_t)(end - path) + 1 : 0;
}

typedef struct sorted {
    index_entry *exact, *segment;
    uint32_t *general;
    size_t exact_count, segment_count, general_count;
} sorted;

static void sort_route(config_build *b, const config_route *route, sorted *out) {
    const char *path = route->path.text;
    const uint32_t len = route->path.len, segment = segment_of(path, len);
    if (route->ignore_case || route->path_kind == CONFIG_PATH_REGEX) {
        out->general[out->general_count++] = route->index;
    } else if (route->path_kind == CONFIG_PATH_EXACT) {
        out->exact[out->exact_count++] = (index_entry){path, len, route->index};
    } else if (segment) {
        out->segment[out->segment_count++] = (index_entry){path, segment, route->index};
    } else if (route->path_kind == CONFIG_PATH_SEGMENTS) {
        /* "/a" is that path, or the first segment of one. */
        const char *key = weft_arena_printf(b->arena, "%s/", path);
        if (!key) b->rc = WEFT_ENOMEM;
        out->exact[out->exact_count++] = (index_entry){path, len, route->index};
        if (key) out->segment[out->segment_count++] = (index_entry){key, len + 1, route->index};
    } else {
        out->general[out->general_count++] = route->index;
    }
}

void build_route_index(config_build *b, config_vhost *vhost) {
    const size_t count = vhost->route_count;
    sorted s = {.exact = weft_arena_calloc(b->scratch, count + 1, sizeof *s.exact),
                .segment = weft_arena_calloc(b->scratch, count + 1, sizeof *s.segment),
                .general = build_alloc(b, count, sizeof *s.general)};
    if (!s.exact || !s.segment || !s.general) {
        b->rc = WEFT_ENOMEM;
        return;
    }
    for (size_t i = 0; i < count; i++) sort_route(b, &vhost->routes[i], &s);
    vhost->exact = build_index(b, s.exact, s.exact_count);
    vhost->segment = build_index(b, s.segment, s.segment_count);
    vhost->general = s.general;
    vhost->general_count = (uint32_t)s.general_count;
}

/* ---- tables */

static bool counts_as_service(const char *name) {
    return strcmp(name, "grpc.health.v1.Health") != 0 &&
           strncmp(name, "grpc.reflection.", sizeof "grpc.reflection." - 1) != 0;
}

/* One entry for every gRPC service a virtual host leads to. Counts only when `out` is NULL. */
static size_t services_of(const config_vhost *vhost, index_entry *out) {
    size_t count = 0;
    for (uint32_t r = 0; r < vhost->route_count; r++)
        for (uint32_t s = 0; s < vhost->routes[r].share_count; s++) {
            const config_cluster *cluster = vhost->routes[r].shares[s].cluster;
            for (uint32_t k = 0; cluster && k < cluster->service_count; k++) {
                const config_text *name = &cluster->services[k];
                if (!counts_as_service(name->text)) continue;
                if (out) out[count] = (index_entry){name->text, name->len, vhost->index};
                count++;
            }
        }
    return count;
}

static void index_services(config_build *b, config_table *table) {
    size_t count = 0;
    for (uint32_t i = 0; i < table->vhost_count; i++) count += services_of(&table->vhosts[i], NULL);
    index_entry *entries = weft_arena_calloc(b->scratch, count + 1, sizeof *entries);
    if (!entries) {
        b->rc = WEFT_ENOMEM;
        return;
    }
    count = 0;
    for (uint32_t i = 0; i < table->vhost_count; i++)
        count += services_of(&table->vhosts[i], entries + count);
    table->services = build_index(b, entries, count);
}

void build_table_index(config_build *b, config_table *table) {
    size_t total = 0, exact = 0, suffix = 0, prefix = 0;
    for (uint32_t i = 0; i < table->vhost_count; i++) total += table->vhosts[i].domain_count;
    index_entry *entries = weft_arena_calloc(b->scratch, 3 * total + 1, sizeof *entries);
    if (!entries) {
        b->rc = WEFT_ENOMEM;
        return;
    }
    index_entry *suffixes = entries + total, *prefixes = suffixes + total;
    for (uint32_t i = 0; i < table->vhost_count; i++)
        for (uint32_t k = 0; k < table->vhosts[i].domain_count; k++) {
            const config_text *d = &table->vhosts[i].domains[k];
            if (d->len == 1 && *d->text == '*')
                table->any = &table->vhosts[i];
            else if (*d->text == '*')
                suffixes[suffix++] = (index_entry){d->text + 1, d->len - 1, i};
            else if (d->text[d->len - 1] == '*')
                prefixes[prefix++] = (index_entry){d->text, d->len - 1, i};
            else
                entries[exact++] = (index_entry){d->text, d->len, i};
        }
    table->domains = build_index(b, entries, exact);
    table->suffixes = build_wild(b, suffixes, suffix);
    table->prefixes = build_wild(b, prefixes, prefix);
    index_services(b, table);
}

void build_method_index(config_build *b, const index_entry *entries, size_t count) {
    b->snapshot->methods = build_index(b, entries, count);
}
