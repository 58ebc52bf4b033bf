/* What the files of the telemetry store share. */
#ifndef SERVICES_TELEMETRY_INTERNAL_H
#define SERVICES_TELEMETRY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "services/telemetry/telemetry.h"

struct tel_store {
    weft_db *db;
    const weft_clock *clock;
    int64_t retention;
    uint64_t max_bytes;
    atomic_bool over; /* trimming for size goes on until well below max_bytes */
    atomic_uint_fast64_t spans_rejected, logs_rejected, repeated, traces_expired, logs_expired;
    pthread_mutex_t lock; /* of the two below */
    pthread_cond_t changed;
    uint64_t log_batches; /* grows with each that brought records */
    bool stopped;
};

extern const weft_migration tel_migrations[];
extern const size_t tel_migration_count;

/* ---- edges.c: counting within a transaction */

typedef struct tel_edges tel_edges;

/* What a transaction counted so far, by edge and minute; calls of the future are of this minute. NULL when
 * memory is out. */
tel_edges *tel_edges_new(int64_t now);
void tel_edges_free(tel_edges *edges); /* NULL allowed */
/* A span that was just stored as one of trace `seq`, after all of its trace that came with it. */
int tel_edges_span(tel_edges *edges, weft_tx *tx, int64_t seq, const tel_span *span);
/* Adds it all to the table. */
int tel_edges_store(tel_edges *edges, weft_tx *tx);

/* Bytes of the database in use. */
uint64_t tel_used_bytes(weft_tx *tx);

#endif
