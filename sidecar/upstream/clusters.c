/* The clusters of a snapshot as one worker has them, and the names of those found through DNS. */
#include <string.h>

#include "sidecar/upstream/upstream.h"
#include "weft/log.h"
#include "weft/mem.h"

/* An endpoint whose address is a name, and what the name stands for now. Any endpoint of a cluster
 * with names has one, so that the two arrays run in step. */
typedef struct cluster_name {
    upstream_cluster *cluster;
    net_dns_watch *watch; /* NULL: the address is a literal */
    weft_addr *addrs;
    size_t count;
} cluster_name;

static void refresh(upstream_cluster *c) {
    size_t total = 0;
    for (uint32_t i = 0; i < c->config->endpoint_count; i++)
        total += c->names[i].watch ? c->names[i].count : 1;
    if (total > CLUSTER_ENDPOINTS_MAX) total = CLUSTER_ENDPOINTS_MAX;
    cluster_member *members = weft_calloc(total ? total : 1, sizeof *members);
    if (!members) return;
    size_t n = 0;
    for (uint32_t i = 0; i < c->config->endpoint_count; i++) {
        const config_endpoint *e = &c->config->endpoints[i];
        const cluster_name *name = &c->names[i];
        const size_t count = name->watch ? name->count : 1;
        for (size_t k = 0; k < count && n < total; k++) {
            members[n++] = (cluster_member){.address = name->watch ? name->addrs[k] : e->address,
                                            .host = e->address.host,
                                            .weight = e->weight,
                                            .priority = e->priority,
                                            .health = e->health};
        }
    }
    const int rc = cluster_set_update(c->set, members, n);
    if (rc)
        weft_log(WEFT_LOG_WARN, "endpoints are not updated", WEFT_S("cluster", c->config->name),
                 WEFT_S("reason", weft_strerror(rc)));
    weft_free(members);
}

static void on_answer(void *user, const net_answer *answer) {
    cluster_name *name = user;
    if (answer->error) {
        weft_log(WEFT_LOG_WARN, "a name does not resolve",
                 WEFT_S("cluster", name->cluster->config->name), WEFT_S("reason", answer->text));
        return; /* the last good addresses stay */
    }
    weft_addr *addrs = weft_calloc(answer->count ? answer->count : 1, sizeof *addrs);
    if (!addrs) return;
    memcpy(addrs, answer->addrs, answer->count * sizeof *addrs);
    weft_free(name->addrs);
    name->addrs = addrs;
    name->count = answer->count;
    refresh(name->cluster);
}

static int watch_names(upstream_cluster *c) {
    const uint32_t count = c->config->endpoint_count;
    c->names = weft_calloc(count ? count : 1, sizeof *c->names);
    if (!c->names) return WEFT_ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        const weft_addr *address = &c->config->endpoints[i].address;
        c->names[i].cluster = c;
        if (address->kind != WEFT_ADDR_NAME) continue;
        const int rc = net_dns_watch_new(c->up->config.resolver, address->host, address->port,
                                         NET_ANY, on_answer, &c->names[i], &c->names[i].watch);
        if (rc) return rc;
    }
    refresh(c);
    return 0;
}

static int cluster_init(upstream *u, upstream_cluster *c, const config_cluster *config) {
    c->up = u;
    c->config = config;
    c->shared = &u->config.shared[config->index];
    c->tls = u->config.tls[config->index];
    wire_limits(&config->h2, false, &c->limits);
    c->set = cluster_set_new(config, c->shared, &upstream_hooks);
    if (!c->set) return WEFT_ENOMEM;
    return config->discovery == CONFIG_DNS ? watch_names(c) : cluster_set_static(c->set);
}

int upstream_new(const upstream_config *config, upstream **out) {
    const uint32_t count = config->snapshot->cluster_count;
    upstream *u = weft_calloc(1, sizeof *u);
    if (!u) return WEFT_ENOMEM;
    u->config = *config;
    u->clusters = weft_calloc(count ? count : 1, sizeof *u->clusters);
    int rc = u->clusters ? 0 : WEFT_ENOMEM;
    for (uint32_t i = 0; i < count && !rc; i++) {
        u->count = i + 1;
        rc = cluster_init(u, &u->clusters[i], &config->snapshot->clusters[i]);
    }
    if (rc) {
        upstream_free(u);
        return rc;
    }
    *out = u;
    return 0;
}

static void stop_watching(upstream_cluster *c) {
    for (uint32_t i = 0; c->names && i < c->config->endpoint_count; i++) {
        if (c->names[i].watch) net_dns_watch_free(c->names[i].watch);
        weft_free(c->names[i].addrs);
    }
    weft_free(c->names);
    c->names = NULL;
}

void upstream_drain(upstream *u) {
    u->draining = true;
    for (uint32_t i = 0; i < u->count; i++) {
        cluster_set *set = u->clusters[i].set;
        for (uint32_t k = 0; k < set->count; k++)
            if (set->all[k]->pool) pool_drain(set->all[k]->pool);
    }
}

void upstream_stop(upstream *u) {
    u->draining = true;
    for (uint32_t i = 0; i < u->count; i++)
        if (u->clusters[i].config) stop_watching(&u->clusters[i]);
}

void upstream_free(upstream *u) {
    if (!u) return;
    upstream_stop(u);
    for (uint32_t i = 0; i < u->count; i++) cluster_set_free(u->clusters[i].set);
    weft_free(u->clusters);
    weft_free(u);
}

upstream_cluster *upstream_find(upstream *u, const config_cluster *cluster) {
    return &u->clusters[cluster->index];
}
cluster_set *upstream_endpoints(upstream_cluster *cluster) { return cluster->set; }
const config_cluster *upstream_cluster_config(const upstream_cluster *cluster) {
    return cluster->config;
}
size_t upstream_conns_up(const upstream *u) { return u->up; }

void upstream_add(const upstream *u, wire_sum *sum) {
    for (uint32_t i = 0; i < u->count; i++) {
        const cluster_set *set = u->clusters[i].set;
        for (uint32_t k = 0; k < set->count; k++)
            if (set->all[k]->pool) pool_add(set->all[k]->pool, sum);
    }
}

void upstream_tell(upstream_cluster *cluster) {
    if (cluster->fresh)
        cluster_budget_requests(&cluster->shared->budget, cluster->fresh_at, cluster->fresh);
    cluster->fresh = 0;
}

void upstream_tell_all(upstream *u) {
    for (uint32_t i = 0; i < u->count; i++) upstream_tell(&u->clusters[i]);
}
