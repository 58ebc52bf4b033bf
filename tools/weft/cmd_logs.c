#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/weft/ask.h"
#include "tools/weft/log_line.h"
#include "tools/weft/term.h"
#include "tools/weft/waterfall.h"
#include "weft/num.h"
#include "weft/telemetry/v1/telemetry.weft.h"

#define FOLLOW_WAIT (20 * WEFT_NS_PER_S)

static const char *const levels[] = {"trace", "debug", "info", "warn", "error", NULL};
static const int32_t severities[] = {0, 5, 9, 13, 17}; /* where OTLP's levels begin */

static struct {
    const char *telemetry, *service, *trace;
    int64_t since, limit;
    int format, level;
    bool follow;
} opt;

static void add_value(const Otlp__AnyValue *v, weft_buf *out) {
    char number[WEFT_NUM_TEXT];
    switch (v ? v->value_case : OTLP__ANY_VALUE__VALUE__NOT_SET) {
    case OTLP__ANY_VALUE__VALUE_STRING_VALUE:
        (void)waterfall_text(v->string_value, 0, out);
        break;
    case OTLP__ANY_VALUE__VALUE_INT_VALUE:
        (void)weft_format_int64(v->int_value, number);
        weft_buf_adds(out, number);
        break;
    case OTLP__ANY_VALUE__VALUE_DOUBLE_VALUE:
        (void)weft_format_double(v->double_value, number);
        weft_buf_adds(out, number);
        break;
    case OTLP__ANY_VALUE__VALUE_BOOL_VALUE:
        weft_buf_adds(out, v->bool_value ? "true" : "false");
        break;
    case OTLP__ANY_VALUE__VALUE__NOT_SET:
        break;
    default:
        weft_buf_adds(out, "{\xe2\x80\xa6}");
    }
}

/* 12:00:01.250 order.shop  info  placed order=o-1 total=1299 */
static void add_record(const Telemetry__LogRecord *r, bool color, weft_buf *out) {
    char time[28];
    (void)weft_time_format(r->time_unix_nano, time);
    if (color) weft_buf_adds(out, TERM_DIM);
    weft_buf_printf(out, "%.12s ", time + 11);
    if (color) weft_buf_adds(out, TERM_RESET);
    for (size_t used = waterfall_text(r->service, 40, out); used < 16; used++)
        weft_buf_addc(out, ' ');
    weft_buf_addc(out, ' ');
    if (color && r->severity_number >= 13)
        weft_buf_adds(out, r->severity_number >= 17 ? TERM_RED : TERM_YELLOW);
    for (size_t used = waterfall_text(r->severity, 8, out); used < 6; used++)
        weft_buf_addc(out, ' ');
    if (color) weft_buf_adds(out, TERM_RESET);
    log_line_text(r->body, strlen(r->body), false, out);
    for (size_t i = 0; i < r->n_attributes; i++) {
        weft_buf_addc(out, ' ');
        (void)waterfall_text(r->attributes[i]->key, 0, out);
        weft_buf_addc(out, '=');
        add_value(r->attributes[i]->value, out);
    }
    if (*r->trace_id && !opt.trace) weft_buf_printf(out, " trace=%s", r->trace_id);
    weft_buf_addc(out, '\n');
}

static int print(weft_arena *arena, const Telemetry__FindLogsResponse *found) {
    weft_buf out;
    weft_buf_init(&out, 0);
    int code = EXIT_OK;
    const bool color = term_color(STDOUT_FILENO);
    for (size_t i = 0; i < found->n_records && code == EXIT_OK; i++) {
        if (opt.format == CMD_JSON) {
            code = ask_print_json(arena, &found->records[i]->base);
        } else {
            add_record(found->records[i], color, &out);
            fputs(weft_buf_str(&out), stdout);
            weft_buf_clear(&out);
        }
    }
    weft_buf_free(&out);
    if (fflush(stdout) != 0) return EXIT_FAILED; /* who reads has gone */
    return code;
}

/* One question; `last` moves on. */
static int ask(const cmd_args *in, weft_channel *channel, int64_t wait, int64_t *last) {
    Telemetry__FindLogsRequest want = TELEMETRY__FIND_LOGS_REQUEST__INIT;
    Telemetry__FindLogsResponse *found = NULL;
    if (opt.trace) want.trace_id = (char *)(uintptr_t)opt.trace;
    if (opt.service) want.service = (char *)(uintptr_t)opt.service;
    want.min_severity = severities[opt.level];
    if (opt.since) want.from_unix_nano = weft_wall(NULL) - opt.since;
    want.limit = (uint32_t)opt.limit;
    want.after_id = *last;
    want.wait_nano = wait;
    weft_ctx *ctx = weft_ctx_new(ASK_TIMEOUT + wait);
    weft_arena *arena = weft_arena_new(0);
    int code = EXIT_FAILED;
    if (ctx && arena) {
        const weft_status st = telemetry_find_logs(channel, ctx, &want, &found);
        code = weft_failed(st) ? ask_failed(opt.telemetry, st) : print(arena, found);
        if (!weft_failed(st)) *last = found->last_id;
    }
    (void)in;
    weft_arena_free(arena);
    weft_ctx_free(ctx);
    return code;
}

static int run(const cmd_args *in) {
    if (in->count)
        return cmd_usage_error(in->cmd, "did not expect \"%s\": use --service or --trace",
                               in->args[0]);
    if (in->rest) return cmd_usage_error(in->cmd, "did not expect \"--\"");
    weft_channel *channel = ask_dial(opt.telemetry);
    int64_t last = 0;
    int code = ask(in, channel, 0, &last);
    while (opt.follow && code == EXIT_OK) {
        opt.limit = 1000;
        opt.since = 0;
        code = ask(in, channel, FOLLOW_WAIT, &last);
    }
    weft_channel_free(channel);
    return code;
}

static const weft_flag flags[] = {
    CMD_STRING("trace", 0, &opt.trace, "ID", "Only what was logged while answering this trace."),
    CMD_STRING("service", 's', &opt.service, "NAME", "Only what this service logged."),
    {.name = "level",
     .type = WEFT_FLAG_ENUM,
     .to.choice = &opt.level,
     .choices = levels,
     .initial = "trace",
     .help = "Only this level and above."},
    {.name = "since",
     .type = WEFT_FLAG_DURATION,
     .to.duration = &opt.since,
     .min = "0",
     .help = "Only what was logged at most this long ago."},
    {.name = "limit",
     .letter = 'n',
     .type = WEFT_FLAG_INT,
     .to.integer = &opt.limit,
     .initial = "100",
     .min = "1",
     .max = "1000",
     .help = "How many, the last ones."},
    CMD_BOOL("follow", 'f', &opt.follow, "Go on with what comes, until interrupted."),
    CMD_OUTPUT(&opt.format, "text: a line each for people; json: an object a line."),
    ASK_TELEMETRY(&opt.telemetry),
};

const struct cmd cmd_logs = {
    .name = "logs",
    .usage = "",
    .summary = "Show what services logged",
    .about =
        "Prints log records in the order in which they arrived: of all services, of one, or of one trace.",
    .more =
        "Examples:\n"
        "  weft logs --service order -f\n"
        "  weft logs --trace 4bf92f3577b34da6a3ce929d0e0e4736\n"
        "  weft logs --level error --since 1h -o json\n"
        "\n"
        "Exit codes: 0 shown; 1 the call failed; 2 wrong flags; 3 nobody listens at --telemetry.\n",
    .flags = flags,
    .flag_count = WEFT_COUNT(flags),
    .run = run,
};
