/* What the files of lib/net share. The loop owns connections and listeners; transports (socket.c, sim.c) tell
 * it what is ready through net_conn_notify and net_listener_notify and are asked for bytes through net_io. */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "weft/list.h"
#include "weft/net.h"
#include "weft/net_sim.h"

#define NET_RX_CHUNKS (NET_READ_MAX / WEFT_CHUNK_SIZE)
#define NET_IOV_MAX 256
#define NET_ACCEPT_BUDGET 64
#define NET_FLUSH_BUDGET 262144 /* bytes written to one connection in one turn */
#define NET_TLS_BATCH 131072    /* plaintext encrypted before a write */
#define NET_LINGER_BYTES 1048576
#define NET_ACCEPT_PAUSE (100 * WEFT_NS_PER_MS) /* after running out of descriptors */
#define NET_OPEN_TIMEOUT (10 * WEFT_NS_PER_S)
#define NET_LINGER_TIMEOUT (2 * WEFT_NS_PER_S)

/* Bytes in and out of one connection. Results: a count >= 0 or -errno, -EAGAIN when it must wait (a
 * notification follows). */
typedef struct net_io {
    int64_t (*readv)(net_conn *conn, const struct iovec *iov, int count); /* 0: the end */
    int64_t (*writev)(net_conn *conn, const struct iovec *iov, int count);
    int (*connected)(net_conn *conn); /* the outcome of a connect: 0 or -errno */
    void (*shut)(net_conn *conn);     /* our half */
    void (*close)(net_conn *conn, bool reset);
} net_io;

#define NET_EV_READ 1u
#define NET_EV_WRITE 2u
#define NET_EV_END 4u /* the peer's half is closed, or an error waits: read until it shows */

typedef enum net_state {
    NET_CONNECTING,
    NET_HANDSHAKE, /* TLS */
    NET_OPEN,
    NET_FLUSHING,  /* closed by the owner or by a failure; output is on its way */
    NET_LINGERING, /* on_close was called; waiting for the peer's end */
    NET_DEAD       /* transport closed; on_close and free at the end of the turn */
} net_state;

typedef struct net_tls {
    tls_session *session;
    weft_chain plain; /* given by on_output, not yet encrypted */
} net_tls;

/* An address without its text, so that idle connections stay small. */
typedef struct net_peer {
    uint8_t kind; /* weft_addr_kind */
    uint16_t port;
    uint8_t ip[16];
    char *path; /* unix: heap, or NULL */
} net_peer;

/* Invariants: state NET_DEAD <=> in loop->closing, else in loop->conns; `ready` is in loop->ready only if
 * events != 0; a dead connection is in neither loop->ready nor loop->dirty; told <=> on_close was called, and
 * then no other callback comes. */
struct net_conn {
    net_loop *loop;
    const net_io *io;
    const net_handler *handler;
    void *user;
    int fd;              /* sockets */
    struct sim_end *end; /* simulations */
    net_tls *tls;
    weft_chain out; /* for the transport */
    weft_list all;
    weft_list ready;
    weft_list dirty;
    weft_timer timer;       /* to open; to flush and linger */
    net_listener *listener; /* NULL: dialled, or the listener is gone */
    weft_list of_listener;
    net_conn_options options;
    uint64_t bytes_in;
    uint64_t bytes_out;
    int64_t opened;
    char *reason;
    int error;
    int write_error; /* errno of a failed write, kept until the input is read */
    net_peer peer;
    uint8_t state; /* net_state */
    uint8_t events;
    uint8_t read_class; /* log2 of the chunks to read */
    bool dialled : 1;
    bool wanted : 1;  /* on_output is due */
    bool blocked : 1; /* the transport takes no more until NET_EV_WRITE */
    bool paused : 1;
    bool ended : 1; /* the peer's half is closed */
    bool shut : 1;  /* ours is */
    bool told : 1;
    bool failed : 1; /* no more on_output: the session or transport is broken */
    bool said : 1;   /* a reason was given */
    bool was_open : 1;
    bool bye : 1; /* close_notify was given out */
};

struct net_listener {
    net_loop *loop;
    net_listen config;
    weft_addr addr;
    int fd;
    weft_list all;
    weft_list ready;
    weft_list conns;
    weft_list of_host; /* simulations */
    weft_list backlog; /* simulations */
    size_t conn_count;
    weft_timer retry;
    bool simulated : 1;
    bool watched : 1;
    bool paused : 1;
    bool draining : 1;
    bool closed : 1;
    bool unlink_path : 1;
    net_task end;
};

typedef struct net_call {
    struct net_call *next;
    void (*call)(void *user);
    void *user;
} net_call;

struct net_loop {
    net_loop_config config;
    const weft_clock *clock;
    int epoll;
    int wake; /* eventfd */
    int64_t now;
    weft_timer_wheel timers;
    weft_chunk_pool *chunks;
    bool own_chunks;
    bool stopping;
    bool turning; /* `now` is this turn's; else it may be old */
    bool freeing;
    weft_list conns;
    weft_list ready;
    weft_list dirty;
    weft_list closing;
    weft_list tasks;
    weft_list listeners;
    weft_list listeners_ready;
    weft_list watches_ready;
    weft_chunk *rx[NET_RX_CHUNKS]; /* to read into; NULL: taken by someone */
    uint8_t *scratch;              /* NET_READ_MAX: ciphertext, and reads when chunks are out */
    uint8_t *plain_scratch;        /* TLS_RECORD_MAX, likewise */
    net_stats stats;
    struct sim_host *host; /* simulations */
    weft_list of_sim;
    /* From other threads. */
    pthread_mutex_t lock;
    net_call *posted; /* under lock */
    net_call **posted_tail;
    size_t post_count;
    uint64_t post_refused;
    atomic_bool woken;
};

/* loop.c */
bool net_loop_busy(net_loop *loop); /* a turn would do something now */
int net_listener_watch(net_listener *listener, bool on);
void net_why_set(net_why *why, const char *format, ...) WEFT_PRINTF(2, 3);

/* conn.c: life of a connection */
net_conn *net_conn_new(net_loop *loop, const net_io *io);
void net_conn_notify(net_conn *conn, unsigned events);
void net_conn_opening(net_conn *conn); /* begins the time limit */
void net_conn_begin(net_conn *conn);   /* the transport is connected */
void net_conn_opened(net_conn *conn);
void net_conn_fail(net_conn *conn, int error, const char *format, ...) WEFT_PRINTF(3, 4);
void net_conn_kill(net_conn *conn, bool reset);
void net_conn_tell(net_conn *conn);
void net_conn_free(net_conn *conn);
void net_conn_free_unborn(net_conn *conn);
const char *net_conn_name(const net_conn *conn, char out[WEFT_ADDR_TEXT]);

/* conn_io.c */
void net_conn_process(net_conn *conn);
void net_conn_flush(net_conn *conn);

/* socket.c */
extern const net_io net_socket_io;
int net_socket_connect(net_conn *conn, const net_dial *dial, net_why *why);
int net_socket_watch(net_conn *conn);
void net_socket_tune(const net_conn *conn);
weft_addr net_socket_local(const net_conn *conn);
net_creds net_socket_creds(const net_conn *conn);
int net_accept(net_listener *listener, net_conn **conn); /* WEFT_EAGAIN: the backlog is empty */
int net_addr_to_sockaddr(const weft_addr *addr, struct sockaddr_storage *out, socklen_t *size);
void net_sockaddr_to_addr(const struct sockaddr_storage *in, socklen_t size, weft_addr *out);
void net_peer_set(net_peer *peer, const weft_addr *addr);
weft_addr net_peer_addr(const net_peer *peer);

/* listener.c */
void net_listener_notify(net_listener *listener);
void net_listener_process(net_listener *listener);
bool net_listener_admit(net_listener *listener, net_conn *conn); /* false: refused, conn freed */
void net_listener_free(net_listener *listener);

/* sim.c */
int net_sim_attach(net_loop *loop); /* WEFT_ENOMEM */
void net_sim_detach(net_loop *loop);
int net_sim_listen(net_listener *listener, net_why *why);
int net_sim_accept(net_listener *listener, net_conn **conn); /* WEFT_EAGAIN */
void net_sim_unlisten(net_listener *listener);
int net_sim_connect(net_conn *conn, const net_dial *dial, net_why *why);
const char *net_sim_lookup(const net_sim *sim, const char *name);
weft_addr net_sim_local(const net_conn *conn);

#endif
