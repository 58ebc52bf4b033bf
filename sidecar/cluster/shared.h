/* What workers share: the only hot state that is not one worker's own (architecture.md, principle
 * 1). All of it is here, all of it is relaxed atomics: these are counts to hold against limits, no
 * other memory is published through them, so a limit may be overshot by one a worker at most.
 *
 * One cluster_shared a cluster name, kept by the process across snapshots. */
#ifndef SIDECAR_CLUSTER_SHARED_H
#define SIDECAR_CLUSTER_SHARED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "sidecar/config/config.h"

/* ---- bulkheads */

typedef struct cluster_gauge {
    _Atomic uint32_t now;
    bool alone; /* one worker only takes and drops: it needs no locked instructions */
    _Atomic uint64_t refused;
} cluster_gauge;

/* Takes one if fewer than `limit` are taken; else counts a refusal. What was taken goes back with
 * cluster_gauge_drop, once. */
static inline bool cluster_gauge_take(cluster_gauge *gauge, uint32_t limit) {
    const uint32_t seen = atomic_load_explicit(&gauge->now, memory_order_relaxed);
    if (gauge->alone && seen < limit) {
        atomic_store_explicit(&gauge->now, seen + 1, memory_order_relaxed);
        return true;
    }
    const uint32_t before = atomic_fetch_add_explicit(&gauge->now, 1, memory_order_relaxed);
    if (before < limit) return true;
    atomic_fetch_sub_explicit(&gauge->now, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&gauge->refused, 1, memory_order_relaxed);
    return false;
}
static inline void cluster_gauge_drop(cluster_gauge *gauge) {
    if (gauge->alone) {
        const uint32_t seen = atomic_load_explicit(&gauge->now, memory_order_relaxed);
        atomic_store_explicit(&gauge->now, seen - 1, memory_order_relaxed);
        return;
    }
    atomic_fetch_sub_explicit(&gauge->now, 1, memory_order_relaxed);
}
static inline uint32_t cluster_gauge_now(const cluster_gauge *gauge) {
    return atomic_load_explicit(&gauge->now, memory_order_relaxed);
}
static inline uint64_t cluster_gauge_refused(const cluster_gauge *gauge) {
    return atomic_load_explicit(&gauge->refused, memory_order_relaxed);
}

/* One priority class of a cluster; limits are config_thresholds'. */
typedef struct cluster_bulkhead {
    cluster_gauge connections;
    cluster_gauge pending;
    cluster_gauge requests;
    cluster_gauge retries;
} cluster_bulkhead;

/* ---- retry budget */

#define CLUSTER_BUDGET_SLOTS 10u /* seconds of the window (features.md "Retries") */

/* Requests and retries of the last ten seconds, one word a second:
 * second modulo 2^20 | requests, 24 bits | retries, 20 bits; both saturate. */
typedef struct cluster_budget {
    _Atomic uint64_t slots[CLUSTER_BUDGET_SLOTS];
    _Atomic uint64_t refused;
} cluster_budget;

/* So many first attempts began. `now` is monotonic ns, >= 0. */
void cluster_budget_requests(cluster_budget *budget, int64_t now, uint32_t count);
static inline void cluster_budget_request(cluster_budget *budget, int64_t now) {
    cluster_budget_requests(budget, now, 1);
}

/* Takes a retry if those of the window are fewer than percent of its requests + floor a second over
 * the window; else false, and counted. */
bool cluster_budget_retry(cluster_budget *budget, int64_t now, double percent, uint32_t floor);

/* What is left, for metrics; never negative. */
uint64_t cluster_budget_left(const cluster_budget *budget, int64_t now, double percent,
                             uint32_t floor);

typedef struct cluster_shared {
    cluster_bulkhead classes[CONFIG_CLASSES];
    cluster_budget budget;
} cluster_shared;

/* The process has one worker. Before it starts. */
static inline void cluster_shared_alone(cluster_shared *shared) {
    for (unsigned i = 0; i < CONFIG_CLASSES; i++) {
        cluster_bulkhead *b = &shared->classes[i];
        b->connections.alone = b->pending.alone = b->requests.alone = b->retries.alone = true;
    }
}

#endif
