/* Whatever the guard lets through unpacks, packs and unpacks again to the same bytes, with compiled-in and
 * with run-time types; whatever it refuses is not unpacked. The first byte picks the type. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/pb/pb_support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA_CAP ((size_t)64 << 20)

static const char *const types[] = {"test.pb3.All", "test.pb2.Old", "test.pb2.Strict",
                                    "google.protobuf.FileDescriptorSet"};

/* protobuf-c alone merges in quadratic time: only small inputs go there unprepared. */
static void unprepared(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size) {
    if (size > 2000) return;
    weft_arena *arena = weft_arena_new(ARENA_CAP);
    ProtobufCAllocator allocator = weft_arena_allocator(arena);
    (void)protobuf_c_message_unpack(type, &allocator, size, data);
    weft_arena_free(arena);
}

/* What is packed again from `data`; NULL when it was not unpacked for a reason that is allowed. */
static uint8_t *repack(const weft_type *type, const uint8_t *data, size_t size, weft_arena *arena,
                       size_t *len) {
    const char *why = NULL;
    int error = 0;
    const int rc = weft_guard(type->pbc, data, size, NULL, &why);
    ProtobufCMessage *message = weft_unpack(type->pbc, data, size, NULL, arena, &error, &why);
    if (rc) {
        if (message) abort();
        return NULL;
    }
    unprepared(type->pbc, data, size);
    if (!message) {
        if (error == WEFT_ENOMEM || !strcmp(why, "a required field is missing")) return NULL;
        abort();
    }
    uint8_t *bytes = weft_pack(arena, message, len);
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static weft_registry *registries[2];
    if (!registries[0]) {
        registries[0] = support_compiled();
        registries[1] = support_dynamic();
    }
    if (!size) return 0;
    const char *name = types[*data % (sizeof types / sizeof *types)];
    uint8_t *first = NULL;
    size_t first_len = 0;
    for (int i = 0; i < 2; i++) {
        const weft_type *type = weft_registry_message(registries[i], name);
        if (!type) continue; /* not in the dynamic one */
        weft_arena *arena = weft_arena_new(ARENA_CAP);
        size_t len = 0, again_len = 0;
        uint8_t *bytes = repack(type, data + 1, size - 1, arena, &len);
        if (bytes) {
            const uint8_t *again = repack(type, bytes, len, arena, &again_len);
            if (again && (len != again_len || memcmp(bytes, again, len) != 0)) abort();
            if (i && first && *name == 't' && (len != first_len || memcmp(bytes, first, len) != 0))
                abort();
        }
        if (!i && bytes) {
            first = malloc(len + 1);
            memcpy(first, bytes, len);
            first_len = len;
        }
        weft_arena_free(arena);
    }
    free(first);
    return 0;
}
