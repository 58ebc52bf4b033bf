/* Join tokens: what a sidecar needs to ask a control plane for its first certificate (contracts.md
 * "Joining"). Both sides use this: the control plane writes tokens, `weft` hands them on, sidecars read them.
 *
 * Text form: "weft-join-1." and base64url, without padding, of
 *
 *     id 16 | secret 32 | pin 32 | expires 8 | length 2, address | length 2, identity | checksum 4
 *
 * numbers big endian, the checksum being the start of the SHA-256 of all before it: it tells a token that was
 * not copied whole, and nothing more. What the token claims is for the joiner; the control plane goes by what it
 * noted when it made the token.
 *
 * Pure functions; any thread. */
#ifndef WEFT_CRYPTO_JOIN_H
#define WEFT_CRYPTO_JOIN_H

#include "weft/addr.h"
#include "weft/crypto.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CRYPTO_TOKEN_TEXT 1536                 /* of the longest text, with its '\0' */
#define CRYPTO_TOKEN_ID 33                     /* 32 lower-case hex digits and '\0' */
#define CRYPTO_TOKEN_SECRET 32u                /* random bytes */
#define CRYPTO_TOKEN_IDENTITY 512              /* of the SPIFFE ID, with its '\0' */
#define CRYPTO_TOKEN_TTL INT64_C(600000000000) /* ns; the default and the most */

typedef struct crypto_token {
    char id[CRYPTO_TOKEN_ID]; /* public: what logs call it */
    uint8_t secret[CRYPTO_TOKEN_SECRET];
    uint8_t pin[CRYPTO_SHA256_SIZE]; /* crypto_bundle_digest of the control plane's bundle */
    int64_t expires;                 /* wall ns, whole seconds */
    char address[WEFT_ADDR_TEXT];
    char identity[CRYPTO_TOKEN_IDENTITY]; /* the one that may be asked for */
} crypto_token;

/* WEFT_EINVAL: a field is not what it says above. */
int crypto_token_format(const crypto_token *token, char out[CRYPTO_TOKEN_TEXT]) WEFT_MUST_USE;

/* Blanks and line feeds around the text are allowed. WEFT_EPARSE, `why` says what to do. The secret is in
 * `out`: crypto_wipe it. */
int crypto_token_parse(const char *text, crypto_token *out, crypto_why *why) WEFT_MUST_USE;

/* What a joiner checks before it shows the token to anyone: that it has not expired at `now` and that
 * `bundle`, as received from the control plane, is the one pinned. WEFT_ETIMEOUT, WEFT_ECONFLICT. */
int crypto_token_check(const crypto_token *token, const crypto_bundle *bundle, int64_t now,
                       crypto_why *why) WEFT_MUST_USE;

/* Bytes owned by someone else. */
typedef struct crypto_der {
    const void *data;
    size_t size;
} crypto_der;

/* A bundle as it came over the wire, at most CRYPTO_CERTS_MAX roots of `domain`. */
int crypto_bundle_from_der(const char *domain, const crypto_der *roots, size_t count,
                           crypto_bundle **bundle, crypto_why *why) WEFT_MUST_USE;

/* An SVID as it came over the wire, held against what was asked for: the leaf is for `key` and `identity`,
 * and chains to `bundle` at `now`. WEFT_EINVAL explains itself. *expires (may be NULL): the earliest end of
 * validity of the chain. */
int crypto_svid_from_der(crypto_key *key, const char *identity, const crypto_der *chain,
                         size_t count, const crypto_bundle *bundle, int64_t now, crypto_svid **svid,
                         int64_t *expires, crypto_why *why) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
