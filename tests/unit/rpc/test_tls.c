/* Calls over mutual TLS: who calls is known to handlers, and who must not is turned away. */
#include "echo.h"

#include <string.h>

#include "tests/support/pki.h"

typedef Rpctest__EchoReply reply_t;

static test_pki mesh, other;
static tls_context *server_tls;
static weft_server *server;
static weft_channel *channel;
static weft_ctx *ctx;

#define LIFETIME (1000 * PKI_DAY)

static weft_status who(weft_ctx *call, const Rpctest__EchoRequest *request, reply_t *reply) {
    (void)request;
    const char *id = weft_ctx_peer_identity(call);
    weft_ctx *child = weft_ctx_child(call, WEFT_TIMEOUT_S(1));
    assert_true(weft_ctx_peer_identity(child) == id);
    weft_ctx_free(child);
    reply->text = weft_printf(call, "%s", id ? id : "nobody");
    return weft_ok();
}

static int start(void **state) {
    (void)state;
    pki_init(&mesh, "mesh.local", "mesh");
    pki_init(&other, "mesh.local", "other");
    crypto_svid *svid = pki_svid(&mesh, "/ns/shop/sa/echo", PKI_NOW, LIFETIME);
    server_tls = pki_server(&mesh, svid, NULL);
    crypto_svid_unref(svid);
    const weft_server_options options = {
        .size = sizeof options, .transport = "native", .tls = server_tls};
    server = weft_server_new_with(&options);
    const rpctest_echo_service handlers = {.unary = who};
    assert_int_equal(rpctest_echo_service_add(server, &handlers, NULL), 0);
    if (weft_server_listen(server, "127.0.0.1:0") < 0 || weft_server_start(server) < 0)
        fail_msg("%s", weft_server_error(server));
    ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    return 0;
}

static int stop(void **state) {
    (void)state;
    weft_ctx_free(ctx);
    weft_channel_free(channel);
    channel = NULL;
    weft_server_free(server);
    tls_context_unref(server_tls);
    pki_free(&mesh);
    pki_free(&other);
    assert_nothing_lives();
    return 0;
}

/* As whom, and whom it expects. */
static weft_status call(const test_pki *pki, const char *path, const char *expect,
                        reply_t **reply) {
    crypto_svid *svid = pki_svid(pki, path, PKI_NOW, LIFETIME);
    tls_context *tls = pki_client(pki, svid, expect, NULL);
    const weft_dial_options options = {.size = sizeof options, .transport = "native", .tls = tls};
    channel = weft_dial_with(weft_server_address(server, 0), &options);
    tls_context_unref(tls);
    crypto_svid_unref(svid);
    return rpctest_echo_unary(channel, ctx, REQUEST(.text = (char *)"who"), reply);
}

static void handlers_know_who_calls(void **state) {
    (void)state;
    reply_t *reply = NULL;
    assert_code(call(&mesh, "/ns/shop/sa/order", "spiffe://mesh.local/ns/shop/sa/echo", &reply),
                WEFT_OK);
    assert_string_equal(reply->text, "spiffe://mesh.local/ns/shop/sa/order");
}

static void a_server_with_another_name_is_refused(void **state) {
    (void)state;
    weft_status st = call(&mesh, "/ns/shop/sa/order", "spiffe://mesh.local/ns/shop/sa/else", NULL);
    assert_code(st, WEFT_UNAVAILABLE);
    assert_non_null(strstr(weft_status_message(st), "cannot be reached"));
    assert_non_null(strstr(weft_status_message(st), "sa/echo"));
}

static void strangers_are_refused(void **state) {
    (void)state;
    weft_status st = call(&other, "/ns/shop/sa/order", "spiffe://mesh.local/ns/shop/sa/echo", NULL);
    assert_code(st, WEFT_UNAVAILABLE);
}

static void plaintext_is_refused(void **state) {
    (void)state;
    const weft_dial_options options = {.size = sizeof options, .transport = "native"};
    channel = weft_dial_with(weft_server_address(server, 0), &options);
    assert_code(rpctest_echo_unary(channel, ctx, REQUEST(.text = (char *)"who"), NULL),
                WEFT_UNAVAILABLE);
}

/* C-core's transport has no TLS: it says so, and does not speak plaintext instead. */
static void the_other_transport_says_no(void **state) {
    (void)state;
    if (strcmp(echo_transport()->name, "core") != 0) return;
    const weft_server_options plain = {
        .size = sizeof plain, .transport = "core", .tls = server_tls};
    weft_server *refused = weft_server_new_with(&plain);
    assert_int_equal(weft_server_listen(refused, "127.0.0.1:0"), WEFT_EUNSUPPORTED);
    assert_non_null(strstr(weft_server_error(refused), "native"));
    weft_server_free(refused);
    const weft_dial_options options = {
        .size = sizeof options, .transport = "core", .tls = server_tls};
    channel = weft_dial_with(weft_server_address(server, 0), &options);
    weft_status st = rpctest_echo_unary(channel, ctx, REQUEST(.count = 1), NULL);
    assert_code(st, WEFT_UNAVAILABLE);
    assert_non_null(strstr(weft_status_message(st), "native"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
        T(handlers_know_who_calls),     T(a_server_with_another_name_is_refused),
        T(strangers_are_refused),       T(plaintext_is_refused),
        T(the_other_transport_says_no),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
