#include "sidecar/xds/ads.h"

#include <pthread.h>
#include <time.h>

#include "envoy/service/discovery/v3/ads.weft.h"
#include "sidecar/xds/cache.h"
#include "weft/log.h"
#include "weft/mem.h"

typedef envoy_discovery_aggregated_discovery_stream_aggregated_resources_stream ads_stream;
#define ads_open envoy_discovery_aggregated_discovery_stream_aggregated_resources
#define ads_next envoy_discovery_aggregated_discovery_stream_aggregated_resources_next
#define ads_send envoy_discovery_aggregated_discovery_stream_aggregated_resources_send
#define ads_end envoy_discovery_aggregated_discovery_stream_aggregated_resources_end

/* Two threads: `talker` reads the stream, `keeper` watches the clock and the disk. All but the
 * stream's reading end is under the lock. */
struct xds_ads {
    xds_ads_options options;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t talker, keeper;
    xds_client *client;
    weft_ctx *ctx;      /* of the stream; NULL: there is none */
    ads_stream *stream; /* NULL: there is none */
    bool stopping;
    bool unsaved;
};

static int64_t now_of(void) { return weft_now(NULL); }

/* ---- under the lock */

static void publish(xds_ads *a) {
    config_snapshot *next = xds_client_take(a->client, now_of());
    if (!next) return;
    a->options.changed(a->options.user, next);
    config_unref(next);
    a->unsaved = true;
    (void)pthread_cond_broadcast(&a->wake);
}

/* Sends what is due. */
static void pump(xds_ads *a) {
    EnvoyDiscovery__DiscoveryRequest *request;
    publish(a);
    weft_arena *arena = weft_arena_new(0);
    while (arena && a->stream && xds_client_next(a->client, arena, &request) == 1)
        if (!ads_send(a->stream, request)) break;
    weft_arena_free(arena);
}

/* Until `at`, or something happens. */
static void wait_until(xds_ads *a, int64_t at) {
    const struct timespec until = {.tv_sec = at / WEFT_NS_PER_S, .tv_nsec = at % WEFT_NS_PER_S};
    if (at == INT64_MAX)
        (void)pthread_cond_wait(&a->wake, &a->lock);
    else
        (void)pthread_cond_timedwait(&a->wake, &a->lock, &until);
}

/* ---- the stream */

static void say_refusals(const xds_ads *a) {
    for (int i = 0; i < CONFIG_KINDS; i++) {
        const xds_client_status s = xds_client_get_status(a->client, (config_kind)i);
        if (*s.reason) weft_log(WEFT_LOG_WARN, "configuration refused", WEFT_S("reason", s.reason));
    }
    if (*xds_client_problem(a->client))
        weft_log(WEFT_LOG_WARN, "configuration is not used",
                 WEFT_S("reason", xds_client_problem(a->client)));
}

static void hear(xds_ads *a, const EnvoyDiscovery__DiscoveryResponse *response) {
    (void)pthread_mutex_lock(&a->lock);
    if (xds_client_response(a->client, response, now_of())) {
        weft_log(WEFT_LOG_ERROR, "a configuration is not taken",
                 WEFT_S("reason", weft_strerror(WEFT_ENOMEM)));
        if (a->ctx) weft_ctx_cancel(a->ctx); /* and ask again */
    }
    pump(a);
    say_refusals(a);
    (void)pthread_cond_broadcast(&a->wake);
    (void)pthread_mutex_unlock(&a->lock);
}

/* One stream, from its beginning to its end. The lock is held before and after. */
static void talk(xds_ads *a) {
    EnvoyDiscovery__DiscoveryResponse *response;
    (void)pthread_mutex_unlock(&a->lock);
    weft_channel *channel = a->options.dial(a->options.user);
    weft_ctx *ctx = channel ? weft_ctx_new(WEFT_NO_TIMEOUT) : NULL;
    (void)pthread_mutex_lock(&a->lock);
    if (ctx && !a->stopping) {
        ads_stream *stream = ads_open(channel, ctx);
        a->ctx = ctx;
        a->stream = stream;
        xds_client_opened(a->client, now_of());
        pump(a);
        (void)pthread_mutex_unlock(&a->lock);
        while (ads_next(stream, &response)) hear(a, response);
        (void)pthread_mutex_lock(&a->lock);
        a->stream = NULL;
        a->ctx = NULL;
        const bool stopping = a->stopping;
        (void)pthread_mutex_unlock(&a->lock);
        const weft_status st = ads_end(stream);
        if (!stopping)
            weft_log(WEFT_LOG_WARN, "the stream of configuration ended",
                     WEFT_S("reason", weft_status_message(st)));
        (void)pthread_mutex_lock(&a->lock);
    }
    xds_client_closed(a->client, now_of());
    weft_ctx_free(ctx);
    weft_channel_free(channel);
}

static void *talker_run(void *user) {
    xds_ads *a = user;
    (void)pthread_mutex_lock(&a->lock);
    while (!a->stopping) {
        const int64_t at = xds_client_retry_at(a->client);
        if (now_of() < at)
            wait_until(a, at);
        else
            talk(a);
    }
    (void)pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* ---- clock and disk */

static void save(xds_ads *a) {
    weft_buf text;
    weft_buf_init(&text, 2 * (size_t)XDS_CACHE_MAX);
    a->unsaved = false;
    int rc = xds_client_save(a->client, &text);
    (void)pthread_mutex_unlock(&a->lock);
    if (!rc) rc = xds_cache_write(a->options.cache, text.data, text.len);
    if (rc)
        weft_log(WEFT_LOG_WARN, "the configuration is not kept for the next start",
                 WEFT_S("file", a->options.cache), WEFT_S("reason", weft_strerror(rc)));
    weft_buf_free(&text);
    (void)pthread_mutex_lock(&a->lock);
}

static void *keeper_run(void *user) {
    xds_ads *a = user;
    (void)pthread_mutex_lock(&a->lock);
    for (;;) {
        pump(a);
        if (a->unsaved && a->options.cache)
            save(a);
        else if (a->stopping)
            break;
        else
            wait_until(a, xds_client_wake(a->client));
    }
    (void)pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* ---- life */

static void restore(xds_ads *a) {
    weft_buf text;
    if (!a->options.cache) return;
    weft_buf_init(&text, 2 * (size_t)XDS_CACHE_MAX);
    int rc = xds_cache_read(a->options.cache, &text);
    if (!rc) rc = xds_client_restore(a->client, text.data, text.len);
    if (rc && rc != WEFT_ENOTFOUND)
        weft_log(WEFT_LOG_WARN, "what was kept for this start is not used",
                 WEFT_S("file", a->options.cache), WEFT_S("reason", weft_strerror(rc)));
    weft_buf_free(&text);
    publish(a);
    a->unsaved = false;
}

static void init_locks(xds_ads *a) {
    pthread_condattr_t monotonic;
    (void)pthread_mutex_init(&a->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&a->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

static void ads_free(xds_ads *a) {
    (void)pthread_cond_destroy(&a->wake);
    (void)pthread_mutex_destroy(&a->lock);
    xds_client_free(a->client);
    weft_free(a);
}

static void tell_to_stop(xds_ads *a) {
    (void)pthread_mutex_lock(&a->lock);
    a->stopping = true;
    if (a->ctx) weft_ctx_cancel(a->ctx);
    (void)pthread_cond_broadcast(&a->wake);
    (void)pthread_mutex_unlock(&a->lock);
}

int xds_ads_start(const xds_ads_options *options, xds_ads **out) {
    xds_ads *a = weft_calloc(1, sizeof *a);
    if (!a) return WEFT_ENOMEM;
    a->options = *options;
    init_locks(a);
    a->client = xds_client_new(&options->client);
    if (!a->client) {
        ads_free(a);
        return WEFT_ENOMEM;
    }
    (void)pthread_mutex_lock(&a->lock);
    restore(a);
    (void)pthread_mutex_unlock(&a->lock);
    int rc = pthread_create(&a->talker, NULL, talker_run, a) ? WEFT_ENOMEM : 0;
    if (!rc && pthread_create(&a->keeper, NULL, keeper_run, a)) {
        tell_to_stop(a);
        (void)pthread_join(a->talker, NULL);
        rc = WEFT_ENOMEM;
    }
    if (rc)
        ads_free(a);
    else
        *out = a;
    return rc;
}

void xds_ads_stop(xds_ads *a) {
    if (!a) return;
    tell_to_stop(a);
    (void)pthread_join(a->talker, NULL);
    (void)pthread_join(a->keeper, NULL);
    ads_free(a);
}

int xds_ads_want(xds_ads *a, const char *cluster) {
    (void)pthread_mutex_lock(&a->lock);
    const int rc = xds_client_want(a->client, cluster);
    (void)pthread_cond_broadcast(&a->wake);
    (void)pthread_mutex_unlock(&a->lock);
    return rc;
}

bool xds_ads_ready(xds_ads *a) {
    (void)pthread_mutex_lock(&a->lock);
    const bool ready = xds_client_ready(a->client);
    (void)pthread_mutex_unlock(&a->lock);
    return ready;
}

int xds_ads_describe(xds_ads *a, weft_buf *out) {
    (void)pthread_mutex_lock(&a->lock);
    const int rc = xds_client_describe(a->client, out);
    (void)pthread_mutex_unlock(&a->lock);
    return rc;
}
