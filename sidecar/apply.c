#include "sidecar/apply.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "weft/log.h"
#include "weft/map.h"
#include "weft/mem.h"

typedef struct change change;

/* What is posted to one worker. */
typedef struct errand {
    change *change;
    worker *worker;
} errand;

/* One snapshot on its way; gone once the last worker took it. */
struct change {
    sidecar_apply *apply;
    sidecar_turn turn;
    certs certs;
    _Atomic uint32_t left; /* workers that did not take it yet, and the one who sends it */
    errand errands[];
};

struct sidecar_apply {
    const sidecar_shared *shared;
    worker *workers;
    uint32_t count;
    config_snapshot *last; /* a reference */
    weft_map by_name;      /* cluster → cluster_shared; some are those the workers began with */
    const cluster_shared *first;
    uint32_t first_count;
    _Atomic bool busy;
};

/* ---- life */

static bool is_first(const sidecar_apply *a, const cluster_shared *shared) {
    return shared >= a->first && shared < a->first + a->first_count;
}

sidecar_apply *sidecar_apply_new(const sidecar_shared *shared, worker *workers, uint32_t count) {
    sidecar_apply *a = weft_calloc(1, sizeof *a);
    if (!a) return NULL;
    a->shared = shared;
    a->workers = workers;
    a->count = count;
    a->last = config_ref(shared->snapshot);
    a->first = shared->clusters;
    a->first_count = shared->snapshot->cluster_count;
    weft_map_init(&a->by_name, APPLY_CLUSTERS_MAX);
    for (uint32_t i = 0; i < shared->snapshot->cluster_count; i++) {
        if (!weft_map_put(&a->by_name, shared->snapshot->clusters[i].name, &shared->clusters[i]))
            continue;
        sidecar_apply_free(a);
        return NULL;
    }
    return a;
}

void sidecar_apply_free(sidecar_apply *a) {
    if (!a) return;
    size_t at = 0;
    void *shared;
    while (weft_map_next(&a->by_name, &at, NULL, NULL, &shared))
        if (!is_first(a, shared)) weft_free(shared);
    weft_map_free(&a->by_name, NULL);
    config_unref(a->last);
    weft_free(a);
}

bool sidecar_apply_busy(const sidecar_apply *a) {
    return atomic_load_explicit(&a->busy, memory_order_acquire);
}

/* ---- one change */

static void close_sockets(const sidecar_turn *turn) {
    for (uint32_t i = 0; turn->sockets && i < turn->snapshot->listener_count; i++)
        if (turn->sockets[i] >= 0) (void)close(turn->sockets[i]);
    weft_free(turn->sockets);
}

static void change_free(change *c) {
    close_sockets(&c->turn);
    certs_free(&c->certs);
    weft_free(c->turn.clusters);
    config_unref(c->turn.snapshot);
    weft_free(c);
}

static void done(change *c) {
    if (atomic_fetch_sub_explicit(&c->left, 1, memory_order_acq_rel) != 1) return;
    sidecar_apply *a = c->apply;
    change_free(c);
    atomic_store_explicit(&a->busy, false, memory_order_release);
}

static void take(void *user) {
    errand *e = user;
    const int rc = worker_take(e->worker, &e->change->turn);
    if (rc)
        weft_log(WEFT_LOG_ERROR, "a configuration is not taken", WEFT_I("worker", e->worker->index),
                 WEFT_S("reason", weft_strerror(rc)));
    done(e->change);
}

static int find_shared(sidecar_apply *a, change *c) {
    const config_snapshot *s = c->turn.snapshot;
    c->turn.clusters = weft_calloc(s->cluster_count + 1, sizeof(cluster_shared *));
    if (!c->turn.clusters) return WEFT_ENOMEM;
    for (uint32_t i = 0; i < s->cluster_count; i++) {
        cluster_shared *shared = weft_map_get(&a->by_name, s->clusters[i].name);
        if (!shared) {
            shared = weft_calloc(1, sizeof *shared);
            if (!shared) return WEFT_ENOMEM;
            if (a->count == 1) cluster_shared_alone(shared);
            const int rc = weft_map_put(&a->by_name, s->clusters[i].name, shared);
            if (rc) {
                weft_free(shared);
                return rc;
            }
        }
        c->turn.clusters[i] = shared;
    }
    return 0;
}

static bool listens(const config_snapshot *s, const config_listener *listener) {
    const config_listener *old = config_find_listener(s, listener->name);
    return old && weft_addr_equal(&old->address, &listener->address);
}

static int open_sockets(sidecar_apply *a, change *c, char why[APPLY_WHY]) {
    const config_snapshot *s = c->turn.snapshot;
    c->turn.sockets = weft_malloc((s->listener_count + 1) * sizeof(int));
    if (!c->turn.sockets) return WEFT_ENOMEM;
    for (uint32_t i = 0; i < s->listener_count; i++) c->turn.sockets[i] = -1;
    for (uint32_t i = 0; i < s->listener_count; i++) {
        const config_listener *l = &s->listeners[i];
        const net_socket_options options = {.mode = (int)l->mode};
        net_why reason;
        if (listens(a->last, l)) continue;
        const int rc = net_socket_listen(&l->address, &options, &c->turn.sockets[i], &reason);
        if (!rc) continue;
        (void)snprintf(why, APPLY_WHY, "listener %s: %s", l->name, reason.text);
        return rc;
    }
    return 0;
}

static int prepare(sidecar_apply *a, change *c, char why[APPLY_WHY]) {
    int rc = certs_load(c->turn.snapshot, &c->certs, why);
    if (rc) return rc;
    c->turn.cluster_tls = c->certs.clusters;
    c->turn.listener_tls = c->certs.listeners;
    rc = find_shared(a, c);
    return rc ? rc : open_sockets(a, c, why);
}

int sidecar_apply_snapshot(sidecar_apply *a, config_snapshot *snapshot, char why[APPLY_WHY]) {
    why[0] = '\0';
    if (sidecar_apply_busy(a)) return WEFT_EBUSY;
    change *c = weft_calloc(1, sizeof *c + a->count * sizeof(errand));
    if (!c) return WEFT_ENOMEM;
    c->apply = a;
    c->turn.snapshot = config_ref(snapshot);
    const int rc = prepare(a, c, why);
    if (rc) {
        if (!why[0]) (void)snprintf(why, APPLY_WHY, "%s", weft_strerror(rc));
        change_free(c);
        return rc;
    }
    atomic_init(&c->left, a->count + 1);
    atomic_store_explicit(&a->busy, true, memory_order_relaxed);
    config_publish(a->shared->publisher, snapshot);
    config_unref(a->last);
    a->last = config_ref(snapshot);
    for (uint32_t i = 0; i < a->count; i++) {
        c->errands[i] = (errand){c, &a->workers[i]};
        if (!net_loop_post(a->workers[i].loop, take, &c->errands[i])) continue;
        weft_log(WEFT_LOG_ERROR, "a configuration is not taken", WEFT_I("worker", i),
                 WEFT_S("reason", "its loop takes no more"));
        done(c);
    }
    done(c);
    return 0;
}
