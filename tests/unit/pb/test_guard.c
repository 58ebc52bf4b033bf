/* The guard, byte by byte; and what passes it unpacks to what the bytes mean. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/pb/all2.pb-c.h"
#include "test/pb/all3.pb-c.h"
#include "tests/unit/pb/pb_support.h"
#include "weft/mem.h"

#define ALL (&test__pb3__all__descriptor)

/* Bytes of a test.pb3.All, and what the guard says of them; NULL: nothing. */
typedef struct guard_case {
    const char *bytes;
    size_t len;
    const char *why;
} guard_case;

#define CASE(text, why) \
    { text, sizeof text - 1, why }
#define CUT_VARINT "a number is cut off or longer than 64 bits"
#define CUT_FIXED "the message is cut off inside a number"
#define BAD_LENGTH "a length reaches beyond the end of its message"
#define WRONG_WIRE "a field has another wire type than its contract says"
#define BAD_TAG "a field number is cut off or above 536870911"
#define BAD_UTF8 "a string is not valid UTF-8"
#define HAS_NUL "a string holds a NUL byte"
#define PACKED_CUT "a packed field ends inside a number"

static const guard_case table[] = {
    CASE("", NULL),
    /* tags */
    CASE("\x00", "a field has the number 0"),
    CASE("\x02\x00", "a field has the number 0"),
    CASE("\x80\x00", "a field has the number 0"),
    CASE("\x80", BAD_TAG),
    CASE("\xf8\xff\xff\xff\x0f\x01", NULL),                   /* 536870911, varint */
    CASE("\xf8\xff\xff\xff\x1f\x01", BAD_TAG),                /* 33 bits */
    CASE("\x88\x80\x80\x80\x80\x00\x01", BAD_TAG),            /* six bytes for 1 */
    CASE("\x88\x80\x80\x80\x00\x01", NULL),                   /* five bytes for 1 */
    CASE("\x0e\x00", WRONG_WIRE),                             /* wire type 6 */
    CASE("\xc6\x3e\x00", "a field has an unknown wire type"), /* unknown field, wire type 6 */
    CASE("\xc7\x3e\x00", "a field has an unknown wire type"),
    /* varints */
    CASE("\x08\x01", NULL),
    CASE("\x08", CUT_VARINT),
    CASE("\x08\x80", CUT_VARINT),
    CASE("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", NULL),
    CASE("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", CUT_VARINT),
    CASE("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", CUT_VARINT),
    CASE("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", NULL),
    CASE("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", NULL),
    /* fixed sizes */
    CASE("\x3d\x01\x02\x03\x04", NULL),
    CASE("\x3d\x01\x02\x03", CUT_FIXED),
    CASE("\x41\x01\x02\x03\x04\x05\x06\x07\x08", NULL),
    CASE("\x41\x01\x02\x03\x04\x05\x06\x07", CUT_FIXED),
    CASE("\xc1\x3e\x01", CUT_FIXED),
    CASE("\xc5\x3e\x01", CUT_FIXED),
    /* wire types that do not fit */
    CASE("\x0d\x01\x02\x03\x04", WRONG_WIRE), /* int32 as fixed32 */
    CASE("\x0a\x01\x01", WRONG_WIRE),         /* int32 as bytes: not repeated */
    CASE("\x38\x01", WRONG_WIRE),             /* fixed32 as varint */
    CASE("\x40\x01", WRONG_WIRE),
    CASE("\x58\x01", WRONG_WIRE),
    CASE("\x6d\x01\x02\x03\x04", WRONG_WIRE), /* bool as fixed32: protobuf-c would take it */
    CASE("\x6a\x01\x01", WRONG_WIRE),
    CASE("\x70\x01", WRONG_WIRE), /* string as varint */
    CASE("\x78\x01", WRONG_WIRE),
    CASE("\x82\x01\x00", WRONG_WIRE),     /* enum as bytes */
    CASE("\x88\x01\x01", WRONG_WIRE),     /* message as varint */
    CASE("\x8b\x01\x8c\x01", WRONG_WIRE), /* message as group */
    CASE("\xca\x01\x01\x61", NULL),       /* repeated string */
    CASE("\xc8\x01\x01", WRONG_WIRE),
    /* lengths */
    CASE("\x72\x00", NULL),
    CASE("\x72", BAD_LENGTH),
    CASE("\x72\x01", BAD_LENGTH),
    CASE("\x72\x80", BAD_LENGTH),
    CASE("\x72\xff\xff\xff\xff\x0f", BAD_LENGTH),
    CASE("\x72\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", BAD_LENGTH),
    CASE("\x72\x81\x80\x80\x80\x00\x61", NULL),           /* overlong, as protobuf takes it */
    CASE("\x72\x81\x80\x80\x80\x80\x00\x61", BAD_LENGTH), /* six bytes */
    CASE("\x8a\x01\x02\x0a\x05", BAD_LENGTH),             /* beyond the inner message */
    CASE("\x8a\x01\x03\x0a\x05\x61\x61\x61\x61", BAD_LENGTH),
    /* strings */
    CASE("\x72\x06"
         "abc\xe2\x82\xac",
         NULL),
    CASE("\x72\x01\xff", BAD_UTF8),
    CASE("\x72\x02\xc0\x80", BAD_UTF8),
    CASE("\x72\x03\xed\xa0\x80", BAD_UTF8),
    CASE("\x72\x04\xf4\x90\x80\x80", BAD_UTF8),
    CASE("\x72\x02\xe2\x82", BAD_UTF8),
    CASE("\x72\x01\x00", HAS_NUL),
    CASE("\x72\x0a"
         "abcdefgh\x00i",
         HAS_NUL),
    CASE("\x72\x0b"
         "\xc3\xa4"
         "bcdefgh\x00i",
         HAS_NUL),
    CASE("\x72\x0a"
         "abcdefghi\xff",
         BAD_UTF8),
    CASE("\x72\x0a"
         "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01",
         NULL),
    CASE("\x7a\x03\x00\xff\x80", NULL), /* bytes hold anything */
    CASE("\xca\x01\x01\xff", BAD_UTF8),
    CASE("\x8a\x01\x03\x0a\x01\xff", BAD_UTF8), /* in an inner message */
    CASE("\xfa\x01\x03\x0a\x01\xff", BAD_UTF8), /* key of a map */
    CASE("\xfa\x01\x03\x12\x01\x00", HAS_NUL),  /* value of a map */
    CASE("\xc2\x3e\x01\xff", NULL),             /* an unknown field may be anything */
    /* packed */
    CASE("\xaa\x01\x00", NULL),
    CASE("\xaa\x01\x03\x01\x80\x01", NULL),
    CASE("\xa8\x01\x01", NULL), /* not packed, where packed is usual */
    CASE("\xaa\x01\x02\x01\x80", CUT_VARINT),
    CASE("\xaa\x01\x0b\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", CUT_VARINT),
    CASE("\xba\x01\x08"
         "abcdefgh",
         NULL),
    CASE("\xba\x01\x07"
         "abcdefg",
         PACKED_CUT),
    CASE("\xbd\x01"
         "abcd",
         NULL),
    CASE("\xea\x01\x02\x01\x02", NULL), /* packed, where the contract says not */
    CASE("\xc2\x01\x02\x01\x00", NULL),
    CASE("\xc2\x01\x02\x01\x80", CUT_VARINT),
    /* groups in unknown fields */
    CASE("\xc3\x3e\xc4\x3e", NULL),
    CASE("\xc3\x3e\x08\x01\x12\x01\xff\x1b\x1c\xc4\x3e\x08\x01", NULL),
    CASE("\xc3\x3e", "a group is not closed"),
    CASE("\xc3\x3e\x08\x01", "a group is not closed"),
    CASE("\xc3\x3e\xcc\x3e", "a group is closed that was not opened"),
    CASE("\xc4\x3e", "a group is closed that was not opened"),
    CASE("\x8a\x01\x02\xc3\x3e\xc4\x3e",
         "a group is not closed"), /* it may not leave its message */
    CASE("\xc3\x3e\x00\xc4\x3e", "a field has the number 0"),
};

static void guard_table(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const guard_case *c = &table[i];
        const char *why = NULL;
        /* A block of the exact size: the sanitizer sees a byte read too many. */
        uint8_t *exact = weft_malloc(c->len + 1);
        memcpy(exact + 1, c->bytes, c->len);
        const int rc = weft_guard(ALL, exact + 1, c->len, NULL, &why);
        if (rc != (c->why ? WEFT_EPARSE : 0) || (c->why && strcmp(why, c->why) != 0))
            fail_msg("case %zu: %d, %s", i, rc, why ? why : "ok");
        weft_arena *arena = weft_arena_new(0);
        int error = 0;
        ProtobufCMessage *message = weft_unpack(ALL, exact + 1, c->len, NULL, arena, &error, &why);
        if (!message == !c->why) fail_msg("case %zu: unpack says %s", i, why ? why : "ok");
        weft_arena_free(arena);
        weft_free(exact);
    }
    print_message("%zu cases\n", sizeof table / sizeof *table);
}

/* A message with something of everything. */
static size_t sample(uint8_t *out) {
    Test__Pb3__Inner inner = TEST__PB3__INNER__INIT;
    Test__Pb3__All all = TEST__PB3__ALL__INIT, deep = TEST__PB3__ALL__INIT;
    Test__Pb3__All__LabelsEntry label = TEST__PB3__ALL__LABELS_ENTRY__INIT, *labels[] = {&label};
    int32_t numbers[] = {1, 300, 70000, -1};
    char *texts[] = {"alpha", "\xc3\xa4"};
    inner.name = "inner";
    inner.marks = numbers;
    inner.n_marks = 4;
    label.key = "key";
    label.value = "value";
    deep.inner = &inner;
    all.i32 = -7;
    all.u64 = UINT64_MAX;
    all.dbl = 1.5;
    all.flt = 2.5F;
    all.text = "text";
    all.data = (ProtobufCBinaryData){3, (uint8_t *)"\0\xff\x80"};
    all.self = &deep;
    all.r_text = texts;
    all.n_r_text = 2;
    all.r_i32 = numbers;
    all.n_r_i32 = 4;
    all.labels = labels;
    all.n_labels = 1;
    all.choice_case = TEST__PB3__ALL__CHOICE_PICK_INNER;
    all.pick_inner = &inner;
    return protobuf_c_message_pack(&all.base, out);
}

/* Cut off anywhere, and with any byte changed: never a crash, and what the guard lets through
 * unpacks. */
static void cut_and_changed(void **state) {
    (void)state;
    uint8_t whole[512];
    const size_t len = sample(whole);
    weft_arena *arena = weft_arena_new(0);
    const char *why = NULL;
    assert_int_equal(weft_guard(ALL, whole, len, NULL, &why), 0);
    size_t good = 0;
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *exact = weft_malloc(cut + 1);
        memcpy(exact + 1, whole, cut);
        const int rc = weft_guard(ALL, exact + 1, cut, NULL, &why);
        good += !rc;
        assert_true(!rc == !!weft_unpack(ALL, exact + 1, cut, NULL, arena, NULL, NULL));
        weft_free(exact);
    }
    assert_true(good > 5); /* the ends of top-level fields */
    for (size_t at = 0; at < len; at++) {
        const uint8_t was = whole[at];
        for (int bit = 0; bit < 8; bit++) {
            whole[at] = (uint8_t)(was ^ 1u << bit);
            const int rc = weft_guard(ALL, whole, len, NULL, NULL);
            assert_true(!rc == !!weft_unpack(ALL, whole, len, NULL, arena, NULL, NULL));
        }
        whole[at] = was;
        weft_arena_reset(arena);
    }
    weft_arena_free(arena);
}

/* `levels` messages one in the other: field 18, each with the length of the rest, built from the
 * inside. */
static uint8_t *nest(size_t levels, size_t *len) {
    const size_t room = levels * 7;
    uint8_t *bytes = weft_malloc(room + 1), *at = bytes + room;
    for (size_t i = 0; i < levels; i++) {
        size_t inside = (size_t)(bytes + room - at);
        uint8_t head[7] = {0x92, 0x01};
        size_t n = 2;
        for (; inside > 0x7f; inside >>= 7) head[n++] = (uint8_t)(inside | 0x80);
        head[n++] = (uint8_t)inside;
        at -= n;
        memcpy(at, head, n);
    }
    *len = (size_t)(bytes + room - at);
    memmove(bytes, at, *len);
    return bytes;
}

static void depth(void **state) {
    (void)state;
    static const struct {
        size_t levels;
        unsigned max;
        int rc;
    } cases[] = {
        {100, 0, 0},
        {101, 0, WEFT_ELIMIT},
        {3, 3, 0},
        {4, 3, WEFT_ELIMIT},
        {256, 1000000, 0},
        {257, 1000000, WEFT_ELIMIT},
        {16000, 0, WEFT_ELIMIT}, /* the 74 KB that end an unguarded server */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len = 0;
        uint8_t *bytes = nest(cases[i].levels, &len);
        const weft_guard_limits limits = {.max_depth = cases[i].max};
        const char *why = NULL;
        int error = 0;
        weft_arena *arena = weft_arena_new(0);
        assert_int_equal(weft_guard(ALL, bytes, len, &limits, &why), cases[i].rc);
        if (cases[i].rc) assert_string_equal(why, "messages are nested deeper than the limit");
        assert_int_equal(!weft_unpack(ALL, bytes, len, &limits, arena, &error, NULL),
                         !!cases[i].rc);
        assert_int_equal(error, cases[i].rc);
        if (cases[i].levels == 16000) assert_true(len > 74000);
        weft_arena_free(arena);
        weft_free(bytes);
    }
    /* Groups count, too. */
    uint8_t groups[400];
    for (size_t i = 0; i < 400; i += 2) memcpy(groups + i, i < 200 ? "\xc3\x3e" : "\xc4\x3e", 2);
    assert_int_equal(weft_guard(ALL, groups, 400, NULL, NULL), 0);
    const weft_guard_limits limits = {.max_depth = 99};
    assert_int_equal(weft_guard(ALL, groups, 400, &limits, NULL), WEFT_ELIMIT);
}

static void size(void **state) {
    (void)state;
    const size_t len = ((size_t)4 << 20) + 1;
    uint8_t *bytes = weft_calloc(len, 1);
    const char *why = NULL;
    memcpy(bytes, "\x7a\xfb\xff\xff\x01", 5); /* 4 MiB with its head */
    assert_int_equal(weft_guard(ALL, bytes, len - 1, NULL, &why), 0);
    assert_int_equal(weft_guard(ALL, bytes, len, NULL, &why), WEFT_ELIMIT);
    assert_string_equal(why, "the message is larger than the limit");
    const weft_guard_limits limits = {.max_bytes = 2};
    assert_int_equal(weft_guard(ALL, (const uint8_t *)"\x08\x01", 2, &limits, NULL), 0);
    assert_int_equal(weft_guard(ALL, (const uint8_t *)"\x08\x01\x08", 3, &limits, NULL),
                     WEFT_ELIMIT);
    weft_free(bytes);
}

/* Many tiny messages ask for much memory: the arena's cap ends it. */
static void memory_is_capped(void **state) {
    (void)state;
    const size_t len = 30000;
    uint8_t *bytes = weft_malloc(len);
    for (size_t i = 0; i < len; i += 3) memcpy(bytes + i, "\xe2\x01", 3); /* an empty r_inner */
    int error = 0;
    const char *why = NULL;
    weft_arena *small = weft_arena_new(100000), *large = weft_arena_new(0);
    assert_null(weft_unpack(ALL, bytes, len, NULL, small, &error, &why));
    assert_int_equal(error, WEFT_ENOMEM);
    assert_string_equal(why, "the message needs more memory than there is for it");
    Test__Pb3__All *all = (Test__Pb3__All *)weft_unpack(ALL, bytes, len, NULL, large, &error, &why);
    assert_non_null(all);
    assert_int_equal(all->n_r_inner, 10000);
    weft_arena_free(small);
    weft_arena_free(large);
    weft_free(bytes);
}

/* ---- what protobuf-c alone gets wrong ---- */

static Test__Pb3__All *unpack(weft_arena *arena, const char *bytes, size_t len) {
    const char *why = NULL;
    Test__Pb3__All *all =
        (Test__Pb3__All *)weft_unpack(ALL, (const uint8_t *)bytes, len, NULL, arena, NULL, &why);
    if (!all) fail_msg("%s", why);
    return all;
}
#define UNPACK(arena, bytes) unpack(arena, bytes, sizeof bytes - 1)

static void pieces_are_merged(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    /* inner: {name "a", marks [1]} {size 5, marks [2]} {name "b"} */
    Test__Pb3__All *all = UNPACK(arena, "\x8a\x01\x05\x0a\x01"
                                        "a\x18\x01"
                                        "\x8a\x01\x04\x10\x05\x18\x02"
                                        "\x8a\x01\x03\x0a\x01"
                                        "b");
    assert_string_equal(all->inner->name, "b");
    assert_int_equal(all->inner->size, 5);
    assert_int_equal(all->inner->n_marks, 2);
    assert_int_equal(all->inner->marks[0], 1);
    assert_int_equal(all->inner->marks[1], 2);
    /* self.inner.name, then self.inner.size: two levels down */
    all = UNPACK(arena, "\x92\x01\x06\x8a\x01\x03\x0a\x01"
                        "a"
                        "\x92\x01\x05\x8a\x01\x02\x10\x07");
    assert_string_equal(all->self->inner->name, "a");
    assert_int_equal(all->self->inner->size, 7);
    /* Both pieces without their oneof: protobuf-c refuses. */
    all = UNPACK(arena, "\x92\x01\x02\x08\x01"
                        "\x92\x01\x02\x10\x02");
    assert_int_equal(all->self->i32, 1);
    assert_int_equal(all->self->i64, 2);
    /* A message in a repeated one, given twice. */
    all = UNPACK(arena, "\x92\x01\x0a\x8a\x01\x02\x10\x01\x8a\x01\x02\x10\x02");
    assert_int_equal(all->self->inner->size, 2);
    weft_arena_free(arena);
}

static void oneofs_are_merged(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    /* pick_inner twice: merged */
    Test__Pb3__All *all = UNPACK(arena, "\xda\x02\x03\x0a\x01"
                                        "a"
                                        "\xda\x02\x02\x10\x05");
    assert_int_equal(all->choice_case, TEST__PB3__ALL__CHOICE_PICK_INNER);
    assert_string_equal(all->pick_inner->name, "a");
    assert_int_equal(all->pick_inner->size, 5);
    /* another member in between: the first is gone */
    all = UNPACK(arena, "\xda\x02\x03\x0a\x01"
                        "a"
                        "\xc8\x02\x01"
                        "\xda\x02\x02\x10\x05");
    assert_int_equal(all->choice_case, TEST__PB3__ALL__CHOICE_PICK_INNER);
    assert_string_equal(all->pick_inner->name, "");
    assert_int_equal(all->pick_inner->size, 5);
    /* another member last */
    all = UNPACK(arena, "\xda\x02\x03\x0a\x01"
                        "a"
                        "\xda\x02\x02\x10\x05"
                        "\xc8\x02\x09");
    assert_int_equal(all->choice_case, TEST__PB3__ALL__CHOICE_PICK_NUMBER);
    assert_int_equal(all->pick_number, 9);
    /* two message members, one merged with itself afterwards */
    all = UNPACK(arena, "\xf2\x02\x00"
                        "\xda\x02\x02\x10\x05"
                        "\xda\x02\x02\x10\x06"
                        "\xf2\x02\x02\x08\x00");
    assert_int_equal(all->choice_case, TEST__PB3__ALL__CHOICE_PICK_VALUE);
    weft_arena_free(arena);
}

static void groups_are_dropped(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    Test__Pb3__All *all = UNPACK(arena, "\x08\x05"
                                        "\xc3\x3e\x08\x01\x12\x01\xff\x1b\x15"
                                        "abcd\x11"
                                        "abcdefgh\x1c\xc4\x3e"
                                        "\xc8\x3e\x07"
                                        "\x10\x06");
    assert_int_equal(all->i32, 5);
    assert_int_equal(all->i64, 6);
    assert_int_equal(all->base.n_unknown_fields, 1);
    assert_int_equal(all->base.unknown_fields[0].tag, 1001);
    weft_arena_free(arena);
}

/* A message in 300,000 pieces: quadratic in protobuf-c. */
static void many_pieces(void **state) {
    (void)state;
    const size_t count = 300000;
    weft_arena *arena = weft_arena_new(0);
    uint8_t *bytes = weft_malloc(count * 5);
    for (size_t i = 0; i < count; i++) memcpy(bytes + i * 5, "\x8a\x01\x02\x18\x07", 5);
    Test__Pb3__All *all = unpack(arena, (const char *)bytes, count * 5);
    assert_int_equal(all->inner->n_marks, count);
    assert_int_equal(all->inner->marks[count - 1], 7);
    weft_free(bytes);
    weft_arena_free(arena);
}

static void required_fields(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    int error = 0;
    const char *why = NULL;
    const ProtobufCMessageDescriptor *old = &test__pb2__old__descriptor;
    assert_non_null(weft_unpack(old, (const uint8_t *)"\x08\x01", 2, NULL, arena, &error, &why));
    assert_null(weft_unpack(old, (const uint8_t *)"", 0, NULL, arena, &error, &why));
    assert_int_equal(error, WEFT_EPARSE);
    assert_string_equal(why, "a required field is missing");
    /* inner in two pieces, the required field in the second */
    Test__Pb2__Old *m = (Test__Pb2__Old *)weft_unpack(
        old, (const uint8_t *)"\x08\x01\x5a\x02\x78\x05\x5a\x02\x08\x02", 10, NULL, arena, &error,
        &why);
    assert_non_null(m);
    assert_int_equal(m->inner->id, 2);
    assert_int_equal(m->inner->number, 5);
    weft_arena_free(arena);
}

/* ---- new, copy, pack, allocator ---- */

static void new_copy_pack(void **state) {
    (void)state;
    weft_arena *arena = weft_arena_new(0);
    Test__Pb2__Old *old = (Test__Pb2__Old *)weft_message_new(arena, &test__pb2__old__descriptor);
    assert_string_equal(old->text, "a \"b\"\n");
    assert_int_equal(old->level, TEST__PB2__LEVEL__HIGH);
    assert_true(old->huge == UINT64_MAX);
    uint8_t whole[512];
    const size_t len = sample(whole);
    ProtobufCMessage *all = weft_unpack(ALL, whole, len, NULL, arena, NULL, NULL);
    ProtobufCMessage *copy = weft_message_copy(arena, all);
    assert_non_null(copy);
    assert_ptr_not_equal(all, copy);
    size_t copy_len = 0;
    uint8_t *bytes = weft_pack(arena, copy, &copy_len);
    assert_int_equal(copy_len, len);
    assert_memory_equal(bytes, whole, len);
    ProtobufCAllocator allocator = weft_arena_allocator(arena);
    ProtobufCMessage *third = protobuf_c_message_unpack(ALL, &allocator, len, whole);
    assert_non_null(third);
    protobuf_c_message_free_unpacked(third, &allocator); /* does nothing, and no harm */
    weft_arena *tiny = weft_arena_new(16);
    assert_null(weft_message_new(tiny, ALL));
    assert_null(weft_message_copy(tiny, copy));
    assert_null(weft_pack(tiny, copy, &copy_len));
    weft_arena_free(tiny);
    weft_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guard_table),
        cmocka_unit_test(cut_and_changed),
        cmocka_unit_test(depth),
        cmocka_unit_test(size),
        cmocka_unit_test(memory_is_capped),
        cmocka_unit_test(pieces_are_merged),
        cmocka_unit_test(oneofs_are_merged),
        cmocka_unit_test(groups_are_dropped),
        cmocka_unit_test(many_pieces),
        cmocka_unit_test(required_fields),
        cmocka_unit_test(new_copy_pack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
