/* Header blocks: decoded twice must be equal, and what was decoded must survive our encoder. Blocks are
 * separated by a byte of length. */
#include <stdlib.h>
#include <string.h>

#include "lib/h2/hpack.h"
#include "lib/h2/huffman.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct side {
    hpack_decoder decoder;
    http_fields list;
    hpack_budget budget;
} side;

static hpack_scratch scratch;

static int decode(side *s, http_pool *pool, const uint8_t *data, size_t len) {
    http_fields_init(&s->list, pool);
    s->budget = (hpack_budget){.max_bytes = 20000, .max_fields = 50};
    return hpack_decode(&s->decoder, &scratch, data, len, &s->list, &s->budget);
}

static void same(const http_fields *a, const http_fields *b) {
    if (a->count != b->count || a->bytes != b->bytes) abort();
    for (uint32_t i = 0; i < a->count; i++) {
        if (!http_field_equal(a->at[i], b->at[i])) abort();
        if ((a->at[i]->flags ^ b->at[i]->flags) & HTTP_FIELD_BAD) abort();
    }
}

/* The list through our encoder and another decoder. */
static void round_trip(http_pool *pool, hpack_encoder *encoder, side *reader,
                       const http_fields *list) {
    uint8_t *out = malloc(hpack_bound(list));
    const int64_t n = hpack_encode(encoder, list, out);
    if (n < 0 || (size_t)n > hpack_bound(list)) abort();
    if (decode(reader, pool, out, (size_t)n)) abort();
    same(list, &reader->list);
    http_fields_clear(&reader->list);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    side one, two, three;
    hpack_encoder encoder;
    huffman_init();
    http_pool *pool = http_pool_new(0, 1);
    hpack_decoder_init(&one.decoder);
    hpack_decoder_init(&two.decoder);
    hpack_decoder_init(&three.decoder);
    hpack_encoder_init(&encoder, HPACK_TABLE_DEFAULT);
    while (size > 1) {
        size_t len = data[0];
        if (len > size - 1) len = size - 1;
        if (len == 7) { /* a change of size on both ends */
            hpack_encoder_limit(&encoder, data[1] * 40u);
            hpack_decoder_limit(&three.decoder, data[1] * 40u);
        }
        uint8_t *exact = malloc(len ? len : 1);
        memcpy(exact, data + 1, len);
        const int failed = decode(&one, pool, exact, len);
        if (decode(&two, pool, exact, len) != failed) abort();
        free(exact);
        if (!failed) {
            same(&one.list, &two.list);
            round_trip(pool, &encoder, &three, &one.list);
        }
        http_fields_clear(&one.list);
        http_fields_clear(&two.list);
        if (failed) break;
        data += 1 + len;
        size -= 1 + len;
    }
    hpack_decoder_free(&one.decoder);
    hpack_decoder_free(&two.decoder);
    hpack_decoder_free(&three.decoder);
    hpack_encoder_free(&encoder);
    if (http_pool_get_stats(pool).fields) abort();
    http_pool_free(pool);
    hpack_scratch_free(&scratch);
    return 0;
}
