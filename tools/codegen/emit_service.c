/* What a service gets: the struct of its handlers and _add for a server, functions for a client. */
#include <string.h>

#include "tools/codegen/cg.h"
#include "tools/codegen/methods.h"

enum { UNARY, CLIENT_STREAM, SERVER_STREAM, BIDI };

static const char *const unary_names[] = {"",       "__method", "_async", "_callback",
                                          "_start", "_reply",   NULL};
static const char *const client_stream_names[] = {
    "", "__method", "_stream", "_reader", "_send", "_next", "_end", "_status", "_keep", NULL};
static const char *const server_stream_names[] = {
    "", "__method", "_stream", "_writer", "_send", "_next", "_end", "_status", "_keep", NULL};
static const char *const bidi_names[] = {"",
                                         "__method",
                                         "_stream",
                                         "_server_stream",
                                         "_send",
                                         "_next",
                                         "_close_send",
                                         "_end",
                                         "_status",
                                         "_keep",
                                         "_server_send",
                                         "_server_next",
                                         "_server_status",
                                         "_server_keep",
                                         NULL};
const char *const *const cg_method_endings[4] = {unary_names, client_stream_names,
                                                 server_stream_names, bidi_names};

/* ---- one inline function --------------------------------------------------------------------- */

typedef struct scribe {
    cg_gen *gen;
    weft_arena *arena;
    weft_buf *out;
    const cg_service *service;
    const cg_method *m;
} scribe;

/* static inline <result><method><ending>(args) { body } */
static void function(const scribe *s, const char *result, const char *ending,
                     const char *const *args, const char *body) {
    if (s->m->deprecated) weft_buf_adds(s->out, "__attribute__((deprecated))\n");
    cg_emit_call(s->out, cg_printf(s->arena, "static inline %s%s%s(", result, s->m->name, ending),
                 ") {", args);
    weft_buf_printf(s->out, "\n%s}\n", body);
}

static const char *call(const scribe *s, const char *head, const char *tail,
                        const char *const *args) {
    weft_buf text;
    weft_buf_init(&text, 0);
    cg_emit_call(&text, head, tail, args);
    if (text.error) cg_out_of_memory();
    const char *copy = cg_strdup(s->arena, weft_buf_str(&text));
    weft_buf_free(&text);
    return copy;
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static const char *request_arg(const scribe *s) {
    return cg_printf(s->arena, "const %s *request", s->m->input->c_type);
}
static const char *reply_arg(const scribe *s) {
    return cg_printf(s->arena, "%s **reply", s->m->output->c_type);
}
static const char *method_ref(const scribe *s) {
    return cg_printf(s->arena, "&%s__method", s->m->name);
}

/* Gives the reply out through its typed pointer, if there is one and the call went well. */
static const char *give_reply(const scribe *s) {
    return cg_printf(s->arena,
                     "    if (!weft_failed(st) && reply) *reply = (%s *)message;\n    return st;\n",
                     s->m->output->c_type);
}

#define REQUEST "(const ProtobufCMessage *)request"

/* ---- streams: functions both sides have ------------------------------------------------------ */

static void stream_next(const scribe *s, const char *ending, const char *handle,
                        const cg_message *type) {
    const char *body = cg_printf(s->arena,
                                 "    ProtobufCMessage *next = NULL;\n"
                                 "    bool more = weft_stream_next((weft_stream *)stream, &next);\n"
                                 "    if (more) *message = (%s *)next;\n    return more;\n",
                                 type->c_type);
    function(s, "bool ", ending,
             ARGS(cg_printf(s->arena, "%s%s *stream", s->m->name, handle),
                  cg_printf(s->arena, "%s **message", type->c_type)),
             body);
}

static void stream_send(const scribe *s, const char *ending, const char *handle,
                        const cg_message *type) {
    function(s, "bool ", ending,
             ARGS(cg_printf(s->arena, "%s%s *stream", s->m->name, handle),
                  cg_printf(s->arena, "const %s *message", type->c_type)),
             call(s, "    return weft_stream_send(", ");\n",
                  ARGS("(weft_stream *)stream", "(const ProtobufCMessage *)message")));
}

static void stream_simple(const scribe *s, const char *result, const char *ending,
                          const char *handle, const char *what) {
    const char *body = cg_printf(s->arena, "    %s%s((weft_stream *)stream%s);\n",
                                 strcmp(result, "void ") == 0 ? "" : "return ", what,
                                 strcmp(what, "weft_stream_end") == 0 ? ", NULL" : "");
    function(s, result, ending, ARGS(cg_printf(s->arena, "%s%s *stream", s->m->name, handle)),
             body);
}

/* ---- client ---------------------------------------------------------------------------------- */

static void unary_client(const scribe *s) {
    const cg_method *m = s->m;
    const char *blocking = call(s, "    weft_status st = weft_stub_call(", ");\n",
                                ARGS("channel", "ctx", method_ref(s), REQUEST, "&message"));
    function(s, "weft_status ", "",
             ARGS("weft_channel *channel", "weft_ctx *ctx", request_arg(s), reply_arg(s)),
             cg_printf(s->arena, "    ProtobufCMessage *message = NULL;\n%s%s", blocking,
                       give_reply(s)));

    weft_buf_adds(
        s->out,
        "/* Called exactly once, from a thread of the runtime; no `reply` when `st` failed. */\n");
    cg_emit_call(
        s->out, cg_printf(s->arena, "typedef void (*%s_callback)(", m->name), ");\n",
        ARGS("void *user", "weft_status st", cg_printf(s->arena, "%s *reply", m->output->c_type)));
    function(s, "void ", "_async",
             ARGS("weft_channel *channel", "weft_ctx *ctx", request_arg(s),
                  cg_printf(s->arena, "%s_callback callback", m->name), "void *user"),
             call(s, "    weft_stub_async(", ");\n",
                  ARGS("channel", "ctx", method_ref(s), REQUEST,
                       cg_printf(s->arena, "%s__replies[%zu]", s->service->name,
                                 (size_t)(m - s->service->methods)),
                       "(weft_fn)callback", "user")));
    weft_buf_adds(s->out, "/* As a part of a group: its number there, or a negative error. */\n");
    function(s, "int ", "_start",
             ARGS("weft_channel *channel", "weft_group *group", request_arg(s), reply_arg(s)),
             call(s, "    return weft_stub_start(", ");\n",
                  ARGS("channel", "group", method_ref(s), REQUEST,
                       "(ProtobufCMessage **)(void *)reply")));
}

/* The function that begins a stream; its handle is <method>_stream. */
static void open_stream(const scribe *s) {
    const cg_method *m = s->m;
    bool request = m->kind == SERVER_STREAM;
    weft_buf_printf(s->out, "typedef struct %s_stream %s_stream;\n", m->name, m->name);
    weft_buf_adds(s->out,
                  "/* Never NULL: a stream that could not begin ends with the reason. */\n");
    const char *open =
        call(s, cg_printf(s->arena, "    return (%s_stream *)weft_stub_stream(", m->name), ");\n",
             ARGS("channel", "ctx", method_ref(s), request ? REQUEST : "NULL"));
    function(s, cg_printf(s->arena, "%s_stream *", m->name), "",
             request ? ARGS("weft_channel *channel", "weft_ctx *ctx", request_arg(s))
                     : ARGS("weft_channel *channel", "weft_ctx *ctx"),
             open);
}

static void stream_client(const scribe *s) {
    const cg_method *m = s->m;
    open_stream(s);
    if (m->kind != SERVER_STREAM) stream_send(s, "_send", "_stream", m->input);
    if (m->kind != CLIENT_STREAM) {
        stream_next(s, "_next", "_stream", m->output);
        stream_simple(s, "void ", "_keep", "_stream", "weft_stream_keep");
    }
    if (m->kind == BIDI) {
        stream_simple(s, "void ", "_close_send", "_stream", "weft_stream_close_send");
        stream_simple(s, "weft_status ", "_status", "_stream", "weft_stream_status");
    }
    weft_buf_adds(s->out, "/* Waits for the status and frees the stream. */\n");
    if (m->kind != CLIENT_STREAM) {
        stream_simple(s, "weft_status ", "_end", "_stream", "weft_stream_end");
        return;
    }
    function(s, "weft_status ", "_end",
             ARGS(cg_printf(s->arena, "%s_stream *stream", m->name), reply_arg(s)),
             cg_printf(s->arena,
                       "    ProtobufCMessage *message = NULL;\n"
                       "    weft_status st = weft_stream_end((weft_stream *)stream, &message);\n%s",
                       give_reply(s)));
}

/* ---- server ---------------------------------------------------------------------------------- */

/* The handler's arguments, each behind a comma. */
static const char *const *handler_args(const scribe *s) {
    const cg_method *m = s->m;
    const char **args = cg_alloc(s->arena, 4, sizeof(char *));
    const char *reply = cg_printf(s->arena, "%s *reply", m->output->c_type);
    args[0] = "weft_ctx *ctx";
    switch (m->kind) {
    case UNARY:
        args[1] = request_arg(s);
        args[2] = reply;
        break;
    case CLIENT_STREAM:
        args[1] = cg_printf(s->arena, "%s_reader *in", m->name);
        args[2] = reply;
        break;
    case SERVER_STREAM:
        args[1] = request_arg(s);
        args[2] = cg_printf(s->arena, "%s_writer *out", m->name);
        break;
    default:
        args[1] = cg_printf(s->arena, "%s_server_stream *both", m->name);
    }
    return args;
}

static void method_server(const scribe *s) {
    const cg_method *m = s->m;
    switch (m->kind) {
    case UNARY:
        weft_buf_adds(
            s->out,
            "/* Answers a call taken out of its handler with weft_defer: once, any thread. */\n");
        function(s, "void ", "_reply",
                 ARGS("weft_deferred *deferred", "weft_status st",
                      cg_printf(s->arena, "const %s *reply", m->output->c_type)),
                 "    weft_stub_reply(deferred, st, (const ProtobufCMessage *)reply);\n");
        break;
    case CLIENT_STREAM:
        stream_next(s, "_next", "_reader", m->input);
        stream_simple(s, "void ", "_keep", "_reader", "weft_stream_keep");
        stream_simple(s, "weft_status ", "_status", "_reader", "weft_stream_status");
        break;
    case SERVER_STREAM:
        stream_send(s, "_send", "_writer", m->output);
        stream_simple(s, "weft_status ", "_status", "_writer", "weft_stream_status");
        break;
    default:
        stream_next(s, "_server_next", "_server_stream", m->input);
        stream_send(s, "_server_send", "_server_stream", m->output);
        stream_simple(s, "void ", "_server_keep", "_server_stream", "weft_stream_keep");
        stream_simple(s, "weft_status ", "_server_status", "_server_stream", "weft_stream_status");
    }
}

static void emit_struct(const scribe *base) {
    scribe s = *base;
    static const char *const handle[] = {NULL, "reader", "writer", "server_stream"};
    for (size_t i = 0; i < s.service->method_count; i++) {
        const cg_method *m = &s.service->methods[i];
        if (handle[m->kind])
            weft_buf_printf(s.out, "typedef struct %s_%s %s_%s;\n", m->name, handle[m->kind],
                            m->name, handle[m->kind]);
    }
    weft_buf_printf(
        s.out,
        "/* Handlers. One that is NULL answers UNIMPLEMENTED; its _on says where it runs. */\n"
        "typedef struct %s {\n",
        s.service->name);
    for (size_t i = 0; i < s.service->method_count; i++) {
        s.m = &s.service->methods[i];
        cg_emit_comment(s.out, "    ", s.service->file, s.m->path);
        cg_emit_call(s.out, cg_printf(s.arena, "    weft_status (*%s)(", s.m->member), ");\n",
                     handler_args(&s));
        weft_buf_printf(s.out, "    weft_where %s_on;\n", s.m->member);
    }
    if (!s.service->method_count) weft_buf_adds(s.out, "    char no_methods;\n");
    weft_buf_printf(s.out, "} %s;\n", s.service->name);
}

static void emit_add(const scribe *base) {
    const cg_service *service = base->service;
    weft_buf *out = base->out;
    weft_buf_printf(
        out, "/* Before the server starts. `service` is what weft_ctx_service gives to handlers.\n"
             " * 0 or a negative WEFT_E…; `handlers` is copied. */\n");
    cg_emit_call(out, cg_printf(base->arena, "static inline int %s_add(", service->name), ") {\n",
                 ARGS("weft_server *server",
                      cg_printf(base->arena, "const %s *handlers", service->name),
                      "void *service"));
    weft_buf_adds(out, "    if (!handlers) return WEFT_EINVAL;\n");
    if (!service->method_count) {
        weft_buf_printf(out, "    return weft_stub_serve(server, &%s__info, NULL, service);\n}\n",
                        service->name);
        return;
    }
    weft_buf_adds(out, "    const weft_handler table[] = {\n");
    for (size_t i = 0; i < service->method_count; i++) {
        const char *member = service->methods[i].member;
        cg_emit_call(out, "        {", "},\n",
                     ARGS(cg_printf(base->arena, "%s__thunks[%zu]", service->name, i),
                          cg_printf(base->arena, "(weft_fn)handlers->%s", member),
                          cg_printf(base->arena, "handlers->%s_on", member)));
    }
    weft_buf_adds(out, "    };\n");
    cg_emit_call(
        out, "    return weft_stub_serve(", ");\n}\n",
        ARGS("server", cg_printf(base->arena, "&%s__info", service->name), "table", "service"));
}

void cg_emit_service(cg_gen *gen, const cg_service *service, weft_buf *out) {
    scribe s = {gen, gen->arena, out, service, NULL};
    weft_buf_printf(out, "\n/* ==== service %s ==== */\n", service->full_name);
    cg_emit_comment(out, "", service->file, service->path);
    weft_buf_printf(out, "extern const weft_service_info %s__info;\n", service->name);
    if (service->method_count)
        weft_buf_printf(out,
                        "extern const weft_server_thunk %s__thunks[];\n"
                        "extern const weft_client_thunk %s__replies[];\n",
                        service->name, service->name);
    for (size_t i = 0; i < service->method_count; i++)
        weft_buf_printf(out, "extern const weft_method %s__method;\n", service->methods[i].name);

    weft_buf_adds(out, "\n/* ---- server ---- */\n");
    emit_struct(&s);
    emit_add(&s);
    for (size_t i = 0; i < service->method_count; i++) {
        s.m = &service->methods[i];
        method_server(&s);
    }
    if (service->method_count) weft_buf_adds(out, "\n/* ---- client ---- */\n");
    for (size_t i = 0; i < service->method_count; i++) {
        s.m = &service->methods[i];
        weft_buf_adds(out, i ? "\n" : "");
        cg_emit_comment(out, "", service->file, s.m->path);
        if (s.m->kind == UNARY)
            unary_client(&s);
        else
            stream_client(&s);
    }
}

/* ---- FILE.weft.c ----------------------------------------------------------------------------- */

static void emit_thunk(const scribe *s) {
    const cg_method *m = s->m;
    const char *type = call(s, "    typedef weft_status (*handler)(", ");\n", handler_args(s));
    weft_buf_adds(s->out, "\n");
    cg_emit_call(s->out, cg_printf(s->arena, "static weft_status %s__serve(", m->name), ") {\n",
                 ARGS("weft_fn fn", "weft_ctx *ctx", "const ProtobufCMessage *request",
                      "ProtobufCMessage *reply", "weft_stream *stream"));
    weft_buf_adds(s->out, type);
    if (m->kind == CLIENT_STREAM || m->kind == BIDI) weft_buf_adds(s->out, "    (void)request;\n");
    if (m->kind == SERVER_STREAM || m->kind == BIDI) weft_buf_adds(s->out, "    (void)reply;\n");
    if (m->kind == UNARY) weft_buf_adds(s->out, "    (void)stream;\n");
    const char *in = cg_printf(s->arena, "(const %s *)request", m->input->c_type);
    const char *reply = cg_printf(s->arena, "(%s *)reply", m->output->c_type);
    static const char *const handles[] = {"", "reader", "writer", "server_stream"};
    const char *stream = cg_printf(s->arena, "(%s_%s *)stream", m->name, handles[m->kind]);
    const char *first[] = {in, stream, in, stream}, *second[] = {reply, reply, stream, NULL};
    cg_emit_call(s->out, "    return ((handler)fn)(", ");\n}\n",
                 ARGS("ctx", first[m->kind], second[m->kind]));
    if (m->kind != UNARY) return;
    weft_buf_adds(s->out, "\n");
    cg_emit_call(s->out, cg_printf(s->arena, "static void %s__replied(", m->name), ") {\n",
                 ARGS("weft_fn fn", "void *user", "weft_status st", "ProtobufCMessage *reply"));
    weft_buf_printf(s->out, "    ((%s_callback)fn)(user, st, (%s *)reply);\n}\n", m->name,
                    m->output->c_type);
}

static void emit_method(const scribe *s) {
    static const char *const kinds[] = {"WEFT_KIND_UNARY", "WEFT_KIND_CLIENT_STREAM",
                                        "WEFT_KIND_SERVER_STREAM", "WEFT_KIND_BIDI"};
    static const char *const levels[] = {"WEFT_IDEMPOTENCY_UNKNOWN", "WEFT_NO_SIDE_EFFECTS",
                                         "WEFT_IDEMPOTENT"};
    const cg_method *m = s->m;
    unsigned level = m->d->options && m->d->options->has_idempotency_level
                         ? (unsigned)m->d->options->idempotency_level
                         : 0;
    weft_buf_printf(
        s->out,
        "\nconst weft_method %s__method = {\n    sizeof(weft_method),\n    \"/%s/%s\",\n    \"%s\",\n"
        "    \"%s\",\n    &%s__descriptor,\n    &%s__descriptor,\n    %s,\n    %s,\n};\n",
        m->name, s->service->full_name, m->d->name, s->service->full_name, m->d->name,
        m->input->c_lower, m->output->c_lower, kinds[m->kind], levels[level < 3 ? level : 0]);
}

static void emit_table(const scribe *s, const char *head, const char *front, const char *ending,
                       bool unary_only) {
    weft_buf_printf(s->out, "%s{\n", head);
    for (size_t i = 0; i < s->service->method_count; i++) {
        const cg_method *m = &s->service->methods[i];
        if (unary_only && m->kind != UNARY)
            weft_buf_adds(s->out, "    NULL,\n");
        else
            weft_buf_printf(s->out, "    %s%s%s,\n", front, m->name, ending);
    }
    weft_buf_adds(s->out, "};\n");
}

void cg_emit_service_source(cg_gen *gen, const cg_service *service, weft_buf *out) {
    scribe s = {gen, gen->arena, out, service, NULL};
    for (size_t i = 0; i < service->method_count; i++) {
        s.m = &service->methods[i];
        emit_thunk(&s);
        emit_method(&s);
    }
    const char *n = service->name;
    if (service->method_count) {
        emit_table(&s, cg_printf(gen->arena, "\nconst weft_server_thunk %s__thunks[] = ", n), "",
                   "__serve", false);
        emit_table(&s, cg_printf(gen->arena, "const weft_client_thunk %s__replies[] = ", n), "",
                   "__replied", true);
        emit_table(&s, cg_printf(gen->arena, "static const weft_method *const %s__methods[] = ", n),
                   "&", "__method", false);
    }
    const char *methods = service->method_count ? cg_printf(gen->arena, "%s__methods", n) : "NULL";
    weft_buf_printf(
        out,
        "\nconst weft_service_info %s__info = {\n    sizeof(weft_service_info),\n    \"%s\",\n"
        "    &weft_file_%s,\n    %s,\n    %zu,\n};\n",
        n, service->full_name, service->file->ident, methods, service->method_count);
}
