/* One call on the server: from its headers through its handler to its status.
 *
 * A call has a reference for the transport (until its last event), one for the handler that runs, and one for
 * a deferred reply; the last takes everything with it. */
#include <stdio.h>
#include <string.h>

#include "server.h"
#include "weft/clock.h"
#include "weft/log.h"
#include "weft/utf8.h"

#define MESSAGE_MAX ((size_t)2 << 10) /* status texts must fit the peer's header limit */
#define DETAILS_MAX ((size_t)6 << 10)
#define PEER_MAX 256u

struct rpc_server_call {
    weft_ctx ctx; /* first, and not set up unless `has_ctx` */
    weft_server *server;
    const weft_transport *transport;
    tp_call *call;
    const rpc_entry *entry;
    atomic_uint refs;
    rpc_task task;
    tp_in request;
    size_t held; /* bytes counted in server->bytes */
    bool has_ctx, has_request, watched, deferred, headers_sent;
    atomic_bool finished;
    weft_stream *stream;
};

static void ref(rpc_server_call *call) {
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
}

/* The last thing a call does to its server: it may be freed right after. */
static void uncount(weft_server *server, size_t held) {
    rpc_live_add(RPC_SERVER_CALLS, -1);
    (void)pthread_mutex_lock(&server->lock);
    server->calls--;
    server->bytes -= held;
    if (server->calls == 0 && server->state >= RPC_DRAINING)
        (void)pthread_cond_broadcast(&server->cond);
    (void)pthread_mutex_unlock(&server->lock);
}

static void unref(rpc_server_call *call) {
    if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1) return;
    weft_server *server = call->server;
    size_t held = call->held;
    if (call->stream) {
        rpc_ctx_detach(&call->ctx, &call->stream->hook);
        rpc_stream_clear(call->stream);
        weft_free(call->stream);
    }
    if (call->has_request) call->transport->release(&call->request);
    /* The context reads the call's headers: it goes first. */
    bool clear = !call->has_ctx || rpc_ctx_clear(&call->ctx);
    if (!clear)
        weft_log(WEFT_LOG_ERROR,
                 "a handler returned while calls or contexts made from its own live on",
                 WEFT_S("method", call->entry->method->path));
    call->transport->call_free(call->call);
    if (clear) weft_free(call);
    uncount(server, held);
}

/* ---- finishing */

static size_t collect_trailers(const rpc_server_call *call, weft_status st, tp_header *out) {
    size_t count = call->has_ctx ? rpc_meta_list(&call->ctx.trailing, out) : 0;
    const weft_status_body *body = st.body;
    if (st.code == WEFT_OK || !body || !body->details) return count;
    if (body->details_len <= DETAILS_MAX)
        out[count++] = (tp_header){RPC_DETAILS_KEY, sizeof RPC_DETAILS_KEY - 1, body->details,
                                   body->details_len};
    else
        weft_log(WEFT_LOG_WARN, "status details left out: too large for a header",
                 WEFT_I("bytes", (int64_t)body->details_len));
    return count;
}

/* Cuts at a character's end. */
static const char *short_message(const char *message, char *room) {
    size_t len = strnlen(message, MESSAGE_MAX + 1);
    if (len <= MESSAGE_MAX) return message;
    len = weft_utf8_prefix(message, MESSAGE_MAX);
    memcpy(room, message, len);
    memcpy(room + len, "\xE2\x80\xA6", 4);
    return room;
}

void rpc_server_headers(rpc_server_call *call) {
    size_t count = call->has_ctx ? call->ctx.initial.count : 0;
    tp_header few[8];
    tp_header *list = few;
    if (call->headers_sent) return;
    call->headers_sent = true;
    if (!count) return;
    if (count > 8) list = weft_arena_alloc(call->ctx.arena, count * sizeof *list);
    if (list)
        call->transport->call_headers(call->call, list, rpc_meta_list(&call->ctx.initial, list));
}

/* Once. `reply` goes only with OK. */
static void finish(rpc_server_call *call, weft_status st, const ProtobufCMessage *reply) {
    tp_header few[8];
    tp_header *trailers = few;
    tp_out out;
    char room[MESSAGE_MAX + 4];
    if (atomic_exchange(&call->finished, true)) {
        weft_log(WEFT_LOG_ERROR, "a call was answered twice",
                 WEFT_S("method", call->entry->method->path));
        return;
    }
    bool packed = st.code == WEFT_OK && reply;
    if (packed && !rpc_call_pack(call->transport, call->call, reply, &out)) {
        st = weft_status_make(NULL, WEFT_RESOURCE_EXHAUSTED, "no memory");
        packed = false;
    }
    rpc_server_headers(call);
    if (call->has_ctx && call->ctx.trailing.count + 1 > 8)
        trailers =
            weft_arena_alloc(call->ctx.arena, (call->ctx.trailing.count + 1) * sizeof *trailers);
    const tp_finish how = {
        .reply = packed ? &out : NULL,
        .code = (unsigned)st.code <= WEFT_UNAUTHENTICATED ? (int)st.code : WEFT_UNKNOWN,
        .message = st.code == WEFT_OK ? NULL : short_message(weft_status_message(st), room),
        .trailers = trailers,
        .trailer_count = trailers ? collect_trailers(call, st, trailers) : 0,
    };
    call->transport->call_finish(call->call, &how);
}

static void finish_text(rpc_server_call *call, int code, const char *text) {
    const weft_status_body body = {text, NULL, 0};
    finish(call, (weft_status){(weft_code)code, &body}, NULL);
}

/* ---- running a handler */

static weft_status unpack_request(rpc_server_call *call, const ProtobufCMessage **request) {
    const weft_guard_limits limits = {.max_bytes = call->server->options.max_request};
    const char *why = "malformed";
    int error = 0;
    *request = weft_unpack(call->entry->method->input, call->request.data, call->request.len,
                           &limits, call->ctx.arena, &error, &why);
    call->transport->release(&call->request);
    call->has_request = false;
    if (*request) return weft_ok();
    /* The guard refused it: the caller's mistake, and the handler never sees it. */
    weft_code code = error == WEFT_ENOMEM ? WEFT_RESOURCE_EXHAUSTED : WEFT_INVALID_ARGUMENT;
    return weft_status_make(call->ctx.arena, (int)code, "request: %s", why);
}

static weft_status invoke(rpc_server_call *call, ProtobufCMessage **reply) {
    const rpc_entry *entry = call->entry;
    const weft_kind kind = entry->method->kind;
    const ProtobufCMessage *request = NULL;
    if (weft_ctx_cancelled(&call->ctx))
        return rpc_ctx_why(&call->ctx, call->ctx.arena, entry->method->path + 1);
    if (!(kind & WEFT_KIND_CLIENT_STREAM)) {
        weft_status st = unpack_request(call, &request);
        if (st.code != WEFT_OK) return st;
    }
    if (!(kind & WEFT_KIND_SERVER_STREAM)) {
        *reply = weft_message_new(call->ctx.arena, entry->method->output);
        if (!*reply) return weft_status_make(NULL, WEFT_RESOURCE_EXHAUSTED, "no memory");
    }
    return entry->handler.thunk(entry->handler.fn, &call->ctx, request, *reply, call->stream);
}

/* What a stream met, such as a malformed message, stands even if its handler says OK. */
static weft_status stream_outcome(rpc_server_call *call, weft_status st) {
    rpc_stream_flush(call->stream);
    if (st.code != WEFT_OK) return st;
    (void)pthread_mutex_lock(&call->stream->lock);
    if (call->stream->failed) st = call->stream->status;
    (void)pthread_mutex_unlock(&call->stream->lock);
    return st;
}

static void run(rpc_server_call *call) {
    ProtobufCMessage *reply = NULL;
    rpc_trace_log(&call->ctx);
    weft_status st = invoke(call, &reply);
    rpc_trace_log(NULL);
    if (call->stream) st = stream_outcome(call, st);
    if (!call->deferred) finish(call, st, reply);
    unref(call);
}

static void run_task(rpc_task *task) { run(WEFT_CONTAINER(task, rpc_server_call, task)); }

static void watch(rpc_server_call *call) {
    if (call->watched) return;
    call->watched = true;
    call->transport->call_watch(call->call);
}

static void start_handler(rpc_server_call *call) {
    ref(call);
    if (call->entry->handler.on == WEFT_INLINE) {
        run(call);
        return;
    }
    watch(call);
    call->task.run = run_task;
    if (rpc_pool_submit(call->server->pool, &call->task, call->stream != NULL) < 0) {
        finish_text(call, WEFT_RESOURCE_EXHAUSTED, "server: no thread left for the call");
        unref(call);
    }
}

/* ---- events of a call */

static void on_request(rpc_server_call *call, tp_in *message, bool lost) {
    weft_server *server = call->server;
    const weft_server_options *limits = &server->options;
    if (!message) {
        finish_text(call, lost ? WEFT_CANCELLED : WEFT_INVALID_ARGUMENT,
                    "request: the call ended before its message came");
        return;
    }
    call->request = *message;
    call->has_request = true;
    if (message->len > limits->max_request) {
        finish_text(call, WEFT_RESOURCE_EXHAUSTED, "request: larger than the server's max_request");
        return;
    }
    (void)pthread_mutex_lock(&server->lock);
    bool fits = message->len <= limits->max_bytes - server->bytes;
    if (fits) server->bytes += message->len;
    (void)pthread_mutex_unlock(&server->lock);
    if (fits) {
        call->held = message->len;
        start_handler(call);
        return;
    }
    finish_text(call, WEFT_RESOURCE_EXHAUSTED,
                "server: requests in progress hold as many bytes as max_bytes allows");
}

static void on_message(void *user, tp_in *message, bool lost) {
    rpc_server_call *call = user;
    /* A handler must not take a lost caller for one that has said all. */
    if (lost && call->has_ctx) weft_ctx_cancel(&call->ctx);
    if (call->entry->method->kind & WEFT_KIND_CLIENT_STREAM)
        rpc_stream_on_message(call->stream, message, lost);
    else
        on_request(call, message, lost);
}

static void on_sent(void *user, bool ok) {
    rpc_server_call *call = user;
    /* Nor must it find its context alive when it cannot send: on_cancel may come later. */
    if (!ok) weft_ctx_cancel(&call->ctx);
    rpc_stream_on_sent(call->stream, ok);
}

static void on_end(void *user, const tp_end *end) {
    rpc_server_call *call = user;
    if (call->stream)
        rpc_stream_on_end(call->stream, end);
    else
        unref(call);
}

static void on_cancel(void *user) { weft_ctx_cancel(&((rpc_server_call *)user)->ctx); }

static const tp_call_events call_events = {
    .on_message = on_message,
    .on_sent = on_sent,
    .on_end = on_end,
    .on_cancel = on_cancel,
};

/* ---- a new call */

static void stream_idle(weft_stream *stream) { unref(stream->ctx->call); }

static void stream_cancel(rpc_hook *hook) {
    weft_stream *stream = WEFT_CONTAINER(hook, weft_stream, hook);
    (void)pthread_mutex_lock(&stream->lock);
    stream->cancelled = true;
    (void)pthread_cond_broadcast(&stream->cond);
    (void)pthread_mutex_unlock(&stream->lock);
}

static bool make_stream(rpc_server_call *call) {
    weft_stream *stream = weft_malloc(sizeof *stream);
    if (!stream) return false;
    rpc_stream_init(stream, call->transport, &call->ctx, call->entry->method);
    stream->server = true;
    stream->call = call->call;
    stream->max_message = call->server->options.max_request;
    stream->max_arena = call->server->options.max_arena;
    stream->idle = stream_idle;
    stream->hook.cancel = stream_cancel;
    /* Its own context: nobody else can have cancelled it, but its deadline may have passed. */
    if (!rpc_ctx_attach(&call->ctx, &stream->hook)) stream->cancelled = true;
    call->stream = stream;
    return true;
}

static bool make_ctx(rpc_server_call *call, const tp_request *request) {
    weft_ctx *ctx = &call->ctx;
    if (rpc_ctx_init(ctx, request->deadline, call->server->options.max_arena) < 0) return false;
    call->has_ctx = true;
    ctx->keep = true;
    ctx->call = call;
    ctx->service = call->entry->service->user;
    ctx->method = call->entry->method;
    ctx->request = request->headers;
    rpc_trace_from(ctx, &request->headers);
    return true;
}

static int at_most(size_t len, int most) { return len < (size_t)most ? (int)len : most; }

static void refuse_unknown(rpc_server_call *call, const tp_request *request) {
    char text[512];
    int len = at_most(request->path_len, 400);
    const char *slash = request->path_len > 1 && request->path[0] == '/'
                            ? memchr(request->path + 1, '/', request->path_len - 1)
                            : NULL;
    if (!slash) {
        (void)snprintf(text, sizeof text, "\"%.*s\" is not /package.Service/Method", len,
                       request->path);
    } else {
        const char *service = request->path + 1;
        size_t size = (size_t)(slash - service);
        if (weft_map_get_bytes(&call->server->services, service, size))
            (void)snprintf(text, sizeof text, "service %.*s has no method %.*s", at_most(size, 255),
                           service, at_most(request->path_len - size - 2, 200), slash + 1);
        else
            (void)snprintf(text, sizeof text, "there is no service %.*s here", at_most(size, 400),
                           service);
    }
    finish_text(call, WEFT_UNIMPLEMENTED, text);
}

/* True when the call is within the limit; it is counted either way. */
static bool count_call(weft_server *server) {
    rpc_live_add(RPC_SERVER_CALLS, 1);
    (void)pthread_mutex_lock(&server->lock);
    bool room = server->calls < server->options.max_calls;
    server->calls++;
    (void)pthread_mutex_unlock(&server->lock);
    return room;
}

static void begin(rpc_server_call *call, const tp_request *request) {
    const weft_kind kind = call->entry->method->kind;
    if (!make_ctx(call, request) || (kind != WEFT_KIND_UNARY && !make_stream(call))) {
        finish_text(call, WEFT_RESOURCE_EXHAUSTED, "server: no memory for the call");
        return;
    }
    if (kind & WEFT_KIND_CLIENT_STREAM) {
        rpc_stream_prefetch(call->stream);
        start_handler(call);
    } else {
        call->transport->call_recv(call->call);
    }
}

void rpc_server_on_call(void *user, tp_call *lower, const tp_request *request) {
    weft_server *server = user;
    rpc_server_call *call = weft_calloc(1, sizeof *call);
    if (!call) {
        server->transport->call_refuse(lower, WEFT_RESOURCE_EXHAUSTED,
                                       "server: no memory for the call");
        return;
    }
    call->server = server;
    call->transport = server->transport;
    call->call = lower;
    atomic_init(&call->refs, 1);
    call->transport->call_accept(lower, &call_events, call);
    bool room = count_call(server);
    call->entry = weft_map_get_bytes(&server->methods, request->path, request->path_len);
    if (!room)
        finish_text(call, WEFT_RESOURCE_EXHAUSTED,
                    "server: as many calls are in progress as max_calls allows");
    else if (!call->entry)
        refuse_unknown(call, request);
    else if (!call->entry->handler.fn)
        finish_text(call, WEFT_UNIMPLEMENTED, "the service does not implement this method");
    else
        begin(call, request);
}

/* ---- what handlers ask of their call */

const char *weft_ctx_peer(const weft_ctx *ctx) {
    if (!ctx->call) return ctx->parent ? weft_ctx_peer(ctx->parent) : "";
    weft_ctx *own = (weft_ctx *)(uintptr_t)ctx;
    if (!own->peer) {
        char text[PEER_MAX];
        own->call->transport->call_peer(own->call->call, text, sizeof text);
        own->peer = weft_arena_strdup(own->arena, text);
    }
    return own->peer ? own->peer : "";
}

const char *weft_ctx_peer_identity(const weft_ctx *ctx) {
    while (!ctx->call && ctx->parent) ctx = ctx->parent;
    const rpc_server_call *call = ctx->call;
    if (!call || !call->transport->has_tls) return NULL;
    return call->transport->call_identity(call->call);
}

weft_deferred *weft_defer(weft_ctx *ctx) {
    rpc_server_call *call = ctx->call;
    if (!call || call->stream || call->deferred) {
        weft_log(WEFT_LOG_ERROR, "weft_defer: only in the handler of a unary call, and once");
        return NULL;
    }
    ref(call);
    call->deferred = true;
    watch(call);
    return (weft_deferred *)(void *)call;
}

weft_ctx *weft_deferred_ctx(weft_deferred *deferred) {
    return &((rpc_server_call *)(void *)deferred)->ctx;
}

void weft_stub_reply(weft_deferred *deferred, weft_status st, const ProtobufCMessage *reply) {
    rpc_server_call *call = (rpc_server_call *)(void *)deferred;
    if (st.code == WEFT_OK && !reply)
        finish_text(call, WEFT_INTERNAL, "the deferred reply was OK but had no message");
    else
        finish(call, st, reply);
    unref(call);
}
