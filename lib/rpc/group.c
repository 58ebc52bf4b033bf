/* Calls in parallel. Parts end on loop threads, which only note it; replies are unpacked by the thread that
 * waits, into the group's context. */
#include <stddef.h>
#include <string.h>

#include "internal.h"
#include "weft/clock.h"

#define PARTS_MAX 4096

typedef struct part {
    rpc_call call;
    struct part *next_ended;
    weft_group *group;
    ProtobufCMessage **reply;
    int number;
    bool ended;    /* on the loop's side */
    bool finished; /* `st` is there, the reply unpacked */
    bool reported;
    weft_status st;
} part;

/* `parts`, `finished`, `reported` are the owner's; `lock` guards what parts do when they end. */
struct weft_group {
    weft_list link; /* first: ctx.c */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    weft_ctx *ctx;
    rpc_hook hook;
    bool hooked, keep_going, cancelled;
    part **parts;
    int count, cap;
    int running; /* under lock */
    part *ended_first, **ended_last;
    part *failed; /* the first that did; under lock */
};

static void cancel_parts(weft_group *group, const part *but) {
    group->cancelled = true;
    for (int i = 0; i < group->count; i++) {
        part *p = group->parts[i];
        if (p != but && !p->ended) p->call.channel->transport->call_cancel(p->call.call);
    }
}

void weft_group_cancel(weft_group *group) {
    (void)pthread_mutex_lock(&group->lock);
    cancel_parts(group, NULL);
    (void)pthread_mutex_unlock(&group->lock);
}

static void hook_cancel(rpc_hook *hook) {
    weft_group_cancel(WEFT_CONTAINER(hook, weft_group, hook));
}

weft_group *weft_group_new(weft_ctx *ctx) {
    weft_group *group = weft_calloc(1, sizeof *group);
    if (!group) return NULL;
    (void)pthread_mutex_init(&group->lock, NULL);
    rpc_cond_init(&group->cond);
    group->ctx = ctx;
    group->ended_last = &group->ended_first;
    group->hook.cancel = hook_cancel;
    weft_list_push_back(&ctx->groups, &group->link);
    group->hooked = rpc_ctx_attach(ctx, &group->hook);
    group->cancelled = !group->hooked;
    return group;
}

void weft_group_keep_going(weft_group *group) { group->keep_going = true; }

/* Under the lock. */
static void note_end(part *p, int code) {
    weft_group *group = p->group;
    p->ended = true;
    *group->ended_last = p;
    group->ended_last = &p->next_ended;
    if (code == WEFT_OK || group->failed) return;
    group->failed = p;
    if (!group->keep_going) cancel_parts(group, p);
}

static void part_done(rpc_call *call) {
    part *p = WEFT_CONTAINER(call, part, call);
    weft_group *group = p->group;
    (void)pthread_mutex_lock(&group->lock);
    note_end(p, call->end.code);
    group->running--;
    (void)pthread_cond_broadcast(&group->cond);
    (void)pthread_mutex_unlock(&group->lock);
}

static part *part_new(weft_group *group) {
    if (group->count == group->cap) {
        int cap = group->cap ? group->cap * 2 : 8;
        part **grown = weft_calloc((size_t)cap, sizeof(part *));
        if (!grown) return NULL;
        if (group->count) memcpy(grown, group->parts, (size_t)group->count * sizeof(part *));
        (void)pthread_mutex_lock(&group->lock);
        part **old = group->parts;
        group->parts = grown;
        group->cap = cap;
        (void)pthread_mutex_unlock(&group->lock);
        weft_free(old);
    }
    part *p = weft_calloc(1, sizeof *p);
    if (p) *p = (part){.group = group, .number = group->count};
    return p;
}

int weft_stub_start(weft_channel *channel, weft_group *group, const weft_method *method,
                    const ProtobufCMessage *request, ProtobufCMessage **reply) {
    if (group->count == PARTS_MAX) return WEFT_ELIMIT;
    part *p = part_new(group);
    if (!p) return WEFT_ENOMEM;
    p->call =
        (rpc_call){.channel = channel, .ctx = group->ctx, .method = method, .done = part_done};
    p->reply = reply;
    (void)pthread_mutex_lock(&group->lock);
    bool stopped = group->cancelled;
    p->ended = true; /* until it runs there is nothing to cancel */
    group->parts[group->count++] = p;
    (void)pthread_mutex_unlock(&group->lock);
    const weft_status *failure = NULL;
    if (stopped) {
        p->st = weft_ctx_cancelled(group->ctx)
                    ? rpc_ctx_why(group->ctx, group->ctx->arena, method->path + 1)
                    : weft_status_make(group->ctx->arena, WEFT_CANCELLED,
                                       "%s: not started, since the group was cancelled",
                                       method->path + 1);
        failure = &p->st;
    } else if (!rpc_call_start(&p->call, request, false, group->ctx->arena, &p->st)) {
        failure = &p->st;
    }
    (void)pthread_mutex_lock(&group->lock);
    if (failure) {
        p->finished = true;
        note_end(p, (int)failure->code);
        (void)pthread_cond_broadcast(&group->cond);
    } else {
        group->running++;
        /* It may have ended, and been noted, before this line. */
        bool noted = p->next_ended || group->ended_last == &p->next_ended;
        if (!noted) p->ended = false;
        if (!noted && group->cancelled) channel->transport->call_cancel(p->call.call);
    }
    int number = p->number;
    (void)pthread_mutex_unlock(&group->lock);
    return number;
}

/* The owner's thread: unpacks what an ended part brought. */
static void settle(weft_group *group, part *p) {
    if (p->finished) return;
    p->st = rpc_call_finish(&p->call, group->ctx->arena, true, p->reply);
    p->finished = true;
}

static part *next_ended(weft_group *group) {
    for (part *p = group->ended_first; p; p = p->next_ended)
        if (!p->reported) return p;
    return NULL;
}

int weft_group_wait_any(weft_group *group) {
    part *p = NULL;
    if (!rpc_may_block()) return WEFT_EBUSY;
    (void)pthread_mutex_lock(&group->lock);
    while (!(p = next_ended(group)) && group->running)
        (void)pthread_cond_wait(&group->cond, &group->lock);
    (void)pthread_mutex_unlock(&group->lock);
    if (!p) return WEFT_ENOTFOUND;
    p->reported = true;
    settle(group, p);
    /* A reply that cannot be read is a failure, too, found only now. */
    if (p->st.code != WEFT_OK) {
        (void)pthread_mutex_lock(&group->lock);
        if (!group->failed) {
            group->failed = p;
            if (!group->keep_going) cancel_parts(group, p);
        }
        (void)pthread_mutex_unlock(&group->lock);
    }
    return p->number;
}

weft_status weft_group_wait(weft_group *group) {
    if (!rpc_may_block())
        return weft_status_make(group->ctx->arena, WEFT_INTERNAL,
                                "waiting for a group in a callback would wait for itself");
    while (weft_group_wait_any(group) >= 0) continue;
    const part *p = group->failed;
    if (!p) return weft_ok();
    weft_status st = p->st;
    const char *text = weft_status_message(st);
    const char *method = p->call.method->path + 1;
    /* The runtime's own sentences begin with the method already. */
    if (strncmp(text, method, strlen(method)) == 0) return st;
    weft_status_body *body = weft_arena_calloc(group->ctx->arena, 1, sizeof *body);
    const char *named = body ? weft_printf(group->ctx, "%s: %s", method, text) : NULL;
    if (!named) return st;
    if (st.body) *body = *st.body;
    body->message = named;
    st.body = body;
    return st;
}

weft_status weft_group_status(weft_group *group, int number) {
    if (number < 0 || number >= group->count)
        return weft_status_make(group->ctx->arena, WEFT_INTERNAL, "the group has no part %d",
                                number);
    part *p = group->parts[number];
    (void)pthread_mutex_lock(&group->lock);
    bool ended = p->ended;
    (void)pthread_mutex_unlock(&group->lock);
    if (!ended)
        return weft_status_make(group->ctx->arena, WEFT_UNKNOWN, "part %d has not ended yet",
                                number);
    settle(group, p);
    return p->st;
}

void rpc_group_free(weft_group *group) {
    if (group->hooked) rpc_ctx_detach(group->ctx, &group->hook);
    weft_group_cancel(group);
    (void)pthread_mutex_lock(&group->lock);
    while (group->running) (void)pthread_cond_wait(&group->cond, &group->lock);
    (void)pthread_mutex_unlock(&group->lock);
    for (int i = 0; i < group->count; i++) {
        group->parts[i]->reply = NULL; /* nobody waited: the pointer may be gone */
        settle(group, group->parts[i]);
        weft_free(group->parts[i]);
    }
    weft_free(group->parts);
    (void)pthread_cond_destroy(&group->cond);
    (void)pthread_mutex_destroy(&group->lock);
    weft_free(group);
}
