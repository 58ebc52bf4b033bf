/* IdentityService over gRPC: join.h has the decisions. */
#include <string.h>

#include "services/control/control.h"
#include "services/control/join/serve.h"
#include "weft/control/v1/identity.weft.h"
#include "weft/crypto_join.h"

/* A version is "<major>.<minor>"; ours is given by the build. */
#ifndef WEFT_VERSION
#define WEFT_VERSION "0.0"
#endif

/* ---- messages */

static int add_der(weft_ctx *ctx, const crypto_cert *cert, ProtobufCBinaryData *out) {
    weft_buf der;
    weft_buf_init(&der, CRYPTO_CERT_SIZE_MAX);
    int error = crypto_cert_to_der(cert, &der);
    out->data = error ? NULL : weft_memdup(ctx, der.data, der.len);
    out->len = der.len;
    weft_buf_free(&der);
    return error ? error : out->data ? 0 : WEFT_ENOMEM;
}

static int add_certs(weft_ctx *ctx, const crypto_certs *certs, ProtobufCBinaryData **list,
                     size_t *count) {
    *list = weft_array(ctx, certs->count, sizeof **list);
    if (!*list) return WEFT_ENOMEM;
    for (size_t i = 0; i < certs->count; i++) {
        const int error = add_der(ctx, certs->items[i], &(*list)[i]);
        if (error) return error;
    }
    *count = certs->count;
    return 0;
}

static int fill_bundle(weft_ctx *ctx, const crypto_bundle *bundle, uint64_t sequence,
                       WeftControl__Bundle *out) {
    uint8_t digest[CRYPTO_SHA256_SIZE];
    int error = crypto_bundle_digest(bundle, digest);
    if (error) return error;
    out->trust_domain = weft_strdup(ctx, crypto_bundle_domain(bundle));
    out->digest.data = weft_memdup(ctx, digest, sizeof digest);
    out->digest.len = sizeof digest;
    out->sequence = sequence;
    if (!out->trust_domain || !out->digest.data) return WEFT_ENOMEM;
    return add_certs(ctx, crypto_bundle_roots(bundle), &out->roots, &out->n_roots);
}

WeftControl__Peer *control_peer_message(weft_ctx *ctx) {
    WeftControl__Peer *peer = weft_control_peer_new(ctx);
    const char *dot = strchr(WEFT_VERSION, '.');
    const size_t minor = dot ? strspn(dot + 1, "0123456789") : 0;
    if (peer)
        peer->version =
            weft_strndup(ctx, WEFT_VERSION, dot ? (size_t)(dot - WEFT_VERSION) + 1 + minor : 16);
    return peer && peer->version ? peer : NULL;
}

static weft_status answer(weft_ctx *ctx, join_result *result, WeftControl__Svid *reply) {
    if (result->code != WEFT_OK) return weft_error(ctx, result->code, "%s", result->text);
    reply->bundle = weft_control_bundle_new(ctx);
    reply->peer = control_peer_message(ctx);
    reply->renew_at = result->renew_at / WEFT_NS_PER_S;
    reply->expires_at = result->expires / WEFT_NS_PER_S;
    int error = reply->bundle && reply->peer ? 0 : WEFT_ENOMEM;
    if (!error) error = fill_bundle(ctx, result->bundle, result->sequence, reply->bundle);
    if (!error) error = add_certs(ctx, &result->chain, &reply->chain, &reply->n_chain);
    if (error) return weft_internal(ctx, "no certificate: %s", weft_strerror(error));
    return weft_ok();
}

/* ---- handlers */

static weft_status get_bundle(weft_ctx *ctx, const WeftControl__GetBundleRequest *request,
                              WeftControl__Bundle *reply) {
    control *c = weft_ctx_service(ctx);
    uint64_t sequence;
    (void)request;
    crypto_bundle *bundle = join_bundle(&c->desk, &sequence);
    const int error = fill_bundle(ctx, bundle, sequence, reply);
    crypto_bundle_unref(bundle);
    return error ? weft_internal(ctx, "no bundle: %s", weft_strerror(error)) : weft_ok();
}

static weft_status join(weft_ctx *ctx, const WeftControl__JoinRequest *request,
                        WeftControl__Svid *reply) {
    control *c = weft_ctx_service(ctx);
    const control_peer peer = control_peer_of(c, ctx);
    const join_csr csr = {request->csr.data, request->csr.len};
    join_result result;
    join_with_token(&c->desk, request->token, csr, peer.address, &result);
    const weft_status st = answer(ctx, &result, reply);
    join_result_clear(&result);
    return st;
}

static weft_status renew(weft_ctx *ctx, const WeftControl__RenewRequest *request,
                         WeftControl__Svid *reply) {
    control *c = weft_ctx_service(ctx);
    const control_peer peer = control_peer_of(c, ctx);
    const join_csr csr = {request->csr.data, request->csr.len};
    join_result result;
    join_renew(&c->desk, peer.identity, csr, peer.address, &result);
    const weft_status st = answer(ctx, &result, reply);
    join_result_clear(&result);
    return st;
}

static bool closed(control *c) {
    (void)pthread_mutex_lock(&c->desk.lock);
    const bool is = c->desk.closed;
    (void)pthread_mutex_unlock(&c->desk.lock);
    return is;
}

static weft_status watch_bundle(weft_ctx *ctx, const WeftControl__WatchBundleRequest *request,
                                weft_control_identity_watch_bundle_writer *out) {
    control *c = weft_ctx_service(ctx);
    uint64_t after = request->after;
    while (!weft_ctx_cancelled(ctx)) {
        uint64_t sequence;
        crypto_bundle *bundle =
            join_bundle_wait(&c->desk, after, weft_now(NULL) + WEFT_NS_PER_S, &sequence);
        if (!bundle && closed(c)) return weft_unavailable(ctx, "the control plane stops");
        if (!bundle) continue;
        WeftControl__Bundle message = {WEFT_CONTROL_BUNDLE()};
        const int error = fill_bundle(ctx, bundle, sequence, &message);
        crypto_bundle_unref(bundle);
        if (error) return weft_internal(ctx, "no bundle: %s", weft_strerror(error));
        if (!weft_control_identity_watch_bundle_send(out, &message)) break;
        after = sequence;
    }
    return weft_ctx_status(ctx);
}

int control_serve_identity(weft_server *server, control *c) {
    static const weft_control_identity_service handlers = {
        .get_bundle = get_bundle, .join = join, .renew = renew, .watch_bundle = watch_bundle};
    return weft_control_identity_service_add(server, &handlers, c);
}
