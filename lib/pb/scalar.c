/* Numbers, timestamps and durations as texts. */
#include "scalar.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static const char *digits(const char *at) {
    while (is_digit(*at)) at++;
    return at;
}

bool pb_is_number(const char *text) {
    const char *at = text + (*text == '-');
    if (!is_digit(*at) || (*at == '0' && is_digit(at[1]))) return false;
    at = digits(at);
    if (*at == '.') {
        if (!is_digit(at[1])) return false;
        at = digits(at + 1);
    }
    if (*at == 'e' || *at == 'E') {
        at++;
        at += *at == '+' || *at == '-';
        if (!is_digit(*at)) return false;
        at = digits(at);
    }
    return !*at;
}

/* ---- whole numbers ---- */

/* The exponent of a number, kept small enough to add to. */
static int64_t exponent(const char *text) {
    const char *at = strpbrk(text, "eE");
    int64_t sum = 0;
    if (!at) return 0;
    const bool negative = at[1] == '-';
    for (at += 1 + (at[1] == '-' || at[1] == '+'); is_digit(*at); at++)
        if (sum < INT32_MAX) sum = sum * 10 + (*at - '0');
    return negative ? -sum : sum;
}

static int parse_whole(const char *text, bool *negative, uint64_t *magnitude) {
    if (!pb_is_number(text)) return WEFT_EPARSE;
    *negative = *text == '-';
    /* Digits without the point, and how many powers of ten they are worth. */
    int64_t scale = exponent(text);
    const char *end = text + strcspn(text, "eE");
    const char *point = memchr(text, '.', (size_t)(end - text));
    if (point) scale -= end - point - 1;
    while (end > text && (end[-1] == '0' || end[-1] == '.')) {
        scale += end[-1] == '0';
        end--;
    }
    uint64_t sum = 0;
    for (const char *at = text + *negative; at < end; at++)
        if (*at != '.' && (__builtin_mul_overflow(sum, 10u, &sum) ||
                           __builtin_add_overflow(sum, (uint64_t)(*at - '0'), &sum)))
            return scale < 0 ? WEFT_EINVAL : WEFT_ELIMIT;
    if (sum && scale < 0) return WEFT_EINVAL;
    for (; sum && scale > 0; scale--)
        if (__builtin_mul_overflow(sum, 10u, &sum)) return WEFT_ELIMIT;
    *magnitude = sum;
    return 0;
}

int pb_parse_int64(const char *text, int64_t *value) {
    bool negative = false;
    uint64_t magnitude = 0;
    const int rc = parse_whole(text, &negative, &magnitude);
    if (rc) return rc;
    if (magnitude > (uint64_t)INT64_MAX + negative) return WEFT_ELIMIT;
    *value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return 0;
}

int pb_parse_uint64(const char *text, uint64_t *value) {
    bool negative = false;
    uint64_t magnitude = 0;
    const int rc = parse_whole(text, &negative, &magnitude);
    if (rc) return rc;
    if (negative && magnitude) return WEFT_ELIMIT;
    *value = magnitude;
    return 0;
}

/* ---- floating point ---- */

int pb_parse_double(const char *text, double *value) {
    if (!strcmp(text, "NaN"))
        *value = (double)NAN;
    else if (!strcmp(text, "Infinity"))
        *value = (double)INFINITY;
    else if (!strcmp(text, "-Infinity"))
        *value = -(double)INFINITY;
    else
        return pb_is_number(text) ? weft_parse_double(text, value) : WEFT_EPARSE;
    return 0;
}

int pb_parse_float(const char *text, float *value) {
    double wide = 0;
    const int rc = pb_parse_double(text, &wide);
    if (rc) return rc;
    const float narrow = (float)wide;
    if (isinf(narrow) && !isinf(wide)) return WEFT_ELIMIT;
    *value = narrow;
    return 0;
}

size_t pb_format_float(float value, char out[WEFT_NUM_TEXT]) {
    if (!isfinite(value) || value == 0) return weft_format_double((double)value, out);
    size_t len = 0;
    for (int precision = 6; precision <= 9; precision++) {
        char text[WEFT_NUM_TEXT];
        float back = 0;
        (void)snprintf(text, sizeof text, "%.*g", precision, (double)value);
        /* The locale's decimal point, of one byte or more. */
        len = 0;
        for (const char *at = text; *at; at++) {
            if (strchr("0123456789+-e", *at))
                out[len++] = *at;
            else if (out[len - 1] != '.')
                out[len++] = '.';
        }
        out[len] = '\0';
        if (!pb_parse_float(out, &back) && back == value) break;
    }
    return len;
}

/* ---- time ---- */

/* Exactly `count` digits. */
static bool number(const char **at, int count, int *value) {
    int sum = 0;
    for (int i = 0; i < count; i++, ++*at) {
        if (!is_digit(**at)) return false;
        sum = sum * 10 + (**at - '0');
    }
    *value = sum;
    return true;
}

static bool literal(const char **at, char c) {
    if (**at != c) return false;
    ++*at;
    return true;
}

/* An optional fraction: '.' and 1 to 9 digits. */
static bool fraction(const char **at, int32_t *nanos) {
    *nanos = 0;
    if (**at != '.') return true;
    int32_t unit = 100000000;
    int count = 0;
    for (++*at; is_digit(**at); ++*at, count++) {
        *nanos += unit * (**at - '0');
        unit /= 10;
    }
    return count >= 1 && count <= 9;
}

/* Days from 1970-01-01 of a date of the Gregorian calendar, years 1 and later. */
static int64_t days_of(int64_t year, int month, int day) {
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    const int64_t past = year - 1;
    return past * 365 + past / 4 - past / 100 + past / 400 + before[month - 1] +
           (leap && month > 2) + day - 1 - 719162;
}

static int days_in(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] +
           (month == 2 && ((year % 4 == 0 && year % 100 != 0) || year % 400 == 0));
}

static bool offset(const char **at, int *seconds) {
    *seconds = 0;
    if (literal(at, 'Z')) return true;
    const bool west = **at == '-';
    int hours = 0, minutes = 0;
    if (!west && **at != '+') return false;
    ++*at;
    if (!number(at, 2, &hours) || !literal(at, ':') || !number(at, 2, &minutes)) return false;
    if (hours > 23 || minutes > 59) return false;
    *seconds = (hours * 60 + minutes) * (west ? -60 : 60);
    return true;
}

bool pb_parse_timestamp(const char *text, int64_t *seconds, int32_t *nanos, const char **why) {
    int year, month, day, hour, minute, second, shift;
    *why = "expected a time such as \"2026-01-31T23:59:59.5Z\" (RFC 3339)";
    if (!number(&text, 4, &year) || !literal(&text, '-') || !number(&text, 2, &month) ||
        !literal(&text, '-') || !number(&text, 2, &day) || !literal(&text, 'T') ||
        !number(&text, 2, &hour) || !literal(&text, ':') || !number(&text, 2, &minute) ||
        !literal(&text, ':') || !number(&text, 2, &second) || !fraction(&text, nanos) ||
        !offset(&text, &shift) || *text)
        return false;
    *why = "there is no such time";
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in(year, month) || hour > 23 ||
        minute > 59 || second > 59)
        return false;
    *seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - shift;
    *why = "the time is not in the years 1 to 9999 (UTC)";
    return *seconds >= PB_TIMESTAMP_MIN && *seconds <= PB_TIMESTAMP_MAX;
}

bool pb_parse_duration(const char *text, int64_t *seconds, int32_t *nanos, const char **why) {
    const bool negative = *text == '-';
    text += negative;
    const char *end = digits(text);
    int64_t whole = 0;
    *why = "expected a duration in seconds such as \"1.5s\"";
    if (end == text) return false;
    for (; is_digit(*text); text++)
        if (whole <= PB_DURATION_MAX) whole = whole * 10 + (*text - '0');
    if (!fraction(&text, nanos) || !literal(&text, 's') || *text) return false;
    *why = "the duration is more than 315576000000 seconds";
    if (whole > PB_DURATION_MAX || (whole == PB_DURATION_MAX && *nanos)) return false;
    *seconds = negative ? -whole : whole;
    if (negative) *nanos = -*nanos;
    return true;
}

/* ".5" as ".500": none, 3, 6 or 9 digits. */
static size_t put_fraction(char *out, int32_t nanos) {
    if (!nanos) return 0;
    if (nanos % 1000000 == 0) return (size_t)snprintf(out, 5, ".%03d", (int)(nanos / 1000000));
    if (nanos % 1000 == 0) return (size_t)snprintf(out, 8, ".%06d", (int)(nanos / 1000));
    return (size_t)snprintf(out, 11, ".%09d", (int)nanos);
}

bool pb_format_timestamp(int64_t seconds, int32_t nanos, char out[WEFT_NUM_TEXT]) {
    if (seconds < PB_TIMESTAMP_MIN || seconds > PB_TIMESTAMP_MAX || nanos < 0 || nanos > 999999999)
        return false;
    const int64_t day = (seconds - PB_TIMESTAMP_MIN) / 86400;
    const int rest = (int)((seconds - PB_TIMESTAMP_MIN) % 86400);
    int year = (int)(day / 366) + 1; /* not after the right one, and at most seven before it */
    while (days_of(year + 1, 1, 1) + 719162 <= day) year++;
    int left = (int)(day - (days_of(year, 1, 1) + 719162));
    int month = 1;
    for (; left >= days_in(year, month); month++) left -= days_in(year, month);
    size_t len = (size_t)snprintf(out, WEFT_NUM_TEXT, "%04u-%02u-%02uT%02u:%02u:%02u",
                                  (unsigned)year % 10000, (unsigned)month % 100,
                                  (unsigned)(left + 1) % 100, (unsigned)rest / 3600 % 100,
                                  (unsigned)rest / 60 % 60, (unsigned)rest % 60);
    len += put_fraction(out + len, nanos);
    memcpy(out + len, "Z", 2);
    return true;
}

bool pb_format_duration(int64_t seconds, int32_t nanos, char out[WEFT_NUM_TEXT]) {
    if (seconds < -PB_DURATION_MAX || seconds > PB_DURATION_MAX || nanos < -999999999 ||
        nanos > 999999999 || (seconds < 0 && nanos > 0) || (seconds > 0 && nanos < 0))
        return false;
    if ((seconds == PB_DURATION_MAX || seconds == -PB_DURATION_MAX) && nanos) return false;
    const bool negative = seconds < 0 || nanos < 0;
    size_t len = 0;
    if (negative) out[len++] = '-';
    len += (size_t)snprintf(out + len, WEFT_NUM_TEXT - len, "%lld",
                            (long long)(negative ? -seconds : seconds));
    len += put_fraction(out + len, negative ? -nanos : nanos);
    memcpy(out + len, "s", 2);
    return true;
}
