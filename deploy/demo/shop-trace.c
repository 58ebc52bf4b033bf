/* weft-shop-trace: what the sidecars of a shop saw of one trace: every hop with both identities, the spans, and
 * their counters.
 *
 * Spans are read from the files the sidecars write (a JSON object a line, sidecar/export), counters from their
 * admin sockets. Sidecars write spans a moment after a call has ended, so the files are read again until the
 * trace is whole: every attempt that went well has the server's span of the other side. */
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "weft/arena.h"
#include "weft/buf.h"
#include "weft/clock.h"
#include "weft/diag.h"
#include "weft/flags.h"
#include "weft/num.h"

#define SPANS_MAX 4096
#define FILE_MAX ((size_t)64 << 20)
#define KIND_SERVER 2
#define SPIFFE_PATH "/sa/"

struct span {
    const char *id, *parent, *name, *self, *peer, *cluster;
    int kind, status;
    bool attempt;
    int64_t start, end; /* wall ns */
};

static struct {
    weft_arena *arena;
    const char *trace, *spans_dir, *admin_dir;
    int64_t wait;
    struct span spans[SPANS_MAX];
    size_t count;
} tool;

static void *need(void *p) {
    if (p) return p;
    fputs("weft-shop-trace: out of memory\n", stderr);
    exit(1);
}

/* ---- files */

/* The value of a key of a flat object, as text, "" if it has none. */
static const char *field(const char *line, const char *key) {
    char quoted[64];
    (void)snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(line, quoted);
    if (!at) return "";
    at += strlen(quoted);
    const bool text = *at == '"';
    at += text;
    return need(weft_arena_strndup(tool.arena, at, strcspn(at, text ? "\"" : ",}")));
}

static int64_t number(const char *line, const char *key) {
    int64_t value = 0;
    return weft_parse_int64(field(line, key), &value) < 0 ? 0 : value;
}

static void take_line(const char *line) {
    if (tool.count == SPANS_MAX || strcmp(field(line, "traceId"), tool.trace) != 0) return;
    struct span *s = &tool.spans[tool.count++];
    *s = (struct span){.id = field(line, "spanId"),
                       .parent = field(line, "parentSpanId"),
                       .name = field(line, "name"),
                       .self = field(line, "weft.self.id"),
                       .peer = field(line, "weft.peer.id"),
                       .cluster = field(line, "weft.cluster"),
                       .kind = (int)number(line, "kind"),
                       .status = (int)number(line, "grpcStatus"),
                       .attempt = *field(line, "attempt") != '\0',
                       .start = number(line, "startTimeUnixNano"),
                       .end = number(line, "endTimeUnixNano")};
}

/* Lines that are complete. */
static void read_file(const char *path) {
    weft_buf text;
    weft_buf_init(&text, FILE_MAX);
    if (weft_buf_read_file(&text, path) == 0) {
        char *at = text.data;
        for (char *end; at && (end = strchr(at, '\n')); at = end + 1) {
            *end = '\0';
            take_line(at);
        }
    }
    weft_buf_free(&text);
}

static bool has_suffix(const char *name, const char *suffix) {
    const size_t len = strlen(name), n = strlen(suffix);
    return len > n && strcmp(name + len - n, suffix) == 0;
}

/* Returns how many there are. */
static size_t each_file(const char *folder, const char *suffix, void (*take)(const char *path)) {
    size_t count = 0;
    DIR *dir = opendir(folder);
    if (!dir) {
        fprintf(stderr, "weft-shop-trace: cannot read the folder %s\n", folder);
        exit(1);
    }
    for (struct dirent *at; (at = readdir(dir));)
        if (has_suffix(at->d_name, suffix)) {
            take(need(weft_arena_printf(tool.arena, "%s/%s", folder, at->d_name)));
            count++;
        }
    closedir(dir);
    return count;
}

static int by_start(const void *a, const void *b) {
    const struct span *x = a, *y = b;
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    if (x->attempt != y->attempt) return x->attempt ? 1 : -1; /* a call before its attempts */
    return (x->end < y->end) - (x->end > y->end);
}

static void read_spans(void) {
    tool.count = 0;
    (void)each_file(tool.spans_dir, ".spans", read_file);
    qsort(tool.spans, tool.count, sizeof *tool.spans, by_start);
}

/* ---- the trace */

static bool is_server(const struct span *s) { return s->kind == KIND_SERVER && !s->attempt; }

static const struct span *find(const char *id) {
    for (size_t i = 0; *id && i < tool.count; i++)
        if (strcmp(tool.spans[i].id, id) == 0) return &tool.spans[i];
    return NULL;
}

/* What a span happened in: its parent; else, since services export no spans, the call its service was handling,
 * the shortest that lasted longer than it. */
static const struct span *outer(const struct span *s) {
    const struct span *best = find(s->parent);
    for (size_t i = 0; !find(s->parent) && i < tool.count; i++) {
        const struct span *o = &tool.spans[i];
        if (o == s || !is_server(o) || strcmp(o->self, s->self) != 0) continue;
        if (o->start > s->start || o->end < s->end || is_server(s)) continue;
        if (!best || o->end - o->start < best->end - best->start) best = o;
    }
    return best;
}

static size_t depth_of(const struct span *s) {
    size_t depth = 0;
    while (depth < 32 && (s = outer(s))) depth++;
    return depth;
}

/* Whether every call between two sidecars was told by both. */
static bool is_whole(void) {
    size_t sent = 0, received = 0;
    for (size_t i = 0; i < tool.count; i++) {
        const struct span *s = &tool.spans[i];
        if (is_server(s)) received++;
        if (s->attempt && *s->peer && strcmp(s->peer, s->self) != 0) sent++;
    }
    return received > 0 && sent <= received;
}

static const char *service_of(const char *id) {
    const char *at = strstr(id, SPIFFE_PATH);
    return at ? at + strlen(SPIFFE_PATH) : *id ? id : "?";
}

static size_t print_hops(void) {
    size_t hops = 0;
    printf("hops of trace %s, as the callee's sidecar saw them:\n", tool.trace);
    for (size_t i = 0; i < tool.count; i++) {
        const struct span *s = &tool.spans[i];
        if (!is_server(s)) continue;
        printf("  %zu. %s -> %s  %s\n", ++hops, service_of(s->peer), service_of(s->self), s->name);
        printf("     %s -> %s\n", *s->peer ? s->peer : "nobody known", s->self);
    }
    return hops;
}

static void print_spans(void) {
    const int64_t begun = tool.count ? tool.spans[0].start : 0;
    printf("\nits %zu spans:\n  %9s %9s  %-6s\n", tool.count, "at ms", "took ms", "status");
    for (size_t i = 0; i < tool.count; i++) {
        const struct span *s = &tool.spans[i];
        printf("  %9.3f %9.3f  %-6d  %*s%s %s %s\n", (double)(s->start - begun) / 1e6,
               (double)(s->end - s->start) / 1e6, s->status, (int)(2 * depth_of(s)), "",
               service_of(s->self),
               s->attempt     ? "attempts"
               : is_server(s) ? "serves"
                              : "calls",
               *s->name ? s->name : s->cluster);
    }
}

/* ---- counters */

/* GET /metrics; what came, head included, or empty. */
static void ask(const char *path, weft_buf *out) {
    static const char request[] =
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof addr.sun_path) return;
    (void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0 &&
        write(fd, request, sizeof request - 1) == (ssize_t)sizeof request - 1) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        char *room;
        ssize_t n = 1;
        while (n > 0 && poll(&wait, 1, 5000) > 0 && (room = weft_buf_reserve(out, 16384))) {
            n = read(fd, room, 16384);
            if (n > 0) weft_buf_commit(out, (size_t)n);
        }
    }
    if (fd >= 0) close(fd);
}

static void print_counters(const char *path) {
    weft_buf text;
    weft_buf_init(&text, FILE_MAX);
    ask(path, &text);
    const char *name = strrchr(path, '/') + 1;
    printf("  %.*s\n", (int)strcspn(name, "."), name);
    size_t lines = 0;
    char *save = NULL;
    for (char *line = text.len ? strtok_r(text.data, "\r\n", &save) : NULL; line;
         line = strtok_r(NULL, "\r\n", &save)) {
        const char *value = strrchr(line, ' ');
        if (strncmp(line, "weft_", 5) != 0 || !value || strcmp(value, " 0") == 0) continue;
        if (!strstr(line, "_total")) continue;
        printf("    %s\n", line);
        lines++;
    }
    if (!lines) puts("    no answer from its admin socket");
    weft_buf_free(&text);
}

/* ---- */

static int load(int argc, char **argv) {
    const weft_flag table[] = {
        {.name = "trace",
         .type = WEFT_FLAG_STRING,
         .to.string = &tool.trace,
         .value = "ID",
         .min = "1",
         .help = "Which trace, 32 hex digits."},
        {.name = "spans-dir",
         .type = WEFT_FLAG_STRING,
         .to.string = &tool.spans_dir,
         .value = "DIR",
         .help = "Where the sidecars write *.spans."},
        {.name = "admin-dir",
         .type = WEFT_FLAG_STRING,
         .to.string = &tool.admin_dir,
         .value = "DIR",
         .help = "Where their admin sockets *.admin are; without it no counters are shown."},
        {.name = "wait",
         .type = WEFT_FLAG_DURATION,
         .to.duration = &tool.wait,
         .initial = "5s",
         .help = "How long to wait for spans that are missing."},
    };
    weft_flags flags = {.program = "weft-shop-trace",
                        .about = "Shows what the sidecars of a shop saw of one trace. Exit code: 0 "
                                 "every call was told by both sides, 1 not.",
                        .table = table,
                        .count = WEFT_COUNT(table)};
    weft_diags problems;
    weft_diags_init(&problems, tool.arena, 0);
    int rc = weft_flags_load(&flags, tool.arena, argc, (const char *const *)argv, &problems);
    if (flags.help) {
        weft_buf text;
        weft_buf_init(&text, 0);
        (void)weft_flags_help(&flags, &text);
        fputs(weft_buf_str(&text), stdout);
        weft_buf_free(&text);
        return -1;
    }
    weft_diags_print(&problems, stderr);
    if (rc == 0 && (!tool.trace || !tool.spans_dir)) {
        fputs("weft-shop-trace: needs --trace ID and --spans-dir DIR; see --help\n", stderr);
        rc = WEFT_EINVAL;
    }
    return rc ? 2 : 0;
}

int main(int argc, char **argv) {
    tool.arena = need(weft_arena_new(0));
    const int code = load(argc, argv);
    if (code) return code < 0 ? 0 : code;
    const int64_t until = weft_now(NULL) + tool.wait;
    read_spans();
    while (!is_whole() && weft_now(NULL) < until) {
        (void)poll(NULL, 0, 50); /* files have no other way to tell that they grew */
        read_spans();
    }
    const bool whole = is_whole();
    const size_t hops = print_hops();
    print_spans();
    if (tool.admin_dir) {
        puts("\ncounters of the sidecars:");
        if (!each_file(tool.admin_dir, ".admin", print_counters))
            puts("  they have no admin socket");
    }
    if (!hops || !whole) fputs("weft-shop-trace: spans are missing\n", stderr);
    weft_arena_free(tool.arena);
    return hops && whole ? 0 : 1;
}
