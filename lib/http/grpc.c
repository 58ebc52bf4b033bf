/* Timeouts, paths and message framing of gRPC. */
#include <string.h>

#include "weft/clock.h"
#include "weft/http_grpc.h"

/* ---- grpc-timeout */

#define MAX_DIGITS 99999999

static int64_t unit_of(char letter) {
    switch (letter) {
    case 'n':
        return 1;
    case 'u':
        return WEFT_NS_PER_US;
    case 'm':
        return WEFT_NS_PER_MS;
    case 'S':
        return WEFT_NS_PER_S;
    case 'M':
        return 60 * WEFT_NS_PER_S;
    case 'H':
        return 3600 * WEFT_NS_PER_S;
    default:
        return 0;
    }
}

int http_timeout_parse(const char *text, size_t len, int64_t *ns) {
    if (len < 2 || len > 9) return WEFT_EPARSE;
    const int64_t unit = unit_of(text[len - 1]);
    if (!unit) return WEFT_EPARSE;
    uint32_t n = 0;
    for (size_t i = 0; i + 1 < len; i++) {
        const uint32_t digit = (uint32_t)(unsigned char)text[i] - '0';
        if (digit > 9) return WEFT_EPARSE;
        n = n * 10 + digit;
    }
    if (__builtin_mul_overflow((int64_t)n, unit, ns)) *ns = INT64_MAX;
    return 0;
}

/* The finest unit that eight digits are enough for. Divisions by constants, since those are cheap. */
static uint32_t scale(int64_t ns, char *letter) {
    const uint64_t n = ns < 1 ? 1 : (uint64_t)ns;
#define UNIT(size, name)                         \
    if (n / (size) <= MAX_DIGITS) {              \
        *letter = name;                          \
        return (uint32_t)(n / (uint64_t)(size)); \
    }
    UNIT(1, 'n')
    UNIT(WEFT_NS_PER_US, 'u')
    UNIT(WEFT_NS_PER_MS, 'm')
    UNIT(WEFT_NS_PER_S, 'S')
    UNIT(60 * WEFT_NS_PER_S, 'M')
#undef UNIT
    *letter = 'H';
    return (uint32_t)(n / (uint64_t)(3600 * WEFT_NS_PER_S));
}

size_t http_timeout_format(int64_t ns, char out[HTTP_TIMEOUT_TEXT]) {
    char letter;
    uint32_t n = scale(ns, &letter);
    /* Eight digits, two at a time from the end; then from the first that counts. */
    char digits[8];
    size_t first = sizeof digits;
    do {
        const uint32_t pair = n % 100;
        n /= 100;
        digits[--first] = (char)('0' + pair % 10);
        digits[--first] = (char)('0' + pair / 10);
    } while (n);
    first += digits[first] == '0';
    const size_t len = sizeof digits - first;
    memcpy(out, digits + first, len);
    out[len] = letter;
    out[len + 1] = '\0';
    return len + 1;
}

/* ---- paths */

int http_grpc_path_split(const char *path, size_t len, http_grpc_path *out) {
    if (len < 4 || path[0] != '/') return WEFT_EPARSE;
    const char *slash = memchr(path + 1, '/', len - 1);
    if (!slash || slash == path + 1 || slash + 1 == path + len) return WEFT_EPARSE;
    const char *method = slash + 1;
    const size_t method_len = (size_t)(path + len - method);
    if (memchr(method, '/', method_len)) return WEFT_EPARSE;
    *out = (http_grpc_path){path + 1, (size_t)(slash - path - 1), method, method_len};
    return 0;
}

/* ---- messages */

void http_grpc_prefix(uint8_t out[HTTP_GRPC_PREFIX], bool compressed, uint32_t len) {
    out[0] = compressed;
    out[1] = (uint8_t)(len >> 24);
    out[2] = (uint8_t)(len >> 16);
    out[3] = (uint8_t)(len >> 8);
    out[4] = (uint8_t)len;
}

int http_grpc_reader_idle(const http_grpc_reader *reader) {
    return !reader->inside && !reader->have;
}

int http_grpc_read(http_grpc_reader *reader, const uint8_t **data, size_t *len, bool *compressed,
                   const uint8_t **piece, size_t *piece_len) {
    if (reader->inside) {
        if (!reader->left) {
            reader->inside = false;
            return HTTP_GRPC_END;
        }
        if (!*len) return HTTP_GRPC_MORE;
        const size_t n = *len < reader->left ? *len : reader->left;
        *piece = *data;
        *piece_len = n;
        *data += n;
        *len -= n;
        reader->left -= (uint32_t)n;
        return HTTP_GRPC_PAYLOAD;
    }
    while (reader->have < HTTP_GRPC_PREFIX) {
        if (!*len) return HTTP_GRPC_MORE;
        reader->prefix[reader->have++] = *(*data)++;
        (*len)--;
    }
    const uint8_t *p = reader->prefix;
    if (p[0] > 1) return WEFT_EPARSE;
    const uint32_t size =
        (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | (uint32_t)p[4];
    if (size > reader->max) return WEFT_ELIMIT;
    *compressed = p[0] == 1;
    reader->left = size;
    reader->have = 0;
    reader->inside = true;
    return HTTP_GRPC_BEGIN;
}
