/* Certificate authorities and identities for tests. Everything asserts that it worked. */
#ifndef TEST_PKI_H
#define TEST_PKI_H

#include "weft/crypto.h"
#include "weft/tls.h"

#define PKI_NOW INT64_C(1800000000000000000) /* 2027-01-15T08:00:00Z */
#define PKI_DAY (INT64_C(86400) * 1000000000)

typedef struct test_pki {
    crypto_key *root_key;
    crypto_cert *root;
    crypto_key *ca_key; /* of the intermediate */
    crypto_cert *ca;
    crypto_bundle *bundle; /* of `root`, for `domain` */
    char domain[64];
} test_pki;

/* A root "CN=<name> root" and an intermediate "CN=<name> CA", valid for ten years from PKI_NOW. */
void pki_init(test_pki *pki, const char *domain, const char *name);
void pki_free(test_pki *pki);

/* An SVID spiffe://<domain><path>, issued at `now` for `lifetime`. dns may be NULL. */
crypto_svid *pki_svid(const test_pki *pki, const char *path, int64_t now, int64_t lifetime);
crypto_svid *pki_dns(const test_pki *pki, const char *dns, int64_t now, int64_t lifetime);

/* Contexts with clock `clock` (NULL: one that stands at PKI_NOW). A client expects `expect`. */
tls_context *pki_server(const test_pki *pki, crypto_svid *svid, const weft_clock *clock);
tls_context *pki_client(const test_pki *pki, crypto_svid *svid, const char *expect,
                        const weft_clock *clock);

#endif
