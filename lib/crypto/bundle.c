/* Trust bundles, and who we are. */
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/crypto/internal.h"
#include "weft/mem.h"

static int add_root(crypto_bundle *bundle, crypto_cert *root, crypto_why *why) {
    if (!root->info.ca || !root->info.may_sign_certs)
        return crypto_explain(why, WEFT_EINVAL,
                              "trust bundle: \"%s\" is not a CA that may sign certificates",
                              root->subject);
    if (crypto_bundle_has(bundle, root->info.sha256)) return 0;
    if (!X509_STORE_add_cert(bundle->store, root->x509) || crypto_certs_push(&bundle->roots, root))
        return crypto_explain(why, WEFT_ENOMEM, "trust bundle: out of memory");
    return 0;
}

int crypto_bundle_new(const char *domain, const crypto_certs *roots, crypto_bundle **out,
                      crypto_why *why) {
    if (domain && !crypto_domain_valid(domain))
        return crypto_explain(
            why, WEFT_EINVAL,
            "trust bundle: \"%.255s\" is no trust domain: 1 to 255 of a-z 0-9 . - _", domain);
    if (!roots->count)
        return crypto_explain(why, WEFT_EINVAL, "trust bundle: it has no root certificate");
    crypto_bundle *bundle = weft_calloc(1, sizeof *bundle);
    if (!bundle) return crypto_explain(why, WEFT_ENOMEM, "trust bundle: out of memory");
    atomic_init(&bundle->refs, 1);
    (void)snprintf(bundle->domain, sizeof bundle->domain, "%s", domain ? domain : "");
    bundle->store = X509_STORE_new();
    int error = bundle->store ? 0 : crypto_explain(why, WEFT_ENOMEM, "trust bundle: out of memory");
    for (size_t i = 0; i < roots->count && !error; i++)
        error = add_root(bundle, roots->items[i], why);
    if (error)
        crypto_bundle_unref(bundle);
    else
        *out = bundle;
    return error;
}

crypto_bundle *crypto_bundle_ref(crypto_bundle *bundle) {
    atomic_fetch_add_explicit(&bundle->refs, 1, memory_order_relaxed);
    return bundle;
}

void crypto_bundle_unref(crypto_bundle *bundle) {
    if (!bundle || atomic_fetch_sub_explicit(&bundle->refs, 1, memory_order_acq_rel) != 1) return;
    X509_STORE_free(bundle->store);
    crypto_certs_clear(&bundle->roots);
    weft_free(bundle);
}

const char *crypto_bundle_domain(const crypto_bundle *bundle) { return bundle->domain; }
const crypto_certs *crypto_bundle_roots(const crypto_bundle *bundle) { return &bundle->roots; }

int crypto_bundle_has(const crypto_bundle *bundle, const uint8_t sha256[CRYPTO_SHA256_SIZE]) {
    for (size_t i = 0; i < bundle->roots.count; i++)
        if (!memcmp(bundle->roots.items[i]->info.sha256, sha256, CRYPTO_SHA256_SIZE)) return 1;
    return 0;
}

static int by_bytes(const void *a, const void *b) { return memcmp(a, b, CRYPTO_SHA256_SIZE); }

int crypto_bundle_digest(const crypto_bundle *bundle, uint8_t out[CRYPTO_SHA256_SIZE]) {
    const size_t size = bundle->roots.count * CRYPTO_SHA256_SIZE;
    uint8_t *prints = weft_malloc(size);
    if (!prints) return WEFT_ENOMEM;
    for (size_t i = 0; i < bundle->roots.count; i++)
        memcpy(prints + i * CRYPTO_SHA256_SIZE, bundle->roots.items[i]->info.sha256,
               CRYPTO_SHA256_SIZE);
    qsort(prints, bundle->roots.count, CRYPTO_SHA256_SIZE, by_bytes);
    const int error = crypto_sha256(prints, size, out);
    weft_free(prints);
    return error;
}

/* ---- SVIDs */

int crypto_svid_new(crypto_key *key, const crypto_certs *chain, bool spiffe, crypto_svid **out,
                    crypto_why *why) {
    char name[CRYPTO_WHY_SIZE];
    if (!chain->count || chain->count > CRYPTO_CHAIN_MAX)
        return crypto_explain(why, WEFT_EINVAL, "SVID: its chain must have 1 to %u certificates",
                              CRYPTO_CHAIN_MAX);
    const crypto_cert *leaf = chain->items[0];
    (void)crypto_cert_name(leaf, name);
    if (X509_check_private_key(leaf->x509, key->pkey) != 1)
        return crypto_explain(why, WEFT_EINVAL,
                              "SVID %.300s: the key does not belong to the certificate; give the "
                              "key it was issued for, and the leaf first in its chain",
                              name);
    const char *fault = spiffe ? crypto_svid_fault(leaf) : NULL;
    if (fault) return crypto_explain(why, WEFT_EINVAL, "SVID %.300s: %s", name, fault);
    crypto_svid *svid = weft_calloc(1, sizeof *svid);
    if (!svid) return crypto_explain(why, WEFT_ENOMEM, "SVID: out of memory");
    atomic_init(&svid->refs, 1);
    svid->key = crypto_key_ref(key);
    for (size_t i = 0; i < chain->count; i++) {
        if (!crypto_certs_push(&svid->chain, chain->items[i])) continue;
        crypto_svid_unref(svid);
        return crypto_explain(why, WEFT_ENOMEM, "SVID: out of memory");
    }
    *out = svid;
    return 0;
}

crypto_svid *crypto_svid_ref(crypto_svid *svid) {
    atomic_fetch_add_explicit(&svid->refs, 1, memory_order_relaxed);
    return svid;
}

void crypto_svid_unref(crypto_svid *svid) {
    if (!svid || atomic_fetch_sub_explicit(&svid->refs, 1, memory_order_acq_rel) != 1) return;
    crypto_key_unref(svid->key);
    crypto_certs_clear(&svid->chain);
    weft_free(svid);
}

const crypto_certs *crypto_svid_chain(const crypto_svid *svid) { return &svid->chain; }
crypto_key *crypto_svid_key(const crypto_svid *svid) { return svid->key; }

const char *crypto_svid_id(const crypto_svid *svid) {
    const crypto_cert *leaf = svid->chain.items[0];
    return leaf->spiffe && !crypto_svid_fault(leaf) ? leaf->spiffe : "";
}
