/* Attempts: starting one, moving bytes both ways, deciding whether there is another. */
#include <stdio.h>
#include <string.h>

#include "sidecar/call.h"
#include "weft/num.h"
#include "weft/status.h"

static void start_attempt(call *c);
static void send_attempt(call *c);
static void attempt_failed(call *c, const attempt_error *error);

static void arm_step(call *c, int64_t after) {
    weft_timer_arm(net_loop_timers(c->worker->loop), &c->step_timer, worker_now(c->worker) + after);
    c->stepping = true;
}

/* ---- request bytes that are kept */

static size_t kept(const call *c) { return c->small_len + c->rest.bytes; }

static void drop_kept(call *c) {
    c->replayable = false;
    c->small_len = 0;
    weft_chain_clear(&c->rest);
}

static int keep_bytes(call *c, const weft_slice *data) {
    if (!c->rest.head && data->len <= CALL_SMALL - c->small_len) {
        memcpy(c->small + c->small_len, data->data, data->len);
        c->small_len += (uint32_t)data->len;
        return 0;
    }
    return weft_chain_add_slice(&c->rest, data);
}

/* ---- bytes to the upstream */

/* What went into the upstream's output is credited to the client, once however often it is sent. */
static void credit_client(call *c, size_t sent) {
    c->attempt_sent += sent;
    if (c->attempt_sent <= c->consumed) return;
    const uint64_t fresh = c->attempt_sent - c->consumed;
    c->consumed = c->attempt_sent;
    h2_consume(c->stream, (size_t)fresh);
}

/* False when the call is gone. That the stream is closed is no failure here: it is reported by
 * itself. */
static bool send_bytes(call *c, const weft_slice *slice, bool end) {
    const int64_t sent = h2_send_data(c->attempt.stream, slice, slice->len ? 1 : 0, end);
    if (sent > 0) credit_client(c, (size_t)sent);
    if (sent != WEFT_ENOMEM && sent != WEFT_ELIMIT) return true;
    call_answer(c, WEFT_RESOURCE_EXHAUSTED, false, "the request: %s", weft_strerror((int)sent));
    return false;
}

static void send_kept(call *c) {
    const weft_link *link = c->rest.head;
    weft_slice first = {c->small, c->small_len, NULL};
    if (c->small_len && !send_bytes(c, &first, c->request_ended && !link)) return;
    for (; link; link = link->next)
        if (!send_bytes(c, &link->slice, c->request_ended && !link->next)) return;
    if (kept(c) > c->retry->replay_bytes) {
        worker_counters(c->worker)[TELEMETRY_RETRIES_OVER_REPLAY]++;
        drop_kept(c);
    }
}

void call_push(call *c, const weft_slice *data, bool end) {
    c->bytes_in += data->len;
    if (end) c->request_ended = true;
    if (c->state == CALL_ANSWERED) {
        h2_consume(c->stream, data->len);
        return;
    }
    const bool sending = c->attempt.stream != NULL;
    if (c->replayable && sending && kept(c) + data->len > c->retry->replay_bytes) {
        worker_counters(c->worker)[TELEMETRY_RETRIES_OVER_REPLAY]++;
        drop_kept(c);
    }
    if (c->replayable && data->len && keep_bytes(c, data)) {
        call_answer(c, WEFT_RESOURCE_EXHAUSTED, false, "out of memory");
        return;
    }
    if (sending) (void)send_bytes(c, data, end);
}

/* ---- an attempt begins */

static void start_attempt(call *c) {
    attempt_error error;
    c->state = CALL_WAITING;
    c->attempt_sent = 0;
    c->attempt_started = worker_now(c->worker);
    if (!c->inbound) { /* else the call's span is what the app sees */
        const uint64_t id = weft_rng_u64(&c->worker->rng) | 1;
        memcpy(c->attempt_span, &id, sizeof c->attempt_span);
    }
    const int rc = attempt_start(&c->attempt, c->upstream, c->route->priority, c->tried,
                                 c->tried_count, &error);
    if (rc < 0) {
        attempt_failed(c, &error);
        return;
    }
    if (c->tried_count < UPSTREAM_TRIED_MAX) c->tried[c->tried_count++] = c->attempt.endpoint;
    if (c->retry->per_try_timeout) arm_step(c, c->retry->per_try_timeout);
    if (rc) send_attempt(c);
}

static int set_trace(call *c) {
    http_fields *list = &c->request;
    http_trace trace = c->trace;
    char text[HTTP_TRACEPARENT_LEN];
    if (!c->inbound) memcpy(trace.span_id, c->attempt_span, sizeof trace.span_id);
    if (!c->trace_new && http_fields_once(list, HTTP_NAME_TRACEPARENT) &&
        http_traceparent_renew(http_fields_find(list, HTTP_NAME_TRACEPARENT), &trace))
        return 0;
    http_traceparent_format(&trace, text);
    return http_fields_set(
        list, http_field_known(c->worker->fields, HTTP_NAME_TRACEPARENT, text, sizeof text));
}

/* Header fields that differ from hop to hop and from attempt to attempt. */
static int rewrite(call *c) {
    http_fields *list = &c->request;
    http_pool *fields = c->worker->fields;
    int rc = set_trace(c);
    /* HPACK's static table: 6 is http, 7 is https (RFC 7541 appendix A). */
    http_field *scheme = http_static_field(c->cluster->tls ? 7 : 6);
    if (!rc && http_fields_find(list, HTTP_NAME_SCHEME) != scheme)
        rc = http_fields_set(list, scheme);
    const int64_t now = worker_now(c->worker);
    /* In the turn in which the call came there is nothing to subtract from what its caller said. */
    const bool same = c->timeout_given && now == c->started;
    if (!rc && c->deadline != INT64_MAX && c->grpc && !same) {
        char left[HTTP_TIMEOUT_TEXT];
        const size_t len = http_timeout_format(c->deadline - now, left);
        rc = http_fields_set(list, http_field_known(fields, HTTP_NAME_GRPC_TIMEOUT, left, len));
    }
    if (!rc && c->retries) {
        char count[16];
        const int len = snprintf(count, sizeof count, "%u", (unsigned)c->retries);
        rc = http_fields_set(
            list, http_field_known(fields, HTTP_NAME_GRPC_PREVIOUS_ATTEMPTS, count, (size_t)len));
    }
    return rc;
}

static void send_attempt(call *c) {
    attempt_error error;
    if (rewrite(c)) {
        call_answer(c, WEFT_RESOURCE_EXHAUSTED, true, "out of memory");
        return;
    }
    const bool empty = !kept(c);
    if (attempt_request(&c->attempt, &c->request, c->request_ended && empty, &error)) {
        attempt_failed(c, &error);
        return;
    }
    c->state = CALL_SENT;
    if (!empty) send_kept(c);
}

/* ---- another attempt? */

/* The policy's side of it: attempts, replay, deadline, budget. Takes what it grants. */
static bool policy_grants(call *c) {
    const config_class class = c->route->priority;
    const config_thresholds *limits = &c->cluster->thresholds[class];
    cluster_shared *shared = c->upstream->shared;
    const int64_t now = worker_now(c->worker);
    if (c->retries >= c->retry->max_retries || !c->replayable || now >= c->deadline) return false;
    if (limits->max_retries != UINT32_MAX) {
        if (!c->retry_held &&
            !cluster_gauge_take(&shared->classes[class].retries, limits->max_retries)) {
            worker_counters(c->worker)[TELEMETRY_RETRIES_REFUSED]++;
            return false;
        }
        c->retry_held = true;
        return true;
    }
    upstream_tell(c->upstream);
    if (!cluster_budget_retry(&shared->budget, now, limits->budget_percent, limits->budget_floor)) {
        worker_counters(c->worker)[TELEMETRY_RETRIES_REFUSED]++;
        return false;
    }
    return true;
}

static void end_attempt(call *c, int code, const char *error) {
    if (!c->attempt.endpoint) return;
    call_record_attempt(c, code, error);
    attempt_end(&c->attempt);
}

static void retry_later(call *c, int64_t pushback) {
    c->retries++;
    worker_counters(c->worker)[TELEMETRY_RETRIES]++;
    c->state = CALL_BACKOFF;
    http_fields_clear(&c->held);
    arm_step(c, pushback > 0 ? pushback : route_backoff(c->retry, c->retries, &c->worker->rng));
}

static bool retry_transparently(call *c) {
    if (c->transparent >= CALL_TRANSPARENT_MAX || !c->replayable ||
        worker_now(c->worker) >= c->deadline)
        return false;
    c->transparent++;
    worker_counters(c->worker)[TELEMETRY_RETRIES_TRANSPARENT]++;
    call_stop_timer(c);
    start_attempt(c);
    return true;
}

static int code_of(const attempt_error *error) {
    switch (error->fault) {
    case ATTEMPT_NO_MEMORY:
    case ATTEMPT_TOO_LARGE:
        return WEFT_RESOURCE_EXHAUSTED;
    case ATTEMPT_RESET:
        if (error->lost || error->code == H2_NO_ERROR || error->code == H2_REFUSED_STREAM)
            return WEFT_UNAVAILABLE;
        return (int)http_grpc_from_h2(error->code);
    default:
        return WEFT_UNAVAILABLE;
    }
}

static void attempt_failed(call *c, const attempt_error *error) {
    const int code = code_of(error);
    const bool before = c->state < CALL_FORWARDING;
    /* Who has answered did something, whatever it says afterwards. */
    const bool unprocessed = error->unprocessed && c->state < CALL_HELD;
    end_attempt(c, code, error->text);
    if (unprocessed && (error->fault == ATTEMPT_CONNECT || error->fault == ATTEMPT_RESET) &&
        retry_transparently(c))
        return;
    if (before && error->fault == ATTEMPT_RESET &&
        (c->retry->conditions & CONFIG_RETRY_RESET ||
         (c->retry->conditions & CONFIG_RETRY_RESET_UNSENT && unprocessed) ||
         route_retry_code(c->retry, (unsigned)code)) &&
        policy_grants(c)) {
        retry_later(c, 0);
        return;
    }
    call_answer(c, code, unprocessed, "%s", error->text);
}

/* ---- the response */

/* From here on this attempt's response is the client's. */
static bool forward_headers(call *c, http_fields *fields, bool end) {
    call_stop_timer(c);
    drop_kept(c);
    const int rc = h2_respond(c->stream, fields, end);
    if (rc) {
        call_answer(c, WEFT_RESOURCE_EXHAUSTED, false, "the response's headers: %s",
                    weft_strerror(rc));
        return false;
    }
    c->state = CALL_FORWARDING;
    return true;
}

static bool commit_held(call *c) {
    if (c->state != CALL_HELD) return true;
    const bool ok = forward_headers(c, &c->held, false);
    if (ok) http_fields_clear(&c->held);
    return ok;
}

static bool is_fault(int code) {
    return code == WEFT_UNAVAILABLE || code == WEFT_INTERNAL || code == WEFT_RESOURCE_EXHAUSTED ||
           code == WEFT_UNKNOWN || code == WEFT_DEADLINE_EXCEEDED || code == WEFT_DATA_LOSS;
}

/* Pushback of [A6]: ns to wait, 0 when there is none, -1: do not retry. */
static int64_t pushback_of(const http_fields *fields) {
    const http_field *f = http_fields_find(fields, HTTP_NAME_GRPC_RETRY_PUSHBACK);
    int64_t ms = 0;
    if (!f) return 0;
    if (weft_parse_int64(f->value, &ms) < 0 || ms < 0 || ms > 3600 * 1000) return -1;
    return ms ? ms * WEFT_NS_PER_MS : 1;
}

static int status_of(call *c, const http_fields *fields, bool trailers) {
    const char *message;
    size_t len;
    int code = WEFT_UNKNOWN;
    if (!http_grpc_outcome(fields, &code, &message, &len)) return code;
    const http_field *status = trailers ? NULL : http_fields_find(fields, HTTP_NAME_STATUS);
    int64_t http = 0;
    if (status && weft_parse_int64(status->value, &http) >= 0 && (http != 200 || !c->grpc))
        return http == 200 ? WEFT_OK : (int)http_grpc_from_http((int)http);
    return c->grpc ? WEFT_UNKNOWN : WEFT_OK;
}

/* The response ends with a status and nothing of it was forwarded: true when there is another
 * attempt. */
static bool retry_status(call *c, const http_fields *fields, int code) {
    if (!code) return false;
    c->attempt.failed = is_fault(code);
    if (!c->inbound && c->state != CALL_HELD &&
        http_fields_find_text(fields, CALL_UNPROCESSED, strlen(CALL_UNPROCESSED)) &&
        c->transparent < CALL_TRANSPARENT_MAX && c->replayable &&
        c->upstream->set->ready_count > 1) {
        end_attempt(c, code, "not processed");
        return retry_transparently(c);
    }
    const int64_t pushback = pushback_of(fields);
    if (pushback > 0) c->attempt.pushback = pushback;
    if (pushback < 0 || !route_retry_code(c->retry, (unsigned)code) || !policy_grants(c))
        return false;
    end_attempt(c, code, "retried");
    retry_later(c, pushback);
    return true;
}

/* The same for an HTTP status the route names. */
static bool retry_http(call *c, const http_fields *fields) {
    const http_field *status = http_fields_find(fields, HTTP_NAME_STATUS);
    int64_t http = 0;
    if (!status || status->static_index == 8 /* 200 */ ||
        weft_parse_int64(status->value, &http) < 0 || !route_retry_http(c->retry, (unsigned)http) ||
        !policy_grants(c))
        return false;
    c->attempt.failed = http >= 500;
    end_attempt(c, (int)http_grpc_from_http((int)http), "retried");
    retry_later(c, 0);
    return true;
}

/* It is between sidecars: no client sees it, and no app can say it. */
static void strip_unprocessed(http_fields *fields) {
    for (uint32_t i = fields->count; i-- > 0;) {
        const http_field *f = fields->at[i];
        if (f->id == HTTP_NAME_OTHER && f->name_len == sizeof CALL_UNPROCESSED - 1 &&
            !memcmp(f->name, CALL_UNPROCESSED, f->name_len))
            http_fields_remove_at(fields, i);
    }
}

/* Whether policy_grants could say yes, as far as limits go. */
static bool retries_left(const call *c) {
    const config_class class = c->route->priority;
    const config_thresholds *limits = &c->cluster->thresholds[class];
    const cluster_shared *shared = c->upstream->shared;
    if (limits->max_retries == UINT32_MAX)
        return cluster_budget_left(&shared->budget, worker_now(c->worker), limits->budget_percent,
                                   limits->budget_floor) > 0;
    return c->retry_held ||
           cluster_gauge_now(&shared->classes[class].retries) < limits->max_retries;
}

static bool may_hold(const call *c) {
    return c->request_ended && c->replayable && c->retry->codes && c->retry->peek > 0 &&
           c->retries < c->retry->max_retries && retries_left(c);
}

static void on_response(call *c, http_fields *fields, bool end) {
    if (end) {
        const int code = status_of(c, fields, false);
        if (retry_status(c, fields, code) || retry_http(c, fields)) return;
        if (code) strip_unprocessed(fields);
        c->grpc_status = code;
        if (forward_headers(c, fields, true)) call_answered(c);
        return;
    }
    if (retry_http(c, fields)) return;
    if (!c->grpc) c->grpc_status = status_of(c, fields, false);
    if (may_hold(c) && !http_fields_move(&c->held, fields)) {
        c->state = CALL_HELD;
        arm_step(c, c->retry->peek);
        return;
    }
    (void)forward_headers(c, fields, false);
}

static void on_trailers(call *c, http_fields *fields) {
    const int code = status_of(c, fields, true);
    if (c->state == CALL_HELD && retry_status(c, fields, code)) return;
    if (code) c->attempt.failed = is_fault(code);
    if (code) strip_unprocessed(fields);
    if (!commit_held(c)) return;
    c->grpc_status = code;
    const int rc = h2_send_trailers(c->stream, fields);
    if (rc) {
        call_answer(c, WEFT_RESOURCE_EXHAUSTED, false, "the response's trailers: %s",
                    weft_strerror(rc));
        return;
    }
    call_answered(c);
}

static void on_headers(attempt *a, h2_headers_kind kind, http_fields *fields, bool end) {
    call *c = a->owner;
    if (c->state == CALL_ANSWERED) return;
    if (kind == H2_HEADERS_TRAILERS) {
        on_trailers(c, fields);
    } else {
        on_response(c, fields, end);
    }
}

static void on_data(attempt *a, const weft_slice *data, bool end) {
    call *c = a->owner;
    if (c->state == CALL_ANSWERED) {
        h2_consume(a->stream, data->len);
        return;
    }
    if (!commit_held(c)) return;
    c->bytes_out += data->len;
    const int64_t sent = h2_send_data(c->stream, data, data->len ? 1 : 0, end);
    if (sent < 0) {
        call_answer(c, WEFT_RESOURCE_EXHAUSTED, false, "the response: %s",
                    weft_strerror((int)sent));
        return;
    }
    if (sent > 0) h2_consume(a->stream, (size_t)sent);
    if (end) call_answered(c);
}

void call_response_sent(call *c, size_t size) {
    if (c->attempt.stream) {
        const size_t owed = h2_stream_buffered(c->attempt.stream);
        h2_consume(c->attempt.stream, size < owed ? size : owed);
    }
    if (c->state == CALL_ANSWERED && !h2_stream_queued(c->stream)) call_close(c);
}

static void on_ready(attempt *a) { send_attempt(a->owner); }
static void on_sent(attempt *a, size_t size) { credit_client(a->owner, size); }

static void on_failed(attempt *a, const attempt_error *error) {
    call *c = a->owner;
    if (c->state == CALL_ANSWERED) { /* all was said: only our queue is being emptied */
        end_attempt(c, c->grpc_status, NULL);
        return;
    }
    attempt_failed(c, error);
}

static const attempt_events events = {.ready = on_ready,
                                      .headers = on_headers,
                                      .data = on_data,
                                      .sent = on_sent,
                                      .failed = on_failed};

/* ---- time */

void call_deadline(void *user, int64_t now) {
    call *c = user;
    c->deadline_place = DEADLINE_NONE;
    worker_counters(c->worker)[TELEMETRY_DEADLINES]++;
    if (c->state == CALL_ANSWERED) { /* the client does not take what it asked for */
        h2_reset(c->stream, H2_CANCEL);
        call_close(c);
        return;
    }
    const bool waiting = c->state == CALL_WAITING;
    c->attempt.failed = c->attempt.endpoint && c->attempt.latency < 0;
    call_answer(c, WEFT_DEADLINE_EXCEEDED, false, "deadline exceeded after %.3f s: %s%s%s",
                (double)(now - c->started) / 1e9, waiting ? "no connection to " : "no answer from ",
                c->cluster->name, c->attempt.endpoint ? "" : " (between attempts)");
}

/* Per-try timeout, end of the peek window, or end of a backoff. */
void call_step(weft_timer *timer, int64_t now) {
    call *c = timer->user;
    (void)now;
    c->stepping = false;
    if (c->state == CALL_BACKOFF) {
        start_attempt(c);
    } else if (c->state == CALL_HELD) {
        (void)commit_held(c);
    } else if (c->state == CALL_WAITING || c->state == CALL_SENT) {
        attempt_error error = {.fault = ATTEMPT_RESET, .code = H2_CANCEL};
        (void)snprintf(error.text, sizeof error.text, "%s: no answer within the per-try timeout",
                       c->attempt.endpoint->text);
        c->attempt.failed = true;
        const bool may = route_retry_code(c->retry, WEFT_DEADLINE_EXCEEDED) ||
                         route_retry_code(c->retry, WEFT_UNAVAILABLE);
        end_attempt(c, WEFT_DEADLINE_EXCEEDED, error.text);
        if (may && policy_grants(c)) {
            retry_later(c, 0);
        } else {
            call_answer(c, WEFT_DEADLINE_EXCEEDED, false, "%s", error.text);
        }
    }
}

void call_forward(call *c) {
    c->attempt.events = &events;
    c->attempt.owner = c;
    start_attempt(c);
}
