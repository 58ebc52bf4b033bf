/* What a message gets beside protobuf-c's struct: an initialiser, a constructor, accessors of
 * proto3 `optional` fields, lookups in maps. */
#include <string.h>

#include "tools/codegen/cg.h"

#define TYPE(name) GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_##name

/* The C type of a value of the field, as protobuf-c stores it but `bool` and `const char *`. */
static const char *value_type(cg_gen *gen, const cg_field *f) {
    if (f->bytes) return "ProtobufCBinaryData ";
    switch ((int)f->d->type) {
    case TYPE(DOUBLE):
        return "double ";
    case TYPE(FLOAT):
        return "float ";
    case TYPE(INT64):
    case TYPE(SFIXED64):
    case TYPE(SINT64):
        return "int64_t ";
    case TYPE(UINT64):
    case TYPE(FIXED64):
        return "uint64_t ";
    case TYPE(UINT32):
    case TYPE(FIXED32):
        return "uint32_t ";
    case TYPE(BOOL):
        return "bool ";
    case TYPE(STRING):
        return "const char *";
    case TYPE(ENUM):
        return cg_printf(gen->arena, "%s ", f->enumeration->c_type);
    case TYPE(MESSAGE):
        return cg_printf(gen->arena, "%s *", f->message->c_type);
    default:
        return "int32_t ";
    }
}

static bool is_text(const cg_field *f) { return f->d->type == TYPE(STRING) && !f->bytes; }

static void emit_function(cg_gen *gen, weft_buf *out, const cg_field *f, const char *result,
                          const char *name, const char *const *args, const char *body) {
    if (cg_yields(gen, name)) {
        weft_buf_printf(out, "/* No %s for field %s: a method has that name. */\n", name,
                        f->d->name);
        return;
    }
    if (f->deprecated) weft_buf_adds(out, "__attribute__((deprecated))\n");
    cg_emit_call(out, cg_printf(gen->arena, "static inline %s%s(", result, name), ") {", args);
    weft_buf_printf(out, "\n%s}\n", body);
}

static void emit_optional(cg_gen *gen, const cg_field *f, weft_buf *out) {
    weft_arena *a = gen->arena;
    const cg_message *m = f->owner;
    const char *word = cg_snake(a, f->d->name);
    const char *type = value_type(gen, f);
    const char *in = cg_printf(a, "const %s *message", m->c_type);
    const char *set = cg_printf(a, "message->%s == %s_%s", f->oneof->c_case, f->oneof->c_constant,
                                cg_pbc_upper(a, f->pb_name));
    weft_buf_printf(out, "\n/* Field %s: optional. get is ", f->d->name);
    weft_buf_adds(out, is_text(f) ? "\"\"" : f->message ? "NULL" : f->bytes ? "empty" : "0");
    weft_buf_adds(out, " when it is not set. */\n");
    emit_function(gen, out, f, "bool ", cg_printf(a, "%s_has_%s", m->name, word),
                  (const char *const[]){in, NULL}, cg_printf(a, "    return %s;\n", set));

    const char *none = "0", *cast = "";
    if (is_text(f)) none = "\"\"";
    if (f->message) none = "NULL";
    if (f->enumeration) cast = cg_printf(a, "(%s)", f->enumeration->c_type);
    const char *get =
        cg_printf(a, "    return %s ? message->%s : %s%s;\n", set, f->c_name, cast, none);
    if (f->d->type == TYPE(BOOL))
        get = cg_printf(a, "    return %s && message->%s;\n", set, f->c_name);
    if (is_text(f)) /* protobuf-c packs NULL as the empty text */
        get = cg_printf(a, "    return %s && message->%s ? message->%s : \"\";\n", set, f->c_name,
                        f->c_name);
    if (f->bytes)
        get = cg_printf(
            a, "    ProtobufCBinaryData none = {0, NULL};\n    return %s ? message->%s : none;\n",
            set, f->c_name);
    emit_function(gen, out, f, type, cg_printf(a, "%s_get_%s", m->name, word),
                  (const char *const[]){in, NULL}, get);

    const char *value = is_text(f) && !m->file->pbc.const_strings ? "(char *)value" : "value";
    emit_function(gen, out, f, "void ", cg_printf(a, "%s_set_%s", m->name, word),
                  (const char *const[]){cg_printf(a, "%s *message", m->c_type),
                                        cg_printf(a, "%svalue", type), NULL},
                  cg_printf(a, "    message->%s = %s_%s;\n    message->%s = %s;\n",
                            f->oneof->c_case, f->oneof->c_constant, cg_pbc_upper(a, f->pb_name),
                            f->c_name, value));
    emit_function(
        gen, out, f, "void ", cg_printf(a, "%s_clear_%s", m->name, word),
        (const char *const[]){cg_printf(a, "%s *message", m->c_type), NULL},
        cg_printf(a, "    message->%s = %s__NOT_SET;\n", f->oneof->c_case, f->oneof->c_constant));
}

static void emit_map(cg_gen *gen, const cg_field *f, weft_buf *out) {
    weft_arena *a = gen->arena;
    const cg_message *m = f->owner;
    const cg_field *key = &f->message->fields[0], *value = &f->message->fields[1];
    const char *result = value_type(gen, value);
    bool pointer = value->message || is_text(value);
    if (!pointer)
        result = cg_printf(a, "const %s*",
                           value->d->type == TYPE(BOOL) ? "protobuf_c_boolean " : result);
    const char *same = "entry->key == key";
    if (is_text(key)) same = "strcmp(entry->key ? entry->key : \"\", key ? key : \"\") == 0";
    if (key->d->type == TYPE(BOOL)) same = "!entry->key == !key";
    const char *found = pointer ? "entry->value" : "&entry->value";
    if (is_text(value)) found = "entry->value ? entry->value : \"\"";
    weft_buf_printf(out, "\n/* The value at `key` of map %s; NULL when there is none. */\n",
                    f->d->name);
    const char *body = cg_printf(a,
                                 "    for (size_t i = message->n_%s; i-- > 0;) {\n"
                                 "        const %s *entry = message->%s[i];\n"
                                 "        if (%s)\n"
                                 "            return %s;\n"
                                 "    }\n"
                                 "    return NULL;\n",
                                 f->c_name, f->message->c_type, f->c_name, same, found);
    emit_function(gen, out, f, result, cg_printf(a, "%s_%s_get", m->name, cg_snake(a, f->d->name)),
                  (const char *const[]){cg_printf(a, "const %s *message", m->c_type),
                                        cg_printf(a, "%skey", value_type(gen, key)), NULL},
                  body);
}

void cg_emit_message(cg_gen *gen, const cg_message *m, weft_buf *out) {
    weft_arena *a = gen->arena;
    const char *macro = cg_upper(a, m->name), *make = cg_printf(a, "%s_new", m->name);
    weft_buf_printf(out, "\n/* ---- %s ---- */\n", m->full_name);
    cg_emit_comment(out, "", m->file, m->path);
    bool defaults = false;
    for (size_t i = 0; i < m->field_count; i++)
        defaults = defaults || m->fields[i].d->default_value;
    if (defaults)
        weft_buf_printf(
            out,
            "/* Some fields have defaults: %s_new sets them; a macro cannot, since naming\n"
            " * such a field would then initialise it twice. */\n",
            m->name);
    if (!cg_yields(gen, macro))
        weft_buf_printf(
            out,
            "#define %s(...) \\\n    .%s = PROTOBUF_C_MESSAGE_INIT(&%s__descriptor), __VA_ARGS__\n",
            macro, m->base, m->c_lower);
    if (!cg_yields(gen, make)) {
        cg_emit_call(out, cg_printf(a, "static inline %s *%s(", m->c_type, make), ") {",
                     (const char *const[]){"weft_ctx *ctx", NULL});
        cg_emit_call(
            out, cg_printf(a, "\n    return (%s *)weft_new(", m->c_type), ");\n}\n",
            (const char *const[]){"ctx", cg_printf(a, "&%s__descriptor", m->c_lower), NULL});
    } else {
        weft_buf_printf(out, "/* No %s: a method has that name. */\n", make);
    }
    for (size_t i = 0; i < m->field_count; i++) {
        const cg_field *f = &m->fields[i];
        if (f->map)
            emit_map(gen, f, out);
        else if (f->oneof && f->oneof->synthetic)
            emit_optional(gen, f, out);
    }
}
