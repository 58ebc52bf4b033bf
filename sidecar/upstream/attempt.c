/* One try of a call on one endpoint. */
#include <stdarg.h>
#include <stdio.h>

#include "sidecar/upstream/upstream.h"

int attempt_fail(attempt_error *error, attempt_fault fault, const char *format, ...) {
    va_list args;
    va_start(args, format);
    error->fault = fault;
    error->unprocessed = true;
    error->lost = false;
    error->code = H2_REFUSED_STREAM;
    (void)vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return fault == ATTEMPT_NO_MEMORY ? WEFT_ENOMEM : WEFT_ECLOSED;
}

/* An endpoint that is known to be down is passed over while there is another. */
static cluster_endpoint *pick(upstream_cluster *cluster, const cluster_endpoint *const *tried,
                              size_t tried_count, int64_t now) {
    const cluster_set *set = cluster->set;
    if (set->ready_count == 1) return set->ready[0];
    const cluster_endpoint *skip[2 * UPSTREAM_TRIED_MAX];
    size_t count = 0;
    for (size_t i = 0; i < tried_count && count < UPSTREAM_TRIED_MAX; i++) skip[count++] = tried[i];
    cluster_endpoint *first = NULL;
    for (;;) {
        const lb_request request = {.now = now,
                                    .rng = cluster->up->config.rng,
                                    .kind = LB_UNARY,
                                    .tried = skip,
                                    .tried_count = count};
        cluster_endpoint *e = lb_pick(cluster->set, &request);
        if (!e) return NULL;
        if (!first) first = e;
        if (!pool_is_down(e, now)) return lb_tried(&request, e) ? first : e;
        if (lb_tried(&request, e) || count == 2 * UPSTREAM_TRIED_MAX) return first;
        skip[count++] = e;
    }
}

int attempt_start(attempt *a, upstream_cluster *cluster, config_class class,
                  const cluster_endpoint *const *tried, size_t tried_count, attempt_error *error) {
    const int64_t now = net_loop_now(cluster->up->config.loop);
    telemetry *metrics = cluster->up->config.metrics;
    cluster_endpoint *e = pick(cluster, tried, tried_count, now);
    if (!e) {
        telemetry_at(metrics)[TELEMETRY_NO_ENDPOINT]++;
        return attempt_fail(
            error, ATTEMPT_NO_ENDPOINT, "cluster %s has no endpoint%s", cluster->config->name,
            cluster->config->discovery == CONFIG_DNS ? ": its names do not resolve (yet)"
                                                     : ": add one to its load_assignment");
    }
    pool *p = pool_of(cluster, e);
    if (!p) return attempt_fail(error, ATTEMPT_NO_MEMORY, "out of memory");
    a->cluster = cluster;
    a->endpoint = cluster_endpoint_ref(e);
    a->class = class;
    a->conn = NULL;
    a->stream = NULL;
    a->waiting = a->counted = a->failed = false;
    a->latency = -1;
    a->pushback = 0;
    weft_list_init(&a->link);
    telemetry_at(metrics)[TELEMETRY_ATTEMPTS]++;
    const int rc = pool_join(p, a, error);
    if (rc < 0) {
        cluster_endpoint_unref(a->endpoint);
        a->endpoint = NULL;
    }
    return rc;
}

int attempt_request(attempt *a, const http_fields *fields, bool end, attempt_error *error) {
    const int rc = h2_request(a->conn, fields, end, a, &a->stream);
    a->conn = NULL;
    if (rc == WEFT_ELIMIT)
        return attempt_fail(error, ATTEMPT_TOO_LARGE,
                            "headers of %zu bytes are more than %s accepts", fields->bytes,
                            a->endpoint->text);
    if (rc == WEFT_ENOMEM) return attempt_fail(error, ATTEMPT_NO_MEMORY, "out of memory");
    if (rc)
        return attempt_fail(error, ATTEMPT_RESET, "the connection to %s takes no requests",
                            a->endpoint->text);
    a->started = net_loop_now(a->cluster->up->config.loop);
    a->counted = true;
    lb_start(a->cluster->set, a->endpoint, LB_UNARY);
    return 0;
}

void attempt_end(attempt *a) {
    if (!a->endpoint) return;
    if (a->waiting) pool_leave(a);
    if (a->stream) {
        h2_stream_release(a->stream);
        a->stream = NULL;
    }
    if (a->counted) {
        const lb_outcome outcome = {.now = net_loop_now(a->cluster->up->config.loop),
                                    .kind = LB_UNARY,
                                    .latency = a->latency,
                                    .failed = a->failed,
                                    .pushback = a->pushback};
        lb_done(a->cluster->set, a->endpoint, &outcome);
        a->counted = false;
    }
    cluster_endpoint_unref(a->endpoint);
    a->endpoint = NULL;
}

/* ---- what streams say */

void attempt_stream_headers(h2_stream *s, h2_headers_kind kind, http_fields *fields, bool end) {
    attempt *a = h2_stream_user(s);
    if (kind == H2_HEADERS_INFORM) return; /* 100-continue and hints end here */
    if (a->latency < 0) a->latency = net_loop_now(a->cluster->up->config.loop) - a->started;
    a->events->headers(a, kind, fields, end);
}

void attempt_stream_data(h2_stream *s, const weft_slice *data, bool end) {
    attempt *a = h2_stream_user(s);
    a->events->data(a, data, end);
}

void attempt_stream_sent(h2_stream *s, size_t size) {
    attempt *a = h2_stream_user(s);
    a->events->sent(a, size);
}

void attempt_stream_reset(h2_stream *s, const h2_reset_info *info) {
    attempt *a = h2_stream_user(s);
    attempt_error error;
    (void)attempt_fail(&error, ATTEMPT_RESET, "%s %s: %s%s%s", a->endpoint->text,
                       info->conn_lost ? "lost the connection" : "reset the stream", info->text,
                       info->conn_lost ? "" : ", ",
                       info->conn_lost ? "" : h2_code_name(info->code));
    error.unprocessed = info->unprocessed;
    error.lost = info->conn_lost;
    error.code = info->code;
    a->failed = true;
    a->events->failed(a, &error);
}
