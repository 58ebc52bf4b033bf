/* Bootstrap files of sidecars, written: what weft-sidecar -c reads. Plain data to YAML text: no I/O. */
#ifndef TOOLS_WEFT_BOOTSTRAP_H
#define TOOLS_WEFT_BOOTSTRAP_H

#include <stddef.h>

#include "weft/addr.h"
#include "weft/arena.h"
#include "weft/buf.h"
#include "weft/diag.h"

/* A service that is called through the sidecar. Strings are the caller's. */
typedef struct bootstrap_peer {
    const char *service;        /* "product"; it is dialled as that and as "product.shop" */
    const char *id;             /* whom to expect: its SPIFFE ID, exactly */
    const weft_addr *endpoints; /* inbound listeners of its sidecars */
    size_t endpoint_count;
    const char *listen; /* a socket that leads to it alone, whatever the authority; NULL: none */
} bootstrap_peer;

typedef struct bootstrap {
    const char *node;       /* the instance: "order-0" */
    const char *service;    /* "order" */
    const char *name_space; /* "shop" */
    const char *domain;     /* trust domain; every SVID of it is let in */
    const char *ca_file, *cert_file, *key_file;
    const char *admin;        /* path of a unix socket */
    const weft_addr *inbound; /* mTLS, for other sidecars; NULL: nobody calls this one */
    const weft_addr *app;     /* where inbound calls go, in plaintext; NULL if inbound is */
    const char *outbound;     /* path of a unix socket for the app; listens if there are peers */
    const bootstrap_peer *peers;
    size_t peer_count;
} bootstrap;

/* Name of the cluster that leads to the app itself. */
#define BOOTSTRAP_APP "app"

/* Appends the file; returns the buffer's error. */
int bootstrap_write(const bootstrap *what, weft_buf *out) WEFT_MUST_USE;

/* ---- read ------------------------------------------------------------------------------------------- */

/* What a supervisor must know of a bootstrap file. The strings are addresses as weft_addr_parse takes them, in
 * the arena; NULL where the file has none. */
typedef struct bootstrap_view {
    const char *outbound; /* of the first listener for the app */
    const char *app;      /* the endpoint that the first inbound listener leads to */
} bootstrap_view;

/* Looks into a bootstrap file; weft-sidecar checks it. 0, WEFT_EPARSE (in `diags`), or as weft_buf_read_file. */
int bootstrap_look(const char *file, weft_arena *arena, bootstrap_view *view,
                   weft_diags *diags) WEFT_MUST_USE;

#endif
