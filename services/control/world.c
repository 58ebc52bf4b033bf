/* Documents and registry at one moment: see world.h. */
#include "services/control/world.h"

#include <time.h>

#include "weft/clock.h"

world_docs *world_docs_new(weft_arena *arena, const model_set *set, int64_t sequence) {
    world_docs *docs = weft_arena_calloc(arena, 1, sizeof *docs);
    if (!docs) {
        weft_arena_free(arena);
        return NULL;
    }
    docs->arena = arena;
    docs->set = set;
    docs->sequence = sequence;
    atomic_init(&docs->refs, 1);
    return docs;
}

void world_docs_unref(world_docs *docs) {
    if (docs && atomic_fetch_sub_explicit(&docs->refs, 1, memory_order_acq_rel) == 1)
        weft_arena_free(docs->arena);
}

world *world_new(weft_arena *arena, world_docs *docs, const registry_view *view) {
    world *w = weft_arena_calloc(arena, 1, sizeof *w);
    if (!w) {
        weft_arena_free(arena);
        return NULL;
    }
    w->arena = arena;
    w->docs = docs;
    (void)atomic_fetch_add_explicit(&docs->refs, 1, memory_order_relaxed);
    w->view = *view;
    atomic_init(&w->refs, 1);
    return w;
}

world *world_ref(world *w) {
    (void)atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed);
    return w;
}

void world_unref(world *w) {
    if (!w || atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) != 1) return;
    world_docs_unref(w->docs);
    weft_arena_free(w->arena);
}

void world_slot_init(world_slot *slot) {
    pthread_condattr_t monotonic;
    *slot = (world_slot){0};
    weft_list_init(&slot->watches);
    (void)pthread_mutex_init(&slot->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&slot->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

void world_slot_end(world_slot *slot) {
    world_unref(slot->now);
    (void)pthread_cond_destroy(&slot->changed);
    (void)pthread_mutex_destroy(&slot->lock);
}

/* Under the lock. */
static void tell(world_slot *slot) {
    (void)pthread_cond_broadcast(&slot->changed);
    weft_list_each(&slot->watches, at) {
        world_watch *watch = WEFT_CONTAINER(at, world_watch, link);
        watch->changed(watch);
    }
}

void world_watch_begin(world_slot *slot, world_watch *watch) {
    (void)pthread_mutex_lock(&slot->lock);
    weft_list_init(&watch->link);
    weft_list_push_back(&slot->watches, &watch->link);
    (void)pthread_mutex_unlock(&slot->lock);
}

void world_watch_end(world_slot *slot, world_watch *watch) {
    (void)pthread_mutex_lock(&slot->lock);
    weft_list_remove(&watch->link);
    (void)pthread_mutex_unlock(&slot->lock);
}

void world_publish(world_slot *slot, world *w) {
    (void)pthread_mutex_lock(&slot->lock);
    world *before = slot->now;
    w->number = ++slot->last;
    slot->now = w;
    tell(slot);
    (void)pthread_mutex_unlock(&slot->lock);
    world_unref(before);
}

world *world_get(world_slot *slot) {
    (void)pthread_mutex_lock(&slot->lock);
    world *w = slot->now ? world_ref(slot->now) : NULL;
    (void)pthread_mutex_unlock(&slot->lock);
    return w;
}

world *world_wait(world_slot *slot, uint64_t after, int64_t deadline) {
    const struct timespec until = {.tv_sec = deadline / WEFT_NS_PER_S,
                                   .tv_nsec = deadline % WEFT_NS_PER_S};
    world *w = NULL;
    int late = 0;
    (void)pthread_mutex_lock(&slot->lock);
    while (!slot->closed && slot->last <= after && !late)
        late = pthread_cond_timedwait(&slot->changed, &slot->lock, &until);
    if (!slot->closed && slot->last > after) w = world_ref(slot->now);
    (void)pthread_mutex_unlock(&slot->lock);
    return w;
}

void world_close(world_slot *slot) {
    (void)pthread_mutex_lock(&slot->lock);
    slot->closed = true;
    tell(slot);
    (void)pthread_mutex_unlock(&slot->lock);
}

bool world_closed(world_slot *slot) {
    (void)pthread_mutex_lock(&slot->lock);
    const bool closed = slot->closed;
    (void)pthread_mutex_unlock(&slot->lock);
    return closed;
}
