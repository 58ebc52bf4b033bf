/* What the files of lib/rpc share. Not installed; nothing outside this room includes it but its tests.
 *
 * Locks, outermost first: ctx (parent before child), group, stream. Transport operations may be called under
 * any of them; events take them on loop threads. */
#ifndef RPC_INTERNAL_H
#define RPC_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "transport.h"
#include "weft/list.h"
#include "weft/mem.h"
#include "weft/rpc.h"
#include "weft/stub.h"

#define RPC_MAX_MESSAGE ((size_t)4 << 20) /* gRPC's default receive limit */
#define RPC_MAX_METADATA ((size_t)16 << 10)
#define RPC_MAX_METADATA_OUT ((size_t)8 << 10)

/* ---- live objects, for tests: all zero when everything was given back */

typedef enum rpc_live {
    RPC_CTXS,
    RPC_CALLS,
    RPC_STREAMS,
    RPC_SERVER_CALLS,
    RPC_LIVE_KINDS
} rpc_live;
void rpc_live_add(rpc_live kind, int by);
long rpc_live_count(rpc_live kind);

/* ---- threads */

/* False on a loop that the calls of this process depend on: waiting there would be for ever. */
bool rpc_may_block(void);

/* Runs `run(user)` soon on a thread of the runtime, never on this one. WEFT_ENOMEM: it will not. */
int rpc_post(void (*run)(void *user), void *user);

/* Starts a thread with all signals blocked. */
int rpc_thread(pthread_t *thread, void *(*run)(void *user), void *user);
/* A condition variable that waits on the monotonic clock, and a wait until `deadline` (false: it passed). */
void rpc_cond_init(pthread_cond_t *cond);
bool rpc_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline);

/* One event, waited for by one thread; may live on its stack. */
typedef struct rpc_event {
    atomic_int state; /* 0 not yet, 1 someone sleeps, 2 happened */
} rpc_event;
void rpc_event_wait(rpc_event *event);
void rpc_event_set(rpc_event *event); /* the event may be gone when this returns */

/* ---- context */

/* Something that ends when its context is cancelled. `cancel` runs under the context's lock. */
typedef struct rpc_hook {
    weft_list link;
    void (*cancel)(struct rpc_hook *hook);
} rpc_hook;

typedef struct rpc_meta {
    struct rpc_meta *next;
    const char *key, *value; /* both end in '\0', not counted */
    size_t key_len, value_len;
} rpc_meta;

typedef struct rpc_metas {
    rpc_meta *first, *last;
    size_t count, bytes;
} rpc_metas;

typedef struct rpc_trace {
    char parent[56]; /* the whole traceparent; "" until asked for */
    uint8_t id[16], span[8];
    uint8_t flags;
    const char *state; /* tracestate, or NULL */
} rpc_trace;

typedef struct rpc_server_call rpc_server_call;

struct weft_ctx {
    pthread_mutex_t lock; /* children, hooks, adopted, the moment of cancellation */
    weft_list children, link, hooks;
    weft_ctx *parent;
    atomic_bool cancelled;
    bool keep; /* embedded in a call: weft_ctx_free is not for it */
    int64_t deadline;
    weft_arena *arena;
    struct rpc_parcel *adopted;
    weft_list groups;
    rpc_metas outgoing;          /* goes with calls made here */
    rpc_metas initial, trailing; /* server: to send; client: what the last call brought */
    tp_headers request;          /* server: the caller's, until the call is freed */
    rpc_metas request_read;      /* of these, what was asked for */
    rpc_trace trace;
    char trace_id[33];
    void *service;
    const weft_method *method;
    const char *peer;
    rpc_server_call *call; /* whose context this is, or NULL */
    size_t max_reply;
    bool wait_for_ready;
};

int rpc_ctx_init(weft_ctx *ctx, int64_t deadline, size_t arena_cap);
/* Frees what it holds. False, and nothing is freed, while calls, streams or children still use it. */
bool rpc_ctx_clear(weft_ctx *ctx);
/* From now on `hook` hears of cancellation. False: cancelled already (or past the deadline). */
bool rpc_ctx_attach(weft_ctx *ctx, rpc_hook *hook);
void rpc_ctx_detach(weft_ctx *ctx, rpc_hook *hook);
/* An arena that a context can take over later, without any more memory: the note of it is in it. */
typedef struct rpc_parcel {
    struct rpc_parcel *next;
    weft_arena *arena;
} rpc_parcel;
rpc_parcel *rpc_parcel_new(size_t cap);           /* NULL: memory is out */
rpc_parcel *rpc_parcel_reset(rpc_parcel *parcel); /* empty, for reuse; another pointer */
void rpc_parcel_free(rpc_parcel *parcel);         /* NULL allowed */
/* The arena dies with the context from now on. Any thread. */
void rpc_ctx_adopt(weft_ctx *ctx, rpc_parcel *parcel);
/* CANCELLED or DEADLINE_EXCEEDED, whichever ended the context. */
weft_status rpc_ctx_why(const weft_ctx *ctx, weft_arena *arena, const char *method);

/* ---- metadata */

/* Headers for a call made with `ctx`, trace included: at most outgoing.count + 2. */
size_t rpc_meta_send(weft_ctx *ctx, tp_header *out);
size_t rpc_meta_list(const rpc_metas *list, tp_header *out);
/* Copies received headers, but for "grpc-" ones. Missing memory loses metadata, no more. */
void rpc_meta_receive(weft_arena *arena, rpc_metas *list, const tp_headers *headers);
bool rpc_meta_find(const tp_headers *headers, const char *key, size_t index, tp_header *out);

/* ---- trace */

void rpc_trace_begin(rpc_trace *trace);
void rpc_trace_child(rpc_trace *trace, const rpc_trace *parent); /* same trace, new span */
/* Continues from a traceparent; false when it is not one (https://www.w3.org/TR/trace-context/). */
bool rpc_trace_continue(rpc_trace *trace, const char *text, size_t len);
const char *rpc_trace_text(rpc_trace *trace);
void rpc_trace_from(weft_ctx *ctx, const tp_headers *headers);
void rpc_trace_log(weft_ctx *ctx); /* NULL: none */

/* ---- status */

#define RPC_DETAILS_KEY "grpc-status-details-bin"
weft_status rpc_status_of_end(weft_arena *arena, const tp_end *end, const weft_method *method,
                              const char *target, size_t max_reply);

/* ---- channel */

struct weft_channel {
    const weft_transport *transport;
    tp_channel *channel; /* NULL: every call fails with `error` */
    char *error;
    char *target; /* as dialled, for sentences */
    size_t max_reply;
};

/* By name, or WEFT_TRANSPORT, or core. NULL with a static sentence in *why. */
const weft_transport *rpc_transport(const char *name, const char **why);

/* ---- client calls */

typedef struct rpc_call {
    weft_channel *channel;
    weft_ctx *ctx;
    const weft_method *method;
    tp_call *call;
    rpc_hook hook;
    size_t max_reply;
    bool hooked, has_message;
    tp_headers headers;
    tp_in message;
    tp_end end;
    void (*done)(struct rpc_call *call); /* on a loop; the call may be gone when it returns */
} rpc_call;

/* Makes a call ready to start. When it fails *st (in `arena`) says why and nothing is left to undo. */
bool rpc_call_open(rpc_call *call, const tp_call_events *events, void *user, weft_arena *arena,
                   weft_status *st);
/* Packs a message for it. */
bool rpc_call_pack(const weft_transport *transport, tp_call *call, const ProtobufCMessage *message,
                   tp_out *out);
/* Starts a unary call prepared by hand (ctx, channel, method, done): `done` follows, unless it returns false
 * with the reason in *st. */
bool rpc_call_start(rpc_call *call, const ProtobufCMessage *request, bool hook, weft_arena *arena,
                    weft_status *st);
/* After done: the outcome, in `arena`; frees what the call holds. `receive`: metadata goes to ctx. */
weft_status rpc_call_finish(rpc_call *call, weft_arena *arena, bool receive,
                            ProtobufCMessage **reply);
void rpc_group_free(weft_group *group);

/* ---- streams */

#define RPC_STREAM_QUEUE 16u
#define RPC_STREAM_QUEUE_BYTES ((size_t)64 << 10)

/* The call is idle, and may be freed, once it ended and neither a recv nor a send is under way. */
struct weft_stream {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    const weft_transport *transport;
    tp_call *call;
    weft_ctx *ctx;
    const weft_method *method;
    const char *target;
    rpc_hook hook;
    bool hooked, server;
    size_t max_message;
    size_t max_arena;                  /* server: of one message */
    void (*idle)(weft_stream *stream); /* server: after the last event; NULL on the client */
    /* reading */
    tp_in ready;
    bool has_ready, receiving, read_end;
    rpc_parcel *parcel; /* holds the message in hand */
    rpc_parcel *notes;  /* see rpc_stream_notes; made when needed; the context's at the end */
    /* writing */
    tp_out queue[RPC_STREAM_QUEUE];
    unsigned queue_at, queue_count;
    size_t queue_bytes;
    bool sending, send_failed, close_wanted, closed;
    /* end */
    bool cancelled, ended, failed;
    bool headers_ready, headers_read;
    tp_headers headers;
    tp_end end;
    weft_status status; /* once `failed`, or built from `end` */
    bool status_ready;
};

void rpc_stream_init(weft_stream *stream, const weft_transport *transport, weft_ctx *ctx,
                     const weft_method *method);
void rpc_stream_clear(weft_stream *stream);
/* Transport events; `user` is the stream. */
void rpc_stream_on_headers(void *user, const tp_headers *headers);
void rpc_stream_on_message(void *user, tp_in *message, bool lost);
void rpc_stream_on_sent(void *user, bool ok);
void rpc_stream_on_end(void *user, const tp_end *end);
/* Asks for the first message. */
void rpc_stream_prefetch(weft_stream *stream);
/* Ends the stream for both threads with this status ("what: why"), which is kept if it is the first. */
void rpc_stream_fail(weft_stream *stream, weft_code code, const char *what, const char *why);
/* Where statuses and metadata of the stream live, as long as its context; under the stream's lock. The
 * context's own arena is for the program's thread, which need not be the one that reads or writes. */
weft_arena *rpc_stream_notes(weft_stream *stream);
/* Waits until everything queued was sent or cannot be any more. */
void rpc_stream_flush(weft_stream *stream);
/* Takes the next raw message; false at the end. The caller releases it. */
bool rpc_stream_take(weft_stream *stream, tp_in *message);
ProtobufCMessage *rpc_stream_unpack(weft_stream *stream, tp_in *message, weft_arena *arena);

/* Hands the initial metadata to the transport, the first time. */
void rpc_server_headers(rpc_server_call *call);

/* ---- addresses of servers */

/* Checks and prepares an address for listening. Sentences go to `why` (freed with weft_free). */
int rpc_listen_check(const char *text, bool unsafe, weft_addr *out, char **why);

#endif
