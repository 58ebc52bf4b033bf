/* What nodes are told: golden files (NAME.json; `test_build --write NAME` prints one anew), and that a change
 * touches what it must and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "envoy/config/core/v3/base.pb-c.h"
#include "tests/unit/control_build/mesh.h"

static const char *const golden[] = {"order", "product", "client", "client_tls"};

static control_node node_of(const char *name) {
    if (!strncmp(name, "client", 6)) return mesh_client(strlen(name) > 6);
    return mesh_sidecar(name);
}

static int set_up(void **state) { return (*state = mesh_new()) ? 0 : -1; }

static int tear_down(void **state) {
    mesh_free(*state);
    return 0;
}

static control_build_output made(mesh *m, const model_set *set, const registry_view *view,
                                 const control_node *node) {
    control_build_output out;
    const char *why = "";
    const int rc = control_build(set, view, node, m->arena, &out, &why);
    if (rc) fail_msg("%d: %s", rc, why);
    if (!mesh_sound(m, node, &out)) fail_msg("%s is told what does not hold", node->service);
    return out;
}

/* Names of resources that differ, "type:name " each, from one output to another. */
static const char *changed(mesh *m, const control_build_output *a, const control_build_output *b) {
    static const char *const names[] = {"cds", "eds", "lds", "rds"};
    weft_buf out;
    weft_buf_init(&out, 0);
    for (int t = 0; t < CONTROL_XDS_TYPES; t++) {
        for (size_t i = 0; i < a->types[t].count; i++)
            if (!control_build_find(b, (control_xds_type)t, a->types[t].items[i].name))
                weft_buf_printf(&out, "-%s:%s ", names[t], a->types[t].items[i].name);
        for (size_t i = 0; i < b->types[t].count; i++) {
            const control_resource *new = &b->types[t].items[i];
            const control_resource *old = control_build_find(a, (control_xds_type)t, new->name);
            const bool same = old && old->value_len == new->value_len &&
                              !memcmp(old->value, new->value, new->value_len);
            assert_int_equal(same, old && !strcmp(old->version, new->version));
            if (!same) weft_buf_printf(&out, "%s%s:%s ", old ? "" : "+", names[t], new->name);
        }
        const bool moved = strcmp(a->types[t].version, b->types[t].version) != 0;
        assert_int_equal(moved, strstr(weft_buf_str(&out), names[t]) != NULL);
    }
    const char *copy = weft_arena_strdup(m->arena, weft_buf_str(&out));
    weft_buf_free(&out);
    return copy;
}

static void as_golden(void **state) {
    mesh *m = *state;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        const control_node node = node_of(golden[i]);
        const control_build_output out = made(m, m->set, &m->view, &node);
        const char *json = mesh_json(m, &out);
        weft_buf text;
        assert_non_null(json);
        weft_buf_init(&text, 0);
        const char *path = weft_arena_printf(m->arena, "%s/%s.json", BUILD_FILES, golden[i]);
        assert_int_equal(weft_buf_read_file(&text, path), 0);
        assert_string_equal(json, weft_buf_str(&text));
        weft_buf_free(&text);
    }
}

static void order_makes_no_difference(void **state) {
    mesh *m = *state;
    registry_view view;
    registry_view_instance *list = mesh_instances(m, &view);
    const control_node node = mesh_sidecar("order");
    const control_build_output before = made(m, m->set, &m->view, &node);
    for (size_t i = 0; i < view.count / 2; i++) {
        const registry_view_instance one = list[i];
        list[i] = list[view.count - 1 - i];
        list[view.count - 1 - i] = one;
    }
    const control_build_output after = made(m, m->set, &view, &node);
    assert_string_equal(changed(m, &before, &after), "");
}

/* Instances come, go, drain, fall ill: endpoints of what they belong to and nothing else. */
static void instances_touch_endpoints(void **state) {
    mesh *m = *state;
    registry_view view;
    registry_view_instance *list = mesh_instances(m, &view);
    static const char *const exported[] = {"shop.product.v1.ProductService"};
    static const char *const idempotent[] = {"/shop.product.v1.ProductService/PutProduct"};
    const registry_view_service known = {"product", "shop", exported, 1, NULL, 0, idempotent, 1};
    view.services = &known;
    view.service_count = 1;
    const control_node node = mesh_sidecar("order"), client = mesh_client(false);
    const control_build_output before = made(m, m->set, &view, &node);
    const control_build_output seen = made(m, m->set, &view, &client);
    list[0].draining = true;
    control_build_output after = made(m, m->set, &view, &node);
    assert_string_equal(changed(m, &before, &after), "eds:product.shop;v2 ");
    after = made(m, m->set, &view, &client);
    assert_string_equal(changed(m, &seen, &after), "eds:product.shop;v2 ");
    list[0].draining = false;
    list[1].health = REGISTRY_VIEW_DOWN;
    after = made(m, m->set, &view, &node);
    assert_string_equal(changed(m, &before, &after), "eds:product.shop;v1 ");
    list[1].health = REGISTRY_VIEW_UNHEALTHY;
    after = made(m, m->set, &view, &node);
    assert_string_equal(changed(m, &before, &after), "eds:product.shop;v1 ");
    list[1].health = REGISTRY_VIEW_HEALTHY;
    list[2].address = "10.0.0.9:8443";
    after = made(m, m->set, &view, &node);
    assert_string_equal(changed(m, &before, &after), "eds:payment.billing ");
    list[3].draining = true; /* its own */
    list[2].address = "10.0.0.8:8443";
    after = made(m, m->set, &view, &node);
    assert_string_equal(changed(m, &before, &after), "");
    /* The last of a service: what it exports is remembered. */
    view.count = 1;
    after = made(m, m->set, &view, &node);
    assert_string_equal(changed(m, &before, &after), "eds:payment.billing eds:product.shop;v1 ");
}

static void documents_touch_what_they_say(void **state) {
    mesh *m = *state;
    static const char route[] =
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\n"
        "metadata: {name: product, namespace: shop}\n"
        "spec:\n  parentRefs: [{kind: Service, name: product}]\n"
        "  rules:\n  - backendRefs: [{name: product, subset: v2}, {name: product, subset: v1, "
        "weight: 0}]\n";
    static const char service[] =
        "apiVersion: weft.dev/v1\nkind: Service\nmetadata: {name: payment, namespace: billing}\n"
        "spec: {connectTimeout: 3s}\n";
    static const char mesh_text[] = "apiVersion: weft.dev/v1\nkind: Mesh\nmetadata: {name: shop}\n"
                                    "spec: {trustDomain: mesh.local, onDemand: true}\n";
    const control_node node = mesh_sidecar("order"), product = mesh_sidecar("product");
    const control_build_output before = made(m, m->set, &m->view, &node);
    const control_build_output other = made(m, m->set, &m->view, &product);
    const model_set *set = mesh_parse(m, m->set, route);
    control_build_output after = made(m, set, &m->view, &node);
    assert_string_equal(changed(m, &before, &after),
                        "-cds:product.shop;v1 -eds:product.shop;v1 rds:outbound rds:product.shop ");
    after = made(m, set, &m->view, &product);
    assert_string_equal(changed(m, &other, &after), "");
    set = mesh_parse(m, m->set, service);
    after = made(m, set, &m->view, &node);
    assert_string_equal(changed(m, &before, &after), "cds:payment.billing eds:payment.billing ");
    set = mesh_parse(m, m->set, mesh_text);
    after = made(m, set, &m->view, &node);
    assert_string_equal(changed(m, &before, &after), "");
}

/* A route of the caller's namespace goes before the service's own, for callers there only. */
static void consumer_routes(void **state) {
    mesh *m = *state;
    static const char text[] =
        "apiVersion: weft.dev/v1\nkind: Service\nmetadata: {name: till, namespace: billing}\n"
        "spec: {uses: [product.shop, payment]}\n---\n"
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\n"
        "metadata: {name: mine, namespace: billing}\n"
        "spec:\n  parentRefs: [{kind: Service, name: product, namespace: shop}]\n"
        "  rules:\n  - timeouts: {request: 7s}\n    backendRefs: [{name: product, namespace: shop}]\n";
    control_node node = mesh_sidecar("order");
    const control_build_output before = made(m, m->set, &m->view, &node);
    const model_set *set = mesh_parse(m, m->set, text);
    control_build_output after = made(m, set, &m->view, &node);
    assert_string_equal(changed(m, &before, &after), "");
    node.service = "till";
    node.name_space = "billing";
    node.upstream_count = 0;
    after = made(m, set, &m->view, &node);
    assert_int_equal(after.types[CONTROL_CDS].count, 2);
    assert_string_equal(after.types[CONTROL_CDS].items[0].name, "payment.billing");
    assert_string_equal(after.types[CONTROL_CDS].items[1].name, "product.shop");
}

static void on_demand(void **state) {
    mesh *m = *state;
    static const char open[] = "apiVersion: weft.dev/v1\nkind: Mesh\nmetadata: {name: shop}\n";
    static const char *const names[] = {"order", "payment.billing:443", "nobody", "A b", "order"};
    control_node node = mesh_sidecar("order");
    node.demand = names;
    node.demand_count = 5;
    control_build_output out = made(m, m->set, &m->view, &node);
    assert_int_equal(out.refused_count, 3);
    assert_string_equal(out.refused[0], "A b: is not the name of a service");
    assert_string_equal(out.refused[1],
                        "nobody: there is no service nobody.shop; add a document of kind Service");
    assert_string_equal(out.refused[2],
                        "order: order does not use it; add it to uses of Service shop/order");
    assert_null(control_build_find(&out, CONTROL_CDS, "order.shop"));
    out = made(m, mesh_parse(m, m->set, open), &m->view, &node);
    assert_int_equal(out.refused_count, 2);
    assert_non_null(control_build_find(&out, CONTROL_CDS, "order.shop"));
}

static void wrong_nodes(void **state) {
    mesh *m = *state;
    control_build_output out;
    const char *why = "";
    control_node node = mesh_sidecar("product");
    node.app = "nowhere";
    assert_int_equal(control_build(m->set, &m->view, &node, m->arena, &out, &why), WEFT_EINVAL);
    assert_string_equal(why, "\"nowhere\": the port is missing: write host:port");
    node.app = "";
    assert_int_equal(control_build(m->set, &m->view, &node, m->arena, &out, &why), WEFT_EINVAL);
    node = mesh_sidecar("product");
    node.cert_file = node.key_file = node.ca_file = "";
    assert_int_equal(control_build(m->set, &m->view, &node, m->arena, &out, &why), WEFT_EINVAL);
}

/* Whatever instances say of themselves, no sidecar refuses what it is told for it. */
static void odd_instances(void **state) {
    mesh *m = *state;
    registry_view view;
    registry_view_instance *list = mesh_instances(m, &view);
    static const char *const names[] = {"a b", "", "/x/y", "ok.S", "*"};
    static const char *const methods[] = {"x", "//", "/a/b/c", "/ok.S/M", "/ok.S/", "/ok.S/M"};
    static const char *const addresses[] = {"[::1]:80", "[0:0::1]:80", "host:80", "10.0.0.1:0"};
    const control_node node = mesh_sidecar("order");
    for (size_t i = 0; i < view.count; i++) {
        list[i].service = "product";
        list[i].name_space = "shop";
        list[i].labels = list[0].labels;
        list[i].label_count = 2;
        list[i].address = addresses[i % 4];
        list[i].weight = UINT32_MAX;
        list[i].grpc_services = names;
        list[i].grpc_service_count = 5;
        list[i].no_side_effects = list[i].idempotent = methods;
        list[i].no_side_effect_count = list[i].idempotent_count = 6;
    }
    const control_build_output out = made(m, m->set, &view, &node);
    const char *json = mesh_json(m, &out);
    assert_non_null(strstr(json, "\"ok.S\""));
    assert_non_null(strstr(json, "\"/ok.S/M\""));
    assert_null(strstr(json, "a b"));
}

static void warns(void **state) {
    mesh *m = *state;
    registry_view view;
    registry_view_instance *list = mesh_instances(m, &view);
    weft_diags diags;
    weft_diags_init(&diags, m->arena, 0);
    assert_int_equal(control_warnings(m->set, &view, &diags), 0);
    list[0].labels = list[1].labels;
    list[0].label_count = 1;
    assert_int_equal(control_warnings(m->set, &view, &diags), 1);
    assert_int_equal(diags.first->line, 18);
    assert_string_equal(diags.first->text,
                        "none of the 2 instances of product.shop has the labels of \"v2\"");
    view.count = 0;
    assert_int_equal(control_warnings(m->set, &view, &diags), 0);
}

/* Whichever block is the last there is: the result is WEFT_ENOMEM, and nothing is read that is not there. */
static void without_memory(void **state) {
    mesh *m = *state;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        const control_node node = node_of(golden[i]);
        int rc = WEFT_ENOMEM;
        size_t cap = 16;
        for (; rc && cap < 1000000; cap += 16 + cap / 50) {
            control_build_output out;
            const char *why = "";
            weft_arena *arena = weft_arena_new(cap);
            rc = control_build(m->set, &m->view, &node, arena, &out, &why);
            if (rc && rc != WEFT_ENOMEM) fail_msg("%d at %zu: %s", rc, cap, why);
            weft_arena_free(arena);
        }
        assert_int_equal(rc, 0);
    }
}

static const EnvoyCore__Node *node_message(mesh *m, const char *json) {
    ProtobufCMessage *out = NULL;
    const weft_type *type = weft_registry_type_of(m->xds, &envoy_core__node__descriptor);
    assert_int_equal(weft_json_decode(m->xds, type, json, strlen(json), NULL, m->arena, &out, NULL),
                     0);
    return (const EnvoyCore__Node *)out;
}

static void reads_nodes(void **state) {
    mesh *m = *state;
    control_node node;
    const char *why = "";
    const EnvoyCore__Node *from = node_message(
        m, "{\"id\":\"u1\",\"cluster\":\"order.shop\",\"userAgentName\":\"weft-sidecar\","
           "\"metadata\":{\"weft\":{\"outbound\":\"unix:/o\",\"certFile\":\"c\",\"keyFile\":\"k\","
           "\"caFile\":\"r\",\"upstreams\":{\"product\":\"unix:/p\"}}}}");
    assert_int_equal(control_node_read(&from->base, m->arena, &node, &why), 0);
    assert_int_equal(node.kind, CONTROL_NODE_SIDECAR);
    assert_string_equal(node.service, "order");
    assert_string_equal(node.name_space, "shop");
    assert_string_equal(node.outbound, "unix:/o");
    assert_string_equal(node.upstreams[0].address, "unix:/p");
    (void)made(m, m->set, &m->view, &node);
    from = node_message(m, "{\"id\":\"u1\",\"userAgentName\":\"gRPC C-core\"}");
    assert_int_equal(control_node_read(&from->base, m->arena, &node, &why), 0);
    assert_int_equal(node.kind, CONTROL_NODE_GRPC);
    from = node_message(m, "{\"id\":\"u1\",\"userAgentName\":\"weft-sidecar\"}");
    assert_int_equal(control_node_read(&from->base, m->arena, &node, &why), WEFT_EPARSE);
    assert_string_equal(why, "node.cluster must be \"<service>.<namespace>\"");
}

static int print_golden(const char *name) {
    mesh *m = mesh_new();
    const control_node node = node_of(name);
    control_build_output out;
    const char *why = "";
    if (!m || control_build(m->set, &m->view, &node, m->arena, &out, &why)) return 1;
    const char *json = mesh_json(m, &out);
    printf("%s", json ? json : "");
    if (!mesh_sound(m, &node, &out)) fprintf(stderr, "%s: not sound\n", name);
    mesh_free(m);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 2 && !strcmp(argv[1], "--write")) return print_golden(argv[2]);
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(as_golden),
        T(order_makes_no_difference),
        T(instances_touch_endpoints),
        T(consumer_routes),
        T(documents_touch_what_they_say),
        T(on_demand),
        T(wrong_nodes),
        T(reads_nodes),
        T(warns),
        T(odd_instances),
        T(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
