/* The discovery client (client.h) on threads and a channel: keeps a stream to the control plane open,
 * publishes snapshots, keeps the last good one on disk. Nothing here decides anything. */
#ifndef SIDECAR_XDS_ADS_H
#define SIDECAR_XDS_ADS_H

#include "sidecar/xds/client.h"
#include "weft/clock.h"
#include "weft/rpc.h"

typedef struct xds_ads xds_ads;

typedef struct xds_ads_options {
    xds_client_options client; /* what it points to is borrowed, but for `base` */
    const char *cache;         /* path of the file for the next start; NULL: none. Borrowed */
    /* A channel for the next stream, freed after it: so a renewed certificate is used. NULL: not now. */
    weft_channel *(*dial)(void *user);
    /* What is in force from now on; borrowed. One call at a time, with our lock held: post it on. */
    void (*changed)(void *user, config_snapshot *snapshot);
    void *user;
} xds_ads_options;

/* Takes what was kept on disk, if that is good (`changed` is called before this returns), and begins.
 * WEFT_ENOMEM, also when there is no thread. */
int xds_ads_start(const xds_ads_options *options, xds_ads **out) WEFT_MUST_USE;

/* Ends the stream and waits for the threads. NULL is allowed. */
void xds_ads_stop(xds_ads *ads);

/* As xds_client_want; any thread. */
int xds_ads_want(xds_ads *ads, const char *cluster) WEFT_MUST_USE;
/* As xds_client_ready and _describe; any thread. */
bool xds_ads_ready(xds_ads *ads);
int xds_ads_describe(xds_ads *ads, weft_buf *out) WEFT_MUST_USE;

#endif
