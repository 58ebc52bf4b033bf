/* What the files of the resolver share. */
#ifndef NET_RESOLVER_H
#define NET_RESOLVER_H

#include "weft/net_dns.h"

/* Addresses (at most NET_DNS_ADDRS_MAX) that a hosts(5) file has for `name`, in any case. 0 also when the file
 * cannot be read. */
size_t net_hosts_find(const char *path, const char *name, net_family family, weft_addr *addrs);

net_loop *net_resolver_loop(const net_resolver *resolver);
int64_t net_resolver_retry(const net_resolver *resolver);

#endif
