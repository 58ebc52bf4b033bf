/* Between the files of this room. Private to sidecar/xds.
 *
 *   client.c   the stream: requests, responses, backoff
 *   settle.c   what is asked for, what is warm, snapshots
 *   keep.c     what is kept for the next start, and shown
 *   cache.c    the file it is kept in */
#ifndef SIDECAR_XDS_INTERNAL_H
#define SIDECAR_XDS_INTERNAL_H

#include "sidecar/xds/client.h"
#include "weft/map.h"
#include "weft/rng.h"

/* A resource by its name, there or asked for. */
typedef struct xds_entry {
    config_resource *latest; /* last that passed its checks; NULL: none yet */
    config_resource
        *active;      /* in force; NULL: none. Differs from `latest` while that is not warm */
    char *problem;    /* why a newer one was refused; NULL: it was not */
    bool wanted;      /* endpoints, routes, and clusters and listeners by name: asked for */
    bool gone;        /* the control plane has it no more; in force while it is needed */
    bool listed;      /* in the response at hand */
    bool missing;     /* asked for, and nobody has it */
    int64_t deadline; /* then it is missing; INT64_MAX: is not waited for */
} xds_entry;

typedef struct xds_kind {
    weft_map entries; /* name → xds_entry */
    bool wildcard;
    bool started;  /* a request was sent on this stream */
    bool due;      /* a request is */
    bool answered; /* there was a response, ever */
    bool mixed;    /* a response was refused in part: no version says what we have */
    char *version; /* last accepted; NULL: none */
    char *nonce;   /* of the last response of this stream; NULL: none */
    char *error;   /* to be told with the next request; NULL: the last response was accepted */
    char *reason;  /* of the last refusal; NULL: the last response was accepted */
    uint64_t responses, refused;
} xds_kind;

struct xds_client {
    config_snapshot *base;
    config_options config;
    const EnvoyCore__Node *node;
    weft_rng rng;
    xds_kind kinds[CONFIG_KINDS];
    weft_map demand; /* clusters of xds_client_want */
    char *problem;   /* why what is warm makes no snapshot; NULL: it does */
    bool open;
    bool introduced; /* the node was told on this stream */
    bool heard;      /* a response came on this stream */
    bool dirty;      /* what is in force changed since the last snapshot */
    uint32_t failures;
    int64_t retry_at;
};

/* The entry, or NULL; _add makes it. */
xds_entry *xds_entry_get(const xds_client *c, config_kind kind, const char *name);
xds_entry *xds_entry_add(xds_client *c, config_kind kind, const char *name);
void xds_entry_drop(xds_client *c, config_kind kind, const char *name);

/* Brings what is asked for in line with what is there: marks requests due. WEFT_ENOMEM. */
int xds_refresh(xds_client *c, int64_t now) WEFT_MUST_USE;
/* Brings in force what is warm, and lets go of what is gone. WEFT_ENOMEM. */
int xds_settle(xds_client *c, int64_t now) WEFT_MUST_USE;

/* Every cluster that `r` leads to is in force. */
bool xds_leads_somewhere(const xds_client *c, const config_resource *r);

/* Replaces a heap text by a copy of another (NULL: none). WEFT_ENOMEM leaves it. */
int xds_replace(char **text, const char *with) WEFT_MUST_USE;

#endif
