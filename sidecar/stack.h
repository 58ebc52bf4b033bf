/* The composition of a sidecar: which steps a call takes, in which order. stack.c is the place to
 * begin reading. */
#ifndef SIDECAR_STACK_H
#define SIDECAR_STACK_H

#include "sidecar/call.h"

typedef enum stack_verdict {
    STACK_NEXT, /* go on with the next step */
    STACK_DONE  /* answered, or under way: the call may be gone */
} stack_verdict;

typedef struct stack_step {
    const char *name;
    stack_verdict (*run)(call *c);
} stack_step;

/* Takes a new call through the stack of its listener's direction. The call may be gone afterwards. */
void stack_run(call *c);

#endif
