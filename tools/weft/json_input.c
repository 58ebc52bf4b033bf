#include "tools/weft/json_input.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX (64 * 1024 * 1024)

int json_input_text(json_input *in, const char *text) {
    *in = (json_input){.fd = -1, .stop_fd = -1, .end = true};
    weft_buf_init(&in->data, INPUT_MAX);
    return weft_buf_adds(&in->data, text);
}

void json_input_fd(json_input *in, int fd) {
    *in = (json_input){.fd = fd, .stop_fd = -1};
    weft_buf_init(&in->data, INPUT_MAX);
}

void json_input_free(json_input *in) { weft_buf_free(&in->data); }

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* Looks at one more byte; true when the value ends before it (*before) or with it. */
static bool step(json_input *in, char c, bool *before) {
    *before = false;
    if (in->string) {
        if (in->escape)
            in->escape = false;
        else if (c == '\\')
            in->escape = true;
        else if (c == '"')
            in->string = false;
        return !in->string && in->depth == 0;
    }
    if (!in->started) {
        if (blank(c)) {
            in->begin++;
            return false;
        }
        in->started = true;
    } else if (in->scalar && (blank(c) || c == '{' || c == '[' || c == '"')) {
        *before = true;
        return true;
    }
    if (c == '"') {
        in->string = true;
    } else if (c == '{' || c == '[') {
        in->depth++;
    } else if (c == '}' || c == ']') {
        in->depth--;
        return in->depth <= 0;
    } else if (in->depth == 0) {
        in->scalar = true;
    }
    return false;
}

/* Waits for something to read; true: told to stop. */
static bool stopped(const json_input *in) {
    if (in->stop_fd < 0) return false;
    struct pollfd fds[] = {{.fd = in->stop_fd, .events = POLLIN}, {.fd = in->fd, .events = POLLIN}};
    while (poll(fds, 2, -1) < 0)
        if (errno != EINTR) return false;
    return fds[0].revents != 0;
}

static int read_more(json_input *in) {
    if (stopped(in)) {
        in->end = true;
        in->started = false; /* what came of a value is of no use */
        in->begin = in->scanned = in->data.len;
        return 0;
    }
    char *room = weft_buf_reserve(&in->data, 64 * 1024);
    if (!room) return in->data.error;
    ssize_t n;
    while ((n = read(in->fd, room, 64 * 1024)) < 0)
        if (errno != EINTR) return WEFT_EIO;
    if (n == 0) in->end = true;
    weft_buf_commit(&in->data, (size_t)n);
    return 0;
}

static int hand_out(json_input *in, const char **text, size_t *len) {
    *text = in->data.data + in->begin;
    *len = in->scanned - in->begin;
    in->begin = in->scanned;
    in->started = in->scalar = in->string = in->escape = false;
    in->depth = 0;
    return 1;
}

int json_input_next(json_input *in, const char **text, size_t *len) {
    weft_buf_consume(&in->data, in->begin);
    in->scanned -= in->begin;
    in->begin = 0;
    for (;;) {
        while (in->scanned < in->data.len) {
            bool before;
            bool ends = step(in, in->data.data[in->scanned], &before);
            if (!before) in->scanned++;
            if (ends) return hand_out(in, text, len);
        }
        if (in->end) return in->started ? hand_out(in, text, len) : 0;
        int rc = read_more(in);
        if (rc < 0) return rc;
    }
}
