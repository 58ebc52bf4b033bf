/* Connections: birth, errors, output, death. */
#include <string.h>

#include "lib/h2/h2_int.h"
#include "weft/mem.h"

/* ---- frames of our own */

uint8_t *frame_begin(h2_conn *c, uint32_t len, uint8_t type, uint8_t flags, uint32_t stream) {
    uint8_t *at = weft_chain_reserve(&c->out, FRAME_HEAD + len);
    if (!at) {
        conn_oom(c);
        return NULL;
    }
    put_head(at, len, type, flags, stream);
    want_write(c);
    return at + FRAME_HEAD;
}

static void put_setting(uint8_t **at, uint16_t id, uint32_t value) {
    (*at)[0] = (uint8_t)(id >> 8);
    (*at)[1] = (uint8_t)id;
    put32(*at + 2, value);
    *at += 6;
}

static void write_settings(h2_conn *c) {
    const h2_limits *l = c->limits;
    uint8_t payload[6 * 6];
    uint8_t *end = payload;
    if (l->hpack_decoder_table != HPACK_TABLE_DEFAULT)
        put_setting(&end, SETTINGS_HEADER_TABLE_SIZE, l->hpack_decoder_table);
    if (c->role == H2_CLIENT) {
        put_setting(&end, SETTINGS_ENABLE_PUSH, 0);
    } else {
        put_setting(&end, SETTINGS_MAX_CONCURRENT_STREAMS, l->max_streams);
    }
    put_setting(&end, SETTINGS_INITIAL_WINDOW_SIZE, l->stream_window);
    put_setting(&end, SETTINGS_MAX_HEADER_LIST_SIZE, l->header_list_max);
    const uint32_t len = (uint32_t)(end - payload);
    uint8_t *at = frame_begin(c, len, FRAME_SETTINGS, 0, 0);
    if (!at) return;
    memcpy(at, payload, len);
    weft_chain_commit(&c->out, FRAME_HEAD + len);
}

void write_goaway(h2_conn *c, uint32_t last, uint32_t code, const char *text, size_t len) {
    uint8_t *at = frame_begin(c, (uint32_t)(8 + len), FRAME_GOAWAY, 0, 0);
    if (!at) return;
    put32(at, last);
    put32(at + 4, code);
    if (len) memcpy(at + 8, text, len);
    weft_chain_commit(&c->out, FRAME_HEAD + 8 + len);
    c->env->stats.goaways_out++;
}

/* ---- birth and death */

h2_conn *h2_conn_new(h2_env *env, h2_role role, const h2_limits *limits,
                     const h2_callbacks *callbacks, void *user) {
    assert(!h2_limits_check(limits));
    h2_conn *c = weft_calloc(1, sizeof *c);
    if (!c) return NULL;
    c->env = env;
    c->limits = limits;
    c->cb = callbacks;
    c->user = user;
    c->role = (uint8_t)role;
    table_init(c);
    c->wanting = true; /* not before the owner has the pointer */
    weft_chain_init(&c->out, env->chunks);
    weft_list_init(&c->ready);
    weft_list_init(&c->streams);
    weft_list_init(&c->released);
    hpack_encoder_init(&c->encoder, limits->hpack_encoder_table);
    hpack_decoder_init(&c->decoder);
    c->send_window = c->recv_window = WINDOW_DEFAULT;
    c->preface_left = role == H2_SERVER ? PREFACE_LEN : 0;
    c->next_id = role == H2_CLIENT ? 1 : 2;
    c->peer_goaway_last = STREAM_ID_MAX;
    c->goaway_last = STREAM_ID_MAX;
    c->peer_max_streams = limits->peer_streams_default;
    c->peer_stream_window = c->our_stream_window = WINDOW_DEFAULT;
    c->peer_header_list_max = UINT32_MAX;
    c->deadline = c->settings_deadline = WEFT_NO_DEADLINE;
    c->partial_since = c->ping_sent = c->rtt = c->blocked_since = -1;
    c->last_input = c->idle_since = env->now;
    if (limits->settings_timeout) c->settings_deadline = env->now + limits->settings_timeout;
    arm(c, c->settings_deadline);
    if (limits->ping_interval) arm(c, env->now + limits->ping_interval);
    if (limits->idle_timeout) arm(c, env->now + limits->idle_timeout);
    env->gauges.conns++;
    env->stats.conns++;
    if (role == H2_CLIENT &&
        weft_chain_add(&c->out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", PREFACE_LEN))
        conn_oom(c);
    if (!c->failed) write_settings(c);
    if (!c->failed) conn_credit(c);
    c->wanting = false;
    if (c->failed) {
        h2_conn_free(c, 0);
        return NULL;
    }
    want_write(c);
    return c;
}

static void destroy(h2_conn *c) {
    h2_env *env = c->env;
    /* Handles that are not released live on without a connection. */
    for (weft_list *at; (at = weft_list_pop_front(&c->streams));) {
        WEFT_CONTAINER(at, h2_stream, all)->conn = NULL;
    }
    assert(c->open == 0 && c->streams_local == 0 && c->streams_peer == 0);
    assert(weft_list_empty(&c->ready) && weft_list_empty(&c->released));
    weft_chain_clear(&c->out);
    if (c->partial) weft_chunk_unref(c->partial);
    block_drop(c);
    hpack_encoder_free(&c->encoder);
    hpack_decoder_free(&c->decoder);
    table_free(c);
    weft_free(c->resets);
    weft_free(c);
    env->gauges.conns--;
}

int leave(h2_conn *c, int result) {
    if (c->depth > 1) {
        c->depth--;
        return c->doomed ? WEFT_ECLOSED : result;
    }
    if (c->report_capacity && !c->failed && !c->doomed) {
        c->report_capacity = false;
        if (c->cb->on_capacity) c->cb->on_capacity(c);
    }
    c->depth = 0;
    for (weft_list *at; (at = weft_list_pop_front(&c->released));) {
        stream_free(WEFT_CONTAINER(at, h2_stream, all));
    }
    if (!c->doomed) return result;
    destroy(c);
    return WEFT_ECLOSED;
}

/* Tells every stream that its connection is gone. */
void fail_streams(h2_conn *c, size_t unsent) {
    weft_list rest;
    weft_list_init(&rest);
    weft_list_splice(&rest, &c->streams);
    const uint64_t written = c->moved - (unsent < c->moved ? unsent : c->moved);
    for (weft_list *at; (at = weft_list_pop_front(&rest));) {
        h2_stream *s = WEFT_CONTAINER(at, h2_stream, all);
        weft_list_push_back(&c->streams, at);
        if (s->flags & S_CLOSED) continue;
        const bool unsent_head = s->flags & S_LOCAL && s->headers_at >= written && !c->output_kept;
        const h2_reset_info info = {.code = c->error ? c->error : H2_CANCEL,
                                    .conn_lost = true,
                                    .unprocessed = unsent_head,
                                    .text = c->reason_len ? c->reason : "connection closed"};
        stream_close(c, s);
        report_reset(s, &info);
    }
}

void h2_conn_free(h2_conn *c, size_t unsent) {
    if (!c || c->doomed) return;
    enter(c);
    c->failed = true;
    c->wanting = true; /* no more calls to the owner */
    if (c->depth == 1) {
        fail_streams(c, unsent);
        c->doomed = true;
        (void)leave(c, 0);
        return;
    }
    c->doomed = true;
    fail_streams(c, unsent);
    c->depth--;
}

/* ---- errors */

/* Requests that were not moved out yet are never sent, so that they may be repeated elsewhere. What is in the
 * output begins with a whole frame. The very first output must stay: it has the preface. */
static void drop_output(h2_conn *c) {
    if (c->moved && c->role == H2_CLIENT) {
        weft_chain_clear(&c->out);
    } else {
        c->output_kept = true;
    }
}

int conn_oom(h2_conn *c) {
    if (!c->failed) {
        weft_chain_clear(&c->out); /* it may end in half a frame */
        static const char text[] = "out of memory";
        c->failed = true;
        c->error = H2_INTERNAL_ERROR;
        c->env->stats.conn_errors++;
        memcpy(c->reason, text, sizeof text);
        c->reason_len = sizeof text - 1;
    }
    want_write(c);
    return WEFT_ENOMEM;
}

int conn_error(h2_conn *c, uint32_t code, const char *text) {
    const int result = code == H2_ENHANCE_YOUR_CALM ? WEFT_ELIMIT : WEFT_EPARSE;
    if (c->failed) return result;
    size_t len = text ? strlen(text) : 0;
    if (len > REASON_MAX) len = REASON_MAX;
    if (len) memcpy(c->reason, text, len);
    c->reason[len] = '\0';
    c->reason_len = (uint8_t)len;
    c->error = code;
    drop_output(c);
    write_goaway(c, c->last_peer_id, code, c->reason, len);
    c->failed = true;
    c->env->stats.conn_errors++;
    return result;
}

void h2_conn_abort(h2_conn *c, uint32_t code, const char *text) { (void)conn_error(c, code, text); }

/* ---- output */

void ask_to_write(h2_conn *c) {
    c->wanting = true;
    if (c->cb->on_want_write) c->cb->on_want_write(c);
}

/* Streams take turns, a frame each. */
static void drain_queues(h2_conn *c) {
    weft_list *at;
    while (!c->failed && c->send_window > 0 && output_has_room(c) &&
           (at = weft_list_pop_front(&c->ready))) {
        h2_stream *s = WEFT_CONTAINER(at, h2_stream, ready);
        const size_t sent = stream_pump(c, s, FRAME_MAX);
        if (!(s->flags & S_CLOSED)) stream_make_ready(c, s);
        if (sent && c->cb->on_sent && !(s->flags & S_RELEASED)) c->cb->on_sent(s, sent);
    }
}

/* Output this small is copied behind what the owner could not write yet: linked, a reader that is slow could
 * make each turn's few bytes hold a chunk of their own. */
#define COPY_MOST 4096u

static void hand_over(h2_conn *c, weft_chain *out) {
    c->moved += c->out.bytes;
    if (out->bytes && c->out.bytes <= COPY_MOST) {
        const size_t before = out->bytes;
        int failed = 0;
        for (const weft_link *at = c->out.head; at && !failed; at = at->next) {
            failed = weft_chain_add(out, at->slice.data, at->slice.len);
        }
        if (!failed) {
            weft_chain_clear(&c->out);
            return;
        }
        weft_chain_cut(out, before);
    }
    weft_chain_splice(out, &c->out);
}

int64_t h2_conn_output(h2_conn *c, weft_chain *out) {
    enter(c);
    const bool had_failed = c->failed;
    const size_t before = out->bytes;
    c->wanting = true; /* what is added meanwhile goes out with the rest */
    c->backlog = before;
    if (!c->failed && !weft_list_empty(&c->ready)) drain_queues(c);
    if (!c->failed && c->out.bytes + before > c->limits->output_max) {
        c->env->stats.limit_output++;
        (void)conn_error(c, H2_ENHANCE_YOUR_CALM, "slow reader");
    }
    if (!had_failed && c->failed) fail_streams(c, 0);
    hand_over(c, out);
    c->backlog = out->bytes;
    c->wanting = false;
    const int64_t moved = (int64_t)(out->bytes - before);
    const int code = c->error == H2_ENHANCE_YOUR_CALM ? WEFT_ELIMIT : WEFT_ENOMEM;
    const bool failed = c->failed && !had_failed;
    const int left = leave(c, failed ? code : 0);
    return left ? left : moved;
}

/* ---- asking */

bool h2_conn_wants_output(const h2_conn *c) {
    return c->out.bytes || (!c->failed && c->send_window > 0 && !weft_list_empty(&c->ready));
}

void *h2_conn_user(const h2_conn *c) { return c->user; }
h2_role h2_conn_role(const h2_conn *c) { return (h2_role)c->role; }
const char *h2_conn_reason(const h2_conn *c) { return c->reason; }
uint32_t h2_conn_error(const h2_conn *c) { return c->error; }
int64_t h2_conn_deadline(const h2_conn *c) { return c->failed ? WEFT_NO_DEADLINE : c->deadline; }

bool h2_conn_finished(const h2_conn *c) {
    return c->failed || ((c->drain == DRAIN_FINAL || c->got_goaway) && !c->open);
}

int h2_conn_can_request(const h2_conn *c) {
    return c->role == H2_CLIENT && !c->failed && !c->got_goaway && !c->drain &&
           c->next_id <= STREAM_ID_MAX && c->streams_local < c->peer_max_streams;
}

bool h2_conn_is_stuffed(const h2_conn *c) {
    const h2_limits *l = c->limits;
    if (c->buffered + l->conn_window / 2 > l->buffered_max) return true;
    return c->blocked_since >= 0 && c->env->now - c->blocked_since >= H2_STUFFED_AFTER;
}

void h2_conn_await_capacity(h2_conn *c) { c->want_capacity = true; }

size_t h2_conn_queued(const h2_conn *c) {
    size_t sum = 0;
    weft_list_each(&c->streams, at) { sum += WEFT_CONTAINER(at, h2_stream, all)->queue.bytes; }
    return sum;
}

h2_conn_info h2_conn_get_info(const h2_conn *c) {
    return (h2_conn_info){.settings_received = c->got_settings,
                          .going_away = c->got_goaway || c->drain || c->failed,
                          .streams_local = c->streams_local,
                          .streams_peer = c->streams_peer,
                          .peer_max_streams = c->peer_max_streams,
                          .send_window = c->send_window,
                          .recv_window = c->recv_window,
                          .buffered = c->buffered,
                          .output = c->out.bytes,
                          .rtt = c->rtt};
}
