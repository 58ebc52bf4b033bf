/* JSON values one after another, from an argument, a file or as they come on standard input: a value a line, or
 * spread over lines, or several in one. Finds where each ends; weft_json_decode judges it. */
#ifndef TOOLS_WEFT_JSON_INPUT_H
#define TOOLS_WEFT_JSON_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "weft/buf.h"

typedef struct json_input {
    int fd;      /* -1: all is in `data` already */
    int stop_fd; /* once it can be read from, the input is at its end; -1: none */
    weft_buf data;
    size_t begin;   /* of what was not handed out yet */
    size_t scanned; /* up to where */
    int depth;
    bool started, scalar, string, escape, end;
} json_input;

/* From text (copied). 0 or WEFT_ENOMEM, WEFT_ELIMIT above 64 MiB. */
int json_input_text(json_input *in, const char *text) WEFT_MUST_USE;
/* From a descriptor, read as values are asked for; it stays the caller's. */
void json_input_fd(json_input *in, int fd);
void json_input_free(json_input *in);

/* The next value: 1 with *text, which lives until the next call; 0 at the end; a negative WEFT_E… when reading
 * failed or a value is larger than 64 MiB. An unfinished last value is handed out as it is. */
int json_input_next(json_input *in, const char **text, size_t *len) WEFT_MUST_USE;

#endif
