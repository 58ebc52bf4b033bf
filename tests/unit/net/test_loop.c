/* The loop itself: calls from threads, timers, tasks, foreign descriptors. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "weft/net.h"

static net_loop *new_loop(const net_loop_config *config) {
    net_loop *loop = NULL;
    assert_int_equal(net_loop_new(config, &loop), 0);
    return loop;
}

/* ---- posts */

#define THREADS 4
#define POSTS 5000

typedef struct poster {
    net_loop *loop;
    size_t next; /* of this thread, seen by the loop's */
    bool disordered;
    atomic_size_t *left;
    pthread_t thread;
    struct posted {
        struct poster *poster;
        size_t number;
    } calls[POSTS];
} poster;

static void on_post(void *user) {
    const struct posted *posted = user;
    poster *p = posted->poster;
    if (posted->number != p->next++) p->disordered = true;
    if (atomic_fetch_sub(p->left, 1) == 1) net_loop_stop(p->loop);
}

static void *post_many(void *user) {
    poster *p = user;
    for (size_t i = 0; i < POSTS; i++) {
        p->calls[i] = (struct posted){p, i};
        while (net_loop_post(p->loop, on_post, &p->calls[i])) {}
    }
    return NULL;
}

static void test_posts(void **state) {
    (void)state;
    static poster posters[THREADS];
    const net_loop_config config = {.post_max = 100};
    net_loop *loop = new_loop(&config);
    atomic_size_t left = THREADS * POSTS;
    for (size_t i = 0; i < THREADS; i++) {
        posters[i] = (poster){.loop = loop, .left = &left};
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    assert_int_equal(net_loop_run(loop), 0);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(posters[i].thread, NULL), 0);
        assert_int_equal(posters[i].next, POSTS);
        assert_false(posters[i].disordered);
    }
    assert_int_equal(net_loop_stats(loop)->posted, THREADS * POSTS);
    net_loop_free(loop);
}

static void *wake_once(void *user) {
    net_loop_wake(user);
    return NULL;
}

static void count(void *user) { ++*(int *)user; }

static void test_wake(void **state) {
    (void)state;
    const net_loop_config config = {0};
    net_loop *loop = new_loop(&config);
    pthread_t thread;
    int calls = 0;
    assert_int_equal(pthread_create(&thread, NULL, wake_once, loop), 0);
    assert_int_equal(net_loop_turn(loop, INT64_MAX), 0); /* would sleep for ever */
    assert_int_equal(pthread_join(thread, NULL), 0);
    /* What nobody ran is run when the loop ends. */
    assert_int_equal(net_loop_post(loop, count, &calls), 0);
    net_loop_free(loop);
    assert_int_equal(calls, 1);
}

/* ---- timers under an injected clock */

typedef struct fired {
    weft_timer timer;
    int64_t at;
    int turns_seen;
} fired;

static void on_fire(weft_timer *timer, int64_t now) {
    fired *f = timer->user;
    f->at = now;
}

static void on_turn(void *user, int64_t now) {
    (void)now;
    ++*(int *)user;
}

static void test_timers(void **state) {
    (void)state;
    weft_clock_manual clock;
    weft_clock_manual_init(&clock, 5 * WEFT_NS_PER_S);
    int turns = 0;
    const net_loop_config config = {.clock = &clock.clock, .on_turn = on_turn, .user = &turns};
    net_loop *loop = new_loop(&config);
    fired f = {.at = 0};
    weft_timer_init(&f.timer, on_fire, &f);
    weft_timer_arm(net_loop_timers(loop), &f.timer, net_loop_now(loop) + 30 * WEFT_NS_PER_MS);
    assert_int_equal(net_loop_turn(loop, 0), 0);
    assert_int_equal(f.at, 0);
    weft_clock_manual_advance(&clock, 30 * WEFT_NS_PER_MS);
    assert_int_equal(net_loop_now(loop), 5 * WEFT_NS_PER_S); /* read once a turn */
    assert_int_equal(net_loop_turn(loop, INT64_MAX), 0);     /* does not sleep: it is due */
    assert_int_equal(f.at, 5 * WEFT_NS_PER_S + 30 * WEFT_NS_PER_MS);
    assert_int_equal(turns, 2);
    net_loop_free(loop);
}

/* ---- tasks */

typedef struct task {
    net_task task;
    net_loop *loop;
    int runs;
    int again;
    struct task *victim;
} task;

static void on_task(net_task *t) {
    task *me = (task *)(void *)t;
    me->runs++;
    if (me->again-- > 0) net_loop_defer(me->loop, t);
    if (me->victim) net_task_cancel(&me->victim->task);
}

static void test_tasks(void **state) {
    (void)state;
    const net_loop_config config = {0};
    net_loop *loop = new_loop(&config);
    task a = {.loop = loop, .again = 2}, b = {.loop = loop};
    net_task_init(&a.task, on_task);
    net_task_init(&b.task, on_task);
    a.victim = &b;
    net_loop_defer(loop, &a.task);
    net_loop_defer(loop, &a.task);
    net_loop_defer(loop, &b.task);
    assert_int_equal(net_loop_turn(loop, INT64_MAX), 0);
    assert_int_equal(a.runs, 1);
    assert_int_equal(b.runs, 0);
    assert_int_equal(net_loop_turn(loop, INT64_MAX), 0);
    assert_int_equal(net_loop_turn(loop, INT64_MAX), 0);
    assert_int_equal(a.runs, 3);
    net_loop_free(loop);
}

/* ---- foreign descriptors */

typedef struct pipe_end {
    net_watch watch;
    net_watch *other;
    int calls;
} pipe_end;

static void on_ready(net_watch *watch, unsigned events) {
    pipe_end *end = watch->user;
    char c;
    end->calls++;
    assert_true(events & NET_READABLE);
    assert_int_equal(read(watch->fd, &c, 1), 1);
    if (end->other) net_watch_stop(end->other);
}

static void test_watches(void **state) {
    (void)state;
    const net_loop_config config = {0};
    net_loop *loop = new_loop(&config);
    int first[2], second[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, first), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, second), 0);
    pipe_end a = {.calls = 0}, b = {.calls = 0};
    assert_int_equal(net_watch_start(loop, &a.watch, first[0], NET_READABLE, on_ready, &a), 0);
    assert_int_equal(net_watch_start(loop, &b.watch, second[0], NET_READABLE, on_ready, &b), 0);
    a.other = &b.watch; /* whichever comes first stops the other, which was ready too */
    b.other = &a.watch;
    assert_int_equal(write(first[1], "x", 1), 1);
    assert_int_equal(write(second[1], "x", 1), 1);
    assert_int_equal(net_loop_turn(loop, INT64_MAX), 0);
    assert_int_equal(net_loop_turn(loop, 0), 0);
    assert_int_equal(a.calls + b.calls, 1);
    net_watch_stop(&a.watch);
    net_watch_stop(&b.watch);
    net_watch_stop(&b.watch);
    assert_int_equal(net_watch_change(&b.watch, NET_WRITABLE), WEFT_EINVAL);
    for (int i = 0; i < 2; i++) {
        (void)close(first[i]);
        (void)close(second[i]);
    }
    net_loop_free(loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_posts), cmocka_unit_test(test_wake),    cmocka_unit_test(test_timers),
        cmocka_unit_test(test_tasks), cmocka_unit_test(test_watches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
