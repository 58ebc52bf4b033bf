/* Clusters and their endpoints. */
#include <string.h>

#include "sidecar/config/build.h"
#include "weft/clock.h"
#include "weft/sidecar/v1/service.pb-c.h"

#define S WEFT_NS_PER_S
#define ENDPOINTS_MAX 4096
#define WEIGHT_MAX ((1u << 20) - 1)

/* ---- endpoints */

typedef struct gathering {
    config_build *b;
    config_cluster *out;
    config_endpoint *list;
    weft_map seen;
    bool tls;
} gathering;

static const char *zone_of(config_build *b, const EnvoyCore__Locality *at) {
    if (!at || (!*at->region && !*at->zone && !*at->sub_zone)) return "";
    const char *zone = weft_arena_printf(b->arena, "%s/%s/%s", at->region, at->zone, at->sub_zone);
    if (!zone) b->rc = WEFT_ENOMEM;
    return zone ? zone : "";
}

static config_health health_of(EnvoyCore__HealthStatus status) {
    if (status == ENVOY_CORE__HEALTH_STATUS__DRAINING) return CONFIG_DRAINING;
    if (status == ENVOY_CORE__HEALTH_STATUS__UNHEALTHY ||
        status == ENVOY_CORE__HEALTH_STATUS__TIMEOUT)
        return CONFIG_UNHEALTHY;
    return CONFIG_HEALTHY;
}

static void check_seen(gathering *g, const config_endpoint *endpoint) {
    char text[WEFT_ADDR_TEXT];
    const int rc = weft_map_add(&g->seen, weft_addr_format(&endpoint->address, text), g);
    if (rc == WEFT_EEXIST)
        build_wrong(g->b, "endpoint.address", "use load_balancing_weight",
                    "%s is an endpoint of this cluster already", text);
    else if (rc)
        g->b->rc = rc;
}

static void take_endpoint(gathering *g, const EnvoyEndpoint__LbEndpoint *from,
                          const EnvoyEndpoint__LocalityLbEndpoints *group) {
    config_build *b = g->b;
    config_endpoint *out = &g->list[g->out->endpoint_count];
    if (from->host_identifier_case == ENVOY_ENDPOINT__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT_NAME) {
        build_unsupported(b, "endpoint_name", "endpoint is");
        return;
    }
    if (from->host_identifier_case != ENVOY_ENDPOINT__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT) {
        build_missing(b, "endpoint", NULL);
        return;
    }
    out->host = build_copy(b, from->endpoint->hostname);
    out->priority = group->priority;
    out->zone = zone_of(b, group->locality);
    out->health = health_of(from->health_status);
    out->weight =
        build_u32(b, "load_balancing_weight", from->load_balancing_weight, 1, 1, WEIGHT_MAX);
    build_in(b, "endpoint");
    const bool good = build_address(b, "address", from->endpoint->address,
                                    g->out->discovery == CONFIG_DNS, false, &out->address, NULL);
    if (good && !g->tls)
        build_check_plaintext(b, "address", &out->address, "add transport_socket to the cluster");
    build_up(b);
    if (!good) return;
    check_seen(g, out);
    g->out->endpoint_count++;
}

/* Localities may carry weights as long as these change nothing. */
static void check_locality_weights(config_build *b,
                                   const EnvoyEndpoint__ClusterLoadAssignment *from) {
    for (size_t i = 1; i < from->n_endpoints; i++) {
        const EnvoyEndpoint__LocalityLbEndpoints *one = from->endpoints[i];
        for (size_t k = 0; k < i; k++) {
            const EnvoyEndpoint__LocalityLbEndpoints *other = from->endpoints[k];
            if (one->priority != other->priority || !one->load_balancing_weight ||
                !other->load_balancing_weight ||
                one->load_balancing_weight->value == other->load_balancing_weight->value)
                continue;
            build_at(b, "endpoints", i);
            build_wrong(b, "load_balancing_weight", "weigh the endpoints",
                        "weights of localities are not supported");
            build_up(b);
            return;
        }
    }
}

static void check_priorities(config_build *b, const EnvoyEndpoint__ClusterLoadAssignment *from) {
    for (size_t i = 0; i < from->n_endpoints; i++) {
        const uint32_t priority = from->endpoints[i]->priority;
        bool below = priority == 0;
        for (size_t k = 0; !below && k < from->n_endpoints; k++)
            below = from->endpoints[k]->priority == priority - 1;
        if (below) continue;
        build_at(b, "endpoints", i);
        build_wrong(b, "priority", "they begin at 0 without gaps",
                    "priority %u is there without %u", priority, priority - 1);
        build_up(b);
    }
}

static void take_groups(gathering *g, const EnvoyEndpoint__ClusterLoadAssignment *from) {
    config_build *b = g->b;
    for (size_t i = 0; i < from->n_endpoints; i++) {
        const EnvoyEndpoint__LocalityLbEndpoints *group = from->endpoints[i];
        build_at(b, "endpoints", i);
        for (size_t k = 0; k < group->n_lb_endpoints; k++) {
            build_at(b, "lb_endpoints", k);
            take_endpoint(g, group->lb_endpoints[k], group);
            build_up(b);
        }
        build_up(b);
    }
    check_priorities(b, from);
    check_locality_weights(b, from);
}

void build_endpoints(config_build *b, const EnvoyEndpoint__ClusterLoadAssignment *from, bool tls,
                     config_cluster *out) {
    size_t count = 0;
    for (size_t i = 0; i < from->n_endpoints; i++) count += from->endpoints[i]->n_lb_endpoints;
    if (!count && !b->dynamic) build_missing(b, "endpoints", "at least one lb_endpoints");
    if (count > ENDPOINTS_MAX)
        build_wrong(b, "endpoints", NULL, "has %zu endpoints, more than %d", count, ENDPOINTS_MAX);
    gathering g = {.b = b, .out = out, .tls = tls};
    g.list = count <= ENDPOINTS_MAX ? build_alloc(b, count, sizeof *g.list) : NULL;
    weft_map_init(&g.seen, ENDPOINTS_MAX);
    out->endpoints = g.list;
    if (g.list) take_groups(&g, from);
    weft_map_free(&g.seen, NULL);
}

static void take_assignment(config_build *b, const EnvoyCluster__Cluster *from,
                            config_cluster *out) {
    const EnvoyEndpoint__ClusterLoadAssignment *all = from->load_assignment;
    if (!all) {
        if (!b->partial || from->type != ENVOY_CLUSTER__CLUSTER__DISCOVERY_TYPE__EDS)
            build_missing(b, "load_assignment", NULL);
        return;
    }
    build_in(b, "load_assignment");
    if (*all->cluster_name && strcmp(all->cluster_name, from->name) != 0)
        build_wrong(b, "cluster_name", NULL, "\"%.100s\" is not the name of this cluster",
                    all->cluster_name);
    build_endpoints(b, all, from->transport_socket != NULL, out);
    build_up(b);
}

/* ---- discovery */

bool build_ads(config_build *b, const char *field, const EnvoyCore__ConfigSource *from) {
    if (!from) return build_missing(b, field, "ads: {}");
    if (from->config_source_specifier_case ==
            ENVOY_CORE__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_ADS ||
        from->config_source_specifier_case ==
            ENVOY_CORE__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_SELF)
        return true;
    return build_wrong(b, field, "ads: {} or self: {}", "not supported");
}

static void take_eds(config_build *b, const EnvoyCluster__Cluster *from) {
    if (!b->partial) {
        build_wrong(b, "type", "STATIC or STRICT_DNS",
                    "EDS is not supported in a file: there is no control plane to ask");
        return;
    }
    if (from->load_assignment)
        build_wrong(b, "load_assignment", "remove it", "the cluster is of type EDS");
    if (!from->eds_cluster_config)
        build_missing(b, "eds_cluster_config", "eds_config: {ads: {}}");
    else
        build_ads(b, "eds_cluster_config.eds_config", from->eds_cluster_config->eds_config);
}

static void take_discovery(config_build *b, const EnvoyCluster__Cluster *from,
                           config_cluster *out) {
    out->discovery = CONFIG_STATIC;
    if (from->cluster_discovery_type_case ==
        ENVOY_CLUSTER__CLUSTER__CLUSTER_DISCOVERY_TYPE_CLUSTER_TYPE) {
        build_unsupported(b, "cluster_type", "type: STATIC or STRICT_DNS");
        return;
    }
    switch (from->type) {
    case ENVOY_CLUSTER__CLUSTER__DISCOVERY_TYPE__STATIC:
        break;
    case ENVOY_CLUSTER__CLUSTER__DISCOVERY_TYPE__STRICT_DNS:
        out->discovery = CONFIG_DNS;
        break;
    case ENVOY_CLUSTER__CLUSTER__DISCOVERY_TYPE__EDS:
        take_eds(b, from);
        return;
    default:
        build_wrong(b, "type", "STATIC or STRICT_DNS", "not supported");
        return;
    }
    if (from->eds_cluster_config)
        build_wrong(b, "eds_cluster_config", "remove it", "the cluster is not of type EDS");
}

/* ---- protocol */

static void take_explicit(config_build *b,
                          const EnvoyUpstream__HttpProtocolOptions__ExplicitHttpConfig *from,
                          config_cluster *out) {
    build_in(b, "explicit_http_config");
    switch (from->protocol_config_case) {
    case ENVOY_UPSTREAM__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_HTTP2_PROTOCOL_OPTIONS:
        build_h2(b, "http2_protocol_options", from->http2_protocol_options, &out->h2);
        break;
    case ENVOY_UPSTREAM__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_HTTP_PROTOCOL_OPTIONS:
        build_unsupported(b, "http_protocol_options", "http2_protocol_options is");
        break;
    case ENVOY_UPSTREAM__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_HTTP3_PROTOCOL_OPTIONS:
        build_unsupported(b, "http3_protocol_options", "http2_protocol_options is");
        break;
    default:
        build_missing(b, "http2_protocol_options", NULL);
    }
    build_up(b);
}

static void take_upstream(config_build *b, const EnvoyUpstream__HttpProtocolOptions *from,
                          config_cluster *out) {
    build_http(b, "common_http_protocol_options", from->common_http_protocol_options, &out->h2);
    switch (from->upstream_protocol_options_case) {
    case ENVOY_UPSTREAM__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_EXPLICIT_HTTP_CONFIG:
        take_explicit(b, from->explicit_http_config, out);
        break;
    case ENVOY_UPSTREAM__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_USE_DOWNSTREAM_PROTOCOL_CONFIG:
        break; /* HTTP/2 there, HTTP/2 here */
    case ENVOY_UPSTREAM__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_AUTO_CONFIG:
        build_unsupported(b, "auto_config", "explicit_http_config is");
        break;
    default:
        build_missing(b, "explicit_http_config", NULL);
    }
}

static void take_protocol(config_build *b, const EnvoyCluster__Cluster *from, config_cluster *out) {
    static const char *const key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    bool typed = false;
    out->h2 = build_h2_default;
    build_h2(b, "http2_protocol_options", from->http2_protocol_options, &out->h2);
    build_in(b, "typed_extension_protocol_options");
    for (size_t i = 0; i < from->n_typed_extension_protocol_options; i++) {
        const EnvoyCluster__Cluster__TypedExtensionProtocolOptionsEntry *entry =
            from->typed_extension_protocol_options[i];
        build_in(b, entry->key);
        typed = true;
        if (strcmp(entry->key, key) != 0) {
            build_unsupported(b, "", "envoy.extensions.upstreams.http.v3.HttpProtocolOptions is");
        } else {
            ProtobufCMessage *held = build_any(
                b, "", entry->value, &envoy_upstream__http_protocol_options__descriptor, false);
            if (held) take_upstream(b, (const EnvoyUpstream__HttpProtocolOptions *)held, out);
        }
        build_up(b);
    }
    build_up(b);
    if (typed && from->http2_protocol_options)
        build_wrong(b, "http2_protocol_options", "remove it",
                    "contradicts typed_extension_protocol_options");
    if (!typed && !from->http2_protocol_options)
        build_missing(b, "typed_extension_protocol_options",
                      "HTTP/1.1 is not spoken: give HttpProtocolOptions with "
                      "explicit_http_config: {http2_protocol_options: {}}");
}

/* ---- what it exports */

static bool method_path(const char *path) {
    const char *slash = *path == '/' ? strchr(path + 1, '/') : NULL;
    return slash && slash > path + 1 && slash[1] && !strchr(slash + 1, '/');
}

static void check_methods(config_build *b, const char *field, char *const *paths, size_t count,
                          char *const *others, size_t other_count) {
    for (size_t i = 0; i < count; i++) {
        build_at(b, field, i);
        if (!method_path(paths[i]))
            build_wrong(b, "", "write \"/package.Service/Method\"",
                        "\"%.200s\" is not the path of a method", paths[i]);
        for (size_t k = 0; k < other_count; k++)
            if (strcmp(paths[i], others[k]) == 0)
                build_wrong(b, "", "remove one", "\"%.200s\" is in no_side_effects too", paths[i]);
        build_up(b);
    }
}

static void take_service(config_build *b, const WeftSidecar__Service *from, config_cluster *out) {
    config_text *list = build_alloc(b, from->n_grpc_services, sizeof *list);
    if (!list) return;
    for (size_t i = 0; i < from->n_grpc_services; i++) {
        const char *name = from->grpc_services[i];
        build_at(b, "grpc_services", i);
        if (!*name || strpbrk(name, "/ *"))
            build_wrong(b, "", "write \"package.Service\"",
                        "\"%.200s\" is not the name of a gRPC service", name);
        build_up(b);
        list[i] = build_text(b, name);
    }
    out->services = list;
    out->service_count = (uint32_t)from->n_grpc_services;
    check_methods(b, "no_side_effects", from->no_side_effects, from->n_no_side_effects, NULL, 0);
    check_methods(b, "idempotent", from->idempotent, from->n_idempotent, from->no_side_effects,
                  from->n_no_side_effects);
}

static void take_metadata(config_build *b, const EnvoyCore__Metadata *from, config_cluster *out) {
    if (!from) return;
    build_in(b, "metadata");
    build_in(b, "typed_filter_metadata");
    for (size_t i = 0; i < from->n_typed_filter_metadata; i++) {
        if (strcmp(from->typed_filter_metadata[i]->key, "weft.service") != 0) continue;
        build_in(b, "weft.service");
        ProtobufCMessage *held = build_any(b, "", from->typed_filter_metadata[i]->value,
                                           &weft_sidecar__service__descriptor, false);
        if (held) take_service(b, (const WeftSidecar__Service *)held, out);
        build_up(b);
    }
    build_up(b);
    build_up(b);
}

static uint64_t content_hash(config_build *b, const EnvoyCluster__Cluster *from) {
    size_t len = 0;
    const uint8_t *bytes = weft_pack(b->scratch, &from->base, &len);
    if (!bytes) b->rc = WEFT_ENOMEM;
    return bytes ? weft_siphash13(bytes, len, 0, 0) : 0;
}

void build_cluster(config_build *b, const EnvoyCluster__Cluster *from, config_cluster *out) {
    out->hash = content_hash(b, from);
    take_discovery(b, from, out);
    out->connect_timeout = build_duration(b, "connect_timeout", from->connect_timeout, 5 * S,
                                          WEFT_NS_PER_MS, 3600 * S);
    out->dns_refresh = build_duration(b, "dns_refresh_rate", from->dns_refresh_rate, 5 * S,
                                      WEFT_NS_PER_MS, 86400 * S);
    build_balance(b, from, out);
    build_thresholds(b, from->circuit_breakers, out);
    if (from->transport_socket) out->tls = build_tls(b, from->transport_socket, false);
    take_protocol(b, from, out);
    take_metadata(b, from->metadata, out);
    take_assignment(b, from, out);
}
