/* A server's and a client's session fed by a stranger, in pieces: it fails with a line, and never opens. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/pki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static tls_context *contexts[2];
static weft_chunk_pool *pool;

static void set_up(void) {
    static test_pki mesh;
    pki_init(&mesh, "mesh.local", "mesh");
    crypto_svid *svid = pki_svid(&mesh, "/ns/shop/sa/product", PKI_NOW, PKI_DAY);
    contexts[0] = pki_server(&mesh, svid, NULL);
    contexts[1] = pki_client(&mesh, svid, "spiffe://mesh.local/ns/shop/sa/order", NULL);
    crypto_svid_unref(svid);
    pool = weft_chunk_pool_new(1024, 4);
}

/* The first byte: role and how the rest is cut. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t text[TLS_RECORD_MAX];
    weft_chain out;
    if (!pool) set_up();
    if (!size) return 0;
    tls_session *session = tls_session_new(contexts[data[0] & 1]);
    if (!session) abort();
    weft_chain_init(&out, pool);
    if (tls_start(session, &out)) abort();
    const size_t piece = (data[0] >> 1) ? (size_t)(data[0] >> 1) * 3 : size;
    for (size_t at = 1; at < size; at += piece) {
        const size_t n = size - at < piece ? size - at : piece;
        int64_t got;
        tls_input(session, data + at, n);
        while ((got = tls_read(session, text, sizeof text, &out)) > 0) {}
        if (tls_established(session)) abort();
        if (got != WEFT_EAGAIN && !*tls_failure_text(session)) abort();
        if (strchr(tls_failure_text(session), '\n')) abort();
    }
    tls_close(session, &out);
    weft_chain_clear(&out);
    tls_session_free(session);
    return 0;
}
