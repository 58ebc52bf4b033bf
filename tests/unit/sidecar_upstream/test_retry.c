/* Which calls are tried again, where, how often: contracts.md "Retry safety". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/sidecar_upstream/mesh.h"
#include "weft/status.h"

static mesh m;

static void expect(const mesh_call *c, int status, const char *part) {
    assert_true(c->done);
    if (c->reset || c->status != status) fail_msg("status %d, %s", c->status, c->message);
    if (part && !strstr(c->message, part)) fail_msg("\"%s\" is not in \"%s\"", part, c->message);
}

static uint64_t transparent(void) { return mesh_counter(&m, TELEMETRY_RETRIES_TRANSPARENT); }
static uint64_t retries(void) { return mesh_counter(&m, TELEMETRY_RETRIES); }

/* ---- what provably was not processed */

static void test_connect_failure_elsewhere(void **state) {
    (void)state;
    mesh_call calls[4];
    mesh_open(&m, &(mesh_config){.servers = 2});
    mesh_listen(&m, 0, false);
    m.servers[1].ok = true;
    for (int i = 0; i < 4; i++) {
        mesh_unary(&m, &calls[i]);
        mesh_run(&m, 0);
        expect(&calls[i], WEFT_OK, NULL);
    }
    assert_int_equal(m.servers[1].request_count, 4);
    /* One dial told: until its backoff is over the endpoint is passed over. */
    assert_int_equal(transparent(), 1);
    assert_int_equal(mesh_counter(&m, TELEMETRY_CONNECT_FAILURES), 1);
    assert_string_equal(mesh_at(&m, 1, 0)->previous, ""); /* the app saw none of it */
    mesh_close(&m);
}

static void test_connect_failure_everywhere(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){.servers = 2});
    mesh_listen(&m, 0, false);
    mesh_listen(&m, 1, false);
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    expect(&c, WEFT_UNAVAILABLE, "cannot reach 10.0.1.");
    mesh_unary(&m, &c); /* too early to dial: it says so at once */
    mesh_run(&m, 0);
    expect(&c, WEFT_UNAVAILABLE, "next try in");
    assert_int_equal(mesh_counter(&m, TELEMETRY_CONNECT_FAILURES), 2);
    /* Up again: dialled once the backoff (100 ms at most) is over. */
    mesh_listen(&m, 0, true);
    mesh_listen(&m, 1, true);
    m.servers[0].ok = m.servers[1].ok = true;
    mesh_run(&m, 110);
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    expect(&c, WEFT_OK, NULL);
    mesh_close(&m);
}

static void test_refused_stream(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){.servers = 2});
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    const size_t first = m.servers[0].request_count ? 0 : 1;
    mesh_reset(mesh_at(&m, first, 0), H2_REFUSED_STREAM);
    mesh_run(&m, 0);
    mesh_request *again = mesh_at(&m, !first, 0);
    assert_int_equal(again->bytes, 20);
    assert_true(again->ended);
    mesh_answer(again);
    mesh_run(&m, 0);
    expect(&c, WEFT_OK, NULL);
    assert_int_equal(transparent(), 1);
    assert_int_equal(retries(), 0);
    mesh_close(&m);
}

/* However often it is refused, there is an end. */
static void test_refused_always(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){0});
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    for (size_t i = 0; i <= CALL_TRANSPARENT_MAX; i++) {
        assert_false(c.done);
        mesh_reset(mesh_at(&m, 0, i), H2_REFUSED_STREAM);
        mesh_run(&m, 0);
    }
    expect(&c, WEFT_UNAVAILABLE, "REFUSED_STREAM");
    assert_int_equal(m.servers[0].request_count, CALL_TRANSPARENT_MAX + 1);
    mesh_close(&m);
}

static void test_goaway(void **state) {
    (void)state;
    mesh_call below, above, next;
    mesh_open(&m, &(mesh_config){0});
    mesh_unary(&m, &below);
    mesh_unary(&m, &above);
    mesh_run(&m, 0);
    mesh_request *first = mesh_at(&m, 0, 0);
    const uint32_t id = h2_stream_id(first->stream);
    assert_true(h2_stream_id(mesh_at(&m, 0, 1)->stream) > id);
    mesh_goaway(first->peer, id);
    mesh_run(&m, 0);
    /* The one above goes again, on a new connection; the one below is still the server's. */
    assert_int_equal(m.servers[0].request_count, 3);
    mesh_request *again = mesh_at(&m, 0, 2);
    assert_ptr_not_equal(again->peer, first->peer);
    assert_false(below.done);
    mesh_answer(again);
    mesh_answer(first);
    mesh_unary(&m, &next);
    mesh_run(&m, 0);
    mesh_answer(mesh_at(&m, 0, 3));
    assert_ptr_equal(mesh_at(&m, 0, 3)->peer, again->peer);
    mesh_run(&m, 0);
    expect(&below, WEFT_OK, NULL);
    expect(&above, WEFT_OK, NULL);
    expect(&next, WEFT_OK, NULL);
    assert_int_equal(transparent(), 1);
    assert_false(first->peer->alive); /* ended once its last stream did */
    mesh_close(&m);
}

/* ---- what another sidecar says was not processed */

static void test_told_unprocessed(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){.servers = 2});
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    const size_t first = m.servers[0].request_count ? 0 : 1;
    mesh_refuse(mesh_at(&m, first, 0), WEFT_UNAVAILABLE, CALL_UNPROCESSED, "1");
    mesh_run(&m, 0);
    mesh_answer(mesh_at(&m, !first, 0));
    mesh_run(&m, 0);
    expect(&c, WEFT_OK, NULL);
    assert_int_equal(transparent(), 1);
    mesh_close(&m);
    /* With nowhere else to go the status is the app's; the word between sidecars is not. */
    mesh_open(&m, &(mesh_config){0});
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    mesh_refuse(mesh_at(&m, 0, 0), WEFT_UNAVAILABLE, CALL_UNPROCESSED, "1");
    mesh_run(&m, 300);
    expect(&c, WEFT_UNAVAILABLE, NULL);
    assert_false(c.unprocessed);
    mesh_close(&m);
}

/* The other side of it: what an inbound sidecar says, and when it must not. */
static void test_says_unprocessed(void **state) {
    (void)state;
    mesh_call c, other;
    mesh_open(&m, &(mesh_config){.inbound = true,
                                 .cluster = "    circuit_breakers: {thresholds: [{max_requests: "
                                            "1}]}\n"});
    mesh_unary(&m, &c);
    mesh_unary(&m, &other);
    mesh_run(&m, 0);
    expect(&other, WEFT_UNAVAILABLE, "max_requests");
    assert_true(other.unprocessed);
    mesh_reset(mesh_at(&m, 0, 0), H2_INTERNAL_ERROR); /* who knows what the app did */
    mesh_run(&m, 0);
    expect(&c, WEFT_INTERNAL, NULL);
    assert_false(c.unprocessed);
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    mesh_cut(mesh_at(&m, 0, 1)->peer);
    mesh_listen(&m, 0, false);
    mesh_run(&m, 0);
    expect(&c, WEFT_UNAVAILABLE, "lost the connection");
    assert_false(c.unprocessed);
    mesh_unary(&m, &c); /* nobody is there */
    mesh_run(&m, 0);
    expect(&c, WEFT_UNAVAILABLE, "cannot reach");
    assert_true(c.unprocessed);
    mesh_close(&m);
}

/* ---- what may have been processed */

static void test_not_repeated(void **state) {
    (void)state;
    mesh_call reset, cut;
    mesh_open(&m, &(mesh_config){.servers = 2});
    mesh_unary(&m, &reset);
    mesh_run(&m, 0);
    const size_t at = m.servers[0].request_count ? 0 : 1;
    mesh_reset(mesh_at(&m, at, 0), H2_INTERNAL_ERROR);
    mesh_run(&m, 0);
    expect(&reset, WEFT_INTERNAL, "INTERNAL_ERROR");
    mesh_unary(&m, &cut);
    mesh_run(&m, 0);
    mesh_cut(mesh_at(&m, !at, 0)->peer);
    mesh_run(&m, 0);
    expect(&cut, WEFT_UNAVAILABLE, "lost the connection");
    assert_int_equal(m.servers[0].request_count + m.servers[1].request_count, 2);
    assert_int_equal(transparent() + retries(), 0);
    mesh_close(&m);
}

/* Without a policy, and for a method nobody declared idempotent, a status is the client's. */
static void test_status_is_final(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){0});
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    mesh_refuse(mesh_at(&m, 0, 0), WEFT_UNAVAILABLE, "grpc-message", "from the server");
    mesh_run(&m, 0);
    expect(&c, WEFT_UNAVAILABLE, "from the server");
    assert_int_equal(m.servers[0].request_count, 1);
    mesh_close(&m);
}

static void test_reset_when_told(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){.route = "retry_policy: {retry_on: reset}, "});
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    mesh_reset(mesh_at(&m, 0, 0), H2_INTERNAL_ERROR);
    mesh_run(&m, 300);
    mesh_answer(mesh_at(&m, 0, 1));
    mesh_run(&m, 0);
    expect(&c, WEFT_OK, NULL);
    assert_int_equal(retries(), 1);
    mesh_close(&m);
}

/* A server may act on the first messages of a stream: that there are more to come proves nothing. */
static void test_reset_before_request(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){.route = "retry_policy: {retry_on: reset-before-request}, "});
    mesh_call_begin(&m, &c, 20, false, NULL);
    mesh_run(&m, 0);
    assert_int_equal(mesh_at(&m, 0, 0)->bytes, 20);
    mesh_reset(mesh_at(&m, 0, 0), H2_INTERNAL_ERROR);
    mesh_run(&m, 300);
    expect(&c, WEFT_INTERNAL, "INTERNAL_ERROR");
    assert_int_equal(m.servers[0].request_count, 1);
    mesh_close(&m);
}

/* ---- policies */

#define UNAVAILABLE_TWICE "retry_policy: {retry_on: unavailable, num_retries: 2}, "

static void test_policy(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){.route = UNAVAILABLE_TWICE});
    for (size_t round = 0; round < 2; round++) {
        const size_t base = 3 * round;
        mesh_unary(&m, &c);
        mesh_run(&m, 0);
        mesh_refuse(mesh_at(&m, 0, base), WEFT_UNAVAILABLE, NULL, NULL);
        mesh_run(&m, 300); /* backoffs are 250 ms at most */
        mesh_refuse(mesh_at(&m, 0, base + 1), WEFT_UNAVAILABLE, NULL, NULL);
        mesh_run(&m, 300);
        assert_false(c.done);
        assert_string_equal(mesh_at(&m, 0, base)->previous, "");
        assert_string_equal(mesh_at(&m, 0, base + 1)->previous, "1");
        assert_string_equal(mesh_at(&m, 0, base + 2)->previous, "2");
        if (round)
            mesh_refuse(mesh_at(&m, 0, base + 2), WEFT_UNAVAILABLE, "grpc-message", "third");
        else
            mesh_answer(mesh_at(&m, 0, base + 2));
        mesh_run(&m, 300);
        expect(&c, round ? WEFT_UNAVAILABLE : WEFT_OK, round ? "third" : NULL);
        assert_int_equal(m.servers[0].request_count, base + 3);
    }
    mesh_unary(&m, &c); /* another code is not the policy's */
    mesh_run(&m, 0);
    mesh_refuse(mesh_at(&m, 0, 6), WEFT_INTERNAL, NULL, NULL);
    mesh_run(&m, 300);
    expect(&c, WEFT_INTERNAL, NULL);
    assert_int_equal(m.servers[0].request_count, 7);
    mesh_close(&m);
}

static void test_http_status(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){.route = "retry_policy: {retry_on: gateway-error}, "});
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    mesh_http(mesh_at(&m, 0, 0), "503");
    mesh_run(&m, 300);
    mesh_http(mesh_at(&m, 0, 1), "500"); /* not a gateway's */
    mesh_run(&m, 300);
    assert_true(c.done);
    assert_int_equal(c.http, 500);
    assert_int_equal(m.servers[0].request_count, 2);
    mesh_close(&m);
}

/* Known to be idempotent: retried without a policy. */
static void test_idempotent(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){.cluster = "    metadata:\n"
                                            "      typed_filter_metadata:\n"
                                            "        weft.service:\n"
                                            "          \"@type\": "
                                            "type.googleapis.com/weft.sidecar.v1.Service\n"
                                            "          grpc_services: [test.Echo]\n"
                                            "          idempotent: [/test.Echo/Get]\n"});
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    mesh_refuse(mesh_at(&m, 0, 0), WEFT_UNAVAILABLE, NULL, NULL);
    mesh_run(&m, 300);
    mesh_cut(mesh_at(&m, 0, 1)->peer);
    mesh_run(&m, 300);
    mesh_answer(mesh_at(&m, 0, 2));
    mesh_run(&m, 0);
    expect(&c, WEFT_OK, NULL);
    mesh_close(&m);
}

static void test_per_try_timeout(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){.servers = 2,
                                 .route = "retry_policy: {retry_on: deadline-exceeded, "
                                          "num_retries: 1, per_try_timeout: 0.5s}, "});
    mesh_unary(&m, &c);
    mesh_run(&m, 490);
    const size_t first = m.servers[0].request_count ? 0 : 1;
    assert_int_equal(m.servers[!first].request_count, 0);
    assert_false(mesh_at(&m, first, 0)->over);
    mesh_run(&m, 300);
    assert_true(mesh_at(&m, first, 0)->over);
    assert_int_equal(mesh_at(&m, first, 0)->reset, H2_CANCEL);
    assert_int_equal(m.servers[!first].request_count, 1); /* not there again */
    mesh_run(&m, 1000);
    expect(&c, WEFT_DEADLINE_EXCEEDED, "per-try timeout");
    assert_int_equal(mesh_at(&m, !first, 0)->reset, H2_CANCEL);
    mesh_close(&m);
}

static void test_pushback(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){.route = UNAVAILABLE_TWICE});
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    mesh_refuse(mesh_at(&m, 0, 0), WEFT_UNAVAILABLE, "grpc-retry-pushback-ms", "2000");
    mesh_run(&m, 1990);
    assert_int_equal(m.servers[0].request_count, 1);
    mesh_run(&m, 20);
    mesh_refuse(mesh_at(&m, 0, 1), WEFT_UNAVAILABLE, "grpc-retry-pushback-ms", "-1");
    mesh_run(&m, 300);
    expect(&c, WEFT_UNAVAILABLE, NULL);
    assert_int_equal(m.servers[0].request_count, 2);
    mesh_close(&m);
}

/* ---- how many */

static void test_budget(void **state) {
    (void)state;
    enum { CALLS = 14, ALLOWED = 10 }; /* one a second, over ten seconds */
    mesh_call calls[CALLS];
    mesh_open(&m, &(mesh_config){.route = UNAVAILABLE_TWICE,
                                 .cluster = "    circuit_breakers: {thresholds: [{retry_budget: "
                                            "{budget_percent: {value: 0}, "
                                            "min_retry_concurrency: 1}}]}\n"});
    for (int i = 0; i < CALLS; i++) mesh_unary(&m, &calls[i]);
    mesh_run(&m, 0);
    for (size_t i = 0; i < CALLS; i++)
        mesh_refuse(mesh_at(&m, 0, i), WEFT_UNAVAILABLE, "grpc-message", "of the server");
    mesh_run(&m, 300);
    size_t refused = 0;
    for (int i = 0; i < CALLS; i++) {
        if (!calls[i].done) continue;
        expect(&calls[i], WEFT_UNAVAILABLE, "of the server");
        refused++;
    }
    assert_int_equal(refused, CALLS - ALLOWED);
    assert_int_equal(mesh_counter(&m, TELEMETRY_RETRIES_REFUSED), CALLS - ALLOWED);
    assert_int_equal(m.servers[0].request_count, CALLS + ALLOWED);
    for (size_t i = 0; i < ALLOWED; i++) mesh_answer(mesh_at(&m, 0, CALLS + i));
    mesh_run(&m, 0);
    for (int i = 0; i < CALLS; i++) assert_true(calls[i].done);
    /* What is never processed does not count, budget or not. */
    mesh_unary(&m, &calls[0]);
    mesh_run(&m, 0);
    mesh_reset(mesh_at(&m, 0, CALLS + ALLOWED), H2_REFUSED_STREAM);
    mesh_run(&m, 0);
    mesh_answer(mesh_at(&m, 0, CALLS + ALLOWED + 1));
    mesh_run(&m, 11000); /* the window has passed */
    expect(&calls[0], WEFT_OK, NULL);
    mesh_unary(&m, &calls[0]);
    mesh_run(&m, 0);
    mesh_refuse(mesh_at(&m, 0, CALLS + ALLOWED + 2), WEFT_UNAVAILABLE, NULL, NULL);
    mesh_run(&m, 300);
    mesh_answer(mesh_at(&m, 0, CALLS + ALLOWED + 3));
    mesh_run(&m, 0);
    expect(&calls[0], WEFT_OK, NULL);
    mesh_close(&m);
}

static void test_max_retries(void **state) {
    (void)state;
    mesh_call a, b;
    mesh_open(
        &m, &(mesh_config){.route = UNAVAILABLE_TWICE,
                           .cluster = "    circuit_breakers: {thresholds: [{max_retries: 1}]}\n"});
    mesh_unary(&m, &a);
    mesh_unary(&m, &b);
    mesh_run(&m, 0);
    mesh_refuse(mesh_at(&m, 0, 0), WEFT_UNAVAILABLE, NULL, NULL);
    mesh_refuse(mesh_at(&m, 0, 1), WEFT_UNAVAILABLE, "grpc-message", "second");
    mesh_run(&m, 300);
    assert_false(a.done);
    expect(&b, WEFT_UNAVAILABLE, "second");
    assert_int_equal(mesh_counter(&m, TELEMETRY_RETRIES_REFUSED), 1);
    assert_int_equal(cluster_gauge_now(&mesh_shared(&m)->classes[CONFIG_CLASS_NORMAL].retries), 1);
    mesh_answer(mesh_at(&m, 0, 2));
    mesh_run(&m, 0);
    expect(&a, WEFT_OK, NULL);
    assert_int_equal(cluster_gauge_now(&mesh_shared(&m)->classes[CONFIG_CLASS_NORMAL].retries), 0);
    mesh_close(&m);
}

/* ---- what can be sent again */

static void test_replay(void **state) {
    (void)state;
    mesh_call small, large;
    mesh_open(&m, &(mesh_config){.route = UNAVAILABLE_TWICE});
    /* An unfinished request: what came so far is sent again, what comes later follows. */
    mesh_call_begin(&m, &small, 3000, false, NULL);
    mesh_run(&m, 0);
    mesh_refuse(mesh_at(&m, 0, 0), WEFT_UNAVAILABLE, NULL, NULL);
    mesh_call_send(&small, 500, false);
    mesh_run(&m, 300);
    mesh_call_send(&small, 7, true);
    mesh_run(&m, 0);
    assert_int_equal(mesh_at(&m, 0, 1)->bytes, 3507);
    assert_true(mesh_at(&m, 0, 1)->ended);
    mesh_answer(mesh_at(&m, 0, 1));
    mesh_run(&m, 0);
    expect(&small, WEFT_OK, NULL);
    /* Over 64 KiB it is let go of and there is one attempt. */
    mesh_call_begin(&m, &large, 60000, false, NULL);
    mesh_call_send(&large, 10000, true);
    mesh_run(&m, 0);
    assert_int_equal(mesh_at(&m, 0, 2)->bytes, 70000);
    mesh_refuse(mesh_at(&m, 0, 2), WEFT_UNAVAILABLE, NULL, NULL);
    mesh_run(&m, 300);
    expect(&large, WEFT_UNAVAILABLE, NULL);
    assert_int_equal(m.servers[0].request_count, 3);
    assert_int_equal(mesh_counter(&m, TELEMETRY_RETRIES_OVER_REPLAY), 1);
    mesh_close(&m);
}

/* ---- within the caller's time */

static void test_deadline(void **state) {
    (void)state;
    mesh_call c;
    mesh_open(&m, &(mesh_config){.route = "retry_policy: {retry_on: unavailable, num_retries: 9, "
                                          "retry_back_off: {base_interval: 0.2s}}, "});
    mesh_call_begin(&m, &c, 1, true, "grpc-timeout", "100m", NULL);
    int64_t last = INT64_MAX;
    for (size_t seen = 0; !c.done && mesh_now(&m) < WEFT_NS_PER_S; mesh_run(&m, 1)) {
        if (m.servers[0].request_count == seen) continue;
        mesh_request *r = mesh_at(&m, 0, seen++);
        int64_t left = 0;
        assert_int_equal(http_timeout_parse(r->timeout, strlen(r->timeout), &left), 0);
        assert_true(left <= 100 * WEFT_NS_PER_MS - r->at);
        assert_true(left < last || seen == 1);
        last = left;
        mesh_refuse(r, WEFT_UNAVAILABLE, NULL, NULL);
    }
    expect(&c, WEFT_DEADLINE_EXCEEDED, "deadline exceeded after 0.10");
    assert_true(c.done_at >= 100 * WEFT_NS_PER_MS && c.done_at <= 103 * WEFT_NS_PER_MS);
    mesh_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect_failure_elsewhere),
        cmocka_unit_test(test_connect_failure_everywhere),
        cmocka_unit_test(test_refused_stream),
        cmocka_unit_test(test_refused_always),
        cmocka_unit_test(test_goaway),
        cmocka_unit_test(test_told_unprocessed),
        cmocka_unit_test(test_says_unprocessed),
        cmocka_unit_test(test_not_repeated),
        cmocka_unit_test(test_status_is_final),
        cmocka_unit_test(test_reset_when_told),
        cmocka_unit_test(test_reset_before_request),
        cmocka_unit_test(test_policy),
        cmocka_unit_test(test_http_status),
        cmocka_unit_test(test_idempotent),
        cmocka_unit_test(test_per_try_timeout),
        cmocka_unit_test(test_pushback),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_max_retries),
        cmocka_unit_test(test_replay),
        cmocka_unit_test(test_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
