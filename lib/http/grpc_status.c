/* Codes of gRPC, HTTP and HTTP/2 in terms of each other; grpc-message; replies made here. */
#include <string.h>
#include <strings.h>

#include "weft/http_grpc.h"

int http_grpc_status_parse(const char *text, size_t len) {
    unsigned code = 0;
    if (!len || len > 9) return -1;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') return -1;
        code = code * 10 + (unsigned)(text[i] - '0');
    }
    return code > 16 ? WEFT_UNKNOWN : (int)code;
}

weft_code http_grpc_from_http(int http_status) {
    switch (http_status) {
    case 400:
        return WEFT_INTERNAL;
    case 401:
        return WEFT_UNAUTHENTICATED;
    case 403:
        return WEFT_PERMISSION_DENIED;
    case 404:
        return WEFT_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return WEFT_UNAVAILABLE;
    default:
        return WEFT_UNKNOWN;
    }
}

int http_status_from_grpc(int code) {
    static const uint16_t status[17] = {200, 499, 500, 400, 504, 404, 409, 403, 429,
                                        400, 409, 400, 501, 500, 503, 500, 401};
    return code >= 0 && code <= 16 ? status[code] : 500;
}

weft_code http_grpc_from_h2(uint32_t h2_code) {
    switch (h2_code) {
    case 7: /* REFUSED_STREAM: nothing was processed */
        return WEFT_UNAVAILABLE;
    case 8: /* CANCEL */
        return WEFT_CANCELLED;
    case 11: /* ENHANCE_YOUR_CALM */
        return WEFT_RESOURCE_EXHAUSTED;
    case 12: /* INADEQUATE_SECURITY */
        return WEFT_PERMISSION_DENIED;
    case 5:  /* STREAM_CLOSED: no mapping is given; the open stream it names is gone */
    case 13: /* HTTP_1_1_REQUIRED: likewise */
        return WEFT_UNKNOWN;
    default:
        return h2_code <= 10 ? WEFT_INTERNAL : WEFT_UNKNOWN;
    }
}

uint32_t http_h2_from_grpc(int code) {
    switch (code) {
    case WEFT_OK:
        return 0;
    case WEFT_CANCELLED:
    case WEFT_DEADLINE_EXCEEDED:
        return 8;
    case WEFT_UNAVAILABLE:
        return 7;
    case WEFT_RESOURCE_EXHAUSTED:
        return 11;
    case WEFT_PERMISSION_DENIED:
        return 12;
    default:
        return 2;
    }
}

/* ---- grpc-message */

size_t http_grpc_message_encode(const char *text, size_t len, char *out, size_t cap) {
    static const char hex[] = "0123456789ABCDEF";
    size_t n = 0;
    bool full = false;
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];
        /* A blank at either end would not survive as a field value. */
        const bool edge = c == ' ' && (i == 0 || i + 1 == len);
        const bool plain = c >= 0x20 && c <= 0x7e && c != '%' && !edge;
        const size_t need = plain ? 1 : 3;
        full = full || n + need > cap;
        if (!full && plain) {
            out[n] = (char)c;
        } else if (!full) {
            out[n] = '%';
            out[n + 1] = hex[c >> 4];
            out[n + 2] = hex[c & 15];
        }
        n += need;
    }
    return n;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

size_t http_grpc_message_decode(const char *text, size_t len, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '%' && i + 2 < len && hex_digit(text[i + 1]) >= 0 &&
            hex_digit(text[i + 2]) >= 0) {
            out[n++] = (char)(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
            i += 2;
        } else {
            out[n++] = text[i];
        }
    }
    return n;
}

int http_grpc_content_type(const char *text, size_t len) {
    static const char type[] = "application/grpc";
    const size_t n = sizeof type - 1;
    if (len < n || strncasecmp(text, type, n) != 0) return 0;
    return len == n || text[n] == '+' || text[n] == ';';
}

/* ---- lists */

/* Longest grpc-message made here; peers limit trailers to about 8 KiB. */
#define MESSAGE_MAX 8192

int http_grpc_trailers(http_fields *list, int code, const char *message) {
    char number[2];
    size_t digits = 0;
    if (code < 0 || code > 16) code = WEFT_UNKNOWN;
    if (code >= 10) number[digits++] = '1';
    number[digits++] = (char)('0' + code % 10);
    int failed = http_fields_add_known(list, HTTP_NAME_GRPC_STATUS, number, digits);
    if (failed || !message || !*message) return failed;
    char text[MESSAGE_MAX];
    size_t len = strlen(message);
    /* What does not fit is cut, between escapes: encode ever less until it fits. */
    size_t n = http_grpc_message_encode(message, len, text, sizeof text);
    while (n > sizeof text) {
        const size_t over = (n - sizeof text + 2) / 3;
        len -= over ? over : 1;
        while (len && ((unsigned char)message[len] & 0xc0) == 0x80) len--; /* whole characters */
        n = http_grpc_message_encode(message, len, text, sizeof text);
    }
    return http_fields_add_known(list, HTTP_NAME_GRPC_MESSAGE, text, n);
}

int http_grpc_reply(http_fields *list, int code, const char *message) {
    int failed = http_fields_add_known(list, HTTP_NAME_STATUS, "200", 3);
    if (!failed)
        failed = http_fields_add_known(list, HTTP_NAME_CONTENT_TYPE, "application/grpc", 16);
    return failed ? failed : http_grpc_trailers(list, code, message);
}

int http_grpc_outcome(const http_fields *list, int *code, const char **message,
                      size_t *message_len) {
    const http_field *status = http_fields_find(list, HTTP_NAME_GRPC_STATUS);
    const http_field *text = http_fields_find(list, HTTP_NAME_GRPC_MESSAGE);
    *message = text ? text->value : "";
    *message_len = text ? text->value_len : 0;
    *code = WEFT_UNKNOWN;
    if (!status) return WEFT_ENOTFOUND;
    const int parsed = http_grpc_status_parse(status->value, status->value_len);
    if (parsed >= 0) *code = parsed;
    return 0;
}
