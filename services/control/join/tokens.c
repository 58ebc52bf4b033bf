/* Join tokens: see tokens.h. */
#include "services/control/join/tokens.h"

#include <stdio.h>
#include <string.h>

#include "weft/encoding.h"

#define NS_PER_S INT64_C(1000000000)
#define RECORD 1024 /* bytes of what is stored */

typedef struct record {
    int64_t expires;                    /* wall ns */
    uint8_t secret[CRYPTO_SHA256_SIZE]; /* SHA-256 of the secret */
    uint8_t pin[CRYPTO_SHA256_SIZE];
    char identity[CRYPTO_TOKEN_IDENTITY];
} record;

const char *token_verdict_text(token_verdict verdict) {
    static const char *const texts[] = {
#define X(name, text) [TOKEN_##name] = text,
        TOKEN_VERDICTS(X)
#undef X
    };
    return texts[verdict];
}

static void head_of(const char *id, char out[64]) { (void)snprintf(out, 64, "token/%.32s", id); }

static int put_text(weft_revisions *store, const char *text, size_t size, char id[WEFT_BLOB_ID]) {
    char ids[1][WEFT_BLOB_ID];
    const weft_blob blob = {.data = text, .size = size};
    const int error = weft_revisions_put(store, &blob, 1, ids);
    if (!error) memcpy(id, ids[0], WEFT_BLOB_ID);
    return error;
}

int tokens_create(weft_revisions *store, crypto_token *token, const char *author) {
    uint8_t id[(CRYPTO_TOKEN_ID - 1) / 2], sum[CRYPTO_SHA256_SIZE];
    char text[CRYPTO_TOKEN_TEXT], line[RECORD], name[64], blob[WEFT_BLOB_ID];
    char secret[WEFT_HEX_TEXT(CRYPTO_SHA256_SIZE)], pin[WEFT_HEX_TEXT(CRYPTO_SHA256_SIZE)];
    weft_head head;
    int error = crypto_random(id, sizeof id);
    if (!error) error = crypto_random(token->secret, sizeof token->secret);
    if (error) return error;
    (void)weft_hex_encode(id, sizeof id, token->id);
    token->expires -= token->expires % NS_PER_S;
    error = crypto_token_format(token, text); /* proves that it can be told */
    crypto_wipe(text, sizeof text);
    if (!error) error = crypto_sha256(token->secret, sizeof token->secret, sum);
    if (error) return error;
    (void)weft_hex_encode(sum, sizeof sum, secret);
    (void)weft_hex_encode(token->pin, sizeof token->pin, pin);
    const int size = snprintf(line, sizeof line, "1 %lld %s %s %s\n",
                              (long long)(token->expires / NS_PER_S), secret, pin, token->identity);
    error = put_text(store, line, (size_t)size, blob);
    if (error) return error;
    head_of(token->id, name);
    char who[64];
    (void)snprintf(who, sizeof who, "%s", author ? author : "");
    const weft_head_move move = {
        .size = sizeof move, .name = name, .id = blob, .author = who, .reason = "created"};
    return weft_revisions_move(store, &move, &head);
}

static int read_record(weft_revisions *store, const char *blob, record *out) {
    char secret[WEFT_HEX_TEXT(CRYPTO_SHA256_SIZE)], pin[WEFT_HEX_TEXT(CRYPTO_SHA256_SIZE)];
    char identity[RECORD] = "";
    long long seconds = 0;
    size_t n;
    weft_buf text;
    weft_buf_init(&text, RECORD);
    int error = weft_revisions_get(store, blob, &text);
    if (!error && sscanf(weft_buf_str(&text), "1 %lld %64s %64s %1000s", &seconds, secret, pin,
                         identity) != 4)
        error = WEFT_EPARSE;
    weft_buf_free(&text);
    if (error) return error;
    if (weft_hex_decode(secret, strlen(secret), out->secret, sizeof out->secret, &n) < 0 ||
        n != sizeof out->secret ||
        weft_hex_decode(pin, strlen(pin), out->pin, sizeof out->pin, &n) < 0 ||
        n != sizeof out->pin || strlen(identity) >= sizeof out->identity)
        return WEFT_EPARSE;
    out->expires = seconds * NS_PER_S;
    memcpy(out->identity, identity, strlen(identity) + 1);
    return 0;
}

/* The first blob of a head that may have moved once already. */
static int first_record(weft_revisions *store, const char *name, const weft_head *head,
                        record *out) {
    weft_head first;
    size_t count = 0;
    if (head->sequence == 1) return read_record(store, head->id, out);
    int error = weft_revisions_history(store, name, 2, &first, 1, &count);
    if (!error && count != 1) error = WEFT_EIO;
    return error ? error : read_record(store, first.id, out);
}

static int use_up(weft_revisions *store, const char *name, const char *user) {
    static const char used[] = "used\n";
    char blob[WEFT_BLOB_ID], who[64];
    weft_head head;
    int error = put_text(store, used, sizeof used - 1, blob);
    if (error) return error;
    (void)snprintf(who, sizeof who, "%s", user ? user : "");
    const weft_head_move move = {.size = sizeof move,
                                 .name = name,
                                 .expect = 1,
                                 .id = blob,
                                 .author = who,
                                 .reason = "used"};
    return weft_revisions_move(store, &move, &head);
}

int tokens_use(weft_revisions *store, const crypto_token *shown,
               const uint8_t pin[CRYPTO_SHA256_SIZE], int64_t now, const char *user,
               token_verdict *verdict, char identity[CRYPTO_TOKEN_IDENTITY]) {
    char name[64];
    uint8_t sum[CRYPTO_SHA256_SIZE];
    weft_head head;
    record kept;
    head_of(shown->id, name);
    *verdict = TOKEN_UNKNOWN;
    int error = weft_revisions_head(store, name, &head);
    if (error == WEFT_ENOTFOUND) {
        if (!crypto_equal(shown->pin, pin, CRYPTO_SHA256_SIZE)) *verdict = TOKEN_FOREIGN;
        return 0;
    }
    if (!error) error = first_record(store, name, &head, &kept);
    if (!error) error = crypto_sha256(shown->secret, sizeof shown->secret, sum);
    if (error) return error;
    if (!crypto_equal(sum, kept.secret, sizeof sum)) return 0;
    error = head.sequence == 1 ? use_up(store, name, user) : WEFT_ECONFLICT;
    if (error == WEFT_ECONFLICT) {
        *verdict = TOKEN_USED;
        return 0;
    }
    if (error) return error;
    if (now >= kept.expires) {
        *verdict = TOKEN_EXPIRED;
    } else if (!crypto_equal(shown->pin, kept.pin, sizeof kept.pin)) {
        *verdict = TOKEN_FOREIGN;
    } else {
        *verdict = TOKEN_GOOD;
        memcpy(identity, kept.identity, sizeof kept.identity);
    }
    return 0;
}
