/* Requests made by hand: what protoc would never send, and what must be said about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tools/codegen/cg.h"
#include "weft/pb.h"

typedef struct fixture {
    weft_arena *arena;
    pb_request request;
    pb_file file;
    pb_file *files[2];
    char *wanted[1];
} fixture;

static int set_up(void **state) {
    static fixture f;
    memset(&f, 0, sizeof(f));
    f.arena = weft_arena_new(0);
    google__protobuf__compiler__code_generator_request__init(&f.request);
    google__protobuf__file_descriptor_proto__init(&f.file);
    f.file.name = cg_strdup(f.arena, "a/b.proto");
    f.file.syntax = cg_strdup(f.arena, "proto3");
    f.files[0] = &f.file;
    f.request.proto_file = f.files;
    f.request.n_proto_file = 1;
    f.wanted[0] = f.file.name;
    f.request.file_to_generate = f.wanted;
    f.request.n_file_to_generate = 1;
    *state = &f;
    return f.arena ? 0 : -1;
}

static int tear_down(void **state) {
    weft_arena_free(((fixture *)*state)->arena);
    return 0;
}

static pb_response *answer(fixture *f) {
    size_t len, out_len;
    const char *why = NULL;
    const weft_guard_limits limits = {.max_bytes = SIZE_MAX};
    uint8_t *bytes = weft_pack(f->arena, &f->request.base, &len);
    assert_non_null(bytes);
    uint8_t *out = cg_plugin(f->arena, bytes, len, &out_len, &why);
    if (!out) fail_msg("%s", why);
    pb_response *response =
        (pb_response *)weft_unpack(&google__protobuf__compiler__code_generator_response__descriptor,
                                   out, out_len, &limits, f->arena, NULL, &why);
    assert_non_null(response);
    return response;
}

/* Every one of the texts is in the error, and no file is made. */
static void expect_error(fixture *f, const char *const *texts) {
    pb_response *response = answer(f);
    assert_int_equal(response->n_file, 0);
    assert_non_null(response->error);
    for (; *texts; texts++)
        if (!strstr(response->error, *texts))
            fail_msg("not \"%s\" in:\n%s", *texts, response->error);
}
#define EXPECT(f, ...) expect_error(f, (const char *const[]){__VA_ARGS__, NULL})

static pb_message *message(fixture *f, const char *name, size_t fields) {
    pb_message *m = cg_alloc(f->arena, 1, sizeof(*m));
    google__protobuf__descriptor_proto__init(m);
    m->name = name ? cg_strdup(f->arena, name) : NULL;
    m->field = cg_alloc(f->arena, fields + 1, sizeof(*m->field));
    for (size_t i = 0; i < fields; i++) {
        pb_field *d = m->field[m->n_field++] = cg_alloc(f->arena, 1, sizeof(*d));
        google__protobuf__field_descriptor_proto__init(d);
        d->name = cg_printf(f->arena, "f%zu", i);
        d->has_number = d->has_label = d->has_type = 1;
        d->number = (int32_t)i + 1;
        d->label = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_OPTIONAL;
        d->type = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_INT32;
    }
    pb_message **list = cg_alloc(f->arena, f->file.n_message_type + 1, sizeof(*list));
    for (size_t i = 0; i < f->file.n_message_type; i++) list[i] = f->file.message_type[i];
    list[f->file.n_message_type++] = m;
    f->file.message_type = list;
    return m;
}

static void an_empty_file(void **state) {
    pb_response *response = answer(*state);
    assert_null(response->error);
    assert_int_equal(response->n_file, 2);
    assert_string_equal(response->file[0]->name, "a/b.weft.h");
    assert_string_equal(response->file[1]->name, "a/b.weft.c");
    assert_int_equal(response->supported_features, 1);
}

static void nothing_wanted(void **state) {
    fixture *f = *state;
    f->request.n_file_to_generate = 0;
    assert_int_equal(answer(f)->n_file, 0);
}

static void no_request(void **state) {
    fixture *f = *state;
    size_t len;
    const char *why = NULL;
    assert_null(cg_plugin(f->arena, (const uint8_t *)"\x0a\xff", 2, &len, &why));
    assert_non_null(why);
}

static void parameters(void **state) {
    fixture *f = *state;
    static const struct {
        const char *parameter, *error;
    } cases[] = {
        {"mesages", "--weft_opt=mesages: unknown parameter (did you mean \"messages\"?)"},
        {"zzz", "there are messages, prefix=NAME and protoc_gen_c=PATH"},
        {"messages=1", "takes no value"},
        {"prefix", "a name that C allows"},
        {"prefix=", "a name that C allows"},
        {"prefix=a-b", "a name that C allows"},
        {"protoc_gen_c", "needs a path"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        f->request.parameter = cg_strdup(f->arena, cases[i].parameter);
        EXPECT(f, cases[i].error);
    }
    f->request.parameter = cg_strdup(f->arena, ",,x,prefix=1,");
    EXPECT(f, "x: unknown", "prefix needs"); /* every problem at once */
    f->request.parameter = cg_strdup(f->arena, "prefix=My,");
    message(f, "Thing", 0);
    assert_non_null(strstr(answer(f)->file[0]->content, "my_thing_new("));
}

static void protoc_gen_c_is_missing(void **state) {
    fixture *f = *state;
    f->request.parameter = cg_strdup(f->arena, "messages,protoc_gen_c=/nowhere/x");
    EXPECT(f, "cannot run /nowhere/x: No such file", "install protobuf-c-compiler");
    f->request.parameter = cg_strdup(f->arena, "messages,protoc_gen_c=/bin/false");
    EXPECT(f, "/bin/false failed");
    f->request.parameter = cg_strdup(f->arena, "messages,protoc_gen_c=/bin/ls");
    EXPECT(f, "answered something else");
}

static void names_that_are_none(void **state) {
    fixture *f = *state;
    message(f, NULL, 0);
    message(f, "a b", 0);
    message(f, "M", 1)->field[0]->name = NULL;
    EXPECT(f, "a/b.proto: a message without a proper name", "a field without a proper name");
}

static void packages_and_paths(void **state) {
    fixture *f = *state;
    f->file.package = cg_strdup(f->arena, "a..b");
    EXPECT(f, "\"a..b\" is no package name");
    f->file.package = NULL;
    static const char *const bad[] = {"../x.proto", "/x.proto", "a//b.proto", "./x", "a\"b",
                                      "a\nb",       ""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        f->file.name = f->wanted[0] = cg_strdup(f->arena, bad[i]);
        EXPECT(f, "a file whose name cannot be used");
    }
}

static void dangling_types(void **state) {
    fixture *f = *state;
    pb_message *m = message(f, "M", 3);
    for (size_t i = 0; i < 3; i++)
        m->field[i]->type = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_MESSAGE;
    m->field[0]->type_name = cg_strdup(f->arena, ".not.There");
    m->field[1]->type_name = cg_strdup(f->arena, "M");
    m->field[2]->type = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_ENUM;
    m->field[2]->type_name = cg_strdup(f->arena, ".M"); /* a message */
    EXPECT(f, "no message .not.There", "no message M in", "no enum .M");
}

static void indexes(void **state) {
    fixture *f = *state;
    pb_message *m = message(f, "M", 2);
    for (size_t i = 0; i < 2; i++) m->field[i]->has_oneof_index = 1;
    m->field[0]->oneof_index = -1;
    m->field[1]->oneof_index = INT32_MAX;
    EXPECT(f, "field f0 is in a oneof that is not there", "field f1 is in a oneof");
}

static void types_out_of_range(void **state) {
    fixture *f = *state;
    pb_message *m = message(f, "M", 3);
    m->field[0]->type = 99;
    m->field[1]->label = 0;
    m->field[2]->has_type = 0;
    EXPECT(f, "field f0 has no type", "field f1 has no type", "field f2 has no type");
}

static void imports(void **state) {
    fixture *f = *state;
    char *self[] = {f->file.name, cg_strdup(f->arena, "none.proto")};
    f->file.dependency = self;
    f->file.n_dependency = 1;
    int32_t indexes_of[] = {0, -1, 7};
    f->file.public_dependency = indexes_of;
    f->file.n_public_dependency = 3;
    assert_null(answer(f)->error); /* odd, but harmless */
    f->file.n_dependency = 2;
    EXPECT(f, "import none.proto is not in the request");
    f->file.n_dependency = 0;
    f->files[1] = &f->file;
    f->request.n_proto_file = 2;
    EXPECT(f, "a/b.proto: the file is in the request twice");
}

static void members_that_clash(void **state) {
    fixture *f = *state;
    pb_message *m = message(f, "M", 3);
    m->field[0]->name = cg_strdup(f->arena, "base");
    m->field[1]->name = cg_strdup(f->arena, "x");
    m->field[2]->name = cg_strdup(f->arena, "X");
    EXPECT(f, "field M.base needs the member base of M, which is the message itself",
           "field M.X needs the C name M.x, which field M.x at a/b.proto has");
}

static void runtime_names(void **state) {
    fixture *f = *state;
    message(f, "WeftCtx", 0);
    EXPECT(f, "names beginning with weft_ctx_ are those of Weft's own functions");
}

static void broken_inside(void **state) {
    fixture *f = *state;
    pb_message *m = message(f, "M", 1);
    m->field[0]->default_value = cg_strdup(f->arena, "\xff");
    EXPECT(f, "a/b.proto: a string is not valid UTF-8 (look at its default values and names)");
}

static void same_type_twice(void **state) {
    fixture *f = *state;
    message(f, "M", 0);
    message(f, "M", 0);
    EXPECT(f, "type M is declared twice");
}

static void map_entries(void **state) {
    fixture *f = *state;
    pb_message *m = message(f, "M", 1);
    Google__Protobuf__MessageOptions options = GOOGLE__PROTOBUF__MESSAGE_OPTIONS__INIT;
    options.has_map_entry = options.map_entry = 1;
    m->options = &options;
    EXPECT(f, "M is no map entry");
}

static void comments_stay_comments(void **state) {
    fixture *f = *state;
    message(f, "M", 0);
    Google__Protobuf__SourceCodeInfo info = GOOGLE__PROTOBUF__SOURCE_CODE_INFO__INIT;
    pb_location at = GOOGLE__PROTOBUF__SOURCE_CODE_INFO__LOCATION__INIT;
    pb_location *list[] = {&at};
    int32_t path[] = {4, 0}, span[] = {-1, INT32_MAX, 0};
    at.path = path;
    at.n_path = 2;
    at.span = span;
    at.n_span = 3;
    at.leading_comments = cg_strdup(f->arena, " a */ b /* c ?"
                                              "?/ d\n/ e\\\n\n\x01 \xe2\x80\xae f");
    info.location = list;
    info.n_location = 1;
    f->file.source_code_info = &info;
    const char *header = answer(f)->file[0]->content;
    assert_non_null(strstr(header, "/* a * / b / * c ?"
                                   "? / d\n * / e\\.\n *\n *   \xef\xbf\xbd f */\n"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_file),
        TEST(nothing_wanted),
        TEST(no_request),
        TEST(parameters),
        TEST(protoc_gen_c_is_missing),
        TEST(names_that_are_none),
        TEST(packages_and_paths),
        TEST(dangling_types),
        TEST(indexes),
        TEST(types_out_of_range),
        TEST(imports),
        TEST(same_type_twice),
        TEST(members_that_clash),
        TEST(runtime_names),
        TEST(broken_inside),
        TEST(map_entries),
        TEST(comments_stay_comments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
