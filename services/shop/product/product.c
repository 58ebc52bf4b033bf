/* The product service: the catalogue and its prices. Contract:
 * proto/shop/product/v1/product.proto */
#include <string.h>

#include "services/shop/product/rows.h"
#include "services/shop/product/search.h"
#include "services/shop/shop.h"
#include "weft/num.h"

#define BATCH_MAX 100
#define RETIRED PRODUCT__PRODUCT_STATE__PRODUCT_STATE_RETIRED

/* ---- reading */

static weft_status get_product(weft_ctx *ctx, const Product__GetProductRequest *req,
                               Product__GetProductResponse *reply) {
    SHOP_TRY(shop_check_product_id(ctx, "product_id", req->product_id));
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    return shop_end_read(ctx, tx, product_find(ctx, tx, req->product_id, &reply->product));
}

static weft_status find_all(weft_ctx *ctx, weft_tx *tx, const Product__BatchGetProductsRequest *req,
                            Product__BatchGetProductsResponse *reply) {
    const char *missing = "";
    for (size_t i = 0; i < req->n_product_ids; i++) {
        Product__Product *product = NULL;
        const weft_status st = product_find(ctx, tx, req->product_ids[i], &product);
        if (st.code == WEFT_NOT_FOUND) {
            missing = weft_printf(ctx, "%s%s\"%s\"", missing, missing[0] ? ", " : "",
                                  req->product_ids[i]);
            if (!missing) return shop_no_memory(ctx);
            continue;
        }
        if (weft_failed(st)) return st;
        reply->products[reply->n_products++] = product;
    }
    return missing[0] ? weft_not_found(ctx, "no product %s", missing) : weft_ok();
}

static weft_status batch_get_products(weft_ctx *ctx, const Product__BatchGetProductsRequest *req,
                                      Product__BatchGetProductsResponse *reply) {
    if (req->n_product_ids == 0 || req->n_product_ids > BATCH_MAX)
        return weft_invalid(ctx, "product_ids", "must be 1 to %d, are %zu", BATCH_MAX,
                            req->n_product_ids);
    for (size_t i = 0; i < req->n_product_ids; i++) {
        const char *field = weft_printf(ctx, "product_ids[%zu]", i);
        if (!field) return shop_no_memory(ctx);
        SHOP_TRY(shop_check_product_id(ctx, field, req->product_ids[i]));
        for (size_t k = 0; k < i; k++)
            if (!strcmp(req->product_ids[k], req->product_ids[i]))
                return weft_invalid(ctx, field, "\"%s\" is product_ids[%zu] already",
                                    req->product_ids[i], k);
    }
    reply->products = weft_array(ctx, req->n_product_ids, sizeof(*reply->products));
    if (!reply->products) return shop_no_memory(ctx);
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    const weft_status st = shop_end_read(ctx, tx, find_all(ctx, tx, req, reply));
    (void)shop_fault_method(ctx, "after");
    return st;
}

static weft_status list_products(weft_ctx *ctx, const Product__ListProductsRequest *req,
                                 Product__ListProductsResponse *reply) {
    shop_page page;
    SHOP_TRY(shop_check_text(ctx, "category", req->category, 0, 60));
    SHOP_TRY(shop_page_open(ctx, req->page_size, req->page_token,
                            weft_printf(ctx, "products/%s", req->category), &page));
    reply->products = weft_array(ctx, page.size, sizeof(*reply->products));
    if (!reply->products) return shop_no_memory(ctx);
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    weft_stmt *row =
        weft_tx_query(tx,
                      "SELECT " PRODUCT_COLUMNS " FROM product p WHERE product_id > ?1 "
                      "AND state = 1 AND (?2 = '' OR category = ?2) "
                      "ORDER BY product_id LIMIT ?3",
                      "ssl", page.after, req->category, (int64_t)page.size + 1);
    const char *last = "";
    while (weft_stmt_row(row) && shop_page_more(ctx, &page, last, &reply->next_page_token)) {
        Product__Product *product = product_of(ctx, row);
        if (!product) return shop_end_read(ctx, tx, shop_no_memory(ctx));
        reply->products[reply->n_products++] = product;
        last = product->product_id;
    }
    return shop_end_read(ctx, tx, reply->next_page_token ? weft_ok() : shop_no_memory(ctx));
}

#define CATEGORIES_MAX 1000

static weft_status list_categories(weft_ctx *ctx, const Product__ListCategoriesRequest *req,
                                   Product__ListCategoriesResponse *reply) {
    (void)req;
    reply->categories = weft_array(ctx, CATEGORIES_MAX, sizeof(*reply->categories));
    if (!reply->categories) return shop_no_memory(ctx);
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    weft_stmt *row = weft_tx_query(tx,
                                   "SELECT category, count(*) FROM product WHERE state = 1 "
                                   "GROUP BY category ORDER BY category LIMIT ?",
                                   "i", CATEGORIES_MAX);
    while (weft_stmt_row(row)) {
        Product__ListCategoriesResponse__Category *one =
            product_list_categories_response__category_new(ctx);
        if (!one || !shop_set_text(ctx, &one->name, weft_stmt_text(row, 0)))
            return shop_end_read(ctx, tx, shop_no_memory(ctx));
        one->product_count = (int32_t)weft_stmt_int(row, 1);
        reply->categories[reply->n_categories++] = one;
    }
    return shop_end_read(ctx, tx, weft_ok());
}

static Product__Price *price_of(weft_ctx *ctx, weft_stmt *row, const char *product_id) {
    Product__Price *price = product_price_new(ctx);
    const bool whole =
        price && shop_set_text(ctx, &price->product_id, product_id) &&
        shop_set_money(ctx, &price->price, weft_stmt_int(row, 1), weft_stmt_text(row, 2)) &&
        shop_set_time(ctx, &price->start_time, weft_stmt_int(row, 3));
    return whole ? price : NULL;
}

static weft_status find_prices(weft_ctx *ctx, weft_tx *tx, const Product__ListPricesRequest *req,
                               shop_page *page, Product__ListPricesResponse *reply) {
    Product__Product *product = NULL;
    SHOP_TRY(product_find(ctx, tx, req->product_id, &product));
    weft_stmt *row =
        weft_tx_query(tx,
                      "SELECT entry, price, currency, since FROM price WHERE "
                      "product_id = ?1 AND (?2 = 0 OR entry < ?2) "
                      "ORDER BY entry DESC LIMIT ?3",
                      "sll", req->product_id, page->after_number, (int64_t)page->size + 1);
    char last[WEFT_NUM_TEXT] = "";
    while (weft_stmt_row(row) && shop_page_more(ctx, page, last, &reply->next_page_token)) {
        Product__Price *price = price_of(ctx, row, req->product_id);
        if (!price) return shop_no_memory(ctx);
        reply->prices[reply->n_prices++] = price;
        (void)weft_format_int64(weft_stmt_int(row, 0), last);
    }
    return reply->next_page_token ? weft_ok() : shop_no_memory(ctx);
}

static weft_status list_prices(weft_ctx *ctx, const Product__ListPricesRequest *req,
                               Product__ListPricesResponse *reply) {
    shop_page page;
    SHOP_TRY(shop_check_product_id(ctx, "product_id", req->product_id));
    SHOP_TRY(shop_page_open(ctx, req->page_size, req->page_token,
                            weft_printf(ctx, "prices/%s", req->product_id), &page));
    reply->prices = weft_array(ctx, page.size, sizeof(*reply->prices));
    if (!reply->prices) return shop_no_memory(ctx);
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    return shop_end_read(ctx, tx, find_prices(ctx, tx, req, &page, reply));
}

/* ---- changing */

static weft_status create_effect(weft_ctx *ctx, weft_tx *tx, const void *request, void *answer) {
    const Product__CreateProductRequest *req = request;
    Product__CreateProductResponse *reply = answer;
    const Product__Product *p = req->product;
    const product_row row = {
        p->product_id,         p->name,      p->description, p->category, p->price->currency_code,
        p->price->minor_units, shop_now(ctx)};
    if (product_insert(tx, &row) == WEFT_EEXIST)
        return weft_already_exists(ctx, "product \"%s\" exists already", p->product_id);
    return product_find(ctx, tx, p->product_id, &reply->product);
}

static weft_status create_product(weft_ctx *ctx, const Product__CreateProductRequest *req,
                                  Product__CreateProductResponse *reply) {
    const Product__Product *p = req->product;
    if (!p) return weft_invalid(ctx, "product", "is required");
    SHOP_TRY(shop_check_product_id(ctx, "product.product_id", p->product_id));
    SHOP_TRY(shop_check_text(ctx, "product.name", p->name, 1, 120));
    SHOP_TRY(shop_check_text(ctx, "product.description", p->description, 0, 2000));
    SHOP_TRY(shop_check_text(ctx, "product.category", p->category, 1, 60));
    SHOP_TRY(shop_check_money(ctx, "product.price", p->price, 1, SHOP_PRICE_MAX));
    return shop_once(ctx, req->idempotency_key, &req->base, &reply->base, create_effect);
}

static weft_status check_price_change(weft_ctx *ctx, const Product__Product *product,
                                      const Product__UpdatePriceRequest *req) {
    const Shop__Money *now = product->price, *expected = req->expected_price;
    if (product->state == RETIRED)
        return weft_failed_precondition(ctx, "product \"%s\" is retired", product->product_id);
    if (strcmp(now->currency_code, req->price->currency_code) != 0)
        return weft_failed_precondition(ctx, "product \"%s\" is priced in %s, not %s",
                                        product->product_id, now->currency_code,
                                        req->price->currency_code);
    if (expected && (expected->minor_units != now->minor_units ||
                     strcmp(expected->currency_code, now->currency_code) != 0))
        return weft_aborted(ctx, "product \"%s\" costs %s, not %s; read the price again",
                            product->product_id,
                            shop_money_text(ctx, now->minor_units, now->currency_code),
                            shop_money_text(ctx, expected->minor_units, expected->currency_code));
    return weft_ok();
}

static weft_status price_effect(weft_ctx *ctx, weft_tx *tx, const void *request, void *answer) {
    const Product__UpdatePriceRequest *req = request;
    Product__UpdatePriceResponse *reply = answer;
    Product__Product *product = NULL;
    SHOP_TRY(product_find(ctx, tx, req->product_id, &product));
    SHOP_TRY(check_price_change(ctx, product, req));
    const int64_t now = shop_now(ctx);
    (void)weft_tx_exec(tx, "UPDATE product SET price = ?, updated = ? WHERE product_id = ?", "lls",
                       req->price->minor_units, now, req->product_id);
    (void)weft_tx_exec(
        tx, "INSERT INTO price (product_id, price, currency, since) VALUES (?, ?, ?, ?)", "slsl",
        req->product_id, req->price->minor_units, req->price->currency_code, now);
    return product_find(ctx, tx, req->product_id, &reply->product);
}

static weft_status update_price(weft_ctx *ctx, const Product__UpdatePriceRequest *req,
                                Product__UpdatePriceResponse *reply) {
    SHOP_TRY(shop_check_product_id(ctx, "product_id", req->product_id));
    SHOP_TRY(shop_check_money(ctx, "price", req->price, 1, SHOP_PRICE_MAX));
    if (req->expected_price)
        SHOP_TRY(shop_check_money(ctx, "expected_price", req->expected_price, 1, SHOP_PRICE_MAX));
    return shop_once(ctx, req->idempotency_key, &req->base, &reply->base, price_effect);
}

static weft_status retire_effect(weft_ctx *ctx, weft_tx *tx, const void *request, void *answer) {
    const Product__RetireProductRequest *req = request;
    Product__RetireProductResponse *reply = answer;
    Product__Product *product = NULL;
    SHOP_TRY(product_find(ctx, tx, req->product_id, &product));
    if (product->state == RETIRED)
        return weft_failed_precondition(ctx, "product \"%s\" is retired already", req->product_id);
    (void)weft_tx_exec(tx, "UPDATE product SET state = 2, updated = ? WHERE product_id = ?", "ls",
                       shop_now(ctx), req->product_id);
    return product_find(ctx, tx, req->product_id, &reply->product);
}

static weft_status retire_product(weft_ctx *ctx, const Product__RetireProductRequest *req,
                                  Product__RetireProductResponse *reply) {
    SHOP_TRY(shop_check_product_id(ctx, "product_id", req->product_id));
    return shop_once(ctx, req->idempotency_key, &req->base, &reply->base, retire_effect);
}

/* ---- quoting */

/* The sum of one stream. */
struct basket {
    int64_t total;
    char currency[4]; /* "" before the first line */
};

static weft_status quote_line(weft_ctx *ctx, struct basket *basket,
                              const Product__QuotePricesRequest *line,
                              Product__QuotePricesResponse *quote) {
    SHOP_TRY(shop_check_product_id(ctx, "product_id", line->product_id));
    SHOP_TRY(shop_check_range(ctx, "quantity", line->quantity, 1, SHOP_QUANTITY_MAX));
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    Product__Product *product = NULL;
    SHOP_TRY(shop_end_read(ctx, tx, product_find(ctx, tx, line->product_id, &product)));
    const char *currency = product->price->currency_code;
    if (product->state == RETIRED)
        return weft_failed_precondition(ctx, "product \"%s\" is retired", line->product_id);
    if (basket->currency[0] && strcmp(basket->currency, currency) != 0)
        return weft_failed_precondition(ctx, "product \"%s\" is priced in %s, the basket in %s",
                                        line->product_id, currency, basket->currency);
    int64_t sum;
    if (!shop_multiply(product->price->minor_units, line->quantity, &sum) ||
        !shop_add(basket->total, sum, &basket->total))
        return weft_out_of_range(ctx, "the basket passes the limit of %s",
                                 shop_money_text(ctx, SHOP_MONEY_MAX, currency));
    memcpy(basket->currency, currency, sizeof basket->currency);
    *quote = (Product__QuotePricesResponse)PRODUCT__QUOTE_PRICES_RESPONSE__INIT;
    quote->product_id = product->product_id;
    quote->name = product->name;
    quote->quantity = line->quantity;
    quote->unit_price = product->price;
    if (!shop_set_money(ctx, &quote->line_total, sum, currency) ||
        !shop_set_money(ctx, &quote->total, basket->total, currency))
        return shop_no_memory(ctx);
    return weft_ok();
}

static weft_status quote_prices(weft_ctx *ctx, product_quote_prices_server_stream *both) {
    struct basket basket = {.total = 0};
    Product__QuotePricesRequest *line = NULL;
    while (product_quote_prices_server_next(both, &line)) {
        Product__QuotePricesResponse quote;
        weft_ctx *scratch = weft_ctx_child(ctx, WEFT_NO_TIMEOUT); /* a long stream stays small */
        if (!scratch) return shop_no_memory(ctx);
        weft_status st = quote_line(scratch, &basket, line, &quote);
        const bool sent = !weft_failed(st) && product_quote_prices_server_send(both, &quote);
        st = weft_status_copy(weft_ctx_arena(ctx), st);
        weft_ctx_free(scratch);
        if (weft_failed(st)) return st;
        if (!sent) break;
    }
    return product_quote_prices_server_status(both);
}

static int serve(shop *self, weft_server *server) {
    static const product_service handlers = {
        .get_product = get_product,
        .batch_get_products = batch_get_products,
        .list_products = list_products,
        .search_products = product_search,
        .list_categories = list_categories,
        .create_product = create_product,
        .update_price = update_price,
        .list_prices = list_prices,
        .retire_product = retire_product,
        .quote_prices = quote_prices,
    };
    return product_service_add(server, &handlers, self);
}

const shop_info shop_product = {
    .name = "product",
    .about = "the catalogue and its prices",
    .migrations = product_migrations,
    .migration_count = 2,
    .seed = product_seed,
    .serve = serve,
};
