/* The inventory database: goods on hand, a ledger of how they came and went, and reservations. */
#include "services/shop/inventory/rows.h"

#include "services/shop/inventory/opening.h"

/* Whoever wants to know that the numbers are right sums the ledger and the open reservations. */
const weft_migration inventory_migrations[] = {
    SHOP_MIGRATION_COMMON,
    {"stock", "CREATE TABLE stock ("
              "  product_id TEXT PRIMARY KEY,"
              "  on_hand INTEGER NOT NULL CHECK (on_hand >= 0),"
              "  reserved INTEGER NOT NULL CHECK (reserved BETWEEN 0 AND on_hand),"
              "  updated INTEGER NOT NULL"
              ") WITHOUT ROWID;"
              "CREATE TABLE stock_ledger ("
              "  entry INTEGER PRIMARY KEY,"
              "  product_id TEXT NOT NULL REFERENCES stock,"
              "  kind INTEGER NOT NULL CHECK (kind IN (1, 2, 3, 4)),"
              "  quantity INTEGER NOT NULL,"
              "  reference TEXT NOT NULL,"
              "  time INTEGER NOT NULL"
              ");"
              "CREATE INDEX stock_ledger_product ON stock_ledger (product_id);"
              "CREATE TABLE reservation ("
              "  order_id TEXT PRIMARY KEY,"
              "  state INTEGER NOT NULL CHECK (state IN (1, 2, 3, 4)),"
              "  created INTEGER NOT NULL,"
              "  updated INTEGER NOT NULL"
              ") WITHOUT ROWID;"
              "CREATE TABLE reservation_line ("
              "  order_id TEXT NOT NULL REFERENCES reservation,"
              "  product_id TEXT NOT NULL REFERENCES stock,"
              "  quantity INTEGER NOT NULL CHECK (quantity > 0),"
              "  PRIMARY KEY (order_id, product_id)"
              ") WITHOUT ROWID;"},
};
const size_t inventory_migration_count =
    sizeof inventory_migrations / sizeof inventory_migrations[0];

static void ledger_at(weft_tx *tx, int64_t now, inventory_move move, const char *product_id,
                      int64_t quantity, const char *reference) {
    (void)weft_tx_exec(tx,
                       "INSERT INTO stock_ledger (product_id, kind, quantity, reference, time) "
                       "VALUES (?, ?, ?, ?, ?)",
                       "silsl", product_id, (int)move, quantity, reference, now);
}

void inventory_ledger(weft_ctx *ctx, weft_tx *tx, inventory_move move, const char *product_id,
                      int64_t quantity, const char *reference) {
    ledger_at(tx, shop_now(ctx), move, product_id, quantity, reference);
}

void inventory_seed(const shop *self, weft_tx *tx) {
    const int64_t now = weft_wall(self->clock);
    for (size_t i = 0; i < opening_stock_size; i++) {
        const struct opening_stock *s = &opening_stock[i];
        (void)weft_tx_exec(tx, "INSERT INTO stock VALUES (?, ?, 0, ?)", "sll", s->product_id,
                           s->quantity, now);
        ledger_at(tx, now, INVENTORY_INITIAL, s->product_id, s->quantity, "opening stock");
    }
}

Inventory__Stock *inventory_stock_of(weft_ctx *ctx, weft_stmt *row) {
    Inventory__Stock *stock = inventory_stock_new(ctx);
    if (!stock) return NULL;
    stock->on_hand = weft_stmt_int(row, 1);
    stock->reserved = weft_stmt_int(row, 2);
    stock->available = stock->on_hand - stock->reserved;
    const bool whole = shop_set_text(ctx, &stock->product_id, weft_stmt_text(row, 0)) &&
                       shop_set_time(ctx, &stock->update_time, weft_stmt_int(row, 3));
    return whole ? stock : NULL;
}

weft_status inventory_find_stock(weft_ctx *ctx, weft_tx *tx, const char *product_id,
                                 Inventory__Stock **stock) {
    weft_stmt *row = weft_tx_query(tx, "SELECT " STOCK_COLUMNS " FROM stock WHERE product_id = ?",
                                   "s", product_id);
    if (!weft_stmt_row(row))
        return weft_not_found(ctx, "no stock of product \"%s\" is kept", product_id);
    *stock = inventory_stock_of(ctx, row);
    return *stock ? weft_ok() : shop_no_memory(ctx);
}

static weft_status find_lines(weft_ctx *ctx, weft_tx *tx, Inventory__Reservation *reservation) {
    reservation->lines = weft_array(ctx, SHOP_LINES_MAX, sizeof(*reservation->lines));
    if (!reservation->lines) return shop_no_memory(ctx);
    weft_stmt *row = weft_tx_query(tx,
                                   "SELECT product_id, quantity FROM reservation_line "
                                   "WHERE order_id = ? ORDER BY product_id",
                                   "s", reservation->order_id);
    while (reservation->n_lines < SHOP_LINES_MAX && weft_stmt_row(row)) {
        Inventory__StockLine *line = inventory_stock_line_new(ctx);
        if (!line || !shop_set_text(ctx, &line->product_id, weft_stmt_text(row, 0)))
            return shop_no_memory(ctx);
        line->quantity = (int32_t)weft_stmt_int(row, 1);
        reservation->lines[reservation->n_lines++] = line;
    }
    return weft_ok();
}

weft_status inventory_find_reservation(weft_ctx *ctx, weft_tx *tx, const char *order_id,
                                       Inventory__Reservation **out) {
    weft_stmt *row = weft_tx_query(
        tx, "SELECT state, created, updated FROM reservation WHERE order_id = ?", "s", order_id);
    if (!weft_stmt_row(row))
        return weft_not_found(ctx, "order \"%s\" has no reservation", order_id);
    Inventory__Reservation *reservation = inventory_reservation_new(ctx);
    if (!reservation || !shop_set_text(ctx, &reservation->order_id, order_id) ||
        !shop_set_time(ctx, &reservation->create_time, weft_stmt_int(row, 1)) ||
        !shop_set_time(ctx, &reservation->update_time, weft_stmt_int(row, 2)))
        return shop_no_memory(ctx);
    reservation->state = (Inventory__ReservationState)weft_stmt_int(row, 0);
    *out = reservation;
    return find_lines(ctx, tx, reservation);
}
