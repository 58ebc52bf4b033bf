/* The order service: goods promised, money taken, or neither. Contract:
 * proto/shop/order/v1/order.proto Read saga.h first; the steps of an order are in place.c. */
#include <string.h>

#include "services/shop/order/rows.h"
#include "shop/product/v1/product.weft.h"
#include "shop/user/v1/user.weft.h"
#include "weft/mem.h"

#define FOLLOW_MOST WEFT_TIMEOUT_S(4) /* an answer of PENDING frees the thread; the saga goes on */
#define RESUME_THREADS 4

static order_desk *desk_of(const weft_ctx *ctx) { return shop_of(ctx)->own; }

/* ---- placing: ask, write down, follow, answer */

static weft_status check_place(weft_ctx *ctx, const Order__PlaceOrderRequest *req) {
    SHOP_TRY(shop_check_id(ctx, "user_id", req->user_id));
    if (req->n_lines == 0 || req->n_lines > SHOP_LINES_MAX)
        return weft_invalid(ctx, "lines", "must be 1 to %d, are %zu", SHOP_LINES_MAX, req->n_lines);
    for (size_t i = 0; i < req->n_lines; i++) {
        const char *id = weft_printf(ctx, "lines[%zu].product_id", i);
        const char *quantity = weft_printf(ctx, "lines[%zu].quantity", i);
        if (!id || !quantity) return shop_no_memory(ctx);
        SHOP_TRY(shop_check_product_id(ctx, id, req->lines[i]->product_id));
        SHOP_TRY(shop_check_range(ctx, quantity, req->lines[i]->quantity, 1, SHOP_QUANTITY_MAX));
        for (size_t k = 0; k < i; k++)
            if (!strcmp(req->lines[k]->product_id, req->lines[i]->product_id))
                return weft_invalid(ctx, id, "\"%s\" is in lines[%zu] already",
                                    req->lines[i]->product_id, k);
    }
    return shop_check_key(ctx, req->idempotency_key);
}

/* Asks user and product at the same time. */
static weft_status ask(weft_ctx *ctx, const Order__PlaceOrderRequest *req, User__User **user,
                       Product__BatchGetProductsResponse **products) {
    const order_desk *desk = desk_of(ctx);
    char **ids = weft_array(ctx, req->n_lines, sizeof *ids);
    weft_group *group = weft_group_new(ctx);
    if (!ids || !group) return shop_no_memory(ctx);
    for (size_t i = 0; i < req->n_lines; i++) ids[i] = req->lines[i]->product_id;
    const User__GetUserRequest who = {USER_GET_USER_REQUEST(.user_id = req->user_id)};
    const Product__BatchGetProductsRequest what = {
        PRODUCT_BATCH_GET_PRODUCTS_REQUEST(.product_ids = ids, .n_product_ids = req->n_lines)};
    User__GetUserResponse *found = NULL;
    weft_group_keep_going(group); /* so that the answer does not depend on who was quicker */
    const int user_part = user_get_user_start(desk->users, group, &who, &found);
    const int product_part =
        product_batch_get_products_start(desk->products, group, &what, products);
    if (user_part < 0 || product_part < 0) return shop_no_memory(ctx);
    (void)weft_group_wait(group);
    SHOP_TRY(weft_group_status(group, user_part));
    SHOP_TRY(weft_group_status(group, product_part));
    if (!found->user || (*products)->n_products != req->n_lines)
        return weft_internal(ctx, "user or product answered with less than was asked for");
    *user = found->user;
    return weft_ok();
}

static weft_status draft_line(weft_ctx *ctx, Order__Order *order, const Product__Product *product,
                              int32_t quantity) {
    if (product->state != PRODUCT__PRODUCT_STATE__PRODUCT_STATE_ON_SALE)
        return weft_failed_precondition(ctx, "product \"%s\" is retired", product->product_id);
    if (!product->price) return weft_internal(ctx, "product answered without a price");
    const char *currency = product->price->currency_code;
    if (!order->total && !shop_set_money(ctx, &order->total, 0, currency))
        return shop_no_memory(ctx);
    if (strcmp(order->total->currency_code, currency) != 0)
        return weft_failed_precondition(ctx, "product \"%s\" is priced in %s, another line in %s",
                                        product->product_id, currency, order->total->currency_code);
    int64_t sum;
    if (!shop_multiply(product->price->minor_units, quantity, &sum) ||
        !shop_add(order->total->minor_units, sum, &order->total->minor_units))
        return weft_out_of_range(ctx, "the total passes the limit of %s",
                                 shop_money_text(ctx, SHOP_MONEY_MAX, currency));
    Order__OrderLine *line = order_order_line_new(ctx);
    if (!line) return shop_no_memory(ctx);
    line->product_id = product->product_id;
    line->product_name = product->name;
    line->quantity = quantity;
    line->unit_price = product->price;
    order->lines[order->n_lines++] = line;
    return weft_ok();
}

/* The order as it will be written down: the prices of this moment. */
static weft_status draft(weft_ctx *ctx, const Order__PlaceOrderRequest *req, Order__Order **out) {
    User__User *user = NULL;
    Product__BatchGetProductsResponse *products = NULL;
    SHOP_TRY(ask(ctx, req, &user, &products));
    if (user->state != USER__USER_STATE__USER_STATE_ACTIVE)
        return weft_failed_precondition(ctx, "user \"%s\" is suspended", req->user_id);
    Order__Order *order = order_order_new(ctx);
    if (!order) return shop_no_memory(ctx);
    order->order_id = shop_new_id(ctx, "o");
    order->user_id = req->user_id;
    order->lines = weft_array(ctx, req->n_lines, sizeof(*order->lines));
    if (!order->order_id || !order->lines) return shop_no_memory(ctx);
    for (size_t i = 0; i < req->n_lines; i++)
        SHOP_TRY(draft_line(ctx, order, products->products[i], req->lines[i]->quantity));
    *out = order;
    return weft_ok();
}

static weft_status accept_order(weft_ctx *ctx, weft_tx *tx, const Order__PlaceOrderRequest *req,
                                const Order__Order *order) {
    SHOP_TRY(shop_accept(ctx, tx, req->idempotency_key, &req->base, order->order_id));
    order_insert(tx, order, shop_now(ctx));
    saga_begin(desk_of(ctx)->engine, tx, &order_place_saga, order->order_id, order->order_id);
    (void)shop_fault("order", "before", "accept");
    return weft_ok();
}

/* What is known of a call. SHOP_OPEN: *saga_id names what to follow. */
static shop_known recall(weft_ctx *ctx, const char *key, const ProtobufCMessage *request,
                         ProtobufCMessage *reply, const char **saga_id, weft_status *st) {
    weft_tx *tx;
    *st = shop_begin_read(ctx, &tx);
    if (weft_failed(*st)) return SHOP_REFUSED;
    const shop_known known = shop_recall(ctx, tx, key, request, reply, saga_id, st);
    weft_tx_rollback(tx);
    return known;
}

/* Ends the accepting transaction. Someone may have accepted the same call meanwhile: then this
 * is theirs. */
static weft_status end_accept(weft_ctx *ctx, weft_tx *tx, weft_status st) {
    if (weft_failed(st) || weft_tx_error(tx)) return shop_end_read(ctx, tx, st);
    const int error = weft_tx_commit(tx);
    return error ? shop_store_status(ctx, error, "accept") : weft_ok();
}

static weft_status begin_write(weft_ctx *ctx, weft_tx **tx) {
    const int error = weft_tx_begin(shop_of(ctx)->db, WEFT_WRITE, tx);
    return error ? shop_store_status(ctx, error, "begin") : weft_ok();
}

/* Follows the saga of an accepted call; its recorded answer is the reply, or the order as it is. */
static weft_status follow(weft_ctx *ctx, const char *key, const ProtobufCMessage *request,
                          ProtobufCMessage *reply, const char *saga_id, const char *order_id,
                          Order__Order **order) {
    saga_follow(desk_of(ctx)->engine, ctx, saga_id, FOLLOW_MOST);
    weft_status st;
    if (recall(ctx, key, request, reply, &saga_id, &st) != SHOP_OPEN) return st;
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    return shop_end_read(ctx, tx, order_find(ctx, tx, order_id, order));
}

static weft_status place_order(weft_ctx *ctx, const Order__PlaceOrderRequest *req,
                               Order__PlaceOrderResponse *reply) {
    SHOP_TRY(check_place(ctx, req));
    weft_status st;
    const char *id = NULL;
    shop_known known = recall(ctx, req->idempotency_key, &req->base, &reply->base, &id, &st);
    if (known == SHOP_NEW) {
        Order__Order *order = NULL;
        weft_tx *tx;
        SHOP_TRY(draft(ctx, req, &order));
        SHOP_TRY(begin_write(ctx, &tx));
        known = shop_recall(ctx, tx, req->idempotency_key, &req->base, &reply->base, &id, &st);
        if (known == SHOP_NEW) {
            id = order->order_id;
            SHOP_TRY(end_accept(ctx, tx, accept_order(ctx, tx, req, order)));
            (void)shop_fault("order", "after", "accept");
            known = SHOP_OPEN;
        } else {
            weft_tx_rollback(tx);
        }
    }
    if (known != SHOP_OPEN) return st;
    return follow(ctx, req->idempotency_key, &req->base, &reply->base, id, id, &reply->order);
}

/* ---- cancelling */

static weft_status accept_cancel(weft_ctx *ctx, weft_tx *tx, const Order__CancelOrderRequest *req,
                                 const char *saga_id) {
    static const char *const names[] = {"",       "pending",    "confirmed",
                                        "failed", "cancelling", "cancelled"};
    Order__Order *order = NULL;
    SHOP_TRY(order_find(ctx, tx, req->order_id, &order));
    if (order->state != ORDER__ORDER_STATE__ORDER_STATE_CONFIRMED)
        return weft_failed_precondition(ctx,
                                        "order \"%s\" is %s; only a confirmed one can be cancelled",
                                        req->order_id, names[order->state]);
    SHOP_TRY(shop_accept(ctx, tx, req->idempotency_key, &req->base, saga_id));
    const int64_t now = shop_now(ctx);
    (void)weft_tx_exec(tx, "UPDATE orders SET cancel_reason = ? WHERE order_id = ?", "ss",
                       req->reason, req->order_id);
    order_set_state(tx, req->order_id, ORDER__ORDER_STATE__ORDER_STATE_CANCELLING, "cancelling",
                    now);
    saga_begin(desk_of(ctx)->engine, tx, &order_cancel_saga, saga_id, req->order_id);
    return weft_ok();
}

static weft_status cancel_order(weft_ctx *ctx, const Order__CancelOrderRequest *req,
                                Order__CancelOrderResponse *reply) {
    SHOP_TRY(shop_check_id(ctx, "order_id", req->order_id));
    SHOP_TRY(shop_check_text(ctx, "reason", req->reason, 0, 200));
    SHOP_TRY(shop_check_key(ctx, req->idempotency_key));
    const char *saga_id = weft_printf(ctx, "%s/cancel", req->order_id), *known_id = saga_id;
    if (!saga_id) return shop_no_memory(ctx);
    weft_tx *tx;
    SHOP_TRY(begin_write(ctx, &tx));
    weft_status st;
    const shop_known known =
        shop_recall(ctx, tx, req->idempotency_key, &req->base, &reply->base, &known_id, &st);
    if (known == SHOP_NEW) {
        SHOP_TRY(end_accept(ctx, tx, accept_cancel(ctx, tx, req, saga_id)));
    } else {
        weft_tx_rollback(tx);
        if (known != SHOP_OPEN) return st;
    }
    return follow(ctx, req->idempotency_key, &req->base, &reply->base, saga_id, req->order_id,
                  &reply->order);
}

/* ---- reading */

static weft_status get_order(weft_ctx *ctx, const Order__GetOrderRequest *req,
                             Order__GetOrderResponse *reply) {
    SHOP_TRY(shop_check_id(ctx, "order_id", req->order_id));
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    return shop_end_read(ctx, tx, order_find(ctx, tx, req->order_id, &reply->order));
}

static weft_status find_orders(weft_ctx *ctx, weft_tx *tx, const Order__ListOrdersRequest *req,
                               shop_page *page, Order__ListOrdersResponse *reply) {
    weft_stmt *row =
        weft_tx_query(tx,
                      "SELECT order_id FROM orders WHERE order_id > ?1 AND "
                      "(?2 = '' OR user_id = ?2) AND (?3 = 0 OR state = ?3) "
                      "ORDER BY order_id LIMIT ?4",
                      "ssil", page->after, req->user_id, (int)req->state, (int64_t)page->size + 1);
    const char *last = "";
    while (weft_stmt_row(row) && shop_page_more(ctx, page, last, &reply->next_page_token)) {
        Order__Order *order = NULL;
        SHOP_TRY(order_find(ctx, tx, weft_stmt_text(row, 0), &order));
        reply->orders[reply->n_orders++] = order;
        last = order->order_id;
    }
    return reply->next_page_token ? weft_ok() : shop_no_memory(ctx);
}

static weft_status list_orders(weft_ctx *ctx, const Order__ListOrdersRequest *req,
                               Order__ListOrdersResponse *reply) {
    shop_page page;
    if (req->user_id[0]) SHOP_TRY(shop_check_id(ctx, "user_id", req->user_id));
    SHOP_TRY(shop_check_enum(ctx, "state", &order__order_state__descriptor, (int)req->state, true));
    SHOP_TRY(shop_page_open(ctx, req->page_size, req->page_token,
                            weft_printf(ctx, "orders/%s/%d", req->user_id, (int)req->state),
                            &page));
    reply->orders = weft_array(ctx, page.size, sizeof(*reply->orders));
    if (!reply->orders) return shop_no_memory(ctx);
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    return shop_end_read(ctx, tx, find_orders(ctx, tx, req, &page, reply));
}

/* ---- the service */

static int start(shop *self) {
    order_desk *desk = self->own;
    return saga_engine_start(desk->engine);
}

static void stop(shop *self) {
    order_desk *desk = self->own;
    if (!desk) return;
    saga_engine_stop(desk->engine);
    weft_channel_free(desk->users);
    weft_channel_free(desk->products);
    weft_channel_free(desk->inventory);
    weft_channel_free(desk->payments);
    weft_free(desk);
}

static int serve(shop *self, weft_server *server) {
    static const order_service handlers = {
        .place_order = place_order,
        .get_order = get_order,
        .list_orders = list_orders,
        .cancel_order = cancel_order,
        .track_order = order_track,
    };
    static const saga_kind *const kinds[] = {&order_place_saga, &order_cancel_saga, NULL};
    order_desk *desk = weft_calloc(1, sizeof *desk);
    if (!desk) return WEFT_ENOMEM;
    const saga_options options = {.service = self->info->name,
                                  .db = self->db,
                                  .clock = self->clock,
                                  .lease_ns = self->lease_ns,
                                  .threads = RESUME_THREADS,
                                  .kinds = kinds,
                                  .user = desk};
    desk->self = self;
    desk->engine = saga_engine_new(&options);
    desk->users = weft_dial("user");
    desk->products = weft_dial("product");
    desk->inventory = weft_dial("inventory");
    desk->payments = weft_dial("payment");
    self->own = desk;
    return desk->engine ? order_service_add(server, &handlers, self) : WEFT_ENOMEM;
}

const shop_info shop_order = {
    .name = "order",
    .about = "orders, and the sagas that place and cancel them",
    .migrations = order_migrations,
    .migration_count = 3,
    .serve = serve,
    .start = start,
    .stop = stop,
};
