/* lib/store with real processes: killed in the middle of writing, migrating and holding a lease;
 * many that open a new file at once. A child is this program again, with what to do as its
 * arguments. */
#include "tests/unit/store/store_support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "weft/mem.h"
#include "weft/store_revisions.h"

static const weft_migration list[] = {
    {"rows", "CREATE TABLE row (n INTEGER PRIMARY KEY, text TEXT NOT NULL)"},
    /* Larger than a connection's cache, so that it reaches the log before its commit. */
    {"bulk",
     "CREATE TABLE bulk (n INTEGER PRIMARY KEY, text TEXT NOT NULL);"
     "INSERT INTO bulk WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE "
     "n < 20000) SELECT n, hex(zeroblob(150)) FROM i"},
    {"third",
     "CREATE TABLE third (n INTEGER PRIMARY KEY); INSERT INTO third SELECT count(*) FROM bulk"}};

#define BUSY (60 * WEFT_NS_PER_S)

/* ---- what children do: fd 3 is their way to say, fd 4 to be told */

static void say(int64_t n) {
    if (write(3, &n, sizeof n) != sizeof n) _exit(20);
}

static void wait_to_be_told(void) {
    char byte = 0;
    if (read(4, &byte, 1) != 1) _exit(21);
}

static weft_db *child_open(const char *path, size_t count, const weft_clock *clock) {
    weft_db *db = NULL;
    char *why = NULL;
    const weft_db_options o = {.size = sizeof o,
                               .migrations = list,
                               .migration_count = count,
                               .busy_ns = BUSY,
                               .clock = clock};
    if (weft_db_open(path, &o, &db, &why)) {
        (void)fprintf(stderr, "child: %s\n", why ? why : "out of memory");
        _exit(22);
    }
    return db;
}

/* Rows 1, 2, 3 … one a transaction, each said after its commit. */
static void child_write(const char *path) {
    weft_db *db = child_open(path, 1, NULL);
    for (;;) {
        weft_tx *tx = NULL;
        if (weft_tx_begin(db, WEFT_WRITE, &tx)) _exit(23);
        weft_stmt *row = weft_tx_query(tx, "SELECT coalesce(max(n), 0) + 1 FROM row", "");
        const int64_t n = weft_stmt_row(row) ? weft_stmt_int(row, 0) : 0;
        (void)weft_tx_exec(tx, "INSERT INTO row VALUES (?, printf('%.*c', ?, 'x'))", "ll", n,
                           n * 37 % 9000);
        if (weft_tx_commit(tx)) _exit(24);
        say(n);
    }
}

static void child_hold(const char *path) {
    weft_db *db = child_open(path, 1, NULL);
    weft_tx *tx = NULL;
    if (weft_tx_begin(db, WEFT_WRITE, &tx)) _exit(23);
    (void)weft_tx_exec(tx, "INSERT INTO row VALUES (-1, 'never committed')", "");
    say(1);
    wait_to_be_told();
    _exit(25);
}

static void child_lease(const char *path) {
    weft_db *db = child_open(path, 1, NULL);
    weft_lease lease;
    if (weft_lease_acquire(db, "relay", "child", INT64_MAX / 2, &lease)) _exit(23);
    say(lease.fence);
    wait_to_be_told();
    _exit(25);
}

static void child_open_at_once(const char *path) {
    wait_to_be_told();
    weft_db *db = child_open(path, 3, NULL);
    weft_tx *tx = NULL;
    if (weft_tx_begin(db, WEFT_WRITE, &tx)) _exit(23);
    (void)weft_tx_exec(tx, "INSERT INTO row (text) VALUES ('here')", "");
    if (weft_tx_commit(tx)) _exit(24);
    weft_db_close(db);
    _exit(0);
}

/* Dies in the middle of migration number `die_at`: after its SQL, before its record and commit. */
static int die_at;
static int64_t deadly_wall(void *user) {
    (void)user;
    if (--die_at == 0) (void)raise(SIGKILL);
    return 1;
}
static int64_t real_now(void *user) {
    (void)user;
    return weft_now(NULL);
}

static void child_migrate(const char *path, const char *at) {
    die_at = (int)strtol(at, NULL, 10);
    const weft_clock clock = {real_now, deadly_wall, NULL};
    (void)child_open(path, 3, &clock);
    _exit(0);
}

/* Revisions: two documents and a manifest that names them, then the head. */
static void child_revise(const char *path) {
    weft_db *db = child_open(path, 1, NULL);
    weft_revisions *r = NULL;
    if (weft_revisions_sqlite(db, &r)) _exit(23);
    weft_head head = {.sequence = 0};
    const int rc = weft_revisions_head(r, "mesh", &head);
    if (rc && rc != WEFT_ENOTFOUND) _exit(24);
    for (;;) {
        char text[2][64];
        weft_blob documents[2];
        char ids[2][WEFT_BLOB_ID];
        char manifest[2 * WEFT_BLOB_ID + 1];
        char id[1][WEFT_BLOB_ID];
        for (int i = 0; i < 2; i++) {
            (void)snprintf(text[i], sizeof text[i], "document %d of revision %lld", i,
                           (long long)head.sequence + 1);
            documents[i] = (weft_blob){text[i], strlen(text[i])};
        }
        if (weft_revisions_put(r, documents, 2, ids)) _exit(25);
        (void)snprintf(manifest, sizeof manifest, "%s %s", ids[0], ids[1]);
        const weft_blob blob = {manifest, strlen(manifest)};
        if (weft_revisions_put(r, &blob, 1, id)) _exit(26);
        const weft_head_move move = {
            .size = sizeof move, .name = "mesh", .expect = head.sequence, .id = id[0]};
        if (weft_revisions_move(r, &move, &head)) _exit(27);
        say(head.sequence);
    }
}

static int child_main(char **argv) {
    const char *what = argv[1];
    if (strcmp(what, "write") == 0) child_write(argv[2]);
    if (strcmp(what, "hold") == 0) child_hold(argv[2]);
    if (strcmp(what, "lease") == 0) child_lease(argv[2]);
    if (strcmp(what, "open") == 0) child_open_at_once(argv[2]);
    if (strcmp(what, "migrate") == 0) child_migrate(argv[2], argv[3]);
    if (strcmp(what, "revise") == 0) child_revise(argv[2]);
    return 2;
}

/* ---- processes */

typedef struct process {
    pid_t pid;
    int said, tell;
} process;

static process start(const char *what, const char *path, const char *argument) {
    int out[2];
    int in[2];
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(in), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        /* Out of the way of 3 and 4 first. */
        const int say_fd = fcntl(out[1], F_DUPFD, 10);
        const int told_fd = fcntl(in[0], F_DUPFD, 10);
        if (dup2(say_fd, 3) < 0 || dup2(told_fd, 4) < 0) _exit(28);
        for (int fd = 5; fd < 32; fd++) (void)close(fd);
        execl("/proc/self/exe", "test_store_crash", what, path, argument, (char *)NULL);
        _exit(29);
    }
    (void)close(out[1]);
    (void)close(in[0]);
    return (process){.pid = pid, .said = out[0], .tell = in[1]};
}

/* What the child said next; -1 at its end. */
static int64_t hear(const process *p) {
    int64_t n = 0;
    return read(p->said, &n, sizeof n) == sizeof n ? n : -1;
}

static int finish(process *p) {
    int status = 0;
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    (void)close(p->said);
    (void)close(p->tell);
    return status;
}

static void kill_it(process *p) {
    assert_int_equal(kill(p->pid, SIGKILL), 0);
    const int status = finish(p);
    if (!WIFSIGNALED(status)) fail_msg("the child ended by itself with status %d", status);
}

/* ---- cases */

static void killed_while_writing(void **state) {
    scratch *s = *state;
    weft_db *open[12] = {NULL};
    int64_t last = 0;
    for (int round = 0; round < 12; round++) {
        process p = start("write", s->path, NULL);
        for (int i = 0; i < 1 + round * 7 % 30; i++) {
            last = hear(&p);
            assert_true(last > 0);
        }
        assert_int_equal(kill(p.pid, SIGKILL), 0);
        for (int64_t n = 0; (n = hear(&p)) > 0;) last = n; /* said before it died */
        assert_true(WIFSIGNALED(finish(&p)));
        weft_db *db = open_db(s->path, list, 1);
        const int64_t rows = number_of(db, "SELECT count(*) FROM row");
        /* The last one may have been committed and not said any more. */
        if (rows != last && rows != last + 1)
            fail_msg("%lld rows were committed, %lld are there", (long long)last, (long long)rows);
        assert_int_equal(number_of(db, "SELECT max(n) FROM row"), rows);
        assert_int_equal(
            number_of(db, "SELECT count(*) FROM row WHERE length(text) = max(n * 37 % 9000, 1)"),
            rows);
        last = rows;
        if (round % 2)
            weft_db_close(db); /* checkpoints: the next writer starts a new log */
        else
            open[round] = db;
    }
    for (int i = 0; i < 12; i++) weft_db_close(open[i]);
}

static void killed_holding_the_lock(void **state) {
    scratch *s = *state;
    weft_db *db = open_with(s->path, &(weft_db_options){.size = sizeof(weft_db_options),
                                                        .migrations = list,
                                                        .migration_count = 1,
                                                        .busy_ns = WEFT_NS_PER_MS});
    process p = start("hold", s->path, NULL);
    assert_int_equal(hear(&p), 1);
    assert_int_equal(write_sql(db, "INSERT INTO row VALUES (1, 'x')"), WEFT_EBUSY);
    assert_int_equal(number_of(db, "SELECT count(*) FROM row"), 0); /* readers do not wait */
    kill_it(&p);
    must(write_sql(db, "INSERT INTO row VALUES (1, 'x')"));
    assert_int_equal(number_of(db, "SELECT count(*) FROM row"), 1);
    weft_db_close(db);
}

static void killed_owner(void **state) {
    scratch *s = *state;
    process p = start("lease", s->path, NULL);
    const int64_t fence = hear(&p);
    assert_true(fence > 0);
    kill_it(&p);
    weft_clock_manual clock;
    weft_clock_manual_init(&clock, weft_wall(NULL));
    weft_db *db = open_with(s->path, &(weft_db_options){.size = sizeof(weft_db_options),
                                                        .migrations = list,
                                                        .migration_count = 1,
                                                        .clock = &clock.clock});
    weft_lease lease;
    assert_int_equal(weft_lease_acquire(db, "relay", "parent", WEFT_NS_PER_S, &lease), WEFT_EBUSY);
    clock.now = INT64_MAX - WEFT_NS_PER_S;
    must(weft_lease_acquire(db, "relay", "parent", WEFT_NS_PER_S, &lease));
    assert_true(lease.fence > fence);
    weft_db_close(db);
}

static void check_migrated(const char *path) {
    weft_db *db = open_db(path, list, 3);
    assert_int_equal(number_of(db, "PRAGMA user_version"), 3);
    assert_int_equal(number_of(db, "SELECT count(*) FROM bulk"), 20000);
    assert_int_equal(number_of(db, "SELECT n FROM third"), 20000);
    assert_int_equal(number_of(db, "SELECT count(*) FROM third"), 1);
    assert_int_equal(
        number_of(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"),
        1);
    weft_db_close(db);
}

static void killed_while_migrating(void **state) {
    scratch *s = *state;
    /* The clock's wall is read once a migration: ours, then 1, 2 and 3. */
    for (int at = 1; at <= 4; at++) {
        scratch_remove(s);
        scratch_make(s);
        const char text[] = {(char)('0' + at), '\0'};
        process p = start("migrate", s->path, text);
        const int status = finish(&p);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        if (at > 1) {
            weft_db *db = open_db(s->path, list, (size_t)at - 2); /* exactly those before */
            weft_db_close(db);
        }
        check_migrated(s->path);
    }
}

/* In the middle of the SQL, once a megabyte of it is in the log. */
static void killed_in_bulk(void **state) {
    scratch *s = *state;
    char log[100];
    (void)snprintf(log, sizeof log, "%s-wal", s->path);
    weft_db_close(open_db(s->path, list, 1));
    const int watch = inotify_init1(IN_CLOEXEC);
    assert_true(watch >= 0);
    assert_true(inotify_add_watch(watch, s->dir, IN_MODIFY) >= 0);
    process p = start("migrate", s->path, "99");
    struct stat st = {0};
    do {
        char events[4096];
        assert_true(read(watch, events, sizeof events) > 0);
        if (stat(log, &st) != 0) st.st_size = 0;
    } while (st.st_size < 1 << 20);
    assert_int_equal(kill(p.pid, SIGKILL), 0);
    (void)finish(&p); /* it may just have been done */
    (void)close(watch);
    check_migrated(s->path);
}

static void many_open_a_new_file(void **state) {
    scratch *s = *state;
    enum { MANY = 6, ROUNDS = 3 };
    for (int round = 0; round < ROUNDS; round++) {
        scratch_remove(s);
        scratch_make(s);
        process p[MANY];
        for (int i = 0; i < MANY; i++) p[i] = start("open", s->path, NULL);
        for (int i = 0; i < MANY; i++) assert_int_equal(write(p[i].tell, "x", 1), 1);
        for (int i = 0; i < MANY; i++) assert_int_equal(finish(&p[i]), 0);
        check_migrated(s->path);
        weft_db *db = open_db(s->path, list, 3);
        assert_int_equal(number_of(db, "SELECT count(*) FROM row"), MANY);
        weft_db_close(db);
    }
}

/* Whatever the head names is there. */
static void check_revision(weft_revisions *r, const weft_head *head) {
    weft_buf manifest;
    weft_buf document;
    weft_buf_init(&manifest, 0);
    weft_buf_init(&document, 0);
    must(weft_revisions_get(r, head->id, &manifest));
    assert_int_equal(manifest.len, 2 * (WEFT_BLOB_ID - 1) + 1);
    for (int i = 0; i < 2; i++) {
        char id[WEFT_BLOB_ID] = "";
        memcpy(id, manifest.data + i * WEFT_BLOB_ID, WEFT_BLOB_ID - 1);
        char expected[64];
        (void)snprintf(expected, sizeof expected, "document %d of revision %lld", i,
                       (long long)head->sequence);
        weft_buf_clear(&document);
        must(weft_revisions_get(r, id, &document));
        assert_string_equal(weft_buf_str(&document), expected);
    }
    weft_buf_free(&manifest);
    weft_buf_free(&document);
}

static void killed_while_revising(void **state) {
    scratch *s = *state;
    for (int round = 0; round < 8; round++) {
        process p = start("revise", s->path, NULL);
        int64_t last = 0;
        for (int i = 0; i <= round; i++) last = hear(&p);
        assert_true(last > 0);
        assert_int_equal(kill(p.pid, SIGKILL), 0);
        for (int64_t n = 0; (n = hear(&p)) > 0;) last = n;
        assert_true(WIFSIGNALED(finish(&p)));
        weft_db *db = open_db(s->path, list, 1);
        weft_revisions *r = NULL;
        weft_head head;
        must(weft_revisions_sqlite(db, &r));
        must(weft_revisions_head(r, "mesh", &head));
        assert_in_range(head.sequence, last, last + 1);
        check_revision(r, &head);
        weft_revisions_free(r);
        weft_db_close(db);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(int argc, char **argv) {
    if (argc > 2) return child_main(argv);
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        TEST(killed_while_writing),   TEST(killed_holding_the_lock), TEST(killed_owner),
        TEST(killed_while_migrating), TEST(killed_in_bulk),          TEST(many_open_a_new_file),
        TEST(killed_while_revising),
    };
    return cmocka_run_group_tests_name("store crash", tests, NULL, NULL);
}
