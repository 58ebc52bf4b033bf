/* The control plane as one process holds it: the store and what is in it, the rooms of decisions, and the
 * servers that lead to them. The rooms (ca, registry, model, build, xds) know neither threads nor sockets; this
 * is where they are locked, ticked and given the time. */
#ifndef SERVICES_CONTROL_CONTROL_H
#define SERVICES_CONTROL_CONTROL_H

#include <pthread.h>

#include "services/control/admin/documents.h"
#include "services/control/admin/roles.h"
#include "services/control/join/join.h"
#include "services/control/registry/registry.h"
#include "services/control/world.h"
#include "weft/rpc.h"

#define CONTROL_NAMESPACE "weft"
#define CONTROL_SERVICE "control" /* spiffe://<domain>/ns/weft/sa/control */
#define CONTROL_ADDRESSES_MAX 16u

typedef struct control_options {
    const char *state; /* folder, owner-only; made if it is not there */
    const char *store; /* "sqlite:PATH"; NULL: control.db in the state folder */
    const char *domain;
    int64_t leaf, overlap;                /* ns: ca.h */
    int64_t heartbeat, down_after, grace; /* ns: registry.h */
    bool plaintext; /* on unix sockets and loopback: claims of local peers are taken as they are */
    roles roles;
    const weft_clock *clock; /* NULL: the system's */
} control_options;

typedef struct control {
    control_options options;
    char identity[CRYPTO_TOKEN_IDENTITY];
    int64_t started; /* wall ns */

    weft_db *db;
    weft_revisions *store;
    weft_registry *types; /* of documents */
    documents docs;
    audit log;
    ca *authority; /* under desk.lock */
    join_desk desk;

    pthread_mutex_t registry_lock;
    registry *members; /* under it */
    world_slot world;  /* what nodes are built from; published by the ticker */

    /* The ticker's own. */
    world_docs *current;    /* NULL before the first */
    uint64_t built_version; /* of the registry, in the present world */
    uint64_t saved_version; /* of the registry, as last written to the state folder */

    pthread_mutex_t lock; /* the ticker's */
    pthread_cond_t wake;
    bool stopping, woken;
    pthread_t ticker;
    bool ticking;

    char addresses[CONTROL_ADDRESSES_MAX][WEFT_ADDR_TEXT]; /* of the mesh's server */
    size_t address_count;
} control;

/* Opens store, authority and registry as they were left. On failure `why` has the line and nothing is left
 * open. */
int control_open(const control_options *options, control **out, crypto_why *why) WEFT_MUST_USE;

/* Starts what happens by itself: leases that run out, roots that leave, documents that change. */
int control_start(control *c) WEFT_MUST_USE;

/* Ends that, and every stream that waits: before servers are drained. */
void control_stop(control *c);
void control_close(control *c); /* after the servers are gone; NULL is allowed */

/* The ticker should look at once: the registry or the documents changed. Any thread. */
void control_wake(control *c);

/* Our own certificate, new. */
int control_svid(control *c, crypto_svid **svid, crypto_why *why) WEFT_MUST_USE;

/* Who calls. Strings live as long as the call. */
typedef struct control_peer {
    const char *identity; /* proved by mTLS, or NULL */
    const char *address;  /* "unix:", "ipv4:127.0.0.1:5000" */
    bool trusted; /* plaintext was asked for, and it is of this machine: its claims are taken */
} control_peer;
control_peer control_peer_of(control *c, const weft_ctx *ctx);

/* ---- the doors: services of one server */

/* Identity, registry, discovery. */
int control_serve_discovery(weft_server *server, control *c) WEFT_MUST_USE;
int control_serve_identity(weft_server *server, control *c) WEFT_MUST_USE;
int control_serve_registry(weft_server *server, control *c) WEFT_MUST_USE;

/* `owner`: whoever reaches this server is admin (the owner-only socket). */
typedef struct control_admin_door {
    control *c;
    bool owner;
} control_admin_door;
int control_serve_admin(weft_server *server, control_admin_door *door) WEFT_MUST_USE;

#endif
