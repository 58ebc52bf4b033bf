/* JSON text to messages. */
#include "node.h"

int weft_json_decode(const weft_registry *registry, const weft_type *type, const char *text,
                     size_t len, const weft_json_options *options, weft_arena *arena,
                     ProtobufCMessage **out, weft_diags *diags) {
    pb_context context = {.registry = registry, .arena = arena, .nodes = weft_arena_new(0)};
    if (!context.nodes) return WEFT_ENOMEM;
    int rc = pb_context_open(&context, options, text, len, diags);
    const pb_node *root = rc ? NULL : pb_json_parse(&context, text, len);
    ProtobufCMessage *message = root ? pb_convert(&context, type, root, NULL) : NULL;
    if (!rc) rc = pb_context_result(&context);
    if (!rc && !message) rc = WEFT_EINTERNAL;
    if (!rc) *out = message;
    weft_arena_free(context.nodes);
    return rc;
}
