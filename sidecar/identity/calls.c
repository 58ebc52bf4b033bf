/* Calls to IdentityService: the joiner's half of contracts.md "Joining". */
#include <stdio.h>
#include <string.h>

#include "sidecar/identity/internal.h"
#include "weft/control/v1/identity.weft.h"
#include "weft/tls.h"

#ifndef WEFT_VERSION
#define WEFT_VERSION "0.0"
#endif

#define CONTROL_PATH "/ns/weft/sa/control" /* of the control plane's SPIFFE ID */

/* ---- channels */

/* `bundle` NULL: first contact, nothing is verified and nothing secret may be sent. */
static int dial(const identity_calls *calls, const char *address, crypto_svid *svid,
                crypto_bundle *bundle, weft_channel **out, crypto_why *why) {
    char control[CRYPTO_TOKEN_IDENTITY] = "";
    const char *ids[] = {control};
    weft_dial_options options = {.size = sizeof options, .transport = "native"};
    if (calls->plaintext) {
        options.transport = NULL;
    } else {
        tls_config config = {.role = TLS_CLIENT, .clock = calls->clock};
        if (bundle) {
            (void)snprintf(control, sizeof control, "spiffe://%s" CONTROL_PATH,
                           crypto_bundle_domain(bundle));
            config.svid = svid;
            config.bundle = bundle;
            config.ids = ids;
            config.id_count = 1;
        } else {
            config.unverified = true;
        }
        const int error = tls_context_new(&config, &options.tls, why);
        if (error) return error;
    }
    *out = weft_dial_with(address, &options);
    tls_context_unref(options.tls);
    return 0;
}

static int failed(weft_status st, const char *address, const char *what, crypto_why *why) {
    const int error = st.code == WEFT_DEADLINE_EXCEEDED || st.code == WEFT_CANCELLED ? WEFT_ETIMEOUT
                      : st.code == WEFT_UNAVAILABLE                                  ? WEFT_EIO
                                                    : WEFT_ECONFLICT;
    return identity_explain(why, error, "%s at %s: %s: %s", what, address,
                            weft_code_name((int)st.code), weft_status_message(st));
}

/* ---- messages */

static int ders_of(const ProtobufCBinaryData *list, size_t count, crypto_der *out, size_t max,
                   crypto_why *why) {
    if (count > max)
        return identity_explain(why, WEFT_ELIMIT, "the control plane sent %zu certificates", count);
    for (size_t i = 0; i < count; i++) out[i] = (crypto_der){list[i].data, list[i].len};
    return 0;
}

static int bundle_of(const WeftControl__Bundle *message, crypto_bundle **out, crypto_why *why) {
    crypto_der ders[CRYPTO_CERTS_MAX];
    int error = ders_of(message->roots, message->n_roots, ders, CRYPTO_CERTS_MAX, why);
    return error ? error
                 : crypto_bundle_from_der(message->trust_domain, ders, message->n_roots, out, why);
}

/* Takes what the control plane signed for `key`. */
static int take(const WeftControl__Svid *reply, crypto_key *key, int64_t now, identity_state *state,
                crypto_why *why) {
    crypto_der ders[CRYPTO_CHAIN_MAX];
    crypto_bundle *bundle = NULL;
    crypto_svid *svid = NULL;
    int error = reply->bundle
                    ? ders_of(reply->chain, reply->n_chain, ders, CRYPTO_CHAIN_MAX, why)
                    : identity_explain(why, WEFT_EINVAL, "the control plane sent no trust bundle");
    if (!error) error = bundle_of(reply->bundle, &bundle, why);
    if (!error && strcmp(crypto_bundle_domain(bundle), state->domain) != 0)
        error =
            identity_explain(why, WEFT_EINVAL, "the control plane's trust domain was %s, now %s",
                             state->domain, crypto_bundle_domain(bundle));
    if (!error)
        error = crypto_svid_from_der(key, state->spiffe, ders, reply->n_chain, bundle, now, &svid,
                                     &state->expires, why);
    if (error) {
        crypto_bundle_unref(bundle);
        return error;
    }
    identity_state_clear(state);
    state->svid = svid;
    state->bundle = bundle;
    state->sequence = reply->bundle->sequence;
    return 0;
}

static int make_request(const char *spiffe, crypto_key **key, weft_buf *csr, crypto_why *why) {
    weft_buf_init(csr, 0);
    int error = crypto_key_generate(CRYPTO_KEY_P256, key);
    if (!error) error = crypto_csr_make(*key, spiffe, csr);
    return error ? identity_explain(why, error, "no key could be made: %s", weft_strerror(error))
                 : 0;
}

/* ---- joining */

static int first_contact(const identity_calls *calls, weft_ctx *ctx, const crypto_token *token,
                         identity_state *state, crypto_why *why) {
    const WeftControl__GetBundleRequest request = {WEFT_CONTROL_GET_BUNDLE_REQUEST()};
    WeftControl__Bundle *reply = NULL;
    weft_channel *channel;
    int error = dial(calls, state->address, NULL, NULL, &channel, why);
    if (error) return error;
    const weft_status st = weft_control_identity_get_bundle(channel, ctx, &request, &reply);
    if (weft_failed(st)) error = failed(st, state->address, "the trust bundle", why);
    if (!error) error = bundle_of(reply, &state->bundle, why);
    if (!error) error = crypto_token_check(token, state->bundle, weft_wall(calls->clock), why);
    if (!error)
        (void)snprintf(state->domain, sizeof state->domain, "%s",
                       crypto_bundle_domain(state->bundle));
    weft_channel_free(channel);
    return error;
}

int identity_join(const identity_calls *calls, weft_ctx *ctx, const crypto_token *token,
                  const char *text, identity_state *out, crypto_why *why) {
    WeftControl__JoinRequest request = {WEFT_CONTROL_JOIN_REQUEST()};
    WeftControl__Peer peer = {WEFT_CONTROL_PEER()};
    WeftControl__Svid *reply = NULL;
    identity_state state = *out;
    weft_channel *channel = NULL;
    crypto_key *key = NULL;
    weft_buf csr;
    if (!*state.address) (void)snprintf(state.address, sizeof state.address, "%s", token->address);
    (void)snprintf(state.spiffe, sizeof state.spiffe, "%s", token->identity);
    int error = make_request(state.spiffe, &key, &csr, why);
    if (!error) error = first_contact(calls, ctx, token, &state, why);
    if (!error) error = dial(calls, state.address, NULL, state.bundle, &channel, why);
    if (!error) {
        request.token = weft_strdup(ctx, text);
        request.csr.data = (uint8_t *)csr.data;
        request.csr.len = csr.len;
        peer.version = weft_strdup(ctx, WEFT_VERSION);
        request.peer = &peer;
        if (!request.token || !peer.version)
            error = identity_explain(why, WEFT_ENOMEM, "out of memory");
    }
    if (!error) {
        const weft_status st = weft_control_identity_join(channel, ctx, &request, &reply);
        error = weft_failed(st) ? failed(st, state.address, "joining", why)
                                : take(reply, key, weft_wall(calls->clock), &state, why);
    }
    weft_channel_free(channel);
    crypto_key_unref(key);
    weft_buf_free(&csr);
    if (error)
        identity_state_clear(&state);
    else
        *out = state;
    return error;
}

/* ---- later */

int identity_renew(const identity_calls *calls, weft_ctx *ctx, identity_state *state,
                   crypto_why *why) {
    WeftControl__RenewRequest request = {WEFT_CONTROL_RENEW_REQUEST()};
    WeftControl__Svid *reply = NULL;
    weft_channel *channel = NULL;
    crypto_key *key = NULL;
    weft_buf csr;
    int error = make_request(state->spiffe, &key, &csr, why);
    if (!error) error = dial(calls, state->address, state->svid, state->bundle, &channel, why);
    if (!error) {
        request.csr.data = (uint8_t *)csr.data;
        request.csr.len = csr.len;
        const weft_status st = weft_control_identity_renew(channel, ctx, &request, &reply);
        error = weft_failed(st) ? failed(st, state->address, "renewing", why)
                                : take(reply, key, weft_wall(calls->clock), state, why);
    }
    weft_channel_free(channel);
    crypto_key_unref(key);
    weft_buf_free(&csr);
    return error;
}

int identity_follow(const identity_calls *calls, weft_ctx *ctx, const identity_state *state,
                    void (*each)(void *user, crypto_bundle *bundle, uint64_t sequence), void *user,
                    crypto_why *why) {
    WeftControl__WatchBundleRequest request = {WEFT_CONTROL_WATCH_BUNDLE_REQUEST()};
    WeftControl__Bundle *message;
    weft_channel *channel;
    int error = dial(calls, state->address, state->svid, state->bundle, &channel, why);
    if (error) return error;
    request.after = state->sequence;
    weft_control_identity_watch_bundle_stream *stream =
        weft_control_identity_watch_bundle(channel, ctx, &request);
    while (!error && weft_control_identity_watch_bundle_next(stream, &message)) {
        crypto_bundle *bundle = NULL;
        error = bundle_of(message, &bundle, why);
        if (!error && strcmp(crypto_bundle_domain(bundle), state->domain) != 0)
            error = identity_explain(why, WEFT_EINVAL, "the bundle is of another trust domain");
        if (!error)
            each(user, bundle, message->sequence);
        else
            crypto_bundle_unref(bundle);
    }
    const weft_status st = weft_control_identity_watch_bundle_end(stream);
    if (!error && weft_failed(st)) error = failed(st, state->address, "following the bundle", why);
    weft_channel_free(channel);
    return error;
}
