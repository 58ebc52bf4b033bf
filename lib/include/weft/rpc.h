/* gRPC for C: contexts, channels, servers, streams, groups. The typed functions that use them are made from
 * contracts by protoc-gen-weft. See docs/guides/first-service.md. */
#ifndef WEFT_RPC_H
#define WEFT_RPC_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/arena.h"
#include "weft/clock.h"
#include "weft/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_ctx weft_ctx;
typedef struct weft_channel weft_channel;
typedef struct weft_server weft_server;
typedef struct weft_stream weft_stream;
typedef struct weft_group weft_group;
typedef struct weft_deferred weft_deferred;
typedef struct weft_method weft_method;

/* Durations are nanoseconds in int64_t. */
#define WEFT_TIMEOUT_US(n) ((int64_t)(n)*WEFT_NS_PER_US)
#define WEFT_TIMEOUT_MS(n) ((int64_t)(n)*WEFT_NS_PER_MS)
#define WEFT_TIMEOUT_S(n) ((int64_t)(n)*WEFT_NS_PER_S)
#define WEFT_NO_TIMEOUT INT64_MAX

/* ---- context ------------------------------------------------------------------------------------ *
 * A context is one call's deadline, metadata, cancellation, trace, peer and arena; replies received through
 * it live in it. Free it once, after every call made with it ended. A handler gets its call's context and
 * must not free it; what it passes on to other calls (deadline, cancellation, trace) propagates by itself.
 * One thread uses a context at a time, except weft_ctx_cancel, which any thread may call. */

/* NULL only when memory is out. */
weft_ctx *weft_ctx_new(int64_t timeout_ns);
/* The earlier of both deadlines; cancelled with its parent; own arena; inherits trace and service. Free it
 * before its parent. */
weft_ctx *weft_ctx_child(weft_ctx *parent, int64_t timeout_ns);
void weft_ctx_free(weft_ctx *ctx);

int64_t weft_ctx_deadline(const weft_ctx *ctx);  /* monotonic ns, or WEFT_NO_DEADLINE */
int64_t weft_ctx_remaining(const weft_ctx *ctx); /* ns until then, at least 0, or WEFT_NO_TIMEOUT */
void weft_ctx_cancel(weft_ctx *ctx);
bool weft_ctx_cancelled(const weft_ctx *ctx); /* by us, a parent, the peer, or past the deadline */
/* OK while it lives, then CANCELLED or DEADLINE_EXCEEDED: what a handler returns that gives up. */
weft_status weft_ctx_status(weft_ctx *ctx);

/* Memory that dies with the context. NULL when the arena's cap is reached. */
weft_arena *weft_ctx_arena(weft_ctx *ctx);
void *weft_alloc(weft_ctx *ctx, size_t size);
char *weft_strdup(weft_ctx *ctx, const char *text);
char *weft_strndup(weft_ctx *ctx, const char *text, size_t max);
char *weft_printf(weft_ctx *ctx, const char *format, ...) WEFT_PRINTF(2, 3);
void *weft_memdup(weft_ctx *ctx, const void *data, size_t size);
/* `count` pointers for a repeated field, NULL-filled. */
void *weft_array(weft_ctx *ctx, size_t count, size_t element_size);
/* A message with its defaults: (Product__Product *)weft_new(ctx, &product__product__descriptor). Generated
 * headers have a typed form, product_product_new(ctx). */
ProtobufCMessage *weft_new(weft_ctx *ctx, const ProtobufCMessageDescriptor *type);

/* Metadata. Keys are lower-case ASCII ([0-9a-z_.-]); a key ending in "-bin" takes any bytes, others
 * printable ASCII. `grpc-` and ":" keys are reserved. The add functions return WEFT_EINVAL for a bad key or
 * value, WEFT_ELIMIT over 8 KiB in all. The values read live as long as the context. */
int weft_ctx_add_metadata(weft_ctx *ctx, const char *key, const void *value,
                          size_t len); /* to send */
int weft_ctx_add_initial(weft_ctx *ctx, const char *key, const void *value,
                         size_t len); /* server */
int weft_ctx_add_trailing(weft_ctx *ctx, const char *key, const void *value,
                          size_t len); /* server */
/* The `index`-th value of `key`; NULL when there is none. `len` may be NULL. Values end in a NUL byte. */
const char *weft_ctx_metadata(const weft_ctx *ctx, const char *key, size_t index, size_t *len);
const char *weft_ctx_initial(const weft_ctx *ctx, const char *key, size_t index, size_t *len);
const char *weft_ctx_trailing(const weft_ctx *ctx, const char *key, size_t index, size_t *len);
/* All of it, in the order it came: the key of the `index`-th entry, its value in *value and *len; NULL past
 * the end, and the outputs are untouched. `grpc-` keys are not among them. */
const char *weft_ctx_metadata_at(const weft_ctx *ctx, size_t index, const char **value,
                                 size_t *len);
const char *weft_ctx_initial_at(const weft_ctx *ctx, size_t index, const char **value, size_t *len);
const char *weft_ctx_trailing_at(const weft_ctx *ctx, size_t index, const char **value,
                                 size_t *len);

/* W3C trace context. Every context has one: continued from the caller or begun here. */
const char *weft_ctx_traceparent(const weft_ctx *ctx); /* "00-<32 hex>-<16 hex>-01" */
const char *weft_ctx_trace_id(const weft_ctx *ctx);

/* In a handler. */
void *weft_ctx_service(const weft_ctx *ctx); /* what was given to <service>_add */
const weft_method *weft_ctx_method(const weft_ctx *ctx);
const char *weft_ctx_peer(const weft_ctx *ctx); /* "ipv4:127.0.0.1:5000", "unix:…" or "" */
const char *weft_ctx_peer_identity(const weft_ctx *ctx); /* SPIFFE ID, or NULL */

/* Options of the next calls made with this context. */
void weft_ctx_wait_for_ready(weft_ctx *ctx, bool on); /* default off: UNAVAILABLE at once */
/* Receive limit of replies in bytes; default 4 MiB. */
void weft_ctx_max_reply(weft_ctx *ctx, size_t bytes);

/* ---- status made in a context --------------------------------------------------------------------- */

weft_status weft_error(weft_ctx *ctx, weft_code code, const char *format, ...) WEFT_PRINTF(3, 4);
/* INVALID_ARGUMENT "<field>: <rule>", with a google.rpc.BadRequest detail naming the field. */
weft_status weft_invalid(weft_ctx *ctx, const char *field, const char *format, ...)
    WEFT_PRINTF(3, 4);
#define WEFT_STATUS_FN(name) \
    weft_status weft_##name(weft_ctx *ctx, const char *format, ...) WEFT_PRINTF(2, 3)
WEFT_STATUS_FN(cancelled);
WEFT_STATUS_FN(unknown);
WEFT_STATUS_FN(deadline_exceeded);
WEFT_STATUS_FN(not_found);
WEFT_STATUS_FN(already_exists);
WEFT_STATUS_FN(permission_denied);
WEFT_STATUS_FN(resource_exhausted);
WEFT_STATUS_FN(failed_precondition);
WEFT_STATUS_FN(aborted);
WEFT_STATUS_FN(out_of_range);
WEFT_STATUS_FN(unimplemented);
WEFT_STATUS_FN(internal);
WEFT_STATUS_FN(unavailable);
WEFT_STATUS_FN(data_loss);
WEFT_STATUS_FN(unauthenticated);
#undef WEFT_STATUS_FN

/* Adds a typed detail (packed as Any into google.rpc.Status.details); returns the status with it. */
weft_status weft_status_with_detail(weft_ctx *ctx, weft_status st, const ProtobufCMessage *detail);
/* The first detail of that type, in the context's arena; NULL when there is none. */
ProtobufCMessage *weft_status_detail(weft_ctx *ctx, weft_status st,
                                     const ProtobufCMessageDescriptor *type);

/* ---- channel -------------------------------------------------------------------------------------- *
 * A channel is a lazily connected, shared, thread-safe path to one service. */

typedef struct weft_dial_options {
    size_t size;           /* sizeof(weft_dial_options) */
    const char *authority; /* :authority to send; NULL: from the target */
    const char *transport; /* "core" or "native"; NULL: WEFT_TRANSPORT, else what is linked */
    int64_t keepalive_ns;  /* PING when idle that long during calls; 0: off */
    size_t max_reply;      /* receive limit; 0: 4 MiB */
    size_t max_metadata;   /* 0: 16 KiB */
    struct tls_context
        *tls; /* weft/tls.h, a client's: mTLS; NULL: plaintext. Referenced. Native only */
} weft_dial_options;

/* `target`, in order: a name with WEFT_UPSTREAM_<NAME> set (dashes become _) goes there; an address
 * (host:port, [v6]:port, unix:/path, unix-abstract:name) goes there; a name with WEFT_OUTBOUND set goes there
 * with the name as authority. Never NULL: a target that fits none makes every call fail with UNAVAILABLE and
 * a sentence that says what to set. */
weft_channel *weft_dial(const char *target);
weft_channel *weft_dial_with(const char *target, const weft_dial_options *options);
void weft_channel_free(weft_channel *channel); /* after its calls ended */

/* ---- group: calls in parallel ---------------------------------------------------------------------- */

/* Lives in `ctx` and is freed with it (its calls are then cancelled and awaited). */
weft_group *weft_group_new(weft_ctx *ctx);
/* Lets the others go on when a part fails. Default: the first failure cancels the rest. */
void weft_group_keep_going(weft_group *group);
/* Waits for all; returns OK or the first failure, its message prefixed by the method that failed. */
weft_status weft_group_wait(weft_group *group);
/* Waits for one more part to end; its number, or WEFT_ENOTFOUND when all have been reported. */
int weft_group_wait_any(weft_group *group);
weft_status weft_group_status(weft_group *group, int part);
void weft_group_cancel(weft_group *group);

/* ---- server ----------------------------------------------------------------------------------------- */

typedef enum weft_where {
    WEFT_DEFAULT = 0, /* pool */
    WEFT_INLINE = 1,  /* on the transport's loop: must not block */
    WEFT_POOL = 2,    /* on a worker thread: may block */
    WEFT_REACTOR = 3  /* event-driven stream (not yet: refused at start) */
} weft_where;

typedef enum weft_serving {
    WEFT_SERVING_UNKNOWN = 0,
    WEFT_SERVING = 1,
    WEFT_NOT_SERVING = 2
} weft_serving;

typedef struct weft_server_options {
    size_t size;           /* sizeof(weft_server_options) */
    const char *transport; /* "core" or "native"; NULL: WEFT_TRANSPORT, else what is linked */
    int threads;           /* pool of unary handlers, grows on demand up to this; 0: 32. A streaming
                           * handler has a thread of its own; max_calls bounds them */
    int loops;             /* transport loops; 0: 1 */
    size_t max_calls;      /* concurrent, over it RESOURCE_EXHAUSTED; 0: 1000 */
    size_t max_bytes;      /* request bytes held by unfinished calls, likewise; 0: 256 MiB */
    size_t max_request;    /* one message; 0: 4 MiB */
    size_t max_arena;      /* one call's arena; 0: 64 MiB */
    size_t max_metadata;   /* 0: 16 KiB */
    int64_t grace_ns;      /* drain; 0: 10 s */
    bool no_reflection;    /* reflection (v1, v1alpha) is on by default; health always is */
    /* weft/tls.h, a server's: every connection speaks TLS, and any address may be listened on;
     * weft_ctx_peer_identity tells who calls. NULL: plaintext. Referenced. Native only. */
    struct tls_context *tls;
} weft_server_options;

weft_server *weft_server_new(void);
weft_server *weft_server_new_with(const weft_server_options *options);

/* Before start. Addresses as in weft_dial; port 0 picks a free one. unix:/path must be in a directory that
 * only its owner can enter; a stale socket file is replaced, a live one is WEFT_EBUSY. Anything but unix and
 * loopback needs `unsafe_plaintext`. On failure the reason is in weft_server_error. */
int weft_server_listen(weft_server *server, const char *address);
void weft_server_unsafe_plaintext(weft_server *server);
int weft_server_start(weft_server *server) WEFT_MUST_USE;
/* The address of the index-th listener with its real port; NULL past the end. After start. */
const char *weft_server_address(const weft_server *server, size_t index);
const char *weft_server_error(const weft_server *server);

/* Another certificate or bundle for connections that come from now on; those that are open keep theirs. After
 * listen, any thread. WEFT_EINVAL: the server does not speak TLS. */
int weft_server_set_tls(weft_server *server, struct tls_context *tls) WEFT_MUST_USE;

/* grpc.health.v1: "" is the server as a whole. SERVING for every service after start, NOT_SERVING from the
 * beginning of a drain. Any thread. */
void weft_server_set_serving(weft_server *server, const char *service, weft_serving serving);

/* Any thread, also from a signal-handling thread: health goes NOT_SERVING, GOAWAY, calls in flight finish
 * within the grace, then are cancelled. Returns at once. */
void weft_server_drain(weft_server *server);
/* Until drained. */
void weft_server_wait(weft_server *server);
/* Drains with no grace if needed, and waits for handlers still running. Not from a handler. NULL allowed. */
void weft_server_free(weft_server *server);

/* A whole main(): flags (--help lists them), WEFT_LISTEN, logs, start, SIGTERM and SIGINT drain (a second
 * one cancels at once), free. Returns the exit code: 0 after a clean drain, 1 when it cannot start, 2 for
 * wrong flags. */
int weft_server_main(weft_server *server, int argc, char **argv);

/* Takes a unary call out of its handler; see <method>_reply in the generated header. The context lives until
 * the reply. */
weft_deferred *weft_defer(weft_ctx *ctx);
weft_ctx *weft_deferred_ctx(weft_deferred *deferred);

#ifdef __cplusplus
}
#endif
#endif
