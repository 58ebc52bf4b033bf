/* Descriptor sets for test_registry: a good one, and ways to spoil it. */
#ifndef TESTS_SET_MAKER_H
#define TESTS_SET_MAKER_H

#include "google/protobuf/descriptor.pb-c.h"
#include "weft/buf.h"

typedef Google__Protobuf__FileDescriptorProto set_file;
typedef Google__Protobuf__DescriptorProto set_message;
typedef Google__Protobuf__FieldDescriptorProto set_field;

/* The parts of the good set, to be changed at will: all memory outlives the packing.
 *
 *     a.proto (proto3, package t):
 *     message M { int32 a = 1; string b = 2; N n = 3; E e = 4; oneof o { int32 x = 5; int32 y = 6; }
 *                 map<string, int32> m = 7; optional int32 p = 8;
 *                 message N { } message MEntry { string key = 1; int32 value = 2; } }
 *     enum E { ZERO = 0; ONE = 1; }
 *     service S { rpc Do(M) returns (M); rpc Go(M) returns (M); }
 *     b.proto: imports a.proto; message B { t.M m = 1; } */
typedef struct set_parts {
    set_file a, b, *files[4];
    size_t file_count;
    char *a_deps[2], *b_deps[2];
    set_message m, n, entry, b_message, *a_messages[2], *b_messages[2], *nested[3];
    set_field field[8], entry_field[2], b_field;
    set_field *fields[9], *entry_fields[3], *b_fields[2];
    Google__Protobuf__OneofDescriptorProto oneof[2], *oneofs[3];
    Google__Protobuf__EnumDescriptorProto e, *enums[2];
    Google__Protobuf__EnumValueDescriptorProto value[2], *values[3];
    Google__Protobuf__ServiceDescriptorProto s, *services[2];
    Google__Protobuf__MethodDescriptorProto method[2], *methods[2];
    Google__Protobuf__MessageOptions entry_options;
    Google__Protobuf__FieldOptions field_options;
    char text[64];
} set_parts;

void set_make(weft_buf *out, void (*spoil)(set_parts *parts));

/* Appends one file to a set. */
void set_add(weft_buf *out, const set_file *file);

typedef struct set_case {
    const char *name;
    void (*spoil)(set_parts *parts);
    const char *says; /* NULL: it is accepted */
} set_case;

extern const set_case set_cases[];
extern const size_t set_case_count;

#endif
