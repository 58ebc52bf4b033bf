/* What holds for every document, and for the whole. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "services/control/model/internal.h"
#include "weft/map.h"

/* ---- where we are */

static size_t append(model_check *c, const char *key, const char *index) {
    const size_t mark = strlen(c->path);
    (void)snprintf(c->path + mark, sizeof c->path - mark, "%s%s%s", mark ? "." : "", key, index);
    return mark;
}

size_t model_in(model_check *c, const char *key) { return append(c, key, ""); }

size_t model_at(model_check *c, const char *key, size_t index) {
    char text[32];
    (void)snprintf(text, sizeof text, "[%zu]", index);
    return append(c, key, text);
}

void model_up(model_check *c, size_t mark) { c->path[mark] = '\0'; }

bool model_wrong(model_check *c, const char *field, const char *hint, const char *format, ...) {
    const model_document *d = c->document;
    const size_t mark = *field ? model_in(c, field) : strlen(c->path);
    int line = d->line, column = d->column;
    va_list args;
    c->wrong = true;
    for (const model_broken *b = c->broken; b; b = b->next)
        if (b->kind == -2 && b->source == d->source &&
            !strncmp(c->path, b->path, strlen(b->path)) && c->path[strlen(b->path)] == '.') {
            model_up(c, mark);
            return false;
        }
    va_start(args, format);
    const char *text = weft_arena_vprintf(c->arena, format, args);
    va_end(args);
    if (d->source) (void)weft_yaml_document_place(d->source, c->path, &line, &column);
    const char *file = d->file;
    /* Of a document that was stored before: say which. */
    if (!d->source)
        file = weft_arena_printf(c->arena, "%s %s/%s", model_kind_name(d->kind), d->name_space,
                                 d->name);
    (void)weft_diag_add(c->diags, file, line, column, c->path, hint, "%s",
                        text ? text : "is wrong");
    model_up(c, mark);
    return false;
}

const char *model_hint(model_check *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *text = weft_arena_vprintf(c->arena, format, args);
    va_end(args);
    if (!text) c->rc = WEFT_ENOMEM;
    return text;
}

/* ---- values */

int64_t model_take_duration(model_check *c, const char *field, const char *text, int64_t standard,
                            int64_t min, int64_t max) {
    if (!model_given(text)) return standard;
    const int64_t ns = model_duration(text);
    if (ns < 0)
        model_wrong(c, field, "write 500ms, 2s or 1m30s", "\"%.60s\" is not a duration", text);
    else if (ns < min || ns > max)
        model_wrong(c, field, NULL, "%s is not from %s to %s", text,
                    model_duration_text(c->arena, min), model_duration_text(c->arena, max));
    else
        return ns;
    return standard;
}

static bool is_broken(const model_check *c, const char *name_space, const char *name) {
    for (const model_broken *b = c->broken; b; b = b->next) {
        if (b->kind != -1 && b->kind != MODEL_SERVICE) continue;
        if (!b->name || (!strcmp(b->name, name) && !strcmp(b->name_space, name_space))) return true;
    }
    return false;
}

static const char *near_service(model_check *c, const char *name_space, const char *name) {
    const char **names = weft_arena_calloc(c->arena, c->set->count + 1, sizeof *names);
    size_t count = 0;
    for (size_t i = 0; names && i < c->set->count; i++) {
        const model_document *d = c->set->documents[i];
        if (d->kind != MODEL_SERVICE) continue;
        if (!strcmp(d->name, name) && strcmp(d->name_space, name_space) != 0)
            return model_hint(c, "did you mean %s.%s?", d->name, d->name_space);
        if (!strcmp(d->name_space, name_space)) names[count++] = d->name;
    }
    const char *near = names ? weft_suggest(name, names, count) : NULL;
    if (near) return model_hint(c, "did you mean \"%s\"?", near);
    return model_hint(c, "add a document of kind Service: %s/%s", name_space, name);
}

const model_document *model_take_service(model_check *c, const char *field, const char *name_space,
                                         const char *name) {
    const model_document *found = model_find(c->set, MODEL_SERVICE, name_space, name);
    for (const model_broken *b = c->broken; found && b; b = b->next)
        if (b->kind == MODEL_SERVICE && b->name && !strcmp(b->name, name) &&
            !strcmp(b->name_space, name_space))
            return NULL;
    if (!found && !is_broken(c, name_space, name))
        model_wrong(c, field, near_service(c, name_space, name), "there is no service %s.%s", name,
                    name_space);
    return found;
}

/* ---- every document */

static void check_meta(model_check *c) {
    const model_document *d = c->document;
    const model_envelope *all = (const model_envelope *)d->message;
    const size_t mark = model_in(c, "metadata");
    if (!*d->name)
        model_wrong(c, "name", "a DNS label", "is missing");
    else if (!model_label_valid(d->name))
        model_wrong(c, "name", "1 to 63 of a-z, 0-9 and -", "\"%.100s\" is not a DNS label",
                    d->name);
    if (d->kind == MODEL_MESH && *d->name_space)
        model_wrong(c, "namespace", "remove it", "a Mesh has no namespace");
    else if (d->kind != MODEL_MESH && !model_label_valid(d->name_space))
        model_wrong(c, "namespace", "1 to 63 of a-z, 0-9 and -", "\"%.100s\" is not a DNS label",
                    d->name_space);
    model_up(c, mark);
    if (!all->spec && d->kind == MODEL_GRPC_ROUTE) model_wrong(c, "spec", NULL, "is missing");
}

static void check_mesh(model_check *c, const WeftMesh__MeshSpec *spec) {
    const model_document *first = c->set->documents[0];
    if (first != c->document)
        model_wrong(c, "metadata.name", "remove one", "there is another Mesh, \"%s\"", first->name);
    if (spec && *spec->trust_domain && !model_domain_valid(spec->trust_domain))
        model_wrong(c, "spec.trustDomain", "1 to 255 of a-z, 0-9, '.', '-' and '_'",
                    "\"%.100s\" is not a trust domain", spec->trust_domain);
}

void model_check_set(model_check *c) {
    for (size_t i = 0; i < c->set->count && !c->rc; i++) {
        const model_document *d = c->document = c->set->documents[i];
        const model_envelope *all = (const model_envelope *)d->message;
        c->path[0] = '\0';
        check_meta(c);
        if (d->kind == MODEL_MESH) check_mesh(c, all->spec);
        const size_t mark = model_in(c, "spec");
        if (d->kind == MODEL_SERVICE && all->spec) model_check_service(c, all->spec);
        if (d->kind == MODEL_GRPC_ROUTE && all->spec) model_check_route(c, all->spec);
        model_up(c, mark);
    }
}
