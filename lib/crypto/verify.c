/* Judging a peer's chain: first the chain (OpenSSL's path validation, RFC 5280 section 6, at our time and
 * with our roots), then the identity. Every verdict but "valid" is one line that says what to do. */
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "lib/crypto/internal.h"

#define SECURITY_LEVEL 2 /* 112 bits: no SHA-1, no RSA under 2048 bits */

const char *crypto_svid_fault(const crypto_cert *cert) {
    const uint32_t usage = X509_get_key_usage(cert->x509);
    crypto_spiffe id;
    if (!cert->info.uri_sans) return "it has no SPIFFE ID (a URI in subjectAltName)";
    if (cert->info.uri_sans > 1) return "it has more than one URI name, so it is no X.509-SVID";
    if (!cert->spiffe) return "its URI name is not a valid SPIFFE ID";
    if (cert->info.ca) return "it is a CA certificate, not a workload's";
    if (!(X509_get_extension_flags(cert->x509) & EXFLAG_KUSAGE) || !(usage & KU_DIGITAL_SIGNATURE))
        return "its keyUsage lacks digitalSignature";
    if (usage & (KU_KEY_CERT_SIGN | KU_CRL_SIGN))
        return "its keyUsage allows to sign certificates, as no workload's may";
    if (crypto_spiffe_parse(cert->spiffe, strlen(cert->spiffe), &id, NULL) || !id.path_size)
        return "its SPIFFE ID names a trust domain, not a workload";
    return NULL;
}

/* ---- the chain */

static crypto_verdict explain_time(const crypto_cert *leaf, X509 *bad, bool expired, int64_t now,
                                   crypto_why *why) {
    char name[CRYPTO_WHY_SIZE], when[TIME_TEXT], today[TIME_TEXT],
        which[NAME_TEXT + 64] = "its certificate";
    crypto_cert *cert = NULL;
    (void)crypto_cert_name(leaf, name);
    (void)crypto_time_text(now, today);
    if (bad && X509_cmp(bad, leaf->x509) != 0 && X509_up_ref(bad) &&
        !crypto_cert_wrap(bad, &cert, NULL))
        (void)snprintf(which, sizeof which, "the CA certificate \"%.200s\" in its chain",
                       cert->subject);
    const crypto_cert_info *info = cert ? &cert->info : &leaf->info;
    (void)crypto_time_text(expired ? info->not_after : info->not_before, when);
    if (expired)
        (void)crypto_explain(why, 0,
                             "%s: %s expired at %s (now %s); renew it, or set the clock right",
                             name, which, when, today);
    else
        (void)crypto_explain(
            why, 0, "%s: %s is not valid before %s (now %s); set the clocks right, or wait", name,
            which, when, today);
    crypto_cert_unref(cert);
    return expired ? CRYPTO_EXPIRED : CRYPTO_NOT_YET_VALID;
}

static crypto_verdict explain_root(const crypto_cert *leaf, X509_STORE_CTX *store,
                                   const crypto_bundle *bundle, crypto_why *why) {
    char name[CRYPTO_WHY_SIZE], roots[64], top[NAME_TEXT] = "";
    (void)crypto_cert_name(leaf, name);
    crypto_cert *cert = NULL;
    X509 *last = X509_STORE_CTX_get_current_cert(store);
    if (last && X509_up_ref(last) && !crypto_cert_wrap(last, &cert, NULL))
        (void)snprintf(top, sizeof top, "%s", cert->issuer);
    crypto_cert_unref(cert);
    if (bundle->roots.count == 1)
        (void)snprintf(roots, sizeof roots, "not the root");
    else
        (void)snprintf(roots, sizeof roots, "none of the %zu roots", bundle->roots.count);
    (void)crypto_explain(
        why, 0,
        "%s: issued under \"%s\", which is %s of %s; it needs a certificate of this "
        "CA, or its root must be added to the bundle",
        name, top, roots, *bundle->domain ? bundle->domain : "the bundle");
    return CRYPTO_UNKNOWN_ROOT;
}

static crypto_verdict explain_chain(const crypto_cert *leaf, X509_STORE_CTX *store,
                                    const crypto_bundle *bundle, int64_t now, crypto_why *why) {
    const int error = X509_STORE_CTX_get_error(store);
    char name[CRYPTO_WHY_SIZE];
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return explain_time(leaf, X509_STORE_CTX_get_current_cert(store),
                            error == X509_V_ERR_CERT_HAS_EXPIRED, now, why);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return explain_root(leaf, store, bundle, why);
    case X509_V_ERR_OUT_OF_MEM:
        (void)crypto_explain(why, 0, "out of memory");
        return CRYPTO_NO_MEMORY;
    default:
        (void)crypto_explain(why, 0, "%s: its certificate chain is not acceptable: %s",
                             crypto_cert_name(leaf, name), X509_verify_cert_error_string(error));
        return CRYPTO_BAD_CERT;
    }
}

static void describe(X509_STORE_CTX *store, crypto_verified *out) {
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(store);
    out->expires = INT64_MAX;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        X509 *x509 = sk_X509_value(chain, i);
        struct tm parts;
        if (!ASN1_TIME_to_tm(X509_get0_notAfter(x509), &parts)) continue;
        const int64_t seconds = timegm(&parts);
        if (seconds < INT64_MAX / WEFT_NS_PER_S && seconds * WEFT_NS_PER_S < out->expires)
            out->expires = seconds * WEFT_NS_PER_S;
        if (i == sk_X509_num(chain) - 1) (void)X509_digest(x509, EVP_sha256(), out->root, NULL);
    }
}

static crypto_verdict verify_chain(const crypto_certs *chain, const crypto_expect *expect,
                                   int64_t now, crypto_verified *out, crypto_why *why) {
    const crypto_cert *leaf = chain->items[0];
    X509_STORE_CTX *store = X509_STORE_CTX_new();
    STACK_OF(X509) *others = sk_X509_new_null();
    crypto_verdict verdict = CRYPTO_NO_MEMORY;
    bool ready = store && others;
    for (size_t i = 1; i < chain->count && ready; i++)
        ready = sk_X509_push(others, chain->items[i]->x509) > 0;
    if (!ready || !X509_STORE_CTX_init(store, expect->bundle->store, leaf->x509, others)) {
        (void)crypto_explain(why, 0, "out of memory");
        goto done;
    }
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(store);
    X509_VERIFY_PARAM_set_time(param, (time_t)(now / WEFT_NS_PER_S));
    X509_VERIFY_PARAM_set_depth(param, (int)CRYPTO_CHAIN_MAX);
    X509_VERIFY_PARAM_set_auth_level(param, SECURITY_LEVEL);
    /* Whatever is in the bundle is an anchor, self-signed or not (RFC 5280 section 6.1.1 d). */
    (void)X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
    (void)X509_VERIFY_PARAM_set_purpose(param, expect->peer == CRYPTO_PEER_CLIENT
                                                   ? X509_PURPOSE_SSL_CLIENT
                                                   : X509_PURPOSE_SSL_SERVER);
    const int result = X509_verify_cert(store);
    if (result == 1) {
        verdict = CRYPTO_VALID;
        if (out) describe(store, out);
    } else if (result < 0 && X509_STORE_CTX_get_error(store) == X509_V_OK) {
        (void)crypto_explain(why, 0, "out of memory");
    } else {
        verdict = explain_chain(leaf, store, expect->bundle, now, why);
    }
done:
    X509_STORE_CTX_free(store);
    sk_X509_free(others);
    ERR_clear_error();
    return verdict;
}

/* ---- the identity */

static crypto_verdict wrong_identity(const crypto_cert *leaf, const crypto_expect *expect,
                                     crypto_why *why) {
    char name[CRYPTO_WHY_SIZE], more[48] = "";
    (void)crypto_cert_name(leaf, name);
    const size_t names = expect->id_count + expect->dns_count;
    if (names > 1) (void)snprintf(more, sizeof more, " or %zu more", names - 1);
    (void)crypto_explain(
        why, 0,
        "%s: expected %.200s%s; the address leads to someone else, or the expected "
        "identities are not up to date",
        name, expect->id_count ? expect->ids[0] : expect->dns[0], more);
    return CRYPTO_WRONG_IDENTITY;
}

static crypto_verdict check_domain(const crypto_cert *leaf, const crypto_expect *expect,
                                   crypto_why *why) {
    const char *domain = expect->domain ? expect->domain : expect->bundle->domain;
    crypto_spiffe id;
    if (!crypto_spiffe_parse(leaf->spiffe, strlen(leaf->spiffe), &id, NULL) && *domain &&
        strlen(domain) == id.domain_size && !memcmp(domain, id.domain, id.domain_size))
        return CRYPTO_VALID;
    char name[CRYPTO_WHY_SIZE];
    (void)crypto_explain(
        why, 0, "%s: expected an identity of trust domain %.255s; it belongs to another mesh",
        crypto_cert_name(leaf, name), *domain ? domain : "(none configured)");
    return CRYPTO_WRONG_IDENTITY;
}

static crypto_verdict verify_identity(const crypto_cert *leaf, const crypto_expect *expect,
                                      crypto_why *why) {
    if (expect->any_cert) return CRYPTO_VALID;
    for (size_t i = 0; i < expect->dns_count; i++)
        if (crypto_cert_matches_dns(leaf, expect->dns[i])) return CRYPTO_VALID;
    const char *fault = crypto_svid_fault(leaf);
    if (fault && expect->dns_count) return wrong_identity(leaf, expect, why);
    if (fault) {
        char name[CRYPTO_WHY_SIZE];
        (void)crypto_explain(why, 0, "%s: %s; expected an X.509-SVID of this mesh's CA",
                             crypto_cert_name(leaf, name), fault);
        return CRYPTO_BAD_CERT;
    }
    if (!expect->id_count && !expect->dns_count) return check_domain(leaf, expect, why);
    for (size_t i = 0; i < expect->id_count; i++)
        if (!strcmp(leaf->spiffe, expect->ids[i])) return CRYPTO_VALID;
    return wrong_identity(leaf, expect, why);
}

crypto_verdict crypto_verify(const crypto_certs *chain, const crypto_expect *expect, int64_t now,
                             crypto_verified *out, crypto_why *why) {
    if (!chain->count || chain->count > CRYPTO_CHAIN_MAX) {
        (void)crypto_explain(why, 0, "its chain has %zu certificates; 1 to %u are allowed",
                             chain->count, CRYPTO_CHAIN_MAX);
        return CRYPTO_BAD_CERT;
    }
    crypto_verified found = {0};
    crypto_verdict verdict = verify_chain(chain, expect, now, &found, why);
    if (verdict == CRYPTO_VALID) verdict = verify_identity(chain->items[0], expect, why);
    if (verdict == CRYPTO_VALID && out) *out = found;
    return verdict;
}
