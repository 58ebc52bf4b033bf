/* The control plane as one process: see control.h. */
#include "services/control/control.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "services/control/ca/folder.h"
#include "services/control/registry/wire.h"
#include "weft/log.h"
#include "weft/mem.h"

#define LOOK_NS WEFT_NS_PER_S          /* the store may be moved by another process */
#define SETTLE_NS (2 * WEFT_NS_PER_MS) /* what comes in one rush becomes one world */
#define PATH 1024
#define SAVED "registry.saved"

/* ---- open */

static int open_store(control *c, crypto_why *why) {
    char path[PATH];
    char *reason = NULL;
    const weft_db_options options = {.size = sizeof options, .clock = c->options.clock};
    const char *given = c->options.store;
    if (given && strncmp(given, "sqlite:", 7) != 0)
        return ca_explain(why, WEFT_EUNSUPPORTED, "--store %.200s: write sqlite:PATH", given);
    if (given)
        (void)snprintf(path, sizeof path, "%s", given + 7);
    else
        (void)snprintf(path, sizeof path, "%s/control.db", c->options.state);
    int error = weft_db_open(path, &options, &c->db, &reason);
    if (error) (void)ca_explain(why, error, "%.600s", reason ? reason : weft_strerror(error));
    weft_free(reason);
    if (error) return error;
    error = weft_revisions_sqlite(c->db, &c->store);
    return error ? ca_explain(why, error, "%.600s", weft_store_message()) : 0;
}

static int open_authority(control *c, crypto_why *why) {
    char folder[PATH];
    const ca_options options = {.folder = folder,
                                .domain = c->options.domain,
                                .leaf = c->options.leaf,
                                .overlap = c->options.overlap};
    (void)snprintf(folder, sizeof folder, "%s/ca", c->options.state);
    int error = ca_open(&options, weft_wall(c->options.clock), &c->authority, why);
    if (error) return error;
    return crypto_spiffe_format(c->options.domain, CONTROL_NAMESPACE, CONTROL_SERVICE, c->identity,
                                sizeof c->identity);
}

/* What was there before a restart has time to come back. */
static void load_registry(control *c) {
    char path[PATH];
    weft_buf data;
    registry_view before;
    weft_arena *arena = weft_arena_new(0);
    weft_buf_init(&data, 0);
    (void)snprintf(path, sizeof path, "%s/" SAVED, c->options.state);
    int error = arena ? weft_buf_read_file(&data, path) : WEFT_ENOMEM;
    if (!error) error = wire_load(data.data, data.len, arena, &before);
    if (!error) {
        registry_restore(c->members, &before, weft_now(c->options.clock));
        weft_log(WEFT_LOG_INFO, "instances from before the restart",
                 WEFT_I("count", (int64_t)before.count));
    } else if (error != WEFT_ENOTFOUND) {
        weft_log(WEFT_LOG_WARN, "instances from before the restart cannot be read",
                 WEFT_S("file", path), WEFT_S("why", weft_strerror(error)));
    }
    weft_buf_free(&data);
    weft_arena_free(arena);
}

static int open_rooms(control *c, crypto_why *why) {
    const registry_options leases = {.down_after = c->options.down_after,
                                     .grace = c->options.grace};
    c->types = model_registry_new();
    c->members = registry_new(&leases);
    if (!c->types || !c->members) return ca_explain(why, WEFT_ENOMEM, "out of memory");
    c->docs = (documents){.store = c->store, .types = c->types};
    load_registry(c);
    audit_init(&c->log, c->store, c->options.clock);
    join_init(&c->desk, c->authority, c->store, &c->log, c->options.clock);
    return 0;
}

static void init_locks(control *c) {
    pthread_condattr_t monotonic;
    (void)pthread_mutex_init(&c->registry_lock, NULL);
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&c->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    world_slot_init(&c->world);
}

int control_open(const control_options *options, control **out, crypto_why *why) {
    control *c = weft_calloc(1, sizeof *c);
    if (!c) return ca_explain(why, WEFT_ENOMEM, "out of memory");
    c->options = *options;
    if (!c->options.heartbeat) c->options.heartbeat = REGISTRY_HEARTBEAT;
    if (!c->options.down_after) c->options.down_after = REGISTRY_DOWN_AFTER;
    if (!c->options.grace) c->options.grace = REGISTRY_GRACE;
    c->started = weft_wall(c->options.clock);
    init_locks(c);
    int error = ca_folder_check(options->state, why);
    if (!error) error = open_store(c, why);
    if (!error) error = open_authority(c, why);
    if (!error) error = open_rooms(c, why);
    if (error) {
        control_close(c);
        return error;
    }
    *out = c;
    return 0;
}

void control_close(control *c) {
    if (!c) return;
    control_stop(c);
    if (c->log.store) {
        join_end(&c->desk);
        audit_end(&c->log);
    }
    world_docs_unref(c->current);
    world_slot_end(&c->world);
    registry_free(c->members);
    weft_registry_free(c->types);
    ca_free(c->authority);
    weft_revisions_free(c->store);
    weft_db_close(c->db);
    (void)pthread_cond_destroy(&c->wake);
    (void)pthread_mutex_destroy(&c->lock);
    (void)pthread_mutex_destroy(&c->registry_lock);
    weft_free(c);
}

/* ---- what happens by itself */

void control_wake(control *c) {
    (void)pthread_mutex_lock(&c->lock);
    c->woken = true;
    (void)pthread_cond_signal(&c->wake);
    (void)pthread_mutex_unlock(&c->lock);
}

/* The documents as they are now, if they are not the current ones. */
static void look_at_documents(control *c) {
    weft_head head;
    documents_revision revision;
    int error = weft_revisions_head(c->store, DOCUMENTS_HEAD, &head);
    if (error == WEFT_ENOTFOUND) head.sequence = 0;
    if (c->current && c->current->sequence == head.sequence) return;
    weft_arena *arena = weft_arena_new(0);
    if (!arena) return;
    error = documents_load(&c->docs, 0, arena, &revision);
    if (error) {
        weft_arena_free(arena);
        weft_log(WEFT_LOG_ERROR, "documents cannot be read: the ones before stay",
                 WEFT_S("why", weft_strerror(error)));
        return;
    }
    world_docs *docs = world_docs_new(arena, revision.set, revision.head.sequence);
    if (!docs) return;
    world_docs_unref(c->current);
    c->current = docs;
}

static void save_registry(control *c, const registry_view *view, weft_arena *arena,
                          uint64_t version) {
    char path[PATH];
    crypto_why why = {""};
    const uint8_t *data;
    size_t size;
    (void)snprintf(path, sizeof path, "%s/" SAVED, c->options.state);
    if (wire_save(view, arena, &data, &size) < 0) return;
    if (ca_write_file(path, data, size, &why) < 0)
        weft_log(WEFT_LOG_WARN, "instances cannot be saved", WEFT_S("why", why.text));
    else
        c->saved_version = version;
}

/* One look at everything; the time of the next. */
static int64_t look(control *c) {
    const int64_t now = weft_now(c->options.clock);
    const world_docs *before = c->current;
    registry_view view = {0};
    weft_arena *arena = weft_arena_new(0);
    look_at_documents(c);
    (void)pthread_mutex_lock(&c->registry_lock);
    int64_t next = registry_tick(c->members, now);
    const uint64_t version = registry_version(c->members);
    const bool changed = version != c->built_version || !c->world.now || before != c->current;
    bool good = arena && changed && c->current && !registry_view_make(c->members, arena, &view);
    (void)pthread_mutex_unlock(&c->registry_lock);
    if (good) {
        if (version != c->saved_version) save_registry(c, &view, arena, version);
        world *w = world_new(arena, c->current, &view);
        arena = NULL;
        if (w) {
            w->members = version;
            c->built_version = version;
            world_publish(&c->world, w);
        }
    }
    weft_arena_free(arena);
    const int64_t roots = join_tick(&c->desk) - weft_wall(c->options.clock);
    if (roots < next - now) next = now + (roots > 0 ? roots : 0);
    return next < now + LOOK_NS ? next : now + LOOK_NS;
}

static void wait_until(control *c, int64_t when) {
    const struct timespec until = {.tv_sec = when / WEFT_NS_PER_S, .tv_nsec = when % WEFT_NS_PER_S};
    while (!c->stopping && !c->woken)
        if (pthread_cond_timedwait(&c->wake, &c->lock, &until)) break;
}

static void *tick(void *user) {
    control *c = user;
    (void)pthread_mutex_lock(&c->lock);
    while (!c->stopping) {
        (void)pthread_mutex_unlock(&c->lock);
        const int64_t next = look(c);
        (void)pthread_mutex_lock(&c->lock);
        wait_until(c, next);
        if (!c->woken || c->stopping) continue;
        const struct timespec settle = {.tv_nsec = SETTLE_NS};
        (void)pthread_mutex_unlock(&c->lock);
        (void)nanosleep(&settle, NULL);
        (void)pthread_mutex_lock(&c->lock);
        c->woken = false;
    }
    (void)pthread_mutex_unlock(&c->lock);
    return NULL;
}

int control_start(control *c) {
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    c->ticking = pthread_create(&c->ticker, NULL, tick, c) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return c->ticking ? 0 : WEFT_ENOMEM;
}

void control_stop(control *c) {
    (void)pthread_mutex_lock(&c->lock);
    c->stopping = true;
    (void)pthread_cond_signal(&c->wake);
    (void)pthread_mutex_unlock(&c->lock);
    if (c->ticking) (void)pthread_join(c->ticker, NULL);
    c->ticking = false;
    world_close(&c->world);
    if (c->log.store) join_close(&c->desk);
}

/* ---- ourselves, and who calls */

int control_svid(control *c, crypto_svid **svid, crypto_why *why) {
    (void)pthread_mutex_lock(&c->desk.lock);
    const int error = ca_issue(c->authority, c->identity, weft_wall(c->options.clock), svid, why);
    (void)pthread_mutex_unlock(&c->desk.lock);
    return error;
}

control_peer control_peer_of(control *c, const weft_ctx *ctx) {
    control_peer peer = {.identity = weft_ctx_peer_identity(ctx), .address = weft_ctx_peer(ctx)};
    /* Plaintext servers listen on unix sockets of ours and on loopback, nowhere else. */
    peer.trusted = c->options.plaintext && !peer.identity;
    return peer;
}
