/* References to snapshots, and look-ups in them. */
#include <stdatomic.h>
#include <string.h>

#include "sidecar/config/build.h"

config_snapshot *config_ref(config_snapshot *snapshot) {
    config_owner *owner = (config_owner *)snapshot;
    atomic_fetch_add_explicit(&owner->refs, 1, memory_order_relaxed);
    return snapshot;
}

void config_unref(config_snapshot *snapshot) {
    config_owner *owner = (config_owner *)snapshot;
    if (!owner || atomic_fetch_sub_explicit(&owner->refs, 1, memory_order_acq_rel) != 1) return;
    weft_arena_free(owner->arena);
}

const config_listener *config_find_listener(const config_snapshot *snapshot, const char *name) {
    for (uint32_t i = 0; i < snapshot->listener_count; i++)
        if (strcmp(snapshot->listeners[i].name, name) == 0) return &snapshot->listeners[i];
    return NULL;
}

const config_cluster *config_find_cluster(const config_snapshot *snapshot, const char *name) {
    for (uint32_t i = 0; i < snapshot->cluster_count; i++)
        if (strcmp(snapshot->clusters[i].name, name) == 0) return &snapshot->clusters[i];
    return NULL;
}

config_idempotency config_method(const config_snapshot *snapshot, const char *path, size_t len) {
    const config_slot *slot = config_index_find(&snapshot->methods, path, len);
    /* Two clusters that say different things: believe neither. */
    return slot && slot->count == 1 ? (config_idempotency)slot->items[0]
                                    : CONFIG_IDEMPOTENCY_UNKNOWN;
}
