/* Join tokens as the control plane keeps them: what each allows, the hash of its secret, and whether it was
 * used. A token is the head "token/<id>" in the store; making it is the head's first move, using it the second,
 * so of any number of users at once exactly one wins, over restarts and among several control planes. Any
 * thread. */
#ifndef SERVICES_CONTROL_JOIN_TOKENS_H
#define SERVICES_CONTROL_JOIN_TOKENS_H

#include "weft/crypto_join.h"
#include "weft/store_revisions.h"

/* Fills id and secret of `token`, whose other fields are set, and stores it. `author` made it. Durable on
 * return. WEFT_EINVAL for fields that no token may have. */
int tokens_create(weft_revisions *store, crypto_token *token, const char *author) WEFT_MUST_USE;

/* X(NAME, what is said of it) */
#define TOKEN_VERDICTS(X)                                                                     \
    X(GOOD, "good")                                                                           \
    X(UNKNOWN, "is not one of this control plane: make one here with `weft token create`")    \
    X(USED,                                                                                   \
      "was used before: a token is good for one join; make another with `weft token create`") \
    X(EXPIRED, "has expired: make another with `weft token create`")                          \
    X(FOREIGN, "pins another trust bundle than ours: make one here with `weft token create`")

typedef enum token_verdict {
#define X(name, text) TOKEN_##name,
    TOKEN_VERDICTS(X)
#undef X
} token_verdict;

const char *token_verdict_text(token_verdict verdict);

/* Judges a token that someone shows at wall time `now`, and uses it up. `pin` is the digest of our bundle. For
 * TOKEN_GOOD `identity` has what was allowed when it was made, whatever the token itself says. A token without
 * the right secret is TOKEN_UNKNOWN and changes nothing; one with it is used up even when it expired. Negative:
 * the store's error, and nothing is known. */
int tokens_use(weft_revisions *store, const crypto_token *shown,
               const uint8_t pin[CRYPTO_SHA256_SIZE], int64_t now, const char *user,
               token_verdict *verdict, char identity[CRYPTO_TOKEN_IDENTITY]) WEFT_MUST_USE;

#endif
