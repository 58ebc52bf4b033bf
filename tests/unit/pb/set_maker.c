#include "tests/unit/pb/set_maker.h"

#include <stdlib.h>
#include <string.h>

/* protobuf-c's structs want `char *`; nothing here writes through it. */
static char *text(const char *constant) {
    char *result;
    memcpy(&result, &constant, sizeof result);
    return result;
}

void set_add(weft_buf *out, const set_file *file) {
    Google__Protobuf__FileDescriptorSet set = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_SET__INIT;
    set_file *files[1];
    memcpy(files, &file, sizeof file);
    set.file = files;
    set.n_file = 1;
    const size_t size = google__protobuf__file_descriptor_set__get_packed_size(&set);
    char *at = weft_buf_reserve(out, size);
    if (!at) abort();
    weft_buf_commit(out, google__protobuf__file_descriptor_set__pack(&set, (uint8_t *)at));
}

static void make_field(set_field *f, const char *name, int number, int type,
                       const char *type_name) {
    google__protobuf__field_descriptor_proto__init(f);
    f->name = text(name);
    f->has_number = f->has_label = f->has_type = 1;
    f->number = number;
    f->label = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_OPTIONAL;
    f->type = (Google__Protobuf__FieldDescriptorProto__Type)type;
    f->type_name = text(type_name);
}

enum { INT32 = 5, STRING = 9, GROUP = 10, MESSAGE = 11, ENUM = 14 };

static void in_oneof(set_field *f, int index, int optional) {
    f->has_oneof_index = 1;
    f->oneof_index = index;
    f->has_proto3_optional = f->proto3_optional = optional;
}

static void make_messages(set_parts *p) {
    google__protobuf__descriptor_proto__init(&p->m);
    google__protobuf__descriptor_proto__init(&p->n);
    google__protobuf__descriptor_proto__init(&p->entry);
    google__protobuf__descriptor_proto__init(&p->b_message);
    p->m.name = text("M");
    p->n.name = text("N");
    p->entry.name = text("MEntry");
    p->b_message.name = text("B");
    make_field(&p->field[0], "a", 1, INT32, NULL);
    make_field(&p->field[1], "b", 2, STRING, NULL);
    make_field(&p->field[2], "n", 3, MESSAGE, ".t.M.N");
    make_field(&p->field[3], "e", 4, ENUM, ".t.E");
    make_field(&p->field[4], "x", 5, INT32, NULL);
    make_field(&p->field[5], "y", 6, INT32, NULL);
    make_field(&p->field[6], "m", 7, MESSAGE, ".t.M.MEntry");
    make_field(&p->field[7], "p", 8, INT32, NULL);
    make_field(&p->entry_field[0], "key", 1, STRING, NULL);
    make_field(&p->entry_field[1], "value", 2, INT32, NULL);
    make_field(&p->b_field, "m", 1, MESSAGE, ".t.M");
    in_oneof(&p->field[4], 0, 0);
    in_oneof(&p->field[5], 0, 0);
    p->field[6].label = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED;
    in_oneof(&p->field[7], 1, 1);
    for (int i = 0; i < 8; i++) p->fields[i] = &p->field[i];
    for (int i = 0; i < 2; i++) p->entry_fields[i] = &p->entry_field[i];
    p->b_fields[0] = &p->b_field;
    for (int i = 0; i < 2; i++) {
        google__protobuf__oneof_descriptor_proto__init(&p->oneof[i]);
        p->oneofs[i] = &p->oneof[i];
    }
    p->oneof[0].name = text("o");
    p->oneof[1].name = text("_p");
    google__protobuf__message_options__init(&p->entry_options);
    p->entry_options.has_map_entry = p->entry_options.map_entry = 1;
    p->entry.options = &p->entry_options;
    p->nested[0] = &p->n;
    p->nested[1] = &p->entry;
    p->m.field = p->fields;
    p->m.n_field = 8;
    p->m.oneof_decl = p->oneofs;
    p->m.n_oneof_decl = 2;
    p->m.nested_type = p->nested;
    p->m.n_nested_type = 2;
    p->entry.field = p->entry_fields;
    p->entry.n_field = 2;
    p->b_message.field = p->b_fields;
    p->b_message.n_field = 1;
}

static void make_others(set_parts *p) {
    google__protobuf__enum_descriptor_proto__init(&p->e);
    p->e.name = text("E");
    for (int i = 0; i < 2; i++) {
        google__protobuf__enum_value_descriptor_proto__init(&p->value[i]);
        p->value[i].name = text(i ? "ONE" : "ZERO");
        p->value[i].has_number = 1;
        p->value[i].number = i;
        p->values[i] = &p->value[i];
    }
    p->e.value = p->values;
    p->e.n_value = 2;
    google__protobuf__service_descriptor_proto__init(&p->s);
    p->s.name = text("S");
    for (int i = 0; i < 2; i++) {
        google__protobuf__method_descriptor_proto__init(&p->method[i]);
        p->method[i].name = text(i ? "Go" : "Do");
        p->method[i].input_type = p->method[i].output_type = text(".t.M");
        p->methods[i] = &p->method[i];
    }
    p->s.method = p->methods;
    p->s.n_method = 2;
    google__protobuf__field_options__init(&p->field_options);
}

void set_make(weft_buf *out, void (*spoil)(set_parts *parts)) {
    set_parts parts, *p = &parts;
    memset(p, 0, sizeof *p);
    make_messages(p);
    make_others(p);
    google__protobuf__file_descriptor_proto__init(&p->a);
    google__protobuf__file_descriptor_proto__init(&p->b);
    p->a.name = text("a.proto");
    p->b.name = text("b.proto");
    p->a.package = text("t");
    p->b.package = text("t.b");
    p->a.syntax = p->b.syntax = text("proto3");
    p->a_messages[0] = &p->m;
    p->b_messages[0] = &p->b_message;
    p->enums[0] = &p->e;
    p->services[0] = &p->s;
    p->a.message_type = p->a_messages;
    p->a.n_message_type = 1;
    p->a.enum_type = p->enums;
    p->a.n_enum_type = 1;
    p->a.service = p->services;
    p->a.n_service = 1;
    p->a.dependency = p->a_deps;
    p->b.message_type = p->b_messages;
    p->b.n_message_type = 1;
    p->b_deps[0] = text("a.proto");
    p->b.dependency = p->b_deps;
    p->b.n_dependency = 1;
    p->files[0] = &p->b; /* in any order */
    p->files[1] = &p->a;
    p->file_count = 2;
    if (spoil) spoil(p);
    for (size_t i = 0; i < p->file_count; i++) set_add(out, p->files[i]);
}

/* ---- */

#define SPOIL(name, ...) \
    static void name(set_parts *p) { __VA_ARGS__ }

SPOIL(no_name, p->b.name = NULL;)
SPOIL(twice, p->files[2] = &p->a; p->file_count = 3;)
SPOIL(missing, p->b_deps[0] = text("c.proto");)
SPOIL(circle, p->a_deps[0] = text("b.proto"); p->a.n_dependency = 1;)
SPOIL(itself, p->a_deps[0] = text("a.proto"); p->a.n_dependency = 1;)
SPOIL(editions, p->a.syntax = text("editions");)
SPOIL(package, p->a.package = text("t..x");)
SPOIL(same_message, p->b_message.name = text("M"); p->b.package = text("t");)
SPOIL(same_value, p->value[1].name = text("M");)
SPOIL(bad_message_name, p->n.name = text("1N");)
SPOIL(no_message_name, p->n.name = NULL;)
SPOIL(dangling, p->field[2].type_name = text(".t.Nope");)
SPOIL(dangling_relative, p->field[2].type_name = text("Nope");)
SPOIL(relative, p->field[2].type_name = text("N"); p->field[3].type_name = text("E");
      p->b_field.type_name = text("M"); p->method[0].input_type = text("M");)
SPOIL(derived, p->field[2].has_type = 0; p->field[3].has_type = 0;)
SPOIL(wrong_kind, p->field[2].type_name = text(".t.E");)
SPOIL(wrong_kind_2, p->field[3].type_name = text(".t.M");)
SPOIL(service_as_type, p->field[2].type_name = text(".t.S");)
SPOIL(value_as_type, p->field[2].type_name = text(".t.ONE");)
SPOIL(no_type_name, p->field[2].type_name = NULL;)
SPOIL(no_type, p->field[0].has_type = 0;)
SPOIL(type_99, p->field[0].type = (Google__Protobuf__FieldDescriptorProto__Type)99;)
SPOIL(group, p->field[2].type = (Google__Protobuf__FieldDescriptorProto__Type)GROUP;)
SPOIL(number_0, p->field[0].number = 0;)
SPOIL(number_negative, p->field[0].number = -1;)
SPOIL(number_large, p->field[0].number = 536870912;)
SPOIL(number_reserved, p->field[0].number = 19500;)
SPOIL(no_number, p->field[0].has_number = 0;)
SPOIL(same_number, p->field[1].number = 1;)
SPOIL(same_field, p->field[1].name = text("a");)
SPOIL(field_as_type, p->field[1].name = text("N");)
SPOIL(bad_field_name, p->field[1].name = text("b-c");)
SPOIL(required,
      p->field[1].label = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REQUIRED;)
SPOIL(label_9, p->field[1].label = (Google__Protobuf__FieldDescriptorProto__Label)9;)
SPOIL(oneof_9, p->field[4].oneof_index = 9;)
SPOIL(oneof_negative, p->field[4].oneof_index = -1;)
SPOIL(oneof_repeated,
      p->field[4].label = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED;)
SPOIL(oneof_empty, p->field[4].has_oneof_index = p->field[5].has_oneof_index = 0;)
SPOIL(oneof_shared, p->field[5].oneof_index = 1;)
SPOIL(oneof_order, p->field[4].oneof_index = 1; p->field[5].oneof_index = 1;
      p->field[7].oneof_index = 0;)
SPOIL(optional_alone, p->field[7].has_oneof_index = 0; p->m.n_oneof_decl = 1;)
SPOIL(optional_in_proto2, p->a.syntax = NULL;)
SPOIL(map_key, p->entry_field[0].type = (Google__Protobuf__FieldDescriptorProto__Type)1;)
SPOIL(map_single,
      p->field[6].label = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_OPTIONAL;)
SPOIL(map_fields, p->entry.n_field = 1;)
SPOIL(map_numbers, p->entry_field[1].number = 3;)
SPOIL(map_repeated,
      p->entry_field[1].label = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED;)
SPOIL(map_top, p->b_message.options = &p->entry_options;)
SPOIL(enum_empty, p->e.n_value = 0;)
SPOIL(enum_first, p->value[0].number = 5;)
SPOIL(enum_same, p->value[1].number = 0;)
SPOIL(enum_no_number, p->value[1].has_number = 0;)
SPOIL(method_type, p->method[0].input_type = text(".t.Nope");)
SPOIL(method_enum, p->method[0].output_type = text(".t.E");)
SPOIL(method_none, p->method[0].output_type = NULL;)
SPOIL(method_same, p->method[1].name = text("Do");)
SPOIL(method_name, p->method[1].name = text("");)
SPOIL(json_names, p->field[0].json_name = text("b"); p->field[1].json_name = text("zz");)
SPOIL(bad_default, p->a.syntax = NULL; p->m.n_field = 7; p->m.n_oneof_decl = 1;
      p->field[0].default_value = text("12x");)
SPOIL(bad_enum_default, p->a.syntax = NULL; p->m.n_field = 7; p->m.n_oneof_decl = 1;
      p->field[3].default_value = text("TWO");)
SPOIL(fake_timestamp, p->b.package = text("google.protobuf"); p->b_message.name = text("Timestamp");
      p->files[1] = &p->b; p->files[0] = &p->a;)
SPOIL(many, p->field[0].number = 0; p->field[1].number = -5; p->field[2].type_name = text(".x");
      p->method[0].input_type = text(".t.Nope");)

const set_case set_cases[] = {
    {"good", NULL, NULL},
    {"no name", no_name, "file 0 of the descriptor set has no name\n"},
    {"twice", twice, "a.proto: the file is there twice\n"},
    {"missing import", missing,
     "b.proto: imports \"c.proto\", which is neither in the set nor registered (make the set with protoc "
     "--include_imports)\n"},
    {"circle", circle,
     "b.proto: imports go in a circle: \"b.proto\" imports \"a.proto\" imports \"b.proto\"\n"},
    {"itself", itself, "a.proto: imports go in a circle: \"a.proto\" imports \"a.proto\"\n"},
    {"editions", editions,
     "a.proto: syntax \"editions\" is not supported (use proto2 or proto3)\n"},
    {"package", package, "a.proto: \"t..x\" is no package name\n"},
    {"same message", same_message, "b.proto: t.M: this name is declared in \"a.proto\" already\n"},
    {"same value", same_value, "a.proto: t.M: this name is declared in \"a.proto\" already\n"},
    {"bad message name", bad_message_name, "a.proto: t.M: \"1N\" is no name for a message\n"},
    {"no message name", no_message_name, "a.proto: t.M: \"\" is no name for a message\n"},
    {"dangling", dangling, "a.proto: t.M.n: the type \"t.Nope\" is not declared\n"},
    {"dangling relative", dangling_relative, "a.proto: t.M.n: the type \"Nope\" is not declared\n"},
    {"relative", relative, NULL},
    {"derived", derived, NULL},
    {"wrong kind", wrong_kind, "a.proto: t.M.n: \"t.E\" is not a message or enum\n"},
    {"wrong kind 2", wrong_kind_2, "a.proto: t.M.e: \"t.M\" is not an enum\n"},
    {"service as type", service_as_type, "a.proto: t.M.n: \"t.S\" is not a message or enum\n"},
    {"value as type", value_as_type, "a.proto: t.M.n: the type \"t.ONE\" is not declared\n"},
    {"no type name", no_type_name,
     "a.proto: t.M.n: the field does not say which message or enum it holds\n"},
    {"no type", no_type, "a.proto: t.M.a: 0 is no type of a field\n"},
    {"type 99", type_99, "a.proto: t.M.a: 99 is no type of a field\n"},
    {"group", group, "a.proto: t.M.n: groups are not supported (use a message field)\n"},
    {"number 0", number_0, "a.proto: t.M.a: field number 0 is not in 1 to 536870911\n"},
    {"number -1", number_negative, "a.proto: t.M.a: field number -1 is not in 1 to 536870911\n"},
    {"number large", number_large,
     "a.proto: t.M.a: field number 536870912 is not in 1 to 536870911\n"},
    {"number reserved", number_reserved,
     "a.proto: t.M.a: field number 19500 is reserved for protobuf itself (19000 to 19999)\n"},
    {"no number", no_number, "a.proto: t.M.a: field number 0 is not in 1 to 536870911\n"},
    {"same number", same_number, "a.proto: t.M: a and b have the same number 1\n"},
    {"same field", same_field, "a.proto: t.M: two fields are called \"a\"\n"},
    {"field as type", field_as_type, "a.proto: t.M.N: a type and a field have the same name\n"},
    {"bad field name", bad_field_name, "a.proto: t.M: \"b-c\" is no name for a field\n"},
    {"required", required, "a.proto: t.M.b: proto3 has no required fields\n"},
    {"label 9", label_9, "a.proto: t.M.b: 9 is no label of a field\n"},
    {"oneof 9", oneof_9, "a.proto: t.M.x: oneof 9 does not exist\n"},
    {"oneof -1", oneof_negative, "a.proto: t.M.x: oneof -1 does not exist\n"},
    {"oneof repeated", oneof_repeated,
     "a.proto: t.M.x: a member of a oneof cannot be repeated or required\n"},
    {"oneof empty", oneof_empty, "a.proto: t.M: the oneof \"o\" has no members\n"},
    {"oneof shared", oneof_shared,
     "a.proto: t.M: the oneof \"_p\" holds an optional field and others\n"},
    {"oneof order", oneof_order,
     "a.proto: t.M: the oneof \"_p\" comes after one made for an optional field\n"},
    {"optional alone", optional_alone,
     "a.proto: t.M.p: a proto3 optional field needs a oneof of its own (make the descriptor with a protoc that "
     "knows proto3 optional)\n"},
    {"optional in proto2", optional_in_proto2,
     "a.proto: t.M.p: proto3_optional is set in a proto2 file\n"},
    {"map key", map_key,
     "a.proto: t.M.MEntry: a map entry must hold a key of an integer, bool or string type and a value\n"},
    {"map single", map_single,
     "a.proto: t.M.m: a map entry can only be the type of a repeated field\n"},
    {"map fields", map_fields,
     "a.proto: t.M.MEntry: a map entry must hold a key of an integer, bool or string type and a value\n"},
    {"map numbers", map_numbers,
     "a.proto: t.M.MEntry: a map entry must hold a key of an integer, bool or string type and a value\n"},
    {"map repeated", map_repeated,
     "a.proto: t.M.MEntry: a map entry must hold a key of an integer, bool or string type and a value\n"},
    {"map top", map_top,
     "b.proto: t.b.B: a map entry must hold a key of an integer, bool or string type and a value\n"},
    {"enum empty", enum_empty, "a.proto: t.E: an enum needs a value\n"},
    {"enum first", enum_first, "a.proto: t.E: the first value of a proto3 enum must be 0\n"},
    {"enum same", enum_same,
     "a.proto: t.E: ZERO and ONE have the same number 0 (or set option allow_alias = true)\n"},
    {"enum no number", enum_no_number, "a.proto: t.E: value 1 has no number\n"},
    {"method type", method_type,
     "a.proto: /t.S/Do: the request type \"t.Nope\" is not a declared message\n"},
    {"method enum", method_enum,
     "a.proto: /t.S/Do: the response type \"t.E\" is not a declared message\n"},
    {"method none", method_none,
     "a.proto: /t.S/Do: the response type \"\" is not a declared message\n"},
    {"method same", method_same, "a.proto: t.S: two methods are called \"Do\"\n"},
    {"method name", method_name, "a.proto: t.S: \"\" is no name for a method\n"},
    {"json names", json_names, NULL},
    {"bad default", bad_default, "a.proto: t.M: \"12x\" is no default for the field a\n"},
    {"bad enum default", bad_enum_default, "a.proto: t.M: \"TWO\" is no default for the field e\n"},
    {"fake timestamp", fake_timestamp,
     "b.proto: google.protobuf.Timestamp: this name is declared in \"google/protobuf/timestamp.proto\" already\n"},
    {"many", many,
     "a.proto: t.M.a: field number 0 is not in 1 to 536870911\n"
     "a.proto: t.M.b: field number -5 is not in 1 to 536870911\n"
     "a.proto: t.M.n: the type \"x\" is not declared\n"
     "a.proto: /t.S/Do: the request type \"t.Nope\" is not a declared message\n"},
};

const size_t set_case_count = sizeof set_cases / sizeof *set_cases;
