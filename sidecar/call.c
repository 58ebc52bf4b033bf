/* A call's life, and what its client does. */
#include "sidecar/call.h"

#include <string.h>

#include "sidecar/stack.h"
#include "weft/mem.h"

/* Free calls kept for reuse, a worker. */
#define CALLS_KEPT 256u

static call *call_alloc(worker *w) {
    call *c = w->free_calls;
    if (c) {
        w->free_calls = c->next_free;
        w->free_call_count--;
    } else {
        c = weft_malloc(sizeof *c);
        if (!c) return NULL;
        /* What is as it began when a call ends. */
        c->worker = w;
        http_fields_init(&c->request, w->fields);
        http_fields_init(&c->held, w->fields);
        weft_chain_init(&c->rest, w->chunks);
        weft_timer_init(&c->step_timer, call_step, c);
    }
    memset(&c->state, 0, offsetof(call, request) - offsetof(call, state));
    w->calls++;
    return c;
}

static void call_put_back(worker *w, call *c) {
    w->calls--;
    if (w->free_call_count >= CALLS_KEPT) {
        weft_free(c);
        return;
    }
    c->next_free = w->free_calls;
    w->free_calls = c;
    w->free_call_count++;
}

void call_free_all(worker *w) {
    while (w->free_calls) {
        call *next = w->free_calls->next_free;
        weft_free(w->free_calls);
        w->free_calls = next;
    }
    w->free_call_count = 0;
}

static uint64_t *active(call *c) {
    return &worker_counters(c->worker)[c->inbound ? TELEMETRY_ACTIVE_IN : TELEMETRY_ACTIVE_OUT];
}

static void call_begin(down *d, h2_stream *stream, http_fields *fields, bool end) {
    worker *w = d->worker;
    call *c = call_alloc(w);
    if (!c) {
        h2_stream_release(stream);
        return;
    }
    c->down = d;
    c->stream = stream;
    c->view = config_view_ref(d->listener->view);
    c->inbound = d->listener->config->direction == CONFIG_INBOUND;
    c->request_ended = end;
    c->replayable = true;
    c->started = worker_now(w);
    c->deadline = INT64_MAX;
    c->deadline_place = DEADLINE_NONE;
    c->grpc_status = WEFT_UNKNOWN;
    c->path = (http_grpc_path){"", 0, "", 0};
    c->trace = (http_trace){.flags = 0};
    memset(c->parent, 0, sizeof c->parent);
    c->attempt.endpoint = NULL;
    c->attempt.stream = NULL;
    ++*active(c);
    h2_stream_set_user(stream, c);
    if (http_fields_move(&c->request, fields)) {
        call_close(c);
        return;
    }
    stack_run(c);
}

void call_close(call *c) {
    worker *w = c->worker;
    if (c->deadline_place != DEADLINE_NONE) deadline_remove(&w->deadlines, c->deadline_place);
    call_stop_timer(c);
    if (c->attempt.endpoint) call_record_attempt(c, c->grpc_status, NULL);
    attempt_end(&c->attempt);
    call_record(c);
    --*active(c);
    if (c->admitted || c->retry_held) {
        cluster_bulkhead *b = &c->upstream->shared->classes[c->route->priority];
        if (c->admitted) cluster_gauge_drop(&b->requests);
        if (c->retry_held) cluster_gauge_drop(&b->retries);
    }
    h2_stream_release(c->stream);
    http_fields_clear(&c->request);
    if (c->held.at) http_fields_clear(&c->held);
    if (c->rest.head) weft_chain_clear(&c->rest);
    config_view_unref(c->view);
    call_put_back(w, c);
}

/* ---- the client's stream */

static void on_headers(h2_stream *s, h2_headers_kind kind, http_fields *fields, bool end) {
    if (kind == H2_HEADERS_REQUEST) {
        wire *w = h2_conn_user(h2_stream_conn(s));
        call_begin((down *)w, s, fields, end);
        return;
    }
    /* Trailers of a request: gRPC has none, so they only end it. */
    const weft_slice nothing = {NULL, 0, NULL};
    if (end) call_push(h2_stream_user(s), &nothing, true);
}

static void on_data(h2_stream *s, const weft_slice *data, bool end) {
    call_push(h2_stream_user(s), data, end);
}

static void on_sent(h2_stream *s, size_t size) { call_response_sent(h2_stream_user(s), size); }

static void on_reset(h2_stream *s, const h2_reset_info *info) {
    call *c = h2_stream_user(s);
    (void)info;
    if (c->state != CALL_ANSWERED) c->grpc_status = WEFT_CANCELLED;
    call_close(c);
}

const h2_callbacks call_down_callbacks = {.on_headers = on_headers,
                                          .on_data = on_data,
                                          .on_reset = on_reset,
                                          .on_sent = on_sent,
                                          .on_want_write = wire_want_write};
