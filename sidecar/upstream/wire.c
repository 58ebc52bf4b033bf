#include "sidecar/upstream/wire.h"

#include "weft/clock.h"

static wire *of(net_conn *conn) { return net_conn_user(conn); }

void wire_want_write(h2_conn *conn) {
    const wire *w = h2_conn_user(conn);
    net_conn_want_write(w->net);
}

/* The engine's deadline can move with any call; it is looked at after all that comes from the loop. */
static void rearm(wire *w) {
    const int64_t deadline = h2_conn_deadline(w->h2);
    if (weft_timer_armed(&w->timer) ? w->timer.deadline == deadline : deadline == WEFT_NO_DEADLINE)
        return;
    weft_timer_arm(net_loop_timers(net_conn_loop(w->net)), &w->timer, deadline);
}

static void fail(wire *w, int error) { net_conn_close(w->net, error, h2_conn_reason(w->h2)); }

static void tick(weft_timer *timer, int64_t now) {
    (void)now;
    wire *w = timer->user;
    const int rc = h2_conn_tick(w->h2);
    if (rc < 0) {
        fail(w, rc);
    } else {
        rearm(w);
    }
}

static void grow_old(weft_timer *timer, int64_t now) {
    wire *w = timer->user;
    if (w->expires != INT64_MAX) {
        const int64_t end = w->expires + WIRE_GRACE;
        if (now >= end) {
            h2_conn_abort(w->h2, H2_NO_ERROR, "the peer's certificate has expired");
            fail(w, WEFT_ECLOSED);
            return;
        }
        weft_timer_arm(net_loop_timers(net_conn_loop(w->net)), timer, end);
    }
    wire_drain(w);
    if (w->ops->ending) w->ops->ending(w);
}

static void arm_age(wire *w) {
    net_loop *loop = net_conn_loop(w->net);
    const net_conn_info info = net_conn_get_info(w->net);
    const int64_t now = net_loop_now(loop);
    int64_t end = w->max_age && w->max_age < INT64_MAX - now ? now + w->max_age : INT64_MAX;
    if (info.tls) {
        const int64_t expires = tls_session_info(info.tls).peer_expires;
        const int64_t valid = expires - weft_wall(net_loop_clock(loop));
        if (expires != INT64_MAX && valid < INT64_MAX - WIRE_GRACE - now)
            w->expires = now + (valid > 0 ? valid : 0);
        if (w->expires < end) end = w->expires;
    }
    if (end != INT64_MAX) weft_timer_arm(net_loop_timers(loop), &w->age, end);
}

static void on_open(net_conn *conn) {
    wire *w = of(conn);
    w->h2 = h2_conn_new(w->env, w->role, w->limits, w->callbacks, w);
    if (!w->h2) {
        net_conn_abort(conn, WEFT_ENOMEM, "out of memory");
        return;
    }
    rearm(w);
    arm_age(w);
    if (w->ops->open) w->ops->open(w);
}

static int on_input(net_conn *conn, const uint8_t *data, size_t size, weft_chunk *chunk) {
    wire *w = of(conn);
    if (!w->h2) return WEFT_ECLOSED;
    const int rc = h2_conn_input(w->h2, data, size, chunk);
    if (rc < 0) {
        fail(w, rc);
        return 0;
    }
    rearm(w);
    return 0;
}

static int on_eof(net_conn *conn) {
    wire *w = of(conn);
    if (!w->h2) return WEFT_ECLOSED;
    const int rc = h2_conn_eof(w->h2);
    net_conn_close(conn, rc, rc < 0 ? h2_conn_reason(w->h2) : "closed by the peer");
    return 0;
}

static int on_output(net_conn *conn, weft_chain *out) {
    wire *w = of(conn);
    if (!w->h2) return 0;
    const int64_t n = h2_conn_output(w->h2, out);
    if (n < 0) {
        fail(w, (int)n);
    } else if (h2_conn_finished(w->h2)) {
        net_conn_close(conn, 0, "finished");
    } else {
        rearm(w);
    }
    return 0;
}

static void on_close(net_conn *conn, int error, const char *reason) {
    wire *w = of(conn);
    weft_timer_cancel(&w->timer);
    weft_timer_cancel(&w->age);
    if (w->h2) h2_conn_free(w->h2, net_conn_unsent(conn));
    w->h2 = NULL;
    w->net = NULL;
    w->ops->closed(w, error, reason);
}

const net_handler wire_handler = {.on_open = on_open,
                                  .on_input = on_input,
                                  .on_eof = on_eof,
                                  .on_output = on_output,
                                  .on_close = on_close};

void wire_init(wire *w, h2_role role, h2_env *env, const h2_limits *limits,
               const h2_callbacks *callbacks, const wire_ops *ops) {
    *w = (wire){.env = env,
                .ops = ops,
                .limits = limits,
                .callbacks = callbacks,
                .role = role,
                .expires = INT64_MAX};
    weft_timer_init(&w->timer, tick, w);
    weft_timer_init(&w->age, grow_old, w);
}

void wire_drain(wire *w) {
    if (w->h2) {
        h2_conn_drain(w->h2);
        net_conn_want_write(w->net);
    } else if (w->net) {
        net_conn_abort(w->net, 0, "draining");
    }
}

void wire_add(const wire *w, wire_sum *sum) {
    if (!w->h2) return;
    const h2_conn_info info = h2_conn_get_info(w->h2);
    sum->streams += info.streams_local + info.streams_peer;
    sum->buffered += info.buffered;
    sum->queued += info.output + h2_conn_queued(w->h2) + net_conn_unsent(w->net);
    sum->send_window += info.send_window;
    sum->receive_window += info.recv_window;
}

void wire_limits(const config_h2 *config, bool inbound, h2_limits *limits) {
    h2_limits_peer(limits);
    limits->max_streams = inbound ? config->max_streams : 0;
    limits->idle_reset = inbound;
    limits->stream_window = config->stream_window;
    if (config->connection_window < limits->conn_window) {
        limits->conn_window = config->connection_window < 65535 ? 65535 : config->connection_window;
    }
    limits->buffered_max = config->connection_window < limits->conn_window
                               ? limits->conn_window
                               : config->connection_window;
    limits->hpack_decoder_table = config->hpack_table;
    limits->hpack_encoder_table = config->hpack_table;
    limits->header_fields_max = config->max_headers;
    limits->header_list_max = config->max_header_bytes;
    if (config->max_header_bytes > limits->header_block_max)
        limits->header_block_max = config->max_header_bytes;
    limits->ping_interval = config->keepalive_interval;
    if (config->keepalive_timeout) limits->ping_timeout = config->keepalive_timeout;
    limits->idle_timeout = config->idle_timeout;
}
