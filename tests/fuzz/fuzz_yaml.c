/* A YAML text that is read means something that JSON can say and that reads back the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/pb/pb_support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static weft_registry *registry;

static void check_documents(const weft_type *type, const char *text, size_t len,
                            weft_arena *arena) {
    const weft_json_options options = {.size = sizeof options, .max_depth = 60, .file = "f.yaml"};
    weft_yaml_document **documents = NULL;
    size_t count = 0;
    weft_diags diags;
    weft_diags_init(&diags, arena, 0);
    const int rc = weft_yaml_documents(text, len, &options, arena, &documents, &count, &diags);
    if (rc && rc != WEFT_ENOMEM && !diags.count) abort();
    for (size_t i = 0; i < count; i++) {
        ProtobufCMessage *message = NULL;
        int line = 0, column = 0;
        weft_yaml_document_where(documents[i], &line, &column);
        if (line < 1 || column < 1) abort();
        (void)weft_yaml_document_string(documents[i], "kind", &line, &column);
        (void)!weft_yaml_document_decode(registry, type, documents[i], arena, &message, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const types[] = {"test.pb3.Document", "test.pb3.All",
                                        "google.protobuf.Value"};
    if (!registry) registry = support_compiled();
    if (!size || size > 100000) return 0;
    const weft_type *type = weft_registry_message(registry, types[*data % 3]);
    const char *text = (const char *)data + 1;
    const weft_json_options options = {.size = sizeof options, .max_depth = 60};
    weft_arena *arena = weft_arena_new((size_t)256 << 20);
    ProtobufCMessage *message = NULL;
    weft_diags diags;
    weft_buf one, two;
    weft_buf_init(&one, 0);
    weft_buf_init(&two, 0);
    weft_diags_init(&diags, arena, 0);
    const int rc =
        weft_yaml_decode(registry, type, text, size - 1, &options, arena, &message, &diags);
    if (rc && rc != WEFT_ENOMEM && !diags.count) abort();
    if (!rc) {
        if (weft_json_encode(registry, message, &options, &one, NULL)) abort();
        if (weft_json_decode(registry, type, one.data, one.len, &options, arena, &message, NULL))
            abort();
        if (weft_json_encode(registry, message, &options, &two, NULL)) abort();
        if (one.len != two.len || memcmp(one.data, two.data, one.len) != 0) abort();
    }
    check_documents(type, text, size - 1, arena);
    weft_buf_free(&one);
    weft_buf_free(&two);
    weft_arena_free(arena);
    return 0;
}
