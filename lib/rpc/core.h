/* What the files of the C-core transport share. The only files of Weft that know C-core's types.
 *
 * Every tag in a completion queue is a core_tag: a functor that its loop runs. A batch under way holds a
 * reference to its call; the owner above the seam holds one more until call_free. */
#ifndef RPC_CORE_H
#define RPC_CORE_H

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice_buffer.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdatomic.h>

#include "transport.h"
#include "weft/clock.h"
#include "weft/list.h"
#include "weft/log.h"
#include "weft/mem.h"

typedef grpc_completion_queue_functor core_tag;

/* What happens before a batch is started happens before its tag runs. C-core sees to it with atomics that
 * ThreadSanitizer, for want of an instrumented C-core, does not see: it is told. */
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define CORE_BEFORE(tag) __tsan_release(tag)
#define CORE_AFTER(tag) __tsan_acquire(tag)
#else
#define CORE_BEFORE(tag) ((void)(tag))
#define CORE_AFTER(tag) ((void)(tag))
#endif

/* A completion queue and the one thread that runs it. */
typedef struct core_loop {
    grpc_completion_queue *queue;
    pthread_t thread;
    bool running;
    bool client;
} core_loop;

/* Used by one send-side operation at a time, by one recv at a time; events run on its loop's only thread. */
struct tp_call {
    grpc_call *call;
    atomic_uint refs;
    atomic_bool cancelled; /* by call_cancel */
    const tp_call_events *events;
    void *user;
    core_tag send_tag, recv_tag;
    grpc_byte_buffer sending; /* its slices until send_tag */
    grpc_byte_buffer *received;
    grpc_metadata_array headers; /* the peer's initial metadata */
    bool server;
    union {
        struct {
            core_tag start_tag, headers_tag, status_tag, close_tag;
            grpc_metadata_array trailers;
            grpc_status_code code;
            grpc_slice message;
            int64_t deadline;
            size_t limit;            /* C-core's, for one received message */
            size_t largest;          /* message sent */
            grpc_metadata *metadata; /* to send; values are referenced */
            size_t metadata_count;
            uint32_t flags;
        } c;
        struct {
            core_tag accept_tag, finish_tag, watch_tag;
            tp_server *owner;
            core_loop *loop;
            grpc_call_details details;
            grpc_metadata *initial; /* to send; values are referenced */
            size_t initial_count;
            int cancelled;
            bool headers_sent, watched, closed, finished, failed;
        } s;
    } u;
};

/* Sets C-core up, once for the life of the process. Its threads start with all signals blocked. */
void core_begin(void);

int core_loop_start(core_loop *loop, bool client);
/* Shuts the queue down and waits for its thread, unless called on it; the queue is gone afterwards. */
void core_loop_stop(core_loop *loop);

/* Starts a batch, holding a reference for its tag. */
void core_batch(tp_call *call, const grpc_op *ops, size_t count, core_tag *tag);
void core_ref(tp_call *call);
void core_unref(tp_call *call);

/* Turns headers into metadata; values are copied. NULL when there are none or memory is out. */
grpc_metadata *core_metadata(const tp_header *headers, size_t count);
void core_metadata_free(grpc_metadata *list, size_t count);
tp_headers core_headers(const grpc_metadata_array *list);

gpr_timespec core_time(int64_t ns);
int64_t core_ns(gpr_timespec time);

/* A SEND_MESSAGE operation whose bytes are held in call->sending. */
grpc_op core_send_op(tp_call *call, tp_out *message, uint32_t flags);
/* Hands call->received, or NULL, to on_message. */
void core_deliver(tp_call *call, bool ok);

int core_call_buffer(tp_call *call, size_t size, tp_out *out);
void core_drop(tp_out *out);
void core_release_message(tp_in *message);
void core_call_recv(tp_call *call);
void core_call_cancel(tp_call *call);
void core_send_done(core_tag *tag, int ok);

/* core_client.c */
tp_channel *core_channel_new(const tp_channel_options *options);
void core_channel_free(tp_channel *channel);
tp_call *core_call_new(tp_channel *channel, const tp_call_args *args);
void core_call_start(tp_call *call, tp_out *first, unsigned flags);
void core_call_close_send(tp_call *call);

/* core_server.c */
tp_server *core_server_new(const tp_server_options *options, const tp_server_events *events,
                           void *user);
int core_server_listen(tp_server *server, weft_addr *address);
int core_server_start(tp_server *server);
void core_server_drain(tp_server *server);
void core_server_cancel_all(tp_server *server);
void core_server_free(tp_server *server);
void core_call_accept(tp_call *call, const tp_call_events *events, void *user);
void core_call_refuse(tp_call *call, int code, const char *message);
void core_call_watch(tp_call *call);
void core_call_headers(tp_call *call, const tp_header *headers, size_t count);
void core_server_send(tp_call *call, tp_out *message, uint32_t flags);
void core_call_finish(tp_call *call, const tp_finish *finish);
void core_server_call_clear(tp_call *call);

#endif
