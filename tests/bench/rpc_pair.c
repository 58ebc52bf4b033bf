/* CPU of one unary call, client and server together in one process, for each transport that is linked:
 *
 *     rpc_pair [CALLS]
 *
 * One caller after another, then sixteen at once; the handler runs on the loop, a message has 100 bytes. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "test/rpc/v1/echo.weft.h"
#include "weft/clock.h"
#include "weft/rpc.h"

#define CALLERS_MAX 16
#define WARM_UP 2000

static weft_channel *channel;
static int calls_each;

static weft_status echo(weft_ctx *ctx, const Rpctest__EchoRequest *request,
                        Rpctest__EchoReply *reply) {
    (void)ctx;
    reply->payload = request->payload;
    return weft_ok();
}

static void *caller(void *unused) {
    static uint8_t bytes[100];
    (void)unused;
    for (int i = 0; i < calls_each; i++) {
        weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
        Rpctest__EchoReply *reply = NULL;
        Rpctest__EchoRequest request = {
            RPCTEST_ECHO_REQUEST(.payload = {.len = sizeof bytes, .data = bytes})};
        weft_status st = rpctest_echo_inline(channel, ctx, &request, &reply);
        if (weft_failed(st)) {
            (void)fprintf(stderr, "%s\n", weft_status_message(st));
            exit(1);
        }
        weft_ctx_free(ctx);
    }
    return NULL;
}

static double cpu_us(void) {
    struct rusage use;
    (void)getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6 +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static void run(int callers, int each) {
    pthread_t threads[CALLERS_MAX];
    calls_each = each;
    for (int i = 0; i < callers; i++)
        if (pthread_create(&threads[i], NULL, caller, NULL)) exit(1);
    for (int i = 0; i < callers; i++) (void)pthread_join(threads[i], NULL);
}

static void measure(const char *transport, int callers, int calls) {
    run(callers, WARM_UP / callers);
    const double cpu = cpu_us();
    const int64_t begin = weft_now(NULL);
    run(callers, calls / callers);
    const double spent = cpu_us() - cpu;
    const double seconds = (double)(weft_now(NULL) - begin) / 1e9;
    const int made = calls / callers * callers;
    printf("%-8s %3d callers  %7.1f us CPU a call  %8.0f calls/s\n", transport, callers,
           spent / made, made / seconds);
}

static void transport(const char *name, int calls) {
    const weft_server_options server_options = {.size = sizeof server_options, .transport = name};
    const weft_dial_options dial_options = {.size = sizeof dial_options, .transport = name};
    weft_server *server = weft_server_new_with(&server_options);
    const rpctest_echo_service handlers = {.inline_ = echo, .inline__on = WEFT_INLINE};
    if (!server || rpctest_echo_service_add(server, &handlers, NULL) < 0 ||
        weft_server_listen(server, "127.0.0.1:0") < 0 || weft_server_start(server) < 0) {
        printf("%-8s %s\n", name, weft_server_error(server));
        weft_server_free(server);
        return;
    }
    channel = weft_dial_with(weft_server_address(server, 0), &dial_options);
    measure(name, 1, calls);
    measure(name, CALLERS_MAX, calls);
    weft_channel_free(channel);
    weft_server_free(server);
}

int main(int argc, char **argv) {
    char *end = NULL;
    const long calls = argc > 1 ? strtol(argv[1], &end, 10) : 20000;
    if (calls < CALLERS_MAX || calls > 10000000 || (end && *end)) {
        (void)fprintf(stderr, "rpc_pair [CALLS]: 16 to 10000000\n");
        return 2;
    }
    transport("core", (int)calls);
    transport("native", (int)calls);
    return 0;
}
