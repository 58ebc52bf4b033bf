/* The certificate authority of one trust domain: it signs leaf certificates and knows the trust bundle.
 *
 * Its folder (mode 0700, ours) holds either roots of our own
 *
 *     root-<n>.key root-<n>.pem   a generation each, the key 0600
 *     roots                       which of them there are, and when each signs and leaves
 *
 * or, put there by an operator, an authority below a root that is kept elsewhere
 *
 *     intermediate.key intermediate.pem   the key; its certificate and any up to, but not with, the root
 *     roots.pem                           the bundle
 *
 * Replacing a root of our own takes three steps, so that no peer ever sees a certificate below a root it does
 * not know yet, or no longer: the new root is in the bundle from ca_rotate on; it signs after `overlap`, by when
 * everyone has the bundle; the old one leaves after another leaf's life, by when nothing below it is valid.
 *
 * One thread at a time. Times are wall clock nanoseconds and come from the caller. */
#ifndef SERVICES_CONTROL_CA_CA_H
#define SERVICES_CONTROL_CA_CA_H

#include "weft/crypto.h"

typedef struct ca ca;

#define CA_LEAF INT64_C(86400000000000)          /* 24 h (contracts.md) */
#define CA_LEAF_MIN INT64_C(1000000000)          /* 1 s */
#define CA_ROOT (INT64_C(3650) * 86400000000000) /* ten years */
#define CA_OVERLAP INT64_C(3600000000000)        /* 1 h */
#define CA_ROOTS_MAX 4u                          /* in a bundle */

typedef struct ca_options {
    const char *folder; /* made if it is not there */
    const char *domain;
    int64_t leaf;    /* ns a leaf is valid from `now`; 0: CA_LEAF */
    int64_t overlap; /* ns before a new root signs; 0: CA_OVERLAP */
} ca_options;

/* Opens the folder, or begins with a first root. WEFT_EINVAL, WEFT_EIO, WEFT_EPARSE, WEFT_ENOMEM; `why` says
 * which file. */
int ca_open(const ca_options *options, int64_t now, ca **out, crypto_why *why) WEFT_MUST_USE;
void ca_free(ca *authority); /* NULL is allowed */

/* Of our trust domain; lives until the next ca_rotate or ca_tick. */
crypto_bundle *ca_bundle(const ca *authority);

/* Grows whenever the bundle changes; kept over restarts. From 1. */
uint64_t ca_sequence(const ca *authority);

const char *ca_domain(const ca *authority);
int64_t ca_leaf_life(const ca *authority);

/* Signs `csr` (DER or PEM) for `identity`, and refuses one that asks for anything else (WEFT_ECONFLICT).
 * WEFT_EINVAL, WEFT_EPARSE: no good request. The chain, leaf first and without root, is the caller's to
 * crypto_certs_clear. */
int ca_sign(ca *authority, const char *identity, const void *csr, size_t size, int64_t now,
            crypto_certs *chain, crypto_why *why) WEFT_MUST_USE;

/* A key made here and its SVID: for the control plane itself. */
int ca_issue(ca *authority, const char *identity, int64_t now, crypto_svid **svid,
             crypto_why *why) WEFT_MUST_USE;

typedef struct ca_rotation {
    int64_t signs; /* wall ns: from then on the new root signs */
    int64_t done;  /* the old one is gone */
} ca_rotation;

/* Begins to replace the root. WEFT_EBUSY while that is under way, WEFT_EUNSUPPORTED below a root that is not
 * ours. */
int ca_rotate(ca *authority, int64_t now, ca_rotation *out, crypto_why *why) WEFT_MUST_USE;

/* Takes roots out whose time has come. 1: the bundle changed; 0; or negative, and all is as it was. *next: when
 * to call again, INT64_MAX: never. */
int ca_tick(ca *authority, int64_t now, int64_t *next, crypto_why *why) WEFT_MUST_USE;

/* The certificate that signs at `now`. Lives as ca_bundle. */
const crypto_cert *ca_signer(const ca *authority, int64_t now);

#endif
