/* Streams: the table, opening, closing, and the credit that goes with them. */
#include "lib/h2/h2_int.h"
#include "weft/mem.h"

#define FIRST_SLOTS 16u
#define MOST_SLOTS 2048u
#define STREAMS_PER_SLAB 64

typedef struct stream_slab {
    struct stream_slab *next;
    h2_stream streams[STREAMS_PER_SLAB];
} stream_slab;

/* ---- the table: slots by (id >> 1) modulo a power of two, chains where ids are sparse */

/* The table of a connection that has no streams yet. */
static h2_stream *no_slots[1];

void table_init(h2_conn *c) {
    c->slots = no_slots;
    c->slot_mask = 0;
    c->salt = (uint32_t)c->env->salt | 1;
}

void table_free(h2_conn *c) {
    if (c->slots != no_slots) weft_free(c->slots);
}

static int table_grow(h2_conn *c) {
    const bool first = c->slots == no_slots;
    const uint32_t old_count = c->slot_mask + 1;
    const uint32_t count = first ? FIRST_SLOTS : old_count * 2;
    h2_stream **slots = weft_calloc(count, sizeof(h2_stream *));
    if (!slots) return WEFT_ENOMEM;
    h2_stream **old = c->slots;
    c->slots = slots;
    c->slot_mask = count - 1;
    for (uint32_t i = 0; i < old_count; i++) {
        for (h2_stream *s = old[i]; s;) {
            h2_stream *next = s->next;
            h2_stream **slot = stream_slot(c, s->id);
            s->next = *slot;
            *slot = s;
            s = next;
        }
    }
    if (!first) weft_free(old);
    return 0;
}

static int table_add(h2_conn *c, h2_stream *s) {
    if (c->slots == no_slots && table_grow(c)) return WEFT_ENOMEM;
    /* A taken slot asks for a larger table, but only in proportion to the streams there are: hostile ids
     * make chains, not memory. When there is none, chains do. */
    h2_stream **slot = stream_slot(c, s->id);
    if (*slot && c->slot_mask < MOST_SLOTS - 1 && c->slot_mask < 4 * (c->open + 1)) {
        (void)!table_grow(c);
        slot = stream_slot(c, s->id);
    }
    s->next = *slot;
    *slot = s;
    c->open++;
    return 0;
}

static void table_remove(h2_conn *c, h2_stream *s) {
    h2_stream **at = stream_slot(c, s->id);
    while (*at != s) at = &(*at)->next;
    *at = s->next;
    c->open--;
}

/* ---- birth and death */

static h2_stream *stream_alloc(h2_env *env) {
    if (!env->free_streams) {
        stream_slab *slab = weft_malloc(sizeof *slab);
        if (!slab) return NULL;
        slab->next = env->slabs;
        env->slabs = slab;
        for (size_t i = 0; i < STREAMS_PER_SLAB; i++) {
            slab->streams[i].next = env->free_streams;
            env->free_streams = &slab->streams[i];
        }
    }
    h2_stream *s = env->free_streams;
    env->free_streams = s->next;
    env->gauges.streams++;
    return s;
}

static void stream_put_back(h2_env *env, h2_stream *s) {
    s->next = env->free_streams;
    env->free_streams = s;
    env->gauges.streams--;
}

void streams_free(h2_env *env) {
    while (env->slabs) {
        stream_slab *next = env->slabs->next;
        weft_free(env->slabs);
        env->slabs = next;
    }
}

h2_stream *stream_open(h2_conn *c, uint32_t id, bool local) {
    h2_stream *s = stream_alloc(c->env);
    if (!s) return NULL;
    s->conn = c;
    s->env = c->env;
    s->user = NULL;
    s->id = id;
    s->flags = local ? S_LOCAL : 0;
    s->send_window = c->peer_stream_window;
    s->recv_window = c->our_stream_window;
    s->length_left = -1;
    s->opened_at = c->env->now;
    s->headers_at = 0;
    s->buffered = 0;
    s->credit = 0;
    if (table_add(c, s)) {
        stream_put_back(c->env, s);
        return NULL;
    }
    weft_chain_init(&s->queue, c->env->chunks);
    weft_list_init(&s->ready);
    weft_list_push_back(&c->streams, &s->all);
    if (local) {
        c->streams_local++;
    } else {
        c->streams_peer++;
    }
    c->idle_since = -1;
    c->env->stats.streams++;
    return s;
}

void stream_close(h2_conn *c, h2_stream *s) {
    assert(!(s->flags & S_CLOSED));
    s->flags |= S_CLOSED;
    table_remove(c, s);
    weft_list_remove(&s->ready);
    if (s->queue.head) weft_chain_clear(&s->queue);
    if (s->flags & S_TRAILERS) http_fields_clear(&s->trailers);
    if (s->flags & S_LOCAL) {
        c->streams_local--;
        if (c->want_capacity && h2_conn_can_request(c)) {
            c->want_capacity = false;
            c->report_capacity = true;
            if (!c->depth) want_write(c); /* h2_conn_output will report it */
        }
    } else {
        c->streams_peer--;
    }
    if (c->open) return;
    c->idle_since = c->env->now;
    if (c->limits->idle_timeout) arm(c, c->env->now + c->limits->idle_timeout);
    if (c->drain == DRAIN_FINAL || c->got_goaway) want_write(c); /* it is finished */
}

void stream_free(h2_stream *s) {
    assert(s->flags & S_RELEASED && s->flags & S_CLOSED);
    weft_list_remove(&s->all);
    stream_put_back(s->env, s);
}

bool stream_is_idle(const h2_conn *c, uint32_t id) {
    const bool ours = (id & 1) == (c->role == H2_CLIENT);
    return ours ? id >= c->next_id : id > c->last_peer_id;
}

/* ---- resets */

bool was_reset_by_us(const h2_conn *c, uint32_t id) {
    if (!c->resets) return false;
    for (uint32_t i = 0; i < RESET_RING; i++) {
        if (c->resets[i] == id) return true;
    }
    return false;
}

void write_reset(h2_conn *c, uint32_t id, uint32_t code) {
    /* Frames the peer sent before it learns of this must be ignored (RFC 9113 section 5.1), so remember it.
     * Without memory they cost it an RST_STREAM more each. */
    if (!c->resets) c->resets = weft_calloc(RESET_RING, sizeof *c->resets);
    if (c->resets) c->resets[c->reset_count++ % RESET_RING] = id;
    uint8_t *at = frame_begin(c, 4, FRAME_RST_STREAM, 0, id);
    if (!at) return;
    put32(at, code);
    weft_chain_commit(&c->out, FRAME_HEAD + 4);
    c->env->stats.resets_out++;
}

void report_reset(h2_stream *s, const h2_reset_info *info) {
    if (!(s->flags & S_RELEASED)) s->conn->cb->on_reset(s, info);
}

int stream_error(h2_conn *c, h2_stream *s, uint32_t id, uint32_t code, const char *text) {
    c->env->stats.stream_errors++;
    write_reset(c, id, code);
    if (s) {
        stream_close(c, s);
        const h2_reset_info info = {.code = code, .text = text};
        report_reset(s, &info);
    }
    return flood_count(c, &c->flood.made_resets, c->limits->made_reset_max,
                       &c->env->stats.limit_made_reset, "too many mistakes");
}

/* ---- credit */

static void write_window_update(h2_conn *c, uint32_t id, uint32_t size) {
    uint8_t *at = frame_begin(c, 4, FRAME_WINDOW_UPDATE, 0, id);
    if (!at) return;
    put32(at, size);
    weft_chain_commit(&c->out, FRAME_HEAD + 4);
}

void conn_credit(h2_conn *c) {
    if (c->failed) return;
    const h2_limits *l = c->limits;
    int64_t most = l->conn_window;
    const int64_t space = (int64_t)l->buffered_max - (int64_t)c->buffered;
    if (space < most) most = space;
    const int64_t room = most - c->recv_window;
    /* Half a window at a time; close to the cap, a frame at a time. */
    if (room < l->conn_window / 2 && (c->recv_window >= FRAME_MAX || room < FRAME_MAX)) return;
    c->recv_window += room;
    write_window_update(c, 0, (uint32_t)room);
}

void stream_credit(h2_conn *c, h2_stream *s) {
    if (s->flags & (S_CLOSED | S_RECV_END) || c->failed) return;
    if (s->credit < c->our_stream_window / 2 || !s->credit) return;
    s->recv_window += s->credit;
    write_window_update(c, s->id, s->credit);
    s->credit = 0;
}

void h2_consume(h2_stream *s, size_t size) {
    h2_conn *c = s->conn;
    assert(size <= s->buffered);
    if (size > s->buffered) size = s->buffered;
    s->buffered -= size;
    if (!c) return;
    c->buffered -= size;
    s->credit += (uint32_t)size;
    stream_credit(c, s);
    if (c->recv_window < c->limits->conn_window / 2) conn_credit(c);
}

/* ---- the user's calls */

void h2_reset(h2_stream *s, uint32_t code) {
    h2_conn *c = s->conn;
    if (!c || s->flags & S_CLOSED) return;
    /* Inside the callback that reports the end, both sides may be done. */
    const bool done = (s->flags & (S_RECV_END | S_SENT_END)) == (S_RECV_END | S_SENT_END);
    if (!c->failed && !done) write_reset(c, s->id, code);
    stream_close(c, s);
}

static uint32_t release_code(const h2_stream *s) {
    if (s->flags & S_FRESH && !(s->flags & S_SENT_HEADERS)) return H2_REFUSED_STREAM;
    const bool answered = !(s->flags & S_LOCAL) && s->flags & S_SENT_END;
    return answered ? H2_NO_ERROR : H2_CANCEL;
}

void h2_stream_release(h2_stream *s) {
    assert(!(s->flags & S_RELEASED));
    h2_conn *c = s->conn;
    if (!(s->flags & S_CLOSED)) h2_reset(s, release_code(s));
    s->flags |= S_RELEASED | S_CLOSED;
    if (s->buffered) h2_consume(s, s->buffered);
    if (!c || !c->depth) {
        stream_free(s);
        return;
    }
    weft_list_remove(&s->all); /* somebody on the stack may hold it: leave() frees it */
    weft_list_push_back(&c->released, &s->all);
}

void h2_stream_set_user(h2_stream *s, void *user) { s->user = user; }
void *h2_stream_user(const h2_stream *s) { return s->user; }
h2_conn *h2_stream_conn(const h2_stream *s) { return s->conn; }
uint32_t h2_stream_id(const h2_stream *s) { return s->id; }
size_t h2_stream_queued(const h2_stream *s) { return s->queue.bytes; }
size_t h2_stream_buffered(const h2_stream *s) { return s->buffered; }
bool h2_stream_open(const h2_stream *s) { return !(s->flags & S_CLOSED); }
