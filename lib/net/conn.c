/* The life of a connection: made, opened, closed, told, freed. Bytes are moved in conn_io.c. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/net/internal.h"
#include "weft/mem.h"

static void on_timer(weft_timer *timer, int64_t now);

net_conn *net_conn_new(net_loop *loop, const net_io *io) {
    net_conn *conn = weft_calloc(1, sizeof *conn);
    if (!conn) return NULL;
    conn->loop = loop;
    conn->io = io;
    conn->fd = -1;
    conn->state = NET_CONNECTING;
    weft_chain_init(&conn->out, loop->chunks);
    weft_list_init(&conn->ready);
    weft_list_init(&conn->dirty);
    weft_list_init(&conn->of_listener);
    weft_timer_init(&conn->timer, on_timer, conn);
    weft_list_push_back(&loop->conns, &conn->all);
    loop->stats.conns++;
    return conn;
}

void net_conn_free(net_conn *conn) {
    net_loop *loop = conn->loop;
    weft_timer_cancel(&conn->timer);
    weft_list_remove(&conn->all);
    weft_list_remove(&conn->ready);
    weft_list_remove(&conn->dirty);
    weft_chain_clear(&conn->out);
    if (conn->tls) {
        weft_chain_clear(&conn->tls->plain);
        tls_session_free(conn->tls->session);
        weft_free(conn->tls);
    }
    if (conn->listener) {
        weft_list_remove(&conn->of_listener);
        conn->listener->conn_count--;
    }
    weft_free(conn->peer.path);
    weft_free(conn->reason);
    weft_free(conn);
    loop->stats.conns--;
    loop->stats.closed++;
}

/* Before anyone was told of it. */
void net_conn_free_unborn(net_conn *conn) {
    if (conn->state != NET_DEAD) conn->io->close(conn, true);
    conn->loop->stats.closed--;
    net_conn_free(conn);
}

const char *net_conn_name(const net_conn *conn, char out[WEFT_ADDR_TEXT]) {
    const weft_addr addr = net_peer_addr(&conn->peer);
    if (addr.kind == WEFT_ADDR_NONE) return "a local peer";
    return weft_addr_format(&addr, out);
}

/* ---- opening */

static int64_t open_timeout(const net_conn *conn) {
    return conn->options.open_timeout ? conn->options.open_timeout : NET_OPEN_TIMEOUT;
}

static int64_t linger_timeout(const net_conn *conn) {
    return conn->options.linger_timeout ? conn->options.linger_timeout : NET_LINGER_TIMEOUT;
}

void net_conn_opening(net_conn *conn) {
    if (!conn->loop->turning) conn->loop->now = weft_now(conn->loop->clock);
    weft_timer_arm(&conn->loop->timers, &conn->timer, conn->loop->now + open_timeout(conn));
}

void net_conn_opened(net_conn *conn) {
    conn->state = NET_OPEN;
    conn->was_open = true;
    conn->opened = conn->loop->now;
    weft_timer_cancel(&conn->timer);
    if (conn->handler->on_open) conn->handler->on_open(conn);
    if (conn->wanted && conn->state == NET_OPEN) net_conn_want_write(conn);
}

void net_conn_begin(net_conn *conn) {
    if (!conn->tls) {
        net_conn_opened(conn);
        return;
    }
    conn->state = NET_HANDSHAKE;
    if (tls_start(conn->tls->session, &conn->out)) {
        net_conn_fail(conn, WEFT_EINTERNAL, "%s", tls_failure_text(conn->tls->session));
        return;
    }
    if (conn->out.bytes) net_conn_want_write(conn);
}

static void on_timer(weft_timer *timer, int64_t now) {
    net_conn *conn = timer->user;
    char limit[32];
    (void)now;
    (void)snprintf(limit, sizeof limit, "%lld ms", (long long)(open_timeout(conn) / 1000000));
    switch ((net_state)conn->state) {
    case NET_CONNECTING:
        net_conn_fail(conn, WEFT_ETIMEOUT, "no answer to connect within %s", limit);
        net_conn_kill(conn, true);
        break;
    case NET_HANDSHAKE:
        net_conn_fail(conn, WEFT_ETIMEOUT, "the TLS handshake took longer than %s", limit);
        net_conn_kill(conn, true);
        break;
    case NET_FLUSHING:
        if (!conn->said)
            net_conn_fail(conn, WEFT_ETIMEOUT, "the peer did not take our last bytes in time");
        net_conn_kill(conn, true);
        break;
    case NET_LINGERING:
        net_conn_kill(conn, false);
        break;
    case NET_OPEN:
    case NET_DEAD:
        break;
    }
}

/* ---- closing */

static void say(net_conn *conn, int error, const char *text) {
    if (conn->said) return;
    conn->said = true;
    conn->error = error;
    char name[WEFT_ADDR_TEXT];
    const char *peer = net_conn_name(conn, name);
    const size_t size = strlen(peer) + strlen(text) + 3;
    conn->reason = weft_malloc(size);
    if (conn->reason) (void)snprintf(conn->reason, size, "%s: %s", peer, text);
}

static void begin_flushing(net_conn *conn) {
    conn->state = NET_FLUSHING;
    weft_timer_arm(&conn->loop->timers, &conn->timer, conn->loop->now + linger_timeout(conn));
    net_conn_want_write(conn);
}

/* Broken: nothing more from or to the owner but on_close; an alert may still have to go out. */
void net_conn_fail(net_conn *conn, int error, const char *format, ...) {
    char text[CRYPTO_WHY_SIZE + 64];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (conn->state == NET_DEAD || conn->state == NET_LINGERING) return;
    say(conn, error, text);
    conn->failed = true;
    if (conn->state == NET_CONNECTING) {
        net_conn_kill(conn, true);
    } else if (conn->state != NET_FLUSHING) {
        /* Lets a TLS peer that still sends see our alert and our end, not a reset. */
        begin_flushing(conn);
    }
}

/* The transport is closed now; the rest happens at the end of the turn. */
void net_conn_kill(net_conn *conn, bool reset) {
    if (conn->state == NET_DEAD) return;
    if (conn->state == NET_LINGERING) conn->loop->stats.lingering--;
    if (conn->dialled && !conn->was_open) conn->loop->stats.dial_errors++;
    conn->state = NET_DEAD;
    conn->events = 0;
    conn->io->close(conn, reset);
    weft_timer_cancel(&conn->timer);
    weft_list_remove(&conn->ready);
    weft_list_remove(&conn->dirty);
    weft_list_remove(&conn->all);
    weft_list_push_back(&conn->loop->closing, &conn->all);
}

void net_conn_tell(net_conn *conn) {
    if (conn->told) return;
    conn->told = true;
    const char *reason = conn->reason ? conn->reason
                         : conn->said ? weft_strerror(conn->error)
                                      : "closed";
    if (conn->handler) conn->handler->on_close(conn, conn->error, reason);
}

void net_conn_close(net_conn *conn, int error, const char *reason) {
    if (conn->state >= NET_FLUSHING) return;
    say(conn, error, reason ? reason : error ? weft_strerror(error) : "closed");
    if (conn->state == NET_CONNECTING) {
        net_conn_kill(conn, true);
        return;
    }
    if (conn->state == NET_HANDSHAKE) conn->failed = true;
    begin_flushing(conn);
}

void net_conn_abort(net_conn *conn, int error, const char *reason) {
    if (conn->state == NET_DEAD || conn->told) return;
    say(conn, error, reason ? reason : error ? weft_strerror(error) : "closed");
    conn->failed = true;
    net_conn_kill(conn, true);
}

/* ---- what owners ask and set */

void net_conn_set_user(net_conn *conn, void *user) { conn->user = user; }
void *net_conn_user(const net_conn *conn) { return conn->user; }
net_loop *net_conn_loop(const net_conn *conn) { return conn->loop; }

void net_conn_set_handler(net_conn *conn, const net_handler *handler, void *user) {
    conn->handler = handler;
    conn->user = user;
}

int net_conn_set_tls(net_conn *conn, tls_context *context) {
    assert(!conn->tls && conn->state == NET_CONNECTING);
    net_tls *tls = weft_calloc(1, sizeof *tls);
    if (!tls) return WEFT_ENOMEM;
    tls->session = tls_session_new(context);
    if (!tls->session) {
        weft_free(tls);
        return WEFT_ENOMEM;
    }
    weft_chain_init(&tls->plain, conn->loop->chunks);
    conn->tls = tls;
    return 0;
}

void net_conn_set_options(net_conn *conn, const net_conn_options *options) {
    conn->options = *options;
}

net_conn_info net_conn_get_info(const net_conn *conn) {
    net_conn_info info = {
        .open = conn->state == NET_OPEN,
        .dialled = conn->dialled,
        .peer = net_peer_addr(&conn->peer),
        .bytes_in = conn->bytes_in,
        .bytes_out = conn->bytes_out,
        .pending = conn->out.bytes,
        .opened = conn->opened,
    };
    if (conn->tls) {
        info.tls = conn->tls->session;
        info.pending += conn->tls->plain.bytes;
    }
    if (conn->end) {
        info.local = net_sim_local(conn);
    } else {
        info.local = net_socket_local(conn);
        info.creds = net_socket_creds(conn);
    }
    return info;
}

size_t net_conn_unsent(const net_conn *conn) {
    return conn->tls ? conn->tls->plain.bytes : conn->out.bytes;
}

void net_conn_want_write(net_conn *conn) {
    if (conn->state == NET_DEAD || conn->state == NET_LINGERING) return;
    conn->wanted = true;
    if (conn->state != NET_CONNECTING && weft_list_empty(&conn->dirty))
        weft_list_push_back(&conn->loop->dirty, &conn->dirty);
}

void net_conn_pause(net_conn *conn, bool paused) {
    conn->paused = paused;
    if (!paused && conn->events) net_conn_notify(conn, 0);
}

void net_conn_notify(net_conn *conn, unsigned events) {
    if (conn->state == NET_DEAD) return;
    conn->events |= (uint8_t)events;
    if (conn->events && weft_list_empty(&conn->ready))
        weft_list_push_back(&conn->loop->ready, &conn->ready);
}
