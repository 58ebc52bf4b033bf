/* Reading a bootstrap file as plain YAML, without its contracts: weft-sidecar is who judges it. */
#include <ctype.h>
#include <string.h>

#include "google/protobuf/struct.weft.h"
#include "tools/weft/bootstrap.h"
#include "weft/pb.h"

#define FILE_MAX (4u << 20) /* as weft-sidecar */

typedef Google__Protobuf__Value value;

/* "static_resources" is also written "staticResources" (proto3 JSON mapping). */
static bool same_key(const char *snake, const char *key) {
    if (strcmp(snake, key) == 0) return true;
    for (; *snake; snake++, key++) {
        if (*snake == '_') {
            snake++;
            if (*key != toupper((unsigned char)*snake)) return false;
        } else if (*key != *snake) {
            return false;
        }
    }
    return *key == '\0';
}

/* The value at a path of keys and numbers, "address.pipe.path" or "routes.0.route"; NULL when there is none. */
static const value *at(const value *from, const char *path) {
    char key[64];
    while (from && *path) {
        size_t len = strcspn(path, ".");
        if (len >= sizeof key) return NULL;
        memcpy(key, path, len);
        key[len] = '\0';
        path += len + (path[len] == '.');
        const value *found = NULL;
        if (from->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE) {
            const Google__Protobuf__Struct *object = from->struct_value;
            for (size_t i = 0; i < object->n_fields && !found; i++)
                if (same_key(key, object->fields[i]->key)) found = object->fields[i]->value;
        } else if (from->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE) {
            size_t index = 0;
            for (const char *p = key; isdigit((unsigned char)*p) && index < 100000; p++)
                index = index * 10 + (size_t)(*p - '0');
            if (index < from->list_value->n_values) found = from->list_value->values[index];
        }
        from = found;
    }
    return from;
}

static const char *text_at(const value *from, const char *path) {
    const value *found = at(from, path);
    return found && found->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE
               ? found->string_value
               : NULL;
}

static size_t count_at(const value *from, const char *path) {
    const value *found = at(from, path);
    return found && found->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE
               ? found->list_value->n_values
               : 0;
}

static const value *item(const value *from, const char *path, size_t index) {
    const value *list = at(from, path);
    return list->list_value->values[index];
}

/* An Address as text; NULL when it is none that we know. */
static const char *address_at(weft_arena *arena, const value *from, const char *path) {
    const value *address = at(from, path);
    const char *pipe = text_at(address, "pipe.path");
    if (pipe && *pipe == '@') return weft_arena_printf(arena, "unix-abstract:%s", pipe + 1);
    if (pipe) return weft_arena_printf(arena, "unix:%s", pipe);
    const char *host = text_at(address, "socket_address.address");
    const value *port = at(address, "socket_address.port_value");
    if (!host || !port || port->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE)
        return NULL;
    return weft_arena_printf(arena, strchr(host, ':') ? "[%s]:%.0f" : "%s:%.0f", host,
                             port->number_value);
}

/* Where the first route of a listener leads, if that is one endpoint. */
static const char *target(weft_arena *arena, const value *root, const value *listener) {
    const char *cluster = text_at(listener, "filter_chains.0.filters.0.typed_config.route_config."
                                            "virtual_hosts.0.routes.0.route.cluster");
    const size_t count = count_at(root, "static_resources.clusters");
    for (size_t i = 0; cluster && i < count; i++) {
        const value *one = item(root, "static_resources.clusters", i);
        const char *name = text_at(one, "name");
        if (name && strcmp(name, cluster) == 0)
            return address_at(arena, one,
                              "load_assignment.endpoints.0.lb_endpoints.0.endpoint.address");
    }
    return NULL;
}

/* As weft-sidecar does: one that does not say is inbound if it speaks TLS. */
static bool is_inbound(const value *listener) {
    const char *direction = text_at(listener, "traffic_direction");
    if (direction && strcmp(direction, "INBOUND") == 0) return true;
    if (direction && strcmp(direction, "OUTBOUND") == 0) return false;
    return at(listener, "filter_chains.0.transport_socket") != NULL;
}

static void look(const value *root, weft_arena *arena, bootstrap_view *view) {
    const size_t count = count_at(root, "static_resources.listeners");
    for (size_t i = 0; i < count; i++) {
        const value *listener = item(root, "static_resources.listeners", i);
        if (is_inbound(listener)) {
            if (!view->app) view->app = target(arena, root, listener);
        } else if (!view->outbound) {
            view->outbound = address_at(arena, listener, "address");
        }
    }
}

int bootstrap_look(const char *file, weft_arena *arena, bootstrap_view *view, weft_diags *diags) {
    weft_buf text;
    *view = (bootstrap_view){NULL, NULL};
    weft_buf_init(&text, FILE_MAX);
    int rc = weft_buf_read_file(&text, file);
    weft_registry *registry = rc ? NULL : weft_registry_new();
    if (rc == 0)
        rc = registry
                 ? weft_registry_add_file(registry, &weft_file_google_protobuf_struct_proto, diags)
                 : WEFT_ENOMEM;
    ProtobufCMessage *message = NULL;
    if (rc == 0) {
        const weft_type *type = weft_registry_message(registry, "google.protobuf.Value");
        const weft_json_options options = {
            .size = sizeof options, .file = file, .max_bytes = FILE_MAX};
        rc = type ? weft_yaml_decode(registry, type, weft_buf_str(&text), text.len, &options, arena,
                                     &message, diags)
                  : WEFT_EINTERNAL;
    }
    if (rc == 0) look((const value *)message, arena, view);
    weft_registry_free(registry);
    weft_buf_free(&text);
    return rc;
}
