/* The naming rules: ours, and protobuf-c's as its own generator applies them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tools/codegen/cg.h"

typedef struct pair {
    const char *from, *to;
} pair;

static weft_arena *arena;

static int set_up(void **state) {
    (void)state;
    arena = weft_arena_new(0);
    return arena ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    weft_arena_free(arena);
    return 0;
}

static void snake_case(void **state) {
    (void)state;
    static const pair cases[] = {
        {"GetProduct", "get_product"},
        {"GetHTTPRoute", "get_http_route"},
        {"HTTPRoute", "http_route"},
        {"GetURL", "get_url"},
        {"ListURLs", "list_urls"},
        {"ListIDsOfUser", "list_ids_of_user"},
        {"GetV1Thing", "get_v1_thing"},
        {"get_it", "get_it"},
        {"Get_It", "get_it"},
        {"fooBar2Baz3", "foo_bar2_baz3"},
        {"X", "x"},
        {"XY", "xy"},
        {"DoX", "do_x"},
        {"A_B_C", "a_b_c"},
        {"_Lead", "_lead"},
        {"HTTPSession", "http_session"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_string_equal(cg_snake(arena, cases[i].from), cases[i].to);
    assert_string_equal(cg_snake_path(arena, "Acme.fooBar.v1", "_"), "acme_foo_bar_v1");
    assert_string_equal(cg_snake_path(arena, "Outer.InnerOne", "__"), "outer__inner_one");
    assert_string_equal(cg_snake_path(arena, "", "_"), "");
    assert_string_equal(cg_snake_path(arena, "..a..b.", "_"), "a_b");
}

static void service_stems(void **state) {
    (void)state;
    static const struct {
        const char *stem, *service, *result;
    } cases[] = {
        {"product", "ProductService", "product"},
        {"shop", "UserService", "shop_user"},
        {"grpc_testing", "TestService", "grpc_testing_test"},
        {"grpc_health_v1", "Health", "grpc_health_v1_health"},
        {"shop_product", "ProductService", "shop_product"},
        {"shop_byproduct", "ProductService", "shop_byproduct_product"},
        {"", "UserService", "user"},
        {"", "Service", "service"},
        {"shop", "Service", "shop"},
        {"shop", "ServiceService", "shop"},
        {"x", "HTTPService", "x_http"},
        {"x", "Services", "x_services"},
        {"very_long", "Long", "very_long"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_string_equal(cg_service_stem(arena, cases[i].stem, cases[i].service),
                            cases[i].result);
}

static void protobuf_c_words(void **state) {
    (void)state;
    static const struct {
        const char *name, *lower, *upper, *camel;
    } cases[] = {
        {"HTTPRoute", "httproute", "HTTPROUTE", "HTTPRoute"},
        {"GetV1Thing", "get_v1_thing", "GET_V1_THING", "GetV1Thing"},
        {"foo_bar", "foo_bar", "FOO_BAR", "FooBar"},
        {"fooBar2Baz3", "foo_bar2_baz3", "FOO_BAR2_BAZ3", "FooBar2Baz3"},
        {"A_B_C", "a__b__c", "A__B__C", "ABC"},
        {"_lead", "_lead", "_LEAD", "Lead"},
        {"XyzABC", "xyz_abc", "XYZ_ABC", "XyzABC"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_string_equal(cg_pbc_lower(arena, cases[i].name), cases[i].lower);
        assert_string_equal(cg_pbc_upper(arena, cases[i].name), cases[i].upper);
        assert_string_equal(cg_pbc_camel(arena, cases[i].name), cases[i].camel);
    }
    static const pair fields[] = {
        {"HTTPPath", "httppath"}, {"class", "class_"},      {"Class", "class_"},
        {"NULL", "null"},         {"restrict", "restrict"}, {"foo__bar", "foo__bar"},
        {"xor_eq", "xor_eq_"},    {"and", "and_"},          {"base", "base"},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
        assert_string_equal(cg_pbc_field(arena, fields[i].from), fields[i].to);
}

static void protobuf_c_full_names(void **state) {
    (void)state;
    cg_file plain = {.package = "acme.fooBar"};
    assert_string_equal(cg_pbc_full(arena, &plain, "acme.fooBar.MyMsg.In", cg_pbc_camel),
                        "Acme__FooBar__MyMsg__In");
    assert_string_equal(cg_pbc_full(arena, &plain, "acme.fooBar.MyMsg.In", cg_pbc_lower),
                        "acme__foo_bar__my_msg__in");
    cg_file renamed = {.package = "acme.foo", .pbc.c_package = "x.y"};
    assert_string_equal(cg_pbc_full(arena, &renamed, "acme.foo.Msg", cg_pbc_camel), "X__Y__Msg");
    cg_file bare = {.package = "", .pbc.c_package = "short"};
    assert_string_equal(cg_pbc_full(arena, &bare, "Msg", cg_pbc_upper), "SHORT__MSG");
    cg_file nothing = {.package = ""};
    assert_string_equal(cg_pbc_full(arena, &nothing, "Msg.In", cg_pbc_lower), "msg__in");
}

static void paths(void **state) {
    (void)state;
    assert_string_equal(cg_path_ident(arena, "shop/product-2/v1/a.b.proto"),
                        "shop_product_2_v1_a_b_proto");
    assert_string_equal(cg_strip_proto(arena, "a/b.proto"), "a/b");
    assert_string_equal(cg_strip_proto(arena, "a/b.protodevel"), "a/b");
    assert_string_equal(cg_strip_proto(arena, "a/b.txt"), "a/b.txt");
    assert_string_equal(cg_strip_proto(arena, ".proto"), ".proto");
}

static void taken_words(void **state) {
    (void)state;
    static const char *const taken[] = {
        "int",      "class", "delete",   "restrict", "nullptr",       "alignas", "thread_local",
        "unix",     "NULL",  "co_await", "typeof",   "static_assert", "and",     "xor_eq",
        "requires", "_Bool", "__x",      "while",    "errno",         "char8_t"};
    for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
        assert_true(cg_is_keyword(taken[i]));
    static const char *const freely[] = {"Int",    "product", "_x",    "ctx",
                                         "string", "import",  "module"};
    for (size_t i = 0; i < sizeof(freely) / sizeof(*freely); i++)
        assert_false(cg_is_keyword(freely[i]));
    assert_true(cg_is_runtime_name("weft"));
    assert_true(cg_is_runtime_name("weft_ctx"));
    assert_true(cg_is_runtime_name("weft_stream_x"));
    assert_false(cg_is_runtime_name("weft_config_v1"));
    assert_false(cg_is_runtime_name("weftware"));
    assert_false(cg_is_runtime_name("shop"));
}

static void identifiers(void **state) {
    (void)state;
    assert_true(cg_is_identifier("_a9"));
    assert_false(cg_is_identifier("9a"));
    assert_false(cg_is_identifier(""));
    assert_false(cg_is_identifier(NULL));
    assert_false(cg_is_identifier("a b"));
    assert_false(cg_is_identifier("\xc3\xa4"));
}

static void tables(void **state) {
    (void)state;
    cg_table table = {.arena = arena};
    assert_null(cg_table_get(&table, "x"));
    for (int i = 0; i < 1000; i++)
        assert_true(cg_table_put(&table, cg_printf(arena, "key %d", i), cg_printf(arena, "%d", i)));
    assert_false(cg_table_put(&table, "key 7", NULL));
    for (int i = 0; i < 1000; i++)
        assert_string_equal(cg_table_get(&table, cg_printf(arena, "key %d", i)),
                            cg_printf(arena, "%d", i));
    assert_null(cg_table_get(&table, "key 1000"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snake_case),
        cmocka_unit_test(service_stems),
        cmocka_unit_test(protobuf_c_words),
        cmocka_unit_test(protobuf_c_full_names),
        cmocka_unit_test(paths),
        cmocka_unit_test(taken_words),
        cmocka_unit_test(identifiers),
        cmocka_unit_test(tables),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
