/* Random numbers for balancing, jitter, sampling and simulation: fast, seeded, repeatable, and NOT for
 * keys, tokens or nonces (those come from lib/crypto).
 *
 * xoshiro256** 1.0 by Blackman and Vigna, seeded through SplitMix64 as they advise
 * (https://prng.di.unimi.it). The same seed gives the same numbers on every machine and in every release.
 * A generator belongs to one thread at a time; give each its own with _fork. */
#ifndef WEFT_RNG_H
#define WEFT_RNG_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_rng {
    uint64_t state[4]; /* never all zero once seeded */
} weft_rng;

/* Starts the sequence that belongs to `seed`; any value will do. */
void weft_rng_seed(weft_rng *rng, uint64_t seed);

/* A seed nobody can guess, from getrandom(2); should the kernel refuse, from the clocks. Any thread. */
uint64_t weft_rng_system_seed(void);

/* Uniform in 0 .. 2^64 - 1. */
uint64_t weft_rng_u64(weft_rng *rng);

/* Uniform in 0 .. n - 1, without bias (Lemire, https://arxiv.org/abs/1805.10941); 0 when n is 0. */
uint64_t weft_rng_below(weft_rng *rng, uint64_t n);

/* Uniform in [0, 1), in steps of 2^-53. */
double weft_rng_double(weft_rng *rng);

/* A new generator seeded from this one, so that parts of a simulation do not disturb each other. */
weft_rng weft_rng_fork(weft_rng *rng);

#ifdef __cplusplus
}
#endif
#endif
