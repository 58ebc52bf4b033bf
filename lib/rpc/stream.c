/* Streams, both sides: a blocking API over the transport's events.
 *
 * One message is fetched ahead of its reader. What the writer queues leaves one message at a time, the next
 * from the loop as soon as flow control took the one before, so that writer and loop need not wake each
 * other for every message. */
#include <string.h>

#include "internal.h"
#include "weft/clock.h"
#include "weft/pb.h"

void rpc_stream_init(weft_stream *stream, const weft_transport *transport, weft_ctx *ctx,
                     const weft_method *method) {
    *stream = (weft_stream){.transport = transport, .ctx = ctx, .method = method, .target = "peer"};
    (void)pthread_mutex_init(&stream->lock, NULL);
    rpc_cond_init(&stream->cond);
    weft_list_init(&stream->hook.link);
    rpc_live_add(RPC_STREAMS, 1);
}

void rpc_stream_clear(weft_stream *stream) {
    if (stream->has_ready) stream->transport->release(&stream->ready);
    for (; stream->queue_count; stream->queue_count--)
        stream->transport->drop(
            &stream->queue[(stream->queue_at + stream->queue_count - 1) % RPC_STREAM_QUEUE]);
    rpc_parcel_free(stream->parcel);
    rpc_parcel_free(stream->notes);
    (void)pthread_cond_destroy(&stream->cond);
    (void)pthread_mutex_destroy(&stream->lock);
    rpc_live_add(RPC_STREAMS, -1);
}

static bool over(const weft_stream *stream) {
    return stream->ended || stream->cancelled || stream->failed;
}

static bool is_idle(const weft_stream *stream) {
    return stream->ended && !stream->receiving && !stream->sending;
}

/* Ends an event: wakes the waiters and, if it was the last one, tells the owner. */
static void unlock_after_event(weft_stream *stream) {
    void (*idle)(weft_stream *) = is_idle(stream) ? stream->idle : NULL;
    (void)pthread_cond_broadcast(&stream->cond);
    (void)pthread_mutex_unlock(&stream->lock);
    if (idle) idle(stream);
}

/* ---- events */

void rpc_stream_on_headers(void *user, const tp_headers *headers) {
    weft_stream *stream = user;
    (void)pthread_mutex_lock(&stream->lock);
    stream->headers = *headers;
    stream->headers_ready = true;
    (void)pthread_mutex_unlock(&stream->lock);
}

void rpc_stream_on_message(void *user, tp_in *message, bool lost) {
    weft_stream *stream = user;
    (void)pthread_mutex_lock(&stream->lock);
    stream->receiving = false;
    if (message) {
        stream->ready = *message;
        stream->has_ready = true;
    } else {
        stream->read_end = true;
        if (lost && stream->server) stream->cancelled = true;
    }
    unlock_after_event(stream);
}

/* Under the lock, which stays held: operations never call back. */
static void close_now(weft_stream *stream) {
    if (stream->closed || stream->server || over(stream)) return;
    stream->closed = true;
    stream->transport->call_close_send(stream->call);
}

static void drop_queue(weft_stream *stream) {
    while (stream->queue_count) {
        stream->transport->drop(&stream->queue[stream->queue_at]);
        stream->queue_at = (stream->queue_at + 1) % RPC_STREAM_QUEUE;
        stream->queue_count--;
    }
    stream->queue_bytes = 0;
}

void rpc_stream_on_sent(void *user, bool ok) {
    weft_stream *stream = user;
    (void)pthread_mutex_lock(&stream->lock);
    if (!ok) {
        stream->send_failed = true;
        drop_queue(stream);
    }
    if (stream->queue_count) {
        tp_out next = stream->queue[stream->queue_at];
        stream->queue_at = (stream->queue_at + 1) % RPC_STREAM_QUEUE;
        stream->queue_count--;
        stream->queue_bytes -= next.len;
        bool more = stream->queue_count > 0;
        (void)pthread_cond_broadcast(&stream->cond);
        (void)pthread_mutex_unlock(&stream->lock);
        stream->transport->call_send(stream->call, &next, more);
        return;
    }
    if (stream->close_wanted) close_now(stream);
    stream->sending = false;
    unlock_after_event(stream);
}

void rpc_stream_on_end(void *user, const tp_end *end) {
    weft_stream *stream = user;
    (void)pthread_mutex_lock(&stream->lock);
    stream->end = *end;
    stream->ended = true;
    unlock_after_event(stream);
}

/* ---- ending */

weft_arena *rpc_stream_notes(weft_stream *stream) {
    if (!stream->notes) stream->notes = rpc_parcel_new(stream->server ? stream->max_arena : 0);
    return stream->notes ? stream->notes->arena : NULL;
}

void rpc_stream_fail(weft_stream *stream, weft_code code, const char *what, const char *why) {
    (void)pthread_mutex_lock(&stream->lock);
    if (!stream->failed && !stream->status_ready) {
        stream->failed = true;
        stream->status = weft_status_make(rpc_stream_notes(stream), (int)code, "%s: %s", what, why);
    }
    (void)pthread_cond_broadcast(&stream->cond);
    (void)pthread_mutex_unlock(&stream->lock);
    if (!stream->server) stream->transport->call_cancel(stream->call);
}

void rpc_stream_flush(weft_stream *stream) {
    (void)pthread_mutex_lock(&stream->lock);
    while (stream->sending) (void)pthread_cond_wait(&stream->cond, &stream->lock);
    (void)pthread_mutex_unlock(&stream->lock);
}

/* ---- reading */

void rpc_stream_prefetch(weft_stream *stream) {
    (void)pthread_mutex_lock(&stream->lock);
    stream->receiving = true;
    (void)pthread_mutex_unlock(&stream->lock);
    stream->transport->call_recv(stream->call);
}

bool rpc_stream_take(weft_stream *stream, tp_in *message) {
    bool have = false, fetch = false;
    (void)pthread_mutex_lock(&stream->lock);
    for (;;) {
        have = stream->has_ready && !stream->failed && !stream->cancelled;
        if (have || stream->read_end || stream->failed || stream->cancelled) break;
        if (!stream->receiving) break; /* nothing was asked for: nothing will come */
        (void)pthread_cond_wait(&stream->cond, &stream->lock);
    }
    if (have) {
        *message = stream->ready;
        stream->has_ready = false;
        fetch = !stream->read_end && !stream->ended;
        if (fetch) stream->receiving = true;
    }
    (void)pthread_mutex_unlock(&stream->lock);
    if (fetch) stream->transport->call_recv(stream->call);
    return have;
}

ProtobufCMessage *rpc_stream_unpack(weft_stream *stream, tp_in *message, weft_arena *arena) {
    const ProtobufCMessageDescriptor *type =
        stream->server ? stream->method->input : stream->method->output;
    const weft_guard_limits limits = {.max_bytes = stream->max_message};
    const char *why = "malformed";
    const char *what = stream->server ? "request" : "reply";
    int error = 0;
    ProtobufCMessage *unpacked =
        weft_unpack(type, message->data, message->len, &limits, arena, &error, &why);
    bool large = message->len > stream->max_message;
    stream->transport->release(message);
    if (unpacked) return unpacked;
    weft_code code = stream->server ? WEFT_INVALID_ARGUMENT : WEFT_INTERNAL;
    if (large || error == WEFT_ENOMEM) code = WEFT_RESOURCE_EXHAUSTED;
    rpc_stream_fail(stream, code, what, why);
    return NULL;
}

/* The program sees headers once it reads: they are copied by its thread, not by the loop. */
static void read_headers(weft_stream *stream) {
    if (stream->server || stream->headers_read) return;
    (void)pthread_mutex_lock(&stream->lock);
    if (stream->headers_ready) {
        stream->headers_read = true;
        rpc_meta_receive(rpc_stream_notes(stream), &stream->ctx->initial, &stream->headers);
    }
    (void)pthread_mutex_unlock(&stream->lock);
}

static weft_arena *message_arena(weft_stream *stream) {
    if (stream->parcel)
        stream->parcel = rpc_parcel_reset(stream->parcel);
    else
        stream->parcel = rpc_parcel_new(stream->server ? stream->max_arena : 0);
    return stream->parcel ? stream->parcel->arena : NULL;
}

bool weft_stream_next(weft_stream *stream, ProtobufCMessage **message) {
    tp_in in;
    if (!rpc_may_block() || !rpc_stream_take(stream, &in)) {
        read_headers(stream);
        return false;
    }
    read_headers(stream);
    weft_arena *arena = message_arena(stream);
    if (!arena) {
        stream->transport->release(&in);
        rpc_stream_fail(stream, WEFT_RESOURCE_EXHAUSTED, "stream", "no memory for a message");
        return false;
    }
    ProtobufCMessage *unpacked = rpc_stream_unpack(stream, &in, arena);
    if (unpacked) *message = unpacked;
    return unpacked != NULL;
}

void weft_stream_keep(weft_stream *stream) {
    if (!stream->parcel) return;
    rpc_ctx_adopt(stream->ctx, stream->parcel);
    stream->parcel = NULL;
}

weft_ctx *weft_stream_ctx(weft_stream *stream) { return stream->ctx; }

/* ---- writing */

/* The end of what a server says is the end of its call: nothing sent after it would arrive. */
static bool can_send(const weft_stream *stream) {
    if (stream->read_end && !stream->server) return false;
    return !over(stream) && !stream->send_failed && !stream->close_wanted;
}

static bool queue_full(const weft_stream *stream) {
    return stream->queue_count == RPC_STREAM_QUEUE || stream->queue_bytes >= RPC_STREAM_QUEUE_BYTES;
}

bool weft_stream_send(weft_stream *stream, const ProtobufCMessage *message) {
    tp_out out;
    if (!rpc_may_block()) return false;
    (void)pthread_mutex_lock(&stream->lock);
    while (can_send(stream) && queue_full(stream))
        (void)pthread_cond_wait(&stream->cond, &stream->lock);
    bool open = can_send(stream);
    (void)pthread_mutex_unlock(&stream->lock);
    if (!open) return false;
    size_t size = protobuf_c_message_get_packed_size(message);
    if (stream->transport->call_buffer(stream->call, size, &out) < 0) {
        rpc_stream_fail(stream, WEFT_RESOURCE_EXHAUSTED, "stream", "no memory for a message");
        return false;
    }
    (void)protobuf_c_message_pack(message, out.data);
    (void)pthread_mutex_lock(&stream->lock);
    bool direct = false;
    if (!can_send(stream)) {
        stream->transport->drop(&out);
        open = false;
    } else if (stream->sending) {
        stream->queue[(stream->queue_at + stream->queue_count) % RPC_STREAM_QUEUE] = out;
        stream->queue_count++;
        stream->queue_bytes += out.len;
    } else {
        stream->sending = direct = true;
    }
    (void)pthread_mutex_unlock(&stream->lock);
    if (direct) {
        if (stream->server) rpc_server_headers(stream->ctx->call);
        stream->transport->call_send(stream->call, &out, false);
    }
    return open;
}

void weft_stream_close_send(weft_stream *stream) {
    (void)pthread_mutex_lock(&stream->lock);
    if (!stream->close_wanted && !stream->server) {
        stream->close_wanted = true;
        if (!stream->sending) close_now(stream);
    }
    (void)pthread_mutex_unlock(&stream->lock);
}

/* ---- status */

static weft_status server_status(weft_stream *stream) {
    if (stream->failed) return stream->status;
    if (stream->cancelled || stream->send_failed || stream->ended) {
        if (!stream->status_ready)
            stream->status =
                rpc_ctx_why(stream->ctx, rpc_stream_notes(stream), stream->method->path + 1);
        stream->status_ready = true;
        return stream->status;
    }
    return weft_ok();
}

/* Under the lock, once it has ended. */
static weft_status client_status(weft_stream *stream) {
    if (!stream->failed && !stream->status_ready) {
        /* A cancelled reader was turned away, whatever the server had said by then. */
        bool cut = stream->cancelled && stream->end.code == WEFT_OK;
        stream->status =
            cut ? rpc_ctx_why(stream->ctx, rpc_stream_notes(stream), stream->method->path + 1)
                : rpc_status_of_end(rpc_stream_notes(stream), &stream->end, stream->method,
                                    stream->target, stream->max_message);
        stream->status_ready = true;
    }
    return stream->status;
}

weft_status weft_stream_status(weft_stream *stream) {
    weft_status st = weft_ok();
    (void)pthread_mutex_lock(&stream->lock);
    if (stream->server) {
        st = server_status(stream);
    } else if (stream->failed) {
        st = stream->status;
    } else if (stream->read_end || stream->send_failed || over(stream)) {
        while (!stream->ended) (void)pthread_cond_wait(&stream->cond, &stream->lock);
        st = client_status(stream);
    }
    (void)pthread_mutex_unlock(&stream->lock);
    return st;
}
