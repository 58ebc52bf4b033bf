/* Rules of fields. Each answers in words that a caller can act on. */
#include <string.h>

#include "services/shop/shop.h"

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool only(const char *text, size_t len, const char *also) {
    for (size_t i = 0; i < len; i++)
        if (!is_word(text[i]) && !strchr(also, text[i])) return false;
    return true;
}

weft_status shop_check_id(weft_ctx *ctx, const char *field, const char *id) {
    const size_t len = strlen(id);
    if (len == 0) return weft_invalid(ctx, field, "is required");
    if (len > 64 || !only(id, len, "._-"))
        return weft_invalid(ctx, field, "must be at most 64 of the characters A-Z a-z 0-9 . _ -");
    return weft_ok();
}

weft_status shop_check_product_id(weft_ctx *ctx, const char *field, const char *id) {
    const size_t len = strlen(id);
    if (len == 0) return weft_invalid(ctx, field, "is required");
    bool good = len >= 3 && len <= 40 && id[0] != '-' && id[len - 1] != '-';
    for (size_t i = 0; good && i < len; i++)
        good = (id[i] >= 'a' && id[i] <= 'z') || (id[i] >= '0' && id[i] <= '9') || id[i] == '-';
    if (!good)
        return weft_invalid(
            ctx, field, "must be 3 to 40 of the characters a-z 0-9 - and not begin or end with -");
    return weft_ok();
}

weft_status shop_check_key(weft_ctx *ctx, const char *key) {
    const size_t len = strlen(key);
    if (len == 0) return weft_invalid(ctx, "idempotency_key", "is required");
    if (len > 128 || !only(key, len, "._:/-"))
        return weft_invalid(ctx, "idempotency_key",
                            "must be at most 128 of the characters A-Z a-z 0-9 . _ : / -");
    return weft_ok();
}

/* Strings are valid UTF-8 without NUL: the decode guard saw to that. */
weft_status shop_check_text(weft_ctx *ctx, const char *field, const char *text, size_t min,
                            size_t max) {
    size_t characters = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c < 0x20 || *c == 0x7f)
            return weft_invalid(ctx, field, "must not contain control characters");
        if ((*c & 0xc0) != 0x80) characters++;
    }
    if (min > 0 && characters == 0) return weft_invalid(ctx, field, "is required");
    if (characters < min)
        return weft_invalid(ctx, field, "must have at least %zu characters, has %zu", min,
                            characters);
    if (characters > max)
        return weft_invalid(ctx, field, "must have at most %zu characters, has %zu", max,
                            characters);
    return weft_ok();
}

weft_status shop_check_email(weft_ctx *ctx, const char *field, const char *email) {
    SHOP_TRY(shop_check_text(ctx, field, email, 3, 254));
    const char *at = strchr(email, '@');
    if (!at || at == email || !at[1] || strchr(at + 1, '@') || strchr(email, ' '))
        return weft_invalid(ctx, field, "must look like name@host");
    return weft_ok();
}

weft_status shop_check_currency(weft_ctx *ctx, const char *field, const char *code) {
    bool good = strlen(code) == 3;
    for (size_t i = 0; good && i < 3; i++) good = code[i] >= 'A' && code[i] <= 'Z';
    if (!good)
        return weft_invalid(ctx, field,
                            "must be an ISO 4217 code of three capital letters, as EUR");
    return weft_ok();
}

weft_status shop_check_range(weft_ctx *ctx, const char *field, int64_t value, int64_t min,
                             int64_t max) {
    if (value < min)
        return weft_invalid(ctx, field, "must be at least %lld, is %lld", (long long)min,
                            (long long)value);
    if (value > max)
        return weft_invalid(ctx, field, "must be at most %lld, is %lld", (long long)max,
                            (long long)value);
    return weft_ok();
}

weft_status shop_check_money(weft_ctx *ctx, const char *field, const Shop__Money *money,
                             int64_t min, int64_t max) {
    if (!money) return weft_invalid(ctx, field, "is required");
    const char *units = weft_printf(ctx, "%s.minor_units", field);
    const char *code = weft_printf(ctx, "%s.currency_code", field);
    if (!units || !code) return shop_no_memory(ctx);
    SHOP_TRY(shop_check_range(ctx, units, money->minor_units, min, max));
    return shop_check_currency(ctx, code, money->currency_code);
}

weft_status shop_check_enum(weft_ctx *ctx, const char *field, const ProtobufCEnumDescriptor *type,
                            int value, bool optional) {
    if (value == 0 && optional) return weft_ok();
    if (value == 0 || !protobuf_c_enum_descriptor_get_value(type, value))
        return weft_invalid(ctx, field, "must be a named value of %s, is %d", type->short_name,
                            value);
    return weft_ok();
}
