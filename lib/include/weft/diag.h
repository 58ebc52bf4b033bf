/* What is wrong with an input, where, and what to do: collected, so that a user sees every problem of a
 * file at once. One diagnostic prints as
 *
 *     mesh.yaml:12:7: spec.retry.attemps: unknown field (did you mean "attempts"?)
 */
#ifndef WEFT_DIAG_H
#define WEFT_DIAG_H

#include <stdio.h>

#include "weft/arena.h"
#include "weft/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_diag {
    struct weft_diag *next;
    const char *file; /* or NULL */
    const char *path; /* where in the document, "spec.rules[2].name", or NULL */
    const char *text; /* the rule that was broken */
    const char *hint; /* what to do, or NULL; printed in parentheses */
    int line, column; /* 1-based; 0 when unknown */
} weft_diag;

typedef struct weft_diags {
    weft_arena *arena; /* holds every string; owned by the caller */
    weft_diag *first;
    weft_diag **tail;
    size_t count; /* how many were reported */
    size_t max;   /* how many are kept; the rest are only counted */
} weft_diags;

/* An empty list that keeps at most `max` (0: 100) diagnostics in `arena`. */
void weft_diags_init(weft_diags *diags, weft_arena *arena, size_t max);

/* Adds one. `file`, `path` and `hint` may be NULL; all strings are copied. A NULL `diags` is allowed and
 * drops the report. Always returns WEFT_EPARSE, so that `return weft_diag_add(…)` reads well. */
int weft_diag_add(weft_diags *diags, const char *file, int line, int column, const char *path,
                  const char *hint, const char *format, ...) WEFT_PRINTF(7, 8);

/* One line without a newline; then all of them, a line each. */
int weft_diag_format(const weft_diag *diag, weft_buf *out);
void weft_diags_print(const weft_diags *diags, FILE *out);

/* The nearest of `count` names to `given` by edit distance, or NULL if none is near enough to suggest. */
const char *weft_suggest(const char *given, const char *const *names, size_t count);

#ifdef __cplusplus
}
#endif
#endif
