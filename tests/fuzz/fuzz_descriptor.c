/* A descriptor set of a stranger: refused with a reason, or its types work. The first byte says whether
 * the well-known types are there. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/pb/registry.h"
#include "tests/unit/pb/pb_support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Uses a type in every way there is, with the set itself as a message. */
static void use(const weft_registry *registry, const weft_type *type, const uint8_t *data,
                size_t size) {
    weft_arena *arena = weft_arena_new((size_t)64 << 20);
    weft_buf text;
    weft_buf_init(&text, (size_t)16 << 20);
    ProtobufCMessage *message = weft_message_new(arena, type->pbc);
    if (message && weft_registry_type_of(registry, message->descriptor) != type) abort();
    const weft_json_options options = {.size = sizeof options, .emit_defaults = true};
    for (int i = 0; i < 3 && message; i++) {
        size_t len = 0;
        (void)!weft_json_encode(registry, message, i == 1 ? &options : NULL, &text, NULL);
        const uint8_t *bytes = weft_pack(arena, message, &len);
        if (bytes && weft_guard(type->pbc, bytes, len, NULL, NULL) == WEFT_EPARSE) abort();
        ProtobufCMessage *read = NULL;
        (void)!weft_json_decode(registry, type, weft_buf_str(&text), text.len, NULL, arena, &read,
                                NULL);
        weft_buf_clear(&text);
        message = weft_unpack(type->pbc, data, size, NULL, arena, NULL, NULL);
    }
    for (size_t i = 0; i < type->field_count; i++) {
        const weft_type_field *field = &type->fields[i];
        if (weft_type_field_by_number(type, field->number) != field) abort();
        if (weft_type_field_by_name(type, field->name) != field) abort();
        if (!weft_type_field_by_json(type, field->json_name)) abort();
    }
    weft_buf_free(&text);
    weft_arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size || size > 20000) return 0;
    weft_registry *registry = *data & 1 ? weft_registry_new() : pb_registry_new_bare();
    weft_arena *arena = weft_arena_new(0);
    weft_diags diags;
    weft_diags_init(&diags, arena, 0);
    const size_t before = weft_map_count(&registry->symbols);
    const int rc = weft_registry_add_set(registry, data + 1, size - 1, &diags);
    if (rc && rc != WEFT_ENOMEM && !diags.count) abort();
    if (rc && weft_map_count(&registry->symbols) != before) abort();
    size_t at = 0, met = 0;
    void *value = NULL;
    const char *name = NULL;
    while (!rc && weft_map_next(&registry->symbols, &at, &name, NULL, &value)) {
        const pb_symbol *symbol = value;
        if (met++ < before) continue;
        if (!weft_registry_file_of_symbol(registry, name)) abort();
        if (symbol->kind == PB_MESSAGE && met < before + 50)
            use(registry, &((const pb_type *)symbol->object)->type, data, size);
    }
    weft_arena_free(arena);
    weft_registry_free(registry);
    return 0;
}
