/* Every name that the generated C files and protobuf-c's put into one translation unit, claimed
 * once. Two claims of one name stop the generator with both places named: C would otherwise say
 * so much later and in worse words. Claims of a service's methods come first; a message's helper
 * whose name a method took is left out (its fields can be reached without it), so that a
 * contract from elsewhere stays usable. */
#include <stdlib.h>
#include <string.h>

#include "tools/codegen/cg.h"
#include "tools/codegen/methods.h"

typedef struct claim {
    const cg_file *file;
    const char *path;
    const char *what; /* "method shop.v1.UserService.GetUser" */
    bool method;
} claim;

static void report_clash(cg_gen *gen, const char *name, const claim *first, const claim *second) {
    if (!first->file->wanted && !second->file->wanted) return;
    if (!second->file->wanted) {
        const claim *swap = first;
        first = second;
        second = swap;
    }
    const char *pair = cg_printf(gen->arena, "%s|%s", first->what, second->what);
    if (!cg_table_put(&gen->clashes, pair, gen)) return; /* one report for all names they share */
    cg_place at = cg_place_of(first->file, first->path);
    const char *where =
        at.line ? cg_printf(gen->arena, "%s:%d:%d", at.file, at.line, at.column) : at.file;
    cg_report(gen, second->file, second->path,
              first->file == second->file
                  ? "rename one of them"
                  : "rename one of them, or give one file another c_package",
              "%s needs the C name %s, which %s at %s has", second->what, name, first->what, where);
}

static void put(cg_gen *gen, const claim *owner, const char *name, bool helper) {
    claim *old = cg_table_get(&gen->claimed, name);
    if (old) {
        if (helper && old->method) return;
        /* An initialiser may be called like its own type: a macro with arguments needs its "(". */
        if (helper && old->file == owner->file && old->path == owner->path) return;
        report_clash(gen, name, old, owner);
        return;
    }
    if (cg_is_keyword(name) && owner->file->wanted)
        cg_report(gen, owner->file, owner->path, "rename it, or set c_package",
                  "%s needs the C name %s, a keyword", owner->what, name);
    cg_table_put(&gen->claimed, name, (void *)(uintptr_t)owner);
}

static claim *new_claim(cg_gen *gen, const cg_file *file, const char *path, const char *what,
                        bool method) {
    claim *c = cg_alloc(gen->arena, 1, sizeof(*c));
    *c = (claim){file, path, what, method};
    return c;
}

/* `front` with each of the endings, NULL ends them. */
static void put_all(cg_gen *gen, const claim *owner, const char *front,
                    const char *const *endings) {
    for (; *endings; endings++)
        put(gen, owner, cg_printf(gen->arena, "%s%s", front, *endings), false);
}

bool cg_yields(const cg_gen *gen, const char *name) {
    const claim *owner = cg_table_get(&gen->claimed, name);
    return owner && owner->method;
}

/* Names among libweft's functions, as those of a message WeftCtx without a package. */
static void check_runtime(cg_gen *gen, const cg_file *file, const char *path, const char *name) {
    if (cg_is_runtime_name(name) && !cg_is_runtime_name(file->stem) && file->wanted)
        cg_report(gen, file, path, "rename it, or set c_package or prefix= to another name",
                  "names beginning with %s_ are those of Weft's own functions", name);
}

/* ---- services -------------------------------------------------------------------------------- */

static void claim_members(cg_gen *gen, const cg_service *s) {
    cg_table members = {.arena = gen->arena};
    for (size_t i = 0; i < s->method_count; i++) {
        const cg_method *m = &s->methods[i];
        const char *names[] = {m->member, cg_printf(gen->arena, "%s_on", m->member)};
        for (size_t k = 0; k < 2; k++) {
            if (cg_table_put(&members, names[k], (void *)(uintptr_t)m)) continue;
            const cg_method *other = cg_table_get(&members, names[k]);
            claim first = {s->file, other->path,
                           cg_printf(gen->arena, "method %s", other->full_name), true};
            claim second = {s->file, m->path, cg_printf(gen->arena, "method %s", m->full_name),
                            true};
            report_clash(gen, cg_printf(gen->arena, "%s.%s", s->name, names[k]), &first, &second);
        }
    }
}

static void claim_service(cg_gen *gen, const cg_service *s) {
    check_runtime(gen, s->file, s->path, s->stem);
    static const char *const ours[] = {"", "_add", "__info", "__thunks", "__replies", NULL};
    claim *owner =
        new_claim(gen, s->file, s->path, cg_printf(gen->arena, "service %s", s->full_name), true);
    put_all(gen, owner, s->name, ours);
    for (size_t i = 0; i < s->method_count; i++) {
        const cg_method *m = &s->methods[i];
        claim *method = new_claim(gen, s->file, m->path,
                                  cg_printf(gen->arena, "method %s", m->full_name), true);
        put_all(gen, method, m->name, cg_method_endings[m->kind]);
    }
    claim_members(gen, s);
}

/* protobuf-c's own service code; with `messages` there is none (messages.c). */
static void claim_pbc_service(cg_gen *gen, const cg_service *s) {
    static const char *const types[] = {"_Service", "_ServiceDestroy", NULL};
    static const char *const functions[] = {"__init", "__descriptor", NULL};
    static const char *const macros[] = {"__INIT", "__BASE_INIT", NULL};
    if (gen->params.messages) return;
    claim *owner =
        new_claim(gen, s->file, s->path, cg_printf(gen->arena, "service %s", s->full_name), false);
    put_all(gen, owner, s->c_type, types);
    put_all(gen, owner, s->c_lower, functions);
    put_all(gen, owner, s->c_upper, macros);
    for (size_t i = 0; i < s->method_count; i++) {
        const cg_method *m = &s->methods[i];
        claim *method = new_claim(gen, s->file, m->path,
                                  cg_printf(gen->arena, "method %s", m->full_name), false);
        put(gen, method, cg_printf(gen->arena, "%s__%s", s->c_lower, m->c_name), false);
    }
}

/* ---- messages and enums ---------------------------------------------------------------------- */

static void member(cg_gen *gen, cg_table *members, const cg_message *m, const char *path,
                   const char *name, const char *what) {
    claim *owner = new_claim(gen, m->file, path, what, false);
    if (cg_table_put(members, name, owner)) return;
    const claim *other = cg_table_get(members, name);
    if (other->path == m->path && m->file->wanted)
        cg_report(gen, m->file, path, "rename it, or set (pb_c_msg).base_field_name",
                  "%s needs the member %s of %s, which is the message itself", what, name,
                  m->c_type);
    else
        report_clash(gen, cg_printf(gen->arena, "%s.%s", m->c_type, name), other, owner);
}

static bool has_flag(const cg_field *f) {
    bool text =
        f->d->type == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_STRING && !f->bytes;
    return !f->owner->file->proto3 && !f->oneof && !f->message && !text &&
           f->d->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_OPTIONAL;
}

static void claim_members_of(cg_gen *gen, const cg_message *m) {
    cg_table members = {.arena = gen->arena};
    member(gen, &members, m, m->path, m->base, m->full_name);
    for (size_t i = 0; i < m->field_count; i++) {
        const cg_field *f = &m->fields[i];
        const char *what = cg_printf(gen->arena, "field %s.%s", m->full_name, f->d->name);
        member(gen, &members, m, f->path, f->c_name, what);
        if (f->repeated || has_flag(f))
            member(gen, &members, m, f->path,
                   cg_printf(gen->arena, f->repeated ? "n_%s" : "has_%s", f->c_name), what);
    }
    for (size_t i = 0; i < m->oneof_count; i++)
        member(gen, &members, m, cg_printf(gen->arena, "%s,8,%zu", m->path, i), m->oneofs[i].c_case,
               cg_printf(gen->arena, "oneof %s.%s", m->full_name, m->oneofs[i].name));
}

static void claim_pbc_message(cg_gen *gen, const cg_message *m) {
    static const char *const types[] = {"", "_Closure", NULL};
    static const char *const functions[] = {
        "__descriptor",     "__init",   "__get_packed_size", "__pack",
        "__pack_to_buffer", "__unpack", "__free_unpacked",   NULL};
    static const char *const oneof_ends[] = {"__NOT_SET", NULL};
    claim *owner =
        new_claim(gen, m->file, m->path, cg_printf(gen->arena, "message %s", m->full_name), false);
    put_all(gen, owner, m->c_type, types);
    put_all(gen, owner, m->c_lower, functions);
    put(gen, owner, cg_printf(gen->arena, "%s__INIT", m->c_upper), false);
    for (size_t i = 0; i < m->oneof_count; i++) {
        claim *oneof =
            new_claim(gen, m->file, cg_printf(gen->arena, "%s,8,%zu", m->path, i),
                      cg_printf(gen->arena, "oneof %s.%s", m->full_name, m->oneofs[i].name), false);
        put(gen, oneof, m->oneofs[i].c_type, false);
        put_all(gen, oneof, m->oneofs[i].c_constant, oneof_ends);
    }
    for (size_t i = 0; i < m->field_count; i++) {
        const cg_field *f = &m->fields[i];
        claim *field =
            new_claim(gen, m->file, f->path,
                      cg_printf(gen->arena, "field %s.%s", m->full_name, f->d->name), false);
        if (f->oneof)
            put(gen, field,
                cg_printf(gen->arena, "%s_%s", f->oneof->c_constant,
                          cg_pbc_upper(gen->arena, f->pb_name)),
                false);
        if (f->d->default_value)
            put(gen, field,
                cg_printf(gen->arena, "%s__%s__default_value", m->c_lower,
                          cg_pbc_lower(gen->arena, f->pb_name)),
                false);
    }
    claim_members_of(gen, m);
}

static void claim_message(cg_gen *gen, const cg_message *m) {
    if (m->map_entry) return;
    check_runtime(gen, m->file, m->path, m->name);
    static const char *const optional[] = {"has", "get", "set", "clear"};
    claim *owner =
        new_claim(gen, m->file, m->path, cg_printf(gen->arena, "message %s", m->full_name), false);
    put(gen, owner, cg_upper(gen->arena, m->name), true);
    put(gen, owner, cg_printf(gen->arena, "%s_new", m->name), true);
    for (size_t i = 0; i < m->field_count; i++) {
        const cg_field *f = &m->fields[i];
        const char *word = cg_snake(gen->arena, f->d->name);
        claim *field =
            new_claim(gen, m->file, f->path,
                      cg_printf(gen->arena, "field %s.%s", m->full_name, f->d->name), false);
        if (f->map) put(gen, field, cg_printf(gen->arena, "%s_%s_get", m->name, word), true);
        for (size_t k = 0; k < 4 && f->oneof && f->oneof->synthetic; k++)
            put(gen, field, cg_printf(gen->arena, "%s_%s_%s", m->name, optional[k], word), true);
    }
}

static void claim_enum(cg_gen *gen, const cg_enum *e, bool pbc) {
    claim *owner =
        new_claim(gen, e->file, e->path, cg_printf(gen->arena, "enum %s", e->full_name), false);
    if (!pbc) {
        check_runtime(gen, e->file, e->path, e->name);
        put(gen, owner, cg_printf(gen->arena, "%s_name", e->name), true);
        return;
    }
    put(gen, owner, e->c_type, false);
    put(gen, owner, cg_printf(gen->arena, "%s__descriptor", e->c_lower), false);
    for (size_t i = 0; i < e->d->n_value; i++)
        put(gen, owner, cg_printf(gen->arena, "%s__%s", e->c_upper, e->d->value[i]->name), false);
}

/* ---- all ------------------------------------------------------------------------------------- */

static void claim_file(cg_gen *gen, const cg_file *file) {
    claim *owner =
        new_claim(gen, file, NULL, cg_printf(gen->arena, "file %s", file->d->name), false);
    put(gen, owner, cg_printf(gen->arena, "weft_file_%s", file->ident), false);
    if (cg_is_runtime_name(file->stem) && file->wanted)
        cg_report(gen, file, "2", "set c_package or prefix= to another name",
                  "names beginning with %s_ are those of Weft's own functions", file->stem);
    for (size_t i = 0; i < file->service_count; i++) {
        const cg_service *s = &file->services[i];
        claim_pbc_service(gen, s);
    }
    for (size_t i = 0; i < file->message_count; i++) claim_pbc_message(gen, &file->messages[i]);
    for (size_t i = 0; i < file->enum_count; i++) claim_enum(gen, &file->enums[i], true);
}

void cg_check_names(cg_gen *gen) {
    gen->claimed.arena = gen->clashes.arena = gen->arena;
    for (size_t i = 0; i < gen->file_count; i++)
        if (!gen->files[i].pbc.no_generate) claim_file(gen, &gen->files[i]);
    /* What other files' generated code is called is known only when both have the same rules. */
    for (int step = 0; step < 2; step++)
        for (size_t i = 0; i < gen->file_count; i++) {
            cg_file *file = &gen->files[i];
            if (file->pbc.no_generate || (gen->params.prefix && !file->wanted)) continue;
            for (size_t k = 0; k < file->service_count && step == 0; k++)
                claim_service(gen, &file->services[k]);
            for (size_t k = 0; k < file->message_count && step == 1; k++)
                claim_message(gen, &file->messages[k]);
            for (size_t k = 0; k < file->enum_count && step == 1; k++)
                claim_enum(gen, &file->enums[k], false);
        }
}
