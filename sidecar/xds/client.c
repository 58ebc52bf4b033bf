#include "sidecar/xds/client.h"

#include <stdio.h>
#include <string.h>

#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "sidecar/xds/internal.h"
#include "weft/mem.h"
#include "weft/pb.h"

#define VERSION_MAX 256u /* bytes of a version or a nonce */
#define WRAPPED "type.googleapis.com/envoy.service.discovery.v3.Resource"

/* ---- life */

int xds_replace(char **text, const char *with) {
    char *copy = with ? weft_heap_strdup(with) : NULL;
    if (with && !copy) return WEFT_ENOMEM;
    weft_free(*text);
    *text = copy;
    return 0;
}

static void entry_free(void *value) {
    xds_entry *e = value;
    config_resource_unref(e->latest);
    config_resource_unref(e->active);
    weft_free(e->problem);
    weft_free(e);
}

xds_entry *xds_entry_get(const xds_client *c, config_kind kind, const char *name) {
    return weft_map_get(&c->kinds[kind].entries, name);
}

xds_entry *xds_entry_add(xds_client *c, config_kind kind, const char *name) {
    xds_entry *e = xds_entry_get(c, kind, name);
    if (e) return e;
    e = weft_calloc(1, sizeof *e);
    if (!e) return NULL;
    e->deadline = INT64_MAX;
    if (!weft_map_put(&c->kinds[kind].entries, name, e)) return e;
    weft_free(e);
    return NULL;
}

void xds_entry_drop(xds_client *c, config_kind kind, const char *name) {
    xds_entry *e = weft_map_remove(&c->kinds[kind].entries, name);
    if (!e) return;
    if (e->active) c->dirty = true;
    entry_free(e);
}

xds_client *xds_client_new(const xds_client_options *options) {
    xds_client *c = weft_calloc(1, sizeof *c);
    if (!c) return NULL;
    c->base = config_ref(options->base);
    c->config = options->config ? *options->config : (config_options){.size = sizeof c->config};
    c->node =
        options->node ? options->node : (const EnvoyCore__Node *)config_node_message(options->base);
    weft_rng_seed(&c->rng, options->seed);
    weft_map_init(&c->demand, XDS_RESOURCES_MAX);
    for (int i = 0; i < CONFIG_KINDS; i++) weft_map_init(&c->kinds[i].entries, XDS_RESOURCES_MAX);
    const bool all = !options->listener_count;
    c->kinds[CONFIG_KIND_CLUSTER].wildcard = c->kinds[CONFIG_KIND_LISTENER].wildcard = all;
    for (size_t i = 0; i < options->listener_count; i++) {
        xds_entry *e = xds_entry_add(c, CONFIG_KIND_LISTENER, options->listeners[i]);
        if (!e) {
            xds_client_free(c);
            return NULL;
        }
        e->wanted = true;
    }
    return c;
}

void xds_client_free(xds_client *c) {
    if (!c) return;
    for (int i = 0; i < CONFIG_KINDS; i++) {
        xds_kind *k = &c->kinds[i];
        weft_map_free(&k->entries, entry_free);
        weft_free(k->version);
        weft_free(k->nonce);
        weft_free(k->error);
        weft_free(k->reason);
    }
    weft_map_free(&c->demand, NULL);
    weft_free(c->problem);
    config_unref(c->base);
    weft_free(c);
}

/* ---- the stream */

void xds_client_opened(xds_client *c, int64_t now) {
    c->open = true;
    c->introduced = c->heard = false;
    for (int i = 0; i < CONFIG_KINDS; i++) {
        xds_kind *k = &c->kinds[i];
        size_t at = 0, wanted = 0;
        void *value;
        weft_free(k->nonce);
        weft_free(k->error);
        k->nonce = k->error = NULL;
        k->started = false;
        while (weft_map_next(&k->entries, &at, NULL, NULL, &value)) {
            xds_entry *e = value;
            wanted += e->wanted;
            if (e->wanted && !e->latest && !e->missing) e->deadline = now + XDS_MISSING;
        }
        k->due = k->wildcard || wanted;
    }
}

void xds_client_closed(xds_client *c, int64_t now) {
    c->open = false;
    c->failures = c->heard ? 0 : c->failures + 1;
    c->heard = false;
    c->retry_at = now;
    for (int i = 0; i < CONFIG_KINDS; i++) {
        size_t at = 0;
        void *value;
        /* Nobody is asked: nothing is waited for. */
        while (weft_map_next(&c->kinds[i].entries, &at, NULL, NULL, &value))
            ((xds_entry *)value)->deadline = INT64_MAX;
    }
    if (!c->failures) return;
    int64_t wait = XDS_BACKOFF_BASE;
    for (uint32_t i = 1; i < c->failures && wait < XDS_BACKOFF_MAX; i++) wait *= 2;
    if (wait > XDS_BACKOFF_MAX) wait = XDS_BACKOFF_MAX;
    /* From half of it to all of it: a mesh does not come back at the same moment. */
    c->retry_at += wait / 2 + (int64_t)weft_rng_below(&c->rng, (uint64_t)(wait / 2 + 1));
}

int64_t xds_client_retry_at(const xds_client *c) { return c->open ? INT64_MAX : c->retry_at; }

/* ---- requests */

static int add_names(const xds_client *c, const xds_kind *k, weft_arena *arena,
                     EnvoyDiscovery__DiscoveryRequest *to) {
    const size_t room = weft_map_count(&k->entries) + weft_map_count(&c->demand) + 1;
    size_t at = 0, count = 0;
    const char *name;
    void *value;
    char **list = weft_arena_calloc(arena, room, sizeof *list);
    if (!list) return WEFT_ENOMEM;
    while (weft_map_next(&k->entries, &at, &name, NULL, &value)) {
        if (!((xds_entry *)value)->wanted) continue;
        /* Everything, and these besides. */
        if (k->wildcard && !count) list[count++] = weft_arena_strdup(arena, "*");
        list[count++] = weft_arena_strdup(arena, name);
    }
    for (size_t i = 0; i < count; i++)
        if (!list[i]) return WEFT_ENOMEM;
    to->resource_names = list;
    to->n_resource_names = count;
    return 0;
}

static int add_node(const xds_client *c, weft_arena *arena, EnvoyDiscovery__DiscoveryRequest *to) {
    if (!c->node) return 0;
    EnvoyCore__Node *node = weft_arena_memdup(arena, c->node, sizeof *node);
    if (!node) return WEFT_ENOMEM;
    if (!*node->user_agent_name) {
        node->user_agent_name = weft_arena_strdup(arena, "weft-sidecar");
        if (!node->user_agent_name) return WEFT_ENOMEM;
    }
    to->node = node;
    return 0;
}

static int set_text(weft_arena *arena, char **to, const char *text) {
    if (!text) return 0;
    *to = weft_arena_strdup(arena, text);
    return *to ? 0 : WEFT_ENOMEM;
}

/* On a new stream a version says what we have, so it must be all that we ask for. */
static bool has_all(const xds_kind *k) {
    size_t at = 0;
    void *value;
    while (weft_map_next(&k->entries, &at, NULL, NULL, &value)) {
        const xds_entry *e = value;
        if (e->wanted && !e->latest && !e->missing) return false;
    }
    return !k->mixed;
}

static int fill(const xds_client *c, config_kind kind, weft_arena *arena,
                EnvoyDiscovery__DiscoveryRequest *to) {
    const xds_kind *k = &c->kinds[kind];
    int rc = set_text(arena, &to->type_url, config_kind_url(kind));
    if (!rc && (k->started || has_all(k))) rc = set_text(arena, &to->version_info, k->version);
    if (!rc) rc = set_text(arena, &to->response_nonce, k->nonce);
    if (!rc) rc = add_names(c, k, arena, to);
    if (!rc && !c->introduced) rc = add_node(c, arena, to);
    if (rc || !k->error) return rc;
    Google__Rpc__Status *status = weft_arena_alloc(arena, sizeof *status);
    if (!status) return WEFT_ENOMEM;
    google__rpc__status__init(status);
    status->code = 3; /* INVALID_ARGUMENT */
    to->error_detail = status;
    return set_text(arena, &status->message, k->error);
}

int xds_client_next(xds_client *c, weft_arena *arena, EnvoyDiscovery__DiscoveryRequest **out) {
    for (int i = 0; c->open && i < CONFIG_KINDS; i++) {
        xds_kind *k = &c->kinds[i];
        if (!k->due) continue;
        EnvoyDiscovery__DiscoveryRequest *request = weft_arena_alloc(arena, sizeof *request);
        if (!request) return WEFT_ENOMEM;
        envoy_discovery__discovery_request__init(request);
        const int rc = fill(c, (config_kind)i, arena, request);
        if (rc) return rc;
        weft_free(k->error);
        k->error = NULL;
        k->due = false;
        k->started = c->introduced = true;
        *out = request;
        return 1;
    }
    return 0;
}

/* ---- responses */

typedef struct taking {
    xds_client *c;
    xds_kind *k;
    config_kind kind;
    weft_arena *arena; /* scratch */
    weft_map clusters; /* by the name of their endpoints */
    weft_map seen;     /* names in this response */
    weft_buf wrong;    /* one line a resource */
    bool nameless;     /* a resource that cannot be read has no name */
    bool applied;      /* something changed */
} taking;

static void complain(taking *t, const char *name, size_t index, const char *text) {
    weft_buf *out = &t->wrong;
    if (out->len) weft_buf_adds(out, "\n");
    if (*name)
        weft_buf_printf(out, "%s \"%s\": %s", config_kind_noun(t->kind), name, text);
    else
        weft_buf_printf(out, "%s resources[%zu]: %s", config_kind_noun(t->kind), index, text);
}

/* "path: rule (hint); path: rule" */
static const char *explain(weft_arena *arena, const weft_diags *diags) {
    weft_buf text;
    weft_buf_init(&text, XDS_REASON_BYTES / 2);
    for (const weft_diag *d = diags->first; d; d = d->next) {
        if (text.len) weft_buf_adds(&text, "; ");
        weft_buf_printf(&text, "%s%s%s", d->path ? d->path : "", d->path ? ": " : "", d->text);
        if (d->hint) weft_buf_printf(&text, " (%s)", d->hint);
    }
    const char *copy = weft_arena_strdup(arena, weft_buf_str(&text));
    weft_buf_free(&text);
    return copy ? copy : "is wrong";
}

static int index_clusters(taking *t) {
    size_t at = 0;
    void *value;
    int rc = 0;
    if (t->kind != CONFIG_KIND_ENDPOINTS) return 0;
    while (!rc &&
           weft_map_next(&t->c->kinds[CONFIG_KIND_CLUSTER].entries, &at, NULL, NULL, &value)) {
        config_resource *cluster = ((xds_entry *)value)->latest;
        if (cluster && cluster->needs) rc = weft_map_put(&t->clusters, cluster->needs, cluster);
    }
    return rc;
}

/* Whether a resource was asked for. */
static bool is_ours(const taking *t, const char *name) {
    const xds_entry *e = xds_entry_get(t->c, t->kind, name);
    return t->k->wildcard || (e && e->wanted);
}

static int refuse(taking *t, const char *name, size_t index, const char *why) {
    xds_entry *e = *name ? xds_entry_get(t->c, t->kind, name) : NULL;
    complain(t, name, index, why);
    if (!*name) t->nameless = true;
    if (!e) return 0;
    e->listed = true;
    e->deadline = INT64_MAX;
    return xds_replace(&e->problem, why);
}

/* Takes over `r`. */
static int accept(taking *t, config_resource *r) {
    xds_entry *e = xds_entry_add(t->c, t->kind, r->name);
    if (!e) {
        config_resource_unref(r);
        return WEFT_ENOMEM;
    }
    e->listed = true;
    e->gone = e->missing = false;
    e->deadline = INT64_MAX;
    weft_free(e->problem);
    e->problem = NULL;
    if (e->latest && e->latest->hash == r->hash && e->latest->len == r->len) {
        config_resource_unref(r);
        return 0;
    }
    config_resource_unref(e->latest);
    e->latest = r;
    t->applied = true;
    return 0;
}

static int take_one(taking *t, size_t index, const Google__Protobuf__Any *any) {
    char name[CONFIG_NAME_MAX];
    weft_diags diags;
    config_resource *r = NULL;
    if (strcmp(any->type_url, WRAPPED) == 0) {
        const ProtobufCMessage *inner =
            weft_unpack(&envoy_discovery__resource__descriptor,
                        any->value.len ? any->value.data : (const uint8_t *)"", any->value.len,
                        NULL, t->arena, NULL, NULL);
        any = inner ? ((const EnvoyDiscovery__Resource *)inner)->resource : NULL;
        if (!any) return refuse(t, "", index, "a Resource that holds none");
    }
    if (strcmp(any->type_url, config_kind_url(t->kind)) != 0)
        return refuse(t, "", index, "is of another type than the response");
    weft_diags_init(&diags, t->arena, 4);
    /* What a file's endpoints are checked with, they are here: is there TLS? */
    const uint8_t *data = any->value.len ? any->value.data : (const uint8_t *)"";
    const config_resource *cluster = NULL;
    if (t->kind == CONFIG_KIND_ENDPOINTS) {
        const ProtobufCMessage *peek =
            weft_unpack(&envoy_endpoint__cluster_load_assignment__descriptor, data, any->value.len,
                        NULL, t->arena, NULL, NULL);
        if (peek)
            cluster = weft_map_get(
                &t->clusters, ((const EnvoyEndpoint__ClusterLoadAssignment *)peek)->cluster_name);
    }
    int rc = config_resource_new(t->kind, data, any->value.len, cluster, &t->c->config, name, &r,
                                 &diags);
    if (rc == WEFT_ENOMEM) return rc;
    if (rc) return refuse(t, name, index, explain(t->arena, &diags));
    if (weft_map_find(&t->seen, name)) {
        config_resource_unref(r);
        return refuse(t, name, index, "is in this response twice");
    }
    rc = weft_map_put(&t->seen, name, NULL);
    if (!rc && is_ours(t, name)) return accept(t, r);
    config_resource_unref(r);
    return rc;
}

/* In a response of clusters or listeners what is absent is gone. */
static void find_gone(taking *t) {
    const bool full = t->kind == CONFIG_KIND_CLUSTER || t->kind == CONFIG_KIND_LISTENER;
    size_t at = 0;
    void *value;
    while (weft_map_next(&t->k->entries, &at, NULL, NULL, &value)) {
        xds_entry *e = value;
        const bool listed = e->listed;
        e->listed = false;
        if (!full || listed || t->nameless) continue;
        if (e->latest && !e->gone) {
            e->gone = true;
            t->applied = true;
        }
        if (!e->latest && e->wanted) e->missing = true;
    }
}

/* The outcome: what the next request says. */
static int conclude(taking *t, const EnvoyDiscovery__DiscoveryResponse *response) {
    xds_kind *k = t->k;
    const bool wrong = t->wrong.len > 0;
    const char *why = wrong ? weft_buf_str(&t->wrong) : NULL;
    const bool full = t->kind == CONFIG_KIND_CLUSTER || t->kind == CONFIG_KIND_LISTENER;
    k->responses++;
    k->refused += wrong;
    k->due = k->answered = t->c->heard = true;
    if (wrong && t->applied) k->mixed = true;
    /* A full response that is accepted says all; so does the first of a stream where we said nothing. */
    if (!wrong && (full || !k->nonce)) k->mixed = false;
    int rc = xds_replace(&k->nonce, response->nonce);
    if (!rc) rc = xds_replace(&k->error, why);
    if (!rc) rc = xds_replace(&k->reason, why);
    if (!rc && !wrong) rc = xds_replace(&k->version, response->version_info);
    return rc;
}

static int take_all(taking *t, const EnvoyDiscovery__DiscoveryResponse *response) {
    int rc = 0;
    if (response->n_resources > XDS_RESOURCES_MAX) {
        complain(t, "", XDS_RESOURCES_MAX, "are more than a sidecar takes");
        t->nameless = true;
    } else if (strlen(response->nonce) > VERSION_MAX ||
               strlen(response->version_info) > VERSION_MAX) {
        return 0; /* not to be answered in a bounded way: as if it had not come */
    } else {
        rc = index_clusters(t);
        for (size_t i = 0; i < response->n_resources && !rc; i++)
            rc = take_one(t, i, response->resources[i]);
        if (rc == WEFT_ELIMIT) {
            complain(t, "", 0, "are more than a sidecar keeps");
            t->nameless = true;
            rc = 0;
        }
    }
    if (!rc) find_gone(t);
    return rc ? rc : conclude(t, response);
}

int xds_client_response(xds_client *c, const EnvoyDiscovery__DiscoveryResponse *response,
                        int64_t now) {
    int kind = 0;
    while (kind < CONFIG_KINDS && strcmp(response->type_url, config_kind_url((config_kind)kind)))
        kind++;
    if (!c->open || kind == CONFIG_KINDS || !c->kinds[kind].started) return 0;
    taking t = {
        .c = c, .k = &c->kinds[kind], .kind = (config_kind)kind, .arena = weft_arena_new(0)};
    if (!t.arena) return WEFT_ENOMEM;
    weft_map_init(&t.clusters, 0);
    weft_map_init(&t.seen, 0);
    weft_buf_init(&t.wrong, XDS_REASON_BYTES);
    int rc = take_all(&t, response);
    weft_map_free(&t.clusters, NULL);
    weft_map_free(&t.seen, NULL);
    weft_buf_free(&t.wrong);
    weft_arena_free(t.arena);
    if (!rc) rc = xds_settle(c, now);
    return rc ? rc : xds_refresh(c, now);
}

/* ---- on demand */

int xds_client_want(xds_client *c, const char *cluster) {
    if (!*cluster || strlen(cluster) >= CONFIG_NAME_MAX) return WEFT_EINVAL;
    if (weft_map_find(&c->demand, cluster)) return 0;
    return weft_map_put(&c->demand, cluster, NULL);
}
