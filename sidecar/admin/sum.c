/* The tour of the workers: one object goes from loop to loop by net_loop_post, so nothing is shared and
 * no counter needs to be atomic; each post is a hand-over. */
#include <string.h>

#include "sidecar/admin/internal.h"
#include "weft/mem.h"

unsigned admin_sum_wants(const admin_sum *sum) { return sum->wants; }

void sum_free(admin_sum *sum) {
    if (!sum) return;
    for (size_t i = 0; i < sum->count; i++) {
        for (size_t k = 0; k < sum->clusters[i].count; k++)
            weft_free(sum->clusters[i].endpoints[k].host);
        weft_free(sum->clusters[i].endpoints);
        weft_free(sum->clusters[i].name);
    }
    weft_free(sum->clusters);
    telemetry_free(sum->total);
    weft_free(sum->workers);
    weft_free(sum);
}

/* ---- on its way */

static bool is_abandoned(const admin_sum *sum) {
    return atomic_load_explicit(&sum->state, memory_order_acquire) == SUM_ABANDONED;
}

static void come_home(void *user) {
    admin_sum *sum = user;
    if (is_abandoned(sum))
        sum_free(sum);
    else
        sum->arrived(sum->owner, sum);
}

static void visit(void *user);

/* On to the next worker that can be reached, or home. After it the sum is someone else's. */
static void send_on(admin_sum *sum) {
    while (sum->next < sum->worker_count) {
        if (net_loop_post(sum->workers[sum->next].loop, visit, sum) == 0) return;
        sum->missing++;
        sum->next++;
    }
    if (net_loop_post(sum->home, come_home, sum) == 0) return;
    int travels = SUM_TRAVELS;
    if (!atomic_compare_exchange_strong(&sum->state, &travels, SUM_LOST)) sum_free(sum);
}

static void visit(void *user) {
    admin_sum *sum = user;
    if (is_abandoned(sum)) {
        sum_free(sum);
        return;
    }
    const admin_worker *worker = &sum->workers[sum->next++];
    sum->hint = 0;
    worker->collect(worker->user, sum);
    send_on(sum);
}

int sum_send(net_loop *home, const admin_worker *workers, size_t count, unsigned wants,
             void (*arrived)(void *owner, admin_sum *sum), void *owner, admin_sum **out) {
    admin_sum *sum = weft_calloc(1, sizeof *sum);
    if (!sum) return WEFT_ENOMEM;
    atomic_init(&sum->state, SUM_TRAVELS);
    sum->wants = wants;
    sum->home = home;
    sum->arrived = arrived;
    sum->owner = owner;
    sum->workers = weft_calloc(count ? count : 1, sizeof *workers);
    if (wants & ADMIN_METRICS) sum->total = telemetry_new(0, 0);
    if (!sum->workers || (wants & ADMIN_METRICS && !sum->total)) {
        sum_free(sum);
        return WEFT_ENOMEM;
    }
    if (count) memcpy(sum->workers, workers, count * sizeof *workers);
    sum->worker_count = count;
    *out = sum;
    send_on(sum);
    return 0;
}

void sum_abandon(admin_sum *sum) {
    int travels = SUM_TRAVELS;
    if (!atomic_compare_exchange_strong(&sum->state, &travels, SUM_ABANDONED)) sum_free(sum);
}

/* ---- what workers add */

void admin_sum_telemetry(admin_sum *sum, const telemetry *metrics) {
    if (sum->total && telemetry_merge(sum->total, metrics)) sum->missing++;
}

/* Room for one more; NULL when memory is out. */
static void *grow(void *array, size_t count, size_t *cap, size_t size) {
    if (count < *cap) return array;
    const size_t more = *cap ? *cap * 2 : 8;
    void *bigger = weft_realloc(array, more * size);
    if (bigger) *cap = more;
    return bigger;
}

/* Workers name clusters in one order: the next is mostly the one behind the last. */
static sum_cluster *find_cluster(admin_sum *sum, const char *name) {
    for (size_t i = 0; i < sum->count; i++) {
        const size_t at = (sum->hint + i) % sum->count;
        if (strcmp(sum->clusters[at].name, name) != 0) continue;
        sum->hint = at + 1;
        return &sum->clusters[at];
    }
    sum_cluster *bigger = grow(sum->clusters, sum->count, &sum->cap, sizeof *bigger);
    if (!bigger) return NULL;
    sum->clusters = bigger;
    char *copy = weft_heap_strdup(name);
    if (!copy) return NULL;
    bigger[sum->count] = (sum_cluster){.name = copy};
    return &bigger[sum->count++];
}

static sum_endpoint *find_endpoint(sum_cluster *c, const cluster_endpoint *e, size_t hint) {
    for (size_t i = 0; i < c->count; i++) {
        sum_endpoint *at = &c->endpoints[(hint + i) % c->count];
        if (strcmp(at->text, e->text) == 0) return at;
    }
    sum_endpoint *bigger = grow(c->endpoints, c->count, &c->cap, sizeof *bigger);
    if (!bigger) return NULL;
    c->endpoints = bigger;
    char *host = weft_heap_strdup(e->host);
    if (!host) return NULL;
    sum_endpoint *made = &bigger[c->count++];
    *made = (sum_endpoint){.host = host, .weight = e->weight, .priority = e->priority};
    memcpy(made->text, e->text, sizeof made->text);
    return made;
}

static void add_shared(sum_cluster *c, const cluster_set *set, int64_t now) {
    for (unsigned i = 0; i < CONFIG_CLASSES; i++) {
        const cluster_bulkhead *b = &set->shared->classes[i];
        sum_class *to = &c->classes[i];
        to->limits = set->config->thresholds[i];
        to->connections = cluster_gauge_now(&b->connections);
        to->pending = cluster_gauge_now(&b->pending);
        to->requests = cluster_gauge_now(&b->requests);
        to->retries = cluster_gauge_now(&b->retries);
        to->refused[0] = cluster_gauge_refused(&b->connections);
        to->refused[1] = cluster_gauge_refused(&b->pending);
        to->refused[2] = cluster_gauge_refused(&b->requests);
        to->refused[3] = cluster_gauge_refused(&b->retries);
    }
    const config_thresholds *normal = &set->config->thresholds[CONFIG_CLASS_NORMAL];
    c->budget_left = cluster_budget_left(&set->shared->budget, now, normal->budget_percent,
                                         normal->budget_floor);
    c->budget_refused = atomic_load_explicit(&set->shared->budget.refused, memory_order_relaxed);
}

void admin_sum_cluster(admin_sum *sum, const cluster_set *set, int64_t now,
                       uint32_t (*connections)(void *user, const cluster_endpoint *endpoint),
                       void *user) {
    if (!(sum->wants & ADMIN_CLUSTERS)) return;
    sum_cluster *c = find_cluster(sum, set->config->name);
    if (!c) {
        sum->missing++;
        return;
    }
    c->policy = set->lb.policy ? set->lb.policy->name : "";
    c->panic = c->panic || set->panic;
    add_shared(c, set, now);
    for (uint32_t i = 0; i < set->count; i++) {
        const cluster_endpoint *e = set->all[i];
        sum_endpoint *to = find_endpoint(c, e, i);
        if (!to) {
            sum->missing++;
            continue;
        }
        to->seen++;
        to->healthy += e->healthy;
        to->draining += e->draining;
        to->requests += e->requests;
        to->failures += e->failures;
        if (connections) to->connections += connections(user, e);
        for (unsigned k = 0; k < LB_KINDS; k++) {
            to->pending[k] += e->pending[k];
            if (!e->memory.stamp[k]) continue;
            to->known[k]++;
            to->cost[k] += (e->memory.cost[k] - to->cost[k]) / to->known[k];
        }
    }
}
