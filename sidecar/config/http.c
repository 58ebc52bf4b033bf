/* HTTP settings, connection managers, listeners. */
#include <string.h>

#include "envoy/extensions/filters/http/router/v3/router.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "sidecar/config/build.h"
#include "weft/clock.h"

#define MS WEFT_NS_PER_MS
#define S WEFT_NS_PER_S

const config_h2 build_h2_default = {
    .max_streams = 1000,
    .stream_window = 256u << 10,
    .connection_window = 16u << 20,
    .hpack_table = 4096,
    .keepalive_timeout = 20 * S,
    .idle_timeout = 3600 * S,
    .max_headers = 100,
    .max_header_bytes = 60u << 10,
};

void build_h2(config_build *b, const char *field, const EnvoyCore__Http2ProtocolOptions *from,
              config_h2 *out) {
    if (!from) return;
    build_in(b, field);
    out->hpack_table =
        build_u32(b, "hpack_table_size", from->hpack_table_size, out->hpack_table, 0, 65536);
    out->max_streams = build_u32(b, "max_concurrent_streams", from->max_concurrent_streams,
                                 out->max_streams, 1, INT32_MAX);
    out->stream_window =
        build_u32(b, "initial_stream_window_size", from->initial_stream_window_size,
                  out->stream_window, 65535, INT32_MAX);
    const uint32_t standard =
        out->connection_window > out->stream_window ? out->connection_window : out->stream_window;
    out->connection_window =
        build_u32(b, "initial_connection_window_size", from->initial_connection_window_size,
                  standard, 65535, INT32_MAX);
    if (out->connection_window < out->stream_window)
        build_wrong(b, "initial_connection_window_size", NULL,
                    "is smaller than the window of one stream (%u)", out->stream_window);
    if (from->connection_keepalive) {
        build_in(b, "connection_keepalive");
        if (!from->connection_keepalive->interval) build_missing(b, "interval", NULL);
        out->keepalive_interval =
            build_duration(b, "interval", from->connection_keepalive->interval, 0, MS, 86400 * S);
        out->keepalive_timeout = build_duration(b, "timeout", from->connection_keepalive->timeout,
                                                out->keepalive_timeout, MS, 86400 * S);
        build_up(b);
    }
    build_up(b);
}

void build_http(config_build *b, const char *field, const EnvoyCore__HttpProtocolOptions *from,
                config_h2 *out) {
    if (!from) return;
    build_in(b, field);
    out->idle_timeout =
        build_duration(b, "idle_timeout", from->idle_timeout, out->idle_timeout, 0, BUILD_LONGEST);
    out->max_age = build_duration(b, "max_connection_duration", from->max_connection_duration,
                                  out->max_age, 0, BUILD_LONGEST);
    out->max_stream_duration = build_duration(b, "max_stream_duration", from->max_stream_duration,
                                              out->max_stream_duration, 0, BUILD_LONGEST);
    out->max_headers =
        build_u32(b, "max_headers_count", from->max_headers_count, out->max_headers, 1, 1000);
    build_up(b);
}

/* ---- connection manager */

static void take_http_filter(config_build *b, const EnvoyHcm__HttpFilter *filter, bool last) {
    if (!*filter->name) build_missing(b, "name", NULL);
    if (filter->disabled) build_unsupported(b, "disabled", "remove the filter");
    if (filter->config_type_case == ENVOY_HCM__HTTP_FILTER__CONFIG_TYPE_CONFIG_DISCOVERY)
        build_unsupported(b, "config_discovery", "typed_config is");
    else if (filter->config_type_case != ENVOY_HCM__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG)
        build_missing(b, "typed_config", NULL);
    else if (build_any(b, "typed_config", filter->typed_config, &envoy_router__router__descriptor,
                       false) &&
             !last)
        build_wrong(b, "", NULL, "the router must be the last filter");
}

static void take_http_filters(config_build *b, const EnvoyHcm__HttpConnectionManager *from) {
    if (!from->n_http_filters) build_missing(b, "http_filters", "it must end with the router");
    for (size_t i = 0; i < from->n_http_filters; i++) {
        build_at(b, "http_filters", i);
        take_http_filter(b, from->http_filters[i], i + 1 == from->n_http_filters);
        for (size_t k = 0; k < i; k++)
            if (*from->http_filters[i]->name &&
                strcmp(from->http_filters[i]->name, from->http_filters[k]->name) == 0)
                build_wrong(b, "name", "rename one",
                            "\"%.100s\" is the name of http_filters[%zu] too",
                            from->http_filters[i]->name, k);
        build_up(b);
    }
}

static void take_rds(config_build *b, const EnvoyHcm__Rds *from) {
    if (!b->partial) {
        build_wrong(b, "rds", "write the routes into route_config",
                    "not supported in a file: there is no control plane to ask");
        return;
    }
    if (!*from->route_config_name) build_missing(b, "rds.route_config_name", NULL);
    build_ads(b, "rds.config_source", from->config_source);
}

static const config_table *take_routes(config_build *b,
                                       const EnvoyHcm__HttpConnectionManager *from) {
    const config_table *table = NULL;
    switch (from->route_specifier_case) {
    case ENVOY_HCM__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_ROUTE_CONFIG:
        build_in(b, "route_config");
        table = build_table(b, from->route_config);
        build_up(b);
        return table;
    case ENVOY_HCM__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_RDS:
        take_rds(b, from->rds);
        break;
    case ENVOY_HCM__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_SCOPED_ROUTES:
        build_unsupported(b, "scoped_routes", "route_config is");
        break;
    default:
        build_missing(b, "route_config", NULL);
    }
    return NULL;
}

static void take_manager(config_build *b, const EnvoyHcm__HttpConnectionManager *from,
                         config_listener *out) {
    const bool two = from->codec_type == ENVOY_HCM__HTTP_CONNECTION_MANAGER__CODEC_TYPE__AUTO ||
                     from->codec_type == ENVOY_HCM__HTTP_CONNECTION_MANAGER__CODEC_TYPE__HTTP2;
    if (!two)
        build_wrong(b, "codec_type", "HTTP2, or AUTO, which is the same here", "not supported");
    if (!*from->stat_prefix) build_missing(b, "stat_prefix", "the name of this listener's metrics");
    out->stat_prefix = build_copy(b, from->stat_prefix);
    build_http(b, "common_http_protocol_options", from->common_http_protocol_options, &out->h2);
    build_h2(b, "http2_protocol_options", from->http2_protocol_options, &out->h2);
    out->h2.max_header_bytes =
        1024 * build_u32(b, "max_request_headers_kb", from->max_request_headers_kb,
                         out->h2.max_header_bytes / 1024, 1, 1024);
    build_no_timeout(b, "stream_idle_timeout", from->stream_idle_timeout);
    take_http_filters(b, from);
    out->routes = take_routes(b, from);
}

/* ---- listeners */

static void take_filters(config_build *b, const EnvoyListener__FilterChain *chain,
                         config_listener *out) {
    if (!chain->n_filters) {
        build_missing(b, "filters", "one HttpConnectionManager");
        return;
    }
    if (chain->n_filters > 1)
        build_wrong(b, "filters[1]", "one HttpConnectionManager is",
                    "several network filters are not supported");
    build_at(b, "filters", 0);
    const EnvoyListener__Filter *filter = chain->filters[0];
    if (filter->config_type_case == ENVOY_LISTENER__FILTER__CONFIG_TYPE_CONFIG_DISCOVERY) {
        build_unsupported(b, "config_discovery", "typed_config is");
    } else if (filter->config_type_case != ENVOY_LISTENER__FILTER__CONFIG_TYPE_TYPED_CONFIG) {
        build_missing(b, "typed_config", NULL);
    } else {
        ProtobufCMessage *held = build_any(b, "typed_config", filter->typed_config,
                                           &envoy_hcm__http_connection_manager__descriptor, false);
        build_in(b, "typed_config");
        if (held) take_manager(b, (const EnvoyHcm__HttpConnectionManager *)held, out);
        build_up(b);
    }
    build_up(b);
}

static void take_chain(config_build *b, const EnvoyListener__Listener *from, config_listener *out) {
    if (!from->n_filter_chains) {
        build_missing(b, "filter_chains", NULL);
        return;
    }
    if (from->n_filter_chains > 1)
        build_wrong(b, "filter_chains[1]", "use a listener each",
                    "several filter chains are not supported");
    const EnvoyListener__FilterChain *chain = from->filter_chains[0];
    build_at(b, "filter_chains", 0);
    if (chain->filter_chain_match)
        build_unsupported(b, "filter_chain_match", "use a listener each");
    if (chain->transport_socket) out->tls = build_tls(b, chain->transport_socket, true);
    out->handshake_timeout =
        build_duration(b, "transport_socket_connect_timeout",
                       chain->transport_socket_connect_timeout, 15 * S, MS, 3600 * S);
    take_filters(b, chain, out);
    build_up(b);
}

static void check_taken(config_build *b, const config_listener *out) {
    char text[WEFT_ADDR_TEXT];
    weft_addr_format(&out->address, text);
    const bool any = out->address.port == 0 && out->address.kind != WEFT_ADDR_UNIX &&
                     out->address.kind != WEFT_ADDR_ABSTRACT;
    const char *other = weft_map_get(&b->addresses, text);
    if (other && !any) build_wrong(b, "address", NULL, "%s is the address of %s too", text, other);
    const char *what = weft_arena_printf(b->scratch, "listener \"%.100s\"", out->name);
    if (!other && (!what || weft_map_put(&b->addresses, text, (void *)(uintptr_t)what)))
        b->rc = WEFT_ENOMEM;
}

void build_listener(config_build *b, const EnvoyListener__Listener *from, config_listener *out) {
    out->h2 = build_h2_default;
    out->name = build_copy(b, from->name);
    if (from->listener_specifier_case) build_unsupported(b, "internal_listener", "address is");
    for (size_t i = 0; i < from->n_listener_filters; i++) {
        build_at(b, "listener_filters", i);
        build_wrong(b, "", "remove it", "the listener filter \"%.100s\" is not supported",
                    from->listener_filters[i]->name);
        build_up(b);
    }
    const bool addressed =
        build_address(b, "address", from->address, false, true, &out->address, &out->mode);
    if (addressed) check_taken(b, out);
    take_chain(b, from, out);
    const bool tls = from->n_filter_chains && from->filter_chains[0]->transport_socket;
    switch (from->traffic_direction) {
    case ENVOY_CORE__TRAFFIC_DIRECTION__INBOUND:
        out->direction = CONFIG_INBOUND;
        break;
    case ENVOY_CORE__TRAFFIC_DIRECTION__OUTBOUND:
        out->direction = CONFIG_OUTBOUND;
        break;
    default:
        out->direction = tls ? CONFIG_INBOUND : CONFIG_OUTBOUND;
    }
    if (addressed && !tls)
        build_check_plaintext(b, "address", &out->address,
                              "add transport_socket, listen on a unix socket or on loopback");
}
