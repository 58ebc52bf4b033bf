/* HTTP/2 (RFC 9113) with HPACK (RFC 7541), both roles, without I/O.
 *
 * The owner of a connection feeds what arrived (h2_conn_input), takes what must be sent (h2_conn_output),
 * tells the time (h2_conn_tick) and ends it (h2_conn_free). In between, callbacks report what streams did
 * and calls act on streams. The engine knows connections of streams, not requests that are proxied; but
 * header fields and DATA pass from one connection to another by reference, and window credit is returned
 * when the user says so, which ties two streams' windows together.
 *
 * Errors. A connection error queues GOAWAY, fails every stream and makes the call return a negative
 * WEFT_E…; every later call but _output and _free returns WEFT_ECLOSED. A stream error resets that stream,
 * tells its user, and the call returns 0.
 *
 * Who calls back. Only h2_conn_input, h2_conn_output, h2_conn_tick and h2_conn_free call callbacks, except
 * that on_want_write may come from any call. Calls on streams never call back.
 *
 * Re-entrancy. A callback may make any call on any stream of any connection, release streams, and free any
 * connection, its own included (what is still on somebody's stack is freed when that call returns,
 * WEFT_ECLOSED then). It must not call h2_conn_input, _output or _tick of a connection that is inside one
 * of these.
 *
 * Ownership of streams. A stream belongs to its user from h2_request, or from the end of the on_headers
 * that reported a request, until h2_stream_release; the handle stays valid that long, even when the stream
 * has ended, its connection failed or was freed. Releasing a stream that is not over resets it.
 *
 * Everything of one h2_env belongs to one thread. All times are monotonic nanoseconds. */
#ifndef WEFT_H2_H
#define WEFT_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/chunk.h"
#include "weft/error.h"
#include "weft/http.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Error codes of RFC 9113 section 7. X(name, number) */
#define H2_CODES(X)            \
    X(NO_ERROR, 0)             \
    X(PROTOCOL_ERROR, 1)       \
    X(INTERNAL_ERROR, 2)       \
    X(FLOW_CONTROL_ERROR, 3)   \
    X(SETTINGS_TIMEOUT, 4)     \
    X(STREAM_CLOSED, 5)        \
    X(FRAME_SIZE_ERROR, 6)     \
    X(REFUSED_STREAM, 7)       \
    X(CANCEL, 8)               \
    X(COMPRESSION_ERROR, 9)    \
    X(CONNECT_ERROR, 10)       \
    X(ENHANCE_YOUR_CALM, 11)   \
    X(INADEQUATE_SECURITY, 12) \
    X(HTTP_1_1_REQUIRED, 13)

typedef enum h2_code {
#define X(name, number) H2_##name = number,
    H2_CODES(X)
#undef X
} h2_code;

/* "CANCEL" for 8, "UNKNOWN" outside the table; never NULL. */
const char *h2_code_name(uint32_t code);

typedef enum h2_role { H2_CLIENT, H2_SERVER } h2_role;

typedef struct h2_env h2_env;
typedef struct h2_conn h2_conn;
typedef struct h2_stream h2_stream;

/* ---- limits */

/* Shared by connections and not copied: must outlive them and not change. Fill with a function below, then
 * change fields. Flood limits count per window of H2_FLOOD_WINDOW and grow with useful work done in the
 * same window, so that honest busy peers do not meet them. */
typedef struct h2_limits {
    /* What we announce (SETTINGS). */
    uint32_t max_streams;     /* streams the peer may have open at once; clients: 0 */
    uint32_t stream_window;   /* bytes a peer may send on a stream before credit: 1 .. 2^31 - 1 */
    uint32_t header_list_max; /* bytes of a header list as RFC 9113 section 6.5.2 counts */
    uint32_t hpack_decoder_table; /* bytes of the decoder's dynamic table */
    /* Connection window: what is outstanding plus what is buffered never exceeds buffered_max. */
    uint32_t conn_window;  /* bytes outstanding at most, >= 65535 */
    uint32_t buffered_max; /* bytes delivered and not consumed, per connection, >= conn_window */
    /* What we use of what the peer offers. */
    uint32_t peer_streams_default; /* streams we open before the peer's SETTINGS came */
    uint32_t hpack_encoder_table;  /* bytes of the encoder's dynamic table at most (<= 65536) */
    /* What we hold. */
    uint32_t header_fields_max; /* fields of a list, cookie crumbs included */
    uint32_t header_block_max;  /* encoded bytes of one header block, all frames */
    uint32_t continuation_max;  /* CONTINUATION frames of one header block */
    uint32_t stream_queue_max;  /* bytes one stream may queue for sending */
    uint32_t output_high;       /* bytes of output not yet written above which DATA waits */
    uint32_t output_max;        /* the same, above which the peer is a slow reader and is closed */
    /* Floods, per window. */
    uint32_t settings_max; /* SETTINGS, and window sizes in one frame beyond the first */
    uint32_t ping_max;     /* PING, plus one for each DATA or HEADERS frame either way */
    uint32_t priority_max; /* PRIORITY, plus two for each HEADERS */
    uint32_t
        window_update_max; /* WINDOW_UPDATE, plus four for each DATA or HEADERS frame either way */
    uint32_t empty_data_max; /* DATA without payload or END_STREAM, plus one for each with */
    uint32_t unknown_max;    /* frames that mean nothing, plus one for each DATA or HEADERS */
    int64_t reset_young;     /* ns: RST_STREAM counts on streams that are younger than that … */
    uint32_t reset_min;      /* … so many of which are never too many … */
    uint32_t reset_percent;  /* … beyond, more than this share of the streams it opened is */
    uint32_t made_reset_max; /* RST_STREAM that the peer's mistakes made us send (MadeYouReset) */
    /* The peer may reset streams it never opened, which counts as an unknown frame instead of ending the
     * connection (RFC 9113 section 6.4): gRPC C-core's clients do when a call is cancelled before its HEADERS
     * were written. */
    bool idle_reset;
    /* Time, ns; 0: none. */
    int64_t settings_timeout; /* for the peer's preface and SETTINGS, and for its ACK of ours */
    int64_t
        header_timeout;    /* between HEADERS and END_HEADERS; also a frame that is not completed */
    int64_t ping_interval; /* keepalive PING after that long without input … */
    int64_t ping_timeout;  /* … and the time to answer any PING of ours */
    int64_t idle_timeout;  /* without streams: graceful GOAWAY */
} h2_limits;

#define H2_FLOOD_WINDOW INT64_C(10000000000)

/* Between sidecars, and to and from their apps: 1,000 streams, 256 KiB a stream, 16 MiB buffered. */
void h2_limits_peer(h2_limits *limits);
/* From strangers (gateway): 100 streams, 64 KiB a stream, 1 MiB buffered. */
void h2_limits_stranger(h2_limits *limits);
/* NULL when the limits make sense, else a static sentence that says which do not. */
const char *h2_limits_check(const h2_limits *limits);

/* ---- counters. X(name, what it counts) */
#define H2_STATS(X)                                                     \
    X(conns, "connections made")                                        \
    X(streams, "streams opened, both ways")                             \
    X(frames_in, "frames received")                                     \
    X(resets_in, "RST_STREAM received")                                 \
    X(resets_out, "RST_STREAM sent")                                    \
    X(goaways_in, "GOAWAY received")                                    \
    X(goaways_out, "GOAWAY sent")                                       \
    X(conn_errors, "connections ended by an error")                     \
    X(stream_errors, "streams reset because of the peer's mistakes")    \
    X(refused_streams, "streams refused above max_streams")             \
    X(limit_header_list, "header lists over header_list_max")           \
    X(limit_header_fields, "header lists over header_fields_max")       \
    X(limit_header_block, "header blocks over header_block_max")        \
    X(limit_continuation, "header blocks over continuation_max")        \
    X(limit_hpack_bomb, "header lists many times over header_list_max") \
    X(limit_stream_queue, "sends over stream_queue_max")                \
    X(limit_output, "connections over output_max")                      \
    X(limit_settings, "SETTINGS floods")                                \
    X(limit_ping, "PING floods")                                        \
    X(limit_priority, "PRIORITY floods")                                \
    X(limit_window_update, "WINDOW_UPDATE floods")                      \
    X(limit_empty_data, "floods of empty DATA")                         \
    X(limit_unknown, "floods of frames that mean nothing")              \
    X(limit_reset, "rapid resets")                                      \
    X(limit_made_reset, "floods of mistakes that make us reset")        \
    X(timeout_settings, "peers that did not answer SETTINGS in time")   \
    X(timeout_header, "headers or frames not completed in time")        \
    X(timeout_ping, "PING not answered in time")                        \
    X(timeout_idle, "connections closed for being idle")

typedef struct h2_stats {
#define X(name, text) uint64_t name;
    H2_STATS(X)
#undef X
} h2_stats;

/* ---- environment: what the connections of a worker share */

/* The pools must outlive it. `seed` salts stream tables. NULL when memory is out. _free asserts that no
 * connection or stream is alive. */
h2_env *h2_env_new(weft_chunk_pool *chunks, http_pool *fields, uint64_t seed);
void h2_env_free(h2_env *env);

/* The time of this turn of the loop; set it before anything else is called in that turn. */
void h2_env_set_now(h2_env *env, int64_t now);

typedef struct h2_gauges {
    size_t conns;
    size_t streams; /* not yet released, or not over */
} h2_gauges;
h2_gauges h2_env_gauges(const h2_env *env);
const h2_stats *h2_env_stats(const h2_env *env);

/* ---- callbacks */

typedef enum h2_headers_kind {
    H2_HEADERS_REQUEST,  /* server: a new stream; set its user, or release it to refuse */
    H2_HEADERS_INFORM,   /* client: a 1xx response */
    H2_HEADERS_RESPONSE, /* client: the final response */
    H2_HEADERS_TRAILERS  /* either; `end` is true */
} h2_headers_kind;

/* How a stream ended before its time. */
typedef struct h2_reset_info {
    uint32_t code; /* h2_code, or whatever the peer sent */
    bool
        unprocessed; /* the peer provably did nothing: REFUSED_STREAM, above GOAWAY's last id, never sent */
    bool by_peer;     /* RST_STREAM received */
    bool conn_lost;   /* the connection failed or was freed */
    const char *text; /* a static sentence for logs, never NULL */
} h2_reset_info;

typedef struct h2_goaway_info {
    uint32_t code;
    uint32_t last_stream;
    const char *debug; /* not terminated, not checked; lives during the call */
    size_t debug_len;
} h2_goaway_info;

/* Any member but on_headers, on_data, on_reset may be NULL. `user` of the connection is h2_conn_user(conn),
 * of a stream h2_stream_user(stream). A stream that is released gets no more calls. */
typedef struct h2_callbacks {
    /* A valid header list. `fields` lives during the call; take what is needed with http_fields_move (all
     * of it, cheap), http_fields_copy or http_field_ref. `end`: the peer sends nothing more. */
    void (*on_headers)(h2_stream *stream, h2_headers_kind kind, http_fields *fields, bool end);

    /* Payload, of at most one frame. It lives during the call unless `data->chunk` is referenced. It counts as
     * buffered until h2_consume. Empty only together with `end`. */
    void (*on_data)(h2_stream *stream, const weft_slice *data, bool end);

    /* The stream is over before its time, for a reason other than h2_reset. */
    void (*on_reset)(h2_stream *stream, const h2_reset_info *info);

    /* `size` bytes that h2_send_data had queued went out. */
    void (*on_sent)(h2_stream *stream, size_t size);

    /* h2_request, which had said WEFT_EAGAIN, may succeed now. */
    void (*on_capacity)(h2_conn *conn);

    /* The peer's SETTINGS came and are in force; every time. */
    void (*on_settings)(h2_conn *conn);

    /* GOAWAY. Streams above last_stream are reported by on_reset after this. */
    void (*on_goaway)(h2_conn *conn, const h2_goaway_info *info);

    /* The answer to a PING of ours (keepalive too), with the round trip's time. */
    void (*on_pong)(h2_conn *conn, int64_t rtt);

    /* There is output, or the connection is finished: call h2_conn_output (or look at h2_conn_finished) before
     * the loop sleeps. Comes at most once until h2_conn_output is called. Must not call into the engine:
     * put the connection on a list. */
    void (*on_want_write)(h2_conn *conn);
} h2_callbacks;

/* ---- connections */

/* A connection whose first output (preface, SETTINGS) is queued already; on_want_write comes before this
 * returns. `limits` and `callbacks` must
 * outlive it. NULL when memory is out. */
h2_conn *h2_conn_new(h2_env *env, h2_role role, const h2_limits *limits,
                     const h2_callbacks *callbacks, void *user);

/* Ends the connection: each stream that is not over gets on_reset (conn_lost). `unsent` is how many of the
 * bytes that h2_conn_output moved out were certainly never sent (0 when in doubt): streams whose HEADERS
 * are among them are unprocessed. Output not taken is dropped. */
void h2_conn_free(h2_conn *conn, size_t unsent);

void *h2_conn_user(const h2_conn *conn);
h2_role h2_conn_role(const h2_conn *conn);

/* What arrived. `chunk` holds the bytes and may be referenced by on_data's user; NULL: they are valid during
 * the call only. All of it is used: the engine keeps an unfinished frame itself. Negative: connection error;
 * flush the output and free the connection. */
int h2_conn_input(h2_conn *conn, const uint8_t *data, size_t len, weft_chunk *chunk) WEFT_MUST_USE;

/* The peer closed its side of the transport. 0 when that is fine (no stream is open); else a connection
 * error as above. */
int h2_conn_eof(h2_conn *conn) WEFT_MUST_USE;

/* Moves what must be sent to the end of `out` (of the env's chunk pool), which the owner writes from.
 * `out->bytes` before the call tells the engine how much is not written yet: above limits->output_high no
 * DATA is added. Call it when on_want_write asked, and after writing made progress if h2_conn_wants_output.
 * Returns the bytes moved, or negative on a connection error (slow reader, out of memory; what is in `out` is
 * still to be sent). */
int64_t h2_conn_output(h2_conn *conn, weft_chain *out) WEFT_MUST_USE;

/* True when h2_conn_output would have something to move, or streams wait for room in the output only. */
bool h2_conn_wants_output(const h2_conn *conn);

/* Timeouts and keepalive. The time is h2_env_set_now's. Call at or after h2_conn_deadline (WEFT_NO_DEADLINE:
 * never), which may move earlier in any call on the connection. Negative: connection error, as for _input. */
int h2_conn_tick(h2_conn *conn) WEFT_MUST_USE;
int64_t h2_conn_deadline(const h2_conn *conn);

/* True when nothing will come any more: failed, or going away with no stream left. Once its output is
 * written, close and free it. */
bool h2_conn_finished(const h2_conn *conn);

/* Why it failed: the sentence sent as GOAWAY's debug text, "" when it did not. And the code. */
const char *h2_conn_reason(const h2_conn *conn);
uint32_t h2_conn_error(const h2_conn *conn);

/* Graceful: announce, let requests that are on their way come in, then refuse new ones and finish when the
 * last stream ends (RFC 9113 section 6.8: two GOAWAY frames, a PING between them). Again: harmless. */
void h2_conn_drain(h2_conn *conn);

/* Immediate: GOAWAY with a code and a text (may be NULL; at most 128 bytes are sent), and the connection has
 * failed; streams are reported at the end of the call this is made in, else by h2_conn_free. */
void h2_conn_abort(h2_conn *conn, uint32_t code, const char *text);

/* Sends a PING unless one is on its way; on_pong answers. */
void h2_conn_ping(h2_conn *conn);

typedef struct h2_conn_info {
    bool settings_received; /* the peer spoke HTTP/2 */
    bool going_away;        /* GOAWAY sent or received: no new requests */
    uint32_t streams_local; /* open streams that we opened */
    uint32_t streams_peer;
    uint32_t peer_max_streams; /* the peer's SETTINGS_MAX_CONCURRENT_STREAMS */
    int64_t send_window;       /* of the connection */
    int64_t recv_window;
    size_t buffered; /* delivered and not consumed */
    size_t output;   /* queued on the connection, not yet moved out; without what streams queue */
    int64_t rtt;     /* last PING; -1 unknown */
} h2_conn_info;
h2_conn_info h2_conn_get_info(const h2_conn *conn);

/* Payload bytes that the connection's streams queue; goes through all of them. */
size_t h2_conn_queued(const h2_conn *conn);

/* 1 when h2_request would not say WEFT_EAGAIN or WEFT_ECLOSED now. */
int h2_conn_can_request(const h2_conn *conn);

/* True when new requests had better go to another connection: what nobody reads has nearly reached buffered_max,
 * or the peer has given no credit for H2_STUFFED_AFTER though there is something to send. */
#define H2_STUFFED_AFTER INT64_C(50000000) /* ns */
bool h2_conn_is_stuffed(const h2_conn *conn);

/* As if h2_request had just said WEFT_EAGAIN: on_capacity will tell. For who asked h2_conn_can_request. */
void h2_conn_await_capacity(h2_conn *conn);

/* ---- streams */

/* Client: opens a stream and queues its HEADERS; the list is neither kept nor validated. `end`: there is no
 * body. WEFT_EAGAIN: the peer allows no more streams now (on_capacity will tell); WEFT_ECLOSED: the connection
 * takes no new streams; WEFT_ELIMIT: larger than the peer accepts; WEFT_ENOMEM. */
int h2_request(h2_conn *conn, const http_fields *fields, bool end, void *user,
               h2_stream **stream) WEFT_MUST_USE;

/* Server: queues response HEADERS, :status first (1xx may come before). WEFT_EINVAL: answered already, or no
 * :status; WEFT_ECLOSED: the stream is over; WEFT_ELIMIT and WEFT_ENOMEM as above. */
int h2_respond(h2_stream *stream, const http_fields *fields, bool end) WEFT_MUST_USE;

/* Sends payload. Pieces with a chunk are taken by reference, others are copied. Returns how many bytes went
 * into the connection's output at once; the others are queued until windows and output allow and then
 * reported by on_sent. `end` closes our side after it. WEFT_ECLOSED: the stream is over, or our side closed;
 * WEFT_ELIMIT: more than stream_queue_max would be queued; WEFT_ENOMEM. Nothing was taken then. */
int64_t h2_send_data(h2_stream *stream, const weft_slice *slices, size_t count,
                     bool end) WEFT_MUST_USE;

/* Closes our side with trailers, after all queued payload. The list is not kept (its fields may be). */
int h2_send_trailers(h2_stream *stream, const http_fields *fields) WEFT_MUST_USE;

/* Ends the stream now: RST_STREAM if the peer may not know, queued payload dropped, no on_reset. Harmless when
 * it is over. The handle stays until released. */
void h2_reset(h2_stream *stream, uint32_t code);

/* `size` bytes that on_data delivered are dealt with: the peer may send as many more. */
void h2_consume(h2_stream *stream, size_t size);

/* Gives the handle up; what was not consumed counts as consumed. A stream that is not over is reset: with
 * REFUSED_STREAM inside the on_headers that reported it and before any answer, with NO_ERROR when a server has
 * answered in full, else with CANCEL. */
void h2_stream_release(h2_stream *stream);

void h2_stream_set_user(h2_stream *stream, void *user);
void *h2_stream_user(const h2_stream *stream);
h2_conn *h2_stream_conn(const h2_stream *stream); /* NULL once the connection is freed */
uint32_t h2_stream_id(const h2_stream *stream);
size_t h2_stream_queued(const h2_stream *stream);   /* payload bytes not yet in the output */
size_t h2_stream_buffered(const h2_stream *stream); /* delivered and not consumed */
bool h2_stream_open(const h2_stream *stream);       /* false: over, both sides */

#ifdef __cplusplus
}
#endif
#endif
