/* Opening: what is made, what is set, what is refused and how it says so. */
#include "store_support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/store/internal.h"

static const weft_migration v1[] = {
    {"products", "CREATE TABLE product (id TEXT PRIMARY KEY, price INTEGER NOT NULL) STRICT"}};

static const weft_db_options defaults = {.size = sizeof defaults};

static void makes_file_and_settings(void **state) {
    scratch *s = *state;
    weft_db *db = OPEN(s->path, v1);
    must(write_sql(db, "INSERT INTO product VALUES ('a', 1)"));
    const char *const names[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        struct stat st;
        (void)snprintf(path, sizeof path, "%s%s", s->path, names[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_int_equal(number_of(db, "PRAGMA user_version"), 1);
    assert_int_equal(number_of(db, "PRAGMA application_id"), STORE_APPLICATION_ID);
    assert_int_equal(number_of(db, "PRAGMA synchronous"), 2);
    assert_int_equal(number_of(db, "PRAGMA foreign_keys"), 1);
    assert_int_equal(
        number_of(db, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"), 1);
    weft_db_close(db);
    db = OPEN(s->path, v1); /* again: nothing to do */
    assert_int_equal(number_of(db, "SELECT price FROM product"), 1);
    weft_db_close(db);
    weft_db_close(NULL);
}

static void every_connection_is_set(void **state) {
    scratch *s = *state;
    weft_db *db = OPEN(s->path, v1);
    weft_tx *tx[4];
    for (int i = 0; i < 4; i++) {
        must(weft_tx_begin(db, WEFT_READ, &tx[i]));
        weft_stmt *row = weft_tx_query(tx[i],
                                       "SELECT (SELECT foreign_keys FROM pragma_foreign_keys), "
                                       "(SELECT synchronous FROM pragma_synchronous)",
                                       "");
        assert_true(weft_stmt_row(row));
        assert_int_equal(weft_stmt_int(row, 0), 1);
        assert_int_equal(weft_stmt_int(row, 1), 2);
        int now = -1;
        (void)sqlite3_db_config(tx[i]->conn->raw, SQLITE_DBCONFIG_DEFENSIVE, -1, &now);
        assert_int_equal(now, 1);
        (void)sqlite3_db_config(tx[i]->conn->raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, -1, &now);
        assert_int_equal(now, 0);
        assert_true(i == 0 || tx[i]->conn != tx[i - 1]->conn);
    }
    for (int i = 0; i < 4; i++) must(weft_tx_commit(tx[i]));
    weft_db_close(db);
}

/* A name that sqlite would take for something else is a plain file. */
static void odd_names(void **state) {
    scratch *s = *state;
    static const char *const names[] = {":memory:", "file:x.db?mode=memory", "a b%20c", "-x",
                                        "\xc3\xa4"};
    const int old = open(".", O_RDONLY | O_DIRECTORY);
    assert_int_equal(chdir(s->dir), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        weft_db *db = OPEN(names[i], v1);
        must(write_sql(db, "INSERT INTO product VALUES ('a', 1)"));
        weft_db_close(db);
        assert_int_equal(access(names[i], F_OK), 0);
        db = OPEN(names[i], v1);
        assert_int_equal(number_of(db, "SELECT count(*) FROM product"), 1);
        weft_db_close(db);
    }
    assert_int_equal(fchdir(old), 0);
    (void)close(old);
}

static void bad_paths(void **state) {
    scratch *s = *state;
    char path[160];
    refuse_with(s->dir, NULL, WEFT_EINVAL, "is a directory");
    refuse_with("", NULL, WEFT_EINVAL, "the path is empty");
    refuse_with(NULL, NULL, WEFT_EINVAL, "the path is empty");
    refuse_with("/dev/null", NULL, WEFT_EINVAL, "not a regular file");
    (void)snprintf(path, sizeof path, "%s/none/test.db", s->dir);
    refuse_with(path, NULL, WEFT_ENOTFOUND, "check that its directory exists");
    char longer[400];
    memset(longer, 'n', sizeof longer);
    longer[0] = '/';
    longer[sizeof longer - 1] = '\0';
    refuse_with(longer, NULL, WEFT_EINVAL, "File name too long");
    const weft_db_options reader = {.size = sizeof reader, .read_only = true};
    refuse_with(s->path, &reader, WEFT_ENOTFOUND, "No such file");
    assert_int_not_equal(access(s->path, F_OK), 0);
    /* A link to nowhere */
    assert_int_equal(symlink("/nonexistent/x", s->path), 0);
    refuse_with(s->path, NULL, WEFT_EIO, s->path);
}

static void bad_options(void **state) {
    scratch *s = *state;
    weft_db_options o = {0};
    refuse_with(s->path, &o, WEFT_EINVAL, "sizeof(weft_db_options)");
    o.size = sizeof o + 8;
    refuse_with(s->path, &o, WEFT_EINVAL, "sizeof(weft_db_options)");
    o = defaults;
    o.connections = -1;
    refuse_with(s->path, &o, WEFT_EINVAL, "connections is -1");
    o.connections = 5000;
    refuse_with(s->path, &o, WEFT_EINVAL, "connections is 5000");
    o = defaults;
    o.busy_ns = -5;
    refuse_with(s->path, &o, WEFT_EINVAL, "busy_ns is negative");
    o = defaults;
    o.migration_count = 1;
    refuse_with(s->path, &o, WEFT_EINVAL, "migrations is NULL");
    static const weft_migration unnamed[] = {{NULL, "SELECT 1"}};
    static const weft_migration empty[] = {{"a", "CREATE TABLE a (x)"}, {"b", NULL}};
    REFUSE(s->path, unnamed, WEFT_EINVAL, "migration 1 has no name");
    REFUSE(s->path, empty, WEFT_EINVAL, "migration 2 has no sql");
    o = defaults;
    o.migrations = v1;
    o.migration_count = 20000;
    refuse_with(s->path, &o, WEFT_EINVAL, "at most 10000");
    assert_int_equal(weft_db_open(s->path, NULL, NULL, NULL), WEFT_EINVAL);
    assert_int_not_equal(access(s->path, F_OK), 0); /* none of these made a file */
    /* The size alone: an older caller's shorter struct is all defaults after it. */
    const weft_db_options shorter = {.size = offsetof(weft_db_options, connections),
                                     .connections = -7};
    weft_db *db = open_with(s->path, &shorter);
    weft_db_close(db);
    db = open_with(s->path, NULL);
    weft_db_close(db);
}

static void foreign_files(void **state) {
    scratch *s = *state;
    raw_sql(s->path, "CREATE TABLE theirs (x)");
    REFUSE(s->path, v1, WEFT_EUNSUPPORTED, "database of another program");
    raw_sql(s->path, "DROP TABLE theirs; PRAGMA application_id=7");
    REFUSE(s->path, v1, WEFT_EUNSUPPORTED, "application id 7");
    assert_int_equal(truncate(s->path, 0), 0); /* an empty file is welcome */
    weft_db_close(OPEN(s->path, v1));
    FILE *file = fopen(s->path, "w");
    assert_non_null(file);
    assert_true(
        fputs("This is a letter, not a database. It goes on for more than a hundred bytes so "
              "that there is a whole header to look at.",
              file) >= 0);
    assert_int_equal(fclose(file), 0);
    REFUSE(s->path, v1, WEFT_EIO, "file is not a database");
    REFUSE(s->path, v1, WEFT_EIO, "restore it from a backup");
}

static void damaged_file(void **state) {
    scratch *s = *state;
    weft_db *db = OPEN(s->path, v1);
    must(write_sql(db,
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
                   "INSERT INTO product SELECT 'product ' || i, i FROM n"));
    weft_db_close(db);
    const int fd = open(s->path, O_RDWR);
    assert_true(fd >= 0);
    char noise[4096];
    memset(noise, 0x5a, sizeof noise);
    assert_int_equal(pwrite(fd, noise, sizeof noise, 4096 * 12), sizeof noise);
    (void)close(fd);
    REFUSE(s->path, v1, WEFT_EIO, "damaged");
    assert_int_equal(truncate(s->path, 4096 * 3), 0);
    REFUSE(s->path, v1, WEFT_EIO, "damaged");
    assert_int_equal(truncate(s->path, 700), 0);
    REFUSE(s->path, v1, WEFT_EIO, s->path);
}

static void our_table_gone(void **state) {
    scratch *s = *state;
    weft_db_close(OPEN(s->path, v1));
    raw_sql(s->path, "DROP TABLE weft_migration");
    REFUSE(s->path, v1, WEFT_EIO, "table weft_migration is gone");
}

static void read_only(void **state) {
    scratch *s = *state;
    weft_db *writer = OPEN(s->path, v1);
    must(write_sql(writer, "INSERT INTO product VALUES ('a', 41)"));
    const weft_db_options o = {
        .size = sizeof o, .read_only = true, .migrations = v1, .migration_count = 1};
    weft_db *db = open_with(s->path, &o);
    assert_int_equal(number_of(db, "SELECT price FROM product"), 41);
    must(write_sql(writer, "UPDATE product SET price = 42"));
    assert_int_equal(number_of(db, "SELECT price FROM product"), 42);
    weft_tx *tx = NULL;
    assert_int_equal(weft_tx_begin(db, WEFT_WRITE, &tx), WEFT_EUNSUPPORTED);
    assert_has(weft_store_message(), "read_only");
    assert_null(tx);
    weft_db_close(db);
    /* It does not migrate. */
    const weft_migration v2[] = {{v1[0].name, v1[0].sql}, {"more", "CREATE TABLE more (x)"}};
    const weft_db_options newer = {
        .size = sizeof newer, .read_only = true, .migrations = v2, .migration_count = 2};
    refuse_with(s->path, &newer, WEFT_EUNSUPPORTED, "is at version 1 and this program needs 2");
    weft_db_close(writer);
    db = open_with(s->path, &o); /* no -wal and -shm there now */
    assert_int_equal(number_of(db, "SELECT price FROM product"), 42);
    weft_db_close(db);
    assert_int_equal(truncate(s->path, 0), 0);
    refuse_with(s->path, &o, WEFT_EUNSUPPORTED, s->path); /* empty: not even WAL */
}

/* As an ordinary user: root may write anywhere. Exit code of the child: 0 good, 1 said something
 * else. */
static int as_nobody(const char *path, int error, const char *part) {
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (getuid() == 0 && (setgid(65534) || setuid(65534))) _exit(2);
        weft_db *db = NULL;
        char *why = NULL;
        const int rc = weft_db_open(path, &defaults, &db, &why);
        const int good = rc == error && (!error || (why && strstr(why, part)));
        if (!good) (void)fprintf(stderr, "got %s: %s\n", weft_error_name(rc), why ? why : "");
        weft_free(why);
        weft_db_close(db);
        _exit(good ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

static void no_permission(void **state) {
    scratch *s = *state;
    weft_db_close(OPEN(s->path, v1));
    assert_int_equal(chmod(s->dir, 0755), 0);
    if (getuid() != 0) assert_int_equal(chmod(s->path, 0), 0);
    assert_int_equal(as_nobody(s->path, WEFT_EIO, "check owner and mode"), 0);
    /* The file may be written, its directory not: no place for -wal. */
    assert_int_equal(chmod(s->path, 0666), 0);
    assert_int_equal(chmod(s->dir, 0555), 0);
    assert_int_equal(as_nobody(s->path, WEFT_EIO, "directory"), 0);
    assert_int_equal(unlink(s->path) == 0 || getuid() != 0, 1);
    if (getuid() == 0) assert_int_equal(as_nobody(s->path, WEFT_EIO, "cannot create the file"), 0);
    assert_int_equal(chmod(s->dir, 0755), 0);
}

static void not_across_fork(void **state) {
    scratch *s = *state;
    weft_db *db = OPEN(s->path, v1);
    must(write_sql(db, "INSERT INTO product VALUES ('a', 1)"));
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        weft_tx *tx = NULL;
        const int rc = weft_tx_begin(db, WEFT_READ, &tx);
        const bool said = strstr(weft_store_message(), "before fork") != NULL;
        weft_db_close(db); /* leaves the parent's file alone */
        _exit(rc == WEFT_EUNSUPPORTED && said ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    must(write_sql(db, "INSERT INTO product VALUES ('b', 1)"));
    weft_db_close(db);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(makes_file_and_settings),
        TEST(every_connection_is_set),
        TEST(odd_names),
        TEST(bad_paths),
        TEST(bad_options),
        TEST(foreign_files),
        TEST(damaged_file),
        TEST(our_table_gone),
        TEST(read_only),
        TEST(no_permission),
        TEST(not_across_fork),
    };
    return cmocka_run_group_tests_name("store/open", tests, NULL, NULL);
}
