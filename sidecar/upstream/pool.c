/* An endpoint's connections, and the attempts that wait for one. */
#include <stdio.h>
#include <string.h>

#include "sidecar/upstream/upstream.h"
#include "weft/log.h"
#include "weft/mem.h"

typedef enum conn_state { CONN_DIALLING, CONN_UP, CONN_LEAVING } conn_state;

typedef struct pool_conn {
    wire wire; /* first */
    pool *pool;
    weft_list link;
    conn_state state;
    bool opened;        /* SETTINGS came */
    int64_t dialled;    /* when */
    weft_timer opening; /* from open to SETTINGS: what is left of connect_timeout */
} pool_conn;

/* Invariants: waiting_count is the length of `waiting`; dialling and up count conns in these states;
 * if attempts wait, a connection is dialling or up. `redial` is armed only while attempts wait. */
struct pool {
    upstream_cluster *cluster;
    cluster_endpoint *endpoint; /* not a reference: it outlives us */
    weft_list conns;
    weft_list waiting;
    uint32_t waiting_count;
    uint32_t count;
    uint32_t dialling;
    uint32_t up;
    bool closing;
    bool full; /* the last dial met max_connections */
    weft_timer redial;
    char why[UPSTREAM_TEXT - 96]; /* of the last dial that failed */
};

static uint64_t *counters(const pool *p) { return telemetry_at(p->cluster->up->config.metrics); }
static int64_t now_of(const pool *p) { return net_loop_now(p->cluster->up->config.loop); }

static void redial(weft_timer *timer, int64_t now);

pool *pool_of(upstream_cluster *cluster, cluster_endpoint *endpoint) {
    if (endpoint->pool) return endpoint->pool;
    pool *p = weft_calloc(1, sizeof *p);
    if (!p) return NULL;
    p->cluster = cluster;
    p->endpoint = endpoint;
    weft_list_init(&p->conns);
    weft_list_init(&p->waiting);
    weft_timer_init(&p->redial, redial, p);
    endpoint->pool = p;
    return p;
}

bool pool_is_down(const cluster_endpoint *endpoint, int64_t now) {
    const pool *p = endpoint->pool;
    return p && !p->up && !p->dialling && !cluster_backoff_open(&endpoint->backoff, now);
}

uint32_t upstream_conns(const cluster_endpoint *endpoint) {
    const pool *p = endpoint->pool;
    return p ? p->count : 0;
}

void pool_add(const pool *p, wire_sum *sum) {
    weft_list_each(&p->conns, at) { wire_add(&WEFT_CONTAINER(at, pool_conn, link)->wire, sum); }
}

static bool may_dial(const pool *p) {
    return !p->dialling && !p->closing && !p->cluster->up->draining && p->up < UPSTREAM_CONNS_MAX;
}

/* Whether a connection more is coming, or would be dialled for who waits. */
static bool may_grow(const pool *p) {
    return p->dialling ||
           (may_dial(p) && !p->full && cluster_backoff_open(&p->endpoint->backoff, now_of(p)));
}

/* Streams that nobody reads can hold all that a connection may carry. Who is new need not wait behind
 * them while there is, or can be, another. */
h2_conn *pool_pick(pool *p) {
    h2_conn *stuffed = NULL;
    weft_list_each(&p->conns, at) {
        const pool_conn *c = WEFT_CONTAINER(at, pool_conn, link);
        if (c->state != CONN_UP || !h2_conn_can_request(c->wire.h2)) continue;
        if (!h2_conn_is_stuffed(c->wire.h2)) return c->wire.h2;
        stuffed = c->wire.h2;
    }
    return stuffed && may_grow(p) ? NULL : stuffed;
}

/* ---- dialling */

static const wire_ops conn_ops;
static void open_late(weft_timer *timer, int64_t now);
const h2_callbacks upstream_stream_callbacks;

static cluster_gauge *connections(const pool *p) {
    return &p->cluster->shared->classes[CONFIG_CLASS_NORMAL].connections;
}

static void dial_failed(pool *p, const char *why) {
    cluster_endpoint *e = p->endpoint;
    const int64_t now = now_of(p);
    counters(p)[TELEMETRY_CONNECT_FAILURES]++;
    (void)snprintf(p->why, sizeof p->why, "%s", why);
    if (!e->backoff.failures)
        weft_log(WEFT_LOG_WARN, "cannot reach an endpoint",
                 WEFT_S("cluster", p->cluster->config->name), WEFT_S("reason", why));
    (void)cluster_backoff_failed(&e->backoff, now, p->cluster->up->config.rng);
    if (weft_addr_is_local(&e->address) && e->backoff.until > now + UPSTREAM_LOCAL_BACKOFF)
        e->backoff.until = now + UPSTREAM_LOCAL_BACKOFF;
}

/* 0, or negative with p->why. */
static int dial(pool *p) {
    const config_cluster *config = p->cluster->config;
    const uint32_t most = config->thresholds[CONFIG_CLASS_NORMAL].max_connections;
    p->full = !cluster_gauge_take(connections(p), most);
    if (p->full) {
        counters(p)[TELEMETRY_OVERFLOW_CONNECTIONS]++;
        (void)snprintf(p->why, sizeof p->why,
                       "cluster %.120s has all of its %u connections (max_connections)",
                       config->name, most);
        return WEFT_ELIMIT;
    }
    pool_conn *c = weft_calloc(1, sizeof *c);
    net_why why = {"out of memory"};
    int rc = WEFT_ENOMEM;
    if (c) {
        wire_init(&c->wire, H2_CLIENT, p->cluster->up->config.h2, &p->cluster->limits,
                  &upstream_stream_callbacks, &conn_ops);
        c->wire.max_age = config->h2.max_age;
        c->dialled = now_of(p);
        weft_timer_init(&c->opening, open_late, c);
        const net_dial what = {.addr = &p->endpoint->address,
                               .handler = &wire_handler,
                               .user = &c->wire,
                               .tls = p->cluster->tls,
                               .options = {.open_timeout = config->connect_timeout}};
        rc = net_connect(p->cluster->up->config.loop, &what, &c->wire.net, &why);
    }
    if (rc) {
        weft_free(c);
        cluster_gauge_drop(connections(p));
        dial_failed(p, why.text);
        return rc;
    }
    c->pool = p;
    c->state = CONN_DIALLING;
    weft_list_push_back(&p->conns, &c->link);
    p->count++;
    p->dialling++;
    (void)cluster_endpoint_ref(p->endpoint);
    return 0;
}

/* ---- waiting */

static int unreachable(const pool *p, attempt_error *error) {
    return attempt_fail(error, ATTEMPT_CONNECT, "%s%s", p->full ? "" : "cannot reach ", p->why);
}

/* That a stream ended is told only to who asks. */
static void await_capacity(pool *p) {
    weft_list_each(&p->conns, at) {
        const pool_conn *c = WEFT_CONTAINER(at, pool_conn, link);
        if (c->state == CONN_UP) h2_conn_await_capacity(c->wire.h2);
    }
}

/* While attempts wait for a stream to end, dialling is tried again after each backoff. */
static void arm_redial(pool *p) {
    const cluster_backoff *backoff = &p->endpoint->backoff;
    if (may_dial(p) && !cluster_backoff_open(backoff, now_of(p)))
        weft_timer_arm(net_loop_timers(p->cluster->up->config.loop), &p->redial, backoff->until);
}

int pool_join(pool *p, attempt *a, attempt_error *error) {
    a->conn = weft_list_empty(&p->waiting) ? pool_pick(p) : NULL;
    if (a->conn) return 1;
    if (p->cluster->up->draining)
        return attempt_fail(error, ATTEMPT_CONNECT, "this sidecar is shutting down");
    if (may_dial(p)) {
        const cluster_backoff *backoff = &p->endpoint->backoff;
        if (cluster_backoff_open(backoff, now_of(p))) {
            if (dial(p) && !p->up) return unreachable(p, error);
            if (!p->dialling && weft_list_empty(&p->waiting)) a->conn = pool_pick(p);
            if (a->conn) return 1;
        } else if (!p->up) {
            return attempt_fail(error, ATTEMPT_CONNECT, "cannot reach %s (next try in %.1f s)",
                                p->why, (double)(backoff->until - now_of(p)) / 1e9);
        }
    }
    const config_thresholds *limits = &p->cluster->config->thresholds[a->class];
    if (!cluster_gauge_take(&p->cluster->shared->classes[a->class].pending, limits->max_pending)) {
        counters(p)[TELEMETRY_OVERFLOW_PENDING]++;
        return attempt_fail(error, ATTEMPT_OVERFLOW,
                            "%u requests wait for a connection to cluster %s, its limit "
                            "(max_pending_requests)",
                            limits->max_pending, p->cluster->config->name);
    }
    a->waiting = true;
    p->waiting_count++;
    weft_list_push_back(&p->waiting, &a->link);
    await_capacity(p);
    arm_redial(p);
    return 0;
}

void pool_leave(attempt *a) {
    pool *p = a->endpoint->pool;
    weft_list_remove(&a->link);
    a->waiting = false;
    if (--p->waiting_count == 0) weft_timer_cancel(&p->redial);
    cluster_gauge_drop(&p->cluster->shared->classes[a->class].pending);
}

static void fail_waiting(pool *p) {
    attempt_error error;
    (void)unreachable(p, &error);
    /* Those who come while we go through them wait for the next connection. */
    for (uint32_t n = p->waiting_count; n && p->waiting_count; n--) {
        attempt *a = WEFT_CONTAINER(weft_list_front(&p->waiting), attempt, link);
        pool_leave(a);
        a->failed = true;
        a->events->failed(a, &error);
    }
}

static void serve(pool *p);

/* Those who wait have a connection to wait for, or hear now that there is none. `failed`: a dial
 * just did. */
static void attend(pool *p, bool failed) {
    if (!p->waiting_count) return;
    const bool open = cluster_backoff_open(&p->endpoint->backoff, now_of(p));
    const bool refused = may_dial(p) && (p->up ? open : !failed) && dial(p);
    if (refused && p->up && pool_pick(p)) {
        serve(p);
        return;
    }
    if (!p->up && !p->dialling) {
        fail_waiting(p);
    } else {
        await_capacity(p);
        arm_redial(p);
    }
}

static void redial(weft_timer *timer, int64_t now) {
    (void)now;
    attend(timer->user, false);
}

/* Hands connections to those who wait, in order. */
static void serve(pool *p) {
    while (!weft_list_empty(&p->waiting)) {
        attempt *a = WEFT_CONTAINER(weft_list_front(&p->waiting), attempt, link);
        h2_conn *conn = pool_pick(p);
        if (!conn) break;
        pool_leave(a);
        a->conn = conn;
        a->events->ready(a);
    }
    attend(p, false);
}

/* ---- what connections say */

static pool_conn *conn_of(h2_conn *conn) {
    wire *w = h2_conn_user(conn);
    return (pool_conn *)w;
}

/* No new requests from here on. */
static void leave(pool_conn *c) {
    if (c->state == CONN_UP) {
        c->pool->up--;
        c->pool->cluster->up->up--;
    }
    if (c->state == CONN_DIALLING) c->pool->dialling--;
    c->state = CONN_LEAVING;
}

static void on_open(wire *w) {
    pool_conn *c = (pool_conn *)w;
    const int64_t until = c->dialled + c->pool->cluster->config->connect_timeout;
    weft_timer_arm(net_loop_timers(net_conn_loop(w->net)), &c->opening, until);
}

static void open_late(weft_timer *timer, int64_t now) {
    pool_conn *c = timer->user;
    char why[UPSTREAM_TEXT];
    (void)snprintf(why, sizeof why, "connected, but no HTTP/2 SETTINGS within %.3f s",
                   (double)(now - c->dialled) / 1e9);
    net_conn_abort(c->wire.net, WEFT_ETIMEOUT, why);
}

static void on_settings(h2_conn *conn) {
    pool_conn *c = conn_of(conn);
    pool *p = c->pool;
    if (!c->opened) {
        c->opened = true;
        weft_timer_cancel(&c->opening);
        counters(p)[TELEMETRY_CONNECTIONS_OUT]++;
        counters(p)[TELEMETRY_CONNECTIONS_OPEN_OUT]++;
        if (p->cluster->tls) counters(p)[TELEMETRY_HANDSHAKES_OUT]++;
    }
    if (c->state == CONN_DIALLING) {
        c->state = CONN_UP;
        p->dialling--;
        p->up++;
        p->cluster->up->up++;
        cluster_backoff_reset(&p->endpoint->backoff);
    }
    serve(p);
}

static void on_goaway(h2_conn *conn, const h2_goaway_info *info) {
    (void)info;
    pool_conn *c = conn_of(conn);
    leave(c);
    attend(c->pool, false);
}

static void on_ending(wire *w) {
    pool_conn *c = (pool_conn *)w;
    leave(c);
    attend(c->pool, false);
}

static void on_capacity(h2_conn *conn) { serve(conn_of(conn)->pool); }

static void on_closed(wire *w, int error, const char *reason) {
    pool_conn *c = (pool_conn *)w;
    pool *p = c->pool;
    cluster_endpoint *e = p->endpoint;
    const bool failed = c->state == CONN_DIALLING;
    if (c->opened) counters(p)[TELEMETRY_CONNECTIONS_OPEN_OUT]--;
    weft_timer_cancel(&c->opening);
    leave(c);
    weft_list_remove(&c->link);
    p->count--;
    cluster_gauge_drop(connections(p));
    weft_free(c);
    if (failed) {
        if (p->cluster->tls) counters(p)[TELEMETRY_HANDSHAKES_OUT_FAILED]++;
        dial_failed(p, reason);
    } else if (error) {
        weft_log(WEFT_LOG_INFO, "connection lost", WEFT_S("cluster", p->cluster->config->name),
                 WEFT_S("endpoint", e->text), WEFT_S("reason", reason));
    }
    p->full = p->full && failed;
    if (p->up)
        serve(p);
    else
        attend(p, failed);
    cluster_endpoint_unref(e);
}

static const wire_ops conn_ops = {.open = on_open, .ending = on_ending, .closed = on_closed};

const h2_callbacks upstream_stream_callbacks = {.on_headers = attempt_stream_headers,
                                                .on_data = attempt_stream_data,
                                                .on_reset = attempt_stream_reset,
                                                .on_sent = attempt_stream_sent,
                                                .on_capacity = on_capacity,
                                                .on_settings = on_settings,
                                                .on_goaway = on_goaway,
                                                .on_want_write = wire_want_write};

/* ---- the end */

void pool_drain(pool *p) {
    p->closing = true;
    weft_list_each(&p->conns, at) {
        pool_conn *c = WEFT_CONTAINER(at, pool_conn, link);
        leave(c);
        wire_drain(&c->wire);
    }
    p->full = false;
    (void)snprintf(p->why, sizeof p->why, "%.200s: it has left the cluster", p->endpoint->text);
    attend(p, false);
}

static void endpoint_gone(void *user, cluster_endpoint *endpoint) {
    (void)user;
    if (endpoint->pool) pool_drain(endpoint->pool);
}

static void endpoint_release(void *user, cluster_endpoint *endpoint) {
    (void)user;
    weft_free(endpoint->pool);
    endpoint->pool = NULL;
}

const cluster_hooks upstream_hooks = {.gone = endpoint_gone, .release = endpoint_release};
