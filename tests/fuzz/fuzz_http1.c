/* HTTP/1.1 requests: read whole, in pieces and byte by byte must say the same; what is understood must be a
 * request that HTTP/2 could carry; counts of content must agree. The first byte picks the pieces and limits. */
#include <stdlib.h>
#include <string.h>

#include "weft/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct said {
    weft_buf text;
    int64_t announced; /* Content-Length of the request at hand; -1: chunks */
    int64_t got;
} said;

static void check_field(const http_field *f) {
    if (f->flags & HTTP_FIELD_BAD) abort();
    for (uint32_t i = 0; i < f->value_len; i++) {
        const unsigned char c = (unsigned char)f->value[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) abort();
    }
}

static void say_fields(said *s, const http_fields *list) {
    for (uint32_t i = 0; i < list->count; i++) {
        check_field(list->at[i]);
        weft_buf_printf(&s->text, "%s: %s\n", list->at[i]->name, list->at[i]->value);
    }
}

static void say(said *s, const http1_parser *p, int event, const uint8_t *piece, size_t len) {
    http_facts facts;
    switch (event) {
    case HTTP1_HEAD:
        if (http_validate(&p->request.fields, HTTP_SECTION_REQUEST, &facts)) abort();
        if (p->request.chunked != (p->request.length < 0)) abort();
        if (p->request.chunked && facts.content_length >= 0) abort();
        if (p->request.length > 0 && facts.content_length != p->request.length) abort();
        s->announced = p->request.length;
        s->got = 0;
        weft_buf_printf(&s->text, "head %d %d %d\n", p->request.minor, p->request.keep_alive,
                        p->request.expects);
        say_fields(s, &p->request.fields);
        break;
    case HTTP1_BODY:
        if (!len) abort();
        s->got += (int64_t)len;
        weft_buf_add(&s->text, piece, len);
        break;
    default:
        if (s->announced >= 0 && s->announced != s->got) abort();
        weft_buf_adds(&s->text, "end\n");
        if (s->announced >= 0 && p->trailers.count) abort();
        say_fields(s, &p->trailers);
    }
}

static void read_all(http_pool *pool, const http1_limits *limits, const uint8_t *data, size_t size,
                     size_t step, said *s) {
    http1_parser p;
    int rc = 0;
    http1_parser_init(&p, pool, "https", limits, NULL);
    weft_buf_init(&s->text, 0);
    for (size_t at = 0; at < size && rc >= 0; at += step) {
        size_t len = size - at < step ? size - at : step, piece_len = 0;
        uint8_t *exact = malloc(len);
        memcpy(exact, data + at, len);
        const uint8_t *from = exact, *piece = NULL;
        while ((rc = http1_read(&p, &from, &len, &piece, &piece_len)) > 0)
            say(s, &p, rc, piece, piece_len);
        if (!rc && len) abort();
        free(exact);
    }
    if (rc < 0) {
        if (p.status < 400 || p.status > 599 || !p.reason) abort();
        weft_buf_printf(&s->text, "failed %d %d %d %s\n", rc, p.status, p.limit, p.reason);
    }
    http1_parser_clear(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    const uint8_t pick = *data++;
    size--;
    http_pool *pool = http_pool_new(0, 1);
    const http1_limits small = {.line = 40,
                                .method = 5,
                                .fields = 6,
                                .field_bytes = 60,
                                .chunk_line = 8,
                                .chunk_overhead = 10,
                                .body = 20};
    const http1_limits *limits = pick & 0x80 ? &small : NULL;
    const size_t steps[] = {1, 1u + (pick & 0x7f)};
    said whole, parts;
    read_all(pool, limits, data, size, size ? size : 1, &whole);
    for (size_t i = 0; i < 2; i++) {
        read_all(pool, limits, data, size, steps[i], &parts);
        if (strcmp(weft_buf_str(&whole.text), weft_buf_str(&parts.text)) != 0) abort();
        weft_buf_free(&parts.text);
    }
    weft_buf_free(&whole.text);
    const http_pool_stats stats = http_pool_get_stats(pool);
    if (stats.fields || stats.lists) abort();
    http_pool_free(pool);
    return 0;
}
