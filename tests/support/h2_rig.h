/* Two HTTP/2 engines back to back in memory, or one and a script: what the tests of lib/h2 share. */
#ifndef TESTS_SUPPORT_H2_RIG_H
#define TESTS_SUPPORT_H2_RIG_H

#include "weft/h2.h"
#include "weft/rng.h"

/* The pools and the environment of one test. rig_end asserts that nothing is left. */
typedef struct h2_rig {
    weft_chunk_pool *chunks;
    http_pool *fields;
    h2_env *env;
    h2_limits limits; /* those of peers; change before making connections */
    weft_rng rng;
    int64_t now;
} h2_rig;

void rig_begin(h2_rig *rig, uint64_t seed);
void rig_end(h2_rig *rig);
void rig_advance(h2_rig *rig, int64_t ns);

/* One engine with what it wrote and the other has not read. */
typedef struct h2_end {
    h2_conn *conn;
    weft_chain wire;
    int wanted; /* on_want_write came since the last output; set by the test's callback */
} h2_end;

/* Moves output to the wire, then at most `size` bytes of the wire into `to`, in pieces of at most `piece`
 * bytes (0: as they are); with pieces by reference or not as `share` says. Returns the bytes read, or the
 * error of the reader. */
int64_t rig_pass(h2_end *from, h2_conn *to, size_t size, size_t piece, bool share);

/* Passes both ways until both are silent. */
int rig_settle(h2_end *a, h2_end *b);

/* Fields from "name", "value" pairs up to NULL; terminates the test on failure. */
void rig_fields(h2_rig *rig, http_fields *list, ...);

/* Asserts that the gauges say nothing is alive but `conns` and `streams`. */
void rig_check(const h2_rig *rig, size_t conns, size_t streams);

#endif
