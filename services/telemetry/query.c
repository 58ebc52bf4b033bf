/* Log records, services, edges, figures of the store itself. */
#include <stdlib.h>
#include <string.h>

#include "services/telemetry/service.h"
#include "weft/map.h"
#include "weft/mem.h"
#include "weft/telemetry/v1/telemetry.weft.h"

#define MINUTE (60 * WEFT_NS_PER_S)

static weft_status end_read(weft_ctx *ctx, weft_tx *tx, weft_status st) {
    const int rc = weft_tx_commit(tx);
    return rc ? tel_store_status(ctx, rc) : st;
}

/* ---- log records */

#define LOG "id, time, service, severity, level, body, trace_id, span_id, detail"

static Telemetry__LogRecord *log_of(weft_ctx *ctx, weft_stmt *row) {
    Telemetry__LogRecord *r = telemetry_log_record_new(ctx);
    bool ok = r != NULL;
    size_t len = 0;
    if (!ok) return NULL;
    r->id = weft_stmt_int(row, 0);
    r->time_unix_nano = weft_stmt_int(row, 1);
    r->service = tel_text(ctx, weft_stmt_text(row, 2), &ok);
    r->severity_number = (int32_t)weft_stmt_int(row, 3);
    r->severity = tel_text(ctx, weft_stmt_text(row, 4), &ok);
    r->body = tel_text(ctx, weft_stmt_text(row, 5), &ok);
    const void *id = weft_stmt_blob(row, 6, &len);
    if (id) r->trace_id = tel_hex(ctx, id, len, &ok);
    id = weft_stmt_blob(row, 7, &len);
    if (id) r->span_id = tel_hex(ctx, id, len, &ok);
    const void *detail = weft_stmt_blob(row, 8, &len);
    Telemetry__SpanDetail *d = tel_detail(ctx, detail ? detail : "", detail ? len : 0);
    if (d) {
        r->n_attributes = d->n_attributes;
        r->attributes = d->attributes;
    }
    return ok ? r : NULL;
}

static bool log_matches(weft_stmt *row, const Telemetry__FindLogsRequest *want) {
    const int64_t time = weft_stmt_int(row, 1);
    if (*want->service && !tel_service_is(weft_stmt_text(row, 2), want->service)) return false;
    if (weft_stmt_int(row, 3) < want->min_severity) return false;
    if (time < want->from_unix_nano) return false;
    return !want->to_unix_nano || time < want->to_unix_nano;
}

/* Forwards from after_id, or backwards from the end; the latter is turned round. */
static weft_status logs_in(weft_ctx *ctx, weft_tx *tx, const Telemetry__FindLogsRequest *want,
                           const uint8_t *trace, Telemetry__FindLogsResponse *reply) {
    const uint32_t asked = want->limit ? want->limit : 100;
    const size_t limit = asked < TEL_LOGS_LIMIT ? asked : TEL_LOGS_LIMIT;
    const bool forward = want->after_id > 0;
    static const char *const sql[2][2] = {
        {"SELECT " LOG " FROM log WHERE id > ? ORDER BY id DESC",
         "SELECT " LOG " FROM log WHERE id > ? ORDER BY id"},
        {"SELECT " LOG " FROM log WHERE id > ? AND trace_id = ? ORDER BY id DESC",
         "SELECT " LOG " FROM log WHERE id > ? AND trace_id = ? ORDER BY id"}};
    reply->records = weft_array(ctx, limit, sizeof *reply->records);
    if (!reply->records) return tel_no_memory(ctx);
    reply->last_id = want->after_id;
    weft_stmt *row =
        trace ? weft_tx_query(tx, sql[1][forward], "lb", want->after_id, trace, (size_t)16)
              : weft_tx_query(tx, sql[0][forward], "l", want->after_id);
    for (int looked = 0; looked < TEL_SCAN_MAX && reply->n_records < limit && weft_stmt_row(row);
         looked++) {
        if (weft_stmt_int(row, 0) > reply->last_id) reply->last_id = weft_stmt_int(row, 0);
        if (!log_matches(row, want)) continue;
        Telemetry__LogRecord *r = log_of(ctx, row);
        if (!r) return tel_no_memory(ctx);
        reply->records[reply->n_records++] = r;
    }
    for (size_t i = 0, k = reply->n_records; !forward && i + 1 < k; i++) {
        Telemetry__LogRecord *r = reply->records[i];
        reply->records[i] = reply->records[--k];
        reply->records[k] = r;
    }
    return weft_ok();
}

static weft_status find_logs(weft_ctx *ctx, tel_store *store,
                             const Telemetry__FindLogsRequest *want, const uint8_t *trace,
                             Telemetry__FindLogsResponse *reply) {
    weft_tx *tx;
    reply->n_records = 0;
    const int rc = weft_tx_begin(tel_store_db(store), WEFT_READ, &tx);
    if (rc) return tel_store_status(ctx, rc);
    return end_read(ctx, tx, logs_in(ctx, tx, want, trace, reply));
}

weft_status tel_find_logs(weft_ctx *ctx, tel_store *store,
                          const Telemetry__FindLogsRequest *request,
                          Telemetry__FindLogsResponse *reply) {
    uint8_t id[16];
    const bool by_trace = *request->trace_id != '\0';
    if (by_trace) {
        const weft_status st = tel_parse_id(ctx, "trace_id", request->trace_id, id, sizeof id);
        if (weft_failed(st)) return st;
    }
    if (request->after_id < 0) return weft_invalid(ctx, "after_id", "must not be negative");
    const int64_t wait = request->wait_nano < TEL_WAIT_MAX ? request->wait_nano : TEL_WAIT_MAX;
    const int64_t until = weft_now(NULL) + wait;
    Telemetry__FindLogsRequest want = *request;
    uint64_t seen = 0;
    tel_store_wait_logs(store, &seen, 0);
    for (;;) {
        const weft_status st = find_logs(ctx, store, &want, by_trace ? id : NULL, reply);
        int64_t left = until - weft_now(NULL);
        if (weft_failed(st) || reply->n_records || left <= 0 || weft_ctx_cancelled(ctx)) return st;
        want.after_id = reply->last_id; /* what was looked at is not looked at again */
        if (left > WEFT_NS_PER_S) left = WEFT_NS_PER_S; /* to see that the caller has gone */
        const uint64_t before = seen;
        tel_store_wait_logs(store, &seen, left);
        if (seen == before && weft_now(NULL) >= until) return st;
    }
}

/* ---- services */

weft_status tel_list_services(weft_ctx *ctx, tel_store *store,
                              Telemetry__ListServicesResponse *reply) {
    weft_tx *tx;
    const int rc = weft_tx_begin(tel_store_db(store), WEFT_READ, &tx);
    if (rc) return tel_store_status(ctx, rc);
    reply->services = weft_array(ctx, TEL_EDGES_LIMIT, sizeof *reply->services);
    weft_stmt *row = weft_tx_query(
        tx, "SELECT name, first_seen, last_seen, spans, errors, logs FROM service ORDER BY name",
        "");
    bool ok = reply->services != NULL;
    while (ok && reply->n_services < TEL_EDGES_LIMIT && weft_stmt_row(row)) {
        Telemetry__ServiceSummary *s = telemetry_service_summary_new(ctx);
        if (!s) return end_read(ctx, tx, tel_no_memory(ctx));
        s->name = tel_text(ctx, weft_stmt_text(row, 0), &ok);
        s->first_seen_unix_nano = weft_stmt_int(row, 1);
        s->last_seen_unix_nano = weft_stmt_int(row, 2);
        s->spans = (uint64_t)weft_stmt_int(row, 3);
        s->errors = (uint64_t)weft_stmt_int(row, 4);
        s->logs = (uint64_t)weft_stmt_int(row, 5);
        reply->services[reply->n_services++] = s;
    }
    return end_read(ctx, tx, ok ? weft_ok() : tel_no_memory(ctx));
}

/* ---- edges */

/* The minutes of an edge added up. */
typedef struct sum {
    Telemetry__Edge *edge;
    int64_t total;
    tel_histogram histogram;
} sum;

static sum *sum_of(weft_ctx *ctx, weft_map *sums, weft_stmt *row) {
    const char *caller = weft_stmt_text(row, 1), *callee = weft_stmt_text(row, 2);
    const char *method = weft_stmt_text(row, 3);
    weft_buf key;
    weft_buf_init(&key, 0);
    (void)weft_buf_printf(&key, "%s\n%s\n%s", caller, callee, method);
    sum *s = weft_map_get(sums, weft_buf_str(&key));
    if (!s) {
        s = weft_calloc(1, sizeof *s);
        bool ok = s && (s->edge = telemetry_edge_new(ctx)) != NULL;
        if (ok) {
            s->edge->caller = tel_text(ctx, caller, &ok);
            s->edge->callee = tel_text(ctx, callee, &ok);
            s->edge->method = tel_text(ctx, method, &ok);
        }
        if (!ok || weft_map_put(sums, weft_buf_str(&key), s)) {
            weft_free(s);
            s = NULL;
        }
    }
    weft_buf_free(&key);
    return s;
}

static void add_row(sum *s, weft_stmt *row) {
    size_t len = 0;
    tel_histogram h;
    s->edge->calls += (uint64_t)weft_stmt_int(row, 4);
    s->edge->errors += (uint64_t)weft_stmt_int(row, 5);
    if (__builtin_add_overflow(s->total, weft_stmt_int(row, 6), &s->total)) s->total = INT64_MAX;
    if (weft_stmt_int(row, 7) > s->edge->max_nano) s->edge->max_nano = weft_stmt_int(row, 7);
    const void *data = weft_stmt_blob(row, 8, &len);
    tel_histogram_read(&h, data, data ? len : 0);
    tel_histogram_merge(&s->histogram, &h);
}

static int by_names(const void *a, const void *b) {
    const Telemetry__Edge *x = *(Telemetry__Edge *const *)a, *y = *(Telemetry__Edge *const *)b;
    int order = strcmp(x->caller, y->caller);
    if (!order) order = strcmp(x->callee, y->callee);
    return order ? order : strcmp(x->method, y->method);
}

static int64_t at_most_max(const sum *s, double q) {
    const int64_t end = tel_histogram_quantile(&s->histogram, q);
    return end < s->edge->max_nano ? end : s->edge->max_nano;
}

static weft_status finish_edges(weft_ctx *ctx, weft_map *sums, int64_t span_ns,
                                Telemetry__ListEdgesResponse *reply) {
    reply->edges = weft_array(ctx, weft_map_count(sums) + 1, sizeof *reply->edges);
    if (!reply->edges) return tel_no_memory(ctx);
    size_t at = 0;
    void *value;
    while (weft_map_next(sums, &at, NULL, NULL, &value)) {
        sum *s = value;
        s->edge->mean_nano = s->edge->calls ? s->total / (int64_t)s->edge->calls : 0;
        s->edge->p50_nano = at_most_max(s, 0.5);
        s->edge->p90_nano = at_most_max(s, 0.9);
        s->edge->p99_nano = at_most_max(s, 0.99);
        s->edge->calls_per_second =
            span_ns > 0 ? (double)s->edge->calls * 1e9 / (double)span_ns : 0;
        reply->edges[reply->n_edges++] = s->edge;
    }
    qsort(reply->edges, reply->n_edges, sizeof *reply->edges, by_names);
    return weft_ok();
}

static weft_status edges_in(weft_ctx *ctx, weft_tx *tx, const Telemetry__ListEdgesRequest *want,
                            weft_map *sums, Telemetry__ListEdgesResponse *reply) {
    const int64_t from = want->from_unix_nano / MINUTE;
    const int64_t to =
        want->to_unix_nano ? (want->to_unix_nano + MINUTE - 1) / MINUTE : INT64_MAX / MINUTE;
    weft_stmt *row = weft_tx_query(tx,
                                   "SELECT minute, caller, callee, method, calls, errors, sum, "
                                   "max, histogram FROM edge WHERE minute >= ? AND minute < ? "
                                   "ORDER BY minute",
                                   "ll", from, to);
    int64_t first = 0, last = 0;
    bool any = false;
    while (weft_stmt_row(row)) {
        if (*want->service && !tel_service_is(weft_stmt_text(row, 1), want->service) &&
            !tel_service_is(weft_stmt_text(row, 2), want->service))
            continue;
        last = weft_stmt_int(row, 0);
        if (!any) first = last;
        any = true;
        sum *s = sum_of(ctx, sums, row);
        if (!s) return tel_no_memory(ctx);
        add_row(s, row);
    }
    if (want->from_unix_nano && want->to_unix_nano) {
        first = from;
        last = to - 1;
    }
    return finish_edges(ctx, sums, (last - first + 1) * MINUTE, reply);
}

weft_status tel_list_edges(weft_ctx *ctx, tel_store *store,
                           const Telemetry__ListEdgesRequest *request,
                           Telemetry__ListEdgesResponse *reply) {
    if (request->from_unix_nano < 0 || request->to_unix_nano < 0 ||
        request->to_unix_nano > INT64_MAX - MINUTE)
        return weft_invalid(ctx, "to_unix_nano", "is no time");
    weft_tx *tx;
    const int rc = weft_tx_begin(tel_store_db(store), WEFT_READ, &tx);
    if (rc) return tel_store_status(ctx, rc);
    weft_map sums;
    weft_map_init(&sums, TEL_EDGES_LIMIT);
    const weft_status st = end_read(ctx, tx, edges_in(ctx, tx, request, &sums, reply));
    weft_map_free(&sums, weft_free);
    return st;
}

/* ---- the store */

weft_status tel_get_stats(weft_ctx *ctx, tel_store *store, Telemetry__GetStatsResponse *reply) {
    tel_stats s;
    const int rc = tel_store_stats(store, &s);
    if (rc) return tel_store_status(ctx, rc);
    reply->traces = s.traces;
    reply->spans = s.spans;
    reply->logs = s.logs;
    reply->bytes = s.bytes;
    reply->max_bytes = s.max_bytes;
    reply->oldest_unix_nano = s.oldest;
    reply->spans_rejected = s.spans_rejected;
    reply->logs_rejected = s.logs_rejected;
    reply->repeated = s.repeated;
    reply->traces_expired = s.traces_expired;
    reply->logs_expired = s.logs_expired;
    return weft_ok();
}
