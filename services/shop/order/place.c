/* The sagas of an order. Placing: reserve, charge, commit; cancelling: refund, return. */
#include "services/shop/order/rows.h"
#include "shop/inventory/v1/inventory.weft.h"
#include "shop/payment/v1/payment.weft.h"
#include "weft/log.h"
#include "weft/pb.h"

#define CONFIRMED ORDER__ORDER_STATE__ORDER_STATE_CONFIRMED
#define FAILED ORDER__ORDER_STATE__ORDER_STATE_FAILED
#define CANCELLED ORDER__ORDER_STATE__ORDER_STATE_CANCELLED

enum { RESERVE, CHARGE, COMMIT };

/* The order as it was accepted: prices and quantities never change. */
static weft_status load(order_desk *desk, weft_ctx *ctx, const char *order_id,
                        Order__Order **order) {
    weft_tx *tx;
    int error = weft_tx_begin(desk->self->db, WEFT_READ, &tx);
    if (error) return shop_store_status(ctx, error, "begin");
    const weft_status st = order_find(ctx, tx, order_id, order);
    error = weft_tx_error(tx);
    weft_tx_rollback(tx);
    return error ? shop_store_status(ctx, error, "order") : st;
}

/* ---- reserve */

static weft_status reserve(void *user, weft_ctx *ctx, const saga *s, const char *key,
                           const char **result) {
    order_desk *desk = user;
    Order__Order *order = NULL;
    SHOP_TRY(load(desk, ctx, s->subject, &order));
    Inventory__StockLine **lines = weft_array(ctx, order->n_lines, sizeof *lines);
    if (!lines) return shop_no_memory(ctx);
    for (size_t i = 0; i < order->n_lines; i++) {
        lines[i] = inventory_stock_line_new(ctx);
        if (!lines[i]) return shop_no_memory(ctx);
        lines[i]->product_id = order->lines[i]->product_id;
        lines[i]->quantity = order->lines[i]->quantity;
    }
    const Inventory__ReserveStockRequest request = {
        INVENTORY_RESERVE_STOCK_REQUEST(.order_id = order->order_id, .lines = lines,
                                        .n_lines = order->n_lines, .idempotency_key = (char *)key)};
    Inventory__ReserveStockResponse *reply = NULL;
    (void)result;
    return inventory_reserve_stock(desk->inventory, ctx, &request, &reply);
}

/* What a transition wanted may be so already, by a person's hand: then it is done. */
static weft_status unless(weft_ctx *ctx, order_desk *desk, const char *order_id,
                          Inventory__ReservationState wanted, weft_status st) {
    if (st.code != WEFT_FAILED_PRECONDITION) return st;
    const Inventory__GetReservationRequest request = {
        INVENTORY_GET_RESERVATION_REQUEST(.order_id = (char *)order_id)};
    Inventory__GetReservationResponse *reply = NULL;
    SHOP_TRY(inventory_get_reservation(desk->inventory, ctx, &request, &reply));
    return reply->reservation && reply->reservation->state == wanted ? weft_ok() : st;
}

static weft_status release(void *user, weft_ctx *ctx, const saga *s, const char *key,
                           const char **result) {
    order_desk *desk = user;
    const Inventory__ReleaseStockRequest request = {
        INVENTORY_RELEASE_STOCK_REQUEST(.order_id = (char *)s->subject,
                                        .idempotency_key = (char *)key)};
    Inventory__ReleaseStockResponse *reply = NULL;
    (void)result;
    const weft_status st = inventory_release_stock(desk->inventory, ctx, &request, &reply);
    return unless(ctx, desk, s->subject, INVENTORY__RESERVATION_STATE__RESERVATION_STATE_RELEASED,
                  st);
}

/* ---- charge */

static weft_status charge(void *user, weft_ctx *ctx, const saga *s, const char *key,
                          const char **result) {
    order_desk *desk = user;
    Order__Order *order = NULL;
    SHOP_TRY(load(desk, ctx, s->subject, &order));
    const Payment__ChargeRequest request = {
        PAYMENT_CHARGE_REQUEST(.user_id = order->user_id, .order_id = order->order_id,
                               .amount = order->total, .idempotency_key = (char *)key)};
    Payment__ChargeResponse *reply = NULL;
    SHOP_TRY(payment_charge(desk->payments, ctx, &request, &reply));
    if (!reply->payment || !reply->payment->payment_id[0])
        return weft_internal(ctx, "payment answered a charge without a payment_id");
    *result = reply->payment->payment_id;
    return weft_ok();
}

static weft_status refund_payment(order_desk *desk, weft_ctx *ctx, const char *payment_id,
                                  const char *key) {
    const Payment__RefundRequest request = {
        PAYMENT_REFUND_REQUEST(.payment_id = (char *)payment_id, .idempotency_key = (char *)key)};
    Payment__RefundResponse *reply = NULL;
    const weft_status st = payment_refund(desk->payments, ctx, &request, &reply);
    if (st.code != WEFT_FAILED_PRECONDITION) return st;
    const Payment__GetPaymentRequest ask = {
        PAYMENT_GET_PAYMENT_REQUEST(.payment_id = (char *)payment_id)};
    Payment__GetPaymentResponse *now = NULL;
    SHOP_TRY(payment_get_payment(desk->payments, ctx, &ask, &now));
    if (now->payment && now->payment->state == PAYMENT__PAYMENT_STATE__PAYMENT_STATE_REFUNDED)
        return weft_ok();
    return st;
}

static weft_status undo_charge(void *user, weft_ctx *ctx, const saga *s, const char *key,
                               const char **result) {
    (void)result;
    return refund_payment(user, ctx, s->steps[CHARGE].result, key);
}

/* ---- commit: after it nothing can be refused */

static weft_status commit(void *user, weft_ctx *ctx, const saga *s, const char *key,
                          const char **result) {
    order_desk *desk = user;
    const Inventory__CommitStockRequest request = {
        INVENTORY_COMMIT_STOCK_REQUEST(.order_id = (char *)s->subject,
                                       .idempotency_key = (char *)key)};
    Inventory__CommitStockResponse *reply = NULL;
    (void)result;
    return inventory_commit_stock(desk->inventory, ctx, &request, &reply);
}

/* ---- cancelling */

static weft_status refund(void *user, weft_ctx *ctx, const saga *s, const char *key,
                          const char **result) {
    order_desk *desk = user;
    Order__Order *order = NULL;
    (void)result;
    SHOP_TRY(load(desk, ctx, s->subject, &order));
    return refund_payment(desk, ctx, order->payment_id, key);
}

static weft_status give_back(void *user, weft_ctx *ctx, const saga *s, const char *key,
                             const char **result) {
    order_desk *desk = user;
    const Inventory__ReturnStockRequest request = {
        INVENTORY_RETURN_STOCK_REQUEST(.order_id = (char *)s->subject,
                                       .idempotency_key = (char *)key)};
    Inventory__ReturnStockResponse *reply = NULL;
    (void)result;
    const weft_status st = inventory_return_stock(desk->inventory, ctx, &request, &reply);
    return unless(ctx, desk, s->subject, INVENTORY__RESERVATION_STATE__RESERVATION_STATE_RETURNED,
                  st);
}

/* ---- what else is written when something happened */

static void news(void *user, weft_tx *tx, const saga *s, const char *what) {
    order_desk *desk = user;
    order_event(tx, s->subject, what, weft_wall(desk->self->clock));
}

/* The answer to whoever asked, and to those who ask again with the same key. */
static void answer(weft_ctx *ctx, weft_tx *tx, const saga *s, const ProtobufCMessage *reply) {
    size_t len;
    const uint8_t *bytes = weft_pack(weft_ctx_arena(ctx), reply, &len);
    if (bytes) shop_answer(tx, s->id, bytes, len);
}

static void placed(void *user, weft_ctx *ctx, weft_tx *tx, const saga *s) {
    order_desk *desk = user;
    const int64_t now = weft_wall(desk->self->clock);
    const bool failed = s->state == SAGA_FAILED;
    (void)weft_tx_exec(tx,
                       "UPDATE orders SET payment_id = ?, failed_step = ?, failed_code = ?, "
                       "failed_message = ? WHERE order_id = ?",
                       "ssiss", s->steps[CHARGE].result,
                       failed ? s->kind->steps[s->failed_step].name : "", s->code, s->message,
                       s->subject);
    order_set_state(tx, s->subject, failed ? FAILED : CONFIRMED, failed ? "failed" : "confirmed",
                    now);
    Order__PlaceOrderResponse reply = ORDER__PLACE_ORDER_RESPONSE__INIT;
    if (!weft_failed(order_find(ctx, tx, s->subject, &reply.order)))
        answer(ctx, tx, s, &reply.base);
    weft_log(WEFT_LOG_INFO, failed ? "order failed" : "order confirmed",
             WEFT_S("order", s->subject), WEFT_S("reason", s->message));
}

static void cancelled(void *user, weft_ctx *ctx, weft_tx *tx, const saga *s) {
    order_desk *desk = user;
    order_set_state(tx, s->subject, CANCELLED, "cancelled", weft_wall(desk->self->clock));
    Order__CancelOrderResponse reply = ORDER__CANCEL_ORDER_RESPONSE__INIT;
    if (!weft_failed(order_find(ctx, tx, s->subject, &reply.order)))
        answer(ctx, tx, s, &reply.base);
    weft_log(WEFT_LOG_INFO, "order cancelled", WEFT_S("order", s->subject));
}

static const saga_step place_steps[] = {
    [RESERVE] = {"reserve", reserve, release},
    [CHARGE] = {"charge", charge, undo_charge},
    [COMMIT] = {"commit", commit, NULL},
};
const saga_kind order_place_saga = {
    .name = "place", .steps = place_steps, .count = 3, .news = news, .ended = placed};

static const saga_step cancel_steps[] = {
    {"refund", refund, NULL},
    {"return", give_back, NULL},
};
const saga_kind order_cancel_saga = {.name = "cancel",
                                     .steps = cancel_steps,
                                     .count = 2,
                                     .forward_only = true,
                                     .news = news,
                                     .ended = cancelled};
