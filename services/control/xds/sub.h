/* What one client asked for of one type, and what it was told. Private to services/control/xds. */
#ifndef CONTROL_XDS_SUB_H
#define CONTROL_XDS_SUB_H

#include "services/control/xds/stream.h"
#include "weft/map.h"

/* One resource that the client was told. */
typedef struct xds_told {
    char version[CONTROL_VERSION_TEXT];
    bool in_flight; /* is in the response that waits for its answer */
    bool refused;  /* the last response it was in was refused, because of it or of who knows what */
    bool again;    /* owed again, although it did not change */
    uint8_t *kept; /* a cluster that is gone: its bytes, while routes may lead to it */
    size_t kept_len;
} xds_told;

typedef struct xds_sub {
    control_xds_type type;
    bool subscribed; /* a request came */
    bool named;      /* a name was given: an empty list is no wildcard any more */
    bool wildcard;
    bool owed;      /* CDS, LDS: a response is owed whatever changed */
    bool hold;      /* what was told must not change now */
    bool waiting;   /* a response is in flight */
    bool refused;   /* the last answer was a refusal */
    uint32_t kept;  /* told that are kept */
    weft_map names; /* asked for → NULL */
    weft_map told;  /* name → xds_told */
    char *reason;   /* of the refusal; NULL: none */
    int64_t sent_at;
    char nonce[24];
    char version[XDS_STREAM_VERSION_TEXT], accepted[XDS_STREAM_VERSION_TEXT];
    uint64_t sent, acks, nacks, stale;
} xds_sub;

extern const char *const xds_sub_urls[CONTROL_XDS_TYPES];

/* NULL when there is none. */
const control_resource *xds_sub_find(const control_resources *all, const char *name);

void xds_sub_init(xds_sub *s, control_xds_type type);
void xds_sub_free(xds_sub *s);

/* The names of a request. WEFT_ELIMIT, WEFT_EINVAL with *why, WEFT_ENOMEM. */
int xds_sub_names(xds_sub *s, char *const *names, size_t count, const char **why) WEFT_MUST_USE;

/* Something is owed; with `hold`, besides changes of what was told. */
bool xds_sub_due(const xds_sub *s, const control_resources *all, bool hold);
/* Something that it should have was refused. */
bool xds_sub_doubt(const xds_sub *s, const control_resources *all);

/* The version of what it would have if it were told what is owed; of all it wants, less what it
 * refused and is not told again. */
void xds_sub_version(const xds_sub *s, const control_resources *all,
                     char out[XDS_STREAM_VERSION_TEXT]);

/* The client has all it wants already. WEFT_ENOMEM. */
int xds_sub_know(xds_sub *s, const control_resources *all) WEFT_MUST_USE;

/* Fills in resources, and marks them told; version and nonce are set. WEFT_ENOMEM. */
int xds_sub_tell(xds_sub *s, const control_resources *all, weft_arena *arena,
                 EnvoyDiscovery__DiscoveryResponse *response) WEFT_MUST_USE;

/* The response in flight was accepted, or refused. */
void xds_sub_answered(xds_sub *s, bool refused, const char *reason);

/* Clusters: keeps those that were told and are in `before`, but not in `after`. WEFT_ENOMEM. */
int xds_sub_keep(xds_sub *s, const control_resources *before,
                 const control_resources *after) WEFT_MUST_USE;
/* Lets go of all that are kept: the next response is without them, and owed. */
void xds_sub_drop_kept(xds_sub *s);
/* Endpoints, routes: forgets having told what is not there any more. */
void xds_sub_forget(xds_sub *s, const control_resources *all);
/* Endpoints of clusters that are about to be told, new or changed, are owed again. */
void xds_sub_again(xds_sub *endpoints, const xds_sub *clusters, const control_resources *all);

#endif
