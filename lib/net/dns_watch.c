/* The hosts file, and names that are asked for again and again. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/net/internal.h"
#include "lib/net/resolver.h"
#include "weft/mem.h"

#define HOSTS_MAX 1048576
#define BLANKS " \t\r"

/* ---- hosts(5): an address and its names on a line, '#' begins a comment */

static bool line_names(char *line, const char *name, char **address) {
    line[strcspn(line, "#")] = '\0';
    char *rest = NULL;
    *address = strtok_r(line, BLANKS, &rest);
    if (!*address) return false;
    for (char *word; (word = strtok_r(NULL, BLANKS, &rest));)
        if (!strcasecmp(word, name)) return true;
    return false;
}

static bool read_address(const char *text, net_family family, weft_addr *addr) {
    char full[WEFT_ADDR_TEXT];
    const bool v6 = strchr(text, ':') != NULL;
    (void)snprintf(full, sizeof full, "%s%.100s%s", v6 ? "[" : "", text, v6 ? "]:0" : ":0");
    if (weft_addr_parse(full, addr, NULL)) return false;
    if (addr->kind == WEFT_ADDR_IPV4) return family != NET_IPV6;
    return addr->kind == WEFT_ADDR_IPV6 && family != NET_IPV4;
}

size_t net_hosts_find(const char *path, const char *name, net_family family, weft_addr *addrs) {
    weft_buf file;
    size_t count = 0;
    weft_buf_init(&file, HOSTS_MAX);
    if (!weft_buf_read_file(&file, path) && file.data) {
        char *rest = NULL;
        for (char *line = strtok_r(file.data, "\n", &rest); line && count < NET_DNS_ADDRS_MAX;
             line = strtok_r(NULL, "\n", &rest)) {
            char *address;
            if (line_names(line, name, &address) && read_address(address, family, &addrs[count]))
                count++;
        }
    }
    weft_buf_free(&file);
    return count;
}

/* ---- watches */

struct net_dns_watch {
    net_resolver *resolver;
    net_query *query; /* under way, or NULL */
    weft_timer timer;
    void (*changed)(void *user, const net_answer *answer);
    void *user;
    weft_addr *addrs; /* the last good answer */
    size_t count;
    net_family family;
    uint16_t port;
    bool answered; /* `changed` was called */
    bool failing;  /* the last call told of a failure */
    char name[WEFT_ADDR_HOST];
};

static void again(net_dns_watch *watch, int64_t after) {
    net_loop *loop = net_resolver_loop(watch->resolver);
    weft_timer_arm(net_loop_timers(loop), &watch->timer, net_loop_now(loop) + after);
}

/* Remembers the answer; true when it differs from the last. Without memory it counts as changed. */
static bool remember(net_dns_watch *watch, const net_answer *answer) {
    const size_t size = answer->count * sizeof *answer->addrs;
    bool same = watch->answered && watch->count == answer->count;
    for (size_t i = 0; i < answer->count && same; i++)
        same = weft_addr_equal(&watch->addrs[i], &answer->addrs[i]);
    if (same) return false;
    weft_addr *copy = weft_malloc(size ? size : 1);
    weft_free(watch->addrs);
    watch->addrs = copy;
    watch->count = copy ? answer->count : 0;
    if (copy && size) memcpy(copy, answer->addrs, size);
    return true;
}

static void on_answer(void *user, const net_answer *answer) {
    net_dns_watch *watch = user;
    watch->query = NULL;
    again(watch, answer->error ? net_resolver_retry(watch->resolver) : answer->ttl);
    bool tell;
    if (answer->error) {
        tell = !watch->failing;
        watch->failing = true;
    } else {
        const bool changed = remember(watch, answer);
        tell = changed || watch->failing;
        watch->failing = false;
    }
    watch->answered = true;
    if (tell) watch->changed(watch->user, answer); /* may free the watch */
}

static void ask(weft_timer *timer, int64_t now) {
    net_dns_watch *watch = timer->user;
    (void)now;
    if (watch->query) return;
    if (net_resolve(watch->resolver, watch->name, watch->port, watch->family, on_answer, watch,
                    &watch->query))
        again(watch, net_resolver_retry(watch->resolver));
}

int net_dns_watch_new(net_resolver *resolver, const char *name, uint16_t port, net_family family,
                      void (*changed)(void *user, const net_answer *answer), void *user,
                      net_dns_watch **out) {
    if (strlen(name) >= WEFT_ADDR_HOST) return WEFT_EINVAL;
    net_dns_watch *watch = weft_calloc(1, sizeof *watch);
    if (!watch) return WEFT_ENOMEM;
    watch->resolver = resolver;
    watch->changed = changed;
    watch->user = user;
    watch->family = family;
    watch->port = port;
    (void)snprintf(watch->name, sizeof watch->name, "%s", name);
    weft_timer_init(&watch->timer, ask, watch);
    const int error = net_resolve(resolver, name, port, family, on_answer, watch, &watch->query);
    if (error)
        weft_free(watch);
    else
        *out = watch;
    return error;
}

void net_dns_watch_free(net_dns_watch *watch) {
    if (!watch) return;
    if (watch->query) net_query_cancel(watch->query);
    weft_timer_cancel(&watch->timer);
    weft_free(watch->addrs);
    weft_free(watch);
}
