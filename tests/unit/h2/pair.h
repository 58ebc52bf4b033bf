/* A client and a server engine, and all that was reported, for the tests of this room. */
#ifndef TESTS_UNIT_H2_PAIR_H
#define TESTS_UNIT_H2_PAIR_H

#include "tests/support/h2_rig.h"

/* Two ends, the newest stream of each kind, and what happened. */
#define HANDLES 3000

typedef struct pair {
    h2_rig rig;
    h2_end client, server;
    h2_stream *held[HANDLES]; /* handles not released yet */
    size_t count;
    h2_stream *request; /* the server's newest */
    h2_stream *reading; /* the client's newest that got a response */
    h2_stream *last_reset;
    h2_reset_info reset;
    size_t requests, responses, trailers, ends, resets, capacity, settings, goaways, pongs;
    size_t received, sent, wants;
    int64_t rtt;
    void (*on_request)(h2_stream *s, http_fields *fields);
    void (*on_bytes)(h2_stream *s, const weft_slice *data, bool end);
} pair;

extern pair *P; /* the one in use */
extern const h2_callbacks pair_callbacks;

/* A rig; change its limits, then join. _end releases what is still held and asserts that nothing is left. */
void pair_begin(pair *p);
void pair_join(pair *p);
void pair_end(pair *p);

/* Handles, to be released by _drop or by _end. */
h2_stream *pair_hold(h2_stream *s);
void pair_drop(h2_stream *s);

h2_stream *pair_ask(pair *p, bool ended); /* a request; NULL: refused */
void pair_answer(pair *p, h2_stream *s);  /* :status 200 */
int64_t pair_send_zeros(h2_stream *s, size_t size, bool ended);
int64_t pair_output(h2_end *from);
void pair_settle(pair *p);

#endif
