/* Threads that go on with sagas nobody follows: after a crash, after a caller gave up, or later
 * because a service was away. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "services/shop/order/saga.h"
#include "weft/log.h"
#include "weft/mem.h"

#define ROUND \
    WEFT_TIMEOUT_MS(100) /* between looks at the database: other instances leave work behind, too */
#define PASS_TIMEOUT WEFT_TIMEOUT_S(30)
#define BATCH 16
#define THREADS_MAX 16

typedef struct worker {
    struct saga_workers *all;
    int number;
    pthread_t thread;
    weft_ctx *ctx; /* of the pass in hand, to cancel it; guarded by all->lock */
} worker;

struct saga_workers {
    saga_engine *engine;
    int count; /* threads running */
    pthread_mutex_t lock;
    pthread_cond_t stop;
    bool stopping; /* guarded by lock */
    worker each[THREADS_MAX];
};

/* A context for a pass, or NULL when it is time to stop. */
static weft_ctx *begin(worker *me) {
    weft_ctx *ctx = weft_ctx_new(PASS_TIMEOUT);
    pthread_mutex_lock(&me->all->lock);
    const bool stopping = me->all->stopping;
    if (!stopping) me->ctx = ctx;
    pthread_mutex_unlock(&me->all->lock);
    if (!stopping) return ctx;
    weft_ctx_free(ctx);
    return NULL;
}

static void end(worker *me) {
    pthread_mutex_lock(&me->all->lock);
    weft_ctx *ctx = me->ctx;
    me->ctx = NULL;
    pthread_mutex_unlock(&me->all->lock);
    weft_ctx_free(ctx);
}

/* Each thread begins elsewhere in the list, so that they do not queue for the same lease. */
static void look(worker *me) {
    saga_engine *engine = me->all->engine;
    const saga_options *options = saga_engine_options(engine);
    weft_ctx *list = begin(me);
    if (!list) return;
    const char *ids[BATCH];
    char names[BATCH][64];
    const int count = saga_due(options->db, list, weft_wall(options->clock), ids, BATCH);
    for (int i = 0; i < count; i++) (void)snprintf(names[i], sizeof names[i], "%s", ids[i]);
    end(me);
    for (int i = 0; i < count; i++) {
        const char *id = names[(i + me->number) % count];
        weft_ctx *ctx = begin(me);
        if (!ctx) return;
        int64_t next_try;
        if (saga_work(engine, ctx, id, false, &next_try) == SAGA_ENDED)
            weft_log(WEFT_LOG_DEBUG, "saga ended", WEFT_S("saga", id));
        end(me);
    }
}

static bool rest(struct saga_workers *w) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ROUND;
    until.tv_sec += until.tv_nsec / WEFT_NS_PER_S;
    until.tv_nsec %= WEFT_NS_PER_S;
    pthread_mutex_lock(&w->lock);
    int rc = 0;
    while (!w->stopping && rc == 0) rc = pthread_cond_timedwait(&w->stop, &w->lock, &until);
    const bool stopping = w->stopping;
    pthread_mutex_unlock(&w->lock);
    return !stopping;
}

static void *run(void *argument) {
    worker *me = argument;
    do look(me);
    while (rest(me->all));
    return NULL;
}

struct saga_workers *saga_workers_start(saga_engine *engine, int threads) {
    struct saga_workers *w = weft_calloc(1, sizeof *w);
    if (!w) return NULL;
    w->engine = engine;
    const int wanted = threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&w->lock, NULL);
    /* Signals are for the thread that drains the server. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; w->count < wanted; w->count++) {
        worker *one = &w->each[w->count];
        one->all = w;
        one->number = w->count;
        if (pthread_create(&one->thread, NULL, run, one)) break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (w->count == wanted) return w;
    saga_workers_stop(w);
    return NULL;
}

void saga_workers_stop(struct saga_workers *w) {
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    for (int i = 0; i < w->count; i++)
        if (w->each[i].ctx) weft_ctx_cancel(w->each[i].ctx);
    pthread_cond_broadcast(&w->stop);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->count; i++) pthread_join(w->each[i].thread, NULL);
    pthread_cond_destroy(&w->stop);
    pthread_mutex_destroy(&w->lock);
    weft_free(w);
}
