/* Every allocation fails once, OpenSSL's too: nothing crashes, nothing leaks, and it is said. */
#include <openssl/crypto.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/pki.h"
#include "weft/mem.h"

#if defined(__SANITIZE_THREAD__)
#define STEP 211
#else
#define STEP 17
#endif

static size_t countdown; /* 0: none fails */

static int allow(size_t size, void *user) {
    (void)size, (void)user;
    return !countdown || --countdown;
}

static void *ssl_malloc(size_t size, const char *file, int line) {
    (void)file, (void)line;
    return weft_malloc(size);
}

static void *ssl_realloc(void *p, size_t size, const char *file, int line) {
    (void)file, (void)line;
    return weft_realloc(p, size);
}

static void ssl_free(void *p, const char *file, int line) {
    (void)file, (void)line;
    weft_free(p);
}

static test_pki mesh;
static crypto_svid *svid;
static weft_chunk_pool *pool;

static int setup(void **state) {
    (void)state;
    pki_init(&mesh, "mesh.local", "mesh");
    svid = pki_svid(&mesh, "/ns/shop/sa/order", PKI_NOW, PKI_DAY);
    pool = weft_chunk_pool_new(0, 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    crypto_svid_unref(svid);
    pki_free(&mesh);
    weft_chunk_pool_free(pool);
    return 0;
}

/* Runs `work` with the n-th allocation failing, until it succeeds without one failing. Every n takes half a
 * minute: that is for soak runs. */
static void sweep(bool (*work)(void), size_t least) {
    weft_mem_hook(allow, NULL);
    const size_t step = getenv("WEFT_SOAK") ? 1 : STEP;
    size_t n = 1;
    for (;; n += step) {
        countdown = n;
        const bool done = work();
        const bool untouched = countdown != 0;
        countdown = 0;
        if (untouched) {
            assert_true(done);
            break;
        }
    }
    weft_mem_hook(NULL, NULL);
    assert_true(n > least);
}

static bool handshake(void) {
    static const char *const ids[] = {"spiffe://mesh.local/ns/shop/sa/order"};
    static weft_clock_manual clock;
    weft_clock_manual_init(&clock, PKI_NOW);
    tls_config config = {
        .role = TLS_SERVER, .svid = svid, .bundle = mesh.bundle, .clock = &clock.clock};
    tls_context *contexts[2] = {NULL, NULL};
    tls_session *sessions[2] = {NULL, NULL};
    weft_chain out[2], plain;
    uint8_t text[TLS_RECORD_MAX], data[8192];
    crypto_why why;
    bool done = false;
    for (int i = 0; i < 2; i++) weft_chain_init(&out[i], pool);
    weft_chain_init(&plain, pool);
    if (tls_context_new(&config, &contexts[0], &why)) goto end;
    config.role = TLS_CLIENT;
    config.ids = ids;
    config.id_count = 1;
    if (tls_context_new(&config, &contexts[1], &why)) goto end;
    for (int i = 0; i < 2; i++)
        if (!(sessions[i] = tls_session_new(contexts[i])) || tls_start(sessions[i], &out[i]))
            goto end;
    if (weft_chain_add(&plain, "hello", 5)) goto end;
    for (int round = 0; round < 8; round++) {
        const int from = !(round & 1); /* the client first */
        if (from && tls_established(sessions[1]) && plain.bytes &&
            tls_write(sessions[1], &plain, SIZE_MAX, &out[1]) < 0)
            goto end;
        size_t size = 0;
        while (out[from].bytes && size < sizeof data) {
            data[size++] = *out[from].head->slice.data;
            weft_chain_consume(&out[from], 1);
        }
        int64_t got;
        tls_input(sessions[!from], data, size);
        while ((got = tls_read(sessions[!from], text, sizeof text, &out[!from])) > 0)
            done = got == 5 && !memcmp(text, "hello", 5);
        if (got < 0 && got != WEFT_EAGAIN) {
            assert_int_not_equal(strlen(tls_failure_text(sessions[!from])), 0);
            done = false;
            goto end;
        }
    }
end:
    for (int i = 0; i < 2; i++) {
        tls_session_free(sessions[i]);
        tls_context_unref(contexts[i]);
        weft_chain_clear(&out[i]);
    }
    weft_chain_clear(&plain);
    return done;
}

static bool issue(void) {
    crypto_key *key = NULL;
    crypto_csr *csr = NULL;
    crypto_cert *cert = NULL;
    crypto_svid *made = NULL;
    crypto_certs read = {0};
    weft_buf der, pem;
    crypto_why why;
    bool done = false;
    weft_buf_init(&der, 0);
    weft_buf_init(&pem, 0);
    const crypto_issue what = {.role = CRYPTO_LEAF,
                               .spiffe = "spiffe://mesh.local/ns/shop/sa/order",
                               .now = PKI_NOW,
                               .lifetime = PKI_DAY};
    if (!crypto_key_generate(CRYPTO_KEY_P256, &key) && !crypto_csr_make(key, what.spiffe, &der) &&
        !crypto_csr_parse(der.data, der.len, &csr, &why) &&
        !crypto_cert_issue(&what, NULL, csr, mesh.ca, mesh.ca_key, &cert, &why) &&
        !crypto_cert_to_pem(cert, &pem) && !crypto_certs_from_pem(pem.data, pem.len, &read, &why)) {
        const crypto_certs chain = {.items = &cert, .count = 1};
        done = !crypto_svid_new(key, &chain, true, &made, &why);
    }
    crypto_svid_unref(made);
    crypto_certs_clear(&read);
    crypto_cert_unref(cert);
    crypto_csr_free(csr);
    crypto_key_unref(key);
    weft_buf_free(&der);
    weft_buf_free(&pem);
    return done;
}

static void test_handshake(void **state) {
    (void)state;
    sweep(handshake, 100);
}

static void test_issue(void **state) {
    (void)state;
    sweep(issue, 100);
}

int main(void) {
    /* Before OpenSSL's first allocation. */
    if (!CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake),
        cmocka_unit_test(test_issue),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
