/* The documents of a mesh: read from YAML, checked as a whole, hashed, compared.
 *
 * No I/O. A set is immutable once parsed; any thread may read it. Strings live in its arena. */
#ifndef CONTROL_MODEL_MODEL_H
#define CONTROL_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/arena.h"
#include "weft/buf.h"
#include "weft/diag.h"
#include "weft/pb.h"

#define MODEL_DOCUMENTS_MAX 10000u
#define MODEL_TEXT_MAX ((size_t)16 << 20) /* bytes of one file */
#define MODEL_HASH_TEXT 65                /* 64 lower-case hex digits of a SHA-256, and '\0' */
#define MODEL_NAMESPACE "default"         /* of documents that name none */
#define MODEL_DOMAIN "mesh.local"         /* trust domain of meshes that name none */

typedef enum model_kind { MODEL_MESH, MODEL_SERVICE, MODEL_GRPC_ROUTE, MODEL_KINDS } model_kind;

/* One document. `message` is a WeftMesh__Mesh, __Service or __GRPCRoute in canonical form: apiVersion,
 * kind and metadata.namespace are filled in, maps are in the order of their keys. */
typedef struct model_document {
    model_kind kind;
    const char *name;
    const char *name_space; /* "" for a Mesh */
    const ProtobufCMessage *message;
    const char *canonical; /* JSON, one line: what is stored and hashed */
    size_t canonical_len;
    char hash[MODEL_HASH_TEXT]; /* of `canonical`: weft_blob_id of it */
    /* Where it was read; file may be NULL, line 0 when it came from a store. */
    const char *file;
    int line, column;
    const weft_yaml_document *source; /* NULL when it came from a store */
} model_document;

/* Sorted by kind, namespace, name; no two share all three. */
typedef struct model_set {
    weft_arena *arena;
    const model_document *const *documents;
    size_t count;
    char hash[MODEL_HASH_TEXT]; /* of all documents: the revision's version */
} model_set;

/* "Mesh", "Service", "GRPCRoute"; -1 when there is no such kind. Kinds match in any case and in plural
 * ("services"), as people type them on a command line. */
const char *model_kind_name(model_kind kind);
int model_kind_find(const char *name);

/* The types of documents. NULL when memory is out; free with weft_registry_free. Any thread may use it. */
weft_registry *model_registry_new(void) WEFT_MUST_USE;

/* ---- reading */

/* A text to read; `file` names it in diagnostics. */
typedef struct model_text {
    const char *file;
    const char *text;
    size_t len;
} model_text;

/* Reads documents of every text and lays them over `base` (may be NULL): one of the same kind,
 * namespace and name takes the place of the old one. Then checks the whole. On failure returns
 * WEFT_EPARSE, WEFT_ELIMIT or WEFT_ENOMEM with every problem in `diags`, each with its place, the rule
 * and what to do; *out is untouched. The set lives in `arena`, which must not outlive `base`'s. */
int model_parse(const weft_registry *registry, const model_text *texts, size_t count,
                const model_set *base, weft_arena *arena, const model_set **out,
                weft_diags *diags) WEFT_MUST_USE;

/* The set without one document; checks what remains. WEFT_ENOTFOUND when there is none. */
int model_remove(const weft_registry *registry, const model_set *from, model_kind kind,
                 const char *name_space, const char *name, weft_arena *arena, const model_set **out,
                 weft_diags *diags) WEFT_MUST_USE;

/* An empty set; NULL when memory is out. */
const model_set *model_empty(weft_arena *arena) WEFT_MUST_USE;

/* ---- as stored: documents are blobs, a manifest blob lists their ids (store_revisions.h) */

/* The manifest: one line a document, "<hash> <kind> <namespace>/<name>\n", in the order of the set.
 * Its SHA-256 is set->hash. */
int model_manifest(const model_set *set, weft_buf *out) WEFT_MUST_USE;

/* Calls `each` with the hash of every document of a manifest; stops at the first that is not 0 and
 * returns it. WEFT_EPARSE when it is no manifest. */
int model_manifest_read(const char *text, size_t len, int (*each)(void *user, const char *hash),
                        void *user) WEFT_MUST_USE;

/* The set of stored documents (canonical forms, any order). `file` of the texts is not looked at. Checks
 * as model_parse does. */
int model_restore(const weft_registry *registry, const model_text *texts, size_t count,
                  weft_arena *arena, const model_set **out, weft_diags *diags) WEFT_MUST_USE;

/* ---- looking */

/* NULL when there is none. */
const model_document *model_find(const model_set *set, model_kind kind, const char *name_space,
                                 const char *name);
const char *model_trust_domain(const model_set *set);
bool model_on_demand(const model_set *set);

/* "product", "product.shop" → service and namespace, which defaults to `home`. False when `text` is no
 * such name. `out` are at most 64 bytes each. */
bool model_name_split(const char *text, const char *home, char service[64], char name_space[64]);

/* A DNS label: 1 to 63 of a-z 0-9 -, neither first nor last a hyphen. */
bool model_label_valid(const char *text);

bool model_grpc_service_valid(const char *text); /* "package.Service" */
bool model_identifier_valid(const char *text);   /* "GetProduct" */

/* Nanoseconds of a GEP-2257 duration; -1 when it is none. */
int64_t model_duration(const char *text);

/* ---- comparing */

typedef enum model_change { MODEL_ADDED, MODEL_CHANGED, MODEL_REMOVED } model_change;

/* One difference. For MODEL_CHANGED there is one for each field that differs: `path` is the field
 * ("spec.rules[0].backendRefs[1].weight"), before and after are JSON, NULL where it was or is not. */
typedef struct model_difference {
    model_change change;
    model_kind kind;
    const char *name_space, *name;
    const char *path; /* NULL unless MODEL_CHANGED */
    const char *before, *after;
} model_difference;

#define MODEL_DIFFERENCES_MAX 10000u

/* From `before` to `after` (NULL: empty) in the order of sets. In `arena`. WEFT_ENOMEM, WEFT_ELIMIT. */
int model_diff(const weft_registry *registry, const model_set *before, const model_set *after,
               weft_arena *arena, model_difference **out, size_t *count) WEFT_MUST_USE;

/* One line a difference, as `weft diff` prints them:
 *
 *     ~ GRPCRoute shop/product  spec.rules[0].backendRefs[1].weight: 10 -> 100
 *     + Service shop/cart
 *     - Service shop/basket */
int model_diff_format(const model_difference *list, size_t count, weft_buf *out) WEFT_MUST_USE;

/* A document as YAML, as `weft get` shows it. */
int model_yaml(const weft_registry *registry, const model_document *document,
               weft_buf *out) WEFT_MUST_USE;

#endif
