/* A connection that speaks HTTP/2: a net_conn and the h2_conn on top of it, either role.
 * It does not outlive its peer's certificate (contracts.md "Joining"): it is drained then, and what is
 * still open WIRE_GRACE later is cut off.
 *
 * It moves bytes between the two, keeps the engine's deadline in a timer, writes once a turn of the
 * loop, and takes both down together. Embedded at the front of whoever owns it; one worker's. */
#ifndef SIDECAR_UPSTREAM_WIRE_H
#define SIDECAR_UPSTREAM_WIRE_H

#include <stdbool.h>

#include "sidecar/config/config.h"
#include "weft/h2.h"
#include "weft/net.h"

/* What streams get when the peer's certificate has expired, ns. */
#define WIRE_GRACE INT64_C(5000000000)

typedef struct wire wire;

typedef struct wire_ops {
    /* The transport is ready (under TLS: with a peer that was accepted) and h2 exists. May be NULL. */
    void (*open)(wire *w);
    /* It grew too old, or its peer's certificate did: it ends gracefully. May be NULL. */
    void (*ending)(wire *w);
    /* The last call: every stream was told, `net` and `h2` are gone. `reason` is one line; `error`
     * is 0 when it ended in order. */
    void (*closed)(wire *w, int error, const char *reason);
} wire_ops;

/* Invariants: h2 != NULL from open until just before closed; net != NULL until closed. */
struct wire {
    net_conn *net;
    h2_conn *h2;
    h2_env *env;
    const wire_ops *ops;
    const h2_limits *limits;       /* must outlive it */
    const h2_callbacks *callbacks; /* of the streams, with wire_want_write as on_want_write */
    h2_role role;
    int64_t max_age; /* ns after which it ends gracefully; 0: none */
    weft_timer timer;
    weft_timer age;  /* max_age, or the end of the peer's certificate, then of its grace */
    int64_t expires; /* that end, monotonic ns; INT64_MAX: none */
};

/* Fills everything but `net`. h2_conn_user is the wire. */
void wire_init(wire *w, h2_role role, h2_env *env, const h2_limits *limits,
               const h2_callbacks *callbacks, const wire_ops *ops);

/* The handler for net_connect and net_conn_set_handler, with the wire as user. */
extern const net_handler wire_handler;

/* For h2_callbacks.on_want_write. */
void wire_want_write(h2_conn *conn);

/* Graceful end: GOAWAY, streams may finish. Before it is open: at once. */
void wire_drain(wire *w);

/* What connections hold now: sums, for metrics. */
typedef struct wire_sum {
    uint64_t streams;  /* open */
    uint64_t buffered; /* bytes received that nobody has taken yet */
    uint64_t queued;   /* bytes to be sent: of streams, of the connection, of its transport */
    int64_t send_window, receive_window; /* of connections, not of streams */
} wire_sum;
/* Adds one; before it is open there is nothing to add. */
void wire_add(const wire *w, wire_sum *sum);

/* What the configuration says, as the engine wants it. `inbound`: the peer opens streams. */
void wire_limits(const config_h2 *config, bool inbound, h2_limits *limits);

#endif
