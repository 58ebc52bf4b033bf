#include "sidecar/deadlines.h"

#include "weft/mem.h"

static void note(deadlines *d, int64_t at) {
    if (at >= d->least) return;
    d->least = at;
    weft_timer_arm(d->wheel, &d->timer, at);
}

static int grow(deadlines *d) {
    const uint32_t cap = d->cap ? 2 * d->cap : 64;
    deadline *places = weft_realloc(d->places, cap * sizeof *places);
    if (!places) return WEFT_ENOMEM;
    d->places = places;
    d->cap = cap;
    return 0;
}

uint32_t deadline_add(deadlines *d, int64_t at, void *owner) {
    uint32_t place = d->free;
    if (place != DEADLINE_NONE) {
        d->free = (uint32_t)(uintptr_t)d->places[place].owner;
    } else {
        if (d->used == d->cap && grow(d)) return DEADLINE_NONE;
        place = d->used++;
    }
    d->places[place] = (deadline){at, owner};
    note(d, at);
    return place;
}

/* Free places at the end are forgotten, the others are taken again from the front on. */
static void tidy(deadlines *d) {
    while (d->used && d->places[d->used - 1].at == INT64_MAX) d->used--;
    d->free = DEADLINE_NONE;
    for (uint32_t i = d->used; i-- > 0;)
        if (d->places[i].at == INT64_MAX) deadline_remove(d, i);
}

static void look(weft_timer *timer, int64_t now) {
    deadlines *d = timer->user;
    const uint32_t count = d->used; /* what `due` adds behind them is for the next look */
    for (uint32_t i = 0; i < count; i++) {
        const deadline it = d->places[i];
        if (it.at > now) continue;
        deadline_remove(d, i);
        d->due(it.owner, now);
    }
    tidy(d);
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < d->used; i++)
        if (d->places[i].at < least) least = d->places[i].at;
    d->least = INT64_MAX;
    note(d, least);
}

void deadlines_init(deadlines *d, weft_timer_wheel *wheel, void (*due)(void *owner, int64_t now)) {
    *d = (deadlines){.wheel = wheel, .due = due, .free = DEADLINE_NONE, .least = INT64_MAX};
    weft_timer_init(&d->timer, look, d);
}

void deadlines_stop(deadlines *d) { weft_timer_cancel(&d->timer); }

void deadlines_free(deadlines *d) {
    weft_free(d->places);
    d->places = NULL;
}
