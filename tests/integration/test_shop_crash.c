/* kill -9 of each service at each step of an order. A scenario arms one fault point
 * (services/shop/fault.c) in one service, asks for an order (or a cancellation), waits for the
 * service to die, and starts it again without the point. While it is dead the auditor must agree
 * that the books are right; then the order must come to the end it would have had, the same
 * answer must be given to the same key, and the auditor must agree that nothing is left in
 * progress. At the end: twenty orders at once while every service is killed in turn. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/wait.h>

#include "services/shop/shop.h"
#include "shop/common/v1/money.weft.h"
#include "shop/order/v1/order.weft.h"
#include "shop/payment/v1/payment.weft.h"
#include "shop/user/v1/user.weft.h"
#include "tests/support/shop.h"

#define CONFIRMED ORDER__ORDER_STATE__ORDER_STATE_CONFIRMED
#define FAILED ORDER__ORDER_STATE__ORDER_STATE_FAILED
#define CANCELLED ORDER__ORDER_STATE__ORDER_STATE_CANCELLED

enum kind {
    PAYS,     /* is confirmed */
    POOR,     /* is refused by payment */
    SOLD_OUT, /* is refused by inventory */
    BREAKS,   /* is refused by inventory at the commit, when all else is done */
    CANCELS   /* was confirmed, is taken back */
};
static const char *const kind_names[] = {"pays", "is poor", "is sold out", "breaks at commit",
                                         "cancels"};
static const Order__OrderState ends[] = {CONFIRMED, FAILED, FAILED, FAILED, CANCELLED};

static const struct scenario {
    const char *point;
    enum kind kind;
} scenarios[] = {
    {"user:after-get-user", PAYS},
    {"product:after-batch-get-products", PAYS},
    {"order:before-accept", PAYS},
    {"order:after-accept", PAYS},
    {"order:before-reserve", PAYS},
    {"inventory:before-reserve-stock", PAYS},
    {"inventory:after-reserve-stock", PAYS},
    {"order:after-reserve", PAYS},
    {"order:before-charge", PAYS},
    {"payment:before-charge", PAYS},
    {"payment:after-charge", PAYS},
    {"order:after-charge", PAYS},
    {"order:before-commit", PAYS},
    {"inventory:before-commit-stock", PAYS},
    {"inventory:after-commit-stock", PAYS},
    {"order:after-commit", PAYS},
    {"order:before-finish", PAYS},
    {"order:after-finish", PAYS},

    {"order:before-reserve", SOLD_OUT},
    {"order:after-reserve", SOLD_OUT},
    {"order:before-finish", SOLD_OUT},

    {"order:after-charge", POOR},
    {"order:before-undo-reserve", POOR},
    {"inventory:before-release-stock", POOR},
    {"inventory:after-release-stock", POOR},
    {"order:after-undo-reserve", POOR},
    {"order:before-finish", POOR},
    {"order:after-finish", POOR},

    {"order:after-commit", BREAKS},
    {"order:before-undo-charge", BREAKS},
    {"payment:before-refund", BREAKS},
    {"payment:after-refund", BREAKS},
    {"order:after-undo-charge", BREAKS},
    {"order:before-undo-reserve", BREAKS},
    {"inventory:after-release-stock", BREAKS},
    {"order:after-undo-reserve", BREAKS},
    {"order:before-finish", BREAKS},

    {"order:before-refund", CANCELS},
    {"payment:before-refund", CANCELS},
    {"payment:after-refund", CANCELS},
    {"order:after-refund", CANCELS},
    {"order:before-return", CANCELS},
    {"inventory:before-return-stock", CANCELS},
    {"inventory:after-return-stock", CANCELS},
    {"order:after-return", CANCELS},
    {"order:before-finish", CANCELS},
};
#define SCENARIOS (sizeof scenarios / sizeof scenarios[0])

static shop_mesh mesh = {.lease = "900ms"};
static char rich[64], poor[64]; /* customers */
static int passed, failed;

static bool check(bool good, const char *where, const char *what, const char *got) {
    if (good) {
        passed++;
    } else {
        failed++;
        fprintf(stderr, "FAIL %s: wanted %s, got %s\n", where, what, got);
    }
    return good;
}

static weft_ctx *fresh(int seconds) {
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(seconds));
    if (!ctx) exit(1);
    weft_ctx_wait_for_ready(ctx, true);
    return ctx;
}

/* ---- customers */

static void make_customer(const char *name, int64_t cents, char *id) {
    weft_ctx *ctx = fresh(10);
    char email[64];
    (void)snprintf(email, sizeof email, "%s@example.org", name);
    const User__CreateUserRequest who = {USER_CREATE_USER_REQUEST(.email = email,
                                                                  .display_name = (char *)name,
                                                                  .idempotency_key = (char *)name)};
    User__CreateUserResponse *made = NULL;
    weft_status st = user_create_user(mesh.to[SHOP_USER], ctx, &who, &made);
    check(!weft_failed(st), name, "a customer", weft_status_message(st));
    if (!weft_failed(st)) {
        (void)snprintf(id, 64, "%s", made->user->user_id);
        Shop__Money purse = {SHOP_MONEY(.minor_units = cents, .currency_code = (char *)"EUR")};
        const Payment__TopUpRequest fill = {
            PAYMENT_TOP_UP_REQUEST(.user_id = id, .amount = &purse,
                                   .idempotency_key = (char *)name)};
        Payment__TopUpResponse *filled = NULL;
        st = payment_top_up(mesh.to[SHOP_PAYMENT], ctx, &fill, &filled);
        check(!weft_failed(st), name, "a wallet", weft_status_message(st));
    }
    weft_ctx_free(ctx);
}

/* ---- orders */

/* Two lines, so that "all or nothing" is something; one of them is too many for SOLD_OUT. */
static Order__PlaceOrderRequest *place_request(weft_ctx *ctx, enum kind kind, const char *key) {
    Order__PlaceOrderRequest *request = order_place_order_request_new(ctx);
    request->user_id = kind == POOR ? poor : rich;
    request->idempotency_key = (char *)key;
    request->lines = weft_array(ctx, 2, sizeof *request->lines);
    request->n_lines = 2;
    static const char *const products[] = {"dark-chocolate-72-100-g", "gel-pen-0-5-mm-3-pcs"};
    for (size_t i = 0; i < 2; i++) {
        request->lines[i] = order_place_order_line_new(ctx);
        request->lines[i]->product_id = (char *)products[i];
        request->lines[i]->quantity = kind == SOLD_OUT && i == 1 ? 1000 : 1 + (int32_t)i;
    }
    return request;
}

/* Repeats the call, as a client that heard nothing does, until the order is decided. */
static Order__Order *insist(weft_ctx *ctx, enum kind kind, const char *key, const char *cancel_id) {
    const char *said = "";
    /* A service that is down answers at once through its caller, and nothing tells when it is back. */
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    for (int tries = 0; tries < 1500; tries++) {
        if (tries) (void)nanosleep(&pause, NULL);
        Order__PlaceOrderResponse *placed = NULL;
        Order__CancelOrderResponse *cancelled = NULL;
        weft_status st;
        if (cancel_id) {
            const Order__CancelOrderRequest request = {
                ORDER_CANCEL_ORDER_REQUEST(.order_id = (char *)cancel_id,
                                           .idempotency_key = (char *)key)};
            st = order_cancel_order(mesh.to[SHOP_ORDER], ctx, &request, &cancelled);
        } else {
            st =
                order_place_order(mesh.to[SHOP_ORDER], ctx, place_request(ctx, kind, key), &placed);
        }
        Order__Order *order = placed ? placed->order : cancelled ? cancelled->order : NULL;
        if (!weft_failed(st) &&
            (order->state == CONFIRMED || order->state == FAILED || order->state == CANCELLED))
            return order;
        said = weft_status_message(st);
        if (weft_ctx_cancelled(ctx)) break;
    }
    fprintf(stderr, "order with key %s was not decided: %s\n", key, said);
    return NULL;
}

static bool audit(const char *where, bool settled) {
    char log[256], what[64];
    proc p;
    (void)snprintf(log, sizeof log, "%s/audit.log", mesh.dir);
    (void)remove(log);
    (void)snprintf(what, sizeof what, "the auditor agrees %s",
                   settled ? "at the end" : "while it is dead");
    const char *argv[] = {proc_program("weft-shop-audit"), "--dir", mesh.dir, "--show=0",
                          settled ? "--settled" : NULL,    NULL};
    const bool agrees = proc_start(&p, "audit", argv, NULL, log) && proc_wait(&p, 30) == 0;
    if (!agrees) proc_show_log(&p);
    return check(agrees, where, what, "contradictions");
}

/* ---- one scenario */

static int service_of(const char *point) {
    for (int i = 0; i < SHOP_SERVICES; i++)
        if (!strncmp(shop_names[i], point, strlen(shop_names[i]))) return i;
    return -1;
}

static bool restart(int service, const char *crash, const char *fail) {
    (void)proc_end(&mesh.services[service], SIGTERM);
    return shop_mesh_start(&mesh, service, crash, fail);
}

/* The call that is interrupted runs beside us: it may well survive the death of another service. */
static void interrupt(weft_ctx *ctx, const struct scenario *s, const char *where, const char *key,
                      const char *cancel_id) {
    const int victim = service_of(s->point);
    Order__PlaceOrderResponse *placed = NULL;
    Order__CancelOrderResponse *cancelled = NULL;
    weft_group *group = weft_group_new(ctx);
    const Order__CancelOrderRequest cancel = {
        ORDER_CANCEL_ORDER_REQUEST(.order_id = (char *)cancel_id, .idempotency_key = (char *)key)};
    if (cancel_id)
        (void)order_cancel_order_start(mesh.to[SHOP_ORDER], group, &cancel, &cancelled);
    else
        (void)order_place_order_start(mesh.to[SHOP_ORDER], group, place_request(ctx, s->kind, key),
                                      &placed);
    const int status = proc_wait(&mesh.services[victim], 30);
    char got[32];
    (void)snprintf(got, sizeof got, "status 0x%x", (unsigned)status);
    if (check(status != -1 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, where,
              "the service dies at the point", got))
        (void)audit(where, false);
    else
        (void)proc_end(&mesh.services[victim], SIGKILL);
    check(shop_mesh_start(&mesh, victim, NULL, NULL), where, "a restart", "none");
    (void)weft_group_wait(group);
}

static void run(const struct scenario *s, size_t number) {
    const int victim = service_of(s->point);
    const char *fail = s->kind == BREAKS ? "inventory:before-commit-stock" : NULL;
    char where[96], key[32], first_key[32], cancel_id[64] = "";
    (void)snprintf(where, sizeof where, "%s, customer %s", s->point, kind_names[s->kind]);
    (void)snprintf(key, sizeof key, "crash-%zu", number);
    (void)snprintf(first_key, sizeof first_key, "crash-%zu-first", number);
    weft_ctx *ctx = fresh(60);
    if (s->kind == CANCELS) {
        const Order__Order *order = insist(ctx, PAYS, first_key, NULL);
        if (check(order && order->state == CONFIRMED, where, "an order to cancel", "none"))
            (void)snprintf(cancel_id, sizeof cancel_id, "%s", order->order_id);
    }
    const char *which = s->kind == CANCELS ? cancel_id : NULL;
    if (fail && victim != SHOP_INVENTORY) (void)restart(SHOP_INVENTORY, NULL, fail);
    (void)restart(victim, s->point, victim == SHOP_INVENTORY ? fail : NULL);
    interrupt(ctx, s, where, key, which);
    Order__Order *order = insist(ctx, s->kind, key, which);
    if (check(order != NULL, where, "a decided order", "none")) {
        check(order->state == ends[s->kind], where, order_order_state_name(ends[s->kind]),
              order_order_state_name(order->state));
        const Order__Order *again = insist(ctx, s->kind, key, which);
        check(again && !strcmp(again->order_id, order->order_id) && again->state == order->state,
              where, "the same answer again", again ? again->order_id : "none");
    }
    if (fail) (void)restart(SHOP_INVENTORY, NULL, NULL);
    (void)audit(where, true);
    weft_ctx_free(ctx);
}

/* ---- away */

/* Payment is away when the order is placed: the answer is PENDING, long before the deadline, and the
 * order goes on by itself when payment is back. Whoever tracks it sees that. */
static void test_away(void) {
    static const char where[] = "payment is away";
    check(proc_end(&mesh.services[SHOP_PAYMENT], SIGTERM) == 0, where, "a drain", "another end");
    weft_ctx *ctx = fresh(30), *track = fresh(120);
    Order__PlaceOrderResponse *reply = NULL;
    const weft_status st =
        order_place_order(mesh.to[SHOP_ORDER], ctx, place_request(ctx, PAYS, "away"), &reply);
    if (check(!weft_failed(st) && reply->order->state == ORDER__ORDER_STATE__ORDER_STATE_PENDING,
              where, "a pending order", weft_status_message(st))) {
        const Order__TrackOrderRequest what = {
            ORDER_TRACK_ORDER_REQUEST(.order_id = reply->order->order_id)};
        order_track_order_stream *events = order_track_order(mesh.to[SHOP_ORDER], track, &what);
        Order__TrackOrderResponse *event = NULL;
        char last[64] = "";
        while (strcmp(last, "reserve: done") != 0 && order_track_order_next(events, &event))
            (void)snprintf(last, sizeof last, "%s", event->what);
        check(!strcmp(last, "reserve: done"), where, "an event that goods are reserved", last);
        (void)audit(where, false);
        check(shop_mesh_start(&mesh, SHOP_PAYMENT, NULL, NULL), where, "a restart", "none");
        while (order_track_order_next(events, &event))
            (void)snprintf(last, sizeof last, "%s", event->what);
        check(!weft_failed(order_track_order_end(events)) && !strcmp(last, "confirmed"), where,
              "a confirmed order", last);
    }
    (void)audit(where, true);
    weft_ctx_free(ctx);
    weft_ctx_free(track);
}

/* ---- all at once */

#define CROWD 20

static void kill_in_turn(void) {
    static const int turn[] = {SHOP_PAYMENT, SHOP_INVENTORY, SHOP_ORDER, SHOP_PRODUCT, SHOP_USER};
    weft_ctx *ctx = fresh(120);
    weft_group *group = weft_group_new(ctx);
    Order__PlaceOrderResponse *replies[CROWD] = {NULL};
    char keys[CROWD][32];
    weft_group_keep_going(group);
    for (size_t i = 0; i < CROWD; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "crowd-%zu", i);
        (void)order_place_order_start(mesh.to[SHOP_ORDER], group,
                                      place_request(ctx, i % 5 == 4 ? POOR : PAYS, keys[i]),
                                      &replies[i]);
        if (i % 4 != 3) continue;
        proc *victim = &mesh.services[turn[i / 4]];
        const int status = proc_end(victim, SIGKILL);
        check(WIFSIGNALED(status), victim->name, "its end by SIGKILL", "another");
        check(shop_mesh_start(&mesh, turn[i / 4], NULL, NULL), victim->name, "a restart", "none");
    }
    (void)weft_group_wait(group);
    for (size_t i = 0; i < CROWD; i++) {
        const enum kind kind = i % 5 == 4 ? POOR : PAYS;
        const Order__Order *order = insist(ctx, kind, keys[i], NULL);
        check(order && order->state == ends[kind], keys[i], order_order_state_name(ends[kind]),
              order ? order_order_state_name(order->state) : "none");
    }
    (void)audit("a crowd while every service is killed", true);
    weft_ctx_free(ctx);
}

/* Every point of the table is in a scenario. */
static void check_points(void) {
    for (size_t i = 0; shop_fault_name(i); i++) {
        bool used = false;
        for (size_t k = 0; k < SCENARIOS; k++)
            used = used || !strcmp(scenarios[k].point, shop_fault_name(i));
        check(used, shop_fault_name(i), "a scenario", "none");
    }
}

int main(void) {
    check_points();
    if (check(shop_mesh_open(&mesh), "shop", "five services", "fewer")) {
        make_customer("rich", 100000000, rich);
        make_customer("poor", 100, poor);
        for (size_t i = 0; i < SCENARIOS; i++) run(&scenarios[i], i);
        test_away();
        kill_in_turn();
        check(shop_mesh_stop(&mesh), "shop", "every service drains and exits 0", "see above");
    }
    shop_mesh_close(&mesh, failed > 0);
    printf("%d passed, %d failed\n", passed, failed);
    return failed ? 1 : 0;
}
