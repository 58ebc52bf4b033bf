/* RPC outcomes: codes, and texts that live in an arena. */
#include "weft/status.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

/* Indexed by code; the body stands in when there is no memory for the real text. */
static const struct code_row {
    const char *name;
    weft_status_body lost;
} codes[] = {
#define X(name, number) [number] = {#name, {#name " (no memory left for the message)", NULL, 0}},
    WEFT_CODES(X)
#undef X
};

static weft_code known(int code) {
    return code >= 0 && code <= WEFT_UNAUTHENTICATED ? (weft_code)code : WEFT_UNKNOWN;
}

weft_status weft_status_make(weft_arena *arena, int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    weft_status st = weft_status_vmake(arena, code, format, args);
    va_end(args);
    return st;
}

weft_status weft_status_vmake(weft_arena *arena, int code, const char *format, va_list args) {
    if (code == WEFT_OK) return weft_ok();
    weft_status st = {known(code), &codes[known(code)].lost};
    if (!arena) return st;
    weft_status_body *body = weft_arena_calloc(arena, 1, sizeof *body);
    const char *message = body ? weft_arena_vprintf(arena, format, args) : NULL;
    if (!message) return st;
    body->message = message;
    st.body = body;
    return st;
}

weft_status weft_status_copy(weft_arena *arena, weft_status st) {
    if (!st.body) return st;
    weft_status copy = {st.code, &codes[known((int)st.code)].lost};
    weft_status_body *body = weft_arena_calloc(arena, 1, sizeof *body);
    const char *message = body ? weft_arena_strdup(arena, st.body->message) : NULL;
    if (!message) return copy;
    body->message = message;
    if (st.body->details) {
        body->details = weft_arena_memdup(arena, st.body->details, st.body->details_len);
        if (body->details) body->details_len = st.body->details_len;
    }
    copy.body = body;
    return copy;
}

const char *weft_code_name(int code) { return codes[known(code)].name; }

int weft_code_parse(const char *name) {
    for (int code = 0; code <= WEFT_UNAUTHENTICATED; code++)
        if (!strcmp(codes[code].name, name)) return code;
    return -1;
}

int weft_report(weft_status st) {
    if (st.code == WEFT_OK) return 0;
    weft_buf line;
    weft_buf_init(&line, 64u * 1024u);
    weft_buf_printf(&line, "error: %s", weft_code_name((int)st.code));
    const size_t bare = line.len;
    const char *message = weft_status_message(st);
    if (*message) {
        weft_buf_adds(&line, ": ");
        base_add_printable(&line, message, 1);
    }
    if (line.error && line.len == bare)
        fprintf(stderr, "error: %s\n", weft_code_name((int)st.code));
    else
        fprintf(stderr, "%s\n", weft_buf_str(&line));
    weft_buf_free(&line);
    return 1;
}
