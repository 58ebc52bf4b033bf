/* One dynamic call: JSON in, JSON out, all four kinds. */
#ifndef TOOLS_WEFT_CALL_H
#define TOOLS_WEFT_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/weft/contract.h"
#include "tools/weft/json_input.h"
#include "weft/rpc.h"

typedef struct call {
    weft_channel *channel;
    const contract *all;
    const weft_type_method *method;
    json_input *input;
    const char *input_name; /* in diagnostics: "request", "order.json", "stdin" */
    int64_t timeout_ns;
    const char *const *headers; /* "key: value", NULL-terminated */
    bool verbose;
    bool wait; /* for a server that is not up yet */
    bool emit_defaults;
    bool pretty; /* a single reply is spread over lines */
} call;

/* Makes it. Replies go to standard output, everything else to standard error. Returns the exit code. `reachable`
 * is asked when the outcome is UNAVAILABLE: it prints why nobody could be reached and returns true if so. */
int call_run(const call *what, bool (*unreachable)(void *user, weft_status st), void *user);

/* Adds "key: value" to what is sent; values of -bin keys are base64. 0 or WEFT_EINVAL, WEFT_ELIMIT with *why. */
int call_add_header(weft_ctx *ctx, const char *line, const char **why) WEFT_MUST_USE;

/* "error: NOT_FOUND: …" and its details, decoded as far as their types are known. */
void call_print_error(const contract *all, weft_status st);

#endif
