/* The registry: states over time, takeovers, what callers see, restarts; random histories against a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/control/registry/registry.h"
#include "services/control/registry/wire.h"
#include "weft/rng.h"

#define S WEFT_NS_PER_S

static registry_view_instance claim_of(const char *id) {
    return (registry_view_instance){.id = id,
                                    .service = "product",
                                    .name_space = "shop",
                                    .address = "127.0.0.1:7000",
                                    .plain_address = "",
                                    .region = "",
                                    .zone = "",
                                    .sub_zone = ""};
}

static uint64_t enter(registry *all, const char *id, int64_t now) {
    registry_view_instance claim = claim_of(id);
    char address[64];
    uint64_t lease = 0;
    const char *why = "";
    (void)snprintf(address, sizeof address, "unix:/run/%s.sock", id);
    claim.address = address;
    if (registry_register(all, &claim, now, &lease, &why)) fail_msg("%s", why);
    return lease;
}

static size_t seen(const registry *all) {
    weft_arena *arena = weft_arena_new(0);
    registry_view view;
    assert_int_equal(registry_view_make(all, arena, &view), 0);
    weft_arena_free(arena);
    return view.count;
}

static registry_state state_of(const registry *all, const char *id) {
    registry_entry entry;
    size_t at = 0;
    while (registry_next(all, &at, &entry))
        if (!strcmp(entry.instance->id, id)) return entry.state;
    return (registry_state)-1;
}

static void test_heartbeats(void **state) {
    (void)state;
    registry *all = registry_new(NULL);
    const uint64_t lease = enter(all, "a", 0);
    const uint64_t version = registry_version(all);
    assert_int_equal(registry_tick(all, 0), REGISTRY_DOWN_AFTER);
    for (int64_t now = 10 * S; now <= 100 * S; now += 10 * S) {
        assert_int_equal(registry_heartbeat(all, lease, now, REGISTRY_VIEW_HEALTHY, false), 0);
        assert_int_equal(registry_tick(all, now), now + REGISTRY_DOWN_AFTER);
    }
    assert_int_equal(registry_version(all), version);

    /* 30 s of silence. */
    (void)registry_tick(all, 130 * S - 1);
    assert_int_equal(state_of(all, "a"), REGISTRY_UP);
    (void)registry_tick(all, 130 * S);
    assert_int_equal(state_of(all, "a"), REGISTRY_DOWN);
    assert_int_equal(seen(all), 0);
    assert_int_equal(registry_version(all), version + 1);

    /* The stream was alive after all. */
    assert_int_equal(registry_heartbeat(all, lease, 131 * S, REGISTRY_VIEW_HEALTHY, false), 0);
    assert_int_equal(seen(all), 1);
    assert_int_equal(registry_version(all), version + 2);
    registry_leave(all, lease, 132 * S);
    assert_int_equal(seen(all), 0);
    assert_false(registry_holds(all, lease));
    assert_int_equal(registry_heartbeat(all, lease, 133 * S, REGISTRY_VIEW_HEALTHY, false),
                     WEFT_ECONFLICT);
    registry_free(all);
}

static void test_broken_stream(void **state) {
    (void)state;
    registry *all = registry_new(NULL);
    uint64_t lease = enter(all, "a", 0);
    const uint64_t version = registry_version(all);

    /* Back within the grace: callers see nothing of it. */
    registry_broke(all, lease, 2 * S);
    assert_int_equal(state_of(all, "a"), REGISTRY_LOST);
    assert_int_equal(registry_tick(all, 2 * S), 2 * S + REGISTRY_GRACE);
    (void)registry_tick(all, 6 * S);
    assert_int_equal(seen(all), 1);
    lease = enter(all, "a", 6 * S);
    assert_int_equal(state_of(all, "a"), REGISTRY_UP);
    assert_int_equal(registry_version(all), version);

    /* Not back: out when the grace has passed, forgotten later. */
    registry_broke(all, lease, 10 * S);
    (void)registry_tick(all, 10 * S + REGISTRY_GRACE);
    assert_int_equal(seen(all), 0);
    assert_int_equal(registry_version(all), version + 1);
    assert_int_equal(registry_count(all).down, 1);
    assert_int_equal(registry_tick(all, 10 * S + REGISTRY_GRACE + REGISTRY_KEEP), INT64_MAX);
    assert_int_equal(registry_count(all).instances, 0);
    registry_free(all);
}

static void test_takeover(void **state) {
    (void)state;
    registry *all = registry_new(NULL);
    const uint64_t first = enter(all, "a", 0);
    const uint64_t second = enter(all, "a", 1 * S);
    assert_int_not_equal(first, second);
    assert_int_equal(registry_heartbeat(all, first, 2 * S, REGISTRY_VIEW_HEALTHY, false),
                     WEFT_ECONFLICT);
    registry_broke(all, first, 2 * S); /* the old stream ends late and harms nobody */
    registry_leave(all, first, 2 * S);
    assert_int_equal(state_of(all, "a"), REGISTRY_UP);
    assert_int_equal(registry_heartbeat(all, second, 2 * S, REGISTRY_VIEW_HEALTHY, false), 0);

    /* Another service may not. */
    registry_view_instance claim = claim_of("a");
    uint64_t lease;
    claim.service = "order";
    assert_int_equal(registry_register(all, &claim, 3 * S, &lease, NULL), WEFT_EEXIST);

    /* The process was restarted at the same address: the dead one is gone at once. */
    registry_broke(all, second, 4 * S);
    claim = claim_of("b");
    claim.address = "unix:/run/a.sock";
    assert_int_equal(registry_register(all, &claim, 5 * S, &lease, NULL), 0);
    assert_int_equal(registry_count(all).instances, 1);
    registry_free(all);
}

static void test_health_and_drain(void **state) {
    (void)state;
    registry *all = registry_new(NULL);
    const uint64_t lease = enter(all, "a", 0);
    const uint64_t version = registry_version(all);
    weft_arena *arena = weft_arena_new(0);
    registry_view view;
    assert_int_equal(registry_heartbeat(all, lease, 1, REGISTRY_VIEW_UNHEALTHY, true), 0);
    assert_int_equal(registry_version(all), version + 1);
    assert_int_equal(registry_heartbeat(all, lease, 2, REGISTRY_VIEW_UNHEALTHY, true), 0);
    assert_int_equal(registry_version(all), version + 1);
    assert_int_equal(registry_view_make(all, arena, &view), 0);
    assert_int_equal(view.instances[0].health, REGISTRY_VIEW_UNHEALTHY);
    assert_true(view.instances[0].draining);
    weft_arena_free(arena);
    registry_free(all);
}

static void test_claims(void **state) {
    (void)state;
    const registry_view_label twice[] = {{"zone", "a"}, {"zone", "b"}};
    const char *const names[] = {"shop.product.v1.ProductService"};
    const char *why = NULL;
    uint64_t lease;
    registry *all = registry_new(&(registry_options){.max = 2});
    registry_view_instance claim = claim_of("a");
#define BAD(field, value, part)                                                         \
    do {                                                                                \
        claim = claim_of("a");                                                          \
        claim.field = value;                                                            \
        assert_int_equal(registry_register(all, &claim, 0, &lease, &why), WEFT_EINVAL); \
        assert_non_null(strstr(why, part));                                             \
    } while (0)
    BAD(service, "Product", "service");
    BAD(name_space, "", "namespace");
    BAD(id, "", "instance");
    BAD(id, "a b", "instance");
    BAD(address, "", "address");
    BAD(address, "nowhere", "address");
    BAD(plain_address, "nowhere", "plain_address");
    BAD(weight, REGISTRY_VIEW_WEIGHT_MAX + 1, "weight");
    BAD(zone, "a b", "locality");
#undef BAD
    claim = claim_of("a");
    claim.labels = twice;
    claim.label_count = 2;
    assert_int_equal(registry_register(all, &claim, 0, &lease, &why), WEFT_EINVAL);
    claim.label_count = 1;
    claim.grpc_services = names;
    claim.grpc_service_count = 1;
    assert_int_equal(registry_register(all, &claim, 0, &lease, &why), 0);
    const uint64_t version = registry_version(all);
    assert_int_equal(registry_register(all, &claim, 0, &lease, &why), 0);
    assert_int_equal(registry_version(all), version);
    (void)enter(all, "b", 0);
    claim = claim_of("c");
    assert_int_equal(registry_register(all, &claim, 0, &lease, &why), WEFT_ELIMIT);
    assert_int_equal(registry_register(all,
                                       &(registry_view_instance){.id = "a",
                                                                 .service = "product",
                                                                 .name_space = "shop",
                                                                 .address = "1.2.3.4:5",
                                                                 .plain_address = "",
                                                                 .region = "",
                                                                 .zone = "",
                                                                 .sub_zone = ""},
                                       0, &lease, &why),
                     0); /* full, but it is there already */
    registry_free(all);
}

/* Over a restart nobody flaps: the view is the same, and who does not come back leaves after 30 s. */
static void test_restart(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    registry_view before, loaded, after;
    const uint8_t *data;
    size_t size;
    const registry_view_label labels[] = {{"version", "2"}, {"zone", "a"}};
    const char *const names[] = {"shop.product.v1.ProductService"};
    registry *all = registry_new(NULL);
    registry_view_instance claim = claim_of("a");
    uint64_t lease;
    claim.labels = labels;
    claim.label_count = 2;
    claim.grpc_services = names;
    claim.grpc_service_count = 1;
    claim.weight = 3;
    claim.zone = "eu-1";
    assert_int_equal(registry_register(all, &claim, 0, &lease, NULL), 0);
    (void)enter(all, "b", 0);
    assert_int_equal(registry_view_make(all, arena, &before), 0);
    assert_int_equal(wire_save(&before, arena, &data, &size), 0);
    registry_free(all);

    all = registry_new(NULL);
    assert_int_equal(wire_load(data, size, arena, &loaded), 0);
    registry_restore(all, &loaded, 1000 * S);
    assert_int_equal(registry_view_make(all, arena, &after), 0);
    assert_int_equal(after.count, 2);
    assert_int_equal(after.instances[0].label_count, 2);
    assert_string_equal(after.instances[0].labels[0].value, "2");
    assert_string_equal(after.instances[0].zone, "eu-1");
    assert_string_equal(after.instances[0].grpc_services[0], names[0]);
    assert_int_equal(after.instances[0].weight, 3);
    const uint64_t version = registry_version(all);
    assert_int_equal(registry_register(all, &claim, 1005 * S, &lease, NULL), 0);
    assert_int_equal(registry_version(all), version);
    (void)registry_tick(all, 1030 * S - 1);
    assert_int_equal(seen(all), 2);
    (void)registry_tick(all, 1030 * S);
    assert_int_equal(seen(all), 1);
    assert_true(wire_load("\xff\xff", 2, arena, &loaded) < 0);
    weft_arena_free(arena);
    registry_free(all);
}

/* ---- random histories against the rules, written down once more, as simply as can be */

#define IDS 6

typedef struct simple {
    bool there, up, broken;
    int64_t heard, broke;
    uint64_t lease;
} simple;

static bool simple_seen(const simple *m, int64_t now) {
    if (!m->there) return false;
    return m->broken ? now < m->broke + REGISTRY_GRACE : now < m->heard + REGISTRY_DOWN_AFTER;
}

static void one_history(uint64_t seed) {
    static const char *const ids[IDS] = {"a", "b", "c", "d", "e", "f"};
    simple model[IDS] = {0};
    weft_rng rng;
    int64_t now = 0;
    weft_rng_seed(&rng, seed);
    registry *all = registry_new(NULL);
    for (int step = 0; step < 200; step++) {
        const size_t i = (size_t)weft_rng_below(&rng, IDS);
        simple *m = &model[i];
        now += (int64_t)weft_rng_below(&rng, 8) * S;
        (void)registry_tick(all, now);
        switch (weft_rng_below(&rng, 5)) {
        case 0:
            m->lease = enter(all, ids[i], now);
            m->there = true;
            m->broken = false;
            m->heard = now;
            break;
        case 1:
            if (m->there && !m->broken) {
                const bool was_seen = simple_seen(m, now);
                registry_broke(all, m->lease, now);
                m->broken = true;
                m->broke = was_seen ? now : INT64_MIN / 2; /* DOWN already: stays so */
            }
            break;
        case 2:
            if (m->there && !m->broken) registry_leave(all, m->lease, now);
            if (!m->broken) m->there = false;
            break;
        default:
            if (m->there && !m->broken) {
                const int error =
                    registry_heartbeat(all, m->lease, now, REGISTRY_VIEW_HEALTHY, false);
                if (error) /* DOWN so long that it was forgotten */
                    assert_true(now >= m->heard + REGISTRY_DOWN_AFTER + REGISTRY_KEEP);
                m->there = !error;
                m->heard = now;
            }
        }
        (void)registry_tick(all, now);
        size_t expected = 0;
        for (size_t k = 0; k < IDS; k++) expected += simple_seen(&model[k], now);
        if (seen(all) != expected)
            fail_msg("seed %llu step %d: %zu seen, %zu expected", (unsigned long long)seed, step,
                     seen(all), expected);
    }
    registry_free(all);
}

static void test_histories(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) one_history(seed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heartbeats), cmocka_unit_test(test_broken_stream),
        cmocka_unit_test(test_takeover),   cmocka_unit_test(test_health_and_drain),
        cmocka_unit_test(test_claims),     cmocka_unit_test(test_restart),
        cmocka_unit_test(test_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
