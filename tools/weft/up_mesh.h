/* Meshes with sidecars: `mesh: {sidecars: true}` of a file. A sidecar is a service like others to the supervisor:
 * the plan is extended by one for each service, with as many instances, and one for the command; each service uses
 * its sidecar, so that it starts after it and ends before it. */
#ifndef TOOLS_WEFT_UP_MESH_H
#define TOOLS_WEFT_UP_MESH_H

#include <stdbool.h>

#include "tools/weft/up_plan.h"

struct up_sup;

/* In the state directory: certificates, bootstrap files, spans. No service can be called that. */
#define UP_MESH_DIR ".mesh"
/* The command's service. */
#define UP_MESH_CLIENT "client"
/* Sidecars read their certificates once: they must last as long as a mesh on a developer's machine runs. */
#define UP_MESH_TTL (INT64_C(30) * 24 * 3600 * 1000000000)

/* Names that services of such meshes cannot have. */
bool up_mesh_reserved(const char *name);

/* The program to start: beside weft, else from PATH. In `arena`; NULL when memory is out. */
const char *up_mesh_program(weft_arena *arena, const char *bin_dir);

/* What a sidecar has in common with all others; the caller sets name, command, app and instances. */
void up_mesh_sidecar(up_service *out);

/* Adds the sidecars to a plan in order. 0 or WEFT_ENOMEM. */
int up_mesh_expand(up_plan *plan, const char *bin_dir) WEFT_MUST_USE;

/* Makes certificates and writes a bootstrap file for each instance, once addresses are known. 0 or a negative
 * WEFT_E…, reported in sup->failure. */
int up_mesh_prepare(struct up_sup *sup) WEFT_MUST_USE;

#endif
