#include "tests/unit/net/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "weft/mem.h"

#define QUEUE_HIGH 262144

net_conn_options rig_options;

typedef struct echo_conn {
    echo_server *server;
    weft_chain queue;
    bool paused;
    bool was_open;
} echo_conn;

/* ---- server */

static void server_open(net_conn *conn) {
    echo_conn *echo = net_conn_user(conn);
    echo->was_open = true;
    echo->server->opened++;
    echo->server->open++;
    const tls_session *tls = net_conn_get_info(conn).tls;
    if (tls)
        (void)snprintf(echo->server->peer, sizeof echo->server->peer, "%s",
                       tls_session_info(tls).peer_id);
}

static int server_input(net_conn *conn, const uint8_t *data, size_t size, weft_chunk *chunk) {
    echo_conn *echo = net_conn_user(conn);
    const weft_slice slice = {data, size, chunk};
    const int error = weft_chain_add_slice(&echo->queue, &slice);
    if (error) return error;
    if (echo->queue.bytes > QUEUE_HIGH && !echo->paused) {
        echo->paused = true;
        net_conn_pause(conn, true);
    }
    net_conn_want_write(conn);
    return 0;
}

static int server_eof(net_conn *conn) {
    echo_conn *echo = net_conn_user(conn);
    echo->server->eofs++;
    net_conn_close(conn, 0, "closed by the peer");
    return 0;
}

static int server_output(net_conn *conn, weft_chain *out) {
    echo_conn *echo = net_conn_user(conn);
    if (out->bytes > 65536) return 0;
    weft_chain_splice(out, &echo->queue);
    if (echo->paused) {
        echo->paused = false;
        net_conn_pause(conn, false);
    }
    return 0;
}

static void server_close(net_conn *conn, int error, const char *reason) {
    echo_conn *echo = net_conn_user(conn);
    echo_server *server = echo->server;
    server->closed++;
    if (echo->was_open) server->open--;
    server->last_error = error;
    (void)snprintf(server->reason, sizeof server->reason, "%s", reason);
    weft_chain_clear(&echo->queue);
    weft_free(echo);
}

static const net_handler server_handler = {server_open, server_input, server_eof, server_output,
                                           server_close};

static int on_accept(net_listener *listener, net_conn *conn) {
    echo_server *server = net_listener_user(listener);
    server->accepted++;
    if (server->refuse) return WEFT_ELIMIT;
    echo_conn *echo = weft_calloc(1, sizeof *echo);
    if (!echo) return WEFT_ENOMEM;
    if (server->tls && net_conn_set_tls(conn, server->tls)) {
        weft_free(echo);
        return WEFT_ENOMEM;
    }
    echo->server = server;
    weft_chain_init(&echo->queue, net_loop_chunks(server->loop));
    net_conn_set_handler(conn, &server_handler, echo);
    net_conn_set_options(conn, server->options.open_timeout ? &server->options : &rig_options);
    return 0;
}

static void on_listener_closed(net_listener *listener) {
    echo_server *server = net_listener_user(listener);
    server->listener = NULL;
}

weft_addr rig_addr(const char *text) {
    weft_addr addr;
    assert_int_equal(weft_addr_parse(text, &addr, NULL), 0);
    return addr;
}

static void listen_there(echo_server *server, net_loop *loop, const weft_addr *addr, int fd,
                         tls_context *tls) {
    net_why why = {""};
    server->loop = loop;
    server->tls = tls;
    const net_listen listen = {.addr = addr,
                               .fd = fd,
                               .conns_max = server->conns_max,
                               .same_uid = server->same_uid,
                               .on_accept = on_accept,
                               .on_closed = on_listener_closed,
                               .user = server};
    if (net_listener_new(loop, &listen, &server->listener, &why)) fail_msg("%s", why.text);
}

void echo_listen_on(echo_server *server, net_loop *loop, int fd, tls_context *tls) {
    listen_there(server, loop, NULL, fd, tls);
}

void echo_listen(echo_server *server, net_loop *loop, const char *text, tls_context *tls) {
    net_why why = {""};
    const weft_addr addr = rig_addr(text);
    int fd = -1;
    if (net_socket_listen(&addr, NULL, &fd, &why)) fail_msg("%s", why.text);
    listen_there(server, loop, &addr, fd, tls);
}

void echo_listen_sim(echo_server *server, net_loop *loop, const char *text, tls_context *tls) {
    const weft_addr addr = rig_addr(text);
    listen_there(server, loop, &addr, -1, tls);
}

/* ---- client */

static uint8_t pattern(size_t i) { return (uint8_t)(i * 31 + i / 255 + i / 65521); }

static void client_open(net_conn *conn) {
    echo_client *client = net_conn_user(conn);
    client->opened = 1;
    const tls_session *tls = net_conn_get_info(conn).tls;
    if (tls) (void)snprintf(client->peer, sizeof client->peer, "%s", tls_session_info(tls).peer_id);
    net_conn_want_write(conn);
}

static int client_input(net_conn *conn, const uint8_t *data, size_t size, weft_chunk *chunk) {
    echo_client *client = net_conn_user(conn);
    (void)chunk;
    for (size_t i = 0; i < size; i++)
        if (data[i] != pattern(client->received + i)) client->bad = true;
    client->received += size;
    if (client->received >= client->total && !client->stay) net_conn_close(conn, 0, NULL);
    return 0;
}

static int client_output(net_conn *conn, weft_chain *out) {
    echo_client *client = net_conn_user(conn);
    const size_t chunk = client->chunk ? client->chunk : 65536;
    (void)conn;
    while (client->sent < client->total && out->bytes < chunk) {
        uint8_t *to = weft_chain_reserve(out, 1);
        if (!to) return WEFT_ENOMEM;
        size_t n = 0;
        const size_t room = WEFT_CHUNK_SIZE - out->tail->slice.chunk->used;
        for (; n < room && client->sent < client->total; n++) to[n] = pattern(client->sent++);
        weft_chain_commit(out, n);
    }
    return 0;
}

static void client_close(net_conn *conn, int error, const char *reason) {
    echo_client *client = net_conn_user(conn);
    client->closed = 1;
    client->error = error;
    client->unsent = net_conn_unsent(conn);
    client->conn = NULL;
    (void)snprintf(client->reason, sizeof client->reason, "%s", reason);
}

static const net_handler client_handler = {client_open, client_input, NULL, client_output,
                                           client_close};

int echo_dial(echo_client *client, net_loop *loop, const weft_addr *addr, tls_context *tls,
              size_t total, const net_conn_options *options) {
    net_why why = {""};
    client->total = total;
    const net_dial dial = {.addr = addr,
                           .handler = &client_handler,
                           .user = client,
                           .tls = tls,
                           .options = options ? *options : rig_options};
    const int error = net_connect(loop, &dial, &client->conn, &why);
    if (error) (void)snprintf(client->reason, sizeof client->reason, "%s", why.text);
    return error;
}

/* ---- turning */

#define PATIENCE (120 * WEFT_NS_PER_S)

void rig_until(net_loop *loop, const int *flag) {
    const int64_t end = weft_now(NULL) + PATIENCE;
    while (!*flag) {
        assert_int_equal(net_loop_turn(loop, 50 * WEFT_NS_PER_MS), 0);
        assert_true(weft_now(NULL) < end);
    }
}

void rig_until_size(net_loop *loop, const size_t *value, size_t least) {
    const int64_t end = weft_now(NULL) + PATIENCE;
    while (*value < least) {
        assert_int_equal(net_loop_turn(loop, 50 * WEFT_NS_PER_MS), 0);
        assert_true(weft_now(NULL) < end);
    }
}

void rig_turns(net_loop *loop, int count) {
    while (count--) assert_int_equal(net_loop_turn(loop, 0), 0);
}
