/* OTLP's side: accept, store, answer; and the table of all RPCs. */
#include <string.h>

#include "opentelemetry/proto/collector/logs/v1/logs_service.weft.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.weft.h"
#include "services/telemetry/service.h"
#include "weft/encoding.h"
#include "weft/log.h"
#include "weft/pb.h"
#include "weft/telemetry/v1/telemetry.weft.h"

/* ---- what handlers share */

weft_status tel_no_memory(weft_ctx *ctx) {
    return weft_resource_exhausted(ctx, "the answer does not fit into the memory of one call");
}

weft_status tel_store_status(weft_ctx *ctx, int error) {
    if (!error) return weft_ok();
    weft_log(WEFT_LOG_ERROR, "the store failed", WEFT_S("error", weft_strerror(error)),
             WEFT_S("detail", weft_store_message()));
    switch (error) {
    case WEFT_EBUSY:
    case WEFT_ECLOSED:
        return weft_unavailable(ctx, "the store is busy; try again");
    case WEFT_ELIMIT:
        return weft_unavailable(ctx, "the disk of the store is full");
    case WEFT_ENOMEM:
        return weft_unavailable(ctx, "out of memory; try again");
    default:
        return weft_internal(ctx, "the store failed; its log says why");
    }
}

bool tel_service_is(const char *name, const char *wanted) {
    const size_t len = strlen(wanted);
    return !strncmp(name, wanted, len) && (!name[len] || name[len] == '.');
}

char *tel_text(weft_ctx *ctx, const char *text, bool *ok) {
    char *copy = weft_strdup(ctx, text);
    if (!copy) *ok = false;
    return copy;
}

char *tel_hex(weft_ctx *ctx, const void *id, size_t len, bool *ok) {
    char *text = weft_alloc(ctx, WEFT_HEX_TEXT(len));
    if (text)
        (void)weft_hex_encode(id, len, text);
    else
        *ok = false;
    return text;
}

weft_status tel_parse_id(weft_ctx *ctx, const char *field, const char *text, uint8_t *id,
                         size_t size) {
    size_t got = 0;
    if (strlen(text) != size * 2 || weft_hex_decode(text, size * 2, id, size, &got) || got != size)
        return weft_invalid(ctx, field, "must be %zu hex digits", size * 2);
    return weft_ok();
}

Telemetry__SpanDetail *tel_detail(weft_ctx *ctx, const void *data, size_t len) {
    return (Telemetry__SpanDetail *)weft_unpack(&telemetry__span_detail__descriptor, data, len,
                                                NULL, weft_ctx_arena(ctx), NULL, NULL);
}

/* ---- receiving */

/* Makes room behind what came, at least as fast as it comes. */
static void trim_behind(tel_store *store, size_t came) {
    const size_t rows = came * 2 < TEL_TRIM_ROWS ? TEL_TRIM_ROWS : came * 2;
    if (tel_store_trim(store, (int64_t)rows) < 0)
        weft_log(WEFT_LOG_WARN, "cannot make room in the store",
                 WEFT_S("detail", weft_store_message()));
}

weft_status tel_receive_spans(weft_ctx *ctx, tel_store *store,
                              const OtlpTrace__ExportTraceServiceRequest *request,
                              OtlpTrace__ExportTraceServiceResponse *reply) {
    tel_batch batch;
    if (tel_accept_spans(request, weft_ctx_arena(ctx), &batch)) return tel_no_memory(ctx);
    const int rc = tel_store_add_spans(store, &batch);
    if (rc) return tel_store_status(ctx, rc);
    trim_behind(store, batch.count);
    if (!batch.rejected) return weft_ok();
    reply->partial_success = otlp_trace_export_trace_partial_success_new(ctx);
    if (!reply->partial_success) return weft_ok();
    reply->partial_success->rejected_spans = (int64_t)batch.rejected;
    char *why = weft_strdup(ctx, batch.why);
    if (why) reply->partial_success->error_message = why;
    return weft_ok();
}

weft_status tel_receive_logs(weft_ctx *ctx, tel_store *store,
                             const OtlpLogs__ExportLogsServiceRequest *request,
                             OtlpLogs__ExportLogsServiceResponse *reply) {
    tel_batch batch;
    if (tel_accept_logs(request, tel_store_now(store), weft_ctx_arena(ctx), &batch))
        return tel_no_memory(ctx);
    const int rc = tel_store_add_logs(store, &batch);
    if (rc) return tel_store_status(ctx, rc);
    trim_behind(store, batch.count);
    if (!batch.rejected) return weft_ok();
    reply->partial_success = otlp_logs_export_logs_partial_success_new(ctx);
    if (!reply->partial_success) return weft_ok();
    reply->partial_success->rejected_log_records = (int64_t)batch.rejected;
    char *why = weft_strdup(ctx, batch.why);
    if (why) reply->partial_success->error_message = why;
    return weft_ok();
}

/* ---- handlers */

static weft_status export_spans(weft_ctx *ctx, const OtlpTrace__ExportTraceServiceRequest *request,
                                OtlpTrace__ExportTraceServiceResponse *reply) {
    return tel_receive_spans(ctx, weft_ctx_service(ctx), request, reply);
}

static weft_status export_logs(weft_ctx *ctx, const OtlpLogs__ExportLogsServiceRequest *request,
                               OtlpLogs__ExportLogsServiceResponse *reply) {
    return tel_receive_logs(ctx, weft_ctx_service(ctx), request, reply);
}

static weft_status find_traces(weft_ctx *ctx, const Telemetry__FindTracesRequest *request,
                               Telemetry__FindTracesResponse *reply) {
    return tel_find_traces(ctx, weft_ctx_service(ctx), request, reply);
}

static weft_status get_trace(weft_ctx *ctx, const Telemetry__GetTraceRequest *request,
                             Telemetry__GetTraceResponse *reply) {
    return tel_get_trace(ctx, weft_ctx_service(ctx), request, reply);
}

static weft_status find_logs(weft_ctx *ctx, const Telemetry__FindLogsRequest *request,
                             Telemetry__FindLogsResponse *reply) {
    return tel_find_logs(ctx, weft_ctx_service(ctx), request, reply);
}

static weft_status list_services(weft_ctx *ctx, const Telemetry__ListServicesRequest *request,
                                 Telemetry__ListServicesResponse *reply) {
    (void)request;
    return tel_list_services(ctx, weft_ctx_service(ctx), reply);
}

static weft_status list_edges(weft_ctx *ctx, const Telemetry__ListEdgesRequest *request,
                              Telemetry__ListEdgesResponse *reply) {
    return tel_list_edges(ctx, weft_ctx_service(ctx), request, reply);
}

static weft_status get_stats(weft_ctx *ctx, const Telemetry__GetStatsRequest *request,
                             Telemetry__GetStatsResponse *reply) {
    (void)request;
    return tel_get_stats(ctx, weft_ctx_service(ctx), reply);
}

int tel_serve(weft_server *server, tel_store *store) {
    static const otlp_trace_service traces = {.export_ = export_spans};
    static const otlp_logs_service logs = {.export_ = export_logs};
    static const telemetry_service queries = {.find_traces = find_traces,
                                              .get_trace = get_trace,
                                              .find_logs = find_logs,
                                              .list_services = list_services,
                                              .list_edges = list_edges,
                                              .get_stats = get_stats};
    int rc = otlp_trace_service_add(server, &traces, store);
    if (!rc) rc = otlp_logs_service_add(server, &logs, store);
    if (!rc) rc = telemetry_service_add(server, &queries, store);
    return rc;
}
