/* The payment service: customers' money. Contract: proto/shop/payment/v1/payment.proto */
#include <string.h>

#include "services/shop/payment/rows.h"
#include "services/shop/shop.h"
#include "shop/payment/v1/payment.weft.h"
#include "weft/num.h"

#define TOP_UP PAYMENT__WALLET_ENTRY_KIND__WALLET_ENTRY_KIND_TOP_UP
#define CHARGE PAYMENT__WALLET_ENTRY_KIND__WALLET_ENTRY_KIND_CHARGE
#define REFUND PAYMENT__WALLET_ENTRY_KIND__WALLET_ENTRY_KIND_REFUND

/* ---- wallets */

static weft_status top_up_effect(weft_ctx *ctx, weft_tx *tx, const void *request, void *answer) {
    const Payment__TopUpRequest *req = request;
    Payment__TopUpResponse *reply = answer;
    const char *currency = req->amount->currency_code;
    (void)weft_tx_exec(tx, "INSERT OR IGNORE INTO wallet VALUES (?, ?, 0, ?)", "ssl", req->user_id,
                       currency, shop_now(ctx));
    Payment__Wallet *wallet = NULL;
    SHOP_TRY(payment_find_wallet(ctx, tx, req->user_id, currency, &wallet));
    SHOP_TRY(payment_move(ctx, tx, wallet, TOP_UP, req->amount->minor_units, NULL));
    return payment_find_wallet(ctx, tx, req->user_id, currency, &reply->wallet);
}

static weft_status top_up(weft_ctx *ctx, const Payment__TopUpRequest *req,
                          Payment__TopUpResponse *reply) {
    SHOP_TRY(shop_check_id(ctx, "user_id", req->user_id));
    SHOP_TRY(shop_check_money(ctx, "amount", req->amount, 1, SHOP_TOP_UP_MAX));
    return shop_once(ctx, req->idempotency_key, &req->base, &reply->base, top_up_effect);
}

static weft_status get_wallet(weft_ctx *ctx, const Payment__GetWalletRequest *req,
                              Payment__GetWalletResponse *reply) {
    SHOP_TRY(shop_check_id(ctx, "user_id", req->user_id));
    SHOP_TRY(shop_check_currency(ctx, "currency_code", req->currency_code));
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    return shop_end_read(
        ctx, tx, payment_find_wallet(ctx, tx, req->user_id, req->currency_code, &reply->wallet));
}

static Payment__WalletEntry *entry_of(weft_ctx *ctx, weft_stmt *row, const char *currency) {
    Payment__WalletEntry *entry = payment_wallet_entry_new(ctx);
    if (!entry) return NULL;
    entry->kind = (Payment__WalletEntryKind)weft_stmt_int(row, 1);
    const bool whole =
        shop_set_money(ctx, &entry->amount, weft_stmt_int(row, 2), currency) &&
        shop_set_money(ctx, &entry->balance_after, weft_stmt_int(row, 3), currency) &&
        shop_set_text(ctx, &entry->payment_id, weft_stmt_text(row, 4)) &&
        shop_set_time(ctx, &entry->create_time, weft_stmt_int(row, 5));
    return whole ? entry : NULL;
}

static weft_status list_entries(weft_ctx *ctx, weft_tx *tx,
                                const Payment__ListWalletEntriesRequest *req, shop_page *page,
                                Payment__ListWalletEntriesResponse *reply) {
    Payment__Wallet *wallet = NULL;
    SHOP_TRY(payment_find_wallet(ctx, tx, req->user_id, req->currency_code, &wallet));
    weft_stmt *row = weft_tx_query(tx,
                                   "SELECT entry, kind, amount, balance_after, payment_id, created "
                                   "FROM wallet_entry WHERE user_id = ? AND currency = ? AND "
                                   "entry > ? ORDER BY entry LIMIT ?",
                                   "ssll", req->user_id, req->currency_code, page->after_number,
                                   (int64_t)page->size + 1);
    char last[WEFT_NUM_TEXT] = "";
    while (weft_stmt_row(row) && shop_page_more(ctx, page, last, &reply->next_page_token)) {
        Payment__WalletEntry *entry = entry_of(ctx, row, req->currency_code);
        if (!entry) return shop_no_memory(ctx);
        reply->entries[reply->n_entries++] = entry;
        (void)weft_format_int64(weft_stmt_int(row, 0), last);
    }
    return reply->next_page_token ? weft_ok() : shop_no_memory(ctx);
}

static weft_status list_wallet_entries(weft_ctx *ctx, const Payment__ListWalletEntriesRequest *req,
                                       Payment__ListWalletEntriesResponse *reply) {
    shop_page page;
    SHOP_TRY(shop_check_id(ctx, "user_id", req->user_id));
    SHOP_TRY(shop_check_currency(ctx, "currency_code", req->currency_code));
    SHOP_TRY(shop_page_open(ctx, req->page_size, req->page_token,
                            weft_printf(ctx, "entries/%s/%s", req->user_id, req->currency_code),
                            &page));
    reply->entries = weft_array(ctx, page.size, sizeof(*reply->entries));
    if (!reply->entries) return shop_no_memory(ctx);
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    return shop_end_read(ctx, tx, list_entries(ctx, tx, req, &page, reply));
}

/* ---- payments */

static weft_status charge_effect(weft_ctx *ctx, weft_tx *tx, const void *request, void *answer) {
    const Payment__ChargeRequest *req = request;
    Payment__ChargeResponse *reply = answer;
    const char *currency = req->amount->currency_code;
    Payment__Wallet *wallet = NULL;
    SHOP_TRY(payment_find_wallet(ctx, tx, req->user_id, currency, &wallet));
    const char *payment_id = shop_new_id(ctx, "p");
    if (!payment_id) return shop_no_memory(ctx);
    const int64_t now = shop_now(ctx);
    if (weft_tx_exec(tx, "INSERT INTO payment VALUES (?, ?, ?, ?, 0, ?, ?, ?)", "ssslsll",
                     payment_id, req->order_id, req->user_id, req->amount->minor_units, currency,
                     now, now) == WEFT_EEXIST)
        return weft_already_exists(ctx, "order \"%s\" is paid already", req->order_id);
    SHOP_TRY(payment_move(ctx, tx, wallet, CHARGE, -req->amount->minor_units, payment_id));
    return payment_find(ctx, tx, payment_id, &reply->payment);
}

static weft_status charge(weft_ctx *ctx, const Payment__ChargeRequest *req,
                          Payment__ChargeResponse *reply) {
    SHOP_TRY(shop_check_id(ctx, "user_id", req->user_id));
    SHOP_TRY(shop_check_id(ctx, "order_id", req->order_id));
    SHOP_TRY(shop_check_money(ctx, "amount", req->amount, 1, SHOP_MONEY_MAX));
    return shop_decide(ctx, req->idempotency_key, &req->base, &reply->base, charge_effect);
}

static weft_status refund_effect(weft_ctx *ctx, weft_tx *tx, const void *request, void *answer) {
    const Payment__RefundRequest *req = request;
    Payment__RefundResponse *reply = answer;
    Payment__Payment *payment = NULL;
    SHOP_TRY(payment_find(ctx, tx, req->payment_id, &payment));
    const char *currency = payment->amount->currency_code;
    const int64_t left = payment->amount->minor_units - payment->refunded->minor_units;
    const int64_t amount = req->amount ? req->amount->minor_units : left;
    if (req->amount && strcmp(req->amount->currency_code, currency) != 0)
        return weft_failed_precondition(ctx, "payment \"%s\" is in %s, not %s", req->payment_id,
                                        currency, req->amount->currency_code);
    if (left == 0)
        return weft_failed_precondition(ctx, "payment \"%s\" is refunded already", req->payment_id);
    if (amount > left)
        return weft_failed_precondition(ctx, "payment \"%s\" has %s left to refund, not %s",
                                        req->payment_id, shop_money_text(ctx, left, currency),
                                        shop_money_text(ctx, amount, currency));
    Payment__Wallet *wallet = NULL;
    SHOP_TRY(payment_find_wallet(ctx, tx, payment->user_id, currency, &wallet));
    (void)weft_tx_exec(
        tx, "UPDATE payment SET refunded = refunded + ?, updated = ? WHERE payment_id = ?", "lls",
        amount, shop_now(ctx), req->payment_id);
    SHOP_TRY(payment_move(ctx, tx, wallet, REFUND, amount, req->payment_id));
    return payment_find(ctx, tx, req->payment_id, &reply->payment);
}

static weft_status refund(weft_ctx *ctx, const Payment__RefundRequest *req,
                          Payment__RefundResponse *reply) {
    SHOP_TRY(shop_check_id(ctx, "payment_id", req->payment_id));
    if (req->amount) SHOP_TRY(shop_check_money(ctx, "amount", req->amount, 1, SHOP_MONEY_MAX));
    return shop_once(ctx, req->idempotency_key, &req->base, &reply->base, refund_effect);
}

static weft_status get_payment(weft_ctx *ctx, const Payment__GetPaymentRequest *req,
                               Payment__GetPaymentResponse *reply) {
    SHOP_TRY(shop_check_id(ctx, "payment_id", req->payment_id));
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    return shop_end_read(ctx, tx, payment_find(ctx, tx, req->payment_id, &reply->payment));
}

static weft_status list_payments(weft_ctx *ctx, const Payment__ListPaymentsRequest *req,
                                 Payment__ListPaymentsResponse *reply) {
    shop_page page;
    if (req->user_id[0]) SHOP_TRY(shop_check_id(ctx, "user_id", req->user_id));
    if (req->order_id[0]) SHOP_TRY(shop_check_id(ctx, "order_id", req->order_id));
    SHOP_TRY(shop_page_open(ctx, req->page_size, req->page_token,
                            weft_printf(ctx, "payments/%s/%s", req->user_id, req->order_id),
                            &page));
    reply->payments = weft_array(ctx, page.size, sizeof(*reply->payments));
    if (!reply->payments) return shop_no_memory(ctx);
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    weft_stmt *row =
        weft_tx_query(tx,
                      "SELECT " PAYMENT_COLUMNS " FROM payment WHERE payment_id > ?1 "
                      "AND (?2 = '' OR user_id = ?2) AND (?3 = '' OR order_id = ?3) "
                      "ORDER BY payment_id LIMIT ?4",
                      "sssl", page.after, req->user_id, req->order_id, (int64_t)page.size + 1);
    const char *last = "";
    while (weft_stmt_row(row) && shop_page_more(ctx, &page, last, &reply->next_page_token)) {
        Payment__Payment *payment = payment_of(ctx, row);
        if (!payment) return shop_end_read(ctx, tx, shop_no_memory(ctx));
        reply->payments[reply->n_payments++] = payment;
        last = payment->payment_id;
    }
    return shop_end_read(ctx, tx, reply->next_page_token ? weft_ok() : shop_no_memory(ctx));
}

static int serve(shop *self, weft_server *server) {
    static const payment_service handlers = {
        .top_up = top_up,
        .get_wallet = get_wallet,
        .list_wallet_entries = list_wallet_entries,
        .charge = charge,
        .refund = refund,
        .get_payment = get_payment,
        .list_payments = list_payments,
    };
    return payment_service_add(server, &handlers, self);
}

const shop_info shop_payment = {
    .name = "payment",
    .about = "wallets and payments",
    .migrations = payment_migrations,
    .migration_count = 2,
    .serve = serve,
};
