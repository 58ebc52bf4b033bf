/* Text or wire → bootstrap message → checks → snapshot. */
#include "sidecar/config/load.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "envoy/config/bootstrap/v3/bootstrap.weft.h"
#include "envoy/extensions/filters/http/router/v3/router.weft.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.weft.h"
#include "envoy/extensions/load_balancing_policies/least_request/v3/least_request.weft.h"
#include "envoy/extensions/load_balancing_policies/random/v3/random.weft.h"
#include "envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash.weft.h"
#include "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.weft.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.weft.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.weft.h"
#include "sidecar/config/build.h"
#include "weft/sidecar/v1/balancing.weft.h"
#include "weft/sidecar/v1/service.weft.h"

#define ARENA_MAX ((size_t)256 << 20)
#define ASSEMBLED_MAX ((size_t)64 << 20) /* bytes of what a control plane said */
#define LISTENERS_MAX 1000u
#define CLUSTERS_MAX 100000u

/* Every type that a typed_config may hold. */
static const weft_file *const files[] = {
    &weft_file_envoy_config_bootstrap_v3_bootstrap_proto,
    &weft_file_envoy_extensions_filters_http_router_v3_router_proto,
    &weft_file_envoy_extensions_filters_network_http_connection_manager_v3_http_connection_manager_proto,
    &weft_file_envoy_extensions_load_balancing_policies_least_request_v3_least_request_proto,
    &weft_file_envoy_extensions_load_balancing_policies_random_v3_random_proto,
    &weft_file_envoy_extensions_load_balancing_policies_ring_hash_v3_ring_hash_proto,
    &weft_file_envoy_extensions_load_balancing_policies_round_robin_v3_round_robin_proto,
    &weft_file_envoy_extensions_transport_sockets_tls_v3_tls_proto,
    &weft_file_envoy_extensions_upstreams_http_v3_http_protocol_options_proto,
    &weft_file_weft_sidecar_v1_balancing_proto,
    &weft_file_weft_sidecar_v1_service_proto,
};

weft_registry *config_registry_new(void) {
    weft_registry *registry = weft_registry_new();
    int rc = registry ? 0 : WEFT_ENOMEM;
    for (size_t i = 0; !rc && i < sizeof files / sizeof *files; i++)
        rc = weft_registry_add_file(registry, files[i], NULL);
    if (!rc) return registry;
    weft_registry_free(registry);
    return NULL;
}

/* ---- the whole of it */

static void build_node(config_build *b, const EnvoyCore__Node *from) {
    config_node *out = &b->snapshot->node;
    *out = (config_node){.id = "", .cluster = "", .zone = ""};
    if (!from) return;
    out->id = build_copy(b, from->id);
    out->cluster = build_copy(b, from->cluster);
    const EnvoyCore__Locality *at = from->locality;
    if (!at) return;
    const char *zone = weft_arena_printf(b->arena, "%s/%s/%s", at->region, at->zone, at->sub_zone);
    if (!zone) b->rc = WEFT_ENOMEM;
    out->zone = zone ? zone : "";
}

static void build_admin(config_build *b, const EnvoyBootstrap__Admin *from) {
    if (!from) return;
    config_snapshot *s = b->snapshot;
    char text[WEFT_ADDR_TEXT];
    build_in(b, "admin");
    s->has_admin = build_address(b, "address", from->address, false, true, &s->admin, NULL);
    if (s->has_admin) {
        build_check_plaintext(b, "address", &s->admin, "use a unix socket or a loopback address");
        if (weft_map_put(&b->addresses, weft_addr_format(&s->admin, text),
                         (void *)(uintptr_t) "admin"))
            b->rc = WEFT_ENOMEM;
    }
    build_up(b);
}

/* Names must be there and be unique; what is named first counts. */
static void check_name(config_build *b, char kind, const char *name, size_t index) {
    if (!*name) {
        build_missing(b, "name", NULL);
        return;
    }
    const char *key = weft_arena_printf(b->scratch, "%c/%s", kind, name);
    if (!key) {
        b->rc = WEFT_ENOMEM;
        return;
    }
    const uintptr_t other = (uintptr_t)weft_map_get(&b->names, key);
    if (other)
        build_wrong(b, "name", "rename one", "\"%.100s\" is the name of %s[%zu] too", name,
                    kind == 'c' ? "clusters" : "listeners", (size_t)other - 1);
    else if (weft_map_put(&b->names, key, (void *)(index + 1)))
        b->rc = WEFT_ENOMEM;
}

static void build_clusters(config_build *b,
                           const EnvoyBootstrap__Bootstrap__StaticResources *from) {
    const size_t count = from->n_clusters;
    if (count > CLUSTERS_MAX) {
        build_wrong(b, "clusters", NULL, "has more than %u", CLUSTERS_MAX);
        return;
    }
    b->clusters = build_alloc(b, count, sizeof *b->clusters);
    if (!b->clusters) return;
    b->snapshot->clusters = b->clusters;
    b->snapshot->cluster_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        config_cluster *out = &b->clusters[i];
        build_at(b, "clusters", i);
        out->name = build_copy(b, from->clusters[i]->name);
        out->index = (uint32_t)i;
        check_name(b, 'c', from->clusters[i]->name, i);
        build_cluster(b, from->clusters[i], out);
        build_up(b);
    }
}

static void build_listeners(config_build *b,
                            const EnvoyBootstrap__Bootstrap__StaticResources *from) {
    const size_t count = from->n_listeners;
    if (!count && !b->dynamic)
        build_missing(b, "listeners", "a sidecar without them has nothing to do");
    if (count > LISTENERS_MAX) {
        build_wrong(b, "listeners", NULL, "has more than %u", LISTENERS_MAX);
        return;
    }
    config_listener *listeners = build_alloc(b, count, sizeof *listeners);
    if (!listeners) return;
    for (size_t i = 0; i < count; i++) {
        build_at(b, "listeners", i);
        listeners[i].index = (uint32_t)i;
        check_name(b, 'l', from->listeners[i]->name, i);
        build_listener(b, from->listeners[i], &listeners[i]);
        build_up(b);
    }
    b->snapshot->listeners = listeners;
    b->snapshot->listener_count = (uint32_t)count;
}

static void add_methods(index_entry *out, size_t *at, char *const *paths, size_t count,
                        config_idempotency level) {
    for (size_t i = 0; i < count; i++)
        out[(*at)++] = (index_entry){paths[i], (uint32_t)strlen(paths[i]), (uint32_t)level};
}

/* The service message of a cluster that passed its checks, or NULL. */
static const WeftSidecar__Service *service_of(config_build *b, const EnvoyCluster__Cluster *from) {
    for (size_t i = 0; from->metadata && i < from->metadata->n_typed_filter_metadata; i++)
        if (!strcmp(from->metadata->typed_filter_metadata[i]->key, "weft.service"))
            return (const WeftSidecar__Service *)build_any(
                b, "", from->metadata->typed_filter_metadata[i]->value,
                &weft_sidecar__service__descriptor, true);
    return NULL;
}

static void build_methods(config_build *b, const EnvoyBootstrap__Bootstrap__StaticResources *from) {
    const WeftSidecar__Service **services =
        weft_arena_calloc(b->scratch, from->n_clusters + 1, sizeof(void *));
    size_t count = 0, at = 0;
    if (!services) {
        b->rc = WEFT_ENOMEM;
        return;
    }
    for (size_t i = 0; i < from->n_clusters; i++) {
        services[i] = service_of(b, from->clusters[i]);
        if (services[i]) count += services[i]->n_no_side_effects + services[i]->n_idempotent;
    }
    index_entry *entries = weft_arena_calloc(b->scratch, count + 1, sizeof *entries);
    if (!entries) {
        b->rc = WEFT_ENOMEM;
        return;
    }
    for (size_t i = 0; i < from->n_clusters; i++) {
        const WeftSidecar__Service *one = services[i];
        if (!one) continue;
        add_methods(entries, &at, one->no_side_effects, one->n_no_side_effects,
                    CONFIG_NO_SIDE_EFFECTS);
        add_methods(entries, &at, one->idempotent, one->n_idempotent, CONFIG_IDEMPOTENT);
    }
    build_method_index(b, entries, count);
}

/* Two halves of 64 bits, under fixed keys: equal configurations have equal versions everywhere. */
static void set_version(config_build *b, const EnvoyBootstrap__Bootstrap *from) {
    size_t len = 0;
    const uint8_t *bytes = weft_pack(b->scratch, &from->base, &len);
    if (!bytes) {
        b->rc = WEFT_ENOMEM;
        return;
    }
    (void)snprintf(b->snapshot->version, sizeof b->snapshot->version, "%016llx%016llx",
                   (unsigned long long)weft_siphash13(bytes, len, 1, 0),
                   (unsigned long long)weft_siphash13(bytes, len, 2, 0));
}

static void build_all(config_build *b, const EnvoyBootstrap__Bootstrap *from) {
    build_node(b, from->node);
    build_admin(b, from->admin);
    if (!from->static_resources && b->dynamic) {
        set_version(b, from);
        return;
    }
    if (!from->static_resources) {
        build_missing(b, "static_resources", "it says where to listen and where to send");
        return;
    }
    build_in(b, "static_resources");
    build_clusters(b, from->static_resources);
    build_listeners(b, from->static_resources);
    build_up(b);
    b->snapshot->route_count = b->routes;
    if (!b->rc) build_methods(b, from->static_resources);
    if (!b->rc) set_version(b, from);
}

/* ---- */

/* Problems in the order of the text, whoever found them. */
static void sort_diags(weft_diags *diags) {
    weft_diag *sorted = NULL;
    for (weft_diag *d = diags ? diags->first : NULL, *next; d; d = next) {
        weft_diag **at = &sorted;
        next = d->next;
        while (*at &&
               ((*at)->line < d->line || ((*at)->line == d->line && (*at)->column <= d->column)))
            at = &(*at)->next;
        d->next = *at;
        *at = d;
    }
    if (!diags) return;
    diags->first = sorted;
    diags->tail = &diags->first;
    while (*diags->tail) diags->tail = &(*diags->tail)->next;
}

/* Fields of Envoy's that are not in our subset look like typing errors to the decoder. */
static void explain_unknown(weft_diags *diags) {
    for (weft_diag *d = diags ? diags->first : NULL; d; d = d->next)
        if (strcmp(d->text, "unknown field") == 0 && !d->hint) d->text = "not supported here";
}

/* Checks `from`, which lives in `arena`. The snapshot takes the arena over if all is well. */
static int freeze(weft_arena *arena, const EnvoyBootstrap__Bootstrap *from, const char *text,
                  size_t len, const config_options *options, bool from_wire, config_snapshot **out,
                  weft_diags *diags) {
    config_owner *owner = weft_arena_calloc(arena, 1, sizeof *owner);
    config_build *b = NULL;
    weft_arena *scratch = weft_arena_new(ARENA_MAX);
    if (scratch) b = weft_arena_calloc(scratch, 1, sizeof *b);
    int rc = owner && b ? 0 : WEFT_ENOMEM;
    if (!rc) {
        *owner = (config_owner){
            .arena = arena, .source = from, .registry = options ? options->registry : NULL};
        atomic_init(&owner->refs, 1);
        *b = (config_build){.arena = arena,
                            .scratch = scratch,
                            .diags = diags,
                            .file = options ? options->file : NULL,
                            .place = from_wire ? NULL : config_place_new(scratch, text, len),
                            .options = options,
                            .dynamic = options && options->dynamic,
                            .owner = owner,
                            .snapshot = &owner->snapshot};
        weft_map_init(&b->names, 0);
        weft_map_init(&b->addresses, 0);
        build_all(b, from);
        weft_map_free(&b->names, NULL);
        weft_map_free(&b->addresses, NULL);
        rc = b->rc;
        owner->snapshot.bytes = weft_arena_held(arena);
    }
    weft_arena_free(scratch);
    if (!rc && out) *out = &owner->snapshot;
    return rc;
}

static bool is_json(const char *text, size_t len) {
    size_t i = 0;
    while (i < len && strchr(" \t\r\n", text[i])) i++;
    return i < len && text[i] == '{';
}

/* One reading of the text; `lenient` skips unknown fields. */
static int decode(const weft_registry *registry, const char *text, size_t len, const char *file,
                  bool lenient, weft_arena *arena, ProtobufCMessage **out, weft_diags *diags) {
    const weft_type *type =
        weft_registry_type_of(registry, &envoy_bootstrap__bootstrap__descriptor);
    const weft_json_options options = {.size = sizeof options,
                                       .file = file,
                                       .max_bytes = CONFIG_FILE_MAX,
                                       .ignore_unknown = lenient};
    if (!type) return WEFT_EINTERNAL;
    return is_json(text, len)
               ? weft_json_decode(registry, type, text, len, &options, arena, out, diags)
               : weft_yaml_decode(registry, type, text, len, &options, arena, out, diags);
}

int config_parse(const char *text, size_t len, const config_options *options, config_snapshot **out,
                 weft_diags *diags) {
    const char *file = options ? options->file : NULL;
    weft_arena *arena = weft_arena_new(ARENA_MAX);
    weft_registry *own = options && options->registry ? NULL : config_registry_new();
    const weft_registry *registry = own ? own : options ? options->registry : NULL;
    ProtobufCMessage *message = NULL;
    int rc = arena && registry ? 0 : WEFT_ENOMEM;
    if (!rc) rc = decode(registry, text, len, file, false, arena, &message, diags);
    if (rc == WEFT_EPARSE) {
        /* What is wrong beyond its unknown fields is worth saying, too. */
        explain_unknown(diags);
        if (!decode(registry, text, len, file, true, arena, &message, NULL))
            (void)freeze(arena, (const EnvoyBootstrap__Bootstrap *)message, text, len, options,
                         false, NULL, diags);
    } else if (!rc) {
        rc = freeze(arena, (const EnvoyBootstrap__Bootstrap *)message, text, len, options, false,
                    out, diags);
    }
    weft_registry_free(own);
    if (rc) weft_arena_free(arena);
    if (rc) sort_diags(diags);
    return rc;
}

int config_load(const char *path, const config_options *options, config_snapshot **out,
                weft_diags *diags) {
    config_options with = options ? *options : (config_options){.size = sizeof with};
    weft_buf text;
    if (!with.file) with.file = path;
    weft_buf_init(&text, CONFIG_FILE_MAX);
    int rc = weft_buf_read_file(&text, path);
    if (rc == WEFT_ENOTFOUND)
        (void)weft_diag_add(diags, path, 0, 0, NULL, NULL, "there is no such file");
    else if (rc == WEFT_ELIMIT)
        (void)weft_diag_add(diags, path, 0, 0, NULL, NULL, "larger than %u bytes", CONFIG_FILE_MAX);
    else if (rc)
        (void)weft_diag_add(diags, path, 0, 0, NULL, NULL, "cannot be read: %s", weft_strerror(rc));
    else
        rc = config_parse(weft_buf_str(&text), text.len, &with, out, diags);
    weft_buf_free(&text);
    return rc;
}

int config_from_wire(const uint8_t *data, size_t len, const config_options *options,
                     config_snapshot **out, weft_diags *diags) {
    const bool dynamic = options && options->dynamic;
    const weft_guard_limits limits = {.max_bytes = dynamic ? ASSEMBLED_MAX : CONFIG_FILE_MAX};
    const char *why = "";
    int rc = 0;
    weft_arena *arena = weft_arena_new(ARENA_MAX);
    if (!arena) return WEFT_ENOMEM;
    ProtobufCMessage *message =
        weft_unpack(&envoy_bootstrap__bootstrap__descriptor, data, len, &limits, arena, &rc, &why);
    if (!message && rc != WEFT_ENOMEM)
        (void)weft_diag_add(diags, options ? options->file : NULL, 0, 0, NULL, NULL, "%s", why);
    if (message)
        rc = freeze(arena, (const EnvoyBootstrap__Bootstrap *)message, NULL, 0, options, true, out,
                    diags);
    if (rc) weft_arena_free(arena);
    return rc;
}

/* ---- back to messages and text */

const ProtobufCMessage *config_node_message(const config_snapshot *snapshot) {
    const EnvoyCore__Node *node = ((const config_owner *)snapshot)->source->node;
    return node ? &node->base : NULL;
}

int config_dump(const config_snapshot *snapshot, weft_buf *out) {
    const config_owner *owner = (const config_owner *)snapshot;
    const weft_json_options options = {.size = sizeof options, .proto_names = true, .indent = 2};
    weft_registry *own = owner->registry ? NULL : config_registry_new();
    const weft_registry *registry = own ? own : owner->registry;
    if (!registry) return WEFT_ENOMEM;
    weft_buf_printf(out, "{\"version\":\"%s\",\"bootstrap\":", snapshot->version);
    int rc = weft_json_encode(registry, &owner->source->base, &options, out, NULL);
    weft_buf_adds(out, "}\n");
    weft_registry_free(own);
    return rc ? rc : out->error;
}
