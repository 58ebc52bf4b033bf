/* Revisions in a weft_db.
 *
 * How a watcher learns of a move: after its commit, a mover touches the file "<database>-watch",
 * and every watcher has that file under inotify. The -wal file itself would wake too early, because
 * sqlite makes a commit visible in shared memory after it wrote the log, and a watcher that looked
 * in between would sleep on; sqlite's data_version can only be polled. A mover that is killed
 * between commit and touch wakes nobody, so watchers also look every WATCH_POLL. The same bound
 * holds where inotify has no instances left or the file system does not report. Each wait has an
 * inotify descriptor of its own, armed and emptied before the head is read, so no move falls
 * between looking and waiting; a few are kept for the next wait, since closing one makes the kernel
 * wait for milliseconds. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "weft/store_revisions.h"

#define WATCH_POLL WEFT_NS_PER_S
/* A clock that is not the machine's may be moved by hand: look at it this often. */
#define WATCH_POLL_CLOCK (10 * WEFT_NS_PER_MS)

#define WATCH_KEPT 4

typedef struct sqlite_revisions {
    weft_db *db;
    char *path;           /* of the file that movers touch */
    int touched;          /* the same, open */
    int stop;             /* eventfd: readable once stopped, never read */
    pthread_mutex_t lock; /* guards all below */
    int kept[WATCH_KEPT]; /* armed inotify descriptors without a wait */
    size_t kept_count;
} sqlite_revisions;

static const weft_migration schema[] = {
    {"revisions", "CREATE TABLE weft_blob (id TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT;\n"
                  "CREATE TABLE weft_head (name TEXT NOT NULL, sequence INTEGER NOT NULL,\n"
                  "    id TEXT NOT NULL REFERENCES weft_blob (id), moved INTEGER NOT NULL,\n"
                  "    author TEXT NOT NULL, reason TEXT NOT NULL,\n"
                  "    PRIMARY KEY (name, sequence)) STRICT, WITHOUT ROWID"},
};

/* ---- blobs */

static int sqlite_put(void *self, const weft_blob *blobs, char (*ids)[WEFT_BLOB_ID], size_t count) {
    sqlite_revisions *r = self;
    weft_tx *tx = NULL;
    int rc = weft_tx_begin(r->db, WEFT_WRITE, &tx);
    if (rc) return rc;
    for (size_t i = 0; i < count && !rc; i++)
        rc = weft_tx_exec(tx, "INSERT INTO weft_blob VALUES (?, ?) ON CONFLICT (id) DO NOTHING",
                          "sb", ids[i], blobs[i].data, blobs[i].size);
    return store_tx_end(tx, rc);
}

static int sqlite_get(void *self, const char *id, weft_buf *out) {
    sqlite_revisions *r = self;
    weft_tx *tx = NULL;
    int rc = weft_tx_begin(r->db, WEFT_READ, &tx);
    if (rc) return rc;
    weft_stmt *row = weft_tx_query(tx, "SELECT data FROM weft_blob WHERE id = ?", "s", id);
    if (weft_stmt_row(row)) {
        size_t size = 0;
        const void *data = weft_stmt_blob(row, 0, &size);
        if (!weft_tx_error(tx) && weft_buf_add(out, data, size))
            rc = store_say(out->error, "%s: blob %s has %zu bytes: %s", r->db->path, id, size,
                           weft_strerror(out->error));
    } else if (!weft_tx_error(tx)) {
        rc = store_say(WEFT_ENOTFOUND, "%s: no blob %s", r->db->path, id);
    }
    return store_tx_end(tx, rc);
}

/* ---- heads */

#define HEAD_COLUMNS "SELECT name, id, sequence, moved, author, reason FROM weft_head "

static void copy(char *out, size_t size, const char *text) {
    (void)snprintf(out, size, "%s", text);
}

static void read_head(weft_stmt *row, weft_head *out) {
    *out = (weft_head){.sequence = weft_stmt_int(row, 2), .moved = weft_stmt_int(row, 3)};
    copy(out->name, sizeof out->name, weft_stmt_text(row, 0));
    copy(out->id, sizeof out->id, weft_stmt_text(row, 1));
    copy(out->author, sizeof out->author, weft_stmt_text(row, 4));
    copy(out->reason, sizeof out->reason, weft_stmt_text(row, 5));
}

/* Sequence 0 when there is none. */
static int head_of(weft_tx *tx, const char *name, weft_head *out) {
    weft_head head = {.sequence = 0};
    copy(head.name, sizeof head.name, name);
    weft_stmt *row =
        weft_tx_query(tx, HEAD_COLUMNS "WHERE name = ? ORDER BY sequence DESC LIMIT 1", "s", name);
    if (weft_stmt_row(row)) read_head(row, &head);
    int rc = weft_tx_error(tx);
    if (!rc) *out = head;
    return rc;
}

static int look(sqlite_revisions *r, const char *name, weft_head *out) {
    weft_tx *tx = NULL;
    weft_head head;
    int rc = weft_tx_begin(r->db, WEFT_READ, &tx);
    if (rc) return rc;
    rc = store_tx_end(tx, head_of(tx, name, &head));
    if (!rc) *out = head;
    return rc;
}

static int sqlite_head(void *self, const char *name, weft_head *out) {
    sqlite_revisions *r = self;
    weft_head head;
    int rc = look(r, name, &head);
    if (rc) return rc;
    if (!head.sequence) return store_say(WEFT_ENOTFOUND, "%s: no head \"%s\"", r->db->path, name);
    *out = head;
    return 0;
}

static int move_in(sqlite_revisions *r, weft_tx *tx, const weft_head_move *move, weft_head *at) {
    int rc = head_of(tx, move->name, at);
    if (rc) return rc;
    if (at->sequence != move->expect)
        return store_say(WEFT_ECONFLICT, "%s: head \"%s\" is at %lld and was expected at %lld",
                         r->db->path, move->name, (long long)at->sequence, (long long)move->expect);
    if (move->lease) rc = weft_lease_check(tx, move->lease);
    if (rc) return rc;
    weft_head next = {.sequence = at->sequence + 1, .moved = weft_wall(r->db->clock)};
    copy(next.name, sizeof next.name, move->name);
    copy(next.id, sizeof next.id, move->id);
    copy(next.author, sizeof next.author, move->author ? move->author : "");
    copy(next.reason, sizeof next.reason, move->reason ? move->reason : "");
    rc = weft_tx_exec(tx,
                      "INSERT INTO weft_head (name, sequence, id, moved, author, reason) "
                      "VALUES (?, ?, ?, ?, ?, ?)",
                      "slslss", next.name, next.sequence, next.id, next.moved, next.author,
                      next.reason);
    if (rc == WEFT_EINVAL) /* the foreign key */
        return store_say(WEFT_ENOTFOUND, "%s: no blob %s; put it before the head moves to it",
                         r->db->path, move->id);
    if (!rc) *at = next;
    return rc;
}

static int sqlite_move(void *self, const weft_head_move *move, weft_head *out) {
    sqlite_revisions *r = self;
    weft_tx *tx = NULL;
    int rc = weft_tx_begin(r->db, WEFT_WRITE, &tx);
    if (rc) return rc;
    weft_head at = {.sequence = 0};
    rc = store_tx_end(tx, move_in(r, tx, move, &at));
    if (!rc) (void)futimens(r->touched, NULL);
    if (!rc || rc == WEFT_ECONFLICT) *out = at;
    return rc;
}

static int sqlite_history(void *self, const char *name, int64_t before, weft_head *out, size_t max,
                          size_t *count) {
    sqlite_revisions *r = self;
    weft_tx *tx = NULL;
    int rc = weft_tx_begin(r->db, WEFT_READ, &tx);
    if (rc) return rc;
    size_t n = 0;
    weft_stmt *row =
        weft_tx_query(tx, HEAD_COLUMNS "WHERE name = ? AND sequence < ? ORDER BY sequence DESC",
                      "sl", name, before);
    while (n < max && weft_stmt_row(row)) read_head(row, &out[n++]);
    rc = store_tx_end(tx, 0);
    if (!rc) *count = n;
    return rc;
}

/* ---- watch */

/* A descriptor that becomes readable when the head may have moved; -1: there is none, poll. */
static int arm(sqlite_revisions *r) {
    int fd = -1;
    (void)pthread_mutex_lock(&r->lock);
    if (r->kept_count) fd = r->kept[--r->kept_count];
    (void)pthread_mutex_unlock(&r->lock);
    if (fd >= 0) return fd;
    fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd >= 0 && inotify_add_watch(fd, r->path, IN_ATTRIB) < 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static void keep(sqlite_revisions *r, int fd) {
    if (fd < 0) return;
    (void)pthread_mutex_lock(&r->lock);
    const bool room = r->kept_count < WATCH_KEPT;
    if (room) r->kept[r->kept_count++] = fd;
    (void)pthread_mutex_unlock(&r->lock);
    if (!room) (void)close(fd);
}

static void drain(int fd) {
    char events[4096];
    while (fd >= 0 && read(fd, events, sizeof events) > 0) continue;
}

/* True when stopped. */
static bool pause_watch(const sqlite_revisions *r, int fd, int64_t left) {
    const weft_clock *clock = r->db->clock;
    const bool system = !clock || clock == weft_clock_system();
    const int64_t most = system ? WATCH_POLL : WATCH_POLL_CLOCK;
    if (left > most) left = most;
    const struct timespec wait = {left / WEFT_NS_PER_S, left % WEFT_NS_PER_S};
    struct pollfd fds[2] = {{.fd = r->stop, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    if (ppoll(fds, 2, &wait, NULL) <= 0) return false;
    drain(fd);
    return fds[0].revents != 0;
}

static int watch_until(sqlite_revisions *r, int fd, const char *name, int64_t after,
                       int64_t deadline, weft_head *out) {
    bool stopped = pause_watch(r, fd, 0);
    for (;;) {
        if (stopped) return store_say(WEFT_ECLOSED, "%s: the watch was stopped", r->db->path);
        weft_head head;
        int rc = look(r, name, &head);
        if (rc && rc != WEFT_EBUSY) return rc;
        if (!rc && head.sequence > after) {
            *out = head;
            return 0;
        }
        const int64_t left = deadline - weft_now(r->db->clock);
        if (left <= 0)
            return store_say(WEFT_ETIMEOUT, "%s: head \"%s\" did not move past %lld in time",
                             r->db->path, name, (long long)after);
        stopped = pause_watch(r, fd, left);
    }
}

static int sqlite_watch(void *self, const char *name, int64_t after, int64_t timeout_ns,
                        weft_head *out) {
    sqlite_revisions *r = self;
    const int64_t deadline = store_deadline(weft_now(r->db->clock), timeout_ns);
    const int fd = arm(r);
    int rc = watch_until(r, fd, name, after, deadline, out);
    keep(r, fd);
    return rc;
}

static void sqlite_stop(void *self) {
    const sqlite_revisions *r = self;
    const uint64_t one = 1;
    if (write(r->stop, &one, sizeof one) < 0) return; /* full: stopped long ago */
}

/* ---- leases: those of the database */

static int sqlite_lease_acquire(void *self, const char *name, const char *owner, int64_t ttl_ns,
                                weft_lease *out) {
    return weft_lease_acquire(((sqlite_revisions *)self)->db, name, owner, ttl_ns, out);
}

static int sqlite_lease_renew(void *self, weft_lease *lease, int64_t ttl_ns) {
    return weft_lease_renew(((sqlite_revisions *)self)->db, lease, ttl_ns);
}

static int sqlite_lease_release(void *self, const weft_lease *lease) {
    return weft_lease_release(((sqlite_revisions *)self)->db, lease);
}

/* ---- open */

static void sqlite_free(void *self) {
    sqlite_revisions *r = self;
    if (r->touched >= 0) (void)close(r->touched);
    if (r->stop >= 0) (void)close(r->stop);
    for (size_t i = 0; i < r->kept_count; i++) (void)close(r->kept[i]);
    (void)pthread_mutex_destroy(&r->lock);
    weft_free(r->path);
    weft_free(r);
}

static const weft_revisions_backend sqlite_backend = {
    .size = sizeof(weft_revisions_backend),
    .kind = "sqlite",
    .put = sqlite_put,
    .get = sqlite_get,
    .head = sqlite_head,
    .move = sqlite_move,
    .history = sqlite_history,
    .watch = sqlite_watch,
    .stop = sqlite_stop,
    .lease_acquire = sqlite_lease_acquire,
    .lease_renew = sqlite_lease_renew,
    .lease_release = sqlite_lease_release,
    .free = sqlite_free,
};

static int open_files(sqlite_revisions *r) {
    const size_t size = strlen(r->db->file) + sizeof "-watch";
    r->path = weft_malloc(size);
    if (!r->path) return store_say(WEFT_ENOMEM, "%s: out of memory", r->db->path);
    (void)snprintf(r->path, size, "%s-watch", r->db->file);
    r->touched = open(r->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (r->touched >= 0) r->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->stop >= 0) return 0;
    const int error = errno;
    return store_say(weft_error_from_errno(error), "%s: %s", r->path, strerror(error));
}

int weft_revisions_sqlite(weft_db *db, weft_revisions **out) {
    if (!db || !out)
        return store_say(WEFT_EINVAL, "weft_revisions_sqlite: needs a handle, and out");
    if (db->read_only)
        return store_say(WEFT_EUNSUPPORTED, "%s: was opened read_only; revisions need to write",
                         db->path);
    int rc = weft_db_migrate(db, "revisions", schema, sizeof schema / sizeof schema[0]);
    if (rc) return rc;
    sqlite_revisions *r = weft_calloc(1, sizeof *r);
    if (!r) return store_say(WEFT_ENOMEM, "%s: out of memory", db->path);
    *r = (sqlite_revisions){.db = db, .touched = -1, .stop = -1};
    (void)pthread_mutex_init(&r->lock, NULL);
    rc = open_files(r);
    if (rc) {
        sqlite_free(r);
        return rc;
    }
    return weft_revisions_new(&sqlite_backend, r, out);
}
