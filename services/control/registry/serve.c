/* RegistryService over gRPC: a lease is a stream. registry.h has the states. */
#include <stdio.h>
#include <string.h>

#include "services/control/control.h"
#include "services/control/join/serve.h"
#include "services/control/registry/wire.h"
#include "weft/control/v1/registry.weft.h"
#include "weft/log.h"

typedef weft_control_registry_lease_server_stream lease_stream;

/* Who may register as what: the one its SVID names, or on plaintext of this machine anyone. */
static weft_status attest(weft_ctx *ctx, control *c, const WeftControl__Register *claim) {
    const control_peer peer = control_peer_of(c, ctx);
    char identity[CRYPTO_TOKEN_IDENTITY], line[AUDIT_TEXT];
    if (peer.trusted) return weft_ok();
    if (!peer.identity)
        return weft_unauthenticated(ctx, "a lease needs mTLS: join first, with a token");
    if (!crypto_spiffe_format(c->options.domain, claim->namespace_, claim->service, identity,
                              sizeof identity) &&
        !strcmp(identity, peer.identity))
        return weft_ok();
    (void)snprintf(line, sizeof line, "lease refused: %s.%s may not be registered by %s",
                   claim->service, claim->namespace_, peer.identity);
    (void)audit_refusal(&c->log, "lease.refused", peer.identity, line);
    return weft_permission_denied(ctx, "%s", line);
}

static weft_status registered(weft_ctx *ctx, control *c, lease_stream *stream) {
    WeftControl__LeaseResponse message = {WEFT_CONTROL_LEASE_RESPONSE()};
    WeftControl__Registered body = {WEFT_CONTROL_REGISTERED()};
    Google__Protobuf__Duration times[3] = {GOOGLE__PROTOBUF__DURATION__INIT,
                                           GOOGLE__PROTOBUF__DURATION__INIT,
                                           GOOGLE__PROTOBUF__DURATION__INIT};
    const int64_t ns[3] = {c->options.heartbeat, c->options.down_after, c->options.grace};
    for (int i = 0; i < 3; i++) {
        times[i].seconds = ns[i] / WEFT_NS_PER_S;
        times[i].nanos = (int32_t)(ns[i] % WEFT_NS_PER_S);
    }
    body.heartbeat = &times[0];
    body.down_after = &times[1];
    body.grace = &times[2];
    body.peer = control_peer_message(ctx);
    message.kind_case = WEFT_CONTROL__LEASE_RESPONSE__KIND_REGISTERED;
    message.registered = &body;
    if (!weft_control_registry_lease_server_send(stream, &message))
        return weft_control_registry_lease_server_status(stream);
    return weft_ok();
}

static weft_status begin(weft_ctx *ctx, control *c, lease_stream *stream, uint64_t *lease) {
    WeftControl__LeaseRequest *message;
    registry_view_instance claim;
    const char *why = "";
    if (!weft_control_registry_lease_server_next(stream, &message))
        return weft_failed(weft_control_registry_lease_server_status(stream))
                   ? weft_control_registry_lease_server_status(stream)
                   : weft_invalid(ctx, "register", "must be the first message");
    if (message->kind_case != WEFT_CONTROL__LEASE_REQUEST__KIND_REGISTER)
        return weft_invalid(ctx, "register", "must be the first message");
    const WeftControl__Register *claimed = message->register_;
    weft_status st = attest(ctx, c, claimed);
    if (weft_failed(st)) return st;
    if (wire_claim(claimed, weft_ctx_arena(ctx), &claim) < 0)
        return weft_resource_exhausted(ctx, "register: too large");
    (void)pthread_mutex_lock(&c->registry_lock);
    const int error =
        registry_register(c->members, &claim, weft_now(c->options.clock), lease, &why);
    (void)pthread_mutex_unlock(&c->registry_lock);
    if (error == WEFT_EINVAL) return weft_invalid(ctx, "register", "%s", why);
    if (error == WEFT_EEXIST)
        return weft_already_exists(ctx, "instance %s is one of another service", claim.id);
    if (error)
        return weft_resource_exhausted(ctx, "the registry takes no more: %s", weft_strerror(error));
    weft_log(WEFT_LOG_INFO, "registered", WEFT_S("service", claim.service),
             WEFT_S("namespace", claim.name_space), WEFT_S("instance", claim.id),
             WEFT_S("address", claim.address));
    control_wake(c);
    return weft_ok();
}

/* One message of a lease that stands. *left: it was the last. */
static weft_status hear(weft_ctx *ctx, control *c, lease_stream *stream, uint64_t lease,
                        const WeftControl__LeaseRequest *message, bool *left) {
    if (message->kind_case == WEFT_CONTROL__LEASE_REQUEST__KIND_LEAVE) {
        (void)pthread_mutex_lock(&c->registry_lock);
        registry_leave(c->members, lease, weft_now(c->options.clock));
        (void)pthread_mutex_unlock(&c->registry_lock);
        *left = true;
        return weft_ok();
    }
    if (message->kind_case != WEFT_CONTROL__LEASE_REQUEST__KIND_HEARTBEAT)
        return weft_invalid(ctx, "kind", "heartbeats and leave follow a registration");
    const WeftControl__Heartbeat *beat = message->heartbeat;
    (void)pthread_mutex_lock(&c->registry_lock);
    const uint64_t before = registry_version(c->members);
    const int error = registry_heartbeat(c->members, lease, weft_now(c->options.clock),
                                         wire_health(beat->health), beat->draining);
    const bool changed = registry_version(c->members) != before;
    (void)pthread_mutex_unlock(&c->registry_lock);
    if (error) return weft_aborted(ctx, "another stream has taken this lease over");
    if (changed) control_wake(c);
    WeftControl__LeaseResponse reply = {WEFT_CONTROL_LEASE_RESPONSE()};
    WeftControl__Acknowledged body = {WEFT_CONTROL_ACKNOWLEDGED()};
    body.sequence = beat->sequence;
    reply.kind_case = WEFT_CONTROL__LEASE_RESPONSE__KIND_ACKNOWLEDGED;
    reply.acknowledged = &body;
    if (!weft_control_registry_lease_server_send(stream, &reply))
        return weft_control_registry_lease_server_status(stream);
    return weft_ok();
}

static weft_status serve_lease(weft_ctx *ctx, lease_stream *stream) {
    control *c = weft_ctx_service(ctx);
    WeftControl__LeaseRequest *message;
    uint64_t lease = 0;
    bool left = false;
    weft_status st = begin(ctx, c, stream, &lease);
    if (weft_failed(st)) return st;
    st = registered(ctx, c, stream);
    while (!weft_failed(st) && !left && weft_control_registry_lease_server_next(stream, &message))
        st = hear(ctx, c, stream, lease, message, &left);
    if (!weft_failed(st) && !left) st = weft_control_registry_lease_server_status(stream);
    (void)pthread_mutex_lock(&c->registry_lock);
    registry_broke(c->members, lease, weft_now(c->options.clock));
    (void)pthread_mutex_unlock(&c->registry_lock);
    control_wake(c);
    return st;
}

int control_serve_registry(weft_server *server, control *c) {
    static const weft_control_registry_service handlers = {.lease = serve_lease};
    return weft_control_registry_service_add(server, &handlers, c);
}
