/* The payment database: wallets, the entries they are the sums of, and payments. */
#include "services/shop/payment/rows.h"

const weft_migration payment_migrations[] = {
    SHOP_MIGRATION_COMMON,
    {"wallets", "CREATE TABLE wallet ("
                "  user_id TEXT NOT NULL,"
                "  currency TEXT NOT NULL,"
                "  balance INTEGER NOT NULL CHECK (balance >= 0),"
                "  updated INTEGER NOT NULL,"
                "  PRIMARY KEY (user_id, currency)"
                ") WITHOUT ROWID;"
                "CREATE TABLE payment ("
                "  payment_id TEXT PRIMARY KEY,"
                "  order_id TEXT NOT NULL UNIQUE,"
                "  user_id TEXT NOT NULL,"
                "  amount INTEGER NOT NULL CHECK (amount > 0),"
                "  refunded INTEGER NOT NULL CHECK (refunded BETWEEN 0 AND amount),"
                "  currency TEXT NOT NULL,"
                "  created INTEGER NOT NULL,"
                "  updated INTEGER NOT NULL,"
                "  FOREIGN KEY (user_id, currency) REFERENCES wallet"
                ") WITHOUT ROWID;"
                "CREATE INDEX payment_user ON payment (user_id);"
                "CREATE TABLE wallet_entry ("
                "  entry INTEGER PRIMARY KEY,"
                "  user_id TEXT NOT NULL,"
                "  currency TEXT NOT NULL,"
                "  kind INTEGER NOT NULL CHECK (kind IN (1, 2, 3)),"
                "  amount INTEGER NOT NULL CHECK (amount <> 0),"
                "  balance_after INTEGER NOT NULL,"
                "  payment_id TEXT REFERENCES payment,"
                "  created INTEGER NOT NULL,"
                "  FOREIGN KEY (user_id, currency) REFERENCES wallet"
                ");"
                "CREATE INDEX wallet_entry_wallet ON wallet_entry (user_id, currency, entry);"},
};
const size_t payment_migration_count = sizeof payment_migrations / sizeof payment_migrations[0];

weft_status payment_find_wallet(weft_ctx *ctx, weft_tx *tx, const char *user_id,
                                const char *currency, Payment__Wallet **out) {
    weft_stmt *row =
        weft_tx_query(tx, "SELECT balance, updated FROM wallet WHERE user_id = ? AND currency = ?",
                      "ss", user_id, currency);
    if (!weft_stmt_row(row))
        return weft_not_found(ctx, "user \"%s\" has no wallet in %s", user_id, currency);
    Payment__Wallet *wallet = payment_wallet_new(ctx);
    if (!wallet || !shop_set_text(ctx, &wallet->user_id, user_id) ||
        !shop_set_money(ctx, &wallet->balance, weft_stmt_int(row, 0), currency) ||
        !shop_set_time(ctx, &wallet->update_time, weft_stmt_int(row, 1)))
        return shop_no_memory(ctx);
    *out = wallet;
    return weft_ok();
}

weft_status payment_move(weft_ctx *ctx, weft_tx *tx, const Payment__Wallet *wallet,
                         Payment__WalletEntryKind kind, int64_t amount, const char *payment_id) {
    const char *currency = wallet->balance->currency_code;
    const int64_t before = wallet->balance->minor_units;
    int64_t after;
    /* The limit is for top-ups: a refund must never be refused for what came in since the
     * charge. */
    if (__builtin_add_overflow(before, amount, &after) || after < 0 ||
        (kind == PAYMENT__WALLET_ENTRY_KIND__WALLET_ENTRY_KIND_TOP_UP && after > SHOP_MONEY_MAX)) {
        const char *holds = shop_money_text(ctx, before, currency);
        if (amount < 0)
            return weft_failed_precondition(
                ctx, "the wallet of user \"%s\" holds %s, %s are needed", wallet->user_id, holds,
                shop_money_text(ctx, -amount, currency));
        return weft_out_of_range(
            ctx, "the wallet of user \"%s\" holds %s and may not hold more than %s",
            wallet->user_id, holds, shop_money_text(ctx, SHOP_MONEY_MAX, currency));
    }
    const int64_t now = shop_now(ctx);
    (void)weft_tx_exec(
        tx, "UPDATE wallet SET balance = ?, updated = ? WHERE user_id = ? AND currency = ?", "llss",
        after, now, wallet->user_id, currency);
    (void)weft_tx_exec(tx,
                       "INSERT INTO wallet_entry (user_id, currency, kind, amount, balance_after, "
                       "payment_id, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
                       "ssillsl", wallet->user_id, currency, (int)kind, amount, after, payment_id,
                       now);
    return weft_ok();
}

static Payment__PaymentState state_of(int64_t amount, int64_t refunded) {
    if (refunded == 0) return PAYMENT__PAYMENT_STATE__PAYMENT_STATE_CAPTURED;
    if (refunded == amount) return PAYMENT__PAYMENT_STATE__PAYMENT_STATE_REFUNDED;
    return PAYMENT__PAYMENT_STATE__PAYMENT_STATE_PARTLY_REFUNDED;
}

Payment__Payment *payment_of(weft_ctx *ctx, weft_stmt *row) {
    Payment__Payment *payment = payment_payment_new(ctx);
    if (!payment) return NULL;
    const int64_t amount = weft_stmt_int(row, 3), refunded = weft_stmt_int(row, 4);
    const char *currency = weft_stmt_text(row, 5);
    payment->state = state_of(amount, refunded);
    const bool whole = shop_set_text(ctx, &payment->payment_id, weft_stmt_text(row, 0)) &&
                       shop_set_text(ctx, &payment->order_id, weft_stmt_text(row, 1)) &&
                       shop_set_text(ctx, &payment->user_id, weft_stmt_text(row, 2)) &&
                       shop_set_money(ctx, &payment->amount, amount, currency) &&
                       shop_set_money(ctx, &payment->refunded, refunded, currency) &&
                       shop_set_time(ctx, &payment->create_time, weft_stmt_int(row, 6)) &&
                       shop_set_time(ctx, &payment->update_time, weft_stmt_int(row, 7));
    return whole ? payment : NULL;
}

weft_status payment_find(weft_ctx *ctx, weft_tx *tx, const char *payment_id,
                         Payment__Payment **payment) {
    weft_stmt *row = weft_tx_query(
        tx, "SELECT " PAYMENT_COLUMNS " FROM payment WHERE payment_id = ?", "s", payment_id);
    if (!weft_stmt_row(row)) return weft_not_found(ctx, "no payment \"%s\"", payment_id);
    *payment = payment_of(ctx, row);
    return *payment ? weft_ok() : shop_no_memory(ctx);
}
