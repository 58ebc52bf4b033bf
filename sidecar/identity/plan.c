/* When to renew, and when to try again. */
#include "sidecar/identity/internal.h"

static int64_t share(weft_rng *rng, int64_t ns) {
    return ns > 0 ? (int64_t)weft_rng_below(rng, (uint64_t)ns + 1) : 0;
}

int64_t identity_renew_at(int64_t now, int64_t expires, weft_rng *rng) {
    const int64_t life = expires > now ? expires - now : 0;
    return now + life / 2 - share(rng, life / 10);
}

int64_t identity_retry_at(int64_t now, int64_t expires, uint64_t failures, weft_rng *rng) {
    const unsigned doublings = failures > 6 ? 6 : failures ? (unsigned)failures - 1 : 0;
    int64_t wait = IDENTITY_RETRY << doublings;
    const int64_t left = expires > now ? (expires - now) / 10 : IDENTITY_RETRY_MAX;
    if (wait > IDENTITY_RETRY_MAX) wait = IDENTITY_RETRY_MAX;
    if (wait > left) wait = left;
    if (wait < WEFT_NS_PER_MS * 100) wait = WEFT_NS_PER_MS * 100;
    return now + wait / 2 + share(rng, wait / 2);
}
