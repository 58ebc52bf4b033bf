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
    void (*drained)(void *user); /* a worker has nothing left; on its thread */
    void *user;
    const char *dns; /* servers to ask in place of /etc/resolv.conf's; NULL: those */
    struct net_sim
        *sim;         /* tests: a simulated network in place of sockets, our host in it, and the */
    const char *host; /* seed of all that is drawn (0: the system's) */
    uint64_t seed;
} sidecar_shared;

/* A listener as one worker has it. */
typedef struct worker_listener {
    worker *worker;
    const config_listener *config;
    net_listener *net; /* NULL once it is closed */
    tls_context *tls;
    h2_limits limits;
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
    worker_listener *listeners;
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

/* On the worker's thread: brings the gauges that nobody keeps up to date. */
void worker_measure(worker *w);

static inline int64_t worker_now(const worker *w) { return net_loop_now(w->loop); }
static inline uint64_t *worker_counters(const worker *w) { return telemetry_at(w->metrics); }

#endif
