/* Revisions over any backend: what every backend may rely on is checked here. */
#include "weft/store_revisions.h"

#include <string.h>

#include "internal.h"
#include "sha256.h"

struct weft_revisions {
    const weft_revisions_backend *backend;
    void *self;
};

int weft_revisions_new(const weft_revisions_backend *backend, void *self, weft_revisions **out) {
    const bool usable = backend && backend->size == sizeof *backend && backend->kind &&
                        backend->put && backend->get && backend->head && backend->move &&
                        backend->history && backend->watch && backend->stop &&
                        backend->lease_acquire && backend->lease_renew && backend->lease_release &&
                        backend->free;
    if (!usable || !out)
        return store_say(WEFT_EINVAL,
                         "weft_revisions_new: needs a backend of this version with all "
                         "its functions, and out");
    weft_revisions *store = weft_calloc(1, sizeof *store);
    if (!store) {
        backend->free(self);
        return store_say(WEFT_ENOMEM, "revisions: out of memory");
    }
    store->backend = backend;
    store->self = self;
    *out = store;
    return 0;
}

void weft_revisions_free(weft_revisions *store) {
    if (!store) return;
    store->backend->free(store->self);
    weft_free(store);
}

void weft_blob_id(const void *data, size_t size, char out[WEFT_BLOB_ID]) {
    store_sha256_text(data, size, out);
}

/* ---- checks */

static int check_store(const weft_revisions *store) {
    return store ? 0 : store_say(WEFT_EINVAL, "revisions: the store is NULL");
}

static int check_name(const weft_revisions *store, const char *name) {
    int rc = check_store(store);
    if (rc) return rc;
    const size_t max = sizeof((weft_head *)0)->name;
    const size_t len = name ? strnlen(name, max) : 0;
    if (len > 0 && len < max) return 0;
    return store_say(WEFT_EINVAL, "revisions: the name of a head has 1 to %zu bytes", max - 1);
}

static int check_id(const char *id) {
    if (id && strnlen(id, WEFT_BLOB_ID) == WEFT_BLOB_ID - 1 &&
        strspn(id, "0123456789abcdef") == WEFT_BLOB_ID - 1)
        return 0;
    return store_say(WEFT_EINVAL,
                     "revisions: \"%.80s\" is no blob id; one has %d lower-case hex digits",
                     id ? id : "", WEFT_BLOB_ID - 1);
}

static int check_move(const weft_head_move *move) {
    if (move->expect < 0 || move->expect == INT64_MAX)
        return store_say(WEFT_EINVAL, "revisions: head \"%s\" cannot be at sequence %lld",
                         move->name, (long long)move->expect);
    if (move->author &&
        strnlen(move->author, sizeof((weft_head *)0)->author) == sizeof((weft_head *)0)->author)
        return store_say(WEFT_EINVAL, "revisions: an author has at most %zu bytes",
                         sizeof((weft_head *)0)->author - 1);
    if (move->reason &&
        strnlen(move->reason, sizeof((weft_head *)0)->reason) == sizeof((weft_head *)0)->reason)
        return store_say(WEFT_EINVAL, "revisions: a reason has at most %zu bytes",
                         sizeof((weft_head *)0)->reason - 1);
    return check_id(move->id);
}

/* ---- blobs */

static int check_blobs(const weft_blob *blobs, size_t count) {
    if (count && !blobs) return store_say(WEFT_EINVAL, "revisions: blobs is NULL");
    for (size_t i = 0; i < count; i++) {
        if (!blobs[i].data && blobs[i].size)
            return store_say(WEFT_EINVAL, "revisions: blob %zu of %zu is NULL and has a size",
                             i + 1, count);
        if (blobs[i].size > WEFT_BLOB_MAX)
            return store_say(
                WEFT_ELIMIT,
                "revisions: blob %zu of %zu has %zu bytes; at most %zu are taken, split it", i + 1,
                count, blobs[i].size, WEFT_BLOB_MAX);
    }
    return 0;
}

/* How many of the blobs make the next batch: at least 1. */
static size_t batch(const weft_blob *blobs, size_t count) {
    size_t bytes = 0;
    size_t n = 0;
    while (n < count && n < WEFT_REVISIONS_BATCH_OPS) {
        bytes += blobs[n].size;
        if (n && bytes > WEFT_REVISIONS_BATCH_BYTES) break;
        n++;
    }
    return n;
}

int weft_revisions_put(weft_revisions *store, const weft_blob *blobs, size_t count,
                       char (*ids)[WEFT_BLOB_ID]) {
    int rc = check_store(store);
    if (!rc) rc = check_blobs(blobs, count);
    char own[WEFT_REVISIONS_BATCH_OPS][WEFT_BLOB_ID] = {{0}};
    size_t done = 0;
    while (!rc && done < count) {
        const size_t n = batch(blobs + done, count - done);
        char(*names)[WEFT_BLOB_ID] = ids ? ids + done : own;
        for (size_t i = 0; i < n; i++)
            weft_blob_id(blobs[done + i].data, blobs[done + i].size, names[i]);
        rc = store->backend->put(store->self, blobs + done, names, n);
        done += n;
    }
    return rc;
}

int weft_revisions_get(weft_revisions *store, const char *id, weft_buf *out) {
    int rc = check_store(store);
    if (!rc) rc = check_id(id);
    if (!rc && !out) rc = store_say(WEFT_EINVAL, "revisions: out is NULL");
    if (rc) return rc;
    const size_t before = out->len;
    rc = store->backend->get(store->self, id, out);
    if (rc) return rc;
    char now[WEFT_BLOB_ID];
    weft_blob_id(weft_buf_str(out) + before, out->len - before, now);
    if (strcmp(now, id) == 0) return 0;
    out->len = before;
    if (out->data) out->data[before] = '\0';
    return store_say(
        WEFT_EIO,
        "revisions: blob %s in %s is damaged (its bytes have sha256 %s); restore it from a "
        "backup or put it again elsewhere",
        id, store->backend->kind, now);
}

/* ---- heads */

int weft_revisions_head(weft_revisions *store, const char *name, weft_head *out) {
    int rc = check_name(store, name);
    if (!rc && !out) rc = store_say(WEFT_EINVAL, "revisions: out is NULL");
    return rc ? rc : store->backend->head(store->self, name, out);
}

int weft_revisions_move(weft_revisions *store, const weft_head_move *move, weft_head *out) {
    if (!move || move->size != sizeof *move || !out)
        return store_say(WEFT_EINVAL,
                         "weft_revisions_move: needs a move with its size set, and out");
    int rc = check_name(store, move->name);
    if (!rc) rc = check_move(move);
    return rc ? rc : store->backend->move(store->self, move, out);
}

int weft_revisions_history(weft_revisions *store, const char *name, int64_t before, weft_head *out,
                           size_t max, size_t *count) {
    int rc = check_name(store, name);
    if (!rc && (!count || (max && !out) || before < 0))
        rc = store_say(WEFT_EINVAL,
                       "weft_revisions_history: needs room for the result and before >= 0");
    if (rc) return rc;
    *count = 0;
    return store->backend->history(store->self, name, before ? before : INT64_MAX, out, max, count);
}

int weft_revisions_watch(weft_revisions *store, const char *name, int64_t after, int64_t timeout_ns,
                         weft_head *out) {
    int rc = check_name(store, name);
    if (!rc && (!out || after < 0 || timeout_ns < 0))
        rc = store_say(WEFT_EINVAL, "weft_revisions_watch: needs out, and after and timeout >= 0");
    return rc ? rc : store->backend->watch(store->self, name, after, timeout_ns, out);
}

void weft_revisions_stop(weft_revisions *store) {
    if (store) store->backend->stop(store->self);
}

/* ---- leases */

int weft_revisions_lease_acquire(weft_revisions *store, const char *name, const char *owner,
                                 int64_t ttl_ns, weft_lease *out) {
    int rc = check_store(store);
    return rc ? rc : store->backend->lease_acquire(store->self, name, owner, ttl_ns, out);
}

int weft_revisions_lease_renew(weft_revisions *store, weft_lease *lease, int64_t ttl_ns) {
    int rc = check_store(store);
    return rc ? rc : store->backend->lease_renew(store->self, lease, ttl_ns);
}

int weft_revisions_lease_release(weft_revisions *store, const weft_lease *lease) {
    int rc = check_store(store);
    return rc ? rc : store->backend->lease_release(store->self, lease);
}
