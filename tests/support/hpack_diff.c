#include "tests/support/hpack_diff.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/h2/hpack.h"
#include "lib/h2/huffman.h"
#include "weft/rng.h"

#define BLOCK_FIELDS 24
#define VALUE_MOST 9000

static char difference[200];

typedef struct text {
    char data[VALUE_MOST + 1];
    size_t len;
} text;

static weft_rng rng;

static uint64_t below(uint64_t n) { return weft_rng_below(&rng, n); }

static void any_text(text *t, size_t most, bool binary) {
    t->len = below(most + 1);
    for (size_t i = 0; i < t->len; i++) {
        t->data[i] = binary ? (char)below(256) : (char)('a' + below(26));
    }
}

/* Names and values as they come in life: mostly a few that repeat, some new ones, a few monsters. */
static void any_field(text *name, text *value, bool *secret) {
    static const char *const names[] = {
        ":method",      ":path",       ":authority",    ":status",     "content-type", "te",
        "grpc-timeout", "traceparent", "x-request-id",  "grpc-status", "cookie",       "x-tenant",
        "user-agent",   "x-region",    "authorization", "grpc-message"};
    const uint64_t kind = below(20);
    *secret = !below(40);
    if (kind < 16) {
        name->len = strlen(names[kind]);
        memcpy(name->data, names[kind], name->len);
    } else {
        any_text(name, 30, false);
        if (!name->len) name->data[name->len++] = 'x';
    }
    switch (below(8)) {
    case 0:
        any_text(value, 60, true);
        break;
    case 1:
        any_text(value, below(100) ? 200 : VALUE_MOST, !below(2));
        break;
    case 2:
        value->len = 0;
        break;
    default:
        value->len = (size_t)snprintf(value->data, 32, "value-%u", (unsigned)below(12));
    }
}

static const char *different(const char *what, size_t at) {
    snprintf(difference, sizeof difference, "%s at field %zu", what, at);
    return difference;
}

/* Compares one of ours with what the other side says. */
static int same(const http_field *f, const uint8_t *name, size_t name_len, const uint8_t *value,
                size_t value_len) {
    return f->name_len == name_len && f->value_len == value_len &&
           !memcmp(f->name, name, name_len) && !memcmp(f->value, value, value_len);
}

static const char *inflate(nghttp2_hd_inflater *theirs, const uint8_t *data, size_t len,
                           const http_fields *list, size_t done) {
    uint32_t at = 0;
    while (len || at < list->count) {
        nghttp2_nv nv;
        int flags = 0;
        const ssize_t n = nghttp2_hd_inflate_hd2(theirs, &nv, &flags, data, len, 1);
        if (n < 0) return different(nghttp2_strerror((int)n), done + at);
        data += n;
        len -= (size_t)n;
        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            if (at == list->count) return different("a field too many", done + at);
            const http_field *f = list->at[at++];
            if (!same(f, nv.name, nv.namelen, nv.value, nv.valuelen))
                return different("another field", done + at);
            if (f->flags & HTTP_FIELD_NEVER && !(nv.flags & NGHTTP2_NV_FLAG_NO_INDEX))
                return different("a secret that may be indexed", done + at);
        }
        if (flags & NGHTTP2_HD_INFLATE_FINAL) break;
    }
    nghttp2_hd_inflate_end_headers(theirs);
    return len || at != list->count ? different("fields missing", done + at) : NULL;
}

const char *hpack_diff_encode(uint64_t seed, size_t fields) {
    static text name, value;
    static uint8_t out[BLOCK_FIELDS * (2 * VALUE_MOST)];
    const char *problem = NULL;
    nghttp2_hd_inflater *theirs = NULL;
    hpack_encoder ours;
    http_fields list;
    weft_rng_seed(&rng, seed);
    huffman_init();
    http_pool *pool = http_pool_new(0, seed);
    hpack_encoder_init(&ours, HPACK_TABLE_MAX);
    nghttp2_hd_inflate_new(&theirs);
    http_fields_init(&list, pool);
    for (size_t done = 0; done < fields && !problem;) {
        if (!below(50)) {
            /* Changes before one block: the smallest and the last must both be told. */
            for (uint64_t n = 1 + below(3); n; n--) {
                const uint32_t size = (uint32_t)below(below(2) ? 300 : 20000);
                nghttp2_hd_inflate_change_table_size(theirs, size);
                hpack_encoder_limit(&ours, size);
            }
        }
        for (uint64_t n = below(BLOCK_FIELDS); n; n--) {
            bool secret = false;
            any_field(&name, &value, &secret);
            http_field *f =
                secret || below(2)
                    ? http_field_new(pool, name.data, name.len, value.data, value.len)
                    : http_field_intern(pool, name.data, name.len, value.data, value.len);
            if (secret && f->pool) f->flags |= HTTP_FIELD_NEVER;
            if (http_fields_push(&list, f)) return "memory";
        }
        const int64_t n = hpack_encode(&ours, &list, out);
        if (n < 0 || (size_t)n > hpack_bound(&list)) return "the bound does not hold";
        problem = inflate(theirs, out, (size_t)n, &list, done);
        done += list.count;
        http_fields_clear(&list);
    }
    nghttp2_hd_inflate_del(theirs);
    hpack_encoder_free(&ours);
    http_pool_free(pool);
    return problem;
}

const char *hpack_diff_decode(uint64_t seed, size_t fields) {
    static text names[BLOCK_FIELDS], values[BLOCK_FIELDS];
    static uint8_t out[BLOCK_FIELDS * (2 * VALUE_MOST)];
    const char *problem = NULL;
    nghttp2_hd_deflater *theirs = NULL;
    hpack_decoder ours;
    hpack_scratch scratch = {0};
    http_fields list;
    weft_rng_seed(&rng, seed);
    huffman_init();
    http_pool *pool = http_pool_new(0, seed);
    hpack_decoder_init(&ours);
    nghttp2_hd_deflate_new(&theirs, HPACK_TABLE_MAX);
    http_fields_init(&list, pool);
    for (size_t done = 0; done < fields && !problem;) {
        nghttp2_nv nvs[BLOCK_FIELDS];
        size_t count = below(BLOCK_FIELDS);
        if (!below(50)) {
            for (uint64_t n = 1 + below(3); n; n--) {
                const uint32_t size = (uint32_t)below(below(2) ? 300 : 20000);
                nghttp2_hd_deflate_change_table_size(theirs, size);
                hpack_decoder_limit(&ours, size);
            }
        }
        for (size_t i = 0; i < count; i++) {
            bool secret = false;
            any_field(&names[i], &values[i], &secret);
            nvs[i] = (nghttp2_nv){(uint8_t *)names[i].data, (uint8_t *)values[i].data, names[i].len,
                                  values[i].len,
                                  secret ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE};
        }
        const ssize_t n = nghttp2_hd_deflate_hd(theirs, out, sizeof out, nvs, count);
        if (n < 0) return "nghttp2 failed";
        /* In memory of its exact size, so that a read too far is seen. */
        uint8_t *exact = malloc((size_t)n + 1);
        memcpy(exact, out, (size_t)n);
        hpack_budget budget = {.max_bytes = SIZE_MAX, .max_fields = UINT32_MAX};
        if (hpack_decode(&ours, &scratch, exact, (size_t)n, &list, &budget))
            problem = different("not decoded", done);
        free(exact);
        if (!problem && list.count != count) problem = different("another number of fields", done);
        for (size_t i = 0; i < count && !problem; i++) {
            if (!same(list.at[i], nvs[i].name, nvs[i].namelen, nvs[i].value, nvs[i].valuelen))
                problem = different("another field", done + i);
        }
        done += count;
        http_fields_clear(&list);
    }
    nghttp2_hd_deflate_del(theirs);
    hpack_decoder_free(&ours);
    hpack_scratch_free(&scratch);
    http_pool_free(pool);
    return problem;
}
