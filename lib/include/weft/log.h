/* Structured log: one JSON object a line on standard error (or a file), with trace ids.
 *
 *     {"time":"…","level":"info","service":"order","msg":"placed","trace_id":"…","order":"o-1"}
 *
 *     weft_log(WEFT_LOG_INFO, "placed", WEFT_S("order", id), WEFT_I("total", 1299));
 */
#ifndef WEFT_LOG_H
#define WEFT_LOG_H

#include <stdint.h>

#include "weft/clock.h"
#include "weft/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum weft_log_level {
    WEFT_LOG_DEBUG,
    WEFT_LOG_INFO,
    WEFT_LOG_WARN,
    WEFT_LOG_ERROR,
    WEFT_LOG_OFF
} weft_log_level;

typedef struct weft_log_field {
    const char *key; /* NULL ends the list */
    enum { WEFT_FIELD_STRING, WEFT_FIELD_INT, WEFT_FIELD_DOUBLE, WEFT_FIELD_BOOL } kind;
    union {
        const char *s; /* NULL is written as null */
        int64_t i;
        double d;
    } v;
} weft_log_field;

#define WEFT_S(k, val) ((weft_log_field){.key = (k), .kind = WEFT_FIELD_STRING, .v.s = (val)})
#define WEFT_I(k, val) ((weft_log_field){.key = (k), .kind = WEFT_FIELD_INT, .v.i = (val)})
#define WEFT_D(k, val) ((weft_log_field){.key = (k), .kind = WEFT_FIELD_DOUBLE, .v.d = (val)})
#define WEFT_B(k, val) ((weft_log_field){.key = (k), .kind = WEFT_FIELD_BOOL, .v.i = (val)})

/* Writes a line if `level` is enabled. One write(2) a line, so lines of threads and processes do not mix
 * (on a pipe: up to PIPE_BUF, 4 KiB). A line has at most 16 KiB: a value that is longer than 8 KiB once
 * escaped, or than what is left, ends in an ellipsis, fields beyond that are left out, and "truncated":true
 * says so. Nothing is allocated.
 * Any thread. Never fails: a line that cannot be written is counted (weft_log_dropped). */
#define weft_log(level, message, ...)                                                     \
    do {                                                                                  \
        if (weft_log_enabled(level))                                                      \
            weft_log_write(                                                               \
                (level), (message),                                                       \
                (const weft_log_field[]){WEFT_S("", ""), ##__VA_ARGS__, {.key = 0}} + 1); \
    } while (0)

int weft_log_enabled(weft_log_level level);
void weft_log_write(weft_log_level level, const char *message, const weft_log_field *fields);

/* Process-wide settings; call them before threads start. */
void weft_log_set_level(
    weft_log_level level); /* default INFO; WEFT_LOG=debug|info|warn|error|off */
int weft_log_parse_level(const char *text, weft_log_level *level); /* WEFT_EINVAL when unknown */
void weft_log_set_service(const char *service);                    /* copied; NULL: none */
void weft_log_set_fd(int fd);                                      /* default 2 */
void weft_log_set_clock(const weft_clock *clock);
uint64_t weft_log_dropped(void);

/* The calling thread's current trace; both in lower-case hex, copied; NULL clears. Handlers run with
 * theirs set by the runtime. */
void weft_log_set_trace(const char *trace_id, const char *span_id);

#ifdef __cplusplus
}
#endif
#endif
