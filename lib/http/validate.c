/* What a message may contain: RFC 9113 sections 8.1 to 8.3, on fields whose syntax is checked already. */
#include <string.h>
#include <strings.h>

#include "weft/http.h"

/* What one pass over a list carries along. */
typedef struct pass {
    http_section section;
    http_facts *facts;
    uint64_t seen; /* bit n: pseudo-header field number n came */
    bool regular;  /* a field that is not a pseudo-header field came */
    const http_field *authority;
    const http_field *host;
} pass;

static int malformed(http_facts *facts, const char *reason) {
    facts->reason = reason;
    return WEFT_EPARSE;
}

static int check_path(pass *p, const http_field *f) {
    if (!f->value_len) return malformed(p->facts, "empty :path");
    if (f->value[0] != '/' && !(f->value_len == 1 && f->value[0] == '*'))
        return malformed(p->facts, ":path does not begin with /");
    return 0;
}

static int check_status(pass *p, const http_field *f) {
    const char *v = f->value;
    if (f->value_len != 3 || v[0] < '1' || v[0] > '5' || v[1] < '0' || v[1] > '9' || v[2] < '0' ||
        v[2] > '9')
        return malformed(p->facts, ":status is not 100 to 599");
    p->facts->status = (v[0] - '0') * 100 + (v[1] - '0') * 10 + (v[2] - '0');
    return 0;
}

static int check_pseudo(pass *p, const http_field *f, unsigned kind) {
    if (f->id == HTTP_NAME_OTHER) return malformed(p->facts, "unknown pseudo-header field");
    if (p->regular) return malformed(p->facts, "pseudo-header field after a regular field");
    if (p->section == HTTP_SECTION_TRAILERS)
        return malformed(p->facts, "pseudo-header field in trailers");
    const unsigned wanted =
        p->section == HTTP_SECTION_REQUEST ? HTTP_REQUEST_PSEUDO : HTTP_RESPONSE_PSEUDO;
    if (!(kind & wanted) || f->id == HTTP_NAME_PROTOCOL)
        return malformed(p->facts, "pseudo-header field that does not belong here");
    const uint64_t bit = UINT64_C(1) << f->id;
    if (p->seen & bit) return malformed(p->facts, "pseudo-header field twice");
    p->seen |= bit;
    switch (f->id) {
    case HTTP_NAME_PATH:
        return check_path(p, f);
    case HTTP_NAME_STATUS:
        return check_status(p, f);
    case HTTP_NAME_METHOD:
        if (!f->value_len) return malformed(p->facts, "empty :method");
        p->facts->head = f->value_len == 4 && !memcmp(f->value, "HEAD", 4);
        p->facts->connect = f->value_len == 7 && !memcmp(f->value, "CONNECT", 7);
        return 0;
    case HTTP_NAME_SCHEME:
        return f->value_len ? 0 : malformed(p->facts, "empty :scheme");
    default:
        p->authority = f;
        if (memchr(f->value, '@', f->value_len))
            return malformed(p->facts, "userinfo in :authority");
        return 0;
    }
}

static int check_length(pass *p, const http_field *f) {
    int64_t n = 0;
    if (!f->value_len || f->value_len > 18) return malformed(p->facts, "bad content-length");
    for (uint32_t i = 0; i < f->value_len; i++) {
        if (f->value[i] < '0' || f->value[i] > '9')
            return malformed(p->facts, "bad content-length");
        n = n * 10 + (f->value[i] - '0');
    }
    if (p->facts->content_length >= 0 && p->facts->content_length != n)
        return malformed(p->facts, "two content-lengths that differ");
    p->facts->content_length = n;
    return 0;
}

static int check_special(pass *p, const http_field *f) {
    switch (f->id) {
    case HTTP_NAME_TE:
        if (f->value_len != 8 || memcmp(f->value, "trailers", 8))
            return malformed(p->facts, "te other than trailers");
        return 0;
    case HTTP_NAME_CONTENT_LENGTH:
        return check_length(p, f);
    default:
        if (p->host) return malformed(p->facts, "two host fields");
        p->host = f;
        return 0;
    }
}

static int check_whole(const pass *p) {
    http_facts *facts = p->facts;
    const uint64_t method = UINT64_C(1) << HTTP_NAME_METHOD;
    const uint64_t target = UINT64_C(1) << HTTP_NAME_PATH | UINT64_C(1) << HTTP_NAME_SCHEME;
    switch (p->section) {
    case HTTP_SECTION_REQUEST:
        if (!(p->seen & method)) return malformed(facts, "no :method");
        if (facts->connect) {
            if (p->seen & target || !p->authority)
                return malformed(facts, "CONNECT with :path or :scheme, or without :authority");
        } else if ((p->seen & target) != target) {
            return malformed(facts, "no :path or no :scheme");
        }
        if (p->host && p->authority &&
            (p->host->value_len != p->authority->value_len ||
             strncasecmp(p->host->value, p->authority->value, p->host->value_len) != 0))
            return malformed(facts, "host differs from :authority");
        return 0;
    case HTTP_SECTION_RESPONSE:
        return facts->status ? 0 : malformed(facts, "no :status");
    default:
        return 0;
    }
}

/* The long way: each field by itself. */
static int check_fields(pass *p, const http_fields *list) {
    for (uint32_t i = 0; i < list->count; i++) {
        const http_field *f = list->at[i];
        const unsigned kind = f->kind;
        int failed = 0;
        if (f->flags & HTTP_FIELD_BAD) return malformed(p->facts, "bad character in a field");
        if (kind & (HTTP_REQUEST_PSEUDO | HTTP_RESPONSE_PSEUDO)) {
            failed = check_pseudo(p, f, kind);
        } else {
            p->regular = true;
            if (kind & HTTP_HOP) return malformed(p->facts, "connection-specific field");
            if (kind & HTTP_CHECKED) failed = check_special(p, f);
        }
        if (failed) return failed;
    }
    return 0;
}

#define PLACE(id) (1u << HTTP_HOT_##id)
#define PSEUDO_PLACES \
    (PLACE(METHOD) | PLACE(PATH) | PLACE(SCHEME) | PLACE(AUTHORITY) | PLACE(STATUS))

/* Nothing is to be said about any field but pseudo-header fields, and those are known ones, once each. */
static bool is_plain(const http_fields *list) {
    const unsigned odd = HTTP_MARKS(HTTP_FIELD_BAD, HTTP_HOP | HTTP_CHECKED);
    return !(list->marks & odd) && !(list->twice & PSEUDO_PLACES);
}

/* 0: none of the pseudo-header fields of requests is there. */
static uint32_t request_places(const http_fields *list) {
    _Static_assert(HTTP_HOT_AUTHORITY == 1 && HTTP_HOT_METHOD == 2 && HTTP_HOT_PATH == 3 &&
                       HTTP_HOT_SCHEME == 4,
                   "four places in a row");
    uint32_t places;
    memcpy(&places, &list->where[HTTP_HOT_AUTHORITY], sizeof places);
    return places;
}

/* Most requests: of a plain list, :method, :path, :scheme and perhaps :authority come first. */
static inline bool is_usual_request(const http_fields *list) {
    const unsigned method = list->where[HTTP_HOT_METHOD], path = list->where[HTTP_HOT_PATH];
    const unsigned scheme = list->where[HTTP_HOT_SCHEME];
    const unsigned authority = list->where[HTTP_HOT_AUTHORITY];
    const unsigned last = 3 + (authority != 0);
    return is_plain(list) && !list->where[HTTP_HOT_STATUS] && method - 1 < last &&
           path - 1 < last && scheme - 1 < last && authority <= last;
}

static bool authority_ok(http_field *f) {
    if (f->flags & HTTP_FIELD_PLAIN_AUTHORITY || !f->pool) return true;
    if (memchr(f->value, '@', f->value_len)) return false;
    f->flags |= HTTP_FIELD_PLAIN_AUTHORITY;
    return true;
}

/* What check_pseudo says of them, if it is nothing. */
static inline bool usual_pseudo_ok(const http_fields *list) {
    const http_field *method = list->at[list->where[HTTP_HOT_METHOD] - 1];
    const http_field *path = list->at[list->where[HTTP_HOT_PATH] - 1];
    const http_field *scheme = list->at[list->where[HTTP_HOT_SCHEME] - 1];
    http_field *authority = http_fields_find(list, HTTP_NAME_AUTHORITY);
    return method->static_index /* GET or POST */ && path->value[0] == '/' && scheme->value_len &&
           (!authority || authority_ok(authority));
}

static __attribute__((noinline)) int validate_all(const http_fields *list, http_section section,
                                                  http_facts *facts) {
    pass p = {.section = section, .facts = facts};
    const int failed = check_fields(&p, list);
    return failed ? failed : check_whole(&p);
}

int http_validate(const http_fields *list, http_section section, http_facts *facts) {
    *facts = (http_facts){.content_length = -1};
    if (section == HTTP_SECTION_REQUEST) {
        if (is_usual_request(list) && usual_pseudo_ok(list)) return 0;
    } else if (is_plain(list) && !request_places(list)) {
        const unsigned status = list->where[HTTP_HOT_STATUS];
        if (section == HTTP_SECTION_TRAILERS && !status) return 0;
        if (section == HTTP_SECTION_RESPONSE && status == 1 && list->at[0]->static_index == 8) {
            facts->status = 200;
            return 0;
        }
    }
    return validate_all(list, section, facts);
}
