/* Spans to a collector over OTLP: batches from a bounded queue, sent by a thread of its own.
 *
 *     workers ── otlp_exporter_add ──► otlp_queue ── otlp_encode ──► send (otlp_rpc.c, lib/rpc)
 *
 * The queue is a state machine without threads, sockets or clocks of its own, and the sending is one function
 * given to it: what a sidecar links for it, and what a test puts in its place. At the queue's maximum new spans
 * are dropped and counted; a collector that is away costs nothing else. */
#ifndef SIDECAR_EXPORT_OTLP_H
#define SIDECAR_EXPORT_OTLP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"
#include "sidecar/telemetry/span.h"
#include "weft/arena.h"
#include "weft/clock.h"

#define OTLP_BATCH_MAX 512u                     /* spans of a request */
#define OTLP_QUEUE_BYTES ((size_t)2 << 20)      /* of spans that wait */
#define OTLP_DELAY WEFT_NS_PER_S                /* a batch that is not full waits this long */
#define OTLP_TIMEOUT (5 * WEFT_NS_PER_S)        /* for an answer */
#define OTLP_BACKOFF_MIN (500 * WEFT_NS_PER_MS) /* after a failure; doubles with each */
#define OTLP_BACKOFF_MAX (30 * WEFT_NS_PER_S)   /* also of what a collector asks for */
#define OTLP_BATCH_AGE (5 * 60 * WEFT_NS_PER_S) /* a batch that was refused so long is given up */
#define OTLP_FLUSH (2 * WEFT_NS_PER_S)          /* for what waits when the exporter ends */

/* ---- encoding ---------------------------------------------------------------------------------- */

/* Who tells: a resource. Texts outlive their use; "" or NULL: not known. */
typedef struct otlp_source {
    const char
        *self_id; /* spiffe://mesh.local/ns/shop/sa/order: service.name order, namespace shop */
    const char *service;  /* service.name when there is no such id */
    const char *instance; /* service.instance.id */
} otlp_source;

/* An empty request about `source` for up to `max` spans, in `arena`; NULL when memory is out. */
OtlpTrace__ExportTraceServiceRequest *otlp_request(weft_arena *arena, const otlp_source *source,
                                                   size_t max) WEFT_MUST_USE;
/* Adds a copy of the span. WEFT_ENOMEM, and the request is as it was. */
int otlp_request_add(weft_arena *arena, OtlpTrace__ExportTraceServiceRequest *request,
                     const span *s) WEFT_MUST_USE;
size_t otlp_request_count(const OtlpTrace__ExportTraceServiceRequest *request);

/* ---- the queue --------------------------------------------------------------------------------- */

/* What came of a request. */
typedef struct otlp_answer {
    int code;         /* gRPC's */
    int64_t rejected; /* spans, of a partial success */
    int64_t retry;    /* ns to wait as the collector asks; 0: it does not say */
} otlp_answer;

typedef struct otlp_stats {
    uint64_t added, sent;
    uint64_t dropped; /* the queue was full, or memory was out */
    uint64_t refused; /* by the collector, or given up after OTLP_BATCH_AGE */
    uint64_t retries; /* requests sent again */
    size_t waiting;   /* in the queue and in the batch that is under way */
} otlp_stats;

typedef struct otlp_queue otlp_queue;

/* `bytes` 0: OTLP_QUEUE_BYTES. `seed` is for the jitter. NULL when memory is out. `source` is kept. */
otlp_queue *otlp_queue_new(const otlp_source *source, size_t bytes, uint64_t seed) WEFT_MUST_USE;
void otlp_queue_free(otlp_queue *queue); /* NULL allowed */
/* False when it was dropped. */
bool otlp_queue_add(otlp_queue *queue, const span *s, int64_t now);
/* When there is something to send: a time (in the past: now), INT64_MAX: nothing is there. With `flush` it does
 * not wait for a batch to fill. Not while a batch is under way. */
int64_t otlp_queue_due(const otlp_queue *queue, bool flush);
/* The batch to send: a new one, or the one that failed before. NULL when nothing waits or memory is out. It
 * stays as it is until _done. */
const OtlpTrace__ExportTraceServiceRequest *otlp_queue_take(otlp_queue *queue, int64_t now);
void otlp_queue_done(otlp_queue *queue, const otlp_answer *answer, int64_t now);
otlp_stats otlp_queue_stats(const otlp_queue *queue);

/* ---- the exporter ------------------------------------------------------------------------------ */

/* Sends one request and waits for the answer, at most `timeout` ns. The exporter's thread. */
typedef void (*otlp_send)(void *user, const OtlpTrace__ExportTraceServiceRequest *request,
                          int64_t timeout, otlp_answer *answer);

typedef struct otlp_exporter otlp_exporter;

typedef struct otlp_config {
    otlp_source source;
    size_t queue_bytes; /* 0: OTLP_QUEUE_BYTES */
    uint64_t seed;
    otlp_send send;
    void (*cancel)(void *user); /* makes a send that is under way return soon; NULL: none */
    void *user;                 /* of both */
} otlp_config;

/* Starts the thread, with all signals blocked. WEFT_ENOMEM, WEFT_EIO. */
int otlp_exporter_start(const otlp_config *config, otlp_exporter **out) WEFT_MUST_USE;
/* Any thread; a copy is made, nothing is waited for but a short lock. False when it was dropped. */
bool otlp_exporter_add(otlp_exporter *exporter, const span *s);
otlp_stats otlp_exporter_stats(otlp_exporter *exporter);
/* Cancels what is under way, sends what waits, once and for OTLP_FLUSH at most, then ends. NULL allowed. */
void otlp_exporter_stop(otlp_exporter *exporter);

/* ---- otlp_rpc.c -------------------------------------------------------------------------------- */

/* A way to a collector over lib/rpc's transport `transport` (NULL: as lib/rpc chooses). NULL when memory is out.
 * `address`: host:port, unix:/path and so on. */
typedef struct otlp_rpc otlp_rpc;
otlp_rpc *otlp_rpc_new(const char *address, const char *transport) WEFT_MUST_USE;
void otlp_rpc_free(otlp_rpc *rpc); /* after the exporter stopped; NULL allowed */
/* Any thread. */
void otlp_rpc_cancel(void *rpc);
/* An otlp_send; `user` is the otlp_rpc. */
void otlp_rpc_send(void *user, const OtlpTrace__ExportTraceServiceRequest *request, int64_t timeout,
                   otlp_answer *answer);

#endif
