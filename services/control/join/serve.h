/* What services share of identity messages. */
#ifndef SERVICES_CONTROL_JOIN_SERVE_H
#define SERVICES_CONTROL_JOIN_SERVE_H

#include "weft/control/v1/identity.pb-c.h"
#include "weft/rpc.h"

/* Our own version and features, in the context; NULL: memory is out. */
WeftControl__Peer *control_peer_message(weft_ctx *ctx);

#endif
