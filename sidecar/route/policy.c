/* What a route says about the call: which cluster, how long, how often. */
#include <string.h>

#include "sidecar/route/route.h"
#include "weft/clock.h"

const config_cluster *route_pick(const config_route *route, uint64_t draw) {
    if (route->share_count == 1) return route->shares[0].cluster;
    /* The high half of draw × total is uniform over the weights (Lemire); the bias of 2^32 / 2^64
     * cannot be seen. */
    const uint32_t at = (uint32_t)((unsigned __int128)draw * route->total_weight >> 64);
    uint32_t i = 0;
    while (i + 1 < route->share_count && at >= route->shares[i].upto) i++;
    return route->shares[i].cluster;
}

int64_t route_timeout(const config_route *route, int64_t asked) {
    int64_t least = INT64_MAX;
    if (asked >= 0) {
        least = asked;
        if (route->grpc_timeout_capped && route->grpc_timeout_max &&
            route->grpc_timeout_max < least)
            least = route->grpc_timeout_max;
    }
    if (route->timeout && route->timeout < least) least = route->timeout;
    if (route->max_stream_duration && !(asked >= 0 && route->grpc_timeout_capped) &&
        route->max_stream_duration < least)
        least = route->max_stream_duration;
    return least;
}

/* ---- retries */

const config_retry route_retry_transparent = {
    .conditions = CONFIG_RETRY_CONNECT_FAILURE | CONFIG_RETRY_REFUSED,
    .max_retries = 2,
    .backoff_base = 25 * WEFT_NS_PER_MS,
    .backoff_max = 250 * WEFT_NS_PER_MS,
    .replay_bytes = 64u << 10,
    .peek = 10 * WEFT_NS_PER_MS,
};

const config_retry *route_retry(const config_snapshot *snapshot, const config_route *route,
                                route_text path, route_method_fn method, void *user) {
    if (route->retry->declared) return route->retry;
    const char *query = memchr(path.text, '?', path.len);
    const size_t len = query ? (size_t)(query - path.text) : path.len;
    config_idempotency level = config_method(snapshot, path.text, len);
    if (level == CONFIG_IDEMPOTENCY_UNKNOWN && method) level = method(user, path.text, len);
    return level == CONFIG_IDEMPOTENCY_UNKNOWN ? &route_retry_transparent : route->retry;
}

bool route_retry_http(const config_retry *retry, unsigned http_status) {
    if (retry->conditions & CONFIG_RETRY_5XX && http_status >= 500 && http_status <= 599)
        return true;
    if (retry->conditions & CONFIG_RETRY_GATEWAY && http_status >= 502 && http_status <= 504)
        return true;
    if (retry->conditions & CONFIG_RETRY_4XX && http_status == 409) return true;
    for (uint32_t i = 0; i < retry->status_count; i++)
        if (retry->statuses[i] == http_status) return true;
    return false;
}

int64_t route_backoff(const config_retry *retry, unsigned attempt, weft_rng *rng) {
    int64_t most = retry->backoff_base;
    for (unsigned i = 1; i < attempt && most < retry->backoff_max; i++) most *= 2;
    if (most > retry->backoff_max) most = retry->backoff_max;
    return (int64_t)weft_rng_below(rng, (uint64_t)most + 1);
}
