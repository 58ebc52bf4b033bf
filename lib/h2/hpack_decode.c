/* HPACK decoding, RFC 7541 section 6. */
#include <string.h>

#include "lib/h2/hpack.h"
#include "lib/h2/huffman.h"
#include "weft/mem.h"

#define STATIC_COUNT 61u

/* The block being read. */
typedef struct reader {
    const uint8_t *at;
    const uint8_t *end;
    hpack_scratch *scratch;
} reader;

typedef struct text {
    const char *data;
    size_t len;
} text;

void hpack_decoder_init(hpack_decoder *decoder) {
    *decoder = (hpack_decoder){.limit = HPACK_TABLE_DEFAULT};
    decoder->table.size = HPACK_TABLE_DEFAULT;
}

void hpack_decoder_free(hpack_decoder *decoder) { hpack_table_free(&decoder->table); }

void hpack_decoder_limit(hpack_decoder *decoder, uint32_t limit) {
    decoder->limit = limit;
    decoder->must_shrink = decoder->table.size > limit;
}

void hpack_scratch_free(hpack_scratch *scratch) {
    weft_free(scratch->data);
    *scratch = (hpack_scratch){0};
}

/* Section 5.1; `prefix` bits of the byte at r->at. Values above 2^28 are nobody's. */
static int read_long_int(reader *r, uint32_t n, uint32_t *value) {
    for (unsigned shift = 0; r->at < r->end && shift <= 28; shift += 7) {
        const uint32_t byte = *r->at++;
        if (shift == 28 && byte > 7) return WEFT_EPARSE;
        n += (byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *value = n;
            return n < 1u << 30 ? 0 : WEFT_EPARSE;
        }
    }
    return WEFT_EPARSE;
}

static inline int read_int(reader *r, unsigned prefix, uint32_t *value) {
    const uint32_t mask = (1u << prefix) - 1;
    const uint32_t n = *r->at++ & mask;
    *value = n;
    return n < mask ? 0 : read_long_int(r, n, value);
}

/* Section 5.2. `skip` keeps a name apart from the value that follows it in the scratch memory. */
static int read_text(reader *r, text *out, size_t skip) {
    if (r->at == r->end) return WEFT_EPARSE;
    const bool huffman = *r->at & 0x80;
    uint32_t len = 0;
    const int failed = read_int(r, 7, &len);
    if (failed) return failed;
    if (len > (size_t)(r->end - r->at)) return WEFT_EPARSE;
    const uint8_t *data = r->at;
    r->at += len;
    if (!huffman) {
        *out = (text){(const char *)data, len};
        return 0;
    }
    hpack_scratch *scratch = r->scratch;
    const size_t need = skip + HUFFMAN_DECODED_MAX(len);
    if (need > scratch->cap) {
        char *more = weft_realloc(scratch->data, need < 1024 ? 1024 : need * 2);
        if (!more) return WEFT_ENOMEM;
        scratch->data = more;
        scratch->cap = need < 1024 ? 1024 : need * 2;
    }
    const long n = huffman_decode(data, len, scratch->data + skip);
    if (n < 0) return WEFT_EPARSE;
    *out = (text){scratch->data + skip, (size_t)n};
    return 0;
}

static inline http_field *lookup(const hpack_decoder *decoder, uint32_t index) {
    if (index <= STATIC_COUNT) return http_static_field(index);
    const hpack_table *t = &decoder->table;
    index -= STATIC_COUNT + 1;
    return index < t->count ? t->ring[(t->next - 1 - index) & (t->cap - 1)] : NULL;
}

/* A literal with a new name. Both parts may be in the scratch memory, which may move in between. */
static int read_new_name(reader *r, http_pool *pool, bool intern, http_field **out) {
    text name, value;
    int failed = read_text(r, &name, 0);
    if (failed) return failed;
    const bool in_scratch = name.data == r->scratch->data;
    failed = read_text(r, &value, in_scratch ? name.len : 0);
    if (failed) return failed;
    if (in_scratch) name.data = r->scratch->data;
    if (name.len > UINT16_MAX) return WEFT_EPARSE;
    *out = intern ? http_field_intern(pool, name.data, name.len, value.data, value.len)
                  : http_field_new(pool, name.data, name.len, value.data, value.len);
    return *out ? 0 : WEFT_ENOMEM;
}

/* Section 6.2, after the pattern: a field with a reference for the caller. */
static int read_literal(hpack_decoder *decoder, reader *r, unsigned prefix, http_pool *pool,
                        bool intern, http_field **out) {
    uint32_t index = 0;
    int failed = read_int(r, prefix, &index);
    if (failed) return failed;
    if (!index) return read_new_name(r, pool, intern, out);
    const http_field *named = lookup(decoder, index);
    if (!named) return WEFT_EPARSE;
    text value;
    failed = read_text(r, &value, 0);
    if (failed) return failed;
    *out = http_field_make(pool, (http_name)named->id, named->name, named->name_len, value.data,
                           value.len, intern);
    if (!*out) return WEFT_ENOMEM;
    if (!named->id) {
        /* What was found out about the name when it came first. */
        if (named->flags & HTTP_FIELD_BAD_NAME)
            (*out)->flags |= HTTP_FIELD_BAD | HTTP_FIELD_BAD_NAME;
        (*out)->kind = named->kind;
    }
    return 0;
}

static int read_size_update(hpack_decoder *decoder, reader *r) {
    uint32_t size = 0;
    const int failed = read_int(r, 5, &size);
    if (failed) return failed;
    if (size > decoder->limit) return WEFT_EPARSE;
    hpack_table_resize(&decoder->table, size);
    decoder->must_shrink = false;
    return 0;
}

/* The list is full as far as the budget goes; only counts from now on. */
static int deliver_over(http_fields *list, hpack_budget *budget, http_field *field) {
    if (!budget->over) {
        budget->over = true;
        budget->bytes = list->bytes;
        budget->fields = list->count;
    }
    budget->fields++;
    budget->bytes += field->cost;
    http_field_unref(field);
    return 0;
}

/* Takes over the caller's reference. */
static inline int deliver(http_fields *list, hpack_budget *budget, http_field *field) {
    if (__builtin_expect(list->count >= budget->max_fields ||
                             list->bytes + field->cost > budget->max_bytes || budget->over,
                         0))
        return deliver_over(list, budget, field);
    if (__builtin_expect(list->count == list->cap, 0)) return http_fields_push(list, field);
    list->at[list->count] = field;
    http_fields_note(list, field);
    return 0;
}

/* One representation that is not indexed. */
static int read_other(hpack_decoder *decoder, reader *r, http_fields *list, hpack_budget *budget) {
    const uint8_t byte = *r->at;
    http_field *field = NULL;
    if (byte & 0x40) {
        int failed = read_literal(decoder, r, 6, list->pool, true, &field);
        if (failed) return failed;
        failed = hpack_table_insert(&decoder->table, field);
        if (failed < 0) {
            http_field_unref(field);
            return failed;
        }
    } else {
        const int failed = read_literal(decoder, r, 4, list->pool, false, &field);
        if (failed) return failed;
        if (byte & 0x10 && field->pool) field->flags |= HTTP_FIELD_NEVER;
    }
    return deliver(list, budget, field);
}

/* Any one representation. */
static int read_field(hpack_decoder *decoder, reader *r, http_fields *list, hpack_budget *budget) {
    const uint8_t byte = *r->at;
    if ((byte & 0xe0) == 0x20) return WEFT_EPARSE;
    if (!(byte & 0x80)) return read_other(decoder, r, list, budget);
    uint32_t index = 0;
    const int failed = read_int(r, 7, &index);
    http_field *field = failed ? NULL : lookup(decoder, index);
    return field ? deliver(list, budget, http_field_ref(field)) : WEFT_EPARSE;
}

/* A literal at `at` that stays out of the table, with the name of an entry and a short plain value: what is
 * new in each request. NULL, and *next is not set: it is something else. */
static inline http_field *read_short(const hpack_decoder *decoder, const uint8_t *at,
                                     const uint8_t *end, http_pool *pool, const uint8_t **next) {
    if (*at & 0xe0 || end - at < 3) return NULL;
    const bool never = *at & 0x10;
    uint32_t index = *at++ & 15u;
    if (index == 15) {
        index += *at;
        if (*at++ & 0x80) return NULL;
    }
    const size_t len = *at++;
    if (!index || len >= 0x7f || len > (size_t)(end - at)) return NULL;
    const http_field *named = lookup(decoder, index);
    if (!named || !named->id || named->id == HTTP_NAME_TE) return NULL;
    http_field *field = http_field_literal(pool, (http_name)named->id, (const char *)at, len);
    if (!field) return NULL;
    if (never) field->flags |= HTTP_FIELD_NEVER;
    *next = at + len;
    return field;
}

/* What blocks mostly consist of, as far as it goes. All it works with is kept in registers: the compiler
 * cannot know that the list's bytes are not the table's. */
static void read_usual(const hpack_decoder *decoder, reader *r, http_fields *list,
                       const hpack_budget *budget) {
    http_field *const *const ring = decoder->table.ring;
    const uint32_t mask = decoder->table.cap - 1;
    const uint32_t held = decoder->table.count;
    const uint32_t newest =
        decoder->table.next + STATIC_COUNT; /* minus the index: a place in the ring */
    const size_t max_bytes = budget->max_bytes;
    uint32_t most = list->cap < budget->max_fields ? list->cap : budget->max_fields;
    if (most > HTTP_PLACES_MAX) most = HTTP_PLACES_MAX;
    http_field **const to = list->at;
    uint8_t *const where = list->where;
    const uint8_t *at = r->at;
    const uint8_t *const end = r->end;
    uint32_t count = list->count;
    size_t bytes = list->bytes;
    unsigned marks = list->marks, twice = list->twice;
    while (at < end && count < most) {
        const uint32_t index = *at - 0x80u;
        const uint8_t *next = at + 1;
        http_field *field;
        if (index - 1 < STATIC_COUNT) {
            field = &http_static_table[index];
            if (bytes + field->cost > max_bytes) break;
        } else if (index < 0x7f) {
            if (index - (STATIC_COUNT + 1) >= held) break;
            field = ring[(newest - index) & mask];
            if (bytes + field->cost > max_bytes) break;
            (void)http_field_ref(field);
        } else {
            field = read_short(decoder, at, end, list->pool, &next);
            if (!field) break;
            if (__builtin_expect(bytes + field->cost > max_bytes, 0)) {
                http_field_unref(field);
                break;
            }
        }
        at = next;
        to[count++] = field;
        bytes += field->cost;
        marks |= http_field_marks(field);
        twice |= http_fields_place(where, field, count);
    }
    r->at = at;
    list->count = count;
    list->bytes = bytes;
    list->marks = (uint16_t)marks;
    list->twice = (uint16_t)twice;
}

/* The rest of a block, representation by representation. */
static int read_rest(hpack_decoder *decoder, reader *r, const uint8_t *begin, http_fields *list,
                     hpack_budget *budget) {
    int failed = 0;
    /* Updates may only come first (section 4.2), two of them at most make sense, more do no harm. */
    while (r->at == begin && r->at < r->end && (*r->at & 0xe0) == 0x20) {
        failed = read_size_update(decoder, r);
        if (failed) return failed;
        begin = r->at;
    }
    if (decoder->must_shrink) return WEFT_EPARSE;
    while (r->at < r->end) {
        failed = read_field(decoder, r, list, budget);
        if (__builtin_expect(failed, 0)) return failed;
        if (!budget->over) read_usual(decoder, r, list, budget);
    }
    return 0;
}

int hpack_decode(hpack_decoder *decoder, hpack_scratch *scratch, const uint8_t *data, size_t len,
                 http_fields *list, hpack_budget *budget) {
    reader r = {data, data + len, scratch};
    if (!decoder->must_shrink) read_usual(decoder, &r, list, budget);
    if (r.at < r.end || decoder->must_shrink) {
        const int failed = read_rest(decoder, &r, data, list, budget);
        if (failed) return failed;
    }
    if (!budget->over) {
        budget->bytes = list->bytes;
        budget->fields = list->count;
    }
    return 0;
}
