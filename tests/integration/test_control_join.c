/* The real control plane over mTLS: joining, every refusal, leases by attested identity, renewal, a restart
 * that forgets nothing, and documents with two writers. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "sidecar/identity/internal.h"
#include "tests/support/proc.h"
#include "weft/control/v1/admin.weft.h"
#include "weft/control/v1/identity.weft.h"
#include "weft/control/v1/registry.weft.h"
#include "weft/tls.h"

#define CONTROL "spiffe://mesh.local/ns/weft/sa/control"
#define PRODUCT "spiffe://mesh.local/ns/shop/sa/product"
#define WAIT WEFT_TIMEOUT_S(20)

static char folder[256], state_folder[300], admin_address[400];
static proc control;
static weft_channel *admin;

/* ---- the control plane */

static void start(const char *leaf) {
    static char address[] = "127.0.0.1:0";
    char log[300];
    const char *argv[] = {proc_program("weft-control"),
                          "--listen",
                          address,
                          "--state",
                          state_folder,
                          "--leaf",
                          leaf,
                          "--overlap",
                          "1s",
                          "--grace",
                          "200ms",
                          NULL};
    (void)snprintf(log, sizeof log, "%s/control.log", folder);
    assert_true(proc_start(&control, "control", argv, NULL, log));
    if (!proc_wait_ready(&control, NULL, 20)) {
        proc_show_log(&control);
        fail_msg("the control plane did not start");
    }
    admin = weft_dial_with(admin_address, &(weft_dial_options){.size = sizeof(weft_dial_options),
                                                               .transport = "native"});
}

static void stop(void) {
    weft_channel_free(admin);
    assert_int_equal(proc_end(&control, SIGTERM), 0);
}

static int setup(void **state) {
    (void)state;
    proc_make_dir(folder, sizeof folder);
    (void)snprintf(state_folder, sizeof state_folder, "%s/state", folder);
    (void)snprintf(admin_address, sizeof admin_address, "unix:%s/admin.sock", state_folder);
    start("24h");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    stop();
    proc_remove_dir(folder);
    return 0;
}

static void ok(weft_status st) {
    if (!weft_failed(st)) return;
    proc_show_log(&control);
    fail_msg("%s: %s", weft_code_name((int)st.code), weft_status_message(st));
}

static const char *token_for(weft_ctx *ctx, const char *service) {
    WeftControl__CreateTokenRequest request = {WEFT_CONTROL_CREATE_TOKEN_REQUEST()};
    WeftControl__CreateTokenResponse *reply = NULL;
    request.namespace_ = weft_strdup(ctx, "shop");
    request.service = weft_strdup(ctx, service);
    ok(weft_control_admin_create_token(admin, ctx, &request, &reply));
    return reply->token;
}

/* The newest lines of the audit log have `part`. */
static void recorded(weft_ctx *ctx, const char *event, const char *part) {
    const WeftControl__AuditRequest request = {WEFT_CONTROL_AUDIT_REQUEST()};
    WeftControl__AuditResponse *reply = NULL;
    ok(weft_control_admin_audit(admin, ctx, &request, &reply));
    for (size_t i = 0; i < reply->n_entries; i++)
        if (!strcmp(reply->entries[i]->event, event) && strstr(reply->entries[i]->text, part))
            return;
    fail_msg("no %s with \"%s\" on record", event, part);
}

/* ---- a joiner */

static identity_options options_for(const char *name, const char *token, char path[400]) {
    (void)snprintf(path, 400, "%s/%s", folder, name);
    return (identity_options){.folder = path, .token = token, .timeout = WAIT};
}

static identity *join(const char *name, const char *token) {
    char path[400];
    crypto_why why = {""};
    identity *self = NULL;
    const identity_options options = options_for(name, token, path);
    if (identity_open(&options, &self, &why)) {
        proc_show_log(&control);
        fail_msg("%s", why.text);
    }
    return self;
}

static void refused(const char *name, const char *token, const char *part) {
    char path[400];
    crypto_why why = {""};
    identity *self = NULL;
    const identity_options options = options_for(name, token, path);
    assert_true(identity_open(&options, &self, &why) < 0);
    assert_null(strchr(why.text, '\n'));
    if (!strstr(why.text, part)) fail_msg("no \"%s\" in: %s", part, why.text);
}

static weft_channel *dial_as(identity *self) {
    const char *ids[] = {CONTROL};
    crypto_svid *svid = identity_svid(self);
    crypto_bundle *bundle = identity_bundle(self);
    weft_dial_options options = {.size = sizeof options, .transport = "native"};
    const tls_config config = {
        .role = TLS_CLIENT, .svid = svid, .bundle = bundle, .ids = ids, .id_count = 1};
    assert_int_equal(tls_context_new(&config, &options.tls, NULL), 0);
    weft_channel *channel = weft_dial_with(identity_address(self), &options);
    tls_context_unref(options.tls);
    crypto_svid_unref(svid);
    crypto_bundle_unref(bundle);
    return channel;
}

static void test_join(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WAIT);
    const char *token = token_for(ctx, "product");
    identity *self = join("product", token);
    assert_string_equal(identity_spiffe(self), PRODUCT);
    assert_int_equal(identity_start(self), 0);
    identity_close(self);

    /* A restart needs no token; the token is good for nothing any more, wherever it is. */
    self = join("product", NULL);
    assert_string_equal(identity_spiffe(self), PRODUCT);
    identity_close(self);
    refused("thief", token, "was used before");
    recorded(ctx, "join.refused", "was used before");
    recorded(ctx, "join", PRODUCT);
    refused("nobody", NULL, "give a join token");
    weft_ctx_free(ctx);
}

static void test_refusals(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WAIT);
    char text[CRYPTO_TOKEN_TEXT];
    crypto_token token;
    crypto_why why = {""};

    /* It may be product, and asks to be order. */
    assert_int_equal(crypto_token_parse(token_for(ctx, "product"), &token, &why), 0);
    (void)snprintf(token.identity, sizeof token.identity, "spiffe://mesh.local/ns/shop/sa/order");
    assert_int_equal(crypto_token_format(&token, text), 0);
    refused("order", text, "allowed is " PRODUCT);
    recorded(ctx, "join.refused", "allowed is " PRODUCT);

    /* The control plane is not the one pinned: the secret is not even sent. */
    assert_int_equal(crypto_token_parse(token_for(ctx, "product"), &token, &why), 0);
    token.pin[0] ^= 1;
    assert_int_equal(crypto_token_format(&token, text), 0);
    refused("pinned", text, "nothing was sent");
    token.pin[0] ^= 1;
    assert_int_equal(crypto_token_format(&token, text), 0);
    identity_close(join("pinned", text));

    assert_int_equal(crypto_token_parse(token_for(ctx, "product"), &token, &why), 0);
    token.expires = WEFT_NS_PER_S;
    assert_int_equal(crypto_token_format(&token, text), 0);
    refused("late", text, "expired");
    weft_ctx_free(ctx);
}

/* ---- leases */

static void say_register(weft_ctx *ctx, weft_control_registry_lease_stream *stream,
                         const char *service) {
    WeftControl__LeaseRequest message = {WEFT_CONTROL_LEASE_REQUEST()};
    WeftControl__Register body = {WEFT_CONTROL_REGISTER()};
    body.namespace_ = weft_strdup(ctx, "shop");
    body.service = weft_strdup(ctx, service);
    body.instance = weft_strdup(ctx, "i-1");
    body.address = weft_strdup(ctx, "127.0.0.1:7001");
    body.health = WEFT_CONTROL__HEALTH__HEALTHY;
    message.kind_case = WEFT_CONTROL__LEASE_REQUEST__KIND_REGISTER;
    message.register_ = &body;
    (void)weft_control_registry_lease_send(stream, &message);
}

static size_t up(weft_ctx *ctx) {
    const WeftControl__StatusRequest request = {WEFT_CONTROL_STATUS_REQUEST()};
    WeftControl__StatusResponse *reply = NULL;
    ok(weft_control_admin_status(admin, ctx, &request, &reply));
    return reply->instances_up;
}

static void test_lease(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WAIT), *calls = weft_ctx_new(WAIT);
    WeftControl__LeaseResponse *message = NULL;
    identity *self = join("leased", token_for(ctx, "product"));
    weft_channel *channel = dial_as(self);
    weft_control_registry_lease_stream *stream = weft_control_registry_lease(channel, calls);
    say_register(ctx, stream, "product");
    assert_true(weft_control_registry_lease_next(stream, &message));
    assert_int_equal(message->kind_case, WEFT_CONTROL__LEASE_RESPONSE__KIND_REGISTERED);
    assert_int_equal(message->registered->down_after->seconds, 30);
    assert_int_equal(up(ctx), 1);

    /* Nobody registers as someone else. */
    weft_ctx *other = weft_ctx_new(WAIT);
    weft_control_registry_lease_stream *stolen = weft_control_registry_lease(channel, other);
    say_register(ctx, stolen, "order");
    assert_false(weft_control_registry_lease_next(stolen, &message));
    assert_int_equal(weft_control_registry_lease_end(stolen).code, WEFT_PERMISSION_DENIED);
    recorded(ctx, "lease.refused", "order.shop may not be registered by " PRODUCT);
    weft_ctx_free(other);

    /* Nor is it admin. */
    const WeftControl__AuditRequest audit = {WEFT_CONTROL_AUDIT_REQUEST()};
    WeftControl__AuditResponse *entries = NULL;
    assert_int_equal(weft_control_admin_audit(channel, ctx, &audit, &entries).code,
                     WEFT_PERMISSION_DENIED);

    /* An orderly end is one at once. */
    WeftControl__LeaseRequest leave = {WEFT_CONTROL_LEASE_REQUEST()};
    WeftControl__Leave nothing = {WEFT_CONTROL_LEAVE()};
    leave.kind_case = WEFT_CONTROL__LEASE_REQUEST__KIND_LEAVE;
    leave.leave = &nothing;
    assert_true(weft_control_registry_lease_send(stream, &leave));
    assert_false(weft_control_registry_lease_next(stream, &message));
    ok(weft_control_registry_lease_end(stream));
    assert_int_equal(up(ctx), 0);
    weft_channel_free(channel);
    identity_close(self);
    weft_ctx_free(calls);
    weft_ctx_free(ctx);
}

/* ---- renewal */

static void test_renewal(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WAIT);
    crypto_why why = {""};
    const identity_calls calls = {.plaintext = false};
    identity_state now = {.sequence = 0};
    identity_close(join("renewed", token_for(ctx, "product")));
    char path[400];
    (void)snprintf(path, sizeof path, "%s/renewed", folder);
    assert_int_equal(identity_load(path, weft_wall(NULL), &now, &why), 0);
    crypto_svid *before = crypto_svid_ref(now.svid);
    if (identity_renew(&calls, ctx, &now, &why)) fail_msg("%s", why.text);
    assert_string_not_equal(crypto_cert_get_info(crypto_svid_chain(before)->items[0])->serial,
                            crypto_cert_get_info(crypto_svid_chain(now.svid)->items[0])->serial);
    crypto_svid_unref(before);

    /* For itself only, and only over mTLS. */
    (void)snprintf(now.spiffe, sizeof now.spiffe, "spiffe://mesh.local/ns/shop/sa/order");
    assert_int_equal(identity_renew(&calls, ctx, &now, &why), WEFT_ECONFLICT);
    assert_non_null(strstr(why.text, "PERMISSION_DENIED"));
    crypto_svid *none = now.svid;
    now.svid = NULL;
    assert_int_equal(identity_renew(&calls, ctx, &now, &why), WEFT_ECONFLICT);
    assert_non_null(strstr(why.text, "UNAUTHENTICATED"));
    crypto_svid_unref(none);
    identity_state_clear(&now);
    weft_ctx_free(ctx);
}

/* ---- leaves of 3 s and a new root, while everything goes on */

typedef struct seen_changes {
    pthread_mutex_t lock;
    pthread_cond_t more;
    unsigned svids; /* after the first */
    size_t most;    /* roots at a time */
    size_t now;
    crypto_svid *last;
} seen_changes;

static void on_change(void *user, crypto_svid *svid, crypto_bundle *bundle) {
    seen_changes *seen = user;
    (void)pthread_mutex_lock(&seen->lock);
    if (svid != seen->last) seen->svids++;
    seen->last = svid;
    seen->now = crypto_bundle_roots(bundle)->count;
    if (seen->now > seen->most) seen->most = seen->now;
    (void)pthread_cond_signal(&seen->more);
    (void)pthread_mutex_unlock(&seen->lock);
}

static bool wait_more(seen_changes *seen) {
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    return pthread_cond_timedwait(&seen->more, &seen->lock, &until) == 0;
}

static void test_rotation(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(120));
    seen_changes seen = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
    const WeftControl__RotateRootRequest request = {WEFT_CONTROL_ROTATE_ROOT_REQUEST()};
    WeftControl__RotateRootResponse *plan = NULL;
    char path[400];
    crypto_why why = {""};
    identity *self = NULL;
    stop();
    start("3s");
    identity_options options = options_for("rotating", token_for(ctx, "product"), path);
    options.changed = on_change;
    options.user = &seen;
    if (identity_open(&options, &self, &why)) fail_msg("%s", why.text);
    assert_int_equal(identity_start(self), 0);
    ok(weft_control_admin_rotate_root(admin, ctx, &request, &plan));
    (void)pthread_mutex_lock(&seen.lock);
    /* Until both roots were there and three certificates had come, the last by the new root. Backdating keeps the old one for a
     * minute beyond the last leaf, so its end is not waited for. */
    while (seen.most < 2 || seen.svids < 3)
        if (!wait_more(&seen)) fail_msg("%u certificates, %zu roots", seen.svids, seen.most);
    (void)pthread_mutex_unlock(&seen.lock);
    const identity_status status = identity_get_status(self);
    assert_int_equal(status.failures, 0);
    assert_true(status.sequence >= 2);
    identity_close(self);
    stop();
    start("24h");
    weft_ctx_free(ctx);
}

/* ---- documents: two writers, one wins */

static weft_status apply(weft_ctx *ctx, const char *yaml, int64_t expect,
                         WeftControl__ApplyResponse **reply) {
    WeftControl__ApplyRequest request = {WEFT_CONTROL_APPLY_REQUEST()};
    WeftControl__File file = {WEFT_CONTROL_FILE()};
    WeftControl__File *files[] = {&file};
    file.name = weft_strdup(ctx, "mesh.yaml");
    file.content = weft_strdup(ctx, yaml);
    request.files = files;
    request.n_files = 1;
    request._expect_case = WEFT_CONTROL__APPLY_REQUEST___EXPECT_EXPECT;
    request.expect = expect;
    return weft_control_admin_apply(admin, ctx, &request, reply);
}

#define SERVICE(uses)                                                                    \
    "apiVersion: weft.dev/v1\nkind: Service\nmetadata: {name: order, namespace: shop}\n" \
    "spec: {uses: [" uses "]}\n---\n"                                                    \
    "apiVersion: weft.dev/v1\nkind: Service\nmetadata: {name: product, namespace: shop}\nspec: {}\n"

static void test_documents(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WAIT);
    WeftControl__ApplyResponse *reply = NULL;
    WeftControl__RollbackRequest back = {WEFT_CONTROL_ROLLBACK_REQUEST()};
    WeftControl__RollbackResponse *backed = NULL;
    ok(apply(ctx, SERVICE(""), 0, &reply));
    for (size_t i = 0; i < reply->n_problems; i++)
        fail_msg("%s:%d: %s", reply->problems[i]->path, reply->problems[i]->line,
                 reply->problems[i]->text);
    assert_int_equal(reply->revision->sequence, 1);
    assert_int_equal(reply->n_changes, 2);
    ok(apply(ctx, SERVICE("product"), 1, &reply));
    assert_int_equal(reply->revision->sequence, 2);
    const weft_status late = apply(ctx, SERVICE(""), 1, &reply);
    assert_int_equal(late.code, WEFT_ABORTED);
    assert_non_null(strstr(weft_status_message(late), "revision 2"));

    /* Wrong: all of it is told, nothing is stored. */
    ok(apply(ctx,
             "apiVersion: weft.dev/v1\nkind: Service\nmetadata: {name: Order}\nspec: {use: 1}\n", 2,
             &reply));
    assert_true(reply->n_problems >= 1);
    assert_string_equal(reply->problems[0]->file, "mesh.yaml");
    ok(weft_control_admin_rollback(admin, ctx, &back, &backed));
    assert_int_equal(backed->revision->sequence, 3);
    assert_true(backed->n_changes >= 1);
    recorded(ctx, "rollback", "revision 3");
    weft_ctx_free(ctx);
}

/* ---- a restart */

static void test_restart(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WAIT);
    const char *used = token_for(ctx, "product"), *fresh = token_for(ctx, "order");
    identity_close(join("kept", used));
    stop();
    start("24h");
    /* The port is another one; the state folder and the token's text would say the old one. */
    const WeftControl__StatusRequest request = {WEFT_CONTROL_STATUS_REQUEST()};
    WeftControl__StatusResponse *status = NULL;
    ok(weft_control_admin_status(admin, ctx, &request, &status));
    char path[400];
    crypto_why why = {""};
    identity *self = NULL;
    identity_options options = options_for("again", used, path);
    options.address = status->addresses[0];
    assert_int_equal(identity_open(&options, &self, &why), WEFT_ECONFLICT);
    assert_non_null(strstr(why.text, "was used before"));
    options.token = fresh;
    if (identity_open(&options, &self, &why)) fail_msg("%s", why.text);
    identity_close(self);
    weft_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join),      cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_lease),     cmocka_unit_test(test_renewal),
        cmocka_unit_test(test_documents), cmocka_unit_test(test_restart),
        cmocka_unit_test(test_rotation),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
