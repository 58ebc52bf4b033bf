/* The opening stock, loaded into a new inventory database. */
#ifndef SHOP_INVENTORY_OPENING_H
#define SHOP_INVENTORY_OPENING_H

#include <stddef.h>
#include <stdint.h>

struct opening_stock {
    const char *product_id;
    int64_t quantity;
};

extern const struct opening_stock opening_stock[];
extern const size_t opening_stock_size;

#endif
