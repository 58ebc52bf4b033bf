/* One connection: how a file is opened, and what a statement may not do. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* ---- busy */

/* sqlite's locks have no event to wait for across processes, so a waiter tries again after a random
 * time (full jitter) under a ceiling that doubles from 0.2 ms to 25 ms. Writers of one process do
 * not come here: they queue at the writer's gate. */
bool store_backoff(store_conn *conn, int count, int64_t deadline) {
    const int64_t left = deadline - weft_now(conn->db->clock);
    if (left <= 0) return false;
    int64_t ceiling = WEFT_NS_PER_MS / 5 << (count < 7 ? count : 7);
    if (ceiling > 25 * WEFT_NS_PER_MS) ceiling = 25 * WEFT_NS_PER_MS;
    int64_t ns = 50 * WEFT_NS_PER_US +
                 (int64_t)weft_rng_below(&conn->jitter, (uint64_t)(ceiling - 50 * WEFT_NS_PER_US));
    if (ns > left) ns = left;
    const struct timespec pause = {ns / WEFT_NS_PER_S, ns % WEFT_NS_PER_S};
    (void)nanosleep(&pause, NULL); /* a signal only makes the pause shorter */
    return true;
}

static int on_busy(void *user, int count) {
    store_conn *conn = user;
    if (!conn->busy_fixed && count == 0)
        conn->busy_until = store_deadline(weft_now(conn->db->clock), conn->db->busy_ns);
    return store_backoff(conn, count, conn->busy_until);
}

/* ---- what callers' SQL and migrations may not do */

static bool listed(const char *name, const char *const *names) {
    for (; *names; names++) {
        if (strcasecmp(name, *names) == 0) return true;
    }
    return false;
}

/* `arg` is NULL when the pragma is only read. */
static bool pragma_allowed(const char *name, const char *arg) {
    static const char *const with_arg[] = {
        "table_info",       "table_xinfo",       "table_list",         "index_list",
        "index_info",       "index_xinfo",       "quick_check",        "integrity_check",
        "foreign_key_list", "foreign_key_check", "defer_foreign_keys", NULL};
    static const char *const without[] = {"user_version", "application_id",  "page_count",
                                          "page_size",    "freelist_count",  "data_version",
                                          "journal_mode", "synchronous",     "foreign_keys",
                                          "encoding",     "compile_options", NULL};
    return listed(name, with_arg) || (!arg && listed(name, without));
}

static int authorize(void *user, int action, const char *a, const char *b, const char *schema,
                     const char *trigger) {
    store_conn *conn = user;
    (void)schema;
    (void)trigger;
    if (conn->trusted) return SQLITE_OK;
    const char *table = NULL;
    switch (action) {
    case SQLITE_TRANSACTION:
        conn->refused = "BEGIN, COMMIT and ROLLBACK belong to weft_tx_begin, _commit and _rollback";
        return SQLITE_DENY;
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
        conn->refused = "ATTACH and DETACH are not allowed: a file belongs to one service";
        return SQLITE_DENY;
    case SQLITE_PRAGMA:
        if (pragma_allowed(a ? a : "", b)) return SQLITE_OK;
        conn->refused = "this PRAGMA is set by weft_db_open and may not be changed";
        return SQLITE_DENY;
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
    case SQLITE_DROP_TABLE:
        table = a;
        break;
    case SQLITE_ALTER_TABLE:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_CREATE_TEMP_TRIGGER:
        table = b;
        break;
    default:
        break;
    }
    if (table && strcasecmp(table, "weft_migration") == 0) {
        conn->refused = "table weft_migration is written by weft_db_open only";
        return SQLITE_DENY;
    }
    return SQLITE_OK;
}

/* ---- our own SQL */

static int prepare_own(store_conn *conn, const char *sql, sqlite3_stmt **out) {
    int code = sqlite3_prepare_v3(conn->raw, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    return code == SQLITE_OK ? 0 : store_sql_error(conn, code, sql);
}

static int run_own(store_conn *conn, const char *sql, int64_t *number, char *text, size_t size) {
    sqlite3_stmt *stmt = NULL;
    int rc = prepare_own(conn, sql, &stmt);
    if (rc) return rc;
    int code = sqlite3_step(stmt);
    if (code == SQLITE_ROW) {
        if (number) *number = sqlite3_column_int64(stmt, 0);
        const char *got = text ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
        if (text) (void)snprintf(text, size, "%s", got ? got : "");
        if (text && !got) code = SQLITE_NOMEM;
    }
    if (store_error(code)) rc = store_sql_error(conn, code, sql);
    sqlite3_finalize(stmt);
    return rc;
}

int store_conn_run(store_conn *conn, const char *sql) { return run_own(conn, sql, NULL, NULL, 0); }

int store_conn_number(store_conn *conn, const char *sql, int64_t *out) {
    return run_own(conn, sql, out, NULL, 0);
}

/* ---- open */

static int set_flag(store_conn *conn, int flag, int on) {
    int now = -1;
    int code = sqlite3_db_config(conn->raw, flag, on, &now);
    if (code == SQLITE_OK && now == on) return 0;
    return store_say(WEFT_EUNSUPPORTED,
                     "%s: this sqlite cannot set option %d; install 3.37 or newer", conn->db->path,
                     flag);
}

static int configure(store_conn *conn) {
    static const struct {
        int flag, on;
    } flags[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},      /* no SQL may overwrite the file's own structures */
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0}, /* a crafted file cannot call functions from views */
        {SQLITE_DBCONFIG_ENABLE_FKEY, 1},
        {SQLITE_DBCONFIG_DQS_DML, 0}, /* "typo" is an unknown column, not a string */
        {SQLITE_DBCONFIG_DQS_DDL, 0},
    };
    static const char *const pragmas[] = {
        "PRAGMA cell_size_check=ON", /* damage is found when a page is read, not when it is used */
        /* FULL syncs the WAL at each commit. NORMAL would be quicker, but a power cut could then
         * take back a commit that was answered: a charged payment without a record. */
        "PRAGMA synchronous=FULL", "PRAGMA cache_size=-2048", /* 2 MiB a connection */
        "PRAGMA journal_size_limit=67108864", /* a WAL that a long reader grew shrinks again */
    };
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        int rc = set_flag(conn, flags[i].flag, flags[i].on);
        if (rc) return rc;
    }
    (void)sqlite3_limit(conn->raw, SQLITE_LIMIT_ATTACHED, 0);
    (void)sqlite3_busy_handler(conn->raw, on_busy, conn);
    (void)sqlite3_set_authorizer(conn->raw, authorize, conn);
    for (size_t i = 0; i < sizeof pragmas / sizeof pragmas[0]; i++) {
        int rc = store_conn_run(conn, pragmas[i]);
        if (rc) return rc;
    }
    return 0;
}

/* Switching to WAL takes an exclusive lock, for which sqlite does not always call the busy handler:
 * two processes that open a new file at once meet here. */
static int use_wal(store_conn *conn, int64_t deadline) {
    char mode[16] = "";
    for (int count = 0;; count++) {
        int rc = run_own(conn, "PRAGMA journal_mode", NULL, mode, sizeof mode);
        if (!rc && strcmp(mode, "wal") != 0 && !conn->db->read_only)
            rc = run_own(conn, "PRAGMA journal_mode=WAL", NULL, mode, sizeof mode);
        if (!rc && strcmp(mode, "wal") == 0) return 0;
        if (!rc)
            return store_say(WEFT_EUNSUPPORTED,
                             "%s: the journal mode is %s and cannot be WAL here; use a local file "
                             "system with shared memory",
                             conn->db->path, mode);
        if (rc != WEFT_EBUSY || !store_backoff(conn, count, deadline)) return rc;
    }
}

static int check_damage(store_conn *conn) {
    int64_t pages = 0;
    int64_t size = 0;
    int rc = store_conn_number(conn, "PRAGMA page_count", &pages);
    if (!rc) rc = store_conn_number(conn, "PRAGMA page_size", &size);
    if (rc || pages > STORE_QUICK_CHECK / (size > 0 ? size : 1)) return rc;
    char text[200] = "";
    rc = run_own(conn, "PRAGMA quick_check(1)", NULL, text, sizeof text);
    if (rc || strcmp(text, "ok") == 0) return rc;
    for (char *c = text; *c; c++) {
        if (*c == '\n') *c = ' ';
    }
    return store_say(WEFT_EIO,
                     "%s: the file is damaged (%s); restore it from a backup, or move it away to "
                     "start empty",
                     conn->db->path, text);
}

static int prepare_turns(store_conn *conn) {
    const struct {
        const char *sql;
        sqlite3_stmt **out;
    } turns[] = {
        {"BEGIN", &conn->begin_read},
        {"BEGIN IMMEDIATE", &conn->begin_write},
        /* A deferred transaction takes its snapshot at the first read: this is it. */
        {"SELECT 1 FROM sqlite_schema LIMIT 1", &conn->pin},
        {"COMMIT", &conn->commit},
        {"ROLLBACK", &conn->rollback},
    };
    for (size_t i = 0; i < sizeof turns / sizeof turns[0]; i++) {
        int rc = prepare_own(conn, turns[i].sql, turns[i].out);
        if (rc) return rc;
    }
    return 0;
}

int store_conn_open(weft_db *db, bool first, int64_t deadline, store_conn **out) {
    store_conn *conn = weft_calloc(1, sizeof *conn);
    if (!conn) return store_say(WEFT_ENOMEM, "%s: out of memory", db->path);
    conn->db = db;
    conn->trusted = true;
    conn->busy_until = deadline;
    conn->busy_fixed = true;
    conn->dead.conn = conn;
    conn->tx.conn = conn;
    weft_rng_seed(&conn->jitter, weft_rng_system_seed());
    /* NOMUTEX: a connection has one thread at a time, handed over under the lock of weft_db. */
    const int flags = (db->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) |
                      SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
    int code = sqlite3_open_v2(db->file, &conn->raw, flags, NULL);
    int rc = 0;
    if (!conn->raw)
        rc = store_say(WEFT_ENOMEM, "%s: out of memory", db->path);
    else if (code != SQLITE_OK)
        rc = store_sql_error(conn, code, NULL);
    if (!rc) rc = configure(conn);
    if (!rc && first) rc = use_wal(conn, deadline);
    if (!rc && first) rc = check_damage(conn);
    if (!rc) rc = prepare_turns(conn);
    if (rc) {
        store_conn_close(conn);
        return rc;
    }
    *out = conn;
    return 0;
}

void store_conn_close(store_conn *conn) {
    if (!conn) return;
    conn->busy_fixed = true; /* closing waits for nobody */
    conn->busy_until = INT64_MIN / 2;
    store_stmts_free(conn);
    sqlite3_stmt *const turns[] = {conn->begin_read, conn->begin_write, conn->pin, conn->commit,
                                   conn->rollback};
    for (size_t i = 0; i < sizeof turns / sizeof turns[0]; i++) sqlite3_finalize(turns[i]);
    (void)sqlite3_close_v2(conn->raw);
    weft_free(conn);
}
