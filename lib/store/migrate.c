/* Schema versions. Table weft_migration has a row for each migration that ran, by component: "app"
 * is the list given to weft_db_open, "weft" our own tables, others belong to libraries
 * (weft_db_migrate). user_version of the file repeats the version of "app" for people with a sqlite
 * shell. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

#include "sha256.h"

int store_check_migrations(const weft_migration *migrations, size_t count) {
    if (count > STORE_MIGRATIONS_MAX)
        return store_say(WEFT_EINVAL, "%zu migrations; at most %d are taken", count,
                         STORE_MIGRATIONS_MAX);
    for (size_t i = 0; i < count; i++) {
        const weft_migration *m = &migrations[i];
        if (!m->name || !*m->name || !m->sql || !*m->sql)
            return store_say(WEFT_EINVAL, "migration %zu has no %s; a migration needs name and sql",
                             i + 1, m->name && *m->name ? "sql" : "name");
    }
    return 0;
}

/* ---- adopting a file */

#define ADOPT                                                                                    \
    "CREATE TABLE weft_migration (component TEXT NOT NULL, version INTEGER NOT NULL, name TEXT " \
    "NOT NULL, hash TEXT NOT NULL, applied INTEGER NOT NULL, PRIMARY KEY (component, version)) " \
    "STRICT, WITHOUT ROWID"

/* 0 ours, 1 empty, negative: refused. */
static int whose(void *arg) {
    store_conn *conn = arg;
    int64_t id = 0;
    int64_t objects = 0;
    int64_t records = 0;
    int rc = store_conn_number(conn, "PRAGMA application_id", &id);
    if (!rc) rc = store_conn_number(conn, "SELECT count(*) FROM sqlite_schema", &objects);
    if (rc) return rc;
    if (id == 0 && objects == 0) return 1;
    if (id != STORE_APPLICATION_ID)
        return store_say(
            WEFT_EUNSUPPORTED,
            "%s: is a database of another program (application id %lld, %lld tables and "
            "indexes); choose another file",
            conn->db->path, (long long)id, (long long)objects);
    rc = store_conn_number(
        conn, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'weft_migration'",
        &records);
    if (!rc && !records)
        rc = store_say(WEFT_EIO, "%s: table weft_migration is gone; restore the file from a backup",
                       conn->db->path);
    return rc;
}

static int abandon(store_conn *conn, int rc) {
    if (!sqlite3_get_autocommit(conn->raw)) {
        char message[STORE_MESSAGE]; /* of the first failure */
        (void)snprintf(message, sizeof message, "%s", weft_store_message());
        (void)store_conn_run(conn, "ROLLBACK");
        (void)store_say(rc, "%s", message);
    }
    return rc;
}

/* Several questions, one snapshot: in between another process may adopt the file or migrate it. */
static int in_snapshot(store_conn *conn, int (*ask)(void *), void *arg) {
    int rc = store_conn_run(conn, "BEGIN");
    if (rc) return rc;
    rc = ask(arg);
    if (rc < 0) return abandon(conn, rc);
    const int ended = store_conn_run(conn, "COMMIT");
    return ended ? ended : rc;
}

static int adopt_now(store_conn *conn) {
    int rc = whose(conn); /* someone else may have been quicker */
    if (rc <= 0) return rc;
    char sql[64];
    (void)snprintf(sql, sizeof sql, "PRAGMA application_id=%d", STORE_APPLICATION_ID);
    rc = store_conn_run(conn, ADOPT);
    if (!rc) rc = store_conn_run(conn, sql);
    if (!rc) rc = store_conn_run(conn, "COMMIT");
    return rc;
}

int store_adopt(store_conn *conn) {
    int rc = in_snapshot(conn, whose, conn);
    if (rc <= 0) return rc;
    if (conn->db->read_only)
        return store_say(WEFT_ENOTFOUND, "%s: has no schema yet; open it for writing first",
                         conn->db->path);
    rc = store_conn_run(conn, "BEGIN IMMEDIATE");
    if (rc) return rc;
    return abandon(conn, adopt_now(conn));
}

/* ---- what is recorded against what the program has */

typedef struct migrate_run {
    store_conn *conn;
    const char *component;
    const weft_migration *migrations;
    size_t count;
    size_t applied; /* recorded in the file */
} migrate_run;

static int differs(const migrate_run *run, size_t at, const char *name, const char *recorded,
                   const char *now) {
    const char *path = run->conn->db->path;
    if (strcmp(name, run->migrations[at].name) == 0)
        return store_say(
            WEFT_ECONFLICT,
            "%s: migration %zu \"%s\" of %s was changed after it ran here (sha256 %.12s, "
            "now %.12s); put its text back and add a new migration",
            path, at + 1, name, run->component, recorded, now);
    for (size_t i = 0; i < run->count; i++) {
        if (strcmp(name, run->migrations[i].name) == 0)
            return store_say(
                WEFT_ECONFLICT,
                "%s: migrations of %s are out of order: \"%s\" ran as number %zu and is "
                "number %zu now; new ones go to the end",
                path, run->component, name, at + 1, i + 1);
    }
    return store_say(
        WEFT_ECONFLICT,
        "%s: migration %zu of %s is \"%s\" in the file and \"%s\" in this program; is it "
        "another service's file?",
        path, at + 1, run->component, name, run->migrations[at].name);
}

/* One recorded row; counts it in run->applied. */
static int compare(migrate_run *run, sqlite3_stmt *row) {
    const size_t at = run->applied++;
    const int64_t version = sqlite3_column_int64(row, 0);
    const char *name = (const char *)sqlite3_column_text(row, 1);
    const char *hash = (const char *)sqlite3_column_text(row, 2);
    if (!name || !hash) return store_say(WEFT_ENOMEM, "%s: out of memory", run->conn->db->path);
    if (version != (int64_t)at + 1)
        return store_say(
            WEFT_EIO,
            "%s: the record of migration %zu of %s is missing; restore the file from a "
            "backup",
            run->conn->db->path, at + 1, run->component);
    if (at >= run->count) return 0; /* said by check_records, with the full number */
    char now[STORE_SHA256_TEXT];
    store_sha256_text(run->migrations[at].sql, strlen(run->migrations[at].sql), now);
    return strcmp(now, hash) == 0 ? 0 : differs(run, at, name, hash, now);
}

static int check_records(void *arg) {
    migrate_run *run = arg;
    static const char sql[] = "SELECT version, name, hash FROM weft_migration WHERE component = ?1 "
                              "ORDER BY version";
    store_conn *conn = run->conn;
    sqlite3_stmt *rows = NULL;
    run->applied = 0;
    int code = sqlite3_prepare_v2(conn->raw, sql, -1, &rows, NULL);
    if (code == SQLITE_OK) code = sqlite3_bind_text(rows, 1, run->component, -1, SQLITE_STATIC);
    int rc = 0;
    while (!rc && code == SQLITE_OK && (code = sqlite3_step(rows)) == SQLITE_ROW) {
        rc = compare(run, rows);
        code = SQLITE_OK;
    }
    if (!rc && store_error(code)) rc = store_sql_error(conn, code, sql);
    sqlite3_finalize(rows);
    if (rc) return rc;
    if (run->applied > run->count)
        return store_say(
            WEFT_EUNSUPPORTED,
            "%s: the schema of %s is at version %zu and this program knows %zu: a newer "
            "program wrote it; run that one or restore a backup",
            conn->db->path, run->component, run->applied, run->count);
    if (strcmp(run->component, "app") != 0) return 0;
    int64_t version = 0;
    rc = store_conn_number(conn, "PRAGMA user_version", &version);
    if (!rc && version != (int64_t)run->applied)
        rc = store_say(WEFT_EIO,
                       "%s: user_version is %lld and %zu migrations are recorded; something else "
                       "changed it: restore a backup",
                       conn->db->path, (long long)version, run->applied);
    return rc;
}

/* ---- running one */

static int line_of(const char *sql, const char *at) {
    int line = 1;
    for (; sql < at && *sql; sql++) line += *sql == '\n';
    return line;
}

static int script_error(const migrate_run *run, int code, const char *at) {
    const store_conn *conn = run->conn;
    const weft_migration *m = &run->migrations[run->applied];
    while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r') at++;
#if SQLITE_VERSION_NUMBER >= 3038000
    const int offset = sqlite3_error_offset(conn->raw);
    if (offset > 0 && (size_t)offset < strlen(at)) at += offset;
#endif
    const int rc = store_sql_error(conn, code, NULL);
    /* The path is said once, by the inner sentence. */
    return store_say(rc, "%s (migration %zu \"%s\" of %s, line %d)", weft_store_message(),
                     run->applied + 1, m->name, run->component, line_of(m->sql, at));
}

static int run_script(migrate_run *run) {
    store_conn *conn = run->conn;
    const weft_migration *m = &run->migrations[run->applied];
    const char *at = m->sql;
    while (*at) {
        sqlite3_stmt *stmt = NULL;
        const char *next = NULL;
        conn->trusted = false;
        int code = sqlite3_prepare_v2(conn->raw, at, -1, &stmt, &next);
        conn->trusted = true;
        if (code == SQLITE_OK && stmt) {
            do {
                code = sqlite3_step(stmt);
            } while (code == SQLITE_ROW);
        }
        int rc = store_error(code) ? script_error(run, code, at) : 0;
        sqlite3_finalize(stmt);
        if (rc) return rc;
        at = next;
    }
    if (!sqlite3_get_autocommit(conn->raw)) return 0;
    return store_say(WEFT_EINTERNAL,
                     "%s: migration %zu \"%s\" of %s ended its transaction (ON CONFLICT ROLLBACK?)",
                     conn->db->path, run->applied + 1, m->name, run->component);
}

/* Foreign keys are off while a migration runs, so that it can rebuild tables; here they are
 * checked. */
static int check_foreign_keys(const migrate_run *run) {
    static const char sql[] = "PRAGMA foreign_key_check";
    store_conn *conn = run->conn;
    sqlite3_stmt *rows = NULL;
    int rc = 0;
    int code = sqlite3_prepare_v2(conn->raw, sql, -1, &rows, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(rows);
    if (code == SQLITE_ROW) {
        const char *table = (const char *)sqlite3_column_text(rows, 0);
        const char *parent = (const char *)sqlite3_column_text(rows, 2);
        rc = store_say(
            WEFT_EINVAL,
            "%s: migration %zu \"%s\" of %s leaves row %lld of %s pointing at no row of %s",
            conn->db->path, run->applied + 1, run->migrations[run->applied].name, run->component,
            (long long)sqlite3_column_int64(rows, 1), table ? table : "?", parent ? parent : "?");
    } else if (store_error(code)) {
        rc = store_sql_error(conn, code, sql);
    }
    sqlite3_finalize(rows);
    return rc;
}

static int record(const migrate_run *run) {
    static const char sql[] = "INSERT INTO weft_migration VALUES (?1, ?2, ?3, ?4, ?5)";
    store_conn *conn = run->conn;
    const weft_migration *m = &run->migrations[run->applied];
    char hash[STORE_SHA256_TEXT];
    store_sha256_text(m->sql, strlen(m->sql), hash);
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(conn->raw, sql, -1, &stmt, NULL);
    if (code == SQLITE_OK) code = sqlite3_bind_text(stmt, 1, run->component, -1, SQLITE_STATIC);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(stmt, 2, (int64_t)run->applied + 1);
    if (code == SQLITE_OK) code = sqlite3_bind_text(stmt, 3, m->name, -1, SQLITE_STATIC);
    if (code == SQLITE_OK) code = sqlite3_bind_text(stmt, 4, hash, -1, SQLITE_STATIC);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(stmt, 5, weft_wall(conn->db->clock));
    if (code == SQLITE_OK) code = sqlite3_step(stmt);
    int rc = store_error(code) ? store_sql_error(conn, code, sql) : 0;
    sqlite3_finalize(stmt);
    if (rc || strcmp(run->component, "app") != 0) return rc;
    char version[48];
    (void)snprintf(version, sizeof version, "PRAGMA user_version=%zu", run->applied + 1);
    return store_conn_run(conn, version);
}

/* Inside BEGIN IMMEDIATE: another process may have run this one, or all, meanwhile. */
static int next_one(migrate_run *run) {
    int rc = check_records(run);
    if (rc || run->applied == run->count) return abandon(run->conn, rc);
    rc = run_script(run);
    if (!rc) rc = check_foreign_keys(run);
    if (!rc) rc = record(run);
    if (!rc) rc = store_conn_run(run->conn, "COMMIT");
    if (!rc) run->applied++;
    return abandon(run->conn, rc);
}

static int foreign_keys(store_conn *conn, int on) {
    int now = -1;
    int code = sqlite3_db_config(conn->raw, SQLITE_DBCONFIG_ENABLE_FKEY, on, &now);
    return code == SQLITE_OK && now == on ? 0 : store_sql_error(conn, code, NULL);
}

int store_migrate(store_conn *conn, const char *component, const weft_migration *migrations,
                  size_t count) {
    migrate_run run = {conn, component, migrations, count, 0};
    int rc = in_snapshot(conn, check_records, &run);
    if (rc || run.applied == count) return rc;
    if (conn->db->read_only)
        return store_say(
            WEFT_EUNSUPPORTED,
            "%s: the schema of %s is at version %zu and this program needs %zu; open it "
            "for writing first",
            conn->db->path, component, run.applied, count);
    rc = foreign_keys(conn, 0);
    while (!rc && run.applied < count) {
        rc = store_conn_run(conn, "BEGIN IMMEDIATE");
        if (!rc) rc = next_one(&run);
    }
    const int back = foreign_keys(conn, 1);
    return rc ? rc : back;
}
