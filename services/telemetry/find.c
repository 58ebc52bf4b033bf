/* Finding traces, and one of them whole. */
#include <string.h>

#include "services/telemetry/service.h"
#include "weft/mem.h"
#include "weft/num.h"
#include "weft/telemetry/v1/telemetry.weft.h"

#define SUMMARY "trace_id, service, name, start, end, spans, errors, seq"

static Telemetry__TraceSummary *summary_of(weft_ctx *ctx, weft_stmt *row) {
    Telemetry__TraceSummary *t = telemetry_trace_summary_new(ctx);
    size_t len = 0;
    bool ok = t != NULL;
    if (!ok) return NULL;
    const void *id = weft_stmt_blob(row, 0, &len);
    t->trace_id = tel_hex(ctx, id ? id : "", len, &ok);
    t->service = tel_text(ctx, weft_stmt_text(row, 1), &ok);
    t->name = tel_text(ctx, weft_stmt_text(row, 2), &ok);
    t->start_unix_nano = weft_stmt_int(row, 3);
    t->duration_nano = weft_stmt_int(row, 4) - t->start_unix_nano;
    t->spans = (uint32_t)weft_stmt_int(row, 5);
    t->errors = (uint32_t)weft_stmt_int(row, 6);
    return ok ? t : NULL;
}

/* ---- finding */

/* "Service/Method" and "Method" find "package.Service/Method". */
static bool method_is(const char *name, const char *wanted) {
    const size_t n = strlen(name), w = strlen(wanted);
    if (n < w || strcmp(name + n - w, wanted) != 0) return false;
    return n == w || name[n - w - 1] == '/' || (name[n - w - 1] == '.' && strchr(wanted, '/'));
}

static bool has_span(weft_tx *tx, int64_t seq, const Telemetry__FindTracesRequest *want) {
    weft_stmt *q = weft_tx_query(tx, "SELECT service, name FROM span WHERE seq = ?", "l", seq);
    while (weft_stmt_row(q)) {
        if (*want->service && !tel_service_is(weft_stmt_text(q, 0), want->service)) continue;
        if (*want->method && !method_is(weft_stmt_text(q, 1), want->method)) continue;
        return true;
    }
    return false;
}

static bool matches(weft_tx *tx, weft_stmt *row, const Telemetry__FindTracesRequest *want) {
    const int64_t start = weft_stmt_int(row, 3), took = weft_stmt_int(row, 4) - start;
    const bool failed = weft_stmt_int(row, 6) != 0;
    if (took < want->min_duration_nano) return false;
    if (start < want->from_unix_nano) return false;
    if (want->to_unix_nano && start >= want->to_unix_nano) return false;
    if (want->status == TELEMETRY__FIND_TRACES_REQUEST__STATUS__STATUS_OK && failed) return false;
    if (want->status == TELEMETRY__FIND_TRACES_REQUEST__STATUS__STATUS_ERROR && !failed)
        return false;
    return (!*want->service && !*want->method) || has_span(tx, weft_stmt_int(row, 7), want);
}

static weft_status find_in(weft_ctx *ctx, weft_tx *tx, const Telemetry__FindTracesRequest *want,
                           int64_t before, Telemetry__FindTracesResponse *reply) {
    const uint32_t asked = want->limit ? want->limit : 20;
    const size_t limit = asked < TEL_TRACES_LIMIT ? asked : TEL_TRACES_LIMIT;
    reply->traces = weft_array(ctx, limit, sizeof *reply->traces);
    if (!reply->traces) return tel_no_memory(ctx);
    weft_stmt *row = weft_tx_query(
        tx, "SELECT " SUMMARY " FROM trace WHERE seq < ? ORDER BY seq DESC", "l", before);
    int64_t last = before;
    for (int looked = 0; weft_stmt_row(row); looked++) {
        if (reply->n_traces == limit || looked == TEL_SCAN_MAX) {
            char *cursor = weft_printf(ctx, "%lld", (long long)last);
            if (!cursor) return tel_no_memory(ctx);
            reply->next_cursor = cursor;
            break;
        }
        last = weft_stmt_int(row, 7);
        if (!matches(tx, row, want)) continue;
        Telemetry__TraceSummary *t = summary_of(ctx, row);
        if (!t) return tel_no_memory(ctx);
        reply->traces[reply->n_traces++] = t;
    }
    return weft_ok();
}

/* A read ends in a commit only for its error. */
static weft_status end_read(weft_ctx *ctx, weft_tx *tx, weft_status st) {
    const int rc = weft_tx_commit(tx);
    return rc ? tel_store_status(ctx, rc) : st;
}

weft_status tel_find_traces(weft_ctx *ctx, tel_store *store,
                            const Telemetry__FindTracesRequest *request,
                            Telemetry__FindTracesResponse *reply) {
    int64_t before = INT64_MAX;
    if (*request->cursor && (weft_parse_int64(request->cursor, &before) || before < 0))
        return weft_invalid(ctx, "cursor", "must be the next_cursor of an answer");
    if (request->min_duration_nano < 0)
        return weft_invalid(ctx, "min_duration_nano", "must not be negative");
    weft_tx *tx;
    const int rc = weft_tx_begin(tel_store_db(store), WEFT_READ, &tx);
    if (rc) return tel_store_status(ctx, rc);
    return end_read(ctx, tx, find_in(ctx, tx, request, before, reply));
}

/* ---- one trace */

#define SPAN                                                                            \
    "span_id, parent_id, kind, start, end, service, name, peer, grpc, error, sidecar, " \
    "message, detail"

static Telemetry__Span *span_of(weft_ctx *ctx, weft_stmt *row, char *trace_id, tel_node *node) {
    Telemetry__Span *s = telemetry_span_new(ctx);
    bool ok = s != NULL;
    size_t len = 0;
    if (!ok) return NULL;
    *node = (tel_node){0};
    const void *id = weft_stmt_blob(row, 0, &len);
    if (id && len == sizeof node->id) memcpy(node->id, id, len);
    s->trace_id = trace_id;
    s->span_id = tel_hex(ctx, node->id, sizeof node->id, &ok);
    id = weft_stmt_blob(row, 1, &len);
    if (id && len == sizeof node->parent) {
        node->has_parent = true;
        memcpy(node->parent, id, len);
        s->parent_span_id = tel_hex(ctx, node->parent, sizeof node->parent, &ok);
    }
    s->kind = (Otlp__Span__SpanKind)weft_stmt_int(row, 2);
    node->server = s->kind == OTLP__SPAN__SPAN_KIND__SPAN_KIND_SERVER;
    node->start = s->start_unix_nano = weft_stmt_int(row, 3);
    node->end = weft_stmt_int(row, 4);
    s->duration_nano = node->end - node->start;
    node->service = s->service = tel_text(ctx, weft_stmt_text(row, 5), &ok);
    s->name = tel_text(ctx, weft_stmt_text(row, 6), &ok);
    s->peer = tel_text(ctx, weft_stmt_text(row, 7), &ok);
    s->grpc_status = (int32_t)weft_stmt_int(row, 8);
    s->error = weft_stmt_int(row, 9) != 0;
    s->origin =
        weft_stmt_int(row, 10) ? TELEMETRY__ORIGIN__ORIGIN_SIDECAR : TELEMETRY__ORIGIN__ORIGIN_APP;
    s->status_message = tel_text(ctx, weft_stmt_text(row, 11), &ok);
    const void *detail = weft_stmt_blob(row, 12, &len);
    s->detail = tel_detail(ctx, detail ? detail : "", detail ? len : 0);
    return ok ? s : NULL;
}

/* Puts `found` into the reply in the order of the calls. */
static weft_status arrange(weft_ctx *ctx, Telemetry__Span **found, tel_node *nodes, size_t count,
                           Telemetry__GetTraceResponse *reply) {
    uint32_t *order = weft_alloc(ctx, (count + 1) * sizeof *order);
    reply->spans = weft_array(ctx, count, sizeof *reply->spans);
    if (!order || !reply->spans || tel_tree(nodes, count, order)) return tel_no_memory(ctx);
    for (size_t i = 0; i < count; i++) {
        Telemetry__Span *s = found[order[i]];
        s->depth = nodes[order[i]].depth;
        s->parent_missing = nodes[order[i]].missing;
        s->parent_inferred = nodes[order[i]].inferred;
        reply->spans[i] = s;
    }
    reply->n_spans = count;
    return weft_ok();
}

static weft_status get_in(weft_ctx *ctx, weft_tx *tx, const uint8_t id[16],
                          Telemetry__GetTraceResponse *reply) {
    weft_stmt *row =
        weft_tx_query(tx, "SELECT " SUMMARY " FROM trace WHERE trace_id = ?", "b", id, (size_t)16);
    if (!weft_stmt_row(row)) return weft_not_found(ctx, "no spans of this trace are here");
    reply->summary = summary_of(ctx, row);
    if (!reply->summary) return tel_no_memory(ctx);
    const size_t max =
        reply->summary->spans < TEL_SPANS_PER_TRACE ? reply->summary->spans : TEL_SPANS_PER_TRACE;
    Telemetry__Span **found = weft_alloc(ctx, (max + 1) * sizeof(void *));
    tel_node *nodes = weft_alloc(ctx, (max + 1) * sizeof *nodes);
    if (!found || !nodes) return tel_no_memory(ctx);
    row = weft_tx_query(tx, "SELECT " SPAN " FROM span WHERE seq = ?", "l", weft_stmt_int(row, 7));
    size_t count = 0;
    while (weft_stmt_row(row)) {
        if (count == max) {
            reply->truncated = true;
            break;
        }
        found[count] = span_of(ctx, row, reply->summary->trace_id, &nodes[count]);
        if (!found[count++]) return tel_no_memory(ctx);
    }
    return arrange(ctx, found, nodes, count, reply);
}

weft_status tel_get_trace(weft_ctx *ctx, tel_store *store,
                          const Telemetry__GetTraceRequest *request,
                          Telemetry__GetTraceResponse *reply) {
    uint8_t id[16];
    const weft_status st = tel_parse_id(ctx, "trace_id", request->trace_id, id, sizeof id);
    if (weft_failed(st)) return st;
    weft_tx *tx;
    const int rc = weft_tx_begin(tel_store_db(store), WEFT_READ, &tx);
    if (rc) return tel_store_status(ctx, rc);
    return end_read(ctx, tx, get_in(ctx, tx, id, reply));
}
