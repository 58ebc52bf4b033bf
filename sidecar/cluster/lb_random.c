/* Any endpoint, as likely as its weight. */
#include "sidecar/cluster/lb.h"

static struct cluster_endpoint *pick(struct cluster_set *set, const lb_request *request) {
    return lb_draw(set, request, NULL);
}

const lb_policy lb_random = {.name = "random", .pick = pick};
