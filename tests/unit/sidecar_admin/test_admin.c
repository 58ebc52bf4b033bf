/* The admin server over the simulated network: pages, methods, refusals, timeouts, tours of workers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "sidecar/admin/admin.h"
#include "weft/buf.h"
#include "weft/mem.h"
#include "weft/net_sim.h"

#define START (INT64_C(1800000000) * WEFT_NS_PER_S)

/* The process: two workers, the admin on the first one's loop, a client on the same host. */
typedef struct rig {
    net_sim *sim;
    net_loop *loops[2];
    net_loop *far;
    telemetry *metrics[2];
    admin *a;
    weft_addr addr;
    bool ready;
    int drains, quits, collects;
} rig;

typedef struct client {
    net_conn *conn;
    const char *text;
    size_t sent, step; /* step: bytes at a time, 0: all */
    bool closed;
    weft_buf got;
} client;

static rig r;

static bool ready(void *user, weft_buf *reasons) {
    rig *at = user;
    if (!at->ready) weft_buf_adds(reasons, "worker 1 has no listener\n");
    return at->ready;
}
static void drain(void *user) { ((rig *)user)->drains++; }
static void quit(void *user) { ((rig *)user)->quits++; }
static void more(void *user, weft_buf *out) {
    (void)user;
    weft_buf_adds(out, "# more\n");
}
static void certs(void *user, admin_certs *out) {
    (void)user;
    const admin_cert cert = {.used_by = "listener \"in\"",
                             .kind = "identity",
                             .spiffe = "spiffe://mesh.local/ns/shop/sa/order",
                             .not_before = START,
                             .not_after = START + WEFT_NS_PER_S};
    admin_certs_add(out, &cert);
    admin_certs_add(out, &cert);
}
static void collect(void *user, admin_sum *sum) {
    r.collects++;
    admin_sum_telemetry(sum, user);
}

static void set_up_rig(void) {
    memset(&r, 0, sizeof r);
    r.ready = true;
    assert_int_equal(net_sim_new(7, START, &r.sim), 0);
    admin_worker workers[2];
    for (int i = 0; i < 2; i++) {
        const net_loop_config config = {.sim = r.sim, .host = i ? "b" : "a"};
        assert_int_equal(net_loop_new(&config, &r.loops[i]), 0);
        r.metrics[i] = telemetry_new(0, 0);
        telemetry_at(r.metrics[i])[TELEMETRY_ATTEMPTS] = 20 + (unsigned)i;
        workers[i] = (admin_worker){r.loops[i], collect, r.metrics[i]};
    }
    const net_loop_config config = {.sim = r.sim, .host = "a"};
    assert_int_equal(net_loop_new(&config, &r.far), 0);
    assert_int_equal(weft_addr_parse("127.0.0.1:9901", &r.addr, NULL), 0);
    const admin_config server = {
        .loop = r.loops[0],
        .addr = &r.addr,
        .fd = -1,
        .simulated = true,
        .conns_max = 3,
        .version = "1.2.3",
        .workers = workers,
        .worker_count = 2,
        .providers = {.user = &r,
                      .ready = ready,
                      .metrics = more,
                      .certs = certs,
                      .drain = drain,
                      .quit = quit},
    };
    net_why why = {""};
    if (admin_new(&server, &r.a, &why)) fail_msg("%s", why.text);
}

static void tear_down_rig(void) {
    admin_free(r.a);
    net_loop_free(r.far);
    for (int i = 0; i < 2; i++) {
        net_loop_free(r.loops[i]);
        telemetry_free(r.metrics[i]);
    }
    net_sim_free(r.sim);
}

static int on_input(net_conn *conn, const uint8_t *data, size_t size, weft_chunk *chunk) {
    client *c = net_conn_user(conn);
    (void)chunk;
    return weft_buf_add(&c->got, data, size);
}
static int on_output(net_conn *conn, weft_chain *out) {
    client *c = net_conn_user(conn);
    size_t n = strlen(c->text) - c->sent;
    (void)conn;
    if (c->step && n > c->step) n = c->step;
    const int rc = weft_chain_add(out, c->text + c->sent, n);
    c->sent += n;
    return rc;
}
static void on_open(net_conn *conn) { net_conn_want_write(conn); }
static void on_close(net_conn *conn, int error, const char *reason) {
    client *c = net_conn_user(conn);
    (void)error, (void)reason;
    c->closed = true;
}
static const net_handler handler = {on_open, on_input, NULL, on_output, on_close};

static void dial(client *c, const char *text) {
    memset(c, 0, sizeof *c);
    c->text = text;
    weft_buf_init(&c->got, 0);
    const net_dial d = {.addr = &r.addr, .handler = &handler, .user = c};
    assert_int_equal(net_connect(r.far, &d, &c->conn, NULL), 0);
}

static void run_for(int64_t ns) {
    (void)net_sim_run(r.sim, weft_now(net_sim_clock(r.sim)) + ns, NULL, NULL);
}

static void hang_up(client *c) {
    if (!c->closed) net_conn_abort(c->conn, 0, NULL);
    run_for(WEFT_NS_PER_MS);
    weft_buf_free(&c->got);
}

/* One request with Connection: close; checks the status line, returns the response (to be freed). */
static char *ask(const char *method, const char *path, const char *status) {
    char text[300];
    client c;
    (void)snprintf(text, sizeof text,
                   "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", method, path);
    dial(&c, text);
    run_for(100 * WEFT_NS_PER_MS);
    char line[40];
    (void)snprintf(line, sizeof line, "HTTP/1.1 %s", status);
    if (strncmp(weft_buf_str(&c.got), line, strlen(line)) != 0)
        fail_msg("%s %s: %s", method, path, weft_buf_str(&c.got));
    assert_true(c.closed);
    return weft_buf_detach(&c.got);
}

static void expect(const char *method, const char *path, const char *status, const char *part) {
    char *text = ask(method, path, status);
    if (!strstr(text, part)) fail_msg("%s %s: no \"%s\" in %s", method, path, part, text);
    weft_free(text);
}

static void test_pages(void **state) {
    (void)state;
    set_up_rig();
    expect("GET", "/", "200 OK", "POST /drain");
    expect("GET", "/live", "200 OK", "\r\n\r\nlive\n");
    expect("GET", "/ready", "200 OK", "\r\n\r\nready\n");
    r.ready = false;
    expect("GET", "/ready", "503 ", "worker 1 has no listener\n");
    expect("GET", "/version", "200 OK", "weft-sidecar 1.2.3\n");
    expect("GET", "/config_dump", "503", "null");
    expect("GET", "/certs", "200 OK", "listener \\\"in\\\"");
    expect("GET", "/clusters?format=json", "200 OK", "{\"clusters\":[]}");
    expect("GET", "/metrics", "200 OK", "weft_attempts_total 41\n");
    expect("GET", "/metrics", "200 OK", "text/plain; version=0.0.4");
    expect("GET", "/metrics", "200 OK", "weft_ready 0\n");
    expect("GET", "/metrics", "200 OK", "# more\n");
    assert_int_equal(r.collects, 2 * 5);
    expect("GET", "/nothing", "404 ", "GET / lists");
    expect("POST", "/live", "405 ", "allow: GET, HEAD");
    expect("GET", "/drain", "405 ", "allow: POST");
    assert_int_equal(r.drains, 0);
    expect("POST", "/drain", "200 OK", "draining");
    assert_int_equal(r.drains, 1);
    expect("POST", "/quit", "200 OK", "quitting");
    assert_int_equal(r.quits, 1);
    tear_down_rig();
}

static void test_head(void **state) {
    (void)state;
    set_up_rig();
    char *text = ask("HEAD", "/live", "200 OK");
    assert_non_null(strstr(text, "content-length: 5\r\n"));
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n");
    weft_free(text);
    tear_down_rig();
}

/* Pipelined, byte by byte and at once; a tour in the middle; then the connection stays. */
static void test_pipeline(void **state) {
    (void)state;
    static const char text[] =
        "GET /live HTTP/1.1\r\nHost: 127.0.0.1:9901\r\n\r\n"
        "GET /metrics HTTP/1.1\r\nHost: [::1]\r\n\r\n"
        "POST /drain HTTP/1.1\r\nHost: localhost:1\r\nContent-Length: 2\r\n\r\nxx"
        "GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (size_t step = 0; step < 2; step++) {
        set_up_rig();
        client c;
        dial(&c, text);
        c.step = step;
        run_for(50 * WEFT_NS_PER_MS);
        const char *at = weft_buf_str(&c.got);
        int count = 0;
        for (; (at = strstr(at, "HTTP/1.1 200 OK\r\n")); at++) count++;
        if (!step) assert_int_equal(count, 4);
        assert_false(c.closed);
        hang_up(&c);
        tear_down_rig();
    }
}

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        const char *text, *status;
    } cases[] = {
        {"GET /live HTTP/1.1\r\nHost: evil.example\r\n\r\n", "HTTP/1.1 403"},
        {"GET /live HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\n",
         "HTTP/1.1 403"},
        {"POST /quit HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n\r\n", "HTTP/1.1 403"},
        {"GET /live HTTP/1.1\n\n", "HTTP/1.1 400"},
        {"GET /live HTTP/3.0\r\n\r\n", "HTTP/1.1 505"},
        {"POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65537\r\n\r\n",
         "HTTP/1.1 413"},
    };
    set_up_rig();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        client c;
        dial(&c, cases[i].text);
        run_for(50 * WEFT_NS_PER_MS);
        if (strncmp(weft_buf_str(&c.got), cases[i].status, strlen(cases[i].status)) != 0)
            fail_msg("%s: %s", cases[i].text, weft_buf_str(&c.got));
        hang_up(&c);
    }
    assert_int_equal(r.quits, 0);
    assert_int_equal(admin_get_stats(r.a)->foreign, 3);
    assert_int_equal(admin_get_stats(r.a)->malformed, 3);
    tear_down_rig();
}

static void test_timeouts(void **state) {
    (void)state;
    set_up_rig();
    client silent, slow;
    dial(&silent, "");
    dial(&slow, "GET /live HTTP/1.1\r\nHos");
    run_for(ADMIN_HEADER_TIMEOUT - 50 * WEFT_NS_PER_MS);
    assert_false(silent.closed);
    assert_false(slow.closed);
    run_for(100 * WEFT_NS_PER_MS);
    assert_true(silent.closed);
    assert_true(slow.closed);
    hang_up(&silent);
    hang_up(&slow);
    client idle;
    dial(&idle, "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    run_for(ADMIN_IDLE_TIMEOUT - WEFT_NS_PER_S);
    assert_false(idle.closed);
    run_for(2 * WEFT_NS_PER_S);
    assert_true(idle.closed);
    hang_up(&idle);
    assert_int_equal(admin_get_stats(r.a)->timeouts, 3);
    tear_down_rig();
}

/* The connection limit, and an admin that goes away with connections and a tour under way. */
static void test_limits_and_end(void **state) {
    (void)state;
    set_up_rig();
    client c[5];
    for (int i = 0; i < 5; i++) dial(&c[i], "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    run_for(50 * WEFT_NS_PER_MS);
    int answered = 0;
    for (int i = 0; i < 5; i++) answered += c[i].got.len > 0;
    assert_int_equal(answered, 3);
    admin_free(r.a);
    r.a = NULL;
    run_for(WEFT_NS_PER_S);
    for (int i = 0; i < 5; i++) hang_up(&c[i]);
    tear_down_rig();
}

/* A worker that never turns: 503 after a second, also for who comes later; then the admin ends while the
 * tour is still out, and the loop that holds it frees it. */
static void test_stuck_worker(void **state) {
    (void)state;
    set_up_rig();
    admin_free(r.a);
    const net_loop_config real = {0};
    net_loop *stuck = NULL;
    assert_int_equal(net_loop_new(&real, &stuck), 0);
    const admin_worker workers[] = {{r.loops[0], collect, r.metrics[0]},
                                    {stuck, collect, r.metrics[1]}};
    const admin_config server = {.loop = r.loops[0],
                                 .addr = &r.addr,
                                 .fd = -1,
                                 .simulated = true,
                                 .workers = workers,
                                 .worker_count = 2};
    assert_int_equal(admin_new(&server, &r.a, NULL), 0);
    client c[2];
    for (int i = 0; i < 2; i++) {
        dial(&c[i], "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        run_for(ADMIN_COLLECT_TIMEOUT - 50 * WEFT_NS_PER_MS);
        if (!i) assert_int_equal(c[i].got.len, 0);
        run_for(ADMIN_COLLECT_TIMEOUT);
        assert_non_null(strstr(weft_buf_str(&c[i].got), "HTTP/1.1 503 "));
        assert_non_null(strstr(weft_buf_str(&c[i].got), "did not answer"));
        hang_up(&c[i]);
    }
    assert_true(admin_get_stats(r.a)->collect_timeouts >= 2);
    expect("GET", "/live", "200 OK", "live");
    admin_free(r.a);
    r.a = NULL;
    net_loop_free(stuck);
    tear_down_rig();
}

static void test_addresses(void **state) {
    (void)state;
    static const struct {
        const char *addr;
        int rc;
    } cases[] = {
        {"127.0.0.1:1", 0},       {"127.9.9.9:1", 0},          {"[::1]:1", 0},
        {"unix:/run/x/admin", 0}, {"unix-abstract:x", 0},      {"0.0.0.0:1", WEFT_EINVAL},
        {"[::]:1", WEFT_EINVAL},  {"10.0.0.1:1", WEFT_EINVAL}, {"localhost:1", WEFT_EINVAL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_addr addr;
        net_why why = {""};
        assert_int_equal(weft_addr_parse(cases[i].addr, &addr, NULL), 0);
        assert_int_equal(admin_check_address(&addr, false, &why), cases[i].rc);
        if (cases[i].rc) assert_non_null(strstr(why.text, cases[i].addr));
        assert_int_equal(admin_check_address(&addr, true, &why), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),        cmocka_unit_test(test_head),
        cmocka_unit_test(test_pipeline),     cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_timeouts),     cmocka_unit_test(test_limits_and_end),
        cmocka_unit_test(test_stuck_worker), cmocka_unit_test(test_addresses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
