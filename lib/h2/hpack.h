/* HPACK, RFC 7541: header lists to and from bytes, one decoder and one encoder a connection.
 *
 * Both dynamic tables hold references to fields (weft/http.h). A field that the decoder took out of its
 * table is the same pointer each time, so an encoder that holds it too finds it by comparing pointers. */
#ifndef LIB_H2_HPACK_H
#define LIB_H2_HPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/http.h"

#define HPACK_TABLE_DEFAULT 4096u /* RFC 9113 section 6.5.2 */
#define HPACK_TABLE_MAX 65536u

/* A dynamic table. Entry number n (they are counted as they come) is ring[n & (cap - 1)] as long as
 * next - n <= count. Invariant: bytes is the cost of the count entries and <= size. */
typedef struct hpack_table {
    http_field **ring; /* NULL until the first entry */
    uint32_t cap;      /* a power of two */
    uint32_t count;
    uint32_t next; /* the number of the entry that comes next */
    uint32_t bytes;
    uint32_t size; /* most bytes now */
} hpack_table;

void hpack_table_free(hpack_table *table);
void hpack_table_resize(hpack_table *table, uint32_t size);

/* Takes a reference. Evicts what must go; a field larger than the table just empties it. Returns 1 when the
 * field is in, 0 when it did not fit, WEFT_ENOMEM. */
int hpack_table_insert(hpack_table *table, http_field *field) WEFT_MUST_USE;

/* ---- decoder */

typedef struct hpack_decoder {
    hpack_table table;
    uint32_t
        limit; /* the most the peer's encoder may use: our SETTINGS_HEADER_TABLE_SIZE, acknowledged */
    bool
        must_shrink; /* the limit fell below the size in use: the next block must begin with an update */
} hpack_decoder;

/* Memory to decode Huffman text in; shared by the decoders of a worker. Zeroed is empty. */
typedef struct hpack_scratch {
    char *data;
    size_t cap;
} hpack_scratch;
void hpack_scratch_free(hpack_scratch *scratch);

void hpack_decoder_init(hpack_decoder *decoder);
void hpack_decoder_free(hpack_decoder *decoder);

/* Our SETTINGS_HEADER_TABLE_SIZE is in force. */
void hpack_decoder_limit(hpack_decoder *decoder, uint32_t limit);

/* What one block may hold; `over` is set when it holds more. */
typedef struct hpack_budget {
    size_t max_bytes; /* as http_fields counts */
    uint32_t max_fields;
    size_t bytes; /* what the block really had, beyond the maximum too */
    uint32_t fields;
    bool over;
} hpack_budget;

/* Puts a block's fields into `list` (empty), as far as the budget goes; past it, decodes on to keep the table
 * right. WEFT_EPARSE: not HPACK (COMPRESSION_ERROR); WEFT_ENOMEM. Both leave the decoder unusable. */
int hpack_decode(hpack_decoder *decoder, hpack_scratch *scratch, const uint8_t *data, size_t len,
                 http_fields *list, hpack_budget *budget) WEFT_MUST_USE;

/* ---- encoder */

#define HPACK_SLOTS 256u

/* Where the encoder finds things; allocated with its first block. Slots hold the low 16 bits of entry numbers
 * and are verified against the entry, so a stale one only misses. */
typedef struct hpack_index {
    uint16_t slots[HPACK_SLOTS];     /* by hash of the field */
    uint16_t seen[HPACK_SLOTS];      /* a part of the hash of what was sent as a literal once */
    uint16_t names[HTTP_NAME_COUNT]; /* the last entry with that name */
} hpack_index;

typedef struct hpack_encoder {
    hpack_table table;
    hpack_index *index;
    uint32_t max;    /* the most we want to use */
    uint32_t lowest; /* the smallest size since the last block, if `resized` */
    bool resized;    /* the next block begins with one or two size updates */
} hpack_encoder;

void hpack_encoder_init(hpack_encoder *encoder, uint32_t max);
void hpack_encoder_free(hpack_encoder *encoder);

/* The peer's SETTINGS_HEADER_TABLE_SIZE. */
void hpack_encoder_limit(hpack_encoder *encoder, uint32_t limit);

/* The most bytes that encoding `list` can take. */
static inline size_t hpack_bound(const http_fields *list) { return list->bytes + 16; }

/* Encodes into out[hpack_bound(list)]; returns the length, or WEFT_ENOMEM (nothing is changed then). */
int64_t hpack_encode(hpack_encoder *encoder, const http_fields *list, uint8_t *out) WEFT_MUST_USE;

#endif
