/* Keeping what was accepted. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "services/telemetry/internal.h"
#include "weft/map.h"
#include "weft/mem.h"

/* ---- opening */

int tel_store_open(const char *dir, const tel_store_options *options, tel_store **out, char **why) {
    *out = NULL;
    *why = NULL;
    tel_store *s = weft_calloc(1, sizeof *s);
    weft_buf path;
    weft_buf_init(&path, 0);
    if (!s || weft_buf_printf(&path, "%s/telemetry.db", dir)) {
        weft_free(s);
        weft_buf_free(&path);
        return WEFT_ENOMEM;
    }
    s->clock = options && options->clock ? options->clock : weft_clock_system();
    s->retention = options && options->retention_ns ? options->retention_ns : TEL_RETENTION_DEFAULT;
    s->max_bytes = options && options->max_bytes ? options->max_bytes : TEL_MAX_BYTES_DEFAULT;
    if (s->max_bytes < TEL_MAX_BYTES_MIN) s->max_bytes = TEL_MAX_BYTES_MIN;
    (void)pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    const weft_db_options db = {.size = sizeof db,
                                .migrations = tel_migrations,
                                .migration_count = tel_migration_count,
                                .clock = s->clock};
    const int rc = weft_db_open(weft_buf_str(&path), &db, &s->db, why);
    weft_buf_free(&path);
    if (rc) {
        tel_store_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void tel_store_close(tel_store *s) {
    if (!s) return;
    weft_db_close(s->db);
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->lock);
    weft_free(s);
}

weft_db *tel_store_db(tel_store *s) { return s->db; }
int64_t tel_store_now(const tel_store *s) { return weft_wall(s->clock); }

/* ---- services: counted per transaction */

typedef struct seen_service {
    int64_t spans, errors, logs;
} seen_service;

static seen_service *seen(weft_map *services, const char *name) {
    seen_service *s = weft_map_get(services, name);
    if (s) return s;
    s = weft_calloc(1, sizeof *s);
    if (s && weft_map_put(services, name, s)) {
        weft_free(s);
        s = NULL;
    }
    return s;
}

static void store_services(weft_map *services, weft_tx *tx, int64_t now) {
    size_t at = 0;
    const char *name;
    void *value;
    while (weft_map_next(services, &at, &name, NULL, &value)) {
        const seen_service *s = value;
        (void)weft_tx_exec(tx,
                           "INSERT INTO service VALUES (?1, ?2, ?2, ?3, ?4, ?5) "
                           "ON CONFLICT (name) DO UPDATE SET last_seen = ?2, spans = spans + ?3, "
                           "errors = errors + ?4, logs = logs + ?5",
                           "sllll", name, now, s->spans, s->errors, s->logs);
    }
}

/* ---- traces */

/* The row of a trace, while spans of it are added. */
typedef struct trace_row {
    int64_t seq, start, end, root_start, spans, errors;
    bool rooted, renamed;
    const char *service, *name; /* when renamed */
} trace_row;

typedef struct adding {
    tel_store *store;
    weft_tx *tx;
    tel_batch *batch;
    int64_t now;
    weft_map services;
    tel_edges *edges;
    bool *stored; /* by span of the batch */
    uint64_t repeated, rejected;
} adding;

static int by_trace(const void *a, const void *b) {
    return memcmp(((const tel_span *)a)->trace, ((const tel_span *)b)->trace, 16);
}

static void open_trace(adding *a, const tel_span *first, trace_row *row) {
    weft_stmt *q = weft_tx_query(a->tx,
                                 "SELECT seq, start, end, rooted, root_start, spans, errors "
                                 "FROM trace WHERE trace_id = ?",
                                 "b", first->trace, sizeof first->trace);
    if (weft_stmt_row(q)) {
        *row = (trace_row){.seq = weft_stmt_int(q, 0),
                           .start = weft_stmt_int(q, 1),
                           .end = weft_stmt_int(q, 2),
                           .rooted = weft_stmt_int(q, 3) != 0,
                           .root_start = weft_stmt_int(q, 4),
                           .spans = weft_stmt_int(q, 5),
                           .errors = weft_stmt_int(q, 6)};
        return;
    }
    (void)weft_tx_exec(a->tx,
                       "INSERT INTO trace (trace_id, received, start, end, rooted, root_start, "
                       "service, name, spans, errors) VALUES (?, ?, 0, 0, 0, 0, '', '', 0, 0)",
                       "bl", first->trace, sizeof first->trace, a->now);
    *row = (trace_row){.seq = weft_tx_last_id(a->tx), .start = INT64_MAX, .root_start = INT64_MAX};
}

static void note(trace_row *row, const tel_span *s) {
    const bool root = !s->has_parent;
    row->spans++;
    row->errors += s->error;
    if (s->start < row->start) row->start = s->start;
    if (s->end > row->end) row->end = s->end;
    if (root < row->rooted || (root == row->rooted && s->start >= row->root_start)) return;
    row->rooted = root;
    row->root_start = s->start;
    row->renamed = true;
    row->service = s->service;
    row->name = s->name;
}

static void close_trace(adding *a, const trace_row *row) {
    (void)weft_tx_exec(a->tx,
                       "UPDATE trace SET start = ?, end = ?, rooted = ?, root_start = ?, "
                       "spans = ?, errors = ? WHERE seq = ?",
                       "llillll", row->start, row->end, (int)row->rooted, row->root_start,
                       row->spans, row->errors, row->seq);
    if (row->renamed)
        (void)weft_tx_exec(a->tx, "UPDATE trace SET service = ?, name = ? WHERE seq = ?", "ssl",
                           row->service, row->name, row->seq);
}

static bool insert_span(adding *a, int64_t seq, const tel_span *s) {
    const int rc = weft_tx_exec(
        a->tx,
        "INSERT OR IGNORE INTO span (seq, span_id, parent_id, kind, start, end, service, name, "
        "peer, grpc, error, sidecar, message, detail) "
        "VALUES (?1, ?2, CASE ?14 WHEN 0 THEN NULL ELSE ?3 END, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, "
        "?12, ?13, ?15)",
        "lbbillsssiiisib", seq, s->id, sizeof s->id, s->parent, sizeof s->parent, (int)s->kind,
        s->start, s->end, s->service, s->name, s->peer, (int)s->grpc, (int)s->error,
        (int)s->sidecar, s->message, (int)s->has_parent, s->detail, s->detail_len);
    return !rc && weft_tx_changes(a->tx) == 1;
}

/* Spans [from, to) of the batch are of one trace. */
static int add_trace(adding *a, size_t from, size_t to) {
    trace_row row = {0};
    open_trace(a, &a->batch->spans[from], &row);
    const int64_t before = row.spans;
    for (size_t i = from; i < to; i++) {
        const tel_span *s = &a->batch->spans[i];
        seen_service *service = seen(&a->services, s->service);
        if (!service) return WEFT_ENOMEM;
        if (row.spans >= TEL_SPANS_PER_TRACE) {
            a->rejected++;
        } else if (!insert_span(a, row.seq, s)) {
            a->repeated++;
        } else {
            a->stored[i] = true;
            note(&row, s);
            service->spans++;
            service->errors += s->error;
        }
    }
    if (row.spans != before) close_trace(a, &row);
    int rc = 0;
    for (size_t i = from; i < to && !rc; i++)
        if (a->stored[i]) rc = tel_edges_span(a->edges, a->tx, row.seq, &a->batch->spans[i]);
    return rc;
}

static int add_all(adding *a) {
    int rc = 0;
    size_t from = 0;
    for (size_t i = 1; i <= a->batch->count && !rc; i++) {
        if (i < a->batch->count && !by_trace(&a->batch->spans[from], &a->batch->spans[i])) continue;
        rc = add_trace(a, from, i);
        from = i;
    }
    if (!rc) rc = tel_edges_store(a->edges, a->tx);
    store_services(&a->services, a->tx, a->now);
    return rc;
}

int tel_store_add_spans(tel_store *store, tel_batch *batch) {
    atomic_fetch_add(&store->spans_rejected, batch->rejected);
    if (!batch->count) return 0;
    adding a = {.store = store, .batch = batch, .now = tel_store_now(store)};
    weft_map_init(&a.services, TEL_SPANS_PER_REQUEST);
    a.edges = tel_edges_new(a.now);
    a.stored = weft_calloc(batch->count, sizeof *a.stored);
    int rc = a.edges && a.stored ? 0 : WEFT_ENOMEM;
    qsort(batch->spans, batch->count, sizeof *batch->spans, by_trace);
    if (!rc) rc = weft_tx_begin(store->db, WEFT_WRITE, &a.tx);
    if (!rc) {
        rc = add_all(&a);
        if (rc)
            weft_tx_rollback(a.tx);
        else
            rc = weft_tx_commit(a.tx);
    }
    if (!rc) {
        atomic_fetch_add(&store->repeated, a.repeated);
        atomic_fetch_add(&store->spans_rejected, a.rejected);
        if (a.rejected && !batch->why) batch->why = "a trace has too many spans";
        batch->rejected += a.rejected;
    }
    weft_map_free(&a.services, weft_free);
    tel_edges_free(a.edges);
    weft_free(a.stored);
    return rc;
}

/* ---- log records */

static int insert_log(weft_tx *tx, const tel_log *l, int64_t now) {
    return weft_tx_exec(
        tx,
        "INSERT OR IGNORE INTO log (key, received, time, trace_id, span_id, service, severity, "
        "level, body, detail) VALUES (?1, ?2, ?3, CASE ?4 WHEN 0 THEN NULL ELSE ?5 END, "
        "CASE ?6 WHEN 0 THEN NULL ELSE ?7 END, ?8, ?9, ?10, ?11, ?12)",
        "bllibibsissb", l->key, sizeof l->key, now, l->time, (int)l->has_trace, l->trace,
        sizeof l->trace, (int)l->has_span, l->span, sizeof l->span, l->service, (int)l->severity,
        l->level, l->body, l->detail, l->detail_len);
}

static int add_logs(weft_tx *tx, const tel_batch *batch, int64_t now, uint64_t *added) {
    weft_map services;
    weft_map_init(&services, TEL_LOGS_PER_REQUEST);
    int rc = 0;
    for (size_t i = 0; i < batch->count && !rc; i++) {
        seen_service *s = seen(&services, batch->logs[i].service);
        rc = s ? insert_log(tx, &batch->logs[i], now) : WEFT_ENOMEM;
        if (rc || weft_tx_changes(tx) != 1) continue;
        s->logs++;
        ++*added;
    }
    if (!rc) store_services(&services, tx, now);
    weft_map_free(&services, weft_free);
    return rc;
}

int tel_store_add_logs(tel_store *store, tel_batch *batch) {
    atomic_fetch_add(&store->logs_rejected, batch->rejected);
    if (!batch->count) return 0;
    weft_tx *tx;
    uint64_t added = 0;
    int rc = weft_tx_begin(store->db, WEFT_WRITE, &tx);
    if (rc) return rc;
    rc = add_logs(tx, batch, tel_store_now(store), &added);
    if (rc) {
        weft_tx_rollback(tx);
        return rc;
    }
    rc = weft_tx_commit(tx);
    if (rc) return rc;
    atomic_fetch_add(&store->repeated, batch->count - added);
    if (!added) return 0;
    (void)pthread_mutex_lock(&store->lock);
    store->log_batches++;
    (void)pthread_cond_broadcast(&store->changed);
    (void)pthread_mutex_unlock(&store->lock);
    return 0;
}

void tel_store_wait_logs(tel_store *store, uint64_t *what, int64_t ns) {
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    const int64_t at = until.tv_sec * WEFT_NS_PER_S + until.tv_nsec + (ns > 0 ? ns : 0);
    until = (struct timespec){at / WEFT_NS_PER_S, at % WEFT_NS_PER_S};
    (void)pthread_mutex_lock(&store->lock);
    while (ns > 0 && store->log_batches == *what && !store->stopped)
        if (pthread_cond_timedwait(&store->changed, &store->lock, &until) == ETIMEDOUT) break;
    *what = store->log_batches;
    (void)pthread_mutex_unlock(&store->lock);
}

void tel_store_stop(tel_store *store) {
    (void)pthread_mutex_lock(&store->lock);
    store->stopped = true;
    (void)pthread_cond_broadcast(&store->changed);
    (void)pthread_mutex_unlock(&store->lock);
}
