/* Finding products by words. */
#ifndef SHOP_PRODUCT_SEARCH_H
#define SHOP_PRODUCT_SEARCH_H

#include "services/shop/product/rows.h"

/* The handler of SearchProducts. */
weft_status product_search(weft_ctx *ctx, const Product__SearchProductsRequest *req,
                           Product__SearchProductsResponse *reply);

#endif
