/* Bytes in and out: event loop, listeners, connections, dialling.
 *
 * One loop, one thread; a connection never changes loop. Everything here but net_loop_post and
 * net_loop_wake is called from the loop's thread. A turn of the loop:
 *
 *     wait; read the clock once; note what is ready; posted calls; timers; read; flush; finish closed
 *
 * A connection is written once a turn: net_conn_want_write puts it on the dirty list, and near the end of the
 * turn its handler's on_output fills the chain that is then sent with one call. Nothing is allocated for
 * an idle connection but itself (and its TLS session).
 *
 * The transport below a connection is a socket or the simulated network (net_sim.h); TLS may lie on either.
 * Times are monotonic nanoseconds of the loop's clock. */
#ifndef WEFT_NET_H
#define WEFT_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "weft/addr.h"
#include "weft/chunk.h"
#include "weft/clock.h"
#include "weft/error.h"
#include "weft/timer.h"
#include "weft/tls.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct net_loop net_loop;
typedef struct net_conn net_conn;
typedef struct net_listener net_listener;
struct net_sim;

/* Room for a line that says why something failed. */
#define NET_WHY_SIZE 256
typedef struct net_why {
    char text[NET_WHY_SIZE];
} net_why;

/* ---- loop */

#define NET_READ_MAX 262144u /* bytes of one read, and the default of read_budget */

typedef struct net_loop_config {
    const weft_clock *clock; /* NULL: the system's; with `sim` the simulation's */
    weft_chunk_pool *chunks; /* NULL: the loop makes its own */
    struct net_sim *sim;     /* NULL: real sockets */
    const char *host;        /* with sim: the name of the simulated host */
    size_t read_budget;      /* bytes read from one connection in one turn; 0: NET_READ_MAX */
    size_t post_max;         /* calls waiting from other threads; 0: 65,536 */
    int64_t spin;            /* ns to poll before sleeping; 0: none */
    /* Called at the beginning of each turn with its time, before anything else; may be NULL. */
    void (*on_turn)(void *user, int64_t now);
    void *user;
} net_loop_config;

/* X(name, what) counters and gauges of a loop */
#define NET_STATS(X)                                              \
    X(turns, "turns of the loop")                                 \
    X(accepted, "connections accepted")                           \
    X(accept_errors, "accept calls that failed")                  \
    X(refused_peers, "connections refused: limit, or peer's uid") \
    X(dialled, "connections begun")                               \
    X(dial_errors, "connections that never opened")               \
    X(tls_failures, "TLS sessions that failed")                   \
    X(reads, "read calls")                                        \
    X(writes, "write calls")                                      \
    X(bytes_in, "bytes received")                                 \
    X(bytes_out, "bytes sent")                                    \
    X(requeued, "connections put off by the read budget")         \
    X(posted, "calls from other threads")                         \
    X(post_refused, "calls refused above post_max")               \
    X(closed, "connections closed")

typedef struct net_stats {
#define X(name, text) uint64_t name;
    NET_STATS(X)
#undef X
    size_t conns;     /* alive, lingering ones too */
    size_t lingering; /* closed by their handler, last bytes on their way */
    size_t listeners;
} net_stats;

int net_loop_new(const net_loop_config *config, net_loop **loop) WEFT_MUST_USE;

/* Closes what is open: handlers get on_close. Not from inside a callback. */
void net_loop_free(net_loop *loop);

/* Turns until net_loop_stop. 0, or WEFT_EIO. */
int net_loop_run(net_loop *loop) WEFT_MUST_USE;
void net_loop_stop(net_loop *loop);

/* One turn that waits at most `max_wait` ns (0: does not wait). 0, or WEFT_EIO. */
int net_loop_turn(net_loop *loop, int64_t max_wait) WEFT_MUST_USE;

int64_t net_loop_now(const net_loop *loop); /* the time of this turn */
weft_timer_wheel *net_loop_timers(net_loop *loop);
weft_chunk_pool *net_loop_chunks(net_loop *loop);
const weft_clock *net_loop_clock(const net_loop *loop);
const net_stats *net_loop_stats(const net_loop *loop);

/* Any thread: `call(user)` runs in a later turn, in the order posted. WEFT_ELIMIT above post_max, WEFT_ENOMEM.
 * Calls not yet run when the loop is freed are run then. */
int net_loop_post(net_loop *loop, void (*call)(void *user), void *user) WEFT_MUST_USE;

/* Any thread, and signal handlers: the loop turns now. */
void net_loop_wake(net_loop *loop);

/* Runs `fire` once at the end of this turn (or the next, when called from there): for frees that must not happen
 * under a caller. Caller-owned; in one list at a time; calling it again before it ran changes nothing. */
typedef struct net_task {
    weft_list link;
    void (*fire)(struct net_task *task);
} net_task;
void net_task_init(net_task *task, void (*fire)(net_task *task));
void net_loop_defer(net_loop *loop, net_task *task);
void net_task_cancel(net_task *task);

/* A descriptor that is none of ours (signalfd, another library's socket), level-triggered. Caller-owned; stop it
 * before closing the descriptor. Not in simulations: WEFT_EUNSUPPORTED. */
#define NET_READABLE 1u
#define NET_WRITABLE 2u
typedef struct net_watch {
    net_loop *loop; /* private; NULL: not watching */
    int fd;
    unsigned events;
    unsigned pending;                                        /* private */
    weft_list link;                                          /* private */
    void (*ready)(struct net_watch *watch, unsigned events); /* errors count as both */
    void *user;
} net_watch;
int net_watch_start(net_loop *loop, net_watch *watch, int fd, unsigned events,
                    void (*ready)(net_watch *watch, unsigned events), void *user) WEFT_MUST_USE;
int net_watch_change(net_watch *watch, unsigned events) WEFT_MUST_USE;
void net_watch_stop(net_watch *watch); /* harmless when not watching */

/* ---- connections */

/* What the owner of a connection is told. on_input and on_close must be set. Callbacks may call anything on
 * any connection; none is called from inside a call of the owner's, all come from the loop. */
typedef struct net_handler {
    /* Ready for use: connected, and the TLS handshake through (net_conn_info tells with whom). */
    void (*on_open)(net_conn *conn);

    /* Bytes arrived, plaintext under TLS. They are valid during the call, or longer if `chunk` is not NULL and a
     * reference is taken. 0, or negative: output is flushed and the connection closed (net_conn_close with a
     * reason says more). */
    int (*on_input)(net_conn *conn, const uint8_t *data, size_t size, weft_chunk *chunk);

    /* The peer sends no more. 0 keeps the connection open for output; negative, or no on_eof: flush and
     * close. */
    int (*on_eof)(net_conn *conn);

    /* Append to `out` what is to be sent; out->bytes tells what still waits. Called once a turn after
     * net_conn_want_write, and again when what waited made progress. Negative: flush and close. */
    int (*on_output)(net_conn *conn, weft_chain *out);

    /* The last call: the connection is over (error 0: closed in order, by either side). `reason` is one line
     * with the peer's address and, for TLS, the rule that failed. net_conn_unsent may still be asked. The
     * pointer is invalid afterwards. */
    void (*on_close)(net_conn *conn, int error, const char *reason);
} net_handler;

typedef struct net_creds { /* of the peer of a unix socket (SO_PEERCRED, unix(7)) */
    bool known;
    pid_t pid;
    uid_t uid;
    gid_t gid;
} net_creds;

typedef struct net_conn_info {
    bool open;
    bool dialled;    /* by us; else accepted */
    weft_addr peer;  /* WEFT_ADDR_NONE for an unnamed unix peer */
    weft_addr local; /* the address accepted on or dialled from */
    net_creds creds;
    const tls_session *tls; /* NULL: plaintext; lives as long as the connection */
    uint64_t bytes_in;      /* of the transport */
    uint64_t bytes_out;
    size_t pending; /* bytes of output that wait for the peer */
    int64_t opened; /* when it became open, 0 before */
} net_conn_info;

/* Limits and habits of a connection; zeroed fields take the defaults. */
typedef struct net_conn_options {
    int64_t open_timeout;   /* to connect and handshake; 0: 10 s */
    int64_t linger_timeout; /* to flush and see the peer's end after a close; 0: 2 s */
    int keepalive_idle; /* seconds until TCP asks whether the peer is there; 0: 30; < 0: never */
} net_conn_options;

void net_conn_set_user(net_conn *conn, void *user);
void *net_conn_user(const net_conn *conn);
net_loop *net_conn_loop(const net_conn *conn);
net_conn_info net_conn_get_info(const net_conn *conn);

/* Only inside on_accept: whose connection it is; that TLS is spoken (a server context; referenced). */
void net_conn_set_handler(net_conn *conn, const net_handler *handler, void *user);
int net_conn_set_tls(net_conn *conn, tls_context *context) WEFT_MUST_USE;
void net_conn_set_options(net_conn *conn, const net_conn_options *options);

/* on_output will be called near the end of this turn. Before the connection is open: once it is. */
void net_conn_want_write(net_conn *conn);

/* Stops and resumes reading (the kernel then slows the peer). */
void net_conn_pause(net_conn *conn, bool paused);

/* Closes in order: on_output once more, all output sent, close_notify, our half closed, then on_close; what the
 * peer still sends is dropped for a moment so that it does not lose our last bytes to a reset. `reason` (copied;
 * may be NULL) is given to on_close. */
void net_conn_close(net_conn *conn, int error, const char *reason);

/* Closes now; a TCP peer sees a reset. on_close comes at the end of the turn. */
void net_conn_abort(net_conn *conn, int error, const char *reason);

/* How many bytes that on_output gave were certainly never sent (under TLS: never encrypted). */
size_t net_conn_unsent(const net_conn *conn);

/* ---- dialling */

typedef struct net_dial {
    const weft_addr *addr; /* a literal or a unix socket; names are for net_dns.h */
    const net_handler *handler;
    void *user;
    tls_context *tls; /* a client context, or NULL */
    net_conn_options options;
} net_dial;

/* Begins to connect; on_open or on_close follows, never from inside this call. To cancel: net_conn_abort.
 * WEFT_EINVAL: no such address can be dialled; WEFT_ENOMEM; WEFT_ELIMIT: out of descriptors. */
int net_connect(net_loop *loop, const net_dial *dial, net_conn **conn, net_why *why) WEFT_MUST_USE;

/* ---- listening */

typedef struct net_socket_options {
    int backlog;           /* 0: 1,024 */
    bool public_directory; /* unix: let the socket lie in a directory others may enter */
    int mode;              /* unix: permissions of the socket; 0: 0600 */
} net_socket_options;

/* Opens a listening socket: SO_REUSEADDR, never SO_REUSEPORT. A unix path must lie in a directory of ours
 * that is closed to others (0700); a stale socket there is replaced, a live one is WEFT_EBUSY. */
int net_socket_listen(const weft_addr *addr, const net_socket_options *options, int *fd,
                      net_why *why) WEFT_MUST_USE;

/* 0 when `path`'s directory is ours and closed to others; else WEFT_EINVAL (or WEFT_ENOTFOUND) and the line. */
int net_check_private(const char *path, net_why *why) WEFT_MUST_USE;

typedef struct net_listen {
    const weft_addr *addr; /* of the simulation; for sockets NULL is fine: asked of `fd` */
    int fd; /* a listening socket, taken over: opened here, by a parent, or handed over. Several
                            * loops may listen through dup(2)s of one */
    bool same_uid;      /* unix: refuse peers that are neither root nor of our uid */
    uint32_t conns_max; /* connections alive from this listener; 0: 65,536. Above: not accepted */
    /* A connection came: call net_conn_set_handler, perhaps _set_tls and _set_options. Negative: refused. */
    int (*on_accept)(net_listener *listener, net_conn *conn);
    /* The listener was drained or closed and its descriptor is closed; may be NULL. */
    void (*on_closed)(net_listener *listener);
    void *user;
} net_listen;

int net_listener_new(net_loop *loop, const net_listen *listen, net_listener **listener,
                     net_why *why) WEFT_MUST_USE;
void *net_listener_user(const net_listener *listener);
weft_addr net_listener_addr(const net_listener *listener); /* with the port that was chosen */
int net_listener_fd(const net_listener *listener);         /* to hand over; -1 in simulations */
size_t net_listener_conns(const net_listener *listener);

/* Does not accept for now; what comes waits in the backlog. */
void net_listener_pause(net_listener *listener, bool paused);

/* Ends it: accepts until the backlog is empty, then closes the descriptor (contracts.md "Processes"), and, with
 * `unlink_path`, removes the file of a unix socket. Connections live on. */
void net_listener_drain(net_listener *listener, bool unlink_path);

/* Ends it at once: whoever waits in the backlog is reset if no one else has the descriptor. */
void net_listener_close(net_listener *listener);

#ifdef __cplusplus
}
#endif
#endif
