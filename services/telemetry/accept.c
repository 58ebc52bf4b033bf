/* What came as OTLP, checked, cut to our limits and made records. */
#include <string.h>

#include "services/telemetry/telemetry.h"
#include "weft/crypto.h"
#include "weft/map.h"
#include "weft/num.h"
#include "weft/pb.h"
#include "weft/status.h"
#include "weft/telemetry/v1/telemetry.pb-c.h"
#include "weft/utf8.h"

#define SIDECAR_SCOPE "weft-sidecar"
#define UNKNOWN_SERVICE "unknown"

/* One request on its way. `full`: the arena has no more. */
typedef struct accepting {
    weft_arena *arena;
    tel_batch *out;
    size_t max;
    bool full;
} accepting;

static bool all_zero(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i]) return false;
    return true;
}

/* Whether it is an id of `size` bytes; copied then. */
static bool take_id(const ProtobufCBinaryData *id, uint8_t *to, size_t size) {
    if (id->len != size || all_zero(id->data, size)) return false;
    memcpy(to, id->data, size);
    return true;
}

/* The text, or as many whole characters of it as fit into `max` bytes. */
static const char *cut(accepting *a, const char *text, size_t max) {
    const size_t len = strnlen(text, max + 1);
    if (len <= max) return text;
    size_t keep = max;
    while (keep && ((unsigned char)text[keep] & 0xc0) == 0x80) keep--;
    const char *copy = weft_arena_strndup(a->arena, text, keep);
    if (!copy) a->full = true;
    return copy ? copy : "";
}

static int64_t time_of(uint64_t ns) { return ns > INT64_MAX ? INT64_MAX : (int64_t)ns; }

/* ---- attributes */

static bool value_fits(const Otlp__AnyValue *v, unsigned depth) {
    if (!v) return true;
    if (depth > TEL_VALUE_DEPTH) return false;
    switch (v->value_case) {
    case OTLP__ANY_VALUE__VALUE_STRING_VALUE:
        return strnlen(v->string_value, TEL_VALUE_BYTES + 1) <= TEL_VALUE_BYTES;
    case OTLP__ANY_VALUE__VALUE_BYTES_VALUE:
        return v->bytes_value.len <= TEL_VALUE_BYTES;
    case OTLP__ANY_VALUE__VALUE_ARRAY_VALUE:
        if (v->array_value->n_values > TEL_VALUE_ITEMS) return false;
        for (size_t i = 0; i < v->array_value->n_values; i++)
            if (!value_fits(v->array_value->values[i], depth + 1)) return false;
        return true;
    case OTLP__ANY_VALUE__VALUE_KVLIST_VALUE:
        if (v->kvlist_value->n_values > TEL_VALUE_ITEMS) return false;
        for (size_t i = 0; i < v->kvlist_value->n_values; i++)
            if (!value_fits(v->kvlist_value->values[i]->value, depth + 1) ||
                strnlen(v->kvlist_value->values[i]->key, TEL_KEY_BYTES + 1) > TEL_KEY_BYTES)
                return false;
        return true;
    default:
        return true;
    }
}

/* The attribute, a copy with a shorter string, or NULL when it is left out. */
static Otlp__KeyValue *keep_attribute(accepting *a, Otlp__KeyValue *kv) {
    const size_t key = strnlen(kv->key, TEL_KEY_BYTES + 1);
    if (!key || key > TEL_KEY_BYTES) return NULL;
    if (value_fits(kv->value, 0)) return kv;
    if (kv->value->value_case != OTLP__ANY_VALUE__VALUE_STRING_VALUE) return NULL;
    Otlp__KeyValue *copy = weft_arena_memdup(a->arena, kv, sizeof *kv);
    Otlp__AnyValue *value = weft_arena_memdup(a->arena, kv->value, sizeof *value);
    if (!copy || !value) {
        a->full = true;
        return NULL;
    }
    value->string_value = (char *)(uintptr_t)cut(a, value->string_value, TEL_VALUE_BYTES);
    copy->value = value;
    return copy;
}

static size_t keep_attributes(accepting *a, Otlp__KeyValue **from, size_t count,
                              Otlp__KeyValue ***to, uint32_t *dropped) {
    const size_t max = count < TEL_ATTRIBUTES ? count : TEL_ATTRIBUTES;
    size_t kept = 0;
    *to = weft_arena_calloc(a->arena, max + 1, sizeof **to);
    if (!*to) a->full = true;
    for (size_t i = 0; *to && i < count && kept < max; i++) {
        Otlp__KeyValue *kv = keep_attribute(a, from[i]);
        if (kv) (*to)[kept++] = kv;
    }
    *dropped += (uint32_t)(count - kept);
    return kept;
}

static size_t keep_events(accepting *a, const Otlp__Span *span, Otlp__Span__Event ***to,
                          uint32_t *dropped) {
    const size_t max = span->n_events < TEL_EVENTS ? span->n_events : TEL_EVENTS;
    size_t kept = 0;
    *to = weft_arena_calloc(a->arena, max + 1, sizeof **to);
    if (!*to) a->full = true;
    for (size_t i = 0; *to && i < max; i++) {
        Otlp__Span__Event *e =
            weft_arena_memdup(a->arena, span->events[i], sizeof *span->events[i]);
        if (!e) {
            a->full = true;
            break;
        }
        e->name = (char *)(uintptr_t)cut(a, e->name, TEL_NAME_BYTES);
        e->n_attributes = keep_attributes(a, e->attributes, e->n_attributes, &e->attributes,
                                          &e->dropped_attributes_count);
        (*to)[kept++] = e;
    }
    *dropped += (uint32_t)(span->n_events - kept);
    return kept;
}

/* Packs it; too much of it is all of it. */
static const uint8_t *pack(accepting *a, Telemetry__SpanDetail *detail, size_t *len) {
    static const uint8_t nothing;
    *len = 0;
    if (a->full) return &nothing;
    if (protobuf_c_message_get_packed_size(&detail->base) > TEL_DETAIL_BYTES) {
        detail->dropped += (uint32_t)(detail->n_attributes + detail->n_events);
        detail->n_attributes = detail->n_events = 0;
    }
    const uint8_t *bytes = weft_pack(a->arena, &detail->base, len);
    if (!bytes) a->full = true;
    return bytes ? bytes : &nothing;
}

static const Otlp__AnyValue *find(Otlp__KeyValue **list, size_t count, const char *key) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(list[i]->key, key)) return list[i]->value;
    return NULL;
}

static const char *find_text(Otlp__KeyValue **list, size_t count, const char *key) {
    const Otlp__AnyValue *v = find(list, count, key);
    return v && v->value_case == OTLP__ANY_VALUE__VALUE_STRING_VALUE ? v->string_value : "";
}

/* ---- names */

/* "order.shop" of a resource. */
static const char *service_of(accepting *a, const Otlp__Resource *r) {
    const char *name = r ? find_text(r->attributes, r->n_attributes, "service.name") : "";
    const char *space = r ? find_text(r->attributes, r->n_attributes, "service.namespace") : "";
    if (!*name) return UNKNOWN_SERVICE;
    if (!*space) return cut(a, name, TEL_NAME_BYTES);
    const char *full = weft_arena_printf(a->arena, "%s.%s", name, space);
    if (!full) a->full = true;
    return full ? cut(a, full, TEL_NAME_BYTES) : UNKNOWN_SERVICE;
}

/* "order.shop" of spiffe://mesh.local/ns/shop/sa/order; another id as it is. */
static const char *service_of_id(accepting *a, const char *id) {
    const char *space = strstr(id, "/ns/");
    const char *name = space ? strstr(space, "/sa/") : NULL;
    if (strncmp(id, "spiffe://", 9) != 0 || !name) return cut(a, id, TEL_NAME_BYTES);
    const char *full =
        weft_arena_printf(a->arena, "%s.%.*s", name + 4, (int)(name - space - 4), space + 4);
    if (!full) a->full = true;
    return full ? cut(a, full, TEL_NAME_BYTES) : "";
}

static const char *peer_of(accepting *a, const Otlp__Span *s) {
    const char *id = find_text(s->attributes, s->n_attributes, "weft.peer.id");
    if (*id) return service_of_id(a, id);
    return cut(a, find_text(s->attributes, s->n_attributes, "peer.service"), TEL_NAME_BYTES);
}

/* "product.shop" of the cluster product.shop;v2: what a sidecar's outbound call was for. Its attempts, which
 * are spans of their own, are not calls. */
static const char *callee_of(accepting *a, const Otlp__Span *s, bool sidecar) {
    if (!sidecar || s->kind != OTLP__SPAN__SPAN_KIND__SPAN_KIND_CLIENT) return "";
    if (find(s->attributes, s->n_attributes, "weft.attempt")) return "";
    const char *cluster = find_text(s->attributes, s->n_attributes, "weft.cluster");
    const size_t len = strcspn(cluster, ";");
    return cut(a, cluster, len < TEL_NAME_BYTES ? len : TEL_NAME_BYTES);
}

/* The status code of gRPC, by its number or, as newer conventions have it, by its name. */
static int8_t grpc_of(const Otlp__Span *s) {
    const Otlp__AnyValue *v = find(s->attributes, s->n_attributes, "rpc.grpc.status_code");
    if (v && v->value_case == OTLP__ANY_VALUE__VALUE_INT_VALUE && v->int_value >= 0 &&
        v->int_value <= WEFT_UNAUTHENTICATED)
        return (int8_t)v->int_value;
    const int code =
        weft_code_parse(find_text(s->attributes, s->n_attributes, "rpc.response.status_code"));
    return (int8_t)code;
}

/* ---- spans */

static void reject(accepting *a, const char *why) {
    if (!a->out->rejected++) a->out->why = why;
}

static void take_span(accepting *a, const Otlp__Span *s, const char *service, bool sidecar) {
    tel_span *to = &a->out->spans[a->out->count];
    *to = (tel_span){.service = service, .sidecar = sidecar, .grpc = grpc_of(s), .message = ""};
    if (a->out->count == a->max) return reject(a, "too many spans in one request");
    if (!take_id(&s->trace_id, to->trace, sizeof to->trace))
        return reject(a, "a trace_id is not 16 bytes, or all zero");
    if (!take_id(&s->span_id, to->id, sizeof to->id))
        return reject(a, "a span_id is not 8 bytes, or all zero");
    if (!s->start_time_unix_nano) return reject(a, "a span has no start time");
    to->has_parent = take_id(&s->parent_span_id, to->parent, sizeof to->parent);
    to->kind = s->kind >= 0 && s->kind <= OTLP__SPAN__SPAN_KIND__SPAN_KIND_CONSUMER
                   ? (uint8_t)s->kind
                   : OTLP__SPAN__SPAN_KIND__SPAN_KIND_UNSPECIFIED;
    to->start = time_of(s->start_time_unix_nano);
    to->end = time_of(s->end_time_unix_nano);
    if (to->end < to->start) to->end = to->start;
    to->name = cut(a, *s->name == '/' ? s->name + 1 : s->name, TEL_NAME_BYTES);
    to->peer = peer_of(a, s);
    to->callee = callee_of(a, s, sidecar);
    if (s->status) {
        to->error = s->status->code == OTLP__STATUS__STATUS_CODE__STATUS_CODE_ERROR;
        to->message = cut(a, s->status->message, TEL_VALUE_BYTES);
    }
    Telemetry__SpanDetail detail = TELEMETRY__SPAN_DETAIL__INIT;
    detail.dropped = s->dropped_attributes_count + s->dropped_events_count + s->dropped_links_count;
    detail.dropped += (uint32_t)s->n_links; /* not kept */
    detail.n_attributes =
        keep_attributes(a, s->attributes, s->n_attributes, &detail.attributes, &detail.dropped);
    detail.n_events = keep_events(a, s, &detail.events, &detail.dropped);
    to->detail = pack(a, &detail, &to->detail_len);
    a->out->count++;
}

int tel_accept_spans(const OtlpTrace__ExportTraceServiceRequest *request, weft_arena *arena,
                     tel_batch *out) {
    accepting a = {.arena = arena, .out = out};
    *out = (tel_batch){0};
    for (size_t i = 0; i < request->n_resource_spans; i++)
        for (size_t k = 0; k < request->resource_spans[i]->n_scope_spans; k++)
            a.max += request->resource_spans[i]->scope_spans[k]->n_spans;
    if (a.max > TEL_SPANS_PER_REQUEST) a.max = TEL_SPANS_PER_REQUEST;
    out->spans = weft_arena_calloc(arena, a.max + 1, sizeof *out->spans);
    if (!out->spans) return WEFT_ENOMEM;
    for (size_t i = 0; i < request->n_resource_spans; i++) {
        const Otlp__ResourceSpans *r = request->resource_spans[i];
        const char *service = service_of(&a, r->resource);
        for (size_t k = 0; k < r->n_scope_spans; k++) {
            const Otlp__ScopeSpans *scope = r->scope_spans[k];
            const bool sidecar = scope->scope && !strcmp(scope->scope->name, SIDECAR_SCOPE);
            for (size_t n = 0; n < scope->n_spans; n++)
                take_span(&a, scope->spans[n], service, sidecar);
        }
    }
    return a.full ? WEFT_ENOMEM : 0;
}

/* ---- log records */

/* Names the record by what it says; the n-th of several equal ones in a request by n, too. */
static void name_record(accepting *a, const Otlp__LogRecord *r, tel_log *to, weft_map *seen) {
    uint8_t hash[CRYPTO_SHA256_SIZE];
    const size_t service = strlen(to->service) + 1;
    const size_t size = protobuf_c_message_get_packed_size(&r->base);
    uint8_t *bytes = weft_arena_alloc(a->arena, service + size + sizeof(uint64_t));
    if (!bytes) {
        a->full = true;
        return;
    }
    memcpy(bytes, to->service, service);
    (void)protobuf_c_message_pack(&r->base, bytes + service);
    if (crypto_sha256(bytes, service + size, hash)) a->full = true;
    const uintptr_t before = (uintptr_t)weft_map_get_bytes(seen, hash, sizeof hash);
    if (weft_map_put_bytes(seen, hash, sizeof hash, (void *)(before + 1))) a->full = true;
    if (before) {
        const uint64_t number = before;
        memcpy(bytes + service + size, &number, sizeof number);
        if (crypto_sha256(bytes, service + size + sizeof number, hash)) a->full = true;
    }
    memcpy(to->key, hash, sizeof to->key);
}

static const char *body_of(accepting *a, const Otlp__AnyValue *body) {
    if (!body) return "";
    if (body->value_case == OTLP__ANY_VALUE__VALUE_STRING_VALUE)
        return cut(a, body->string_value, TEL_BODY_BYTES);
    weft_buf text;
    weft_buf_init(&text, 0);
    tel_any_text(body, &text);
    const char *copy = weft_arena_strdup(a->arena, weft_buf_str(&text));
    weft_buf_free(&text);
    if (!copy) a->full = true;
    return copy ? cut(a, copy, TEL_BODY_BYTES) : "";
}

static void take_log(accepting *a, const Otlp__LogRecord *r, const char *service, int64_t now,
                     weft_map *seen) {
    if (a->out->count == a->max) return reject(a, "too many log records in one request");
    if ((r->trace_id.len && r->trace_id.len != 16) || (r->span_id.len && r->span_id.len != 8))
        return reject(a, "a trace_id is not 16 bytes, or a span_id not 8");
    tel_log *to = &a->out->logs[a->out->count];
    *to = (tel_log){.service = service};
    to->has_trace = take_id(&r->trace_id, to->trace, sizeof to->trace);
    to->has_span = take_id(&r->span_id, to->span, sizeof to->span);
    to->time = time_of(r->time_unix_nano ? r->time_unix_nano : r->observed_time_unix_nano);
    if (!to->time) to->time = now;
    to->severity =
        r->severity_number > 0 && r->severity_number <= 24 ? (uint8_t)r->severity_number : 0;
    to->level = cut(a, r->severity_text, 32);
    to->body = body_of(a, r->body);
    name_record(a, r, to, seen);
    Telemetry__SpanDetail detail = TELEMETRY__SPAN_DETAIL__INIT;
    detail.dropped = r->dropped_attributes_count;
    detail.n_attributes =
        keep_attributes(a, r->attributes, r->n_attributes, &detail.attributes, &detail.dropped);
    to->detail = pack(a, &detail, &to->detail_len);
    a->out->count++;
}

int tel_accept_logs(const OtlpLogs__ExportLogsServiceRequest *request, int64_t now,
                    weft_arena *arena, tel_batch *out) {
    accepting a = {.arena = arena, .out = out};
    *out = (tel_batch){0};
    for (size_t i = 0; i < request->n_resource_logs; i++)
        for (size_t k = 0; k < request->resource_logs[i]->n_scope_logs; k++)
            a.max += request->resource_logs[i]->scope_logs[k]->n_log_records;
    if (a.max > TEL_LOGS_PER_REQUEST) a.max = TEL_LOGS_PER_REQUEST;
    out->logs = weft_arena_calloc(arena, a.max + 1, sizeof *out->logs);
    if (!out->logs) return WEFT_ENOMEM;
    weft_map seen;
    weft_map_init(&seen, TEL_LOGS_PER_REQUEST);
    for (size_t i = 0; i < request->n_resource_logs; i++) {
        const Otlp__ResourceLogs *r = request->resource_logs[i];
        const char *service = service_of(&a, r->resource);
        for (size_t k = 0; k < r->n_scope_logs; k++)
            for (size_t n = 0; n < r->scope_logs[k]->n_log_records; n++)
                take_log(&a, r->scope_logs[k]->log_records[n], service, now, &seen);
    }
    weft_map_free(&seen, NULL);
    return a.full ? WEFT_ENOMEM : 0;
}
