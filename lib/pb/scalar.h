/* Texts of single values, as the JSON mapping writes them. Pure functions. Private to lib/pb. */
#ifndef PB_SCALAR_H
#define PB_SCALAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/num.h"

/* A number by the grammar of JSON: no '+', no leading zeros, digits around the point. */
bool pb_is_number(const char *text);

/* A whole number written in any way ("1e2", "10.0"): 0, WEFT_EPARSE (no number), WEFT_EINVAL (a
 * number that is not whole), WEFT_ELIMIT (beyond 64 bits). */
int pb_parse_int64(const char *text, int64_t *value);
int pb_parse_uint64(const char *text, uint64_t *value);

/* A number, or "NaN", "Infinity", "-Infinity". WEFT_EPARSE, or WEFT_ELIMIT when it is too large. */
int pb_parse_double(const char *text, double *value);
int pb_parse_float(const char *text, float *value);

/* The shortest text that reads back the same. */
size_t pb_format_float(float value, char out[WEFT_NUM_TEXT]);

#define PB_TIMESTAMP_MIN INT64_C(-62135596800) /* 0001-01-01T00:00:00Z */
#define PB_TIMESTAMP_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */
#define PB_DURATION_MAX INT64_C(315576000000)  /* 10,000 years */

/* RFC 3339 with 0 to 9 digits of fraction, and "1.5s". False with a static sentence in *why. */
bool pb_parse_timestamp(const char *text, int64_t *seconds, int32_t *nanos, const char **why);
bool pb_parse_duration(const char *text, int64_t *seconds, int32_t *nanos, const char **why);

/* With 0, 3, 6 or 9 digits of fraction. False when the value is out of range. */
bool pb_format_timestamp(int64_t seconds, int32_t nanos, char out[WEFT_NUM_TEXT]);
bool pb_format_duration(int64_t seconds, int32_t nanos, char out[WEFT_NUM_TEXT]);

#endif
