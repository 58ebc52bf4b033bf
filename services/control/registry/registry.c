/* Who is there: see registry.h. */
#include "services/control/registry/registry.h"

#include <stdlib.h>
#include <string.h>

#include "services/control/registry/claim.h"
#include "weft/map.h"
#include "weft/mem.h"

/* Invariants: `lease` is in `leases` exactly while it is not 0; `until` is set while LOST or DOWN. */
typedef struct member {
    registry_view_instance is; /* strings in `arena` */
    weft_arena *arena;
    registry_state state;
    uint64_t lease;
    int64_t registered, heard;
    int64_t until; /* when the present state is over */
} member;

struct registry {
    registry_options options;
    weft_map members; /* by id; owned */
    weft_map leases;  /* by the 8 bytes of a lease; borrowed */
    uint64_t last_lease, version;
};

registry *registry_new(const registry_options *options) {
    registry *all = weft_calloc(1, sizeof *all);
    if (!all) return NULL;
    if (options) all->options = *options;
    registry_options *o = &all->options;
    if (!o->down_after) o->down_after = REGISTRY_DOWN_AFTER;
    if (!o->grace) o->grace = REGISTRY_GRACE;
    if (!o->keep) o->keep = REGISTRY_KEEP;
    if (!o->max) o->max = REGISTRY_INSTANCES_MAX;
    weft_map_init(&all->members, o->max);
    weft_map_init(&all->leases,
                  o->max + 1); /* the old and the new one of a stream that takes over */
    return all;
}

static void member_free(void *value) {
    member *m = value;
    weft_arena_free(m->arena);
    weft_free(m);
}

void registry_free(registry *all) {
    if (!all) return;
    weft_map_free(&all->leases, NULL);
    weft_map_free(&all->members, member_free);
    weft_free(all);
}

static int64_t after(int64_t now, int64_t ns) {
    return now > INT64_MAX - ns ? INT64_MAX : now + ns;
}
static bool visible(const member *m) { return m->state != REGISTRY_DOWN; }

/* ---- leases */

static void lease_void(registry *all, member *m) {
    if (m->lease) (void)weft_map_remove_bytes(&all->leases, &m->lease, sizeof m->lease);
    m->lease = 0;
}

static member *holder(const registry *all, uint64_t lease) {
    return weft_map_get_bytes(&all->leases, &lease, sizeof lease);
}

bool registry_holds(const registry *all, uint64_t lease) { return holder(all, lease) != NULL; }

/* ---- states */

static void go(registry *all, member *m, registry_state state, int64_t until) {
    const bool was = visible(m);
    m->state = state;
    m->until = until;
    if (was != visible(m)) all->version++;
}

static void forget(registry *all, member *m) {
    if (visible(m)) all->version++;
    lease_void(all, m);
    (void)weft_map_remove(&all->members, m->is.id);
    member_free(m);
}

/* The process at this address was restarted: who was there before, and is heard of no more, is gone. */
static void evict(registry *all, const member *fresh) {
    size_t at = 0;
    void *value;
    if (!*fresh->is.address) return;
    while (weft_map_next(&all->members, &at, NULL, NULL, &value)) {
        member *m = value;
        if (m != fresh && m->state != REGISTRY_UP && !strcmp(m->is.address, fresh->is.address))
            forget(all, m);
    }
}

static int member_make(const registry_view_instance *claim, member **out) {
    member *m = weft_calloc(1, sizeof *m);
    if (!m) return WEFT_ENOMEM;
    m->arena = weft_arena_new(REGISTRY_INSTANCE_BYTES);
    const int error = m->arena ? claim_copy(claim, m->arena, &m->is) : WEFT_ENOMEM;
    if (error) {
        member_free(m);
        return error;
    }
    *out = m;
    return 0;
}

int registry_register(registry *all, const registry_view_instance *claim, int64_t now,
                      uint64_t *lease, const char **why) {
    member *fresh = NULL;
    int error = claim_check(claim, why);
    if (error) return error;
    member *old = weft_map_get(&all->members, claim->id);
    if (old && (strcmp(old->is.service, claim->service) != 0 ||
                strcmp(old->is.name_space, claim->name_space) != 0))
        return WEFT_EEXIST;
    error = member_make(claim, &fresh);
    if (error) return error;
    const uint64_t id = all->last_lease + 1;
    error = weft_map_put_bytes(&all->leases, &id, sizeof id, fresh);
    if (!error) error = weft_map_put(&all->members, claim->id, fresh);
    if (error) {
        (void)weft_map_remove_bytes(&all->leases, &id, sizeof id);
        member_free(fresh);
        return error;
    }
    all->last_lease = fresh->lease = id;
    fresh->registered = old ? old->registered : now;
    fresh->heard = now;
    if (!old || !visible(old) || !claim_equal(&old->is, &fresh->is)) all->version++;
    if (old) {
        lease_void(all, old);
        member_free(old);
    }
    evict(all, fresh);
    *lease = id;
    return 0;
}

int registry_heartbeat(registry *all, uint64_t lease, int64_t now, registry_view_health health,
                       bool draining) {
    member *m = holder(all, lease);
    if (!m) return WEFT_ECONFLICT;
    m->heard = now;
    if (m->state != REGISTRY_UP) go(all, m, REGISTRY_UP, 0);
    if (m->is.health != health || m->is.draining != draining) {
        m->is.health = health;
        m->is.draining = draining;
        all->version++;
    }
    return 0;
}

void registry_broke(registry *all, uint64_t lease, int64_t now) {
    member *m = holder(all, lease);
    if (!m) return;
    lease_void(all, m);
    if (m->state == REGISTRY_UP) go(all, m, REGISTRY_LOST, after(now, all->options.grace));
}

void registry_leave(registry *all, uint64_t lease, int64_t now) {
    member *m = holder(all, lease);
    (void)now;
    if (m) forget(all, m);
}

/* What is over at `now`; false when the member is gone. */
static bool advance(registry *all, member *m, int64_t now) {
    if (m->state == REGISTRY_UP && after(m->heard, all->options.down_after) <= now)
        go(all, m, REGISTRY_DOWN, after(now, all->options.keep));
    if (m->state == REGISTRY_LOST && m->until <= now)
        go(all, m, REGISTRY_DOWN, after(now, all->options.keep));
    if (m->state == REGISTRY_DOWN && m->until <= now) {
        forget(all, m);
        return false;
    }
    return true;
}

int64_t registry_tick(registry *all, int64_t now) {
    int64_t next = INT64_MAX;
    size_t at = 0;
    void *value;
    while (weft_map_next(&all->members, &at, NULL, NULL, &value)) {
        member *m = value;
        if (!advance(all, m, now)) continue;
        const int64_t when =
            m->state == REGISTRY_UP ? after(m->heard, all->options.down_after) : m->until;
        if (when < next) next = when;
    }
    return next;
}

void registry_restore(registry *all, const registry_view *before, int64_t now) {
    for (size_t i = 0; i < before->count; i++) {
        const registry_view_instance *claim = &before->instances[i];
        uint64_t lease;
        if (weft_map_get(&all->members, claim->id) ||
            registry_register(all, claim, now, &lease, NULL) < 0)
            continue;
        registry_broke(all, lease, now);
        member *m = weft_map_get(&all->members, claim->id);
        if (m) m->until = after(now, all->options.down_after);
    }
}

/* ---- looking */

uint64_t registry_version(const registry *all) { return all->version; }

static int by_name(const void *left, const void *right) {
    const registry_view_instance *a = left, *b = right;
    int order = strcmp(a->name_space, b->name_space);
    if (!order) order = strcmp(a->service, b->service);
    return order ? order : strcmp(a->id, b->id);
}

int registry_view_make(const registry *all, weft_arena *arena, registry_view *out) {
    const size_t room = weft_map_count(&all->members);
    registry_view_instance *list = weft_arena_calloc(arena, room ? room : 1, sizeof *list);
    size_t count = 0, at = 0;
    void *value;
    if (!list) return WEFT_ENOMEM;
    while (weft_map_next(&all->members, &at, NULL, NULL, &value)) {
        const member *m = value;
        if (!visible(m)) continue;
        if (claim_copy(&m->is, arena, &list[count]) < 0) return WEFT_ENOMEM;
        count++;
    }
    qsort(list, count, sizeof *list, by_name);
    *out = (registry_view){.instances = list, .count = count};
    return 0;
}

bool registry_next(const registry *all, size_t *cursor, registry_entry *out) {
    void *value;
    if (!weft_map_next(&all->members, cursor, NULL, NULL, &value)) return false;
    const member *m = value;
    *out = (registry_entry){
        .instance = &m->is, .state = m->state, .registered = m->registered, .heard = m->heard};
    return true;
}

registry_counts registry_count(const registry *all) {
    registry_counts counts = {0};
    size_t at = 0;
    registry_entry entry;
    while (registry_next(all, &at, &entry)) {
        counts.instances++;
        if (entry.state == REGISTRY_UP) counts.up++;
        if (entry.state == REGISTRY_LOST) counts.lost++;
        if (entry.state == REGISTRY_DOWN) counts.down++;
    }
    return counts;
}
