/* Age and size: what came first goes first, a bounded piece at a time. */
#include "services/telemetry/internal.h"

/* Down to here once it was over, so that not every request finds it full. */
#define LOW(max) ((max) - (max) / 16)

uint64_t tel_used_bytes(weft_tx *tx) {
    weft_stmt *q = weft_tx_query(tx,
                                 "SELECT (p.page_count - f.freelist_count) * s.page_size "
                                 "FROM pragma_page_count AS p, pragma_freelist_count AS f, "
                                 "pragma_page_size AS s",
                                 "");
    return weft_stmt_row(q) ? (uint64_t)weft_stmt_int(q, 0) : 0;
}

typedef struct trimming {
    weft_tx *tx;
    int64_t rows;
    uint64_t traces, logs;
} trimming;

static int64_t oldest(weft_tx *tx, const char *sql, int64_t *key, int64_t *rows) {
    weft_stmt *q = weft_tx_query(tx, sql, "");
    if (!weft_stmt_row(q)) return INT64_MAX;
    *key = weft_stmt_int(q, 1);
    *rows = weft_stmt_int(q, 2);
    return weft_stmt_int(q, 0);
}

/* Takes away the older of the oldest trace and the oldest record; false when there is none that came at or
 * before `until`. */
static bool drop_oldest(trimming *t, int64_t until) {
    int64_t seq = 0, id = 0, spans = 0, one = 1;
    const int64_t trace =
        oldest(t->tx, "SELECT received, seq, spans FROM trace ORDER BY seq LIMIT 1", &seq, &spans);
    const int64_t log =
        oldest(t->tx, "SELECT received, id, 1 FROM log ORDER BY id LIMIT 1", &id, &one);
    if ((trace <= log ? trace : log) > until || (trace == INT64_MAX && log == INT64_MAX))
        return false;
    if (trace <= log) {
        (void)weft_tx_exec(t->tx, "DELETE FROM span WHERE seq = ?", "l", seq);
        (void)weft_tx_exec(t->tx, "DELETE FROM trace WHERE seq = ?", "l", seq);
        t->rows -= spans + 1;
        t->traces++;
    } else {
        (void)weft_tx_exec(t->tx, "DELETE FROM log WHERE id = ?", "l", id);
        t->rows -= 1;
        t->logs++;
    }
    return !weft_tx_error(t->tx);
}

static void drop_old_counts(trimming *t, int64_t until) {
    const int64_t minute = until / (60 * WEFT_NS_PER_S);
    (void)weft_tx_exec(t->tx, "DELETE FROM edge WHERE minute < ?", "l", minute);
    (void)weft_tx_exec(t->tx, "DELETE FROM service WHERE last_seen < ?", "l", until);
}

/* For size. Pages are counted every few rows only: the sum is taken from the database's header. */
static bool shrink(tel_store *store, trimming *t) {
    const uint64_t low = LOW(store->max_bytes);
    uint64_t used = tel_used_bytes(t->tx);
    if (used > store->max_bytes) atomic_store(&store->over, true);
    if (!atomic_load(&store->over)) return false;
    while (used > low && t->rows > 0) {
        for (int i = 0; i < 16 && t->rows > 0; i++)
            if (!drop_oldest(t, INT64_MAX)) {
                /* Only the counts of edges are left. */
                (void)weft_tx_exec(t->tx,
                                   "DELETE FROM edge WHERE minute IN "
                                   "(SELECT minute FROM edge ORDER BY minute LIMIT 1)",
                                   "");
                t->rows = weft_tx_changes(t->tx) ? t->rows - 1 : 0;
                if (!t->rows) atomic_store(&store->over, false);
            }
        used = tel_used_bytes(t->tx);
    }
    if (used <= low) atomic_store(&store->over, false);
    return atomic_load(&store->over);
}

/* Whether there is anything to do, without a turn among the writers. */
static int looks_due(tel_store *store, int64_t until, bool *due) {
    weft_tx *tx;
    int64_t key, rows;
    int rc = weft_tx_begin(store->db, WEFT_READ, &tx);
    if (rc) return rc;
    *due =
        oldest(tx, "SELECT received, seq, 0 FROM trace ORDER BY seq LIMIT 1", &key, &rows) <=
            until ||
        oldest(tx, "SELECT received, id, 0 FROM log ORDER BY id LIMIT 1", &key, &rows) <= until ||
        oldest(tx, "SELECT minute + 1, 0, 0 FROM edge ORDER BY minute LIMIT 1", &key, &rows) <=
            until / (60 * WEFT_NS_PER_S) ||
        tel_used_bytes(tx) > (atomic_load(&store->over) ? LOW(store->max_bytes) : store->max_bytes);
    return weft_tx_commit(tx);
}

int tel_store_trim(tel_store *store, int64_t rows) {
    const int64_t until = tel_store_now(store) - store->retention;
    trimming t = {.rows = rows};
    bool more = false;
    int rc = looks_due(store, until, &more);
    if (rc || !more) return rc;
    rc = weft_tx_begin(store->db, WEFT_WRITE, &t.tx);
    if (rc) return rc;
    while (t.rows > 0 && drop_oldest(&t, until)) continue;
    more = t.rows <= 0;
    drop_old_counts(&t, until);
    if (!more) more = shrink(store, &t);
    rc = weft_tx_commit(t.tx);
    if (rc) return rc;
    atomic_fetch_add(&store->traces_expired, t.traces);
    atomic_fetch_add(&store->logs_expired, t.logs);
    return more;
}

static uint64_t count_of(weft_tx *tx, const char *sql) {
    weft_stmt *q = weft_tx_query(tx, sql, "");
    return weft_stmt_row(q) ? (uint64_t)weft_stmt_int(q, 0) : 0;
}

int tel_store_stats(tel_store *store, tel_stats *stats) {
    weft_tx *tx;
    int64_t key, rows;
    int rc = weft_tx_begin(store->db, WEFT_READ, &tx);
    if (rc) return rc;
    const int64_t trace =
        oldest(tx, "SELECT received, seq, 0 FROM trace ORDER BY seq LIMIT 1", &key, &rows);
    const int64_t log =
        oldest(tx, "SELECT received, id, 0 FROM log ORDER BY id LIMIT 1", &key, &rows);
    *stats = (tel_stats){.traces = count_of(tx, "SELECT count(*) FROM trace"),
                         .spans = count_of(tx, "SELECT ifnull(sum(spans), 0) FROM trace"),
                         .logs = count_of(tx, "SELECT count(*) FROM log"),
                         .bytes = tel_used_bytes(tx),
                         .max_bytes = store->max_bytes,
                         .oldest = trace < log ? trace : log,
                         .spans_rejected = atomic_load(&store->spans_rejected),
                         .logs_rejected = atomic_load(&store->logs_rejected),
                         .repeated = atomic_load(&store->repeated),
                         .traces_expired = atomic_load(&store->traces_expired),
                         .logs_expired = atomic_load(&store->logs_expired)};
    if (stats->oldest == INT64_MAX) stats->oldest = 0;
    return weft_tx_commit(tx);
}
