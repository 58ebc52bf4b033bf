/* A newer snapshot for all workers: reads its certificates, opens its listeners, publishes it and has
 * every worker take it on its own thread. One thread may call this; nothing in it waits. */
#ifndef SIDECAR_APPLY_H
#define SIDECAR_APPLY_H

#include "sidecar/certs.h"
#include "sidecar/worker.h"

#define APPLY_WHY CERTS_WHY
#define APPLY_CLUSTERS_MAX 100000u /* names of clusters, those that are gone too */

typedef struct sidecar_apply sidecar_apply;

/* `shared` is what the workers began with; all must outlive it. NULL when memory is out. */
sidecar_apply *sidecar_apply_new(const sidecar_shared *shared, worker *workers,
                                 uint32_t count) WEFT_MUST_USE;
/* After the workers are freed. NULL is allowed. */
void sidecar_apply_free(sidecar_apply *apply);

/* Takes a reference. 0: on its way. WEFT_EBUSY: workers are taking the last one; try again soon. Else
 * nothing changed and `why` says in one line what is wrong: a certificate, an address that is taken. */
int sidecar_apply_snapshot(sidecar_apply *apply, config_snapshot *snapshot,
                           char why[APPLY_WHY]) WEFT_MUST_USE;
/* Workers are still taking the last one. */
bool sidecar_apply_busy(const sidecar_apply *apply);

#endif
