/* W3C trace context, https://www.w3.org/TR/trace-context/ section 3.2. */
#include <string.h>

#include "weft/http_grpc.h"

/* Values of lower-case hex digits, as the specification wants them; 0x80: not one. */
#define NO 0x80
#define NO4 NO, NO, NO, NO
#define NO16 NO4, NO4, NO4, NO4
static const uint8_t digit_values[256] = {
    NO16, NO16, NO16, 0,    1,    2,    3,    4,    5,    6,    7,    8,  9,
    NO,   NO,   NO4,  NO16, NO16, NO,   10,   11,   12,   13,   14,   15, NO,
    NO4,  NO4,  NO16, NO16, NO16, NO16, NO16, NO16, NO16, NO16, NO16,
};
#undef NO
#undef NO4
#undef NO16

/* 0 when `out` has all its bytes. */
static int unhex(const char *text, size_t bytes, uint8_t *out) {
    unsigned seen = 0;
    for (size_t i = 0; i < bytes; i++) {
        const unsigned high = digit_values[(unsigned char)text[2 * i]];
        const unsigned low = digit_values[(unsigned char)text[2 * i + 1]];
        seen |= high | low;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return seen > 15;
}

/* Of 8 or 16 bytes. */
static int all_zero(const uint8_t *data, size_t len) {
    uint64_t first, last;
    memcpy(&first, data, 8);
    memcpy(&last, data + len - 8, 8);
    return !(first | last);
}

int http_traceparent_parse(const char *text, size_t len, http_trace *trace) {
    uint8_t version = 0;
    http_trace t;
    if (len < HTTP_TRACEPARENT_LEN || text[2] != '-' || text[35] != '-' || text[52] != '-')
        return WEFT_EPARSE;
    if (unhex(text, 1, &version) || version == 0xff) return WEFT_EPARSE;
    if (len > HTTP_TRACEPARENT_LEN && (version == 0 || text[55] != '-')) return WEFT_EPARSE;
    if (unhex(text + 3, 16, t.trace_id) || unhex(text + 36, 8, t.span_id) ||
        unhex(text + 53, 1, &t.flags))
        return WEFT_EPARSE;
    if (all_zero(t.trace_id, 16) || all_zero(t.span_id, 8)) return WEFT_EPARSE;
    t.flags &= HTTP_TRACE_SAMPLED;
    *trace = t;
    return 0;
}

static char *hex(char *out, const uint8_t *data, size_t len) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        *out++ = digits[data[i] >> 4];
        *out++ = digits[data[i] & 15];
    }
    return out;
}

void http_traceparent_format(const http_trace *trace, char out[HTTP_TRACEPARENT_LEN]) {
    char *at = out;
    memcpy(at, "00-", 3);
    at = hex(at + 3, trace->trace_id, 16);
    *at++ = '-';
    at = hex(at, trace->span_id, 8);
    *at++ = '-';
    hex(at, &trace->flags, 1);
}
