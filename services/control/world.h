/* What the resources of every node are built from: documents and registry at one moment. Immutable, shared by
 * reference; streams wait for the next one. Any thread. */
#ifndef SERVICES_CONTROL_WORLD_H
#define SERVICES_CONTROL_WORLD_H

#include <pthread.h>
#include <stdatomic.h>

#include "services/control/model/model.h"
#include "services/control/model/registry_view.h"
#include "weft/list.h"

/* One revision of the documents: many worlds share it. */
typedef struct world_docs {
    weft_arena *arena; /* holds all of it */
    const model_set *set;
    int64_t sequence; /* of the head */
    atomic_uint refs;
} world_docs;

/* Takes the arena over; NULL: memory is out, and the arena is freed. */
world_docs *world_docs_new(weft_arena *arena, const model_set *set, int64_t sequence);
void world_docs_unref(world_docs *docs); /* NULL is allowed */

typedef struct world {
    weft_arena *arena; /* holds the view and this */
    world_docs *docs;
    registry_view view;
    uint64_t members; /* version of the registry */
    uint64_t number;  /* of this world, from 1 */
    atomic_uint refs;
} world;

/* In an arena of its own that it takes over, with a reference to `docs` of its own; NULL: memory is out, and the
 * arena is freed. */
world *world_new(weft_arena *arena, world_docs *docs, const registry_view *view);
world *world_ref(world *w);
void world_unref(world *w); /* NULL is allowed */

/* Where the present one is. */
typedef struct world_slot {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    weft_list watches;
    world *now; /* NULL before the first */
    uint64_t last;
    bool closed;
} world_slot;

void world_slot_init(world_slot *slot);
void world_slot_end(world_slot *slot);
/* Takes over the reference, gives it its number, wakes who waits. */
void world_publish(world_slot *slot, world *w);
/* A reference to the present one; NULL before the first. */
world *world_get(world_slot *slot);
/* Once there is one with a number above `after`; NULL at `deadline` (monotonic ns of the system's clock) or when
 * the slot is closed. */
world *world_wait(world_slot *slot, uint64_t after, int64_t deadline);
void world_close(world_slot *slot);

/* Tells someone of every new world, and of the end, under the slot's lock: `changed` must not call back. */
typedef struct world_watch {
    weft_list link;
    void (*changed)(struct world_watch *watch);
} world_watch;
void world_watch_begin(world_slot *slot, world_watch *watch);
void world_watch_end(world_slot *slot, world_watch *watch);
bool world_closed(world_slot *slot);

#endif
