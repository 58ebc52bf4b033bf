/* Frames out of bytes, RFC 9113 section 4. DATA goes to its stream as it comes; other frames are looked at
 * when they are complete, in place when they arrived in one piece. */
#include <string.h>

#include "lib/h2/h2_int.h"

/* What is left of the bytes that came in. */
typedef struct input {
    const uint8_t *at;
    size_t len;
    weft_chunk *chunk;
} input;

static void advance(input *in, size_t n) {
    in->at += n;
    in->len -= n;
}

/* ---- DATA */

static int data_end(h2_conn *c, h2_stream *s) {
    if (s->flags & S_RECV_END && s->flags & S_SENT_END && !(s->flags & S_CLOSED))
        stream_close(c, s);
    return 0;
}

/* A piece of payload for a stream; `end`: the last of the stream. */
static inline int data_deliver(h2_conn *c, h2_stream *s, const weft_slice *piece, bool end) {
    if (s->length_left >= 0) {
        s->length_left -= (int64_t)piece->len;
        if (s->length_left < 0 || (end && s->length_left))
            return stream_error(c, s, s->id, H2_PROTOCOL_ERROR, "DATA differs from content-length");
    }
    s->buffered += piece->len;
    c->buffered += piece->len;
    if (end) s->flags |= S_RECV_END;
    c->cb->on_data(s, piece, end);
    return data_end(c, s);
}

/* Why a stream may not receive DATA: a code, or 0. */
static uint32_t data_refusal(const h2_stream *s, const char **text) {
    if (s->flags & S_RECV_END) {
        *text = "DATA after END_STREAM";
        return H2_STREAM_CLOSED;
    }
    if (!(s->flags & S_RECV_HEADERS)) {
        *text = "DATA before response headers";
        return H2_PROTOCOL_ERROR;
    }
    if (s->recv_window < 0) {
        *text = "DATA beyond the stream's window";
        return H2_FLOW_CONTROL_ERROR;
    }
    return 0;
}

/* DATA for a stream that is not open. */
static int data_unknown(h2_conn *c, uint32_t id) {
    if (stream_is_idle(c, id)) return conn_error(c, H2_PROTOCOL_ERROR, "DATA on an idle stream");
    if (was_reset_by_us(c, id) || id > c->goaway_last) return 0;
    return stream_error(c, NULL, id, H2_STREAM_CLOSED, "DATA on a closed stream");
}

/* The header of a DATA frame came: charges the windows, finds out where the payload goes. */
static int data_begin(h2_conn *c) {
    const frame *f = &c->frame;
    if (!f->stream) return conn_error(c, H2_PROTOCOL_ERROR, "DATA on stream 0");
    c->recv_window -= f->len;
    if (c->recv_window < 0)
        return conn_error(c, H2_FLOW_CONTROL_ERROR, "DATA beyond the connection's window");
    c->flood.work++;
    c->data_left = f->len;
    c->pad_left = 0;
    c->in_data = true;
    c->want_pad = f->flags & FLAG_PADDED;
    if (c->want_pad && !f->len)
        return conn_error(c, H2_FRAME_SIZE_ERROR, "padded DATA of length 0");
    h2_stream *s = stream_find(c, f->stream);
    int failed = 0;
    if (s) {
        const char *text = NULL;
        s->recv_window -= f->len;
        const uint32_t code = data_refusal(s, &text);
        if (code) failed = stream_error(c, s, s->id, code, text);
    } else {
        failed = data_unknown(c, f->stream);
    }
    if (failed) return failed;
    if (!f->len && !(f->flags & FLAG_END_STREAM)) {
        failed = flood_count(c, &c->flood.empty_data, c->limits->empty_data_max + c->flood.work / 2,
                             &c->env->stats.limit_empty_data, "too many empty DATA frames");
    }
    return failed;
}

/* The frame is over. */
static void data_finish(h2_conn *c) {
    c->in_data = false;
    if (c->padding) {
        /* It was charged to the windows and nobody will consume it. */
        h2_stream *s = stream_find(c, c->frame.stream);
        if (s) {
            s->credit += c->padding;
            stream_credit(c, s);
        }
        c->padding = 0;
    }
    if (c->recv_window < c->limits->conn_window / 2) conn_credit(c);
}

static int data_input(h2_conn *c, input *in) {
    const frame *f = &c->frame;
    if (c->want_pad) {
        if (!in->len) return 0;
        const uint32_t pad = *in->at;
        advance(in, 1);
        c->want_pad = false;
        if (pad >= f->len) return conn_error(c, H2_PROTOCOL_ERROR, "padding longer than DATA");
        c->data_left = f->len - 1 - pad;
        c->pad_left = pad;
        c->padding = 1 + pad;
    }
    const size_t n = in->len < c->data_left ? in->len : c->data_left;
    const weft_slice piece = {in->at, n, in->chunk};
    c->data_left -= (uint32_t)n;
    advance(in, n);
    const size_t skipped = in->len < c->pad_left ? in->len : c->pad_left;
    c->pad_left -= (uint32_t)skipped;
    advance(in, skipped);
    const bool over = !c->data_left && !c->pad_left;
    const bool end = over && f->flags & FLAG_END_STREAM;
    int failed = 0;
    if (n || end) {
        h2_stream *s = stream_find(c, f->stream);
        if (s && !(s->flags & S_RECV_END)) failed = data_deliver(c, s, &piece, end);
    }
    if (over && !failed) {
        data_finish(c);
    }
    return failed;
}

/* ---- other frames */

static int frame_complete(h2_conn *c, const uint8_t *payload) {
    const frame *f = &c->frame;
    switch (f->type) {
    case FRAME_HEADERS:
        return on_headers_frame(c, f, payload);
    case FRAME_CONTINUATION:
        return on_continuation(c, f, payload);
    default:
        return on_control_frame(c, f, payload);
    }
}

/* The rules that need only the header of a frame. */
static int frame_check(h2_conn *c) {
    const frame *f = &c->frame;
    c->env->stats.frames_in++;
    if (f->len > FRAME_MAX) return conn_error(c, H2_FRAME_SIZE_ERROR, "frame larger than 16384");
    if (!c->got_settings && (f->type != FRAME_SETTINGS || f->flags & FLAG_ACK))
        return conn_error(c, H2_PROTOCOL_ERROR, "the first frame is not SETTINGS");
    if (c->block.stream) {
        if (f->type != FRAME_CONTINUATION || f->stream != c->block.stream)
            return conn_error(c, H2_PROTOCOL_ERROR, "header block interrupted");
    } else if (f->type == FRAME_CONTINUATION) {
        return conn_error(c, H2_PROTOCOL_ERROR, "CONTINUATION without HEADERS");
    }
    return 0;
}

/* A frame of a type that means nothing to us: its payload passes by. */
static int skip_begin(h2_conn *c) {
    c->in_skip = true;
    c->data_left = c->frame.len;
    return flood_count(c, &c->flood.unknown, c->limits->unknown_max + (uint64_t)c->flood.work,
                       &c->env->stats.limit_unknown, "too many unknown frames");
}

static int frame_begun(h2_conn *c, input *in) {
    const frame *f = &c->frame;
    int failed = frame_check(c);
    if (failed) return failed;
    if (f->type == FRAME_DATA) return data_begin(c);
    if (f->type > FRAME_CONTINUATION) return skip_begin(c);
    if (in->len >= f->len) {
        const uint8_t *payload = in->at;
        advance(in, f->len);
        return frame_complete(c, payload);
    }
    c->partial = weft_chunk_new(c->env->chunks);
    if (!c->partial) return conn_error(c, H2_INTERNAL_ERROR, "out of memory");
    c->in_partial = true;
    return 0;
}

static void parse_head(frame *f, const uint8_t *at) {
    const uint32_t word = get32(at);
    f->len = word >> 8;
    f->type = (uint8_t)word;
    f->flags = at[4];
    f->stream = get32(at + 5) & STREAM_ID_MAX;
}

/* DATA that is all there, for a stream that may have it. */
static inline bool data_usual(h2_conn *c, input *in, uint32_t len, uint32_t id, bool end,
                              int *failed) {
    if (!len || c->recv_window < len) return false;
    h2_stream *s = stream_find(c, id);
    if (!s || (s->flags & (S_RECV_END | S_RECV_HEADERS)) != S_RECV_HEADERS || s->recv_window < len)
        return false;
    const weft_slice piece = {in->at + FRAME_HEAD, len, in->chunk};
    s->recv_window -= len;
    c->recv_window -= len;
    advance(in, FRAME_HEAD + len);
    *failed = data_deliver(c, s, &piece, end);
    if (c->recv_window < c->limits->conn_window / 2) conn_credit(c);
    return true;
}

/* HEADERS with all of a block, or DATA, all of it there, without padding or priority, where neither is a
 * surprise: most frames. False: nothing was done, it goes the long way. */
static inline bool frame_usual(h2_conn *c, input *in, int *failed) {
    const uint8_t *at = in->at;
    const uint32_t word = get32(at), len = word >> 8, flags = at[4];
    const uint32_t id = get32(at + 5) & STREAM_ID_MAX;
    if ((word & 0xfe) || len > FRAME_MAX || in->len - FRAME_HEAD < len ||
        flags & (FLAG_PADDED | FLAG_PRIORITY) || !id || !c->got_settings || c->block.stream)
        return false;
    if ((word & 0xff) == FRAME_DATA) {
        if (!data_usual(c, in, len, id, flags & FLAG_END_STREAM, failed)) return false;
    } else {
        if (!(flags & FLAG_END_HEADERS)) return false;
        advance(in, FRAME_HEAD + len);
        *failed = on_header_block(c, id, flags & FLAG_END_STREAM, at + FRAME_HEAD, len);
    }
    c->flood.work++;
    c->env->stats.frames_in++;
    return true;
}

static int head_input(h2_conn *c, input *in) {
    const size_t missing = FRAME_HEAD - c->head_len;
    const size_t n = in->len < missing ? in->len : missing;
    memcpy(c->head + c->head_len, in->at, n);
    c->head_len = (uint8_t)(c->head_len + n);
    advance(in, n);
    if (c->head_len < FRAME_HEAD) return 0;
    c->head_len = 0;
    parse_head(&c->frame, c->head);
    return frame_begun(c, in);
}

static int partial_input(h2_conn *c, input *in) {
    weft_chunk *partial = c->partial;
    const size_t missing = c->frame.len - partial->used;
    const size_t n = in->len < missing ? in->len : missing;
    memcpy(partial->data + partial->used, in->at, n);
    partial->used += (uint32_t)n;
    advance(in, n);
    if (n < missing) return 0;
    c->partial = NULL;
    c->in_partial = false;
    const int failed = frame_complete(c, partial->data);
    weft_chunk_unref(partial);
    return failed;
}

static int preface_input(h2_conn *c, input *in) {
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const size_t n = in->len < c->preface_left ? in->len : c->preface_left;
    if (memcmp(preface + PREFACE_LEN - c->preface_left, in->at, n) != 0)
        return conn_error(c, H2_PROTOCOL_ERROR, "not an HTTP/2 preface");
    c->preface_left = (uint8_t)(c->preface_left - n);
    advance(in, n);
    return 0;
}

static int step(h2_conn *c, input *in) {
    if (c->in_data) return data_input(c, in);
    if (c->in_partial) return partial_input(c, in);
    if (c->in_skip) {
        const size_t n = in->len < c->data_left ? in->len : c->data_left;
        c->data_left -= (uint32_t)n;
        advance(in, n);
        c->in_skip = c->data_left != 0;
        return 0;
    }
    if (c->preface_left) return preface_input(c, in);
    return head_input(c, in);
}

/* Remembers since when something is unfinished, so that it is not waited for for ever. */
static void note_partial(h2_conn *c) {
    const bool unfinished = c->head_len || c->partial || c->block.stream;
    if (!unfinished) {
        c->partial_since = -1;
    } else if (c->partial_since < 0) {
        c->partial_since = c->env->now;
        if (c->limits->header_timeout) arm(c, c->env->now + c->limits->header_timeout);
    }
}

int h2_conn_input(h2_conn *c, const uint8_t *data, size_t len, weft_chunk *chunk) {
    if (c->failed) return WEFT_ECLOSED;
    enter(c);
    input in = {data, len, chunk};
    int failed = 0;
    /* A frame of no payload (in_data and all of it there) is finished without more input. */
    while (!failed && !c->failed) {
        if (__builtin_expect(!c->inside && in.len >= FRAME_HEAD, 1)) {
            if (frame_usual(c, &in, &failed)) continue;
            parse_head(&c->frame, in.at);
            advance(&in, FRAME_HEAD);
            failed = frame_begun(c, &in);
        } else if (in.len || (c->in_data && !c->data_left && !c->pad_left && !c->want_pad)) {
            failed = step(c, &in);
        } else {
            break;
        }
    }
    c->last_input = c->env->now;
    if (c->failed) {
        fail_streams(c, 0);
        if (!failed) failed = WEFT_ECLOSED;
    } else {
        note_partial(c);
    }
    return leave(c, failed);
}

int h2_conn_eof(h2_conn *c) {
    if (c->failed) return WEFT_ECLOSED;
    enter(c);
    const bool clean = !c->open && !c->head_len && !c->partial && !c->block.stream;
    static const char text[] = "the peer closed the connection";
    memcpy(c->reason, text, sizeof text);
    c->reason_len = sizeof text - 1;
    c->failed = true;
    weft_chain_clear(&c->out);
    want_write(c);
    fail_streams(c, 0);
    return leave(c, clean ? 0 : WEFT_ECLOSED);
}
