/* Finding products by words. */
#include <string.h>

#include "services/shop/product/search.h"
#include "weft/num.h"

#define WORDS_MAX 10

/* Letters and digits of any script: what the index's tokenizer keeps. */
static bool in_word(unsigned char c) {
    return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* "olive oil" becomes "\"olive\"* \"oil\"*": each word quoted, so that nothing in it is an
 * operator. */
static weft_status to_match(weft_ctx *ctx, const char *query, const char **match) {
    size_t words = 0;
    char *out = weft_alloc(ctx, strlen(query) * 5 + 1);
    if (!out) return shop_no_memory(ctx);
    *match = out;
    while (*query) {
        size_t len = 0;
        while (in_word((unsigned char)query[len])) len++;
        if (len > 0) {
            if (++words > WORDS_MAX)
                return weft_invalid(ctx, "query", "must have at most %d words", WORDS_MAX);
            *out++ = '"';
            memcpy(out, query, len);
            out += len;
            memcpy(out, "\"* ", 3);
            out += 3;
        }
        query += len + (query[len] != '\0');
    }
    *out = '\0';
    return words > 0 ? weft_ok() : weft_invalid(ctx, "query", "must contain letters or digits");
}

weft_status product_search(weft_ctx *ctx, const Product__SearchProductsRequest *req,
                           Product__SearchProductsResponse *reply) {
    const char *match = NULL;
    shop_page page;
    SHOP_TRY(shop_check_text(ctx, "query", req->query, 1, 200));
    SHOP_TRY(to_match(ctx, req->query, &match));
    SHOP_TRY(shop_page_open(ctx, req->page_size, req->page_token,
                            weft_printf(ctx, "search/%s", match), &page));
    reply->products = weft_array(ctx, page.size, sizeof(*reply->products));
    if (!reply->products) return shop_no_memory(ctx);
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    /* The order is by rank, so a page begins after so many, not after an item. */
    weft_stmt *row =
        weft_tx_query(tx,
                      "SELECT " PRODUCT_COLUMNS " FROM words JOIN product p ON "
                      "p.number = words.rowid WHERE words MATCH ? AND p.state = 1 "
                      "ORDER BY bm25(words, 10.0, 5.0, 1.0), p.number LIMIT ? OFFSET ?",
                      "sll", match, (int64_t)page.size + 1, page.after_number);
    char last[WEFT_NUM_TEXT];
    (void)weft_format_int64(page.after_number + (int64_t)page.size, last);
    while (weft_stmt_row(row) && shop_page_more(ctx, &page, last, &reply->next_page_token)) {
        Product__Product *product = product_of(ctx, row);
        if (!product) return shop_end_read(ctx, tx, shop_no_memory(ctx));
        reply->products[reply->n_products++] = product;
    }
    return shop_end_read(ctx, tx, reply->next_page_token ? weft_ok() : shop_no_memory(ctx));
}
