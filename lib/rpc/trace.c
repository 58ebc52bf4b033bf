/* W3C trace context: 16 bytes of trace, 8 of span, a byte of flags. */
#include <string.h>

#include "internal.h"
#include "weft/encoding.h"
#include "weft/log.h"
#include "weft/rng.h"

#define PARENT_LEN 55u /* "00-<32>-<16>-<2>" */
#define STATE_MAX 512u

static uint64_t random_u64(void) {
    static _Thread_local weft_rng rng;
    static _Thread_local bool seeded;
    if (!seeded) {
        weft_rng_seed(&rng, weft_rng_system_seed());
        seeded = true;
    }
    return weft_rng_u64(&rng);
}

static void random_bytes(uint8_t *out, size_t size) {
    uint64_t any = 0;
    for (size_t i = 0; i < size; i += sizeof any) {
        do any = random_u64();
        while (!any); /* all zero is "no id" */
        memcpy(out + i, &any, sizeof any);
    }
}

void rpc_trace_begin(rpc_trace *trace) {
    *trace = (rpc_trace){.flags = 1};
    random_bytes(trace->id, sizeof trace->id);
    random_bytes(trace->span, sizeof trace->span);
}

void rpc_trace_child(rpc_trace *trace, const rpc_trace *parent) {
    *trace = (rpc_trace){.flags = parent->flags, .state = parent->state};
    memcpy(trace->id, parent->id, sizeof trace->id);
    random_bytes(trace->span, sizeof trace->span);
}

static bool lower_hex(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
    return true;
}

static bool all_zero(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i]) return false;
    return true;
}

bool rpc_trace_continue(rpc_trace *trace, const char *text, size_t len) {
    uint8_t id[16], span[8], flags = 0;
    size_t got = 0;
    if (len < PARENT_LEN || !lower_hex(text, 2) || memcmp(text, "ff", 2) == 0) return false;
    /* Version 00 ends here; later ones may go on after a dash. */
    if (len > PARENT_LEN && (memcmp(text, "00", 2) == 0 || text[PARENT_LEN] != '-')) return false;
    if (text[2] != '-' || text[35] != '-' || text[52] != '-') return false;
    if (!lower_hex(text + 3, 32) || !lower_hex(text + 36, 16) || !lower_hex(text + 53, 2))
        return false;
    if (weft_hex_decode(text + 3, 32, id, sizeof id, &got) < 0 || all_zero(id, sizeof id))
        return false;
    if (weft_hex_decode(text + 36, 16, span, sizeof span, &got) < 0 || all_zero(span, sizeof span))
        return false;
    if (weft_hex_decode(text + 53, 2, &flags, 1, &got) < 0) return false;
    *trace = (rpc_trace){.flags = flags & 1};
    memcpy(trace->id, id, sizeof id);
    random_bytes(trace->span, sizeof trace->span);
    return true;
}

const char *rpc_trace_text(rpc_trace *trace) {
    if (!trace->parent[0]) {
        memcpy(trace->parent, "00-", 3);
        (void)weft_hex_encode(trace->id, sizeof trace->id, trace->parent + 3);
        trace->parent[35] = '-';
        (void)weft_hex_encode(trace->span, sizeof trace->span, trace->parent + 36);
        memcpy(trace->parent + 52, trace->flags ? "-01" : "-00", 4);
    }
    return trace->parent;
}

const char *weft_ctx_traceparent(const weft_ctx *ctx) {
    return rpc_trace_text(&((weft_ctx *)(uintptr_t)ctx)->trace);
}

const char *weft_ctx_trace_id(const weft_ctx *ctx) {
    weft_ctx *own = (weft_ctx *)(uintptr_t)ctx;
    if (!own->trace_id[0])
        (void)weft_hex_encode(own->trace.id, sizeof own->trace.id, own->trace_id);
    return own->trace_id;
}

void rpc_trace_from(weft_ctx *ctx, const tp_headers *headers) {
    tp_header header;
    if (!rpc_meta_find(headers, "traceparent", 0, &header) ||
        !rpc_trace_continue(&ctx->trace, header.value, header.value_len)) {
        rpc_trace_begin(&ctx->trace);
        return;
    }
    if (rpc_meta_find(headers, "tracestate", 0, &header) && header.value_len <= STATE_MAX)
        ctx->trace.state = weft_arena_strndup(ctx->arena, header.value, header.value_len);
}

void rpc_trace_log(weft_ctx *ctx) {
    if (!ctx) {
        weft_log_set_trace(NULL, NULL);
        return;
    }
    char span[WEFT_HEX_TEXT(8)];
    (void)weft_hex_encode(ctx->trace.span, sizeof ctx->trace.span, span);
    weft_log_set_trace(weft_ctx_trace_id(ctx), span);
}
