#include <stdio.h>
#include <string.h>

#include "google/protobuf/descriptor.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "tools/weft/contract.h"
#include "weft/stub.h"

#define MAX_FILES 4096

typedef Grpc__Reflection__V1__ServerReflectionRequest request;
typedef Grpc__Reflection__V1__ServerReflectionResponse response;

/* v1alpha has the same messages on the wire under another name, so that one set of types does for both. */
static weft_method *methods(bool alpha) {
    static weft_method v1, v1alpha;
    weft_method common = {.size = sizeof common,
                          .name = "ServerReflectionInfo",
                          .input = &grpc__reflection__v1__server_reflection_request__descriptor,
                          .output = &grpc__reflection__v1__server_reflection_response__descriptor,
                          .kind = WEFT_KIND_BIDI};
    v1 = v1alpha = common;
    v1.path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    v1.service = "grpc.reflection.v1.ServerReflection";
    v1alpha.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
    v1alpha.service = "grpc.reflection.v1alpha.ServerReflection";
    return alpha ? &v1alpha : &v1;
}

void reflection_begin(reflection *ask, weft_channel *channel, weft_ctx *ctx) {
    *ask = (reflection){.channel = channel, .ctx = ctx};
}

void reflection_end(reflection *ask) {
    if (!ask->stream) return;
    weft_stream_close_send(ask->stream);
    weft_stream_end(ask->stream, NULL);
    ask->stream = NULL;
}

/* One question, one answer; it lives until the next. */
static weft_status put(reflection *ask, const request *question, response **answer) {
    for (;;) {
        if (!ask->stream) {
            ask->method = methods(ask->alpha);
            ask->stream = weft_stub_stream(ask->channel, ask->ctx, ask->method, NULL);
        }
        ProtobufCMessage *message;
        if (weft_stream_send(ask->stream, &question->base) &&
            weft_stream_next(ask->stream, &message)) {
            *answer = (response *)message;
            break;
        }
        weft_status st = weft_stream_end(ask->stream, NULL);
        ask->stream = NULL;
        if (st.code == WEFT_UNIMPLEMENTED && !ask->alpha) {
            ask->alpha = true;
            continue;
        }
        if (!weft_failed(st)) st = weft_internal(ask->ctx, "reflection ended without an answer");
        return st;
    }
    if ((*answer)->message_response_case ==
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE) {
        const Grpc__Reflection__V1__ErrorResponse *error = (*answer)->error_response;
        int code =
            error->error_code > 0 && error->error_code <= 16 ? error->error_code : WEFT_UNKNOWN;
        return weft_error(ask->ctx, (weft_code)code, "reflection: %s", error->error_message);
    }
    return weft_ok();
}

weft_status reflection_list(reflection *ask, contract *all) {
    request question = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    question.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES;
    question.list_services = weft_strdup(ask->ctx, "*");
    response *answer;
    weft_status st = put(ask, &question, &answer);
    if (weft_failed(st)) return st;
    if (answer->message_response_case !=
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE)
        return weft_internal(ask->ctx,
                             "reflection answers something else than the list of services");
    const Grpc__Reflection__V1__ListServiceResponse *list = answer->list_services_response;
    const char **names = weft_arena_calloc(all->arena, list->n_service + 1, sizeof *names);
    if (!names) return weft_resource_exhausted(ask->ctx, "out of memory");
    for (size_t i = 0; i < list->n_service; i++) {
        names[i] = weft_arena_strdup(all->arena, list->service[i]->name);
        if (!names[i]) return weft_resource_exhausted(ask->ctx, "out of memory");
    }
    all->services = names;
    all->service_count = list->n_service;
    return weft_ok();
}

/* ---- files ------------------------------------------------------------------------------------------ */

/* Files received so far, as a FileDescriptorSet under construction. */
struct files {
    reflection *ask;
    contract *all;
    weft_buf set;
    const char **names; /* of files in the set */
    size_t count;
    const char **wanted; /* imports of them; may repeat */
    size_t wanted_count, wanted_cap;
};

static bool known(const struct files *files, const char *name) {
    size_t len;
    for (size_t i = 0; i < files->count; i++)
        if (strcmp(files->names[i], name) == 0) return true;
    return weft_registry_file_bytes(files->all->registry, name, &len) != NULL;
}

static void want(struct files *files, const char *name) {
    if (files->wanted_count == files->wanted_cap) {
        size_t cap = files->wanted_cap ? files->wanted_cap * 2 : 64;
        const char **more = weft_arena_calloc(files->all->arena, cap, sizeof *more);
        if (!more) return; /* the registry will miss it, and say so */
        for (size_t i = 0; i < files->wanted_count; i++) more[i] = files->wanted[i];
        files->wanted = more;
        files->wanted_cap = cap;
    }
    files->wanted[files->wanted_count++] = weft_arena_strdup(files->all->arena, name);
}

static weft_status take(struct files *files, const ProtobufCBinaryData *data) {
    weft_ctx *ctx = files->ask->ctx;
    const char *why = NULL;
    const Google__Protobuf__FileDescriptorProto *file =
        (const Google__Protobuf__FileDescriptorProto *)weft_unpack(
            &google__protobuf__file_descriptor_proto__descriptor, data->data, data->len, NULL,
            files->all->arena, NULL, &why);
    if (!file || !file->name)
        return weft_internal(ctx, "reflection: a file that cannot be read: %s",
                             why ? why : "no name");
    if (known(files, file->name)) return weft_ok();
    if (files->count == MAX_FILES)
        return weft_resource_exhausted(ctx, "reflection: more than %d files", MAX_FILES);
    files->names[files->count++] = file->name;
    weft_buf_addc(&files->set, 0x0a);
    uint64_t len = data->len;
    for (; len >= 0x80; len >>= 7) weft_buf_addc(&files->set, (char)(uint8_t)(len | 0x80));
    weft_buf_addc(&files->set, (char)len);
    if (weft_buf_add(&files->set, data->data, data->len) < 0)
        return weft_resource_exhausted(ctx, "reflection: more than %zu bytes of contracts",
                                       files->set.max);
    for (size_t i = 0; i < file->n_dependency; i++) want(files, file->dependency[i]);
    return weft_ok();
}

static weft_status fetch(struct files *files, const request *question) {
    response *answer;
    weft_status st = put(files->ask, question, &answer);
    if (weft_failed(st)) return st;
    if (answer->message_response_case !=
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE)
        return weft_internal(files->ask->ctx, "reflection answers something else than files");
    const Grpc__Reflection__V1__FileDescriptorResponse *got = answer->file_descriptor_response;
    for (size_t i = 0; i < got->n_file_descriptor_proto && !weft_failed(st); i++)
        st = take(files, &got->file_descriptor_proto[i]);
    return st;
}

static weft_status add_to_registry(struct files *files) {
    if (files->set.len == 0) return weft_ok();
    weft_diags diags;
    weft_diags_init(&diags, files->all->arena, 1);
    int rc = contract_add_set(files->all, NULL, (const uint8_t *)files->set.data, files->set.len,
                              false, &diags);
    if (rc == 0) return weft_ok();
    weft_buf line;
    weft_buf_init(&line, 4096);
    if (diags.first) weft_diag_format(diags.first, &line);
    weft_status st = weft_internal(files->ask->ctx,
                                   "the contracts that reflection gives do not fit together: %s",
                                   diags.first ? weft_buf_str(&line) : weft_strerror(rc));
    weft_buf_free(&line);
    return st;
}

weft_status reflection_load(reflection *ask, contract *all, const char *symbol) {
    if (weft_registry_file_of_symbol(all->registry, symbol)) return weft_ok();
    struct files files = {.ask = ask, .all = all};
    weft_buf_init(&files.set, 32 * 1024 * 1024);
    files.names = weft_arena_calloc(all->arena, MAX_FILES, sizeof *files.names);
    if (!files.names) return weft_resource_exhausted(ask->ctx, "out of memory");
    request question = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    question.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
    question.file_containing_symbol = weft_strdup(ask->ctx, symbol);
    weft_status st = fetch(&files, &question);
    /* Some servers send all imports along, some only the file itself. */
    for (size_t i = 0; i < files.wanted_count && !weft_failed(st); i++) {
        if (!files.wanted[i] || known(&files, files.wanted[i])) continue;
        question.message_request_case =
            GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME;
        question.file_by_filename = weft_strdup(ask->ctx, files.wanted[i]);
        st = fetch(&files, &question);
    }
    if (!weft_failed(st)) st = add_to_registry(&files);
    weft_buf_free(&files.set);
    return st;
}
