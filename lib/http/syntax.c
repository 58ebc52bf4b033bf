/* Syntax of field names and values: RFC 9110 sections 5.1, 5.5 and 5.6.2, RFC 9113 section 8.2.1. */
#include <string.h>

#include "lib/http/names.h"

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

#define ONES UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

/* Not 0 when a byte of `x` is below 0x20 or is 0x7f. Bytes with the high bit are obs-text and fine. */
static uint64_t controls(uint64_t x) {
    const uint64_t below = (x - ONES * 0x20) & ~x & HIGHS;
    const uint64_t del = x ^ (ONES * 0x7f);
    return below | ((del - ONES) & ~del & HIGHS);
}

static int slow_ok(const char *value, size_t len) {
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)value[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return 0;
    }
    return 1;
}

static int is_blank(char c) { return c == ' ' || c == '\t'; }

int http_value_ok(const char *value, size_t len) {
    if (!len) return 1;
    if (is_blank(value[0]) || is_blank(value[len - 1])) return 0;
    uint64_t found = 0, word;
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, value + i, 8);
        found |= controls(word);
    }
    if (i < len) {
        if (len >= 8) {
            memcpy(&word, value + len - 8, 8); /* overlaps what was looked at */
            found |= controls(word);
        } else {
            return slow_ok(value, len);
        }
    }
    return !found || slow_ok(value, len);
}
