/* Names to addresses. One lookup per name and family, however many ask for it; its answer is kept for its
 * TTL. Answers are always told from a task of the loop, also those that are known at once. */
#include <ares.h>
#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/net/internal.h"
#include "lib/net/resolver.h"
#include "weft/map.h"
#include "weft/mem.h"

#define LOOKUPS_MAX 4096
#define HOSTS_TTL (5 * WEFT_NS_PER_S) /* the file may change */

/* Invariants: busy <=> c-ares owes an answer; waiting is empty unless busy; expires is 0 until the first
 * good answer. */
typedef struct lookup {
    net_resolver *resolver;
    weft_list waiting;
    bool busy;
    bool orphan; /* the resolver is being freed */
    net_family family;
    weft_addr *addrs; /* without port */
    size_t count;
    int64_t ttl;
    int64_t expires;
    int error;
    char name[WEFT_ADDR_HOST];
    char text[WEFT_ADDR_HOST + 80]; /* of the error */
} lookup;

struct net_query {
    weft_list link; /* in lookup->waiting, or in resolver->ready */
    net_resolver *resolver;
    lookup *from; /* NULL: a literal */
    weft_addr literal;
    uint16_t port;
    void (*done)(void *user, const net_answer *answer);
    void *user;
};

typedef struct socket_watch {
    weft_list all;
    net_watch watch;
    net_resolver *resolver;
} socket_watch;

struct net_resolver {
    net_loop *loop;
    net_dns_config config;
    ares_channel channel; /* NULL in simulations */
    char *hosts;
    weft_map lookups; /* "4name" */
    weft_list ready;
    weft_list sockets;
    net_task deliver;
    weft_timer timer;
    size_t queries;
    size_t busy;
};

/* ---- answers */

static int by_address(const void *a, const void *b) {
    const weft_addr *x = a, *y = b;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    return strcmp(x->host, y->host);
}

/* Sorted, without doubles. */
static size_t tidy(weft_addr *addrs, size_t count) {
    size_t kept = 0;
    if (count) qsort(addrs, count, sizeof *addrs, by_address);
    for (size_t i = 0; i < count; i++)
        if (!kept || by_address(&addrs[kept - 1], &addrs[i])) addrs[kept++] = addrs[i];
    return kept;
}

static void finish_lookup(lookup *l, int error) {
    net_resolver *resolver = l->resolver;
    l->error = error;
    if (l->busy) resolver->busy--;
    l->busy = false;
    weft_list_splice(&resolver->ready, &l->waiting);
    net_loop_defer(resolver->loop, &resolver->deliver);
}

static void fail_lookup(lookup *l, int error, const char *text) {
    (void)snprintf(l->text, sizeof l->text, "%s: %s", l->name, text);
    finish_lookup(l, error);
}

static void set_answer(lookup *l, weft_addr *addrs, size_t count, int64_t ttl) {
    const net_dns_config *config = &l->resolver->config;
    if (ttl < config->ttl_min) ttl = config->ttl_min;
    if (ttl > config->ttl_max) ttl = config->ttl_max;
    weft_free(l->addrs);
    l->addrs = addrs;
    l->count = tidy(addrs, count);
    l->ttl = ttl;
    l->expires = l->resolver->loop->now + ttl;
    finish_lookup(l, 0);
}

static void answer_query(net_query *query) {
    weft_addr addrs[NET_DNS_ADDRS_MAX];
    net_answer answer = {.text = "", .addrs = addrs};
    const lookup *l = query->from;
    if (!l) {
        addrs[0] = query->literal;
        answer.count = 1;
        answer.ttl = query->resolver->config.ttl_max;
    } else if (l->error) {
        answer.error = l->error;
        answer.text = l->text;
    } else {
        answer.count = l->count;
        answer.ttl = l->ttl;
        memcpy(addrs, l->addrs, l->count * sizeof *addrs);
    }
    for (size_t i = 0; i < answer.count; i++) addrs[i].port = query->port;
    query->done(query->user, &answer);
    query->resolver->queries--;
    weft_free(query);
}

static void on_deliver(net_task *task) {
    net_resolver *resolver = WEFT_CONTAINER(task, net_resolver, deliver);
    weft_list batch;
    weft_list_init(&batch);
    weft_list_splice(&batch, &resolver->ready);
    for (weft_list *node; (node = weft_list_pop_front(&batch));)
        answer_query(WEFT_CONTAINER(node, net_query, link));
}

/* ---- c-ares on the loop */

static void arm(net_resolver *resolver) {
    struct timeval left;
    if (!ares_timeout(resolver->channel, NULL, &left)) {
        weft_timer_cancel(&resolver->timer);
        return;
    }
    const int64_t ns = left.tv_sec * WEFT_NS_PER_S + left.tv_usec * WEFT_NS_PER_US;
    weft_timer_arm(net_loop_timers(resolver->loop), &resolver->timer,
                   net_loop_now(resolver->loop) + ns);
}

static void on_timer(weft_timer *timer, int64_t now) {
    net_resolver *resolver = timer->user;
    (void)now;
    ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm(resolver);
}

static void on_ready(net_watch *watch, unsigned events) {
    const socket_watch *sock = watch->user;
    net_resolver *resolver = sock->resolver;
    const ares_socket_t fd = watch->fd;
    /* The watch may be gone after this. */
    ares_process_fd(resolver->channel, events & NET_READABLE ? fd : ARES_SOCKET_BAD,
                    events & NET_WRITABLE ? fd : ARES_SOCKET_BAD);
    arm(resolver);
}

static void on_socket(void *user, ares_socket_t fd, int readable, int writable) {
    net_resolver *resolver = user;
    socket_watch *sock = NULL;
    const unsigned events = (readable ? NET_READABLE : 0u) | (writable ? NET_WRITABLE : 0u);
    weft_list_each(&resolver->sockets, at) {
        socket_watch *one = WEFT_CONTAINER(at, socket_watch, all);
        if (one->watch.fd == fd) sock = one;
    }
    if (!events) {
        if (!sock) return;
        net_watch_stop(&sock->watch);
        weft_list_remove(&sock->all);
        weft_free(sock);
        return;
    }
    if (sock) {
        (void)!net_watch_change(&sock->watch, events);
        return;
    }
    /* Without memory its answer is not seen, and the query times out. */
    sock = weft_calloc(1, sizeof *sock);
    if (!sock) return;
    sock->resolver = resolver;
    if (net_watch_start(resolver->loop, &sock->watch, fd, events, on_ready, sock)) {
        weft_free(sock);
        return;
    }
    weft_list_push_back(&resolver->sockets, &sock->all);
}

static size_t copy_addrs(const struct ares_addrinfo *info, weft_addr *addrs, int64_t *ttl) {
    size_t count = 0;
    int least = INT32_MAX;
    for (const struct ares_addrinfo_cname *at = info->cnames; at; at = at->next)
        if (at->ttl < least) least = at->ttl;
    for (const struct ares_addrinfo_node *at = info->nodes; at; at = at->ai_next) {
        struct sockaddr_storage name = {0};
        if (at->ai_addrlen > sizeof name || count >= NET_DNS_ADDRS_MAX) continue;
        memcpy(&name, at->ai_addr, at->ai_addrlen);
        net_sockaddr_to_addr(&name, at->ai_addrlen, &addrs[count++]);
        if (at->ai_ttl < least) least = at->ai_ttl;
    }
    *ttl = least < 0 ? 0 : least * WEFT_NS_PER_S;
    return count;
}

static void on_answer(void *user, int status, int timeouts, struct ares_addrinfo *info) {
    lookup *l = user;
    (void)timeouts;
    if (l->orphan) {
        ares_freeaddrinfo(info);
        weft_free(l->addrs);
        weft_free(l);
        return;
    }
    weft_addr *addrs = NULL;
    size_t count = 0;
    int64_t ttl = 0;
    if (status == ARES_SUCCESS) {
        addrs = weft_calloc(NET_DNS_ADDRS_MAX, sizeof *addrs);
        if (addrs) count = copy_addrs(info, addrs, &ttl);
        ares_freeaddrinfo(info);
        if (!addrs) status = ARES_ENOMEM;
        if (addrs && !count) status = ARES_ENODATA;
    }
    switch (status) {
    case ARES_SUCCESS:
        set_answer(l, addrs, count, ttl);
        return;
    case ARES_ENOTFOUND:
        fail_lookup(l, WEFT_ENOTFOUND, "the name does not exist; correct it, or add it to the DNS");
        break;
    case ARES_ENODATA:
        fail_lookup(l, WEFT_ENOTFOUND, "the name has no address of the family asked for");
        break;
    case ARES_ETIMEOUT:
    case ARES_ECONNREFUSED:
        fail_lookup(l, WEFT_ETIMEOUT, "no name server answered; see /etc/resolv.conf");
        break;
    case ARES_ENOMEM:
        fail_lookup(l, WEFT_ENOMEM, "out of memory");
        break;
    default:
        fail_lookup(l, WEFT_EIO, ares_strerror(status));
    }
    weft_free(addrs);
}

/* ---- other sources */

static bool wanted(net_family family, weft_addr_kind kind) {
    return family == NET_ANY || (family == NET_IPV4 && kind == WEFT_ADDR_IPV4) ||
           (family == NET_IPV6 && kind == WEFT_ADDR_IPV6);
}

/* "10.0.0.1 10.0.0.2 unix:/x" */
static void answer_from_sim(lookup *l) {
    const char *text = net_sim_lookup(l->resolver->loop->config.sim, l->name);
    weft_addr *addrs = text ? weft_calloc(NET_DNS_ADDRS_MAX, sizeof *addrs) : NULL;
    size_t count = 0;
    while (addrs && *text && count < NET_DNS_ADDRS_MAX) {
        char one[WEFT_ADDR_TEXT], full[WEFT_ADDR_TEXT + 8];
        const size_t len = strcspn(text, " ");
        (void)snprintf(one, sizeof one, "%.*s", (int)len, text);
        text += len;
        text += strspn(text, " ");
        const bool path = strchr(one, '/') != NULL;
        const bool v6 = !path && strchr(one, ':');
        (void)snprintf(full, sizeof full, "%s%s%s", v6 ? "[" : "", one,
                       path ? ""
                       : v6 ? "]:0"
                            : ":0");
        if (!weft_addr_parse(full, &addrs[count], NULL) &&
            (wanted(l->family, addrs[count].kind) || addrs[count].kind == WEFT_ADDR_UNIX))
            count++;
    }
    if (count) {
        set_answer(l, addrs, count, l->resolver->config.ttl_min);
        return;
    }
    weft_free(addrs);
    fail_lookup(l, WEFT_ENOTFOUND, "the name does not exist; correct it, or add it to the DNS");
}

static bool answer_from_hosts(lookup *l) {
    weft_addr *addrs = weft_calloc(NET_DNS_ADDRS_MAX, sizeof *addrs);
    if (!addrs) return false;
    const size_t count = net_hosts_find(l->resolver->hosts, l->name, l->family, addrs);
    if (!count) {
        weft_free(addrs);
        return false;
    }
    set_answer(l, addrs, count, HOSTS_TTL);
    return true;
}

static void start_lookup(lookup *l) {
    net_resolver *resolver = l->resolver;
    if (resolver->loop->config.sim) {
        answer_from_sim(l);
        return;
    }
    if (answer_from_hosts(l)) return;
    const struct ares_addrinfo_hints hints = {
        .ai_flags = ARES_AI_NOSORT,
        .ai_family = l->family == NET_IPV4   ? AF_INET
                     : l->family == NET_IPV6 ? AF_INET6
                                             : AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };
    l->busy = true;
    resolver->busy++;
    ares_getaddrinfo(resolver->channel, l->name, NULL, &hints, on_answer,
                     l); /* may answer at once */
    arm(resolver);
}

/* ---- asking */

static void free_lookup(void *value) {
    lookup *l = value;
    if (l->busy) {
        l->orphan = true; /* c-ares still answers */
        return;
    }
    weft_free(l->addrs);
    weft_free(l);
}

/* Makes room: answers that are too old and asked for by nobody. */
static void forget_old(net_resolver *resolver) {
    size_t at = 0;
    const char *key;
    size_t size;
    void *value;
    while (weft_map_next(&resolver->lookups, &at, &key, &size, &value)) {
        lookup *l = value;
        bool used = l->busy || l->expires > resolver->loop->now;
        weft_list_each(&resolver->ready, node) {
            if (WEFT_CONTAINER(node, net_query, link)->from == l) used = true;
        }
        if (used) continue;
        (void)weft_map_remove_bytes(&resolver->lookups, key, size);
        free_lookup(l);
    }
}

static int find_lookup(net_resolver *resolver, const char *name, net_family family, lookup **out) {
    char key[WEFT_ADDR_HOST + 2];
    (void)snprintf(key, sizeof key, "%d%s", (int)family, name);
    *out = weft_map_get(&resolver->lookups, key);
    if (*out) return 0;
    if (weft_map_count(&resolver->lookups) >= LOOKUPS_MAX) forget_old(resolver);
    lookup *l = weft_calloc(1, sizeof *l);
    if (!l) return WEFT_ENOMEM;
    l->resolver = resolver;
    l->family = family;
    weft_list_init(&l->waiting);
    (void)snprintf(l->name, sizeof l->name, "%s", name);
    const int error = weft_map_put(&resolver->lookups, key, l);
    if (error)
        weft_free(l);
    else
        *out = l;
    return error;
}

/* The name as weft_addr has it, or the literal. */
static int read_name(const char *name, weft_addr *addr) {
    char text[WEFT_ADDR_TEXT];
    const bool v6 = strchr(name, ':') != NULL;
    const int len = snprintf(text, sizeof text, "%s%s%s", v6 ? "[" : "", name, v6 ? "]:0" : ":0");
    if (len < 0 || (size_t)len >= sizeof text) return WEFT_EINVAL;
    return weft_addr_parse(text, addr, NULL) ? WEFT_EINVAL : 0;
}

int net_resolve(net_resolver *resolver, const char *name, uint16_t port, net_family family,
                void (*done)(void *user, const net_answer *answer), void *user, net_query **out) {
    weft_addr addr;
    if (read_name(name, &addr)) return WEFT_EINVAL;
    if (resolver->queries >= resolver->config.queries_max) return WEFT_ELIMIT;
    net_query *query = weft_calloc(1, sizeof *query);
    if (!query) return WEFT_ENOMEM;
    query->resolver = resolver;
    query->port = port;
    query->done = done;
    query->user = user;
    weft_list_init(&query->link);
    if (addr.kind == WEFT_ADDR_NAME) {
        const int error = find_lookup(resolver, addr.host, family, &query->from);
        if (error) {
            weft_free(query);
            return error;
        }
    }
    query->literal = addr;
    resolver->queries++;
    *out = query;
    lookup *l = query->from;
    if (!l || (!l->busy && !l->error && l->expires > resolver->loop->now)) {
        weft_list_push_back(&resolver->ready, &query->link);
        net_loop_defer(resolver->loop, &resolver->deliver);
        return 0;
    }
    weft_list_push_back(&l->waiting, &query->link);
    if (!l->busy) start_lookup(l);
    return 0;
}

void net_query_cancel(net_query *query) {
    weft_list_remove(&query->link);
    query->resolver->queries--;
    weft_free(query);
}

/* ---- life */

static int64_t or_else(int64_t value, int64_t otherwise) { return value ? value : otherwise; }

static int start_ares(net_resolver *resolver) {
    static char lookups[] = "b"; /* the hosts file is read by us */
    struct ares_options options = {
        .timeout = (int)(resolver->config.timeout / WEFT_NS_PER_MS),
        .tries = resolver->config.tries,
        .sock_state_cb = on_socket,
        .sock_state_cb_data = resolver,
        .lookups = lookups,
    };
    if (ares_library_init(ARES_LIB_INIT_ALL)) return WEFT_ENOMEM;
    if (ares_init_options(&resolver->channel, &options,
                          ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB |
                              ARES_OPT_LOOKUPS)) {
        resolver->channel = NULL;
        ares_library_cleanup();
        return WEFT_ENOMEM;
    }
    if (resolver->config.servers &&
        ares_set_servers_ports_csv(resolver->channel, resolver->config.servers))
        return WEFT_EINVAL;
    return 0;
}

int net_resolver_new(net_loop *loop, const net_dns_config *config, net_resolver **out) {
    net_resolver *resolver = weft_calloc(1, sizeof *resolver);
    if (!resolver) return WEFT_ENOMEM;
    net_dns_config *mine = &resolver->config;
    resolver->loop = loop;
    *mine = config ? *config : (net_dns_config){0};
    mine->timeout = or_else(mine->timeout, 2 * WEFT_NS_PER_S);
    mine->tries = (int)or_else(mine->tries, 3);
    mine->ttl_min = or_else(mine->ttl_min, WEFT_NS_PER_S);
    mine->ttl_max = or_else(mine->ttl_max, 300 * WEFT_NS_PER_S);
    mine->retry = or_else(mine->retry, 5 * WEFT_NS_PER_S);
    if (!mine->queries_max) mine->queries_max = 1024;
    weft_map_init(&resolver->lookups, LOOKUPS_MAX);
    weft_list_init(&resolver->ready);
    weft_list_init(&resolver->sockets);
    weft_timer_init(&resolver->timer, on_timer, resolver);
    net_task_init(&resolver->deliver, on_deliver);
    resolver->hosts = weft_heap_strdup(mine->hosts ? mine->hosts : "/etc/hosts");
    int error = resolver->hosts ? 0 : WEFT_ENOMEM;
    if (!error && !loop->config.sim) error = start_ares(resolver);
    if (error)
        net_resolver_free(resolver);
    else
        *out = resolver;
    return error;
}

void net_resolver_free(net_resolver *resolver) {
    if (!resolver) return;
    assert(resolver->queries == 0 && "queries are under way");
    weft_map_free(&resolver->lookups, free_lookup);
    if (resolver->channel) {
        ares_destroy(resolver->channel); /* answers what is under way, and closes its sockets */
        ares_library_cleanup();
    }
    assert(weft_list_empty(&resolver->sockets));
    weft_timer_cancel(&resolver->timer);
    net_task_cancel(&resolver->deliver);
    weft_free(resolver->hosts);
    weft_free(resolver);
}

net_loop *net_resolver_loop(const net_resolver *resolver) { return resolver->loop; }
int64_t net_resolver_retry(const net_resolver *resolver) { return resolver->config.retry; }
