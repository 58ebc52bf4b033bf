#include "tools/weft/connect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int attempt(const struct sockaddr *sa, socklen_t len, int timeout_ms) {
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return errno;
    int error = connect(fd, sa, len) == 0 ? 0 : errno;
    /* A unix socket whose queue is full says EAGAIN: somebody listens. */
    if (error == EAGAIN && sa->sa_family == AF_UNIX) error = 0;
    if (error == EINPROGRESS) {
        struct pollfd pfd = {.fd = fd, .events = POLLOUT};
        int ready = poll(&pfd, 1, timeout_ms);
        socklen_t size = sizeof error;
        if (ready == 0)
            error = ETIMEDOUT;
        else if (ready < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
            error = errno;
    }
    close(fd);
    return error;
}

static int attempt_unix(const weft_addr *addr, int timeout_ms) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    size_t abstract = addr->kind == WEFT_ADDR_ABSTRACT ? 1 : 0;
    size_t len = strlen(addr->host);
    if (len + 1 > sizeof sun.sun_path) return ENAMETOOLONG;
    memcpy(sun.sun_path + abstract, addr->host, len);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    return attempt((const struct sockaddr *)&sun, size, timeout_ms);
}

int connect_try(const weft_addr *addr, int timeout_ms) {
    if (addr->kind == WEFT_ADDR_UNIX || addr->kind == WEFT_ADDR_ABSTRACT)
        return attempt_unix(addr, timeout_ms);
    char port[8];
    snprintf(port, sizeof port, "%u", addr->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found;
    if (addr->kind != WEFT_ADDR_NAME) hints.ai_flags |= AI_NUMERICHOST;
    if (getaddrinfo(addr->host, port, &hints, &found) != 0) return EADDRNOTAVAIL;
    int error = EADDRNOTAVAIL;
    for (struct addrinfo *at = found; at && error != 0; at = at->ai_next)
        error = attempt(at->ai_addr, at->ai_addrlen, timeout_ms);
    freeaddrinfo(found);
    return error;
}

unsigned connect_free_port(void) {
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sin;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return 0;
    unsigned port = 0;
    if (bind(fd, (struct sockaddr *)&sin, len) == 0 &&
        getsockname(fd, (struct sockaddr *)&sin, &len) == 0)
        port = ntohs(sin.sin_port);
    close(fd);
    return port;
}
