/* HTTP semantics without I/O: header fields that are shared by reference, lists of them, and the rules of
 * RFC 9113 section 8 and RFC 9110 section 5 for what a message may contain.
 *
 * A field (http_field) is one immutable, refcounted name and value. The HPACK tables of all connections of
 * a worker, the requests in flight and the rules of the configuration share them: a header that comes in
 * on one connection and leaves on another is one pointer all the way. What came out of a dynamic table is
 * interned, so equal fields of different connections are mostly the same pointer.
 *
 * Everything here belongs to one thread: a pool, its fields, and lists of them. */
#ifndef WEFT_HTTP_H
#define WEFT_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a name means to the rules below. */
enum {
    HTTP_REQUEST_PSEUDO = 1,  /* RFC 9113 section 8.3.1 */
    HTTP_RESPONSE_PSEUDO = 2, /* RFC 9113 section 8.3.2 */
    HTTP_HOP = 4,             /* connection-specific, forbidden (RFC 9113 section 8.2.2) */
    HTTP_NOINDEX = 8,         /* new in every request: never worth a place in a dynamic table */
    HTTP_SECRET = 16,         /* never-indexed literal (RFC 7541 section 7.1.3) */
    HTTP_CHECKED = 32 /* has rules of its own: te, content-length, host, unusual pseudo-headers */
};

/* X(ID, "name", kind): every name that has a small number. The first 52 are those of HPACK's static table
 * (RFC 7541 appendix A) in its order. */
#define HTTP_NAMES(X)                                                \
    X(AUTHORITY, ":authority", HTTP_REQUEST_PSEUDO)                  \
    X(METHOD, ":method", HTTP_REQUEST_PSEUDO)                        \
    X(PATH, ":path", HTTP_REQUEST_PSEUDO)                            \
    X(SCHEME, ":scheme", HTTP_REQUEST_PSEUDO)                        \
    X(STATUS, ":status", HTTP_RESPONSE_PSEUDO)                       \
    X(ACCEPT_CHARSET, "accept-charset", 0)                           \
    X(ACCEPT_ENCODING, "accept-encoding", 0)                         \
    X(ACCEPT_LANGUAGE, "accept-language", 0)                         \
    X(ACCEPT_RANGES, "accept-ranges", 0)                             \
    X(ACCEPT, "accept", 0)                                           \
    X(ACCESS_CONTROL_ALLOW_ORIGIN, "access-control-allow-origin", 0) \
    X(AGE, "age", HTTP_NOINDEX)                                      \
    X(ALLOW, "allow", 0)                                             \
    X(AUTHORIZATION, "authorization", HTTP_SECRET)                   \
    X(CACHE_CONTROL, "cache-control", 0)                             \
    X(CONTENT_DISPOSITION, "content-disposition", 0)                 \
    X(CONTENT_ENCODING, "content-encoding", 0)                       \
    X(CONTENT_LANGUAGE, "content-language", 0)                       \
    X(CONTENT_LENGTH, "content-length", HTTP_NOINDEX | HTTP_CHECKED) \
    X(CONTENT_LOCATION, "content-location", 0)                       \
    X(CONTENT_RANGE, "content-range", HTTP_NOINDEX)                  \
    X(CONTENT_TYPE, "content-type", 0)                               \
    X(COOKIE, "cookie", HTTP_SECRET)                                 \
    X(DATE, "date", HTTP_NOINDEX)                                    \
    X(ETAG, "etag", HTTP_NOINDEX)                                    \
    X(EXPECT, "expect", 0)                                           \
    X(EXPIRES, "expires", HTTP_NOINDEX)                              \
    X(FROM, "from", 0)                                               \
    X(HOST, "host", HTTP_CHECKED)                                    \
    X(IF_MATCH, "if-match", HTTP_NOINDEX)                            \
    X(IF_MODIFIED_SINCE, "if-modified-since", HTTP_NOINDEX)          \
    X(IF_NONE_MATCH, "if-none-match", HTTP_NOINDEX)                  \
    X(IF_RANGE, "if-range", HTTP_NOINDEX)                            \
    X(IF_UNMODIFIED_SINCE, "if-unmodified-since", HTTP_NOINDEX)      \
    X(LAST_MODIFIED, "last-modified", HTTP_NOINDEX)                  \
    X(LINK, "link", 0)                                               \
    X(LOCATION, "location", HTTP_NOINDEX)                            \
    X(MAX_FORWARDS, "max-forwards", 0)                               \
    X(PROXY_AUTHENTICATE, "proxy-authenticate", 0)                   \
    X(PROXY_AUTHORIZATION, "proxy-authorization", HTTP_SECRET)       \
    X(RANGE, "range", HTTP_NOINDEX)                                  \
    X(REFERER, "referer", 0)                                         \
    X(REFRESH, "refresh", 0)                                         \
    X(RETRY_AFTER, "retry-after", HTTP_NOINDEX)                      \
    X(SERVER, "server", 0)                                           \
    X(SET_COOKIE, "set-cookie", HTTP_SECRET)                         \
    X(STRICT_TRANSPORT_SECURITY, "strict-transport-security", 0)     \
    X(TRANSFER_ENCODING, "transfer-encoding", HTTP_HOP)              \
    X(USER_AGENT, "user-agent", 0)                                   \
    X(VARY, "vary", 0)                                               \
    X(VIA, "via", 0)                                                 \
    X(WWW_AUTHENTICATE, "www-authenticate", 0)                       \
    X(PROTOCOL, ":protocol", HTTP_REQUEST_PSEUDO | HTTP_CHECKED)     \
    X(CONNECTION, "connection", HTTP_HOP)                            \
    X(KEEP_ALIVE, "keep-alive", HTTP_HOP)                            \
    X(PROXY_CONNECTION, "proxy-connection", HTTP_HOP)                \
    X(UPGRADE, "upgrade", HTTP_HOP)                                  \
    X(TE, "te", HTTP_CHECKED)                                        \
    X(TRAILER, "trailer", 0)                                         \
    X(GRPC_TIMEOUT, "grpc-timeout", HTTP_NOINDEX)                    \
    X(GRPC_ENCODING, "grpc-encoding", 0)                             \
    X(GRPC_ACCEPT_ENCODING, "grpc-accept-encoding", 0)               \
    X(GRPC_MESSAGE_TYPE, "grpc-message-type", 0)                     \
    X(GRPC_STATUS, "grpc-status", 0)                                 \
    X(GRPC_MESSAGE, "grpc-message", 0)                               \
    X(GRPC_STATUS_DETAILS_BIN, "grpc-status-details-bin", 0)         \
    X(GRPC_PREVIOUS_ATTEMPTS, "grpc-previous-rpc-attempts", 0)       \
    X(GRPC_RETRY_PUSHBACK, "grpc-retry-pushback-ms", HTTP_NOINDEX)   \
    X(GRPC_TRACE_BIN, "grpc-trace-bin", HTTP_NOINDEX)                \
    X(GRPC_TAGS_BIN, "grpc-tags-bin", HTTP_NOINDEX)                  \
    X(TRACEPARENT, "traceparent", HTTP_NOINDEX)                      \
    X(TRACESTATE, "tracestate", HTTP_NOINDEX)                        \
    X(BAGGAGE, "baggage", HTTP_NOINDEX)                              \
    X(B3, "b3", HTTP_NOINDEX)                                        \
    X(B3_TRACEID, "x-b3-traceid", HTTP_NOINDEX)                      \
    X(B3_SPANID, "x-b3-spanid", HTTP_NOINDEX)                        \
    X(B3_PARENTSPANID, "x-b3-parentspanid", HTTP_NOINDEX)            \
    X(B3_SAMPLED, "x-b3-sampled", 0)                                 \
    X(REQUEST_ID, "x-request-id", HTTP_NOINDEX)                      \
    X(FORWARDED_FOR, "x-forwarded-for", 0)                           \
    X(FORWARDED_PROTO, "x-forwarded-proto", 0)                       \
    X(FORWARDED_CLIENT_CERT, "x-forwarded-client-cert", HTTP_SECRET) \
    X(IDEMPOTENCY_KEY, "idempotency-key", HTTP_NOINDEX)              \
    X(ORIGIN, "origin", 0)

typedef enum http_name {
    HTTP_NAME_OTHER = 0, /* any name that is not below */
#define X(id, text, kind) HTTP_NAME_##id,
    HTTP_NAMES(X)
#undef X
        HTTP_NAME_COUNT
} http_name;

/* The text, its length and its kind (HTTP_…); "" , 0 and 0 for HTTP_NAME_OTHER. Any thread. */
const char *http_name_text(http_name name);
size_t http_name_len(http_name name);
unsigned http_name_kind(http_name name);

/* The number of a name in lower case, or HTTP_NAME_OTHER. Any thread. */
http_name http_name_find(const char *text, size_t len);

/* Names that lists know the place of: those that are asked for in each call. */
#define HTTP_HOT_NAMES(X)    \
    X(AUTHORITY)             \
    X(METHOD)                \
    X(PATH)                  \
    X(SCHEME)                \
    X(STATUS)                \
    X(HOST)                  \
    X(CONTENT_TYPE)          \
    X(GRPC_TIMEOUT)          \
    X(GRPC_STATUS)           \
    X(GRPC_MESSAGE)          \
    X(GRPC_RETRY_PUSHBACK)   \
    X(TRACEPARENT)           \
    X(FORWARDED_CLIENT_CERT) \
    X(CONTENT_LENGTH)        \
    X(EXPECT)

enum {
    HTTP_HOT_NONE, /* counted too, so that counting needs no question; never asked */
#define X(id) HTTP_HOT_##id,
    HTTP_HOT_NAMES(X)
#undef X
        HTTP_HOT_COUNT
};

extern const uint8_t http_hot_places[HTTP_NAME_COUNT]; /* private: HTTP_HOT_… of a name */

/* The same, worked out when compiling if the name is a constant. */
static inline unsigned http_hot_place(http_name name) {
    switch (name) {
#define X(id)            \
    case HTTP_NAME_##id: \
        return HTTP_HOT_##id;
        HTTP_HOT_NAMES(X)
#undef X
    default:
        return HTTP_HOT_NONE;
    }
}

/* ---- fields */

typedef struct http_pool http_pool;

enum {
    HTTP_FIELD_BAD = 1, /* breaks RFC 9110 section 5 / RFC 9113 section 8.2.1: see http_field_new */
    HTTP_FIELD_NEVER = 2,           /* came as, and must be sent as, a never-indexed literal */
    HTTP_FIELD_INTERNED = 4,        /* private: in the pool's table */
    HTTP_FIELD_BAD_NAME = 8,        /* private: _BAD, and the name is why */
    HTTP_FIELD_PLAIN_AUTHORITY = 16 /* private: was found to hold no userinfo */
};

/* Read only. Name and value end in '\0' (not counted); both may hold any byte but are text once _BAD is
 * not set. */
typedef struct http_field {
    http_pool *pool; /* NULL: static, lives for ever, may be shared by threads */
    const char *name;
    const char *value;
    struct http_field *next; /* private: table or free list */
    uint32_t refs;
    uint32_t hash; /* private: 0 until someone needed it */
    uint32_t cost; /* name_len + value_len + 32: what it counts in lists and tables of HPACK */
    uint32_t value_len;
    uint16_t name_len;
    uint8_t id;           /* http_name */
    uint8_t static_index; /* index of the whole field in HPACK's static table, or 0 */
    uint8_t flags;        /* HTTP_FIELD_… */
    uint8_t kind;         /* what http_name_kind says */
    uint8_t size_class;   /* private */
} http_field;

/* Private: flags and kind in one; HTTP_MARKS makes what to compare it with. */
static inline unsigned http_field_marks(const http_field *field) {
    uint16_t both;
    __builtin_memcpy(&both, &field->flags, sizeof both);
    return both;
}
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define HTTP_MARKS(flags, kind) ((unsigned)(kind) << 8 | (flags))
#else
#define HTTP_MARKS(flags, kind) ((unsigned)(flags) << 8 | (kind))
#endif

#define HTTP_FIELD_COST 32u /* RFC 9113 section 6.5.2, RFC 7541 section 4.1 */

typedef struct http_pool_stats {
    size_t fields;   /* alive */
    size_t interned; /* of them */
    size_t lists;    /* arrays of lists in use */
    size_t bytes;    /* of memory held, used or kept for reuse */
    uint64_t refused;
} http_pool_stats;

/* One pool a worker, of at most `max_bytes` (0: 256 MiB). `seed` keys the hash, so that strangers cannot
 * make fields collide. NULL when memory is out. _free asserts that no field or list is alive. */
http_pool *http_pool_new(size_t max_bytes, uint64_t seed);
void http_pool_free(http_pool *pool);
http_pool_stats http_pool_get_stats(const http_pool *pool);

/* A field with one reference, or NULL (the maximum, or no memory). Never fails on content: a name that is
 * not a lower-case token (one leading ':' aside), or a value with a control character (tab aside) or with
 * blanks around it, makes a field flagged HTTP_FIELD_BAD, which validation refuses. A field of HPACK's
 * static table is returned as the static one. Names are at most 65,535 bytes, values 16 MiB. */
http_field *http_field_new(http_pool *pool, const char *name, size_t name_len, const char *value,
                           size_t value_len);
http_field *http_field_known(http_pool *pool, http_name name, const char *value, size_t value_len);

/* As _new, but equal fields are one object as long as it lives. For what is used again and again. */
http_field *http_field_intern(http_pool *pool, const char *name, size_t name_len, const char *value,
                              size_t value_len);

/* Private to lib/h2: a field that came with a name that has a number; not for te. NULL: no memory. */
http_field *http_field_literal(http_pool *pool, http_name id, const char *value, size_t value_len);

/* Private to lib/h2: as above for a name that is checked and numbered already (`name` is static when id is
 * not HTTP_NAME_OTHER). */
http_field *http_field_make(http_pool *pool, http_name id, const char *name, size_t name_len,
                            const char *value, size_t value_len, bool intern);
void http_field_release(http_field *field);
uint32_t http_field_hash_slow(http_field *field);

/* HPACK's static table: fields 1 .. 61; NULL outside. Never written to. Any thread. */
extern http_field http_static_table[62]; /* private */
static inline http_field *http_static_field(unsigned index) {
    return index - 1 < 61 ? &http_static_table[index] : NULL;
}

static inline http_field *http_field_ref(http_field *field) {
    if (field->pool) field->refs++;
    return field;
}
static inline void http_field_unref(http_field *field) {
    if (field->pool && --field->refs == 0) http_field_release(field);
}

/* Keyed hash of name and value; never 0. Not for static fields. */
static inline uint32_t http_field_hash(http_field *field) {
    return field->hash ? field->hash : http_field_hash_slow(field);
}

/* 1 when names and values are equal bytes. */
int http_field_equal(const http_field *a, const http_field *b);

/* ---- lists */

/* An ordered list of fields; holds one reference to each. `bytes` is the size as RFC 9113 section 6.5.2
 * (SETTINGS_MAX_HEADER_LIST_SIZE) counts it: name + value + 32 each. */
typedef struct http_fields {
    http_field **at;
    http_pool *pool;
    size_t bytes;
    uint32_t count;
    uint32_t cap;
    /* Private, kept as fields come so that nobody has to look through the list. marks: flags and kinds of
     * all fields (one that was dropped may have left its own behind); twice: a bit for each place whose name
     * came more than once; where: 1 + the place of the first field of a hot name, 255 at most, 0: none. */
    uint16_t marks;
    uint16_t twice;
    uint8_t where[HTTP_HOT_COUNT];
} http_fields;

/* An empty list; nothing is allocated. _clear drops all fields and the array. */
static inline void http_fields_init(http_fields *list, http_pool *pool) {
    __builtin_memset(list, 0, sizeof *list);
    list->pool = pool;
}
void http_fields_free(http_fields *list); /* private */
static inline void http_fields_clear(http_fields *list) {
    if (list->at) http_fields_free(list);
}

/* Room for `count` fields in all, so that as many can be added without failing. WEFT_ENOMEM, WEFT_ELIMIT. */
int http_fields_reserve(http_fields *list, uint32_t count) WEFT_MUST_USE;

/* Private: notes the place of a field that is number `count` (1 to HTTP_PLACES_MAX + 1) of its list. Returns
 * what to add to `twice`. */
#define HTTP_PLACES_MAX 254u
static inline unsigned http_fields_place(uint8_t where[HTTP_HOT_COUNT], const http_field *field,
                                         uint32_t count) {
    const unsigned place = http_hot_places[field->id];
    if (where[place]) return 1u << place;
    where[place] = (uint8_t)count;
    return 0;
}

/* Private: notes that `field` was put at the end. */
static inline void http_fields_note(http_fields *list, const http_field *field) {
    list->count++;
    list->bytes += field->cost;
    list->marks = (uint16_t)(list->marks | http_field_marks(field));
    const uint32_t number =
        list->count <= HTTP_PLACES_MAX ? list->count : (uint32_t)HTTP_PLACES_MAX + 1;
    list->twice = (uint16_t)(list->twice | http_fields_place(list->where, field, number));
}

/* The most fields any list may hold. */
#define HTTP_FIELDS_MAX 1024u

/* _push appends and takes over one reference of the caller's, also when it fails (so that
 * http_fields_push(l, http_field_known(…)) needs one check; `field` may be NULL: WEFT_ENOMEM). _add takes a
 * reference of its own. WEFT_ENOMEM, WEFT_ELIMIT. */
int http_fields_push(http_fields *list, http_field *field) WEFT_MUST_USE;
int http_fields_add(http_fields *list, http_field *field) WEFT_MUST_USE;
int http_fields_add_text(http_fields *list, const char *name, const char *value) WEFT_MUST_USE;
int http_fields_add_known(http_fields *list, http_name name, const char *value,
                          size_t value_len) WEFT_MUST_USE;

/* `to` (empty) becomes what `from` was, and `from` empty, without touching references; _copy shares the
 * fields. WEFT_ENOMEM leaves both as they were. */
int http_fields_move(http_fields *to, http_fields *from) WEFT_MUST_USE;
int http_fields_copy(http_fields *to, const http_fields *from) WEFT_MUST_USE;

/* The first field of that name, or NULL; borrowed from the list. _find_text takes a lower-case name. */
http_field *http_fields_search(const http_fields *list, http_name name); /* private */
static inline http_field *http_fields_find(const http_fields *list, http_name name) {
    const unsigned place = http_hot_place(name);
    if (!place) return http_fields_search(list, name);
    const unsigned where = list->where[place];
    if (!where) return NULL;
    return __builtin_expect(where <= HTTP_PLACES_MAX, 1) ? list->at[where - 1]
                                                         : http_fields_search(list, name);
}
http_field *http_fields_find_text(const http_fields *list, const char *name, size_t name_len);

/* Whether there is exactly one field of a name of HTTP_HOT_NAMES. */
static inline bool http_fields_once(const http_fields *list, http_name name) {
    const unsigned place = http_hot_place(name);
    return place && list->where[place] && !(list->twice >> place & 1);
}

/* Puts `field` (reference taken over, also on failure) in place of the first field of its name, and drops
 * the others; appends when there is none. Not for HTTP_NAME_OTHER. */
int http_fields_set(http_fields *list, http_field *field) WEFT_MUST_USE;

/* Drops every field of that name and returns how many; _remove_at drops one, keeping the order. */
size_t http_fields_drop(http_fields *list, http_name name); /* private */
static inline size_t http_fields_remove(http_fields *list, http_name name) {
    const unsigned place = http_hot_place(name);
    return place && !list->where[place] ? 0 : http_fields_drop(list, name);
}
void http_fields_remove_at(http_fields *list, uint32_t index);

/* ---- rules */

/* What kind of field section a list is. */
typedef enum http_section {
    HTTP_SECTION_REQUEST,
    HTTP_SECTION_RESPONSE, /* final or 1xx */
    HTTP_SECTION_TRAILERS
} http_section;

/* What validation learned on its way. */
typedef struct http_facts {
    int64_t content_length; /* -1: not there */
    int status;             /* responses: 100 .. 599; else 0 */
    bool head;              /* the method is HEAD */
    bool connect;           /* the method is CONNECT */
    const char *reason;     /* why it is malformed: a static sentence; NULL when it is not */
} http_facts;

/* Checks RFC 9113 section 8.2 and 8.3 over RFC 9110 section 5: name and value syntax, the set and order of
 * pseudo-header fields, connection-specific fields, te, content-length, host against :authority.
 * WEFT_EPARSE when the message is malformed (facts->reason says why). Pure. */
int http_validate(const http_fields *list, http_section section, http_facts *facts) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
