/* A listener that drains while there are no descriptors to accept with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/net/rig.h"
#include "weft/clock.h"

/* Another listener on the same socket, as another worker has one, takes who was there: it ends. */
static void test_drain_out_of_descriptors(void **state) {
    (void)state;
    struct rlimit files;
    net_loop *loop = NULL;
    const net_loop_config config = {0};
    assert_int_equal(net_loop_new(&config, &loop), 0);
    echo_server server = {0};
    echo_client client = {0};
    echo_listen(&server, loop, "127.0.0.1:0", NULL);
    const weft_addr addr = net_listener_addr(server.listener);
    const int other = dup(net_listener_fd(server.listener));
    assert_int_equal(echo_dial(&client, loop, &addr, NULL, 10, NULL), 0);
    const int highest = dup(0);
    (void)close(highest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    const rlim_t before = files.rlim_cur;
    files.rlim_cur = (rlim_t)highest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    net_listener_drain(server.listener, false);
    while (!net_loop_stats(loop)->accept_errors)
        assert_int_equal(net_loop_turn(loop, 10 * WEFT_NS_PER_MS), 0);
    files.rlim_cur = before;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    const int taken = accept(other, NULL, NULL);
    assert_true(taken >= 0);
    (void)close(taken);
    (void)close(other);
    rig_until(loop, &client.closed);
    const int64_t end = weft_now(NULL) + 60 * WEFT_NS_PER_S;
    while (server.listener && weft_now(NULL) < end)
        assert_int_equal(net_loop_turn(loop, 10 * WEFT_NS_PER_MS), 0);
    assert_null(server.listener);
    assert_int_equal(server.accepted, 0);
    net_loop_free(loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drain_out_of_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
