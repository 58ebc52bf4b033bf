/* From documents and registry to the xDS resources of one node. No I/O, no clock, no state: the same
 * input gives the same bytes, so a resource's version is the hash of its bytes and survives restarts.
 *
 * What a sidecar of service S in namespace N gets ("U" stands for each service it uses or asked for):
 *
 *     Listener  inbound             mTLS, any SVID of the trust domain; routes by RDS "inbound"
 *               outbound            for the app; RDS "outbound"
 *               outbound-U          a socket that leads to U alone; RDS "U.N"
 *     Route     inbound             "*" to the cluster "app"
 *               outbound            a virtual host a U: its short name (in its own namespace) and full name
 *               U.N                 "*": only where an outbound-U wants it
 *     Cluster   app                 STATIC: where the app listens
 *               U.N, U.N;subset     EDS, mTLS, the exact SPIFFE ID; subsets only where a route names them
 *     Endpoints U.N, U.N;subset     one a cluster of type EDS
 *
 * A gRPC client without a proxy gets what it asks for: Listener "U" or "U.N" as it dials (api_listener),
 * Route "U.N", and their clusters and endpoints; round robin; no certificates without `tls_instance`. */
#ifndef CONTROL_BUILD_BUILD_H
#define CONTROL_BUILD_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "services/control/model/model.h"
#include "services/control/model/registry_view.h"
#include "weft/arena.h"

#define CONTROL_VERSION_TEXT 33 /* 32 lower-case hex digits and '\0' */
#define CONTROL_RESOURCES_MAX 20000u
#define CONTROL_DEMAND_MAX 1000u /* names one node may ask for */

#define CONTROL_LISTENER_INBOUND "inbound"
#define CONTROL_LISTENER_OUTBOUND "outbound"
#define CONTROL_CLUSTER_APP "app"

/* In the order in which they must be sent: xds.md "Any client". */
typedef enum control_xds_type {
    CONTROL_CDS,
    CONTROL_EDS,
    CONTROL_LDS,
    CONTROL_RDS,
    CONTROL_XDS_TYPES
} control_xds_type;

/* "type.googleapis.com/envoy.config.cluster.v3.Cluster" … and back (-1: none of the four). */
const char *control_type_url(control_xds_type type);
int control_type_find(const char *type_url);

typedef enum control_node_kind { CONTROL_NODE_SIDECAR, CONTROL_NODE_GRPC } control_node_kind;

/* A socket of a sidecar that leads to one service whatever the authority (WEFT_UPSTREAM_<NAME>). */
typedef struct control_upstream {
    const char *service; /* as in `uses` */
    const char *address;
} control_upstream;

/* Who asks. Strings are the caller's, "" where there is none, addresses as weft_addr_parse reads them.
 * A sidecar says these things in Node.metadata: control_node_read. What is security-bearing (service,
 * name_space) must come from its certificate: the caller compares. */
typedef struct control_node {
    control_node_kind kind;
    const char *id;         /* the instance */
    const char *service;    /* "order"; "" for a client that is no service */
    const char *name_space; /* "" is MODEL_NAMESPACE */
    const char *inbound;    /* where it takes mTLS; "": nobody calls it */
    const char *app;        /* where its app listens; must be there if `inbound` is */
    const char *outbound;   /* where its app dials it */
    const control_upstream *upstreams;
    size_t upstream_count;
    /* Names asked for besides `uses`: authorities for a sidecar (kept to if the mesh allows it), targets
     * ("product.shop") for a gRPC client. Order and duplicates make no difference. */
    const char *const *demand;
    size_t demand_count;
    /* TLS. Files: all three or none, and then certificate providers of the bootstrap by this instance
     * name ("default"), as gRFC A29 has them. A gRPC client without either gets plaintext addresses. */
    const char *cert_file, *key_file, *ca_file;
    const char *tls_instance;
} control_node;

/* Reads Node of a discovery request: `cluster` is "<service>.<namespace>", metadata has an object "weft"
 *
 *     {inbound, app, outbound, upstreams: {product: ADDRESS}, certFile, keyFile, caFile, tlsInstance}
 *
 * and user_agent_name is "weft-sidecar" for a sidecar. Strings are the message's or in `arena`. WEFT_EPARSE
 * with a sentence in *why. `node` is an envoy.config.core.v3.Node. */
int control_node_read(const ProtobufCMessage *node, weft_arena *arena, control_node *out,
                      const char **why) WEFT_MUST_USE;

/* One resource: google.protobuf.Any{type_url of its type, value}. */
typedef struct control_resource {
    const char *name;
    char version[CONTROL_VERSION_TEXT]; /* hash of `value` */
    const uint8_t *value;
    size_t value_len;
} control_resource;

typedef struct control_resources {
    const control_resource *items; /* sorted by name, unique */
    size_t count;
    char version[CONTROL_VERSION_TEXT]; /* hash of all names and versions */
} control_resources;

typedef struct control_build_output {
    control_resources types[CONTROL_XDS_TYPES];
    /* Names in `demand` (or upstreams) that lead nowhere, and why, in one line each: "payment: order does
     * not use it; add it to uses of Service shop/order". */
    const char *const *refused;
    size_t refused_count;
} control_build_output;

/* NULL when there is none. */
const control_resource *control_build_find(const control_build_output *output,
                                           control_xds_type type, const char *name);

/* Makes all resources of `node`. Memory is `arena`'s, and strings may be those of the input. `set` passed
 * its checks (model_parse). An address in `node` that is none: WEFT_EINVAL with a sentence in *why. WEFT_ENOMEM,
 * WEFT_ELIMIT. */
int control_build(const model_set *set, const registry_view *view, const control_node *node,
                  weft_arena *arena, control_build_output *out, const char **why) WEFT_MUST_USE;

/* What is not wrong but will surprise, for `weft apply` and `weft check`: subsets that no instance of a service
 * that has some is in. Adds to `diags`, with places where the documents were read from text; returns how many. */
size_t control_warnings(const model_set *set, const registry_view *view, weft_diags *diags);

#endif
