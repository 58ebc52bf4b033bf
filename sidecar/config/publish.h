/* How workers come by a new snapshot without locks on their way, and how long they keep the old.
 *
 *     publisher ──generation──► reader of worker 1 ──view──► requests
 *         └───────────────────► reader of worker 2 ──view──► requests
 *
 * A worker asks at its loop boundary (config_reader_poll: one relaxed load unless something changed)
 * and then works on its view of the snapshot. Each request holds a reference to the view it began
 * with; those counts belong to the worker and are not atomic. A view holds one reference to the
 * snapshot, so the last request of the last worker frees it. */
#ifndef SIDECAR_CONFIG_PUBLISH_H
#define SIDECAR_CONFIG_PUBLISH_H

#include "sidecar/config/config.h"

typedef struct config_publisher config_publisher;
typedef struct config_reader config_reader;

/* A worker's hold on one snapshot. `state` is the worker's own (clusters, pools built for it). */
typedef struct config_view {
    config_snapshot *snapshot;
    uint64_t generation;
    void *state;
    uint32_t refs; /* private: this worker's */
    config_reader *reader;
} config_view;

/* NULL when memory is out. _free after all readers are freed. */
config_publisher *config_publisher_new(void) WEFT_MUST_USE;
void config_publisher_free(config_publisher *publisher);

/* Makes `snapshot` (a reference is taken) the current one. Any thread. */
void config_publish(config_publisher *publisher, config_snapshot *snapshot);

/* The current one with a reference of the caller's, or NULL before the first. Any thread. */
config_snapshot *config_current(config_publisher *publisher) WEFT_MUST_USE;

/* One a worker. `retire(user, view)` is called on that worker when a view's last reference goes,
 * so that `state` can be taken down; may be NULL. NULL when memory is out. _free after every view
 * is back. */
config_reader *config_reader_new(config_publisher *publisher,
                                 void (*retire)(void *user, config_view *view),
                                 void *user) WEFT_MUST_USE;
void config_reader_free(config_reader *reader);

/* At the loop boundary: true when config_reader_view now returns another view. Out of memory: keeps
 * the old one and tries again at the next boundary. The worker's thread only, as all below. */
bool config_reader_poll(config_reader *reader);

/* The view to begin requests with; NULL before the first snapshot. Borrowed. */
config_view *config_reader_view(config_reader *reader);

static inline config_view *config_view_ref(config_view *view) {
    view->refs++;
    return view;
}
void config_view_retire(config_view *view); /* private */
static inline void config_view_unref(config_view *view) {
    if (--view->refs == 0) config_view_retire(view);
}

#endif
