/* Fields, lists, names, and what a message may contain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "weft/http.h"
#include "weft/mem.h"
#include "weft/rng.h"

static http_pool *pool;

static int set_up(void **state) {
    (void)state;
    pool = http_pool_new(0, 42);
    return pool == NULL;
}

static int tear_down(void **state) {
    (void)state;
    const http_pool_stats stats = http_pool_get_stats(pool);
    const int left = stats.fields || stats.interned || stats.lists;
    http_pool_free(pool);
    return left;
}

static http_field *field(const char *name, const char *value) {
    return http_field_new(pool, name, strlen(name), value, strlen(value));
}

static void test_names(void **state) {
    (void)state;
    for (int id = 1; id < HTTP_NAME_COUNT; id++) {
        const char *text = http_name_text((http_name)id);
        assert_int_equal(http_name_find(text, strlen(text)), id);
        assert_int_equal(http_name_len((http_name)id), strlen(text));
    }
    assert_int_equal(http_name_find("x-own", 5), HTTP_NAME_OTHER);
    assert_int_equal(http_name_find("", 0), HTTP_NAME_OTHER);
    assert_int_equal(http_name_find("Content-Type", 12), HTTP_NAME_OTHER);
    assert_int_equal(http_name_kind(HTTP_NAME_CONNECTION), HTTP_HOP);
}

static void test_static_table(void **state) {
    (void)state;
    assert_null(http_static_field(0));
    assert_null(http_static_field(62));
    assert_string_equal(http_static_field(3)->value, "POST");
    for (unsigned i = 1; i <= 61; i++) {
        const http_field *f = http_static_field(i);
        assert_int_equal(f->static_index, i);
        assert_string_equal(f->name, http_name_text((http_name)f->id));
        assert_ptr_equal(field(f->name, f->value), f);
        assert_int_equal(strlen(f->value), f->value_len);
    }
    http_field *f = field(":status", "201");
    assert_int_equal(f->static_index, 0);
    http_field_unref(f);
}

static void test_syntax(void **state) {
    (void)state;
    static const struct {
        const char *name, *value;
        int bad;
    } cases[] = {
        {"x", "", 0},         {"x-y_z.1~", "a b\tc", 0},
        {"X", "", 1},         {"", "v", 1},
        {"a b", "", 1},       {"a:b", "", 1},
        {":odd", "", 0},      {"x", " a", 1},
        {"x", "a\t", 1},      {"x", "a\r", 1},
        {"x", "a\nb", 1},     {"x", "\x7f", 1},
        {"x", "\xff\x80", 0}, {"x", "12345678\x01", 1},
        {"x", "12345678", 0}, {"x", "1234567890abcdef\x1f-", 1},
        {"x\x80", "", 1},     {"x", "tab\tinside ok", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        http_field *f = field(cases[i].name, cases[i].value);
        if (((f->flags & HTTP_FIELD_BAD) != 0) != cases[i].bad)
            fail_msg("\"%s: %s\"", cases[i].name, cases[i].value);
        http_field_unref(f);
    }
    http_field *zero = http_field_new(pool, "x", 1, "a\0b", 3);
    assert_true(zero->flags & HTTP_FIELD_BAD);
    http_field_unref(zero);
    /* Every byte at every place of values of every length up to 20; those that matter beyond. */
    for (size_t len = 1; len <= 140; len++) {
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                char value[140];
                if (len > 20 && c > 9 && c != 31 && c != 32 && c != 127 && c != 128 && c != 255)
                    continue;
                memset(value, 'v', sizeof value);
                value[at] = (char)c;
                const int edge = (at == 0 || at + 1 == len) && (c == ' ' || c == '\t');
                const int bad = edge || (c < 32 && c != '\t') || c == 127;
                http_field *f = http_field_new(pool, "x", 1, value, len);
                assert_int_equal((f->flags & HTTP_FIELD_BAD) != 0, bad);
                assert_memory_equal(f->value, value, len);
                http_field_unref(f);
            }
        }
    }
}

static void test_intern(void **state) {
    (void)state;
    http_field *many[2000];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 2000; i++) {
            char value[24];
            snprintf(value, sizeof value, "v%d", i % 1000);
            many[i] = http_field_intern(pool, "x-a", 3, value, strlen(value));
            if (i >= 1000) assert_ptr_equal(many[i], many[i - 1000]);
        }
        assert_int_equal(http_pool_get_stats(pool).interned, 1000);
        for (int i = 0; i < 2000; i++) http_field_unref(many[i]);
        assert_int_equal(http_pool_get_stats(pool).interned, 0);
    }
    http_field *a = field("x-a", "same"), *b = field("x-a", "same"), *c = field("x-b", "same");
    assert_ptr_not_equal(a, b);
    assert_int_equal(http_field_hash(a), http_field_hash(b));
    assert_true(http_field_equal(a, b));
    assert_false(http_field_equal(a, c));
    http_field_unref(a);
    http_field_unref(b);
    http_field_unref(c);
}

static void test_lists(void **state) {
    (void)state;
    http_fields list, other;
    http_fields_init(&list, pool);
    http_fields_init(&other, pool);
    for (int i = 0; i < 100; i++) {
        char value[24];
        snprintf(value, sizeof value, "%d", i);
        assert_int_equal(http_fields_add_text(&list, i % 2 ? "te" : "x-n", value), 0);
    }
    assert_int_equal(list.count, 100);
    assert_string_equal(http_fields_find(&list, HTTP_NAME_TE)->value, "1");
    assert_string_equal(http_fields_find_text(&list, "x-n", 3)->value, "0");
    assert_null(http_fields_find(&list, HTTP_NAME_HOST));
    assert_int_equal(http_fields_copy(&other, &list), 0);
    assert_ptr_equal(other.at[99], list.at[99]);
    assert_int_equal(other.bytes, list.bytes);
    http_fields_clear(&other);
    assert_int_equal(http_fields_set(&list, field("te", "trailers")), 0);
    assert_int_equal(list.count, 51);
    assert_string_equal(http_fields_find(&list, HTTP_NAME_TE)->value, "trailers");
    assert_int_equal(http_fields_set(&list, field("via", "w")), 0);
    assert_int_equal(list.count, 52);
    assert_int_equal(http_fields_remove(&list, HTTP_NAME_OTHER), 50);
    assert_int_equal(list.bytes, 2 + 8 + 32 + 3 + 1 + 32);
    assert_int_equal(http_fields_move(&other, &list), 0);
    assert_int_equal(list.count, 0);
    assert_int_equal(other.count, 2);
    while (other.count < HTTP_FIELDS_MAX)
        assert_int_equal(http_fields_add_text(&other, "a", "b"), 0);
    assert_int_equal(http_fields_add_text(&other, "a", "b"), WEFT_ELIMIT);
    assert_int_equal(http_fields_move(&list, &other), 0);
    assert_int_equal(list.count, HTTP_FIELDS_MAX);
    http_fields_clear(&list);
    http_fields_clear(&other);
}

/* Blocks of every size come back and are used again. */
static void test_memory(void **state) {
    (void)state;
    weft_rng rng;
    http_field *held[300] = {0};
    static char value[70000];
    memset(value, 'v', sizeof value);
    weft_rng_seed(&rng, 9);
    for (int i = 0; i < 30000; i++) {
        http_field **at = &held[weft_rng_below(&rng, 300)];
        if (*at) http_field_unref(*at);
        const size_t len = weft_rng_below(&rng, 50) ? weft_rng_below(&rng, 600)
                                                    : weft_rng_below(&rng, sizeof value);
        *at = http_field_new(pool, "x-name", 6, value, len);
        assert_non_null(*at);
        assert_int_equal((*at)->value_len, len);
        assert_int_equal((*at)->value[len], 0);
        assert_string_equal((*at)->name, "x-name");
    }
    for (int i = 0; i < 300; i++) {
        if (held[i]) http_field_unref(held[i]);
    }
    http_pool *small = http_pool_new(40000, 1);
    http_fields list;
    http_fields_init(&list, small);
    int failed = 0;
    for (int i = 0; i < 1000 && !failed; i++) failed = http_fields_add_text(&list, "x", "y");
    assert_int_equal(failed, WEFT_ENOMEM);
    assert_true(http_pool_get_stats(small).bytes <= 40000);
    assert_int_equal(http_pool_get_stats(small).refused, 1);
    http_fields_clear(&list);
    http_pool_free(small);
}

#define GET ":method=GET;:scheme=http;:path=/;"

/* ---- what lists know of their fields, against looking through them */

static const char *const some_names[] = {":method", ":path",       "te",   "traceparent",
                                         "host",    "grpc-status", "x-id", "user-agent"};
#define SOME_NAMES (sizeof some_names / sizeof some_names[0])

static void check_places(const http_fields *list) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < list->count; i++) bytes += strlen(list->at[i]->name) + 32 + 1;
    assert_int_equal(list->bytes, bytes);
    for (size_t n = 0; n < SOME_NAMES; n++) {
        const http_name id = http_name_find(some_names[n], strlen(some_names[n]));
        const http_field *first = NULL;
        if (id == HTTP_NAME_OTHER) continue;
        for (uint32_t i = 0; i < list->count && !first; i++)
            if (list->at[i]->id == id) first = list->at[i];
        assert_ptr_equal(http_fields_find(list, id), first);
    }
}

/* Fields of one byte each; up to 400, so that places beyond what is remembered come too. */
static void test_places(void **state) {
    (void)state;
    weft_rng rng;
    weft_rng_seed(&rng, 5);
    for (int round = 0; round < 300; round++) {
        http_fields list, other;
        http_fields_init(&list, pool);
        http_fields_init(&other, pool);
        const uint32_t most = round % 3 ? 12 : 400;
        for (int step = 0; step < 60; step++) {
            const char *name = some_names[weft_rng_below(&rng, SOME_NAMES)];
            const http_name id = http_name_find(name, strlen(name));
            const uint64_t what = weft_rng_below(&rng, 8);
            if (what == 0 && id) {
                assert_int_equal(http_fields_set(&list, field(name, "s")), 0);
            } else if (what == 1 && id && round % 3) {
                (void)http_fields_remove(&list, id);
            } else if (what == 2 && list.count) {
                http_fields_remove_at(&list, (uint32_t)weft_rng_below(&rng, list.count));
            } else if (what == 3) {
                assert_int_equal(http_fields_move(&other, &list), 0);
                assert_int_equal(list.count, 0);
                check_places(&list);
                check_places(&other);
                assert_int_equal(http_fields_copy(&list, &other), 0);
                http_fields_clear(&other);
            } else {
                for (uint32_t n = most / 12; n && list.count < most; n--)
                    assert_int_equal(http_fields_add_text(&list, name, "v"), 0);
            }
            check_places(&list);
        }
        http_fields_clear(&list);
        assert_int_equal(list.count, 0);
        check_places(&list);
    }
}

static bool same_facts(const http_facts *a, const http_facts *b) {
    return a->content_length == b->content_length && a->status == b->status && a->head == b->head &&
           a->connect == b->connect && (a->reason == b->reason || !strcmp(a->reason, b->reason));
}

/* Lists that look like most go a short way: it must say what the long one says. */
static void test_validate_short_way(void **state) {
    (void)state;
    static const char *const texts[][2] = {
        {":method", "POST"},     {":method", "HEAD"},  {":method", "CONNECT"},
        {":method", ""},         {":scheme", "http"},  {":scheme", ""},
        {":path", "/"},          {":path", "/a.B/C"},  {":path", "*"},
        {":path", "a"},          {":path", ""},        {":authority", "h:1"},
        {":authority", "u@h"},   {":authority", ""},   {":status", "200"},
        {":status", "204"},      {":status", "20"},    {":status", "999"},
        {":protocol", "x"},      {":unknown", "x"},    {"te", "trailers"},
        {"te", "gzip"},          {"host", "h:1"},      {"content-length", "3"},
        {"connection", "close"}, {"x-a", "v"},         {"X-A", "v"},
        {"x-b", " v"},           {"traceparent", "t"}, {"grpc-status", "0"},
    };
    const size_t count = sizeof texts / sizeof texts[0];
    /* What makes a good start of a request, so that some lists get far. */
    static const size_t starts[] = {0, 4, 7, 11, 20, 25};
    weft_rng rng;
    weft_rng_seed(&rng, 6);
    int good = 0;
    for (int round = 0; round < 60000; round++) {
        http_fields list;
        http_facts quick, slow;
        http_fields_init(&list, pool);
        const size_t from_start = weft_rng_below(&rng, 7), more = weft_rng_below(&rng, 3);
        for (size_t i = 0; i < from_start + more; i++) {
            const size_t pick = i < from_start && weft_rng_below(&rng, 12)
                                    ? starts[i]
                                    : weft_rng_below(&rng, count);
            assert_int_equal(http_fields_push(&list, field(texts[pick][0], texts[pick][1])), 0);
        }
        const http_section section = (http_section)weft_rng_below(&rng, 3);
        const int rc = http_validate(&list, section, &quick);
        list.marks = UINT16_MAX; /* as if there were something about every field */
        assert_int_equal(http_validate(&list, section, &slow), rc);
        assert_true(same_facts(&quick, &slow));
        good += rc == 0;
        http_fields_clear(&list);
    }
    assert_true(good > 3000);
}

static void test_validate(void **state) {
    (void)state;
    static const struct {
        http_section section;
        const char *text; /* name=value; … */
        const char *reason;
    } cases[] = {
        {HTTP_SECTION_REQUEST, GET ":authority=a;te=trailers;content-type=x", NULL},
        {HTTP_SECTION_REQUEST, GET "host=a", NULL},
        {HTTP_SECTION_REQUEST, GET ":authority=A;host=a", NULL},
        {HTTP_SECTION_REQUEST, GET ":authority=a;host=b", "host differs from :authority"},
        {HTTP_SECTION_REQUEST, GET "host=a;host=a", "two host fields"},
        {HTTP_SECTION_REQUEST, GET "content-length=1;content-length=1", NULL},
        {HTTP_SECTION_REQUEST, GET "content-length=1;content-length=2",
         "two content-lengths that differ"},
        {HTTP_SECTION_REQUEST, GET "content-length=", "bad content-length"},
        {HTTP_SECTION_REQUEST, GET "content-length=1234567890123456789", "bad content-length"},
        {HTTP_SECTION_REQUEST, GET "keep-alive=1", "connection-specific field"},
        {HTTP_SECTION_REQUEST, GET "upgrade=h2c", "connection-specific field"},
        {HTTP_SECTION_REQUEST, GET "te=gzip", "te other than trailers"},
        {HTTP_SECTION_REQUEST, GET ":path=/", "pseudo-header field twice"},
        {HTTP_SECTION_REQUEST, ":method=GET;:scheme=http;:path=x", ":path does not begin with /"},
        {HTTP_SECTION_REQUEST, ":method=;:scheme=http;:path=/", "empty :method"},
        {HTTP_SECTION_REQUEST, ":method=GET;:scheme=;:path=/", "empty :scheme"},
        {HTTP_SECTION_REQUEST, "", "no :method"},
        {HTTP_SECTION_REQUEST, ":method=CONNECT;:authority=a:1", NULL},
        {HTTP_SECTION_REQUEST, ":method=CONNECT",
         "CONNECT with :path or :scheme, or without :authority"},
        {HTTP_SECTION_RESPONSE, ":status=200;x=y", NULL},
        {HTTP_SECTION_RESPONSE, ":status=099", ":status is not 100 to 599"},
        {HTTP_SECTION_RESPONSE, ":status=600", ":status is not 100 to 599"},
        {HTTP_SECTION_RESPONSE, ":status=20", ":status is not 100 to 599"},
        {HTTP_SECTION_RESPONSE, "x=y", "no :status"},
        {HTTP_SECTION_RESPONSE, "x=y;:status=200", "pseudo-header field after a regular field"},
        {HTTP_SECTION_RESPONSE, ":status=200;:method=GET",
         "pseudo-header field that does not belong here"},
        {HTTP_SECTION_TRAILERS, "grpc-status=0", NULL},
        {HTTP_SECTION_TRAILERS, "", NULL},
        {HTTP_SECTION_TRAILERS, ":status=200", "pseudo-header field in trailers"},
        {HTTP_SECTION_TRAILERS, ":x=y", "unknown pseudo-header field"},
        {HTTP_SECTION_TRAILERS, "X=y", "bad character in a field"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char copy[200], *rest = copy;
        http_fields list;
        http_facts facts;
        http_fields_init(&list, pool);
        snprintf(copy, sizeof copy, "%s", cases[i].text);
        for (char *word; (word = strsep(&rest, ";"));) {
            char *value = *word ? strchr(word + 1, '=') : NULL;
            if (!value) continue;
            *value++ = '\0';
            assert_int_equal(http_fields_add_text(&list, word, value), 0);
        }
        const int got = http_validate(&list, cases[i].section, &facts);
        if (got != (cases[i].reason ? WEFT_EPARSE : 0) ||
            (got && strcmp(facts.reason, cases[i].reason) != 0))
            fail_msg("%s: %s", cases[i].text, facts.reason ? facts.reason : "fine");
        http_fields_clear(&list);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test_setup_teardown(test_static_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_syntax, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_intern, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_validate_short_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_validate, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
