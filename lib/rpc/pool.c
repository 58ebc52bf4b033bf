/* Worker threads. Short tasks share a bounded number; long ones, streams that block for as long as they live,
 * get threads beyond it, else a few idle watchers would lock everybody out. */
#include "server.h"
#include "weft/clock.h"

#define IDLE_NS (10 * WEFT_NS_PER_S) /* how long a surplus thread waits for work */

typedef struct worker {
    weft_list link;
    pthread_t thread;
    rpc_pool *pool;
} worker;

typedef struct task_queue {
    rpc_task *first, **last;
    size_t count;
} task_queue;

struct rpc_pool {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    task_queue shorts, longs;
    weft_list workers, ended; /* ended: to be joined */
    int shared;               /* limit of short_running */
    int short_running, long_running;
    int threads, idle;
    /* Threads that were woken or made and have not looked for work yet. At most one: it wakes the next if
     * there is more than it takes, so short tasks that come fast do not each cost a thread switch. */
    int coming;
    bool stopping;
};

static void queue_push(task_queue *queue, rpc_task *task) {
    task->next = NULL;
    *queue->last = task;
    queue->last = &task->next;
    queue->count++;
}

static rpc_task *queue_pop(task_queue *queue) {
    rpc_task *task = queue->first;
    if (!task) return NULL;
    queue->first = task->next;
    if (!queue->first) queue->last = &queue->first;
    queue->count--;
    return task;
}

rpc_pool *rpc_pool_new(int shared) {
    rpc_pool *pool = weft_calloc(1, sizeof *pool);
    if (!pool) return NULL;
    (void)pthread_mutex_init(&pool->lock, NULL);
    rpc_cond_init(&pool->work);
    rpc_cond_init(&pool->done);
    weft_list_init(&pool->workers);
    weft_list_init(&pool->ended);
    pool->shorts.last = &pool->shorts.first;
    pool->longs.last = &pool->longs.first;
    pool->shared = shared;
    return pool;
}

/* A task this thread may run now. */
static rpc_task *next_task(rpc_pool *pool, bool *is_long) {
    rpc_task *task = queue_pop(&pool->longs);
    *is_long = task != NULL;
    if (!task && pool->short_running < pool->shared) task = queue_pop(&pool->shorts);
    return task;
}

static bool runnable(const rpc_pool *pool) {
    return pool->longs.count || (pool->shorts.count && pool->short_running < pool->shared);
}

static bool add_worker(rpc_pool *pool);

/* Sees to it that somebody looks for work. False: nobody can be had. Under the lock. */
static bool call_worker(rpc_pool *pool) {
    if (pool->coming) return true;
    if (pool->idle)
        (void)pthread_cond_signal(&pool->work);
    else if (!add_worker(pool))
        return false;
    pool->coming++;
    return true;
}

static void run_task(rpc_pool *pool, rpc_task *task, bool is_long) {
    int *running = is_long ? &pool->long_running : &pool->short_running;
    (*running)++;
    if (runnable(pool)) (void)call_worker(pool);
    (void)pthread_mutex_unlock(&pool->lock);
    task->run(task);
    (void)pthread_mutex_lock(&pool->lock);
    (*running)--;
}

/* Waits for work; false when this thread is to end. */
static bool wait_for_work(rpc_pool *pool) {
    bool surplus = pool->threads - pool->long_running > pool->shared;
    int64_t until = surplus ? weft_now(NULL) + IDLE_NS : WEFT_NO_DEADLINE;
    pool->idle++;
    bool woken = rpc_cond_wait(&pool->work, &pool->lock, until);
    pool->idle--;
    if (pool->coming) pool->coming--; /* a thread more or less that finds nothing does no harm */
    return woken || !surplus || runnable(pool);
}

static void *worker_run(void *user) {
    worker *self = user;
    rpc_pool *pool = self->pool;
    (void)pthread_mutex_lock(&pool->lock);
    pool->coming--;
    for (;;) {
        bool is_long = false;
        rpc_task *task = next_task(pool, &is_long);
        if (task)
            run_task(pool, task, is_long);
        else if (pool->stopping || !wait_for_work(pool))
            break;
    }
    pool->threads--;
    weft_list_remove(&self->link);
    weft_list_push_back(&pool->ended, &self->link);
    (void)pthread_cond_broadcast(&pool->done);
    (void)pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Takes the threads that ended off the list. They are at most about to return. */
static void join_ended(weft_list *ended) {
    weft_list *at;
    while ((at = weft_list_pop_front(ended))) {
        worker *gone = WEFT_CONTAINER(at, worker, link);
        (void)pthread_join(gone->thread, NULL);
        weft_free(gone);
    }
}

/* Under the lock. */
static bool add_worker(rpc_pool *pool) {
    worker *made = weft_calloc(1, sizeof *made);
    if (!made) return false;
    made->pool = pool;
    weft_list_push_back(&pool->workers, &made->link);
    if (rpc_thread(&made->thread, worker_run, made) < 0) {
        weft_list_remove(&made->link);
        weft_free(made);
        return false;
    }
    pool->threads++;
    return true;
}

int rpc_pool_submit(rpc_pool *pool, rpc_task *task, bool is_long) {
    weft_list ended;
    weft_list_init(&ended);
    int error = 0;
    (void)pthread_mutex_lock(&pool->lock);
    weft_list_splice(&ended, &pool->ended);
    bool runs_now = is_long || pool->short_running < pool->shared;
    /* A short task can wait for another to end, a stream's may never. */
    if (runs_now && !call_worker(pool) && (is_long || pool->short_running == 0))
        error = WEFT_ENOMEM;
    if (!error) queue_push(is_long ? &pool->longs : &pool->shorts, task);
    (void)pthread_mutex_unlock(&pool->lock);
    join_ended(&ended);
    return error;
}

void rpc_pool_free(rpc_pool *pool) {
    if (!pool) return;
    (void)pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    (void)pthread_cond_broadcast(&pool->work);
    while (pool->threads) (void)pthread_cond_wait(&pool->done, &pool->lock);
    (void)pthread_mutex_unlock(&pool->lock);
    join_ended(&pool->ended);
    (void)pthread_cond_destroy(&pool->work);
    (void)pthread_cond_destroy(&pool->done);
    (void)pthread_mutex_destroy(&pool->lock);
    weft_free(pool);
}
