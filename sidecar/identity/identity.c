/* Who this sidecar is: see identity.h. Two threads: one renews, one follows the bundle. */
#include "sidecar/identity/identity.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "sidecar/identity/internal.h"
#include "weft/log.h"
#include "weft/mem.h"

/* Invariant: `now` is complete from identity_open on; changes are made and told under `lock`, so that they come
 * in order. */
struct identity {
    identity_options options;
    char folder[IDENTITY_PATH];
    identity_calls calls;
    weft_rng rng;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    identity_state now;
    int64_t renews;
    uint64_t renewals, failures;
    char problem[256];
    bool stopping;
    weft_ctx *calling[2]; /* of the two threads, while in a call */
    pthread_t threads[2];
    int running;
};

enum { RENEWER, FOLLOWER };

/* ---- open */

static void init(identity *self) {
    pthread_condattr_t monotonic;
    (void)pthread_mutex_init(&self->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&self->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    weft_rng_seed(&self->rng, weft_rng_system_seed());
}

static int join(identity *self, crypto_why *why) {
    const identity_options *o = &self->options;
    crypto_token token;
    int error = crypto_token_parse(o->token, &token, why);
    if (error) return error;
    if (o->spiffe && strcmp(o->spiffe, token.identity) != 0)
        error = identity_explain(why, WEFT_EINVAL, "join token %s is for %s, not for %s", token.id,
                                 token.identity, o->spiffe);
    weft_ctx *ctx = error ? NULL : weft_ctx_new(o->timeout ? o->timeout : IDENTITY_TIMEOUT);
    if (!error && !ctx) error = identity_explain(why, WEFT_ENOMEM, "out of memory");
    if (!error && o->address)
        (void)snprintf(self->now.address, sizeof self->now.address, "%s", o->address);
    if (!error) error = identity_join(&self->calls, ctx, &token, o->token, &self->now, why);
    crypto_wipe(&token, sizeof token);
    weft_ctx_free(ctx);
    return error ? error : identity_save(self->folder, &self->now, why);
}

static int load_or_join(identity *self, crypto_why *why) {
    const identity_options *o = &self->options;
    int error = identity_folder_check(self->folder, why);
    if (error) return error;
    error = identity_load(self->folder, weft_wall(o->clock), &self->now, why);
    if (!error && o->spiffe && strcmp(o->spiffe, self->now.spiffe) != 0) {
        error = identity_explain(why, WEFT_EINVAL,
                                 "%s holds the identity %s, not %s; empty it, or "
                                 "give this sidecar a folder of its own",
                                 self->folder, self->now.spiffe, o->spiffe);
        identity_state_clear(&self->now);
    }
    if (!error && o->address)
        (void)snprintf(self->now.address, sizeof self->now.address, "%s", o->address);
    if (!error) return 0;
    if (o->token) {
        self->now = (identity_state){.sequence = 0};
        return join(self, why);
    }
    if (error == WEFT_ENOTFOUND || error == WEFT_ETIMEOUT) {
        const size_t size = strlen(why->text);
        (void)snprintf(why->text + size, sizeof why->text - size,
                       "; give a join token (`weft token create`)");
    }
    return error;
}

int identity_open(const identity_options *options, identity **out, crypto_why *why) {
    identity *self = weft_calloc(1, sizeof *self);
    if (!self) return identity_explain(why, WEFT_ENOMEM, "out of memory");
    self->options = *options;
    self->calls = (identity_calls){.clock = options->clock, .plaintext = options->plaintext};
    (void)snprintf(self->folder, sizeof self->folder, "%s", options->folder);
    init(self);
    const int error = load_or_join(self, why);
    if (error) {
        identity_close(self);
        return error;
    }
    self->renews = identity_renew_at(weft_wall(options->clock), self->now.expires, &self->rng);
    self->options.token = NULL; /* used up, or not needed; it may go */
    self->options.spiffe = self->options.address = NULL;
    *out = self;
    return 0;
}

/* ---- threads */

static identity_state copy_state(const identity_state *from) {
    identity_state copy = *from;
    copy.svid = crypto_svid_ref(from->svid);
    copy.bundle = crypto_bundle_ref(from->bundle);
    return copy;
}

/* A context that identity_close cancels; NULL when it is closing already. */
static weft_ctx *begin(identity *self, int who, int64_t timeout) {
    weft_ctx *ctx = weft_ctx_new(timeout);
    (void)pthread_mutex_lock(&self->lock);
    if (self->stopping) {
        weft_ctx_free(ctx);
        ctx = NULL;
    }
    self->calling[who] = ctx;
    (void)pthread_mutex_unlock(&self->lock);
    return ctx;
}

static void end(identity *self, int who) {
    (void)pthread_mutex_lock(&self->lock);
    weft_ctx *ctx = self->calling[who];
    self->calling[who] = NULL;
    (void)pthread_mutex_unlock(&self->lock);
    weft_ctx_free(ctx);
}

static void tell(identity *self) {
    if (self->options.changed)
        self->options.changed(self->options.user, self->now.svid, self->now.bundle);
}

/* Under the lock. A later bundle that came meanwhile by the other way is not undone. */
static void adopt(identity *self, identity_state *fresh) {
    crypto_why why = {""};
    if (fresh->sequence < self->now.sequence) {
        crypto_bundle_unref(fresh->bundle);
        fresh->bundle = crypto_bundle_ref(self->now.bundle);
        fresh->sequence = self->now.sequence;
    }
    identity_state_clear(&self->now);
    self->now = *fresh;
    if (identity_save(self->folder, &self->now, &why) < 0)
        weft_log(WEFT_LOG_ERROR, "the renewed certificate cannot be saved",
                 WEFT_S("why", why.text));
    tell(self);
}

static void try_renew(identity *self) {
    crypto_why why = {""};
    (void)pthread_mutex_lock(&self->lock);
    identity_state fresh = copy_state(&self->now);
    (void)pthread_mutex_unlock(&self->lock);
    weft_ctx *ctx = begin(self, RENEWER, IDENTITY_TIMEOUT);
    int error = ctx ? identity_renew(&self->calls, ctx, &fresh, &why) : WEFT_ECLOSED;
    end(self, RENEWER);
    const int64_t now = weft_wall(self->options.clock);
    (void)pthread_mutex_lock(&self->lock);
    if (error) {
        identity_state_clear(&fresh);
        self->failures++;
        self->renews = identity_retry_at(now, self->now.expires, self->failures, &self->rng);
    } else {
        adopt(self, &fresh);
        self->renewals++;
        self->failures = 0;
        self->renews = identity_renew_at(now, self->now.expires, &self->rng);
    }
    (void)snprintf(self->problem, sizeof self->problem, "%.255s", why.text);
    const bool stopping = self->stopping;
    (void)pthread_mutex_unlock(&self->lock);
    if (error && !stopping)
        weft_log(WEFT_LOG_WARN, "the certificate could not be renewed; trying again",
                 WEFT_S("why", why.text));
}

/* Until wall time `when`, looking at the clock at least once a second; false: stop. */
static bool wait_until(identity *self, const int64_t *when) {
    (void)pthread_mutex_lock(&self->lock);
    while (!self->stopping) {
        const int64_t left = *when - weft_wall(self->options.clock);
        if (left <= 0) break;
        const int64_t until = weft_now(NULL) + (left < WEFT_NS_PER_S ? left : WEFT_NS_PER_S);
        const struct timespec at = {.tv_sec = until / WEFT_NS_PER_S,
                                    .tv_nsec = until % WEFT_NS_PER_S};
        (void)pthread_cond_timedwait(&self->wake, &self->lock, &at);
    }
    const bool go_on = !self->stopping;
    (void)pthread_mutex_unlock(&self->lock);
    return go_on;
}

static void *renewer(void *user) {
    identity *self = user;
    while (wait_until(self, &self->renews)) try_renew(self);
    return NULL;
}

static void on_bundle(void *user, crypto_bundle *bundle, uint64_t sequence) {
    identity *self = user;
    crypto_why why = {""};
    (void)pthread_mutex_lock(&self->lock);
    if (sequence > self->now.sequence) {
        crypto_bundle_unref(self->now.bundle);
        self->now.bundle = bundle;
        self->now.sequence = sequence;
        bundle = NULL;
        if (identity_save_bundle(self->folder, &self->now, &why) < 0)
            weft_log(WEFT_LOG_ERROR, "the trust bundle cannot be saved", WEFT_S("why", why.text));
        tell(self);
    }
    (void)pthread_mutex_unlock(&self->lock);
    crypto_bundle_unref(bundle);
}

static void *follower(void *user) {
    identity *self = user;
    uint64_t failures = 0;
    int64_t when = 0;
    while (wait_until(self, &when)) {
        crypto_why why = {""};
        const int64_t started = weft_wall(self->options.clock);
        weft_ctx *ctx = begin(self, FOLLOWER, WEFT_NO_TIMEOUT);
        if (!ctx) break;
        (void)pthread_mutex_lock(&self->lock);
        identity_state state = copy_state(&self->now);
        (void)pthread_mutex_unlock(&self->lock);
        if (identity_follow(&self->calls, ctx, &state, on_bundle, self, &why) < 0)
            weft_log(WEFT_LOG_DEBUG, "the trust bundle is not followed", WEFT_S("why", why.text));
        end(self, FOLLOWER);
        identity_state_clear(&state);
        const int64_t now = weft_wall(self->options.clock);
        failures = now - started > IDENTITY_RETRY_MAX ? 1 : failures + 1;
        (void)pthread_mutex_lock(&self->lock);
        when = identity_retry_at(now, INT64_MAX, failures, &self->rng);
        (void)pthread_mutex_unlock(&self->lock);
    }
    return NULL;
}

int identity_start(identity *self) {
    void *(*const runs[])(void *) = {renewer, follower};
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (self->running < 2 &&
           !pthread_create(&self->threads[self->running], NULL, runs[self->running], self))
        self->running++;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return self->running == 2 ? 0 : WEFT_ENOMEM;
}

void identity_close(identity *self) {
    if (!self) return;
    (void)pthread_mutex_lock(&self->lock);
    self->stopping = true;
    for (int i = 0; i < 2; i++)
        if (self->calling[i]) weft_ctx_cancel(self->calling[i]);
    (void)pthread_cond_broadcast(&self->wake);
    (void)pthread_mutex_unlock(&self->lock);
    for (int i = 0; i < self->running; i++) (void)pthread_join(self->threads[i], NULL);
    identity_state_clear(&self->now);
    (void)pthread_cond_destroy(&self->wake);
    (void)pthread_mutex_destroy(&self->lock);
    weft_free(self);
}

/* ---- asking */

crypto_svid *identity_svid(identity *self) {
    (void)pthread_mutex_lock(&self->lock);
    crypto_svid *svid = crypto_svid_ref(self->now.svid);
    (void)pthread_mutex_unlock(&self->lock);
    return svid;
}

crypto_bundle *identity_bundle(identity *self) {
    (void)pthread_mutex_lock(&self->lock);
    crypto_bundle *bundle = crypto_bundle_ref(self->now.bundle);
    (void)pthread_mutex_unlock(&self->lock);
    return bundle;
}

const char *identity_spiffe(const identity *self) { return self->now.spiffe; }
const char *identity_address(const identity *self) { return self->now.address; }

identity_status identity_get_status(identity *self) {
    (void)pthread_mutex_lock(&self->lock);
    identity_status status = {.expires = self->now.expires,
                              .renews = self->renews,
                              .renewals = self->renewals,
                              .failures = self->failures,
                              .sequence = self->now.sequence};
    (void)snprintf(status.problem, sizeof status.problem, "%s", self->problem);
    (void)pthread_mutex_unlock(&self->lock);
    return status;
}
