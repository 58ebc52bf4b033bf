/* YAML text to messages, through libyaml's events and the nodes that JSON uses.
 *
 * Of YAML only what has a counterpart in JSON is taken. Anchors, aliases and merge keys are
 * refused: they make small texts large, and what a reader sees is not what is meant. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "node.h"
#include "yaml_scalar.h"

struct weft_yaml_document {
    const pb_node *root;
    int line, column;
    const char *file;
    bool ignore_unknown;
};

typedef struct reader {
    pb_builder b;
    yaml_parser_t yaml;
    bool in_key;   /* a scalar that comes now is a key */
    unsigned skip; /* inside a key that is no scalar: how deep */
    bool empty;    /* the document's only node is an empty plain scalar */
} reader;

static void report(reader *r, const yaml_mark_t *at, const char *hint, const char *text) {
    pb_path room[PB_NODE_DEPTH];
    pb_report(r->b.context, pb_builder_path(&r->b, room), (int)at->line + 1, (int)at->column + 1,
              hint, "%s", text);
}

static void report_anchor(reader *r, const yaml_event_t *event, const yaml_char_t *anchor) {
    if (anchor)
        report(r, &event->start_mark, "write the value out where it is needed",
               "anchors (&) are not supported");
}

/* ---- tags ---- */

#define CORE "tag:yaml.org,2002:"

/* Whether an explicit tag is one of the core schema's, given after "tag:yaml.org,2002:" in `known`.
 */
static const char *core_tag(reader *r, const yaml_event_t *event, const yaml_char_t *tag,
                            const char *const *known) {
    const char *text = (const char *)tag;
    if (!text || !strcmp(text, "!")) return "";
    if (!strncmp(text, CORE, sizeof CORE - 1))
        for (; *known; known++)
            if (!strcmp(text + sizeof CORE - 1, *known)) return *known;
    report(r, &event->start_mark, "remove it", "this tag (!) is not supported");
    return "";
}

/* ---- scalars ---- */

/* Whether keys come next: the innermost container is a mapping. */
static bool in_mapping(const reader *r) {
    return r->b.depth && r->b.open[r->b.depth - 1].node->kind == PB_OBJECT;
}

static bool take_key(reader *r, const yaml_event_t *event) {
    const char *text = (const char *)event->data.scalar.value;
    const int line = (int)event->start_mark.line + 1, column = (int)event->start_mark.column + 1;
    r->in_key = false;
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !strcmp(text, "<<"))
        report(r, &event->start_mark, "write the fields out", "merge keys (<<) are not supported");
    return pb_build_key(&r->b, text, event->data.scalar.length, line, column);
}

static bool take_plain(reader *r, const yaml_event_t *event, const char *tag) {
    const char *text = (const char *)event->data.scalar.value;
    const size_t len = event->data.scalar.length;
    const int line = (int)event->start_mark.line + 1, column = (int)event->start_mark.column + 1;
    char few[64];
    char *number = len + PB_YAML_NUMBER <= sizeof few
                       ? few
                       : pb_scratch(r->b.context, len + PB_YAML_NUMBER, 1);
    if (!number) return false;
    const pb_node_kind kind = pb_yaml_plain(text, len, number);
    static const char *const wants[] = {
        [PB_NULL] = "null", [PB_BOOL] = "bool", [PB_NUMBER] = "int"};
    if (*tag && (kind == PB_STRING ||
                 (strcmp(tag, wants[kind]) != 0 && !(kind == PB_NUMBER && !strcmp(tag, "float")))))
        report(r, &event->start_mark, NULL, "the value is not what its tag (!!) says");
    if (!r->b.depth) r->empty = !len;
    if (!pb_build_scalar(&r->b, kind, kind == PB_NUMBER ? number : text,
                         kind == PB_NUMBER ? strlen(number) : len, line, column))
        return false;
    r->b.last->plain = true;
    return true;
}

static bool take_scalar(reader *r, const yaml_event_t *event) {
    static const char *const known[] = {"str", "int", "float", "bool", "null", NULL};
    report_anchor(r, event, event->data.scalar.anchor);
    const char *tag = core_tag(r, event, event->data.scalar.tag, known);
    const bool plain =
        event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && event->data.scalar.plain_implicit;
    const bool typed = *tag && strcmp(tag, "str") != 0;
    if (r->in_key) return take_key(r, event);
    r->in_key = in_mapping(r);
    if (plain || typed) return take_plain(r, event, tag);
    return pb_build_scalar(&r->b, PB_STRING, (const char *)event->data.scalar.value,
                           event->data.scalar.length, (int)event->start_mark.line + 1,
                           (int)event->start_mark.column + 1);
}

/* ---- containers ---- */

/* A mapping or list used as a key: reported, and stepped over together with its value. */
static bool complex_key(reader *r, const yaml_event_t *event) {
    report(r, &event->start_mark, NULL, "a key must be a plain or quoted scalar");
    r->skip = 1;
    return true;
}

static bool open_node(reader *r, const yaml_event_t *event, pb_node_kind kind) {
    static const char *const map[] = {"map", NULL}, *const seq[] = {"seq", NULL};
    const bool object = kind == PB_OBJECT;
    report_anchor(r, event,
                  object ? event->data.mapping_start.anchor : event->data.sequence_start.anchor);
    core_tag(r, event, object ? event->data.mapping_start.tag : event->data.sequence_start.tag,
             object ? map : seq);
    if (r->in_key) return complex_key(r, event);
    r->in_key = object;
    return pb_build_open(&r->b, kind, (int)event->start_mark.line + 1,
                         (int)event->start_mark.column + 1);
}

static bool close_node(reader *r) {
    const bool good = pb_build_close(&r->b);
    r->in_key = in_mapping(r);
    return good;
}

/* Inside a key that is no scalar. Its value is read as that of an empty key, which the report
 * explains. */
static bool skip_event(reader *r, const yaml_event_t *event) {
    if (event->type == YAML_MAPPING_START_EVENT || event->type == YAML_SEQUENCE_START_EVENT)
        r->skip++;
    if (event->type == YAML_MAPPING_END_EVENT || event->type == YAML_SEQUENCE_END_EVENT) r->skip--;
    if (r->skip) return true;
    r->in_key = false;
    return pb_build_key(&r->b, "", 0, (int)event->start_mark.line + 1,
                        (int)event->start_mark.column + 1);
}

static bool take_alias(reader *r, const yaml_event_t *event) {
    report(r, &event->start_mark, "write the value out", "aliases (*) are not supported");
    const int line = (int)event->start_mark.line + 1, column = (int)event->start_mark.column + 1;
    if (r->in_key) {
        r->in_key = false;
        return pb_build_key(&r->b, "*", 1, line, column);
    }
    r->in_key = in_mapping(r);
    return pb_build_scalar(&r->b, PB_NULL, "*", 1, line, column);
}

static bool take_event(reader *r, const yaml_event_t *event) {
    if (r->skip) return skip_event(r, event);
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return take_scalar(r, event);
    case YAML_MAPPING_START_EVENT:
        return open_node(r, event, PB_OBJECT);
    case YAML_SEQUENCE_START_EVENT:
        return open_node(r, event, PB_LIST);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        return close_node(r);
    case YAML_ALIAS_EVENT:
        return take_alias(r, event);
    default:
        return true;
    }
}

/* ---- streams ---- */

static void report_syntax(reader *r) {
    const yaml_parser_t *y = &r->yaml;
    const char *problem = y->problem ? y->problem : "the text cannot be read";
    if (y->error == YAML_MEMORY_ERROR) {
        r->b.context->fatal = WEFT_ENOMEM;
        return;
    }
    if (y->context && y->context_mark.line != y->problem_mark.line)
        pb_report(r->b.context, NULL, (int)y->problem_mark.line + 1,
                  (int)y->problem_mark.column + 1, NULL, "malformed YAML: %s (%s in line %d)",
                  problem, y->context, (int)y->context_mark.line + 1);
    else
        pb_report(r->b.context, NULL, (int)y->problem_mark.line + 1,
                  (int)y->problem_mark.column + 1, NULL, "malformed YAML: %s", problem);
}

/* One event. False at the end or when reading must stop. */
static bool next_event(reader *r, yaml_event_t *event) {
    if (yaml_parser_parse(&r->yaml, event)) return true;
    report_syntax(r);
    return false;
}

/* A document up to its end, with its root in r->b. */
static bool read_document(reader *r) {
    for (;;) {
        yaml_event_t event;
        if (!next_event(r, &event)) return false;
        const bool end = event.type == YAML_DOCUMENT_END_EVENT;
        const bool good = end || take_event(r, &event);
        yaml_event_delete(&event);
        if (end) return true;
        if (!good) return false;
    }
}

/* Keeps a document that says anything. */
static bool keep(reader *r, weft_yaml_document ***list, size_t *count, size_t *cap,
                 const weft_json_options *options) {
    pb_context *context = r->b.context;
    if (!r->b.root || r->empty) return true;
    if (*count == *cap) {
        const size_t room = *cap ? *cap * 2 : 4;
        weft_yaml_document **grown = weft_arena_alloc(context->nodes, room * sizeof(void *));
        if (grown && *count) memcpy(grown, *list, *count * sizeof(void *));
        if (!grown) context->fatal = WEFT_ENOMEM;
        if (!grown) return false;
        *list = grown;
        *cap = room;
    }
    weft_yaml_document *made = pb_scratch(context, 1, sizeof *made);
    if (!made) return false;
    *made = (weft_yaml_document){.root = r->b.root,
                                 .line = r->b.root->line,
                                 .column = r->b.root->column,
                                 .ignore_unknown = options && options->ignore_unknown};
    if (context->file) made->file = weft_arena_strdup(context->nodes, context->file);
    if (context->file && !made->file) context->fatal = WEFT_ENOMEM;
    (*list)[(*count)++] = made;
    return !context->fatal;
}

/* All documents into context->nodes. */
static void read_stream(pb_context *context, const char *text, size_t len,
                        const weft_json_options *options, weft_yaml_document ***list,
                        size_t *count) {
    reader *r = pb_scratch(context, 1, sizeof *r);
    size_t cap = 0;
    if (!r) return;
    if (!yaml_parser_initialize(&r->yaml)) {
        context->fatal = WEFT_ENOMEM;
        return;
    }
    yaml_parser_set_encoding(&r->yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->yaml, (const unsigned char *)text, len);
    for (;;) {
        yaml_event_t event;
        r->b = (pb_builder){.context = context};
        r->in_key = r->empty = false;
        r->skip = 0;
        if (!next_event(r, &event)) break;
        const yaml_event_type_t type = event.type;
        yaml_event_delete(&event);
        if (type == YAML_STREAM_END_EVENT) break;
        if (type != YAML_DOCUMENT_START_EVENT) continue;
        if (!read_document(r) || !keep(r, list, count, &cap, options)) break;
    }
    yaml_parser_delete(&r->yaml);
}

/* ---- */

int weft_yaml_documents(const char *text, size_t len, const weft_json_options *options,
                        weft_arena *arena, weft_yaml_document ***documents, size_t *count,
                        weft_diags *diags) {
    pb_context context = {.arena = arena, .nodes = arena, .yaml = true};
    weft_yaml_document **list = NULL;
    size_t found = 0;
    int rc = pb_context_open(&context, options, text, len, diags);
    if (!rc) {
        read_stream(&context, text, len, options, &list, &found);
        rc = pb_context_result(&context);
    }
    if (!rc) {
        *documents = list;
        *count = found;
    }
    return rc;
}

void weft_yaml_document_where(const weft_yaml_document *document, int *line, int *column) {
    *line = document->line;
    *column = document->column;
}

const char *weft_yaml_document_string(const weft_yaml_document *document, const char *path,
                                      int *line, int *column) {
    const pb_node *at = document->root;
    while (at && *path) {
        const size_t len = strcspn(path, ".");
        const pb_node *next = at->kind == PB_OBJECT ? at->first : NULL;
        while (next && (strncmp(next->key, path, len) != 0 || next->key[len])) next = next->next;
        at = next;
        path += len + (path[len] == '.');
    }
    if (!at || at->kind != PB_STRING) return NULL;
    if (line) *line = at->line;
    if (column) *column = at->column;
    return at->text;
}

/* Whether a key of `len` bytes names the same field: lower camel case and underscores are one. */
static bool same_key(const char *key, const char *name, size_t len) {
    size_t i = 0;
    for (;; key++, i++) {
        while (*key == '_') key++;
        while (i < len && name[i] == '_') i++;
        if (i == len || !*key) return i == len && !*key;
        if (tolower((unsigned char)*key) != tolower((unsigned char)name[i])) return false;
    }
}

/* The child that the first step of a path leads to; NULL when there is none. */
static const pb_node *child(const pb_node *at, const char **path) {
    if (**path == '[') {
        char *end = NULL;
        unsigned long index = strtoul(*path + 1, &end, 10);
        if (at->kind != PB_LIST || end == *path + 1 || *end != ']') return NULL;
        *path = end + 1;
        for (at = at->first; at && index; index--) at = at->next;
        return at;
    }
    const size_t len = strcspn(*path, ".[");
    const char *name = *path;
    *path += len;
    if (at->kind != PB_OBJECT) return NULL;
    const pb_node *near = NULL;
    for (at = at->first; at; at = at->next) {
        if (strncmp(at->key, name, len) == 0 && !at->key[len]) return at;
        if (!near && same_key(at->key, name, len)) near = at;
    }
    return near;
}

bool weft_yaml_document_place(const weft_yaml_document *document, const char *path, int *line,
                              int *column) {
    const pb_node *at = document->root, *next = at;
    while (next && *path) {
        if (*path == '.') path++;
        next = child(at, &path);
        if (next) at = next;
    }
    *line = at->line;
    *column = at->column;
    return next;
}

int weft_yaml_document_decode(const weft_registry *registry, const weft_type *type,
                              const weft_yaml_document *document, weft_arena *arena,
                              ProtobufCMessage **out, weft_diags *diags) {
    pb_context context = {.registry = registry,
                          .file = document->file,
                          .diags = diags,
                          .arena = arena,
                          .nodes = weft_arena_new(0),
                          .ignore_unknown = document->ignore_unknown,
                          .yaml = true};
    if (!context.nodes) return WEFT_ENOMEM;
    ProtobufCMessage *message = pb_convert(&context, type, document->root, NULL);
    int rc = pb_context_result(&context);
    if (!rc && !message) rc = WEFT_EINTERNAL;
    if (!rc) *out = message;
    weft_arena_free(context.nodes);
    return rc;
}

int weft_yaml_decode(const weft_registry *registry, const weft_type *type, const char *text,
                     size_t len, const weft_json_options *options, weft_arena *arena,
                     ProtobufCMessage **out, weft_diags *diags) {
    pb_context context = {
        .registry = registry, .arena = arena, .nodes = weft_arena_new(0), .yaml = true};
    weft_yaml_document **list = NULL;
    size_t count = 0;
    if (!context.nodes) return WEFT_ENOMEM;
    ProtobufCMessage *message = NULL;
    int rc = pb_context_open(&context, options, text, len, diags);
    if (!rc) {
        read_stream(&context, text, len, options, &list, &count);
        if (!context.fatal && !context.errors && !count)
            pb_report(&context, NULL, 1, 1, NULL, "the text holds no document");
        if (count > 1)
            pb_report(&context, NULL, list[1]->line, list[1]->column, "split the file",
                      "there is a second document, one is expected");
        /* What a malformed text meant is not known; of all others every problem is reported. */
        if (!context.fatal && count) message = pb_convert(&context, type, list[0]->root, NULL);
        rc = pb_context_result(&context);
    }
    if (!rc && !message) rc = WEFT_EINTERNAL;
    if (!rc) *out = message;
    weft_arena_free(context.nodes);
    return rc;
}
