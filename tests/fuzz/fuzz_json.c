/* A JSON text that is read is written; what is written is read again and written the same. The first byte picks
 * type and options. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/pb/pb_support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static weft_registry *registry;

static ProtobufCMessage *decode(const weft_type *type, const char *text, size_t len, bool lenient,
                                weft_arena *arena) {
    /* A value in an Any takes three messages a level, and a message on the wire has at most 256. */
    const weft_json_options options = {
        .size = sizeof options, .max_depth = 60, .ignore_unknown = lenient, .file = "f"};
    ProtobufCMessage *message = NULL;
    weft_diags diags;
    weft_diags_init(&diags, arena, 0);
    const int rc = weft_json_decode(registry, type, text, len, &options, arena, &message, &diags);
    if (!rc) return message;
    if (rc != WEFT_ENOMEM && !diags.count) abort(); /* every refusal has its reason */
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const types[] = {"test.pb3.All", "test.pb2.Old", "test.pb3.Document",
                                        "google.protobuf.Value"};
    if (!registry) registry = support_compiled();
    if (!size || size > 100000) return 0;
    const unsigned pick = *data;
    const weft_type *type = weft_registry_message(registry, types[pick % 4]);
    weft_arena *arena = weft_arena_new((size_t)256 << 20);
    weft_buf one, two;
    weft_buf_init(&one, 0);
    weft_buf_init(&two, 0);
    ProtobufCMessage *message = decode(type, (const char *)data + 1, size - 1, pick & 4, arena);
    if (message) {
        const weft_json_options options = {.size = sizeof options,
                                           .max_depth = 60,
                                           .proto_names = pick & 8,
                                           .emit_defaults = pick & 16,
                                           .enum_numbers = pick & 32,
                                           .indent = pick & 64 ? 2 : 0};
        weft_diags diags;
        weft_diags_init(&diags, arena, 0);
        if (weft_json_encode(registry, message, &options, &one, &diags)) {
            weft_diags_print(&diags, stderr);
            abort();
        }
        message = decode(type, one.data, one.len, false, arena);
        if (!message || weft_json_encode(registry, message, &options, &two, NULL)) abort();
        if (one.len != two.len || memcmp(one.data, two.data, one.len) != 0) abort();
    }
    weft_buf_free(&one);
    weft_buf_free(&two);
    weft_arena_free(arena);
    return 0;
}
