/* Replies of our own, and what is recorded of a call. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sidecar/call.h"
#include "weft/status.h"

/* ---- replies */

static int plain_reply(call *c, http_fields *reply, int code) {
    char status[16];
    (void)snprintf(status, sizeof status, "%d", http_status_from_grpc(code));
    int rc = http_fields_add_text(reply, ":status", status);
    if (!rc) rc = http_fields_add_text(reply, "content-type", "text/plain; charset=utf-8");
    if (!rc) rc = h2_respond(c->stream, reply, false);
    return rc;
}

static int send_reply(call *c, http_fields *reply, int code, bool unprocessed, const char *text) {
    if (c->state >= CALL_FORWARDING) {
        /* The response has begun: trailers can still tell why it ends, to who reads gRPC. */
        if (!c->grpc) return WEFT_ECLOSED;
        const int rc = http_grpc_trailers(reply, code, text);
        return rc ? rc : h2_send_trailers(c->stream, reply);
    }
    if (!c->grpc) {
        const weft_slice body = {(const uint8_t *)text, strlen(text), NULL};
        const int rc = plain_reply(c, reply, code);
        if (rc) return rc;
        const int64_t sent = h2_send_data(c->stream, &body, 1, true);
        return sent < 0 ? (int)sent : 0;
    }
    int rc = http_grpc_reply(reply, code, text);
    if (!rc && unprocessed && c->inbound) rc = http_fields_add_text(reply, CALL_UNPROCESSED, "1");
    return rc ? rc : h2_respond(c->stream, reply, true);
}

void call_answer(call *c, int code, bool unprocessed, const char *format, ...) {
    char text[CALL_TEXT];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (c->attempt.endpoint) {
        call_record_attempt(c, code, text);
        attempt_end(&c->attempt);
    }
    c->grpc_status = code;
    http_fields reply;
    http_fields_init(&reply, c->worker->fields);
    const int rc = send_reply(c, &reply, code, unprocessed, text);
    http_fields_clear(&reply);
    if (rc) {
        h2_reset(c->stream, http_h2_from_grpc(code));
        call_close(c);
        return;
    }
    call_answered(c);
}

void call_answered(call *c) {
    c->state = CALL_ANSWERED;
    call_stop_timer(c);
    if (!h2_stream_queued(c->stream)) call_close(c);
}

/* ---- what is recorded */

/* "product.shop" of a SPIFFE ID is made once a connection (worker.c). */
static void count_series(call *c, uint32_t status, int64_t duration, plan *remember) {
    const char *peer = c->inbound ? c->down->peer : c->cluster ? c->cluster->name : "";
    const char *route = c->route ? c->route->name : "";
    const telemetry_key key = {.direction = c->inbound ? TELEMETRY_IN : TELEMETRY_OUT,
                               .grpc_status = status,
                               .service = c->path.service,
                               .service_len = c->path.service_len,
                               .method = c->path.method,
                               .method_len = c->path.method_len,
                               .peer = peer,
                               .peer_len = strlen(peer),
                               .route = route,
                               .route_len = strlen(route)};
    const telemetry_handle handle =
        telemetry_call(c->worker->metrics, &key, duration, worker_now(c->worker));
    if (remember) remember->series = handle;
}

static void count_call(call *c, int64_t duration) {
    const uint32_t status =
        (uint32_t)c->grpc_status <= 16 ? (uint32_t)c->grpc_status : WEFT_UNKNOWN;
    plan *p = call_plan(c);
    if (!p || !telemetry_call_again(c->worker->metrics, &p->series, status, duration,
                                    worker_now(c->worker)))
        count_series(c, status, duration, p);
}

/* Whether anyone wants the span of an outcome: those that are sampled, and failures. */
static bool records(const call *c, int code) {
    return sidecar_wants_spans(c->worker->shared) && (c->trace.flags & HTTP_TRACE_SAMPLED || code);
}

static void set_text(span *s, span_text which, const char *text) {
    if (text && *text) span_set(s, which, text, strlen(text));
}

static void span_common(call *c, span *s) {
    memcpy(s->trace_id, c->trace.trace_id, sizeof s->trace_id);
    s->sampled = (c->trace.flags & HTTP_TRACE_SAMPLED) != 0;
    if (c->path.service_len) {
        /* "package.Service/Method" lies in one piece in the path. */
        span_set(s, SPAN_NAME, c->path.service, c->path.service_len + 1 + c->path.method_len);
        span_set(s, SPAN_SERVICE, c->path.service, c->path.service_len);
        span_set(s, SPAN_METHOD, c->path.method, c->path.method_len);
    }
    set_text(s, SPAN_SELF, c->worker->shared->self_id);
    set_text(s, SPAN_CLUSTER, c->cluster ? c->cluster->name : NULL);
    set_text(s, SPAN_ROUTE, c->route ? c->route->name : NULL);
}

static void keep(call *c, const span *s) {
    if (!span_keep(s, 0)) return;
    worker_counters(c->worker)[TELEMETRY_SPANS]++;
    if (!span_buffer_add(c->worker->spans, s))
        worker_counters(c->worker)[TELEMETRY_SPANS_DROPPED]++;
}

void call_record(call *c) {
    const int64_t duration = worker_now(c->worker) - c->started;
    count_call(c, duration);
    worker_counters(c->worker)[TELEMETRY_BYTES_IN] += c->bytes_in;
    worker_counters(c->worker)[TELEMETRY_BYTES_OUT] += c->bytes_out;
    if (!records(c, c->grpc_status)) return;
    span s = {.start = c->started + c->worker->wall_offset,
              .duration = duration,
              .kind = c->inbound ? SPAN_SERVER : SPAN_CLIENT,
              .grpc_status = (uint8_t)c->grpc_status,
              .bytes_in = c->bytes_in,
              .bytes_out = c->bytes_out};
    memcpy(s.id, c->trace.span_id, sizeof s.id);
    memcpy(s.parent, c->parent, sizeof s.parent);
    span_common(c, &s);
    set_text(&s, SPAN_PEER, c->down->peer_id);
    keep(c, &s);
}

void call_record_attempt(call *c, int code, const char *error) {
    if (c->inbound) return; /* one app, one attempt: the server span says it all */
    if (!records(c, code)) return;
    const attempt *a = &c->attempt;
    span s = {.start = c->attempt_started + c->worker->wall_offset,
              .duration = worker_now(c->worker) - c->attempt_started,
              .kind = SPAN_CLIENT,
              .grpc_status = (uint8_t)code,
              .attempt = true,
              .attempt_number = (uint16_t)(1 + c->retries + c->transparent)};
    memcpy(s.id, c->attempt_span, sizeof s.id);
    memcpy(s.parent, c->trace.span_id, sizeof s.parent);
    span_common(c, &s);
    set_text(&s, SPAN_ENDPOINT, a->endpoint->text);
    set_text(&s, SPAN_ERROR, error);
    if (c->cluster->tls && c->cluster->tls->id_count == 1)
        set_text(&s, SPAN_PEER, c->cluster->tls->ids[0]);
    keep(c, &s);
}
