/* Runs a body once for every allocation it makes, failing that one; then once undisturbed. */
#ifndef TESTS_SWEEP_H
#define TESTS_SWEEP_H

#include <stddef.h>

#include "weft/mem.h"

typedef struct sweep {
    size_t fail_at; /* the allocation to fail, from 0 */
    size_t seen;
} sweep;

static inline int sweep_allow(size_t size, void *user) {
    sweep *s = user;
    (void)size;
    return s->seen++ != s->fail_at;
}

/* `body(user)` returns 0 when it got what it wanted. It must fail cleanly whichever allocation fails (one
 * it can do without may fail unnoticed) and succeed at the end. Returns how many allocations it makes. */
static inline size_t sweep_run(int (*body)(void *user), void *user, int *last) {
    sweep s = {0, 0};
    do {
        s.seen = 0;
        weft_mem_hook(sweep_allow, &s);
        *last = body(user);
        weft_mem_hook(NULL, NULL);
        s.fail_at++;
    } while (s.seen >= s.fail_at);
    return s.seen;
}

#endif
