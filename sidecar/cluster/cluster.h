/* Endpoints of a cluster as one worker sees them: which exist, which may be picked.
 *
 *   cluster_set      all endpoints of a cluster; `ready` is what balancers pick from
 *   cluster_endpoint one address, its load, its health, its balancer's memory
 *
 * A set survives changes of the endpoint list: an address that stays keeps its state. An endpoint
 * that left is gone from the lists at once and freed when the last attempt lets go of it.
 *
 * Everything belongs to one worker. */
#ifndef SIDECAR_CLUSTER_CLUSTER_H
#define SIDECAR_CLUSTER_CLUSTER_H

#include "sidecar/cluster/lb.h"
#include "sidecar/cluster/shared.h"
#include "sidecar/config/config.h"
#include "weft/rng.h"

/* ---- connecting after failures */

/* Waits of 100 ms, doubling to 10 s, each a uniform draw from its upper half, so that the endpoints
 * of a restarted peer do not come back in step. */
#define CLUSTER_BACKOFF_BASE INT64_C(100000000)
#define CLUSTER_BACKOFF_MAX INT64_C(10000000000)

typedef struct cluster_backoff {
    uint32_t failures; /* in a row */
    int64_t until;     /* do not dial before */
} cluster_backoff;

static inline bool cluster_backoff_open(const cluster_backoff *backoff, int64_t now) {
    return now >= backoff->until;
}
/* A dial failed: returns when to try next (monotonic ns). */
int64_t cluster_backoff_failed(cluster_backoff *backoff, int64_t now, weft_rng *rng);
/* The upstream is up: SETTINGS arrived. */
static inline void cluster_backoff_reset(cluster_backoff *backoff) {
    *backoff = (cluster_backoff){0, 0};
}

/* ---- endpoints */

typedef struct cluster_set cluster_set;

typedef struct cluster_endpoint {
    weft_addr address; /* resolved: never _NAME */
    uint32_t weight;   /* >= 1 */
    uint32_t priority;
    const char *host; /* for messages and spans: the configured name or the address */
    char text[WEFT_ADDR_TEXT];
    bool healthy; /* see cluster_set_health */
    bool draining;
    bool gone;                  /* no longer in the set */
    uint32_t pending[LB_KINDS]; /* calls in flight, kept by lb_start and lb_done */
    uint64_t requests, failures;
    cluster_backoff backoff;
    lb_memory memory; /* the balancer's */
    void *pool;       /* upstream's; see cluster_hooks */
    /* private */
    cluster_set *set;
    uint32_t refs;
    uint32_t index; /* in set->all */
    bool kept;
    bool listed_healthy;
} cluster_endpoint;

/* What the owner wants to hear. Both may be NULL. */
typedef struct cluster_hooks {
    /* The endpoint left the set: close its connections once they are idle. */
    void (*gone)(void *user, cluster_endpoint *endpoint);
    /* The last reference went, memory is about to be freed; `pool` may be NULL. */
    void (*release)(void *user, cluster_endpoint *endpoint);
    void *user;
} cluster_hooks;

struct cluster_set {
    const config_cluster *config; /* borrowed; see cluster_set_config */
    cluster_shared *shared;       /* borrowed */
    cluster_endpoint **all;
    uint32_t count;
    /* What is picked from: the healthy endpoints of the best priority that has any; if none is
     * healthy anywhere, all of the best priority (rather a try than a certain failure). */
    cluster_endpoint **ready;
    uint32_t *upto; /* cumulated weights of `ready` */
    uint32_t ready_count;
    bool weighted;  /* weights of `ready` differ */
    bool panic;     /* none was healthy */
    uint64_t epoch; /* moves with every change of `ready` */
    lb_balancer lb;
    cluster_hooks hooks;
    uint32_t endpoints; /* private: alive, gone ones too */
    bool closed;        /* private: freed once the last of them goes */
};

/* Their product is below 2^32. */
#define CLUSTER_ENDPOINTS_MAX 4096u
#define CLUSTER_WEIGHT_MAX ((1u << 20) - 1)

/* A set without endpoints. `config` and `shared` must outlive it (or be replaced). NULL when memory
 * is out. */
cluster_set *cluster_set_new(const config_cluster *config, cluster_shared *shared,
                             const cluster_hooks *hooks) WEFT_MUST_USE;
/* All endpoints leave; those still referenced live on until let go. NULL is allowed. */
void cluster_set_free(cluster_set *set);

/* The same cluster in a newer snapshot: policy and parameters are taken over. */
void cluster_set_config(cluster_set *set, const config_cluster *config);

/* One address that is to be in the set. */
typedef struct cluster_member {
    weft_addr address;
    const char *host; /* copied if it differs; NULL: the address */
    uint32_t weight;
    uint32_t priority;
    config_health health;
} cluster_member;

/* Makes the set what `members` says; an address given twice counts once. WEFT_ENOMEM, WEFT_ELIMIT
 * leave it as it was. */
int cluster_set_update(cluster_set *set, const cluster_member *members, size_t count) WEFT_MUST_USE;
/* From a STATIC cluster's configuration. */
int cluster_set_static(cluster_set *set) WEFT_MUST_USE;

/* The health flag changed: by active checks, outlier detection or the registry. */
void cluster_set_health(cluster_set *set, cluster_endpoint *endpoint, bool healthy);

static inline cluster_endpoint *cluster_endpoint_ref(cluster_endpoint *endpoint) {
    endpoint->refs++;
    return endpoint;
}
void cluster_endpoint_unref(cluster_endpoint *endpoint);

#endif
