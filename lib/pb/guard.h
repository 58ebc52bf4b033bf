/* The walk behind weft_guard, with what weft_unpack needs to know besides. Private to lib/pb. */
#ifndef PB_GUARD_H
#define PB_GUARD_H

#include "weft/pb.h"

/* Hard bound of limits->max_depth: protobuf-c recurses when it unpacks, packs and frees (about 900
 * bytes of stack a level), and the guard keeps a frame a level on its own stack. */
#define PB_DEPTH_MAX 256u

#define PB_DEFAULT_BYTES ((size_t)4 << 20)
#define PB_DEFAULT_DEPTH 100u

/* protobuf-c cannot take these bytes as they are (see normal.c). */
#define PB_WALK_NORMALISE 1u

/* weft_guard; *flags receives PB_WALK_…. */
int pb_guard_walk(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len,
                  const weft_guard_limits *limits, unsigned *flags, const char **why);

/* Rewrites bytes that passed the guard into a form that protobuf-c decodes to what the protobuf
 * specification says they mean. WEFT_ENOMEM or WEFT_ELIMIT. */
int pb_normalise(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len,
                 weft_buf *out);

/* The field with that number; `hint` is the index where it is looked for first. NULL: none. */
const ProtobufCFieldDescriptor *pb_find_field(const ProtobufCMessageDescriptor *type,
                                              uint32_t number, unsigned hint);

/* Bytes that a value of that type takes in the C struct (bool is an int). */
size_t pb_c_size(ProtobufCType type);

/* The rest of pb_varint. */
bool pb_long_varint(const uint8_t **at, const uint8_t *end, unsigned max, uint64_t *value);

/* A varint of at most `max` bytes at *at; false when it is unterminated or too long. */
static inline bool pb_varint(const uint8_t **at, const uint8_t *end, unsigned max,
                             uint64_t *value) {
    if (*at < end && **at < 0x80) {
        *value = *(*at)++;
        return true;
    }
    return pb_long_varint(at, end, max, value);
}

/* Wire types. */
enum {
    PB_VARINT = 0,
    PB_FIXED64 = 1,
    PB_BYTES = 2,
    PB_GROUP = 3,
    PB_GROUP_END = 4,
    PB_FIXED32 = 5
};

#endif
