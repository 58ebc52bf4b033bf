/* weft-shop-audit: reads the five databases of the shop and checks that goods, money and orders
 * agree.
 *
 * It trusts nothing but ledgers: every total a service keeps is compared with the sum of what it
 * is the total of, and what one service wrote with what the others wrote about the same order.
 * Each contradiction is a sentence. The databases are opened one after another, so audit a shop
 * at rest: an order in progress is not a contradiction (--settled makes it one), but money that
 * moves between two looks would be. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "services/shop/shop.h"
#include "weft/flags.h"
#include "weft/map.h"
#include "weft/mem.h"

/* Values of the contracts' enums, as the databases hold them. */
enum { PENDING = 1, CONFIRMED, FAILED, CANCELLING, CANCELLED };
enum { OPEN = 1, COMMITTED, RELEASED, RETURNED };
enum { TOP_UP = 1, CHARGE, REFUND };
enum { INITIAL = 1, RESTOCK, COMMIT, RETURN };
static const char *const order_states[] = {"?",      "pending",    "confirmed",
                                           "failed", "cancelling", "cancelled"};
static const char *const reservation_states[] = {"?", "open", "committed", "released", "returned"};

/* ---- what was found */

#define PROBLEMS_KEPT 200

struct check {
    const char *what; /* the rule, as a sentence */
    size_t compared, broken;
};

enum {
    C_LINES,
    C_CUSTOMER,
    C_PRICE,
    C_PAID,
    C_RESERVED,
    C_NOT_CHARGED,
    C_NOT_HELD,
    C_ORPHANS,
    C_WALLET,
    C_ENTRIES,
    C_SUMS,
    C_STOCK,
    C_OPEN,
    C_SAGA,
    CHECKS
};

static struct check checks[CHECKS] = {
    [C_LINES] = {.what = "an order's total is the sum of its lines"},
    [C_CUSTOMER] = {.what = "an order's customer exists"},
    [C_PRICE] = {.what = "a line's price is one the product had"},
    [C_PAID] = {.what = "a confirmed order is paid in full, once, by its customer"},
    [C_RESERVED] = {.what = "a confirmed order's goods, all of them, left the stock"},
    [C_NOT_CHARGED] = {.what = "nothing stays charged for a failed or cancelled order"},
    [C_NOT_HELD] = {.what = "nothing stays reserved or taken for a failed or cancelled order"},
    [C_ORPHANS] = {.what = "every payment and reservation belongs to an order"},
    [C_WALLET] = {.what = "a wallet's balance is top-ups - charges + refunds, at every entry"},
    [C_ENTRIES] = {.what = "a payment's amount and refunds are entries of the wallet"},
    [C_SUMS] = {.what = "a customer's captured payments are the totals of the confirmed orders"},
    [C_STOCK] = {.what = "stock on hand is initial + restocked - committed + returned"},
    [C_OPEN] = {.what = "reserved stock is the sum of open reservations, all of pending orders"},
    [C_SAGA] = {.what = "a decided order has no step left to do, and no saga is parked"},
};

struct order {
    const char *id, *user, *currency;
    int state;
    int64_t total, lines_total, created;
    weft_map lines; /* product → &quantity */
    struct payment *payment;
    struct reservation *reservation;
    bool unfinished; /* a saga of it has steps left */
};
struct payment {
    const char *id, *order, *user, *currency;
    int64_t amount, refunded;
    int64_t charged_entries, refund_entries;
};
struct reservation {
    const char *order;
    int state;
    weft_map lines;
};
struct wallet {
    const char *user, *currency;
    int64_t balance, topped, charged, refunded;
    int64_t running, captured, confirmed, in_progress;
    size_t orders;
};
struct stock {
    const char *product;
    int64_t on_hand, reserved, initial, restocked, committed, returned;
    int64_t open, taken, back; /* sums over reservations */
};

static struct {
    weft_arena *arena;
    weft_map users, /* to names */ orders, payments, reservations, wallets,
        stock; /* by id; wallets by user/currency */
    const char *problems[PROBLEMS_KEPT];
    size_t problem_count, states[6];
} books;

static void out_of_memory(void) {
    fputs("weft-shop-audit: out of memory\n", stderr);
    _exit(2);
}

static void *need(void *p) {
    if (!p) out_of_memory();
    return p;
}

static void *make(size_t size) { return need(weft_arena_calloc(books.arena, 1, size)); }
static const char *keep(const char *text) { return need(weft_arena_strdup(books.arena, text)); }

static void put(weft_map *map, const char *key, void *value) {
    if (weft_map_put(map, key, value)) out_of_memory();
}

__attribute__((format(printf, 3, 4))) static void expect(int which, bool good, const char *format,
                                                         ...) {
    checks[which].compared++;
    if (good) return;
    checks[which].broken++;
    va_list args;
    va_start(args, format);
    const char *text = need(weft_arena_vprintf(books.arena, format, args));
    va_end(args);
    if (books.problem_count < PROBLEMS_KEPT) books.problems[books.problem_count] = text;
    books.problem_count++;
}

static const char *money(int64_t units, const char *currency) {
    const int64_t size = units < 0 ? -units : units;
    return need(weft_arena_printf(books.arena, "%s%lld.%02lld %s", units < 0 ? "-" : "",
                                  (long long)(size / 100), (long long)(size % 100), currency));
}

static struct wallet *wallet_of(const char *user, const char *currency) {
    const char *key = need(weft_arena_printf(books.arena, "%s/%s", user, currency));
    struct wallet *w = weft_map_get(&books.wallets, key);
    if (w) return w;
    w = make(sizeof *w);
    w->user = keep(user);
    w->currency = keep(currency);
    put(&books.wallets, key, w);
    return w;
}

static struct stock *stock_of(const char *product) {
    struct stock *s = weft_map_get(&books.stock, product);
    if (s) return s;
    s = make(sizeof *s);
    s->product = keep(product);
    put(&books.stock, s->product, s);
    return s;
}

static void add_line(weft_map *lines, const char *product, int64_t quantity) {
    int64_t *kept = make(sizeof *kept);
    *kept = quantity;
    put(lines, product, kept);
}

/* ---- reading: one function a database; each reads all it needs in one transaction */

static void read_users(weft_tx *tx) {
    weft_stmt *row = weft_tx_query(tx, "SELECT user_id, display_name FROM user", "");
    while (weft_stmt_row(row))
        put(&books.users, weft_stmt_text(row, 0), (void *)keep(weft_stmt_text(row, 1)));
}

static void read_orders(weft_tx *tx) {
    weft_stmt *row = weft_tx_query(
        tx,
        "SELECT order_id, user_id, state, total, currency, created FROM orders ORDER BY order_id",
        "");
    while (weft_stmt_row(row)) {
        struct order *o = make(sizeof *o);
        o->id = keep(weft_stmt_text(row, 0));
        o->user = keep(weft_stmt_text(row, 1));
        o->state = (int)weft_stmt_int(row, 2);
        o->total = weft_stmt_int(row, 3);
        o->currency = keep(weft_stmt_text(row, 4));
        o->created = weft_stmt_int(row, 5);
        put(&books.orders, o->id, o);
        if (o->state >= 1 && o->state <= 5) books.states[o->state]++;
        expect(C_CUSTOMER, weft_map_get(&books.users, o->user),
               "order %s is of user %s, who does not exist", o->id, o->user);
    }
    row =
        weft_tx_query(tx, "SELECT order_id, product_id, quantity, unit_price FROM order_line", "");
    while (weft_stmt_row(row)) {
        struct order *o = weft_map_get(&books.orders, weft_stmt_text(row, 0));
        if (!o) continue;
        const int64_t quantity = weft_stmt_int(row, 2);
        add_line(&o->lines, weft_stmt_text(row, 1), quantity);
        o->lines_total += quantity * weft_stmt_int(row, 3);
    }
    row = weft_tx_query(tx,
                        "SELECT o.order_id, s.kind, s.parked FROM saga s JOIN orders o ON "
                        "o.order_id = s.subject WHERE s.state IN (1, 2)",
                        "");
    while (weft_stmt_row(row)) {
        struct order *o = weft_map_get(&books.orders, weft_stmt_text(row, 0));
        if (o) o->unfinished = true;
        expect(C_SAGA, !weft_stmt_int(row, 2),
               "the saga \"%s\" of order %s is parked: a person must look at it",
               weft_stmt_text(row, 1), weft_stmt_text(row, 0));
    }
}

/* Prices are in the product database, lines in the order database: ask for each line. */
static void read_prices(weft_tx *products, weft_tx *orders) {
    weft_stmt *line =
        weft_tx_query(orders,
                      "SELECT l.order_id, l.product_id, l.unit_price, o.currency, o.created "
                      "FROM order_line l JOIN orders o USING (order_id)",
                      "");
    while (weft_stmt_row(line)) {
        weft_stmt *price =
            weft_tx_query(products,
                          "SELECT 1 FROM price WHERE product_id = ? AND price = ? AND "
                          "currency = ? AND since <= ?",
                          "slsl", weft_stmt_text(line, 1), weft_stmt_int(line, 2),
                          weft_stmt_text(line, 3), weft_stmt_int(line, 4));
        expect(C_PRICE, weft_stmt_row(price), "order %s has product %s at %s, which it never cost",
               weft_stmt_text(line, 0), weft_stmt_text(line, 1),
               money(weft_stmt_int(line, 2), weft_stmt_text(line, 3)));
    }
}

static void read_payments(weft_tx *tx) {
    weft_stmt *row = weft_tx_query(
        tx, "SELECT payment_id, order_id, user_id, amount, refunded, currency FROM payment", "");
    while (weft_stmt_row(row)) {
        struct payment *p = make(sizeof *p);
        p->id = keep(weft_stmt_text(row, 0));
        p->order = keep(weft_stmt_text(row, 1));
        p->user = keep(weft_stmt_text(row, 2));
        p->amount = weft_stmt_int(row, 3);
        p->refunded = weft_stmt_int(row, 4);
        p->currency = keep(weft_stmt_text(row, 5));
        put(&books.payments, p->id, p);
    }
    row = weft_tx_query(tx, "SELECT user_id, currency, balance FROM wallet", "");
    while (weft_stmt_row(row))
        wallet_of(weft_stmt_text(row, 0), weft_stmt_text(row, 1))->balance = weft_stmt_int(row, 2);
    row = weft_tx_query(
        tx,
        "SELECT user_id, currency, kind, amount, balance_after, payment_id, entry FROM "
        "wallet_entry ORDER BY entry",
        "");
    while (weft_stmt_row(row)) {
        struct wallet *w = wallet_of(weft_stmt_text(row, 0), weft_stmt_text(row, 1));
        struct payment *p = weft_map_get(&books.payments, weft_stmt_text(row, 5));
        const int kind = (int)weft_stmt_int(row, 2);
        const int64_t amount = weft_stmt_int(row, 3);
        w->running += amount;
        if (kind == TOP_UP) w->topped += amount;
        if (kind == CHARGE) w->charged -= amount;
        if (kind == REFUND) w->refunded += amount;
        if (p && kind == CHARGE) p->charged_entries -= amount;
        if (p && kind == REFUND) p->refund_entries += amount;
        expect(C_WALLET, w->running == weft_stmt_int(row, 4) && w->running >= 0,
               "entry %lld of the wallet of user %s says %s, the entries so far sum to %s",
               (long long)weft_stmt_int(row, 6), w->user, money(weft_stmt_int(row, 4), w->currency),
               money(w->running, w->currency));
    }
}

static void read_inventory(weft_tx *tx) {
    weft_stmt *row = weft_tx_query(tx, "SELECT product_id, on_hand, reserved FROM stock", "");
    while (weft_stmt_row(row)) {
        struct stock *s = stock_of(weft_stmt_text(row, 0));
        s->on_hand = weft_stmt_int(row, 1);
        s->reserved = weft_stmt_int(row, 2);
    }
    row = weft_tx_query(
        tx, "SELECT product_id, kind, sum(quantity) FROM stock_ledger GROUP BY 1, 2", "");
    while (weft_stmt_row(row)) {
        struct stock *s = stock_of(weft_stmt_text(row, 0));
        const int64_t sum = weft_stmt_int(row, 2);
        switch (weft_stmt_int(row, 1)) {
        case INITIAL:
            s->initial = sum;
            break;
        case RESTOCK:
            s->restocked = sum;
            break;
        case COMMIT:
            s->committed = -sum;
            break;
        case RETURN:
            s->returned = sum;
            break;
        default:
            break;
        }
    }
    row = weft_tx_query(tx, "SELECT order_id, state FROM reservation", "");
    while (weft_stmt_row(row)) {
        struct reservation *r = make(sizeof *r);
        r->order = keep(weft_stmt_text(row, 0));
        r->state = (int)weft_stmt_int(row, 1);
        put(&books.reservations, r->order, r);
    }
    row = weft_tx_query(tx, "SELECT order_id, product_id, quantity FROM reservation_line", "");
    while (weft_stmt_row(row)) {
        struct reservation *r = weft_map_get(&books.reservations, weft_stmt_text(row, 0));
        struct stock *s = stock_of(weft_stmt_text(row, 1));
        const int64_t quantity = weft_stmt_int(row, 2);
        if (!r) continue;
        add_line(&r->lines, s->product, quantity);
        if (r->state == OPEN) s->open += quantity;
        if (r->state == COMMITTED || r->state == RETURNED) s->taken += quantity;
        if (r->state == RETURNED) s->back += quantity;
    }
}

/* ---- comparing */

static void join(void) {
    size_t at = 0;
    void *value;
    while (weft_map_next(&books.payments, &at, NULL, NULL, &value)) {
        struct payment *p = value;
        struct order *o = weft_map_get(&books.orders, p->order);
        expect(C_ORPHANS, o, "payment %s of %s is for order %s, which does not exist", p->id,
               money(p->amount, p->currency), p->order);
        if (o) o->payment = p;
        expect(C_ENTRIES, p->charged_entries == p->amount && p->refund_entries == p->refunded,
               "payment %s is %s less %s refunded; its wallet entries are %s less %s", p->id,
               money(p->amount, p->currency), money(p->refunded, p->currency),
               money(p->charged_entries, p->currency), money(p->refund_entries, p->currency));
    }
    at = 0;
    while (weft_map_next(&books.reservations, &at, NULL, NULL, &value)) {
        struct reservation *r = value;
        struct order *o = weft_map_get(&books.orders, r->order);
        expect(C_ORPHANS, o, "a reservation is for order %s, which does not exist", r->order);
        if (o) o->reservation = r;
        if (r->state == OPEN)
            expect(C_OPEN, o && o->state == PENDING,
                   "the reservation of order %s is open, but the order is %s", r->order,
                   o ? order_states[o->state] : "unknown");
    }
}

static bool same_lines(const weft_map *a, const weft_map *b) {
    size_t at = 0;
    const char *key;
    void *value;
    if (weft_map_count(a) != weft_map_count(b)) return false;
    while (weft_map_next(a, &at, &key, NULL, &value)) {
        const int64_t *mine = value, *other = weft_map_get(b, key);
        if (!other || *mine != *other) return false;
    }
    return true;
}

static void compare_order(const struct order *o) {
    const struct payment *p = o->payment;
    const struct reservation *r = o->reservation;
    struct wallet *w = wallet_of(o->user, o->currency);
    const int64_t captured = p ? p->amount - p->refunded : 0;
    w->orders++;
    expect(C_LINES, o->total == o->lines_total, "order %s has a total of %s, its lines sum to %s",
           o->id, money(o->total, o->currency), money(o->lines_total, o->currency));
    expect(C_SAGA, !o->unfinished || o->state == PENDING || o->state == CANCELLING,
           "order %s is %s, but a saga of it has steps left to do", o->id, order_states[o->state]);
    if (o->state == CONFIRMED) {
        w->confirmed += o->total;
        expect(C_PAID,
               p && !strcmp(p->user, o->user) && !strcmp(p->currency, o->currency) &&
                   captured == o->total,
               "order %s is confirmed at %s, but %s is captured for it", o->id,
               money(o->total, o->currency), p ? money(captured, p->currency) : "nothing");
        expect(C_RESERVED, r && r->state == COMMITTED && same_lines(&o->lines, &r->lines),
               "order %s is confirmed, but its reservation %s", o->id,
               !r                      ? "does not exist"
               : r->state != COMMITTED ? reservation_states[r->state]
                                       : "has other lines");
    } else if (o->state == FAILED || o->state == CANCELLED) {
        expect(C_NOT_CHARGED, captured == 0, "order %s is %s, but %s stays charged for it", o->id,
               order_states[o->state], money(captured, o->currency));
        expect(C_NOT_HELD, !r || r->state == RELEASED || r->state == RETURNED,
               "order %s is %s, but its reservation is %s", o->id, order_states[o->state],
               r ? reservation_states[r->state] : "");
    } else {
        w->in_progress += captured;
    }
    if (p) wallet_of(p->user, p->currency)->captured += captured;
}

static void compare(void) {
    size_t at = 0;
    void *value;
    join();
    while (weft_map_next(&books.orders, &at, NULL, NULL, &value)) compare_order(value);
    at = 0;
    while (weft_map_next(&books.wallets, &at, NULL, NULL, &value)) {
        const struct wallet *w = value;
        expect(C_WALLET, w->balance == w->running,
               "the wallet of user %s holds %s, its entries sum to %s", w->user,
               money(w->balance, w->currency), money(w->running, w->currency));
        expect(C_SUMS, w->captured == w->confirmed + w->in_progress,
               "user %s has %s captured, but confirmed orders of %s (and %s of orders in progress)",
               w->user, money(w->captured, w->currency), money(w->confirmed, w->currency),
               money(w->in_progress, w->currency));
    }
    at = 0;
    while (weft_map_next(&books.stock, &at, NULL, NULL, &value)) {
        const struct stock *s = value;
        const int64_t sum = s->initial + s->restocked - s->committed + s->returned;
        expect(C_STOCK, s->on_hand == sum && s->committed == s->taken && s->returned == s->back,
               "product %s: %lld on hand; %lld initial + %lld restocked - %lld committed + %lld "
               "returned is %lld; reservations took %lld and gave back %lld",
               s->product, (long long)s->on_hand, (long long)s->initial, (long long)s->restocked,
               (long long)s->committed, (long long)s->returned, (long long)sum, (long long)s->taken,
               (long long)s->back);
        expect(C_OPEN, s->reserved == s->open,
               "product %s: %lld reserved, open reservations sum to %lld", s->product,
               (long long)s->reserved, (long long)s->open);
    }
}

/* ---- output */

static void print_customers(size_t show) {
    size_t at = 0, printed = 0;
    void *value;
    printf("\n%-24s %6s %14s %14s %14s %14s %16s\n", "customer", "orders", "topped up", "- charged",
           "+ refunded", "= balance", "confirmed orders");
    while (weft_map_next(&books.wallets, &at, NULL, NULL, &value)) {
        const struct wallet *w = value;
        const char *name = weft_map_get(&books.users, w->user);
        if (printed++ >= show) continue;
        printf("%-24.24s %6zu %14s %14s %14s %14s %16s\n", name ? name : w->user, w->orders,
               money(w->topped, w->currency), money(w->charged, w->currency),
               money(w->refunded, w->currency), money(w->balance, w->currency),
               money(w->confirmed, w->currency));
    }
    if (printed > show) printf("… and %zu more\n", printed - show);
}

static void print_stock(size_t show) {
    size_t at = 0, printed = 0;
    void *value;
    printf("\n%-42s %8s %10s %10s %9s %9s %9s\n", "product (that moved)", "initial", "+ restock",
           "- commit", "+ return", "= on hand", "reserved");
    while (weft_map_next(&books.stock, &at, NULL, NULL, &value)) {
        const struct stock *s = value;
        if (!s->restocked && !s->committed && !s->returned && !s->reserved) continue;
        if (printed++ >= show) continue;
        printf("%-42s %8lld %10lld %10lld %9lld %9lld %9lld\n", s->product, (long long)s->initial,
               (long long)s->restocked, (long long)s->committed, (long long)s->returned,
               (long long)s->on_hand, (long long)s->reserved);
    }
    if (printed > show) printf("… and %zu more\n", printed - show);
}

static void print_table(size_t show) {
    printf("orders: %zu confirmed, %zu failed, %zu cancelled, %zu in progress\n",
           books.states[CONFIRMED], books.states[FAILED], books.states[CANCELLED],
           books.states[PENDING] + books.states[CANCELLING]);
    if (show > 0) {
        print_customers(show);
        print_stock(show);
    }
    printf("\n%-72s %9s\n", "rule", "compared");
    for (int i = 0; i < CHECKS; i++)
        printf("%-72s %9zu  %s\n", checks[i].what, checks[i].compared,
               checks[i].broken ? "BROKEN" : "ok");
    puts("");
}

static void print_verdict(void) {
    for (size_t i = 0; i < books.problem_count && i < PROBLEMS_KEPT; i++)
        printf("contradiction: %s\n", books.problems[i]);
    if (books.problem_count)
        printf("the books do not agree: %zu contradictions\n", books.problem_count);
    else
        puts("the books agree");
}

static void print_json(void) {
    weft_buf out;
    weft_buf_init(&out, 0);
    weft_buf_printf(&out, "{\"agrees\":%s,\"orders\":{", books.problem_count ? "false" : "true");
    for (int i = PENDING; i <= CANCELLED; i++)
        weft_buf_printf(&out, "%s\"%s\":%zu", i > 1 ? "," : "", order_states[i], books.states[i]);
    weft_buf_adds(&out, "},\"rules\":[");
    for (int i = 0; i < CHECKS; i++)
        weft_buf_printf(&out, "%s{\"rule\":\"%s\",\"compared\":%zu,\"broken\":%zu}", i ? "," : "",
                        checks[i].what, checks[i].compared, checks[i].broken);
    weft_buf_adds(&out, "],\"contradictions\":[");
    for (size_t i = 0; i < books.problem_count && i < PROBLEMS_KEPT; i++) {
        weft_buf_adds(&out, i ? ",\"" : "\"");
        weft_buf_add_json(&out, books.problems[i], strlen(books.problems[i]));
        weft_buf_addc(&out, '"');
    }
    weft_buf_adds(&out, "]}");
    puts(weft_buf_str(&out));
    weft_buf_free(&out);
}

/* ---- opening */

/* DIR/order.db, or DIR/order/order.db as `weft up` lays them out. */
static bool open_books(const char *dir, const shop_info *info, weft_db **db, weft_tx **tx) {
    const char *path = need(weft_arena_printf(books.arena, "%s/%s.db", dir, info->name));
    if (access(path, F_OK) != 0)
        path = need(weft_arena_printf(books.arena, "%s/%s/%s.db", dir, info->name, info->name));
    const weft_db_options options = {.size = sizeof options,
                                     .migrations = info->migrations,
                                     .migration_count = info->migration_count,
                                     .read_only = true};
    char *why = NULL;
    int error = weft_db_open(path, &options, db, &why);
    if (!error) error = weft_tx_begin(*db, WEFT_READ, tx);
    if (!error) return true;
    fprintf(stderr, "weft-shop-audit: %s\n", why ? why : weft_store_message());
    weft_free(why);
    return false;
}

enum { USER, ORDER, PRODUCT, PAYMENT, INVENTORY, BOOKS };

static int audit(const char *dir) {
    static const shop_info *const infos[BOOKS] = {&shop_user, &shop_order, &shop_product,
                                                  &shop_payment, &shop_inventory};
    weft_db *db[BOOKS] = {NULL};
    weft_tx *tx[BOOKS] = {NULL};
    int code = 0;
    for (int i = 0; i < BOOKS && code == 0; i++)
        if (!open_books(dir, infos[i], &db[i], &tx[i])) code = 2;
    if (code == 0) {
        read_users(tx[USER]);
        read_orders(tx[ORDER]);
        read_prices(tx[PRODUCT], tx[ORDER]);
        read_payments(tx[PAYMENT]);
        read_inventory(tx[INVENTORY]);
    }
    for (int i = 0; i < BOOKS; i++) {
        if (tx[i] && weft_tx_error(tx[i])) {
            fprintf(stderr, "weft-shop-audit: %s: %s\n", infos[i]->name, weft_tx_message(tx[i]));
            code = 2;
        }
        weft_tx_rollback(tx[i]);
        if (db[i]) weft_db_close(db[i]);
    }
    if (code == 0) compare();
    return code;
}

int main(int argc, char **argv) {
    static const char *const formats[] = {"table", "json", NULL};
    const char *dir = ".";
    int format = 0;
    bool settled = false;
    int64_t show = 10;
    const weft_flag table[] = {
        {.name = "dir",
         .letter = 'd',
         .type = WEFT_FLAG_STRING,
         .to.string = &dir,
         .initial = ".",
         .value = "DIR",
         .help = "Where the databases are: DIR/order.db or DIR/order/order.db, and so on."},
        {.name = "output",
         .letter = 'o',
         .type = WEFT_FLAG_ENUM,
         .to.choice = &format,
         .choices = formats,
         .initial = "table",
         .help = "How to print."},
        {.name = "settled",
         .type = WEFT_FLAG_BOOL,
         .to.boolean = &settled,
         .help = "An order in progress is a contradiction, too."},
        {.name = "show",
         .type = WEFT_FLAG_INT,
         .to.integer = &show,
         .initial = "10",
         .min = "0",
         .help = "How many rows to print of the tables of customers and products; 0: no tables."},
    };
    weft_flags flags = {
        .program = "weft-shop-audit",
        .about = "Reads the databases of the shop and checks that goods, money and orders agree. "
                 "Exit code: 0 they agree, 1 they do not, 2 it could not be found out.",
        .table = table,
        .count = WEFT_COUNT(table)};
    books.arena = need(weft_arena_new(0));
    weft_diags diags;
    weft_diags_init(&diags, books.arena, 0);
    if (weft_flags_load(&flags, books.arena, argc, (const char *const *)argv, &diags) ||
        flags.args_count) {
        weft_diags_print(&diags, stderr);
        if (flags.args_count) fprintf(stderr, "weft-shop-audit: takes flags only; see --help\n");
        return 2;
    }
    if (flags.help) {
        weft_buf help;
        weft_buf_init(&help, 0);
        (void)weft_flags_help(&flags, &help);
        fputs(weft_buf_str(&help), stdout);
        weft_buf_free(&help);
        return 0;
    }
    const int code = audit(dir);
    if (code) return code;
    if (settled)
        expect(C_SAGA, books.states[PENDING] + books.states[CANCELLING] == 0,
               "%zu orders are in progress", books.states[PENDING] + books.states[CANCELLING]);
    if (format == 1)
        print_json();
    else
        print_table((size_t)show);
    if (format == 0) print_verdict();
    return books.problem_count ? 1 : 0;
}
