/* Migrations: order, records, refusals, several components. */
#include "store_support.h"

#include <string.h>

#include "lib/store/internal.h"

#define PRODUCT "CREATE TABLE product (id TEXT PRIMARY KEY, price INTEGER NOT NULL) STRICT;"
#define ORDERS                                                                                       \
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, product TEXT NOT NULL REFERENCES product (id));\n" \
    "CREATE INDEX orders_product ON orders (product); -- the end\n"

static const weft_migration list[] = {
    {"products", PRODUCT}, {"orders", ORDERS}, {"note", "ALTER TABLE orders ADD COLUMN note TEXT"}};

static void step_by_step(void **state) {
    scratch *s = *state;
    for (size_t n = 0; n <= 3; n++) {
        weft_db *db = open_db(s->path, list, n);
        assert_int_equal(number_of(db, "PRAGMA user_version"), n);
        assert_int_equal(
            number_of(db, "SELECT count(*) FROM weft_migration WHERE component = 'app'"), n);
        weft_db_close(db);
    }
    weft_db *db = OPEN(s->path, list);
    must(write_sql(db, "INSERT INTO product VALUES ('p', 1)"));
    must(write_sql(db, "INSERT INTO orders VALUES (1, 'p', 'n')"));
    assert_int_equal(number_of(db,
                               "SELECT count(*) FROM weft_migration WHERE length(hash) = 64 AND "
                               "applied > 1600000000000000000"),
                     4); /* and our own */
    weft_db_close(db);
}

static void all_at_once(void **state) {
    scratch *s = *state;
    weft_db *db = OPEN(s->path, list);
    assert_int_equal(number_of(db, "PRAGMA user_version"), 3);
    weft_db_close(db);
}

static void refusals(void **state) {
    scratch *s = *state;
    weft_db_close(OPEN(s->path, list));
    const weft_migration changed[] = {
        list[0], {"orders", "CREATE TABLE orders (id INTEGER PRIMARY KEY)"}, list[2]};
    REFUSE(s->path, changed, WEFT_ECONFLICT,
           "migration 2 \"orders\" of app was changed after it ran");
    const weft_migration swapped[] = {list[0], list[2], list[1]};
    REFUSE(s->path, swapped, WEFT_ECONFLICT, "\"orders\" ran as number 2 and is number 3 now");
    const weft_migration inserted[] = {list[0], {"new", "CREATE TABLE n (x)"}, list[1], list[2]};
    REFUSE(s->path, inserted, WEFT_ECONFLICT, "out of order");
    const weft_migration other[] = {{"payments", "CREATE TABLE payment (id INTEGER PRIMARY KEY)"}};
    REFUSE(s->path, other, WEFT_ECONFLICT, "another service's file");
    const weft_migration older[] = {list[0], list[1]};
    REFUSE(s->path, older, WEFT_EUNSUPPORTED, "at version 3 and this program knows 2");
    refuse_with(s->path, NULL, WEFT_EUNSUPPORTED, "knows 0");
    /* A new name for the same text is no change. */
    const weft_migration renamed[] = {{"first", PRODUCT}, list[1], list[2]};
    weft_db_close(OPEN(s->path, renamed));
    raw_sql(s->path, "PRAGMA user_version=9");
    REFUSE(s->path, list, WEFT_EIO, "user_version is 9 and 3 migrations are recorded");
    raw_sql(s->path, "PRAGMA user_version=3; DELETE FROM weft_migration WHERE version = 2");
    REFUSE(s->path, list, WEFT_EIO, "the record of migration 2 of app is missing");
}

/* A failing migration leaves the version before it, and nothing of itself. */
static void failing(void **state) {
    scratch *s = *state;
    static const struct {
        const char *sql;
        int error;
        const char *part, *also;
    } bad[] = {
        {"CREATE TABLE a (x);\nCREATE TABLE b (y);\nINSERT INTO produkt VALUES (1)", WEFT_EINTERNAL,
         "no such table: produkt", "(migration 2 \"bad\" of app, line 3)"},
        {"CREATE TABLE a (x);\n\nCREATE TABEL b (y)", WEFT_EINTERNAL, "syntax error", "line 3"},
        {"CREATE TABLE a (x); INSERT INTO product VALUES ('x', NULL)", WEFT_EINVAL, "NOT NULL",
         "line 1"},
        {"INSERT INTO product VALUES ('x', 1), ('x', 2)", WEFT_EEXIST, "UNIQUE", "line 1"},
        {"CREATE TABLE a (x); COMMIT; CREATE TABLE b (y)", WEFT_EINTERNAL,
         "belong to weft_tx_begin", "line 1"},
        {"BEGIN; CREATE TABLE a (x); COMMIT", WEFT_EINTERNAL, "belong to weft_tx_begin", "line 1"},
        {"ATTACH 'other.db' AS other", WEFT_EINTERNAL, "not allowed", "line 1"},
        {"PRAGMA user_version=7", WEFT_EINTERNAL, "may not be changed", "line 1"},
        {"PRAGMA journal_mode=DELETE", WEFT_EINTERNAL, "may not be changed", "line 1"},
        {"DELETE FROM weft_migration", WEFT_EINTERNAL, "weft_migration is written by", "line 1"},
        {"DROP TABLE weft_migration", WEFT_EINTERNAL, "weft_migration is written by", "line 1"},
        {"VACUUM", WEFT_EINTERNAL, "", "line 1"},
        {"INSERT OR ROLLBACK INTO product VALUES ('p', 1)", WEFT_EEXIST, "UNIQUE", "line 1"},
        {"CREATE TABLE c (p REFERENCES product (id)); INSERT INTO c VALUES ('nobody')", WEFT_EINVAL,
         "leaves row 1 of c pointing at no row of product", "migration 2"},
        {"SELECT \"a string\"", WEFT_EINTERNAL, "no such column", "line 1"},
    };
    const weft_migration good[] = {{"products", PRODUCT "INSERT INTO product VALUES ('p', 1)"}};
    weft_db_close(OPEN(s->path, good));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const weft_migration both[] = {good[0], {"bad", bad[i].sql}};
        REFUSE(s->path, both, bad[i].error, bad[i].part);
        assert_has(weft_store_message(), bad[i].also);
        weft_db *db = OPEN(s->path, good);
        assert_int_equal(
            number_of(db, "SELECT count(*) FROM sqlite_schema WHERE name IN ('a', 'b', 'c')"), 0);
        assert_int_equal(number_of(db, "SELECT count(*) FROM product"), 1);
        assert_int_equal(number_of(db, "PRAGMA foreign_keys"), 1);
        weft_db_close(db);
    }
}

/* The way sqlite advises to change a table: only possible with foreign keys off. */
static void rebuilds_a_table(void **state) {
    scratch *s = *state;
    weft_db *db = OPEN(s->path, list);
    must(write_sql(db, "INSERT INTO product VALUES ('p', 1)"));
    must(write_sql(db, "INSERT INTO orders VALUES (1, 'p', 'n')"));
    weft_db_close(db);
    const weft_migration rebuild[] = {
        list[0],
        list[1],
        list[2],
        {"price is checked",
         "CREATE TABLE p2 (id TEXT PRIMARY KEY, price INTEGER NOT NULL CHECK (price > 0)) STRICT;"
         "INSERT INTO p2 SELECT * FROM product; DROP TABLE product;"
         "ALTER TABLE p2 RENAME TO product"}};
    db = OPEN(s->path, rebuild);
    assert_int_equal(write_sql(db, "INSERT INTO product VALUES ('q', 0)"), WEFT_EINVAL);
    assert_int_equal(write_sql(db, "INSERT INTO orders VALUES (2, 'nobody', 'n')"), WEFT_EINVAL);
    assert_int_equal(
        number_of(db, "SELECT count(*) FROM orders JOIN product ON product.id = product"), 1);
    weft_db_close(db);
}

static void components(void **state) {
    scratch *s = *state;
    static const weft_migration saga1[] = {
        {"sagas", "CREATE TABLE weft_saga (id TEXT PRIMARY KEY)"}};
    static const weft_migration saga2[] = {
        {"sagas", "CREATE TABLE weft_saga (id TEXT PRIMARY KEY)"},
        {"steps", "CREATE TABLE weft_step (id TEXT PRIMARY KEY)"}};
    weft_db *db = OPEN(s->path, list);
    must(weft_db_migrate(db, "saga", saga1, 1));
    must(weft_db_migrate(db, "saga", saga1, 1));
    must(weft_db_migrate(db, "saga", saga2, 2));
    assert_int_equal(weft_db_migrate(db, "saga", saga1, 1), WEFT_EUNSUPPORTED);
    assert_has(weft_store_message(), "schema of saga is at version 2");
    assert_int_equal(number_of(db, "PRAGMA user_version"), 3);
    assert_int_equal(weft_db_migrate(db, "app", saga1, 1), WEFT_EINVAL);
    assert_int_equal(weft_db_migrate(db, "weft", saga1, 1), WEFT_EINVAL);
    assert_int_equal(weft_db_migrate(db, "", saga1, 1), WEFT_EINVAL);
    assert_int_equal(weft_db_migrate(NULL, "saga", saga1, 1), WEFT_EINVAL);
    assert_int_equal(weft_db_migrate(db, "x", NULL, 1), WEFT_EINVAL);
    /* A failure leaves the handle as good as before. */
    static const weft_migration bad[] = {{"bad", "CREATE TABLE z (x); SELEC 1"}};
    assert_int_equal(weft_db_migrate(db, "bad", bad, 1), WEFT_EINTERNAL);
    must(write_sql(db, "INSERT INTO weft_saga VALUES ('s')"));
    assert_int_equal(write_sql(db, "INSERT INTO orders VALUES (2, 'nobody', 'n')"), WEFT_EINVAL);
    weft_db_close(db);
}

/* Statements that were prepared before another handle changed the schema go on working. */
static void schema_changes_underneath(void **state) {
    scratch *s = *state;
    weft_db *old = open_db(s->path, list, 2);
    must(write_sql(old, "INSERT INTO product VALUES ('p', 1)"));
    assert_int_equal(number_of(old, "SELECT count(*) FROM orders"), 0);
    weft_db *new = OPEN(s->path, list);
    must(write_sql(new, "INSERT INTO orders VALUES (1, 'p', 'n')"));
    assert_int_equal(number_of(old, "SELECT count(*) FROM orders"), 1);
    must(write_sql(old, "INSERT INTO orders (product) VALUES ('p')"));
    weft_db_close(old);
    weft_db_close(new);
}

static void records_the_clock(void **state) {
    scratch *s = *state;
    weft_clock_manual clock;
    weft_clock_manual_init(&clock, 777);
    const weft_db_options o = {
        .size = sizeof o, .migrations = list, .migration_count = 3, .clock = &clock.clock};
    weft_db *db = open_with(s->path, &o);
    assert_int_equal(number_of(db, "SELECT count(*) FROM weft_migration WHERE applied = 777"), 4);
    weft_db_close(db);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(step_by_step),
        TEST(all_at_once),
        TEST(refusals),
        TEST(failing),
        TEST(rebuilds_a_table),
        TEST(components),
        TEST(schema_changes_underneath),
        TEST(records_the_clock),
    };
    return cmocka_run_group_tests_name("store/migrate", tests, NULL, NULL);
}
