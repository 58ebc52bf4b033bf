/* JSON lines. A line is built on the stack and leaves in one write(2), so logging works without memory
 * and lines of several threads or processes do not mix. */
#include "weft/log.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "text.h"
#include "weft/num.h"

#define LINE_MAX_BYTES (16u * 1024u)
#define STRING_MAX_BYTES \
    (8u * 1024u)         /* one value, escaped: a huge one leaves room for the others */
#define LINE_RESERVE 32u /* ,"truncated":true}\n always fits */
#define ELLIPSIS "\xE2\x80\xA6"

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

enum { LEVEL_UNSET = -1 };

static atomic_int log_level = LEVEL_UNSET;
static atomic_int log_fd = STDERR_FILENO;
static atomic_uint_fast64_t log_dropped;
static atomic_int log_torn; /* the last line was cut off: the next one begins with a line feed */
static const weft_clock *log_clock;
static char log_service[128];

static _Thread_local char trace_id[33];
static _Thread_local char span_id[17];

/* bytes[0] is a line feed that is skipped unless the last line was torn. `truncated` once anything did
 * not fit. LINE_RESERVE bytes at the end are kept for the closing. */
typedef struct line {
    size_t len;
    int truncated;
    char bytes[LINE_MAX_BYTES];
} line;

int weft_log_parse_level(const char *text, weft_log_level *level) {
    for (int i = WEFT_LOG_DEBUG; text && i <= WEFT_LOG_OFF; i++) {
        if (strcasecmp(level_names[i], text) != 0) continue;
        *level = (weft_log_level)i;
        return 0;
    }
    return WEFT_EINVAL;
}

/* The first caller reads WEFT_LOG; racing callers read the same. */
static int level_now(void) {
    int level = atomic_load_explicit(&log_level, memory_order_relaxed);
    if (level != LEVEL_UNSET) return level;
    weft_log_level parsed = WEFT_LOG_INFO;
    (void)weft_log_parse_level(getenv("WEFT_LOG"), &parsed);
    int expected = LEVEL_UNSET;
    (void)atomic_compare_exchange_strong(&log_level, &expected, (int)parsed);
    return atomic_load_explicit(&log_level, memory_order_relaxed);
}

int weft_log_enabled(weft_log_level level) {
    return (int)level >= level_now() && level < WEFT_LOG_OFF;
}

void weft_log_set_level(weft_log_level level) { atomic_store(&log_level, (int)level); }

void weft_log_set_service(const char *service) {
    size_t len = service ? strnlen(service, sizeof log_service - 1) : 0;
    if (len) memcpy(log_service, service, len);
    log_service[len] = '\0';
}

void weft_log_set_fd(int fd) {
    atomic_store(&log_fd, fd);
    atomic_store(&log_torn, 0);
}

void weft_log_set_clock(const weft_clock *clock) { log_clock = clock; }

uint64_t weft_log_dropped(void) { return atomic_load(&log_dropped); }

static void keep_hex(const char *id, char *out, size_t digits) {
    out[0] = '\0';
    if (!id || strnlen(id, digits + 1) != digits) return;
    if (strspn(id, "0123456789abcdef") != digits) return;
    memcpy(out, id, digits + 1);
}

void weft_log_set_trace(const char *new_trace_id, const char *new_span_id) {
    keep_hex(new_trace_id, trace_id, sizeof trace_id - 1);
    keep_hex(new_span_id, span_id, sizeof span_id - 1);
}

static size_t line_room(const line *l) { return LINE_MAX_BYTES - LINE_RESERVE - l->len; }

static void put(line *l, const char *bytes, size_t size) {
    if (size > line_room(l)) {
        l->truncated = 1;
        return;
    }
    memcpy(l->bytes + l->len, bytes, size);
    l->len += size;
}

/* A quoted string, cut at a character and marked when it is too long. */
static void put_string(line *l, const char *text) {
    const size_t frame = 2 + sizeof ELLIPSIS - 1;
    size_t room = line_room(l);
    if (room < frame) {
        l->truncated = 1;
        return;
    }
    room = room - frame < STRING_MAX_BYTES ? room - frame : STRING_MAX_BYTES;
    /* What cannot fit need not be measured: a byte takes at least a byte. */
    const size_t size = strnlen(text, STRING_MAX_BYTES + 1);
    size_t written = 0;
    l->bytes[l->len++] = '"';
    const size_t took = base_json_escape(text, size, l->bytes + l->len, room, &written);
    l->len += written;
    if (took < size) {
        memcpy(l->bytes + l->len, ELLIPSIS, sizeof ELLIPSIS - 1);
        l->len += sizeof ELLIPSIS - 1;
        l->truncated = 1;
    }
    l->bytes[l->len++] = '"';
}

static void put_value(line *l, const weft_log_field *field) {
    char number[WEFT_NUM_TEXT];
    switch (field->kind) {
    case WEFT_FIELD_STRING:
        if (field->v.s)
            put_string(l, field->v.s);
        else
            put(l, "null", 4);
        return;
    case WEFT_FIELD_INT:
        put(l, number, weft_format_int64(field->v.i, number));
        return;
    case WEFT_FIELD_DOUBLE:
        /* JSON has no word for these; the protobuf mapping writes them as strings. */
        if (isfinite(field->v.d))
            put(l, number, weft_format_double(field->v.d, number));
        else
            put_string(l, isnan(field->v.d) ? "NaN" : field->v.d > 0 ? "Infinity" : "-Infinity");
        return;
    case WEFT_FIELD_BOOL:
        put(l, field->v.i ? "true" : "false", field->v.i ? 4 : 5);
        return;
    }
    put(l, "null", 4);
}

/* All of `,"key":value` or nothing of it. */
static void put_field(line *l, const weft_log_field *field) {
    const size_t before = l->len;
    const size_t needed = 16 + WEFT_NUM_TEXT + strnlen(field->key, STRING_MAX_BYTES) * 6;
    if (needed > line_room(l)) {
        l->truncated = 1;
        return;
    }
    put(l, ",", 1);
    put_string(l, field->key);
    put(l, ":", 1);
    const size_t value = l->len;
    put_value(l, field);
    if (l->len == value) l->len = before;
}

static void put_text_field(line *l, const char *key, const char *value) {
    if (value[0]) put_field(l, &WEFT_S(key, value));
}

static void send_line(const line *l) {
    const int torn = atomic_exchange(&log_torn, 0);
    const char *at = l->bytes + !torn;
    size_t left = l->len - (size_t)!torn;
    const size_t all = left;
    const int fd = atomic_load(&log_fd);
    while (left) {
        ssize_t n = write(fd, at, left);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        at += n;
        left -= (size_t)n;
    }
    if (!left) return;
    atomic_fetch_add_explicit(&log_dropped, 1, memory_order_relaxed);
    if (left < all || torn) atomic_store(&log_torn, 1);
}

void weft_log_write(weft_log_level level, const char *message, const weft_log_field *fields) {
    if (level < WEFT_LOG_DEBUG || level >= WEFT_LOG_OFF) return;
    const int saved = errno;
    char time[28];
    line l;
    l.bytes[0] = '\n';
    l.len = 1;
    l.truncated = 0;
    put(&l, "{\"time\":", 8);
    put_string(&l, weft_time_format(weft_wall(log_clock), time));
    put_text_field(&l, "level", level_names[level]);
    put_text_field(&l, "service", log_service);
    put_field(&l, &WEFT_S("msg", message ? message : ""));
    put_text_field(&l, "trace_id", trace_id);
    put_text_field(&l, "span_id", span_id);
    for (; fields && fields->key; fields++) put_field(&l, fields);
    static const char mark[] = ",\"truncated\":true";
    if (l.truncated) {
        memcpy(l.bytes + l.len, mark, sizeof mark - 1);
        l.len += sizeof mark - 1;
    }
    memcpy(l.bytes + l.len, "}\n", 2);
    l.len += 2;
    send_line(&l);
    errno = saved;
}
