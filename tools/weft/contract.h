/* What a server offers, from files or from the server itself, and finding one method in it. */
#ifndef TOOLS_WEFT_CONTRACT_H
#define TOOLS_WEFT_CONTRACT_H

#include <stddef.h>
#include <stdint.h>

#include "weft/arena.h"
#include "weft/diag.h"
#include "weft/pb.h"
#include "weft/rpc.h"

/* Everything lives in `arena`, but for the registry: see contract_free. */
typedef struct contract {
    weft_arena *arena;
    weft_registry *registry; /* with the well-known types and those of error details */
    const char **services;   /* full names, in the order they were told */
    size_t service_count;
} contract;

/* Empty. 0 or WEFT_ENOMEM. */
int contract_init(contract *all, weft_arena *arena) WEFT_MUST_USE;
void contract_free(contract *all);

/* Adds a serialized FileDescriptorSet, less the files that are there already. 0, or a negative WEFT_E… with what
 * is wrong in `diags`; `from` names the set there. Its services join the list if `list` says so. */
int contract_add_set(contract *all, const char *from, const uint8_t *set, size_t len, bool list,
                     weft_diags *diags) WEFT_MUST_USE;

/* The same from a file made with protoc --descriptor_set_out --include_imports. */
int contract_add_set_file(contract *all, const char *path, weft_diags *diags) WEFT_MUST_USE;

/* Runs protoc on .proto files (`files`, `roots`: NULL-terminated). Its errors go to standard error as they are;
 * WEFT_EPARSE without a diagnostic then. */
int contract_add_protos(contract *all, const char *const *files, const char *const *roots,
                        weft_diags *diags) WEFT_MUST_USE;

/* Names like a user may write them: the full one, or its last part ("ProductService") if only one service ends
 * in it. NULL when there is none; *near (may be NULL) is then a name to suggest or NULL. */
const char *contract_find_service(const contract *all, const char *name, const char **near);

/* ---- the server itself (reflect.c) ------------------------------------------------------------------- */

typedef struct reflection {
    weft_channel *channel;
    weft_ctx *ctx;
    weft_stream *stream;
    bool alpha;          /* v1 was unknown there: v1alpha is spoken */
    weft_method *method; /* of the stream */
} reflection;

/* Begins to ask; nothing is sent yet. `ctx` bounds all of it. */
void reflection_begin(reflection *ask, weft_channel *channel, weft_ctx *ctx);
void reflection_end(reflection *ask);

/* Fills all->services. Whatever is wrong, the server's error too, is in the status; its text lives in the
 * context. UNIMPLEMENTED: the server has no reflection. */
weft_status reflection_list(reflection *ask, contract *all);

/* Adds the files that declare `symbol`, with all they import. */
weft_status reflection_load(reflection *ask, contract *all, const char *symbol);

#endif
