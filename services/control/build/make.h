/* Inside of the build room.
 *
 *   build.c     whom a node reaches; the output          node.c     what a node says of itself
 *   listener.c  Listener    route.c  RouteConfiguration  cluster.c  Cluster    endpoints.c
 *   make.c      messages, Any, addresses, TLS
 *
 * When memory is out, `rc` is set and whatever is made then lands in one spare block, so that nothing
 * below must look; nothing is serialized from there on. Messages may then be one another: write to their
 * fields, but never read them back. */
#ifndef CONTROL_BUILD_MAKE_H
#define CONTROL_BUILD_MAKE_H

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "services/control/build/build.h"
#include "weft/map.h"
#include "weft/mesh/v1/grpc_route.pb-c.h"
#include "weft/mesh/v1/service.pb-c.h"

#define MAKE_SPARE 1024u /* bytes; no message of ours is larger */
#define MAKE_NAME 200u   /* bytes of a cluster's name */

/* A service the node may call. */
typedef struct make_target {
    const char *service, *name_space;
    const char *full;                  /* "product.shop" */
    const WeftMesh__ServiceSpec *spec; /* NULL: it has no document, or an empty one */
} make_target;

/* A cluster that routes lead to. */
typedef struct make_cluster {
    const char *name; /* "product.shop;v2" */
    const char *full, *service, *name_space;
    const char *subset; /* "" for all */
} make_cluster;

typedef struct make {
    const model_set *set;
    const registry_view *view;
    const control_node *node;
    const char *name_space; /* of the node */
    weft_arena *arena;
    control_build_output *out;
    int rc;
    void *spare;
    const make_target *targets; /* sorted by `full`, unique */
    size_t target_count;
    weft_map clusters; /* name → make_cluster, those that are needed */
    /* Resources as they come, later sorted. */
    control_resource *items[CONTROL_XDS_TYPES];
    size_t counts[CONTROL_XDS_TYPES], rooms[CONTROL_XDS_TYPES];
} make;

/* ---- make.c */
void *make_alloc(make *m, size_t count, size_t size);                /* zeroed; NULL and rc set */
char *make_text(make *m, const char *format, ...) WEFT_PRINTF(2, 3); /* never NULL */
char *make_copy(make *m, const char *text);                          /* never NULL */
void *make_message(make *m, const ProtobufCMessageDescriptor *type); /* never NULL */
/* `name` becomes a new message: MAKE(m, EnvoyCluster__Cluster, c, envoy_cluster__cluster). */
#define MAKE(m, type, name, prefix) type *name = make_message(m, &prefix##__descriptor)
/* A list of one: the element. */
void *make_list(make *m, void *element);

Google__Protobuf__Duration *make_duration(make *m, int64_t ns);
Google__Protobuf__UInt32Value *make_u32(make *m, uint32_t value);
Google__Protobuf__Any *make_any(make *m, const void *message);
EnvoyCore__ConfigSource *make_ads(make *m);
/* NULL, with *why set, when it is no address. */
EnvoyCore__Address *make_address(make *m, const char *text, const char **why);
/* Who is let in, or whom to expect: an exact SPIFFE ID, or with NULL anyone of the trust domain. */
EnvoyCore__TransportSocket *make_tls(make *m, bool server, const char *id, const char *sni);
bool make_has_tls(const make *m);
/* Serializes a resource and puts it into the output. */
void make_add(make *m, control_xds_type type, const char *name, const void *message);

/* ---- listener.c */
int make_listeners(make *m, const char **why);
void make_api_listener(make *m, const char *name, const make_target *target);

/* ---- route.c: also says which clusters are needed */
void make_inbound_routes(make *m);
void make_outbound_routes(make *m);
void make_target_routes(make *m, const make_target *target);

/* ---- cluster.c, endpoints.c */
void make_app_cluster(make *m, const char **why);
void make_cluster_of(make *m, const make_cluster *what);
void make_endpoints_of(make *m, const make_cluster *what);
bool make_in_subset(const WeftMesh__Subset *subset, const registry_view_instance *one);
bool make_static_in_subset(const WeftMesh__Subset *subset, const WeftMesh__Endpoint *one);

/* ---- build.c */
/* The cluster's name; it is needed from now on. */
const char *make_need_cluster(make *m, const char *service, const char *name_space,
                              const char *subset);
const WeftMesh__ServiceSpec *make_spec(const make *m, const char *name_space, const char *service);

#endif
