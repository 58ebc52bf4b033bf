/* What the clients and the server of the sidecars' tests share: what a call is to be, in its x-plan header,
 * and questions on standard input.
 *
 * A call without x-plan is a PLAN_ECHO. One thread. */
#ifndef TESTS_INTEGRATION_SIDECAR_SOAK_H
#define TESTS_INTEGRATION_SIDECAR_SOAK_H

#include "tests/bench/bench.h"

/* What the server does. */
typedef enum plan_kind {
    PLAN_ECHO,  /* sends back what comes as it comes, reads only as fast as that goes out */
    PLAN_DOWN,  /* reads all, sends a body of `size` */
    PLAN_UP,    /* reads all, sends a body of BODY_HEAD bytes */
    PLAN_LAZY,  /* PLAN_UP that begins to read a few milliseconds late */
    PLAN_FAIL,  /* trailers alone, status `code`, once all was read */
    PLAN_EARLY, /* PLAN_FAIL without reading anything */
    PLAN_RESET, /* RST_STREAM of `code` once `size` bytes came, or the end */
    PLAN_CUT,   /* half a body of `size`, then RST_STREAM of `code` */
    PLAN_HOLD, /* answers with headers and a body of BODY_HEAD bytes, then neither reads nor writes */
    PLAN_KINDS
} plan_kind;

typedef struct plan {
    plan_kind kind;
    uint32_t size;
    uint32_t code;
} plan;

#define PLAN_TEXT 40
#define PLAN_HEADER "x-plan"

/* "kind.size.code" in decimal. */
void plan_format(const plan *p, char out[PLAN_TEXT]);
plan plan_parse(const char *text); /* dies if it is none */

/* Calls `ask` with each line of standard input, without its end, and with NULL when there are no more. */
void on_lines(bench *b, void (*ask)(const char *line));

#endif
