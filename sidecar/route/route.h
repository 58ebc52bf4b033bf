/* Which rule a request falls under: pure functions over a snapshot. No memory, no I/O, any thread.
 *
 * contracts.md "Routing key", in order: the listener that accepted (one made for an upstream has a
 * table whose only domain is "*"), `:authority`, the gRPC service in `:path`. Then the routes of the
 * virtual host as written; the first that matches wins. */
#ifndef SIDECAR_ROUTE_ROUTE_H
#define SIDECAR_ROUTE_ROUTE_H

#include "sidecar/config/config.h"
#include "weft/rng.h"

/* A piece of a request; not NUL-terminated. */
typedef struct route_text {
    const char *text;
    size_t len;
} route_text;

/* The value number `index` (0 …) of a header whose name is in lower case; false when there is none.
 * Called only for routes with header rules. */
typedef bool (*route_header_fn)(const void *user, const char *name, size_t name_len, size_t index,
                                route_text *value);

/* What routing looks at. Texts are borrowed for the call. */
typedef struct route_request {
    route_text authority; /* as received: any case, with or without port; empty when absent */
    route_text path;      /* with query, if there is one */
    bool grpc;            /* content-type is application/grpc… */
    route_header_fn header;
    const void *user;
} route_request;

typedef enum route_outcome {
    ROUTE_FOUND,
    ROUTE_NO_SERVICE, /* neither authority nor path name a service: gRPC UNIMPLEMENTED or
                       * UNAVAILABLE, HTTP 404 */
    ROUTE_AMBIGUOUS,  /* several services export what is in the path */
    ROUTE_NO_RULE     /* the service has no rule for this: UNIMPLEMENTED, 404 */
} route_outcome;

typedef struct route_result {
    route_outcome outcome;
    const config_vhost *vhost; /* NULL with ROUTE_NO_SERVICE and ROUTE_AMBIGUOUS */
    const config_route *route; /* NULL unless ROUTE_FOUND */
} route_result;

/* The way in. */
route_result route_match(const config_table *table, const route_request *request);

/* Its parts. Domains: exact, then "*.suffix" and "prefix.*" longest first, then "*". Ports, a
 * trailing dot and case do not count. NULL when none matches. */
const config_vhost *route_vhost(const config_table *table, route_text authority);
const config_route *route_in_vhost(const config_vhost *vhost, const route_request *request);

/* The virtual host that leads to the only exporter of the gRPC service in `path`; health and
 * reflection never count. *count: how many there are. NULL unless there is exactly one. */
const config_vhost *route_vhost_by_path(const config_table *table, route_text path, size_t *count);

/* Longest text of route_explain, with its '\0'. */
#define ROUTE_TEXT 512

/* One line for the caller when nothing was found: what was asked for, the candidates, what to do.
 * Returns its length. */
size_t route_explain(const config_table *table, const route_request *request,
                     const route_result *result, char out[ROUTE_TEXT]);

/* The status for it: WEFT_UNIMPLEMENTED where asking again never helps, WEFT_UNAVAILABLE where a
 * service was named that is not known (yet). */
int route_status(const route_result *result);

/* Picks one of the route's clusters; `draw` is uniform over 0 … 2^64 - 1. Only CONFIG_FORWARD. */
const config_cluster *route_pick(const config_route *route, uint64_t draw);

/* ---- deadlines and retries */

/* How long the call may take from now on: the least of the caller's grpc-timeout (`asked`, -1:
 * none; capped as the route says), the route's timeout and max_stream_duration. INT64_MAX: no limit.
 */
int64_t route_timeout(const config_route *route, int64_t asked);

/* What is known of a method beyond the snapshot (contracts loaded at run time). May be NULL. */
typedef config_idempotency (*route_method_fn)(void *user, const char *path, size_t len);

/* What may be retried of this call. Never NULL: without a policy and for a method that is not known
 * to be idempotent it is route_retry_transparent, which allows only what was provably not processed.
 */
const config_retry *route_retry(const config_snapshot *snapshot, const config_route *route,
                                route_text path, route_method_fn method, void *user);
extern const config_retry route_retry_transparent;

/* Whether a policy allows a retry after these outcomes. */
static inline bool route_retry_code(const config_retry *retry, unsigned grpc_code) {
    return grpc_code < 32 && (retry->codes >> grpc_code & 1) != 0;
}
bool route_retry_http(const config_retry *retry, unsigned http_status);

/* Wait before retry number `attempt` (1 …): exponential with full jitter. ns. */
int64_t route_backoff(const config_retry *retry, unsigned attempt, weft_rng *rng);

#endif
