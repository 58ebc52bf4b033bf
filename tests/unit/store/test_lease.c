/* Leases: two owners with a handle each on one file, under a clock that the test moves. */
#include "store_support.h"

#include <string.h>

static const weft_migration list[] = {{"work", "CREATE TABLE work (n INTEGER NOT NULL)"}};

typedef struct pair {
    scratch s;
    weft_clock_manual clock;
    weft_db *a, *b;
} pair;

#define TTL (10 * WEFT_NS_PER_S)

static pair p;

static void reopen(void) {
    const weft_db_options o = {
        .size = sizeof o, .migrations = list, .migration_count = 1, .clock = &p.clock.clock};
    weft_db_close(p.a);
    weft_db_close(p.b);
    p.a = open_with(p.s.path, &o);
    p.b = open_with(p.s.path, &o);
}

static int setup(void **state) {
    (void)state;
    p = (pair){.a = NULL};
    scratch_make(&p.s);
    weft_clock_manual_init(&p.clock, 1000 * WEFT_NS_PER_S);
    reopen();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weft_db_close(p.a);
    weft_db_close(p.b);
    scratch_remove(&p.s);
    return 0;
}

/* One guarded transaction of an owner, as sagas and relays do it. */
static int work(weft_db *db, const weft_lease *lease) {
    weft_tx *tx = NULL;
    int rc = weft_tx_begin(db, WEFT_WRITE, &tx);
    if (rc) return rc;
    rc = weft_lease_check(tx, lease);
    (void)weft_tx_exec(tx, "INSERT INTO work VALUES (?)", "l", lease->fence);
    const int end = weft_tx_commit(tx); /* even an owner that does not heed rc */
    assert_int_equal(rc, end);
    return end;
}

static void one_owner_at_a_time(void **state) {
    (void)state;
    weft_lease a;
    weft_lease b = {.fence = -1};
    must(weft_lease_acquire(p.a, "relay", "instance-a", TTL, &a));
    assert_string_equal(a.name, "relay");
    assert_string_equal(a.owner, "instance-a");
    assert_true(a.fence > 0);
    assert_int_equal(a.expires, p.clock.now + TTL);
    weft_clock_manual_advance(&p.clock, TTL / 2);
    assert_int_equal(weft_lease_acquire(p.b, "relay", "instance-b", TTL, &b), WEFT_EBUSY);
    assert_has(weft_store_message(), "held by instance-a for another 5000 ms");
    assert_int_equal(b.fence, -1); /* untouched */
    must(work(p.a, &a));
    /* Another name is another lease. */
    must(weft_lease_acquire(p.b, "saga", "instance-b", TTL, &b));
    assert_true(b.fence > a.fence);
    must(work(p.b, &b));
}

static void acquiring_again_renews(void **state) {
    (void)state;
    weft_lease first;
    weft_lease again;
    must(weft_lease_acquire(p.a, "relay", "a", TTL, &first));
    weft_clock_manual_advance(&p.clock, TTL - 1);
    must(weft_lease_acquire(p.a, "relay", "a", TTL, &again));
    assert_int_equal(again.fence, first.fence);
    assert_int_equal(again.expires, first.expires + TTL - 1);
    weft_clock_manual_advance(&p.clock, TTL - 1);
    must(work(p.a, &first)); /* the same fence: still held */
    /* Run out: the same owner gets a new fence, the old one is worth nothing. */
    weft_clock_manual_advance(&p.clock, 1);
    must(weft_lease_acquire(p.a, "relay", "a", TTL, &again));
    assert_true(again.fence > first.fence);
    assert_int_equal(work(p.a, &first), WEFT_ECONFLICT);
    must(work(p.a, &again));
}

static void sleeper_cannot_write(void **state) {
    (void)state;
    weft_lease a;
    weft_lease b;
    must(weft_lease_acquire(p.a, "relay", "a", TTL, &a));
    weft_clock_manual_advance(&p.clock, TTL); /* a sleeps; to the ns: run out */
    assert_int_equal(work(p.a, &a), WEFT_ECONFLICT);
    must(weft_lease_acquire(p.b, "relay", "b", TTL, &b));
    assert_true(b.fence > a.fence);
    assert_int_equal(work(p.a, &a), WEFT_ECONFLICT);
    assert_has(weft_store_message(), "a lost lease \"relay\"");
    assert_int_equal(weft_lease_renew(p.a, &a, TTL), WEFT_ECONFLICT);
    assert_int_equal(weft_lease_release(p.a, &a), WEFT_ECONFLICT); /* b's stays */
    must(work(p.b, &b));
    assert_int_equal(weft_lease_acquire(p.a, "relay", "a", TTL, &a), WEFT_EBUSY);
    assert_int_equal(number_of(p.a, "SELECT count(*) FROM work"), 1);
    assert_int_equal(number_of(p.a, "SELECT n FROM work"), b.fence);
}

/* The lease cannot change hands between the check and the commit. */
static void checked_until_commit(void **state) {
    (void)state;
    weft_lease a;
    weft_lease b;
    must(weft_lease_acquire(p.a, "relay", "a", TTL, &a));
    weft_tx *tx = NULL;
    must(weft_tx_begin(p.a, WEFT_WRITE, &tx));
    must(weft_lease_check(tx, &a));
    weft_db *quick = NULL;
    step_clock clock;
    step_clock_init(&clock, WEFT_NS_PER_S);
    clock.now = p.clock.now + TTL;
    const weft_db_options o = {
        .size = sizeof o, .migrations = list, .migration_count = 1, .clock = &clock.clock};
    quick = open_with(p.s.path, &o);
    assert_int_equal(weft_lease_acquire(quick, "relay", "b", TTL, &b),
                     WEFT_EBUSY); /* the file's lock */
    must(weft_tx_exec(tx, "INSERT INTO work VALUES (1)", ""));
    must(weft_tx_commit(tx));
    must(weft_lease_acquire(quick, "relay", "b", TTL, &b));
    weft_db_close(quick);
}

static void renew_and_release(void **state) {
    (void)state;
    weft_lease a;
    weft_lease b;
    must(weft_lease_acquire(p.a, "relay", "a", TTL, &a));
    for (int i = 0; i < 5; i++) {
        weft_clock_manual_advance(&p.clock, TTL - 1);
        must(weft_lease_renew(p.a, &a, TTL));
        assert_int_equal(a.expires, p.clock.now + TTL);
        must(work(p.a, &a));
    }
    must(weft_lease_release(p.a, &a));
    assert_int_equal(weft_lease_release(p.a, &a), WEFT_ECONFLICT);
    assert_int_equal(work(p.a, &a), WEFT_ECONFLICT);
    must(weft_lease_acquire(p.b, "relay", "b", TTL, &b)); /* at once */
    assert_true(b.fence > a.fence);
    /* A lease that ran out is lost to its owner even when nobody took it. */
    weft_clock_manual_advance(&p.clock, TTL);
    assert_int_equal(weft_lease_renew(p.b, &b, TTL), WEFT_ECONFLICT);
    must(weft_lease_acquire(p.b, "relay", "b", INT64_MAX, &b)); /* for ever */
    assert_true(b.expires == INT64_MAX);
    must(work(p.b, &b));
}

/* Fences grow over releases, other names, closing the file; rows that ran out do not pile up. */
static void fences_grow(void **state) {
    (void)state;
    int64_t last = 0;
    for (int i = 0; i < 40; i++) {
        weft_lease lease;
        const char *name = i % 3 ? "x" : "y";
        must(weft_lease_acquire(i % 2 ? p.a : p.b, name, i % 2 ? "a" : "b", TTL, &lease));
        assert_true(lease.fence > last);
        last = lease.fence;
        if (i % 4 == 0)
            must(weft_lease_release(i % 2 ? p.a : p.b, &lease));
        else
            weft_clock_manual_advance(&p.clock, TTL);
        assert_true(number_of(p.a, "SELECT count(*) FROM weft_lease") <= 2);
        if (i % 10 == 9) reopen();
    }
}

static void bad_arguments(void **state) {
    (void)state;
    weft_lease l;
    char longest[64];
    char too_long[65];
    memset(longest, 'n', 63);
    longest[63] = '\0';
    memset(too_long, 'n', 64);
    too_long[64] = '\0';
    assert_int_equal(weft_lease_acquire(NULL, "x", "a", TTL, &l), WEFT_EINVAL);
    assert_int_equal(weft_lease_acquire(p.a, NULL, "a", TTL, &l), WEFT_EINVAL);
    assert_int_equal(weft_lease_acquire(p.a, "x", NULL, TTL, &l), WEFT_EINVAL);
    assert_int_equal(weft_lease_acquire(p.a, "", "a", TTL, &l), WEFT_EINVAL);
    assert_int_equal(weft_lease_acquire(p.a, too_long, "a", TTL, &l), WEFT_EINVAL);
    assert_int_equal(weft_lease_acquire(p.a, "x", too_long, TTL, &l), WEFT_EINVAL);
    assert_has(weft_store_message(), "1 to 63 bytes");
    assert_int_equal(weft_lease_acquire(p.a, "x", "a", 0, &l), WEFT_EINVAL);
    assert_int_equal(weft_lease_acquire(p.a, "x", "a", -1, &l), WEFT_EINVAL);
    assert_int_equal(weft_lease_acquire(p.a, "x", "a", TTL, NULL), WEFT_EINVAL);
    must(weft_lease_acquire(p.a, longest, longest, TTL, &l));
    assert_string_equal(l.name, longest);
    assert_int_equal(weft_lease_renew(p.a, &l, 0), WEFT_EINVAL);
    assert_int_equal(weft_lease_renew(NULL, &l, TTL), WEFT_EINVAL);
    assert_int_equal(weft_lease_renew(p.a, NULL, TTL), WEFT_EINVAL);
    assert_int_equal(weft_lease_release(NULL, &l), WEFT_EINVAL);
    assert_int_equal(weft_lease_release(p.a, NULL), WEFT_EINVAL);
    assert_int_equal(weft_lease_check(NULL, &l), WEFT_EINTERNAL);
    weft_tx *tx = NULL;
    must(weft_tx_begin(p.a, WEFT_WRITE, &tx));
    weft_lease never = {.fence = 1};
    assert_int_equal(weft_lease_check(tx, &never), WEFT_EINVAL);
    assert_int_equal(weft_tx_commit(tx), WEFT_EINVAL); /* not by accident */
    /* A forged fence or owner is not the lease. */
    weft_lease forged = l;
    forged.fence++;
    assert_int_equal(work(p.a, &forged), WEFT_ECONFLICT);
    forged = l;
    forged.owner[0] = 'x';
    assert_int_equal(work(p.a, &forged), WEFT_ECONFLICT);
    memset(forged.name, 'z', sizeof forged.name); /* not terminated */
    must(weft_tx_begin(p.a, WEFT_WRITE, &tx));
    assert_int_equal(weft_lease_check(tx, &forged), WEFT_EINVAL);
    weft_tx_rollback(tx);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(one_owner_at_a_time),  TEST(acquiring_again_renews), TEST(sleeper_cannot_write),
        TEST(checked_until_commit), TEST(renew_and_release),      TEST(fences_grow),
        TEST(bad_arguments),
    };
    return cmocka_run_group_tests_name("store/lease", tests, NULL, NULL);
}
