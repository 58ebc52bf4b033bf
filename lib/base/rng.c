/* xoshiro256** and SplitMix64. */
#include "weft/rng.h"

#include <errno.h>
#include <stddef.h>
#include <sys/random.h>
#include <unistd.h>

#include "weft/clock.h"

/* https://prng.di.unimi.it/splitmix64.c */
static uint64_t splitmix(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void weft_rng_seed(weft_rng *rng, uint64_t seed) {
    /* Four outputs in a row of a bijection: at most one of them is zero. */
    for (size_t i = 0; i < 4; i++) rng->state[i] = splitmix(&seed);
}

uint64_t weft_rng_system_seed(void) {
    uint64_t seed = 0;
    ssize_t n = 0;
    do {
        n = getrandom(&seed, sizeof seed, 0);
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof seed) return seed;
    seed = (uint64_t)weft_wall(NULL) ^ (uint64_t)weft_now(NULL) << 32 ^ (uint64_t)getpid() << 48;
    return splitmix(&seed);
}

static uint64_t rotl(uint64_t x, int k) { return x << k | x >> (64 - k); }

/* https://prng.di.unimi.it/xoshiro256starstar.c */
uint64_t weft_rng_u64(weft_rng *rng) {
    uint64_t *s = rng->state;
    const uint64_t result = rotl(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t weft_rng_below(weft_rng *rng, uint64_t n) {
    if (!n) return 0;
    unsigned __int128 product = (unsigned __int128)weft_rng_u64(rng) * n;
    if ((uint64_t)product < n) {
        const uint64_t threshold = (0 - n) % n; /* 2^64 mod n */
        while ((uint64_t)product < threshold) product = (unsigned __int128)weft_rng_u64(rng) * n;
    }
    return (uint64_t)(product >> 64);
}

double weft_rng_double(weft_rng *rng) { return (double)(weft_rng_u64(rng) >> 11) * 0x1.0p-53; }

weft_rng weft_rng_fork(weft_rng *rng) {
    weft_rng child;
    weft_rng_seed(&child, weft_rng_u64(rng));
    return child;
}
