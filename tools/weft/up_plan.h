/* What `weft up` is about to run: the services of a file with every default filled in, checked and in an
 * order. Plain data: no I/O, no processes. Everything lives in the arena it was made in. */
#ifndef TOOLS_WEFT_UP_PLAN_H
#define TOOLS_WEFT_UP_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/arena.h"
#include "weft/buf.h"
#include "weft/diag.h"

#define UP_MAX_SERVICES 256
#define UP_MAX_INSTANCES 64

typedef enum up_restart { UP_ON_FAILURE, UP_NEVER, UP_ALWAYS } up_restart;
typedef enum up_check {
    UP_CHECK_HEALTH,
    UP_CHECK_CONNECT,
    UP_CHECK_STARTED,
    UP_CHECK_TELLS /* it writes to WEFT_READY_FD: sidecars */
} up_check;

typedef struct up_var {
    const char *name, *value; /* value may hold ${…} */
} up_var;

typedef struct up_service {
    const char *name;
    const char **command; /* may hold ${…} */
    size_t command_count;
    up_var *env; /* of the file, then of the service: later ones win */
    size_t env_count;
    const char **uses; /* names as written; */
    size_t *use;       /* and the same as indices into up_plan.services, once ordered */
    size_t use_count;
    unsigned instances;
    const char *listen; /* NULL: a unix socket; "tcp": a free loopback port; else an address */
    const char *working_dir;
    up_restart restart;
    int64_t backoff_ns, max_backoff_ns;
    unsigned max_restarts; /* 0: no limit */
    up_check check;
    int64_t ready_ns; /* timeout */
    int64_t grace_ns; /* SIGTERM to SIGKILL */
    /* Of meshes with sidecars, once up_mesh_expand has added them; indices into up_plan.services. */
    bool is_sidecar;
    size_t sidecar;       /* of a service: its sidecars, instance by instance */
    size_t app;           /* of a sidecar: whose; UP_NONE: the command's */
    const char *dir;      /* its directory; NULL: one of its own in the state directory */
    bool names_upstreams; /* its text has a ${WEFT_UPSTREAM_…} */
} up_service;

#define UP_NONE SIZE_MAX

typedef struct up_plan {
    weft_arena *arena;
    const char *file; /* as given by the user */
    const char *dir;  /* where the file is */
    const char *mesh; /* the namespace */
    up_service *services;
    size_t count;
    size_t *order; /* indices: each service after all it uses; else as written */
    bool sidecars;
    bool sidecars_tcp;
    const char *domain;   /* trust domain of the sidecars */
    size_t sidecar_count; /* services added by up_mesh_expand; the last ones */
} up_plan;

/* A DNS label: [a-z0-9]([-a-z0-9]*[a-z0-9])?, at most 63 bytes. */
bool up_name_valid(const char *name);

/* "order-events" → "WEFT_UPSTREAM_ORDER_EVENTS", in `arena`; NULL when memory is out. */
const char *up_upstream_variable(weft_arena *arena, const char *service);

/* Resolves `uses` to indices and fills `order`. Reports unknown names (with a suggestion), a service that uses
 * itself, and a cycle, printed as "order -> payment -> order". Returns 0, WEFT_EPARSE or WEFT_ENOMEM. */
int up_plan_order(up_plan *plan, weft_diags *diags) WEFT_MUST_USE;

/* ---- ${…} ------------------------------------------------------------------------------------------- */

/* The value of a variable, or NULL when there is none. */
typedef const char *(*up_lookup)(void *user, const char *name);

/* `text` with its variables replaced, in `arena`. NULL with *why (a sentence in the arena) when a variable is
 * unknown or "${" is not closed; *why is NULL when memory is out. */
const char *up_expand(weft_arena *arena, const char *text, up_lookup lookup, void *user,
                      const char **why) WEFT_MUST_USE;

/* Checks every ${…} of a service without running it: reports those that will have no value. */
int up_plan_check_variables(const up_plan *plan, weft_diags *diags) WEFT_MUST_USE;

/* ---- one instance ------------------------------------------------------------------------------------ */

/* What a running instance is told. `vars` holds the built-in variables. */
typedef struct up_instance_names {
    const char *listen;           /* its address */
    const char *dir;              /* its data directory */
    const char *bin;              /* directory of the weft program */
    unsigned number;              /* 0… */
    const char *const *upstreams; /* an address for each of service->use */
    const char *outbound;         /* of its sidecar, an address; NULL: none */
} up_instance_names;

/* Value of a built-in variable for that instance; for up_expand through up_instance_lookup. */
typedef struct up_scope {
    const up_plan *plan;
    const up_service *service;
    const up_instance_names *names;
    weft_arena *arena;
} up_scope;
const char *up_scope_lookup(void *scope, const char *name);

#endif
