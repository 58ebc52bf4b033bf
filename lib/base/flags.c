/* Settings from initial values, environment, files and the command line, by one table. */
#include "weft/flags.h"

#include <stdlib.h>
#include <string.h>

/* A walk over argv. `rc` is the first failure; parsing goes on after one, so that the user sees all. */
typedef struct walk {
    weft_flags *flags;
    weft_diags *problems;
    int argc;
    const char *const *argv;
    int at; /* the argument in hand */
    int rc;
} walk;

static void note_failure(int *rc, int failure) {
    if (failure && *rc != WEFT_ENOMEM) *rc = failure;
}

static const weft_flag *by_name(const weft_flags *flags, const char *name, size_t len) {
    for (size_t i = 0; i < flags->count; i++)
        if (strlen(flags->table[i].name) == len && !memcmp(flags->table[i].name, name, len))
            return &flags->table[i];
    return NULL;
}

static const weft_flag *by_letter(const weft_flags *flags, char letter) {
    for (size_t i = 0; i < flags->count; i++)
        if (letter && flags->table[i].letter == letter) return &flags->table[i];
    return NULL;
}

/* The flag most like `name`, or NULL. `name` is "drian", without dashes. */
static const char *near_name(const weft_flags *flags, const char *name) {
    const char *best = NULL;
    for (size_t i = 0; i < flags->count; i++) {
        if (flags->table[i].hidden) continue;
        const char *pair[2] = {best, flags->table[i].name};
        const char *found = best ? weft_suggest(name, pair, 2) : weft_suggest(name, pair + 1, 1);
        if (found) best = found;
    }
    return best;
}

static weft_flag_source source_of(const weft_flags *flags, const weft_flag *flag) {
    return flags->sources ? (weft_flag_source)flags->sources[flag - flags->table] : WEFT_FLAG_UNSET;
}

weft_flag_source weft_flags_source(const weft_flags *flags, const char *name) {
    const weft_flag *flag = by_name(flags, name, strlen(name));
    return flag ? source_of(flags, flag) : WEFT_FLAG_UNSET;
}

/* Stores `text` unless a stronger source has spoken; says on failure why. */
static int apply(weft_flags *flags, const weft_flag *flag, const char *text,
                 weft_flag_source source, const char **why, const char **hint) {
    const weft_flag_source before = source_of(flags, flag);
    const bool store = source >= before;
    /* A stronger source starts a list anew. */
    weft_flag_list kept = {0};
    const bool anew = store && flag->type == WEFT_FLAG_LIST && source > before;
    if (anew) {
        kept = *flag->to.list;
        *flag->to.list = (weft_flag_list){0};
    }
    int rc = weft_flag_parse(flag, text, flags->arena, store, why, hint);
    if (rc && anew) *flag->to.list = kept;
    if (!rc && store) flags->sources[flag - flags->table] = (unsigned char)source;
    return rc;
}

/* As apply, for a text that lists several items if the flag is a list. */
static int apply_joined(weft_flags *flags, const weft_flag *flag, const char *text,
                        weft_flag_source source, const char **why, const char **hint) {
    if (flag->type != WEFT_FLAG_LIST) return apply(flags, flag, text, source, why, hint);
    for (const char *at = text;; at++) {
        const size_t len = strcspn(at, ",");
        const char *item = weft_arena_strndup(flags->arena, at, len);
        if (!item) return WEFT_ENOMEM;
        int rc = len ? apply(flags, flag, item, source, why, hint) : 0;
        if (rc) return rc;
        at += len;
        if (!*at) return 0;
    }
}

int weft_flags_set(weft_flags *flags, const char *name, const char *text, weft_flag_source source,
                   weft_diags *problems, const char *file, int line, int column) {
    const char *why = NULL;
    const char *hint = NULL;
    const weft_flag *flag = by_name(flags, name, strlen(name));
    if (!flag) {
        const char *near = near_name(flags, name);
        if (near) hint = weft_arena_printf(flags->arena, "did you mean \"%s\"?", near);
        (void)weft_diag_add(problems, file, line, column, name, hint, "unknown setting");
        return WEFT_ENOTFOUND;
    }
    int rc = apply(flags, flag, text, source, &why, &hint);
    if (rc == WEFT_EPARSE) (void)weft_diag_add(problems, file, line, column, name, hint, "%s", why);
    return rc;
}

static int load_initial_and_env(weft_flags *flags, weft_diags *problems) {
    int rc = 0;
    for (size_t i = 0; i < flags->count; i++) {
        const weft_flag *flag = &flags->table[i];
        const char *env = flag->env ? getenv(flag->env) : NULL;
        const char *why = NULL;
        const char *hint = NULL;
        int failure = 0;
        if (flag->initial)
            failure = apply_joined(flags, flag, flag->initial, WEFT_FLAG_INITIAL, &why, &hint);
        if (failure == WEFT_EPARSE)
            (void)weft_diag_add(problems, NULL, 0, 0, flag->name, hint, "initial value: %s", why);
        note_failure(&rc, failure);
        failure = 0;
        if (env && *env) failure = apply_joined(flags, flag, env, WEFT_FLAG_ENV, &why, &hint);
        if (failure == WEFT_EPARSE)
            (void)weft_diag_add(problems, NULL, 0, 0, flag->env, hint, "%s", why);
        note_failure(&rc, failure);
    }
    return rc;
}

/* Reports a problem with a flag as the user wrote it, "--drain" or "-d". */
static void complain(walk *w, const char *dashes, const char *name, size_t len, const char *hint,
                     const char *text) {
    const char *path = weft_arena_printf(w->flags->arena, "%s%.*s", dashes, (int)len, name);
    (void)weft_diag_add(w->problems, NULL, 0, 0, path, hint, "%s", text);
    note_failure(&w->rc, WEFT_EPARSE);
}

static void apply_argument(walk *w, const weft_flag *flag, const char *dashes, const char *name,
                           size_t len, const char *text) {
    const char *why = NULL;
    const char *hint = NULL;
    int rc = apply(w->flags, flag, text, WEFT_FLAG_ARGS, &why, &hint);
    if (rc == WEFT_EPARSE) complain(w, dashes, name, len, hint, why);
    note_failure(&w->rc, rc);
}

/* The next argument as a value. One that looks like a long flag is a forgotten value more often than a
 * value. */
static const char *next_value(walk *w, const char *dashes, const char *name, size_t len) {
    if (w->at + 1 >= w->argc) {
        complain(w, dashes, name, len, NULL, "a value is missing");
        return NULL;
    }
    const char *next = w->argv[w->at + 1];
    if (!strncmp(next, "--", 2)) {
        const char *hint =
            weft_arena_printf(w->flags->arena, "if %s is the value, write it after '='", next);
        complain(w, dashes, name, len, hint, "a value is missing");
        return NULL;
    }
    w->at++;
    return next;
}

static void unknown_long(walk *w, const char *name, size_t len, bool negated) {
    weft_flags *flags = w->flags;
    const char *hint = NULL;
    const char *plain = weft_arena_strndup(flags->arena, name, len);
    const char *near = plain ? near_name(flags, plain) : NULL;
    if (negated && by_name(flags, name + 3, len - 3)) {
        complain(w, "--", name, len, NULL, "only a switch can be turned off");
        return;
    }
    if (near) hint = weft_arena_printf(flags->arena, "did you mean \"--%s\"?", near);
    if (!near) hint = "see --help";
    complain(w, "--", name, len, hint, "unknown flag");
}

/* "--name", "--name=value", "--no-name"; `name` is what follows the dashes. */
static void long_flag(walk *w, const char *name) {
    const char *equals = strchr(name, '=');
    const size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const weft_flag *flag = by_name(w->flags, name, len);
    const bool negated = len > 3 && !strncmp(name, "no-", 3);
    if (!flag && negated) {
        flag = by_name(w->flags, name + 3, len - 3);
        if (flag && flag->type == WEFT_FLAG_BOOL) {
            if (equals)
                complain(w, "--", name, len, NULL, "takes no value");
            else
                apply_argument(w, flag, "--", name, len, "false");
            return;
        }
        flag = NULL;
    }
    if (!flag && !equals && !strcmp(name, "help")) {
        w->flags->help = true;
    } else if (!flag) {
        unknown_long(w, name, len, negated);
    } else if (equals) {
        apply_argument(w, flag, "--", name, len, equals + 1);
    } else if (flag->type == WEFT_FLAG_BOOL) {
        apply_argument(w, flag, "--", name, len, "true");
    } else {
        const char *value = next_value(w, "--", name, len);
        if (value) apply_argument(w, flag, "--", name, len, value);
    }
}

/* "-v", "-vx", "-n5", "-n=5", "-n 5"; `letters` is what follows the dash. */
static void short_flags(walk *w, const char *letters) {
    for (; *letters; letters++) {
        const weft_flag *flag = by_letter(w->flags, *letters);
        if (!flag && *letters == 'h') {
            w->flags->help = true;
            continue;
        }
        if (!flag) {
            complain(w, "-", letters, 1, "see --help", "unknown flag");
            return;
        }
        if (flag->type == WEFT_FLAG_BOOL) {
            apply_argument(w, flag, "-", letters, 1, "true");
            continue;
        }
        const char *value = letters[1] ? letters + 1 + (letters[1] == '=') : NULL;
        if (!value) value = next_value(w, "-", letters, 1);
        if (value) apply_argument(w, flag, "-", letters, 1, value);
        return;
    }
}

static void walk_arguments(walk *w) {
    bool flags_over = false;
    for (w->at = 1; w->at < w->argc; w->at++) {
        const char *arg = w->argv[w->at];
        if (flags_over || arg[0] != '-' || !arg[1]) {
            w->flags->args[w->flags->args_count++] = arg;
            if (w->flags->stop_early) flags_over = true;
        } else if (!strcmp(arg, "--")) {
            flags_over = true;
        } else if (arg[1] == '-') {
            long_flag(w, arg + 2);
        } else {
            short_flags(w, arg + 1);
        }
    }
}

static void check_required(walk *w) {
    for (size_t i = 0; i < w->flags->count; i++) {
        const weft_flag *flag = &w->flags->table[i];
        if (!flag->required || source_of(w->flags, flag) != WEFT_FLAG_UNSET) continue;
        const char *hint = NULL;
        if (flag->env) hint = weft_arena_printf(w->flags->arena, "or set %s", flag->env);
        complain(w, "--", flag->name, strlen(flag->name), hint, "must be given");
    }
}

int weft_flags_load(weft_flags *flags, weft_arena *arena, int argc, const char *const *argv,
                    weft_diags *problems) {
    const size_t args = argc > 0 ? (size_t)argc : 0;
    flags->arena = arena;
    flags->args_count = 0;
    flags->help = false;
    flags->sources = weft_arena_calloc(arena, flags->count + 1, sizeof *flags->sources);
    flags->args = weft_arena_calloc(arena, args + 1, sizeof *flags->args);
    if (!flags->sources || !flags->args) return WEFT_ENOMEM;
    walk w = {.flags = flags, .problems = problems, .argc = argc, .argv = argv};
    note_failure(&w.rc, load_initial_and_env(flags, problems));
    walk_arguments(&w);
    if (!flags->help) check_required(&w);
    return w.rc;
}
