/* The RPCs of weft-telemetry: what they do, with the store given, and adding them to a server. */
#ifndef SERVICES_TELEMETRY_SERVICE_H
#define SERVICES_TELEMETRY_SERVICE_H

#include "services/telemetry/telemetry.h"
#include "weft/rpc.h"
#include "weft/telemetry/v1/telemetry.pb-c.h"

#define TEL_TRACES_LIMIT 500
#define TEL_LOGS_LIMIT 1000
#define TEL_SCAN_MAX 20000 /* rows one request looks at before it answers with a cursor */
#define TEL_EDGES_LIMIT 10000
#define TEL_WAIT_MAX (30 * WEFT_NS_PER_S)

/* Replies live in the context. */
weft_status tel_receive_spans(weft_ctx *ctx, tel_store *store,
                              const OtlpTrace__ExportTraceServiceRequest *request,
                              OtlpTrace__ExportTraceServiceResponse *reply);
weft_status tel_receive_logs(weft_ctx *ctx, tel_store *store,
                             const OtlpLogs__ExportLogsServiceRequest *request,
                             OtlpLogs__ExportLogsServiceResponse *reply);

weft_status tel_find_traces(weft_ctx *ctx, tel_store *store,
                            const Telemetry__FindTracesRequest *request,
                            Telemetry__FindTracesResponse *reply);
weft_status tel_get_trace(weft_ctx *ctx, tel_store *store,
                          const Telemetry__GetTraceRequest *request,
                          Telemetry__GetTraceResponse *reply);
weft_status tel_find_logs(weft_ctx *ctx, tel_store *store,
                          const Telemetry__FindLogsRequest *request,
                          Telemetry__FindLogsResponse *reply);
weft_status tel_list_services(weft_ctx *ctx, tel_store *store,
                              Telemetry__ListServicesResponse *reply);
weft_status tel_list_edges(weft_ctx *ctx, tel_store *store,
                           const Telemetry__ListEdgesRequest *request,
                           Telemetry__ListEdgesResponse *reply);
weft_status tel_get_stats(weft_ctx *ctx, tel_store *store, Telemetry__GetStatsResponse *reply);

/* Both OTLP services and the query API. What <service>_add returned. */
int tel_serve(weft_server *server, tel_store *store) WEFT_MUST_USE;

/* ---- for the files behind it */

/* A failed transaction as a status; OK for 0. UNAVAILABLE when the database was busy, RESOURCE_EXHAUSTED when
 * the disk is full. The cause is logged. */
weft_status tel_store_status(weft_ctx *ctx, int error);
weft_status tel_no_memory(weft_ctx *ctx);
/* Whether `name` is `wanted`, or `wanted` without its namespace. */
bool tel_service_is(const char *name, const char *wanted);
/* Copies into the context; `ok` becomes false when its memory is out. */
char *tel_text(weft_ctx *ctx, const char *text, bool *ok);
char *tel_hex(weft_ctx *ctx, const void *id, size_t len, bool *ok);
/* "<field>: …" unless `text` is the hex of an id of `size` bytes. */
weft_status tel_parse_id(weft_ctx *ctx, const char *field, const char *text, uint8_t *id,
                         size_t size);
/* Unpacks what the store holds; NULL when memory is out. */
Telemetry__SpanDetail *tel_detail(weft_ctx *ctx, const void *data, size_t len);

#endif
