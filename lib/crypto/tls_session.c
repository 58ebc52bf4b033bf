/* A session: OpenSSL over a BIO that reads from the span the owner gave and writes to the chain the owner
 * gave. Nothing is buffered in between. */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <pthread.h>
#include <string.h>

#include "lib/crypto/tls_internal.h"
#include "weft/mem.h"

#define RECORD_HEADER 5

static pthread_once_t once = PTHREAD_ONCE_INIT;
static BIO_METHOD *bio_method; /* made once, never freed: it is a constant */

tls_session *tls_session_of(const SSL *ssl) { return SSL_get_app_data(ssl); }

/* ---- the BIO */

/* A record begins: does the peer keep us busy for nothing? It counts until data comes out of it. */
static bool too_barren(tls_session *session) {
    session->counted = true;
    session->barren++;
    return session->barren >
           TLS_BARREN_MAX + (session->records_in - session->barren) / 8 + session->key_updates * 2;
}

static int bio_read(BIO *bio, char *to, int size) {
    tls_session *session = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (size <= 0 || session->flooded || session->failure != TLS_FAIL_NONE) return -1;
    if (!session->in_size) {
        BIO_set_retry_read(bio);
        return -1;
    }
    const size_t n = (size_t)size < session->in_size ? (size_t)size : session->in_size;
    /* OpenSSL asks for a header, then for the body: a record begins here. */
    if (size == RECORD_HEADER) {
        session->records_in++;
        session->in_since_rekey++;
        session->flooded = session->established && too_barren(session);
    }
    if (!session->established) {
        session->handshake_bytes += (uint32_t)n;
        session->flooded = session->handshake_bytes > session->context->config.handshake_max;
    }
    if (session->flooded) return -1;
    memcpy(to, session->in, n);
    session->in += n;
    session->in_size -= n;
    return (int)n;
}

static int bio_write(BIO *bio, const char *from, int size) {
    tls_session *session = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (size <= 0 || !session->out) return -1;
    if (weft_chain_add(session->out, from, (size_t)size)) {
        session->no_memory = true;
        return -1;
    }
    return size;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio) {
    BIO_set_init(bio, 1);
    return 1;
}

static void make_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weft span");
    if (method && BIO_meth_set_read(method, bio_read) && BIO_meth_set_write(method, bio_write) &&
        BIO_meth_set_ctrl(method, bio_ctrl) && BIO_meth_set_create(method, bio_create))
        bio_method = method;
    else
        BIO_meth_free(method);
}

/* ---- life */

tls_session *tls_session_new(tls_context *context) {
    (void)pthread_once(&once, make_method);
    tls_session *session = bio_method ? weft_calloc(1, sizeof *session) : NULL;
    if (!session) return NULL;
    session->context = tls_context_ref(context);
    session->alert = -1;
    session->expires = INT64_MAX;
    BIO *bio = BIO_new(bio_method);
    session->ssl = bio ? SSL_new(context->ssl) : NULL;
    if (!session->ssl || !SSL_set_app_data(session->ssl, session)) {
        BIO_free(bio);
        tls_session_free(session);
        ERR_clear_error();
        return NULL;
    }
    BIO_set_data(bio, session);
    SSL_set_bio(session->ssl, bio, bio); /* one reference serves both ways */
    if (context->config.role == TLS_CLIENT) {
        SSL_set_connect_state(session->ssl);
        if (context->config.server_name &&
            !SSL_set_tlsext_host_name(session->ssl, context->config.server_name)) {
            tls_session_free(session);
            ERR_clear_error();
            return NULL;
        }
    } else {
        SSL_set_accept_state(session->ssl);
    }
    return session;
}

void tls_session_free(tls_session *session) {
    if (!session) return;
    if (session->ssl) {
        session->out = NULL;
        SSL_free(session->ssl);
    }
    tls_context_unref(session->context);
    weft_free(session->text);
    weft_free(session->peer_id);
    weft_free(session->subject);
    weft_free(session);
}

/* ---- reading */

static void begin(tls_session *session, weft_chain *out) {
    session->out = out;
    /* SSL_get_error looks at the queue; clearing an empty one costs 16 slots. */
    if (ERR_peek_error()) ERR_clear_error();
}

/* What OpenSSL's result `n` means. */
static int64_t outcome(tls_session *session, int n) {
    const int kind = SSL_get_error(session->ssl, n);
    if (kind == SSL_ERROR_WANT_READ && session->failure == TLS_FAIL_NONE && !session->flooded)
        return WEFT_EAGAIN;
    if (kind == SSL_ERROR_ZERO_RETURN && session->established) return 0;
    if (kind == SSL_ERROR_ZERO_RETURN)
        tls_fail(session, TLS_FAIL_REFUSED_BY_PEER,
                 "the peer ended the session during the handshake, without a reason");
    tls_fail_from_openssl(session);
    return WEFT_ECLOSED;
}

static int rekey(tls_session *session) {
    session->in_since_rekey = session->out_since_rekey = 0;
    session->key_updates++;
    /* Both directions: the peer answers with its own (RFC 8446 section 4.6.3). */
    if (SSL_key_update(session->ssl, SSL_KEY_UPDATE_REQUESTED) != 1 ||
        SSL_do_handshake(session->ssl) != 1) {
        tls_fail_from_openssl(session);
        return WEFT_ECLOSED;
    }
    return 0;
}

int tls_start(tls_session *session, weft_chain *out) {
    if (session->context->config.role == TLS_SERVER) return 0;
    begin(session, out);
    const int64_t result = outcome(session, SSL_do_handshake(session->ssl));
    session->out = NULL;
    return result == WEFT_EAGAIN ? 0 : WEFT_EINTERNAL;
}

void tls_input(tls_session *session, const uint8_t *data, size_t size) {
    session->in = data;
    session->in_size = size;
    while (session->first_size < TLS_FIRST_BYTES && size) {
        session->first[session->first_size++] = *data++;
        size--;
    }
}

static void note_established(tls_session *session) {
    if (session->established || !SSL_is_init_finished(session->ssl)) return;
    session->established = true;
    session->records_in = 0;
    session->in_since_rekey = session->out_since_rekey = 0;
}

int64_t tls_read(tls_session *session, uint8_t *to, size_t room, weft_chain *out) {
    if (session->failure != TLS_FAIL_NONE) return WEFT_ECLOSED;
    if (!session->established && session->first_size && session->first[0] != 22 &&
        session->first[0] != 21) {
        tls_fail_not_tls(session);
        return WEFT_ECLOSED;
    }
    /* The common end of a turn: asking OpenSSL would only make it allocate a buffer and free it. */
    if (session->established && !session->in_size && !SSL_has_pending(session->ssl))
        return SSL_get_shutdown(session->ssl) & SSL_RECEIVED_SHUTDOWN ? 0 : WEFT_EAGAIN;
    begin(session, out);
    const int size = room < TLS_RECORD_MAX ? (int)room : (int)TLS_RECORD_MAX;
    const int n = SSL_read(session->ssl, to, size);
    note_established(session);
    if (n > 0 && session->counted) {
        session->counted = false;
        session->barren--;
    }
    int64_t result = n > 0 ? n : outcome(session, n);
    if (n > 0 && session->in_since_rekey >= session->context->config.rekey_records &&
        rekey(session))
        result = WEFT_ECLOSED;
    session->out = NULL;
    if (session->failure != TLS_FAIL_NONE) result = WEFT_ECLOSED;
    return result;
}

/* ---- writing */

/* The front of `plain` as one record's worth of bytes in one place. */
static const uint8_t *gather(const weft_chain *plain, size_t most, uint8_t *scratch, size_t *size) {
    const weft_link *at = plain->head;
    if (at->slice.len >= most || at->slice.len == plain->bytes) {
        *size = at->slice.len < most ? at->slice.len : most;
        return at->slice.data;
    }
    size_t got = 0;
    for (; at && got < most; at = at->next) {
        size_t n = at->slice.len;
        if (n > most - got) n = most - got;
        memcpy(scratch + got, at->slice.data, n);
        got += n;
    }
    *size = got;
    return scratch;
}

int64_t tls_write(tls_session *session, weft_chain *plain, size_t max, weft_chain *out) {
    uint8_t scratch[TLS_RECORD_MAX];
    if (session->failure != TLS_FAIL_NONE || session->bye) return WEFT_ECLOSED;
    if (!session->established) return WEFT_EAGAIN;
    begin(session, out);
    int64_t taken = 0;
    while (plain->bytes && (size_t)taken < max) {
        size_t most = max - (size_t)taken;
        size_t size;
        if (most > TLS_RECORD_MAX) most = TLS_RECORD_MAX;
        if (session->out_since_rekey >= session->context->config.rekey_records && rekey(session))
            break;
        const uint8_t *data = gather(plain, most, scratch, &size);
        const int n = SSL_write(session->ssl, data, (int)size);
        if (n <= 0) {
            /* It cannot have to wait: the BIO takes everything. */
            tls_fail_from_openssl(session);
            break;
        }
        session->records_out++;
        session->out_since_rekey++;
        weft_chain_consume(plain, (size_t)n);
        taken += n;
    }
    session->out = NULL;
    return session->failure != TLS_FAIL_NONE ? WEFT_ECLOSED : taken;
}

void tls_close(tls_session *session, weft_chain *out) {
    if (session->bye || !session->established || session->failure != TLS_FAIL_NONE) return;
    session->bye = true;
    begin(session, out);
    (void)SSL_shutdown(session->ssl);
    ERR_clear_error();
    session->out = NULL;
}

/* ---- questions */

bool tls_established(const tls_session *session) { return session->established; }
tls_failure tls_session_failure(const tls_session *session) { return session->failure; }

tls_info tls_session_info(const tls_session *session) {
    const unsigned char *alpn;
    unsigned alpn_size = 0;
    tls_info info = {
        .peer_id = session->peer_id ? session->peer_id : "",
        .peer_subject = session->subject ? session->subject : "",
        .peer_expires = session->expires,
        .alpn = "",
        .cipher = "",
        .records_in = session->records_in,
        .records_out = session->records_out,
        .key_updates = session->key_updates,
    };
    memcpy(info.peer_root, session->root, sizeof info.peer_root);
    SSL_get0_alpn_selected(session->ssl, &alpn, &alpn_size);
    const tls_config *config = &session->context->config;
    for (size_t i = 0; i < config->alpn_count; i++)
        if (strlen(config->alpn[i]) == alpn_size && !memcmp(config->alpn[i], alpn, alpn_size))
            info.alpn = config->alpn[i];
    const SSL_CIPHER *cipher = SSL_get_current_cipher(session->ssl);
    if (cipher) info.cipher = SSL_CIPHER_get_name(cipher);
    return info;
}

int tls_session_peer(const tls_session *session, crypto_certs *out) {
    X509 *leaf = SSL_get0_peer_certificate(session->ssl);
    STACK_OF(X509) *others = SSL_get_peer_cert_chain(session->ssl);
    crypto_certs chain = {0};
    int error = 0;
    for (int i = -1; i < sk_X509_num(others) && leaf && !error; i++) {
        X509 *x509 = i < 0 ? leaf : sk_X509_value(others, i);
        crypto_cert *cert = NULL;
        if (i >= 0 && !X509_cmp(x509, leaf)) continue;
        error = X509_up_ref(x509) ? crypto_cert_wrap(x509, &cert, NULL) : WEFT_ENOMEM;
        if (!error) error = crypto_certs_push(&chain, cert);
        crypto_cert_unref(cert);
    }
    if (error)
        crypto_certs_clear(&chain);
    else
        *out = chain;
    return error;
}
