/* Unary calls of a client, blocking and by callback. */
#include <string.h>

#include "internal.h"
#include "weft/clock.h"
#include "weft/log.h"
#include "weft/pb.h"

#define HEADERS_ON_STACK 16u

/* ---- opening */

static void hook_cancel(rpc_hook *hook) {
    rpc_call *call = WEFT_CONTAINER(hook, rpc_call, hook);
    call->channel->transport->call_cancel(call->call);
}

bool rpc_call_pack(const weft_transport *transport, tp_call *call, const ProtobufCMessage *message,
                   tp_out *out) {
    size_t size = protobuf_c_message_get_packed_size(message);
    if (transport->call_buffer(call, size, out) < 0) return false;
    (void)protobuf_c_message_pack(message, out->data);
    return true;
}

bool rpc_call_open(rpc_call *call, const tp_call_events *events, void *user, weft_arena *arena,
                   weft_status *st) {
    weft_ctx *ctx = call->ctx;
    weft_channel *channel = call->channel;
    const char *name = call->method->path + 1;
    if (!channel->channel) {
        *st = weft_status_make(arena, WEFT_UNAVAILABLE, "%s: %s", name, channel->error);
        return false;
    }
    if (weft_ctx_cancelled(ctx)) {
        *st = rpc_ctx_why(ctx, arena, name);
        return false;
    }
    call->max_reply = ctx->max_reply ? ctx->max_reply : channel->max_reply;
    tp_header few[HEADERS_ON_STACK];
    tp_header *headers = few;
    if (ctx->outgoing.count + 2 > HEADERS_ON_STACK)
        headers = weft_arena_alloc(ctx->arena, (ctx->outgoing.count + 2) * sizeof *headers);
    if (headers) {
        const tp_call_args args = {
            .path = call->method->path,
            .deadline = ctx->deadline,
            .headers = headers,
            .header_count = rpc_meta_send(ctx, headers),
            .max_reply = call->max_reply,
            .wait_for_ready = ctx->wait_for_ready,
            .events = events,
            .user = user,
        };
        call->call = channel->transport->call_new(channel->channel, &args);
    }
    if (call->call) {
        rpc_live_add(RPC_CALLS, 1);
        return true;
    }
    *st = weft_status_make(arena, WEFT_RESOURCE_EXHAUSTED, "%s: no memory for the call", name);
    return false;
}

static void call_drop(rpc_call *call) {
    call->channel->transport->call_free(call->call);
    call->call = NULL;
    rpc_live_add(RPC_CALLS, -1);
}

/* ---- events */

static void on_headers(void *user, const tp_headers *headers) {
    ((rpc_call *)user)->headers = *headers;
}

static void on_message(void *user, tp_in *message, bool lost) {
    rpc_call *call = user;
    (void)lost; /* the status tells */
    call->has_message = message != NULL;
    if (message) call->message = *message;
}

static void on_sent(void *user, bool ok) {
    (void)user;
    (void)ok;
}

static void on_end(void *user, const tp_end *end) {
    rpc_call *call = user;
    call->end = *end;
    call->done(call);
}

static const tp_call_events unary_events = {
    .on_headers = on_headers,
    .on_message = on_message,
    .on_sent = on_sent,
    .on_end = on_end,
};

/* ---- the parts of a call */

bool rpc_call_start(rpc_call *call, const ProtobufCMessage *request, bool hook, weft_arena *arena,
                    weft_status *st) {
    const weft_transport *transport = call->channel->transport;
    const char *name = call->method->path + 1;
    tp_out out;
    if (!rpc_call_open(call, &unary_events, call, arena, st)) return false;
    if (!rpc_call_pack(transport, call->call, request, &out)) {
        *st =
            weft_status_make(arena, WEFT_RESOURCE_EXHAUSTED, "%s: no memory for the request", name);
        call_drop(call);
        return false;
    }
    if (hook) {
        call->hook.cancel = hook_cancel;
        call->hooked = rpc_ctx_attach(call->ctx, &call->hook);
        if (!call->hooked) {
            *st = rpc_ctx_why(call->ctx, arena, name);
            transport->drop(&out);
            call_drop(call);
            return false;
        }
    }
    transport->call_start(call->call, &out, TP_UNARY);
    return true;
}

static weft_status take_reply(rpc_call *call, weft_arena *arena, ProtobufCMessage **reply) {
    const char *name = call->method->path + 1;
    /* A cancellation can take the reply away just before the status that it lost to. */
    if (!call->has_message && weft_ctx_cancelled(call->ctx))
        return rpc_ctx_why(call->ctx, arena, name);
    if (!call->has_message)
        return weft_status_make(arena, WEFT_INTERNAL, "%s: the status is OK but there is no reply",
                                name);
    if (call->message.len > call->max_reply) {
        const tp_end large = {.cause = TP_TOO_LARGE, .code = WEFT_RESOURCE_EXHAUSTED};
        return rpc_status_of_end(arena, &large, call->method, call->channel->target,
                                 call->max_reply);
    }
    const weft_guard_limits limits = {.max_bytes = call->max_reply};
    const char *why = "malformed";
    int error = 0;
    ProtobufCMessage *message = weft_unpack(call->method->output, call->message.data,
                                            call->message.len, &limits, arena, &error, &why);
    if (!message)
        return weft_status_make(arena,
                                error == WEFT_ENOMEM ? WEFT_RESOURCE_EXHAUSTED : WEFT_INTERNAL,
                                "%s: reply: %s", name, why);
    *reply = message;
    return weft_ok();
}

weft_status rpc_call_finish(rpc_call *call, weft_arena *arena, bool receive,
                            ProtobufCMessage **reply) {
    weft_status st;
    ProtobufCMessage *message = NULL;
    if (call->hooked) rpc_ctx_detach(call->ctx, &call->hook);
    if (receive) {
        rpc_meta_receive(call->ctx->arena, &call->ctx->initial, &call->headers);
        rpc_meta_receive(call->ctx->arena, &call->ctx->trailing, &call->end.trailers);
    }
    if (call->end.code == WEFT_OK)
        st = take_reply(call, arena, &message);
    else
        st = rpc_status_of_end(arena, &call->end, call->method, call->channel->target,
                               call->max_reply);
    if (call->has_message) call->channel->transport->release(&call->message);
    call_drop(call);
    if (st.code == WEFT_OK && reply) *reply = message;
    return st;
}

/* ---- blocking */

typedef struct blocking_call {
    rpc_call call;
    rpc_event event;
} blocking_call;

static void blocking_done(rpc_call *call) {
    rpc_event_set(&WEFT_CONTAINER(call, blocking_call, call)->event);
}

weft_status weft_stub_call(weft_channel *channel, weft_ctx *ctx, const weft_method *method,
                           const ProtobufCMessage *request, ProtobufCMessage **reply) {
    blocking_call own = {
        .call = {.channel = channel, .ctx = ctx, .method = method, .done = blocking_done}};
    weft_status st;
    if (!rpc_may_block())
        return weft_status_make(ctx->arena, WEFT_INTERNAL,
                                "%s: a blocking call in a callback would wait for itself; use the "
                                "_async form there",
                                method->path + 1);
    if (!rpc_call_start(&own.call, request, true, ctx->arena, &st)) return st;
    rpc_event_wait(&own.event);
    return rpc_call_finish(&own.call, ctx->arena, true, reply);
}

/* ---- by callback: the reply has an arena of its own, since the program may be using the context's */

typedef struct async_call {
    rpc_call call;
    rpc_parcel *parcel;
    weft_client_thunk thunk;
    weft_fn fn;
    void *user;
    weft_status st; /* of a call that could not start */
} async_call;

static void async_report(async_call *own, weft_status st, ProtobufCMessage *reply) {
    rpc_ctx_adopt(own->call.ctx, own->parcel);
    own->thunk(own->fn, own->user, st, reply);
    weft_free(own);
}

static void async_done(rpc_call *call) {
    async_call *own = WEFT_CONTAINER(call, async_call, call);
    ProtobufCMessage *reply = NULL;
    weft_status st = rpc_call_finish(call, own->parcel->arena, false, &reply);
    async_report(own, st, reply);
}

static void async_failed(void *user) {
    async_call *own = user;
    async_report(own, own->st, NULL);
}

void weft_stub_async(weft_channel *channel, weft_ctx *ctx, const weft_method *method,
                     const ProtobufCMessage *request, weft_client_thunk thunk, weft_fn fn,
                     void *user) {
    async_call *own = weft_calloc(1, sizeof *own);
    rpc_parcel *parcel = rpc_parcel_new(0);
    if (!own || !parcel) {
        /* Nothing is left to bring the news from another thread with. */
        weft_free(own);
        rpc_parcel_free(parcel);
        thunk(fn, user, weft_status_make(NULL, WEFT_RESOURCE_EXHAUSTED, "no memory"), NULL);
        return;
    }
    *own = (async_call){
        .call = {.channel = channel, .ctx = ctx, .method = method, .done = async_done},
        .parcel = parcel,
        .thunk = thunk,
        .fn = fn,
        .user = user,
    };
    if (rpc_call_start(&own->call, request, true, parcel->arena, &own->st)) return;
    if (rpc_post(async_failed, own) < 0) async_failed(own);
}
