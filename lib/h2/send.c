/* What streams send: header blocks at once, DATA as far as windows and output allow, the rest from queues,
 * 16 KiB a stream in turn. */
#include <string.h>

#include "lib/h2/h2_int.h"
#include "weft/mem.h"

/* Payloads up to this are copied behind their frame header into one piece. */
#define INLINE_MAX 2048u

/* ---- header blocks */

/* A block that may not fit one frame: HEADERS and CONTINUATION. */
static int write_large_headers(h2_conn *c, uint32_t id, const http_fields *fields, uint8_t flags) {
    uint8_t *data = weft_malloc(hpack_bound(fields));
    if (!data) return WEFT_ENOMEM;
    const int64_t encoded = hpack_encode(&c->encoder, fields, data);
    if (encoded < 0) {
        weft_free(data);
        return WEFT_ENOMEM;
    }
    uint8_t type = FRAME_HEADERS;
    size_t at = 0, left = (size_t)encoded;
    do {
        const size_t n = left < FRAME_MAX ? left : FRAME_MAX;
        uint8_t head[FRAME_HEAD];
        left -= n;
        put_head(head, (uint32_t)n, type, left ? flags : flags | FLAG_END_HEADERS, id);
        if (weft_chain_add(&c->out, head, sizeof head) || weft_chain_add(&c->out, data + at, n)) {
            conn_oom(c); /* the encoder's table has moved on */
            break;
        }
        at += n;
        type = FRAME_CONTINUATION;
        flags = 0;
    } while (left);
    weft_free(data);
    return 0;
}

int write_headers(h2_conn *c, uint32_t id, const http_fields *fields, bool end) {
    const size_t bound = hpack_bound(fields);
    const uint8_t flags = end ? FLAG_END_STREAM : 0;
    c->flood.work++;
    if (bound > WEFT_CHUNK_SIZE - FRAME_HEAD) {
        const int failed = write_large_headers(c, id, fields, flags);
        if (!failed) want_write(c);
        return failed;
    }
    uint8_t *at = weft_chain_reserve(&c->out, FRAME_HEAD + bound);
    if (!at) return WEFT_ENOMEM;
    const int64_t n = hpack_encode(&c->encoder, fields, at + FRAME_HEAD);
    if (n < 0) return WEFT_ENOMEM;
    put_head(at, (uint32_t)n, FRAME_HEADERS, flags | FLAG_END_HEADERS, id);
    weft_chain_commit(&c->out, FRAME_HEAD + (size_t)n);
    want_write(c);
    return 0;
}

/* END_STREAM is in the output. */
static void sent_end(h2_conn *c, h2_stream *s) {
    s->flags |= S_SENT_END | S_ENDING;
    if (s->flags & S_RECV_END) stream_close(c, s);
}

int h2_request(h2_conn *c, const http_fields *fields, bool end, void *user, h2_stream **stream) {
    assert(c->role == H2_CLIENT);
    if (c->failed || c->got_goaway || c->drain || c->next_id > STREAM_ID_MAX) return WEFT_ECLOSED;
    if (c->streams_local >= c->peer_max_streams) {
        c->want_capacity = true;
        return WEFT_EAGAIN;
    }
    if (fields->bytes > c->peer_header_list_max) return WEFT_ELIMIT;
    h2_stream *s = stream_open(c, c->next_id, true);
    if (!s) return WEFT_ENOMEM;
    s->headers_at = c->moved + c->out.bytes;
    s->user = user;
    s->flags |= S_SENT_HEADERS;
    const http_field *method = http_fields_find(fields, HTTP_NAME_METHOD);
    if (method && method->value_len == 4 && !memcmp(method->value, "HEAD", 4)) s->flags |= S_HEAD;
    if (write_headers(c, s->id, fields, end)) {
        stream_close(c, s);
        s->flags |= S_RELEASED;
        stream_free(s);
        return WEFT_ENOMEM;
    }
    c->next_id += 2;
    if (end) sent_end(c, s);
    *stream = s;
    return 0;
}

int h2_respond(h2_stream *s, const http_fields *fields, bool end) {
    h2_conn *c = s->conn;
    if (!c || c->failed || s->flags & (S_CLOSED | S_ENDING)) return WEFT_ECLOSED;
    if (s->flags & (S_LOCAL | S_SENT_HEADERS) || !fields->count ||
        fields->at[0]->id != HTTP_NAME_STATUS)
        return WEFT_EINVAL;
    const bool inform = fields->at[0]->value[0] == '1';
    if (inform && end) return WEFT_EINVAL;
    if (fields->bytes > c->peer_header_list_max) return WEFT_ELIMIT;
    if (write_headers(c, s->id, fields, end)) return WEFT_ENOMEM;
    if (!inform) s->flags |= S_SENT_HEADERS;
    if (end) sent_end(c, s);
    return 0;
}

int h2_send_trailers(h2_stream *s, const http_fields *fields) {
    h2_conn *c = s->conn;
    if (!c || c->failed || s->flags & (S_CLOSED | S_ENDING)) return WEFT_ECLOSED;
    if (!(s->flags & S_SENT_HEADERS)) return WEFT_EINVAL;
    if (fields->bytes > c->peer_header_list_max) return WEFT_ELIMIT;
    if (s->queue.bytes) {
        http_fields_init(&s->trailers, s->env->fields);
        if (http_fields_copy(&s->trailers, fields)) return WEFT_ENOMEM;
        s->flags |= S_ENDING | S_TRAILERS;
        return 0;
    }
    if (write_headers(c, s->id, fields, true)) return WEFT_ENOMEM;
    sent_end(c, s);
    return 0;
}

/* ---- DATA */

static bool is_sendable(const h2_stream *s) { return s->queue.bytes && s->send_window > 0; }

void stream_make_ready(h2_conn *c, h2_stream *s) {
    if (!is_sendable(s) || !weft_list_empty(&s->ready)) return;
    weft_list_push_back(&c->ready, &s->ready);
    if (c->send_window > 0) want_write(c);
}

static void spend(h2_conn *c, h2_stream *s, size_t size) {
    s->send_window -= (int64_t)size;
    c->send_window -= (int64_t)size;
    if (c->send_window <= 0) c->blocked_since = c->env->now;
    c->flood.work++;
    want_write(c);
}

/* The queue is empty: what waited behind it goes out. */
static void send_end(h2_conn *c, h2_stream *s) {
    if (s->flags & S_TRAILERS) {
        if (write_headers(c, s->id, &s->trailers, true)) {
            conn_oom(c);
            return;
        }
        http_fields_clear(&s->trailers);
        s->flags &= ~(uint32_t)S_TRAILERS;
    }
    sent_end(c, s);
}

size_t stream_pump(h2_conn *c, h2_stream *s, size_t most) {
    size_t sent = 0;
    while (s->queue.bytes && sent < most && output_has_room(c) && !c->failed) {
        int64_t n = s->queue.bytes < FRAME_MAX ? (int64_t)s->queue.bytes : FRAME_MAX;
        if (n > s->send_window) n = s->send_window;
        if (n > c->send_window) n = c->send_window;
        if (n <= 0) break;
        const size_t size = (size_t)n < most - sent ? (size_t)n : most - sent;
        const bool last =
            size == s->queue.bytes && (s->flags & (S_ENDING | S_TRAILERS)) == S_ENDING;
        uint8_t *at = weft_chain_reserve(&c->out, FRAME_HEAD);
        if (at) {
            put_head(at, (uint32_t)size, FRAME_DATA, last ? FLAG_END_STREAM : 0, s->id);
            weft_chain_commit(&c->out, FRAME_HEAD);
        }
        if (!at || weft_chain_move(&c->out, &s->queue, size)) {
            conn_oom(c);
            break;
        }
        spend(c, s, size);
        sent += size;
        if (!s->queue.bytes && s->flags & S_ENDING) {
            send_end(c, s);
            break;
        }
    }
    return sent;
}

/* All of it in one frame, now; short payloads are copied behind the frame's header. */
static inline int send_short(h2_conn *c, h2_stream *s, const weft_slice *slices, size_t count,
                             size_t total, bool end) {
    uint8_t *at = weft_chain_reserve(&c->out, FRAME_HEAD + total);
    if (!at) return WEFT_ENOMEM;
    put_head(at, (uint32_t)total, FRAME_DATA, end ? FLAG_END_STREAM : 0, s->id);
    at += FRAME_HEAD;
    for (size_t i = 0; i < count; i++) {
        weft_copy(at, slices[i].data, slices[i].len);
        at += slices[i].len;
    }
    weft_chain_commit(&c->out, FRAME_HEAD + total);
    spend(c, s, total);
    if (end) sent_end(c, s);
    return 0;
}

/* The same for payloads that are worth a reference. */
static int send_long(h2_conn *c, h2_stream *s, const weft_slice *slices, size_t count, size_t total,
                     bool end) {
    uint8_t *at = weft_chain_reserve(&c->out, FRAME_HEAD);
    if (!at) return WEFT_ENOMEM;
    put_head(at, (uint32_t)total, FRAME_DATA, end ? FLAG_END_STREAM : 0, s->id);
    const size_t before = c->out.bytes;
    weft_chain_commit(&c->out, FRAME_HEAD);
    for (size_t i = 0; i < count; i++) {
        if (slices[i].len && weft_chain_add_slice(&c->out, &slices[i])) {
            weft_chain_cut(&c->out, before);
            return WEFT_ENOMEM;
        }
    }
    spend(c, s, total);
    if (end) sent_end(c, s);
    return 0;
}

static int64_t queue_data(h2_conn *c, h2_stream *s, const weft_slice *slices, size_t count,
                          bool end) {
    const size_t before = s->queue.bytes;
    for (size_t i = 0; i < count; i++) {
        if (slices[i].len && weft_chain_add_slice(&s->queue, &slices[i])) {
            weft_chain_cut(&s->queue, before);
            return WEFT_ENOMEM;
        }
    }
    if (end) s->flags |= S_ENDING;
    /* What was queued before goes first, and other streams' turns. */
    size_t sent = 0;
    if (!before && weft_list_empty(&c->ready)) sent = stream_pump(c, s, SIZE_MAX);
    if (!(s->flags & S_CLOSED)) stream_make_ready(c, s);
    return (int64_t)sent;
}

int64_t h2_send_data(h2_stream *s, const weft_slice *slices, size_t count, bool end) {
    h2_conn *c = s->conn;
    if (!c || c->failed || s->flags & (S_CLOSED | S_ENDING)) return WEFT_ECLOSED;
    if (!(s->flags & S_SENT_HEADERS)) return WEFT_EINVAL;
    size_t total = 0;
    for (size_t i = 0; i < count; i++) total += slices[i].len;
    if (!total && !end) return 0;
    if (!s->queue.bytes && total <= FRAME_MAX && (int64_t)total <= s->send_window &&
        (int64_t)total <= c->send_window && weft_list_empty(&c->ready) && output_has_room(c)) {
        const int failed = total <= INLINE_MAX ? send_short(c, s, slices, count, total, end)
                                               : send_long(c, s, slices, count, total, end);
        return failed ? failed : (int64_t)total;
    }
    if (!total) {
        if (!s->queue.bytes) return send_short(c, s, NULL, 0, 0, true);
        s->flags |= S_ENDING;
        return 0;
    }
    if (total > c->limits->stream_queue_max - s->queue.bytes) {
        c->env->stats.limit_stream_queue++;
        return WEFT_ELIMIT;
    }
    return queue_data(c, s, slices, count, end);
}
