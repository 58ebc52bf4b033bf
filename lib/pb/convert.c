/* Nodes to messages: the JSON mapping of protobuf, from text to memory. */
#include "convert.h"

#include "access.h"
#include "scalar.h"
#include <stdio.h>
#include <strings.h>

#include "weft/encoding.h"

/* ---- memory ---- */

static void *out_of_memory(pb_context *context) {
    context->fatal = WEFT_ENOMEM;
    return NULL;
}

char *pb_copy_text(pb_context *context, const char *text) {
    char *copy = weft_arena_strdup(context->arena, text);
    return copy ? copy : out_of_memory(context);
}

ProtobufCMessage *pb_new_message(pb_context *context, const weft_type *type) {
    ProtobufCMessage *message = weft_message_new(context->arena, type->pbc);
    return message ? message : out_of_memory(context);
}

void *pb_new_array(pb_context *context, size_t count, size_t size) {
    void *array = weft_arena_calloc(context->arena, count, size);
    return array ? array : out_of_memory(context);
}

/* ---- problems ---- */

const char *pb_kind_name(const pb_context *context, const pb_node *node) {
    switch (node->kind) {
    case PB_NULL:
        return "null";
    case PB_BOOL:
        return "a boolean";
    case PB_NUMBER:
        return "a number";
    case PB_STRING:
        return "a string";
    case PB_LIST:
        return "a list";
    default:
        return context->yaml ? "a mapping" : "an object";
    }
}

bool pb_expected(pb_context *context, const pb_node *node, const pb_path *path, const char *what) {
    pb_report(context, path, node->line, node->column, NULL, "expected %s, found %s", what,
              pb_kind_name(context, node));
    return false;
}

/* A number that does not fit; `rc` says why. */
static bool bad_number(pb_context *context, const weft_type_field *field, const pb_node *node,
                       const pb_path *path, int rc) {
    static const char *const ranges[] = {
        [KIND_INT32] = "-2147483648 to 2147483647",
        [KIND_SINT32] = "-2147483648 to 2147483647",
        [KIND_SFIXED32] = "-2147483648 to 2147483647",
        [KIND_UINT32] = "0 to 4294967295",
        [KIND_FIXED32] = "0 to 4294967295",
        [KIND_INT64] = "-9223372036854775808 to 9223372036854775807",
        [KIND_SINT64] = "-9223372036854775808 to 9223372036854775807",
        [KIND_SFIXED64] = "-9223372036854775808 to 9223372036854775807",
        [KIND_UINT64] = "0 to 18446744073709551615",
        [KIND_FIXED64] = "0 to 18446744073709551615",
    };
    const char *range = field->kind < sizeof ranges / sizeof *ranges ? ranges[field->kind] : NULL;
    if (rc == WEFT_EINVAL)
        pb_report(context, path, node->line, node->column, NULL, "%.60s is not a whole number",
                  node->text);
    else if (rc == WEFT_ELIMIT && range)
        pb_report(context, path, node->line, node->column, NULL, "%.60s is not in the range %s",
                  node->text, range);
    else if (rc == WEFT_ELIMIT)
        pb_report(context, path, node->line, node->column, NULL, "%.60s is too large for a %s",
                  node->text, field->kind == KIND_FLOAT ? "float" : "double");
    else
        pb_report(context, path, node->line, node->column, NULL, "\"%.60s\" is not a number",
                  node->text);
    return false;
}

/* ---- scalars ---- */

static bool convert_number(pb_context *context, const weft_type_field *field, const pb_node *node,
                           const pb_path *path, void *slot) {
    int64_t i = 0;
    uint64_t u = 0;
    int rc = 0;
    if (node->kind != PB_NUMBER && node->kind != PB_STRING)
        return pb_expected(context, node, path, "a number");
    switch (field->kind) {
    case KIND_DOUBLE:
        rc = pb_parse_double(node->text, slot);
        break;
    case KIND_FLOAT:
        rc = pb_parse_float(node->text, slot);
        break;
    case KIND_INT64:
    case KIND_SINT64:
    case KIND_SFIXED64:
        rc = pb_parse_int64(node->text, slot);
        break;
    case KIND_UINT64:
    case KIND_FIXED64:
        rc = pb_parse_uint64(node->text, slot);
        break;
    case KIND_UINT32:
    case KIND_FIXED32:
        rc = pb_parse_uint64(node->text, &u);
        if (!rc && u > UINT32_MAX) rc = WEFT_ELIMIT;
        if (!rc) *(uint32_t *)slot = (uint32_t)u;
        break;
    default:
        rc = pb_parse_int64(node->text, &i);
        if (!rc && (i < INT32_MIN || i > INT32_MAX)) rc = WEFT_ELIMIT;
        if (!rc) *(int32_t *)slot = (int32_t)i;
    }
    return rc ? bad_number(context, field, node, path, rc) : true;
}

static bool convert_string(pb_context *context, const pb_node *node, const pb_path *path,
                           char **slot) {
    if (node->kind != PB_STRING) {
        const bool quote = context->yaml && node->kind != PB_LIST && node->kind != PB_OBJECT;
        pb_report(context, path, node->line, node->column, quote ? "put it in quotes" : NULL,
                  "expected a string, found %s", pb_kind_name(context, node));
        return false;
    }
    *slot = pb_copy_text(context, node->text);
    return *slot;
}

static bool convert_bytes(pb_context *context, const pb_node *node, const pb_path *path,
                          ProtobufCBinaryData *slot) {
    if (node->kind != PB_STRING) return pb_expected(context, node, path, "a string in base64");
    const size_t room = WEFT_BASE64_BYTES(node->count);
    slot->len = 0;
    slot->data = NULL;
    if (!node->count) return true;
    uint8_t *bytes = pb_new_array(context, room, 1);
    if (!bytes) return false;
    if (weft_base64_decode(WEFT_BASE64_JSON_ACCEPT, node->text, node->count, bytes, room,
                           &slot->len)) {
        pb_report(context, path, node->line, node->column, NULL, "the string is not base64");
        return false;
    }
    if (slot->len) slot->data = bytes;
    return true;
}

static void unknown_name(pb_context *context, const weft_type_enum *type, const pb_node *node,
                         const pb_path *path) {
    const char **names = pb_scratch(context, type->value_count, sizeof *names);
    char hint[160] = "";
    if (!names) return;
    for (size_t i = 0; i < type->value_count; i++) names[i] = type->values[i].name;
    const char *near = weft_suggest(node->text, names, type->value_count);
    if (near)
        (void)snprintf(hint, sizeof hint, "did you mean \"%.100s\"?", near);
    else
        (void)snprintf(hint, sizeof hint, "such as \"%.100s\"", names[0]);
    pb_report(context, path, node->line, node->column, hint, "\"%.100s\" is no value of %s",
              node->text, type->name);
}

static bool convert_enum(pb_context *context, const weft_type_enum *type, const pb_node *node,
                         const pb_path *path, int32_t *slot) {
    int64_t number = 0;
    switch (node->kind) {
    case PB_NULL: /* only NullValue comes here */
        *slot = 0;
        return true;
    case PB_STRING:
        for (size_t i = 0; i < type->value_count; i++) {
            if (strcmp(type->values[i].name, node->text) != 0) continue;
            *slot = type->values[i].number;
            return true;
        }
        if (!context->ignore_unknown) unknown_name(context, type, node, path);
        return false;
    case PB_NUMBER:
        if (pb_parse_int64(node->text, &number) || number < INT32_MIN || number > INT32_MAX) {
            pb_report(context, path, node->line, node->column, NULL,
                      "%.60s is no number of an enum value", node->text);
            return false;
        }
        *slot = (int32_t)number;
        const bool open = type->proto3 && !PB_ENUM_OF(type)->null_value; /* any null reads as 0 */
        if (open || protobuf_c_enum_descriptor_get_value(type->pbc, *slot)) return true;
        if (!context->ignore_unknown)
            pb_report(context, path, node->line, node->column, NULL, "%d is no value of %s", *slot,
                      type->name);
        return false;
    default:
        return pb_expected(context, node, path, "the name of an enum value");
    }
}

static bool convert_bool(pb_context *context, const pb_node *node, const pb_path *path,
                         protobuf_c_boolean *slot) {
    static const char *const words[] = {"yes", "no", "on", "off", "y", "n", "true", "false"};
    if (node->kind == PB_BOOL) {
        *slot = node->truth;
        return true;
    }
    const char *hint = NULL;
    for (size_t i = 0; node->kind == PB_STRING && i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(node->text, words[i])) hint = "write true or false, without quotes";
    pb_report(context, path, node->line, node->column, hint, "expected true or false, found %s",
              pb_kind_name(context, node));
    return false;
}

bool pb_convert_value(pb_context *context, const weft_type_field *field, const pb_node *node,
                      const pb_path *path, void *slot) {
    switch (field->kind) {
    case KIND_MESSAGE:
        *(ProtobufCMessage **)slot = pb_convert(context, field->message, node, path);
        return *(ProtobufCMessage **)slot;
    case KIND_ENUM:
        return convert_enum(context, field->enumeration, node, path, slot);
    case KIND_STRING:
        return convert_string(context, node, path, slot);
    case KIND_BYTES:
        return convert_bytes(context, node, path, slot);
    case KIND_BOOL:
        return convert_bool(context, node, path, slot);
    default:
        return convert_number(context, field, node, path, slot);
    }
}

/* ---- fields ---- */

/* A C value of any type. */
typedef union value {
    uint64_t word;
    void *pointer;
    ProtobufCBinaryData bytes;
} value;

/* Whether null is a value of this type rather than the lack of one. */
static bool takes_null(const weft_type_field *field) {
    if (field->message) return PB_TYPE(field->message)->wellknown == PB_VALUE;
    return field->enumeration && PB_ENUM_OF(field->enumeration)->null_value;
}

static void convert_list(pb_context *context, ProtobufCMessage *message,
                         const weft_type_field *field, const pb_node *node, const pb_path *path) {
    if (node->kind != PB_LIST) {
        pb_expected(context, node, path, "a list");
        return;
    }
    const size_t size = pb_c_size(field->pbc->type);
    char *array = node->count ? pb_new_array(context, node->count, size) : NULL;
    size_t index = 0, stored = 0;
    if (node->count && !array) return;
    for (const pb_node *n = node->first; n && !context->fatal; n = n->next) {
        const pb_path here = {.up = path, .index = index};
        index++;
        if (n->kind == PB_NULL && !takes_null(field))
            pb_report(context, &here, n->line, n->column, NULL, "null is not allowed in a list");
        else if (pb_convert_value(context, field, n, &here, array + stored * size))
            stored++;
    }
    *(size_t *)pb_quantifier(message, field) = stored;
    *(void **)pb_slot(message, field) = stored ? array : NULL;
}

/* The key of a map entry is always a string in the text. */
static bool convert_key(pb_context *context, const weft_type_field *key, const pb_node *node,
                        const pb_path *path, value *out) {
    const pb_node text = {.kind = PB_STRING,
                          .text = node->key,
                          .count = (uint32_t)strlen(node->key),
                          .line = node->key_line,
                          .column = node->key_column};
    if (key->kind == KIND_STRING) return convert_string(context, &text, path, (char **)out);
    if (key->kind == KIND_BOOL) {
        const bool yes = !strcmp(node->key, "true");
        if (yes || !strcmp(node->key, "false")) {
            memcpy(out, &(protobuf_c_boolean){yes}, sizeof(protobuf_c_boolean));
            return true;
        }
        pb_report(context, path, text.line, text.column, NULL,
                  "a key of this map must be true or false");
        return false;
    }
    /* One way only to write a number, or two keys could be the same. */
    if (!pb_is_number(node->key) || strpbrk(node->key, ".eE") || !strcmp(node->key, "-0")) {
        pb_report(context, path, text.line, text.column, NULL,
                  "a key of this map must be a whole number");
        return false;
    }
    return convert_number(context, key, &text, path, out);
}

static void convert_map(pb_context *context, ProtobufCMessage *message,
                        const weft_type_field *field, const pb_node *node, const pb_path *path) {
    if (node->kind != PB_OBJECT) {
        pb_expected(context, node, path, context->yaml ? "a mapping" : "an object");
        return;
    }
    const weft_type_field *key = weft_type_field_by_number(field->message, 1);
    const weft_type_field *val = weft_type_field_by_number(field->message, 2);
    ProtobufCMessage **array =
        node->count ? pb_new_array(context, node->count, sizeof *array) : NULL;
    size_t stored = 0;
    if (node->count && !array) return;
    for (const pb_node *n = node->first; n && !context->fatal; n = n->next) {
        const pb_path here = {.up = path, .key = n->key};
        ProtobufCMessage *entry = pb_new_message(context, field->message);
        value k = {0}, v = {0};
        if (!entry) return;
        if (n->kind == PB_NULL && !takes_null(val)) {
            pb_report(context, &here, n->line, n->column, NULL, "null is not allowed in a map");
            continue;
        }
        const bool have_key = convert_key(context, key, n, &here, &k);
        if (!pb_convert_value(context, val, n, &here, &v) || !have_key) continue;
        pb_store(entry, key, &k);
        pb_store(entry, val, &v);
        array[stored++] = entry;
    }
    *(size_t *)pb_quantifier(message, field) = stored;
    *(void **)pb_slot(message, field) = stored ? array : NULL;
}

/* A second member of a oneof. */
static bool oneof_taken(pb_context *context, const weft_type *type, const ProtobufCMessage *message,
                        const weft_type_field *field, const pb_node *node, const pb_path *path) {
    if (!pb_in_oneof(field) || !pb_case(message, field) || pb_case(message, field) == field->number)
        return false;
    const weft_type_field *other = weft_type_field_by_number(type, pb_case(message, field));
    pb_report(context, path, node->key_line, node->key_column, "give one of the two",
              "\"%s\" is given already, and only one of the oneof \"%s\" can be",
              other ? other->json_name : "", PB_TYPE(type)->oneofs[field->oneof]);
    return true;
}

static void convert_field(pb_context *context, const weft_type *type, ProtobufCMessage *message,
                          const weft_type_field *field, const pb_node *node, const pb_path *path) {
    value v = {0};
    if (node->kind == PB_NULL && (field->repeated || field->map || !takes_null(field))) return;
    if (field->repeated)
        convert_list(context, message, field, node, path);
    else if (field->map)
        convert_map(context, message, field, node, path);
    else if (!oneof_taken(context, type, message, field, node, path) &&
             pb_convert_value(context, field, node, path, &v))
        pb_store(message, field, &v);
}

/* ---- messages ---- */

static void unknown_field(pb_context *context, const weft_type *type, const pb_node *node,
                          const pb_path *path) {
    const char **names = pb_scratch(context, type->field_count, sizeof *names);
    char hint[160];
    if (!names) return;
    if (*node->key == '[') {
        pb_report(context, path, node->key_line, node->key_column, NULL,
                  "extensions are not supported");
        return;
    }
    const bool snake = strchr(node->key, '_');
    for (size_t i = 0; i < type->field_count; i++)
        names[i] = snake ? type->fields[i].name : type->fields[i].json_name;
    const char *near = weft_suggest(node->key, names, type->field_count);
    if (near) (void)snprintf(hint, sizeof hint, "did you mean \"%.100s\"?", near);
    pb_report(context, path, node->key_line, node->key_column, near ? hint : NULL, "unknown field");
}

/* proto2 */
static void check_required(pb_context *context, const weft_type *type, const uint8_t *seen,
                           const pb_node *node, const pb_path *path) {
    for (size_t i = 0; i < type->field_count; i++) {
        const weft_type_field *field = &type->fields[i];
        if (field->pbc->label != PROTOBUF_C_LABEL_REQUIRED || seen[i / 8] & 1u << i % 8) continue;
        const pb_path here = {.up = path, .key = field->json_name};
        pb_report(context, &here, node->line, node->column, NULL, "the required field is missing");
    }
}

/* A field met again, at `again`. A key given twice was reported by the parser already. */
static void same_field(pb_context *context, const weft_type *type, const weft_type_field *field,
                       const pb_node *node, const pb_node *again, const pb_path *path) {
    const pb_node *n = node->first;
    while (n != again && weft_type_field_by_json(type, n->key) != field) n = n->next;
    if (strcmp(n->key, again->key) != 0)
        pb_report(context, path, again->key_line, again->key_column, "give one of the two",
                  "\"%s\" and \"%s\" are the same field", field->json_name, field->name);
}

#define FEW_FIELDS 512u

ProtobufCMessage *pb_convert_members(pb_context *context, const weft_type *type,
                                     const pb_node *node, const char *except, const pb_path *path) {
    uint8_t few[FEW_FIELDS / 8] = {0};
    uint8_t *seen = few;
    if (node->kind != PB_OBJECT) {
        pb_expected(context, node, path, context->yaml ? "a mapping" : "an object");
        return NULL;
    }
    if (type->field_count > FEW_FIELDS) seen = pb_scratch(context, type->field_count / 8 + 1, 1);
    ProtobufCMessage *message = pb_new_message(context, type);
    if (!message || !seen) return NULL;
    for (const pb_node *n = node->first; n && !context->fatal; n = n->next) {
        if (except && !strcmp(n->key, except)) continue;
        const weft_type_field *field = weft_type_field_by_json(type, n->key);
        const pb_path here = {.up = path, .key = n->key};
        if (!field) {
            if (!context->ignore_unknown) unknown_field(context, type, n, &here);
            continue;
        }
        const size_t i = (size_t)(field - type->fields);
        if (seen[i / 8] & 1u << i % 8) {
            same_field(context, type, field, node, n, &here);
            continue;
        }
        if (n->kind != PB_NULL) seen[i / 8] |= (uint8_t)(1u << i % 8);
        convert_field(context, type, message, field, n, &here);
    }
    if (!type->proto3 && !context->fatal) check_required(context, type, seen, node, path);
    return message;
}

ProtobufCMessage *pb_convert(pb_context *context, const weft_type *type, const pb_node *node,
                             const pb_path *path) {
    if (context->fatal) return NULL;
    if (PB_TYPE(type)->wellknown != PB_PLAIN)
        return pb_convert_wellknown(context, type, node, path);
    return pb_convert_members(context, type, node, NULL, path);
}
