/* Calls of the native transport's client side: requests, answers, ends. */
#include <stdio.h>
#include <string.h>

#include "native.h"

/* ---- making and freeing */

tp_call *nat_call_new(tp_channel *channel, const tp_call_args *args) {
    bool failed = false;
    tp_call *call = weft_calloc(1, sizeof *call);
    if (!call) return NULL;
    nat_call_init(call, nat_channel_loop(channel));
    call->u.c.channel = channel;
    call->u.c.path = weft_heap_strdup(args->path);
    call->u.c.metadata = nat_headers_copy(args->headers, args->header_count, &failed);
    if (failed || !call->u.c.path) {
        nat_item_unref(&call->item);
        return NULL;
    }
    call->u.c.wait_for_ready = args->wait_for_ready;
    call->deadline = args->deadline;
    call->max_message = args->max_reply ? args->max_reply : nat_channel_max_reply(channel);
    call->reader.max = call->max_message > UINT32_MAX ? UINT32_MAX : (uint32_t)call->max_message;
    call->events = args->events;
    call->user = args->user;
    return call;
}

void nat_client_gone(tp_call *call) {
    weft_free(call->u.c.path);
    weft_free(call->u.c.metadata);
    weft_free(call->u.c.trailers);
    weft_free(call->u.c.text);
}

void nat_call_start(tp_call *call, tp_out *first, unsigned flags) {
    call->unary = call->wanted = flags & TP_UNARY;
    call->close_wanted = flags & (TP_UNARY | TP_CLOSE);
    if (first) {
        call->given = *first;
        call->has_given = call->has_first = true;
    }
    nat_item_ref(&call->item); /* the loop's */
    nat_push(call->loop, &call->item, NAT_START);
}

/* ---- ending */

/* The outcome is in u.c.end: gives the events that are owed, then on_end. */
static void end_call(tp_call *call, bool lost) {
    nat_settle(call, lost);
    const tp_call_events *events = call->events;
    if (call->unary) {
        const tp_headers headers = nat_headers_view(call->headers);
        if (headers.count) events->on_headers(call->user, &headers);
        events->on_message(call->user, call->u.c.has_reply ? &call->u.c.reply : NULL, lost);
    }
    call->u.c.end.trailers = nat_headers_view(call->u.c.trailers);
    events->on_end(call->user, &call->u.c.end);
    nat_retire(call);
}

static void set_text(tp_call *call, const char *text, size_t len, bool encoded) {
    weft_free(call->u.c.text);
    call->u.c.text = len ? weft_malloc(len) : NULL;
    call->u.c.end.message = call->u.c.text ? call->u.c.text : "";
    call->u.c.end.message_len = 0;
    if (!call->u.c.text) return;
    memcpy(call->u.c.text, text, len);
    call->u.c.end.message_len = encoded ? http_grpc_message_decode(text, len, call->u.c.text) : len;
}

void nat_client_break(tp_call *call, tp_cause cause, int code, const char *text) {
    call->u.c.end = (tp_end){.cause = cause, .code = code};
    set_text(call, text, strnlen(text, 4096), false);
    if (call->stream) h2_reset(call->stream, http_h2_from_grpc(WEFT_CANCELLED));
    end_call(call, true);
}

/* The end is known; it is told once everything received was asked for. */
void nat_client_pumped(tp_call *call) {
    if (call->over || !call->u.c.ended || call->input.bytes) return;
    const bool half = !http_grpc_reader_idle(&call->reader);
    if (half && call->u.c.end.code == WEFT_OK) {
        nat_client_break(call, TP_PEER, WEFT_INTERNAL,
                         "the answer ended in the middle of a message");
        return;
    }
    end_call(call, half);
}

static void finish(tp_call *call, int code, const char *text, size_t len, bool encoded) {
    call->u.c.end = (tp_end){.cause = TP_PEER, .code = code};
    set_text(call, text, len, encoded);
    call->u.c.ended = call->peer_closed = true;
    nat_fail_sending(call); /* nobody will read it */
    nat_pump(call);
    nat_client_pumped(call);
}

/* ---- what the engine reports */

static int http_status(const http_fields *fields) {
    const http_field *field = http_fields_find(fields, HTTP_NAME_STATUS);
    int status = 0;
    for (uint32_t i = 0; field && i < field->value_len; i++)
        status = status * 10 + (field->value[i] - '0');
    return status;
}

static void take_trailers(tp_call *call, const http_fields *fields) {
    int code = 0;
    const char *text = NULL;
    size_t len = 0;
    bool failed = false;
    if (http_grpc_outcome(fields, &code, &text, &len) < 0) {
        char why[96];
        const int status = http_status(fields);
        if (status && status != 200) code = (int)http_grpc_from_http(status);
        (void)snprintf(why, sizeof why, "the answer has no grpc-status (HTTP status %d)", status);
        finish(call, code, why, strnlen(why, sizeof why), false);
        return;
    }
    call->u.c.trailers = nat_headers_take(fields, &failed);
    if (failed)
        nat_client_break(call, TP_PEER, WEFT_RESOURCE_EXHAUSTED, "no memory for the trailers");
    else
        finish(call, code, text, len, true);
}

static void take_response(tp_call *call, const http_fields *fields) {
    char why[96];
    bool failed = false;
    const int status = http_status(fields);
    const http_field *type = http_fields_find(fields, HTTP_NAME_CONTENT_TYPE);
    if (status != 200 || !type || !http_grpc_content_type(type->value, type->value_len)) {
        (void)snprintf(why, sizeof why, "the answer is not gRPC (HTTP status %d)", status);
        nat_client_break(call, TP_PEER,
                         status == 200 ? WEFT_UNKNOWN : (int)http_grpc_from_http(status), why);
        return;
    }
    call->u.c.answered = true;
    call->squeezable = nat_knows_encoding(fields);
    call->headers = nat_headers_take(fields, &failed);
    if (failed) {
        nat_client_break(call, TP_PEER, WEFT_RESOURCE_EXHAUSTED, "no memory for the headers");
        return;
    }
    const tp_headers headers = nat_headers_view(call->headers);
    if (!call->unary && headers.count) call->events->on_headers(call->user, &headers);
}

static void on_headers(h2_stream *stream, h2_headers_kind kind, http_fields *fields, bool end) {
    tp_call *call = h2_stream_user(stream);
    if (kind == H2_HEADERS_INFORM || call->over) return;
    if (end)
        take_trailers(call, fields);
    else
        take_response(call, fields);
}

static void on_data(h2_stream *stream, const weft_slice *data, bool end) {
    tp_call *call = h2_stream_user(stream);
    static const char why[] = "the answer has no grpc-status";
    nat_input(call, data, false);
    if (call->over || !end) return;
    finish(call, WEFT_UNKNOWN, why, sizeof why - 1, false);
}

static bool try_again(tp_call *call, const h2_reset_info *info) {
    if (!info->unprocessed || !call->unary || call->u.c.again || call->cancelled) return false;
    if (!call->sending.out.opaque[0]) return false;
    call->u.c.again = true;
    h2_stream_release(call->stream);
    call->stream = NULL;
    call->sending.at = 0;
    call->sending.busy = true;
    call->closed = false;
    nat_channel_submit(call->u.c.channel, call);
    return true;
}

static void on_reset(h2_stream *stream, const h2_reset_info *info) {
    tp_call *call = h2_stream_user(stream);
    char text[160];
    if (call->over || call->u.c.ended || try_again(call, info)) return;
    if (info->conn_lost || info->unprocessed) {
        (void)snprintf(text, sizeof text, "connection lost: %s", info->text);
        nat_client_break(call, TP_PEER, WEFT_UNAVAILABLE, text);
        return;
    }
    const bool late = info->code == H2_CANCEL && call->deadline <= net_loop_now(call->loop->net);
    if (late) {
        nat_client_break(call, TP_DEADLINE, WEFT_DEADLINE_EXCEEDED, "Deadline Exceeded");
        return;
    }
    if (info->by_peer)
        (void)snprintf(text, sizeof text, "Received RST_STREAM with error code %u", info->code);
    else
        (void)snprintf(text, sizeof text, "the answer breaks HTTP/2: %s", info->text);
    nat_client_break(call, TP_PEER, (int)http_grpc_from_h2(info->code), text);
}

static void on_sent(h2_stream *stream, size_t size) {
    (void)size;
    nat_call_sent(h2_stream_user(stream));
}

const h2_callbacks nat_client_callbacks = {
    .on_headers = on_headers,
    .on_data = on_data,
    .on_reset = on_reset,
    .on_sent = on_sent,
    .on_capacity = nat_channel_capacity,
    .on_settings = nat_channel_settings,
    .on_goaway = nat_channel_goaway,
    .on_want_write = nat_want_write,
};

/* ---- beginning */

static int request_fields(const tp_call *call, http_fields *fields) {
    char timeout[HTTP_TIMEOUT_TEXT];
    const char *path = call->u.c.path;
    int error = http_fields_reserve(fields, 12);
    if (!error) error = http_fields_add_known(fields, HTTP_NAME_METHOD, "POST", 4);
    if (!error)
        error = http_fields_push(
            fields, http_field_intern(fields->pool, ":path", 5, path, strnlen(path, 65536)));
    if (!error) error = nat_channel_fields(call->u.c.channel, fields);
    if (!error && call->deadline != WEFT_NO_DEADLINE) {
        const int64_t left = call->deadline - net_loop_now(call->loop->net);
        const size_t len = http_timeout_format(left > 1 ? left : 1, timeout);
        error = http_fields_add_known(fields, HTTP_NAME_GRPC_TIMEOUT, timeout, len);
    }
    return error ? error : nat_headers_send(call->u.c.metadata, fields);
}

int nat_client_request(tp_call *call, nat_conn *conn) {
    http_fields fields;
    http_fields_init(&fields, call->loop->fields);
    int error = request_fields(call, &fields);
    if (!error) error = h2_request(conn->h2, &fields, false, call, &call->stream);
    http_fields_clear(&fields);
    if (error == WEFT_EAGAIN || error == WEFT_ECLOSED) return error;
    if (error < 0) {
        nat_client_break(call, TP_PEER, WEFT_RESOURCE_EXHAUSTED,
                         error == WEFT_ELIMIT
                             ? "the call's metadata is larger than the server accepts"
                             : "no memory for the call");
        return 0;
    }
    if (!call->peer) call->peer = nat_peer_ref(conn->peer);
    (void)nat_feed(call);
    return 0;
}

void nat_client_begin(tp_call *call) {
    call->started = true;
    if (call->cancelled) {
        nat_client_break(call, TP_CANCELLED, WEFT_CANCELLED, "CANCELLED");
        return;
    }
    if (call->deadline != WEFT_NO_DEADLINE) {
        if (call->deadline <= net_loop_now(call->loop->net)) {
            nat_client_break(call, TP_DEADLINE, WEFT_DEADLINE_EXCEEDED, "Deadline Exceeded");
            return;
        }
        weft_timer_arm(net_loop_timers(call->loop->net), &call->deadline_timer, call->deadline);
    }
    nat_channel_submit(call->u.c.channel, call);
}
