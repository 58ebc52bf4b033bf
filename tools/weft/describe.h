/* Contracts as people read them. */
#ifndef TOOLS_WEFT_DESCRIBE_H
#define TOOLS_WEFT_DESCRIBE_H

#include "weft/buf.h"
#include "weft/pb.h"

/* A service and its methods, a line each. */
void describe_service_line(const weft_type_service *service, weft_buf *out);

/* A service with its methods, their messages' fields, and a call to copy; `address` and `service` as given by
 * the user go into that. */
void describe_service(const weft_type_service *service, const char *address, weft_buf *out);

/* {"service":…,"methods":[{"name":…,"input":…,"output":…,"clientStreaming":…,"serverStreaming":…}]} */
void describe_service_json(const weft_type_service *service, weft_buf *out);

/* A JSON object with every field of the message at its default, one of each oneof; nested messages as deep as
 * fits on a screen. */
void describe_template(const weft_type *type, weft_buf *out);

#endif
