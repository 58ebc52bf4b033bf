/* The HTTP/1.1 parser: lines, content, chunks. What lines mean is in http1_head.c. RFC 9112. */
#include <assert.h>
#include <string.h>

#include "lib/http/http1_int.h"

void http1_parser_init(http1_parser *p, http_pool *pool, const char *scheme,
                       const http1_limits *limits, http1_counters *counters) {
    memset(p, 0, sizeof *p);
    http_fields_init(&p->request.fields, pool);
    http_fields_init(&p->trailers, pool);
    p->scheme = scheme;
    p->counters = counters;
    p->limit = -1;
#define X(name, value, status, text) \
    p->limits.name = limits && limits->name ? limits->name : UINT64_C(value);
    HTTP1_LIMITS(X)
#undef X
    uint64_t longest = p->limits.line;
    if (p->limits.field_bytes > longest) longest = p->limits.field_bytes;
    if (p->limits.chunk_line > longest) longest = p->limits.chunk_line;
    weft_buf_init(&p->line, (size_t)longest + 2);
}

void http1_parser_clear(http1_parser *p) {
    http_fields_clear(&p->request.fields);
    http_fields_clear(&p->trailers);
    weft_buf_free(&p->line);
    p->failed = WEFT_ECLOSED;
}

bool http1_parser_idle(const http1_parser *p) {
    return !p->failed &&
           (p->state == H1_NEXT || (p->state == H1_START && !p->line.len && !p->empty));
}

bool http1_parser_in_body(const http1_parser *p) { return p->state >= H1_LENGTH; }

static void begin(http1_parser *p) {
    http_pool *pool = p->request.fields.pool;
    http_fields_clear(&p->request.fields);
    http_fields_clear(&p->trailers);
    p->request = (http1_request){.minor = 1};
    http_fields_init(&p->request.fields, pool);
    p->left = p->seen = p->overhead = p->section = 0;
    p->empty = 0;
    p->framing = 0;
    p->state = H1_START;
}

/* ---- lines */

/* Forgets the line that was taken. */
static void line_done(http1_parser *p) { weft_buf_clear(&p->line); }

/* Holds no memory between requests. */
static void line_free(http1_parser *p) {
    const size_t max = p->line.max;
    weft_buf_free(&p->line);
    weft_buf_init(&p->line, max);
}

/* The next line of at most `max` bytes, CRLF not counted. 1: it is there, until line_done; 0: all input is kept
 * and more is needed; WEFT_ELIMIT: longer, left to the caller and not used. A bare LF ends no line (RFC 9112 section 2.2 allows to refuse it): what one parser takes
 * for the end and another does not is how requests are smuggled. */
static int take_line(http1_parser *p, const uint8_t **data, size_t *len, uint64_t max,
                     const char **line, size_t *line_len) {
    const uint8_t *end = *len ? memchr(*data, '\n', *len) : NULL;
    const size_t take = end ? (size_t)(end - *data) + 1 : *len;
    const size_t total = p->line.len + take;
    if (total > max + (end ? 2 : 1)) return WEFT_ELIMIT;
    if (end && !p->line.len) {
        *line = (const char *)*data;
    } else {
        if (take && weft_buf_add(&p->line, *data, take)) return h1_no_memory(p);
        *line = p->line.data;
    }
    *data += take;
    *len -= take;
    if (!end) return 0;
    if (total < 2 || (*line)[total - 2] != '\r') return h1_malformed(p, "a line ends in a bare LF");
    *line_len = total - 2;
    return 1;
}

/* ---- the head */

/* A first word that never ends is a method nobody knows, whatever follows. */
static int line_too_long(http1_parser *p, const uint8_t *data, size_t len) {
    const size_t have = p->line.len;
    const size_t word = (size_t)p->limits.method + 1;
    if ((have && memchr(p->line.data, ' ', have < word ? have : word)) ||
        (have < word && memchr(data, ' ', len < word - have ? len : word - have)))
        return h1_over(p, HTTP1_LIMIT_line);
    return h1_over(p, HTTP1_LIMIT_method);
}

static int read_start(http1_parser *p, const uint8_t **data, size_t *len) {
    const char *line = NULL;
    size_t n = 0;
    int rc = take_line(p, data, len, p->limits.line, &line, &n);
    if (rc == WEFT_ELIMIT) return line_too_long(p, *data, *len);
    if (rc <= 0) return rc;
    if (n == 0) { /* RFC 9112 section 2.2: left over by clients behind a body */
        line_done(p);
        return ++p->empty > p->limits.empty_lines ? h1_over(p, HTTP1_LIMIT_empty_lines) : 1;
    }
    rc = h1_request_line(p, line, n);
    line_done(p);
    if (rc) return rc;
    p->state = H1_FIELDS;
    return 1;
}

/* A line of a head or of trailers: 1 a field, 2 the end. */
static int read_field(http1_parser *p, http_fields *list, const uint8_t **data, size_t *len) {
    const char *line = NULL;
    size_t n = 0;
    const uint64_t room = p->limits.field_bytes - p->section;
    int rc = take_line(p, data, len, room, &line, &n);
    if (rc == WEFT_ELIMIT) return h1_over(p, HTTP1_LIMIT_field_bytes);
    if (rc <= 0) return rc;
    p->section += n + 2 < room ? n + 2 : room;
    if (n == 0) {
        line_done(p);
        return 2;
    }
    rc = h1_field_line(p, list, line, n);
    line_done(p);
    return rc ? rc : 1;
}

/* ---- content */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* chunk-size [ chunk-ext ], RFC 9112 section 7.1. Extensions mean nothing to us; they are bounded, and may hold
 * no control character. */
static int parse_size(http1_parser *p, const char *line, size_t len) {
    size_t i = 0;
    uint64_t size = 0;
    for (; i < len && hex_digit(line[i]) >= 0; i++) {
        if (i == 15) return h1_malformed(p, "a chunk size has more than 15 digits");
        size = size << 4 | (uint64_t)hex_digit(line[i]);
    }
    if (i == 0) return h1_malformed(p, "a chunk size is no hexadecimal number");
    p->overhead += len - i;
    if (p->overhead > p->limits.chunk_overhead) return h1_over(p, HTTP1_LIMIT_chunk_overhead);
    size_t ext = i;
    while (ext < len && (line[ext] == ' ' || line[ext] == '\t')) ext++;
    if (i < len && (ext == len || line[ext] != ';'))
        return h1_malformed(p, "a chunk size is followed by something else than ;");
    for (; ext < len; ext++) {
        const unsigned char c = (unsigned char)line[ext];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return h1_malformed(p, "a control character in a chunk extension");
    }
    if (size > p->limits.body || p->seen > p->limits.body - size)
        return h1_over(p, HTTP1_LIMIT_body);
    p->left = size;
    return 0;
}

static int read_chunk_size(http1_parser *p, const uint8_t **data, size_t *len) {
    const char *line = NULL;
    size_t n = 0;
    int rc = take_line(p, data, len, p->limits.chunk_line, &line, &n);
    if (rc == WEFT_ELIMIT) return h1_over(p, HTTP1_LIMIT_chunk_line);
    if (rc <= 0) return rc;
    rc = parse_size(p, line, n);
    line_done(p);
    if (rc) return rc;
    p->state = p->left ? H1_CHUNK_DATA : H1_TRAILERS;
    p->section = 0;
    return 1;
}

/* Exactly CRLF: no line that could be long. */
static int read_chunk_end(http1_parser *p, const uint8_t **data, size_t *len) {
    while (*len && p->left < 2) {
        if (**data != (p->left ? '\n' : '\r'))
            return h1_malformed(p, "a chunk is longer than its size");
        p->left++;
        ++*data;
        --*len;
    }
    if (p->left < 2) return 0;
    p->left = 0;
    p->state = H1_CHUNK_SIZE;
    return 1;
}

static int read_content(http1_parser *p, const uint8_t **data, size_t *len, const uint8_t **piece,
                        size_t *piece_len) {
    if (!*len) return HTTP1_MORE;
    const size_t n = *len < p->left ? *len : (size_t)p->left;
    *piece = *data;
    *piece_len = n;
    *data += n;
    *len -= n;
    p->left -= n;
    p->seen += n;
    if (!p->left) p->state = p->state == H1_LENGTH ? H1_END : H1_CHUNK_END;
    return HTTP1_BODY;
}

int http1_read(http1_parser *p, const uint8_t **data, size_t *len, const uint8_t **piece,
               size_t *piece_len) {
    int rc = 1;
    *piece = NULL;
    *piece_len = 0;
    if (p->failed) return p->failed;
    if (p->state == H1_NEXT && *len) begin(p);
    while (rc > 0) {
        switch (p->state) {
        case H1_NEXT:
            return HTTP1_MORE;
        case H1_START:
            rc = read_start(p, data, len);
            break;
        case H1_FIELDS:
            rc = read_field(p, &p->request.fields, data, len);
            if (rc != 2) break;
            rc = h1_finish_head(p);
            if (rc) return rc;
            if (p->counters) p->counters->requests++;
            return HTTP1_HEAD;
        case H1_LENGTH:
        case H1_CHUNK_DATA:
            return read_content(p, data, len, piece, piece_len);
        case H1_CHUNK_SIZE:
            rc = read_chunk_size(p, data, len);
            break;
        case H1_CHUNK_END:
            rc = read_chunk_end(p, data, len);
            break;
        case H1_TRAILERS:
            rc = read_field(p, &p->trailers, data, len);
            if (rc == 2) p->state = H1_END;
            break;
        default:
            line_free(p);
            p->state = H1_NEXT;
            return HTTP1_END;
        }
    }
    return rc;
}
