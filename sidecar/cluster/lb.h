/* Balancing: which endpoint takes the next attempt.
 *
 * A policy is three functions (h2o's balancer.h is the model). A worker picks, starts, and says how
 * it ended; every attempt that was started is done exactly once:
 *
 *     cluster_endpoint *e = lb_pick(set, &request);
 *     lb_start(set, e, LB_UNARY);
 *     …
 *     lb_done(set, e, &outcome);
 */
#ifndef SIDECAR_CLUSTER_LB_H
#define SIDECAR_CLUSTER_LB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sidecar/config/config.h"
#include "weft/rng.h"

struct cluster_set;
struct cluster_endpoint;

/* Streams live long and answer early: their latency and load must not be mixed with those of unary
 * calls. */
typedef enum lb_kind { LB_UNARY, LB_STREAM, LB_KINDS } lb_kind;

typedef struct lb_request {
    int64_t now; /* monotonic ns */
    weft_rng *rng;
    lb_kind kind;
    const struct cluster_endpoint *const *tried; /* by earlier attempts of this call */
    size_t tried_count;
} lb_request;

typedef struct lb_outcome {
    int64_t now;
    lb_kind kind;
    int64_t latency;  /* ns from sending the request to the first response headers; -1: none came
                       * and the endpoint is not to blame (the caller went away) */
    bool failed;      /* the endpoint's fault: counts as slow */
    int64_t pushback; /* ns the server asked us to stay away; 0: none */
} lb_outcome;

/* What a policy remembers of an endpoint. */
typedef struct lb_memory {
    double cost[LB_KINDS];   /* peak EWMA: ns */
    int64_t stamp[LB_KINDS]; /* peak EWMA: when cost was current; 0: never */
    int64_t current;         /* smooth weighted round robin */
} lb_memory;

/* What a policy remembers of a set. */
typedef struct lb_balancer {
    const struct lb_policy *policy;
    uint32_t next; /* round robin */
    config_balance config;
} lb_balancer;

typedef struct lb_policy {
    const char *name; /* "peak_ewma" */
    /* One of set->ready (which is not empty), none of `tried` if there is another. */
    struct cluster_endpoint *(*pick)(struct cluster_set *set, const lb_request *request);
    /* May be NULL. Pending counts are kept already. */
    void (*start)(struct cluster_set *set, struct cluster_endpoint *endpoint, lb_kind kind);
    void (*done)(struct cluster_set *set, struct cluster_endpoint *endpoint,
                 const lb_outcome *outcome);
} lb_policy;

extern const lb_policy lb_round_robin, lb_least_request, lb_random, lb_peak_ewma;

/* The policy a cluster asks for; never NULL. */
const lb_policy *lb_policy_of(config_policy policy);

/* NULL when the set has no endpoints. If all were tried, any. */
struct cluster_endpoint *lb_pick(struct cluster_set *set, const lb_request *request);
void lb_start(struct cluster_set *set, struct cluster_endpoint *endpoint, lb_kind kind);
void lb_done(struct cluster_set *set, struct cluster_endpoint *endpoint, const lb_outcome *outcome);

/* Failures count at most that long, whatever pushback says (features.md "Balancing"). */
#define LB_PUSHBACK_MAX INT64_C(60000000000)

/* Peak EWMA's view of an endpoint, for admin and tests: expected ns of one more call. */
double lb_peak_ewma_cost(const struct cluster_set *set, const struct cluster_endpoint *endpoint,
                         lb_kind kind, int64_t now);

/* ---- for policies */

bool lb_tried(const lb_request *request, const struct cluster_endpoint *endpoint);

/* A random one of set->ready by weight, not `except` (may be NULL) and none of `tried`; NULL when
 * there is no such. At most a few draws, then a scan. */
struct cluster_endpoint *lb_draw(struct cluster_set *set, const lb_request *request,
                                 const struct cluster_endpoint *except);

#endif
