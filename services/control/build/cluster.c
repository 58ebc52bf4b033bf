/* Clusters. */
#include <stdlib.h>
#include <string.h>

#include "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.pb-c.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb-c.h"
#include "services/control/build/make.h"
#include "weft/addr.h"
#include "weft/clock.h"
#include "weft/sidecar/v1/balancing.pb-c.h"
#include "weft/sidecar/v1/service.pb-c.h"

#define CONNECT_TIMEOUT WEFT_NS_PER_S

/* ---- protocol, policy, limits */

static void add_http2(make *m, EnvoyCluster__Cluster *out) {
    MAKE(m, EnvoyUpstream__HttpProtocolOptions, options, envoy_upstream__http_protocol_options);
    MAKE(m, EnvoyUpstream__HttpProtocolOptions__ExplicitHttpConfig, config,
         envoy_upstream__http_protocol_options__explicit_http_config);
    MAKE(m, EnvoyCore__Http2ProtocolOptions, http2, envoy_core__http2_protocol_options);
    MAKE(m, EnvoyCluster__Cluster__TypedExtensionProtocolOptionsEntry, entry,
         envoy_cluster__cluster__typed_extension_protocol_options_entry);
    config->protocol_config_case =
        ENVOY_UPSTREAM__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_HTTP2_PROTOCOL_OPTIONS;
    config->http2_protocol_options = http2;
    options->upstream_protocol_options_case =
        ENVOY_UPSTREAM__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_EXPLICIT_HTTP_CONFIG;
    options->explicit_http_config = config;
    entry->key = make_copy(m, "envoy.extensions.upstreams.http.v3.HttpProtocolOptions");
    entry->value = make_any(m, options);
    out->n_typed_extension_protocol_options = 1;
    out->typed_extension_protocol_options = make_list(m, entry);
}

static EnvoyCluster__LoadBalancingPolicy__Policy *policy(make *m, const char *name,
                                                         const void *config) {
    MAKE(m, EnvoyCluster__LoadBalancingPolicy__Policy, out,
         envoy_cluster__load_balancing_policy__policy);
    MAKE(m, EnvoyCore__TypedExtensionConfig, typed, envoy_core__typed_extension_config);
    typed->name = make_copy(m, name);
    typed->typed_config = make_any(m, config);
    out->typed_extension_config = typed;
    return out;
}

static Google__Protobuf__Duration *given(make *m, const char *text) {
    return text && *text ? make_duration(m, model_duration(text)) : NULL;
}

/* Ours, and beside it what any other client knows. */
static void add_peak_ewma(make *m, const WeftMesh__Balancing *from, EnvoyCluster__Cluster *out) {
    MAKE(m, EnvoyCluster__LoadBalancingPolicy, all, envoy_cluster__load_balancing_policy);
    MAKE(m, WeftSidecar__PeakEwma, peak, weft_sidecar__peak_ewma);
    MAKE(m, EnvoyLbRr__RoundRobin, round, envoy_lb_rr__round_robin);
    EnvoyCluster__LoadBalancingPolicy__Policy **list = make_alloc(m, 2, sizeof *list);
    if (!list) return;
    if (from) {
        peak->default_rtt = given(m, from->default_rtt);
        peak->decay = given(m, from->decay);
        peak->failure_penalty = given(m, from->failure_penalty);
    }
    list[0] = policy(m, "weft.peak_ewma", peak);
    list[1] = policy(m, "envoy.load_balancing_policies.round_robin", round);
    all->n_policies = 2;
    all->policies = list;
    out->lb_policy = ENVOY_CLUSTER__CLUSTER__LB_POLICY__LOAD_BALANCING_POLICY_CONFIG;
    out->load_balancing_policy = all;
}

static void add_balancing(make *m, const WeftMesh__Balancing *from, EnvoyCluster__Cluster *out) {
    static const EnvoyCluster__Cluster__LbPolicy names[] = {
        [WEFT_MESH__BALANCING__POLICY__LeastRequest] =
            ENVOY_CLUSTER__CLUSTER__LB_POLICY__LEAST_REQUEST,
        [WEFT_MESH__BALANCING__POLICY__RoundRobin] = ENVOY_CLUSTER__CLUSTER__LB_POLICY__ROUND_ROBIN,
        [WEFT_MESH__BALANCING__POLICY__Random] = ENVOY_CLUSTER__CLUSTER__LB_POLICY__RANDOM,
    };
    /* gRPC without a proxy has round robin for all of them. */
    if (m->node->kind == CONTROL_NODE_GRPC) return;
    if (!from || from->policy == WEFT_MESH__BALANCING__POLICY__PeakEwma)
        add_peak_ewma(m, from, out);
    else
        out->lb_policy = names[from->policy];
}

static EnvoyCluster__CircuitBreakers__Thresholds *thresholds(make *m,
                                                             const WeftMesh__Thresholds *from,
                                                             EnvoyCore__RoutingPriority priority) {
    MAKE(m, EnvoyCluster__CircuitBreakers__Thresholds, out,
         envoy_cluster__circuit_breakers__thresholds);
    out->priority = priority;
    if (from->_max_connections_case) out->max_connections = make_u32(m, from->max_connections);
    if (from->_max_pending_case) out->max_pending_requests = make_u32(m, from->max_pending);
    if (from->_max_requests_case) out->max_requests = make_u32(m, from->max_requests);
    if (from->_max_retries_case) out->max_retries = make_u32(m, from->max_retries);
    if (from->retry_budget) {
        MAKE(m, EnvoyCluster__CircuitBreakers__Thresholds__RetryBudget, budget,
             envoy_cluster__circuit_breakers__thresholds__retry_budget);
        MAKE(m, EnvoyType__Percent, percent, envoy_type__percent);
        percent->value = from->retry_budget->_percent_case ? from->retry_budget->percent : 20;
        budget->budget_percent = percent;
        if (from->retry_budget->_min_per_second_case)
            budget->min_retry_concurrency = make_u32(m, from->retry_budget->min_per_second);
        out->retry_budget = budget;
    }
    return out;
}

static void add_limits(make *m, const WeftMesh__Limits *from, EnvoyCluster__Cluster *out) {
    if (!from || (!from->normal && !from->critical)) return;
    MAKE(m, EnvoyCluster__CircuitBreakers, all, envoy_cluster__circuit_breakers);
    EnvoyCluster__CircuitBreakers__Thresholds **list = make_alloc(m, 2, sizeof *list);
    size_t count = 0;
    if (!list) return;
    if (from->normal)
        list[count++] = thresholds(m, from->normal, ENVOY_CORE__ROUTING_PRIORITY__DEFAULT);
    if (from->critical)
        list[count++] = thresholds(m, from->critical, ENVOY_CORE__ROUTING_PRIORITY__HIGH);
    all->thresholds = list;
    all->n_thresholds = count;
    out->circuit_breakers = all;
}

/* ---- what it exports */

/* Sorted names without duplicates. */
typedef struct names {
    char **list;
    size_t count;
} names;

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Instances say what they want: a name that is none would make sidecars refuse the cluster. */
static bool sane(make *m, const char *name, bool method) {
    if (!method) return model_grpc_service_valid(name);
    const char *slash = *name == '/' ? strchr(name + 1, '/') : NULL;
    return slash && model_identifier_valid(slash + 1) &&
           model_grpc_service_valid(make_text(m, "%.*s", (int)(slash - name - 1), name + 1));
}

/* `lead`: what is put before them, "/" for methods as documents write them. */
static void take(make *m, weft_map *seen, char *const *list, size_t count, bool method,
                 const char *lead) {
    for (size_t i = 0; i < count; i++) {
        const char *name = make_text(m, "%s%s", lead, list[i]);
        if (sane(m, name, method) && weft_map_put(seen, name, NULL)) m->rc = WEFT_ENOMEM;
    }
}

static names sorted(make *m, weft_map *seen, const weft_map *without) {
    names out = {.list = make_alloc(m, weft_map_count(seen), sizeof *out.list)};
    size_t at = 0;
    const char *key = NULL;
    while (out.list && weft_map_next(seen, &at, &key, NULL, NULL))
        if (!without || !weft_map_find(without, key)) out.list[out.count++] = make_copy(m, key);
    if (out.count) qsort(out.list, out.count, sizeof *out.list, by_text);
    return out;
}

typedef struct exports {
    weft_map services, safe, idempotent;
} exports;

static bool same(const make_cluster *what, const char *service, const char *name_space) {
    return !strcmp(what->service, service) && !strcmp(what->name_space, name_space);
}

static void take_view(make *m, const make_cluster *what, exports *e) {
    for (size_t i = 0; i < m->view->count; i++) {
        const registry_view_instance *one = &m->view->instances[i];
        if (!same(what, one->service, one->name_space)) continue;
        take(m, &e->services, (char *const *)one->grpc_services, one->grpc_service_count, false,
             "");
        take(m, &e->safe, (char *const *)one->no_side_effects, one->no_side_effect_count, true, "");
        take(m, &e->idempotent, (char *const *)one->idempotent, one->idempotent_count, true, "");
    }
    for (size_t i = 0; i < m->view->service_count; i++) {
        const registry_view_service *one = &m->view->services[i];
        if (!same(what, one->service, one->name_space)) continue;
        take(m, &e->services, (char *const *)one->grpc_services, one->grpc_service_count, false,
             "");
        take(m, &e->safe, (char *const *)one->no_side_effects, one->no_side_effect_count, true, "");
        take(m, &e->idempotent, (char *const *)one->idempotent, one->idempotent_count, true, "");
    }
}

static void add_exports(make *m, const make_cluster *what, const WeftMesh__ServiceSpec *spec,
                        EnvoyCluster__Cluster *out) {
    exports e;
    weft_map_init(&e.services, 0);
    weft_map_init(&e.safe, 0);
    weft_map_init(&e.idempotent, 0);
    if (spec) {
        take(m, &e.services, spec->grpc_services, spec->n_grpc_services, false, "");
        take(m, &e.safe, spec->no_side_effects, spec->n_no_side_effects, true, "/");
        take(m, &e.idempotent, spec->idempotent, spec->n_idempotent, true, "/");
    }
    take_view(m, what, &e);
    MAKE(m, WeftSidecar__Service, service, weft_sidecar__service);
    const names services = sorted(m, &e.services, NULL), safe = sorted(m, &e.safe, NULL);
    const names idempotent = sorted(m, &e.idempotent, &e.safe);
    weft_map_free(&e.services, NULL);
    weft_map_free(&e.safe, NULL);
    weft_map_free(&e.idempotent, NULL);
    if (!services.count && !safe.count && !idempotent.count) return;
    service->grpc_services = services.list;
    service->n_grpc_services = services.count;
    service->no_side_effects = safe.list;
    service->n_no_side_effects = safe.count;
    service->idempotent = idempotent.list;
    service->n_idempotent = idempotent.count;
    MAKE(m, EnvoyCore__Metadata, metadata, envoy_core__metadata);
    MAKE(m, EnvoyCore__Metadata__TypedFilterMetadataEntry, entry,
         envoy_core__metadata__typed_filter_metadata_entry);
    entry->key = make_copy(m, "weft.service");
    entry->value = make_any(m, service);
    metadata->n_typed_filter_metadata = 1;
    metadata->typed_filter_metadata = make_list(m, entry);
    out->metadata = metadata;
}

/* ---- clusters */

void make_cluster_of(make *m, const make_cluster *what) {
    const WeftMesh__ServiceSpec *spec = make_spec(m, what->name_space, what->service);
    const bool sidecar = m->node->kind == CONTROL_NODE_SIDECAR;
    MAKE(m, EnvoyCluster__Cluster, out, envoy_cluster__cluster);
    MAKE(m, EnvoyCluster__Cluster__EdsClusterConfig, eds,
         envoy_cluster__cluster__eds_cluster_config);
    eds->eds_config = make_ads(m);
    out->name = make_copy(m, what->name);
    out->cluster_discovery_type_case = ENVOY_CLUSTER__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE;
    out->type = ENVOY_CLUSTER__CLUSTER__DISCOVERY_TYPE__EDS;
    out->eds_cluster_config = eds;
    out->connect_timeout =
        make_duration(m, spec && *spec->connect_timeout ? model_duration(spec->connect_timeout)
                                                        : CONNECT_TIMEOUT);
    add_balancing(m, spec ? spec->balancing : NULL, out);
    add_limits(m, spec ? spec->limits : NULL, out);
    if (make_has_tls(m)) {
        const char *id = make_text(m, "spiffe://%s/ns/%s/sa/%s", model_trust_domain(m->set),
                                   what->name_space, what->service);
        out->transport_socket = make_tls(m, false, id, what->full);
    }
    if (sidecar) add_http2(m, out);
    if (sidecar) add_exports(m, what, spec, out);
    make_add(m, CONTROL_CDS, out->name, out);
}

void make_app_cluster(make *m, const char **why) {
    EnvoyCore__Address *at = make_address(m, m->node->app, why);
    weft_addr addr;
    if (!at || weft_addr_parse(m->node->app, &addr, NULL)) {
        if (!m->rc) m->rc = WEFT_EINVAL;
        return;
    }
    MAKE(m, EnvoyCluster__Cluster, out, envoy_cluster__cluster);
    MAKE(m, EnvoyEndpoint__ClusterLoadAssignment, all, envoy_endpoint__cluster_load_assignment);
    MAKE(m, EnvoyEndpoint__LocalityLbEndpoints, group, envoy_endpoint__locality_lb_endpoints);
    MAKE(m, EnvoyEndpoint__LbEndpoint, one, envoy_endpoint__lb_endpoint);
    MAKE(m, EnvoyEndpoint__Endpoint, endpoint, envoy_endpoint__endpoint);
    endpoint->address = at;
    one->host_identifier_case = ENVOY_ENDPOINT__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT;
    one->endpoint = endpoint;
    group->n_lb_endpoints = 1;
    group->lb_endpoints = make_list(m, one);
    all->cluster_name = make_copy(m, CONTROL_CLUSTER_APP);
    all->n_endpoints = 1;
    all->endpoints = make_list(m, group);
    out->name = make_copy(m, CONTROL_CLUSTER_APP);
    out->cluster_discovery_type_case = ENVOY_CLUSTER__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE;
    out->type = addr.kind == WEFT_ADDR_NAME ? ENVOY_CLUSTER__CLUSTER__DISCOVERY_TYPE__STRICT_DNS
                                            : ENVOY_CLUSTER__CLUSTER__DISCOVERY_TYPE__STATIC;
    out->connect_timeout = make_duration(m, CONNECT_TIMEOUT);
    out->load_assignment = all;
    add_http2(m, out);
    make_add(m, CONTROL_CDS, out->name, out);
}
