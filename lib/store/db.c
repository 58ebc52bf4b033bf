/* The handle: opening a file, the pool of connections, and who may go in. */
#include "internal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- gates */

int64_t store_deadline(int64_t now, int64_t ns) {
    int64_t at = 0;
    return __builtin_add_overflow(now, ns, &at) ? INT64_MAX : at;
}

/* Waits on `wake` until it is signalled or `deadline` may have passed. The machine's clock drives
 * the condition variable; any other clock is looked at every 10 ms. */
static void wait_on(weft_db *db, pthread_cond_t *wake, int64_t deadline) {
    int64_t left = deadline - weft_now(db->clock);
    const bool system = !db->clock || db->clock == weft_clock_system();
    if (!system && left > 10 * WEFT_NS_PER_MS) left = 10 * WEFT_NS_PER_MS;
    const int64_t at = store_deadline(weft_now(NULL), left);
    const struct timespec until = {at / WEFT_NS_PER_S, at % WEFT_NS_PER_S};
    (void)pthread_cond_timedwait(wake, &db->lock, &until);
}

static void waiter_init(store_waiter *waiter) {
    *waiter = (store_waiter){0};
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&waiter->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
}

static void gate_append(store_gate *gate, store_waiter *waiter) {
    if (gate->last)
        gate->last->next = waiter;
    else
        gate->first = waiter;
    gate->last = waiter;
}

static void gate_unlink(store_gate *gate, const store_waiter *waiter) {
    store_waiter *before = NULL;
    for (store_waiter *w = gate->first; w; before = w, w = w->next) {
        if (w != waiter) continue;
        if (before)
            before->next = w->next;
        else
            gate->first = w->next;
        if (gate->last == w) gate->last = before;
        return;
    }
}

/* Under the lock. A permit goes from hand to hand, so nobody overtakes. */
static int gate_enter(weft_db *db, store_gate *gate, int64_t deadline) {
    if (db->closed) return WEFT_ECLOSED;
    if (gate->free > 0 && !gate->first) {
        gate->free--;
        return 0;
    }
    store_waiter self;
    waiter_init(&self);
    gate_append(gate, &self);
    while (!self.granted && !db->closed && weft_now(db->clock) < deadline)
        wait_on(db, &self.wake, deadline);
    if (!self.granted) gate_unlink(gate, &self);
    (void)pthread_cond_destroy(&self.wake);
    if (self.granted) return 0;
    return db->closed ? WEFT_ECLOSED : WEFT_EBUSY;
}

static void gate_leave(store_gate *gate) {
    store_waiter *next = gate->first;
    if (!next) {
        gate->free++;
        return;
    }
    gate->first = next->next;
    if (!gate->first) gate->last = NULL;
    next->granted = true;
    (void)pthread_cond_signal(&next->wake);
}

static void gate_wake_all(store_gate *gate) {
    for (store_waiter *w = gate->first; w; w = w->next) (void)pthread_cond_signal(&w->wake);
}

/* ---- coming and going */

static void db_free(weft_db *db) {
    (void)pthread_mutex_destroy(&db->lock);
    weft_free(db->path);
    weft_free(db->file);
    weft_free(db);
}

/* Gives the lock back and one use of the handle up; the last one frees it. */
static void unlock_and_drop(weft_db *db) {
    const bool last = --db->users == 0;
    (void)pthread_mutex_unlock(&db->lock);
    if (last) db_free(db);
}

static int take_write_turn(weft_db *db, int64_t deadline) {
    /* write_owner is only compared, and only its own thread can find itself in it. */
    if (db->write_held && pthread_equal(db->write_owner, pthread_self()))
        return store_say(WEFT_EBUSY,
                         "%s: this thread has a write transaction open already; end it first",
                         db->path);
    int rc = gate_enter(db, &db->writer, deadline);
    if (rc == WEFT_EBUSY)
        return store_say(rc, "%s: other threads of this process kept writing for %lld ms", db->path,
                         (long long)(db->busy_ns / WEFT_NS_PER_MS));
    if (rc) return store_say(rc, "%s: closed", db->path);
    db->write_owner = pthread_self();
    db->write_held = true;
    return 0;
}

static void give_write_turn(weft_db *db) {
    db->write_held = false;
    gate_leave(&db->writer);
}

static int take_conn(weft_db *db, int64_t deadline, store_conn **out) {
    int rc = gate_enter(db, &db->pool, deadline);
    if (rc == WEFT_EBUSY)
        return store_say(rc,
                         "%s: all connections stayed in use for %lld ms; end transactions sooner "
                         "or raise connections",
                         db->path, (long long)(db->busy_ns / WEFT_NS_PER_MS));
    if (rc) return store_say(rc, "%s: closed", db->path);
    if (db->idle) {
        *out = db->idle;
        db->idle = db->idle->next;
        return 0;
    }
    (void)pthread_mutex_unlock(&db->lock);
    rc = store_conn_open(db, false, deadline, out);
    (void)pthread_mutex_lock(&db->lock);
    if (rc) gate_leave(&db->pool);
    return rc;
}

int store_enter(weft_db *db, bool write, int64_t deadline, store_conn **out) {
    if (db->pid != getpid())
        return store_say(WEFT_EUNSUPPORTED,
                         "%s: this handle was opened before fork; open one in the child", db->path);
    (void)pthread_mutex_lock(&db->lock);
    db->users++;
    int rc = write ? take_write_turn(db, deadline) : 0;
    if (!rc) {
        rc = take_conn(db, deadline, out);
        if (rc && write) give_write_turn(db);
    }
    if (rc) {
        unlock_and_drop(db);
        return rc;
    }
    (void)pthread_mutex_unlock(&db->lock);
    (*out)->busy_until = deadline;
    (*out)->busy_fixed = true;
    return 0;
}

void store_leave(store_conn *conn, bool write) {
    weft_db *db = conn->db;
    /* A connection that could not leave its transaction is of no more use. */
    const bool broken = !sqlite3_get_autocommit(conn->raw);
    (void)pthread_mutex_lock(&db->lock);
    bool drop = broken || db->closed;
    if (!drop) {
        conn->next = db->idle;
        db->idle = conn;
    } else {
        (void)pthread_mutex_unlock(&db->lock);
        store_conn_close(conn);
        (void)pthread_mutex_lock(&db->lock);
    }
    gate_leave(&db->pool);
    if (write) give_write_turn(db);
    unlock_and_drop(db);
}

/* ---- open and close */

static int check_file(weft_db *db) {
    struct stat st;
    const bool there = stat(db->file, &st) == 0;
    if (there && S_ISDIR(st.st_mode))
        return store_say(WEFT_EINVAL, "%s: is a directory; name a file in it", db->path);
    if (there && !S_ISREG(st.st_mode))
        return store_say(WEFT_EINVAL, "%s: is not a regular file", db->path);
    if (!there && db->read_only)
        return store_say(weft_error_from_errno(errno),
                         "%s: %s; a read-only handle does not create it", db->path,
                         strerror(errno));
    if (!there) {
        /* mknod and not open: closing a descriptor of the file would drop the locks that sqlite
         * connections of this process hold on it (POSIX fcntl). -wal and -shm inherit the mode. */
        if (mknod(db->file, S_IFREG | 0600, 0) == 0 || errno == EEXIST) return 0;
        const int error = errno;
        return store_say(weft_error_from_errno(error),
                         "%s: cannot create the file: %s; check that its directory exists and can "
                         "be written",
                         db->path, strerror(error));
    }
    if (access(db->file, db->read_only ? R_OK : R_OK | W_OK) != 0)
        return store_say(WEFT_EIO, "%s: %s; check owner and mode (%03o)", db->path, strerror(errno),
                         (unsigned)(st.st_mode & 0777));
    return 0;
}

static int check_options(const char *path, const weft_db_options *given, weft_db_options *out) {
    *out = (weft_db_options){.size = sizeof *out};
    if (!path || !*path)
        return store_say(WEFT_EINVAL, "weft_db_open: the path is empty; name the database file");
    if (given) {
        if (given->size < sizeof given->size || given->size > sizeof *out)
            return store_say(
                WEFT_EINVAL,
                "%s: weft_db_options.size is %zu; set it to sizeof(weft_db_options) (%zu "
                "here)",
                path, given->size, sizeof *out);
        memcpy(out, given, given->size);
    }
    if (!out->connections) out->connections = STORE_CONNECTIONS;
    if (!out->busy_ns) out->busy_ns = STORE_BUSY;
    if (out->connections < 0 || out->connections > STORE_CONNECTIONS_MAX)
        return store_say(WEFT_EINVAL, "%s: connections is %d; it must be 1 to %d", path,
                         out->connections, STORE_CONNECTIONS_MAX);
    if (out->busy_ns < 0)
        return store_say(WEFT_EINVAL, "%s: busy_ns is negative; give nanoseconds, or 0 for 5 s",
                         path);
    if (out->migration_count && !out->migrations)
        return store_say(WEFT_EINVAL, "%s: migration_count is %zu and migrations is NULL", path,
                         out->migration_count);
    return store_check_migrations(out->migrations, out->migration_count);
}

static weft_db *db_new(const char *path, const weft_db_options *options) {
    weft_db *db = weft_calloc(1, sizeof *db);
    if (!db) return NULL;
    /* With a slash in front, sqlite sees no URI and no special name. */
    const size_t len = strlen(path);
    const char *prefix = *path == '/' ? "" : "./";
    const size_t skip = strlen(prefix);
    db->path = weft_heap_strdup(path);
    db->file = weft_malloc(skip + len + 1);
    if (!db->path || !db->file) {
        weft_free(db->path);
        weft_free(db->file);
        weft_free(db);
        return NULL;
    }
    memcpy(db->file, prefix, skip);
    memcpy(db->file + skip, path, len + 1);
    (void)pthread_mutex_init(&db->lock, NULL);
    db->pid = getpid();
    db->read_only = options->read_only;
    db->busy_ns = options->busy_ns;
    db->clock = options->clock;
    db->writer.free = 1;
    db->pool.free = options->connections;
    db->users = 1;
    return db;
}

static int open_and_migrate(weft_db *db, const weft_db_options *options) {
    int rc = check_file(db);
    if (rc) return rc;
    const int64_t deadline = store_deadline(weft_now(db->clock), db->busy_ns);
    store_conn *conn = NULL;
    rc = store_conn_open(db, true, deadline, &conn);
    if (rc) return rc;
    conn->busy_fixed = false;
    rc = store_adopt(conn);
    if (!rc) rc = store_migrate(conn, "weft", store_lease_schema, store_lease_schema_count);
    if (!rc) rc = store_migrate(conn, "app", options->migrations, options->migration_count);
    if (rc)
        store_conn_close(conn);
    else
        db->idle = conn;
    return rc;
}

static int open_db(const char *path, const weft_db_options *given, weft_db **out) {
    if (!out) return store_say(WEFT_EINVAL, "weft_db_open: out is NULL");
    if (!sqlite3_threadsafe())
        return store_say(WEFT_EUNSUPPORTED,
                         "this sqlite was built without threads (SQLITE_THREADSAFE=0)");
    weft_db_options options;
    int rc = check_options(path, given, &options);
    if (rc) return rc;
    weft_db *db = db_new(path, &options);
    if (!db) return store_say(WEFT_ENOMEM, "%s: out of memory", path);
    rc = open_and_migrate(db, &options);
    if (rc)
        db_free(db);
    else
        *out = db;
    return rc;
}

int weft_db_open(const char *path, const weft_db_options *options, weft_db **out, char **why) {
    int rc = open_db(path, options, out);
    if (rc && why) *why = weft_heap_strdup(weft_store_message());
    return rc;
}

int weft_db_migrate(weft_db *db, const char *component, const weft_migration *migrations,
                    size_t count) {
    if (!db || !component || !*component || strlen(component) > 63 || (count && !migrations))
        return store_say(WEFT_EINVAL,
                         "weft_db_migrate: needs a handle, a component of 1 to 63 bytes "
                         "and its migrations");
    if (strcmp(component, "app") == 0 || strcmp(component, "weft") == 0)
        return store_say(WEFT_EINVAL, "weft_db_migrate: component \"%s\" belongs to weft_db_open",
                         component);
    int rc = store_check_migrations(migrations, count);
    if (rc) return rc;
    store_conn *conn = NULL;
    rc = store_enter(db, true, store_deadline(weft_now(db->clock), db->busy_ns), &conn);
    if (rc) return rc;
    conn->busy_fixed = false;
    rc = store_migrate(conn, component, migrations, count);
    store_leave(conn, true);
    return rc;
}

void weft_db_close(weft_db *db) {
    /* In a forked child the locks are the parent's: touching the file would break them. */
    if (!db || db->pid != getpid()) return;
    (void)pthread_mutex_lock(&db->lock);
    if (db->closed) {
        (void)pthread_mutex_unlock(&db->lock);
        return;
    }
    db->closed = true;
    gate_wake_all(&db->writer);
    gate_wake_all(&db->pool);
    store_conn *conn = db->idle;
    db->idle = NULL;
    (void)pthread_mutex_unlock(&db->lock);
    while (conn) {
        store_conn *next = conn->next;
        store_conn_close(conn);
        conn = next;
    }
    (void)pthread_mutex_lock(&db->lock);
    unlock_and_drop(db);
}
