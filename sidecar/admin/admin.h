/* The admin server: what an operator, a supervisor and Prometheus ask a running sidecar.
 *
 *     GET  /               the endpoints, one a line
 *     GET  /live           200 as long as the loop turns
 *     GET  /ready          200, or 503 with a reason a line
 *     GET  /metrics        Prometheus text 0.0.4 over all workers
 *     GET  /config_dump    the snapshot in use, JSON
 *     GET  /clusters       endpoints, health, load, limits; ?format=json
 *     GET  /certs          who we are and whom we trust, JSON
 *     GET  /version
 *     POST /drain          begin to drain: not ready, no new connections
 *     POST /quit           end in order
 *
 * It knows nothing of the data path: whoever composes the sidecar hands in the providers below.
 *
 * Threads. All functions and providers run on the thread of `loop`, except the _collect of a worker,
 * which runs on that worker's own. A worker's metrics and sets are plain memory of its own, so they
 * are read there: one admin_sum goes by net_loop_post from worker to worker and back to us, and only
 * whoever has it touches it. One tour is under way at a time; requests that came meanwhile wait for
 * the next. A worker that does not answer within ADMIN_COLLECT_TIMEOUT turns them into 503.
 *
 * Who is let in. The address must be a unix socket (owner-only, peer's uid checked) or on loopback;
 * anything else needs `unsafe_address`. On TCP the Host must be a literal address or localhost, and a
 * request with an Origin is refused, so that no web page reaches it through a browser. */
#ifndef SIDECAR_ADMIN_ADMIN_H
#define SIDECAR_ADMIN_ADMIN_H

#include "sidecar/cluster/cluster.h"
#include "sidecar/config/publish.h"
#include "sidecar/telemetry/metrics.h"
#include "weft/buf.h"
#include "weft/net.h"

/* ---- limits; each refusal is counted in admin_stats */

#define ADMIN_CONNS_DEFAULT 16u                   /* connections at a time */
#define ADMIN_HEADER_TIMEOUT (1 * WEFT_NS_PER_S)  /* first byte to end of the head */
#define ADMIN_BODY_TIMEOUT (1 * WEFT_NS_PER_S)    /* end of the head to end of the body */
#define ADMIN_IDLE_TIMEOUT (60 * WEFT_NS_PER_S)   /* between requests */
#define ADMIN_WRITE_TIMEOUT (10 * WEFT_NS_PER_S)  /* a response to be taken */
#define ADMIN_COLLECT_TIMEOUT (1 * WEFT_NS_PER_S) /* a tour of all workers */
#define ADMIN_RESPONSE_MAX ((size_t)32 << 20)     /* bytes of a response's body */
#define ADMIN_REQUEST_MAX 65536u                  /* bytes of a request's body: unused */
#define ADMIN_WORKERS_MAX 256u

/* ---- what a worker gives */

/* What a tour gathers. */
enum {
    ADMIN_METRICS = 1, /* telemetry */
    ADMIN_CLUSTERS = 2 /* sets, endpoints, bulkheads */
};

/* What is gathered so far. Only inside _collect. */
typedef struct admin_sum admin_sum;

/* Bits of ADMIN_…: what is asked for; the others need not be given, and are ignored. */
unsigned admin_sum_wants(const admin_sum *sum);

/* Adds a worker's metrics. Never fails: what finds no memory is missing and counted. */
void admin_sum_telemetry(admin_sum *sum, const telemetry *metrics);

/* Adds a worker's view of a cluster: each endpoint's health, load and EWMA, and the shared counts
 * against their limits. `connections(user, endpoint)` is how many are open to it (NULL: not known).
 * `now` is monotonic ns. What finds no memory is missing and counted. */
void admin_sum_cluster(admin_sum *sum, const cluster_set *set, int64_t now,
                       uint32_t (*connections)(void *user, const cluster_endpoint *endpoint),
                       void *user);

typedef struct admin_worker {
    net_loop *loop; /* its own; may be the admin's */
    /* On the worker's thread: give what admin_sum_wants asks. Must not keep `sum`. */
    void (*collect)(void *user, admin_sum *sum);
    void *user;
} admin_worker;

/* ---- what the process gives */

/* A certificate, for /certs. Texts live for the call; NULL or "" is left out. */
typedef struct admin_cert {
    const char *used_by; /* "listener inbound", "cluster product.shop" */
    const char *kind;    /* "identity" or "root" */
    const char *file;
    const char *spiffe;
    const char *subject;
    const char *issuer;
    const char *serial; /* hex */
    int64_t not_before; /* wall ns */
    int64_t not_after;
} admin_cert;

/* Takes one certificate; `out` is what the provider was given. */
typedef struct admin_certs admin_certs;
void admin_certs_add(admin_certs *out, const admin_cert *cert);

/* Providers; each may be NULL (the endpoint then says that there is nothing, or 501). Called on the
 * admin's thread with `user`. */
typedef struct admin_providers {
    void *user;
    /* True when the sidecar takes traffic. Else appends reasons, a line each with '\n' at its end.
     * NULL: always ready. */
    bool (*ready)(void *user, weft_buf *reasons);
    /* Further metric families, with export_family and export_sample. */
    void (*metrics)(void *user, weft_buf *out);
    void (*certs)(void *user, admin_certs *out);
    /* Begins to drain. Called at every POST /drain: a second time must be harmless. */
    void (*drain)(void *user);
    /* Ends the process in order. Called once its answer was sent or its client went away; may call
     * net_loop_stop, must not free the admin. */
    void (*quit)(void *user);
} admin_providers;

typedef struct admin_config {
    net_loop *loop;
    const weft_addr *addr; /* where to listen; may have port 0. Copied, as all below */
    int fd;                /* a listening socket handed over by a parent, or -1: opened here */
    bool simulated;        /* `loop` is of a net_sim: no socket is opened */
    bool unsafe_address;   /* allow addresses that are neither loopback nor unix */
    uint32_t conns_max;    /* 0: ADMIN_CONNS_DEFAULT */
    const char *version;   /* "0.3.0"; NULL: WEFT_VERSION */
    uint64_t seed;         /* of hash tables of strangers' text */
    config_publisher *publisher; /* where /config_dump finds the snapshot; NULL: there is none */
    const admin_worker *workers; /* ADMIN_WORKERS_MAX at most */
    size_t worker_count;
    admin_providers providers;
} admin_config;

/* X(name, what) */
#define ADMIN_STATS(X)                                                   \
    X(requests, "requests answered")                                     \
    X(errors, "of them with 4xx or 5xx")                                 \
    X(malformed, "connections closed for malformed requests")            \
    X(timeouts, "connections closed by a timeout")                       \
    X(foreign, "requests refused for their Host or Origin")              \
    X(collect_timeouts, "tours of the workers that took too long")       \
    X(collect_missing, "parts of a tour that found no memory or no way") \
    X(too_large, "responses cut short by ADMIN_RESPONSE_MAX")

typedef struct admin_stats {
#define X(name, text) uint64_t name;
    ADMIN_STATS(X)
#undef X
    size_t conns; /* open now */
} admin_stats;

typedef struct admin admin;

/* Listens. WEFT_EINVAL: the address is refused; WEFT_EBUSY, WEFT_EIO: it cannot be listened on;
 * WEFT_ENOMEM. `why` has the line. */
int admin_new(const admin_config *config, admin **out, net_why *why) WEFT_MUST_USE;

/* Closes the listener and all connections, unlinking a unix socket it made. On the admin's thread, not
 * from inside a provider, before any worker's loop (or its own) is freed; no worker may post to a freed
 * loop: end the workers' threads before freeing the first loop. NULL is allowed. */
void admin_free(admin *a);

/* Where it listens, with the port that was chosen. */
weft_addr admin_addr(const admin *a);
const admin_stats *admin_get_stats(const admin *a);

/* 0 when the admin may listen there; else WEFT_EINVAL and the line in `why`. Pure. */
int admin_check_address(const weft_addr *addr, bool unsafe, net_why *why) WEFT_MUST_USE;

#endif
