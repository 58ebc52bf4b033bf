/* What has no better place: threads, events, counters of live objects, the choice of a transport. */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "weft/clock.h"

/* ---- live objects */

static atomic_long live[RPC_LIVE_KINDS];

void rpc_live_add(rpc_live kind, int by) {
    atomic_fetch_add_explicit(&live[kind], by, memory_order_relaxed);
}

long rpc_live_count(rpc_live kind) { return atomic_load(&live[kind]); }

/* ---- threads */

static _Thread_local bool on_loop;

void rpc_loop_enter(void) { on_loop = true; }

bool rpc_may_block(void) { return !on_loop; }

int rpc_thread(pthread_t *thread, void *(*run)(void *user), void *user) {
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, run, user);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error ? WEFT_ENOMEM : 0;
}

void rpc_cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(cond, &attr);
    (void)pthread_condattr_destroy(&attr);
}

bool rpc_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline) {
    if (deadline == WEFT_NO_DEADLINE) return pthread_cond_wait(cond, lock) == 0;
    struct timespec at = {deadline / WEFT_NS_PER_S, deadline % WEFT_NS_PER_S};
    return pthread_cond_timedwait(cond, lock, &at) != ETIMEDOUT;
}

/* ---- tasks that must not run on the thread that asks for them. Rare (a call that failed before it began), so
 * a thread exists only while there are some. */

typedef struct posted {
    struct posted *next;
    void (*run)(void *user);
    void *user;
} posted;

static pthread_mutex_t post_lock = PTHREAD_MUTEX_INITIALIZER;
static posted *post_first, **post_last = &post_first;
static bool post_running;

static void *post_loop(void *unused) {
    (void)unused;
    for (;;) {
        (void)pthread_mutex_lock(&post_lock);
        posted *task = post_first;
        if (!task) post_running = false;
        if (task && !(post_first = task->next)) post_last = &post_first;
        (void)pthread_mutex_unlock(&post_lock);
        if (!task) return NULL;
        task->run(task->user);
        weft_free(task);
    }
}

int rpc_post(void (*run)(void *user), void *user) {
    posted *task = weft_malloc(sizeof *task);
    pthread_t thread;
    int error = 0;
    if (!task) return WEFT_ENOMEM;
    *task = (posted){.run = run, .user = user};
    (void)pthread_mutex_lock(&post_lock);
    if (!post_running) {
        error = rpc_thread(&thread, post_loop, NULL);
        if (!error) {
            (void)pthread_detach(thread);
            post_running = true;
        }
    }
    if (!error) {
        *post_last = task;
        post_last = &task->next;
    }
    (void)pthread_mutex_unlock(&post_lock);
    if (error) weft_free(task);
    return error;
}

/* ---- events. A futex and not a condition variable: the waiter's stack, and the event with it, may be gone
 * the moment it sees the new state; waking an address nobody waits at is harmless. */

static long futex(atomic_int *word, int op, int value) {
    return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

void rpc_event_wait(rpc_event *event) {
    int expected = 0;
    if (!atomic_compare_exchange_strong(&event->state, &expected, 1) && expected == 2) return;
    while (atomic_load_explicit(&event->state, memory_order_acquire) != 2)
        (void)futex(&event->state, FUTEX_WAIT, 1);
}

void rpc_event_set(rpc_event *event) {
    if (atomic_exchange(&event->state, 2) == 1) (void)futex(&event->state, FUTEX_WAKE, INT_MAX);
}

/* ---- transports */

extern const weft_transport weft_transport_core __attribute__((weak));

const weft_transport *rpc_transport(const char *name, const char **why) {
    if (!name) name = getenv("WEFT_TRANSPORT");
    if (!name || !*name)
        return &weft_transport_core ? &weft_transport_core : &weft_transport_native;
    if (strcmp(name, "native") == 0) return &weft_transport_native;
    if (strcmp(name, "core") == 0) {
        if (&weft_transport_core) return &weft_transport_core;
        *why = "this program was linked without C-core: link libweft-core with "
               "-Wl,-u,weft_transport_core, or use WEFT_TRANSPORT=native";
        return NULL;
    }
    *why = "unknown transport (WEFT_TRANSPORT or the transport option): use core or native";
    return NULL;
}
