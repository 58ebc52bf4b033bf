/* The discovery client over a real stream, to a server that has the control plane's side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "envoy/service/discovery/v3/ads.weft.h"
#include "services/control/xds/stream.h"
#include "sidecar/xds/ads.h"
#include "tests/unit/control_xds/world.h"

typedef envoy_discovery_aggregated_discovery_stream_aggregated_resources_server_stream wire;
#define wire_next envoy_discovery_aggregated_discovery_stream_aggregated_resources_server_next
#define wire_send envoy_discovery_aggregated_discovery_stream_aggregated_resources_server_send
#define wire_status envoy_discovery_aggregated_discovery_stream_aggregated_resources_server_status

static const config_options options = {.size = sizeof options, .skip_files = true, .dynamic = true};

typedef struct scene {
    weft_arena *arena;
    control_build_output output;
    char address[64], cache[64];
    weft_server *server;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    config_snapshot *snapshot; /* the last one */
    int streams;               /* begun */
} scene;

static scene s;

/* ---- the server: what it has does not change */

static weft_status serve(weft_ctx *ctx, wire *both) {
    EnvoyDiscovery__DiscoveryRequest *request;
    EnvoyDiscovery__DiscoveryResponse *response;
    const char *why = "";
    xds_stream *stream = xds_stream_new(&s.output, "test");
    (void)pthread_mutex_lock(&s.lock);
    s.streams++;
    (void)pthread_cond_broadcast(&s.changed);
    (void)pthread_mutex_unlock(&s.lock);
    bool ok = stream != NULL;
    while (ok && wire_next(both, &request)) {
        ok = !xds_stream_request(stream, request, &why);
        while (ok && xds_stream_next(stream, weft_now(NULL), weft_ctx_arena(ctx), &response) == 1) {
            ok = wire_send(both, response);
        }
    }
    xds_stream_free(stream);
    return wire_status(both);
}

static void server_start(void) {
    static const envoy_discovery_aggregated_discovery_service handlers = {
        .stream_aggregated_resources = serve};
    const weft_server_options with = {
        .size = sizeof with, .transport = "native", .grace_ns = 50 * WEFT_NS_PER_MS};
    s.server = weft_server_new_with(&with);
    assert_non_null(s.server);
    assert_int_equal(envoy_discovery_aggregated_discovery_service_add(s.server, &handlers, NULL),
                     0);
    assert_int_equal(weft_server_listen(s.server, s.address), 0);
    assert_int_equal(weft_server_start(s.server), 0);
}

static void server_stop(void) {
    weft_server_drain(s.server);
    weft_server_wait(s.server);
    weft_server_free(s.server);
}

/* ---- the sidecar */

static weft_channel *dial(void *user) {
    const weft_dial_options with = {.size = sizeof with, .transport = "native"};
    (void)user;
    return weft_dial_with(s.address, &with);
}

static void changed(void *user, config_snapshot *snapshot) {
    (void)user;
    (void)pthread_mutex_lock(&s.lock);
    config_unref(s.snapshot);
    s.snapshot = config_ref(snapshot);
    (void)pthread_cond_broadcast(&s.changed);
    (void)pthread_mutex_unlock(&s.lock);
}

/* Until so many streams began, and there is a snapshot with so many clusters and a listener. */
static void await(int streams, uint32_t clusters) {
    struct timespec until;
    int late = 0;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    (void)pthread_mutex_lock(&s.lock);
    while (!late && (s.streams < streams || !s.snapshot || s.snapshot->cluster_count != clusters ||
                     s.snapshot->listener_count != 1))
        late = pthread_cond_timedwait(&s.changed, &s.lock, &until);
    (void)pthread_mutex_unlock(&s.lock);
    assert_int_equal(late, 0);
}

static xds_ads *ads_start(void) {
    static const char text[] = "node: {id: i-1, cluster: order.shop}\n";
    xds_ads *ads = NULL;
    config_snapshot *base = NULL;
    assert_int_equal(config_parse(text, sizeof text - 1, &options, &base, NULL), 0);
    const xds_ads_options with = {.client = {.base = base, .config = &options, .seed = 1},
                                  .cache = s.cache,
                                  .dial = dial,
                                  .changed = changed};
    assert_int_equal(xds_ads_start(&with, &ads), 0);
    config_unref(base);
    return ads;
}

static int set_up(void **state) {
    (void)state;
    s = (scene){.arena = weft_arena_new(0)};
    world w = {0};
    for (int i = 0; i < 3; i++) w.services[i] = (world_service){.up = true, .instances = 3};
    world_build(&w, 31, s.arena, &s.output);
    (void)snprintf(s.address, sizeof s.address, "unix-abstract:weft-ads-%ld", (long)getpid());
    (void)snprintf(s.cache, sizeof s.cache, "/tmp/weft-ads-%ld", (long)getpid());
    (void)pthread_mutex_init(&s.lock, NULL);
    (void)pthread_cond_init(&s.changed, NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    (void)unlink(s.cache);
    config_unref(s.snapshot);
    weft_arena_free(s.arena);
    (void)pthread_cond_destroy(&s.changed);
    (void)pthread_mutex_destroy(&s.lock);
    return 0;
}

static void from_server_and_from_disk(void **state) {
    (void)state;
    weft_buf text;
    server_start();
    xds_ads *ads = ads_start();
    await(1, 3);
    assert_int_equal(xds_ads_want(ads, "s4.shop"), 0);
    weft_buf_init(&text, 0);
    assert_int_equal(xds_ads_describe(ads, &text), 0);
    assert_non_null(strstr(weft_buf_str(&text), "\"connected\":true"));
    weft_buf_free(&text);
    xds_ads_stop(ads); /* and it was written */
    server_stop();
    config_unref(s.snapshot);
    s.snapshot = NULL;
    ads = ads_start(); /* nobody is there */
    await(1, 3);
    xds_ads_stop(ads);
}

static void comes_back(void **state) {
    (void)state;
    xds_ads *ads = ads_start(); /* before the server */
    server_start();
    await(1, 3);
    server_stop();
    server_start();
    await(2, 3);
    xds_ads_stop(ads);
    server_stop();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(from_server_and_from_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(comes_back, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
