/* Fields, oneofs and what protobuf-c makes of them; what it cannot make is reported here. */
#include <string.h>

#include "tools/codegen/cg.h"

#define TYPE(name) GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_##name
#define LABEL(name) GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_##name

static bool is_optional3(const pb_field *d) { return d->has_proto3_optional && d->proto3_optional; }

static void resolve(cg_gen *gen, cg_file *file, cg_field *field) {
    const pb_field *d = field->d;
    bool is_enum = d->type == TYPE(ENUM);
    if (d->type != TYPE(MESSAGE) && !is_enum) return;
    const cg_type *type = cg_find_type(gen, d->type_name);
    if (!type || (is_enum ? !type->enumeration : !type->message)) {
        cg_report(gen, file, field->path, NULL, "no %s %s in the request",
                  is_enum ? "enum" : "message", d->type_name ? d->type_name : "without a name");
        return;
    }
    const cg_file *home = is_enum ? type->enumeration->file : type->message->file;
    if (home->pbc.no_generate && !file->pbc.no_generate)
        cg_report(gen, file, field->path, "take that option out, or use another type",
                  "%s has no C type: %s says no_generate", d->type_name + 1, home->d->name);
    field->message = type->message;
    field->enumeration = type->enumeration;
    field->map = field->repeated && type->message && type->message->map_entry;
}

static void build_field(cg_gen *gen, cg_message *m, size_t index) {
    const pb_field *d = m->d->field[index];
    cg_file *file = m->file;
    const char *path = cg_printf(gen->arena, "%s,2,%zu", m->path, index);
    if (!cg_is_identifier(d->name)) {
        cg_report(gen, file, path, NULL, "a field without a proper name");
        return;
    }
    if (d->type == TYPE(GROUP)) {
        cg_report(gen, file, path, "use a message and a field of its type",
                  "group %s: protobuf-c has no groups", d->name);
        return;
    }
    if (!d->has_type || d->type < TYPE(DOUBLE) || d->type > TYPE(SINT64) ||
        d->label < LABEL(OPTIONAL) || d->label > LABEL(REPEATED)) {
        cg_report(gen, file, path, NULL, "field %s has no type or label", d->name);
        return;
    }
    if (d->default_value && (d->type == TYPE(DOUBLE) || d->type == TYPE(FLOAT)) &&
        (strstr(d->default_value, "inf") || strstr(d->default_value, "nan")))
        cg_report(gen, file, path, "take the default out",
                  "field %s: protobuf-c makes C that does not compile from the default %s", d->name,
                  d->default_value);
    cg_field *f = &m->fields[m->field_count++];
    f->d = d;
    f->owner = m;
    f->path = path;
    f->pb_name = d->name;
    /* What protoc-gen-c would pass on as it is and C would not take: words it does not know, and the
     * member it puts first itself. */
    char *lower = cg_pbc_field(gen->arena, d->name);
    if (gen->params.messages &&
        ((cg_is_keyword(lower) && !cg_is_pbc_keyword(lower)) || strcmp(lower, m->base) == 0))
        f->pb_name = cg_printf(gen->arena, "%s_", d->name);
    f->c_name = cg_pbc_field(gen->arena, f->pb_name);
    f->repeated = d->label == LABEL(REPEATED);
    f->bytes = d->type == TYPE(BYTES) || (d->type == TYPE(STRING) && cg_string_as_bytes(gen, d));
    f->deprecated = d->options && d->options->deprecated;
    if (d->has_oneof_index) {
        if (d->oneof_index < 0 || (size_t)d->oneof_index >= m->oneof_count || f->repeated) {
            cg_report(gen, file, path, NULL, "field %s is in a oneof that is not there", d->name);
            return;
        }
        cg_oneof *oneof = &m->oneofs[d->oneof_index];
        oneof->synthetic = is_optional3(d);
        f->oneof = oneof;
    }
    resolve(gen, file, f);
}

static void build_oneofs(cg_gen *gen, cg_message *m) {
    m->oneofs = cg_alloc(gen->arena, m->d->n_oneof_decl + 1, sizeof(*m->oneofs));
    for (size_t i = 0; i < m->d->n_oneof_decl; i++) {
        cg_oneof *oneof = &m->oneofs[m->oneof_count++];
        oneof->name = m->d->oneof_decl[i]->name;
        if (!cg_is_identifier(oneof->name)) {
            cg_report(gen, m->file, m->path, NULL, "a oneof without a proper name");
            oneof->name = "unnamed";
        }
        oneof->c_case = cg_printf(gen->arena, "%s_case", cg_pbc_lower(gen->arena, oneof->name));
        oneof->c_type =
            cg_printf(gen->arena, "%s__%sCase", m->c_type, cg_pbc_camel(gen->arena, oneof->name));
        oneof->c_constant =
            cg_printf(gen->arena, "%s__%s", m->c_upper, cg_pbc_upper(gen->arena, oneof->name));
    }
}

static void check_map_entry(cg_gen *gen, const cg_message *m) {
    if (m->field_count == 2 && strcmp(m->fields[0].d->name, "key") == 0 &&
        strcmp(m->fields[1].d->name, "value") == 0 && !m->fields[0].repeated &&
        !m->fields[1].repeated && m->oneof_count == 0) {
        int key = (int)m->fields[0].d->type;
        if (key != TYPE(DOUBLE) && key != TYPE(FLOAT) && key != TYPE(BYTES) &&
            key != TYPE(MESSAGE) && key != TYPE(ENUM))
            return;
    }
    cg_report(gen, m->file, m->path, NULL, "%s is no map entry", m->full_name);
}

void cg_build_fields(cg_gen *gen, cg_file *file) {
    bool plain = false;
    for (size_t i = 0; i < file->message_count; i++) {
        cg_message *m = &file->messages[i];
        m->fields = cg_alloc(gen->arena, m->d->n_field + 1, sizeof(*m->fields));
        build_oneofs(gen, m);
        for (size_t k = 0; k < m->d->n_field; k++) build_field(gen, m, k);
        for (size_t k = 0; k < m->field_count; k++) plain = plain || !m->fields[k].oneof;
        if (m->map_entry) check_map_entry(gen, m);
    }
    if (file->wanted && plain && file->pbc.use_oneof_field_name)
        cg_report(gen, file, "8", "take the option out: Weft does not need it",
                  "use_oneof_field_name makes protoc-gen-c crash on fields outside oneofs");
}
