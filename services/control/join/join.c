/* Who gets a certificate: see join.h. */
#include "services/control/join/join.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "services/control/join/tokens.h"
#include "weft/log.h"

void join_init(join_desk *desk, ca *authority, weft_revisions *store, audit *log,
               const weft_clock *clock) {
    pthread_condattr_t monotonic;
    *desk = (join_desk){.authority = authority, .store = store, .log = log, .clock = clock};
    (void)pthread_mutex_init(&desk->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&desk->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

void join_end(join_desk *desk) {
    (void)pthread_cond_destroy(&desk->changed);
    (void)pthread_mutex_destroy(&desk->lock);
}

void join_result_clear(join_result *result) {
    crypto_certs_clear(&result->chain);
    crypto_bundle_unref(result->bundle);
    result->bundle = NULL;
}

/* ---- refusals */

static void refuse(join_desk *desk, join_result *out, weft_code code, const char *event,
                   const char *peer, const char *format, ...) WEFT_PRINTF(6, 7);
static void refuse(join_desk *desk, join_result *out, weft_code code, const char *event,
                   const char *peer, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)vsnprintf(out->text, sizeof out->text, format, args);
    va_end(args);
    out->code = code;
    (void)audit_refusal(desk->log, event, peer, out->text);
}

/* ---- certificates */

static void sign(join_desk *desk, const char *identity, join_csr csr, const char *event,
                 const char *peer, join_result *out) {
    crypto_why why = {""};
    char refused[64], line[AUDIT_TEXT];
    const int64_t now = weft_wall(desk->clock);
    (void)pthread_mutex_lock(&desk->lock);
    const int error =
        ca_sign(desk->authority, identity, csr.data, csr.size, now, &out->chain, &why);
    if (!error) {
        out->bundle = crypto_bundle_ref(ca_bundle(desk->authority));
        out->sequence = ca_sequence(desk->authority);
    }
    (void)pthread_mutex_unlock(&desk->lock);
    (void)snprintf(refused, sizeof refused, "%s.refused", event);
    if (error) {
        const weft_code code = error == WEFT_ECONFLICT ? WEFT_PERMISSION_DENIED
                               : error == WEFT_ENOMEM  ? WEFT_RESOURCE_EXHAUSTED
                                                       : WEFT_INVALID_ARGUMENT;
        refuse(desk, out, code, refused, peer, "no certificate: %s", why.text);
        return;
    }
    const crypto_cert_info *leaf = crypto_cert_get_info(out->chain.items[0]);
    out->expires = leaf->not_after;
    out->renew_at = now + (leaf->not_after - now) / 2;
    (void)snprintf(out->identity, sizeof out->identity, "%s", identity);
    (void)snprintf(line, sizeof line, "%s has certificate %s", identity, leaf->serial);
    if (audit_add(desk->log, event, peer, line) < 0) {
        /* What is not on record is not given out. */
        join_result_clear(out);
        out->code = WEFT_UNAVAILABLE;
        (void)snprintf(out->text, sizeof out->text,
                       "no certificate: the control plane cannot write its audit log; try again");
    }
}

void join_with_token(join_desk *desk, const char *token, join_csr csr, const char *peer,
                     join_result *out) {
    crypto_token shown;
    crypto_why why = {""};
    uint8_t pin[CRYPTO_SHA256_SIZE];
    char identity[CRYPTO_TOKEN_IDENTITY];
    token_verdict verdict = TOKEN_UNKNOWN;
    *out = (join_result){.code = WEFT_OK};
    if (crypto_token_parse(token, &shown, &why) < 0) {
        refuse(desk, out, WEFT_UNAUTHENTICATED, "join.refused", peer, "%s", why.text);
        return;
    }
    (void)pthread_mutex_lock(&desk->lock);
    int error = crypto_bundle_digest(ca_bundle(desk->authority), pin);
    (void)pthread_mutex_unlock(&desk->lock);
    if (!error)
        error =
            tokens_use(desk->store, &shown, pin, weft_wall(desk->clock), peer, &verdict, identity);
    crypto_wipe(shown.secret, sizeof shown.secret);
    if (error) {
        out->code = WEFT_UNAVAILABLE;
        (void)snprintf(out->text, sizeof out->text,
                       "join token %s could not be looked up (%s); try again", shown.id,
                       weft_strerror(error));
        weft_log(WEFT_LOG_ERROR, "tokens cannot be read", WEFT_S("why", weft_store_message()));
    } else if (verdict != TOKEN_GOOD) {
        refuse(desk, out, WEFT_UNAUTHENTICATED, "join.refused", peer, "join token %s %s", shown.id,
               token_verdict_text(verdict));
    } else {
        sign(desk, identity, csr, "join", peer, out);
        if (out->code == WEFT_OK) (void)atomic_fetch_add(&desk->joins, 1);
    }
}

void join_renew(join_desk *desk, const char *identity, join_csr csr, const char *peer,
                join_result *out) {
    *out = (join_result){.code = WEFT_OK};
    if (!identity) {
        refuse(desk, out, WEFT_UNAUTHENTICATED, "renew.refused", peer,
               "renewal needs mTLS with the certificate you have; without one, join with a token");
        return;
    }
    sign(desk, identity, csr, "renew", identity, out);
    if (out->code == WEFT_OK) (void)atomic_fetch_add(&desk->renewals, 1);
}

/* ---- the bundle */

crypto_bundle *join_bundle(join_desk *desk, uint64_t *sequence) {
    (void)pthread_mutex_lock(&desk->lock);
    crypto_bundle *bundle = crypto_bundle_ref(ca_bundle(desk->authority));
    *sequence = ca_sequence(desk->authority);
    (void)pthread_mutex_unlock(&desk->lock);
    return bundle;
}

crypto_bundle *join_bundle_wait(join_desk *desk, uint64_t after, int64_t deadline,
                                uint64_t *sequence) {
    crypto_bundle *bundle = NULL;
    const struct timespec until = {.tv_sec = deadline / WEFT_NS_PER_S,
                                   .tv_nsec = deadline % WEFT_NS_PER_S};
    int late = 0;
    (void)pthread_mutex_lock(&desk->lock);
    while (!desk->closed && ca_sequence(desk->authority) <= after && !late)
        late = pthread_cond_timedwait(&desk->changed, &desk->lock, &until);
    if (!desk->closed && ca_sequence(desk->authority) > after) {
        bundle = crypto_bundle_ref(ca_bundle(desk->authority));
        *sequence = ca_sequence(desk->authority);
    }
    (void)pthread_mutex_unlock(&desk->lock);
    return bundle;
}

void join_close(join_desk *desk) {
    (void)pthread_mutex_lock(&desk->lock);
    desk->closed = true;
    (void)pthread_cond_broadcast(&desk->changed);
    (void)pthread_mutex_unlock(&desk->lock);
}

int join_rotate(join_desk *desk, const char *actor, ca_rotation *out, crypto_why *why) {
    char signs[28], done[28], line[AUDIT_TEXT];
    (void)pthread_mutex_lock(&desk->lock);
    const int error = ca_rotate(desk->authority, weft_wall(desk->clock), out, why);
    if (!error) (void)pthread_cond_broadcast(&desk->changed);
    (void)pthread_mutex_unlock(&desk->lock);
    if (error) return error;
    (void)snprintf(line, sizeof line,
                   "a new root is in the bundle; it signs from %s, the old one leaves %s",
                   weft_time_format(out->signs, signs), weft_time_format(out->done, done));
    (void)audit_add(desk->log, "root.rotate", actor, line);
    return 0;
}

int64_t join_tick(join_desk *desk) {
    crypto_why why = {""};
    int64_t next = INT64_MAX;
    (void)pthread_mutex_lock(&desk->lock);
    const int changed = ca_tick(desk->authority, weft_wall(desk->clock), &next, &why);
    if (changed > 0) (void)pthread_cond_broadcast(&desk->changed);
    (void)pthread_mutex_unlock(&desk->lock);
    if (changed > 0)
        (void)audit_add(desk->log, "root.removed", "control plane",
                        "the old root left the bundle; nothing signed by it is valid any more");
    if (changed < 0) {
        weft_log(WEFT_LOG_ERROR, "the old root could not be removed", WEFT_S("why", why.text));
        next = weft_wall(desk->clock) + 10 * WEFT_NS_PER_S;
    }
    return next;
}

/* ---- tokens */

int join_token(join_desk *desk, crypto_token *token, const char *actor, crypto_why *why) {
    char line[AUDIT_TEXT], expires[28];
    crypto_spiffe id;
    const char *domain = ca_domain(desk->authority);
    const char *rule = NULL;
    if (crypto_spiffe_parse(token->identity, strlen(token->identity), &id, &rule) < 0 ||
        id.domain_size != strlen(domain) || memcmp(id.domain, domain, id.domain_size) != 0) {
        (void)snprintf(why->text, sizeof why->text, "%.300s is no identity of trust domain %.255s",
                       token->identity, domain);
        return WEFT_EINVAL;
    }
    (void)pthread_mutex_lock(&desk->lock);
    int error = crypto_bundle_digest(ca_bundle(desk->authority), token->pin);
    (void)pthread_mutex_unlock(&desk->lock);
    if (!error) error = tokens_create(desk->store, token, actor);
    if (error) {
        (void)snprintf(why->text, sizeof why->text, "no token was made: %s",
                       error == WEFT_EINVAL ? "the address is none" : weft_store_message());
        return error;
    }
    (void)snprintf(line, sizeof line, "token %s for %s until %s", token->id, token->identity,
                   weft_time_format(token->expires, expires));
    error = audit_add(desk->log, "token.created", actor, line);
    if (error)
        (void)snprintf(why->text, sizeof why->text, "no token: the audit log cannot be written");
    return error;
}
