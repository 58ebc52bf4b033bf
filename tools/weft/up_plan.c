#include "tools/weft/up_plan.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

bool up_name_valid(const char *name) {
    size_t len = strlen(name);
    if (len == 0 || len > 63 || name[0] == '-' || name[len - 1] == '-') return false;
    for (const char *p = name; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '-')) return false;
    return true;
}

const char *up_upstream_variable(weft_arena *arena, const char *service) {
    char *text = weft_arena_printf(arena, "WEFT_UPSTREAM_%s", service);
    if (!text) return NULL;
    for (char *p = text; *p; p++) *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    return text;
}

/* ---- order ------------------------------------------------------------------------------------------ */

enum mark { UNSEEN, ON_PATH, DONE };

struct walk {
    up_plan *plan;
    weft_diags *diags;
    unsigned char *mark;
    size_t *path; /* services from the first visited to the current one */
    size_t depth;
    size_t placed;
};

static int report_cycle(struct walk *walk, size_t again) {
    const up_plan *plan = walk->plan;
    weft_buf text;
    weft_buf_init(&text, 64 * 1024);
    size_t from = 0;
    while (walk->path[from] != again) from++;
    for (size_t i = from; i < walk->depth; i++)
        weft_buf_printf(&text, "%s -> ", plan->services[walk->path[i]].name);
    weft_buf_adds(&text, plan->services[again].name);
    int rc = weft_diag_add(walk->diags, plan->file, 0, 0, "services",
                           "drop one of these uses: a service starts after all it uses",
                           "services use each other in a circle: %s", weft_buf_str(&text));
    weft_buf_free(&text);
    return rc;
}

/* Depth is bounded by UP_MAX_SERVICES. */
static int visit(struct walk *walk, size_t index) {
    if (walk->mark[index] == DONE) return 0;
    if (walk->mark[index] == ON_PATH) return report_cycle(walk, index);
    walk->mark[index] = ON_PATH;
    walk->path[walk->depth++] = index;
    const up_service *service = &walk->plan->services[index];
    for (size_t i = 0; i < service->use_count; i++) {
        int rc = visit(walk, service->use[i]);
        if (rc < 0) return rc;
    }
    walk->depth--;
    walk->mark[index] = DONE;
    walk->plan->order[walk->placed++] = index;
    return 0;
}

static int resolve_uses(up_plan *plan, size_t index, const char *const *names, weft_diags *diags) {
    up_service *service = &plan->services[index];
    int rc = 0;
    service->use = weft_arena_calloc(plan->arena, service->use_count + 1, sizeof *service->use);
    if (!service->use) return WEFT_ENOMEM;
    for (size_t i = 0; i < service->use_count; i++) {
        const char *path = weft_arena_printf(plan->arena, "services[%zu].uses[%zu]", index, i);
        size_t found = plan->count;
        for (size_t s = 0; s < plan->count; s++)
            if (strcmp(names[s], service->uses[i]) == 0) found = s;
        for (size_t j = 0; j < i; j++)
            if (strcmp(service->uses[j], service->uses[i]) == 0)
                rc = weft_diag_add(diags, plan->file, 0, 0, path, "name it once",
                                   "\"%s\" uses \"%s\" twice", service->name, service->uses[i]);
        if (found == plan->count) {
            const char *near = weft_suggest(service->uses[i], names, plan->count);
            const char *hint = near ? weft_arena_printf(plan->arena, "did you mean \"%s\"?", near)
                                    : "name a service of this file";
            rc = weft_diag_add(diags, plan->file, 0, 0, path, hint,
                               "\"%s\" uses an unknown service \"%s\"", service->name,
                               service->uses[i]);
            continue;
        }
        if (found == index)
            rc = weft_diag_add(diags, plan->file, 0, 0, path, "remove it", "\"%s\" uses itself",
                               service->name);
        service->use[i] = found;
    }
    return rc;
}

int up_plan_order(up_plan *plan, weft_diags *diags) {
    size_t n = plan->count;
    const char **names = weft_arena_calloc(plan->arena, n + 1, sizeof *names);
    struct walk walk = {.plan = plan, .diags = diags};
    walk.mark = weft_arena_calloc(plan->arena, n + 1, 1);
    walk.path = weft_arena_calloc(plan->arena, n + 1, sizeof *walk.path);
    plan->order = weft_arena_calloc(plan->arena, n + 1, sizeof *plan->order);
    if (!names || !walk.mark || !walk.path || !plan->order) return WEFT_ENOMEM;
    for (size_t i = 0; i < n; i++) names[i] = plan->services[i].name;
    int rc = 0;
    for (size_t i = 0; i < n; i++) {
        int one = resolve_uses(plan, i, names, diags);
        if (one < 0) rc = one;
    }
    for (size_t i = 0; rc == 0 && i < n; i++) rc = visit(&walk, i);
    return rc;
}

/* ---- ${…} ------------------------------------------------------------------------------------------- */

const char *up_expand(weft_arena *arena, const char *text, up_lookup lookup, void *user,
                      const char **why) {
    weft_buf out;
    weft_buf_init(&out, 256 * 1024);
    *why = NULL;
    for (const char *p = text; *p;) {
        if (p[0] != '$' || (p[1] != '{' && p[1] != '$')) {
            weft_buf_addc(&out, *p++);
            continue;
        }
        if (p[1] == '$') {
            weft_buf_addc(&out, '$');
            p += 2;
            continue;
        }
        const char *end = strchr(p + 2, '}');
        if (!end) {
            *why = weft_arena_printf(
                arena, "\"%.40s\" has no closing brace (write $$ for a dollar sign)", p);
            goto fail;
        }
        const char *name = weft_arena_strndup(arena, p + 2, (size_t)(end - p - 2));
        if (!name) goto fail;
        const char *value = lookup(user, name);
        if (!value) {
            *why = weft_arena_printf(arena, "${%s} has no value here", name);
            goto fail;
        }
        weft_buf_adds(&out, value);
        p = end + 1;
    }
    if (out.error == WEFT_ELIMIT) *why = "too long once its variables are replaced";
    if (out.error) goto fail;
    const char *result = weft_arena_strdup(arena, weft_buf_str(&out));
    weft_buf_free(&out);
    return result;
fail:
    weft_buf_free(&out);
    return NULL;
}

const char *up_scope_lookup(void *user, const char *name) {
    const up_scope *scope = user;
    const up_service *service = scope->service;
    if (strcmp(name, "WEFT_LISTEN") == 0) return scope->names->listen;
    if (strcmp(name, "dir") == 0) return scope->names->dir;
    if (strcmp(name, "bin") == 0) return scope->names->bin;
    if (strcmp(name, "file") == 0) return scope->plan->dir;
    if (strcmp(name, "name") == 0) return service->name;
    if (strcmp(name, "namespace") == 0) return scope->plan->mesh;
    if (strcmp(name, "instance") == 0)
        return weft_arena_printf(scope->arena, "%u", scope->names->number);
    if (strncmp(name, "env.", 4) == 0) return getenv(name + 4);
    for (size_t i = 0; i < service->use_count; i++) {
        const char *variable = up_upstream_variable(scope->arena, service->uses[i]);
        if (variable && strcmp(variable, name) == 0) return scope->names->upstreams[i];
    }
    return NULL;
}

/* What to do about a variable without a value. */
static const char *variable_hint(const up_plan *plan, const up_service *service, const char *why) {
    static const char *const known[] = {"WEFT_LISTEN", "dir",      "bin",      "file",
                                        "name",        "instance", "namespace"};
    const char *open = strstr(why, "${");
    const char *close = open ? strchr(open, '}') : NULL;
    if (!close || strstr(why, "no closing")) return NULL;
    const char *name = weft_arena_strndup(plan->arena, open + 2, (size_t)(close - open - 2));
    if (!name) return NULL;
    if (strncmp(name, "env.", 4) == 0)
        return weft_arena_printf(plan->arena, "set %s in the environment of weft up", name + 4);
    for (size_t i = 0; strncmp(name, "WEFT_UPSTREAM_", 14) == 0 && i < plan->count; i++) {
        const char *variable = up_upstream_variable(plan->arena, plan->services[i].name);
        if (variable && strcmp(variable, name) == 0)
            return weft_arena_printf(plan->arena, "add \"%s\" to the uses of \"%s\"",
                                     plan->services[i].name, service->name);
    }
    const char *near = weft_suggest(name, known, sizeof known / sizeof *known);
    if (near) return weft_arena_printf(plan->arena, "did you mean ${%s}?", near);
    return "there are ${WEFT_LISTEN}, ${dir}, ${bin}, ${file}, ${name}, ${instance}, ${namespace}, "
           "${WEFT_UPSTREAM_<NAME>} and ${env.NAME}";
}

struct check {
    const up_plan *plan;
    const up_service *service;
    up_scope scope;
    weft_diags *diags;
    int rc;
};

static void check_text(struct check *check, const char *path, const char *text) {
    const char *why;
    if (!text || up_expand(check->plan->arena, text, up_scope_lookup, &check->scope, &why)) return;
    if (!why) {
        check->rc = WEFT_ENOMEM;
        return;
    }
    const char *hint = variable_hint(check->plan, check->service, why);
    check->rc = weft_diag_add(check->diags, check->plan->file, 0, 0, path, hint, "%s", why);
}

int up_plan_check_variables(const up_plan *plan, weft_diags *diags) {
    struct check check = {.plan = plan, .diags = diags};
    for (size_t s = 0; s < plan->count && check.rc != WEFT_ENOMEM; s++) {
        const up_service *service = &plan->services[s];
        const char **upstreams =
            weft_arena_calloc(plan->arena, service->use_count + 1, sizeof *upstreams);
        if (!upstreams) return WEFT_ENOMEM;
        for (size_t i = 0; i < service->use_count; i++) upstreams[i] = "";
        up_instance_names names = {.listen = "", .dir = "", .bin = "", .upstreams = upstreams};
        check.service = service;
        check.scope = (up_scope){plan, service, &names, plan->arena};
        for (size_t i = 0; i < service->command_count; i++)
            check_text(&check, weft_arena_printf(plan->arena, "services[%zu].command[%zu]", s, i),
                       service->command[i]);
        for (size_t i = 0; i < service->env_count; i++)
            check_text(
                &check,
                weft_arena_printf(plan->arena, "services[%zu].env.%s", s, service->env[i].name),
                service->env[i].value);
        check_text(&check, weft_arena_printf(plan->arena, "services[%zu].workingDir", s),
                   service->working_dir);
        if (service->listen && strstr(service->listen, "${WEFT_LISTEN}"))
            check.rc = weft_diag_add(diags, plan->file, 0, 0,
                                     weft_arena_printf(plan->arena, "services[%zu].listen", s),
                                     NULL, "${WEFT_LISTEN} cannot stand in what defines it");
        else
            check_text(&check, weft_arena_printf(plan->arena, "services[%zu].listen", s),
                       service->listen);
    }
    return check.rc;
}
