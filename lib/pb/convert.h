/* Between the parts of the converter. Private to lib/pb. */
#ifndef PB_CONVERT_H
#define PB_CONVERT_H

#include "node.h"

/* "a list" and the like. */
const char *pb_kind_name(const pb_context *context, const pb_node *node);

/* Reports that something else was expected. Always false. */
bool pb_expected(pb_context *context, const pb_node *node, const pb_path *path, const char *what);

/* The value of one field, or one element of it, into `slot`, which has room for its C type. False
 * when there is none: a problem was reported, or an unknown enum name is to be ignored. */
bool pb_convert_value(pb_context *context, const weft_type_field *field, const pb_node *node,
                      const pb_path *path, void *slot);

/* A plain message from the members of an object, without the one called `except` (may be NULL). */
ProtobufCMessage *pb_convert_members(pb_context *context, const weft_type *type,
                                     const pb_node *node, const char *except, const pb_path *path);

/* One of the messages with a JSON form of their own. */
ProtobufCMessage *pb_convert_wellknown(pb_context *context, const weft_type *type,
                                       const pb_node *node, const pb_path *path);

/* A copy that the caller keeps. NULL: context->fatal is set. */
char *pb_copy_text(pb_context *context, const char *text);
ProtobufCMessage *pb_new_message(pb_context *context, const weft_type *type);
void *pb_new_array(pb_context *context, size_t count, size_t size);

#endif
