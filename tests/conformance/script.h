/* A small language for conformance cases: what a peer sends and what the application does, and what must
 * come out of it. Words are separated by blanks, steps by ';'.
 *
 *   preface                 the client preface (server cases begin with it and SETTINGS unless RAW)
 *   hex DIGITS              bytes as they are
 *   frame TYPE FLAGS ID [DIGITS]   a frame; TYPE and FLAGS decimal
 *   long TYPE FLAGS ID SIZE        a frame of SIZE zero bytes
 *   head FLAGS ID NAME=VALUE …     HEADERS with literals; FLAGS of es (END_STREAM) eh (END_HEADERS) or -
 *   cont FLAGS ID NAME=VALUE …     CONTINUATION
 *   get ID | post ID               a whole request; post has no END_STREAM
 *   ok ID                          a response :status 200 without END_STREAM
 *   data FLAGS ID SIZE             DATA of SIZE zero bytes
 *   settings [ID=VALUE …]  ack  ping  goaway LAST CODE  rst ID CODE  update ID SIZE
 *   times N STEP                   the step N times
 *   request | request-end          the application opens a stream (client)
 *   answer ID | answer-end ID      it responds    send ID SIZE | send-end ID SIZE
 *   trailers ID   reset ID CODE   consume ID SIZE   release ID   drain   wait MILLISECONDS
 *   flush                   the peer waits for what comes out
 *
 * What the peer sends is delivered before the application's next step, or at the end.
 *
 * The outcome is a text of what happened, in order, joined by ", ": what callbacks said (request 1,
 * request-end 1, response …, inform …, trailers …, data 1 5, data-end 1 5, lost 1 CODE for on_reset by the
 * connection or us, reset 1 CODE by the peer), what was sent (sent 1 5 for queued DATA,
 * HEADERS 1, DATA 1 5, RST 1 CODE,
 * GOAWAY LAST CODE, PONG, UPDATE ID SIZE, SETTINGS ACK) except the first SETTINGS and WINDOW_UPDATE and
 * the ACK of the peer's first SETTINGS. */
#ifndef TESTS_CONFORMANCE_SCRIPT_H
#define TESTS_CONFORMANCE_SCRIPT_H

#include <stddef.h>

#include "weft/h2.h"

#define SCRIPT_RAW 1         /* no preface, no SETTINGS, no ACK before the script */
#define SCRIPT_FEW_STREAMS 2 /* max_streams is 3 */
#define SCRIPT_WHOLE 4       /* the outcome is another when DATA comes in pieces */

typedef struct script_case {
    const char *name; /* section and what */
    h2_role role;
    const char *steps;
    const char *outcome;
    unsigned flags;
} script_case;

/* Runs one; NULL, or why it failed (static memory). `piece`: bytes given to the engine at a time, 0 for all. */
const char *script_run(const script_case *it, size_t piece);

#endif
