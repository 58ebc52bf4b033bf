/* What operators see of the whole process: the admin server, fed by the workers. */
#ifndef SIDECAR_OPERATE_H
#define SIDECAR_OPERATE_H

#include "sidecar/worker.h"

typedef struct operate operate;

/* Listens on the snapshot's admin address, on worker 0's loop. 0 with *out NULL when the snapshot has
 * none. `drain` is called (with `user`) at POST /drain and /quit, on worker 0's thread. */
int operate_start(const sidecar_shared *shared, worker *workers, uint32_t count,
                  void (*drain)(void *user), void *user, operate **out, net_why *why) WEFT_MUST_USE;
/* After every worker's thread ended, before any is freed. NULL is allowed. */
void operate_free(operate *o);

#endif
