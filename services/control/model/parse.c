/* Texts → messages → a set. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "services/control/model/internal.h"
#include "weft/map.h"
#include "weft/mesh/v1/grpc_route.weft.h"
#include "weft/mesh/v1/mesh.weft.h"
#include "weft/mesh/v1/service.weft.h"

#define SAME(type, field) \
    _Static_assert(offsetof(type, field) == offsetof(model_envelope, field), #type)
SAME(WeftMesh__Mesh, metadata);
SAME(WeftMesh__Mesh, spec);
SAME(WeftMesh__Service, metadata);
SAME(WeftMesh__Service, spec);
SAME(WeftMesh__GRPCRoute, metadata);
SAME(WeftMesh__GRPCRoute, spec);

const model_kind_info model_kind_table[MODEL_KINDS] = {
    [MODEL_MESH] = {"Mesh", "weft.dev/v1", &weft_mesh__mesh__descriptor},
    [MODEL_SERVICE] = {"Service", "weft.dev/v1", &weft_mesh__service__descriptor},
    [MODEL_GRPC_ROUTE] = {"GRPCRoute", "gateway.networking.k8s.io/v1",
                          &weft_mesh__grpcroute__descriptor},
};

/* Kinds that people will try. */
static const char *const later[] = {"HTTPRoute", "AuthorizationPolicy", "RateLimit", "Fault",
                                    "Gateway"};

const char *model_kind_name(model_kind kind) { return model_kind_table[kind].name; }

int model_kind_find(const char *name) {
    size_t len = strlen(name);
    if (!strcasecmp(name, "meshes")) return MODEL_MESH;
    for (int again = 0; again < 2; again++) {
        for (int i = 0; i < MODEL_KINDS; i++)
            if (strlen(model_kind_table[i].name) == len &&
                !strncasecmp(name, model_kind_table[i].name, len))
                return i;
        if (len < 2 || (name[len - 1] | 32) != 's') break;
        len--;
    }
    return -1;
}

weft_registry *model_registry_new(void) {
    static const weft_file *const files[] = {
        &weft_file_weft_mesh_v1_mesh_proto,
        &weft_file_weft_mesh_v1_service_proto,
        &weft_file_weft_mesh_v1_grpc_route_proto,
    };
    weft_registry *registry = weft_registry_new();
    int rc = registry ? 0 : WEFT_ENOMEM;
    for (size_t i = 0; !rc && i < sizeof files / sizeof *files; i++)
        rc = weft_registry_add_file(registry, files[i], NULL);
    if (!rc) return registry;
    weft_registry_free(registry);
    return NULL;
}

/* ---- one document */

/* What a set is made of while it is read. `seen` has "kind namespace/name" → document. */
typedef struct reading {
    const weft_registry *registry;
    weft_arena *arena;
    weft_diags *diags;
    weft_map seen;
    model_broken *broken;
    bool wrong;
    int rc;
} reading;

static void out_of_memory(reading *r) { r->rc = WEFT_ENOMEM; }

static void report(reading *r, const model_text *from, int line, int column, const char *path,
                   const char *hint, const char *text) {
    (void)weft_diag_add(r->diags, from->file, line, column, path, hint, "%s", text);
    r->wrong = true;
}

/* The kind of a document, or -1, and reported. */
static int take_kind(reading *r, const model_text *from, const weft_yaml_document *source) {
    int line = 0, column = 0;
    const char *names[MODEL_KINDS];
    weft_yaml_document_where(source, &line, &column);
    const char *text = weft_yaml_document_string(source, "kind", &line, &column);
    if (!text) {
        report(r, from, line, column, "kind", "Mesh, Service or GRPCRoute", "is missing");
        return -1;
    }
    for (int i = 0; i < MODEL_KINDS; i++) {
        names[i] = model_kind_table[i].name;
        if (!strcmp(text, names[i])) return i;
    }
    const char *what = weft_arena_printf(r->arena, "there is no kind \"%.60s\"", text);
    const char *near = weft_suggest(text, names, MODEL_KINDS);
    const char *hint = near ? weft_arena_printf(r->arena, "did you mean \"%s\"?", near)
                            : "Mesh, Service and GRPCRoute are there";
    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
        if (!strcmp(text, later[i])) {
            what = weft_arena_printf(r->arena, "\"%s\" is not supported yet", text);
            hint = "Mesh, Service and GRPCRoute are";
        }
    report(r, from, line, column, "kind", hint, what ? what : "there is no such kind");
    return -1;
}

static void check_version(reading *r, const model_text *from, const weft_yaml_document *source,
                          int kind) {
    const char *want = model_kind_table[kind].api_version;
    int line = 0, column = 0;
    weft_yaml_document_where(source, &line, &column);
    const char *text = weft_yaml_document_string(source, "apiVersion", &line, &column);
    if (text && !strcmp(text, want)) return;
    const char *hint = weft_arena_printf(r->arena, "write %s", want);
    const char *what = text ? weft_arena_printf(r->arena, "\"%.100s\" is not the version of %s",
                                                text, model_kind_table[kind].name)
                            : "is missing";
    report(r, from, line, column, "apiVersion", hint, what ? what : "is wrong");
}

static void remember_broken(reading *r, int kind, const weft_yaml_document *source) {
    model_broken *one = weft_arena_calloc(r->arena, 1, sizeof *one);
    const char *name = weft_yaml_document_string(source, "metadata.name", NULL, NULL);
    const char *space = weft_yaml_document_string(source, "metadata.namespace", NULL, NULL);
    if (!one) {
        out_of_memory(r);
        return;
    }
    *one = (model_broken){.next = r->broken,
                          .kind = kind,
                          .name_space = space ? space : MODEL_NAMESPACE,
                          .name = name};
    r->broken = one;
}

/* The parts of a document that reports from `said` on are about: the mapping around each, if it is not the
 * whole spec. */
static void remember_parts(reading *r, const weft_yaml_document *source, const weft_diag *said) {
    for (; said && !r->rc; said = said->next) {
        const char *dot = said->path ? strrchr(said->path, '.') : NULL;
        model_broken *one = weft_arena_calloc(r->arena, 1, sizeof *one);
        char *path = weft_arena_strndup(r->arena, said->path ? said->path : "",
                                        dot ? (size_t)(dot - said->path) : 0);
        if (!one || !path) {
            out_of_memory(r);
        } else if (strchr(path, '.')) {
            *one = (model_broken){.next = r->broken, .kind = -2, .source = source, .path = path};
            r->broken = one;
        }
    }
}

/* The same document read with its unknown fields left out, so that what else is wrong shows at once. */
static ProtobufCMessage *decode_again(reading *r, const model_text *from, int kind, size_t index) {
    const weft_json_options options = {
        .size = sizeof options, .ignore_unknown = true, .max_bytes = MODEL_TEXT_MAX};
    weft_yaml_document **list = NULL;
    size_t count = 0;
    ProtobufCMessage *message = NULL;
    if (weft_yaml_documents(from->text, from->len, &options, r->arena, &list, &count, NULL) ||
        index >= count)
        return NULL;
    const weft_type *type = weft_registry_type_of(r->registry, model_kind_table[kind].type);
    if (weft_yaml_document_decode(r->registry, type, list[index], r->arena, &message, NULL))
        return NULL;
    return message;
}

static void add(reading *r, model_document *d) {
    const char *key = weft_arena_printf(r->arena, "%d %s/%s", d->kind, d->name_space, d->name);
    const model_document *other = key ? weft_map_get(&r->seen, key) : NULL;
    int line = d->line, column = d->column;
    if (!key || (!other && weft_map_put(&r->seen, key, d))) {
        out_of_memory(r);
    } else if (other) {
        const char *what = weft_arena_printf(
            r->arena, "%s %s%s%s is there already: %s:%d", model_kind_name(d->kind), d->name_space,
            *d->name_space ? "/" : "", d->name, other->file ? other->file : "line", other->line);
        const model_text at = {.file = d->file};
        if (d->source) weft_yaml_document_place(d->source, "metadata.name", &line, &column);
        report(r, &at, line, column, "metadata.name", "rename or remove one",
               what ? what : "is there already");
        if (d->source) remember_broken(r, (int)d->kind, d->source);
    }
}

static model_document *document_new(reading *r, int kind, ProtobufCMessage *message) {
    model_document *d = weft_arena_calloc(r->arena, 1, sizeof *d);
    model_envelope *all = (model_envelope *)message;
    if (!d) {
        out_of_memory(r);
        return NULL;
    }
    if (!all->metadata) {
        all->metadata = (WeftMesh__Meta *)weft_message_new(r->arena, &weft_mesh__meta__descriptor);
        if (!all->metadata) out_of_memory(r);
        if (!all->metadata) return NULL;
    }
    d->kind = (model_kind)kind;
    d->message = message;
    d->name = all->metadata->name;
    d->name_space = all->metadata->namespace_;
    if (!*d->name_space && kind != MODEL_MESH) d->name_space = MODEL_NAMESPACE;
    return d;
}

static void take_document(reading *r, const model_text *from, const weft_yaml_document *source,
                          size_t index) {
    const int kind = take_kind(r, from, source);
    ProtobufCMessage *message = NULL;
    if (kind < 0) {
        remember_broken(r, -1, source);
        return;
    }
    check_version(r, from, source, kind);
    const weft_type *type = weft_registry_type_of(r->registry, model_kind_table[kind].type);
    weft_diag **tail = r->diags ? r->diags->tail : NULL;
    const int rc =
        weft_yaml_document_decode(r->registry, type, source, r->arena, &message, r->diags);
    if (rc) {
        remember_parts(r, source, tail ? *tail : NULL);
        r->wrong = true;
        if (rc == WEFT_ENOMEM) r->rc = rc;
        remember_broken(r, kind, source);
        message = r->rc ? NULL : decode_again(r, from, kind, index);
    }
    model_document *d = message ? document_new(r, kind, message) : NULL;
    if (!d) return;
    d->file = from->file;
    d->source = source;
    weft_yaml_document_where(source, &d->line, &d->column);
    const int canon = model_canonical(r->registry, r->arena, d);
    if (canon == WEFT_ENOMEM)
        out_of_memory(r);
    else if (canon)
        report(r, from, d->line, d->column, NULL, "split it",
               "this document cannot be stored: it is too large");
    add(r, d);
}

static void take_text(reading *r, const model_text *from) {
    const weft_json_options options = {
        .size = sizeof options, .file = from->file, .max_bytes = MODEL_TEXT_MAX};
    weft_yaml_document **list = NULL;
    size_t count = 0;
    const int rc =
        weft_yaml_documents(from->text, from->len, &options, r->arena, &list, &count, r->diags);
    if (rc) {
        r->wrong = true;
        if (rc != WEFT_EPARSE) r->rc = rc;
        return;
    }
    for (size_t i = 0; i < count && !r->rc; i++) take_document(r, from, list[i], i);
}

/* ---- stored documents */

static void take_stored(reading *r, const model_text *from) {
    const weft_json_options options = {.size = sizeof options, .file = from->file};
    for (int kind = 0; kind < MODEL_KINDS; kind++) {
        char head[128];
        const weft_type *type = weft_registry_type_of(r->registry, model_kind_table[kind].type);
        ProtobufCMessage *message = NULL;
        weft_buf want;
        weft_buf_init(&want, sizeof head);
        weft_buf_printf(&want, "{\"apiVersion\":\"%s\",\"kind\":\"%s\"",
                        model_kind_table[kind].api_version, model_kind_table[kind].name);
        const bool match = !want.error && from->len > want.len &&
                           !memcmp(from->text, weft_buf_str(&want), want.len);
        weft_buf_free(&want);
        if (!match) continue;
        const int rc = weft_json_decode(r->registry, type, from->text, from->len, &options,
                                        r->arena, &message, r->diags);
        if (rc) r->wrong = true;
        if (rc == WEFT_ENOMEM) r->rc = rc;
        model_document *d = rc ? NULL : document_new(r, kind, message);
        if (!d) return;
        if (model_canonical(r->registry, r->arena, d)) out_of_memory(r);
        add(r, d);
        return;
    }
    report(r, from, 0, 0, NULL, NULL, "is not a stored document");
}

/* ---- sets */

static int in_order(const void *a, const void *b) {
    const model_document *x = *(const model_document *const *)a;
    const model_document *y = *(const model_document *const *)b;
    int order = x->kind < y->kind ? -1 : x->kind > y->kind;
    if (!order) order = strcmp(x->name_space, y->name_space);
    return order ? order : strcmp(x->name, y->name);
}

static bool replaced(const reading *r, const model_document *old) {
    const char *key =
        weft_arena_printf(r->arena, "%d %s/%s", old->kind, old->name_space, old->name);
    return key && weft_map_get(&r->seen, key);
}

static model_set *gather(reading *r, const model_set *base, const model_document *without) {
    model_set *set = weft_arena_calloc(r->arena, 1, sizeof *set);
    const size_t most = weft_map_count(&r->seen) + (base ? base->count : 0);
    const model_document **list = weft_arena_calloc(r->arena, most + 1, sizeof *list);
    size_t at = 0;
    void *value = NULL;
    if (!set || !list) return NULL;
    while (weft_map_next(&r->seen, &at, NULL, NULL, &value)) list[set->count++] = value;
    for (size_t i = 0; base && i < base->count; i++)
        if (base->documents[i] != without && !replaced(r, base->documents[i]))
            list[set->count++] = base->documents[i];
    qsort(list, set->count, sizeof *list, in_order);
    set->documents = list;
    set->arena = r->arena;
    return set;
}

static int finish(reading *r, const model_set *base, const model_document *without,
                  const model_set **out) {
    model_set *set = r->rc ? NULL : gather(r, base, without);
    model_check *c = set ? weft_arena_calloc(r->arena, 1, sizeof *c) : NULL;
    if (!r->rc && !c) r->rc = WEFT_ENOMEM;
    if (c) {
        c->arena = r->arena;
        c->diags = r->diags;
        c->set = set;
        c->broken = r->broken;
        if (set->count > MODEL_DOCUMENTS_MAX) r->rc = WEFT_ELIMIT;
        if (!r->rc) model_check_set(c);
        if (!r->rc) r->rc = c->rc;
        if (!r->rc && (c->wrong || r->wrong)) r->rc = WEFT_EPARSE;
        if (!r->rc) r->rc = model_set_hash(r->arena, set);
    }
    weft_map_free(&r->seen, NULL);
    if (!r->rc) *out = set;
    return r->rc;
}

int model_parse(const weft_registry *registry, const model_text *texts, size_t count,
                const model_set *base, weft_arena *arena, const model_set **out,
                weft_diags *diags) {
    reading r = {.registry = registry, .arena = arena, .diags = diags};
    weft_map_init(&r.seen, MODEL_DOCUMENTS_MAX + 1);
    for (size_t i = 0; i < count && !r.rc; i++) take_text(&r, &texts[i]);
    return finish(&r, base, NULL, out);
}

int model_restore(const weft_registry *registry, const model_text *texts, size_t count,
                  weft_arena *arena, const model_set **out, weft_diags *diags) {
    reading r = {.registry = registry, .arena = arena, .diags = diags};
    weft_map_init(&r.seen, MODEL_DOCUMENTS_MAX + 1);
    for (size_t i = 0; i < count && !r.rc; i++) take_stored(&r, &texts[i]);
    return finish(&r, NULL, NULL, out);
}

int model_remove(const weft_registry *registry, const model_set *from, model_kind kind,
                 const char *name_space, const char *name, weft_arena *arena, const model_set **out,
                 weft_diags *diags) {
    reading r = {.registry = registry, .arena = arena, .diags = diags};
    const model_document *gone = model_find(from, kind, name_space, name);
    if (!gone) return WEFT_ENOTFOUND;
    weft_map_init(&r.seen, 1);
    return finish(&r, from, gone, out);
}

const model_set *model_empty(weft_arena *arena) {
    model_set *set = weft_arena_calloc(arena, 1, sizeof *set);
    if (!set) return NULL;
    set->arena = arena;
    return model_set_hash(arena, set) ? NULL : set;
}

/* ---- looking */

const model_document *model_find(const model_set *set, model_kind kind, const char *name_space,
                                 const char *name) {
    const model_document key = {.kind = kind, .name_space = name_space, .name = name};
    const model_document *at = &key;
    const model_document *const *found =
        set->count ? bsearch(&at, set->documents, set->count, sizeof *set->documents, in_order)
                   : NULL;
    return found ? *found : NULL;
}

static const WeftMesh__MeshSpec *mesh_of(const model_set *set) {
    if (!set->count || set->documents[0]->kind != MODEL_MESH) return NULL;
    return ((const WeftMesh__Mesh *)set->documents[0]->message)->spec;
}

const char *model_trust_domain(const model_set *set) {
    const WeftMesh__MeshSpec *mesh = mesh_of(set);
    return mesh && *mesh->trust_domain ? mesh->trust_domain : MODEL_DOMAIN;
}

bool model_on_demand(const model_set *set) {
    const WeftMesh__MeshSpec *mesh = mesh_of(set);
    if (!mesh || !mesh->_on_demand_case) return true;
    return mesh->on_demand;
}
