/* What the stack made of a call, remembered for the next call with the very same header fields.
 *
 * Calls of one method on one connection carry the same few fields, and lib/http shares equal ones: so
 * authority, path, content type and peer are compared as pointers. A plan holds a reference to each,
 * which is why a pointer that is equal means a field that is equal. Only what follows from these
 * fields alone is remembered: a route that asked for another header, a reply, or a refusal is not.
 *
 * A worker's own, of one snapshot; at most PLAN_SLOTS, the newest of a slot wins. */
#ifndef SIDECAR_PLAN_H
#define SIDECAR_PLAN_H

#include "sidecar/config/config.h"
#include "sidecar/telemetry/metrics.h"
#include "sidecar/upstream/upstream.h"
#include "weft/http_grpc.h"

struct worker_listener;

#define PLAN_SLOTS 64u /* a power of two */

/* What makes two calls alike. NULL: there is no such field. */
typedef struct plan_key {
    const struct worker_listener *listener;
    http_field *authority;
    http_field *path;
    http_field *type;
    http_field *peer; /* x-forwarded-client-cert as we made it */
} plan_key;

typedef struct plan {
    plan_key key; /* a reference to each field; path == NULL: the slot is free */
    bool grpc;
    http_grpc_path split; /* of key.path's value */
    const config_route *route;
    const config_cluster *cluster; /* NULL: drawn for each call */
    const config_retry *retry;
    telemetry_handle series;
    uint64_t serial; /* of all plans of the worker; 0: none */
} plan;

typedef struct plan_table {
    plan *slots;         /* NULL until the first plan; they stay until plan_free */
    uint64_t generation; /* of the view they are for */
    uint64_t made;
} plan_table;

static inline plan *plan_slot(const plan_table *table, const plan_key *key) {
    /* Fields lie in blocks of 64 bytes and up. */
    const uintptr_t at = ((uintptr_t)key->path >> 6) + ((uintptr_t)key->authority >> 6) * 3 +
                         ((uintptr_t)key->peer >> 6) * 5 + ((uintptr_t)key->listener >> 4) * 7;
    return &table->slots[(at ^ at >> 6) & (PLAN_SLOTS - 1)];
}

/* Whether the plan is (still) for such calls. */
static inline bool plan_is(const plan *p, const plan_key *key) {
    return p->key.path == key->path && p->key.authority == key->authority &&
           p->key.type == key->type && p->key.peer == key->peer && p->key.listener == key->listener;
}

/* The plan for such calls, or NULL. */
static inline plan *plan_find(plan_table *table, const plan_key *key, uint64_t generation) {
    if (!table->slots || table->generation != generation || !key->path) return NULL;
    plan *p = plan_slot(table, key);
    return plan_is(p, key) ? p : NULL;
}

/* A zeroed plan with that key, in place of another; NULL when such calls are not worth one (a field
 * came as a literal, so the next call's will be another object) or memory is out. */
plan *plan_make(plan_table *table, const plan_key *key, uint64_t generation);

/* Before the fields' pool. No call may be left. */
void plan_free(plan_table *table);

#endif
