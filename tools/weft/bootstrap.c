#include "tools/weft/bootstrap.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define HCM                                                      \
    "type.googleapis.com/envoy.extensions.filters.network.http_" \
    "connection_manager.v3.HttpConnectionManager"
#define ROUTER "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
#define TLS "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
#define HTTP_OPTIONS "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
#define POLICIES "type.googleapis.com/envoy.extensions.load_balancing_policies."

/* A line, indented. Whatever comes from outside goes through quoted(). */
static void line(weft_buf *out, int indent, const char *format, ...) WEFT_PRINTF(3, 4);
static void line(weft_buf *out, int indent, const char *format, ...) {
    weft_buf_printf(out, "%*s", indent, "");
    va_list args;
    va_start(args, format);
    weft_buf_vprintf(out, format, args);
    va_end(args);
    weft_buf_addc(out, '\n');
}

static void quoted(weft_buf *out, const char *before, const char *text, const char *after) {
    weft_buf_adds(out, before);
    weft_buf_addc(out, '"');
    weft_buf_add_json(out, text, strlen(text));
    weft_buf_addc(out, '"');
    weft_buf_adds(out, after);
}

/* "{pipe: …}" or "{socket_address: …}" */
static void address(weft_buf *out, const weft_addr *addr) {
    char text[WEFT_ADDR_TEXT];
    switch (addr->kind) {
    case WEFT_ADDR_UNIX:
        quoted(out, "{pipe: {path: ", addr->host, "}}");
        return;
    case WEFT_ADDR_ABSTRACT:
        (void)snprintf(text, sizeof text, "@%s", addr->host);
        quoted(out, "{pipe: {path: ", text, "}}");
        return;
    default:
        quoted(out, "{socket_address: {address: ", addr->host, "");
        weft_buf_printf(out, ", port_value: %u}}", addr->port);
    }
}

static weft_addr socket_of(const char *path) {
    weft_addr addr = {.kind = WEFT_ADDR_UNIX};
    (void)snprintf(addr.host, sizeof addr.host, "%s", path);
    return addr;
}

/* ---- TLS -------------------------------------------------------------------------------------------- */

/* `id`: exactly this one; else anyone of the domain. */
static void tls_common(weft_buf *out, int in, const bootstrap *what, const char *id) {
    char domain[300];
    line(out, in, "common_tls_context:");
    line(out, in, "  tls_certificates:");
    weft_buf_printf(out, "%*s  - certificate_chain: ", in, "");
    quoted(out, "{filename: ", what->cert_file, "}\n");
    weft_buf_printf(out, "%*s    private_key: ", in, "");
    quoted(out, "{filename: ", what->key_file, "}\n");
    line(out, in, "  validation_context:");
    weft_buf_printf(out, "%*s    trusted_ca: ", in, "");
    quoted(out, "{filename: ", what->ca_file, "}\n");
    line(out, in, "    match_typed_subject_alt_names:");
    (void)snprintf(domain, sizeof domain, "spiffe://%s/", what->domain);
    weft_buf_printf(out, "%*s    - {san_type: URI, matcher: ", in, "");
    quoted(out, id ? "{exact: " : "{prefix: ", id ? id : domain, "}}\n");
}

/* ---- listeners -------------------------------------------------------------------------------------- */

static void listener_begin(weft_buf *out, const char *name, const char *direction,
                           const weft_addr *addr) {
    quoted(out, "  - name: ", name, "\n");
    line(out, 4, "traffic_direction: %s", direction);
    weft_buf_adds(out, "    address: ");
    address(out, addr);
    weft_buf_addc(out, '\n');
    line(out, 4, "filter_chains:");
}

static void filters_begin(weft_buf *out, const char *name) {
    line(out, 6, "filters:");
    line(out, 6, "- name: http");
    line(out, 8, "typed_config:");
    line(out, 8, "  \"@type\": " HCM);
    quoted(out, "          stat_prefix: ", name, "\n");
    line(out, 8, "  codec_type: HTTP2");
    line(out, 8, "  route_config:");
    quoted(out, "            name: ", name, "\n");
    line(out, 8, "    virtual_hosts:");
}

/* Deadlines are the callers': no timeout of our own. */
static void virtual_host(weft_buf *out, const char *name, const char *domains,
                         const char *cluster) {
    quoted(out, "            - name: ", name, "\n");
    line(out, 14, "domains: [%s]", domains);
    line(out, 14, "routes:");
    line(out, 14, "- match: {prefix: /}");
    quoted(out, "                route: {cluster: ", cluster, ", timeout: 0s}\n");
}

static void filters_end(weft_buf *out) {
    line(out, 8, "  http_filters:");
    line(out, 8, "  - name: router");
    line(out, 8, "    typed_config: {\"@type\": " ROUTER "}");
}

static void inbound(weft_buf *out, const bootstrap *what) {
    listener_begin(out, "inbound", "INBOUND", what->inbound);
    line(out, 4, "- transport_socket:");
    line(out, 8, "name: tls");
    line(out, 8, "typed_config:");
    line(out, 8, "  \"@type\": " TLS "DownstreamTlsContext");
    line(out, 8, "  require_client_certificate: true");
    tls_common(out, 10, what, NULL);
    filters_begin(out, "inbound");
    virtual_host(out, what->service, "\"*\"", BOOTSTRAP_APP);
    filters_end(out);
}

static void full_name(const bootstrap *what, const char *service, char out[160]) {
    (void)snprintf(out, 160, "%.63s.%.63s", service, what->name_space);
}

static void outbound(weft_buf *out, const bootstrap *what) {
    const weft_addr addr = socket_of(what->outbound);
    listener_begin(out, "outbound", "OUTBOUND", &addr);
    line(out, 4, "- name: http");
    filters_begin(out, "outbound");
    for (size_t i = 0; i < what->peer_count; i++) {
        char cluster[160], domains[330];
        full_name(what, what->peers[i].service, cluster);
        (void)snprintf(domains, sizeof domains, "%.63s, %s", what->peers[i].service, cluster);
        virtual_host(out, what->peers[i].service, domains, cluster);
    }
    filters_end(out);
}

/* For clients that know nothing of names: whoever comes in here means this service. */
static void outbound_one(weft_buf *out, const bootstrap *what, const bootstrap_peer *peer) {
    char cluster[160], name[180];
    const weft_addr addr = socket_of(peer->listen);
    full_name(what, peer->service, cluster);
    (void)snprintf(name, sizeof name, "outbound-%.63s", peer->service);
    listener_begin(out, name, "OUTBOUND", &addr);
    line(out, 4, "- name: http");
    filters_begin(out, name);
    virtual_host(out, peer->service, "\"*\"", cluster);
    filters_end(out);
}

/* ---- clusters --------------------------------------------------------------------------------------- */

static void cluster_begin(weft_buf *out, const char *name, bool names) {
    quoted(out, "  - name: ", name, "\n");
    line(out, 4, "type: %s", names ? "STRICT_DNS" : "STATIC");
    line(out, 4, "connect_timeout: 1s");
    line(out, 4, "lb_policy: LOAD_BALANCING_POLICY_CONFIG");
    line(out, 4, "load_balancing_policy:");
    line(out, 4, "  policies:");
    line(out, 4, "  - typed_extension_config:");
    line(out, 4, "      name: weft.peak_ewma");
    line(out, 4, "      typed_config: {\"@type\": type.googleapis.com/weft.sidecar.v1.PeakEwma}");
    line(out, 4, "  - typed_extension_config:");
    line(out, 4, "      name: envoy.load_balancing_policies.round_robin");
    line(out, 4, "      typed_config: {\"@type\": " POLICIES "round_robin.v3.RoundRobin}");
    line(out, 4, "typed_extension_protocol_options:");
    line(out, 4, "  " HTTP_OPTIONS ":");
    line(out, 4, "    \"@type\": type.googleapis.com/" HTTP_OPTIONS);
    line(out, 4, "    explicit_http_config: {http2_protocol_options: {}}");
}

static void endpoints(weft_buf *out, const char *name, const weft_addr *list, size_t count) {
    line(out, 4, "load_assignment:");
    quoted(out, "      cluster_name: ", name, "\n");
    line(out, 4, "  endpoints:");
    line(out, 4, "  - lb_endpoints:");
    for (size_t i = 0; i < count; i++) {
        weft_buf_adds(out, "        - endpoint: {address: ");
        address(out, &list[i]);
        weft_buf_adds(out, "}\n");
    }
}

static void peer_cluster(weft_buf *out, const bootstrap *what, const bootstrap_peer *peer) {
    char name[160];
    full_name(what, peer->service, name);
    cluster_begin(out, name, false);
    line(out, 4, "transport_socket:");
    line(out, 4, "  name: tls");
    line(out, 4, "  typed_config:");
    line(out, 4, "    \"@type\": " TLS "UpstreamTlsContext");
    quoted(out, "        sni: ", name, "\n");
    tls_common(out, 8, what, peer->id);
    endpoints(out, name, peer->endpoints, peer->endpoint_count);
}

int bootstrap_write(const bootstrap *what, weft_buf *out) {
    char cluster[160];
    full_name(what, what->service, cluster);
    line(out, 0, "# Written by weft; a sidecar of %s.", cluster);
    line(out, 0, "node:");
    quoted(out, "  id: ", what->node, "\n");
    quoted(out, "  cluster: ", cluster, "\n");
    line(out, 0, "admin:");
    const weft_addr admin = socket_of(what->admin);
    weft_buf_adds(out, "  address: ");
    address(out, &admin);
    line(out, 0, "\nstatic_resources:");
    line(out, 0, "  listeners:");
    if (what->inbound) inbound(out, what);
    if (what->peer_count) outbound(out, what);
    for (size_t i = 0; i < what->peer_count; i++)
        if (what->peers[i].listen) outbound_one(out, what, &what->peers[i]);
    line(out, 0, "  clusters:");
    if (what->inbound) {
        cluster_begin(out, BOOTSTRAP_APP, what->app->kind == WEFT_ADDR_NAME);
        endpoints(out, BOOTSTRAP_APP, what->app, 1);
    }
    for (size_t i = 0; i < what->peer_count; i++) peer_cluster(out, what, &what->peers[i]);
    return out->error;
}
