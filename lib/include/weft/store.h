/* sqlite, opened the one way a service should: WAL, foreign keys, BEGIN IMMEDIATE for writers, a
 * busy handler, migrations, cached statements; and leases for background owners, since two
 * instances of a service share its database.
 *
 *     weft_tx *tx;
 *     if ((rc = weft_tx_begin(db, WEFT_WRITE, &tx)) < 0) …
 *     weft_stmt *q = weft_tx_query(tx, "SELECT name, price FROM product WHERE id = ?", "s", id);
 *     while (weft_stmt_row(q)) name = weft_stmt_text(q, 0);
 *     rc = weft_tx_commit(tx);
 */
#ifndef WEFT_STORE_H
#define WEFT_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/clock.h"
#include "weft/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_db weft_db;
typedef struct weft_tx weft_tx;
typedef struct weft_stmt weft_stmt;

/* Migration n brings the schema from version n-1 to n; n counts from 1. Never edit one that
 * shipped: its hash is recorded and checked. */
typedef struct weft_migration {
    const char *name;
    const char *sql; /* one or more statements; runs in one transaction with its record */
} weft_migration;

typedef struct weft_db_options {
    size_t size;                      /* sizeof(weft_db_options) */
    const weft_migration *migrations; /* `migration_count` */
    size_t migration_count;
    int connections;         /* most at a time; 0: 8 */
    int64_t busy_ns;         /* wait for a lock; 0: 5 s */
    const weft_clock *clock; /* NULL: system */
    bool read_only;
} weft_db_options;

/* Opens or creates `path` (mode 0600, as are -wal and -shm beside it; an existing file keeps its
 * mode) and brings its schema up to date. `options` NULL: all defaults. A read-only handle changes
 * nothing and needs a schema that is up to date. Migrations run with foreign keys off and are
 * checked before they commit; they may not hold BEGIN or COMMIT. On failure *why (may be NULL) is a
 * weft_free-able sentence naming the file and what to do, or NULL when memory is out. The handle is
 * for any thread, and for one process: a forked child opens its own.
 *   WEFT_EUNSUPPORTED  a newer program's or another program's file, or no WAL there
 *   WEFT_ECONFLICT     a migration was changed or moved after it ran; or another service's file
 *   WEFT_EIO           damaged, not writable        WEFT_ELIMIT    disk full
 *   WEFT_EBUSY         locked for busy_ns           WEFT_ENOTFOUND no such directory or file
 *   WEFT_EINVAL        wrong options or path, or a migration that breaks a constraint
 *   WEFT_EINTERNAL     SQL of a migration that sqlite does not take (the sentence has its line) */
int weft_db_open(const char *path, const weft_db_options *options, weft_db **out,
                 char **why) WEFT_MUST_USE;

/* NULL allowed. Waiting and later _begin calls get WEFT_ECLOSED. Transactions that are still open
 * may be used and ended; the memory goes with the last of them. Call it once. */
void weft_db_close(weft_db *db);

/* Migrations of a library that keeps its tables beside the application's (lib/pattern, revisions),
 * versioned apart from those of weft_db_open under a name of their own. Idempotent; errors as
 * weft_db_open. */
int weft_db_migrate(weft_db *db, const char *component, const weft_migration *migrations,
                    size_t count) WEFT_MUST_USE;

/* The sentence of this thread's last failure of any function of this library ("" before one): it
 * names the file, what happened and what to do. Until the thread's next failure. */
const char *weft_store_message(void);

typedef enum weft_tx_mode { WEFT_READ, WEFT_WRITE } weft_tx_mode;

/* A transaction on a connection of the pool; it belongs to one thread. WEFT_WRITE is BEGIN
 * IMMEDIATE: writers of one handle take turns in order of arrival, those of other processes by
 * trying again after random times. WEFT_READ sees the state at its begin until its end, whatever
 * others commit, and changes nothing. WEFT_EBUSY after busy_ns (at once for a second WEFT_WRITE of
 * the same thread), WEFT_ECLOSED after weft_db_close. An error in any statement is remembered:
 * later statements do nothing and commit rolls back and returns it. What only a program's mistake
 * brings (wrong `types`, SQL that sqlite does not take, a column that is not there) is
 * WEFT_EINTERNAL; the rest: WEFT_EBUSY, WEFT_ENOMEM, WEFT_ELIMIT (disk full, value too long),
 * WEFT_EIO (damaged file, failed disk). When commit returned 0 the changes survive a power cut.
 * When it returned WEFT_EIO or WEFT_ELIMIT they are not visible, but a crash right after that may
 * bring them back: whoever repeats the work needs an idempotency key. */
int weft_tx_begin(weft_db *db, weft_tx_mode mode, weft_tx **out) WEFT_MUST_USE;
int weft_tx_commit(weft_tx *tx) WEFT_MUST_USE; /* the handle is gone, whatever it returns */
void weft_tx_rollback(weft_tx *tx);            /* NULL allowed */
int weft_tx_error(const weft_tx *tx);          /* 0 or the first error */
/* The sentence of that error; else of the last EEXIST or EINVAL that exec reported; else "". */
const char *weft_tx_message(const weft_tx *tx);

/* Prepares (cached per connection), binds and is ready for _row. `types` has a letter a parameter:
 * s const char * (NULL: SQL NULL), i int, l int64_t, d double (NaN: SQL NULL), b const void * then
 * size_t (blob; size 0 is the empty blob, whatever the pointer), n (no argument: NULL). `types`
 * NULL is "". Arguments are copied. For one statement that has rows; one with RETURNING runs at the
 * first _row. Never NULL; errors are remembered in the transaction, those of a constraint too.
 * Valid until the next query with the same SQL in this transaction, or its end. At most 1,024
 * different ones a transaction. Not for BEGIN, COMMIT, ROLLBACK, ATTACH and changing PRAGMAs;
 * SAVEPOINT works. */
weft_stmt *weft_tx_query(weft_tx *tx, const char *sql, const char *types, ...);
/* A statement without rows; returns 0 or the error (WEFT_EEXIST for a broken UNIQUE or primary key,
 * WEFT_EINVAL for CHECK, NOT NULL or foreign key). EEXIST and EINVAL are reported, not remembered:
 * the transaction goes on. */
int weft_tx_exec(weft_tx *tx, const char *sql, const char *types, ...);
int64_t weft_tx_changes(weft_tx *tx); /* rows of the last exec; 0 when it failed */
int64_t weft_tx_last_id(weft_tx *tx); /* rowid of the last INSERT of this transaction, or 0 */

/* Columns count from 0. Reading one that is not there, or without a row, fails the transaction. */
bool weft_stmt_row(weft_stmt *stmt); /* false at the end or on error */
int64_t weft_stmt_int(weft_stmt *stmt, int column);
double weft_stmt_double(weft_stmt *stmt, int column);
const char *weft_stmt_text(weft_stmt *stmt, int column); /* "" for NULL; until the next row */
const void *weft_stmt_blob(weft_stmt *stmt, int column,
                           size_t *len); /* NULL for NULL; until the next row */
bool weft_stmt_null(weft_stmt *stmt, int column);

/* ---- leases: one owner at a time, with a fence
 *
 * Table weft_lease is made by weft_db_open. `fence` grows with every change of owner, also over releases and restarts; a background owner
 * passes its fence to weft_lease_check inside each of its transactions, so an owner that lost its
 * lease while asleep cannot write. Names and owners have 1 to 63 bytes; an owner is one running
 * instance (a uuid made at its start), not a service. A lease is lost when it runs out, is released
 * or taken; it runs out by the wall clock of `options.clock`, but safety rests on the
 * fence alone. */
typedef struct weft_lease {
    char name[64];
    char owner[64];
    int64_t fence;
    int64_t expires; /* wall ns */
} weft_lease;

/* WEFT_EBUSY while someone else holds it. Acquiring one's own live lease renews it (same fence);
 * one that ran out comes back with a new fence. */
int weft_lease_acquire(weft_db *db, const char *name, const char *owner, int64_t ttl_ns,
                       weft_lease *out) WEFT_MUST_USE;
int weft_lease_renew(weft_db *db, weft_lease *lease,
                     int64_t ttl_ns) WEFT_MUST_USE;           /* WEFT_ECONFLICT: lost */
int weft_lease_release(weft_db *db, const weft_lease *lease); /* WEFT_ECONFLICT: was lost already */
/* WEFT_ECONFLICT: lost; remembered in the transaction, so it cannot commit. Protects a WEFT_WRITE,
 * which keeps others from taking the lease until its end. */
int weft_lease_check(weft_tx *tx, const weft_lease *lease) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
