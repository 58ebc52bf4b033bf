/* Spans, and the bounded buffer they wait in for an exporter. One a worker, no locks.
 *
 * Memory: nothing while idle. Spans are packed into pages of 16 KiB that go back once exported; at
 * `max_bytes` new ones are dropped and counted. */
#ifndef SIDECAR_TELEMETRY_SPAN_H
#define SIDECAR_TELEMETRY_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/error.h"

typedef enum span_kind { SPAN_SERVER = 2, SPAN_CLIENT = 3 } span_kind; /* OTLP's numbers */

/* Texts of a span, packed. X(ID, name as exported). OpenTelemetry's RPC semantic conventions where
 * they have a name. */
#define SPAN_TEXTS(X)                   \
    X(NAME, "name")                     \
    X(SERVICE, "rpc.service")           \
    X(METHOD, "rpc.method")             \
    X(PEER, "weft.peer.id")             \
    X(SELF, "weft.self.id")             \
    X(CLUSTER, "weft.cluster")          \
    X(ROUTE, "weft.route")              \
    X(ENDPOINT, "network.peer.address") \
    X(ERROR, "error.type")              \
    X(TRACESTATE, "tracestate")

typedef enum span_text {
#define X(id, name) SPAN_##id,
    SPAN_TEXTS(X)
#undef X
        SPAN_TEXT_COUNT
} span_text;
extern const char *const span_text_names[SPAN_TEXT_COUNT];

#define SPAN_TEXT_MAX 512u /* bytes of each; longer ones are cut */

typedef struct span {
    uint8_t trace_id[16];
    uint8_t id[8];
    uint8_t parent[8]; /* all zero: none */
    int64_t start;     /* wall ns */
    int64_t duration;  /* ns */
    uint8_t kind;      /* span_kind */
    uint8_t grpc_status;
    bool attempt;            /* of a call: number `attempt_number` */
    bool sampled;            /* by the caller or by us, not just kept for its error or slowness */
    uint16_t attempt_number; /* 1 … */
    uint64_t bytes_in, bytes_out;
    struct {
        const char *text; /* NULL or not NUL-terminated */
        uint16_t len;
    } texts[SPAN_TEXT_COUNT];
} span;

static inline void span_set(span *s, span_text which, const char *text, size_t len) {
    s->texts[which].text = text;
    s->texts[which].len = (uint16_t)(len < SPAN_TEXT_MAX ? len : SPAN_TEXT_MAX);
}

/* Whether a new trace is sampled at a ratio 0 … 1: the same answer for one trace id everywhere, from
 * its last 8 bytes (OpenTelemetry's TraceIdRatioBased). */
bool span_sample(const uint8_t trace_id[16], double ratio);

/* Whether a finished span goes out: it was sampled, failed, or was slow (`slow` ns; 0: never). */
static inline bool span_keep(const span *s, int64_t slow) {
    return s->sampled || s->grpc_status != 0 || (slow > 0 && s->duration >= slow);
}

typedef struct span_buffer span_buffer;

#define SPAN_BUFFER_DEFAULT ((size_t)4 << 20)

/* At most `max_bytes` (0: the default, 4 MiB; at least one page). NULL when memory is out. */
span_buffer *span_buffer_new(size_t max_bytes) WEFT_MUST_USE;
void span_buffer_free(span_buffer *buffer);

/* Copies the span and its texts. False when it was dropped. */
bool span_buffer_add(span_buffer *buffer, const span *s);

/* Gives the oldest spans, at most `max` (0: all), to `take`, whose texts live for the call, and
 * forgets them. A false return of `take` keeps that span and stops. Returns how many went. */
size_t span_buffer_drain(span_buffer *buffer, size_t max, bool (*take)(void *user, const span *s),
                         void *user);

typedef struct span_stats {
    size_t waiting;
    size_t bytes; /* of pages held */
    uint64_t added, dropped;
} span_stats;
span_stats span_buffer_stats(const span_buffer *buffer);

#endif
