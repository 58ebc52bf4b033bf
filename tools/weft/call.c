#include "tools/weft/call.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "google/rpc/status.pb-c.h"
#include "tools/weft/cmd.h"
#include "weft/clock.h"
#include "weft/encoding.h"
#include "weft/mem.h"
#include "weft/stub.h"

/* A call under way. */
struct run {
    const call *what;
    weft_ctx *ctx;
    weft_method method; /* of the contract found at run time */
    size_t sent, received;
    int bad; /* exit code once the input or output was wrong, else 0 */
};

/* ---- metadata --------------------------------------------------------------------------------------- */

int call_add_header(weft_ctx *ctx, const char *line, const char **why) {
    const char *colon = strchr(line, ':');
    *why = "write it as 'key: value'";
    if (!colon || colon == line) return WEFT_EINVAL;
    char key[256];
    size_t len = (size_t)(colon - line);
    if (len >= sizeof key) return WEFT_EINVAL;
    for (size_t i = 0; i < len; i++)
        key[i] = line[i] >= 'A' && line[i] <= 'Z' ? (char)(line[i] + 32) : line[i];
    key[len] = '\0';
    const char *value = colon + 1;
    while (*value == ' ' || *value == '\t') value++;
    size_t size = strlen(value);
    while (size > 0 && (value[size - 1] == ' ' || value[size - 1] == '\t')) size--;
    const void *bytes = value;
    if (len > 4 && strcmp(key + len - 4, "-bin") == 0) {
        void *decoded = weft_alloc(ctx, WEFT_BASE64_BYTES(size));
        *why = "the value of a -bin key must be base64";
        if (!decoded || weft_base64_decode(WEFT_BASE64_JSON_ACCEPT, value, size, decoded,
                                           WEFT_BASE64_BYTES(size), &size) < 0)
            return WEFT_EINVAL;
        bytes = decoded;
    }
    int rc = weft_ctx_add_metadata(ctx, key, bytes, size);
    *why =
        rc == WEFT_ELIMIT
            ? "more than 8 KiB of metadata"
            : "keys are [0-9a-z_.-], not grpc-…; values are printable ASCII unless the key ends in -bin";
    return rc;
}

static void print_value(const char *sign, const char *key, const char *value, size_t len) {
    size_t key_len = strlen(key);
    if (key_len > 4 && strcmp(key + key_len - 4, "-bin") == 0) {
        char *text = weft_malloc(WEFT_BASE64_TEXT(len));
        if (!text) return;
        weft_base64_encode(WEFT_BASE64_JSON_SEND, value, len, text);
        fprintf(stderr, "%s %s: %s\n", sign, key, text);
        weft_free(text);
    } else {
        fprintf(stderr, "%s %s: %.*s\n", sign, key, (int)len, value);
    }
}

typedef const char *(*metadata_at)(const weft_ctx *ctx, size_t index, const char **value,
                                   size_t *len);

static void print_metadata(const struct run *run, const char *sign, metadata_at at) {
    const char *key, *value;
    size_t len;
    for (size_t i = 0; (key = at(run->ctx, i, &value, &len)); i++)
        print_value(sign, key, value, len);
}

static void print_request(const struct run *run) {
    fprintf(stderr, "> %s\n", run->what->method->path);
    for (const char *const *line = run->what->headers; *line; line++)
        fprintf(stderr, "> %s\n", *line);
}

static void print_outcome(const struct run *run, weft_status st, int64_t began) {
    print_metadata(run, "<", weft_ctx_initial_at);
    print_metadata(run, "< (trailer)", weft_ctx_trailing_at);
    fprintf(stderr, "< %s in %.1f ms; %zu sent, %zu received\n", weft_code_name((int)st.code),
            (double)(weft_now(NULL) - began) / (double)WEFT_NS_PER_MS, run->sent, run->received);
}

/* ---- errors ----------------------------------------------------------------------------------------- */

static void print_detail(const contract *all, const Google__Protobuf__Any *any) {
    const char *slash = strrchr(any->type_url, '/');
    const char *name = slash ? slash + 1 : any->type_url;
    const weft_type *type = weft_registry_message(all->registry, name);
    weft_arena *arena = weft_arena_new(0);
    weft_buf text;
    weft_buf_init(&text, 1024 * 1024);
    const weft_json_options options = {.size = sizeof options};
    ProtobufCMessage *message = NULL;
    if (type && arena)
        message = weft_unpack(type->pbc, any->value.data, any->value.len, NULL, arena, NULL, NULL);
    if (message && weft_json_encode(all->registry, message, &options, &text, NULL) == 0)
        fprintf(stderr, "  %s %s\n", name, weft_buf_str(&text));
    else
        fprintf(stderr, "  %s (%zu bytes%s)\n", name, any->value.len,
                type ? ", damaged" : " of a type not known here");
    weft_buf_free(&text);
    weft_arena_free(arena);
}

void call_print_error(const contract *all, weft_status st) {
    fflush(stdout);
    weft_report(st);
    if (!st.body || !st.body->details) return;
    weft_arena *arena = weft_arena_new(0);
    if (!arena) return;
    const Google__Rpc__Status *rich =
        (const Google__Rpc__Status *)weft_unpack(&google__rpc__status__descriptor, st.body->details,
                                                 st.body->details_len, NULL, arena, NULL, NULL);
    for (size_t i = 0; rich && i < rich->n_details; i++) print_detail(all, rich->details[i]);
    weft_arena_free(arena);
}

/* ---- messages --------------------------------------------------------------------------------------- */

/* The next message of the input: 1, 0 at its end, -1 after an error was printed. Lives in `arena`. */
static int next_request(struct run *run, weft_arena *arena, ProtobufCMessage **message) {
    const call *what = run->what;
    const char *text;
    size_t len;
    int rc = json_input_next(what->input, &text, &len);
    if (rc == 0) return 0;
    if (rc < 0) {
        cmd_error("cannot read %s: %s", what->input_name,
                  rc == WEFT_EIO ? strerror(errno) : weft_strerror(rc));
        run->bad = EXIT_USAGE;
        return -1;
    }
    weft_diags diags;
    weft_diags_init(&diags, arena, 20);
    const weft_json_options options = {
        .size = sizeof options, .file = what->input_name, .max_bytes = 64 * 1024 * 1024};
    rc = weft_json_decode(what->all->registry, what->method->input, text, len, &options, arena,
                          message, &diags);
    if (rc == 0) return 1;
    if (run->sent) fprintf(stderr, "message %zu:\n", run->sent + 1);
    weft_diags_print(&diags, stderr);
    if (diags.count == 0) cmd_error("%s: %s", what->input_name, weft_strerror(rc));
    fprintf(stderr, "(it must be a %s; weft call ADDRESS SERVICE shows its fields)\n",
            what->method->input->name);
    run->bad = EXIT_USAGE;
    return -1;
}

static void print_reply(struct run *run, const ProtobufCMessage *message, bool pretty) {
    const call *what = run->what;
    weft_buf text;
    weft_buf_init(&text, 256 * 1024 * 1024);
    weft_arena *arena = weft_arena_new(0);
    weft_diags diags;
    weft_diags_init(&diags, arena, 20);
    const weft_json_options options = {
        .size = sizeof options, .emit_defaults = what->emit_defaults, .indent = pretty ? 2 : 0};
    int rc = arena ? weft_json_encode(what->all->registry, message, &options, &text, &diags)
                   : WEFT_ENOMEM;
    run->received++;
    if (rc == 0) {
        /* What does not fit stdio's buffer fails in printf, and fflush then knows nothing of it. */
        if (printf("%s\n", weft_buf_str(&text)) < 0 || fflush(stdout) != 0) {
            if (!run->bad && errno != EPIPE)
                cmd_error("cannot write the output: %s", strerror(errno));
            run->bad = EXIT_FAILED;
        }
    } else {
        cmd_error("the reply cannot be written as JSON");
        weft_diags_print(&diags, stderr);
        run->bad = EXIT_FAILED;
    }
    weft_buf_free(&text);
    weft_arena_free(arena);
}

/* Exactly one message for the kinds that take one; none given is an empty one. NULL after an error. */
static ProtobufCMessage *single_request(struct run *run, weft_arena *arena) {
    ProtobufCMessage *message = NULL, *more = NULL;
    int got = next_request(run, arena, &message);
    if (got < 0) return NULL;
    if (got == 0) message = weft_message_new(arena, run->what->method->input->pbc);
    if (!message) {
        cmd_error("out of memory");
        run->bad = EXIT_FAILED;
        return NULL;
    }
    run->sent = 1;
    if (got && next_request(run, arena, &more) != 0) {
        if (!run->bad) cmd_error("%s takes one message, got several", run->what->method->path + 1);
        run->bad = EXIT_USAGE;
        return NULL;
    }
    return message;
}

/* ---- the four kinds --------------------------------------------------------------------------------- */

static weft_status run_unary(struct run *run) {
    ProtobufCMessage *request = single_request(run, weft_ctx_arena(run->ctx)), *reply = NULL;
    if (!request) return weft_ok();
    weft_status st = weft_stub_call(run->what->channel, run->ctx, &run->method, request, &reply);
    if (!weft_failed(st)) print_reply(run, reply, run->what->pretty);
    return st;
}

static weft_status run_server_stream(struct run *run) {
    ProtobufCMessage *request = single_request(run, weft_ctx_arena(run->ctx)), *reply;
    if (!request) return weft_ok();
    weft_stream *stream = weft_stub_stream(run->what->channel, run->ctx, &run->method, request);
    while (!run->bad && weft_stream_next(stream, &reply)) print_reply(run, reply, false);
    if (run->bad) weft_ctx_cancel(run->ctx);
    return weft_stream_end(stream, NULL);
}

/* Sends what comes in until its end, the stream's, or an error. */
static void send_all(struct run *run, weft_stream *stream) {
    for (;;) {
        weft_arena *arena = weft_arena_new(0);
        ProtobufCMessage *message = NULL;
        bool more =
            arena && next_request(run, arena, &message) > 0 && weft_stream_send(stream, message);
        weft_arena_free(arena);
        if (!more) break;
        run->sent++;
    }
    if (run->bad) weft_ctx_cancel(run->ctx);
}

static weft_status run_client_stream(struct run *run) {
    weft_stream *stream = weft_stub_stream(run->what->channel, run->ctx, &run->method, NULL);
    send_all(run, stream);
    ProtobufCMessage *reply = NULL;
    weft_status st = weft_stream_end(stream, &reply);
    if (!weft_failed(st) && reply) print_reply(run, reply, run->what->pretty);
    return st;
}

struct reader {
    struct run *run;
    weft_stream *stream;
    int over; /* an event: no more replies will come */
};

static void *read_all(void *user) {
    struct reader *reader = user;
    ProtobufCMessage *reply;
    while (weft_stream_next(reader->stream, &reply)) print_reply(reader->run, reply, false);
    (void)eventfd_write(reader->over, 1);
    return NULL;
}

/* Replies are printed by a thread of their own, since both sides may wait for the other's next message. Once
 * the server has ended there is nothing to wait for on standard input. */
static weft_status run_bidi(struct run *run) {
    weft_stream *stream = weft_stub_stream(run->what->channel, run->ctx, &run->method, NULL);
    /* A part of its own, so that the two threads share nothing but the stream and standard output. */
    struct run receiving = *run;
    struct reader reader = {&receiving, stream, eventfd(0, EFD_CLOEXEC)};
    pthread_t thread;
    int error = reader.over < 0 ? errno : pthread_create(&thread, NULL, read_all, &reader);
    if (error) {
        if (reader.over >= 0) close(reader.over);
        cmd_error("cannot start a thread: %s", strerror(error));
        run->bad = EXIT_FAILED;
        weft_ctx_cancel(run->ctx);
        return weft_stream_end(stream, NULL);
    }
    run->what->input->stop_fd = reader.over;
    send_all(run, stream);
    weft_stream_close_send(stream);
    pthread_join(thread, NULL);
    close(reader.over);
    run->received = receiving.received;
    if (!run->bad) run->bad = receiving.bad;
    return weft_stream_end(stream, NULL);
}

static weft_status run_kind(struct run *run) {
    switch (run->method.kind) {
    case WEFT_KIND_CLIENT_STREAM:
        return run_client_stream(run);
    case WEFT_KIND_SERVER_STREAM:
        return run_server_stream(run);
    case WEFT_KIND_BIDI:
        return run_bidi(run);
    default:
        return run_unary(run);
    }
}

int call_run(const call *what, bool (*unreachable)(void *user, weft_status st), void *user) {
    const weft_type_method *method = what->method;
    struct run run = {.what = what, .ctx = weft_ctx_new(what->timeout_ns)};
    if (!run.ctx) {
        cmd_error("out of memory");
        return EXIT_FAILED;
    }
    const char *slash = strrchr(method->path, '/');
    run.method = (weft_method){
        .size = sizeof run.method,
        .path = method->path,
        .service = weft_strndup(run.ctx, method->path + 1, (size_t)(slash - method->path - 1)),
        .name = method->name,
        .input = method->input->pbc,
        .output = method->output->pbc,
        .kind =
            (weft_kind)((method->client_streaming ? 1 : 0) | (method->server_streaming ? 2 : 0)),
        .idempotency = (weft_idempotency)method->idempotency};
    weft_ctx_wait_for_ready(run.ctx, what->wait);
    weft_ctx_max_reply(run.ctx, 256 * 1024 * 1024);
    const char *why;
    for (const char *const *line = what->headers; *line; line++) {
        if (call_add_header(run.ctx, *line, &why) == 0) continue;
        cmd_error("-H '%s': %s", *line, why);
        weft_ctx_free(run.ctx);
        return EXIT_USAGE;
    }
    int64_t began = weft_now(NULL);
    if (what->verbose) print_request(&run);
    weft_status st = run_kind(&run);
    int code = run.bad;
    if (!code && weft_failed(st)) {
        code = EXIT_FAILED;
        if (st.code == WEFT_UNAVAILABLE && unreachable(user, st))
            code = EXIT_UNREACHABLE;
        else
            call_print_error(what->all, st);
    }
    if (what->verbose && run.bad != EXIT_USAGE) print_outcome(&run, st, began);
    weft_ctx_free(run.ctx);
    return code;
}
