/* The process's certificates: TLS contexts for every listener and cluster of a snapshot, made from
 * the files it names. */
#ifndef SIDECAR_CERTS_H
#define SIDECAR_CERTS_H

#include "sidecar/config/config.h"
#include "weft/tls.h"

typedef struct certs {
    tls_context **listeners; /* by index; NULL: plaintext */
    tls_context **clusters;
    uint32_t listener_count, cluster_count;
    char self[CRYPTO_SPIFFE_MAX + 1]; /* our SPIFFE ID: of the first identity found, or "" */
} certs;

/* Room for a line that names file and problem. */
#define CERTS_WHY (CRYPTO_WHY_SIZE + 320)

/* Blocks on files. On failure `why` has the line, and *out nothing to free. */
int certs_load(const config_snapshot *snapshot, certs *out, char why[CERTS_WHY]) WEFT_MUST_USE;
void certs_free(certs *c);

#endif
