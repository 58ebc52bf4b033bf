/* Servers: where they listen, what they refuse, health, reflection, drain, main(). */
#include "echo.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "grpc/health/v1/health.weft.h"
#include "grpc/reflection/v1/reflection.weft.h"
#include "grpc/reflection/v1alpha/reflection.weft.h"
#include "lib/rpc/internal.h"
#include "weft/clock.h"
#include "weft/log.h"

typedef Rpctest__EchoReply reply_t;
typedef Grpc__Health__V1__HealthCheckRequest health_request;
typedef Grpc__Health__V1__HealthCheckResponse health_response;
typedef Grpc__Reflection__V1__ServerReflectionRequest reflect_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflect_response;

static echo e;

static int start(void **state) {
    (void)state;
    memset(&e, 0, sizeof e);
    echo_start(&e, NULL, false);
    return 0;
}

static int stop(void **state) {
    (void)state;
    echo_stop(&e);
    return 0;
}

/* ---- listening */

static void refused(const char *address, int error, const char *part) {
    weft_server *server = weft_server_new();
    assert_int_equal(weft_server_listen(server, address), error);
    if (!strstr(weft_server_error(server), part))
        fail_msg("\"%s\" is not in \"%s\"", part, weft_server_error(server));
    assert_int_equal(weft_server_start(server), error);
    weft_server_free(server);
}

static void listen_rules(void **state) {
    (void)state;
    char folder[] = "/tmp/weft-listen-XXXXXX", address[128], path[128];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(address, sizeof address, "unix:%s/s", folder);
    (void)snprintf(path, sizeof path, "%s/s", folder);
    assert_int_equal(chmod(folder, 0750), 0);
    refused(address, WEFT_EINVAL, "can be entered by others (mode 750); chmod 700");
    assert_int_equal(chmod(folder, 0700), 0);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    refused(address, WEFT_EEXIST, "it is no socket");
    assert_int_equal(close(fd) | unlink(path), 0);
    refused("unix:/nonexistent/s", WEFT_ENOTFOUND, "folder /nonexistent: No such file");
    refused("unix:/etc/hostname/s", WEFT_EINVAL, "/etc/hostname is not a folder");
    refused("what?", WEFT_EINVAL, "is not an address");
    refused("0.0.0.0:0", WEFT_EINVAL, "others could read along");
    refused("[::]:0", WEFT_EINVAL, "others could read along");
    refused("no-such-host.invalid:0", WEFT_ENOTFOUND, "no-such-host.invalid");
    assert_int_equal(rmdir(folder), 0);
    weft_server *server = weft_server_new();
    assert_int_equal(weft_server_start(server), WEFT_EINVAL);
    assert_non_null(strstr(weft_server_error(server), "nowhere to listen"));
    weft_server_free(server);
}

static void stale_and_live_sockets(void **state) {
    (void)state;
    refused(weft_server_address(e.server, 0), WEFT_EBUSY, "a server is listening there already");
    /* A socket whose server died: the file stays. */
    char address[160], path[128];
    (void)snprintf(path, sizeof path, "%s/stale", e.folder);
    (void)snprintf(address, sizeof address, "unix:%s", path);
    pid_t child = fork();
    if (child == 0) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        (void)snprintf(to.sun_path, sizeof to.sun_path, "%.100s", path);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        _exit(fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof to) < 0 || listen(fd, 1) < 0);
    }
    int status = 0;
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(access(path, F_OK), 0);
    weft_server *server = weft_server_new();
    assert_int_equal(weft_server_listen(server, address), 0);
    assert_int_equal(weft_server_start(server), 0);
    assert_string_equal(weft_server_address(server, 0), address);
    weft_server_free(server);
}

static void several_addresses(void **state) {
    (void)state;
    weft_server *server = weft_server_new();
    assert_int_equal(weft_server_listen(server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_listen(server, "localhost:0"), 0);
    char name[64];
    (void)snprintf(name, sizeof name, "unix-abstract:weft-test-%d", (int)getpid());
    assert_int_equal(weft_server_listen(server, name), 0);
    weft_server_unsafe_plaintext(server);
    assert_int_equal(weft_server_listen(server, "0.0.0.0:0"), 0);
    assert_int_equal(weft_server_start(server), 0);
    assert_int_equal(weft_server_start(server), WEFT_EBUSY);
    for (size_t i = 0; i < 4; i++) {
        const char *address = weft_server_address(server, i);
        assert_non_null(address);
        assert_null(strstr(address, ":0\0"));
        weft_channel *channel = weft_dial(address);
        weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
        assert_status(rpctest_echo_unary(channel, ctx, REQUEST(.count = 1), NULL),
                      WEFT_UNIMPLEMENTED, "there is no service test.rpc.v1.EchoService here");
        weft_ctx_free(ctx);
        weft_channel_free(channel);
    }
    assert_null(weft_server_address(server, 4));
    /* A port can be had once. */
    refused(weft_server_address(server, 0), WEFT_EBUSY, "Address already in use");
    weft_server_free(server);
}

static void wrong_registrations(void **state) {
    (void)state;
    weft_server *server = weft_server_new();
    const rpctest_echo_service none = {.unary = NULL};
    assert_int_equal(rpctest_echo_service_add(server, &none, NULL), 0);
    assert_int_equal(rpctest_echo_service_add(server, &none, NULL), WEFT_EEXIST);
    assert_int_equal(weft_server_listen(server, "127.0.0.1:0"), WEFT_EEXIST);
    assert_int_equal(weft_server_start(server), WEFT_EEXIST);
    assert_string_equal(weft_server_error(server),
                        "service test.rpc.v1.EchoService was added twice");
    weft_server_free(server);
    const rpctest_echo_service reactor = {.down_on = WEFT_REACTOR},
                               blocks = {.down_on = WEFT_INLINE};
    server = weft_server_new();
    assert_int_equal(rpctest_echo_service_add(server, &reactor, NULL), 0);
    assert_int_equal(weft_server_listen(server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(server), WEFT_EUNSUPPORTED);
    assert_non_null(strstr(weft_server_error(server), "EchoService/Down: WEFT_REACTOR"));
    weft_server_free(server);
    server = weft_server_new();
    assert_int_equal(rpctest_echo_service_add(server, &blocks, NULL), 0);
    assert_int_equal(weft_server_listen(server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(server), WEFT_EUNSUPPORTED);
    assert_non_null(strstr(weft_server_error(server), "cannot be WEFT_INLINE"));
    weft_server_free(server);
    const weft_server_options pigeon = {.size = sizeof pigeon, .transport = "pigeon"};
    server = weft_server_new_with(&pigeon);
    assert_int_equal(weft_server_listen(server, "127.0.0.1:0"), WEFT_EUNSUPPORTED);
    assert_non_null(strstr(weft_server_error(server), "unknown transport"));
    weft_server_free(server);
}

/* ---- limits */

static void too_many_calls(void **state) {
    (void)state;
    const weft_server_options few = {.size = sizeof few, .max_calls = 2};
    memset(&e, 0, sizeof e);
    echo_start(&e, &few, false);
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(30));
    weft_group *group = weft_group_new(ctx);
    reply_t *reply = NULL;
    assert_true(rpctest_echo_unary_start(e.channel, group, REQUEST(.sleep_ms = 20000), &reply) >=
                0);
    assert_true(rpctest_echo_unary_start(e.channel, group, REQUEST(.sleep_ms = 20000), &reply) >=
                0);
    echo_await(&e.entered, 2);
    assert_status(rpctest_echo_inline(e.channel, ctx, REQUEST(.count = 1), NULL),
                  WEFT_RESOURCE_EXHAUSTED,
                  "server: as many calls are in progress as max_calls allows");
    weft_group_cancel(group);
    assert_code(weft_group_wait(group), WEFT_CANCELLED);
    echo_await(&e.left, 2);
    weft_status st = weft_ok();
    for (int i = 0; i < 1000; i++) { /* once their last bytes are out there is room again */
        st = rpctest_echo_inline(e.channel, ctx, REQUEST(.count = 1), NULL);
        if (!weft_failed(st)) break;
    }
    assert_code(st, WEFT_OK);
    weft_ctx_free(ctx);
}

static void too_many_bytes(void **state) {
    (void)state;
    static uint8_t payload[60000];
    const weft_server_options few = {
        .size = sizeof few, .max_bytes = 100000, .max_request = 70000, .max_arena = 80000};
    memset(&e, 0, sizeof e);
    echo_start(&e, &few, false);
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(30));
    weft_group *group = weft_group_new(ctx);
    reply_t *reply = NULL;
    assert_true(rpctest_echo_unary_start(e.channel, group,
                                         REQUEST(.sleep_ms = 20000, .payload = {60000, payload}),
                                         &reply) >= 0);
    echo_await(&e.entered, 1);
    assert_status(rpctest_echo_unary(e.channel, ctx, REQUEST(.payload = {60000, payload}), NULL),
                  WEFT_RESOURCE_EXHAUSTED,
                  "server: requests in progress hold as many bytes as max_bytes allows");
    assert_code(rpctest_echo_unary(e.channel, ctx, REQUEST(.payload = {30000, payload}), NULL),
                WEFT_OK);
    weft_status st = rpctest_echo_unary(
        e.channel, ctx, REQUEST(.payload = {60000, payload}, .text = (char *)payload), NULL);
    assert_code(st, WEFT_RESOURCE_EXHAUSTED);
    static uint8_t large[70001];
    st = rpctest_echo_unary(e.channel, ctx, REQUEST(.payload = {70001, large}), NULL);
    assert_code(st, WEFT_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(weft_status_message(st), "70000"));
    /* More than a call's arena may hold. */
    assert_code(rpctest_echo_unary(e.channel, ctx, REQUEST(.count = 1), NULL), WEFT_OK);
    weft_ctx_free(ctx);
}

/* ---- what strangers send: bytes no encoder makes, smuggled in as an unknown field */

static weft_status send_raw(uint32_t tag, const uint8_t *bytes, size_t len) {
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    ProtobufCMessageUnknownField field = {.tag = tag,
                                          .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                                          .len = len,
                                          .data = (uint8_t *)(uintptr_t)bytes};
    Rpctest__EchoRequest *request = REQUEST(.count = 1);
    request->base.n_unknown_fields = 1;
    request->base.unknown_fields = &field;
    weft_status st = rpctest_echo_unary(e.channel, ctx, request, NULL);
    static char message[256];
    static weft_status_body body;
    (void)snprintf(message, sizeof message, "%s", weft_status_message(st));
    body = (weft_status_body){message, NULL, 0};
    weft_code code = st.code;
    weft_ctx_free(ctx);
    return (weft_status){code, &body};
}

static size_t put_varint(uint8_t *out, size_t value) {
    size_t n = 0;
    for (; value > 127; value >>= 7) out[n++] = (uint8_t)(value | 128);
    out[n++] = (uint8_t)value;
    return n;
}

static void hostile_requests(void **state) {
    (void)state;
    static uint8_t bomb[100000];
    size_t at = sizeof bomb;
    for (int i = 0; i < 20000; i++) { /* Nested.inner in Nested.inner in … */
        uint8_t head[8] = {1 << 3 | 2};
        size_t n = 1 + put_varint(head + 1, sizeof bomb - at);
        at -= n;
        memcpy(bomb + at, head, n);
    }
    uint8_t length[8];
    size_t n = put_varint(length, sizeof bomb - at);
    memcpy(bomb + at - n, length, n);
    at -= n;
    static const struct {
        uint32_t tag;
        size_t len;
        uint8_t bytes[8];
    } rows[] = {
        {1, 3, {2, 0xff, 0xfe}},  /* not UTF-8 */
        {1, 4, {3, 'a', 0, 'b'}}, /* C would cut it */
        {1, 2, {100, 'a'}},       /* cut off */
        {8, 3, {2, 8, 1}},        /* wrong wire type inside Nested.inner */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        weft_status st = send_raw(rows[i].tag, rows[i].bytes, rows[i].len);
        assert_code(st, WEFT_INVALID_ARGUMENT);
        assert_true(strncmp(weft_status_message(st), "request: ", 9) == 0);
    }
    weft_status st = send_raw(8, bomb + at, sizeof bomb - at);
    assert_code(st, WEFT_INVALID_ARGUMENT);
    assert_int_equal(atomic_load(&e.entered), 0);
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(10));
    assert_code(rpctest_echo_unary(e.channel, ctx, REQUEST(.text = (char *)"alive"), NULL),
                WEFT_OK);
    /* The same in a stream. */
    ProtobufCMessageUnknownField field = {.tag = 1,
                                          .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                                          .len = 3,
                                          .data = (uint8_t[]){2, 0xff, 0xfe}};
    Rpctest__EchoRequest *bad = REQUEST(.count = 1);
    bad->base.n_unknown_fields = 1;
    bad->base.unknown_fields = &field;
    rpctest_echo_up_stream *s = rpctest_echo_up(e.channel, ctx);
    assert_true(rpctest_echo_up_send(s, REQUEST(.text = (char *)"good")));
    (void)rpctest_echo_up_send(s, bad);
    reply_t *reply = NULL;
    st = rpctest_echo_up_end(s, &reply);
    assert_code(st, WEFT_INVALID_ARGUMENT);
    assert_true(strncmp(weft_status_message(st), "request: ", 9) == 0);
    weft_ctx_free(ctx);
}

/* ---- health */

#define HEALTH(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

static weft_status check(weft_ctx *ctx, const char *service, health_response **response) {
    health_request request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = (char *)(uintptr_t)service;
    weft_method method = rpctest_echo_unary__method;
    method.path = "/grpc.health.v1.Health/Check";
    method.input = &grpc__health__v1__health_check_request__descriptor;
    method.output = &grpc__health__v1__health_check_response__descriptor;
    ProtobufCMessage *reply = NULL;
    weft_status st = weft_stub_call(e.channel, ctx, &method, &request.base, &reply);
    if (!weft_failed(st)) *response = (health_response *)reply;
    return st;
}

static weft_stream *watch(weft_ctx *ctx, const char *service) {
    static weft_method method;
    health_request request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = (char *)(uintptr_t)service;
    method = rpctest_echo_down__method;
    method.path = "/grpc.health.v1.Health/Watch";
    method.input = &grpc__health__v1__health_check_request__descriptor;
    method.output = &grpc__health__v1__health_check_response__descriptor;
    return weft_stub_stream(e.channel, ctx, &method, &request.base);
}

static int next_status(weft_stream *stream) {
    ProtobufCMessage *message = NULL;
    if (!weft_stream_next(stream, &message)) return -1;
    return (int)((health_response *)message)->status;
}

static void health(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    health_response *response = NULL;
    assert_code(check(ctx, "", &response), WEFT_OK);
    assert_int_equal(response->status, HEALTH(SERVING));
    assert_code(check(ctx, "test.rpc.v1.EchoService", &response), WEFT_OK);
    assert_int_equal(response->status, HEALTH(SERVING));
    assert_status(check(ctx, "unheard.of", &response), WEFT_NOT_FOUND,
                  "there is no service \"unheard.of\" here");
    weft_stream *whole = watch(ctx, ""), *later = watch(ctx, "later");
    assert_int_equal(next_status(whole), HEALTH(SERVING));
    assert_int_equal(next_status(later), HEALTH(SERVICE_UNKNOWN));
    weft_server_set_serving(e.server, "later", WEFT_SERVING);
    weft_server_set_serving(e.server, "", WEFT_NOT_SERVING);
    assert_int_equal(next_status(whole), HEALTH(NOT_SERVING));
    assert_int_equal(next_status(later), HEALTH(SERVING));
    weft_server_set_serving(e.server, "", WEFT_SERVING);
    assert_int_equal(next_status(whole), HEALTH(SERVING));
    weft_server_drain(e.server);
    assert_int_equal(next_status(whole), HEALTH(NOT_SERVING));
    assert_int_equal(next_status(later), HEALTH(NOT_SERVING));
    assert_int_equal(next_status(whole), -1);
    assert_int_equal(next_status(later), -1);
    assert_code(weft_stream_end(whole, NULL), WEFT_UNAVAILABLE);
    assert_code(weft_stream_end(later, NULL), WEFT_UNAVAILABLE);
    weft_server_wait(e.server); /* no watch holds it up */
    weft_ctx_free(ctx);
}

static void watch_given_up(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    weft_stream *stream = watch(ctx, "");
    assert_int_equal(next_status(stream), HEALTH(SERVING));
    assert_code(weft_stream_end(stream, NULL), WEFT_CANCELLED);
    weft_ctx_free(ctx);
}

/* ---- reflection */

#define ASK(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define ANSWER(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

static reflect_response *ask(weft_stream *stream, int what, const char *text) {
    reflect_request request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    Grpc__Reflection__V1__ExtensionRequest extension =
        GRPC__REFLECTION__V1__EXTENSION_REQUEST__INIT;
    request.host = (char *)"h";
    request.message_request_case =
        (Grpc__Reflection__V1__ServerReflectionRequest__MessageRequestCase)what;
    request.list_services = (char *)(uintptr_t)text;
    extension.containing_type = (char *)(uintptr_t)text;
    if (what == ASK(FILE_CONTAINING_EXTENSION)) request.file_containing_extension = &extension;
    ProtobufCMessage *message = NULL;
    assert_true(weft_stream_send(stream, &request.base));
    assert_true(weft_stream_next(stream, &message));
    reflect_response *response = (reflect_response *)message;
    assert_string_equal(response->valid_host, "h");
    assert_int_equal(response->original_request->message_request_case, what);
    return response;
}

static void not_found(const reflect_response *response, int code) {
    assert_int_equal(response->message_response_case, ANSWER(ERROR_RESPONSE));
    assert_int_equal(response->error_response->error_code, code);
    assert_true(*response->error_response->error_message);
}

static void reflect(const char *path) {
    weft_method method = rpctest_echo_both__method;
    method.path = path;
    method.input = &grpc__reflection__v1__server_reflection_request__descriptor;
    method.output = &grpc__reflection__v1__server_reflection_response__descriptor;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    weft_stream *s = weft_stub_stream(e.channel, ctx, &method, NULL);
    const reflect_response *r = ask(s, ASK(LIST_SERVICES), "*");
    assert_int_equal(r->message_response_case, ANSWER(LIST_SERVICES_RESPONSE));
    static const char *const names[] = {
        "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection", "test.rpc.v1.EchoService"};
    assert_int_equal(r->list_services_response->n_service, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(r->list_services_response->service[i]->name, names[i]);
    static const char *const symbols[] = {
        "test.rpc.v1.EchoService", "test.rpc.v1.EchoService.Unary", "test.rpc.v1.EchoRequest"};
    for (size_t i = 0; i < 3; i++) {
        r = ask(s, ASK(FILE_CONTAINING_SYMBOL), symbols[i]);
        assert_int_equal(r->message_response_case, ANSWER(FILE_DESCRIPTOR_RESPONSE));
        assert_true(r->file_descriptor_response->n_file_descriptor_proto >= 1);
        const ProtobufCBinaryData *file = &r->file_descriptor_response->file_descriptor_proto[0];
        assert_int_equal(file->len, weft_file_test_rpc_v1_echo_proto.descriptor_len);
        assert_memory_equal(file->data, weft_file_test_rpc_v1_echo_proto.descriptor, file->len);
    }
    r = ask(s, ASK(FILE_BY_FILENAME), "test/rpc/v1/echo.proto");
    assert_int_equal(r->message_response_case, ANSWER(FILE_DESCRIPTOR_RESPONSE));
    /* with what it imports: google/protobuf/timestamp.proto */
    assert_int_equal(r->file_descriptor_response->n_file_descriptor_proto, 2);
    not_found(ask(s, ASK(FILE_BY_FILENAME), "no.proto"), WEFT_NOT_FOUND);
    not_found(ask(s, ASK(FILE_CONTAINING_SYMBOL), "no.Symbol"), WEFT_NOT_FOUND);
    not_found(ask(s, ASK(FILE_CONTAINING_EXTENSION), "test.rpc.v1.EchoRequest"), WEFT_NOT_FOUND);
    not_found(ask(s, ASK(ALL_EXTENSION_NUMBERS_OF_TYPE), "no.Type"), WEFT_NOT_FOUND);
    not_found(ask(s, ASK(_NOT_SET), ""), WEFT_INVALID_ARGUMENT);
    r = ask(s, ASK(ALL_EXTENSION_NUMBERS_OF_TYPE), "test.rpc.v1.EchoRequest");
    assert_int_equal(r->message_response_case, ANSWER(ALL_EXTENSION_NUMBERS_RESPONSE));
    assert_int_equal(r->all_extension_numbers_response->n_extension_number, 0);
    assert_code(weft_stream_end(s, NULL), WEFT_OK);
    weft_ctx_free(ctx);
}

static void reflection(void **state) {
    (void)state;
    reflect("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    reflect("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
}

/* ---- drain */

static void drain_lets_calls_finish(void **state) {
    (void)state;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    weft_group *group = weft_group_new(ctx);
    reply_t *reply = NULL;
    assert_true(rpctest_echo_unary_start(e.channel, group,
                                         REQUEST(.text = (char *)"in flight", .sleep_ms = 300),
                                         &reply) >= 0);
    echo_await(&e.entered, 1);
    weft_server_drain(e.server);
    weft_server_drain(e.server);
    assert_code(weft_group_wait(group), WEFT_OK);
    assert_string_equal(reply->text, "in flight");
    weft_server_wait(e.server);
    assert_code(rpctest_echo_unary(e.channel, ctx, REQUEST(.count = 1), NULL), WEFT_UNAVAILABLE);
    weft_ctx_free(ctx);
}

static void drain_cancels_after_the_grace(void **state) {
    (void)state;
    const weft_server_options impatient = {.size = sizeof impatient,
                                           .grace_ns = WEFT_TIMEOUT_MS(100)};
    memset(&e, 0, sizeof e);
    echo_start(&e, &impatient, false);
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_S(20));
    weft_group *group = weft_group_new(ctx);
    reply_t *reply = NULL;
    rpctest_echo_both_stream *s = rpctest_echo_both(e.channel, ctx);
    assert_true(rpctest_echo_unary_start(e.channel, group, REQUEST(.sleep_ms = 20000), &reply) >=
                0);
    echo_await(&e.entered, 2);
    int64_t before = weft_now(NULL);
    weft_server_drain(e.server);
    weft_server_wait(e.server);
    assert_true(weft_now(NULL) - before >= 99 * WEFT_NS_PER_MS);
    assert_true(weft_failed(weft_group_wait(group)));
    assert_false(rpctest_echo_both_next(s, &reply));
    assert_true(weft_failed(rpctest_echo_both_end(s)));
    assert_int_equal(atomic_load(&e.cancelled), 2);
    weft_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
        cmocka_unit_test(listen_rules),
        T(stale_and_live_sockets),
        cmocka_unit_test(several_addresses),
        cmocka_unit_test(wrong_registrations),
        cmocka_unit_test_setup_teardown(too_many_calls, NULL, stop),
        cmocka_unit_test_setup_teardown(too_many_bytes, NULL, stop),
        T(hostile_requests),
        T(health),
        T(watch_given_up),
        T(reflection),
        T(drain_lets_calls_finish),
        cmocka_unit_test_setup_teardown(drain_cancels_after_the_grace, NULL, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
