#include "tests/support/pki.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(int ok, const char *what, const crypto_why *why) {
    if (ok) return;
    (void)fprintf(stderr, "pki: %s: %s\n", what, why ? why->text : "");
    abort();
}

static crypto_key *new_key(void) {
    crypto_key *key = NULL;
    must(!crypto_key_generate(CRYPTO_KEY_P256, &key), "key", NULL);
    return key;
}

void pki_init(test_pki *pki, const char *domain, const char *name) {
    crypto_why why = {""};
    char id[128], text[128];
    memset(pki, 0, sizeof *pki);
    (void)snprintf(pki->domain, sizeof pki->domain, "%s", domain);
    (void)snprintf(id, sizeof id, "spiffe://%s", domain);
    crypto_issue what = {.role = CRYPTO_ROOT,
                         .common_name = text,
                         .spiffe = id,
                         .now = PKI_NOW - PKI_DAY,
                         .lifetime = 3650 * PKI_DAY};
    (void)snprintf(text, sizeof text, "%s root", name);
    pki->root_key = new_key();
    must(!crypto_cert_issue(&what, pki->root_key, NULL, NULL, pki->root_key, &pki->root, &why),
         "root", &why);
    (void)snprintf(text, sizeof text, "%s CA", name);
    what.role = CRYPTO_INTERMEDIATE;
    pki->ca_key = new_key();
    must(!crypto_cert_issue(&what, pki->ca_key, NULL, pki->root, pki->root_key, &pki->ca, &why),
         "intermediate", &why);
    const crypto_certs roots = {.items = &pki->root, .count = 1};
    must(!crypto_bundle_new(domain, &roots, &pki->bundle, &why), "bundle", &why);
}

void pki_free(test_pki *pki) {
    crypto_key_unref(pki->root_key);
    crypto_key_unref(pki->ca_key);
    crypto_cert_unref(pki->root);
    crypto_cert_unref(pki->ca);
    crypto_bundle_unref(pki->bundle);
}

static crypto_svid *issue(const test_pki *pki, const crypto_issue *what, bool spiffe) {
    crypto_why why = {""};
    crypto_key *key = new_key();
    crypto_cert *leaf = NULL;
    crypto_svid *svid = NULL;
    must(!crypto_cert_issue(what, key, NULL, pki->ca, pki->ca_key, &leaf, &why), "leaf", &why);
    crypto_cert *items[2] = {leaf, pki->ca};
    const crypto_certs chain = {.items = items, .count = 2};
    must(!crypto_svid_new(key, &chain, spiffe, &svid, &why), "svid", &why);
    crypto_cert_unref(leaf);
    crypto_key_unref(key);
    return svid;
}

crypto_svid *pki_svid(const test_pki *pki, const char *path, int64_t now, int64_t lifetime) {
    char id[256];
    (void)snprintf(id, sizeof id, "spiffe://%s%s", pki->domain, path);
    return issue(
        pki, &(crypto_issue){.role = CRYPTO_LEAF, .spiffe = id, .now = now, .lifetime = lifetime},
        true);
}

crypto_svid *pki_dns(const test_pki *pki, const char *dns, int64_t now, int64_t lifetime) {
    return issue(pki,
                 &(crypto_issue){.role = CRYPTO_LEAF,
                                 .common_name = dns,
                                 .dns = &dns,
                                 .dns_count = 1,
                                 .now = now,
                                 .lifetime = lifetime},
                 false);
}

static const weft_clock *clock_or_now(const weft_clock *clock) {
    static weft_clock_manual now;
    if (clock) return clock;
    weft_clock_manual_init(&now, PKI_NOW);
    return &now.clock;
}

static tls_context *context(const tls_config *config) {
    crypto_why why = {""};
    tls_context *made = NULL;
    must(!tls_context_new(config, &made, &why), "context", &why);
    return made;
}

tls_context *pki_server(const test_pki *pki, crypto_svid *svid, const weft_clock *clock) {
    return context(&(tls_config){
        .role = TLS_SERVER, .svid = svid, .bundle = pki->bundle, .clock = clock_or_now(clock)});
}

tls_context *pki_client(const test_pki *pki, crypto_svid *svid, const char *expect,
                        const weft_clock *clock) {
    return context(&(tls_config){.role = TLS_CLIENT,
                                 .svid = svid,
                                 .bundle = pki->bundle,
                                 .ids = &expect,
                                 .id_count = 1,
                                 .clock = clock_or_now(clock)});
}
