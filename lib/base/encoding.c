/* Hex and base64. */
#include "weft/encoding.h"

#include <string.h>

static int hex_value(unsigned char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

size_t weft_hex_encode(const void *data, size_t size, char *out) {
    static const char digits[] = "0123456789abcdef";
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * size] = '\0';
    return 2 * size;
}

int weft_hex_decode(const char *text, size_t size, void *out, size_t cap, size_t *written) {
    unsigned char *bytes = out;
    if (size % 2) return WEFT_EPARSE;
    for (size_t i = 0; i < size / 2; i++) {
        const int high = hex_value((unsigned char)text[2 * i]);
        const int low = hex_value((unsigned char)text[2 * i + 1]);
        if (high < 0 || low < 0) return WEFT_EPARSE;
        if (i >= cap) return WEFT_ELIMIT;
        bytes[i] = (unsigned char)(high << 4 | low);
    }
    *written = size / 2;
    return 0;
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

size_t weft_base64_encode(weft_base64 kind, const void *data, size_t size, char *out) {
    char digits[64];
    memcpy(digits, alphabet, 62);
    memcpy(digits + 62, kind & WEFT_BASE64_URL ? "-_" : "+/", 2);
    const unsigned char *at = data;
    char *to = out;
    for (; size >= 3; at += 3, size -= 3) {
        const unsigned bits = (unsigned)at[0] << 16 | (unsigned)at[1] << 8 | at[2];
        *to++ = digits[bits >> 18];
        *to++ = digits[bits >> 12 & 63];
        *to++ = digits[bits >> 6 & 63];
        *to++ = digits[bits & 63];
    }
    if (size) {
        const unsigned bits = (unsigned)at[0] << 16 | (size > 1 ? (unsigned)at[1] << 8 : 0);
        *to++ = digits[bits >> 18];
        *to++ = digits[bits >> 12 & 63];
        if (size > 1) *to++ = digits[bits >> 6 & 63];
        for (size_t i = size; i < 3 && kind & WEFT_BASE64_PAD; i++) *to++ = '=';
    }
    *to = '\0';
    return (size_t)(to - out);
}

/* The value of a character in the accepted alphabets, or 64. */
static unsigned base64_value(weft_base64 accept, unsigned char c) {
    if (c >= 'A' && c <= 'Z') return (unsigned)(c - 'A');
    if (c >= 'a' && c <= 'z') return (unsigned)(c - 'a') + 26;
    if (c >= '0' && c <= '9') return (unsigned)(c - '0') + 52;
    if ((c == '+' || c == '/') && accept & WEFT_BASE64_STD) return c == '+' ? 62 : 63;
    if ((c == '-' || c == '_') && accept & WEFT_BASE64_URL) return c == '-' ? 62 : 63;
    return 64;
}

/* Takes the padding off *size; WEFT_EPARSE when it is not as accepted. */
static int strip_padding(weft_base64 accept, const char *text, size_t *size) {
    size_t pads = 0;
    while (pads < 2 && pads < *size && text[*size - 1 - pads] == '=') pads++;
    if (pads && (!(accept & WEFT_BASE64_PAD) || *size % 4)) return WEFT_EPARSE;
    if (!pads && *size % 4 && !(accept & WEFT_BASE64_NOPAD)) return WEFT_EPARSE;
    *size -= pads;
    return *size % 4 == 1 ? WEFT_EPARSE : 0;
}

int weft_base64_decode(weft_base64 accept, const char *text, size_t size, void *out, size_t cap,
                       size_t *written) {
    unsigned char *bytes = out;
    size_t at = 0;
    unsigned bits = 0;
    unsigned have = 0; /* bits not yet written, the low ones of `bits` */
    if (strip_padding(accept, text, &size)) return WEFT_EPARSE;
    for (size_t i = 0; i < size; i++) {
        const unsigned value = base64_value(accept, (unsigned char)text[i]);
        if (value > 63) return WEFT_EPARSE;
        bits = (bits << 6 | value) & 0xFFFF;
        have += 6;
        if (have < 8) continue;
        have -= 8;
        if (at >= cap) return WEFT_ELIMIT;
        bytes[at++] = (unsigned char)(bits >> have);
    }
    if (bits & ((1u << have) - 1)) return WEFT_EPARSE; /* two texts for the same bytes */
    *written = at;
    return 0;
}
