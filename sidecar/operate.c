#include "sidecar/operate.h"

#include "sidecar/admin/admin.h"
#include "weft/mem.h"

struct operate {
    admin *admin;
    admin_worker *workers;
    worker *first;
    void (*drain)(void *user);
    void *user;
};

static uint32_t connections(void *user, const cluster_endpoint *endpoint) {
    (void)user;
    return upstream_conns(endpoint);
}

static void collect(void *user, admin_sum *sum) {
    worker *w = user;
    const unsigned wanted = admin_sum_wants(sum);
    if (wanted & ADMIN_METRICS) {
        worker_measure(w);
        admin_sum_telemetry(sum, w->metrics);
    }
    if (!(wanted & ADMIN_CLUSTERS)) return;
    for (uint32_t i = 0; i < w->shared->snapshot->cluster_count; i++) {
        upstream_cluster *c = upstream_find(w->up, &w->shared->snapshot->clusters[i]);
        admin_sum_cluster(sum, upstream_endpoints(c), worker_now(w), connections, NULL);
    }
}

static bool ready(void *user, weft_buf *reasons) {
    const operate *o = user;
    if (!o->first->draining) return true;
    (void)weft_buf_adds(reasons, "draining: this sidecar is about to end\n");
    return false;
}

static void drain(void *user) {
    const operate *o = user;
    o->drain(o->user);
}

int operate_start(const sidecar_shared *shared, worker *workers, uint32_t count,
                  void (*drain_all)(void *user), void *user, operate **out, net_why *why) {
    *out = NULL;
    if (!shared->snapshot->has_admin) return 0;
    operate *o = weft_calloc(1, sizeof *o);
    admin_worker *list = weft_calloc(count, sizeof *list);
    int rc = o && list ? 0 : WEFT_ENOMEM;
    if (!rc) {
        *o = (operate){.workers = list, .first = workers, .drain = drain_all, .user = user};
        for (uint32_t i = 0; i < count; i++)
            list[i] = (admin_worker){workers[i].loop, collect, &workers[i]};
        const admin_config config = {
            .loop = workers[0].loop,
            .addr = &shared->snapshot->admin,
            .fd = -1,
            .seed = weft_rng_u64(&workers[0].rng),
            .publisher = shared->publisher,
            .workers = list,
            .worker_count = count,
            .providers = {.user = o, .ready = ready, .drain = drain, .quit = drain}};
        rc = admin_new(&config, &o->admin, why);
    }
    if (rc) {
        weft_free(list);
        weft_free(o);
        return rc;
    }
    *out = o;
    return 0;
}

void operate_free(operate *o) {
    if (!o) return;
    admin_free(o->admin);
    weft_free(o->workers);
    weft_free(o);
}
