/* Sums that must not overflow, rules of fields at their edges, tokens of pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "services/shop/shop.h"

static weft_ctx *ctx;

static int set_up(void **state) {
    (void)state;
    ctx = weft_ctx_new(WEFT_NO_TIMEOUT);
    return ctx ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    weft_ctx_free(ctx);
    return 0;
}

static void sums(void **state) {
    (void)state;
    int64_t out = -7;
    assert_true(shop_multiply(SHOP_PRICE_MAX, SHOP_QUANTITY_MAX, &out));
    assert_int_equal(out, INT64_C(100000000000));
    assert_true(shop_multiply(0, INT64_MAX, &out));
    assert_int_equal(out, 0);
    assert_true(shop_add(SHOP_MONEY_MAX - 1, 1, &out));
    assert_int_equal(out, SHOP_MONEY_MAX);
    static const struct {
        int64_t a, b;
    } bad[] = {
        {INT64_MAX, 2}, {INT64_MAX, INT64_MAX}, {INT64_MIN, -1}, {SHOP_MONEY_MAX, 2}, {-1, 1}};
    out = -7;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(shop_multiply(bad[i].a, bad[i].b, &out));
    assert_false(shop_add(INT64_MAX, 1, &out));
    assert_false(shop_add(INT64_MIN, -1, &out));
    assert_false(shop_add(SHOP_MONEY_MAX, 1, &out));
    assert_false(shop_add(5, -6, &out));
    assert_int_equal(out, -7); /* untouched */
}

static void money_texts(void **state) {
    (void)state;
    assert_string_equal(shop_money_text(ctx, 1299, "EUR"), "12.99 EUR");
    assert_string_equal(shop_money_text(ctx, 5, "EUR"), "0.05 EUR");
    assert_string_equal(shop_money_text(ctx, -5, "EUR"), "-0.05 EUR");
    assert_string_equal(shop_money_text(ctx, -1299, "EUR"), "-12.99 EUR");
    assert_string_equal(shop_money_text(ctx, 1299, "JPY"), "1299 JPY");
    assert_string_equal(shop_money_text(ctx, INT64_MIN, "EUR"), "-92233720368547758.08 EUR");
}

static void texts(void **state) {
    (void)state;
    assert_int_equal(shop_check_text(ctx, "f", "", 0, 3).code, WEFT_OK);
    assert_int_equal(shop_check_text(ctx, "f", "", 1, 3).code, WEFT_INVALID_ARGUMENT);
    assert_int_equal(shop_check_text(ctx, "f", "abc", 1, 3).code, WEFT_OK);
    assert_int_equal(shop_check_text(ctx, "f", "\xc3\xa4\xc3\xb6\xc3\xbc", 1, 3).code, WEFT_OK);
    assert_int_equal(shop_check_text(ctx, "f", "abcd", 1, 3).code, WEFT_INVALID_ARGUMENT);
    assert_int_equal(shop_check_text(ctx, "f", "a\nb", 1, 3).code, WEFT_INVALID_ARGUMENT);
    assert_int_equal(shop_check_text(ctx, "f", "\x7f", 1, 3).code, WEFT_INVALID_ARGUMENT);
}

static void names(void **state) {
    (void)state;
    static const char *const good[] = {"abc", "a-1", "0123456789012345678901234567890123456789"};
    static const char *const bad[] = {"",
                                      "ab",
                                      "-abc",
                                      "abc-",
                                      "aBc",
                                      "a_b",
                                      "a bc",
                                      "\xc3\xa4\xc3\xa4",
                                      "01234567890123456789012345678901234567890"};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(shop_check_product_id(ctx, "id", good[i]).code, WEFT_OK);
    for (size_t i = 0; i < 9; i++)
        assert_int_equal(shop_check_product_id(ctx, "id", bad[i]).code, WEFT_INVALID_ARGUMENT);
    assert_int_equal(shop_check_email(ctx, "e", "a@b").code, WEFT_OK);
    static const char *const emails[] = {"@b", "a@", "a", "a@b@c", "a b@c", ""};
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(shop_check_email(ctx, "e", emails[i]).code, WEFT_INVALID_ARGUMENT);
    static const char *const currencies[] = {"", "EU", "EURO", "eur", "E1R"};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(shop_check_currency(ctx, "c", currencies[i]).code, WEFT_INVALID_ARGUMENT);
    const weft_status st = shop_check_range(ctx, "n", INT64_MIN, 1, 5);
    assert_string_equal(weft_status_message(st), "n: must be at least 1, is -9223372036854775808");
}

static void page_tokens(void **state) {
    (void)state;
    shop_page page, next;
    char *token = NULL;
    assert_int_equal(shop_page_open(ctx, 2, "", "list", &page).code, WEFT_OK);
    assert_int_equal(page.size, 2);
    assert_true(shop_page_more(ctx, &page, "", &token));
    assert_true(shop_page_more(ctx, &page, "one", &token));
    assert_null(token);
    assert_false(shop_page_more(ctx, &page, "17", &token));
    assert_int_equal(shop_page_open(ctx, 2, token, "list", &next).code, WEFT_OK);
    assert_string_equal(next.after, "17");
    assert_int_equal(next.after_number, 17);
    assert_int_equal(shop_page_open(ctx, 2, token, "other", &next).code, WEFT_INVALID_ARGUMENT);
    for (size_t i = 0; token[i]; i++) { /* any other character */
        const char kept = token[i];
        token[i] = kept == 'A' ? 'B' : 'A';
        assert_int_equal(shop_page_open(ctx, 2, token, "list", &next).code, WEFT_INVALID_ARGUMENT);
        token[i] = kept;
    }
    token[strlen(token) - 1] = '\0';
    assert_int_equal(shop_page_open(ctx, 2, token, "list", &next).code, WEFT_INVALID_ARGUMENT);
    char huge[4000];
    memset(huge, 'A', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    assert_int_equal(shop_page_open(ctx, 2, huge, "list", &next).code, WEFT_INVALID_ARGUMENT);
}

static void page_sizes(void **state) {
    (void)state;
    static const struct {
        int32_t asked;
        size_t size;
    } rows[] = {{0, 50}, {1, 1}, {200, 200}, {201, 200}, {INT32_MAX, 200}};
    shop_page page;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(shop_page_open(ctx, rows[i].asked, "", "list", &page).code, WEFT_OK);
        assert_int_equal(page.size, rows[i].size);
    }
    assert_int_equal(shop_page_open(ctx, -1, "", "list", &page).code, WEFT_INVALID_ARGUMENT);
    assert_int_equal(shop_page_open(ctx, INT32_MIN, "", "list", &page).code, WEFT_INVALID_ARGUMENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(sums),  TEST(money_texts), TEST(texts),
                                       TEST(names), TEST(page_tokens), TEST(page_sizes)};
    return cmocka_run_group_tests_name("values", tests, NULL, NULL);
}
