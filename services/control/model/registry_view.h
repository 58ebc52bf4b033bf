/* What the registry knows, as plain data: the registry makes one, the build room reads it.
 *
 * A view is immutable. Strings and arrays are its maker's and outlive its use; none is NULL unless said
 * so. Order of instances does not matter: whoever writes something from it sorts. */
#ifndef CONTROL_MODEL_REGISTRY_VIEW_H
#define CONTROL_MODEL_REGISTRY_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REGISTRY_VIEW_INSTANCES_MAX 100000u
#define REGISTRY_VIEW_LABELS_MAX 64u
#define REGISTRY_VIEW_WEIGHT_MAX ((1u << 20) - 1)

typedef enum registry_view_health {
    REGISTRY_VIEW_HEALTHY,
    REGISTRY_VIEW_UNHEALTHY, /* the app says so, or does not answer */
    REGISTRY_VIEW_DOWN       /* its lease ran out: as if it were not there */
} registry_view_health;

typedef struct registry_view_label {
    const char *key, *value;
} registry_view_label;

/* One running instance of a service. */
typedef struct registry_view_instance {
    const char *id;         /* uuid of the process */
    const char *service;    /* "product" */
    const char *name_space; /* "shop" */
    /* Where its sidecar takes mTLS, and where the app itself takes plaintext, as weft_addr_parse reads
     * them; "" where there is none. Plaintext is only given to clients without a proxy that have no
     * certificate. */
    const char *address;
    const char *plain_address;
    const registry_view_label *labels; /* unique keys, any order */
    size_t label_count;
    registry_view_health health;
    bool draining;   /* no new calls */
    uint32_t weight; /* 1 … REGISTRY_VIEW_WEIGHT_MAX; 0: 1 */
    const char *region, *zone, *sub_zone;
    /* gRPC services it exports, by full name, without health and reflection, and its methods that are
     * safe to repeat, "/package.Service/Method"; any order. */
    const char *const *grpc_services;
    size_t grpc_service_count;
    const char *const *no_side_effects;
    size_t no_side_effect_count;
    const char *const *idempotent;
    size_t idempotent_count;
} registry_view_instance;

/* What is remembered of a service whether or not an instance of it runs now. What instances report belongs
 * here too, or a cluster would change whenever its last instance goes and comes. */
typedef struct registry_view_service {
    const char *service, *name_space;
    const char *const *grpc_services;
    size_t grpc_service_count;
    const char *const *no_side_effects;
    size_t no_side_effect_count;
    const char *const *idempotent;
    size_t idempotent_count;
} registry_view_service;

typedef struct registry_view {
    const registry_view_instance *instances;
    size_t count;
    const registry_view_service
        *services; /* any order, one a service; may be fewer than there are */
    size_t service_count;
} registry_view;

#endif
