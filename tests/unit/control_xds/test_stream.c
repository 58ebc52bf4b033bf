/* The control plane's side of a discovery stream, request by request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "services/control/xds/stream.h"
#include "tests/unit/control_xds/world.h"
#include "weft/clock.h"
#include "weft/pb.h"

#define CDS "type.googleapis.com/envoy.config.cluster.v3.Cluster"
#define EDS "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
#define LDS "type.googleapis.com/envoy.config.listener.v3.Listener"
#define RDS "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

typedef struct desk {
    world world;
    weft_arena *arena;
    control_build_output output;
    xds_stream *stream;
    EnvoyDiscovery__DiscoveryResponse *last; /* of desk_next */
    int64_t now;
} desk;

static void desk_build(desk *d) {
    control_build_output *next = weft_arena_calloc(d->arena, 1, sizeof *next);
    world_build(&d->world, 31, d->arena, next);
    if (d->stream) assert_int_equal(xds_stream_set(d->stream, next), 0);
    d->output = *next;
    if (d->stream) assert_int_equal(xds_stream_set(d->stream, &d->output), 0);
}

static desk desk_new(void) {
    desk d = {.arena = weft_arena_new(0), .now = WEFT_NS_PER_S};
    for (int i = 0; i < 2; i++) d.world.services[i] = (world_service){.up = true, .instances = 1};
    return d;
}

static void desk_open(desk *d) {
    xds_stream_free(d->stream);
    d->stream = NULL;
    desk_build(d);
    d->stream = xds_stream_new(&d->output, "weft");
    assert_non_null(d->stream);
}

static void desk_free(desk *d) {
    xds_stream_free(d->stream);
    weft_arena_free(d->arena);
}

/* Names: one text, separated by blanks. */
static void say(desk *d, const char *type, const char *version, const char *nonce,
                const char *names, const char *error) {
    EnvoyDiscovery__DiscoveryRequest request = ENVOY_DISCOVERY__DISCOVERY_REQUEST__INIT;
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    char text[256], *list[16];
    const char *why = "";
    (void)snprintf(text, sizeof text, "%s", names);
    for (char *rest = NULL, *one = strtok_r(text, " ", &rest); one;
         one = strtok_r(NULL, " ", &rest))
        list[request.n_resource_names++] = one;
    request.resource_names = list;
    request.type_url = (char *)(uintptr_t)type;
    request.version_info = (char *)(uintptr_t)version;
    request.response_nonce = (char *)(uintptr_t)nonce;
    status.message = (char *)(uintptr_t)error;
    if (error) request.error_detail = &status;
    assert_int_equal(xds_stream_request(d->stream, &request, &why), 0);
}

static void answer(desk *d, const char *names, const char *error) {
    say(d, d->last->type_url, error ? "" : d->last->version_info, d->last->nonce, names, error);
}

/* The next response is of `type` and has `count` resources. */
static void expect(desk *d, const char *type, size_t count) {
    assert_int_equal(xds_stream_next(d->stream, d->now, d->arena, &d->last), 1);
    assert_string_equal(d->last->type_url, type);
    assert_int_equal(d->last->n_resources, count);
    assert_true(*d->last->nonce && *d->last->version_info);
}

static void expect_nothing(desk *d) {
    EnvoyDiscovery__DiscoveryResponse *none = NULL;
    assert_int_equal(xds_stream_next(d->stream, d->now, d->arena, &none), 0);
}

/* A sidecar that has everything. */
static void settle(desk *d) {
    say(d, CDS, "", "", "", NULL);
    expect(d, CDS, 2);
    answer(d, "", NULL);
    say(d, EDS, "", "", "s0.shop s1.shop", NULL);
    expect(d, EDS, 2);
    answer(d, "s0.shop s1.shop", NULL);
    say(d, LDS, "", "", "", NULL);
    expect(d, LDS, 1);
    answer(d, "", NULL);
    say(d, RDS, "", "", "outbound", NULL);
    expect(d, RDS, 1);
    answer(d, "outbound", NULL);
    expect_nothing(d);
    assert_true(xds_stream_settled(d->stream));
}

static void only_what_changed(void **state) {
    (void)state;
    desk d = desk_new();
    desk_open(&d);
    settle(&d);
    d.world.services[1].instances = 3;
    desk_build(&d);
    expect(&d, EDS, 1);
    answer(&d, "s0.shop s1.shop", NULL);
    desk_build(&d); /* the same again */
    expect_nothing(&d);
    desk_free(&d);
}

static void make_before_break(void **state) {
    (void)state;
    desk d = desk_new();
    desk_open(&d);
    settle(&d);
    d.world.services[1].up = false;
    d.world.services[2] = (world_service){.up = true, .instances = 1};
    desk_build(&d);
    expect(&d, CDS, 3); /* the new one, and the old one still */
    expect_nothing(&d); /* until it was accepted */
    answer(&d, "", NULL);
    say(&d, EDS, d.last->version_info, "e1", "s0.shop s1.shop s2.shop", NULL);
    expect(&d, EDS, 1);
    answer(&d, "s0.shop s1.shop s2.shop", NULL);
    expect(&d, RDS, 1);
    expect_nothing(&d);
    answer(&d, "outbound", NULL);
    expect(&d, CDS, 2);
    answer(&d, "", NULL);
    expect_nothing(&d);
    assert_true(xds_stream_settled(d.stream));
    desk_free(&d);
}

static void refused_routes_keep_their_clusters(void **state) {
    (void)state;
    desk d = desk_new();
    desk_open(&d);
    settle(&d);
    d.world.services[1].up = false;
    desk_build(&d);
    expect(&d, RDS, 1);
    answer(&d, "outbound", "no");
    expect_nothing(&d);
    assert_false(xds_stream_settled(d.stream));
    assert_true(xds_stream_status(d.stream, CONTROL_RDS).refused);
    assert_string_equal(xds_stream_status(d.stream, CONTROL_RDS).reason, "no");
    d.world.services[0].canary = 5;
    desk_build(&d);
    expect(&d, CDS, 3);
    answer(&d, "", NULL);
    expect(&d, RDS, 1);
    answer(&d, "outbound", NULL);
    expect(&d, CDS, 2);
    desk_free(&d);
}

static void refused_is_not_repeated(void **state) {
    (void)state;
    desk d = desk_new();
    desk_open(&d);
    settle(&d);
    const xds_stream_state before = xds_stream_status(d.stream, CONTROL_EDS);
    d.world.services[0].instances = 7;
    desk_build(&d);
    expect(&d, EDS, 1);
    answer(&d, "s0.shop s1.shop", "endpoints \"s0.shop\": I do not like it");
    expect_nothing(&d);
    d.world.services[1].instances = 7;
    desk_build(&d);
    expect(&d, EDS, 1); /* the other one */
    answer(&d, "s0.shop s1.shop", NULL);
    const xds_stream_state after = xds_stream_status(d.stream, CONTROL_EDS);
    assert_string_not_equal(after.accepted, before.accepted);
    /* Who comes back with that version is told what he refused. */
    desk_open(&d);
    say(&d, EDS, after.accepted, "", "s0.shop s1.shop", NULL);
    expect(&d, EDS, 2);
    desk_free(&d);
}

static void versions_survive(void **state) {
    (void)state;
    desk d = desk_new();
    desk_open(&d);
    settle(&d);
    char versions[CONTROL_XDS_TYPES][XDS_STREAM_VERSION_TEXT];
    for (int i = 0; i < CONTROL_XDS_TYPES; i++)
        memcpy(versions[i], xds_stream_status(d.stream, (control_xds_type)i).accepted,
               sizeof versions[i]);
    desk_open(&d);
    say(&d, CDS, versions[CONTROL_CDS], "old", "", NULL);
    say(&d, EDS, versions[CONTROL_EDS], "", "s1.shop s0.shop", NULL);
    say(&d, LDS, versions[CONTROL_LDS], "", "", NULL);
    say(&d, RDS, versions[CONTROL_RDS], "", "outbound", NULL);
    expect_nothing(&d);
    assert_true(xds_stream_settled(d.stream));
    /* What changes later is told as on any stream. */
    d.world.services[0].instances = 5;
    desk_build(&d);
    expect(&d, EDS, 1);
    desk_free(&d);
}

static void stale_nonces(void **state) {
    (void)state;
    desk d = desk_new();
    desk_open(&d);
    say(&d, EDS, "", "", "s0.shop", NULL);
    expect(&d, EDS, 1);
    say(&d, EDS, "", "e0", "s0.shop s1.shop", "old");
    expect_nothing(&d);
    assert_int_equal(xds_stream_status(d.stream, CONTROL_EDS).stale, 1);
    answer(&d, "s0.shop s1.shop", NULL);
    expect(&d, EDS, 1); /* only the new one */
    answer(&d, "s1.shop", NULL);
    say(&d, EDS, d.last->version_info, d.last->nonce, "s1.shop s0.shop", NULL);
    expect(&d, EDS, 1); /* asked for again: told again */
    desk_free(&d);
}

static void wildcards(void **state) {
    (void)state;
    desk d = desk_new();
    desk_open(&d);
    say(&d, CDS, "", "", "", NULL);
    expect(&d, CDS, 2);
    answer(&d, "s0.shop", NULL); /* a name: no wildcard any more */
    assert_false(xds_stream_status(d.stream, CONTROL_CDS).wildcard);
    expect(&d, CDS, 1);
    answer(&d, "", NULL); /* empty after a name: nothing */
    expect_nothing(&d);
    assert_int_equal(xds_stream_status(d.stream, CONTROL_CDS).resources, 0);
    say(&d, CDS, d.last->version_info, d.last->nonce, "* s9.shop", NULL);
    expect(&d, CDS, 2);
    assert_true(xds_stream_status(d.stream, CONTROL_CDS).wildcard);
    desk_free(&d);
}

static void count_name(void *user, const char *name) {
    assert_string_equal(name, "s3.shop");
    ++*(int *)user;
}

static void names_that_are_not_there(void **state) {
    (void)state;
    desk d = desk_new();
    int wanted = 0;
    desk_open(&d);
    say(&d, EDS, "", "", "s3.shop", NULL);
    expect_nothing(&d);
    xds_stream_wants(d.stream, CONTROL_EDS, count_name, &wanted);
    assert_int_equal(wanted, 1);
    d.world.services[3] = (world_service){.up = true};
    desk_build(&d);
    expect(&d, EDS, 1);
    /* Clusters: who asks is told that there is none. */
    say(&d, CDS, "", "", "s4.shop", NULL);
    answer(&d, "s3.shop", NULL);
    expect(&d, CDS, 0);
    desk_free(&d);
}

static void changed_clusters_get_endpoints(void **state) {
    (void)state;
    desk d = desk_new();
    desk_open(&d);
    settle(&d);
    d.world.services[0].timeout_ms = 9;
    desk_build(&d);
    expect(&d, CDS, 2);
    answer(&d, "", NULL);
    expect(&d, EDS, 1); /* unchanged, but a client that warms waits for it */
    desk_free(&d);
}

static void silent_clients(void **state) {
    (void)state;
    desk d = desk_new();
    desk_open(&d);
    say(&d, CDS, "", "", "", NULL);
    say(&d, EDS, "", "", "s0.shop", NULL);
    expect(&d, CDS, 2);
    expect_nothing(&d);
    assert_int_equal(xds_stream_wake(d.stream), d.now + XDS_STREAM_ACK_WAIT_S * WEFT_NS_PER_S);
    d.now = xds_stream_wake(d.stream);
    expect(&d, EDS, 1);
    desk_free(&d);
}

static void limits(void **state) {
    (void)state;
    desk d = desk_new();
    EnvoyDiscovery__DiscoveryRequest request = ENVOY_DISCOVERY__DISCOVERY_REQUEST__INIT;
    const char *why = "";
    char *empty[] = {""}, long_name[XDS_STREAM_NAME_BYTES + 2], *too_long[] = {long_name};
    desk_open(&d);
    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    request.type_url = (char *)(uintptr_t)EDS;
    request.resource_names = empty;
    request.n_resource_names = 1;
    assert_int_equal(xds_stream_request(d.stream, &request, &why), WEFT_EINVAL);
    request.resource_names = too_long;
    assert_int_equal(xds_stream_request(d.stream, &request, &why), WEFT_EINVAL);
    assert_string_equal(why, "a resource name is too long");
    request.type_url = (char *)(uintptr_t) "type.googleapis.com/some.Other";
    assert_int_equal(xds_stream_request(d.stream, &request, &why), 0);
    expect_nothing(&d);
    desk_free(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_changed),
        cmocka_unit_test(make_before_break),
        cmocka_unit_test(refused_routes_keep_their_clusters),
        cmocka_unit_test(refused_is_not_repeated),
        cmocka_unit_test(versions_survive),
        cmocka_unit_test(stale_nonces),
        cmocka_unit_test(wildcards),
        cmocka_unit_test(names_that_are_not_there),
        cmocka_unit_test(changed_clusters_get_endpoints),
        cmocka_unit_test(silent_clients),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
