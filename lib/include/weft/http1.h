/* HTTP/1.1 for servers without I/O: a request parser that takes bytes in pieces of any size, and a response
 * writer. RFC 9112 (messages), RFC 9110 (fields).
 *
 * A request comes out as HTTP/2 would have it: :method, :scheme, :authority and :path first, names in lower
 * case, connection-specific fields gone (RFC 9110 section 7.6.1). So everything behind need not know.
 *
 * It is strict, because what two parsers read differently is how requests are smuggled (RFC 9112 section 11.2).
 * Refused with 400 and the connection to be closed: a line that ends in a bare LF, a bare CR, line folding,
 * blanks around a name, a second Content-Length even if equal, Content-Length beside Transfer-Encoding,
 * Transfer-Encoding in HTTP/1.0 or not ending in chunked, no or two Hosts, controls anywhere.
 *
 * A parser belongs to one thread: that of its pool. It holds one line at most (and the fields). */
#ifndef WEFT_HTTP1_H
#define WEFT_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/buf.h"
#include "weft/chunk.h"
#include "weft/error.h"
#include "weft/http.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- requests */

/* X(name, default, status, what): limits, the status that tells of them, and their counters. */
#define HTTP1_LIMITS(X)                                                                \
    X(line, 8192, 414, "bytes of a request line (RFC 9112 section 3)")                 \
    X(method, 32, 501, "bytes of a method")                                            \
    X(fields, 100, 431, "fields of a head or of trailers")                             \
    X(field_bytes, 61440, 431, "bytes of all field lines of a head, or of trailers")   \
    X(empty_lines, 2, 400, "empty lines before a request line (RFC 9112 section 2.2)") \
    X(chunk_line, 256, 400, "bytes of a chunk's size and its extensions")              \
    X(chunk_overhead, 16384, 400, "bytes of extensions of all chunks of a body")       \
    X(body, 4194304, 413, "bytes of content")

typedef enum http1_limit {
#define X(name, value, status, text) HTTP1_LIMIT_##name,
    HTTP1_LIMITS(X)
#undef X
        HTTP1_LIMIT_COUNT
} http1_limit;

typedef struct http1_limits {
#define X(name, value, status, text) \
    uint64_t name; /* 0: the default; UINT64_MAX for `body`: none */
    HTTP1_LIMITS(X)
#undef X
} http1_limits;

/* Longest field name; RFC 9110 has no limit, senders do not come near. */
#define HTTP1_NAME_MAX 255u

/* How often each limit was met: one for all parsers of a worker. */
typedef struct http1_counters {
    uint64_t limits[HTTP1_LIMIT_COUNT];
    uint64_t malformed; /* requests refused for other reasons */
    uint64_t requests;  /* heads that were read */
} http1_counters;

/* "field_bytes"; never NULL for a valid limit. */
const char *http1_limit_name(http1_limit limit);

typedef enum http1_event {
    HTTP1_MORE, /* all input is used, nothing to say */
    HTTP1_HEAD, /* the head is complete: `request` tells */
    HTTP1_BODY, /* *piece .. *piece_len is content */
    HTTP1_END /* the request is complete; `trailers` are there. The next call begins the next one */
} http1_event;

typedef struct http1_request {
    http_fields fields; /* as HTTP/2 has them; emptied when the next request begins */
    int minor;          /* HTTP/1.minor: 0 or 1 */
    bool
        keep_alive; /* the peer wants to go on: may be answered with close (RFC 9112 section 9.3) */
    bool head;      /* HEAD: no content in the response */
    bool chunked;   /* content comes in chunks */
    bool
        expects; /* Expect: 100-continue (RFC 9110 section 10.1.1): wait for http1_write_continue */
    bool upgrade;   /* an Upgrade field was dropped */
    int64_t length; /* of content; 0 without; -1 when chunked */
} http1_request;

/* Read `request`, `trailers`, `status`, `reason` and `limit`; the rest is private.
 * Invariant: line.len <= the limit of what is being read. */
typedef struct http1_parser {
    http1_request request;
    http_fields trailers;
    int status;         /* after an error: what to answer, 400 .. 505; then close */
    const char *reason; /* after an error: why, a static sentence */
    int limit;          /* after an error: the http1_limit that was met, or -1 */
    http1_limits limits;
    http1_counters *counters;
    const char *scheme;
    weft_buf line;     /* of a line that has not ended */
    uint64_t left;     /* bytes of content or of a chunk still to come */
    uint64_t seen;     /* bytes of content so far */
    uint64_t overhead; /* bytes of chunk extensions so far */
    uint64_t section;  /* bytes of field lines so far */
    uint32_t empty;    /* empty lines so far */
    uint8_t state;
    uint8_t form;    /* of the request target */
    uint8_t framing; /* which fields came that count */
    int failed;      /* the error, once there was one */
} http1_parser;

/* `scheme` ("http" or "https", static) is what carries the connection; `limits` and `counters` may be NULL;
 * `counters` and `pool` outlive the parser. Nothing is allocated. */
void http1_parser_init(http1_parser *parser, http_pool *pool, const char *scheme,
                       const http1_limits *limits, http1_counters *counters);
void http1_parser_clear(http1_parser *parser);

/* The next event (http1_event) of what is at *data; moves *data and *len past what it used. Call until
 * HTTP1_MORE; or stop after HTTP1_END until the response is written: what is pipelined waits with the caller.
 * Pieces are parts of *data. Negative: WEFT_EPARSE malformed, WEFT_ELIMIT a limit, WEFT_EUNSUPPORTED a version or
 * transfer coding, WEFT_ENOMEM; `status` and `reason` say what to answer. The parser is finished then: every
 * later call returns the same. */
int http1_read(http1_parser *parser, const uint8_t **data, size_t *len, const uint8_t **piece,
               size_t *piece_len) WEFT_MUST_USE;

/* Nothing of a request has arrived: where a connection may end, or wait long. */
bool http1_parser_idle(const http1_parser *parser);

/* The head is complete and the end is not. */
bool http1_parser_in_body(const http1_parser *parser);

/* ---- responses */

/* One response at a time: _head, _body any number of times, _end. Fields are private but `close`. */
typedef struct http1_writer {
    bool close;    /* the connection must be closed after this response */
    bool bodyless; /* HEAD, 204, 304: content is counted, not sent */
    bool chunked;
    uint8_t state;
    int64_t left; /* of Content-Length; -1: not known */
} http1_writer;

/* What a response answers. */
typedef struct http1_reply {
    int status;      /* 200 .. 599 */
    int minor;       /* as the request's */
    bool head;       /* as the request's */
    bool keep_alive; /* both sides want to go on */
    int64_t length;  /* of content; -1: not known, so chunked (HTTP/1.1) or until close (1.0) */
    const http_fields *fields; /* may be NULL */
} http1_reply;

/* Status line and fields. Pseudo-header fields and connection-specific ones in the list are left out, and
 * Content-Length too: it is `length`. Names are sent in lower case. WEFT_EINVAL: a status out of range or a field that
 * breaks RFC 9110 section 5.5 (it could end the head early); WEFT_ENOMEM. Both leave `out` as it was. */
int http1_write_head(http1_writer *writer, const http1_reply *reply, weft_chain *out) WEFT_MUST_USE;

/* Content. WEFT_EINVAL: more than the length announced. */
int http1_write_body(http1_writer *writer, const weft_slice *slice, weft_chain *out) WEFT_MUST_USE;

/* The end; `trailers` (may be NULL) go out only in chunks. WEFT_EINVAL: less than announced, or a trailer that
 * is malformed: close the connection. */
int http1_write_end(http1_writer *writer, const http_fields *trailers,
                    weft_chain *out) WEFT_MUST_USE;

/* "HTTP/1.1 100 Continue": the client waits for it before it sends its content. */
int http1_write_continue(weft_chain *out) WEFT_MUST_USE;

/* "Not Found"; "" for a status without name. RFC 9110 section 15. */
const char *http1_reason(int status);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (IMF-fixdate, RFC 9110 section 5.6.7); returns out. `wall` in ns, years 1970
 * to 9999. */
#define HTTP1_DATE 30
char *http1_date(int64_t wall, char out[HTTP1_DATE]);

#ifdef __cplusplus
}
#endif
#endif
