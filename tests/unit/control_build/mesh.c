#include "tests/unit/control_build/mesh.h"

#include <stdio.h>
#include <string.h>

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "sidecar/config/resource.h"

static const registry_view_label v1[] = {{"version", "v1"}},
                                 v2[] = {{"zone", "b"}, {"version", "v2"}};
static const char *const exported[] = {"shop.product.v1.ProductService"};
static const char *const idempotent[] = {"/shop.product.v1.ProductService/PutProduct",
                                         "/shop.product.v1.ProductService/GetProduct"};

static const registry_view_instance instances[] = {
    {.id = "p2",
     .service = "product",
     .name_space = "shop",
     .address = "unix:/run/p2.sock",
     .plain_address = "127.0.0.1:7002",
     .labels = v2,
     .label_count = 2,
     .zone = "b"},
    {.id = "p1",
     .service = "product",
     .name_space = "shop",
     .address = "127.0.0.1:8001",
     .plain_address = "127.0.0.1:7001",
     .labels = v1,
     .label_count = 1,
     .weight = 3,
     .grpc_services = exported,
     .grpc_service_count = 1,
     .idempotent = idempotent,
     .idempotent_count = 2},
    {.id = "y1",
     .service = "payment",
     .name_space = "billing",
     .address = "10.0.0.8:8443",
     .plain_address = ""},
    {.id = "o1",
     .service = "order",
     .name_space = "shop",
     .address = "127.0.0.1:8003",
     .plain_address = ""},
};

mesh *mesh_new(void) {
    weft_arena *arena = weft_arena_new(0);
    mesh *m = weft_arena_calloc(arena, 1, sizeof *m);
    weft_buf text;
    weft_buf_init(&text, 0);
    m->arena = arena;
    m->documents = model_registry_new();
    m->xds = config_registry_new();
    m->view =
        (registry_view){.instances = instances, .count = sizeof instances / sizeof *instances};
    if (!weft_buf_read_file(&text, BUILD_FILES "/mesh.yaml"))
        m->set = mesh_parse(m, NULL, weft_arena_strdup(arena, weft_buf_str(&text)));
    weft_buf_free(&text);
    if (m->set && m->documents && m->xds) return m;
    mesh_free(m);
    return NULL;
}

void mesh_free(mesh *m) {
    weft_registry_free(m->documents);
    weft_registry_free(m->xds);
    weft_arena_free(m->arena);
}

const model_set *mesh_parse(mesh *m, const model_set *base, const char *text) {
    const model_text one = {.file = "mesh.yaml", .text = text, .len = strlen(text)};
    const model_set *set = NULL;
    weft_diags diags;
    weft_diags_init(&diags, m->arena, 0);
    if (!model_parse(m->documents, &one, 1, base, m->arena, &set, &diags)) return set;
    weft_diags_print(&diags, stderr);
    return NULL;
}

registry_view_instance *mesh_instances(mesh *m, registry_view *view) {
    registry_view_instance *copy =
        weft_arena_memdup(m->arena, m->view.instances, m->view.count * sizeof *copy);
    *view = m->view;
    view->instances = copy;
    return copy;
}

control_node mesh_sidecar(const char *service) {
    static const control_upstream one[] = {{"product", "unix:/run/up.sock"}};
    const bool order = !strcmp(service, "order");
    return (control_node){.kind = CONTROL_NODE_SIDECAR,
                          .id = "i",
                          .service = service,
                          .name_space = "shop",
                          .inbound = order ? "" : "0.0.0.0:8443",
                          .app = order ? "" : "unix:/run/app.sock",
                          .outbound = "unix:/run/out.sock",
                          .upstreams = one,
                          .upstream_count = order,
                          .cert_file = "/run/cert.pem",
                          .key_file = "/run/key.pem",
                          .ca_file = "/run/ca.pem",
                          .tls_instance = ""};
}

control_node mesh_client(bool tls) {
    static const char *const names[] = {"product.shop"};
    return (control_node){.kind = CONTROL_NODE_GRPC,
                          .id = "c",
                          .service = "order",
                          .name_space = "shop",
                          .inbound = "",
                          .app = "",
                          .outbound = "",
                          .demand = names,
                          .demand_count = 1,
                          .cert_file = "",
                          .key_file = "",
                          .ca_file = "",
                          .tls_instance = tls ? "default" : ""};
}

static const ProtobufCMessageDescriptor *const types[CONTROL_XDS_TYPES] = {
    [CONTROL_CDS] = &envoy_cluster__cluster__descriptor,
    [CONTROL_EDS] = &envoy_endpoint__cluster_load_assignment__descriptor,
    [CONTROL_LDS] = &envoy_listener__listener__descriptor,
    [CONTROL_RDS] = &envoy_route__route_configuration__descriptor,
};

static void *decode(mesh *m, control_xds_type type, const control_resource *one) {
    int rc = 0;
    const char *why = "";
    void *message = weft_unpack(types[type], one->value, one->value_len, NULL, m->arena, &rc, &why);
    if (!message) fprintf(stderr, "%s: %s\n", one->name, why);
    return message;
}

const char *mesh_json(mesh *m, const control_build_output *out) {
    const weft_json_options options = {.size = sizeof options, .indent = 2};
    weft_diags diags;
    weft_buf text;
    int rc = 0;
    weft_diags_init(&diags, m->arena, 0);
    weft_buf_init(&text, 0);
    for (int t = 0; t < CONTROL_XDS_TYPES; t++)
        for (size_t i = 0; i < out->types[t].count && !rc; i++) {
            void *message = decode(m, (control_xds_type)t, &out->types[t].items[i]);
            weft_buf_printf(&text, "// %s %s\n", strrchr(types[t]->name, '.') + 1,
                            out->types[t].items[i].name);
            rc = message ? weft_json_encode(m->xds, message, &options, &text, &diags) : WEFT_EPARSE;
            weft_buf_addc(&text, '\n');
        }
    weft_diags_print(&diags, stderr);
    const char *copy = rc ? NULL : weft_arena_strdup(m->arena, weft_buf_str(&text));
    weft_buf_free(&text);
    return copy;
}

/* ---- soundness */

static bool cluster_there(const control_build_output *out, const char *name) {
    if (control_build_find(out, CONTROL_CDS, name)) return true;
    fprintf(stderr, "a route leads to %s, which is missing\n", name);
    return false;
}

static bool action_sound(const control_build_output *out, const EnvoyRoute__RouteAction *action) {
    uint32_t total = 0;
    if (action->cluster_specifier_case == ENVOY_ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER)
        return cluster_there(out, action->cluster);
    const EnvoyRoute__WeightedCluster *all = action->weighted_clusters;
    for (size_t i = 0; i < all->n_clusters; i++) {
        if (!cluster_there(out, all->clusters[i]->name)) return false;
        total += all->clusters[i]->weight->value;
    }
    return all->n_clusters > 1 && total && all->total_weight->value == total;
}

static bool routes_sound(mesh *m, const control_build_output *out) {
    for (size_t i = 0; i < out->types[CONTROL_RDS].count; i++) {
        const EnvoyRoute__RouteConfiguration *table =
            decode(m, CONTROL_RDS, &out->types[CONTROL_RDS].items[i]);
        for (size_t h = 0; table && h < table->n_virtual_hosts; h++)
            for (size_t r = 0; r < table->virtual_hosts[h]->n_routes; r++)
                if (!action_sound(out, table->virtual_hosts[h]->routes[r]->route)) return false;
    }
    for (size_t i = 0; i < out->types[CONTROL_CDS].count; i++) {
        const EnvoyCluster__Cluster *one =
            decode(m, CONTROL_CDS, &out->types[CONTROL_CDS].items[i]);
        const bool eds = one->type == ENVOY_CLUSTER__CLUSTER__DISCOVERY_TYPE__EDS;
        if (eds != (control_build_find(out, CONTROL_EDS, one->name) != NULL)) return false;
    }
    for (int t = 0; t < CONTROL_XDS_TYPES; t++)
        for (size_t i = 1; i < out->types[t].count; i++)
            if (strcmp(out->types[t].items[i - 1].name, out->types[t].items[i].name) >= 0)
                return false;
    return true;
}

static bool loader_takes(mesh *m, const control_build_output *out) {
    static const config_kind kinds[] = {CONFIG_KIND_CLUSTER, CONFIG_KIND_ENDPOINTS,
                                        CONFIG_KIND_LISTENER, CONFIG_KIND_ROUTES};
    static const char text[] = "node: {id: i, cluster: order.shop}";
    const config_options options = {
        .size = sizeof options, .skip_files = true, .registry = m->xds, .dynamic = true};
    config_snapshot *base = NULL, *all = NULL;
    config_parts parts = {0};
    weft_diags diags;
    weft_diags_init(&diags, m->arena, 0);
    int rc = config_parse(text, sizeof text - 1, &options, &base, &diags);
    for (int t = 0; t < CONTROL_XDS_TYPES && !rc; t++) {
        const size_t count = out->types[t].count;
        config_resource **list = weft_arena_calloc(m->arena, count + 1, sizeof *list);
        parts.items[kinds[t]] = (const config_resource *const *)list;
        for (size_t i = 0; i < count && !rc; i++) {
            const control_resource *one = &out->types[t].items[i];
            char name[CONFIG_NAME_MAX];
            rc = config_resource_new(kinds[t], one->value, one->value_len, NULL, &options, name,
                                     &list[i], &diags);
            if (!rc) parts.counts[kinds[t]]++;
            if (!rc && strcmp(name, one->name) != 0) rc = WEFT_EINVAL;
        }
    }
    if (!rc) rc = config_assemble(base, &parts, &options, &all, &diags);
    weft_diags_print(&diags, stderr);
    for (int k = 0; k < CONFIG_KINDS; k++)
        for (size_t i = 0; i < parts.counts[k]; i++)
            config_resource_unref((config_resource *)parts.items[k][i]);
    if (!rc) config_unref(all);
    config_unref(base);
    return !rc;
}

bool mesh_sound(mesh *m, const control_node *node, const control_build_output *out) {
    return routes_sound(m, out) && (node->kind != CONTROL_NODE_SIDECAR || loader_takes(m, out));
}
