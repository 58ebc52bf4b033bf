/* A sidecar's worker between a client and servers, in one thread on the simulated network: what comes
 * in at its outbound listener goes to servers whose every frame the test decides. Nothing takes time
 * unless a test says so; time passes only in mesh_run and mesh_until. Failures end the test. */
#ifndef TESTS_SIDECAR_MESH_H
#define TESTS_SIDECAR_MESH_H

#include "sidecar/call.h"
#include "sidecar/upstream/wire.h"
#include "sidecar/worker.h"
#include "tests/support/pki.h"
#include "weft/net_sim.h"

#define MESH_SERVERS 4
#define MESH_PEERS 24
#define MESH_REQUESTS 64
#define MESH_START (INT64_C(1800000000) * WEFT_NS_PER_S)

typedef struct mesh mesh;
typedef struct mesh_server mesh_server;

/* A process other than the sidecar. */
typedef struct mesh_host {
    mesh *mesh;
    net_loop *loop;
    weft_chunk_pool *chunks;
    http_pool *fields;
    h2_env *env;
    net_task turned;
} mesh_host;

/* A connection of the sidecar as a server has it. */
typedef struct mesh_peer {
    wire wire; /* first */
    mesh_server *server;
    uint8_t raw[64]; /* goes out after what the engine has to say */
    size_t raw_len;
    bool alive;
    bool goaway; /* the sidecar said so */
} mesh_peer;

/* A request as a server has it. */
typedef struct mesh_request {
    mesh_server *server;
    mesh_peer *peer;
    h2_stream *stream;
    char path[80];
    char previous[8]; /* grpc-previous-rpc-attempts */
    char timeout[16]; /* grpc-timeout */
    int64_t at;
    size_t bytes;
    bool ended;
    bool over;      /* reset by the sidecar, or its connection is gone */
    uint32_t reset; /* code of that */
} mesh_request;

struct mesh_server {
    mesh_host host;
    char name[24];
    weft_addr addr;
    net_listener *listener;
    h2_limits limits;
    bool mute; /* accepts, and says nothing */
    bool ok;   /* answers all requests itself: headers, a byte, OK */
    mesh_peer peers[MESH_PEERS];
    size_t peer_count; /* ever */
    mesh_request requests[MESH_REQUESTS];
    size_t request_count; /* ever */
};

/* A call as the client has it. */
typedef struct mesh_call {
    mesh *mesh;
    h2_stream *stream;
    int headers; /* header lists */
    int http;
    int status; /* grpc-status; -1: none came */
    char message[700];
    bool unprocessed; /* the sidecar said so (CALL_UNPROCESSED) */
    size_t bytes;
    bool done; /* the response ended, or the stream was reset */
    bool reset;
    uint32_t reset_code;
    int64_t headers_at, done_at; /* ns since mesh_open; -1: not yet */
} mesh_call;

typedef struct mesh_config {
    size_t servers;        /* that listen; 0: one */
    const char *endpoints; /* "10.0.1.1:80 gone:80" in place of the servers' addresses */
    bool dns;
    bool mtls; /* between the sidecar and servers, which are spiffe://mesh.local/ns/shop/sa/echo */
    bool inbound;         /* the client is another sidecar, servers are the app */
    const char *route;    /* YAML within the route's action: "timeout: 1s, " … or NULL */
    const char *cluster;  /* YAML lines within the cluster, each indented by four, or NULL */
    const char *name;     /* of the cluster; NULL: echo */
    const char *listener; /* its name; NULL: out */
    int port;             /* of the listener; 0: 80 */
    uint64_t seed;        /* 0: 1 */
} mesh_config;

struct mesh {
    net_sim *sim;
    config_snapshot *snapshot;
    sidecar_shared shared;
    cluster_shared more; /* of clusters that snapshots brought later */
    worker worker;
    bool worker_up;
    mesh_host host; /* the client's */
    wire client;
    h2_limits limits; /* the client's */
    bool client_up;
    mesh_server servers[MESH_SERVERS];
    size_t server_count;
    test_pki pki;
    tls_context *tls; /* of servers, for connections from now on; NULL: plaintext */
    int *strangers;   /* not NULL: 1 while a loop other than the sidecar's takes its turn */
};

/* Everything is up, nothing is connected but the client. */
void mesh_open(mesh *m, const mesh_config *config);
/* Asserts that every gauge of the sidecar went back to zero once the client left. */
void mesh_close(mesh *m);
/* The parts of them, for tests that let memory run out in between. mesh_start: 0 or negative. */
void mesh_build(mesh *m, const mesh_config *config);
int mesh_start(mesh *m);
void mesh_dial(mesh *m);

/* The sidecar takes a newer snapshot. */
void mesh_swap(mesh *m, const mesh_config *config);
/* What mesh_swap would take; with a reference. */
config_snapshot *mesh_snapshot(mesh *m, const mesh_config *config);

/* What can happen now, happens; then time passes, with all that happens meanwhile. */
void mesh_run(mesh *m, int64_t ms);
/* Until `*flag`; the test fails when it is not there within a minute of simulated time. */
void mesh_until(mesh *m, const bool *flag);
int64_t mesh_now(const mesh *m); /* ns since mesh_open */
uint64_t mesh_counter(mesh *m, telemetry_counter counter);
cluster_shared *mesh_shared(mesh *m);

/* From now on servers have a certificate issued now that lives so long; those there are keep theirs. */
void mesh_certify(mesh *m, int64_t lifetime);

/* ---- the client. POST /test.Echo/Get, gRPC, with `size` bytes; -1: headers only. More header fields as
 * "name", "value" pairs up to NULL. */
void mesh_call_begin(mesh *m, mesh_call *c, int64_t size, int end, ...);
void mesh_call_send(mesh_call *c, size_t size, bool end);
void mesh_call_cancel(mesh_call *c);
/* A unary call with a small body. */
void mesh_unary(mesh *m, mesh_call *c);
void mesh_client_leave(mesh *m);

/* ---- servers, from 0 */
void mesh_listen(mesh *m, size_t server, bool on);
/* Request number `i` of a server, counted from 0 over its life; fails when it did not come. */
mesh_request *mesh_at(mesh *m, size_t server, size_t i);
void mesh_headers(mesh_request *r);                     /* :status 200 */
void mesh_data(mesh_request *r, size_t size, bool end); /* after headers */
void mesh_trailers(mesh_request *r, int status);        /* after headers */
void mesh_refuse(mesh_request *r, int status, const char *name,
                 const char *value);                 /* trailers-only */
void mesh_http(mesh_request *r, const char *status); /* headers with another :status, END_STREAM */
void mesh_reset(mesh_request *r, uint32_t code);
void mesh_answer(mesh_request *r); /* headers, a byte, trailers with OK */
/* GOAWAY with that last stream id, as a frame of its own; the connection stays. */
void mesh_goaway(mesh_peer *p, uint32_t last);
void mesh_max_streams(mesh_peer *p, uint8_t count); /* SETTINGS_MAX_CONCURRENT_STREAMS */
void mesh_cut(mesh_peer *p);                        /* the connection is reset */

#endif
