/* Our sessions against the openssl program, both ways round, and against an SSL_CTX set up by others' habits. */
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/pki.h"
#include "weft/mem.h"

#define ORDER_ID "spiffe://mesh.local/ns/shop/sa/order"
#define PRODUCT_ID "spiffe://mesh.local/ns/shop/sa/product"

static test_pki mesh;
static crypto_svid *order, *product;
static weft_chunk_pool *pool;
static char dir[] = "/tmp/weft-interop-XXXXXX";

static void store(const char *name, const crypto_svid *svid) {
    char path[128];
    weft_buf pem;
    weft_buf_init(&pem, 0);
    assert_int_equal(crypto_certs_to_pem(crypto_svid_chain(svid), &pem), 0);
    assert_int_equal(crypto_key_to_pem(crypto_svid_key(svid), &pem), 0);
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(pem.data, 1, pem.len, file), pem.len);
    assert_int_equal(fclose(file), 0);
    weft_buf_free(&pem);
}

static int setup(void **state) {
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    pki_init(&mesh, "mesh.local", "mesh");
    pool = weft_chunk_pool_new(0, 0);
    order = pki_svid(&mesh, "/ns/shop/sa/order", PKI_NOW, PKI_DAY);
    product = pki_svid(&mesh, "/ns/shop/sa/product", PKI_NOW, PKI_DAY);
    if (!mkdtemp(dir)) return -1;
    store("order.pem", order);
    store("product.pem", product);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    char command[64];
    for (int i = 0; i < 2; i++) {
        (void)snprintf(command, sizeof command, "%s/%s", dir, i ? "order.pem" : "product.pem");
        (void)unlink(command);
    }
    (void)rmdir(dir);
    crypto_svid_unref(order);
    crypto_svid_unref(product);
    pki_free(&mesh);
    weft_chunk_pool_free(pool);
    return 0;
}

/* Runs a session over a descriptor until it ends, or `until` came in. */
typedef struct talk {
    tls_session *session;
    int fd;
    weft_chain out, plain;
    weft_buf got;
    bool ended;
} talk;

static void talk_init(talk *t, tls_context *context, int fd) {
    *t = (talk){.session = tls_session_new(context), .fd = fd};
    tls_context_unref(context);
    weft_chain_init(&t->out, pool);
    weft_chain_init(&t->plain, pool);
    weft_buf_init(&t->got, 0);
    assert_int_equal(tls_start(t->session, &t->out), 0);
}

static void talk_free(talk *t) {
    tls_session_free(t->session);
    weft_chain_clear(&t->out);
    weft_chain_clear(&t->plain);
    weft_buf_free(&t->got);
    (void)close(t->fd);
}

static void talk_until(talk *t, const char *until) {
    uint8_t data[5000], text[TLS_RECORD_MAX];
    while (!t->ended && !(until && t->got.data && strstr(t->got.data, until))) {
        if (tls_established(t->session) && t->plain.bytes)
            assert_true(tls_write(t->session, &t->plain, SIZE_MAX, &t->out) > 0);
        while (t->out.bytes) {
            const weft_slice *slice = &t->out.head->slice;
            const ssize_t n = write(t->fd, slice->data, slice->len);
            if (n <= 0) break;
            weft_chain_consume(&t->out, (size_t)n);
        }
        if (t->ended) break;
        struct pollfd wait = {.fd = t->fd, .events = POLLIN};
        if (poll(&wait, 1, 120000) != 1) fail_msg("nothing came");
        const ssize_t n = read(t->fd, data, sizeof data);
        if (n <= 0) {
            t->ended = true;
            break;
        }
        tls_input(t->session, data, (size_t)n);
        int64_t got;
        while ((got = tls_read(t->session, text, sizeof text, &t->out)) > 0)
            assert_int_equal(weft_buf_add(&t->got, text, (size_t)got), 0);
        if (got != WEFT_EAGAIN) t->ended = true;
    }
    while (t->out.bytes) {
        const weft_slice *slice = &t->out.head->slice;
        const ssize_t n = write(t->fd, slice->data, slice->len);
        if (n <= 0) break;
        weft_chain_consume(&t->out, (size_t)n);
    }
}

/* ---- the openssl program: it talks TCP, so we listen or dial */

static int listen_any(unsigned *port) {
    struct sockaddr_storage name = {0};
    socklen_t size = sizeof name;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(listen(fd, 8), 0); /* binds to a free port */
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    const uint8_t *bytes = (const uint8_t *)&name;
    *port = (unsigned)(bytes[2] << 8 | bytes[3]);
    return fd;
}

static pid_t run(const char *const *args, int in, int out) {
    const pid_t pid = fork();
    if (pid) return pid;
    const int null = open("/dev/null", O_RDWR);
    (void)dup2(in < 0 ? null : in, 0);
    (void)dup2(out < 0 ? null : out, 1);
    (void)dup2(null, 2);
    (void)execvp(args[0], (char *const *)(uintptr_t)args);
    _exit(127);
}

static void test_s_client(void **state) {
    (void)state;
    unsigned port;
    char where[32], cert[64];
    int to_child[2];
    const int listener = listen_any(&port);
    (void)snprintf(where, sizeof where, "127.0.0.1:%u", port);
    (void)snprintf(cert, sizeof cert, "%s/order.pem", dir);
    const char *const args[] = {
        "openssl", "s_client", "-quiet", "-connect",    where, "-cert",     cert,        "-key",
        cert,      "-alpn",    "h2",     "-cert_chain", cert,  "-sess_out", "/dev/null", NULL};
    assert_int_equal(pipe2(to_child, O_CLOEXEC), 0);
    const pid_t pid = run(args, to_child[0], -1);
    (void)close(to_child[0]);
    talk t;
    talk_init(&t, pki_server(&mesh, product, NULL), accept(listener, NULL, NULL));
    assert_int_equal(write(to_child[1], "hello from openssl\n", 19), 19);
    talk_until(&t, "hello from openssl\n");
    assert_string_equal(tls_failure_text(t.session), "");
    assert_string_equal(tls_session_info(t.session).peer_id, ORDER_ID);
    (void)close(to_child[1]);
    tls_close(t.session, &t.out);
    talk_until(&t, NULL);
    talk_free(&t);
    (void)kill(pid, SIGTERM);
    (void)waitpid(pid, NULL, 0);
    (void)close(listener);
}

static void test_s_server(void **state) {
    (void)state;
    unsigned port;
    char where[32], cert[64];
    (void)close(listen_any(&port));
    (void)snprintf(where, sizeof where, "%u", port);
    (void)snprintf(cert, sizeof cert, "%s/product.pem", dir);
    const char *const args[] = {"openssl", "s_server", "-quiet", "-accept",     where,
                                "-cert",   cert,       "-key",   cert,          "-alpn",
                                "h2",      "-Verify",  "3",      "-cert_chain", cert,
                                "-rev",    "-naccept", "1",      NULL};
    const pid_t pid = run(args, -1, -1);
    struct sockaddr_storage name = {.ss_family = AF_INET};
    uint8_t *bytes = (uint8_t *)&name;
    bytes[2] = (uint8_t)(port >> 8);
    bytes[3] = (uint8_t)port;
    bytes[4] = 127;
    bytes[7] = 1;
    int fd = -1;
    for (int i = 0; i < 6000; i++) { /* until it listens */
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (!connect(fd, (struct sockaddr *)&name, 16)) break;
        (void)close(fd);
        fd = -1;
        (void)poll(NULL, 0, 10);
    }
    assert_true(fd >= 0);
    talk t;
    talk_init(&t, pki_client(&mesh, order, PRODUCT_ID, NULL), fd);
    assert_int_equal(weft_chain_add(&t.plain, "hello\n", 6), 0);
    talk_until(&t, "olleh\n");
    assert_string_equal(tls_failure_text(t.session), "");
    assert_string_equal(weft_buf_str(&t.got), "olleh\n");
    assert_string_equal(tls_session_info(t.session).peer_id, PRODUCT_ID);
    talk_free(&t);
    (void)kill(pid, SIGTERM);
    (void)waitpid(pid, NULL, 0);
}

/* ---- peers in this process, with an SSL_CTX of their own */

typedef struct peer {
    SSL_CTX *context;
    SSL *ssl;
    BIO *in, *out;
} peer;

static void peer_init(peer *p, const SSL_METHOD *method, const char *cert, bool server) {
    char path[128];
    p->context = SSL_CTX_new(method);
    if (cert) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, cert);
        assert_int_equal(SSL_CTX_use_certificate_chain_file(p->context, path), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(p->context, path, SSL_FILETYPE_PEM), 1);
    }
    p->ssl = SSL_new(p->context);
    p->in = BIO_new(BIO_s_mem());
    p->out = BIO_new(BIO_s_mem());
    SSL_set_bio(p->ssl, p->in, p->out);
    if (server)
        SSL_set_accept_state(p->ssl);
    else
        SSL_set_connect_state(p->ssl);
}

static void peer_free(peer *p) {
    SSL_free(p->ssl);
    SSL_CTX_free(p->context);
    ERR_clear_error();
}

/* Lets both talk until neither has more to say. */
static void settle(talk *t, peer *p) {
    uint8_t data[5000], text[TLS_RECORD_MAX];
    for (int round = 0; round < 20; round++) {
        int n;
        (void)SSL_do_handshake(p->ssl);
        ERR_clear_error();
        while (!t->ended && (n = BIO_read(p->out, data, sizeof data)) > 0) {
            int64_t got;
            tls_input(t->session, data, (size_t)n);
            while ((got = tls_read(t->session, text, sizeof text, &t->out)) > 0)
                assert_int_equal(weft_buf_add(&t->got, text, (size_t)got), 0);
            if (got != WEFT_EAGAIN) t->ended = true;
        }
        while (t->out.bytes) {
            const weft_slice *slice = &t->out.head->slice;
            assert_int_equal(BIO_write(p->in, slice->data, (int)slice->len), slice->len);
            weft_chain_consume(&t->out, slice->len);
        }
    }
}

static void refused(peer *p, tls_context *context, tls_failure failure, const char *text) {
    talk t;
    talk_init(&t, context, -1);
    settle(&t, p);
    assert_string_equal(tls_failure_text(t.session), text);
    assert_int_equal(tls_session_failure(t.session), failure);
    assert_false(tls_established(t.session));
    talk_free(&t);
    peer_free(p);
}

static void test_old_version(void **state) {
    (void)state;
    peer p;
    peer_init(&p, TLS_client_method(), "order.pem", false);
    (void)SSL_set_max_proto_version(p.ssl, TLS1_2_VERSION);
    refused(&p, pki_server(&mesh, product, NULL), TLS_FAIL_PROTOCOL_VERSION,
            "mTLS: the client does not speak TLS 1.3, the only version allowed; upgrade it");
    peer_init(&p, TLS_server_method(), "product.pem", true);
    (void)SSL_set_max_proto_version(p.ssl, TLS1_2_VERSION);
    refused(&p, pki_client(&mesh, order, PRODUCT_ID, NULL), TLS_FAIL_PROTOCOL_VERSION,
            "mTLS: the peer does not speak TLS 1.3, the only version allowed; upgrade it");
}

static void test_no_alpn(void **state) {
    (void)state;
    peer p;
    peer_init(&p, TLS_client_method(), "order.pem", false);
    refused(
        &p, pki_server(&mesh, product, NULL), TLS_FAIL_ALPN,
        "mTLS: the client offers no protocol (ALPN); expected h2; it must speak HTTP/2 over TLS");
    peer_init(&p, TLS_server_method(), "product.pem", true);
    refused(
        &p, pki_client(&mesh, order, PRODUCT_ID, NULL), TLS_FAIL_ALPN,
        "mTLS: the server picked no protocol (ALPN); expected h2; it must speak HTTP/2 over TLS");
}

static int accept_h2(SSL *ssl, const unsigned char **out, unsigned char *size,
                     const unsigned char *in, unsigned in_size, void *user) {
    (void)ssl, (void)in, (void)in_size, (void)user;
    *out = (const unsigned char *)"h2";
    *size = 2;
    return SSL_TLSEXT_ERR_OK;
}

/* A server that sends tickets and asks for key updates, as others do. */
static void test_tickets_and_updates(void **state) {
    (void)state;
    peer p;
    talk t;
    peer_init(&p, TLS_server_method(), "product.pem", true);
    SSL_CTX_set_alpn_select_cb(p.context, accept_h2, NULL);
    SSL_CTX_set_num_tickets(p.context, 4);
    SSL_free(p.ssl);
    p.ssl = SSL_new(p.context);
    p.in = BIO_new(BIO_s_mem());
    p.out = BIO_new(BIO_s_mem());
    SSL_set_bio(p.ssl, p.in, p.out);
    SSL_set_accept_state(p.ssl);
    talk_init(&t, pki_client(&mesh, order, PRODUCT_ID, NULL), -1);
    settle(&t, &p);
    assert_true(tls_established(t.session));
    for (int i = 0; i < 40; i++) {
        assert_int_equal(SSL_key_update(p.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_write(p.ssl, "x", 1), 1);
        settle(&t, &p);
    }
    assert_string_equal(tls_failure_text(t.session), "");
    assert_int_equal(t.got.len, 40);
    assert_int_equal(weft_chain_add(&t.plain, "hello", 5), 0);
    assert_int_equal(tls_write(t.session, &t.plain, SIZE_MAX, &t.out), 5);
    settle(&t, &p);
    char text[16];
    assert_int_equal(SSL_read(p.ssl, text, sizeof text), 5);
    /* Too many without data between them are a flood. */
    for (int i = 0; i < 200; i++) {
        assert_int_equal(SSL_key_update(p.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        settle(&t, &p);
    }
    assert_int_equal(tls_session_failure(t.session), TLS_FAIL_LIMIT);
    talk_free(&t);
    peer_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_s_client),
        cmocka_unit_test(test_s_server),
        cmocka_unit_test(test_old_version),
        cmocka_unit_test(test_no_alpn),
        cmocka_unit_test(test_tickets_and_updates),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
