#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/codegen/cg.h"

_Noreturn void cg_out_of_memory(void) {
    fputs("protoc-gen-weft: out of memory; nothing was written\n", stderr);
    exit(1);
}

void *cg_alloc(weft_arena *arena, size_t count, size_t size) {
    void *p = weft_arena_calloc(arena, count, size);
    if (!p) cg_out_of_memory();
    return p;
}

char *cg_strndup(weft_arena *arena, const char *text, size_t len) {
    char *copy = weft_arena_strndup(arena, text, len);
    if (!copy) cg_out_of_memory();
    return copy;
}

char *cg_strdup(weft_arena *arena, const char *text) {
    return cg_strndup(arena, text, strlen(text));
}

char *cg_printf(weft_arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = weft_arena_vprintf(arena, format, args);
    va_end(args);
    if (!text) cg_out_of_memory();
    return text;
}

static size_t hash(const char *key) { /* FNV-1a */
    uint64_t h = 14695981039346656037u;
    for (; *key; key++) h = (h ^ (unsigned char)*key) * 1099511628211u;
    return (size_t)(h ^ (h >> 32));
}

static struct cg_slot *slot(const cg_table *table, const char *key) {
    size_t mask = table->cap - 1;
    size_t i = hash(key) & mask;
    while (table->slots[i].key && strcmp(table->slots[i].key, key) != 0) i = (i + 1) & mask;
    return &table->slots[i];
}

void *cg_table_get(const cg_table *table, const char *key) {
    return table->cap ? slot(table, key)->value : NULL;
}

static void grow(cg_table *table) {
    cg_table old = *table;
    table->cap = old.cap ? old.cap * 2 : 64;
    table->slots = cg_alloc(table->arena, table->cap, sizeof(*table->slots));
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].key) *slot(table, old.slots[i].key) = old.slots[i];
}

bool cg_table_put(cg_table *table, const char *key, void *value) {
    if (table->count * 4 >= table->cap * 3) grow(table);
    struct cg_slot *at = slot(table, key);
    if (at->key) return false;
    at->key = key;
    at->value = value;
    table->count++;
    return true;
}
