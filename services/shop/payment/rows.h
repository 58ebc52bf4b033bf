/* Rows of the payment database as messages. */
#ifndef SHOP_PAYMENT_ROWS_H
#define SHOP_PAYMENT_ROWS_H

#include "services/shop/shop.h"
#include "shop/payment/v1/payment.weft.h"

extern const weft_migration payment_migrations[];
extern const size_t payment_migration_count;

/* NOT_FOUND when it was never filled. */
weft_status payment_find_wallet(weft_ctx *ctx, weft_tx *tx, const char *user_id,
                                const char *currency, Payment__Wallet **wallet);

/* Changes a wallet's balance by `amount` (negative: takes) and writes the entry.
 * FAILED_PRECONDITION when the wallet holds too little, OUT_OF_RANGE when it would hold too
 * much. */
weft_status payment_move(weft_ctx *ctx, weft_tx *tx, const Payment__Wallet *wallet,
                         Payment__WalletEntryKind kind, int64_t amount, const char *payment_id);

/* Columns of a row for payment_of. NULL when the context's memory is out. */
#define PAYMENT_COLUMNS \
    "payment_id, order_id, user_id, amount, refunded, currency, created, updated"
Payment__Payment *payment_of(weft_ctx *ctx, weft_stmt *row);
weft_status payment_find(weft_ctx *ctx, weft_tx *tx, const char *payment_id,
                         Payment__Payment **payment);

#endif
