/* Addresses from and to text. */
#include "weft/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "weft/num.h"

#define SOCKET_NAME_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
#define HOST_NAME_MAX_LEN 253u
#define LABEL_MAX_LEN 63u

static int is_digit(char c) { return c >= '0' && c <= '9'; }

static int is_label_char(char c) {
    return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_';
}

static const char *parse_port(const char *text, uint16_t *port) {
    uint64_t number = 0;
    if (!*text) return "the port is missing after ':'";
    if (!is_digit(*text) || weft_parse_uint64(text, &number) == WEFT_EPARSE)
        return "the port must be a number";
    if (number > UINT16_MAX || strlen(text) > 5) return "the port must be between 0 and 65535";
    *port = (uint16_t)number;
    return NULL;
}

/* Checks a lower-case name of dot-separated labels, one dot at the end allowed. */
static const char *check_name(const char *name) {
    const size_t len = strlen(name);
    if (len > HOST_NAME_MAX_LEN + (len && name[len - 1] == '.'))
        return "a host name has at most 253 characters";
    size_t label = 0;
    int numeric = 1;
    for (const char *at = name;; at++) {
        if (*at == '.' || !*at) {
            if (!label && (*at || at == name)) return "the host name has an empty label";
            if (label && at[-1] == '-') return "a label of a host name cannot end with '-'";
            if (!*at || !at[1]) break;
            label = 0;
            numeric = 1;
            continue;
        }
        if (!is_label_char(*at)) return "the host name has a character that names cannot have";
        if (!label && *at == '-') return "a label of a host name cannot begin with '-'";
        if (!is_digit(*at)) numeric = 0;
        if (++label > LABEL_MAX_LEN) return "a label of a host name has at most 63 characters";
    }
    /* Resolvers read "1.2.3" and "127.1" as addresses, each in its own way. */
    return numeric ? "not an IPv4 address: write four numbers of 0 to 255" : NULL;
}

static const char *parse_ipv6(const char *text, weft_addr *addr) {
    struct in6_addr bytes;
    const char *close = strchr(text, ']');
    if (!close) return "']' is missing after the IPv6 address";
    const size_t len = (size_t)(close - text) - 1;
    char literal[INET6_ADDRSTRLEN];
    if (memchr(text, '%', len + 1)) return "IPv6 zones (%...) are not supported";
    if (len >= sizeof literal) return "not an IPv6 address between '[' and ']'";
    memcpy(literal, text + 1, len);
    literal[len] = '\0';
    if (inet_pton(AF_INET6, literal, &bytes) != 1) return "not an IPv6 address between '[' and ']'";
    if (close[1] != ':') return "a port must follow the address: write [address]:port";
    if (!inet_ntop(AF_INET6, &bytes, addr->host, sizeof addr->host)) return "not an IPv6 address";
    addr->kind = WEFT_ADDR_IPV6;
    return parse_port(close + 2, &addr->port);
}

static const char *parse_host(const char *text, weft_addr *addr) {
    struct in_addr bytes;
    const char *colon = strchr(text, ':');
    if (strstr(text, "://")) return "write host:port without a scheme";
    if (!colon) return "the port is missing: write host:port";
    if (strchr(colon + 1, ':')) return "write an IPv6 address in brackets: [address]:port";
    const size_t len = (size_t)(colon - text);
    if (!len)
        return "the host is missing: write 127.0.0.1:port, or 0.0.0.0:port to listen everywhere";
    if (len >= sizeof addr->host) return "a host name has at most 253 characters";
    for (size_t i = 0; i < len; i++)
        addr->host[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + ('a' - 'A') : text[i]);
    addr->host[len] = '\0';
    addr->kind = WEFT_ADDR_IPV4;
    if (inet_pton(AF_INET, addr->host, &bytes) != 1) {
        const char *why = check_name(addr->host);
        if (why) return why;
        addr->kind = WEFT_ADDR_NAME;
    }
    return parse_port(colon + 1, &addr->port);
}

static const char *parse_socket(const char *text, weft_addr_kind kind, weft_addr *addr) {
    if (kind == WEFT_ADDR_UNIX) {
        if (!*text) return "the path is missing: write unix:/path";
        if (*text != '/') return "the path of a unix socket must begin with '/'";
        if (!strncmp(text, "///", 3)) text += 2;
        if (!strncmp(text, "//", 2))
            return "write unix:/path; an authority (unix://host) has no use";
    } else if (!*text) {
        return "the name is missing: write unix-abstract:name";
    }
    const size_t len = strlen(text);
    if (len > SOCKET_NAME_MAX) return "the name of a unix socket has at most 107 bytes";
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
            return "the name of a unix socket has a control character";
    if (kind == WEFT_ADDR_UNIX && text[len - 1] == '/')
        return "the path of a unix socket must not end with '/'";
    memcpy(addr->host, text, len + 1);
    addr->kind = kind;
    return NULL;
}

int weft_addr_parse(const char *text, weft_addr *addr, const char **why) {
    weft_addr parsed = {0};
    const char *problem = NULL;
    if (!text || !*text)
        problem =
            "an address is missing: write host:port, [v6]:port, unix:/path or unix-abstract:name";
    else if (!strncmp(text, "unix:", 5))
        problem = parse_socket(text + 5, WEFT_ADDR_UNIX, &parsed);
    else if (!strncmp(text, "unix-abstract:", 14))
        problem = parse_socket(text + 14, WEFT_ADDR_ABSTRACT, &parsed);
    else if (*text == '[')
        problem = parse_ipv6(text, &parsed);
    else
        problem = parse_host(text, &parsed);
    if (problem) {
        if (why) *why = problem;
        return WEFT_EPARSE;
    }
    *addr = parsed;
    return 0;
}

char *weft_addr_format(const weft_addr *addr, char out[WEFT_ADDR_TEXT]) {
    switch (addr->kind) {
    case WEFT_ADDR_NAME:
    case WEFT_ADDR_IPV4:
        (void)snprintf(out, WEFT_ADDR_TEXT, "%s:%u", addr->host, (unsigned)addr->port);
        break;
    case WEFT_ADDR_IPV6:
        (void)snprintf(out, WEFT_ADDR_TEXT, "[%s]:%u", addr->host, (unsigned)addr->port);
        break;
    case WEFT_ADDR_UNIX:
        (void)snprintf(out, WEFT_ADDR_TEXT, "unix:%s", addr->host);
        break;
    case WEFT_ADDR_ABSTRACT:
        (void)snprintf(out, WEFT_ADDR_TEXT, "unix-abstract:%s", addr->host);
        break;
    case WEFT_ADDR_NONE:
        out[0] = '\0';
        break;
    }
    return out;
}

int weft_addr_equal(const weft_addr *a, const weft_addr *b) {
    return a->kind == b->kind && a->port == b->port && !strcmp(a->host, b->host);
}

int weft_addr_is_local(const weft_addr *addr) {
    struct in6_addr six;
    switch (addr->kind) {
    case WEFT_ADDR_UNIX:
    case WEFT_ADDR_ABSTRACT:
        return 1;
    case WEFT_ADDR_IPV4:
        return !strncmp(addr->host, "127.", 4);
    case WEFT_ADDR_IPV6:
        if (inet_pton(AF_INET6, addr->host, &six) != 1) return 0;
        if (IN6_IS_ADDR_LOOPBACK(&six)) return 1;
        return IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127;
    case WEFT_ADDR_NAME:
    case WEFT_ADDR_NONE:
        break;
    }
    return 0;
}
