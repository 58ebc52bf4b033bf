/* The product database: the catalogue, what things have cost, and an index of words. */
#include "services/shop/product/rows.h"

#include "services/shop/product/catalogue.h"

/* `product.number` is what the index of words refers to. */
const weft_migration product_migrations[] = {
    SHOP_MIGRATION_COMMON,
    {"products", "CREATE TABLE product ("
                 "  number INTEGER PRIMARY KEY,"
                 "  product_id TEXT NOT NULL UNIQUE,"
                 "  name TEXT NOT NULL,"
                 "  description TEXT NOT NULL,"
                 "  category TEXT NOT NULL,"
                 "  price INTEGER NOT NULL CHECK (price > 0),"
                 "  currency TEXT NOT NULL,"
                 "  state INTEGER NOT NULL CHECK (state IN (1, 2)),"
                 "  created INTEGER NOT NULL,"
                 "  updated INTEGER NOT NULL"
                 ");"
                 "CREATE INDEX product_category ON product (category, product_id);"
                 "CREATE TABLE price ("
                 "  entry INTEGER PRIMARY KEY,"
                 "  product_id TEXT NOT NULL REFERENCES product (product_id),"
                 "  price INTEGER NOT NULL CHECK (price > 0),"
                 "  currency TEXT NOT NULL,"
                 "  since INTEGER NOT NULL"
                 ");"
                 "CREATE INDEX price_product ON price (product_id, entry);"
                 "CREATE VIRTUAL TABLE words USING fts5 (name, category, description,"
                 "  tokenize = 'unicode61 remove_diacritics 2');"},
};
const size_t product_migration_count = sizeof product_migrations / sizeof product_migrations[0];

int product_insert(weft_tx *tx, const product_row *row) {
    const int error = weft_tx_exec(
        tx,
        "INSERT INTO product (product_id, name, description, category, price, currency, state, "
        "created, updated) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)",
        "sssslsll", row->product_id, row->name, row->description, row->category, row->price,
        row->currency, row->now, row->now);
    if (error) return error;
    const int64_t number = weft_tx_last_id(tx);
    (void)weft_tx_exec(tx,
                       "INSERT INTO price (product_id, price, currency, since) VALUES (?, ?, ?, ?)",
                       "slsl", row->product_id, row->price, row->currency, row->now);
    return weft_tx_exec(
        tx, "INSERT INTO words (rowid, name, category, description) VALUES (?, ?, ?, ?)", "lsss",
        number, row->name, row->category, row->description);
}

void product_seed(const shop *self, weft_tx *tx) {
    const int64_t now = weft_wall(self->clock);
    for (size_t i = 0; i < catalogue_size; i++) {
        const struct catalogue_entry *e = &catalogue[i];
        const product_row row = {e->product_id, e->name, e->description, e->category, "EUR",
                                 e->price,      now};
        (void)product_insert(tx, &row);
    }
}

Product__Product *product_of(weft_ctx *ctx, weft_stmt *row) {
    Product__Product *product = product_product_new(ctx);
    if (!product) return NULL;
    product->state = (Product__ProductState)weft_stmt_int(row, 6);
    const bool whole =
        shop_set_text(ctx, &product->product_id, weft_stmt_text(row, 0)) &&
        shop_set_text(ctx, &product->name, weft_stmt_text(row, 1)) &&
        shop_set_text(ctx, &product->description, weft_stmt_text(row, 2)) &&
        shop_set_text(ctx, &product->category, weft_stmt_text(row, 3)) &&
        shop_set_money(ctx, &product->price, weft_stmt_int(row, 4), weft_stmt_text(row, 5)) &&
        shop_set_time(ctx, &product->create_time, weft_stmt_int(row, 7)) &&
        shop_set_time(ctx, &product->update_time, weft_stmt_int(row, 8));
    return whole ? product : NULL;
}

weft_status product_find(weft_ctx *ctx, weft_tx *tx, const char *product_id,
                         Product__Product **product) {
    weft_stmt *row = weft_tx_query(
        tx, "SELECT " PRODUCT_COLUMNS " FROM product p WHERE product_id = ?", "s", product_id);
    if (!weft_stmt_row(row)) return weft_not_found(ctx, "no product \"%s\"", product_id);
    *product = product_of(ctx, row);
    return *product ? weft_ok() : shop_no_memory(ctx);
}
