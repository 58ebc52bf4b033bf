/* What the files of this room share. Read db.c first, then conn.c, tx.c and stmt.c.
 *
 * A weft_db holds two gates (FIFO semaphores): `writer` with one permit and `pool` with one a
 * connection. A transaction takes the writer's permit first (WEFT_WRITE only), then a connection,
 * so that waiting writers never hold connections readers could use. The transaction itself lives in
 * its connection. */
#ifndef WEFT_STORE_INTERNAL_H
#define WEFT_STORE_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "weft/mem.h"
#include "weft/rng.h"
#include "weft/store.h"

#define STORE_MESSAGE 512              /* longest sentence, with its '\0' */
#define STORE_CACHED 64                /* idle statements a connection keeps */
#define STORE_HANDED 1024              /* statements one transaction may hold at a time */
#define STORE_CONNECTIONS 8            /* default of weft_db_options.connections */
#define STORE_CONNECTIONS_MAX 1024     /* its maximum */
#define STORE_BUSY (5 * WEFT_NS_PER_S) /* default of busy_ns */
#define STORE_MIGRATIONS_MAX 10000
#define STORE_APPLICATION_ID 0x57454654 /* "WEFT", at byte 68 of the file */
/* Files up to this size are checked for damage whenever they are opened (about 5 ms a MiB). */
#define STORE_QUICK_CHECK (INT64_C(32) << 20)

typedef struct store_conn store_conn;

typedef struct store_waiter {
    struct store_waiter *next;
    pthread_cond_t wake;
    bool granted;
} store_waiter;

/* Semaphore that serves in order of arrival. Guarded by the lock of its weft_db. */
typedef struct store_gate {
    int free;
    store_waiter *first, *last;
} store_gate;

struct weft_db {
    char *path; /* as given */
    char *file; /* the same for sqlite: never "file:…", ":memory:" or "" */
    pid_t pid;  /* sqlite connections do not survive fork */
    bool read_only;
    int64_t busy_ns;
    const weft_clock *clock;
    pthread_mutex_t lock; /* guards all below */
    store_gate writer, pool;
    pthread_t write_owner; /* meaningful while writer.free == 0 */
    bool write_held;
    store_conn *idle; /* most recently used first */
    size_t users;     /* callers inside and transactions open, and 1 for the handle */
    bool closed;
};

typedef enum stmt_state {
    STMT_IDLE,  /* not in use */
    STMT_READY, /* bound, never stepped */
    STMT_ROW,   /* on a row */
    STMT_DONE   /* at the end */
} stmt_state;

struct weft_stmt {
    store_conn *conn;  /* NULL: stands for a statement of no transaction */
    sqlite3_stmt *raw; /* NULL: spare, or the dead statement */
    uint64_t hash;     /* of the SQL */
    stmt_state state;
    bool handed;              /* given to the caller in this transaction: not evicted */
    bool writes;              /* changes the database */
    weft_stmt *newer, *older; /* order of use */
};

struct weft_tx {
    store_conn *conn;
    weft_tx_mode mode;
    bool open;
    int error; /* the first one; sticky */
    int64_t changes;
    char message[STORE_MESSAGE];
};

struct store_conn {
    weft_db *db;
    sqlite3 *raw;
    store_conn *next;   /* in weft_db.idle */
    int64_t busy_until; /* monotonic ns */
    bool busy_fixed;    /* busy_until was set by a caller; else each wait has busy_ns */
    weft_rng jitter;
    bool trusted;        /* the authorizer lets our own SQL pass */
    const char *refused; /* why it last refused */
    sqlite3_stmt *begin_read, *begin_write, *pin, *commit, *rollback;
    weft_stmt *newest, *oldest, *spare;
    size_t cached; /* statements in the list */
    size_t handed; /* of them, handed out in this transaction */
    weft_stmt dead;
    weft_tx tx;
};

/* ---- message.c */
/* Writes the calling thread's sentence (weft_store_message) and returns `error`. */
int store_say(int error, const char *format, ...) WEFT_PRINTF(2, 3);
/* The weft error for a result code of sqlite; 0 for OK, ROW and DONE. */
int store_error(int code);
/* Says what sqlite refused: file, its message, what to do, the SQL (may be NULL). */
int store_sql_error(const store_conn *conn, int code, const char *sql);
/* Remembers `error` and the thread's sentence in the transaction unless it has one; returns
 * `error`. */
int store_tx_fail(weft_tx *tx, int error);

/* ---- conn.c */
/* `first`: switches the file to WAL and checks it. */
int store_conn_open(weft_db *db, bool first, int64_t deadline, store_conn **out) WEFT_MUST_USE;
void store_conn_close(store_conn *conn);
/* Runs our own SQL: one statement without parameters. */
int store_conn_run(store_conn *conn, const char *sql);
/* The same with one number as its result. */
int store_conn_number(store_conn *conn, const char *sql, int64_t *out) WEFT_MUST_USE;
/* Sleeps a random, growing time before try number `count`; false when `deadline` has passed. */
bool store_backoff(store_conn *conn, int count, int64_t deadline);

/* ---- db.c */
int64_t store_deadline(int64_t now, int64_t ns); /* saturates */
/* A connection, and for `write` the turn to write, until `deadline`. Pairs with store_leave. */
int store_enter(weft_db *db, bool write, int64_t deadline, store_conn **out) WEFT_MUST_USE;
void store_leave(store_conn *conn, bool write);

/* ---- stmt.c */
/* Before commit or rollback: finishes and lets go of every statement handed out. With `complete`, a
 * changing statement that was never run fails the transaction. */
void store_stmts_release(weft_tx *tx, bool complete);
void store_stmts_free(store_conn *conn);

/* ---- tx.c */
/* Commits when `rc` is 0; else rolls back, keeps the sentence of what failed and returns `rc`. */
int store_tx_end(weft_tx *tx, int rc);

/* ---- migrate.c */
int store_check_migrations(const weft_migration *migrations, size_t count) WEFT_MUST_USE;
/* Makes the file ours if it is empty; refuses another program's. */
int store_adopt(store_conn *conn) WEFT_MUST_USE;
int store_migrate(store_conn *conn, const char *component, const weft_migration *migrations,
                  size_t count) WEFT_MUST_USE;

/* ---- lease.c */
extern const weft_migration store_lease_schema[];
extern const size_t store_lease_schema_count;

#endif
