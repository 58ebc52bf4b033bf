/* What the files of a TLS session share. */
#ifndef TLS_INTERNAL_H
#define TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "lib/crypto/internal.h"
#include "weft/tls.h"

#define TLS_ALPN_MAX 8u
#define TLS_FIRST_BYTES 16u
#define TLS_BARREN_MAX \
    64u /* records without data, plus one for every 8 with, and two a key update */
#define TLS_CERTS_BYTES_MAX 32768u /* of a peer's certificate message */

struct tls_context {
    atomic_uint refs;
    SSL_CTX *ssl;
    tls_config config;   /* its pointers lead to what follows */
    unsigned char *alpn; /* as on the wire: length, name, … */
    unsigned alpn_size;
    char **strings; /* all copied strings, NULL at the end */
};

/* Invariants: failure != TLS_FAIL_NONE <=> the session has failed for good; `out` is NULL outside of calls;
 * in_size bytes at `in` have not been read yet. */
struct tls_session {
    tls_context *context;
    SSL *ssl;
    const uint8_t *in;
    size_t in_size;
    weft_chain *out;
    char *text;    /* heap: the failure's line */
    char *peer_id; /* heap, or NULL */
    char *subject; /* heap, of a peer without ID */
    int64_t expires;
    uint64_t records_in;
    uint64_t records_out;
    uint64_t in_since_rekey;
    uint64_t out_since_rekey;
    uint64_t key_updates;
    uint32_t handshake_bytes;
    uint64_t
        barren; /* records after the handshake that brought no data: KeyUpdate, tickets, empty */
    int alert;  /* received and fatal, or -1 */
    tls_failure failure;
    uint8_t root[CRYPTO_SHA256_SIZE];
    uint8_t first[TLS_FIRST_BYTES]; /* what the peer began with */
    uint8_t first_size;
    bool established;
    bool counted; /* the record in hand is in `barren` so far */
    bool flooded;
    bool bye;
    bool no_memory;
};

/* tls_session.c: the index of the session in an SSL's extra data. */
tls_session *tls_session_of(const SSL *ssl);

/* tls_explain.c: puts a failure into words, once. */
void tls_fail(tls_session *session, tls_failure failure, const char *format, ...) WEFT_PRINTF(3, 4);
void tls_fail_from_openssl(tls_session *session);
void tls_fail_not_tls(tls_session *session);

/* tls_context.c */
int tls_verify_peer(X509_STORE_CTX *store, void *context);

#endif
