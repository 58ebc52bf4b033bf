/* Transactions: begin, remember the first error, commit or roll back. */
#include "internal.h"

#include <string.h>

static int step_turn(store_conn *conn, sqlite3_stmt *turn) {
    int code = sqlite3_step(turn);
    int rc = store_error(code) ? store_sql_error(conn, code, sqlite3_sql(turn)) : 0;
    (void)sqlite3_reset(turn);
    return rc;
}

static int begin(store_conn *conn, weft_tx_mode mode) {
    if (mode == WEFT_WRITE) return step_turn(conn, conn->begin_write);
    int rc = step_turn(conn, conn->begin_read);
    if (!rc) rc = step_turn(conn, conn->pin);
    return rc;
}

/* Keeps the thread's sentence: it is about what came first. */
static void roll_back(store_conn *conn) {
    if (sqlite3_get_autocommit(conn->raw)) return;
    char message[STORE_MESSAGE];
    memcpy(message, weft_store_message(), sizeof message);
    (void)step_turn(conn, conn->rollback);
    (void)store_say(0, "%s", message);
}

int weft_tx_begin(weft_db *db, weft_tx_mode mode, weft_tx **out) {
    if (!db || !out || (mode != WEFT_READ && mode != WEFT_WRITE))
        return store_say(WEFT_EINVAL,
                         "weft_tx_begin: needs a handle, WEFT_READ or WEFT_WRITE, and out");
    if (db->read_only && mode == WEFT_WRITE)
        return store_say(WEFT_EUNSUPPORTED,
                         "%s: was opened read_only; a WEFT_WRITE needs another handle", db->path);
    store_conn *conn = NULL;
    const int64_t deadline = store_deadline(weft_now(db->clock), db->busy_ns);
    int rc = store_enter(db, mode == WEFT_WRITE, deadline, &conn);
    if (rc) return rc;
    rc = begin(conn, mode);
    conn->busy_fixed = false;
    if (rc) {
        roll_back(conn);
        store_leave(conn, mode == WEFT_WRITE);
        return rc;
    }
    if (mode == WEFT_WRITE) sqlite3_set_last_insert_rowid(conn->raw, 0);
    weft_tx *tx = &conn->tx;
    tx->mode = mode;
    tx->open = true;
    tx->error = 0;
    tx->changes = 0;
    tx->message[0] = '\0';
    *out = tx;
    return 0;
}

static void leave(weft_tx *tx) {
    store_conn *conn = tx->conn;
    roll_back(conn);
    tx->open = false;
    store_leave(conn, tx->mode == WEFT_WRITE);
}

int weft_tx_commit(weft_tx *tx) {
    if (!tx || !tx->open)
        return store_say(WEFT_EINTERNAL,
                         "weft_tx_commit: there is no such transaction, or it has ended");
    store_stmts_release(tx, true);
    int rc = tx->error;
    if (rc) {
        (void)store_say(rc, "%s", tx->message);
    } else if (sqlite3_get_autocommit(tx->conn->raw)) {
        rc = store_say(WEFT_EINTERNAL, "%s: sqlite ended the transaction by itself",
                       tx->conn->db->path);
    } else {
        rc = step_turn(tx->conn, tx->conn->commit);
    }
    leave(tx);
    return rc;
}

void weft_tx_rollback(weft_tx *tx) {
    if (!tx || !tx->open) return;
    store_stmts_release(tx, false);
    leave(tx);
}

int store_tx_end(weft_tx *tx, int rc) {
    if (!rc) return weft_tx_commit(tx);
    char message[STORE_MESSAGE];
    memcpy(message, weft_store_message(), sizeof message);
    weft_tx_rollback(tx);
    return store_say(rc, "%s", message);
}

int weft_tx_error(const weft_tx *tx) { return tx ? tx->error : WEFT_EINVAL; }

const char *weft_tx_message(const weft_tx *tx) { return tx ? tx->message : ""; }

int64_t weft_tx_changes(weft_tx *tx) { return tx && tx->open ? tx->changes : 0; }

int64_t weft_tx_last_id(weft_tx *tx) {
    return tx && tx->open ? sqlite3_last_insert_rowid(tx->conn->raw) : 0;
}
