#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/weft/ask.h"
#include "tools/weft/term.h"
#include "tools/weft/waterfall.h"
#include "weft/telemetry/v1/telemetry.weft.h"

#define AGAIN_MS 100 /* while waiting for a trace */

static struct {
    const char *telemetry, *service, *method;
    int64_t min_duration, since, limit, wait;
    int format;
    bool last, errors;
} opt;

typedef struct job {
    weft_arena *arena;
    weft_channel *channel;
    weft_ctx *ctx; /* of the last call: its reply lives there */
} job;

/* A context for the next call; the reply before is gone. */
static weft_ctx *next(job *j) {
    weft_ctx_free(j->ctx);
    j->ctx = weft_ctx_new(ASK_TIMEOUT);
    if (!j->ctx) cmd_error("out of memory");
    return j->ctx;
}

static weft_status find(job *j, int64_t limit, Telemetry__FindTracesResponse **reply) {
    Telemetry__FindTracesRequest want = TELEMETRY__FIND_TRACES_REQUEST__INIT;
    if (opt.service) want.service = (char *)(uintptr_t)opt.service;
    if (opt.method) want.method = (char *)(uintptr_t)opt.method;
    if (opt.errors) want.status = TELEMETRY__FIND_TRACES_REQUEST__STATUS__STATUS_ERROR;
    want.min_duration_nano = opt.min_duration;
    if (opt.since) want.from_unix_nano = weft_wall(NULL) - opt.since;
    want.limit = (uint32_t)limit;
    weft_status st;
    /* A page may be empty and yet not be the last. */
    do {
        if (!next(j)) return weft_status_make(j->arena, WEFT_INTERNAL, "out of memory");
        st = telemetry_find_traces(j->channel, j->ctx, &want, reply);
        if (weft_failed(st)) return st;
        want.cursor = weft_arena_strdup(j->arena, (*reply)->next_cursor);
    } while (!(*reply)->n_traces && want.cursor && *want.cursor);
    return st;
}

static bool later(int64_t until) {
    if (weft_now(NULL) >= until) return false;
    (void)poll(NULL, 0, AGAIN_MS);
    return true;
}

static int print(job *j, const Telemetry__GetTraceResponse *trace) {
    if (opt.format == CMD_JSON) return ask_print_json(j->arena, &trace->base);
    weft_buf out;
    weft_buf_init(&out, 0);
    const waterfall_style style = {
        .width = ask_columns(), .color = term_color(STDOUT_FILENO), .ascii = !ask_utf8()};
    waterfall(trace, &style, &out);
    fputs(weft_buf_str(&out), stdout);
    weft_buf_free(&out);
    return EXIT_OK;
}

static int show(job *j, const char *id) {
    Telemetry__GetTraceRequest want = TELEMETRY__GET_TRACE_REQUEST__INIT;
    Telemetry__GetTraceResponse *trace = NULL;
    want.trace_id = (char *)(uintptr_t)id;
    const int64_t until = weft_now(NULL) + opt.wait;
    weft_status st;
    do {
        if (!next(j)) return EXIT_FAILED;
        st = telemetry_get_trace(j->channel, j->ctx, &want, &trace);
    } while (st.code == WEFT_NOT_FOUND && later(until));
    return weft_failed(st) ? ask_failed(opt.telemetry, st) : print(j, trace);
}

static int show_last(job *j) {
    Telemetry__FindTracesResponse *found = NULL;
    const int64_t until = weft_now(NULL) + opt.wait;
    weft_status st;
    do st = find(j, 1, &found);
    while (!weft_failed(st) && !found->n_traces && later(until));
    if (weft_failed(st)) return ask_failed(opt.telemetry, st);
    if (!found->n_traces) {
        cmd_error("there is no such trace");
        return EXIT_FAILED;
    }
    const char *id = weft_arena_strdup(j->arena, found->traces[0]->trace_id);
    return id ? show(j, id) : EXIT_FAILED;
}

static int list(job *j) {
    Telemetry__FindTracesResponse *found = NULL;
    const weft_status st = find(j, opt.limit, &found);
    if (weft_failed(st)) return ask_failed(opt.telemetry, st);
    if (opt.format == CMD_JSON) return ask_print_json(j->arena, &found->base);
    weft_buf out;
    weft_buf_init(&out, 0);
    if (found->n_traces)
        waterfall_list(found, &out);
    else
        fputs("no traces\n", stderr);
    fputs(weft_buf_str(&out), stdout);
    weft_buf_free(&out);
    return EXIT_OK;
}

static int run(const cmd_args *in) {
    if (in->count > 1)
        return cmd_usage_error(in->cmd, "one trace at a time; did not expect \"%s\"", in->args[1]);
    if (in->rest) return cmd_usage_error(in->cmd, "did not expect \"--\"");
    if (in->count && opt.last) return cmd_usage_error(in->cmd, "--last or an ID, not both");
    job j = {.arena = in->arena, .channel = ask_dial(opt.telemetry)};
    const int code = in->count ? show(&j, in->args[0]) : opt.last ? show_last(&j) : list(&j);
    weft_ctx_free(j.ctx);
    weft_channel_free(j.channel);
    return code;
}

static const weft_flag flags[] = {
    CMD_BOOL("last", 0, &opt.last, "The trace that began to arrive last."),
    CMD_STRING("service", 's', &opt.service, "NAME", "Only traces that touch this service."),
    CMD_STRING(
        "method", 'm', &opt.method, "METHOD",
        "Only traces with this method: PlaceOrder, OrderService/PlaceOrder or the full name."),
    CMD_BOOL("errors", 0, &opt.errors, "Only traces in which something failed."),
    {.name = "min-duration",
     .type = WEFT_FLAG_DURATION,
     .to.duration = &opt.min_duration,
     .min = "0",
     .help = "Only traces that took at least this long."},
    {.name = "since",
     .type = WEFT_FLAG_DURATION,
     .to.duration = &opt.since,
     .min = "0",
     .help = "Only traces that began at most this long ago."},
    {.name = "limit",
     .letter = 'n',
     .type = WEFT_FLAG_INT,
     .to.integer = &opt.limit,
     .initial = "20",
     .min = "1",
     .max = "500",
     .help = "How many to list."},
    {.name = "wait",
     .type = WEFT_FLAG_DURATION,
     .to.duration = &opt.wait,
     .initial = "0",
     .min = "0",
     .help = "How long to wait for a trace that is not there yet."},
    CMD_OUTPUT(&opt.format, "text: bars and columns; json: one line."),
    ASK_TELEMETRY(&opt.telemetry),
};

const struct cmd cmd_trace = {
    .name = "trace",
    .usage = "[ID]",
    .summary = "Show where the time of a call went",
    .about =
        "Draws one trace: every span below its parent, with the service, who told of it (the app or "
        "its sidecar), what it did, when and how long, and the status. Without ID or --last it lists "
        "traces, the newest first.",
    .more =
        "Examples:\n"
        "  weft trace --last --service order\n"
        "  weft trace --errors --since 10m\n"
        "  weft trace 4bf92f3577b34da6a3ce929d0e0e4736 -o json\n"
        "\n"
        "Exit codes: 0 shown; 1 there is no such trace, or the call failed; 2 wrong flags or ID; 3 nobody\n"
        "listens at --telemetry.\n",
    .flags = flags,
    .flag_count = WEFT_COUNT(flags),
    .run = run,
};
