/* A network inside one thread: loops made with net_loop_config.sim listen and dial here. Time stands still
 * until net_sim_run moves it; every choice comes from one seeded generator, so a run can be repeated from
 * its seed.
 *
 * What it does to bytes: latency with jitter, any segmentation, short reads and writes, buffers that fill,
 * resets, refused and lost connection attempts, partitions between hosts. It never reorders, changes or
 * loses bytes within a connection, as TCP does not. */
#ifndef WEFT_NET_SIM_H
#define WEFT_NET_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/clock.h"
#include "weft/error.h"
#include "weft/net.h"
#include "weft/rng.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct net_sim net_sim;

/* Probabilities are per million. All zero: a perfect network without latency. */
typedef struct net_faults {
    int64_t latency_min; /* ns, one way */
    int64_t latency_max;
    uint32_t buffer;       /* bytes on their way in one direction; 0: 65,536 */
    uint32_t segment_max;  /* bytes that arrive at once; 0: any */
    uint32_t short_read;   /* a read gives only a part */
    uint32_t short_write;  /* a write takes only a part */
    uint32_t reset;        /* of each write: the connection is reset */
    uint32_t refuse;       /* of each connect: refused */
    uint32_t lose_connect; /* of each connect: no answer */
} net_faults;

/* A world that begins at monotonic and wall time `start`. */
int net_sim_new(uint64_t seed, int64_t start, net_sim **sim) WEFT_MUST_USE;

/* Its loops must be freed before. */
void net_sim_free(net_sim *sim);

const weft_clock *net_sim_clock(const net_sim *sim);
weft_rng *net_sim_rng(net_sim *sim); /* the one generator: draws change what follows */

/* For what is written or begun from now on. */
void net_sim_set_faults(net_sim *sim, const net_faults *faults);

/* Between two hosts (names of loops) nothing passes, either way, until healed; it is delivered then. */
void net_sim_partition(net_sim *sim, const char *a, const char *b, bool apart);

/* As when the machine lost power: connections of that host just fall silent, and its listeners are gone.
 * (Freeing its loop instead is a process that ended: peers see the end.) */
void net_sim_kill(net_sim *sim, const char *host);

/* What a name resolves to: literals or unix addresses, "10.0.0.1 10.0.0.2"; NULL: does not exist. */
int net_sim_set_name(net_sim *sim, const char *name, const char *addrs) WEFT_MUST_USE;

/* Runs until nothing is left to do before `until` (then the time is `until`), or `done(user)` (may be NULL) returns
 * true after a step. Returns the steps taken. */
size_t net_sim_run(net_sim *sim, int64_t until, bool (*done)(void *user), void *user);

/* SHA-256-like fingerprint of everything delivered so far (siphash of times and bytes): equal seeds give equal
 * traces. */
uint64_t net_sim_trace(const net_sim *sim);

#ifdef __cplusplus
}
#endif
#endif
