/* What calls of both sides share: messages on their way in and out, and the table of operations. */
#include <stdio.h>
#include <string.h>

#include "native.h"

#define PREFIX HTTP_GRPC_PREFIX

/* ---- memory for messages. opaque[0]: the block, with room for the prefix in front of the message */

int nat_call_buffer(tp_call *call, size_t size, tp_out *out) {
    (void)call;
    uint8_t *block = size <= UINT32_MAX ? weft_malloc(size + PREFIX) : NULL;
    if (!block) return WEFT_ENOMEM;
    *out = (tp_out){.data = block + PREFIX, .len = size, .opaque = {(uintptr_t)block}};
    return 0;
}

void nat_drop(tp_out *out) {
    weft_free((void *)out->opaque[0]);
    *out = (tp_out){.data = NULL};
}

static void release(tp_in *message) { weft_free((void *)message->opaque[0]); }

/* ---- life */

static void run(nat_item *item, unsigned ops);

static void gone(nat_item *item) {
    tp_call *call = WEFT_CONTAINER(item, tp_call, item);
    if (call->server)
        nat_server_gone(call);
    else
        nat_client_gone(call);
    if (call->has_given) nat_drop(&call->given);
    nat_drop(&call->sending.out);
    weft_free(call->message);
    weft_free(call->headers);
    nat_peer_unref(call->peer);
    weft_free(call);
}

void nat_call_init(tp_call *call, nat_loop *loop) {
    nat_item_init(&call->item, 1, run, gone);
    call->loop = loop;
    call->deadline = WEFT_NO_DEADLINE;
    weft_list_init(&call->link);
    weft_chain_init(&call->input, net_loop_chunks(loop->net));
    weft_timer_init(&call->deadline_timer, nat_deadline, call);
}

void nat_break(tp_call *call, tp_cause cause, int code, const char *text) {
    if (call->over) return;
    if (call->server)
        nat_server_break(call, code, text);
    else
        nat_client_break(call, cause, code, text);
}

void nat_deadline(weft_timer *timer, int64_t now) {
    (void)now;
    tp_call *call = timer->user;
    nat_loop *loop = call->loop;
    nat_break(call, TP_DEADLINE, WEFT_DEADLINE_EXCEEDED, "Deadline Exceeded");
    nat_work(loop);
}

void nat_settle(tp_call *call, bool lost) {
    const bool tell = call->sending.busy && call->sending.tell;
    const bool answer = call->wanted && !call->unary;
    call->over = true;
    call->broken = lost;
    call->sending.busy = call->wanted = false;
    weft_timer_cancel(&call->deadline_timer);
    weft_list_remove(&call->link);
    weft_chain_clear(&call->input);
    if (call->stream) h2_stream_release(call->stream);
    call->stream = NULL;
    nat_drop(&call->sending.out);
    weft_free(call->message);
    call->message = NULL;
    if (tell) call->events->on_sent(call->user, false);
    if (answer) call->events->on_message(call->user, NULL, lost);
}

/* ---- sending */

static void message_passed(tp_call *call) {
    nat_sending *sending = &call->sending;
    const bool tell = sending->tell;
    sending->busy = sending->tell = false;
    if (!call->unary || call->server) nat_drop(&sending->out); /* else it may be sent once more */
    if (tell) call->events->on_sent(call->user, true);
}

static int feed_piece(tp_call *call, size_t queued) {
    nat_sending *sending = &call->sending;
    const size_t left = sending->out.len + PREFIX - sending->at;
    const size_t most = NAT_FEED - queued;
    const weft_slice slice = {.data = (const uint8_t *)sending->out.opaque[0] + sending->at,
                              .len = left < most ? left : most};
    const bool end = left == slice.len && call->close_wanted && !call->server;
    const int64_t sent = h2_send_data(call->stream, &slice, 1, end);
    if (sent < 0) return (int)sent;
    sending->at += slice.len;
    if (end) call->closed = true;
    return 0;
}

void nat_fail_sending(tp_call *call) {
    nat_sending *sending = &call->sending;
    const bool tell = sending->busy && sending->tell;
    sending->busy = sending->tell = false;
    nat_drop(&sending->out);
    if (tell) call->events->on_sent(call->user, false);
}

static bool feed_failed(tp_call *call, int error) {
    /* A stream that is over is told about by on_reset. */
    if (error == WEFT_ECLOSED)
        nat_fail_sending(call);
    else
        nat_break(call, TP_PEER, WEFT_RESOURCE_EXHAUSTED, "no memory to send the message");
    return false;
}

bool nat_feed(tp_call *call) {
    nat_sending *sending = &call->sending;
    while (sending->busy) {
        const size_t queued = h2_stream_queued(call->stream);
        if (sending->at == sending->out.len + PREFIX) {
            if (queued && !(call->server && call->u.s.finishing)) return true;
            message_passed(call);
            break;
        }
        if (queued >= NAT_FEED) return true;
        const int error = feed_piece(call, queued);
        if (error < 0) return feed_failed(call, error);
    }
    if (call->server) {
        nat_server_fed(call);
    } else if (call->close_wanted && !call->closed) {
        call->closed = true;
        const int64_t sent = h2_send_data(call->stream, NULL, 0, true);
        if (sent < 0) return feed_failed(call, (int)sent);
    }
    return true;
}

void nat_call_sent(tp_call *call) {
    if (call->over) return;
    if (call->sending.busy || call->server) (void)nat_feed(call);
}

/* Takes over what an operation left, to be sent. */
static void take_given(tp_call *call, bool tell) {
    nat_sending *sending = &call->sending;
    if (!call->has_given) return;
    call->has_given = false;
    if (call->over || (!call->server && call->u.c.ended)) {
        nat_drop(&call->given);
        if (tell) call->events->on_sent(call->user, false);
        return;
    }
    nat_drop(&sending->out);
    *sending = (nat_sending){.out = call->given, .busy = true, .tell = tell};
    http_grpc_prefix((uint8_t *)sending->out.opaque[0], false, (uint32_t)sending->out.len);
}

/* ---- receiving */

static void too_large(tp_call *call) {
    char text[128];
    const uint8_t *p = call->reader.prefix + 1;
    const uint32_t len = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    if (call->squeezed) {
        nat_break(call, TP_TOO_LARGE, WEFT_RESOURCE_EXHAUSTED,
                  "Received message larger than max once it is decompressed");
        return;
    }
    (void)snprintf(text, sizeof text, "Received message larger than max (%u vs. %zu)", len,
                   call->max_message);
    nat_break(call, TP_TOO_LARGE, WEFT_RESOURCE_EXHAUSTED, text);
}

/* False: the call broke. */
static bool unsqueeze(tp_call *call) {
    uint8_t *plain = NULL;
    size_t len = 0;
    const int error =
        nat_inflate(call->message, call->message_len, call->max_message, &plain, &len);
    if (!error) {
        weft_free(call->message);
        call->message = plain;
        call->message_len = len;
        return true;
    }
    if (error == WEFT_ELIMIT)
        too_large(call);
    else if (error == WEFT_ENOMEM)
        nat_break(call, TP_PEER, WEFT_RESOURCE_EXHAUSTED, "no memory for a received message");
    else
        nat_break(call, TP_PEER, WEFT_INTERNAL, "a compressed message is broken");
    return false;
}

static void deliver(tp_call *call) {
    if (call->squeezed && !unsqueeze(call)) return;
    tp_in in = {
        .data = call->message, .len = call->message_len, .opaque = {(uintptr_t)call->message}};
    call->message = NULL;
    call->wanted = false;
    if (call->unary) {
        call->u.c.reply = in;
        call->u.c.has_reply = call->u.c.reply_done = true;
        return;
    }
    call->events->on_message(call->user, &in, false);
}

static bool begin_message(tp_call *call, bool compressed) {
    if (compressed && !call->squeezable) {
        nat_break(call, TP_PEER, call->server ? WEFT_UNIMPLEMENTED : WEFT_INTERNAL,
                  "the message is compressed in a way that was not agreed on");
        return false;
    }
    call->squeezed = compressed;
    call->message_at = 0;
    call->message_len = call->reader.left;
    call->message = weft_malloc(call->message_len ? call->message_len : 1);
    if (call->message) return true;
    nat_break(call, TP_PEER, WEFT_RESOURCE_EXHAUSTED, "no memory for a received message");
    return false;
}

/* Reads up to the end of one message. Returns the bytes used; when the call broke all are. */
static size_t parse(tp_call *call, const uint8_t *data, size_t size) {
    const size_t all = size;
    const uint8_t *piece = NULL;
    size_t piece_len = 0;
    bool compressed = false;
    for (;;) {
        const int event =
            http_grpc_read(&call->reader, &data, &size, &compressed, &piece, &piece_len);
        switch (event) {
        case HTTP_GRPC_MORE:
            return all;
        case HTTP_GRPC_BEGIN:
            if (!begin_message(call, compressed)) return all;
            break;
        case HTTP_GRPC_PAYLOAD:
            memcpy(call->message + call->message_at, piece, piece_len);
            call->message_at += piece_len;
            break;
        case HTTP_GRPC_END:
            deliver(call);
            return all - size;
        case WEFT_ELIMIT:
            call->squeezed = false;
            too_large(call);
            return all;
        default:
            nat_break(call, TP_PEER, WEFT_INTERNAL, "a message with flags that are reserved");
            return all;
        }
    }
}

static void consume(tp_call *call, size_t size) {
    if (call->stream && size) h2_consume(call->stream, size);
}

void nat_pump(tp_call *call) {
    while (!call->over && call->wanted && call->input.bytes) {
        const weft_slice first = call->input.head->slice;
        weft_chunk_ref(first.chunk); /* the call may break meanwhile */
        const size_t used = parse(call, first.data, first.len);
        weft_chunk_unref(first.chunk);
        if (call->over) return;
        weft_chain_consume(&call->input, used);
        consume(call, used);
    }
    if (call->over || !call->wanted || !call->peer_closed || call->unary) return;
    call->wanted = false;
    call->events->on_message(call->user, NULL, !http_grpc_reader_idle(&call->reader));
}

void nat_input(tp_call *call, const weft_slice *data, bool end) {
    weft_slice rest = *data;
    if (end) call->peer_closed = true;
    if (call->unary && call->u.c.reply_done) { /* one reply was asked for */
        consume(call, rest.len);
        return;
    }
    if (call->wanted && !call->input.bytes && rest.len) {
        const size_t used = parse(call, rest.data, rest.len);
        if (call->over) return;
        consume(call, used);
        rest.data += used;
        rest.len -= used;
    }
    if (rest.len && call->unary) {
        consume(call, rest.len);
    } else if (rest.len && weft_chain_add_slice(&call->input, &rest) < 0) {
        nat_break(call, TP_PEER, WEFT_RESOURCE_EXHAUSTED, "no memory for a received message");
        return;
    }
    nat_pump(call);
}

/* ---- operations, done */

static void run_sending(tp_call *call, unsigned ops) {
    if (ops & NAT_SEND) take_given(call, true);
    if (ops & NAT_CLOSE) call->close_wanted = true;
    if (call->over || !(ops & (NAT_SEND | NAT_CLOSE))) return;
    if (call->server && !nat_server_open_headers(call)) return;
    if (call->stream) (void)nat_feed(call);
}

static void run_receiving(tp_call *call) {
    if (call->over) {
        call->events->on_message(call->user, NULL, call->broken);
        return;
    }
    call->wanted = true;
    nat_pump(call);
    if (!call->server) nat_client_pumped(call);
}

static void run(nat_item *item, unsigned ops) {
    tp_call *call = WEFT_CONTAINER(item, tp_call, item);
    if (ops & NAT_CANCEL) call->cancelled = true;
    if (ops & NAT_START) {
        if (call->has_first) take_given(call, false); /* else it may be a send's that comes */
        nat_client_begin(call);
    }
    if (call->server && ops & (NAT_REFUSE | NAT_WATCH | NAT_FINISH)) {
        if (ops & NAT_FINISH) take_given(call, false);
        nat_server_run(call, ops);
    }
    run_sending(call, ops);
    if (ops & NAT_RECV) run_receiving(call);
    if (ops & NAT_CANCEL && !call->over && (call->server || call->started))
        nat_break(call, TP_CANCELLED, WEFT_CANCELLED, "CANCELLED");
}

/* ---- operations, left for the loop */

static void call_send(tp_call *call, tp_out *message, bool more) {
    (void)more; /* everything of a turn goes out together */
    call->given = *message;
    call->has_given = true;
    nat_push(call->loop, &call->item, NAT_SEND);
}

static void call_close_send(tp_call *call) { nat_push(call->loop, &call->item, NAT_CLOSE); }
static void call_recv(tp_call *call) { nat_push(call->loop, &call->item, NAT_RECV); }
static void call_cancel(tp_call *call) { nat_push(call->loop, &call->item, NAT_CANCEL); }
static void call_watch(tp_call *call) { nat_push(call->loop, &call->item, NAT_WATCH); }
static void call_free(tp_call *call) { nat_item_unref(&call->item); }

static void call_peer(tp_call *call, char *out, size_t size) {
    (void)snprintf(out, size, "%s", call->peer ? call->peer->text : "");
}

static const char *call_identity(tp_call *call) {
    return call->peer && call->peer->identity[0] ? call->peer->identity : NULL;
}

const weft_transport weft_transport_native = {
    .name = "native",
    .has_tls = true,
    .channel_new = nat_channel_new,
    .channel_free = nat_channel_free,
    .call_new = nat_call_new,
    .call_start = nat_call_start,
    .call_close_send = call_close_send,
    .call_buffer = nat_call_buffer,
    .drop = nat_drop,
    .release = release,
    .call_send = call_send,
    .call_recv = call_recv,
    .call_cancel = call_cancel,
    .call_free = call_free,
    .server_new = nat_server_new,
    .server_listen = nat_server_listen,
    .server_start = nat_server_start,
    .server_tls = nat_server_tls,
    .server_drain = nat_server_drain,
    .server_cancel_all = nat_server_cancel_all,
    .server_free = nat_server_free,
    .call_accept = nat_call_accept,
    .call_refuse = nat_call_refuse,
    .call_watch = call_watch,
    .call_headers = nat_call_headers,
    .call_finish = nat_call_finish,
    .call_peer = call_peer,
    .call_identity = call_identity,
};
