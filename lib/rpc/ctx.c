/* Contexts: deadline, cancellation along the tree, memory. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "weft/clock.h"
#include "weft/log.h"
#include "weft/pb.h"

int rpc_ctx_init(weft_ctx *ctx, int64_t deadline, size_t arena_cap) {
    *ctx = (weft_ctx){.deadline = deadline};
    ctx->arena = weft_arena_new(arena_cap);
    if (!ctx->arena) return WEFT_ENOMEM;
    (void)pthread_mutex_init(&ctx->lock, NULL);
    weft_list_init(&ctx->children);
    weft_list_init(&ctx->link);
    weft_list_init(&ctx->hooks);
    weft_list_init(&ctx->groups);
    rpc_live_add(RPC_CTXS, 1);
    return 0;
}

static int64_t deadline_after(int64_t timeout_ns) {
    int64_t deadline = 0;
    if (timeout_ns == WEFT_NO_TIMEOUT) return WEFT_NO_DEADLINE;
    if (timeout_ns < 0) timeout_ns = 0;
    if (__builtin_add_overflow(weft_now(NULL), timeout_ns, &deadline)) return WEFT_NO_DEADLINE;
    return deadline;
}

weft_ctx *weft_ctx_new(int64_t timeout_ns) {
    weft_ctx *ctx = weft_malloc(sizeof *ctx);
    if (!ctx || rpc_ctx_init(ctx, deadline_after(timeout_ns), 0) < 0) {
        weft_free(ctx);
        return NULL;
    }
    rpc_trace_begin(&ctx->trace);
    return ctx;
}

weft_ctx *weft_ctx_child(weft_ctx *parent, int64_t timeout_ns) {
    weft_ctx *ctx = weft_malloc(sizeof *ctx);
    int64_t deadline = deadline_after(timeout_ns);
    if (parent->deadline < deadline) deadline = parent->deadline;
    if (!ctx || rpc_ctx_init(ctx, deadline, 0) < 0) {
        weft_free(ctx);
        return NULL;
    }
    rpc_trace_child(&ctx->trace, &parent->trace);
    ctx->service = parent->service;
    ctx->method = parent->method;
    ctx->parent = parent;
    (void)pthread_mutex_lock(&parent->lock);
    weft_list_push_back(&parent->children, &ctx->link);
    atomic_store(&ctx->cancelled, atomic_load(&parent->cancelled));
    (void)pthread_mutex_unlock(&parent->lock);
    return ctx;
}

static void free_groups(weft_ctx *ctx) {
    weft_list *at;
    while ((at = weft_list_pop_front(&ctx->groups))) {
        /* weft_group begins with its link: see group.c. */
        rpc_group_free((weft_group *)(void *)at);
    }
}

bool rpc_ctx_clear(weft_ctx *ctx) {
    free_groups(ctx);
    (void)pthread_mutex_lock(&ctx->lock);
    bool used = !weft_list_empty(&ctx->hooks) || !weft_list_empty(&ctx->children);
    (void)pthread_mutex_unlock(&ctx->lock);
    if (used) return false;
    if (ctx->parent) {
        (void)pthread_mutex_lock(&ctx->parent->lock);
        weft_list_remove(&ctx->link);
        (void)pthread_mutex_unlock(&ctx->parent->lock);
    }
    while (ctx->adopted) {
        rpc_parcel *gone = ctx->adopted;
        ctx->adopted = gone->next;
        rpc_parcel_free(gone);
    }
    weft_arena_free(ctx->arena);
    (void)pthread_mutex_destroy(&ctx->lock);
    rpc_live_add(RPC_CTXS, -1);
    return true;
}

void weft_ctx_free(weft_ctx *ctx) {
    if (!ctx) return;
    if (ctx->keep) {
        weft_log(WEFT_LOG_ERROR, "weft_ctx_free of a handler's context: it belongs to its call");
        return;
    }
    if (rpc_ctx_clear(ctx)) {
        weft_free(ctx);
        return;
    }
    /* Freeing it would leave them with a dangling pointer; it is leaked instead. */
    weft_log(WEFT_LOG_ERROR,
             "weft_ctx_free of a context in use: end its calls, streams and children first");
    weft_ctx_cancel(ctx);
}

int64_t weft_ctx_deadline(const weft_ctx *ctx) { return ctx->deadline; }

int64_t weft_ctx_remaining(const weft_ctx *ctx) {
    if (ctx->deadline == WEFT_NO_DEADLINE) return WEFT_NO_TIMEOUT;
    int64_t left = ctx->deadline - weft_now(NULL);
    return left > 0 ? left : 0;
}

/* ---- cancellation */

static void cancel_locked(weft_ctx *ctx) {
    if (atomic_exchange(&ctx->cancelled, true)) return;
    weft_list_each(&ctx->hooks, at) {
        rpc_hook *hook = WEFT_CONTAINER(at, rpc_hook, link);
        hook->cancel(hook);
    }
    weft_list_each(&ctx->children, at) {
        weft_ctx *child = WEFT_CONTAINER(at, weft_ctx, link);
        (void)pthread_mutex_lock(&child->lock);
        cancel_locked(child);
        (void)pthread_mutex_unlock(&child->lock);
    }
}

void weft_ctx_cancel(weft_ctx *ctx) {
    (void)pthread_mutex_lock(&ctx->lock);
    cancel_locked(ctx);
    (void)pthread_mutex_unlock(&ctx->lock);
}

bool weft_ctx_cancelled(const weft_ctx *ctx) {
    if (atomic_load_explicit(&ctx->cancelled, memory_order_acquire)) return true;
    return ctx->deadline != WEFT_NO_DEADLINE && weft_now(NULL) >= ctx->deadline;
}

bool rpc_ctx_attach(weft_ctx *ctx, rpc_hook *hook) {
    if (weft_ctx_cancelled(ctx)) return false;
    (void)pthread_mutex_lock(&ctx->lock);
    bool live = !atomic_load(&ctx->cancelled);
    if (live) weft_list_push_back(&ctx->hooks, &hook->link);
    (void)pthread_mutex_unlock(&ctx->lock);
    return live;
}

void rpc_ctx_detach(weft_ctx *ctx, rpc_hook *hook) {
    (void)pthread_mutex_lock(&ctx->lock);
    weft_list_remove(&hook->link);
    (void)pthread_mutex_unlock(&ctx->lock);
}

weft_status rpc_ctx_why(const weft_ctx *ctx, weft_arena *arena, const char *method) {
    if (ctx->deadline != WEFT_NO_DEADLINE && weft_now(NULL) >= ctx->deadline)
        return weft_status_make(arena, WEFT_DEADLINE_EXCEEDED, "%s: the deadline has passed",
                                method);
    return weft_status_make(arena, WEFT_CANCELLED, "%s: cancelled", method);
}

weft_status weft_ctx_status(weft_ctx *ctx) {
    const char *method = ctx->method ? ctx->method->path + 1 : "context";
    return weft_ctx_cancelled(ctx) ? rpc_ctx_why(ctx, ctx->arena, method) : weft_ok();
}

/* ---- memory */

static rpc_parcel *parcel_in(weft_arena *arena) {
    rpc_parcel *parcel = weft_arena_alloc(arena, sizeof *parcel);
    if (parcel) *parcel = (rpc_parcel){.arena = arena};
    if (!parcel) weft_arena_free(arena);
    return parcel;
}

rpc_parcel *rpc_parcel_new(size_t cap) {
    weft_arena *arena = weft_arena_new(cap);
    return arena ? parcel_in(arena) : NULL;
}

rpc_parcel *rpc_parcel_reset(rpc_parcel *parcel) {
    weft_arena *arena = parcel->arena;
    weft_arena_reset(arena);
    return parcel_in(arena);
}

void rpc_parcel_free(rpc_parcel *parcel) {
    if (parcel) weft_arena_free(parcel->arena);
}

void rpc_ctx_adopt(weft_ctx *ctx, rpc_parcel *parcel) {
    (void)pthread_mutex_lock(&ctx->lock);
    parcel->next = ctx->adopted;
    ctx->adopted = parcel;
    (void)pthread_mutex_unlock(&ctx->lock);
}

weft_arena *weft_ctx_arena(weft_ctx *ctx) { return ctx->arena; }

void *weft_alloc(weft_ctx *ctx, size_t size) { return weft_arena_alloc(ctx->arena, size); }

char *weft_strdup(weft_ctx *ctx, const char *text) { return weft_arena_strdup(ctx->arena, text); }

char *weft_strndup(weft_ctx *ctx, const char *text, size_t max) {
    return weft_arena_strndup(ctx->arena, text, max);
}

char *weft_printf(weft_ctx *ctx, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = weft_arena_vprintf(ctx->arena, format, args);
    va_end(args);
    return text;
}

void *weft_memdup(weft_ctx *ctx, const void *data, size_t size) {
    return weft_arena_memdup(ctx->arena, data, size);
}

void *weft_array(weft_ctx *ctx, size_t count, size_t element_size) {
    return weft_arena_calloc(ctx->arena, count, element_size);
}

ProtobufCMessage *weft_new(weft_ctx *ctx, const ProtobufCMessageDescriptor *type) {
    return weft_message_new(ctx->arena, type);
}

/* ---- what a handler may ask; options */

void *weft_ctx_service(const weft_ctx *ctx) { return ctx->service; }
const weft_method *weft_ctx_method(const weft_ctx *ctx) { return ctx->method; }

void weft_ctx_wait_for_ready(weft_ctx *ctx, bool on) { ctx->wait_for_ready = on; }
void weft_ctx_max_reply(weft_ctx *ctx, size_t bytes) { ctx->max_reply = bytes; }
