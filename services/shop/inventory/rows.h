/* Rows of the inventory database as messages. */
#ifndef SHOP_INVENTORY_ROWS_H
#define SHOP_INVENTORY_ROWS_H

#include "services/shop/shop.h"
#include "shop/inventory/v1/inventory.weft.h"

extern const weft_migration inventory_migrations[];
extern const size_t inventory_migration_count;
void inventory_seed(const shop *self, weft_tx *tx);

/* Columns of a row for inventory_stock_of. NULL when the context's memory is out. */
#define STOCK_COLUMNS "product_id, on_hand, reserved, updated"
Inventory__Stock *inventory_stock_of(weft_ctx *ctx, weft_stmt *row);
/* NOT_FOUND when the product is not kept. */
weft_status inventory_find_stock(weft_ctx *ctx, weft_tx *tx, const char *product_id,
                                 Inventory__Stock **stock);

/* With its lines, by product_id. NOT_FOUND when there is none. */
weft_status inventory_find_reservation(weft_ctx *ctx, weft_tx *tx, const char *order_id,
                                       Inventory__Reservation **reservation);

/* Why goods moved, as the ledger's kind column says. Reserving does not move goods. */
typedef enum inventory_move {
    INVENTORY_INITIAL = 1,
    INVENTORY_RESTOCK = 2,
    INVENTORY_COMMIT = 3, /* negative quantity */
    INVENTORY_RETURN = 4
} inventory_move;
void inventory_ledger(weft_ctx *ctx, weft_tx *tx, inventory_move move, const char *product_id,
                      int64_t quantity, const char *reference);

#endif
