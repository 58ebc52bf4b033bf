/* Names to addresses, on a loop, through c-ares; /etc/hosts is read first. In simulations names are the
 * simulated hosts'. Loop's thread only.
 *
 * Answers are remembered for their TTL, within bounds, so that many clusters of one name ask once. */
#ifndef WEFT_NET_DNS_H
#define WEFT_NET_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/addr.h"
#include "weft/error.h"
#include "weft/net.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum net_family { NET_ANY, NET_IPV4, NET_IPV6 } net_family;

typedef struct net_resolver net_resolver;

typedef struct net_dns_config {
    const char *servers; /* "127.0.0.1:5353,[::1]:53"; NULL: /etc/resolv.conf's */
    const char *hosts;   /* a file in place of /etc/hosts; NULL: that */
    int64_t timeout;     /* ns a server has to answer one try; 0: 2 s */
    int tries;           /* of each server; 0: 3 */
    int64_t ttl_min;     /* ns an answer is kept at least; 0: 1 s */
    int64_t ttl_max;     /* and at most; 0: 5 min */
    int64_t retry;       /* ns until a watch asks again after a failure; 0: 5 s */
    size_t queries_max;  /* under way at once; 0: 1,024 */
} net_dns_config;

#define NET_DNS_ADDRS_MAX 256u /* addresses kept of one answer */

/* What a name stands for now. Lives during the callback. */
typedef struct net_answer {
    int error; /* 0, WEFT_ENOTFOUND (the name does not exist or has no address), WEFT_ETIMEOUT, … */
    const char *text;       /* one line about the error, with the name; "" without */
    const weft_addr *addrs; /* literals, sorted, no doubles, port as asked */
    size_t count;
    int64_t ttl; /* ns, bounded */
} net_answer;

int net_resolver_new(net_loop *loop, const net_dns_config *config,
                     net_resolver **resolver) WEFT_MUST_USE;

/* Queries and watches must be over. */
void net_resolver_free(net_resolver *resolver);

/* Asks once. `done` runs later, from the loop, unless cancelled. A literal is its own answer. */
typedef struct net_query net_query;
int net_resolve(net_resolver *resolver, const char *name, uint16_t port, net_family family,
                void (*done)(void *user, const net_answer *answer), void *user,
                net_query **query) WEFT_MUST_USE;
void net_query_cancel(net_query *query); /* not after `done` */

/* Asks now and whenever the answer's TTL is over (STRICT_DNS): `changed` is called for the first answer, for an
 * answer that differs from the last, and for the first failure after a success; the last good addresses stay
 * good for whoever wants them. */
typedef struct net_dns_watch net_dns_watch;
int net_dns_watch_new(net_resolver *resolver, const char *name, uint16_t port, net_family family,
                      void (*changed)(void *user, const net_answer *answer), void *user,
                      net_dns_watch **watch) WEFT_MUST_USE;
void net_dns_watch_free(net_dns_watch *watch);

#ifdef __cplusplus
}
#endif
#endif
