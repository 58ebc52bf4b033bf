/* Frames about the connection, and how many of them are too many. */
#include "lib/h2/h2_int.h"

/* ---- floods */

void flood_roll(h2_conn *c) {
    if (c->env->now < c->flood.until) return;
    c->flood = (flood){.until = c->env->now + H2_FLOOD_WINDOW};
}

int flood_count(h2_conn *c, uint32_t *counter, uint64_t max, uint64_t *stat, const char *text) {
    flood_roll(c);
    if (++*counter <= max) return 0;
    ++*stat;
    return conn_error(c, H2_ENHANCE_YOUR_CALM, text);
}

/* ---- SETTINGS, section 6.5 */

static int set_initial_window(h2_conn *c, uint32_t value) {
    if (value > WINDOW_MAX)
        return conn_error(c, H2_FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE too large");
    const int64_t delta = (int64_t)value - c->peer_stream_window;
    c->peer_stream_window = value;
    weft_list_each(&c->streams, at) {
        h2_stream *s = WEFT_CONTAINER(at, h2_stream, all);
        if (s->flags & S_CLOSED) continue;
        s->send_window += delta;
        if (s->send_window > WINDOW_MAX)
            return conn_error(c, H2_FLOW_CONTROL_ERROR, "SETTINGS make a window too large");
        if (s->send_window > 0) {
            stream_make_ready(c, s);
        } else {
            weft_list_remove(&s->ready);
        }
    }
    return 0;
}

static int apply_setting(h2_conn *c, uint16_t id, uint32_t value) {
    switch (id) {
    case SETTINGS_HEADER_TABLE_SIZE:
        hpack_encoder_limit(&c->encoder, value);
        return 0;
    case SETTINGS_ENABLE_PUSH:
        if (value > 1 || (value && c->role == H2_CLIENT))
            return conn_error(c, H2_PROTOCOL_ERROR, "bad SETTINGS_ENABLE_PUSH");
        return 0;
    case SETTINGS_MAX_CONCURRENT_STREAMS:
        c->peer_max_streams = value;
        return 0;
    case SETTINGS_INITIAL_WINDOW_SIZE:
        return set_initial_window(c, value);
    case SETTINGS_MAX_FRAME_SIZE:
        if (value < 16384 || value > 16777215)
            return conn_error(c, H2_PROTOCOL_ERROR, "bad SETTINGS_MAX_FRAME_SIZE");
        return 0;
    case SETTINGS_MAX_HEADER_LIST_SIZE:
        c->peer_header_list_max = value;
        return 0;
    default:
        return 0;
    }
}

/* Ours are in force: the windows of streams change as the peer's sender changed them. */
static void settings_acked(h2_conn *c) {
    const h2_limits *l = c->limits;
    c->got_ack = true;
    hpack_decoder_limit(&c->decoder, l->hpack_decoder_table);
    const int64_t delta = (int64_t)l->stream_window - c->our_stream_window;
    c->our_stream_window = l->stream_window;
    weft_list_each(&c->streams, at) WEFT_CONTAINER(at, h2_stream, all)->recv_window += delta;
}

static int on_settings(h2_conn *c, const frame *f, const uint8_t *payload) {
    if (f->stream) return conn_error(c, H2_PROTOCOL_ERROR, "SETTINGS on a stream");
    if (f->flags & FLAG_ACK) {
        if (f->len) return conn_error(c, H2_FRAME_SIZE_ERROR, "SETTINGS ACK with payload");
        if (!c->got_ack) settings_acked(c);
        if (c->got_settings) c->settings_deadline = WEFT_NO_DEADLINE;
        return 0;
    }
    if (f->len % 6) return conn_error(c, H2_FRAME_SIZE_ERROR, "bad length of SETTINGS");
    int failed = flood_count(c, &c->flood.settings, c->limits->settings_max,
                             &c->env->stats.limit_settings, "too many SETTINGS");
    /* Without that setting there is no limit (section 6.5.2). */
    if (!c->got_settings) c->peer_max_streams = UINT32_MAX;
    bool window = false;
    for (uint32_t at = 0; at < f->len && !failed; at += 6) {
        const uint16_t id = get16(payload + at);
        /* Each goes through all streams: a frame with many costs as much as many frames. */
        if (id == SETTINGS_INITIAL_WINDOW_SIZE && window)
            failed = flood_count(c, &c->flood.settings, c->limits->settings_max,
                                 &c->env->stats.limit_settings, "too many SETTINGS");
        window = window || id == SETTINGS_INITIAL_WINDOW_SIZE;
        if (!failed) failed = apply_setting(c, id, get32(payload + at + 2));
    }
    if (failed) return failed;
    c->got_settings = true;
    if (c->got_ack) c->settings_deadline = WEFT_NO_DEADLINE;
    if (!frame_begin(c, 0, FRAME_SETTINGS, FLAG_ACK, 0)) return WEFT_ENOMEM;
    weft_chain_commit(&c->out, FRAME_HEAD);
    if (c->cb->on_settings) c->cb->on_settings(c);
    if (c->want_capacity && h2_conn_can_request(c)) {
        c->want_capacity = false;
        c->report_capacity = true;
    }
    return 0;
}

/* ---- PING, section 6.7 */

void ping_send(h2_conn *c) {
    if (c->ping_sent >= 0 || c->failed) return;
    uint8_t *at = frame_begin(c, 8, FRAME_PING, 0, 0);
    if (!at) return;
    c->ping_number++;
    put32(at, 0x77656674); /* "weft" */
    put32(at + 4, (uint32_t)c->ping_number);
    weft_chain_commit(&c->out, FRAME_HEAD + 8);
    c->ping_sent = c->env->now;
    if (c->limits->ping_timeout) arm(c, c->env->now + c->limits->ping_timeout);
}

void h2_conn_ping(h2_conn *c) { ping_send(c); }

static int on_pong(h2_conn *c, const uint8_t *payload) {
    if (c->ping_sent < 0 || get32(payload) != 0x77656674 ||
        get32(payload + 4) != (uint32_t)c->ping_number)
        return 0; /* not an answer to anything: nobody is harmed */
    c->rtt = c->env->now - c->ping_sent;
    c->ping_sent = -1;
    if (c->drain == DRAIN_ANNOUNCED) {
        if (c->drain_ping) {
            drain_finish(c);
        } else {
            c->drain_ping = true;
            ping_send(c);
        }
    }
    if (c->cb->on_pong) c->cb->on_pong(c, c->rtt);
    return 0;
}

static int on_ping(h2_conn *c, const frame *f, const uint8_t *payload) {
    if (f->stream) return conn_error(c, H2_PROTOCOL_ERROR, "PING on a stream");
    if (f->len != 8) return conn_error(c, H2_FRAME_SIZE_ERROR, "bad length of PING");
    if (f->flags & FLAG_ACK) return on_pong(c, payload);
    const int failed =
        flood_count(c, &c->flood.pings, (uint64_t)c->limits->ping_max + c->flood.work,
                    &c->env->stats.limit_ping, "too many PINGs");
    if (failed) return failed;
    uint8_t *at = frame_begin(c, 8, FRAME_PING, FLAG_ACK, 0);
    if (!at) return WEFT_ENOMEM;
    __builtin_memcpy(at, payload, 8);
    weft_chain_commit(&c->out, FRAME_HEAD + 8);
    return 0;
}

/* ---- GOAWAY, section 6.8 */

static int on_goaway(h2_conn *c, const frame *f, const uint8_t *payload) {
    if (f->stream) return conn_error(c, H2_PROTOCOL_ERROR, "GOAWAY on a stream");
    if (f->len < 8) return conn_error(c, H2_FRAME_SIZE_ERROR, "bad length of GOAWAY");
    c->env->stats.goaways_in++;
    const h2_goaway_info info = {.last_stream = get32(payload) & STREAM_ID_MAX,
                                 .code = get32(payload + 4),
                                 .debug = (const char *)payload + 8,
                                 .debug_len = f->len - 8};
    if (info.last_stream > c->peer_goaway_last)
        return conn_error(c, H2_PROTOCOL_ERROR, "GOAWAY raises the last stream");
    c->got_goaway = true;
    c->peer_goaway_last = info.last_stream;
    if (c->cb->on_goaway) c->cb->on_goaway(c, &info);
    const h2_reset_info reset = {
        .code = H2_REFUSED_STREAM, .unprocessed = true, .text = "above the last stream of GOAWAY"};
    /* Callbacks may end any stream, so take them one by one. */
    weft_list rest;
    weft_list_init(&rest);
    weft_list_splice(&rest, &c->streams);
    for (weft_list *at; (at = weft_list_pop_front(&rest));) {
        h2_stream *s = WEFT_CONTAINER(at, h2_stream, all);
        weft_list_push_back(&c->streams, at);
        if (s->flags & S_CLOSED || !(s->flags & S_LOCAL) || s->id <= info.last_stream) continue;
        stream_close(c, s);
        report_reset(s, &reset);
    }
    if (!c->open) want_write(c); /* it is finished */
    return 0;
}

/* ---- WINDOW_UPDATE, section 6.9 */

static int on_window_update(h2_conn *c, const frame *f, const uint8_t *payload) {
    if (f->len != 4) return conn_error(c, H2_FRAME_SIZE_ERROR, "bad length of WINDOW_UPDATE");
    const uint32_t size = get32(payload) & STREAM_ID_MAX;
    int failed = flood_count(c, &c->flood.window_updates,
                             c->limits->window_update_max + 4 * (uint64_t)c->flood.work,
                             &c->env->stats.limit_window_update, "too many WINDOW_UPDATEs");
    if (failed) return failed;
    if (!f->stream) {
        if (!size) return conn_error(c, H2_PROTOCOL_ERROR, "WINDOW_UPDATE of 0");
        c->send_window += size;
        c->blocked_since = -1;
        if (c->send_window > WINDOW_MAX)
            return conn_error(c, H2_FLOW_CONTROL_ERROR, "connection window too large");
        if (!weft_list_empty(&c->ready)) want_write(c);
        return 0;
    }
    h2_stream *s = stream_find(c, f->stream);
    if (!s) {
        if (stream_is_idle(c, f->stream))
            return conn_error(c, H2_PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream");
        return 0;
    }
    if (!size) return stream_error(c, s, s->id, H2_PROTOCOL_ERROR, "WINDOW_UPDATE of 0");
    s->send_window += size;
    if (s->send_window > WINDOW_MAX)
        return stream_error(c, s, s->id, H2_FLOW_CONTROL_ERROR, "stream window too large");
    stream_make_ready(c, s);
    return 0;
}

/* ---- RST_STREAM, section 6.4 */

/* Opening streams only to reset them costs us a request each (CVE-2023-44487). Clients that cancel much are
 * not that: they also let requests finish, or give them time, as when every deadline passes in an outage. */
static int count_reset(h2_conn *c, const h2_stream *s) {
    const h2_limits *l = c->limits;
    flood_roll(c);
    if (c->env->now - s->opened_at >= l->reset_young) return 0;
    c->flood.resets++;
    if (c->role == H2_CLIENT || c->flood.resets <= l->reset_min ||
        (uint64_t)c->flood.resets * 100 <= (uint64_t)c->flood.opened * l->reset_percent)
        return 0;
    c->env->stats.limit_reset++;
    return conn_error(c, H2_ENHANCE_YOUR_CALM, "too many resets");
}

static int on_rst_stream(h2_conn *c, const frame *f, const uint8_t *payload) {
    if (!f->stream) return conn_error(c, H2_PROTOCOL_ERROR, "RST_STREAM on stream 0");
    if (f->len != 4) return conn_error(c, H2_FRAME_SIZE_ERROR, "bad length of RST_STREAM");
    const bool ours = (f->stream & 1) == (c->role == H2_CLIENT);
    if (stream_is_idle(c, f->stream) && (ours || !c->limits->idle_reset))
        return conn_error(c, H2_PROTOCOL_ERROR, "RST_STREAM on an idle stream");
    c->env->stats.resets_in++;
    h2_stream *s = stream_find(c, f->stream);
    /* Without a stream it crossed ours, or means nothing. */
    const int failed =
        s ? count_reset(c, s)
          : flood_count(c, &c->flood.unknown, c->limits->unknown_max + (uint64_t)c->flood.work,
                        &c->env->stats.limit_unknown, "too many empty RST_STREAM");
    if (failed) return failed;
    if (s) {
        const uint32_t code = get32(payload);
        const h2_reset_info info = {.code = code,
                                    .by_peer = true,
                                    .unprocessed = code == H2_REFUSED_STREAM,
                                    .text = "reset by the peer"};
        stream_close(c, s);
        report_reset(s, &info);
    }
    return 0;
}

/* ---- PRIORITY, section 6.3 */

static int on_priority(h2_conn *c, const frame *f, const uint8_t *payload) {
    if (!f->stream) return conn_error(c, H2_PROTOCOL_ERROR, "PRIORITY on stream 0");
    int failed = flood_count(c, &c->flood.priorities,
                             c->limits->priority_max + 2 * (uint64_t)c->flood.opened,
                             &c->env->stats.limit_priority, "too many PRIORITY frames");
    if (failed) return failed;
    const bool bad_length = f->len != 5;
    if (!bad_length && (get32(payload) & STREAM_ID_MAX) != f->stream) return 0;
    const uint32_t code = bad_length ? H2_FRAME_SIZE_ERROR : H2_PROTOCOL_ERROR;
    h2_stream *s = stream_find(c, f->stream);
    if (!s &&
        stream_is_idle(c, f->stream)) /* RST_STREAM on an idle stream would be an error of ours */
        return conn_error(c, code, "bad PRIORITY on an idle stream");
    return stream_error(c, s, f->stream, code, "bad PRIORITY");
}

int on_control_frame(h2_conn *c, const frame *f, const uint8_t *payload) {
    switch (f->type) {
    case FRAME_PRIORITY:
        return on_priority(c, f, payload);
    case FRAME_RST_STREAM:
        return on_rst_stream(c, f, payload);
    case FRAME_SETTINGS:
        return on_settings(c, f, payload);
    case FRAME_PING:
        return on_ping(c, f, payload);
    case FRAME_GOAWAY:
        return on_goaway(c, f, payload);
    case FRAME_WINDOW_UPDATE:
        return on_window_update(c, f, payload);
    default:
        /* PUSH_PROMISE: servers may not receive it, and as a client we forbid it. */
        return conn_error(c, H2_PROTOCOL_ERROR, "PUSH_PROMISE");
    }
}
