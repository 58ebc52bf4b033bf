/* The one place where the exporter meets lib/rpc. */
#include "google/protobuf/duration.pb-c.h"
#include "google/rpc/error_details.pb-c.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.weft.h"
#include "sidecar/export/otlp.h"
#include "weft/mem.h"
#include "weft/rpc.h"

struct otlp_rpc {
    weft_channel *channel;
};

otlp_rpc *otlp_rpc_new(const char *address, const char *transport) {
    otlp_rpc *r = weft_calloc(1, sizeof *r);
    if (!r) return NULL;
    const weft_dial_options options = {.size = sizeof options, .transport = transport};
    r->channel = weft_dial_with(address, &options);
    return r;
}

void otlp_rpc_free(otlp_rpc *r) {
    if (!r) return;
    weft_channel_free(r->channel);
    weft_free(r);
}

/* What google.rpc.RetryInfo asks for, in ns; 0: nothing. */
static int64_t retry_of(weft_ctx *ctx, weft_status st) {
    const Google__Rpc__RetryInfo *info =
        (Google__Rpc__RetryInfo *)weft_status_detail(ctx, st, &google__rpc__retry_info__descriptor);
    const Google__Protobuf__Duration *d = info ? info->retry_delay : NULL;
    if (!d || d->seconds < 0 || d->nanos < 0) return 0;
    if (d->seconds >= OTLP_BACKOFF_MAX / WEFT_NS_PER_S) return OTLP_BACKOFF_MAX;
    return d->seconds * WEFT_NS_PER_S + d->nanos;
}

void otlp_rpc_send(void *user, const OtlpTrace__ExportTraceServiceRequest *request, int64_t timeout,
                   otlp_answer *answer) {
    const otlp_rpc *r = user;
    OtlpTrace__ExportTraceServiceResponse *reply = NULL;
    *answer = (otlp_answer){.code = WEFT_UNAVAILABLE};
    weft_ctx *ctx = weft_ctx_new(timeout);
    if (!ctx) return;
    const weft_status st = otlp_trace_export(r->channel, ctx, request, &reply);
    answer->code = (int)st.code;
    if (weft_failed(st))
        answer->retry = retry_of(ctx, st);
    else if (reply->partial_success)
        answer->rejected = reply->partial_success->rejected_spans;
    weft_ctx_free(ctx);
}
