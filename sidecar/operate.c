#include "sidecar/operate.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "sidecar/admin/admin.h"
#include "weft/mem.h"

struct operate {
    admin *admin;
    admin_worker *workers;
    worker *first;
    const sidecar_shared *shared;
    void (*drain)(void *user);
    void *user;
};

static uint32_t connections(void *user, const cluster_endpoint *endpoint) {
    (void)user;
    return upstream_conns(endpoint);
}

/* What the engine counts by itself, as it is shown. */
#define L(to, from) \
    { TELEMETRY_H2_##to, offsetof(h2_stats, from) }
static const struct {
    telemetry_counter to;
    size_t from;
} h2_shown[] = {
    L(LIMIT_HEADER_LIST, limit_header_list),
    L(LIMIT_HEADER_FIELDS, limit_header_fields),
    L(LIMIT_HEADER_BLOCK, limit_header_block),
    L(LIMIT_CONTINUATION, limit_continuation),
    L(LIMIT_HPACK_BOMB, limit_hpack_bomb),
    L(LIMIT_STREAM_QUEUE, limit_stream_queue),
    L(LIMIT_OUTPUT, limit_output),
    L(LIMIT_SETTINGS, limit_settings),
    L(LIMIT_PING, limit_ping),
    L(LIMIT_PRIORITY, limit_priority),
    L(LIMIT_WINDOW_UPDATE, limit_window_update),
    L(LIMIT_EMPTY_DATA, limit_empty_data),
    L(LIMIT_UNKNOWN, limit_unknown),
    L(LIMIT_RESET, limit_reset),
    L(LIMIT_MADE_RESET, limit_made_reset),
    L(TIMEOUT_SETTINGS, timeout_settings),
    L(TIMEOUT_HEADER, timeout_header),
    L(TIMEOUT_PING, timeout_ping),
    L(TIMEOUT_IDLE, timeout_idle),
    L(REFUSED, refused_streams),
    L(CONN_ERRORS, conn_errors),
    L(STREAM_ERRORS, stream_errors),
};
#undef L

static void count_limits(worker *w) {
    const char *stats = (const char *)h2_env_stats(w->h2);
    uint64_t *counters = worker_counters(w);
    for (size_t i = 0; i < sizeof h2_shown / sizeof *h2_shown; i++)
        memcpy(&counters[h2_shown[i].to], stats + h2_shown[i].from, sizeof *counters);
    counters[TELEMETRY_REFUSED_PEERS] = net_loop_stats(w->loop)->refused_peers;
}

static void collect(void *user, admin_sum *sum) {
    worker *w = user;
    const unsigned wanted = admin_sum_wants(sum);
    if (wanted & ADMIN_METRICS) {
        worker_measure(w);
        count_limits(w);
        admin_sum_telemetry(sum, w->metrics);
    }
    if (!(wanted & ADMIN_CLUSTERS)) return;
    const config_view *view = config_reader_view(w->reader);
    for (uint32_t i = 0; i < view->snapshot->cluster_count; i++) {
        upstream_cluster *c = upstream_find(view->state, &view->snapshot->clusters[i]);
        admin_sum_cluster(sum, upstream_endpoints(c), worker_now(w), connections, NULL);
    }
}

static bool ready(void *user, weft_buf *reasons) {
    const operate *o = user;
    if (!o->first->draining) return true;
    (void)weft_buf_adds(reasons, "draining: this sidecar is about to end\n");
    return false;
}

/* ---- who we are and whom we trust */

static void add_cert(admin_certs *out, const char *used_by, const char *kind, const char *file,
                     const crypto_cert *cert) {
    const crypto_cert_info *info = crypto_cert_get_info(cert);
    admin_certs_add(out, &(admin_cert){.used_by = used_by,
                                       .kind = kind,
                                       .file = file,
                                       .spiffe = info->spiffe,
                                       .subject = info->subject,
                                       .issuer = info->issuer,
                                       .serial = info->serial,
                                       .not_before = info->not_before,
                                       .not_after = info->not_after});
}

static void add_context(admin_certs *out, const char *what, const char *name, const config_tls *tls,
                        const tls_context *context) {
    char used_by[320];
    (void)snprintf(used_by, sizeof used_by, "%s %s", what, name);
    const crypto_svid *svid = context ? tls_context_svid(context) : NULL;
    const crypto_bundle *bundle = context ? tls_context_bundle(context) : NULL;
    if (svid) add_cert(out, used_by, "identity", tls->cert_file, crypto_svid_chain(svid)->items[0]);
    for (size_t i = 0; bundle && i < crypto_bundle_roots(bundle)->count; i++)
        add_cert(out, used_by, "root", tls->ca_file, crypto_bundle_roots(bundle)->items[i]);
}

static void show_certs(void *user, admin_certs *out) {
    const worker *w = ((const operate *)user)->first;
    const config_view *view = config_reader_view(w->reader);
    const config_snapshot *s = view->snapshot;
    for (uint32_t i = 0; i < s->listener_count; i++)
        add_context(out, "listener", s->listeners[i].name, s->listeners[i].tls,
                    w->listeners[i]->tls);
    for (uint32_t i = 0; i < s->cluster_count; i++)
        add_context(out, "cluster", s->clusters[i].name, s->clusters[i].tls,
                    upstream_find(view->state, &s->clusters[i])->tls);
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
        *o = (operate){
            .workers = list, .first = workers, .shared = shared, .drain = drain_all, .user = user};
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
            .providers = {
                .user = o, .ready = ready, .certs = show_certs, .drain = drain, .quit = drain}};
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
