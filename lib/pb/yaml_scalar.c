/* Plain scalars of the core schema. */
#include "yaml_scalar.h"

#include <string.h>

#include "weft/num.h"

static bool one_of(const char *text, size_t len, const char *const *words) {
    for (; *words; words++)
        if (strlen(*words) == len && !memcmp(*words, text, len)) return true;
    return false;
}

static size_t digits(const char *text, size_t len) {
    size_t n = 0;
    while (n < len && text[n] >= '0' && text[n] <= '9') n++;
    return n;
}

/* "0x1F" and "0o17" as decimals. */
static bool other_base(const char *text, size_t len, char *number) {
    const unsigned base = len > 2 && text[0] == '0' ? text[1] == 'x'   ? 16
                                                      : text[1] == 'o' ? 8
                                                                       : 0
                                                    : 0;
    uint64_t sum = 0;
    if (!base) return false;
    bool huge = false;
    for (size_t i = 2; i < len; i++) {
        static const char all[] = "0123456789abcdef0123456789ABCDEF";
        const char *at = memchr(all, text[i], sizeof all - 1);
        const unsigned digit = at ? (unsigned)(at - all) % 16 : base;
        if (digit >= base) return false;
        huge |= __builtin_mul_overflow(sum, base, &sum) || __builtin_add_overflow(sum, digit, &sum);
    }
    if (huge)
        memcpy(number, "1e20", 5); /* out of the range of every integer, as it was */
    else
        weft_format_uint64(sum, number);
    return true;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?, rewritten as JSON wants it.
 */
static bool decimal(const char *text, size_t len, char *number) {
    size_t at = 0, n = 0;
    if (at < len && (text[at] == '-' || text[at] == '+')) {
        if (text[at] == '-') number[n++] = '-';
        at++;
    }
    const size_t whole = digits(text + at, len - at);
    size_t zeros = 0;
    while (zeros + 1 < whole && text[at + zeros] == '0') zeros++;
    if (whole)
        memcpy(number + n, text + at + zeros, whole - zeros);
    else
        number[n] = '0';
    n += whole ? whole - zeros : 1;
    at += whole;
    if (at < len && text[at] == '.') {
        const size_t part = digits(text + at + 1, len - at - 1);
        if (!whole && !part) return false;
        if (part) {
            memcpy(number + n, text + at, part + 1);
            n += part + 1;
        }
        at += part + 1;
    } else if (!whole) {
        return false;
    }
    if (at < len && (text[at] == 'e' || text[at] == 'E')) {
        size_t sign = at + 1 < len && (text[at + 1] == '-' || text[at + 1] == '+');
        const size_t part = digits(text + at + 1 + sign, len - at - 1 - sign);
        if (!part) return false;
        memcpy(number + n, text + at, 1 + sign + part);
        n += 1 + sign + part;
        at += 1 + sign + part;
    }
    number[n] = '\0';
    return at == len;
}

static bool special(const char *text, size_t len, char *number) {
    static const char *const infinities[] = {".inf", ".Inf", ".INF", NULL};
    static const char *const nans[] = {".nan", ".NaN", ".NAN", NULL};
    const size_t sign = len && (*text == '-' || *text == '+');
    if (one_of(text, len, nans))
        memcpy(number, "NaN", 4);
    else if (one_of(text + sign, len - sign, infinities))
        memcpy(number, *text == '-' ? "-Infinity" : "Infinity", *text == '-' ? 10 : 9);
    else
        return false;
    return true;
}

pb_node_kind pb_yaml_plain(const char *text, size_t len, char *number) {
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const bools[] = {"true", "True", "TRUE", "false", "False", "FALSE", NULL};
    if (one_of(text, len, nulls)) return PB_NULL;
    if (one_of(text, len, bools)) return PB_BOOL;
    if (other_base(text, len, number) || decimal(text, len, number) || special(text, len, number))
        return PB_NUMBER;
    return PB_STRING;
}
