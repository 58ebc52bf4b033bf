/* Metrics of one worker: counters from one table, and series by call. No locks, no atomics: a worker
 * writes its own, and whoever exports asks each worker to telemetry_merge into a total.
 *
 * Series are bounded: at most `max_series`, then calls are counted in one series whose labels are
 * all "other"; series nobody touched for `idle` are dropped (telemetry_sweep). */
#ifndef SIDECAR_TELEMETRY_METRICS_H
#define SIDECAR_TELEMETRY_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sidecar/telemetry/histogram.h"
#include "weft/error.h"

/* ---- counters: X(ID, name, labels, kind, help). One table, so that adding one is one line. Names
 * that stand together share a family. Gauges may go down. */
#define TELEMETRY_COUNTERS(X)                                                                      \
    X(CONNECTIONS_IN, "weft_connections_total", "direction=\"inbound\"", COUNTER,                  \
      "Connections accepted or opened.")                                                           \
    X(CONNECTIONS_OUT, "weft_connections_total", "direction=\"outbound\"", COUNTER, "")            \
    X(CONNECTIONS_OPEN_IN, "weft_connections_open", "direction=\"inbound\"", GAUGE,                \
      "Connections open now.")                                                                     \
    X(CONNECTIONS_OPEN_OUT, "weft_connections_open", "direction=\"outbound\"", GAUGE, "")          \
    X(CONNECT_FAILURES, "weft_connect_failures_total", "", COUNTER,                                \
      "Dials that did not end in SETTINGS.")                                                       \
    X(HANDSHAKES_IN, "weft_tls_handshakes_total", "direction=\"inbound\",outcome=\"ok\"", COUNTER, \
      "TLS handshakes by outcome.")                                                                \
    X(HANDSHAKES_OUT, "weft_tls_handshakes_total", "direction=\"outbound\",outcome=\"ok\"",        \
      COUNTER, "")                                                                                 \
    X(HANDSHAKES_IN_FAILED, "weft_tls_handshakes_total",                                           \
      "direction=\"inbound\",outcome=\"failed\"", COUNTER, "")                                     \
    X(HANDSHAKES_OUT_FAILED, "weft_tls_handshakes_total",                                          \
      "direction=\"outbound\",outcome=\"failed\"", COUNTER, "")                                    \
    X(ACTIVE_IN, "weft_requests_active", "direction=\"inbound\"", GAUGE, "Calls in flight.")       \
    X(ACTIVE_OUT, "weft_requests_active", "direction=\"outbound\"", GAUGE, "")                     \
    X(ATTEMPTS, "weft_attempts_total", "", COUNTER, "Attempts, first ones included.")              \
    X(RETRIES, "weft_retries_total", "cause=\"policy\"", COUNTER, "Attempts after the first.")     \
    X(RETRIES_TRANSPARENT, "weft_retries_total", "cause=\"transparent\"", COUNTER, "")             \
    X(RETRIES_REFUSED, "weft_retries_refused_total", "", COUNTER, "Retries the budget refused.")   \
    X(RETRIES_OVER_REPLAY, "weft_retries_over_replay_total", "", COUNTER,                          \
      "Calls committed because their request outgrew the replay buffer.")                          \
    X(NO_ROUTE, "weft_no_route_total", "", COUNTER, "Calls that no route matched.")                \
    X(NO_ENDPOINT, "weft_no_endpoint_total", "", COUNTER, "Calls to clusters without endpoints.")  \
    X(OVERFLOW_CONNECTIONS, "weft_overflow_total", "what=\"connections\"", COUNTER,                \
      "Refused by a bulkhead.")                                                                    \
    X(OVERFLOW_PENDING, "weft_overflow_total", "what=\"pending\"", COUNTER, "")                    \
    X(OVERFLOW_REQUESTS, "weft_overflow_total", "what=\"requests\"", COUNTER, "")                  \
    X(DEADLINES, "weft_deadlines_total", "", COUNTER, "Calls ended by their deadline.")            \
    X(BYTES_IN, "weft_bytes_total", "direction=\"in\"", COUNTER, "Bytes of DATA by direction.")    \
    X(BYTES_OUT, "weft_bytes_total", "direction=\"out\"", COUNTER, "")                             \
    X(H2_STREAMS_IN, "weft_h2_streams", "direction=\"inbound\"", GAUGE, "Streams open now.")       \
    X(H2_STREAMS_OUT, "weft_h2_streams", "direction=\"outbound\"", GAUGE, "")                      \
    X(H2_BUFFERED_IN, "weft_h2_buffered_bytes", "direction=\"inbound\"", GAUGE,                    \
      "Bytes received that wait for the other side to take them.")                                 \
    X(H2_BUFFERED_OUT, "weft_h2_buffered_bytes", "direction=\"outbound\"", GAUGE, "")              \
    X(H2_QUEUED_IN, "weft_h2_queued_bytes", "direction=\"inbound\"", GAUGE,                        \
      "Bytes that wait to be sent.")                                                               \
    X(H2_QUEUED_OUT, "weft_h2_queued_bytes", "direction=\"outbound\"", GAUGE, "")                  \
    X(H2_SEND_WINDOW_IN, "weft_h2_send_window_bytes", "direction=\"inbound\"", GAUGE,              \
      "What connections allow us to send now.")                                                    \
    X(H2_SEND_WINDOW_OUT, "weft_h2_send_window_bytes", "direction=\"outbound\"", GAUGE, "")        \
    X(H2_RECEIVE_WINDOW_IN, "weft_h2_receive_window_bytes", "direction=\"inbound\"", GAUGE,        \
      "What connections allow peers to send now.")                                                 \
    X(H2_RECEIVE_WINDOW_OUT, "weft_h2_receive_window_bytes", "direction=\"outbound\"", GAUGE, "")  \
    X(H2_HANDLES, "weft_h2_stream_handles", "", GAUGE, "Streams not yet given back.")              \
    X(CHUNKS, "weft_chunks", "", GAUGE, "Chunks of 16 KiB in use.")                                \
    X(CHUNK_PIECES, "weft_chunk_pieces", "", GAUGE,                                                \
      "Pieces of chunks that wait somewhere; without them, chunks are for reading into.")          \
    X(H2_LIMIT_HEADER_LIST, "weft_h2_limits_total", "limit=\"header_list\"", COUNTER,              \
      "Peers that reached a limit of HTTP/2.")                                                     \
    X(H2_LIMIT_HEADER_FIELDS, "weft_h2_limits_total", "limit=\"header_fields\"", COUNTER, "")      \
    X(H2_LIMIT_HEADER_BLOCK, "weft_h2_limits_total", "limit=\"header_block\"", COUNTER, "")        \
    X(H2_LIMIT_CONTINUATION, "weft_h2_limits_total", "limit=\"continuation\"", COUNTER, "")        \
    X(H2_LIMIT_HPACK_BOMB, "weft_h2_limits_total", "limit=\"hpack_bomb\"", COUNTER, "")            \
    X(H2_LIMIT_STREAM_QUEUE, "weft_h2_limits_total", "limit=\"stream_queue\"", COUNTER, "")        \
    X(H2_LIMIT_OUTPUT, "weft_h2_limits_total", "limit=\"output\"", COUNTER, "")                    \
    X(H2_LIMIT_SETTINGS, "weft_h2_limits_total", "limit=\"settings\"", COUNTER, "")                \
    X(H2_LIMIT_PING, "weft_h2_limits_total", "limit=\"ping\"", COUNTER, "")                        \
    X(H2_LIMIT_PRIORITY, "weft_h2_limits_total", "limit=\"priority\"", COUNTER, "")                \
    X(H2_LIMIT_WINDOW_UPDATE, "weft_h2_limits_total", "limit=\"window_update\"", COUNTER, "")      \
    X(H2_LIMIT_EMPTY_DATA, "weft_h2_limits_total", "limit=\"empty_data\"", COUNTER, "")            \
    X(H2_LIMIT_UNKNOWN, "weft_h2_limits_total", "limit=\"unknown\"", COUNTER, "")                  \
    X(H2_LIMIT_RESET, "weft_h2_limits_total", "limit=\"reset\"", COUNTER, "")                      \
    X(H2_LIMIT_MADE_RESET, "weft_h2_limits_total", "limit=\"made_reset\"", COUNTER, "")            \
    X(H2_TIMEOUT_SETTINGS, "weft_h2_timeouts_total", "what=\"settings\"", COUNTER,                 \
      "Connections ended because something took too long.")                                        \
    X(H2_TIMEOUT_HEADER, "weft_h2_timeouts_total", "what=\"header\"", COUNTER, "")                 \
    X(H2_TIMEOUT_PING, "weft_h2_timeouts_total", "what=\"ping\"", COUNTER, "")                     \
    X(H2_TIMEOUT_IDLE, "weft_h2_timeouts_total", "what=\"idle\"", COUNTER, "")                     \
    X(H2_REFUSED, "weft_h2_refused_streams_total", "", COUNTER,                                    \
      "Streams refused above max_concurrent_streams.")                                             \
    X(H2_CONN_ERRORS, "weft_h2_connection_errors_total", "", COUNTER,                              \
      "Connections ended because of a mistake of the peer's.")                                     \
    X(H2_STREAM_ERRORS, "weft_h2_stream_errors_total", "", COUNTER,                                \
      "Streams reset because of a mistake of the peer's.")                                         \
    X(REFUSED_PEERS, "weft_connections_refused_total", "", COUNTER,                                \
      "Connections refused on arrival: too many, or of another user.")                             \
    X(SPANS, "weft_spans_total", "", COUNTER, "Spans recorded.")                                   \
    X(SPANS_DROPPED, "weft_spans_dropped_total", "", COUNTER, "Spans lost: the buffer was full.")  \
    X(SERIES, "weft_metric_series", "", GAUGE, "Series held.")                                     \
    X(SERIES_REFUSED, "weft_metric_series_refused_total", "", COUNTER,                             \
      "Calls counted as \"other\": there were too many series.")                                   \
    X(CONFIG_SWAPS, "weft_config_swaps_total", "", COUNTER, "Snapshots taken into use.")

typedef enum telemetry_counter {
#define X(id, name, labels, kind, help) TELEMETRY_##id,
    TELEMETRY_COUNTERS(X)
#undef X
        TELEMETRY_COUNTER_COUNT
} telemetry_counter;

typedef enum telemetry_kind { TELEMETRY_COUNTER, TELEMETRY_GAUGE } telemetry_kind;

typedef struct telemetry_info {
    const char *name;
    const char *labels;
    telemetry_kind kind;
    const char *help; /* "" where an earlier row of the family has it */
} telemetry_info;
extern const telemetry_info telemetry_table[TELEMETRY_COUNTER_COUNT];

/* ---- series */

typedef enum telemetry_direction { TELEMETRY_IN, TELEMETRY_OUT } telemetry_direction;

/* Which series a call counts in. Texts are copied when a series is made; "" is allowed; each is cut
 * at TELEMETRY_LABEL bytes. */
typedef struct telemetry_key {
    telemetry_direction direction;
    uint32_t grpc_status; /* 0 … 16 */
    const char *service;  /* "shop.product.v1.ProductService" */
    size_t service_len;
    const char *method;
    size_t method_len;
    const char *peer; /* "product.shop", or a SPIFFE ID's service */
    size_t peer_len;
    const char *route;
    size_t route_len;
} telemetry_key;

#define TELEMETRY_LABEL 256u

typedef struct telemetry_series {
    telemetry_key key;  /* texts are the series' own */
    histogram duration; /* its count is the number of calls */
    int64_t touched;    /* monotonic ns */
    uint64_t hash;      /* private, as below */
    struct telemetry_series *next;
} telemetry_series;

typedef struct telemetry telemetry;

#define TELEMETRY_SERIES_DEFAULT 2000u
#define TELEMETRY_IDLE_DEFAULT INT64_C(600000000000) /* 10 min */

/* One a worker; 0 picks the defaults. NULL when memory is out. */
telemetry *telemetry_new(size_t max_series, int64_t idle) WEFT_MUST_USE;
void telemetry_free(telemetry *t);

/* Direct access: telemetry_at(t)[TELEMETRY_RETRIES]++. */
uint64_t *telemetry_at(telemetry *t);

/* Where a series was found last, so that the next call needs no search. Zeroed: nowhere. */
typedef struct telemetry_handle {
    telemetry_series *series;
    uint64_t epoch;
} telemetry_handle;

/* A call ended. Never fails: without room or memory it counts as "other". Returns where it counted
 * (zeroed: as "other"), for telemetry_call_again. */
telemetry_handle telemetry_call(telemetry *t, const telemetry_key *key, int64_t duration,
                                int64_t now);

/* As telemetry_call with the key of the call that gave the handle. False, and nothing is counted: the
 * handle is zeroed, its series has gone, or is one of another status. */
bool telemetry_call_again(telemetry *t, const telemetry_handle *handle, uint32_t grpc_status,
                          int64_t duration, int64_t now);

/* Drops series that were idle; call it every minute or so. Returns how many went. The counts of
 * dropped series are gone: Prometheus sees a reset, as after a restart. */
size_t telemetry_sweep(telemetry *t, int64_t now);

/* Adds what `from` has to `to`. WEFT_ENOMEM: some series are missing. */
int telemetry_merge(telemetry *to, const telemetry *from) WEFT_MUST_USE;

/* Series in order of creation, "other" last. NULL ends. */
const telemetry_series *telemetry_first(const telemetry *t);
const telemetry_series *telemetry_next(const telemetry *t, const telemetry_series *series);
size_t telemetry_series_count(const telemetry *t);
uint64_t telemetry_get(const telemetry *t, telemetry_counter counter);

#endif
