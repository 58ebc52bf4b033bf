/* A real server in this process, for the tests of lib/rpc: EchoService on a unix socket or a loopback port. */
#ifndef TESTS_RPC_ECHO_H
#define TESTS_RPC_ECHO_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "lib/rpc/transport.h"
#include "test/rpc/v1/echo.weft.h"
#include "weft/rpc.h"

typedef struct echo {
    weft_server *server;
    weft_channel *channel;
    weft_channel *next; /* where a request with hops goes on to; not owned */
    char folder[64];
    atomic_int entered;              /* handlers that began */
    atomic_int left;                 /* and that returned */
    atomic_int cancelled;            /* of these, how many saw a cancellation */
    atomic_int unaware;              /* and in how many the context knew nothing of it */
    const weft_transport *transport; /* of the server, if it is another */
    weft_where unary_on, deferred_on;
    bool deferred_waits;     /* for its cancellation */
    weft_deferred *deferred; /* the last one */
    pthread_t replier;
} echo;

/* The servers' transport: TEST_SERVER_TRANSPORT, else as WEFT_TRANSPORT says. */
const weft_transport *echo_transport(void);

/* Starts with these options (NULL: defaults) on a unix socket, or if `tcp`, on 127.0.0.1:0, and dials it. */
void echo_start(echo *e, const weft_server_options *options, bool tcp);
/* Ends server and channel, and checks that nothing is left alive in lib/rpc. */
void echo_stop(echo *e);
void echo_stop_server(echo *e);

/* Waits until `*counter` is at least `value`; fails the test after 10 s. */
void echo_await(atomic_int *counter, int value);
void assert_nothing_lives(void);
void assert_code(weft_status st, weft_code code);
void assert_status(weft_status st, weft_code code, const char *message);

#define REQUEST(...) (&(Rpctest__EchoRequest){RPCTEST_ECHO_REQUEST(__VA_ARGS__)})

#endif
