/* Who is there: instances on leases. No I/O, no clock: every call says what time it is (monotonic ns, or any
 * other that does not run backwards). One thread at a time.
 *
 *     register ──► UP ──stream broke──► LOST ──grace passed──► DOWN ──kept long enough──► forgotten
 *                  │ ▲                   │                      ▲
 *                  │ └──registers again──┘                      │
 *                  └──no heartbeat for down_after───────────────┘   (a heartbeat brings it back)
 *
 * UP and LOST are in the view that endpoints are made of, DOWN is not. The version counts changes of the
 * view: what changes nothing for callers (a heartbeat, a stream that broke and is back in time) leaves it. */
#ifndef SERVICES_CONTROL_REGISTRY_REGISTRY_H
#define SERVICES_CONTROL_REGISTRY_REGISTRY_H

#include "services/control/model/registry_view.h"
#include "weft/arena.h"
#include "weft/clock.h"
#include "weft/error.h"

#define REGISTRY_HEARTBEAT (10 * WEFT_NS_PER_S)
#define REGISTRY_DOWN_AFTER (30 * WEFT_NS_PER_S)
#define REGISTRY_GRACE (5 * WEFT_NS_PER_S)
#define REGISTRY_KEEP (600 * WEFT_NS_PER_S) /* how long one that is DOWN is still listed */
#define REGISTRY_INSTANCES_MAX 10000u
#define REGISTRY_LABELS_MAX 32u
#define REGISTRY_NAMES_MAX 512u        /* gRPC services or methods of one instance, a list */
#define REGISTRY_INSTANCE_BYTES 65536u /* all of its strings */

typedef struct registry_options {
    int64_t down_after; /* ns; 0: as above */
    int64_t grace;
    int64_t keep;
    size_t max; /* instances */
} registry_options;

typedef struct registry registry;

registry *registry_new(const registry_options *options); /* NULL: memory is out */
void registry_free(registry *all);                       /* NULL is allowed */

/* What is there is as `claim` says, which is copied; `health` and `draining` too. A lease that an earlier
 * stream of this instance held is void from now on. *lease is never 0. WEFT_EINVAL: `why` (static) says what is
 * wrong with the claim; WEFT_EEXIST: another service has an instance of that id; WEFT_ELIMIT; WEFT_ENOMEM. */
int registry_register(registry *all, const registry_view_instance *claim, int64_t now,
                      uint64_t *lease, const char **why) WEFT_MUST_USE;

/* WEFT_ECONFLICT: the lease is void, another stream has taken over or the instance is forgotten. */
int registry_heartbeat(registry *all, uint64_t lease, int64_t now, registry_view_health health,
                       bool draining) WEFT_MUST_USE;

/* Whether the lease holds still. */
bool registry_holds(const registry *all, uint64_t lease);

/* Its stream ended without a word; its instance left. A void lease is ignored. */
void registry_broke(registry *all, uint64_t lease, int64_t now);
void registry_leave(registry *all, uint64_t lease, int64_t now);

/* Takes out what is over. Returns when to call again, INT64_MAX: not before something else happens. */
int64_t registry_tick(registry *all, int64_t now);

/* From before a restart: LOST, and DOWN unless back within down_after. What is not good is left out. */
void registry_restore(registry *all, const registry_view *before, int64_t now);

uint64_t registry_version(const registry *all);

/* A copy of what callers may use now, in `arena`, sorted by namespace, service, id. WEFT_ENOMEM. */
int registry_view_make(const registry *all, weft_arena *arena, registry_view *out) WEFT_MUST_USE;

typedef enum registry_state { REGISTRY_UP, REGISTRY_LOST, REGISTRY_DOWN } registry_state;

typedef struct registry_entry {
    const registry_view_instance *instance; /* lives until the next call that changes anything */
    registry_state state;
    int64_t registered; /* since when, of the clock above */
    int64_t heard;      /* last register or heartbeat */
} registry_entry;

/* All, DOWN ones too: start with *cursor 0; false at the end. */
bool registry_next(const registry *all, size_t *cursor, registry_entry *out);

typedef struct registry_counts {
    size_t instances, up, lost, down;
} registry_counts;
registry_counts registry_count(const registry *all);

#endif
