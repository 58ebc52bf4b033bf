/* Resources of a control plane: one by one, and put together. */
#include "sidecar/config/resource.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "sidecar/config/build.h"

#define RESOURCE_MAX ((size_t)16 << 20) /* bytes of memory that one may take */

/* A resource and what it was made from. */
typedef struct resource {
    config_resource shown; /* first */
    _Atomic uint32_t refs;
    weft_arena *arena; /* holds all, this too */
    const ProtobufCMessage *message;
} resource;

static const struct {
    const char *url, *noun;
    const ProtobufCMessageDescriptor *type;
} kinds[CONFIG_KINDS] = {
    [CONFIG_KIND_CLUSTER] = {"type.googleapis.com/envoy.config.cluster.v3.Cluster", "cluster",
                             &envoy_cluster__cluster__descriptor},
    [CONFIG_KIND_ENDPOINTS] = {"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
                               "endpoints", &envoy_endpoint__cluster_load_assignment__descriptor},
    [CONFIG_KIND_LISTENER] = {"type.googleapis.com/envoy.config.listener.v3.Listener", "listener",
                              &envoy_listener__listener__descriptor},
    [CONFIG_KIND_ROUTES] = {"type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
                            "routes", &envoy_route__route_configuration__descriptor},
};

const char *config_kind_url(config_kind kind) { return kinds[kind].url; }
const char *config_kind_noun(config_kind kind) { return kinds[kind].noun; }

config_resource *config_resource_ref(config_resource *shown) {
    atomic_fetch_add_explicit(&((resource *)shown)->refs, 1, memory_order_relaxed);
    return shown;
}

void config_resource_unref(config_resource *shown) {
    resource *r = (resource *)shown;
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1) return;
    weft_arena_free(r->arena);
}

static const char *name_of(config_kind kind, const ProtobufCMessage *message) {
    switch (kind) {
    case CONFIG_KIND_CLUSTER:
        return ((const EnvoyCluster__Cluster *)message)->name;
    case CONFIG_KIND_ENDPOINTS:
        return ((const EnvoyEndpoint__ClusterLoadAssignment *)message)->cluster_name;
    case CONFIG_KIND_LISTENER:
        return ((const EnvoyListener__Listener *)message)->name;
    default:
        return ((const EnvoyRoute__RouteConfiguration *)message)->name;
    }
}

/* ---- what it needs */

static const char *eds_name(const EnvoyCluster__Cluster *c) {
    if (c->cluster_discovery_type_case != ENVOY_CLUSTER__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE ||
        c->type != ENVOY_CLUSTER__CLUSTER__DISCOVERY_TYPE__EDS)
        return NULL;
    const char *given = c->eds_cluster_config ? c->eds_cluster_config->service_name : "";
    return *given ? given : c->name;
}

/* The connection manager of a listener that passed its checks. */
static EnvoyHcm__HttpConnectionManager *manager_of(const EnvoyListener__Listener *l,
                                                   weft_arena *arena) {
    if (!l->n_filter_chains || !l->filter_chains[0]->n_filters) return NULL;
    const EnvoyListener__Filter *filter = l->filter_chains[0]->filters[0];
    if (filter->config_type_case != ENVOY_LISTENER__FILTER__CONFIG_TYPE_TYPED_CONFIG) return NULL;
    const Google__Protobuf__Any *any = filter->typed_config;
    return (EnvoyHcm__HttpConnectionManager *)weft_unpack(
        &envoy_hcm__http_connection_manager__descriptor,
        any->value.len ? any->value.data : (const uint8_t *)"", any->value.len, NULL, arena, NULL,
        NULL);
}

static int take_needs(resource *r) {
    config_resource *out = &r->shown;
    if (out->kind == CONFIG_KIND_CLUSTER)
        out->needs = eds_name((const EnvoyCluster__Cluster *)r->message);
    if (out->kind != CONFIG_KIND_LISTENER) return 0;
    const EnvoyHcm__HttpConnectionManager *manager =
        manager_of((const EnvoyListener__Listener *)r->message, r->arena);
    if (!manager) return WEFT_ENOMEM;
    if (manager->route_specifier_case == ENVOY_HCM__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_RDS)
        out->needs = manager->rds->route_config_name;
    return 0;
}

static int take_wanted(resource *r, const weft_map *wanted) {
    const size_t count = weft_map_count(wanted);
    const char **list = weft_arena_calloc(r->arena, count + 1, sizeof *list);
    size_t at = 0, i = 0;
    const char *name;
    if (!list) return WEFT_ENOMEM;
    while (weft_map_next(wanted, &at, &name, NULL, NULL))
        if (!(list[i++] = weft_arena_strdup(r->arena, name))) return WEFT_ENOMEM;
    r->shown.clusters = list;
    r->shown.cluster_count = count;
    return 0;
}

/* ---- one */

static void check_endpoints(config_build *b, const EnvoyEndpoint__ClusterLoadAssignment *from,
                            const config_resource *cluster) {
    config_cluster out = {.name = "", .discovery = CONFIG_STATIC};
    const EnvoyCluster__Cluster *known =
        cluster ? (const EnvoyCluster__Cluster *)((const resource *)cluster)->message : NULL;
    build_endpoints(b, from, !known || known->transport_socket, &out);
}

/* Builds it into memory that is thrown away: only the reports count. */
static void check(config_build *b, const resource *r, const config_resource *cluster) {
    config_cluster *c = build_alloc(b, 1, sizeof *c);
    config_listener *l = build_alloc(b, 1, sizeof *l);
    if (!c || !l) return;
    if (!*r->shown.name)
        build_missing(b, r->shown.kind == CONFIG_KIND_ENDPOINTS ? "cluster_name" : "name", NULL);
    else if (strlen(r->shown.name) >= CONFIG_NAME_MAX)
        build_wrong(b, "name", NULL, "is longer than %u bytes", CONFIG_NAME_MAX - 1);
    c->name = r->shown.name;
    switch (r->shown.kind) {
    case CONFIG_KIND_CLUSTER:
        build_cluster(b, (const EnvoyCluster__Cluster *)r->message, c);
        break;
    case CONFIG_KIND_ENDPOINTS:
        check_endpoints(b, (const EnvoyEndpoint__ClusterLoadAssignment *)r->message, cluster);
        break;
    case CONFIG_KIND_LISTENER:
        build_listener(b, (const EnvoyListener__Listener *)r->message, l);
        break;
    default:
        (void)build_table(b, (const EnvoyRoute__RouteConfiguration *)r->message);
    }
}

static int check_all(resource *r, const config_resource *cluster, const config_options *options,
                     weft_diags *diags) {
    weft_arena *scratch = weft_arena_new(4 * RESOURCE_MAX);
    config_build *b = scratch ? weft_arena_calloc(scratch, 1, sizeof *b) : NULL;
    config_snapshot *snapshot = b ? weft_arena_calloc(scratch, 1, sizeof *snapshot) : NULL;
    int rc = snapshot ? 0 : WEFT_ENOMEM;
    if (!rc) {
        weft_map wanted;
        weft_map_init(&wanted, 0);
        *b = (config_build){.arena = scratch,
                            .scratch = scratch,
                            .diags = diags,
                            .options = options,
                            .snapshot = snapshot,
                            .dynamic = true,
                            .partial = true,
                            .wanted = &wanted};
        weft_map_init(&b->names, 0);
        weft_map_init(&b->addresses, 0);
        check(b, r, cluster);
        rc = b->rc;
        if (!rc) rc = take_wanted(r, &wanted);
        weft_map_free(&b->names, NULL);
        weft_map_free(&b->addresses, NULL);
        weft_map_free(&wanted, NULL);
    }
    weft_arena_free(scratch);
    return rc;
}

int config_resource_new(config_kind kind, const uint8_t *data, size_t len,
                        const config_resource *cluster, const config_options *options,
                        char name[CONFIG_NAME_MAX], config_resource **out, weft_diags *diags) {
    const weft_guard_limits limits = {.max_bytes = RESOURCE_MAX / 4};
    const char *why = "";
    int rc = 0;
    name[0] = '\0';
    weft_arena *arena = weft_arena_new(RESOURCE_MAX);
    resource *r = arena ? weft_arena_calloc(arena, 1, sizeof *r) : NULL;
    if (!r) {
        weft_arena_free(arena);
        return WEFT_ENOMEM;
    }
    r->arena = arena;
    atomic_init(&r->refs, 1);
    r->shown = (config_resource){.kind = kind, .len = len};
    r->shown.data = weft_arena_memdup(arena, len ? data : (const uint8_t *)"", len);
    if (!r->shown.data) rc = WEFT_ENOMEM;
    if (!rc)
        r->message = weft_unpack(kinds[kind].type, r->shown.data, len, &limits, arena, &rc, &why);
    if (!r->message && rc != WEFT_ENOMEM)
        rc = weft_diag_add(diags, NULL, 0, 0, NULL, NULL, "%s", why);
    if (r->message) {
        r->shown.name = name_of(kind, r->message);
        r->shown.hash = weft_siphash13(r->shown.data, len, 3, 0);
        (void)snprintf(name, CONFIG_NAME_MAX, "%s", r->shown.name);
        rc = check_all(r, cluster, options, diags);
    }
    if (!rc) rc = take_needs(r);
    if (!rc)
        *out = &r->shown;
    else
        weft_arena_free(arena);
    return rc;
}

/* ---- all of them */

typedef struct assembly {
    weft_arena *arena; /* scratch */
    const config_parts *parts;
    weft_map endpoints, routes; /* by name */
    weft_diags *diags;
    int rc;
} assembly;

static void *copy_of(assembly *a, const void *from, size_t size) {
    void *copy = weft_arena_memdup(a->arena, from, size);
    if (!copy) a->rc = WEFT_ENOMEM;
    return copy;
}

static EnvoyCluster__Cluster *put_cluster(assembly *a, const config_resource *from) {
    const EnvoyCluster__Cluster *given =
        (const EnvoyCluster__Cluster *)((const resource *)from)->message;
    EnvoyCluster__Cluster *out = copy_of(a, given, sizeof *given);
    if (!out || !from->needs) return out;
    EnvoyEndpoint__ClusterLoadAssignment none = ENVOY_ENDPOINT__CLUSTER_LOAD_ASSIGNMENT__INIT;
    const resource *known = weft_map_get(&a->endpoints, from->needs);
    out->load_assignment =
        copy_of(a, known ? (const void *)known->message : (const void *)&none, sizeof none);
    if (!out->load_assignment) return NULL;
    out->load_assignment->cluster_name = out->name;
    out->type = ENVOY_CLUSTER__CLUSTER__DISCOVERY_TYPE__STATIC;
    out->eds_cluster_config = NULL;
    return out;
}

/* A listener whose routes are in it. */
static EnvoyListener__Listener *put_listener(assembly *a, const config_resource *from) {
    const EnvoyListener__Listener *given =
        (const EnvoyListener__Listener *)((const resource *)from)->message;
    EnvoyListener__Listener *out = copy_of(a, given, sizeof *given);
    if (!out || !from->needs) return out;
    const resource *routes = weft_map_get(&a->routes, from->needs);
    if (!routes) {
        a->rc =
            weft_diag_add(a->diags, NULL, 0, 0, NULL, NULL,
                          "listener \"%.200s\" has no routes \"%.200s\"", from->name, from->needs);
        return NULL;
    }
    EnvoyHcm__HttpConnectionManager *manager = manager_of(given, a->arena);
    EnvoyListener__FilterChain **chains = copy_of(a, given->filter_chains, sizeof *chains);
    EnvoyListener__FilterChain *chain =
        copy_of(a, given->filter_chains[0], sizeof *given->filter_chains[0]);
    EnvoyListener__Filter **filters = copy_of(a, chain ? chain->filters : NULL, sizeof *filters);
    EnvoyListener__Filter *filter = chain ? copy_of(a, chain->filters[0], sizeof *filter) : NULL;
    Google__Protobuf__Any *any = filter ? copy_of(a, filter->typed_config, sizeof *any) : NULL;
    if (!manager || !chains || !filters || !any) return NULL;
    manager->route_specifier_case =
        ENVOY_HCM__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_ROUTE_CONFIG;
    manager->route_config = (EnvoyRoute__RouteConfiguration *)(uintptr_t)routes->message;
    any->value.data = weft_pack(a->arena, &manager->base, &any->value.len);
    if (!any->value.data) a->rc = WEFT_ENOMEM;
    filter->typed_config = any;
    filters[0] = filter;
    chain->filters = filters;
    chains[0] = chain;
    out->filter_chains = chains;
    return out;
}

static void index_parts(assembly *a, config_kind kind, weft_map *out) {
    weft_map_init(out, 0);
    for (size_t i = 0; i < a->parts->counts[kind]; i++)
        if (weft_map_put(out, a->parts->items[kind][i]->name,
                         (void *)(uintptr_t)a->parts->items[kind][i]))
            a->rc = WEFT_ENOMEM;
}

/* What the file has for good, and then all parts. */
static void put_all(assembly *a, const EnvoyBootstrap__Bootstrap__StaticResources *base,
                    EnvoyBootstrap__Bootstrap__StaticResources *out) {
    const size_t *counts = a->parts->counts;
    out->clusters = weft_arena_calloc(
        a->arena, (base ? base->n_clusters : 0) + counts[CONFIG_KIND_CLUSTER] + 1, sizeof(void *));
    out->listeners = weft_arena_calloc(
        a->arena, (base ? base->n_listeners : 0) + counts[CONFIG_KIND_LISTENER] + 1,
        sizeof(void *));
    if (!out->clusters || !out->listeners) {
        a->rc = WEFT_ENOMEM;
        return;
    }
    for (size_t i = 0; base && i < base->n_clusters; i++)
        out->clusters[out->n_clusters++] = base->clusters[i];
    for (size_t i = 0; base && i < base->n_listeners; i++)
        out->listeners[out->n_listeners++] = base->listeners[i];
    for (size_t i = 0; i < counts[CONFIG_KIND_CLUSTER] && !a->rc; i++) {
        EnvoyCluster__Cluster *c = put_cluster(a, a->parts->items[CONFIG_KIND_CLUSTER][i]);
        if (c) out->clusters[out->n_clusters++] = c;
    }
    for (size_t i = 0; i < counts[CONFIG_KIND_LISTENER] && !a->rc; i++) {
        EnvoyListener__Listener *l = put_listener(a, a->parts->items[CONFIG_KIND_LISTENER][i]);
        if (l) out->listeners[out->n_listeners++] = l;
    }
}

int config_assemble(const config_snapshot *base, const config_parts *parts,
                    const config_options *options, config_snapshot **out, weft_diags *diags) {
    config_options with = options ? *options : (config_options){.size = sizeof with};
    const EnvoyBootstrap__Bootstrap *file = ((const config_owner *)base)->source;
    assembly a = {.arena = weft_arena_new(0), .parts = parts, .diags = diags};
    if (!a.arena) return WEFT_ENOMEM;
    with.dynamic = true;
    index_parts(&a, CONFIG_KIND_ENDPOINTS, &a.endpoints);
    index_parts(&a, CONFIG_KIND_ROUTES, &a.routes);
    EnvoyBootstrap__Bootstrap__StaticResources all =
        ENVOY_BOOTSTRAP__BOOTSTRAP__STATIC_RESOURCES__INIT;
    EnvoyBootstrap__Bootstrap whole = *file;
    whole.static_resources = &all;
    if (!a.rc) put_all(&a, file->static_resources, &all);
    size_t len = 0;
    const uint8_t *bytes = a.rc ? NULL : weft_pack(a.arena, &whole.base, &len);
    if (!bytes && !a.rc) a.rc = WEFT_ENOMEM;
    int rc = a.rc;
    if (!rc) rc = config_from_wire(bytes, len, &with, out, diags);
    weft_map_free(&a.endpoints, NULL);
    weft_map_free(&a.routes, NULL);
    weft_arena_free(a.arena);
    return rc;
}
