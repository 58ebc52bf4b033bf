/* Descriptors and struct layouts for types that no compiler saw: what protobuf-c's generator would
 * have written, made at run time.
 *
 * Two things differ, both because protobuf-c's fallback initialiser (message_init is NULL, since
 * such a function is not told its type) copies every default into the struct, oneofs included,
 * where a string's default would then pass for a message of another member: members of oneofs have
 * no default here, and weft_message_new must be used instead of protobuf_c_message_init. */
#include "registry.h"
#include "guard.h"

#include <stdlib.h>
#include <string.h>

#include "weft/num.h"

static const char *last_part(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* Runs of consecutive numbers, as int_range_lookup in protobuf-c wants them, with one more at the
 * end. */
static ProtobufCIntRange *make_ranges(pb_batch *batch, const int *numbers, size_t count,
                                      unsigned *made) {
    size_t runs = 0;
    for (size_t i = 0; i < count; i++)
        runs += !i || (int64_t)numbers[i] != (int64_t)numbers[i - 1] + 1;
    ProtobufCIntRange *ranges = pb_keep(batch, runs + 1, sizeof *ranges);
    if (!ranges) return NULL;
    size_t at = 0;
    for (size_t i = 0; i < count; i++)
        if (!i || (int64_t)numbers[i] != (int64_t)numbers[i - 1] + 1)
            ranges[at++] =
                (ProtobufCIntRange){.start_value = numbers[i], .orig_index = (unsigned)i};
    ranges[at].orig_index = (unsigned)count;
    *made = (unsigned)runs;
    return ranges;
}

/* ---- enums ---- */

/* A stable sort by number: of aliases the first declared stays. */
static int by_number(const void *a, const void *b) {
    const weft_type_value *x = *(const weft_type_value *const *)a;
    const weft_type_value *y = *(const weft_type_value *const *)b;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    return (x > y) - (x < y);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const ProtobufCEnumValueIndex *)a)->name,
                  ((const ProtobufCEnumValueIndex *)b)->name);
}

void pb_make_enum(pb_batch *batch, pb_enum *e) {
    const size_t n = e->type.value_count;
    ProtobufCEnumDescriptor *d = pb_keep(batch, 1, sizeof *d);
    ProtobufCEnumValue *values = pb_keep(batch, n, sizeof *values);
    ProtobufCEnumValueIndex *names = pb_keep(batch, n, sizeof *names);
    int *numbers = weft_arena_alloc(batch->scratch, n * sizeof *numbers);
    const weft_type_value **sorted = weft_arena_alloc(batch->scratch, n * sizeof *sorted);
    if (!d || !values || !names || !numbers || !sorted) {
        batch->fatal = WEFT_ENOMEM;
        return;
    }
    for (size_t i = 0; i < n; i++) sorted[i] = &e->type.values[i];
    qsort(sorted, n, sizeof *sorted, by_number);
    unsigned distinct = 0;
    for (size_t i = 0; i < n; i++) {
        const weft_type_value *v = sorted[i];
        if (!i || v->number != numbers[distinct - 1]) {
            numbers[distinct] = v->number;
            values[distinct++] =
                (ProtobufCEnumValue){.name = v->name, .c_name = v->name, .value = v->number};
        }
        names[i] = (ProtobufCEnumValueIndex){.name = v->name, .index = distinct - 1};
    }
    qsort(names, n, sizeof *names, by_name);
    *d = (ProtobufCEnumDescriptor){
        .magic = PROTOBUF_C__ENUM_DESCRIPTOR_MAGIC,
        .name = e->type.name,
        .short_name = last_part(e->type.name),
        .c_name = e->type.name,
        .package_name = e->package,
        .n_values = distinct,
        .values = values,
        .n_value_names = (unsigned)n,
        .values_by_name = names,
    };
    d->value_ranges = make_ranges(batch, numbers, distinct, &d->n_value_ranges);
    e->type.pbc = d;
}

/* ---- defaults of proto2 ---- */

/* Undoes C escapes, as protoc writes them into the default of a bytes field. */
static bool unescape(const char *text, uint8_t *out, size_t *len) {
    static const char from[] = "abfnrtv\\'\"?", to[] = "\a\b\f\n\r\t\v\\'\"?";
    size_t n = 0;
    while (*text) {
        if (*text != '\\') {
            out[n++] = (uint8_t)*text++;
            continue;
        }
        text++;
        const char *simple = *text ? strchr(from, *text) : NULL;
        unsigned value = 0, digits = 0;
        if (simple) {
            out[n++] = (uint8_t)to[simple - from];
            text++;
            continue;
        }
        if (*text == 'x' || *text == 'X') {
            static const char hex[] = "0123456789abcdef0123456789ABCDEF";
            const char *at = NULL;
            for (text++; digits < 2 && *text && (at = strchr(hex, *text)); digits++, text++)
                value = value * 16 + (unsigned)((at - hex) % 16);
        } else {
            for (; digits < 3 && *text >= '0' && *text <= '7'; digits++, text++)
                value = value * 8 + (unsigned)(*text - '0');
        }
        if (!digits || value > 255) return false;
        out[n++] = (uint8_t)value;
    }
    *len = n;
    return true;
}

static const void *keep_value(pb_batch *batch, const void *value, size_t size) {
    void *copy = pb_keep(batch, 1, size);
    if (copy) memcpy(copy, value, size);
    return copy;
}

static const void *default_number(pb_batch *batch, uint32_t kind, const char *text) {
    int64_t i = 0;
    uint64_t u = 0;
    double d = 0;
    switch (kind) {
    case KIND_INT32:
    case KIND_SINT32:
    case KIND_SFIXED32:
        if (weft_parse_int64(text, &i) || i < INT32_MIN || i > INT32_MAX) return NULL;
        return keep_value(batch, &(int32_t){(int32_t)i}, 4);
    case KIND_INT64:
    case KIND_SINT64:
    case KIND_SFIXED64:
        return weft_parse_int64(text, &i) ? NULL : keep_value(batch, &i, 8);
    case KIND_UINT32:
    case KIND_FIXED32:
        if (weft_parse_uint64(text, &u) || u > UINT32_MAX) return NULL;
        return keep_value(batch, &(uint32_t){(uint32_t)u}, 4);
    case KIND_UINT64:
    case KIND_FIXED64:
        return weft_parse_uint64(text, &u) ? NULL : keep_value(batch, &u, 8);
    default:
        if (!strcmp(text, "inf"))
            d = __builtin_inf();
        else if (!strcmp(text, "-inf"))
            d = -__builtin_inf();
        else if (!strcmp(text, "nan"))
            d = __builtin_nan("");
        else if (weft_parse_double(text, &d))
            return NULL;
        return kind == KIND_DOUBLE ? keep_value(batch, &d, 8)
                                   : keep_value(batch, &(float){(float)d}, 4);
    }
}

const void *pb_parse_default(pb_batch *batch, const weft_type_field *field, const char *text) {
    switch (field->kind) {
    case KIND_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) return NULL;
        return keep_value(batch, &(protobuf_c_boolean){*text == 't'}, sizeof(protobuf_c_boolean));
    case KIND_STRING:
        return pb_keep_text(batch, text);
    case KIND_BYTES: {
        ProtobufCBinaryData *data = pb_keep(batch, 1, sizeof *data);
        uint8_t *bytes = pb_keep(batch, strlen(text) + 1, 1);
        if (!data || !bytes || !unescape(text, bytes, &data->len)) return NULL;
        data->data = bytes;
        return data;
    }
    case KIND_ENUM:
        for (size_t i = 0; i < field->enumeration->value_count; i++)
            if (!strcmp(field->enumeration->values[i].name, text))
                return keep_value(batch, &field->enumeration->values[i].number, sizeof(int32_t));
        return NULL;
    case KIND_MESSAGE:
        return NULL;
    default:
        return default_number(batch, field->kind, text);
    }
}

/* ---- messages ---- */

/* The struct so far: members are added where C would put them. */
typedef struct layout {
    size_t size, align;
} layout;

static unsigned place(layout *l, size_t size, size_t align) {
    const size_t at = (l->size + align - 1) / align * align;
    l->size = at + size;
    if (align > l->align) l->align = align;
    return (unsigned)at;
}

static size_t align_of(ProtobufCType type) { return pb_c_size(type) == 4 ? 4 : 8; }

static const field_proto *proto_of(const pb_type *t, const weft_type_field *field) {
    return t->proto->field[field - t->fields];
}

static void set_default(pb_batch *batch, const pb_type *t, const weft_type_field *field,
                        ProtobufCFieldDescriptor *d) {
    const char *text = proto_of(t, field)->default_value;
    if (field->repeated || field->map) return;
    if (text && !t->type.proto3) {
        const void *value = pb_parse_default(batch, field, text);
        if (!value && !batch->fatal)
            pb_batch_error(batch, t->file, t->type.name, NULL,
                           "\"%s\" is no default for the field %s", text, field->name);
        if (!(d->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) d->default_value = value;
    } else if (d->label == PROTOBUF_C_LABEL_NONE && field->kind == KIND_STRING &&
               !(d->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) {
        d->default_value = protobuf_c_empty_string;
    } else if (field->kind == KIND_ENUM && !(d->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
               field->enumeration->values[0].number) {
        d->default_value = &field->enumeration->values[0].number;
    }
}

static bool is_packed(const pb_type *t, const weft_type_field *field) {
    const Google__Protobuf__FieldOptions *options = proto_of(t, field)->options;
    if (!field->repeated || field->kind == KIND_STRING || field->kind == KIND_BYTES ||
        field->kind == KIND_MESSAGE)
        return false;
    return options && options->has_packed ? options->packed : t->type.proto3;
}

static void set_label(const pb_type *t, const weft_type_field *field, ProtobufCFieldDescriptor *d) {
    const field_proto *proto = proto_of(t, field);
    const int label = proto->has_label ? (int)proto->label : 1;
    const Google__Protobuf__FieldOptions *options = proto->options;
    d->label = label == 3       ? PROTOBUF_C_LABEL_REPEATED
               : label == 2     ? PROTOBUF_C_LABEL_REQUIRED
               : t->type.proto3 ? PROTOBUF_C_LABEL_NONE
                                : PROTOBUF_C_LABEL_OPTIONAL;
    if (field->oneof >= 0 || field->optional) d->flags |= PROTOBUF_C_FIELD_FLAG_ONEOF;
    if (is_packed(t, field)) d->flags |= PROTOBUF_C_FIELD_FLAG_PACKED;
    if (options && options->has_deprecated && options->deprecated)
        d->flags |= PROTOBUF_C_FIELD_FLAG_DEPRECATED;
}

/* Gives a field that is in no oneof its members of the struct. */
static void place_field(const weft_type_field *field, ProtobufCFieldDescriptor *d, layout *l) {
    if (d->label == PROTOBUF_C_LABEL_REPEATED) {
        d->quantifier_offset = place(l, sizeof(size_t), sizeof(size_t));
        d->offset = place(l, sizeof(void *), sizeof(void *));
        return;
    }
    if (d->label == PROTOBUF_C_LABEL_OPTIONAL && field->kind != KIND_STRING &&
        field->kind != KIND_MESSAGE)
        d->quantifier_offset = place(l, sizeof(protobuf_c_boolean), 4);
    d->offset = place(l, pb_c_size(d->type), align_of(d->type));
}

static int compare_field_name(const void *a, const void *b) {
    const ProtobufCFieldDescriptor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* fields_sorted_by_name of protobuf-c. */
static unsigned *name_order(pb_batch *batch, const ProtobufCFieldDescriptor *fields, size_t n) {
    const ProtobufCFieldDescriptor **sorted = weft_arena_alloc(batch->scratch, n * sizeof *sorted);
    unsigned *order = pb_keep(batch, n, sizeof *order);
    if (!sorted || !order) {
        batch->fatal = WEFT_ENOMEM;
        return NULL;
    }
    for (size_t i = 0; i < n; i++) sorted[i] = &fields[i];
    qsort(sorted, n, sizeof *sorted, compare_field_name);
    for (size_t i = 0; i < n; i++) order[i] = (unsigned)(sorted[i] - fields);
    return order;
}

/* Where each oneof is: a case and a union as large as two words, which holds any member. */
static unsigned *place_oneofs(pb_batch *batch, const pb_type *t, layout *l) {
    unsigned *at = weft_arena_alloc(batch->scratch, t->oneof_count * sizeof *at);
    if (!at) {
        batch->fatal = WEFT_ENOMEM;
        return NULL;
    }
    for (size_t i = 0; i < t->oneof_count; i++) {
        at[i] = place(l, 4, 8);
        place(l, sizeof(ProtobufCBinaryData), 8);
    }
    return at;
}

static void fill_fields(pb_batch *batch, pb_type *t, ProtobufCFieldDescriptor *fields, int *numbers,
                        layout *l) {
    const unsigned *oneofs = place_oneofs(batch, t, l);
    for (size_t i = 0; i < t->type.field_count && !batch->fatal; i++) {
        const weft_type_field *field = t->sorted[i];
        ProtobufCFieldDescriptor *d = &fields[i];
        *d = (ProtobufCFieldDescriptor){.name = field->name, .id = field->number};
        pb_c_type(field->kind, &d->type);
        if (field->message) d->descriptor = field->message->pbc;
        if (field->enumeration) d->descriptor = field->enumeration->pbc;
        set_label(t, field, d);
        if (field->oneof >= 0 || field->optional) {
            d->quantifier_offset = field->optional ? place(l, 4, 8) : oneofs[field->oneof];
            d->offset = field->optional ? place(l, sizeof(ProtobufCBinaryData), 8)
                                        : d->quantifier_offset + 8;
        } else {
            place_field(field, d, l);
        }
        set_default(batch, t, field, d);
        t->fields[field - t->fields].pbc = d;
        numbers[i] = (int)field->number;
    }
}

static void make_message(pb_batch *batch, pb_type *t) {
    const size_t n = t->type.field_count;
    layout l = {.size = sizeof(ProtobufCMessage), .align = 8};
    ProtobufCMessageDescriptor *d = (ProtobufCMessageDescriptor *)t->type.pbc;
    ProtobufCFieldDescriptor *fields = n ? pb_keep(batch, n, sizeof *fields) : NULL;
    int *numbers = weft_arena_alloc(batch->scratch, n * sizeof *numbers);
    if ((n && !fields) || !numbers) {
        batch->fatal = WEFT_ENOMEM;
        return;
    }
    fill_fields(batch, t, fields, numbers, &l);
    if (batch->fatal) return;
    *d = (ProtobufCMessageDescriptor){
        .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
        .name = t->type.name,
        .short_name = last_part(t->type.name),
        .c_name = t->type.name,
        .package_name = t->package,
        .sizeof_message = (l.size + l.align - 1) / l.align * l.align,
        .n_fields = (unsigned)n,
        .fields = fields,
        .fields_sorted_by_name = n ? name_order(batch, fields, n) : NULL,
    };
    if (n) d->field_ranges = make_ranges(batch, numbers, n, &d->n_field_ranges);
}

void pb_make_layouts(pb_batch *batch) {
    for (size_t i = 0; i < batch->type_count && !batch->fatal; i++)
        if (!batch->types[i]->file->compiled) make_message(batch, batch->types[i]);
}
