/* Growable byte buffer. Capacity doubles from 64; one byte of it is always kept for the '\0'. */
#include "weft/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "text.h"
#include "weft/mem.h"

#define DEFAULT_MAX ((size_t)1 << 30)
#define FIRST_CAP 64u

static size_t max_of(const weft_buf *buf) {
    if (!buf->max) return DEFAULT_MAX; /* a zeroed buffer is a valid one */
    return buf->max < SIZE_MAX / 4 ? buf->max : SIZE_MAX / 4;
}

void weft_buf_init(weft_buf *buf, size_t max) { *buf = (weft_buf){.max = max ? max : DEFAULT_MAX}; }

void weft_buf_free(weft_buf *buf) {
    weft_free(buf->data);
    *buf = (weft_buf){.max = buf->max};
}

void weft_buf_clear(weft_buf *buf) {
    buf->len = 0;
    buf->error = 0;
    if (buf->data) buf->data[0] = '\0';
}

/* Makes cap > len + size, within max. */
static int ensure(weft_buf *buf, size_t size) {
    if (buf->error) return buf->error;
    const size_t max = max_of(buf);
    if (buf->len > max || size > max - buf->len) return buf->error = WEFT_ELIMIT;
    const size_t need = buf->len + size + 1;
    if (need <= buf->cap) return 0;
    size_t cap = buf->cap ? buf->cap : FIRST_CAP;
    while (cap < need) cap *= 2;
    if (cap > max + 1) cap = max + 1;
    char *data = weft_realloc(buf->data, cap);
    if (!data) return buf->error = WEFT_ENOMEM;
    if (!buf->data) data[0] = '\0';
    buf->data = data;
    buf->cap = cap;
    return 0;
}

int weft_buf_add(weft_buf *buf, const void *data, size_t size) {
    if (buf->error) return buf->error;
    if (!size) return 0;
    /* `data` may be a part of this very buffer, which growing moves. */
    const uintptr_t at = (uintptr_t)data - (uintptr_t)buf->data;
    const int own = buf->data && (uintptr_t)data >= (uintptr_t)buf->data && at < buf->cap;
    int rc = ensure(buf, size);
    if (rc) return rc;
    memmove(buf->data + buf->len, own ? buf->data + at : data, size);
    buf->len += size;
    buf->data[buf->len] = '\0';
    return 0;
}

int weft_buf_adds(weft_buf *buf, const char *text) { return weft_buf_add(buf, text, strlen(text)); }

int weft_buf_addc(weft_buf *buf, char c) { return weft_buf_add(buf, &c, 1); }

int weft_buf_printf(weft_buf *buf, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int rc = weft_buf_vprintf(buf, format, args);
    va_end(args);
    return rc;
}

int weft_buf_vprintf(weft_buf *buf, const char *format, va_list args) {
    if (buf->error) return buf->error;
    /* Into a side buffer first: an argument may point into this very buffer. */
    char small[512];
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(small, sizeof small, format, args);
    int rc = 0;
    if (len < 0) {
        rc = buf->error = WEFT_ELIMIT;
    } else if ((size_t)len < sizeof small) {
        rc = weft_buf_add(buf, small, (size_t)len);
    } else if ((size_t)len > max_of(buf)) {
        rc = buf->error = WEFT_ELIMIT;
    } else {
        char *large = weft_malloc((size_t)len + 1);
        if (large) {
            (void)vsnprintf(large, (size_t)len + 1, format, again);
            rc = weft_buf_add(buf, large, (size_t)len);
            weft_free(large);
        } else {
            rc = buf->error = WEFT_ENOMEM;
        }
    }
    va_end(again);
    return rc;
}

int weft_buf_add_json(weft_buf *buf, const char *text, size_t size) {
    const size_t before = buf->len;
    while (size && !buf->error) {
        char piece[512];
        size_t written = 0;
        size_t took = base_json_escape(text, size, piece, sizeof piece, &written);
        weft_buf_add(buf, piece, written);
        text += took;
        size -= took;
    }
    if (buf->error && buf->len > before) {
        buf->len = before;
        buf->data[before] = '\0';
    }
    return buf->error;
}

char *weft_buf_reserve(weft_buf *buf, size_t size) {
    return ensure(buf, size) ? NULL : buf->data + buf->len;
}

void weft_buf_commit(weft_buf *buf, size_t size) {
    if (buf->error || !size) return;
    buf->len += size;
    buf->data[buf->len] = '\0';
}

void weft_buf_consume(weft_buf *buf, size_t size) {
    if (!size || !buf->data) return;
    if (size > buf->len) size = buf->len;
    memmove(buf->data, buf->data + size, buf->len - size + 1);
    buf->len -= size;
}

const char *weft_buf_str(const weft_buf *buf) { return buf->data ? buf->data : ""; }

char *weft_buf_detach(weft_buf *buf) {
    char *text = NULL;
    if (!ensure(buf, 0)) {
        text = buf->data;
        buf->data = NULL;
    }
    weft_buf_free(buf);
    return text;
}

/* Appends what `fd` has until its end. Reading one byte past the maximum tells a file that fits from one
 * that does not. */
static int read_all(weft_buf *buf, int fd) {
    for (;;) {
        const size_t room = max_of(buf) - buf->len;
        char extra;
        char *to = &extra;
        size_t want = 1;
        if (room) {
            want = buf->cap > buf->len + 1 ? buf->cap - buf->len - 1 : 4096;
            if (want > room) want = room;
            to = weft_buf_reserve(buf, want);
            if (!to) return buf->error;
        }
        ssize_t n = read(fd, to, want);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return WEFT_EIO;
        if (n == 0) return 0;
        if (!room) return buf->error = WEFT_ELIMIT;
        weft_buf_commit(buf, (size_t)n);
    }
}

int weft_buf_read_file(weft_buf *buf, const char *path) {
    if (buf->error) return buf->error;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT || errno == ENOTDIR ? WEFT_ENOTFOUND : WEFT_EIO;
    const size_t before = buf->len;
    int rc = read_all(buf, fd);
    int saved = errno;
    (void)close(fd);
    if (rc && buf->data) {
        buf->len = before;
        buf->data[before] = '\0';
    }
    errno = saved;
    return rc;
}
