#include "tools/weft/contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "google/protobuf/descriptor.pb-c.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/error_details.weft.h"
#include "tools/weft/process.h"

#define SET_MAX (64 * 1024 * 1024)

int contract_init(contract *all, weft_arena *arena) {
    *all = (contract){.arena = arena, .registry = weft_registry_new()};
    if (!all->registry) return WEFT_ENOMEM;
    return weft_registry_add_file(all->registry, &weft_file_google_rpc_error_details_proto, NULL);
}

void contract_free(contract *all) { weft_registry_free(all->registry); }

static int list_service(contract *all, const char *package, const char *name) {
    const char **list = weft_arena_calloc(all->arena, all->service_count + 1, sizeof *list);
    const char *full = weft_arena_printf(all->arena, "%s%s%s", package, *package ? "." : "", name);
    if (!list || !full) return WEFT_ENOMEM;
    for (size_t i = 0; i < all->service_count; i++) list[i] = all->services[i];
    list[all->service_count++] = full;
    all->services = list;
    return 0;
}

/* One field of a FileDescriptorSet: 1 and *file, 0 at the end, -1 when malformed. Only field 1 is of interest:
 * the tag byte 0x0a and a length. */
static int next_file(const uint8_t **at, const uint8_t *end, const uint8_t **file,
                     size_t *file_len) {
    if (*at == end) return 0;
    if (*(*at)++ != 0x0a) return -1;
    uint64_t len = 0;
    for (unsigned shift = 0;; shift += 7) {
        if (*at == end || shift > 35) return -1;
        uint8_t byte = *(*at)++;
        len |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) break;
    }
    if (len > (uint64_t)(end - *at)) return -1;
    *file = *at;
    *file_len = (size_t)len;
    *at += len;
    return 1;
}

static int take_file(contract *all, const uint8_t *field, size_t field_len, const uint8_t *data,
                     size_t len, bool list, weft_buf *kept) {
    weft_arena *arena = weft_arena_new(0);
    if (!arena) return WEFT_ENOMEM;
    const weft_guard_limits limits = {.max_bytes = SET_MAX};
    int rc = 0;
    const Google__Protobuf__FileDescriptorProto *file =
        (const Google__Protobuf__FileDescriptorProto *)weft_unpack(
            &google__protobuf__file_descriptor_proto__descriptor, data, len, &limits, arena, &rc,
            NULL);
    if (file && !file->name) rc = WEFT_EPARSE;
    size_t there;
    if (rc == 0 && !weft_registry_file_bytes(all->registry, file->name, &there))
        rc = weft_buf_add(kept, field, field_len);
    for (size_t i = 0; rc == 0 && list && i < file->n_service; i++)
        rc = list_service(all, file->package ? file->package : "", file->service[i]->name);
    weft_arena_free(arena);
    return rc;
}

int contract_add_set(contract *all, const char *from, const uint8_t *set, size_t len, bool list,
                     weft_diags *diags) {
    weft_buf kept;
    weft_buf_init(&kept, SET_MAX);
    const uint8_t *at = set, *end = set + len, *file = NULL;
    size_t file_len = 0;
    int rc = 0, more = 0;
    while (rc == 0) {
        const uint8_t *begin = at;
        if ((more = next_file(&at, end, &file, &file_len)) <= 0) break;
        rc = take_file(all, begin, (size_t)(at - begin), file, file_len, list, &kept);
    }
    if (more < 0 || rc == WEFT_EPARSE)
        rc = weft_diag_add(diags, from, 0, 0, NULL,
                           "make one with protoc --descriptor_set_out=FILE --include_imports",
                           "this is not a set of file descriptors");
    if (rc == 0)
        rc = weft_registry_add_set(all->registry, (const uint8_t *)weft_buf_str(&kept), kept.len,
                                   diags);
    weft_buf_free(&kept);
    return rc;
}

int contract_add_set_file(contract *all, const char *path, weft_diags *diags) {
    weft_buf set;
    weft_buf_init(&set, SET_MAX);
    int rc = weft_buf_read_file(&set, path);
    if (rc == WEFT_EIO || rc == WEFT_ENOTFOUND)
        weft_diag_add(diags, path, 0, 0, NULL, NULL, "cannot read it: %s", strerror(errno));
    else if (rc == WEFT_ELIMIT)
        weft_diag_add(diags, path, 0, 0, NULL, NULL, "larger than 64 MiB");
    if (rc == 0)
        rc = contract_add_set(all, path, (const uint8_t *)weft_buf_str(&set), set.len, true, diags);
    weft_buf_free(&set);
    return rc;
}

/* ---- protoc ----------------------------------------------------------------------------------------- */

static const char **protoc_arguments(weft_arena *arena, const char *out, const char *const *files,
                                     const char *const *roots) {
    size_t count = 4, at = 0;
    for (const char *const *p = files; *p; p++) count++;
    for (const char *const *p = roots; *p; p++) count++;
    const char **argv = weft_arena_calloc(arena, count, sizeof *argv);
    if (!argv) return NULL;
    argv[at++] = "protoc";
    argv[at++] = "--include_imports";
    argv[at++] = weft_arena_printf(arena, "--descriptor_set_out=%s", out);
    for (const char *const *p = roots; *p; p++) argv[at++] = weft_arena_printf(arena, "-I%s", *p);
    for (const char *const *p = files; *p; p++) argv[at++] = *p;
    for (size_t i = 0; i < at; i++)
        if (!argv[i]) return NULL;
    return argv;
}

static int run_protoc(weft_arena *arena, const char *out, const char *const *files,
                      const char *const *roots, weft_diags *diags) {
    process_spec spec = {.argv = protoc_arguments(arena, out, files, roots),
                         .envp = (const char *const *)environ,
                         .out_fd = -1,
                         .ready_fd = -1};
    if (!spec.argv) return WEFT_ENOMEM;
    pid_t pid;
    int error = process_start(&spec, &pid, NULL);
    if (error) {
        weft_diag_add(diags, NULL, 0, 0, NULL, "install protobuf-compiler, or use --descriptor-set",
                      "cannot run protoc: %s", strerror(error));
        return WEFT_EIO;
    }
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return WEFT_EIO;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : WEFT_EPARSE;
}

int contract_add_protos(contract *all, const char *const *files, const char *const *roots,
                        weft_diags *diags) {
    const char *tmp = getenv("TMPDIR");
    char *path = weft_arena_printf(all->arena, "%s/weft-set-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    int fd = path ? mkstemp(path) : -1;
    if (fd < 0) {
        weft_diag_add(diags, path, 0, 0, NULL, NULL, "cannot make a temporary file: %s",
                      strerror(errno));
        return WEFT_EIO;
    }
    close(fd);
    int rc = run_protoc(all->arena, path, files, roots, diags);
    if (rc == 0) rc = contract_add_set_file(all, path, diags);
    unlink(path);
    return rc;
}

/* ---- finding ---------------------------------------------------------------------------------------- */

static const char *last_part(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

const char *contract_find_service(const contract *all, const char *name, const char **near) {
    const char *found = NULL;
    size_t matches = 0;
    if (near) *near = NULL;
    for (size_t i = 0; i < all->service_count; i++) {
        if (strcmp(all->services[i], name) == 0) return all->services[i];
        if (strcmp(last_part(all->services[i]), name) != 0) continue;
        found = all->services[i];
        matches++;
    }
    if (matches == 1) return found;
    if (!near || all->service_count == 0) return NULL;
    *near = found; /* one of several */
    if (!*near) *near = weft_suggest(name, all->services, all->service_count);
    if (*near) return NULL;
    const char **parts = weft_arena_calloc(all->arena, all->service_count, sizeof *parts);
    if (!parts) return NULL;
    for (size_t i = 0; i < all->service_count; i++) parts[i] = last_part(all->services[i]);
    const char *part = weft_suggest(last_part(name), parts, all->service_count);
    for (size_t i = 0; part && i < all->service_count; i++)
        if (parts[i] == part) *near = all->services[i];
    return NULL;
}
