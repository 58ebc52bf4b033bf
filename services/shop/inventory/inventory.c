/* The inventory service: goods and promises of goods. Contract:
 * proto/shop/inventory/v1/inventory.proto */
#include <string.h>

#include "services/shop/inventory/rows.h"
#include "services/shop/shop.h"
#include "shop/inventory/v1/inventory.weft.h"

#define OPEN INVENTORY__RESERVATION_STATE__RESERVATION_STATE_OPEN
#define COMMITTED INVENTORY__RESERVATION_STATE__RESERVATION_STATE_COMMITTED
#define RELEASED INVENTORY__RESERVATION_STATE__RESERVATION_STATE_RELEASED
#define RETURNED INVENTORY__RESERVATION_STATE__RESERVATION_STATE_RETURNED

/* ---- reading */

static weft_status get_stock(weft_ctx *ctx, const Inventory__GetStockRequest *req,
                             Inventory__GetStockResponse *reply) {
    SHOP_TRY(shop_check_product_id(ctx, "product_id", req->product_id));
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    return shop_end_read(ctx, tx, inventory_find_stock(ctx, tx, req->product_id, &reply->stock));
}

static weft_status list_stock(weft_ctx *ctx, const Inventory__ListStockRequest *req,
                              Inventory__ListStockResponse *reply) {
    shop_page page;
    SHOP_TRY(shop_page_open(ctx, req->page_size, req->page_token, "stock", &page));
    reply->stock = weft_array(ctx, page.size, sizeof(*reply->stock));
    if (!reply->stock) return shop_no_memory(ctx);
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    weft_stmt *row = weft_tx_query(
        tx, "SELECT " STOCK_COLUMNS " FROM stock WHERE product_id > ? ORDER BY product_id LIMIT ?",
        "sl", page.after, (int64_t)page.size + 1);
    const char *last = "";
    while (weft_stmt_row(row) && shop_page_more(ctx, &page, last, &reply->next_page_token)) {
        Inventory__Stock *stock = inventory_stock_of(ctx, row);
        if (!stock) return shop_end_read(ctx, tx, shop_no_memory(ctx));
        reply->stock[reply->n_stock++] = stock;
        last = stock->product_id;
    }
    return shop_end_read(ctx, tx, reply->next_page_token ? weft_ok() : shop_no_memory(ctx));
}

static weft_status get_reservation(weft_ctx *ctx, const Inventory__GetReservationRequest *req,
                                   Inventory__GetReservationResponse *reply) {
    SHOP_TRY(shop_check_id(ctx, "order_id", req->order_id));
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    return shop_end_read(ctx, tx,
                         inventory_find_reservation(ctx, tx, req->order_id, &reply->reservation));
}

static weft_status list_reservations(weft_ctx *ctx, const Inventory__ListReservationsRequest *req,
                                     Inventory__ListReservationsResponse *reply) {
    shop_page page;
    SHOP_TRY(shop_check_enum(ctx, "state", &inventory__reservation_state__descriptor,
                             (int)req->state, true));
    SHOP_TRY(shop_page_open(ctx, req->page_size, req->page_token,
                            weft_printf(ctx, "reservations/%d", (int)req->state), &page));
    reply->reservations = weft_array(ctx, page.size, sizeof(*reply->reservations));
    if (!reply->reservations) return shop_no_memory(ctx);
    weft_tx *tx;
    SHOP_TRY(shop_begin_read(ctx, &tx));
    weft_stmt *row = weft_tx_query(tx,
                                   "SELECT order_id FROM reservation WHERE order_id > ?1 AND "
                                   "(?2 = 0 OR state = ?2) ORDER BY order_id LIMIT ?3",
                                   "sil", page.after, (int)req->state, (int64_t)page.size + 1);
    const char *last = "";
    weft_status st = weft_ok();
    while (!weft_failed(st) && weft_stmt_row(row) &&
           shop_page_more(ctx, &page, last, &reply->next_page_token)) {
        Inventory__Reservation *one = NULL;
        st = inventory_find_reservation(ctx, tx, weft_stmt_text(row, 0), &one);
        if (weft_failed(st)) break;
        reply->reservations[reply->n_reservations++] = one;
        last = one->order_id;
    }
    if (!reply->next_page_token) st = shop_no_memory(ctx);
    return shop_end_read(ctx, tx, st);
}

/* ---- goods coming in */

static weft_status register_effect(weft_ctx *ctx, weft_tx *tx, const void *request, void *answer) {
    const Inventory__RegisterStockRequest *req = request;
    Inventory__RegisterStockResponse *reply = answer;
    if (weft_tx_exec(tx, "INSERT INTO stock VALUES (?, ?, 0, ?)", "sll", req->product_id,
                     req->initial_quantity, shop_now(ctx)) == WEFT_EEXIST)
        return weft_already_exists(ctx, "stock of product \"%s\" is kept already", req->product_id);
    inventory_ledger(ctx, tx, INVENTORY_INITIAL, req->product_id, req->initial_quantity, "");
    return inventory_find_stock(ctx, tx, req->product_id, &reply->stock);
}

static weft_status register_stock(weft_ctx *ctx, const Inventory__RegisterStockRequest *req,
                                  Inventory__RegisterStockResponse *reply) {
    SHOP_TRY(shop_check_product_id(ctx, "product_id", req->product_id));
    SHOP_TRY(shop_check_range(ctx, "initial_quantity", req->initial_quantity, 0, SHOP_RESTOCK_MAX));
    return shop_once(ctx, req->idempotency_key, &req->base, &reply->base, register_effect);
}

static weft_status restock_effect(weft_ctx *ctx, weft_tx *tx, const void *request, void *answer) {
    const Inventory__RestockRequest *req = request;
    Inventory__RestockResponse *reply = answer;
    Inventory__Stock *stock = NULL;
    SHOP_TRY(inventory_find_stock(ctx, tx, req->product_id, &stock));
    if (req->quantity > SHOP_STOCK_MAX - stock->on_hand)
        return weft_out_of_range(
            ctx, "product \"%s\": %lld on hand and %lld more pass the limit of %lld",
            req->product_id, (long long)stock->on_hand, (long long)req->quantity,
            (long long)SHOP_STOCK_MAX);
    (void)weft_tx_exec(tx,
                       "UPDATE stock SET on_hand = on_hand + ?, updated = ? WHERE product_id = ?",
                       "lls", req->quantity, shop_now(ctx), req->product_id);
    inventory_ledger(ctx, tx, INVENTORY_RESTOCK, req->product_id, req->quantity, req->reference);
    return inventory_find_stock(ctx, tx, req->product_id, &reply->stock);
}

static weft_status restock(weft_ctx *ctx, const Inventory__RestockRequest *req,
                           Inventory__RestockResponse *reply) {
    SHOP_TRY(shop_check_product_id(ctx, "product_id", req->product_id));
    SHOP_TRY(shop_check_range(ctx, "quantity", req->quantity, 1, SHOP_RESTOCK_MAX));
    SHOP_TRY(shop_check_text(ctx, "reference", req->reference, 0, 100));
    return shop_once(ctx, req->idempotency_key, &req->base, &reply->base, restock_effect);
}

/* ---- promises */

/* Every line that is short, not only the first: the customer can then mend the basket at once. */
static weft_status check_available(weft_ctx *ctx, weft_tx *tx,
                                   const Inventory__ReserveStockRequest *req) {
    const char *missing = "";
    for (size_t i = 0; i < req->n_lines; i++) {
        Inventory__Stock *stock = NULL;
        const Inventory__StockLine *line = req->lines[i];
        SHOP_TRY(inventory_find_stock(ctx, tx, line->product_id, &stock));
        if (stock->available >= line->quantity) continue;
        missing = weft_printf(ctx, "%s%sproduct \"%s\": %d wanted, %lld available", missing,
                              missing[0] ? "; " : "", line->product_id, line->quantity,
                              (long long)stock->available);
        if (!missing) return shop_no_memory(ctx);
    }
    return missing[0] ? weft_failed_precondition(ctx, "out of stock: %s", missing) : weft_ok();
}

static weft_status reserve_effect(weft_ctx *ctx, weft_tx *tx, const void *request, void *answer) {
    const Inventory__ReserveStockRequest *req = request;
    Inventory__ReserveStockResponse *reply = answer;
    const int64_t now = shop_now(ctx);
    if (weft_tx_exec(tx, "INSERT INTO reservation VALUES (?, ?, ?, ?)", "sill", req->order_id,
                     (int)OPEN, now, now) == WEFT_EEXIST)
        return weft_already_exists(ctx, "order \"%s\" has a reservation already", req->order_id);
    SHOP_TRY(check_available(ctx, tx, req));
    for (size_t i = 0; i < req->n_lines; i++) {
        const Inventory__StockLine *line = req->lines[i];
        (void)weft_tx_exec(tx, "INSERT INTO reservation_line VALUES (?, ?, ?)", "ssi",
                           req->order_id, line->product_id, line->quantity);
        (void)weft_tx_exec(
            tx, "UPDATE stock SET reserved = reserved + ?, updated = ? WHERE product_id = ?", "ils",
            line->quantity, now, line->product_id);
    }
    return inventory_find_reservation(ctx, tx, req->order_id, &reply->reservation);
}

static weft_status reserve_stock(weft_ctx *ctx, const Inventory__ReserveStockRequest *req,
                                 Inventory__ReserveStockResponse *reply) {
    SHOP_TRY(shop_check_id(ctx, "order_id", req->order_id));
    if (req->n_lines == 0 || req->n_lines > SHOP_LINES_MAX)
        return weft_invalid(ctx, "lines", "must be 1 to %d, are %zu", SHOP_LINES_MAX, req->n_lines);
    for (size_t i = 0; i < req->n_lines; i++) {
        const Inventory__StockLine *line = req->lines[i];
        const char *id = weft_printf(ctx, "lines[%zu].product_id", i);
        const char *quantity = weft_printf(ctx, "lines[%zu].quantity", i);
        if (!id || !quantity) return shop_no_memory(ctx);
        SHOP_TRY(shop_check_product_id(ctx, id, line->product_id));
        SHOP_TRY(shop_check_range(ctx, quantity, line->quantity, 1, SHOP_QUANTITY_MAX));
        for (size_t k = 0; k < i; k++)
            if (!strcmp(req->lines[k]->product_id, line->product_id))
                return weft_invalid(ctx, id, "\"%s\" is in lines[%zu] already", line->product_id,
                                    k);
    }
    return shop_decide(ctx, req->idempotency_key, &req->base, &reply->base, reserve_effect);
}

/* ---- what becomes of a promise: one row of the table a call */

static const char *state_name(Inventory__ReservationState state) {
    static const char *const names[] = {"unspecified", "open", "committed", "released", "returned"};
    return names[(unsigned)state < 5 ? (unsigned)state : 0];
}

typedef struct transition {
    Inventory__ReservationState from, to;
    int on_hand, reserved; /* what happens to the stock, per unit */
    int move;              /* ledger kind, 0: the goods did not move */
} transition;

static const transition commit = {OPEN, COMMITTED, -1, -1, INVENTORY_COMMIT};
static const transition release = {OPEN, RELEASED, 0, -1, 0};
static const transition give_back = {COMMITTED, RETURNED, 1, 0, INVENTORY_RETURN};

static weft_status move_on(weft_ctx *ctx, weft_tx *tx, const transition *t, const char *order_id,
                           Inventory__Reservation **out) {
    Inventory__Reservation *reservation = NULL;
    SHOP_TRY(inventory_find_reservation(ctx, tx, order_id, &reservation));
    if (reservation->state != t->from)
        return weft_failed_precondition(ctx, "the reservation of order \"%s\" is %s, not %s",
                                        order_id, state_name(reservation->state),
                                        state_name(t->from));
    const int64_t now = shop_now(ctx);
    for (size_t i = 0; i < reservation->n_lines; i++) {
        const Inventory__StockLine *line = reservation->lines[i];
        (void)weft_tx_exec(tx,
                           "UPDATE stock SET on_hand = on_hand + ?, reserved = reserved + ?, "
                           "updated = ? WHERE product_id = ?",
                           "iils", t->on_hand * line->quantity, t->reserved * line->quantity, now,
                           line->product_id);
        if (t->move)
            inventory_ledger(ctx, tx, (inventory_move)t->move, line->product_id,
                             (int64_t)t->on_hand * line->quantity, order_id);
    }
    (void)weft_tx_exec(tx, "UPDATE reservation SET state = ?, updated = ? WHERE order_id = ?",
                       "ils", (int)t->to, now, order_id);
    return inventory_find_reservation(ctx, tx, order_id, out);
}

static weft_status commit_effect(weft_ctx *ctx, weft_tx *tx, const void *request, void *answer) {
    const Inventory__CommitStockRequest *req = request;
    Inventory__CommitStockResponse *reply = answer;
    return move_on(ctx, tx, &commit, req->order_id, &reply->reservation);
}

static weft_status commit_stock(weft_ctx *ctx, const Inventory__CommitStockRequest *req,
                                Inventory__CommitStockResponse *reply) {
    SHOP_TRY(shop_check_id(ctx, "order_id", req->order_id));
    return shop_once(ctx, req->idempotency_key, &req->base, &reply->base, commit_effect);
}

static weft_status release_effect(weft_ctx *ctx, weft_tx *tx, const void *request, void *answer) {
    const Inventory__ReleaseStockRequest *req = request;
    Inventory__ReleaseStockResponse *reply = answer;
    return move_on(ctx, tx, &release, req->order_id, &reply->reservation);
}

static weft_status release_stock(weft_ctx *ctx, const Inventory__ReleaseStockRequest *req,
                                 Inventory__ReleaseStockResponse *reply) {
    SHOP_TRY(shop_check_id(ctx, "order_id", req->order_id));
    return shop_once(ctx, req->idempotency_key, &req->base, &reply->base, release_effect);
}

static weft_status return_effect(weft_ctx *ctx, weft_tx *tx, const void *request, void *answer) {
    const Inventory__ReturnStockRequest *req = request;
    Inventory__ReturnStockResponse *reply = answer;
    return move_on(ctx, tx, &give_back, req->order_id, &reply->reservation);
}

static weft_status return_stock(weft_ctx *ctx, const Inventory__ReturnStockRequest *req,
                                Inventory__ReturnStockResponse *reply) {
    SHOP_TRY(shop_check_id(ctx, "order_id", req->order_id));
    return shop_once(ctx, req->idempotency_key, &req->base, &reply->base, return_effect);
}

static int serve(shop *self, weft_server *server) {
    static const inventory_service handlers = {
        .get_stock = get_stock,
        .list_stock = list_stock,
        .register_stock = register_stock,
        .restock = restock,
        .reserve_stock = reserve_stock,
        .commit_stock = commit_stock,
        .release_stock = release_stock,
        .return_stock = return_stock,
        .get_reservation = get_reservation,
        .list_reservations = list_reservations,
    };
    return inventory_service_add(server, &handlers, self);
}

const shop_info shop_inventory = {
    .name = "inventory",
    .about = "goods and promises of goods",
    .migrations = inventory_migrations,
    .migration_count = 2,
    .seed = inventory_seed,
    .serve = serve,
};
