/* Keys, certificates and SPIFFE identities, over OpenSSL 3.
 *
 * Objects (key, cert, bundle, svid) are immutable and shared by reference; their counters are atomic, so
 * any thread may use, _ref and _unref them. Other functions are pure: any thread.
 *
 * Whatever takes a `crypto_why *` explains a failure there in one line: the rule, whose it is, what was
 * expected, what to do. It may be NULL and is untouched on success. Text that comes from certificates is
 * escaped to printable ASCII. Times are wall clock nanoseconds and always come from the caller. */
#ifndef WEFT_CRYPTO_H
#define WEFT_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/buf.h"
#include "weft/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CRYPTO_WHY_SIZE 640
typedef struct crypto_why {
    char text[CRYPTO_WHY_SIZE];
} crypto_why;

/* ---- hashes, random */

#define CRYPTO_SHA256_SIZE 32u

/* FIPS 180-4; RFC 2104. WEFT_ENOMEM is the only failure. */
int crypto_sha256(const void *data, size_t size, uint8_t out[CRYPTO_SHA256_SIZE]) WEFT_MUST_USE;
int crypto_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                       uint8_t out[CRYPTO_SHA256_SIZE]) WEFT_MUST_USE;

/* Bytes nobody can guess, for keys, tokens and ids. WEFT_EIO when the generator fails. */
int crypto_random(void *out, size_t size) WEFT_MUST_USE;

/* 1 when equal; the time it takes depends on `size` only. */
int crypto_equal(const void *a, const void *b, size_t size) WEFT_MUST_USE;

/* Overwrites secrets in a way the compiler keeps. */
void crypto_wipe(void *data, size_t size);

/* ---- keys */

typedef struct crypto_key crypto_key; /* a private key with its public half */

typedef enum crypto_key_kind { CRYPTO_KEY_P256, CRYPTO_KEY_ED25519 } crypto_key_kind;

int crypto_key_generate(crypto_key_kind kind, crypto_key **key) WEFT_MUST_USE;
crypto_key *crypto_key_ref(crypto_key *key);
void crypto_key_unref(crypto_key *key); /* NULL is allowed */

/* PKCS#8 PEM ("PRIVATE KEY", RFC 5958); reading takes "EC PRIVATE KEY" and RSA from 2,048 bits too. Keys
 * under a passphrase are refused. Wipe `out` after use. */
int crypto_key_to_pem(const crypto_key *key, weft_buf *out) WEFT_MUST_USE;
int crypto_key_from_pem(const char *pem, size_t size, crypto_key **key,
                        crypto_why *why) WEFT_MUST_USE;

/* Stores with mode 0600, by writing a file beside it and renaming. Loads; with `owner_only`, refuses a file
 * that others may read or that is not ours. WEFT_ENOTFOUND, WEFT_EIO, WEFT_EPARSE, WEFT_EINVAL (mode). */
int crypto_key_save(const crypto_key *key, const char *path, crypto_why *why) WEFT_MUST_USE;
int crypto_key_load(const char *path, bool owner_only, crypto_key **key,
                    crypto_why *why) WEFT_MUST_USE;

/* ---- SPIFFE IDs (SPIFFE-ID.md sections 2.1 to 2.3) */

#define CRYPTO_SPIFFE_MAX 2048u /* bytes of an ID */
#define CRYPTO_DOMAIN_MAX 255u  /* bytes of a trust domain */

/* Points into the text it was parsed from. */
typedef struct crypto_spiffe {
    const char *text; /* the whole ID, `size` bytes */
    size_t size;
    const char *domain; /* "mesh.local" */
    size_t domain_size;
    const char *path; /* "/ns/shop/sa/order", or "" for the ID of a trust domain */
    size_t path_size;
} crypto_spiffe;

/* Reads an ID: spiffe://<domain>[/segment…], lower-case domain, no percent-encoding, port, query, empty or
 * dot segments. On WEFT_EPARSE `*why` (may be NULL) points to a static sentence. */
int crypto_spiffe_parse(const char *text, size_t size, crypto_spiffe *id,
                        const char **why) WEFT_MUST_USE;

/* 1 when `name` is a trust domain's: 1 to 255 of a-z 0-9 . - _ */
int crypto_domain_valid(const char *name);

/* "spiffe://<domain>/ns/<namespace>/sa/<service>" (contracts.md "Names") to `out`. WEFT_ELIMIT when it does
 * not fit, WEFT_EINVAL when a part cannot be in an ID. */
int crypto_spiffe_format(const char *domain, const char *name_space, const char *service, char *out,
                         size_t size) WEFT_MUST_USE;

/* ---- certificates */

typedef struct crypto_cert crypto_cert;

typedef struct crypto_cert_info {
    const char *subject; /* RFC 2253 text, escaped, cut at 255 bytes */
    const char *issuer;
    const char *serial;                 /* lower-case hex */
    const char *spiffe;                 /* the only URI SAN if that is a valid SPIFFE ID, else "" */
    size_t uri_sans;                    /* how many URI SANs */
    int64_t not_before;                 /* wall ns */
    int64_t not_after;                  /* wall ns */
    bool ca;                            /* basicConstraints says so */
    bool may_sign_certs;                /* keyCertSign, or no keyUsage at all */
    uint8_t sha256[CRYPTO_SHA256_SIZE]; /* of the DER */
} crypto_cert_info;

/* Certificates, a chain being leaf first. Zeroed: empty. */
typedef struct crypto_certs {
    crypto_cert **items; /* a reference each */
    size_t count;
} crypto_certs;

#define CRYPTO_CERTS_MAX 64u       /* of one PEM file */
#define CRYPTO_CHAIN_MAX 8u        /* of a peer's chain */
#define CRYPTO_CERT_SIZE_MAX 65536 /* bytes of DER */

int crypto_cert_from_der(const void *der, size_t size, crypto_cert **cert,
                         crypto_why *why) WEFT_MUST_USE;
int crypto_cert_to_der(const crypto_cert *cert, weft_buf *out) WEFT_MUST_USE;
int crypto_cert_to_pem(const crypto_cert *cert, weft_buf *out) WEFT_MUST_USE;
crypto_cert *crypto_cert_ref(crypto_cert *cert);
void crypto_cert_unref(crypto_cert *cert); /* NULL is allowed */

/* Lives as long as the certificate. */
const crypto_cert_info *crypto_cert_get_info(const crypto_cert *cert);

/* 1 when any DNS name of subjectAltName matches `name`: exactly or by a leading "*." for one label (RFC
 * 6125 section 6.4.3), in any case. The subject is never looked at. */
int crypto_cert_matches_dns(const crypto_cert *cert, const char *name);

/* All certificates of a PEM text (1 .. CRYPTO_CERTS_MAX); other PEM blocks are skipped. */
int crypto_certs_from_pem(const char *pem, size_t size, crypto_certs *certs,
                          crypto_why *why) WEFT_MUST_USE;
int crypto_certs_load(const char *path, crypto_certs *certs, crypto_why *why) WEFT_MUST_USE;
int crypto_certs_to_pem(const crypto_certs *certs, weft_buf *out) WEFT_MUST_USE;
void crypto_certs_clear(crypto_certs *certs);

/* ---- signing requests (PKCS#10, RFC 2986) */

typedef struct crypto_csr crypto_csr;

/* A request for `spiffe` (its only name), signed by `key`, as DER. */
int crypto_csr_make(const crypto_key *key, const char *spiffe, weft_buf *der) WEFT_MUST_USE;

/* Reads DER or PEM and checks the signature (proof of possession), the key's kind and strength, and that
 * exactly one URI is asked for, a valid SPIFFE ID with a path. */
int crypto_csr_parse(const void *data, size_t size, crypto_csr **csr,
                     crypto_why *why) WEFT_MUST_USE;
void crypto_csr_free(crypto_csr *csr);
const char *crypto_csr_spiffe(const crypto_csr *csr); /* what is asked for; lives as long as it */

/* ---- issuing */

typedef enum crypto_cert_role {
    CRYPTO_ROOT,         /* self-signed CA */
    CRYPTO_INTERMEDIATE, /* CA below another, path length 0 */
    CRYPTO_LEAF          /* for TLS, both roles */
} crypto_cert_role;

#define CRYPTO_BACKDATE \
    INT64_C(60000000000) /* how far before `now` validity begins (contracts.md) */

/* What to put into a certificate. X.509-SVID sections 2 to 4: critical basicConstraints and keyUsage, one URI
 * SAN; a CA's URI is its trust domain's. Serial: 127 random bits. SKI and AKI always. */
typedef struct crypto_issue {
    crypto_cert_role role;
    const char *common_name; /* may be NULL */
    const char *spiffe;      /* may be NULL where `dns` is given or for CAs */
    const char *const *dns;  /* leaf: DNS names */
    size_t dns_count;
    int64_t now;      /* wall ns */
    int64_t lifetime; /* ns, > 0; validity ends no later than the issuer's */
} crypto_issue;

/* A certificate for the public half of `subject` (or of the request: pass NULL and `csr`), signed by
 * `issuer_key`. For CRYPTO_ROOT `issuer` is NULL and `issuer_key` the same key. WEFT_EINVAL explains itself
 * in `why`. */
int crypto_cert_issue(const crypto_issue *what, const crypto_key *subject, const crypto_csr *csr,
                      const crypto_cert *issuer, const crypto_key *issuer_key, crypto_cert **cert,
                      crypto_why *why) WEFT_MUST_USE;

/* ---- trust bundles */

/* The roots of one trust domain (SPIFFE Trust Domain and Bundle, section 4), several while one is replaced
 * by another. */
typedef struct crypto_bundle crypto_bundle;

/* Each must be a CA that may sign certificates. `domain` may be NULL where peers are not of a mesh. The list is
 * copied (references). */
int crypto_bundle_new(const char *domain, const crypto_certs *roots, crypto_bundle **bundle,
                      crypto_why *why) WEFT_MUST_USE;
crypto_bundle *crypto_bundle_ref(crypto_bundle *bundle);
void crypto_bundle_unref(crypto_bundle *bundle);                      /* NULL is allowed */
const char *crypto_bundle_domain(const crypto_bundle *bundle);        /* "" for none */
const crypto_certs *crypto_bundle_roots(const crypto_bundle *bundle); /* lives as long as it */

/* 1 when the root with that fingerprint is in the bundle. */
int crypto_bundle_has(const crypto_bundle *bundle, const uint8_t sha256[CRYPTO_SHA256_SIZE]);

/* SHA-256 over the sorted fingerprints of the roots: the same for any order. What a join token pins. */
int crypto_bundle_digest(const crypto_bundle *bundle,
                         uint8_t out[CRYPTO_SHA256_SIZE]) WEFT_MUST_USE;

/* ---- verification */

typedef enum crypto_verdict {
    CRYPTO_VALID,
    CRYPTO_EXPIRED,
    CRYPTO_NOT_YET_VALID,
    CRYPTO_UNKNOWN_ROOT,
    CRYPTO_WRONG_IDENTITY,
    CRYPTO_BAD_CERT, /* signature, key usage, not an SVID, too weak, too long a chain … */
    CRYPTO_NO_MEMORY
} crypto_verdict;

typedef enum crypto_peer { CRYPTO_PEER_CLIENT, CRYPTO_PEER_SERVER } crypto_peer;

/* Whom to accept. A certificate must chain to the bundle in any case. If neither `ids` nor `dns` is given it
 * must be an SVID of `domain`; with `ids` an SVID that is one of them exactly; with `dns` it may also be no SVID but
 * have one of these names. All strings are the caller's. */
typedef struct crypto_expect {
    crypto_peer peer;
    const crypto_bundle *bundle;
    const char *domain; /* NULL: the bundle's */
    const char *const *ids;
    size_t id_count;
    const char *const *dns;
    size_t dns_count;
    bool any_cert; /* neither names nor domain are checked: the chain alone counts */
} crypto_expect;

typedef struct crypto_verified {
    int64_t expires; /* wall ns: the earliest not_after of the chain, its root included */
    uint8_t root[CRYPTO_SHA256_SIZE];
} crypto_verified;

/* Judges a chain (leaf first, untrusted intermediates in any order) at wall time `now`. `out` is filled only
 * for CRYPTO_VALID and may be NULL. */
crypto_verdict crypto_verify(const crypto_certs *chain, const crypto_expect *expect, int64_t now,
                             crypto_verified *out, crypto_why *why) WEFT_MUST_USE;

/* ---- SVIDs: who we are */

typedef struct crypto_svid crypto_svid;

/* A key and its chain (leaf first). With `spiffe` the leaf must be an X.509-SVID. WEFT_EINVAL: they do not belong
 * together, or no SVID. References are taken. */
int crypto_svid_new(crypto_key *key, const crypto_certs *chain, bool spiffe, crypto_svid **svid,
                    crypto_why *why) WEFT_MUST_USE;
crypto_svid *crypto_svid_ref(crypto_svid *svid);
void crypto_svid_unref(crypto_svid *svid); /* NULL is allowed */
const crypto_certs *crypto_svid_chain(const crypto_svid *svid);
crypto_key *crypto_svid_key(const crypto_svid *svid); /* borrowed */
const char *crypto_svid_id(const crypto_svid *svid);  /* "" when it is no SVID */

#ifdef __cplusplus
}
#endif
#endif
