/* What an idle connection costs: the clients live in another process, so that ours shows the server's side. */
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/pki.h"
#include "tests/unit/net/rig.h"

/* A sanitizer's heap tells nothing, and its handshakes take long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNT 50
#else
#define COUNT 1000
#endif
#define PRODUCT_ID "spiffe://mesh.local/ns/shop/sa/product"

/* Bytes a connection may hold on the heap, the echo server's own 100 included. */
#define PLAIN_MAX 1024
#define TLS_MAX 28672

static size_t heap(void) {
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static size_t resident(void) {
    char text[64] = "";
    unsigned long size = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fgets(text, sizeof text, file)) (void)!sscanf(text, "%lu %lu", &size, &pages);
    if (file) (void)fclose(file);
    return pages * 4096;
}

static _Noreturn void clients(const weft_addr *addr, tls_context *tls) {
    static echo_client all[COUNT];
    net_loop *loop = NULL;
    const net_loop_config config = {0};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (net_loop_new(&config, &loop)) _exit(1);
    for (size_t i = 0; i < COUNT; i++) {
        all[i].stay = true;
        if (echo_dial(&all[i], loop, addr, tls, 100, NULL)) _exit(2);
        while (all[i].received < 100)
            if (all[i].closed || net_loop_turn(loop, 100 * WEFT_NS_PER_MS)) _exit(3);
    }
    for (;;)
        if (net_loop_turn(loop, INT64_MAX)) _exit(4);
}

static size_t measure(tls_context *server_tls, tls_context *client_tls, const char *name) {
    net_loop *loop = NULL;
    const net_loop_config config = {0};
    echo_server server = {0};
    assert_int_equal(net_loop_new(&config, &loop), 0);
    echo_listen(&server, loop, "127.0.0.1:0", server_tls);
    const weft_addr addr = net_listener_addr(server.listener);
    const size_t heap_before = heap(), resident_before = resident();
    (void)fflush(NULL);
    const pid_t pid = fork();
    if (!pid) clients(&addr, client_tls);
    while (server.opened < COUNT || net_loop_stats(loop)->bytes_out < 100 * COUNT)
        assert_int_equal(net_loop_turn(loop, 100 * WEFT_NS_PER_MS), 0);
    rig_turns(loop, 5);
    assert_int_equal(server.open, COUNT);
    assert_int_equal(weft_chunk_pool_stats(net_loop_chunks(loop)).links, 0);
    const size_t each = (heap() - heap_before) / COUNT;
    print_message("%s: %zu bytes of heap, %zu resident a connection\n", name, each,
                  (resident() - resident_before) / COUNT);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    rig_until_size(loop, &server.closed, COUNT);
    net_loop_free(loop);
    return each;
}

static void test_idle(void **state) {
    (void)state;
    struct rlimit files;
    test_pki mesh;
    rig_options = (net_conn_options){.open_timeout = 120 * WEFT_NS_PER_S,
                                     .linger_timeout = 120 * WEFT_NS_PER_S};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    pki_init(&mesh, "mesh.local", "mesh");
    crypto_svid *order = pki_svid(&mesh, "/ns/shop/sa/order", PKI_NOW, PKI_DAY);
    crypto_svid *product = pki_svid(&mesh, "/ns/shop/sa/product", PKI_NOW, PKI_DAY);
    tls_context *client = pki_client(&mesh, order, PRODUCT_ID, NULL);
    tls_context *server = pki_server(&mesh, product, NULL);
    const size_t plain = measure(NULL, NULL, "plain");
    const size_t tls = measure(server, client, "TLS");
    if (COUNT == 1000) {
        assert_in_range(plain, 1, PLAIN_MAX);
        assert_in_range(tls, 1, TLS_MAX);
    }
    tls_context_unref(client);
    tls_context_unref(server);
    crypto_svid_unref(order);
    crypto_svid_unref(product);
    pki_free(&mesh);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_idle)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
