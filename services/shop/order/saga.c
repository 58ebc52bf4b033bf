/* Working on one saga. Read saga_work first; its loop is the whole life of a saga. */
#include "services/shop/order/saga.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "services/shop/shop.h"
#include "weft/log.h"
#include "weft/mem.h"
#include "weft/rng.h"

#define STEP_TIMEOUT WEFT_TIMEOUT_S(2)
#define BACKOFF_FIRST WEFT_TIMEOUT_MS(50)
#define BACKOFF_MOST WEFT_TIMEOUT_S(5)
#define ANSWER_TIME WEFT_TIMEOUT_MS(100) /* what is left of a call to answer it in */
#define POLL WEFT_TIMEOUT_MS(100)

struct saga_engine {
    saga_options options;
    char name[40];       /* owner of leases: this instance */
    atomic_ulong passes; /* makes each owner different */
    struct saga_workers *workers;
    pthread_mutex_t lock; /* guards changes */
    pthread_cond_t changed;
    uint64_t changes; /* committed transactions, from 1 */
};

const saga_options *saga_engine_options(const saga_engine *engine) { return &engine->options; }

/* ---- what an answer proves */

typedef enum verdict { VERDICT_DONE, VERDICT_REFUSED, VERDICT_UNKNOWN } verdict;

/* The callee remembers its refusals (shop_decide), so a repeat that is refused proves that no
 * try before it took effect. Refusals by others on the way (a policy, a wrong version) prove
 * that only of the very first try. */
static verdict judge(weft_status st, int64_t tries) {
    switch (st.code) {
    case WEFT_OK:
        return VERDICT_DONE;
    case WEFT_INVALID_ARGUMENT:
    case WEFT_NOT_FOUND:
    case WEFT_FAILED_PRECONDITION:
    case WEFT_OUT_OF_RANGE:
        return VERDICT_REFUSED;
    case WEFT_ALREADY_EXISTS:
    case WEFT_PERMISSION_DENIED:
    case WEFT_UNAUTHENTICATED:
    case WEFT_UNIMPLEMENTED:
        return tries == 1 ? VERDICT_REFUSED : VERDICT_UNKNOWN;
    default:
        return VERDICT_UNKNOWN;
    }
}

/* ---- news */

typedef struct pass {
    saga_engine *engine;
    weft_ctx *ctx;
    weft_lease lease;
    saga s;
    const char *news[4]; /* since the last transaction */
    size_t news_count;
} pass;

static void note(pass *p, size_t step, const char *what, const char *detail) {
    const char *name = p->s.kind->steps[step].name;
    const char *text = weft_printf(p->ctx, "%s: %s%s%s", name, what, detail[0] ? ": " : "", detail);
    if (text && p->news_count < sizeof p->news / sizeof p->news[0]) p->news[p->news_count++] = text;
    weft_log(WEFT_LOG_DEBUG, "saga", WEFT_S("saga", p->s.id), WEFT_S("step", name),
             WEFT_S("what", what), WEFT_S("detail", detail));
}

/* ---- durable */

static bool has_ended(const saga *s) {
    return s->state == SAGA_COMPLETED || s->state == SAGA_FAILED;
}

static void wake(saga_engine *engine) {
    pthread_mutex_lock(&engine->lock);
    engine->changes++;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
}

/* Writes down what happened and what is about to be tried, under the lease. */
static int write_down(pass *p) {
    const saga_options *options = &p->engine->options;
    const saga_kind *kind = p->s.kind;
    weft_tx *tx;
    int error = weft_tx_begin(options->db, WEFT_WRITE, &tx);
    if (error) return error;
    error = weft_lease_check(tx, &p->lease);
    if (error) {
        weft_tx_rollback(tx);
        return error;
    }
    saga_store(tx, &p->s, weft_wall(options->clock));
    for (size_t i = 0; i < p->news_count; i++) kind->news(options->user, tx, &p->s, p->news[i]);
    const bool ended = has_ended(&p->s);
    if (ended) {
        kind->ended(options->user, p->ctx, tx, &p->s);
        (void)shop_fault(p->engine->options.service, "before", "finish");
    }
    error = weft_tx_commit(tx);
    if (error) return error;
    if (ended) (void)shop_fault(p->engine->options.service, "after", "finish");
    p->news_count = 0;
    wake(p->engine);
    return 0;
}

/* ---- choosing and trying */

/* The step to try or undo next; -1 when there is none left, and the saga ends. */
static int choose(saga *s) {
    const size_t count = s->kind->count;
    if (s->state == SAGA_EXECUTING) {
        for (size_t i = 0; i < count; i++) {
            if (s->steps[i].state == STEP_DONE) continue;
            if (s->steps[i].state != STEP_STARTED) s->steps[i].tries = 0;
            s->steps[i].state = STEP_STARTED;
            return (int)i;
        }
        s->state = SAGA_COMPLETED;
        return -1;
    }
    for (size_t i = count; i-- > 0;) {
        const saga_step_state state = s->steps[i].state;
        if ((state != STEP_DONE && state != STEP_UNDOING) || !s->kind->steps[i].undo) continue;
        if (state != STEP_UNDOING) s->steps[i].tries = 0;
        s->steps[i].state = STEP_UNDOING;
        return (int)i;
    }
    s->state = SAGA_FAILED;
    return -1;
}

static weft_status try_step(pass *p, size_t i) {
    const saga_step *step = &p->s.kind->steps[i];
    const bool undo = p->s.state == SAGA_COMPENSATING;
    char action[64];
    (void)snprintf(action, sizeof action, "%s%s", undo ? "undo-" : "", step->name);
    const char *key = weft_printf(p->ctx, "%s/%s%s", p->s.id, step->name, undo ? "/undo" : "");
    if (!key) return shop_no_memory(p->ctx);
    const int64_t most = p->engine->options.lease_ns / 3;
    weft_ctx *ctx = weft_ctx_child(p->ctx, most < STEP_TIMEOUT ? most : STEP_TIMEOUT);
    if (!ctx) return shop_no_memory(p->ctx);
    (void)shop_fault(p->engine->options.service, "before", action);
    const char *result = "";
    weft_status st =
        (undo ? step->undo : step->act)(p->engine->options.user, ctx, &p->s, key, &result);
    (void)shop_fault(p->engine->options.service, "after", action);
    st = weft_status_copy(weft_ctx_arena(p->ctx), st);
    if (!undo && !weft_failed(st)) {
        p->s.steps[i].result = weft_strdup(p->ctx, result);
        if (!p->s.steps[i].result) st = shop_no_memory(p->ctx); /* asked again: the key is known */
    }
    weft_ctx_free(ctx);
    return st;
}

static void park(pass *p, size_t i, weft_status st) {
    p->s.parked = true;
    note(p, i, "parked", weft_status_message(st));
    weft_log(WEFT_LOG_ERROR, "saga parked: needs a person, or a restart to try again",
             WEFT_S("saga", p->s.id), WEFT_S("step", p->s.kind->steps[i].name),
             WEFT_S("code", weft_code_name((int)st.code)),
             WEFT_S("detail", weft_status_message(st)));
}

static void refused(pass *p, size_t i, weft_status st) {
    saga *s = &p->s;
    if (s->state == SAGA_COMPENSATING || s->kind->forward_only) {
        park(p, i, st);
        return;
    }
    s->steps[i].state = STEP_REFUSED;
    s->state = SAGA_COMPENSATING;
    s->failed_step = (int)i;
    s->code = (int)st.code;
    s->message = weft_status_message(st);
    note(p, i, "refused", s->message);
}

/* Full jitter under a doubling ceiling. */
static void postpone(pass *p, weft_status st) {
    saga *s = &p->s;
    int64_t most = BACKOFF_FIRST << (s->failures < 7 ? s->failures : 7);
    if (most > BACKOFF_MOST) most = BACKOFF_MOST;
    weft_rng rng;
    weft_rng_seed(&rng, weft_rng_system_seed());
    s->failures++;
    s->next_try = weft_wall(p->engine->options.clock) + most / 4 +
                  (int64_t)weft_rng_below(&rng, (uint64_t)(most - most / 4));
    weft_log(WEFT_LOG_WARN, "outcome not known, will ask again", WEFT_S("saga", s->id),
             WEFT_S("code", weft_code_name((int)st.code)),
             WEFT_S("detail", weft_status_message(st)));
}

/* true when there is more to do now. */
static bool conclude(pass *p, size_t i, weft_status st) {
    saga *s = &p->s;
    const bool undo = s->state == SAGA_COMPENSATING;
    const verdict v = judge(st, s->steps[i].tries);
    if (v == VERDICT_UNKNOWN) {
        postpone(p, st);
        return false;
    }
    s->failures = 0;
    s->next_try = p->lease.expires;
    if (v == VERDICT_REFUSED) {
        refused(p, i, st);
        return !s->parked;
    }
    s->steps[i].state = undo ? STEP_UNDONE : STEP_DONE;
    note(p, i, undo ? "undone" : "done", "");
    return true;
}

/* A call may take a third of the lease: half of it must be left. */
static int keep_lease(pass *p) {
    const saga_options *options = &p->engine->options;
    if (p->lease.expires - weft_wall(options->clock) > options->lease_ns / 2) return 0;
    const int error = weft_lease_renew(options->db, &p->lease, options->lease_ns);
    p->s.next_try = p->lease.expires;
    return error;
}

static int work(pass *p) {
    saga *s = &p->s;
    while (!has_ended(s)) {
        const int i = choose(s);
        if (i >= 0) s->steps[i].tries++;
        int error = i >= 0 ? keep_lease(p) : 0;
        if (!error) error = write_down(p);
        if (error || i < 0) return error;
        if (!conclude(p, (size_t)i, try_step(p, (size_t)i))) return write_down(p);
    }
    return 0;
}

/* Whoever held the lease before may have gone on since the saga was read: read it again. */
static int work_leased(pass *p, const char *id) {
    int error = saga_load(p->engine, p->ctx, id, &p->s);
    if (error || has_ended(&p->s)) return error;
    p->s.next_try = p->lease.expires;
    return work(p);
}

saga_pass saga_work(saga_engine *engine, weft_ctx *ctx, const char *id, bool now,
                    int64_t *next_try) {
    const saga_options *options = &engine->options;
    const int64_t time = weft_wall(options->clock);
    pass p = {.engine = engine, .ctx = ctx};
    *next_try = time + POLL;
    int error = saga_load(engine, ctx, id, &p.s);
    if (!error && has_ended(&p.s)) return SAGA_ENDED;
    if (!error && (p.s.parked || (!now && p.s.next_try > time))) {
        if (!p.s.parked) *next_try = p.s.next_try;
        return SAGA_LATER;
    }
    char name[64], owner[64];
    (void)snprintf(name, sizeof name, "saga/%s", id);
    (void)snprintf(owner, sizeof owner, "%s/%lu", engine->name,
                   atomic_fetch_add(&engine->passes, 1));
    if (!error) error = weft_lease_acquire(options->db, name, owner, options->lease_ns, &p.lease);
    if (error == WEFT_EBUSY) return SAGA_BUSY;
    if (!error) {
        error = work_leased(&p, id);
        (void)weft_lease_release(options->db, &p.lease);
    }
    if (!error && has_ended(&p.s)) return SAGA_ENDED;
    if (!error) *next_try = p.s.next_try;
    if (error && error != WEFT_ECONFLICT)
        weft_log(WEFT_LOG_ERROR, "saga", WEFT_S("saga", id), WEFT_S("error", weft_strerror(error)),
                 WEFT_S("detail", weft_store_message()));
    return SAGA_LATER;
}

/* ---- following */

/* Until something changed, `ns` passed or the engine is told to wake. */
static void wait_change(saga_engine *engine, uint64_t *seen, int64_t ns) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    const int64_t nanos = until.tv_nsec + ns % WEFT_NS_PER_S;
    until.tv_sec += ns / WEFT_NS_PER_S + nanos / WEFT_NS_PER_S;
    until.tv_nsec = nanos % WEFT_NS_PER_S;
    pthread_mutex_lock(&engine->lock);
    int rc = 0;
    while (engine->changes == *seen && rc == 0)
        rc = pthread_cond_timedwait(&engine->changed, &engine->lock, &until);
    *seen = engine->changes;
    pthread_mutex_unlock(&engine->lock);
}

bool saga_await(saga_engine *engine, const weft_ctx *ctx, uint64_t *seen) {
    wait_change(engine, seen, POLL);
    return !weft_ctx_cancelled(ctx);
}

void saga_follow(saga_engine *engine, weft_ctx *ctx, const char *id, int64_t most_ns) {
    const weft_clock *clock = engine->options.clock;
    const int64_t end = weft_now(clock) + most_ns;
    uint64_t seen = 0;
    for (bool now = true;; now = false) {
        int64_t next_try;
        const saga_pass outcome = saga_work(engine, ctx, id, now, &next_try);
        if (outcome == SAGA_ENDED || weft_ctx_cancelled(ctx)) return;
        int64_t left = end - weft_now(clock);
        const int64_t remaining = weft_ctx_remaining(ctx);
        if (remaining != WEFT_NO_TIMEOUT && remaining - ANSWER_TIME < left)
            left = remaining - ANSWER_TIME;
        if (left <= 0) return;
        int64_t pause = outcome == SAGA_BUSY ? POLL : next_try - weft_wall(clock);
        if (pause > left) pause = left;
        if (pause > 0) wait_change(engine, &seen, pause > POLL ? POLL : pause);
    }
}

/* ---- the engine */

saga_engine *saga_engine_new(const saga_options *options) {
    saga_engine *engine = weft_calloc(1, sizeof *engine);
    if (!engine) return NULL;
    engine->options = *options;
    engine->changes = 1;
    (void)snprintf(engine->name, sizeof engine->name, "%016llx",
                   (unsigned long long)weft_rng_system_seed());
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&engine->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&engine->lock, NULL);
    return engine;
}

int saga_engine_start(saga_engine *engine) {
    const int error = saga_unpark(engine->options.db);
    if (error) return error;
    engine->workers = saga_workers_start(engine, engine->options.threads);
    return engine->workers ? 0 : WEFT_ENOMEM;
}

void saga_engine_stop(saga_engine *engine) {
    if (!engine) return;
    saga_workers_stop(engine->workers);
    pthread_cond_destroy(&engine->changed);
    pthread_mutex_destroy(&engine->lock);
    weft_free(engine);
}
