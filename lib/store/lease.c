/* Leases: a row a name, a fence that never repeats.
 *
 * `fence` is an AUTOINCREMENT key: sqlite remembers the largest it ever gave, so a fence grows over
 * every change of owner even after its row is gone, and rows that ran out need not be kept. */
#include "internal.h"

#include <string.h>

const weft_migration store_lease_schema[] = {
    {"leases",
     "CREATE TABLE weft_lease (fence INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, "
     "owner TEXT NOT NULL, expires INTEGER NOT NULL) STRICT;"
     "CREATE INDEX weft_lease_expires ON weft_lease (expires)"},
};
const size_t store_lease_schema_count = sizeof store_lease_schema / sizeof store_lease_schema[0];

static bool good_text(const char *text) {
    if (!text) return false;
    const size_t len = strnlen(text, sizeof((weft_lease *)0)->name);
    return len > 0 && len < sizeof((weft_lease *)0)->name;
}

static int check_arguments(const char *function, const void *db, const char *name,
                           const char *owner, int64_t ttl_ns) {
    if (!db) return store_say(WEFT_EINVAL, "%s: the handle is NULL", function);
    if (!good_text(name) || !good_text(owner))
        return store_say(WEFT_EINVAL, "%s: name and owner of a lease have 1 to 63 bytes", function);
    if (ttl_ns <= 0)
        return store_say(WEFT_EINVAL, "%s: the time to live of lease \"%s\" must be more than 0 ns",
                         function, name);
    return 0;
}

static int lost(const weft_db *db, const weft_lease *lease) {
    return store_say(
        WEFT_ECONFLICT,
        "%s: %.63s lost lease \"%.63s\" (fence %lld): it ran out, was released or taken", db->path,
        lease->owner, lease->name, (long long)lease->fence);
}

static int acquire(weft_tx *tx, weft_lease *lease, int64_t now) {
    const char *path = tx->conn->db->path;
    int rc = weft_tx_exec(tx, "DELETE FROM weft_lease WHERE expires <= ?", "l", now);
    if (rc) return rc;
    weft_stmt *row = weft_tx_query(
        tx, "SELECT owner, fence, expires FROM weft_lease WHERE name = ?", "s", lease->name);
    if (weft_stmt_row(row)) {
        const char *owner = weft_stmt_text(row, 0);
        const int64_t left = weft_stmt_int(row, 2) - now;
        lease->fence = weft_stmt_int(row, 1);
        if (weft_tx_error(tx)) return weft_tx_error(tx);
        if (strcmp(owner, lease->owner) != 0)
            return store_say(WEFT_EBUSY, "%s: lease \"%s\" is held by %s for another %lld ms", path,
                             lease->name, owner, (long long)(left / WEFT_NS_PER_MS));
        return weft_tx_exec(tx, "UPDATE weft_lease SET expires = ? WHERE fence = ?", "ll",
                            lease->expires, lease->fence);
    }
    if (weft_tx_error(tx)) return weft_tx_error(tx);
    rc = weft_tx_exec(tx, "INSERT INTO weft_lease (name, owner, expires) VALUES (?, ?, ?)", "ssl",
                      lease->name, lease->owner, lease->expires);
    lease->fence = weft_tx_last_id(tx);
    return rc;
}

int weft_lease_acquire(weft_db *db, const char *name, const char *owner, int64_t ttl_ns,
                       weft_lease *out) {
    int rc = check_arguments("weft_lease_acquire", db && out ? db : NULL, name, owner, ttl_ns);
    if (rc) return rc;
    weft_lease lease = {.fence = 0};
    memcpy(lease.name, name, strlen(name) + 1);
    memcpy(lease.owner, owner, strlen(owner) + 1);
    weft_tx *tx = NULL;
    rc = weft_tx_begin(db, WEFT_WRITE, &tx);
    if (rc) return rc;
    /* Read once the lock is ours: waiting for it took time. */
    const int64_t now = weft_wall(db->clock);
    lease.expires = store_deadline(now, ttl_ns);
    rc = store_tx_end(tx, acquire(tx, &lease, now));
    if (!rc) *out = lease;
    return rc;
}

static bool valid(const weft_lease *lease) {
    return lease && good_text(lease->name) && good_text(lease->owner);
}

int weft_lease_renew(weft_db *db, weft_lease *lease, int64_t ttl_ns) {
    int rc = check_arguments("weft_lease_renew", db && lease ? db : NULL,
                             lease ? lease->name : NULL, lease ? lease->owner : NULL, ttl_ns);
    if (rc) return rc;
    weft_tx *tx = NULL;
    rc = weft_tx_begin(db, WEFT_WRITE, &tx);
    if (rc) return rc;
    const int64_t now = weft_wall(db->clock);
    const int64_t expires = store_deadline(now, ttl_ns);
    rc =
        weft_tx_exec(tx,
                     "UPDATE weft_lease SET expires = ? WHERE fence = ? AND name = ? AND owner = ? "
                     "AND expires > ?",
                     "llssl", expires, lease->fence, lease->name, lease->owner, now);
    if (!rc && weft_tx_changes(tx) == 0) rc = lost(db, lease);
    rc = store_tx_end(tx, rc);
    if (!rc) lease->expires = expires;
    return rc;
}

int weft_lease_release(weft_db *db, const weft_lease *lease) {
    if (!db || !valid(lease))
        return store_say(WEFT_EINVAL, "weft_lease_release: needs a handle and an acquired lease");
    weft_tx *tx = NULL;
    int rc = weft_tx_begin(db, WEFT_WRITE, &tx);
    if (rc) return rc;
    rc = weft_tx_exec(
        tx, "DELETE FROM weft_lease WHERE fence = ? AND name = ? AND owner = ? AND expires > ?",
        "lssl", lease->fence, lease->name, lease->owner, weft_wall(db->clock));
    if (!rc && weft_tx_changes(tx) == 0) rc = lost(db, lease);
    return store_tx_end(tx, rc);
}

int weft_lease_check(weft_tx *tx, const weft_lease *lease) {
    if (!tx || !tx->open)
        return store_say(WEFT_EINTERNAL,
                         "weft_lease_check: there is no such transaction, or it has ended");
    if (tx->error) return tx->error;
    if (!valid(lease))
        return store_tx_fail(tx, store_say(WEFT_EINVAL, "weft_lease_check: not an acquired lease"));
    weft_db *db = tx->conn->db;
    weft_stmt *row = weft_tx_query(
        tx, "SELECT 1 FROM weft_lease WHERE fence = ? AND name = ? AND owner = ? AND expires > ?",
        "lssl", lease->fence, lease->name, lease->owner, weft_wall(db->clock));
    const bool held = weft_stmt_row(row);
    if (tx->error) return tx->error;
    /* Remembered, so that an owner that does not look at the result cannot commit either. */
    return held ? 0 : store_tx_fail(tx, lost(db, lease));
}
