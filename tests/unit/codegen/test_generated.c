/* Generated code at work, over a runtime that only records what it is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test/codegen/all.weft.h"

#define OK ((weft_status){WEFT_OK, NULL})
#define FAILED ((weft_status){WEFT_NOT_FOUND, NULL})

/* ---- the runtime ---- */

static struct {
    const weft_method *method;
    const ProtobufCMessage *request;
    ProtobufCMessage *reply;
    weft_status status;
    weft_client_thunk client_thunk;
    weft_fn fn;
    const weft_service_info *info;
    weft_handler handlers[8];
    const void *stream;
    const char *done;
} seen;

static weft_channel *const channel = (weft_channel *)&seen;
static weft_ctx *const ctx = (weft_ctx *)&seen;

ProtobufCMessage *weft_new(weft_ctx *in, const ProtobufCMessageDescriptor *type) {
    assert_ptr_equal(in, ctx);
    ProtobufCMessage *message = calloc(1, type->sizeof_message);
    protobuf_c_message_init(type, message);
    return message;
}

weft_status weft_stub_call(weft_channel *c, weft_ctx *in, const weft_method *method,
                           const ProtobufCMessage *request, ProtobufCMessage **reply) {
    assert_ptr_equal(c, channel);
    assert_ptr_equal(in, ctx);
    seen.method = method;
    seen.request = request;
    if (!weft_failed(seen.status)) *reply = seen.reply;
    return seen.status;
}

void weft_stub_async(weft_channel *c, weft_ctx *in, const weft_method *method,
                     const ProtobufCMessage *request, weft_client_thunk thunk, weft_fn fn,
                     void *user) {
    (void)c;
    (void)in;
    seen.method = method;
    seen.request = request;
    thunk(fn, user, seen.status, seen.reply);
}

int weft_stub_start(weft_channel *c, weft_group *group, const weft_method *method,
                    const ProtobufCMessage *request, ProtobufCMessage **reply) {
    (void)c;
    (void)group;
    seen.method = method;
    seen.request = request;
    *reply = seen.reply;
    return 3;
}

weft_stream *weft_stub_stream(weft_channel *c, weft_ctx *in, const weft_method *method,
                              const ProtobufCMessage *request) {
    (void)c;
    (void)in;
    seen.method = method;
    seen.request = request;
    return (weft_stream *)&seen;
}

bool weft_stream_next(weft_stream *stream, ProtobufCMessage **message) {
    seen.stream = stream;
    if (!seen.reply) return false;
    *message = seen.reply;
    seen.reply = NULL;
    return true;
}

bool weft_stream_send(weft_stream *stream, const ProtobufCMessage *message) {
    seen.stream = stream;
    seen.request = message;
    return true;
}

void weft_stream_close_send(weft_stream *stream) {
    seen.stream = stream;
    seen.done = "close_send";
}

weft_status weft_stream_end(weft_stream *stream, ProtobufCMessage **reply) {
    seen.stream = stream;
    seen.done = reply ? "end with reply" : "end";
    if (reply && !weft_failed(seen.status)) *reply = seen.reply;
    return seen.status;
}

weft_status weft_stream_status(weft_stream *stream) {
    seen.stream = stream;
    seen.done = "status";
    return seen.status;
}

void weft_stream_keep(weft_stream *stream) {
    seen.stream = stream;
    seen.done = "keep";
}

void weft_stub_reply(weft_deferred *deferred, weft_status st, const ProtobufCMessage *reply) {
    seen.stream = deferred;
    seen.status = st;
    seen.request = reply;
}

int weft_stub_serve(weft_server *server, const weft_service_info *info,
                    const weft_handler *handlers, void *service) {
    (void)server;
    (void)service;
    seen.info = info;
    memcpy(seen.handlers, handlers, info->method_count * sizeof(*handlers));
    return 0;
}

static int reset(void **state) {
    (void)state;
    memset(&seen, 0, sizeof(seen));
    return 0;
}

/* ---- messages ---- */

static void initialisers(void **state) {
    (void)state;
    Tc__Request request = {TC_REQUEST(.id = "sku-1")};
    assert_ptr_equal(request.base.descriptor, &tc__request__descriptor);
    assert_string_equal(request.id, "sku-1");
    Tc__Request empty = {TC_REQUEST()};
    assert_null(empty.id);
    assert_int_equal(tc__request__get_packed_size(&empty), 0);
    Tc__Request *made = tc_request_new(ctx);
    assert_string_equal(made->id, "");
    free(made);
}

/* Through the wire: presence must survive. */
static Tc__Thing *around(const Tc__Thing *thing) {
    uint8_t bytes[512];
    size_t len = tc__thing__get_packed_size(thing);
    assert_true(len <= sizeof(bytes));
    tc__thing__pack(thing, bytes);
    Tc__Thing *back = tc__thing__unpack(NULL, len, bytes);
    assert_non_null(back);
    return back;
}

static void optional_fields(void **state) {
    (void)state;
    uint8_t two[] = {1, 2};
    Tc__Thing inner = {TC_THING(.name = "in")};
    Tc__Thing thing = {TC_THING(.name = "out")};
    assert_false(tc_thing_has_nick(&thing) || tc_thing_has_count(&thing) ||
                 tc_thing_has_inner(&thing));
    assert_string_equal(tc_thing_get_nick(&thing), "");
    assert_int_equal(tc_thing_get_count(&thing), 0);
    assert_null(tc_thing_get_inner(&thing));
    assert_int_equal(tc_thing_get_data(&thing).len, 0);

    tc_thing_set_nick(&thing, "");
    tc_thing_set_count(&thing, 0);
    tc_thing_set_flag(&thing, false);
    tc_thing_set_kind(&thing, TC__THING__KIND__KIND_UNSPECIFIED);
    tc_thing_set_data(&thing, (ProtobufCBinaryData){2, two});
    tc_thing_set_inner(&thing, &inner);
    tc_thing_set_nullptr(&thing, -1);
    Tc__Thing *back = around(&thing);
    assert_true(tc_thing_has_nick(back) && tc_thing_has_count(back) && tc_thing_has_flag(back));
    assert_true(tc_thing_has_kind(back) && tc_thing_has_data(back) && tc_thing_has_inner(back));
    assert_int_equal(tc_thing_get_data(back).data[1], 2);
    assert_string_equal(tc_thing_get_inner(back)->name, "in");
    assert_int_equal(tc_thing_get_nullptr(back), -1);
    tc__thing__free_unpacked(back, NULL);

    tc_thing_clear_nick(&thing);
    tc_thing_clear_inner(&thing);
    back = around(&thing);
    assert_false(tc_thing_has_nick(back) || tc_thing_has_inner(back));
    tc__thing__free_unpacked(back, NULL);
}

static void maps(void **state) {
    (void)state;
    Tc__Thing__LabelsEntry one = {.base =
                                      PROTOBUF_C_MESSAGE_INIT(&tc__thing__labels_entry__descriptor),
                                  .key = "a",
                                  .value = "1"};
    Tc__Thing__LabelsEntry again = one, bare = one;
    again.value = "2";
    bare.key = NULL;
    bare.value = NULL;
    Tc__Thing__LabelsEntry *labels[] = {&one, &bare, &again};
    Tc__Thing value = {TC_THING(.name = "v")};
    Tc__Thing__ThingsEntry thing_entry = {.key = -5, .value = &value};
    Tc__Thing__ThingsEntry *things[] = {&thing_entry};
    Tc__Thing__SumsEntry sum_entry = {.key = 1, .value = 1 << 20};
    Tc__Thing__SumsEntry *sums[] = {&sum_entry};
    Tc__Thing thing = {TC_THING(.n_labels = 3, .labels = labels, .n_things = 1, .things = things,
                                .n_sums = 1, .sums = sums)};
    assert_string_equal(tc_thing_labels_get(&thing, "a"), "2"); /* the last one counts */
    assert_string_equal(tc_thing_labels_get(&thing, ""), "");
    assert_string_equal(tc_thing_labels_get(&thing, NULL), "");
    assert_null(tc_thing_labels_get(&thing, "b"));
    assert_string_equal(tc_thing_things_get(&thing, -5)->name, "v");
    assert_null(tc_thing_things_get(&thing, 5));
    assert_int_equal(*tc_thing_sums_get(&thing, true), 1 << 20);
    assert_null(tc_thing_sums_get(&thing, false));
    assert_null(tc_thing_kinds_get(&thing, "x"));
}

static void enum_names(void **state) {
    (void)state;
    assert_string_equal(tc_thing__kind_name(TC__THING__KIND__KIND_BAD), "KIND_BAD");
    assert_string_equal(tc_thing__kind_name(TC__THING__KIND__KIND_FINE), "KIND_GOOD");
    assert_string_equal(tc_thing__kind_name((Tc__Thing__Kind)77), "");
}

/* ---- client ---- */

static void unary_calls(void **state) {
    (void)state;
    Tc__Thing answer = {TC_THING(.name = "x")}, *reply = NULL;
    Tc__Request request = {TC_REQUEST(.id = "1")};
    seen.reply = &answer.base;
    assert_int_equal(tc_codegen_get(channel, ctx, &request, &reply).code, WEFT_OK);
    assert_ptr_equal(reply, &answer);
    assert_ptr_equal(seen.request, &request);
    assert_string_equal(seen.method->path, "/test.codegen.CodegenService/Get");
    assert_int_equal(tc_codegen_get(channel, ctx, &request, NULL).code, WEFT_OK);

    reply = (Tc__Thing *)&seen;
    seen.status = FAILED;
    assert_int_equal(tc_codegen_get(channel, ctx, &request, &reply).code, WEFT_NOT_FOUND);
    assert_ptr_equal(reply, &seen); /* untouched */

    assert_int_equal(tc_codegen_delete_start(channel, NULL, &request, &reply), 3);
    assert_ptr_equal(reply, &answer);
    assert_string_equal(seen.method->name, "Delete");
}

static void on_thing(void *user, weft_status st, Tc__Thing *reply) {
    assert_ptr_equal(user, &seen);
    assert_int_equal(st.code, WEFT_OK);
    seen.done = reply->name;
}

static void callbacks(void **state) {
    (void)state;
    Tc__Thing answer = {TC_THING(.name = "called")};
    Tc__Request request = {TC_REQUEST()};
    seen.reply = &answer.base;
    tc_codegen_get_async(channel, ctx, &request, on_thing, &seen);
    assert_string_equal(seen.done, "called");
}

static void client_streams(void **state) {
    (void)state;
    Tc__Request request = {TC_REQUEST()}, *summary = NULL;
    Tc__Thing thing = {TC_THING()}, *got = NULL;
    tc_codegen_watch_stream *watch = tc_codegen_watch(channel, ctx, &request);
    assert_ptr_equal(seen.request, &request);
    seen.reply = &thing.base;
    assert_true(tc_codegen_watch_next(watch, &got));
    assert_ptr_equal(got, &thing);
    assert_false(tc_codegen_watch_next(watch, &got));
    assert_ptr_equal(got, &thing);
    tc_codegen_watch_keep(watch);
    assert_string_equal(seen.done, "keep");
    tc_codegen_watch_end(watch);
    assert_string_equal(seen.done, "end");

    tc_codegen_collect_stream *collect = tc_codegen_collect(channel, ctx);
    assert_null(seen.request);
    assert_true(tc_codegen_collect_send(collect, &thing));
    assert_ptr_equal(seen.request, &thing);
    seen.reply = &request.base;
    assert_int_equal(tc_codegen_collect_end(collect, &summary).code, WEFT_OK);
    assert_ptr_equal(summary, &request);

    tc_codegen_chat_stream *chat = tc_codegen_chat(channel, ctx);
    assert_true(tc_codegen_chat_send(chat, &thing));
    assert_true(tc_codegen_chat_next(chat, &summary));
    tc_codegen_chat_close_send(chat);
    assert_string_equal(seen.done, "close_send");
    seen.status = FAILED;
    assert_int_equal(tc_codegen_chat_status(chat).code, WEFT_NOT_FOUND);
    assert_int_equal(tc_codegen_chat_end(chat).code, WEFT_NOT_FOUND);
}

/* ---- server ---- */

static weft_status get(weft_ctx *in, const Tc__Request *request, Tc__Thing *reply) {
    assert_ptr_equal(in, ctx);
    reply->name = request->id;
    return OK;
}

static weft_status watch(weft_ctx *in, const Tc__Request *request, tc_codegen_watch_writer *out) {
    (void)in;
    Tc__Thing thing = {TC_THING(.name = request->id)};
    assert_true(tc_codegen_watch_send(out, &thing));
    return tc_codegen_watch_status(out);
}

static weft_status collect(weft_ctx *in, tc_codegen_collect_reader *from, Tc__Request *reply) {
    (void)in;
    Tc__Thing *thing;
    while (tc_codegen_collect_next(from, &thing)) {
        tc_codegen_collect_keep(from);
        reply->id = thing->name;
    }
    return tc_codegen_collect_status(from);
}

static weft_status chat(weft_ctx *in, tc_codegen_chat_server_stream *both) {
    (void)in;
    Tc__Thing *thing;
    while (tc_codegen_chat_server_next(both, &thing)) {
        Tc__Request answer = {TC_REQUEST(.id = thing->name)};
        assert_true(tc_codegen_chat_server_send(both, &answer));
    }
    tc_codegen_chat_server_keep(both);
    return tc_codegen_chat_server_status(both);
}

static void handlers(void **state) {
    (void)state;
    weft_server *server = (weft_server *)&seen;
    weft_stream *stream = (weft_stream *)&seen;
    tc_codegen_service service = {
        .get = get, .watch = watch, .collect = collect, .chat = chat, .get_on = WEFT_INLINE};
    assert_int_equal(tc_codegen_service_add(server, &service, NULL), 0);
    assert_ptr_equal(seen.info, &tc_codegen_service__info);
    assert_int_equal(seen.handlers[0].on, WEFT_INLINE);
    assert_int_equal(seen.handlers[1].on, WEFT_DEFAULT);
    assert_true(seen.handlers[4].fn == NULL); /* delete_ */

    Tc__Request request = {TC_REQUEST(.id = "r")}, summary = {TC_REQUEST()};
    Tc__Thing thing = {TC_THING(.name = "t")}, reply = {TC_THING()};
    const weft_handler *h = seen.handlers;
    assert_int_equal(h[0].thunk(h[0].fn, ctx, &request.base, &reply.base, NULL).code, WEFT_OK);
    assert_string_equal(reply.name, "r");
    h[1].thunk(h[1].fn, ctx, &request.base, NULL, stream);
    assert_string_equal(seen.done, "status");
    seen.reply = &thing.base;
    h[2].thunk(h[2].fn, ctx, NULL, &summary.base, stream);
    assert_string_equal(summary.id, "t");
    seen.reply = &thing.base;
    seen.status = FAILED;
    assert_int_equal(h[3].thunk(h[3].fn, ctx, NULL, NULL, stream).code, WEFT_NOT_FOUND);
    assert_ptr_equal(seen.stream, stream);

    tc_codegen_get_reply((weft_deferred *)&seen, OK, &reply);
    assert_ptr_equal(seen.request, &reply);
    assert_int_equal(tc_codegen_service_add(server, NULL, NULL), WEFT_EINVAL);
    tc_nothing_service nothing = {0};
    (void)nothing;
}

/* ---- what is embedded ---- */

static void descriptions(void **state) {
    (void)state;
    const weft_service_info *info = &tc_codegen_service__info;
    assert_int_equal(info->size, sizeof(*info));
    assert_string_equal(info->name, "test.codegen.CodegenService");
    assert_int_equal(info->method_count, 5);
    assert_ptr_equal(info->file, &weft_file_test_codegen_all_proto);
    static const weft_kind kinds[] = {WEFT_KIND_UNARY, WEFT_KIND_SERVER_STREAM,
                                      WEFT_KIND_CLIENT_STREAM, WEFT_KIND_BIDI, WEFT_KIND_UNARY};
    for (size_t i = 0; i < 5; i++) assert_int_equal(info->methods[i]->kind, kinds[i]);
    assert_int_equal(info->methods[0]->idempotency, WEFT_NO_SIDE_EFFECTS);
    assert_int_equal(info->methods[1]->idempotency, WEFT_IDEMPOTENCY_UNKNOWN);
    assert_int_equal(info->methods[4]->idempotency, WEFT_IDEMPOTENT);
    assert_ptr_equal(info->methods[2]->input, &tc__thing__descriptor);
    assert_int_equal(tc_nothing_service__info.method_count, 0);

    const weft_file *file = &weft_file_test_codegen_all_proto;
    assert_int_equal(file->size, sizeof(*file));
    assert_int_equal(file->dep_count, 1); /* protobuf-c's options are no import any more */
    assert_string_equal(file->deps[0]->name, "google/protobuf/timestamp.proto");
    assert_int_equal(file->message_count, 6);
    assert_int_equal(file->enum_count, 1);
}

static void in_a_registry(void **state) {
    (void)state;
    weft_registry *registry = weft_registry_new();
    assert_non_null(registry);
    assert_int_equal(weft_registry_add_file(registry, &weft_file_test_codegen_all_proto, NULL), 0);
    const weft_type *thing = weft_registry_message(registry, "test.codegen.Thing");
    assert_non_null(thing);
    assert_ptr_equal(thing->pbc, &tc__thing__descriptor);
    const weft_type_field *nick = weft_type_field_by_name(thing, "nick");
    assert_true(nick && nick->optional && nick->presence && nick->oneof == -1 && nick->pbc);
    const weft_type_field *odd = weft_type_field_by_name(thing, "restrict");
    assert_true(odd && odd->pbc && odd->pbc->offset == offsetof(Tc__Thing, restrict_));
    assert_true(weft_type_field_by_name(thing, "labels")->map);
    const weft_type_service *service =
        weft_registry_service(registry, "test.codegen.CodegenService");
    assert_true(service && service->method_count == 5 && service->methods[3].client_streaming);
    weft_registry_free(registry);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup(name, reset)
    const struct CMUnitTest tests[] = {
        TEST(initialisers), TEST(optional_fields), TEST(maps),           TEST(enum_names),
        TEST(unary_calls),  TEST(callbacks),       TEST(client_streams), TEST(handlers),
        TEST(descriptions), TEST(in_a_registry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
