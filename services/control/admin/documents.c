/* The documents of the mesh as revisions: see documents.h. */
#include "services/control/admin/documents.h"

#include <stdio.h>
#include <string.h>

#include "weft/mem.h"

/* ---- loading */

typedef struct loading {
    const documents *docs;
    weft_arena *arena;
    model_text *texts;
    size_t count;
} loading;

static int load_document(void *user, const char *hash) {
    loading *l = user;
    weft_buf text;
    if (l->count >= MODEL_DOCUMENTS_MAX) return WEFT_ELIMIT;
    weft_buf_init(&text, WEFT_BLOB_MAX + 1);
    int error = weft_revisions_get(l->docs->store, hash, &text);
    const char *copy =
        error ? NULL : weft_arena_memdup(l->arena, weft_buf_str(&text), text.len + 1);
    if (!error && !copy) error = WEFT_ENOMEM;
    if (!error) l->texts[l->count++] = (model_text){.text = copy, .len = text.len};
    weft_buf_free(&text);
    return error;
}

static int load_set(const documents *docs, const char *id, weft_arena *arena,
                    const model_set **out) {
    weft_buf manifest;
    loading l = {.docs = docs, .arena = arena};
    weft_diags diags;
    weft_diags_init(&diags, arena, 1);
    weft_buf_init(&manifest, WEFT_BLOB_MAX + 1);
    int error = weft_revisions_get(docs->store, id, &manifest);
    if (!error) l.texts = weft_calloc(MODEL_DOCUMENTS_MAX, sizeof *l.texts);
    if (!error && !l.texts) error = WEFT_ENOMEM;
    if (!error)
        error = model_manifest_read(weft_buf_str(&manifest), manifest.len, load_document, &l);
    if (!error) error = model_restore(docs->types, l.texts, l.count, arena, out, &diags);
    weft_free(l.texts);
    weft_buf_free(&manifest);
    return error;
}

static int find_head(const documents *docs, int64_t sequence, weft_head *head) {
    size_t count = 0;
    *head = (weft_head){0};
    if (sequence < 0) return WEFT_ENOTFOUND;
    if (sequence) {
        const int error =
            weft_revisions_history(docs->store, DOCUMENTS_HEAD, sequence + 1, head, 1, &count);
        if (!error && (!count || head->sequence != sequence)) return WEFT_ENOTFOUND;
        return error;
    }
    const int error = weft_revisions_head(docs->store, DOCUMENTS_HEAD, head);
    if (error != WEFT_ENOTFOUND) return error;
    *head = (weft_head){.name = DOCUMENTS_HEAD};
    return 0;
}

int documents_load(const documents *docs, int64_t sequence, weft_arena *arena,
                   documents_revision *out) {
    documents_revision revision = {0};
    int error = find_head(docs, sequence, &revision.head);
    if (error) return error;
    if (revision.head.sequence) {
        error = load_set(docs, revision.head.id, arena, &revision.set);
    } else {
        revision.set = model_empty(arena);
        if (!revision.set) error = WEFT_ENOMEM;
    }
    if (!error) *out = revision;
    return error;
}

/* ---- storing */

static bool stored_already(const model_set *before, const char *hash) {
    for (size_t i = 0; i < before->count; i++)
        if (!strcmp(before->documents[i]->hash, hash)) return true;
    return false;
}

static int put_set(const documents *docs, const model_set *before, const model_set *after,
                   char id[WEFT_BLOB_ID]) {
    char ids[1][WEFT_BLOB_ID];
    weft_buf manifest;
    size_t count = 0;
    weft_blob *blobs = weft_calloc(after->count + 1, sizeof *blobs);
    if (!blobs) return WEFT_ENOMEM;
    for (size_t i = 0; i < after->count; i++) {
        const model_document *d = after->documents[i];
        if (!stored_already(before, d->hash))
            blobs[count++] = (weft_blob){.data = d->canonical, .size = d->canonical_len};
    }
    weft_buf_init(&manifest, WEFT_BLOB_MAX);
    int error = model_manifest(after, &manifest);
    if (!error && count) error = weft_revisions_put(docs->store, blobs, count, NULL);
    if (!error) {
        blobs[0] = (weft_blob){.data = manifest.data, .size = manifest.len};
        error = weft_revisions_put(docs->store, blobs, 1, ids);
    }
    if (!error) memcpy(id, ids[0], WEFT_BLOB_ID);
    weft_buf_free(&manifest);
    weft_free(blobs);
    return error;
}

static int move_head(const documents *docs, const char *id, const documents_change *change,
                     documents_outcome *out) {
    char author[64], reason[256];
    weft_head head;
    (void)snprintf(author, sizeof author, "%s", change->author ? change->author : "");
    (void)snprintf(reason, sizeof reason, "%s", change->reason ? change->reason : "");
    const weft_head_move move = {.size = sizeof move,
                                 .name = DOCUMENTS_HEAD,
                                 .expect = out->before.head.sequence,
                                 .id = id,
                                 .author = author,
                                 .reason = reason};
    const int error = weft_revisions_move(docs->store, &move, &head);
    if (!error) out->after.head = head;
    if (error == WEFT_ECONFLICT) out->before.head = head;
    return error;
}

static bool unexpected(const documents_change *change, const weft_head *head) {
    return change->expect != DOCUMENTS_ANY && change->expect != head->sequence;
}

int documents_apply(const documents *docs, const model_text *texts, size_t count,
                    const documents_change *change, weft_arena *arena, documents_outcome *out,
                    weft_diags *diags) {
    char id[WEFT_BLOB_ID];
    int error = documents_load(docs, 0, arena, &out->before);
    if (error) return error;
    out->after = out->before;
    if (unexpected(change, &out->before.head)) return WEFT_ECONFLICT;
    error = model_parse(docs->types, texts, count, change->prune ? NULL : out->before.set, arena,
                        &out->after.set, diags);
    if (error) return error;
    if (change->dry_run ||
        (out->before.head.sequence && !strcmp(out->before.set->hash, out->after.set->hash)))
        return 0;
    error = put_set(docs, out->before.set, out->after.set, id);
    return error ? error : move_head(docs, id, change, out);
}

int documents_rollback(const documents *docs, int64_t to, const documents_change *change,
                       weft_arena *arena, documents_outcome *out) {
    int error = documents_load(docs, 0, arena, &out->before);
    if (error) return error;
    out->after = out->before;
    if (unexpected(change, &out->before.head)) return WEFT_ECONFLICT;
    if (!to) to = out->before.head.sequence - 1;
    if (to <= 0) return WEFT_ENOTFOUND;
    documents_revision target;
    error = documents_load(docs, to, arena, &target);
    if (error) return error;
    out->after.set = target.set;
    if (!strcmp(target.head.id, out->before.head.id)) return 0;
    return move_head(docs, target.head.id, change, out);
}
