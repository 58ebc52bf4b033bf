/* The certificate authority: folders, signing, refusing, replacing roots. Tokens of lib/crypto, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "services/control/ca/ca.h"
#include "tests/support/pki.h"
#include "tests/support/proc.h"
#include "weft/crypto_join.h"
#include "weft/encoding.h"

#define PRODUCT "spiffe://mesh.local/ns/shop/sa/product"
#define ORDER "spiffe://mesh.local/ns/shop/sa/order"
#define HOUR (INT64_C(3600) * 1000000000)

static char root[256], folder[300];

static int setup(void **state) {
    (void)state;
    proc_make_dir(root, sizeof root);
    (void)snprintf(folder, sizeof folder, "%s/ca", root);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    proc_remove_dir(root);
    return 0;
}

static ca *open_ca(int64_t now) {
    const ca_options options = {.folder = folder, .domain = "mesh.local", .overlap = HOUR};
    crypto_why why = {""};
    ca *authority = NULL;
    if (ca_open(&options, now, &authority, &why)) fail_msg("%s", why.text);
    return authority;
}

static crypto_key *make_csr(const char *spiffe, weft_buf *csr) {
    crypto_key *key;
    assert_int_equal(crypto_key_generate(CRYPTO_KEY_P256, &key), 0);
    weft_buf_init(csr, 0);
    assert_int_equal(crypto_csr_make(key, spiffe, csr), 0);
    return key;
}

static crypto_certs sign(ca *authority, const char *spiffe, int64_t now) {
    crypto_certs chain = {0};
    crypto_why why = {""};
    weft_buf csr;
    crypto_key *key = make_csr(spiffe, &csr);
    if (ca_sign(authority, spiffe, csr.data, csr.len, now, &chain, &why)) fail_msg("%s", why.text);
    weft_buf_free(&csr);
    crypto_key_unref(key);
    return chain;
}

static crypto_verdict judge(const crypto_certs *chain, const crypto_bundle *bundle, int64_t now) {
    const char *ids[] = {PRODUCT};
    const crypto_expect expect = {
        .peer = CRYPTO_PEER_CLIENT, .bundle = bundle, .ids = ids, .id_count = 1};
    return crypto_verify(chain, &expect, now, NULL, NULL);
}

static void test_signs(void **state) {
    (void)state;
    ca *authority = open_ca(PKI_NOW);
    crypto_certs chain = sign(authority, PRODUCT, PKI_NOW);
    const crypto_cert_info *leaf = crypto_cert_get_info(chain.items[0]);
    assert_int_equal(chain.count, 1);
    assert_string_equal(leaf->spiffe, PRODUCT);
    assert_int_equal(leaf->not_before, PKI_NOW - CRYPTO_BACKDATE);
    assert_int_equal(leaf->not_after, PKI_NOW + CA_LEAF);
    assert_int_equal(judge(&chain, ca_bundle(authority), PKI_NOW), CRYPTO_VALID);
    assert_int_equal(judge(&chain, ca_bundle(authority), PKI_NOW - CRYPTO_BACKDATE), CRYPTO_VALID);
    assert_int_equal(judge(&chain, ca_bundle(authority), PKI_NOW + CA_LEAF + 1000000000),
                     CRYPTO_EXPIRED);
    crypto_certs_clear(&chain);
    ca_free(authority);
}

static void test_files(void **state) {
    (void)state;
    char path[400];
    struct stat info;
    uint8_t before[32], after[32];
    crypto_why why = {""};
    ca *authority = open_ca(PKI_NOW);
    assert_int_equal(crypto_bundle_digest(ca_bundle(authority), before), 0);
    ca_free(authority);
    (void)snprintf(path, sizeof path, "%s/root-1.key", folder);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    authority = open_ca(PKI_NOW);
    assert_int_equal(crypto_bundle_digest(ca_bundle(authority), after), 0);
    assert_memory_equal(before, after, 32);
    ca_free(authority);

    /* A key that others may read, a folder that others may enter, another trust domain: refused. */
    const ca_options options = {.folder = folder, .domain = "mesh.local"};
    const ca_options foreign = {.folder = folder, .domain = "other.local"};
    assert_int_equal(ca_open(&foreign, PKI_NOW, &authority, &why), WEFT_EINVAL);
    assert_non_null(strstr(why.text, "trust domain mesh.local"));
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(ca_open(&options, PKI_NOW, &authority, &why), WEFT_EINVAL);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(chmod(folder, 0750), 0);
    assert_int_equal(ca_open(&options, PKI_NOW, &authority, &why), WEFT_EINVAL);
    assert_non_null(strstr(why.text, "chmod 700"));
}

static void test_refuses(void **state) {
    (void)state;
    crypto_certs chain = {0};
    crypto_why why = {""};
    weft_buf csr;
    ca *authority = open_ca(PKI_NOW);
    crypto_key *key = make_csr(ORDER, &csr);
    assert_int_equal(ca_sign(authority, PRODUCT, csr.data, csr.len, PKI_NOW, &chain, &why),
                     WEFT_ECONFLICT);
    assert_non_null(strstr(why.text, ORDER));
    csr.data[csr.len - 5] ^= 1; /* the signature: no proof of possession */
    assert_true(ca_sign(authority, ORDER, csr.data, csr.len, PKI_NOW, &chain, &why) < 0);
    assert_true(ca_sign(authority, ORDER, "x", 1, PKI_NOW, &chain, &why) < 0);
    crypto_key_unref(key);
    weft_buf_free(&csr);
    key = make_csr("spiffe://other.local/ns/shop/sa/order", &csr);
    assert_int_equal(ca_sign(authority, "spiffe://other.local/ns/shop/sa/order", csr.data, csr.len,
                             PKI_NOW, &chain, &why),
                     WEFT_ECONFLICT);
    crypto_key_unref(key);
    weft_buf_free(&csr);
    ca_free(authority);
}

/* No peer ever meets a certificate below a root that is not in the bundle it may have. */
static void test_rotation(void **state) {
    (void)state;
    ca_rotation plan;
    crypto_why why = {""};
    int64_t next, now = PKI_NOW;
    ca *authority = open_ca(now);
    crypto_bundle *first = crypto_bundle_ref(ca_bundle(authority));
    crypto_certs old = sign(authority, PRODUCT, now);
    assert_int_equal(ca_tick(authority, now, &next, &why), 0);
    assert_int_equal(next, INT64_MAX);
    assert_int_equal(ca_rotate(authority, now, &plan, &why), 0);
    assert_int_equal(plan.signs, now + HOUR);
    assert_int_equal(ca_sequence(authority), 2);
    assert_int_equal(ca_rotate(authority, now, &plan, &why), WEFT_EBUSY);

    /* Both are known, the old one signs. */
    crypto_certs still = sign(authority, PRODUCT, now + HOUR - 1);
    assert_int_equal(judge(&still, first, now + HOUR), CRYPTO_VALID);
    assert_int_equal(judge(&still, ca_bundle(authority), now + HOUR), CRYPTO_VALID);

    /* The new one signs, also after a restart; the old leaf is good until it ends. */
    now += HOUR;
    ca_free(authority);
    authority = open_ca(now);
    assert_int_equal(ca_sequence(authority), 2);
    crypto_certs fresh = sign(authority, PRODUCT, now);
    assert_int_equal(judge(&fresh, first, now), CRYPTO_UNKNOWN_ROOT);
    assert_int_equal(judge(&fresh, ca_bundle(authority), now), CRYPTO_VALID);
    assert_int_equal(judge(&old, ca_bundle(authority), now), CRYPTO_VALID);

    /* The last leaf of the old root has ended when it leaves. */
    now = plan.done;
    assert_int_not_equal(judge(&still, ca_bundle(authority), now), CRYPTO_VALID);
    assert_int_equal(ca_tick(authority, now - 1, &next, &why), 0);
    assert_int_equal(next, now);
    assert_int_equal(ca_tick(authority, now, &next, &why), 1);
    assert_int_equal(next, INT64_MAX);
    assert_int_equal(ca_sequence(authority), 3);
    assert_int_equal(crypto_bundle_roots(ca_bundle(authority))->count, 1);
    assert_int_equal(ca_rotate(authority, now, &plan, &why), 0);
    crypto_certs_clear(&old);
    crypto_certs_clear(&still);
    crypto_certs_clear(&fresh);
    crypto_bundle_unref(first);
    ca_free(authority);
}

static void save(const char *name, const weft_buf *text, mode_t mode) {
    char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text->data, 1, text->len, file), text->len);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void test_intermediate(void **state) {
    (void)state;
    test_pki pki;
    weft_buf text;
    ca_rotation plan;
    crypto_why why = {""};
    pki_init(&pki, "mesh.local", "corp");
    assert_int_equal(mkdir(folder, 0700), 0);
    weft_buf_init(&text, 0);
    assert_int_equal(crypto_cert_to_pem(pki.ca, &text), 0);
    save("intermediate.pem", &text, 0644);
    weft_buf_clear(&text);
    assert_int_equal(crypto_key_to_pem(pki.ca_key, &text), 0);
    save("intermediate.key", &text, 0600);
    weft_buf_clear(&text);
    assert_int_equal(crypto_cert_to_pem(pki.root, &text), 0);
    save("roots.pem", &text, 0644);
    weft_buf_free(&text);
    ca *authority = open_ca(PKI_NOW);
    crypto_certs chain = sign(authority, PRODUCT, PKI_NOW);
    assert_int_equal(chain.count, 2);
    assert_int_equal(judge(&chain, pki.bundle, PKI_NOW), CRYPTO_VALID);
    assert_int_equal(ca_rotate(authority, PKI_NOW, &plan, &why), WEFT_EUNSUPPORTED);
    crypto_certs_clear(&chain);
    ca_free(authority);
    pki_free(&pki);
}

/* ---- the joiner's half: lib/crypto */

static crypto_token token_of(const crypto_bundle *bundle) {
    crypto_token token = {.id = "0123456789abcdef0123456789abcdef",
                          .expires = PKI_NOW + CRYPTO_TOKEN_TTL,
                          .address = "127.0.0.1:7000",
                          .identity = PRODUCT};
    memset(token.secret, 7, sizeof token.secret);
    assert_int_equal(crypto_bundle_digest(bundle, token.pin), 0);
    return token;
}

static void test_token_text(void **state) {
    (void)state;
    char text[CRYPTO_TOKEN_TEXT], spaced[CRYPTO_TOKEN_TEXT + 8];
    crypto_why why = {""};
    crypto_token back;
    ca *authority = open_ca(PKI_NOW);
    crypto_token token = token_of(ca_bundle(authority));
    assert_int_equal(crypto_token_format(&token, text), 0);
    (void)snprintf(spaced, sizeof spaced, " %s\r\n", text);
    assert_int_equal(crypto_token_parse(spaced, &back, &why), 0);
    assert_string_equal(back.id, token.id);
    assert_string_equal(back.address, token.address);
    assert_string_equal(back.identity, token.identity);
    assert_int_equal(back.expires, token.expires);
    assert_memory_equal(back.secret, token.secret, sizeof token.secret);
    assert_memory_equal(back.pin, token.pin, sizeof token.pin);

    /* One character changed, anywhere, or the end missing: told, and nothing read. */
    const size_t size = strlen(text);
    for (size_t i = 0; i < size; i++) {
        const char was = text[i];
        text[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(crypto_token_parse(text, &back, &why), WEFT_EPARSE);
        text[i] = was;
    }
    for (size_t i = 0; i < size; i++) {
        const char was = text[i];
        text[i] = '\0';
        assert_int_equal(crypto_token_parse(text, &back, &why), WEFT_EPARSE);
        text[i] = was;
    }
    (void)snprintf(token.identity, sizeof token.identity, "spiffe://mesh.local");
    assert_int_equal(crypto_token_format(&token, text), WEFT_EINVAL);
    ca_free(authority);
}

static void test_token_check(void **state) {
    (void)state;
    test_pki other;
    crypto_why why = {""};
    pki_init(&other, "mesh.local", "other");
    ca *authority = open_ca(PKI_NOW);
    const crypto_token token = token_of(ca_bundle(authority));
    assert_int_equal(crypto_token_check(&token, ca_bundle(authority), PKI_NOW, &why), 0);
    assert_int_equal(crypto_token_check(&token, ca_bundle(authority), token.expires, &why),
                     WEFT_ETIMEOUT);
    assert_int_equal(crypto_token_check(&token, other.bundle, PKI_NOW, &why), WEFT_ECONFLICT);
    assert_non_null(strstr(why.text, "nothing was sent"));
    ca_free(authority);
    pki_free(&other);
}

static void test_from_der(void **state) {
    (void)state;
    crypto_why why = {""};
    crypto_certs chain = {0};
    crypto_svid *svid = NULL;
    crypto_bundle *bundle = NULL;
    weft_buf csr, leaf, anchor;
    int64_t expires;
    ca *authority = open_ca(PKI_NOW);
    crypto_key *key = make_csr(PRODUCT, &csr);
    crypto_key *stranger;
    assert_int_equal(crypto_key_generate(CRYPTO_KEY_P256, &stranger), 0);
    assert_int_equal(ca_sign(authority, PRODUCT, csr.data, csr.len, PKI_NOW, &chain, &why), 0);
    weft_buf_init(&leaf, 0);
    weft_buf_init(&anchor, 0);
    assert_int_equal(crypto_cert_to_der(chain.items[0], &leaf), 0);
    assert_int_equal(
        crypto_cert_to_der(crypto_bundle_roots(ca_bundle(authority))->items[0], &anchor), 0);
    const crypto_der one = {leaf.data, leaf.len}, top = {anchor.data, anchor.len};
    assert_int_equal(crypto_bundle_from_der("mesh.local", &top, 1, &bundle, &why), 0);
    assert_int_equal(
        crypto_svid_from_der(key, PRODUCT, &one, 1, bundle, PKI_NOW, &svid, &expires, &why), 0);
    assert_string_equal(crypto_svid_id(svid), PRODUCT);
    assert_int_equal(expires, PKI_NOW + CA_LEAF);
    crypto_svid *none = NULL;
    assert_int_equal(crypto_svid_from_der(key, ORDER, &one, 1, bundle, PKI_NOW, &none, NULL, &why),
                     WEFT_EINVAL);
    assert_int_equal(
        crypto_svid_from_der(stranger, PRODUCT, &one, 1, bundle, PKI_NOW, &none, NULL, &why),
        WEFT_EINVAL);
    assert_true(crypto_bundle_from_der("mesh.local", &one, 1, &bundle, &why) < 0);
    assert_true(crypto_bundle_from_der("mesh.local", NULL, 0, &bundle, &why) < 0);
    crypto_svid_unref(svid);
    crypto_bundle_unref(bundle);
    crypto_certs_clear(&chain);
    crypto_key_unref(key);
    crypto_key_unref(stranger);
    weft_buf_free(&csr);
    weft_buf_free(&leaf);
    weft_buf_free(&anchor);
    ca_free(authority);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_signs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_intermediate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_token_text, setup, teardown),
        cmocka_unit_test_setup_teardown(test_token_check, setup, teardown),
        cmocka_unit_test_setup_teardown(test_from_der, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
