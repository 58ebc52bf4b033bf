/* Lists of fields. The array is a block of the pool, of 16 pointers and up. */
#include <assert.h>
#include <string.h>

#include "lib/http/pool.h"

#define FIRST_CAP 16u

void http_fields_init(http_fields *list, http_pool *pool) { *list = (http_fields){.pool = pool}; }

static uint8_t class_of_cap(uint32_t cap) {
    /* Arrays are 128 bytes times a power of two: 8 KiB at most. */
    switch (cap) {
    case 16:
        return 1;
    case 32:
        return 3;
    case 64:
        return 7;
    case 128:
        return 15;
    case 256:
        return 18;
    case 512:
        return 21;
    default:
        return BLOCK_HUGE;
    }
}

static void free_array(http_fields *list) {
    if (!list->at) return;
    const size_t size = list->cap * sizeof *list->at;
    assert(block_size(class_of_cap(list->cap), size) == size);
    block_free(list->pool, list->at, size, class_of_cap(list->cap));
    list->pool->stats.lists--;
}

void http_fields_clear(http_fields *list) {
    for (uint32_t i = 0; i < list->count; i++) http_field_unref(list->at[i]);
    free_array(list);
    *list = (http_fields){.pool = list->pool};
}

static int reserve(http_fields *list, uint32_t count) {
    if (count <= list->cap) return 0;
    if (count > HTTP_FIELDS_MAX) return WEFT_ELIMIT;
    uint32_t cap = list->cap ? list->cap : FIRST_CAP;
    while (cap < count) cap *= 2;
    uint8_t size_class = 0;
    http_field **at = block_new(list->pool, cap * sizeof(http_field *), &size_class);
    if (!at) return WEFT_ENOMEM;
    if (list->count) memcpy(at, list->at, list->count * sizeof *at);
    free_array(list);
    list->pool->stats.lists++;
    list->at = at;
    list->cap = cap;
    return 0;
}

static size_t cost(const http_field *field) {
    return (size_t)field->name_len + field->value_len + 32;
}

int http_fields_push(http_fields *list, http_field *field) {
    if (!field) return WEFT_ENOMEM;
    if (list->count == list->cap) {
        const int failed = reserve(list, list->count + 1);
        if (failed) {
            http_field_unref(field);
            return failed;
        }
    }
    list->at[list->count++] = field;
    list->bytes += cost(field);
    return 0;
}

int http_fields_add(http_fields *list, http_field *field) {
    return http_fields_push(list, http_field_ref(field));
}

int http_fields_add_text(http_fields *list, const char *name, const char *value) {
    return http_fields_push(list,
                            http_field_new(list->pool, name, strlen(name), value, strlen(value)));
}

int http_fields_add_known(http_fields *list, http_name name, const char *value, size_t value_len) {
    return http_fields_push(list, http_field_known(list->pool, name, value, value_len));
}

int http_fields_move(http_fields *to, http_fields *from) {
    assert(to->count == 0);
    if (to->pool == from->pool && from->cap <= 4 * FIRST_CAP) {
        http_fields_clear(to);
        *to = *from;
        *from = (http_fields){.pool = from->pool};
        return 0;
    }
    /* A large array is worth keeping where it is: it is somebody's scratch. */
    const int failed = reserve(to, from->count);
    if (failed) return failed;
    if (from->count) memcpy(to->at, from->at, from->count * sizeof *to->at);
    to->count = from->count;
    to->bytes = from->bytes;
    from->count = 0;
    from->bytes = 0;
    return 0;
}

int http_fields_copy(http_fields *to, const http_fields *from) {
    assert(to->count == 0);
    const int failed = reserve(to, from->count);
    if (failed) return failed;
    for (uint32_t i = 0; i < from->count; i++) to->at[i] = http_field_ref(from->at[i]);
    to->count = from->count;
    to->bytes = from->bytes;
    return 0;
}

http_field *http_fields_find(const http_fields *list, http_name name) {
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->at[i]->id == name) return list->at[i];
    }
    return NULL;
}

http_field *http_fields_find_text(const http_fields *list, const char *name, size_t name_len) {
    for (uint32_t i = 0; i < list->count; i++) {
        const http_field *field = list->at[i];
        if (field->name_len == name_len && !memcmp(field->name, name, name_len)) return list->at[i];
    }
    return NULL;
}

void http_fields_remove_at(http_fields *list, uint32_t index) {
    assert(index < list->count);
    list->bytes -= cost(list->at[index]);
    http_field_unref(list->at[index]);
    list->count--;
    memmove(&list->at[index], &list->at[index + 1], (list->count - index) * sizeof *list->at);
}

size_t http_fields_remove(http_fields *list, http_name name) {
    size_t removed = 0;
    for (uint32_t i = list->count; i--;) {
        if (list->at[i]->id != name) continue;
        http_fields_remove_at(list, i);
        removed++;
    }
    return removed;
}

int http_fields_set(http_fields *list, http_field *field) {
    if (!field) return WEFT_ENOMEM;
    assert(field->id != HTTP_NAME_OTHER);
    uint32_t at = 0;
    while (at < list->count && list->at[at]->id != field->id) at++;
    if (at == list->count) return http_fields_push(list, field);
    list->bytes += cost(field);
    list->bytes -= cost(list->at[at]);
    http_field_unref(list->at[at]);
    list->at[at] = field;
    for (uint32_t i = list->count; --i > at;) {
        if (list->at[i]->id == field->id) http_fields_remove_at(list, i);
    }
    return 0;
}
