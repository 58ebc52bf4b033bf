/* How one line of a service's output is shown. Pure functions: text in, text out. */
#ifndef TOOLS_WEFT_LOG_LINE_H
#define TOOLS_WEFT_LOG_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/buf.h"

/* One member of a JSON object, as it stands in the text: `value` is raw JSON, quotes included. */
typedef struct log_member {
    const char *key; /* without quotes, escapes as written */
    size_t key_len;
    const char *value;
    size_t value_len;
} log_member;

/* Walks the members of a one-line JSON object: start with *at = 0. Returns 1 and a member, 0 after the closing
 * brace, -1 when `line` is not one well-formed JSON object. A line is an object only if the walk ends in 0. */
int log_object_next(const char *line, size_t len, size_t *at, log_member *out);

/* Appends the line for people: a JSON object with a "msg" as
 *     12:00:01.250 info  placed order=o-1 total=1299
 * and everything else as it is. Members "service" and empty ones are left out. Control characters inside JSON
 * strings stay escaped; in other lines the escape sequences of a program's own colours are kept only if
 * `color`, all other control characters but tabs are shown as \x... No newline is appended. */
void log_line_text(const char *line, size_t len, bool color, weft_buf *out);

/* Appends the line for programs, as one JSON object: an object keeps its members and gets "service" if it has
 * none and "instance" if that is not negative; everything else becomes
 *     {"time":"…","service":"product","msg":"the line"}. `wall_ns` is that time. No newline is appended. */
void log_line_json(const char *line, size_t len, const char *service, int instance, int64_t wall_ns,
                   weft_buf *out);

#endif
