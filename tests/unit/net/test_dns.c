/* The resolver against a name server of our own, a hosts file, and simulated names. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "weft/net_dns.h"
#include "weft/net_sim.h"

/* ---- a name server: one A record set for "product.test", AAAA for "v6.test", silence for "silent.test" */

typedef struct name_server {
    net_watch watch;
    int fd;
    uint16_t port;
    char addrs[4][16]; /* IPv4 of product.test */
    size_t count;
    uint32_t ttl;
    size_t queries;
    bool broken; /* answers SERVFAIL */
} name_server;

static void put16(uint8_t **at, unsigned value) {
    *(*at)++ = (uint8_t)(value >> 8);
    *(*at)++ = (uint8_t)value;
}

static void put_record(uint8_t **at, unsigned type, uint32_t ttl, const void *data, size_t size) {
    put16(at, 0xc00c);
    put16(at, type);
    put16(at, 1);
    put16(at, ttl >> 16);
    put16(at, ttl & 0xffff);
    put16(at, (unsigned)size);
    memcpy(*at, data, size);
    *at += size;
}

static void on_query(net_watch *watch, unsigned events) {
    name_server *server = watch->user;
    uint8_t packet[2048];
    struct sockaddr_storage from;
    socklen_t from_size = sizeof from;
    (void)events;
    const ssize_t got = recvfrom(server->fd, packet, 512, 0, (struct sockaddr *)&from, &from_size);
    if (got < 17) return;
    char name[256] = "";
    const uint8_t *q = packet + 12;
    for (size_t n; (n = *q) != 0 && q + n < packet + got; q += n + 1) {
        if (*name) (void)strncat(name, ".", sizeof name - strlen(name) - 1);
        (void)strncat(name, (const char *)q + 1, n);
    }
    const unsigned type = (unsigned)(q[1] << 8 | q[2]);
    uint8_t *at = packet + (q - packet) + 5;
    server->queries++;
    if (!strcmp(name, "silent.test")) return;
    packet[2] = 0x84;
    packet[3] = 0x80;
    packet[8] = packet[9] = packet[10] = packet[11] = 0;
    unsigned answers = 0;
    if (server->broken) {
        packet[3] = 0x82;
    } else if (!strcmp(name, "product.test")) {
        for (size_t i = 0; i < server->count && type == 1; i++, answers++) {
            struct in_addr addr;
            assert_int_equal(inet_pton(AF_INET, server->addrs[i], &addr), 1);
            put_record(&at, 1, server->ttl, &addr, 4);
        }
    } else if (!strcmp(name, "v6.test")) {
        struct in6_addr addr;
        assert_int_equal(inet_pton(AF_INET6, "fd00::7", &addr), 1);
        if (type == 28) {
            put_record(&at, 28, server->ttl, &addr, 16);
            answers++;
        }
    } else {
        packet[3] = 0x83;
    }
    packet[6] = 0;
    packet[7] = (uint8_t)answers;
    (void)sendto(server->fd, packet, (size_t)(at - packet), 0, (struct sockaddr *)&from, from_size);
}

static void server_start(name_server *server, net_loop *loop) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof name;
    server->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&name, size), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&name, &size), 0);
    server->port = ntohs(name.sin_port);
    assert_int_equal(
        net_watch_start(loop, &server->watch, server->fd, NET_READABLE, on_query, server), 0);
}

static void server_stop(name_server *server) {
    net_watch_stop(&server->watch);
    (void)close(server->fd);
}

/* ---- what was answered */

typedef struct answered {
    int calls, error;
    char text[400];
    char addrs[400];
    int64_t ttl;
    net_query *query;
} answered;

static void on_answer(void *user, const net_answer *answer) {
    answered *got = user;
    got->calls++;
    got->error = answer->error;
    got->ttl = answer->ttl;
    (void)snprintf(got->text, sizeof got->text, "%s", answer->text);
    got->addrs[0] = '\0';
    for (size_t i = 0; i < answer->count; i++) {
        char one[WEFT_ADDR_TEXT];
        (void)strncat(got->addrs, weft_addr_format(&answer->addrs[i], one), 100);
        (void)strncat(got->addrs, " ", 2);
    }
}

typedef struct rig {
    net_loop *loop;
    name_server server;
    net_resolver *resolver;
    weft_clock_manual clock;
    char hosts[64];
} rig;

static void rig_init(rig *r, net_dns_config config) {
    char servers[32];
    *r = (rig){0};
    const net_loop_config loop_config = {0};
    assert_int_equal(net_loop_new(&loop_config, &r->loop), 0);
    server_start(&r->server, r->loop);
    (void)snprintf(servers, sizeof servers, "127.0.0.1:%u", r->server.port);
    (void)snprintf(r->hosts, sizeof r->hosts, "/tmp/weft-hosts-XXXXXX");
    const int fd = mkstemp(r->hosts);
    static const char text[] = "# comment\n10.1.1.1 static.test other.test # more\n"
                               "fd00::1\tstatic.test\nbroken line\n10.1.1.2 STATIC.test\r\n";
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    (void)close(fd);
    config.servers = servers;
    config.hosts = r->hosts;
    assert_int_equal(net_resolver_new(r->loop, &config, &r->resolver), 0);
    (void)snprintf(r->server.addrs[0], 16, "10.0.0.2");
    (void)snprintf(r->server.addrs[1], 16, "10.0.0.1");
    (void)snprintf(r->server.addrs[2], 16, "10.0.0.2");
    r->server.count = 3;
    r->server.ttl = 60;
}

static void rig_free(rig *r) {
    net_resolver_free(r->resolver);
    server_stop(&r->server);
    net_loop_free(r->loop);
    (void)unlink(r->hosts);
}

static void until(rig *r, const int *calls, int least) {
    const int64_t end = weft_now(NULL) + 120 * WEFT_NS_PER_S;
    while (*calls < least) {
        assert_int_equal(net_loop_turn(r->loop, 20 * WEFT_NS_PER_MS), 0);
        assert_true(weft_now(NULL) < end);
    }
}

static void ask(rig *r, const char *name, net_family family, answered *got) {
    *got = (answered){0};
    assert_int_equal(net_resolve(r->resolver, name, 80, family, on_answer, got, &got->query), 0);
    assert_int_equal(got->calls, 0);
    until(r, &got->calls, 1);
}

static void test_answers(void **state) {
    (void)state;
    rig r;
    answered got;
    rig_init(&r, (net_dns_config){0});
    ask(&r, "product.test", NET_IPV4, &got);
    assert_string_equal(got.addrs, "10.0.0.1:80 10.0.0.2:80 ");
    assert_int_equal(got.ttl, 60 * WEFT_NS_PER_S);
    assert_int_equal(r.server.queries, 1);
    ask(&r, "Product.Test", NET_IPV4, &got); /* remembered */
    assert_string_equal(got.addrs, "10.0.0.1:80 10.0.0.2:80 ");
    assert_int_equal(r.server.queries, 1);
    ask(&r, "v6.test", NET_ANY, &got);
    assert_string_equal(got.addrs, "[fd00::7]:80 ");
    ask(&r, "v6.test", NET_IPV4, &got);
    assert_int_equal(got.error, WEFT_ENOTFOUND);
    assert_string_equal(got.text, "v6.test: the name has no address of the family asked for");
    ask(&r, "nobody.test", NET_IPV4, &got);
    assert_int_equal(got.error, WEFT_ENOTFOUND);
    assert_string_equal(got.text,
                        "nobody.test: the name does not exist; correct it, or add it to the DNS");
    ask(&r, "10.9.9.9", NET_ANY, &got);
    assert_string_equal(got.addrs, "10.9.9.9:80 ");
    ask(&r, "::1", NET_ANY, &got);
    assert_string_equal(got.addrs, "[::1]:80 ");
    ask(&r, "static.test", NET_ANY, &got);
    assert_string_equal(got.addrs, "10.1.1.1:80 10.1.1.2:80 [fd00::1]:80 ");
    ask(&r, "other.test", NET_IPV4, &got);
    assert_string_equal(got.addrs, "10.1.1.1:80 ");
    net_query *query;
    assert_int_equal(net_resolve(r.resolver, "bad name", 1, NET_ANY, on_answer, &got, &query),
                     WEFT_EINVAL);
    rig_free(&r);
}

/* Many who ask at once make one query; those who cancel hear nothing. */
static void test_together(void **state) {
    (void)state;
    rig r;
    answered got[20] = {{0}};
    rig_init(&r, (net_dns_config){.queries_max = 20});
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(net_resolve(r.resolver, "product.test", (uint16_t)i, NET_IPV4, on_answer,
                                     &got[i], &got[i].query),
                         0);
    net_query *query;
    assert_int_equal(net_resolve(r.resolver, "product.test", 1, NET_IPV4, on_answer, got, &query),
                     WEFT_ELIMIT);
    net_query_cancel(got[3].query);
    until(&r, &got[19].calls, 1);
    for (size_t i = 0; i < 20; i++) assert_int_equal(got[i].calls, i != 3);
    assert_string_equal(got[7].addrs, "10.0.0.1:7 10.0.0.2:7 ");
    assert_int_equal(r.server.queries, 1);
    rig_free(&r);
}

static void test_timeout(void **state) {
    (void)state;
    rig r;
    answered got;
    rig_init(&r, (net_dns_config){.timeout = 30 * WEFT_NS_PER_MS, .tries = 2});
    ask(&r, "silent.test", NET_IPV4, &got);
    assert_int_equal(got.error, WEFT_ETIMEOUT);
    assert_string_equal(got.text, "silent.test: no name server answered; see /etc/resolv.conf");
    assert_int_equal(r.server.queries, 2);
    rig_free(&r);
}

/* The resolver may end while a query is on its way. */
static void test_free_busy(void **state) {
    (void)state;
    rig r;
    answered got = {0};
    rig_init(&r, (net_dns_config){0});
    assert_int_equal(
        net_resolve(r.resolver, "silent.test", 1, NET_IPV4, on_answer, &got, &got.query), 0);
    assert_int_equal(net_loop_turn(r.loop, 0), 0);
    net_query_cancel(got.query);
    rig_free(&r);
    assert_int_equal(got.calls, 0);
}

static void test_watch(void **state) {
    (void)state;
    rig r;
    answered got = {0};
    net_dns_watch *watch = NULL;
    rig_init(&r, (net_dns_config){.ttl_min = 5 * WEFT_NS_PER_MS,
                                  .ttl_max = 10 * WEFT_NS_PER_MS,
                                  .retry = 5 * WEFT_NS_PER_MS});
    assert_int_equal(
        net_dns_watch_new(r.resolver, "product.test", 80, NET_IPV4, on_answer, &got, &watch), 0);
    until(&r, &got.calls, 1);
    assert_string_equal(got.addrs, "10.0.0.1:80 10.0.0.2:80 ");
    assert_int_equal(got.ttl, 10 * WEFT_NS_PER_MS);
    /* The same answers in another order change nothing. */
    (void)snprintf(r.server.addrs[0], 16, "10.0.0.1");
    (void)snprintf(r.server.addrs[1], 16, "10.0.0.2");
    for (const size_t enough = r.server.queries + 3; r.server.queries < enough;)
        assert_int_equal(net_loop_turn(r.loop, 20 * WEFT_NS_PER_MS), 0);
    assert_int_equal(got.calls, 1);
    r.server.count = 1;
    until(&r, &got.calls, 2);
    assert_string_equal(got.addrs, "10.0.0.1:80 ");
    /* A failure is told once, and so is its end. */
    r.server.broken = true;
    until(&r, &got.calls, 3);
    assert_true(got.error < 0);
    for (const size_t enough = r.server.queries + 3; r.server.queries < enough;)
        assert_int_equal(net_loop_turn(r.loop, 20 * WEFT_NS_PER_MS), 0);
    assert_int_equal(got.calls, 3);
    r.server.broken = false;
    until(&r, &got.calls, 4);
    assert_int_equal(got.error, 0);
    assert_string_equal(got.addrs, "10.0.0.1:80 ");
    net_dns_watch_free(watch);
    rig_free(&r);
}

static void test_simulated(void **state) {
    (void)state;
    net_sim *sim = NULL;
    net_loop *loop = NULL;
    net_resolver *resolver = NULL;
    net_dns_watch *watch = NULL;
    answered got = {0};
    assert_int_equal(net_sim_new(1, WEFT_NS_PER_S, &sim), 0);
    assert_int_equal(net_sim_set_name(sim, "product", "10.0.0.1 fd00::2"), 0);
    const net_loop_config config = {.sim = sim, .host = "a"};
    assert_int_equal(net_loop_new(&config, &loop), 0);
    assert_int_equal(net_resolver_new(loop, NULL, &resolver), 0);
    assert_int_equal(net_dns_watch_new(resolver, "product", 7, NET_ANY, on_answer, &got, &watch),
                     0);
    (void)net_sim_run(sim, 2 * WEFT_NS_PER_S, NULL, NULL);
    assert_string_equal(got.addrs, "10.0.0.1:7 [fd00::2]:7 ");
    assert_int_equal(net_sim_set_name(sim, "product", "10.0.0.3"), 0);
    (void)net_sim_run(sim, 4 * WEFT_NS_PER_S, NULL, NULL);
    assert_int_equal(got.calls, 2);
    assert_string_equal(got.addrs, "10.0.0.3:7 ");
    assert_int_equal(net_sim_set_name(sim, "product", NULL), 0);
    (void)net_sim_run(sim, 20 * WEFT_NS_PER_S, NULL, NULL);
    assert_int_equal(got.calls, 3);
    assert_int_equal(got.error, WEFT_ENOTFOUND);
    net_dns_watch_free(watch);
    net_resolver_free(resolver);
    net_loop_free(loop);
    net_sim_free(sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers), cmocka_unit_test(test_together),
        cmocka_unit_test(test_timeout), cmocka_unit_test(test_free_busy),
        cmocka_unit_test(test_watch),   cmocka_unit_test(test_simulated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
