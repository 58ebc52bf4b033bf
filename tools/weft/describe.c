#include "tools/weft/describe.h"

#include <string.h>

/* google.protobuf.FieldDescriptorProto.Type */
enum { KIND_STRING = 9, KIND_GROUP = 10, KIND_MESSAGE = 11, KIND_BYTES = 12, KIND_ENUM = 14 };
#define TEMPLATE_DEPTH 3

static const char *kind_name(uint32_t kind) {
    static const char *const names[] = {"?",        "double",   "float",   "int64",  "uint64",
                                        "int32",    "fixed64",  "fixed32", "bool",   "string",
                                        "group",    "message",  "bytes",   "uint32", "enum",
                                        "sfixed32", "sfixed64", "sint32",  "sint64"};
    return kind < sizeof names / sizeof *names ? names[kind] : "?";
}

static const char *short_name(const char *full) {
    const char *dot = strrchr(full, '.');
    return dot ? dot + 1 : full;
}

/* ---- templates -------------------------------------------------------------------------------------- */

/* JSON of the well-known types that are not objects of their fields. */
static const char *well_known(const char *name) {
    static const char *const table[][2] = {
        {"google.protobuf.Timestamp", "\"2026-01-31T12:00:00Z\""},
        {"google.protobuf.Duration", "\"1.5s\""},
        {"google.protobuf.FieldMask", "\"\""},
        {"google.protobuf.Struct", "{}"},
        {"google.protobuf.Value", "null"},
        {"google.protobuf.ListValue", "[]"},
        {"google.protobuf.Any", "{\"@type\": \"\"}"},
        {"google.protobuf.Empty", "{}"},
        {"google.protobuf.BoolValue", "false"},
        {"google.protobuf.StringValue", "\"\""},
        {"google.protobuf.BytesValue", "\"\""},
        {"google.protobuf.Int64Value", "\"0\""},
        {"google.protobuf.UInt64Value", "\"0\""},
        {"google.protobuf.Int32Value", "0"},
        {"google.protobuf.UInt32Value", "0"},
        {"google.protobuf.DoubleValue", "0"},
        {"google.protobuf.FloatValue", "0"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i][0], name) == 0) return table[i][1];
    return NULL;
}

static void template_message(const weft_type *type, unsigned depth, weft_buf *out);

static void template_value(const weft_type_field *field, unsigned depth, weft_buf *out) {
    switch (field->kind) {
    case KIND_STRING:
    case KIND_BYTES:
        weft_buf_adds(out, "\"\"");
        break;
    case KIND_ENUM:
        weft_buf_printf(out, "\"%s\"",
                        field->enumeration->value_count ? field->enumeration->values[0].name : "");
        break;
    case KIND_GROUP:
    case KIND_MESSAGE:
        template_message(field->message, depth, out);
        break;
    case 8:
        weft_buf_adds(out, "false");
        break;
    case 3: /* 64 bits are strings in JSON */
    case 4:
    case 6:
    case 16:
    case 18:
        weft_buf_adds(out, "\"0\"");
        break;
    default:
        weft_buf_adds(out, "0");
    }
}

static void template_map(const weft_type_field *field, unsigned depth, weft_buf *out) {
    const weft_type_field *value = weft_type_field_by_number(field->message, 2);
    weft_buf_adds(out, "{\"\": ");
    if (value) template_value(value, depth, out);
    weft_buf_addc(out, '}');
}

static void template_message(const weft_type *type, unsigned depth, weft_buf *out) {
    const char *fixed = well_known(type->name);
    if (fixed || depth == 0) {
        weft_buf_adds(out, fixed ? fixed : "{}");
        return;
    }
    weft_buf_addc(out, '{');
    const char *comma = "";
    for (size_t i = 0; i < type->field_count; i++) {
        const weft_type_field *field = &type->fields[i];
        bool again = false; /* another member of a oneof that has one already */
        for (size_t j = 0; field->oneof >= 0 && j < i; j++)
            again = again || type->fields[j].oneof == field->oneof;
        if (again) continue;
        weft_buf_printf(out, "%s\"%s\": ", comma, field->json_name);
        comma = ", ";
        if (field->repeated) weft_buf_addc(out, '[');
        if (field->map)
            template_map(field, depth - 1, out);
        else
            template_value(field, depth - 1, out);
        if (field->repeated) weft_buf_addc(out, ']');
    }
    weft_buf_addc(out, '}');
}

void describe_template(const weft_type *type, weft_buf *out) {
    template_message(type, TEMPLATE_DEPTH, out);
}

/* ---- text ------------------------------------------------------------------------------------------- */

static void add_signature(const weft_type_method *method, weft_buf *out) {
    weft_buf_printf(out, "(%s%s) returns (%s%s)", method->client_streaming ? "stream " : "",
                    short_name(method->input->name), method->server_streaming ? "stream " : "",
                    short_name(method->output->name));
}

static int widest_method(const weft_type_service *service) {
    size_t widest = 0;
    for (size_t i = 0; i < service->method_count; i++)
        if (strlen(service->methods[i].name) > widest) widest = strlen(service->methods[i].name);
    return (int)widest;
}

void describe_service_line(const weft_type_service *service, weft_buf *out) {
    int width = widest_method(service);
    weft_buf_printf(out, "%s\n", service->name);
    for (size_t i = 0; i < service->method_count; i++) {
        weft_buf_printf(out, "  %-*s ", width, service->methods[i].name);
        add_signature(&service->methods[i], out);
        weft_buf_addc(out, '\n');
    }
}

static void add_type(const weft_type_field *field, weft_buf *out) {
    if (field->map) {
        const weft_type_field *key = weft_type_field_by_number(field->message, 1);
        const weft_type_field *value = weft_type_field_by_number(field->message, 2);
        weft_buf_printf(out, "map<%s, ", key ? kind_name(key->kind) : "?");
        if (value) add_type(value, out);
        weft_buf_addc(out, '>');
        return;
    }
    if (field->repeated) weft_buf_adds(out, "repeated ");
    if (field->message)
        weft_buf_adds(out, short_name(field->message->name));
    else if (field->enumeration)
        weft_buf_adds(out, short_name(field->enumeration->name));
    else
        weft_buf_adds(out, kind_name(field->kind));
}

static void add_field(const weft_type_field *field, int width, weft_buf *out) {
    weft_buf_printf(out, "      %-*s ", width, field->json_name);
    add_type(field, out);
    if (field->optional) weft_buf_adds(out, ", optional");
    if (field->oneof >= 0) weft_buf_printf(out, ", one of group %d", field->oneof + 1);
    for (size_t i = 0; field->enumeration && i < field->enumeration->value_count; i++)
        weft_buf_printf(out, "%s%s", i ? " | " : ": ", field->enumeration->values[i].name);
    weft_buf_addc(out, '\n');
}

static void add_fields(const char *what, const weft_type *type, weft_buf *out) {
    size_t widest = 0;
    for (size_t i = 0; i < type->field_count; i++)
        if (strlen(type->fields[i].json_name) > widest) widest = strlen(type->fields[i].json_name);
    weft_buf_printf(out, "    %s %s%s\n", what, type->name,
                    type->field_count ? "" : " (no fields)");
    for (size_t i = 0; i < type->field_count; i++) add_field(&type->fields[i], (int)widest, out);
}

/* For single quotes of a shell. */
static void add_quoted(const char *text, weft_buf *out) {
    weft_buf_addc(out, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            weft_buf_adds(out, "'\\''");
        else
            weft_buf_addc(out, *text);
    }
    weft_buf_addc(out, '\'');
}

static void add_method(const weft_type_service *service, const weft_type_method *method,
                       const char *address, weft_buf *out) {
    static const char *const safety[] = {"", "  [no side effects]", "  [idempotent]"};
    weft_buf_printf(out, "\n  rpc %s ", method->name);
    add_signature(method, out);
    weft_buf_printf(out, "%s\n", method->idempotency < 3 ? safety[method->idempotency] : "");
    add_fields("request", method->input, out);
    add_fields("reply", method->output, out);
    weft_buf template;
    weft_buf_init(&template, 64 * 1024);
    describe_template(method->input, &template);
    weft_buf_printf(out, "    weft call %s %s/%s ", address, service->name, method->name);
    add_quoted(weft_buf_str(&template), out);
    weft_buf_addc(out, '\n');
    weft_buf_free(&template);
}

void describe_service(const weft_type_service *service, const char *address, weft_buf *out) {
    weft_buf_printf(out, "service %s (%s)\n", service->name, service->file);
    for (size_t i = 0; i < service->method_count; i++)
        add_method(service, &service->methods[i], address, out);
}

void describe_service_json(const weft_type_service *service, weft_buf *out) {
    weft_buf_printf(out, "{\"service\":\"%s\",\"methods\":[", service->name);
    for (size_t i = 0; i < service->method_count; i++) {
        const weft_type_method *method = &service->methods[i];
        weft_buf_printf(
            out,
            "%s{\"name\":\"%s\",\"input\":\"%s\",\"output\":\"%s\",\"clientStreaming\":%s,"
            "\"serverStreaming\":%s}",
            i ? "," : "", method->name, method->input->name, method->output->name,
            method->client_streaming ? "true" : "false",
            method->server_streaming ? "true" : "false");
    }
    weft_buf_adds(out, "]}");
}
