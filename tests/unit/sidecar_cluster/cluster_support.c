#include "tests/unit/sidecar_cluster/cluster_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void on_gone(void *user, cluster_endpoint *endpoint) {
    assert_true(endpoint->gone);
    ((bed *)user)->gone++;
}

static void on_release(void *user, cluster_endpoint *endpoint) {
    (void)endpoint;
    ((bed *)user)->released++;
}

cluster_member bed_member(size_t i) {
    char text[32];
    cluster_member m = {.weight = 1};
    (void)snprintf(text, sizeof text, "10.0.%zu.%zu:80", i / 250, i % 250 + 1);
    assert_int_equal(weft_addr_parse(text, &m.address, NULL), 0);
    return m;
}

void bed_open(bed *b, config_policy policy, size_t count) {
    cluster_member members[512];
    memset(b, 0, sizeof *b);
    b->config.name = "product.shop";
    b->config.balance = (config_balance){
        .policy = policy, .default_rtt = 30 * MS, .decay = 10 * S, .failure_penalty = 5 * S};
    b->now = S;
    weft_rng_seed(&b->rng, 11);
    const cluster_hooks hooks = {on_gone, on_release, b};
    b->set = cluster_set_new(&b->config, &b->shared, &hooks);
    for (size_t i = 0; i < count; i++) members[i] = bed_member(i);
    assert_int_equal(cluster_set_update(b->set, members, count), 0);
}

void bed_close(bed *b) { cluster_set_free(b->set); }

lb_request bed_request(bed *b) {
    return (lb_request){.now = b->now, .rng = &b->rng, .kind = LB_UNARY};
}

uint32_t bed_pick(bed *b, const lb_request *request) {
    cluster_endpoint *endpoint = lb_pick(b->set, request);
    assert_non_null(endpoint);
    assert_ptr_equal(b->set->all[endpoint->index], endpoint);
    return endpoint->index;
}
