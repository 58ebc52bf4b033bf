/* Connections over real sockets: TCP, unix, abstract, with and without TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/pki.h"
#include "tests/unit/net/rig.h"
#include "weft/mem.h"

#define MIB 1048576u
#define ORDER_ID "spiffe://mesh.local/ns/shop/sa/order"
#define PRODUCT_ID "spiffe://mesh.local/ns/shop/sa/product"

typedef struct world {
    test_pki mesh;
    crypto_svid *order, *product;
    tls_context *client_tls, *server_tls;
    char dir[64];
    char path[100];
} world;

static int setup(void **state) {
    static world w;
    rig_options = (net_conn_options){.open_timeout = 120 * WEFT_NS_PER_S,
                                     .linger_timeout = 120 * WEFT_NS_PER_S};
    pki_init(&w.mesh, "mesh.local", "mesh");
    w.order = pki_svid(&w.mesh, "/ns/shop/sa/order", PKI_NOW, PKI_DAY);
    w.product = pki_svid(&w.mesh, "/ns/shop/sa/product", PKI_NOW, PKI_DAY);
    w.client_tls = pki_client(&w.mesh, w.order, PRODUCT_ID, NULL);
    w.server_tls = pki_server(&w.mesh, w.product, NULL);
    (void)snprintf(w.dir, sizeof w.dir, "/tmp/weft-net-XXXXXX");
    if (!mkdtemp(w.dir)) return -1;
    (void)snprintf(w.path, sizeof w.path, "unix:%s/echo.sock", w.dir);
    *state = &w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    tls_context_unref(w->client_tls);
    tls_context_unref(w->server_tls);
    crypto_svid_unref(w->order);
    crypto_svid_unref(w->product);
    pki_free(&w->mesh);
    (void)unlink(w->path + 5);
    return rmdir(w->dir);
}

static net_loop *new_loop(void) {
    net_loop *loop = NULL;
    const net_loop_config config = {0};
    assert_int_equal(net_loop_new(&config, &loop), 0);
    return loop;
}

/* ---- echo through every transport */

static void echo(world *w, const char *where, bool tls, size_t total) {
    net_loop *loop = new_loop();
    echo_server server = {0};
    echo_client client = {0};
    echo_listen(&server, loop, where, tls ? w->server_tls : NULL);
    const weft_addr addr = net_listener_addr(server.listener);
    assert_int_equal(echo_dial(&client, loop, &addr, tls ? w->client_tls : NULL, total, NULL), 0);
    rig_until(loop, &client.closed);
    assert_int_equal(client.received, total);
    assert_false(client.bad);
    assert_int_equal(client.error, 0);
    rig_until_size(loop, &server.closed, 1);
    assert_int_equal(server.eofs, 1);
    assert_string_equal(client.peer, tls ? PRODUCT_ID : "");
    assert_string_equal(server.peer, tls ? ORDER_ID : "");
    net_listener_close(server.listener);
    rig_turns(loop, 3);
    assert_null(server.listener);
    assert_int_equal(net_loop_stats(loop)->conns, 0);
    assert_int_equal(net_loop_stats(loop)->lingering, 0);
    assert_int_equal(weft_chunk_pool_stats(net_loop_chunks(loop)).links, 0);
    net_loop_free(loop);
}

static void test_echo_tcp(void **state) {
    echo(*state, "127.0.0.1:0", false, MIB);
    echo(*state, "[::1]:0", false, MIB);
    echo(*state, "127.0.0.1:0", false, 1);
}
static void test_echo_tcp_tls(void **state) { echo(*state, "127.0.0.1:0", true, MIB); }
static void test_echo_unix(void **state) {
    const world *w = *state;
    echo(*state, w->path, false, MIB);
    (void)unlink(w->path + 5);
    echo(*state, w->path, true, MIB);
}
static void test_echo_abstract(void **state) {
    echo(*state, "unix-abstract:weft-test-net-conn", false, MIB);
}
static void test_echo_large(void **state) {
    echo(*state, "127.0.0.1:0", false, 32 * MIB);
    echo(*state, "127.0.0.1:0", true, 32 * MIB);
}

/* ---- failures have a line */

static void test_refused(void **state) {
    (void)state;
    net_loop *loop = new_loop();
    echo_server server = {0};
    echo_client client = {0};
    char line[200];
    echo_listen(&server, loop, "127.0.0.1:0", NULL);
    const weft_addr addr = net_listener_addr(server.listener);
    net_listener_close(server.listener);
    rig_turns(loop, 2);
    assert_int_equal(echo_dial(&client, loop, &addr, NULL, 1, NULL), 0);
    assert_int_equal(client.closed, 0);
    rig_until(loop, &client.closed);
    assert_int_equal(client.opened, 0);
    assert_int_equal(client.error, WEFT_EIO);
    (void)snprintf(line, sizeof line, "127.0.0.1:%u: cannot connect: Connection refused",
                   addr.port);
    assert_string_equal(client.reason, line);
    assert_int_equal(net_loop_stats(loop)->dial_errors, 1);
    /* A path that is not there, and a name. */
    const weft_addr none = rig_addr("unix:/nonexistent/x.sock");
    echo_client other = {0};
    assert_int_equal(echo_dial(&other, loop, &none, NULL, 1, NULL), 0);
    rig_until(loop, &other.closed);
    assert_int_equal(other.error, WEFT_ENOTFOUND);
    assert_string_equal(other.reason,
                        "unix:/nonexistent/x.sock: cannot connect: No such file or directory");
    const weft_addr name = rig_addr("localhost:80");
    assert_int_equal(echo_dial(&other, loop, &name, NULL, 1, NULL), WEFT_EINVAL);
    assert_string_equal(other.reason,
                        "localhost:80: not an address that can be dialled; resolve names first");
    net_loop_free(loop);
}

static void test_timeout(void **state) {
    world *w = *state;
    net_loop *loop = new_loop();
    echo_server server = {0};
    echo_client client = {0}, silent = {0};
    const net_conn_options quick = {.open_timeout = 20 * WEFT_NS_PER_MS};
    /* A server that never answers the handshake: it is plaintext and echoes nothing before input. */
    echo_listen(&server, loop, "127.0.0.1:0", NULL);
    const weft_addr addr = net_listener_addr(server.listener);
    server.options = quick;
    net_listener_pause(server.listener, true);
    assert_int_equal(echo_dial(&client, loop, &addr, w->client_tls, 1, &quick), 0);
    rig_until(loop, &client.closed);
    assert_int_equal(client.error, WEFT_ETIMEOUT);
    assert_non_null(strstr(client.reason, ": the TLS handshake took longer than 20 ms"));
    /* The other way round: a client that connects and is silent. */
    net_listener_pause(server.listener, false);
    rig_turns(loop, 3);
    server.tls = w->server_tls;
    const size_t before = server.closed;
    assert_int_equal(echo_dial(&silent, loop, &addr, NULL, 0, NULL), 0);
    rig_until_size(loop, &server.closed, before + 1);
    assert_non_null(strstr(server.reason, ": the TLS handshake took longer than 20 ms"));
    net_loop_free(loop);
}

/* Each kind of refusal closes both sides with its line, and a good connection beside is not disturbed. */
static void test_tls_refusal(void **state) {
    world *w = *state;
    net_loop *loop = new_loop();
    echo_server server = {0};
    echo_client good = {.stay = true}, bad[4] = {{0}};
    crypto_svid *expired =
        pki_svid(&w->mesh, "/ns/shop/sa/order", PKI_NOW - PKI_DAY / 2, PKI_DAY / 4);
    test_pki fake;
    pki_init(&fake, "mesh.local", "fake");
    crypto_svid *foreign = pki_svid(&fake, "/ns/shop/sa/order", PKI_NOW, PKI_DAY);
    echo_listen(&server, loop, "127.0.0.1:0", w->server_tls);
    const weft_addr addr = net_listener_addr(server.listener);
    assert_int_equal(echo_dial(&good, loop, &addr, w->client_tls, 100000, NULL), 0);
    tls_context *contexts[] = {
        pki_client(&w->mesh, NULL, PRODUCT_ID, NULL),
        pki_client(&w->mesh, expired, PRODUCT_ID, NULL),
        pki_client(&w->mesh, foreign, PRODUCT_ID, NULL),
        pki_client(&w->mesh, w->order, "spiffe://mesh.local/ns/shop/sa/payment", NULL),
    };
    static const char *const lines[][2] = {
        {"the peer requires a client certificate", "sent no certificate"},
        {"it has expired by its clock", "its certificate expired at"},
        {"its bundle lacks our root", "issued under \"CN=fake root\""},
        {"expected spiffe://mesh.local/ns/shop/sa/payment", "it expected another identity"},
    };
    for (size_t i = 0; i < 4; i++) {
        const size_t before = server.closed;
        assert_int_equal(echo_dial(&bad[i], loop, &addr, contexts[i], 1000, NULL), 0);
        rig_until(loop, &bad[i].closed);
        rig_until_size(loop, &server.closed, before + 1);
        if (!strstr(bad[i].reason, lines[i][0]) || !strstr(server.reason, lines[i][1]))
            fail_msg("client: %s\nserver: %s", bad[i].reason, server.reason);
        assert_int_equal(bad[i].error, WEFT_ECLOSED);
        assert_int_equal(bad[i].received, 0);
        tls_context_unref(contexts[i]);
    }
    rig_until_size(loop, &good.received, 100000);
    assert_false(good.bad);
    assert_int_equal(server.opened, 1);
    assert_int_equal(net_loop_stats(loop)->tls_failures, 8);
    net_loop_free(loop);
    assert_int_equal(good.closed, 1);
    assert_non_null(strstr(good.reason, "the loop ended"));
    crypto_svid_unref(expired);
    crypto_svid_unref(foreign);
    pki_free(&fake);
}

/* ---- sockets of the file system */

static void test_unix_rules(void **state) {
    const world *w = *state;
    net_why why = {""};
    int fd = -1, second = -1;
    char line[300];
    weft_addr addr = rig_addr(w->path);
    assert_int_equal(net_socket_listen(&addr, NULL, &fd, &why), 0);
    assert_int_equal(net_socket_listen(&addr, NULL, &second, &why), WEFT_EBUSY);
    (void)snprintf(line, sizeof line, "%s: another process listens there", w->path);
    assert_string_equal(why.text, line);
    (void)close(fd); /* its file stays, stale: taken over */
    assert_int_equal(net_socket_listen(&addr, NULL, &fd, &why), 0);
    (void)close(fd);
    assert_int_equal(chmod(w->dir, 0755), 0);
    assert_int_equal(net_socket_listen(&addr, NULL, &fd, &why), WEFT_EINVAL);
    (void)snprintf(line, sizeof line, "%s: open to others (mode 0755); chmod 700 it", w->dir);
    assert_string_equal(why.text, line);
    const net_socket_options open = {.public_directory = true};
    assert_int_equal(net_socket_listen(&addr, &open, &fd, &why), 0);
    (void)close(fd);
    assert_int_equal(chmod(w->dir, 0700), 0);
    (void)unlink(w->path + 5);
    FILE *file = fopen(w->path + 5, "w");
    assert_non_null(file);
    (void)fclose(file);
    assert_int_equal(net_socket_listen(&addr, NULL, &fd, &why), WEFT_EEXIST);
    (void)unlink(w->path + 5);
    addr = rig_addr("192.0.2.1:1");
    assert_int_equal(net_socket_listen(&addr, NULL, &fd, &why), WEFT_EIO);
    assert_string_equal(why.text, "192.0.2.1:1: cannot listen: Cannot assign requested address");
}

static void test_creds(void **state) {
    const world *w = *state;
    net_loop *loop = new_loop();
    echo_server server = {0};
    echo_client client = {.stay = true};
    echo_listen(&server, loop, w->path, NULL);
    const weft_addr addr = rig_addr(w->path);
    assert_int_equal(echo_dial(&client, loop, &addr, NULL, 10, NULL), 0);
    rig_until_size(loop, &client.received, 10);
    const net_conn_info info = net_conn_get_info(client.conn);
    assert_true(info.open && info.dialled && info.creds.known);
    assert_int_equal(info.creds.uid, getuid());
    assert_int_equal(info.creds.pid, getpid());
    assert_true(weft_addr_equal(&info.peer, &addr));
    assert_int_equal(info.bytes_out, 10);
    assert_int_equal(info.bytes_in, 10);
    net_loop_free(loop);
    (void)unlink(w->path + 5);
}

/* ---- closing */

static void test_abort_is_a_reset(void **state) {
    (void)state;
    net_loop *loop = new_loop();
    echo_server server = {0};
    echo_client client = {.stay = true};
    echo_listen(&server, loop, "127.0.0.1:0", NULL);
    const weft_addr addr = net_listener_addr(server.listener);
    assert_int_equal(echo_dial(&client, loop, &addr, NULL, 10, NULL), 0);
    rig_until_size(loop, &client.received, 10);
    net_conn_abort(client.conn, WEFT_ELIMIT, "too much of it");
    assert_int_equal(client.closed, 0); /* never from inside the call */
    rig_until(loop, &client.closed);
    assert_int_equal(client.error, WEFT_ELIMIT);
    assert_non_null(strstr(client.reason, ": too much of it"));
    rig_until_size(loop, &server.closed, 1);
    assert_int_equal(server.last_error, WEFT_ECLOSED);
    assert_non_null(strstr(server.reason, "Connection reset by peer"));
    net_loop_free(loop);
}

static void test_cancel_dial(void **state) {
    (void)state;
    net_loop *loop = new_loop();
    echo_server server = {0};
    echo_client client = {0};
    echo_listen(&server, loop, "127.0.0.1:0", NULL);
    const weft_addr addr = net_listener_addr(server.listener);
    assert_int_equal(echo_dial(&client, loop, &addr, NULL, 10, NULL), 0);
    net_conn_abort(client.conn, 0, "not needed any more");
    rig_until(loop, &client.closed);
    assert_int_equal(client.opened, 0);
    rig_turns(loop, 3);
    assert_int_equal(net_loop_stats(loop)->conns, server.open);
    net_loop_free(loop);
}

/* A close sends all that was given before, even if the peer keeps talking. */
static void test_close_flushes(void **state) {
    world *w = *state;
    for (int tls = 0; tls < 2; tls++) {
        net_loop *loop = new_loop();
        echo_server server = {0};
        echo_client client = {.stay = true};
        echo_listen(&server, loop, "127.0.0.1:0", tls ? w->server_tls : NULL);
        const weft_addr addr = net_listener_addr(server.listener);
        assert_int_equal(echo_dial(&client, loop, &addr, tls ? w->client_tls : NULL, 4 * MIB, NULL),
                         0);
        rig_until(loop, &client.opened);
        net_conn_close(client.conn, 0, NULL);
        rig_until(loop, &client.closed);
        assert_int_equal(client.sent, 4 * MIB); /* on_output was asked until it had no more */
        assert_int_equal(client.unsent, 0);
        rig_until_size(loop, &server.closed, 1);
        rig_turns(loop, 5);
        net_listener_close(server.listener);
        net_loop_free(loop);
    }
}

/* Trap 4: a connection with more input than its budget is put off once; freed while listed, and again. */
static void test_budget(void **state) {
    (void)state;
    net_loop *loop = NULL;
    const net_loop_config config = {.read_budget = 16384};
    assert_int_equal(net_loop_new(&config, &loop), 0);
    echo_server server = {0};
    enum { COUNT = 8 };
    echo_client clients[COUNT] = {{0}};
    echo_listen(&server, loop, "127.0.0.1:0", NULL);
    const weft_addr addr = net_listener_addr(server.listener);
    for (size_t i = 0; i < COUNT; i++) {
        clients[i].stay = i % 3 == 2;
        assert_int_equal(echo_dial(&clients[i], loop, &addr, NULL, MIB, NULL), 0);
    }
    for (size_t i = 0; i < COUNT; i++) {
        if (i % 3 == 2) {
            rig_until_size(loop, &clients[i].received, 100000);
            net_conn_abort(clients[i].conn, 0, "enough");
            net_conn_abort(clients[i].conn, 0, "enough");
            net_conn_want_write(clients[i].conn);
            net_conn_pause(clients[i].conn, false);
        }
        rig_until(loop, &clients[i].closed);
        if (i % 3 != 2) assert_int_equal(clients[i].received, MIB);
        assert_false(clients[i].bad);
    }
    assert_true(net_loop_stats(loop)->requeued > 50);
    rig_until_size(loop, &server.closed, COUNT);
    net_loop_free(loop);
}

static void test_pause(void **state) {
    world *w = *state;
    for (int tls = 0; tls < 2; tls++) {
        net_loop *loop = new_loop();
        echo_server server = {0};
        echo_client client = {0};
        echo_listen(&server, loop, "127.0.0.1:0", tls ? w->server_tls : NULL);
        const weft_addr addr = net_listener_addr(server.listener);
        assert_int_equal(echo_dial(&client, loop, &addr, tls ? w->client_tls : NULL, MIB, NULL), 0);
        rig_until(loop, &client.opened);
        net_conn_pause(client.conn, true);
        const size_t before = client.received;
        for (int i = 0; i < 50; i++) assert_int_equal(net_loop_turn(loop, 2 * WEFT_NS_PER_MS), 0);
        assert_int_equal(client.received, before);
        net_conn_pause(client.conn, false);
        rig_until(loop, &client.closed);
        assert_int_equal(client.received, MIB);
        assert_false(client.bad);
        net_loop_free(loop);
    }
}

/* ---- last words, ours and the peer's */

typedef struct talker {
    net_conn *conn;
    char got[64];
    size_t size;
    int goodbye; /* says so and closes on the first input */
    int closed, opened;
    size_t said;
} talker;

static void talker_open(net_conn *conn) { ((talker *)net_conn_user(conn))->opened = 1; }

static int talker_input(net_conn *conn, const uint8_t *data, size_t size, weft_chunk *chunk) {
    talker *t = net_conn_user(conn);
    (void)chunk;
    for (size_t i = 0; i < size && t->size + 1 < sizeof t->got; i++)
        t->got[t->size++] = (char)data[i];
    if (t->goodbye) net_conn_close(conn, 0, "goodbye");
    return 0;
}

static int talker_output(net_conn *conn, weft_chain *out) {
    talker *t = net_conn_user(conn);
    if (t->said || !t->goodbye) return t->said++ ? 0 : weft_chain_add(out, "hello", 5);
    t->said = 1;
    return weft_chain_add(out, "goodbye", 7);
}

static void talker_close(net_conn *conn, int error, const char *reason) {
    talker *t = net_conn_user(conn);
    (void)error, (void)reason;
    t->closed = 1;
    t->conn = NULL;
}

static const net_handler talker_handler = {talker_open, talker_input, NULL, talker_output,
                                           talker_close};

static int talker_accept(net_listener *listener, net_conn *conn) {
    talker *t = net_listener_user(listener);
    t->conn = conn;
    net_conn_set_handler(conn, &talker_handler, t);
    net_conn_set_options(conn, &rig_options);
    return 0;
}

/* A raw client connected to a talker. */
static int raw_client(net_loop *loop, talker *t) {
    const weft_addr any = rig_addr("127.0.0.1:0");
    net_listener *listener = NULL;
    net_why why;
    int fd = -1;
    assert_int_equal(net_socket_listen(&any, NULL, &fd, &why), 0);
    const net_listen listen = {.fd = fd, .on_accept = talker_accept, .user = t};
    assert_int_equal(net_listener_new(loop, &listen, &listener, &why), 0);
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    const int raw = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(raw, (struct sockaddr *)&name, size), 0);
    rig_until(loop, &t->opened);
    return raw;
}

/* The peer still sends when we close: it must see our last bytes and an end, not a reset. */
static void test_linger(void **state) {
    (void)state;
    net_loop *loop = NULL;
    const net_loop_config config = {.read_budget = 16384};
    assert_int_equal(net_loop_new(&config, &loop), 0);
    talker t = {.goodbye = 1};
    static const uint8_t noise[100000];
    char text[32];
    const int raw = raw_client(loop, &t);
    for (int i = 0; i < 3; i++)
        assert_true(send(raw, noise, sizeof noise, MSG_DONTWAIT | MSG_NOSIGNAL) > 0);
    rig_until(loop, &t.closed);
    assert_int_equal(net_loop_stats(loop)->lingering, 1);
    assert_true(send(raw, noise, sizeof noise, MSG_DONTWAIT | MSG_NOSIGNAL) > 0);
    rig_turns(loop, 5);
    assert_int_equal(recv(raw, text, sizeof text, 0), 7);
    assert_memory_equal(text, "goodbye", 7);
    assert_int_equal(recv(raw, text, sizeof text, 0), 0);
    (void)close(raw);
    while (net_loop_stats(loop)->conns)
        assert_int_equal(net_loop_turn(loop, 10 * WEFT_NS_PER_MS), 0);
    assert_int_equal(net_loop_stats(loop)->lingering, 0);
    net_loop_free(loop);
}

typedef struct leaver {
    talker *talker;
    int raw;
} leaver;

/* Between epoll_wait and our write: the peer says a last word and resets. */
static void leave(void *user) {
    const leaver *l = user;
    assert_int_equal(send(l->raw, "last word", 9, MSG_NOSIGNAL), 9);
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(l->raw, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)close(l->raw);
    net_conn_want_write(l->talker->conn);
}

static void test_last_word(void **state) {
    (void)state;
    net_loop *loop = new_loop();
    talker t = {.goodbye = 0};
    leaver l = {&t, raw_client(loop, &t)};
    rig_turns(loop, 3);
    assert_int_equal(net_loop_post(loop, leave, &l), 0);
    rig_until(loop, &t.closed);
    assert_string_equal(t.got, "last word");
    net_loop_free(loop);
}

/* ---- listeners */

static void test_refuse(void **state) {
    (void)state;
    net_loop *loop = new_loop();
    echo_server server = {.refuse = 1};
    echo_client client = {.stay = true};
    echo_listen(&server, loop, "127.0.0.1:0", NULL);
    const weft_addr addr = net_listener_addr(server.listener);
    assert_int_equal(echo_dial(&client, loop, &addr, NULL, 10, NULL), 0);
    rig_until(loop, &client.closed);
    assert_int_equal(net_loop_stats(loop)->refused_peers, 1);
    assert_int_equal(net_loop_stats(loop)->accepted, 0);
    net_loop_free(loop);
}

static void test_conns_max(void **state) {
    (void)state;
    net_loop *loop = new_loop();
    echo_server server = {.conns_max = 3};
    echo_client clients[5] = {{0}};
    echo_listen(&server, loop, "127.0.0.1:0", NULL);
    const weft_addr addr = net_listener_addr(server.listener);
    for (size_t i = 0; i < 5; i++) {
        clients[i].stay = true;
        assert_int_equal(echo_dial(&clients[i], loop, &addr, NULL, 10, NULL), 0);
        while (!clients[i].closed && clients[i].received < 10)
            assert_int_equal(net_loop_turn(loop, WEFT_NS_PER_S), 0);
        assert_int_equal(clients[i].closed, i >= 3);
    }
    assert_int_equal(net_listener_conns(server.listener), 3);
    /* A place that becomes free is given again. */
    net_conn_close(clients[0].conn, 0, NULL);
    while (net_listener_conns(server.listener) == 3)
        assert_int_equal(net_loop_turn(loop, WEFT_NS_PER_S), 0);
    echo_client late = {0};
    assert_int_equal(echo_dial(&late, loop, &addr, NULL, 10, NULL), 0);
    rig_until(loop, &late.closed);
    assert_int_equal(late.received, 10);
    net_loop_free(loop);
}

/* Out of descriptors: the loop does not spin, and goes on when there are some. */
static void test_out_of_descriptors(void **state) {
    (void)state;
    struct rlimit files;
    net_loop *loop = new_loop();
    echo_server server = {0};
    echo_client client = {0};
    echo_listen(&server, loop, "127.0.0.1:0", NULL);
    const weft_addr addr = net_listener_addr(server.listener);
    assert_int_equal(echo_dial(&client, loop, &addr, NULL, 10, NULL), 0);
    const int highest = dup(0);
    (void)close(highest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    const rlim_t before = files.rlim_cur;
    files.rlim_cur = (rlim_t)highest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    while (!net_loop_stats(loop)->accept_errors)
        assert_int_equal(net_loop_turn(loop, 10 * WEFT_NS_PER_MS), 0);
    const uint64_t turns = net_loop_stats(loop)->turns;
    const int64_t end = weft_now(NULL) + 50 * WEFT_NS_PER_MS;
    while (weft_now(NULL) < end) assert_int_equal(net_loop_turn(loop, 10 * WEFT_NS_PER_MS), 0);
    assert_in_range(net_loop_stats(loop)->turns - turns, 1, 30);
    assert_int_equal(server.accepted, 0);
    files.rlim_cur = before;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    rig_until(loop, &client.closed);
    assert_int_equal(client.received, 10);
    net_loop_free(loop);
}

/* Another user's process is refused by uid. */
static void test_same_uid(void **state) {
    (void)state;
    if (geteuid() != 0) return; /* only root can become another */
    net_loop *loop = new_loop();
    echo_server server = {.same_uid = true};
    echo_listen(&server, loop, "unix-abstract:weft-test-net-uid", NULL);
    (void)fflush(NULL);
    const pid_t pid = fork();
    if (!pid) {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        static const char text[] = "\0weft-test-net-uid";
        char c;
        memcpy(name.sun_path, text, sizeof text - 1);
        const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (setuid(65534) ||
            connect(fd, (struct sockaddr *)&name,
                    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof text - 1)))
            _exit(1);
        _exit(read(fd, &c, 1) == 0 ? 0 : 2);
    }
    while (!net_loop_stats(loop)->refused_peers)
        assert_int_equal(net_loop_turn(loop, WEFT_NS_PER_S), 0);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(server.accepted, 0);
    net_loop_free(loop);
}

/* Who closes one half still gets everything. */
static void test_half_close(void **state) {
    (void)state;
    enum { SIZE = 300000 };
    net_loop *loop = new_loop();
    echo_server server = {0};
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    static const char text[] = "\0weft-test-net-half";
    static uint8_t data[SIZE];
    echo_listen(&server, loop, "unix-abstract:weft-test-net-half", NULL);
    memcpy(name.sun_path, text, sizeof text - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&name,
                             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof text - 1)),
                     0);
    size_t sent = 0, got = 0;
    for (size_t i = 0; i < SIZE; i++) data[i] = (uint8_t)(i % 251);
    while (sent < SIZE) {
        const ssize_t n = send(fd, data + sent, SIZE - sent, MSG_NOSIGNAL);
        if (n > 0) sent += (size_t)n;
        assert_int_equal(net_loop_turn(loop, 0), 0);
    }
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    for (;;) {
        uint8_t piece[5000];
        const ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n == 0) break;
        for (ssize_t i = 0; i < n; i++) assert_int_equal(piece[i], (got + (size_t)i) % 251);
        if (n > 0) got += (size_t)n;
        assert_int_equal(net_loop_turn(loop, 0), 0);
    }
    assert_int_equal(got, SIZE);
    assert_int_equal(server.eofs, 1);
    (void)close(fd);
    net_loop_free(loop);
}

/* Whoever got into the backlog before the drain is served. */
static void test_drain(void **state) {
    (void)state;
    net_loop *loop = new_loop();
    net_loop *other = new_loop();
    echo_server server = {0};
    enum { COUNT = 200 };
    static echo_client clients[COUNT];
    memset(clients, 0, sizeof clients);
    echo_listen(&server, loop, "127.0.0.1:0", NULL);
    const weft_addr addr = net_listener_addr(server.listener);
    net_listener_pause(server.listener, true);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(echo_dial(&clients[i], other, &addr, NULL, 10, NULL), 0);
    for (size_t i = 0; i < COUNT; i++) rig_until(other, &clients[i].opened);
    net_listener_drain(server.listener, false);
    rig_turns(loop, 2);
    assert_null(server.listener);
    assert_int_equal(server.accepted, COUNT);
    for (int i = 0; i < 2000 && server.closed < COUNT; i++) {
        rig_turns(loop, 1);
        rig_turns(other, 1);
    }
    for (size_t i = 0; i < COUNT; i++) assert_int_equal(clients[i].received, 10);
    net_loop_free(other);
    net_loop_free(loop);
}

/* Two loops on dups of one socket: each connection belongs to one. */
static void test_shared_socket(void **state) {
    (void)state;
    net_loop *loops[2] = {new_loop(), new_loop()};
    net_loop *client_loop = new_loop();
    echo_server servers[2] = {{0}, {0}};
    echo_listen(&servers[0], loops[0], "127.0.0.1:0", NULL);
    const weft_addr addr = net_listener_addr(servers[0].listener);
    echo_listen_on(&servers[1], loops[1], dup(net_listener_fd(servers[0].listener)), NULL);
    echo_client clients[20] = {{0}};
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(echo_dial(&clients[i], client_loop, &addr, NULL, 1000, NULL), 0);
    for (int round = 0; round < 500; round++) {
        rig_turns(client_loop, 1);
        rig_turns(loops[0], 1);
        rig_turns(loops[1], 1);
    }
    for (size_t i = 0; i < 20; i++) assert_int_equal(clients[i].received, 1000);
    assert_int_equal(servers[0].accepted + servers[1].accepted, 20);
    assert_int_equal(servers[0].closed + servers[1].closed, 20);
    net_loop_free(client_loop);
    net_loop_free(loops[0]);
    net_loop_free(loops[1]);
}

static void test_not_a_listener(void **state) {
    (void)state;
    net_loop *loop = new_loop();
    net_listener *listener = NULL;
    net_why why;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const net_listen listen = {.fd = fd};
    char line[64];
    assert_int_equal(net_listener_new(loop, &listen, &listener, &why), WEFT_EINVAL);
    (void)snprintf(line, sizeof line, "descriptor %d is not a listening socket", fd);
    assert_string_equal(why.text, line);
    (void)close(fd);
    net_loop_free(loop);
}

/* Connections come and go in bulk; nothing is left. */
static void test_storm(void **state) {
    world *w = *state;
    for (int tls = 0; tls < 2; tls++) {
        enum { COUNT = 300 };
        net_loop *loop = new_loop();
        echo_server server = {0};
        static echo_client clients[COUNT];
        memset(clients, 0, sizeof clients);
        echo_listen(&server, loop, "127.0.0.1:0", tls ? w->server_tls : NULL);
        const weft_addr addr = net_listener_addr(server.listener);
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(
                echo_dial(&clients[i], loop, &addr, tls ? w->client_tls : NULL, 1 + i * 37, NULL),
                0);
            if (i % 7 == 3) net_conn_abort(clients[i].conn, 0, "never mind");
        }
        for (size_t i = 0; i < COUNT; i++) {
            rig_until(loop, &clients[i].closed);
            if (i % 7 != 3) assert_int_equal(clients[i].received, 1 + i * 37);
        }
        while (net_loop_stats(loop)->conns)
            assert_int_equal(net_loop_turn(loop, WEFT_NS_PER_MS), 0);
        assert_int_equal(server.open, 0);
        assert_int_equal(weft_chunk_pool_stats(net_loop_chunks(loop)).links, 0);
        net_loop_free(loop);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo_tcp),
        cmocka_unit_test(test_echo_tcp_tls),
        cmocka_unit_test(test_echo_unix),
        cmocka_unit_test(test_echo_abstract),
        cmocka_unit_test(test_echo_large),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_tls_refusal),
        cmocka_unit_test(test_unix_rules),
        cmocka_unit_test(test_creds),
        cmocka_unit_test(test_abort_is_a_reset),
        cmocka_unit_test(test_cancel_dial),
        cmocka_unit_test(test_close_flushes),
        cmocka_unit_test(test_linger),
        cmocka_unit_test(test_last_word),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_refuse),
        cmocka_unit_test(test_conns_max),
        cmocka_unit_test(test_out_of_descriptors),
        cmocka_unit_test(test_same_uid),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_shared_socket),
        cmocka_unit_test(test_not_a_listener),
        cmocka_unit_test(test_storm),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
