/* Endpoints and the sets they are in. */
#include <string.h>

#include "sidecar/cluster/cluster.h"
#include "weft/map.h"
#include "weft/mem.h"

int64_t cluster_backoff_failed(cluster_backoff *backoff, int64_t now, weft_rng *rng) {
    int64_t most = CLUSTER_BACKOFF_BASE;
    for (uint32_t i = 0; i < backoff->failures && most < CLUSTER_BACKOFF_MAX; i++) most *= 2;
    if (most > CLUSTER_BACKOFF_MAX) most = CLUSTER_BACKOFF_MAX;
    if (backoff->failures < UINT32_MAX) backoff->failures++;
    backoff->until = now + most / 2 + (int64_t)weft_rng_below(rng, (uint64_t)(most / 2) + 1);
    return backoff->until;
}

/* ---- endpoints */

void cluster_endpoint_unref(cluster_endpoint *endpoint) {
    if (--endpoint->refs) return;
    cluster_set *set = endpoint->set;
    if (set->hooks.release) set->hooks.release(set->hooks.user, endpoint);
    if (endpoint->host != endpoint->text) weft_free((char *)(uintptr_t)endpoint->host);
    weft_free(endpoint);
    if (--set->endpoints == 0 && set->closed) weft_free(set);
}

static cluster_endpoint *new_endpoint(cluster_set *set, const cluster_member *member) {
    cluster_endpoint *endpoint = weft_calloc(1, sizeof *endpoint);
    if (!endpoint) return NULL;
    endpoint->address = member->address;
    weft_addr_format(&member->address, endpoint->text);
    endpoint->host = endpoint->text;
    if (member->host && *member->host && strcmp(member->host, endpoint->text) != 0)
        endpoint->host = weft_heap_strdup(member->host);
    if (!endpoint->host) {
        weft_free(endpoint);
        return NULL;
    }
    endpoint->set = set;
    endpoint->refs = 1;
    endpoint->healthy = endpoint->listed_healthy = member->health != CONFIG_UNHEALTHY;
    set->endpoints++;
    return endpoint;
}

static void leave(cluster_set *set, cluster_endpoint *endpoint) {
    endpoint->gone = true;
    if (set->hooks.gone) set->hooks.gone(set->hooks.user, endpoint);
    cluster_endpoint_unref(endpoint);
}

/* ---- what may be picked */

/* The best priority with an endpoint that may be picked; UINT32_MAX: none. */
static uint32_t best_priority(const cluster_set *set, bool healthy_only) {
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < set->count; i++) {
        const cluster_endpoint *endpoint = set->all[i];
        if (healthy_only && (!endpoint->healthy || endpoint->draining)) continue;
        if (endpoint->priority < best) best = endpoint->priority;
    }
    return best;
}

static void choose_ready(cluster_set *set) {
    const uint32_t healthy = best_priority(set, true);
    set->panic = healthy == UINT32_MAX && set->count > 0;
    const uint32_t priority = set->panic ? best_priority(set, false) : healthy;
    uint32_t sum = 0;
    set->ready_count = 0;
    set->weighted = false;
    for (uint32_t i = 0; i < set->count; i++) {
        cluster_endpoint *endpoint = set->all[i];
        if (endpoint->priority != priority) continue;
        if (!set->panic && (!endpoint->healthy || endpoint->draining)) continue;
        sum += endpoint->weight;
        set->upto[set->ready_count] = sum;
        set->ready[set->ready_count++] = endpoint;
        if (endpoint->weight != set->ready[0]->weight) set->weighted = true;
    }
    set->epoch++;
}

void cluster_set_health(cluster_set *set, cluster_endpoint *endpoint, bool healthy) {
    if (endpoint->gone || endpoint->healthy == healthy) return;
    endpoint->healthy = healthy;
    choose_ready(set);
}

/* ---- sets */

void cluster_set_config(cluster_set *set, const config_cluster *config) {
    set->config = config;
    set->lb.config = config->balance;
    set->lb.policy = lb_policy_of(config->balance.policy);
}

cluster_set *cluster_set_new(const config_cluster *config, cluster_shared *shared,
                             const cluster_hooks *hooks) {
    cluster_set *set = weft_calloc(1, sizeof *set);
    if (!set) return NULL;
    set->shared = shared;
    if (hooks) set->hooks = *hooks;
    cluster_set_config(set, config);
    return set;
}

void cluster_set_free(cluster_set *set) {
    if (!set) return;
    cluster_endpoint **all = set->all;
    const uint32_t count = set->count;
    set->count = set->ready_count = 0;
    set->endpoints++; /* keeps the set while they go */
    for (uint32_t i = 0; i < count; i++) leave(set, all[i]);
    weft_free(all);
    weft_free(set->ready);
    weft_free(set->upto);
    set->all = set->ready = NULL;
    set->upto = NULL;
    set->closed = true;
    if (--set->endpoints == 0) weft_free(set);
}

/* ---- changes */

typedef struct change {
    cluster_endpoint **all, **ready;
    uint32_t *upto;
    uint32_t count;
    weft_map old, seen; /* by address: endpoints there are; members taken */
} change;

static int find_old(const cluster_set *set, change *c) {
    int rc = 0;
    for (uint32_t i = 0; !rc && i < set->count; i++) {
        set->all[i]->kept = false;
        rc = weft_map_put(&c->old, set->all[i]->text, set->all[i]);
    }
    return rc;
}

/* Endpoints for all members: those that are there, else new ones. Nothing of the set changes. */
static int find_members(cluster_set *set, change *c, const cluster_member *members, size_t count) {
    char text[WEFT_ADDR_TEXT];
    for (size_t i = 0; i < count; i++) {
        weft_addr_format(&members[i].address, text);
        const int rc = weft_map_add(&c->seen, text, c);
        if (rc == WEFT_EEXIST) continue;
        if (rc) return rc;
        cluster_endpoint *endpoint = weft_map_get(&c->old, text);
        if (!endpoint) endpoint = new_endpoint(set, &members[i]);
        if (!endpoint) return WEFT_ENOMEM;
        c->all[c->count++] = endpoint;
    }
    return 0;
}

static const cluster_member *member_of(const cluster_member *members, size_t count,
                                       const cluster_endpoint *endpoint, size_t *at) {
    while (*at < count && !weft_addr_equal(&members[*at].address, &endpoint->address)) ++*at;
    return &members[(*at)++];
}

/* From here on nothing can fail. */
static void apply(cluster_set *set, change *c, const cluster_member *members, size_t count) {
    size_t at = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        cluster_endpoint *endpoint = c->all[i];
        const cluster_member *member = member_of(members, count, endpoint, &at);
        endpoint->kept = true;
        endpoint->index = i;
        endpoint->weight = member->weight ? member->weight : 1;
        if (endpoint->weight > CLUSTER_WEIGHT_MAX) endpoint->weight = CLUSTER_WEIGHT_MAX;
        endpoint->priority = member->priority;
        endpoint->draining = member->health == CONFIG_DRAINING;
        /* What the list says counts when it changes; in between, checks may know better. */
        const bool listed = member->health != CONFIG_UNHEALTHY;
        if (endpoint->listed_healthy != listed) endpoint->healthy = listed;
        endpoint->listed_healthy = listed;
    }
    cluster_endpoint **old = set->all;
    const uint32_t old_count = set->count;
    weft_free(set->ready);
    weft_free(set->upto);
    set->all = c->all;
    set->count = c->count;
    set->ready = c->ready;
    set->upto = c->upto;
    choose_ready(set);
    for (uint32_t i = 0; i < old_count; i++)
        if (!old[i]->kept) leave(set, old[i]);
    weft_free(old);
}

static void undo(change *c) {
    for (uint32_t i = 0; i < c->count; i++)
        if (!weft_map_get(&c->old, c->all[i]->text)) cluster_endpoint_unref(c->all[i]);
    weft_free(c->all);
    weft_free(c->ready);
    weft_free(c->upto);
}

int cluster_set_update(cluster_set *set, const cluster_member *members, size_t count) {
    if (count > CLUSTER_ENDPOINTS_MAX) return WEFT_ELIMIT;
    change c = {.all = weft_calloc(count + 1, sizeof *c.all),
                .ready = weft_calloc(count + 1, sizeof *c.ready),
                .upto = weft_calloc(count + 1, sizeof *c.upto)};
    weft_map_init(&c.old, CLUSTER_ENDPOINTS_MAX);
    weft_map_init(&c.seen, CLUSTER_ENDPOINTS_MAX);
    int rc = c.all && c.ready && c.upto ? find_old(set, &c) : WEFT_ENOMEM;
    if (!rc) rc = find_members(set, &c, members, count);
    if (rc)
        undo(&c);
    else
        apply(set, &c, members, count);
    weft_map_free(&c.old, NULL);
    weft_map_free(&c.seen, NULL);
    return rc;
}

int cluster_set_static(cluster_set *set) {
    const config_cluster *config = set->config;
    cluster_member *members = weft_calloc(config->endpoint_count + 1, sizeof *members);
    if (!members) return WEFT_ENOMEM;
    for (uint32_t i = 0; i < config->endpoint_count; i++) {
        const config_endpoint *from = &config->endpoints[i];
        members[i] = (cluster_member){.address = from->address,
                                      .host = from->host,
                                      .weight = from->weight,
                                      .priority = from->priority,
                                      .health = from->health};
    }
    const int rc = cluster_set_update(set, members, config->endpoint_count);
    weft_free(members);
    return rc;
}
