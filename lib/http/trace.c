/* W3C trace context, https://www.w3.org/TR/trace-context/ section 3.2. */
#include <string.h>

#include "weft/http_grpc.h"

/* Sixteen digits at a time; compilers turn this into the vector instructions there are. */
typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef uint16_t pairs8 __attribute__((vector_size(16)));
typedef uint8_t bytes8 __attribute__((vector_size(8)));
typedef uint64_t words2 __attribute__((vector_size(16)));

/* 8 bytes out of 16 lower-case hex digits, as the specification wants them. Returns bits that are not 0 in
 * `bad` where there was another character. */
static bytes16 unhex16(const char *text, uint8_t *out) {
    bytes16 c;
    memcpy(&c, text, sizeof c);
    const bytes16 digit = c - '0';
    const bytes16 letter = c - 'a';
    const bytes16 is_digit = (bytes16)(digit < 10);
    const bytes16 is_letter = (bytes16)(letter < 6);
    /* Each pair holds the high digit in its low byte (little-endian). */
    const pairs8 values = (pairs8)((digit & is_digit) | ((letter + 10) & is_letter));
    const pairs8 joined = (values << 4 | values >> 8) & 0xff;
    const bytes8 bytes = __builtin_convertvector(joined, bytes8);
    memcpy(out, &bytes, sizeof bytes);
    return ~(is_digit | is_letter);
}

static unsigned digit_value(char c) {
    if (c >= '0' && c <= '9') return (unsigned)(c - '0');
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 256;
}

/* 0 to 255, or more when these are not two digits. */
static unsigned unhex_byte(const char *text) {
    return digit_value(text[0]) << 4 | digit_value(text[1]);
}

/* Of 8 or 16 bytes. */
static int all_zero(const uint8_t *data, size_t len) {
    uint64_t first, last;
    memcpy(&first, data, 8);
    memcpy(&last, data + len - 8, 8);
    return !(first | last);
}

int http_traceparent_parse(const char *text, size_t len, http_trace *trace) {
    http_trace t;
    if (len < HTTP_TRACEPARENT_LEN || text[2] != '-' || text[35] != '-' || text[52] != '-')
        return WEFT_EPARSE;
    const unsigned version = unhex_byte(text);
    const unsigned flags = unhex_byte(text + 53);
    if (version >= 0xff || flags > 0xff) return WEFT_EPARSE;
    if (len > HTTP_TRACEPARENT_LEN && (version == 0 || text[55] != '-')) return WEFT_EPARSE;
    const words2 bad = (words2)(unhex16(text + 3, t.trace_id) | unhex16(text + 19, t.trace_id + 8) |
                                unhex16(text + 36, t.span_id));
    if (bad[0] | bad[1]) return WEFT_EPARSE;
    if (all_zero(t.trace_id, 16) || all_zero(t.span_id, 8)) return WEFT_EPARSE;
    t.flags = flags & HTTP_TRACE_SAMPLED;
    *trace = t;
    return 0;
}

/* 16 digits out of 8 bytes. */
static void hex16(char *out, const uint8_t *data) {
    bytes8 bytes;
    memcpy(&bytes, data, sizeof bytes);
    const pairs8 wide = __builtin_convertvector(bytes, pairs8);
    const bytes16 values = (bytes16)(wide >> 4 | (wide & 15) << 8);
    const bytes16 letters = (bytes16)(values > 9) & ('a' - '0' - 10);
    const bytes16 text = values + '0' + letters;
    memcpy(out, &text, sizeof text);
}

void http_traceparent_format(const http_trace *trace, char out[HTTP_TRACEPARENT_LEN]) {
    static const char digits[] = "0123456789abcdef";
    memcpy(out, "00-", 3);
    hex16(out + 3, trace->trace_id);
    hex16(out + 19, trace->trace_id + 8);
    out[35] = '-';
    hex16(out + 36, trace->span_id);
    out[52] = '-';
    out[53] = digits[trace->flags >> 4];
    out[54] = digits[trace->flags & 15];
}

bool http_traceparent_renew(http_field *field, const http_trace *trace) {
    if (!field->pool || field->refs != 1 || field->flags || field->hash ||
        field->value_len != HTTP_TRACEPARENT_LEN)
        return false;
    char *text = (char *)(field + 1); /* where its value lies */
    if (text != field->value || memcmp(text, "00-", 3) != 0 || text[53] != '0' ||
        text[54] != '0' + trace->flags)
        return false;
    hex16(text + 36, trace->span_id);
    return true;
}
