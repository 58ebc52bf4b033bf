/* The registry: what is looked up at run time, and how a finished batch becomes part of it. */
#include "registry.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weft/mem.h"

#define SYMBOLS_MAX ((size_t)1 << 22)

weft_registry *pb_registry_new_bare(void) {
    weft_registry *registry = weft_calloc(1, sizeof *registry);
    if (!registry) return NULL;
    weft_map_init(&registry->files, 0);
    weft_map_init(&registry->symbols, SYMBOLS_MAX);
    weft_map_init(&registry->by_pbc, SYMBOLS_MAX);
    return registry;
}

void weft_registry_free(weft_registry *registry) {
    if (!registry) return;
    weft_map_free(&registry->files, NULL);
    weft_map_free(&registry->symbols, NULL);
    weft_map_free(&registry->by_pbc, NULL);
    for (size_t i = 0; i < registry->arena_count; i++) weft_arena_free(registry->arenas[i]);
    weft_free(registry->arenas);
    weft_free(registry->services);
    weft_free(registry);
}

/* ---- commit ---- */

static int reserve(void **array, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) return 0;
    size_t room = *cap ? *cap * 2 : 8;
    if (room < need) room = need;
    void *grown = weft_realloc(*array, room * size);
    if (!grown) return WEFT_ENOMEM;
    *array = grown;
    *cap = room;
    return 0;
}

/* Moves all entries of `from` into `to`, or none. */
static int merge_map(weft_map *to, const weft_map *from) {
    size_t at = 0, size = 0, stop = 0;
    const char *key = NULL;
    void *value = NULL;
    int rc = 0;
    while (!rc && weft_map_next(from, &at, &key, &size, &value)) {
        rc = weft_map_add_bytes(to, key, size, value);
        if (!rc) stop = at;
    }
    if (!rc) return 0;
    for (at = 0; at < stop && weft_map_next(from, &at, &key, &size, NULL);)
        weft_map_remove_bytes(to, key, size);
    return rc;
}

static void unmerge_map(weft_map *to, const weft_map *from) {
    size_t at = 0, size = 0;
    const char *key = NULL;
    while (weft_map_next(from, &at, &key, &size, NULL)) weft_map_remove_bytes(to, key, size);
}

static int commit(pb_batch *batch) {
    weft_registry *r = batch->registry;
    int rc = reserve((void **)&r->services, &r->service_cap,
                     r->service_count + batch->service_count, sizeof *r->services);
    if (!rc)
        rc = reserve((void **)&r->arenas, &r->arena_cap, r->arena_count + 1, sizeof *r->arenas);
    if (rc) return rc;
    rc = merge_map(&r->files, &batch->files);
    if (rc) return rc;
    rc = merge_map(&r->symbols, &batch->symbols);
    if (!rc) {
        rc = merge_map(&r->by_pbc, &batch->by_pbc);
        if (rc) unmerge_map(&r->symbols, &batch->symbols);
    }
    if (rc) {
        unmerge_map(&r->files, &batch->files);
        return rc;
    }
    for (size_t i = 0; i < batch->service_count; i++)
        r->services[r->service_count++] = batch->services[i];
    r->arenas[r->arena_count++] = batch->arena;
    batch->arena = NULL;
    return 0;
}

/* ---- look-ups ---- */

static void *find(const weft_registry *registry, const char *full_name, pb_symbol_kind kind) {
    const pb_symbol *symbol = full_name ? weft_map_get(&registry->symbols, full_name) : NULL;
    return symbol && symbol->kind == kind ? symbol->object : NULL;
}

const weft_type *weft_registry_message(const weft_registry *registry, const char *full_name) {
    const pb_type *type = find(registry, full_name, PB_MESSAGE);
    return type ? &type->type : NULL;
}

const weft_type_enum *weft_registry_enum(const weft_registry *registry, const char *full_name) {
    const pb_enum *type = find(registry, full_name, PB_ENUM);
    return type ? &type->type : NULL;
}

const weft_type_service *weft_registry_service(const weft_registry *registry,
                                               const char *full_name) {
    const pb_service *service = find(registry, full_name, PB_SERVICE);
    return service ? &service->type : NULL;
}

const weft_type *weft_registry_type_of(const weft_registry *registry,
                                       const ProtobufCMessageDescriptor *pbc) {
    const pb_type *type = weft_map_get_bytes(&registry->by_pbc, (const void *)&pbc, sizeof pbc);
    return type ? &type->type : NULL;
}

size_t weft_registry_service_count(const weft_registry *registry) {
    return registry->service_count;
}

const weft_type_service *weft_registry_service_at(const weft_registry *registry, size_t index) {
    return index < registry->service_count ? &registry->services[index]->type : NULL;
}

const uint8_t *weft_registry_file_bytes(const weft_registry *registry, const char *file,
                                        size_t *len) {
    const pb_file *found = weft_map_get(&registry->files, file);
    if (!found) return NULL;
    if (len) *len = found->len;
    return found->bytes;
}

const char *weft_registry_file_dep(const weft_registry *registry, const char *file, size_t index) {
    const pb_file *found = weft_map_get(&registry->files, file);
    return found && index < found->dep_count ? found->deps[index] : NULL;
}

/* Whether `member` is a field, oneof or method of what `symbol` names. */
static bool has_member(const pb_symbol *symbol, const char *member) {
    if (symbol->kind == PB_SERVICE)
        return weft_type_method_by_name(&((pb_service *)symbol->object)->type, member);
    if (symbol->kind != PB_MESSAGE) return false;
    const pb_type *type = symbol->object;
    for (size_t i = 0; i < type->oneof_count; i++)
        if (!strcmp(type->oneofs[i], member)) return true;
    return weft_type_field_by_name(&type->type, member);
}

const char *weft_registry_file_of_symbol(const weft_registry *registry, const char *name) {
    const pb_symbol *symbol = weft_map_get(&registry->symbols, name);
    if (symbol) return symbol->file->name;
    const char *dot = strrchr(name, '.');
    if (!dot) return NULL;
    symbol = weft_map_get_bytes(&registry->symbols, name, (size_t)(dot - name));
    return symbol && has_member(symbol, dot + 1) ? symbol->file->name : NULL;
}

const weft_type_field *weft_type_field_by_number(const weft_type *type, uint32_t number) {
    const pb_type *t = PB_TYPE(type);
    size_t low = 0, high = type->field_count;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (t->sorted[mid]->number == number) return t->sorted[mid];
        if (t->sorted[mid]->number < number)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const weft_type_field *weft_type_field_by_json(const weft_type *type, const char *name) {
    const pb_type *t = PB_TYPE(type);
    size_t low = 0, high = t->name_count;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        const int order = strcmp(t->names[mid].name, name);
        if (!order) return t->names[mid].field;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const weft_type_field *weft_type_field_by_name(const weft_type *type, const char *name) {
    const weft_type_field *field = weft_type_field_by_json(type, name);
    if (field && !strcmp(field->name, name)) return field;
    /* Another field's JSON name may hide this one's own name. */
    for (size_t i = 0; field && i < type->field_count; i++)
        if (!strcmp(type->fields[i].name, name)) return &type->fields[i];
    return NULL;
}

const weft_type_method *weft_type_method_by_name(const weft_type_service *service,
                                                 const char *name) {
    for (size_t i = 0; i < service->method_count; i++)
        if (!strcmp(service->methods[i].name, name)) return &service->methods[i];
    return NULL;
}

/* ---- batches ---- */

void pb_batch_error(pb_batch *batch, const pb_file *file, const char *path, const char *hint,
                    const char *format, ...) {
    batch->errors++;
    if (!batch->diags) return;
    weft_buf text;
    weft_buf_init(&text, 4096);
    va_list args;
    va_start(args, format);
    weft_buf_vprintf(&text, format, args);
    va_end(args);
    (void)weft_diag_add(batch->diags, file ? file->name : NULL, 0, 0, path, hint, "%s",
                        weft_buf_str(&text));
    weft_buf_free(&text);
}

void *pb_keep(pb_batch *batch, size_t count, size_t size) {
    void *block = weft_arena_calloc(batch->arena, count, size);
    if (!block) batch->fatal = WEFT_ENOMEM;
    return block;
}

char *pb_keep_text(pb_batch *batch, const char *text) {
    char *copy = weft_arena_strdup(batch->arena, text);
    if (!copy) batch->fatal = WEFT_ENOMEM;
    return copy;
}

char *pb_keep_name(pb_batch *batch, const char *scope, const char *name) {
    char *full = *scope ? weft_arena_printf(batch->arena, "%s.%s", scope, name)
                        : weft_arena_strdup(batch->arena, name);
    if (!full) batch->fatal = WEFT_ENOMEM;
    return full;
}

bool pb_push(pb_batch *batch, void ***array, size_t *count, size_t *cap, void *item) {
    if (*count == *cap) {
        const size_t room = *cap ? *cap * 2 : 16;
        void **grown = weft_arena_alloc(batch->scratch, room * sizeof *grown);
        if (!grown) {
            batch->fatal = WEFT_ENOMEM;
            return false;
        }
        if (*count) memcpy(grown, *array, *count * sizeof *grown);
        *array = grown;
        *cap = room;
    }
    (*array)[(*count)++] = item;
    return true;
}

const pb_symbol *pb_lookup(const pb_batch *batch, const char *full_name) {
    const pb_symbol *symbol = weft_map_get(&batch->symbols, full_name);
    return symbol ? symbol : weft_map_get(&batch->registry->symbols, full_name);
}

static int open_batch(pb_batch *batch, weft_registry *registry, weft_diags *diags, size_t scratch) {
    *batch = (pb_batch){.registry = registry, .diags = diags};
    weft_map_init(&batch->files, 0);
    weft_map_init(&batch->symbols, SYMBOLS_MAX);
    weft_map_init(&batch->by_pbc, SYMBOLS_MAX);
    batch->arena = weft_arena_new(0);
    batch->scratch = weft_arena_new(scratch);
    return batch->arena && batch->scratch ? 0 : WEFT_ENOMEM;
}

static void close_batch(pb_batch *batch) {
    weft_map_free(&batch->files, NULL);
    weft_map_free(&batch->symbols, NULL);
    weft_map_free(&batch->by_pbc, NULL);
    weft_arena_free(batch->arena);
    weft_arena_free(batch->scratch);
}

/* Takes the listed files through all steps. */
static int build(pb_batch *batch) {
    static void (*const steps[])(pb_batch *) = {pb_files_order, pb_declare, pb_link,
                                                pb_make_layouts};
    for (size_t i = 0; i < sizeof steps / sizeof *steps && !batch->errors && !batch->fatal; i++)
        steps[i](batch);
    if (batch->fatal == WEFT_ELIMIT)
        pb_batch_error(batch, NULL, NULL, NULL, "more names than a registry holds (%zu)",
                       SYMBOLS_MAX);
    if (batch->fatal) return batch->fatal;
    if (batch->errors) return WEFT_EPARSE;
    for (size_t i = 0; i < batch->file_count; i++) batch->list[i]->proto = NULL;
    for (size_t i = 0; i < batch->type_count; i++) batch->types[i]->proto = NULL;
    for (size_t i = 0; i < batch->enum_count; i++) batch->enums[i]->proto = NULL;
    for (size_t i = 0; i < batch->service_count; i++) batch->services[i]->proto = NULL;
    return commit(batch);
}

#define SET_MAX_BYTES ((size_t)32 << 20)

/* Unpacking costs memory: up to forty times the bytes for honest sets, more for empty messages. */
static size_t scratch_cap(size_t len) {
    const size_t most = (size_t)512 << 20, want = ((size_t)16 << 20) + 40 * len;
    return want < most ? want : most;
}

/* The same file without source comments and without JSON names that follow from the names: two
 * compilers agree on these bytes. */
static uint8_t *canonical(const uint8_t *bytes, size_t len, weft_arena *arena, size_t *size) {
    const weft_guard_limits limits = {.max_bytes = SET_MAX_BYTES};
    file_proto *file =
        (file_proto *)weft_unpack(&google__protobuf__file_descriptor_proto__descriptor, bytes, len,
                                  &limits, arena, NULL, NULL);
    if (!file) return NULL;
    file->source_code_info = NULL;
    /* Depth first over the messages, with `pending` as a stack through the arrays. */
    size_t room = 16, count = 0;
    message_proto **pending = weft_arena_alloc(arena, room * sizeof(void *));
    if (!pending) return NULL;
    message_proto **next = file->message_type;
    size_t next_count = file->n_message_type;
    for (;;) {
        if (count + next_count > room) {
            room = (count + next_count) * 2;
            message_proto **grown = weft_arena_alloc(arena, room * sizeof(void *));
            if (!grown) return NULL;
            memcpy(grown, pending, count * sizeof(void *));
            pending = grown;
        }
        for (size_t i = 0; i < next_count; i++) pending[count++] = next[i];
        if (!count) break;
        message_proto *m = pending[--count];
        for (size_t i = 0; i < m->n_field; i++) {
            field_proto *f = m->field[i];
            const char *made = f->name ? pb_json_name(arena, f->name) : NULL;
            if (made && f->json_name && !strcmp(made, f->json_name)) f->json_name = NULL;
        }
        next = m->nested_type;
        next_count = m->n_nested_type;
    }
    return weft_pack(arena, &file->base, size);
}

/* Whether the registry has the file already: then it need not be added. Reports one with other
 * content. */
static bool already_there(pb_batch *batch, const char *name, const uint8_t *bytes, size_t len) {
    const pb_file *old = weft_map_get(&batch->registry->files, name);
    if (!old) return false;
    if (old->builtin || (old->len == len && !memcmp(old->bytes, bytes, len))) return true;
    size_t old_size = 0, new_size = 0;
    const uint8_t *before = canonical(old->bytes, old->len, batch->scratch, &old_size);
    const uint8_t *after = canonical(bytes, len, batch->scratch, &new_size);
    if (!before || !after) {
        batch->fatal = WEFT_ENOMEM;
        return true;
    }
    if (old_size == new_size && !memcmp(before, after, new_size)) return true;
    pb_batch_error(batch, NULL, NULL, "use one version of the contract",
                   "file \"%s\" is registered already with other content", name);
    if (!batch->fatal) batch->fatal = WEFT_ECONFLICT;
    return true;
}

static void add_to_list(pb_batch *batch, const char *name, const uint8_t *bytes, size_t len,
                        file_proto *proto, const weft_file *compiled) {
    if (already_there(batch, name, bytes, len)) return;
    pb_file *file = pb_keep(batch, 1, sizeof *file);
    if (!file) return;
    *file = (pb_file){.name = compiled ? compiled->name : pb_keep_text(batch, name),
                      .bytes = bytes,
                      .len = len,
                      .compiled = compiled,
                      .builtin = batch->builtin,
                      .proto = proto};
    if (!file->name) return;
    const int rc = weft_map_add(&batch->files, name, file);
    if (rc == WEFT_EEXIST)
        pb_batch_error(batch, file, NULL, NULL, "the file is there twice");
    else if (rc)
        batch->fatal = rc;
    else
        batch->list[batch->file_count++] = file;
}

/* ---- compiled-in files ---- */

/* Collects a file and its imports that are not there yet; compiled in, so the depth is known. */
static void collect(pb_batch *batch, const weft_file *file, weft_map *met, void ***list,
                    size_t *count, size_t *cap) {
    if (batch->fatal || !file) return;
    const int rc = weft_map_add(met, file->name, NULL);
    if (rc == WEFT_EEXIST) return;
    if (rc) {
        batch->fatal = rc;
        return;
    }
    for (size_t i = 0; i < file->dep_count; i++)
        collect(batch, file->deps[i], met, list, count, cap);
    union {
        const weft_file *in;
        void *out;
    } item = {.in = file};
    pb_push(batch, list, count, cap, item.out);
}

static void parse_compiled(pb_batch *batch, const weft_file *file) {
    const weft_guard_limits limits = {.max_bytes = SET_MAX_BYTES};
    const char *why = NULL;
    int rc = 0;
    ProtobufCMessage *proto =
        weft_unpack(&google__protobuf__file_descriptor_proto__descriptor, file->descriptor,
                    file->descriptor_len, &limits, batch->scratch, &rc, &why);
    if (proto)
        add_to_list(batch, file->name, file->descriptor, file->descriptor_len, (file_proto *)proto,
                    file);
    else if (rc == WEFT_ENOMEM)
        batch->fatal = rc;
    else
        pb_batch_error(batch, NULL, NULL, "generate the code again",
                       "the descriptor embedded for \"%s\" is damaged: %s", file->name, why);
}

static int add_files(weft_registry *registry, const weft_file *const *files, size_t file_count,
                     bool builtin, weft_diags *diags) {
    pb_batch batch;
    weft_map met;
    weft_map_init(&met, 0);
    int rc = open_batch(&batch, registry, diags, 0);
    batch.builtin = builtin;
    void **list = NULL;
    size_t count = 0, cap = 0;
    for (size_t i = 0; i < file_count && !rc; i++)
        collect(&batch, files[i], &met, &list, &count, &cap);
    if (!rc && count && !batch.fatal) {
        batch.list = weft_arena_alloc(batch.scratch, count * sizeof(void *));
        if (!batch.list) batch.fatal = WEFT_ENOMEM;
        for (size_t i = 0; i < count && !batch.fatal; i++) parse_compiled(&batch, list[i]);
    }
    if (!rc) rc = build(&batch);
    weft_map_free(&met, NULL);
    close_batch(&batch);
    return rc;
}

int weft_registry_add_file(weft_registry *registry, const weft_file *file, weft_diags *diags) {
    return add_files(registry, &file, 1, false, diags);
}

int pb_registry_add_builtin(weft_registry *registry, const weft_file *const *files, size_t count) {
    return add_files(registry, files, count, true, NULL);
}

/* ---- sets ---- */

/* The bytes of the next file in a set at *at that passed the guard; NULL at its end. */
static const uint8_t *next_file(const uint8_t **at, const uint8_t *end, size_t *len) {
    static const uint8_t file_tag = 1 << 3 | 2;
    while (*at < end) {
        const uint8_t tag = **at;
        size_t value = 0;
        unsigned shift = 0;
        if (tag != file_tag) return NULL; /* not from any protoc: its bytes are packed anew */
        for (++*at; **at & 0x80; ++*at, shift += 7) value |= (size_t)(**at & 0x7f) << shift;
        value |= (size_t) * (*at)++ << shift;
        *at += value;
        *len = value;
        return *at - value;
    }
    return NULL;
}

static void list_set(pb_batch *batch, const Google__Protobuf__FileDescriptorSet *set,
                     const uint8_t *bytes, size_t len) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i < set->n_file && !batch->fatal; i++) {
        file_proto *proto = set->file[i];
        size_t size = 0;
        const uint8_t *own = next_file(&at, bytes + len, &size);
        if (!own) {
            at = bytes + len;
            own = weft_pack(batch->arena, &proto->base, &size);
        }
        if (!own)
            batch->fatal = WEFT_ENOMEM;
        else if (!proto->name || !*proto->name)
            pb_batch_error(batch, NULL, NULL, NULL, "file %zu of the descriptor set has no name",
                           i);
        else
            add_to_list(batch, proto->name, own, size, proto, NULL);
    }
}

int weft_registry_add_set(weft_registry *registry, const uint8_t *set, size_t len,
                          weft_diags *diags) {
    pb_batch batch;
    const weft_guard_limits limits = {.max_bytes = SET_MAX_BYTES};
    const char *why = NULL;
    int rc = open_batch(&batch, registry, diags, scratch_cap(len));
    uint8_t *bytes = rc ? NULL : weft_arena_memdup(batch.arena, set, len);
    if (!rc && !bytes) rc = WEFT_ENOMEM;
    ProtobufCMessage *message = NULL;
    if (!rc)
        message = weft_unpack(&google__protobuf__file_descriptor_set__descriptor, bytes, len,
                              &limits, batch.scratch, &rc, &why);
    if (message) {
        Google__Protobuf__FileDescriptorSet *files = (Google__Protobuf__FileDescriptorSet *)message;
        batch.list = weft_arena_alloc(batch.scratch, files->n_file * sizeof(void *));
        if (batch.list)
            list_set(&batch, files, bytes, len);
        else
            batch.fatal = WEFT_ENOMEM;
        rc = build(&batch);
    } else if (why) {
        pb_batch_error(&batch, NULL, NULL,
                       "make it with protoc --descriptor_set_out --include_imports",
                       "not a descriptor set: %s", why);
    }
    close_batch(&batch);
    return rc;
}
