/* Collected diagnostics, and the nearest name to a misspelt one. */
#include "weft/diag.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "text.h"

#define DEFAULT_MAX 100u

void weft_diags_init(weft_diags *diags, weft_arena *arena, size_t max) {
    *diags = (weft_diags){.arena = arena, .max = max ? max : DEFAULT_MAX};
    diags->tail = &diags->first;
}

static const char *keep(weft_arena *arena, const char *text) {
    return text ? weft_arena_strdup(arena, text) : NULL;
}

int weft_diag_add(weft_diags *diags, const char *file, int line, int column, const char *path,
                  const char *hint, const char *format, ...) {
    if (!diags) return WEFT_EPARSE;
    if (diags->count++ >= diags->max) return WEFT_EPARSE;
    weft_diag *diag = weft_arena_calloc(diags->arena, 1, sizeof *diag);
    if (!diag) return WEFT_EPARSE;
    va_list args;
    va_start(args, format);
    diag->text = weft_arena_vprintf(diags->arena, format, args);
    va_end(args);
    if (!diag->text) diag->text = "out of memory while describing this problem";
    diag->file = keep(diags->arena, file);
    diag->path = keep(diags->arena, path);
    diag->hint = keep(diags->arena, hint);
    diag->line = line;
    diag->column = column;
    *diags->tail = diag;
    diags->tail = &diag->next;
    return WEFT_EPARSE;
}

int weft_diag_format(const weft_diag *diag, weft_buf *out) {
    if (diag->file) {
        base_add_printable(out, diag->file, 0);
        if (diag->line > 0) weft_buf_printf(out, ":%d", diag->line);
        if (diag->line > 0 && diag->column > 0) weft_buf_printf(out, ":%d", diag->column);
        weft_buf_adds(out, ": ");
    } else if (diag->line > 0) {
        weft_buf_printf(out, "line %d", diag->line);
        if (diag->column > 0) weft_buf_printf(out, ", column %d", diag->column);
        weft_buf_adds(out, ": ");
    }
    if (diag->path && *diag->path) {
        base_add_printable(out, diag->path, 0);
        weft_buf_adds(out, ": ");
    }
    base_add_printable(out, diag->text, 0);
    if (diag->hint) {
        weft_buf_adds(out, " (");
        base_add_printable(out, diag->hint, 0);
        weft_buf_adds(out, ")");
    }
    return out->error;
}

void weft_diags_print(const weft_diags *diags, FILE *out) {
    size_t kept = 0;
    for (const weft_diag *diag = diags->first; diag; diag = diag->next, kept++) {
        weft_buf line;
        weft_buf_init(&line, 64u * 1024u);
        (void)weft_diag_format(diag, &line);
        fprintf(out, "%s\n", weft_buf_str(&line));
        weft_buf_free(&line);
    }
    if (diags->count > kept) fprintf(out, "... and %zu more\n", diags->count - kept);
}

#define NAME_MAX_LEN 64u

/* Case, and which of '-' and '_' was meant, are not worth an edit. */
static char fold(char c) { return c == '_' ? '-' : (char)tolower((unsigned char)c); }

static unsigned least(unsigned a, unsigned b) { return a < b ? a : b; }

/* Damerau-Levenshtein distance in its restricted form (optimal string alignment): insert, delete,
 * replace, swap of neighbours, each 1. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len) {
    unsigned rows[3][NAME_MAX_LEN + 1];
    for (unsigned j = 0; j <= b_len; j++) rows[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i - 1) % 3];
        const unsigned *above2 = rows[(i + 1) % 3]; /* i - 2 */
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            const char x = fold(a[i - 1]);
            const char y = fold(b[j - 1]);
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == fold(b[j - 2]) && y == fold(a[i - 2]))
                row[j] = least(row[j], above2[j - 2] + 1);
        }
    }
    return rows[a_len % 3][b_len];
}

const char *weft_suggest(const char *given, const char *const *names, size_t count) {
    const char *best = NULL;
    unsigned best_distance = 0;
    const size_t len = strlen(given);
    if (len < 2 || len > NAME_MAX_LEN) return NULL;
    for (size_t i = 0; i < count; i++) {
        const size_t name_len = names[i] ? strlen(names[i]) : 0;
        if (!name_len || name_len > NAME_MAX_LEN) continue;
        const size_t longer = len > name_len ? len : name_len;
        /* A third of the letters may be wrong, one always, never more than four. */
        const unsigned allowed = longer < 6 ? 1 : longer < 15 ? (unsigned)longer / 3 : 4;
        const unsigned d = distance(given, len, names[i], name_len);
        if (d > allowed || (best && d >= best_distance)) continue;
        best = names[i];
        best_distance = d;
    }
    return best;
}
