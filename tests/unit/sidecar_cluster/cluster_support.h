/* Sets of endpoints for tests. */
#ifndef TESTS_CLUSTER_SUPPORT_H
#define TESTS_CLUSTER_SUPPORT_H

#include "sidecar/cluster/cluster.h"

#define MS INT64_C(1000000)
#define S INT64_C(1000000000)

typedef struct bed {
    config_cluster config;
    cluster_shared shared;
    cluster_set *set;
    weft_rng rng;
    int64_t now;
    int gone, released;
} bed;

/* A set of `count` endpoints 10.0.0.1 … on port 80, weights 1. */
void bed_open(bed *b, config_policy policy, size_t count);
void bed_close(bed *b);
/* The member for endpoint number i (0 …). */
cluster_member bed_member(size_t i);
lb_request bed_request(bed *b);
/* Index of a pick in set->all. */
uint32_t bed_pick(bed *b, const lb_request *request);

#endif
