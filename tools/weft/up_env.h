/* Environments of the processes that `weft up` starts. */
#ifndef TOOLS_WEFT_UP_ENV_H
#define TOOLS_WEFT_UP_ENV_H

#include <stddef.h>

#include "weft/arena.h"
#include "weft/error.h"

/* A NULL-terminated envp under construction; strings and array live in `arena`. */
typedef struct up_env {
    weft_arena *arena;
    const char **list;
    size_t count, cap;
    int error; /* WEFT_ENOMEM, sticky */
} up_env;

/* Begins with a copy of `environ` less what an outer mesh may have set: WEFT_LISTEN, WEFT_SERVICE,
 * WEFT_NAMESPACE, WEFT_INSTANCE, WEFT_STATE_DIR, WEFT_READY_FD, WEFT_OUTBOUND and WEFT_UPSTREAM_*. */
void up_env_begin(up_env *env, weft_arena *arena, char *const *environ_);
/* Sets or replaces. */
void up_env_set(up_env *env, const char *name, const char *value);
/* NULL when memory ran out on the way. */
const char *const *up_env_end(up_env *env) WEFT_MUST_USE;

#endif
