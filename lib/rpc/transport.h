/* The seam between the gRPC API and what moves its bytes.
 *
 * Above it: contexts, typed messages, handlers, limits. Below it: a transport that knows connections, calls,
 * headers and length-prefixed messages and nothing of protobuf. `core` (gRPC C-core) is one; `native` (lib/h2
 * over lib/net) is another. No type of either crosses this line.
 *
 * Threads. Operations may be called from any thread; for one call at most one send-side operation (start,
 * send, close_send, finish) and one recv may be under way at a time. Events come from the transport's loop
 * threads, one at a time for a given call, and must not block. No operation ever calls an event before it
 * returns on the calling thread, so locks may be held around operations.
 *
 * Order. Every recv is answered by one on_message and every send by one on_sent, also when the call is over.
 * on_end comes exactly once per started (client) or finished (server) call; on_message and on_sent that are
 * still owed may come before or after it. call_free only when nothing is owed any more.
 *
 * Copies. A received message is a span the transport owns until it is released; a message to send is packed
 * into memory the transport gave out for it. */
#ifndef RPC_TRANSPORT_H
#define RPC_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/addr.h"
#include "weft/error.h"

struct tls_context;
typedef struct tp_channel tp_channel;
typedef struct tp_server tp_server;
typedef struct tp_call tp_call;

/* One metadata entry. Keys are lower case; values of "-bin" keys are the bytes themselves, not base64.
 * Neither ends in '\0'. */
typedef struct tp_header {
    const char *key;
    size_t key_len;
    const void *value;
    size_t value_len;
} tp_header;

/* Headers in whatever form the transport keeps them: read one at a time, nothing is converted up front. */
typedef struct tp_headers {
    const void *list;
    size_t count;
    void (*at)(const void *list, size_t index, tp_header *out);
} tp_headers;

/* Memory for one outgoing message. Fill data[0..len) before the struct is moved: small messages live inside
 * it. Given to exactly one of start, send, finish or drop. */
typedef struct tp_out {
    uint8_t *data;
    size_t len;
    uintptr_t opaque[4];
} tp_out;

/* A received message; data is never NULL for one, also if len is 0. Give it to release once. */
typedef struct tp_in {
    const uint8_t *data;
    size_t len;
    uintptr_t opaque[2];
} tp_in;

/* Who ended a call. For the local reasons the text above the seam names method and target. */
typedef enum tp_cause {
    TP_PEER = 0,  /* the other side, or unknown: code and message are as received */
    TP_DEADLINE,  /* ours passed */
    TP_CANCELLED, /* call_cancel */
    TP_CONNECT,   /* no connection; the message says why */
    TP_TOO_LARGE  /* a received message was over its limit */
} tp_cause;

/* How a call ended. Text and trailers live until call_free. */
typedef struct tp_end {
    tp_cause cause;
    int code; /* 0-16; the server's own view: OK, or CANCELLED when the caller did not get the outcome */
    const char *message; /* not '\0'-terminated */
    size_t message_len;
    tp_headers trailers;
} tp_end;

typedef struct tp_call_events {
    /* Client: the response's headers; they live until call_free. Not called when there were none. */
    void (*on_headers)(void *user, const tp_headers *headers);
    /* What recv asked for. `message` is the callee's; NULL when there is no more: `lost` false after a
     * half-close or the end, true when the call broke off, so that what came may not be all. */
    void (*on_message)(void *user, tp_in *message, bool lost);
    /* The message passed flow control, or never will. */
    void (*on_sent)(void *user, bool ok);
    void (*on_end)(void *user, const tp_end *end);
    /* Server, after watch: the caller has gone or its deadline has passed. Before on_end, at most once. */
    void (*on_cancel)(void *user);
} tp_call_events;

typedef struct tp_channel_options {
    weft_addr address;     /* not WEFT_ADDR_NONE */
    const char *authority; /* NULL: from the address */
    int64_t keepalive_ns;  /* 0: off */
    size_t max_reply;      /* default limit of one received message */
    size_t max_metadata;
    struct tls_context *tls; /* NULL: plaintext; only where has_tls */
} tp_channel_options;

typedef struct tp_call_args {
    const char *path;
    int64_t deadline;         /* monotonic ns, or WEFT_NO_DEADLINE */
    const tp_header *headers; /* copied */
    size_t header_count;
    size_t max_reply; /* limit of one received message of this call; 0: the channel's */
    bool wait_for_ready;
    const tp_call_events *events; /* on_cancel unused */
    void *user;
} tp_call_args;

enum {
    TP_CLOSE = 1, /* half-close after the first message */
    TP_UNARY =
        2 /* one reply: on_headers, on_message (with NULL when there is none) and on_end come by
                   * themselves, in this order, from one thread in one go; no recv */
};

/* What a call asks for. Lives until call_free, but read it during on_call: it is the transport's. */
typedef struct tp_request {
    const char *path; /* not '\0'-terminated */
    size_t path_len;
    int64_t deadline; /* monotonic ns, or WEFT_NO_DEADLINE */
    tp_headers headers;
} tp_request;

typedef struct tp_finish {
    tp_out *reply; /* or NULL */
    int code;
    const char *message;       /* '\0'-terminated, or NULL */
    const tp_header *trailers; /* copied */
    size_t trailer_count;
} tp_finish;

typedef struct tp_server_options {
    int loops;
    size_t max_request;
    size_t max_metadata;
    struct tls_context *tls; /* NULL: plaintext; only where has_tls */
} tp_server_options;

typedef struct tp_server_events {
    /* A new call. Accept it (call_accept) before anything else; then recv, watch, send or finish, now or
     * later. Every accepted call must be finished. */
    void (*on_call)(void *user, tp_call *call, const tp_request *request);
    /* After server_drain: the last call and connection are gone. */
    void (*on_drained)(void *user);
} tp_server_events;

typedef struct weft_transport {
    const char *name;
    bool has_tls;

    /* ---- client. NULL: memory or another resource is out. */
    tp_channel *(*channel_new)(const tp_channel_options *options);
    void (*channel_free)(tp_channel *channel); /* after its calls were freed; any thread */
    tp_call *(*call_new)(tp_channel *channel, const tp_call_args *args);
    /* `first` may be NULL. TP_UNARY implies TP_CLOSE. */
    void (*call_start)(tp_call *call, tp_out *first, unsigned flags);
    void (*call_close_send)(tp_call *call);

    /* ---- both sides */
    int (*call_buffer)(tp_call *call, size_t size, tp_out *out); /* WEFT_ENOMEM */
    void (*drop)(tp_out *out);
    void (*release)(tp_in *message);
    /* `more`: another message follows at once, so this one may wait for it. */
    void (*call_send)(tp_call *call, tp_out *message, bool more);
    void (*call_recv)(tp_call *call);
    void (*call_cancel)(
        tp_call *call); /* any thread, any time before call_free, any number of times */
    void (*call_free)(tp_call *call);

    /* ---- server */
    tp_server *(*server_new)(const tp_server_options *options, const tp_server_events *events,
                             void *user);
    /* Binds. A port 0 in `address` is replaced by the real one. WEFT_EIO when it cannot. */
    int (*server_listen)(tp_server *server, weft_addr *address);
    int (*server_start)(tp_server *server); /* from here on events come */
    /* For connections from now on; referenced; any thread. NULL without has_tls. */
    void (*server_tls)(tp_server *server, struct tls_context *tls);
    void (*server_drain)(tp_server *server);      /* GOAWAY, no new calls; once; then on_drained */
    void (*server_cancel_all)(tp_server *server); /* after drain */
    void (*server_free)(
        tp_server *server); /* never started, or after on_drained; joins its threads */
    void (*call_accept)(tp_call *call, const tp_call_events *events, void *user);
    /* Instead of accept, when memory is out: the best that can be done without any; then it is gone. */
    void (*call_refuse)(tp_call *call, int code, const char *message);
    void (*call_watch)(
        tp_call *call); /* from now on on_cancel may come; before finish, once at most */
    /* Initial metadata to go out with the first message or with the end; copied; once at most. */
    void (*call_headers)(tp_call *call, const tp_header *headers, size_t count);
    void (*call_finish)(tp_call *call, const tp_finish *finish); /* no send may be under way */
    /* "ipv4:127.0.0.1:5000", "unix:…"; "" when unknown. Writes at most `size` bytes. */
    void (*call_peer)(tp_call *call, char *out, size_t size);
    /* The SPIFFE ID the peer proved, or NULL; lives as long as the call. NULL without has_tls. */
    const char *(*call_identity)(tp_call *call);
} weft_transport;

/* C-core's, in libweft-core. Weak above: a program that does not link it gets a sentence instead. */
extern const weft_transport weft_transport_core;
extern const weft_transport weft_transport_native;

/* For transports: the calling thread is a loop that client calls depend on, so blocking in it would wait
 * for itself. The blocking API refuses to. */
void rpc_loop_enter(void);

#endif
