/* Strict UTF-8. ASCII runs go 32 and 8 bytes at a time; the rest follows table 3-7 of Unicode 3.9, where
 * only the second byte's range depends on the first. */
#include "weft/utf8.h"

#include <string.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)

static inline uint64_t load(const unsigned char *p) {
    uint64_t word = 0;
    memcpy(&word, p, sizeof word);
    return word;
}

static inline int is_tail(unsigned char c) { return (c & 0xC0) == 0x80; }

/* Length of the well-formed multi-byte character at p (p < end, *p >= 0x80), or 0. */
static inline size_t multi_len(const unsigned char *p, const unsigned char *end) {
    const unsigned char c = p[0];
    const size_t left = (size_t)(end - p);
    if (c < 0xE0) return c >= 0xC2 && left >= 2 && is_tail(p[1]) ? 2 : 0;
    if (c < 0xF0) {
        if (left < 3 || !is_tail(p[1]) || !is_tail(p[2])) return 0;
        if (c == 0xE0 && p[1] < 0xA0) return 0; /* overlong */
        if (c == 0xED && p[1] > 0x9F) return 0; /* surrogate */
        return 3;
    }
    if (c > 0xF4 || left < 4 || !is_tail(p[1]) || !is_tail(p[2]) || !is_tail(p[3])) return 0;
    if (c == 0xF0 && p[1] < 0x90) return 0; /* overlong */
    if (c == 0xF4 && p[1] > 0x8F) return 0; /* above U+10FFFF */
    return 4;
}

static const unsigned char *skip_ascii(const unsigned char *p, const unsigned char *end) {
    while (end - p >= 32) {
        if ((load(p) | load(p + 8) | load(p + 16) | load(p + 24)) & HIGH_BITS) break;
        p += 32;
    }
    while (end - p >= 8 && !(load(p) & HIGH_BITS)) p += 8;
    while (p < end && *p < 0x80) p++;
    return p;
}

size_t weft_utf8_prefix(const void *data, size_t size) {
    if (!size) return 0;
    const unsigned char *const start = data;
    const unsigned char *const end = start + size;
    const unsigned char *p = start;
    for (;;) {
        p = skip_ascii(p, end);
        /* Stay here while text is dense in multi-byte characters: no word loads to be thrown away. */
        while (p < end && *p >= 0x80) {
            size_t len = multi_len(p, end);
            if (!len) return (size_t)(p - start);
            p += len;
        }
        if (p == end) return size;
    }
}

int weft_utf8_valid(const void *data, size_t size) { return weft_utf8_prefix(data, size) == size; }

int weft_utf8_decode(const void *data, size_t size, uint32_t *point) {
    const unsigned char *p = data;
    const unsigned char c = p[0];
    if (c < 0x80) {
        *point = c;
        return 1;
    }
    const size_t len = multi_len(p, p + size);
    if (len == 2) {
        *point = (uint32_t)(c & 0x1F) << 6 | (p[1] & 0x3Fu);
        return 2;
    }
    if (len == 3) {
        *point = (uint32_t)(c & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3Fu);
        return 3;
    }
    if (len == 4) {
        *point = (uint32_t)(c & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 |
                 (uint32_t)(p[2] & 0x3F) << 6 | (p[3] & 0x3Fu);
        return 4;
    }
    *point = 0xFFFD;
    /* How far a well-formed character could still have gone: the maximal subpart. */
    if (c < 0xC2 || c > 0xF4 || size < 2) return -1;
    const unsigned char low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < low || p[1] > high || c < 0xE0) return -1;
    if (c < 0xF0 || size < 3 || !is_tail(p[2])) return -2;
    return -3;
}

size_t weft_utf8_encode(uint32_t point, char out[4]) {
    if (point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) point = 0xFFFD;
    unsigned char bytes[4];
    size_t len = 0;
    if (point < 0x80) {
        bytes[len++] = (unsigned char)point;
    } else if (point < 0x800) {
        bytes[len++] = (unsigned char)(0xC0 | point >> 6);
        bytes[len++] = (unsigned char)(0x80 | (point & 0x3F));
    } else if (point < 0x10000) {
        bytes[len++] = (unsigned char)(0xE0 | point >> 12);
        bytes[len++] = (unsigned char)(0x80 | (point >> 6 & 0x3F));
        bytes[len++] = (unsigned char)(0x80 | (point & 0x3F));
    } else {
        bytes[len++] = (unsigned char)(0xF0 | point >> 18);
        bytes[len++] = (unsigned char)(0x80 | (point >> 12 & 0x3F));
        bytes[len++] = (unsigned char)(0x80 | (point >> 6 & 0x3F));
        bytes[len++] = (unsigned char)(0x80 | (point & 0x3F));
    }
    memcpy(out, bytes, len);
    return len;
}
