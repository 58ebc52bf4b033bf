/* Transport sockets. Whatever is not understood here is refused: a rule that is skipped lets someone
 * in. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"
#include "sidecar/config/build.h"

/* The file of a source at `field`, which must be one that can be read. NULL, and reported, if not.
 */
static const char *take_file(config_build *b, const char *field,
                             const EnvoyCore__DataSource *from) {
    struct stat info;
    if (!from || from->specifier_case == ENVOY_CORE__DATA_SOURCE__SPECIFIER__NOT_SET) {
        build_missing(b, field, "filename: a PEM file");
        return NULL;
    }
    build_in(b, field);
    const char *name = NULL;
    if (from->specifier_case != ENVOY_CORE__DATA_SOURCE__SPECIFIER_FILENAME)
        build_wrong(b, "", "filename is",
                    "only files are supported: keys do not belong into configurations");
    else if (!*from->filename)
        build_missing(b, "filename", NULL);
    else if (b->options && b->options->skip_files)
        name = build_copy(b, from->filename);
    else if (stat(from->filename, &info))
        build_wrong(b, "filename", NULL, "there is no file \"%.300s\"", from->filename);
    else if (!S_ISREG(info.st_mode))
        build_wrong(b, "filename", NULL, "\"%.300s\" is not a file", from->filename);
    else if (access(from->filename, R_OK))
        build_wrong(b, "filename", "check owner and mode", "\"%.300s\" cannot be read",
                    from->filename);
    else
        name = build_copy(b, from->filename);
    build_up(b);
    return name;
}

/* ---- whom to accept */

typedef struct names {
    config_build *b;
    config_tls *tls;
    const char **ids, **dns; /* with room for all */
} names;

/* "spiffe://<domain>/" as prefix is a trust domain. */
static const char *domain_of(config_build *b, const char *prefix) {
    static const char scheme[] = "spiffe://";
    if (strncmp(prefix, scheme, sizeof scheme - 1) != 0) return NULL;
    const char *domain = prefix + sizeof scheme - 1;
    const char *slash = strchr(domain, '/');
    if (!slash || slash == domain || slash[1]) return NULL;
    return weft_arena_strndup(b->arena, domain, (size_t)(slash - domain));
}

static void take_uri(names *n, const EnvoyMatcher__StringMatcher *m) {
    config_build *b = n->b;
    if (m->match_pattern_case == ENVOY_MATCHER__STRING_MATCHER__MATCH_PATTERN_EXACT) {
        n->ids[n->tls->id_count++] = build_copy(b, m->exact);
        return;
    }
    const char *domain = domain_of(b, m->prefix);
    if (!domain)
        build_wrong(b, "prefix", "write \"spiffe://<trust domain>/\"",
                    "only a whole trust domain may be a prefix");
    else if (n->tls->domain && strcmp(n->tls->domain, domain) != 0)
        build_wrong(b, "prefix", NULL, "a second trust domain is not supported");
    else
        n->tls->domain = domain;
}

static void take_matcher(names *n, const EnvoyMatcher__StringMatcher *m, bool uri) {
    config_build *b = n->b;
    const char *text = NULL;
    if (m->match_pattern_case == ENVOY_MATCHER__STRING_MATCHER__MATCH_PATTERN_EXACT)
        text = m->exact;
    else if (m->match_pattern_case == ENVOY_MATCHER__STRING_MATCHER__MATCH_PATTERN_PREFIX && uri)
        text = m->prefix;
    if (m->match_pattern_case == ENVOY_MATCHER__STRING_MATCHER__MATCH_PATTERN__NOT_SET)
        build_missing(b, "exact", NULL);
    else if (!text)
        build_unsupported(b, "", "exact is, and for URIs prefix: \"spiffe://<trust domain>/\"");
    else if (!*text)
        build_wrong(b, "", NULL, "is empty: it would match anyone");
    else if (m->ignore_case)
        build_wrong(b, "ignore_case", "remove it", "names of peers are compared as they are");
    else if (uri)
        take_uri(n, m);
    else
        n->dns[n->tls->dns_count++] = build_copy(b, text);
}

static void take_typed(names *n, const EnvoyTls__SubjectAltNameMatcher *from) {
    config_build *b = n->b;
    const bool uri = from->san_type == ENVOY_TLS__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__URI;
    if (!uri && from->san_type != ENVOY_TLS__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__DNS)
        build_wrong(b, "san_type", "URI and DNS are", "not supported");
    else if (!from->matcher)
        build_missing(b, "matcher", NULL);
    else {
        build_in(b, "matcher");
        take_matcher(n, from->matcher, uri);
        build_up(b);
    }
}

static bool says_spiffe(const EnvoyMatcher__StringMatcher *m) {
    const bool exact = m->match_pattern_case == ENVOY_MATCHER__STRING_MATCHER__MATCH_PATTERN_EXACT;
    if (!exact && m->match_pattern_case != ENVOY_MATCHER__STRING_MATCHER__MATCH_PATTERN_PREFIX)
        return false;
    return !strncmp(exact ? m->exact : m->prefix, "spiffe://", 9);
}

static void take_names(config_build *b, const EnvoyTls__CertificateValidationContext *from,
                       config_tls *tls) {
    const size_t room = from->n_match_typed_subject_alt_names + from->n_match_subject_alt_names;
    names n = {.b = b, .tls = tls};
    n.ids = build_alloc(b, room, sizeof *n.ids);
    n.dns = build_alloc(b, room, sizeof *n.dns);
    if (!n.ids || !n.dns) return;
    for (size_t i = 0; i < from->n_match_typed_subject_alt_names; i++) {
        build_at(b, "match_typed_subject_alt_names", i);
        take_typed(&n, from->match_typed_subject_alt_names[i]);
        build_up(b);
    }
    for (size_t i = 0; i < from->n_match_subject_alt_names; i++) {
        build_at(b, "match_subject_alt_names", i);
        take_matcher(&n, from->match_subject_alt_names[i],
                     says_spiffe(from->match_subject_alt_names[i]));
        build_up(b);
    }
    tls->ids = n.ids;
    tls->dns = n.dns;
    for (size_t i = 0; tls->domain && i < tls->id_count; i++) {
        const size_t len = strlen(tls->domain);
        if (strncmp(tls->ids[i], "spiffe://", 9) != 0 ||
            strncmp(tls->ids[i] + 9, tls->domain, len) != 0 || tls->ids[i][9 + len] != '/')
            build_wrong(b, "match_typed_subject_alt_names", NULL,
                        "\"%.200s\" is not in the trust domain \"%.200s\" also asked for",
                        tls->ids[i], tls->domain);
    }
}

/* ---- common */

static void take_params(config_build *b, const EnvoyTls__TlsParameters *from) {
    typedef EnvoyTls__TlsParameters__TlsProtocol version;
    const version best = ENVOY_TLS__TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_3;
    if (!from) return;
    if ((unsigned)from->tls_minimum_protocol_version > best)
        build_unsupported(b, "tls_params.tls_minimum_protocol_version", "TLSv1_3");
    if (from->tls_maximum_protocol_version && from->tls_maximum_protocol_version != best)
        build_wrong(b, "tls_params.tls_maximum_protocol_version", "TLSv1_3, or remove it",
                    "nothing below TLS 1.3 is spoken");
}

static void take_certificates(config_build *b, const EnvoyTls__CommonTlsContext *from,
                              config_tls *tls) {
    if (from->n_tls_certificate_sds_secret_configs)
        build_unsupported(b, "tls_certificate_sds_secret_configs", "tls_certificates is");
    if (from->tls_certificate_provider_instance)
        build_unsupported(b, "tls_certificate_provider_instance", "tls_certificates is");
    if (from->n_tls_certificates > 1)
        build_wrong(b, "tls_certificates[1]", "one is", "several certificates are not supported");
    if (!from->n_tls_certificates) {
        if (tls->server && !from->n_tls_certificate_sds_secret_configs)
            build_missing(b, "tls_certificates", "a server needs one");
        return;
    }
    build_at(b, "tls_certificates", 0);
    tls->cert_file =
        take_file(b, "certificate_chain", from->tls_certificates[0]->certificate_chain);
    tls->key_file = take_file(b, "private_key", from->tls_certificates[0]->private_key);
    build_up(b);
}

/* Returns whether there is a validation context. */
static bool take_validation(config_build *b, const EnvoyTls__CommonTlsContext *from,
                            config_tls *tls) {
    static const char *const arms[] = {
        [7] = "validation_context_sds_secret_config",
        [8] = "combined_validation_context",
        [10] = "validation_context_certificate_provider",
        [12] = "validation_context_certificate_provider_instance",
    };
    const unsigned arm = (unsigned)from->validation_context_type_case;
    if (!arm) return false;
    if (arm != ENVOY_TLS__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_VALIDATION_CONTEXT) {
        build_unsupported(b, arms[arm], "validation_context is");
        return true;
    }
    build_in(b, "validation_context");
    if (from->validation_context->ca_certificate_provider_instance)
        build_unsupported(b, "ca_certificate_provider_instance", "trusted_ca is");
    tls->ca_file = take_file(b, "trusted_ca", from->validation_context->trusted_ca);
    take_names(b, from->validation_context, tls);
    build_up(b);
    return true;
}

/* Returns whether there is a validation context. */
static bool take_common(config_build *b, const EnvoyTls__CommonTlsContext *from, config_tls *tls) {
    take_params(b, from->tls_params);
    take_certificates(b, from, tls);
    for (size_t i = 0; i < from->n_alpn_protocols; i++) {
        build_at(b, "alpn_protocols", i);
        if (strcmp(from->alpn_protocols[i], "h2") != 0)
            build_wrong(b, "", "h2 is", "\"%.60s\" is not supported", from->alpn_protocols[i]);
        build_up(b);
    }
    return take_validation(b, from, tls);
}

static void take_server(config_build *b, const EnvoyTls__DownstreamTlsContext *from,
                        config_tls *tls) {
    if (!from->common_tls_context) {
        build_missing(b, "common_tls_context", NULL);
        return;
    }
    tls->require_peer = from->require_client_certificate && from->require_client_certificate->value;
    build_in(b, "common_tls_context");
    const bool validated = take_common(b, from->common_tls_context, tls);
    build_up(b);
    if (tls->require_peer && !validated)
        build_missing(b, "common_tls_context.validation_context",
                      "require_client_certificate needs trusted_ca to judge by");
    if (!tls->require_peer && validated)
        build_wrong(b, "common_tls_context.validation_context",
                    "require_client_certificate: true, or remove it",
                    "has no effect: no client certificate is asked for");
}

static void take_client(config_build *b, const EnvoyTls__UpstreamTlsContext *from,
                        config_tls *tls) {
    const char *const where = "common_tls_context.validation_context";
    if (!from->common_tls_context) {
        build_missing(b, "common_tls_context", NULL);
        return;
    }
    if (*from->sni) tls->server_name = build_copy(b, from->sni);
    tls->require_peer = true;
    build_in(b, "common_tls_context");
    const int before = b->rc;
    const bool validated = take_common(b, from->common_tls_context, tls);
    build_up(b);
    if (!validated) {
        build_missing(b, where, "without trusted_ca anyone could answer");
        return;
    }
    if (tls->id_count || tls->dns_count || tls->domain || b->rc != before) return;
    if (!tls->server_name) {
        build_wrong(b, where, "add match_typed_subject_alt_names or sni",
                    "names no peer: any certificate under trusted_ca would do");
        return;
    }
    const char **dns = build_alloc(b, 1, sizeof *dns);
    if (!dns) return;
    dns[0] = tls->server_name;
    tls->dns = dns;
    tls->dns_count = 1;
}

const config_tls *build_tls(config_build *b, const EnvoyCore__TransportSocket *socket,
                            bool server) {
    config_tls *tls = build_alloc(b, 1, sizeof *tls);
    if (!tls) return NULL;
    tls->server = server;
    build_in(b, "transport_socket");
    if (socket->config_type_case != ENVOY_CORE__TRANSPORT_SOCKET__CONFIG_TYPE_TYPED_CONFIG) {
        build_missing(b, "typed_config", NULL);
    } else {
        const ProtobufCMessageDescriptor *type =
            server ? &envoy_tls__downstream_tls_context__descriptor
                   : &envoy_tls__upstream_tls_context__descriptor;
        ProtobufCMessage *held = build_any(b, "typed_config", socket->typed_config, type, false);
        build_in(b, "typed_config");
        if (held && server)
            take_server(b, (const EnvoyTls__DownstreamTlsContext *)held, tls);
        else if (held)
            take_client(b, (const EnvoyTls__UpstreamTlsContext *)held, tls);
        build_up(b);
    }
    build_up(b);
    return tls;
}
