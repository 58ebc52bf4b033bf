/* What the admin API answers, as messages. Everything lives in the context; WEFT_ENOMEM is the only failure. */
#ifndef SERVICES_CONTROL_ADMIN_ANSWERS_H
#define SERVICES_CONTROL_ADMIN_ANSWERS_H

#include "services/control/admin/documents.h"
#include "services/control/control.h"
#include "weft/control/v1/admin.pb-c.h"

Google__Protobuf__Timestamp *answer_time(weft_ctx *ctx, int64_t wall_ns);
Google__Protobuf__Duration *answer_duration(weft_ctx *ctx, int64_t ns);
WeftControl__Revision *answer_revision(weft_ctx *ctx, const weft_head *head);

int answer_problems(weft_ctx *ctx, const weft_diags *diags, WeftControl__Problem ***list,
                    size_t *count) WEFT_MUST_USE;
int answer_changes(weft_ctx *ctx, const weft_registry *types, const model_set *before,
                   const model_set *after, WeftControl__Change ***list,
                   size_t *count) WEFT_MUST_USE;
int answer_document(weft_ctx *ctx, const weft_registry *types, const model_document *from,
                    WeftControl__Document **out) WEFT_MUST_USE;
int answer_endpoint(weft_ctx *ctx, const registry_entry *entry, int64_t now, int64_t wall,
                    WeftControl__Endpoint **out) WEFT_MUST_USE;
int answer_roots(weft_ctx *ctx, control *c, WeftControl__Root ***list, size_t *count) WEFT_MUST_USE;

#endif
