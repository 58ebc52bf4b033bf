/* What the two files of the native server share. */
#ifndef RPC_NATIVE_SERVER_H
#define RPC_NATIVE_SERVER_H

#include "native.h"

/* One loop's part of a server. The loop's, once that runs. */
typedef struct nat_listen {
    nat_item item;
    tp_server *server;
    nat_loop *loop;
    net_listener *listeners[NAT_LISTEN_MAX];
    int listener_total, listener_count; /* made; not closed yet */
    weft_list conns;
    weft_list calls; /* that are not over */
    h2_limits limits;
    size_t max_request;
    bool first; /* removes the files of unix sockets */
    bool draining, hurry, drained;
} nat_listen;

void nat_server_on_call(nat_listen *listen, tp_call *call, const tp_request *request);

#endif
