#include "sidecar/telemetry/span.h"

#include <string.h>

#include "weft/mem.h"

#define PAGE ((size_t)16 << 10)

const char *const span_text_names[SPAN_TEXT_COUNT] = {
#define X(id, name) [SPAN_##id] = name,
    SPAN_TEXTS(X)
#undef X
};

/* Records one behind the other, from `read` to `used`. */
typedef struct page {
    struct page *next;
    size_t used, read;
    char data[PAGE];
} page;

/* A span as it waits: this, then its texts without ends. `size` is that of the whole, aligned. */
typedef struct record {
    uint32_t size;
    uint16_t lengths[SPAN_TEXT_COUNT];
    span span;
} record;

/* The largest record must fit on a page. */
_Static_assert(sizeof(record) + SPAN_TEXT_COUNT * SPAN_TEXT_MAX + 16 <= PAGE, "page too small");

struct span_buffer {
    page *first, *last;
    size_t bytes, max;
    size_t waiting;
    uint64_t added, dropped;
};

bool span_sample(const uint8_t trace_id[16], double ratio) {
    uint64_t low = 0;
    if (ratio >= 1) return true;
    if (!(ratio > 0)) return false;
    for (int i = 8; i < 16; i++) low = low << 8 | trace_id[i];
    /* 63 bits, as the OpenTelemetry SDKs compare. */
    return (double)(low >> 1) < ratio * 9223372036854775808.0;
}

span_buffer *span_buffer_new(size_t max_bytes) {
    span_buffer *b = weft_calloc(1, sizeof *b);
    if (!b) return NULL;
    b->max = max_bytes ? max_bytes : SPAN_BUFFER_DEFAULT;
    if (b->max < sizeof(page)) b->max = sizeof(page);
    return b;
}

static void drop_first(span_buffer *b) {
    page *gone = b->first;
    b->first = gone->next;
    if (!b->first) b->last = NULL;
    b->bytes -= sizeof *gone;
    weft_free(gone);
}

void span_buffer_free(span_buffer *b) {
    if (!b) return;
    while (b->first) drop_first(b);
    weft_free(b);
}

/* Where `size` bytes go; NULL when the buffer is full. */
static char *room_for(span_buffer *b, size_t size) {
    if (!b->last || PAGE - b->last->used < size) {
        if (b->bytes + sizeof(page) > b->max) return NULL;
        page *made = weft_malloc(sizeof *made);
        if (!made) return NULL;
        made->next = NULL;
        made->used = made->read = 0;
        if (b->last)
            b->last->next = made;
        else
            b->first = made;
        b->last = made;
        b->bytes += sizeof *made;
    }
    char *at = b->last->data + b->last->used;
    b->last->used += size;
    return at;
}

bool span_buffer_add(span_buffer *b, const span *s) {
    size_t size = sizeof(record);
    for (int i = 0; i < SPAN_TEXT_COUNT; i++)
        if (s->texts[i].text)
            size += s->texts[i].len < SPAN_TEXT_MAX ? s->texts[i].len : SPAN_TEXT_MAX;
    size = (size + 7) & ~(size_t)7;
    char *at = room_for(b, size);
    if (!at) {
        b->dropped++;
        return false;
    }
    record head = {.size = (uint32_t)size, .span = *s};
    char *text = at + sizeof head;
    for (int i = 0; i < SPAN_TEXT_COUNT; i++) {
        const uint16_t len = s->texts[i].text ? s->texts[i].len : 0;
        head.lengths[i] = len < SPAN_TEXT_MAX ? len : SPAN_TEXT_MAX;
        if (len) memcpy(text, s->texts[i].text, head.lengths[i]);
        text += head.lengths[i];
    }
    memcpy(at, &head, sizeof head);
    b->added++;
    b->waiting++;
    return true;
}

size_t span_buffer_drain(span_buffer *b, size_t max, bool (*take)(void *user, const span *s),
                         void *user) {
    size_t count = 0;
    while (b->first && (!max || count < max)) {
        page *p = b->first;
        if (p->read == p->used) {
            drop_first(b);
            continue;
        }
        record head;
        memcpy(&head, p->data + p->read, sizeof head);
        const char *text = p->data + p->read + sizeof head;
        for (int i = 0; i < SPAN_TEXT_COUNT; i++) {
            head.span.texts[i].text = head.lengths[i] ? text : NULL;
            head.span.texts[i].len = head.lengths[i];
            text += head.lengths[i];
        }
        if (!take(user, &head.span)) break;
        p->read += head.size;
        b->waiting--;
        count++;
    }
    while (b->first && b->first->read == b->first->used) drop_first(b);
    return count;
}

span_stats span_buffer_stats(const span_buffer *b) {
    return (span_stats){b->waiting, b->bytes, b->added, b->dropped};
}
