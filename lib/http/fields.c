/* Lists of fields. The array is a block of the pool, of 16 pointers and up. */
#include <assert.h>
#include <string.h>

#include "lib/http/pool.h"

#define FIRST_CAP 16u

static uint8_t class_of_cap(uint32_t cap) {
    /* Arrays are 128 bytes times a power of two: 8 KiB at most. */
    if (__builtin_expect(cap == FIRST_CAP, 1)) return 1;
    switch (cap) {
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
    const size_t size = list->cap * sizeof *list->at;
    assert(block_size(class_of_cap(list->cap), size) == size);
    block_free(list->pool, list->at, size, class_of_cap(list->cap));
    list->pool->stats.lists--;
}

/* No fields any more; the array stays. */
static void forget(http_fields *list) {
    *list = (http_fields){.at = list->at, .pool = list->pool, .cap = list->cap};
}

void http_fields_free(http_fields *list) {
    for (uint32_t i = 0; i < list->count; i++) http_field_unref(list->at[i]);
    free_array(list);
    http_fields_init(list, list->pool);
}

int http_fields_reserve(http_fields *list, uint32_t count) {
    if (count <= list->cap) return 0;
    if (count > HTTP_FIELDS_MAX) return WEFT_ELIMIT;
    uint32_t cap = list->cap ? list->cap : FIRST_CAP;
    while (cap < count) cap *= 2;
    uint8_t size_class = 0;
    http_field **at = block_new(list->pool, cap * sizeof(http_field *), &size_class);
    if (!at) return WEFT_ENOMEM;
    if (list->at) {
        memcpy(at, list->at, list->count * sizeof *at);
        free_array(list);
    }
    list->pool->stats.lists++;
    list->at = at;
    list->cap = cap;
    return 0;
}

int http_fields_push(http_fields *list, http_field *field) {
    if (!field) return WEFT_ENOMEM;
    if (list->count == list->cap) {
        const int failed = http_fields_reserve(list, list->count + 1);
        if (failed) {
            http_field_unref(field);
            return failed;
        }
    }
    list->at[list->count] = field;
    http_fields_note(list, field);
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
        if (to->at) free_array(to);
        *to = *from;
        http_fields_init(from, from->pool);
        return 0;
    }
    /* A large array is worth keeping where it is: it is somebody's scratch. */
    const int failed = http_fields_reserve(to, from->count);
    if (failed) return failed;
    http_field **const at = to->at;
    http_pool *const pool = to->pool;
    const uint32_t cap = to->cap;
    if (from->count) memcpy(at, from->at, from->count * sizeof *at);
    *to = *from;
    to->at = at;
    to->pool = pool;
    to->cap = cap;
    forget(from);
    return 0;
}

int http_fields_copy(http_fields *to, const http_fields *from) {
    assert(to->count == 0);
    const int failed = http_fields_reserve(to, from->count);
    if (failed) return failed;
    http_field **const at = to->at;
    http_pool *const pool = to->pool;
    const uint32_t cap = to->cap;
    for (uint32_t i = 0; i < from->count; i++) at[i] = http_field_ref(from->at[i]);
    *to = *from;
    to->at = at;
    to->pool = pool;
    to->cap = cap;
    return 0;
}

http_field *http_fields_search(const http_fields *list, http_name name) {
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

/* What is known of the fields, from the beginning. */
static void recount(http_fields *list) {
    const uint32_t count = list->count;
    forget(list);
    for (uint32_t i = 0; i < count; i++) http_fields_note(list, list->at[i]);
}

static void cut_out(http_fields *list, uint32_t index) {
    http_field_unref(list->at[index]);
    list->count--;
    memmove(&list->at[index], &list->at[index + 1], (list->count - index) * sizeof *list->at);
}

void http_fields_remove_at(http_fields *list, uint32_t index) {
    assert(index < list->count);
    cut_out(list, index);
    recount(list);
}

size_t http_fields_drop(http_fields *list, http_name name) {
    const uint32_t before = list->count;
    for (uint32_t i = before; i--;) {
        if (list->at[i]->id == name) cut_out(list, i);
    }
    if (list->count != before) recount(list);
    return before - list->count;
}

/* The place of the first field of that name, or count. */
static uint32_t place_of(const http_fields *list, http_name name) {
    const unsigned hot = http_hot_places[name];
    uint32_t at = 0;
    if (hot) {
        const uint32_t where = list->where[hot];
        if (!where) return list->count;
        if (where <= HTTP_PLACES_MAX) return where - 1;
    }
    while (at < list->count && list->at[at]->id != name) at++;
    return at;
}

int http_fields_set(http_fields *list, http_field *field) {
    if (!field) return WEFT_ENOMEM;
    assert(field->id != HTTP_NAME_OTHER);
    const uint32_t at = place_of(list, (http_name)field->id);
    if (at == list->count) return http_fields_push(list, field);
    http_field *old = list->at[at];
    list->at[at] = field;
    list->bytes += (size_t)field->cost - old->cost;
    list->marks = (uint16_t)(list->marks | http_field_marks(field));
    http_field_unref(old);
    const unsigned hot = http_hot_places[field->id];
    if (hot && !(list->twice >> hot & 1)) return 0;
    const uint32_t before = list->count;
    for (uint32_t i = before; --i > at;) {
        if (list->at[i]->id == field->id) cut_out(list, i);
    }
    if (list->count != before) recount(list);
    return 0;
}
