#include "sidecar/worker.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sidecar/call.h"
#include "sidecar/export/export.h"
#include "sidecar/export/otlp.h"
#include "weft/log.h"
#include "weft/mem.h"

#define HOUSEKEEPING (250 * WEFT_NS_PER_MS)
#define SPANS_TEXT ((size_t)256 << 10) /* written at once */
#define SWEEP_EVERY 240u               /* of housekeeping: a minute */
#define LINES_A_SECOND 20u             /* of a listener's connections */

/* ---- connections from clients */

/* "order.shop" from ".../ns/shop/sa/order"; else the ID itself. */
static void name_peer(down *d) {
    char space[64], service[64];
    const char *path = strstr(d->peer_id, "/ns/");
    if (path && sscanf(path, "/ns/%63[^/]/sa/%63[^/]", space, service) == 2)
        (void)snprintf(d->peer, sizeof d->peer, "%s.%s", service, space);
    else
        (void)snprintf(d->peer, sizeof d->peer, "%s", d->peer_id);
}

static void down_open(wire *w) {
    down *d = (down *)w;
    const net_conn_info info = net_conn_get_info(w->net);
    const bool in = d->listener->config->direction == CONFIG_INBOUND;
    uint64_t *counters = worker_counters(d->worker);
    d->opened = true;
    counters[TELEMETRY_CONNECTIONS_IN] += in;
    counters[TELEMETRY_CONNECTIONS_OPEN_IN] += in;
    if (info.tls) {
        counters[TELEMETRY_HANDSHAKES_IN]++;
        d->peer_id = tls_session_info(info.tls).peer_id;
        name_peer(d);
        if (*d->peer_id) {
            char text[CRYPTO_SPIFFE_MAX + 8];
            const int len = snprintf(text, sizeof text, "URI=%s", d->peer_id);
            /* Interned: connections of one peer share it, and with it the plans of their calls. */
            d->peer_cert = http_field_intern(
                d->worker->fields, http_name_text(HTTP_NAME_FORWARDED_CLIENT_CERT),
                http_name_len(HTTP_NAME_FORWARDED_CLIENT_CERT), text, (size_t)len);
        }
    }
    if (d->worker->draining) wire_drain(w);
}

static void ended(worker *w) {
    if (!w->draining || w->down_count || w->ended) return;
    for (uint32_t i = 0; i < w->listener_count; i++)
        if (w->listeners[i]->net) return;
    weft_list_each(&w->leaving, at) {
        if (WEFT_CONTAINER(at, worker_listener, link)->net) return;
    }
    w->ended = true;
    weft_timer_cancel(&w->grace);
    if (w->shared->drained) w->shared->drained(w->shared->user);
    upstream_drain(w->up);
    net_loop_stop(w->loop);
}

static void listener_free(worker_listener *l) {
    weft_list_remove(&l->link);
    tls_context_unref(l->tls);
    if (l->view) config_view_unref(l->view);
    weft_free(l);
}

static void listener_release(worker_listener *l) {
    if (l->left && !l->net && !l->downs) listener_free(l);
}

static void sum_up(worker_listener *l, int64_t now) {
    if (now < l->said_until) return;
    if (l->unsaid)
        weft_log(WEFT_LOG_WARN, "more connections refused or lost than there are lines for",
                 WEFT_S("listener", l->config->name), WEFT_I("connections", l->unsaid));
    l->said_until = now + WEFT_NS_PER_S;
    l->said = l->unsaid = 0;
}

/* A line each, as long as that does not let whoever can connect fill the log. */
static bool may_say(worker_listener *l, int64_t now) {
    sum_up(l, now);
    if (l->said++ < LINES_A_SECOND) return true;
    l->unsaid++;
    return false;
}

static void down_closed(wire *w, int error, const char *reason) {
    down *d = (down *)w;
    worker *owner = d->worker;
    if (d->peer_cert) http_field_unref(d->peer_cert);
    if (d->opened && d->listener->config->direction == CONFIG_INBOUND)
        worker_counters(owner)[TELEMETRY_CONNECTIONS_OPEN_IN]--;
    if (!d->opened && d->listener->tls) worker_counters(owner)[TELEMETRY_HANDSHAKES_IN_FAILED]++;
    if (error && may_say(d->listener, worker_now(owner)))
        weft_log(d->opened ? WEFT_LOG_INFO : WEFT_LOG_WARN,
                 d->opened ? "connection lost" : "connection refused",
                 WEFT_S("listener", d->listener->config->name), WEFT_S("reason", reason));
    weft_list_remove(&d->link);
    owner->down_count--;
    d->listener->downs--;
    listener_release(d->listener);
    weft_free(d);
    ended(owner);
}

static const wire_ops down_ops = {.open = down_open, .closed = down_closed};

static int on_accept(net_listener *listener, net_conn *conn) {
    worker_listener *l = net_listener_user(listener);
    down *d = weft_calloc(1, sizeof *d);
    if (!d) return WEFT_ENOMEM;
    wire_init(&d->wire, H2_SERVER, l->worker->h2, &l->limits, &call_down_callbacks, &down_ops);
    d->wire.net = conn;
    d->wire.max_age = l->config->h2.max_age;
    d->worker = l->worker;
    d->listener = l;
    d->peer_id = "";
    const net_conn_options options = {.open_timeout = l->config->handshake_timeout};
    if (l->tls && net_conn_set_tls(conn, l->tls)) {
        weft_free(d);
        return WEFT_ENOMEM;
    }
    net_conn_set_handler(conn, &wire_handler, &d->wire);
    net_conn_set_options(conn, &options);
    weft_list_push_back(&l->worker->downs, &d->link);
    l->worker->down_count++;
    l->downs++;
    return 0;
}

static void on_listener_closed(net_listener *listener) {
    worker_listener *l = net_listener_user(listener);
    worker *w = l->worker;
    l->net = NULL;
    listener_release(l);
    ended(w);
}

/* ---- housekeeping */

typedef struct span_lines {
    worker *worker;
    weft_buf text;
} span_lines;

/* A full disk must not stop traffic. */
static void write_lines(span_lines *l) {
    size_t written = 0;
    ssize_t n = 1;
    while (n > 0 && written < l->text.len) {
        n = write(l->worker->shared->spans_fd, l->text.data + written, l->text.len - written);
        if (n > 0) written += (size_t)n;
    }
    weft_buf_clear(&l->text);
}

static bool hand_out(void *user, const span *s) {
    span_lines *l = user;
    const sidecar_shared *shared = l->worker->shared;
    if (shared->otlp && !otlp_exporter_add(shared->otlp, s))
        worker_counters(l->worker)[TELEMETRY_SPANS_DROPPED]++;
    if (shared->spans_fd < 0) return true;
    if (l->text.len >= SPANS_TEXT) write_lines(l);
    const size_t before = l->text.len;
    if (export_span(s, &l->text)) l->text.len = before;
    return true;
}

static void write_spans(worker *w) {
    if (!span_buffer_stats(w->spans).waiting || !sidecar_wants_spans(w->shared)) return;
    span_lines l = {.worker = w};
    weft_buf_init(&l.text, 2 * SPANS_TEXT);
    (void)span_buffer_drain(w->spans, 0, hand_out, &l);
    if (l.text.len) write_lines(&l);
    weft_buf_free(&l.text);
}

static void keep_house(weft_timer *timer, int64_t now) {
    worker *w = timer->user;
    w->wall_offset = weft_wall(net_loop_clock(w->loop)) - now;
    write_spans(w);
    upstream_tell_all(w->up);
    for (uint32_t i = 0; i < w->listener_count; i++)
        if (w->listeners[i]->unsaid) sum_up(w->listeners[i], now);
    if (++w->rounds % SWEEP_EVERY == 0) (void)telemetry_sweep(w->metrics, now);
    weft_timer_arm(net_loop_timers(w->loop), &w->housekeeping, now + HOUSEKEEPING);
}

void worker_measure(worker *w) {
    uint64_t *counters = worker_counters(w);
    wire_sum in = {0}, out = {0};
    weft_list_each(&w->downs, at) { wire_add(&WEFT_CONTAINER(at, down, link)->wire, &in); }
    upstream_add(w->up, &out);
    counters[TELEMETRY_H2_STREAMS_IN] = in.streams;
    counters[TELEMETRY_H2_STREAMS_OUT] = out.streams;
    counters[TELEMETRY_H2_BUFFERED_IN] = in.buffered;
    counters[TELEMETRY_H2_BUFFERED_OUT] = out.buffered;
    counters[TELEMETRY_H2_QUEUED_IN] = in.queued;
    counters[TELEMETRY_H2_QUEUED_OUT] = out.queued;
    counters[TELEMETRY_H2_SEND_WINDOW_IN] = (uint64_t)in.send_window;
    counters[TELEMETRY_H2_SEND_WINDOW_OUT] = (uint64_t)out.send_window;
    counters[TELEMETRY_H2_RECEIVE_WINDOW_IN] = (uint64_t)in.receive_window;
    counters[TELEMETRY_H2_RECEIVE_WINDOW_OUT] = (uint64_t)out.receive_window;
    counters[TELEMETRY_H2_HANDLES] = h2_env_gauges(w->h2).streams;
    const weft_chunk_stats chunks = weft_chunk_pool_stats(w->chunks);
    counters[TELEMETRY_CHUNKS] = chunks.live;
    counters[TELEMETRY_CHUNK_PIECES] = chunks.links;
}

static void on_turn(void *user, int64_t now) {
    worker *w = user;
    if (w->h2) h2_env_set_now(w->h2, now);
}

/* ---- the end */

static void grace_over(weft_timer *timer, int64_t now) {
    (void)now;
    worker *w = timer->user;
    weft_log(WEFT_LOG_WARN, "calls did not end in time and are cut off",
             WEFT_I("calls", (int64_t)w->calls), WEFT_I("connections", (int64_t)w->down_count));
    worker_stop(w);
}

void worker_drain(void *user) {
    worker *w = user;
    if (w->draining) return;
    w->draining = true;
    for (uint32_t i = 0; i < w->listener_count; i++)
        if (w->listeners[i]->net) net_listener_drain(w->listeners[i]->net, w->index == 0);
    weft_list_each(&w->downs, at) { wire_drain(&WEFT_CONTAINER(at, down, link)->wire); }
    weft_timer_arm(net_loop_timers(w->loop), &w->grace, worker_now(w) + w->shared->drain);
    ended(w);
}

void worker_stop(void *user) {
    worker *w = user;
    if (w->ended) return;
    w->ended = true;
    if (w->shared->drained) w->shared->drained(w->shared->user);
    net_loop_stop(w->loop);
}

/* ---- life */

static void listener_point(worker_listener *l, const config_listener *config, tls_context *tls,
                           config_view *view) {
    tls_context *old_tls = l->tls;
    config_view *old_view = l->view;
    l->config = config;
    l->tls = tls ? tls_context_ref(tls) : NULL;
    l->view = config_view_ref(view);
    wire_limits(&config->h2, true, &l->limits);
    tls_context_unref(old_tls);
    if (old_view) config_view_unref(old_view);
}

/* Listens on a copy of `socket`; nobody looks at its configuration before listener_point. */
static int listener_open(worker *w, const config_listener *config, int socket,
                         worker_listener **out) {
    worker_listener *l = weft_calloc(1, sizeof *l);
    net_why why;
    if (!l) return WEFT_ENOMEM;
    weft_list_init(&l->link);
    l->worker = w;
    const int fd = w->shared->sim ? -1 : dup(socket);
    if (fd < 0 && !w->shared->sim) {
        weft_free(l);
        return WEFT_EIO;
    }
    const bool local =
        config->address.kind == WEFT_ADDR_UNIX || config->address.kind == WEFT_ADDR_ABSTRACT;
    const net_listen what = {.addr = &config->address,
                             .fd = fd,
                             .same_uid = local && !config->tls,
                             .on_accept = on_accept,
                             .on_closed = on_listener_closed,
                             .user = l};
    const int rc = net_listener_new(w->loop, &what, &l->net, &why);
    if (rc) {
        weft_log(WEFT_LOG_ERROR, "cannot listen", WEFT_S("listener", config->name),
                 WEFT_S("reason", why.text));
        weft_free(l);
        return rc;
    }
    *out = l;
    return 0;
}

static int listen_all(worker *w) {
    const config_snapshot *snapshot = w->shared->snapshot;
    w->listeners = weft_calloc(snapshot->listener_count + 1, sizeof(*w->listeners));
    if (!w->listeners) return WEFT_ENOMEM;
    for (uint32_t i = 0; i < snapshot->listener_count; i++) {
        const config_listener *config = &snapshot->listeners[i];
        const int rc = listener_open(w, config, w->shared->sockets ? w->shared->sockets[i] : -1,
                                     &w->listeners[i]);
        if (rc) return rc;
        w->listener_count++;
        listener_point(w->listeners[i], config, w->shared->listener_tls[i],
                       config_reader_view(w->reader));
    }
    return 0;
}

/* Names are asked for again when their TTL is over, at the latest after the least dns_refresh_rate of
 * the clusters that have names; 0: none has. */
static int64_t dns_refresh(const config_snapshot *snapshot) {
    int64_t least = 0;
    for (uint32_t i = 0; i < snapshot->cluster_count; i++) {
        const config_cluster *c = &snapshot->clusters[i];
        if (c->discovery == CONFIG_DNS && (!least || c->dns_refresh < least))
            least = c->dns_refresh;
    }
    return least;
}

/* The clusters of a view that nobody has any more. */
static void retire(void *user, config_view *view) {
    (void)user;
    weft_free(view->state);
}

static int make_resolver(worker *w, const config_snapshot *snapshot) {
    const int64_t refresh = dns_refresh(snapshot);
    if (!refresh || w->resolver) return 0;
    const net_dns_config dns = {.servers = w->shared->dns,
                                .ttl_min = refresh < WEFT_NS_PER_S ? refresh : WEFT_NS_PER_S,
                                .ttl_max = refresh,
                                .retry = refresh};
    return net_resolver_new(w->loop, &dns, &w->resolver);
}

static int make_engine(worker *w) {
    const uint64_t seed = w->shared->seed ? w->shared->seed : weft_rng_system_seed();
    weft_rng_seed(&w->rng, seed ^ (uint64_t)w->index << 32);
    w->chunks = weft_chunk_pool_new(0, 0);
    w->fields = http_pool_new(0, weft_rng_u64(&w->rng));
    w->metrics = telemetry_new(0, 0);
    w->spans = span_buffer_new(0);
    w->reader = config_reader_new(w->shared->publisher, retire, NULL);
    if (!w->chunks || !w->fields || !w->metrics || !w->spans || !w->reader) return WEFT_ENOMEM;
    w->h2 = h2_env_new(w->chunks, w->fields, weft_rng_u64(&w->rng));
    (void)config_reader_poll(w->reader);
    if (!w->h2 || !config_reader_view(w->reader)) return WEFT_ENOMEM;
    const net_loop_config config = {.chunks = w->chunks,
                                    .sim = w->shared->sim,
                                    .host = w->shared->host,
                                    .on_turn = on_turn,
                                    .user = w};
    const int rc = net_loop_new(&config, &w->loop);
    return rc ? rc : make_resolver(w, w->shared->snapshot);
}

int worker_init(worker *w, const sidecar_shared *shared, uint32_t index) {
    *w = (worker){.shared = shared, .index = index};
    weft_list_init(&w->downs);
    weft_list_init(&w->leaving);
    weft_timer_init(&w->housekeeping, keep_house, w);
    weft_timer_init(&w->grace, grace_over, w);
    int rc = make_engine(w);
    if (rc) return rc;
    h2_env_set_now(w->h2, net_loop_now(w->loop));
    deadlines_init(&w->deadlines, net_loop_timers(w->loop), call_deadline);
    const upstream_config config = {.snapshot = shared->snapshot,
                                    .loop = w->loop,
                                    .h2 = w->h2,
                                    .resolver = w->resolver,
                                    .rng = &w->rng,
                                    .metrics = w->metrics,
                                    .shared = shared->clusters,
                                    .tls = shared->cluster_tls};
    upstream_view *clusters = NULL;
    rc = upstream_new(&config, &w->up, &clusters);
    config_reader_view(w->reader)->state = clusters;
    if (!rc) rc = listen_all(w);
    if (!rc) keep_house(&w->housekeeping, net_loop_now(w->loop));
    return rc;
}

/* ---- newer snapshots */

static worker_listener *find_listener(const worker *w, const config_listener *config) {
    for (uint32_t i = 0; i < w->listener_count; i++) {
        const config_listener *old = w->listeners[i]->config;
        if (!strcmp(old->name, config->name) && weft_addr_equal(&old->address, &config->address))
            return w->listeners[i];
    }
    return NULL;
}

/* What is open and not in the newest snapshot: what waits is accepted, clients are told to go. */
static void listener_leave(worker_listener *l) {
    worker *w = l->worker;
    l->left = true;
    weft_list_push_back(&w->leaving, &l->link);
    weft_list_each(&w->downs, at) {
        down *d = WEFT_CONTAINER(at, down, link);
        if (d->listener == l) wire_drain(&d->wire);
    }
    if (l->net) net_listener_drain(l->net, w->index == 0);
}

static void close_opened(worker *w, worker_listener **list, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        bool old = false;
        for (uint32_t k = 0; k < w->listener_count && !old; k++) old = w->listeners[k] == list[i];
        if (old || !list[i]) continue;
        list[i]->left = true;
        if (list[i]->net) net_listener_close(list[i]->net);
    }
    weft_free(list);
}

/* Listeners of the turn, those that are there among them. */
static int open_listeners(worker *w, const sidecar_turn *turn, worker_listener ***out) {
    const config_snapshot *snapshot = turn->snapshot;
    worker_listener **list = weft_calloc(snapshot->listener_count + 1, sizeof(*list));
    int rc = list ? 0 : WEFT_ENOMEM;
    for (uint32_t i = 0; i < snapshot->listener_count && !rc; i++) {
        list[i] = find_listener(w, &snapshot->listeners[i]);
        if (!list[i])
            rc = listener_open(w, &snapshot->listeners[i], turn->sockets ? turn->sockets[i] : -1,
                               &list[i]);
    }
    if (rc && list) close_opened(w, list, snapshot->listener_count);
    *out = list;
    return rc;
}

static void point_listeners(worker *w, const sidecar_turn *turn, worker_listener **list) {
    const config_snapshot *snapshot = turn->snapshot;
    worker_listener **old = w->listeners;
    const uint32_t old_count = w->listener_count;
    w->listeners = list;
    w->listener_count = snapshot->listener_count;
    for (uint32_t i = 0; i < snapshot->listener_count; i++)
        listener_point(list[i], &snapshot->listeners[i], turn->listener_tls[i],
                       config_reader_view(w->reader));
    for (uint32_t i = 0; i < old_count; i++) {
        bool stays = false;
        for (uint32_t k = 0; k < w->listener_count && !stays; k++) stays = list[k] == old[i];
        if (!stays) listener_leave(old[i]);
    }
    weft_free(old);
}

int worker_take(worker *w, const sidecar_turn *turn) {
    worker_listener **list = NULL;
    upstream_view *clusters = NULL;
    if (w->draining || w->ended) return 0;
    int rc = make_resolver(w, turn->snapshot);
    if (rc) return rc;
    upstream_resolver(w->up, w->resolver);
    rc = open_listeners(w, turn, &list);
    if (rc) return rc;
    rc = upstream_update(w->up, turn->snapshot, turn->clusters, turn->cluster_tls, &clusters);
    if (rc) {
        close_opened(w, list, turn->snapshot->listener_count);
        return rc;
    }
    if (!config_reader_poll(w->reader)) {
        /* Memory is out, and clusters are the newer ones' already: the older view finds them, too. */
        weft_free(clusters);
        close_opened(w, list, turn->snapshot->listener_count);
        return WEFT_ENOMEM;
    }
    config_reader_view(w->reader)->state = clusters;
    point_listeners(w, turn, list);
    return 0;
}

void *worker_run(void *user) {
    worker *w = user;
    if (net_loop_run(w->loop))
        weft_log(WEFT_LOG_ERROR, "the loop failed", WEFT_I("worker", w->index));
    return NULL;
}

void worker_free(worker *w) {
    weft_timer_cancel(&w->housekeeping);
    weft_timer_cancel(&w->grace);
    w->draining = w->ended = true;
    if (w->up) {
        write_spans(w);
        upstream_stop(w->up);
    }
    deadlines_stop(&w->deadlines);
    if (w->resolver) net_resolver_free(w->resolver);
    if (w->loop) net_loop_free(w->loop); /* closes everything: calls end here */
    if (w->spans) write_spans(w);
    upstream_free(w->up);
    call_free_all(w);
    plan_free(&w->plans);
    deadlines_free(&w->deadlines);
    if (w->h2) h2_env_free(w->h2);
    for (uint32_t i = 0; i < w->listener_count; i++) listener_free(w->listeners[i]);
    weft_list_each_safe(&w->leaving, at) {
        listener_free(WEFT_CONTAINER(at, worker_listener, link));
    }
    if (w->reader) config_reader_free(w->reader);
    span_buffer_free(w->spans);
    telemetry_free(w->metrics);
    if (w->fields) http_pool_free(w->fields);
    if (w->chunks) weft_chunk_pool_free(w->chunks);
    weft_free(w->listeners);
}
