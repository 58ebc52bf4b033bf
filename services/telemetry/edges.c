/* Rate, errors and durations of calls between services, counted by minute as spans arrive.
 *
 * A call is told by several spans. It is counted once: by the caller's sidecar, which knows whom it called and
 * what the caller got; else by the server's span, that of its sidecar rather than that of the app behind it. For
 * which of those it is, a server's span is counted only when its parent is there, or had TEL_SETTLE to come. */
#include <string.h>

#include "services/telemetry/internal.h"
#include "weft/map.h"
#include "weft/mem.h"

#define MINUTE (60 * WEFT_NS_PER_S)
#define SERVER OTLP__SPAN__SPAN_KIND__SPAN_KIND_SERVER
#define CLIENT OTLP__SPAN__SPAN_KIND__SPAN_KIND_CLIENT
#define OTHER "(others)" /* the method of what is over TEL_EDGES_PER_MINUTE */

typedef struct count {
    int64_t minute, calls, errors, sum, max;
    const char *caller, *callee, *method; /* in the same block */
    tel_histogram histogram;
    char text[];
} count;

struct tel_edges {
    int64_t now;
    weft_map counts; /* by minute and the three names */
};

tel_edges *tel_edges_new(int64_t now) {
    tel_edges *e = weft_calloc(1, sizeof *e);
    if (!e) return NULL;
    e->now = now;
    weft_map_init(&e->counts, TEL_SPANS_PER_REQUEST);
    return e;
}

void tel_edges_free(tel_edges *e) {
    if (!e) return;
    weft_map_free(&e->counts, weft_free);
    weft_free(e);
}

static int add(tel_edges *e, const char *caller, const tel_span *s, const char *callee) {
    const int64_t minute = (s->end < e->now ? s->end : e->now) / MINUTE;
    const size_t a = strlen(caller) + 1, b = strlen(callee) + 1, m = strlen(s->name) + 1;
    count *made = weft_calloc(1, sizeof *made + sizeof minute + a + b + m);
    if (!made) return WEFT_ENOMEM;
    char *key = made->text;
    memcpy(key, &minute, sizeof minute);
    char *names = key + sizeof minute;
    memcpy(names, caller, a);
    memcpy(names + a, callee, b);
    memcpy(names + a + b, s->name, m);
    count *c = weft_map_get_bytes(&e->counts, key, sizeof minute + a + b + m);
    if (c) {
        weft_free(made);
    } else {
        const int rc = weft_map_put_bytes(&e->counts, key, sizeof minute + a + b + m, made);
        if (rc) {
            weft_free(made);
            return rc;
        }
        c = made;
        c->minute = minute;
        c->caller = names;
        c->callee = names + a;
        c->method = names + a + b;
    }
    const int64_t took = s->end - s->start;
    c->calls++;
    c->errors += s->error;
    if (__builtin_add_overflow(c->sum, took, &c->sum)) c->sum = INT64_MAX;
    if (took > c->max) c->max = took;
    tel_histogram_add(&c->histogram, took);
    return 0;
}

/* ---- which span tells of a call */

/* What is known of a server's span's parent. */
typedef struct parent {
    bool known, sidecar_client;
    char service[TEL_NAME_BYTES + 1];
} parent;

static void look_up(weft_tx *tx, int64_t seq, const tel_span *s, parent *p) {
    *p = (parent){0};
    weft_stmt *q =
        weft_tx_query(tx, "SELECT service, sidecar, kind FROM span WHERE seq = ? AND span_id = ?",
                      "lb", seq, s->parent, sizeof s->parent);
    if (!weft_stmt_row(q)) return;
    p->known = true;
    p->sidecar_client = weft_stmt_int(q, 1) && weft_stmt_int(q, 2) == CLIENT;
    const char *service = weft_stmt_text(q, 0);
    memcpy(p->service, service, strnlen(service, TEL_NAME_BYTES));
}

static int count_server(tel_edges *e, const tel_span *s, const parent *p) {
    if (p->known && s->sidecar && p->sidecar_client) return 0;                /* it counted */
    if (p->known && !s->sidecar && !strcmp(p->service, s->service)) return 0; /* our sidecar did */
    return add(e, *s->peer ? s->peer : p->service, s, s->service);
}

int tel_edges_span(tel_edges *e, weft_tx *tx, int64_t seq, const tel_span *s) {
    if (*s->callee) return add(e, s->service, s, s->callee);
    if (s->kind != SERVER) return 0;
    parent p = {0};
    if (s->has_parent) {
        look_up(tx, seq, s, &p);
        if (!p.known) {
            (void)weft_tx_exec(tx, "INSERT OR IGNORE INTO unsettled VALUES (?, ?, ?)", "llb",
                               e->now + TEL_SETTLE, seq, s->id, sizeof s->id);
            return 0;
        }
    }
    return count_server(e, s, &p);
}

/* ---- the table */

static int store_one(weft_tx *tx, count *c) {
    const char *method = c->method;
    weft_stmt *q = weft_tx_query(tx, "SELECT count(*) FROM edge WHERE minute = ?", "l", c->minute);
    const bool full = weft_stmt_row(q) && weft_stmt_int(q, 0) >= TEL_EDGES_PER_MINUTE;
    q = weft_tx_query(tx,
                      "SELECT histogram FROM edge WHERE minute = ? AND caller = ? AND callee = ? "
                      "AND method = ?",
                      "lsss", c->minute, c->caller, c->callee, method);
    bool there = weft_stmt_row(q);
    if (!there && full) {
        method = OTHER;
        c->caller = c->callee = "";
        q = weft_tx_query(tx,
                          "SELECT histogram FROM edge WHERE minute = ? AND caller = '' AND "
                          "callee = '' AND method = ?",
                          "ls", c->minute, method);
        there = weft_stmt_row(q);
    }
    if (there) {
        size_t len;
        tel_histogram before;
        const void *data = weft_stmt_blob(q, 0, &len);
        tel_histogram_read(&before, data, data ? len : 0);
        tel_histogram_merge(&c->histogram, &before);
    }
    weft_buf bytes;
    weft_buf_init(&bytes, 0);
    tel_histogram_write(&c->histogram, &bytes);
    (void)weft_tx_exec(tx,
                       "INSERT INTO edge VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) "
                       "ON CONFLICT (minute, caller, callee, method) DO UPDATE SET "
                       "calls = calls + ?5, errors = errors + ?6, sum = sum + ?7, "
                       "max = max(max, ?8), histogram = ?9",
                       "lsssllllb", c->minute, c->caller, c->callee, method, c->calls, c->errors,
                       c->sum, c->max, weft_buf_str(&bytes), bytes.len);
    const int rc = bytes.error;
    weft_buf_free(&bytes);
    return rc;
}

int tel_edges_store(tel_edges *e, weft_tx *tx) {
    size_t at = 0;
    void *value;
    int rc = 0;
    while (!rc && weft_map_next(&e->counts, &at, NULL, NULL, &value)) rc = store_one(tx, value);
    return rc;
}

/* ---- later */

typedef struct waiting {
    int64_t due, seq;
    uint8_t id[8];
} waiting;

/* One span whose parent was waited for; a trace that has gone meanwhile is not counted. */
static int settle_one(tel_edges *e, weft_tx *tx, const waiting *w) {
    char service[TEL_NAME_BYTES + 1] = "", name[TEL_NAME_BYTES + 1] = "",
                                  peer[TEL_NAME_BYTES + 1] = "";
    tel_span s = {.service = service, .name = name, .peer = peer, .callee = "", .kind = SERVER};
    size_t len;
    (void)weft_tx_exec(tx, "DELETE FROM unsettled WHERE due = ? AND seq = ? AND span_id = ?", "llb",
                       w->due, w->seq, w->id, sizeof w->id);
    weft_stmt *q = weft_tx_query(tx,
                                 "SELECT parent_id, start, end, service, name, peer, error, "
                                 "sidecar FROM span WHERE seq = ? AND span_id = ?",
                                 "lb", w->seq, w->id, sizeof w->id);
    if (!weft_stmt_row(q)) return 0;
    const void *up = weft_stmt_blob(q, 0, &len);
    if (up && len == sizeof s.parent) memcpy(s.parent, up, len);
    s.start = weft_stmt_int(q, 1);
    s.end = weft_stmt_int(q, 2);
    memcpy(service, weft_stmt_text(q, 3), strnlen(weft_stmt_text(q, 3), TEL_NAME_BYTES));
    memcpy(name, weft_stmt_text(q, 4), strnlen(weft_stmt_text(q, 4), TEL_NAME_BYTES));
    memcpy(peer, weft_stmt_text(q, 5), strnlen(weft_stmt_text(q, 5), TEL_NAME_BYTES));
    s.error = weft_stmt_int(q, 6) != 0;
    s.sidecar = weft_stmt_int(q, 7) != 0;
    parent p;
    look_up(tx, w->seq, &s, &p);
    return count_server(e, &s, &p);
}

/* The due ones, the first `max` of them, into `list`. */
static size_t collect(weft_tx *tx, int64_t now, waiting *list, int64_t max) {
    weft_stmt *q = weft_tx_query(
        tx, "SELECT due, seq, span_id FROM unsettled WHERE due <= ? ORDER BY due LIMIT ?", "ll",
        now, max);
    size_t found = 0, len;
    while ((int64_t)found < max && weft_stmt_row(q)) {
        waiting *w = &list[found];
        w->due = weft_stmt_int(q, 0);
        w->seq = weft_stmt_int(q, 1);
        const void *id = weft_stmt_blob(q, 2, &len);
        if (!id || len != sizeof w->id) continue;
        memcpy(w->id, id, len);
        found++;
    }
    return found;
}

static int settle(weft_tx *tx, int64_t now, const waiting *list, size_t found) {
    tel_edges *e = tel_edges_new(now);
    int rc = e ? 0 : WEFT_ENOMEM;
    for (size_t i = 0; i < found && !rc; i++) rc = settle_one(e, tx, &list[i]);
    if (!rc) rc = tel_edges_store(e, tx);
    tel_edges_free(e);
    return rc;
}

int tel_store_settle(tel_store *store, int64_t rows) {
    weft_tx *tx;
    waiting *list = weft_calloc((size_t)rows, sizeof *list);
    if (!list) return WEFT_ENOMEM;
    size_t found = 0;
    int rc = weft_tx_begin(store->db, WEFT_READ, &tx);
    if (!rc) {
        found = collect(tx, tel_store_now(store), list, 1);
        rc = weft_tx_commit(tx);
    }
    if (!rc && found) {
        rc = weft_tx_begin(store->db, WEFT_WRITE, &tx);
        if (!rc) {
            found = collect(tx, tel_store_now(store), list, rows);
            rc = settle(tx, tel_store_now(store), list, found);
            if (rc)
                weft_tx_rollback(tx);
            else
                rc = weft_tx_commit(tx);
        }
    }
    weft_free(list);
    return rc ? rc : (int64_t)found == rows;
}
