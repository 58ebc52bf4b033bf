/* The exporter's thread. */
#include <pthread.h>
#include <signal.h>

#include "sidecar/export/otlp.h"
#include "weft/log.h"
#include "weft/mem.h"
#include "weft/status.h"

#define NO_MEMORY_WAIT (WEFT_NS_PER_S) /* before it tries again to make a batch */

struct otlp_exporter {
    otlp_send send;
    void (*cancel)(void *user);
    void *user;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    otlp_queue *queue; /* all below under `lock` */
    bool stop, sending;
    bool failing; /* it was said that nobody takes them */
};

/* Until `due` or a signal; under the lock. */
static void wait_until(otlp_exporter *e, int64_t due) {
    const struct timespec until = {due / WEFT_NS_PER_S, due % WEFT_NS_PER_S};
    if (due == INT64_MAX)
        (void)pthread_cond_wait(&e->wake, &e->lock);
    else
        (void)pthread_cond_timedwait(&e->wake, &e->lock, &until);
}

/* A line when it begins to fail and one when it goes again, not one a batch. */
static void tell(otlp_exporter *e, const otlp_answer *answer) {
    const bool failed = answer->code != WEFT_OK;
    if (failed == e->failing) return;
    e->failing = failed;
    if (failed)
        weft_log(WEFT_LOG_WARN, "spans are not taken",
                 WEFT_S("status", weft_code_name(answer->code)));
    else
        weft_log(WEFT_LOG_INFO, "spans are taken again");
}

/* Sends one batch; false when there was none. Under the lock, but not while it sends. */
static bool send_one(otlp_exporter *e, int64_t timeout) {
    const OtlpTrace__ExportTraceServiceRequest *request = otlp_queue_take(e->queue, weft_now(NULL));
    if (!request) return false;
    otlp_answer answer = {.code = WEFT_UNAVAILABLE};
    e->sending = true;
    (void)pthread_mutex_unlock(&e->lock);
    e->send(e->user, request, timeout, &answer);
    (void)pthread_mutex_lock(&e->lock);
    e->sending = false;
    otlp_queue_done(e->queue, &answer, weft_now(NULL));
    tell(e, &answer);
    return answer.code == WEFT_OK;
}

static void *run(void *user) {
    otlp_exporter *e = user;
    (void)pthread_mutex_lock(&e->lock);
    while (!e->stop) {
        const int64_t due = otlp_queue_due(e->queue, false), now = weft_now(NULL);
        if (due > now)
            wait_until(e, due);
        else if (!send_one(e, OTLP_TIMEOUT) && otlp_queue_due(e->queue, false) <= weft_now(NULL))
            wait_until(e, now + NO_MEMORY_WAIT);
    }
    const int64_t until = weft_now(NULL) + OTLP_FLUSH;
    int failed = 0; /* twice: a cancellation may hit the call after the one it was for */
    for (int64_t left = OTLP_FLUSH; left > 0 && failed < 2; left = until - weft_now(NULL))
        if (otlp_queue_due(e->queue, true) == INT64_MAX || !send_one(e, left)) failed++;
    (void)pthread_mutex_unlock(&e->lock);
    return NULL;
}

static int start_thread(otlp_exporter *e) {
    sigset_t all, before;
    (void)sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before)) return WEFT_EIO;
    const int error = pthread_create(&e->thread, NULL, run, e);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error ? WEFT_EIO : 0;
}

int otlp_exporter_start(const otlp_config *config, otlp_exporter **out) {
    *out = NULL;
    otlp_exporter *e = weft_calloc(1, sizeof *e);
    if (!e) return WEFT_ENOMEM;
    e->send = config->send;
    e->cancel = config->cancel;
    e->user = config->user;
    e->queue = otlp_queue_new(&config->source, config->queue_bytes, config->seed);
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&e->lock, NULL);
    (void)pthread_cond_init(&e->wake, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    const int rc = e->queue ? start_thread(e) : WEFT_ENOMEM;
    if (rc) {
        otlp_queue_free(e->queue);
        weft_free(e);
        return rc;
    }
    *out = e;
    return 0;
}

bool otlp_exporter_add(otlp_exporter *e, const span *s) {
    (void)pthread_mutex_lock(&e->lock);
    const int64_t now = weft_now(NULL), before = otlp_queue_due(e->queue, false);
    const bool added = otlp_queue_add(e->queue, s, now);
    const int64_t due = otlp_queue_due(e->queue, false);
    /* It sleeps until `before`: only an earlier time is news. */
    if (due < before) (void)pthread_cond_signal(&e->wake);
    (void)pthread_mutex_unlock(&e->lock);
    return added;
}

otlp_stats otlp_exporter_stats(otlp_exporter *e) {
    (void)pthread_mutex_lock(&e->lock);
    const otlp_stats stats = otlp_queue_stats(e->queue);
    (void)pthread_mutex_unlock(&e->lock);
    return stats;
}

void otlp_exporter_stop(otlp_exporter *e) {
    if (!e) return;
    (void)pthread_mutex_lock(&e->lock);
    e->stop = true;
    if (e->sending && e->cancel) e->cancel(e->user); /* it is sent again below */
    (void)pthread_cond_signal(&e->wake);
    (void)pthread_mutex_unlock(&e->lock);
    (void)pthread_join(e->thread, NULL);
    const otlp_stats stats = otlp_queue_stats(e->queue);
    if (stats.waiting || stats.dropped || stats.refused)
        weft_log(WEFT_LOG_WARN, "spans were lost", WEFT_I("waiting", (int64_t)stats.waiting),
                 WEFT_I("dropped", (int64_t)stats.dropped),
                 WEFT_I("refused", (int64_t)stats.refused));
    (void)pthread_cond_destroy(&e->wake);
    (void)pthread_mutex_destroy(&e->lock);
    otlp_queue_free(e->queue);
    weft_free(e);
}
