/* The clusters of snapshots as one worker has them, and the names of those found through DNS. */
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

/* ---- snapshots */

static void cluster_free(upstream_cluster *c) {
    cluster_set_free(c->set);
    tls_context_unref(c->tls);
    config_unref(c->held);
    weft_free(c);
}

static int cluster_init(upstream *u, upstream_cluster *c, const config_cluster *config,
                        cluster_shared *shared, tls_context *tls) {
    c->up = u;
    c->config = config;
    c->shared = shared;
    c->tls = tls ? tls_context_ref(tls) : NULL;
    wire_limits(&config->h2, false, &c->limits);
    c->set = cluster_set_new(config, c->shared, &upstream_hooks);
    if (!c->set) return WEFT_ENOMEM;
    if (config->discovery != CONFIG_DNS) return cluster_set_static(c->set);
    const int rc = watch_names(c);
    if (!rc) refresh(c);
    return rc;
}

/* A cluster that was not there: NULL when memory is out. */
static upstream_cluster *cluster_add(upstream *u, const config_cluster *config,
                                     cluster_shared *shared, tls_context *tls) {
    if (u->count == u->room) {
        const uint32_t room = u->room ? u->room * 2 : 8;
        upstream_cluster **more = weft_realloc(u->clusters, room * sizeof(*more));
        if (!more) return NULL;
        u->clusters = more;
        u->room = room;
    }
    upstream_cluster *c = weft_calloc(1, sizeof *c);
    if (!c) return NULL;
    int rc = cluster_init(u, c, config, shared, tls);
    if (!rc) rc = weft_map_put(&u->by_name, config->name, c);
    if (rc) {
        stop_watching(c);
        cluster_free(c);
        return NULL;
    }
    u->clusters[u->count++] = c;
    return c;
}

/* What is the same keeps its state; what is not takes it over as far as it goes. */
static void cluster_change(upstream_cluster *c, const config_cluster *config, tls_context *tls) {
    tls_context *old = c->tls;
    const bool same = !c->held && c->config->hash == config->hash;
    c->tls = tls ? tls_context_ref(tls) : NULL;
    tls_context_unref(old);
    if (!same) stop_watching(c);
    c->config = config;
    cluster_set_config(c->set, config);
    config_unref(c->held);
    c->held = NULL;
    if (same) return;
    wire_limits(&config->h2, false, &c->limits);
    /* Until names are resolved the addresses that are there stay. */
    const int rc = config->discovery == CONFIG_DNS ? watch_names(c) : cluster_set_static(c->set);
    if (rc)
        weft_log(WEFT_LOG_WARN, "endpoints are not updated", WEFT_S("cluster", config->name),
                 WEFT_S("reason", weft_strerror(rc)));
}

/* Not in the newest snapshot. */
static void cluster_leave(upstream_cluster *c, config_snapshot *last) {
    if (c->held) return;
    c->held = config_ref(last);
    stop_watching(c);
    if (cluster_set_update(c->set, NULL, 0))
        weft_log(WEFT_LOG_WARN, "endpoints are not let go", WEFT_S("cluster", c->config->name));
}

static upstream_view *view_new(const config_snapshot *snapshot) {
    upstream_view *view =
        weft_calloc(1, sizeof *view + snapshot->cluster_count * sizeof(upstream_cluster *));
    if (view) view->count = snapshot->cluster_count;
    return view;
}

int upstream_new(const upstream_config *config, upstream **out, upstream_view **out_view) {
    const config_snapshot *snapshot = config->snapshot;
    upstream *u = weft_calloc(1, sizeof *u);
    if (!u) return WEFT_ENOMEM;
    u->config = *config;
    (void)config_ref(u->config.snapshot);
    weft_map_init(&u->by_name, 0);
    upstream_view *view = view_new(snapshot);
    int rc = view ? 0 : WEFT_ENOMEM;
    for (uint32_t i = 0; i < snapshot->cluster_count && !rc; i++) {
        view->items[i] = cluster_add(u, &snapshot->clusters[i], &config->shared[i], config->tls[i]);
        if (!view->items[i]) rc = WEFT_ENOMEM;
    }
    if (rc) {
        upstream_free(u);
        weft_free(view);
        return rc;
    }
    *out = u;
    *out_view = view;
    return 0;
}

int upstream_update(upstream *u, config_snapshot *snapshot, cluster_shared *const *shared,
                    tls_context *const *tls, upstream_view **out) {
    upstream_view *view = view_new(snapshot);
    if (!view) return WEFT_ENOMEM;
    const uint32_t before = u->count;
    for (uint32_t i = 0; i < snapshot->cluster_count; i++) {
        const config_cluster *config = &snapshot->clusters[i];
        view->items[i] = weft_map_get(&u->by_name, config->name);
        if (!view->items[i]) view->items[i] = cluster_add(u, config, shared[i], tls[i]);
        if (view->items[i]) continue;
        /* Those that were added have to go again: nobody else would hold their configuration. */
        while (u->count > before) {
            upstream_cluster *c = u->clusters[--u->count];
            (void)weft_map_remove(&u->by_name, c->config->name);
            stop_watching(c);
            cluster_free(c);
        }
        weft_free(view);
        return WEFT_ENOMEM;
    }
    for (uint32_t i = 0; i < u->count; i++) u->clusters[i]->seen = i >= before;
    for (uint32_t i = 0; i < view->count; i++) {
        upstream_cluster *c = view->items[i];
        if (!c->seen) cluster_change(c, &snapshot->clusters[i], tls[i]);
        c->seen = true;
    }
    for (uint32_t i = 0; i < u->count; i++)
        if (!u->clusters[i]->seen) cluster_leave(u->clusters[i], u->config.snapshot);
    config_unref(u->config.snapshot);
    u->config.snapshot = config_ref(snapshot);
    *out = view;
    return 0;
}

void upstream_drain(upstream *u) {
    u->draining = true;
    for (uint32_t i = 0; i < u->count; i++) {
        cluster_set *set = u->clusters[i]->set;
        for (uint32_t k = 0; k < set->count; k++)
            if (set->all[k]->pool) pool_drain(set->all[k]->pool);
    }
}

void upstream_stop(upstream *u) {
    u->draining = true;
    for (uint32_t i = 0; i < u->count; i++) stop_watching(u->clusters[i]);
}

void upstream_free(upstream *u) {
    if (!u) return;
    upstream_stop(u);
    for (uint32_t i = 0; i < u->count; i++) cluster_free(u->clusters[i]);
    weft_map_free(&u->by_name, NULL);
    config_unref(u->config.snapshot);
    weft_free(u->clusters);
    weft_free(u);
}

cluster_set *upstream_endpoints(upstream_cluster *cluster) { return cluster->set; }
const config_cluster *upstream_cluster_config(const upstream_cluster *cluster) {
    return cluster->config;
}
size_t upstream_conns_up(const upstream *u) { return u->up; }

void upstream_add(const upstream *u, wire_sum *sum) {
    for (uint32_t i = 0; i < u->count; i++) {
        const cluster_set *set = u->clusters[i]->set;
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
    for (uint32_t i = 0; i < u->count; i++) upstream_tell(u->clusters[i]);
}
