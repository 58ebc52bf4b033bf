/* The better of two random endpoints by expected waiting: a moving peak of latency times the calls
 * in flight (Finagle's and Linkerd's Peak EWMA; features.md "Balancing").
 *
 * Latency is that to the first response headers. A higher one is believed at once, a lower one as
 * fast as the memory of the peak decays: cost moves to it by 1 - exp(-elapsed / decay). An endpoint
 * that nobody asks forgets, and so is tried again. Failures count as slow, or errors that come fast
 * would draw all the load. Unary calls and streams have a memory each. */
#include "sidecar/cluster/cluster.h"

/* exp(-elapsed / decay), right to five digits. Our own: libm would be 330 KiB of resident memory for this
 * call alone. The first terms of the series for a 64th of it, squared six times. */
static double faded(int64_t elapsed, int64_t decay) {
    const double x = (double)elapsed / (double)decay / 64;
    if (x > 1) return 0;
    double f = 1 - x * (1 - x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5 * (1 - x / 6)))));
    for (int i = 0; i < 6; i++) f *= f;
    return f;
}

static double decayed(const cluster_set *set, const lb_memory *memory, lb_kind kind, int64_t now) {
    const int64_t elapsed = now - memory->stamp[kind];
    if (!memory->stamp[kind]) return (double)set->lb.config.default_rtt;
    if (elapsed <= 0) return memory->cost[kind];
    return memory->cost[kind] * faded(elapsed, set->lb.config.decay);
}

double lb_peak_ewma_cost(const cluster_set *set, const cluster_endpoint *endpoint, lb_kind kind,
                         int64_t now) {
    return decayed(set, &endpoint->memory, kind, now) * (double)(endpoint->pending[kind] + 1);
}

static cluster_endpoint *pick(cluster_set *set, const lb_request *request) {
    cluster_endpoint *a = lb_draw(set, request, NULL);
    cluster_endpoint *b = a ? lb_draw(set, request, a) : NULL;
    if (!b) return a;
    const double cost_a = lb_peak_ewma_cost(set, a, request->kind, request->now);
    const double cost_b = lb_peak_ewma_cost(set, b, request->kind, request->now);
    return cost_b < cost_a ? b : a;
}

static void done(cluster_set *set, cluster_endpoint *endpoint, const lb_outcome *outcome) {
    lb_memory *memory = &endpoint->memory;
    const lb_kind kind = outcome->kind;
    double sample = (double)outcome->latency;
    if (outcome->failed) {
        int64_t slow = set->lb.config.failure_penalty;
        if (outcome->pushback > slow) slow = outcome->pushback;
        if (slow > LB_PUSHBACK_MAX) slow = LB_PUSHBACK_MAX;
        if (sample < (double)slow) sample = (double)slow;
    } else if (outcome->latency < 0) {
        return; /* nobody's fault: nothing was learned */
    }
    const double before = decayed(set, memory, kind, outcome->now);
    if (!memory->stamp[kind] || sample >= before) {
        memory->cost[kind] = sample;
    } else {
        const double keep = faded(outcome->now - memory->stamp[kind], set->lb.config.decay);
        memory->cost[kind] = memory->cost[kind] * keep + sample * (1 - keep);
    }
    memory->stamp[kind] = outcome->now ? outcome->now : 1;
}

const lb_policy lb_peak_ewma = {.name = "peak_ewma", .pick = pick, .done = done};
