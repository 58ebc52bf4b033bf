/* Calls of the native transport's server side: from a request's headers to its trailers. */
#include <stdio.h>
#include <string.h>

#include "native_server.h"

void nat_server_gone(tp_call *call) {
    weft_free(call->u.s.path);
    weft_free(call->u.s.initial);
    weft_free(call->u.s.trailers);
    weft_free(call->u.s.message);
}

/* ---- answering */

static int add_response(http_fields *fields) {
    int error = http_fields_reserve(fields, 8);
    if (!error) error = http_fields_add_known(fields, HTTP_NAME_STATUS, "200", 3);
    if (!error)
        error = http_fields_push(
            fields, http_field_intern(fields->pool, "content-type", 12, "application/grpc", 16));
    return error;
}

static bool answer_failed(tp_call *call, int error) {
    if (error == WEFT_ECLOSED) return false; /* on_reset tells */
    nat_break(call, TP_PEER, WEFT_RESOURCE_EXHAUSTED,
              error == WEFT_ELIMIT ? "the answer's metadata is larger than the client accepts"
                                   : "no memory for the answer");
    return false;
}

bool nat_server_open_headers(tp_call *call) {
    http_fields fields;
    if (call->u.s.sent_headers) return true;
    call->u.s.sent_headers = true;
    http_fields_init(&fields, call->loop->fields);
    int error = add_response(&fields);
    if (!error) error = nat_headers_send(call->u.s.initial, &fields);
    if (!error) error = h2_respond(call->stream, &fields, false);
    http_fields_clear(&fields);
    if (!error) return true;
    if (error != WEFT_ECLOSED) call->u.s.sent_headers = false;
    return answer_failed(call, error);
}

/* Trailers, or all there is in one header block. */
static int send_outcome(tp_call *call, int code, const char *message, const nat_headers *trailers) {
    http_fields fields;
    const bool only = !call->u.s.sent_headers;
    http_fields_init(&fields, call->loop->fields);
    int error = only ? add_response(&fields) : 0;
    if (!error && only) error = nat_headers_send(call->u.s.initial, &fields);
    if (!error) error = http_grpc_trailers(&fields, code, message);
    if (!error) error = nat_headers_send(trailers, &fields);
    if (!error)
        error = only ? h2_respond(call->stream, &fields, true)
                     : h2_send_trailers(call->stream, &fields);
    http_fields_clear(&fields);
    return error;
}

/* ---- ending */

static void tell_end(tp_call *call, bool reached) {
    const tp_end end = {.code = reached ? WEFT_OK : WEFT_CANCELLED, .message = ""};
    if (call->u.s.told) return;
    call->u.s.told = true;
    call->events->on_end(call->user, &end);
    nat_retire(call);
}

static void complete(tp_call *call) {
    nat_settle(call, false);
    tell_end(call, true);
}

/* The caller gets `code`, if it still listens; whoever handles the call learns that it is over. */
static void break_off(tp_call *call) {
    nat_settle(call, true);
    if (!call->events) return; /* inside on_call, before accept */
    if (call->u.s.finishing) {
        tell_end(call, false);
    } else if (call->u.s.watched) {
        call->u.s.watched = false;
        call->events->on_cancel(call->user);
    }
}

void nat_server_break(tp_call *call, int code, const char *text) {
    const bool partial = call->sending.busy && call->sending.at;
    if (call->stream && !call->u.s.sent_trailers) {
        call->u.s.sent_trailers = true;
        if (partial || send_outcome(call, code, text, NULL) < 0)
            h2_reset(call->stream, http_h2_from_grpc(code));
    }
    break_off(call);
}

/* Everything of the message is with the engine: the outcome follows it. */
void nat_server_fed(tp_call *call) {
    if (!call->u.s.finishing || call->sending.busy) return;
    if (!call->u.s.sent_trailers) {
        call->u.s.sent_trailers = true;
        int error = send_outcome(call, call->u.s.code, call->u.s.message, call->u.s.trailers);
        if (error == WEFT_ELIMIT)
            error = send_outcome(call, WEFT_RESOURCE_EXHAUSTED,
                                 "the answer's metadata is larger than the client accepts", NULL);
        if (error < 0) {
            (void)answer_failed(call, error);
            return;
        }
    }
    if (!h2_stream_queued(call->stream)) complete(call);
}

/* ---- operations, done */

static void run_finish(tp_call *call) {
    call->u.s.finishing = true;
    if (call->over) {
        tell_end(call, false);
        return;
    }
    if (call->sending.busy && !nat_server_open_headers(call)) return;
    (void)nat_feed(call);
}

void nat_server_run(tp_call *call, unsigned ops) {
    if (ops & NAT_REFUSE) {
        nat_server_break(call, call->u.s.code, call->u.s.message ? call->u.s.message : "");
        nat_retire(call);
        return;
    }
    if (ops & NAT_WATCH) {
        call->u.s.watched = true;
        if (call->over && !(ops & NAT_FINISH) && !call->u.s.finishing) break_off(call);
    }
    if (ops & NAT_FINISH) run_finish(call);
}

/* ---- operations, left for the loop */

void nat_call_accept(tp_call *call, const tp_call_events *events, void *user) {
    call->events = events;
    call->user = user;
}

void nat_call_refuse(tp_call *call, int code, const char *message) {
    call->u.s.code = code;
    call->u.s.message = weft_heap_strdup(message);
    nat_push(call->loop, &call->item, NAT_REFUSE);
    nat_item_unref(&call->item); /* the owner's */
}

void nat_call_headers(tp_call *call, const tp_header *headers, size_t count) {
    bool failed = false;
    call->u.s.initial = nat_headers_copy(headers, count, &failed);
}

void nat_call_finish(tp_call *call, const tp_finish *finish) {
    bool failed = false;
    if (finish->reply) {
        call->given = *finish->reply;
        call->has_given = true;
    }
    call->u.s.code = finish->code;
    call->u.s.message = finish->message ? weft_heap_strdup(finish->message) : NULL;
    call->u.s.trailers = nat_headers_copy(finish->trailers, finish->trailer_count, &failed);
    nat_push(call->loop, &call->item, NAT_FINISH);
}

/* ---- what the engine reports */

/* Without memory for a call, or for what is no gRPC. */
static void refuse(h2_stream *stream, http_pool *pool, int status, int code, const char *text) {
    http_fields fields;
    char number[16];
    http_fields_init(&fields, pool);
    (void)snprintf(number, sizeof number, "%03d", status % 1000);
    int error = http_fields_add_known(&fields, HTTP_NAME_STATUS, number, 3);
    if (!error && status == 200)
        error = http_fields_add_known(&fields, HTTP_NAME_CONTENT_TYPE, "application/grpc", 16);
    if (!error) error = http_grpc_trailers(&fields, code, text);
    if (!error) error = h2_respond(stream, &fields, true);
    http_fields_clear(&fields);
    if (error < 0) h2_reset(stream, H2_ENHANCE_YOUR_CALM);
    h2_stream_release(stream);
}

static int64_t deadline_of(const http_fields *fields, int64_t now, bool *wrong) {
    const http_field *field = http_fields_find(fields, HTTP_NAME_GRPC_TIMEOUT);
    int64_t left = 0;
    if (!field) return WEFT_NO_DEADLINE;
    *wrong = http_timeout_parse(field->value, field->value_len, &left) < 0;
    return *wrong || left >= INT64_MAX - now ? WEFT_NO_DEADLINE : now + left;
}

static tp_call *call_new(nat_conn *conn, h2_stream *stream, const http_fields *fields,
                         const http_field *path) {
    nat_listen *listen = conn->owner;
    bool failed = false;
    tp_call *call = weft_calloc(1, sizeof *call);
    if (!call) return NULL;
    nat_call_init(call, conn->loop);
    call->server = true;
    call->peer = nat_peer_ref(conn->peer);
    call->max_message = listen->max_request;
    call->reader.max =
        listen->max_request > UINT32_MAX ? UINT32_MAX : (uint32_t)listen->max_request;
    call->u.s.owner = listen;
    call->headers = nat_headers_take(fields, &failed);
    call->u.s.path = weft_heap_strdup(path->value);
    if (failed || !call->u.s.path) {
        nat_item_unref(&call->item);
        return NULL;
    }
    nat_item_ref(&call->item); /* the loop's */
    call->stream = stream;
    h2_stream_set_user(stream, call);
    weft_list_push_back(&listen->calls, &call->link);
    return call;
}

static void begin(nat_conn *conn, h2_stream *stream, const http_fields *fields, bool end) {
    const http_field *path = http_fields_find(fields, HTTP_NAME_PATH);
    bool wrong = false;
    const int64_t now = net_loop_now(conn->loop->net);
    const int64_t deadline = deadline_of(fields, now, &wrong);
    if (wrong) {
        refuse(stream, conn->loop->fields, 200, WEFT_INTERNAL, "grpc-timeout is malformed");
        return;
    }
    tp_call *call = path ? call_new(conn, stream, fields, path) : NULL;
    if (!call) {
        refuse(stream, conn->loop->fields, 200, WEFT_RESOURCE_EXHAUSTED,
               "server: no memory for the call");
        return;
    }
    call->peer_closed = end;
    call->squeezable = nat_knows_encoding(fields);
    call->deadline = deadline;
    if (deadline != WEFT_NO_DEADLINE)
        weft_timer_arm(net_loop_timers(conn->loop->net), &call->deadline_timer, deadline);
    const tp_request request = {.path = call->u.s.path,
                                .path_len = path->value_len,
                                .deadline = deadline,
                                .headers = nat_headers_view(call->headers)};
    nat_server_on_call(conn->owner, call, &request);
}

static void on_headers(h2_stream *stream, h2_headers_kind kind, http_fields *fields, bool end) {
    nat_conn *conn = h2_conn_user(h2_stream_conn(stream));
    if (kind == H2_HEADERS_TRAILERS) {
        tp_call *call = h2_stream_user(stream);
        call->peer_closed = true;
        nat_pump(call);
        return;
    }
    const nat_listen *listen = conn->owner;
    const http_field *method = http_fields_find(fields, HTTP_NAME_METHOD);
    const http_field *type = http_fields_find(fields, HTTP_NAME_CONTENT_TYPE);
    if (listen->hurry)
        h2_stream_release(stream);
    else if (!type || !http_grpc_content_type(type->value, type->value_len))
        refuse(stream, conn->loop->fields, 415, WEFT_INTERNAL, "not a gRPC request");
    else if (!method || method->value_len != 4 || memcmp(method->value, "POST", 4) != 0)
        refuse(stream, conn->loop->fields, 405, WEFT_INTERNAL, "gRPC uses POST");
    else
        begin(conn, stream, fields, end);
}

static void on_data(h2_stream *stream, const weft_slice *data, bool end) {
    nat_input(h2_stream_user(stream), data, end);
}

static void on_reset(h2_stream *stream, const h2_reset_info *info) {
    tp_call *call = h2_stream_user(stream);
    (void)info;
    if (!call->over) break_off(call);
}

static void on_sent(h2_stream *stream, size_t size) {
    (void)size;
    nat_call_sent(h2_stream_user(stream));
}

const h2_callbacks nat_server_callbacks = {
    .on_headers = on_headers,
    .on_data = on_data,
    .on_reset = on_reset,
    .on_sent = on_sent,
    .on_want_write = nat_want_write,
};
