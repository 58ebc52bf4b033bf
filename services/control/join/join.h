/* Who gets a certificate: the decisions behind IdentityService, apart from gRPC. Any thread: what is shared is
 * locked here. */
#ifndef SERVICES_CONTROL_JOIN_JOIN_H
#define SERVICES_CONTROL_JOIN_JOIN_H

#include <pthread.h>
#include <stdatomic.h>

#include "services/control/ca/ca.h"
#include "services/control/join/audit.h"
#include "weft/crypto_join.h"
#include "weft/status.h"

/* All but the counters is set before the first call. */
typedef struct join_desk {
    ca *authority; /* borrowed, under `lock` */
    weft_revisions *store;
    audit *log;
    const weft_clock *clock;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* the bundle; broadcast by join_tick and join_rotate */
    bool closed;            /* under `lock`: watchers go home */
    atomic_ullong joins, renewals;
} join_desk;

void join_init(join_desk *desk, ca *authority, weft_revisions *store, audit *log,
               const weft_clock *clock);
void join_end(join_desk *desk);

/* A certificate, or the line that says why not. */
typedef struct join_result {
    weft_code code; /* WEFT_OK, or what the caller is told */
    char text[CRYPTO_WHY_SIZE + 256];
    char identity[CRYPTO_TOKEN_IDENTITY];
    crypto_certs chain;        /* leaf first; join_result_clear */
    crypto_bundle *bundle;     /* a reference */
    uint64_t sequence;         /* of the bundle */
    int64_t expires, renew_at; /* wall ns */
} join_result;
void join_result_clear(join_result *result);

typedef struct join_csr {
    const void *data;
    size_t size;
} join_csr;

/* A first certificate for a token. `peer` is the caller's address, for the audit log. */
void join_with_token(join_desk *desk, const char *token, join_csr csr, const char *peer,
                     join_result *out);

/* The next one for whoever proved to be `identity` by mTLS; NULL: nobody did. */
void join_renew(join_desk *desk, const char *identity, join_csr csr, const char *peer,
                join_result *out);

/* A reference to the bundle, and its sequence. */
crypto_bundle *join_bundle(join_desk *desk, uint64_t *sequence);

/* As join_bundle, once the sequence is above `after`; NULL at `deadline` (monotonic ns of the system's clock)
 * or when the desk is closed. */
crypto_bundle *join_bundle_wait(join_desk *desk, uint64_t after, int64_t deadline,
                                uint64_t *sequence);
void join_close(join_desk *desk);

/* ca_rotate and ca_tick under the lock; audited. */
int join_rotate(join_desk *desk, const char *actor, ca_rotation *out,
                crypto_why *why) WEFT_MUST_USE;
/* When to call again, wall ns. */
int64_t join_tick(join_desk *desk);

/* A token for `identity` of our trust domain. WEFT_EINVAL explains itself. */
int join_token(join_desk *desk, crypto_token *token, const char *actor,
               crypto_why *why) WEFT_MUST_USE;

#endif
