/* The way out of a worker: clusters, one connection an endpoint, attempts.
 *
 *   upstream          all clusters of a worker, by name, across snapshots
 *   upstream_view     those of one snapshot, in its order
 *   upstream_cluster  endpoints (cluster/), DNS watches, limits
 *   pool              an endpoint's connections and who waits for one (private, pool.c)
 *   attempt           one try of a call on one endpoint
 *
 * There is one connection a worker and endpoint (performance.md); another is dialled only when the
 * peer's MAX_CONCURRENT_STREAMS is used up. A connection counts as up when the peer's SETTINGS
 * arrived. Everything belongs to one worker; times are monotonic ns. */
#ifndef SIDECAR_UPSTREAM_UPSTREAM_H
#define SIDECAR_UPSTREAM_UPSTREAM_H

#include "sidecar/cluster/cluster.h"
#include "sidecar/config/config.h"
#include "sidecar/telemetry/metrics.h"
#include "sidecar/upstream/wire.h"
#include "weft/h2.h"
#include "weft/map.h"
#include "weft/net_dns.h"
#include "weft/rng.h"
#include "weft/tls.h"

typedef struct upstream upstream;
typedef struct upstream_cluster upstream_cluster;
typedef struct upstream_view upstream_view;
typedef struct attempt attempt;

/* Connections of one endpoint at most, however many streams wait. */
#define UPSTREAM_CONNS_MAX 8u
/* Endpoints one call tries at most; it remembers them so as not to come back. */
#define UPSTREAM_TRIED_MAX 8u
/* A peer on this machine costs nothing to dial: never wait longer for it. */
#define UPSTREAM_LOCAL_BACKOFF INT64_C(1000000000)

#define UPSTREAM_TEXT 384

/* ---- a worker's clusters */

typedef struct upstream_config {
    config_snapshot *snapshot; /* the newest; a reference is taken */
    net_loop *loop;
    h2_env *h2;
    net_resolver *resolver; /* NULL: no cluster is CONFIG_DNS */
    weft_rng *rng;
    telemetry *metrics;
    cluster_shared *shared;  /* by cluster index of the first snapshot, of the process */
    tls_context *const *tls; /* by cluster index of the first snapshot; NULL: plaintext */
} upstream_config;

/* `view` is of the first snapshot; free with weft_free. */
int upstream_new(const upstream_config *config, upstream **out, upstream_view **view) WEFT_MUST_USE;

/* A newer snapshot: clusters it has in common with the old one keep their connections to endpoints they
 * have in common; the others' end when they are idle. Calls that began with an older view go on with it.
 * A cluster that is not in it is kept without endpoints for calls that still have it, and for its
 * return. `shared` and `tls` by index of `snapshot`. WEFT_ENOMEM: all is as it was. */
int upstream_update(upstream *u, config_snapshot *snapshot, cluster_shared *const *shared,
                    tls_context *const *tls, upstream_view **view) WEFT_MUST_USE;
/* For names in snapshots to come, when there was no resolver. */
static inline void upstream_resolver(upstream *u, net_resolver *resolver);
/* Connections end gracefully: no new attempts after this. */
void upstream_drain(upstream *u);
/* Stops asking for names; before the resolver is freed. */
void upstream_stop(upstream *u);
/* After the loop has closed every connection and no attempt is left. NULL is allowed. */
void upstream_free(upstream *u);

/* `cluster` is of the snapshot that the view is of. */
static inline upstream_cluster *upstream_find(const upstream_view *view,
                                              const config_cluster *cluster);
cluster_set *upstream_endpoints(upstream_cluster *cluster);
const config_cluster *upstream_cluster_config(const upstream_cluster *cluster);
/* A call's first attempt begins: it adds to what may be retried. What one turn of the loop brought is
 * added at once, when a later turn brings more, before a retry is asked for, or when all are told. */
static inline void upstream_count(upstream_cluster *cluster, int64_t now);
void upstream_tell(upstream_cluster *cluster);
void upstream_tell_all(upstream *u);
/* Connections that are up, all clusters. */
size_t upstream_conns_up(const upstream *u);
/* Of one endpoint, dialling ones too. */
uint32_t upstream_conns(const cluster_endpoint *endpoint);
/* Adds what the connections to all endpoints hold. */
void upstream_add(const upstream *u, wire_sum *sum);

/* ---- attempts */

typedef enum attempt_fault {
    ATTEMPT_NO_ENDPOINT, /* the cluster has none */
    ATTEMPT_CONNECT,     /* could not be reached: address and reason are in the text */
    ATTEMPT_OVERFLOW,    /* a bulkhead is full */
    ATTEMPT_RESET,       /* the stream was reset, or its connection lost */
    ATTEMPT_TOO_LARGE,   /* headers are larger than the peer accepts */
    ATTEMPT_NO_MEMORY
} attempt_fault;

typedef struct attempt_error {
    attempt_fault fault;
    bool unprocessed; /* the peer provably did nothing */
    bool lost;        /* the connection broke, with ATTEMPT_RESET */
    uint32_t code;    /* h2_code, with ATTEMPT_RESET */
    char text[UPSTREAM_TEXT];
} attempt_error;

/* None is called from inside a call of the owner's on that attempt. Each may end the attempt. */
typedef struct attempt_events {
    /* A connection is there: call attempt_request now, or end it. */
    void (*ready)(attempt *a);
    void (*headers)(attempt *a, h2_headers_kind kind, http_fields *fields, bool end);
    void (*data)(attempt *a, const weft_slice *data, bool end);
    void (*sent)(attempt *a, size_t size);
    /* It is over before its time. attempt_end is still the owner's to call. */
    void (*failed)(attempt *a, const attempt_error *error);
} attempt_events;

/* Owner's memory, zeroed before first use. Invariants: endpoint != NULL from start to end; stream !=
 * NULL after attempt_request; linked in its pool's `waiting` exactly while `waiting`. */
struct attempt {
    upstream_cluster *cluster;
    cluster_endpoint *endpoint; /* a reference */
    h2_conn *conn;              /* from ready until attempt_request */
    h2_stream *stream;
    const attempt_events *events;
    void *owner;
    weft_list link;
    bool waiting;
    bool counted; /* lb_start was called */
    bool failed;  /* the endpoint's fault, for the balancer */
    config_class class;
    int64_t started;  /* when it was sent */
    int64_t latency;  /* to the first response headers; -1: none yet */
    int64_t pushback; /* ns the server asked for */
};

/* Picks an endpoint, none of `tried` if there is another. 1: attempt_request may be called now; 0:
 * `ready` or `failed` follows; negative: over, *error says why and no attempt_end is needed. */
int attempt_start(attempt *a, upstream_cluster *cluster, config_class class,
                  const cluster_endpoint *const *tried, size_t tried_count,
                  attempt_error *error) WEFT_MUST_USE;

/* Opens the stream. Negative as attempt_start, but attempt_end is needed; `unprocessed` always. */
int attempt_request(attempt *a, const http_fields *fields, bool end,
                    attempt_error *error) WEFT_MUST_USE;

/* Ends it in any state: leaves the queue, resets the stream if it is not over, tells the balancer. */
void attempt_end(attempt *a);

/* ---- private to the room */

typedef struct pool pool;

struct upstream_view {
    uint32_t count;
    upstream_cluster *items[]; /* by cluster index */
};

static inline upstream_cluster *upstream_find(const upstream_view *view,
                                              const config_cluster *cluster) {
    return view->items[cluster->index];
}

struct upstream_cluster {
    upstream *up;
    const config_cluster *config; /* of the newest snapshot that has it */
    config_snapshot *held;        /* that one, while it is not the newest; NULL: it is */
    bool seen;                    /* during an update: is in the newer one */
    cluster_set *set;
    cluster_shared *shared;
    tls_context *tls;
    h2_limits limits;
    struct cluster_name *names; /* CONFIG_DNS: one an endpoint */
    uint32_t fresh;             /* requests of the turn at `fresh_at`, not yet in shared->budget */
    int64_t fresh_at;
};

struct upstream {
    upstream_config config;
    upstream_cluster **clusters; /* all there ever were */
    uint32_t count, room;
    weft_map by_name;
    size_t up;
    bool draining;
};

static inline void upstream_resolver(upstream *u, net_resolver *resolver) {
    u->config.resolver = resolver;
}

static inline void upstream_count(upstream_cluster *cluster, int64_t now) {
    if (cluster->fresh_at != now) {
        upstream_tell(cluster);
        cluster->fresh_at = now;
    }
    cluster->fresh++;
}

/* pool.c */
extern const cluster_hooks upstream_hooks;
pool *pool_of(upstream_cluster *cluster, cluster_endpoint *endpoint);
/* A connection that takes a request now, or NULL. */
h2_conn *pool_pick(pool *p);
/* Nothing is up or coming and it is too early to dial. */
bool pool_is_down(const cluster_endpoint *endpoint, int64_t now);
/* As attempt_start. */
int pool_join(pool *p, attempt *a, attempt_error *error);
void pool_leave(attempt *a);
void pool_drain(pool *p);
void pool_add(const pool *p, wire_sum *sum);

/* attempt.c */
extern const h2_callbacks upstream_stream_callbacks;
void attempt_stream_headers(h2_stream *s, h2_headers_kind kind, http_fields *fields, bool end);
void attempt_stream_data(h2_stream *s, const weft_slice *data, bool end);
void attempt_stream_reset(h2_stream *s, const h2_reset_info *info);
void attempt_stream_sent(h2_stream *s, size_t size);
WEFT_PRINTF(3, 4)
int attempt_fail(attempt_error *error, attempt_fault fault, const char *format, ...);

#endif
