#include "tools/weft/up_out.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "tools/weft/log_line.h"
#include "tools/weft/term.h"
#include "weft/clock.h"

#define QUEUE_HIGH (1024 * 1024)
/* One read of a child may still come in when the mark is passed, and grows when rendered. */
#define QUEUE_MAX (8 * 1024 * 1024)
/* A pipe that polls writable takes that much without blocking: pipe(7), PIPE_BUF. */
#define CHUNK 4096

void up_out_init(up_out *out, int fd, bool json, bool quiet) {
    *out = (up_out){
        .fd = fd, .color = term_color(fd) && !json, .json = json, .quiet = quiet, .width = 4};
    weft_buf_init(&out->queue, QUEUE_MAX);
}

void up_out_free(up_out *out) { weft_buf_free(&out->queue); }

static void add_prefix(up_out *out, const char *label, const char *color) {
    if (out->color) weft_buf_adds(&out->queue, color);
    weft_buf_printf(&out->queue, "%-*s | ", (int)out->width, label);
    if (out->color) weft_buf_adds(&out->queue, TERM_RESET);
}

/* Ends a line; one that did not fit is dropped whole. */
static void end_line(up_out *out, size_t start) {
    weft_buf_addc(&out->queue, '\n');
    if (!out->queue.error) return;
    out->queue.len = start;
    out->queue.error = 0;
    if (out->queue.data) out->queue.data[start] = '\0';
}

void up_out_line(up_out *out, const up_voice *voice, const char *line, size_t len) {
    if (out->quiet || out->broken) return;
    size_t start = out->queue.len;
    if (out->json) {
        log_line_json(line, len, voice->service, voice->instance, weft_wall(NULL), &out->queue);
    } else {
        add_prefix(out, voice->label, term_palette(voice->color));
        log_line_text(line, len, out->color, &out->queue);
    }
    end_line(out, start);
}

static void add_string(weft_buf *queue, const char *key, const char *value) {
    if (!value) return;
    weft_buf_printf(queue, ",\"%s\":\"", key);
    weft_buf_add_json(queue, value, strlen(value));
    weft_buf_addc(queue, '"');
}

void up_out_event(up_out *out, const char *event, const char *service, const char *address,
                  const char *format, ...) {
    if (out->quiet || out->broken) return;
    size_t start = out->queue.len;
    weft_buf text;
    weft_buf_init(&text, 64 * 1024);
    va_list args;
    va_start(args, format);
    weft_buf_vprintf(&text, format, args);
    va_end(args);
    if (out->json) {
        char time[28];
        weft_buf_printf(&out->queue, "{\"time\":\"%s\"", weft_time_format(weft_wall(NULL), time));
        add_string(&out->queue, "event", event);
        add_string(&out->queue, "service", service);
        add_string(&out->queue, "address", address);
        add_string(&out->queue, "msg", weft_buf_str(&text));
        weft_buf_addc(&out->queue, '}');
    } else {
        add_prefix(out, "weft", TERM_BOLD);
        weft_buf_adds(&out->queue, weft_buf_str(&text));
    }
    weft_buf_free(&text);
    end_line(out, start);
}

bool up_out_full(const up_out *out) { return out->queue.len > QUEUE_HIGH; }

int up_out_write(up_out *out) {
    size_t done = 0;
    int rc = 0;
    while (done < out->queue.len) {
        struct pollfd pfd = {.fd = out->fd, .events = POLLOUT};
        if (poll(&pfd, 1, 0) <= 0) break;
        size_t size = out->queue.len - done;
        ssize_t n = write(out->fd, out->queue.data + done, size < CHUNK ? size : CHUNK);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n < 0) {
            out->broken = true;
            rc = WEFT_ECLOSED;
            done = out->queue.len;
            break;
        }
        done += (size_t)n;
    }
    weft_buf_consume(&out->queue, done);
    return rc;
}

void up_out_flush(up_out *out, int timeout_ms) {
    int64_t end = weft_now(NULL) + timeout_ms * WEFT_NS_PER_MS;
    while (out->queue.len > 0 && !out->broken) {
        int64_t left = (end - weft_now(NULL)) / WEFT_NS_PER_MS;
        struct pollfd pfd = {.fd = out->fd, .events = POLLOUT};
        if (left < 0 || poll(&pfd, 1, (int)left) == 0) return;
        up_out_write(out);
    }
}
