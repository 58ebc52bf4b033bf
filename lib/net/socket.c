/* The transport over sockets: TCP and unix, abstract names too. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/net/internal.h"
#include "weft/mem.h"

#define KEEPALIVE_IDLE 30
#define BACKLOG 1024

/* ---- addresses */

int net_addr_to_sockaddr(const weft_addr *addr, struct sockaddr_storage *out, socklen_t *size) {
    memset(out, 0, sizeof *out);
    struct sockaddr_in *v4 = (void *)out;
    struct sockaddr_in6 *v6 = (void *)out;
    struct sockaddr_un *local = (void *)out;
    const size_t len = strlen(addr->host);
    switch (addr->kind) {
    case WEFT_ADDR_IPV4:
        v4->sin_family = AF_INET;
        v4->sin_port = htons(addr->port);
        *size = sizeof *v4;
        return inet_pton(AF_INET, addr->host, &v4->sin_addr) == 1 ? 0 : WEFT_EINVAL;
    case WEFT_ADDR_IPV6:
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(addr->port);
        *size = sizeof *v6;
        return inet_pton(AF_INET6, addr->host, &v6->sin6_addr) == 1 ? 0 : WEFT_EINVAL;
    case WEFT_ADDR_UNIX:
    case WEFT_ADDR_ABSTRACT: {
        const size_t at = addr->kind == WEFT_ADDR_ABSTRACT;
        if (len + 1 > sizeof local->sun_path) return WEFT_EINVAL;
        local->sun_family = AF_UNIX;
        memcpy(local->sun_path + at, addr->host, len);
        *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
        return 0;
    }
    case WEFT_ADDR_NONE:
    case WEFT_ADDR_NAME:
        break;
    }
    return WEFT_EINVAL;
}

void net_sockaddr_to_addr(const struct sockaddr_storage *in, socklen_t size, weft_addr *out) {
    *out = (weft_addr){0};
    const struct sockaddr_in *v4 = (const void *)in;
    const struct sockaddr_in6 *v6 = (const void *)in;
    const struct sockaddr_un *local = (const void *)in;
    const size_t head = offsetof(struct sockaddr_un, sun_path);
    if (in->ss_family == AF_INET) {
        out->kind = WEFT_ADDR_IPV4;
        out->port = ntohs(v4->sin_port);
        (void)inet_ntop(AF_INET, &v4->sin_addr, out->host, sizeof out->host);
    } else if (in->ss_family == AF_INET6) {
        out->kind = WEFT_ADDR_IPV6;
        out->port = ntohs(v6->sin6_port);
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, out->host, sizeof out->host);
    } else if (in->ss_family == AF_UNIX && size > head) {
        const bool abstract = !local->sun_path[0];
        const size_t len = size - head - abstract;
        out->kind = abstract ? WEFT_ADDR_ABSTRACT : WEFT_ADDR_UNIX;
        memcpy(out->host, local->sun_path + abstract, len);
        out->host[strnlen(out->host, len)] = '\0';
    }
}

/* No path when memory is out: it is for messages only. */
void net_peer_set(net_peer *peer, const weft_addr *addr) {
    peer->kind = (uint8_t)addr->kind;
    peer->port = addr->port;
    if (addr->kind == WEFT_ADDR_IPV4) (void)inet_pton(AF_INET, addr->host, peer->ip);
    if (addr->kind == WEFT_ADDR_IPV6) (void)inet_pton(AF_INET6, addr->host, peer->ip);
    if (addr->kind == WEFT_ADDR_UNIX || addr->kind == WEFT_ADDR_ABSTRACT)
        peer->path = weft_heap_strdup(addr->host);
}

weft_addr net_peer_addr(const net_peer *peer) {
    weft_addr addr = {.kind = (weft_addr_kind)peer->kind, .port = peer->port};
    if (addr.kind == WEFT_ADDR_IPV4)
        (void)inet_ntop(AF_INET, peer->ip, addr.host, sizeof addr.host);
    else if (addr.kind == WEFT_ADDR_IPV6)
        (void)inet_ntop(AF_INET6, peer->ip, addr.host, sizeof addr.host);
    else if (peer->path)
        (void)snprintf(addr.host, sizeof addr.host, "%s", peer->path);
    return addr;
}

/* ---- bytes */

static int64_t socket_readv(net_conn *conn, const struct iovec *iov, int count) {
    ssize_t got;
    do {
        got = count == 1 ? recv(conn->fd, iov->iov_base, iov->iov_len, 0)
                         : readv(conn->fd, iov, count);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

static int64_t socket_writev(net_conn *conn, const struct iovec *iov, int count) {
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                                   .msg_iovlen = (size_t)count};
    ssize_t sent;
    do {
        sent = count == 1 ? send(conn->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                          : sendmsg(conn->fd, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

static int socket_connected(net_conn *conn) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &size)) error = errno;
    return -error;
}

static void socket_shut(net_conn *conn) { (void)shutdown(conn->fd, SHUT_WR); }

static void socket_close(net_conn *conn, bool reset) {
    if (conn->fd < 0) return;
    if (reset) {
        const struct linger now = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    (void)close(conn->fd);
    conn->fd = -1;
}

const net_io net_socket_io = {socket_readv, socket_writev, socket_connected, socket_shut,
                              socket_close};

weft_addr net_socket_local(const net_conn *conn) {
    struct sockaddr_storage name = {0};
    socklen_t size = sizeof name;
    weft_addr addr = {0};
    if (conn->fd >= 0 && !getsockname(conn->fd, (struct sockaddr *)&name, &size))
        net_sockaddr_to_addr(&name, size, &addr);
    return addr;
}

net_creds net_socket_creds(const net_conn *conn) {
    struct ucred creds;
    socklen_t size = sizeof creds;
    if (conn->fd < 0 || getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &creds, &size) ||
        creds.pid == 0)
        return (net_creds){0};
    return (net_creds){.known = true, .pid = creds.pid, .uid = creds.uid, .gid = creds.gid};
}

/* Best effort: a connection without these works too. */
void net_socket_tune(const net_conn *conn) {
    const int fd = conn->fd;
    if (conn->peer.kind != WEFT_ADDR_IPV4 && conn->peer.kind != WEFT_ADDR_IPV6) return;
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (conn->options.keepalive_idle < 0) return;
    const int idle = conn->options.keepalive_idle ? conn->options.keepalive_idle : KEEPALIVE_IDLE;
    const int probes = 3;
    const int interval = idle / probes ? idle / probes : 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

/* ---- dialling */

int net_socket_connect(net_conn *conn, const net_dial *dial, net_why *why) {
    struct sockaddr_storage to;
    socklen_t size;
    char text[WEFT_ADDR_TEXT];
    if (net_addr_to_sockaddr(dial->addr, &to, &size)) {
        net_why_set(why, "%s: not an address that can be dialled; resolve names first",
                    weft_addr_format(dial->addr, text));
        return WEFT_EINVAL;
    }
    const int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        const int error = errno;
        net_why_set(why, "%s: no socket: %s", weft_addr_format(dial->addr, text), strerror(error));
        return weft_error_from_errno(error);
    }
    conn->fd = fd;
    net_socket_tune(conn);
    int error = 0;
    if (connect(fd, (struct sockaddr *)&to, size)) error = errno;
    /* A unix socket whose backlog is full says EAGAIN (connect(2)): that is a refusal, told like others. */
    if (error && error != EINPROGRESS) {
        const int code = error == EAGAIN ? EBUSY : error;
        net_conn_fail(conn, weft_error_from_errno(code), "cannot connect: %s",
                      error == EAGAIN ? "its backlog is full" : strerror(error));
        return 0;
    }
    error = net_socket_watch(conn);
    if (error) net_why_set(why, "cannot watch a socket: %s", weft_strerror(error));
    return error;
}

/* ---- accepting */

int net_accept(net_listener *listener, net_conn **out) {
    struct sockaddr_storage from = {0};
    socklen_t size = sizeof from;
    const int fd =
        accept4(listener->fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) return WEFT_EAGAIN;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            return WEFT_ELIMIT;
        return WEFT_EIO; /* of that one connection: accept(2), "Error handling" */
    }
    net_conn *conn = net_conn_new(listener->loop, &net_socket_io);
    if (!conn) {
        (void)close(fd);
        return WEFT_EIO;
    }
    conn->fd = fd;
    weft_addr addr;
    net_sockaddr_to_addr(&from, size, &addr);
    net_peer_set(&conn->peer, &addr);
    if (net_socket_watch(conn)) {
        net_conn_free_unborn(conn);
        return WEFT_EIO;
    }
    *out = conn;
    return 0;
}

/* ---- listening */

int net_check_private(const char *path, net_why *why) {
    char folder[WEFT_ADDR_HOST];
    (void)snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder) {
        net_why_set(why, "%s: must lie in a directory of its own, closed to others (chmod 700)",
                    path);
        return WEFT_EINVAL;
    }
    *slash = '\0';
    struct stat info;
    if (stat(folder, &info)) {
        net_why_set(why, "%s: %s", folder, strerror(errno));
        return weft_error_from_errno(errno);
    }
    if (!S_ISDIR(info.st_mode)) {
        net_why_set(why, "%s: not a directory", folder);
        return WEFT_EINVAL;
    }
    if (info.st_uid != geteuid()) {
        net_why_set(why, "%s: belongs to uid %lu, not to ours (%lu); use a directory of our own",
                    folder, (unsigned long)info.st_uid, (unsigned long)geteuid());
        return WEFT_EINVAL;
    }
    if (info.st_mode & 077) {
        net_why_set(why, "%s: open to others (mode %04o); chmod 700 it", folder,
                    (unsigned)info.st_mode & 07777u);
        return WEFT_EINVAL;
    }
    return 0;
}

/* Takes the path if no one listens there. */
static int clear_path(const char *path, const struct sockaddr_storage *name, socklen_t size,
                      net_why *why) {
    struct stat info;
    if (lstat(path, &info)) return 0;
    if (!S_ISSOCK(info.st_mode)) {
        net_why_set(why, "unix:%s: a file that is no socket is in the way; remove it", path);
        return WEFT_EEXIST;
    }
    const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0) return weft_error_from_errno(errno);
    const int refused =
        connect(probe, (const struct sockaddr *)name, size) && errno == ECONNREFUSED;
    (void)close(probe);
    if (!refused) {
        net_why_set(why, "unix:%s: another process listens there", path);
        return WEFT_EBUSY;
    }
    (void)unlink(path);
    return 0;
}

/* 0, a negative error that is explained, or an errno. */
static int bind_unix(int fd, const weft_addr *addr, const net_socket_options *options,
                     const struct sockaddr_storage *name, socklen_t size, net_why *why) {
    if (addr->kind == WEFT_ADDR_UNIX) {
        int error = options->public_directory ? 0 : net_check_private(addr->host, why);
        if (!error) error = clear_path(addr->host, name, size, why);
        if (error) return error;
    }
    if (bind(fd, (const struct sockaddr *)name, size)) return errno;
    if (addr->kind == WEFT_ADDR_UNIX &&
        chmod(addr->host, options->mode ? (mode_t)options->mode : 0600))
        return errno;
    return 0;
}

int net_socket_listen(const weft_addr *addr, const net_socket_options *given, int *out,
                      net_why *why) {
    const net_socket_options options = given ? *given : (net_socket_options){0};
    struct sockaddr_storage name;
    socklen_t size;
    char text[WEFT_ADDR_TEXT];
    (void)weft_addr_format(addr, text);
    if (net_addr_to_sockaddr(addr, &name, &size)) {
        net_why_set(why, "%s: cannot listen there: write an IP address or a unix socket", text);
        return WEFT_EINVAL;
    }
    const int fd = socket(name.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        net_why_set(why, "%s: no socket: %s", text, strerror(errno));
        return weft_error_from_errno(errno);
    }
    const int on = 1;
    int error = 0;
    if (name.ss_family == AF_UNIX) {
        error = bind_unix(fd, addr, &options, &name, size, why);
    } else {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, (struct sockaddr *)&name, size)) error = errno;
    }
    if (!error && listen(fd, options.backlog ? options.backlog : BACKLOG)) error = errno;
    if (error) {
        (void)close(fd);
        if (error < 0) return error;
        net_why_set(why, "%s: cannot listen: %s%s", text, strerror(error),
                    error == EADDRINUSE ? "; another process listens there, or choose port 0" : "");
        return weft_error_from_errno(error);
    }
    *out = fd;
    return 0;
}
