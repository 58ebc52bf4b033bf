/* A control plane's stream and a sidecar's client, joined by queues of serialized messages. */
#ifndef TESTS_SIDECAR_XDS_RIG_H
#define TESTS_SIDECAR_XDS_RIG_H

#include "services/control/xds/stream.h"
#include "sidecar/xds/client.h"
#include "tests/unit/control_xds/world.h"

#define RIG_QUEUE 128

typedef struct rig_queue {
    weft_buf items[RIG_QUEUE];
    size_t first, count;
} rig_queue;

typedef struct rig {
    uint32_t uses;
    bool by_name;
    uint64_t seed;
    config_snapshot *base;
    xds_client *client;
    xds_stream *stream; /* NULL: there is none */
    weft_arena *built;  /* of `output` */
    control_build_output output;
    rig_queue up, down;          /* requests, responses */
    config_snapshot *snapshot;   /* the last one taken, or NULL */
    size_t responses, resources; /* sent by the server in all */
    /* Called with every response before the client has it; may be NULL. */
    void (*watch)(void *user, const EnvoyDiscovery__DiscoveryResponse *response);
    void *user;
} rig;

void rig_init(rig *r, const world *w, uint32_t uses, bool by_name, uint64_t seed);
void rig_free(rig *r);

void rig_open(rig *r, int64_t now);
void rig_close(rig *r, int64_t now);
/* What the control plane would build now. */
void rig_build(rig *r, const world *w);

/* Lets both sides say what they have to say. */
void rig_pump(rig *r, int64_t now);
/* Delivers one message of a direction; false when there is none. */
bool rig_deliver_up(rig *r);
bool rig_deliver_down(rig *r, int64_t now);
/* Until nobody has anything to say. */
void rig_run(rig *r, int64_t now);

/* A new client in place of the old; `keep`: with what the old one saved. */
void rig_restart_client(rig *r, bool keep, int64_t now);

/* Fails the test unless what is in force is what was built. */
void rig_expect_converged(rig *r);

#endif
