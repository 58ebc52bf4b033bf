/* Resources that a control plane sends one by one: each checked when it comes, and all that are in
 * force put together with the bootstrap file to a snapshot. */
#ifndef SIDECAR_CONFIG_RESOURCE_H
#define SIDECAR_CONFIG_RESOURCE_H

#include "sidecar/config/load.h"

/* In the order in which they can be relied upon. */
typedef enum config_kind {
    CONFIG_KIND_CLUSTER,
    CONFIG_KIND_ENDPOINTS,
    CONFIG_KIND_LISTENER,
    CONFIG_KIND_ROUTES,
    CONFIG_KINDS
} config_kind;

/* "type.googleapis.com/envoy.config.cluster.v3.Cluster" … */
const char *config_kind_url(config_kind kind);
/* "cluster", "endpoints", "listener", "routes". */
const char *config_kind_noun(config_kind kind);

#define CONFIG_NAME_MAX 512u /* bytes of a resource's name */

/* A resource that passed its checks; immutable. */
typedef struct config_resource {
    config_kind kind;
    const char *name;
    uint64_t hash; /* of its bytes */
    const uint8_t *data;
    size_t len;
    /* What it needs: a cluster its endpoints, a listener its routes; NULL: it has them in it. */
    const char *needs;
    /* Clusters that a route configuration, or one inside of a listener, leads to; each once. */
    const char *const *clusters;
    size_t cluster_count;
} config_resource;

/* Checks a serialized resource. `name` receives its name, "" if it could not be read, also when it is
 * refused. `cluster`: of endpoints, the cluster they are for, if it is known; else NULL. WEFT_EPARSE
 * with all problems in `diags`, WEFT_ENOMEM. */
int config_resource_new(config_kind kind, const uint8_t *data, size_t len,
                        const config_resource *cluster, const config_options *options,
                        char name[CONFIG_NAME_MAX], config_resource **out,
                        weft_diags *diags) WEFT_MUST_USE;
config_resource *config_resource_ref(config_resource *resource);
void config_resource_unref(config_resource *resource); /* NULL is allowed */

typedef struct config_parts {
    const config_resource *const *items[CONFIG_KINDS];
    size_t counts[CONFIG_KINDS];
} config_parts;

/* A snapshot of `base` and `parts`. Endpoints are found by what their cluster needs (none: it has no
 * endpoint yet), routes by what their listener needs, which must be there. WEFT_EPARSE, WEFT_ENOMEM. */
int config_assemble(const config_snapshot *base, const config_parts *parts,
                    const config_options *options, config_snapshot **out,
                    weft_diags *diags) WEFT_MUST_USE;

#endif
