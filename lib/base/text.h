/* Escaping shared by buf.c, diag.c, log.c and status.c. Private to lib/base. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stddef.h>

#include "weft/buf.h"

/* Escapes the front of `text` as the inside of a JSON string into `out`, as long as `room` allows, whole
 * characters only. Stores in `*written` what it wrote (no '\0') and returns how many input bytes that
 * covers. Invalid UTF-8 becomes U+FFFD. */
size_t base_json_escape(const char *text, size_t size, char *out, size_t room, size_t *written);

/* Appends `text` for a terminal: control characters, which could rewrite the screen, become \xNN;
 * invalid UTF-8 becomes U+FFFD. Line feeds and tabs stay when `multiline` is true. */
int base_add_printable(weft_buf *out, const char *text, int multiline);

#endif
