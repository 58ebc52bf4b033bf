/* The order database. */
#include "services/shop/order/rows.h"

static const char schema[] = "CREATE TABLE orders ("
                             "  order_id TEXT PRIMARY KEY,"
                             "  user_id TEXT NOT NULL,"
                             "  state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 5),"
                             "  total INTEGER NOT NULL CHECK (total > 0),"
                             "  currency TEXT NOT NULL,"
                             "  payment_id TEXT NOT NULL DEFAULT '',"
                             "  failed_step TEXT NOT NULL DEFAULT '',"
                             "  failed_code INTEGER NOT NULL DEFAULT 0,"
                             "  failed_message TEXT NOT NULL DEFAULT '',"
                             "  cancel_reason TEXT,"
                             "  created INTEGER NOT NULL,"
                             "  updated INTEGER NOT NULL"
                             ") WITHOUT ROWID;"
                             "CREATE INDEX orders_user ON orders (user_id, order_id);"
                             "CREATE TABLE order_line ("
                             "  order_id TEXT NOT NULL REFERENCES orders,"
                             "  line INTEGER NOT NULL,"
                             "  product_id TEXT NOT NULL,"
                             "  product_name TEXT NOT NULL,"
                             "  quantity INTEGER NOT NULL CHECK (quantity > 0),"
                             "  unit_price INTEGER NOT NULL CHECK (unit_price > 0),"
                             "  PRIMARY KEY (order_id, line)"
                             ") WITHOUT ROWID;"
                             "CREATE TABLE order_event ("
                             "  order_id TEXT NOT NULL REFERENCES orders,"
                             "  event INTEGER NOT NULL,"
                             "  state INTEGER NOT NULL,"
                             "  what TEXT NOT NULL,"
                             "  time INTEGER NOT NULL,"
                             "  PRIMARY KEY (order_id, event)"
                             ") WITHOUT ROWID;";

const weft_migration order_migrations[] = {
    SHOP_MIGRATION_COMMON,
    {"orders", schema},
    {"sagas", saga_schema},
};
const size_t order_migration_count = sizeof order_migrations / sizeof order_migrations[0];

/* ---- writing */

void order_event(weft_tx *tx, const char *order_id, const char *what, int64_t now) {
    (void)weft_tx_exec(tx,
                       "INSERT INTO order_event SELECT ?1, 1 + coalesce((SELECT max(event) FROM "
                       "order_event WHERE order_id = ?1), 0), state, ?2, ?3 FROM orders WHERE "
                       "order_id = ?1",
                       "ssl", order_id, what, now);
}

void order_insert(weft_tx *tx, const Order__Order *order, int64_t now) {
    (void)weft_tx_exec(tx,
                       "INSERT INTO orders (order_id, user_id, state, total, currency, created, "
                       "updated) VALUES (?, ?, 1, ?, ?, ?, ?)",
                       "sslsll", order->order_id, order->user_id, order->total->minor_units,
                       order->total->currency_code, now, now);
    for (size_t i = 0; i < order->n_lines; i++) {
        const Order__OrderLine *line = order->lines[i];
        (void)weft_tx_exec(tx, "INSERT INTO order_line VALUES (?, ?, ?, ?, ?, ?)", "sissil",
                           order->order_id, (int)i, line->product_id, line->product_name,
                           line->quantity, line->unit_price->minor_units);
    }
    order_event(tx, order->order_id, "accepted", now);
}

void order_set_state(weft_tx *tx, const char *order_id, Order__OrderState state, const char *what,
                     int64_t now) {
    (void)weft_tx_exec(tx, "UPDATE orders SET state = ?, updated = ? WHERE order_id = ?", "ils",
                       (int)state, now, order_id);
    order_event(tx, order_id, what, now);
}

/* ---- reading */

static weft_status find_lines(weft_ctx *ctx, weft_tx *tx, Order__Order *order) {
    const char *currency = order->total->currency_code;
    order->lines = weft_array(ctx, SHOP_LINES_MAX, sizeof(*order->lines));
    if (!order->lines) return shop_no_memory(ctx);
    weft_stmt *row = weft_tx_query(tx,
                                   "SELECT product_id, product_name, quantity, unit_price FROM "
                                   "order_line WHERE order_id = ? ORDER BY line",
                                   "s", order->order_id);
    while (order->n_lines < SHOP_LINES_MAX && weft_stmt_row(row)) {
        Order__OrderLine *line = order_order_line_new(ctx);
        const int64_t quantity = weft_stmt_int(row, 2), price = weft_stmt_int(row, 3);
        if (!line || !shop_set_text(ctx, &line->product_id, weft_stmt_text(row, 0)) ||
            !shop_set_text(ctx, &line->product_name, weft_stmt_text(row, 1)) ||
            !shop_set_money(ctx, &line->unit_price, price, currency) ||
            !shop_set_money(ctx, &line->line_total, price * quantity, currency))
            return shop_no_memory(ctx);
        line->quantity = (int32_t)quantity;
        order->lines[order->n_lines++] = line;
    }
    return weft_ok();
}

static bool set_failure(weft_ctx *ctx, Order__Order *order, const char *step, int code,
                        const char *message) {
    if (!step[0]) return true;
    order->failure = order_failure_new(ctx);
    if (!order->failure) return false;
    order->failure->code = code;
    return shop_set_text(ctx, &order->failure->step, step) &&
           shop_set_text(ctx, &order->failure->message, message);
}

weft_status order_find(weft_ctx *ctx, weft_tx *tx, const char *order_id, Order__Order **out) {
    weft_stmt *row =
        weft_tx_query(tx,
                      "SELECT user_id, state, total, currency, payment_id, failed_step, "
                      "failed_code, failed_message, created, updated FROM orders WHERE "
                      "order_id = ?",
                      "s", order_id);
    if (!weft_stmt_row(row)) return weft_not_found(ctx, "no order \"%s\"", order_id);
    Order__Order *order = order_order_new(ctx);
    if (!order) return shop_no_memory(ctx);
    order->state = (Order__OrderState)weft_stmt_int(row, 1);
    const bool whole =
        shop_set_text(ctx, &order->order_id, order_id) &&
        shop_set_text(ctx, &order->user_id, weft_stmt_text(row, 0)) &&
        shop_set_money(ctx, &order->total, weft_stmt_int(row, 2), weft_stmt_text(row, 3)) &&
        shop_set_text(ctx, &order->payment_id, weft_stmt_text(row, 4)) &&
        set_failure(ctx, order, weft_stmt_text(row, 5), (int)weft_stmt_int(row, 6),
                    weft_stmt_text(row, 7)) &&
        shop_set_time(ctx, &order->create_time, weft_stmt_int(row, 8)) &&
        shop_set_time(ctx, &order->update_time, weft_stmt_int(row, 9));
    if (!whole) return shop_no_memory(ctx);
    *out = order;
    return find_lines(ctx, tx, order);
}
