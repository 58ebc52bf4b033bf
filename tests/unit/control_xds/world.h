/* A small mesh whose resources are made by hand: what a control plane would build, for tests of
 * discovery. */
#ifndef TESTS_CONTROL_XDS_WORLD_H
#define TESTS_CONTROL_XDS_WORLD_H

#include "services/control/build/build.h"
#include "weft/arena.h"

#define WORLD_SERVICES 5
#define WORLD_INSTANCES 4

/* What is wrong with a service on purpose. */
typedef enum world_fault { WORLD_FINE, WORLD_BAD_CLUSTER, WORLD_BAD_ENDPOINTS } world_fault;

typedef struct world_service {
    bool up;             /* there is such a service: routes lead there */
    uint32_t timeout_ms; /* of connecting: changes the cluster */
    uint32_t instances;  /* a bit each */
    uint32_t canary;     /* percent to "s<n>;v2"; 0: there is no such cluster */
    world_fault fault;
} world_service;

typedef struct world {
    world_service services[WORLD_SERVICES];
    bool bad_routes; /* a route without a path specifier */
} world;

/* Everything a sidecar gets that uses the services whose bit is in `uses`. */
void world_build(const world *w, uint32_t uses, weft_arena *arena, control_build_output *out);

/* Leaves `keep` resources of a type. */
void world_trim(control_build_output *out, control_xds_type type, size_t keep);

#endif
