/* Many threads, two handles: nothing is lost, nobody starves, waits end. */
#include "store_support.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "lib/store/internal.h"

static const weft_migration list[] = {
    {"all",
     "CREATE TABLE counter (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);"
     "INSERT INTO counter VALUES (1, 0);"
     "CREATE TABLE account (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL CHECK (cents >= 0));"
     "INSERT INTO account VALUES (1, 1000), (2, 1000), (3, 1000), (4, 1000)"}};

#define THREADS 8
#define TIMES 50

/* cmocka's assertions are for the main thread: others count. */
static atomic_int failures;

static void expect(bool good) {
    if (!good) atomic_fetch_add(&failures, 1);
}

static void run_threads(size_t count, void *(*body)(void *), void **args) {
    pthread_t threads[32];
    atomic_store(&failures, 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, body, args[i]), 0);
    for (size_t i = 0; i < count; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&failures), 0);
}

/* Reads, then writes: an update is lost if two of these overlap. */
static void *count_up(void *arg) {
    weft_db *db = arg;
    for (int i = 0; i < TIMES; i++) {
        weft_tx *tx = NULL;
        if (weft_tx_begin(db, WEFT_WRITE, &tx)) {
            expect(false);
            continue;
        }
        weft_stmt *row = weft_tx_query(tx, "SELECT n FROM counter WHERE id = ?", "i", 1);
        expect(weft_stmt_row(row));
        const int64_t n = weft_stmt_int(row, 0);
        expect(weft_tx_exec(tx, "UPDATE counter SET n = ? WHERE id = ?", "li", n + 1, 1) == 0);
        expect(weft_tx_commit(tx) == 0);
    }
    return NULL;
}

static void counts_in_one_handle(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    void *args[THREADS];
    for (int i = 0; i < THREADS; i++) args[i] = db;
    run_threads(THREADS, count_up, args);
    assert_int_equal(number_of(db, "SELECT n FROM counter"), THREADS * TIMES);
    weft_db_close(db);
}

/* As two processes would: they meet at sqlite's lock. */
static void counts_in_two_handles(void **state) {
    scratch *s = *state;
    const weft_db_options o = {
        .size = sizeof o, .migrations = list, .migration_count = 1, .busy_ns = 60 * WEFT_NS_PER_S};
    weft_db *db[2] = {open_with(s->path, &o), open_with(s->path, &o)};
    void *args[THREADS];
    for (int i = 0; i < THREADS; i++) args[i] = db[i % 2];
    run_threads(THREADS, count_up, args);
    assert_int_equal(number_of(db[0], "SELECT n FROM counter"), THREADS * TIMES);
    weft_db_close(db[0]);
    weft_db_close(db[1]);
}

/* ---- readers see whole transactions */

static atomic_bool writers_done;

static void *move_money(void *arg) {
    weft_db *db = arg;
    for (int i = 0; i < 60; i++) {
        weft_tx *tx = NULL;
        if (weft_tx_begin(db, WEFT_WRITE, &tx)) {
            expect(false);
            continue;
        }
        expect(weft_tx_exec(tx, "UPDATE account SET cents = cents - 7 WHERE id = ?", "i",
                            i % 4 + 1) == 0);
        expect(weft_tx_exec(tx, "UPDATE account SET cents = cents + 7 WHERE id = ?", "i",
                            (i + 1) % 4 + 1) == 0);
        if (i % 5 == 0)
            weft_tx_rollback(tx);
        else
            expect(weft_tx_commit(tx) == 0);
    }
    return NULL;
}

static void *audit(void *arg) {
    weft_db *db = arg;
    do {
        weft_tx *tx = NULL;
        if (weft_tx_begin(db, WEFT_READ, &tx)) {
            expect(false);
            continue;
        }
        int64_t first[4] = {0};
        for (int pass = 0; pass < 2; pass++) {
            int64_t total = 0;
            weft_stmt *row = weft_tx_query(tx, "SELECT cents FROM account ORDER BY id", "");
            for (int i = 0; i < 4 && weft_stmt_row(row); i++) {
                const int64_t cents = weft_stmt_int(row, 0);
                expect(pass == 0 || cents == first[i]); /* the same snapshot twice */
                first[i] = cents;
                total += cents;
            }
            expect(total == 4000);
            (void)sched_yield();
        }
        expect(weft_tx_commit(tx) == 0);
    } while (!atomic_load(&writers_done));
    return NULL;
}

static void readers_see_whole_transactions(void **state) {
    scratch *s = *state;
    const weft_db_options o = {
        .size = sizeof o, .migrations = list, .migration_count = 1, .busy_ns = 60 * WEFT_NS_PER_S};
    weft_db *db = open_with(s->path, &o);
    weft_db *other = open_with(s->path, &o);
    pthread_t readers[3];
    atomic_store(&writers_done, false);
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&readers[i], NULL, audit, db), 0);
    void *args[3] = {db, db, other};
    run_threads(3, move_money, args);
    atomic_store(&writers_done, true);
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_join(readers[i], NULL), 0);
    assert_int_equal(atomic_load(&failures), 0);
    weft_db_close(db);
    weft_db_close(other);
}

/* ---- order and waiting */

static size_t waiting(weft_db *db, store_gate *gate) {
    size_t n = 0;
    (void)pthread_mutex_lock(&db->lock);
    for (const store_waiter *w = gate->first; w; w = w->next) n++;
    (void)pthread_mutex_unlock(&db->lock);
    return n;
}

static void await_waiting(weft_db *db, store_gate *gate, size_t n) {
    while (waiting(db, gate) != n) (void)sched_yield();
}

typedef struct turn {
    weft_db *db;
    weft_tx_mode mode;
    int rc;
    int place;
    char message[STORE_MESSAGE];
} turn;

static atomic_int places;

static void *take_turn(void *arg) {
    turn *t = arg;
    weft_tx *tx = NULL;
    t->rc = weft_tx_begin(t->db, t->mode, &tx);
    if (t->rc) {
        memcpy(t->message, weft_store_message(), sizeof t->message);
        return NULL;
    }
    t->place = atomic_fetch_add(&places, 1);
    t->rc = weft_tx_commit(tx);
    return NULL;
}

static void writers_take_turns(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    weft_tx *tx = NULL;
    must(weft_tx_begin(db, WEFT_WRITE, &tx));
    turn turns[12];
    pthread_t threads[12];
    atomic_store(&places, 0);
    for (size_t i = 0; i < 12; i++) {
        turns[i] = (turn){.db = db, .mode = WEFT_WRITE};
        assert_int_equal(pthread_create(&threads[i], NULL, take_turn, &turns[i]), 0);
        await_waiting(db, &db->writer, i + 1);
    }
    /* Twelve writers wait on eight connections, and a reader gets in. */
    assert_int_equal(number_of(db, "SELECT n FROM counter"), 0);
    must(weft_tx_commit(tx));
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(turns[i].rc, 0);
        assert_int_equal(turns[i].place, i);
    }
    weft_db_close(db);
}

static void same_thread_twice(void **state) {
    weft_db *db = OPEN(((scratch *)*state)->path, list);
    weft_tx *tx = NULL;
    weft_tx *second = NULL;
    must(weft_tx_begin(db, WEFT_WRITE, &tx));
    assert_int_equal(weft_tx_begin(db, WEFT_WRITE, &second), WEFT_EBUSY);
    assert_has(weft_store_message(), "this thread has a write transaction open already");
    assert_null(second);
    must(weft_tx_begin(db, WEFT_READ, &second)); /* beside it: the state before */
    must(weft_tx_exec(tx, "UPDATE counter SET n = 5", ""));
    weft_stmt *row = weft_tx_query(second, "SELECT n FROM counter", "");
    assert_true(weft_stmt_row(row));
    assert_int_equal(weft_stmt_int(row, 0), 0);
    must(weft_tx_commit(tx));
    must(weft_tx_commit(second));
    must(weft_tx_begin(db, WEFT_WRITE, &tx));
    weft_tx_rollback(tx);
    weft_db_close(db);
}

static void busy_across_handles(void **state) {
    scratch *s = *state;
    weft_db *holder = OPEN(s->path, list);
    step_clock clock;
    step_clock_init(&clock, WEFT_NS_PER_S / 2);
    const weft_db_options o = {.size = sizeof o,
                               .migrations = list,
                               .migration_count = 1,
                               .clock = &clock.clock,
                               .busy_ns = 20 * WEFT_NS_PER_S};
    weft_db *db = open_with(s->path, &o);
    weft_tx *tx = NULL;
    weft_tx *late = NULL;
    must(weft_tx_begin(holder, WEFT_WRITE, &tx));
    const int64_t from = clock.now;
    assert_int_equal(weft_tx_begin(db, WEFT_WRITE, &late), WEFT_EBUSY);
    assert_in_range(clock.now - from, 20 * WEFT_NS_PER_S, 25 * WEFT_NS_PER_S);
    assert_has(weft_store_message(), "raise busy_ns");
    assert_null(late);
    must(weft_tx_commit(tx));
    must(weft_tx_begin(db, WEFT_WRITE, &late)); /* the turn was given back */
    must(weft_tx_commit(late));
    weft_db_close(holder);
    weft_db_close(db);
}

static void pool_is_bounded(void **state) {
    scratch *s = *state;
    step_clock clock;
    step_clock_init(&clock, WEFT_NS_PER_S);
    const weft_db_options o = {.size = sizeof o,
                               .migrations = list,
                               .migration_count = 1,
                               .connections = 2,
                               .clock = &clock.clock};
    weft_db *db = open_with(s->path, &o);
    weft_tx *tx[3] = {NULL};
    must(weft_tx_begin(db, WEFT_READ, &tx[0]));
    must(weft_tx_begin(db, WEFT_READ, &tx[1]));
    for (int mode = WEFT_READ; mode <= WEFT_WRITE; mode++) {
        assert_int_equal(weft_tx_begin(db, (weft_tx_mode)mode, &tx[2]), WEFT_EBUSY);
        assert_has(weft_store_message(), "all connections stayed in use for 5000 ms");
    }
    must(weft_tx_commit(tx[0]));
    must(weft_tx_begin(db, WEFT_WRITE, &tx[0]));
    must(weft_tx_commit(tx[0]));
    must(weft_tx_commit(tx[1]));
    weft_db_close(db);
}

/* ---- a clock that another thread moves */

static _Atomic int64_t shared_now;
static int64_t shared_read(void *user) {
    (void)user;
    return atomic_load(&shared_now);
}

static void waits_by_the_given_clock(void **state) {
    const weft_clock clock = {shared_read, shared_read, NULL};
    atomic_store(&shared_now, 1);
    const weft_db_options o = {
        .size = sizeof o, .migrations = list, .migration_count = 1, .clock = &clock};
    weft_db *db = open_with(((scratch *)*state)->path, &o);
    weft_tx *tx = NULL;
    must(weft_tx_begin(db, WEFT_WRITE, &tx));
    turn t = {.db = db, .mode = WEFT_WRITE};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, take_turn, &t), 0);
    await_waiting(db, &db->writer, 1);
    atomic_fetch_add(&shared_now, 4 * WEFT_NS_PER_S);
    assert_int_equal(waiting(db, &db->writer), 1);
    atomic_fetch_add(&shared_now, 2 * WEFT_NS_PER_S);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(t.rc, WEFT_EBUSY);
    assert_has(t.message, "other threads of this process kept writing for 5000 ms");
    assert_int_equal(waiting(db, &db->writer), 0);
    must(weft_tx_commit(tx));
    weft_db_close(db);
}

/* ---- closing */

static void closes_under_users(void **state) {
    scratch *s = *state;
    const weft_db_options o = {
        .size = sizeof o, .migrations = list, .migration_count = 1, .connections = 2};
    weft_db *db = open_with(s->path, &o);
    weft_tx *tx = NULL;
    weft_tx *reader = NULL;
    must(weft_tx_begin(db, WEFT_WRITE, &tx));
    must(weft_tx_begin(db, WEFT_READ, &reader));
    turn turns[2] = {{.db = db, .mode = WEFT_WRITE}, {.db = db, .mode = WEFT_READ}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_turn, &turns[i]), 0);
    await_waiting(db, &db->writer, 1);
    await_waiting(db, &db->pool, 1);
    weft_db_close(db);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(turns[i].rc, WEFT_ECLOSED);
        assert_has(turns[i].message, "closed");
    }
    /* Those inside may finish. */
    must(weft_tx_exec(tx, "UPDATE counter SET n = 77", ""));
    weft_tx *more = NULL;
    assert_int_equal(weft_tx_begin(db, WEFT_READ, &more), WEFT_ECLOSED);
    must(weft_tx_commit(tx));
    weft_tx_rollback(reader);
    db = OPEN(s->path, list);
    assert_int_equal(number_of(db, "SELECT n FROM counter"), 77);
    weft_db_close(db);
}

/* ---- opening */

static void *open_and_count(void *arg) {
    weft_db *db = NULL;
    const weft_db_options o = {
        .size = sizeof o, .migrations = list, .migration_count = 1, .busy_ns = 60 * WEFT_NS_PER_S};
    char *why = NULL;
    int rc = weft_db_open(arg, &o, &db, &why);
    if (rc) print_error("open: %d: %s\n", rc, why ? why : "");
    expect(rc == 0);
    weft_free(why);
    if (rc) return NULL;
    weft_tx *tx = NULL;
    expect(weft_tx_begin(db, WEFT_WRITE, &tx) == 0);
    expect(weft_tx_exec(tx, "UPDATE counter SET n = n + 1", "") == 0);
    expect(weft_tx_commit(tx) == 0);
    weft_db_close(db);
    return NULL;
}

static void opens_a_new_file_at_once(void **state) {
    scratch *s = *state;
    for (int round = 0; round < 10; round++) {
        char path[sizeof s->path + 16];
        (void)snprintf(path, sizeof path, "%s.%d", s->path, round);
        void *args[THREADS];
        for (int i = 0; i < THREADS; i++) args[i] = path;
        run_threads(THREADS, open_and_count, args);
        weft_db *db = OPEN(path, list);
        assert_int_equal(number_of(db, "SELECT n FROM counter"), THREADS);
        weft_db_close(db);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(counts_in_one_handle),
        TEST(counts_in_two_handles),
        TEST(readers_see_whole_transactions),
        TEST(writers_take_turns),
        TEST(same_thread_twice),
        TEST(busy_across_handles),
        TEST(pool_is_bounded),
        TEST(waits_by_the_given_clock),
        TEST(closes_under_users),
        TEST(opens_a_new_file_at_once),
    };
    return cmocka_run_group_tests_name("store/threads", tests, NULL, NULL);
}
