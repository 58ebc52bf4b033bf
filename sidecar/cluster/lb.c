/* What all policies share: the way in, and drawing endpoints by weight. */
#include "sidecar/cluster/lb.h"

#include "sidecar/cluster/cluster.h"

#define DRAWS 6

const lb_policy *lb_policy_of(config_policy policy) {
    switch (policy) {
    case CONFIG_LEAST_REQUEST:
        return &lb_least_request;
    case CONFIG_RANDOM:
        return &lb_random;
    case CONFIG_PEAK_EWMA:
        return &lb_peak_ewma;
    default:
        return &lb_round_robin;
    }
}

bool lb_tried(const lb_request *request, const cluster_endpoint *endpoint) {
    for (size_t i = 0; i < request->tried_count; i++)
        if (request->tried[i] == endpoint) return true;
    return false;
}

/* Index of one of set->ready, each as likely as its weight. */
static uint32_t draw(const cluster_set *set, weft_rng *rng) {
    if (!set->weighted) return (uint32_t)weft_rng_below(rng, set->ready_count);
    const uint32_t at = (uint32_t)weft_rng_below(rng, set->upto[set->ready_count - 1]);
    uint32_t low = 0, high = set->ready_count - 1;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (at < set->upto[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

cluster_endpoint *lb_draw(cluster_set *set, const lb_request *request,
                          const cluster_endpoint *except) {
    for (int i = 0; i < DRAWS; i++) {
        cluster_endpoint *endpoint = set->ready[draw(set, request->rng)];
        if (endpoint != except && !lb_tried(request, endpoint)) return endpoint;
    }
    /* Few are left: look at each, from a random one on. */
    const uint32_t start = (uint32_t)weft_rng_below(request->rng, set->ready_count);
    for (uint32_t i = 0; i < set->ready_count; i++) {
        cluster_endpoint *endpoint = set->ready[(start + i) % set->ready_count];
        if (endpoint != except && !lb_tried(request, endpoint)) return endpoint;
    }
    return NULL;
}

cluster_endpoint *lb_pick(cluster_set *set, const lb_request *request) {
    if (!set->ready_count) return NULL;
    if (set->ready_count == 1) return set->ready[0];
    cluster_endpoint *endpoint = set->lb.policy->pick(set, request);
    /* If all were tried, any is better than none. */
    return endpoint ? endpoint : set->ready[draw(set, request->rng)];
}

void lb_start(cluster_set *set, cluster_endpoint *endpoint, lb_kind kind) {
    endpoint->pending[kind]++;
    endpoint->requests++;
    if (set->lb.policy->start) set->lb.policy->start(set, endpoint, kind);
}

void lb_done(cluster_set *set, cluster_endpoint *endpoint, const lb_outcome *outcome) {
    endpoint->pending[outcome->kind]--;
    if (outcome->failed) endpoint->failures++;
    if (set->lb.policy->done) set->lb.policy->done(set, endpoint, outcome);
}
