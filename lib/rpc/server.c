/* Servers: what they serve, where they listen, how they start and drain. Calls are in dispatch.c. */
#include "server.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "weft/buf.h"
#include "weft/clock.h"
#include "weft/log.h"

static void set_defaults(weft_server_options *o) {
    if (o->threads <= 0) o->threads = 32;
    if (o->loops <= 0) o->loops = 1;
    if (!o->max_calls) o->max_calls = 1000;
    if (!o->max_bytes) o->max_bytes = (size_t)256 << 20;
    if (!o->max_request) o->max_request = RPC_MAX_MESSAGE;
    if (!o->max_arena) o->max_arena = (size_t)64 << 20;
    if (!o->max_metadata) o->max_metadata = RPC_MAX_METADATA;
    if (o->grace_ns <= 0) o->grace_ns = 10 * WEFT_NS_PER_S;
}

void rpc_server_fail(weft_server *server, int code, const char *format, ...) {
    weft_buf text;
    va_list args;
    if (server->error_code) return;
    weft_buf_init(&text, 4096);
    va_start(args, format);
    (void)weft_buf_vprintf(&text, format, args);
    va_end(args);
    server->error = weft_buf_detach(&text);
    server->error_code = code;
    weft_buf_free(&text);
}

weft_server *weft_server_new(void) { return weft_server_new_with(NULL); }

weft_server *weft_server_new_with(const weft_server_options *options) {
    weft_server *server = weft_calloc(1, sizeof *server);
    if (!server) return NULL;
    if (options)
        memcpy(&server->options, options,
               options->size < sizeof server->options ? options->size : sizeof server->options);
    set_defaults(&server->options);
    server->last = &server->first;
    server->notify_fd = -1;
    (void)pthread_mutex_init(&server->lock, NULL);
    rpc_cond_init(&server->cond);
    const char *why = NULL;
    server->transport = rpc_transport(server->options.transport, &why);
    if (!server->transport)
        rpc_server_fail(server, WEFT_EUNSUPPORTED, "%s", why);
    else if (server->options.tls && !server->transport->has_tls)
        rpc_server_fail(server, WEFT_EUNSUPPORTED,
                        "TLS is the native transport's: choose it (WEFT_TRANSPORT=native)");
    server->health = rpc_health_new();
    server->registry = weft_registry_new();
    if (!server->health || !server->registry) rpc_server_fail(server, WEFT_ENOMEM, "out of memory");
    return server;
}

/* ---- services */

static int add_methods(weft_server *server, rpc_service *service, const weft_handler *handlers) {
    const weft_service_info *info = service->info;
    for (size_t i = 0; i < info->method_count; i++) {
        service->entries[i] = (rpc_entry){info->methods[i], handlers[i], service};
        int error = weft_map_add(&server->methods, info->methods[i]->path, &service->entries[i]);
        if (error < 0) return error;
    }
    return 0;
}

int weft_stub_serve(weft_server *server, const weft_service_info *info,
                    const weft_handler *handlers, void *user) {
    if (server->state != RPC_NEW) {
        weft_log(WEFT_LOG_ERROR, "a service was added after the server's start",
                 WEFT_S("name", info->name));
        return WEFT_EBUSY;
    }
    if (weft_map_get(&server->services, info->name)) {
        rpc_server_fail(server, WEFT_EEXIST, "service %s was added twice", info->name);
        return WEFT_EEXIST;
    }
    rpc_service *service = weft_calloc(1, sizeof *service);
    rpc_entry *entries = weft_calloc(info->method_count ? info->method_count : 1, sizeof *entries);
    if (!service || !entries) {
        weft_free(service);
        weft_free(entries);
        rpc_server_fail(server, WEFT_ENOMEM, "service %s: out of memory", info->name);
        return WEFT_ENOMEM;
    }
    *service = (rpc_service){.info = info, .entries = entries, .user = user};
    *server->last = service;
    server->last = &service->next;
    int error = weft_map_add(&server->services, info->name, service);
    if (!error) error = add_methods(server, service, handlers);
    if (error < 0)
        rpc_server_fail(server, error, "service %s: %s", info->name, weft_strerror(error));
    return error;
}

static bool check_handlers(weft_server *server) {
    for (const rpc_service *s = server->first; s; s = s->next) {
        for (size_t i = 0; i < s->info->method_count; i++) {
            const rpc_entry *entry = &s->entries[i];
            const char *path = entry->method->path + 1;
            if (entry->handler.on == WEFT_REACTOR)
                rpc_server_fail(server, WEFT_EUNSUPPORTED,
                                "%s: WEFT_REACTOR handlers are not there yet; leave %s_on out",
                                path, entry->method->name);
            else if (entry->handler.on == WEFT_INLINE && entry->method->kind != WEFT_KIND_UNARY)
                rpc_server_fail(server, WEFT_EUNSUPPORTED,
                                "%s: a streaming handler blocks, so it cannot be WEFT_INLINE",
                                path);
        }
    }
    return !server->error_code;
}

/* ---- listening */

void weft_server_unsafe_plaintext(weft_server *server) { server->unsafe = true; }

static bool remember_address(weft_server *server, const weft_addr *address) {
    char text[WEFT_ADDR_TEXT];
    char **grown =
        weft_realloc(server->addresses, (server->address_count + 1) * sizeof *server->addresses);
    if (!grown) return false;
    server->addresses = grown;
    grown[server->address_count] = weft_heap_strdup(weft_addr_format(address, text));
    if (!grown[server->address_count]) return false;
    server->address_count++;
    return true;
}

static const tp_server_events server_events;

static bool make_lower(weft_server *server) {
    const tp_server_options lower = {
        .loops = server->options.loops,
        .max_request = server->options.max_request,
        .max_metadata = server->options.max_metadata,
        .tls = server->options.tls,
    };
    if (!server->lower)
        server->lower = server->transport->server_new(&lower, &server_events, server);
    return server->lower != NULL;
}

int weft_server_listen(weft_server *server, const char *text) {
    weft_addr address;
    char *why = NULL;
    if (server->error_code) return server->error_code;
    if (server->state != RPC_NEW) return WEFT_EBUSY;
    const bool shielded = server->unsafe || server->options.tls;
    int error = rpc_listen_check(text, shielded, &address, &why);
    if (error < 0) {
        rpc_server_fail(server, error, "cannot listen on %s", why ? why : text);
        weft_free(why);
        return error;
    }
    if (!make_lower(server)) {
        rpc_server_fail(server, WEFT_ENOMEM, "cannot listen on %s: no memory or threads left",
                        text);
        return WEFT_ENOMEM;
    }
    error = server->transport->server_listen(server->lower, &address);
    if (error < 0)
        rpc_server_fail(server, error, "cannot listen on %s: %s", text, weft_strerror(error));
    else if (!remember_address(server, &address))
        rpc_server_fail(server, error = WEFT_ENOMEM, "cannot listen on %s: out of memory", text);
    return error;
}

const char *weft_server_address(const weft_server *server, size_t index) {
    return index < server->address_count ? server->addresses[index] : NULL;
}

int weft_server_set_tls(weft_server *server, struct tls_context *tls) {
    if (!server->lower || !server->options.tls || !tls) return WEFT_EINVAL;
    server->transport->server_tls(server->lower, tls);
    return 0;
}

const char *weft_server_error(const weft_server *server) {
    if (!server) return "out of memory";
    return server->error        ? server->error
           : server->error_code ? weft_strerror(server->error_code)
                                : "";
}

/* ---- starting */

static void add_built_in(weft_server *server) {
    if (!weft_map_get(&server->services, "grpc.health.v1.Health"))
        (void)rpc_health_serve(server, server->health);
    if (!server->options.no_reflection) (void)rpc_reflection_serve(server);
    for (const rpc_service *s = server->first; s; s = s->next)
        if (rpc_health_set(server->health, s->info->name, WEFT_SERVING) < 0)
            rpc_server_fail(server, WEFT_ENOMEM, "out of memory");
    if (rpc_health_set(server->health, "", WEFT_SERVING) < 0)
        rpc_server_fail(server, WEFT_ENOMEM, "out of memory");
}

int weft_server_start(weft_server *server) {
    if (!server->error_code && server->state != RPC_NEW)
        rpc_server_fail(server, WEFT_EBUSY, "the server was started before");
    if (!server->error_code && !server->address_count)
        rpc_server_fail(server, WEFT_EINVAL,
                        "nowhere to listen: call weft_server_listen before weft_server_start");
    if (!server->error_code) add_built_in(server);
    if (server->error_code || !check_handlers(server)) return server->error_code;
    server->pool = rpc_pool_new(server->options.threads);
    if (!server->pool) rpc_server_fail(server, WEFT_ENOMEM, "out of memory");
    if (server->error_code) return server->error_code;
    server->state = RPC_STARTED;
    int error = server->transport->server_start(server->lower);
    if (error < 0) rpc_server_fail(server, error, "cannot start: %s", weft_strerror(error));
    return error;
}

void weft_server_set_serving(weft_server *server, const char *service, weft_serving serving) {
    if (rpc_health_set(server->health, service, serving) < 0)
        weft_log(WEFT_LOG_ERROR, "health of a service was lost: out of memory",
                 WEFT_S("name", service));
}

/* ---- draining */

static void on_drained(void *user) {
    weft_server *server = user;
    (void)pthread_mutex_lock(&server->lock);
    server->gone = true;
    (void)pthread_cond_broadcast(&server->cond);
    (void)pthread_mutex_unlock(&server->lock);
}

static const tp_server_events server_events = {
    .on_call = rpc_server_on_call,
    .on_drained = on_drained,
};

static bool is_done(const weft_server *server) { return server->gone && server->calls == 0; }

/* Waits for the end of the grace or of the last call, whichever is first. */
static void *drain_run(void *user) {
    weft_server *server = user;
    (void)pthread_mutex_lock(&server->lock);
    bool in_time = true;
    while (!is_done(server) && !server->hurry && in_time)
        in_time = rpc_cond_wait(&server->cond, &server->lock, server->grace_end);
    size_t left = server->calls;
    (void)pthread_mutex_unlock(&server->lock);
    if (left) weft_log(WEFT_LOG_WARN, "calls are cancelled", WEFT_I("calls", (int64_t)left));
    server->transport->server_cancel_all(server->lower);
    (void)pthread_mutex_lock(&server->lock);
    while (!is_done(server)) (void)pthread_cond_wait(&server->cond, &server->lock);
    server->state = RPC_STOPPED;
    (void)pthread_cond_broadcast(&server->cond);
    int fd = server->notify_fd;
    (void)pthread_mutex_unlock(&server->lock);
    const uint64_t one = 1;
    if (fd >= 0) (void)!write(fd, &one, sizeof one);
    return NULL;
}

static void drain(weft_server *server, bool hurry) {
    (void)pthread_mutex_lock(&server->lock);
    bool first = server->state == RPC_STARTED;
    if (first) {
        server->state = RPC_DRAINING;
        server->grace_end = weft_now(NULL) + server->options.grace_ns;
    }
    if (hurry) server->hurry = true;
    (void)pthread_cond_broadcast(&server->cond);
    (void)pthread_mutex_unlock(&server->lock);
    if (!first) return;
    rpc_health_drain(server->health);
    server->transport->server_drain(server->lower);
    server->drainer_runs = rpc_thread(&server->drainer, drain_run, server) == 0;
    if (!server->drainer_runs) {
        weft_log(WEFT_LOG_WARN, "no thread to drain with: calls are cancelled");
        server->transport->server_cancel_all(server->lower);
    }
}

void weft_server_drain(weft_server *server) { drain(server, false); }
void rpc_server_hurry(weft_server *server) { drain(server, true); }

void weft_server_wait(weft_server *server) {
    (void)pthread_mutex_lock(&server->lock);
    while (server->state == RPC_STARTED || server->state == RPC_DRAINING) {
        if (server->state == RPC_DRAINING && is_done(server)) break;
        (void)pthread_cond_wait(&server->cond, &server->lock);
    }
    (void)pthread_mutex_unlock(&server->lock);
}

void weft_server_free(weft_server *server) {
    if (!server) return;
    if (server->pool) { /* it was started */
        rpc_server_hurry(server);
        weft_server_wait(server);
        if (server->drainer_runs) (void)pthread_join(server->drainer, NULL);
    }
    rpc_pool_free(server->pool);
    if (server->lower) server->transport->server_free(server->lower);
    for (size_t i = 0; i < server->address_count; i++) weft_free(server->addresses[i]);
    weft_free(server->addresses);
    weft_map_free(&server->methods, NULL);
    weft_map_free(&server->services, NULL);
    for (rpc_service *s = server->first, *next = NULL; s; s = next) {
        next = s->next;
        weft_free(s->entries);
        weft_free(s);
    }
    rpc_health_free(server->health);
    weft_registry_free(server->registry);
    weft_free(server->error);
    (void)pthread_cond_destroy(&server->cond);
    (void)pthread_mutex_destroy(&server->lock);
    weft_free(server);
}
