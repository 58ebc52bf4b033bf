/* Wire bytes that are right by the specification but that protobuf-c decodes wrongly or not at all.
 *
 * - A singular message given more than once means the merge of all its pieces. protobuf-c merges in
 *   a way that loses scalars, fails when a oneof is unset in both, replaces where members of oneofs
 *   should merge, and copies every repeated field once a piece: quadratic. Concatenating the
 *   pieces' bytes is the merge, by definition, so that is what happens here.
 * - Groups inside unknown fields: protobuf-c refuses the whole message. They are dropped.
 *
 * Only messages in which the guard saw one of the two come here. The bytes have passed the guard:
 * nothing is checked again. Recursion is bounded by the guard's depth. */
#include "guard.h"

#include <string.h>

#include "weft/mem.h"

#define NO_PIECE UINT32_MAX

/* One occurrence of a singular message field. */
typedef struct piece {
    const uint8_t *data;
    size_t len;
    uint32_t next; /* the next of the same field */
} piece;

/* The state of one message. `heads[2 * i]` and `heads[2 * i + 1]` are the first and last piece of
 * field i. */
typedef struct level {
    const ProtobufCMessageDescriptor *type;
    uint32_t *heads; /* NULL until the first piece */
    piece *pieces;
    uint32_t count, room;
    const ProtobufCFieldDescriptor *in_oneof; /* the member of some oneof met last */
} level;

static int rewrite(const ProtobufCMessageDescriptor *type, const piece *pieces, uint32_t first,
                   weft_buf *out);

static int add_piece(level *l, unsigned index, const uint8_t *data, size_t len) {
    if (!l->heads) {
        l->heads = weft_malloc(l->type->n_fields * 2 * sizeof *l->heads);
        if (!l->heads) return WEFT_ENOMEM;
        memset(l->heads, 0xff, l->type->n_fields * 2 * sizeof *l->heads);
    }
    if (l->count == l->room) {
        const uint32_t room = l->room ? l->room * 2 : 8;
        piece *grown = weft_realloc(l->pieces, room * sizeof *grown);
        if (!grown) return WEFT_ENOMEM;
        l->pieces = grown;
        l->room = room;
    }
    uint32_t *head = &l->heads[2 * index];
    if (head[0] == NO_PIECE)
        head[0] = l->count;
    else
        l->pieces[head[1]].next = l->count;
    head[1] = l->count;
    l->pieces[l->count++] = (piece){.data = data, .len = len, .next = NO_PIECE};
    return 0;
}

/* A member of a oneof was met: what was gathered for the other members is gone. */
static void switch_oneof(level *l, const ProtobufCFieldDescriptor *member) {
    if (member == l->in_oneof) return;
    l->in_oneof = member;
    if (!l->heads) return;
    for (unsigned i = 0; i < l->type->n_fields; i++) {
        const ProtobufCFieldDescriptor *other = &l->type->fields[i];
        if (other != member && other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
            other->quantifier_offset == member->quantifier_offset)
            l->heads[2 * i] = NO_PIECE;
    }
}

/* Skips an unknown group whose start tag was just read. */
static void skip_group(const uint8_t **at, const uint8_t *end) {
    for (unsigned depth = 1; depth;) {
        uint64_t tag = 0, value = 0;
        (void)pb_varint(at, end, 5, &tag);
        switch (tag & 7) {
        case PB_VARINT:
            (void)pb_varint(at, end, 10, &value);
            break;
        case PB_FIXED64:
            *at += 8;
            break;
        case PB_FIXED32:
            *at += 4;
            break;
        case PB_BYTES:
            (void)pb_varint(at, end, 5, &value);
            *at += value;
            break;
        case PB_GROUP:
            depth++;
            break;
        default:
            depth--;
        }
    }
}

/* The tag and a length of five bytes, filled in later by end_message. Returns where. */
static size_t begin_message(weft_buf *out, uint32_t number) {
    uint8_t head[10];
    size_t n = 0;
    uint64_t tag = (uint64_t)number << 3 | PB_BYTES;
    for (; tag > 0x7f; tag >>= 7) head[n++] = (uint8_t)(tag | 0x80);
    head[n++] = (uint8_t)tag;
    memcpy(head + n, "\x80\x80\x80\x80\x00", 5);
    weft_buf_add(out, head, n + 5);
    return out->len;
}

static void end_message(weft_buf *out, size_t start) {
    if (out->error) return;
    size_t len = out->len - start;
    for (unsigned i = 0; i < 5; i++, len >>= 7)
        out->data[start - 5 + i] = (char)((len & 0x7f) | (i < 4 ? 0x80 : 0));
}

/* Copies or gathers the fields of one stretch of the message. */
static int scan(level *l, const uint8_t *at, const uint8_t *end, weft_buf *out) {
    unsigned hint = 0;
    while (at < end) {
        const uint8_t *start = at;
        uint64_t tag = 0, value = 0;
        (void)pb_varint(&at, end, 5, &tag);
        const ProtobufCFieldDescriptor *field = pb_find_field(l->type, (uint32_t)(tag >> 3), hint);
        if (field) hint = (unsigned)(field - l->type->fields);
        if (field && field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) switch_oneof(l, field);
        switch (tag & 7) {
        case PB_VARINT:
            (void)pb_varint(&at, end, 10, &value);
            break;
        case PB_FIXED64:
            at += 8;
            break;
        case PB_FIXED32:
            at += 4;
            break;
        case PB_BYTES:
            (void)pb_varint(&at, end, 5, &value);
            at += value;
            break;
        default:
            skip_group(&at, end);
            continue;
        }
        if (!field || field->type != PROTOBUF_C_TYPE_MESSAGE) {
            weft_buf_add(out, start, (size_t)(at - start));
            continue;
        }
        int rc = 0;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            const piece one = {.data = at - value, .len = (size_t)value, .next = NO_PIECE};
            const size_t where = begin_message(out, field->id);
            rc = rewrite(field->descriptor, &one, 0, out);
            end_message(out, where);
        } else {
            rc = add_piece(l, hint, at - value, (size_t)value);
        }
        if (rc) return rc;
    }
    return 0;
}

/* Writes the message whose bytes are the pieces from `first` on. */
static int rewrite(const ProtobufCMessageDescriptor *type, const piece *pieces, uint32_t first,
                   weft_buf *out) {
    level l = {.type = type};
    int rc = 0;
    for (uint32_t i = first; i != NO_PIECE && !rc; i = pieces[i].next)
        rc = scan(&l, pieces[i].data, pieces[i].data + pieces[i].len, out);
    for (unsigned i = 0; l.heads && i < type->n_fields && !rc; i++) {
        if (l.heads[2 * i] == NO_PIECE) continue;
        const size_t where = begin_message(out, type->fields[i].id);
        rc = rewrite(type->fields[i].descriptor, l.pieces, l.heads[2 * i], out);
        end_message(out, where);
    }
    weft_free(l.heads);
    weft_free(l.pieces);
    return rc ? rc : out->error;
}

int pb_normalise(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len,
                 weft_buf *out) {
    const piece whole = {.data = data, .len = len, .next = NO_PIECE};
    return rewrite(type, &whole, 0, out);
}
