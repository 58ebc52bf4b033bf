/* By when a worker's calls must be over.
 *
 * Most calls end long before their deadline, so adding and removing one must cost next to nothing, and
 * finding those that are due may cost more: a table without order, looked through when the least of
 * what was ever added since the last look is due. One timer of the loop's wheel stands for all. */
#ifndef SIDECAR_DEADLINES_H
#define SIDECAR_DEADLINES_H

#include <stdint.h>

#include "weft/error.h"
#include "weft/timer.h"

typedef struct deadline {
    int64_t at;  /* monotonic ns; INT64_MAX: the place is free */
    void *owner; /* free: the next free place */
} deadline;

typedef struct deadlines {
    deadline *places;
    uint32_t used, cap; /* places taken or once taken; and room for */
    uint32_t free;      /* the first free one below `used`, or DEADLINE_NONE */
    int64_t least;      /* no deadline is before; INT64_MAX: there is none */
    weft_timer_wheel *wheel;
    weft_timer timer;
    void (*due)(void *owner, int64_t now);
} deadlines;

#define DEADLINE_NONE UINT32_MAX

/* `due` is called from the wheel's advance, at `at` or up to a millisecond later, once; the deadline is
 * removed by then, and `due` may add and remove others. */
void deadlines_init(deadlines *d, weft_timer_wheel *wheel, void (*due)(void *owner, int64_t now));
/* Lets go of the wheel; deadlines may only be removed after this. */
void deadlines_stop(deadlines *d);
/* After _stop. Both are harmless for zeroed memory. */
void deadlines_free(deadlines *d);

/* The place to give to deadline_remove; DEADLINE_NONE when memory is out. */
uint32_t deadline_add(deadlines *d, int64_t at, void *owner) WEFT_MUST_USE;

static inline void deadline_remove(deadlines *d, uint32_t place) {
    d->places[place].at = INT64_MAX;
    d->places[place].owner = (void *)(uintptr_t)d->free;
    d->free = place;
}

#endif
