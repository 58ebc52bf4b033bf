/* Every RPC of the shop against real processes: valid, missing, negative, overflow, unknown, the
 * key repeated with the same request and with another one. The right status, the right sentence,
 * and nothing changed: the rows of all five databases are compared before and after. The tables
 * are in tests/support/shop_cases.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shop/inventory/v1/inventory.weft.h"
#include "shop/order/v1/order.weft.h"
#include "shop/payment/v1/payment.weft.h"
#include "shop/product/v1/product.weft.h"
#include "shop/user/v1/user.weft.h"
#include "tests/support/shop.h"
#include "tests/support/shop_cases.h"
#include "weft/mem.h"

static shop_mesh mesh;
static weft_registry *registry;
static int passed, failed;

static void check(bool good, const char *method, const char *request, const char *what,
                  const char *got) {
    if (good) {
        passed++;
        return;
    }
    failed++;
    fprintf(stderr, "FAIL %s {%s}\n     wanted %s\n     got %.2000s\n", method, request, what, got);
}

/* ---- $names */

static struct { char name[16], value[64]; } variables[16];
static size_t variable_count;

static const char *value_of(const char *name, size_t len) {
    for (size_t i = 0; i < variable_count; i++)
        if (strlen(variables[i].name) == len && !strncmp(variables[i].name, name, len))
            return variables[i].value;
    fprintf(stderr, "no variable $%.*s\n", (int)len, name);
    exit(1);
}

static char *expand(weft_ctx *ctx, const char *text) {
    weft_buf out;
    weft_buf_init(&out, 0);
    while (*text) {
        const size_t plain = strcspn(text, "$");
        weft_buf_add(&out, text, plain);
        text += plain;
        if (*text != '$') break;
        const size_t len = strspn(text + 1, "abcdefghijklmnopqrstuvwxyz");
        weft_buf_adds(&out, value_of(text + 1, len));
        text += 1 + len;
    }
    char *copy = weft_strdup(ctx, weft_buf_str(&out));
    weft_buf_free(&out);
    return copy;
}

/* ---- a call by name, with JSON */

static const weft_service_info *const services[SHOP_SERVICES] = {
    [SHOP_USER] = &user_service__info,           [SHOP_PRODUCT] = &product_service__info,
    [SHOP_ORDER] = &order_service__info,         [SHOP_PAYMENT] = &payment_service__info,
    [SHOP_INVENTORY] = &inventory_service__info,
};

static const weft_method *find_method(const char *name, int *service) {
    const size_t len = strcspn(name, ".");
    for (*service = 0; *service < SHOP_SERVICES; ++*service) {
        if (strlen(shop_names[*service]) != len || strncmp(shop_names[*service], name, len) != 0)
            continue;
        const weft_service_info *info = services[*service];
        for (size_t i = 0; i < info->method_count; i++)
            if (!strcmp(info->methods[i]->name, name + len + 1)) return info->methods[i];
    }
    fprintf(stderr, "no method %s\n", name);
    exit(1);
}

typedef struct result {
    weft_status status;
    const char *json; /* of the reply; "" when it failed */
    uint8_t *bytes;
    size_t len;
} result;

/* `key` NULL: the method has none. */
static result call(weft_ctx *ctx, const char *name, const char *fields, const char *key) {
    int service;
    const weft_method *method = find_method(name, &service);
    fields = expand(ctx, fields);
    const char *text =
        key ? weft_printf(ctx, "{%s%s\"idempotency_key\":\"%s\"}", fields, *fields ? "," : "", key)
            : weft_printf(ctx, "{%s}", fields);
    weft_diags diags;
    weft_diags_init(&diags, weft_ctx_arena(ctx), 0);
    ProtobufCMessage *request = NULL, *reply = NULL;
    if (weft_json_decode(registry, weft_registry_type_of(registry, method->input), text,
                         strlen(text), NULL, weft_ctx_arena(ctx), &request, &diags)) {
        fprintf(stderr, "%s: bad JSON in the table: %s\n", name, text);
        weft_diags_print(&diags, stderr);
        exit(1);
    }
    result r = {.json = ""};
    r.status = weft_stub_call(mesh.to[service], ctx, method, request, &reply);
    if (weft_failed(r.status)) {
        r.json = weft_printf(ctx, "%s: %s", weft_code_name((int)r.status.code),
                             weft_status_message(r.status));
        return r;
    }
    weft_buf json;
    weft_buf_init(&json, 0);
    if (weft_json_encode(registry, reply, NULL, &json, &diags)) weft_diags_print(&diags, stderr);
    r.json = weft_strdup(ctx, weft_buf_str(&json));
    r.bytes = weft_pack(weft_ctx_arena(ctx), reply, &r.len);
    weft_buf_free(&json);
    return r;
}

static weft_ctx *fresh(void) {
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    if (!ctx) exit(1);
    return ctx;
}

/* ---- what is in the databases */

typedef struct picture {
    char *rows[SHOP_SERVICES];
} picture;

static picture take(bool with_keys) {
    picture p;
    for (int i = 0; i < SHOP_SERVICES; i++) p.rows[i] = shop_mesh_dump(&mesh, i, with_keys);
    return p;
}

/* Frees both. */
static bool same(picture a, picture b) {
    bool equal = true;
    for (int i = 0; i < SHOP_SERVICES; i++) {
        equal = equal && a.rows[i] && b.rows[i] && !strcmp(a.rows[i], b.rows[i]);
        free(a.rows[i]);
        free(b.rows[i]);
    }
    return equal;
}

/* ---- the tables */

static void expect_refusal(const char *method, const char *request, const char *key, int code,
                           const char *message, bool with_keys) {
    weft_ctx *ctx = fresh();
    const picture before = take(with_keys);
    const result r = call(ctx, method, request, key);
    const bool unchanged = same(before, take(with_keys));
    const char *want = weft_printf(ctx, "%s: %s", weft_code_name(code), message);
    check((int)r.status.code == code && strstr(weft_status_message(r.status), message), method,
          request, want, r.json);
    check(unchanged, method, request, "nothing changed", "a change");
    weft_ctx_free(ctx);
}

/* Reads "name=message.field" out of a reply. */
static void capture(const char *how, const ProtobufCMessageDescriptor *type, const result *r) {
    const char *equals = strchr(how, '='), *dot = strchr(how, '.');
    char part[32];
    ProtobufCMessage *reply = protobuf_c_message_unpack(type, NULL, r->len, r->bytes);
    (void)snprintf(part, sizeof part, "%.*s", (int)(dot - equals - 1), equals + 1);
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(type, part);
    const ProtobufCMessage *inner =
        *(ProtobufCMessage *const *)((const char *)reply + field->offset);
    field = protobuf_c_message_descriptor_get_field_by_name(inner->descriptor, dot + 1);
    const char *value = *(char *const *)((const char *)inner + field->offset);
    (void)snprintf(variables[variable_count].name, 16, "%.*s", (int)(equals - how), how);
    (void)snprintf(variables[variable_count].value, 64, "%s", value);
    variable_count++;
    protobuf_c_message_free_unpacked(reply, NULL);
}

static void run_change(const struct shop_change *c, size_t number) {
    char key[32], long_key[130];
    int service;
    const weft_method *method = find_method(c->method, &service);
    (void)snprintf(key, sizeof key, "change-%zu", number);
    memset(long_key, 'k', 129);
    long_key[129] = '\0';

    weft_ctx *ctx = fresh();
    picture before = take(false);
    const result first = call(ctx, c->method, c->request, key);
    const bool changed = !same(before, take(false));
    check(!weft_failed(first.status) && strstr(first.json, expand(ctx, c->want)), c->method,
          c->request, c->want, first.json);
    check(changed, c->method, c->request, "a change", "none");

    before = take(true);
    const result again = call(ctx, c->method, c->request, key);
    const bool unchanged = same(before, take(true));
    check(!weft_failed(again.status) && again.len == first.len && first.bytes && again.bytes &&
              !memcmp(again.bytes, first.bytes, first.len),
          c->method, c->request, "the same answer again", again.json);
    check(unchanged, c->method, c->request, "nothing changed by a repeat", "a change");
    if (c->capture && !weft_failed(first.status)) capture(c->capture, method->output, &first);
    weft_ctx_free(ctx);

    char taken[80];
    (void)snprintf(taken, sizeof taken, "idempotency_key: \"%s\" was used for another", key);
    expect_refusal(c->method, c->other, key, WEFT_ALREADY_EXISTS, taken, true);
    expect_refusal(c->method, c->request, "", WEFT_INVALID_ARGUMENT, "idempotency_key: is required",
                   true);
    expect_refusal(c->method, c->request, "a key", WEFT_INVALID_ARGUMENT,
                   "idempotency_key: must be at most 128", true);
    expect_refusal(c->method, c->request, long_key, WEFT_INVALID_ARGUMENT,
                   "idempotency_key: must be at most 128", true);
}

static void run_look(const struct shop_look *l) {
    weft_ctx *ctx = fresh();
    const picture before = take(true);
    const result r = call(ctx, l->method, l->request, NULL);
    const bool unchanged = same(before, take(true));
    const char *want = expand(ctx, l->want);
    check(!weft_failed(r.status) && strstr(r.json, want), l->method, l->request, want, r.json);
    check(unchanged, l->method, l->request, "nothing changed", "a change");
    weft_ctx_free(ctx);
}

/* A refused step of a saga is remembered under its key, so there the record of keys grows. */
static bool remembers(const struct shop_refusal *r) {
    const bool step =
        !strcmp(r->method, "inventory.ReserveStock") || !strcmp(r->method, "payment.Charge");
    return step && r->code != WEFT_INVALID_ARGUMENT;
}

static void run_refusal(const struct shop_refusal *r, size_t number) {
    int service;
    char key[32];
    (void)snprintf(key, sizeof key, "refusal-%zu", number);
    const weft_method *method = find_method(r->method, &service);
    const bool keyed =
        protobuf_c_message_descriptor_get_field_by_name(method->input, "idempotency_key") != NULL;
    expect_refusal(r->method, r->request, keyed ? key : NULL, r->code, r->message, !remembers(r));
    if (remembers(r)) expect_refusal(r->method, r->request, key, r->code, r->message, true);
}

/* ---- what does not fit a table */

/* A refused charge stays refused under its key when money came in, and succeeds under a new one. */
static void test_refusal_stays(void) {
    weft_ctx *ctx = fresh();
    static const char charge[] = "\"user_id\":\"$bob\",\"order_id\":\"o-late\",\"amount\":"
                                 "{\"minor_units\":150,\"currency_code\":\"EUR\"}";
    result r = call(ctx, "payment.Charge", charge, "late-1");
    check(r.status.code == WEFT_FAILED_PRECONDITION, "payment.Charge", "late", "a refusal", r.json);
    r = call(ctx, "payment.TopUp",
             "\"user_id\":\"$bob\",\"amount\":{\"minor_units\":100,\"currency_code\":\"EUR\"}",
             "late-2");
    check(!weft_failed(r.status), "payment.TopUp", "late", "OK", r.json);
    r = call(ctx, "payment.Charge", charge, "late-1");
    check(r.status.code == WEFT_FAILED_PRECONDITION && strstr(r.json, "holds 1.00 EUR"),
          "payment.Charge", "late", "the same refusal", r.json);
    r = call(ctx, "payment.Charge", charge, "late-3");
    check(!weft_failed(r.status), "payment.Charge", "late", "OK with a new key", r.json);
    weft_ctx_free(ctx);
}

/* 50 lines of 1,000 at a million euro pass the limit of a total; nothing overflows. */
static void test_total_limit(void) {
    weft_ctx *ctx = fresh();
    char request[8192] = "\"user_id\":\"$ann\",\"lines\":[";
    size_t len = strlen(request);
    for (int i = 0; i < 11; i++) {
        char fields[256], key[16];
        (void)snprintf(
            fields, sizeof fields,
            "\"product\":{\"product_id\":\"test-gold-%d\",\"name\":\"Gold\",\"category\":\"Gold\","
            "\"price\":{\"minor_units\":100000000,\"currency_code\":\"EUR\"}}",
            i);
        (void)snprintf(key, sizeof key, "gold-%d", i);
        const result made = call(ctx, "product.CreateProduct", fields, key);
        check(!weft_failed(made.status), "product.CreateProduct", fields, "OK", made.json);
        len += (size_t)snprintf(request + len, sizeof request - len,
                                "%s{\"product_id\":\"test-gold-%d\",\"quantity\":1000}",
                                i ? "," : "", i);
    }
    (void)snprintf(request + len, sizeof request - len, "]");
    expect_refusal("order.PlaceOrder", request, "gold", WEFT_OUT_OF_RANGE,
                   "the total passes the limit of 10000000000.00 EUR", true);
    weft_ctx_free(ctx);
}

/* Following next_page_token sees every item once. */
static void test_pages(void) {
    weft_ctx *ctx = fresh();
    Product__ListProductsRequest request = {PRODUCT_LIST_PRODUCTS_REQUEST(.page_size = 17)};
    char last[64] = "";
    size_t count = 0;
    bool ordered = true;
    do {
        Product__ListProductsResponse *reply = NULL;
        const weft_status st = product_list_products(mesh.to[SHOP_PRODUCT], ctx, &request, &reply);
        check(!weft_failed(st), "product.ListProducts", "page", "OK", weft_status_message(st));
        if (weft_failed(st)) break;
        for (size_t i = 0; i < reply->n_products; i++, count++) {
            ordered = ordered && strcmp(last, reply->products[i]->product_id) < 0;
            (void)snprintf(last, sizeof last, "%s", reply->products[i]->product_id);
        }
        request.page_token = reply->next_page_token;
    } while (request.page_token[0]);
    check(ordered && count == 216 + 3 + 11, "product.ListProducts", "pages",
          "230 products in order", last);
    request.category = (char *)"Tests";
    request.page_token = (char *)"";
    weft_ctx_free(ctx);

    ctx = fresh();
    const result first = call(ctx, "product.ListProducts", "\"page_size\":1", NULL);
    const char *token = strstr(first.json, "\"nextPageToken\":\"");
    char other[256];
    (void)snprintf(other, sizeof other, "\"category\":\"Tests\",\"page_token\":\"%.*s\"",
                   token ? (int)strcspn(token + 17, "\"") : 0, token ? token + 17 : "");
    expect_refusal("product.ListProducts", other, NULL, WEFT_INVALID_ARGUMENT,
                   "page_token: must be a next_page_token of the same list", true);
    weft_ctx_free(ctx);
}

static weft_status quote(weft_ctx *ctx, const char *product_id, int quantity, int64_t *total) {
    product_quote_prices_stream *stream = product_quote_prices(mesh.to[SHOP_PRODUCT], ctx);
    const Product__QuotePricesRequest lines[] = {
        {PRODUCT_QUOTE_PRICES_REQUEST(.product_id = (char *)"test-one", .quantity = 3)},
        {PRODUCT_QUOTE_PRICES_REQUEST(.product_id = (char *)product_id, .quantity = quantity)}};
    Product__QuotePricesResponse *answer = NULL;
    for (size_t i = 0; i < 2; i++) {
        if (!product_quote_prices_send(stream, &lines[i])) break;
        if (!product_quote_prices_next(stream, &answer)) break;
        *total = answer->total->minor_units;
    }
    product_quote_prices_close_send(stream);
    while (product_quote_prices_next(stream, &answer)) {}
    return product_quote_prices_end(stream);
}

static void test_quotes(void) {
    static const struct {
        const char *product_id;
        int quantity, code;
        const char *message;
        int64_t total;
    } rows[] = {
        {"test-dear", 2, WEFT_OK, "", 3600 + 200000000},
        {"", 1, WEFT_INVALID_ARGUMENT, "product_id: is required", 3600},
        {"test-one", 0, WEFT_INVALID_ARGUMENT, "quantity: must be at least 1", 3600},
        {"test-one", -1, WEFT_INVALID_ARGUMENT, "quantity: must be at least 1", 3600},
        {"test-one", INT32_MAX, WEFT_INVALID_ARGUMENT, "quantity: must be at most 1000", 3600},
        {"no-such", 1, WEFT_NOT_FOUND, "no product", 3600},
        {"test-old", 1, WEFT_FAILED_PRECONDITION, "is retired", 3600},
        {"test-yen", 1, WEFT_FAILED_PRECONDITION, "is priced in JPY, the basket in EUR", 3600},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        weft_ctx *ctx = fresh();
        int64_t total = 0;
        const picture before = take(true);
        const weft_status st = quote(ctx, rows[i].product_id, rows[i].quantity, &total);
        check(same(before, take(true)), "product.QuotePrices", rows[i].product_id,
              "nothing changed", "");
        check((int)st.code == rows[i].code && strstr(weft_status_message(st), rows[i].message) &&
                  total == rows[i].total,
              "product.QuotePrices", rows[i].product_id, rows[i].message, weft_status_message(st));
        weft_ctx_free(ctx);
    }
}

static weft_status track(weft_ctx *ctx, const char *order_id, int64_t after, char *seen,
                         size_t size) {
    const Order__TrackOrderRequest request = {
        ORDER_TRACK_ORDER_REQUEST(.order_id = (char *)order_id, .after_event = after)};
    order_track_order_stream *stream = order_track_order(mesh.to[SHOP_ORDER], ctx, &request);
    Order__TrackOrderResponse *event = NULL;
    size_t len = 0;
    seen[0] = '\0';
    while (order_track_order_next(stream, &event) && len < size)
        len += (size_t)snprintf(seen + len, size - len, "%s%lld %.24s", len ? ", " : "",
                                (long long)event->event, event->what);
    return order_track_order_end(stream);
}

static void test_track(void) {
    const struct {
        const char *order_id;
        int64_t after;
        int code;
        const char *want;
    } rows[] = {
        {value_of("kept", 4), 0, WEFT_OK,
         "1 accepted, 2 reserve: done, 3 charge: done, 4 commit: done, 5 confirmed"},
        {value_of("kept", 4), 4, WEFT_OK, "5 confirmed"},
        {value_of("kept", 4), INT64_MAX, WEFT_OK, ""},
        {value_of("poor", 4), 1, WEFT_OK,
         "2 reserve: done, 3 charge: refused: the wal, 4 reserve: undone, 5 failed"},
        {value_of("order", 5), 5, WEFT_OK,
         "6 cancelling, 7 refund: done, 8 return: done, 9 cancelled"},
        {"", 0, WEFT_INVALID_ARGUMENT, "order_id: is required"},
        {"o-none", 0, WEFT_NOT_FOUND, "no order \"o-none\""},
        {value_of("kept", 4), -1, WEFT_INVALID_ARGUMENT, "after_event: must be at least 0, is -1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        weft_ctx *ctx = fresh();
        char seen[1024];
        const weft_status st = track(ctx, rows[i].order_id, rows[i].after, seen, sizeof seen);
        const char *got = rows[i].code ? weft_status_message(st) : seen;
        check((int)st.code == rows[i].code && !strcmp(got, rows[i].want), "order.TrackOrder",
              rows[i].order_id, rows[i].want, got);
        weft_ctx_free(ctx);
    }
}

#define CROWD 8

/* An order that a slow machine answered with PENDING: the same call again, until it is decided. */
static Order__Order *decided(weft_ctx *ctx, const Order__PlaceOrderRequest *request,
                             Order__PlaceOrderResponse *reply) {
    for (int i = 0; i < 10 && reply; i++) {
        if (reply->order->state != ORDER__ORDER_STATE__ORDER_STATE_PENDING) return reply->order;
        if (weft_failed(order_place_order(mesh.to[SHOP_ORDER], ctx, request, &reply))) return NULL;
    }
    return NULL;
}

/* The same key from many callers at once: one effect, one answer. */
static void test_same_key_at_once(void) {
    weft_ctx *ctx = fresh();
    weft_group *group = weft_group_new(ctx);
    Order__PlaceOrderLine line = {
        ORDER_PLACE_ORDER_LINE(.product_id = (char *)"lip-balm-beeswax", .quantity = 1)};
    Order__PlaceOrderLine *lines[] = {&line};
    const Order__PlaceOrderRequest request = {
        ORDER_PLACE_ORDER_REQUEST(.user_id = (char *)value_of("ann", 3), .lines = lines,
                                  .n_lines = 1, .idempotency_key = (char *)"at-once")};
    Order__PlaceOrderResponse *replies[CROWD] = {NULL};
    for (size_t i = 0; i < CROWD; i++)
        (void)order_place_order_start(mesh.to[SHOP_ORDER], group, &request, &replies[i]);
    const weft_status st = weft_group_wait(group);
    bool one = !weft_failed(st);
    for (size_t i = 0; one && i < CROWD; i++) {
        const Order__Order *order = decided(ctx, &request, replies[i]);
        one = order && !strcmp(order->order_id, replies[0]->order->order_id) &&
              order->state == ORDER__ORDER_STATE__ORDER_STATE_CONFIRMED;
    }
    check(one, "order.PlaceOrder", "eight at once with one key", "one confirmed order",
          weft_status_message(st));
    const result r = call(ctx, "inventory.GetStock", "\"product_id\":\"lip-balm-beeswax\"", NULL);
    check(strstr(r.json, "\"onHand\":\"319\"") != NULL, "inventory.GetStock", "after it", "319",
          r.json);
    weft_ctx_free(ctx);
}

/* Many orders for the last one: exactly one is confirmed, the others fail and leave nothing. */
static void test_last_item(void) {
    weft_ctx *ctx = fresh();
    result r = call(ctx, "product.CreateProduct",
                    "\"product\":{\"product_id\":\"test-last\",\"name\":\"Last\","
                    "\"category\":\"Last\","
                    "\"price\":{\"minor_units\":10,\"currency_code\":\"EUR\"}}",
                    "last-1");
    check(!weft_failed(r.status), "product.CreateProduct", "last", "OK", r.json);
    r = call(ctx, "inventory.RegisterStock", "\"product_id\":\"test-last\",\"initial_quantity\":1",
             "last-2");
    check(!weft_failed(r.status), "inventory.RegisterStock", "last", "OK", r.json);
    weft_group *group = weft_group_new(ctx);
    Order__PlaceOrderLine line = {
        ORDER_PLACE_ORDER_LINE(.product_id = (char *)"test-last", .quantity = 1)};
    Order__PlaceOrderLine *lines[] = {&line};
    Order__PlaceOrderRequest requests[CROWD];
    Order__PlaceOrderResponse *replies[CROWD] = {NULL};
    for (size_t i = 0; i < CROWD; i++) {
        requests[i] = (Order__PlaceOrderRequest){
            ORDER_PLACE_ORDER_REQUEST(.user_id = (char *)value_of("ann", 3), .lines = lines,
                                      .n_lines = 1,
                                      .idempotency_key = weft_printf(ctx, "last-one-%zu", i))};
        (void)order_place_order_start(mesh.to[SHOP_ORDER], group, &requests[i], &replies[i]);
    }
    const weft_status st = weft_group_wait(group);
    int confirmed = 0, refused = 0;
    for (size_t i = 0; i < CROWD; i++) {
        const Order__Order *order = decided(ctx, &requests[i], replies[i]);
        confirmed += order && order->state == ORDER__ORDER_STATE__ORDER_STATE_CONFIRMED;
        refused += order && order->failure && !strcmp(order->failure->step, "reserve");
    }
    check(confirmed == 1 && refused == CROWD - 1, "order.PlaceOrder", "eight for the last one",
          "one confirmed, seven refused", weft_status_message(st));
    r = call(ctx, "inventory.GetStock", "\"product_id\":\"test-last\"", NULL);
    check(!strstr(r.json, "onHand") && !strstr(r.json, "reserved"), "inventory.GetStock",
          "test-last", "nothing on hand, nothing reserved", r.json);
    weft_ctx_free(ctx);
}

static bool add_files(void) {
    static const weft_file *const files[] = {
        &weft_file_shop_user_v1_user_proto, &weft_file_shop_product_v1_product_proto,
        &weft_file_shop_order_v1_order_proto, &weft_file_shop_payment_v1_payment_proto,
        &weft_file_shop_inventory_v1_inventory_proto};
    registry = weft_registry_new();
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (!registry || weft_registry_add_file(registry, files[i], NULL)) return false;
    return true;
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!add_files() || !shop_mesh_open(&mesh)) {
        shop_mesh_close(&mesh, true);
        puts("0 passed, 1 failed");
        return 1;
    }
    for (size_t i = 0; i < shop_change_count; i++) run_change(&shop_changes[i], i);
    for (size_t i = 0; i < shop_look_count; i++) run_look(&shop_looks[i]);
    for (size_t i = 0; i < shop_refusal_count; i++) run_refusal(&shop_refusals[i], i);
    test_quotes();
    test_track();
    test_refusal_stays();
    test_total_limit();
    test_pages();
    test_same_key_at_once();
    test_last_item();
    check(shop_mesh_stop(&mesh), "shop", "SIGTERM", "every service drains and exits 0",
          "see above");
    printf("%zu rows of tables\n",
           shop_change_count * 6 + shop_look_count + shop_refusal_count + 16);
    shop_mesh_close(&mesh, failed > 0);
    weft_registry_free(registry);
    printf("%d passed, %d failed\n", passed, failed);
    return failed ? 1 : 0;
}
