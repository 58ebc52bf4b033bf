/* One aggregated discovery stream, state of the world, seen from a sidecar. No I/O.
 *
 *     stream ──► xds_client_response ──► check ──► pending ──► warm ──► snapshot
 *        ▲                                 │ wrong: NACK with resource and field
 *        └────── xds_client_next ◄─────────┘
 *
 * Every resource is checked by sidecar/config when it comes; a wrong one is refused with a reason
 * and leaves its predecessor in force, its valid siblings apply. What is checked is *pending* until
 * it is *warm*: a cluster when its endpoints are known (or missing for XDS_MISSING), a route
 * configuration when all its clusters are warm, a listener when its routes are. Only what is warm is
 * in a snapshot, and a cluster stays in it as long as a route leads there; so no route of a snapshot
 * leads to a missing cluster, whatever the order in which a control plane says things.
 *
 * Times are ns of a monotonic clock that the caller reads. One thread at a time. */
#ifndef SIDECAR_XDS_CLIENT_H
#define SIDECAR_XDS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "sidecar/config/resource.h"
#include "weft/arena.h"
#include "weft/buf.h"
#include "weft/error.h"

#define XDS_MISSING (15 * INT64_C(1000000000)) /* ns after which what is asked for is missing */
#define XDS_RESOURCES_MAX 20000u               /* of a type in a response */
#define XDS_REASON_BYTES 2048u                 /* of why a response is refused */
#define XDS_BACKOFF_BASE (INT64_C(1000000000) / 2)
#define XDS_BACKOFF_MAX (30 * INT64_C(1000000000))
#define XDS_CACHE_MAX (64u << 20) /* bytes of what is kept on disk */

typedef struct xds_client xds_client;

typedef struct xds_client_options {
    /* What the bootstrap file says: node, admin, and what is configured there for good. A reference
     * is taken. */
    config_snapshot *base;
    const config_options *config; /* how to check; copied, what it points to is borrowed */
    /* What to say of ourselves; borrowed. NULL: what the bootstrap file says. */
    const EnvoyCore__Node *node;
    /* Listeners to ask for by name; with none, and for clusters too then, everything. By name,
     * clusters are those that routes lead to and those of xds_client_want. */
    const char *const *listeners;
    size_t listener_count;
    uint64_t seed; /* of the jitter */
} xds_client_options;

/* NULL when memory is out. */
xds_client *xds_client_new(const xds_client_options *options) WEFT_MUST_USE;
void xds_client_free(xds_client *client);

/* ---- the stream */

/* A stream was opened: requests for every type are due. */
void xds_client_opened(xds_client *client, int64_t now);
/* It ended, or could not be opened. */
void xds_client_closed(xds_client *client, int64_t now);
/* When to open the next one; INT64_MAX while one is open. At once, unless the last one ended without
 * a response: then after XDS_BACKOFF_BASE, doubled each time, with jitter. */
int64_t xds_client_retry_at(const xds_client *client);

/* The next request to send, in `arena`; 1, 0 when there is none, WEFT_ENOMEM. */
int xds_client_next(xds_client *client, weft_arena *arena,
                    EnvoyDiscovery__DiscoveryRequest **out) WEFT_MUST_USE;

/* What the server sent; read, not kept. WEFT_ENOMEM. That it was refused is in the next request. */
int xds_client_response(xds_client *client, const EnvoyDiscovery__DiscoveryResponse *response,
                        int64_t now) WEFT_MUST_USE;

/* ---- what comes of it */

/* To be called after xds_client_response, xds_client_want and at xds_client_wake. A new snapshot,
 * with a reference of the caller's, when what is warm changed; NULL when not. */
config_snapshot *xds_client_take(xds_client *client, int64_t now) WEFT_MUST_USE;
/* When xds_client_take may have something without anything else happening; INT64_MAX: never. */
int64_t xds_client_wake(const xds_client *client);

/* Asks for a cluster that nobody leads to yet; again: harmless. WEFT_ENOMEM, WEFT_ELIMIT. */
int xds_client_want(xds_client *client, const char *cluster) WEFT_MUST_USE;

/* Everything that was asked for is there and warm. */
bool xds_client_ready(const xds_client *client);

/* Why what is warm makes no snapshot (addresses that are taken, for example); "" when it does. The
 * last one stays in force. */
const char *xds_client_problem(const xds_client *client);

typedef struct xds_client_status {
    bool open;
    char version[64];   /* of the type, last accepted */
    const char *reason; /* of the last refusal, "" none; until the next response */
    size_t active, pending, missing;
    uint64_t responses, refused;
} xds_client_status;
xds_client_status xds_client_get_status(const xds_client *client, config_kind kind);

/* JSON of all of it, for admin: per resource its state (active, pending, refused, missing) and what
 * it waits for. WEFT_ENOMEM, WEFT_ELIMIT. */
int xds_client_describe(const xds_client *client, weft_buf *out) WEFT_MUST_USE;

/* ---- what is kept for the next start */

/* What is in force, to be written to disk. WEFT_ENOMEM, WEFT_ELIMIT. */
int xds_client_save(const xds_client *client, weft_buf *out) WEFT_MUST_USE;
/* Before the first xds_client_opened: takes what was saved, each resource checked again. WEFT_EPARSE
 * and nothing taken when it is not whole, not ours, or anything in it is wrong now. */
int xds_client_restore(xds_client *client, const void *data, size_t len) WEFT_MUST_USE;

#endif
