/* Revisions: blobs, heads, history, watching across threads and processes, batches. */
#include "store_support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "weft/store_revisions.h"

typedef struct store {
    scratch s;
    weft_clock_manual clock;
    weft_db *db;
    weft_revisions *r;
} store;

static store st;

static weft_revisions *revisions(weft_db *db) {
    weft_revisions *r = NULL;
    must(weft_revisions_sqlite(db, &r));
    return r;
}

static int setup(void **state) {
    (void)state;
    st = (store){.db = NULL};
    scratch_make(&st.s);
    st.db = open_with(st.s.path, NULL);
    st.r = revisions(st.db);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weft_revisions_free(st.r);
    weft_db_close(st.db);
    scratch_remove(&st.s);
    return 0;
}

static void put_text(weft_revisions *r, const char *text, char id[WEFT_BLOB_ID]) {
    const weft_blob blob = {text, strlen(text)};
    char ids[1][WEFT_BLOB_ID];
    must(weft_revisions_put(r, &blob, 1, ids));
    memcpy(id, ids[0], WEFT_BLOB_ID);
}

static int move_to(weft_revisions *r, const char *name, int64_t expect, const char *id,
                   weft_head *out) {
    const weft_head_move move = {.size = sizeof move,
                                 .name = name,
                                 .expect = expect,
                                 .id = id,
                                 .author = "ann",
                                 .reason = "why"};
    return weft_revisions_move(r, &move, out);
}

/* ---- blobs */

static void blobs(void **state) {
    (void)state;
    char id[WEFT_BLOB_ID];
    char same[WEFT_BLOB_ID];
    put_text(st.r, "abc", id);
    assert_string_equal(id, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    put_text(st.r, "abc", same);
    assert_string_equal(id, same);
    assert_int_equal(number_of(st.db, "SELECT count(*) FROM weft_blob"), 1);
    weft_buf out;
    weft_buf_init(&out, 0);
    must(weft_buf_adds(&out, "before "));
    must(weft_revisions_get(st.r, id, &out));
    assert_string_equal(weft_buf_str(&out), "before abc");
    /* Empty, and with zero bytes */
    const weft_blob odd[2] = {{NULL, 0}, {"a\0b", 3}};
    char ids[2][WEFT_BLOB_ID];
    must(weft_revisions_put(st.r, odd, 2, ids));
    must(weft_revisions_put(st.r, odd, 2, NULL));
    must(weft_revisions_put(st.r, NULL, 0, NULL));
    weft_buf_clear(&out);
    must(weft_revisions_get(st.r, ids[0], &out));
    assert_int_equal(out.len, 0);
    must(weft_revisions_get(st.r, ids[1], &out));
    assert_int_equal(out.len, 3);
    weft_buf_clear(&out);
    id[0] = '0';
    assert_int_equal(weft_revisions_get(st.r, id, &out), WEFT_ENOTFOUND);
    assert_has(weft_store_message(), id);
    assert_int_equal(weft_revisions_get(st.r, "abc", &out), WEFT_EINVAL);
    assert_int_equal(weft_revisions_get(st.r, NULL, &out), WEFT_EINVAL);
    id[3] = 'G';
    assert_int_equal(weft_revisions_get(st.r, id, &out), WEFT_EINVAL);
    assert_int_equal(weft_revisions_get(st.r, same, NULL), WEFT_EINVAL);
    weft_buf small;
    weft_buf_init(&small, 2);
    assert_int_equal(weft_revisions_get(st.r, same, &small), WEFT_ELIMIT);
    weft_buf_free(&small);
    /* Bytes that changed under their name are not handed out. */
    must(write_sql(st.db, "UPDATE weft_blob SET data = x'616264' WHERE data = x'616263'"));
    assert_int_equal(weft_revisions_get(st.r, same, &out), WEFT_EIO);
    assert_has(weft_store_message(), "is damaged");
    assert_int_equal(out.len, 0);
    weft_buf_free(&out);
}

static void many_blobs(void **state) {
    (void)state;
    static char texts[700][32];
    static weft_blob list[700];
    static char ids[700][WEFT_BLOB_ID];
    for (int i = 0; i < 700; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "document %d", i);
        list[i] = (weft_blob){texts[i], strlen(texts[i])};
    }
    must(weft_revisions_put(st.r, list, 700, ids));
    assert_int_equal(number_of(st.db, "SELECT count(*) FROM weft_blob"), 700);
    weft_buf out;
    weft_buf_init(&out, 0);
    must(weft_revisions_get(st.r, ids[699], &out));
    assert_string_equal(weft_buf_str(&out), "document 699");
    weft_buf_free(&out);
    char *large = calloc(1, WEFT_BLOB_MAX + 1);
    assert_non_null(large);
    const weft_blob two[2] = {{"fits", 4}, {large, WEFT_BLOB_MAX + 1}};
    assert_int_equal(weft_revisions_put(st.r, two, 2, ids), WEFT_ELIMIT);
    assert_has(weft_store_message(), "blob 2 of 2 has 1048577 bytes");
    assert_int_equal(number_of(st.db, "SELECT count(*) FROM weft_blob"),
                     700); /* not even the first */
    const weft_blob most = {large, WEFT_BLOB_MAX};
    must(weft_revisions_put(st.r, &most, 1, NULL));
    const weft_blob wrong = {NULL, 5};
    assert_int_equal(weft_revisions_put(st.r, &wrong, 1, NULL), WEFT_EINVAL);
    assert_int_equal(weft_revisions_put(st.r, NULL, 1, NULL), WEFT_EINVAL);
    assert_int_equal(weft_revisions_put(NULL, NULL, 0, NULL), WEFT_EINVAL);
    free(large);
}

/* ---- a second backend: what it may rely on */

typedef struct recorder {
    size_t calls, ops[16], bytes[16];
    int fail_at;
    bool freed;
} recorder;

static int rec_put(void *self, const weft_blob *list, char (*ids)[WEFT_BLOB_ID], size_t count) {
    recorder *rec = self;
    if ((int)rec->calls + 1 == rec->fail_at) return WEFT_EBUSY;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        char id[WEFT_BLOB_ID];
        weft_blob_id(list[i].data, list[i].size, id);
        if (strcmp(id, ids[i]) != 0) return WEFT_EINTERNAL;
        bytes += list[i].size;
    }
    rec->ops[rec->calls] = count;
    rec->bytes[rec->calls++] = bytes;
    return 0;
}
static int rec_get(void *self, const char *id, weft_buf *out) {
    (void)self;
    (void)id;
    return weft_buf_adds(out, "not what was asked for");
}
static int rec_head(void *self, const char *name, weft_head *out) {
    (void)self;
    (void)name;
    (void)out;
    return WEFT_ENOTFOUND;
}
static int rec_move(void *self, const weft_head_move *move, weft_head *out) {
    (void)self;
    (void)move;
    (void)out;
    return 0;
}
static int rec_history(void *self, const char *name, int64_t before, weft_head *out, size_t max,
                       size_t *count) {
    (void)self;
    (void)name;
    (void)out;
    (void)max;
    *count = before == INT64_MAX ? 3 : 0;
    return 0;
}
static int rec_watch(void *self, const char *name, int64_t after, int64_t timeout_ns,
                     weft_head *out) {
    (void)self;
    (void)name;
    (void)after;
    (void)timeout_ns;
    (void)out;
    return WEFT_ETIMEOUT;
}
static void rec_stop(void *self) { (void)self; }
static int rec_acquire(void *self, const char *name, const char *owner, int64_t ttl_ns,
                       weft_lease *out) {
    (void)self;
    (void)name;
    (void)owner;
    (void)ttl_ns;
    (void)out;
    return WEFT_EBUSY;
}
static int rec_renew(void *self, weft_lease *lease, int64_t ttl_ns) {
    (void)self;
    (void)lease;
    (void)ttl_ns;
    return 0;
}
static int rec_release(void *self, const weft_lease *lease) {
    (void)self;
    (void)lease;
    return 0;
}
static void rec_free(void *self) { ((recorder *)self)->freed = true; }

static void batches(void **state) {
    (void)state;
    weft_revisions_backend backend = {sizeof backend, "recorder",  rec_put,   rec_get,  rec_head,
                                      rec_move,       rec_history, rec_watch, rec_stop, rec_acquire,
                                      rec_renew,      rec_release, rec_free};
    recorder rec = {.calls = 0};
    weft_revisions *r = NULL;
    must(weft_revisions_new(&backend, &rec, &r));
    static weft_blob small[300];
    for (int i = 0; i < 300; i++) small[i] = (weft_blob){"x", 1};
    must(weft_revisions_put(r, small, 300, NULL));
    assert_int_equal(rec.calls, 3);
    assert_int_equal(rec.ops[0], 128);
    assert_int_equal(rec.ops[1], 128);
    assert_int_equal(rec.ops[2], 44);
    char *large = calloc(1, WEFT_BLOB_MAX);
    assert_non_null(large);
    const weft_blob mixed[5] = {
        {large, 600000}, {large, 600000}, {large, 600000}, {large, WEFT_BLOB_MAX}, {large, 1}};
    rec = (recorder){.calls = 0};
    must(weft_revisions_put(r, mixed, 5, NULL));
    assert_int_equal(rec.calls, 3);
    assert_int_equal(rec.bytes[0], 1200000);
    assert_int_equal(rec.bytes[1], 600000);
    assert_int_equal(rec.bytes[2], WEFT_BLOB_MAX + 1);
    rec = (recorder){.fail_at = 2};
    assert_int_equal(weft_revisions_put(r, small, 300, NULL), WEFT_EBUSY);
    assert_int_equal(rec.calls, 1);
    free(large);
    weft_buf out;
    weft_buf_init(&out, 0);
    char id[WEFT_BLOB_ID];
    weft_blob_id("a", 1, id);
    assert_int_equal(weft_revisions_get(r, id, &out), WEFT_EIO);
    assert_has(weft_store_message(), "in recorder is damaged");
    weft_buf_free(&out);
    size_t count = 0;
    must(weft_revisions_history(r, "n", 0, NULL, 0, &count));
    assert_int_equal(count, 3);
    weft_lease lease;
    assert_int_equal(weft_revisions_lease_acquire(r, "a", "b", 1, &lease), WEFT_EBUSY);
    weft_revisions_stop(r);
    weft_revisions_free(r);
    assert_true(rec.freed);
    backend.size--;
    assert_int_equal(weft_revisions_new(&backend, &rec, &r), WEFT_EINVAL);
    backend.size++;
    backend.watch = NULL;
    assert_int_equal(weft_revisions_new(&backend, &rec, &r), WEFT_EINVAL);
}

/* ---- heads */

static void compare_and_swap(void **state) {
    (void)state;
    weft_db *other_db = open_with(st.s.path, NULL);
    weft_revisions *other = revisions(other_db);
    char a[WEFT_BLOB_ID];
    char b[WEFT_BLOB_ID];
    put_text(st.r, "revision a", a);
    put_text(other, "revision b", b);
    weft_head head = {.sequence = -1};
    assert_int_equal(weft_revisions_head(st.r, "mesh", &head), WEFT_ENOTFOUND);
    assert_int_equal(head.sequence, -1);
    assert_int_equal(move_to(st.r, "mesh", 1, a, &head), WEFT_ECONFLICT);
    assert_int_equal(head.sequence, 0);
    must(move_to(st.r, "mesh", 0, a, &head));
    assert_int_equal(head.sequence, 1);
    assert_string_equal(head.id, a);
    assert_string_equal(head.name, "mesh");
    assert_string_equal(head.author, "ann");
    assert_string_equal(head.reason, "why");
    assert_true(head.moved > 0);
    /* Both saw 1; one wins, the other learns where it is. */
    must(move_to(other, "mesh", 1, b, &head));
    assert_int_equal(move_to(st.r, "mesh", 1, a, &head), WEFT_ECONFLICT);
    assert_has(weft_store_message(), "is at 2 and was expected at 1");
    assert_int_equal(head.sequence, 2);
    assert_string_equal(head.id, b);
    must(move_to(st.r, "mesh", 2, a, &head)); /* back: a rollback is a move */
    assert_int_equal(head.sequence, 3);
    weft_head seen;
    must(weft_revisions_head(other, "mesh", &seen));
    assert_memory_equal(&seen, &head, sizeof head);
    /* A head never points at nothing. */
    char gone[WEFT_BLOB_ID];
    weft_blob_id("never stored", 12, gone);
    assert_int_equal(move_to(st.r, "mesh", 3, gone, &head), WEFT_ENOTFOUND);
    assert_has(weft_store_message(), "put it before");
    must(move_to(st.r, "staging", 0, b, &head)); /* another name counts for itself */
    assert_int_equal(head.sequence, 1);
    weft_revisions_free(other);
    weft_db_close(other_db);
}

static void leader_moves(void **state) {
    (void)state;
    char id[WEFT_BLOB_ID];
    put_text(st.r, "x", id);
    weft_lease old;
    weft_lease new;
    must(weft_revisions_lease_acquire(st.r, "leader", "a", WEFT_NS_PER_S * 1000, &old));
    must(weft_revisions_lease_renew(st.r, &old, WEFT_NS_PER_S * 1000));
    weft_head head;
    weft_head_move move = {.size = sizeof move, .name = "mesh", .id = id, .lease = &old};
    must(weft_revisions_move(st.r, &move, &head));
    assert_string_equal(head.author, "");
    must(weft_revisions_lease_release(st.r, &old));
    must(weft_revisions_lease_acquire(st.r, "leader", "b", WEFT_NS_PER_S * 1000, &new));
    move.expect = 1;
    assert_int_equal(weft_revisions_move(st.r, &move, &head), WEFT_ECONFLICT);
    assert_has(weft_store_message(), "lost lease \"leader\"");
    assert_int_equal(head.sequence, 1); /* as expected: it was the lease */
    move.lease = &new;
    must(weft_revisions_move(st.r, &move, &head));
    assert_int_equal(head.sequence, 2);
}

static void history(void **state) {
    (void)state;
    char ids[5][WEFT_BLOB_ID];
    weft_head head;
    for (int i = 0; i < 5; i++) {
        const char text[] = {'r', (char)('0' + i), '\0'};
        put_text(st.r, text, ids[i]);
        must(move_to(st.r, "mesh", i, ids[i], &head));
    }
    must(move_to(st.r, "other", 0, ids[0], &head));
    weft_head list[4];
    size_t count = 9;
    must(weft_revisions_history(st.r, "mesh", 0, list, 4, &count));
    assert_int_equal(count, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(list[i].sequence, 5 - i);
        assert_string_equal(list[i].id, ids[4 - i]);
    }
    must(weft_revisions_history(st.r, "mesh", list[3].sequence, list, 4, &count));
    assert_int_equal(count, 1);
    assert_int_equal(list[0].sequence, 1);
    must(weft_revisions_history(st.r, "mesh", 1, list, 4, &count));
    assert_int_equal(count, 0);
    must(weft_revisions_history(st.r, "nobody", 0, list, 4, &count));
    assert_int_equal(count, 0);
    must(weft_revisions_history(st.r, "mesh", 0, NULL, 0, &count));
    assert_int_equal(weft_revisions_history(st.r, "mesh", 0, NULL, 1, &count), WEFT_EINVAL);
    assert_int_equal(weft_revisions_history(st.r, "mesh", -1, list, 1, &count), WEFT_EINVAL);
    assert_int_equal(weft_revisions_history(st.r, "mesh", 0, list, 1, NULL), WEFT_EINVAL);
}

static void bad_moves(void **state) {
    (void)state;
    char id[WEFT_BLOB_ID];
    char text[300];
    memset(text, 't', sizeof text);
    text[sizeof text - 1] = '\0';
    put_text(st.r, "x", id);
    weft_head head;
    const weft_head_move good = {.size = sizeof good, .name = "mesh", .id = id};
    weft_head_move bad[8];
    for (int i = 0; i < 8; i++) bad[i] = good;
    bad[0].size = 3;
    bad[1].name = "";
    bad[2].name = NULL;
    bad[3].name = text;
    bad[4].id = "xyz";
    bad[5].author = text;
    bad[6].reason = text;
    bad[7].expect = -1;
    for (int i = 0; i < 8; i++)
        assert_int_equal(weft_revisions_move(st.r, &bad[i], &head), WEFT_EINVAL);
    assert_int_equal(weft_revisions_move(st.r, NULL, &head), WEFT_EINVAL);
    assert_int_equal(weft_revisions_move(st.r, &good, NULL), WEFT_EINVAL);
    assert_int_equal(weft_revisions_move(NULL, &good, &head), WEFT_EINVAL);
    assert_int_equal(weft_revisions_head(st.r, text, &head), WEFT_EINVAL);
    assert_int_equal(weft_revisions_head(st.r, "mesh", NULL), WEFT_EINVAL);
    assert_int_equal(weft_revisions_watch(st.r, "mesh", -1, 0, &head), WEFT_EINVAL);
    assert_int_equal(weft_revisions_watch(st.r, "mesh", 0, -1, &head), WEFT_EINVAL);
    text[255] = '\0';
    weft_head_move longest = good;
    longest.reason = text;
    must(weft_revisions_move(st.r, &longest, &head));
    assert_string_equal(head.reason, text);
    weft_revisions_free(NULL);
    weft_revisions_stop(NULL);
    weft_revisions *r = NULL;
    assert_int_equal(weft_revisions_sqlite(NULL, &r), WEFT_EINVAL);
    const weft_db_options o = {.size = sizeof o, .read_only = true};
    weft_db *reader = open_with(st.s.path, &o);
    assert_int_equal(weft_revisions_sqlite(reader, &r), WEFT_EUNSUPPORTED);
    weft_db_close(reader);
}

/* ---- watch */

typedef struct watcher {
    weft_revisions *r;
    int64_t after;
    int rc;
    weft_head head;
} watcher;

static void *watch(void *arg) {
    watcher *w = arg;
    w->rc = weft_revisions_watch(w->r, "mesh", w->after, WEFT_NO_DEADLINE, &w->head);
    return NULL;
}

static void watch_looks_first(void **state) {
    (void)state;
    char id[WEFT_BLOB_ID];
    weft_head head = {.sequence = -1};
    put_text(st.r, "x", id);
    assert_int_equal(weft_revisions_watch(st.r, "mesh", 0, 0, &head), WEFT_ETIMEOUT);
    assert_int_equal(head.sequence, -1);
    must(move_to(st.r, "mesh", 0, id, &head));
    must(weft_revisions_watch(st.r, "mesh", 0, WEFT_NO_DEADLINE, &head));
    assert_int_equal(head.sequence, 1);
    assert_int_equal(weft_revisions_watch(st.r, "mesh", 1, 0, &head), WEFT_ETIMEOUT);
    assert_int_equal(weft_revisions_watch(st.r, "mesh", 1, WEFT_NS_PER_MS, &head), WEFT_ETIMEOUT);
    struct stat file;
    char path[100];
    (void)snprintf(path, sizeof path, "%s-watch", st.s.path);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
}

/* 40 moves by another process, each made only after this one saw the last: were it woken by the
 * poll of a second alone, this would take 40 s. */
static void watch_across_processes(void **state) {
    (void)state;
    enum { MOVES = 40 };
    int to_child[2];
    assert_int_equal(pipe(to_child), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(to_child[1]);
        weft_db *db = open_with(st.s.path, NULL);
        weft_revisions *r = revisions(db);
        char id[WEFT_BLOB_ID];
        put_text(r, "x", id);
        char byte = 0;
        weft_head head;
        int64_t at = 0;
        while (at < MOVES && read(to_child[0], &byte, 1) == 1)
            must(move_to(r, "mesh", at++, id, &head));
        weft_revisions_free(r);
        weft_db_close(db);
        _exit(at == MOVES ? 0 : 1);
    }
    (void)close(to_child[0]);
    const int64_t from = weft_now(NULL);
    weft_head head = {.sequence = 0};
    while (head.sequence < MOVES) {
        assert_int_equal(write(to_child[1], "x", 1), 1);
        const int64_t before = head.sequence;
        must(weft_revisions_watch(st.r, "mesh", before, WEFT_NO_DEADLINE, &head));
        assert_int_equal(head.sequence, before + 1);
    }
    assert_in_range(weft_now(NULL) - from, 0, 20 * WEFT_NS_PER_S);
    (void)close(to_child[1]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void watch_many(void **state) {
    (void)state;
    char id[WEFT_BLOB_ID];
    put_text(st.r, "x", id);
    watcher w[6];
    pthread_t threads[6];
    for (int i = 0; i < 6; i++) {
        w[i] = (watcher){.r = st.r, .after = i / 2};
        assert_int_equal(pthread_create(&threads[i], NULL, watch, &w[i]), 0);
    }
    weft_head head;
    for (int i = 0; i < 3; i++) must(move_to(st.r, "mesh", i, id, &head));
    for (int i = 0; i < 6; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(w[i].rc, 0);
        assert_true(w[i].head.sequence > w[i].after);
    }
}

static void watch_stops(void **state) {
    (void)state;
    watcher w[2] = {{.r = st.r}, {.r = st.r, .after = 5}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, watch, &w[i]), 0);
    weft_revisions_stop(st.r);
    weft_revisions_stop(st.r);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(w[i].rc, WEFT_ECLOSED);
    }
    weft_head head;
    assert_int_equal(weft_revisions_watch(st.r, "mesh", 0, WEFT_NO_DEADLINE, &head), WEFT_ECLOSED);
    assert_int_equal(weft_revisions_head(st.r, "mesh", &head), WEFT_ENOTFOUND); /* all else works */
}

/* Without the file to watch, and with a mover that touches nothing: the poll finds it. */
static void watch_by_poll(void **state) {
    (void)state;
    char id[WEFT_BLOB_ID];
    char path[100];
    weft_head head;
    put_text(st.r, "x", id);
    must(move_to(st.r, "mesh", 0, id, &head));
    (void)snprintf(path, sizeof path, "%s-watch", st.s.path);
    assert_int_equal(unlink(path), 0);
    watcher w = {.r = st.r, .after = 1};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, watch, &w), 0);
    raw_sql(
        st.s.path,
        "PRAGMA busy_timeout=5000; INSERT INTO weft_head SELECT name, 2, id, 0, '', '' FROM weft_head");
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(w.rc, 0);
    assert_int_equal(w.head.sequence, 2);
}

static void watch_by_the_given_clock(void **state) {
    (void)state;
    step_clock clock;
    step_clock_init(&clock, WEFT_NS_PER_S);
    const weft_db_options o = {
        .size = sizeof o, .clock = &clock.clock, .busy_ns = 1000 * WEFT_NS_PER_S};
    weft_db *db = open_with(st.s.path, &o);
    weft_revisions *r = revisions(db);
    weft_head head;
    assert_int_equal(weft_revisions_watch(r, "mesh", 0, 20 * WEFT_NS_PER_S, &head), WEFT_ETIMEOUT);
    weft_revisions_free(r);
    weft_db_close(db);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(blobs),
        TEST(many_blobs),
        TEST(batches),
        TEST(compare_and_swap),
        TEST(leader_moves),
        TEST(history),
        TEST(bad_moves),
        TEST(watch_looks_first),
        TEST(watch_across_processes),
        TEST(watch_many),
        TEST(watch_stops),
        TEST(watch_by_poll),
        TEST(watch_by_the_given_clock),
    };
    return cmocka_run_group_tests_name("store/revisions", tests, NULL, NULL);
}
