#include "tools/weft/health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "grpc/health/v1/health.pb-c.h"
#include "tools/weft/process.h"
#include "weft/clock.h"
#include "weft/rpc.h"
#include "weft/stub.h"

#define ASK_TIMEOUT WEFT_TIMEOUT_S(2)
#define FIRST_WAIT (20 * WEFT_NS_PER_MS)
#define LONGEST_WAIT (500 * WEFT_NS_PER_MS)

/* By hand and not from generated stubs: it needs to be nothing but this one unary call. */
static weft_method check_method(void) {
    return (weft_method){.size = sizeof(weft_method),
                         .path = "/grpc.health.v1.Health/Check",
                         .service = "grpc.health.v1.Health",
                         .name = "Check",
                         .input = &grpc__health__v1__health_check_request__descriptor,
                         .output = &grpc__health__v1__health_check_response__descriptor,
                         .kind = WEFT_KIND_UNARY,
                         .idempotency = WEFT_NO_SIDE_EFFECTS};
}

health_answer health_ask(const char *address, int64_t timeout_ns, char why[200]) {
    why[0] = '\0';
    weft_ctx *ctx = weft_ctx_new(timeout_ns);
    weft_channel *channel = weft_dial(address);
    if (!ctx || !channel) {
        snprintf(why, 200, "out of memory");
        weft_channel_free(channel);
        weft_ctx_free(ctx);
        return HEALTH_FAILED;
    }
    weft_method method = check_method();
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    ProtobufCMessage *reply = NULL;
    weft_status st = weft_stub_call(channel, ctx, &method, &request.base, &reply);
    health_answer answer = HEALTH_FAILED;
    if (st.code == WEFT_UNIMPLEMENTED) {
        answer = HEALTH_NO_SERVICE;
    } else if (weft_failed(st)) {
        snprintf(why, 200, "%s: %s", weft_code_name((int)st.code), weft_status_message(st));
    } else if (((Grpc__Health__V1__HealthCheckResponse *)reply)->status ==
               GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING) {
        answer = HEALTH_SERVING;
    } else {
        answer = HEALTH_NOT_SERVING;
        snprintf(why, 200, "its health service says that it is not serving");
    }
    weft_channel_free(channel);
    weft_ctx_free(ctx);
    return answer;
}

static int probe(void *user, int fd) {
    const char *address = user;
    char why[200], before[200] = "";
    setenv("GRPC_VERBOSITY", "NONE", 0);
    int64_t wait = FIRST_WAIT;
    for (;;) {
        health_answer answer = health_ask(address, ASK_TIMEOUT, why);
        if (answer == HEALTH_SERVING || answer == HEALTH_NO_SERVICE)
            return write(fd, "+\n", 2) == 2 ? 0 : 1;
        for (char *p = why; *p; p++)
            if (*p == '\n') *p = ' ';
        if (strcmp(why, before) != 0 && dprintf(fd, "-%s\n", why) < 0) return 1;
        memcpy(before, why, sizeof before);
        struct timespec pause = {wait / WEFT_NS_PER_S, wait % WEFT_NS_PER_S};
        nanosleep(&pause,
                  NULL); /* in a process of its own, which is killed when it is not wanted */
        wait = wait * 2 > LONGEST_WAIT ? LONGEST_WAIT : wait * 2;
    }
}

int health_probe_start(const char *address, int *pid, int *fd) {
    pid_t child;
    int error = process_fork(probe, (void *)(uintptr_t)address, &child, fd);
    if (error == 0) *pid = (int)child;
    return error;
}
