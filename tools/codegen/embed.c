/* The FileDescriptorProto that generated code carries for reflection and JSON: as in the
 * request, without source positions, and without what has no C code. An import whose file says
 * no_generate (protobuf-c/protobuf-c.proto is one) has no weft_file to point to. Its types
 * cannot be used (fields.c), so all it can give is options: the import is taken out, what it
 * imports publicly comes in its place, and its options are dropped. */
#include <string.h>

#include "tools/codegen/cg.h"
#include "weft/pb.h"

typedef struct dropped { /* an extension nobody can read any more */
    const char *extendee;
    uint32_t number;
} dropped;

typedef struct dropping {
    cg_gen *gen;
    dropped *list;
    size_t count, cap;
} dropping;

static void drop_extensions(dropping *drop, Google__Protobuf__FieldDescriptorProto **list,
                            size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!list[i]->extendee || list[i]->extendee[0] != '.') continue;
        if (drop->count == drop->cap) {
            size_t cap = drop->cap ? drop->cap * 2 : 16;
            dropped *bigger = cg_alloc(drop->gen->arena, cap, sizeof(*bigger));
            if (drop->count) memcpy(bigger, drop->list, drop->count * sizeof(*bigger));
            drop->list = bigger;
            drop->cap = cap;
        }
        drop->list[drop->count++] = (dropped){list[i]->extendee + 1, (uint32_t)list[i]->number};
    }
}

static void drop_message(dropping *drop, const pb_message *m) {
    drop_extensions(drop, m->extension, m->n_extension);
    for (size_t i = 0; i < m->n_nested_type; i++) drop_message(drop, m->nested_type[i]);
}

static void drop_file(dropping *drop, const pb_file *d) {
    drop_extensions(drop, d->extension, d->n_extension);
    for (size_t i = 0; i < d->n_message_type; i++) drop_message(drop, d->message_type[i]);
}

static bool is_dropped(const dropping *drop, const char *type, uint32_t number) {
    for (size_t i = 0; i < drop->count; i++)
        if (drop->list[i].number == number && strcmp(drop->list[i].extendee, type) == 0)
            return true;
    return false;
}

/* Everywhere below `m`. Depth is bounded by the decode guard. */
static void strip(const dropping *drop, ProtobufCMessage *m) {
    unsigned kept = 0;
    for (unsigned i = 0; i < m->n_unknown_fields; i++)
        if (!is_dropped(drop, m->descriptor->name, m->unknown_fields[i].tag))
            m->unknown_fields[kept++] = m->unknown_fields[i];
    m->n_unknown_fields = kept;
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        if (f->type != PROTOBUF_C_TYPE_MESSAGE) continue;
        char *at = (char *)m + f->offset;
        if (f->label != PROTOBUF_C_LABEL_REPEATED) {
            ProtobufCMessage *one = *(ProtobufCMessage **)(void *)at;
            if (one) strip(drop, one);
            continue;
        }
        size_t count = *(size_t *)(void *)((char *)m + f->quantifier_offset);
        ProtobufCMessage **list = *(ProtobufCMessage ***)(void *)at;
        for (size_t k = 0; k < count; k++) strip(drop, list[k]);
    }
}

/* ---- imports --------------------------------------------------------------------------------- */

typedef struct imports {
    cg_gen *gen;
    dropping drop;
    cg_table seen;
    cg_file **deps;
    size_t count, cap;
} imports;

static void add_import(imports *in, cg_file *dep) {
    if (!cg_table_put(&in->seen, dep->d->name, dep)) return;
    if (!dep->pbc.no_generate) {
        if (in->count == in->cap) {
            size_t cap = in->cap ? in->cap * 2 : 16;
            cg_file **bigger = cg_alloc(in->gen->arena, cap, sizeof(cg_file *));
            if (in->count) memcpy(bigger, in->deps, in->count * sizeof(cg_file *));
            in->deps = bigger;
            in->cap = cap;
        }
        in->deps[in->count++] = dep;
        return;
    }
    drop_file(&in->drop, dep->d);
    for (size_t i = 0; i < dep->d->n_public_dependency; i++) {
        int32_t index = dep->d->public_dependency[i];
        if (index >= 0 && (size_t)index < dep->dep_count) add_import(in, dep->deps[index]);
    }
}

/* The indexes of `list` (into the old imports) as indexes into the new ones. */
static size_t renumber(const imports *in, const cg_file *file, int32_t *list, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (list[i] < 0 || (size_t)list[i] >= file->dep_count) continue;
        for (size_t k = 0; k < in->count; k++)
            if (in->deps[k] == file->deps[list[i]]) list[kept++] = (int32_t)k;
    }
    return kept;
}

static uint8_t *pack(cg_gen *gen, const ProtobufCMessage *message, size_t *len) {
    uint8_t *bytes = weft_pack(gen->arena, message, len);
    if (!bytes) cg_out_of_memory();
    return bytes;
}

static pb_file *unpack(cg_gen *gen, const uint8_t *bytes, size_t len) {
    weft_guard_limits limits = {.max_bytes = SIZE_MAX};
    ProtobufCMessage *file = weft_unpack(&google__protobuf__file_descriptor_proto__descriptor,
                                         bytes, len, &limits, gen->arena, NULL, NULL);
    if (!file) cg_out_of_memory();
    return (pb_file *)file;
}

uint8_t *cg_embedded(cg_gen *gen, cg_file *file, size_t *len) {
    pb_file d = *file->d;
    d.source_code_info = NULL;
    uint8_t *bytes = pack(gen, &d.base, len);
    imports in = {.gen = gen, .drop = {.gen = gen}, .seen = {.arena = gen->arena}};
    bool plain = true;
    for (size_t i = 0; i < file->dep_count; i++) {
        plain = plain && !file->deps[i]->pbc.no_generate;
        add_import(&in, file->deps[i]);
    }
    if (plain) return bytes;

    pb_file *changed = unpack(gen, bytes, *len);
    strip(&in.drop, &changed->base);
    changed->n_public_dependency =
        renumber(&in, file, changed->public_dependency, changed->n_public_dependency);
    changed->n_weak_dependency =
        renumber(&in, file, changed->weak_dependency, changed->n_weak_dependency);
    changed->dependency = cg_alloc(gen->arena, in.count + 1, sizeof(char *));
    changed->n_dependency = in.count;
    for (size_t i = 0; i < in.count; i++) changed->dependency[i] = in.deps[i]->d->name;
    file->deps = in.deps;
    file->dep_count = in.count;
    return pack(gen, &changed->base, len);
}
