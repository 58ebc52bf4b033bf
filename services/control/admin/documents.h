/* The documents of the mesh as revisions in the store: documents are blobs, a manifest blob lists them, and the
 * head "mesh" points at the manifest and moves by compare-and-swap. Any thread. */
#ifndef SERVICES_CONTROL_ADMIN_DOCUMENTS_H
#define SERVICES_CONTROL_ADMIN_DOCUMENTS_H

#include "services/control/model/model.h"
#include "weft/store_revisions.h"

#define DOCUMENTS_HEAD "mesh"
#define DOCUMENTS_ANY INT64_C(-1) /* of an expected sequence: wherever the head is */

typedef struct documents {
    weft_revisions *store;      /* borrowed */
    const weft_registry *types; /* borrowed: model_registry_new */
} documents;

/* One revision. `sequence` 0 with an empty set: nothing was ever stored. */
typedef struct documents_revision {
    weft_head head;
    const model_set *set; /* in the arena given */
} documents_revision;

/* The head (`sequence` 0) or an earlier revision. WEFT_ENOTFOUND: there is none of that sequence. WEFT_EIO,
 * WEFT_EPARSE: what is stored is damaged; WEFT_ENOMEM. */
int documents_load(const documents *docs, int64_t sequence, weft_arena *arena,
                   documents_revision *out) WEFT_MUST_USE;

typedef struct documents_change {
    int64_t expect; /* the head's sequence that the caller saw, or DOCUMENTS_ANY */
    bool dry_run;
    bool prune; /* what is in none of the texts is removed */
    const char *author, *reason;
} documents_change;

typedef struct documents_outcome {
    documents_revision before, after; /* the same head when nothing changed, or for a dry run */
} documents_outcome;

/* Lays texts over the head, checks the whole and stores it, or nothing. WEFT_EPARSE: `diags` says what is
 * wrong. WEFT_ECONFLICT: the head is not where expected, or moved meanwhile; out->before.head says where. */
int documents_apply(const documents *docs, const model_text *texts, size_t count,
                    const documents_change *change, weft_arena *arena, documents_outcome *out,
                    weft_diags *diags) WEFT_MUST_USE;

/* Moves the head to the content of revision `to` (0: the one before the head). WEFT_ENOTFOUND. */
int documents_rollback(const documents *docs, int64_t to, const documents_change *change,
                       weft_arena *arena, documents_outcome *out) WEFT_MUST_USE;

#endif
