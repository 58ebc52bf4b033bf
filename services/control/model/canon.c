/* Canonical form, hashes, manifests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/control/model/internal.h"
#include "weft/store_revisions.h"

#define CANONICAL_MAX WEFT_BLOB_MAX
#define MANIFEST_LINE 256u

_Static_assert(MODEL_HASH_TEXT == WEFT_BLOB_ID, "a document's hash is the id of its blob");

/* ---- maps: entries of every map field begin alike */

typedef struct map_entry {
    ProtobufCMessage base;
    char *key, *value;
} map_entry;

static int by_key(const void *a, const void *b) {
    return strcmp((*(map_entry *const *)a)->key, (*(map_entry *const *)b)->key);
}

static void sort_map(void *entries, size_t count) {
    if (count > 1) qsort(entries, count, sizeof(map_entry *), by_key);
}

static void sort_meta(WeftMesh__Meta *meta) {
    sort_map(meta->labels, meta->n_labels);
    sort_map(meta->annotations, meta->n_annotations);
}

static void sort_service(WeftMesh__ServiceSpec *spec) {
    for (size_t i = 0; i < spec->n_subsets; i++)
        sort_map(spec->subsets[i]->labels, spec->subsets[i]->n_labels);
    for (size_t i = 0; i < spec->n_endpoints; i++)
        sort_map(spec->endpoints[i]->labels, spec->endpoints[i]->n_labels);
}

/* ---- documents */

int model_canonical(const weft_registry *registry, weft_arena *arena, model_document *document) {
    model_envelope *all = (model_envelope *)document->message;
    const model_kind_info *kind = &model_kind_table[document->kind];
    const weft_json_options options = {.size = sizeof options, .max_bytes = CANONICAL_MAX};
    weft_buf text;
    all->api_version = weft_arena_strdup(arena, kind->api_version);
    all->kind = weft_arena_strdup(arena, kind->name);
    all->metadata->namespace_ = weft_arena_strdup(arena, document->name_space);
    if (!all->api_version || !all->kind || !all->metadata->namespace_) return WEFT_ENOMEM;
    sort_meta(all->metadata);
    if (document->kind == MODEL_SERVICE && all->spec) sort_service(all->spec);
    weft_buf_init(&text, CANONICAL_MAX);
    int rc = weft_json_encode(registry, document->message, &options, &text, NULL);
    if (!rc) {
        document->canonical_len = text.len;
        document->canonical = weft_arena_memdup(arena, weft_buf_str(&text), text.len + 1);
        if (!document->canonical) rc = WEFT_ENOMEM;
    }
    weft_buf_free(&text);
    if (!rc) weft_blob_id(document->canonical, document->canonical_len, document->hash);
    return rc;
}

/* ---- sets */

int model_manifest(const model_set *set, weft_buf *out) {
    for (size_t i = 0; i < set->count; i++) {
        const model_document *d = set->documents[i];
        weft_buf_printf(out, "%s %s %s/%s\n", d->hash, model_kind_name(d->kind), d->name_space,
                        d->name);
    }
    return out->error;
}

int model_set_hash(weft_arena *arena, model_set *set) {
    weft_buf text;
    (void)arena;
    weft_buf_init(&text, (size_t)MODEL_DOCUMENTS_MAX * MANIFEST_LINE);
    const int rc = model_manifest(set, &text);
    if (!rc) weft_blob_id(weft_buf_str(&text), text.len, set->hash);
    weft_buf_free(&text);
    return rc;
}

int model_manifest_read(const char *text, size_t len, int (*each)(void *user, const char *hash),
                        void *user) {
    const char *end = text + len;
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        char hash[MODEL_HASH_TEXT];
        if (!stop || stop - text < MODEL_HASH_TEXT || text[MODEL_HASH_TEXT - 1] != ' ')
            return WEFT_EPARSE;
        memcpy(hash, text, MODEL_HASH_TEXT - 1);
        hash[MODEL_HASH_TEXT - 1] = '\0';
        if (strspn(hash, "0123456789abcdef") != MODEL_HASH_TEXT - 1) return WEFT_EPARSE;
        const int rc = each(user, hash);
        if (rc) return rc;
        text = stop + 1;
    }
    return 0;
}
