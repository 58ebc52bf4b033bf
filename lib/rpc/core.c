/* C-core behind the seam: the library's lifetime, its loops, and what clients and servers share. */
#include "core.h"

#include <signal.h>
#include <string.h>

static void to_our_log(gpr_log_func_args *args) {
    weft_log_level level =
        args->severity == GPR_LOG_SEVERITY_ERROR ? WEFT_LOG_WARN : WEFT_LOG_DEBUG;
    weft_log(level, args->message, WEFT_S("from", "grpc"));
}

/* Signals belong to the program's own threads: C-core's would be interrupted, or end the process. */
static void block_signals(sigset_t *before) {
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, before);
}

static void begin(void) {
    sigset_t before;
    block_signals(&before);
    gpr_set_log_function(to_our_log);
    grpc_init();
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* There is no grpc_shutdown: it waits for the poller that C-core starts when a socket takes no more, and
 * that sleeps, ten seconds at a time, after the socket is long gone. What stays is reachable, and idle. */
void core_begin(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, begin);
}

/* ---- loops */

static void loop_drain(grpc_completion_queue *queue) {
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN) return;
        core_tag *tag = event.tag;
        CORE_AFTER(tag);
        tag->functor_run(tag, event.success);
    }
}

/* The queue is the thread's: the core_loop may be gone before the thread is. */
static void *loop_run(void *user) {
    rpc_loop_enter();
    loop_drain(user);
    grpc_completion_queue_destroy(user);
    return NULL;
}

static void *loop_run_server(void *user) {
    loop_drain(user);
    grpc_completion_queue_destroy(user);
    return NULL;
}

int core_loop_start(core_loop *loop, bool client) {
    sigset_t before;
    core_begin();
    *loop = (core_loop){.queue = grpc_completion_queue_create_for_next(NULL), .client = client};
    block_signals(&before);
    int failed =
        pthread_create(&loop->thread, NULL, client ? loop_run : loop_run_server, loop->queue);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed) {
        loop->running = true;
        return 0;
    }
    grpc_completion_queue_shutdown(loop->queue);
    loop_drain(loop->queue);
    grpc_completion_queue_destroy(loop->queue);
    return WEFT_ENOMEM;
}

void core_loop_stop(core_loop *loop) {
    if (!loop->running) return;
    loop->running = false;
    pthread_t thread = loop->thread;
    grpc_completion_queue_shutdown(loop->queue);
    if (pthread_equal(thread, pthread_self()))
        (void)pthread_detach(thread);
    else
        (void)pthread_join(thread, NULL);
}

/* ---- calls */

void core_ref(tp_call *call) { atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed); }

void core_unref(tp_call *call) {
    if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1) return;
    if (call->received) grpc_byte_buffer_destroy(call->received);
    if (call->server)
        core_server_call_clear(call);
    else {
        grpc_metadata_array_destroy(&call->u.c.trailers);
        grpc_slice_unref(call->u.c.message);
        core_metadata_free(call->u.c.metadata, call->u.c.metadata_count);
    }
    grpc_metadata_array_destroy(&call->headers);
    if (call->call) grpc_call_unref(call->call);
    weft_free(call);
}

void core_batch(tp_call *call, const grpc_op *ops, size_t count, core_tag *tag) {
    core_ref(call);
    grpc_call *lower = call->call; /* `call` may be gone once the batch has begun */
    CORE_BEFORE(tag);
    grpc_call_error error = grpc_call_start_batch(lower, ops, count, tag, NULL);
    if (error == GRPC_CALL_OK) return;
    /* Only a broken rule of the seam leads here. The tag must come back all the same. */
    weft_log(WEFT_LOG_ERROR, "C-core refused a batch; the call is cancelled",
             WEFT_S("error", grpc_call_error_to_string(error)));
    (void)grpc_call_cancel(lower, NULL);
    (void)grpc_call_start_batch(lower, NULL, 0, tag, NULL);
}

void core_call_cancel(tp_call *call) {
    atomic_store_explicit(&call->cancelled, true, memory_order_relaxed);
    (void)grpc_call_cancel(call->call, NULL);
}

/* ---- metadata and time */

grpc_metadata *core_metadata(const tp_header *headers, size_t count) {
    if (!count) return NULL;
    grpc_metadata *list = weft_calloc(count, sizeof *list);
    if (!list) return NULL;
    for (size_t i = 0; i < count; i++) {
        /* The key is needed during the batch's start only, the value until it is on the wire. */
        list[i].key = grpc_slice_from_static_buffer(headers[i].key, headers[i].key_len);
        list[i].value = grpc_slice_from_copied_buffer(headers[i].value, headers[i].value_len);
    }
    return list;
}

void core_metadata_free(grpc_metadata *list, size_t count) {
    if (!list) return;
    for (size_t i = 0; i < count; i++) grpc_slice_unref(list[i].value);
    weft_free(list);
}

static void metadata_at(const void *user, size_t index, tp_header *out) {
    const grpc_metadata *list = user;
    out->key = (const char *)GRPC_SLICE_START_PTR(list[index].key);
    out->key_len = GRPC_SLICE_LENGTH(list[index].key);
    out->value = GRPC_SLICE_START_PTR(list[index].value);
    out->value_len = GRPC_SLICE_LENGTH(list[index].value);
}

tp_headers core_headers(const grpc_metadata_array *list) {
    return (tp_headers){.list = list->metadata, .count = list->count, .at = metadata_at};
}

gpr_timespec core_time(int64_t ns) {
    if (ns == WEFT_NO_DEADLINE) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    gpr_timespec time = {ns / WEFT_NS_PER_S, (int32_t)(ns % WEFT_NS_PER_S), GPR_CLOCK_MONOTONIC};
    return time;
}

int64_t core_ns(gpr_timespec time) {
    if (gpr_time_cmp(time, gpr_inf_future(time.clock_type)) == 0) return WEFT_NO_DEADLINE;
    time = gpr_convert_clock_type(time, GPR_CLOCK_MONOTONIC);
    int64_t ns = 0;
    if (__builtin_mul_overflow(time.tv_sec, WEFT_NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, time.tv_nsec, &ns))
        return time.tv_sec > 0 ? WEFT_NO_DEADLINE : 0;
    return ns;
}

/* ---- messages */

_Static_assert(sizeof(grpc_slice) <= sizeof(((tp_out *)NULL)->opaque), "a slice fits a tp_out");

int core_call_buffer(tp_call *call, size_t size, tp_out *out) {
    (void)call;
    grpc_slice slice = grpc_slice_malloc(size);
    memcpy(out->opaque, &slice, sizeof slice);
    const grpc_slice *kept = (const grpc_slice *)(const void *)out->opaque;
    out->data = slice.refcount ? slice.data.refcounted.bytes
                               : (uint8_t *)out->opaque + offsetof(grpc_slice, data.inlined.bytes);
    out->len = GRPC_SLICE_LENGTH(*kept);
    return 0;
}

static grpc_slice out_slice(const tp_out *out) {
    grpc_slice slice;
    memcpy(&slice, out->opaque, sizeof slice);
    return slice;
}

void core_drop(tp_out *out) { grpc_slice_unref(out_slice(out)); }

grpc_op core_send_op(tp_call *call, tp_out *message, uint32_t flags) {
    if (!call->server && message->len > call->u.c.largest) call->u.c.largest = message->len;
    call->sending = (grpc_byte_buffer){.type = GRPC_BB_RAW};
    call->sending.data.raw.compression = GRPC_COMPRESS_NONE;
    grpc_slice_buffer_init(&call->sending.data.raw.slice_buffer);
    grpc_slice_buffer_add(&call->sending.data.raw.slice_buffer, out_slice(message));
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .flags = flags};
    op.data.send_message.send_message = &call->sending;
    return op;
}

void core_send_done(core_tag *tag, int ok) {
    tp_call *call = WEFT_CONTAINER(tag, tp_call, send_tag);
    grpc_slice_buffer_destroy(&call->sending.data.raw.slice_buffer);
    call->events->on_sent(call->user, ok);
    core_unref(call);
}

/* opaque[0]: the byte buffer; opaque[1]: a copy in one piece, when the message came in several. */
static int open_message(grpc_byte_buffer *bytes, tp_in *in) {
    static const uint8_t nothing[1];
    const grpc_slice_buffer *slices = &bytes->data.raw.slice_buffer;
    *in = (tp_in){.data = nothing, .opaque = {(uintptr_t)bytes, 0}};
    if (slices->count == 0) return 0;
    if (slices->count == 1) {
        in->data = GRPC_SLICE_START_PTR(slices->slices[0]);
        in->len = GRPC_SLICE_LENGTH(slices->slices[0]);
        return 0;
    }
    uint8_t *whole = weft_malloc(slices->length);
    if (!whole) return WEFT_ENOMEM;
    for (size_t i = 0; i < slices->count; i++) {
        size_t len = GRPC_SLICE_LENGTH(slices->slices[i]);
        memcpy(whole + in->len, GRPC_SLICE_START_PTR(slices->slices[i]), len);
        in->len += len;
    }
    in->data = whole;
    in->opaque[1] = (uintptr_t)whole;
    return 0;
}

void core_release_message(tp_in *message) {
    weft_free((void *)message->opaque[1]);
    grpc_byte_buffer_destroy((grpc_byte_buffer *)message->opaque[0]);
}

void core_deliver(tp_call *call, bool ok) {
    grpc_byte_buffer *bytes = call->received;
    call->received = NULL;
    tp_in in;
    if (bytes && ok && open_message(bytes, &in) == 0) {
        call->events->on_message(call->user, &in, false);
        return;
    }
    if (bytes) {
        grpc_byte_buffer_destroy(bytes);
        (void)grpc_call_cancel(call->call, NULL);
    }
    bool lost = !ok || bytes || grpc_call_failed_before_recv_message(call->call);
    call->events->on_message(call->user, NULL, lost);
}

static void recv_done(core_tag *tag, int ok) {
    tp_call *call = WEFT_CONTAINER(tag, tp_call, recv_tag);
    core_deliver(call, ok);
    core_unref(call);
}

void core_call_recv(tp_call *call) {
    call->recv_tag.functor_run = recv_done;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &call->received;
    core_batch(call, &op, 1, &call->recv_tag);
}

static void call_send(tp_call *call, tp_out *message, bool more) {
    uint32_t flags = more ? GRPC_WRITE_BUFFER_HINT : 0;
    call->send_tag.functor_run = core_send_done;
    if (call->server) {
        core_server_send(call, message, flags);
        return;
    }
    grpc_op op = core_send_op(call, message, flags);
    core_batch(call, &op, 1, &call->send_tag);
}

static void call_peer(tp_call *call, char *out, size_t size) {
    char *peer = grpc_call_get_peer(call->call);
    size_t len = peer ? strnlen(peer, size - 1) : 0;
    if (len) memcpy(out, peer, len);
    out[len] = '\0';
    gpr_free(peer);
}

const weft_transport weft_transport_core = {
    .name = "core",
    .channel_new = core_channel_new,
    .channel_free = core_channel_free,
    .call_new = core_call_new,
    .call_start = core_call_start,
    .call_close_send = core_call_close_send,
    .call_buffer = core_call_buffer,
    .drop = core_drop,
    .release = core_release_message,
    .call_send = call_send,
    .call_recv = core_call_recv,
    .call_cancel = core_call_cancel,
    .call_free = core_unref,
    .server_new = core_server_new,
    .server_listen = core_server_listen,
    .server_start = core_server_start,
    .server_drain = core_server_drain,
    .server_cancel_all = core_server_cancel_all,
    .server_free = core_server_free,
    .call_accept = core_call_accept,
    .call_refuse = core_call_refuse,
    .call_watch = core_call_watch,
    .call_headers = core_call_headers,
    .call_finish = core_call_finish,
    .call_peer = call_peer,
};
