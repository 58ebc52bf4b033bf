/* What the files of the native transport share: lib/h2 over lib/net behind the seam.
 *
 * Threads. A nat_loop is one thread with a net_loop; connections, streams, header fields and most of a call
 * belong to it. Operations of the seam run on any thread: they leave what they were given in the call, set a
 * bit in its `ops` and put it on the loop's list of things to do, without locks or memory. The loop takes the
 * list at the beginning of a turn and after everything that may have called an event, so that an
 * operation made inside an event takes effect in the same turn, and never inside the operation.
 *
 * References. Whoever is on the list holds one; a call has one of its owner (until call_free) and one of the
 * loop (from start or arrival until its on_end was given). */
#ifndef RPC_NATIVE_H
#define RPC_NATIVE_H

#include <pthread.h>
#include <stdatomic.h>

#include "transport.h"
#include "weft/clock.h"
#include "weft/h2.h"
#include "weft/http_grpc.h"
#include "weft/list.h"
#include "weft/log.h"
#include "weft/mem.h"
#include "weft/net.h"
#include "weft/net_dns.h"

#define NAT_FEED ((size_t)256 << 10) /* bytes of one message in the engine's hands at a time */
#define NAT_FIELDS_MAX 1000u         /* fields of one header list */
#define NAT_LISTEN_MAX 16            /* addresses of one server */
#define NAT_PEER_TEXT (WEFT_ADDR_TEXT + 16)
#define NAT_EXPIRED_GRACE (5 * WEFT_NS_PER_S) /* of streams whose peer's certificate has expired */

/* ---- things to do */

/* First member of calls, channels and listening servers. `run` gives up the reference of the list. */
typedef struct nat_item {
    struct nat_item *next;
    atomic_uint ops; /* not 0: on the list */
    atomic_uint refs;
    void (*run)(struct nat_item *item, unsigned ops);
    void (*gone)(struct nat_item *item); /* the last reference was given up; any thread */
} nat_item;

void nat_item_init(nat_item *item, unsigned refs, void (*run)(nat_item *item, unsigned ops),
                   void (*gone)(nat_item *item));
void nat_item_ref(nat_item *item);
void nat_item_unref(nat_item *item);

/* ---- loops */

typedef struct nat_loop {
    net_loop *net;
    http_pool *fields;
    h2_env *h2;
    net_resolver *resolver; /* made when a name is dialled first */
    pthread_t thread;
    bool client, running;
    atomic_bool stopping, detached;
    _Atomic(nat_item *) todo; /* newest first */
    net_task drain;
    weft_list
        retired; /* calls that are over, whose loop's reference goes once nobody is inside them */
} nat_loop;

nat_loop *nat_loop_new(bool client); /* NULL: memory or descriptors are out */
int nat_loop_start(nat_loop *loop);
/* Ends its thread, unless called on it: then it ends by itself. The loop is gone. */
void nat_loop_stop(nat_loop *loop);
/* Any thread: item->run(ops) soon on the loop. */
void nat_push(nat_loop *loop, nat_item *item, unsigned op);
/* The loop's thread, not inside the engine: does what there is to do, and lets go of calls that are over. */
void nat_work(nat_loop *loop);

/* ---- connections */

/* Who is at the other end; shared by its connection and calls. */
typedef struct nat_peer {
    atomic_uint refs;
    char text[NAT_PEER_TEXT]; /* "ipv4:127.0.0.1:5000" */
    char identity[];          /* SPIFFE ID or "" */
} nat_peer;
nat_peer *nat_peer_ref(nat_peer *peer);
void nat_peer_unref(nat_peer *peer); /* NULL allowed */

typedef struct nat_conn nat_conn;
typedef struct nat_conn_ops {
    const h2_callbacks *callbacks; /* h2_conn_user is the nat_conn; on_want_write: nat_want_write */
    const h2_limits *(*limits)(nat_conn *conn);
    /* The last call; takes the nat_conn. `reason` is one line. */
    void (*closed)(nat_conn *conn, int error, const char *reason);
} nat_conn_ops;

/* Invariants: h2 from open until just before closed; net until closed. */
struct nat_conn {
    weft_list link; /* of its owner */
    nat_loop *loop;
    net_conn *net;
    h2_conn *h2;
    const nat_conn_ops *ops;
    void *owner;
    h2_role role;
    bool ready;    /* client: the server's SETTINGS came */
    bool draining; /* ends gracefully once it is open */
    nat_peer *peer;
    weft_timer timer, age;
    int64_t expires; /* the peer's certificate does, monotonic ns; INT64_MAX: never */
};
extern const net_handler nat_conn_handler;
nat_conn *nat_conn_new(nat_loop *loop, h2_role role, const nat_conn_ops *ops, void *owner);
void nat_conn_free(nat_conn *conn);
void nat_want_write(h2_conn *conn);
void nat_conn_drain(nat_conn *conn);
void nat_conn_end(nat_conn *conn, const char *why); /* at once, but what is queued goes out */
void nat_limits(h2_limits *limits, size_t max_metadata, int64_t keepalive_ns);

/* ---- headers */

/* A copy in one piece of memory, readable from any thread. */
typedef struct nat_headers {
    size_t count;
    tp_header at[];
} nat_headers;
/* NULL when there are none, or memory is out (*failed). */
nat_headers *nat_headers_copy(const tp_header *list, size_t count, bool *failed);
/* Custom metadata of a received list, "-bin" decoded. */
nat_headers *nat_headers_take(const http_fields *fields, bool *failed);
tp_headers nat_headers_view(const nat_headers *headers);
/* Adds them to a list to be sent; WEFT_ENOMEM, WEFT_ELIMIT. */
int nat_headers_send(const nat_headers *headers, http_fields *fields) WEFT_MUST_USE;

/* ---- compressed messages */

/* Whether grpc-encoding names one that nat_inflate undoes. */
bool nat_knows_encoding(const http_fields *fields);
/* *out: weft_malloc'ed. WEFT_ELIMIT: more than `max` bytes; WEFT_EPARSE: broken; WEFT_ENOMEM. */
int nat_inflate(const uint8_t *data, size_t size, size_t max, uint8_t **out,
                size_t *len) WEFT_MUST_USE;
#define NAT_ENCODINGS "identity, deflate, gzip" /* grpc-accept-encoding */

/* ---- calls */

enum { /* ops, in the order they are done */
       NAT_START = 1,
       NAT_REFUSE = 2,
       NAT_SEND = 4,
       NAT_CLOSE = 8,
       NAT_RECV = 16,
       NAT_WATCH = 32,
       NAT_FINISH = 64,
       NAT_CANCEL = 128,
       NAT_FREE = 256, /* of channels and servers */
       NAT_DRAIN = 512,
       NAT_CANCEL_ALL = 1024
};

/* What is to be sent: a message on its way into the engine. */
typedef struct nat_sending {
    tp_out out;
    size_t at; /* bytes given to the engine, prefix included */
    bool busy, tell;
} nat_sending;

struct tp_call {
    nat_item item;
    nat_loop *loop;
    const tp_call_events *events;
    void *user;
    nat_peer *peer;
    bool server;

    /* Left by operations for the loop. */
    tp_out given;              /* start, send, finish */
    bool has_given, has_first; /* has_first: it is start's */

    /* The loop's from here on, but for what is said otherwise. */
    weft_list link; /* client: of those that wait for a connection; server: of its connection's */
    h2_stream *stream;
    weft_timer deadline_timer;
    int64_t deadline;
    bool started;     /* client: nat_client_begin ran */
    bool over;        /* no more of it; owed events were given */
    bool broken;      /* over before its time */
    bool cancelled;   /* call_cancel */
    bool peer_closed; /* nothing more will be received */
    bool unary;

    nat_sending sending;
    bool close_wanted, closed;

    weft_chain input; /* received and not asked for; not consumed either */
    http_grpc_reader reader;
    uint8_t *message;
    size_t message_len, message_at;
    bool wanted;
    bool squeezable; /* the peer named a compression we know */
    bool squeezed;   /* the message in hand is compressed */
    size_t max_message;

    nat_headers *headers; /* received; any thread once given */
    union {
        struct {
            tp_channel *channel;
            nat_headers *metadata;
            char *path;
            bool wait_for_ready, answered, again;
            nat_headers *trailers;
            char *text;
            tp_end end;
            bool ended; /* `end` is known; unread messages may be left */
            tp_in reply;
            bool has_reply, reply_done;
        } c;
        struct {
            struct nat_listen *owner;
            char *path;
            nat_headers *initial;
            /* by finish */
            nat_headers *trailers;
            char *message;
            int code;
            bool finishing, sent_headers, sent_trailers, watched, told;
        } s;
    } u;
};

/* Gives up the loop's reference, later: who calls this may go on to read the call. */
void nat_retire(tp_call *call);
void nat_call_init(tp_call *call, nat_loop *loop);
void nat_deadline(weft_timer *timer, int64_t now);
/* Gives more of the message to the engine. False: the stream is broken (call ended). */
bool nat_feed(tp_call *call);
void nat_fail_sending(tp_call *call); /* what is on its way will not arrive */
void nat_input(tp_call *call, const weft_slice *data, bool end);
/* Answers a recv if that is possible now. */
void nat_pump(tp_call *call);
/* Gives the owed on_sent and on_message, drops what waits, releases the stream. */
void nat_settle(tp_call *call, bool lost);
/* The call breaks off for a reason of ours; each side's way. */
void nat_break(tp_call *call, tp_cause cause, int code, const char *text);
void nat_call_sent(tp_call *call); /* what was queued went out */
int nat_call_buffer(tp_call *call, size_t size, tp_out *out);
void nat_drop(tp_out *out);

/* native_client.c */
tp_channel *nat_channel_new(const tp_channel_options *options); /* native_channel.c */
void nat_channel_free(tp_channel *channel);
tp_call *nat_call_new(tp_channel *channel, const tp_call_args *args);
void nat_call_start(tp_call *call, tp_out *first, unsigned flags);
void nat_client_break(tp_call *call, tp_cause cause, int code, const char *text);
void nat_client_pumped(tp_call *call);
void nat_client_gone(tp_call *call);
void nat_client_begin(tp_call *call);

/* Opens its stream. WEFT_EAGAIN or WEFT_ECLOSED: not here and now; else it has begun, or broke. */
int nat_client_request(tp_call *call, nat_conn *conn);
extern const h2_callbacks nat_client_callbacks;

/* native_channel.c. Loop's thread but for _loop and _max_reply. */
void nat_channel_submit(tp_channel *channel, tp_call *call); /* begins, waits, or breaks */
nat_loop *nat_channel_loop(const tp_channel *channel);
size_t nat_channel_max_reply(const tp_channel *channel);
/* :authority, :scheme and user-agent of every request; WEFT_ENOMEM. */
int nat_channel_fields(tp_channel *channel, http_fields *fields) WEFT_MUST_USE;
void nat_channel_settings(h2_conn *conn);
void nat_channel_goaway(h2_conn *conn, const h2_goaway_info *info);
void nat_channel_capacity(h2_conn *conn);

/* native_server.c, native_serve.c */
tp_server *nat_server_new(const tp_server_options *options, const tp_server_events *events,
                          void *user);
int nat_server_listen(tp_server *server, weft_addr *address);
int nat_server_start(tp_server *server);
void nat_server_tls(tp_server *server, struct tls_context *tls);
void nat_server_drain(tp_server *server);
void nat_server_cancel_all(tp_server *server);
void nat_server_free(tp_server *server);
void nat_call_accept(tp_call *call, const tp_call_events *events, void *user);
void nat_call_refuse(tp_call *call, int code, const char *message);
void nat_call_headers(tp_call *call, const tp_header *headers, size_t count);
void nat_call_finish(tp_call *call, const tp_finish *finish);
void nat_server_run(tp_call *call, unsigned ops);
void nat_server_break(tp_call *call, int code, const char *text);
void nat_server_fed(tp_call *call);
void nat_server_gone(tp_call *call);
bool nat_server_open_headers(tp_call *call);
extern const h2_callbacks nat_server_callbacks;

#endif
