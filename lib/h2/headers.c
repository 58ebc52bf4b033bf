/* Header blocks: put together, decoded, validated, given to streams. A block is always decoded, whatever
 * becomes of it, or the HPACK table would be wrong from then on. */
#include <string.h>

#include "lib/h2/h2_int.h"
#include "weft/mem.h"

/* Lists this many times over header_list_max are an attack (HPACK bomb), not a mistake. */
#define BOMB_FACTOR 16u

/* ---- frames to blocks */

/* Finds the fragment between padding and priority. */
static int strip(h2_conn *c, const frame *f, const uint8_t **at, size_t *len) {
    size_t pad = 0;
    if (f->flags & FLAG_PADDED) {
        if (!*len) return conn_error(c, H2_FRAME_SIZE_ERROR, "padded HEADERS of length 0");
        pad = **at;
        (*at)++;
        (*len)--;
    }
    if (f->flags & FLAG_PRIORITY) {
        if (*len < 5) return conn_error(c, H2_FRAME_SIZE_ERROR, "HEADERS too short for priority");
        *at += 5;
        *len -= 5;
    }
    if (pad > *len) return conn_error(c, H2_PROTOCOL_ERROR, "padding longer than HEADERS");
    *len -= pad;
    return 0;
}

void block_drop(h2_conn *c) {
    weft_free(c->block.data);
    c->block = (block){0};
}

static int block_add(h2_conn *c, const uint8_t *data, size_t len) {
    block *b = &c->block;
    if (b->len + len > c->limits->header_block_max) {
        c->env->stats.limit_header_block++;
        return conn_error(c, H2_ENHANCE_YOUR_CALM, "header block too large");
    }
    if (b->len + len > b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 4096;
        if (cap < b->len + len) cap = b->len + len;
        uint8_t *more = weft_realloc(b->data, cap);
        if (!more) return conn_error(c, H2_INTERNAL_ERROR, "out of memory");
        b->data = more;
        b->cap = cap;
    }
    if (len) memcpy(b->data + b->len, data, len);
    b->len += len;
    return 0;
}

int on_headers_frame(h2_conn *c, const frame *f, const uint8_t *payload) {
    size_t len = f->len;
    const uint8_t *at = payload;
    if (!f->stream) return conn_error(c, H2_PROTOCOL_ERROR, "HEADERS on stream 0");
    const int failed = strip(c, f, &at, &len);
    if (failed) return failed;
    c->flood.work++;
    uint8_t flags = f->flags;
    /* A stream that depends on itself (RFC 7540 section 5.3.1, h2spec) is reported with the block. */
    const bool on_itself = flags & FLAG_PRIORITY && (get32(at - 5) & STREAM_ID_MAX) == f->stream;
    flags = (uint8_t)((flags & FLAG_END_STREAM) | (on_itself ? FLAG_PRIORITY : 0));
    if (f->flags & FLAG_END_HEADERS) return on_header_block(c, f->stream, flags, at, len);
    c->block.stream = f->stream;
    c->block.flags = flags;
    return block_add(c, at, len);
}

int on_continuation(h2_conn *c, const frame *f, const uint8_t *payload) {
    block *b = &c->block;
    if (++b->frames > c->limits->continuation_max) {
        c->env->stats.limit_continuation++;
        return conn_error(c, H2_ENHANCE_YOUR_CALM, "too many CONTINUATION frames");
    }
    int failed = block_add(c, payload, f->len);
    if (failed || !(f->flags & FLAG_END_HEADERS)) return failed;
    /* The callback may end the connection, and with it c->block. */
    const block whole = *b;
    *b = (block){0};
    failed = on_header_block(c, whole.stream, whole.flags, whole.data, whole.len);
    weft_free(whole.data);
    return failed;
}

/* ---- blocks to lists */

/* What is wrong with a block that is HPACK all right. */
typedef struct verdict {
    uint32_t code; /* NO_ERROR: nothing */
    const char *text;
} verdict;

static int decode(h2_conn *c, const uint8_t *data, size_t len, http_fields *list, verdict *v) {
    const h2_limits *l = c->limits;
    hpack_budget budget = {.max_bytes = l->header_list_max, .max_fields = l->header_fields_max};
    const int failed = hpack_decode(&c->decoder, &c->env->scratch, data, len, list, &budget);
    if (failed == WEFT_EPARSE) return conn_error(c, H2_COMPRESSION_ERROR, "not HPACK");
    if (failed) return conn_error(c, H2_INTERNAL_ERROR, "out of memory");
    if (!budget.over) return 0;
    if (budget.bytes / BOMB_FACTOR > l->header_list_max) {
        c->env->stats.limit_hpack_bomb++;
        return conn_error(c, H2_ENHANCE_YOUR_CALM, "header list far too large");
    }
    *v = (verdict){H2_ENHANCE_YOUR_CALM, "header list too large"};
    if (budget.bytes > l->header_list_max) {
        c->env->stats.limit_header_list++;
    } else {
        c->env->stats.limit_header_fields++;
    }
    return 0;
}

static int malformed(h2_conn *c, h2_stream *s, uint32_t id, const char *text) {
    return stream_error(c, s, id, H2_PROTOCOL_ERROR, text);
}

static int after_callback(h2_conn *c, h2_stream *s) {
    if (s->flags & S_RECV_END && s->flags & S_SENT_END && !(s->flags & S_CLOSED))
        stream_close(c, s);
    return 0;
}

/* Server: a request on a new stream. */
static int on_request(h2_conn *c, uint32_t id, uint8_t flags, http_fields *list, const verdict *v) {
    if (id > c->last_peer_id + 2 && id > 1) {
        c->gap_low = c->last_peer_id ? c->last_peer_id + 2 : 1;
        c->gap_high = id - 2;
    }
    c->last_peer_id = id;
    c->flood.opened++;
    if (c->drain == DRAIN_FINAL) return 0; /* above the last stream of our GOAWAY: ignored */
    if (c->streams_peer >= c->limits->max_streams) {
        c->env->stats.refused_streams++;
        write_reset(c, id, H2_REFUSED_STREAM);
        return flood_count(c, &c->flood.made_resets,
                           (uint64_t)c->limits->made_reset_max + c->limits->max_streams,
                           &c->env->stats.limit_made_reset, "too many refused streams");
    }
    if (v->code) return stream_error(c, NULL, id, v->code, v->text);
    if (flags & FLAG_PRIORITY) return malformed(c, NULL, id, "stream depends on itself");
    http_facts facts;
    if (http_validate(list, HTTP_SECTION_REQUEST, &facts))
        return malformed(c, NULL, id, facts.reason);
    const bool end = flags & FLAG_END_STREAM;
    if (end && facts.content_length > 0)
        return malformed(c, NULL, id, "content-length without content");
    h2_stream *s = stream_open(c, id, false);
    if (!s) {
        write_reset(c, id, H2_REFUSED_STREAM);
        return 0;
    }
    s->flags |= S_RECV_HEADERS | S_FRESH | (end ? S_RECV_END : 0) | (facts.head ? S_HEAD : 0);
    s->length_left = facts.content_length;
    c->cb->on_headers(s, H2_HEADERS_REQUEST, list, end);
    s->flags &= ~(uint32_t)S_FRESH;
    return after_callback(c, s);
}

static int on_trailers(h2_conn *c, h2_stream *s, uint8_t flags, http_fields *list) {
    http_facts facts;
    if (!(flags & FLAG_END_STREAM)) return malformed(c, s, s->id, "trailers without END_STREAM");
    if (http_validate(list, HTTP_SECTION_TRAILERS, &facts))
        return malformed(c, s, s->id, facts.reason);
    if (s->length_left > 0) return malformed(c, s, s->id, "DATA differs from content-length");
    s->flags |= S_RECV_END;
    c->cb->on_headers(s, H2_HEADERS_TRAILERS, list, true);
    return after_callback(c, s);
}

/* Client: a response, final or not. */
static int on_response(h2_conn *c, h2_stream *s, uint8_t flags, http_fields *list) {
    http_facts facts;
    const bool end = flags & FLAG_END_STREAM;
    if (http_validate(list, HTTP_SECTION_RESPONSE, &facts))
        return malformed(c, s, s->id, facts.reason);
    if (facts.status < 200) {
        if (end) return malformed(c, s, s->id, "1xx with END_STREAM");
        if (facts.status == 101) return malformed(c, s, s->id, "101 in HTTP/2");
        c->cb->on_headers(s, H2_HEADERS_INFORM, list, false);
        return 0;
    }
    const bool empty = s->flags & S_HEAD || facts.status == 204 || facts.status == 304;
    if (end && facts.content_length > 0 && !empty)
        return malformed(c, s, s->id, "content-length without content");
    s->flags |= S_RECV_HEADERS | (end ? S_RECV_END : 0);
    s->length_left = empty ? 0 : facts.content_length;
    c->cb->on_headers(s, H2_HEADERS_RESPONSE, list, end);
    return after_callback(c, s);
}

/* HEADERS for a stream that is not open. */
static int on_unknown(h2_conn *c, uint32_t id) {
    if ((id & 1) == (c->role == H2_CLIENT)) {
        /* Ours: the answer to something we reset, or never asked. */
        if (stream_is_idle(c, id))
            return conn_error(c, H2_PROTOCOL_ERROR, "HEADERS on an idle stream");
        if (c->role == H2_CLIENT) return 0;
    }
    if (was_reset_by_us(c, id) || c->reset_count > RESET_RING) return 0;
    if (id >= c->gap_low && id <= c->gap_high)
        return conn_error(c, H2_PROTOCOL_ERROR, "stream identifiers must grow");
    return conn_error(c, H2_STREAM_CLOSED, "HEADERS on a closed stream");
}

static int dispatch(h2_conn *c, uint32_t id, uint8_t flags, http_fields *list, const verdict *v) {
    h2_stream *s = stream_find(c, id);
    if (!s) {
        if (!(id & 1)) return conn_error(c, H2_PROTOCOL_ERROR, "HEADERS on an even stream");
        if (c->role == H2_SERVER && id > c->last_peer_id) return on_request(c, id, flags, list, v);
        return on_unknown(c, id);
    }
    if (s->flags & S_RECV_END)
        return stream_error(c, s, id, H2_STREAM_CLOSED, "HEADERS after END_STREAM");
    if (v->code) return stream_error(c, s, id, v->code, v->text);
    if (flags & FLAG_PRIORITY) return malformed(c, s, id, "stream depends on itself");
    if (s->flags & S_RECV_HEADERS) return on_trailers(c, s, flags, list);
    return on_response(c, s, flags, list);
}

int on_header_block(h2_conn *c, uint32_t id, uint8_t flags, const uint8_t *data, size_t len) {
    h2_env *env = c->env;
    verdict v = {H2_NO_ERROR, ""};
    /* The callback may lead to another connection's headers, so take the array out of the way. */
    http_fields list;
    http_fields_init(&list, env->fields);
    list.at = env->array;
    list.cap = env->array_cap;
    env->array = NULL;
    env->array_cap = 0;
    if (!list.at && http_fields_reserve(&list, 1))
        return conn_error(c, H2_INTERNAL_ERROR, "out of memory");
    int failed = decode(c, data, len, &list, &v);
    if (!failed) failed = dispatch(c, id, flags, &list, &v);
    /* When the fields were moved out, so was the array. */
    if (!list.at) return failed;
    if (env->array) {
        http_fields_clear(&list);
    } else {
        for (uint32_t i = 0; i < list.count; i++) http_field_unref(list.at[i]);
        env->array = list.at;
        env->array_cap = list.cap;
    }
    return failed;
}
