/* What the files of sidecar/identity share. */
#ifndef SIDECAR_IDENTITY_INTERNAL_H
#define SIDECAR_IDENTITY_INTERNAL_H

#include <pthread.h>

#include "sidecar/identity/identity.h"
#include "weft/crypto_join.h"
#include "weft/rng.h"
#include "weft/rpc.h"

#define IDENTITY_PATH 1024
#define IDENTITY_TIMEOUT (10 * WEFT_NS_PER_S)
#define IDENTITY_RETRY (WEFT_NS_PER_S)          /* after the first failure */
#define IDENTITY_RETRY_MAX (60 * WEFT_NS_PER_S) /* and at the most */

/* Everything one needs to be someone. */
typedef struct identity_state {
    char spiffe[CRYPTO_TOKEN_IDENTITY];
    char domain[CRYPTO_DOMAIN_MAX + 1];
    char address[WEFT_ADDR_TEXT];
    uint64_t sequence; /* of the bundle */
    int64_t expires;   /* wall ns */
    crypto_svid *svid;
    crypto_bundle *bundle;
} identity_state;
void identity_state_clear(identity_state *state);

int identity_explain(crypto_why *why, int error, const char *format, ...) WEFT_PRINTF(3, 4);

/* ---- plan.c: when, pure */

/* When to renew what was got at `now` and ends at `expires`: at half life, less up to a tenth of it by chance,
 * so that those who came together do not come together again. */
int64_t identity_renew_at(int64_t now, int64_t expires, weft_rng *rng);

/* When to try again after the `failures`-th failure in a row: doubling waits with jitter, never longer than a
 * tenth of what is left. */
int64_t identity_retry_at(int64_t now, int64_t expires, uint64_t failures, weft_rng *rng);

/* ---- folder.c */

int identity_folder_check(const char *folder, crypto_why *why) WEFT_MUST_USE;
/* What is there, good at `now`. WEFT_ENOTFOUND: nothing; WEFT_ETIMEOUT: it has expired. */
int identity_load(const char *folder, int64_t now, identity_state *out,
                  crypto_why *why) WEFT_MUST_USE;
int identity_save(const char *folder, const identity_state *state, crypto_why *why) WEFT_MUST_USE;
int identity_save_bundle(const char *folder, const identity_state *state,
                         crypto_why *why) WEFT_MUST_USE;

/* ---- calls.c: blocking calls to the control plane */

typedef struct identity_calls {
    const weft_clock *clock;
    bool plaintext;
} identity_calls;

/* With a token, from nothing: bundle, pin, certificate. `out->address` may be set to dial elsewhere than the
 * token says. */
int identity_join(const identity_calls *calls, weft_ctx *ctx, const crypto_token *token,
                  const char *text, identity_state *out, crypto_why *why) WEFT_MUST_USE;

/* The next certificate for `state`, in place. */
int identity_renew(const identity_calls *calls, weft_ctx *ctx, identity_state *state,
                   crypto_why *why) WEFT_MUST_USE;

/* Waits for a bundle later than the state's and hands each to `each`, which takes the reference over; returns
 * when the stream ends. */
int identity_follow(const identity_calls *calls, weft_ctx *ctx, const identity_state *state,
                    void (*each)(void *user, crypto_bundle *bundle, uint64_t sequence), void *user,
                    crypto_why *why) WEFT_MUST_USE;

#endif
