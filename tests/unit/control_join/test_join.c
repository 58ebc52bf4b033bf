/* Join tokens and certificates: what is given, and every refusal, each in one line and on record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/control/join/join.h"
#include "services/control/join/tokens.h"
#include "tests/support/pki.h"
#include "tests/support/proc.h"
#include "weft/log.h"

#define PRODUCT "spiffe://mesh.local/ns/shop/sa/product"
#define ORDER "spiffe://mesh.local/ns/shop/sa/order"
#define S WEFT_NS_PER_S

typedef struct desk_rig {
    char folder[256];
    weft_clock_manual time;
    weft_db *db;
    weft_revisions *store;
    ca *authority;
    audit log;
    join_desk desk;
} desk_rig;

static void rig_open(desk_rig *rig) {
    char path[400];
    char *why_store = NULL;
    crypto_why why = {""};
    const weft_db_options db = {.size = sizeof db, .clock = &rig->time.clock};
    (void)snprintf(path, sizeof path, "%s/control.db", rig->folder);
    assert_int_equal(weft_db_open(path, &db, &rig->db, &why_store), 0);
    assert_int_equal(weft_revisions_sqlite(rig->db, &rig->store), 0);
    (void)snprintf(path, sizeof path, "%s/ca", rig->folder);
    const ca_options options = {.folder = path, .domain = "mesh.local"};
    if (ca_open(&options, rig->time.now, &rig->authority, &why)) fail_msg("%s", why.text);
    audit_init(&rig->log, rig->store, &rig->time.clock);
    join_init(&rig->desk, rig->authority, rig->store, &rig->log, &rig->time.clock);
}

static void rig_close(desk_rig *rig) {
    join_end(&rig->desk);
    audit_end(&rig->log);
    ca_free(rig->authority);
    weft_revisions_free(rig->store);
    weft_db_close(rig->db);
}

static int setup(void **state) {
    desk_rig *rig = calloc(1, sizeof *rig);
    proc_make_dir(rig->folder, sizeof rig->folder);
    weft_clock_manual_init(&rig->time, PKI_NOW);
    rig_open(rig);
    *state = rig;
    return 0;
}

static int teardown(void **state) {
    desk_rig *rig = *state;
    rig_close(rig);
    proc_remove_dir(rig->folder);
    free(rig);
    return 0;
}

static void token_for(desk_rig *rig, const char *identity, char text[CRYPTO_TOKEN_TEXT]) {
    crypto_why why = {""};
    crypto_token token = {.expires = rig->time.now + CRYPTO_TOKEN_TTL, .address = "127.0.0.1:7000"};
    (void)snprintf(token.identity, sizeof token.identity, "%s", identity);
    if (join_token(&rig->desk, &token, "owner", &why)) fail_msg("%s", why.text);
    assert_int_equal(crypto_token_format(&token, text), 0);
}

static weft_code try_join(desk_rig *rig, const char *token, const char *identity,
                          join_result *out) {
    crypto_key *key;
    weft_buf csr;
    assert_int_equal(crypto_key_generate(CRYPTO_KEY_P256, &key), 0);
    weft_buf_init(&csr, 0);
    assert_int_equal(crypto_csr_make(key, identity, &csr), 0);
    join_with_token(&rig->desk, token, (join_csr){csr.data, csr.len}, "ipv4:10.0.0.7:999", out);
    weft_buf_free(&csr);
    crypto_key_unref(key);
    assert_null(strchr(out->text, '\n'));
    return out->code;
}

/* The newest entry. */
static void recorded(desk_rig *rig, const char *event, const char *part) {
    audit_entry entry;
    size_t count;
    assert_int_equal(audit_list(&rig->log, 0, &entry, 1, &count), 0);
    assert_int_equal(count, 1);
    assert_string_equal(entry.event, event);
    if (!strstr(entry.text, part)) fail_msg("no \"%s\" in: %s", part, entry.text);
}

static void refused(desk_rig *rig, const char *token, const char *identity, weft_code code,
                    const char *part) {
    join_result result;
    assert_int_equal(try_join(rig, token, identity, &result), code);
    if (!strstr(result.text, part)) fail_msg("no \"%s\" in: %s", part, result.text);
    assert_null(result.chain.items);
    recorded(rig, "join.refused", part);
    join_result_clear(&result);
}

static void test_join(void **state) {
    desk_rig *rig = *state;
    char token[CRYPTO_TOKEN_TEXT];
    join_result result;
    token_for(rig, PRODUCT, token);
    recorded(rig, "token.created", PRODUCT);
    assert_int_equal(try_join(rig, token, PRODUCT, &result), WEFT_OK);
    assert_string_equal(result.identity, PRODUCT);
    assert_string_equal(crypto_cert_get_info(result.chain.items[0])->spiffe, PRODUCT);
    assert_int_equal(result.renew_at, PKI_NOW + CA_LEAF / 2);
    assert_int_equal(result.expires, PKI_NOW + CA_LEAF);
    recorded(rig, "join", PRODUCT);
    join_result_clear(&result);
    assert_int_equal(atomic_load(&rig->desk.joins), 1);
}

static void test_replayed(void **state) {
    desk_rig *rig = *state;
    char token[CRYPTO_TOKEN_TEXT];
    join_result result;
    token_for(rig, PRODUCT, token);
    assert_int_equal(try_join(rig, token, PRODUCT, &result), WEFT_OK);
    join_result_clear(&result);
    refused(rig, token, PRODUCT, WEFT_UNAUTHENTICATED, "was used before");
    rig_close(rig); /* a restart forgets nothing */
    rig_open(rig);
    refused(rig, token, PRODUCT, WEFT_UNAUTHENTICATED, "was used before");
}

static void test_expired(void **state) {
    desk_rig *rig = *state;
    char token[CRYPTO_TOKEN_TEXT];
    token_for(rig, PRODUCT, token);
    weft_clock_manual_advance(&rig->time, 600 * S);
    refused(rig, token, PRODUCT, WEFT_UNAUTHENTICATED, "has expired");
    refused(rig, token, PRODUCT, WEFT_UNAUTHENTICATED, "was used before");
}

/* The token allows product; whoever stole it wants to be order. It is used up by trying. */
static void test_other_identity(void **state) {
    desk_rig *rig = *state;
    char token[CRYPTO_TOKEN_TEXT];
    token_for(rig, PRODUCT, token);
    refused(rig, token, ORDER, WEFT_PERMISSION_DENIED, "allowed is " PRODUCT);
    refused(rig, token, PRODUCT, WEFT_UNAUTHENTICATED, "was used before");
}

/* What the text claims is not what counts. */
static void test_forged(void **state) {
    desk_rig *rig = *state;
    char text[CRYPTO_TOKEN_TEXT];
    crypto_token token;
    join_result result;
    token_for(rig, PRODUCT, text);
    assert_int_equal(crypto_token_parse(text, &token, NULL), 0);
    (void)snprintf(token.identity, sizeof token.identity, "%s", ORDER);
    token.expires += 3600 * S;
    char forged[CRYPTO_TOKEN_TEXT];
    assert_int_equal(crypto_token_format(&token, forged), 0);
    refused(rig, forged, ORDER, WEFT_PERMISSION_DENIED, "allowed is " PRODUCT);

    /* Without the secret nothing is used up. */
    token_for(rig, PRODUCT, text);
    assert_int_equal(crypto_token_parse(text, &token, NULL), 0);
    token.secret[0] ^= 1;
    assert_int_equal(crypto_token_format(&token, forged), 0);
    refused(rig, forged, PRODUCT, WEFT_UNAUTHENTICATED, "is not one of this control plane");
    assert_int_equal(try_join(rig, text, PRODUCT, &result), WEFT_OK);
    join_result_clear(&result);
    refused(rig, "weft-join-1.AAAA", PRODUCT, WEFT_UNAUTHENTICATED, "damaged");
    refused(rig, "secret", PRODUCT, WEFT_UNAUTHENTICATED, "not a join token");
    refused(rig, "", PRODUCT, WEFT_UNAUTHENTICATED, "not a join token");
}

static void test_foreign(void **state) {
    desk_rig *rig = *state;
    void *other_state = NULL;
    char token[CRYPTO_TOKEN_TEXT];
    assert_int_equal(setup(&other_state), 0);
    token_for(other_state, PRODUCT, token);
    refused(rig, token, PRODUCT, WEFT_UNAUTHENTICATED, "pins another trust bundle");
    assert_int_equal(teardown(&other_state), 0);
}

static void renew(desk_rig *rig, const char *who, const char *wants, join_result *out) {
    crypto_key *key;
    weft_buf csr;
    assert_int_equal(crypto_key_generate(CRYPTO_KEY_P256, &key), 0);
    weft_buf_init(&csr, 0);
    assert_int_equal(crypto_csr_make(key, wants, &csr), 0);
    join_renew(&rig->desk, who, (join_csr){csr.data, csr.len}, "ipv4:10.0.0.7:999", out);
    weft_buf_free(&csr);
    crypto_key_unref(key);
}

static void test_renewal(void **state) {
    desk_rig *rig = *state;
    join_result result;
    renew(rig, PRODUCT, PRODUCT, &result);
    assert_int_equal(result.code, WEFT_OK);
    recorded(rig, "renew", PRODUCT);
    join_result_clear(&result);
    renew(rig, PRODUCT, ORDER, &result);
    assert_int_equal(result.code, WEFT_PERMISSION_DENIED);
    recorded(rig, "renew.refused", ORDER);
    renew(rig, NULL, PRODUCT, &result);
    assert_int_equal(result.code, WEFT_UNAUTHENTICATED);
    recorded(rig, "renew.refused", "mTLS");
    assert_int_equal(atomic_load(&rig->desk.renewals), 1);
}

static void test_bundle(void **state) {
    desk_rig *rig = *state;
    uint64_t sequence = 0;
    ca_rotation plan;
    crypto_why why = {""};
    crypto_bundle *bundle = join_bundle_wait(&rig->desk, 0, 0, &sequence);
    assert_non_null(bundle);
    assert_int_equal(sequence, 1);
    crypto_bundle_unref(bundle);
    assert_null(join_bundle_wait(&rig->desk, 1, 0, &sequence));
    assert_int_equal(join_rotate(&rig->desk, "owner", &plan, &why), 0);
    recorded(rig, "root.rotate", "new root");
    bundle = join_bundle_wait(&rig->desk, 1, 0, &sequence);
    assert_non_null(bundle);
    assert_int_equal(sequence, 2);
    assert_int_equal(crypto_bundle_roots(bundle)->count, 2);
    crypto_bundle_unref(bundle);
    assert_int_equal(join_tick(&rig->desk), plan.done);
    weft_clock_manual_advance(&rig->time, plan.done - rig->time.now);
    assert_int_equal(join_tick(&rig->desk), INT64_MAX);
    recorded(rig, "root.removed", "old root");
    join_close(&rig->desk);
    assert_null(join_bundle_wait(&rig->desk, 0, INT64_MAX, &sequence));
}

/* Strangers cannot fill the disk. */
static void test_flood(void **state) {
    desk_rig *rig = *state;
    join_result result;
    audit_entry *list = calloc(2 * AUDIT_REFUSALS, sizeof *list);
    size_t count;
    for (unsigned i = 0; i < 3 * AUDIT_REFUSALS; i++)
        join_with_token(&rig->desk, "guess", (join_csr){"", 0}, "ipv4:10.0.0.7:999", &result);
    assert_int_equal(audit_list(&rig->log, 0, list, 2 * (size_t)AUDIT_REFUSALS, &count), 0);
    assert_int_equal(count, AUDIT_REFUSALS);
    weft_clock_manual_advance(&rig->time, 60 * S);
    join_with_token(&rig->desk, "guess", (join_csr){"", 0}, "ipv4:10.0.0.7:999", &result);
    recorded(rig, "join.refused", "240 refusals before this one were not recorded");
    assert_int_equal(rig->log.refusals, 3 * AUDIT_REFUSALS + 1);
    free(list);
}

int main(void) {
    weft_log_set_level(WEFT_LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_join, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replayed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expired, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_identity, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_foreign, setup, teardown),
        cmocka_unit_test_setup_teardown(test_renewal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bundle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
