/* weft_server_main as a process: this program, started again with SERVE set, is the server. */
#include "echo.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "weft/clock.h"

typedef Rpctest__EchoReply reply_t;

/* ---- the server */

static weft_status slow(weft_ctx *ctx, const Rpctest__EchoRequest *request, reply_t *reply) {
    const struct timespec tick = {0, 1000000};
    int64_t end = weft_now(NULL) + request->sleep_ms * WEFT_NS_PER_MS;
    if (request->sleep_ms) (void)!write(STDOUT_FILENO, "entered\n", 8);
    while (weft_now(NULL) < end && !weft_ctx_cancelled(ctx)) (void)nanosleep(&tick, NULL);
    reply->text = (char *)"done";
    return weft_ctx_status(ctx);
}

static int serve(int argc, char **argv) {
    weft_server *server = weft_server_new();
    const rpctest_echo_service handlers = {.unary = slow};
    if (rpctest_echo_service_add(server, &handlers, NULL) < 0) return 99;
    return weft_server_main(server, argc, argv);
}

/* ---- the parent */

typedef struct process {
    pid_t pid;
    int out, err, ready;
    char address[256];
    char text[8192]; /* what it said */
} process;

static void spawn(process *p, const char *const *args) {
    int out[2], err[2], ready[2];
    assert_int_equal(pipe(out) | pipe(err) | pipe(ready), 0);
    p->pid = fork();
    if (p->pid == 0) {
        char fd[16];
        (void)dup2(out[1], 1);
        (void)dup2(err[1], 2);
        (void)close(out[0]);
        (void)close(err[0]);
        (void)close(ready[0]);
        (void)snprintf(fd, sizeof fd, "%d", ready[1]);
        (void)setenv("SERVE", "1", 1);
        (void)setenv("WEFT_READY_FD", fd, 1);
        (void)execv("/proc/self/exe", (char *const *)(uintptr_t)args);
        _exit(98);
    }
    assert_true(p->pid > 0); /* kill(-1) would reach everybody */
    (void)close(out[1]);
    (void)close(err[1]);
    (void)close(ready[1]);
    p->out = out[0];
    p->err = err[0];
    p->ready = ready[0];
}

static size_t read_line(int fd, char *line, size_t size) {
    size_t len = 0;
    while (len + 1 < size) {
        ssize_t n = read(fd, line + len, 1);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0 || line[len] == '\n') break;
        len++;
    }
    line[len] = '\0';
    return len;
}

static void await_ready(process *p) {
    assert_true(read_line(p->ready, p->address, sizeof p->address) > 0);
}

/* Its exit code; what it wrote is in p->text. */
static int reap(process *p) {
    size_t len = 0;
    int status = 0;
    const int fds[] = {p->out, p->err};
    for (int i = 0; i < 2; i++) {
        ssize_t n = 0;
        while ((n = read(fds[i], p->text + len, sizeof p->text - 1 - len)) > 0) len += (size_t)n;
        (void)close(fds[i]);
    }
    (void)close(p->ready);
    p->text[len] = '\0';
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void ends_with(const char *const *args, int code, const char *part) {
    process p;
    spawn(&p, args);
    int got = reap(&p);
    if (got != code || !strstr(p.text, part)) fail_msg("exit %d: %s", got, p.text);
}

#define ARGS(...) ((const char *const[]){"test-server", ##__VA_ARGS__, NULL})

static void flags(void **state) {
    (void)state;
    ends_with(ARGS("--help"), 0, "--listen");
    ends_with(ARGS("-h"), 0, "--unsafe-plaintext");
    ends_with(ARGS("--version"), 0, "test-server ");
    ends_with(ARGS("--lisen=x"), 2, "--listen");
    ends_with(ARGS("--threads", "zero"), 2, "--threads");
    ends_with(ARGS("--grace=2 weeks"), 2, "--grace");
    ends_with(ARGS("--log-level=loud"), 2, "debug");
    ends_with(ARGS("extra"), 2, "extra");
    ends_with(ARGS(), 2, "nowhere to listen: give --listen ADDRESS");
    ends_with(ARGS("--listen", "0.0.0.0:0"), 1, "others could read along");
    ends_with(ARGS("--listen", "127.0.0.1:0,nonsense!"), 1, "\"nonsense!\" is not an address");
}

typedef struct in_flight {
    weft_channel *channel;
    int64_t ms; /* how long the handler takes, unless it is cancelled */
    weft_code code;
    pthread_t thread;
} in_flight;

static void *call_slow(void *user) {
    in_flight *call = user;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(120));
    call->code = rpctest_echo_unary(call->channel, ctx, REQUEST(.sleep_ms = call->ms), NULL).code;
    weft_ctx_free(ctx);
    return NULL;
}

static void begin_slow(process *p, in_flight *call, int64_t ms) {
    char line[32];
    call->ms = ms;
    call->channel = weft_dial(p->address);
    assert_int_equal(pthread_create(&call->thread, NULL, call_slow, call), 0);
    (void)read_line(p->out, line, sizeof line);
    assert_string_equal(line, "entered");
}

static void end_slow(in_flight *call) {
    (void)pthread_join(call->thread, NULL);
    weft_channel_free(call->channel);
}

static void a_signal_drains(void **state) {
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        process p;
        in_flight call;
        spawn(&p, ARGS("--listen=127.0.0.1:0"));
        await_ready(&p);
        begin_slow(&p, &call, 400);
        assert_int_equal(kill(p.pid, signals[i]), 0);
        end_slow(&call);
        assert_int_equal(call.code, WEFT_OK);
        assert_int_equal(reap(&p), 0);
        assert_non_null(strstr(p.text, "\"msg\":\"serving\""));
        assert_non_null(strstr(p.text, p.address));
        assert_non_null(strstr(p.text, "\"msg\":\"draining\""));
        assert_non_null(strstr(p.text, "\"msg\":\"stopped\""));
    }
}

static void a_second_one_cancels(void **state) {
    (void)state;
    process p;
    in_flight call;
    char line[512];
    spawn(&p, ARGS("--listen", "127.0.0.1:0", "--grace=1h"));
    await_ready(&p);
    begin_slow(&p, &call, 3600 * 1000); /* only the second signal can end it */
    assert_int_equal(kill(p.pid, SIGTERM), 0);
    do assert_true(read_line(p.err, line, sizeof line) > 0);
    while (!strstr(line, "draining"));
    assert_int_equal(kill(p.pid, SIGTERM), 0);
    end_slow(&call);
    assert_true(call.code == WEFT_CANCELLED || call.code == WEFT_UNAVAILABLE);
    assert_int_equal(reap(&p), 0);
}

static void environment(void **state) {
    (void)state;
    process p;
    char folder[] = "/tmp/weft-main-XXXXXX", list[128], line[512];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(list, sizeof list, "unix:%s/s,127.0.0.1:0", folder);
    assert_int_equal(setenv("WEFT_LISTEN", list, 1), 0);
    assert_int_equal(setenv("WEFT_SERVICE", "tester", 1), 0);
    spawn(&p, ARGS());
    assert_int_equal(unsetenv("WEFT_LISTEN") | unsetenv("WEFT_SERVICE"), 0);
    await_ready(&p);
    list[strcspn(list, ",")] = '\0';
    assert_string_equal(p.address, list);
    (void)read_line(p.err, line, sizeof line);
    assert_non_null(strstr(line, "\"service\":\"tester\""));
    assert_non_null(strstr(line, ", 127.0.0.1:"));
    assert_int_equal(kill(p.pid, SIGTERM), 0);
    assert_int_equal(reap(&p), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(int argc, char **argv) {
    if (getenv("SERVE")) return serve(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags),
        cmocka_unit_test(a_signal_drains),
        cmocka_unit_test(a_second_one_cancels),
        cmocka_unit_test(environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
