/* The C server of test_interop.py, a Weft service: server --listen ADDRESS. What it does is in
 * proto/test/interop/v1/interop.proto. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "test/interop/v1/interop.weft.h"
#include "weft/rpc.h"

typedef Interop__Request request_t;
typedef Interop__Reply reply_t;

#define ECHOED_TEXT "x-interop-text"
#define ECHOED_BIN "x-interop-bin"

/* ---- what was seen, by key */

typedef struct seen {
    char key[64];
    int entered, ended, cancelled;
} seen;

typedef struct book {
    pthread_mutex_t lock;
    seen seen[4096];
    size_t count;
} book;

/* Adds to the counters of `key` and returns them; all zero when the book is full. */
static seen note(weft_ctx *ctx, const char *key, int entered, int ended, int cancelled) {
    book *all = weft_ctx_service(ctx);
    seen copy = {.entered = 0};
    size_t i = 0;
    (void)pthread_mutex_lock(&all->lock);
    while (i < all->count && strcmp(all->seen[i].key, key) != 0) i++;
    if (i < sizeof all->seen / sizeof all->seen[0]) {
        seen *one = &all->seen[i];
        if (i == all->count) {
            all->count++;
            (void)snprintf(one->key, sizeof one->key, "%s", key);
        }
        one->entered += entered;
        one->ended += ended;
        one->cancelled += cancelled;
        copy = *one;
    }
    (void)pthread_mutex_unlock(&all->lock);
    return copy;
}

/* How many calls of that key there were. */
static int enter(weft_ctx *ctx, const char *key) { return note(ctx, key, 1, 0, 0).entered; }

/* Every handler's last line: only an end that was not asked for is CANCELLED or DEADLINE_EXCEEDED here. */
static weft_status leave(weft_ctx *ctx, const char *key, weft_status st) {
    int cancelled = weft_failed(st) && weft_ctx_cancelled(ctx);
    (void)note(ctx, key, 0, 1, cancelled);
    return st;
}

/* ---- parts of the handlers */

static int64_t left_ms(const weft_ctx *ctx) {
    if (weft_ctx_deadline(ctx) == WEFT_NO_DEADLINE) return -1;
    return weft_ctx_remaining(ctx) / WEFT_NS_PER_MS;
}

static weft_status echo_metadata(weft_ctx *ctx) {
    static const char *const keys[] = {ECHOED_TEXT, ECHOED_BIN};
    for (size_t k = 0; k < 2; k++) {
        size_t len = 0;
        const char *value = NULL;
        for (size_t i = 0; (value = weft_ctx_metadata(ctx, keys[k], i, &len)); i++) {
            if (weft_ctx_add_initial(ctx, keys[k], value, len) < 0 ||
                weft_ctx_add_trailing(ctx, keys[k], value, len) < 0)
                return weft_internal(ctx, "cannot echo %s", keys[k]);
        }
    }
    return weft_ok();
}

static weft_status wait_ms(weft_ctx *ctx, int64_t ms) {
    const struct timespec moment = {0, 1000000};
    int64_t end = weft_now(NULL) + ms * WEFT_NS_PER_MS;
    while (weft_now(NULL) < end) {
        if (weft_ctx_cancelled(ctx)) return weft_ctx_status(ctx);
        (void)nanosleep(&moment, NULL);
    }
    return weft_ok();
}

static weft_status asked_end(weft_ctx *ctx, const request_t *request) {
    if (!request->code) return weft_ok();
    return weft_error(ctx, (weft_code)request->code, "%s", request->message);
}

/* All values of `key`: a repeated bytes field. */
static size_t values(weft_ctx *ctx, const char *key, ProtobufCBinaryData **out) {
    size_t count = 0, len = 0;
    while (weft_ctx_metadata(ctx, key, count, &len)) count++;
    *out = weft_array(ctx, count, sizeof **out);
    for (size_t i = 0; i < count; i++) {
        const char *value = weft_ctx_metadata(ctx, key, i, &len);
        (*out)[i] = (ProtobufCBinaryData){len, weft_memdup(ctx, value, len)};
    }
    return count;
}

static Interop__Tell *tell(weft_ctx *ctx) {
    Interop__Tell *it = interop_tell_new(ctx);
    const char *caller = weft_ctx_metadata(ctx, "x-forwarded-client-cert", 0, NULL);
    it->left_ms = it->left_later_ms = left_ms(ctx);
    it->n_text = values(ctx, ECHOED_TEXT, &it->text);
    it->n_bin = values(ctx, ECHOED_BIN, &it->bin);
    it->caller = weft_strdup(ctx, caller ? caller : "");
    return it;
}

/* `reply` may be one that was filled for the same request: it keeps its memory. */
static void fill(weft_ctx *ctx, const request_t *request, reply_t *reply, int number) {
    size_t size = request->reply_bytes > 0 ? (size_t)request->reply_bytes : 0;
    reply->number = number;
    if (!size) {
        reply->payload = request->payload;
    } else {
        if (!reply->payload.data)
            reply->payload = (ProtobufCBinaryData){size, weft_alloc(ctx, size)};
        for (size_t i = 0; i < size; i++) reply->payload.data[i] = (uint8_t)((size_t)number + i);
    }
    if (request->tell) reply->tell = tell(ctx);
}

/* ---- handlers */

static weft_status empty(weft_ctx *ctx, const Interop__Nothing *request, Interop__Nothing *reply) {
    (void)ctx, (void)request, (void)reply;
    return weft_ok();
}

static weft_status unary(weft_ctx *ctx, const request_t *request, reply_t *reply) {
    (void)enter(ctx, request->key);
    weft_status st = echo_metadata(ctx);
    fill(ctx, request, reply, 0);
    if (!weft_failed(st)) st = wait_ms(ctx, request->wait_ms);
    if (reply->tell) reply->tell->left_later_ms = left_ms(ctx);
    return leave(ctx, request->key, weft_failed(st) ? st : asked_end(ctx, request));
}

static weft_status retried(weft_ctx *ctx, const request_t *request, reply_t *reply) {
    weft_status st = weft_ok();
    if (enter(ctx, request->key) == 1) {
        st = wait_ms(ctx, request->wait_ms);
        if (!weft_failed(st)) st = weft_unavailable(ctx, "not yet");
    } else {
        st = echo_metadata(ctx);
        fill(ctx, request, reply, 0);
    }
    return leave(ctx, request->key, st);
}

static weft_status up(weft_ctx *ctx, interop_up_reader *in, reply_t *reply) {
    request_t *request = NULL;
    const char *key = NULL;
    size_t size = 0, room = 0;
    uint8_t *all = NULL;
    int64_t wait = 0;
    weft_status st = echo_metadata(ctx);
    while (!weft_failed(st) && interop_up_next(in, &request)) {
        if (!key) (void)enter(ctx, key = weft_strdup(ctx, request->key));
        reply->number++;
        if (request->wait_ms > wait) wait = request->wait_ms;
        if (request->tell) reply->tell = tell(ctx);
        if (size + request->payload.len > room) {
            room = 2 * (size + request->payload.len);
            uint8_t *more = weft_alloc(ctx, room);
            if (size) memcpy(more, all, size);
            all = more;
        }
        if (request->payload.len) memcpy(all + size, request->payload.data, request->payload.len);
        size += request->payload.len;
        st = asked_end(ctx, request);
    }
    reply->payload = (ProtobufCBinaryData){size, all};
    if (!weft_failed(st)) st = interop_up_status(in);
    if (!weft_failed(st)) st = wait_ms(ctx, wait);
    return leave(ctx, key ? key : "", st);
}

static weft_status down(weft_ctx *ctx, const request_t *request, interop_down_writer *out) {
    reply_t reply = {INTEROP_REPLY(.number = 0)};
    (void)enter(ctx, request->key);
    weft_status st = echo_metadata(ctx);
    for (int i = 0; i < request->count && !weft_failed(st); i++) {
        fill(ctx, request, &reply, i);
        if (!interop_down_send(out, &reply)) st = interop_down_status(out);
    }
    if (!weft_failed(st)) st = wait_ms(ctx, request->wait_ms);
    return leave(ctx, request->key, weft_failed(st) ? st : asked_end(ctx, request));
}

static weft_status both(weft_ctx *ctx, interop_both_server_stream *stream) {
    request_t *request = NULL;
    const char *key = NULL;
    int number = 0;
    int64_t wait = 0;
    weft_status st = echo_metadata(ctx);
    while (!weft_failed(st) && interop_both_server_next(stream, &request)) {
        reply_t reply = {INTEROP_REPLY(.number = 0)};
        if (!key) (void)enter(ctx, key = weft_strdup(ctx, request->key));
        if (request->wait_ms > wait) wait = request->wait_ms;
        fill(ctx, request, &reply, number++);
        if (!interop_both_server_send(stream, &reply)) st = interop_both_server_status(stream);
        if (!weft_failed(st)) st = asked_end(ctx, request);
    }
    if (!weft_failed(st)) st = interop_both_server_status(stream);
    if (!weft_failed(st)) st = wait_ms(ctx, wait);
    return leave(ctx, key ? key : "", st);
}

static weft_status what_was_seen(weft_ctx *ctx, const Interop__SeenRequest *request,
                                 Interop__SeenReply *reply) {
    seen one = note(ctx, request->key, 0, 0, 0);
    reply->entered = one.entered;
    reply->ended = one.ended;
    reply->cancelled = one.cancelled;
    return weft_ok();
}

int main(int argc, char **argv) {
    static book all = {.lock = PTHREAD_MUTEX_INITIALIZER};
    const interop_service handlers = {.empty = empty,
                                      .unary = unary,
                                      .retried = retried,
                                      .up = up,
                                      .down = down,
                                      .both = both,
                                      .seen = what_was_seen};
    weft_server *server = weft_server_new();
    if (interop_service_add(server, &handlers, &all) < 0) return 1;
    return weft_server_main(server, argc, argv);
}
