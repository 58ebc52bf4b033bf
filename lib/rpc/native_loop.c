/* Loops of the native transport: a thread, its event loop, and what other threads want done on it. */
#include "lib/rpc/internal.h"
#include "native.h"
#include "weft/rng.h"

/* ---- things to do */

void nat_item_init(nat_item *item, unsigned refs, void (*run)(nat_item *item, unsigned ops),
                   void (*gone)(nat_item *item)) {
    atomic_init(&item->ops, 0);
    atomic_init(&item->refs, refs);
    item->next = NULL;
    item->run = run;
    item->gone = gone;
}

void nat_item_ref(nat_item *item) {
    atomic_fetch_add_explicit(&item->refs, 1, memory_order_relaxed);
}

void nat_item_unref(nat_item *item) {
    if (atomic_fetch_sub_explicit(&item->refs, 1, memory_order_acq_rel) == 1) item->gone(item);
}

static _Thread_local nat_loop *current;

void nat_push(nat_loop *loop, nat_item *item, unsigned op) {
    if (atomic_fetch_or_explicit(&item->ops, op, memory_order_acq_rel)) return;
    nat_item_ref(item);
    nat_item *head = atomic_load_explicit(&loop->todo, memory_order_relaxed);
    do {
        item->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&loop->todo, &head, item, memory_order_acq_rel,
                                                    memory_order_relaxed));
    if (current == loop)
        net_loop_defer(loop->net, &loop->drain);
    else if (!head)
        net_loop_wake(loop->net);
}

void nat_retire(tp_call *call) { weft_list_push_back(&call->loop->retired, &call->link); }

static void release_retired(nat_loop *loop) {
    for (weft_list *node; (node = weft_list_pop_front(&loop->retired));)
        nat_item_unref(&WEFT_CONTAINER(node, tp_call, link)->item);
}

void nat_work(nat_loop *loop) {
    while (atomic_load_explicit(&loop->todo, memory_order_relaxed)) {
        nat_item *newest = atomic_exchange_explicit(&loop->todo, NULL, memory_order_acq_rel);
        nat_item *oldest = NULL;
        for (nat_item *next; newest; newest = next) {
            next = newest->next;
            newest->next = oldest;
            oldest = newest;
        }
        for (nat_item *next; oldest; oldest = next) {
            next = oldest->next; /* once `ops` is 0 it may be on the list again */
            oldest->run(oldest, atomic_exchange_explicit(&oldest->ops, 0, memory_order_acq_rel));
            nat_item_unref(oldest);
        }
    }
    release_retired(loop);
}

static void on_turn(void *user, int64_t now) {
    nat_loop *loop = user;
    h2_env_set_now(loop->h2, now);
    nat_work(loop);
    if (atomic_load_explicit(&loop->stopping, memory_order_acquire)) net_loop_stop(loop->net);
}

static void on_drain(net_task *task) { nat_work(WEFT_CONTAINER(task, nat_loop, drain)); }

/* ---- lifetime */

static void loop_free(nat_loop *loop) {
    if (loop->net) {
        nat_work(loop);
        /* Connections go with it, and hand what they held to those that wait. */
        if (loop->resolver) net_resolver_free(loop->resolver);
        net_task_cancel(&loop->drain);
        net_loop_free(loop->net);
    }
    release_retired(loop);
    h2_env_free(loop->h2);
    http_pool_free(loop->fields);
    weft_free(loop);
}

nat_loop *nat_loop_new(bool client) {
    nat_loop *loop = weft_calloc(1, sizeof *loop);
    if (!loop) return NULL;
    const uint64_t seed = weft_rng_system_seed();
    loop->client = client;
    atomic_init(&loop->todo, NULL);
    weft_list_init(&loop->retired);
    net_task_init(&loop->drain, on_drain);
    const net_loop_config config = {.on_turn = on_turn, .user = loop};
    if (net_loop_new(&config, &loop->net) < 0) {
        weft_free(loop);
        return NULL;
    }
    loop->fields = http_pool_new(0, seed);
    if (loop->fields) loop->h2 = h2_env_new(net_loop_chunks(loop->net), loop->fields, seed >> 1);
    if (loop->h2) return loop;
    net_loop_free(loop->net);
    if (loop->fields) http_pool_free(loop->fields);
    weft_free(loop);
    return NULL;
}

static void *loop_run(void *user) {
    nat_loop *loop = user;
    current = loop;
    if (loop->client) rpc_loop_enter();
    if (net_loop_run(loop->net) < 0) weft_log(WEFT_LOG_ERROR, "an event loop failed");
    if (!atomic_load(&loop->detached)) return NULL;
    loop_free(loop);
    return NULL;
}

int nat_loop_start(nat_loop *loop) {
    int error = rpc_thread(&loop->thread, loop_run, loop);
    loop->running = !error;
    return error;
}

void nat_loop_stop(nat_loop *loop) {
    if (loop->running && current == loop) {
        (void)pthread_detach(loop->thread);
        atomic_store(&loop->detached, true);
        atomic_store_explicit(&loop->stopping, true, memory_order_release);
        net_loop_wake(loop->net);
        return;
    }
    if (loop->running) {
        atomic_store_explicit(&loop->stopping, true, memory_order_release);
        net_loop_wake(loop->net);
        (void)pthread_join(loop->thread, NULL);
    }
    nat_loop *before = current;
    current = loop;
    loop_free(loop);
    current = before;
}
