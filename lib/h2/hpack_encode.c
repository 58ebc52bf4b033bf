/* HPACK encoding, RFC 7541 section 6.
 *
 * What goes into the table: a field that is sent for the second time, so that values that come once do not
 * push out those that come always. Names whose values are new in every request (HTTP_NOINDEX) get one entry
 * for the name's sake. Secrets are never-indexed literals.
 *
 * Literals that are not indexed go out as they are: Huffman coding would cost both ends more time than its
 * bytes are worth between machines of one mesh. What is indexed is coded when that is shorter. */
#include <assert.h>
#include <string.h>

#include "lib/h2/hpack.h"
#include "lib/h2/huffman.h"
#include "weft/mem.h"

#define STATIC_COUNT 61u

/* Patterns and prefix lengths of section 6. */
#define INDEXED 0x80, 7
#define LITERAL_INDEXED 0x40, 6
#define LITERAL 0x00, 4
#define LITERAL_NEVER 0x10, 4
#define SIZE_UPDATE 0x20, 5

void hpack_encoder_init(hpack_encoder *encoder, uint32_t max) {
    *encoder = (hpack_encoder){.max = max < HPACK_TABLE_MAX ? max : HPACK_TABLE_MAX};
    encoder->table.size = HPACK_TABLE_DEFAULT;
    if (encoder->max < HPACK_TABLE_DEFAULT) hpack_encoder_limit(encoder, encoder->max);
}

void hpack_encoder_free(hpack_encoder *encoder) {
    hpack_table_free(&encoder->table);
    weft_free(encoder->index);
    encoder->index = NULL;
}

void hpack_encoder_limit(hpack_encoder *encoder, uint32_t limit) {
    const uint32_t size = limit < encoder->max ? limit : encoder->max;
    if (size == encoder->table.size) return;
    if (!encoder->resized || size < encoder->lowest) encoder->lowest = size;
    encoder->resized = true;
    hpack_table_resize(&encoder->table, size);
}

static uint8_t *put_int(uint8_t *out, uint8_t pattern, unsigned prefix, uint32_t value) {
    const uint32_t mask = (1u << prefix) - 1;
    if (value < mask) {
        *out++ = (uint8_t)(pattern | value);
        return out;
    }
    *out++ = (uint8_t)(pattern | mask);
    for (value -= mask; value >= 0x80; value >>= 7) *out++ = (uint8_t)(value | 0x80);
    *out++ = (uint8_t)value;
    return out;
}

static uint8_t *put_plain(uint8_t *out, const char *data, size_t len) {
    out = put_int(out, 0x00, 7, (uint32_t)len);
    memcpy(out, data, len);
    return out + len;
}

static uint8_t *put_coded(uint8_t *out, const char *data, size_t len) {
    const size_t size = huffman_size(data, len);
    if (size >= len) return put_plain(out, data, len);
    out = put_int(out, 0x80, 7, (uint32_t)size);
    huffman_encode(data, len, out);
    return out + size;
}

/* The entry with these low 16 bits, if it is still there; *distance: 1 is the newest. */
static http_field *entry(const hpack_table *table, uint16_t low, uint32_t *distance) {
    const uint32_t back = (uint16_t)((uint16_t)table->next - low);
    if (!back || back > table->count) return NULL;
    *distance = back;
    return table->ring[(table->next - back) & (table->cap - 1)];
}

/* The index of the field's name, or 0. */
static uint32_t name_index(const hpack_encoder *encoder, const http_field *f) {
    if (!f->id) return 0;
    if (f->id <= HTTP_NAME_WWW_AUTHENTICATE) {
        static const uint8_t pseudo[6] = {0, 1, 2, 4, 6, 8};
        return f->id <= HTTP_NAME_STATUS ? pseudo[f->id] : f->id + 9u;
    }
    uint32_t back = 0;
    const http_field *e = entry(&encoder->table, encoder->index->names[f->id], &back);
    return e && e->id == f->id ? STATIC_COUNT + back : 0;
}

static uint8_t *put_literal(const http_field *f, uint32_t name, uint8_t pattern, unsigned prefix,
                            bool coded, uint8_t *out) {
    out = put_int(out, pattern, prefix, name);
    if (!coded) {
        if (!name) out = put_plain(out, f->name, f->name_len);
        return put_plain(out, f->value, f->value_len);
    }
    if (!name) out = put_coded(out, f->name, f->name_len);
    return put_coded(out, f->value, f->value_len);
}

/* Fields of one hash live in WAYS slots, so that two that come with every request and share a slot do not
 * push each other out for ever. */
#define WAYS 4u

static uint16_t *slot_of(const hpack_encoder *encoder, uint32_t hash, uint32_t way) {
    return &encoder->index->slots[(hash + way) % HPACK_SLOTS];
}

/* The distance of the entry that equals `f`, or 0. */
static uint32_t index_find(const hpack_encoder *encoder, const http_field *f, uint32_t hash) {
    for (uint32_t way = 0; way < WAYS; way++) {
        uint32_t back = 0;
        const http_field *e = entry(&encoder->table, *slot_of(encoder, hash, way), &back);
        if (e == f || (e && e->hash == hash && http_field_equal(e, f))) return back;
    }
    return 0;
}

static void index_add(hpack_encoder *encoder, uint32_t hash, uint16_t number) {
    uint16_t *slot = slot_of(encoder, hash, 0);
    for (uint32_t way = 0; way < WAYS; way++) {
        uint32_t back = 0;
        uint16_t *at = slot_of(encoder, hash, way);
        if (entry(&encoder->table, *at, &back)) continue;
        slot = at;
        break;
    }
    *slot = number;
}

/* Sends a literal that enters the table. When memory is out it is sent without entering. */
static uint8_t *put_new_entry(hpack_encoder *encoder, http_field *f, uint32_t hash, uint8_t *out) {
    /* The name's index counts before anything is evicted (section 4.4), so the literal is written first. */
    uint8_t *begin = out;
    out = put_literal(f, name_index(encoder, f), LITERAL_INDEXED, hash != 0, out);
    const uint16_t number = (uint16_t)encoder->table.next;
    if (hpack_table_insert(&encoder->table, f) < 0) {
        hpack_table_resize(&encoder->table, encoder->table.size);
        return put_literal(f, name_index(encoder, f), LITERAL, false, begin);
    }
    if (hash) index_add(encoder, hash, number);
    if (f->id) encoder->index->names[f->id] = number;
    return out;
}

static uint8_t *put_field(hpack_encoder *encoder, http_field *f, uint8_t *out) {
    const bool fits = f->cost <= encoder->table.size / 2;
    if ((f->kind & HTTP_SECRET) || (f->flags & HTTP_FIELD_NEVER))
        return put_literal(f, name_index(encoder, f), LITERAL_NEVER, false, out);
    if (f->kind & HTTP_NOINDEX) {
        const uint32_t name = name_index(encoder, f);
        if (fits && !name) return put_new_entry(encoder, f, 0, out);
        return put_literal(f, name, LITERAL, false, out);
    }
    const uint32_t hash = http_field_hash(f);
    const uint32_t back = index_find(encoder, f, hash);
    if (back) return put_int(out, INDEXED, STATIC_COUNT + back);
    uint16_t *seen = &encoder->index->seen[hash >> 8 & (HPACK_SLOTS - 1)];
    const uint16_t tag = (uint16_t)(hash >> 16 | 1);
    if (fits && *seen == tag) return put_new_entry(encoder, f, hash, out);
    *seen = tag;
    return put_literal(f, name_index(encoder, f), LITERAL, false, out);
}

/* A literal that stays out of the table, of a name with a number and a short value. */
static inline uint8_t *put_short(const http_field *f, uint32_t name, uint8_t *out) {
    if (name < 15) {
        *out++ = (uint8_t)name;
    } else {
        *out++ = 15;
        *out++ = (uint8_t)(name - 15);
    }
    *out++ = (uint8_t)f->value_len;
    weft_copy(out, f->value, f->value_len);
    return out + f->value_len;
}

/* What lists mostly consist of, from field `i` on; returns where it stopped. All it works with is kept in
 * registers: the compiler cannot know that the bytes written are not the table's. */
static uint32_t put_usual(const hpack_encoder *encoder, const http_fields *list, uint32_t i,
                          uint8_t **end) {
    http_field *const *const ring = encoder->table.ring;
    const uint32_t mask = encoder->table.cap - 1;
    const uint32_t next = encoder->table.next;
    const uint32_t held = encoder->table.count;
    const uint16_t *const slots = encoder->index->slots;
    const uint16_t *const names = encoder->index->names;
    const unsigned kinds = HTTP_MARKS(HTTP_FIELD_NEVER, HTTP_NOINDEX | HTTP_SECRET);
    const unsigned noindex = HTTP_MARKS(0, HTTP_NOINDEX);
    http_field *const *const at = list->at;
    const uint32_t count = list->count;
    uint8_t *out = *end;
    for (; i < count; i++) {
        const http_field *f = at[i];
        if (f->static_index) {
            *out++ = (uint8_t)(0x80 | f->static_index);
        } else if ((http_field_marks(f) & kinds) == noindex) {
            /* As name_index, for entries whose index has two bytes at most. */
            const uint32_t back = (uint16_t)(next - names[f->id]);
            if (f->id <= HTTP_NAME_WWW_AUTHENTICATE || f->value_len >= 0x7f || back - 1 >= held ||
                back > 80 || ring[(next - back) & mask]->id != f->id)
                break;
            out = put_short(f, STATIC_COUNT + back, out);
        } else {
            /* What comes with every request; the second way is for two such that share a slot. */
            uint32_t back = (uint16_t)(next - slots[f->hash % HPACK_SLOTS]);
            if (back - 1 >= held || ring[(next - back) & mask] != f) {
                back = (uint16_t)(next - slots[(f->hash + 1) % HPACK_SLOTS]);
                if (back - 1 >= held || ring[(next - back) & mask] != f) break;
            }
            if (back >= 127 - STATIC_COUNT) break;
            *out++ = (uint8_t)(0x80 | (STATIC_COUNT + back));
        }
    }
    *end = out;
    return i;
}

int64_t hpack_encode(hpack_encoder *encoder, const http_fields *list, uint8_t *out) {
    uint8_t *begin = out;
    if (!encoder->index) {
        encoder->index = weft_calloc(1, sizeof *encoder->index);
        if (!encoder->index) return WEFT_ENOMEM;
    }
    if (encoder->resized) {
        if (encoder->lowest < encoder->table.size) out = put_int(out, SIZE_UPDATE, encoder->lowest);
        out = put_int(out, SIZE_UPDATE, encoder->table.size);
        encoder->resized = false;
    }
    for (uint32_t i = 0;; i++) {
        i = put_usual(encoder, list, i, &out);
        if (i == list->count) break;
        out = put_field(encoder, list->at[i], out);
    }
    return out - begin;
}
