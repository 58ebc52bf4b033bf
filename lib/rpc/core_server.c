/* C-core's server side: listeners, posted requests, calls, drain. */
#include "core.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Requests posted per loop: with one, a busy loop lost a third of its calls per second. */
#define POSTED 64

struct tp_server {
    grpc_server *server;
    const tp_server_events *events;
    void *user;
    core_tag shutdown_tag;
    core_loop *loops;
    int loop_count;
    bool started;
};

static int to_int(size_t value) { return value > INT_MAX ? INT_MAX : (int)value; }

/* ---- calls */

void core_server_call_clear(tp_call *call) {
    core_metadata_free(call->u.s.initial, call->u.s.initial_count);
    grpc_call_details_destroy(&call->u.s.details);
}

static void accepted(core_tag *tag, int ok);

static void post(tp_call *call) {
    call->u.s.accept_tag.functor_run = accepted;
    grpc_completion_queue *queue = call->u.s.loop->queue;
    grpc_server *lower = call->u.s.owner->server;
    CORE_BEFORE(&call->u.s.accept_tag);
    grpc_call_error error =
        grpc_server_request_call(lower, &call->call, &call->u.s.details, &call->headers, queue,
                                 queue, &call->u.s.accept_tag);
    if (error == GRPC_CALL_OK) return;
    weft_log(WEFT_LOG_ERROR, "C-core refused to wait for calls",
             WEFT_S("error", grpc_call_error_to_string(error)));
    core_unref(call);
}

static tp_call *request_new(tp_server *server, core_loop *loop) {
    tp_call *call = weft_calloc(1, sizeof *call);
    if (!call) return NULL;
    atomic_init(&call->refs, 1);
    call->server = true;
    call->u.s.owner = server;
    call->u.s.loop = loop;
    grpc_metadata_array_init(&call->headers);
    grpc_call_details_init(&call->u.s.details);
    return call;
}

/* Out of memory: this call is refused, so that its place can wait for the next. */
static void refuse(tp_call *call) {
    (void)grpc_call_cancel_with_status(call->call, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                       "server: out of memory", NULL);
    grpc_call_unref(call->call);
    call->call = NULL;
    grpc_call_details_destroy(&call->u.s.details);
    grpc_metadata_array_destroy(&call->headers);
    grpc_call_details_init(&call->u.s.details);
    grpc_metadata_array_init(&call->headers);
    post(call);
}

static void accepted(core_tag *tag, int ok) {
    tp_call *call = WEFT_CONTAINER(tag, tp_call, u.s.accept_tag);
    tp_server *server = call->u.s.owner;
    if (!ok) { /* shutting down */
        core_unref(call);
        return;
    }
    tp_call *next = request_new(server, call->u.s.loop);
    if (!next) {
        refuse(call);
        return;
    }
    post(next);
    tp_request request = {
        .path = (const char *)GRPC_SLICE_START_PTR(call->u.s.details.method),
        .path_len = GRPC_SLICE_LENGTH(call->u.s.details.method),
        .deadline = core_ns(call->u.s.details.deadline),
        .headers = core_headers(&call->headers),
    };
    server->events->on_call(server->user, call, &request);
}

void core_call_accept(tp_call *call, const tp_call_events *events, void *user) {
    call->events = events;
    call->user = user;
}

void core_call_refuse(tp_call *call, int code, const char *message) {
    (void)grpc_call_cancel_with_status(call->call, (grpc_status_code)code, message, NULL);
    core_unref(call);
}

/* The last of the finishing batch and, when there is one, the watching batch. */
static void maybe_end(tp_call *call) {
    if (!call->u.s.finished || !call->u.s.closed) return;
    bool lost = call->u.s.failed || call->u.s.cancelled;
    tp_end end = {.code = lost ? (int)GRPC_STATUS_CANCELLED : (int)GRPC_STATUS_OK, .message = ""};
    call->events->on_end(call->user, &end);
}

static void watch_done(core_tag *tag, int ok) {
    tp_call *call = WEFT_CONTAINER(tag, tp_call, u.s.watch_tag);
    (void)ok;
    call->u.s.closed = true;
    if (call->u.s.cancelled && !call->u.s.finished) call->events->on_cancel(call->user);
    maybe_end(call);
    core_unref(call);
}

static grpc_op close_op(tp_call *call) {
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &call->u.s.cancelled;
    return op;
}

void core_call_watch(tp_call *call) {
    call->u.s.watched = true;
    call->u.s.watch_tag.functor_run = watch_done;
    grpc_op op = close_op(call);
    core_batch(call, &op, 1, &call->u.s.watch_tag);
}

void core_call_headers(tp_call *call, const tp_header *headers, size_t count) {
    call->u.s.initial = core_metadata(headers, count);
    call->u.s.initial_count = call->u.s.initial ? count : 0;
}

static size_t headers_op(tp_call *call, grpc_op *ops) {
    if (call->u.s.headers_sent) return 0;
    call->u.s.headers_sent = true;
    ops[0] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    ops[0].data.send_initial_metadata.count = call->u.s.initial_count;
    ops[0].data.send_initial_metadata.metadata = call->u.s.initial;
    return 1;
}

void core_server_send(tp_call *call, tp_out *message, uint32_t flags) {
    grpc_op ops[2];
    size_t count = headers_op(call, ops);
    ops[count++] = core_send_op(call, message, flags);
    core_batch(call, ops, count, &call->send_tag);
}

static void finish_done(core_tag *tag, int ok) {
    tp_call *call = WEFT_CONTAINER(tag, tp_call, u.s.finish_tag);
    if (call->sending.data.raw.slice_buffer.slices)
        grpc_slice_buffer_destroy(&call->sending.data.raw.slice_buffer);
    call->u.s.finished = true;
    call->u.s.failed = !ok;
    if (!call->u.s.watched) call->u.s.closed = true;
    maybe_end(call);
    core_unref(call);
}

void core_call_finish(tp_call *call, const tp_finish *finish) {
    grpc_op ops[4];
    size_t count = headers_op(call, ops);
    /* Nothing of an earlier send may be freed twice. */
    memset(&call->sending, 0, sizeof call->sending);
    if (finish->reply) ops[count++] = core_send_op(call, finish->reply, 0);
    grpc_metadata *trailers = core_metadata(finish->trailers, finish->trailer_count);
    grpc_slice text = grpc_slice_from_copied_string(finish->message ? finish->message : "");
    grpc_op status = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    status.data.send_status_from_server.status = (grpc_status_code)finish->code;
    status.data.send_status_from_server.status_details = finish->message ? &text : NULL;
    status.data.send_status_from_server.trailing_metadata = trailers;
    status.data.send_status_from_server.trailing_metadata_count =
        trailers ? finish->trailer_count : 0;
    ops[count++] = status;
    if (!call->u.s.watched) ops[count++] = close_op(call);
    call->u.s.finish_tag.functor_run = finish_done;
    core_batch(call, ops, count, &call->u.s.finish_tag);
    core_metadata_free(trailers, finish->trailer_count);
    grpc_slice_unref(text);
}

/* ---- servers */

static grpc_server *server_make(const tp_server_options *options) {
    const struct {
        const char *key;
        int value;
    } numbers[] = {
        {GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, to_int(options->max_request)},
        {GRPC_ARG_MAX_METADATA_SIZE, to_int(options->max_metadata)},
        {GRPC_ARG_ALLOW_REUSEPORT, 0}, /* a second process on the port is an error */
        {GRPC_ARG_ENABLE_CHANNELZ, 0},
        {GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000},
        {GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10000},
    };
    enum { NUMBERS = sizeof numbers / sizeof *numbers };
    grpc_arg args[NUMBERS];
    for (size_t i = 0; i < NUMBERS; i++)
        args[i] = (grpc_arg){GRPC_ARG_INTEGER, (char *)(uintptr_t)numbers[i].key,
                             .value.integer = numbers[i].value};
    grpc_channel_args list = {NUMBERS, args};
    return grpc_server_create(&list, NULL);
}

static void stop_loops(tp_server *server) {
    for (int i = 0; i < server->loop_count; i++) core_loop_stop(&server->loops[i]);
}

static void server_release(tp_server *server) {
    stop_loops(server);
    weft_free(server->loops);
    weft_free(server);
}

tp_server *core_server_new(const tp_server_options *options, const tp_server_events *events,
                           void *user) {
    tp_server *server = weft_calloc(1, sizeof *server);
    core_loop *loops = weft_calloc((size_t)options->loops, sizeof *loops);
    if (!server || !loops) {
        weft_free(server);
        weft_free(loops);
        return NULL;
    }
    core_begin();
    server->events = events;
    server->user = user;
    server->loops = loops;
    for (; server->loop_count < options->loops; server->loop_count++) {
        if (core_loop_start(&loops[server->loop_count], false) == 0) continue;
        server_release(server);
        return NULL;
    }
    server->server = server_make(options);
    for (int i = 0; i < server->loop_count; i++)
        grpc_server_register_completion_queue(server->server, loops[i].queue, NULL);
    return server;
}

int core_server_listen(tp_server *server, weft_addr *address) {
    char text[WEFT_ADDR_TEXT + 16];
    char formatted[WEFT_ADDR_TEXT];
    const char *scheme = "";
    if (address->kind == WEFT_ADDR_UNIX) scheme = "unix:";
    if (address->kind == WEFT_ADDR_ABSTRACT) scheme = "unix-abstract:";
    (void)snprintf(text, sizeof text, "%s%s", scheme,
                   *scheme ? address->host : weft_addr_format(address, formatted));
    grpc_server_credentials *plain = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(server->server, text, plain);
    grpc_server_credentials_release(plain);
    if (port <= 0) return WEFT_EIO;
    if (!*scheme) address->port = (uint16_t)port;
    return 0;
}

int core_server_start(tp_server *server) {
    server->started = true;
    grpc_server_start(server->server);
    for (int i = 0; i < server->loop_count; i++) {
        for (int n = 0; n < POSTED; n++) {
            tp_call *call = request_new(server, &server->loops[i]);
            if (!call) return n || i ? 0 : WEFT_ENOMEM;
            post(call);
        }
    }
    return 0;
}

static void drained(core_tag *tag, int ok) {
    tp_server *server = WEFT_CONTAINER(tag, tp_server, shutdown_tag);
    (void)ok;
    server->events->on_drained(server->user);
}

void core_server_drain(tp_server *server) {
    server->shutdown_tag.functor_run = drained;
    CORE_BEFORE(&server->shutdown_tag);
    grpc_server_shutdown_and_notify(server->server, server->loops[0].queue, &server->shutdown_tag);
}

void core_server_cancel_all(tp_server *server) { grpc_server_cancel_all_calls(server->server); }

/* Before start nobody above waits for on_drained; C-core wants its shutdown all the same. */
typedef struct quiet_stop {
    core_tag tag;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
} quiet_stop;

static void quiet_done(core_tag *tag, int ok) {
    quiet_stop *stop = WEFT_CONTAINER(tag, quiet_stop, tag);
    (void)ok;
    (void)pthread_mutex_lock(&stop->lock);
    stop->done = true;
    (void)pthread_cond_signal(&stop->cond);
    (void)pthread_mutex_unlock(&stop->lock);
}

void core_server_free(tp_server *server) {
    if (!server->started) {
        quiet_stop stop = {.tag = {.functor_run = quiet_done},
                           .lock = PTHREAD_MUTEX_INITIALIZER,
                           .cond = PTHREAD_COND_INITIALIZER};
        CORE_BEFORE(&stop.tag);
        grpc_server_shutdown_and_notify(server->server, server->loops[0].queue, &stop.tag);
        (void)pthread_mutex_lock(&stop.lock);
        while (!stop.done) (void)pthread_cond_wait(&stop.cond, &stop.lock);
        (void)pthread_mutex_unlock(&stop.lock);
    }
    grpc_server_destroy(server->server);
    server_release(server);
}
