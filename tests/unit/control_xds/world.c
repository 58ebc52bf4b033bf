#include "tests/unit/control_xds/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "envoy/extensions/filters/http/router/v3/router.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb-c.h"
#include "weft/map.h"
#include "weft/pb.h"

#define RESOURCES_MAX 64

/* Messages live in the arena; a test that runs out of memory may crash. */
#define NEW(arena, type, prefix) ((type *)made(arena, &prefix##__descriptor))

static void *made(weft_arena *arena, const ProtobufCMessageDescriptor *type) {
    void *message = weft_message_new(arena, type);
    if (!message) abort();
    return message;
}

static void *list_of(weft_arena *arena, void *only) {
    void **list = weft_arena_alloc(arena, sizeof *list);
    if (!list) abort();
    *list = only;
    return list;
}

static Google__Protobuf__Any *any_of(weft_arena *arena, const ProtobufCMessage *message) {
    Google__Protobuf__Any *any = NEW(arena, Google__Protobuf__Any, google__protobuf__any);
    any->type_url = weft_arena_printf(arena, "type.googleapis.com/%s", message->descriptor->name);
    any->value.data = weft_pack(arena, message, &any->value.len);
    return any;
}

typedef struct building {
    weft_arena *arena;
    control_resource *items[CONTROL_XDS_TYPES];
    size_t counts[CONTROL_XDS_TYPES];
} building;

static void put(building *b, control_xds_type type, const char *name,
                const ProtobufCMessage *message) {
    control_resource *r = &b->items[type][b->counts[type]++];
    r->name = weft_arena_strdup(b->arena, name);
    r->value = weft_pack(b->arena, message, &r->value_len);
    (void)snprintf(r->version, sizeof r->version, "%016llx%016llx",
                   (unsigned long long)weft_siphash13(r->value, r->value_len, 1, 1),
                   (unsigned long long)weft_siphash13(r->value, r->value_len, 2, 2));
}

/* ---- clusters */

static void put_cluster(building *b, const char *name, const world_service *s) {
    weft_arena *arena = b->arena;
    EnvoyCluster__Cluster *c = NEW(arena, EnvoyCluster__Cluster, envoy_cluster__cluster);
    c->name = weft_arena_strdup(arena, name);
    c->cluster_discovery_type_case = ENVOY_CLUSTER__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE;
    c->type = ENVOY_CLUSTER__CLUSTER__DISCOVERY_TYPE__EDS;
    c->eds_cluster_config = NEW(arena, EnvoyCluster__Cluster__EdsClusterConfig,
                                envoy_cluster__cluster__eds_cluster_config);
    EnvoyCore__ConfigSource *ads = NEW(arena, EnvoyCore__ConfigSource, envoy_core__config_source);
    ads->config_source_specifier_case = ENVOY_CORE__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_ADS;
    ads->ads = NEW(arena, EnvoyCore__AggregatedConfigSource, envoy_core__aggregated_config_source);
    c->eds_cluster_config->eds_config = ads;
    c->connect_timeout = NEW(arena, Google__Protobuf__Duration, google__protobuf__duration);
    c->connect_timeout->nanos = (int32_t)(1 + s->timeout_ms) * 1000000;
    if (s->fault == WORLD_BAD_CLUSTER) c->connect_timeout->nanos = -1;
    c->http2_protocol_options =
        NEW(arena, EnvoyCore__Http2ProtocolOptions, envoy_core__http2_protocol_options);
    put(b, CONTROL_CDS, name, &c->base);
}

static EnvoyEndpoint__LbEndpoint *endpoint(weft_arena *arena, uint32_t service, uint32_t instance,
                                           bool bad) {
    EnvoyEndpoint__LbEndpoint *e =
        NEW(arena, EnvoyEndpoint__LbEndpoint, envoy_endpoint__lb_endpoint);
    e->host_identifier_case = ENVOY_ENDPOINT__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT;
    e->endpoint = NEW(arena, EnvoyEndpoint__Endpoint, envoy_endpoint__endpoint);
    EnvoyCore__Address *at = NEW(arena, EnvoyCore__Address, envoy_core__address);
    at->address_case = ENVOY_CORE__ADDRESS__ADDRESS_SOCKET_ADDRESS;
    at->socket_address = NEW(arena, EnvoyCore__SocketAddress, envoy_core__socket_address);
    at->socket_address->address = weft_arena_strdup(arena, bad ? "nowhere" : "127.0.0.1");
    at->socket_address->port_specifier_case = ENVOY_CORE__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE;
    at->socket_address->port_value = 1000 + service * 100 + instance;
    e->endpoint->address = at;
    return e;
}

static void put_endpoints(building *b, const char *name, uint32_t index, const world_service *s) {
    weft_arena *arena = b->arena;
    EnvoyEndpoint__ClusterLoadAssignment *all =
        NEW(arena, EnvoyEndpoint__ClusterLoadAssignment, envoy_endpoint__cluster_load_assignment);
    EnvoyEndpoint__LocalityLbEndpoints *group =
        NEW(arena, EnvoyEndpoint__LocalityLbEndpoints, envoy_endpoint__locality_lb_endpoints);
    all->cluster_name = weft_arena_strdup(arena, name);
    group->lb_endpoints = weft_arena_calloc(arena, WORLD_INSTANCES + 1, sizeof(void *));
    for (uint32_t i = 0; i < WORLD_INSTANCES; i++)
        if (s->instances & 1u << i)
            group->lb_endpoints[group->n_lb_endpoints++] = endpoint(arena, index, i, false);
    if (s->fault == WORLD_BAD_ENDPOINTS)
        group->lb_endpoints[group->n_lb_endpoints++] = endpoint(arena, index, 99, true);
    if (group->n_lb_endpoints) {
        all->endpoints = list_of(arena, group);
        all->n_endpoints = 1;
    }
    put(b, CONTROL_EDS, name, &all->base);
}

/* ---- routes */

static EnvoyRoute__VirtualHost *vhost(weft_arena *arena, const char *name,
                                      EnvoyRoute__RouteAction *action, bool bad) {
    EnvoyRoute__VirtualHost *host = NEW(arena, EnvoyRoute__VirtualHost, envoy_route__virtual_host);
    EnvoyRoute__Route *route = NEW(arena, EnvoyRoute__Route, envoy_route__route);
    host->name = weft_arena_strdup(arena, name);
    host->domains = list_of(arena, host->name);
    host->n_domains = 1;
    host->routes = list_of(arena, route);
    host->n_routes = 1;
    route->match = NEW(arena, EnvoyRoute__RouteMatch, envoy_route__route_match);
    if (!bad) {
        route->match->path_specifier_case = ENVOY_ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
        route->match->prefix = weft_arena_strdup(arena, "/");
    }
    route->action_case = ENVOY_ROUTE__ROUTE__ACTION_ROUTE;
    route->route = action;
    return host;
}

static EnvoyRoute__RouteAction *action_of(weft_arena *arena, const char *name, uint32_t canary) {
    EnvoyRoute__RouteAction *action =
        NEW(arena, EnvoyRoute__RouteAction, envoy_route__route_action);
    if (!canary) {
        action->cluster_specifier_case = ENVOY_ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
        action->cluster = weft_arena_strdup(arena, name);
        return action;
    }
    action->cluster_specifier_case = ENVOY_ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS;
    action->weighted_clusters =
        NEW(arena, EnvoyRoute__WeightedCluster, envoy_route__weighted_cluster);
    EnvoyRoute__WeightedCluster__ClusterWeight **list = weft_arena_calloc(arena, 2, sizeof *list);
    for (uint32_t i = 0; i < 2; i++) {
        list[i] = NEW(arena, EnvoyRoute__WeightedCluster__ClusterWeight,
                      envoy_route__weighted_cluster__cluster_weight);
        list[i]->name = weft_arena_printf(arena, "%s%s", name, i ? ";v2" : "");
        list[i]->weight = NEW(arena, Google__Protobuf__UInt32Value, google__protobuf__uint32_value);
        list[i]->weight->value = i ? canary : 100 - canary;
    }
    action->weighted_clusters->clusters = list;
    action->weighted_clusters->n_clusters = 2;
    return action;
}

static void put_routes(building *b, const char *name, EnvoyRoute__VirtualHost **hosts,
                       size_t count) {
    EnvoyRoute__RouteConfiguration *table =
        NEW(b->arena, EnvoyRoute__RouteConfiguration, envoy_route__route_configuration);
    table->name = weft_arena_strdup(b->arena, name);
    table->virtual_hosts = hosts;
    table->n_virtual_hosts = count;
    put(b, CONTROL_RDS, name, &table->base);
}

/* ---- listeners */

static void put_listener(building *b, const char *name, uint32_t port) {
    weft_arena *arena = b->arena;
    EnvoyListener__Listener *l = NEW(arena, EnvoyListener__Listener, envoy_listener__listener);
    l->name = weft_arena_strdup(arena, name);
    l->address = endpoint(arena, 0, port, false)->endpoint->address;
    EnvoyHcm__HttpConnectionManager *manager =
        NEW(arena, EnvoyHcm__HttpConnectionManager, envoy_hcm__http_connection_manager);
    manager->stat_prefix = l->name;
    manager->route_specifier_case = ENVOY_HCM__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_RDS;
    manager->rds = NEW(arena, EnvoyHcm__Rds, envoy_hcm__rds);
    manager->rds->route_config_name = l->name;
    manager->rds->config_source = NEW(arena, EnvoyCore__ConfigSource, envoy_core__config_source);
    manager->rds->config_source->config_source_specifier_case =
        ENVOY_CORE__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_ADS;
    manager->rds->config_source->ads =
        NEW(arena, EnvoyCore__AggregatedConfigSource, envoy_core__aggregated_config_source);
    EnvoyHcm__HttpFilter *router = NEW(arena, EnvoyHcm__HttpFilter, envoy_hcm__http_filter);
    router->name = weft_arena_strdup(arena, "router");
    router->config_type_case = ENVOY_HCM__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG;
    router->typed_config =
        any_of(arena, &NEW(arena, EnvoyRouter__Router, envoy_router__router)->base);
    manager->http_filters = list_of(arena, router);
    manager->n_http_filters = 1;
    EnvoyListener__Filter *filter = NEW(arena, EnvoyListener__Filter, envoy_listener__filter);
    filter->name = weft_arena_strdup(arena, "hcm");
    filter->config_type_case = ENVOY_LISTENER__FILTER__CONFIG_TYPE_TYPED_CONFIG;
    filter->typed_config = any_of(arena, &manager->base);
    EnvoyListener__FilterChain *chain =
        NEW(arena, EnvoyListener__FilterChain, envoy_listener__filter_chain);
    chain->filters = list_of(arena, filter);
    chain->n_filters = 1;
    l->filter_chains = list_of(arena, chain);
    l->n_filter_chains = 1;
    put(b, CONTROL_LDS, name, &l->base);
}

/* ---- all */

static int by_name(const void *a, const void *b) {
    return strcmp(((const control_resource *)a)->name, ((const control_resource *)b)->name);
}

void world_trim(control_build_output *out, control_xds_type type, size_t keep) {
    if (out->types[type].count > keep) out->types[type].count = keep;
}

void world_build(const world *w, uint32_t uses, weft_arena *arena, control_build_output *out) {
    building b = {.arena = arena};
    EnvoyRoute__VirtualHost **hosts = weft_arena_calloc(arena, WORLD_SERVICES + 1, sizeof *hosts);
    size_t count = 0;
    for (int i = 0; i < CONTROL_XDS_TYPES; i++)
        b.items[i] = weft_arena_calloc(arena, RESOURCES_MAX, sizeof *b.items[i]);
    for (uint32_t i = 0; i < WORLD_SERVICES; i++) {
        const world_service *s = &w->services[i];
        char name[32], canary[40];
        if (!s->up || !(uses & 1u << i)) continue;
        (void)snprintf(name, sizeof name, "s%u.shop", i);
        (void)snprintf(canary, sizeof canary, "%s;v2", name);
        put_cluster(&b, name, s);
        put_endpoints(&b, name, i, s);
        if (s->canary) put_cluster(&b, canary, s);
        if (s->canary) put_endpoints(&b, canary, i, s);
        hosts[count++] = vhost(arena, name, action_of(arena, name, s->canary), w->bad_routes);
    }
    put_routes(&b, "outbound", hosts, count);
    put_listener(&b, "outbound", 50);
    *out = (control_build_output){0};
    for (int i = 0; i < CONTROL_XDS_TYPES; i++) {
        qsort(b.items[i], b.counts[i], sizeof *b.items[i], by_name);
        out->types[i].items = b.items[i];
        out->types[i].count = b.counts[i];
    }
}
