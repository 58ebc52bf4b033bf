/* Following an order: what happened so far, then what happens. */
#include "services/shop/order/rows.h"

#define BATCH 32

static bool is_decided(Order__OrderState state) {
    return state == ORDER__ORDER_STATE__ORDER_STATE_CONFIRMED ||
           state == ORDER__ORDER_STATE__ORDER_STATE_FAILED ||
           state == ORDER__ORDER_STATE__ORDER_STATE_CANCELLED;
}

struct batch {
    Order__TrackOrderResponse *events[BATCH];
    size_t count;
    bool decided; /* there will be no more after these */
};

static weft_status find_events(weft_ctx *ctx, weft_tx *tx, const char *order_id, int64_t after,
                               struct batch *out) {
    weft_stmt *row =
        weft_tx_query(tx, "SELECT state FROM orders WHERE order_id = ?", "s", order_id);
    if (!weft_stmt_row(row)) return weft_not_found(ctx, "no order \"%s\"", order_id);
    out->decided = is_decided((Order__OrderState)weft_stmt_int(row, 0));
    row = weft_tx_query(tx,
                        "SELECT event, state, what, time FROM order_event WHERE order_id = ? AND "
                        "event > ? ORDER BY event LIMIT ?",
                        "sli", order_id, after, BATCH);
    while (out->count < BATCH && weft_stmt_row(row)) {
        Order__TrackOrderResponse *event = order_track_order_response_new(ctx);
        if (!event || !shop_set_text(ctx, &event->what, weft_stmt_text(row, 2)) ||
            !shop_set_time(ctx, &event->create_time, weft_stmt_int(row, 3)))
            return shop_no_memory(ctx);
        event->event = weft_stmt_int(row, 0);
        event->state = (Order__OrderState)weft_stmt_int(row, 1);
        out->events[out->count++] = event;
    }
    if (out->count == BATCH) out->decided = false;
    return weft_ok();
}

/* Sends what came after *after. Each look has a scratch context, so that a long stream stays
 * small. */
static weft_status send_news(weft_ctx *ctx, const char *order_id, int64_t *after,
                             order_track_order_writer *out, bool *over) {
    weft_ctx *scratch = weft_ctx_child(ctx, WEFT_NO_TIMEOUT);
    if (!scratch) return shop_no_memory(ctx);
    weft_tx *tx;
    struct batch batch = {.count = 0};
    weft_status st = shop_begin_read(scratch, &tx);
    if (!weft_failed(st))
        st = shop_end_read(scratch, tx, find_events(scratch, tx, order_id, *after, &batch));
    *over = batch.decided;
    for (size_t i = 0; !weft_failed(st) && i < batch.count; i++) {
        if (!order_track_order_send(out, batch.events[i])) {
            st = order_track_order_status(out);
            *over = true;
            break;
        }
        *after = batch.events[i]->event;
    }
    st = weft_status_copy(weft_ctx_arena(ctx), st);
    weft_ctx_free(scratch);
    return st;
}

weft_status order_track(weft_ctx *ctx, const Order__TrackOrderRequest *req,
                        order_track_order_writer *out) {
    const order_desk *desk = shop_of(ctx)->own;
    SHOP_TRY(shop_check_id(ctx, "order_id", req->order_id));
    SHOP_TRY(shop_check_range(ctx, "after_event", req->after_event, 0, INT64_MAX));
    int64_t after = req->after_event;
    uint64_t seen = 0;
    for (;;) {
        bool over = false;
        SHOP_TRY(send_news(ctx, req->order_id, &after, out, &over));
        if (over) return weft_ok();
        if (!saga_await(desk->engine, ctx, &seen))
            return weft_cancelled(ctx, "the caller went away or its deadline passed");
    }
}
