/* Ids, money, times, pages: the small values of requests and replies. */
#include <string.h>

#include "services/shop/shop.h"
#include "weft/encoding.h"
#include "weft/map.h"
#include "weft/num.h"
#include "weft/rng.h"

int64_t shop_now(const weft_ctx *ctx) { return weft_wall(shop_of(ctx)->clock); }

char *shop_new_id(weft_ctx *ctx, const char *prefix) {
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
    const uint64_t time = (uint64_t)(shop_now(ctx) / WEFT_NS_PER_MS);
    const uint64_t chance = weft_rng_system_seed();
    char id[20];
    for (int i = 0; i < 9; i++) id[i] = digits[(time >> (5 * (8 - i))) & 31];
    for (int i = 0; i < 10; i++) id[9 + i] = digits[(chance >> (5 * i)) & 31];
    id[19] = '\0';
    return weft_printf(ctx, "%s-%s", prefix, id);
}

static bool bounded(int64_t value, int64_t *out) {
    if (value < 0 || value > SHOP_MONEY_MAX) return false;
    *out = value;
    return true;
}

bool shop_multiply(int64_t a, int64_t b, int64_t *product) {
    int64_t value;
    return !__builtin_mul_overflow(a, b, &value) && bounded(value, product);
}

bool shop_add(int64_t a, int64_t b, int64_t *sum) {
    int64_t value;
    return !__builtin_add_overflow(a, b, &value) && bounded(value, sum);
}

/* Decimals of a currency (ISO 4217); the few that do not have two. */
static int decimals(const char *currency_code) {
    static const char *const none[] = {"JPY", "KRW", "CLP", "ISK", "VND", "XAF", "XOF"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        if (!strcmp(none[i], currency_code)) return 0;
    return 2;
}

const char *shop_money_text(weft_ctx *ctx, int64_t minor_units, const char *currency_code) {
    const char *text;
    if (decimals(currency_code) == 0) {
        text = weft_printf(ctx, "%lld %s", (long long)minor_units, currency_code);
    } else {
        const long long cents = minor_units % 100;
        text =
            weft_printf(ctx, "%s%lld.%02lld %s", minor_units < 0 && minor_units > -100 ? "-" : "",
                        (long long)(minor_units / 100), cents < 0 ? -cents : cents, currency_code);
    }
    return text ? text : "";
}

bool shop_set_text(weft_ctx *ctx, char **field, const char *text) {
    *field = weft_strdup(ctx, text);
    return *field != NULL;
}

bool shop_set_money(weft_ctx *ctx, Shop__Money **field, int64_t minor_units, const char *currency) {
    Shop__Money *money = weft_alloc(ctx, sizeof *money);
    if (!money) return false;
    shop__money__init(money);
    money->minor_units = minor_units;
    *field = money;
    return shop_set_text(ctx, &money->currency_code, currency);
}

bool shop_set_time(weft_ctx *ctx, Google__Protobuf__Timestamp **field, int64_t wall_ns) {
    Google__Protobuf__Timestamp *time = weft_alloc(ctx, sizeof *time);
    if (!time) return false;
    google__protobuf__timestamp__init(time);
    time->seconds = wall_ns / WEFT_NS_PER_S;
    time->nanos = (int32_t)(wall_ns % WEFT_NS_PER_S);
    *field = time;
    return true;
}

weft_status shop_no_memory(weft_ctx *ctx) {
    return weft_resource_exhausted(ctx, "the answer does not fit into the memory of this call");
}

/* ---- pages: a token is base64url of 8 bytes that bind it to its list, then the last item's key */

#define CHECK 8
#define TOKEN_KEY_MAX 128

static uint64_t bind_token(const char *list, const char *after) {
    const uint64_t of_list = weft_siphash13(list, strlen(list), 0x7765667473686f70, 1);
    return weft_siphash13(after, strlen(after), of_list, 2);
}

static weft_status bad_token(weft_ctx *ctx) {
    return weft_invalid(ctx, "page_token",
                        "must be a next_page_token of the same list with the same filters");
}

weft_status shop_page_open(weft_ctx *ctx, int32_t page_size, const char *page_token,
                           const char *list, shop_page *page) {
    if (page_size < 0)
        return weft_invalid(ctx, "page_size", "must be at least 0, is %d", page_size);
    if (!list) return shop_no_memory(ctx);
    *page = (shop_page){.list = list, .after = "", .size = 50};
    if (page_size > 0) page->size = page_size > 200 ? 200 : (size_t)page_size;
    const size_t len = strlen(page_token);
    if (len == 0) return weft_ok();
    if (len > WEFT_BASE64_TEXT(CHECK + TOKEN_KEY_MAX)) return bad_token(ctx);
    char *bytes = weft_alloc(ctx, WEFT_BASE64_BYTES(len) + 1);
    if (!bytes) return shop_no_memory(ctx);
    size_t got = 0;
    if (weft_base64_decode(WEFT_BASE64_JWS, page_token, len, bytes, WEFT_BASE64_BYTES(len), &got) ||
        got <= CHECK || memchr(bytes + CHECK, '\0', got - CHECK))
        return bad_token(ctx);
    bytes[got] = '\0';
    uint64_t bound;
    memcpy(&bound, bytes, CHECK);
    page->after = bytes + CHECK;
    if (bound != bind_token(list, page->after)) return bad_token(ctx);
    if (weft_parse_int64(page->after, &page->after_number)) page->after_number = 0;
    return weft_ok();
}

bool shop_page_more(weft_ctx *ctx, shop_page *page, const char *last, char **next_token) {
    if (page->count < page->size) {
        page->count++;
        return true;
    }
    char bytes[CHECK + TOKEN_KEY_MAX];
    const size_t len = strlen(last);
    *next_token = len <= TOKEN_KEY_MAX ? weft_alloc(ctx, WEFT_BASE64_TEXT(sizeof bytes)) : NULL;
    if (!*next_token) return false;
    const uint64_t bound = bind_token(page->list, last);
    memcpy(bytes, &bound, CHECK);
    memcpy(bytes + CHECK, last, len);
    (void)weft_base64_encode(WEFT_BASE64_JWS, bytes, CHECK + len, *next_token);
    return false;
}
