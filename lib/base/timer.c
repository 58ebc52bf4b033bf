/* Hierarchical timer wheel.
 *
 * Invariants, with t the present tick and w the tick a timer is due:
 *   - a timer in the wheel has w > t, except while its slot is being moved down or fired;
 *   - it sits at the level of the highest 6-bit group in which w and t differ, in the slot its own group
 *     names. So every timer of a level is due before every timer of a higher level, and the lowest set
 *     bit of the lowest occupied level leads to the earliest.
 * A slot is moved down before any timer can be armed at a lower level for the same stretch of time, which
 * keeps equal ticks in order of arming. */
#include "weft/timer.h"

#include "weft/clock.h"

#define BITS 6
#define NO_SLOT UINT16_MAX /* linked in `late` or in the list being fired */

static uint64_t tick_at_or_after(int64_t ns) {
    if (ns <= 0) return 0;
    return (uint64_t)(ns / WEFT_NS_PER_MS + (ns % WEFT_NS_PER_MS != 0));
}

static weft_timer *timer_of(weft_list *link) { return WEFT_CONTAINER(link, weft_timer, link); }

void weft_timer_init(weft_timer *timer, weft_timer_fire fire, void *user) {
    *timer = (weft_timer){.fire = fire, .user = user, .slot = NO_SLOT};
    weft_list_init(&timer->link);
}

void weft_timer_wheel_init(weft_timer_wheel *wheel, int64_t now) {
    for (size_t i = 0; i < WEFT_TIMER_LEVELS * WEFT_TIMER_SLOTS; i++)
        weft_list_init(&wheel->slots[i]);
    for (size_t i = 0; i < WEFT_TIMER_LEVELS; i++) wheel->occupied[i] = 0;
    weft_list_init(&wheel->late);
    wheel->tick = now > 0 ? (uint64_t)(now / WEFT_NS_PER_MS) : 0;
    wheel->count = 0;
    wheel->advancing = 0;
}

/* Links a timer due at `tick` >= wheel->tick. 2^63 ns are below 2^44 ms, so 8 levels always do. */
static void place(weft_timer_wheel *wheel, weft_timer *timer, uint64_t tick) {
    const uint64_t differ = wheel->tick ^ tick;
    const unsigned level = differ ? (63u - (unsigned)__builtin_clzll(differ)) / BITS : 0;
    const unsigned slot = (unsigned)(tick >> (level * BITS)) & (WEFT_TIMER_SLOTS - 1);
    timer->slot = (uint16_t)(level * WEFT_TIMER_SLOTS + slot);
    weft_list_push_back(&wheel->slots[timer->slot], &timer->link);
    wheel->occupied[level] |= UINT64_C(1) << slot;
}

void weft_timer_arm(weft_timer_wheel *wheel, weft_timer *timer, int64_t deadline) {
    weft_timer_cancel(timer);
    if (deadline == WEFT_NO_DEADLINE) return;
    timer->deadline = deadline;
    timer->wheel = wheel;
    wheel->count++;
    const uint64_t tick = tick_at_or_after(deadline);
    if (tick > wheel->tick)
        place(wheel, timer, tick);
    else
        weft_list_push_back(&wheel->late, &timer->link);
}

static void mark_if_empty(weft_timer_wheel *wheel, unsigned index) {
    if (!weft_list_empty(&wheel->slots[index])) return;
    wheel->occupied[index / WEFT_TIMER_SLOTS] &= ~(UINT64_C(1) << index % WEFT_TIMER_SLOTS);
}

void weft_timer_cancel(weft_timer *timer) {
    weft_timer_wheel *wheel = timer->wheel;
    if (!wheel) return;
    weft_list_remove(&timer->link);
    if (timer->slot != NO_SLOT) mark_if_empty(wheel, timer->slot);
    timer->slot = NO_SLOT;
    timer->wheel = NULL;
    wheel->count--;
}

/* The earliest occupied slot and the tick at which it begins; 0 when the wheel is empty. */
static int earliest(const weft_timer_wheel *wheel, unsigned *index, uint64_t *begin) {
    for (unsigned level = 0; level < WEFT_TIMER_LEVELS; level++) {
        if (!wheel->occupied[level]) continue;
        const unsigned slot = (unsigned)__builtin_ctzll(wheel->occupied[level]);
        const unsigned shift = level * BITS;
        const uint64_t above = ~UINT64_C(0) << (shift + BITS);
        *index = level * WEFT_TIMER_SLOTS + slot;
        *begin = (wheel->tick & above) | (uint64_t)slot << shift;
        return 1;
    }
    return 0;
}

static void take_slot(weft_timer_wheel *wheel, unsigned index, weft_list *into) {
    weft_list_init(into);
    weft_list_splice(into, &wheel->slots[index]);
    mark_if_empty(wheel, index);
    weft_list_each(into, at) timer_of(at)->slot = NO_SLOT;
}

/* Stable merge of two lists, each in order of deadline, into `a`. */
static void merge(weft_list *a, weft_list *b) {
    weft_list *at = a->next;
    while (!weft_list_empty(b)) {
        weft_list *from_b = b->next;
        while (at != a && timer_of(at)->deadline <= timer_of(from_b)->deadline) at = at->next;
        weft_list_remove(from_b);
        weft_list_insert_before(at, from_b);
    }
}

/* Timers of one tick, or late ones, by deadline; stable. Bottom-up merge sort: runs[i] is empty or holds
 * 2^i timers. What is in order already, the usual case, is left alone. */
static void sort(weft_list *list) {
    const weft_list *first = list->next;
    while (first->next != list &&
           timer_of((weft_list *)first)->deadline <= timer_of(first->next)->deadline)
        first = first->next;
    if (first->next == list || weft_list_empty(list)) return;
    weft_list runs[32];
    for (size_t i = 0; i < 32; i++) weft_list_init(&runs[i]);
    weft_list *node = NULL;
    while ((node = weft_list_pop_front(list))) {
        weft_list carry;
        weft_list_init(&carry);
        weft_list_push_back(&carry, node);
        size_t i = 0;
        for (; i < 31 && !weft_list_empty(&runs[i]); i++) {
            merge(&runs[i], &carry);
            weft_list_splice(&carry, &runs[i]);
        }
        if (!weft_list_empty(&runs[i]))
            merge(&runs[i], &carry);
        else
            weft_list_splice(&runs[i], &carry);
    }
    for (size_t i = 32; i-- > 0;) merge(list, &runs[i]);
}

/* Fires what is in `due`; callbacks may take timers out of it, never put any in. */
static size_t fire_all(weft_timer_wheel *wheel, weft_list *due, int64_t now) {
    size_t fired = 0;
    weft_list *link = NULL;
    sort(due);
    while ((link = weft_list_pop_front(due))) {
        weft_timer *timer = timer_of(link);
        timer->wheel = NULL;
        wheel->count--;
        fired++;
        timer->fire(timer, now);
    }
    return fired;
}

size_t weft_timer_wheel_advance(weft_timer_wheel *wheel, int64_t now) {
    if (wheel->advancing) return 0;
    wheel->advancing = 1;
    const uint64_t target = now > 0 ? (uint64_t)(now / WEFT_NS_PER_MS) : 0;
    weft_list due;
    weft_list_init(&due);
    weft_list_splice(&due, &wheel->late);
    size_t fired = fire_all(wheel, &due, now);
    unsigned index = 0;
    uint64_t begin = 0;
    while (earliest(wheel, &index, &begin) && begin <= target) {
        wheel->tick = begin;
        take_slot(wheel, index, &due);
        if (index < WEFT_TIMER_SLOTS) {
            fired += fire_all(wheel, &due, now);
            continue;
        }
        weft_list *link = NULL;
        while ((link = weft_list_pop_front(&due)))
            place(wheel, timer_of(link), tick_at_or_after(timer_of(link)->deadline));
    }
    if (target > wheel->tick) wheel->tick = target;
    wheel->advancing = 0;
    return fired;
}

int64_t weft_timer_wheel_next(const weft_timer_wheel *wheel) {
    unsigned index = 0;
    uint64_t begin = 0;
    if (!weft_list_empty(&wheel->late)) return (int64_t)wheel->tick * WEFT_NS_PER_MS;
    if (!earliest(wheel, &index, &begin)) return WEFT_NO_DEADLINE;
    if (begin > (uint64_t)(INT64_MAX / WEFT_NS_PER_MS)) return WEFT_NO_DEADLINE;
    return (int64_t)begin * WEFT_NS_PER_MS;
}

size_t weft_timer_wheel_count(const weft_timer_wheel *wheel) { return wheel->count; }
