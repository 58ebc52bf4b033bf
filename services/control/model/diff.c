/* Differences of sets, field by field. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/control/model/internal.h"

#define LEAVES_MAX 100000u
#define DEPTH_MAX 32u

/* A message as a list of what is set in it: path and JSON text. */
typedef struct leaf {
    const char *path, *value;
} leaf;

typedef struct leaves {
    const weft_registry *registry;
    weft_arena *arena;
    leaf *items;
    size_t count, room;
    int rc;
} leaves;

static void add_leaf(leaves *l, const char *path, const char *value) {
    if (!path || !value) l->rc = WEFT_ENOMEM;
    if (!l->rc && l->count == LEAVES_MAX) l->rc = WEFT_ELIMIT;
    if (!l->rc && l->count == l->room) {
        const size_t room = l->room ? l->room * 2 : 64;
        leaf *more = weft_arena_alloc(l->arena, room * sizeof *more);
        if (!more) l->rc = WEFT_ENOMEM;
        if (more && l->count) memcpy(more, l->items, l->count * sizeof *more);
        if (more) l->items = more;
        if (more) l->room = room;
    }
    if (!l->rc) l->items[l->count++] = (leaf){path, value};
}

static const char *quoted(leaves *l, const char *text) {
    weft_buf out;
    weft_buf_init(&out, 0);
    weft_buf_addc(&out, '"');
    weft_buf_add_json(&out, text, strlen(text));
    weft_buf_addc(&out, '"');
    const char *copy = out.error ? NULL : weft_arena_strdup(l->arena, weft_buf_str(&out));
    weft_buf_free(&out);
    return copy;
}

static void flatten(leaves *l, const ProtobufCMessage *message, const char *path, unsigned depth);

/* Kinds that documents are made of: texts, numbers up to 32 bits, bool, enums, messages. */
static void one_value(leaves *l, const ProtobufCFieldDescriptor *field, const void *at,
                      const char *path, unsigned depth) {
    const ProtobufCEnumValue *name;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        add_leaf(l, path, quoted(l, *(char *const *)at));
        break;
    case PROTOBUF_C_TYPE_BOOL:
        add_leaf(l, path, *(const protobuf_c_boolean *)at ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_UINT32:
        add_leaf(l, path, weft_arena_printf(l->arena, "%u", *(const uint32_t *)at));
        break;
    case PROTOBUF_C_TYPE_ENUM:
        name = protobuf_c_enum_descriptor_get_value(field->descriptor, *(const int *)at);
        add_leaf(l, path, name ? name->name : weft_arena_printf(l->arena, "%d", *(const int *)at));
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        flatten(l, *(ProtobufCMessage *const *)at, path, depth + 1);
        break;
    default:
        break;
    }
}

static size_t step_of(const ProtobufCFieldDescriptor *field) {
    const bool pointer =
        field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE;
    return pointer ? sizeof(void *) : sizeof(int);
}

static void repeated_values(leaves *l, const ProtobufCMessage *message,
                            const ProtobufCFieldDescriptor *field, const weft_type_field *known,
                            const char *path, unsigned depth) {
    const char *base = (const char *)message;
    const size_t count = *(const size_t *)(base + field->quantifier_offset);
    const char *list = *(const char *const *)(base + field->offset);
    for (size_t i = 0; i < count && !l->rc; i++) {
        const char *at = list + i * step_of(field);
        if (known->map) { /* of texts */
            const struct {
                ProtobufCMessage base;
                char *key, *value;
            } *entry = *(const void *const *)at;
            add_leaf(l, weft_arena_printf(l->arena, "%s.%s", path, entry->key),
                     quoted(l, entry->value));
            continue;
        }
        const char *inner = weft_arena_printf(l->arena, "%s[%zu]", path, i);
        if (!inner) l->rc = WEFT_ENOMEM;
        /* An element that says nothing is still there: {}. */
        const size_t before = l->count;
        if (inner) one_value(l, field, at, inner, depth);
        if (inner && l->count == before) add_leaf(l, inner, "{}");
    }
}

/* Whether a field that is not repeated is set. */
static bool is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field) {
    const char *base = (const char *)message, *at = base + field->offset;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)(base + field->quantifier_offset) == field->id;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) return *(void *const *)at != NULL;
    if (field->type == PROTOBUF_C_TYPE_STRING) return model_given(*(char *const *)at);
    return *(const int *)at != 0;
}

static void flatten(leaves *l, const ProtobufCMessage *message, const char *path, unsigned depth) {
    const weft_type *type = weft_registry_type_of(l->registry, message->descriptor);
    const size_t begin = l->count;
    if (!type || depth > DEPTH_MAX) return;
    for (size_t i = 0; i < type->field_count && !l->rc; i++) {
        const weft_type_field *known = &type->fields[i];
        const ProtobufCFieldDescriptor *field = known->pbc;
        const char *inner =
            weft_arena_printf(l->arena, "%s%s%s", path, *path ? "." : "", known->json_name);
        if (!inner) l->rc = WEFT_ENOMEM;
        if (!inner) return;
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            repeated_values(l, message, field, known, inner, depth);
        else if (is_set(message, field))
            one_value(l, field, (const char *)message + field->offset, inner, depth);
    }
    if (l->count == begin && depth && path[strlen(path) - 1] != ']') add_leaf(l, path, "{}");
}

/* ---- documents */

typedef struct differ {
    const weft_registry *registry;
    weft_arena *arena;
    model_difference *list;
    size_t count, room;
    int rc;
} differ;

static void add(differ *d, const model_difference *one) {
    if (d->count == MODEL_DIFFERENCES_MAX) d->rc = WEFT_ELIMIT;
    if (!d->rc && d->count == d->room) {
        const size_t room = d->room ? d->room * 2 : 32;
        model_difference *more = weft_arena_alloc(d->arena, room * sizeof *more);
        if (!more) d->rc = WEFT_ENOMEM;
        if (more && d->count) memcpy(more, d->list, d->count * sizeof *more);
        if (more) d->list = more;
        if (more) d->room = room;
    }
    if (!d->rc) d->list[d->count++] = *one;
}

static leaves leaves_of(differ *d, const model_document *document) {
    leaves l = {.registry = d->registry, .arena = d->arena};
    flatten(&l, document->message, "", 0);
    if (l.rc) d->rc = l.rc;
    return l;
}

/* In the order in which paths come in a document: those that are gone after what was before them. */
static void changed(differ *d, const model_document *before, const model_document *after) {
    leaves a = leaves_of(d, before), b = leaves_of(d, after);
    size_t i = 0, k = 0;
    model_difference one = {.change = MODEL_CHANGED,
                            .kind = after->kind,
                            .name_space = after->name_space,
                            .name = after->name};
    while (!d->rc && (i < a.count || k < b.count)) {
        size_t in_b = k, in_a = i;
        if (i < a.count)
            while (in_b < b.count && strcmp(b.items[in_b].path, a.items[i].path) != 0) in_b++;
        if (k < b.count)
            while (in_a < a.count && strcmp(a.items[in_a].path, b.items[k].path) != 0) in_a++;
        const bool gone = i < a.count && in_b == b.count;
        const bool come = !gone && k < b.count && in_a == a.count;
        one.path = gone || !(k < b.count) ? a.items[i].path : b.items[k].path;
        one.before = come ? NULL : a.items[i].value;
        one.after = gone ? NULL : b.items[k].value;
        if (gone || come || strcmp(one.before, one.after) != 0) add(d, &one);
        i += !come;
        k += !gone;
    }
}

static int order(const model_document *x, const model_document *y) {
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    const int spaces = strcmp(x->name_space, y->name_space);
    return spaces ? spaces : strcmp(x->name, y->name);
}

int model_diff(const weft_registry *registry, const model_set *before, const model_set *after,
               weft_arena *arena, model_difference **out, size_t *count) {
    differ d = {.registry = registry, .arena = arena};
    size_t i = 0, k = 0;
    const size_t old = before ? before->count : 0;
    while (!d.rc && (i < old || k < after->count)) {
        const model_document *a = i < old ? before->documents[i] : NULL;
        const model_document *b = k < after->count ? after->documents[k] : NULL;
        const int which = !a ? 1 : !b ? -1 : order(a, b);
        const model_document *named = which > 0 ? b : a;
        const model_difference one = {.change = which > 0 ? MODEL_ADDED : MODEL_REMOVED,
                                      .kind = named->kind,
                                      .name_space = named->name_space,
                                      .name = named->name};
        if (which)
            add(&d, &one);
        else if (strcmp(a->hash, b->hash) != 0)
            changed(&d, a, b);
        i += which <= 0;
        k += which >= 0;
    }
    if (d.rc) return d.rc;
    *out = d.list;
    *count = d.count;
    return 0;
}

int model_diff_format(const model_difference *list, size_t count, weft_buf *out) {
    for (size_t i = 0; i < count; i++) {
        const model_difference *d = &list[i];
        weft_buf_printf(out, "%c %s %s%s%s", "+~-"[d->change], model_kind_name(d->kind),
                        d -> name_space, *d -> name_space ? "/" : "", d->name);
        if (d->change == MODEL_CHANGED && d->before && d->after)
            weft_buf_printf(out, "  %s: %s -> %s", d->path, d->before, d->after);
        else if (d->change == MODEL_CHANGED)
            weft_buf_printf(out, "  %c %s: %s", d->after ? '+' : '-', d->path,
                            d->after ? d->after : d->before);
        weft_buf_addc(out, '\n');
    }
    return out->error;
}
