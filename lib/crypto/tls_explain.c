/* Failures in one line: the rule, whose certificate, what was expected, what to do. On the side that refuses
 * (verify.c gives the words) and on the side that is refused, which only has a number (RFC 8446 section
 * 6.2) but knows its own certificate. */
#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/crypto/tls_internal.h"
#include "weft/mem.h"

static const char *const failure_names[] = {
#define X(name, label) label,
    TLS_FAILURES(X)
#undef X
};

const char *tls_failure_name(tls_failure failure) {
    return (unsigned)failure < TLS_FAIL_COUNT ? failure_names[failure] : "unknown";
}

const char *tls_failure_text(const tls_session *session) {
    if (session->failure == TLS_FAIL_NONE) return "";
    return session->text ? session->text : "mTLS: out of memory";
}

/* The first explanation stays: later ones only follow from it. */
void tls_fail(tls_session *session, tls_failure failure, const char *format, ...) {
    if (session->failure != TLS_FAIL_NONE) return;
    session->failure = failure;
    session->text = weft_malloc(CRYPTO_WHY_SIZE);
    if (!session->text) return;
    const tls_config *config = &session->context->config;
    const bool mutual = config->svid && !config->no_peer_cert;
    const int head = snprintf(session->text, CRYPTO_WHY_SIZE, "%s: ", mutual ? "mTLS" : "TLS");
    va_list args;
    va_start(args, format);
    (void)vsnprintf(session->text + head, CRYPTO_WHY_SIZE - (size_t)head, format, args);
    va_end(args);
}

void tls_fail_not_tls(tls_session *session) {
    static const char preface[] = "PRI * HTTP/2.0";
    const uint8_t *first = session->first;
    const size_t size = session->first_size;
    const char *what = "something that is not TLS";
    if (size >= 3 && !memcmp(first, preface, size < sizeof preface - 1 ? size : sizeof preface - 1))
        what = "HTTP/2 in plaintext";
    else if (size >= 4 && !first[0] && first[3] == 4)
        what = "HTTP/2 in plaintext";
    else if (size >= 4 && (!memcmp(first, "GET ", 4) || !memcmp(first, "POST", 4) ||
                           !memcmp(first, "PUT ", 4) || !memcmp(first, "HTTP", 4)))
        what = "HTTP/1.1 in plaintext";
    tls_fail(session, TLS_FAIL_NOT_TLS, "the %s speaks %s; expected TLS 1.3; %s",
             session->context->config.role == TLS_SERVER ? "client" : "server", what,
             session->context->config.role == TLS_SERVER ? "it must call through its own sidecar"
                                                         : "the address leads to a plaintext port");
}

/* ---- what the peer's alert means for us */

/* Our own identity as messages give it. */
static const char *own_name(const tls_session *session, char out[CRYPTO_WHY_SIZE]) {
    const crypto_svid *svid = session->context->config.svid;
    return svid ? crypto_cert_name(svid->chain.items[0], out) : "(none)";
}

static void refused_for_time(tls_session *session, bool expired) {
    char name[CRYPTO_WHY_SIZE], begin[TIME_TEXT], end[TIME_TEXT], now[TIME_TEXT];
    const tls_config *config = &session->context->config;
    const crypto_cert_info *info = &config->svid->chain.items[0]->info;
    tls_fail(session, TLS_FAIL_REFUSED_BY_PEER,
             "the peer refused our certificate %s: %s by its clock (valid from %s to %s, our clock "
             "%s); %s",
             own_name(session, name),
             expired ? "it has expired" : "it is malformed, or not yet valid",
             crypto_time_text(info->not_before, begin), crypto_time_text(info->not_after, end),
             crypto_time_text(weft_wall(config->clock), now),
             expired ? "renew it, or set the clocks right" : "set the clocks right");
}

static void refused(tls_session *session, const char *rule, const char *advice) {
    char name[CRYPTO_WHY_SIZE];
    tls_fail(session, TLS_FAIL_REFUSED_BY_PEER, "the peer refused our certificate %s: %s; %s",
             own_name(session, name), rule, advice);
}

static void refused_root(tls_session *session) {
    const crypto_certs *chain = &session->context->config.svid->chain;
    char rule[NAME_TEXT + 64];
    (void)snprintf(rule, sizeof rule, "its bundle lacks our root, \"%s\"",
                   chain->items[chain->count - 1]->info.issuer);
    refused(session, rule, "use a certificate of its CA, or add our root to its bundle");
}

static bool explain_certificate_alert(tls_session *session, int alert) {
    if (!session->context->config.svid) return false;
    switch (alert) {
    case SSL_AD_BAD_CERTIFICATE:
        refused_for_time(session, false);
        return true;
    case SSL_AD_CERTIFICATE_EXPIRED:
        refused_for_time(session, true);
        return true;
    case SSL_AD_UNKNOWN_CA:
        refused_root(session);
        return true;
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
        refused(session, "it is no X.509-SVID or not for this use", "issue it with the mesh's CA");
        return true;
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_ACCESS_DENIED:
        refused(session, "by a rule of its own", "its log says which");
        return true;
    case SSL_AD_HANDSHAKE_FAILURE:
        /* Before certificates it is about parameters. */
        if (session->context->config.role == TLS_CLIENT && !session->peer_id && !session->subject)
            return false;
        refused(session, "it expected another identity",
                "correct the address, or the identities it allows");
        return true;
    default:
        return false;
    }
}

static void explain_alert(tls_session *session, int alert) {
    if (explain_certificate_alert(session, alert)) return;
    switch (alert) {
    case SSL_AD_CERTIFICATE_REQUIRED:
        tls_fail(session, TLS_FAIL_REFUSED_BY_PEER,
                 "the peer requires a client certificate and we have none; configure our SVID");
        return;
    case SSL_AD_PROTOCOL_VERSION:
        tls_fail(session, TLS_FAIL_PROTOCOL_VERSION,
                 "the peer does not speak TLS 1.3, the only version allowed; upgrade it");
        return;
    case SSL_AD_NO_APPLICATION_PROTOCOL:
        tls_fail(session, TLS_FAIL_ALPN,
                 "the peer speaks none of our protocols (ALPN), first of them %s",
                 session->context->config.alpn[0]);
        return;
    case SSL_AD_HANDSHAKE_FAILURE:
        tls_fail(
            session, TLS_FAIL_PROTOCOL,
            "the peer shares no cipher or group with us; allowed are AES-GCM and ChaCha20 with "
            "X25519 or P-256");
        return;
    default:
        tls_fail(session, TLS_FAIL_REFUSED_BY_PEER, "the peer ended the session with alert %d (%s)",
                 alert, SSL_alert_desc_string_long(alert));
    }
}

/* ---- what OpenSSL says */

void tls_fail_from_openssl(tls_session *session) {
    const unsigned long code = ERR_peek_last_error();
    const int reason = ERR_GET_REASON(code);
    const bool server = session->context->config.role == TLS_SERVER;
    const char *peer = server ? "client" : "server";
    if (session->no_memory ||
        (ERR_GET_LIB(code) != ERR_LIB_SYS && reason == ERR_R_MALLOC_FAILURE)) {
        tls_fail(session, TLS_FAIL_NO_MEMORY, "out of memory");
    } else if (session->flooded && !session->established) {
        tls_fail(session, TLS_FAIL_LIMIT, "the %s sent more than %u bytes of handshake", peer,
                 session->context->config.handshake_max);
    } else if (session->flooded) {
        tls_fail(session, TLS_FAIL_LIMIT,
                 "the %s floods us with handshake messages after the handshake", peer);
    } else if (session->alert >= 0) {
        explain_alert(session, session->alert);
    } else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        const char *domain = session->context->config.domain;
        if (!domain) domain = crypto_bundle_domain(session->context->config.bundle);
        tls_fail(
            session, TLS_FAIL_NO_CERTIFICATE,
            "the client sent no certificate; expected an X.509-SVID of %s; it must call through "
            "its own sidecar, or bring its SVID",
            *domain ? domain : "our bundle");
    } else if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_WRONG_SSL_VERSION ||
               reason == SSL_R_VERSION_TOO_LOW || reason == SSL_R_WRONG_VERSION_NUMBER) {
        tls_fail(session, TLS_FAIL_PROTOCOL_VERSION,
                 "the %s does not speak TLS 1.3, the only version allowed; upgrade it", peer);
    } else {
        const char *text = crypto_openssl_reason();
        tls_fail(session, TLS_FAIL_PROTOCOL, "the %s broke the protocol (%s)", peer,
                 *text ? text : "unexpected end");
    }
    ERR_clear_error();
}
