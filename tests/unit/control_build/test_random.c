/* Random meshes from a seed: whatever the documents and instances, what every node is told holds together, is the
 * same for the same input, and an instance that comes or goes touches endpoints only. SEED=n ROUNDS=n. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/control_build/mesh.h"
#include "weft/rng.h"

#define SERVICES 8u
#define INSTANCES 24u

static weft_registry *documents, *xds;
static uint64_t seed = 20;
static unsigned rounds = 150;

typedef struct world {
    mesh m;
    weft_rng rng;
    registry_view_instance list[INSTANCES];
    registry_view_label labels[INSTANCES];
} world;

static unsigned below(world *w, unsigned n) { return (unsigned)weft_rng_below(&w->rng, n); }
static const char *space_of(unsigned service) { return service % 3 ? "shop" : "billing"; }

static void random_services(world *w, weft_buf *out) {
    static const char *const policies[] = {"PeakEwma", "LeastRequest", "RoundRobin", "Random"};
    weft_buf_printf(out,
                    "apiVersion: weft.dev/v1\nkind: Mesh\nmetadata: {name: m}\n"
                    "spec: {onDemand: %s}\n",
                    below(w, 2) ? "true" : "false");
    for (unsigned s = 0; s < SERVICES; s++) {
        const unsigned first = below(w, SERVICES), second = below(w, SERVICES);
        weft_buf_printf(out,
                        "---\napiVersion: weft.dev/v1\nkind: Service\n"
                        "metadata: {name: s%u, namespace: %s}\nspec:\n",
                        s, space_of(s));
        weft_buf_printf(out, "  uses: [s%u.%s", first, space_of(first));
        if (second != first) weft_buf_printf(out, ", s%u.%s", second, space_of(second));
        weft_buf_printf(out,
                        "]\n  subsets: [{name: a, labels: {v: a}}, {name: b, labels: {v: b}}]\n");
        weft_buf_printf(out, "  balancing: {policy: %s}\n", policies[below(w, 4)]);
        if (below(w, 2)) weft_buf_printf(out, "  timeout: %us\n", 5 + below(w, 9));
        if (below(w, 2))
            weft_buf_printf(out, "  retry: {attempts: %u, perTryTimeout: %us}\n", below(w, 4),
                            1 + below(w, 4));
        if (below(w, 4) == 0)
            weft_buf_printf(out, "  endpoints: [{address: \"10.1.0.%u:80\", labels: {v: a}}]\n", s);
    }
}

static void random_backend(world *w, weft_buf *out, const char *lead) {
    static const char *const parts[] = {"", ", subset: a", ", subset: b"};
    const unsigned s = below(w, SERVICES);
    weft_buf_printf(out, "%s{name: s%u, namespace: %s%s, weight: %u}", lead, s, space_of(s),
                    parts[below(w, 3)], 1 + below(w, 100));
}

static void random_routes(world *w, weft_buf *out) {
    static const char *const matches[] = {
        "method: {service: p.S}", "method: {service: p.S, method: Get}", "method: {method: List}",
        "method: {type: RegularExpression, service: \"p[.].*\"}",
        "headers: [{name: x-a, value: b}]"};
    for (unsigned i = 0; i < 6; i++) {
        const unsigned parent = below(w, SERVICES);
        weft_buf_printf(out,
                        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\n"
                        "metadata: {name: r%u, namespace: %s}\nspec:\n"
                        "  parentRefs: [{kind: Service, name: s%u, namespace: %s}]\n  rules:\n",
                        i, space_of(below(w, 6)), parent, space_of(parent));
        const unsigned first = below(w, 5), count = 1 + below(w, 5 - first);
        for (unsigned r = 0; r < count; r++) {
            weft_buf_printf(out, "  - matches: [{%s}]\n", matches[first + r]);
            if (below(w, 3) == 0)
                weft_buf_adds(out, "    timeouts: {request: 4s, backendRequest: 1s}\n");
            if (below(w, 3) == 0) continue;
            random_backend(w, out, "    backendRefs: [");
            weft_buf_adds(out, "]\n");
        }
        weft_buf_adds(out, "  - ");
        random_backend(w, out, "backendRefs: [");
        /* May be the same as the one before: then the document is refused, and another is made. */
        random_backend(w, out, ", ");
        weft_buf_adds(out, "]\n");
    }
}

static void random_instances(world *w) {
    for (unsigned i = 0; i < INSTANCES; i++) {
        const unsigned s = below(w, SERVICES + 1); /* one has no document */
        w->labels[i] = (registry_view_label){"v", below(w, 2) ? "a" : "b"};
        w->list[i] = (registry_view_instance){
            .id = weft_arena_printf(w->m.arena, "i%u", i),
            .service = weft_arena_printf(w->m.arena, "s%u", s),
            .name_space = space_of(s),
            .address = weft_arena_printf(w->m.arena, "10.0.0.%u:80", 1 + below(w, 30)),
            .plain_address = weft_arena_printf(w->m.arena, "10.0.1.%u:80", 1 + below(w, 30)),
            .labels = &w->labels[i],
            .label_count = 1,
            .health = (registry_view_health)below(w, 3),
            .draining = below(w, 5) == 0,
            .weight = below(w, 4),
            .zone = below(w, 2) ? "a" : "b"};
    }
    w->m.view = (registry_view){.instances = w->list, .count = INSTANCES};
}

static control_node random_node(world *w) {
    control_node node = below(w, 4) ? mesh_sidecar("product") : mesh_client(below(w, 2));
    const unsigned s = below(w, SERVICES);
    const char **demand = weft_arena_calloc(w->m.arena, 4, sizeof *demand);
    node.service = weft_arena_printf(w->m.arena, "s%u", s);
    node.name_space = space_of(s);
    for (unsigned i = 0; i < 4; i++) {
        const unsigned d = below(w, SERVICES + 2);
        demand[i] = below(w, 2) ? weft_arena_printf(w->m.arena, "s%u.%s", d, space_of(d))
                                : weft_arena_printf(w->m.arena, "s%u", d);
    }
    node.demand = demand;
    node.demand_count = below(w, 5);
    return node;
}

static bool same_type(const control_resources *a, const control_resources *b) {
    if (strcmp(a->version, b->version) != 0 || a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++)
        if (a->items[i].value_len != b->items[i].value_len ||
            memcmp(a->items[i].value, b->items[i].value, a->items[i].value_len) != 0)
            return false;
    return true;
}

static void one_node(world *w) {
    const control_node node = random_node(w);
    control_build_output first, again, moved;
    const char *why = "";
    registry_view_instance list[INSTANCES];
    registry_view view = {.instances = list, .count = INSTANCES};
    assert_int_equal(control_build(w->m.set, &w->m.view, &node, w->m.arena, &first, &why), 0);
    if (!mesh_sound(&w->m, &node, &first)) fail_msg("what %s is told does not hold", node.service);
    /* Another order. */
    for (unsigned i = 0; i < INSTANCES; i++) list[i] = w->list[INSTANCES - 1 - i];
    assert_int_equal(control_build(w->m.set, &view, &node, w->m.arena, &again, &why), 0);
    for (int t = 0; t < CONTROL_XDS_TYPES; t++)
        assert_true(same_type(&first.types[t], &again.types[t]));
    /* One goes down, or comes back. */
    list[0].health =
        list[0].health == REGISTRY_VIEW_DOWN ? REGISTRY_VIEW_HEALTHY : REGISTRY_VIEW_DOWN;
    assert_int_equal(control_build(w->m.set, &view, &node, w->m.arena, &moved, &why), 0);
    assert_true(mesh_sound(&w->m, &node, &moved));
    for (int t = 0; t < CONTROL_XDS_TYPES; t++)
        if (t != CONTROL_EDS) assert_true(same_type(&first.types[t], &moved.types[t]));
}

static bool random_set(world *w) {
    weft_buf text;
    const model_set *set = NULL;
    weft_buf_init(&text, 0);
    random_services(w, &text);
    random_routes(w, &text);
    const model_text from = {.file = "m", .text = weft_buf_str(&text), .len = text.len};
    const int rc = model_parse(documents, &from, 1, NULL, w->m.arena, &set, NULL);
    weft_buf_free(&text);
    w->m.set = set;
    return !rc;
}

static void whatever_they_say(void **state) {
    static world w;
    unsigned good = 0;
    (void)state;
    for (unsigned i = 0; i < rounds; i++) {
        w = (world){.m = {.arena = weft_arena_new(0), .documents = documents, .xds = xds}};
        weft_rng_seed(&w.rng, seed + i);
        if (random_set(&w)) {
            random_instances(&w);
            for (unsigned n = 0; n < 4; n++) one_node(&w);
            good++;
        }
        weft_arena_free(w.m.arena);
    }
    print_message("%u of %u random meshes were taken\n", good, rounds);
    assert_true(good > rounds / 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(whatever_they_say)};
    if (getenv("SEED")) seed = strtoull(getenv("SEED"), NULL, 10);
    if (getenv("ROUNDS")) rounds = (unsigned)strtoul(getenv("ROUNDS"), NULL, 10);
    mesh *m = mesh_new();
    if (!m) return 1;
    documents = m->documents;
    xds = m->xds;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mesh_free(m);
    return failed;
}
