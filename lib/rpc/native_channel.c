/* Channels of the native transport: one loop for the process, connections made when they are needed.
 *
 * A channel has one connection that takes new calls (`conn`), and perhaps older ones that finish theirs. It
 * dials when a call comes and there is none; when that fails, calls that do not wait for ready fail with the
 * reason, and the next attempt is made no sooner than the backoff allows. */
#include <stdio.h>
#include <string.h>

#include "native.h"
#include "weft/rng.h"
#include "weft/tls.h"

/* What we dial is near: a sidecar that restarts must be found again at once. */
#define BACKOFF_FIRST (50 * WEFT_NS_PER_MS)
#define BACKOFF_MAX (2 * WEFT_NS_PER_S)
#define CONNECT_TIMEOUT (5 * WEFT_NS_PER_S)
#define ADDRS_MAX 16u

struct tp_channel {
    nat_item item;
    nat_loop *loop;
    weft_addr address;
    char *authority;
    tls_context *tls;
    size_t max_reply;
    h2_limits limits;
    /* the loop's */
    bool freed;
    nat_conn *conn;    /* ready, or being made */
    weft_list conns;   /* all of them */
    weft_list waiting; /* calls */
    net_query *query;
    weft_addr addrs[ADDRS_MAX]; /* what the name stands for; tried in turn */
    size_t addr_count, addr_at;
    int64_t backoff;
    weft_timer retry; /* armed: the backoff is not over */
    weft_rng rng;
    char why[NET_WHY_SIZE]; /* the last attempt failed */
};

/* ---- the process-wide loop, running while there are channels */

static pthread_mutex_t loop_lock = PTHREAD_MUTEX_INITIALIZER;
static nat_loop *shared;
static unsigned loop_users;

static nat_loop *loop_acquire(void) {
    (void)pthread_mutex_lock(&loop_lock);
    if (!loop_users) {
        shared = nat_loop_new(true);
        if (shared && nat_loop_start(shared) < 0) {
            nat_loop_stop(shared);
            shared = NULL;
        }
    }
    nat_loop *loop = shared;
    if (loop) loop_users++;
    (void)pthread_mutex_unlock(&loop_lock);
    return loop;
}

/* The last one stops it outside the lock: its thread may be in an event that dials. */
static void loop_release(void) {
    nat_loop *ended = NULL;
    (void)pthread_mutex_lock(&loop_lock);
    if (--loop_users == 0) {
        ended = shared;
        shared = NULL;
    }
    (void)pthread_mutex_unlock(&loop_lock);
    if (ended) nat_loop_stop(ended);
}

/* ---- connecting */

static void dial(tp_channel *channel);

static void conn_unusable(tp_channel *channel, nat_conn *conn) {
    if (channel->conn == conn) channel->conn = NULL;
}

static void on_retry(weft_timer *timer, int64_t now) {
    (void)now;
    tp_channel *channel = timer->user;
    if (!weft_list_empty(&channel->waiting)) dial(channel);
    nat_work(channel->loop);
}

/* No address answered: who does not wait fails, and the backoff begins. */
static void attempt_failed(tp_channel *channel, const char *why) {
    weft_list calls;
    if (channel->freed) return;
    (void)snprintf(channel->why, sizeof channel->why, "%s", why);
    const int64_t jitter = channel->backoff / 5;
    const int64_t wait = channel->backoff - jitter +
                         (int64_t)weft_rng_below(&channel->rng, (uint64_t)jitter * 2 + 1);
    weft_timer_arm(net_loop_timers(channel->loop->net), &channel->retry,
                   net_loop_now(channel->loop->net) + wait);
    channel->backoff = channel->backoff * 8 / 5;
    if (channel->backoff > BACKOFF_MAX) channel->backoff = BACKOFF_MAX;
    weft_list_init(&calls);
    weft_list_splice(&calls, &channel->waiting);
    for (weft_list *node; (node = weft_list_pop_front(&calls));) {
        tp_call *call = WEFT_CONTAINER(node, tp_call, link);
        if (call->u.c.wait_for_ready)
            weft_list_push_back(&channel->waiting, node);
        else
            nat_break(call, TP_CONNECT, WEFT_UNAVAILABLE, channel->why);
    }
}

static const h2_limits *limits_of(nat_conn *conn) { return &((tp_channel *)conn->owner)->limits; }

static void try_next(tp_channel *channel, const char *why);

static void conn_closed(nat_conn *conn, int error, const char *reason) {
    (void)error;
    tp_channel *channel = conn->owner;
    const bool was_current = channel->conn == conn, ready = conn->ready;
    conn_unusable(channel, conn);
    nat_conn_free(conn);
    if (was_current && !ready)
        try_next(channel, reason);
    else if (!channel->conn && !weft_list_empty(&channel->waiting))
        dial(channel);
    nat_item_unref(&channel->item);
}

static const nat_conn_ops conn_ops = {
    .callbacks = &nat_client_callbacks, .limits = limits_of, .closed = conn_closed};

static void connect_to(tp_channel *channel, const weft_addr *addr) {
    net_why why = {.text = "out of memory"};
    nat_conn *conn = nat_conn_new(channel->loop, H2_CLIENT, &conn_ops, channel);
    const net_dial how = {.addr = addr,
                          .handler = &nat_conn_handler,
                          .user = conn,
                          .tls = channel->tls,
                          .options = {.open_timeout = CONNECT_TIMEOUT}};
    if (!conn || net_connect(channel->loop->net, &how, &conn->net, &why) < 0) {
        if (conn) nat_conn_free(conn);
        try_next(channel, why.text);
        return;
    }
    nat_item_ref(&channel->item);
    weft_list_push_back(&channel->conns, &conn->link);
    channel->conn = conn;
}

static void try_next(tp_channel *channel, const char *why) {
    if (channel->freed) return;
    if (channel->addr_at < channel->addr_count)
        connect_to(channel, &channel->addrs[channel->addr_at++]);
    else
        attempt_failed(channel, why);
}

static void on_answer(void *user, const net_answer *answer) {
    tp_channel *channel = user;
    channel->query = NULL;
    channel->addr_at = 0;
    channel->addr_count = answer->count < ADDRS_MAX ? answer->count : ADDRS_MAX;
    if (answer->count)
        memcpy(channel->addrs, answer->addrs, channel->addr_count * sizeof channel->addrs[0]);
    try_next(channel, answer->text);
    nat_work(channel->loop);
}

static void resolve(tp_channel *channel) {
    nat_loop *loop = channel->loop;
    const net_dns_config config = {.servers = NULL};
    int error = loop->resolver ? 0 : net_resolver_new(loop->net, &config, &loop->resolver);
    if (!error)
        error = net_resolve(loop->resolver, channel->address.host, channel->address.port, NET_ANY,
                            on_answer, channel, &channel->query);
    if (error < 0) attempt_failed(channel, weft_strerror(error));
}

static void dial(tp_channel *channel) {
    if (channel->conn || channel->query || channel->freed) return;
    channel->addr_at = channel->addr_count = 0;
    if (channel->address.kind == WEFT_ADDR_NAME)
        resolve(channel);
    else
        connect_to(channel, &channel->address);
}

/* ---- calls and connections */

/* Begins what waits, as far as the connection takes calls. */
static void serve_waiting(tp_channel *channel) {
    while (channel->conn && channel->conn->ready) {
        weft_list *node = weft_list_pop_front(&channel->waiting);
        if (!node) return;
        tp_call *call = WEFT_CONTAINER(node, tp_call, link);
        const int error = nat_client_request(call, channel->conn);
        if (!error) continue;
        weft_list_push_front(&channel->waiting, node);
        if (error == WEFT_EAGAIN) return;
        conn_unusable(channel, channel->conn);
        dial(channel);
    }
}

void nat_channel_submit(tp_channel *channel, tp_call *call) {
    const bool backing_off = weft_timer_armed(&channel->retry);
    if (!channel->conn && !channel->query && backing_off && !call->u.c.wait_for_ready) {
        nat_break(call, TP_CONNECT, WEFT_UNAVAILABLE, channel->why);
        return;
    }
    weft_list_push_back(&channel->waiting, &call->link);
    if (channel->conn && channel->conn->ready)
        serve_waiting(channel);
    else if (!backing_off)
        dial(channel);
}

void nat_channel_settings(h2_conn *conn) {
    nat_conn *c = h2_conn_user(conn);
    tp_channel *channel = c->owner;
    if (c->ready) return;
    c->ready = true; /* only now: under TLS the server may still refuse us before */
    channel->backoff = BACKOFF_FIRST;
    if (channel->conn == c) serve_waiting(channel);
}

void nat_channel_goaway(h2_conn *conn, const h2_goaway_info *info) {
    (void)info;
    nat_conn *c = h2_conn_user(conn);
    tp_channel *channel = c->owner;
    if (!c->ready || channel->conn != c) return; /* not ready: it will close, which is told */
    conn_unusable(channel, c);
    if (!weft_list_empty(&channel->waiting)) dial(channel);
}

void nat_channel_capacity(h2_conn *conn) {
    nat_conn *c = h2_conn_user(conn);
    serve_waiting(c->owner);
}

int nat_channel_fields(tp_channel *channel, http_fields *fields) {
    static const struct {
        const char *name, *value;
    } same[] = {{"te", "trailers"},
                {"content-type", "application/grpc"},
                {"grpc-accept-encoding", NAT_ENCODINGS},
                {"user-agent", "grpc-c-weft/" WEFT_VERSION}};
    http_pool *pool = fields->pool;
    const char *scheme = channel->tls ? "https" : "http";
    const char *authority = channel->authority;
    int error = http_fields_add_known(fields, HTTP_NAME_SCHEME, scheme, channel->tls ? 5 : 4);
    if (!error)
        error = http_fields_push(
            fields, http_field_intern(pool, ":authority", 10, authority, strnlen(authority, 1024)));
    for (size_t i = 0; !error && i < sizeof same / sizeof same[0]; i++)
        error = http_fields_push(fields,
                                 http_field_intern(pool, same[i].name, strnlen(same[i].name, 64),
                                                   same[i].value, strnlen(same[i].value, 64)));
    return error;
}

/* ---- lifetime */

static void free_on_loop(tp_channel *channel) {
    channel->freed = true;
    if (channel->query) net_query_cancel(channel->query);
    channel->query = NULL;
    channel->conn = NULL;
    weft_timer_cancel(&channel->retry);
    for (weft_list *at = channel->conns.next, *next; at != &channel->conns; at = next) {
        next = at->next;
        nat_conn *conn = WEFT_CONTAINER(at, nat_conn, link);
        if (conn->h2)
            nat_conn_end(conn, NULL);
        else
            net_conn_abort(conn->net, 0, "the channel was freed");
    }
    nat_item_unref(&channel->item); /* the owner's */
}

static void run(nat_item *item, unsigned ops) {
    if (ops & NAT_FREE) free_on_loop(WEFT_CONTAINER(item, tp_channel, item));
}

static void gone(nat_item *item) {
    tp_channel *channel = WEFT_CONTAINER(item, tp_channel, item);
    tls_context_unref(channel->tls);
    weft_free(channel->authority);
    weft_free(channel);
}

tp_channel *nat_channel_new(const tp_channel_options *options) {
    char text[WEFT_ADDR_TEXT];
    tp_channel *channel = weft_calloc(1, sizeof *channel);
    if (!channel) return NULL;
    nat_item_init(&channel->item, 1, run, gone);
    channel->address = options->address;
    channel->max_reply = options->max_reply;
    channel->backoff = BACKOFF_FIRST;
    weft_list_init(&channel->conns);
    weft_list_init(&channel->waiting);
    weft_timer_init(&channel->retry, on_retry, channel);
    weft_rng_seed(&channel->rng, weft_rng_system_seed());
    nat_limits(&channel->limits, options->max_metadata, options->keepalive_ns);
    channel->limits.max_streams = 0;
    if (options->tls) channel->tls = tls_context_ref(options->tls);
    channel->authority = weft_heap_strdup(
        options->authority ? options->authority : weft_addr_format(&options->address, text));
    if (channel->authority) channel->loop = loop_acquire();
    if (channel->loop) return channel;
    gone(&channel->item);
    return NULL;
}

void nat_channel_free(tp_channel *channel) {
    nat_push(channel->loop, &channel->item, NAT_FREE);
    loop_release();
}

nat_loop *nat_channel_loop(const tp_channel *channel) { return channel->loop; }
size_t nat_channel_max_reply(const tp_channel *channel) { return channel->max_reply; }
