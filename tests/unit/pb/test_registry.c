/* The registry: look-ups, compiled-in and run-time types side by side, and descriptor sets that lie. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "lib/pb/registry.h"
#include "test/pb/all2.pb-c.h"
#include "test/pb/all3.pb-c.h"
#include "tests/unit/pb/pb_support.h"
#include "tests/unit/pb/set_maker.h"

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

/* ---- look-ups ---- */

static void fields(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        const weft_type *all = weft_registry_message(registries[i], "test.pb3.All");
        assert_non_null(all);
        assert_true(all->proto3);
        assert_string_equal(all->name, "test.pb3.All");
        assert_string_equal(all->file, "test/pb/all3.proto");
        assert_ptr_equal(weft_registry_type_of(registries[i], all->pbc), all);
        const weft_type_field *f = weft_type_field_by_name(all, "r_i32");
        assert_true(f->repeated && !f->map && !f->presence && f->oneof == -1);
        assert_string_equal(f->json_name, "rI32");
        assert_ptr_equal(weft_type_field_by_json(all, "rI32"), f);
        assert_ptr_equal(weft_type_field_by_json(all, "r_i32"), f);
        assert_ptr_equal(weft_type_field_by_number(all, 21), f);
        assert_null(weft_type_field_by_name(all, "rI32"));
        assert_null(weft_type_field_by_name(all, "nothing"));
        assert_null(weft_type_field_by_number(all, 20));
        f = weft_type_field_by_name(all, "labels");
        assert_true(f->map && !f->repeated && f->message->map_entry);
        f = weft_type_field_by_name(all, "pick_text");
        assert_true(f->presence && f->oneof == 0 && !f->optional);
        f = weft_type_field_by_name(all, "maybe_text");
        assert_true(f->presence && f->oneof == -1 && f->optional);
        f = weft_type_field_by_name(all, "inner");
        assert_true(f->presence && f->message);
        assert_string_equal(f->message->name, "test.pb3.Inner");
        f = weft_type_field_by_name(all, "text");
        assert_false(f->presence);
        f = weft_type_field_by_name(all, "alias");
        assert_int_equal(f->number, 536870911);
        assert_int_equal(f->enumeration->value_count, 3);
        assert_string_equal(f->enumeration->values[2].name, "ALIAS_UNO");
        const weft_type *old = weft_registry_message(registries[i], "test.pb2.Old");
        assert_false(old->proto3);
        assert_true(weft_type_field_by_name(old, "number")->presence);
        assert_false(weft_registry_enum(registries[i], "test.pb2.Level")->proto3);
        assert_null(weft_registry_message(registries[i], "test.pb2.Level"));
        assert_null(weft_registry_message(registries[i], ".test.pb2.Old"));
        assert_null(weft_registry_enum(registries[i], "test.pb2.Old"));
        assert_null(weft_registry_message(registries[i], NULL));
    }
    assert_ptr_equal(weft_registry_message(registries[0], "test.pb3.All")->pbc,
                     &test__pb3__all__descriptor);
}

static void services(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(weft_registry_service_count(registries[i]), 1);
        const weft_type_service *echo = weft_registry_service(registries[i], "test.pb3.Echo");
        assert_ptr_equal(weft_registry_service_at(registries[i], 0), echo);
        assert_null(weft_registry_service_at(registries[i], 1));
        assert_int_equal(echo->method_count, 4);
        const weft_type_method *once = weft_type_method_by_name(echo, "Once");
        assert_string_equal(once->path, "/test.pb3.Echo/Once");
        assert_string_equal(once->input->name, "test.pb3.Inner");
        assert_int_equal(once->idempotency, 1);
        assert_true(!once->client_streaming && !once->server_streaming);
        const weft_type_method *both = weft_type_method_by_name(echo, "Both");
        assert_true(both->client_streaming && both->server_streaming);
        assert_null(weft_type_method_by_name(echo, "None"));
    }
}

static void files_and_symbols(void **state) {
    (void)state;
    static const char *const symbols[] = {
        "test.pb3.All",
        "test.pb3.All.r_i32",
        "test.pb3.All.choice",
        "test.pb3.Document.Rule",
        "test.pb3.Document.Rule.name",
        "test.pb3.Echo",
        "test.pb3.Echo.Once",
        "test.pb3.Color",
        "test.pb3.COLOR_RED",
    };
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < sizeof symbols / sizeof *symbols; k++)
            assert_string_equal(weft_registry_file_of_symbol(registries[i], symbols[k]),
                                "test/pb/all3.proto");
        assert_string_equal(weft_registry_file_of_symbol(registries[i], "test.pb2.extra"),
                            "test/pb/all2.proto");
        assert_null(weft_registry_file_of_symbol(registries[i], "test.pb3.All.nothing"));
        assert_null(weft_registry_file_of_symbol(registries[i], "nothing"));
        assert_null(weft_registry_file_of_symbol(registries[i], "test.pb3.Color.x"));
        assert_string_equal(weft_registry_file_dep(registries[i], "test/pb/all2.proto", 0),
                            "test/pb/all3.proto");
        assert_null(weft_registry_file_dep(registries[i], "test/pb/all2.proto", 1));
        assert_null(weft_registry_file_dep(registries[i], "none.proto", 0));
        size_t len = 0;
        const uint8_t *bytes = weft_registry_file_bytes(registries[i], "test/pb/all3.proto", &len);
        assert_int_equal(len, weft_file_test_pb_all3_proto.descriptor_len);
        assert_memory_equal(bytes, weft_file_test_pb_all3_proto.descriptor, len);
        assert_null(weft_registry_file_bytes(registries[i], "none.proto", &len));
        assert_non_null(weft_registry_file_bytes(registries[i], "google/protobuf/any.proto", &len));
    }
    assert_non_null(
        weft_registry_message(registries[0], "google.protobuf.compiler.CodeGeneratorRequest"));
    assert_non_null(weft_registry_message(registries[0], "google.protobuf.Api"));
}

/* ---- what dynamic.c makes is what protobuf-c's generator makes ---- */

static void same_fields(const ProtobufCMessageDescriptor *a, const ProtobufCMessageDescriptor *b) {
    assert_int_equal(a->n_fields, b->n_fields);
    assert_int_equal(a->n_field_ranges, b->n_field_ranges);
    for (unsigned i = 0; i < a->n_fields; i++) {
        const ProtobufCFieldDescriptor *x = &a->fields[i], *y = &b->fields[i];
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->id, y->id);
        assert_int_equal(x->label, y->label);
        assert_int_equal(x->type, y->type);
        assert_int_equal(x->flags, y->flags);
        assert_int_equal(!x->quantifier_offset, !y->quantifier_offset);
        assert_int_equal(a->fields_sorted_by_name[i], b->fields_sorted_by_name[i]);
        if (x->type == PROTOBUF_C_TYPE_MESSAGE)
            assert_string_equal(((const ProtobufCMessageDescriptor *)x->descriptor)->name,
                                ((const ProtobufCMessageDescriptor *)y->descriptor)->name);
        assert_ptr_equal(protobuf_c_message_descriptor_get_field_by_name(b, x->name), y);
        assert_ptr_equal(protobuf_c_message_descriptor_get_field(b, x->id), y);
    }
    for (unsigned i = 0; i < a->n_field_ranges + (a->n_fields > 0); i++) {
        assert_int_equal(a->field_ranges[i].start_value, b->field_ranges[i].start_value);
        assert_int_equal(a->field_ranges[i].orig_index, b->field_ranges[i].orig_index);
    }
}

static void same_enum(const ProtobufCEnumDescriptor *a, const ProtobufCEnumDescriptor *b) {
    assert_int_equal(a->n_values, b->n_values);
    assert_int_equal(a->n_value_names, b->n_value_names);
    assert_int_equal(a->n_value_ranges, b->n_value_ranges);
    for (unsigned i = 0; i < a->n_values; i++) {
        assert_string_equal(a->values[i].name, b->values[i].name);
        assert_int_equal(a->values[i].value, b->values[i].value);
        assert_ptr_equal(protobuf_c_enum_descriptor_get_value(b, a->values[i].value),
                         &b->values[i]);
    }
    for (unsigned i = 0; i < a->n_value_names; i++) {
        assert_string_equal(a->values_by_name[i].name, b->values_by_name[i].name);
        assert_int_equal(a->values_by_name[i].index, b->values_by_name[i].index);
    }
}

static void descriptors_match_the_generator(void **state) {
    (void)state;
    const weft_file *files[] = {&weft_file_test_pb_all2_proto, &weft_file_test_pb_all3_proto};
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < files[i]->message_count; k++) {
            const ProtobufCMessageDescriptor *made = files[i]->messages[k];
            const weft_type *dynamic = weft_registry_message(registries[1], made->name);
            assert_ptr_not_equal(dynamic->pbc, made);
            assert_string_equal(dynamic->pbc->name, made->name);
            assert_string_equal(dynamic->pbc->short_name, made->short_name);
            assert_string_equal(dynamic->pbc->package_name, made->package_name);
            same_fields(made, dynamic->pbc);
        }
        for (size_t k = 0; k < files[i]->enum_count; k++)
            same_enum(files[i]->enums[k],
                      weft_registry_enum(registries[1], files[i]->enums[k]->name)->pbc);
    }
}

#define VALUE(message, type, name) \
    (*(type *)((char *)(message) + weft_type_field_by_name(old, name)->pbc->offset))

static void dynamic_defaults(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    const weft_type *old = weft_registry_message(registries[1], "test.pb2.Old");
    ProtobufCMessage *fresh = weft_message_new(arena, old->pbc);
    ProtobufCMessage *read =
        weft_unpack(old->pbc, (const uint8_t *)"\x08\x01", 2, NULL, arena, NULL, NULL);
    ProtobufCMessage *both[] = {fresh, read};
    for (int i = 0; i < 2; i++) {
        ProtobufCMessage *m = both[i];
        assert_string_equal(VALUE(m, char *, "text"), "a \"b\"\n");
        assert_int_equal(VALUE(m, ProtobufCBinaryData, "data").len, 4);
        assert_memory_equal(VALUE(m, ProtobufCBinaryData, "data").data, "\001\xff\\z", 4);
        assert_int_equal(VALUE(m, protobuf_c_boolean, "truth"), 1);
        assert_true(VALUE(m, double, "dbl") == 1.5);
        assert_true(VALUE(m, float, "flt") == -2500);
        assert_int_equal(VALUE(m, int32_t, "level"), 2);
        assert_int_equal(VALUE(m, int32_t, "plain_level"), 1);
        assert_true(VALUE(m, int64_t, "big") == -5);
        assert_true(VALUE(m, uint64_t, "huge") == UINT64_MAX);
        assert_null(VALUE(m, char *, "bare"));
        assert_null(VALUE(m, char *, "pick_text")); /* a union: no default */
    }
    const weft_type *inner = weft_registry_message(registries[1], "test.pb3.Inner");
    ProtobufCMessage *m = weft_message_new(arena, inner->pbc);
    assert_string_equal(*(char **)((char *)m + weft_type_field_by_name(inner, "name")->pbc->offset),
                        "");
    weft_arena_free(arena);
}

/* ---- adding ---- */

static int add(weft_registry *registry, const weft_buf *set, weft_buf *said) {
    weft_arena *arena = weft_arena_new(0);
    weft_diags diags;
    weft_diags_init(&diags, arena, 0);
    weft_buf_clear(said);
    const int rc =
        weft_registry_add_set(registry, (const uint8_t *)weft_buf_str(set), set->len, &diags);
    support_text(&diags, said);
    weft_arena_free(arena);
    return rc;
}

static void again_and_in_conflict(void **state) {
    (void)state;
    weft_buf set, said;
    weft_buf_init(&set, 0);
    weft_buf_init(&said, 0);
    const weft_file *file = &weft_file_test_pb_all3_proto;
    weft_registry *r = support_compiled();
    support_set(&set, &file, 1);
    assert_int_equal(add(r, &set, &said), 0);
    assert_int_equal(weft_registry_add_file(r, &weft_file_test_pb_all2_proto, NULL), 0);
    assert_int_equal(weft_registry_service_count(r), 1);

    /* The same file with comments and without JSON names is the same file. */
    weft_arena *arena = weft_arena_new(0);
    const weft_guard_limits limits = {0};
    file_proto *proto = (file_proto *)weft_unpack(
        &google__protobuf__file_descriptor_proto__descriptor, file->descriptor,
        file->descriptor_len, &limits, arena, NULL, NULL);
    Google__Protobuf__SourceCodeInfo comments = GOOGLE__PROTOBUF__SOURCE_CODE_INFO__INIT;
    proto->source_code_info = &comments;
    for (size_t i = 0; i < proto->n_message_type; i++)
        for (size_t k = 0; k < proto->message_type[i]->n_field; k++)
            if (*proto->message_type[i]->field[k]->json_name != '@')
                proto->message_type[i]->field[k]->json_name = NULL;
    weft_buf_clear(&set);
    set_add(&set, proto);
    assert_int_equal(add(r, &set, &said), 0);

    proto->message_type[0]->field[0]->name = weft_arena_strdup(arena, "renamed");
    weft_buf_clear(&set);
    set_add(&set, proto);
    assert_int_equal(add(r, &set, &said), WEFT_ECONFLICT);
    assert_string_equal(weft_buf_str(&said),
                        "file \"test/pb/all3.proto\" is registered already with other "
                        "content (use one version of the contract)\n");
    weft_registry_free(r);
    weft_arena_free(arena);
    weft_buf_free(&set);
    weft_buf_free(&said);
}

/* Another version of a well-known file is no conflict: ours stays. */
static void builtin_files_stay(void **state) {
    (void)state;
    weft_buf set, said;
    weft_buf_init(&set, 0);
    weft_buf_init(&said, 0);
    file_proto file = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_PROTO__INIT;
    char name[] = "google/protobuf/any.proto", package[] = "somewhere";
    file.name = name;
    file.package = package;
    set_add(&set, &file);
    weft_registry *r = weft_registry_new();
    assert_int_equal(add(r, &set, &said), 0);
    assert_non_null(weft_registry_message(r, "google.protobuf.Any"));
    weft_registry_free(r);
    weft_buf_free(&set);
    weft_buf_free(&said);
}

/* A compiled-in file whose import nobody linked: it is taken out of what reflection serves. */
static void missing_import_of_a_compiled_file(void **state) {
    (void)state;
    file_proto proto = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_PROTO__INIT;
    char name[] = "own.proto", a[] = "gone.proto", b[] = "google/protobuf/any.proto";
    char *deps[] = {a, b};
    int32_t publics[] = {1, 0, 7};
    proto.name = name;
    proto.dependency = deps;
    proto.n_dependency = 2;
    proto.public_dependency = publics;
    proto.n_public_dependency = 3;
    uint8_t bytes[200];
    const size_t len = google__protobuf__file_descriptor_proto__pack(&proto, bytes);
    const weft_file file = {
        .size = sizeof file, .name = name, .descriptor = bytes, .descriptor_len = len};
    weft_registry *r = weft_registry_new();
    assert_int_equal(weft_registry_add_file(r, &file, NULL), 0);
    assert_string_equal(weft_registry_file_dep(r, name, 0), b);
    assert_null(weft_registry_file_dep(r, name, 1));
    size_t served = 0;
    const uint8_t *bytes_served = weft_registry_file_bytes(r, name, &served);
    file_proto *back = google__protobuf__file_descriptor_proto__unpack(NULL, served, bytes_served);
    assert_int_equal(back->n_dependency, 1);
    assert_int_equal(back->n_public_dependency, 1);
    assert_int_equal(back->public_dependency[0], 0);
    google__protobuf__file_descriptor_proto__free_unpacked(back, NULL);
    weft_registry_free(r);
}

static void compiled_files_that_lie(void **state) {
    (void)state;
    weft_registry *r = weft_registry_new();
    weft_arena *arena = weft_arena_new(0);
    weft_diags diags;
    weft_diags_init(&diags, arena, 0);
    weft_file file = weft_file_test_pb_all3_proto;
    file.name = "other.proto"; /* registered under this name */
    file.message_count--;
    assert_int_equal(weft_registry_add_file(r, &file, &diags), WEFT_EPARSE);
    assert_string_equal(diags.first->text,
                        "the embedded contract declares it, the compiled code does not");
    const weft_file broken = {.size = sizeof broken,
                              .name = "x",
                              .descriptor = (const uint8_t *)"\x0a\x05",
                              .descriptor_len = 2};
    weft_diags_init(&diags, arena, 0);
    assert_int_equal(weft_registry_add_file(r, &broken, &diags), WEFT_EPARSE);
    assert_string_equal(diags.first->text,
                        "the descriptor embedded for \"x\" is damaged: a length reaches "
                        "beyond the end of its message");
    /* Messages of another file under the right names */
    const ProtobufCMessageDescriptor wrong = {.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                                              .name = "test.pb2.Strict"};
    const ProtobufCMessageDescriptor *list[8];
    file = weft_file_test_pb_all2_proto;
    for (size_t i = 0; i < file.message_count; i++)
        list[i] = strcmp(file.messages[i]->name, wrong.name) ? file.messages[i] : &wrong;
    file.messages = list;
    weft_diags_init(&diags, arena, 0);
    assert_int_equal(weft_registry_add_file(r, &file, &diags), WEFT_EPARSE);
    assert_string_equal(diags.first->path, "test.pb2.Strict");
    assert_string_equal(diags.first->text, "the embedded contract and the compiled code disagree");
    assert_int_equal(weft_registry_add_file(r, &weft_file_test_pb_all2_proto, NULL), 0);
    weft_registry_free(r);
    weft_arena_free(arena);
}

/* ---- sets that lie ---- */

static void sets_with_errors(void **state) {
    (void)state;
    weft_buf said;
    weft_buf_init(&said, 0);
    size_t complaints = 0;
    weft_registry *r = weft_registry_new();
    for (size_t i = 0; i < set_case_count; i++) {
        weft_buf set;
        weft_buf_init(&set, 0);
        set_make(&set, set_cases[i].spoil);
        const int rc = add(r, &set, &said);
        const int want = set_cases[i].says ? WEFT_EPARSE : 0;
        if (rc != want ||
            strcmp(weft_buf_str(&said), set_cases[i].says ? set_cases[i].says : "") != 0) {
            complaints++;
            print_error("%s: %d\nsays:\n%snot:\n%s\n", set_cases[i].name, rc, weft_buf_str(&said),
                        set_cases[i].says ? set_cases[i].says : "");
        }
        /* Nothing of it stays. */
        if (rc) assert_null(weft_registry_message(r, "t.M"));
        weft_buf_free(&set);
        if (!rc) {
            weft_registry_free(r);
            r = weft_registry_new();
        }
    }
    weft_registry_free(r);
    assert_int_equal(complaints, 0);
    print_message("%zu sets\n", set_case_count);
    weft_buf_free(&said);
}

/* Where the real ones are not there, a well-known type must still look like itself: the converter relies on
 * it. */
static void well_known_types_that_lie(void **state) {
    (void)state;
    static const char *const names[] = {"Any",   "Timestamp", "FieldMask", "Struct",
                                        "Value", "ListValue", "BoolValue"};
    weft_buf set, said;
    weft_buf_init(&set, 0);
    weft_buf_init(&said, 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        file_proto file = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_PROTO__INIT;
        message_proto message = GOOGLE__PROTOBUF__DESCRIPTOR_PROTO__INIT, *messages[] = {&message};
        field_proto field = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__INIT, *list[] = {&field};
        char name[32], package[] = "google.protobuf", syntax[] = "proto3", a[] = "a";
        (void)snprintf(name, sizeof name, "%s", names[i]);
        file.name = name;
        file.package = package;
        file.syntax = syntax;
        file.message_type = messages;
        file.n_message_type = 1;
        message.name = name;
        message.field = list;
        message.n_field = 1;
        field.name = a;
        field.has_number = field.has_type = 1;
        field.number = 1;
        field.type = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_INT32;
        weft_buf_clear(&set);
        set_add(&set, &file);
        weft_registry *r = pb_registry_new_bare();
        assert_int_equal(add(r, &set, &said), WEFT_EPARSE);
        assert_non_null(strstr(weft_buf_str(&said), "is not declared as protobuf declares it"));
        weft_registry_free(r);
    }
    weft_buf_free(&set);
    weft_buf_free(&said);
}

static void bytes_that_are_no_set(void **state) {
    (void)state;
    weft_buf set, said;
    weft_buf_init(&set, 0);
    weft_buf_init(&said, 0);
    weft_registry *r = pb_registry_new_bare();
    assert_int_equal(add(r, &set, &said), 0); /* an empty one */
    weft_buf_adds(&set, "no descriptor");
    assert_int_equal(add(r, &set, &said), WEFT_EPARSE);
    assert_string_equal(weft_buf_str(&said),
                        "not a descriptor set: a field has an unknown wire type (make it with "
                        "protoc --descriptor_set_out --include_imports)\n");
    weft_registry_free(r);
    weft_buf_free(&set);
    weft_buf_free(&said);
}

/* Every cut of a set: refused or taken, never more. */
static void cut_sets(void **state) {
    (void)state;
    weft_buf set, said;
    weft_buf_init(&set, 0);
    weft_buf_init(&said, 0);
    set_make(&set, NULL);
    const size_t len = set.len;
    for (size_t cut = 0; cut < len; cut++) {
        weft_registry *r = pb_registry_new_bare();
        set.len = cut;
        const int rc = add(r, &set, &said);
        assert_true(rc == 0 || rc == WEFT_EPARSE);
        weft_registry_free(r);
    }
    set.len = len;
    weft_buf_free(&set);
    weft_buf_free(&said);
}

/* A chain of imports as long as the set: no recursion. */
static void long_chain(void **state) {
    (void)state;
    enum { FILES = 20000 };
    weft_buf set, said;
    weft_buf_init(&set, 0);
    weft_buf_init(&said, 0);
    for (int i = 0; i < FILES; i++) {
        char name[32], next[32], *deps[] = {next};
        file_proto file = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_PROTO__INIT;
        (void)snprintf(name, sizeof name, "f%d.proto", i);
        (void)snprintf(next, sizeof next, "f%d.proto", i + 1);
        file.name = name;
        file.dependency = deps;
        file.n_dependency = i + 1 < FILES;
        set_add(&set, &file);
    }
    weft_registry *r = pb_registry_new_bare();
    assert_int_equal(add(r, &set, &said), 0);
    assert_string_equal(weft_registry_file_dep(r, "f7.proto", 0), "f8.proto");
    weft_registry_free(r);
    weft_buf_free(&set);
    weft_buf_free(&said);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields),
        cmocka_unit_test(services),
        cmocka_unit_test(files_and_symbols),
        cmocka_unit_test(descriptors_match_the_generator),
        cmocka_unit_test(dynamic_defaults),
        cmocka_unit_test(again_and_in_conflict),
        cmocka_unit_test(builtin_files_stay),
        cmocka_unit_test(missing_import_of_a_compiled_file),
        cmocka_unit_test(compiled_files_that_lie),
        cmocka_unit_test(sets_with_errors),
        cmocka_unit_test(well_known_types_that_lie),
        cmocka_unit_test(bytes_that_are_no_set),
        cmocka_unit_test(cut_sets),
        cmocka_unit_test(long_chain),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
