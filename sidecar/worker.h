/* A worker: one loop, one thread, and all hot state of the connections that it accepted.
 *
 * Workers share the process's immutable parts (snapshot, TLS contexts) and the atomics of
 * cluster/shared.h; nothing else. Listening sockets are dup(2)s of one, so a connection is
 * accepted by whichever worker wakes first and never changes it. */
#ifndef SIDECAR_WORKER_H
#define SIDECAR_WORKER_H

#include <pthread.h>

#include "sidecar/config/publish.h"
#include "sidecar/deadlines.h"
#include "sidecar/plan.h"
#include "sidecar/telemetry/metrics.h"
#include "sidecar/telemetry/span.h"
#include "sidecar/upstream/upstream.h"
#include "weft/http.h"

struct call;
typedef struct worker worker;

/* What all workers share; set up by main.c before they start, and not changed after. */
typedef struct sidecar_shared {
    config_publisher *publisher;
    config_snapshot *snapshot;
    cluster_shared *clusters;    /* by cluster index */
    tls_context **cluster_tls;   /* by cluster index; NULL: plaintext */
    tls_context **listener_tls;  /* by listener index */
    int *sockets;                /* by listener index: listening; workers dup them */
    const char *self_id;         /* our SPIFFE ID, "" when we have none */
    double trace_ratio;          /* of traces that begin here */
    int64_t drain;               /* ns that open calls get after SIGTERM */
    int spans_fd;                /* where spans go as JSON lines; -1: nowhere */
    struct otlp_exporter *otlp;  /* where they go as OTLP; NULL: nowhere */
    void (*drained)(void *user); /* a worker has nothing left; on its thread */
    void *user;
    const char *dns; /* servers to ask in place of /etc/resolv.conf's; NULL: those */
    struct net_sim
        *sim;         /* tests: a simulated network in place of sockets, our host in it, and the */
    const char *host; /* seed of all that is drawn (0: the system's) */
    uint64_t seed;
} sidecar_shared;

static inline bool sidecar_wants_spans(const sidecar_shared *shared) {
    return shared->spans_fd >= 0 || shared->otlp;
}

/* What comes with a newer snapshot: made once for all workers (apply.h), immutable. */
typedef struct sidecar_turn {
    config_snapshot *snapshot;  /* a reference; published before any worker takes the turn */
    cluster_shared **clusters;  /* by cluster index: the process's */
    tls_context **cluster_tls;  /* by cluster index */
    tls_context **listener_tls; /* by listener index */
    int *sockets;               /* by listener index: -1 when the workers listen there already */
} sidecar_turn;

/* A listener as one worker has it. Freed when it is closed and its last connection is. */
typedef struct worker_listener {
    worker *worker;
    const config_listener *config; /* of view's snapshot */
    config_view *view;             /* a reference: what calls that come in here begin with */
    net_listener *net;             /* NULL once it is closed */
    tls_context *tls;              /* a reference, or NULL */
    h2_limits limits;
    weft_list link; /* of the worker's `leaving` */
    size_t downs;   /* connections */
    bool left;      /* the newest snapshot does not have it */
    /* Lines about connections that ended badly, in the second until `said_until`, and those left out. */
    int64_t said_until;
    uint32_t said, unsaid;
} worker_listener;

/* A connection from a client. */
typedef struct down {
    wire wire; /* first */
    worker *worker;
    worker_listener *listener;
    weft_list link;
    http_field *peer_cert; /* x-forwarded-client-cert for the app, or NULL */
    const char *peer_id;   /* SPIFFE ID, "" when unknown; the TLS session's */
    bool opened;
    char peer[128]; /* "order.shop": label of metrics */
} down;

struct worker {
    const sidecar_shared *shared;
    uint32_t index;
    pthread_t thread;
    net_loop *loop;
    weft_chunk_pool *chunks;
    http_pool *fields;
    h2_env *h2;
    net_resolver *resolver;
    weft_rng rng;
    telemetry *metrics;
    span_buffer *spans;
    config_reader *reader;
    plan_table plans;
    deadlines deadlines; /* of calls */
    upstream *up;
    worker_listener **listeners; /* of the newest snapshot, in its order */
    uint32_t listener_count;
    weft_list leaving; /* listeners that are not in it */
    weft_list downs;
    size_t down_count;
    struct call *free_calls;
    size_t free_call_count;
    size_t calls;        /* in flight */
    int64_t wall_offset; /* wall - monotonic */
    uint32_t rounds;     /* of housekeeping */
    weft_timer housekeeping;
    weft_timer grace;
    bool draining;
    bool ended;
};

int worker_init(worker *w, const sidecar_shared *shared, uint32_t index) WEFT_MUST_USE;
/* After its thread ended. */
void worker_free(worker *w);
/* The thread's body: net_loop_run. */
void *worker_run(void *worker);

/* On the worker's thread (net_loop_post): stops accepting, tells every client with GOAWAY, lets
 * calls finish for shared->drain, then ends. Again: harmless. */
void worker_drain(void *worker);
/* Ends at once. */
void worker_stop(void *worker);

/* On the worker's thread: takes a newer snapshot, which is the publisher's current one. Listeners
 * and clusters that both have keep their connections; calls go on with what they began with. WEFT_ENOMEM,
 * WEFT_EIO, or what listening failed with: all is as it was. */
int worker_take(worker *w, const sidecar_turn *turn) WEFT_MUST_USE;

/* On the worker's thread: brings the gauges that nobody keeps up to date. */
void worker_measure(worker *w);

static inline int64_t worker_now(const worker *w) { return net_loop_now(w->loop); }
static inline uint64_t *worker_counters(const worker *w) { return telemetry_at(w->metrics); }

#endif
