/* Rows of the product database as messages. */
#ifndef SHOP_PRODUCT_ROWS_H
#define SHOP_PRODUCT_ROWS_H

#include "services/shop/shop.h"
#include "shop/product/v1/product.weft.h"

extern const weft_migration product_migrations[];
extern const size_t product_migration_count;
void product_seed(const shop *self, weft_tx *tx);

/* Columns of a row for product_of. NULL when the context's memory is out. */
#define PRODUCT_COLUMNS                                                                          \
    "p.product_id, p.name, p.description, p.category, p.price, p.currency, p.state, p.created, " \
    "p.updated"
Product__Product *product_of(weft_ctx *ctx, weft_stmt *row);
weft_status product_find(weft_ctx *ctx, weft_tx *tx, const char *product_id,
                         Product__Product **product);

/* Adds a row, its price and its words to search for; WEFT_EEXIST when the product_id is taken. */
typedef struct product_row {
    const char *product_id, *name, *description, *category, *currency;
    int64_t price, now;
} product_row;
int product_insert(weft_tx *tx, const product_row *row);

#endif
