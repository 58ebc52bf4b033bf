/* Fields: one block each, value and (for names without a number) name behind the struct. */
#include <assert.h>
#include <string.h>

#include "lib/http/names.h"
#include "lib/http/pool.h"

#define NAME_MAX_LEN 65535u
#define VALUE_MAX_LEN (16u << 20)

/* Kinds by name, for the initialisers below. */
enum {
#define X(id, text, kind) KIND_##id = kind,
    HTTP_NAMES(X)
#undef X
};

#define S(index, id_, text, val)                                           \
    [index] = {.name = text,                                               \
               .value = val,                                               \
               .refs = 1,                                                  \
               .cost = sizeof text - 1 + sizeof val - 1 + HTTP_FIELD_COST, \
               .value_len = sizeof val - 1,                                \
               .name_len = sizeof text - 1,                                \
               .id = HTTP_NAME_##id_,                                      \
               .static_index = index,                                      \
               .kind = KIND_##id_}
/* A row of the static table whose value is empty. */
#define E(index, id_, text) S(index, id_, text, "")

/* RFC 7541 appendix A. Never written to: pool is NULL. */
http_field http_static_table[62] = {
    E(1, AUTHORITY, ":authority"),
    S(2, METHOD, ":method", "GET"),
    S(3, METHOD, ":method", "POST"),
    S(4, PATH, ":path", "/"),
    S(5, PATH, ":path", "/index.html"),
    S(6, SCHEME, ":scheme", "http"),
    S(7, SCHEME, ":scheme", "https"),
    S(8, STATUS, ":status", "200"),
    S(9, STATUS, ":status", "204"),
    S(10, STATUS, ":status", "206"),
    S(11, STATUS, ":status", "304"),
    S(12, STATUS, ":status", "400"),
    S(13, STATUS, ":status", "404"),
    S(14, STATUS, ":status", "500"),
    E(15, ACCEPT_CHARSET, "accept-charset"),
    S(16, ACCEPT_ENCODING, "accept-encoding", "gzip, deflate"),
    E(17, ACCEPT_LANGUAGE, "accept-language"),
    E(18, ACCEPT_RANGES, "accept-ranges"),
    E(19, ACCEPT, "accept"),
    E(20, ACCESS_CONTROL_ALLOW_ORIGIN, "access-control-allow-origin"),
    E(21, AGE, "age"),
    E(22, ALLOW, "allow"),
    E(23, AUTHORIZATION, "authorization"),
    E(24, CACHE_CONTROL, "cache-control"),
    E(25, CONTENT_DISPOSITION, "content-disposition"),
    E(26, CONTENT_ENCODING, "content-encoding"),
    E(27, CONTENT_LANGUAGE, "content-language"),
    E(28, CONTENT_LENGTH, "content-length"),
    E(29, CONTENT_LOCATION, "content-location"),
    E(30, CONTENT_RANGE, "content-range"),
    E(31, CONTENT_TYPE, "content-type"),
    E(32, COOKIE, "cookie"),
    E(33, DATE, "date"),
    E(34, ETAG, "etag"),
    E(35, EXPECT, "expect"),
    E(36, EXPIRES, "expires"),
    E(37, FROM, "from"),
    E(38, HOST, "host"),
    E(39, IF_MATCH, "if-match"),
    E(40, IF_MODIFIED_SINCE, "if-modified-since"),
    E(41, IF_NONE_MATCH, "if-none-match"),
    E(42, IF_RANGE, "if-range"),
    E(43, IF_UNMODIFIED_SINCE, "if-unmodified-since"),
    E(44, LAST_MODIFIED, "last-modified"),
    E(45, LINK, "link"),
    E(46, LOCATION, "location"),
    E(47, MAX_FORWARDS, "max-forwards"),
    E(48, PROXY_AUTHENTICATE, "proxy-authenticate"),
    E(49, PROXY_AUTHORIZATION, "proxy-authorization"),
    E(50, RANGE, "range"),
    E(51, REFERER, "referer"),
    E(52, REFRESH, "refresh"),
    E(53, RETRY_AFTER, "retry-after"),
    E(54, SERVER, "server"),
    E(55, SET_COOKIE, "set-cookie"),
    E(56, STRICT_TRANSPORT_SECURITY, "strict-transport-security"),
    E(57, TRANSFER_ENCODING, "transfer-encoding"),
    E(58, USER_AGENT, "user-agent"),
    E(59, VARY, "vary"),
    E(60, VIA, "via"),
    E(61, WWW_AUTHENTICATE, "www-authenticate"),
};

/* Rows of the static table for a name: first and how many. */
static unsigned static_rows(http_name id, unsigned *first) {
    static const uint8_t pseudo[6][2] = {{0, 0}, {1, 1}, {2, 2}, {4, 2}, {6, 2}, {8, 7}};
    if (id <= HTTP_NAME_STATUS) {
        *first = pseudo[id][0];
        return pseudo[id][1];
    }
    *first = id + 9u;
    return id <= HTTP_NAME_WWW_AUTHENTICATE ? 1 : 0;
}

static http_field *static_match(http_name id, const char *value, size_t len) {
    unsigned first = 0;
    for (unsigned left = static_rows(id, &first); left; left--, first++) {
        if (http_static_table[first].value_len == len &&
            !memcmp(http_static_table[first].value, value, len))
            return &http_static_table[first];
    }
    return NULL;
}

/* A field whose value, of `value_len` bytes at field->value, is still to be written. */
static inline http_field *blank(http_pool *pool, http_name id, const char *name, size_t name_len,
                                size_t value_len, uint32_t hash) {
    const size_t inline_name = id ? 0 : name_len + 1;
    uint8_t size_class = 0;
    http_field *field = block_new(pool, sizeof *field + value_len + 1 + inline_name, &size_class);
    if (__builtin_expect(!field, 0)) return NULL;
    char *at = (char *)(field + 1);
    at[value_len] = '\0';
    *field = (http_field){.pool = pool,
                          .name = name,
                          .value = at,
                          .refs = 1,
                          .hash = hash,
                          .cost = (uint32_t)(name_len + value_len) + HTTP_FIELD_COST,
                          .value_len = (uint32_t)value_len,
                          .name_len = (uint16_t)name_len,
                          .id = (uint8_t)id,
                          .kind = (uint8_t)http_name_rows[id].kind,
                          .size_class = size_class};
    if (__builtin_expect(inline_name != 0, 0)) {
        at += value_len + 1;
        memcpy(at, name, name_len);
        at[name_len] = '\0';
        field->name = at;
    }
    pool->stats.fields++;
    return field;
}

http_field *http_field_make(http_pool *pool, http_name id, const char *name, size_t name_len,
                            const char *value, size_t value_len, bool intern) {
    uint32_t hash = 0;
    if (intern) {
        hash = field_hash(pool->seed, name, name_len, value, value_len);
        http_field *old = intern_find(pool, hash, name, name_len, value, value_len);
        if (old) return http_field_ref(old);
    }
    http_field *field = blank(pool, id, name, name_len, value_len, hash);
    if (__builtin_expect(!field, 0)) return NULL;
    if (!http_value_copy((char *)(field + 1), value, value_len)) field->flags = HTTP_FIELD_BAD;
    if (id == HTTP_NAME_TE && value_len == 8 && !memcmp(value, "trailers", 8)) {
        field->kind = 0; /* as it must be: nothing to check in each request */
    }
    if (intern) intern_add(pool, field);
    return field;
}

http_field *http_field_literal(http_pool *pool, http_name id, const char *value, size_t value_len) {
    const name_row *row = &http_name_rows[id];
    http_field *field = blank(pool, id, row->text, row->len, value_len, 0);
    if (__builtin_expect(!field, 0)) return NULL;
    if (!http_value_copy((char *)(field + 1), value, value_len)) field->flags = HTTP_FIELD_BAD;
    return field;
}

static http_field *from_text(http_pool *pool, const char *name, size_t name_len, const char *value,
                             size_t value_len, bool intern) {
    if (name_len > NAME_MAX_LEN || value_len > VALUE_MAX_LEN) return NULL;
    const http_name id = http_name_find(name, name_len);
    if (id) {
        http_field *field = static_match(id, value, value_len);
        if (field) return field;
        return http_field_make(pool, id, http_name_text(id), name_len, value, value_len, intern);
    }
    http_field *field = http_field_make(pool, id, name, name_len, value, value_len, intern);
    if (field && !http_name_ok(name, name_len))
        field->flags |= HTTP_FIELD_BAD | HTTP_FIELD_BAD_NAME;
    /* A pseudo-header field that does not exist belongs nowhere: validation will say so. */
    if (field && name_len && name[0] == ':')
        field->kind = HTTP_REQUEST_PSEUDO | HTTP_RESPONSE_PSEUDO | HTTP_CHECKED;
    return field;
}

http_field *http_field_new(http_pool *pool, const char *name, size_t name_len, const char *value,
                           size_t value_len) {
    return from_text(pool, name, name_len, value, value_len, false);
}

http_field *http_field_intern(http_pool *pool, const char *name, size_t name_len, const char *value,
                              size_t value_len) {
    return from_text(pool, name, name_len, value, value_len, true);
}

http_field *http_field_known(http_pool *pool, http_name name, const char *value, size_t value_len) {
    assert(name != HTTP_NAME_OTHER);
    if (value_len > VALUE_MAX_LEN) return NULL;
    http_field *field = static_match(name, value, value_len);
    if (field) return field;
    return http_field_make(pool, name, http_name_text(name), http_name_len(name), value, value_len,
                           false);
}

void http_field_release(http_field *field) {
    http_pool *pool = field->pool;
    assert(pool->stats.fields > 0);
    if (field->flags & HTTP_FIELD_INTERNED) intern_remove(field);
    pool->stats.fields--;
    const size_t inline_name = field->id ? 0 : (size_t)field->name_len + 1;
    block_free(pool, field, sizeof *field + field->value_len + 1 + inline_name, field->size_class);
}

uint32_t http_field_hash_slow(http_field *field) {
    const uint64_t seed = field->pool ? field->pool->seed : 0;
    const uint32_t hash =
        field_hash(seed, field->name, field->name_len, field->value, field->value_len);
    if (field->pool) field->hash = hash;
    return hash;
}

int http_field_equal(const http_field *a, const http_field *b) {
    return a == b || (a->name_len == b->name_len && a->value_len == b->value_len &&
                      a->id == b->id && !memcmp(a->value, b->value, a->value_len) &&
                      (a->id || !memcmp(a->name, b->name, a->name_len)));
}
