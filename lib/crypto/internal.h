/* What the files of lib/crypto share. OpenSSL types stay behind this header. */
#ifndef CRYPTO_INTERNAL_H
#define CRYPTO_INTERNAL_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>

#include "weft/clock.h"
#include "weft/crypto.h"

#define NAME_TEXT 256
#define TIME_TEXT 28

struct crypto_key {
    atomic_uint refs;
    EVP_PKEY *pkey;
};

struct crypto_cert {
    atomic_uint refs;
    X509 *x509;
    crypto_cert_info info;
    char subject[NAME_TEXT];
    char issuer[NAME_TEXT];
    char serial[64];
    char *spiffe; /* heap, or NULL */
};

struct crypto_bundle {
    atomic_uint refs;
    X509_STORE *store;
    crypto_certs roots;
    char domain[CRYPTO_DOMAIN_MAX + 1];
};

struct crypto_svid {
    atomic_uint refs;
    crypto_key *key;
    crypto_certs chain;
};

/* Sets the line, and empties OpenSSL's queue of errors. Returns `error`, so that it reads well. */
int crypto_explain(crypto_why *why, int error, const char *format, ...) WEFT_PRINTF(3, 4);

/* The latest reason in OpenSSL's queue, "" when it is empty. Lives for ever. */
const char *crypto_openssl_reason(void);

/* A certificate whose reference to `x509` is taken over, also on failure. */
int crypto_cert_wrap(X509 *x509, crypto_cert **cert, crypto_why *why);

int crypto_certs_push(crypto_certs *certs, crypto_cert *cert); /* takes a reference */

/* "2026-01-31T23:59:59Z" */
const char *crypto_time_text(int64_t wall, char out[TIME_TEXT]);

/* "spiffe://…" or the subject in quotes. */
const char *crypto_cert_name(const crypto_cert *cert, char out[CRYPTO_WHY_SIZE]);

/* NULL, or what keeps the certificate from being the leaf of an X.509-SVID (X509-SVID.md section 5.2). */
const char *crypto_svid_fault(const crypto_cert *cert);

/* NULL, or why a public key is not accepted: kind or strength. */
const char *crypto_pkey_fault(EVP_PKEY *pkey);

EVP_PKEY *crypto_csr_pkey(const crypto_csr *csr);

#endif
