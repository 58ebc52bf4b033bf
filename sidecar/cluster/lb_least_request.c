/* The less busy of two random endpoints (Mitzenmacher, "The Power of Two Choices", 2001), where
 * busy is calls in flight for the endpoint's weight. */
#include "sidecar/cluster/cluster.h"

static uint64_t busy(const cluster_endpoint *endpoint) {
    uint64_t pending = 1;
    for (int i = 0; i < LB_KINDS; i++) pending += endpoint->pending[i];
    return pending;
}

static cluster_endpoint *pick(cluster_set *set, const lb_request *request) {
    cluster_endpoint *a = lb_draw(set, request, NULL);
    cluster_endpoint *b = a ? lb_draw(set, request, a) : NULL;
    if (!b) return a;
    /* Endpoints are drawn by weight; dividing by it again would count it twice. */
    return busy(b) < busy(a) ? b : a;
}

const lb_policy lb_least_request = {.name = "least_request", .pick = pick};
