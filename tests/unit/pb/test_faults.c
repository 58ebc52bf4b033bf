/* Every allocation of every entry point fails once: no crash, no leak, a clean answer. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "lib/pb/registry.h"
#include "tests/unit/base/sweep.h"
#include "tests/unit/pb/pb_support.h"
#include "tests/unit/pb/set_maker.h"

static weft_registry *registry;
static weft_buf set;

static int set_up(void **state) {
    (void)state;
    weft_buf_init(&set, 0);
    set_make(&set, NULL);
    registry = support_compiled();
    return !registry;
}

static int tear_down(void **state) {
    (void)state;
    weft_registry_free(registry);
    weft_buf_free(&set);
    return 0;
}

/* Only these may be the outcome of a lack of memory. */
static int outcome(int rc) { return rc == 0 || rc == WEFT_ENOMEM ? rc : 1000 + rc; }

static int make_registry(void *user) {
    (void)user;
    weft_registry *r = weft_registry_new();
    int rc = r ? weft_registry_add_file(r, &weft_file_test_pb_all2_proto, NULL) : WEFT_ENOMEM;
    if (!rc) rc = weft_registry_add_set(r, (const uint8_t *)set.data, set.len, NULL);
    weft_registry_free(r);
    return outcome(rc);
}

/* A set that fails to be added leaves the registry as it was. */
static int add_set(void *user) {
    weft_registry *r = user;
    const int rc = weft_registry_add_set(r, (const uint8_t *)set.data, set.len, NULL);
    if (rc && weft_registry_message(r, "t.M")) return 7;
    if (rc && weft_registry_service(r, "t.S")) return 8;
    return outcome(rc);
}

static const char text[] =
    "{\"i32\":1,\"rText\":[\"a\\u00e4\",\"b\"],\"labels\":{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\",\"d\":\"4\",\"e\":"
    "\"5\",\"f\":\"6\",\"g\":\"7\",\"h\":\"8\",\"i\":\"9\"},\"any\":{\"@type\":\"x/test.pb3.Inner\",\"name\":\"a\"},"
    "\"mask\":\"aB,c\",\"struct\":{\"a\":[1,null]},\"data\":\"AAEC\"}";

static int json(void *user) {
    weft_arena *arena = weft_arena_new(0);
    weft_buf out;
    weft_buf_init(&out, 0);
    ProtobufCMessage *message = NULL;
    int rc = arena ? 0 : WEFT_ENOMEM;
    if (!rc)
        rc = weft_json_decode(registry, weft_registry_message(registry, "test.pb3.All"), text,
                              sizeof text - 1, NULL, arena, &message, user);
    if (!rc) rc = weft_json_encode(registry, message, NULL, &out, NULL);
    weft_buf_free(&out);
    weft_arena_free(arena);
    return outcome(rc);
}

/* Problems are still reported as problems, whatever memory says. */
static int json_with_errors(void *user) {
    (void)user;
    static const char wrong[] =
        "{\"i32\":\"x\",\"i32\":1,\"wat\":1,\"color\":\"RED\",\"any\":{\"@type\":\"x/y\"}";
    weft_arena *arena = weft_arena_new(0);
    ProtobufCMessage *message = NULL;
    weft_diags diags;
    weft_diags_init(&diags, arena, 0);
    int rc = WEFT_ENOMEM;
    if (arena)
        rc = weft_json_decode(registry, weft_registry_message(registry, "test.pb3.All"), wrong,
                              sizeof wrong - 1, NULL, arena, &message, &diags);
    weft_arena_free(arena);
    return rc == WEFT_EPARSE ? 0 : outcome(rc);
}

static int yaml(void *user) {
    (void)user;
    weft_arena *arena = weft_arena_new(0);
    ProtobufCMessage *message = NULL;
    weft_yaml_document **documents = NULL;
    size_t count = 0;
    const weft_json_options options = {.size = sizeof options, .file = "f.yaml"};
    int rc = arena ? 0 : WEFT_ENOMEM;
    /* JSON is YAML. */
    if (!rc)
        rc = weft_yaml_decode(registry, weft_registry_message(registry, "test.pb3.All"), text,
                              sizeof text - 1, NULL, arena, &message, NULL);
    if (!rc)
        rc = weft_yaml_documents("---\nkind: a\n---\nkind: b\n", 23, &options, arena, &documents,
                                 &count, NULL);
    if (!rc)
        rc = weft_yaml_document_decode(registry,
                                       weft_registry_message(registry, "test.pb3.Document"),
                                       documents[1], arena, &message, NULL);
    weft_arena_free(arena);
    return outcome(rc);
}

static int unpack(void *user) {
    (void)user;
    /* in two pieces: rewritten first */
    static const uint8_t wire[] = "\x8a\x01\x05\x0a\x01"
                                  "a\x18\x01"
                                  "\x8a\x01\x03\x0a\x01"
                                  "b\xc3\x3e\xc4\x3e";
    weft_arena *arena = weft_arena_new(0);
    const weft_type *type = weft_registry_message(registry, "test.pb3.All");
    int rc = arena ? 0 : WEFT_ENOMEM;
    ProtobufCMessage *message = NULL;
    if (!rc) message = weft_unpack(type->pbc, wire, sizeof wire - 1, NULL, arena, &rc, NULL);
    if (!rc && !weft_message_copy(arena, message)) rc = WEFT_ENOMEM;
    weft_arena_free(arena);
    return outcome(rc);
}

static int wrong; /* an outcome that is neither success nor a lack of memory */

static int (*swept)(void *);

static int watch(void *user) {
    const int rc = swept(user);
    if (rc != 0 && rc != WEFT_ENOMEM) wrong = rc;
    return rc;
}

static void run(int (*body)(void *), void *user, size_t at_least) {
    int last = -1;
    wrong = 0;
    swept = body;
    assert_true(sweep_run(watch, user, &last) >= at_least);
    assert_int_equal(last, 0);
    assert_int_equal(wrong, 0);
}

static void making_a_registry(void **state) {
    (void)state;
    run(make_registry, NULL, 100);
}

static void adding_a_set(void **state) {
    (void)state;
    weft_registry *r = weft_registry_new();
    run(add_set, r, 20);
    assert_non_null(weft_registry_message(r, "t.M"));
    weft_registry_free(r);
}

static void reading_and_writing_json(void **state) {
    (void)state;
    run(json, NULL, 10);
}

static void reading_wrong_json(void **state) {
    (void)state;
    run(json_with_errors, NULL, 10);
}

static void reading_yaml(void **state) {
    (void)state;
    run(yaml, NULL, 8);
}

static void unpacking(void **state) {
    (void)state;
    run(unpack, NULL, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(making_a_registry),
        cmocka_unit_test(adding_a_set),
        cmocka_unit_test(reading_and_writing_json),
        cmocka_unit_test(reading_wrong_json),
        cmocka_unit_test(reading_yaml),
        cmocka_unit_test(unpacking),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
