/* TLS 1.3 sessions (RFC 8446) without I/O, over OpenSSL 3.
 *
 * The owner gives what arrived (tls_input), reads plaintext until there is none (tls_read), turns plaintext
 * into records (tls_write) and sends what gathers in the chain it passes as `out`. A session holds no
 * buffers while idle: only a record that has not arrived completely is kept.
 *
 * Fixed: TLS 1.3 only; AES-GCM and ChaCha20-Poly1305; no session tickets, resumption, early data or
 * renegotiation (contracts.md "Joining"); ALPN must agree; keys are renewed before 2^24 records.
 *
 * A context is immutable and shared by reference (any thread): to change the SVID or the bundle make a new one
 * and use it for new sessions. A session belongs to one thread.
 *
 * Failure. Any call may fail the session: it returns negative then and ever after, `out` may have an alert to
 * be sent, and tls_failure_text is the one line that says which rule, the peer's identity, what was expected
 * and what to do; also for alerts that the peer sent. */
#ifndef WEFT_TLS_H
#define WEFT_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/chunk.h"
#include "weft/clock.h"
#include "weft/crypto.h"
#include "weft/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tls_role { TLS_CLIENT, TLS_SERVER } tls_role;

/* Why a session failed. X(name, label for metrics) */
#define TLS_FAILURES(X)                     \
    X(NONE, "none")                         \
    X(NO_CERTIFICATE, "no_certificate")     \
    X(UNKNOWN_ROOT, "unknown_root")         \
    X(EXPIRED, "expired")                   \
    X(NOT_YET_VALID, "not_yet_valid")       \
    X(WRONG_IDENTITY, "wrong_identity")     \
    X(BAD_CERTIFICATE, "bad_certificate")   \
    X(PROTOCOL_VERSION, "protocol_version") \
    X(ALPN, "alpn")                         \
    X(NOT_TLS, "not_tls")                   \
    X(REFUSED_BY_PEER, "refused_by_peer")   \
    X(PROTOCOL, "protocol")                 \
    X(LIMIT, "limit")                       \
    X(NO_MEMORY, "no_memory")

typedef enum tls_failure {
#define X(name, label) TLS_FAIL_##name,
    TLS_FAILURES(X)
#undef X
        TLS_FAIL_COUNT
} tls_failure;

/* "wrong_identity"; never NULL. Any thread. */
const char *tls_failure_name(tls_failure failure);

#define TLS_RECORD_MAX 16384u   /* plaintext bytes of a record (RFC 8446 section 5.1) */
#define TLS_RECORD_OVERHEAD 22u /* header, content type, tag */
#define TLS_REKEY_RECORDS (UINT64_C(1) << 23) /* half of 2^24 (RFC 8446 section 5.5) */
#define TLS_HANDSHAKE_MAX 65536u

typedef struct tls_config {
    tls_role role;
    crypto_svid *svid;     /* a server must have one; a client without gets no mTLS */
    crypto_bundle *bundle; /* NULL only with no_peer_cert */
    /* Whom to accept: see crypto_expect. A server of the mesh sets none of these: any SVID of the domain is
     * let in, authorization decides later. A client sets `ids`, or `dns` for a server outside the mesh. */
    const char *domain;
    const char *const *ids;
    size_t id_count;
    const char *const *dns;
    size_t dns_count;
    bool any_cert;
    bool no_peer_cert; /* server: do not ask for a certificate (a gateway's public side) */
    bool
        peer_cert_optional; /* server: ask, and let in who has none; one that is shown must be good. For a
                              * control plane, whose joiners have none yet: peer_id is then "" */
    bool
        unverified; /* client: takes any server, whose certificate is then not looked at. For what is
                              * public and checked by other means (a bundle against its pin), never for a
                              * secret. `bundle` may be NULL, names are not looked at */
    const char *server_name; /* client: SNI, or NULL */
    const char *const *alpn; /* in order of preference; NULL: "h2" alone */
    size_t alpn_count;       /* <= 8 */
    const weft_clock *clock; /* wall clock for validity; NULL: the system's */
    uint64_t rekey_records;  /* renew keys after that many records; 0: TLS_REKEY_RECORDS */
    uint32_t handshake_max;  /* bytes a peer may send before it is through; 0: TLS_HANDSHAKE_MAX */
} tls_config;

typedef struct tls_context tls_context;

/* Everything is copied or referenced. WEFT_EINVAL explains itself in `why`. */
int tls_context_new(const tls_config *config, tls_context **context, crypto_why *why) WEFT_MUST_USE;
tls_context *tls_context_ref(tls_context *context);
void tls_context_unref(tls_context *context); /* NULL is allowed */
const crypto_bundle *tls_context_bundle(const tls_context *context);
const crypto_svid *tls_context_svid(const tls_context *context);

typedef struct tls_session tls_session;

/* A session that refers to `context`. NULL when memory is out. _free may come at any time. */
tls_session *tls_session_new(tls_context *context);
void tls_session_free(tls_session *session);

/* Client: the first flight goes to `out`. Server: nothing. Call it once, first. */
int tls_start(tls_session *session, weft_chain *out) WEFT_MUST_USE;

/* What arrived. `data` must stay valid until tls_read has returned something else than a positive number. */
void tls_input(tls_session *session, const uint8_t *data, size_t size);

/* Works the input off: handshake, then plaintext of one record at most to `to`. Positive: so many bytes, call
 * again. WEFT_EAGAIN: all input is used. 0: the peer said close_notify; nothing more comes, writing goes
 * on. Other negatives: failed. tls_established may have become true whatever it returns. */
int64_t tls_read(tls_session *session, uint8_t *to, size_t room, weft_chain *out) WEFT_MUST_USE;

/* Turns up to `max` bytes from the front of `plain` into records at the end of `out`, pieces joined so that
 * records are as full as can be. Returns the bytes taken from `plain`; WEFT_EAGAIN before the handshake is
 * through. */
int64_t tls_write(tls_session *session, weft_chain *plain, size_t max,
                  weft_chain *out) WEFT_MUST_USE;

/* Adds close_notify to `out`, once. Harmless after a failure. */
void tls_close(tls_session *session, weft_chain *out);

/* True once the handshake is through and the peer's certificate accepted. (A client is through before the
 * server has judged it: RFC 8446 section 2.) */
bool tls_established(const tls_session *session);

tls_failure tls_session_failure(const tls_session *session);
const char *tls_failure_text(const tls_session *session); /* "" when it has not failed */

/* Strings live as long as the session. */
typedef struct tls_info {
    const char *peer_id;      /* SPIFFE ID, "" when the peer has none */
    const char *peer_subject; /* for peers without ID */
    int64_t peer_expires;     /* wall ns: crypto_verified; INT64_MAX without certificate */
    uint8_t peer_root[CRYPTO_SHA256_SIZE];
    const char *alpn;
    const char *cipher; /* "TLS_AES_128_GCM_SHA256" */
    uint64_t records_in;
    uint64_t records_out;
    uint64_t key_updates; /* that we asked for */
} tls_info;
tls_info tls_session_info(const tls_session *session);

/* The peer's chain as it came, to be kept beyond the session. Empty when it sent none. */
int tls_session_peer(const tls_session *session, crypto_certs *chain) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
