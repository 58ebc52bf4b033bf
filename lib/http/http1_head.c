/* What the lines of an HTTP/1.1 head mean, alone and together. RFC 9112 sections 3, 5 and 6, RFC 9110. */
#include <string.h>

#include "lib/http/http1_int.h"
#include "lib/http/names.h"

/* ---- small syntax */

static bool is_blank(char c) { return c == ' ' || c == '\t'; }
static char to_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }
static bool is_alnum(char c) {
    return (c >= '0' && c <= '9') || (to_lower(c) >= 'a' && to_lower(c) <= 'z');
}

/* RFC 9110 section 5.6.2. */
static bool is_tchar(char c) { return is_alnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c)); }

bool h1_is(const char *text, size_t len, const char *lower) {
    if (strlen(lower) != len) return false;
    for (size_t i = 0; i < len; i++)
        if (to_lower(text[i]) != lower[i]) return false;
    return true;
}

bool h1_next_token(const char **at, const char *end, const char **token, size_t *len) {
    const char *p = *at;
    while (p < end && (is_blank(*p) || *p == ',')) p++;
    const char *stop = p;
    while (stop < end && *stop != ',') stop++;
    *at = stop;
    *token = p;
    while (stop > p && is_blank(stop[-1])) stop--;
    *len = (size_t)(stop - p);
    return *len > 0;
}

static bool is_host_char(char c) { return is_alnum(c) || (c && strchr("-._~%!$&'()*+,;=", c)); }

bool h1_authority_ok(const char *text, size_t len) {
    size_t i = 0;
    if (len && text[0] == '[') {
        for (i = 1; i < len && text[i] != ']'; i++)
            if (!is_alnum(text[i]) && text[i] != ':' && text[i] != '.') return false;
        if (i == len || i == 1) return false;
        i++;
    } else {
        while (i < len && is_host_char(text[i])) i++;
        if (i == 0) return false;
    }
    if (i == len) return true;
    if (text[i] != ':' || len - i > 6) return false;
    for (i++; i < len; i++)
        if (text[i] < '0' || text[i] > '9') return false;
    return true;
}

/* ---- request line */

static int parse_version(http1_parser *p, const char *text, size_t len) {
    if (len != 8 || memcmp(text, "HTTP/", 5) != 0 || text[6] != '.' || text[5] < '0' ||
        text[5] > '9' || text[7] < '0' || text[7] > '9')
        return h1_malformed(p, "a request line does not end in HTTP/1.1");
    if (text[5] != '1')
        return h1_unsupported(p, 505,
                              "another version of HTTP than 1.0 and 1.1 is not spoken here");
    p->request.minor =
        text[7] == '0' ? 0 : 1; /* a later minor is understood as ours: section 2.3 */
    return 0;
}

static int push(http1_parser *p, http_name name, const char *value, size_t len) {
    return http_fields_add_known(&p->request.fields, name, value, len) ? h1_no_memory(p) : 0;
}

/* :method, :scheme, :authority and :path. The authority is empty until Host comes. */
static int push_target(http1_parser *p, const char *method, size_t method_len, const char *scheme,
                       const char *authority, size_t authority_len, const char *path,
                       size_t path_len) {
    int rc = push(p, HTTP_NAME_METHOD, method, method_len);
    if (!rc && scheme) rc = push(p, HTTP_NAME_SCHEME, scheme, strlen(scheme));
    if (!rc) rc = push(p, HTTP_NAME_AUTHORITY, authority, authority_len);
    if (!rc && path) rc = push(p, HTTP_NAME_PATH, path, path_len);
    return rc;
}

/* "http://host:port/path", section 3.2.2. */
static int absolute_target(http1_parser *p, const char *method, size_t method_len,
                           const char *target, size_t len) {
    const char *scheme = len > 7 && h1_is(target, 7, "http://")    ? "http"
                         : len > 8 && h1_is(target, 8, "https://") ? "https"
                                                                   : NULL;
    if (!scheme) return h1_malformed(p, "a request target that is neither a path nor an http URI");
    const size_t skip = strlen(scheme) + 3;
    target += skip;
    len -= skip;
    size_t host = 0;
    while (host < len && target[host] != '/' && target[host] != '?') host++;
    if (!h1_authority_ok(target, host))
        return h1_malformed(p, "a request target with a malformed host");
    p->form = H1_ABSOLUTE;
    if (host < len && target[host] == '?') /* an empty path: RFC 9110 section 4.2.3 */
        return h1_malformed(p, "a request target without a path");
    const char *path = host < len ? target + host : "/";
    return push_target(p, method, method_len, scheme, target, host, path,
                       host < len ? len - host : 1);
}

static int parse_target(http1_parser *p, const char *method, size_t method_len, const char *target,
                        size_t len) {
    for (size_t i = 0; i < len; i++)
        if (target[i] <= 0x20 || target[i] > 0x7e || target[i] == '#')
            return h1_malformed(p, "a request target with a character that must be escaped");
    if (method_len == 7 && !memcmp(method, "CONNECT", 7)) {
        p->form = H1_AUTHORITY;
        if (!h1_authority_ok(target, len) || target[len - 1] == ':' || !memchr(target, ':', len))
            return h1_malformed(p, "CONNECT needs a host and a port");
        return push_target(p, method, method_len, NULL, target, len, NULL, 0);
    }
    if (len == 1 && target[0] == '*') {
        p->form = H1_ASTERISK;
        if (method_len != 7 || memcmp(method, "OPTIONS", 7) != 0)
            return h1_malformed(p, "only OPTIONS may ask for *");
    } else if (target[0] != '/') {
        return absolute_target(p, method, method_len, target, len);
    } else {
        p->form = H1_ORIGIN;
    }
    return push_target(p, method, method_len, p->scheme, "", 0, target, len);
}

int h1_request_line(http1_parser *p, const char *line, size_t len) {
    size_t word = 0;
    while (word < len && is_tchar(line[word])) word++;
    if (word > p->limits.method) return h1_over(p, HTTP1_LIMIT_method);
    if (word == 0 || word == len || line[word] != ' ')
        return h1_malformed(p, "a request line does not begin with a method and a blank");
    const char *target = line + word + 1;
    const char *end = line + len;
    const char *space = memchr(target, ' ', (size_t)(end - target));
    if (!space || space == target)
        return h1_malformed(p, "a request line is not method, target and version");
    p->request.head = word == 4 && !memcmp(line, "HEAD", 4);
    const int rc = parse_version(p, space + 1, (size_t)(end - space) - 1);
    return rc ? rc : parse_target(p, line, word, target, (size_t)(space - target));
}

/* ---- fields */

static int parse_length(http1_parser *p, const char *value, size_t len) {
    int64_t n = 0;
    if (p->framing & H1_HAS_LENGTH) return h1_malformed(p, "Content-Length came twice");
    p->framing |= H1_HAS_LENGTH;
    if (len == 0 || len > 18) return h1_malformed(p, "Content-Length is no number of bytes");
    for (size_t i = 0; i < len; i++) {
        if (value[i] < '0' || value[i] > '9')
            return h1_malformed(p, "Content-Length is no number of bytes");
        n = n * 10 + (value[i] - '0');
    }
    p->request.length = n;
    return 0;
}

static int parse_coding(http1_parser *p, const char *value, size_t len) {
    if (p->framing & H1_HAS_CODING) return h1_malformed(p, "Transfer-Encoding came twice");
    p->framing |= H1_HAS_CODING;
    p->request.chunked = true;
    if (h1_is(value, len, "chunked")) return 0;
    const char *at = value, *token = NULL;
    size_t token_len = 0, count = 0;
    bool last = false;
    while (h1_next_token(&at, value + len, &token, &token_len)) {
        last = h1_is(token, token_len, "chunked");
        if (last && count++) return h1_malformed(p, "Transfer-Encoding applies chunked twice");
    }
    if (!last) return h1_malformed(p, "Transfer-Encoding does not end in chunked");
    return h1_unsupported(p, 501, "a transfer coding other than chunked is not understood");
}

/* What a field of the head does besides being kept. 1: it is not kept; 0: keep it. */
static int head_field(http1_parser *p, http_name name, const char *value, size_t len) {
    int rc = 0;
    switch (name) {
    case HTTP_NAME_CONTENT_LENGTH:
        return parse_length(p, value, len);
    case HTTP_NAME_TRANSFER_ENCODING:
        rc = parse_coding(p, value, len);
        return rc ? rc : 1;
    case HTTP_NAME_HOST:
        if (p->framing & H1_HAS_HOST) return h1_malformed(p, "Host came twice");
        p->framing |= H1_HAS_HOST;
        if (!h1_authority_ok(value, len)) return h1_malformed(p, "Host is no host and port");
        if (p->form == H1_ORIGIN || p->form == H1_ASTERISK) {
            http_field *authority =
                http_field_known(p->request.fields.pool, HTTP_NAME_AUTHORITY, value, len);
            if (http_fields_set(&p->request.fields, authority)) return h1_no_memory(p);
        }
        return 1;
    case HTTP_NAME_EXPECT:
        if (p->request.minor == 0) return 1;
        if (!h1_is(value, len, "100-continue"))
            return h1_unsupported(p, 417, "an expectation other than 100-continue is not met");
        p->request.expects = true;
        return 1;
    case HTTP_NAME_UPGRADE:
        p->request.upgrade = true;
        return 1;
    case HTTP_NAME_CONNECTION: /* until the head is complete */
        p->framing |= H1_HAS_CONNECTION;
        return 0;
    case HTTP_NAME_KEEP_ALIVE:
    case HTTP_NAME_PROXY_CONNECTION:
    case HTTP_NAME_TE:
        return 1;
    default:
        return 0;
    }
}

/* RFC 9110 section 6.5.1: what decides about a message cannot come behind it. */
static int trailer_field(http1_parser *p, http_name name) {
    switch (name) {
    case HTTP_NAME_CONTENT_LENGTH:
    case HTTP_NAME_TRANSFER_ENCODING:
    case HTTP_NAME_HOST:
        return h1_malformed(p, "a trailer that decides about the message");
    case HTTP_NAME_AUTHORIZATION:
    case HTTP_NAME_PROXY_AUTHORIZATION:
    case HTTP_NAME_COOKIE:
    case HTTP_NAME_EXPECT:
    case HTTP_NAME_TE:
    case HTTP_NAME_TRAILER:
        return 1;
    default:
        return http_name_kind(name) & HTTP_HOP ? 1 : 0;
    }
}

int h1_field_line(http1_parser *p, http_fields *list, const char *line, size_t len) {
    char name[HTTP1_NAME_MAX];
    if (is_blank(line[0])) return h1_malformed(p, "a folded line, or a blank before a field name");
    size_t n = 0;
    for (; n < len && is_tchar(line[n]) && n < sizeof name; n++) name[n] = to_lower(line[n]);
    if (n == sizeof name && n < len && is_tchar(line[n]))
        return h1_malformed(p, "a field name of more than 255 bytes");
    if (n < len && is_blank(line[n]))
        return h1_malformed(p, "a blank between a field name and its colon");
    if (n == 0 || n == len || line[n] != ':')
        return h1_malformed(p, "a field line that is not a name, a colon and a value");
    const char *value = line + n + 1, *end = line + len;
    while (value < end && is_blank(*value)) value++;
    while (end > value && is_blank(end[-1])) end--;
    const size_t value_len = (size_t)(end - value);
    if (!http_value_ok(value, value_len))
        return h1_malformed(p, "a control character in a field value");
    if (list->count >= p->limits.fields || list->count >= HTTP_FIELDS_MAX)
        return h1_over(p, HTTP1_LIMIT_fields);
    const http_name id = http_name_find(name, n);
    const int rc =
        list == &p->trailers ? trailer_field(p, id) : head_field(p, id, value, value_len);
    if (rc) return rc < 0 ? rc : 0;
    http_field *field = id ? http_field_known(list->pool, id, value, value_len)
                           : http_field_new(list->pool, name, n, value, value_len);
    return http_fields_push(list, field) ? h1_no_memory(p) : 0;
}

/* ---- the head as a whole */

/* Drops what Connection names. It must not reach fields that say where the message ends and whom it is for. */
static int drop_nominated(http1_parser *p, const char *token, size_t len) {
    http_fields *list = &p->request.fields;
    char name[HTTP1_NAME_MAX];
    if (len > sizeof name) return h1_malformed(p, "Connection names a field that cannot be");
    for (size_t i = 0; i < len; i++) {
        if (!is_tchar(token[i])) return h1_malformed(p, "Connection is no list of names");
        name[i] = to_lower(token[i]);
    }
    const http_name id = http_name_find(name, len);
    if (id == HTTP_NAME_CONTENT_LENGTH || id == HTTP_NAME_HOST || id == HTTP_NAME_TRANSFER_ENCODING)
        return h1_malformed(p, "Connection names a field that decides about the message");
    if (id == HTTP_NAME_CONNECTION) return 0;
    for (uint32_t i = list->count; i--;) {
        const http_field *f = list->at[i];
        if (f->name_len == len && !memcmp(f->name, name, len)) http_fields_remove_at(list, i);
    }
    return 0;
}

static int finish_connection(http1_parser *p) {
    http_fields *list = &p->request.fields;
    bool closes = false, keeps = false;
    if (p->framing & H1_HAS_CONNECTION) {
        http_field *field = NULL;
        while ((field = http_fields_find(list, HTTP_NAME_CONNECTION))) {
            const char *at = field->value, *token = NULL;
            const char *end = at + field->value_len;
            size_t len = 0;
            int rc = 0;
            http_field_ref(field);
            while (!rc && h1_next_token(&at, end, &token, &len)) {
                if (h1_is(token, len, "close"))
                    closes = true;
                else if (h1_is(token, len, "keep-alive"))
                    keeps = true;
                else
                    rc = drop_nominated(p, token, len);
            }
            for (uint32_t i = 0; i < list->count; i++) {
                if (list->at[i] != field) continue;
                http_fields_remove_at(list, i);
                break;
            }
            http_field_unref(field);
            if (rc) return rc;
        }
    }
    p->request.keep_alive = !closes && (p->request.minor > 0 || keeps);
    return 0;
}

/* RFC 9112 section 6.3, the part about requests. */
static int finish_framing(http1_parser *p) {
    http1_request *r = &p->request;
    if (r->chunked) {
        if (r->minor == 0) return h1_malformed(p, "Transfer-Encoding in HTTP/1.0");
        if (p->framing & H1_HAS_LENGTH)
            return h1_malformed(p, "both Content-Length and Transfer-Encoding");
        r->length = -1;
        p->state = H1_CHUNK_SIZE;
    } else {
        if ((uint64_t)r->length > p->limits.body) return h1_over(p, HTTP1_LIMIT_body);
        p->left = (uint64_t)r->length;
        p->state = p->left ? H1_LENGTH : H1_END;
    }
    if (p->form == H1_AUTHORITY && p->state != H1_END)
        return h1_malformed(p, "CONNECT with content");
    if (p->state == H1_END) r->expects = false;
    return 0;
}

int h1_finish_head(http1_parser *p) {
    http1_request *r = &p->request;
    if (!(p->framing & H1_HAS_HOST)) {
        if (r->minor > 0) return h1_malformed(p, "no Host");
        if (p->form == H1_ORIGIN || p->form == H1_ASTERISK)
            (void)http_fields_remove(&r->fields, HTTP_NAME_AUTHORITY);
    }
    int rc = finish_connection(p);
    if (!rc) rc = finish_framing(p);
    if (rc) return rc;
    http_facts facts;
    if (http_validate(&r->fields, HTTP_SECTION_REQUEST, &facts))
        return h1_malformed(p, facts.reason);
    return 0;
}
