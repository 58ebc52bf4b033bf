/* The full registry. Alone in its file: whoever links this needs the descriptors of the well-known
 * types, which protoc-gen-weft makes; protoc-gen-weft itself is linked without them. */
#include "registry.h"

extern const weft_file weft_file_google_protobuf_any_proto, weft_file_google_protobuf_api_proto,
    weft_file_google_protobuf_compiler_plugin_proto, weft_file_google_protobuf_descriptor_proto,
    weft_file_google_protobuf_duration_proto, weft_file_google_protobuf_empty_proto,
    weft_file_google_protobuf_field_mask_proto, weft_file_google_protobuf_source_context_proto,
    weft_file_google_protobuf_struct_proto, weft_file_google_protobuf_timestamp_proto,
    weft_file_google_protobuf_type_proto, weft_file_google_protobuf_wrappers_proto;

weft_registry *weft_registry_new(void) {
    static const weft_file *const files[] = {
        &weft_file_google_protobuf_any_proto,
        &weft_file_google_protobuf_api_proto,
        &weft_file_google_protobuf_compiler_plugin_proto,
        &weft_file_google_protobuf_descriptor_proto,
        &weft_file_google_protobuf_duration_proto,
        &weft_file_google_protobuf_empty_proto,
        &weft_file_google_protobuf_field_mask_proto,
        &weft_file_google_protobuf_source_context_proto,
        &weft_file_google_protobuf_struct_proto,
        &weft_file_google_protobuf_timestamp_proto,
        &weft_file_google_protobuf_type_proto,
        &weft_file_google_protobuf_wrappers_proto,
    };
    weft_registry *registry = pb_registry_new_bare();
    if (registry && pb_registry_add_builtin(registry, files, sizeof files / sizeof *files)) {
        weft_registry_free(registry);
        return NULL;
    }
    return registry;
}
