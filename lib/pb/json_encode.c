/* Messages to JSON text, straight into a buffer. */
#include "encode.h"
#include "scalar.h"
#include "weft/encoding.h"
#include "weft/utf8.h"

/* ---- shape of the text ---- */

static void new_line(pb_encoder *e) {
    static const char blanks[] = "                                                                ";
    if (!e->indent) return;
    weft_buf_addc(e->out, '\n');
    for (size_t left = (size_t)e->indent * e->depth; left;) {
        const size_t n = left < sizeof blanks - 1 ? left : sizeof blanks - 1;
        weft_buf_add(e->out, blanks, n);
        left -= n;
    }
}

bool pb_encode_open(pb_encoder *e, char bracket, const pb_path *path) {
    if (e->depth >= e->context.max_depth) {
        PB_CANNOT(e, path, "values are nested deeper than the limit");
        e->context.fatal = WEFT_ELIMIT;
        return false;
    }
    e->depth++;
    weft_buf_addc(e->out, bracket);
    return true;
}

void pb_encode_next(pb_encoder *e, bool *first) {
    if (!*first) weft_buf_addc(e->out, ',');
    *first = false;
    new_line(e);
}

void pb_encode_close(pb_encoder *e, char bracket, bool first) {
    e->depth--;
    if (!first) new_line(e);
    weft_buf_addc(e->out, bracket);
}

void pb_encode_key(pb_encoder *e, bool *first, const char *key, const pb_path *path) {
    pb_encode_next(e, first);
    pb_encode_string(e, key, path);
    weft_buf_add(e->out, ": ", e->indent ? 2 : 1);
}

/* ---- scalars ---- */

void pb_encode_string(pb_encoder *e, const char *text, const pb_path *path) {
    const size_t len = strlen(text);
    if (!weft_utf8_valid(text, len)) PB_CANNOT(e, path, "the string is not valid UTF-8");
    weft_buf_addc(e->out, '"');
    weft_buf_add_json(e->out, text, len);
    weft_buf_addc(e->out, '"');
}

static void encode_bytes(pb_encoder *e, const ProtobufCBinaryData *data, const pb_path *path) {
    if (data->len > (size_t)INT32_MAX) {
        PB_CANNOT(e, path, "the bytes are too many");
        return;
    }
    weft_buf_addc(e->out, '"');
    char *room = weft_buf_reserve(e->out, WEFT_BASE64_TEXT(data->len));
    if (room)
        weft_buf_commit(e->out,
                        weft_base64_encode(WEFT_BASE64_JSON_SEND, data->data, data->len, room));
    weft_buf_addc(e->out, '"');
}

static void encode_enum(pb_encoder *e, const weft_type_enum *type, int32_t number) {
    const ProtobufCEnumValue *value =
        e->enum_numbers ? NULL : protobuf_c_enum_descriptor_get_value(type->pbc, number);
    if (PB_ENUM_OF(type)->null_value)
        weft_buf_adds(e->out, "null");
    else if (value)
        weft_buf_printf(e->out, "\"%s\"", value->name);
    else
        weft_buf_printf(e->out, "%d", number);
}

/* 64-bit numbers are strings: most readers of JSON have doubles only. NaN and infinities, too. */
static void encode_number(pb_encoder *e, uint32_t kind, const void *slot) {
    char text[WEFT_NUM_TEXT];
    size_t len = 0;
    bool quoted = false;
    switch (kind) {
    case KIND_DOUBLE:
        len = weft_format_double(*(const double *)slot, text);
        quoted = text[len - 1] > '9';
        break;
    case KIND_FLOAT:
        len = pb_format_float(*(const float *)slot, text);
        quoted = text[len - 1] > '9';
        break;
    case KIND_INT64:
    case KIND_SINT64:
    case KIND_SFIXED64:
        len = weft_format_int64(*(const int64_t *)slot, text);
        quoted = true;
        break;
    case KIND_UINT64:
    case KIND_FIXED64:
        len = weft_format_uint64(*(const uint64_t *)slot, text);
        quoted = true;
        break;
    case KIND_UINT32:
    case KIND_FIXED32:
        len = weft_format_uint64(*(const uint32_t *)slot, text);
        break;
    default:
        len = weft_format_int64(*(const int32_t *)slot, text);
    }
    if (quoted) weft_buf_addc(e->out, '"');
    weft_buf_add(e->out, text, len);
    if (quoted) weft_buf_addc(e->out, '"');
}

void pb_encode_value(pb_encoder *e, const weft_type_field *field, const void *slot,
                     const pb_path *path) {
    switch (field->kind) {
    case KIND_MESSAGE: /* NULL: the value of a map's entry */
        pb_encode_message(e, field->message, *(ProtobufCMessage *const *)slot, path);
        break;
    case KIND_ENUM:
        encode_enum(e, field->enumeration, *(const int32_t *)slot);
        break;
    case KIND_STRING: {
        const char *text = *(char *const *)slot;
        pb_encode_string(e, text ? text : "", path);
        break;
    }
    case KIND_BYTES:
        encode_bytes(e, slot, path);
        break;
    case KIND_BOOL:
        weft_buf_adds(e->out, *(const protobuf_c_boolean *)slot ? "true" : "false");
        break;
    default:
        encode_number(e, field->kind, slot);
    }
}

/* ---- fields ---- */

bool pb_is_set(const ProtobufCMessage *message, const weft_type_field *field) {
    const void *slot = pb_slot(message, field);
    const void *pointer = NULL;
    const bool pointed = field->kind == KIND_STRING || field->kind == KIND_MESSAGE;
    if (pointed) memcpy(&pointer, slot, sizeof pointer);
    if (pb_in_oneof(field))
        return pb_case(message, field) == field->number && (field->kind != KIND_MESSAGE || pointer);
    switch (field->pbc->label) {
    case PROTOBUF_C_LABEL_REQUIRED:
        return field->kind != KIND_MESSAGE || pointer;
    case PROTOBUF_C_LABEL_OPTIONAL:
        if (pointed) return pointer && pointer != field->pbc->default_value;
        return *(const protobuf_c_boolean *)pb_quantifier(message, field);
    default:
        break;
    }
    switch (field->kind) {
    case KIND_MESSAGE:
        return pointer;
    case KIND_STRING:
        return pointer && *(const char *)pointer;
    case KIND_BYTES:
        return ((const ProtobufCBinaryData *)slot)->len;
    case KIND_DOUBLE:
    case KIND_INT64:
    case KIND_UINT64:
    case KIND_FIXED64:
    case KIND_SFIXED64:
    case KIND_SINT64:
        return *(const uint64_t *)slot; /* by bits: -0.0 is set */
    default:
        return *(const uint32_t *)slot;
    }
}

static void encode_list(pb_encoder *e, const weft_type_field *field,
                        const ProtobufCMessage *message, const pb_path *path) {
    const size_t size = pb_c_size(field->pbc->type), count = pb_count(message, field);
    const char *array = *(char *const *)pb_slot(message, field);
    bool first = true;
    if (!pb_encode_open(e, '[', path)) return;
    for (size_t i = 0; i < count && array && !pb_encode_over(e); i++) {
        const pb_path here = {.up = path, .index = i};
        pb_encode_next(e, &first);
        pb_encode_value(e, field, array + i * size, &here);
    }
    pb_encode_close(e, ']', first);
}

static void map_key(const weft_type_field *key, const ProtobufCMessage *entry,
                    char text[WEFT_NUM_TEXT]) {
    const void *slot = pb_slot(entry, key);
    switch (key->kind) {
    case KIND_BOOL:
        memcpy(text, *(const protobuf_c_boolean *)slot ? "true" : "false",
               *(const protobuf_c_boolean *)slot ? 5 : 6);
        break;
    case KIND_INT64:
    case KIND_SINT64:
    case KIND_SFIXED64:
        weft_format_int64(*(const int64_t *)slot, text);
        break;
    case KIND_UINT64:
    case KIND_FIXED64:
        weft_format_uint64(*(const uint64_t *)slot, text);
        break;
    case KIND_UINT32:
    case KIND_FIXED32:
        weft_format_uint64(*(const uint32_t *)slot, text);
        break;
    default:
        weft_format_int64(*(const int32_t *)slot, text);
    }
}

/* The bytes that make a key of a map what it is. */
static const void *key_bytes(const weft_type_field *key, const ProtobufCMessage *entry,
                             size_t *size) {
    const void *slot = pb_slot(entry, key);
    *size = pb_c_size(key->pbc->type);
    if (key->kind != KIND_STRING) return slot;
    const char *text = *(char *const *)slot;
    if (!text) text = "";
    *size = strlen(text);
    return text;
}

#define FEW_ENTRIES 8u

bool *pb_superseded(pb_encoder *e, ProtobufCMessage *const *array, size_t count,
                    const weft_type_field *key) {
    bool *gone = pb_encode_scratch(e) ? pb_scratch(&e->context, count, sizeof *gone) : NULL;
    weft_map met;
    weft_map_init(&met, count);
    for (size_t i = count; gone && i-- > 0 && !e->context.fatal;) {
        size_t size = 0, other_size = 0;
        const void *own = array[i] ? key_bytes(key, array[i], &size) : NULL;
        if (!own) continue;
        if (count > FEW_ENTRIES) {
            const int rc = weft_map_add_bytes(&met, own, size, NULL);
            gone[i] = rc == WEFT_EEXIST;
            if (rc && rc != WEFT_EEXIST) e->context.fatal = rc;
            continue;
        }
        for (size_t k = i + 1; k < count && !gone[i]; k++) {
            const void *other = array[k] ? key_bytes(key, array[k], &other_size) : NULL;
            gone[i] = other && size == other_size && !memcmp(own, other, size);
        }
    }
    weft_map_free(&met, NULL);
    return e->context.fatal ? NULL : gone;
}

static void encode_map(pb_encoder *e, const weft_type_field *field, const ProtobufCMessage *message,
                       const pb_path *path) {
    const weft_type_field *key = weft_type_field_by_number(field->message, 1);
    const weft_type_field *value = weft_type_field_by_number(field->message, 2);
    ProtobufCMessage *const *array = *(ProtobufCMessage * *const *)pb_slot(message, field);
    const size_t count = pb_count(message, field);
    bool first = true;
    if (!pb_encode_open(e, '{', path)) return;
    const bool *gone = array && count > 1 ? pb_superseded(e, array, count, key) : NULL;
    for (size_t i = 0; i < count && array && !pb_encode_over(e); i++) {
        char number[WEFT_NUM_TEXT];
        const char *name = number;
        if (!array[i] || (gone && gone[i])) continue;
        if (key->kind == KIND_STRING) {
            name = *(char *const *)pb_slot(array[i], key);
            if (!name) name = "";
        } else {
            map_key(key, array[i], number);
        }
        const pb_path here = {.up = path, .key = name};
        pb_encode_key(e, &first, name, &here);
        pb_encode_value(e, value, pb_slot(array[i], value), &here);
    }
    pb_encode_close(e, '}', first);
}

static void encode_field(pb_encoder *e, const weft_type_field *field,
                         const ProtobufCMessage *message, bool *first, const pb_path *path) {
    const bool many = field->repeated || field->map;
    const bool set = many ? pb_count(message, field) : pb_is_set(message, field);
    if (!set && (!e->emit_defaults || field->presence)) return;
    const char *name = e->proto_names ? field->name : field->json_name;
    const pb_path here = {.up = path, .key = name};
    pb_encode_key(e, first, name, &here);
    if (field->repeated)
        encode_list(e, field, message, &here);
    else if (field->map)
        encode_map(e, field, message, &here);
    else
        pb_encode_value(e, field, pb_slot(message, field), &here);
}

void pb_encode_members(pb_encoder *e, const weft_type *type, const ProtobufCMessage *message,
                       bool *first, const pb_path *path) {
    const pb_type *t = PB_TYPE(type);
    for (size_t i = 0; message && i < type->field_count && !pb_encode_over(e); i++)
        encode_field(e, t->sorted[i], message, first, path);
}

weft_arena *pb_encode_scratch(pb_encoder *e) {
    if (!e->context.nodes) e->context.nodes = weft_arena_new(0);
    if (!e->context.nodes) e->context.fatal = WEFT_ENOMEM;
    return e->context.nodes;
}

void pb_encode_message(pb_encoder *e, const weft_type *type, const ProtobufCMessage *message,
                       const pb_path *path) {
    if (PB_TYPE(type)->wellknown != PB_PLAIN) {
        /* An entry of a map on the wire need not have its value. */
        if (!message && pb_encode_scratch(e))
            message = weft_message_new(e->context.nodes, type->pbc);
        if (!message) {
            e->context.fatal = WEFT_ENOMEM;
            return;
        }
        pb_encode_wellknown(e, type, message, path);
        return;
    }
    bool first = true;
    if (!pb_encode_open(e, '{', path)) return;
    pb_encode_members(e, type, message, &first, path);
    pb_encode_close(e, '}', first);
}

/* ---- */

int weft_json_encode(const weft_registry *registry, const ProtobufCMessage *message,
                     const weft_json_options *options, weft_buf *out, weft_diags *diags) {
    static const weft_json_options none = {.size = sizeof none};
    if (!options) options = &none;
    pb_encoder e = {
        .context = {.registry = registry,
                    .file = options->file,
                    .diags = diags,
                    .max_depth = options->max_depth ? options->max_depth : 100},
        .out = out,
        .proto_names = options->proto_names,
        .emit_defaults = options->emit_defaults,
        .enum_numbers = options->enum_numbers,
        .indent = options->indent,
    };
    if (e.context.max_depth > PB_NODE_DEPTH) e.context.max_depth = PB_NODE_DEPTH;
    if (out->error) return out->error;
    const size_t before = out->len;
    const weft_type *type = weft_registry_type_of(registry, message->descriptor);
    if (type)
        pb_encode_message(&e, type, message, NULL);
    else
        PB_CANNOT(&e, NULL, "the type %s is not in the registry", message->descriptor->name);
    weft_arena_free(e.context.nodes);
    const int rc = out->error ? out->error : pb_context_result(&e.context);
    if (rc && out->data) {
        out->len = before;
        out->data[before] = '\0';
    }
    return rc;
}
