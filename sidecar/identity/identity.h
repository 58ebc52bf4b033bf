/* Who this sidecar is: it joins with a token, keeps its SVID and the trust bundle in a folder, renews the one at
 * half life and follows the other. A restart within a certificate's life needs no token.
 *
 * The folder (mode 0700, ours; everything in it is replaced as a whole):
 *
 *     svid.pem     private key and chain, leaf first, in one file, so that they always belong together
 *     bundle.pem   the roots
 *     control      where the control plane is, its trust domain, the bundle's sequence
 *
 * Calls to the control plane are made on threads of its own; what changed is told on one of them. */
#ifndef SIDECAR_IDENTITY_IDENTITY_H
#define SIDECAR_IDENTITY_IDENTITY_H

#include "weft/addr.h"
#include "weft/clock.h"
#include "weft/crypto.h"

#define IDENTITY_SVID_FILE "svid.pem"
#define IDENTITY_BUNDLE_FILE "bundle.pem"
#define IDENTITY_CONTROL_FILE "control"

typedef struct identity identity;

typedef struct identity_options {
    const char *folder;
    const char *spiffe;  /* who it must be; NULL: whoever the token or the folder says */
    const char *token;   /* NULL: from the folder alone */
    const char *address; /* of the control plane; NULL: the token's, else the folder's */
    bool plaintext;      /* no TLS to the control plane: a unix socket of ours, for development */
    int64_t timeout;     /* ns for joining; 0: 10 s */
    const weft_clock *clock; /* wall clock; NULL: the system's */
    /* A new SVID or bundle, already saved; both are borrowed. Called from identity_start on, one call at a time. */
    void (*changed)(void *user, crypto_svid *svid, crypto_bundle *bundle);
    void *user;
} identity_options;

/* From the folder if what is there is good, else by joining. Blocks at most `timeout`. WEFT_ENOTFOUND: nothing
 * there and no token. WEFT_EINVAL, WEFT_EIO, WEFT_ECONFLICT (refused, or not the control plane pinned),
 * WEFT_ETIMEOUT; `why` is the line for people. */
int identity_open(const identity_options *options, identity **out, crypto_why *why) WEFT_MUST_USE;

/* Renews and follows from now on. WEFT_ENOMEM: no thread. */
int identity_start(identity *self) WEFT_MUST_USE;

/* Ends that; blocks until calls under way are cancelled. NULL is allowed. */
void identity_close(identity *self);

/* References to what is in force. Any thread. */
crypto_svid *identity_svid(identity *self);
crypto_bundle *identity_bundle(identity *self);

/* Lives as long as `self`. */
const char *identity_spiffe(const identity *self);
const char *identity_address(const identity *self);

typedef struct identity_status {
    int64_t expires;   /* wall ns */
    int64_t renews;    /* when the next renewal is planned */
    uint64_t renewals; /* done */
    uint64_t failures; /* in a row */
    uint64_t sequence; /* of the bundle */
    char problem[256]; /* of the last failure; "" when the last went well */
} identity_status;
identity_status identity_get_status(identity *self);

#endif
