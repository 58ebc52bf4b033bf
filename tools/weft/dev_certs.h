/* Certificates for meshes on a developer's machine: a CA of our own in a folder, and an X.509-SVID per service
 * under it. `weft dev-certs` and `weft up` make them; sidecars read them as files. */
#ifndef TOOLS_WEFT_DEV_CERTS_H
#define TOOLS_WEFT_DEV_CERTS_H

#include <stdint.h>

#include "weft/arena.h"
#include "weft/buf.h"
#include "weft/crypto.h"

#define DEV_CERTS_DOMAIN "mesh.local"
#define DEV_CERTS_CA_TTL (INT64_C(3650) * 24 * 3600 * 1000000000) /* ten years */

typedef enum dev_cert_what { DEV_CERT_MADE, DEV_CERT_KEPT, DEV_CERT_RENEWED } dev_cert_what;
/* "made", "kept", "renewed" */
const char *dev_cert_what_name(dev_cert_what what);

/* A certificate on disk. Strings are in the arena. */
typedef struct dev_cert {
    const char *name;      /* of the service; "ca" */
    const char *id;        /* SPIFFE ID */
    const char *cert_file; /* PEM */
    const char *key_file;  /* PEM, owner-only */
    int64_t not_after;     /* wall ns */
    dev_cert_what what;
} dev_cert;

/* An open folder of certificates. Others wait in dev_certs_open until it is closed. */
typedef struct dev_certs {
    weft_arena *arena;
    const char *dir;
    const char *domain;
    const char *name_space;
    int64_t now; /* wall ns */
    int64_t ttl; /* of leaves, ns */
    dev_cert ca;
    /* private */
    int lock;
    crypto_key *key;
    crypto_cert *root;
    crypto_bundle *bundle;
} dev_certs;

/* Opens <dir>, made owner-only if missing, and its CA: ca.pem with ca.key, which are made if missing and else must
 * be of `domain`, belong together and be valid. The caller fills arena, dir, domain, name_space, now and ttl.
 * 0; WEFT_EIO, WEFT_EINVAL, WEFT_EPARSE or WEFT_ENOMEM with the reason in *why. Close it in any case. */
int dev_certs_open(dev_certs *certs, crypto_why *why) WEFT_MUST_USE;

/* <service>.pem (the leaf) and <service>.key: kept as long as they are this CA's, name this service, belong
 * together and more than half of their life is left; else made new, with a new key. The same errors. */
int dev_certs_leaf(dev_certs *certs, const char *service, dev_cert *out,
                   crypto_why *why) WEFT_MUST_USE;

void dev_certs_close(dev_certs *certs);

#endif
