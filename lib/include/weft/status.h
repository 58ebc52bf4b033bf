/* The outcome of an RPC: a code of gRPC (0–16), a sentence and optional typed details.
 *
 * A weft_status is a small value, copied freely. Its text and details live in the arena or context it was
 * made in; OK carries nothing and lives for ever. */
#ifndef WEFT_STATUS_H
#define WEFT_STATUS_H

#include <stddef.h>
#include <stdint.h>

#include "weft/arena.h"

#ifdef __cplusplus
extern "C" {
#endif

/* X(NAME, number): https://grpc.github.io/grpc/core/md_doc_statuscodes.html */
#define WEFT_CODES(X)         \
    X(OK, 0)                  \
    X(CANCELLED, 1)           \
    X(UNKNOWN, 2)             \
    X(INVALID_ARGUMENT, 3)    \
    X(DEADLINE_EXCEEDED, 4)   \
    X(NOT_FOUND, 5)           \
    X(ALREADY_EXISTS, 6)      \
    X(PERMISSION_DENIED, 7)   \
    X(RESOURCE_EXHAUSTED, 8)  \
    X(FAILED_PRECONDITION, 9) \
    X(ABORTED, 10)            \
    X(OUT_OF_RANGE, 11)       \
    X(UNIMPLEMENTED, 12)      \
    X(INTERNAL, 13)           \
    X(UNAVAILABLE, 14)        \
    X(DATA_LOSS, 15)          \
    X(UNAUTHENTICATED, 16)

typedef enum weft_code {
#define X(name, number) WEFT_##name = number,
    WEFT_CODES(X)
#undef X
} weft_code;

typedef struct weft_status_body {
    const char *message;    /* UTF-8, never NULL */
    const uint8_t *details; /* serialized google.rpc.Status, or NULL */
    size_t details_len;
} weft_status_body;

typedef struct weft_status {
    weft_code code;
    const weft_status_body *body; /* NULL: no text */
} weft_status;

static inline weft_status weft_ok(void) {
    weft_status ok = {WEFT_OK, NULL};
    return ok;
}
static inline int weft_failed(weft_status st) { return st.code != WEFT_OK; }
static inline weft_code weft_status_code(weft_status st) { return st.code; }
/* "" when there is none; never NULL. */
static inline const char *weft_status_message(weft_status st) {
    return st.body ? st.body->message : "";
}

/* A status whose text lives in `arena`. When memory is out the code is kept and the text is a static
 * sentence. A code outside 0–16 becomes UNKNOWN. */
weft_status weft_status_make(weft_arena *arena, int code, const char *format, ...)
    WEFT_PRINTF(3, 4);
weft_status weft_status_vmake(weft_arena *arena, int code, const char *format, va_list args);

/* A copy whose text and details live in `arena`. */
weft_status weft_status_copy(weft_arena *arena, weft_status st);

/* "NOT_FOUND" for 5, "UNKNOWN" outside 0–16; and back: -1 for an unknown name. */
const char *weft_code_name(int code);
int weft_code_parse(const char *name);

/* For main(): prints "error: NOT_FOUND: no product "sku-9"" on standard error and returns an exit code:
 * 0 for OK, else 1. */
int weft_report(weft_status st);

#ifdef __cplusplus
}
#endif
#endif
