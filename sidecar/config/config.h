/* The configuration a sidecar runs on: an immutable snapshot, everything checked and precompiled.
 *
 * A snapshot is made by load.h from messages that passed every check, so whoever reads it need not
 * check again: indices are in range, pointers that are not said to be NULL are not, durations and
 * limits are in their ranges, texts are NUL-terminated UTF-8. Nothing in it changes until it is
 * freed; any thread may read it. It lives in one arena and dies with its last reference.
 *
 * All durations are nanoseconds. How a worker gets hold of a snapshot: publish.h. */
#ifndef SIDECAR_CONFIG_CONFIG_H
#define SIDECAR_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sidecar/config/regex.h"
#include "weft/addr.h"
#include "weft/error.h"

/* Text of a rule: NUL-terminated, with its length at hand. */
typedef struct config_text {
    const char *text;
    uint32_t len;
} config_text;

/* ---- lookup tables */

/* One key of an index and what belongs to it: numbers in ascending order. */
typedef struct config_slot {
    const char *key; /* NULL: free */
    uint32_t key_len;
    uint32_t hash;
    const uint32_t *items;
    uint32_t count;
} config_slot;

/* Open addressing, at most half full; keys are ours, so the hash needs no secret. */
typedef struct config_index {
    const config_slot *slots; /* mask + 1 of them; NULL: empty */
    uint32_t mask;
} config_index;

/* The slot of a key, or NULL. */
const config_slot *config_index_find(const config_index *index, const char *key, size_t len);

/* ---- TLS */

/* Files are named here and read by lib/crypto. */
typedef struct config_tls {
    bool server;
    const char *cert_file; /* PEM chain, leaf first; NULL: none (clients only) */
    const char *key_file;  /* NULL exactly if cert_file is */
    const char *ca_file;   /* PEM roots; NULL: no peer certificate is asked for (servers only) */
    bool require_peer;     /* a server asks for a certificate; always true for clients */
    /* Whom to accept; one match is enough. All empty: any SVID under the roots (servers only). */
    const char *const *ids; /* exact URI names (SPIFFE IDs) */
    size_t id_count;
    const char *const *dns; /* exact DNS names */
    size_t dns_count;
    const char *domain;      /* a trust domain; NULL: none named */
    const char *server_name; /* SNI of clients; NULL: none */
} config_tls;

/* ---- connections */

/* What HTTP/2 is told about a connection, either role. contracts.md "Windows and limits". */
typedef struct config_h2 {
    uint32_t max_streams;        /* default 1,000 */
    uint32_t stream_window;      /* bytes, default 256 KiB */
    uint32_t connection_window;  /* bytes, default 16 MiB: the cap on what is buffered */
    uint32_t hpack_table;        /* bytes, default 4,096 */
    int64_t keepalive_interval;  /* 0: no PINGs */
    int64_t keepalive_timeout;   /* default 20 s */
    int64_t idle_timeout;        /* of connections without streams; 0: never; default 1 h */
    int64_t max_age;             /* of connections; 0: none */
    int64_t max_stream_duration; /* 0: none */
    uint32_t max_headers;        /* fields of a list, default 100 */
    uint32_t max_header_bytes;   /* of a list, default 60 KiB */
} config_h2;

typedef enum config_direction { CONFIG_INBOUND, CONFIG_OUTBOUND } config_direction;

typedef struct config_table config_table;
typedef struct config_cluster config_cluster;

/* Where connections come in. */
typedef struct config_listener {
    const char *name;
    uint32_t index;
    weft_addr address; /* WEFT_ADDR_IPV4, _IPV6, _UNIX or _ABSTRACT */
    uint32_t mode;     /* permissions of a socket file; 0: 0600 */
    config_direction direction;
    const config_tls *tls;     /* NULL: plaintext */
    int64_t handshake_timeout; /* default 15 s */
    config_h2 h2;
    const char *stat_prefix;
    const config_table *routes;
} config_listener;

/* ---- clusters */

typedef enum config_discovery {
    CONFIG_STATIC, /* endpoints are IP addresses or sockets */
    CONFIG_DNS     /* STRICT_DNS: names are resolved again and again, each answer an endpoint */
} config_discovery;

typedef enum config_policy {
    CONFIG_ROUND_ROBIN,
    CONFIG_LEAST_REQUEST,
    CONFIG_RANDOM,
    CONFIG_PEAK_EWMA
} config_policy;

typedef struct config_balance {
    config_policy policy;
    /* CONFIG_PEAK_EWMA: features.md "Balancing". */
    int64_t default_rtt;     /* 30 ms */
    int64_t decay;           /* 10 s */
    int64_t failure_penalty; /* 5 s */
} config_balance;

/* Who suffers first when a cluster is full. Envoy's HIGH is critical, its DEFAULT normal. */
typedef enum config_class {
    CONFIG_CLASS_CRITICAL,
    CONFIG_CLASS_NORMAL,
    CONFIG_CLASS_BATCH,
    CONFIG_CLASSES
} config_class;

/* Limits over all workers; 1,024 each by default. Retries: the budget, unless max_retries is set. */
typedef struct config_thresholds {
    uint32_t max_connections;
    uint32_t max_pending; /* requests that wait for a connection */
    uint32_t max_requests;
    uint32_t max_retries;  /* UINT32_MAX: only the budget limits them */
    double budget_percent; /* of live requests, 0 to 100; default 20 */
    uint32_t budget_floor; /* retries a second that are always allowed; default 10 */
} config_thresholds;

typedef enum config_health { CONFIG_HEALTHY, CONFIG_UNHEALTHY, CONFIG_DRAINING } config_health;

typedef struct config_endpoint {
    weft_addr address; /* _NAME only in CONFIG_DNS clusters */
    const char *host;  /* hostname as configured, "" when not */
    uint32_t weight;   /* 1 … 2^20 - 1 */
    uint32_t priority; /* 0 is the highest; no gaps in a cluster */
    config_health health;
    const char *zone; /* "region/zone/sub_zone", "" when not configured */
} config_endpoint;

struct config_cluster {
    const char *name;
    uint32_t index;
    config_discovery discovery;
    int64_t connect_timeout; /* default 5 s; includes TLS and SETTINGS */
    int64_t dns_refresh;     /* default 5 s */
    config_balance balance;
    config_thresholds thresholds[CONFIG_CLASSES];
    const config_tls *tls; /* NULL: plaintext */
    config_h2 h2;
    const config_endpoint *endpoints;
    uint32_t endpoint_count; /* may be 0 */
    uint64_t hash; /* of its contents: equal clusters of two snapshots have equal hashes */
    const config_text *services; /* gRPC services it is known to export */
    uint32_t service_count;
};

/* ---- retries: features.md "Retries, hedging, deadlines", contracts.md "Retry safety" */

enum {
    CONFIG_RETRY_CONNECT_FAILURE = 1, /* always on, also without any policy */
    CONFIG_RETRY_REFUSED = 2,         /* REFUSED_STREAM, above GOAWAY; always on */
    CONFIG_RETRY_RESET = 4,           /* any reset before response headers: may have happened! */
    CONFIG_RETRY_RESET_UNSENT = 8,    /* reset before the peer saw the headers */
    CONFIG_RETRY_5XX = 16,            /* HTTP 500 to 599 */
    CONFIG_RETRY_GATEWAY = 32,        /* HTTP 502, 503, 504 */
    CONFIG_RETRY_4XX = 64,            /* HTTP 409 */
    CONFIG_RETRY_STATUSES = 128       /* those in `statuses` */
};

typedef struct config_retry {
    bool declared;       /* a policy is written for this route: it holds for every method */
    uint32_t conditions; /* CONFIG_RETRY_… */
    uint32_t codes;      /* gRPC codes: bit 1 << code */
    const uint16_t *statuses;
    uint32_t status_count;
    uint32_t max_retries;    /* attempts besides the first */
    int64_t per_try_timeout; /* 0: none */
    int64_t backoff_base;    /* 25 ms */
    int64_t backoff_max;     /* 250 ms */
    uint32_t replay_bytes;   /* 64 KiB of request */
    int64_t peek;            /* 10 ms: see contracts.md "Commit rule" */
} config_retry;

/* What routes without a policy have: UNAVAILABLE, twice, for methods known to be idempotent. */
extern const config_retry config_retry_default;

/* ---- routes */

typedef enum config_string_kind {
    CONFIG_EXACT,
    CONFIG_PREFIX,
    CONFIG_SUFFIX,
    CONFIG_CONTAINS,
    CONFIG_REGEX
} config_string_kind;

typedef struct config_string_match {
    config_string_kind kind;
    bool ignore_case;          /* ASCII; `text` is in lower case then */
    config_text text;          /* not CONFIG_REGEX */
    const config_regex *regex; /* CONFIG_REGEX */
} config_string_match;

typedef enum config_header_kind {
    CONFIG_HEADER_STRING, /* `match` */
    CONFIG_HEADER_RANGE,  /* decimal number, start <= n < end */
    CONFIG_HEADER_PRESENT,
    CONFIG_HEADER_ABSENT
} config_header_kind;

/* One header rule. A missing header never matches, inverted or not, unless missing_is_empty
 * (RFC: Envoy's HeaderMatcher); for _PRESENT and _ABSENT `invert` is folded in already. */
typedef struct config_header_match {
    config_text name; /* lower case; pseudo-headers included */
    config_header_kind kind;
    bool invert;
    bool missing_is_empty;
    config_string_match match;
    int64_t start, end;
} config_header_match;

typedef enum config_path_kind {
    CONFIG_PATH_EXACT,
    CONFIG_PATH_PREFIX,
    CONFIG_PATH_SEGMENTS, /* path_separated_prefix */
    CONFIG_PATH_REGEX
} config_path_kind;

/* One of several clusters. A draw d in 0 … total_weight - 1 picks the first with d < upto. */
typedef struct config_share {
    const config_cluster *cluster;
    uint32_t weight;
    uint32_t upto;
} config_share;

typedef enum config_action { CONFIG_FORWARD, CONFIG_REPLY } config_action;

typedef struct config_vhost config_vhost;

typedef struct config_route {
    const char *name; /* as given, else "<virtual host>[index]" */
    uint32_t index;   /* in its virtual host */
    uint32_t id;      /* in the snapshot, 0 … route_count - 1 */
    const config_vhost *vhost;
    /* match */
    config_path_kind path_kind;
    bool ignore_case; /* `path` is in lower case then */
    bool grpc_only;
    config_text path;
    const config_regex *regex;
    const config_header_match *headers; /* all must match */
    uint32_t header_count;
    /* action */
    config_action action;
    const config_share *shares; /* CONFIG_FORWARD: at least one */
    uint32_t share_count;
    uint32_t total_weight; /* >= 1 */
    uint32_t reply_status; /* CONFIG_REPLY: HTTP status */
    config_text reply_body;
    int64_t timeout;             /* for the whole call; 0: none */
    int64_t max_stream_duration; /* 0: none */
    int64_t grpc_timeout_max;    /* caps the caller's; 0: no cap. See grpc_timeout_capped */
    bool grpc_timeout_capped;    /* grpc_timeout_header_max was set */
    config_class priority;
    const config_retry *retry; /* never NULL */
} config_route;

struct config_vhost {
    const char *name;
    uint32_t index; /* in its table */
    const config_text *domains;
    uint32_t domain_count;
    const config_route *routes; /* in the order written: the first match wins */
    uint32_t route_count;
    /* Routes that can match a path, ascending, come from three places:
     *   exact    keyed by the whole path
     *   segment  keyed by "/first-segment/": prefixes that reach beyond the first segment
     *   general  all others: short prefixes, regexes, those that ignore case */
    config_index exact, segment;
    const uint32_t *general;
    uint32_t general_count;
};

/* Domains with a wildcard: looked up by length, longest first. */
typedef struct config_wild {
    const uint32_t *lengths; /* descending */
    uint32_t length_count;
    config_index index; /* items: virtual hosts */
} config_wild;

struct config_table {
    const char *name;
    const config_vhost *vhosts;
    uint32_t vhost_count;
    config_index domains;    /* exact, lower case, without port */
    config_wild suffixes;    /* "*.shop": keyed ".shop" */
    config_wild prefixes;    /* "product.*": keyed "product." */
    const config_vhost *any; /* "*", or NULL */
    config_index services;   /* gRPC service → virtual hosts that lead to who exports it */
};

/* ---- methods */

typedef enum config_idempotency { /* google.protobuf.MethodOptions.IdempotencyLevel */
                                  CONFIG_IDEMPOTENCY_UNKNOWN,
                                  CONFIG_NO_SIDE_EFFECTS,
                                  CONFIG_IDEMPOTENT
} config_idempotency;

/* ---- the whole */

typedef struct config_node {
    const char *id;      /* the instance */
    const char *cluster; /* "<service>.<namespace>" or what the file says */
    const char *zone;    /* "region/zone/sub_zone" */
} config_node;

#define CONFIG_VERSION_TEXT 33

typedef struct config_snapshot {
    char version[CONFIG_VERSION_TEXT]; /* hash of the content, 32 hex digits */
    config_node node;
    bool has_admin;
    weft_addr admin;
    const config_listener *listeners;
    uint32_t listener_count;
    const config_cluster *clusters;
    uint32_t cluster_count;
    uint32_t route_count; /* over all tables: route ids are below it */
    config_index methods; /* path → one item, a config_idempotency */
    size_t bytes;         /* of memory held */
} config_snapshot;

config_snapshot *config_ref(config_snapshot *snapshot);
/* NULL is allowed. Any thread. */
void config_unref(config_snapshot *snapshot);

/* By name, or NULL. */
const config_listener *config_find_listener(const config_snapshot *snapshot, const char *name);
const config_cluster *config_find_cluster(const config_snapshot *snapshot, const char *name);

/* What is known of a method, "/package.Service/Method". */
config_idempotency config_method(const config_snapshot *snapshot, const char *path, size_t len);

#endif
