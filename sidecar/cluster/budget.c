#include "sidecar/cluster/shared.h"

/* A slot: second modulo 2^20 | requests, 24 bits | retries, 20 bits. */
#define RETRY_BITS 20
#define REQUEST_BITS 24
#define RETRY_MAX ((UINT64_C(1) << RETRY_BITS) - 1)
#define REQUEST_MAX ((UINT64_C(1) << REQUEST_BITS) - 1)
#define SECOND_MASK ((UINT64_C(1) << 20) - 1)
#define SECOND INT64_C(1000000000)

typedef struct tally {
    uint64_t requests, retries;
} tally;

static uint64_t second_of(int64_t now) { return (uint64_t)(now / SECOND) & SECOND_MASK; }
static uint64_t slot_second(uint64_t slot) { return slot >> (RETRY_BITS + REQUEST_BITS); }
static uint64_t slot_requests(uint64_t slot) { return slot >> RETRY_BITS & REQUEST_MAX; }
static uint64_t slot_retries(uint64_t slot) { return slot & RETRY_MAX; }

/* Adds to the counts of this second, whose slot may still hold an older one's. */
static void count(cluster_budget *budget, int64_t now, uint64_t requests, uint64_t retries) {
    const uint64_t second = second_of(now);
    _Atomic uint64_t *slot = &budget->slots[(uint64_t)(now / SECOND) % CLUSTER_BUDGET_SLOTS];
    uint64_t old = atomic_load_explicit(slot, memory_order_relaxed), made;
    do {
        made = slot_second(old) == second ? old : second << (RETRY_BITS + REQUEST_BITS);
        const uint64_t room = REQUEST_MAX - slot_requests(made);
        made += (requests < room ? requests : room) << RETRY_BITS;
        if (slot_retries(made) < RETRY_MAX) made += retries;
    } while (!atomic_compare_exchange_weak_explicit(slot, &old, made, memory_order_relaxed,
                                                    memory_order_relaxed));
}

static tally window(const cluster_budget *budget, int64_t now) {
    const uint64_t second = second_of(now);
    tally sum = {0, 0};
    for (unsigned i = 0; i < CLUSTER_BUDGET_SLOTS; i++) {
        const uint64_t slot = atomic_load_explicit(&budget->slots[i], memory_order_relaxed);
        const uint64_t age = (second - slot_second(slot)) & SECOND_MASK;
        if (age >= CLUSTER_BUDGET_SLOTS) continue;
        sum.requests += slot_requests(slot);
        sum.retries += slot_retries(slot);
    }
    return sum;
}

void cluster_budget_requests(cluster_budget *budget, int64_t now, uint32_t requests) {
    count(budget, now, requests, 0);
}

uint64_t cluster_budget_left(const cluster_budget *budget, int64_t now, double percent,
                             uint32_t floor) {
    const tally sum = window(budget, now);
    const uint64_t allowed =
        (uint64_t)((double)sum.requests * percent / 100) + (uint64_t)floor * CLUSTER_BUDGET_SLOTS;
    return allowed > sum.retries ? allowed - sum.retries : 0;
}

bool cluster_budget_retry(cluster_budget *budget, int64_t now, double percent, uint32_t floor) {
    if (cluster_budget_left(budget, now, percent, floor) == 0) {
        atomic_fetch_add_explicit(&budget->refused, 1, memory_order_relaxed);
        return false;
    }
    count(budget, now, 0, 1);
    return true;
}
