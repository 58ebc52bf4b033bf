/* Documents as YAML. A message is walked as diff.c does, but nested. */
#include <string.h>

#include "services/control/model/internal.h"

#define DEPTH_MAX 32u

typedef struct printer {
    const weft_registry *registry;
    weft_buf *out;
} printer;

/* Whether YAML reads it back as the same text without quotes. */
static bool plain(const char *text) {
    static const char *const words[] = {"true", "false", "null", "~", "yes", "no", "on", "off"};
    const size_t len = strlen(text);
    if (!len ||
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-") != len)
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(text, words[i])) return false;
    return (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z' && strlen(text) > 5);
}

static void text_value(printer *p, const char *text) {
    if (plain(text)) {
        weft_buf_adds(p->out, text);
        return;
    }
    weft_buf_addc(p->out, '"');
    weft_buf_add_json(p->out, text, strlen(text));
    weft_buf_addc(p->out, '"');
}

static void scalar(printer *p, const ProtobufCFieldDescriptor *field, const void *at) {
    const ProtobufCEnumValue *name;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        text_value(p, *(char *const *)at);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        weft_buf_adds(p->out, *(const protobuf_c_boolean *)at ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        name = protobuf_c_enum_descriptor_get_value(field->descriptor, *(const int *)at);
        weft_buf_printf(p->out, "%s", name ? name->name : "?");
        break;
    default:
        weft_buf_printf(p->out, "%u", *(const uint32_t *)at);
    }
    weft_buf_addc(p->out, '\n');
}

static bool is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field) {
    const char *base = (const char *)message, *at = base + field->offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)(base + field->quantifier_offset) > 0;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)(base + field->quantifier_offset) == field->id;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) return *(void *const *)at != NULL;
    if (field->type == PROTOBUF_C_TYPE_STRING) return model_given(*(char *const *)at);
    return *(const int *)at != 0;
}

static bool any_set(const ProtobufCMessage *message) {
    for (unsigned i = 0; i < message->descriptor->n_fields; i++)
        if (is_set(message, &message->descriptor->fields[i])) return true;
    return false;
}

static void fields(printer *p, const ProtobufCMessage *message, unsigned indent, bool begun);

static void list(printer *p, const ProtobufCMessage *message, const weft_type_field *known,
                 unsigned indent) {
    const ProtobufCFieldDescriptor *field = known->pbc;
    const char *base = (const char *)message;
    const size_t count = *(const size_t *)(base + field->quantifier_offset);
    const char *items = *(const char *const *)(base + field->offset);
    const bool nested = field->type == PROTOBUF_C_TYPE_MESSAGE;
    const size_t step = nested || field->type == PROTOBUF_C_TYPE_STRING ? sizeof(void *) : 4;
    weft_buf_addc(p->out, '\n');
    for (size_t i = 0; i < count; i++) {
        const void *at = items + i * step;
        const ProtobufCMessage *inner = nested ? *(ProtobufCMessage *const *)at : NULL;
        if (known->map) {
            const struct {
                ProtobufCMessage base;
                char *key, *value;
            } *entry = (const void *)inner;
            weft_buf_printf(p->out, "%*s", (int)indent + 2, "");
            text_value(p, entry->key);
            weft_buf_adds(p->out, ": ");
            text_value(p, entry->value);
            weft_buf_addc(p->out, '\n');
            continue;
        }
        weft_buf_printf(p->out, "%*s- ", (int)indent, "");
        if (!nested)
            scalar(p, field, at);
        else if (any_set(inner))
            fields(p, inner, indent + 2, true);
        else
            weft_buf_adds(p->out, "{}\n");
    }
}

/* `begun`: the first line has its indent already. */
static void fields(printer *p, const ProtobufCMessage *message, unsigned indent, bool begun) {
    const weft_type *type = weft_registry_type_of(p->registry, message->descriptor);
    if (!type || indent > 2 * DEPTH_MAX) return;
    for (size_t i = 0; i < type->field_count; i++) {
        const ProtobufCFieldDescriptor *field = type->fields[i].pbc;
        const void *at = (const char *)message + field->offset;
        if (!is_set(message, field)) continue;
        const bool nested =
            field->label != PROTOBUF_C_LABEL_REPEATED && field->type == PROTOBUF_C_TYPE_MESSAGE;
        weft_buf_printf(p->out, "%*s%s:", begun ? 0 : (int)indent, "", type->fields[i].json_name);
        begun = false;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            list(p, message, &type->fields[i], indent);
        } else if (!nested) {
            weft_buf_addc(p->out, ' ');
            scalar(p, field, at);
        } else if (any_set(*(ProtobufCMessage *const *)at)) {
            weft_buf_addc(p->out, '\n');
            fields(p, *(ProtobufCMessage *const *)at, indent + 2, false);
        } else {
            weft_buf_adds(p->out, " {}\n");
        }
    }
}

int model_yaml(const weft_registry *registry, const model_document *document, weft_buf *out) {
    printer p = {.registry = registry, .out = out};
    fields(&p, document->message, 0, false);
    return out->error;
}
