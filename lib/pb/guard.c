/* The walk over wire bytes that everything received passes before protobuf-c sees it.
 *
 * protobuf-c 1.4 recurses without bound, checks neither UTF-8 nor NUL, and stops at the first thing
 * it dislikes after it has allocated for all before it. The walk keeps its own stack, allocates
 * nothing and touches each byte at most twice. */
#include "guard.h"

#include <limits.h>
#include <string.h>

#include "weft/utf8.h"

/* One open message or group. `type` is NULL inside a group: nothing there is known. */
typedef struct frame {
    const ProtobufCMessageDescriptor *type;
    const uint8_t *end;
    uint64_t seen[2]; /* singular message fields met, by index; the last bit stands for all above */
    uint32_t group;   /* field number that must close it; 0: a message */
    unsigned hint;    /* fields mostly come in order */
} frame;

#define SEEN_LAST 127u

/* Wire type of each ProtobufCType. */
static const uint8_t wire_of[] = {
    [PROTOBUF_C_TYPE_INT32] = PB_VARINT,     [PROTOBUF_C_TYPE_SINT32] = PB_VARINT,
    [PROTOBUF_C_TYPE_SFIXED32] = PB_FIXED32, [PROTOBUF_C_TYPE_INT64] = PB_VARINT,
    [PROTOBUF_C_TYPE_SINT64] = PB_VARINT,    [PROTOBUF_C_TYPE_SFIXED64] = PB_FIXED64,
    [PROTOBUF_C_TYPE_UINT32] = PB_VARINT,    [PROTOBUF_C_TYPE_FIXED32] = PB_FIXED32,
    [PROTOBUF_C_TYPE_UINT64] = PB_VARINT,    [PROTOBUF_C_TYPE_FIXED64] = PB_FIXED64,
    [PROTOBUF_C_TYPE_FLOAT] = PB_FIXED32,    [PROTOBUF_C_TYPE_DOUBLE] = PB_FIXED64,
    [PROTOBUF_C_TYPE_BOOL] = PB_VARINT,      [PROTOBUF_C_TYPE_ENUM] = PB_VARINT,
    [PROTOBUF_C_TYPE_STRING] = PB_BYTES,     [PROTOBUF_C_TYPE_BYTES] = PB_BYTES,
    [PROTOBUF_C_TYPE_MESSAGE] = PB_BYTES,
};

/* In the ranges of consecutive numbers, sorted; one more marks the end of the last. */
static const ProtobufCFieldDescriptor *search(const ProtobufCMessageDescriptor *type,
                                              uint32_t number) {
    const ProtobufCIntRange *ranges = type->field_ranges;
    unsigned low = 0, high = type->n_field_ranges;
    while (low < high) {
        const unsigned mid = low + (high - low) / 2;
        const uint32_t start = (uint32_t)ranges[mid].start_value;
        const uint32_t count = ranges[mid + 1].orig_index - ranges[mid].orig_index;
        if (number < start)
            high = mid;
        else if (number - start >= count)
            low = mid + 1;
        else
            return &type->fields[ranges[mid].orig_index + (number - start)];
    }
    return NULL;
}

static inline const ProtobufCFieldDescriptor *find(const ProtobufCMessageDescriptor *type,
                                                   uint32_t number, unsigned hint) {
    if (!type->n_field_ranges) return NULL;
    /* Most messages number their fields from 1 on. */
    const ProtobufCIntRange *first = type->field_ranges;
    if (number - (uint32_t)first->start_value < first[1].orig_index)
        return &type->fields[number - (uint32_t)first->start_value];
    if (hint < type->n_fields && type->fields[hint].id == number) return &type->fields[hint];
    if (hint + 1 < type->n_fields && type->fields[hint + 1].id == number)
        return &type->fields[hint + 1];
    return search(type, number);
}

const ProtobufCFieldDescriptor *pb_find_field(const ProtobufCMessageDescriptor *type,
                                              uint32_t number, unsigned hint) {
    return find(type, number, hint);
}

bool pb_long_varint(const uint8_t **at, const uint8_t *end, unsigned max, uint64_t *value) {
    const uint8_t *p = *at;
    uint64_t sum = 0;
    for (unsigned i = 0; i < max && p < end; i++) {
        const uint8_t b = *p++;
        sum |= (uint64_t)(b & 0x7f) << (7 * i);
        if (!(b & 0x80)) {
            *at = p;
            *value = sum;
            return !(i == 9 && b > 1);
        }
    }
    return false;
}

static int fail(const char **why, int error, const char *text) {
    if (why) *why = text;
    return error;
}

#define TOO_DEEP "messages are nested deeper than the limit"
#define BAD_VARINT "a number is cut off or longer than 64 bits"

/* Whether a byte of `word` is 0 or above 0x7f. Borrows make it say so only when one is. */
static inline bool odd_byte(uint64_t word) {
    const uint64_t high = 0x8080808080808080u, ones = 0x0101010101010101u;
    return (word | (word - ones)) & high;
}

static inline uint64_t load(const uint8_t *at, size_t size) {
    uint64_t word = 0x0101010101010101u; /* bytes not loaded are not odd */
    memcpy(&word, at, size);
    return word;
}

/* Whether all is ASCII without NUL: eight bytes at a time, the last ones twice. */
static inline bool is_plain(const uint8_t *at, size_t len) {
    if (len >= 8) {
        for (size_t i = 0; len - i > 8; i += 8)
            if (odd_byte(load(at + i, 8))) return false;
        return !odd_byte(load(at + len - 8, 8));
    }
    if (len >= 4) return !odd_byte(load(at, 4)) && !odd_byte(load(at + len - 4, 4));
    for (size_t i = 0; i < len; i++)
        if (!at[i] || at[i] >= 0x80) return false;
    return true;
}

static int check_odd_string(const uint8_t *at, size_t len, const char **why) {
    if (memchr(at, 0, len)) return fail(why, WEFT_EPARSE, "a string holds a NUL byte");
    if (!weft_utf8_valid(at, len)) return fail(why, WEFT_EPARSE, "a string is not valid UTF-8");
    return 0;
}

static int check_packed(ProtobufCType type, const uint8_t *at, size_t len, const char **why) {
    const uint8_t *end = at + len;
    switch (wire_of[type]) {
    case PB_FIXED32:
        return len % 4 ? fail(why, WEFT_EPARSE, "a packed field ends inside a number") : 0;
    case PB_FIXED64:
        return len % 8 ? fail(why, WEFT_EPARSE, "a packed field ends inside a number") : 0;
    default:
        while (at < end) {
            uint64_t value;
            if (!pb_varint(&at, end, 10, &value)) return fail(why, WEFT_EPARSE, BAD_VARINT);
        }
        return 0;
    }
}

/* True when this singular message field was met before in this message, or may have been. */
static inline bool seen_before(frame *f, const ProtobufCFieldDescriptor *field) {
    unsigned index = (unsigned)(field - f->type->fields);
    if (index > SEEN_LAST) index = SEEN_LAST;
    uint64_t *word = &f->seen[index / 64];
    const uint64_t bit = (uint64_t)1 << (index % 64);
    const bool was = *word & bit;
    *word |= bit;
    return was;
}

/* What opens a level: pushed by the walk when `len` is not NONE. */
typedef struct opening {
    const ProtobufCMessageDescriptor *type;
    size_t len;
} opening;
#define NONE SIZE_MAX

/* A length-delimited value of `len` bytes at `at`. */
static inline int check_bytes(frame *f, const ProtobufCFieldDescriptor *field, const uint8_t *at,
                              size_t len, opening *open, unsigned *flags, const char **why) {
    if (!field) return 0;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return is_plain(at, len) ? 0 : check_odd_string(at, len, why);
    case PROTOBUF_C_TYPE_BYTES:
        return 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        if (field->label != PROTOBUF_C_LABEL_REPEATED && seen_before(f, field))
            *flags |= PB_WALK_NORMALISE;
        *open = (opening){.type = field->descriptor, .len = len};
        return 0;
    default:
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            return check_packed(field->type, at, len, why);
        return fail(why, WEFT_EPARSE, "a field has another wire type than its contract says");
    }
}

/* Steps over the value of one field at *at. */
static inline int step(frame *f, const uint8_t **at, uint32_t number, unsigned wire, opening *open,
                       unsigned *flags, const char **why) {
    const ProtobufCFieldDescriptor *field = f->type ? find(f->type, number, f->hint) : NULL;
    const size_t left = (size_t)(f->end - *at);
    uint64_t value = 0;
    if (field) {
        f->hint = (unsigned)(field - f->type->fields);
        if (wire != PB_BYTES && wire_of[field->type] != wire)
            return fail(why, WEFT_EPARSE, "a field has another wire type than its contract says");
    }
    switch (wire) {
    case PB_VARINT:
        if (!pb_varint(at, f->end, 10, &value)) return fail(why, WEFT_EPARSE, BAD_VARINT);
        return 0;
    case PB_FIXED64:
        if (left < 8) return fail(why, WEFT_EPARSE, "the message is cut off inside a number");
        *at += 8;
        return 0;
    case PB_FIXED32:
        if (left < 4) return fail(why, WEFT_EPARSE, "the message is cut off inside a number");
        *at += 4;
        return 0;
    case PB_BYTES:
        if (!pb_varint(at, f->end, 5, &value) || value > (uint64_t)(f->end - *at) ||
            value > INT_MAX)
            return fail(why, WEFT_EPARSE, "a length reaches beyond the end of its message");
        const uint8_t *bytes = *at;
        *at += value;
        return check_bytes(f, field, bytes, (size_t)value, open, flags, why);
    default:
        return fail(why, WEFT_EPARSE, "a field has an unknown wire type");
    }
}

static inline int read_tag(const uint8_t **at, const uint8_t *end, uint32_t *number, unsigned *wire,
                           const char **why) {
    uint64_t tag = 0;
    if (!pb_varint(at, end, 5, &tag) || tag > UINT32_MAX)
        return fail(why, WEFT_EPARSE, "a field number is cut off or above 536870911");
    *number = (uint32_t)tag >> 3;
    *wire = (unsigned)tag & 7;
    if (!*number) return fail(why, WEFT_EPARSE, "a field has the number 0");
    return 0;
}

static inline void open_frame(frame *f, const ProtobufCMessageDescriptor *type, const uint8_t *end,
                              uint32_t group) {
    f->type = type;
    f->end = end;
    f->seen[0] = f->seen[1] = 0;
    f->group = group;
    f->hint = 0;
}

int pb_guard_walk(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len,
                  const weft_guard_limits *limits, unsigned *flags, const char **why) {
    const size_t max_bytes = limits && limits->max_bytes ? limits->max_bytes : PB_DEFAULT_BYTES;
    unsigned max_depth = limits && limits->max_depth ? limits->max_depth : PB_DEFAULT_DEPTH;
    if (max_depth > PB_DEPTH_MAX) max_depth = PB_DEPTH_MAX;
    *flags = 0;
    if (len > max_bytes || len > INT_MAX)
        return fail(why, WEFT_ELIMIT, "the message is larger than the limit");
    if (!len) return 0; /* data may be NULL, and NULL + 0 is undefined in C */

    frame stack[PB_DEPTH_MAX + 1];
    unsigned depth = 0;
    frame *f = stack;
    const uint8_t *at = data;
    open_frame(f, type, data + len, 0);
    for (;;) {
        while (at == f->end && !f->group) {
            if (!depth) return 0;
            f = &stack[--depth];
        }
        if (at == f->end) return fail(why, WEFT_EPARSE, "a group is not closed");
        uint32_t number = 0;
        unsigned wire = 0;
        int rc = read_tag(&at, f->end, &number, &wire, why);
        if (rc) return rc;
        if (wire == PB_GROUP_END) {
            if (f->group != number)
                return fail(why, WEFT_EPARSE, "a group is closed that was not opened");
            f = &stack[--depth];
            continue;
        }
        opening open = {.len = NONE};
        if (wire == PB_GROUP) {
            if (f->type && pb_find_field(f->type, number, f->hint))
                return fail(why, WEFT_EPARSE,
                            "a field has another wire type than its contract says");
            if (depth == max_depth) return fail(why, WEFT_ELIMIT, TOO_DEEP);
            *flags |= PB_WALK_NORMALISE;
            const uint8_t *end = f->end;
            f = &stack[++depth];
            open_frame(f, NULL, end, number);
            continue;
        }
        rc = step(f, &at, number, wire, &open, flags, why);
        if (rc) return rc;
        if (open.len == NONE) continue;
        if (depth == max_depth) return fail(why, WEFT_ELIMIT, TOO_DEEP);
        const uint8_t *end = at;
        at -= open.len;
        f = &stack[++depth];
        open_frame(f, open.type, end, 0);
    }
}

int weft_guard(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len,
               const weft_guard_limits *limits, const char **why) {
    unsigned flags;
    return pb_guard_walk(type, data, len, limits, &flags, why);
}
