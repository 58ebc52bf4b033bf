/* Every message, enum and service of a batch gets its object and its name in the symbol table. */
#include "registry.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 2048u

/* Enters a full name. False when it is taken (reported) or memory is out. */
static bool add_symbol(pb_batch *batch, const pb_file *file, const char *name, pb_symbol_kind kind,
                       void *object) {
    pb_symbol *symbol = pb_keep(batch, 1, sizeof *symbol);
    if (!symbol) return false;
    *symbol = (pb_symbol){.kind = kind, .file = file, .object = object};
    const pb_symbol *other = weft_map_get(&batch->registry->symbols, name);
    int rc = other ? WEFT_EEXIST : weft_map_add(&batch->symbols, name, symbol);
    if (!rc) return true;
    if (rc != WEFT_EEXIST) {
        batch->fatal = rc;
        return false;
    }
    if (!other) other = weft_map_get(&batch->symbols, name);
    pb_batch_error(batch, file, name, NULL, "this name is declared in \"%s\" already",
                   other->file->name);
    return false;
}

/* Checks the name of a declaration and returns its full name. */
static const char *full_name(pb_batch *batch, const pb_file *file, const char *scope,
                             const char *name, const char *what) {
    if (!pb_is_identifier(name)) {
        pb_batch_error(batch, file, scope, NULL, "\"%s\" is no name for %s", name ? name : "",
                       what);
        return NULL;
    }
    if (strlen(scope) + strlen(name) >= NAME_MAX_BYTES) {
        pb_batch_error(batch, file, NULL, NULL, "a name is longer than %u bytes: %.80s…",
                       NAME_MAX_BYTES, scope);
        return NULL;
    }
    return pb_keep_name(batch, scope, name);
}

static const ProtobufCMessageDescriptor *compiled_message(pb_file *file, const char *name) {
    const weft_file *c = file->compiled;
    for (size_t i = 0; i < c->message_count; i++) {
        const size_t at = (file->next_message + i) % c->message_count;
        if (strcmp(c->messages[at]->name, name) != 0) continue;
        file->next_message = at + 1;
        return c->messages[at];
    }
    return NULL;
}

static const ProtobufCEnumDescriptor *compiled_enum(pb_file *file, const char *name) {
    const weft_file *c = file->compiled;
    for (size_t i = 0; i < c->enum_count; i++) {
        const size_t at = (file->next_enum + i) % c->enum_count;
        if (strcmp(c->enums[at]->name, name) != 0) continue;
        file->next_enum = at + 1;
        return c->enums[at];
    }
    return NULL;
}

static void no_descriptor(pb_batch *batch, const pb_file *file, const char *name) {
    pb_batch_error(batch, file, name, "generate and compile the messages again",
                   "the embedded contract declares it, the compiled code does not");
}

/* ---- enums ---- */

static int by_number(const void *a, const void *b) {
    const weft_type_value *x = *(const weft_type_value *const *)a;
    const weft_type_value *y = *(const weft_type_value *const *)b;
    return (x->number > y->number) - (x->number < y->number);
}

static void check_aliases(pb_batch *batch, const pb_enum *e) {
    const weft_type_enum *type = &e->type;
    if (e->proto->options && e->proto->options->has_allow_alias && e->proto->options->allow_alias)
        return;
    const weft_type_value **sorted =
        weft_arena_alloc(batch->scratch, type->value_count * sizeof *sorted);
    if (!sorted) {
        batch->fatal = WEFT_ENOMEM;
        return;
    }
    for (size_t i = 0; i < type->value_count; i++) sorted[i] = &type->values[i];
    qsort(sorted, type->value_count, sizeof *sorted, by_number);
    for (size_t i = 1; i < type->value_count; i++)
        if (sorted[i]->number == sorted[i - 1]->number)
            pb_batch_error(batch, e->file, type->name, "or set option allow_alias = true",
                           "%s and %s have the same number %d", sorted[i - 1]->name,
                           sorted[i]->name, sorted[i]->number);
}

static void declare_values(pb_batch *batch, pb_file *file, const char *scope, pb_enum *e) {
    const enum_proto *proto = e->proto;
    weft_type_value *values = pb_keep(batch, proto->n_value, sizeof *values);
    if (!values) return;
    for (size_t i = 0; i < proto->n_value && !batch->fatal; i++) {
        const Google__Protobuf__EnumValueDescriptorProto *v = proto->value[i];
        if (!v->has_number)
            pb_batch_error(batch, file, e->type.name, NULL, "value %zu has no number", i);
        const char *name = full_name(batch, file, scope, v->name, "an enum value");
        if (!name || !add_symbol(batch, file, name, PB_ENUM_VALUE, NULL)) continue;
        /* The last part of a kept name is kept, too. */
        values[i] =
            (weft_type_value){.name = name + strlen(name) - strlen(v->name), .number = v->number};
    }
    e->type.values = values;
    e->type.value_count = proto->n_value;
    if (batch->errors || batch->fatal) return;
    check_aliases(batch, e);
    if (file->proto3 && values[0].number)
        pb_batch_error(batch, file, e->type.name, NULL,
                       "the first value of a proto3 enum must be 0");
}

static void declare_enum(pb_batch *batch, pb_file *file, const char *scope, enum_proto *proto) {
    const char *name = full_name(batch, file, scope, proto->name, "an enum");
    pb_enum *e = name ? pb_keep(batch, 1, sizeof *e) : NULL;
    if (!e) return;
    *e = (pb_enum){.type = {.name = name, .proto3 = file->proto3},
                   .null_value = !strcmp(name, "google.protobuf.NullValue"),
                   .file = file,
                   .proto = proto,
                   .package = scope};
    if (!add_symbol(batch, file, name, PB_ENUM, e)) return;
    if (!proto->n_value) {
        pb_batch_error(batch, file, name, NULL, "an enum needs a value");
        return;
    }
    declare_values(batch, file, scope, e);
    if (batch->errors || batch->fatal) return;
    if (file->compiled) {
        e->type.pbc = compiled_enum(file, name);
        if (!e->type.pbc) no_descriptor(batch, file, name);
    } else {
        pb_make_enum(batch, e);
    }
    pb_push(batch, (void ***)&batch->enums, &batch->enum_count, &batch->enum_cap, e);
}

/* ---- messages ---- */

static bool give_descriptor(pb_batch *batch, pb_file *file, pb_type *t) {
    if (file->compiled) {
        t->type.pbc = compiled_message(file, t->type.name);
        if (!t->type.pbc) no_descriptor(batch, file, t->type.name);
    } else {
        t->type.pbc = pb_keep(batch, 1, sizeof *t->type.pbc); /* filled in by dynamic.c */
    }
    if (!t->type.pbc) return false;
    const int rc = weft_map_add_bytes(&batch->by_pbc, &t->type.pbc, sizeof t->type.pbc, t);
    if (rc && rc != WEFT_EEXIST) batch->fatal = rc;
    return !rc;
}

static void declare_extensions(pb_batch *batch, pb_file *file, const char *scope,
                               field_proto *const *list, size_t count) {
    for (size_t i = 0; i < count && !batch->fatal; i++) {
        const char *name = full_name(batch, file, scope, list[i]->name, "an extension");
        if (name) add_symbol(batch, file, name, PB_EXTENSION, NULL);
    }
}

/* Recursion: the guard bounded how deep messages nest. */
static void declare_message(pb_batch *batch, pb_file *file, const char *scope, const char *package,
                            message_proto *proto) {
    const char *name = full_name(batch, file, scope, proto->name, "a message");
    pb_type *t = name ? pb_keep(batch, 1, sizeof *t) : NULL;
    if (!t) return;
    *t = (pb_type){
        .type = {.name = name,
                 .map_entry =
                     proto->options && proto->options->has_map_entry && proto->options->map_entry,
                 .proto3 = file->proto3,
                 .file = file->name},
        .wellknown = pb_wellknown_of(name),
        .file = file,
        .proto = proto,
        .package = package,
        .nested = scope != package,
    };
    if (!add_symbol(batch, file, name, PB_MESSAGE, t)) return;
    if (!give_descriptor(batch, file, t)) return;
    if (!pb_push(batch, (void ***)&batch->types, &batch->type_count, &batch->type_cap, t)) return;
    for (size_t i = 0; i < proto->n_enum_type && !batch->fatal; i++)
        declare_enum(batch, file, name, proto->enum_type[i]);
    for (size_t i = 0; i < proto->n_nested_type && !batch->fatal; i++)
        declare_message(batch, file, name, package, proto->nested_type[i]);
    declare_extensions(batch, file, name, proto->extension, proto->n_extension);
}

static void declare_service(pb_batch *batch, pb_file *file, const char *scope,
                            service_proto *proto) {
    const char *name = full_name(batch, file, scope, proto->name, "a service");
    pb_service *s = name ? pb_keep(batch, 1, sizeof *s) : NULL;
    if (!s) return;
    *s = (pb_service){.type = {.name = name, .file = file->name}, .file = file, .proto = proto};
    if (!add_symbol(batch, file, name, PB_SERVICE, s)) return;
    pb_push(batch, (void ***)&batch->services, &batch->service_count, &batch->service_cap, s);
}

void pb_declare(pb_batch *batch) {
    for (size_t i = 0; i < batch->file_count && !batch->fatal; i++) {
        pb_file *file = batch->list[i];
        const file_proto *proto = file->proto;
        const char *package = pb_keep_text(batch, proto->package ? proto->package : "");
        if (!package) return;
        for (size_t k = 0; k < proto->n_enum_type && !batch->fatal; k++)
            declare_enum(batch, file, package, proto->enum_type[k]);
        for (size_t k = 0; k < proto->n_message_type && !batch->fatal; k++)
            declare_message(batch, file, package, package, proto->message_type[k]);
        for (size_t k = 0; k < proto->n_service && !batch->fatal; k++)
            declare_service(batch, file, package, proto->service[k]);
        declare_extensions(batch, file, package, proto->extension, proto->n_extension);
    }
}
