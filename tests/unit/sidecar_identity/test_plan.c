/* When to renew, when to try again, and what the folder keeps. */
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

#include "sidecar/identity/internal.h"
#include "tests/support/pki.h"
#include "tests/support/proc.h"

#define S WEFT_NS_PER_S

static void test_renewal(void **state) {
    (void)state;
    weft_rng rng;
    int64_t first = INT64_MAX, last = 0;
    weft_rng_seed(&rng, 1);
    for (int i = 0; i < 1000; i++) {
        const int64_t at = identity_renew_at(1000 * S, 1100 * S, &rng);
        assert_in_range(at, 1040 * S, 1050 * S);
        if (at < first) first = at;
        if (at > last) last = at;
    }
    assert_true(last - first > 9 * S);
    assert_int_equal(identity_renew_at(1000 * S, 900 * S, &rng), 1000 * S);
}

static void test_retries(void **state) {
    (void)state;
    weft_rng rng;
    weft_rng_seed(&rng, 1);
    for (uint64_t n = 1; n <= 100; n++)
        for (int i = 0; i < 100; i++) {
            const int64_t most = n > 6 ? 60 * S : S << (n - 1);
            const int64_t wait = identity_retry_at(0, INT64_MAX, n, &rng);
            assert_in_range(wait, most / 2, most > 60 * S ? 60 * S : most);
            /* Near the end it hurries, but never spins. */
            assert_in_range(identity_retry_at(0, 20 * S, n, &rng), 50 * WEFT_NS_PER_MS, 2 * S);
            assert_in_range(identity_retry_at(0, 1, n, &rng), 50 * WEFT_NS_PER_MS,
                            100 * WEFT_NS_PER_MS);
        }
}

static void test_folder(void **state) {
    (void)state;
    char folder[256], path[400];
    test_pki pki;
    crypto_why why = {""};
    struct stat info;
    identity_state kept = {.sequence = 7}, back = {.sequence = 0};
    proc_make_dir(folder, sizeof folder);
    pki_init(&pki, "mesh.local", "mesh");
    assert_int_equal(identity_folder_check(folder, &why), 0);
    assert_int_equal(identity_load(folder, PKI_NOW, &back, &why), WEFT_ENOTFOUND);
    kept.svid = pki_svid(&pki, "/ns/shop/sa/product", PKI_NOW, PKI_DAY);
    kept.bundle = crypto_bundle_ref(pki.bundle);
    (void)snprintf(kept.address, sizeof kept.address, "127.0.0.1:7000");
    (void)snprintf(kept.domain, sizeof kept.domain, "mesh.local");
    assert_int_equal(identity_save(folder, &kept, &why), 0);
    if (identity_load(folder, PKI_NOW, &back, &why)) fail_msg("%s", why.text);
    assert_string_equal(back.spiffe, "spiffe://mesh.local/ns/shop/sa/product");
    assert_string_equal(back.address, kept.address);
    assert_string_equal(back.domain, kept.domain);
    assert_int_equal(back.sequence, 7);
    assert_int_equal(back.expires, PKI_NOW + PKI_DAY);
    identity_state_clear(&back);
    (void)snprintf(path, sizeof path, "%s/" IDENTITY_SVID_FILE, folder);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(identity_load(folder, PKI_NOW + 2 * PKI_DAY, &back, &why), WEFT_ETIMEOUT);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(identity_load(folder, PKI_NOW, &back, &why), WEFT_EINVAL);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, 100), 0);
    assert_true(identity_load(folder, PKI_NOW, &back, &why) < 0);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(identity_folder_check(folder, &why), WEFT_EINVAL);
    assert_non_null(strstr(why.text, "chmod 700"));
    identity_state_clear(&kept);
    pki_free(&pki);
    proc_remove_dir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_renewal),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
