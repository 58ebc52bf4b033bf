/* Keys, SPIFFE IDs, signing requests, certificates, verification. */
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

#include "tests/support/pki.h"
#include "weft/encoding.h"

#define ORDER "/ns/shop/sa/order"
#define ORDER_ID "spiffe://mesh.local" ORDER

static test_pki mesh;

static int setup(void **state) {
    (void)state;
    pki_init(&mesh, "mesh.local", "mesh");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    pki_free(&mesh);
    return 0;
}

/* ---- hashes */

static void hex_is(const uint8_t *data, const char *text) {
    char hex[WEFT_HEX_TEXT(32)];
    (void)weft_hex_encode(data, 32, hex);
    assert_string_equal(hex, text);
}

static void test_hashes(void **state) {
    (void)state;
    uint8_t out[32], other[32];
    assert_int_equal(crypto_sha256("abc", 3, out), 0); /* FIPS 180-4 example */
    hex_is(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(crypto_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out), 0);
    hex_is(out,
           "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"); /* RFC 4231, 2 */
    assert_int_equal(crypto_hmac_sha256(NULL, 0, "", 0, out), 0);
    hex_is(out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    assert_int_equal(crypto_random(out, 32), 0);
    assert_int_equal(crypto_random(other, 32), 0);
    assert_false(crypto_equal(out, other, 32));
    memcpy(other, out, 32);
    assert_true(crypto_equal(out, other, 32));
    crypto_wipe(out, 32);
    hex_is(out, "0000000000000000000000000000000000000000000000000000000000000000");
}

/* ---- keys */

static void test_key_files(void **state) {
    (void)state;
    char dir[] = "/tmp/weft-key-XXXXXX", path[64], line[200];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/key.pem", dir);
    for (int kind = CRYPTO_KEY_P256; kind <= CRYPTO_KEY_ED25519; kind++) {
        crypto_key *key = NULL, *again = NULL;
        crypto_why why = {""};
        weft_buf first, second;
        struct stat info;
        weft_buf_init(&first, 0);
        weft_buf_init(&second, 0);
        assert_int_equal(crypto_key_generate((crypto_key_kind)kind, &key), 0);
        assert_int_equal(crypto_key_save(key, path, &why), 0);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_mode & 0777, 0600);
        assert_int_equal(crypto_key_load(path, true, &again, &why), 0);
        assert_int_equal(crypto_key_to_pem(key, &first), 0);
        assert_int_equal(crypto_key_to_pem(again, &second), 0);
        assert_string_equal(weft_buf_str(&first), weft_buf_str(&second));
        crypto_key_unref(again);
        assert_int_equal(chmod(path, 0640), 0);
        assert_int_equal(crypto_key_load(path, true, &again, &why), WEFT_EINVAL);
        (void)snprintf(line, sizeof line, "%s: the key is open to others (mode 0640); chmod 600 it",
                       path);
        assert_string_equal(why.text, line);
        assert_int_equal(crypto_key_load(path, false, &again, &why), 0);
        crypto_key_unref(again);
        crypto_key_unref(key);
        weft_buf_free(&first);
        weft_buf_free(&second);
    }
    crypto_key *key = NULL;
    crypto_why why;
    assert_int_equal(crypto_key_from_pem("nonsense", 8, &key, &why), WEFT_EPARSE);
    assert_string_equal(why.text, "key: no private key in PEM (PKCS#8) found");
    (void)unlink(path);
    assert_int_equal(crypto_key_load(path, true, &key, &why), WEFT_ENOTFOUND);
    (void)rmdir(dir);
    assert_int_equal(crypto_key_load("/", false, &key, &why), WEFT_EIO);
}

/* ---- SPIFFE IDs */

static void test_spiffe(void **state) {
    (void)state;
    static const struct {
        const char *text, *domain, *path;
    } good[] = {
        {"spiffe://a", "a", ""},
        {ORDER_ID, "mesh.local", ORDER},
        {"spiffe://x-1_y.z/A.b-c_D/...", "x-1_y.z", "/A.b-c_D/..."},
    };
    static const char *const bad[] = {
        "",
        "spiffe://",
        "spiffe:///x",
        "SPIFFE://a/b",
        "https://a/b",
        "spiffe://a/",
        "spiffe://a//b",
        "spiffe://a/b/",
        "spiffe://a/./b",
        "spiffe://a/..",
        "spiffe://A/b",
        "spiffe://a:80/b",
        "spiffe://u@a/b",
        "spiffe://a/b%20c",
        "spiffe://a/b?c",
        "spiffe://a/b#c",
        "spiffe://a/b c",
        "spiffe://\xc3\xa4/b",
    };
    char text[4096];
    crypto_spiffe id;
    const char *why = NULL;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(crypto_spiffe_parse(good[i].text, strlen(good[i].text), &id, &why), 0);
        assert_int_equal(id.domain_size, strlen(good[i].domain));
        assert_memory_equal(id.domain, good[i].domain, id.domain_size);
        assert_int_equal(id.path_size, strlen(good[i].path));
        assert_memory_equal(id.path, good[i].path, id.path_size);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        why = NULL;
        if (crypto_spiffe_parse(bad[i], strlen(bad[i]), &id, &why) != WEFT_EPARSE)
            fail_msg("accepted: %s", bad[i]);
        assert_non_null(why);
    }
    memset(text, 'a', sizeof text);
    memcpy(text, "spiffe://", 9);
    assert_int_equal(crypto_spiffe_parse(text, 9 + 255, &id, NULL), 0);
    assert_int_equal(crypto_spiffe_parse(text, 9 + 256, &id, NULL), WEFT_EPARSE);
    text[20] = '/';
    assert_int_equal(crypto_spiffe_parse(text, 2048, &id, NULL), 0);
    assert_int_equal(crypto_spiffe_parse(text, 2049, &id, NULL), WEFT_EPARSE);
    assert_int_equal(crypto_spiffe_format("mesh.local", "shop", "order", text, sizeof text), 0);
    assert_string_equal(text, ORDER_ID);
    assert_int_equal(crypto_spiffe_format("mesh.local", "shop", "a/b", text, sizeof text),
                     WEFT_EINVAL);
    assert_int_equal(crypto_spiffe_format("mesh.local", "..", "b", text, sizeof text), WEFT_EINVAL);
    assert_int_equal(crypto_spiffe_format("mesh.local", "shop", "order", text, 20), WEFT_ELIMIT);
}

/* ---- requests */

static void test_csr(void **state) {
    (void)state;
    crypto_key *key = NULL;
    crypto_csr *csr = NULL;
    crypto_cert *cert = NULL;
    crypto_why why = {""};
    weft_buf der;
    weft_buf_init(&der, 0);
    assert_int_equal(crypto_key_generate(CRYPTO_KEY_P256, &key), 0);
    assert_int_equal(crypto_csr_make(key, "spiffe://Mesh/x", &der), WEFT_EINVAL);
    assert_int_equal(crypto_csr_make(key, ORDER_ID, &der), 0);
    assert_int_equal(crypto_csr_parse(der.data, der.len, &csr, &why), 0);
    assert_string_equal(crypto_csr_spiffe(csr), ORDER_ID);
    const crypto_issue what = {
        .role = CRYPTO_LEAF, .spiffe = ORDER_ID, .now = PKI_NOW, .lifetime = PKI_DAY};
    assert_int_equal(crypto_cert_issue(&what, NULL, csr, mesh.ca, mesh.ca_key, &cert, &why), 0);
    crypto_cert *items[] = {cert, mesh.ca};
    const crypto_certs chain = {.items = items, .count = 2};
    crypto_svid *svid = NULL;
    assert_int_equal(crypto_svid_new(key, &chain, true, &svid, &why), 0);
    assert_string_equal(crypto_svid_id(svid), ORDER_ID);
    crypto_svid_unref(svid);
    assert_int_equal(crypto_svid_new(mesh.ca_key, &chain, true, &svid, &why), WEFT_EINVAL);
    assert_string_equal(why.text,
                        "SVID " ORDER_ID
                        ": the key does not belong to the certificate; give the key it was "
                        "issued for, and the leaf first in its chain");
    crypto_cert_unref(cert);
    crypto_csr_free(csr);
    /* A bit turned anywhere is noticed, or makes another ID; it never crashes. */
    for (size_t i = 0; i < der.len; i++) {
        der.data[i] ^= 1;
        if (!crypto_csr_parse(der.data, der.len, &csr, &why)) {
            fail_msg("byte %zu does not matter", i);
        }
        der.data[i] ^= 1;
    }
    assert_int_equal(crypto_csr_parse(der.data, der.len - 1, &csr, &why), WEFT_EPARSE);
    assert_int_equal(weft_buf_addc(&der, 'x'), 0);
    assert_int_equal(crypto_csr_parse(der.data, der.len, &csr, &why), WEFT_EPARSE);
    assert_string_equal(why.text, "CSR: it is no PKCS#10 request in DER or PEM");
    /* The ID of a whole trust domain is not for workloads. */
    weft_buf_clear(&der);
    assert_int_equal(crypto_csr_make(key, "spiffe://mesh.local", &der), 0);
    assert_int_equal(crypto_csr_parse(der.data, der.len, &csr, &why), WEFT_EPARSE);
    assert_string_equal(why.text, "CSR: it asks for the ID of a trust domain, not of a workload");
    weft_buf_free(&der);
    crypto_key_unref(key);
}

/* ---- certificates */

static void test_info(void **state) {
    (void)state;
    crypto_svid *svid = pki_svid(&mesh, ORDER, PKI_NOW, PKI_DAY);
    const crypto_cert_info *leaf = crypto_cert_get_info(crypto_svid_chain(svid)->items[0]);
    const crypto_cert_info *ca = crypto_cert_get_info(mesh.ca);
    const crypto_cert_info *root = crypto_cert_get_info(mesh.root);
    assert_string_equal(leaf->spiffe, ORDER_ID);
    assert_int_equal(leaf->uri_sans, 1);
    assert_true(leaf->not_before == PKI_NOW - CRYPTO_BACKDATE);
    assert_true(leaf->not_after == PKI_NOW + PKI_DAY);
    assert_false(leaf->ca || leaf->may_sign_certs);
    assert_string_equal(leaf->issuer, "CN=mesh CA");
    assert_string_equal(leaf->subject, "");
    assert_int_equal(strlen(leaf->serial), 32);
    assert_true(ca->ca && ca->may_sign_certs && root->ca);
    assert_string_equal(ca->spiffe, "spiffe://mesh.local");
    assert_string_equal(root->subject, "CN=mesh root");
    crypto_svid_unref(svid);
    /* Validity ends no later than the issuer's. */
    svid = pki_svid(&mesh, ORDER, PKI_NOW, 100000 * PKI_DAY);
    leaf = crypto_cert_get_info(crypto_svid_chain(svid)->items[0]);
    assert_true(leaf->not_after == ca->not_after);
    crypto_svid_unref(svid);
}

static void test_pem(void **state) {
    (void)state;
    crypto_svid *svid = pki_svid(&mesh, ORDER, PKI_NOW, PKI_DAY);
    weft_buf pem;
    crypto_certs certs = {0};
    crypto_why why;
    weft_buf_init(&pem, 0);
    assert_int_equal(crypto_key_to_pem(crypto_svid_key(svid), &pem), 0); /* skipped */
    assert_int_equal(crypto_certs_to_pem(crypto_svid_chain(svid), &pem), 0);
    assert_int_equal(crypto_certs_from_pem(pem.data, pem.len, &certs, &why), 0);
    assert_int_equal(certs.count, 2);
    assert_string_equal(crypto_cert_get_info(certs.items[0])->spiffe, ORDER_ID);
    crypto_certs_clear(&certs);
    char *broken = strstr(pem.data, "BEGIN CERTIFICATE");
    broken[60] = '!';
    assert_int_equal(crypto_certs_from_pem(pem.data, pem.len, &certs, &why), WEFT_EPARSE);
    assert_non_null(strstr(why.text, "certificates: number 1 is malformed"));
    assert_int_equal(crypto_certs_from_pem("", 0, &certs, &why), WEFT_EPARSE);
    assert_string_equal(why.text, "certificates: none found; expected PEM (BEGIN CERTIFICATE)");
    assert_int_equal(crypto_certs_load("/nonexistent", &certs, &why), WEFT_ENOTFOUND);
    weft_buf_free(&pem);
    crypto_svid_unref(svid);
}

static void test_issue_rules(void **state) {
    (void)state;
    crypto_cert *cert = NULL;
    crypto_why why;
    const char *const dns[] = {"x.example"};
    const struct {
        crypto_issue what;
        const crypto_cert *issuer;
        const crypto_key *key;
        const char *text;
    } cases[] = {
        {{.role = CRYPTO_LEAF, .spiffe = ORDER_ID, .now = PKI_NOW},
         mesh.ca,
         mesh.ca_key,
         "the lifetime must be positive"},
        {{.role = CRYPTO_LEAF, .spiffe = ORDER_ID, .now = PKI_NOW, .lifetime = 1},
         mesh.ca,
         mesh.root_key,
         "the issuer's key does not belong to its certificate"},
        {{.role = CRYPTO_LEAF, .now = PKI_NOW, .lifetime = 1},
         mesh.ca,
         mesh.ca_key,
         "a leaf needs a SPIFFE ID or a DNS name"},
        {{.role = CRYPTO_LEAF, .spiffe = "spiffe://mesh.local", .now = PKI_NOW, .lifetime = 1},
         mesh.ca,
         mesh.ca_key,
         "a leaf's SPIFFE ID has a path, a CA's has none"},
        {{.role = CRYPTO_ROOT, .common_name = "x", .now = PKI_NOW, .lifetime = 1},
         mesh.ca,
         mesh.ca_key,
         "all but a root need an issuer"},
        {{.role = CRYPTO_LEAF,
          .dns = dns,
          .dns_count = 1,
          .now = PKI_NOW + 9999 * PKI_DAY,
          .lifetime = 1},
         mesh.ca,
         mesh.ca_key,
         "the issuer's certificate has expired"},
        {{.role = CRYPTO_INTERMEDIATE, .now = PKI_NOW, .lifetime = 1},
         mesh.root,
         mesh.root_key,
         "a CA needs a common name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[300];
        (void)snprintf(line, sizeof line, "certificate: cannot be issued: %s", cases[i].text);
        assert_int_equal(crypto_cert_issue(&cases[i].what, mesh.ca_key, NULL, cases[i].issuer,
                                           cases[i].key, &cert, &why),
                         WEFT_EINVAL);
        assert_string_equal(why.text, line);
    }
}

/* ---- verification */

static crypto_verdict verify(const crypto_svid *svid, const crypto_expect *expect, int64_t now,
                             crypto_why *why) {
    return crypto_verify(crypto_svid_chain(svid), expect, now, NULL, why);
}

static void test_verify(void **state) {
    (void)state;
    crypto_svid *svid = pki_svid(&mesh, ORDER, PKI_NOW, PKI_DAY);
    const char *const id[] = {"spiffe://mesh.local/ns/a/sa/b", ORDER_ID}, *const none[] = {
                                                                              "spiffe://x/y"};
    crypto_expect expect = {.bundle = mesh.bundle};
    crypto_why why = {""};
    crypto_verified out;
    assert_int_equal(crypto_verify(crypto_svid_chain(svid), &expect, PKI_NOW, &out, &why),
                     CRYPTO_VALID);
    assert_true(out.expires == PKI_NOW + PKI_DAY);
    assert_true(crypto_bundle_has(mesh.bundle, out.root));
    /* To the second at both ends (RFC 5280 section 4.1.2.5: both inclusive). */
    assert_int_equal(verify(svid, &expect, PKI_NOW - CRYPTO_BACKDATE, &why), CRYPTO_VALID);
    assert_int_equal(verify(svid, &expect, PKI_NOW - CRYPTO_BACKDATE - 1000000000, &why),
                     CRYPTO_NOT_YET_VALID);
    assert_int_equal(verify(svid, &expect, PKI_NOW + PKI_DAY - 1000000000, &why), CRYPTO_VALID);
    assert_int_equal(verify(svid, &expect, PKI_NOW + PKI_DAY + 1000000000, &why), CRYPTO_EXPIRED);
    expect.ids = id;
    expect.id_count = 2;
    assert_int_equal(verify(svid, &expect, PKI_NOW, &why), CRYPTO_VALID);
    expect.ids = none;
    expect.id_count = 1;
    assert_int_equal(verify(svid, &expect, PKI_NOW, &why), CRYPTO_WRONG_IDENTITY);
    expect.any_cert = true;
    assert_int_equal(verify(svid, &expect, PKI_NOW, &why), CRYPTO_VALID);
    /* Without its intermediate the chain leads nowhere. */
    const crypto_certs leaf = {.items = crypto_svid_chain(svid)->items, .count = 1};
    assert_int_equal(crypto_verify(&leaf, &expect, PKI_NOW, NULL, &why), CRYPTO_UNKNOWN_ROOT);
    assert_string_equal(
        why.text,
        ORDER_ID ": issued under \"CN=mesh CA\", which is not the root of mesh.local; it needs a "
                 "certificate of this CA, or its root must be added to the bundle");
    /* A CA is nobody's identity. */
    const crypto_certs ca = {.items = &mesh.ca, .count = 1};
    expect = (crypto_expect){.bundle = mesh.bundle};
    assert_int_equal(crypto_verify(&ca, &expect, PKI_NOW, NULL, &why), CRYPTO_BAD_CERT);
    /* The intermediate's end ends the chain. */
    assert_int_equal(verify(svid, &expect, PKI_NOW + 5000 * PKI_DAY, &why), CRYPTO_EXPIRED);
    const crypto_certs empty = {0};
    assert_int_equal(crypto_verify(&empty, &expect, PKI_NOW, NULL, &why), CRYPTO_BAD_CERT);
    crypto_svid_unref(svid);
}

/* A root of the same name with another key is another root; during a rotation both are in the bundle. */
static void test_rotation(void **state) {
    (void)state;
    test_pki next;
    pki_init(&next, "mesh.local", "mesh");
    crypto_cert *roots[] = {mesh.root, next.root, mesh.root};
    const crypto_certs both = {.items = roots, .count = 3};
    crypto_bundle *bundle = NULL, *reversed = NULL;
    crypto_why why;
    assert_int_equal(crypto_bundle_new("mesh.local", &both, &bundle, &why), 0);
    assert_int_equal(crypto_bundle_roots(bundle)->count, 2);
    crypto_svid *old = pki_svid(&mesh, ORDER, PKI_NOW, PKI_DAY);
    crypto_svid *fresh = pki_svid(&next, ORDER, PKI_NOW, PKI_DAY);
    crypto_expect expect = {.bundle = bundle};
    assert_int_equal(verify(old, &expect, PKI_NOW, &why), CRYPTO_VALID);
    assert_int_equal(verify(fresh, &expect, PKI_NOW, &why), CRYPTO_VALID);
    expect.bundle = mesh.bundle;
    assert_int_equal(verify(fresh, &expect, PKI_NOW, &why), CRYPTO_UNKNOWN_ROOT);
    uint8_t a[32], b[32];
    crypto_cert *swapped[] = {next.root, mesh.root};
    const crypto_certs other = {.items = swapped, .count = 2};
    assert_int_equal(crypto_bundle_new(NULL, &other, &reversed, &why), 0);
    assert_int_equal(crypto_bundle_digest(bundle, a), 0);
    assert_int_equal(crypto_bundle_digest(reversed, b), 0);
    assert_memory_equal(a, b, 32);
    assert_int_equal(crypto_bundle_digest(mesh.bundle, b), 0);
    assert_memory_not_equal(a, b, 32);
    /* Anchors only: a workload's certificate is none. */
    const crypto_certs leaf = {.items = crypto_svid_chain(old)->items, .count = 1};
    crypto_bundle *bad = NULL;
    assert_int_equal(crypto_bundle_new("mesh.local", &leaf, &bad, &why), WEFT_EINVAL);
    assert_int_equal(crypto_bundle_new("Mesh", &both, &bad, &why), WEFT_EINVAL);
    /* An intermediate may be the anchor. */
    const crypto_certs middle = {.items = &mesh.ca, .count = 1};
    crypto_bundle *anchored = NULL;
    assert_int_equal(crypto_bundle_new("mesh.local", &middle, &anchored, &why), 0);
    expect.bundle = anchored;
    assert_int_equal(verify(old, &expect, PKI_NOW, &why), CRYPTO_VALID);
    assert_int_equal(verify(fresh, &expect, PKI_NOW, &why), CRYPTO_UNKNOWN_ROOT);
    crypto_bundle_unref(anchored);
    crypto_bundle_unref(bundle);
    crypto_bundle_unref(reversed);
    crypto_svid_unref(old);
    crypto_svid_unref(fresh);
    pki_free(&next);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hashes),      cmocka_unit_test(test_key_files),
        cmocka_unit_test(test_spiffe),      cmocka_unit_test(test_csr),
        cmocka_unit_test(test_info),        cmocka_unit_test(test_pem),
        cmocka_unit_test(test_issue_rules), cmocka_unit_test(test_verify),
        cmocka_unit_test(test_rotation),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
