/* Which messages have a JSON form of their own, and that they look as protobuf declares them: a
 * hostile descriptor set may say otherwise. */
#include "registry.h"

#include <string.h>

#define ENTRY 100u /* a map from strings to the message */

/* What a field must be. `message`: its well-known message, where it holds one. */
typedef struct shape {
    uint32_t number, kind;
    bool repeated;
    pb_wellknown message;
} shape;

typedef struct form {
    const char *name;
    pb_wellknown kind;
    shape fields[7];
} form;

static const form forms[] = {
    {"Any", PB_ANY, {{1, KIND_STRING, false, PB_PLAIN}, {2, KIND_BYTES, false, PB_PLAIN}}},
    {"Timestamp",
     PB_TIMESTAMP,
     {{1, KIND_INT64, false, PB_PLAIN}, {2, KIND_INT32, false, PB_PLAIN}}},
    {"Duration", PB_DURATION, {{1, KIND_INT64, false, PB_PLAIN}, {2, KIND_INT32, false, PB_PLAIN}}},
    {"FieldMask", PB_FIELD_MASK, {{1, KIND_STRING, true, PB_PLAIN}}},
    {"Struct", PB_STRUCT, {{1, ENTRY, false, PB_VALUE}}},
    {"ListValue", PB_LIST_VALUE, {{1, KIND_MESSAGE, true, PB_VALUE}}},
    {"Value",
     PB_VALUE,
     {{1, KIND_ENUM, false, PB_PLAIN},
      {2, KIND_DOUBLE, false, PB_PLAIN},
      {3, KIND_STRING, false, PB_PLAIN},
      {4, KIND_BOOL, false, PB_PLAIN},
      {5, KIND_MESSAGE, false, PB_STRUCT},
      {6, KIND_MESSAGE, false, PB_LIST_VALUE}}},
    {"DoubleValue", PB_WRAPPER, {{1, KIND_DOUBLE, false, PB_PLAIN}}},
    {"FloatValue", PB_WRAPPER, {{1, KIND_FLOAT, false, PB_PLAIN}}},
    {"Int64Value", PB_WRAPPER, {{1, KIND_INT64, false, PB_PLAIN}}},
    {"UInt64Value", PB_WRAPPER, {{1, KIND_UINT64, false, PB_PLAIN}}},
    {"Int32Value", PB_WRAPPER, {{1, KIND_INT32, false, PB_PLAIN}}},
    {"UInt32Value", PB_WRAPPER, {{1, KIND_UINT32, false, PB_PLAIN}}},
    {"BoolValue", PB_WRAPPER, {{1, KIND_BOOL, false, PB_PLAIN}}},
    {"StringValue", PB_WRAPPER, {{1, KIND_STRING, false, PB_PLAIN}}},
    {"BytesValue", PB_WRAPPER, {{1, KIND_BYTES, false, PB_PLAIN}}},
};

static const form *form_of(const char *name) {
    static const char package[] = "google.protobuf.";
    if (strncmp(name, package, sizeof package - 1) != 0) return NULL;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (!strcmp(name + sizeof package - 1, forms[i].name)) return &forms[i];
    return NULL;
}

pb_wellknown pb_wellknown_of(const char *name) {
    const form *f = form_of(name);
    return f ? f->kind : PB_PLAIN;
}

static bool fits(const shape *want, const weft_type_field *field, bool in_oneof) {
    if (!field || field->repeated != want->repeated || (field->oneof >= 0) != in_oneof ||
        field->optional)
        return false;
    const weft_type *held = field->message;
    if (want->kind == ENTRY) {
        if (!field->map) return false;
        const weft_type_field *key = weft_type_field_by_number(held, 1);
        const weft_type_field *value = weft_type_field_by_number(held, 2);
        if (!key || key->kind != KIND_STRING || !value) return false;
        held = value->message;
    } else if (field->map || field->kind != want->kind) {
        return false;
    }
    return want->message == PB_PLAIN || (held && PB_TYPE(held)->wellknown == want->message);
}

void pb_check_wellknown(pb_batch *batch, const pb_type *t) {
    const form *f = form_of(t->type.name);
    if (!f) return;
    bool good = t->type.proto3;
    size_t count = 0;
    for (const shape *s = f->fields; s->number && good; s++, count++)
        good = fits(s, weft_type_field_by_number(&t->type, s->number), f->kind == PB_VALUE);
    good = good && t->type.field_count == count && t->oneof_count == (f->kind == PB_VALUE);
    if (good && f->kind == PB_VALUE) {
        const pb_enum *null = PB_ENUM_OF(weft_type_field_by_number(&t->type, 1)->enumeration);
        good = null->null_value;
    }
    if (!good)
        pb_batch_error(batch, t->file, t->type.name, "use protobuf's own file",
                       "this well-known type is not declared as protobuf declares it");
}
