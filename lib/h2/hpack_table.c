/* The dynamic table of RFC 7541 section 2.3.2 and 4. */
#include <assert.h>
#include <string.h>

#include "lib/h2/hpack.h"
#include "weft/mem.h"

#define FIRST_CAP 16u

static void evict(hpack_table *table) {
    assert(table->count > 0);
    http_field *oldest = table->ring[(table->next - table->count) & (table->cap - 1)];
    table->count--;
    table->bytes -= oldest->cost;
    http_field_unref(oldest);
}

void hpack_table_free(hpack_table *table) {
    while (table->count) evict(table);
    weft_free(table->ring);
    table->ring = NULL;
    table->cap = 0;
}

void hpack_table_resize(hpack_table *table, uint32_t size) {
    table->size = size;
    while (table->bytes > size) evict(table);
}

static int grow(hpack_table *table) {
    const uint32_t cap = table->cap ? table->cap * 2 : FIRST_CAP;
    http_field **ring = weft_malloc(cap * sizeof *ring);
    if (!ring) return WEFT_ENOMEM;
    for (uint32_t n = table->next - table->count; n != table->next; n++) {
        ring[n & (cap - 1)] = table->ring[n & (table->cap - 1)];
    }
    weft_free(table->ring);
    table->ring = ring;
    table->cap = cap;
    return 0;
}

int hpack_table_insert(hpack_table *table, http_field *field) {
    const uint32_t need = field->cost;
    if (need > table->size) {
        while (table->count) evict(table);
        return 0;
    }
    /* Memory first: a failure must not evict what the other end still has. */
    if (table->count == table->cap && grow(table)) return WEFT_ENOMEM;
    while (table->bytes + need > table->size) evict(table);
    table->ring[table->next & (table->cap - 1)] = http_field_ref(field);
    table->next++;
    table->count++;
    table->bytes += need;
    return 1;
}
