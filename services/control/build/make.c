/* Messages and what they are made of. */
#include "services/control/build/make.h"

#include <stdarg.h>
#include <string.h>

#include "envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"
#include "weft/addr.h"
#include "weft/clock.h"
#include "weft/store_revisions.h"

void *make_alloc(make *m, size_t count, size_t size) {
    void *p = weft_arena_calloc(m->arena, count ? count : 1, size);
    if (!p) m->rc = WEFT_ENOMEM;
    return p;
}

char *make_text(make *m, const char *format, ...) {
    static char nothing[1];
    va_list args;
    va_start(args, format);
    char *text = weft_arena_vprintf(m->arena, format, args);
    va_end(args);
    if (!text) m->rc = WEFT_ENOMEM;
    return text ? text : nothing;
}

char *make_copy(make *m, const char *text) { return make_text(m, "%s", text); }

void *make_message(make *m, const ProtobufCMessageDescriptor *type) {
    ProtobufCMessage *message = weft_message_new(m->arena, type);
    if (message) return message;
    m->rc = WEFT_ENOMEM;
    memset(m->spare, 0, MAKE_SPARE);
    return m->spare;
}

void *make_list(make *m, void *element) {
    void **list = weft_arena_alloc(m->arena, sizeof *list);
    if (!list) {
        m->rc = WEFT_ENOMEM;
        return m->spare;
    }
    *list = element;
    return list;
}

Google__Protobuf__Duration *make_duration(make *m, int64_t ns) {
    MAKE(m, Google__Protobuf__Duration, d, google__protobuf__duration);
    d->seconds = ns / WEFT_NS_PER_S;
    d->nanos = (int32_t)(ns % WEFT_NS_PER_S);
    return d;
}

Google__Protobuf__UInt32Value *make_u32(make *m, uint32_t value) {
    MAKE(m, Google__Protobuf__UInt32Value, v, google__protobuf__uint32_value);
    v->value = value;
    return v;
}

Google__Protobuf__Any *make_any(make *m, const void *message) {
    MAKE(m, Google__Protobuf__Any, any, google__protobuf__any);
    const ProtobufCMessage *held = message;
    size_t len = 0;
    uint8_t *bytes = m->rc ? NULL : weft_pack(m->arena, held, &len);
    if (!bytes) {
        m->rc = m->rc ? m->rc : WEFT_ENOMEM;
        return any;
    }
    any->type_url = make_text(m, "type.googleapis.com/%s", held->descriptor->name);
    any->value = (ProtobufCBinaryData){.data = bytes, .len = len};
    return any;
}

EnvoyCore__ConfigSource *make_ads(make *m) {
    MAKE(m, EnvoyCore__ConfigSource, source, envoy_core__config_source);
    MAKE(m, EnvoyCore__AggregatedConfigSource, ads, envoy_core__aggregated_config_source);
    source->config_source_specifier_case = ENVOY_CORE__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_ADS;
    source->ads = ads;
    return source;
}

EnvoyCore__Address *make_address(make *m, const char *text, const char **why) {
    weft_addr addr;
    const char *reason = "";
    if (weft_addr_parse(text, &addr, &reason)) {
        *why = make_text(m, "\"%.200s\": %s", text, reason);
        return NULL;
    }
    MAKE(m, EnvoyCore__Address, out, envoy_core__address);
    if (addr.kind == WEFT_ADDR_UNIX || addr.kind == WEFT_ADDR_ABSTRACT) {
        MAKE(m, EnvoyCore__Pipe, pipe, envoy_core__pipe);
        pipe->path = make_text(m, "%s%s", addr.kind == WEFT_ADDR_ABSTRACT ? "@" : "", addr.host);
        out->address_case = ENVOY_CORE__ADDRESS__ADDRESS_PIPE;
        out->pipe = pipe;
        return out;
    }
    MAKE(m, EnvoyCore__SocketAddress, socket, envoy_core__socket_address);
    socket->address = make_copy(m, addr.host);
    socket->port_specifier_case = ENVOY_CORE__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE;
    socket->port_value = addr.port;
    out->address_case = ENVOY_CORE__ADDRESS__ADDRESS_SOCKET_ADDRESS;
    out->socket_address = socket;
    return out;
}

/* ---- TLS */

bool make_has_tls(const make *m) {
    return (*m->node->cert_file && *m->node->key_file && *m->node->ca_file) ||
           *m->node->tls_instance;
}

static EnvoyCore__DataSource *file_source(make *m, const char *name) {
    MAKE(m, EnvoyCore__DataSource, source, envoy_core__data_source);
    source->specifier_case = ENVOY_CORE__DATA_SOURCE__SPECIFIER_FILENAME;
    source->filename = make_copy(m, name);
    return source;
}

static EnvoyTls__CertificateProviderPluginInstance *provider(make *m) {
    MAKE(m, EnvoyTls__CertificateProviderPluginInstance, p,
         envoy_tls__certificate_provider_plugin_instance);
    p->instance_name = make_copy(m, m->node->tls_instance);
    return p;
}

/* gRPC knows the older list of matchers only; ours reads both, Envoy prefers the typed one. */
static void name_peer(make *m, EnvoyTls__CertificateValidationContext *context, const char *id) {
    MAKE(m, EnvoyMatcher__StringMatcher, matcher, envoy_matcher__string_matcher);
    if (id) {
        matcher->match_pattern_case = ENVOY_MATCHER__STRING_MATCHER__MATCH_PATTERN_EXACT;
        matcher->exact = make_copy(m, id);
    } else {
        matcher->match_pattern_case = ENVOY_MATCHER__STRING_MATCHER__MATCH_PATTERN_PREFIX;
        matcher->prefix = make_text(m, "spiffe://%s/", model_trust_domain(m->set));
    }
    if (m->node->kind == CONTROL_NODE_GRPC) {
        context->n_match_subject_alt_names = 1;
        context->match_subject_alt_names = make_list(m, matcher);
        return;
    }
    MAKE(m, EnvoyTls__SubjectAltNameMatcher, typed, envoy_tls__subject_alt_name_matcher);
    typed->san_type = ENVOY_TLS__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__URI;
    typed->matcher = matcher;
    context->n_match_typed_subject_alt_names = 1;
    context->match_typed_subject_alt_names = make_list(m, typed);
}

static EnvoyTls__CommonTlsContext *common_tls(make *m, const char *id) {
    MAKE(m, EnvoyTls__CommonTlsContext, common, envoy_tls__common_tls_context);
    MAKE(m, EnvoyTls__CertificateValidationContext, context,
         envoy_tls__certificate_validation_context);
    if (*m->node->cert_file) {
        MAKE(m, EnvoyTls__TlsCertificate, cert, envoy_tls__tls_certificate);
        cert->certificate_chain = file_source(m, m->node->cert_file);
        cert->private_key = file_source(m, m->node->key_file);
        common->n_tls_certificates = 1;
        common->tls_certificates = make_list(m, cert);
        context->trusted_ca = file_source(m, m->node->ca_file);
    } else {
        common->tls_certificate_provider_instance = provider(m);
        context->ca_certificate_provider_instance = provider(m);
    }
    name_peer(m, context, id);
    common->validation_context_type_case =
        ENVOY_TLS__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_VALIDATION_CONTEXT;
    common->validation_context = context;
    return common;
}

EnvoyCore__TransportSocket *make_tls(make *m, bool server, const char *id, const char *sni) {
    MAKE(m, EnvoyCore__TransportSocket, socket, envoy_core__transport_socket);
    socket->name = make_copy(m, "envoy.transport_sockets.tls");
    socket->config_type_case = ENVOY_CORE__TRANSPORT_SOCKET__CONFIG_TYPE_TYPED_CONFIG;
    if (server) {
        MAKE(m, EnvoyTls__DownstreamTlsContext, down, envoy_tls__downstream_tls_context);
        MAKE(m, Google__Protobuf__BoolValue, yes, google__protobuf__bool_value);
        yes->value = true;
        down->require_client_certificate = yes;
        down->common_tls_context = common_tls(m, id);
        socket->typed_config = make_any(m, down);
    } else {
        MAKE(m, EnvoyTls__UpstreamTlsContext, up, envoy_tls__upstream_tls_context);
        up->common_tls_context = common_tls(m, id);
        up->sni = make_copy(m, sni);
        socket->typed_config = make_any(m, up);
    }
    return socket;
}

/* ---- output */

static void version_of(const void *data, size_t len, char out[CONTROL_VERSION_TEXT]) {
    char id[WEFT_BLOB_ID];
    weft_blob_id(data, len, id);
    memcpy(out, id, CONTROL_VERSION_TEXT - 1);
    out[CONTROL_VERSION_TEXT - 1] = '\0';
}

void make_add(make *m, control_xds_type type, const char *name, const void *message) {
    control_resource *list = m->items[type];
    size_t len = 0;
    uint8_t *bytes = m->rc ? NULL : weft_pack(m->arena, message, &len);
    if (!bytes) {
        m->rc = m->rc ? m->rc : WEFT_ENOMEM;
        return;
    }
    if (m->counts[type] == m->rooms[type]) {
        const size_t room = m->rooms[type] ? m->rooms[type] * 2 : 16;
        control_resource *more = make_alloc(m, room, sizeof *more);
        if (room > 2 * CONTROL_RESOURCES_MAX) m->rc = WEFT_ELIMIT;
        if (!more || m->rc) return;
        if (m->counts[type]) memcpy(more, list, m->counts[type] * sizeof *more);
        m->items[type] = list = more;
        m->rooms[type] = room;
    }
    control_resource *one = &list[m->counts[type]++];
    *one = (control_resource){.name = name, .value = bytes, .value_len = len};
    version_of(bytes, len, one->version);
}
