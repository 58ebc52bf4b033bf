/* The order service's own state, and the rows of its database as messages. */
#ifndef SHOP_ORDER_ROWS_H
#define SHOP_ORDER_ROWS_H

#include "services/shop/order/saga.h"
#include "services/shop/shop.h"
#include "shop/order/v1/order.weft.h"

/* shop.own of the order service. */
typedef struct order_desk {
    shop *self;
    saga_engine *engine;
    weft_channel *users, *products, *inventory, *payments;
} order_desk;

extern const weft_migration order_migrations[];
extern const size_t order_migration_count;

/* The sagas: place.c. */
extern const saga_kind order_place_saga, order_cancel_saga;

/* With its lines. NOT_FOUND when there is none. Needs nothing of a handler's context but its
 * memory. */
weft_status order_find(weft_ctx *ctx, weft_tx *tx, const char *order_id, Order__Order **order);

/* Writes a new order, PENDING, with its lines. `now` is wall ns. */
void order_insert(weft_tx *tx, const Order__Order *order, int64_t now);

/* Sets the state and writes an event. */
void order_set_state(weft_tx *tx, const char *order_id, Order__OrderState state, const char *what,
                     int64_t now);
/* Writes an event in the state the order is in. */
void order_event(weft_tx *tx, const char *order_id, const char *what, int64_t now);

/* The handler of TrackOrder: track.c. */
weft_status order_track(weft_ctx *ctx, const Order__TrackOrderRequest *req,
                        order_track_order_writer *out);

#endif
