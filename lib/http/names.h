/* Syntax of names and values, for the files of this room. */
#ifndef LIB_HTTP_NAMES_H
#define LIB_HTTP_NAMES_H

#include "weft/http.h"

/* Text, length and kind of each name. */
typedef struct name_row {
    const char *text;
    uint16_t len;
    uint16_t kind;
} name_row;
extern const name_row http_name_rows[HTTP_NAME_COUNT];

/* 1 when `name` is a lower-case token of RFC 9110 section 5.6.2, after one ':' at most. Pure. */
int http_name_ok(const char *name, size_t len);

/* 1 when `value` has no control character but tab and no blank at either end. Pure. */
int http_value_ok(const char *value, size_t len);

/* Copies a value and says what http_value_ok says of it. */
int http_value_copy(char *to, const char *value, size_t len);

#endif
