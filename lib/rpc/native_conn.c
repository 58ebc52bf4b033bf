/* Connections of the native transport: a net_conn and the h2_conn on top of it, either role. */
#include <stdio.h>
#include <string.h>

#include "native.h"
#include "weft/tls.h"

nat_peer *nat_peer_ref(nat_peer *peer) {
    if (peer) atomic_fetch_add_explicit(&peer->refs, 1, memory_order_relaxed);
    return peer;
}

void nat_peer_unref(nat_peer *peer) {
    if (peer && atomic_fetch_sub_explicit(&peer->refs, 1, memory_order_acq_rel) == 1)
        weft_free(peer);
}

static nat_peer *peer_new(const net_conn_info *info) {
    static const char *const schemes[] = {
        [WEFT_ADDR_NONE] = "unix:", [WEFT_ADDR_NAME] = "dns:", [WEFT_ADDR_IPV4] = "ipv4:",
        [WEFT_ADDR_IPV6] = "ipv6:", [WEFT_ADDR_UNIX] = "",     [WEFT_ADDR_ABSTRACT] = ""};
    char text[WEFT_ADDR_TEXT];
    const char *id = info->tls ? tls_session_info(info->tls).peer_id : "";
    const size_t len = strnlen(id, 4096);
    nat_peer *peer = weft_malloc(sizeof *peer + len + 1);
    if (!peer) return NULL;
    atomic_init(&peer->refs, 1);
    (void)snprintf(peer->text, sizeof peer->text, "%s%s", schemes[info->peer.kind],
                   weft_addr_format(&info->peer, text));
    memcpy(peer->identity, id, len);
    peer->identity[len] = '\0';
    return peer;
}

void nat_limits(h2_limits *limits, size_t max_metadata, int64_t keepalive_ns) {
    h2_limits_peer(limits);
    limits->header_fields_max = NAT_FIELDS_MAX;
    limits->header_list_max =
        max_metadata > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)max_metadata;
    if (limits->header_list_max > limits->header_block_max)
        limits->header_block_max = limits->header_list_max;
    limits->idle_reset = true;
    limits->ping_interval = keepalive_ns;
}

/* ---- glue */

void nat_want_write(h2_conn *conn) {
    const nat_conn *c = h2_conn_user(conn);
    net_conn_want_write(c->net);
}

/* The engine's deadline can move with any call; it is looked at after all that comes from the loop. */
static void rearm(nat_conn *c) {
    const int64_t deadline = h2_conn_deadline(c->h2);
    if (weft_timer_armed(&c->timer) ? c->timer.deadline == deadline : deadline == WEFT_NO_DEADLINE)
        return;
    weft_timer_arm(net_loop_timers(c->loop->net), &c->timer, deadline);
}

static void fail(nat_conn *c, int error) { net_conn_close(c->net, error, h2_conn_reason(c->h2)); }

static void tick(weft_timer *timer, int64_t now) {
    (void)now;
    nat_conn *c = timer->user;
    const int error = h2_conn_tick(c->h2);
    if (error < 0)
        fail(c, error);
    else
        rearm(c);
    nat_work(c->loop);
}

/* The peer's certificate has expired: new calls go elsewhere, then what is left is cut off. */
static void grow_old(weft_timer *timer, int64_t now) {
    nat_conn *c = timer->user;
    if (now >= c->expires + NAT_EXPIRED_GRACE) {
        nat_conn_end(c, "the peer's certificate has expired");
    } else {
        weft_timer_arm(net_loop_timers(c->loop->net), timer, c->expires + NAT_EXPIRED_GRACE);
        nat_conn_drain(c);
    }
    nat_work(c->loop);
}

static void arm_age(nat_conn *c, const net_conn_info *info) {
    if (!info->tls) return;
    const int64_t now = net_loop_now(c->loop->net);
    const int64_t end = tls_session_info(info->tls).peer_expires;
    const int64_t valid = end - weft_wall(net_loop_clock(c->loop->net));
    if (end == INT64_MAX || valid >= INT64_MAX - NAT_EXPIRED_GRACE - now) return;
    c->expires = now + (valid > 0 ? valid : 0);
    weft_timer_arm(net_loop_timers(c->loop->net), &c->age, c->expires);
}

static void on_open(net_conn *net) {
    nat_conn *c = net_conn_user(net);
    const net_conn_info info = net_conn_get_info(net);
    c->peer = peer_new(&info);
    if (c->peer) c->h2 = h2_conn_new(c->loop->h2, c->role, c->ops->limits(c), c->ops->callbacks, c);
    if (!c->h2) {
        net_conn_abort(net, WEFT_ENOMEM, "out of memory");
        return;
    }
    if (c->draining) h2_conn_drain(c->h2);
    rearm(c);
    arm_age(c, &info);
}

static int on_input(net_conn *net, const uint8_t *data, size_t size, weft_chunk *chunk) {
    nat_conn *c = net_conn_user(net);
    if (!c->h2) return WEFT_ECLOSED;
    const int error = h2_conn_input(c->h2, data, size, chunk);
    if (error < 0)
        fail(c, error);
    else
        rearm(c);
    nat_work(c->loop);
    return 0;
}

static int on_eof(net_conn *net) {
    nat_conn *c = net_conn_user(net);
    if (!c->h2) return WEFT_ECLOSED;
    const int error = h2_conn_eof(c->h2);
    net_conn_close(net, error, error < 0 ? h2_conn_reason(c->h2) : "closed by the peer");
    nat_work(c->loop);
    return 0;
}

static int on_output(net_conn *net, weft_chain *out) {
    nat_conn *c = net_conn_user(net);
    if (!c->h2) return 0;
    const int64_t moved = h2_conn_output(c->h2, out);
    if (moved < 0)
        fail(c, (int)moved);
    else if (h2_conn_finished(c->h2))
        net_conn_close(net, 0, "finished");
    else
        rearm(c);
    nat_work(c->loop);
    return 0;
}

static void on_close(net_conn *net, int error, const char *reason) {
    nat_conn *c = net_conn_user(net);
    nat_loop *loop = c->loop;
    weft_timer_cancel(&c->timer);
    weft_timer_cancel(&c->age);
    if (c->h2) h2_conn_free(c->h2, net_conn_unsent(net));
    c->h2 = NULL;
    c->net = NULL;
    c->ops->closed(c, error, reason);
    nat_work(loop);
}

const net_handler nat_conn_handler = {.on_open = on_open,
                                      .on_input = on_input,
                                      .on_eof = on_eof,
                                      .on_output = on_output,
                                      .on_close = on_close};

nat_conn *nat_conn_new(nat_loop *loop, h2_role role, const nat_conn_ops *ops, void *owner) {
    nat_conn *c = weft_calloc(1, sizeof *c);
    if (!c) return NULL;
    *c = (nat_conn){.loop = loop, .ops = ops, .owner = owner, .role = role, .expires = INT64_MAX};
    weft_list_init(&c->link);
    weft_timer_init(&c->timer, tick, c);
    weft_timer_init(&c->age, grow_old, c);
    return c;
}

void nat_conn_free(nat_conn *c) {
    weft_list_remove(&c->link);
    nat_peer_unref(c->peer);
    weft_free(c);
}

void nat_conn_drain(nat_conn *c) {
    if (c->h2) {
        h2_conn_drain(c->h2);
        net_conn_want_write(c->net);
    } else {
        c->draining = true;
    }
}

void nat_conn_end(nat_conn *c, const char *why) {
    if (!c->net) return;
    if (c->h2) h2_conn_abort(c->h2, H2_NO_ERROR, why);
    net_conn_close(c->net, 0, why);
}
