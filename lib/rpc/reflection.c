/* grpc.reflection v1 and v1alpha over the descriptors that generated code embeds. The two differ in their
 * package only, so v1's messages serve both. */
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc/reflection/v1/reflection.weft.h"
#include "grpc/reflection/v1alpha/reflection.weft.h"
#include "server.h"

#include <stdlib.h>
#include <string.h>

#include "weft/diag.h"
#include "weft/log.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest reflect_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflect_response;
#define ASKED(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define ANSWER(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

/* One answer in the making; everything is in `arena`, which is reset after it was sent. */
typedef struct answer {
    const weft_server *server;
    weft_arena *arena;
    reflect_response *response;
} answer;

static void answer_error(answer *a, weft_code code, const char *format, const char *name) {
    Grpc__Reflection__V1__ErrorResponse *error = weft_arena_alloc(a->arena, sizeof *error);
    if (!error) return;
    grpc__reflection__v1__error_response__init(error);
    error->error_code = (int32_t)code;
    error->error_message = weft_arena_printf(a->arena, "%s%s", format, name);
    a->response->message_response_case = ANSWER(ERROR_RESPONSE);
    a->response->error_response = error;
}

/* ---- files */

typedef struct file_list {
    const char **names;
    size_t count, cap;
} file_list;

static bool add_name(answer *a, file_list *list, const char *name) {
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->names[i], name) == 0) return true;
    if (list->count == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 16;
        const char **grown = weft_arena_alloc(a->arena, cap * sizeof *grown);
        if (!grown) return false;
        if (list->count) memcpy(grown, list->names, list->count * sizeof *grown);
        list->names = grown;
        list->cap = cap;
    }
    list->names[list->count++] = name;
    return true;
}

/* The file and everything it imports, itself first. */
static void answer_file(answer *a, const char *file) {
    const weft_registry *registry = a->server->registry;
    Grpc__Reflection__V1__FileDescriptorResponse *files = weft_arena_alloc(a->arena, sizeof *files);
    file_list list = {.count = 0};
    if (!files || !add_name(a, &list, file)) return;
    for (size_t i = 0; i < list.count; i++) {
        const char *dep = NULL;
        for (size_t d = 0; (dep = weft_registry_file_dep(registry, list.names[i], d)); d++)
            if (!add_name(a, &list, dep)) return;
    }
    ProtobufCBinaryData *bytes = weft_arena_calloc(a->arena, list.count, sizeof *bytes);
    if (!bytes) return;
    grpc__reflection__v1__file_descriptor_response__init(files);
    files->file_descriptor_proto = bytes;
    for (size_t i = 0; i < list.count; i++) {
        ProtobufCBinaryData *one = &bytes[files->n_file_descriptor_proto];
        one->data =
            (uint8_t *)(uintptr_t)weft_registry_file_bytes(registry, list.names[i], &one->len);
        if (one->data) files->n_file_descriptor_proto++;
    }
    a->response->message_response_case = ANSWER(FILE_DESCRIPTOR_RESPONSE);
    a->response->file_descriptor_response = files;
}

static void answer_filename(answer *a, const char *name) {
    size_t len = 0;
    if (weft_registry_file_bytes(a->server->registry, name, &len))
        answer_file(a, name);
    else
        answer_error(a, WEFT_NOT_FOUND, "no such file: ", name);
}

static void answer_symbol(answer *a, const char *symbol) {
    const char *file = weft_registry_file_of_symbol(a->server->registry, symbol);
    if (file)
        answer_file(a, file);
    else
        answer_error(a, WEFT_NOT_FOUND, "no such symbol: ", symbol);
}

/* ---- extensions: protobuf-c has none, so there are none to know of */

static void answer_extension_numbers(answer *a, const char *type) {
    Grpc__Reflection__V1__ExtensionNumberResponse *numbers =
        weft_arena_alloc(a->arena, sizeof *numbers);
    if (!numbers) return;
    if (!weft_registry_message(a->server->registry, type)) {
        answer_error(a, WEFT_NOT_FOUND, "no such message: ", type);
        return;
    }
    grpc__reflection__v1__extension_number_response__init(numbers);
    numbers->base_type_name = (char *)(uintptr_t)type;
    a->response->message_response_case = ANSWER(ALL_EXTENSION_NUMBERS_RESPONSE);
    a->response->all_extension_numbers_response = numbers;
}

/* ---- services */

static int by_name(const void *a, const void *b) {
    return strcmp((*(Grpc__Reflection__V1__ServiceResponse *const *)a)->name,
                  (*(Grpc__Reflection__V1__ServiceResponse *const *)b)->name);
}

static void answer_services(answer *a) {
    size_t count = weft_map_count(&a->server->services);
    Grpc__Reflection__V1__ListServiceResponse *list = weft_arena_alloc(a->arena, sizeof *list);
    Grpc__Reflection__V1__ServiceResponse **services =
        weft_arena_calloc(a->arena, count, sizeof *services);
    if (!list || !services) return;
    grpc__reflection__v1__list_service_response__init(list);
    for (const rpc_service *s = a->server->first; s && list->n_service < count; s = s->next) {
        Grpc__Reflection__V1__ServiceResponse *one = weft_arena_alloc(a->arena, sizeof *one);
        if (!one) return;
        grpc__reflection__v1__service_response__init(one);
        one->name = (char *)(uintptr_t)s->info->name;
        services[list->n_service++] = one;
    }
    qsort(services, list->n_service, sizeof *services, by_name);
    list->service = services;
    a->response->message_response_case = ANSWER(LIST_SERVICES_RESPONSE);
    a->response->list_services_response = list;
}

/* ---- the stream */

static void answer_one(answer *a, reflect_request *request) {
    reflect_response *response = a->response;
    grpc__reflection__v1__server_reflection_response__init(response);
    response->valid_host = request->host;
    response->original_request = request;
    switch (request->message_request_case) {
    case ASKED(FILE_BY_FILENAME):
        answer_filename(a, request->file_by_filename);
        break;
    case ASKED(FILE_CONTAINING_SYMBOL):
        answer_symbol(a, request->file_containing_symbol);
        break;
    case ASKED(FILE_CONTAINING_EXTENSION):
        answer_error(a, WEFT_NOT_FOUND, "no extensions are known of ",
                     request->file_containing_extension->containing_type);
        break;
    case ASKED(ALL_EXTENSION_NUMBERS_OF_TYPE):
        answer_extension_numbers(a, request->all_extension_numbers_of_type);
        break;
    case ASKED(LIST_SERVICES):
        answer_services(a);
        break;
    default:
        answer_error(a, WEFT_INVALID_ARGUMENT,
                     "message_request: ", "one of its fields must be set");
        break;
    }
    if (response->message_response_case == ANSWER(_NOT_SET))
        answer_error(a, WEFT_RESOURCE_EXHAUSTED, "out of memory", "");
}

static weft_status reflect(weft_fn fn, weft_ctx *ctx, const ProtobufCMessage *request,
                           ProtobufCMessage *reply, weft_stream *stream) {
    (void)fn;
    (void)request;
    (void)reply;
    reflect_response response;
    answer a = {.server = weft_ctx_service(ctx),
                .arena = weft_arena_new((size_t)16 << 20),
                .response = &response};
    ProtobufCMessage *message = NULL;
    if (!a.arena) return weft_resource_exhausted(ctx, "out of memory");
    while (weft_stream_next(stream, &message)) {
        answer_one(&a, (reflect_request *)message);
        if (!weft_stream_send(stream, &response.base)) break;
        weft_arena_reset(a.arena);
    }
    weft_arena_free(a.arena);
    return weft_stream_status(stream);
}

#define NAME "ServerReflectionInfo"
#define REFLECTION(id, package, embedded)                                        \
    static const weft_method id##_method = {                                     \
        .size = sizeof id##_method,                                              \
        .path = "/" package ".ServerReflection/" NAME,                           \
        .service = package ".ServerReflection",                                  \
        .name = NAME,                                                            \
        .input = &grpc__reflection__v1__server_reflection_request__descriptor,   \
        .output = &grpc__reflection__v1__server_reflection_response__descriptor, \
        .kind = WEFT_KIND_BIDI,                                                  \
    };                                                                           \
    static const weft_method *const id##_methods[] = {&id##_method};             \
    static const weft_service_info id##_info = {                                 \
        .size = sizeof id##_info,                                                \
        .name = package ".ServerReflection",                                     \
        .file = &(embedded),                                                     \
        .methods = id##_methods,                                                 \
        .method_count = 1,                                                       \
    }
REFLECTION(v1, "grpc.reflection.v1", weft_file_grpc_reflection_v1_reflection_proto);
REFLECTION(v1alpha, "grpc.reflection.v1alpha", weft_file_grpc_reflection_v1alpha_reflection_proto);

int rpc_reflection_serve(weft_server *server) {
    const weft_service_info *const both[] = {&v1_info, &v1alpha_info};
    const weft_handler handler = {reflect, (weft_fn)reflect, WEFT_POOL};
    for (size_t i = 0; i < 2; i++) {
        if (weft_map_get(&server->services, both[i]->name))
            continue; /* the program brings its own */
        int error = weft_stub_serve(server, both[i], &handler, server);
        if (error < 0) return error;
    }
    for (const rpc_service *s = server->first; s; s = s->next) {
        if (!s->info->file || weft_registry_add_file(server->registry, s->info->file, NULL) == 0)
            continue;
        weft_log(WEFT_LOG_WARN,
                 "reflection leaves a service out: its contract clashes with another",
                 WEFT_S("name", s->info->name));
    }
    return 0;
}
