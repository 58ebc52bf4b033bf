/* The inside of lib/h2. Read the structs first; the files then, in the order a byte meets them:
 *   input.c    frames out of bytes; DATA is cut through as it comes
 *   headers.c  header blocks: HPACK, validation, opening streams
 *   control.c  SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM, PRIORITY, and what is too many of them
 *   stream.c   the stream table, life and death of streams, credit
 *   send.c     header blocks and DATA into the output; queues of what is blocked
 *   conn.c     life and death of connections, errors, output
 *   tick.c     timeouts, keepalive, draining */
#ifndef LIB_H2_INT_H
#define LIB_H2_INT_H

#include <assert.h>

#include "lib/h2/hpack.h"
#include "weft/clock.h"
#include "weft/h2.h"
#include "weft/list.h"

#define FRAME_HEAD 9u
#define FRAME_MAX 16384u /* both ways: the default, and the least anybody may accept */
#define WINDOW_MAX INT64_C(0x7fffffff)
#define WINDOW_DEFAULT 65535
#define STREAM_ID_MAX 0x7fffffffu

/* RFC 9113 section 6. */
enum {
    FRAME_DATA = 0,
    FRAME_HEADERS = 1,
    FRAME_PRIORITY = 2,
    FRAME_RST_STREAM = 3,
    FRAME_SETTINGS = 4,
    FRAME_PUSH_PROMISE = 5,
    FRAME_PING = 6,
    FRAME_GOAWAY = 7,
    FRAME_WINDOW_UPDATE = 8,
    FRAME_CONTINUATION = 9
};

enum {
    FLAG_END_STREAM = 1,
    FLAG_ACK = 1,
    FLAG_END_HEADERS = 4,
    FLAG_PADDED = 8,
    FLAG_PRIORITY = 32
};

enum {
    SETTINGS_HEADER_TABLE_SIZE = 1,
    SETTINGS_ENABLE_PUSH = 2,
    SETTINGS_MAX_CONCURRENT_STREAMS = 3,
    SETTINGS_INITIAL_WINDOW_SIZE = 4,
    SETTINGS_MAX_FRAME_SIZE = 5,
    SETTINGS_MAX_HEADER_LIST_SIZE = 6
};

/* Stream flags. */
enum {
    S_LOCAL = 1,        /* we opened it */
    S_RECV_HEADERS = 2, /* the request, or the final response, came */
    S_RECV_END = 4,     /* the peer's side is closed */
    S_SENT_HEADERS = 8, /* the request, or the final response, is in the output */
    S_SENT_END = 16,    /* END_STREAM is in the output */
    S_ENDING = 32,      /* the user ended our side; END_STREAM may still wait behind the queue */
    S_TRAILERS = 64,    /* `trailers` wait behind the queue */
    S_CLOSED = 128,     /* over: not in the table, not counted */
    S_RELEASED = 256,   /* the user gave up the handle; implies S_CLOSED */
    S_FRESH = 512,      /* inside the on_headers that reports it */
    S_HEAD = 1024       /* a HEAD request: its response has no content */
};

/* Invariants:
 *   - in conn->streams from birth until S_RELEASED, in conn's table and counts until S_CLOSED
 *   - in conn->ready iff it has payload queued that its own window allows to send
 *   - trailers and END_STREAM wait only behind payload
 *   - the queue is empty once S_CLOSED; buffered is part of conn->buffered while conn is not NULL
 *   - recv_window + credit + buffered = the window we granted, give or take padding */
struct h2_stream {
    h2_conn *conn; /* NULL once the connection is freed */
    h2_env *env;
    void *user;
    h2_stream *next; /* of the same table slot; of the free list */
    weft_list all;
    weft_list ready;
    weft_chain queue;
    http_fields trailers; /* S_TRAILERS, else not set */
    uint32_t id;
    uint32_t flags;
    int64_t send_window; /* negative after SETTINGS shrank it */
    int64_t recv_window; /* what the peer may still send */
    int64_t length_left; /* of content-length; -1: none was given */
    int64_t opened_at;
    uint64_t headers_at; /* where our HEADERS begin in all bytes of the connection */
    size_t buffered;     /* delivered, not consumed */
    uint32_t credit;     /* consumed, not announced */
};

struct stream_slab;

struct h2_env {
    weft_chunk_pool *chunks;
    http_pool *fields;
    int64_t now;
    uint64_t salt;
    h2_stream *free_streams;
    struct stream_slab *slabs;
    hpack_scratch scratch; /* Huffman text */
    http_field **array;    /* of a list of `fields`: what header lists are decoded into; or NULL */
    uint32_t array_cap;
    h2_gauges gauges;
    h2_stats stats;
};

/* What the peer did in the present flood window. */
typedef struct flood {
    int64_t until; /* when the window ends */
    uint32_t work; /* DATA and HEADERS, both ways */
    uint32_t settings, pings, priorities, window_updates, empty_data, unknown;
    uint32_t opened, resets, made_resets;
} flood;

/* The frame being read. */
typedef struct frame {
    uint32_t len;
    uint32_t stream;
    uint8_t type;
    uint8_t flags;
} frame;

/* A header block that came in pieces. */
typedef struct block {
    uint8_t *data; /* NULL: none is open */
    size_t len;
    size_t cap;
    uint32_t stream; /* not 0: CONTINUATION of this stream must be next */
    uint32_t frames;
    uint8_t flags; /* of HEADERS */
} block;

#define RESET_RING 64u
#define REASON_MAX 128u
#define PREFACE_LEN 24u

enum { DRAIN_NO, DRAIN_ANNOUNCED, DRAIN_FINAL };

struct h2_conn {
    h2_env *env;
    const h2_limits *limits;
    const h2_callbacks *cb;
    void *user;
    uint8_t role;
    uint8_t depth; /* calls that may call back, on the stack */
    uint8_t drain;
    bool doomed;  /* h2_conn_free was called while depth > 0 */
    bool failed;  /* connection error, or the transport ended */
    bool wanting; /* on_want_write was called, h2_conn_output not yet */
    bool got_settings;
    bool got_ack; /* of our SETTINGS */
    bool got_goaway;
    bool want_capacity;   /* h2_request said WEFT_EAGAIN */
    bool report_capacity; /* and a stream ended since */

    /* Output. */
    weft_chain out;
    size_t backlog;   /* moved out but not written, when h2_conn_output was called last */
    uint64_t moved;   /* bytes ever moved out */
    bool output_kept; /* it failed, and what was in `out` will still be sent */
    int64_t send_window;
    int64_t blocked_since; /* when send_window was used up; -1: it is not */
    weft_list ready;       /* streams with something to send */
    hpack_encoder encoder;

    /* Input. */
    uint8_t head[FRAME_HEAD];
    union {
        struct {
            uint8_t head_len;     /* bytes of an unfinished frame header */
            uint8_t preface_left; /* bytes of the preface to come */
            bool in_data;         /* inside a DATA frame */
            bool want_pad;        /* its pad length byte comes next */
            bool in_skip;         /* inside a frame whose payload does not matter */
            bool in_partial;      /* inside a frame of another type: see partial */
        };
        uint64_t inside; /* 0: a frame begins here */
    };
    frame frame;
    uint32_t data_left; /* payload, or bytes to skip */
    uint32_t pad_left;
    uint32_t padding; /* of the DATA frame being read, with its length byte */
    weft_chunk
        *partial; /* payload of an unfinished frame of another type; partial->used bytes so far */
    int64_t recv_window;
    size_t buffered;
    hpack_decoder decoder;
    block block;

    /* Streams. */
    h2_stream **slots;
    uint32_t slot_mask; /* a power of two, less 1 */
    uint32_t salt;
    uint32_t open; /* streams in the table */
    uint32_t streams_local, streams_peer;
    uint32_t next_id;      /* client: the next stream of ours; server: 2 */
    uint32_t last_peer_id; /* the highest the peer opened */
    uint32_t goaway_last;  /* the last stream that a final GOAWAY of ours allows */
    uint32_t peer_goaway_last;
    uint32_t gap_low, gap_high; /* the ids last skipped: they were never used */
    weft_list streams;          /* all that are not released */
    weft_list released;         /* by a callback: freed by leave() */
    uint32_t *resets; /* a ring of the RESET_RING streams we reset last; NULL before the first */
    uint32_t reset_count;

    /* The peer's SETTINGS. */
    uint32_t peer_max_streams;
    uint32_t peer_stream_window;
    uint32_t peer_header_list_max;
    uint32_t our_stream_window; /* of ours: in force */

    /* Time. */
    int64_t deadline;
    int64_t settings_deadline; /* WEFT_NO_DEADLINE: nothing is awaited */
    int64_t partial_since;     /* -1: no frame or block is unfinished */
    int64_t last_input;
    int64_t idle_since; /* -1: there are streams */
    int64_t ping_sent;  /* -1: none on its way */
    int64_t drain_since;
    int64_t rtt;
    uint64_t ping_number;
    bool drain_ping; /* the PING on its way was sent after the first GOAWAY */

    flood flood;
    uint32_t error;
    uint8_t reason_len;
    char reason[REASON_MAX + 1];
};

/* ---- conn.c */

/* Around everything that may call back. leave frees what was given up inside; the connection may be gone
 * afterwards. Returns `result`, or WEFT_ECLOSED when the connection is gone. */
static inline void enter(h2_conn *c) { c->depth++; }
int leave(h2_conn *c, int result);
void ask_to_write(h2_conn *c);
static inline void want_write(h2_conn *c) {
    if (!c->wanting) ask_to_write(c);
}

/* Fails the connection: GOAWAY is queued, `text` kept. Returns WEFT_EPARSE, or WEFT_ELIMIT for
 * ENHANCE_YOUR_CALM, for the caller to return. Streams are told by fail_streams. */
int conn_error(h2_conn *c, uint32_t code, const char *text);
int conn_oom(h2_conn *c);
void fail_streams(h2_conn *c, size_t unsent);
void write_goaway(h2_conn *c, uint32_t last, uint32_t code, const char *text, size_t len);

static inline void arm(h2_conn *c, int64_t deadline) {
    if (deadline < c->deadline) c->deadline = deadline;
}

/* Room for a frame of `len` payload bytes at the end of the output, its header filled in; commit
 * FRAME_HEAD + len. NULL: the connection failed for lack of memory. */
uint8_t *frame_begin(h2_conn *c, uint32_t len, uint8_t type, uint8_t flags, uint32_t stream);

static inline void put32(uint8_t *at, uint32_t value) {
    value = __builtin_bswap32(value);
    __builtin_memcpy(at, &value, 4);
}
static inline uint32_t get32(const uint8_t *at) {
    uint32_t value;
    __builtin_memcpy(&value, at, 4);
    return __builtin_bswap32(value);
}
static inline void put_head(uint8_t *at, uint32_t len, uint8_t type, uint8_t flags,
                            uint32_t stream) {
    put32(at, len << 8 | type);
    at[4] = flags;
    put32(at + 5, stream);
}
static inline uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

/* ---- stream.c */

/* Ids in a row get slots in a row. What lies above the mask is mixed in under a salt, so that a peer cannot
 * choose ids that share a slot. */
static inline h2_stream **stream_slot(const h2_conn *c, uint32_t id) {
    return &c->slots[(id >> 1 ^ (id >> 12) * c->salt) & c->slot_mask];
}
static inline h2_stream *stream_find(const h2_conn *c, uint32_t id) {
    h2_stream *s = *stream_slot(c, id);
    while (s && s->id != id) s = s->next;
    return s;
}
void table_init(h2_conn *c);
void table_free(h2_conn *c);
h2_stream *stream_open(h2_conn *c, uint32_t id, bool local); /* NULL: no memory */
void stream_close(h2_conn *c, h2_stream *s);
void stream_free(h2_stream *s); /* must be S_RELEASED */
void streams_free(h2_env *env);
bool stream_is_idle(const h2_conn *c, uint32_t id);

/* A stream error: RST_STREAM and on_reset; counts against the peer. Returns 0, or the connection error when
 * that was one too many. `s` may be NULL: the stream is not open. */
int stream_error(h2_conn *c, h2_stream *s, uint32_t id, uint32_t code,
                 const char *text) WEFT_MUST_USE;
void write_reset(h2_conn *c, uint32_t id, uint32_t code);
bool was_reset_by_us(const h2_conn *c, uint32_t id);
void report_reset(h2_stream *s, const h2_reset_info *info);

/* Returns credit to the peer when it is worth a frame. */
void conn_credit(h2_conn *c);
void stream_credit(h2_conn *c, h2_stream *s);

/* ---- send.c */

/* Queues a header block: 0, WEFT_ENOMEM (nothing was done). */
int write_headers(h2_conn *c, uint32_t id, const http_fields *fields, bool end) WEFT_MUST_USE;

/* Sends what the stream's queue has, as far as windows and output allow; at most `most` payload bytes. Returns
 * the payload bytes sent. Never calls back. */
size_t stream_pump(h2_conn *c, h2_stream *s, size_t most);
void stream_make_ready(h2_conn *c, h2_stream *s);

static inline bool output_has_room(const h2_conn *c) {
    return c->out.bytes + c->backlog < c->limits->output_high;
}

/* ---- headers.c, control.c */

/* `flags`: END_STREAM, and PRIORITY for a stream that depends on itself. */
int on_header_block(h2_conn *c, uint32_t id, uint8_t flags, const uint8_t *data,
                    size_t len) WEFT_MUST_USE;
int on_headers_frame(h2_conn *c, const frame *f, const uint8_t *payload) WEFT_MUST_USE;
int on_continuation(h2_conn *c, const frame *f, const uint8_t *payload) WEFT_MUST_USE;
int on_control_frame(h2_conn *c, const frame *f, const uint8_t *payload) WEFT_MUST_USE;
void block_drop(h2_conn *c);

/* Counts one more of something; a connection error above `max` + `extra`. */
int flood_count(h2_conn *c, uint32_t *counter, uint64_t max, uint64_t *stat,
                const char *text) WEFT_MUST_USE;
void flood_roll(h2_conn *c); /* begins a new window when the present one is over */

/* The PING on its way was answered, or none will be awaited: the final GOAWAY of a drain. */
void drain_finish(h2_conn *c);
void ping_send(h2_conn *c);

#endif
