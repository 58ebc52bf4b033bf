/* Statements of a transaction: a cache a connection, binding by letters, rows.
 *
 * Invariants: a connection's list holds `cached` statements, newest first; `handed` of them belong
 * to the caller until the transaction ends and are not evicted; outside a transaction at most
 * STORE_CACHED are kept. A weft_stmt that leaves the list becomes a spare and is not freed before
 * its connection, so that a pointer kept too long finds a statement without rows and not freed
 * memory. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- the list */

static uint64_t hash_sql(const char *sql) { /* FNV-1a, 64 bits */
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *sql; sql++) hash = (hash ^ (unsigned char)*sql) * UINT64_C(0x100000001b3);
    return hash;
}

static void unlink_stmt(store_conn *conn, weft_stmt *stmt) {
    if (stmt->newer)
        stmt->newer->older = stmt->older;
    else
        conn->newest = stmt->older;
    if (stmt->older)
        stmt->older->newer = stmt->newer;
    else
        conn->oldest = stmt->newer;
    conn->cached--;
}

static void link_newest(store_conn *conn, weft_stmt *stmt) {
    stmt->newer = NULL;
    stmt->older = conn->newest;
    if (conn->newest)
        conn->newest->newer = stmt;
    else
        conn->oldest = stmt;
    conn->newest = stmt;
    conn->cached++;
}

static void evict(store_conn *conn, weft_stmt *stmt) {
    unlink_stmt(conn, stmt);
    sqlite3_finalize(stmt->raw);
    *stmt = (weft_stmt){.conn = conn, .older = conn->spare};
    conn->spare = stmt;
}

/* Makes the list shorter than `max` if it can. */
static void make_room(store_conn *conn, size_t max) {
    weft_stmt *stmt = conn->oldest;
    while (stmt && conn->cached >= max) {
        weft_stmt *newer = stmt->newer;
        if (!stmt->handed) evict(conn, stmt);
        stmt = newer;
    }
}

static weft_stmt *find(store_conn *conn, const char *sql, uint64_t hash) {
    for (weft_stmt *stmt = conn->newest; stmt; stmt = stmt->older) {
        if (stmt->hash == hash && strcmp(sqlite3_sql(stmt->raw), sql) == 0) return stmt;
    }
    return NULL;
}

void store_stmts_free(store_conn *conn) {
    while (conn->newest) evict(conn, conn->newest);
    while (conn->spare) {
        weft_stmt *next = conn->spare->older;
        weft_free(conn->spare);
        conn->spare = next;
    }
}

/* ---- failing */

static int fail_sql(weft_tx *tx, int code, const char *sql) {
    return store_tx_fail(tx, store_sql_error(tx->conn, code, sql));
}

/* The program is wrong, not its data. */
static int WEFT_PRINTF(3, 4) misuse(weft_tx *tx, const char *sql, const char *format, ...) {
    char what[200];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return store_tx_fail(
        tx, store_say(WEFT_EINTERNAL, "%s: %s, in: %.160s", tx->conn->db->path, what, sql));
}

/* ---- preparing */

/* True when nothing but blanks, comments and semicolons follows. */
static bool only_blanks(store_conn *conn, const char *tail) {
    while (*tail == ';' || *tail == ' ' || *tail == '\n' || *tail == '\t' || *tail == '\r') tail++;
    if (!*tail) return true;
    sqlite3_stmt *more = NULL;
    const char *end = tail;
    int code = sqlite3_prepare_v2(conn->raw, tail, -1, &more, &end);
    sqlite3_finalize(more);
    return code == SQLITE_OK && !more && !*end;
}

static int prepare(weft_tx *tx, const char *sql, sqlite3_stmt **out) {
    store_conn *conn = tx->conn;
    const char *tail = NULL;
    conn->trusted = false;
    int code = sqlite3_prepare_v3(conn->raw, sql, -1, SQLITE_PREPARE_PERSISTENT, out, &tail);
    const bool alone = code == SQLITE_OK && *out && only_blanks(conn, tail);
    conn->trusted = true;
    if (code != SQLITE_OK) return fail_sql(tx, code, sql);
    if (alone) return 0;
    const bool empty = !*out;
    sqlite3_finalize(*out);
    if (empty) return misuse(tx, sql, "the SQL is empty");
    return misuse(tx, sql, "more than one statement; use a call for each");
}

static weft_stmt *take_spare(store_conn *conn) {
    weft_stmt *stmt = conn->spare;
    if (!stmt) return weft_calloc(1, sizeof *stmt);
    conn->spare = stmt->older;
    return stmt;
}

/* The statement for `sql`, from the cache or new, at the front of the list; NULL on error. */
static weft_stmt *obtain(weft_tx *tx, const char *sql) {
    store_conn *conn = tx->conn;
    const uint64_t hash = hash_sql(sql);
    weft_stmt *stmt = find(conn, sql, hash);
    if (stmt) {
        unlink_stmt(conn, stmt);
        link_newest(conn, stmt);
        return stmt;
    }
    if (conn->handed >= STORE_HANDED) {
        (void)store_tx_fail(
            tx,
            store_say(WEFT_ELIMIT,
                      "%s: %d different statements in one transaction; give values as parameters "
                      "instead of writing them into the SQL, in: %.160s",
                      conn->db->path, STORE_HANDED, sql));
        return NULL;
    }
    sqlite3_stmt *raw = NULL;
    if (prepare(tx, sql, &raw)) return NULL;
    make_room(conn, STORE_CACHED);
    stmt = take_spare(conn);
    if (!stmt) {
        sqlite3_finalize(raw);
        (void)store_tx_fail(tx, store_say(WEFT_ENOMEM, "%s: out of memory", conn->db->path));
        return NULL;
    }
    *stmt = (weft_stmt){.conn = conn, .raw = raw, .hash = hash};
    stmt->writes = !sqlite3_stmt_readonly(raw);
    link_newest(conn, stmt);
    return stmt;
}

/* ---- binding */

static int check_types(weft_tx *tx, const weft_stmt *stmt, const char *sql, const char *types) {
    const size_t given = strlen(types);
    const int wanted = sqlite3_bind_parameter_count(stmt->raw);
    const size_t known = strspn(types, "sildbn");
    if (known < given)
        return misuse(tx, sql, "types \"%.32s\" has '%c'; letters are s i l d b n", types,
                      types[known]);
    if (given != (size_t)wanted)
        return misuse(tx, sql, "%d parameters but types \"%.32s\" has %zu letters", wanted, types,
                      given);
    return 0;
}

static int bind_blob(sqlite3_stmt *raw, int at, const void *data, size_t size,
                     sqlite3_destructor_type keep) {
    if (!data && size) return SQLITE_MISUSE;
    /* An empty blob is not NULL, whatever pointer comes with it. */
    if (!size) return sqlite3_bind_zeroblob(raw, at, 0);
    return sqlite3_bind_blob64(raw, at, data, size, keep);
}

static int bind_text(sqlite3_stmt *raw, int at, const char *text, sqlite3_destructor_type keep) {
    if (!text) return sqlite3_bind_null(raw, at);
    return sqlite3_bind_text64(raw, at, text, strlen(text), keep, SQLITE_UTF8);
}

/* `keep` is SQLITE_STATIC when the arguments outlive the run. */
static int bind(weft_tx *tx, const weft_stmt *stmt, const char *sql, const char *types,
                sqlite3_destructor_type keep, va_list args) {
    for (int at = 1; *types; types++, at++) {
        int code = SQLITE_OK;
        switch (*types) {
        case 's':
            code = bind_text(stmt->raw, at, va_arg(args, const char *), keep);
            break;
        case 'i':
            code = sqlite3_bind_int(stmt->raw, at, va_arg(args, int));
            break;
        case 'l':
            code = sqlite3_bind_int64(stmt->raw, at, va_arg(args, int64_t));
            break;
        case 'd':
            code = sqlite3_bind_double(stmt->raw, at, va_arg(args, double));
            break;
        case 'b': {
            const void *data = va_arg(args, const void *);
            const size_t size = va_arg(args, size_t);
            code = bind_blob(stmt->raw, at, data, size, keep);
            break;
        }
        default:
            code = sqlite3_bind_null(stmt->raw, at);
            break;
        }
        if (code == SQLITE_MISUSE)
            return misuse(tx, sql, "parameter %d is a blob at NULL with a size", at);
        if (code != SQLITE_OK) return fail_sql(tx, code, sql);
    }
    return 0;
}

/* ---- running */

/* Lets go of a run: a changing statement that began is run to its end. */
static void finish(weft_tx *tx, weft_stmt *stmt) {
    if (stmt->writes && stmt->state == STMT_ROW && !tx->error) {
        int code = SQLITE_ROW;
        while (code == SQLITE_ROW) code = sqlite3_step(stmt->raw);
        if (store_error(code)) (void)fail_sql(tx, code, sqlite3_sql(stmt->raw));
    }
    (void)sqlite3_reset(stmt->raw);
    (void)sqlite3_clear_bindings(stmt->raw);
    stmt->state = STMT_IDLE;
}

static int never_run(weft_tx *tx, const weft_stmt *stmt) {
    if (!stmt->writes || stmt->state != STMT_READY || tx->error) return 0;
    return misuse(tx, sqlite3_sql(stmt->raw),
                  "a changing statement was never run; call weft_stmt_row until it is false");
}

void store_stmts_release(weft_tx *tx, bool complete) {
    store_conn *conn = tx->conn;
    for (weft_stmt *stmt = conn->newest; stmt && conn->handed; stmt = stmt->older) {
        if (!stmt->handed) continue;
        if (complete) (void)never_run(tx, stmt);
        finish(tx, stmt);
        stmt->handed = false;
        conn->handed--;
    }
    make_room(conn, STORE_CACHED + 1);
}

/* Whether this statement may run here; the common half of query and exec. */
static weft_stmt *ready(weft_tx *tx, const char *sql, const char *types, bool rows) {
    if (!sql) {
        (void)misuse(tx, "(NULL)", "the SQL is NULL");
        return NULL;
    }
    weft_stmt *stmt = obtain(tx, sql);
    if (!stmt) return NULL;
    if (stmt->handed) {
        if (never_run(tx, stmt)) return NULL;
        finish(tx, stmt);
        if (tx->error) return NULL;
    }
    int rc = 0;
    if (rows && !sqlite3_column_count(stmt->raw))
        rc = misuse(tx, sql, "the statement has no rows; use weft_tx_exec");
    else if (!rows && sqlite3_column_count(stmt->raw))
        rc = misuse(tx, sql, "the statement has rows; use weft_tx_query");
    else if (stmt->writes && tx->mode == WEFT_READ)
        rc = misuse(tx, sql, "a WEFT_READ transaction changes nothing; begin it with WEFT_WRITE");
    else
        rc = check_types(tx, stmt, sql, types);
    return rc ? NULL : stmt;
}

weft_stmt *weft_tx_query(weft_tx *tx, const char *sql, const char *types, ...) {
    static weft_stmt nowhere; /* never written: conn is NULL */
    if (!tx) return &nowhere;
    weft_stmt *const dead = &tx->conn->dead;
    if (!tx->open || tx->error) return dead;
    if (!types) types = "";
    weft_stmt *stmt = ready(tx, sql, types, true);
    if (!stmt) return dead;
    va_list args;
    va_start(args, types);
    int rc = bind(tx, stmt, sql, types, SQLITE_TRANSIENT, args);
    va_end(args);
    if (rc) return dead;
    stmt->state = STMT_READY;
    if (!stmt->handed) {
        stmt->handed = true;
        tx->conn->handed++;
    }
    return stmt;
}

/* Rows the last run changed; sqlite3_changes alone would repeat an older statement's. */
static int64_t changes_since(const store_conn *conn, int64_t before) {
    return sqlite3_total_changes64(conn->raw) == before ? 0 : sqlite3_changes64(conn->raw);
}

static int run(weft_tx *tx, weft_stmt *stmt, const char *sql) {
    store_conn *conn = tx->conn;
    const int64_t before = sqlite3_total_changes64(conn->raw);
    const int code = sqlite3_step(stmt->raw);
    int rc = store_error(code);
    if (!rc) {
        tx->changes = changes_since(conn, before);
        return 0;
    }
    (void)store_sql_error(conn, code, sql);
    /* ON CONFLICT ROLLBACK and the graver errors have ended the transaction already. */
    if ((rc == WEFT_EEXIST || rc == WEFT_EINVAL) && !sqlite3_get_autocommit(conn->raw)) {
        memcpy(tx->message, weft_store_message(), sizeof tx->message);
        return rc;
    }
    return store_tx_fail(tx, rc);
}

int weft_tx_exec(weft_tx *tx, const char *sql, const char *types, ...) {
    if (!tx || !tx->open)
        return store_say(WEFT_EINTERNAL,
                         "weft_tx_exec: there is no such transaction, or it has ended");
    tx->changes = 0;
    if (tx->error) return tx->error;
    if (!types) types = "";
    weft_stmt *stmt = ready(tx, sql, types, false);
    if (!stmt) return tx->error;
    va_list args;
    va_start(args, types);
    int rc = bind(tx, stmt, sql, types, SQLITE_STATIC, args);
    va_end(args);
    if (!rc) rc = run(tx, stmt, sql);
    (void)sqlite3_reset(stmt->raw);
    (void)sqlite3_clear_bindings(stmt->raw);
    return rc;
}

/* ---- rows */

/* The transaction a statement is live in, or NULL. */
static weft_tx *live(const weft_stmt *stmt) {
    if (!stmt || !stmt->raw || !stmt->handed) return NULL;
    weft_tx *tx = &stmt->conn->tx;
    return tx->open && !tx->error ? tx : NULL;
}

bool weft_stmt_row(weft_stmt *stmt) {
    weft_tx *tx = live(stmt);
    if (!tx || stmt->state == STMT_IDLE || stmt->state == STMT_DONE) return false;
    const int code = sqlite3_step(stmt->raw);
    if (code == SQLITE_ROW) {
        stmt->state = STMT_ROW;
        return true;
    }
    if (code != SQLITE_DONE)
        (void)fail_sql(tx, code, sqlite3_sql(stmt->raw));
    else if (stmt->writes)
        tx->changes = sqlite3_changes64(tx->conn->raw);
    (void)sqlite3_reset(stmt->raw);
    stmt->state = STMT_DONE;
    return false;
}

/* False when there is no such value; the program's mistakes fail the transaction. */
static bool has_column(const weft_stmt *stmt, int column) {
    weft_tx *tx = live(stmt);
    if (!tx) return false;
    const char *sql = sqlite3_sql(stmt->raw);
    if (stmt->state != STMT_ROW) {
        (void)misuse(tx, sql,
                     "a column was read without a row; call weft_stmt_row first and heed it");
        return false;
    }
    const int count = sqlite3_column_count(stmt->raw);
    if (column >= 0 && column < count) return true;
    (void)misuse(tx, sql, "column %d was read; there are 0 to %d", column, count - 1);
    return false;
}

int64_t weft_stmt_int(weft_stmt *stmt, int column) {
    return has_column(stmt, column) ? sqlite3_column_int64(stmt->raw, column) : 0;
}

double weft_stmt_double(weft_stmt *stmt, int column) {
    return has_column(stmt, column) ? sqlite3_column_double(stmt->raw, column) : 0;
}

static void *out_of_memory(const weft_stmt *stmt) {
    (void)fail_sql(&stmt->conn->tx, SQLITE_NOMEM, sqlite3_sql(stmt->raw));
    return NULL;
}

const char *weft_stmt_text(weft_stmt *stmt, int column) {
    if (!has_column(stmt, column)) return "";
    if (sqlite3_column_type(stmt->raw, column) == SQLITE_NULL) return "";
    const char *text = (const char *)sqlite3_column_text(stmt->raw, column);
    if (text) return text;
    (void)out_of_memory(stmt);
    return "";
}

const void *weft_stmt_blob(weft_stmt *stmt, int column, size_t *len) {
    if (len) *len = 0;
    if (!has_column(stmt, column)) return NULL;
    if (sqlite3_column_type(stmt->raw, column) == SQLITE_NULL) return NULL;
    const void *blob = sqlite3_column_blob(stmt->raw, column);
    const int size = sqlite3_column_bytes(stmt->raw, column);
    if (!blob) return size ? out_of_memory(stmt) : "";
    if (len) *len = (size_t)size;
    return blob;
}

bool weft_stmt_null(weft_stmt *stmt, int column) {
    if (!has_column(stmt, column)) return true;
    return sqlite3_column_type(stmt->raw, column) == SQLITE_NULL;
}
