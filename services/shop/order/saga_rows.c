/* Sagas in the database. */
#include <string.h>

#include "services/shop/order/saga.h"

const char saga_schema[] =
    "CREATE TABLE saga ("
    "  id TEXT PRIMARY KEY,"
    "  kind TEXT NOT NULL,"
    "  subject TEXT NOT NULL,"
    "  state INTEGER NOT NULL CHECK (state IN (1, 2, 3, 4)),"
    "  parked INTEGER NOT NULL DEFAULT 0,"
    "  failures INTEGER NOT NULL DEFAULT 0,"
    "  next_try INTEGER NOT NULL,"
    "  failed_step INTEGER NOT NULL DEFAULT -1,"
    "  code INTEGER NOT NULL DEFAULT 0,"
    "  message TEXT NOT NULL DEFAULT '',"
    "  created INTEGER NOT NULL,"
    "  updated INTEGER NOT NULL"
    ") WITHOUT ROWID;"
    "CREATE INDEX saga_due ON saga (next_try) WHERE state IN (1, 2) AND parked = 0;"
    "CREATE TABLE saga_step ("
    "  saga TEXT NOT NULL REFERENCES saga,"
    "  number INTEGER NOT NULL,"
    "  name TEXT NOT NULL,"
    "  state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 5),"
    "  tries INTEGER NOT NULL DEFAULT 0,"
    "  result TEXT NOT NULL DEFAULT '',"
    "  PRIMARY KEY (saga, number)"
    ") WITHOUT ROWID;";

void saga_begin(const saga_engine *engine, weft_tx *tx, const saga_kind *kind, const char *id,
                const char *subject) {
    const saga_options *options = saga_engine_options(engine);
    const int64_t now = weft_wall(options->clock);
    /* The caller follows it now; others look after it only if the caller should die. */
    (void)weft_tx_exec(tx,
                       "INSERT INTO saga (id, kind, subject, state, next_try, created, updated) "
                       "VALUES (?, ?, ?, ?, ?, ?, ?)",
                       "sssilll", id, kind->name, subject, (int)SAGA_EXECUTING,
                       now + options->lease_ns, now, now);
    for (size_t i = 0; i < kind->count; i++)
        (void)weft_tx_exec(tx,
                           "INSERT INTO saga_step (saga, number, name, state) VALUES (?, ?, ?, 0)",
                           "sis", id, (int)i, kind->steps[i].name);
}

static const saga_kind *kind_of(const saga_options *options, const char *name) {
    for (const saga_kind *const *kind = options->kinds; *kind; kind++)
        if (!strcmp((*kind)->name, name)) return *kind;
    return NULL;
}

static int load_saga(const saga_options *options, weft_ctx *ctx, weft_tx *tx, const char *id,
                     saga *out) {
    weft_stmt *row = weft_tx_query(tx,
                                   "SELECT kind, subject, state, parked, failures, next_try, "
                                   "failed_step, code, message FROM saga WHERE id = ?",
                                   "s", id);
    if (!weft_stmt_row(row)) return WEFT_ENOTFOUND;
    *out = (saga){.id = weft_strdup(ctx, id),
                  .subject = weft_strdup(ctx, weft_stmt_text(row, 1)),
                  .kind = kind_of(options, weft_stmt_text(row, 0)),
                  .state = (saga_state)weft_stmt_int(row, 2),
                  .parked = weft_stmt_int(row, 3) != 0,
                  .failures = (int)weft_stmt_int(row, 4),
                  .next_try = weft_stmt_int(row, 5),
                  .failed_step = (int)weft_stmt_int(row, 6),
                  .code = (int)weft_stmt_int(row, 7),
                  .message = weft_strdup(ctx, weft_stmt_text(row, 8))};
    if (!out->kind) return WEFT_EUNSUPPORTED;
    return out->id && out->subject && out->message ? 0 : WEFT_ENOMEM;
}

static int load_steps(weft_ctx *ctx, weft_tx *tx, saga *out) {
    weft_stmt *row = weft_tx_query(
        tx, "SELECT number, state, tries, result FROM saga_step WHERE saga = ?", "s", out->id);
    while (weft_stmt_row(row)) {
        const int64_t i = weft_stmt_int(row, 0);
        if (i < 0 || i >= (int64_t)out->kind->count) return WEFT_EUNSUPPORTED;
        out->steps[i].state = (saga_step_state)weft_stmt_int(row, 1);
        out->steps[i].tries = weft_stmt_int(row, 2);
        out->steps[i].result = weft_strdup(ctx, weft_stmt_text(row, 3));
        if (!out->steps[i].result) return WEFT_ENOMEM;
    }
    return 0;
}

int saga_load(const saga_engine *engine, weft_ctx *ctx, const char *id, saga *out) {
    const saga_options *options = saga_engine_options(engine);
    weft_tx *tx;
    int error = weft_tx_begin(options->db, WEFT_READ, &tx);
    if (error) return error;
    error = load_saga(options, ctx, tx, id, out);
    if (!error) error = load_steps(ctx, tx, out);
    if (weft_tx_error(tx)) error = weft_tx_error(tx);
    weft_tx_rollback(tx);
    return error;
}

void saga_store(weft_tx *tx, const saga *s, int64_t now) {
    (void)weft_tx_exec(tx,
                       "UPDATE saga SET state = ?, parked = ?, failures = ?, next_try = ?, "
                       "failed_step = ?, code = ?, message = ?, updated = ? WHERE id = ?",
                       "iiiliisls", (int)s->state, (int)s->parked, s->failures, s->next_try,
                       s->failed_step, s->code, s->message, now, s->id);
    for (size_t i = 0; i < s->kind->count; i++)
        (void)weft_tx_exec(
            tx,
            "UPDATE saga_step SET state = ?, tries = ?, result = ? WHERE saga = ? AND number = ?",
            "ilssi", (int)s->steps[i].state, s->steps[i].tries, s->steps[i].result, s->id, (int)i);
}

int saga_due(weft_db *db, weft_ctx *ctx, int64_t now, const char **ids, int max) {
    weft_tx *tx;
    int error = weft_tx_begin(db, WEFT_READ, &tx);
    if (error) return error;
    weft_stmt *row = weft_tx_query(tx,
                                   "SELECT id FROM saga WHERE state IN (1, 2) AND parked = 0 AND "
                                   "next_try <= ? ORDER BY next_try LIMIT ?",
                                   "li", now, max);
    int count = 0;
    while (weft_stmt_row(row) && (ids[count] = weft_strdup(ctx, weft_stmt_text(row, 0)))) count++;
    error = weft_tx_error(tx);
    weft_tx_rollback(tx);
    return error ? error : count;
}

int saga_unpark(weft_db *db) {
    weft_tx *tx;
    const int error = weft_tx_begin(db, WEFT_WRITE, &tx);
    if (error) return error;
    (void)weft_tx_exec(tx, "UPDATE saga SET parked = 0, next_try = 0 WHERE parked = 1", "");
    return weft_tx_commit(tx);
}
