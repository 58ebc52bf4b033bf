#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tools/weft/up_env.h"
#include "tools/weft/up_plan.h"

/* A service and what it uses, "a:b,c". */
static void add(up_plan *plan, const char *text) {
    up_service *service = &plan->services[plan->count++];
    const char *colon = strchr(text, ':');
    assert_non_null(colon);
    service->name = weft_arena_strndup(plan->arena, text, (size_t)(colon - text));
    service->uses = weft_arena_calloc(plan->arena, 16, sizeof *service->uses);
    service->instances = 1;
    for (const char *at = colon + 1; *at;) {
        const char *end = strchrnul(at, ',');
        service->uses[service->use_count++] =
            weft_arena_strndup(plan->arena, at, (size_t)(end - at));
        at = *end ? end + 1 : end;
    }
}

static up_plan *plan_of(weft_arena *arena, const char *const *services) {
    up_plan *plan = weft_arena_calloc(arena, 1, sizeof *plan);
    *plan = (up_plan){.arena = arena, .file = "f.yaml", .dir = "/etc/mesh", .mesh = "shop"};
    plan->services = weft_arena_calloc(arena, 16, sizeof *plan->services);
    for (; *services; services++) add(plan, *services);
    return plan;
}

static void orders(void **state) {
    (void)state;
    static const struct {
        const char *services[8];
        const char *order; /* names, or NULL: refused */
        const char *said;
    } cases[] = {
        {{"a:"}, "a ", ""},
        {{"a:", "b:", "c:"}, "a b c ", ""},
        {{"a:b", "b:c", "c:"}, "c b a ", ""},
        {{"order:user,product,inventory,payment", "user:", "product:", "inventory:product",
          "payment:user"},
         "user product inventory payment order ",
         ""},
        {{"a:b,c", "b:d", "c:d", "d:"}, "d b c a ", ""},
        {{"a:a"}, NULL, "f.yaml: services[0].uses[0]: \"a\" uses itself (remove it)"},
        {{"a:b", "b:a"},
         NULL,
         "f.yaml: services: services use each other in a circle: a -> b -> a (drop one of these uses: a service "
         "starts after all it uses)"},
        {{"x:a", "a:b", "b:c", "c:a"},
         NULL,
         "f.yaml: services: services use each other in a circle: a -> b -> c -> a (drop one of these uses: a "
         "service starts after all it uses)"},
        {{"order:prodct", "product:"},
         NULL,
         "f.yaml: services[0].uses[0]: \"order\" uses an unknown service \"prodct\" (did you mean \"product\"?)"},
        {{"order:zzzzzz", "product:"},
         NULL,
         "f.yaml: services[0].uses[0]: \"order\" uses an unknown service \"zzzzzz\" (name a service of this file)"},
        {{"a:b,b", "b:"},
         NULL,
         "f.yaml: services[0].uses[1]: \"a\" uses \"b\" twice (name it once)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_arena *arena = weft_arena_new(0);
        up_plan *plan = plan_of(arena, cases[i].services);
        weft_diags diags;
        weft_diags_init(&diags, arena, 0);
        int rc = up_plan_order(plan, &diags);
        weft_buf text;
        weft_buf_init(&text, 0);
        if (cases[i].order) {
            assert_int_equal(rc, 0);
            for (size_t s = 0; s < plan->count; s++)
                weft_buf_printf(&text, "%s ", plan->services[plan->order[s]].name);
            assert_string_equal(weft_buf_str(&text), cases[i].order);
        } else {
            assert_int_equal(rc, WEFT_EPARSE);
            weft_diag_format(diags.first, &text);
            assert_string_equal(weft_buf_str(&text), cases[i].said);
        }
        weft_buf_free(&text);
        weft_arena_free(arena);
    }
}

static void names(void **state) {
    (void)state;
    static const char *const good[] = {"a", "product", "order-events", "v2", "0", "a1-b2"};
    static const char *const bad[] = {
        "",    "-a",
        "a-",  "A",
        "a_b", "a.b",
        "a b", "ä",
        "a/b", "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(up_name_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(up_name_valid(bad[i]));
    weft_arena *arena = weft_arena_new(0);
    assert_string_equal(up_upstream_variable(arena, "order-events2"),
                        "WEFT_UPSTREAM_ORDER_EVENTS2");
    weft_arena_free(arena);
}

static void expansion(void **state) {
    (void)state;
    setenv("WEFT_TEST_VALUE", "from outside", 1);
    unsetenv("WEFT_TEST_ABSENT");
    static const struct {
        const char *text, *value, *why;
    } cases[] = {
        {"", "", NULL},
        {"plain $HOME $ $$", "plain $HOME $ $", NULL},
        {"${dir}/x.db", "/data/order/x.db", NULL},
        {"${WEFT_LISTEN}|${name}|${namespace}|${instance}|${bin}|${file}",
         "unix:/s|order|shop|3|/opt|/etc/mesh", NULL},
        {"${WEFT_UPSTREAM_PRODUCT_V2}", "unix:/p", NULL},
        {"${env.WEFT_TEST_VALUE}", "from outside", NULL},
        {"$${dir}", "${dir}", NULL},
        {"${env.WEFT_TEST_ABSENT}", NULL, "${env.WEFT_TEST_ABSENT} has no value here"},
        {"${WEFT_UPSTREAM_USER}", NULL, "${WEFT_UPSTREAM_USER} has no value here"},
        {"${dri}", NULL, "${dri} has no value here"},
        {"${}", NULL, "${} has no value here"},
        {"a ${dir", NULL, "\"${dir\" has no closing brace (write $$ for a dollar sign)"},
    };
    static const char *const services[] = {"order:product-v2", "product-v2:", NULL};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_arena *arena = weft_arena_new(0);
        up_plan *plan = plan_of(arena, services);
        const char *upstreams[] = {"unix:/p"};
        up_instance_names instance = {.listen = "unix:/s",
                                      .dir = "/data/order",
                                      .bin = "/opt",
                                      .number = 3,
                                      .upstreams = upstreams};
        up_scope scope = {plan, &plan->services[0], &instance, arena};
        const char *why, *value = up_expand(arena, cases[i].text, up_scope_lookup, &scope, &why);
        if (cases[i].value)
            assert_string_equal(value, cases[i].value);
        else
            assert_null(value);
        if (cases[i].why) assert_string_equal(why, cases[i].why);
        weft_arena_free(arena);
    }
}

static void unknown_variables(void **state) {
    (void)state;
    static const struct {
        const char *text, *said;
    } cases[] = {
        {"${dri}",
         "f.yaml: services[0].command[0]: ${dri} has no value here (did you mean ${dir}?)"},
        {"${WEFT_UPSTREAM_USER}",
         "f.yaml: services[0].command[0]: ${WEFT_UPSTREAM_USER} has no value here (add "
         "\"user\" to the uses of \"order\")"},
        {"${env.WEFT_TEST_ABSENT}",
         "f.yaml: services[0].command[0]: ${env.WEFT_TEST_ABSENT} has no value here (set "
         "WEFT_TEST_ABSENT in the environment of weft up)"},
        {"${x",
         "f.yaml: services[0].command[0]: \"${x\" has no closing brace (write $$ for a dollar sign)"},
    };
    static const char *const services[] = {"order:", "user:", NULL};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_arena *arena = weft_arena_new(0);
        up_plan *plan = plan_of(arena, services);
        const char *command[] = {cases[i].text, NULL};
        plan->services[0].command = command;
        plan->services[0].command_count = 1;
        weft_diags diags;
        weft_diags_init(&diags, arena, 0);
        assert_int_equal(up_plan_check_variables(plan, &diags), WEFT_EPARSE);
        weft_buf text;
        weft_buf_init(&text, 0);
        weft_diag_format(diags.first, &text);
        assert_string_equal(weft_buf_str(&text), cases[i].said);
        weft_buf_free(&text);
        weft_arena_free(arena);
    }
}

static void environments(void **state) {
    (void)state;
    char *outer[] = {(char[]){"PATH=/bin"},
                     (char[]){"WEFT_LISTEN=x"},
                     (char[]){"WEFT_UPSTREAM_USER=y"},
                     (char[]){"WEFT_LOG=debug"},
                     (char[]){"WEFT_READY_FD=9"},
                     (char[]){"WEFT_OUTBOUND=z"},
                     NULL};
    weft_arena *arena = weft_arena_new(0);
    up_env env;
    up_env_begin(&env, arena, outer);
    up_env_set(&env, "WEFT_LISTEN", "unix:/a");
    up_env_set(&env, "PATH", "/sbin");
    for (int i = 0; i < 200; i++) up_env_set(&env, weft_arena_printf(arena, "N%d", i), "v");
    const char *const *list = up_env_end(&env);
    assert_non_null(list);
    assert_string_equal(list[0], "PATH=/sbin");
    assert_string_equal(list[1], "WEFT_LOG=debug");
    assert_string_equal(list[2], "WEFT_LISTEN=unix:/a");
    assert_string_equal(list[202], "N199=v");
    assert_null(list[203]);
    weft_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders),       cmocka_unit_test(names),
        cmocka_unit_test(expansion),    cmocka_unit_test(unknown_variables),
        cmocka_unit_test(environments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
