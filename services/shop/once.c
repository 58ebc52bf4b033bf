/* Idempotency keys: a call is decided once, and its answer kept with its effect.
 *
 * A record holds the whole request, not a hash: requests are small (SHOP_REQUEST_MAX), and then
 * no two are ever taken for the same. `code` is NULL while an accepted call is not answered yet. */
#include <stdatomic.h>
#include <string.h>

#include "services/shop/shop.h"
#include "weft/log.h"
#include "weft/stub.h"

#define KEEP (INT64_C(7) * 24 * 3600 * WEFT_NS_PER_S)

const char shop_common_schema[] =
    "CREATE TABLE once ("
    "  key TEXT PRIMARY KEY,"
    "  method TEXT NOT NULL,"
    "  request BLOB NOT NULL,"
    "  subject TEXT,"
    "  code INTEGER,"
    "  message TEXT,"
    "  reply BLOB,"
    "  created INTEGER NOT NULL"
    ") WITHOUT ROWID;"
    "CREATE INDEX once_created ON once (created);"
    "CREATE INDEX once_subject ON once (subject) WHERE subject IS NOT NULL;"
    "CREATE TABLE seeded (time INTEGER NOT NULL);";

/* ---- the database's errors */

weft_status shop_store_status(weft_ctx *ctx, int error, const char *detail) {
    weft_log(WEFT_LOG_ERROR, "database", WEFT_S("error", weft_strerror(error)),
             WEFT_S("detail", detail));
    if (error == WEFT_EBUSY || error == WEFT_ETIMEOUT)
        return weft_unavailable(ctx, "the database is busy; try again");
    if (error == WEFT_ECONFLICT)
        return weft_aborted(ctx, "someone else went on with this meanwhile; try again");
    return weft_internal(ctx, "the database failed: %s", weft_strerror(error));
}

/* Ends a failed transaction; its sentence has to be taken before it is gone. */
static weft_status abandon(weft_ctx *ctx, weft_tx *tx, weft_status st) {
    const int error = weft_tx_error(tx);
    if (error) st = shop_store_status(ctx, error, weft_tx_message(tx));
    weft_tx_rollback(tx);
    return st;
}

weft_status shop_begin_read(weft_ctx *ctx, weft_tx **tx) {
    const int error = weft_tx_begin(shop_of(ctx)->db, WEFT_READ, tx);
    return error ? shop_store_status(ctx, error, "begin") : weft_ok();
}

weft_status shop_end_read(weft_ctx *ctx, weft_tx *tx, weft_status st) {
    return abandon(ctx, tx, st);
}

static weft_status finish(weft_ctx *ctx, weft_tx *tx) {
    if (weft_tx_error(tx)) return abandon(ctx, tx, weft_ok());
    const int error = weft_tx_commit(tx);
    return error ? shop_store_status(ctx, error, "commit") : weft_ok();
}

/* ---- records */

static const char *method_of(const weft_ctx *ctx) { return weft_ctx_method(ctx)->name; }

static weft_status pack(weft_ctx *ctx, const ProtobufCMessage *message, uint8_t **data,
                        size_t *len) {
    *data = weft_pack(weft_ctx_arena(ctx), message, len);
    return *data ? weft_ok() : shop_no_memory(ctx);
}

/* The recorded answer into `reply`, whose members live in the context. */
static weft_status unpack(weft_ctx *ctx, const void *data, size_t len, ProtobufCMessage *reply) {
    const ProtobufCMessageDescriptor *type = reply->descriptor;
    const char *why = "";
    int error = 0;
    ProtobufCMessage *message =
        weft_unpack(type, data, len, NULL, weft_ctx_arena(ctx), &error, &why);
    if (!message && error == WEFT_ENOMEM) return shop_no_memory(ctx);
    if (!message) return weft_data_loss(ctx, "the recorded answer cannot be read: %s", why);
    memcpy(reply, message, type->sizeof_message);
    return weft_ok();
}

static shop_known refuse(weft_status *st, weft_status why) {
    *st = why;
    return SHOP_REFUSED;
}

static shop_known recall_row(weft_ctx *ctx, weft_stmt *row, ProtobufCMessage *reply,
                             const char **subject, weft_status *st) {
    if (weft_stmt_null(row, 2)) {
        *subject = weft_strdup(ctx, weft_stmt_text(row, 5));
        return *subject ? SHOP_OPEN : refuse(st, shop_no_memory(ctx));
    }
    const int code = (int)weft_stmt_int(row, 2);
    size_t len = 0;
    const void *data = weft_stmt_blob(row, 4, &len);
    if (code == WEFT_OK)
        *st = unpack(ctx, data, len, reply);
    else
        *st = weft_error(ctx, (weft_code)code, "%s", weft_stmt_text(row, 3));
    return SHOP_ANSWERED;
}

shop_known shop_recall(weft_ctx *ctx, weft_tx *tx, const char *key, const ProtobufCMessage *request,
                       ProtobufCMessage *reply, const char **subject, weft_status *st) {
    uint8_t *bytes = NULL;
    size_t len = 0;
    *st = pack(ctx, request, &bytes, &len);
    if (weft_failed(*st)) return SHOP_REFUSED;
    if (len > SHOP_REQUEST_MAX)
        return refuse(st, weft_invalid(ctx, "request", "must be at most %d bytes, is %zu",
                                       SHOP_REQUEST_MAX, len));
    weft_stmt *row = weft_tx_query(
        tx, "SELECT method, request, code, message, reply, subject FROM once WHERE key = ?", "s",
        key);
    if (!weft_stmt_row(row)) {
        const int error = weft_tx_error(tx);
        if (error) return refuse(st, shop_store_status(ctx, error, weft_tx_message(tx)));
        return SHOP_NEW;
    }
    size_t known_len = 0;
    const void *known = weft_stmt_blob(row, 1, &known_len);
    if (strcmp(weft_stmt_text(row, 0), method_of(ctx)) != 0 || known_len != len ||
        (len > 0 && memcmp(known, bytes, len) != 0))
        return refuse(st, weft_already_exists(
                              ctx,
                              "idempotency_key: \"%s\" was used for another %s request; a new "
                              "request needs a new key",
                              key, weft_stmt_text(row, 0)));
    return recall_row(ctx, row, reply, subject, st);
}

/* Forgets what is older than KEEP, a little now and then. */
static void forget(weft_ctx *ctx, weft_tx *tx) {
    static atomic_uint calls;
    if (atomic_fetch_add(&calls, 1) % 256 != 0) return;
    (void)weft_tx_exec(tx,
                       "DELETE FROM once WHERE key IN (SELECT key FROM once WHERE created < ? AND "
                       "code IS NOT NULL ORDER BY created LIMIT 1000)",
                       "l", shop_now(ctx) - KEEP);
}

static int record(weft_ctx *ctx, weft_tx *tx, const char *key, const ProtobufCMessage *request,
                  const char *subject) {
    uint8_t *bytes = NULL;
    size_t len = 0;
    if (weft_failed(pack(ctx, request, &bytes, &len))) return WEFT_ENOMEM;
    forget(ctx, tx);
    return weft_tx_exec(
        tx, "INSERT INTO once (key, method, request, subject, created) VALUES (?, ?, ?, ?, ?)",
        "ssbsl", key, method_of(ctx), bytes, len, subject, shop_now(ctx));
}

weft_status shop_accept(weft_ctx *ctx, weft_tx *tx, const char *key,
                        const ProtobufCMessage *request, const char *subject) {
    const int error = record(ctx, tx, key, request, subject);
    return error ? shop_store_status(ctx, error, "record of a key") : weft_ok();
}

void shop_answer(weft_tx *tx, const char *subject, const void *reply, size_t len) {
    (void)weft_tx_exec(tx, "UPDATE once SET code = 0, reply = ? WHERE subject = ? AND code IS NULL",
                       "bs", reply, len, subject);
}

/* ---- once */

static bool is_refusal(weft_code code) {
    return code == WEFT_FAILED_PRECONDITION || code == WEFT_NOT_FOUND ||
           code == WEFT_ALREADY_EXISTS || code == WEFT_OUT_OF_RANGE;
}

static weft_status record_answer(weft_ctx *ctx, weft_tx *tx, const char *key,
                                 const ProtobufCMessage *request, const ProtobufCMessage *reply) {
    uint8_t *bytes = NULL;
    size_t len = 0;
    SHOP_TRY(pack(ctx, reply, &bytes, &len));
    SHOP_TRY(shop_accept(ctx, tx, key, request, NULL));
    (void)weft_tx_exec(tx, "UPDATE once SET code = 0, reply = ? WHERE key = ?", "bs", bytes, len,
                       key);
    return weft_ok();
}

/* The effect was rolled back; between that and now the same call may have been decided
 * elsewhere. */
static weft_status record_refusal(weft_ctx *ctx, const char *key, const ProtobufCMessage *request,
                                  ProtobufCMessage *reply, weft_status refusal) {
    weft_tx *tx;
    const int error = weft_tx_begin(shop_of(ctx)->db, WEFT_WRITE, &tx);
    if (error) return shop_store_status(ctx, error, "begin");
    weft_status st;
    const char *subject = NULL;
    if (shop_recall(ctx, tx, key, request, reply, &subject, &st) != SHOP_NEW)
        return abandon(ctx, tx, st);
    st = shop_accept(ctx, tx, key, request, NULL);
    if (weft_failed(st)) return abandon(ctx, tx, st);
    (void)weft_tx_exec(tx, "UPDATE once SET code = ?, message = ? WHERE key = ?", "iss",
                       (int)refusal.code, weft_status_message(refusal), key);
    st = finish(ctx, tx);
    return weft_failed(st) ? st : refusal;
}

static weft_status once(weft_ctx *ctx, const char *key, const ProtobufCMessage *request,
                        ProtobufCMessage *reply, shop_effect effect, bool remember) {
    SHOP_TRY(shop_check_key(ctx, key));
    weft_tx *tx;
    const int error = weft_tx_begin(shop_of(ctx)->db, WEFT_WRITE, &tx);
    if (error) return shop_store_status(ctx, error, "begin");
    weft_status st;
    const char *subject = NULL;
    if (shop_recall(ctx, tx, key, request, reply, &subject, &st) != SHOP_NEW)
        return abandon(ctx, tx, st);
    st = effect(ctx, tx, request, reply);
    if (weft_failed(st)) {
        const bool broken = weft_tx_error(tx) != 0;
        st = abandon(ctx, tx, st);
        if (broken || !remember || !is_refusal(st.code)) return st;
        return record_refusal(ctx, key, request, reply, st);
    }
    st = record_answer(ctx, tx, key, request, reply);
    if (weft_failed(st)) return abandon(ctx, tx, st);
    if (shop_fault_method(ctx, "before"))
        return abandon(ctx, tx, weft_failed_precondition(ctx, "refused by a fault point"));
    st = finish(ctx, tx);
    (void)shop_fault_method(ctx, "after");
    return st;
}

weft_status shop_once(weft_ctx *ctx, const char *key, const ProtobufCMessage *request,
                      ProtobufCMessage *reply, shop_effect effect) {
    return once(ctx, key, request, reply, effect, false);
}

weft_status shop_decide(weft_ctx *ctx, const char *key, const ProtobufCMessage *request,
                        ProtobufCMessage *reply, shop_effect effect) {
    return once(ctx, key, request, reply, effect, true);
}

/* ---- opening */

static int seed(const shop *self) {
    weft_tx *tx;
    int error = weft_tx_begin(self->db, WEFT_WRITE, &tx);
    if (error) return error;
    if (!weft_stmt_row(weft_tx_query(tx, "SELECT 1 FROM seeded", ""))) {
        self->info->seed(self, tx);
        (void)weft_tx_exec(tx, "INSERT INTO seeded VALUES (?)", "l", weft_wall(self->clock));
    }
    return weft_tx_commit(tx);
}

int shop_open(shop *self, const char *path, char **why) {
    const weft_db_options options = {.size = sizeof options,
                                     .migrations = self->info->migrations,
                                     .migration_count = self->info->migration_count,
                                     .clock = self->clock};
    int error = weft_db_open(path, &options, &self->db, why);
    if (!error && self->info->seed) {
        error = seed(self);
        if (error) weft_db_close(self->db);
    }
    return error;
}
