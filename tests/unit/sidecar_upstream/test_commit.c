/* When a response belongs to the client: contracts.md "Commit rule". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/unit/sidecar_upstream/mesh.h"
#include "weft/status.h"

#define PEEK_MS 10 /* the default */
#define POLICY "retry_policy: {retry_on: unavailable, num_retries: 1}, "
#define ALWAYS .route = POLICY

static mesh m;
static mesh_call c;

static mesh_request *begin(const mesh_config *config, bool ended) {
    mesh_open(&m, config);
    mesh_call_begin(&m, &c, 20, ended, NULL);
    mesh_run(&m, 0);
    return mesh_at(&m, 0, 0);
}

/* The client has `lists` header lists now. */
static void seen(int lists) { assert_int_equal(c.headers, lists); }

static void end(int status, size_t requests) {
    mesh_run(&m, 0);
    assert_true(c.done);
    assert_false(c.reset);
    assert_int_equal(c.status, status);
    assert_int_equal(m.servers[0].request_count, requests);
    mesh_close(&m);
}

static void test_held_for_the_window(void **state) {
    (void)state;
    mesh_request *r = begin(&(mesh_config){ALWAYS}, true);
    mesh_headers(r);
    mesh_run(&m, PEEK_MS - 1);
    seen(0);
    mesh_run(&m, 2);
    seen(1);
    /* It is the client's from now on, whatever the trailers say. */
    mesh_trailers(r, WEFT_UNAVAILABLE);
    end(WEFT_UNAVAILABLE, 1);
}

static void test_trailers_in_the_window(void **state) {
    (void)state;
    mesh_request *r = begin(&(mesh_config){ALWAYS}, true);
    mesh_headers(r);
    mesh_run(&m, PEEK_MS / 2);
    mesh_trailers(r, WEFT_UNAVAILABLE);
    mesh_run(&m, 300);
    seen(0);
    r = mesh_at(&m, 0, 1);
    /* The last attempt is nobody's to hold. */
    mesh_headers(r);
    mesh_run(&m, 0);
    seen(1);
    mesh_data(r, 5, false);
    mesh_trailers(r, WEFT_OK);
    mesh_run(&m, 0);
    assert_int_equal(c.bytes, 5);
    end(WEFT_OK, 2);
}

/* Other trailers within the window pass, with the headers that were held. */
static void test_other_trailers(void **state) {
    (void)state;
    mesh_request *r = begin(&(mesh_config){ALWAYS}, true);
    mesh_headers(r);
    mesh_run(&m, 1);
    mesh_trailers(r, WEFT_NOT_FOUND);
    mesh_run(&m, 0);
    seen(2);
    end(WEFT_NOT_FOUND, 1);
}

static void test_data_commits(void **state) {
    (void)state;
    mesh_request *r = begin(&(mesh_config){ALWAYS}, true);
    mesh_headers(r);
    mesh_run(&m, 1);
    seen(0);
    mesh_data(r, 1, false);
    mesh_run(&m, 0);
    seen(1);
    assert_int_equal(c.bytes, 1);
    mesh_trailers(r, WEFT_UNAVAILABLE);
    end(WEFT_UNAVAILABLE, 1);
}

/* A bidi client that waits for initial metadata before it goes on must not hang. */
static void test_unfinished_request(void **state) {
    (void)state;
    mesh_request *r = begin(&(mesh_config){ALWAYS}, false);
    mesh_headers(r);
    mesh_run(&m, 0);
    seen(1);
    mesh_call_send(&c, 10, true);
    mesh_run(&m, 0);
    assert_int_equal(r->bytes, 30);
    mesh_trailers(r, WEFT_UNAVAILABLE);
    end(WEFT_UNAVAILABLE, 1);
}

/* Also one that has sent nothing but its headers. */
static void test_silent_request(void **state) {
    (void)state;
    mesh_open(&m, &(mesh_config){ALWAYS});
    mesh_call_begin(&m, &c, -1, false, NULL);
    mesh_run(&m, 0);
    mesh_request *r = mesh_at(&m, 0, 0);
    mesh_headers(r);
    mesh_run(&m, 0);
    seen(1);
    mesh_call_send(&c, 10, true);
    mesh_run(&m, 0);
    mesh_trailers(r, WEFT_OK);
    end(WEFT_OK, 1);
}

/* Nothing to wait for: no policy; a policy that looks at no status; no budget; too large to repeat. */
static void test_not_held(void **state) {
    (void)state;
    const mesh_config configs[] = {
        {0},
        {.route = "retry_policy: {retry_on: \"reset,5xx\"}, "},
        {.route = "retry_policy: {retry_on: unavailable, num_retries: 0}, "},
        {ALWAYS, .cluster =
                     "    circuit_breakers: {thresholds: [{retry_budget: {budget_percent: {value: "
                     "0}, min_retry_concurrency: 0}}]}\n"},
        {ALWAYS, .cluster = "    circuit_breakers: {thresholds: [{max_retries: 0}]}\n"},
    };
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        mesh_request *r = begin(&configs[i], true);
        mesh_headers(r);
        mesh_run(&m, 0);
        seen(1);
        mesh_trailers(r, WEFT_UNAVAILABLE);
        end(WEFT_UNAVAILABLE, 1);
    }
}

static void test_large_is_not_held(void **state) {
    (void)state;
    mesh_request *r = begin(&(mesh_config){ALWAYS}, false);
    mesh_call_send(&c, 60000, false);
    mesh_call_send(&c, 10000, true);
    mesh_run(&m, 0);
    mesh_headers(r);
    mesh_run(&m, 0);
    seen(1);
    mesh_trailers(r, WEFT_UNAVAILABLE);
    end(WEFT_UNAVAILABLE, 1);
}

/* ---- the end comes while it is held */

static void test_deadline_while_held(void **state) {
    (void)state;
    mesh_open(&m, &(mesh_config){ALWAYS});
    mesh_call_begin(&m, &c, 20, true, "grpc-timeout", "5m", NULL);
    mesh_run(&m, 0);
    mesh_request *r = mesh_at(&m, 0, 0);
    mesh_headers(r);
    mesh_run(&m, 7);
    assert_true(r->over);
    assert_int_equal(r->reset, H2_CANCEL);
    seen(1); /* trailers-only */
    end(WEFT_DEADLINE_EXCEEDED, 1);
}

static void test_cancel_while_held(void **state) {
    (void)state;
    mesh_request *r = begin(&(mesh_config){ALWAYS}, true);
    mesh_headers(r);
    mesh_run(&m, 1);
    mesh_call_cancel(&c);
    mesh_run(&m, 20);
    assert_true(r->over);
    assert_int_equal(r->reset, H2_CANCEL);
    assert_int_equal(m.servers[0].request_count, 1);
    mesh_close(&m);
}

static void test_lost_while_held(void **state) {
    (void)state;
    mesh_request *r = begin(&(mesh_config){ALWAYS}, true);
    mesh_headers(r);
    mesh_run(&m, 1);
    mesh_cut(r->peer); /* UNAVAILABLE, which the policy names */
    mesh_run(&m, 300);
    seen(0);
    mesh_answer(mesh_at(&m, 0, 1));
    end(WEFT_OK, 2);
}

/* Who has answered did something, though it says that it did not: only the policy may repeat that. */
static void test_unprocessed_while_held(void **state) {
    (void)state;
    mesh_request *r = begin(&(mesh_config){ALWAYS}, true);
    mesh_headers(r);
    mesh_run(&m, 1);
    mesh_reset(r, H2_REFUSED_STREAM);
    mesh_run(&m, 300);
    assert_int_equal(mesh_counter(&m, TELEMETRY_RETRIES), 1);
    assert_int_equal(mesh_counter(&m, TELEMETRY_RETRIES_TRANSPARENT), 0);
    r = mesh_at(&m, 0, 1);
    mesh_headers(r);
    mesh_run(&m, 0);
    seen(1);
    mesh_trailers(r, WEFT_OK);
    end(WEFT_OK, 2);
}

/* The same in trailers, for a status that the policy does not name. */
static void test_unprocessed_in_trailers(void **state) {
    (void)state;
    mesh_open(&m, &(mesh_config){.servers = 2, ALWAYS});
    mesh_unary(&m, &c);
    mesh_run(&m, 0);
    mesh_server *first = &m.servers[m.servers[0].request_count ? 0 : 1];
    mesh_request *r = &first->requests[0];
    mesh_headers(r);
    mesh_run(&m, 1);
    seen(0);
    http_fields list;
    http_fields_init(&list, first->host.fields);
    assert_int_equal(http_fields_add_text(&list, "grpc-status", "5"), 0);
    assert_int_equal(http_fields_add_text(&list, CALL_UNPROCESSED, "1"), 0);
    assert_int_equal(h2_send_trailers(r->stream, &list), 0);
    http_fields_clear(&list);
    mesh_run(&m, 300);
    assert_int_equal(mesh_counter(&m, TELEMETRY_RETRIES_TRANSPARENT), 0);
    assert_int_equal(m.servers[0].request_count + m.servers[1].request_count, 1);
    assert_int_equal(c.status, WEFT_NOT_FOUND);
    assert_false(c.unprocessed);
    mesh_close(&m);
}

/* What was forwarded is never taken back. */
static void test_lost_after_commit(void **state) {
    (void)state;
    mesh_request *r = begin(&(mesh_config){ALWAYS}, true);
    mesh_headers(r);
    mesh_data(r, 3, false);
    mesh_run(&m, 0);
    seen(1);
    mesh_reset(r, H2_REFUSED_STREAM); /* though it says so: it has answered */
    end(WEFT_UNAVAILABLE, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held_for_the_window),
        cmocka_unit_test(test_trailers_in_the_window),
        cmocka_unit_test(test_other_trailers),
        cmocka_unit_test(test_data_commits),
        cmocka_unit_test(test_unfinished_request),
        cmocka_unit_test(test_silent_request),
        cmocka_unit_test(test_not_held),
        cmocka_unit_test(test_large_is_not_held),
        cmocka_unit_test(test_deadline_while_held),
        cmocka_unit_test(test_cancel_while_held),
        cmocka_unit_test(test_lost_while_held),
        cmocka_unit_test(test_unprocessed_while_held),
        cmocka_unit_test(test_unprocessed_in_trailers),
        cmocka_unit_test(test_lost_after_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
