/* Sets of good documents: canonical form, hashes, stores, overlays, differences, patterns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "services/control/model/internal.h"
#include "tests/unit/control_model/texts.h"
#include "weft/clock.h"
#include "weft/store_revisions.h"

static weft_registry *registry;
static char *good;

typedef struct rig {
    weft_arena *arena;
    const model_set *set;
} rig;

static int set_up(void **state) {
    static rig r;
    r.arena = weft_arena_new(0);
    good = texts_read(r.arena, MODEL_FILES "/good.yaml");
    r.set = good ? texts_parse(r.arena, registry, good, NULL) : NULL;
    *state = &r;
    return r.set ? 0 : -1;
}

static int tear_down(void **state) {
    weft_arena_free(((rig *)*state)->arena);
    return 0;
}

static void reads_the_whole(void **state) {
    const rig *r = *state;
    assert_int_equal(r->set->count, 5);
    assert_int_equal(r->set->documents[0]->kind, MODEL_MESH);
    assert_string_equal(r->set->documents[1]->name, "payment");
    assert_string_equal(model_trust_domain(r->set), "mesh.local");
    assert_false(model_on_demand(r->set));
    const model_document *order = model_find(r->set, MODEL_SERVICE, "shop", "order");
    assert_non_null(order);
    assert_string_equal(order->canonical,
                        "{\"apiVersion\":\"weft.dev/v1\",\"kind\":\"Service\",\"metadata\":{"
                        "\"name\":\"order\",\"namespace\":\"shop\",\"labels\":{\"area\":\"a\","
                        "\"team\":\"b\"}},\"spec\":{\"uses\":[\"product\",\"payment.billing\"]}}");
    assert_null(model_find(r->set, MODEL_SERVICE, "shop", "payment"));
    const model_set *none = model_empty(r->arena);
    assert_non_null(none);
    assert_true(model_on_demand(none));
    assert_string_equal(model_trust_domain(none), "mesh.local");
}

/* The order of documents and of labels, comments and blanks make no difference; content does. */
static void hash_is_of_content(void **state) {
    const rig *r = *state;
    char *mixed = texts_replace(r->arena, good, "labels: {team: b, area: a}",
                                "labels: {area: \"a\", team: b} # same");
    char *at = strstr(mixed, "---\napiVersion: weft.dev/v1\nkind: Service");
    mixed = weft_arena_printf(r->arena, "%s\n---\n%.*s", at + 4, (int)(at - mixed), mixed);
    const model_set *same = texts_parse(r->arena, registry, mixed, NULL);
    assert_non_null(same);
    assert_string_equal(same->hash, r->set->hash);
    char *other = texts_replace(r->arena, good, "weight: 90", "weight: 91");
    const model_set *changed = texts_parse(r->arena, registry, other, NULL);
    assert_string_not_equal(changed->hash, r->set->hash);
}

typedef struct stored {
    const model_set *set;
    model_text texts[8];
    size_t count;
} stored;

static int take_blob(void *user, const char *hash) {
    stored *s = user;
    for (size_t i = 0; i < s->set->count; i++)
        if (!strcmp(s->set->documents[i]->hash, hash))
            s->texts[s->count++] = (model_text){.text = s->set->documents[i]->canonical,
                                                .len = s->set->documents[i]->canonical_len};
    return 0;
}

static void survives_the_store(void **state) {
    const rig *r = *state;
    stored s = {.set = r->set};
    char id[WEFT_BLOB_ID];
    weft_buf manifest;
    weft_diags diags;
    const model_set *back = NULL;
    weft_buf_init(&manifest, 0);
    assert_int_equal(model_manifest(r->set, &manifest), 0);
    weft_blob_id(weft_buf_str(&manifest), manifest.len, id);
    assert_string_equal(id, r->set->hash);
    assert_int_equal(model_manifest_read(weft_buf_str(&manifest), manifest.len, take_blob, &s), 0);
    assert_int_equal(s.count, 5);
    weft_diags_init(&diags, r->arena, 0);
    assert_int_equal(model_restore(registry, s.texts, s.count, r->arena, &back, &diags), 0);
    assert_string_equal(back->hash, r->set->hash);
    assert_int_equal(model_manifest_read("abc\n", 4, take_blob, &s), WEFT_EPARSE);
    weft_buf_free(&manifest);
    const model_text junk = {.text = "{}", .len = 2};
    assert_int_equal(model_restore(registry, &junk, 1, r->arena, &back, &diags), WEFT_EPARSE);
}

/* `weft get -o yaml | weft apply -f -` changes nothing. */
static void yaml_reads_back(void **state) {
    const rig *r = *state;
    weft_buf out;
    weft_buf_init(&out, 0);
    for (size_t i = 0; i < r->set->count; i++) {
        weft_buf_adds(&out, "---\n");
        assert_int_equal(model_yaml(registry, r->set->documents[i], &out), 0);
    }
    const model_set *back = texts_parse(r->arena, registry, weft_buf_str(&out), NULL);
    if (!back) print_error("%s", weft_buf_str(&out));
    assert_non_null(back);
    assert_string_equal(back->hash, r->set->hash);
    weft_buf_free(&out);
}

static void check_diff(const rig *r, const model_set *before, const model_set *after,
                       const char *expected) {
    model_difference *list = NULL;
    size_t count = 0;
    weft_buf out;
    weft_buf_init(&out, 0);
    assert_int_equal(model_diff(registry, before, after, r->arena, &list, &count), 0);
    assert_int_equal(model_diff_format(list, count, &out), 0);
    assert_string_equal(weft_buf_str(&out), expected);
    weft_buf_free(&out);
}

static void overlays_and_differs(void **state) {
    const rig *r = *state;
    static const char more[] =
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\n"
        "metadata: {name: product, namespace: shop}\n"
        "spec:\n  parentRefs: [{kind: Service, name: product}]\n"
        "  rules:\n  - backendRefs: [{name: product, subset: v2, weight: 100}]\n"
        "---\napiVersion: weft.dev/v1\nkind: Service\nmetadata: {name: cart, namespace: shop}\n"
        "---\napiVersion: weft.dev/v1\nkind: Service\n"
        "metadata: {name: order, namespace: shop, labels: {team: c}}\n"
        "spec: {uses: [product, cart]}\n";
    const model_set *after = texts_parse(r->arena, registry, more, r->set), *less = NULL;
    weft_diags diags;
    assert_non_null(after);
    assert_int_equal(after->count, 6);
    check_diff(r, r->set, r->set, "");
    check_diff(r, r->set, after,
               "+ Service shop/cart\n"
               "~ Service shop/order  - metadata.labels.area: \"a\"\n"
               "~ Service shop/order  metadata.labels.team: \"b\" -> \"c\"\n"
               "~ Service shop/order  spec.uses[1]: \"payment.billing\" -> \"cart\"\n"
               "~ GRPCRoute shop/product  - spec.parentRefs[0].group: \"\"\n"
               "~ GRPCRoute shop/product  - spec.hostnames[0]: \"product.example.com\"\n"
               "~ GRPCRoute shop/product  - spec.rules[0].name: \"lookups\"\n"
               "~ GRPCRoute shop/product  - spec.rules[0].matches[0].method.service: "
               "\"shop.product.v1.ProductService\"\n"
               "~ GRPCRoute shop/product  - spec.rules[0].matches[0].method.method: "
               "\"GetProduct\"\n"
               "~ GRPCRoute shop/product  - spec.rules[0].matches[0].headers[0].name: \"x-user\"\n"
               "~ GRPCRoute shop/product  - spec.rules[0].matches[0].headers[0].value: \"alice\"\n"
               "~ GRPCRoute shop/product  - spec.rules[0].matches[0].headers[1].type: "
               "RegularExpression\n"
               "~ GRPCRoute shop/product  - spec.rules[0].matches[0].headers[1].name: "
               "\"x-group\"\n"
               "~ GRPCRoute shop/product  - spec.rules[0].matches[0].headers[1].value: "
               "\"beta-[0-9]+\"\n"
               "~ GRPCRoute shop/product  - spec.rules[0].matches[1].method.type: "
               "RegularExpression\n"
               "~ GRPCRoute shop/product  - spec.rules[0].matches[1].method.service: "
               "\"shop\\\\..*\"\n"
               "~ GRPCRoute shop/product  - spec.rules[0].matches[1].method.method: \"List.*\"\n"
               "~ GRPCRoute shop/product  + spec.rules[0].backendRefs[0].weight: 100\n"
               "~ GRPCRoute shop/product  - spec.rules[0].timeouts.request: \"5s\"\n"
               "~ GRPCRoute shop/product  - spec.rules[0].timeouts.backendRequest: \"1s\"\n"
               "~ GRPCRoute shop/product  - spec.rules[0].priority: critical\n"
               "~ GRPCRoute shop/product  - spec.rules[1].name: \"rest\"\n"
               "~ GRPCRoute shop/product  - spec.rules[1].backendRefs[0].name: \"product\"\n"
               "~ GRPCRoute shop/product  - spec.rules[1].backendRefs[0].weight: 90\n"
               "~ GRPCRoute shop/product  - spec.rules[1].backendRefs[0].subset: \"v1\"\n"
               "~ GRPCRoute shop/product  - spec.rules[1].backendRefs[1].name: \"product\"\n"
               "~ GRPCRoute shop/product  - spec.rules[1].backendRefs[1].weight: 10\n"
               "~ GRPCRoute shop/product  - spec.rules[1].backendRefs[1].subset: \"v2\"\n"
               "~ GRPCRoute shop/product  - spec.rules[1].retry.attempts: 1\n"
               "~ GRPCRoute shop/product  - spec.rules[1].retry.perTryTimeout: \"500ms\"\n");
    weft_diags_init(&diags, r->arena, 0);
    assert_int_equal(
        model_remove(registry, after, MODEL_SERVICE, "billing", "payment", r->arena, &less, &diags),
        0);
    check_diff(r, after, less, "- Service billing/payment\n");
    assert_int_equal(
        model_remove(registry, less, MODEL_SERVICE, "shop", "cart", r->arena, &less, &diags),
        WEFT_EPARSE);
    assert_string_equal(diags.first->text, "there is no service cart.shop");
    assert_int_equal(
        model_remove(registry, less, MODEL_SERVICE, "shop", "no", r->arena, &less, &diags),
        WEFT_ENOTFOUND);
}

static void without_memory(void **state) {
    const model_text text = {.file = "mesh.yaml", .text = good, .len = strlen(good)};
    int rc = WEFT_ENOMEM;
    for (size_t cap = 16; rc && cap < 10000000; cap += 16 + cap / 50) {
        weft_arena *arena = weft_arena_new(cap);
        const model_set *set = NULL;
        model_difference *list = NULL;
        size_t count = 0;
        weft_diags diags;
        weft_diags_init(&diags, arena, 0);
        rc = model_parse(registry, &text, 1, NULL, arena, &set, &diags);
        if (rc && rc != WEFT_ENOMEM) fail_msg("%d at %zu", rc, cap);
        if (!rc) {
            rc = model_diff(registry, ((const rig *)*state)->set, set, arena, &list, &count);
            assert_int_equal(count, 0);
        }
        weft_arena_free(arena);
    }
    assert_int_equal(rc, 0);
}

static void names_and_durations(void **state) {
    char service[64], space[64];
    (void)state;
    assert_true(model_name_split("product", "shop", service, space));
    assert_string_equal(space, "shop");
    assert_true(model_name_split("product.billing", "shop", service, space));
    assert_string_equal(space, "billing");
    assert_false(model_name_split("product.", "shop", service, space));
    assert_false(model_name_split("a.b.c", "shop", service, space));
    assert_int_equal(model_duration("1h2m3s4ms"), (3723 * INT64_C(1000) + 4) * WEFT_NS_PER_MS);
    assert_int_equal(model_duration("99999ms"), 99999 * WEFT_NS_PER_MS);
    static const char *const bad[] = {"", "1", "s", "1.5s", "100000s", "1s2s3s4s5s", "-1s", "1d"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(model_duration(bad[i]), -1);
    assert_int_equal(model_kind_find("services"), MODEL_SERVICE);
    assert_int_equal(model_kind_find("grpcroute"), MODEL_GRPC_ROUTE);
    assert_int_equal(model_kind_find("meshes"), MODEL_MESH);
    assert_int_equal(model_kind_find("mush"), -1);
}

static void patterns(void **state) {
    static const char *const fine[] = {"a",     "a|b",    "(a|b)*c", "[a-z]+", "[]a]",
                                       "[^a-]", "\\d{2}", "a{1,}",   "^a.*b$", "(?:a)?",
                                       "a+?",   "\\.",    "\\x41",   "",       "[[:alpha:]_]"};
    static const char *const bad[] = {
        "(",  ")",  "[",     "*a",  "a**",  "a{2,1}",  "a{",       "\\", "\\1",      "(?i)a",
        "a^", "$a", "[z-a]", "\\b", "\\xZ", "a{2000}", "(?P<n>a)", "|*", "[[:alpha:"};
    const char *why = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        if (!model_regex_valid(fine[i], &why)) fail_msg("%s: %s", fine[i], why);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (model_regex_valid(bad[i], &why) || !why) fail_msg("%s is taken", bad[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_the_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hash_is_of_content, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_the_store, set_up, tear_down),
        cmocka_unit_test_setup_teardown(yaml_reads_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(overlays_and_differs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory, set_up, tear_down),
        cmocka_unit_test(names_and_durations),
        cmocka_unit_test(patterns),
    };
    registry = model_registry_new();
    if (!registry) return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weft_registry_free(registry);
    return failed;
}
