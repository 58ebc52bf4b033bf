/* YAML: what scalars mean, and every error with its place. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/pb/pb_support.h"

static weft_registry *registry;
static const weft_json_options named = {.size = sizeof named, .file = "mesh.yaml"};

static int set_up(void **state) {
    (void)state;
    registry = support_compiled();
    return !registry;
}

static int tear_down(void **state) {
    (void)state;
    weft_registry_free(registry);
    return 0;
}

/* A text for a type, and the JSON it means or all that is said about it. */
typedef struct yaml_case {
    const char *type, *input, *json, *errors;
} yaml_case;

#define ALL "test.pb3.All"
#define DOC "test.pb3.Document"

static const yaml_case table[] = {
    /* structure */
    {DOC, "kind: Mesh\nspec:\n  rules:\n  - name: a\n  - {name: b, attempts: 2}\n",
     "{\"kind\":\"Mesh\",\"spec\":{\"rules\":[{\"name\":\"a\"},{\"name\":\"b\",\"attempts\":2}]}}",
     NULL},
    {DOC, "{\"kind\": \"Mesh\", \"spec\": {\"strict\": true}}",
     "{\"kind\":\"Mesh\",\"spec\":{\"strict\":true}}", NULL},
    {DOC, "--- # a comment\nkind: >\n  folded\n  text\n...\n", "{\"kind\":\"folded text\\n\"}",
     NULL},
    {DOC, "kind: |\n  a\n  b\n", "{\"kind\":\"a\\nb\\n\"}", NULL},
    {DOC, "spec:\nkind:\n", "{}", NULL},
    {DOC, "spec: {}\n", "{\"spec\":{}}", NULL},
    {DOC, "\"kind\": 'it''s'\n", "{\"kind\":\"it's\"}", NULL},
    {DOC, "kind: \"a\\u00e4\\tb\"\n", "{\"kind\":\"a\xc3\xa4\\tb\"}", NULL},
    {DOC, "%YAML 1.2\n---\nkind: x\n", "{\"kind\":\"x\"}", NULL},

    /* plain scalars of the core schema */
    {ALL, "i32: 0x1F\nu64: 0o17\nr_i32: [+12, -3, 0, 007]\n",
     "{\"i32\":31,\"u64\":\"15\",\"rI32\":[12,-3,0,7]}", NULL},
    {ALL, "dbl: .5\nflt: -1.\nr_flt: [1e3, +.25, 00.5]\n",
     "{\"flt\":-1,\"dbl\":0.5,\"rFlt\":[1000,0.25,0.5]}", NULL},
    {ALL, "dbl: .inf\nflt: -.Inf\nr_flt: [.nan, +.INF]\n",
     "{\"flt\":\"-Infinity\",\"dbl\":\"Infinity\",\"rFlt\":[\"NaN\",\"Infinity\"]}", NULL},
    {ALL, "r_bool: [true, True, TRUE, false, False, FALSE]\n",
     "{\"rBool\":[true,true,true,false,false,false]}", NULL},
    {ALL, "i32: ~\ntext: null\ninner: Null\ntruth: NULL\ncolor:\n", "{}", NULL},
    {ALL, "i32: \"12\"\ni64: '13'\n", "{\"i32\":12,\"i64\":\"13\"}", NULL},
    {ALL, "i64: 9223372036854775807\nu64: 18446744073709551615\n",
     "{\"i64\":\"9223372036854775807\",\"u64\":\"18446744073709551615\"}", NULL},
    {ALL, "color: COLOR_RED\nr_color: [1, COLOR_GREEN]\n",
     "{\"color\":\"COLOR_RED\",\"rColor\":[\"COLOR_RED\",\"COLOR_GREEN\"]}", NULL},
    {ALL, "text: 2026-01-31\nr_text: [yes, on, 1.2.3, 12a, '', \"null\", 0x, 1_000, -, .]\n",
     "{\"text\":\"2026-01-31\",\"rText\":[\"yes\",\"on\",\"1.2.3\",\"12a\",\"\",\"null\",\"0x\",\"1_000\",\"-\",\".\"]}",
     NULL},
    {ALL, "time: 2026-01-31T23:59:59Z\nduration: 1.5s\nmask: a,bC\n",
     "{\"time\":\"2026-01-31T23:59:59Z\",\"duration\":\"1.500s\",\"mask\":\"a,bC\"}", NULL},
    {ALL, "value: {a: [1, x, true, null, 1.5, 'y', ~, 0x10]}\n",
     "{\"value\":{\"a\":[1,\"x\",true,null,1.5,\"y\",null,16]}}", NULL},
    {ALL, "by_number: {1: {}, -2: {size: 1}}\nby_truth: {true: 1}\nlabels: {1: a, true: b, ~: c}\n",
     "{\"labels\":{\"1\":\"a\",\"true\":\"b\",\"~\":\"c\"},\"byNumber\":{\"1\":{},\"-2\":{\"size\":1}},"
     "\"byTruth\":{\"true\":\"1\"}}",
     NULL},
    {ALL, "any: {\"@type\": x/test.pb3.Inner, name: n}\n",
     "{\"any\":{\"@type\":\"x/test.pb3.Inner\",\"name\":\"n\"}}", NULL},
    {ALL, "pick_value: null\n", "{\"pickValue\":null}", NULL},

    /* tags */
    {ALL,
     "text: !!str 12\ni32: !!int \"7\"\ndbl: !!float 3\ntruth: !!bool true\nr_text: !!seq [!!str 5]\ninner: !!map {}\n",
     "{\"i32\":7,\"dbl\":3,\"truth\":true,\"text\":\"12\",\"inner\":{},\"rText\":[\"5\"]}", NULL},
    {ALL, "text: !mine x\n", NULL,
     "mesh.yaml:1:7: text: this tag (!) is not supported (remove it)\n"},
    {ALL, "data: !!binary AAAA\n", NULL,
     "mesh.yaml:1:7: data: this tag (!) is not supported (remove it)\n"},
    {ALL, "inner: !!set {}\n", NULL,
     "mesh.yaml:1:8: inner: this tag (!) is not supported (remove it)\n"},
    {ALL, "i32: !!int x\n", NULL,
     "mesh.yaml:1:6: i32: the value is not what its tag (!!) says\n"
     "mesh.yaml:1:6: i32: \"x\" is not a number\n"},
    {ALL, "text: !!null x\n", NULL,
     "mesh.yaml:1:7: text: the value is not what its tag (!!) says\n"},

    /* types */
    {ALL, "text: 1.10\n", NULL,
     "mesh.yaml:1:7: text: expected a string, found a number (put it in quotes)\n"},
    {ALL, "text: true\n", NULL,
     "mesh.yaml:1:7: text: expected a string, found a boolean (put it in quotes)\n"},
    {ALL, "truth: yes\n", NULL,
     "mesh.yaml:1:8: truth: expected true or false, found a string (write true or false, without quotes)\n"},
    {ALL, "truth: 'true'\n", NULL,
     "mesh.yaml:1:8: truth: expected true or false, found a string (write true or false, without quotes)\n"},
    {ALL, "i32: 3x\n", NULL, "mesh.yaml:1:6: i32: \"3x\" is not a number\n"},
    {ALL, "i32: 0xFFFFFFFFFFFFFFFFFF\n", NULL,
     "mesh.yaml:1:6: i32: 1e20 is not in the range -2147483648 to 2147483647\n"},
    {ALL, "value: .inf\n", NULL,
     "mesh.yaml:1:8: value: a google.protobuf.Value cannot hold Infinity\n"},
    {ALL, "inner: x\n", NULL, "mesh.yaml:1:8: inner: expected a mapping, found a string\n"},
    {ALL, "r_i32:\n  a: 1\n", NULL, "mesh.yaml:2:3: r_i32: expected a list, found a mapping\n"},
    {ALL, "r_i32: [1, ~]\n", NULL, "mesh.yaml:1:12: r_i32[1]: null is not allowed in a list\n"},
    {DOC, "- kind: x\n", NULL, "mesh.yaml:1:1: expected a mapping, found a list\n"},
    {DOC, "hello\n", NULL, "mesh.yaml:1:1: expected a mapping, found a string\n"},

    /* every problem at once, each in its place */
    {DOC,
     "apiVersion: 1\n"
     "kind: Mesh\n"
     "spce: {}\n"
     "spec:\n"
     "  rules:\n"
     "  - name: a\n"
     "    attemps: 3\n"
     "  - name: 7\n"
     "    timeout: 5m\n"
     "    color: COLOR_REDD\n"
     "  - headers: {x-a: 1, y.b: [2]}\n"
     "  strict: maybe\n"
     "  limit: 1.5\n"
     "  fallback: {attempts: -1}\n",
     NULL,
     "mesh.yaml:1:13: apiVersion: expected a string, found a number (put it in quotes)\n"
     "mesh.yaml:3:1: spce: unknown field (did you mean \"spec\"?)\n"
     "mesh.yaml:7:5: spec.rules[0].attemps: unknown field (did you mean \"attempts\"?)\n"
     "mesh.yaml:8:11: spec.rules[1].name: expected a string, found a number (put it in quotes)\n"
     "mesh.yaml:9:14: spec.rules[1].timeout: expected a duration in seconds such as \"1.5s\": \"5m\"\n"
     "mesh.yaml:10:12: spec.rules[1].color: \"COLOR_REDD\" is no value of test.pb3.Color (did you mean "
     "\"COLOR_RED\"?)\n"
     "mesh.yaml:11:20: spec.rules[2].headers.x-a: expected a string, found a number (put it in quotes)\n"
     "mesh.yaml:11:28: spec.rules[2].headers[\"y.b\"]: expected a string, found a list\n"
     "mesh.yaml:12:11: spec.strict: expected true or false, found a string\n"
     "mesh.yaml:13:10: spec.limit: 1.5 is not a whole number\n"
     "mesh.yaml:14:24: spec.fallback.attempts: -1 is not in the range 0 to 4294967295\n"},

    /* what YAML has and we do not take */
    {DOC, "kind: &k Mesh\napiVersion: *k\n", NULL,
     "mesh.yaml:1:7: kind: anchors (&) are not supported (write the value out where it is needed)\n"
     "mesh.yaml:2:13: apiVersion: aliases (*) are not supported (write the value out)\n"},
    {DOC, "spec: &s\n  strict: true\n", NULL,
     "mesh.yaml:1:7: spec: anchors (&) are not supported (write the value out where it is needed)\n"},
    {DOC, "spec:\n  <<: {strict: true}\n", NULL,
     "mesh.yaml:2:3: spec: merge keys (<<) are not supported (write the fields out)\n"
     "mesh.yaml:2:3: spec[\"<<\"]: unknown field\n"},
    {ALL, "labels: {\"<<\": a}\n", "{\"labels\":{\"<<\":\"a\"}}", NULL},
    {DOC, "*a : 1\n", NULL,
     "mesh.yaml:1:1: aliases (*) are not supported (write the value out)\nmesh.yaml:1:1: [\"*\"]: "
     "unknown field\n"},
    {DOC, "? [a, b]\n: 1\n", NULL,
     "mesh.yaml:1:3: a key must be a plain or quoted scalar\n"
     "mesh.yaml:1:8: [\"\"]: unknown field\n"},
    {ALL, "labels:\n  ? {a: {b: [c]}}\n  : v\n  k: w\n", NULL,
     "mesh.yaml:2:5: labels: a key must be a plain or quoted scalar\n"},
    {DOC, "kind: a\nkind: b\n", NULL,
     "mesh.yaml:2:1: kind: the key is given twice, first in line 1\n"},
    {DOC, "spec:\n  rules:\n  - name: a\n    name: b\n", NULL,
     "mesh.yaml:4:5: spec.rules[0].name: the key is given twice, first in line 3\n"},
    {DOC, "api_version: a\napiVersion: b\n", NULL,
     "mesh.yaml:2:1: apiVersion: \"apiVersion\" and \"api_version\" are the same field (give one of the two)\n"},
    {DOC, "kind: a\n---\nkind: b\n---\nkind: c\n", NULL,
     "mesh.yaml:3:1: there is a second document, one is expected (split the file)\n"},
    {DOC, "", NULL, "mesh.yaml:1:1: the text holds no document\n"},
    {DOC, "# nothing\n---\n", NULL, "mesh.yaml:1:1: the text holds no document\n"},
    {DOC, "kind: \"a\\0b\"\n", NULL,
     "mesh.yaml:1:7: kind: a string holds the character U+0000, which strings in C cannot (encode binary data as "
     "bytes, in base64)\n"},

    /* malformed */
    {DOC, "kind: [a\n", NULL,
     "mesh.yaml:2:1: malformed YAML: did not find expected ',' or ']' (while parsing a flow sequence in line 1)\n"},
    {DOC, "kind: a\n  x: b\n", NULL,
     "mesh.yaml:2:4: malformed YAML: mapping values are not allowed in this context\n"},
    {DOC, "kind: \"a\n", NULL,
     "mesh.yaml:2:1: malformed YAML: found unexpected end of stream (while scanning a quoted scalar in line 1)\n"},
    {DOC, "\tkind: a\n", NULL,
     "mesh.yaml:1:1: malformed YAML: found character that cannot start any token\n"},
    {DOC, "kind: a\nspec:\n  strict: true\n bad: 1\n", NULL,
     "mesh.yaml:4:2: malformed YAML: did not find expected key (while parsing a block mapping in line 1)\n"},
    {DOC, "kind: \x01\n", NULL,
     "mesh.yaml:1:1: malformed YAML: control characters are not allowed\n"},
    {DOC, "kind: \xff\n", NULL, "mesh.yaml:1:7: the text is not valid UTF-8\n"},
    /* Columns count characters, not bytes. */
    {ALL, "{text: \"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\", i32: x}\n", NULL,
     "mesh.yaml:1:20: i32: \"x\" is not a number\n"},
};

static size_t complaints;

static void check(const yaml_case *c, int rc, const ProtobufCMessage *message,
                  const weft_diags *diags) {
    weft_buf text;
    weft_buf_init(&text, 0);
    if (!rc) {
        assert_int_equal(weft_json_encode(registry, message, NULL, &text, NULL), 0);
        if (!c->json || strcmp(weft_buf_str(&text), c->json) != 0) {
            complaints++;
            print_error("%s\nis     %s\nnot    %s\n\n", c->input, weft_buf_str(&text),
                        c->json ? c->json : "-");
        }
    } else {
        support_text(diags, &text);
        if (!c->errors || strcmp(weft_buf_str(&text), c->errors) != 0) {
            complaints++;
            print_error("%s\nsays:\n%snot:\n%s\n\n", c->input, weft_buf_str(&text),
                        c->errors ? c->errors : "-\n");
        }
    }
    weft_buf_free(&text);
}

static void cases(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const yaml_case *c = &table[i];
        weft_arena *arena = weft_arena_new(0);
        weft_diags diags;
        ProtobufCMessage *message = NULL;
        weft_diags_init(&diags, arena, 0);
        const int rc =
            weft_yaml_decode(registry, weft_registry_message(registry, c->type), c->input,
                             strlen(c->input), &named, arena, &message, &diags);
        check(c, rc, message, &diags);
        weft_arena_free(arena);
    }
    assert_int_equal(complaints, 0);
    print_message("%zu cases\n", sizeof table / sizeof *table);
}

static void documents(void **state) {
    (void)state;
    static const char text[] =
        "# first\n---\nkind: A\nmetadata: {name: one}\n---\n---\n# empty\n---\n  kind: B\n  "
        "spec: {limit: x}\n...\n---\n[1]\n";
    weft_arena *arena = weft_arena_new(0);
    weft_yaml_document **docs = NULL;
    size_t count = 0;
    int line = 0, column = 0;
    char file[] = "mesh.yaml";
    const weft_json_options options = {.size = sizeof options, .file = file};
    assert_int_equal(
        weft_yaml_documents(text, sizeof text - 1, &options, arena, &docs, &count, NULL), 0);
    file[0] = 'X'; /* its name was copied */
    assert_int_equal(count, 3);
    weft_yaml_document_where(docs[0], &line, &column);
    assert_int_equal(line, 3);
    assert_int_equal(column, 1);
    assert_string_equal(weft_yaml_document_string(docs[0], "kind", &line, &column), "A");
    assert_int_equal(line, 3);
    assert_int_equal(column, 7);
    assert_string_equal(weft_yaml_document_string(docs[0], "metadata.name", NULL, NULL), "one");
    assert_null(weft_yaml_document_string(docs[0], "metadata", NULL, NULL));
    assert_null(weft_yaml_document_string(docs[0], "metadata.nam", NULL, NULL));
    assert_null(weft_yaml_document_string(docs[0], "kind.name", NULL, NULL));
    assert_null(weft_yaml_document_string(docs[2], "kind", NULL, NULL));
    weft_yaml_document_where(docs[1], &line, &column);
    assert_int_equal(line, 9);
    assert_int_equal(column, 3);

    const weft_type *type = weft_registry_message(registry, DOC);
    weft_diags diags;
    weft_buf said;
    ProtobufCMessage *message = NULL;
    weft_diags_init(&diags, arena, 0);
    weft_buf_init(&said, 0);
    assert_int_equal(weft_yaml_document_decode(registry, type, docs[1], arena, &message, &diags),
                     WEFT_EPARSE);
    support_text(&diags, &said);
    assert_string_equal(weft_buf_str(&said),
                        "mesh.yaml:10:17: spec.limit: \"x\" is not a number\n");
    weft_buf_free(&said);
    assert_null(message);
    assert_int_equal(weft_yaml_document_decode(registry, type, docs[0], arena, &message, NULL),
                     WEFT_EPARSE);
    weft_arena_free(arena);
}

static void places(void **state) {
    (void)state;
    static const char text[] =
        "kind: A\nspec:\n  - name: one\n    max_retries: 3\n  - {env: {A.B: x, C: \"y\"}, list: [1,  2]}\n";
    static const struct {
        const char *path;
        bool there;
        int line, column;
    } cases[] = {
        {"", true, 1, 1},
        {"kind", true, 1, 7},
        {"spec", true, 3, 3},
        {"spec[0]", true, 3, 5},
        {"spec[0].name", true, 3, 11},
        {"spec[0].max_retries", true, 4, 18},
        {"spec[0].maxRetries", true, 4, 18},
        {"spec[1].list[1]", true, 5, 40},
        {"spec[1].env.C", true, 5, 23},
        {"spec[0].command", false, 3, 5}, /* the innermost that is there */
        {"spec[0].maxRetriesX", false, 3, 5},
        {"spec[0].max", false, 3, 5},
        {"spec[1].env.A.B", false, 5, 11},
        {"spec[1].list[2]", false, 5, 35},
        {"spec[2].name", false, 3, 3},
        {"spec[x]", false, 3, 3},
        {"spec[0", false, 3, 3},
        {"kind.name", false, 1, 7},
        {"kind[0]", false, 1, 7},
        {"[0]", false, 1, 1},
        {"other", false, 1, 1},
        {"..", false, 1, 1},
    };
    weft_arena *arena = weft_arena_new(0);
    weft_yaml_document **docs = NULL;
    size_t count = 0;
    assert_int_equal(weft_yaml_documents(text, sizeof text - 1, NULL, arena, &docs, &count, NULL),
                     0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int line = 0, column = 0;
        const bool there = weft_yaml_document_place(docs[0], cases[i].path, &line, &column);
        if (there != cases[i].there || line != cases[i].line || column != cases[i].column)
            fail_msg("%s: %d at %d:%d", cases[i].path, there, line, column);
    }
    weft_arena_free(arena);
}

static void unknown_fields_may_be_ignored(void **state) {
    (void)state;
    static const char text[] = "kind: A\nother: [{x: 1}]\n";
    const weft_json_options lenient = {.size = sizeof lenient, .ignore_unknown = true};
    weft_arena *arena = weft_arena_new(0);
    weft_yaml_document **docs = NULL;
    size_t count = 0;
    ProtobufCMessage *message = NULL;
    const weft_type *type = weft_registry_message(registry, DOC);
    assert_int_equal(
        weft_yaml_decode(registry, type, text, sizeof text - 1, &lenient, arena, &message, NULL),
        0);
    assert_int_equal(
        weft_yaml_documents(text, sizeof text - 1, &lenient, arena, &docs, &count, NULL), 0);
    assert_int_equal(weft_yaml_document_decode(registry, type, docs[0], arena, &message, NULL), 0);
    weft_arena_free(arena);
}

/* All documents of a stream must be well-formed before one is handed out. */
static void a_stream_with_errors(void **state) {
    (void)state;
    static const char text[] = "kind: A\nkind: B\n---\nx: &a 1\n---\ny: [\n";
    weft_arena *arena = weft_arena_new(0);
    weft_diags diags;
    weft_buf said;
    weft_yaml_document **docs = NULL;
    size_t count = 7;
    weft_diags_init(&diags, arena, 0);
    weft_buf_init(&said, 0);
    assert_int_equal(
        weft_yaml_documents(text, sizeof text - 1, &named, arena, &docs, &count, &diags),
        WEFT_EPARSE);
    assert_int_equal(count, 7);
    support_text(&diags, &said);
    assert_string_equal(
        weft_buf_str(&said),
        "mesh.yaml:2:1: kind: the key is given twice, first in line 1\n"
        "mesh.yaml:4:4: x: anchors (&) are not supported (write the value out where it is needed)\n"
        "mesh.yaml:7:1: malformed YAML: did not find expected node content\n");
    weft_buf_free(&said);
    weft_arena_free(arena);
}

static void limits(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    ProtobufCMessage *message = NULL;
    weft_buf text;
    const weft_type *type = weft_registry_message(registry, ALL);
    for (int levels = 99; levels <= 101; levels++) {
        weft_buf_init(&text, 0);
        for (int i = 0; i < levels; i++) weft_buf_adds(&text, "{self: ");
        for (int i = 0; i < levels; i++) weft_buf_addc(&text, '}');
        assert_int_equal(
            weft_yaml_decode(registry, type, text.data, text.len, NULL, arena, &message, NULL),
            levels > 100 ? WEFT_ELIMIT : 0);
        weft_buf_free(&text);
    }
    /* A megabyte of brackets is refused at once, not looked at for minutes. */
    weft_buf_init(&text, 0);
    for (int i = 0; i < 1000000; i++) weft_buf_addc(&text, '[');
    assert_int_equal(
        weft_yaml_decode(registry, type, text.data, text.len, NULL, arena, &message, NULL),
        WEFT_ELIMIT);
    const weft_json_options small = {.size = sizeof small, .max_bytes = 1000};
    assert_int_equal(
        weft_yaml_decode(registry, type, text.data, text.len, &small, arena, &message, NULL),
        WEFT_ELIMIT);
    weft_buf_free(&text);
    weft_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cases),
        cmocka_unit_test(documents),
        cmocka_unit_test(places),
        cmocka_unit_test(unknown_fields_may_be_ignored),
        cmocka_unit_test(a_stream_with_errors),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
