/* C-core's client side: one loop for the process, channels, calls. */
#include "core.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* ---- the process-wide loop, running while there are channels */

static pthread_mutex_t loop_lock = PTHREAD_MUTEX_INITIALIZER;
static core_loop loop;
static unsigned loop_users;

static int loop_acquire(void) {
    (void)pthread_mutex_lock(&loop_lock);
    int error = loop_users ? 0 : core_loop_start(&loop, true);
    if (!error) loop_users++;
    (void)pthread_mutex_unlock(&loop_lock);
    return error;
}

/* The last one stops it outside the lock: its thread may be in a callback that dials. */
static void loop_release(void) {
    core_loop ended = {.running = false};
    (void)pthread_mutex_lock(&loop_lock);
    if (--loop_users == 0) {
        ended = loop;
        loop = (core_loop){.running = false};
    }
    (void)pthread_mutex_unlock(&loop_lock);
    core_loop_stop(&ended);
}

/* ---- channels */

/* C-core's receive limit belongs to a channel, ours to a call. The first is the channel's own limit; the
 * others, each four times the one before, are made when a call asks for more. */
#define LIMIT_CLASSES 8

struct tp_channel {
    grpc_completion_queue *queue;
    pthread_mutex_t lock; /* making a channel */
    _Atomic(grpc_channel *) channels[LIMIT_CLASSES];
    char target[3 * WEFT_ADDR_TEXT];
    char *authority;
    int keepalive_ms, max_metadata;
    size_t max_reply;
};

static int to_int(size_t value) { return value > INT_MAX ? INT_MAX : (int)value; }

/* As C-core's URI parser wants it: everything but plain characters as %XX. */
static void add_escaped(char *out, size_t size, const char *text) {
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/:";
    size_t at = strlen(out);
    for (; *text && at + 4 < size; text++) {
        if (strchr(plain, *text))
            out[at++] = *text;
        else
            at += (size_t)snprintf(out + at, size - at, "%%%02X", (unsigned char)*text);
    }
    out[at] = '\0';
}

static void write_target(const weft_addr *address, char *out, size_t size) {
    char text[WEFT_ADDR_TEXT];
    const char *scheme = "dns:///";
    const char *rest = weft_addr_format(address, text);
    if (address->kind == WEFT_ADDR_IPV4) scheme = "ipv4:";
    if (address->kind == WEFT_ADDR_IPV6) scheme = "ipv6:";
    if (address->kind == WEFT_ADDR_UNIX || address->kind == WEFT_ADDR_ABSTRACT) {
        scheme = address->kind == WEFT_ADDR_UNIX ? "unix:" : "unix-abstract:";
        rest = address->host;
    }
    (void)snprintf(out, size, "%s", scheme);
    add_escaped(out, size, rest);
}

static grpc_channel *channel_make(const tp_channel *channel, int max_reply) {
    const struct {
        const char *key;
        int value;
    } numbers[] = {
        {GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, max_reply},
        {GRPC_ARG_MAX_METADATA_SIZE, channel->max_metadata},
        {GRPC_ARG_ENABLE_RETRIES, 0}, /* retries are the mesh's */
        {GRPC_ARG_ENABLE_HTTP_PROXY, 0},
        {GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1},
        {GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1},
        {GRPC_ARG_ENABLE_CHANNELZ, 0},
        /* What we dial is near: a sidecar that restarts must be found again at once. */
        {GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50},
        {GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000},
        {GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000},
        {GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0},
        {GRPC_ARG_KEEPALIVE_TIME_MS, channel->keepalive_ms}, /* last: left out when 0 */
    };
    enum { NUMBERS = sizeof numbers / sizeof *numbers };
    grpc_arg args[NUMBERS + 1];
    size_t count = 0;
    if (channel->authority)
        args[count++] = (grpc_arg){GRPC_ARG_STRING, (char *)GRPC_ARG_DEFAULT_AUTHORITY,
                                   .value.string = channel->authority};
    for (size_t i = 0; i < NUMBERS - (channel->keepalive_ms ? 0 : 1); i++)
        args[count++] = (grpc_arg){GRPC_ARG_INTEGER, (char *)(uintptr_t)numbers[i].key,
                                   .value.integer = numbers[i].value};
    grpc_channel_args list = {count, args};
    grpc_channel_credentials *plain = grpc_insecure_credentials_create();
    grpc_channel *made = grpc_channel_create(channel->target, plain, &list);
    grpc_channel_credentials_release(plain);
    return made;
}

static grpc_channel *channel_for(tp_channel *channel, size_t max_reply, size_t *used) {
    size_t limit = channel->max_reply, class = 0;
    for (; max_reply > limit && class < LIMIT_CLASSES - 1; class ++)
        limit = limit > SIZE_MAX / 4 ? SIZE_MAX : limit * 4;
    if (class == LIMIT_CLASSES - 1) limit = INT_MAX;
    *used = (size_t)to_int(limit);
    grpc_channel *found = atomic_load_explicit(&channel->channels[class], memory_order_acquire);
    if (found) return found;
    (void)pthread_mutex_lock(&channel->lock);
    found = atomic_load_explicit(&channel->channels[class], memory_order_relaxed);
    if (!found) {
        found = channel_make(channel, to_int(limit));
        atomic_store_explicit(&channel->channels[class], found, memory_order_release);
    }
    (void)pthread_mutex_unlock(&channel->lock);
    return found;
}

tp_channel *core_channel_new(const tp_channel_options *options) {
    tp_channel *channel = weft_calloc(1, sizeof *channel);
    if (!channel) return NULL;
    (void)pthread_mutex_init(&channel->lock, NULL);
    channel->max_reply = options->max_reply;
    channel->max_metadata = to_int(options->max_metadata);
    channel->keepalive_ms = to_int((size_t)(options->keepalive_ns / WEFT_NS_PER_MS));
    write_target(&options->address, channel->target, sizeof channel->target);
    if (options->authority) channel->authority = weft_heap_strdup(options->authority);
    if ((options->authority && !channel->authority) || loop_acquire()) {
        weft_free(channel->authority);
        weft_free(channel);
        return NULL;
    }
    channel->queue = loop.queue;
    return channel;
}

void core_channel_free(tp_channel *channel) {
    for (size_t i = 0; i < LIMIT_CLASSES; i++) {
        grpc_channel *made = atomic_load(&channel->channels[i]);
        if (made) grpc_channel_destroy(made);
    }
    loop_release();
    (void)pthread_mutex_destroy(&channel->lock);
    weft_free(channel->authority);
    weft_free(channel);
}

/* ---- calls */

static bool starts(const char *text, size_t len, const char *with) {
    size_t need = strlen(with);
    return len >= need && memcmp(text, with, need) == 0;
}

/* "Received message larger than max (5000072 vs. 4194304)": the peer, about a message of ours, says the same
 * as C-core does here about one of the peer's. */
static bool too_large_here(const tp_call *call, const char *text, size_t len) {
    char copy[128];
    size_t got = 0, limit = 0;
    (void)snprintf(copy, sizeof copy, "%.*s", (int)(len < 127 ? len : 127), text);
    if (sscanf(copy, "Received message larger than max (%zu vs. %zu)", &got, &limit) != 2)
        return false;
    return limit == call->u.c.limit && got > call->u.c.largest;
}

/* C-core's own endings look like the peer's: its texts and what we know of the call tell them apart. */
static tp_cause cause_of(const tp_call *call, const char *text, size_t len) {
    switch (call->u.c.code) {
    case GRPC_STATUS_DEADLINE_EXCEEDED:
        if (!starts(text, len, "Deadline Exceeded")) return TP_PEER;
        /* C-core counts in milliseconds. */
        return weft_now(NULL) + 2 * WEFT_NS_PER_MS >= call->u.c.deadline ? TP_DEADLINE : TP_PEER;
    case GRPC_STATUS_CANCELLED:
        if (!starts(text, len, "CANCELLED") && !starts(text, len, "Cancelled")) return TP_PEER;
        return atomic_load(&call->cancelled) ? TP_CANCELLED : TP_PEER;
    case GRPC_STATUS_UNAVAILABLE:
        if (starts(text, len, "failed to connect to all addresses")) return TP_CONNECT;
        return starts(text, len, "DNS resolution failed") ? TP_CONNECT : TP_PEER;
    case GRPC_STATUS_RESOURCE_EXHAUSTED:
        return too_large_here(call, text, len) ? TP_TOO_LARGE : TP_PEER;
    default:
        return TP_PEER;
    }
}

static tp_end call_end(tp_call *call) {
    const char *text = (const char *)GRPC_SLICE_START_PTR(call->u.c.message);
    size_t len = GRPC_SLICE_LENGTH(call->u.c.message);
    return (tp_end){
        .cause = cause_of(call, text, len),
        .code = (int)call->u.c.code,
        .message = text,
        .message_len = len,
        .trailers = core_headers(&call->u.c.trailers),
    };
}

static void give_headers(tp_call *call) {
    tp_headers headers = core_headers(&call->headers);
    if (headers.count) call->events->on_headers(call->user, &headers);
}

static void unary_done(core_tag *tag, int ok) {
    tp_call *call = WEFT_CONTAINER(tag, tp_call, u.c.status_tag);
    (void)ok; /* the status tells */
    if (call->sending.type == GRPC_BB_RAW && call->sending.data.raw.slice_buffer.slices)
        grpc_slice_buffer_destroy(&call->sending.data.raw.slice_buffer);
    give_headers(call);
    core_deliver(call, true);
    tp_end end = call_end(call);
    call->events->on_end(call->user, &end);
    core_unref(call);
}

static void start_done(core_tag *tag, int ok) {
    tp_call *call = WEFT_CONTAINER(tag, tp_call, u.c.start_tag);
    (void)ok;
    core_unref(call);
}

static void first_sent(core_tag *tag, int ok) {
    tp_call *call = WEFT_CONTAINER(tag, tp_call, u.c.start_tag);
    (void)ok;
    grpc_slice_buffer_destroy(&call->sending.data.raw.slice_buffer);
    core_unref(call);
}

static void close_done(core_tag *tag, int ok) {
    tp_call *call = WEFT_CONTAINER(tag, tp_call, u.c.close_tag);
    (void)ok;
    core_unref(call);
}

static void headers_done(core_tag *tag, int ok) {
    tp_call *call = WEFT_CONTAINER(tag, tp_call, u.c.headers_tag);
    if (ok) give_headers(call);
    core_unref(call);
}

static void status_done(core_tag *tag, int ok) {
    tp_call *call = WEFT_CONTAINER(tag, tp_call, u.c.status_tag);
    (void)ok;
    tp_end end = call_end(call);
    call->events->on_end(call->user, &end);
    core_unref(call);
}

tp_call *core_call_new(tp_channel *channel, const tp_call_args *args) {
    tp_call *call = weft_calloc(1, sizeof *call);
    if (!call) return NULL;
    call->u.c.metadata = core_metadata(args->headers, args->header_count);
    if (args->header_count && !call->u.c.metadata) {
        weft_free(call);
        return NULL;
    }
    call->u.c.metadata_count = args->header_count;
    if (args->wait_for_ready)
        call->u.c.flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY |
                          GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
    atomic_init(&call->refs, 1);
    call->events = args->events;
    call->user = args->user;
    grpc_metadata_array_init(&call->headers);
    grpc_metadata_array_init(&call->u.c.trailers);
    call->u.c.message = grpc_empty_slice();
    call->u.c.code = GRPC_STATUS_INTERNAL;
    grpc_slice path = grpc_slice_from_copied_string(args->path);
    grpc_channel *lower = channel_for(channel, args->max_reply, &call->u.c.limit);
    call->u.c.deadline = args->deadline;
    call->call = grpc_channel_create_call(lower, NULL, 0, channel->queue, path, NULL,
                                          core_time(args->deadline), NULL);
    grpc_slice_unref(path);
    return call;
}

static void start_stream(tp_call *call, grpc_op *ops, size_t count, const grpc_op *receive) {
    call->u.c.headers_tag.functor_run = headers_done;
    call->u.c.status_tag.functor_run = status_done;
    core_batch(call, &receive[0], 1, &call->u.c.headers_tag);
    core_batch(call, &receive[2], 1, &call->u.c.status_tag);
    core_batch(call, ops, count, &call->u.c.start_tag);
}

void core_call_start(tp_call *call, tp_out *first, unsigned flags) {
    grpc_op ops[6] = {{.op = GRPC_OP_SEND_INITIAL_METADATA, .flags = call->u.c.flags}};
    size_t count = 1;
    ops[0].data.send_initial_metadata.count = call->u.c.metadata_count;
    ops[0].data.send_initial_metadata.metadata = call->u.c.metadata;
    if (first) ops[count++] = core_send_op(call, first, 0);
    if (flags & (TP_CLOSE | TP_UNARY))
        ops[count++] = (grpc_op){.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    grpc_op receive[3] = {{.op = GRPC_OP_RECV_INITIAL_METADATA},
                          {.op = GRPC_OP_RECV_MESSAGE},
                          {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
    receive[0].data.recv_initial_metadata.recv_initial_metadata = &call->headers;
    receive[1].data.recv_message.recv_message = &call->received;
    receive[2].data.recv_status_on_client.trailing_metadata = &call->u.c.trailers;
    receive[2].data.recv_status_on_client.status = &call->u.c.code;
    receive[2].data.recv_status_on_client.status_details = &call->u.c.message;
    if (flags & TP_UNARY) {
        memcpy(ops + count, receive, sizeof receive);
        call->u.c.status_tag.functor_run = unary_done;
        core_batch(call, ops, count + 3, &call->u.c.status_tag);
    } else {
        call->u.c.start_tag.functor_run = first ? first_sent : start_done;
        start_stream(call, ops, count, receive);
    }
}

void core_call_close_send(tp_call *call) {
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    call->u.c.close_tag.functor_run = close_done;
    core_batch(call, &op, 1, &call->u.c.close_tag);
}
