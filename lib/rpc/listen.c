/* Where a server may listen: unix sockets nobody else can reach, loopback, and elsewhere only if asked. */
#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <unistd.h>

#include "internal.h"
#include "weft/buf.h"

static int refuse(char **why, int error, const char *format, ...) WEFT_PRINTF(3, 4);
static int refuse(char **why, int error, const char *format, ...) {
    weft_buf text;
    va_list args;
    weft_buf_init(&text, 2048);
    va_start(args, format);
    (void)weft_buf_vprintf(&text, format, args);
    va_end(args);
    *why = weft_buf_detach(&text);
    weft_buf_free(&text);
    return error;
}

/* ---- unix sockets */

static int check_directory(const char *path, char **why) {
    char folder[WEFT_ADDR_HOST];
    struct stat info;
    (void)snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash)
        (void)snprintf(folder, sizeof folder, ".");
    else
        slash[slash == folder] = '\0';
    if (stat(folder, &info) < 0)
        return refuse(why, weft_error_from_errno(errno), "unix:%s: folder %s: %s", path, folder,
                      strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return refuse(why, WEFT_EINVAL, "unix:%s: %s is not a folder", path, folder);
    if (info.st_uid != geteuid())
        return refuse(why, WEFT_EINVAL, "unix:%s: folder %s belongs to someone else", path, folder);
    if (info.st_mode & 077)
        return refuse(why, WEFT_EINVAL,
                      "unix:%s: folder %s can be entered by others (mode %03o); chmod 700 %s", path,
                      folder, info.st_mode & 0777, folder);
    return 0;
}

/* A socket file whose server died stays behind; nobody answers there. */
static int clear_stale(const char *path, char **why) {
    struct stat info;
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (lstat(path, &info) < 0) {
        if (errno == ENOENT) return 0;
        return refuse(why, weft_error_from_errno(errno), "unix:%s: %s", path, strerror(errno));
    }
    if (!S_ISSOCK(info.st_mode))
        return refuse(why, WEFT_EEXIST,
                      "unix:%s: there is a file of that name, and it is no socket", path);
    memcpy(to.sun_path, path, strnlen(path, sizeof to.sun_path - 1));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return refuse(why, WEFT_EIO, "unix:%s: socket: %s", path, strerror(errno));
    int error = connect(fd, (const struct sockaddr *)&to, sizeof to) < 0 ? errno : 0;
    (void)close(fd);
    if (error != ECONNREFUSED)
        return refuse(why, WEFT_EBUSY, "unix:%s: a server is listening there already", path);
    if (unlink(path) < 0)
        return refuse(why, WEFT_EIO, "unix:%s: the stale socket cannot be removed: %s", path,
                      strerror(errno));
    return 0;
}

/* ---- TCP */

static int resolve(weft_addr *address, char **why) {
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char host[NI_MAXHOST], text[NI_MAXHOST + 16];
    int error = getaddrinfo(address->host, NULL, &hints, &found);
    if (!error)
        error = getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, NULL, 0,
                            NI_NUMERICHOST);
    bool six = !error && found->ai_family == AF_INET6;
    if (found) freeaddrinfo(found);
    if (error) return refuse(why, WEFT_ENOTFOUND, "%s: %s", address->host, gai_strerror(error));
    (void)snprintf(text, sizeof text, six ? "[%s]:%u" : "%s:%u", host, address->port);
    if (weft_addr_parse(text, address, NULL) < 0)
        return refuse(why, WEFT_EINVAL, "%s: cannot listen on %s", address->host, text);
    return 0;
}

/* C-core says no more than that it failed; the kernel is asked first, for its reason. */
static int try_bind(const weft_addr *address, char **why) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[8], text[WEFT_ADDR_TEXT];
    int on = 1, error = 0;
    (void)snprintf(port, sizeof port, "%u", address->port);
    if (getaddrinfo(address->host, port, &hints, &found) != 0) return 0;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 1) < 0)
        error = errno;
    if (fd >= 0) (void)close(fd);
    freeaddrinfo(found);
    if (!error) return 0;
    return refuse(why, error == EADDRINUSE ? WEFT_EBUSY : weft_error_from_errno(error), "%s: %s",
                  weft_addr_format(address, text), strerror(error));
}

static int check_tcp(weft_addr *address, bool unsafe, char **why) {
    char text[WEFT_ADDR_TEXT];
    if (address->kind == WEFT_ADDR_NAME) {
        int error = resolve(address, why);
        if (error < 0) return error;
    }
    if (!unsafe && !weft_addr_is_local(address))
        return refuse(
            why, WEFT_EINVAL,
            "%s: others could read along; listen on 127.0.0.1 or unix:/path, or ask for it "
            "with weft_server_unsafe_plaintext or --unsafe-plaintext",
            weft_addr_format(address, text));
    return try_bind(address, why);
}

int rpc_listen_check(const char *text, bool unsafe, weft_addr *out, char **why) {
    const char *wrong = NULL;
    if (weft_addr_parse(text, out, &wrong) < 0)
        return refuse(why, WEFT_EINVAL, "\"%s\" is not an address: %s", text ? text : "", wrong);
    if (out->kind == WEFT_ADDR_ABSTRACT) return 0;
    if (out->kind != WEFT_ADDR_UNIX) return check_tcp(out, unsafe, why);
    int error = check_directory(out->host, why);
    return error < 0 ? error : clear_stale(out->host, why);
}
