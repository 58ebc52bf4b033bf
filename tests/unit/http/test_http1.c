/* HTTP/1.1: every row of the table is read whole, byte by byte, and cut in two at every place; what comes out
 * must be the same. Rows are named by the section that asks for them (RFC 9112 unless it says 9110). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "weft/http1.h"
#include "weft/mem.h"

static http_pool *pool;

static int set_up(void **state) {
    (void)state;
    pool = http_pool_new(0, 42);
    return pool == NULL;
}

static int tear_down(void **state) {
    (void)state;
    const http_pool_stats stats = http_pool_get_stats(pool);
    const int left = stats.fields || stats.interned || stats.lists;
    http_pool_free(pool);
    return left;
}

/* ---- what a parser said, as text:
 *
 *     GET http host /path|name: value|… [flags]{content}(trailer: value)
 *
 * flags: c(lose), n = content length, ch(unked), e(xpects), u(pgrade); then "!400" for a failure */
typedef struct transcript {
    weft_buf text;
    bool in_body;
} transcript;

static const char *value_of(const http_fields *list, http_name name) {
    const http_field *f = http_fields_find(list, name);
    return f ? f->value : "-";
}

static void say_head(transcript *t, const http1_request *r) {
    weft_buf *b = &t->text;
    weft_buf_printf(b, "%s %s %s %s", value_of(&r->fields, HTTP_NAME_METHOD),
                    value_of(&r->fields, HTTP_NAME_SCHEME),
                    value_of(&r->fields, HTTP_NAME_AUTHORITY),
                    value_of(&r->fields, HTTP_NAME_PATH));
    for (uint32_t i = 0; i < r->fields.count; i++) {
        const http_field *f = r->fields.at[i];
        if (f->name[0] != ':') weft_buf_printf(b, "|%s: %s", f->name, f->value);
    }
    weft_buf_printf(b, "[%s%s%s%s", r->keep_alive ? "" : "c", r->chunked ? "ch" : "",
                    r->expects ? "e" : "", r->upgrade ? "u" : "");
    if (r->length > 0) weft_buf_printf(b, "%lld", (long long)r->length);
    weft_buf_adds(b, "]{");
}

static void say_end(transcript *t, const http_fields *trailers) {
    weft_buf_addc(&t->text, '}');
    for (uint32_t i = 0; i < trailers->count; i++)
        weft_buf_printf(&t->text, "(%s: %s)", trailers->at[i]->name, trailers->at[i]->value);
}

/* Feeds one piece; returns http1_read's last result. */
static int feed(http1_parser *p, transcript *t, const char *data, size_t len) {
    /* An exact copy, so that sanitizers see a step too far. */
    uint8_t *copy = weft_malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, data, len);
    const uint8_t *at = copy, *piece = NULL;
    size_t left = len, piece_len = 0;
    int rc = 0;
    while ((rc = http1_read(p, &at, &left, &piece, &piece_len)) > 0) {
        if (rc == HTTP1_HEAD) say_head(t, &p->request);
        if (rc == HTTP1_BODY) weft_buf_add(&t->text, piece, piece_len);
        if (rc == HTTP1_END) say_end(t, &p->trailers);
    }
    if (rc == HTTP1_MORE) assert_int_equal(left, 0);
    weft_free(copy);
    return rc;
}

static void fresh(http1_parser *p, transcript *t, const http1_limits *limits,
                  http1_counters *counters) {
    http1_parser_init(p, pool, "http", limits, counters);
    weft_buf_init(&t->text, 0);
}

static void finish(http1_parser *p, transcript *t, int rc) {
    if (rc < 0) {
        weft_buf_printf(&t->text, "!%d", p->status);
        if (p->limit >= 0)
            weft_buf_printf(&t->text, " %s", http1_limit_name((http1_limit)p->limit));
        assert_non_null(p->reason);
        /* It stays failed. */
        const uint8_t *more = (const uint8_t *)"GET / HTTP/1.1\r\n", *piece = NULL;
        size_t len = 16, piece_len = 0;
        assert_int_equal(http1_read(p, &more, &len, &piece, &piece_len), rc);
    }
    http1_parser_clear(p);
}

/* Splits `text` at `a`; every piece is at most `step` bytes. */
static char *run(const char *text, size_t len, size_t a, size_t step, const http1_limits *limits) {
    http1_parser p;
    transcript t;
    int rc = 0;
    fresh(&p, &t, limits, NULL);
    for (size_t at = 0; at < len && rc >= 0;) {
        size_t n = at < a ? a - at : len - at;
        if (n > step) n = step;
        rc = feed(&p, &t, text + at, n);
        at += n;
    }
    finish(&p, &t, rc);
    char *out = weft_buf_detach(&t.text);
    assert_non_null(out);
    return out;
}

typedef struct row {
    const char *section;
    const char *text;
    const char *expected; /* a transcript; only "!400" matters for failures */
} row;

#define H "Host: h\r\n"
#define GET "GET / HTTP/1.1\r\n" H
#define POST "POST /p HTTP/1.1\r\n" H
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define G "GET http h /"

static const row rows[] = {
    /* messages */
    {"2.1 a request", GET "\r\n", G "[]{}"},
    {"2.1 pipelined", GET "\r\n" GET "\r\n", G "[]{}" G "[]{}"},
    {"2.1 pipelined behind content", POST "Content-Length: 2\r\n\r\nab" GET "\r\n",
     "POST http h /p|content-length: 2[2]{ab}" G "[]{}"},
    {"2.2 empty line first", "\r\n" GET "\r\n", G "[]{}"},
    {"2.2 two empty lines first", "\r\n\r\n" GET "\r\n", G "[]{}"},
    {"2.2 three empty lines first", "\r\n\r\n\r\n" GET "\r\n", "!400 empty_lines"},
    {"2.2 bare LF ends the request line", "GET / HTTP/1.1\n" H "\r\n", "!400"},
    {"2.2 bare LF ends a field line", "GET / HTTP/1.1\r\nHost: h\n\r\n", "!400"},
    {"2.2 bare LF ends the head", GET "\n", "!400"},
    {"2.2 bare LF first", "\n" GET "\r\n", "!400"},
    {"2.2 bare CR in the request line", "GET /\rx HTTP/1.1\r\n" H "\r\n", "!400"},
    {"2.2 bare CR in a value", GET "X: a\rb\r\n\r\n", "!400"},
    {"2.2 CR CR LF", GET "X: a\r\r\n\r\n", "!400"},
    {"2.2 bare CR instead of a line end", "GET / HTTP/1.1\rHost: h\r\r", ""},
    {"2.2 blank before the first field", "GET / HTTP/1.1\r\n " H "\r\n", "!400"},
    {"2.3 minor 0", "GET / HTTP/1.0\r\n\r\n", "GET http - /[c]{}"},
    {"2.3 minor 7 is read as 1", "GET / HTTP/1.7\r\n" H "\r\n", G "[]{}"},
    {"2.3 version 2", "GET / HTTP/2.0\r\n" H "\r\n", "!505"},
    {"2.3 version 0.9", "GET / HTTP/0.9\r\n" H "\r\n", "!505"},
    {"9113 3.4 the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "!505"},
    {"2.3 lower case", "GET / http/1.1\r\n" H "\r\n", "!400"},
    {"2.3 two digits", "GET / HTTP/1.10\r\n" H "\r\n", "!400"},
    {"2.3 no minor", "GET / HTTP/1\r\n" H "\r\n", "!400"},
    {"2.3 letter", "GET / HTTP/1.x\r\n" H "\r\n", "!400"},
    /* request line */
    {"3 no version (HTTP/0.9)", "GET /\r\n\r\n", "!400"},
    {"3 two blanks", "GET  / HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3 two blanks before the version", "GET /  HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3 a tab", "GET\t/ HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3 a blank in front", " GET / HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3 a blank behind", "GET / HTTP/1.1 \r\n" H "\r\n", "!400"},
    {"3 a blank in the target", "GET /a b HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3 one word", "GET\r\n\r\n", "!400"},
    {"3.1 unknown methods are passed on", "BREW / HTTP/1.1\r\n" H "\r\n", "BREW http h /[]{}"},
    {"3.1 methods have case", "get / HTTP/1.1\r\n" H "\r\n", "get http h /[]{}"},
    {"3.1 no token", "G(T / HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3.1 32 bytes", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1\r\n" H "\r\n",
     "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF http h /[]{}"},
    {"3.1 33 bytes", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n" H "\r\n", "!501 method"},
    {"3.2.1 origin", "GET /a/b?c=d&e=%20 HTTP/1.1\r\n" H "\r\n", "GET http h /a/b?c=d&e=%20[]{}"},
    {"3.2.1 fragment", "GET /a#b HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3.2.1 no slash", "GET a HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3.2.1 UTF-8", "GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3.2.1 DEL", "GET /\x7f HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3.2.2 absolute", "GET http://x.y:81/a HTTP/1.1\r\n" H "\r\n", "GET http x.y:81 /a[]{}"},
    {"3.2.2 absolute wins over Host", "GET HTTPS://x/ HTTP/1.1\r\nHost: other\r\n\r\n",
     "GET https x /[]{}"},
    {"3.2.2 no path", "GET http://x HTTP/1.1\r\n" H "\r\n", "GET http x /[]{}"},
    {"3.2.2 a query without path", "GET http://x?q HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3.2.2 userinfo", "GET http://u@x/ HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3.2.2 another scheme", "GET ftp://x/ HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3.2.2 no host", "GET http:/// HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3.2.2 still needs Host", "GET http://x/ HTTP/1.1\r\n\r\n", "!400"},
    {"3.2.3 authority", "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", "CONNECT - h:443 -[]{}"},
    {"3.2.3 no port", "CONNECT h HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3.2.3 a path", "CONNECT /h:1 HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3.2.3 content", "CONNECT h:1 HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\n", "!400"},
    {"3.2.4 asterisk", "OPTIONS * HTTP/1.1\r\n" H "\r\n", "OPTIONS http h *[]{}"},
    {"3.2.4 another method", "GET * HTTP/1.1\r\n" H "\r\n", "!400"},
    {"3.2 no Host", "GET / HTTP/1.1\r\n\r\n", "!400"},
    {"3.2 two Hosts", GET "Host: h\r\n\r\n", "!400"},
    {"3.2 two Hosts, other case", GET "HOST: i\r\n\r\n", "!400"},
    {"3.2 empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "!400"},
    {"3.2 list in Host", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "!400"},
    {"3.2 path in Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "!400"},
    {"3.2 userinfo in Host", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "!400"},
    {"3.2 IPv6", "GET / HTTP/1.1\r\nHost: [fd00::1]:80\r\n\r\n", "GET http [fd00::1]:80 /[]{}"},
    {"3.2 IPv6 not closed", "GET / HTTP/1.1\r\nHost: [fd00::1\r\n\r\n", "!400"},
    {"3.2 port with letters", "GET / HTTP/1.1\r\nHost: h:8a\r\n\r\n", "!400"},
    {"3.2 Host in HTTP/1.0", "GET / HTTP/1.0\r\n" H "\r\n", "GET http h /[c]{}"},
    /* fields */
    {"5 names in any case", GET "X-Own: V\r\n\r\n", G "|x-own: V[]{}"},
    {"5.1 blanks around the value", GET "X: \t a b\t \r\n\r\n", G "|x: a b[]{}"},
    {"5.1 no blank", GET "X:a\r\n\r\n", G "|x: a[]{}"},
    {"5.1 empty value", GET "X:\r\nY:  \r\n\r\n", G "|x: |y: []{}"},
    {"5.1 colons in the value", GET "X: a:b\r\n\r\n", G "|x: a:b[]{}"},
    {"5.1 blank before the colon", GET "X : a\r\n\r\n", "!400"},
    {"5.1 tab before the colon", GET "X\t: a\r\n\r\n", "!400"},
    {"5.1 blank in the name", GET "X Y: a\r\n\r\n", "!400"},
    {"5.1 no colon", GET "X\r\n\r\n", "!400"},
    {"5.1 no name", GET ": a\r\n\r\n", "!400"},
    {"5.1 a pseudo-header", GET ":path: /other\r\n\r\n", "!400"},
    {"5.1 no token", GET "X{}: a\r\n\r\n", "!400"},
    {"5.1 UTF-8 in the name", GET "\xc3\xa4: a\r\n\r\n", "!400"},
    {"5.2 folding", GET "X: a\r\n b\r\n\r\n", "!400"},
    {"5.2 folding with a tab", GET "X: a\r\n\tb\r\n\r\n", "!400"},
    {"5.2 a line of blanks", GET "X: a\r\n \r\n\r\n", "!400"},
    {"9110 5.5 obs-text", GET "X: \xe4\r\n\r\n", G "|x: \xe4[]{}"},
    {"9110 5.5 control character", GET "X: a\x01\r\n\r\n", "!400"},
    {"9110 5.5 DEL", GET "X: a\x7f\r\n\r\n", "!400"},
    {"9110 5.2 repeated fields stay apart", GET "X: a\r\nX: b\r\n\r\n", G "|x: a|x: b[]{}"},
    /* framing */
    {"6.1 chunked", CHUNKED "3\r\nabc\r\n0\r\n\r\n", "POST http h /p[ch]{abc}"},
    {"6.1 Chunked in any case", POST "transfer-encoding: ChUnKeD\r\n\r\n0\r\n\r\n",
     "POST http h /p[ch]{}"},
    {"6.1 with Content-Length", POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
     "!400"},
    {"6.1 with Content-Length behind",
     POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", "!400"},
    {"6.1 in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "!400"},
    {"6.1 twice", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "!400"},
    {"6.1 chunked twice", POST "Transfer-Encoding: chunked, chunked\r\n\r\n", "!400"},
    {"6.1 identity", POST "Transfer-Encoding: identity\r\n\r\n", "!400"},
    {"6.1 chunked not last", POST "Transfer-Encoding: chunked, gzip\r\n\r\n", "!400"},
    {"6.1 gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n", "!501"},
    {"6.1 xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n", "!400"},
    {"6.1 quoted", POST "Transfer-Encoding: \"chunked\"\r\n\r\n", "!400"},
    {"6.1 vertical tab",
     POST "Transfer-Encoding: \x0b"
          "chunked\r\n\r\n",
     "!400"},
    {"6.1 empty", POST "Transfer-Encoding:\r\n\r\n", "!400"},
    {"6.1 blank before the colon", POST "Transfer-Encoding : chunked\r\n\r\n", "!400"},
    {"6.2 length", POST "Content-Length: 3\r\n\r\nabc", "POST http h /p|content-length: 3[3]{abc}"},
    {"6.2 zero", POST "Content-Length: 0\r\n\r\n", "POST http h /p|content-length: 0[]{}"},
    {"6.2 content of GET", GET "Content-Length: 1\r\n\r\nx", G "|content-length: 1[1]{x}"},
    {"6.2 twice and equal", POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "!400"},
    {"6.2 twice and different", POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "!400"},
    {"6.2 a list", POST "Content-Length: 3, 3\r\n\r\nabc", "!400"},
    {"6.2 a sign", POST "Content-Length: +3\r\n\r\nabc", "!400"},
    {"6.2 negative", POST "Content-Length: -1\r\n\r\nabc", "!400"},
    {"6.2 hexadecimal", POST "Content-Length: 0x3\r\n\r\nabc", "!400"},
    {"6.2 blank inside", POST "Content-Length: 1 0\r\n\r\nabc", "!400"},
    {"6.2 empty", POST "Content-Length:\r\n\r\n", "!400"},
    {"6.2 2^64 + 3", POST "Content-Length: 18446744073709551619\r\n\r\nabc", "!400"},
    {"6.2 above the limit", POST "Content-Length: 4194305\r\n\r\n", "!413 body"},
    {"6.3 neither", POST "\r\n", "POST http h /p[]{}"},
    {"6.3 what is behind is the next request", POST "\r\nabc", "POST http h /p[]{}"},
    /* chunks */
    {"7.1 several", CHUNKED "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n" GET "\r\n",
     "POST http h /p[ch]{abc}" G "[]{}"},
    {"7.1 hexadecimal", CHUNKED "A\r\n0123456789\r\n00\r\n\r\n", "POST http h /p[ch]{0123456789}"},
    {"7.1 lower case", CHUNKED "0000a\r\n0123456789\r\n0\r\n\r\n",
     "POST http h /p[ch]{0123456789}"},
    {"7.1 no size", CHUNKED "\r\nabc", "!400"},
    {"7.1 0x", CHUNKED "0x3\r\nabc\r\n", "!400"},
    {"7.1 a sign", CHUNKED "+3\r\nabc\r\n", "!400"},
    {"7.1 negative", CHUNKED "-1\r\n", "!400"},
    {"7.1 underscore", CHUNKED "1_0\r\n", "!400"},
    {"7.1 blank in front", CHUNKED " 3\r\nabc\r\n", "!400"},
    {"7.1 blank behind", CHUNKED "3 \r\nabc\r\n", "!400"},
    {"7.1 bare LF behind the size", CHUNKED "3\nabc\r\n", "!400"},
    {"7.1 bare CR behind the size", CHUNKED "3\rabc\r\n", "!400"},
    {"7.1 sixteen digits", CHUNKED "0000000000000003\r\nabc\r\n", "!400"},
    {"7.1 above the limit", CHUNKED "400001\r\n", "!413 body"},
    {"7.1 above the limit together", CHUNKED "1\r\na\r\n400000\r\n", "!413 body"},
    {"7.1 longer than its size", CHUNKED "2\r\nabc\r\n", "!400"},
    {"7.1 shorter than its size", CHUNKED "4\r\nabc\r\n0\r\n\r\n", "!400"},
    {"7.1 bare LF behind the data", CHUNKED "3\r\nabc\n0\r\n\r\n", "!400"},
    {"7.1 nothing behind the data", CHUNKED "3\r\nabc0\r\n\r\n", "!400"},
    {"7.1.1 extensions", CHUNKED "3;a=b;c=\"d e\"\r\nabc\r\n0 ;x\r\n\r\n",
     "POST http h /p[ch]{abc}"},
    {"7.1.1 control character", CHUNKED "3;a\x01\r\nabc\r\n", "!400"},
    {"7.1.1 bare LF", CHUNKED "3;a\nabc\r\n0\r\n\r\n", "!400"},
    {"7.1.1 CR CR LF", CHUNKED "3;a\r\r\nabc\r\n", "!400"},
    {"7.1.2 trailers", CHUNKED "0\r\nX-T: v\r\nExpires: 0\r\n\r\n",
     "POST http h /p[ch]{}(x-t: v)(expires: 0)"},
    {"7.1.2 folded", CHUNKED "0\r\nX-T: v\r\n w\r\n\r\n", "!400"},
    {"7.1.2 bare LF", CHUNKED "0\r\n\n", "!400"},
    {"9110 6.5.1 Content-Length", CHUNKED "0\r\nContent-Length: 3\r\n\r\n", "!400"},
    {"9110 6.5.1 Transfer-Encoding", CHUNKED "0\r\nTransfer-Encoding: chunked\r\n\r\n", "!400"},
    {"9110 6.5.1 Host", CHUNKED "0\r\nHost: h\r\n\r\n", "!400"},
    {"9110 6.5.1 others are dropped",
     CHUNKED "0\r\nAuthorization: x\r\nTE: a\r\nConnection: b\r\n\r\n", "POST http h /p[ch]{}"},
    {"7.4 TE is dropped", GET "TE: trailers\r\nConnection: TE\r\n\r\n", G "[]{}"},
    /* connections */
    {"9.3 close", GET "Connection: close\r\n\r\n", G "[c]{}"},
    {"9.3 Close among others", GET "Connection: foo, CLOSE\r\n\r\n", G "[c]{}"},
    {"9.3 keep-alive in 1.0", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
     "GET http - /[]{}"},
    {"9.3 close wins", "GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
     "GET http - /[c]{}"},
    {"9110 7.6.1 what Connection names",
     GET "X-A: 1\r\nConnection: x-A, , X-b\r\nX-B: 2\r\nX-C: 3\r\n\r\n", G "|x-c: 3[]{}"},
    {"9110 7.6.1 Connection names Host", GET "Connection: host\r\n\r\n", "!400"},
    {"9110 7.6.1 Connection names the length",
     POST "Content-Length: 1\r\nConnection: Content-Length\r\n\r\nx", "!400"},
    {"9110 7.6.1 no token", GET "Connection: a b\r\n\r\n", "!400"},
    {"9110 7.6.1 Connection names itself", GET "Connection: connection\r\n\r\n", G "[]{}"},
    {"9110 7.6.1 hop by hop", GET "Keep-Alive: 5\r\nProxy-Connection: x\r\nX: y\r\n\r\n",
     G "|x: y[]{}"},
    {"9110 7.8 Upgrade is not followed",
     GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
     G "[u]{}"},
    {"9110 10.1.1 100-continue", POST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx",
     "POST http h /p|content-length: 1[e1]{x}"},
    {"9110 10.1.1 without content", GET "Expect: 100-continue\r\n\r\n", G "[]{}"},
    {"9110 10.1.1 another", POST "Expect: more\r\n\r\n", "!417"},
    {"9110 10.1.1 in 1.0", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
     "POST http - /|content-length: 1[c1]{x}"},
};

static void check(const row *r, size_t len, const http1_limits *limits) {
    char *whole = run(r->text, len, 0, len, limits);
    if (r->expected) {
        const char *bad = r->expected[0] == '!' ? strchr(whole, '!') : whole;
        if (!bad || strcmp(bad, r->expected) != 0)
            fail_msg("%s: \"%s\" instead of \"%s\"", r->section, whole, r->expected);
    }
    for (size_t at = 0; at <= len; at++) {
        char *split = run(r->text, len, at ? at : len, at ? len : 1, limits);
        if (strcmp(split, whole) != 0)
            fail_msg("%s, cut at %zu: \"%s\" instead of \"%s\"", r->section, at, split, whole);
        weft_free(split);
    }
    weft_free(whole);
}

static void test_table(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check(&rows[i], strlen(rows[i].text), NULL);
    print_message("%zu rows\n", sizeof rows / sizeof *rows);
}

/* Every byte value in every place of a small request: never a crash, and no request that is understood holds
 * a control character. */
static void test_every_byte(void **state) {
    (void)state;
    static const char text[] = "POST /p HTTP/1.1\r\nHost: h\r\nX: ab\r\nContent-Length: 1\r\n\r\nz";
    for (size_t i = 0; i + 2 < sizeof text; i++) {
        for (unsigned c = 0; c < 256; c++) {
            char copy[sizeof text];
            memcpy(copy, text, sizeof text);
            copy[i] = (char)c;
            char *out = run(copy, sizeof text - 1, 0, sizeof text, NULL);
            char *bytes = run(copy, sizeof text - 1, 0, 1, NULL);
            assert_string_equal(out, bytes);
            if (!strchr(out, '!') && (c < 0x20 || c == 0x7f) && c != '\t')
                assert_true(text[i] == (char)c || !strchr(out, '}'));
            weft_free(out);
            weft_free(bytes);
        }
    }
}

/* ---- limits: one below passes, one above does not */

static void limit_case(const char *text, const http1_limits *limits, const char *expected) {
    const row r = {"limit", text, expected};
    check(&r, strlen(text), limits);
}

static void test_limits(void **state) {
    (void)state;
    http1_limits l = {.line = 14};
    limit_case("GET / HTTP/1.1\r\n" H "\r\n", &l, G "[]{}");
    l.line = 13;
    limit_case("GET / HTTP/1.1\r\n" H "\r\n", &l, "!414 line");
    l = (http1_limits){.fields = 5}; /* three pseudo-headers and the authority among them */
    limit_case(GET "A: 1\r\n\r\n", &l, G "|a: 1[]{}");
    limit_case(GET "A: 1\r\nB: 2\r\n\r\n", &l, "!431 fields");
    l = (http1_limits){.field_bytes = 9};
    limit_case(GET "\r\n", &l, G "[]{}");
    l.field_bytes = 8;
    limit_case("GET / HTTP/1.1\r\nHost: hh\r\nA: b\r\n\r\n", &l, "!431 field_bytes");
    l = (http1_limits){.chunk_line = 3};
    limit_case(CHUNKED "1;a\r\nx\r\n0\r\n\r\n", &l, "POST http h /p[ch]{x}");
    limit_case(CHUNKED "1;ab\r\nx\r\n0\r\n\r\n", &l, "!400 chunk_line");
    l = (http1_limits){.chunk_overhead = 4};
    limit_case(CHUNKED "1;a\r\nx\r\n1;a\r\ny\r\n0\r\n\r\n", &l, "POST http h /p[ch]{xy}");
    limit_case(CHUNKED "1;a\r\nx\r\n1;ab\r\ny\r\n0\r\n\r\n", &l, "!400 chunk_overhead");
    l = (http1_limits){.body = 3};
    limit_case(CHUNKED "3\r\nabc\r\n0\r\n\r\n", &l, "POST http h /p[ch]{abc}");
    limit_case(CHUNKED "3\r\nabc\r\n1\r\n", &l, "!413 body");
    l = (http1_limits){.empty_lines = 1};
    limit_case("\r\n\r\n" GET "\r\n", &l, "!400 empty_lines");
    l = (http1_limits){.body = UINT64_MAX};
    limit_case(CHUNKED "fffffffffffffff\r\n", &l, "POST http h /p[ch]{");
}

static void test_counters(void **state) {
    (void)state;
    http1_counters counters = {0};
    const http1_limits limits = {.line = 100};
    static const char *const texts[] = {
        GET "\r\n", "GET / HTTP/9.9\r\n", "bad\n",
        "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        http1_parser p;
        transcript t;
        fresh(&p, &t, &limits, &counters);
        finish(&p, &t, feed(&p, &t, texts[i], strlen(texts[i])));
        weft_buf_free(&t.text);
    }
    assert_int_equal(counters.requests, 1);
    assert_int_equal(counters.malformed, 2);
    assert_int_equal(counters.limits[HTTP1_LIMIT_line], 1);
    assert_int_equal(counters.limits[HTTP1_LIMIT_method], 1);
}

/* Nothing is held between requests, and idle says so. */
static void test_idle(void **state) {
    (void)state;
    http1_parser p;
    transcript t;
    fresh(&p, &t, NULL, NULL);
    assert_true(http1_parser_idle(&p));
    assert_int_equal(feed(&p, &t, "PO", 2), HTTP1_MORE);
    assert_false(http1_parser_idle(&p));
    assert_false(http1_parser_in_body(&p));
    const char rest[] = "ST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na";
    assert_int_equal(feed(&p, &t, rest, sizeof rest - 1), HTTP1_MORE);
    assert_true(http1_parser_in_body(&p));
    assert_int_equal(feed(&p, &t, "bc", 2), HTTP1_MORE);
    assert_true(http1_parser_idle(&p));
    assert_null(p.line.data);
    assert_int_equal(feed(&p, &t, "\r\n", 2), HTTP1_MORE);
    assert_false(http1_parser_idle(&p));
    http1_parser_clear(&p);
    weft_buf_free(&t.text);
}

/* ---- memory */

static int allowed;
static int allow(size_t size, void *user) {
    (void)size;
    (void)user;
    return allowed-- > 0;
}

static void test_out_of_memory(void **state) {
    (void)state;
    static const char text[] =
        POST "X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
             "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nT: v\r\n\r\n";
    int failures = 0;
    for (int n = 0;; n++) {
        http_pool *own = http_pool_new(0, 1);
        http1_parser p;
        transcript t;
        http1_parser_init(&p, own, "http", NULL, NULL);
        weft_buf_init(&t.text, 0);
        int rc = 0;
        allowed = n;
        weft_mem_hook(allow, NULL);
        for (size_t i = 0; i + 1 < sizeof text && rc >= 0; i++) {
            const uint8_t *at = (const uint8_t *)text + i, *piece = NULL;
            size_t left = 1, piece_len = 0;
            while ((rc = http1_read(&p, &at, &left, &piece, &piece_len)) > 0) {}
        }
        weft_mem_hook(NULL, NULL);
        if (rc < 0) {
            assert_int_equal(rc, WEFT_ENOMEM);
            assert_int_equal(p.status, 503);
            failures++;
        }
        http1_parser_clear(&p);
        weft_buf_free(&t.text);
        http_pool_free(own);
        if (!rc) break;
    }
    assert_true(failures >= 3);
}

/* ---- responses */

static weft_chunk_pool *chunks;

static char *text_of(weft_chain *chain) {
    weft_buf b;
    weft_buf_init(&b, 0);
    for (const weft_link *l = chain->head; l; l = l->next)
        weft_buf_add(&b, l->slice.data, l->slice.len);
    weft_chain_clear(chain);
    char *text = weft_buf_detach(&b);
    assert_non_null(text);
    return text;
}

typedef struct answer {
    http1_reply reply;
    const char *body;
    const char *expected;
    bool close;
} answer;

static void test_write(void **state) {
    (void)state;
    static const answer answers[] = {
        {{200, 1, false, true, 2, NULL},
         "hi",
         "HTTP/1.1 200 OK\r\nf: v\r\ncontent-length: 2\r\n\r\nhi",
         false},
        {{200, 1, false, false, 2, NULL},
         "hi",
         "HTTP/1.1 200 OK\r\nf: v\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi",
         true},
        {{200, 1, false, true, -1, NULL},
         "hi",
         "HTTP/1.1 200 OK\r\nf: v\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nf: v\r\n\r\n",
         false},
        {{200, 0, false, true, -1, NULL},
         "hi",
         "HTTP/1.1 200 OK\r\nf: v\r\nconnection: close\r\n\r\nhi",
         true},
        {{200, 0, false, true, 2, NULL},
         "hi",
         "HTTP/1.1 200 OK\r\nf: v\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nhi",
         false},
        {{200, 1, true, true, 2, NULL},
         "hi",
         "HTTP/1.1 200 OK\r\nf: v\r\ncontent-length: 2\r\n\r\n",
         false},
        {{200, 1, true, true, -1, NULL},
         "hi",
         "HTTP/1.1 200 OK\r\nf: v\r\ntransfer-encoding: chunked\r\n\r\n",
         false},
        {{204, 1, false, true, 0, NULL}, "", "HTTP/1.1 204 No Content\r\nf: v\r\n\r\n", false},
        {{304, 1, false, true, -1, NULL}, "", "HTTP/1.1 304 Not Modified\r\nf: v\r\n\r\n", false},
        {{599, 1, false, true, 0, NULL},
         "",
         "HTTP/1.1 599 \r\nf: v\r\ncontent-length: 0\r\n\r\n",
         false},
    };
    chunks = weft_chunk_pool_new(0, 0);
    http_fields fields;
    http_fields_init(&fields, pool);
    /* All but the last are the writer's to decide. */
    assert_int_equal(http_fields_add_text(&fields, ":status", "200"), 0);
    assert_int_equal(http_fields_add_text(&fields, "connection", "close"), 0);
    assert_int_equal(http_fields_add_text(&fields, "transfer-encoding", "gzip"), 0);
    assert_int_equal(http_fields_add_text(&fields, "content-length", "77"), 0);
    assert_int_equal(http_fields_add_text(&fields, "f", "v"), 0);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        http1_writer w;
        weft_chain out;
        weft_chain_init(&out, chunks);
        http1_reply reply = answers[i].reply;
        reply.fields = &fields;
        assert_int_equal(http1_write_head(&w, &reply, &out), 0);
        const weft_slice slice = {(const uint8_t *)answers[i].body, strlen(answers[i].body), NULL};
        assert_int_equal(http1_write_body(&w, &slice, &out), 0);
        assert_int_equal(http1_write_end(&w, &fields, &out), 0);
        char *text = text_of(&out);
        assert_string_equal(text, answers[i].expected);
        assert_int_equal(w.close, answers[i].close);
        weft_free(text);
    }
    http_fields_clear(&fields);
    weft_chunk_pool_free(chunks);
}

static void test_write_misuse(void **state) {
    (void)state;
    chunks = weft_chunk_pool_new(0, 0);
    weft_chain out;
    weft_chain_init(&out, chunks);
    http1_writer w;
    const weft_slice three = {(const uint8_t *)"abc", 3, NULL};
    http1_reply reply = {.status = 200, .minor = 1, .keep_alive = true, .length = 2};
    assert_int_equal(http1_write_head(&w, &reply, &out), 0);
    assert_int_equal(http1_write_body(&w, &three, &out), WEFT_EINVAL);
    assert_int_equal(http1_write_end(&w, NULL, &out), WEFT_EINVAL);
    weft_chain_clear(&out);
    reply.status = 100;
    assert_int_equal(http1_write_head(&w, &reply, &out), WEFT_EINVAL);
    /* A value that would begin another response. */
    http_fields fields;
    http_fields_init(&fields, pool);
    assert_int_equal(http_fields_add_text(&fields, "x", "a\r\nset-cookie: b"), 0);
    reply = (http1_reply){.status = 200, .minor = 1, .length = 0, .fields = &fields};
    assert_int_equal(http1_write_head(&w, &reply, &out), WEFT_EINVAL);
    assert_int_equal(out.bytes, 0);
    http_fields_clear(&fields);
    assert_int_equal(http1_write_continue(&out), 0);
    char *text = text_of(&out);
    assert_string_equal(text, "HTTP/1.1 100 Continue\r\n\r\n");
    weft_free(text);
    weft_chunk_pool_free(chunks);
}

static void test_texts(void **state) {
    (void)state;
    char date[HTTP1_DATE];
    assert_string_equal(http1_date(INT64_C(784111777) * 1000000000, date),
                        "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_string_equal(http1_date(0, date), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_string_equal(http1_date(INT64_C(951782400) * 1000000000, date),
                        "Tue, 29 Feb 2000 00:00:00 GMT");
    assert_string_equal(http1_date(INT64_C(1800000000) * 1000000000 + 999999999, date),
                        "Fri, 15 Jan 2027 08:00:00 GMT");
    assert_string_equal(http1_reason(404), "Not Found");
    assert_string_equal(http1_reason(299), "");
    assert_string_equal(http1_limit_name(HTTP1_LIMIT_body), "body");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_counters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_idle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_out_of_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_write_misuse, set_up, tear_down),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
