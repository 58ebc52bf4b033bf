/* A mesh for the tests: documents, instances, nodes, and what a sidecar says to what is built. */
#ifndef TESTS_CONTROL_BUILD_MESH_H
#define TESTS_CONTROL_BUILD_MESH_H

#include "services/control/build/build.h"

#define BUILD_FILES "tests/unit/control_build"

typedef struct mesh {
    weft_arena *arena;
    weft_registry *documents, *xds;
    const model_set *set;
    registry_view view;
} mesh;

/* mesh.yaml and four instances: two of product, one of them v2, one of payment, one of order. NULL, and
 * said, if it cannot. */
mesh *mesh_new(void);
void mesh_free(mesh *m);

/* Documents laid over those there are; NULL, and said, when they are wrong. */
const model_set *mesh_parse(mesh *m, const model_set *base, const char *text);
/* A copy of the view whose instances may be written to. */
registry_view_instance *mesh_instances(mesh *m, registry_view *view);

/* Sidecars of shop: of order (dials), of product (is called). gRPC clients for "product.shop". */
control_node mesh_sidecar(const char *service);
control_node mesh_client(bool tls);

/* All resources as JSON, one after the other. In the arena; NULL, and said, when they are wrong. */
const char *mesh_json(mesh *m, const control_build_output *out);

/* Checks that nothing leads nowhere: every cluster of a route, every EDS of a cluster, every RDS of a listener is
 * there, shares add up, names are sorted. A sidecar's are given to its loader, one by one and together. False,
 * and said. */
bool mesh_sound(mesh *m, const control_node *node, const control_build_output *out);

#endif
