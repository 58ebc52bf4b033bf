/* What is measured, as text: Prometheus for metrics, JSON lines for spans. No I/O: into buffers. */
#ifndef SIDECAR_EXPORT_EXPORT_H
#define SIDECAR_EXPORT_EXPORT_H

#include "sidecar/telemetry/metrics.h"
#include "sidecar/telemetry/span.h"
#include "weft/buf.h"

/* Content-Type of the text below. */
#define EXPORT_PROMETHEUS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Counters and series in Prometheus' text format, version 0.0.4. Families once each, with HELP and
 * TYPE. Returns the buffer's error. */
int export_prometheus(const telemetry *t, weft_buf *out) WEFT_MUST_USE;

/* For families of others (clusters, breakers): a header, then samples. `labels` is NULL or NULL-ended
 * pairs name, value, …; values are escaped here. */
int export_family(weft_buf *out, const char *name, const char *type, const char *help);
int export_sample(weft_buf *out, const char *name, const char *const *labels, double value);

/* One span as one line of JSON, '\n' at its end; ids in lower-case hex, times in wall ns as decimal
 * strings (OTLP's JSON mapping), texts that are empty left out. */
int export_span(const span *s, weft_buf *out) WEFT_MUST_USE;

/* Takes up to `max` spans (0: all) out of `buffer` and writes a line each, as long as `out` has room;
 * those that do not fit stay. Returns how many were written. */
size_t export_spans(span_buffer *buffer, size_t max, weft_buf *out);

#endif
