/* Statuses made in contexts, their typed details, and what a call's end means in words. */
#include <string.h>

#include "google/protobuf/any.pb-c.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "internal.h"
#include "weft/pb.h"

#define TYPE_PREFIX "type.googleapis.com/"

weft_status weft_error(weft_ctx *ctx, weft_code code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    weft_status st = weft_status_vmake(ctx->arena, (int)code, format, args);
    va_end(args);
    return st;
}

#define STATUS_FN(name, code)                                                 \
    weft_status weft_##name(weft_ctx *ctx, const char *format, ...) {         \
        va_list args;                                                         \
        va_start(args, format);                                               \
        weft_status st = weft_status_vmake(ctx->arena, (code), format, args); \
        va_end(args);                                                         \
        return st;                                                            \
    }
STATUS_FN(cancelled, WEFT_CANCELLED)
STATUS_FN(unknown, WEFT_UNKNOWN)
STATUS_FN(deadline_exceeded, WEFT_DEADLINE_EXCEEDED)
STATUS_FN(not_found, WEFT_NOT_FOUND)
STATUS_FN(already_exists, WEFT_ALREADY_EXISTS)
STATUS_FN(permission_denied, WEFT_PERMISSION_DENIED)
STATUS_FN(resource_exhausted, WEFT_RESOURCE_EXHAUSTED)
STATUS_FN(failed_precondition, WEFT_FAILED_PRECONDITION)
STATUS_FN(aborted, WEFT_ABORTED)
STATUS_FN(out_of_range, WEFT_OUT_OF_RANGE)
STATUS_FN(unimplemented, WEFT_UNIMPLEMENTED)
STATUS_FN(internal, WEFT_INTERNAL)
STATUS_FN(unavailable, WEFT_UNAVAILABLE)
STATUS_FN(data_loss, WEFT_DATA_LOSS)
STATUS_FN(unauthenticated, WEFT_UNAUTHENTICATED)

weft_status weft_invalid(weft_ctx *ctx, const char *field, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *rule = weft_arena_vprintf(ctx->arena, format, args);
    va_end(args);
    weft_status st = weft_status_make(ctx->arena, WEFT_INVALID_ARGUMENT, "%s: %s", field,
                                      rule ? rule : "invalid");
    if (!rule) return st;
    Google__Rpc__BadRequest__FieldViolation violation =
        GOOGLE__RPC__BAD_REQUEST__FIELD_VIOLATION__INIT;
    violation.field = (char *)(uintptr_t)field;
    violation.description = rule;
    Google__Rpc__BadRequest__FieldViolation *violations[] = {&violation};
    Google__Rpc__BadRequest detail = GOOGLE__RPC__BAD_REQUEST__INIT;
    detail.n_field_violations = 1;
    detail.field_violations = violations;
    return weft_status_with_detail(ctx, st, &detail.base);
}

/* A google.rpc.Status with one more detail: the serialized form of a repeated field grows at its end, so
 * what was there is kept as it is. */
weft_status weft_status_with_detail(weft_ctx *ctx, weft_status st, const ProtobufCMessage *detail) {
    if (st.code == WEFT_OK || !detail) return st;
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    any.type_url = weft_arena_printf(ctx->arena, TYPE_PREFIX "%s", detail->descriptor->name);
    any.value.data = weft_pack(ctx->arena, detail, &any.value.len);
    Google__Protobuf__Any *list[] = {&any};
    Google__Rpc__Status rich = GOOGLE__RPC__STATUS__INIT;
    rich.n_details = 1;
    rich.details = list;
    if (!st.body || !st.body->details) {
        rich.code = (int32_t)st.code;
        rich.message = (char *)(uintptr_t)weft_status_message(st);
    }
    if (!any.type_url || (!any.value.data && any.value.len)) return st;
    size_t len = 0;
    uint8_t *more = weft_pack(ctx->arena, &rich.base, &len);
    size_t before = st.body && st.body->details ? st.body->details_len : 0;
    uint8_t *whole = more ? weft_arena_alloc(ctx->arena, before + len) : NULL;
    weft_status_body *body = whole ? weft_arena_alloc(ctx->arena, sizeof *body) : NULL;
    if (!body) return st;
    if (before) memcpy(whole, st.body->details, before);
    memcpy(whole + before, more, len);
    *body = (weft_status_body){weft_status_message(st), whole, before + len};
    st.body = body;
    return st;
}

static bool names_type(const char *url, const char *name) {
    const char *slash = strrchr(url, '/');
    return strcmp(slash ? slash + 1 : url, name) == 0;
}

ProtobufCMessage *weft_status_detail(weft_ctx *ctx, weft_status st,
                                     const ProtobufCMessageDescriptor *type) {
    if (!st.body || !st.body->details) return NULL;
    ProtobufCMessage *unpacked = weft_unpack(&google__rpc__status__descriptor, st.body->details,
                                             st.body->details_len, NULL, ctx->arena, NULL, NULL);
    if (!unpacked) return NULL;
    const Google__Rpc__Status *rich = (const Google__Rpc__Status *)unpacked;
    for (size_t i = 0; i < rich->n_details; i++) {
        const Google__Protobuf__Any *any = rich->details[i];
        if (!names_type(any->type_url, type->name)) continue;
        static const uint8_t nothing[1];
        return weft_unpack(type, any->value.data ? any->value.data : nothing, any->value.len, NULL,
                           ctx->arena, NULL, NULL);
    }
    return NULL;
}

/* ---- a client call's end */

static weft_status local_end(weft_arena *arena, const tp_end *end, const char *method,
                             const char *target, size_t max_reply) {
    int len = end->message_len > 1024 ? 1024 : (int)end->message_len;
    switch (end->cause) {
    case TP_DEADLINE:
        return weft_status_make(arena, end->code, "%s: no answer from %s before the deadline",
                                method, target);
    case TP_CANCELLED:
        return weft_status_make(arena, end->code, "%s: cancelled before %s answered", method,
                                target);
    case TP_CONNECT:
        return weft_status_make(arena, end->code, "%s: %s cannot be reached: %.*s", method, target,
                                len, end->message);
    case TP_TOO_LARGE:
        return weft_status_make(arena, end->code,
                                "%s: the reply is larger than max_reply, %zu bytes "
                                "(weft_ctx_max_reply raises it)",
                                method, max_reply);
    case TP_PEER:
        break;
    }
    return weft_status_make(arena, end->code, "%.*s", (int)end->message_len, end->message);
}

static void take_details(weft_arena *arena, const tp_end *end, weft_status *st) {
    tp_header header;
    if (!arena || !st->body || !rpc_meta_find(&end->trailers, RPC_DETAILS_KEY, 0, &header)) return;
    weft_status_body *body = weft_arena_alloc(arena, sizeof *body);
    uint8_t *copy = body ? weft_arena_memdup(arena, header.value, header.value_len) : NULL;
    if (!copy) return;
    *body = (weft_status_body){st->body->message, copy, header.value_len};
    st->body = body;
}

weft_status rpc_status_of_end(weft_arena *arena, const tp_end *end, const weft_method *method,
                              const char *target, size_t max_reply) {
    if (end->code == WEFT_OK) return weft_ok();
    weft_status st = local_end(arena, end, method->path + 1, target, max_reply);
    take_details(arena, end, &st);
    return st;
}
