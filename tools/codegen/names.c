/* C names. protobuf-c's are reproduced exactly, since generated code refers to them; ours are
 *
 *   <file stem>_<service>_<method>     functions and types of a method
 *   <file stem>_<message>…             helpers of a message; nested names are joined with "__",
 *                                      so that Price.Kind and PriceKind can live side by side
 *
 * file stem: `prefix=`, else c_package, else the package; in snake case, dots as underscores.
 * service: in snake case, a trailing "Service" dropped; not said when the stem ends with it. */
#include <stdlib.h>
#include <string.h>

#include "tools/codegen/cg.h"

static bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
static bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
static char to_upper(char c) { return is_lower(c) ? (char)(c - 'a' + 'A') : c; }
static char to_lower(char c) { return is_upper(c) ? (char)(c - 'A' + 'a') : c; }

/* A capital begins a word after anything but a capital, and as the last of several when a word
 * goes on behind it; a single 's' behind capitals is their plural. */
static bool begins_word(const char *name, size_t i) {
    if (i == 0 || !is_upper(name[i]) || name[i - 1] == '_') return false;
    if (!is_upper(name[i - 1])) return true;
    if (!is_lower(name[i + 1])) return false;
    return !(name[i + 1] == 's' && !is_lower(name[i + 2]));
}

char *cg_snake(weft_arena *arena, const char *name) {
    char *out = cg_alloc(arena, 2 * strlen(name) + 1, 1);
    size_t n = 0;
    for (size_t i = 0; name[i]; i++) {
        if (begins_word(name, i)) out[n++] = '_';
        out[n++] = to_lower(name[i]);
    }
    return out;
}

char *cg_snake_path(weft_arena *arena, const char *dotted, const char *joint) {
    char *out = cg_strdup(arena, "");
    while (*dotted) {
        size_t len = strcspn(dotted, ".");
        out = cg_printf(arena, "%s%s%s", out, *out && len ? joint : "",
                        cg_snake(arena, cg_strndup(arena, dotted, len)));
        dotted += len + (dotted[len] == '.');
    }
    return out;
}

char *cg_upper(weft_arena *arena, const char *name) {
    char *out = cg_strdup(arena, name);
    for (char *p = out; *p; p++) *p = to_upper(*p);
    return out;
}

char *cg_service_stem(weft_arena *arena, const char *file_stem, const char *service) {
    char *word = cg_snake(arena, service);
    size_t len = strlen(word), stem_len = strlen(file_stem);
    if (len > 8 && strcmp(word + len - 8, "_service") == 0) word[len -= 8] = '\0';
    if (stem_len == 0) return word;
    if (strcmp(word, "service") == 0) return cg_strdup(arena, file_stem);
    bool said = stem_len >= len && strcmp(file_stem + stem_len - len, word) == 0 &&
                (stem_len == len || file_stem[stem_len - len - 1] == '_');
    return said ? cg_strdup(arena, file_stem) : cg_printf(arena, "%s_%s", file_stem, word);
}

char *cg_path_ident(weft_arena *arena, const char *path) {
    char *out = cg_strdup(arena, path);
    for (char *p = out; *p; p++)
        if (!is_upper(*p) && !is_lower(*p) && !(*p >= '0' && *p <= '9')) *p = '_';
    return out;
}

/* ---- protobuf-c ---- */

static char *split_words(weft_arena *arena, const char *name, char (*form)(char)) {
    char *out = cg_alloc(arena, 2 * strlen(name) + 1, 1);
    size_t n = 0;
    bool was_upper = true;
    for (size_t i = 0; name[i]; i++) {
        bool upper = is_upper(name[i]);
        if (upper && !was_upper) out[n++] = '_';
        out[n++] = form(name[i]);
        was_upper = upper;
    }
    return out;
}

char *cg_pbc_lower(weft_arena *arena, const char *name) {
    return split_words(arena, name, to_lower);
}
char *cg_pbc_upper(weft_arena *arena, const char *name) {
    return split_words(arena, name, to_upper);
}

char *cg_pbc_camel(weft_arena *arena, const char *name) {
    char *out = cg_alloc(arena, strlen(name) + 1, 1);
    size_t n = 0;
    bool next = true;
    for (size_t i = 0; name[i]; i++) {
        if (name[i] == '_') {
            next = true;
            continue;
        }
        out[n++] = next ? to_upper(name[i]) : name[i];
        next = false;
    }
    return out;
}

char *cg_pbc_full(weft_arena *arena, const cg_file *file, const char *full_name, cg_pbc_case form) {
    const char *name = full_name;
    if (file->pbc.c_package)
        name = cg_printf(arena, "%s%s%s", file->pbc.c_package, *file->package ? "" : ".",
                         full_name + strlen(file->package));
    char *out = cg_strdup(arena, "");
    while (*name) {
        size_t len = strcspn(name, ".");
        if (len)
            out = cg_printf(arena, "%s%s%s", out, *out ? "__" : "",
                            form(arena, cg_strndup(arena, name, len)));
        name += len + (name[len] == '.');
    }
    return out;
}

char *cg_pbc_field(weft_arena *arena, const char *name) {
    char *out = cg_strdup(arena, name);
    for (char *p = out; *p; p++) *p = to_lower(*p);
    return cg_is_pbc_keyword(out) ? cg_printf(arena, "%s_", out) : out;
}

char *cg_strip_proto(weft_arena *arena, const char *path) {
    static const char *const endings[] = {".protodevel", ".proto"};
    size_t len = strlen(path);
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(endings[i]);
        if (len > n && strcmp(path + len - n, endings[i]) == 0)
            return cg_strndup(arena, path, len - n);
    }
    return cg_strdup(arena, path);
}

/* ---- words that are taken; sorted ------------------------------------------------------------ */

static const char *const pbc_keywords[] = {"and",
                                           "and_eq",
                                           "asm",
                                           "auto",
                                           "bitand",
                                           "bitor",
                                           "bool",
                                           "break",
                                           "case",
                                           "catch",
                                           "char",
                                           "class",
                                           "compl",
                                           "const",
                                           "const_cast",
                                           "continue",
                                           "default",
                                           "delete",
                                           "do",
                                           "double",
                                           "dynamic_cast",
                                           "else",
                                           "enum",
                                           "explicit",
                                           "extern",
                                           "false",
                                           "float",
                                           "for",
                                           "friend",
                                           "goto",
                                           "if",
                                           "inline",
                                           "int",
                                           "long",
                                           "mutable",
                                           "namespace",
                                           "new",
                                           "not",
                                           "not_eq",
                                           "operator",
                                           "or",
                                           "or_eq",
                                           "private",
                                           "protected",
                                           "public",
                                           "register",
                                           "reinterpret_cast",
                                           "return",
                                           "short",
                                           "signed",
                                           "sizeof",
                                           "static",
                                           "static_cast",
                                           "struct",
                                           "switch",
                                           "template",
                                           "this",
                                           "throw",
                                           "true",
                                           "try",
                                           "typedef",
                                           "typeid",
                                           "typename",
                                           "union",
                                           "unsigned",
                                           "using",
                                           "virtual",
                                           "void",
                                           "volatile",
                                           "wchar_t",
                                           "while",
                                           "xor",
                                           "xor_eq"};

/* C99 to C23, C++11 to C++20, GNU keywords, macros gcc predefines in GNU mode, and macros of the
 * headers that every generated header includes. */
static const char *const more_keywords[] = {
    "NULL",      "alignas",       "alignof",  "char16_t", "char32_t",      "char8_t",
    "co_await",  "co_return",     "co_yield", "concept",  "consteval",     "constexpr",
    "constinit", "decltype",      "errno",    "export",   "linux",         "noexcept",
    "nullptr",   "offsetof",      "requires", "restrict", "static_assert", "thread_local",
    "typeof",    "typeof_unqual", "unix"};

static int compare(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

#define FOUND(list, name) \
    (bsearch(&(name), list, sizeof(list) / sizeof(*(list)), sizeof(*(list)), compare) != NULL)

bool cg_is_pbc_keyword(const char *name) { return FOUND(pbc_keywords, name); }

bool cg_is_keyword(const char *name) {
    if (FOUND(pbc_keywords, name) || FOUND(more_keywords, name)) return true;
    return name[0] == '_' && (name[1] == '_' || is_upper(name[1])); /* reserved, as _Bool is */
}

/* libweft's functions are weft_<family>_…: a contract whose names begin like that could hide
 * them. */
bool cg_is_runtime_name(const char *stem) {
    static const char *const families[] = {
        "arena", "array",  "buf",   "channel", "clock",  "ctx",    "deferred",
        "diag",  "diags",  "error", "file",    "format", "group",  "guard",
        "json",  "log",    "mem",   "message", "parse",  "server", "status",
        "store", "stream", "stub",  "type",    "utf8",   "yaml",   "registry"};
    if (strncmp(stem, "weft", 4) != 0) return false;
    if (stem[4] == '\0') return true;
    if (stem[4] != '_') return false;
    size_t len = strcspn(stem + 5, "_");
    for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++)
        if (strlen(families[i]) == len && strncmp(families[i], stem + 5, len) == 0) return true;
    return false;
}
