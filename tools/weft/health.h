/* grpc.health.v1 as a client. */
#ifndef TOOLS_WEFT_HEALTH_H
#define TOOLS_WEFT_HEALTH_H

#include <stdint.h>

typedef enum health_answer {
    HEALTH_SERVING,
    HEALTH_NOT_SERVING,
    HEALTH_NO_SERVICE, /* a gRPC server without health checking: counts as healthy */
    HEALTH_FAILED      /* no answer; see why */
} health_answer;

/* Asks once, blocking. `why`, of 200 bytes, gets a sentence for the last two; "" for the first. */
health_answer health_ask(const char *address, int64_t timeout_ns, char why[200]);

/* Forks a process that asks until it may write "+\n" to the pipe *fd; each time the reason changes why it may
 * not, it writes "-reason\n". 0 or a positive errno. The caller must have one thread and must not have made
 * RPCs. */
int health_probe_start(const char *address, int *pid, int *fd) __attribute__((warn_unused_result));

#endif
