/* Real threads: a worker counts as fast as it can while /metrics is asked again and again. Its worth is
 * under TSan: the tour must leave nothing shared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "sidecar/admin/admin.h"

#define ROUNDS 50

typedef struct busy_worker {
    net_loop *loop;
    telemetry *metrics;
    pthread_t thread;
} busy_worker;

typedef struct asker {
    int answers;
    bool asked, closed;
} asker;

static void on_turn(void *user, int64_t now) {
    busy_worker *w = user;
    const telemetry_key key = {.service = "s", .service_len = 1};
    telemetry_at(w->metrics)[TELEMETRY_ATTEMPTS]++;
    telemetry_call(w->metrics, &key, 1000, now);
}

static void *work(void *user) {
    busy_worker *w = user;
    return (void *)(intptr_t)net_loop_run(w->loop);
}

static void stop(void *user) { net_loop_stop(((busy_worker *)user)->loop); }

static void collect(void *user, admin_sum *sum) {
    admin_sum_telemetry(sum, ((busy_worker *)user)->metrics);
}

static int on_input(net_conn *conn, const uint8_t *data, size_t size, weft_chunk *chunk) {
    asker *a = net_conn_user(conn);
    (void)chunk;
    /* The end of each response, however it was cut. */
    for (size_t i = 0; i + 2 < size; i++)
        if (!memcmp(data + i, "HTT", 3)) a->answers++;
    return 0;
}
static int on_output(net_conn *conn, weft_chain *out) {
    static const char text[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    asker *a = net_conn_user(conn);
    if (a->asked) return 0;
    a->asked = true;
    return weft_chain_add(out, text, sizeof text - 1);
}
static void on_open(net_conn *conn) { net_conn_want_write(conn); }
static void on_close(net_conn *conn, int error, const char *reason) {
    asker *a = net_conn_user(conn);
    (void)error, (void)reason;
    a->closed = true;
}
static const net_handler handler = {on_open, on_input, NULL, on_output, on_close};

static void test_tour(void **state) {
    (void)state;
    busy_worker workers[3];
    admin_worker list[3];
    for (int i = 0; i < 3; i++) {
        workers[i].metrics = telemetry_new(0, 0);
        const net_loop_config config = {.on_turn = on_turn, .user = &workers[i]};
        assert_int_equal(net_loop_new(&config, &workers[i].loop), 0);
        list[i] = (admin_worker){workers[i].loop, collect, &workers[i]};
    }
    for (int i = 1; i < 3; i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    weft_addr addr;
    assert_int_equal(weft_addr_parse("127.0.0.1:0", &addr, NULL), 0);
    const admin_config config = {
        .loop = workers[0].loop, .addr = &addr, .fd = -1, .workers = list, .worker_count = 3};
    admin *a = NULL;
    assert_int_equal(admin_new(&config, &a, NULL), 0);
    addr = admin_addr(a);
    for (int round = 0; round < ROUNDS; round++) {
        asker asks = {0};
        net_conn *conn = NULL;
        const net_dial dial = {.addr = &addr, .handler = &handler, .user = &asks};
        assert_int_equal(net_connect(workers[0].loop, &dial, &conn, NULL), 0);
        while (!asks.answers && !asks.closed) {
            for (int i = 1; i < 3; i++) net_loop_wake(workers[i].loop);
            assert_int_equal(net_loop_turn(workers[0].loop, WEFT_NS_PER_MS), 0);
        }
        assert_true(asks.answers > 0);
        if (!asks.closed) net_conn_abort(conn, 0, NULL);
        while (!asks.closed) assert_int_equal(net_loop_turn(workers[0].loop, 0), 0);
    }
    for (int i = 1; i < 3; i++) {
        assert_int_equal(net_loop_post(workers[i].loop, stop, &workers[i]), 0);
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    }
    admin_free(a);
    for (int i = 0; i < 3; i++) {
        net_loop_free(workers[i].loop);
        telemetry_free(workers[i].metrics);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tour)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
