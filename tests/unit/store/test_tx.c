/* Transactions and statements in one thread: values, errors, misuse, snapshots, the statement
 * cache. */
#include "store_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/store/internal.h"

static const weft_migration list[] = {
    {"all",
     "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT, l INTEGER, d REAL, b BLOB);"
     "CREATE TABLE product (id TEXT PRIMARY KEY, price INTEGER NOT NULL CHECK (price > 0)) STRICT;"
     "CREATE TABLE line (id INTEGER PRIMARY KEY, product TEXT REFERENCES product (id));"
     "CREATE TABLE late (p TEXT REFERENCES product (id) DEFERRABLE INITIALLY DEFERRED);"}};

static weft_tx *begin(weft_db *db, weft_tx_mode mode) {
    weft_tx *tx = NULL;
    must(weft_tx_begin(db, mode, &tx));
    return tx;
}

/* ---- values */

static void round_trip(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    weft_tx *tx = begin(db, WEFT_WRITE);
    const char insert[] = "INSERT INTO t VALUES (?, ?, ?, ?, ?)";
    must(weft_tx_exec(tx, insert, "isldb", 1, "h\xc3\xa9llo", INT64_MIN, -1.5, "a\0b", (size_t)3));
    assert_int_equal(weft_tx_changes(tx), 1);
    assert_int_equal(weft_tx_last_id(tx), 1);
    must(weft_tx_exec(tx, insert, "lsldb", INT64_MAX, (char *)NULL, INT64_MAX, NAN, NULL,
                      (size_t)0));
    must(weft_tx_exec(tx, insert, "isnnn", -5, ""));
    assert_int_equal(weft_tx_last_id(tx), -5);
    must(weft_tx_commit(tx));
    tx = begin(db, WEFT_READ);
    weft_stmt *row = weft_tx_query(tx, "SELECT s, l, d, b FROM t ORDER BY id", NULL);
    assert_true(weft_stmt_row(row)); /* -5 */
    assert_string_equal(weft_stmt_text(row, 0), "");
    assert_false(weft_stmt_null(row, 0));
    assert_true(weft_stmt_null(row, 1));
    assert_int_equal(weft_stmt_int(row, 1), 0);
    assert_true(weft_stmt_double(row, 2) == 0);
    size_t len = 9;
    assert_null(weft_stmt_blob(row, 3, &len));
    assert_int_equal(len, 0);
    assert_true(weft_stmt_row(row)); /* 1 */
    assert_string_equal(weft_stmt_text(row, 0), "h\xc3\xa9llo");
    assert_true(weft_stmt_int(row, 1) == INT64_MIN);
    assert_true(weft_stmt_double(row, 2) == -1.5);
    assert_memory_equal(weft_stmt_blob(row, 3, &len), "a\0b", 3);
    assert_int_equal(len, 3);
    assert_non_null(weft_stmt_blob(row, 3, NULL));
    assert_true(weft_stmt_row(row)); /* max */
    assert_true(weft_stmt_null(row, 0));
    assert_string_equal(weft_stmt_text(row, 0), "");
    assert_true(weft_stmt_int(row, 1) == INT64_MAX);
    assert_true(weft_stmt_null(row, 2));  /* NaN */
    assert_false(weft_stmt_null(row, 3)); /* the empty blob is not NULL */
    assert_non_null(weft_stmt_blob(row, 3, &len));
    assert_int_equal(len, 0);
    assert_false(weft_stmt_row(row));
    assert_false(weft_stmt_row(row)); /* and does not start again */
    assert_int_equal(weft_tx_error(tx), 0);
    assert_string_equal(weft_tx_message(tx), "");
    must(weft_tx_commit(tx));
    weft_db_close(db);
}

static void changes_and_ids(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    weft_tx *tx = begin(db, WEFT_WRITE);
    assert_int_equal(weft_tx_changes(tx), 0);
    assert_int_equal(weft_tx_last_id(tx), 0);
    must(weft_tx_exec(tx, "INSERT INTO t (s) VALUES ('a'), ('b'), ('c')", ""));
    assert_int_equal(weft_tx_changes(tx), 3);
    must(weft_tx_exec(tx, "UPDATE t SET s = 'x' WHERE id > ?", "i", 1));
    assert_int_equal(weft_tx_changes(tx), 2);
    must(weft_tx_exec(tx, "UPDATE t SET s = 'x' WHERE id > ?", "i", 10));
    assert_int_equal(weft_tx_changes(tx), 0);
    must(weft_tx_exec(tx, "DELETE FROM t WHERE id = 1", ""));
    must(weft_tx_exec(tx, "CREATE TABLE u (x)", ""));
    assert_int_equal(weft_tx_changes(tx), 0);
    weft_stmt *row =
        weft_tx_query(tx, "INSERT INTO t (s) VALUES (?), (?) RETURNING id", "ss", "p", "q");
    assert_true(weft_stmt_row(row));
    assert_int_equal(weft_stmt_int(row, 0), 4);
    assert_true(weft_stmt_row(row));
    assert_int_equal(weft_stmt_int(row, 0), 5);
    assert_false(weft_stmt_row(row));
    assert_int_equal(weft_tx_changes(tx), 2);
    assert_int_equal(weft_tx_last_id(tx), 5);
    must(weft_tx_exec(tx, "SAVEPOINT here", ""));
    must(weft_tx_exec(tx, "DELETE FROM t", ""));
    must(weft_tx_exec(tx, "ROLLBACK TO here", ""));
    must(weft_tx_exec(tx, "RELEASE here", ""));
    must(weft_tx_commit(tx));
    assert_int_equal(number_of(db, "SELECT count(*) FROM t"), 4);
    tx = begin(db, WEFT_WRITE);
    assert_int_equal(weft_tx_last_id(tx), 0); /* not the last one's */
    weft_tx_rollback(tx);
    weft_db_close(db);
}

/* A changing query left before its end has still changed everything. */
static void returning_left_early(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    weft_tx *tx = begin(db, WEFT_WRITE);
    for (int i = 0; i < 3; i++) {
        weft_stmt *row =
            weft_tx_query(tx, "INSERT INTO t (s) VALUES ('a'), ('b'), ('c') RETURNING id", "");
        assert_true(weft_stmt_row(row));
    }
    must(weft_tx_commit(tx));
    assert_int_equal(number_of(db, "SELECT count(*) FROM t"), 9);
    weft_db_close(db);
}

static void rollback_undoes(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    weft_tx *tx = begin(db, WEFT_WRITE);
    must(weft_tx_exec(tx, "INSERT INTO t (s) VALUES ('a')", ""));
    weft_stmt *row = weft_tx_query(tx, "SELECT * FROM t", "");
    assert_true(weft_stmt_row(row)); /* open while rolling back */
    weft_tx_rollback(tx);
    assert_int_equal(number_of(db, "SELECT count(*) FROM t"), 0);
    weft_tx_rollback(NULL);
    weft_db_close(db);
}

/* ---- errors */

static void constraints_are_reported(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    static const struct {
        const char *sql;
        int error;
        const char *part;
    } cases[] = {
        {"INSERT INTO product VALUES ('p', 2)", WEFT_EEXIST,
         "UNIQUE constraint failed: product.id"},
        {"INSERT INTO line VALUES (1, 'p')", WEFT_EEXIST, "UNIQUE constraint failed: line.id"},
        {"INSERT INTO product VALUES ('q', 0)", WEFT_EINVAL, "CHECK"},
        {"INSERT INTO product VALUES ('q', NULL)", WEFT_EINVAL, "NOT NULL"},
        {"INSERT INTO product VALUES ('q', 'cheap')", WEFT_EINVAL, "cannot store TEXT"},
        {"INSERT INTO line VALUES (2, 'nothing')", WEFT_EINVAL, "FOREIGN KEY"},
        {"DELETE FROM product", WEFT_EINVAL, "FOREIGN KEY"},
        {"INSERT INTO line VALUES ('word', 'p')", WEFT_EINVAL, "mismatch"},
    };
    weft_tx *tx = begin(db, WEFT_WRITE);
    must(weft_tx_exec(tx, "INSERT INTO product VALUES ('p', 1)", ""));
    must(weft_tx_exec(tx, "INSERT INTO line VALUES (1, 'p')", ""));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(weft_tx_exec(tx, cases[i].sql, ""), cases[i].error);
        assert_has(weft_tx_message(tx), cases[i].part);
        assert_has(weft_tx_message(tx), cases[i].sql);
        assert_has(weft_tx_message(tx), "test.db: ");
        assert_int_equal(weft_tx_error(tx), 0);
        assert_int_equal(weft_tx_changes(tx), 0);
    }
    must(weft_tx_exec(tx, "INSERT INTO product VALUES ('q', 1)", "")); /* it goes on */
    must(weft_tx_commit(tx));
    assert_int_equal(number_of(db, "SELECT count(*) FROM product"), 2);
    weft_db_close(db);
}

static void errors_are_remembered(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    weft_tx *tx = begin(db, WEFT_WRITE);
    must(weft_tx_exec(tx, "INSERT INTO t (s) VALUES ('a')", ""));
    assert_int_equal(weft_tx_exec(tx, "INSERT INTO nowhere VALUES (1)", ""), WEFT_EINTERNAL);
    assert_int_equal(weft_tx_error(tx), WEFT_EINTERNAL);
    assert_has(weft_tx_message(tx), "no such table: nowhere");
    assert_int_equal(weft_tx_exec(tx, "INSERT INTO t (s) VALUES ('b')", ""), WEFT_EINTERNAL);
    weft_stmt *row = weft_tx_query(tx, "SELECT * FROM t", "");
    assert_non_null(row);
    assert_false(weft_stmt_row(row));
    assert_int_equal(weft_stmt_int(row, 0), 0);
    assert_string_equal(weft_stmt_text(row, 0), "");
    assert_has(weft_tx_message(tx), "no such table: nowhere"); /* the first one stays */
    assert_int_equal(weft_tx_commit(tx), WEFT_EINTERNAL);
    assert_has(weft_store_message(), "no such table: nowhere");
    assert_int_equal(number_of(db, "SELECT count(*) FROM t"), 0);

    /* A constraint broken by a query is remembered: its rows were promised. */
    must(write_sql(db, "INSERT INTO product VALUES ('p', 1)"));
    tx = begin(db, WEFT_WRITE);
    row = weft_tx_query(tx, "INSERT INTO product VALUES ('p', 1) RETURNING id", "");
    assert_int_equal(weft_tx_error(tx), 0);
    assert_false(weft_stmt_row(row));
    assert_int_equal(weft_tx_error(tx), WEFT_EEXIST);
    assert_int_equal(weft_tx_commit(tx), WEFT_EEXIST);

    /* A deferred key is only judged at commit. */
    tx = begin(db, WEFT_WRITE);
    must(weft_tx_exec(tx, "INSERT INTO late VALUES ('nobody')", ""));
    assert_int_equal(weft_tx_commit(tx), WEFT_EINVAL);
    assert_has(weft_store_message(), "FOREIGN KEY");
    assert_int_equal(number_of(db, "SELECT count(*) FROM late"), 0);

    /* What ends the transaction under us cannot be merely reported. */
    tx = begin(db, WEFT_WRITE);
    must(weft_tx_exec(tx, "INSERT INTO t (s) VALUES ('c')", ""));
    assert_int_equal(weft_tx_exec(tx, "INSERT OR ROLLBACK INTO product VALUES ('p', 1)", ""),
                     WEFT_EEXIST);
    assert_int_equal(weft_tx_error(tx), WEFT_EEXIST);
    assert_int_equal(weft_tx_exec(tx, "INSERT INTO t (s) VALUES ('d')", ""), WEFT_EEXIST);
    assert_int_equal(weft_tx_commit(tx), WEFT_EEXIST);
    assert_int_equal(number_of(db, "SELECT count(*) FROM t"), 0);
    weft_db_close(db);
}

/* ---- misuse: a sentence, never a crash */

static void misuse_exec(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    static const struct {
        const char *sql, *types, *part;
    } cases[] = {
        {"INSERT INTO t (s, l) VALUES (?, ?)", "s", "2 parameters but types \"s\" has 1 letters"},
        {"INSERT INTO t (s, l) VALUES (?, ?)", NULL, "2 parameters but types \"\" has 0 letters"},
        {"INSERT INTO t (s, l) VALUES (1, 2)", "ss", "0 parameters but types \"ss\" has 2 letters"},
        {"INSERT INTO t (s, l) VALUES (?, ?)", "sx", "'x'; letters are s i l d b n"},
        {"INSERT INTO t (s) VALUES ('a'); DELETE FROM t", "", "more than one statement"},
        {"INSERT INTO t (s) VALUES ('a'); nonsense", "", "more than one statement"},
        {"", "", "the SQL is empty"},
        {" ; -- nothing", "", "the SQL is empty"},
        {NULL, "", "the SQL is NULL"},
        {"SELECT 1", "", "use weft_tx_query"},
        {"INSERT INTO t (s) VALUES ('a') RETURNING id", "", "use weft_tx_query"},
        {"COMMIT", "", "belong to weft_tx_begin"},
        {"ROLLBACK", "", "belong to weft_tx_begin"},
        {"BEGIN", "", "belong to weft_tx_begin"},
        {"ATTACH ':memory:' AS x", "", "a file belongs to one service"},
        {"PRAGMA foreign_keys = OFF", "", "may not be changed"},
        {"PRAGMA wal_checkpoint", "", "may not be changed"},
        {"UPDATE weft_migration SET hash = ''", "", "weft_migration is written by"},
        {"CREATE TRIGGER x AFTER INSERT ON weft_migration BEGIN SELECT 1; END", "",
         "weft_migration is written by"},
        {"INSERT INTO t (s) VALUES (\"typo\")", "", "typo"},
        {"INSERT INTO t (nope) VALUES (1)", "", "no column named nope"},
        {"UPDATE sqlite_schema SET sql = ''", "", "may not be modified"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        weft_tx *tx = begin(db, WEFT_WRITE);
        assert_int_equal(weft_tx_exec(tx, cases[i].sql, cases[i].types, "a", "b"), WEFT_EINTERNAL);
        assert_has(weft_tx_message(tx), cases[i].part);
        assert_has(weft_tx_message(tx), "test.db");
        assert_int_equal(weft_tx_commit(tx), WEFT_EINTERNAL);
    }
    weft_tx *tx = begin(db, WEFT_WRITE);
    assert_int_equal(weft_tx_exec(tx, "INSERT INTO t (b) VALUES (?)", "b", NULL, (size_t)7),
                     WEFT_EINTERNAL);
    assert_has(weft_tx_message(tx), "parameter 1 is a blob at NULL with a size");
    weft_tx_rollback(tx);
    assert_int_equal(number_of(db, "SELECT count(*) FROM t"), 0);
    /* Comments and semicolons after a statement are nothing. */
    must(write_sql(db, "INSERT INTO t (s) VALUES ('a') ; -- done\n /* really */ ;"));
    weft_db_close(db);
}

static void misuse_query(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    static const struct {
        const char *sql, *types, *part;
    } cases[] = {
        {"SELECT ?", "", "1 parameters but types \"\" has 0 letters"},
        {"SELECT ?", "q", "'q'; letters are"},
        {"SELECT 1; SELECT 2", "", "more than one statement"},
        {"DELETE FROM t", "", "use weft_tx_exec"},
        {NULL, "", "the SQL is NULL"},
        {"", "", "the SQL is empty"},
        {"SELEC 1", "", "syntax error"},
        {"INSERT INTO t (s) VALUES ('a') RETURNING id", "",
         "a WEFT_READ transaction changes nothing"},
        {"PRAGMA journal_mode = DELETE", "", "may not be changed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        weft_tx *tx = begin(db, WEFT_READ);
        weft_stmt *row = weft_tx_query(tx, cases[i].sql, cases[i].types);
        assert_non_null(row);
        assert_false(weft_stmt_row(row));
        assert_int_equal(weft_tx_error(tx), WEFT_EINTERNAL);
        assert_has(weft_tx_message(tx), cases[i].part);
        assert_int_equal(weft_tx_commit(tx), WEFT_EINTERNAL);
    }
    weft_tx *tx = begin(db, WEFT_READ);
    assert_int_equal(weft_tx_exec(tx, "DELETE FROM t", ""), WEFT_EINTERNAL);
    assert_has(weft_tx_message(tx), "begin it with WEFT_WRITE");
    weft_tx_rollback(tx);
    weft_db_close(db);
}

static void misuse_rows(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    static const int columns[] = {-1, 2, 1000000};
    for (size_t i = 0; i < 3; i++) {
        weft_tx *tx = begin(db, WEFT_READ);
        weft_stmt *row = weft_tx_query(tx, "SELECT 1, 2", "");
        assert_true(weft_stmt_row(row));
        assert_int_equal(weft_stmt_int(row, columns[i]), 0);
        assert_has(weft_tx_message(tx), "there are 0 to 1");
        assert_string_equal(weft_stmt_text(row, 0), ""); /* nothing more */
        assert_false(weft_stmt_row(row));
        assert_int_equal(weft_tx_commit(tx), WEFT_EINTERNAL);
    }
    weft_tx *tx = begin(db, WEFT_READ);
    weft_stmt *row = weft_tx_query(tx, "SELECT 1", "");
    assert_string_equal(weft_stmt_text(row, 0), ""); /* before the first row */
    assert_has(weft_tx_message(tx), "a column was read without a row");
    weft_tx_rollback(tx);
    tx = begin(db, WEFT_READ);
    row = weft_tx_query(tx, "SELECT 1", "");
    while (weft_stmt_row(row)) continue;
    assert_true(weft_stmt_double(row, 0) == 0); /* after the last */
    assert_int_equal(weft_tx_error(tx), WEFT_EINTERNAL);
    weft_tx_rollback(tx);
    /* A changing query that nobody ran would be lost in silence. */
    tx = begin(db, WEFT_WRITE);
    (void)weft_tx_query(tx, "INSERT INTO t (s) VALUES ('a') RETURNING id", "");
    assert_int_equal(weft_tx_commit(tx), WEFT_EINTERNAL);
    assert_has(weft_store_message(), "was never run");
    tx = begin(db, WEFT_WRITE);
    for (int i = 0; i < 2; i++)
        (void)weft_tx_query(tx, "INSERT INTO t (s) VALUES (?) RETURNING id", "i", i);
    assert_has(weft_tx_message(tx), "was never run");
    weft_tx_rollback(tx);
    weft_db_close(db);
}

static void misuse_handles(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    weft_tx *tx = NULL;
    assert_int_equal(weft_tx_begin(NULL, WEFT_READ, &tx), WEFT_EINVAL);
    assert_int_equal(weft_tx_begin(db, WEFT_READ, NULL), WEFT_EINVAL);
    assert_int_equal(weft_tx_begin(db, (weft_tx_mode)7, &tx), WEFT_EINVAL);
    assert_int_equal(weft_tx_commit(NULL), WEFT_EINTERNAL);
    assert_int_equal(weft_tx_exec(NULL, "SELECT 1", ""), WEFT_EINTERNAL);
    assert_int_equal(weft_tx_changes(NULL), 0);
    assert_int_equal(weft_tx_last_id(NULL), 0);
    assert_int_equal(weft_tx_error(NULL), WEFT_EINVAL);
    assert_string_equal(weft_tx_message(NULL), "");
    weft_stmt *row = weft_tx_query(NULL, "SELECT 1", "");
    for (int i = 0; i < 2; i++) {
        assert_false(weft_stmt_row(row));
        assert_int_equal(weft_stmt_int(row, 0), 0);
        assert_string_equal(weft_stmt_text(row, 0), "");
        assert_null(weft_stmt_blob(row, 0, NULL));
        assert_true(weft_stmt_null(row, 0));
        assert_true(weft_stmt_double(row, 0) == 0);
        row = NULL;
    }
    /* After the end, while the handle's memory is still the pool's. */
    tx = begin(db, WEFT_READ);
    row = weft_tx_query(tx, "SELECT 1", "");
    must(weft_tx_commit(tx));
    assert_false(weft_stmt_row(row));
    assert_int_equal(weft_tx_commit(tx), WEFT_EINTERNAL);
    assert_has(weft_store_message(), "it has ended");
    assert_int_equal(weft_tx_exec(tx, "DELETE FROM t", ""), WEFT_EINTERNAL);
    assert_false(weft_stmt_row(weft_tx_query(tx, "SELECT 1", "")));
    weft_tx_rollback(tx);
    assert_int_equal(number_of(db, "SELECT 5"), 5);
    weft_db_close(db);
}

static void same_sql_again(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    weft_tx *tx = begin(db, WEFT_READ);
    weft_stmt *a = weft_tx_query(tx, "SELECT ?", "i", 1);
    assert_true(weft_stmt_row(a));
    weft_stmt *b = weft_tx_query(tx, "SELECT ?", "i", 2); /* ends a */
    assert_true(weft_stmt_row(b));
    assert_int_equal(weft_stmt_int(b, 0), 2);
    assert_false(weft_stmt_row(a));
    char text[] = "gone";
    b = weft_tx_query(tx, "SELECT ?", "s", text);
    text[0] = 'X'; /* it was copied */
    assert_true(weft_stmt_row(b));
    assert_string_equal(weft_stmt_text(b, 0), "gone");
    must(weft_tx_commit(tx));
    weft_db_close(db);
}

/* ---- snapshots */

static void reads_are_snapshots(void **state) {
    scratch *s = *state;
    weft_db *db = OPEN(s->path, list);
    weft_db *other = OPEN(s->path, list);
    must(write_sql(db, "INSERT INTO t (l) VALUES (1)"));
    weft_tx *old = begin(db, WEFT_READ); /* its snapshot is taken here, not at its first query */
    must(write_sql(db, "UPDATE t SET l = 2"));
    must(write_sql(other, "INSERT INTO t (l) VALUES (7)"));
    weft_tx *new = begin(other, WEFT_READ);
    weft_stmt *row = weft_tx_query(old, "SELECT sum(l) FROM t", "");
    assert_true(weft_stmt_row(row));
    assert_int_equal(weft_stmt_int(row, 0), 1);
    row = weft_tx_query(new, "SELECT sum(l) FROM t", "");
    assert_true(weft_stmt_row(row));
    assert_int_equal(weft_stmt_int(row, 0), 9);
    must(write_sql(db, "DELETE FROM t"));
    row = weft_tx_query(old, "SELECT sum(l) FROM t", "");
    assert_true(weft_stmt_row(row));
    assert_int_equal(weft_stmt_int(row, 0), 1);
    must(weft_tx_commit(old));
    must(weft_tx_commit(new));
    assert_int_equal(number_of(db, "SELECT count(*) FROM t"), 0);
    weft_db_close(db);
    weft_db_close(other);
}

/* ---- the cache */

static void cache_is_bounded(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    for (int round = 0; round < 3; round++) {
        weft_tx *tx = begin(db, WEFT_WRITE);
        store_conn *conn = tx->conn;
        for (int i = 0; i < 500; i++) {
            char sql[64];
            (void)snprintf(sql, sizeof sql, "INSERT INTO t (l) VALUES (%d)", i);
            must(weft_tx_exec(tx, sql, ""));
            assert_true(conn->cached <= STORE_CACHED);
        }
        weft_stmt *rows[200];
        for (int i = 0; i < 200; i++) {
            char sql[64];
            (void)snprintf(sql, sizeof sql, "SELECT %d + ?", i);
            rows[i] = weft_tx_query(tx, sql, "i", 1000);
            assert_true(weft_stmt_row(rows[i]));
        }
        for (int i = 0; i < 200; i++)
            assert_int_equal(weft_stmt_int(rows[i], 0), 1000 + i); /* none was evicted */
        must(weft_tx_commit(tx));
        assert_int_equal(conn->cached, STORE_CACHED);
        assert_int_equal(conn->handed, 0);
    }
    weft_tx *tx = begin(db, WEFT_READ);
    for (int i = 0; i < STORE_HANDED; i++) {
        char sql[64];
        (void)snprintf(sql, sizeof sql, "SELECT %d", i);
        (void)weft_tx_query(tx, sql, "");
    }
    assert_int_equal(weft_tx_error(tx), 0);
    (void)weft_tx_query(tx, "SELECT 'one more'", "");
    assert_int_equal(weft_tx_error(tx), WEFT_ELIMIT);
    assert_has(weft_tx_message(tx), "give values as parameters");
    assert_int_equal(weft_tx_commit(tx), WEFT_ELIMIT);
    weft_db_close(db);
}

/* The least recently used goes; what is used stays prepared. */
static void cache_keeps_the_used(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    weft_tx *tx = begin(db, WEFT_READ);
    weft_stmt *hot = weft_tx_query(tx, "SELECT 'hot'", "");
    sqlite3_stmt *raw = hot->raw;
    must(weft_tx_commit(tx));
    for (int i = 0; i < 300; i++) {
        char sql[64];
        (void)snprintf(sql, sizeof sql, "SELECT %d", i);
        tx = begin(db, WEFT_READ);
        (void)weft_tx_query(tx, sql, "");
        assert_ptr_equal(weft_tx_query(tx, "SELECT 'hot'", "")->raw, raw);
        must(weft_tx_commit(tx));
    }
    tx = begin(db, WEFT_READ);
    for (int i = 299; i >= 237; i--) { /* the youngest 63, and hot */
        char sql[64];
        (void)snprintf(sql, sizeof sql, "SELECT %d", i);
        const size_t before = tx->conn->cached;
        (void)weft_tx_query(tx, sql, "");
        assert_int_equal(tx->conn->cached, before);
    }
    must(weft_tx_commit(tx));
    weft_db_close(db);
}

static void large_values(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    const size_t size = (size_t)8 << 20;
    char *data = malloc(size);
    assert_non_null(data);
    memset(data, 'z', size);
    weft_tx *tx = begin(db, WEFT_WRITE);
    must(weft_tx_exec(tx, "INSERT INTO t (b) VALUES (?)", "b", data, size));
    assert_int_equal(weft_tx_exec(tx, "INSERT INTO t (b) VALUES (?)", "b", data, (size_t)3 << 30),
                     WEFT_ELIMIT);
    weft_tx_rollback(tx);
    tx = begin(db, WEFT_WRITE);
    must(weft_tx_exec(tx, "INSERT INTO t (b) VALUES (?)", "b", data, size));
    must(weft_tx_commit(tx));
    tx = begin(db, WEFT_READ);
    weft_stmt *row = weft_tx_query(tx, "SELECT b FROM t", "");
    assert_true(weft_stmt_row(row));
    size_t len = 0;
    assert_memory_equal(weft_stmt_blob(row, 0, &len), data, size);
    assert_int_equal(len, size);
    must(weft_tx_commit(tx));
    free(data);
    weft_db_close(db);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(round_trip),
        TEST(changes_and_ids),
        TEST(returning_left_early),
        TEST(rollback_undoes),
        TEST(constraints_are_reported),
        TEST(errors_are_remembered),
        TEST(misuse_exec),
        TEST(misuse_query),
        TEST(misuse_rows),
        TEST(misuse_handles),
        TEST(same_sql_again),
        TEST(reads_are_snapshots),
        TEST(cache_is_bounded),
        TEST(cache_keeps_the_used),
        TEST(large_values),
    };
    return cmocka_run_group_tests_name("store/tx", tests, NULL, NULL);
}
