/* An echo server and a client that checks what comes back, over any transport. */
#ifndef TEST_NET_RIG_H
#define TEST_NET_RIG_H

#include "weft/buf.h"
#include "weft/net.h"

#define RIG_REASON 700

typedef struct echo_server {
    net_loop *loop;
    net_listener *listener; /* NULL once closed */
    tls_context *tls;       /* borrowed; NULL: plaintext */
    net_conn_options options;
    uint32_t conns_max;
    bool same_uid;
    int refuse; /* on_accept says no */
    size_t accepted, opened, open, closed;
    size_t eofs;
    char reason[RIG_REASON]; /* of the last close */
    char peer[300];          /* SPIFFE ID of the last that opened */
    int last_error;
} echo_server;

typedef struct echo_client {
    net_conn *conn; /* NULL once closed */
    size_t total;   /* to send; then it waits for all of it and closes */
    size_t sent, received;
    size_t chunk; /* bytes offered at once; 0: 65,536 */
    bool stay;    /* does not close at the end */
    bool bad;     /* something else came back */
    int opened, closed, error;
    size_t unsent;
    char reason[RIG_REASON];
    char peer[300];
} echo_client;

/* Listens at `addr` (real loops: a socket is opened). Asserts. */
void echo_listen(echo_server *server, net_loop *loop, const char *addr, tls_context *tls);
void echo_listen_sim(echo_server *server, net_loop *loop, const char *addr, tls_context *tls);
void echo_listen_on(echo_server *server, net_loop *loop, int fd, tls_context *tls);
/* 0, or net_connect's error. */
int echo_dial(echo_client *client, net_loop *loop, const weft_addr *addr, tls_context *tls,
              size_t total, const net_conn_options *options);

/* What echo_dial and echo_listen give connections that ask for nothing else. Tests on real time set long limits,
 * so that a busy machine does not fail them. */
extern net_conn_options rig_options;

weft_addr rig_addr(const char *text);
/* Turns the loop until `*flag` is not 0; fails after two minutes of real time. */
void rig_until(net_loop *loop, const int *flag);
void rig_until_size(net_loop *loop, const size_t *value, size_t least);
/* A few turns that do not wait. */
void rig_turns(net_loop *loop, int count);

#endif
