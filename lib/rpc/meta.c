/* Metadata of contexts: checked when it comes in from the program, copied when it comes in from the wire. */
#include <string.h>

#include "internal.h"

static bool key_ok(const char *key, size_t len) {
    static const char *const reserved[] = {"content-type", "te", "user-agent", "host",
                                           "connection"};
    if (!len || len > RPC_MAX_METADATA_OUT || strncmp(key, "grpc-", 5) == 0) return false;
    for (size_t i = 0; i < len; i++) {
        char c = key[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return false;
    }
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strcmp(key, reserved[i]) == 0) return false;
    return true;
}

static bool is_binary(const char *key, size_t len) {
    return len > 4 && memcmp(key + len - 4, "-bin", 4) == 0;
}

static bool value_ok(const char *key, size_t key_len, const uint8_t *value, size_t len) {
    if (is_binary(key, key_len)) return true;
    for (size_t i = 0; i < len; i++)
        if (value[i] < 0x20 || value[i] > 0x7e) return false;
    return true;
}

static int append(weft_arena *arena, rpc_metas *list, const tp_header *header) {
    rpc_meta *meta =
        weft_arena_alloc(arena, sizeof *meta + header->key_len + header->value_len + 2);
    if (!meta) return WEFT_ENOMEM;
    char *key = (char *)(meta + 1);
    char *value = key + header->key_len + 1;
    if (header->key_len) memcpy(key, header->key, header->key_len);
    if (header->value_len) memcpy(value, header->value, header->value_len);
    key[header->key_len] = value[header->value_len] = '\0';
    *meta = (rpc_meta){
        .key = key, .value = value, .key_len = header->key_len, .value_len = header->value_len};
    if (list->last)
        list->last->next = meta;
    else
        list->first = meta;
    list->last = meta;
    list->count++;
    list->bytes += header->key_len + header->value_len;
    return 0;
}

static int add(weft_ctx *ctx, rpc_metas *list, const char *key, const void *value, size_t len) {
    size_t key_len = strnlen(key, RPC_MAX_METADATA_OUT + 1);
    if (!key_ok(key, key_len) || (len && !value) || !value_ok(key, key_len, value, len))
        return WEFT_EINVAL;
    if (len > RPC_MAX_METADATA_OUT || list->bytes + key_len + len > RPC_MAX_METADATA_OUT)
        return WEFT_ELIMIT;
    tp_header header = {key, key_len, value, len};
    return append(ctx->arena, list, &header);
}

int weft_ctx_add_metadata(weft_ctx *ctx, const char *key, const void *value, size_t len) {
    /* A trace of the program's own takes the place of ours. */
    if (strcmp(key, "traceparent") == 0)
        return rpc_trace_continue(&ctx->trace, value, len) ? 0 : WEFT_EINVAL;
    if (strcmp(key, "tracestate") == 0) {
        if (!value_ok(key, strlen(key), value, len)) return WEFT_EINVAL;
        if (len > 512) return WEFT_ELIMIT;
        ctx->trace.state = weft_arena_strndup(ctx->arena, value, len);
        return ctx->trace.state ? 0 : WEFT_ENOMEM;
    }
    return add(ctx, &ctx->outgoing, key, value, len);
}

static int add_reply(weft_ctx *ctx, rpc_metas *list, const char *key, const void *value,
                     size_t len) {
    return ctx->call ? add(ctx, list, key, value, len) : WEFT_EINVAL;
}

int weft_ctx_add_initial(weft_ctx *ctx, const char *key, const void *value, size_t len) {
    return add_reply(ctx, &ctx->initial, key, value, len);
}

int weft_ctx_add_trailing(weft_ctx *ctx, const char *key, const void *value, size_t len) {
    return add_reply(ctx, &ctx->trailing, key, value, len);
}

/* ---- reading */

static const char *find(const rpc_metas *list, const char *key, size_t index, size_t *len) {
    for (const rpc_meta *at = list->first; at; at = at->next) {
        if (strcmp(at->key, key) != 0 || index-- > 0) continue;
        if (len) *len = at->value_len;
        return at->value;
    }
    return NULL;
}

bool rpc_meta_find(const tp_headers *headers, const char *key, size_t index, tp_header *out) {
    size_t key_len = strlen(key);
    for (size_t i = 0; i < headers->count; i++) {
        headers->at(headers->list, i, out);
        if (out->key_len == key_len && memcmp(out->key, key, key_len) == 0 && index-- == 0)
            return true;
    }
    return false;
}

static const char *entry_at(const rpc_metas *list, size_t index, const char **value, size_t *len) {
    const rpc_meta *at = list->first;
    while (at && index--) at = at->next;
    if (!at) return NULL;
    *value = at->value;
    *len = at->value_len;
    return at->key;
}

/* A handler's metadata is copied when first asked for: most calls never ask. */
static const rpc_metas *metadata_of(const weft_ctx *ctx) {
    if (!ctx->call) return &ctx->outgoing;
    weft_ctx *own = (weft_ctx *)(uintptr_t)ctx;
    if (own->request.count) {
        tp_headers headers = own->request;
        own->request.count = 0;
        rpc_meta_receive(own->arena, &own->request_read, &headers);
    }
    return &ctx->request_read;
}

const char *weft_ctx_metadata(const weft_ctx *ctx, const char *key, size_t index, size_t *len) {
    return find(metadata_of(ctx), key, index, len);
}

const char *weft_ctx_metadata_at(const weft_ctx *ctx, size_t index, const char **value,
                                 size_t *len) {
    return entry_at(metadata_of(ctx), index, value, len);
}

const char *weft_ctx_initial(const weft_ctx *ctx, const char *key, size_t index, size_t *len) {
    return find(&ctx->initial, key, index, len);
}

const char *weft_ctx_trailing(const weft_ctx *ctx, const char *key, size_t index, size_t *len) {
    return find(&ctx->trailing, key, index, len);
}

const char *weft_ctx_initial_at(const weft_ctx *ctx, size_t index, const char **value,
                                size_t *len) {
    return entry_at(&ctx->initial, index, value, len);
}

const char *weft_ctx_trailing_at(const weft_ctx *ctx, size_t index, const char **value,
                                 size_t *len) {
    return entry_at(&ctx->trailing, index, value, len);
}

void rpc_meta_receive(weft_arena *arena, rpc_metas *list, const tp_headers *headers) {
    *list = (rpc_metas){.count = 0};
    if (!arena) return;
    for (size_t i = 0; i < headers->count; i++) {
        tp_header header;
        headers->at(headers->list, i, &header);
        if (header.key_len >= 5 && memcmp(header.key, "grpc-", 5) == 0) continue;
        if (append(arena, list, &header) < 0) return;
    }
}

/* ---- sending */

size_t rpc_meta_list(const rpc_metas *list, tp_header *out) {
    size_t count = 0;
    for (const rpc_meta *at = list->first; at; at = at->next)
        out[count++] = (tp_header){at->key, at->key_len, at->value, at->value_len};
    return count;
}

size_t rpc_meta_send(weft_ctx *ctx, tp_header *out) {
    size_t count = rpc_meta_list(&ctx->outgoing, out);
    const char *parent = rpc_trace_text(&ctx->trace);
    out[count++] = (tp_header){"traceparent", 11, parent, strlen(parent)};
    const char *state = ctx->trace.state;
    if (state && *state) out[count++] = (tp_header){"tracestate", 10, state, strlen(state)};
    return count;
}
