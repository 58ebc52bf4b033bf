/* What code made by protoc-gen-weft calls. Not for people: the generated functions are.
 *
 * Everything here is part of the ABI between generated code and libweft: structs carry their size, and
 * new members go to the end. */
#ifndef WEFT_STUB_H
#define WEFT_STUB_H

#include "weft/pb.h"
#include "weft/rpc.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum weft_kind {
    WEFT_KIND_UNARY = 0,
    WEFT_KIND_CLIENT_STREAM = 1,
    WEFT_KIND_SERVER_STREAM = 2,
    WEFT_KIND_BIDI = 3 /* bit 0: the client streams; bit 1: the server streams */
} weft_kind;

typedef enum weft_idempotency {
    WEFT_IDEMPOTENCY_UNKNOWN = 0,
    WEFT_NO_SIDE_EFFECTS = 1,
    WEFT_IDEMPOTENT = 2
} weft_idempotency;

/* One method of a contract; static in generated code. */
struct weft_method {
    size_t size;
    const char *path;    /* "/shop.product.v1.ProductService/GetProduct" */
    const char *service; /* "shop.product.v1.ProductService" */
    const char *name;    /* "GetProduct" */
    const ProtobufCMessageDescriptor *input, *output;
    weft_kind kind;
    weft_idempotency idempotency;
};

typedef struct weft_service_info {
    size_t size;
    const char *name; /* "shop.product.v1.ProductService" */
    const weft_file *file;
    const weft_method *const *methods;
    size_t method_count;
} weft_service_info;

/* Any function pointer; cast back to its own type before a call. */
typedef void (*weft_fn)(void);

/* Typed trampolines, one a method, made by the generator: each casts `fn` back and calls it. For a stream
 * the messages are NULL where the kind has none. */
typedef weft_status (*weft_server_thunk)(weft_fn fn, weft_ctx *ctx, const ProtobufCMessage *request,
                                         ProtobufCMessage *reply, weft_stream *stream);
typedef void (*weft_client_thunk)(weft_fn fn, void *user, weft_status st, ProtobufCMessage *reply);

typedef struct weft_handler {
    weft_server_thunk thunk;
    weft_fn fn; /* NULL: UNIMPLEMENTED */
    weft_where on;
} weft_handler;

/* `handlers` has one entry a method, in the order of `info->methods`; copied. `service` is what
 * weft_ctx_service returns. Adding the same service twice is a programming error (WEFT_EEXIST, and
 * weft_server_start says so). Before start only. */
int weft_stub_serve(weft_server *server, const weft_service_info *info,
                    const weft_handler *handlers, void *service);

/* Unary, blocking. *reply is set only on OK and lives in the context. */
weft_status weft_stub_call(weft_channel *channel, weft_ctx *ctx, const weft_method *method,
                           const ProtobufCMessage *request, ProtobufCMessage **reply);

/* Unary, callback: `thunk(fn, user, …)` is called exactly once, from a runtime thread, never inside this
 * call. The request is serialized before this returns. The reply lives in the context. */
void weft_stub_async(weft_channel *channel, weft_ctx *ctx, const weft_method *method,
                     const ProtobufCMessage *request, weft_client_thunk thunk, weft_fn fn,
                     void *user);

/* Unary as a part of a group; returns the part's number, 0…, or a negative WEFT_E…. */
int weft_stub_start(weft_channel *channel, weft_group *group, const weft_method *method,
                    const ProtobufCMessage *request, ProtobufCMessage **reply);

/* The three streaming kinds, client side. Never NULL: a stream that could not start ends with the reason.
 * `request` is the one message of a server stream, else NULL. */
weft_stream *weft_stub_stream(weft_channel *channel, weft_ctx *ctx, const weft_method *method,
                              const ProtobufCMessage *request);

/* Streams, both sides, blocking; one thread reads (next, keep) and one writes (send, close_send) at most;
 * either may ask for the status. Neither touches the context's arena, which stays one thread's, but metadata
 * that came is the reader's to look at. end is for one thread, once the other is done.
 * next: true and *message until the other side is done; the message lives until the following next, unless
 *       weft_stream_keep moves it to the context.
 * send: queues one message, waiting for flow control; false once the stream is over.
 * close_send: half-close (client). end (client): closes, waits for the status; for a client stream the one
 *       reply is in *reply; frees the stream. Messages nobody read are given up: a server stream is
 *       cancelled, a bidi stream when another message comes.
 * status: why next or send returned false; OK while neither has, and on a server after a half-close. */
bool weft_stream_next(weft_stream *stream, ProtobufCMessage **message);
bool weft_stream_send(weft_stream *stream, const ProtobufCMessage *message);
void weft_stream_close_send(weft_stream *stream);
weft_status weft_stream_end(weft_stream *stream, ProtobufCMessage **reply);
weft_status weft_stream_status(weft_stream *stream);
void weft_stream_keep(weft_stream *stream);
weft_ctx *weft_stream_ctx(weft_stream *stream);

/* Deferred unary: the handler's return value after weft_defer is ignored. Once, from any thread; the
 * deferred handle and its context are gone afterwards. `reply` may be NULL when `st` failed. */
void weft_stub_reply(weft_deferred *deferred, weft_status st, const ProtobufCMessage *reply);

#ifdef __cplusplus
}
#endif
#endif
