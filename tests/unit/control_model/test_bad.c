/* good.yaml, spoiled in every way of bad.txt: lines that begin with '-' are replaced by those with '+', and those
 * with '=' are exactly what must be said. `test_bad --write` prints the file with what is said now. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/control_model/texts.h"

#define CASES_MAX 400u

typedef struct spoiled {
    const char *find, *replace, *said;
} spoiled;

static weft_arena *arena;
static weft_registry *registry;
static char *good;

static const char *without_last_newline(weft_buf *text) {
    const char *copy = weft_arena_strndup(arena, weft_buf_str(text), text->len ? text->len - 1 : 0);
    weft_buf_free(text);
    return copy;
}

static size_t read_cases(const char *text, spoiled *out) {
    size_t count = 0;
    while (*text && count < CASES_MAX) {
        weft_buf parts[3] = {{0}, {0}, {0}};
        for (; *text && *text != '\n'; text += strcspn(text, "\n") + 1) {
            const size_t len = strcspn(text, "\n");
            weft_buf *part = &parts[*text == '-' ? 0 : *text == '+' ? 1 : 2];
            if (part == &parts[2] && len < 2) continue;
            weft_buf_add(part, text + 1, len - 1);
            weft_buf_addc(part, '\n');
        }
        if (*text) text++;
        out[count].find = without_last_newline(&parts[0]);
        out[count].replace = without_last_newline(&parts[1]);
        out[count].said = weft_arena_strdup(arena, weft_buf_str(&parts[2]));
        weft_buf_free(&parts[2]);
        if (*out[count].find) count++;
    }
    return count;
}

static char *said_of(const spoiled *one, int *rc) {
    weft_diags diags;
    weft_buf out;
    const model_set *set = NULL;
    char *text = texts_replace(arena, good, one->find, one->replace);
    if (!text) return NULL;
    const model_text from = {.file = "mesh.yaml", .text = text, .len = strlen(text)};
    weft_diags_init(&diags, arena, 0);
    *rc = model_parse(registry, &from, 1, NULL, arena, &set, &diags);
    weft_buf_init(&out, 0);
    for (const weft_diag *d = diags.first; d; d = d->next) {
        weft_diag_format(d, &out);
        weft_buf_addc(&out, '\n');
    }
    char *copy = weft_arena_strdup(arena, weft_buf_str(&out));
    weft_buf_free(&out);
    return copy;
}

static void spoiled_file(void **state) {
    const spoiled *one = *state;
    int rc = 0;
    char *said = said_of(one, &rc);
    assert_non_null(said);
    assert_string_equal(said, one->said);
    assert_int_equal(rc, WEFT_EPARSE);
}

static void print_lines(char mark, const char *text) {
    for (;; text++) {
        const size_t len = strcspn(text, "\n");
        printf("%c%.*s\n", mark, (int)len, text);
        text += len;
        if (!*text || (mark == '=' && !text[1])) return;
    }
}

int main(int argc, char **argv) {
    static spoiled cases[CASES_MAX];
    static struct CMUnitTest tests[CASES_MAX];
    arena = weft_arena_new(0);
    registry = model_registry_new();
    good = texts_read(arena, MODEL_FILES "/good.yaml");
    const char *text = texts_read(arena, MODEL_FILES "/bad.txt");
    if (!registry || !good || !text) return 1;
    const size_t count = read_cases(text, cases);
    int failed = count < 80;
    for (size_t i = 0; i < count; i++) {
        int rc = 0;
        tests[i] = (struct CMUnitTest){
            .name = cases[i].replace, .test_func = spoiled_file, .initial_state = &cases[i]};
        if (argc < 2 || strcmp(argv[1], "--write") != 0) continue;
        print_lines('-', cases[i].find);
        print_lines('+', cases[i].replace);
        char *said = said_of(&cases[i], &rc);
        print_lines('=', said ? said : "");
        printf("%s", i + 1 < count ? "\n" : "");
    }
    if (argc < 2) failed += _cmocka_run_group_tests("spoiled documents", tests, count, NULL, NULL);
    weft_registry_free(registry);
    weft_arena_free(arena);
    return failed != 0;
}
