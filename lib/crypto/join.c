/* Join tokens, and what a joiner gets for one. */
#include <stdio.h>
#include <string.h>

#include "lib/crypto/internal.h"
#include "weft/crypto_join.h"
#include "weft/encoding.h"

static const char prefix[] = "weft-join-1.";

#define NS_PER_S INT64_C(1000000000)
#define ID_BYTES 16u
#define CHECK_BYTES 4u
#define FIXED_BYTES (ID_BYTES + CRYPTO_TOKEN_SECRET + CRYPTO_SHA256_SIZE + 8)
#define MAX_BYTES \
    (FIXED_BYTES + 2 + WEFT_ADDR_TEXT + 2 + CRYPTO_TOKEN_IDENTITY + CHECK_BYTES) /* decoded */
_Static_assert(sizeof prefix + WEFT_BASE64_TEXT(MAX_BYTES) <= CRYPTO_TOKEN_TEXT, "too small");

/* ---- writing */

static size_t put(uint8_t *at, const void *data, size_t size) {
    memcpy(at, data, size);
    return size;
}

static size_t put_text(uint8_t *at, const char *text) {
    const size_t size = strlen(text);
    at[0] = (uint8_t)(size >> 8);
    at[1] = (uint8_t)size;
    return 2 + put(at + 2, text, size);
}

static bool good_identity(const char *text) {
    crypto_spiffe id;
    return !crypto_spiffe_parse(text, strlen(text), &id, NULL) && id.path_size > 1;
}

static bool good_token(const crypto_token *token) {
    weft_addr address;
    return strnlen(token->id, sizeof token->id) == 2 * (size_t)ID_BYTES &&
           strnlen(token->address, sizeof token->address) < sizeof token->address &&
           !weft_addr_parse(token->address, &address, NULL) &&
           strnlen(token->identity, sizeof token->identity) < sizeof token->identity &&
           good_identity(token->identity) && token->expires > 0;
}

int crypto_token_format(const crypto_token *token, char out[CRYPTO_TOKEN_TEXT]) {
    uint8_t data[MAX_BYTES], sum[CRYPTO_SHA256_SIZE], id[ID_BYTES];
    size_t n = 0;
    if (!good_token(token) ||
        weft_hex_decode(token->id, 2 * (size_t)ID_BYTES, id, sizeof id, &n) < 0)
        return WEFT_EINVAL;
    n = put(data, id, ID_BYTES);
    n += put(data + n, token->secret, sizeof token->secret);
    n += put(data + n, token->pin, sizeof token->pin);
    const uint64_t seconds = (uint64_t)(token->expires / NS_PER_S);
    for (unsigned i = 0; i < 8; i++) data[n++] = (uint8_t)(seconds >> (56 - 8 * i));
    n += put_text(data + n, token->address);
    n += put_text(data + n, token->identity);
    int error = crypto_sha256(data, n, sum);
    if (!error) {
        n += put(data + n, sum, CHECK_BYTES);
        memcpy(out, prefix, sizeof prefix);
        (void)weft_base64_encode(WEFT_BASE64_JWS, data, n, out + sizeof prefix - 1);
    }
    crypto_wipe(data, sizeof data);
    return error;
}

/* ---- reading */

static bool take_text(const uint8_t **at, size_t *left, char *out, size_t room) {
    if (*left < 2) return false;
    const size_t size = (size_t)(*at)[0] << 8 | (*at)[1];
    if (size > *left - 2 || size >= room || memchr(*at + 2, 0, size)) return false;
    memcpy(out, *at + 2, size);
    out[size] = '\0';
    *at += 2 + size;
    *left -= 2 + size;
    return true;
}

static bool decode(const uint8_t *data, size_t size, crypto_token *out) {
    const uint8_t *at = data + FIXED_BYTES;
    uint64_t seconds = 0;
    if (size < FIXED_BYTES) return false;
    size -= FIXED_BYTES;
    (void)weft_hex_encode(data, ID_BYTES, out->id);
    memcpy(out->secret, data + ID_BYTES, sizeof out->secret);
    memcpy(out->pin, data + ID_BYTES + sizeof out->secret, sizeof out->pin);
    for (unsigned i = 0; i < 8; i++) seconds = seconds << 8 | data[FIXED_BYTES - 8 + i];
    if (seconds > (uint64_t)(INT64_MAX / NS_PER_S)) return false;
    out->expires = (int64_t)seconds * NS_PER_S;
    return take_text(&at, &size, out->address, sizeof out->address) &&
           take_text(&at, &size, out->identity, sizeof out->identity) && size == 0 &&
           good_token(out);
}

int crypto_token_parse(const char *text, crypto_token *out, crypto_why *why) {
    static const char blanks[] = " \t\r\n";
    uint8_t data[WEFT_BASE64_BYTES(CRYPTO_TOKEN_TEXT)], sum[CRYPTO_SHA256_SIZE];
    crypto_token token;
    size_t size = 0;
    if (!text) return crypto_explain(why, WEFT_EPARSE, "no join token");
    text += strspn(text, blanks);
    size_t length = strnlen(text, CRYPTO_TOKEN_TEXT + 1);
    while (length && strchr(blanks, text[length - 1])) length--;
    if (length < sizeof prefix - 1 || memcmp(text, prefix, sizeof prefix - 1) != 0)
        return crypto_explain(why, WEFT_EPARSE,
                              "not a join token: it would begin with %s; make one with `weft token "
                              "create`",
                              prefix);
    int error = length >= CRYPTO_TOKEN_TEXT
                    ? WEFT_ELIMIT
                    : weft_base64_decode(WEFT_BASE64_JWS, text + sizeof prefix - 1,
                                         length - (sizeof prefix - 1), data, sizeof data, &size);
    if (!error && (size < CHECK_BYTES || crypto_sha256(data, size - CHECK_BYTES, sum) < 0 ||
                   memcmp(sum, data + size - CHECK_BYTES, CHECK_BYTES) != 0 ||
                   !decode(data, size - CHECK_BYTES, &token)))
        error = WEFT_EPARSE;
    if (!error) *out = token;
    crypto_wipe(data, sizeof data);
    crypto_wipe(&token, sizeof token);
    if (error)
        return crypto_explain(why, WEFT_EPARSE,
                              "the join token is damaged: copy all of it, or make another with "
                              "`weft token create`");
    return 0;
}

int crypto_token_check(const crypto_token *token, const crypto_bundle *bundle, int64_t now,
                       crypto_why *why) {
    uint8_t digest[CRYPTO_SHA256_SIZE];
    char want[WEFT_HEX_TEXT(CRYPTO_SHA256_SIZE)], got[WEFT_HEX_TEXT(CRYPTO_SHA256_SIZE)];
    if (now >= token->expires)
        return crypto_explain(
            why, WEFT_ETIMEOUT,
            "join token %s expired %lld s ago; make another with `weft token create`", token->id,
            (long long)((now - token->expires) / NS_PER_S));
    int error = crypto_bundle_digest(bundle, digest);
    if (error) return crypto_explain(why, error, "%s", weft_strerror(error));
    if (crypto_equal(digest, token->pin, sizeof digest)) return 0;
    (void)weft_hex_encode(token->pin, sizeof digest, want);
    (void)weft_hex_encode(digest, sizeof digest, got);
    return crypto_explain(
        why, WEFT_ECONFLICT,
        "%s is not the control plane of join token %s: its trust bundle is %.16s…, "
        "the token pins %.16s…; nothing was sent",
        token->address, token->id, got, want);
}

/* ---- what came over the wire */

static int take_certs(const crypto_der *items, size_t count, crypto_certs *out, size_t max,
                      crypto_cert **room, crypto_why *why) {
    *out = (crypto_certs){.items = room};
    if (!count || count > max)
        return crypto_explain(why, WEFT_EINVAL, "%zu certificates where 1 to %zu belong", count,
                              max);
    for (size_t i = 0; i < count; i++) {
        int error = crypto_cert_from_der(items[i].data, items[i].size, &room[i], why);
        if (error) return error;
        out->count++;
    }
    return 0;
}

static void drop_certs(const crypto_certs *certs) {
    for (size_t i = 0; i < certs->count; i++) crypto_cert_unref(certs->items[i]);
}

int crypto_bundle_from_der(const char *domain, const crypto_der *roots, size_t count,
                           crypto_bundle **bundle, crypto_why *why) {
    crypto_cert *room[CRYPTO_CERTS_MAX];
    crypto_certs certs;
    if (!domain || !crypto_domain_valid(domain))
        return crypto_explain(why, WEFT_EINVAL, "the bundle's trust domain is not one");
    int error = take_certs(roots, count, &certs, CRYPTO_CERTS_MAX, room, why);
    if (!error) error = crypto_bundle_new(domain, &certs, bundle, why);
    drop_certs(&certs);
    return error;
}

int crypto_svid_from_der(crypto_key *key, const char *identity, const crypto_der *chain,
                         size_t count, const crypto_bundle *bundle, int64_t now, crypto_svid **svid,
                         int64_t *expires, crypto_why *why) {
    crypto_cert *room[CRYPTO_CHAIN_MAX];
    crypto_certs certs;
    crypto_verified verified;
    crypto_svid *made = NULL;
    const crypto_expect expect = {
        .peer = CRYPTO_PEER_SERVER, .bundle = bundle, .ids = &identity, .id_count = 1};
    int error = take_certs(chain, count, &certs, CRYPTO_CHAIN_MAX, room, why);
    if (!error) error = crypto_svid_new(key, &certs, true, &made, why);
    if (!error) {
        const crypto_verdict verdict = crypto_verify(&certs, &expect, now, &verified, why);
        if (verdict != CRYPTO_VALID)
            error = verdict == CRYPTO_NO_MEMORY ? WEFT_ENOMEM : WEFT_EINVAL;
    }
    drop_certs(&certs);
    if (error) {
        crypto_svid_unref(made);
        return error;
    }
    *svid = made;
    if (expires) *expires = verified.expires;
    return 0;
}
