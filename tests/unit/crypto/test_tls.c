/* TLS sessions against each other: what passes, what is refused and in which words, fragments, key updates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/pki.h"
#include "weft/mem.h"

#define ORDER "/ns/shop/sa/order"
#define PRODUCT "/ns/shop/sa/product"
#define ORDER_ID "spiffe://mesh.local" ORDER
#define PRODUCT_ID "spiffe://mesh.local" PRODUCT

typedef struct side {
    tls_session *session;
    weft_chain out;   /* ciphertext to the other */
    weft_chain plain; /* to be encrypted */
    weft_buf got;
    int64_t last; /* tls_read's last result */
} side;

typedef struct world {
    test_pki mesh, other;
    crypto_svid *order, *product;
    weft_chunk_pool *pool;
} world;

static int setup(void **state) {
    static world w;
    pki_init(&w.mesh, "mesh.local", "mesh");
    pki_init(&w.other, "other.example", "other");
    w.order = pki_svid(&w.mesh, ORDER, PKI_NOW, PKI_DAY);
    w.product = pki_svid(&w.mesh, PRODUCT, PKI_NOW, PKI_DAY);
    w.pool = weft_chunk_pool_new(0, 0);
    *state = &w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    crypto_svid_unref(w->order);
    crypto_svid_unref(w->product);
    pki_free(&w->mesh);
    pki_free(&w->other);
    weft_chunk_pool_free(w->pool);
    return 0;
}

static void side_init(side *s, world *w, tls_context *context) {
    s->session = tls_session_new(context);
    assert_non_null(s->session);
    tls_context_unref(context);
    weft_chain_init(&s->out, w->pool);
    weft_chain_init(&s->plain, w->pool);
    weft_buf_init(&s->got, 0);
    s->last = WEFT_EAGAIN;
    assert_int_equal(tls_start(s->session, &s->out), 0);
}

static void side_free(side *s) {
    tls_session_free(s->session);
    weft_chain_clear(&s->out);
    weft_chain_clear(&s->plain);
    weft_buf_free(&s->got);
}

static void feed(side *to, const uint8_t *data, size_t size) {
    uint8_t text[TLS_RECORD_MAX];
    tls_input(to->session, data, size);
    while ((to->last = tls_read(to->session, text, sizeof text, &to->out)) > 0)
        assert_int_equal(weft_buf_add(&to->got, text, (size_t)to->last), 0);
}

/* Moves what `from` has to say to `to` in pieces of `piece` bytes. */
static bool carry(side *from, side *to, size_t piece) {
    bool any = false;
    if (tls_established(from->session) && from->plain.bytes &&
        tls_write(from->session, &from->plain, SIZE_MAX, &from->out) <= 0)
        fail_msg("%s", tls_failure_text(from->session));
    while (from->out.bytes) {
        uint8_t data[4096];
        size_t n = 0;
        while (n < piece && n < sizeof data && from->out.bytes) {
            data[n++] = *from->out.head->slice.data;
            weft_chain_consume(&from->out, 1);
        }
        feed(to, data, n);
        any = true;
    }
    return any;
}

static void exchange(side *a, side *b, size_t piece) {
    while (carry(a, b, piece) || carry(b, a, piece)) {}
}

static void say(side *s, const void *data, size_t size) {
    assert_int_equal(weft_chain_add(&s->plain, data, size), 0);
}

static void pair(world *w, side *client, side *server) {
    side_init(server, w, pki_server(&w->mesh, w->product, NULL));
    side_init(client, w, pki_client(&w->mesh, w->order, PRODUCT_ID, NULL));
}

static void test_echo(void **state) {
    side client, server;
    pair(*state, &client, &server);
    say(&client, "hello", 5);
    exchange(&client, &server, 4096);
    assert_true(tls_established(client.session) && tls_established(server.session));
    assert_string_equal(weft_buf_str(&server.got), "hello");
    say(&server, "welcome", 7);
    exchange(&client, &server, 4096);
    assert_string_equal(weft_buf_str(&client.got), "welcome");

    const tls_info at_client = tls_session_info(client.session);
    const tls_info at_server = tls_session_info(server.session);
    assert_string_equal(at_client.peer_id, PRODUCT_ID);
    assert_string_equal(at_server.peer_id, ORDER_ID);
    assert_string_equal(at_client.alpn, "h2");
    assert_string_equal(at_server.alpn, "h2");
    assert_string_equal(at_client.cipher, "TLS_AES_128_GCM_SHA256");
    assert_true(at_server.peer_expires == PKI_NOW + PKI_DAY);
    world *w = *state;
    assert_true(crypto_bundle_has(w->mesh.bundle, at_server.peer_root));
    crypto_certs chain = {0};
    assert_int_equal(tls_session_peer(server.session, &chain), 0);
    assert_int_equal(chain.count, 2);
    assert_string_equal(crypto_cert_get_info(chain.items[0])->spiffe, ORDER_ID);
    crypto_certs_clear(&chain);

    tls_close(client.session, &client.out);
    tls_close(client.session, &client.out);
    exchange(&client, &server, 4096);
    assert_int_equal(server.last, 0);
    say(&server, "bye", 3);
    exchange(&client, &server, 4096);
    assert_string_equal(weft_buf_str(&client.got), "welcomebye");
    side_free(&client);
    side_free(&server);
}

/* The handshake and a message after it, cut at every byte, and byte by byte. */
static void test_fragments(void **state) {
    for (size_t piece = 1; piece < 60; piece += piece < 8 ? 1 : 13) {
        side client, server;
        pair(*state, &client, &server);
        say(&client, "ping", 4);
        say(&server, "pong", 4);
        exchange(&client, &server, piece);
        assert_string_equal(weft_buf_str(&server.got), "ping");
        assert_string_equal(weft_buf_str(&client.got), "pong");
        side_free(&client);
        side_free(&server);
    }
}

static void move_cut(side *from, side *to, size_t *cut) {
    uint8_t data[8192];
    if (tls_established(from->session) && from->plain.bytes)
        assert_true(tls_write(from->session, &from->plain, SIZE_MAX, &from->out) > 0);
    size_t n = 0;
    while (from->out.bytes) {
        data[n++] = *from->out.head->slice.data;
        weft_chain_consume(&from->out, 1);
    }
    if (!n) return;
    if (*cut && *cut < n) {
        feed(to, data, *cut);
        feed(to, data + *cut, n - *cut);
        *cut = 0;
    } else {
        *cut = *cut > n ? *cut - n : 0;
        feed(to, data, n);
    }
}

static void test_every_cut(void **state) {
    /* One cut a handshake; test_fragments cuts at all bytes at once. */
    const size_t step = getenv("WEFT_SOAK") ? 1 : 7;
    size_t cuts = 0;
    for (size_t at = 1;; at += step) {
        side client, server;
        size_t cut = at;
        pair(*state, &client, &server);
        say(&client, "ping", 4);
        for (int round = 0; round < 4; round++) {
            move_cut(&client, &server, &cut);
            move_cut(&server, &client, &cut);
        }
        assert_string_equal(weft_buf_str(&server.got), "ping");
        side_free(&client);
        side_free(&server);
        if (cut) break;
        cuts++;
    }
    assert_in_range(cuts, 1000 / step, 8000 / step);
}

static void fill(uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) data[i] = (uint8_t)(i * 7 + i / 251);
}

static void test_records_are_full(void **state) {
    enum { SIZE = 100000 };
    side client, server;
    pair(*state, &client, &server);
    exchange(&client, &server, 4096);
    uint8_t *data = weft_malloc(SIZE);
    fill(data, SIZE);
    const uint64_t before = tls_session_info(client.session).records_out;
    for (size_t at = 0, n = 1; at < SIZE; at += n, n = n * 3 % 5000 + 1) {
        if (n > SIZE - at) n = SIZE - at;
        say(&client, data + at, n);
    }
    exchange(&client, &server, 4096);
    assert_int_equal(tls_session_info(client.session).records_out - before,
                     (SIZE + TLS_RECORD_MAX - 1) / TLS_RECORD_MAX);
    assert_int_equal(server.got.len, SIZE);
    assert_memory_equal(server.got.data, data, SIZE);
    weft_free(data);
    side_free(&client);
    side_free(&server);
}

/* ---- refusals: both sides say why, in these words */

typedef struct refusal {
    tls_context *client, *server;
    tls_failure client_failure, server_failure;
    const char *client_text, *server_text;
} refusal;

static void refused(world *w, const refusal *r) {
    side client, server;
    side_init(&server, w, r->server);
    side_init(&client, w, r->client);
    say(&client, "secret", 6);
    exchange(&client, &server, 4096);
    if (strcmp(tls_failure_text(server.session), r->server_text) != 0 ||
        strcmp(tls_failure_text(client.session), r->client_text) != 0)
        print_message("server: %s\nclient: %s\n", tls_failure_text(server.session),
                      tls_failure_text(client.session));
    assert_string_equal(tls_failure_text(server.session), r->server_text);
    assert_string_equal(tls_failure_text(client.session), r->client_text);
    assert_int_equal(tls_session_failure(server.session), r->server_failure);
    assert_int_equal(tls_session_failure(client.session), r->client_failure);
    assert_int_equal(server.got.len, 0);
    assert_false(tls_established(server.session));
    assert_int_equal(client.last, WEFT_ECLOSED);
    side_free(&client);
    side_free(&server);
}

static void test_no_certificate(void **state) {
    world *w = *state;
    refused(w, &(refusal){
                   .client = pki_client(&w->mesh, NULL, PRODUCT_ID, NULL),
                   .server = pki_server(&w->mesh, w->product, NULL),
                   .client_failure = TLS_FAIL_REFUSED_BY_PEER,
                   .server_failure = TLS_FAIL_NO_CERTIFICATE,
                   .client_text = "TLS: the peer requires a client certificate and we have none; "
                                  "configure our SVID",
                   .server_text = "mTLS: the client sent no certificate; expected an X.509-SVID of "
                                  "mesh.local; it must call through its own sidecar, or bring its "
                                  "SVID",
               });
}

static void test_other_ca(void **state) {
    world *w = *state;
    test_pki fake;
    pki_init(&fake, "mesh.local", "fake");
    crypto_svid *svid = pki_svid(&fake, ORDER, PKI_NOW, PKI_DAY);
    refused(w,
            &(refusal){
                .client = pki_client(&w->mesh, svid, PRODUCT_ID, NULL),
                .server = pki_server(&w->mesh, w->product, NULL),
                .client_failure = TLS_FAIL_REFUSED_BY_PEER,
                .server_failure = TLS_FAIL_UNKNOWN_ROOT,
                .client_text = "mTLS: the peer refused our certificate " ORDER_ID
                               ": its bundle lacks our root, \"CN=fake root\"; use a certificate "
                               "of its CA, or add our root to its bundle",
                .server_text = "mTLS: client " ORDER_ID
                               ": issued under \"CN=fake root\", which is not the root of "
                               "mesh.local; it needs a certificate of this CA, or its root must "
                               "be added to the bundle",
            });
    crypto_svid_unref(svid);
    pki_free(&fake);
}

static void test_wrong_server(void **state) {
    world *w = *state;
    refused(w, &(refusal){
                   .client = pki_client(&w->mesh, w->order,
                                        "spiffe://mesh.local/ns/shop/sa/payment", NULL),
                   .server = pki_server(&w->mesh, w->product, NULL),
                   .client_failure = TLS_FAIL_WRONG_IDENTITY,
                   .server_failure = TLS_FAIL_REFUSED_BY_PEER,
                   .client_text = "mTLS: server " PRODUCT_ID
                                  ": expected spiffe://mesh.local/ns/shop/sa/payment; the address "
                                  "leads to someone else, or the expected identities are not up to "
                                  "date",
                   .server_text = "mTLS: the peer refused our certificate " PRODUCT_ID
                                  ": it expected another identity; correct the address, or the "
                                  "identities it allows",
               });
}

static void test_wrong_domain(void **state) {
    world *w = *state;
    crypto_why why;
    crypto_cert *roots[] = {w->mesh.root, w->other.root};
    const crypto_certs both = {.items = roots, .count = 2};
    crypto_bundle *bundle = NULL;
    assert_int_equal(crypto_bundle_new("mesh.local", &both, &bundle, &why), 0);
    test_pki wide = w->mesh;
    wide.bundle = bundle;
    crypto_svid *svid = pki_svid(&w->other, ORDER, PKI_NOW, PKI_DAY);
    refused(w,
            &(refusal){
                .client = pki_client(&wide, svid, PRODUCT_ID, NULL),
                .server = pki_server(&wide, w->product, NULL),
                .client_failure = TLS_FAIL_REFUSED_BY_PEER,
                .server_failure = TLS_FAIL_WRONG_IDENTITY,
                .client_text = "mTLS: the peer refused our certificate spiffe://other.example" ORDER
                               ": it expected another identity; correct the address, or the "
                               "identities it allows",
                .server_text = "mTLS: client spiffe://other.example" ORDER
                               ": expected an identity of trust domain mesh.local; it belongs to "
                               "another mesh",
            });
    crypto_svid_unref(svid);
    crypto_bundle_unref(bundle);
}

static void test_expired(void **state) {
    world *w = *state;
    crypto_svid *svid = pki_svid(&w->mesh, ORDER, PKI_NOW - PKI_DAY / 2, PKI_DAY / 4);
    refused(w,
            &(refusal){
                .client = pki_client(&w->mesh, svid, PRODUCT_ID, NULL),
                .server = pki_server(&w->mesh, w->product, NULL),
                .client_failure = TLS_FAIL_REFUSED_BY_PEER,
                .server_failure = TLS_FAIL_EXPIRED,
                .client_text = "mTLS: the peer refused our certificate " ORDER_ID
                               ": it has expired by its clock (valid from 2027-01-14T19:59:00Z to "
                               "2027-01-15T02:00:00Z, our clock 2027-01-15T08:00:00Z); renew it, "
                               "or set the clocks right",
                .server_text = "mTLS: client " ORDER_ID
                               ": its certificate expired at 2027-01-15T02:00:00Z (now "
                               "2027-01-15T08:00:00Z); renew it, or set the clock right",
            });
    crypto_svid_unref(svid);
}

static void test_not_yet_valid(void **state) {
    world *w = *state;
    crypto_svid *svid = pki_svid(&w->mesh, PRODUCT, PKI_NOW + PKI_DAY, PKI_DAY);
    refused(w, &(refusal){
                   .client = pki_client(&w->mesh, w->order, PRODUCT_ID, NULL),
                   .server = pki_server(&w->mesh, svid, NULL),
                   .client_failure = TLS_FAIL_NOT_YET_VALID,
                   .server_failure = TLS_FAIL_REFUSED_BY_PEER,
                   .client_text = "mTLS: server " PRODUCT_ID
                                  ": its certificate is not valid before 2027-01-16T07:59:00Z (now "
                                  "2027-01-15T08:00:00Z); set the clocks right, or wait",
                   .server_text = "mTLS: the peer refused our certificate " PRODUCT_ID
                                  ": it is malformed, or not yet valid by its clock (valid from "
                                  "2027-01-16T07:59:00Z to 2027-01-17T08:00:00Z, our clock "
                                  "2027-01-15T08:00:00Z); set the clocks right",
               });
    crypto_svid_unref(svid);
}

static void test_no_svid(void **state) {
    world *w = *state;
    crypto_svid *svid = pki_dns(&w->mesh, "www.example.com", PKI_NOW, PKI_DAY);
    refused(w,
            &(refusal){
                .client = pki_client(&w->mesh, svid, PRODUCT_ID, NULL),
                .server = pki_server(&w->mesh, w->product, NULL),
                .client_failure = TLS_FAIL_REFUSED_BY_PEER,
                .server_failure = TLS_FAIL_BAD_CERTIFICATE,
                .client_text =
                    "mTLS: the peer refused our certificate \"CN=www.example.com\": it is "
                    "no X.509-SVID or not for this use; issue it with the mesh's CA",
                .server_text = "mTLS: client \"CN=www.example.com\": it has no SPIFFE ID (a URI in "
                               "subjectAltName); expected an X.509-SVID of this mesh's CA",
            });
    crypto_svid_unref(svid);
}

static void test_alpn(void **state) {
    world *w = *state;
    const char *const http1[] = {"http/1.1"};
    const char *const ids[] = {PRODUCT_ID};
    tls_context *client = NULL;
    tls_config config = {.role = TLS_CLIENT,
                         .svid = w->order,
                         .bundle = w->mesh.bundle,
                         .ids = ids,
                         .id_count = 1,
                         .alpn = http1,
                         .alpn_count = 1};
    assert_int_equal(tls_context_new(&config, &client, NULL), 0);
    refused(w,
            &(refusal){
                .client = client,
                .server = pki_server(&w->mesh, w->product, NULL),
                .client_failure = TLS_FAIL_ALPN,
                .server_failure = TLS_FAIL_ALPN,
                .client_text = "mTLS: the peer speaks none of our protocols (ALPN), first of them "
                               "http/1.1",
                .server_text = "mTLS: the client offers other protocols (ALPN) than h2; it must "
                               "speak HTTP/2 over TLS",
            });
}

static void test_not_tls(void **state) {
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2 in plaintext"},
        {"GET / HTTP/1.1\r\n", "HTTP/1.1 in plaintext"},
        {"SSH-2.0-x", "something that is not TLS"},
    };
    world *w = *state;
    for (size_t i = 0; i < 3; i++) {
        side server;
        char text[256];
        side_init(&server, w, pki_server(&w->mesh, w->product, NULL));
        feed(&server, (const uint8_t *)cases[i].bytes, strlen(cases[i].bytes));
        (void)snprintf(text, sizeof text,
                       "mTLS: the client speaks %s; expected TLS 1.3; it must call through its own "
                       "sidecar",
                       cases[i].text);
        assert_string_equal(tls_failure_text(server.session), text);
        side_free(&server);
    }
    side client;
    side_init(&client, w, pki_client(&w->mesh, w->order, PRODUCT_ID, NULL));
    feed(&client, (const uint8_t *)"\0\0\22\4\0\0\0\0\0", 9);
    assert_string_equal(
        tls_failure_text(client.session),
        "mTLS: the server speaks HTTP/2 in plaintext; expected TLS 1.3; the address "
        "leads to a plaintext port");
    side_free(&client);
}

/* ---- what else a session must do */

static void test_dns_server(void **state) {
    world *w = *state;
    static const struct {
        const char *name;
        bool ok;
    } cases[] = {{"api.example.com", true}, {"www.example.com", false}};
    for (size_t i = 0; i < 2; i++) {
        crypto_svid *svid = pki_dns(&w->mesh, "api.example.com", PKI_NOW, PKI_DAY);
        weft_clock_manual clock;
        weft_clock_manual_init(&clock, PKI_NOW);
        tls_config config = {.role = TLS_CLIENT,
                             .bundle = w->mesh.bundle,
                             .dns = &cases[i].name,
                             .dns_count = 1,
                             .server_name = cases[i].name,
                             .clock = &clock.clock};
        tls_context *client_context = NULL, *server_context = NULL;
        assert_int_equal(tls_context_new(&config, &client_context, NULL), 0);
        config = (tls_config){.role = TLS_SERVER, .svid = svid, .no_peer_cert = true};
        assert_int_equal(tls_context_new(&config, &server_context, NULL), 0);
        side client, server;
        side_init(&server, w, server_context);
        side_init(&client, w, client_context);
        say(&client, "x", 1);
        exchange(&client, &server, 4096);
        assert_int_equal(tls_established(client.session), cases[i].ok);
        assert_int_equal(server.got.len, cases[i].ok);
        if (cases[i].ok) {
            assert_string_equal(tls_session_info(client.session).peer_subject,
                                "CN=api.example.com");
            assert_string_equal(tls_session_info(client.session).peer_id, "");
        } else {
            assert_int_equal(tls_session_failure(client.session), TLS_FAIL_WRONG_IDENTITY);
        }
        side_free(&client);
        side_free(&server);
        crypto_svid_unref(svid);
    }
}

static void test_key_update(void **state) {
    world *w = *state;
    const char *const ids[] = {PRODUCT_ID};
    weft_clock_manual clock;
    weft_clock_manual_init(&clock, PKI_NOW);
    tls_config config = {.role = TLS_CLIENT,
                         .svid = w->order,
                         .bundle = w->mesh.bundle,
                         .ids = ids,
                         .id_count = 1,
                         .rekey_records = 10,
                         .clock = &clock.clock};
    tls_context *context = NULL;
    assert_int_equal(tls_context_new(&config, &context, NULL), 0);
    side client, server;
    side_init(&server, w, pki_server(&w->mesh, w->product, NULL));
    side_init(&client, w, context);
    for (int i = 0; i < 1000; i++) {
        say(&client, "0123456789", 10);
        exchange(&client, &server, 4096);
        if (i % 3 == 0) say(&server, "abc", 3);
    }
    exchange(&client, &server, 4096);
    assert_int_equal(server.got.len, 10000);
    assert_int_equal(client.got.len, 1002);
    const tls_info info = tls_session_info(client.session);
    assert_in_range(info.key_updates, 90, 200);
    side_free(&client);
    side_free(&server);
}

/* A peer that does nothing but renew keys is cut off. */
static void test_key_update_flood(void **state) {
    world *w = *state;
    const char *const ids[] = {PRODUCT_ID};
    weft_clock_manual clock;
    weft_clock_manual_init(&clock, PKI_NOW);
    tls_config config = {.role = TLS_CLIENT,
                         .svid = w->order,
                         .bundle = w->mesh.bundle,
                         .ids = ids,
                         .id_count = 1,
                         .rekey_records = 1,
                         .clock = &clock.clock};
    tls_context *context = NULL;
    assert_int_equal(tls_context_new(&config, &context, NULL), 0);
    side client, server;
    side_init(&server, w, pki_server(&w->mesh, w->product, NULL));
    side_init(&client, w, context);
    exchange(&client, &server, 4096);
    for (int i = 0; i < 2000 && server.last != WEFT_ECLOSED; i++) {
        say(&client, "x", 1);
        exchange(&client, &server, 4096);
    }
    assert_string_equal(tls_failure_text(server.session),
                        "mTLS: the client floods us with handshake messages after the handshake");
    side_free(&client);
    side_free(&server);
}

static void test_handshake_limit(void **state) {
    world *w = *state;
    tls_config config = {
        .role = TLS_SERVER, .svid = w->product, .bundle = w->mesh.bundle, .handshake_max = 600};
    tls_context *context = NULL;
    assert_int_equal(tls_context_new(&config, &context, NULL), 0);
    side client, server;
    side_init(&server, w, context);
    side_init(&client, w, pki_client(&w->mesh, w->order, PRODUCT_ID, NULL));
    exchange(&client, &server, 4096);
    assert_string_equal(tls_failure_text(server.session),
                        "mTLS: the client sent more than 600 bytes of handshake");
    side_free(&client);
    side_free(&server);
}

/* New sessions use the new SVID and bundle, those that are open go on. */
static void test_hot_swap(void **state) {
    world *w = *state;
    side client, server, client2, server2;
    pair(w, &client, &server);
    exchange(&client, &server, 4096);
    crypto_svid *renewed = pki_svid(&w->mesh, PRODUCT, PKI_NOW, 2 * PKI_DAY);
    side_init(&server2, w, pki_server(&w->mesh, renewed, NULL));
    crypto_svid_unref(renewed);
    side_init(&client2, w, pki_client(&w->mesh, w->order, PRODUCT_ID, NULL));
    exchange(&client2, &server2, 4096);
    assert_true(tls_session_info(client2.session).peer_expires == PKI_NOW + 2 * PKI_DAY);
    say(&client, "still here", 10);
    exchange(&client, &server, 4096);
    assert_string_equal(weft_buf_str(&server.got), "still here");
    side_free(&client);
    side_free(&server);
    side_free(&client2);
    side_free(&server2);
}

static void test_config(void **state) {
    world *w = *state;
    const char *const ids[] = {PRODUCT_ID}, *const bad[] = {"spiffe://MESH/x"};
    crypto_why why;
    tls_context *context = NULL;
    const struct {
        tls_config config;
        const char *text;
    } cases[] = {
        {{.role = TLS_SERVER, .bundle = w->mesh.bundle},
         "TLS: a server needs a certificate and key"},
        {{.role = TLS_CLIENT, .ids = ids, .id_count = 1}, "TLS: a trust bundle is needed"},
        {{.role = TLS_CLIENT, .bundle = w->mesh.bundle},
         "TLS: the server's identities are needed: a client that takes any server has no mTLS"},
        {{.role = TLS_CLIENT, .bundle = w->mesh.bundle, .ids = bad, .id_count = 1},
         "TLS: its trust domain has a character other than a-z 0-9 . - _"},
        {{.role = TLS_CLIENT, .bundle = w->mesh.bundle, .no_peer_cert = true},
         "TLS: a client always asks for the server's certificate"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(tls_context_new(&cases[i].config, &context, &why), WEFT_EINVAL);
        assert_string_equal(why.text, cases[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_records_are_full),
        cmocka_unit_test(test_no_certificate),
        cmocka_unit_test(test_other_ca),
        cmocka_unit_test(test_wrong_server),
        cmocka_unit_test(test_wrong_domain),
        cmocka_unit_test(test_expired),
        cmocka_unit_test(test_not_yet_valid),
        cmocka_unit_test(test_no_svid),
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_not_tls),
        cmocka_unit_test(test_dns_server),
        cmocka_unit_test(test_key_update),
        cmocka_unit_test(test_key_update_flood),
        cmocka_unit_test(test_handshake_limit),
        cmocka_unit_test(test_hot_swap),
        cmocka_unit_test(test_config),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
