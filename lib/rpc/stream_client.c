/* The client's side of streams: how they start and end. */
#include <string.h>

#include "internal.h"
#include "weft/pb.h"

static const tp_call_events client_events = {
    .on_headers = rpc_stream_on_headers,
    .on_message = rpc_stream_on_message,
    .on_sent = rpc_stream_on_sent,
    .on_end = rpc_stream_on_end,
};

static void hook_cancel(rpc_hook *hook) {
    weft_stream *stream = WEFT_CONTAINER(hook, weft_stream, hook);
    (void)pthread_mutex_lock(&stream->lock);
    stream->cancelled = true;
    (void)pthread_cond_broadcast(&stream->cond);
    (void)pthread_mutex_unlock(&stream->lock);
    stream->transport->call_cancel(stream->call);
}

/* A stream that never began: over from the start. */
static weft_stream *never_began(weft_stream *stream, weft_status st) {
    stream->status = st;
    stream->failed = stream->ended = stream->read_end = stream->status_ready = true;
    return stream;
}

static bool open_call(weft_stream *stream, weft_channel *channel, const ProtobufCMessage *request,
                      tp_out *first, weft_status *st) {
    rpc_call opened = {.channel = channel, .ctx = stream->ctx, .method = stream->method};
    if (!rpc_call_open(&opened, &client_events, stream, stream->ctx->arena, st)) return false;
    stream->call = opened.call;
    stream->max_message = opened.max_reply;
    stream->hook.cancel = hook_cancel;
    if (request && !rpc_call_pack(stream->transport, stream->call, request, first)) {
        *st = weft_status_make(stream->ctx->arena, WEFT_RESOURCE_EXHAUSTED,
                               "%s: no memory for the request", stream->method->path + 1);
        return false;
    }
    stream->hooked = rpc_ctx_attach(stream->ctx, &stream->hook);
    if (stream->hooked) return true;
    *st = rpc_ctx_why(stream->ctx, stream->ctx->arena, stream->method->path + 1);
    if (request) stream->transport->drop(first);
    return false;
}

static weft_stream *no_memory(void);

weft_stream *weft_stub_stream(weft_channel *channel, weft_ctx *ctx, const weft_method *method,
                              const ProtobufCMessage *request) {
    weft_stream *stream = weft_malloc(sizeof *stream);
    weft_status st = weft_ok();
    tp_out first;
    if (!stream) return no_memory();
    rpc_stream_init(stream, channel->transport, ctx, method);
    stream->target = channel->target;
    if (!rpc_may_block())
        return never_began(stream,
                           weft_status_make(ctx->arena, WEFT_INTERNAL,
                                            "%s: a stream in a callback would wait for itself",
                                            method->path + 1));
    if (!open_call(stream, channel, request, &first, &st)) return never_began(stream, st);
    stream->closed = stream->close_wanted = request != NULL;
    stream->transport->call_start(stream->call, request ? &first : NULL, request ? TP_CLOSE : 0);
    rpc_stream_prefetch(stream);
    return stream;
}

/* Stands in when there is no memory for a stream: shared, so nothing in it is ever written. */
static weft_stream *no_memory(void) {
    static weft_ctx nowhere;
    static const weft_status_body text = {"no memory for a stream", NULL, 0};
    static const weft_method unnamed = {.path = "/stream"};
    static weft_stream shared = {
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .cond = PTHREAD_COND_INITIALIZER,
        .ctx = &nowhere,
        .method = &unnamed,
        .target = "",
        .read_end = true,
        .ended = true,
        .failed = true,
        .closed = true,
        .close_wanted = true,
        .headers_read = true,
        .status = {WEFT_RESOURCE_EXHAUSTED, &text},
        .status_ready = true,
    };
    return &shared;
}

/* The one reply of a client stream, into the context. */
static weft_status take_reply(weft_stream *stream, ProtobufCMessage **reply) {
    tp_in in;
    if (!rpc_stream_take(stream, &in)) return weft_ok();
    ProtobufCMessage *unpacked = rpc_stream_unpack(stream, &in, stream->ctx->arena);
    if (unpacked) *reply = unpacked;
    return unpacked ? weft_ok() : stream->status;
}

static const char unread[] = "the stream was ended with messages unread";

/* Waits for the last event. Messages nobody will read any more end the stream: waiting for their end could
 * take for ever. */
static void await_end(weft_stream *stream) {
    bool gave_up = false;
    (void)pthread_mutex_lock(&stream->lock);
    if ((stream->method->kind == WEFT_KIND_SERVER_STREAM) && !stream->read_end && !stream->ended) {
        gave_up = true;
        stream->transport->call_cancel(stream->call);
    }
    while (!stream->ended || stream->receiving || stream->sending) {
        if (stream->has_ready) {
            stream->has_ready = false;
            stream->transport->release(&stream->ready);
            if (!stream->ended && !gave_up) stream->transport->call_cancel(stream->call);
            gave_up = true;
            continue;
        }
        (void)pthread_cond_wait(&stream->cond, &stream->lock);
    }
    if (gave_up && !stream->failed && stream->end.cause == TP_CANCELLED &&
        !weft_ctx_cancelled(stream->ctx)) {
        stream->failed = true;
        stream->status = weft_status_make(rpc_stream_notes(stream), WEFT_CANCELLED, "%s: %s",
                                          stream->method->path + 1, unread);
    }
    (void)pthread_mutex_unlock(&stream->lock);
}

weft_status weft_stream_end(weft_stream *stream, ProtobufCMessage **reply) {
    ProtobufCMessage *taken = NULL;
    if (!stream->call) { /* never began */
        weft_status st = stream->status;
        if (stream == no_memory()) return st;
        rpc_stream_clear(stream);
        weft_free(stream);
        return st;
    }
    weft_stream_close_send(stream);
    bool wants = stream->method->kind == WEFT_KIND_CLIENT_STREAM;
    if (wants) (void)take_reply(stream, &taken);
    await_end(stream);
    weft_status st = weft_stream_status(stream);
    if (st.code == WEFT_OK && wants && !taken && weft_ctx_cancelled(stream->ctx))
        st = rpc_ctx_why(stream->ctx, rpc_stream_notes(stream), stream->method->path + 1);
    if (st.code == WEFT_OK && wants && !taken)
        st = weft_status_make(rpc_stream_notes(stream), WEFT_INTERNAL,
                              "%s: the status is OK but there is no reply",
                              stream->method->path + 1);
    if (st.code == WEFT_OK && wants && reply) *reply = taken;
    if (!stream->headers_read && stream->headers_ready)
        rpc_meta_receive(rpc_stream_notes(stream), &stream->ctx->initial, &stream->headers);
    rpc_meta_receive(rpc_stream_notes(stream), &stream->ctx->trailing, &stream->end.trailers);
    if (stream->hooked) rpc_ctx_detach(stream->ctx, &stream->hook);
    stream->transport->call_free(stream->call);
    rpc_live_add(RPC_CALLS, -1);
    if (stream->notes) rpc_ctx_adopt(stream->ctx, stream->notes);
    stream->notes = NULL;
    rpc_stream_clear(stream);
    weft_free(stream);
    return st;
}
