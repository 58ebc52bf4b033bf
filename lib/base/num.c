/* Strict numbers, durations and sizes, untouched by the locale. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* strtod_l */
#endif
#include "weft/num.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "weft/clock.h"

typedef unsigned __int128 wide;

static int is_digit(char c) { return c >= '0' && c <= '9'; }

static int is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* Reads the digits at *at into *value; WEFT_ELIMIT above UINT64_MAX (the digits are still consumed). */
static int scan_digits(const char **at, uint64_t *value) {
    int rc = is_digit(**at) ? 0 : WEFT_EPARSE;
    uint64_t sum = 0;
    for (; is_digit(**at); (*at)++)
        if (__builtin_mul_overflow(sum, 10u, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(**at - '0'), &sum))
            rc = WEFT_ELIMIT;
    *value = sum;
    return rc;
}

int weft_parse_uint64(const char *text, uint64_t *value) {
    uint64_t sum = 0;
    if (!text) return WEFT_EPARSE;
    if (*text == '+') text++;
    int rc = scan_digits(&text, &sum);
    if (rc == WEFT_EPARSE || *text) return WEFT_EPARSE;
    if (!rc) *value = sum;
    return rc;
}

int weft_parse_int64(const char *text, int64_t *value) {
    uint64_t sum = 0;
    if (!text) return WEFT_EPARSE;
    const int negative = *text == '-';
    if (*text == '-' || *text == '+') text++;
    int rc = scan_digits(&text, &sum);
    if (rc == WEFT_EPARSE || *text) return WEFT_EPARSE;
    const uint64_t limit = (uint64_t)INT64_MAX + (uint64_t)negative;
    if (rc || sum > limit) return WEFT_ELIMIT;
    *value = negative ? (int64_t)(0 - sum) : (int64_t)sum;
    return 0;
}

static locale_t c_locale(void) {
    static _Atomic(locale_t) made;
    locale_t locale = atomic_load(&made);
    if (locale) return locale;
    locale =
        newlocale(LC_ALL_MASK, "C", (locale_t)0); /* a static object in glibc: nothing to free */
    if (locale) atomic_store(&made, locale);
    return locale;
}

/* [+-] digits [. digits] [e [+-] digits], at least one digit in the mantissa, to the end of the text. */
static int is_decimal(const char *text) {
    const char *at = text;
    if (*at == '-' || *at == '+') at++;
    size_t digits = 0;
    for (; is_digit(*at); at++) digits++;
    if (*at == '.')
        for (at++; is_digit(*at); at++) digits++;
    if (!digits) return 0;
    if (*at == 'e' || *at == 'E') {
        at++;
        if (*at == '-' || *at == '+') at++;
        if (!is_digit(*at)) return 0;
        while (is_digit(*at)) at++;
    }
    return !*at;
}

int weft_parse_double(const char *text, double *value) {
    if (!text || !is_decimal(text)) return WEFT_EPARSE;
    const int saved = errno;
    const locale_t locale = c_locale();
    const double parsed = locale ? strtod_l(text, NULL, locale) : strtod(text, NULL);
    errno = saved;
    if (isinf(parsed)) return WEFT_ELIMIT;
    *value = parsed;
    return 0;
}

int weft_parse_bool(const char *text, int *value) {
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    if (!text) return WEFT_EPARSE;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(words[i], text) != 0) continue;
        *value = (int)(i % 2);
        return 0;
    }
    return WEFT_EPARSE;
}

typedef struct unit {
    const char *name;
    uint64_t scale;
} unit;

static const unit durations[] = {
    {"ns", 1},
    {"us", UINT64_C(1000)},
    {"ms", UINT64_C(1000000)},
    {"s", UINT64_C(1000000000)},
    {"m", UINT64_C(60000000000)},
    {"h", UINT64_C(3600000000000)},
    {"d", UINT64_C(86400000000000)},
    {NULL, 0},
};

static const unit sizes[] = {
    {"", 1},
    {"B", 1},
    {"KiB", UINT64_C(1) << 10},
    {"MiB", UINT64_C(1) << 20},
    {"GiB", UINT64_C(1) << 30},
    {"TiB", UINT64_C(1) << 40},
    {"kB", UINT64_C(1000)},
    {"KB", UINT64_C(1000)},
    {"MB", UINT64_C(1000000)},
    {"GB", UINT64_C(1000000000)},
    {"TB", UINT64_C(1000000000000)},
    {NULL, 0},
};

/* Reads `digits [. digits] letters` at *at. Stores the exact product of number and unit, and the unit's
 * scale. */
static int scan_scaled(const char **at, const unit *units, wide *value, uint64_t *scale) {
    uint64_t whole = 0;
    uint64_t part = 0;  /* the fraction's digits as a number, ... */
    uint64_t power = 1; /* ... over this power of ten */
    int rc = scan_digits(at, &whole);
    if (rc == WEFT_EPARSE) return rc;
    if (**at == '.') {
        (*at)++;
        if (!is_digit(**at)) return WEFT_EPARSE;
        for (; is_digit(**at); (*at)++) {
            if (power < UINT64_C(1000000000000000000)) {
                part = part * 10 + (uint64_t)(**at - '0');
                power *= 10;
            } else if (**at != '0') {
                return WEFT_EPARSE;
            }
        }
    }
    size_t len = 0;
    while (is_letter((*at)[len])) len++;
    for (; units->name; units++)
        if (strlen(units->name) == len && !memcmp(units->name, *at, len)) break;
    if (!units->name) return WEFT_EPARSE;
    *at += len;
    const wide fraction = (wide)part * units->scale;
    if (fraction % power) return WEFT_EPARSE;
    if (rc) return rc;
    *value = (wide)whole * units->scale + fraction / power;
    *scale = units->scale;
    return 0;
}

int weft_parse_duration(const char *text, int64_t *ns) {
    if (!text) return WEFT_EPARSE;
    const int negative = *text == '-';
    if (negative) text++;
    if (!strcmp(text, "0")) {
        *ns = 0;
        return 0;
    }
    const wide limit = (wide)INT64_MAX + (wide)negative;
    wide sum = 0;
    uint64_t last_scale = UINT64_MAX;
    int too_large = 0;
    do {
        wide value = 0;
        uint64_t scale = 0;
        int rc = scan_scaled(&text, durations, &value, &scale);
        if (rc == WEFT_ELIMIT)
            too_large = 1;
        else if (rc || scale >= last_scale)
            return WEFT_EPARSE;
        else
            last_scale = scale;
        sum += value;
        if (sum > limit) too_large = 1;
    } while (*text);
    if (too_large) return WEFT_ELIMIT;
    *ns = negative ? (int64_t)(0 - (uint64_t)sum) : (int64_t)sum;
    return 0;
}

int weft_parse_size(const char *text, uint64_t *bytes) {
    wide value = 0;
    uint64_t scale = 0;
    if (!text) return WEFT_EPARSE;
    int rc = scan_scaled(&text, sizes, &value, &scale);
    if (rc == WEFT_EPARSE || *text) return WEFT_EPARSE;
    if (rc || value > UINT64_MAX) return WEFT_ELIMIT;
    *bytes = (uint64_t)value;
    return 0;
}

const char *weft_num_expected(weft_num_kind kind) {
    switch (kind) {
    case WEFT_NUM_INT64:
        return "a whole number";
    case WEFT_NUM_UINT64:
        return "a whole number, 0 or more";
    case WEFT_NUM_DOUBLE:
        return "a number such as 0.25";
    case WEFT_NUM_BOOL:
        return "true or false";
    case WEFT_NUM_DURATION:
        return "a duration such as 250ms, 1.5s, 2m or 1h30m";
    case WEFT_NUM_SIZE:
        return "a size in bytes such as 4096, 64KiB or 1.5MiB";
    }
    return "a number";
}

size_t weft_format_uint64(uint64_t value, char out[WEFT_NUM_TEXT]) {
    char reversed[20];
    size_t len = 0;
    do {
        reversed[len++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    for (size_t i = 0; i < len; i++) out[i] = reversed[len - 1 - i];
    out[len] = '\0';
    return len;
}

size_t weft_format_int64(int64_t value, char out[WEFT_NUM_TEXT]) {
    if (value >= 0) return weft_format_uint64((uint64_t)value, out);
    char digits[WEFT_NUM_TEXT];
    const size_t len = weft_format_uint64(0 - (uint64_t)value, digits);
    out[0] = '-';
    memcpy(out + 1, digits, len + 1);
    return len + 1;
}

size_t weft_format_double(double value, char out[WEFT_NUM_TEXT]) {
    if (!isfinite(value)) {
        const char *word = isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
        const size_t len = strlen(word);
        memcpy(out, word, len + 1);
        return len;
    }
    /* A double survives 17 digits and often fewer (IEEE 754-2008, 5.12.2). */
    size_t len = 0;
    for (int digits = 15; digits <= 17; digits++) {
        char text[WEFT_NUM_TEXT];
        double back = 0;
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        len = 0;
        for (const char *c = text; *c; c++) {
            if (is_digit(*c) || strchr("+-e", *c))
                out[len++] = *c;
            else if (!len || out[len - 1] != '.')
                out[len++] = '.'; /* the locale's decimal point, of one byte or more */
        }
        out[len] = '\0';
        if (!weft_parse_double(out, &back) && memcmp(&back, &value, sizeof back) == 0) break;
    }
    return len;
}

/* Appends value/scale with its unit, without trailing zeros: 1500000, "ms", 1000000 -> "1.5ms". */
static size_t put_fraction(char *out, uint64_t value, const unit *u) {
    size_t len = weft_format_uint64(value / u->scale, out);
    uint64_t rest = value % u->scale;
    if (rest) out[len++] = '.';
    for (uint64_t step = u->scale / 10; rest; step /= 10) {
        out[len++] = (char)('0' + rest / step);
        rest %= step;
    }
    memcpy(out + len, u->name, strlen(u->name) + 1);
    return len + strlen(u->name);
}

size_t weft_format_duration(int64_t ns, char out[WEFT_NUM_TEXT]) {
    size_t len = 0;
    uint64_t left = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    if (!left) {
        memcpy(out, "0s", 3);
        return 2;
    }
    if (ns < 0) out[len++] = '-';
    for (size_t i = 5; i >= 4; i--) { /* whole hours, whole minutes */
        if (left < durations[i].scale) continue;
        len += put_fraction(out + len, left - left % durations[i].scale, &durations[i]);
        left %= durations[i].scale;
    }
    for (size_t i = 3; left; i--) { /* the rest in its largest unit */
        if (left < durations[i].scale) continue;
        len += put_fraction(out + len, left, &durations[i]);
        break;
    }
    return len;
}

size_t weft_format_size(uint64_t bytes, char out[WEFT_NUM_TEXT]) {
    const unit *best = &sizes[1];
    for (size_t i = 2; i <= 5; i++)
        if (bytes && bytes % sizes[i].scale == 0) best = &sizes[i];
    size_t len = weft_format_uint64(bytes / best->scale, out);
    memcpy(out + len, best->name, strlen(best->name) + 1);
    return len + strlen(best->name);
}
