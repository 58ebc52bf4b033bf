/* Each in turn. With weights: nginx's smooth round robin, where every turn gives each endpoint its
 * weight in credit, the richest is picked and pays the sum; so a weight of 5 is spread over the
 * round instead of coming five times in a row. */
#include "sidecar/cluster/cluster.h"

static cluster_endpoint *pick_smooth(cluster_set *set, const lb_request *request) {
    cluster_endpoint *best = NULL;
    int64_t total = 0;
    for (uint32_t i = 0; i < set->ready_count; i++) {
        cluster_endpoint *endpoint = set->ready[i];
        if (lb_tried(request, endpoint)) continue;
        endpoint->memory.current += endpoint->weight;
        total += endpoint->weight;
        if (!best || endpoint->memory.current > best->memory.current) best = endpoint;
    }
    if (best) best->memory.current -= total;
    return best;
}

static cluster_endpoint *pick(cluster_set *set, const lb_request *request) {
    if (set->weighted) return pick_smooth(set, request);
    for (uint32_t i = 0; i < set->ready_count; i++) {
        cluster_endpoint *endpoint = set->ready[set->lb.next++ % set->ready_count];
        if (!lb_tried(request, endpoint)) return endpoint;
    }
    return NULL;
}

const lb_policy lb_round_robin = {.name = "round_robin", .pick = pick};
