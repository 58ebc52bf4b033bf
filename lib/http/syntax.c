/* Syntax of field names and values: RFC 9110 sections 5.1, 5.5 and 5.6.2, RFC 9113 section 8.2.1. */
#include <string.h>

#include "lib/http/names.h"
#include "weft/mem.h"

/* tchar without upper case, a bit each. */
static int is_name_char(unsigned char c) {
    static const uint64_t set[4] = {
        /* ! # $ % & ' * + - . 0-9 */
        (UINT64_C(1) << '!') | (UINT64_C(1) << '#') | (UINT64_C(1) << '$') | (UINT64_C(1) << '%') |
            (UINT64_C(1) << '&') | (UINT64_C(1) << '\'') | (UINT64_C(1) << '*') |
            (UINT64_C(1) << '+') | (UINT64_C(1) << '-') | (UINT64_C(1) << '.') |
            (UINT64_C(0x3ff) << '0'),
        /* ^ _ ` a-z | ~ */
        (UINT64_C(1) << ('^' - 64)) | (UINT64_C(1) << ('_' - 64)) | (UINT64_C(1) << ('`' - 64)) |
            (UINT64_C(0x3ffffff) << ('a' - 64)) | (UINT64_C(1) << ('|' - 64)) |
            (UINT64_C(1) << ('~' - 64)),
        0, 0};
    return set[c >> 6] >> (c & 63) & 1;
}

int http_name_ok(const char *name, size_t len) {
    size_t i = len && name[0] == ':';
    if (i == len) return 0;
    for (; i < len; i++) {
        if (!is_name_char((unsigned char)name[i])) return 0;
    }
    return 1;
}

/* 16 bytes at once; compilers turn this into the vector instructions there are. */
typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef uint64_t words2 __attribute__((vector_size(16)));

static bytes16 load16(const char *at) {
    bytes16 v;
    memcpy(&v, at, sizeof v);
    return v;
}

/* All ones in each byte that is below 0x20 (tab too) or 0x7f. Bytes with the high bit are obs-text: fine. */
static bytes16 controls(bytes16 v) { return (bytes16)(v < 0x20) | (bytes16)(v == 0x7f); }

/* The same for 8 bytes in a word; not 0 when there is one. */
#define ONES UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)
static uint64_t controls8(const char *at) {
    uint64_t x;
    memcpy(&x, at, sizeof x);
    const uint64_t del = x ^ (ONES * 0x7f);
    return (((x - ONES * 0x20) & ~x) | ((del - ONES) & ~del)) & HIGHS;
}

/* Likewise for 4 to 7 bytes, as the low and the high half of a word. */
static uint64_t controls4(const char *at, size_t len) {
    char both[8];
    memcpy(both, at, 4);
    memcpy(both + 4, at + len - 4, 4);
    return controls8(both);
}

static int is_blank(char c) { return c == ' ' || c == '\t'; }

static int slow_ok(const char *value, size_t len) {
    if (is_blank(value[0]) || is_blank(value[len - 1])) return 0;
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)value[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return 0;
    }
    return 1;
}

int http_value_ok(const char *value, size_t len) {
    if (!len) return 1;
    if (len < 4) return slow_ok(value, len);
    /* A tab is taken for a control character first; slow_ok knows better. */
    if (value[0] == ' ' || value[len - 1] == ' ') return 0;
    if (len < 8) return !controls4(value, len) || slow_ok(value, len);
    if (len < 16) return !(controls8(value) | controls8(value + len - 8)) || slow_ok(value, len);
    bytes16 found = controls(load16(value + len - 16)); /* overlaps the last step */
    for (size_t i = 0; i + 16 < len; i += 16) found |= controls(load16(value + i));
    const words2 words = (words2)found;
    return !(words[0] | words[1]) || slow_ok(value, len);
}

int http_value_copy(char *to, const char *value, size_t len) {
    if (len < 16 || len > 64) {
        weft_copy(to, value, len);
        return http_value_ok(value, len);
    }
    /* From both ends, overlapping in the middle: no loop. */
    const bytes16 first = load16(value), last = load16(value + len - 16);
    bytes16 found = controls(first) | controls(last);
    memcpy(to, &first, sizeof first);
    memcpy(to + len - 16, &last, sizeof last);
    if (len > 32) {
        const bytes16 second = load16(value + 16), third = load16(value + len - 32);
        found |= controls(second) | controls(third);
        memcpy(to + 16, &second, sizeof second);
        memcpy(to + len - 32, &third, sizeof third);
    }
    const words2 words = (words2)found;
    if (value[0] == ' ' || value[len - 1] == ' ') return 0;
    return !(words[0] | words[1]) || slow_ok(value, len);
}
