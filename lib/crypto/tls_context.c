/* The immutable half of TLS: what is spoken, who we are, whom we accept. */
#include <openssl/err.h>
#include <string.h>

#include "lib/crypto/tls_internal.h"
#include "weft/mem.h"

static const char *const default_alpn[] = {"h2"};

/* ---- callbacks of OpenSSL during a handshake */

/* True when the ClientHello offers TLS 1.3; else OpenSSL will refuse it in its own words. */
static bool offers_tls13(SSL *ssl) {
    const unsigned char *data;
    size_t size;
    if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &data, &size)) return false;
    for (size_t i = 1; i + 1 < size; i += 2)
        if (data[i] == 3 && data[i + 1] == 4) return true;
    return false;
}

/* A client without ALPN must be told before it believes to be connected. */
static int on_client_hello(SSL *ssl, int *alert, void *unused) {
    const unsigned char *data;
    size_t size;
    (void)unused;
    if (!offers_tls13(ssl) ||
        SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &data,
                                  &size))
        return SSL_CLIENT_HELLO_SUCCESS;
    tls_session *session = tls_session_of(ssl);
    tls_fail(session, TLS_FAIL_ALPN,
             "the client offers no protocol (ALPN); expected %s; it must speak HTTP/2 over TLS",
             session->context->config.alpn[0]);
    *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
    return SSL_CLIENT_HELLO_ERROR;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                   const unsigned char *in, unsigned in_size, void *user) {
    const tls_context *context = user;
    unsigned char *picked = NULL;
    if (SSL_select_next_proto(&picked, out_size, context->alpn, context->alpn_size, in, in_size) ==
        OPENSSL_NPN_NEGOTIATED) {
        *out = picked;
        return SSL_TLSEXT_ERR_OK;
    }
    tls_fail(tls_session_of(ssl), TLS_FAIL_ALPN,
             "the client offers other protocols (ALPN) than %s; it must speak HTTP/2 over TLS",
             context->config.alpn[0]);
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void on_info(const SSL *ssl, int where, int value) {
    tls_session *session = tls_session_of(ssl);
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && (value & 0xff) != SSL_AD_CLOSE_NOTIFY)
        session->alert = value & 0xff;
}

static int alert_for(crypto_verdict verdict) {
    /* OpenSSL makes alerts of these: certificate_expired, bad_certificate, unknown_ca, handshake_failure,
     * unsupported_certificate, internal_error. tls_explain.c reads them on the other side. */
    switch (verdict) {
    case CRYPTO_VALID:
        return X509_V_OK;
    case CRYPTO_EXPIRED:
        return X509_V_ERR_CERT_HAS_EXPIRED;
    case CRYPTO_NOT_YET_VALID:
        return X509_V_ERR_CERT_NOT_YET_VALID;
    case CRYPTO_UNKNOWN_ROOT:
        return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
    case CRYPTO_WRONG_IDENTITY:
        return X509_V_ERR_APPLICATION_VERIFICATION;
    case CRYPTO_BAD_CERT:
        return X509_V_ERR_INVALID_PURPOSE;
    case CRYPTO_NO_MEMORY:
        break;
    }
    return X509_V_ERR_OUT_OF_MEM;
}

static tls_failure failure_for(crypto_verdict verdict) {
    static const tls_failure of[] = {
        [CRYPTO_VALID] = TLS_FAIL_NONE,
        [CRYPTO_EXPIRED] = TLS_FAIL_EXPIRED,
        [CRYPTO_NOT_YET_VALID] = TLS_FAIL_NOT_YET_VALID,
        [CRYPTO_UNKNOWN_ROOT] = TLS_FAIL_UNKNOWN_ROOT,
        [CRYPTO_WRONG_IDENTITY] = TLS_FAIL_WRONG_IDENTITY,
        [CRYPTO_BAD_CERT] = TLS_FAIL_BAD_CERTIFICATE,
        [CRYPTO_NO_MEMORY] = TLS_FAIL_NO_MEMORY,
    };
    return of[verdict];
}

static int take_chain(X509_STORE_CTX *store, crypto_certs *chain) {
    STACK_OF(X509) *others = X509_STORE_CTX_get0_untrusted(store);
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    for (int i = -1; i < sk_X509_num(others); i++) {
        X509 *x509 = i < 0 ? leaf : sk_X509_value(others, i);
        crypto_cert *cert;
        if (i >= 0 && x509 == leaf) continue;
        if (!X509_up_ref(x509)) return WEFT_ENOMEM;
        int error = crypto_cert_wrap(x509, &cert, NULL);
        if (error) return error;
        error = crypto_certs_push(chain, cert);
        crypto_cert_unref(cert);
        if (error) return error;
    }
    return 0;
}

/* Remembers whom we talk to. */
static int keep_peer(tls_session *session, const crypto_cert *leaf,
                     const crypto_verified *verified) {
    const char *id = crypto_svid_fault(leaf) ? "" : leaf->info.spiffe;
    weft_free(session->peer_id);
    weft_free(session->subject);
    session->subject = NULL;
    session->peer_id = *id ? weft_heap_strdup(id) : NULL;
    if (!*id) session->subject = weft_heap_strdup(leaf->info.subject);
    session->expires = verified->expires;
    memcpy(session->root, verified->root, sizeof session->root);
    return session->peer_id || session->subject ? 0 : WEFT_ENOMEM;
}

int tls_verify_peer(X509_STORE_CTX *store, void *user) {
    const tls_context *context = user;
    const tls_config *config = &context->config;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    tls_session *session = tls_session_of(ssl);
    const crypto_expect expect = {
        .peer = config->role == TLS_SERVER ? CRYPTO_PEER_CLIENT : CRYPTO_PEER_SERVER,
        .bundle = config->bundle,
        .domain = config->domain,
        .ids = config->ids,
        .id_count = config->id_count,
        .dns = config->dns,
        .dns_count = config->dns_count,
        .any_cert = config->any_cert,
    };
    crypto_certs chain = {0};
    crypto_verified verified;
    crypto_why why = {"out of memory"};
    crypto_verdict verdict = CRYPTO_NO_MEMORY;
    const unsigned char *alpn;
    if (config->unverified) return 1;
    unsigned alpn_size = 0;
    SSL_get0_alpn_selected(ssl, &alpn, &alpn_size);
    if (config->role == TLS_CLIENT && !alpn_size) {
        /* EncryptedExtensions came before the certificate (RFC 8446 section 4.3.1). */
        tls_fail(session, TLS_FAIL_ALPN,
                 "the server picked no protocol (ALPN); expected %s; it must speak HTTP/2 over TLS",
                 config->alpn[0]);
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }
    if (!take_chain(store, &chain))
        verdict = crypto_verify(&chain, &expect, weft_wall(config->clock), &verified, &why);
    if (verdict == CRYPTO_VALID && keep_peer(session, chain.items[0], &verified))
        verdict = CRYPTO_NO_MEMORY;
    crypto_certs_clear(&chain);
    if (verdict != CRYPTO_VALID)
        tls_fail(session, failure_for(verdict), "%s %s",
                 config->role == TLS_SERVER ? "client" : "server", why.text);
    X509_STORE_CTX_set_error(store, alert_for(verdict));
    return verdict == CRYPTO_VALID;
}

/* ---- making a context */

static char *keep(tls_context *context, const char *text) {
    size_t count = 0;
    while (context->strings && context->strings[count]) count++;
    char **strings = weft_realloc(context->strings, (count + 2) * sizeof *strings);
    if (!strings) return NULL;
    context->strings = strings;
    strings[count] = weft_heap_strdup(text);
    strings[count + 1] = NULL;
    return strings[count];
}

static const char *const *keep_list(tls_context *context, const char *const *list, size_t count) {
    const char **copy = weft_calloc(count + 1, sizeof *copy);
    if (!copy) return NULL;
    for (size_t i = 0; i < count; i++) {
        copy[i] = keep(context, list[i]);
        if (copy[i]) continue;
        weft_free(copy);
        return NULL;
    }
    return copy;
}

static int copy_config(tls_context *context, const tls_config *config) {
    tls_config *mine = &context->config;
    *mine = *config;
    mine->svid = config->svid ? crypto_svid_ref(config->svid) : NULL;
    mine->bundle = config->bundle ? crypto_bundle_ref(config->bundle) : NULL;
    mine->ids = mine->dns = mine->alpn = NULL;
    if (!config->alpn) mine->alpn_count = 1;
    if (!mine->rekey_records) mine->rekey_records = TLS_REKEY_RECORDS;
    if (!mine->handshake_max) mine->handshake_max = TLS_HANDSHAKE_MAX;
    mine->ids = keep_list(context, config->ids, config->id_count);
    mine->dns = keep_list(context, config->dns, config->dns_count);
    mine->alpn = keep_list(context, config->alpn ? config->alpn : default_alpn, mine->alpn_count);
    if (!mine->ids || !mine->dns || !mine->alpn) return WEFT_ENOMEM;
    if (config->domain && !(mine->domain = keep(context, config->domain))) return WEFT_ENOMEM;
    if (config->server_name && !(mine->server_name = keep(context, config->server_name)))
        return WEFT_ENOMEM;
    size_t size = 0;
    for (size_t i = 0; i < mine->alpn_count; i++) size += strlen(mine->alpn[i]) + 1;
    context->alpn = weft_malloc(size);
    if (!context->alpn) return WEFT_ENOMEM;
    for (size_t i = 0; i < mine->alpn_count; i++) {
        const size_t len = strlen(mine->alpn[i]);
        context->alpn[context->alpn_size++] = (unsigned char)len;
        memcpy(context->alpn + context->alpn_size, mine->alpn[i], len);
        context->alpn_size += (unsigned)len;
    }
    return 0;
}

static const char *check_config(const tls_config *config) {
    crypto_spiffe id;
    const char *fault = NULL;
    if (config->role == TLS_SERVER && !config->svid) return "a server needs a certificate and key";
    if (config->no_peer_cert && config->role == TLS_CLIENT)
        return "a client always asks for the server's certificate";
    if (config->unverified && (config->role == TLS_SERVER || config->svid))
        return "only a client without identity may leave its server unverified";
    if (!config->bundle && !config->no_peer_cert && !config->unverified)
        return "a trust bundle is needed";
    if (config->alpn_count > TLS_ALPN_MAX) return "too many protocols (ALPN)";
    for (size_t i = 0; config->alpn && i < config->alpn_count; i++)
        if (!*config->alpn[i] || strlen(config->alpn[i]) > 255)
            return "a protocol (ALPN) is empty or long";
    if (config->alpn && !config->alpn_count) return "a protocol (ALPN) is needed";
    for (size_t i = 0; i < config->id_count; i++)
        if (crypto_spiffe_parse(config->ids[i], strlen(config->ids[i]), &id, &fault)) return fault;
    if (config->domain && !crypto_domain_valid(config->domain))
        return "the trust domain is invalid";
    const bool named =
        config->id_count || config->dns_count || config->any_cert || config->unverified;
    if (config->role == TLS_CLIENT && !named)
        return "the server's identities are needed: a client that takes any server has no mTLS";
    if (!named && !config->no_peer_cert && !config->domain &&
        !*crypto_bundle_domain(config->bundle))
        return "a trust domain or identities are needed";
    return NULL;
}

static int set_identity(SSL_CTX *ssl, const crypto_svid *svid) {
    const crypto_certs *chain = &svid->chain;
    if (SSL_CTX_use_certificate(ssl, chain->items[0]->x509) != 1 ||
        SSL_CTX_use_PrivateKey(ssl, svid->key->pkey) != 1)
        return WEFT_EINVAL;
    for (size_t i = 1; i < chain->count; i++)
        if (SSL_CTX_add1_chain_cert(ssl, chain->items[i]->x509) != 1) return WEFT_EINVAL;
    return 0;
}

static int set_up(tls_context *context) {
    const tls_config *config = &context->config;
    SSL_CTX *ssl = context->ssl = SSL_CTX_new(TLS_method());
    if (!ssl) return WEFT_ENOMEM;
    SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_QUERY_MTU);
    SSL_CTX_clear_options(ssl, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(ssl, (long)TLS_CERTS_BYTES_MAX);
    SSL_CTX_set_info_callback(ssl, on_info);
    SSL_CTX_set_cert_verify_callback(ssl, tls_verify_peer, context);
    SSL_CTX_set_verify(ssl,
                       config->no_peer_cert ? SSL_VERIFY_NONE
                       : config->peer_cert_optional
                           ? SSL_VERIFY_PEER
                           : SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       NULL);
    if (!SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) ||
        !SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) || !SSL_CTX_set_num_tickets(ssl, 0) ||
        !SSL_CTX_set_max_early_data(ssl, 0) ||
        !SSL_CTX_set_ciphersuites(ssl, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                       "TLS_CHACHA20_POLY1305_SHA256") ||
        !SSL_CTX_set1_groups_list(ssl, "X25519:P-256"))
        return WEFT_ENOMEM;
    if (config->role == TLS_SERVER) {
        SSL_CTX_set_alpn_select_cb(ssl, on_alpn, context);
        SSL_CTX_set_client_hello_cb(ssl, on_client_hello, NULL);
    } else if (SSL_CTX_set_alpn_protos(ssl, context->alpn, context->alpn_size)) {
        return WEFT_ENOMEM;
    }
    return config->svid ? set_identity(ssl, config->svid) : 0;
}

int tls_context_new(const tls_config *config, tls_context **out, crypto_why *why) {
    const char *fault = check_config(config);
    if (fault) return crypto_explain(why, WEFT_EINVAL, "TLS: %s", fault);
    tls_context *context = weft_calloc(1, sizeof *context);
    if (!context) return crypto_explain(why, WEFT_ENOMEM, "TLS: out of memory");
    atomic_init(&context->refs, 1);
    int error = copy_config(context, config);
    if (!error) error = set_up(context);
    if (error) {
        (void)crypto_explain(why, error, "TLS: %s",
                             error == WEFT_ENOMEM ? "out of memory" : crypto_openssl_reason());
        tls_context_unref(context);
        return error;
    }
    *out = context;
    return 0;
}

tls_context *tls_context_ref(tls_context *context) {
    atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    return context;
}

void tls_context_unref(tls_context *context) {
    if (!context || atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel) != 1) return;
    SSL_CTX_free(context->ssl);
    crypto_svid_unref(context->config.svid);
    crypto_bundle_unref(context->config.bundle);
    for (char **at = context->strings; at && *at; at++) weft_free(*at);
    weft_free(context->strings);
    weft_free((void *)(uintptr_t)context->config.ids);
    weft_free((void *)(uintptr_t)context->config.dns);
    weft_free((void *)(uintptr_t)context->config.alpn);
    weft_free(context->alpn);
    weft_free(context);
}

const crypto_bundle *tls_context_bundle(const tls_context *context) {
    return context->config.bundle;
}
const crypto_svid *tls_context_svid(const tls_context *context) { return context->config.svid; }
