/* One aggregated discovery stream, state of the world, seen from the control plane. No I/O.
 *
 *     request ──► xds_stream_request ──┐
 *                                      ├─► what is owed ──► xds_stream_next ──► response
 *     build   ──► xds_stream_set ──────┘
 *
 * A stream is told what its client should have (made by services/control/build for
 * this client) and what the client says. Asked, it hands out the next
 * response to send, if one is owed now: make before break (clusters, endpoints, listeners, routes;
 * clusters that are gone stay until the routes that do without them were accepted), one response of
 * a type in flight, nothing that the client has already.
 *
 * Versions are hashes of content: they survive restarts and reconnects, so a client that says it has
 * a version is not told it again. A response that was refused is not repeated until one of its
 * resources changes, or the client asks for more; why is kept for status.
 *
 * One thread at a time. Memory per stream is bounded by XDS_STREAM_NAMES_MAX names a type, and copies of
 * clusters on their way out. See xds.md for the rules that real clients hold us to. */
#ifndef SERVICES_CONTROL_XDS_STREAM_H
#define SERVICES_CONTROL_XDS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "services/control/build/build.h"
#include "weft/arena.h"
#include "weft/error.h"

#define XDS_STREAM_NAMES_MAX 20000u   /* names one client may ask for, of a type */
#define XDS_STREAM_NAME_BYTES 512u    /* of one name */
#define XDS_STREAM_REASON_BYTES 1024u /* of why a response was refused, what is kept of it */
#define XDS_STREAM_VERSION_TEXT 17    /* 16 hex digits */
#define XDS_STREAM_ACK_WAIT_S 15      /* who does not answer holds up later types so long */

typedef struct xds_stream xds_stream;

/* `output` is what the client should have; `identifier` goes into responses, "" for none. Both are
 * borrowed, the output until the next xds_stream_set or the end. NULL when memory is out. */
xds_stream *xds_stream_new(const control_build_output *output,
                           const char *identifier) WEFT_MUST_USE;
void xds_stream_free(xds_stream *stream);

/* The client's next message; read, not kept. WEFT_ENOMEM; WEFT_ELIMIT or WEFT_EINVAL, when the
 * stream should be closed with INVALID_ARGUMENT and *why (static). Types that are not ours, and
 * stale nonces, are ignored. */
int xds_stream_request(xds_stream *stream, const EnvoyDiscovery__DiscoveryRequest *request,
                       const char **why) WEFT_MUST_USE;

/* What the client should have from now on. The old output, which must still be there, may be freed
 * afterwards. WEFT_ENOMEM leaves the old one in force. */
int xds_stream_set(xds_stream *stream, const control_build_output *output) WEFT_MUST_USE;

/* The next response to send at `now` (ns, monotonic), in `arena`; 1 when there is one, 0 when not,
 * WEFT_ENOMEM. Resources are borrowed from the output: pack it before that is freed. Call until 0 after
 * every request, set, and at xds_stream_wake. */
int xds_stream_next(xds_stream *stream, int64_t now, weft_arena *arena,
                    EnvoyDiscovery__DiscoveryResponse **out) WEFT_MUST_USE;

/* When xds_stream_next may have something without anything else happening; INT64_MAX: never. */
int64_t xds_stream_wake(const xds_stream *stream);

/* ---- what a client wants and has */

/* Calls `each` with every name the client asked for that its output does not have: to build for it. */
void xds_stream_wants(const xds_stream *stream, control_xds_type type,
                      void (*each)(void *user, const char *name), void *user);

typedef struct xds_stream_state {
    bool subscribed;
    bool wildcard;
    size_t names;                           /* asked for by name */
    size_t resources;                       /* told */
    char version[XDS_STREAM_VERSION_TEXT];  /* last sent */
    char accepted[XDS_STREAM_VERSION_TEXT]; /* last accepted; "" none */
    bool in_flight;                         /* sent and not answered */
    bool refused;                           /* the last answer was a refusal */
    const char *reason;                     /* of it; "" none. Until the next request */
    uint64_t sent, acks, nacks, stale;
} xds_stream_state;

xds_stream_state xds_stream_status(const xds_stream *stream, control_xds_type type);

/* Everything the client asked for was told and accepted. */
bool xds_stream_settled(const xds_stream *stream);

#endif
