/* weft-shop-demo: places orders in a running shop over gRPC and shows that goods and money add
 * up.
 *
 * What it does is planned from --seed before the first call, so two runs against new shops place
 * the same orders. Among them are one by a customer who cannot pay, which fails at the payment
 * and is undone; two for the last item of a product at the same moment, of which exactly one
 * wins; and one that is cancelled after all. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shop/common/v1/money.weft.h"
#include "shop/inventory/v1/inventory.weft.h"
#include "shop/order/v1/order.weft.h"
#include "shop/payment/v1/payment.weft.h"
#include "shop/product/v1/product.weft.h"
#include "shop/user/v1/user.weft.h"
#include "weft/flags.h"
#include "weft/mem.h"
#include "weft/rng.h"

#define PURSE INT64_C(2500000) /* euro cents: enough for all orders of a customer */
#define POOR_PURSE 100
#define LINES 4
#define PARALLEL 8
#define CALL_TIMEOUT WEFT_TIMEOUT_S(30)

#define CONFIRMED ORDER__ORDER_STATE__ORDER_STATE_CONFIRMED
#define FAILED ORDER__ORDER_STATE__ORDER_STATE_FAILED
#define CANCELLED ORDER__ORDER_STATE__ORDER_STATE_CANCELLED

struct customer {
    const char *name, *id;
    int64_t purse, balance, spent; /* put in, left, confirmed orders */
    size_t orders;
};

struct item {
    const char *id, *name;
    int64_t before, after, bought; /* on hand; in confirmed orders */
};

struct planned {
    size_t customer;
    size_t line_count;
    struct {
        size_t item;
        int32_t quantity;
    } lines[LINES];
    const char *role; /* "cannot pay", "races for the last item", "cancelled", or NULL */
    Order__Order *order;
};

static struct {
    weft_channel *users, *products, *orders, *payments, *inventory;
    weft_ctx *ctx;    /* of the whole run: holds everything */
    weft_ctx *traced; /* of one order, a trace of its own; NULL: none */
    const char *run, *trace_file;
    struct customer *customers;
    struct item *items;
    struct planned *plan;
    size_t customer_count, item_count, plan_count, last_item;
} demo;

/* Ends the demo unless the call went well. */
static void must(weft_status st, const char *what) {
    if (!weft_failed(st)) return;
    fprintf(stderr, "weft-shop-demo: %s: %s: %s\n", what, weft_code_name((int)st.code),
            weft_status_message(st));
    exit(1);
}

static void *need(void *p) {
    if (p) return p;
    fputs("weft-shop-demo: out of memory\n", stderr);
    exit(1);
}

static char *key(const char *what, size_t number) {
    return need(weft_printf(demo.ctx, "demo/%s/%s/%zu", demo.run, what, number));
}

static const char *euro(int64_t cents) {
    return need(
        weft_printf(demo.ctx, "%lld.%02lld", (long long)(cents / 100), (long long)(cents % 100)));
}

/* ---- setting the scene */

static void make_customers(void) {
    static const char *const names[] = {"Ada",   "Ben",  "Clara", "David", "Emma",  "Felix",
                                        "Greta", "Hugo", "Ida",   "Jonas", "Klara", "Leo"};
    demo.customers = need(weft_array(demo.ctx, demo.customer_count, sizeof *demo.customers));
    for (size_t i = 0; i < demo.customer_count; i++) {
        struct customer *c = &demo.customers[i];
        const bool poor = i + 1 == demo.customer_count;
        const size_t count = sizeof names / sizeof names[0];
        c->name = poor ? "Paul (poor)"
                  : i < count
                      ? names[i]
                      : need(weft_printf(demo.ctx, "%s %zu", names[i % count], i / count + 1));
        c->purse = poor ? POOR_PURSE : PURSE;
        const User__CreateUserRequest who = {USER_CREATE_USER_REQUEST(
                .email = need(weft_printf(demo.ctx, "%zu.%s@demo.example", i, demo.run)),
                .display_name = (char *)c->name, .idempotency_key = key("user", i))};
        User__CreateUserResponse *made = NULL;
        must(user_create_user(demo.users, demo.ctx, &who, &made), "creating a customer");
        c->id = made->user->user_id;
        Shop__Money purse = {SHOP_MONEY(.minor_units = c->purse, .currency_code = (char *)"EUR")};
        const Payment__TopUpRequest fill = {
            PAYMENT_TOP_UP_REQUEST(.user_id = (char *)c->id, .amount = &purse,
                                   .idempotency_key = key("purse", i))};
        Payment__TopUpResponse *filled = NULL;
        must(payment_top_up(demo.payments, demo.ctx, &fill, &filled), "filling a wallet");
    }
}

/* The catalogue, and one product of which there is exactly one. */
static void find_items(void) {
    char *token = (char *)"";
    size_t room = 2000;
    demo.items = need(weft_array(demo.ctx, room + 1, sizeof *demo.items));
    do {
        const Product__ListProductsRequest page = {
            PRODUCT_LIST_PRODUCTS_REQUEST(.page_size = 200, .page_token = token)};
        Product__ListProductsResponse *found = NULL;
        must(product_list_products(demo.products, demo.ctx, &page, &found),
             "reading the catalogue");
        for (size_t i = 0; i < found->n_products && demo.item_count < room; i++) {
            const Product__Product *p = found->products[i];
            if (strcmp(p->price->currency_code, "EUR") != 0 || !strcmp(p->category, "Demo"))
                continue;
            demo.items[demo.item_count++] = (struct item){.id = p->product_id, .name = p->name};
        }
        token = found->next_page_token;
    } while (token[0] && demo.item_count < room);
    if (demo.item_count == 0)
        must(weft_not_found(demo.ctx, "no product on sale"), "reading the catalogue");

    demo.last_item = demo.item_count++;
    struct item *last = &demo.items[demo.last_item];
    last->id = need(weft_printf(demo.ctx, "last-%s", demo.run));
    last->name = "The Last Teapot";
    Shop__Money price = {SHOP_MONEY(.minor_units = 4900, .currency_code = (char *)"EUR")};
    Product__Product product = {PRODUCT_PRODUCT(.product_id = (char *)last->id,
                                                .name = (char *)last->name,
                                                .category = (char *)"Demo", .price = &price)};
    const Product__CreateProductRequest create = {
        PRODUCT_CREATE_PRODUCT_REQUEST(.product = &product, .idempotency_key = key("last", 0))};
    Product__CreateProductResponse *created = NULL;
    must(product_create_product(demo.products, demo.ctx, &create, &created), "creating a product");
    const Inventory__RegisterStockRequest stock = {
        INVENTORY_REGISTER_STOCK_REQUEST(.product_id = (char *)last->id, .initial_quantity = 1,
                                         .idempotency_key = key("last", 1))};
    Inventory__RegisterStockResponse *kept = NULL;
    must(inventory_register_stock(demo.inventory, demo.ctx, &stock, &kept), "registering stock");
}

static int64_t on_hand(const char *product_id) {
    weft_ctx *ctx = need(weft_ctx_new(CALL_TIMEOUT));
    const Inventory__GetStockRequest ask = {
        INVENTORY_GET_STOCK_REQUEST(.product_id = (char *)product_id)};
    Inventory__GetStockResponse *found = NULL;
    must(inventory_get_stock(demo.inventory, ctx, &ask, &found), "asking for stock");
    const int64_t count = found->stock->on_hand;
    weft_ctx_free(ctx);
    return count;
}

/* The two that race come last, next to each other, so that they are in flight together. */
static void make_plan(uint64_t seed) {
    weft_rng rng;
    weft_rng_seed(&rng, seed);
    demo.plan = need(weft_array(demo.ctx, demo.plan_count, sizeof *demo.plan));
    const size_t rich = demo.customer_count - 1;
    for (size_t i = 0; i < demo.plan_count; i++) {
        struct planned *p = &demo.plan[i];
        p->customer = weft_rng_below(&rng, rich);
        p->line_count = 1 + weft_rng_below(&rng, LINES);
        const size_t first = weft_rng_below(&rng, demo.last_item);
        for (size_t k = 0; k < p->line_count; k++) {
            p->lines[k].item = (first + k * 37) % demo.last_item;
            p->lines[k].quantity = (int32_t)(1 + weft_rng_below(&rng, 2));
        }
    }
    struct planned *poor = &demo.plan[demo.plan_count / 3];
    poor->customer = rich;
    poor->role = "cannot pay";
    demo.plan[demo.plan_count / 2].role = "cancelled";
    for (size_t i = demo.plan_count - 2; i < demo.plan_count; i++) {
        struct planned *racer = &demo.plan[i];
        racer->role = "races for the last item";
        racer->customer = (i - (demo.plan_count - 2)) % rich;
        racer->line_count = 1;
        racer->lines[0].item = demo.last_item;
        racer->lines[0].quantity = 1;
    }
}

/* ---- ordering */

static Order__PlaceOrderRequest *request_of(size_t number) {
    const struct planned *p = &demo.plan[number];
    Order__PlaceOrderRequest *request = need(order_place_order_request_new(demo.ctx));
    request->user_id = (char *)demo.customers[p->customer].id;
    request->idempotency_key = key("order", number);
    request->lines = need(weft_array(demo.ctx, p->line_count, sizeof *request->lines));
    request->n_lines = p->line_count;
    for (size_t i = 0; i < p->line_count; i++) {
        request->lines[i] = need(order_place_order_line_new(demo.ctx));
        request->lines[i]->product_id = (char *)demo.items[p->lines[i].item].id;
        request->lines[i]->quantity = p->lines[i].quantity;
    }
    return request;
}

/* An order that is not decided yet: follow it until it is. */
static Order__Order *settle(Order__Order *order) {
    const Order__TrackOrderRequest what = {ORDER_TRACK_ORDER_REQUEST(.order_id = order->order_id)};
    Order__TrackOrderResponse *event = NULL;
    order_track_order_stream *events = order_track_order(demo.orders, demo.ctx, &what);
    while (order_track_order_next(events, &event)) {}
    must(order_track_order_end(events), "following an order");
    const Order__GetOrderRequest ask = {ORDER_GET_ORDER_REQUEST(.order_id = order->order_id)};
    Order__GetOrderResponse *now = NULL;
    must(order_get_order(demo.orders, demo.ctx, &ask, &now), "reading an order");
    return now->order;
}

/* The first order goes alone and in a trace of its own, whose id is left for weft-shop-trace. */
static void place_traced(void) {
    demo.traced = need(weft_ctx_new(WEFT_TIMEOUT_S(60)));
    weft_ctx_wait_for_ready(demo.traced, true);
    Order__PlaceOrderResponse *reply = NULL;
    must(order_place_order(demo.orders, demo.traced, request_of(0), &reply), "placing an order");
    demo.plan[0].order = reply->order;
    FILE *file = need(fopen(demo.trace_file, "we"));
    (void)fprintf(file, "%s\n", weft_ctx_trace_id(demo.traced));
    if (fclose(file)) need(NULL);
}

/* PARALLEL at a time; each batch ends before the next begins. */
static void place_all(void) {
    if (demo.trace_file) place_traced();
    for (size_t at = demo.trace_file ? 1 : 0; at < demo.plan_count;) {
        size_t count = demo.plan_count - at < PARALLEL ? demo.plan_count - at : PARALLEL;
        if (at + count == demo.plan_count - 1) count--; /* do not part the racers */
        Order__PlaceOrderResponse *replies[PARALLEL] = {NULL};
        weft_group *group = need(weft_group_new(demo.ctx));
        weft_group_keep_going(group);
        for (size_t i = 0; i < count; i++)
            if (order_place_order_start(demo.orders, group, request_of(at + i), &replies[i]) < 0)
                need(NULL);
        must(weft_group_wait(group), "placing orders");
        for (size_t i = 0; i < count; i++) demo.plan[at + i].order = replies[i]->order;
        at += count;
    }
    for (size_t i = 0; i < demo.plan_count; i++) {
        struct planned *p = &demo.plan[i];
        if (p->order->state != CONFIRMED && p->order->state != FAILED) p->order = settle(p->order);
    }
}

static void cancel_one(void) {
    for (size_t i = 0; i < demo.plan_count; i++) {
        struct planned *p = &demo.plan[i];
        if (!p->role || strcmp(p->role, "cancelled") != 0 || p->order->state != CONFIRMED) continue;
        const Order__CancelOrderRequest cancel = {
            ORDER_CANCEL_ORDER_REQUEST(.order_id = p->order->order_id,
                                       .reason = (char *)"changed my mind",
                                       .idempotency_key = key("cancel", i))};
        Order__CancelOrderResponse *reply = NULL;
        must(order_cancel_order(demo.orders, demo.ctx, &cancel, &reply), "cancelling an order");
        p->order = reply->order->state == CANCELLED ? reply->order : settle(reply->order);
    }
}

/* ---- adding up */

static int broken;

__attribute__((format(printf, 2, 3))) static void expect(bool good, const char *format, ...) {
    if (good) return;
    va_list args;
    va_start(args, format);
    fputs("does not add up: ", stdout);
    vprintf(format, args);
    puts("");
    va_end(args);
    broken++;
}

static const char *state_of(const Order__Order *order) {
    return order_order_state_name(order->state) + strlen("ORDER_STATE_");
}

static void print_order(size_t number) {
    const struct planned *p = &demo.plan[number];
    const Order__Order *o = p->order;
    char why[160] = "";
    if (o->failure)
        (void)snprintf(why, sizeof why, "%s: %.110s", o->failure->step, o->failure->message);
    else if (p->role)
        (void)snprintf(why, sizeof why, "%s", o->state == CANCELLED ? "changed my mind" : p->role);
    printf("%5zu  %s  %-12s %5zu  %10s  %-10s %s\n", number + 1, o->order_id,
           demo.customers[p->customer].name, o->n_lines, euro(o->total->minor_units), state_of(o),
           why);
}

static void print_orders(size_t show) {
    printf("orders\n%5s  %-21s  %-12s %5s  %10s  %-10s %s\n", "", "id", "customer", "lines",
           "total EUR", "state", "");
    size_t hidden = 0, shown = 0;
    for (size_t i = 0; i < demo.plan_count; i++) {
        const struct planned *p = &demo.plan[i];
        if (shown >= show && !p->role && p->order->state == CONFIRMED) {
            hidden++;
            continue;
        }
        print_order(i);
        shown++;
    }
    if (hidden) printf("       … and %zu more, confirmed\n", hidden);
}

static void add_up_orders(void) {
    size_t counts[8] = {0}, winners = 0;
    for (size_t i = 0; i < demo.plan_count; i++) {
        const struct planned *p = &demo.plan[i];
        struct customer *c = &demo.customers[p->customer];
        counts[p->order->state % 8]++;
        c->orders++;
        if (p->order->state == CONFIRMED) {
            c->spent += p->order->total->minor_units;
            for (size_t k = 0; k < p->line_count; k++)
                demo.items[p->lines[k].item].bought += p->lines[k].quantity;
            if (p->lines[0].item == demo.last_item) winners++;
        }
        if (p->role && !strcmp(p->role, "cannot pay"))
            expect(p->order->state == FAILED && p->order->failure &&
                       !strcmp(p->order->failure->step, "charge"),
                   "order %zu should have failed at the payment, it is %s", i + 1,
                   state_of(p->order));
    }
    expect(winners == 1, "%zu of two customers got the last item", winners);
    printf("\n%zu orders: %zu confirmed, %zu failed, %zu cancelled, %zu not decided\n\n",
           demo.plan_count, counts[CONFIRMED], counts[FAILED], counts[CANCELLED],
           demo.plan_count - counts[CONFIRMED] - counts[FAILED] - counts[CANCELLED]);
    expect(counts[CONFIRMED] + counts[FAILED] + counts[CANCELLED] == demo.plan_count,
           "an order is undecided");
}

static void print_money(void) {
    int64_t put = 0, spent = 0, left = 0;
    printf("money (EUR)\n  %-14s %7s %12s %18s %12s\n", "customer", "orders", "topped up",
           "- confirmed orders", "= balance");
    for (size_t i = 0; i < demo.customer_count; i++) {
        struct customer *c = &demo.customers[i];
        const Payment__GetWalletRequest ask = {
            PAYMENT_GET_WALLET_REQUEST(.user_id = (char *)c->id, .currency_code = (char *)"EUR")};
        Payment__GetWalletResponse *found = NULL;
        must(payment_get_wallet(demo.payments, demo.ctx, &ask, &found), "reading a wallet");
        c->balance = found->wallet->balance->minor_units;
        put += c->purse;
        spent += c->spent;
        left += c->balance;
        printf("  %-14s %7zu %12s %18s %12s\n", c->name, c->orders, euro(c->purse), euro(c->spent),
               euro(c->balance));
        expect(c->purse - c->spent == c->balance, "the wallet of %s holds %s", c->name,
               euro(c->balance));
    }
    printf("  %-14s %7zu %12s %18s %12s\n\n", "all", demo.plan_count, euro(put), euro(spent),
           euro(left));
}

static void print_stock(size_t show) {
    int64_t before = 0, bought = 0, after = 0;
    size_t moved = 0;
    printf("stock\n  %-44s %8s %10s %10s\n", "product", "before", "- bought", "= on hand");
    for (size_t i = 0; i < demo.item_count; i++) {
        struct item *item = &demo.items[i];
        if (item->bought == 0 && i != demo.last_item) continue;
        item->after = on_hand(item->id);
        expect(item->before - item->bought == item->after, "%s: %lld on hand", item->id,
               (long long)item->after);
        if (moved++ < show || i == demo.last_item)
            printf("  %-44s %8lld %10lld %10lld\n", item->name, (long long)item->before,
                   (long long)item->bought, (long long)item->after);
        before += item->before;
        bought += item->bought;
        after += item->after;
    }
    printf("  %-44s %8lld %10lld %10lld\n\n",
           (const char *)need(weft_printf(demo.ctx, "all %zu products that were bought", moved)),
           (long long)before, (long long)bought, (long long)after);
}

static void play(uint64_t seed, size_t show) {
    demo.ctx = need(weft_ctx_new(WEFT_TIMEOUT_S(600)));
    weft_ctx_wait_for_ready(demo.ctx, true);
    make_customers();
    find_items();
    make_plan(seed);
    for (size_t i = 0; i < demo.item_count; i++) demo.items[i].before = on_hand(demo.items[i].id);
    const int64_t begun = weft_now(NULL);
    place_all();
    const double seconds = (double)(weft_now(NULL) - begun) / 1e9;
    cancel_one();
    print_orders(show);
    add_up_orders();
    print_money();
    print_stock(show);
    printf("%zu orders in %.2f s\n%s\n", demo.plan_count, seconds,
           broken ? "it does not add up" : "it all adds up");
}

static int load(weft_arena *arena, int argc, char **argv, int64_t *orders, int64_t *customers,
                int64_t *seed, int64_t *show) {
    const weft_flag table[] = {
        {.name = "orders",
         .letter = 'n',
         .type = WEFT_FLAG_INT,
         .to.integer = orders,
         .initial = "100",
         .min = "10",
         .max = "10000",
         .help = "How many orders to place."},
        {.name = "customers",
         .letter = 'c',
         .type = WEFT_FLAG_INT,
         .to.integer = customers,
         .initial = "8",
         .min = "3",
         .max = "1000",
         .help = "By how many customers, the poor one included."},
        {.name = "seed",
         .type = WEFT_FLAG_INT,
         .to.integer = seed,
         .initial = "1",
         .min = "0",
         .help = "What to order is drawn from it."},
        {.name = "run",
         .type = WEFT_FLAG_STRING,
         .to.string = &demo.run,
         .initial = "",
         .max = "20",
         .help = "Name of this run, in addresses and keys; new in this shop. Default: made from "
                 "the time."},
        {.name = "trace-file",
         .type = WEFT_FLAG_STRING,
         .to.string = &demo.trace_file,
         .value = "FILE",
         .help = "Place the first order alone and write the id of its trace there."},
        {.name = "show",
         .type = WEFT_FLAG_INT,
         .to.integer = show,
         .initial = "10",
         .min = "0",
         .help = "How many plain orders and products to print of all; odd ones are always there."},
    };
    weft_flags flags = {
        .program = "weft-shop-demo",
        .about = "Places orders in a running shop and shows that goods and money add up. The "
                 "services are found by WEFT_OUTBOUND, or by WEFT_UPSTREAM_USER, _PRODUCT, _ORDER, "
                 "_PAYMENT and _INVENTORY. Exit code: 0 it adds up, 1 it does not.",
        .table = table,
        .count = WEFT_COUNT(table)};
    weft_diags problems;
    weft_diags_init(&problems, arena, 0);
    if (weft_flags_load(&flags, arena, argc, (const char *const *)argv, &problems) ||
        flags.args_count) {
        weft_diags_print(&problems, stderr);
        if (flags.args_count) fputs("weft-shop-demo: takes flags only; see --help\n", stderr);
        return 2;
    }
    if (!flags.help) return 0;
    weft_buf help;
    weft_buf_init(&help, 0);
    (void)weft_flags_help(&flags, &help);
    fputs(weft_buf_str(&help), stdout);
    weft_buf_free(&help);
    return -1;
}

int main(int argc, char **argv) {
    int64_t orders, customers, seed, show;
    weft_arena *arena = need(weft_arena_new(0));
    const int code = load(arena, argc, argv, &orders, &customers, &seed, &show);
    if (code) return code < 0 ? 0 : code;
    char run[24];
    (void)snprintf(run, sizeof run, "%llx", (unsigned long long)(weft_wall(NULL) / WEFT_NS_PER_MS));
    if (!demo.run[0]) demo.run = run;
    demo.plan_count = (size_t)orders;
    demo.customer_count = (size_t)customers;
    demo.users = weft_dial("user");
    demo.products = weft_dial("product");
    demo.orders = weft_dial("order");
    demo.payments = weft_dial("payment");
    demo.inventory = weft_dial("inventory");
    play((uint64_t)seed, (size_t)show);
    weft_ctx_free(demo.traced);
    weft_ctx_free(demo.ctx);
    weft_channel_free(demo.users);
    weft_channel_free(demo.products);
    weft_channel_free(demo.orders);
    weft_channel_free(demo.payments);
    weft_channel_free(demo.inventory);
    weft_arena_free(arena);
    return broken ? 1 : 0;
}
