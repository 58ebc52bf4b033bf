/* The sidecar's side of a discovery stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "sidecar/xds/cache.h"
#include "tests/unit/sidecar_xds/rig.h"
#include "weft/clock.h"

#define S WEFT_NS_PER_S
#define SERVICE(count) \
    { .up = true, .instances = (1u << (count)) - 1 }

static rig r;
static world w;

static void start(uint32_t services) {
    w = (world){0};
    for (uint32_t i = 0; i < services; i++) w.services[i] = (world_service)SERVICE(1);
    rig_init(&r, &w, 31, false, 1);
    rig_open(&r, S);
}

static void change(void) {
    rig_build(&r, &w);
    rig_run(&r, S);
}

static void from_nothing(void **state) {
    (void)state;
    start(3);
    assert_false(xds_client_ready(r.client));
    rig_run(&r, S);
    rig_expect_converged(&r);
    assert_int_equal(r.snapshot->cluster_count, 3);
    assert_int_equal(r.snapshot->clusters[0].endpoint_count, 1);
    assert_int_equal(xds_client_get_status(r.client, CONFIG_KIND_CLUSTER).active, 3);
    rig_free(&r);
}

static void refusals_name_resource_and_field(void **state) {
    (void)state;
    start(2);
    rig_run(&r, S);
    w.services[1].fault = WORLD_BAD_CLUSTER;
    w.services[0].timeout_ms = 7;
    change();
    assert_string_equal(xds_client_get_status(r.client, CONFIG_KIND_CLUSTER).reason,
                        "cluster \"s1.shop\": connect_timeout: must be from 1ms to 1h");
    assert_string_equal(xds_stream_status(r.stream, CONTROL_CDS).reason,
                        xds_client_get_status(r.client, CONFIG_KIND_CLUSTER).reason);
    /* The other one applies. */
    assert_int_equal(config_find_cluster(r.snapshot, "s0.shop")->connect_timeout,
                     8 * WEFT_NS_PER_MS);
    assert_int_equal(config_find_cluster(r.snapshot, "s1.shop")->connect_timeout, WEFT_NS_PER_MS);
    w.services[1].fault = WORLD_BAD_ENDPOINTS;
    change();
    const char *why = xds_client_get_status(r.client, CONFIG_KIND_ENDPOINTS).reason;
    assert_non_null(strstr(why, "endpoints \"s1.shop\": endpoints[0].lb_endpoints[1].endpoint."
                                "address.socket_address.address: \"nowhere\" is a name"));
    w.services[1].fault = WORLD_FINE;
    w.bad_routes = true;
    change();
    why = xds_client_get_status(r.client, CONFIG_KIND_ROUTES).reason;
    assert_non_null(strstr(why, "routes \"outbound\": virtual_hosts[0].routes[0].match"));
    w.bad_routes = false;
    change();
    rig_expect_converged(&r);
    rig_free(&r);
}

static void routes_wait_for_clusters(void **state) {
    (void)state;
    weft_buf text;
    start(1);
    rig_run(&r, S);
    /* A control plane that says routes first. */
    w.services[1] = (world_service)SERVICE(1);
    rig_build(&r, &w);
    world_trim(&r.output, CONTROL_CDS, 1);
    rig_run(&r, S);
    assert_int_equal(r.snapshot->listeners[0].routes->vhost_count, 1);
    assert_int_equal(xds_client_get_status(r.client, CONFIG_KIND_ROUTES).pending, 1);
    weft_buf_init(&text, 0);
    assert_int_equal(xds_client_describe(r.client, &text), 0);
    assert_non_null(strstr(weft_buf_str(&text), "\"waits_for_cluster\":\"s1.shop\""));
    weft_buf_free(&text);
    change();
    assert_int_equal(r.snapshot->listeners[0].routes->vhost_count, 2);
    rig_expect_converged(&r);
    rig_free(&r);
}

static void clusters_wait_for_endpoints(void **state) {
    (void)state;
    start(1);
    world_trim(&r.output, CONTROL_EDS, 0);
    rig_run(&r, S);
    assert_int_equal(xds_client_get_status(r.client, CONFIG_KIND_CLUSTER).pending, 1);
    assert_int_equal(xds_client_wake(r.client), S + XDS_MISSING);
    /* Nobody has them: the cluster is without endpoints, and routes go there all the same. */
    rig_run(&r, S + XDS_MISSING);
    assert_non_null(r.snapshot);
    assert_int_equal(r.snapshot->clusters[0].endpoint_count, 0);
    assert_int_equal(r.snapshot->listener_count, 1);
    assert_int_equal(xds_client_get_status(r.client, CONFIG_KIND_ENDPOINTS).missing, 1);
    change();
    assert_int_equal(r.snapshot->clusters[0].endpoint_count, 1);
    rig_free(&r);
}

static void by_name_and_on_demand(void **state) {
    (void)state;
    w = (world){0};
    for (uint32_t i = 0; i < 2; i++) w.services[i] = (world_service)SERVICE(1);
    rig_init(&r, &w, 1, true, 1); /* its routes lead to s0 only */
    rig_open(&r, S);
    rig_run(&r, S);
    assert_int_equal(r.snapshot->cluster_count, 1);
    assert_int_equal(xds_client_want(r.client, "s1.shop"), 0);
    rig_run(&r, S);
    assert_int_equal(xds_client_get_status(r.client, CONFIG_KIND_CLUSTER).missing, 1);
    r.uses = 3; /* the control plane hears of it */
    change();
    assert_non_null(config_find_cluster(r.snapshot, "s1.shop"));
    assert_int_equal(xds_client_get_status(r.client, CONFIG_KIND_CLUSTER).missing, 0);
    assert_int_equal(xds_client_want(r.client, ""), WEFT_EINVAL);
    rig_free(&r);
}

static void backoff(void **state) {
    (void)state;
    start(1);
    rig_run(&r, S);
    rig_close(&r, 5 * S);
    assert_int_equal(xds_client_retry_at(r.client), 5 * S); /* it had answered: at once */
    int64_t last = 0;
    for (int i = 0; i < 12; i++) {
        xds_client_closed(r.client, 0);
        const int64_t wait = xds_client_retry_at(r.client);
        assert_true(wait >= XDS_BACKOFF_BASE / 2 && wait <= XDS_BACKOFF_MAX);
        if (i < 5) assert_true(wait >= last / 2);
        last = wait;
    }
    assert_true(last >= XDS_BACKOFF_MAX / 2);
    rig_open(&r, S);
    assert_int_equal(xds_client_retry_at(r.client), INT64_MAX);
    rig_free(&r);
}

/* ---- the next start */

static void last_good(void **state) {
    (void)state;
    char path[64], beside[80];
    weft_buf saved, read;
    struct stat info;
    (void)snprintf(path, sizeof path, "/tmp/weft-xds-%ld", (long)getpid());
    (void)snprintf(beside, sizeof beside, "%s.new", path);
    weft_buf_init(&saved, 0);
    weft_buf_init(&read, 0);
    start(2);
    rig_run(&r, S);
    assert_int_equal(xds_client_save(r.client, &saved), 0);
    assert_int_equal(xds_cache_write(path, saved.data, saved.len), 0);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_not_equal(access(beside, F_OK), 0);
    assert_int_equal(xds_cache_read(path, &read), 0);
    assert_int_equal(read.len, saved.len);
    assert_memory_equal(read.data, saved.data, saved.len);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(xds_cache_read(path, &read), WEFT_ENOTFOUND);
    /* Without a control plane: everything is there. */
    rig_restart_client(&r, true, S);
    assert_non_null(r.snapshot);
    assert_int_equal(r.snapshot->cluster_count, 2);
    assert_int_equal(r.snapshot->listener_count, 1);
    const size_t before = r.responses;
    rig_open(&r, S);
    rig_run(&r, S);
    assert_int_equal(r.responses, before); /* and it is not told again */
    rig_expect_converged(&r);
    weft_buf_free(&saved);
    weft_buf_free(&read);
    rig_free(&r);
}

static void broken_files(void **state) {
    (void)state;
    weft_buf saved;
    weft_buf_init(&saved, 0);
    start(1);
    rig_run(&r, S);
    assert_int_equal(xds_client_save(r.client, &saved), 0);
    rig_restart_client(&r, false, S);
    for (size_t i = 0; i < saved.len; i += 7) {
        saved.data[i] ^= 4;
        assert_int_equal(xds_client_restore(r.client, saved.data, saved.len), WEFT_EPARSE);
        saved.data[i] ^= 4;
    }
    for (size_t len = 0; len < saved.len; len += 31)
        assert_int_equal(xds_client_restore(r.client, saved.data, len), WEFT_EPARSE);
    assert_null(xds_client_take(r.client, S));
    assert_int_equal(xds_client_restore(r.client, saved.data, saved.len), 0);
    config_snapshot *snapshot = xds_client_take(r.client, S);
    assert_non_null(snapshot);
    config_unref(snapshot);
    weft_buf_free(&saved);
    rig_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_nothing),
        cmocka_unit_test(refusals_name_resource_and_field),
        cmocka_unit_test(routes_wait_for_clusters),
        cmocka_unit_test(clusters_wait_for_endpoints),
        cmocka_unit_test(by_name_and_on_demand),
        cmocka_unit_test(backoff),
        cmocka_unit_test(last_good),
        cmocka_unit_test(broken_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
