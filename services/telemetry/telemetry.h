/* weft-telemetry: takes spans and log records as OTLP over gRPC, keeps them in sqlite for a time
 * and up to a size, and answers questions about them (weft/telemetry/v1).
 *
 *     receive.c ── accept.c (what came, checked and cut) ── store.c ── trim.c (age and size)
 *     query.c ──── find.c logs.c edges.c tree.c
 *
 * What was answered with OK is on disk. Everything may be called from any thread; times are wall
 * ns, and the clock is the one given to tel_store_open. Errors are negative WEFT_E…. */
#ifndef SERVICES_TELEMETRY_H
#define SERVICES_TELEMETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "opentelemetry/proto/collector/logs/v1/logs_service.pb-c.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"
#include "weft/arena.h"
#include "weft/buf.h"
#include "weft/clock.h"
#include "weft/store.h"

/* ---- limits ---------------------------------------------------------------------------------
 * What is over a limit of a request or a trace is rejected and told in partial_success; what is
 * over one of a span or a record is cut or left out, and counted in it as dropped. */
#define TEL_SPANS_PER_REQUEST 10000u
#define TEL_LOGS_PER_REQUEST 10000u
#define TEL_SPANS_PER_TRACE 10000u
#define TEL_ATTRIBUTES 128u     /* of a span, an event, a record or a resource */
#define TEL_KEY_BYTES 256u      /* a longer key: the attribute is left out */
#define TEL_VALUE_BYTES 4096u   /* of a string or bytes in an attribute */
#define TEL_VALUE_DEPTH 8u      /* lists in each other; deeper ones are left out */
#define TEL_VALUE_ITEMS 128u    /* of a list */
#define TEL_EVENTS 128u         /* of a span */
#define TEL_NAME_BYTES 512u     /* names of spans, services, methods, events */
#define TEL_BODY_BYTES 32768u   /* of a log record */
#define TEL_DETAIL_BYTES 65536u /* of attributes and events of one span; over it none are kept */
#define TEL_EDGES_PER_MINUTE 2000u

#define TEL_RETENTION_DEFAULT (INT64_C(72) * 3600 * WEFT_NS_PER_S)
#define TEL_MAX_BYTES_DEFAULT ((uint64_t)1 << 30)
#define TEL_MAX_BYTES_MIN ((uint64_t)1 << 20)

/* ---- records --------------------------------------------------------------------------------
 * As they are stored. Texts are NUL-terminated and live in the arena they were made in. */
typedef struct tel_span {
    uint8_t trace[16], id[8], parent[8];
    bool has_parent, error, sidecar;
    uint8_t kind;                                /* OTLP's */
    int8_t grpc;                                 /* status code; -1: none told */
    int64_t start;                               /* wall ns, not negative */
    int64_t end;                                 /* at least start */
    const char *service, *name, *peer, *message; /* "" when there is none; never NULL */
    const char *callee;    /* of a sidecar's whole outbound call: whom it was for; else "" */
    const uint8_t *detail; /* a packed weft.telemetry.v1.SpanDetail */
    size_t detail_len;
} tel_span;

typedef struct tel_log {
    int64_t time;
    bool has_trace, has_span;
    uint8_t trace[16], span[8];
    uint8_t severity; /* 0 to 24 */
    uint8_t key[16];  /* hash of all of it: the same record sent again has the same */
    const char *service, *level, *body;
    const uint8_t *detail; /* a packed SpanDetail */
    size_t detail_len;
} tel_log;

/* What a request came to. */
typedef struct tel_batch {
    tel_span *spans;
    tel_log *logs;
    size_t count;
    uint64_t rejected;
    const char *why; /* of the first that was rejected; NULL: none was */
} tel_batch;

/* ---- accept.c: no I/O -------------------------------------------------------------------------
 * Checks and cuts. WEFT_ENOMEM when the arena is full; then the batch is not to be used. `now` is
 * for records without a time. */
int tel_accept_spans(const OtlpTrace__ExportTraceServiceRequest *request, weft_arena *arena,
                     tel_batch *out) WEFT_MUST_USE;
int tel_accept_logs(const OtlpLogs__ExportLogsServiceRequest *request, int64_t now,
                    weft_arena *arena, tel_batch *out) WEFT_MUST_USE;
/* A value as text: strings as they are, the rest as JSON. */
void tel_any_text(const Otlp__AnyValue *value, weft_buf *out);

/* ---- tree.c: no I/O -------------------------------------------------------------------------- */

/* One span of a trace, in and out. */
typedef struct tel_node {
    uint8_t id[8], parent[8];
    bool has_parent, server;
    int64_t start, end;
    const char *service;
    /* Set by tel_tree. */
    uint32_t depth;
    bool missing;  /* its parent is not among them, or is below itself */
    bool inferred; /* missing, and placed below the nearest call that its service was answering */
} tel_node;

/* order[0 … count) becomes the indices with parents before children, children by start, then id.
 * Every node is in it once, whatever the parents say. */
int tel_tree(tel_node *nodes, size_t count, uint32_t *order) WEFT_MUST_USE;

/* ---- histogram.c: no I/O ----------------------------------------------------------------------
 * Durations in buckets a quarter of an octave wide, from 1 µs to about 17 minutes. */
#define TEL_BUCKETS 124u
typedef struct tel_histogram {
    uint32_t counts[TEL_BUCKETS];
} tel_histogram;
void tel_histogram_add(tel_histogram *h, int64_t ns);
void tel_histogram_merge(tel_histogram *to, const tel_histogram *from); /* saturating */
/* The upper end of the bucket that holds the quantile `q`, 0 to 1; 0 when empty. */
int64_t tel_histogram_quantile(const tel_histogram *h, double q);
/* As bytes of a blob: the filled buckets only. Reading one that is damaged reads as far as it is whole. */
void tel_histogram_write(const tel_histogram *h, weft_buf *out);
void tel_histogram_read(tel_histogram *h, const void *data, size_t len);

/* ---- store ------------------------------------------------------------------------------------ */

typedef struct tel_store tel_store;

typedef struct tel_store_options {
    int64_t retention_ns;    /* since arrival; 0: the default */
    uint64_t max_bytes;      /* of the database; 0: the default */
    const weft_clock *clock; /* NULL: the system's */
} tel_store_options;

typedef struct tel_stats {
    uint64_t traces, spans, logs, bytes, max_bytes;
    int64_t oldest; /* arrival of the oldest trace or record; 0: nothing there */
    uint64_t spans_rejected, logs_rejected, repeated;
    uint64_t traces_expired, logs_expired; /* by age or size */
} tel_stats;

/* Opens or makes DIR/telemetry.db; the folder must be there. *why as weft_db_open. */
int tel_store_open(const char *dir, const tel_store_options *options, tel_store **out,
                   char **why) WEFT_MUST_USE;
void tel_store_close(tel_store *store); /* NULL allowed */
weft_db *tel_store_db(tel_store *store);
int64_t tel_store_now(const tel_store *store);

/* One transaction; 0 once it is on disk. What is there already counts as repeated, and is neither
 * stored nor counted again. Spans over TEL_SPANS_PER_TRACE are added to batch->rejected. */
int tel_store_add_spans(tel_store *store, tel_batch *batch) WEFT_MUST_USE;
int tel_store_add_logs(tel_store *store, tel_batch *batch) WEFT_MUST_USE;

/* trim.c. Takes away what is too old, then, while the database is over its size, what came first;
 * about `rows` rows, in one transaction. Returns 1 when there is more to do, 0 when not. */
#define TEL_TRIM_ROWS 2000
int tel_store_trim(tel_store *store, int64_t rows) WEFT_MUST_USE;

/* edges.c. Counts the server spans whose parents had not come when they did, and were waited for
 * long enough (TEL_SETTLE); at most `rows`. 1 when there are more, 0 when not. */
#define TEL_SETTLE (10 * WEFT_NS_PER_S)
int tel_store_settle(tel_store *store, int64_t rows) WEFT_MUST_USE;

/* Counters of the process; `stats` is filled from them and the database. */
int tel_store_stats(tel_store *store, tel_stats *stats) WEFT_MUST_USE;

/* Waits until a log record arrived after `seen` (what the last call set *seen to), at most `ns`. */
void tel_store_wait_logs(tel_store *store, uint64_t *seen, int64_t ns);
/* Wakes all that wait, for good. */
void tel_store_stop(tel_store *store);

#endif
