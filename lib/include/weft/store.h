/* sqlite, opened the one way a service should: WAL, foreign keys, BEGIN IMMEDIATE for writers, a busy
 * handler, migrations, cached statements; and leases for background owners, since two instances of a
 * service share its database.
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

/* Migration n brings the schema from version n-1 to n; n counts from 1. Never edit one that shipped: its
 * hash is recorded and checked. */
typedef struct weft_migration {
    const char *name;
    const char *sql; /* one or more statements; runs in one transaction with its record */
} weft_migration;

typedef struct weft_db_options {
    size_t size;                      /* sizeof(weft_db_options) */
    const weft_migration *migrations; /* `migration_count` */
    size_t migration_count;
    int connections;                  /* most at a time; 0: 8 */
    int64_t busy_ns;                  /* wait for a lock; 0: 5 s */
    const weft_clock *clock;          /* NULL: system */
    bool read_only;
} weft_db_options;

/* Opens or creates `path` (mode 0600) and brings its schema up to date. A file written by a newer program, a
 * changed migration or a damaged file is refused. On failure *why (may be NULL) is a weft_free-able sentence
 * naming the file and what to do. The handle is for any thread. */
int weft_db_open(const char *path, const weft_db_options *options, weft_db **out, char **why)
    WEFT_MUST_USE;
void weft_db_close(weft_db *db);

typedef enum weft_tx_mode { WEFT_READ, WEFT_WRITE } weft_tx_mode;

/* A transaction on a connection of the pool; it belongs to one thread. WEFT_WRITE is BEGIN IMMEDIATE.
 * WEFT_EBUSY after busy_ns. An error in any statement is remembered: later statements do nothing and
 * commit rolls back and returns it. */
int weft_tx_begin(weft_db *db, weft_tx_mode mode, weft_tx **out) WEFT_MUST_USE;
int weft_tx_commit(weft_tx *tx) WEFT_MUST_USE; /* the handle is gone, whatever it returns */
void weft_tx_rollback(weft_tx *tx);            /* NULL allowed */
int weft_tx_error(const weft_tx *tx);          /* 0 or the first error */
const char *weft_tx_message(const weft_tx *tx);

/* Prepares (cached per connection), binds and is ready for _row. `types` has a letter a parameter:
 * s const char * (NULL: SQL NULL), i int, l int64_t, d double, b const void * then size_t (blob),
 * n (no argument: NULL). Never NULL; errors are remembered in the transaction. Valid until the next query
 * with the same SQL in this transaction, or its end. */
weft_stmt *weft_tx_query(weft_tx *tx, const char *sql, const char *types, ...);
/* A statement without rows; returns 0 or the error (WEFT_EEXIST for a broken UNIQUE or primary key,
 * WEFT_EINVAL for CHECK, NOT NULL or foreign key). EEXIST and EINVAL are reported, not remembered: the
 * transaction goes on. */
int weft_tx_exec(weft_tx *tx, const char *sql, const char *types, ...);
int64_t weft_tx_changes(weft_tx *tx); /* rows of the last exec */
int64_t weft_tx_last_id(weft_tx *tx);

bool weft_stmt_row(weft_stmt *stmt); /* false at the end or on error */
int64_t weft_stmt_int(weft_stmt *stmt, int column);
double weft_stmt_double(weft_stmt *stmt, int column);
const char *weft_stmt_text(weft_stmt *stmt, int column); /* "" for NULL; until the next row */
const void *weft_stmt_blob(weft_stmt *stmt, int column, size_t *len);
bool weft_stmt_null(weft_stmt *stmt, int column);

/* ---- leases: one owner at a time, with a fence ---------------------------------------------------- *
 * Table weft_lease is made by weft_db_open. `fence` grows with every change of owner; a background owner
 * passes its fence to weft_lease_check inside each of its transactions, so an owner that lost its lease
 * while asleep cannot write. */
typedef struct weft_lease {
    char name[64];
    char owner[64];
    int64_t fence;
    int64_t expires; /* wall ns */
} weft_lease;

/* WEFT_EBUSY while someone else holds it. Acquiring one's own live lease renews it (same fence). */
int weft_lease_acquire(weft_db *db, const char *name, const char *owner, int64_t ttl_ns,
                       weft_lease *out) WEFT_MUST_USE;
int weft_lease_renew(weft_db *db, weft_lease *lease, int64_t ttl_ns) WEFT_MUST_USE; /* WEFT_ECONFLICT: lost */
int weft_lease_release(weft_db *db, const weft_lease *lease);
int weft_lease_check(weft_tx *tx, const weft_lease *lease) WEFT_MUST_USE; /* WEFT_ECONFLICT: lost */

#ifdef __cplusplus
}
#endif
#endif
