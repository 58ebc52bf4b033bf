/* Between the parts of the JSON encoder. Private to lib/pb. */
#ifndef PB_ENCODE_H
#define PB_ENCODE_H

#include "access.h"
#include "node.h"

typedef struct pb_encoder {
    pb_context context; /* for its problems, and `nodes` for what an Any holds */
    weft_buf *out;
    bool proto_names, emit_defaults, enum_numbers;
    unsigned indent;
    unsigned depth; /* open containers */
} pb_encoder;

/* Reports what JSON cannot say. */
#define PB_CANNOT(e, path, ...) pb_report(&(e)->context, path, 0, 0, NULL, __VA_ARGS__)

/* A container: open, before each element, close. `first` is true until the first element. False
 * when it is nested too deep. */
bool pb_encode_open(pb_encoder *e, char bracket, const pb_path *path);
void pb_encode_next(pb_encoder *e, bool *first);
void pb_encode_close(pb_encoder *e, char bracket, bool first);
/* The key of a member: escaped, quoted, with its colon. */
void pb_encode_key(pb_encoder *e, bool *first, const char *key, const pb_path *path);

void pb_encode_string(pb_encoder *e, const char *text, const pb_path *path);
/* One value of the field's C type, at `slot`. */
void pb_encode_value(pb_encoder *e, const weft_type_field *field, const void *slot,
                     const pb_path *path);
void pb_encode_message(pb_encoder *e, const weft_type *type, const ProtobufCMessage *message,
                       const pb_path *path);
/* The fields, inside an open object. */
void pb_encode_members(pb_encoder *e, const weft_type *type, const ProtobufCMessage *message,
                       bool *first, const pb_path *path);
void pb_encode_wellknown(pb_encoder *e, const weft_type *type, const ProtobufCMessage *message,
                         const pb_path *path);

/* Which entries of a map have a later one with the same key: on the wire the last one counts, in JSON
 * there can be one only. NULL: context.fatal is set. */
bool *pb_superseded(pb_encoder *e, ProtobufCMessage *const *array, size_t count,
                    const weft_type_field *key);

/* Memory that dies with the encoding; NULL sets context.fatal. */
weft_arena *pb_encode_scratch(pb_encoder *e);

/* Nothing more is worth writing. */
static inline bool pb_encode_over(const pb_encoder *e) { return e->context.fatal || e->out->error; }

#endif
