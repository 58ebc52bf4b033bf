/* Random histories of a mesh: whatever happens, in whatever order, every client converges, no snapshot
 * ever has a route to a missing cluster, and nobody is told what he has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "tests/unit/sidecar_xds/rig.h"
#include "weft/clock.h"
#include "weft/map.h"
#include "weft/pb.h"
#include "weft/rng.h"

#define HISTORIES 2000
#define STEPS 60
#define CLIENTS 3
#define S WEFT_NS_PER_S

typedef struct history {
    weft_rng rng;
    world world;
    rig rigs[CLIENTS];
    int64_t now;
    bool calm; /* no faults, no reconnects: clients without any care of their own are safe, too */
} history;

/* A client that believes what it is told at once. */
typedef struct naive {
    weft_map clusters, routed;
} naive;

static uint32_t draw(history *h, uint32_t n) { return (uint32_t)weft_rng_below(&h->rng, n); }

/* ---- the naive client */

static void naive_routes(naive *n, const EnvoyRoute__RouteConfiguration *table) {
    for (size_t i = 0; i < table->n_virtual_hosts; i++) {
        const EnvoyRoute__RouteAction *a = table->virtual_hosts[i]->routes[0]->route;
        if (a->cluster_specifier_case == ENVOY_ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER) {
            assert_int_equal(weft_map_put(&n->routed, a->cluster, NULL), 0);
            continue;
        }
        for (size_t k = 0; k < a->weighted_clusters->n_clusters; k++)
            assert_int_equal(
                weft_map_put(&n->routed, a->weighted_clusters->clusters[k]->name, NULL), 0);
    }
}

static void naive_take(void *user, const EnvoyDiscovery__DiscoveryResponse *response) {
    naive *n = user;
    weft_arena *arena = weft_arena_new(0);
    const bool clusters =
        strstr(response->type_url, ".Cluster") && !strstr(response->type_url, "ClusterLoad");
    const bool routes = strstr(response->type_url, ".RouteConfiguration");
    if (clusters) weft_map_clear(&n->clusters, NULL);
    if (routes) weft_map_clear(&n->routed, NULL);
    for (size_t i = 0; i < response->n_resources; i++) {
        const Google__Protobuf__Any *any = response->resources[i];
        const ProtobufCMessageDescriptor *type =
            clusters ? &envoy_cluster__cluster__descriptor
                     : &envoy_route__route_configuration__descriptor;
        if (!clusters && !routes) continue;
        const void *m = weft_unpack(type, any->value.data, any->value.len, NULL, arena, NULL, NULL);
        assert_non_null(m);
        if (routes) naive_routes(n, m);
        if (clusters)
            assert_int_equal(
                weft_map_put(&n->clusters, ((const EnvoyCluster__Cluster *)m)->name, NULL), 0);
    }
    size_t at = 0;
    const char *name;
    while (weft_map_next(&n->routed, &at, &name, NULL, NULL))
        if (!weft_map_find(&n->clusters, name))
            fail_msg("a route leads to %s, which is gone", name);
    weft_arena_free(arena);
}

/* ---- what happens */

static void change(history *h) {
    world_service *s = &h->world.services[draw(h, WORLD_SERVICES)];
    switch (draw(h, h->calm ? 5 : 8)) {
    case 0:
        s->up = !s->up;
        break;
    case 1:
        s->canary = draw(h, 2) ? 0 : 1 + draw(h, 99);
        break;
    case 2:
        s->timeout_ms = draw(h, 5);
        break;
    case 3:
    case 4:
        s->instances ^= 1u << draw(h, WORLD_INSTANCES);
        break;
    case 5:
        s->fault = draw(h, 2) ? WORLD_BAD_CLUSTER : WORLD_BAD_ENDPOINTS;
        break;
    case 6:
        s->fault = WORLD_FINE;
        break;
    default:
        h->world.bad_routes = draw(h, 3) == 0;
    }
    for (int i = 0; i < CLIENTS; i++) rig_build(&h->rigs[i], &h->world);
}

static void interrupt(history *h) {
    rig *r = &h->rigs[draw(h, CLIENTS)];
    switch (draw(h, 5)) {
    case 0: /* the control plane starts anew */
        for (int i = 0; i < CLIENTS; i++) rig_close(&h->rigs[i], h->now);
        for (int i = 0; i < CLIENTS; i++) rig_open(&h->rigs[i], h->now);
        break;
    case 1:
        rig_restart_client(r, true, h->now);
        break;
    case 2:
        rig_restart_client(r, false, h->now);
        break;
    case 3:
        rig_close(r, h->now);
        break;
    default:
        rig_close(r, h->now);
        rig_open(r, h->now);
    }
}

static void step(history *h) {
    rig *r = &h->rigs[draw(h, CLIENTS)];
    const uint32_t what = draw(h, 20);
    if (what < 3) {
        change(h);
    } else if (what == 3 && !h->calm) {
        interrupt(h);
    } else if (what == 4) {
        h->now += draw(h, 6) * S;
    } else if (what == 5) {
        rig_open(r, h->now);
    } else {
        /* Some messages, in either direction. */
        for (uint32_t n = 1 + draw(h, 6); n; n--) {
            rig_pump(r, h->now);
            if (draw(h, 2))
                (void)rig_deliver_up(r);
            else
                (void)rig_deliver_down(r, h->now);
        }
    }
}

static void settle(history *h) {
    for (uint32_t i = 0; i < WORLD_SERVICES; i++) h->world.services[i].fault = WORLD_FINE;
    h->world.bad_routes = false;
    for (int i = 0; i < CLIENTS; i++) {
        rig_build(&h->rigs[i], &h->world);
        rig_open(&h->rigs[i], h->now);
        rig_run(&h->rigs[i], h->now);
    }
    h->now += 20 * S;
    for (int i = 0; i < CLIENTS; i++) {
        rig_run(&h->rigs[i], h->now);
        rig_expect_converged(&h->rigs[i]);
    }
}

/* Nobody is told again what he has, whoever was away. */
static void nothing_new(history *h) {
    for (int i = 0; i < CLIENTS; i++) {
        rig *r = &h->rigs[i];
        /* One round brings versions in line with what is asked for. */
        rig_close(r, h->now);
        rig_open(r, h->now);
        rig_run(r, h->now);
        const size_t before = r->responses;
        if (draw(h, 2))
            rig_restart_client(r, true, h->now);
        else
            rig_close(r, h->now);
        rig_open(r, h->now);
        rig_run(r, h->now);
        assert_int_equal(r->responses, before);
        rig_expect_converged(r);
    }
}

static void history_run(uint64_t seed, size_t *responses, size_t *refused) {
    history h = {.now = S, .calm = seed % 4 == 0};
    naive simple[CLIENTS] = {{{0}, {0}}};
    weft_rng_seed(&h.rng, seed);
    for (uint32_t i = 0; i < WORLD_SERVICES; i++)
        h.world.services[i] = (world_service){.up = draw(&h, 3) > 0, .instances = draw(&h, 16)};
    for (uint32_t i = 0; i < CLIENTS; i++) {
        rig *r = &h.rigs[i];
        rig_init(r, &h.world, 1 + draw(&h, 31), i == 2, seed + i);
        if (h.calm && i != 2) {
            r->watch = naive_take;
            r->user = &simple[i];
        }
        rig_open(r, h.now);
    }
    for (int i = 0; i < STEPS; i++) step(&h);
    settle(&h);
    for (int i = 0; i < CLIENTS; i++) h.rigs[i].watch = NULL;
    nothing_new(&h);
    for (int i = 0; i < CLIENTS; i++) {
        *responses += h.rigs[i].responses;
        for (int k = 0; k < CONFIG_KINDS; k++)
            *refused += xds_client_get_status(h.rigs[i].client, (config_kind)k).refused;
        rig_free(&h.rigs[i]);
        weft_map_free(&simple[i].clusters, NULL);
        weft_map_free(&simple[i].routed, NULL);
    }
}

static uint64_t running;

/* Says which history failed: WEFT_TEST_SEED runs it alone. */
static int say_seed(void **state) {
    (void)state;
    print_message("the last seed was %llu\n", (unsigned long long)running);
    return 0;
}

static void histories(void **state) {
    (void)state;
    const char *only = getenv("WEFT_TEST_SEED");
    const uint64_t first = only ? strtoull(only, NULL, 10) : 1;
    const uint64_t count = only ? 1 : HISTORIES;
    size_t responses = 0, refused = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        running = seed;
        history_run(seed, &responses, &refused);
    }
    print_message("%llu histories, %zu responses, %zu refused\n", (unsigned long long)count,
                  responses, refused);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(histories, say_seed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
