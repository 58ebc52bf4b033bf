/* Numbers from and to text, the same in every locale.
 *
 * Parsing is strict: the whole text must be the number, no blanks around it, no sign where none makes
 * sense. On failure the output is untouched and the result is WEFT_EPARSE (not such a number; also NULL
 * or empty text) or WEFT_ELIMIT (such a number, out of its type's range). All functions are pure: any
 * thread, no allocation. */
#ifndef WEFT_NUM_H
#define WEFT_NUM_H

#include <stddef.h>
#include <stdint.h>

#include "weft/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Decimal: "-17", "+4", "0". No other base, no "1e3", no "1_000". */
int weft_parse_int64(const char *text, int64_t *value) WEFT_MUST_USE;
int weft_parse_uint64(const char *text, uint64_t *value) WEFT_MUST_USE;

/* Decimal with optional fraction and exponent: "1", "-.5", "2.5e-3". Neither "inf", "nan" nor hex.
 * Too large is WEFT_ELIMIT; too small becomes 0. */
int weft_parse_double(const char *text, double *value) WEFT_MUST_USE;

/* "true", "yes", "on", "1" and "false", "no", "off", "0", in any case. */
int weft_parse_bool(const char *text, int *value) WEFT_MUST_USE;

/* A duration in nanoseconds: a sum of decimal numbers with the units ns, us, ms, s, m, h, d, each larger
 * unit before the smaller ones: "250ms", "1.5s", "1h30m". "0" needs no unit. A leading '-' negates the
 * whole. Digits finer than a nanosecond must be zero. */
int weft_parse_duration(const char *text, int64_t *ns) WEFT_MUST_USE;

/* A size in bytes: a decimal number (a fraction is allowed if whole bytes come out) with an optional unit:
 * B, KiB MiB GiB TiB (1024), kB KB MB GB TB (1000). "64KiB", "1.5MiB", "4096". */
int weft_parse_size(const char *text, uint64_t *bytes) WEFT_MUST_USE;

/* What was expected where parsing failed: "a duration such as 250ms, 1.5s, 2m or 1h". Never NULL. */
typedef enum weft_num_kind {
    WEFT_NUM_INT64,
    WEFT_NUM_UINT64,
    WEFT_NUM_DOUBLE,
    WEFT_NUM_BOOL,
    WEFT_NUM_DURATION,
    WEFT_NUM_SIZE
} weft_num_kind;
const char *weft_num_expected(weft_num_kind kind);

/* Room for any of the texts below, with its '\0'. */
#define WEFT_NUM_TEXT 40

/* Write the text and a '\0' into out and return its length. The shortest text that parses back to the
 * same value (doubles: the fewest of 15 to 17 digits; "NaN", "Infinity", "-Infinity"; durations: "1h30m",
 * "1.5s", "250ms"; sizes: the largest binary unit that divides it, "64KiB", "1000B"). */
size_t weft_format_int64(int64_t value, char out[WEFT_NUM_TEXT]);
size_t weft_format_uint64(uint64_t value, char out[WEFT_NUM_TEXT]);
size_t weft_format_double(double value, char out[WEFT_NUM_TEXT]);
size_t weft_format_duration(int64_t ns, char out[WEFT_NUM_TEXT]);
size_t weft_format_size(uint64_t bytes, char out[WEFT_NUM_TEXT]);

#ifdef __cplusplus
}
#endif
#endif
