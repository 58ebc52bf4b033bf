/* The simulated network: hosts, links, bytes on their way, and a heap of what happens when.
 *
 * A link is a connection: two ends, each with a pipe of segments towards it. Only the head of a pipe's segments
 * may arrive, so bytes keep their order whatever latencies are drawn. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/net/internal.h"
#include "weft/map.h"
#include "weft/mem.h"

#define BUFFER 65536u
#define BACKLOG_MAX 1024u
#define FIRST_PORT 20000u

typedef struct sim_host {
    weft_list all;
    weft_list listeners;
    unsigned number;
    bool dead;
    char name[64];
} sim_host;

typedef enum segment_kind { SEGMENT_DATA, SEGMENT_FIN, SEGMENT_RESET } segment_kind;

typedef struct sim_segment {
    weft_list link;
    segment_kind kind;
    size_t size;
    size_t off; /* read already */
    uint8_t data[];
} sim_segment;

/* Invariants: bytes = unread bytes of all segments; arrived = those of the segments that arrived, which come
 * before those in flight. */
typedef struct sim_pipe {
    weft_list arrived_list;
    weft_list flying_list;
    size_t bytes;
    size_t arrived;
    int64_t last_at; /* when the last segment will arrive */
    bool fin;
    bool reset;
} sim_pipe;

typedef struct sim_end {
    struct sim_link *link;
    net_conn *conn; /* NULL: not accepted yet, or closed */
    sim_host *host;
    weft_addr addr;
    sim_pipe in;
    bool shut;    /* sends no more */
    bool closed;  /* reads no more */
    bool blocked; /* its owner waits to write */
    int connect_error;
} sim_end;

struct sim_link {
    net_sim *sim;
    unsigned refs;
    weft_list backlog; /* in its listener's, before it is accepted */
    sim_end ends[2];   /* 0 dialled */
    weft_addr to;
};
typedef struct sim_link sim_link;

typedef enum event_kind { EVENT_CONNECT, EVENT_ANSWER, EVENT_SEGMENT, EVENT_WRITABLE } event_kind;

typedef struct sim_event {
    int64_t at;
    uint64_t order;
    event_kind kind;
    int side;
    sim_link *link; /* a reference */
} sim_event;

struct net_sim {
    weft_clock_manual clock;
    weft_rng rng;
    net_faults faults;
    weft_list hosts;
    weft_list loops;
    sim_event *heap; /* earliest first */
    size_t heap_count, heap_cap;
    sim_event *held; /* by partitions, in their order */
    size_t held_count, held_cap;
    uint64_t order;
    weft_map names;
    weft_map apart; /* "a|b", a < b */
    uint16_t next_port;
    unsigned hosts_made;
    uint64_t trace;
};

/* ---- events */

static bool before(const sim_event *a, const sim_event *b) {
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void swap(sim_event *a, sim_event *b) {
    const sim_event kept = *a;
    *a = *b;
    *b = kept;
}

static sim_event *grow(sim_event **array, size_t count, size_t *cap) {
    if (count < *cap) return *array;
    const size_t more = *cap ? *cap * 2 : 64;
    sim_event *bigger = weft_realloc(*array, more * sizeof *bigger);
    if (!bigger) return NULL;
    *cap = more;
    return *array = bigger;
}

static void link_unref(sim_link *link);

/* Out of memory loses the event: as a network may, but for its latency. */
static void schedule(net_sim *sim, int64_t at, event_kind kind, sim_link *link, int side) {
    if (!grow(&sim->heap, sim->heap_count, &sim->heap_cap)) return;
    link->refs++;
    size_t i = sim->heap_count++;
    sim->heap[i] = (sim_event){at, sim->order++, kind, side, link};
    for (; i && before(&sim->heap[i], &sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&sim->heap[i], &sim->heap[(i - 1) / 2]);
}

static sim_event take(net_sim *sim) {
    const sim_event first = sim->heap[0];
    sim->heap[0] = sim->heap[--sim->heap_count];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < sim->heap_count; child++)
            if (before(&sim->heap[child], &sim->heap[least])) least = child;
        if (least == i) return first;
        swap(&sim->heap[i], &sim->heap[least]);
        i = least;
    }
}

static bool dice(net_sim *sim, uint32_t per_million) {
    return per_million && weft_rng_below(&sim->rng, 1000000) < per_million;
}

static int64_t latency(net_sim *sim) {
    const net_faults *faults = &sim->faults;
    const int64_t span = faults->latency_max - faults->latency_min;
    return faults->latency_min +
           (span > 0 ? (int64_t)weft_rng_below(&sim->rng, (uint64_t)span + 1) : 0);
}

/* ---- links */

static sim_link *link_new(net_sim *sim) {
    sim_link *link = weft_calloc(1, sizeof *link);
    if (!link) return NULL;
    link->sim = sim;
    link->refs = 1;
    weft_list_init(&link->backlog);
    for (int i = 0; i < 2; i++) {
        link->ends[i].link = link;
        weft_list_init(&link->ends[i].in.arrived_list);
        weft_list_init(&link->ends[i].in.flying_list);
    }
    return link;
}

static void drop_segments(weft_list *list) {
    for (weft_list *node; (node = weft_list_pop_front(list));)
        weft_free(WEFT_CONTAINER(node, sim_segment, link));
}

static void link_unref(sim_link *link) {
    if (--link->refs) return;
    for (int i = 0; i < 2; i++) {
        drop_segments(&link->ends[i].in.arrived_list);
        drop_segments(&link->ends[i].in.flying_list);
    }
    weft_free(link);
}

static int side_of(const sim_end *end) { return end == &end->link->ends[1]; }
static sim_end *other(sim_end *end) { return &end->link->ends[!side_of(end)]; }

/* Puts a segment on its way to `end`. */
static bool send_segment(sim_end *end, segment_kind kind, size_t size, uint8_t **data) {
    net_sim *sim = end->link->sim;
    sim_segment *segment = weft_malloc(sizeof *segment + size);
    if (!segment) return false;
    segment->kind = kind;
    segment->size = size;
    segment->off = 0;
    weft_list_init(&segment->link);
    weft_list_push_back(&end->in.flying_list, &segment->link);
    end->in.bytes += size;
    int64_t at = sim->clock.now + latency(sim);
    if (at < end->in.last_at) at = end->in.last_at;
    end->in.last_at = at;
    schedule(sim, at, EVENT_SEGMENT, end->link, side_of(end));
    if (data) *data = segment->data;
    return true;
}

static void trace(net_sim *sim, int side, const void *data, size_t size) {
    const uint64_t now = (uint64_t)sim->clock.now;
    sim->trace = weft_siphash13(&now, sizeof now, sim->trace, (uint64_t)side);
    sim->trace = weft_siphash13(data, size, sim->trace, size);
}

/* The first segment in flight reaches `end`. */
static void arrive(sim_end *end) {
    weft_list *node = weft_list_pop_front(&end->in.flying_list);
    if (!node) return;
    sim_segment *segment = WEFT_CONTAINER(node, sim_segment, link);
    net_sim *sim = end->link->sim;
    trace(sim, side_of(end), segment->data, segment->size);
    if (end->closed) {
        /* Nobody reads any more: a TCP answers data with a reset. */
        if (segment->kind == SEGMENT_DATA && !other(end)->closed)
            (void)send_segment(other(end), SEGMENT_RESET, 0, NULL);
        end->in.bytes -= segment->size;
        weft_free(segment);
        return;
    }
    if (segment->kind == SEGMENT_DATA) {
        weft_list_push_back(&end->in.arrived_list, &segment->link);
        end->in.arrived += segment->size;
    } else {
        if (segment->kind == SEGMENT_FIN)
            end->in.fin = true;
        else
            end->in.reset = true;
        weft_free(segment);
    }
    unsigned events = NET_EV_READ;
    if (end->in.fin) events |= NET_EV_END;
    if (end->in.reset) events |= NET_EV_END | NET_EV_WRITE;
    if (end->conn) net_conn_notify(end->conn, events);
}

/* ---- the transport */

static int64_t sim_readv(net_conn *conn, const struct iovec *iov, int count) {
    sim_end *end = conn->end;
    net_sim *sim = end->link->sim;
    size_t room = 0;
    for (int i = 0; i < count; i++) room += iov[i].iov_len;
    if (!end->in.arrived) {
        if (end->in.reset) return -ECONNRESET;
        return end->in.fin ? 0 : -EAGAIN;
    }
    size_t want = room < end->in.arrived ? room : end->in.arrived;
    if (dice(sim, sim->faults.short_read)) want = 1 + weft_rng_below(&sim->rng, want);
    size_t got = 0;
    size_t at = 0; /* within iov */
    while (got < want) {
        sim_segment *segment =
            WEFT_CONTAINER(weft_list_front(&end->in.arrived_list), sim_segment, link);
        size_t n = segment->size - segment->off;
        if (n > want - got) n = want - got;
        if (n > iov->iov_len - at) n = iov->iov_len - at;
        memcpy((uint8_t *)iov->iov_base + at, segment->data + segment->off, n);
        segment->off += n;
        got += n;
        at += n;
        if (at == iov->iov_len) {
            iov++;
            at = 0;
        }
        if (segment->off == segment->size) {
            weft_list_remove(&segment->link);
            weft_free(segment);
        }
    }
    end->in.arrived -= got;
    end->in.bytes -= got;
    /* A socket would still be ready; our caller takes a short read for the last. */
    if (end->in.arrived || end->in.fin || end->in.reset) net_conn_notify(conn, NET_EV_READ);
    sim_end *writer = other(end);
    if (writer->blocked && writer->conn) {
        writer->blocked = false;
        schedule(sim, sim->clock.now + latency(sim), EVENT_WRITABLE, end->link, side_of(writer));
    }
    return (int64_t)got;
}

static int64_t sim_writev(net_conn *conn, const struct iovec *iov, int count) {
    sim_end *end = conn->end;
    sim_end *peer = other(end);
    net_sim *sim = end->link->sim;
    if (end->in.reset || end->shut) return -EPIPE;
    if (dice(sim, sim->faults.reset)) {
        end->in.reset = true;
        net_conn_notify(conn, NET_EV_READ | NET_EV_END);
        (void)send_segment(peer, SEGMENT_RESET, 0, NULL);
        return -ECONNRESET;
    }
    size_t total = 0;
    for (int i = 0; i < count; i++) total += iov[i].iov_len;
    const size_t buffer = sim->faults.buffer ? sim->faults.buffer : BUFFER;
    const size_t room = buffer > peer->in.bytes ? buffer - peer->in.bytes : 0;
    size_t take_now = total < room ? total : room;
    if (!take_now) {
        end->blocked = true;
        return -EAGAIN;
    }
    if (dice(sim, sim->faults.short_write)) take_now = 1 + weft_rng_below(&sim->rng, take_now);
    size_t left = take_now;
    size_t at = 0;
    while (left) {
        size_t size = left;
        uint8_t *to;
        if (sim->faults.segment_max) {
            size = 1 + weft_rng_below(&sim->rng, sim->faults.segment_max);
            if (size > left) size = left;
        }
        if (!send_segment(peer, SEGMENT_DATA, size, &to)) break;
        left -= size;
        while (size) {
            size_t n = iov->iov_len - at;
            if (n > size) n = size;
            memcpy(to, (const uint8_t *)iov->iov_base + at, n);
            to += n;
            size -= n;
            at += n;
            if (at == iov->iov_len) {
                iov++;
                at = 0;
            }
        }
    }
    if (left == take_now) return -ENOMEM;
    if (take_now - left < total) {
        if (room > take_now)
            schedule(sim, sim->clock.now, EVENT_WRITABLE, end->link, side_of(end));
        else
            end->blocked = true;
    }
    return (int64_t)(take_now - left);
}

static int sim_connected(net_conn *conn) { return -conn->end->connect_error; }

static void sim_shut(net_conn *conn) {
    sim_end *end = conn->end;
    if (end->shut || end->in.reset) return;
    end->shut = true;
    (void)send_segment(other(end), SEGMENT_FIN, 0, NULL);
}

static void sim_close(net_conn *conn, bool reset) {
    sim_end *end = conn->end;
    if (!end || end->closed) return;
    end->closed = true;
    end->conn = NULL;
    const bool known = !end->connect_error || other(end)->host; /* to the peer */
    if (!end->host->dead && !end->in.reset && known) {
        if (reset || end->in.bytes)
            (void)send_segment(other(end), SEGMENT_RESET, 0, NULL);
        else if (!end->shut)
            (void)send_segment(other(end), SEGMENT_FIN, 0, NULL);
    }
    link_unref(end->link);
}

static const net_io net_sim_io = {sim_readv, sim_writev, sim_connected, sim_shut, sim_close};

weft_addr net_sim_local(const net_conn *conn) {
    weft_addr none = {0};
    return conn->state == NET_DEAD ? none : conn->end->addr;
}

/* ---- dialling and listening */

static void host_addr(const sim_host *host, uint16_t port, weft_addr *addr) {
    *addr = (weft_addr){.kind = WEFT_ADDR_IPV4, .port = port};
    (void)snprintf(addr->host, sizeof addr->host, "10.255.%u.%u", host->number / 250 % 250,
                   host->number % 250 + 1);
}

int net_sim_connect(net_conn *conn, const net_dial *dial, net_why *why) {
    net_sim *sim = conn->loop->config.sim;
    char text[WEFT_ADDR_TEXT];
    conn->io = &net_sim_io;
    if (dial->addr->kind == WEFT_ADDR_NAME || dial->addr->kind == WEFT_ADDR_NONE) {
        net_why_set(why, "%s: not an address that can be dialled; resolve names first",
                    weft_addr_format(dial->addr, text));
        return WEFT_EINVAL;
    }
    sim_link *link = link_new(sim);
    if (!link) {
        net_why_set(why, "out of memory");
        return WEFT_ENOMEM;
    }
    sim_end *end = &link->ends[0];
    link->to = *dial->addr;
    end->conn = conn;
    end->host = conn->loop->host;
    end->connect_error = EINPROGRESS;
    host_addr(end->host, sim->next_port++, &end->addr);
    if (sim->next_port < FIRST_PORT) sim->next_port = FIRST_PORT;
    conn->end = end;
    if (!dice(sim, sim->faults.lose_connect))
        schedule(sim, sim->clock.now + latency(sim), EVENT_CONNECT, link, 1);
    return 0;
}

/* Who listens at `to` as seen by `from`, on hosts that are dead too. */
static net_listener *find_listener(const net_sim *sim, const sim_host *from, const weft_addr *to) {
    weft_list_each(&sim->hosts, at) {
        const sim_host *host = WEFT_CONTAINER(at, sim_host, all);
        if (weft_addr_is_local(to) && host != from) continue;
        weft_list_each(&host->listeners, node) {
            net_listener *listener = WEFT_CONTAINER(node, net_listener, of_host);
            if (weft_addr_equal(&listener->addr, to)) return listener;
        }
    }
    return NULL;
}

int net_sim_listen(net_listener *listener, net_why *why) {
    net_sim *sim = listener->loop->config.sim;
    sim_host *host = listener->loop->host;
    char text[WEFT_ADDR_TEXT];
    if (listener->addr.kind == WEFT_ADDR_NONE || listener->addr.kind == WEFT_ADDR_NAME) {
        net_why_set(why, "%s: cannot listen there", weft_addr_format(&listener->addr, text));
        return WEFT_EINVAL;
    }
    if (!listener->addr.port && listener->addr.kind != WEFT_ADDR_UNIX &&
        listener->addr.kind != WEFT_ADDR_ABSTRACT)
        listener->addr.port = sim->next_port++;
    if (find_listener(sim, host, &listener->addr)) {
        net_why_set(why, "%s: cannot listen: in use", weft_addr_format(&listener->addr, text));
        return WEFT_EBUSY;
    }
    weft_list_push_back(&host->listeners, &listener->of_host);
    return 0;
}

static void refuse(sim_link *link, int error) {
    link->ends[0].connect_error = error;
    schedule(link->sim, link->sim->clock.now + latency(link->sim), EVENT_ANSWER, link, 0);
}

void net_sim_unlisten(net_listener *listener) {
    weft_list_remove(&listener->of_host);
    for (weft_list *node; (node = weft_list_pop_front(&listener->backlog));) {
        sim_link *link = WEFT_CONTAINER(node, sim_link, backlog);
        link->ends[1].closed = true;
        (void)send_segment(&link->ends[0], SEGMENT_RESET, 0, NULL);
        link_unref(link);
    }
}

/* Reaches the other host: the backlog, as a kernel does it. */
static void connect_arrives(net_sim *sim, sim_link *link) {
    net_listener *listener = find_listener(sim, link->ends[0].host, &link->to);
    if (link->ends[0].closed) return;
    if (!listener || dice(sim, sim->faults.refuse) ||
        weft_list_count(&listener->backlog) >= BACKLOG_MAX) {
        refuse(link, ECONNREFUSED);
        return;
    }
    link->ends[1].host = listener->loop->host;
    link->ends[1].addr = listener->addr;
    link->refs++; /* the backlog's, then the accepted connection's */
    weft_list_push_back(&listener->backlog, &link->backlog);
    net_listener_notify(listener);
    schedule(sim, sim->clock.now + latency(sim), EVENT_ANSWER, link, 0);
}

int net_sim_accept(net_listener *listener, net_conn **out) {
    weft_list *node = weft_list_pop_front(&listener->backlog);
    if (!node) return WEFT_EAGAIN;
    sim_link *link = WEFT_CONTAINER(node, sim_link, backlog);
    net_conn *conn = net_conn_new(listener->loop, &net_sim_io);
    if (!conn) {
        link->ends[1].closed = true;
        (void)send_segment(&link->ends[0], SEGMENT_RESET, 0, NULL);
        link_unref(link);
        return WEFT_EIO;
    }
    sim_end *end = &link->ends[1];
    conn->end = end;
    end->conn = conn;
    net_peer_set(&conn->peer, &link->ends[0].addr);
    if (end->in.arrived || end->in.fin || end->in.reset)
        net_conn_notify(conn, NET_EV_READ | (end->in.fin || end->in.reset ? NET_EV_END : 0u));
    *out = conn;
    return 0;
}

/* ---- partitions, names, hosts */

static void pair_key(const char *a, const char *b, char out[160]) {
    const bool ordered = strcmp(a, b) < 0;
    (void)snprintf(out, 160, "%.70s|%.70s", ordered ? a : b, ordered ? b : a);
}

static bool apart(const net_sim *sim, const sim_host *a, const sim_host *b) {
    char key[160];
    if (!a || !b || !weft_map_count(&sim->apart)) return false;
    pair_key(a->name, b->name, key);
    return weft_map_get(&sim->apart, key) != NULL;
}

void net_sim_partition(net_sim *sim, const char *a, const char *b, bool parted) {
    static int yes;
    char key[160];
    pair_key(a, b, key);
    if (parted) {
        (void)!weft_map_put(&sim->apart, key, &yes);
        return;
    }
    (void)weft_map_remove(&sim->apart, key);
    /* What was held starts again, in its order; what is still held comes back. */
    const size_t count = sim->held_count;
    sim->held_count = 0;
    for (size_t i = 0; i < count; i++) {
        const sim_event *event = &sim->held[i];
        schedule(sim, sim->clock.now + sim->faults.latency_min, event->kind, event->link,
                 event->side);
        link_unref(event->link);
    }
}

void net_sim_kill(net_sim *sim, const char *name) {
    weft_list_each(&sim->hosts, at) {
        sim_host *host = WEFT_CONTAINER(at, sim_host, all);
        if (!strcmp(host->name, name)) host->dead = true;
    }
}

int net_sim_set_name(net_sim *sim, const char *name, const char *addrs) {
    weft_free(weft_map_remove(&sim->names, name));
    if (!addrs) return 0;
    char *copy = weft_heap_strdup(addrs);
    if (!copy) return WEFT_ENOMEM;
    const int error = weft_map_put(&sim->names, name, copy);
    if (error) weft_free(copy);
    return error;
}

const char *net_sim_lookup(const net_sim *sim, const char *name) {
    return weft_map_get(&sim->names, name);
}

static sim_host *find_host(net_sim *sim, const char *name) {
    weft_list_each(&sim->hosts, at) {
        sim_host *host = WEFT_CONTAINER(at, sim_host, all);
        if (!strcmp(host->name, name)) return host;
    }
    sim_host *host = weft_calloc(1, sizeof *host);
    if (!host) return NULL;
    (void)snprintf(host->name, sizeof host->name, "%s", name);
    host->number = sim->hosts_made++;
    weft_list_init(&host->listeners);
    weft_list_push_back(&sim->hosts, &host->all);
    return host;
}

int net_sim_attach(net_loop *loop) {
    net_sim *sim = loop->config.sim;
    loop->host = find_host(sim, loop->config.host ? loop->config.host : "host");
    if (!loop->host) return WEFT_ENOMEM;
    weft_list_push_back(&sim->loops, &loop->of_sim);
    return 0;
}

void net_sim_detach(net_loop *loop) {
    weft_list_remove(&loop->of_sim);
    loop->host = NULL;
}

/* ---- the world */

int net_sim_new(uint64_t seed, int64_t start, net_sim **out) {
    net_sim *sim = weft_calloc(1, sizeof *sim);
    if (!sim) return WEFT_ENOMEM;
    weft_clock_manual_init(&sim->clock, start);
    weft_rng_seed(&sim->rng, seed);
    weft_list_init(&sim->hosts);
    weft_list_init(&sim->loops);
    weft_map_init(&sim->names, 0);
    weft_map_init(&sim->apart, 0);
    sim->next_port = FIRST_PORT;
    *out = sim;
    return 0;
}

void net_sim_free(net_sim *sim) {
    if (!sim) return;
    assert(weft_list_empty(&sim->loops) && "free its loops first");
    while (sim->heap_count) link_unref(sim->heap[--sim->heap_count].link);
    while (sim->held_count) link_unref(sim->held[--sim->held_count].link);
    for (weft_list *node; (node = weft_list_pop_front(&sim->hosts));)
        weft_free(WEFT_CONTAINER(node, sim_host, all));
    weft_free(sim->heap);
    weft_free(sim->held);
    weft_map_free(&sim->names, weft_free);
    weft_map_free(&sim->apart, NULL);
    weft_free(sim);
}

const weft_clock *net_sim_clock(const net_sim *sim) { return &sim->clock.clock; }
weft_rng *net_sim_rng(net_sim *sim) { return &sim->rng; }
void net_sim_set_faults(net_sim *sim, const net_faults *faults) { sim->faults = *faults; }
uint64_t net_sim_trace(const net_sim *sim) { return sim->trace; }

/* Between which hosts an event passes; false: it does not. Takes the reference when held. */
static bool passes(net_sim *sim, const sim_event *event) {
    sim_link *link = event->link;
    const sim_host *from = link->ends[0].host;
    const sim_host *to = link->ends[1].host;
    if (event->kind == EVENT_CONNECT) {
        const net_listener *listener = find_listener(sim, from, &link->to);
        to = listener ? listener->loop->host : NULL;
        if (apart(sim, from, to)) return false; /* lost: who dialled waits for its time limit */
    }
    if ((from && from->dead) || (to && to->dead)) return false;
    if (event->kind == EVENT_WRITABLE || !apart(sim, from, to)) return true;
    if (grow(&sim->held, sim->held_count, &sim->held_cap)) {
        link->refs++;
        sim->held[sim->held_count++] = *event;
    }
    return false;
}

static void happen(net_sim *sim, const sim_event *event) {
    sim_end *end = &event->link->ends[event->side];
    if (!passes(sim, event)) return;
    switch (event->kind) {
    case EVENT_CONNECT:
        connect_arrives(sim, event->link);
        break;
    case EVENT_ANSWER:
        if (end->connect_error == EINPROGRESS) end->connect_error = 0;
        if (end->conn) net_conn_notify(end->conn, NET_EV_WRITE);
        break;
    case EVENT_SEGMENT:
        arrive(end);
        break;
    case EVENT_WRITABLE:
        if (end->conn) net_conn_notify(end->conn, NET_EV_WRITE);
        break;
    }
}

/* One turn of every loop that has something to do; how many that were. */
static size_t turn_loops(net_sim *sim) {
    size_t turned = 0;
    for (weft_list *at = sim->loops.next, *next; at != &sim->loops; at = next) {
        net_loop *loop = WEFT_CONTAINER(at, net_loop, of_sim);
        next = at->next;
        if (loop->host->dead) continue;
        if (!net_loop_busy(loop) && weft_timer_wheel_next(&loop->timers) > sim->clock.now) continue;
        (void)!net_loop_turn(loop, 0);
        turned++;
    }
    return turned;
}

static int64_t next_time(const net_sim *sim) {
    int64_t next = sim->heap_count ? sim->heap[0].at : WEFT_NO_DEADLINE;
    weft_list_each(&sim->loops, at) {
        const net_loop *loop = WEFT_CONTAINER(at, net_loop, of_sim);
        if (loop->host->dead) continue;
        const int64_t timer = weft_timer_wheel_next(&loop->timers);
        if (timer < next) next = timer;
    }
    return next;
}

size_t net_sim_run(net_sim *sim, int64_t until, bool (*done)(void *user), void *user) {
    size_t steps = 0;
    while (!done || !done(user)) {
        steps++;
        if (turn_loops(sim)) continue;
        const int64_t next = next_time(sim);
        if (next > until) {
            if (until > sim->clock.now) sim->clock.now = until;
            break;
        }
        if (next > sim->clock.now) sim->clock.now = next;
        while (sim->heap_count && sim->heap[0].at <= sim->clock.now) {
            const sim_event event = take(sim);
            happen(sim, &event);
            link_unref(event.link);
        }
    }
    return steps;
}
