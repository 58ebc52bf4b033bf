/* Listeners: accept, refuse, drain. And dialling, the other way to get a connection. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/net/internal.h"
#include "weft/mem.h"

#define CONNS_MAX 65536

static void finish(net_listener *listener);

static void on_retry(weft_timer *timer, int64_t now) {
    net_listener *listener = timer->user;
    (void)now;
    /* To its end it must come by itself: another process's or worker's listener on the same socket may
     * have taken what was there, and no event tells of that. */
    if (listener->draining)
        net_listener_notify(listener);
    else if (!listener->paused && net_listener_watch(listener, true))
        weft_timer_arm(&listener->loop->timers, timer, listener->loop->now + NET_ACCEPT_PAUSE);
}

static void on_end(net_task *task) {
    net_listener *listener = WEFT_CONTAINER(task, net_listener, end);
    if (listener->config.on_closed) listener->config.on_closed(listener);
    net_listener_free(listener);
}

int net_listener_new(net_loop *loop, const net_listen *listen, net_listener **out, net_why *why) {
    net_listener *listener = weft_calloc(1, sizeof *listener);
    if (!listener) return WEFT_ENOMEM;
    listener->loop = loop;
    listener->config = *listen;
    if (!listener->config.conns_max) listener->config.conns_max = CONNS_MAX;
    listener->fd = listen->fd;
    listener->simulated = loop->config.sim != NULL;
    weft_list_init(&listener->ready);
    weft_list_init(&listener->conns);
    weft_list_init(&listener->of_host);
    weft_list_init(&listener->backlog);
    weft_timer_init(&listener->retry, on_retry, listener);
    net_task_init(&listener->end, on_end);
    weft_list_push_back(&loop->listeners, &listener->all);
    loop->stats.listeners++;
    int error = 0;
    if (listener->simulated) {
        if (listen->addr) listener->addr = *listen->addr;
        listener->fd = -1;
        error = net_sim_listen(listener, why);
    } else {
        struct sockaddr_storage name = {0};
        socklen_t size = sizeof name;
        int listening = 0;
        socklen_t flag = sizeof listening;
        if (getsockname(listener->fd, (struct sockaddr *)&name, &size) ||
            getsockopt(listener->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &flag) || !listening) {
            net_why_set(why, "descriptor %d is not a listening socket", listener->fd);
            error = WEFT_EINVAL;
        } else {
            net_sockaddr_to_addr(&name, size, &listener->addr);
            error = net_listener_watch(listener, true);
            if (error) net_why_set(why, "cannot watch a listening socket: %s", strerror(errno));
        }
    }
    if (error) {
        listener->fd = -1; /* stays the caller's */
        net_listener_free(listener);
        return error;
    }
    *out = listener;
    return 0;
}

void net_listener_free(net_listener *listener) {
    for (weft_list *node; (node = weft_list_pop_front(&listener->conns));)
        WEFT_CONTAINER(node, net_conn, of_listener)->listener = NULL;
    weft_timer_cancel(&listener->retry);
    net_task_cancel(&listener->end);
    weft_list_remove(&listener->all);
    weft_list_remove(&listener->ready);
    listener->loop->stats.listeners--;
    weft_free(listener);
}

/* The connection is the owner's from here, or gone. */
bool net_listener_admit(net_listener *listener, net_conn *conn) {
    net_loop *loop = listener->loop;
    bool refused = listener->conn_count >= listener->config.conns_max;
    if (!refused && listener->config.same_uid && !listener->simulated) {
        const net_creds creds = net_socket_creds(conn);
        refused = creds.known && creds.uid != 0 && creds.uid != geteuid();
    }
    if (!refused) {
        conn->listener = listener;
        listener->conn_count++;
        weft_list_push_back(&listener->conns, &conn->of_listener);
        refused = listener->config.on_accept(listener, conn) < 0;
    }
    if (refused || !conn->handler) {
        loop->stats.refused_peers++;
        net_conn_free_unborn(conn);
        return false;
    }
    loop->stats.accepted++;
    if (!listener->simulated) net_socket_tune(conn);
    net_conn_opening(conn);
    net_conn_begin(conn);
    return true;
}

void net_listener_notify(net_listener *listener) {
    if (weft_list_empty(&listener->ready))
        weft_list_push_back(&listener->loop->listeners_ready, &listener->ready);
}

/* Accepts some; the descriptor is level-triggered, so what is left is reported again. */
void net_listener_process(net_listener *listener) {
    if (listener->closed || (listener->paused && !listener->draining)) return;
    const uint64_t most = listener->draining ? UINT64_MAX : NET_ACCEPT_BUDGET;
    for (uint64_t i = 0; i < most && !listener->closed; i++) {
        net_conn *conn;
        const int error =
            listener->simulated ? net_sim_accept(listener, &conn) : net_accept(listener, &conn);
        if (error == WEFT_EAGAIN) break;
        if (error == WEFT_ELIMIT) {
            /* Out of descriptors: being told again at once would only burn the processor. */
            listener->loop->stats.accept_errors++;
            (void)net_listener_watch(listener, false);
            weft_timer_arm(&listener->loop->timers, &listener->retry,
                           listener->loop->now + NET_ACCEPT_PAUSE);
            return;
        }
        if (error) {
            listener->loop->stats.accept_errors++;
            continue;
        }
        (void)net_listener_admit(listener, conn);
    }
    if (listener->draining && !listener->closed) finish(listener);
}

static void finish(net_listener *listener) {
    if (listener->closed) return;
    listener->closed = true;
    weft_timer_cancel(&listener->retry);
    weft_list_remove(&listener->ready);
    if (listener->simulated) {
        net_sim_unlisten(listener);
    } else {
        (void)net_listener_watch(listener, false);
        if (listener->unlink_path && listener->addr.kind == WEFT_ADDR_UNIX)
            (void)unlink(listener->addr.host);
        (void)close(listener->fd);
        listener->fd = -1;
    }
    if (listener->loop->freeing)
        on_end(&listener->end);
    else
        net_loop_defer(listener->loop, &listener->end);
}

void net_listener_pause(net_listener *listener, bool paused) {
    listener->paused = paused;
    if (!paused && listener->simulated) net_listener_notify(listener);
    weft_timer_cancel(&listener->retry);
    if (!listener->closed && net_listener_watch(listener, !paused))
        weft_timer_arm(&listener->loop->timers, &listener->retry,
                       listener->loop->now + NET_ACCEPT_PAUSE);
}

/* The accepting happens in the next turn, so that on_accept is not called from here. */
void net_listener_drain(net_listener *listener, bool unlink_path) {
    if (listener->closed) return;
    listener->draining = true;
    listener->unlink_path = unlink_path;
    net_listener_notify(listener);
}

void net_listener_close(net_listener *listener) { finish(listener); }

void *net_listener_user(const net_listener *listener) { return listener->config.user; }
weft_addr net_listener_addr(const net_listener *listener) { return listener->addr; }
int net_listener_fd(const net_listener *listener) { return listener->fd; }
size_t net_listener_conns(const net_listener *listener) { return listener->conn_count; }

/* ---- dialling */

int net_connect(net_loop *loop, const net_dial *dial, net_conn **out, net_why *why) {
    assert(dial->handler && dial->addr);
    net_conn *conn = net_conn_new(loop, &net_socket_io);
    if (!conn) {
        net_why_set(why, "out of memory");
        return WEFT_ENOMEM;
    }
    conn->dialled = true;
    conn->options = dial->options;
    net_conn_set_handler(conn, dial->handler, dial->user);
    net_peer_set(&conn->peer, dial->addr);
    int error = dial->tls ? net_conn_set_tls(conn, dial->tls) : 0;
    if (error) net_why_set(why, "out of memory");
    if (!error)
        error = loop->config.sim ? net_sim_connect(conn, dial, why)
                                 : net_socket_connect(conn, dial, why);
    if (error) {
        conn->dialled = false;
        net_conn_free_unborn(conn);
        return error;
    }
    loop->stats.dialled++;
    if (conn->state != NET_DEAD) net_conn_opening(conn);
    *out = conn;
    return 0;
}
