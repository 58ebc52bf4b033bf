#include <string.h>

#include "sidecar/config/build.h"

static bool take_pipe(config_build *b, const EnvoyCore__Pipe *from, weft_addr *out,
                      uint32_t *mode) {
    const bool abstract = *from->path == '@';
    const char *why = "";
    if (!*from->path) return build_missing(b, "path", NULL);
    const char *text = abstract ? weft_arena_printf(b->scratch, "unix-abstract:%s", from->path + 1)
                                : weft_arena_printf(b->scratch, "unix:%s", from->path);
    if (!text || weft_addr_parse(text, out, &why)) return build_wrong(b, "path", NULL, "%s", why);
    if (from->mode > 0777) return build_wrong(b, "mode", NULL, "must be at most 511 (0777)");
    if (from->mode && abstract)
        return build_wrong(b, "mode", "remove it", "an abstract socket has no permissions");
    if (mode) *mode = from->mode;
    return true;
}

static bool take_socket(config_build *b, const EnvoyCore__SocketAddress *from, bool names,
                        bool listen, weft_addr *out) {
    const char *why = "";
    if (from->protocol != ENVOY_CORE__SOCKET_ADDRESS__PROTOCOL__TCP)
        return build_wrong(b, "protocol", "TCP is", "not supported");
    if (from->port_specifier_case == ENVOY_CORE__SOCKET_ADDRESS__PORT_SPECIFIER_NAMED_PORT)
        return build_unsupported(b, "named_port", "give port_value");
    if (from->port_specifier_case != ENVOY_CORE__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE)
        return build_missing(b, "port_value", NULL);
    const uint32_t port = from->port_value;
    if (port > 65535 || (!port && !listen))
        return build_wrong(b, "port_value", NULL, "must be from %d to 65535, not %u",
                           listen ? 0 : 1, port);
    if (!*from->address) return build_missing(b, "address", NULL);
    const bool v6 = strchr(from->address, ':') != NULL;
    const char *text = weft_arena_printf(b->scratch, v6 ? "[%s]:%u" : "%s:%u", from->address, port);
    if (!text || weft_addr_parse(text, out, &why))
        return build_wrong(b, "address", NULL, "\"%.100s\": %s", from->address, why);
    if (out->kind != WEFT_ADDR_NAME || names) return true;
    return build_wrong(b, "address",
                       listen ? "an IPv4 or IPv6 address" : "an IP address, or type STRICT_DNS",
                       "\"%.100s\" is a name, not an address", from->address);
}

bool build_address(config_build *b, const char *field, const EnvoyCore__Address *from, bool names,
                   bool listen, weft_addr *out, uint32_t *mode) {
    bool good = false;
    if (!from || from->address_case == ENVOY_CORE__ADDRESS__ADDRESS__NOT_SET)
        return build_missing(b, field, "socket_address or pipe");
    build_in(b, field);
    switch (from->address_case) {
    case ENVOY_CORE__ADDRESS__ADDRESS_SOCKET_ADDRESS:
        build_in(b, "socket_address");
        good = take_socket(b, from->socket_address, names, listen, out);
        build_up(b);
        break;
    case ENVOY_CORE__ADDRESS__ADDRESS_PIPE:
        build_in(b, "pipe");
        good = take_pipe(b, from->pipe, out, mode);
        build_up(b);
        break;
    default:
        build_unsupported(b, "envoy_internal_address", "socket_address and pipe are");
    }
    build_up(b);
    return good;
}

void build_check_plaintext(config_build *b, const char *field, const weft_addr *address,
                           const char *hint) {
    char text[WEFT_ADDR_TEXT];
    if (weft_addr_is_local(address) || (b->options && b->options->unsafe_plaintext)) return;
    build_wrong(b, field, hint, "plaintext could leave this machine at %s",
                weft_addr_format(address, text));
}
