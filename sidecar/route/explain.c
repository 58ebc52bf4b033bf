/* Why nothing was found, in one line. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sidecar/route/route.h"
#include "weft/status.h"

#define NAMES 8 /* candidates that are named */
#define SHOWN 120

typedef struct line {
    char *out;
    size_t len;
} line;

static WEFT_PRINTF(2, 3) void say(line *l, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(l->out + l->len, ROUTE_TEXT - l->len, format, args);
    va_end(args);
    if (n > 0) l->len += (size_t)n;
    if (l->len >= ROUTE_TEXT) l->len = ROUTE_TEXT - 1;
}

/* What a stranger sent: printable ASCII only, cut. */
static void say_text(line *l, route_text text) {
    char shown[SHOWN + 1];
    size_t n = 0;
    for (; n < text.len && n < SHOWN; n++) {
        const char c = text.text[n];
        shown[n] = c >= ' ' && c < 127 && c != '"' ? c : '?';
    }
    shown[n] = '\0';
    say(l, "\"%s%s\"", shown, n < text.len ? "…" : "");
}

static void say_vhosts(line *l, const config_table *table, const uint32_t *items, uint32_t count) {
    for (uint32_t i = 0; i < count && i < NAMES; i++)
        say(l, "%s%.60s", i ? ", " : "", table->vhosts[items ? items[i] : i].name);
    if (count > NAMES) say(l, ", and %u more", count - NAMES);
}

static void explain_ambiguous(line *l, const config_table *table, const route_request *request) {
    const char *end = memchr(request->path.text + 1, '/', request->path.len - 1);
    const size_t len = (size_t)(end - request->path.text) - 1;
    const config_slot *slot = config_index_find(&table->services, request->path.text + 1, len);
    say_text(l, (route_text){request->path.text + 1, len});
    say(l, " is exported by several services: ");
    if (slot) say_vhosts(l, table, slot->items, slot->count);
    say(l, "; name one of them as :authority");
}

static void explain_unknown(line *l, const config_table *table, const route_request *request) {
    say(l, "no service ");
    say_text(l, request->authority);
    say(l, " is known here, and none exports ");
    say_text(l, request->path);
    say(l, "; known: ");
    say_vhosts(l, table, NULL, table->vhost_count);
    say(l, "; dial one of these, or declare the service in uses");
}

static void explain_rule(line *l, const route_request *request, const config_vhost *vhost) {
    say(l, "no route of %.80s matches ", vhost->name);
    say_text(l, request->path);
    say(l, "; its routes: ");
    for (uint32_t i = 0; i < vhost->route_count && i < NAMES; i++)
        say(l, "%s%.60s", i ? ", " : "", vhost->routes[i].name);
    if (vhost->route_count > NAMES) say(l, ", and %u more", vhost->route_count - NAMES);
}

size_t route_explain(const config_table *table, const route_request *request,
                     const route_result *result, char out[ROUTE_TEXT]) {
    line l = {out, 0};
    out[0] = '\0';
    if (result->outcome == ROUTE_AMBIGUOUS)
        explain_ambiguous(&l, table, request);
    else if (result->outcome == ROUTE_NO_SERVICE)
        explain_unknown(&l, table, request);
    else if (result->outcome == ROUTE_NO_RULE)
        explain_rule(&l, request, result->vhost);
    return l.len;
}

int route_status(const route_result *result) {
    switch (result->outcome) {
    case ROUTE_FOUND:
        return WEFT_OK;
    case ROUTE_NO_SERVICE:
        return WEFT_UNAVAILABLE; /* it may become known */
    default:
        return WEFT_UNIMPLEMENTED;
    }
}
