/* The machine's clock, a manual one, and a date format that needs no locale and no lock. */
#include "weft/clock.h"

#include <time.h>

static int64_t read_clock(clockid_t id) {
    struct timespec ts = {0};
    (void)clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * WEFT_NS_PER_S + ts.tv_nsec;
}

static int64_t system_monotonic(void *user) {
    (void)user;
    return read_clock(CLOCK_MONOTONIC);
}

static int64_t system_wall(void *user) {
    (void)user;
    return read_clock(CLOCK_REALTIME);
}

static const weft_clock system_clock = {system_monotonic, system_wall, 0};

const weft_clock *weft_clock_system(void) { return &system_clock; }

static int64_t manual_now(void *user) { return ((const weft_clock_manual *)user)->now; }

void weft_clock_manual_init(weft_clock_manual *manual, int64_t start) {
    manual->clock = (weft_clock){manual_now, manual_now, manual};
    manual->now = start;
}

void weft_clock_manual_advance(weft_clock_manual *manual, int64_t ns) { manual->now += ns; }

int64_t weft_now(const weft_clock *clock) {
    return clock ? clock->monotonic(clock->user) : system_monotonic(0);
}

int64_t weft_wall(const weft_clock *clock) {
    return clock ? clock->wall(clock->user) : system_wall(0);
}

static char *put_digits(char *at, int64_t value, int digits) {
    for (int i = digits - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return at + digits;
}

/* Days since 1970-01-01 to a Gregorian date, in eras of 400 years that begin on 1 March.
 * http://howardhinnant.github.io/date_algorithms.html#civil_from_days */
static void civil_from_days(int64_t days, int64_t *year, int64_t *month, int64_t *day) {
    days += 719468;
    const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    const int64_t doe = days - era * 146097;
    const int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    const int64_t mp = (5 * doy + 2) / 153;
    *day = doy - (153 * mp + 2) / 5 + 1;
    *month = mp < 10 ? mp + 3 : mp - 9;
    *year = yoe + era * 400 + (*month <= 2);
}

char *weft_time_format(int64_t wall_ns, char out[28]) {
    int64_t seconds = wall_ns / WEFT_NS_PER_S;
    int64_t ns = wall_ns % WEFT_NS_PER_S;
    if (ns < 0) {
        ns += WEFT_NS_PER_S;
        seconds--;
    }
    int64_t days = seconds / 86400;
    int64_t rest = seconds % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    int64_t year = 0;
    int64_t month = 0;
    int64_t day = 0;
    civil_from_days(days, &year, &month, &day);
    const struct {
        int64_t value;
        int digits;
        char after;
    } parts[] = {{year, 4, '-'},        {month, 2, '-'},          {day, 2, 'T'},
                 {rest / 3600, 2, ':'}, {rest / 60 % 60, 2, ':'}, {rest % 60, 2, '.'},
                 {ns / 1000, 6, 'Z'}};
    char *at = out;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        at = put_digits(at, parts[i].value, parts[i].digits);
        *at++ = parts[i].after;
    }
    *at = '\0';
    return out;
}
