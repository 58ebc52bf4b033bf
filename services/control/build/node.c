/* What a node says of itself. */
#include <string.h>

#include "envoy/config/core/v3/base.pb-c.h"
#include "services/control/build/build.h"

#define UPSTREAMS_MAX 256u

typedef Google__Protobuf__Struct object;
typedef Google__Protobuf__Value value;

static const value *field(const object *in, const char *key) {
    for (size_t i = 0; in && i < in->n_fields; i++)
        if (!strcmp(in->fields[i]->key, key)) return in->fields[i]->value;
    return NULL;
}

static const object *object_at(const object *in, const char *key) {
    const value *v = field(in, key);
    return v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE ? v->struct_value : NULL;
}

static const char *text_at(const object *in, const char *key) {
    const value *v = field(in, key);
    return v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE ? v->string_value : "";
}

static int take_upstreams(const object *from, weft_arena *arena, control_node *out) {
    control_upstream *list =
        weft_arena_calloc(arena, from->n_fields ? from->n_fields : 1, sizeof *list);
    if (!list) return WEFT_ENOMEM;
    for (size_t i = 0; i < from->n_fields; i++)
        list[i] = (control_upstream){from->fields[i]->key, text_at(from, from->fields[i]->key)};
    out->upstreams = list;
    out->upstream_count = from->n_fields;
    return 0;
}

/* "<service>.<namespace>"; a client without a proxy may be anything. */
static int take_cluster(const char *text, weft_arena *arena, control_node *out) {
    char service[64], space[64];
    if (!model_name_split(text, MODEL_NAMESPACE, service, space)) return 0;
    out->service = weft_arena_strdup(arena, service);
    out->name_space = weft_arena_strdup(arena, space);
    return out->service && out->name_space ? 0 : WEFT_ENOMEM;
}

int control_node_read(const ProtobufCMessage *message, weft_arena *arena, control_node *out,
                      const char **why) {
    const EnvoyCore__Node *node = (const EnvoyCore__Node *)message;
    const object *weft = object_at(node->metadata, "weft");
    const object *upstreams = object_at(weft, "upstreams");
    control_node n = {.kind = !strcmp(node->user_agent_name, "weft-sidecar") ? CONTROL_NODE_SIDECAR
                                                                             : CONTROL_NODE_GRPC,
                      .id = node->id,
                      .service = "",
                      .name_space = "",
                      .inbound = text_at(weft, "inbound"),
                      .app = text_at(weft, "app"),
                      .outbound = text_at(weft, "outbound"),
                      .cert_file = text_at(weft, "certFile"),
                      .key_file = text_at(weft, "keyFile"),
                      .ca_file = text_at(weft, "caFile"),
                      .tls_instance = text_at(weft, "tlsInstance")};
    int rc = take_cluster(node->cluster, arena, &n);
    const char *wrong = NULL;
    if (!*node->id)
        wrong = "node.id is missing";
    else if (n.kind == CONTROL_NODE_SIDECAR && !*n.service)
        wrong = "node.cluster must be \"<service>.<namespace>\"";
    else if (!*n.cert_file != !*n.key_file || !*n.key_file != !*n.ca_file)
        wrong = "certFile, keyFile and caFile belong together";
    else if (upstreams && upstreams->n_fields > UPSTREAMS_MAX)
        wrong = "there are more than 256 upstreams";
    if (!rc && wrong) {
        if (why) *why = wrong;
        return WEFT_EPARSE;
    }
    if (!rc && upstreams) rc = take_upstreams(upstreams, arena, &n);
    if (!rc) *out = n;
    return rc;
}
