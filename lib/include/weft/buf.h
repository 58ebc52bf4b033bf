/* Growable byte buffer with a maximum. Invariants: data[len] is always '\0' once data is not NULL;
 * len <= max. After a failed append `error` is set, the content is unchanged and every later append
 * fails too, so a chain of appends needs one check at its end. */
#ifndef WEFT_BUF_H
#define WEFT_BUF_H

#include <stdarg.h>
#include <stddef.h>

#include "weft/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_buf {
    char *data; /* NULL while empty and never grown */
    size_t len;
    size_t cap;
    size_t max;
    int error; /* 0, WEFT_ENOMEM or WEFT_ELIMIT; sticky until weft_buf_clear */
} weft_buf;

/* A buffer that may hold at most `max` bytes (0: 1 GiB). No allocation happens yet. A zeroed weft_buf is a
 * buffer with max 0. */
void weft_buf_init(weft_buf *buf, size_t max);
void weft_buf_free(weft_buf *buf);
void weft_buf_clear(weft_buf *buf); /* length 0 and error 0; keeps the memory */

/* Appends; 0, WEFT_ENOMEM or WEFT_ELIMIT, as described above. The data may be part of the buffer itself. */
int weft_buf_add(weft_buf *buf, const void *data, size_t size);
int weft_buf_adds(weft_buf *buf, const char *text);
int weft_buf_addc(weft_buf *buf, char c);
int weft_buf_printf(weft_buf *buf, const char *format, ...) WEFT_PRINTF(2, 3);
int weft_buf_vprintf(weft_buf *buf, const char *format, va_list args);

/* Appends `text` as the inside of a JSON string (no quotes); invalid UTF-8 becomes U+FFFD. */
int weft_buf_add_json(weft_buf *buf, const char *text, size_t size);

/* Room for `size` more bytes at the end; returns where to write, or NULL. Follow with _commit. */
char *weft_buf_reserve(weft_buf *buf, size_t size);
void weft_buf_commit(weft_buf *buf, size_t size);

/* Drops `size` bytes from the front. */
void weft_buf_consume(weft_buf *buf, size_t size);

/* The content as a C string: "" when empty. Lives until the next change. */
const char *weft_buf_str(const weft_buf *buf);

/* Hands the content over as a weft_free-able string, "" if there is none. NULL on a sticky error or when
 * memory is out. Either way the buffer is empty and without error afterwards. */
char *weft_buf_detach(weft_buf *buf);

/* Appends a whole file, as long as `buf->max` is not exceeded. WEFT_EIO (errno kept) and WEFT_ENOTFOUND leave
 * the buffer as it was; so do WEFT_ELIMIT and WEFT_ENOMEM, which stick. */
int weft_buf_read_file(weft_buf *buf, const char *path) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
