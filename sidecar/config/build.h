/* From messages to a snapshot: between the files of this room. Private to sidecar/config.
 *
 *   load.c      file, text or wire → bootstrap message → snapshot
 *   resource.c  one resource from a control plane; all of them to a snapshot
 *   build.c     where we are, what is wrong, typed extensions, durations, ranges
 *   place.c     a path's line in the text
 *   address.c   addresses, what plaintext is allowed
 *   tls.c       transport sockets
 *   http.c      HTTP/2 settings, connection managers, listeners
 *   cluster.c   clusters and endpoints         balance.c  policies, thresholds
 *   route.c     tables and virtual hosts       match.c    what a route matches
 *   action.c    what it does, retries          index.c    look-up tables
 *
 * Every function checks its part and builds it, reporting each problem where it is; a snapshot with
 * problems is thrown away, so a part that is wrong may be left half made. */
#ifndef SIDECAR_CONFIG_BUILD_H
#define SIDECAR_CONFIG_BUILD_H

#include "sidecar/config/config.h"
#include "sidecar/config/load.h"
#include "weft/arena.h"
#include "weft/map.h"
#include "weft/pb.h"

#include "envoy/config/bootstrap/v3/bootstrap.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb-c.h"

/* A snapshot and what it was made from. */
typedef struct config_owner {
    config_snapshot snapshot; /* first: they are one object */
    _Atomic uint32_t refs;
    weft_arena *arena; /* holds all, this too */
    const EnvoyBootstrap__Bootstrap *source;
    const weft_registry *registry; /* the caller's, or NULL */
} config_owner;

#define BUILD_DEPTH 40

/* One step of a path: a key, or an index. */
typedef struct build_step {
    const char *key; /* NULL: index */
    size_t index;
} build_step;

typedef struct config_place config_place;

typedef struct config_build {
    weft_arena *arena;   /* the snapshot's */
    weft_arena *scratch; /* dies with the build */
    weft_diags *diags;
    const char *file;
    const config_place *place; /* NULL: no lines */
    const config_options *options;
    config_owner *owner;
    config_snapshot *snapshot;
    int rc; /* 0, WEFT_EPARSE, or WEFT_ENOMEM, which wins */
    build_step steps[BUILD_DEPTH];
    size_t depth;
    config_cluster
        *clusters;      /* of the snapshot, writable; names are known before routes are read */
    weft_map names;     /* listeners and clusters, "l/name" and "c/name" → 1 + index */
    weft_map addresses; /* of listeners: text → what */
    uint32_t routes;    /* ids given */
    bool dynamic;       /* a control plane says more: lists may be empty */
    bool partial;       /* one resource: what it needs of others is not there */
    weft_map *wanted;   /* partial: names of clusters that routes lead to */
} config_build;

/* ---- build.c */

/* Goes into a field, or an element of it: build_at(b, "listeners", 3). Each takes one build_up. */
void build_at(config_build *b, const char *key, size_t index);
void build_in(config_build *b, const char *key);
void build_up(config_build *b);

/* Reports a problem with a field of where we are ("": the place itself). `hint` may be NULL. Always
 * returns false. */
bool build_wrong(config_build *b, const char *field, const char *hint, const char *format, ...)
    WEFT_PRINTF(4, 5);
/* The same for a field that must be there. */
bool build_missing(config_build *b, const char *field, const char *hint);
/* "…: not supported". */
bool build_unsupported(config_build *b, const char *field, const char *hint);

/* Zeroed memory of the snapshot; NULL sets rc. _copy: a text. */
void *build_alloc(config_build *b, size_t count, size_t size);
const char *build_copy(config_build *b, const char *text);
config_text build_text(config_build *b, const char *text);

/* A duration within `min` … `max` ns; `standard` when it is not given or wrong. */
int64_t build_duration(config_build *b, const char *field, const Google__Protobuf__Duration *given,
                       int64_t standard, int64_t min, int64_t max);
#define BUILD_LONGEST (365 * 24 * 3600 * INT64_C(1000000000))
/* Refuses a timeout that is not kept: only 0, which is none, may be written. */
void build_no_timeout(config_build *b, const char *field, const Google__Protobuf__Duration *given);

/* A wrapped number within `min` … `max`. */
uint32_t build_u32(config_build *b, const char *field, const Google__Protobuf__UInt32Value *given,
                   uint32_t standard, uint32_t min, uint32_t max);

/* What an Any at `field` holds, if it is of `type`; NULL, and reported unless `quiet`, when it is
 * another. What bears security is checked for unknown fields. */
ProtobufCMessage *build_any(config_build *b, const char *field, const Google__Protobuf__Any *any,
                            const ProtobufCMessageDescriptor *type, bool quiet);
/* "envoy.x.y" of an Any's URL; "" when it is not one. */
const char *build_any_type(const Google__Protobuf__Any *any);

/* Reports fields in `message` or below it that our contract does not know. */
void build_refuse_unknown(config_build *b, const ProtobufCMessage *message);

bool build_given(const char *text);

/* ---- place.c: lines of the text */

/* Reads the text again for its places. NULL when that fails: reports have no lines then. */
const config_place *config_place_new(weft_arena *arena, const char *text, size_t len);
/* Where the innermost thing on the way is that the text has. 0, 0 when none is. */
void config_place_find(const config_place *place, const build_step *steps, size_t count, int *line,
                       int *column);

/* ---- the parts */

/* With `names`, host names are allowed. `listen`: to listen on, where port 0 is fine. */
bool build_address(config_build *b, const char *field, const EnvoyCore__Address *from, bool names,
                   bool listen, weft_addr *out, uint32_t *mode);
/* Refuses plaintext that could leave the machine. */
void build_check_plaintext(config_build *b, const char *field, const weft_addr *address,
                           const char *hint);

const config_tls *build_tls(config_build *b, const EnvoyCore__TransportSocket *socket, bool server);

extern const config_h2 build_h2_default;
void build_h2(config_build *b, const char *field, const EnvoyCore__Http2ProtocolOptions *from,
              config_h2 *out);
void build_http(config_build *b, const char *field, const EnvoyCore__HttpProtocolOptions *from,
                config_h2 *out);

void build_listener(config_build *b, const EnvoyListener__Listener *from, config_listener *out);
void build_cluster(config_build *b, const EnvoyCluster__Cluster *from, config_cluster *out);
/* The endpoints of cluster `out`, called `cluster` in messages. */
void build_endpoints(config_build *b, const EnvoyEndpoint__ClusterLoadAssignment *from, bool tls,
                     config_cluster *out);
/* From the stream that this came on; reports at `field` otherwise. */
bool build_ads(config_build *b, const char *field, const EnvoyCore__ConfigSource *from);
void build_balance(config_build *b, const EnvoyCluster__Cluster *from, config_cluster *out);
void build_thresholds(config_build *b, const EnvoyCluster__CircuitBreakers *from,
                      config_cluster *out);
const config_table *build_table(config_build *b, const EnvoyRoute__RouteConfiguration *from);
void build_match(config_build *b, const EnvoyRoute__RouteMatch *from, config_route *out);
void build_action(config_build *b, const EnvoyRoute__Route *from, config_route *out);
const config_retry *build_retry(config_build *b, const EnvoyRoute__RetryPolicy *from,
                                const config_route *route);
/* The cluster of that name; reports at `field` when there is none. */
const config_cluster *build_find_cluster(config_build *b, const char *field, const char *name);

/* ---- index.c */

typedef struct index_entry {
    const char *key;
    uint32_t len, item;
} index_entry;

/* An index of `entries`; those of one key in the order given, each item once. */
config_index build_index(config_build *b, const index_entry *entries, size_t count);
config_wild build_wild(config_build *b, const index_entry *entries, size_t count);
/* Fills in the indices of a virtual host, and of a table whose virtual hosts are done. */
void build_route_index(config_build *b, config_vhost *vhost);
void build_table_index(config_build *b, config_table *table);
void build_method_index(config_build *b, const index_entry *entries, size_t count);

#endif
