#include "tools/weft/up_env.h"

#include <stdbool.h>
#include <string.h>

static bool is_outer(const char *entry) {
    static const char *const names[] = {
        "WEFT_LISTEN=",    "WEFT_SERVICE=",  "WEFT_NAMESPACE=", "WEFT_INSTANCE=",
        "WEFT_STATE_DIR=", "WEFT_READY_FD=", "WEFT_OUTBOUND=",  "WEFT_UPSTREAM_"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(entry, names[i], strlen(names[i])) == 0) return true;
    return false;
}

/* Keeps room for the NULL at the end. */
static void append(up_env *env, const char *entry) {
    if (!entry) env->error = WEFT_ENOMEM;
    if (env->error) return;
    if (env->count + 1 >= env->cap) {
        size_t cap = env->cap ? env->cap * 2 : 64;
        const char **list = weft_arena_calloc(env->arena, cap, sizeof *list);
        if (!list) {
            env->error = WEFT_ENOMEM;
            return;
        }
        for (size_t i = 0; i < env->count; i++) list[i] = env->list[i];
        env->list = list;
        env->cap = cap;
    }
    env->list[env->count++] = entry;
}

void up_env_begin(up_env *env, weft_arena *arena, char *const *environ_) {
    *env = (up_env){.arena = arena};
    for (char *const *at = environ_; *at; at++)
        if (!is_outer(*at)) append(env, weft_arena_strdup(arena, *at));
}

void up_env_set(up_env *env, const char *name, const char *value) {
    size_t len = strlen(name);
    const char *entry = weft_arena_printf(env->arena, "%s=%s", name, value);
    for (size_t i = 0; entry && i < env->count; i++) {
        if (strncmp(env->list[i], name, len) == 0 && env->list[i][len] == '=') {
            env->list[i] = entry;
            return;
        }
    }
    append(env, entry);
}

const char *const *up_env_end(up_env *env) {
    if (env->count == 0) { /* an empty environment is one, too */
        const char **none = weft_arena_calloc(env->arena, 1, sizeof *none);
        return none;
    }
    return env->error ? NULL : env->list;
}
