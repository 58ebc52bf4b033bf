/* Timers for one event loop: arm and cancel in O(1), any number, any horizon.
 *
 * A hierarchical wheel (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987) of 8 levels of
 * 64 slots; level n holds what differs from the present first in its n-th group of 6 bits of the
 * millisecond count. Timers are the caller's, linked in place: nothing allocates, nothing fails. The wheel
 * never reads a clock: time comes in through _advance. One thread at a time. */
#ifndef WEFT_TIMER_H
#define WEFT_TIMER_H

#include <stddef.h>
#include <stdint.h>

#include "weft/list.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_TIMER_LEVELS 8
#define WEFT_TIMER_SLOTS 64

typedef struct weft_timer weft_timer;
typedef struct weft_timer_wheel weft_timer_wheel;

/* Runs once a timer is due. `now` is what _advance was given. The timer is disarmed already: the callback
 * may arm it again, free it, and arm or cancel any other timer; it must not call _advance. */
typedef void (*weft_timer_fire)(weft_timer *timer, int64_t now);

/* Caller-owned; must not move or be freed while armed. Read `deadline` and `user`, leave the rest. */
struct weft_timer {
    weft_list link;
    weft_timer_wheel *wheel; /* NULL: not armed */
    weft_timer_fire fire;
    void *user;
    int64_t deadline; /* ns, as given to _arm */
    uint16_t slot;
};

/* Fields are private. About 8 KiB. */
struct weft_timer_wheel {
    weft_list slots[WEFT_TIMER_LEVELS * WEFT_TIMER_SLOTS];
    uint64_t occupied[WEFT_TIMER_LEVELS]; /* bit s: slot s of the level is not empty */
    weft_list late; /* armed for a moment that is over: due at the next advance */
    uint64_t tick;  /* the present, in ms */
    size_t count;
    int advancing;
};

/* A disarmed timer. `fire` is not NULL; `user` is for the callback. */
void weft_timer_init(weft_timer *timer, weft_timer_fire fire, void *user);

/* Arms, or re-arms, `timer` to fire at the first _advance to `deadline` or later (monotonic ns), rounded
 * up to a whole millisecond: never early, at most 1 ms late. A deadline that is over fires at the next
 * _advance. WEFT_NO_DEADLINE disarms. */
void weft_timer_arm(weft_timer_wheel *wheel, weft_timer *timer, int64_t deadline);

/* Disarms; harmless when not armed. */
void weft_timer_cancel(weft_timer *timer);

static inline int weft_timer_armed(const weft_timer *timer) { return timer->wheel != NULL; }

/* An empty wheel whose present is `now` (ns, from 0). The wheel must not move. There is nothing to free:
 * a wheel may end once no timer is armed in it. */
void weft_timer_wheel_init(weft_timer_wheel *wheel, int64_t now);

/* Moves the present to `now` and fires what is due, in order of deadline, equal deadlines in order of
 * arming. A timer armed from a callback fires in the same call if its millisecond lies after that of the
 * timer being fired and not after `now`; otherwise at a later call, so a call always ends. Time that runs
 * backwards fires only what was armed late. Returns how many fired. */
size_t weft_timer_wheel_advance(weft_timer_wheel *wheel, int64_t now);

/* When to call _advance next: never after the earliest deadline (rounded up), but for far deadlines
 * sometimes before it, when timers move down a level; at most WEFT_TIMER_LEVELS such calls a timer. ns;
 * WEFT_NO_DEADLINE when nothing is armed; the present or less when something is due already. O(1). */
int64_t weft_timer_wheel_next(const weft_timer_wheel *wheel);

/* How many timers are armed. */
size_t weft_timer_wheel_count(const weft_timer_wheel *wheel);

#ifdef __cplusplus
}
#endif
#endif
