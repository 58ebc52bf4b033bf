/* Context, paths and the builder that both parsers share. */
#include "node.h"

#include <string.h>

#include "weft/utf8.h"

/* ---- context ---- */

int pb_context_open(pb_context *context, const weft_json_options *options, const char *text,
                    size_t len, weft_diags *diags) {
    static const weft_json_options none = {.size = sizeof none};
    if (!options) options = &none;
    context->diags = diags;
    context->file = options->file;
    context->ignore_unknown = options->ignore_unknown;
    context->max_depth = options->max_depth ? options->max_depth : 100;
    if (context->max_depth > PB_NODE_DEPTH) context->max_depth = PB_NODE_DEPTH;
    const size_t max = options->max_bytes ? options->max_bytes : PB_TEXT_BYTES;
    if (len > max || len > INT32_MAX) {
        pb_report(context, NULL, 0, 0, NULL, "the text is larger than the limit of %zu bytes", max);
        return context->fatal = WEFT_ELIMIT;
    }
    const size_t valid = weft_utf8_prefix(text, len);
    if (valid != len) {
        int line = 1, column = 1;
        for (size_t i = 0; i < valid; i++) {
            if (text[i] == '\n') {
                line++;
                column = 1;
            } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
                column++;
            }
        }
        pb_report(context, NULL, line, column, NULL, "the text is not valid UTF-8");
        return WEFT_EPARSE;
    }
    return 0;
}

int pb_context_result(const pb_context *context) {
    if (context->fatal) return context->fatal;
    return context->errors ? WEFT_EPARSE : 0;
}

void *pb_scratch(pb_context *context, size_t count, size_t size) {
    void *block = weft_arena_calloc(context->nodes, count, size);
    if (!block) context->fatal = WEFT_ENOMEM;
    return block;
}

/* ---- paths ---- */

static bool is_word(const char *text) {
    if (!*text || (*text >= '0' && *text <= '9')) return false;
    for (; *text; text++)
        if (!((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
              (*text >= '0' && *text <= '9') || *text == '_' || *text == '-' || *text == '@'))
            return false;
    return true;
}

void pb_path_text(const pb_path *path, weft_buf *out) {
    if (!path) return;
    pb_path_text(path->up, out); /* as deep as the document, which is bounded */
    if (!path->key) {
        weft_buf_printf(out, "[%zu]", path->index);
    } else if (is_word(path->key)) {
        if (out->len) weft_buf_addc(out, '.');
        weft_buf_adds(out, path->key);
    } else {
        weft_buf_adds(out, "[\"");
        weft_buf_add_json(out, path->key, strnlen(path->key, 200));
        weft_buf_adds(out, "\"]");
    }
}

void pb_report(pb_context *context, const pb_path *path, int line, int column, const char *hint,
               const char *format, ...) {
    context->errors++;
    if (!context->diags) return;
    weft_buf where, text;
    weft_buf_init(&where, 64u << 10);
    weft_buf_init(&text, 64u << 10);
    pb_path_text(path, &where);
    va_list args;
    va_start(args, format);
    weft_buf_vprintf(&text, format, args);
    va_end(args);
    (void)weft_diag_add(context->diags, context->file, line, column,
                        where.len ? weft_buf_str(&where) : NULL, hint, "%s", weft_buf_str(&text));
    weft_buf_free(&where);
    weft_buf_free(&text);
}

/* ---- building ---- */

const pb_path *pb_builder_path(const pb_builder *b, pb_path *room) {
    const pb_path *up = NULL;
    for (unsigned i = 0; i < b->depth; i++) {
        const pb_node *inside = i + 1 < b->depth ? b->open[i + 1].node : NULL;
        const pb_node *in = b->open[i].node;
        const char *key = inside ? inside->key : b->key;
        if (in->kind == PB_OBJECT && !key) break; /* between two keys */
        /* An open child is counted already. */
        room[i] = (pb_path){.up = up,
                            .key = in->kind == PB_OBJECT ? key : NULL,
                            .index = in->count - (inside ? 1 : 0)};
        up = &room[i];
    }
    return up;
}

static void report_here(pb_builder *b, int line, int column, const char *hint, const char *text) {
    pb_path room[PB_NODE_DEPTH];
    pb_report(b->context, pb_builder_path(b, room), line, column, hint, "%s", text);
}

/* A new node in its place in the tree. */
static pb_node *attach(pb_builder *b, pb_node_kind kind, int line, int column) {
    pb_node *node = pb_scratch(b->context, 1, sizeof *node);
    if (!node) return NULL;
    *node = (pb_node){.kind = (uint8_t)kind, .line = line, .column = column};
    b->last = node;
    if (!b->depth) {
        b->root = node;
        return node;
    }
    pb_node *parent = b->open[b->depth - 1].node;
    if (parent->kind == PB_OBJECT) {
        node->key = b->key;
        node->key_line = b->key_line;
        node->key_column = b->key_column;
        b->key = NULL;
    }
    *b->open[b->depth - 1].tail = node;
    b->open[b->depth - 1].tail = &node->next;
    parent->count++;
    return node;
}

/* A copy that ends in '\0'. */
static const char *copy_text(pb_builder *b, const char *text, size_t len, int line, int column) {
    char *copy = weft_arena_alloc(b->context->nodes, len + 1);
    if (!copy) {
        b->context->fatal = WEFT_ENOMEM;
        return NULL;
    }
    if (len) memcpy(copy, text, len);
    copy[len] = '\0';
    if (memchr(copy, 0, len))
        report_here(b, line, column, "encode binary data as bytes, in base64",
                    "a string holds the character U+0000, which strings in C cannot");
    return copy;
}

bool pb_build_scalar(pb_builder *b, pb_node_kind kind, const char *text, size_t len, int line,
                     int column) {
    const char *copy = copy_text(b, text, len, line, column);
    pb_node *node = copy ? attach(b, kind, line, column) : NULL;
    if (!node) return false;
    node->text = copy;
    node->count = (uint32_t)len;
    node->truth = kind == PB_BOOL && (*text == 't' || *text == 'T');
    return true;
}

bool pb_build_key(pb_builder *b, const char *text, size_t len, int line, int column) {
    b->key = copy_text(b, text, len, line, column);
    b->key_line = line;
    b->key_column = column;
    return b->key;
}

bool pb_build_open(pb_builder *b, pb_node_kind kind, int line, int column) {
    if (b->depth >= b->context->max_depth) {
        report_here(b, line, column, NULL, "values are nested deeper than the limit");
        b->context->fatal = WEFT_ELIMIT;
        return false;
    }
    pb_node *node = attach(b, kind, line, column);
    if (!node) return false;
    b->open[b->depth].node = node;
    b->open[b->depth++].tail = &node->first;
    return true;
}

static void report_twice(pb_builder *b, const pb_node *node, const pb_node *before) {
    b->key = node->key;
    pb_path room[PB_NODE_DEPTH];
    const pb_path *path = pb_builder_path(b, room);
    b->key = NULL;
    pb_report(b->context, path, node->key_line, node->key_column, NULL,
              "the key is given twice, first in line %d", before->key_line);
}

#define FEW_KEYS 8u

static void check_keys(pb_builder *b, const pb_node *object) {
    if (object->count <= FEW_KEYS) {
        for (const pb_node *n = object->first; n; n = n->next)
            for (const pb_node *m = object->first; m != n; m = m->next)
                if (!strcmp(n->key, m->key)) {
                    report_twice(b, n, m);
                    break;
                }
        return;
    }
    weft_map met;
    weft_map_init(&met, object->count);
    for (pb_node *n = object->first; n; n = n->next) {
        const int rc = weft_map_add(&met, n->key, n);
        if (rc == WEFT_EEXIST) {
            report_twice(b, n, weft_map_get(&met, n->key));
        } else if (rc) {
            b->context->fatal = rc;
            break;
        }
    }
    weft_map_free(&met, NULL);
}

bool pb_build_close(pb_builder *b) {
    const pb_node *node = b->open[b->depth - 1].node;
    if (node->kind == PB_OBJECT) check_keys(b, node);
    b->depth--;
    return !b->context->fatal;
}
