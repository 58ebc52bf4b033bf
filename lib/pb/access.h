/* Fields of a message in memory, through the descriptor. Private to lib/pb. */
#ifndef PB_ACCESS_H
#define PB_ACCESS_H

#include <string.h>

#include "guard.h"
#include "registry.h"

static inline void *pb_slot(const ProtobufCMessage *message, const weft_type_field *field) {
    return (char *)message + field->pbc->offset;
}

static inline void *pb_quantifier(const ProtobufCMessage *message, const weft_type_field *field) {
    return (char *)message + field->pbc->quantifier_offset;
}

static inline bool pb_in_oneof(const weft_type_field *field) {
    return field->pbc->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
}

/* The number of the oneof member that is set, 0 for none. The field is in a oneof. */
static inline uint32_t pb_case(const ProtobufCMessage *message, const weft_type_field *field) {
    return *(const uint32_t *)pb_quantifier(message, field);
}

/* Says that a singular field has a value now. */
static inline void pb_mark(ProtobufCMessage *message, const weft_type_field *field) {
    if (pb_in_oneof(field))
        *(uint32_t *)pb_quantifier(message, field) = field->number;
    else if (field->pbc->label == PROTOBUF_C_LABEL_OPTIONAL && field->pbc->quantifier_offset)
        *(protobuf_c_boolean *)pb_quantifier(message, field) = 1;
}

/* Stores a singular value of the field's C type. */
static inline void pb_store(ProtobufCMessage *message, const weft_type_field *field,
                            const void *value) {
    memcpy(pb_slot(message, field), value, pb_c_size(field->pbc->type));
    pb_mark(message, field);
}

static inline size_t pb_count(const ProtobufCMessage *message, const weft_type_field *field) {
    return *(const size_t *)pb_quantifier(message, field);
}

/* Whether a singular field is to be written: it is set, or without presence and not its default. */
bool pb_is_set(const ProtobufCMessage *message, const weft_type_field *field);

#endif
