/* Files of a batch: what they say of themselves, that all imports are there, and that none is
 * circular. */
#include "registry.h"

#include <string.h>

bool pb_is_identifier(const char *name) {
    if (!name || (*name >= '0' && *name <= '9')) return false;
    const char *at = name;
    while ((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') ||
           *at == '_')
        at++;
    return at != name && !*at;
}

static bool is_package(const char *name) {
    char part[256];
    for (;;) {
        const size_t len = strcspn(name, ".");
        if (len >= sizeof part) return false;
        memcpy(part, name, len);
        part[len] = '\0';
        if (!pb_is_identifier(part)) return false;
        if (!name[len]) return true;
        name += len + 1;
    }
}

static void check_head(pb_batch *batch, pb_file *file) {
    const file_proto *proto = file->proto;
    const char *syntax = proto->syntax && *proto->syntax ? proto->syntax : "proto2";
    file->proto3 = !strcmp(syntax, "proto3");
    if (!file->proto3 && strcmp(syntax, "proto2") != 0)
        pb_batch_error(batch, file, NULL, "use proto2 or proto3", "syntax \"%s\" is not supported",
                       syntax);
    if (proto->package && *proto->package && !is_package(proto->package))
        pb_batch_error(batch, file, NULL, NULL, "\"%s\" is no package name", proto->package);
}

static pb_file *file_of(const pb_batch *batch, const char *name) {
    return weft_map_get(&batch->files, name);
}

static bool is_known(const pb_batch *batch, const char *name) {
    return file_of(batch, name) || weft_map_get(&batch->registry->files, name);
}

/* Numbers in `list` point into the imports; `moved[i]` is where import i went, -1 if it is gone. */
static size_t renumber(int32_t *list, size_t count, const int32_t *moved, size_t imports) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (list[i] >= 0 && (size_t)list[i] < imports && moved[list[i]] >= 0)
            list[kept++] = moved[list[i]];
    return kept;
}

/* A compiled-in file may import what nobody linked, for its options alone. Whoever gets the file by
 * reflection could not load it then: such imports are taken out. */
static void drop_missing(pb_batch *batch, pb_file *file) {
    file_proto *proto = file->proto;
    const size_t imports = proto->n_dependency;
    int32_t *moved = weft_arena_alloc(batch->scratch, imports * sizeof *moved);
    if (!moved) {
        batch->fatal = WEFT_ENOMEM;
        return;
    }
    size_t kept = 0;
    for (size_t i = 0; i < imports; i++) {
        const bool known = is_known(batch, proto->dependency[i]);
        moved[i] = known ? (int32_t)kept : -1;
        if (known) proto->dependency[kept++] = proto->dependency[i];
    }
    if (kept == imports) return;
    proto->n_dependency = kept;
    proto->n_public_dependency =
        renumber(proto->public_dependency, proto->n_public_dependency, moved, imports);
    proto->n_weak_dependency =
        renumber(proto->weak_dependency, proto->n_weak_dependency, moved, imports);
    file->bytes = weft_pack(batch->arena, &proto->base, &file->len);
    if (!file->bytes) batch->fatal = WEFT_ENOMEM;
}

static void check_imports(pb_batch *batch, pb_file *file) {
    file_proto *proto = file->proto;
    if (file->compiled) drop_missing(batch, file);
    file->deps = pb_keep(batch, proto->n_dependency, sizeof *file->deps);
    for (size_t i = 0; i < proto->n_dependency && !batch->fatal; i++) {
        const char *name = proto->dependency[i];
        if (!is_known(batch, name))
            pb_batch_error(batch, file, NULL, "make the set with protoc --include_imports",
                           "imports \"%s\", which is neither in the set nor registered", name);
        else
            file->deps[file->dep_count++] = pb_keep_text(batch, name);
    }
}

static void report_cycle(pb_batch *batch, pb_file *const *stack, size_t depth,
                         const pb_file *again) {
    weft_buf text;
    weft_buf_init(&text, 2048);
    size_t i = depth;
    while (i > 0 && stack[i - 1] != again) i--;
    for (i = i ? i - 1 : 0; i < depth; i++)
        weft_buf_printf(&text, "\"%s\" imports ", stack[i]->name);
    weft_buf_printf(&text, "\"%s\"", again->name);
    pb_batch_error(batch, again, NULL, NULL, "imports go in a circle: %s", weft_buf_str(&text));
    weft_buf_free(&text);
}

/* Depth first from `root`, without recursion: a hostile set may be one long chain. */
static size_t order_from(pb_batch *batch, pb_file *root, pb_file **stack, pb_file **done,
                         size_t done_count) {
    size_t depth = 0;
    if (root->state != PB_UNSEEN) return done_count;
    root->state = PB_OPEN;
    stack[depth++] = root;
    while (depth) {
        pb_file *file = stack[depth - 1];
        if (file->next_dep == file->dep_count) {
            file->state = PB_ORDERED;
            done[done_count++] = file;
            depth--;
            continue;
        }
        pb_file *dep = file_of(batch, file->deps[file->next_dep++]);
        if (!dep || dep->state == PB_ORDERED) continue;
        if (dep->state == PB_OPEN) {
            report_cycle(batch, stack, depth, dep);
            continue;
        }
        dep->state = PB_OPEN;
        stack[depth++] = dep;
    }
    return done_count;
}

void pb_files_order(pb_batch *batch) {
    for (size_t i = 0; i < batch->file_count; i++) check_head(batch, batch->list[i]);
    for (size_t i = 0; i < batch->file_count && !batch->fatal; i++)
        check_imports(batch, batch->list[i]);
    if (batch->fatal || !batch->file_count) return;
    pb_file **stack = weft_arena_alloc(batch->scratch, batch->file_count * sizeof *stack);
    pb_file **done = weft_arena_alloc(batch->scratch, batch->file_count * sizeof *done);
    if (!stack || !done) {
        batch->fatal = WEFT_ENOMEM;
        return;
    }
    size_t count = 0;
    for (size_t i = 0; i < batch->file_count; i++)
        count = order_from(batch, batch->list[i], stack, done, count);
    batch->list = done;
}
