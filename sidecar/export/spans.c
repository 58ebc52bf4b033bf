/* Spans as JSON lines, in the words of OTLP's JSON mapping. */
#include <stdbool.h>

#include "sidecar/export/export.h"
#include "weft/encoding.h"

static void add_id(weft_buf *out, const char *name, const uint8_t *id, size_t len) {
    char text[WEFT_HEX_TEXT(16)];
    weft_hex_encode(id, len, text);
    weft_buf_printf(out, "\"%s\":\"%s\"", name, text);
}

int export_span(const span *s, weft_buf *out) {
    bool parent = false;
    for (int i = 0; i < 8; i++) parent = parent || s->parent[i];
    weft_buf_addc(out, '{');
    add_id(out, "traceId", s->trace_id, sizeof s->trace_id);
    weft_buf_addc(out, ',');
    add_id(out, "spanId", s->id, sizeof s->id);
    if (parent) {
        weft_buf_addc(out, ',');
        add_id(out, "parentSpanId", s->parent, sizeof s->parent);
    }
    weft_buf_printf(out,
                    ",\"kind\":%d,\"startTimeUnixNano\":\"%lld\",\"endTimeUnixNano\":\"%lld\","
                    "\"grpcStatus\":%d,\"sampled\":%s",
                    s->kind, (long long)s->start, (long long)(s->start + s->duration),
                    s->grpc_status, s->sampled ? "true" : "false");
    if (s->attempt) weft_buf_printf(out, ",\"attempt\":%u", s->attempt_number);
    if (s->bytes_in || s->bytes_out)
        weft_buf_printf(out, ",\"bytesIn\":%llu,\"bytesOut\":%llu", (unsigned long long)s->bytes_in,
                        (unsigned long long)s->bytes_out);
    for (int i = 0; i < SPAN_TEXT_COUNT; i++) {
        if (!s->texts[i].text || !s->texts[i].len) continue;
        weft_buf_printf(out, ",\"%s\":\"", span_text_names[i]);
        weft_buf_add_json(out, s->texts[i].text, s->texts[i].len);
        weft_buf_addc(out, '"');
    }
    return weft_buf_adds(out, "}\n");
}

typedef struct lines {
    weft_buf *out, line;
} lines;

/* Half a line is none. */
static bool take(void *user, const span *s) {
    lines *l = user;
    weft_buf_clear(&l->line);
    if (export_span(s, &l->line)) return false;
    const size_t max = l->out->max ? l->out->max : SIZE_MAX;
    if (l->line.len > max - l->out->len) return false;
    return weft_buf_add(l->out, l->line.data, l->line.len) == 0;
}

size_t export_spans(span_buffer *buffer, size_t max, weft_buf *out) {
    lines l = {.out = out};
    weft_buf_init(&l.line, 0);
    const size_t count = span_buffer_drain(buffer, max, take, &l);
    weft_buf_free(&l.line);
    return count;
}
