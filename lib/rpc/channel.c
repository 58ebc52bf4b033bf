/* Where a target leads: WEFT_UPSTREAM_<NAME>, an address, WEFT_OUTBOUND, in this order. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "weft/buf.h"
#include "weft/clock.h"

#define NAME_MAX_LEN 253u

/* Makes every call fail with this sentence. */
static void channel_fail(weft_channel *channel, const char *format, ...) WEFT_PRINTF(2, 3);
static void channel_fail(weft_channel *channel, const char *format, ...) {
    weft_buf text;
    va_list args;
    weft_buf_init(&text, 4096);
    va_start(args, format);
    (void)weft_buf_vprintf(&text, format, args);
    va_end(args);
    channel->error = weft_buf_detach(&text);
    weft_buf_free(&text);
}

/* "inventory" or "inventory.shop": DNS labels. A port, ignored, was taken off. */
static bool is_name(const char *text, size_t len) {
    if (!len || len > NAME_MAX_LEN || text[0] == '-' || text[0] == '.') return false;
    for (size_t i = 0; i < len; i++) {
        bool plain = isalnum((unsigned char)text[i]) || text[i] == '-' ||
                     (text[i] == '.' && text[i - 1] != '.');
        if (!plain) return false;
    }
    return text[len - 1] != '.' && text[len - 1] != '-';
}

static size_t name_len(const char *target) {
    const char *colon = strchr(target, ':');
    size_t len = colon ? (size_t)(colon - target) : strlen(target);
    if (colon && strspn(colon + 1, "0123456789") != strlen(colon + 1)) return 0;
    return is_name(target, len) ? len : 0;
}

static const char prefix[] = "WEFT_UPSTREAM_";

static void variable_of(const char *target, size_t len, char *out, size_t size) {
    size_t at = sizeof prefix - 1;
    memcpy(out, prefix, at);
    for (size_t i = 0; i < len && at + 1 < size; i++, at++)
        out[at] = isalnum((unsigned char)target[i]) ? (char)toupper((unsigned char)target[i]) : '_';
    out[at] = '\0';
}

typedef struct route {
    weft_addr address;
    char authority[WEFT_ADDR_TEXT];
} route;

static bool route_env(weft_channel *channel, const char *variable, const char *name, size_t len,
                      route *to) {
    const char *value = getenv(variable);
    const char *why = NULL;
    if (weft_addr_parse(value, &to->address, &why) < 0) {
        channel_fail(channel, "%s=%s is not an address: %s", variable, value, why);
        return false;
    }
    (void)snprintf(to->authority, sizeof to->authority, "%.*s", (int)len, name);
    return true;
}

/* gRPC's habit: "localhost" over unix sockets, else what was dialled. */
static void address_authority(route *to) {
    if (to->address.kind == WEFT_ADDR_UNIX || to->address.kind == WEFT_ADDR_ABSTRACT)
        (void)snprintf(to->authority, sizeof to->authority, "localhost");
    else
        (void)weft_addr_format(&to->address, to->authority);
}

static bool set_env(const char *variable) {
    const char *value = getenv(variable);
    return value && *value;
}

static bool resolve(weft_channel *channel, const char *target, route *to) {
    char variable[sizeof prefix + NAME_MAX_LEN];
    size_t len = name_len(target);
    variable_of(target, len, variable, sizeof variable);
    if (len && set_env(variable)) return route_env(channel, variable, target, len, to);
    const char *why = NULL;
    bool digits = len && target[len] == ':' && strspn(target, "0123456789") == len;
    if (!digits && weft_addr_parse(target, &to->address, &why) == 0) {
        address_authority(to);
        return true;
    }
    if (len && !target[len] && set_env("WEFT_OUTBOUND"))
        return route_env(channel, "WEFT_OUTBOUND", target, len, to);
    if (len && !target[len])
        channel_fail(
            channel,
            "no way to \"%s\": set %s, or WEFT_OUTBOUND, to an address, or dial an address "
            "(host:port, [v6]:port, unix:/path, unix-abstract:name)",
            target, variable);
    else
        channel_fail(channel, "\"%s\" is neither a service name nor an address: %s", target,
                     why ? why : "bad host");
    return false;
}

static void connect(weft_channel *channel, const char *target, const weft_dial_options *options) {
    const char *why = NULL;
    route to = {.authority = ""};
    channel->transport = rpc_transport(options->transport, &why);
    if (!channel->transport) {
        channel_fail(channel, "cannot dial \"%s\": %s", target, why);
        return;
    }
    if (options->tls && !channel->transport->has_tls) {
        channel_fail(channel, "cannot dial \"%s\": TLS is the native transport's: choose it",
                     target);
        return;
    }
    if (!resolve(channel, target, &to)) return;
    const tp_channel_options lower = {
        .address = to.address,
        .authority = options->authority ? options->authority : to.authority,
        .keepalive_ns = options->keepalive_ns > 0 ? options->keepalive_ns : 0,
        .max_reply = channel->max_reply,
        .max_metadata = options->max_metadata ? options->max_metadata : RPC_MAX_METADATA,
        .tls = options->tls,
    };
    channel->channel = channel->transport->channel_new(&lower);
    if (!channel->channel)
        channel_fail(channel, "cannot dial \"%s\": no memory or threads left", target);
}

/* Stands in when not even a channel could be allocated. */
static weft_channel no_channel = {.error = (char *)"no memory for a channel", .target = (char *)""};

weft_channel *weft_dial_with(const char *target, const weft_dial_options *options) {
    weft_dial_options known = {.size = sizeof known};
    if (options)
        memcpy(&known, options, options->size < sizeof known ? options->size : sizeof known);
    weft_channel *channel = weft_calloc(1, sizeof *channel);
    char *copy = weft_heap_strdup(target ? target : "");
    if (!channel || !copy) {
        weft_free(channel);
        weft_free(copy);
        return &no_channel;
    }
    channel->target = copy;
    channel->max_reply = known.max_reply ? known.max_reply : RPC_MAX_MESSAGE;
    if (target)
        connect(channel, target, &known);
    else
        channel_fail(channel, "weft_dial was given no target");
    return channel;
}

weft_channel *weft_dial(const char *target) { return weft_dial_with(target, NULL); }

void weft_channel_free(weft_channel *channel) {
    if (!channel || channel == &no_channel) return;
    if (channel->channel) channel->transport->channel_free(channel->channel);
    weft_free(channel->error);
    weft_free(channel->target);
    weft_free(channel);
}
