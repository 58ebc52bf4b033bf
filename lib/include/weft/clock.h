/* Time comes in through this door, so that tests and the simulated mesh own it.
 * All times are nanoseconds in int64_t: monotonic for deadlines, wall (Unix epoch) for records. */
#ifndef WEFT_CLOCK_H
#define WEFT_CLOCK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_NS_PER_US INT64_C(1000)
#define WEFT_NS_PER_MS INT64_C(1000000)
#define WEFT_NS_PER_S INT64_C(1000000000)
#define WEFT_NO_DEADLINE INT64_MAX

typedef struct weft_clock {
    int64_t (*monotonic)(void *user);
    int64_t (*wall)(void *user);
    void *user;
} weft_clock;

/* The machine's clock. Never NULL; any thread. */
const weft_clock *weft_clock_system(void);

/* A clock that stands still until told: both readings start at `start` and move by _advance. */
typedef struct weft_clock_manual {
    weft_clock clock; /* pass &manual.clock */
    int64_t now;      /* monotonic and wall */
} weft_clock_manual;
void weft_clock_manual_init(weft_clock_manual *manual, int64_t start);
void weft_clock_manual_advance(weft_clock_manual *manual, int64_t ns);

/* NULL `clock` means the system's. */
int64_t weft_now(const weft_clock *clock);
int64_t weft_wall(const weft_clock *clock);

/* "2026-01-31T23:59:59.123456Z" into out[28]; returns out. */
char *weft_time_format(int64_t wall_ns, char out[28]);

#ifdef __cplusplus
}
#endif
#endif
