#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/sidecar_soak.h"

void plan_format(const plan *p, char out[PLAN_TEXT]) {
    (void)snprintf(out, PLAN_TEXT, "%u.%u.%u", (unsigned)p->kind, p->size, p->code);
}

plan plan_parse(const char *text) {
    unsigned kind = 0, size = 0, code = 0;
    char end;
    if (sscanf(text, "%u.%u.%u%c", &kind, &size, &code, &end) != 3 || kind >= PLAN_KINDS ||
        size > BODY_MAX)
        die("\"%s\" is no plan", text);
    return (plan){(plan_kind)kind, size, code};
}

static char line[256];
static size_t line_len;
static void (*asked)(const char *line);

static void readable(net_watch *watch, unsigned events) {
    char got[256];
    (void)events;
    const ssize_t n = read(STDIN_FILENO, got, sizeof got);
    if (n <= 0) {
        net_watch_stop(watch);
        asked(NULL);
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (got[i] != '\n') {
            if (line_len + 1 < sizeof line) line[line_len++] = got[i];
            continue;
        }
        line[line_len] = '\0';
        line_len = 0;
        asked(line);
    }
}

void on_lines(bench *b, void (*ask)(const char *line)) {
    static net_watch watch;
    asked = ask;
    must(net_watch_start(b->loop, &watch, STDIN_FILENO, NET_READABLE, readable, NULL),
         "standard input");
}
