/* Parameters of the plugin, and protobuf-c's options. Those are extensions (number 1019) that
 * our build of descriptor.proto does not know, so they arrive as unknown fields; an option set
 * in several statements arrives as several occurrences, which together are one message. */
#include <string.h>

#include "tools/codegen/cg.h"

#define PB_C_OPTION 1019

/* ---- parameters ------------------------------------------------------------------------------ */

static void unknown_parameter(cg_gen *gen, const char *name) {
    static const char *const known[] = {"messages", "prefix", "protoc_gen_c"};
    const char *near = weft_suggest(name, known, 3);
    weft_diag_add(&gen->diags, NULL, 0, 0, NULL,
                  near ? cg_printf(gen->arena, "did you mean \"%s\"?", near)
                       : "there are messages, prefix=NAME and protoc_gen_c=PATH",
                  "--weft_opt=%s: unknown parameter", name);
}

static void read_param(cg_gen *gen, char *text) {
    char *value = strchr(text, '=');
    if (value) *value++ = '\0';
    if (strcmp(text, "messages") == 0) {
        if (value)
            weft_diag_add(&gen->diags, NULL, 0, 0, NULL, "leave \"=…\" out",
                          "--weft_opt=messages takes no value");
        gen->params.messages = true;
    } else if (strcmp(text, "prefix") == 0) {
        if (!value || !cg_is_identifier(value))
            weft_diag_add(&gen->diags, NULL, 0, 0, NULL, "such as prefix=shop",
                          "--weft_opt=prefix needs a name that C allows");
        else
            gen->params.prefix = cg_snake(gen->arena, value);
    } else if (strcmp(text, "protoc_gen_c") == 0) {
        if (!value || !*value)
            weft_diag_add(&gen->diags, NULL, 0, 0, NULL,
                          "such as protoc_gen_c=/usr/bin/protoc-gen-c",
                          "--weft_opt=protoc_gen_c needs a path");
        else
            gen->params.protoc_gen_c = value;
    } else {
        unknown_parameter(gen, text);
    }
}

void cg_read_params(cg_gen *gen, const char *text) {
    char *rest = cg_strdup(gen->arena, text ? text : "");
    while (*rest) {
        size_t len = strcspn(rest, ",");
        bool last = rest[len] == '\0';
        rest[len] = '\0';
        if (len) read_param(gen, rest);
        rest += len + !last;
    }
}

/* ---- a few fields of a small message --------------------------------------------------------- */

typedef struct wire {
    const uint8_t *at, *end;
} wire;

static bool varint(wire *w, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; w->at < w->end && shift < 64; shift += 7) {
        uint8_t byte = *w->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return true;
    }
    return false;
}

typedef struct wire_field {
    uint32_t number;
    uint64_t value;      /* varint */
    const uint8_t *data; /* length-delimited, else NULL */
    size_t len;
} wire_field;

/* The next varint or length-delimited field; false at the end or where there is nothing to read. */
static bool next_field(wire *w, wire_field *field) {
    uint64_t tag, value;
    if (!varint(w, &tag) || !varint(w, &value)) return false;
    *field = (wire_field){.number = (uint32_t)(tag >> 3), .value = value};
    if ((tag & 7) == 0) return true;
    if ((tag & 7) != 2 || value > (uint64_t)(w->end - w->at)) return false;
    field->data = w->at;
    field->len = (size_t)value;
    w->at += value;
    return true;
}

/* The option's message: all its occurrences joined. Empty when there is none. */
static wire joined(cg_gen *gen, const ProtobufCMessage *options) {
    size_t size = 0;
    for (unsigned i = 0; options && i < options->n_unknown_fields; i++)
        size += options->unknown_fields[i].len;
    uint8_t *out = cg_alloc(gen->arena, size + 1, 1);
    wire all = {out, out};
    for (unsigned i = 0; options && i < options->n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *f = &options->unknown_fields[i];
        if (f->tag != PB_C_OPTION || f->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED) continue;
        wire w = {f->data, f->data + f->len};
        uint64_t len;
        if (!varint(&w, &len) || len != (uint64_t)(w.end - w.at)) continue;
        memcpy(out + (all.end - all.at), w.at, (size_t)len);
        all.end += len;
    }
    return all;
}

void cg_read_file_options(cg_gen *gen, cg_file *file) {
    const Google__Protobuf__FileOptions *options = file->d->options;
    wire w = joined(gen, options ? &options->base : NULL);
    wire_field field;
    while (next_field(&w, &field)) {
        if (field.number == 1) file->pbc.no_generate = field.value != 0;
        if (field.number == 4) file->pbc.const_strings = field.value != 0;
        if (field.number == 5) file->pbc.use_oneof_field_name = field.value != 0;
        if (field.number == 6 && field.data)
            file->pbc.c_package = cg_strndup(gen->arena, (const char *)field.data, field.len);
    }
}

const char *cg_base_field(cg_gen *gen, const pb_message *message) {
    wire w = joined(gen, message->options ? &message->options->base : NULL);
    wire_field field;
    const char *name = "base";
    while (next_field(&w, &field))
        if (field.number == 3 && field.data)
            name = cg_strndup(gen->arena, (const char *)field.data, field.len);
    return name;
}

bool cg_string_as_bytes(cg_gen *gen, const pb_field *d) {
    wire w = joined(gen, d->options ? &d->options->base : NULL);
    wire_field field;
    bool as_bytes = false;
    while (next_field(&w, &field))
        if (field.number == 1) as_bytes = field.value != 0;
    return as_bytes;
}
