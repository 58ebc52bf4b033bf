/* protoc's standard error, line by line: what it says twice is said once, names become paths
 * that an editor opens, and where something can be done about it, that is said too. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/codegen/cg.h"
#include "tools/codegen/cli.h"

#define MAX_SCANNED 4000 /* files looked at to suggest something */

typedef struct words {
    cli *c;
    cg_table missing; /* imports that were not found */
    cg_table broken;  /* files with an error of their own */
    cg_table said;    /* lines */
    cli_names files;  /* all .proto files below the import folders: names as in imports */
    cli_names paths;  /* and their paths */
    bool scanned;
} words;

typedef struct line {
    const char *file; /* as imports name it, or NULL */
    int line, column;
    const char *text;
} line;

/* "FILE:LINE:COLUMN: TEXT" or "FILE: TEXT". */
static line split(cli *c, const char *text) {
    line l = {NULL, 0, 0, text};
    for (const char *p = strchr(text, ':'); p; p = strchr(p + 1, ':')) {
        char *end;
        long number = strtol(p + 1, &end, 10);
        if (end == p + 1 || *end != ':' || number < 0 || !isdigit((unsigned char)p[1])) continue;
        char *last;
        long column = strtol(end + 1, &last, 10);
        if (last == end + 1 || *last != ':') continue;
        l.file = cg_strndup(c->arena, text, (size_t)(p - text));
        l.line = (int)number;
        l.column = (int)column;
        l.text = last + 1 + (last[1] == ' ');
        return l;
    }
    const char *colon = strstr(text, ".proto: ");
    if (colon && text[0] != '-' && text[0] != '[') {
        l.file = cg_strndup(c->arena, text, (size_t)(colon + 6 - text));
        l.text = colon + 8;
    }
    return l;
}

static bool starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with) {
    size_t len = strlen(text), n = strlen(with);
    return len >= n && strcmp(text + len - n, with) == 0;
}

/* What stands between the first two quotes. */
static const char *quoted(cli *c, const char *text) {
    const char *from = strchr(text, '"');
    const char *to = from ? strchr(from + 1, '"') : NULL;
    return to ? cg_strndup(c->arena, from + 1, (size_t)(to - from - 1)) : NULL;
}

/* The path of the file that imports call `name`. */
static const char *path_of(cli *c, const char *name) {
    for (size_t i = 0; name && i < c->roots.count; i++) {
        const char *path = cli_join(c, c->roots.items[i], name);
        if (access(path, F_OK) == 0) return path;
    }
    return name;
}

/* ---- suggestions ----------------------------------------------------------------------------- */

static void scan(words *w) {
    if (w->scanned) return;
    w->scanned = true;
    for (size_t i = 0; i < w->c->roots.count; i++) {
        const char *root = w->c->roots.items[i];
        if (starts(root, "/usr/")) continue;
        cli_names found = {0};
        cli_walk(w->c, root, ".proto", MAX_SCANNED, &found);
        for (size_t k = 0; k < found.count && w->files.count < MAX_SCANNED; k++) {
            const char *path = found.items[k];
            size_t skip = strcmp(root, ".") == 0 ? 0 : strlen(root) + 1;
            cli_add(w->c, &w->files, path + skip);
            cli_add(w->c, &w->paths, path);
        }
    }
}

static const char *last_part(const char *text, char separator) {
    const char *last = strrchr(text, separator);
    return last ? last + 1 : text;
}

const char *cli_suggest_file(cli *c, const char *name, const cli_names *files) {
    const char **stems = cg_alloc(c->arena, files->count + 1, sizeof(*stems));
    for (size_t i = 0; i < files->count; i++) stems[i] = cg_strip_proto(c->arena, files->items[i]);
    const char *guess = weft_suggest(cg_strip_proto(c->arena, name), stems, files->count);
    for (size_t i = 0; i < files->count && guess; i++)
        if (stems[i] == guess) return files->items[i];
    return NULL;
}

/* Types whose import is often forgotten. */
static const struct {
    const char *type, *file;
} well_known[] = {
    {"Any", "google/protobuf/any.proto"},
    {"Duration", "google/protobuf/duration.proto"},
    {"Empty", "google/protobuf/empty.proto"},
    {"FieldMask", "google/protobuf/field_mask.proto"},
    {"Struct", "google/protobuf/struct.proto"},
    {"Value", "google/protobuf/struct.proto"},
    {"ListValue", "google/protobuf/struct.proto"},
    {"Timestamp", "google/protobuf/timestamp.proto"},
    {"StringValue", "google/protobuf/wrappers.proto"},
    {"BytesValue", "google/protobuf/wrappers.proto"},
    {"BoolValue", "google/protobuf/wrappers.proto"},
    {"Int32Value", "google/protobuf/wrappers.proto"},
    {"Int64Value", "google/protobuf/wrappers.proto"},
    {"UInt32Value", "google/protobuf/wrappers.proto"},
    {"UInt64Value", "google/protobuf/wrappers.proto"},
    {"FloatValue", "google/protobuf/wrappers.proto"},
    {"DoubleValue", "google/protobuf/wrappers.proto"},
    {"(pb_c_file)", "protobuf-c/protobuf-c.proto"},
};

static const char *import_hint(words *w, const char *name) {
    cli *c = w->c;
    scan(w);
    cli_names all = {0};
    for (size_t i = 0; i < w->files.count; i++) cli_add(c, &all, w->files.items[i]);
    for (size_t i = 0; i < WEFT_COUNT(well_known); i++) cli_add(c, &all, well_known[i].file);
    const char *guess = cli_suggest_file(c, name, &all);
    for (size_t i = 0; i < w->files.count && !guess; i++) /* right name, wrong folder */
        if (strcmp(last_part(w->files.items[i], '/'), last_part(name, '/')) == 0)
            guess = w->files.items[i];
    if (guess) return cg_printf(c->arena, "did you mean \"%s\"?", guess);
    const char *searched = "";
    for (size_t i = 0; i < c->roots.count; i++)
        searched =
            cg_printf(c->arena, "%s%s%s", searched, *searched ? ", " : "", c->roots.items[i]);
    return cg_printf(c->arena, "searched %s and protoc's own folder; -I adds another", searched);
}

/* The names of messages and enums declared in a file, roughly: for a suggestion. */
static void types_of(words *w, const char *path, cli_names *names) {
    weft_buf text;
    weft_buf_init(&text, 4u << 20);
    if (weft_buf_read_file(&text, path)) {
        weft_buf_free(&text);
        return;
    }
    static const char *const kinds[] = {"message", "enum"};
    const char *all = weft_buf_str(&text);
    for (size_t k = 0; k < 2; k++)
        for (const char *p = strstr(all, kinds[k]); p; p = strstr(p + 1, kinds[k])) {
            const char *name = p + strlen(kinds[k]);
            if ((p > all && !isspace((unsigned char)p[-1]) && !strchr("{};", p[-1])) ||
                !isspace((unsigned char)*name))
                continue;
            name += strspn(name, " \t\r\n");
            size_t len =
                strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
            const char *brace = name + len + strspn(name + len, " \t\r\n");
            if (len && *brace == '{') cli_add(w->c, names, cg_strndup(w->c->arena, name, len));
        }
    weft_buf_free(&text);
}

static const char *type_hint(words *w, const char *file, const char *type) {
    cli *c = w->c;
    const char *word = last_part(type, '.');
    for (size_t i = 0; i < WEFT_COUNT(well_known) && starts(type, "google.protobuf."); i++)
        if (strcmp(word, well_known[i].type) == 0)
            return cg_printf(c->arena, "import \"%s\";", well_known[i].file);
    cli_names own = {0}, all = {0};
    types_of(w, path_of(c, file), &own);
    scan(w);
    for (size_t i = 0; i < w->files.count; i++) {
        cli_names names = {0};
        types_of(w, w->paths.items[i], &names);
        for (size_t k = 0; k < names.count; k++) {
            if (strcmp(names.items[k], word) == 0 && strcmp(w->files.items[i], file) != 0)
                return cg_printf(
                    c->arena,
                    "%s is declared in \"%s\": import that, and write the name with its package",
                    word, w->files.items[i]);
            cli_add(c, &all, names.items[k]);
        }
    }
    const char *guess = weft_suggest(word, own.items, own.count);
    if (!guess) guess = weft_suggest(word, all.items, all.count);
    return guess ? cg_printf(c->arena, "did you mean %s?", guess)
                 : "declare it, or import the file that does";
}

static const char *hint_for(words *w, const line *l) {
    if (ends(l->text, "is not defined.")) {
        const char *type = quoted(w->c, l->text);
        return type ? type_hint(w, l->file, type) : NULL;
    }
    static const struct {
        const char *text, *hint;
    } known[] = {
        {"JSON camel-case name", "rename one of them, or give it a json_name"},
        {"(pb_c_file)\" unknown", "import \"protobuf-c/protobuf-c.proto\";"},
        {"Expected \";\"", "end the statement before this with a ;"},
        {"has already been used in", "give one of the two fields a free number"},
        {"is already defined", "rename one of them"},
        {"recursively imports itself",
         "take one of these imports out, or move what both need to a third file"},
        {"is not a message type", "a method's input and output are messages"},
        {"shadowed in the --proto_path", "the order of -I decides: put its folder first"},
        {"Missing field number", "such as \"= 1\" before the ;"},
        {"Explicit 'optional' labels are disallowed", "take the label out"},
        {"Required fields are not allowed",
         "take \"required\" out: proto3 fields are never required"},
        {"No syntax specified", "begin the file with: syntax = \"proto3\";"},
        {"Expected top-level statement",
         "a file holds package, import, option, message, enum, service and extend"},
        {"Reached end of input", "a { is still open: close it"},
        {"Unmatched \"}\"", "take this } out, or open its {"},
        {"Expected open brace", "begin the body with {"},
        {"Unrecognized syntax identifier", "write proto3 or proto2"},
        {"cannot cross line boundaries", "close the quote in the same line"},
        {"non ascii codepoint", "names are ASCII letters, digits and _"},
        {" name.", "names are ASCII letters, digits and _, and do not begin with a digit"},
        {"Expected identifier", "names are ASCII letters, digits and _"},
        {"Expected \"", "put it here, or mend what stands before it"},
        {"Expected ", "mend this, or what stands before it"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (strstr(l->text, known[i].text)) return known[i].hint;
    return NULL;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void import_failed(words *w, const line *l) {
    const char *name = quoted(w->c, l->text);
    if (!name || !cg_table_get(&w->missing, name)) {
        /* It has errors of its own, which are reported there. */
        if (name && cg_table_get(&w->broken, name)) return;
        weft_diag_add(&w->c->errors, path_of(w->c, l->file), l->line, l->column, NULL, NULL, "%s",
                      l->text);
        return;
    }
    weft_diag_add(&w->c->errors, path_of(w->c, l->file), l->line, l->column, NULL,
                  import_hint(w, name), "import \"%s\" was not found", name);
}

/* "[libprotobuf WARNING …] No syntax specified for the proto file: NAME. Please …" */
static void library_word(words *w, const char *text) {
    const char *file = strstr(text, "No syntax specified for the proto file: ");
    if (file) {
        file += strlen("No syntax specified for the proto file: ");
        const char *end = strstr(file, ". Please");
        const char *name = cg_strndup(w->c->arena, file, end ? (size_t)(end - file) : strlen(file));
        weft_diag_add(&w->c->warnings, path_of(w->c, name), 1, 1, NULL,
                      "begin the file with: syntax = \"proto3\";",
                      "no syntax is named: proto2 is assumed");
        return;
    }
    if (strstr(text, "contains invalid UTF-8 data when serializing")) {
        weft_diag_add(&w->c->warnings, NULL, 0, 0, NULL, "save the file as UTF-8",
                      "a comment or a string in a contract is not UTF-8");
        return;
    }
    const char *close = strstr(text, "] ");
    weft_diag_add(strstr(text, " WARNING ") ? &w->c->warnings : &w->c->errors, NULL, 0, 0, NULL,
                  NULL, "%s", close ? close + 2 : text);
}

/* Our own words name the other place of a clash as " at NAME:LINE": that becomes a path, too. */
static const char *with_paths(cli *c, const char *text) {
    const char *at = strstr(text, " at ");
    for (; at; at = strstr(at + 1, " at ")) {
        const char *name = at + 4;
        size_t len = strcspn(name, ": ");
        if (name[len] != ':' || len < 6 || strncmp(name + len - 6, ".proto", 6) != 0) continue;
        return cg_printf(c->arena, "%.*s%s%s", (int)(name - text), text,
                         path_of(c, cg_strndup(c->arena, name, len)), name + len);
    }
    return text;
}

static void read_line(words *w, const char *text) {
    cli *c = w->c;
    if (starts(text, "[libprotobuf ")) {
        library_word(w, text);
        return;
    }
    bool ours = starts(text, "--weft_out: ");
    if (ours) text += strlen("--weft_out: ");
    if (strstr(text, " needs the C name ")) text = with_paths(c, text);
    line l = split(c, text);
    if (l.file && strcmp(l.text, "File not found.") == 0) return; /* said at the import, below */
    if (starts(l.text, "Import \"") && ends(l.text, "was not found or had errors.")) {
        import_failed(w, &l);
        return;
    }
    bool warning = starts(l.text, "warning: ");
    if (warning) l.text += strlen("warning: ");
    weft_diag_add(warning ? &c->warnings : &c->errors, l.file ? path_of(c, l.file) : NULL, l.line,
                  l.column, NULL, ours ? NULL : hint_for(w, &l), "%s", l.text);
}

static const char *next_line(cli *c, const char **rest) {
    size_t len = strcspn(*rest, "\n");
    const char *text = cg_strndup(c->arena, *rest, len);
    *rest += len + ((*rest)[len] == '\n');
    return text;
}

void cli_read_errors(cli *c, const char *text) {
    words w = {.c = c,
               .missing = {.arena = c->arena},
               .broken = {.arena = c->arena},
               .said = {.arena = c->arena}};
    for (const char *rest = text; *rest;) {
        line l = split(c, next_line(c, &rest));
        if (!l.file) continue;
        if (strcmp(l.text, "File not found.") == 0)
            cg_table_put(&w.missing, l.file, c);
        else if (!starts(l.text, "warning: "))
            cg_table_put(&w.broken, l.file, c);
    }
    for (const char *rest = text; *rest;) {
        const char *one = next_line(c, &rest);
        if (*one && cg_table_put(&w.said, one, c)) read_line(&w, one);
    }
}
