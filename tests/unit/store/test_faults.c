/* Memory that runs out, disks that fail or fill up, bytes that change: an error every time, never a
 * crash, and what was committed is there afterwards. */
#include "store_support.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weft/buf.h"
#include "weft/mem.h"
#include "weft/rng.h"
#include "weft/store_revisions.h"

static const weft_migration list[] = {
    {"counter", "CREATE TABLE counter (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);"
                "INSERT INTO counter VALUES (1, 0)"},
    {"log", "CREATE TABLE log (n INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);"
            "CREATE INDEX log_text ON log (text, n)"}};

static const weft_db_options options = {
    .size = sizeof options, .migrations = list, .migration_count = 2, .connections = 2};

/* ---- a life in small */

static int count_up(weft_db *db) {
    weft_tx *tx = NULL;
    int rc = weft_tx_begin(db, WEFT_WRITE, &tx);
    if (rc) return rc;
    weft_stmt *row = weft_tx_query(tx, "SELECT n FROM counter WHERE id = ?", "i", 1);
    const int64_t n = weft_stmt_row(row) ? weft_stmt_int(row, 0) : 0;
    char text[600];
    memset(text, 'a' + (int)(n % 26), sizeof text);
    (void)snprintf(text, 24, "%lld", (long long)n);
    text[strlen(text)] = ' ';
    text[sizeof text - 1] = '\0';
    (void)weft_tx_exec(tx, "UPDATE counter SET n = ? WHERE id = ?", "li", n + 1, 1);
    (void)weft_tx_exec(tx, "INSERT INTO log VALUES (?, ?)", "ls", n + 1, text);
    row = weft_tx_query(tx, "SELECT text FROM log ORDER BY text DESC", "");
    while (weft_stmt_row(row)) (void)strlen(weft_stmt_text(row, 0));
    return weft_tx_commit(tx);
}

static int revise(weft_db *db) {
    weft_revisions *r = NULL;
    int rc = weft_revisions_sqlite(db, &r);
    if (rc) return rc;
    const weft_blob blob = {"content", 7};
    char ids[1][WEFT_BLOB_ID];
    weft_head head = {.sequence = 0};
    weft_buf out;
    weft_buf_init(&out, 0);
    rc = weft_revisions_put(r, &blob, 1, ids);
    if (!rc) rc = weft_revisions_head(r, "h", &head);
    if (rc == WEFT_ENOTFOUND) rc = 0;
    const weft_head_move move = {
        .size = sizeof move, .name = "h", .expect = head.sequence, .id = ids[0]};
    if (!rc) rc = weft_revisions_move(r, &move, &head);
    if (!rc) rc = weft_revisions_watch(r, "h", 0, 0, &head);
    if (!rc) rc = weft_revisions_get(r, ids[0], &out);
    weft_buf_free(&out);
    weft_revisions_free(r);
    return rc;
}

typedef struct outcome {
    int open, up[3], lease, revise;
} outcome;

static outcome live(const char *path) {
    outcome o = {.open = 1};
    weft_db *db = NULL;
    char *why = NULL;
    o.open = weft_db_open(path, &options, &db, &why);
    weft_free(why);
    if (o.open) return o;
    for (int i = 0; i < 3; i++) o.up[i] = count_up(db);
    weft_lease lease;
    o.lease = weft_lease_acquire(db, "l", "me", WEFT_NS_PER_S, &lease);
    if (!o.lease) (void)weft_lease_release(db, &lease);
    o.revise = revise(db);
    weft_db_close(db);
    return o;
}

/* What is in the file, looked at without faults. */
static int64_t counted(const char *path) {
    weft_db *db = open_with(path, &options);
    const int64_t n = number_of(db, "SELECT n FROM counter");
    assert_int_equal(number_of(db, "SELECT count(*) FROM log"), n);
    assert_int_equal(
        number_of(db, "SELECT count(*) FROM pragma_quick_check WHERE quick_check = 'ok'"), 1);
    weft_db_close(db);
    return n;
}

static void start_over(scratch *s) {
    scratch_remove(s);
    scratch_make(s);
}

/* ---- memory */

static bool plausible(int rc) { return rc == 0 || rc == WEFT_ENOMEM; }

static void out_of_memory(void **state) {
    scratch *s = *state;
    int64_t ran_out = 0;
    (void)fault_memory(0, false);
    (void)live(s->path);
    const int64_t all = fault_memory(0, false);
    assert_true(all > 500);
    /* Every early one, then one in three: opening has the most, and repeats itself. */
    for (int64_t at = 1; at <= all; at += at < 300 ? 1 : 3) {
        start_over(s);
        (void)fault_memory(at, false);
        const outcome o = live(s->path);
        (void)fault_memory(0, false);
        int64_t ok = 0;
        for (int i = 0; i < 3; i++) ok += o.open == 0 && o.up[i] == 0;
        if (!plausible(o.open) || !plausible(o.up[0]) || !plausible(o.up[1]) ||
            !plausible(o.up[2]) || !plausible(o.lease) || !plausible(o.revise))
            fail_msg("allocation %lld: open %d, transactions %d %d %d, lease %d, revisions %d",
                     (long long)at, o.open, o.up[0], o.up[1], o.up[2], o.lease, o.revise);
        ran_out += o.open || ok < 3 || o.lease || o.revise;
        assert_int_equal(counted(s->path), ok);
    }
    assert_true(ran_out > 100);
}

/* Memory that never comes back. */
static void out_of_memory_for_good(void **state) {
    scratch *s = *state;
    (void)fault_memory(0, false);
    (void)live(s->path);
    const int64_t all = fault_memory(0, false);
    for (int64_t at = 1; at <= all; at += 1 + all / 150) {
        start_over(s);
        (void)fault_memory(at, true);
        const outcome o = live(s->path);
        (void)fault_memory(0, false);
        int64_t ok = 0;
        for (int i = 0; i < 3; i++) ok += o.open == 0 && o.up[i] == 0;
        assert_true(plausible(o.open));
        assert_int_equal(counted(s->path), ok);
    }
}

/* ---- files */

/* Every write, sync, truncate and delete of a life fails in turn, once or from then on. */
static void files_fail(scratch *s, int code, bool on, int error) {
    start_over(s);
    (void)fault_files(0, 0, false);
    (void)live(s->path);
    const int64_t all = fault_files(0, 0, false);
    assert_true(all > 30);
    int64_t failed = 0;
    for (int64_t at = 1; at <= all; at++) {
        start_over(s);
        (void)fault_files(at, code, on);
        const outcome o = live(s->path);
        (void)fault_files(0, 0, false);
        int64_t ok = 0;
        int64_t doubt = 0;
        for (int i = 0; i < 3; i++) {
            ok += o.open == 0 && o.up[i] == 0;
            doubt += o.open == 0 && o.up[i] != 0;
            if (!o.open && o.up[i] && o.up[i] != error && o.up[i] != WEFT_EIO)
                fail_msg("%lld: %d", (long long)at, o.up[i]);
        }
        failed += o.open || doubt || o.lease || o.revise;
        const int64_t n = counted(s->path);
        if (n < ok || n > ok + doubt)
            fail_msg("fault %lld: %lld committed, %lld failed, %lld in the file", (long long)at,
                     (long long)ok, (long long)doubt, (long long)n);
    }
    assert_true(failed > 10);
}

static void disk_full(void **state) {
    files_fail(*state, SQLITE_FULL, true, WEFT_ELIMIT);
    files_fail(*state, SQLITE_FULL, false, WEFT_ELIMIT);
}

static void disk_fails(void **state) {
    files_fail(*state, SQLITE_IOERR, true, WEFT_EIO);
    files_fail(*state, SQLITE_IOERR, false, WEFT_EIO);
}

static void disk_full_says_so(void **state) {
    scratch *s = *state;
    weft_db *db = open_with(s->path, &options);
    must(count_up(db));
    (void)fault_files(1, SQLITE_FULL, true);
    assert_int_equal(count_up(db), WEFT_ELIMIT);
    assert_has(weft_store_message(), "the disk is full; free space where the file is");
    assert_has(weft_store_message(), "test.db");
    assert_int_equal(number_of(db, "SELECT n FROM counter"), 1); /* reading goes on */
    (void)fault_files(0, 0, false);
    must(count_up(db)); /* and writing, when there is space again */
    weft_db_close(db);
    assert_int_equal(counted(s->path), 2);
}

/* ---- bytes */

static size_t read_all(const char *path, unsigned char *out, size_t max) {
    const int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    const ssize_t got = read(fd, out, max);
    (void)close(fd);
    assert_in_range(got, 1, max - 1);
    return (size_t)got;
}

static void write_all(const char *path, const unsigned char *data, size_t size) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), size);
    (void)close(fd);
}

/* Uses everything; any outcome will do that is not a crash, a hang or success with an error's
 * sentence. */
static bool survive(const char *path) {
    const outcome o = live(path);
    return !o.open && !o.up[0] && !o.up[1] && !o.up[2] && !o.revise;
}

#define MOST ((size_t)1 << 20)

static void scramble(weft_rng *rng, unsigned char *data, size_t size) {
    const uint64_t n = 1 + weft_rng_below(rng, 12);
    /* Half of the time in the first page: header, schema. */
    const size_t range = weft_rng_below(rng, 2) && size > 4096 ? 4096 : size;
    for (uint64_t i = 0; i < n; i++)
        data[weft_rng_below(rng, range)] = (unsigned char)weft_rng_u64(rng);
}

static void bytes_change(void **state) {
    scratch *s = *state;
    unsigned char *good = malloc(MOST);
    unsigned char *bad = malloc(MOST);
    assert_true(good && bad);
    for (int i = 0; i < 8; i++) (void)live(s->path);
    const size_t size = read_all(s->path, good, MOST);
    weft_rng rng;
    weft_rng_seed(&rng, 20);
    int refused = 0;
    for (int i = 0; i < 300; i++) {
        start_over(s);
        memcpy(bad, good, size);
        scramble(&rng, bad, size);
        write_all(s->path, bad, i % 10 == 9 ? weft_rng_below(&rng, size) + 1 : size);
        refused += !survive(s->path);
    }
    assert_in_range(refused, 50, 299); /* some hit bytes nobody uses */
    free(good);
    free(bad);
}

/* A damaged log loses what comes after the damage, and only that. */
static void log_changes(void **state) {
    scratch *s = *state;
    unsigned char *file = malloc(MOST);
    unsigned char *good = malloc(MOST);
    unsigned char *bad = malloc(MOST);
    assert_true(file && good && bad);
    char log[100];
    (void)snprintf(log, sizeof log, "%s-wal", s->path);
    weft_db *db = open_with(s->path, &options);
    for (int i = 0; i < 10; i++) must(count_up(db));
    const size_t size = read_all(log, good, MOST);
    const size_t file_size = read_all(s->path, file, MOST);
    weft_db_close(db);
    weft_rng rng;
    weft_rng_seed(&rng, 21);
    int whole = 0;
    for (int i = 0; i < 100; i++) {
        start_over(s);
        (void)snprintf(log, sizeof log, "%s-wal", s->path);
        memcpy(bad, good, size);
        if (i) bad[weft_rng_below(&rng, size)] ^= (unsigned char)(1 + weft_rng_below(&rng, 255));
        write_all(s->path, file, file_size);
        write_all(log, bad, size);
        weft_db *again = NULL;
        char *why = NULL;
        if (weft_db_open(s->path, &options, &again, &why) == 0) {
            const int64_t n = number_of(again, "SELECT n FROM counter");
            assert_in_range(n, 0, 10);
            assert_int_equal(number_of(again, "SELECT count(*) FROM log"), n);
            whole += n == 10;
            weft_db_close(again);
        }
        weft_free(why);
    }
    assert_true(whole >= 1);
    free(file);
    free(good);
    free(bad);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    fault_memory_install();
    fault_files_install();
    const struct CMUnitTest tests[] = {
        TEST(out_of_memory),     TEST(out_of_memory_for_good), TEST(disk_full),   TEST(disk_fails),
        TEST(disk_full_says_so), TEST(bytes_change),           TEST(log_changes),
    };
    return cmocka_run_group_tests_name("store/faults", tests, NULL, NULL);
}
