/* A call: one stream of a client, and the attempts made to serve it, one at a time.
 *
 *                    attempt_start          response headers
 *   NEW ──stack──► WAITING ──ready──► SENT ──────────────► FORWARDING ──end──► ANSWERED
 *                     ▲                │  └─► HELD ──commit───┘   ▲                │
 *                     └── BACKOFF ◄────┴───────┘ retry            └── local reply ─┘
 *
 * HELD is contracts.md's commit rule: response headers wait at most the peek window for trailers that
 * ask for a retry. Windows are tied end to end: bytes of the client are consumed when they went into
 * the upstream's output, and the other way round.
 *
 * Request bytes are kept until the response is committed, at most retry->replay_bytes of them once
 * they were sent; before that (no connection yet) the client's window bounds them. One worker's. */
#ifndef SIDECAR_CALL_H
#define SIDECAR_CALL_H

#include "sidecar/config/config.h"
#include "sidecar/plan.h"
#include "sidecar/route/route.h"
#include "sidecar/upstream/upstream.h"
#include "sidecar/worker.h"
#include "weft/http_grpc.h"

typedef enum call_state {
    CALL_NEW,
    CALL_WAITING,
    CALL_SENT,
    CALL_HELD,
    CALL_BACKOFF,
    CALL_FORWARDING,
    CALL_ANSWERED /* our END_STREAM is queued or out */
} call_state;

/* A small request lies in the call; what is longer lies in chunks, by reference. */
#define CALL_SMALL 512u
/* Retries of what was not processed. */
#define CALL_TRANSPARENT_MAX 4u
#define CALL_TEXT 640

/* The header by which an inbound sidecar says that the app did not see the call, so that the
 * caller's sidecar may try another instance. Value: why. */
#define CALL_UNPROCESSED "x-weft-unprocessed"

/* What a new call has set is in call_begin; the rest is written before it is read. */
typedef struct call {
    struct call *next_free;
    worker *worker;
    down *down;
    h2_stream *stream; /* the client's */
    config_view *view; /* a reference */
    /* From here to `request` all is zero when a call begins. */
    call_state state;
    bool inbound;
    bool grpc;
    bool request_ended;
    bool replayable;    /* all request bytes so far are kept */
    bool admitted;      /* holds one of the cluster's requests */
    bool retry_held;    /* holds one of the cluster's retries */
    bool trace_new;     /* the trace began here */
    bool timeout_given; /* the deadline is the caller's grpc-timeout, no less */
    bool stepping;      /* step_timer is armed */
    uint8_t tried_count;
    uint8_t transparent; /* retries of either kind so far */
    uint16_t retries;
    uint32_t small_len;
    plan *plan; /* what it follows; see call_plan */
    const config_route *route;
    const config_cluster *cluster; /* NULL until routed */
    uint64_t attempt_sent;         /* request bytes that went into the current attempt's output */
    uint64_t consumed;             /* request bytes the client got credit for */
    uint64_t bytes_in, bytes_out;
    http_fields request;
    http_fields held; /* response headers, in CALL_HELD */
    /* routing */
    uint64_t plan_serial;
    http_grpc_path path;
    upstream_cluster *upstream;
    const config_retry *retry;
    /* attempts */
    attempt attempt;
    const cluster_endpoint *tried[UPSTREAM_TRIED_MAX]; /* compared, never followed */
    weft_chain rest;                                   /* request bytes after `small` */
    /* time */
    int64_t started;
    int64_t deadline;        /* INT64_MAX: none */
    uint32_t deadline_place; /* in the worker's table, or DEADLINE_NONE */
    int64_t attempt_started;
    weft_timer step_timer; /* per try, peek window or backoff, by state */
    /* telemetry */
    int grpc_status;
    http_trace trace; /* span_id is this call's span */
    uint8_t parent[8];
    uint8_t attempt_span[8];
    uint8_t small[CALL_SMALL];
} call;

/* The plan it follows, or NULL: there is none, or its slot has another by now. */
static inline plan *call_plan(const call *c) {
    return c->plan && c->plan->serial == c->plan_serial ? c->plan : NULL;
}

/* ---- call.c: its life, and what the client does */

extern const h2_callbacks call_down_callbacks;

/* Ends it: attempt, streams, counts, span. */
void call_close(call *c);
void call_free_all(worker *w);

static inline void call_stop_timer(call *c) {
    if (c->stepping) weft_timer_cancel(&c->step_timer);
    c->stepping = false;
}

/* ---- call_forward.c: attempts */

void call_forward(call *c);
/* Request bytes came. */
void call_push(call *c, const weft_slice *data, bool end);
/* The client took `size` bytes of response. */
void call_response_sent(call *c, size_t size);
void call_deadline(void *call, int64_t now);
void call_step(weft_timer *timer, int64_t now);

/* ---- call_answer.c: replies of our own, telemetry */

/* A well-formed gRPC answer: trailers-only, or trailers if the response has begun. The call may be
 * gone afterwards. */
WEFT_PRINTF(4, 5)
void call_answer(call *c, int code, bool unprocessed, const char *format, ...);
/* Our side has ended: closes as soon as all is sent. */
void call_answered(call *c);
void call_record(call *c);
void call_record_attempt(call *c, int code, const char *error);

#endif
