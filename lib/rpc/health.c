/* grpc.health.v1: how this server says that it can be called. */
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/health/v1/health.weft.h"
#include "server.h"
#include "weft/clock.h"

/* A change wakes every watcher; each compares with what it sent last. Services are never taken out. */
struct rpc_health {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    weft_map states; /* name: status + 1 as a pointer */
    bool draining;
};

typedef Grpc__Health__V1__HealthCheckRequest check_request;
typedef Grpc__Health__V1__HealthCheckResponse check_response;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;
#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

rpc_health *rpc_health_new(void) {
    rpc_health *health = weft_calloc(1, sizeof *health);
    if (!health) return NULL;
    (void)pthread_mutex_init(&health->lock, NULL);
    rpc_cond_init(&health->cond);
    return health;
}

void rpc_health_free(rpc_health *health) {
    if (!health) return;
    weft_map_free(&health->states, NULL);
    (void)pthread_cond_destroy(&health->cond);
    (void)pthread_mutex_destroy(&health->lock);
    weft_free(health);
}

int rpc_health_set(rpc_health *health, const char *service, weft_serving serving) {
    (void)pthread_mutex_lock(&health->lock);
    int error = weft_map_put(&health->states, service, (void *)((uintptr_t)serving + 1));
    (void)pthread_cond_broadcast(&health->cond);
    (void)pthread_mutex_unlock(&health->lock);
    return error;
}

void rpc_health_drain(rpc_health *health) {
    (void)pthread_mutex_lock(&health->lock);
    health->draining = true;
    (void)pthread_cond_broadcast(&health->cond);
    (void)pthread_mutex_unlock(&health->lock);
}

/* Under the lock. */
static serving_status look_up(const rpc_health *health, const char *service) {
    uintptr_t known = (uintptr_t)weft_map_get(&health->states, service);
    if (!known) return STATUS(SERVICE_UNKNOWN);
    return health->draining ? STATUS(NOT_SERVING) : (serving_status)(known - 1);
}

static weft_status check(weft_ctx *ctx, const check_request *request, check_response *response) {
    rpc_health *health = weft_ctx_service(ctx);
    (void)pthread_mutex_lock(&health->lock);
    serving_status status = look_up(health, request->service);
    (void)pthread_mutex_unlock(&health->lock);
    if (status == STATUS(SERVICE_UNKNOWN))
        return weft_not_found(ctx, "there is no service \"%s\" here", request->service);
    response->status = status;
    return weft_ok();
}

/* ---- Watch */

typedef struct watcher {
    rpc_hook hook;
    rpc_health *health;
    bool cancelled;
} watcher;

static void watcher_cancel(rpc_hook *hook) {
    watcher *self = WEFT_CONTAINER(hook, watcher, hook);
    (void)pthread_mutex_lock(&self->health->lock);
    self->cancelled = true;
    (void)pthread_cond_broadcast(&self->health->cond);
    (void)pthread_mutex_unlock(&self->health->lock);
}

/* Each change at most once; a draining server ends its watches, so that it can stop. */
static weft_status watch_until(weft_ctx *ctx, watcher *self, const char *service,
                               weft_stream *out) {
    int sent = -1;
    for (;;) {
        (void)pthread_mutex_lock(&self->health->lock);
        serving_status now = look_up(self->health, service);
        while ((int)now == sent && !self->cancelled && !self->health->draining) {
            (void)pthread_cond_wait(&self->health->cond, &self->health->lock);
            now = look_up(self->health, service);
        }
        bool draining = self->health->draining, cancelled = self->cancelled;
        (void)pthread_mutex_unlock(&self->health->lock);
        if (cancelled) return rpc_ctx_why(ctx, ctx->arena, "grpc.health.v1.Health/Watch");
        check_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
        response.status = now;
        if ((int)now != sent && !weft_stream_send(out, &response.base))
            return weft_stream_status(out);
        sent = (int)now;
        if (draining) return weft_unavailable(ctx, "the server is draining");
    }
}

static weft_status watch(weft_ctx *ctx, const check_request *request, weft_stream *out) {
    watcher self = {.hook = {.cancel = watcher_cancel}, .health = weft_ctx_service(ctx)};
    if (!rpc_ctx_attach(ctx, &self.hook))
        return rpc_ctx_why(ctx, ctx->arena, "grpc.health.v1.Health/Watch");
    weft_status st = watch_until(ctx, &self, request->service, out);
    rpc_ctx_detach(ctx, &self.hook);
    return st;
}

/* ---- List, where the contract has it, comes with a newer grpc-proto than Debian's. */

static weft_status check_thunk(weft_fn fn, weft_ctx *ctx, const ProtobufCMessage *request,
                               ProtobufCMessage *reply, weft_stream *stream) {
    (void)fn;
    (void)stream;
    return check(ctx, (const check_request *)request, (check_response *)reply);
}

static weft_status watch_thunk(weft_fn fn, weft_ctx *ctx, const ProtobufCMessage *request,
                               ProtobufCMessage *reply, weft_stream *stream) {
    (void)fn;
    (void)reply;
    return watch(ctx, (const check_request *)request, stream);
}

#define SERVICE "grpc.health.v1.Health"
static const weft_method check_method = {
    .size = sizeof check_method,
    .path = "/" SERVICE "/Check",
    .service = SERVICE,
    .name = "Check",
    .input = &grpc__health__v1__health_check_request__descriptor,
    .output = &grpc__health__v1__health_check_response__descriptor,
    .kind = WEFT_KIND_UNARY,
};
static const weft_method watch_method = {
    .size = sizeof watch_method,
    .path = "/" SERVICE "/Watch",
    .service = SERVICE,
    .name = "Watch",
    .input = &grpc__health__v1__health_check_request__descriptor,
    .output = &grpc__health__v1__health_check_response__descriptor,
    .kind = WEFT_KIND_SERVER_STREAM,
};
static const weft_method *const methods[] = {&check_method, &watch_method};
static const weft_service_info info = {
    .size = sizeof info,
    .name = SERVICE,
    .file = &weft_file_grpc_health_v1_health_proto,
    .methods = methods,
    .method_count = 2,
};

int rpc_health_serve(weft_server *server, rpc_health *health) {
    const weft_handler handlers[] = {
        {check_thunk, (weft_fn)check_thunk, WEFT_INLINE},
        {watch_thunk, (weft_fn)watch_thunk, WEFT_POOL},
    };
    return weft_stub_serve(server, &info, handlers, health);
}
