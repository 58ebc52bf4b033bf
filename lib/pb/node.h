/* What a JSON or YAML text says, before anyone asks what type it is. Both parsers build this tree,
 * one converter reads it. Private to lib/pb. */
#ifndef PB_NODE_H
#define PB_NODE_H

#include "registry.h"

/* Containers nest at most this deep whatever the options say: the converter recurses. */
#define PB_NODE_DEPTH 256u
#define PB_TEXT_BYTES ((size_t)16 << 20)

typedef enum pb_node_kind {
    PB_NULL,
    PB_BOOL,
    PB_NUMBER,
    PB_STRING,
    PB_LIST,
    PB_OBJECT,
} pb_node_kind;

/* Lines and columns are 1-based; columns count characters. Texts end in '\0', hold no other and are
 * valid UTF-8. A number's text is one by the grammar of JSON, or "NaN", "Infinity", "-Infinity"
 * from YAML. */
typedef struct pb_node {
    uint8_t kind;
    bool truth;     /* of PB_BOOL */
    bool plain;     /* YAML: written without quotes */
    uint32_t count; /* children, or bytes of text */
    int line, column;
    union {
        const char *text;      /* PB_NUMBER, PB_STRING; YAML: what was written, for all scalars */
        struct pb_node *first; /* PB_LIST, PB_OBJECT */
    };
    struct pb_node *next;
    const char *key; /* inside an object */
    int key_line, key_column;
} pb_node;

/* One decoding: where memory comes from, where problems go. */
typedef struct pb_context {
    const weft_registry *registry;
    const char *file;
    weft_diags *diags;
    weft_arena *arena; /* what the caller keeps */
    weft_arena *nodes; /* the tree and other things that die with the decoding */
    unsigned max_depth;
    bool ignore_unknown;
    bool yaml;
    size_t errors;
    int fatal; /* WEFT_ENOMEM or WEFT_ELIMIT: nothing more is worth doing */
} pb_context;

/* Fills in everything but the arenas from `options` (may be NULL) and refuses a text that is too
 * large or not UTF-8. */
int pb_context_open(pb_context *context, const weft_json_options *options, const char *text,
                    size_t len, weft_diags *diags);
/* The outcome: 0, WEFT_EPARSE, or what was fatal. */
int pb_context_result(const pb_context *context);
/* Memory that dies with the decoding; zeroed. */
void *pb_scratch(pb_context *context, size_t count, size_t size);

/* Where in the document: a chain from the inside out. */
typedef struct pb_path {
    const struct pb_path *up;
    const char *key; /* NULL: an index */
    size_t index;
} pb_path;

/* Reports a problem at a place. `path` NULL: the document itself. */
void pb_report(pb_context *context, const pb_path *path, int line, int column, const char *hint,
               const char *format, ...) WEFT_PRINTF(6, 7);
/* "spec.rules[2].name" */
void pb_path_text(const pb_path *path, weft_buf *out);

/* ---- building ---- */

typedef struct pb_builder {
    pb_context *context;
    pb_node *root, *last; /* made last */
    unsigned depth;
    struct {
        pb_node *node;
        pb_node **tail;
    } open[PB_NODE_DEPTH];
    const char *key; /* the key whose value comes next */
    int key_line, key_column;
} pb_builder;

/* Each returns false when parsing must stop (context->fatal is set). A string's bytes are checked
 * for NUL and copied; a key's too. */
bool pb_build_scalar(pb_builder *b, pb_node_kind kind, const char *text, size_t len, int line,
                     int column);
bool pb_build_key(pb_builder *b, const char *text, size_t len, int line, int column);
bool pb_build_open(pb_builder *b, pb_node_kind kind, int line, int column);
/* Closes the innermost container; reports keys given twice. */
bool pb_build_close(pb_builder *b);
/* Path of what comes next; valid until the next call. `room` needs b->depth + 1 elements. */
const pb_path *pb_builder_path(const pb_builder *b, pb_path *room);

/* Parses one JSON text. The root, or NULL with problems reported. */
pb_node *pb_json_parse(pb_context *context, const char *text, size_t len);

/* ---- converting ---- */

ProtobufCMessage *pb_convert(pb_context *context, const weft_type *type, const pb_node *node,
                             const pb_path *path);

#endif
