/* Where things are and what their comments say: SourceCodeInfo, indexed by path. */
#include <string.h>

#include "tools/codegen/cg.h"
#include "weft/utf8.h"

static char *path_key(weft_arena *arena, const int32_t *path, size_t count) {
    weft_buf key;
    weft_buf_init(&key, 0);
    for (size_t i = 0; i < count; i++) weft_buf_printf(&key, i ? ",%d" : "%d", (int)path[i]);
    if (key.error) cg_out_of_memory();
    char *copy = cg_strdup(arena, weft_buf_str(&key));
    weft_buf_free(&key);
    return copy;
}

void cg_index_locations(cg_gen *gen, cg_file *file) {
    file->locations.arena = gen->arena;
    const Google__Protobuf__SourceCodeInfo *info = file->d->source_code_info;
    for (size_t i = 0; info && i < info->n_location; i++) {
        pb_location *at = info->location[i];
        if (at->n_path <= 64)
            cg_table_put(&file->locations, path_key(gen->arena, at->path, at->n_path), at);
    }
}

const pb_location *cg_location(const cg_file *file, const char *path) {
    return path ? cg_table_get(&file->locations, path) : NULL;
}

cg_place cg_place_of(const cg_file *file, const char *path) {
    cg_place place = {file->d->name, 0, 0};
    const pb_location *at = cg_location(file, path);
    if (at && at->n_span >= 3 && at->span[0] >= 0 && at->span[0] < INT32_MAX && at->span[1] >= 0 &&
        at->span[1] < INT32_MAX) {
        place.line = at->span[0] + 1;
        place.column = at->span[1] + 1;
    }
    return place;
}

/* Characters that reorder text, against which gcc warns and readers should not be fooled by. */
static bool reorders(uint32_t c) {
    return (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x200e ||
           c == 0x200f;
}

/* One line, without what would end the comment, begin another or join lines. */
static void add_line(weft_buf *out, const char *text, size_t len) {
    char before = '\0', first = '\0';
    for (size_t i = 0; i < len;) {
        uint32_t point;
        int n = weft_utf8_decode(text + i, len - i, &point);
        size_t size = (size_t)(n < 0 ? -n : n);
        char c = n == 1 ? text[i] : 'x';
        if (n < 0 || reorders(point)) {
            weft_buf_adds(out, "\xef\xbf\xbd");
        } else if (n > 1) {
            weft_buf_add(out, text + i, size);
        } else {
            if ((before == '*' && c == '/') || (before == '/' && c == '*') ||
                (first == '?' && before == '?' && c == '/'))
                weft_buf_addc(out, ' ');
            weft_buf_addc(out, (unsigned char)c < 0x20 || c == 0x7f ? ' ' : c);
        }
        first = before;
        before = c;
        i += size;
    }
    if (before == '\\') weft_buf_addc(out, '.');
}

static void add_text(weft_buf *out, const char *indent, const char *text, bool *open) {
    while (*text) {
        size_t len = strcspn(text, "\n");
        size_t end = len;
        while (end > 0 && strchr(" \t\r", text[end - 1])) end--;
        bool last = text[len] == '\0' || text[len + 1] == '\0';
        if (!(last && end == 0)) {
            if (*open)
                weft_buf_printf(out, "\n%s *", indent);
            else
                weft_buf_printf(out, "%s/*", indent);
            *open = true;
            if (end && text[0] != ' ' && text[0] != '\t') weft_buf_addc(out, ' ');
            add_line(out, text, end);
        }
        text += len + (text[len] == '\n');
    }
}

void cg_emit_comment(weft_buf *out, const char *indent, const cg_file *file, const char *path) {
    const pb_location *at = cg_location(file, path);
    if (!at) return;
    bool open = false;
    if (at->leading_comments) add_text(out, indent, at->leading_comments, &open);
    if (at->trailing_comments) add_text(out, indent, at->trailing_comments, &open);
    if (open) weft_buf_adds(out, " */\n");
}
