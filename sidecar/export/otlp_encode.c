/* Spans as OTLP's messages. */
#include <string.h>

#include "sidecar/export/otlp.h"

#define SCOPE "weft-sidecar" /* weft-telemetry knows sidecars by it */

#ifndef WEFT_VERSION
#define WEFT_VERSION "0"
#endif

static char empty[] = "";

/* ---- attributes: `list` has room */

typedef struct attributes {
    weft_arena *arena;
    Otlp__KeyValue **list;
    size_t count;
    bool full;
} attributes;

static Otlp__AnyValue *add(attributes *a, const char *key) {
    struct {
        Otlp__KeyValue kv;
        Otlp__AnyValue value;
    } *made = weft_arena_alloc(a->arena, sizeof *made);
    if (!made) {
        a->full = true;
        return NULL;
    }
    otlp__key_value__init(&made->kv);
    otlp__any_value__init(&made->value);
    made->kv.key = (char *)(uintptr_t)key;
    made->kv.value = &made->value;
    a->list[a->count++] = &made->kv;
    return &made->value;
}

static char *copy(attributes *a, const char *text, size_t len) {
    char *made = weft_arena_strndup(a->arena, text, len);
    if (!made) a->full = true;
    return made ? made : empty;
}

static void add_text(attributes *a, const char *key, const char *text, size_t len) {
    if (!text || !len) return;
    Otlp__AnyValue *v = add(a, key);
    if (!v) return;
    v->value_case = OTLP__ANY_VALUE__VALUE_STRING_VALUE;
    v->string_value = copy(a, text, len);
}

static void add_int(attributes *a, const char *key, uint64_t value) {
    Otlp__AnyValue *v = add(a, key);
    if (!v) return;
    v->value_case = OTLP__ANY_VALUE__VALUE_INT_VALUE;
    v->int_value = value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

static void add_string(attributes *a, const char *key, const char *text) {
    if (text) add_text(a, key, text, strlen(text));
}

/* ---- the request */

#define RESOURCE_ATTRIBUTES 5

/* "order" and "shop" of spiffe://mesh.local/ns/shop/sa/order. */
static void add_names(attributes *a, const otlp_source *source) {
    const char *id = source->self_id ? source->self_id : "";
    const char *space = strstr(id, "/ns/");
    const char *name = space ? strstr(space, "/sa/") : NULL;
    if (name) {
        add_string(a, "service.name", name + 4);
        add_text(a, "service.namespace", space + 4, (size_t)(name - space - 4));
        add_string(a, "weft.self.id", id);
    } else {
        add_string(a, "service.name",
                   source->service && *source->service ? source->service : "unknown");
    }
    add_string(a, "service.instance.id", source->instance);
}

OtlpTrace__ExportTraceServiceRequest *otlp_request(weft_arena *arena, const otlp_source *source,
                                                   size_t max) {
    struct {
        OtlpTrace__ExportTraceServiceRequest request;
        Otlp__ResourceSpans resource_spans, *resource_list;
        Otlp__Resource resource;
        Otlp__ScopeSpans scope_spans, *scope_list;
        Otlp__InstrumentationScope scope;
        Otlp__KeyValue *attributes[RESOURCE_ATTRIBUTES];
    } *r = weft_arena_calloc(arena, 1, sizeof *r);
    Otlp__Span **spans = weft_arena_calloc(arena, max + 1, sizeof(void *));
    if (!r || !spans) return NULL;
    otlp_trace__export_trace_service_request__init(&r->request);
    otlp__resource_spans__init(&r->resource_spans);
    otlp__resource__init(&r->resource);
    otlp__scope_spans__init(&r->scope_spans);
    otlp__instrumentation_scope__init(&r->scope);
    attributes a = {.arena = arena, .list = r->attributes};
    add_names(&a, source);
    if (a.full) return NULL;
    r->resource.attributes = a.list;
    r->resource.n_attributes = a.count;
    static char scope[] = SCOPE, version[] = WEFT_VERSION;
    r->scope.name = scope;
    r->scope.version = version;
    r->scope_spans.scope = &r->scope;
    r->scope_spans.spans = spans;
    r->scope_list = &r->scope_spans;
    r->resource_spans.resource = &r->resource;
    r->resource_spans.scope_spans = &r->scope_list;
    r->resource_spans.n_scope_spans = 1;
    r->resource_list = &r->resource_spans;
    r->request.resource_spans = &r->resource_list;
    r->request.n_resource_spans = 1;
    return &r->request;
}

size_t otlp_request_count(const OtlpTrace__ExportTraceServiceRequest *request) {
    return request->resource_spans[0]->scope_spans[0]->n_spans;
}

/* ---- a span */

/* Which texts are attributes; the name and the trace state have fields, and who we are the resource says. */
static bool is_attribute(span_text which) {
    return which != SPAN_NAME && which != SPAN_TRACESTATE && which != SPAN_SELF;
}

static void add_attributes(attributes *a, const span *s) {
    if (s->texts[SPAN_SERVICE].len) add_text(a, "rpc.system", "grpc", 4);
    for (int i = 0; i < SPAN_TEXT_COUNT; i++)
        if (is_attribute((span_text)i))
            add_text(a, span_text_names[i], s->texts[i].text, s->texts[i].len);
    add_int(a, "rpc.grpc.status_code", s->grpc_status);
    if (s->attempt) add_int(a, "weft.attempt", s->attempt_number);
    if (s->bytes_in) add_int(a, "weft.bytes_in", s->bytes_in);
    if (s->bytes_out) add_int(a, "weft.bytes_out", s->bytes_out);
}

static char *text_of(attributes *a, const span *s, span_text which) {
    return s->texts[which].len ? copy(a, s->texts[which].text, s->texts[which].len) : empty;
}

int otlp_request_add(weft_arena *arena, OtlpTrace__ExportTraceServiceRequest *request,
                     const span *s) {
    struct {
        Otlp__Span span;
        Otlp__Status status;
        Otlp__KeyValue *attributes[SPAN_TEXT_COUNT + 5];
        uint8_t trace_id[16], id[8], parent[8];
    } *m = weft_arena_alloc(arena, sizeof *m);
    if (!m) return WEFT_ENOMEM;
    attributes a = {.arena = arena, .list = m->attributes};
    otlp__span__init(&m->span);
    memcpy(m->trace_id, s->trace_id, sizeof m->trace_id);
    memcpy(m->id, s->id, sizeof m->id);
    memcpy(m->parent, s->parent, sizeof m->parent);
    m->span.trace_id = (ProtobufCBinaryData){sizeof m->trace_id, m->trace_id};
    m->span.span_id = (ProtobufCBinaryData){sizeof m->id, m->id};
    for (size_t i = 0; i < sizeof m->parent; i++)
        if (m->parent[i]) m->span.parent_span_id = (ProtobufCBinaryData){8, m->parent};
    m->span.name = text_of(&a, s, SPAN_NAME);
    m->span.trace_state = text_of(&a, s, SPAN_TRACESTATE);
    m->span.kind = (Otlp__Span__SpanKind)s->kind;
    m->span.start_time_unix_nano = s->start > 0 ? (uint64_t)s->start : 1;
    m->span.end_time_unix_nano =
        m->span.start_time_unix_nano + (s->duration > 0 ? (uint64_t)s->duration : 0);
    m->span.flags = s->sampled;
    add_attributes(&a, s);
    m->span.attributes = a.list;
    m->span.n_attributes = a.count;
    if (s->grpc_status) {
        otlp__status__init(&m->status);
        m->status.code = OTLP__STATUS__STATUS_CODE__STATUS_CODE_ERROR;
        m->status.message = text_of(&a, s, SPAN_ERROR);
        m->span.status = &m->status;
    }
    if (a.full) return WEFT_ENOMEM;
    Otlp__ScopeSpans *to = request->resource_spans[0]->scope_spans[0];
    to->spans[to->n_spans++] = &m->span;
    return 0;
}
