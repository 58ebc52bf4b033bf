#include "tools/weft/waterfall.h"

#include <string.h>

#include "tools/weft/term.h"
#include "weft/clock.h"
#include "weft/status.h"
#include "weft/utf8.h"

#define WIDTH_MIN 80u
#define WIDTH_MAX 400u
#define SERVICE_MAX 48u /* columns of a service with its indentation */
#define WHAT_MAX 44u    /* columns of what it did */
#define BAR_MIN 12u
#define BAR_MAX 80u
#define TOOK 9u

/* Columns of one drawing. */
typedef struct layout {
    const Telemetry__GetTraceResponse *trace;
    const waterfall_style *style;
    weft_buf *out;
    size_t name, method, bar, status;
    int64_t begin, took; /* ns; took at least 1 */
    const char *space;   /* the namespace that all services share, ".shop"; else "" */
} layout;

/* ---- texts */

size_t waterfall_text(const char *text, size_t columns, weft_buf *out) {
    size_t used = 0, all = 0;
    for (const char *at = text; *at; at++) all += ((unsigned char)*at & 0xc0) != 0x80;
    const bool cut = columns && all > columns;
    const char *at = text;
    while (*at && (!cut || used + 1 < columns)) {
        uint32_t point = 0;
        const int len = weft_utf8_decode(at, strnlen(at, 4), &point);
        /* C0, DEL and C1 could command the terminal. */
        const bool safe = len > 0 && point >= 0x20 && (point < 0x7f || point > 0x9f);
        if (safe)
            weft_buf_add(out, at, (size_t)len);
        else
            weft_buf_addc(out, '?');
        at += len > 0 ? len : 1;
        used++;
    }
    if (cut) weft_buf_adds(out, "\xe2\x80\xa6");
    return used + cut;
}

void waterfall_duration(int64_t ns, weft_buf *out) {
    if (ns < 1000)
        weft_buf_printf(out, "%lld ns", (long long)ns);
    else if (ns < 1000000)
        weft_buf_printf(out, "%.1f \xc2\xb5s", (double)ns / 1e3);
    else if (ns < 1000000000)
        weft_buf_printf(out, "%.1f ms", (double)ns / 1e6);
    else
        weft_buf_printf(out, "%.2f s", (double)ns / 1e9);
}

static size_t columns_of(const char *text) {
    size_t n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void pad(weft_buf *out, size_t used, size_t columns) {
    for (; used < columns; used++) weft_buf_addc(out, ' ');
}

static void color(const layout *l, const char *code) {
    if (l->style->color) weft_buf_adds(l->out, code);
}

/* The name without the namespace that all share. */
static size_t service_len(const layout *l, const char *service) {
    const size_t len = strlen(service), space = strlen(l->space);
    return space && len > space && !strcmp(service + len - space, l->space) ? len - space : len;
}

static const char *shared_space(const Telemetry__GetTraceResponse *t) {
    const char *space = "";
    for (size_t i = 0; i < t->n_spans; i++) {
        const char *dot = strchr(t->spans[i]->service, '.');
        if (!dot) continue;
        if (*space && strcmp(space, dot) != 0) return "";
        space = dot;
    }
    return space;
}

/* "OrderService/PlaceOrder" of "shop.order.v1.OrderService/PlaceOrder". */
static const char *short_name(const char *name) {
    const char *slash = strchr(name, '/');
    const char *at = name;
    for (const char *p = name; slash && p < slash; p++)
        if (*p == '.') at = p + 1;
    return at;
}

static const char *text_of(const Telemetry__Span *s, const char *key) {
    for (size_t i = 0; s->detail && i < s->detail->n_attributes; i++) {
        const Otlp__KeyValue *kv = s->detail->attributes[i];
        if (!strcmp(kv->key, key) && kv->value &&
            kv->value->value_case == OTLP__ANY_VALUE__VALUE_STRING_VALUE)
            return kv->value->string_value;
    }
    return "";
}

static const Otlp__AnyValue *attempt_of(const Telemetry__Span *s) {
    for (size_t i = 0; s->detail && i < s->detail->n_attributes; i++)
        if (!strcmp(s->detail->attributes[i]->key, "weft.attempt"))
            return s->detail->attributes[i]->value;
    return NULL;
}

/* "calls OrderService/PlaceOrder", "attempt 2 at 127.0.0.1:8080". */
static void add_what(const Telemetry__Span *s, weft_buf *out) {
    const Otlp__AnyValue *attempt = attempt_of(s);
    if (attempt) {
        weft_buf_adds(out, "attempt");
        if (attempt->value_case == OTLP__ANY_VALUE__VALUE_INT_VALUE)
            weft_buf_printf(out, " %lld", (long long)attempt->int_value);
        const char *where = text_of(s, "network.peer.address");
        if (*where) weft_buf_printf(out, " at %s", where);
        return;
    }
    switch (s->kind) {
    case OTLP__SPAN__SPAN_KIND__SPAN_KIND_SERVER:
        weft_buf_adds(out, "serves ");
        break;
    case OTLP__SPAN__SPAN_KIND__SPAN_KIND_CLIENT:
        weft_buf_adds(out, "calls ");
        break;
    case OTLP__SPAN__SPAN_KIND__SPAN_KIND_PRODUCER:
        weft_buf_adds(out, "sends ");
        break;
    case OTLP__SPAN__SPAN_KIND__SPAN_KIND_CONSUMER:
        weft_buf_adds(out, "takes ");
        break;
    default:
        break;
    }
    weft_buf_adds(out, *s->name ? short_name(s->name) : "(no name)");
}

/* ---- measuring */

static const char *status_of(const Telemetry__Span *s) {
    if (s->grpc_status >= 0) return weft_code_name(s->grpc_status);
    return s->error ? "ERROR" : "";
}

static size_t indent_of(const Telemetry__Span *s) {
    return 2 * (size_t)(s->depth < 12 ? s->depth : 12);
}

static void measure(layout *l) {
    const Telemetry__GetTraceResponse *t = l->trace;
    int64_t end = INT64_MIN;
    weft_buf what;
    weft_buf_init(&what, 0);
    l->begin = INT64_MAX;
    l->name = 7;
    l->method = 4;
    l->status = 6;
    for (size_t i = 0; i < t->n_spans; i++) {
        const Telemetry__Span *s = t->spans[i];
        if (s->start_unix_nano < l->begin) l->begin = s->start_unix_nano;
        if (s->start_unix_nano + s->duration_nano > end)
            end = s->start_unix_nano + s->duration_nano;
        const size_t name = indent_of(s) + service_len(l, s->service);
        if (name > l->name) l->name = name;
        weft_buf_clear(&what);
        add_what(s, &what);
        const size_t method = columns_of(weft_buf_str(&what));
        if (method > l->method) l->method = method;
        const size_t status = strlen(status_of(s));
        if (status > l->status) l->status = status;
    }
    weft_buf_free(&what);
    l->took = end > l->begin ? end - l->begin : 1;
    if (l->name > SERVICE_MAX) l->name = SERVICE_MAX;
    if (l->method > WHAT_MAX) l->method = WHAT_MAX;
    size_t width = l->style->width < WIDTH_MIN ? WIDTH_MIN : l->style->width;
    if (width > WIDTH_MAX) width = WIDTH_MAX;
    const size_t fixed = l->name + 2 + 9 + l->method + 2 + 2 + TOOK + 2 + l->status;
    l->bar = width > fixed + BAR_MIN ? width - fixed : BAR_MIN;
    if (l->bar > BAR_MAX) l->bar = BAR_MAX;
}

/* ---- drawing */

/* A character at least, wherever it is. */
static void draw_bar(const layout *l, const Telemetry__Span *s) {
    const double scale = (double)l->bar / (double)l->took;
    size_t from = (size_t)((double)(s->start_unix_nano - l->begin) * scale);
    size_t to = (size_t)((double)(s->start_unix_nano - l->begin + s->duration_nano) * scale + 0.5);
    if (from >= l->bar) from = l->bar - 1;
    if (to > l->bar) to = l->bar;
    if (to <= from) to = from + 1;
    pad(l->out, 0, from);
    color(l, s->error                                         ? TERM_RED
             : s->origin == TELEMETRY__ORIGIN__ORIGIN_SIDECAR ? TERM_DIM
                                                              : TERM_GREEN);
    for (size_t i = from; i < to; i++)
        weft_buf_adds(l->out, l->style->ascii ? "=" : "\xe2\x96\x88");
    color(l, TERM_RESET);
    pad(l->out, to, l->bar);
}

static void draw_took(const layout *l, int64_t ns) {
    weft_buf text;
    weft_buf_init(&text, 0);
    waterfall_duration(ns, &text);
    const size_t columns = columns_of(weft_buf_str(&text));
    pad(l->out, columns < TOOK ? columns : TOOK, TOOK);
    weft_buf_adds(l->out, weft_buf_str(&text));
    weft_buf_free(&text);
}

static void draw_span(const layout *l, const Telemetry__Span *s) {
    weft_buf *out = l->out, text;
    weft_buf_init(&text, 0);
    const size_t indent = indent_of(s);
    pad(out, 0, indent);
    (void)weft_buf_add(&text, s->service, service_len(l, s->service));
    if (s->parent_missing && indent) {
        out->len -= 2; /* a mark in the place of the last step */
        weft_buf_adds(out, s->parent_inferred ? "~ " : "? ");
    }
    pad(out, indent + waterfall_text(weft_buf_str(&text), l->name - indent, out), l->name + 2);
    weft_buf_adds(out, s->origin == TELEMETRY__ORIGIN__ORIGIN_SIDECAR ? "sidecar  " : "app      ");
    weft_buf_clear(&text);
    add_what(s, &text);
    pad(out, waterfall_text(weft_buf_str(&text), l->method, out), l->method + 2);
    draw_bar(l, s);
    weft_buf_adds(out, "  ");
    draw_took(l, s->duration_nano);
    weft_buf_adds(out, "  ");
    if (s->error) color(l, TERM_RED);
    weft_buf_adds(out, status_of(s));
    if (s->error) color(l, TERM_RESET);
    while (out->len && out->data[out->len - 1] == ' ') out->data[--out->len] = '\0';
    weft_buf_addc(out, '\n');
    const char *why = *s->status_message ? s->status_message : "";
    if (s->error && *why) {
        pad(out, 0, indent + 2);
        (void)waterfall_text(why, 200, out);
        weft_buf_addc(out, '\n');
    }
    weft_buf_free(&text);
}

static void draw_head(const layout *l) {
    const Telemetry__TraceSummary *t = l->trace->summary;
    char time[28];
    color(l, TERM_BOLD);
    weft_buf_printf(l->out, "trace %s", t->trace_id);
    color(l, TERM_RESET);
    weft_buf_adds(l->out, "  ");
    (void)waterfall_text(t->service, SERVICE_MAX, l->out);
    weft_buf_adds(l->out, " ");
    (void)waterfall_text(t->name, 100, l->out);
    weft_buf_printf(l->out, "\n%s  ", weft_time_format(t->start_unix_nano, time));
    waterfall_duration(t->duration_nano, l->out);
    weft_buf_printf(l->out, "  %u span%s  %u error%s\n\n", t->spans, t->spans == 1 ? "" : "s",
                    t->errors, t->errors == 1 ? "" : "s");
    weft_buf_adds(l->out, "SERVICE");
    pad(l->out, 7, l->name + 2);
    weft_buf_adds(l->out, "TOLD BY  WHAT");
    pad(l->out, 4, l->method + 2 + l->bar + 2);
    pad(l->out, 4, TOOK);
    weft_buf_adds(l->out, "TOOK  STATUS\n");
}

static void draw_foot(const layout *l) {
    unsigned inferred = 0, missing = 0;
    for (size_t i = 0; i < l->trace->n_spans; i++) {
        const Telemetry__Span *s = l->trace->spans[i];
        if (s->parent_inferred)
            inferred++;
        else if (s->parent_missing)
            missing++;
    }
    if (inferred)
        weft_buf_printf(l->out,
                        "\n~ %u span%s: the parent is not here; shown below the call its "
                        "service was answering.\n",
                        inferred, inferred == 1 ? "" : "s");
    if (missing)
        weft_buf_printf(l->out,
                        "\n%u span%s without the parent %s: lost, not sampled, or not "
                        "arrived yet.\n",
                        missing, missing == 1 ? "" : "s", missing == 1 ? "it names" : "they name");
    if (l->trace->truncated) weft_buf_adds(l->out, "\nThere are more spans than are shown.\n");
}

void waterfall(const Telemetry__GetTraceResponse *trace, const waterfall_style *style,
               weft_buf *out) {
    layout l = {.trace = trace, .style = style, .out = out, .space = shared_space(trace)};
    if (!trace->summary) return;
    measure(&l);
    draw_head(&l);
    for (size_t i = 0; i < trace->n_spans; i++) draw_span(&l, trace->spans[i]);
    draw_foot(&l);
}

void waterfall_list(const Telemetry__FindTracesResponse *found, weft_buf *out) {
    weft_buf took;
    weft_buf_init(&took, 0);
    weft_buf_adds(out, "TRACE                             STARTED                   TOOK  SPANS  "
                       "ERRORS  WHAT\n");
    for (size_t i = 0; i < found->n_traces; i++) {
        const Telemetry__TraceSummary *t = found->traces[i];
        char time[28];
        (void)weft_time_format(t->start_unix_nano, time);
        weft_buf_clear(&took);
        waterfall_duration(t->duration_nano, &took);
        weft_buf_printf(out, "%s  %.10s %.8s  ", t->trace_id, time, time + 11);
        const size_t columns = columns_of(weft_buf_str(&took));
        pad(out, columns < TOOK ? columns : TOOK, TOOK);
        weft_buf_printf(out, "%s  %5u  %6u  ", weft_buf_str(&took), t->spans, t->errors);
        (void)waterfall_text(t->service, SERVICE_MAX, out);
        weft_buf_addc(out, ' ');
        (void)waterfall_text(short_name(t->name), 100, out);
        weft_buf_addc(out, '\n');
    }
    weft_buf_free(&took);
}
