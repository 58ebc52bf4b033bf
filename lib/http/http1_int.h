/* What the files of the HTTP/1.1 parser share. */
#ifndef LIB_HTTP_HTTP1_INT_H
#define LIB_HTTP_HTTP1_INT_H

#include "weft/http1.h"

/* Where a parser is. A request goes down the list, content either by length or in chunks. */
enum {
    H1_NEXT,       /* between requests */
    H1_START,      /* in front of, or in, a request line */
    H1_FIELDS,     /* in the field lines of the head */
    H1_LENGTH,     /* content by Content-Length */
    H1_CHUNK_SIZE, /* in a line with a chunk's size */
    H1_CHUNK_DATA,
    H1_CHUNK_END, /* the CRLF behind a chunk's data */
    H1_TRAILERS,  /* in the field lines behind the last chunk */
    H1_END        /* complete: to be said */
};

/* framing */
enum {
    H1_HAS_LENGTH = 1,
    H1_HAS_CODING = 2, /* Transfer-Encoding */
    H1_HAS_HOST = 4,
    H1_HAS_CONNECTION = 8
};

/* Forms of a request target, RFC 9112 section 3.2. */
enum { H1_ORIGIN, H1_ABSOLUTE, H1_AUTHORITY, H1_ASTERISK };

/* Mark the parser as failed and return the error. `reason` is static. */
int h1_malformed(http1_parser *p, const char *reason) WEFT_MUST_USE;
int h1_unsupported(http1_parser *p, int status, const char *reason) WEFT_MUST_USE;
int h1_over(http1_parser *p, http1_limit limit) WEFT_MUST_USE;
int h1_no_memory(http1_parser *p) WEFT_MUST_USE;

/* A complete line without its CRLF. 0, or the error as above. */
int h1_request_line(http1_parser *p, const char *line, size_t len) WEFT_MUST_USE;
int h1_field_line(http1_parser *p, http_fields *list, const char *line, size_t len) WEFT_MUST_USE;

/* The head is complete: judges the fields together, sets `request` and `state`. */
int h1_finish_head(http1_parser *p) WEFT_MUST_USE;

/* True for a host with an optional port as in RFC 3986 section 3.2.2, without userinfo. */
bool h1_authority_ok(const char *text, size_t len);

/* Steps through a list of tokens (RFC 9110 section 5.6.1): false at the end. `*at` moves. */
bool h1_next_token(const char **at, const char *end, const char **token, size_t *len);

/* True when they are equal but for the case of ASCII letters; `lower` is in lower case. */
bool h1_is(const char *text, size_t len, const char *lower);

#endif
