/* Whom a node may reach, and the whole of what it is told. */
#include "services/control/build/build.h"

#include <stdlib.h>
#include <string.h>

#include "services/control/build/make.h"
#include "weft/store_revisions.h"

static const char *const urls[CONTROL_XDS_TYPES] = {
    [CONTROL_CDS] = "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    [CONTROL_EDS] = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
    [CONTROL_LDS] = "type.googleapis.com/envoy.config.listener.v3.Listener",
    [CONTROL_RDS] = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
};

const char *control_type_url(control_xds_type type) { return urls[type]; }

int control_type_find(const char *type_url) {
    for (int i = 0; i < CONTROL_XDS_TYPES; i++)
        if (!strcmp(urls[i], type_url)) return i;
    return -1;
}

/* ---- looking */

const WeftMesh__ServiceSpec *make_spec(const make *m, const char *name_space, const char *service) {
    const model_document *d = model_find(m->set, MODEL_SERVICE, name_space, service);
    return d ? ((const WeftMesh__Service *)d->message)->spec : NULL;
}

static bool is_known(const make *m, const char *name_space, const char *service) {
    if (model_find(m->set, MODEL_SERVICE, name_space, service)) return true;
    for (size_t i = 0; i < m->view->service_count; i++)
        if (!strcmp(m->view->services[i].service, service) &&
            !strcmp(m->view->services[i].name_space, name_space))
            return true;
    for (size_t i = 0; i < m->view->count; i++)
        if (!strcmp(m->view->instances[i].service, service) &&
            !strcmp(m->view->instances[i].name_space, name_space))
            return true;
    return false;
}

const char *make_need_cluster(make *m, const char *service, const char *name_space,
                              const char *subset) {
    const char *full = make_text(m, "%s.%s", service, name_space);
    const char *name = *subset ? make_text(m, "%s;%s", full, subset) : full;
    if (weft_map_find(&m->clusters, name)) return name;
    make_cluster *one = make_alloc(m, 1, sizeof *one);
    if (!one) return name;
    *one = (make_cluster){name, full, service, name_space, subset};
    const int rc = weft_map_put(&m->clusters, name, one);
    if (rc) m->rc = rc;
    return name;
}

/* ---- targets */

typedef struct targets {
    make_target *list;
    size_t count;
    const char **refused;
    size_t refused_count;
} targets;

static void add_target(make *m, targets *t, const char *service, const char *name_space) {
    const char *full = make_text(m, "%s.%s", service, name_space);
    for (size_t i = 0; i < t->count; i++)
        if (!strcmp(t->list[i].full, full)) return;
    t->list[t->count++] = (make_target){make_copy(m, service), make_copy(m, name_space), full,
                                        make_spec(m, name_space, service)};
}

static void refuse(targets *t, const char *text) {
    for (size_t i = 0; i < t->refused_count; i++)
        if (!strcmp(t->refused[i], text)) return;
    t->refused[t->refused_count++] = text;
}

static bool used(const make *m, const WeftMesh__ServiceSpec *own, const char *service,
                 const char *name_space) {
    for (size_t i = 0; own && i < own->n_uses; i++) {
        char s[64], n[64];
        if (model_name_split(own->uses[i], m->name_space, s, n) && !strcmp(s, service) &&
            !strcmp(n, name_space))
            return true;
    }
    return false;
}

/* A name without its port. */
static const char *host_part(make *m, const char *name) {
    const char *colon = strrchr(name, ':');
    return colon ? make_text(m, "%.*s", (int)(colon - name), name) : name;
}

static void demand(make *m, targets *t, const WeftMesh__ServiceSpec *own, const char *asked) {
    char service[64], space[64];
    const char *name = host_part(m, asked);
    if (!model_name_split(name, m->name_space, service, space))
        refuse(t, make_text(m, "%.150s: is not the name of a service", asked));
    else if (!is_known(m, space, service))
        refuse(t, make_text(m, "%s: there is no service %s.%s; add a document of kind Service",
                            asked, service, space));
    else if (!used(m, own, service, space) && !model_on_demand(m->set))
        refuse(t, make_text(m, "%s: %s does not use it; add it to uses of Service %s/%s", asked,
                            *m->node->service ? m->node->service : "the client", m->name_space,
                            *m->node->service ? m->node->service : "<its name>"));
    else
        add_target(m, t, service, space);
}

static int by_full(const void *a, const void *b) {
    return strcmp(((const make_target *)a)->full, ((const make_target *)b)->full);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void find_targets(make *m) {
    const WeftMesh__ServiceSpec *own =
        *m->node->service ? make_spec(m, m->name_space, m->node->service) : NULL;
    const bool sidecar = m->node->kind == CONTROL_NODE_SIDECAR;
    const size_t asked = m->node->demand_count + m->node->upstream_count;
    const size_t most = asked + (own ? own->n_uses : 0);
    targets t = {.list = make_alloc(m, most, sizeof *t.list),
                 .refused = make_alloc(m, asked, sizeof *t.refused)};
    if (asked > CONTROL_DEMAND_MAX) m->rc = WEFT_ELIMIT;
    if (m->rc) return;
    for (size_t i = 0; sidecar && own && i < own->n_uses; i++) {
        char service[64], space[64];
        if (model_name_split(own->uses[i], m->name_space, service, space))
            add_target(m, &t, service, space);
    }
    for (size_t i = 0; i < m->node->upstream_count; i++)
        demand(m, &t, own, m->node->upstreams[i].service);
    for (size_t i = 0; i < m->node->demand_count; i++) demand(m, &t, own, m->node->demand[i]);
    qsort(t.list, t.count, sizeof *t.list, by_full);
    qsort(t.refused, t.refused_count, sizeof *t.refused, by_text);
    m->targets = t.list;
    m->target_count = t.count;
    m->out->refused = t.refused;
    m->out->refused_count = t.refused_count;
}

/* ---- both kinds of nodes */

static bool has_upstream(const make *m, const make_target *target) {
    for (size_t i = 0; i < m->node->upstream_count; i++) {
        char service[64], space[64];
        if (model_name_split(m->node->upstreams[i].service, m->name_space, service, space) &&
            !strcmp(service, target->service) && !strcmp(space, target->name_space))
            return true;
    }
    return false;
}

static int fail(make *m, const char **why, const char *text) {
    *why = text;
    return m->rc = WEFT_EINVAL;
}

static void build_sidecar(make *m, const char **why) {
    if (!make_has_tls(m)) {
        (void)fail(m, why, "a sidecar needs certificates: files, or the name of a provider");
        return;
    }
    if (*m->node->inbound && !*m->node->app) {
        (void)fail(m, why, "a sidecar that is called must say where its app listens");
        return;
    }
    if (make_listeners(m, why)) return;
    if (*m->node->inbound) make_app_cluster(m, why);
    if (m->rc) return;
    if (*m->node->inbound) make_inbound_routes(m);
    if (*m->node->outbound) make_outbound_routes(m);
    for (size_t i = 0; i < m->target_count; i++)
        if (has_upstream(m, &m->targets[i])) make_target_routes(m, &m->targets[i]);
}

static void build_grpc(make *m) {
    weft_map seen;
    weft_map_init(&seen, CONTROL_DEMAND_MAX);
    for (size_t i = 0; i < m->node->demand_count && !m->rc; i++) {
        const char *name = m->node->demand[i];
        char service[64], space[64];
        if (!model_name_split(host_part(m, name), m->name_space, service, space)) continue;
        const char *full = make_text(m, "%s.%s", service, space);
        for (size_t k = 0; k < m->target_count; k++)
            if (!strcmp(m->targets[k].full, full) && !weft_map_find(&seen, name)) {
                if (weft_map_put(&seen, name, m)) m->rc = WEFT_ENOMEM;
                make_api_listener(m, name, &m->targets[k]);
            }
    }
    weft_map_free(&seen, NULL);
    for (size_t i = 0; i < m->target_count; i++) make_target_routes(m, &m->targets[i]);
}

static void build_clusters(make *m) {
    size_t at = 0;
    void *value = NULL;
    while (!m->rc && weft_map_next(&m->clusters, &at, NULL, NULL, &value)) {
        make_cluster_of(m, value);
        make_endpoints_of(m, value);
    }
}

/* ---- the output */

static int by_name(const void *a, const void *b) {
    return strcmp(((const control_resource *)a)->name, ((const control_resource *)b)->name);
}

static void finish_type(make *m, control_xds_type type) {
    control_resources *out = &m->out->types[type];
    char id[WEFT_BLOB_ID];
    weft_buf text;
    if (m->counts[type] > CONTROL_RESOURCES_MAX) m->rc = WEFT_ELIMIT;
    if (m->counts[type]) qsort(m->items[type], m->counts[type], sizeof **m->items, by_name);
    out->items = m->items[type];
    out->count = m->counts[type];
    weft_buf_init(&text, 0);
    for (size_t i = 0; i < out->count; i++)
        weft_buf_printf(&text, "%s %s\n", out->items[i].name, out->items[i].version);
    if (text.error) m->rc = text.error;
    weft_blob_id(weft_buf_str(&text), text.len, id);
    memcpy(out->version, id, CONTROL_VERSION_TEXT - 1);
    out->version[CONTROL_VERSION_TEXT - 1] = '\0';
    weft_buf_free(&text);
}

const control_resource *control_build_find(const control_build_output *output,
                                           control_xds_type type, const char *name) {
    const control_resource key = {.name = name};
    const control_resources *in = &output->types[type];
    return in->count ? bsearch(&key, in->items, in->count, sizeof key, by_name) : NULL;
}

int control_build(const model_set *set, const registry_view *view, const control_node *node,
                  weft_arena *arena, control_build_output *out, const char **why) {
    const char *reason = "";
    make m = {.set = set,
              .view = view,
              .node = node,
              .name_space = *node->name_space ? node->name_space : MODEL_NAMESPACE,
              .arena = arena,
              .out = out,
              .spare = weft_arena_alloc(arena, MAKE_SPARE)};
    *out = (control_build_output){0};
    if (!m.spare) return WEFT_ENOMEM;
    weft_map_init(&m.clusters, CONTROL_RESOURCES_MAX);
    find_targets(&m);
    if (!m.rc && node->kind == CONTROL_NODE_SIDECAR) build_sidecar(&m, &reason);
    if (!m.rc && node->kind == CONTROL_NODE_GRPC) build_grpc(&m);
    build_clusters(&m);
    weft_map_free(&m.clusters, NULL);
    for (int i = 0; i < CONTROL_XDS_TYPES && !m.rc; i++) finish_type(&m, (control_xds_type)i);
    if (m.rc && why) *why = reason;
    return m.rc;
}
