/* Where `weft up` prints: lines with the name of who said them in front, queued so that a terminal or pipe that
 * does not take them never holds up signals and children. One thread. */
#ifndef TOOLS_WEFT_UP_OUT_H
#define TOOLS_WEFT_UP_OUT_H

#include <stdbool.h>
#include <stddef.h>

#include "weft/buf.h"

typedef struct up_out {
    int fd;
    bool color;
    bool json;
    bool quiet;     /* lines of services and events are dropped */
    bool broken;    /* the reader went away: everything is dropped */
    unsigned width; /* of the names */
    weft_buf queue; /* bounded; see up_out_full */
} up_out;

/* `fd` stays the caller's. */
void up_out_init(up_out *out, int fd, bool json, bool quiet);
void up_out_free(up_out *out);

/* Who speaks. `instance` is -1 when its service has only one. */
typedef struct up_voice {
    const char *label;   /* "product" or "product-2" */
    const char *service; /* "product" */
    int instance;
    unsigned color; /* number for term_palette */
} up_voice;

/* One line of a service's output, without its newline. */
void up_out_line(up_out *out, const up_voice *voice, const char *line, size_t len);

/* One line of weft itself; text for people, and as {"event":…} in JSON with `service` and `address`, which may
 * be NULL. */
void up_out_event(up_out *out, const char *event, const char *service, const char *address,
                  const char *format, ...) WEFT_PRINTF(5, 6);

/* True while the queue holds so much that its producers should wait. */
bool up_out_full(const up_out *out);

/* Writes what fits without blocking. 0, or WEFT_ECLOSED once when the reader went away. */
int up_out_write(up_out *out);

/* Writes everything, waiting at most `timeout_ms` for the reader. */
void up_out_flush(up_out *out, int timeout_ms);

#endif
