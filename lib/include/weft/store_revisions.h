/* Revisions: immutable content under a moving name, for the control plane.
 *
 * Content is stored as blobs named by the SHA-256 of their bytes, so writing one twice is writing
 * it once. A head is a name that points at a blob and moves by compare-and-swap; every move is
 * kept. A writer therefore puts blobs first and moves the head last: who sees the head sees all it
 * names, and a writer that dies in between has changed nothing.
 *
 *     weft_revisions_put(store, documents, n, ids);          // any number of transactions
 *     weft_revisions_put(store, &manifest, 1, &id);          // lists ids
 *     move = (weft_head_move){.size = sizeof move, .name = "mesh", .id = id, .expect = …};
 *     if (weft_revisions_move(store, &move, &head) == WEFT_ECONFLICT) …look at head, try again
 *
 * What holds the data is a backend behind one vtable. sqlite is here; the limits (a blob, an
 * operation count and bytes a batch) are those of etcd 3.4, so that it can be another: 128
 * operations and 1.5 MiB a transaction by default
 * (https://etcd.io/docs/v3.4/op-guide/configuration/, --max-txn-ops and
 * --max-request-bytes). Nothing is ever removed.
 *
 * Every function may be called from any thread; a failure's sentence is weft_store_message(). */
#ifndef WEFT_STORE_REVISIONS_H
#define WEFT_STORE_REVISIONS_H

#include <stddef.h>
#include <stdint.h>

#include "weft/buf.h"
#include "weft/error.h"
#include "weft/store.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_BLOB_ID 65                        /* 64 lower-case hex digits and '\0' */
#define WEFT_BLOB_MAX ((size_t)1024 * 1024)    /* bytes of one blob */
#define WEFT_REVISIONS_BATCH_OPS ((size_t)128) /* blobs a backend gets at a time */
#define WEFT_REVISIONS_BATCH_BYTES \
    ((size_t)1536 * 1024 - 16 * 1024) /* with room for ids and framing */

typedef struct weft_blob {
    const void *data; /* may be NULL when size is 0 */
    size_t size;      /* at most WEFT_BLOB_MAX */
} weft_blob;

/* Where a head is, or was. `sequence` counts its moves from 1; 0: it does not exist. */
typedef struct weft_head {
    char name[64];
    char id[WEFT_BLOB_ID];
    int64_t sequence;
    int64_t moved; /* wall ns */
    char author[64];
    char reason[256];
} weft_head;

typedef struct weft_head_move {
    size_t size;             /* sizeof(weft_head_move) */
    const char *name;        /* 1 to 63 bytes */
    int64_t expect;          /* the head's sequence now; 0: it must not exist */
    const char *id;          /* of a stored blob */
    const char *author;      /* up to 63 bytes; NULL: "" */
    const char *reason;      /* up to 255 bytes; NULL: "" */
    const weft_lease *lease; /* NULL, or must still be held: a leader that lost it moves nothing */
} weft_head_move;

typedef struct weft_revisions weft_revisions;

/* What a second backend (etcd) implements. `self` is its own. All arguments were checked by the
 * functions below: lengths, ids, limits. Any thread may call, many at a time. */
typedef struct weft_revisions_backend {
    size_t size;      /* sizeof(weft_revisions_backend) */
    const char *kind; /* "sqlite", for messages */
    /* Stores a batch (at most BATCH_OPS and BATCH_BYTES) durably, all or nothing; ids[i] names
     * blobs[i]. One that exists is no error. */
    int (*put)(void *self, const weft_blob *blobs, char (*ids)[WEFT_BLOB_ID], size_t count);
    /* Appends to `out`; WEFT_ENOTFOUND. */
    int (*get)(void *self, const char *id, weft_buf *out);
    /* WEFT_ENOTFOUND. */
    int (*head)(void *self, const char *name, weft_head *out);
    /* Atomic; as weft_revisions_move. */
    int (*move)(void *self, const weft_head_move *move, weft_head *out);
    int (*history)(void *self, const char *name, int64_t before, weft_head *out, size_t max,
                   size_t *count);
    int (*watch)(void *self, const char *name, int64_t after, int64_t timeout_ns, weft_head *out);
    void (*stop)(void *self);
    int (*lease_acquire)(void *self, const char *name, const char *owner, int64_t ttl_ns,
                         weft_lease *out);
    int (*lease_renew)(void *self, weft_lease *lease, int64_t ttl_ns);
    int (*lease_release)(void *self, const weft_lease *lease);
    void (*free)(void *self);
} weft_revisions_backend;

/* A store on a backend; takes `self` over, also when it fails. `backend` must outlive it. */
int weft_revisions_new(const weft_revisions_backend *backend, void *self,
                       weft_revisions **out) WEFT_MUST_USE;

/* A store in the tables weft_blob and weft_head of `db`, which must outlive it; makes them if
 * needed. Not for a read-only handle. */
int weft_revisions_sqlite(weft_db *db, weft_revisions **out) WEFT_MUST_USE;

/* No other call may be running: stop and join watchers first. NULL allowed. */
void weft_revisions_free(weft_revisions *store);

/* The id of `size` bytes. */
void weft_blob_id(const void *data, size_t size, char out[WEFT_BLOB_ID]);

/* Stores `count` blobs, durable on return, and writes their ids (`ids` may be NULL). In batches:
 * after an error any number of them is stored, which does no harm; calling again completes.
 * WEFT_ELIMIT: one is longer than WEFT_BLOB_MAX; then none is stored. */
int weft_revisions_put(weft_revisions *store, const weft_blob *blobs, size_t count,
                       char (*ids)[WEFT_BLOB_ID]) WEFT_MUST_USE;

/* Appends the blob to `out`. WEFT_ENOTFOUND; WEFT_EIO when its bytes no longer match its id. */
int weft_revisions_get(weft_revisions *store, const char *id, weft_buf *out) WEFT_MUST_USE;

/* Where the head is. WEFT_ENOTFOUND. */
int weft_revisions_head(weft_revisions *store, const char *name, weft_head *out) WEFT_MUST_USE;

/* Moves a head if its sequence is still `expect`, and writes where it is then. Moving to where it
 * was before is a move as any other (a rollback). WEFT_ECONFLICT: it is elsewhere, and *out says
 * where (sequence 0: nowhere), or the lease was lost and *out is where you expected it;
 * WEFT_ENOTFOUND: no blob has this id. */
int weft_revisions_move(weft_revisions *store, const weft_head_move *move,
                        weft_head *out) WEFT_MUST_USE;

/* The moves of a head, newest first: up to `max` of those with a sequence below `before` (0: all).
 * Page on with the last one's sequence. No such head: 0 and *count 0. */
int weft_revisions_history(weft_revisions *store, const char *name, int64_t before, weft_head *out,
                           size_t max, size_t *count) WEFT_MUST_USE;

/* Waits until the head's sequence is greater than `after` (0: until it exists), whoever moves it,
 * this process or another, and writes where it is; moves in between are in the history.
 * WEFT_ETIMEOUT after `timeout_ns` (0: only looks; WEFT_NO_DEADLINE: waits for ever), WEFT_ECLOSED
 * after _stop. */
int weft_revisions_watch(weft_revisions *store, const char *name, int64_t after, int64_t timeout_ns,
                         weft_head *out) WEFT_MUST_USE;

/* Ends every _watch of this store, now and later. */
void weft_revisions_stop(weft_revisions *store);

/* As weft_lease_… of store.h. */
int weft_revisions_lease_acquire(weft_revisions *store, const char *name, const char *owner,
                                 int64_t ttl_ns, weft_lease *out) WEFT_MUST_USE;
int weft_revisions_lease_renew(weft_revisions *store, weft_lease *lease,
                               int64_t ttl_ns) WEFT_MUST_USE;
int weft_revisions_lease_release(weft_revisions *store, const weft_lease *lease);

#ifdef __cplusplus
}
#endif
#endif
