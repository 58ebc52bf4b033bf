/* Listeners. */
#include <string.h>

#include "envoy/extensions/filters/http/router/v3/router.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "services/control/build/make.h"

static EnvoyHcm__HttpConnectionManager *manager(make *m, const char *name, const char *routes) {
    MAKE(m, EnvoyHcm__HttpConnectionManager, hcm, envoy_hcm__http_connection_manager);
    MAKE(m, EnvoyHcm__Rds, rds, envoy_hcm__rds);
    MAKE(m, EnvoyHcm__HttpFilter, filter, envoy_hcm__http_filter);
    MAKE(m, EnvoyRouter__Router, router, envoy_router__router);
    rds->config_source = make_ads(m);
    rds->route_config_name = make_copy(m, routes);
    filter->name = make_copy(m, "router");
    filter->config_type_case = ENVOY_HCM__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG;
    filter->typed_config = make_any(m, router);
    hcm->stat_prefix = make_copy(m, name);
    hcm->route_specifier_case = ENVOY_HCM__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_RDS;
    hcm->rds = rds;
    hcm->n_http_filters = 1;
    hcm->http_filters = make_list(m, filter);
    return hcm;
}

static void add_listener(make *m, const char *name, const char *routes, const char *address,
                         bool inbound, const char **why) {
    EnvoyCore__Address *at = make_address(m, address, why);
    if (!at) {
        if (!m->rc) m->rc = WEFT_EINVAL;
        return;
    }
    MAKE(m, EnvoyListener__Listener, listener, envoy_listener__listener);
    MAKE(m, EnvoyListener__FilterChain, chain, envoy_listener__filter_chain);
    MAKE(m, EnvoyListener__Filter, filter, envoy_listener__filter);
    EnvoyHcm__HttpConnectionManager *hcm = manager(m, name, routes);
    hcm->codec_type = ENVOY_HCM__HTTP_CONNECTION_MANAGER__CODEC_TYPE__HTTP2;
    filter->name = make_copy(m, "envoy.filters.network.http_connection_manager");
    filter->config_type_case = ENVOY_LISTENER__FILTER__CONFIG_TYPE_TYPED_CONFIG;
    filter->typed_config = make_any(m, hcm);
    chain->n_filters = 1;
    chain->filters = make_list(m, filter);
    if (inbound) chain->transport_socket = make_tls(m, true, NULL, NULL);
    listener->name = make_copy(m, name);
    listener->address = at;
    listener->n_filter_chains = 1;
    listener->filter_chains = make_list(m, chain);
    listener->traffic_direction =
        inbound ? ENVOY_CORE__TRAFFIC_DIRECTION__INBOUND : ENVOY_CORE__TRAFFIC_DIRECTION__OUTBOUND;
    make_add(m, CONTROL_LDS, listener->name, listener);
}

int make_listeners(make *m, const char **why) {
    if (*m->node->inbound)
        add_listener(m, CONTROL_LISTENER_INBOUND, CONTROL_LISTENER_INBOUND, m->node->inbound, true,
                     why);
    if (*m->node->outbound)
        add_listener(m, CONTROL_LISTENER_OUTBOUND, CONTROL_LISTENER_OUTBOUND, m->node->outbound,
                     false, why);
    for (size_t i = 0; i < m->node->upstream_count && !m->rc; i++) {
        const control_upstream *one = &m->node->upstreams[i];
        char service[64], space[64];
        if (!model_name_split(one->service, m->name_space, service, space)) continue;
        const char *full = make_text(m, "%s.%s", service, space);
        for (size_t k = 0; k < m->target_count; k++)
            if (!strcmp(m->targets[k].full, full))
                add_listener(m, make_text(m, "outbound-%s", one->service), full, one->address,
                             false, why);
    }
    return m->rc;
}

void make_api_listener(make *m, const char *name, const make_target *target) {
    MAKE(m, EnvoyListener__Listener, listener, envoy_listener__listener);
    MAKE(m, EnvoyListener__ApiListener, api, envoy_listener__api_listener);
    EnvoyHcm__HttpConnectionManager *hcm = manager(m, target->full, target->full);
    api->api_listener = make_any(m, hcm);
    listener->name = make_copy(m, name);
    listener->api_listener = api;
    make_add(m, CONTROL_LDS, listener->name, listener);
}
