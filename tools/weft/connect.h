/* Whether somebody listens at an address, asked of the kernel: no protocol is spoken. */
#ifndef TOOLS_WEFT_CONNECT_H
#define TOOLS_WEFT_CONNECT_H

#include "weft/addr.h"

/* Connects and closes. 0, or a positive errno (ECONNREFUSED, ENOENT, ETIMEDOUT after `timeout_ms`, EADDRNOTAVAIL
 * for a host name that does not resolve). Blocks at most that long, plus the time a name takes to resolve. */
int connect_try(const weft_addr *addr, int timeout_ms);

/* A TCP port of 127.0.0.1 that was free a moment ago; 0 when there is none. */
unsigned connect_free_port(void);

#endif
