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

int http_validate(const http_fields *list, http_section section, http_facts *facts) {
    *facts = (http_facts){.content_length = -1};
    pass p = {.section = section, .facts = facts};
    /* Most lists: a few pseudo-header fields first, then fields about which nothing is to be said. */
    unsigned kinds = 0, flags = 0;
    uint32_t at = list->count;
    while (at && !(list->at[at - 1]->kind & (HTTP_REQUEST_PSEUDO | HTTP_RESPONSE_PSEUDO))) {
        kinds |= list->at[--at]->kind;
        flags |= list->at[at]->flags;
    }
    const bool plain = !(kinds & (HTTP_HOP | HTTP_CHECKED)) && !(flags & HTTP_FIELD_BAD);
    const http_fields front = {.at = list->at, .count = plain ? at : list->count};
    const int failed = check_fields(&p, &front);
    return failed ? failed : check_whole(&p);
}
