/* The well-known messages that have a JSON form of their own. Their shape was checked when they
 * were registered. */
#include "access.h"
#include "convert.h"
#include "scalar.h"

static const weft_type_field *field_of(const weft_type *type, uint32_t number) {
    return weft_type_field_by_number(type, number);
}

/* The text of a node that must be a string. */
static const char *text_of(pb_context *context, const pb_node *node, const pb_path *path,
                           const char *what) {
    if (node->kind == PB_STRING) return node->text;
    pb_expected(context, node, path, what);
    return NULL;
}

/* ---- Timestamp, Duration ---- */

static bool convert_time(pb_context *context, const weft_type *type, ProtobufCMessage *message,
                         const pb_node *node, const pb_path *path) {
    const bool stamp = PB_TYPE(type)->wellknown == PB_TIMESTAMP;
    const char *text =
        text_of(context, node, path, stamp ? "a time as a string" : "a duration as a string");
    const char *why = NULL;
    int64_t seconds = 0;
    int32_t nanos = 0;
    if (!text) return false;
    if (!(stamp ? pb_parse_timestamp : pb_parse_duration)(text, &seconds, &nanos, &why)) {
        pb_report(context, path, node->line, node->column, NULL, "%s: \"%.60s\"", why, text);
        return false;
    }
    pb_store(message, field_of(type, 1), &seconds);
    pb_store(message, field_of(type, 2), &nanos);
    return true;
}

/* ---- FieldMask ---- */

/* "fooBar.baz" to "foo_bar.baz" in `out`, which has room for twice the length. */
static bool snake_path(const char *text, size_t len, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        const char c = text[i];
        if (c == '_') return false; /* would come back without it */
        if (c >= 'A' && c <= 'Z') {
            out[n++] = '_';
            out[n++] = (char)(c - 'A' + 'a');
        } else {
            out[n++] = c;
        }
    }
    out[n] = '\0';
    return n > 0;
}

static bool convert_mask(pb_context *context, const weft_type *type, ProtobufCMessage *message,
                         const pb_node *node, const pb_path *path) {
    const weft_type_field *paths = field_of(type, 1);
    const char *text = text_of(context, node, path, "a field mask as a string");
    if (!text || !*text) return text;
    size_t count = 1;
    for (const char *at = text; *at; at++) count += *at == ',';
    char **array = pb_new_array(context, count, sizeof *array);
    for (size_t i = 0; array && i < count; i++) {
        const size_t len = strcspn(text, ",");
        array[i] = pb_new_array(context, 2 * len + 1, 1);
        if (!array[i]) return false;
        if (!snake_path(text, len, array[i])) {
            pb_report(context, path, node->line, node->column,
                      "write paths such as \"user.displayName,id\"",
                      "\"%.*s\" is no path of a field mask", (int)(len < 100 ? len : 100), text);
            return false;
        }
        text += len + 1;
    }
    if (!array) return false;
    *(size_t *)pb_quantifier(message, paths) = count;
    *(char ***)pb_slot(message, paths) = array;
    return true;
}

/* ---- Struct, Value, ListValue ---- */

static bool convert_any_value(pb_context *context, const weft_type *type, ProtobufCMessage *message,
                              const pb_node *node, const pb_path *path) {
    /* null_value, number_value, string_value, bool_value, struct_value, list_value */
    static const uint32_t numbers[] = {
        [PB_NULL] = 1, [PB_NUMBER] = 2, [PB_STRING] = 3,
        [PB_BOOL] = 4, [PB_OBJECT] = 5, [PB_LIST] = 6,
    };
    const weft_type_field *field = field_of(type, numbers[node->kind]);
    union {
        uint64_t word;
        void *pointer;
    } value = {0};
    if (node->kind == PB_NUMBER && !pb_is_number(node->text)) {
        pb_report(context, path, node->line, node->column, NULL,
                  "a google.protobuf.Value cannot hold %s", node->text);
        return false;
    }
    if (node->kind != PB_NULL && !pb_convert_value(context, field, node, path, &value))
        return false;
    pb_store(message, field, &value);
    return true;
}

static bool convert_struct(pb_context *context, const weft_type *type, ProtobufCMessage *message,
                           const pb_node *node, const pb_path *path) {
    const weft_type_field *fields = field_of(type, 1);
    const weft_type_field *key = field_of(fields->message, 1),
                          *value = field_of(fields->message, 2);
    if (node->kind != PB_OBJECT)
        return pb_expected(context, node, path, context->yaml ? "a mapping" : "an object");
    ProtobufCMessage **array =
        node->count ? pb_new_array(context, node->count, sizeof *array) : NULL;
    size_t count = 0;
    for (const pb_node *n = node->first; n; n = n->next) {
        const pb_path here = {.up = path, .key = n->key};
        ProtobufCMessage *entry = context->fatal ? NULL : pb_new_message(context, fields->message);
        char *name = entry ? pb_copy_text(context, n->key) : NULL;
        ProtobufCMessage *held = name ? pb_convert(context, value->message, n, &here) : NULL;
        if (context->fatal) return false;
        if (!held) continue;
        pb_store(entry, key, &name);
        pb_store(entry, value, &held);
        array[count++] = entry;
    }
    *(size_t *)pb_quantifier(message, fields) = count;
    *(void **)pb_slot(message, fields) = array;
    return true;
}

static bool convert_list_value(pb_context *context, const weft_type *type,
                               ProtobufCMessage *message, const pb_node *node,
                               const pb_path *path) {
    const weft_type_field *values = field_of(type, 1);
    if (node->kind != PB_LIST) return pb_expected(context, node, path, "a list");
    ProtobufCMessage **array =
        node->count ? pb_new_array(context, node->count, sizeof *array) : NULL;
    size_t count = 0, index = 0;
    for (const pb_node *n = node->first; n && !context->fatal; n = n->next) {
        const pb_path here = {.up = path, .index = index};
        index++;
        ProtobufCMessage *held = pb_convert(context, values->message, n, &here);
        if (held) array[count++] = held;
    }
    *(size_t *)pb_quantifier(message, values) = count;
    *(void **)pb_slot(message, values) = array;
    return !context->fatal;
}

/* ---- Any ---- */

static const pb_node *member(const pb_node *object, const char *key) {
    for (const pb_node *n = object->first; n; n = n->next)
        if (!strcmp(n->key, key)) return n;
    return NULL;
}

/* What an Any of a well-known type holds is in its member "value". */
static ProtobufCMessage *convert_boxed(pb_context *context, const weft_type *type,
                                       const pb_node *node, const pb_path *path) {
    const pb_node *value = member(node, "value");
    for (const pb_node *n = node->first; n; n = n->next) {
        const pb_path here = {.up = path, .key = n->key};
        if (n != value && strcmp(n->key, "@type") != 0 && !context->ignore_unknown)
            pb_report(context, &here, n->key_line, n->key_column, NULL,
                      "unknown field: a %s goes into \"value\"", type->name);
    }
    if (!value) {
        pb_report(context, path, node->line, node->column, NULL,
                  "\"value\" is missing, which holds the %s", type->name);
        return NULL;
    }
    const pb_path here = {.up = path, .key = "value"};
    return pb_convert(context, type, value, &here);
}

static const weft_type *any_type(pb_context *context, const pb_node *url, const pb_path *path) {
    const pb_path here = {.up = path, .key = "@type"};
    const char *text = text_of(context, url, &here, "the URL of a type");
    if (!text) return NULL;
    const char *slash = strrchr(text, '/');
    if (!slash || !slash[1]) {
        pb_report(context, &here, url->line, url->column,
                  "write it like \"type.googleapis.com/google.protobuf.Duration\"",
                  "\"%.200s\" is no URL of a type", text);
        return NULL;
    }
    const weft_type *type = weft_registry_message(context->registry, slash + 1);
    if (!type)
        pb_report(context, &here, url->line, url->column, "add its contract",
                  "the type \"%.200s\" is not known here", slash + 1);
    return type;
}

static bool convert_any(pb_context *context, const weft_type *type, ProtobufCMessage *message,
                        const pb_node *node, const pb_path *path) {
    if (node->kind != PB_OBJECT)
        return pb_expected(context, node, path, context->yaml ? "a mapping" : "an object");
    if (!node->first) return true; /* an empty Any */
    const pb_node *url = member(node, "@type");
    if (!url) {
        pb_report(context, path, node->line, node->column, NULL,
                  "\"@type\" is missing, which says what the google.protobuf.Any holds");
        return false;
    }
    const weft_type *held = any_type(context, url, path);
    if (!held) return false;
    weft_arena *arena = context->arena;
    context->arena = context->nodes; /* only its bytes are kept */
    ProtobufCMessage *inner = PB_TYPE(held)->wellknown == PB_PLAIN
                                  ? pb_convert_members(context, held, node, "@type", path)
                                  : convert_boxed(context, held, node, path);
    context->arena = arena;
    if (!inner || context->fatal || context->errors) return false;
    ProtobufCBinaryData bytes = {0};
    bytes.data = weft_pack(context->arena, inner, &bytes.len);
    if (!bytes.data) context->fatal = WEFT_ENOMEM;
    char *name = pb_copy_text(context, url->text);
    pb_store(message, field_of(type, 1), &name);
    pb_store(message, field_of(type, 2), &bytes);
    return !context->fatal;
}

/* ---- */

static bool convert_wrapper(pb_context *context, const weft_type *type, ProtobufCMessage *message,
                            const pb_node *node, const pb_path *path) {
    union {
        uint64_t word;
        ProtobufCBinaryData bytes;
    } value = {0};
    const weft_type_field *field = field_of(type, 1);
    if (!pb_convert_value(context, field, node, path, &value)) return false;
    pb_store(message, field, &value);
    return true;
}

ProtobufCMessage *pb_convert_wellknown(pb_context *context, const weft_type *type,
                                       const pb_node *node, const pb_path *path) {
    static bool (*const converters[])(pb_context *, const weft_type *, ProtobufCMessage *,
                                      const pb_node *, const pb_path *) = {
        [PB_ANY] = convert_any,
        [PB_TIMESTAMP] = convert_time,
        [PB_DURATION] = convert_time,
        [PB_FIELD_MASK] = convert_mask,
        [PB_STRUCT] = convert_struct,
        [PB_VALUE] = convert_any_value,
        [PB_LIST_VALUE] = convert_list_value,
        [PB_WRAPPER] = convert_wrapper,
    };
    ProtobufCMessage *message = pb_new_message(context, type);
    if (!message || !converters[PB_TYPE(type)->wellknown](context, type, message, node, path))
        return NULL;
    return message;
}
