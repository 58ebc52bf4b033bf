#include "sidecar/config/publish.h"

#include <pthread.h>
#include <stdatomic.h>

#include "weft/mem.h"

/* `generation` moves after `current` did, both under the lock; readers look at it alone until it
 * differs from what they have. */
struct config_publisher {
    pthread_mutex_t lock;
    config_snapshot *current; /* one reference; NULL before the first */
    _Atomic uint64_t generation;
};

struct config_reader {
    config_publisher *publisher;
    config_view *view; /* one reference */
    void (*retire)(void *user, config_view *view);
    void *user;
    uint32_t views; /* alive */
};

config_publisher *config_publisher_new(void) {
    config_publisher *publisher = weft_calloc(1, sizeof *publisher);
    if (!publisher) return NULL;
    pthread_mutex_init(&publisher->lock, NULL);
    return publisher;
}

void config_publisher_free(config_publisher *publisher) {
    if (!publisher) return;
    config_unref(publisher->current);
    pthread_mutex_destroy(&publisher->lock);
    weft_free(publisher);
}

void config_publish(config_publisher *publisher, config_snapshot *snapshot) {
    pthread_mutex_lock(&publisher->lock);
    config_snapshot *old = publisher->current;
    publisher->current = config_ref(snapshot);
    atomic_fetch_add_explicit(&publisher->generation, 1, memory_order_release);
    pthread_mutex_unlock(&publisher->lock);
    config_unref(old);
}

static config_snapshot *current_and(config_publisher *publisher, uint64_t *generation) {
    pthread_mutex_lock(&publisher->lock);
    config_snapshot *snapshot = publisher->current;
    if (snapshot) config_ref(snapshot);
    *generation = atomic_load_explicit(&publisher->generation, memory_order_relaxed);
    pthread_mutex_unlock(&publisher->lock);
    return snapshot;
}

config_snapshot *config_current(config_publisher *publisher) {
    uint64_t generation;
    return current_and(publisher, &generation);
}

/* ---- readers */

config_reader *config_reader_new(config_publisher *publisher,
                                 void (*retire)(void *user, config_view *view), void *user) {
    config_reader *reader = weft_calloc(1, sizeof *reader);
    if (!reader) return NULL;
    *reader = (config_reader){.publisher = publisher, .retire = retire, .user = user};
    (void)config_reader_poll(reader);
    return reader;
}

void config_reader_free(config_reader *reader) {
    if (!reader) return;
    if (reader->view) config_view_unref(reader->view);
    weft_free(reader);
}

bool config_reader_poll(config_reader *reader) {
    const uint64_t now = atomic_load_explicit(&reader->publisher->generation, memory_order_relaxed);
    if (now == (reader->view ? reader->view->generation : 0)) return false;
    config_view *view = weft_calloc(1, sizeof *view);
    if (!view) return false;
    view->snapshot = current_and(reader->publisher, &view->generation);
    view->refs = 1;
    view->reader = reader;
    config_view *old = reader->view;
    reader->view = view;
    reader->views++;
    if (old) config_view_unref(old);
    return true;
}

config_view *config_reader_view(config_reader *reader) { return reader->view; }

void config_view_retire(config_view *view) {
    config_reader *reader = view->reader;
    if (reader->retire) reader->retire(reader->user, view);
    reader->views--;
    config_unref(view->snapshot);
    weft_free(view);
}
