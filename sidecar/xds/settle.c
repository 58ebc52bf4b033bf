/* What is asked for, what is warm, and snapshots of it. */
#include <string.h>

#include "sidecar/xds/internal.h"
#include "weft/mem.h"

/* Walks the entries of a kind. */
static bool next_entry(const xds_client *c, config_kind kind, size_t *at, const char **name,
                       xds_entry **out) {
    void *value;
    if (!weft_map_next(&c->kinds[kind].entries, at, name, NULL, &value)) return false;
    *out = value;
    return true;
}

/* ---- what is asked for */

/* What `r` needs and leads to, in `needs` (of the next kind) and `clusters`; either may be NULL. */
static int note(const config_resource *r, weft_map *needs, weft_map *clusters) {
    int rc = r && r->needs && needs ? weft_map_put(needs, r->needs, NULL) : 0;
    for (size_t i = 0; r && clusters && i < r->cluster_count && !rc; i++)
        rc = weft_map_put(clusters, r->clusters[i], NULL);
    return rc;
}

static int note_kind(const xds_client *c, config_kind kind, weft_map *needs, weft_map *clusters) {
    size_t at = 0;
    xds_entry *e;
    int rc = 0;
    while (!rc && next_entry(c, kind, &at, NULL, &e)) {
        if (!e->gone) rc = note(e->latest, needs, clusters);
        if (!rc) rc = note(e->active, needs, clusters);
    }
    return rc;
}

/* Makes the wanted entries of a kind those in `names`. Endpoints and routes that nobody needs any
 * more are forgotten. */
static int want_these(xds_client *c, config_kind kind, const weft_map *names, int64_t now) {
    const bool forget = kind == CONFIG_KIND_ENDPOINTS || kind == CONFIG_KIND_ROUTES;
    xds_kind *k = &c->kinds[kind];
    const char *name;
    xds_entry *e;
    size_t at = 0;
    while (next_entry(c, kind, &at, &name, &e)) {
        if (!e->wanted || weft_map_find(names, name)) continue;
        e->wanted = e->missing = false;
        e->deadline = INT64_MAX;
        k->due = c->open;
        if (forget || !e->latest) xds_entry_drop(c, kind, name);
    }
    at = 0;
    while (weft_map_next(names, &at, &name, NULL, NULL)) {
        e = xds_entry_add(c, kind, name);
        if (!e) return WEFT_ENOMEM;
        if (e->wanted) continue;
        e->wanted = true;
        k->due = c->open;
        if (c->open && !e->latest) e->deadline = now + XDS_MISSING;
    }
    return 0;
}

static int refresh_clusters(xds_client *c, weft_map *names, int64_t now) {
    size_t at = 0;
    const char *name;
    int rc = 0;
    if (!c->kinds[CONFIG_KIND_CLUSTER].wildcard) {
        rc = note_kind(c, CONFIG_KIND_ROUTES, NULL, names);
        if (!rc) rc = note_kind(c, CONFIG_KIND_LISTENER, NULL, names);
    }
    while (!rc && weft_map_next(&c->demand, &at, &name, NULL, NULL))
        rc = weft_map_put(names, name, NULL);
    /* What the file has for good is not asked for. */
    for (uint32_t i = 0; i < c->base->cluster_count; i++)
        (void)weft_map_remove(names, c->base->clusters[i].name);
    return rc ? rc : want_these(c, CONFIG_KIND_CLUSTER, names, now);
}

int xds_refresh(xds_client *c, int64_t now) {
    weft_map names;
    weft_map_init(&names, 0);
    int rc = note_kind(c, CONFIG_KIND_LISTENER, &names, NULL);
    if (!rc) rc = want_these(c, CONFIG_KIND_ROUTES, &names, now);
    weft_map_clear(&names, NULL);
    if (!rc) rc = refresh_clusters(c, &names, now);
    weft_map_clear(&names, NULL);
    if (!rc) rc = note_kind(c, CONFIG_KIND_CLUSTER, &names, NULL);
    if (!rc) rc = want_these(c, CONFIG_KIND_ENDPOINTS, &names, now);
    weft_map_free(&names, NULL);
    return rc;
}

/* ---- what is warm */

static bool is_there(const xds_client *c, const char *cluster) {
    const xds_entry *e = xds_entry_get(c, CONFIG_KIND_CLUSTER, cluster);
    return (e && e->active && !e->gone) || config_find_cluster(c->base, cluster);
}

bool xds_leads_somewhere(const xds_client *c, const config_resource *r) {
    for (size_t i = 0; i < r->cluster_count; i++)
        if (!is_there(c, r->clusters[i])) return false;
    return true;
}

static bool is_warm(const xds_client *c, const config_resource *r) {
    const xds_entry *needed = NULL;
    switch (r->kind) {
    case CONFIG_KIND_CLUSTER:
        needed = r->needs ? xds_entry_get(c, CONFIG_KIND_ENDPOINTS, r->needs) : NULL;
        return !r->needs || (needed && (needed->latest || needed->missing));
    case CONFIG_KIND_LISTENER:
        needed = r->needs ? xds_entry_get(c, CONFIG_KIND_ROUTES, r->needs) : NULL;
        return r->needs ? needed && needed->active : xds_leads_somewhere(c, r);
    case CONFIG_KIND_ROUTES:
        return xds_leads_somewhere(c, r);
    default:
        return true;
    }
}

static bool activate(xds_client *c, config_kind kind) {
    size_t at = 0;
    xds_entry *e;
    bool changed = false;
    while (next_entry(c, kind, &at, NULL, &e)) {
        if (!e->latest || e->latest == e->active || e->gone || !is_warm(c, e->latest)) continue;
        config_resource_unref(e->active);
        e->active = config_resource_ref(e->latest);
        changed = c->dirty = true;
    }
    return changed;
}

/* What is gone leaves: listeners at once, clusters when no route in force leads there. A name that is
 * still asked for stays, as missing. */
static bool leave(xds_client *c, config_kind kind, const weft_map *used) {
    size_t at = 0;
    const char *name;
    xds_entry *e;
    bool changed = false;
    while (next_entry(c, kind, &at, &name, &e)) {
        const bool unasked = !c->kinds[kind].wildcard && !e->wanted;
        if (!(e->gone || unasked) || (used && weft_map_find(used, name))) continue;
        changed = true;
        if (!e->wanted) {
            xds_entry_drop(c, kind, name);
            continue;
        }
        if (!e->latest && !e->active) changed = false;
        if (e->active) c->dirty = true;
        config_resource_unref(e->latest);
        config_resource_unref(e->active);
        e->latest = e->active = NULL;
        e->gone = false;
        e->missing = true;
    }
    return changed;
}

/* Clusters that routes in force lead to. */
static int find_used(const xds_client *c, weft_map *used) {
    size_t at = 0;
    xds_entry *e;
    int rc = 0;
    while (!rc && next_entry(c, CONFIG_KIND_ROUTES, &at, NULL, &e))
        rc = note(e->active, NULL, used);
    at = 0;
    while (!rc && next_entry(c, CONFIG_KIND_LISTENER, &at, NULL, &e))
        rc = note(e->active, NULL, used);
    return rc;
}

static void find_missing(xds_client *c, int64_t now) {
    for (int i = 0; i < CONFIG_KINDS; i++) {
        size_t at = 0;
        xds_entry *e;
        while (next_entry(c, (config_kind)i, &at, NULL, &e)) {
            if (e->latest || now < e->deadline) continue;
            e->missing = true;
            e->deadline = INT64_MAX;
        }
    }
}

int xds_settle(xds_client *c, int64_t now) {
    weft_map used;
    bool changed = true;
    int rc = 0;
    weft_map_init(&used, 0);
    find_missing(c, now);
    while (changed && !rc) {
        changed = activate(c, CONFIG_KIND_ENDPOINTS);
        changed |= activate(c, CONFIG_KIND_CLUSTER);
        changed |= activate(c, CONFIG_KIND_ROUTES);
        changed |= activate(c, CONFIG_KIND_LISTENER);
        changed |= leave(c, CONFIG_KIND_LISTENER, NULL);
        rc = xds_refresh(c, now);
        weft_map_clear(&used, NULL);
        if (!rc) rc = find_used(c, &used);
        if (!rc) changed |= leave(c, CONFIG_KIND_CLUSTER, &used);
    }
    weft_map_free(&used, NULL);
    return rc;
}

/* ---- snapshots */

static int gather(const xds_client *c, weft_arena *arena, config_parts *parts) {
    for (int i = 0; i < CONFIG_KINDS; i++) {
        const config_resource **list =
            weft_arena_calloc(arena, weft_map_count(&c->kinds[i].entries) + 1, sizeof *list);
        size_t at = 0, count = 0;
        xds_entry *e;
        if (!list) return WEFT_ENOMEM;
        while (next_entry(c, (config_kind)i, &at, NULL, &e))
            if (e->active) list[count++] = e->active;
        parts->items[i] = list;
        parts->counts[i] = count;
    }
    return 0;
}

static config_snapshot *assemble(xds_client *c, weft_arena *arena) {
    config_snapshot *out = NULL;
    config_parts parts = {0};
    weft_diags diags;
    weft_diags_init(&diags, arena, 4);
    int rc = gather(c, arena, &parts);
    if (!rc) rc = config_assemble(c->base, &parts, &c->config, &out, &diags);
    if (rc == WEFT_ENOMEM) return NULL; /* and again at the next turn */
    c->dirty = false;
    const weft_diag *first = diags.first;
    const char *why = rc && first ? weft_arena_printf(arena, "%s: %s",
                                                      first->path ? first->path : "", first->text)
                                  : NULL;
    (void)!xds_replace(&c->problem, rc && !why ? weft_strerror(rc) : why);
    return out;
}

config_snapshot *xds_client_take(xds_client *c, int64_t now) {
    if (xds_settle(c, now) || !c->dirty) return NULL;
    weft_arena *arena = weft_arena_new(0);
    if (!arena) return NULL;
    config_snapshot *out = assemble(c, arena);
    weft_arena_free(arena);
    return out;
}

int64_t xds_client_wake(const xds_client *c) {
    int64_t wake = INT64_MAX;
    for (int i = 0; i < CONFIG_KINDS; i++) {
        size_t at = 0;
        xds_entry *e;
        while (next_entry(c, (config_kind)i, &at, NULL, &e))
            if (!e->latest && e->deadline < wake) wake = e->deadline;
    }
    return wake;
}

bool xds_client_ready(const xds_client *c) {
    for (int i = 0; i < CONFIG_KINDS; i++) {
        const xds_kind *k = &c->kinds[i];
        size_t at = 0;
        xds_entry *e;
        if (k->wildcard && !k->answered && !k->version) return false;
        while (next_entry(c, (config_kind)i, &at, NULL, &e))
            if (e->wanted ? !e->active : e->latest != e->active) return false;
    }
    return !c->problem;
}
