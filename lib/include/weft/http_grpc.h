/* gRPC over HTTP/2, as https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md says, without I/O:
 * timeouts, status, messages, paths, and W3C trace context (https://www.w3.org/TR/trace-context/).
 *
 * Pure functions unless they take a pool or a list; those belong to that pool's thread. */
#ifndef WEFT_HTTP_GRPC_H
#define WEFT_HTTP_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/error.h"
#include "weft/http.h"
#include "weft/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- grpc-timeout */

/* Longest value, with '\0': eight digits and a unit. */
#define HTTP_TIMEOUT_TEXT 10

/* "250m", "30S" … to nanoseconds; what exceeds int64 (99999999H does) is INT64_MAX. WEFT_EPARSE: not 1 to 8
 * digits and one of n u m S M H. */
int http_timeout_parse(const char *text, size_t len, int64_t *ns) WEFT_MUST_USE;

/* The value for what is left of a deadline: the finest unit that needs at most eight digits, rounded down
 * so that no hop lengthens a deadline, but at least "1n". Returns the length. */
size_t http_timeout_format(int64_t ns, char out[HTTP_TIMEOUT_TEXT]);

/* ---- status */

/* grpc-status: 0 .. 16, or -1 when it is not a decimal number; numbers above 16 become UNKNOWN (2). */
int http_grpc_status_parse(const char *text, size_t len);

/* The code for a response without grpc-status
 * (https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md). */
weft_code http_grpc_from_http(int http_status);

/* The HTTP status for a code, when JSON clients are answered (google/rpc/code.proto). */
int http_status_from_grpc(int code);

/* The code for a stream that was reset with an HTTP/2 error code ("Errors" of PROTOCOL-HTTP2.md); any
 * number. And the error code to reset a stream with for a local code. */
weft_code http_grpc_from_h2(uint32_t h2_code);
uint32_t http_h2_from_grpc(int code);

/* grpc-message: percent-encodes bytes outside 0x20 .. 0x7e, and '%'. Returns the length of the whole text;
 * writes at most `cap` bytes of it, never half an escape, no '\0'. */
size_t http_grpc_message_encode(const char *text, size_t len, char *out, size_t cap);

/* The reverse. Broken escapes stay as they are; never fails. `out` holds `len` bytes, may be `text`. */
size_t http_grpc_message_decode(const char *text, size_t len, char *out);

/* 1 for application/grpc, alone or followed by '+' or ';' (any case of the type). */
int http_grpc_content_type(const char *text, size_t len);

/* ---- lists */

/* Appends a trailers-only response: :status 200, content-type, grpc-status and, if `message` is not empty,
 * grpc-message (encoded; cut at 8 KiB). For gRPC clients; also the trailers alone. */
int http_grpc_reply(http_fields *list, int code, const char *message) WEFT_MUST_USE;
int http_grpc_trailers(http_fields *list, int code, const char *message) WEFT_MUST_USE;

/* What trailers, or a trailers-only response, say. `message` is as on the wire (percent-encoded), "" when
 * absent. Returns 0, or WEFT_ENOTFOUND when there is no grpc-status (code is UNKNOWN then). */
int http_grpc_outcome(const http_fields *list, int *code, const char **message,
                      size_t *message_len);

/* ---- paths */

/* "/package.Service/Method" in its two parts; pieces of `path`. WEFT_EPARSE: not of that form. */
typedef struct http_grpc_path {
    const char *service;
    size_t service_len;
    const char *method;
    size_t method_len;
} http_grpc_path;
int http_grpc_path_split(const char *path, size_t len, http_grpc_path *out) WEFT_MUST_USE;

/* ---- messages: 1 byte flags (0 plain, 1 compressed), 4 bytes length, payload */

#define HTTP_GRPC_PREFIX 5

void http_grpc_prefix(uint8_t out[HTTP_GRPC_PREFIX], bool compressed, uint32_t len);

/* Reads messages out of DATA that comes in pieces of any size. It only counts; the payload goes by in
 * pieces. Zeroed plus `max` is a reader. */
typedef struct http_grpc_reader {
    uint32_t max; /* largest payload accepted */
    uint32_t left;
    uint8_t prefix[HTTP_GRPC_PREFIX];
    uint8_t have; /* bytes of the prefix seen */
    bool inside;
} http_grpc_reader;

typedef enum http_grpc_event {
    HTTP_GRPC_MORE,    /* all input used, nothing to say */
    HTTP_GRPC_BEGIN,   /* a prefix is complete: reader->left bytes follow; *compressed is set */
    HTTP_GRPC_PAYLOAD, /* *piece .. *piece_len is payload */
    HTTP_GRPC_END      /* the message is complete */
} http_grpc_event;

/* The next event of what is at *data; moves *data and *len past what it used. Call until _MORE. WEFT_ELIMIT:
 * a message larger than max; WEFT_EPARSE: a reserved flag. After an error the reader is finished. */
int http_grpc_read(http_grpc_reader *reader, const uint8_t **data, size_t *len, bool *compressed,
                   const uint8_t **piece, size_t *piece_len) WEFT_MUST_USE;

/* 1 when no message is begun and not ended: where a stream may end. */
int http_grpc_reader_idle(const http_grpc_reader *reader);

/* ---- trace context */

#define HTTP_TRACEPARENT_LEN 55
#define HTTP_TRACE_SAMPLED 1

typedef struct http_trace {
    uint8_t trace_id[16]; /* not all zero */
    uint8_t span_id[8];   /* not all zero */
    uint8_t flags;        /* HTTP_TRACE_SAMPLED */
} http_trace;

/* "00-<32 hex>-<16 hex>-<2 hex>"; a later version may be longer (section 3.2.2). WEFT_EPARSE: to be treated
 * as absent. */
int http_traceparent_parse(const char *text, size_t len, http_trace *trace) WEFT_MUST_USE;
void http_traceparent_format(const http_trace *trace, char out[HTTP_TRACEPARENT_LEN]);

/* The same without a new field: writes trace->span_id into `field`, from which *trace was parsed, if nobody
 * else has it and it needs no other change. Returns whether it did. */
bool http_traceparent_renew(http_field *field, const http_trace *trace);

#ifdef __cplusplus
}
#endif
#endif
