/* The JSON mapping of protobuf, case by case: what is read, what is written for it, and what is
 * refused with which words. Every case runs with compiled-in types and with types made at run time.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/pb/json_cases.h"
#include "tests/unit/pb/pb_support.h"

static weft_registry *registries[2];

static int set_up(void **state) {
    (void)state;
    registries[0] = support_compiled();
    registries[1] = support_dynamic();
    return !registries[0] || !registries[1];
}

static int tear_down(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) weft_registry_free(registries[i]);
    return 0;
}

/* Problems of the table, so that one run shows all. */
static size_t complaints;

static void complain(const char *format, const char *a, const char *b, const char *c) {
    complaints++;
    print_error(format, a, b, c);
}

static const char *encode(const weft_registry *registry, const ProtobufCMessage *message,
                          const weft_json_options *options, weft_buf *out) {
    weft_buf_clear(out);
    assert_int_equal(weft_json_encode(registry, message, options, out, NULL), 0);
    return weft_buf_str(out);
}

/* The message, written, packed, unpacked, copied and written again. */
static void check_output(const weft_registry *registry, const json_case *c, weft_arena *arena,
                         const ProtobufCMessage *message) {
    weft_buf out;
    size_t len = 0;
    weft_buf_init(&out, 0);
    const char *want = c->output ? c->output : c->input;
    if (strcmp(encode(registry, message, NULL, &out), want) != 0)
        complain("%s\nwrites %s\nnot    %s\n", c->input, weft_buf_str(&out), want);
    uint8_t *wire = weft_pack(arena, message, &len);
    int error = 0;
    const char *why = NULL;
    ProtobufCMessage *again =
        weft_unpack(message->descriptor, wire, len, NULL, arena, &error, &why);
    if (!again) {
        complain("%s\nunpacks not: %s%s\n", c->input, why, "");
        weft_buf_free(&out);
        return;
    }
    if (!c->lossy && strcmp(encode(registry, again, NULL, &out), want) != 0)
        complain("%s\nunpacked writes %s\nnot    %s\n", c->input, weft_buf_str(&out), want);
    again = weft_message_copy(arena, again);
    assert_non_null(again);
    size_t again_len = 0;
    uint8_t *again_wire = weft_pack(arena, again, &again_len);
    assert_int_equal(len, again_len);
    assert_memory_equal(wire, again_wire, len);
    weft_buf_free(&out);
}

static ProtobufCMessage *run(const weft_registry *registry, const json_case *c, weft_arena *arena) {
    const weft_type *type = weft_registry_message(registry, c->type);
    ProtobufCMessage *message = NULL;
    weft_diags diags;
    weft_buf text;
    assert_non_null(type);
    weft_buf_init(&text, 0);
    weft_diags_init(&diags, arena, 0);
    const int rc = weft_json_decode(registry, type, c->input, strlen(c->input), c->options, arena,
                                    &message, &diags);
    support_text(&diags, &text);
    if (c->error) {
        if (!rc)
            complain("accepted: %s\n", c->input, "", "");
        else if (!strstr(weft_buf_str(&text), c->error) || diags.count != (c->count ? c->count : 1))
            complain("%s\nsays:\n%snot:\n%s\n", c->input, weft_buf_str(&text), c->error);
    } else if (rc) {
        complain("%s\nrefused: %s%s", c->input, weft_buf_str(&text), "");
    } else {
        check_output(registry, c, arena, message);
    }
    weft_buf_free(&text);
    return message;
}

static void cases(void **state) {
    (void)state;
    assert_true(json_case_count >= 150);
    for (size_t i = 0; i < json_case_count; i++) {
        weft_arena *arena = weft_arena_new(0);
        ProtobufCMessage *messages[2];
        for (int k = 0; k < 2; k++) messages[k] = run(registries[k], &json_cases[i], arena);
        if (messages[0]) {
            size_t a = 0, b = 0;
            uint8_t *one = weft_pack(arena, messages[0], &a),
                    *two = weft_pack(arena, messages[1], &b);
            assert_int_equal(a, b);
            assert_memory_equal(one, two, a);
        }
        weft_arena_free(arena);
    }
    assert_int_equal(complaints, 0);
    print_message("%zu cases, compiled-in and dynamic\n", json_case_count);
}

static void expect(const weft_registry *registry, const char *type, const char *input,
                   const weft_json_options *options, const char *output) {
    weft_arena *arena = weft_arena_new(0);
    weft_buf out;
    weft_buf_init(&out, 0);
    ProtobufCMessage *message = NULL;
    assert_int_equal(weft_json_decode(registry, weft_registry_message(registry, type), input,
                                      strlen(input), NULL, arena, &message, NULL),
                     0);
    assert_string_equal(encode(registry, message, options, &out), output);
    weft_buf_free(&out);
    weft_arena_free(arena);
}

static void options_of_the_encoder(void **state) {
    (void)state;
    const weft_json_options names = {.size = sizeof names, .proto_names = true};
    const weft_json_options numbers = {.size = sizeof numbers, .enum_numbers = true};
    const weft_json_options pretty = {.size = sizeof pretty, .indent = 2};
    const weft_json_options defaults = {.size = sizeof defaults, .emit_defaults = true};
    for (int i = 0; i < 2; i++) {
        expect(registries[i], "test.pb3.All", "{\"rI32\":[1],\"@renamed\":2,\"maybeNumber\":0}",
               &names, "{\"r_i32\":[1],\"maybe_number\":0,\"other_name\":2}");
        expect(registries[i], "test.pb3.All",
               "{\"color\":\"COLOR_RED\",\"rColor\":[7,\"COLOR_BLUE\"]}", &numbers,
               "{\"color\":1,\"rColor\":[7,-3]}");
        expect(
            registries[i], "test.pb3.All",
            "{\"inner\":{\"marks\":[1,2]},\"labels\":{\"a\":\"b\"},\"empty\":{},\"struct\":{},\"list\":[[]]}",
            &pretty,
            "{\n  \"inner\": {\n    \"marks\": [\n      1,\n      2\n    ]\n  },\n  \"labels\": {\n    "
            "\"a\": \"b\"\n  },\n  \"struct\": {},\n  \"list\": [\n    []\n  ],\n  \"empty\": {}\n}");
        expect(registries[i], "test.pb3.Inner", "{}", &defaults,
               "{\"name\":\"\",\"size\":0,\"marks\":[]}");
        expect(registries[i], "test.pb3.Document.Rule", "{}", &defaults,
               "{\"name\":\"\",\"attempts\":0,\"color\":\"COLOR_UNSPECIFIED\",\"headers\":{}}");
        expect(registries[i], "test.pb2.Old", "{\"id\":0}", &defaults,
               "{\"id\":0,\"many\":[],\"packed\":[],\"levels\":{}}");
    }
}

static void refuse(const weft_registry *registry, const ProtobufCMessage *message,
                   const char *error) {
    weft_arena *arena = weft_arena_new(0);
    weft_diags diags;
    weft_buf out, text;
    weft_buf_init(&out, 0);
    weft_buf_init(&text, 0);
    weft_diags_init(&diags, arena, 0);
    weft_buf_adds(&out, "before");
    assert_int_equal(weft_json_encode(registry, message, NULL, &out, &diags), WEFT_EPARSE);
    assert_string_equal(weft_buf_str(&out), "before");
    support_text(&diags, &text);
    assert_string_equal(weft_buf_str(&text), error);
    weft_buf_free(&out);
    weft_buf_free(&text);
    weft_arena_free(arena);
}

/* What is in memory but has no JSON form. */
static void the_encoder_refuses(void **state) {
    (void)state;
    static const struct {
        const char *wire, *error;
        size_t len;
    } table[] = {
#define WIRE(bytes) .wire = bytes, .len = sizeof bytes - 1
        {WIRE("\xf2\x03\x0b\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
         .error = "time: 0 seconds and -1 nanoseconds are no google.protobuf.Timestamp\n"},
        {WIRE("\xfa\x03\x0d\x08\x01\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
         .error = "duration: 1 seconds and -1 nanoseconds are no google.protobuf.Duration\n"},
        {WIRE("\x82\x04\x08\x0a\x06"
              "fooBar"),
         .error = "mask: the path \"fooBar\" of a field mask has no JSON form\n"},
        {WIRE("\x82\x04\x07\x0a\x05"
              "a_3_b"),
         .error = "mask: the path \"a_3_b\" of a field mask has no JSON form\n"},
        {WIRE("\x92\x04\x00"),
         .error = "value: a google.protobuf.Value holds nothing, not even null\n"},
        {WIRE("\x92\x04\x09\x11\x00\x00\x00\x00\x00\x00\xf8\x7f"),
         .error = "value: a google.protobuf.Value holds a number that is not finite\n"},
        {WIRE("\xea\x03\x05\x0a\x03x/y"),
         .error = "any: a google.protobuf.Any holds the type \"y\", which is not known here\n"},
        {WIRE("\xea\x03\x03\x12\x01x"),
         .error = "any: a google.protobuf.Any holds the type \"\", which is not known here\n"},
        {WIRE("\xea\x03\x15\x0a\x10/test.pb3.Inner\x00"), .error = NULL},
    };
    const size_t count = sizeof table / sizeof *table - 1;
    for (int k = 0; k < 2; k++) {
        const weft_type *type = weft_registry_message(registries[k], "test.pb3.All");
        for (size_t i = 0; i < count; i++) {
            weft_arena *arena = weft_arena_new(0);
            const char *why = "";
            ProtobufCMessage *message = weft_unpack(type->pbc, (const uint8_t *)table[i].wire,
                                                    table[i].len, NULL, arena, NULL, &why);
            if (!message) fail_msg("%zu: %s", i, why);
            refuse(registries[k], message, table[i].error);
            weft_arena_free(arena);
        }
    }
}

/* On the wire a key may come twice; the last one counts. */
static void repeated_keys_of_maps(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    weft_buf wire, out;
    weft_buf_init(&wire, 0);
    weft_buf_init(&out, 0);
    const weft_type *type = weft_registry_message(registries[1], "test.pb3.All");
    for (int i = 0; i < 20; i++)
        weft_buf_printf(&wire, "\xfa\x01\x06\x0a\x01%c\x12\x01%c", 'a' + i % 3, 'a' + i);
    ProtobufCMessage *m =
        weft_unpack(type->pbc, (const uint8_t *)wire.data, wire.len, NULL, arena, NULL, NULL);
    assert_string_equal(encode(registries[1], m, NULL, &out),
                        "{\"labels\":{\"c\":\"r\",\"a\":\"s\",\"b\":\"t\"}}");
    wire.len = 27;
    m = weft_unpack(type->pbc, (const uint8_t *)wire.data, wire.len, NULL, arena, NULL, NULL);
    assert_string_equal(encode(registries[1], m, NULL, &out),
                        "{\"labels\":{\"a\":\"a\",\"b\":\"b\",\"c\":\"c\"}}");
    static const char twice[] =
        "\x82\x02\x04\x08\x05\x12\x00\x82\x02\x06\x08\x05\x12\x02\x10\x07"
        "\x8a\x04\x07\x0a\x05\x0a\x01k\x12\x00\x8a\x04\x09\x0a\x07\x0a\x01k\x12\x02\x08\x00";
    m = weft_unpack(type->pbc, (const uint8_t *)twice, sizeof twice - 1, NULL, arena, NULL, NULL);
    assert_non_null(m);
    assert_string_equal(encode(registries[1], m, NULL, &out),
                        "{\"byNumber\":{\"5\":{\"size\":7}},\"struct\":{\"k\":null}}");
    weft_buf_free(&wire);
    weft_buf_free(&out);
    weft_arena_free(arena);
}

static void values_inside_any_are_guarded(void **state) {
    (void)state;
    static const char wire[] = "\xea\x03\x16\x0a\x10x/test.pb3.Inner\x12\x02\x0a\x05";
    weft_arena *arena = weft_arena_new(0);
    const weft_type *type = weft_registry_message(registries[0], "test.pb3.All");
    ProtobufCMessage *message =
        weft_unpack(type->pbc, (const uint8_t *)wire, sizeof wire - 1, NULL, arena, NULL, NULL);
    assert_non_null(message);
    refuse(
        registries[0], message,
        "any: what is in this google.protobuf.Any is no test.pb3.Inner: a length reaches beyond the end of "
        "its message\n");
    weft_arena_free(arena);
}

static void a_type_that_is_not_registered(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    const weft_type *dynamic = weft_registry_message(registries[1], "test.pb3.Inner");
    refuse(registries[0], weft_message_new(arena, dynamic->pbc),
           "the type test.pb3.Inner is not in the registry\n");
    weft_arena_free(arena);
}

static int decode_deep(unsigned levels, unsigned max_depth) {
    weft_arena *arena = weft_arena_new(0);
    weft_buf text;
    weft_buf_init(&text, 0);
    for (unsigned i = 1; i < levels; i++) weft_buf_adds(&text, "{\"self\":");
    weft_buf_adds(&text, "{}");
    for (unsigned i = 1; i < levels; i++) weft_buf_addc(&text, '}');
    const weft_json_options options = {.size = sizeof options, .max_depth = max_depth};
    ProtobufCMessage *message = NULL;
    const int rc =
        weft_json_decode(registries[0], weft_registry_message(registries[0], "test.pb3.All"),
                         text.data, text.len, &options, arena, &message, NULL);
    weft_buf_free(&text);
    weft_arena_free(arena);
    return rc;
}

static void limits(void **state) {
    (void)state;
    assert_int_equal(decode_deep(100, 0), 0);
    assert_int_equal(decode_deep(101, 0), WEFT_ELIMIT);
    assert_int_equal(decode_deep(5, 5), 0);
    assert_int_equal(decode_deep(6, 5), WEFT_ELIMIT);
    assert_int_equal(decode_deep(256, 1000), 0);
    assert_int_equal(decode_deep(257, 1000), WEFT_ELIMIT);
    const weft_json_options small = {.size = sizeof small, .max_bytes = 4};
    weft_arena *arena = weft_arena_new(0);
    ProtobufCMessage *message = NULL;
    const weft_type *type = weft_registry_message(registries[0], "test.pb3.All");
    assert_int_equal(
        weft_json_decode(registries[0], type, "{  }", 4, &small, arena, &message, NULL), 0);
    assert_int_equal(
        weft_json_decode(registries[0], type, "{   }", 5, &small, arena, &message, NULL),
        WEFT_ELIMIT);
    weft_arena_free(arena);
}

/* Many members in one object: duplicates are still found, in time. */
static void large_objects(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    weft_buf text, out;
    weft_buf_init(&text, 0);
    weft_buf_init(&out, 0);
    weft_buf_adds(&text, "{\"labels\":{");
    for (int i = 0; i < 50000; i++) weft_buf_printf(&text, "%s\"k%d\":\"v\"", i ? "," : "", i);
    const size_t len = text.len;
    weft_buf_adds(&text, "}}");
    ProtobufCMessage *message = NULL;
    const weft_type *type = weft_registry_message(registries[0], "test.pb3.All");
    assert_int_equal(
        weft_json_decode(registries[0], type, text.data, text.len, NULL, arena, &message, NULL), 0);
    assert_string_equal(encode(registries[0], message, NULL, &out), weft_buf_str(&text));
    text.len = len;
    weft_buf_adds(&text, ",\"k777\":\"w\"}}");
    weft_diags diags;
    weft_diags_init(&diags, arena, 0);
    assert_int_equal(
        weft_json_decode(registries[0], type, text.data, text.len, NULL, arena, &message, &diags),
        WEFT_EPARSE);
    assert_string_equal(diags.first->path, "labels.k777");
    assert_string_equal(diags.first->text, "the key is given twice, first in line 1");
    weft_buf_free(&text);
    weft_buf_free(&out);
    weft_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cases),
        cmocka_unit_test(options_of_the_encoder),
        cmocka_unit_test(the_encoder_refuses),
        cmocka_unit_test(repeated_keys_of_maps),
        cmocka_unit_test(values_inside_any_are_guarded),
        cmocka_unit_test(a_type_that_is_not_registered),
        cmocka_unit_test(limits),
        cmocka_unit_test(large_objects),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
