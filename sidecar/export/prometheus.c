/* Prometheus' text format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "sidecar/export/export.h"
#include "weft/num.h"

/* A label's value: backslash, quote and line feed are escaped. */
static void add_value(weft_buf *out, const char *text, size_t len) {
    weft_buf_addc(out, '"');
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c == '\\' || c == '"')
            weft_buf_printf(out, "\\%c", c);
        else if (c == '\n')
            weft_buf_adds(out, "\\n");
        else
            weft_buf_addc(out, c < 0x20 || c >= 0x7f ? '?' : (char)c);
    }
    weft_buf_addc(out, '"');
}

static void add_label(weft_buf *out, bool *first, const char *name, const char *text, size_t len) {
    weft_buf_printf(out, "%s%s=", *first ? "" : ",", name);
    *first = false;
    add_value(out, text, len);
}

int export_family(weft_buf *out, const char *name, const char *type, const char *help) {
    return weft_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

int export_sample(weft_buf *out, const char *name, const char *const *labels, double value) {
    char text[WEFT_NUM_TEXT];
    bool first = true;
    weft_buf_adds(out, name);
    for (; labels && labels[0]; labels += 2) {
        if (first) weft_buf_addc(out, '{');
        add_label(out, &first, labels[0], labels[1], strlen(labels[1]));
    }
    if (!first) weft_buf_addc(out, '}');
    weft_format_double(value, text);
    return weft_buf_printf(out, " %s\n", text);
}

/* ---- counters */

static void add_counters(const telemetry *t, weft_buf *out) {
    const char *family = "";
    for (unsigned i = 0; i < TELEMETRY_COUNTER_COUNT; i++) {
        const telemetry_info *info = &telemetry_table[i];
        if (strcmp(info->name, family) != 0) {
            family = info->name;
            export_family(out, family, info->kind == TELEMETRY_GAUGE ? "gauge" : "counter",
                          info->help);
        }
        weft_buf_printf(out, *info->labels ? "%s{%s} %llu\n" : "%s%s %llu\n", info->name,
                        info->labels, (unsigned long long)telemetry_get(t, (telemetry_counter)i));
    }
}

/* ---- series */

static void add_labels(const telemetry_key *k, weft_buf *out) {
    bool first = true;
    const bool in = k->direction == TELEMETRY_IN;
    char status[4];
    const int n = snprintf(status, sizeof status, "%u", k->grpc_status % 100);
    add_label(out, &first, "direction", in ? "inbound" : "outbound", in ? 7 : 8);
    add_label(out, &first, "service", k->service, k->service_len);
    add_label(out, &first, "method", k->method, k->method_len);
    add_label(out, &first, "peer", k->peer, k->peer_len);
    add_label(out, &first, "grpc_status", status, (size_t)n);
    add_label(out, &first, "route", k->route, k->route_len);
}

static void add_histogram(const telemetry_series *s, weft_buf *labels, weft_buf *out) {
    static const char name[] = "weft_request_duration_seconds";
    uint64_t sum = 0;
    char seconds[WEFT_NUM_TEXT];
    weft_buf_clear(labels);
    add_labels(&s->key, labels);
    for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        sum += s->duration.buckets[i];
        weft_buf_printf(out, "%s_bucket{%s,le=\"%s\"} %llu\n", name, weft_buf_str(labels),
                        histogram_labels[i], (unsigned long long)sum);
    }
    weft_format_double((double)s->duration.sum / 1e9, seconds);
    weft_buf_printf(out, "%s_sum{%s} %s\n%s_count{%s} %llu\n", name, weft_buf_str(labels), seconds,
                    name, weft_buf_str(labels), (unsigned long long)s->duration.count);
}

int export_prometheus(const telemetry *t, weft_buf *out) {
    weft_buf labels;
    weft_buf_init(&labels, 16384);
    add_counters(t, out);
    if (telemetry_first(t)) {
        export_family(out, "weft_requests_total", "counter", "Calls that ended.");
        for (const telemetry_series *s = telemetry_first(t); s; s = telemetry_next(t, s)) {
            weft_buf_adds(out, "weft_requests_total{");
            add_labels(&s->key, out);
            weft_buf_printf(out, "} %llu\n", (unsigned long long)s->duration.count);
        }
        export_family(out, "weft_request_duration_seconds", "histogram",
                      "How long calls took, from first byte in to last byte out.");
        for (const telemetry_series *s = telemetry_first(t); s; s = telemetry_next(t, s))
            add_histogram(s, &labels, out);
    }
    const int rc = out->error ? out->error : labels.error;
    weft_buf_free(&labels);
    return rc;
}
