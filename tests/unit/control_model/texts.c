#include "tests/unit/control_model/texts.h"

#include <stdio.h>
#include <string.h>

char *texts_read(weft_arena *arena, const char *path) {
    weft_buf text;
    weft_buf_init(&text, 0);
    const int rc = weft_buf_read_file(&text, path);
    char *copy = rc ? NULL : weft_arena_strdup(arena, weft_buf_str(&text));
    if (rc) fprintf(stderr, "%s cannot be read\n", path);
    weft_buf_free(&text);
    return copy;
}

const model_set *texts_parse(weft_arena *arena, const weft_registry *registry, const char *text,
                             const model_set *base) {
    const model_text one = {.file = "mesh.yaml", .text = text, .len = strlen(text)};
    const model_set *set = NULL;
    weft_diags diags;
    weft_diags_init(&diags, arena, 0);
    if (!model_parse(registry, &one, 1, base, arena, &set, &diags)) return set;
    weft_diags_print(&diags, stderr);
    return NULL;
}

char *texts_replace(weft_arena *arena, const char *text, const char *find, const char *replace) {
    const char *at = strstr(text, find);
    if (at && !strstr(at + 1, find))
        return weft_arena_printf(arena, "%.*s%s%s", (int)(at - text), text, replace,
                                 at + strlen(find));
    fprintf(stderr, "not exactly once in the text: %s\n", find);
    return NULL;
}
