/* A trace drawn with characters. Pure functions: messages in, text out. Control characters in names become '?'. */
#ifndef TOOLS_WEFT_WATERFALL_H
#define TOOLS_WEFT_WATERFALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/buf.h"
#include "weft/telemetry/v1/telemetry.pb-c.h"

typedef struct waterfall_style {
    unsigned width; /* columns there are; less than 80 counts as 80 */
    bool color;
    bool ascii; /* bars of '=' */
} waterfall_style;

/* The trace: a headline, a line a span with its bar, and what must be known of spans that are missing. */
void waterfall(const Telemetry__GetTraceResponse *trace, const waterfall_style *style,
               weft_buf *out);

/* A table of traces, the newest first. */
void waterfall_list(const Telemetry__FindTracesResponse *found, weft_buf *out);

/* "1.234 ms": three digits or more, and the unit. */
void waterfall_duration(int64_t ns, weft_buf *out);

/* Appends `text` without control characters, cut to `columns` (0: all) with an ellipsis; returns the columns it
 * takes, a character each. */
size_t waterfall_text(const char *text, size_t columns, weft_buf *out);

#endif
