/* The one place where the exporter meets lib/rpc. */
#include <pthread.h>

#include "google/protobuf/duration.pb-c.h"
#include "google/rpc/error_details.pb-c.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.weft.h"
#include "sidecar/export/otlp.h"
#include "weft/mem.h"
#include "weft/rpc.h"

struct otlp_rpc {
    weft_channel *channel;
    pthread_mutex_t lock;
    weft_ctx *ctx;  /* of the call under way, under `lock` */
    bool cancelled; /* before it began */
};

otlp_rpc *otlp_rpc_new(const char *address, const char *transport) {
    otlp_rpc *r = weft_calloc(1, sizeof *r);
    if (!r) return NULL;
    const weft_dial_options options = {.size = sizeof options, .transport = transport};
    (void)pthread_mutex_init(&r->lock, NULL);
    r->channel = weft_dial_with(address, &options);
    return r;
}

void otlp_rpc_free(otlp_rpc *r) {
    if (!r) return;
    weft_channel_free(r->channel);
    (void)pthread_mutex_destroy(&r->lock);
    weft_free(r);
}

/* Which call can be cancelled; NULL: none. A cancellation that came in between counts for the next. */
static void under_way(otlp_rpc *r, weft_ctx *ctx) {
    (void)pthread_mutex_lock(&r->lock);
    r->ctx = ctx;
    if (ctx && r->cancelled) weft_ctx_cancel(ctx);
    r->cancelled = false;
    (void)pthread_mutex_unlock(&r->lock);
}

void otlp_rpc_cancel(void *rpc) {
    otlp_rpc *r = rpc;
    (void)pthread_mutex_lock(&r->lock);
    if (r->ctx)
        weft_ctx_cancel(r->ctx);
    else
        r->cancelled = true;
    (void)pthread_mutex_unlock(&r->lock);
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
    otlp_rpc *r = user;
    OtlpTrace__ExportTraceServiceResponse *reply = NULL;
    *answer = (otlp_answer){.code = WEFT_UNAVAILABLE};
    weft_ctx *ctx = weft_ctx_new(timeout);
    if (!ctx) return;
    under_way(r, ctx);
    const weft_status st = otlp_trace_export(r->channel, ctx, request, &reply);
    under_way(r, NULL);
    answer->code = (int)st.code;
    if (weft_failed(st))
        answer->retry = retry_of(ctx, st);
    else if (reply->partial_success)
        answer->rejected = reply->partial_success->rejected_spans;
    weft_ctx_free(ctx);
}
