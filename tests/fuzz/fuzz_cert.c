/* Certificates, requests, keys and SPIFFE IDs from strangers. The first byte says what the rest is. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "tests/support/pki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static test_pki mesh;

static void check_chain(const crypto_certs *chain) {
    static const char *const dns[] = {"api.example.com"};
    const crypto_expect expects[] = {
        {.peer = CRYPTO_PEER_CLIENT, .bundle = mesh.bundle},
        {.peer = CRYPTO_PEER_SERVER, .bundle = mesh.bundle, .dns = dns, .dns_count = 1},
    };
    crypto_why why;
    crypto_verified out;
    for (size_t i = 0; i < 2; i++)
        if (crypto_verify(chain, &expects[i], PKI_NOW, &out, &why) == CRYPTO_VALID) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    crypto_why why;
    crypto_cert *cert = NULL;
    crypto_certs certs = {0};
    crypto_csr *csr = NULL;
    crypto_key *key = NULL;
    crypto_spiffe id;
    if (!mesh.root) pki_init(&mesh, "mesh.local", "mesh");
    if (!size) return 0;
    const char *text = (const char *)data + 1;
    switch (data[0] % 5) {
    case 0:
        if (crypto_cert_from_der(text, size - 1, &cert, &why)) break;
        certs.items = &cert;
        certs.count = 1;
        check_chain(&certs);
        crypto_cert_unref(cert);
        break;
    case 1:
        if (crypto_certs_from_pem(text, size - 1, &certs, &why)) break;
        if (certs.count <= CRYPTO_CHAIN_MAX) check_chain(&certs);
        crypto_certs_clear(&certs);
        break;
    case 2:
        if (!crypto_csr_parse(text, size - 1, &csr, &why)) {
            /* Whatever is accepted asks for one valid name. */
            const char *name = crypto_csr_spiffe(csr);
            if (!name || crypto_spiffe_parse(name, __builtin_strlen(name), &id, NULL)) abort();
        }
        crypto_csr_free(csr);
        break;
    case 3:
        if (!crypto_spiffe_parse(text, size - 1, &id, NULL) &&
            id.domain_size + id.path_size + 9 != size - 1)
            abort();
        break;
    default:
        if (!crypto_key_from_pem(text, size - 1, &key, &why)) crypto_key_unref(key);
    }
    return 0;
}
