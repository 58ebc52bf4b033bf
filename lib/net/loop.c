/* The loop: waits, notes what is ready, and goes through its lists in one fixed order.
 *
 * Everything that epoll reports is turned into flags on its object before any callback runs, and nothing is
 * freed before the end of the turn; so no event can name a connection that is gone, and an object is in each list
 * at most once (performance.md, trap 4). */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/net/internal.h"
#include "weft/mem.h"

#define EVENTS_MAX 256
#define DIRTY_ROUNDS 4 /* a flush may make other connections dirty */

/* Low bits of epoll's pointer say whose it is; no pointer: the eventfd. */
enum { TAG_CONN, TAG_LISTENER, TAG_WATCH, TAG_MASK = 3 };

void net_why_set(net_why *why, const char *format, ...) {
    if (!why) return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
}

static int open_descriptors(net_loop *loop) {
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->epoll < 0 || loop->wake < 0) return weft_error_from_errno(errno);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->wake, &event))
        return weft_error_from_errno(errno);
    return 0;
}

static void release(net_loop *loop) {
    for (size_t i = 0; i < NET_RX_CHUNKS; i++)
        if (loop->rx[i]) weft_chunk_unref(loop->rx[i]);
    if (loop->own_chunks) weft_chunk_pool_free(loop->chunks);
    if (loop->epoll >= 0) (void)close(loop->epoll);
    if (loop->wake >= 0) (void)close(loop->wake);
    if (loop->host) net_sim_detach(loop);
    (void)pthread_mutex_destroy(&loop->lock);
    weft_free(loop->scratch);
    weft_free(loop->plain_scratch);
    weft_free(loop);
}

int net_loop_new(const net_loop_config *config, net_loop **out) {
    net_loop *loop = weft_calloc(1, sizeof *loop);
    if (!loop) return WEFT_ENOMEM;
    loop->config = *config;
    if (!loop->config.read_budget) loop->config.read_budget = NET_READ_MAX;
    if (!loop->config.post_max) loop->config.post_max = 65536;
    loop->epoll = loop->wake = -1;
    weft_list *const lists[] = {&loop->conns,   &loop->ready,           &loop->dirty,
                                &loop->closing, &loop->tasks,           &loop->listeners,
                                &loop->of_sim,  &loop->listeners_ready, &loop->watches_ready};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) weft_list_init(lists[i]);
    loop->posted_tail = &loop->posted;
    (void)pthread_mutex_init(&loop->lock, NULL);
    loop->clock = config->sim ? net_sim_clock(config->sim)
                              : (config->clock ? config->clock : weft_clock_system());
    loop->scratch = weft_malloc(NET_READ_MAX);
    loop->plain_scratch = weft_malloc(TLS_RECORD_MAX);
    loop->chunks = config->chunks;
    if (!loop->chunks) {
        loop->chunks = weft_chunk_pool_new(0, 0);
        loop->own_chunks = loop->chunks != NULL;
    }
    int error = WEFT_ENOMEM;
    if (!loop->scratch || !loop->plain_scratch || !loop->chunks) goto fail;
    error = config->sim ? net_sim_attach(loop) : open_descriptors(loop);
    if (error) goto fail;
    loop->now = weft_now(loop->clock);
    weft_timer_wheel_init(&loop->timers, loop->now);
    *out = loop;
    return 0;
fail:
    release(loop);
    return error;
}

/* ---- calls from other threads */

void net_loop_wake(net_loop *loop) {
    if (loop->wake < 0 || atomic_exchange(&loop->woken, true)) return;
    const uint64_t one = 1;
    const int saved = errno;
    (void)!write(loop->wake, &one, sizeof one); /* full: it wakes anyway */
    errno = saved;
}

int net_loop_post(net_loop *loop, void (*call)(void *user), void *user) {
    net_call *posted = weft_malloc(sizeof *posted);
    if (!posted) return WEFT_ENOMEM;
    *posted = (net_call){.call = call, .user = user};
    (void)pthread_mutex_lock(&loop->lock);
    const bool full = loop->post_count >= loop->config.post_max;
    if (full) {
        loop->post_refused++;
    } else {
        loop->post_count++;
        *loop->posted_tail = posted;
        loop->posted_tail = &posted->next;
    }
    (void)pthread_mutex_unlock(&loop->lock);
    if (full) {
        weft_free(posted);
        return WEFT_ELIMIT;
    }
    net_loop_wake(loop);
    return 0;
}

static void run_posted(net_loop *loop) {
    (void)pthread_mutex_lock(&loop->lock);
    net_call *at = loop->posted;
    loop->posted = NULL;
    loop->posted_tail = &loop->posted;
    loop->post_count = 0;
    loop->stats.post_refused = loop->post_refused;
    (void)pthread_mutex_unlock(&loop->lock);
    while (at) {
        net_call *next = at->next;
        loop->stats.posted++;
        at->call(at->user);
        weft_free(at);
        at = next;
    }
}

static bool has_posted(net_loop *loop) {
    (void)pthread_mutex_lock(&loop->lock);
    const bool any = loop->posted != NULL;
    (void)pthread_mutex_unlock(&loop->lock);
    return any;
}

/* ---- tasks at the end of the turn */

void net_task_init(net_task *task, void (*fire)(net_task *task)) {
    weft_list_init(&task->link);
    task->fire = fire;
}

void net_loop_defer(net_loop *loop, net_task *task) {
    if (weft_list_empty(&task->link)) weft_list_push_back(&loop->tasks, &task->link);
}

void net_task_cancel(net_task *task) { weft_list_remove(&task->link); }

/* ---- foreign descriptors */

static uint32_t watch_mask(unsigned events) {
    return (events & NET_READABLE ? EPOLLIN : 0u) | (events & NET_WRITABLE ? EPOLLOUT : 0u);
}

static void *tagged(void *pointer, unsigned tag) { return (char *)pointer + tag; }

int net_watch_start(net_loop *loop, net_watch *watch, int fd, unsigned events,
                    void (*ready)(net_watch *watch, unsigned events), void *user) {
    *watch = (net_watch){.fd = fd, .events = events, .ready = ready, .user = user};
    weft_list_init(&watch->link);
    if (loop->epoll < 0) return WEFT_EUNSUPPORTED;
    struct epoll_event event = {.events = watch_mask(events), .data.ptr = tagged(watch, TAG_WATCH)};
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event)) return weft_error_from_errno(errno);
    watch->loop = loop;
    return 0;
}

int net_watch_change(net_watch *watch, unsigned events) {
    if (!watch->loop) return WEFT_EINVAL;
    if (watch->events == events) return 0;
    struct epoll_event event = {.events = watch_mask(events), .data.ptr = tagged(watch, TAG_WATCH)};
    if (epoll_ctl(watch->loop->epoll, EPOLL_CTL_MOD, watch->fd, &event))
        return weft_error_from_errno(errno);
    watch->events = events;
    return 0;
}

void net_watch_stop(net_watch *watch) {
    if (!watch->loop) return;
    (void)epoll_ctl(watch->loop->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
    weft_list_remove(&watch->link);
    watch->loop = NULL;
}

/* ---- sockets */

int net_socket_watch(net_conn *conn) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = tagged(conn, TAG_CONN)};
    if (epoll_ctl(conn->loop->epoll, EPOLL_CTL_ADD, conn->fd, &event))
        return weft_error_from_errno(errno);
    return 0;
}

int net_listener_watch(net_listener *listener, bool on) {
    if (listener->simulated || listener->watched == on) return 0;
    /* Level-triggered, and exclusive: one of several loops wakes for a connection (epoll_ctl(2)). */
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE,
                                .data.ptr = tagged(listener, TAG_LISTENER)};
    const int op = on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;
    if (epoll_ctl(listener->loop->epoll, op, listener->fd, &event))
        return weft_error_from_errno(errno);
    listener->watched = on;
    return 0;
}

static unsigned conn_events(uint32_t events) {
    unsigned found = 0;
    if (events & (EPOLLIN | EPOLLPRI)) found |= NET_EV_READ;
    if (events & EPOLLOUT) found |= NET_EV_WRITE;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        found |= NET_EV_READ | NET_EV_WRITE | NET_EV_END;
    return found;
}

static void note(net_loop *loop, const struct epoll_event *event) {
    const uintptr_t bits = (uintptr_t)event->data.ptr;
    if (!bits) {
        uint64_t count;
        (void)!read(loop->wake, &count, sizeof count);
        return;
    }
    void *object = (char *)event->data.ptr - (bits & TAG_MASK);
    if ((bits & TAG_MASK) == TAG_CONN) {
        net_conn_notify(object, conn_events(event->events));
    } else if ((bits & TAG_MASK) == TAG_LISTENER) {
        net_listener_notify(object);
    } else {
        net_watch *watch = object;
        watch->pending = 0;
        if (event->events & (EPOLLIN | EPOLLERR | EPOLLHUP)) watch->pending |= NET_READABLE;
        if (event->events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) watch->pending |= NET_WRITABLE;
        if (weft_list_empty(&watch->link)) weft_list_push_back(&loop->watches_ready, &watch->link);
    }
}

/* ---- the turn */

bool net_loop_busy(net_loop *loop) {
    return !weft_list_empty(&loop->ready) || !weft_list_empty(&loop->dirty) ||
           !weft_list_empty(&loop->closing) || !weft_list_empty(&loop->tasks) ||
           !weft_list_empty(&loop->listeners_ready) || !weft_list_empty(&loop->watches_ready) ||
           has_posted(loop);
}

static int wait_ms(net_loop *loop, int64_t max_wait) {
    if (max_wait <= 0 || net_loop_busy(loop)) return 0;
    int64_t wait = max_wait;
    const int64_t next = weft_timer_wheel_next(&loop->timers);
    if (next != WEFT_NO_DEADLINE) {
        const int64_t left = next - weft_now(loop->clock);
        if (left < wait) wait = left;
    }
    if (wait <= 0) return 0;
    if (wait >= INT32_MAX * WEFT_NS_PER_MS) return -1;
    return (int)((wait + WEFT_NS_PER_MS - 1) / WEFT_NS_PER_MS);
}

static int wait_events(net_loop *loop, int64_t max_wait) {
    struct epoll_event events[EVENTS_MAX];
    const int timeout = wait_ms(loop, max_wait);
    int count = 0;
    if (timeout && loop->config.spin > 0) {
        const int64_t until = weft_now(loop->clock) + loop->config.spin;
        do {
            count = epoll_wait(loop->epoll, events, EVENTS_MAX, 0);
        } while (!count && weft_now(loop->clock) < until);
    }
    if (!count) count = epoll_wait(loop->epoll, events, EVENTS_MAX, timeout);
    if (count < 0 && errno != EINTR) return WEFT_EIO;
    for (int i = 0; i < count; i++) note(loop, &events[i]);
    /* After `wake` was read, or a post in between would be taken for one that woke us already; and
     * before the queue is looked at: a post after that wakes again. */
    atomic_store(&loop->woken, false);
    return 0;
}

static void run_watches(net_loop *loop) {
    weft_list batch;
    weft_list_init(&batch);
    weft_list_splice(&batch, &loop->watches_ready);
    for (weft_list *node; (node = weft_list_pop_front(&batch));) {
        net_watch *watch = WEFT_CONTAINER(node, net_watch, link);
        watch->ready(watch, watch->pending);
    }
}

static void run_ready(net_loop *loop) {
    weft_list batch;
    weft_list_init(&batch);
    weft_list_splice(&batch, &loop->listeners_ready);
    for (weft_list *node; (node = weft_list_pop_front(&batch));)
        net_listener_process(WEFT_CONTAINER(node, net_listener, ready));
    /* What is put off again waits for the next turn. */
    weft_list_splice(&batch, &loop->ready);
    for (weft_list *node; (node = weft_list_pop_front(&batch));)
        net_conn_process(WEFT_CONTAINER(node, net_conn, ready));
}

static void run_dirty(net_loop *loop) {
    weft_list batch;
    weft_list_init(&batch);
    for (int round = 0; round < DIRTY_ROUNDS && !weft_list_empty(&loop->dirty); round++) {
        weft_list_splice(&batch, &loop->dirty);
        for (weft_list *node; (node = weft_list_pop_front(&batch));)
            net_conn_flush(WEFT_CONTAINER(node, net_conn, dirty));
    }
}

static void run_closing(net_loop *loop) {
    for (weft_list *node; (node = weft_list_pop_front(&loop->closing));) {
        net_conn *conn = WEFT_CONTAINER(node, net_conn, all);
        net_conn_tell(conn);
        net_conn_free(conn);
    }
}

static void run_tasks(net_loop *loop) {
    weft_list batch;
    weft_list_init(&batch);
    weft_list_splice(&batch, &loop->tasks);
    for (weft_list *node; (node = weft_list_pop_front(&batch));) {
        net_task *task = WEFT_CONTAINER(node, net_task, link);
        task->fire(task);
    }
}

int net_loop_turn(net_loop *loop, int64_t max_wait) {
    if (loop->epoll >= 0) {
        const int error = wait_events(loop, max_wait);
        if (error) return error;
    }
    loop->now = weft_now(loop->clock);
    loop->turning = true;
    loop->stats.turns++;
    if (loop->config.on_turn) loop->config.on_turn(loop->config.user, loop->now);
    run_watches(loop);
    run_posted(loop);
    (void)weft_timer_wheel_advance(&loop->timers, loop->now);
    run_ready(loop);
    run_closing(loop); /* so that what on_close has to say to others goes out in this turn */
    run_dirty(loop);
    run_closing(loop);
    run_tasks(loop);
    loop->turning = false;
    return 0;
}

int net_loop_run(net_loop *loop) {
    loop->stopping = false;
    while (!loop->stopping) {
        const int error = net_loop_turn(loop, INT64_MAX);
        if (error) return error;
    }
    return 0;
}

void net_loop_stop(net_loop *loop) { loop->stopping = true; }

void net_loop_free(net_loop *loop) {
    if (!loop) return;
    loop->freeing = true;
    run_posted(loop);
    run_tasks(loop); /* listeners that are closed already */
    for (weft_list *node; (node = weft_list_front(&loop->listeners));)
        net_listener_close(WEFT_CONTAINER(node, net_listener, all));
    do {
        for (weft_list *node; (node = weft_list_front(&loop->conns));) {
            net_conn *conn = WEFT_CONTAINER(node, net_conn, all);
            if (conn->state == NET_OPEN) net_conn_flush(conn);
            if (conn->state != NET_DEAD) net_conn_fail(conn, WEFT_ECLOSED, "the loop ended");
            if (conn->state != NET_DEAD) net_conn_kill(conn, false);
        }
        run_closing(loop);
        run_tasks(loop);
        run_posted(loop);
    } while (!weft_list_empty(&loop->conns) || !weft_list_empty(&loop->tasks));
    assert(loop->stats.conns == 0 && loop->stats.listeners == 0);
    assert(weft_list_empty(&loop->watches_ready));
    release(loop);
}

int64_t net_loop_now(const net_loop *loop) { return loop->now; }
weft_timer_wheel *net_loop_timers(net_loop *loop) { return &loop->timers; }
weft_chunk_pool *net_loop_chunks(net_loop *loop) { return loop->chunks; }
const weft_clock *net_loop_clock(const net_loop *loop) { return loop->clock; }
const net_stats *net_loop_stats(const net_loop *loop) { return &loop->stats; }
