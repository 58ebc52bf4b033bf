/* JSON text to nodes, through yajl.
 *
 * yajl finds the tokens; what it is lax about is checked here against the text itself: it replaces
 * lone surrogates by '?', says nothing about depth, and does not check its own allocations, so that
 * a failing one would be a NULL written to: those leave by longjmp, past yajl, which holds nothing
 * but memory. */
#include "node.h"

#include <setjmp.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "weft/mem.h"

/* Blocks handed to yajl, in a ring so that each can leave it. */
typedef struct link {
    struct link *before, *after;
} link;

typedef struct block {
    link ring; /* first */
    size_t size;
    _Alignas(16) unsigned char bytes[];
} block;

typedef struct parser {
    pb_builder b;
    yajl_handle yajl;
    const char *text;
    size_t len;
    size_t end;     /* of the last token */
    bool finishing; /* yajl works on text of its own */
    size_t at;      /* line and column are of this offset */
    int line, column;
    link blocks;
    jmp_buf out_of_memory;
} parser;

/* ---- memory ---- */

static void *take(void *user, size_t size) {
    parser *p = user;
    block *made = size < SIZE_MAX / 2 ? weft_malloc(sizeof *made + size) : NULL;
    if (!made) longjmp(p->out_of_memory, 1);
    made->size = size;
    made->ring.before = &p->blocks;
    made->ring.after = p->blocks.after;
    made->ring.after->before = &made->ring;
    p->blocks.after = &made->ring;
    return made->bytes;
}

static void give(void *user, void *bytes) {
    (void)user;
    if (!bytes) return;
    block *gone = (block *)((unsigned char *)bytes - offsetof(block, bytes));
    gone->ring.before->after = gone->ring.after;
    gone->ring.after->before = gone->ring.before;
    weft_free(gone);
}

static void *retake(void *user, void *bytes, size_t size) {
    void *made = take(user, size);
    if (!bytes) return made;
    const block *old = (const block *)((unsigned char *)bytes - offsetof(block, bytes));
    memcpy(made, bytes, old->size < size ? old->size : size);
    give(user, bytes);
    return made;
}

/* ---- places ---- */

/* Moves line and column to an offset. */
static void seek(parser *p, size_t offset) {
    for (; p->at < offset; p->at++) {
        const unsigned char c = (unsigned char)p->text[p->at];
        if (c == '\n') {
            p->line++;
            p->column = 1;
        } else if ((c & 0xc0) != 0x80) {
            p->column++;
        }
    }
}

/* Finds the token that yajl just read: from the end of the last, past what makes no event. */
static size_t token(parser *p) {
    const size_t end = p->finishing ? p->len : yajl_get_bytes_consumed(p->yajl);
    size_t start = p->end;
    while (start < end && strchr(" \t\r\n,:", p->text[start])) start++;
    if (start >= end && start) start = end - 1;
    seek(p, start);
    p->end = end;
    return start;
}

/* ---- events ---- */

static int on_null(void *user) {
    parser *p = user;
    token(p);
    return pb_build_scalar(&p->b, PB_NULL, "null", 4, p->line, p->column);
}

static int on_bool(void *user, int value) {
    parser *p = user;
    token(p);
    return pb_build_scalar(&p->b, PB_BOOL, value ? "true" : "false", value ? 4 : 5, p->line,
                           p->column);
}

static int on_number(void *user, const char *text, size_t len) {
    parser *p = user;
    token(p);
    return pb_build_scalar(&p->b, PB_NUMBER, text, len, p->line, p->column);
}

static unsigned hex4(const char *at) {
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        const unsigned c = (unsigned char)at[i];
        value = value << 4 | (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

/* Half a pair of \u escapes, which yajl would make a '?', in the token from `start` to p->end. */
static void check_surrogates(parser *p, size_t start) {
    const size_t end = p->end;
    bool high = false, lone = false;
    for (size_t i = start; i < end;) {
        const bool escape = p->text[i] == '\\' && i + 1 < end;
        const bool unicode = escape && p->text[i + 1] == 'u' && i + 6 <= end;
        const unsigned unit = unicode ? hex4(p->text + i + 2) : 0;
        const bool low = unit >= 0xdc00 && unit <= 0xdfff;
        lone |= high != low;
        high = unit >= 0xd800 && unit <= 0xdbff;
        i += unicode ? 6 : escape ? 2 : 1;
    }
    if (!lone && !high) return;
    pb_path room[PB_NODE_DEPTH];
    pb_report(p->b.context, pb_builder_path(&p->b, room), p->line, p->column, NULL,
              "a string holds half of a surrogate pair");
}

static int on_string(void *user, const unsigned char *text, size_t len) {
    parser *p = user;
    check_surrogates(p, token(p));
    return pb_build_scalar(&p->b, PB_STRING, (const char *)text, len, p->line, p->column);
}

static int on_key(void *user, const unsigned char *text, size_t len) {
    parser *p = user;
    check_surrogates(p, token(p));
    return pb_build_key(&p->b, (const char *)text, len, p->line, p->column);
}

static int on_object(void *user) {
    parser *p = user;
    token(p);
    return pb_build_open(&p->b, PB_OBJECT, p->line, p->column);
}

static int on_list(void *user) {
    parser *p = user;
    token(p);
    return pb_build_open(&p->b, PB_LIST, p->line, p->column);
}

static int on_close(void *user) {
    parser *p = user;
    token(p);
    return pb_build_close(&p->b);
}

/* ---- */

static void report_error(parser *p) {
    char *said = (char *)yajl_get_error(p->yajl, 0, NULL, 0);
    token(p);
    const char *rule = strchr(said, ':');
    rule = rule ? rule + 1 + strspn(rule + 1, " ") : said;
    size_t len = strcspn(rule, "\n");
    if (len && rule[len - 1] == '.') len--;
    if (!strncmp(rule, "premature EOF", len)) {
        seek(p, p->len);
        pb_report(p->b.context, NULL, p->line, p->column, NULL,
                  "malformed JSON: the text ends too early");
    } else {
        pb_report(p->b.context, NULL, p->line, p->column, NULL, "malformed JSON: %.*s", (int)len,
                  rule);
    }
    yajl_free_error(p->yajl, (unsigned char *)said);
}

/* Everything that allocates through yajl. */
static void run(parser *p) {
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_bool,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_object,
        .yajl_map_key = on_key,
        .yajl_end_map = on_close,
        .yajl_start_array = on_list,
        .yajl_end_array = on_close,
    };
    yajl_alloc_funcs memory = {.malloc = take, .realloc = retake, .free = give, .ctx = p};
    p->yajl = yajl_alloc(&callbacks, &memory, p);
    yajl_status status = yajl_parse(p->yajl, (const unsigned char *)p->text, p->len);
    if (status == yajl_status_ok) {
        p->finishing = true;
        status = yajl_complete_parse(p->yajl);
    }
    if (status == yajl_status_error) report_error(p);
    if (status != yajl_status_ok) p->b.root = NULL;
    yajl_free(p->yajl);
}

/* Vertical tab and form feed: blanks to yajl, not to JSON, whose strings cannot hold them either. */
static bool has_odd_blank(parser *p) {
    for (size_t i = 0; i < p->len; i++) {
        if (p->text[i] != '\v' && p->text[i] != '\f') continue;
        seek(p, i);
        pb_report(p->b.context, NULL, p->line, p->column, NULL,
                  "malformed JSON: invalid char in json text");
        return true;
    }
    return false;
}

pb_node *pb_json_parse(pb_context *context, const char *text, size_t len) {
    parser *p = pb_scratch(context, 1, sizeof *p);
    if (!p) return NULL;
    p->b.context = context;
    p->text = text;
    p->len = len;
    p->line = p->column = 1;
    p->blocks.before = p->blocks.after = &p->blocks;
    if (has_odd_blank(p)) return NULL;
    if (!setjmp(p->out_of_memory)) {
        run(p);
    } else {
        context->fatal = WEFT_ENOMEM;
        p->b.root = NULL;
    }
    while (p->blocks.after != &p->blocks) give(p, ((block *)p->blocks.after)->bytes);
    return p->b.root;
}
