/* Messages in arenas: unpack, new, copy, pack. */
#include "guard.h"

#include <string.h>

static void *arena_alloc(void *arena, size_t size) { return weft_arena_alloc(arena, size); }

static void arena_free(void *arena, void *block) {
    (void)arena;
    (void)block;
}

ProtobufCAllocator weft_arena_allocator(weft_arena *arena) {
    return (ProtobufCAllocator){.alloc = arena_alloc, .free = arena_free, .allocator_data = arena};
}

/* protobuf-c answers NULL for everything: this tells memory from the rest. */
typedef struct watched {
    weft_arena *arena;
    bool failed;
} watched;

static void *watched_alloc(void *user, size_t size) {
    watched *w = user;
    void *block = weft_arena_alloc(w->arena, size);
    if (!block) w->failed = true;
    return block;
}

static ProtobufCMessage *refuse(int *error, const char **why, int code, const char *text) {
    if (error) *error = code;
    if (why) *why = text;
    return NULL;
}

static ProtobufCMessage *unpack(const ProtobufCMessageDescriptor *type, const void *data,
                                size_t len, weft_arena *arena, int *error, const char **why) {
    watched w = {.arena = arena};
    ProtobufCAllocator allocator = {
        .alloc = watched_alloc, .free = arena_free, .allocator_data = &w};
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, len, data);
    if (message) return message;
    if (w.failed)
        return refuse(error, why, WEFT_ENOMEM,
                      "the message needs more memory than there is for it");
    /* All else that protobuf-c refuses, the guard refuses before. */
    return refuse(error, why, WEFT_EPARSE, "a required field is missing");
}

ProtobufCMessage *weft_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *data,
                              size_t len, const weft_guard_limits *limits, weft_arena *arena,
                              int *error, const char **why) {
    unsigned flags = 0;
    const int rc = pb_guard_walk(type, data, len, limits, &flags, why);
    if (rc) {
        if (error) *error = rc;
        return NULL;
    }
    if (!(flags & PB_WALK_NORMALISE)) return unpack(type, data, len, arena, error, why);

    weft_buf normal;
    weft_buf_init(&normal, len * 6 + 16); /* a message of 2 bytes may grow to 10 */
    ProtobufCMessage *message = NULL;
    if (pb_normalise(type, data, len, &normal))
        refuse(error, why, WEFT_ENOMEM, "memory is out");
    else
        message = unpack(type, normal.data, normal.len, arena, error, why);
    weft_buf_free(&normal);
    return message;
}

size_t pb_c_size(ProtobufCType type) {
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    default:
        return 4; /* bool is an int */
    }
}

ProtobufCMessage *weft_message_new(weft_arena *arena, const ProtobufCMessageDescriptor *type) {
    ProtobufCMessage *message = weft_arena_calloc(arena, 1, type->sizeof_message);
    if (!message) return NULL;
    if (type->message_init) {
        protobuf_c_message_init(type, message);
        return message;
    }
    message->descriptor = type; /* made at run time */
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        char *at = (char *)message + field->offset;
        if (!field->default_value || field->label == PROTOBUF_C_LABEL_REPEATED ||
            field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
            continue;
        if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE)
            memcpy(at, &field->default_value, sizeof(void *));
        else
            memcpy(at, field->default_value, pb_c_size(field->type));
    }
    return message;
}

uint8_t *weft_pack(weft_arena *arena, const ProtobufCMessage *message, size_t *len) {
    const size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = weft_arena_alloc(arena, size);
    if (!bytes) return NULL;
    *len = protobuf_c_message_pack(message, bytes);
    return bytes;
}

ProtobufCMessage *weft_message_copy(weft_arena *arena, const ProtobufCMessage *message) {
    const size_t size = protobuf_c_message_get_packed_size(message);
    weft_buf wire;
    weft_buf_init(&wire, size + 1);
    char *bytes = weft_buf_reserve(&wire, size + 1);
    ProtobufCMessage *copy = NULL;
    if (bytes) {
        protobuf_c_message_pack(message, (uint8_t *)bytes);
        copy = unpack(message->descriptor, bytes, size, arena, NULL, NULL);
    }
    weft_buf_free(&wire);
    return copy;
}
