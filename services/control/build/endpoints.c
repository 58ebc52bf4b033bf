/* Endpoints: the instances of a service, or of a part of it. */
#include <stdlib.h>
#include <string.h>

#include "services/control/build/make.h"
#include "weft/addr.h"

#define ENDPOINTS_MAX 4096u /* of one cluster: what a sidecar takes; those beyond are left out */

typedef struct candidate {
    const char *address, *id;
    const char *region, *zone, *sub_zone;
    uint32_t weight;
    EnvoyCore__HealthStatus health;
} candidate;

static int by_locality(const candidate *x, const candidate *y) {
    int order = strcmp(x->region, y->region);
    if (!order) order = strcmp(x->zone, y->zone);
    return order ? order : strcmp(x->sub_zone, y->sub_zone);
}

/* One address twice: the healthy one counts, then that of the lower id. */
static int by_address(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    const int order = strcmp(x->address, y->address);
    if (order) return order;
    if (x->health != y->health) return x->health < y->health ? -1 : 1;
    return strcmp(x->id, y->id);
}

static int by_place(const void *a, const void *b) {
    const int order = by_locality(a, b);
    return order ? order : by_address(a, b);
}

static const WeftMesh__Subset *subset_of(const WeftMesh__ServiceSpec *spec, const char *name) {
    for (size_t i = 0; spec && i < spec->n_subsets; i++)
        if (!strcmp(spec->subsets[i]->name, name)) return spec->subsets[i];
    return NULL;
}

static bool has_label(const registry_view_instance *one, const char *key, const char *value) {
    for (size_t i = 0; i < one->label_count; i++)
        if (!strcmp(one->labels[i].key, key)) return !strcmp(one->labels[i].value, value);
    return false;
}

bool make_in_subset(const WeftMesh__Subset *subset, const registry_view_instance *one) {
    for (size_t i = 0; subset && i < subset->n_labels; i++)
        if (!has_label(one, subset->labels[i]->key, subset->labels[i]->value)) return false;
    return true;
}

bool make_static_in_subset(const WeftMesh__Subset *subset, const WeftMesh__Endpoint *one) {
    for (size_t i = 0; subset && i < subset->n_labels; i++) {
        bool found = false;
        for (size_t k = 0; k < one->n_labels; k++)
            found = found || (!strcmp(one->labels[k]->key, subset->labels[i]->key) &&
                              !strcmp(one->labels[k]->value, subset->labels[i]->value));
        if (!found) return false;
    }
    return true;
}

/* gRPC without a proxy takes IP addresses only; plaintext where it has no certificate. In the one form an
 * address has: twice the same would be refused. NULL for what nobody could dial. */
static const char *usable(make *m, const char *mtls, const char *plain) {
    const bool grpc = m->node->kind == CONTROL_NODE_GRPC;
    const char *text = !grpc || make_has_tls(m) ? mtls : plain;
    char form[WEFT_ADDR_TEXT];
    weft_addr addr;
    if (!text || !*text || weft_addr_parse(text, &addr, NULL)) return NULL;
    const bool ip = addr.kind == WEFT_ADDR_IPV4 || addr.kind == WEFT_ADDR_IPV6;
    if (addr.kind == WEFT_ADDR_NAME || (ip && !addr.port) || (grpc && !ip)) return NULL;
    return make_copy(m, weft_addr_format(&addr, form));
}

static uint32_t weight_of(uint32_t given) {
    if (!given) return 1;
    return given > REGISTRY_VIEW_WEIGHT_MAX ? REGISTRY_VIEW_WEIGHT_MAX : given;
}

static size_t gather(make *m, const make_cluster *what, candidate *out) {
    const WeftMesh__ServiceSpec *spec = make_spec(m, what->name_space, what->service);
    const WeftMesh__Subset *subset = subset_of(spec, what->subset);
    size_t count = 0;
    for (size_t i = 0; i < m->view->count; i++) {
        const registry_view_instance *one = &m->view->instances[i];
        if (strcmp(one->service, what->service) != 0 ||
            strcmp(one->name_space, what->name_space) != 0 || one->health == REGISTRY_VIEW_DOWN ||
            !make_in_subset(subset, one))
            continue;
        const char *address = usable(m, one->address, one->plain_address);
        if (!address) continue;
        out[count++] = (candidate){.address = address,
                                   .id = one->id,
                                   .region = one->region ? one->region : "",
                                   .zone = one->zone ? one->zone : "",
                                   .sub_zone = one->sub_zone ? one->sub_zone : "",
                                   .weight = weight_of(one->weight),
                                   .health = one->draining ? ENVOY_CORE__HEALTH_STATUS__DRAINING
                                             : one->health == REGISTRY_VIEW_UNHEALTHY
                                                 ? ENVOY_CORE__HEALTH_STATUS__UNHEALTHY
                                                 : ENVOY_CORE__HEALTH_STATUS__HEALTHY};
    }
    for (size_t i = 0; spec && i < spec->n_endpoints; i++) {
        const WeftMesh__Endpoint *one = spec->endpoints[i];
        const char *address = usable(m, one->address, NULL);
        if (!address || !make_static_in_subset(subset, one)) continue;
        out[count++] = (candidate){.address = address,
                                   .id = "",
                                   .region = one->region,
                                   .zone = one->zone,
                                   .sub_zone = "",
                                   .weight = one->_weight_case ? one->weight : 1,
                                   .health = ENVOY_CORE__HEALTH_STATUS__HEALTHY};
    }
    return count;
}

static EnvoyEndpoint__LbEndpoint *endpoint_of(make *m, const candidate *from) {
    const char *why = "";
    MAKE(m, EnvoyEndpoint__LbEndpoint, out, envoy_endpoint__lb_endpoint);
    MAKE(m, EnvoyEndpoint__Endpoint, endpoint, envoy_endpoint__endpoint);
    endpoint->address = make_address(m, from->address, &why);
    out->host_identifier_case = ENVOY_ENDPOINT__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT;
    out->endpoint = endpoint;
    out->health_status = from->health;
    if (from->weight != 1) out->load_balancing_weight = make_u32(m, from->weight);
    return out;
}

/* Instances of one place. */
static EnvoyEndpoint__LocalityLbEndpoints *group_of(make *m, const candidate *list, size_t count) {
    MAKE(m, EnvoyEndpoint__LocalityLbEndpoints, out, envoy_endpoint__locality_lb_endpoints);
    MAKE(m, EnvoyCore__Locality, at, envoy_core__locality);
    EnvoyEndpoint__LbEndpoint **items = make_alloc(m, count, sizeof *items);
    uint64_t total = 0;
    for (size_t i = 0; items && i < count; i++) {
        items[i] = endpoint_of(m, &list[i]);
        total += list[i].weight;
    }
    at->region = make_copy(m, list->region);
    at->zone = make_copy(m, list->zone);
    at->sub_zone = make_copy(m, list->sub_zone);
    out->locality = at;
    out->lb_endpoints = items;
    out->n_lb_endpoints = items ? count : 0;
    /* gRPC skips places without weight, and shares calls by it; for sidecars endpoints alone count. */
    if (m->node->kind == CONTROL_NODE_GRPC)
        out->load_balancing_weight = make_u32(m, total > UINT32_MAX ? UINT32_MAX : (uint32_t)total);
    return out;
}

void make_endpoints_of(make *m, const make_cluster *what) {
    const WeftMesh__ServiceSpec *spec = make_spec(m, what->name_space, what->service);
    const size_t most = m->view->count + (spec ? spec->n_endpoints : 0);
    MAKE(m, EnvoyEndpoint__ClusterLoadAssignment, out, envoy_endpoint__cluster_load_assignment);
    candidate *list = make_alloc(m, most, sizeof *list);
    if (!list) return;
    size_t count = gather(m, what, list), kept = 0, places = 0;
    qsort(list, count, sizeof *list, by_address);
    for (size_t i = 0; i < count && kept < ENDPOINTS_MAX; i++)
        if (!kept || strcmp(list[i].address, list[kept - 1].address) != 0) list[kept++] = list[i];
    qsort(list, kept, sizeof *list, by_place);
    EnvoyEndpoint__LocalityLbEndpoints **groups = make_alloc(m, kept, sizeof *groups);
    for (size_t i = 0, end; groups && i < kept; i = end) {
        for (end = i + 1; end < kept && !by_locality(&list[i], &list[end]);) end++;
        groups[places++] = group_of(m, &list[i], end - i);
    }
    out->cluster_name = make_copy(m, what->name);
    out->endpoints = groups;
    out->n_endpoints = places;
    make_add(m, CONTROL_EDS, out->cluster_name, out);
}
