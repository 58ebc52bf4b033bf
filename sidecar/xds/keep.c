/* What is kept for the next start, and what is shown. */
#include <stdio.h>
#include <string.h>

#include "sidecar/xds/internal.h"
#include "weft/mem.h"
#include "weft/pb.h"
#include "weft/sidecar/v1/last_good.pb-c.h"

/* "weft last good 1\n", 32 hex digits of the rest and '\n', and a weft.sidecar.v1.LastGood. */
#define MARK "weft last good 1\n"
#define MARK_LEN (sizeof MARK - 1)
#define SUM_LEN 33u

static void checksum(const void *data, size_t len, char out[SUM_LEN + 1]) {
    (void)snprintf(out, SUM_LEN + 1, "%016llx%016llx\n",
                   (unsigned long long)weft_siphash13(data, len, 5, 0),
                   (unsigned long long)weft_siphash13(data, len, 6, 0));
}

/* ---- out */

/* What a version says is in force, and nothing else is. */
static bool is_exact(const xds_kind *k) {
    size_t at = 0;
    void *value;
    if (k->mixed) return false;
    while (weft_map_next(&k->entries, &at, NULL, NULL, &value)) {
        const xds_entry *e = value;
        if (e->latest != e->active || e->gone) return false;
    }
    return true;
}

static int save_kind(const xds_client *c, config_kind kind, weft_arena *arena,
                     WeftSidecar__LastGood *to) {
    const xds_kind *k = &c->kinds[kind];
    WeftSidecar__LastGood__Type *type = weft_arena_alloc(arena, sizeof *type);
    if (!type) return WEFT_ENOMEM;
    weft_sidecar__last_good__type__init(type);
    to->types[to->n_types++] = type;
    type->type_url = weft_arena_strdup(arena, config_kind_url(kind));
    if (k->version && is_exact(k)) type->version_info = weft_arena_strdup(arena, k->version);
    type->resources = weft_arena_calloc(arena, weft_map_count(&k->entries) + 1, sizeof(void *));
    if (!type->type_url || !type->version_info || !type->resources) return WEFT_ENOMEM;
    size_t at = 0;
    void *value;
    while (weft_map_next(&k->entries, &at, NULL, NULL, &value)) {
        const config_resource *r = ((xds_entry *)value)->active;
        if (!r) continue;
        Google__Protobuf__Any *any = weft_arena_alloc(arena, sizeof *any);
        if (!any) return WEFT_ENOMEM;
        google__protobuf__any__init(any);
        any->type_url = type->type_url;
        any->value = (ProtobufCBinaryData){r->len, (uint8_t *)(uintptr_t)r->data};
        type->resources[type->n_resources++] = any;
    }
    return 0;
}

int xds_client_save(const xds_client *c, weft_buf *out) {
    WeftSidecar__LastGood whole = WEFT_SIDECAR__LAST_GOOD__INIT;
    WeftSidecar__LastGood__Type *types[CONFIG_KINDS];
    char sum[SUM_LEN + 1];
    size_t len = 0;
    weft_arena *arena = weft_arena_new(4 * (size_t)XDS_CACHE_MAX);
    if (!arena) return WEFT_ENOMEM;
    whole.node_cluster = weft_arena_strdup(arena, c->base->node.cluster);
    whole.types = types;
    int rc = whole.node_cluster ? 0 : WEFT_ENOMEM;
    for (int i = 0; i < CONFIG_KINDS && !rc; i++) rc = save_kind(c, (config_kind)i, arena, &whole);
    const uint8_t *data = rc ? NULL : weft_pack(arena, &whole.base, &len);
    if (!rc && !data) rc = WEFT_ENOMEM;
    if (!rc && len > XDS_CACHE_MAX) rc = WEFT_ELIMIT;
    if (!rc) {
        checksum(data, len, sum);
        weft_buf_adds(out, MARK);
        weft_buf_adds(out, sum);
        weft_buf_add(out, data, len);
        rc = out->error;
    }
    weft_arena_free(arena);
    return rc;
}

/* ---- in */

static int restore_one(xds_client *c, config_kind kind, const Google__Protobuf__Any *any) {
    char name[CONFIG_NAME_MAX];
    config_resource *r = NULL;
    const uint8_t *data = any->value.len ? any->value.data : (const uint8_t *)"";
    int rc = config_resource_new(kind, data, any->value.len, NULL, &c->config, name, &r, NULL);
    if (rc) return rc;
    xds_entry *e = xds_entry_add(c, kind, name);
    if (!e || e->latest) {
        config_resource_unref(r);
        return e ? WEFT_EPARSE : WEFT_ENOMEM;
    }
    e->latest = r;
    e->active = config_resource_ref(r);
    return 0;
}

static int restore_type(xds_client *c, const WeftSidecar__LastGood__Type *from) {
    int kind = 0, rc = 0;
    while (kind < CONFIG_KINDS && strcmp(from->type_url, config_kind_url((config_kind)kind)))
        kind++;
    if (kind == CONFIG_KINDS) return WEFT_EPARSE;
    for (size_t i = 0; i < from->n_resources && !rc; i++)
        rc = restore_one(c, (config_kind)kind, from->resources[i]);
    if (!rc && *from->version_info) rc = xds_replace(&c->kinds[kind].version, from->version_info);
    return rc;
}

/* Whatever it was when it was written: now it has to be whole. */
static bool is_whole(const xds_client *c) {
    static const config_kind leading[] = {CONFIG_KIND_ROUTES, CONFIG_KIND_LISTENER};
    for (size_t i = 0; i < 2; i++) {
        size_t at = 0;
        void *value;
        while (weft_map_next(&c->kinds[leading[i]].entries, &at, NULL, NULL, &value)) {
            const config_resource *r = ((xds_entry *)value)->active;
            if (!r) continue;
            if (!xds_leads_somewhere(c, r)) return false;
            if (r->needs && !xds_entry_get(c, CONFIG_KIND_ROUTES, r->needs)) return false;
        }
    }
    return true;
}

static void forget_all(xds_client *c) {
    for (int i = 0; i < CONFIG_KINDS; i++) {
        xds_kind *k = &c->kinds[i];
        size_t at = 0;
        const char *name;
        void *value;
        while (weft_map_next(&k->entries, &at, &name, NULL, &value)) {
            xds_entry *e = value;
            if (!e->wanted) {
                xds_entry_drop(c, (config_kind)i, name);
                continue;
            }
            config_resource_unref(e->latest);
            config_resource_unref(e->active);
            e->latest = e->active = NULL;
        }
        weft_free(k->version);
        k->version = NULL;
    }
    c->dirty = false;
}

int xds_client_restore(xds_client *c, const void *data, size_t len) {
    const weft_guard_limits limits = {.max_bytes = XDS_CACHE_MAX};
    const char *text = data;
    char sum[SUM_LEN + 1];
    int rc = 0;
    if (len < MARK_LEN + SUM_LEN || memcmp(text, MARK, MARK_LEN) != 0) return WEFT_EPARSE;
    const uint8_t *body = (const uint8_t *)text + MARK_LEN + SUM_LEN;
    const size_t body_len = len - MARK_LEN - SUM_LEN;
    checksum(body, body_len, sum);
    if (memcmp(text + MARK_LEN, sum, SUM_LEN) != 0) return WEFT_EPARSE;
    weft_arena *arena = weft_arena_new(0);
    if (!arena) return WEFT_ENOMEM;
    const WeftSidecar__LastGood *whole = (const WeftSidecar__LastGood *)weft_unpack(
        &weft_sidecar__last_good__descriptor, body, body_len, &limits, arena, &rc, NULL);
    if (whole && strcmp(whole->node_cluster, c->base->node.cluster) != 0) rc = WEFT_EPARSE;
    for (size_t i = 0; whole && i < whole->n_types && !rc; i++)
        rc = restore_type(c, whole->types[i]);
    weft_arena_free(arena);
    if (!rc && !is_whole(c)) rc = WEFT_EPARSE;
    c->dirty = true;
    if (!rc) rc = xds_refresh(c, 0);
    if (!rc) return 0;
    forget_all(c);
    (void)!xds_refresh(c, 0);
    return rc == WEFT_ENOMEM ? rc : WEFT_EPARSE;
}

/* ---- shown */

static const char *state_of(const xds_entry *e) {
    if (e->problem) return "refused";
    if (e->gone) return "leaving";
    if (e->latest && e->latest != e->active) return "pending";
    if (e->active) return "active";
    return e->missing ? "missing" : "requested";
}

xds_client_status xds_client_get_status(const xds_client *c, config_kind kind) {
    const xds_kind *k = &c->kinds[kind];
    xds_client_status out = {.open = c->open,
                             .reason = k->reason ? k->reason : "",
                             .responses = k->responses,
                             .refused = k->refused};
    size_t at = 0;
    void *value;
    (void)snprintf(out.version, sizeof out.version, "%s", k->version ? k->version : "");
    while (weft_map_next(&k->entries, &at, NULL, NULL, &value)) {
        const xds_entry *e = value;
        out.active += e->active != NULL;
        out.pending += e->latest && e->latest != e->active;
        out.missing += e->missing;
    }
    return out;
}

const char *xds_client_problem(const xds_client *c) { return c->problem ? c->problem : ""; }

static void add_text(weft_buf *out, const char *key, const char *text) {
    weft_buf_printf(out, ",\"%s\":\"", key);
    weft_buf_add_json(out, text, strlen(text));
    weft_buf_addc(out, '"');
}

/* What a pending resource waits for. */
static void add_waits(const xds_client *c, const config_resource *r, weft_buf *out) {
    if (r->needs && r->kind == CONFIG_KIND_CLUSTER) add_text(out, "waits_for_endpoints", r->needs);
    if (r->needs && r->kind == CONFIG_KIND_LISTENER) add_text(out, "waits_for_routes", r->needs);
    for (size_t i = 0; i < r->cluster_count; i++) {
        const xds_entry *e = xds_entry_get(c, CONFIG_KIND_CLUSTER, r->clusters[i]);
        if ((e && e->active && !e->gone) || config_find_cluster(c->base, r->clusters[i])) continue;
        add_text(out, "waits_for_cluster", r->clusters[i]);
        return;
    }
}

static void describe_kind(const xds_client *c, config_kind kind, weft_buf *out) {
    const xds_kind *k = &c->kinds[kind];
    size_t at = 0;
    const char *name;
    void *value;
    bool first = true;
    weft_buf_printf(out, "{\"kind\":\"%s\"", config_kind_noun(kind));
    if (k->version) add_text(out, "version", k->version);
    if (k->reason) add_text(out, "refused", k->reason);
    weft_buf_adds(out, ",\"resources\":[");
    while (weft_map_next(&k->entries, &at, &name, NULL, &value)) {
        const xds_entry *e = value;
        weft_buf_printf(out, "%s\n{\"state\":\"%s\"", first ? "" : ",", state_of(e));
        add_text(out, "name", name);
        if (e->problem) add_text(out, "problem", e->problem);
        if (e->latest && e->latest != e->active) add_waits(c, e->latest, out);
        weft_buf_addc(out, '}');
        first = false;
    }
    weft_buf_adds(out, "]}");
}

int xds_client_describe(const xds_client *c, weft_buf *out) {
    weft_buf_printf(out, "{\"connected\":%s", c->open ? "true" : "false");
    if (c->problem) add_text(out, "problem", c->problem);
    weft_buf_adds(out, ",\"types\":[");
    for (int i = 0; i < CONFIG_KINDS; i++) {
        if (i) weft_buf_addc(out, ',');
        describe_kind(c, (config_kind)i, out);
    }
    weft_buf_adds(out, "]}\n");
    return out->error;
}
