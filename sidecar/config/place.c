/* Where in the text a path is: problems that are found after decoding have lines, too. The tree of
 * the text is walked along the path, both spellings of names being one ("connect_timeout",
 * "connectTimeout"). Fields of a google.protobuf.Any's message stand beside its "@type", so a path
 * goes on through it. */
#include "lib/pb/node.h"
#include "sidecar/config/build.h"

struct config_place {
    const pb_node *root;
};

const config_place *config_place_new(weft_arena *arena, const char *text, size_t len) {
    const weft_json_options options = {.size = sizeof options};
    weft_yaml_document **documents = NULL;
    size_t count = 0;
    config_place *place = weft_arena_calloc(arena, 1, sizeof *place);
    if (!place || weft_yaml_documents(text, len, &options, arena, &documents, &count, NULL))
        return NULL;
    if (!count) return NULL;
    /* Its first member is the root: see lib/pb/yaml.c. */
    place->root = *(const pb_node *const *)(const void *)documents[0];
    return place;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* One name in snake or camel case? */
static bool same_name(const char *a, const char *b) {
    for (;; a++, b++) {
        while (*a == '_') a++;
        while (*b == '_') b++;
        if (lower(*a) != lower(*b)) return false;
        if (!*a) return true;
    }
}

void config_place_find(const config_place *place, const build_step *steps, size_t count, int *line,
                       int *column) {
    const pb_node *at = place->root;
    *line = at->line;
    *column = at->column;
    for (size_t i = 0; i < count; i++) {
        const bool keyed = steps[i].key != NULL;
        if (at->kind != (keyed ? PB_OBJECT : PB_LIST)) return;
        const pb_node *next = at->first;
        if (keyed)
            while (next && !same_name(next->key, steps[i].key)) next = next->next;
        else
            for (size_t k = 0; next && k < steps[i].index; k++) next = next->next;
        if (!next) return;
        *line = keyed ? next->key_line : next->line;
        *column = keyed ? next->key_column : next->column;
        at = next;
    }
}
