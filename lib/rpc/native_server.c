/* Servers of the native transport: listeners, loops, connections, drain. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <pthread.h>

#include "native_server.h"
#include "weft/tls.h"

#define HANDSHAKE_TIMEOUT (10 * WEFT_NS_PER_S)

struct tp_server {
    const tp_server_events *events;
    void *user;
    pthread_mutex_t tls_lock;
    tls_context *tls; /* under it */
    nat_listen *loops;
    int loop_count;
    int fds[NAT_LISTEN_MAX]; /* until start */
    weft_addr addrs[NAT_LISTEN_MAX];
    int fd_count;
    bool started;
    atomic_int busy; /* loops that are not drained */
};

/* ---- connections */

static const h2_limits *limits_of(nat_conn *conn) { return &((nat_listen *)conn->owner)->limits; }

static void maybe_drained(nat_listen *listen) {
    tp_server *server = listen->server;
    if (!listen->draining || listen->drained) return;
    if (listen->listener_count || !weft_list_empty(&listen->conns)) return;
    listen->drained = true;
    if (atomic_fetch_sub(&server->busy, 1) == 1) server->events->on_drained(server->user);
}

static void conn_closed(nat_conn *conn, int error, const char *reason) {
    nat_listen *listen = conn->owner;
    if (error)
        weft_log(WEFT_LOG_INFO, "a connection failed", WEFT_S("error", weft_strerror(error)),
                 WEFT_S("reason", reason));
    nat_conn_free(conn);
    maybe_drained(listen);
}

static const nat_conn_ops conn_ops = {
    .callbacks = &nat_server_callbacks, .limits = limits_of, .closed = conn_closed};

static tls_context *present_tls(tp_server *server) {
    (void)pthread_mutex_lock(&server->tls_lock);
    tls_context *tls = server->tls ? tls_context_ref(server->tls) : NULL;
    (void)pthread_mutex_unlock(&server->tls_lock);
    return tls;
}

void nat_server_tls(tp_server *server, struct tls_context *tls) {
    (void)tls_context_ref(tls);
    (void)pthread_mutex_lock(&server->tls_lock);
    tls_context *before = server->tls;
    server->tls = tls;
    (void)pthread_mutex_unlock(&server->tls_lock);
    tls_context_unref(before);
}

static int on_accept(net_listener *listener, net_conn *net) {
    static const net_conn_options options = {.open_timeout = HANDSHAKE_TIMEOUT};
    nat_listen *listen = net_listener_user(listener);
    nat_conn *conn = nat_conn_new(listen->loop, H2_SERVER, &conn_ops, listen);
    if (!conn) return WEFT_ENOMEM;
    tls_context *tls = present_tls(listen->server);
    const int error = tls ? net_conn_set_tls(net, tls) : 0;
    tls_context_unref(tls);
    if (error < 0) {
        nat_conn_free(conn);
        return WEFT_ENOMEM;
    }
    conn->net = net;
    conn->draining = listen->draining;
    net_conn_set_options(net, &options);
    net_conn_set_handler(net, &nat_conn_handler, conn);
    weft_list_push_back(&listen->conns, &conn->link);
    return 0;
}

static void on_closed(net_listener *listener) {
    nat_listen *listen = net_listener_user(listener);
    listen->listener_count--;
    maybe_drained(listen);
}

/* ---- drain */

static void drain(nat_listen *listen) {
    listen->draining = true;
    for (int i = 0; i < listen->listener_total; i++)
        net_listener_drain(listen->listeners[i], listen->first);
    for (weft_list *at = listen->conns.next, *next; at != &listen->conns; at = next) {
        next = at->next;
        nat_conn_drain(WEFT_CONTAINER(at, nat_conn, link));
    }
    maybe_drained(listen);
}

static void cancel_all(nat_listen *listen) {
    listen->hurry = true;
    while (!weft_list_empty(&listen->calls)) {
        tp_call *call = WEFT_CONTAINER(weft_list_front(&listen->calls), tp_call, link);
        weft_list_remove(&call->link);
        nat_break(call, TP_PEER, WEFT_UNAVAILABLE, "the server is shutting down");
    }
    for (weft_list *at = listen->conns.next, *next; at != &listen->conns; at = next) {
        next = at->next;
        nat_conn *conn = WEFT_CONTAINER(at, nat_conn, link);
        if (conn->h2)
            nat_conn_end(conn, "the server is shutting down");
        else
            net_conn_abort(conn->net, 0, "the server is shutting down");
    }
}

static void run(nat_item *item, unsigned ops) {
    nat_listen *listen = WEFT_CONTAINER(item, nat_listen, item);
    if (ops & NAT_DRAIN) drain(listen);
    if (ops & NAT_CANCEL_ALL) cancel_all(listen);
}

static void gone(nat_item *item) { (void)item; } /* embedded in the server */

void nat_server_drain(tp_server *server) {
    if (!server->started) { /* its start failed: there is nothing to wait for */
        server->events->on_drained(server->user);
        return;
    }
    for (int i = 0; i < server->loop_count; i++)
        nat_push(server->loops[i].loop, &server->loops[i].item, NAT_DRAIN);
}

void nat_server_cancel_all(tp_server *server) {
    for (int i = 0; server->started && i < server->loop_count; i++)
        nat_push(server->loops[i].loop, &server->loops[i].item, NAT_CANCEL_ALL);
}

/* ---- what calls ask */

void nat_server_on_call(nat_listen *listen, tp_call *call, const tp_request *request) {
    listen->server->events->on_call(listen->server->user, call, request);
}

/* ---- making and freeing */

static void server_release(tp_server *server) {
    for (int i = 0; i < server->loop_count; i++) nat_loop_stop(server->loops[i].loop);
    for (int i = 0; i < server->fd_count; i++) {
        (void)close(server->fds[i]);
        if (server->addrs[i].kind == WEFT_ADDR_UNIX) (void)unlink(server->addrs[i].host);
    }
    tls_context_unref(server->tls);
    (void)pthread_mutex_destroy(&server->tls_lock);
    weft_free(server->loops);
    weft_free(server);
}

tp_server *nat_server_new(const tp_server_options *options, const tp_server_events *events,
                          void *user) {
    tp_server *server = weft_calloc(1, sizeof *server);
    nat_listen *loops = weft_calloc((size_t)options->loops, sizeof *loops);
    if (!server || !loops) {
        weft_free(server);
        weft_free(loops);
        return NULL;
    }
    *server = (tp_server){.events = events, .user = user, .loops = loops};
    (void)pthread_mutex_init(&server->tls_lock, NULL);
    if (options->tls) server->tls = tls_context_ref(options->tls);
    for (; server->loop_count < options->loops; server->loop_count++) {
        nat_listen *listen = &loops[server->loop_count];
        nat_item_init(&listen->item, 1, run, gone);
        listen->server = server;
        listen->first = server->loop_count == 0;
        listen->max_request = options->max_request;
        weft_list_init(&listen->conns);
        weft_list_init(&listen->calls);
        nat_limits(&listen->limits, options->max_metadata, 0);
        listen->loop = nat_loop_new(false);
        if (listen->loop) continue;
        server_release(server);
        return NULL;
    }
    atomic_init(&server->busy, server->loop_count);
    return server;
}

/* The port the kernel chose, where none was asked for. */
static int real_port(int fd, weft_addr *address) {
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    if (address->kind != WEFT_ADDR_IPV4 && address->kind != WEFT_ADDR_IPV6) return 0;
    if (getsockname(fd, (struct sockaddr *)&bound, &len) < 0) return weft_error_from_errno(errno);
    address->port = bound.ss_family == AF_INET6
                        ? ntohs(((const struct sockaddr_in6 *)(const void *)&bound)->sin6_port)
                        : ntohs(((const struct sockaddr_in *)(const void *)&bound)->sin_port);
    return 0;
}

int nat_server_listen(tp_server *server, weft_addr *address) {
    net_why why = {.text = ""};
    int fd = -1;
    if (server->fd_count == NAT_LISTEN_MAX) return WEFT_ELIMIT;
    int error = net_socket_listen(address, NULL, &fd, &why);
    if (!error) error = real_port(fd, address);
    if (error < 0) {
        if (fd >= 0) (void)close(fd);
        weft_log(WEFT_LOG_DEBUG, "cannot listen", WEFT_S("reason", why.text));
        return error == WEFT_ENOMEM ? error : WEFT_EIO;
    }
    server->addrs[server->fd_count] = *address;
    server->fds[server->fd_count++] = fd;
    return 0;
}

static int listen_on(nat_listen *listen, int fd, bool last) {
    net_why why;
    const int own = last ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0) return weft_error_from_errno(errno);
    const net_listen config = {
        .fd = own, .on_accept = on_accept, .on_closed = on_closed, .user = listen};
    net_listener *listener = NULL;
    const int error = net_listener_new(listen->loop->net, &config, &listener, &why);
    if (error < 0) {
        if (!last) (void)close(own);
        return error;
    }
    listen->listeners[listen->listener_total++] = listener;
    listen->listener_count++;
    return 0;
}

int nat_server_start(tp_server *server) {
    while (server->fd_count) {
        const int at = server->fd_count - 1;
        for (int i = server->loop_count - 1; i >= 0; i--) {
            const int error = listen_on(&server->loops[i], server->fds[at], i == 0);
            if (error < 0) return error;
        }
        server->fd_count--;
    }
    for (int i = 0; i < server->loop_count; i++) {
        const int error = nat_loop_start(server->loops[i].loop);
        if (error < 0) return error;
    }
    server->started = true;
    return 0;
}

void nat_server_free(tp_server *server) { server_release(server); }
