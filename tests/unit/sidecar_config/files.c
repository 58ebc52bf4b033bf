#include "tests/unit/sidecar_config/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void files_read(const char *path, weft_buf *out) {
    weft_buf_init(out, 1u << 20);
    if (weft_buf_read_file(out, path)) fail_msg("cannot read %s", path);
}

config_snapshot *files_parse(const char *text) {
    const config_options options = {.size = sizeof options, .file = "test", .skip_files = true};
    config_snapshot *snapshot = NULL;
    weft_diags diags;
    weft_arena *arena = weft_arena_new(0);
    weft_diags_init(&diags, arena, 0);
    const int rc = config_parse(text, strlen(text), &options, &snapshot, &diags);
    weft_diags_print(&diags, stderr);
    weft_arena_free(arena);
    assert_int_equal(rc, 0);
    return snapshot;
}

config_snapshot *files_good(const char *name) {
    char path[200];
    weft_buf text;
    (void)snprintf(path, sizeof path, CONFIG_FILES "/good/%s.yaml", name);
    files_read(path, &text);
    config_snapshot *snapshot = files_parse(weft_buf_str(&text));
    weft_buf_free(&text);
    return snapshot;
}
