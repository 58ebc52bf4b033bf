/* Inside of the model room.
 *
 *   value.c    names, durations, addresses of documents      regex.c  syntax of patterns
 *   parse.c    texts → messages → sets                       canon.c  canonical form, hashes, manifests
 *   check.c    what holds for every document; the whole      check_service.c  check_route.c
 *   diff.c     differences                                   print.c  YAML
 *
 * Checks report each problem where it is and go on. */
#ifndef CONTROL_MODEL_INTERNAL_H
#define CONTROL_MODEL_INTERNAL_H

#include "services/control/model/model.h"
#include "weft/mesh/v1/grpc_route.pb-c.h"
#include "weft/mesh/v1/mesh.pb-c.h"
#include "weft/mesh/v1/service.pb-c.h"

/* What all three kinds begin with; parse.c asserts that they do. */
typedef struct model_envelope {
    ProtobufCMessage base;
    char *api_version, *kind;
    WeftMesh__Meta *metadata;
    void *spec;
} model_envelope;

typedef struct model_kind_info {
    const char *name, *api_version;
    const ProtobufCMessageDescriptor *type;
} model_kind_info;

extern const model_kind_info model_kind_table[MODEL_KINDS];

#define MODEL_PATH_MAX 512u

/* A name that stands in the texts although its document could not be read: references to it are not
 * wrong. */
typedef struct model_broken {
    struct model_broken *next;
    int kind; /* -1: it could not be read either; -2: a part of a document, below */
    const char *name_space, *name;
    const weft_yaml_document *source; /* -2: what else is wrong there follows from what was said */
    const char *path;
} model_broken;

typedef struct model_check {
    weft_arena *arena; /* for hints */
    weft_diags *diags;
    const model_set *set;
    const model_broken *broken;
    const model_document *document; /* the one looked at */
    char path[MODEL_PATH_MAX];      /* where in it; "" is its top */
    bool wrong;                     /* something was reported */
    int rc;                         /* WEFT_ENOMEM, or 0 */
} model_check;

/* Goes into a field or an element of it; give what is returned to model_up. */
size_t model_in(model_check *c, const char *key);
size_t model_at(model_check *c, const char *key, size_t index);
void model_up(model_check *c, size_t mark);

/* Reports a problem with a field of where we are ("": the place itself). `hint` may be NULL. Always
 * false. */
bool model_wrong(model_check *c, const char *field, const char *hint, const char *format, ...)
    WEFT_PRINTF(4, 5);
/* A hint in the arena. */
const char *model_hint(model_check *c, const char *format, ...) WEFT_PRINTF(2, 3);

static inline bool model_given(const char *text) { return text && *text; }

/* A duration from min to max ns; `standard` when it is not given or wrong. */
int64_t model_take_duration(model_check *c, const char *field, const char *text, int64_t standard,
                            int64_t min, int64_t max);
/* "500ms" for a whole number of the largest unit. */
const char *model_duration_text(weft_arena *arena, int64_t ns);

/* The Service document of that name; reports at `field` when there is none. NULL then, and also when
 * its document could not be read. */
const model_document *model_take_service(model_check *c, const char *field, const char *name_space,
                                         const char *name);

void model_check_set(model_check *c);
void model_check_service(model_check *c, const WeftMesh__ServiceSpec *spec);
void model_check_route(model_check *c, const WeftMesh__GRPCRouteSpec *spec);
/* `timeout`: of the whole call, 0 when there is none. */
void model_check_retry(model_check *c, const char *field, const WeftMesh__Retry *retry,
                       int64_t timeout);

/* ---- value.c */
bool model_domain_valid(const char *text); /* trust domain */
bool model_header_valid(const char *text); /* token of RFC 9110 section 5.6.2 */

/* Whether a pattern is within what sidecars compile (RE2 without captures, flags, look-around). False
 * with a static sentence in *why. */
bool model_regex_valid(const char *pattern, const char **why);

/* ---- canon.c */
/* Fills in what is left out, sorts maps, hashes. */
int model_canonical(const weft_registry *registry, weft_arena *arena,
                    model_document *document) WEFT_MUST_USE;
int model_set_hash(weft_arena *arena, model_set *set) WEFT_MUST_USE;

#endif
