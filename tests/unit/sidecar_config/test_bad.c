/* Bootstrap files that must be refused: bad/NAME.yaml. A line that ends in "# error: TEXT" is where a
 * problem must be reported whose one line has TEXT in it; no other problem may be reported. A file
 * that begins with "# files" is read with a look at the files it names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dirent.h>

#include <cmocka.h>

#include "tests/unit/sidecar_config/files.h"

#define MARK "# error: "

static char directory[] = CONFIG_FILES "/bad";

typedef struct expected {
    int line;
    char text[300];
    bool seen;
} expected;

static size_t expectations(const char *text, expected *out, size_t max) {
    size_t count = 0;
    int line = 1;
    while (*text) {
        const size_t len = strcspn(text, "\n");
        const char *mark = strstr(text, MARK);
        if (mark && mark < text + len && count < max) {
            const char *from = mark + sizeof MARK - 1;
            size_t n = (size_t)(text + len - from);
            while (n && (from[n - 1] == ' ' || from[n - 1] == '\r')) n--;
            out[count] = (expected){.line = line};
            (void)snprintf(out[count].text, sizeof out[count].text, "%.*s", (int)n, from);
            count++;
        }
        text += len + (text[len] == '\n');
        line++;
    }
    return count;
}

static void check(const char *name, const char *text, size_t len) {
    expected list[16];
    const size_t count = expectations(text, list, 16);
    const config_options options = {
        .size = sizeof options, .file = name, .skip_files = strncmp(text, "# files", 7) != 0};
    config_snapshot *snapshot = NULL;
    weft_diags diags;
    weft_arena *arena = weft_arena_new(0);
    bool good = count > 0;
    weft_diags_init(&diags, arena, 0);
    const int rc = config_parse(text, len, &options, &snapshot, &diags);
    if (rc != WEFT_EPARSE) good = false;
    for (const weft_diag *d = diags.first; d; d = d->next) {
        weft_buf line;
        bool found = false;
        weft_buf_init(&line, 0);
        weft_diag_format(d, &line);
        for (size_t i = 0; i < count && !found; i++)
            if (list[i].line == d->line && strstr(weft_buf_str(&line), list[i].text))
                found = list[i].seen = true;
        if (!found || !d->column) {
            print_error("unexpected: %s\n", weft_buf_str(&line));
            good = false;
        }
        weft_buf_free(&line);
    }
    for (size_t i = 0; i < count; i++)
        if (!list[i].seen) {
            print_error("%s:%d: not reported: %s\n", name, list[i].line, list[i].text);
            good = false;
        }
    weft_arena_free(arena);
    if (rc == 0) config_unref(snapshot);
    if (!good) fail_msg("%s: result %d, %zu expectations", name, rc, count);
}

static void bad_file(void **state) {
    weft_buf text;
    char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", directory, (const char *)*state);
    files_read(path, &text);
    check(*state, weft_buf_str(&text), text.len);
    weft_buf_free(&text);
}

static int by_name(const struct dirent **a, const struct dirent **b) { return alphasort(a, b); }

int main(void) {
    struct dirent **names = NULL;
    struct CMUnitTest tests[400];
    size_t count = 0;
    const int found = scandir(directory, &names, NULL, by_name);
    for (int i = 0; i < found && count < 400; i++)
        if (strstr(names[i]->d_name, ".yaml"))
            tests[count++] = (struct CMUnitTest){
                .name = names[i]->d_name, .test_func = bad_file, .initial_state = names[i]->d_name};
    if (count < 60) return 1;
    const int failed = _cmocka_run_group_tests("bad bootstrap files", tests, count, NULL, NULL);
    for (int i = 0; i < found; i++) free(names[i]);
    free(names);
    return failed != 0;
}
