#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/weft/bootstrap.h"
#include "tools/weft/cmd.h"
#include "tools/weft/up_mesh.h"
#include "tools/weft/up_out.h"
#include "tools/weft/up_sup.h"

static struct {
    const char *service, *name_space, *config, *spans, *outbound, *listen;
    int64_t grace;
    int format;
    bool quiet;
} opt;

#define MOST_VARIABLES 8

/* One service, the sidecar; the command is the app. */
static up_plan *make_plan(const cmd_args *in, const char *bin_dir, const char *address) {
    up_plan *plan = weft_arena_calloc(in->arena, 1, sizeof *plan);
    up_service *sidecar = weft_arena_calloc(in->arena, 1, sizeof *sidecar);
    const char **command = weft_arena_calloc(in->arena, 6, sizeof *command);
    size_t *order = weft_arena_calloc(in->arena, 1, sizeof *order);
    if (!plan || !sidecar || !command || !order) return NULL;
    up_mesh_sidecar(sidecar);
    sidecar->name = "sidecar";
    sidecar->dir = ".";
    sidecar->listen = address;
    sidecar->command = command;
    command[sidecar->command_count++] = up_mesh_program(in->arena, bin_dir);
    command[sidecar->command_count++] = "-c";
    command[sidecar->command_count++] = opt.config;
    if (opt.spans) {
        command[sidecar->command_count++] = "--spans";
        command[sidecar->command_count++] = opt.spans;
    }
    *plan = (up_plan){.arena = in->arena,
                      .file = opt.config,
                      .dir = ".",
                      .mesh = opt.name_space,
                      .services = sidecar,
                      .count = 1,
                      .order = order,
                      .sidecar_count = 1};
    return command[0] ? plan : NULL;
}

static const up_var *make_variables(const cmd_args *in, const bootstrap_view *view) {
    up_var *vars = weft_arena_calloc(in->arena, MOST_VARIABLES, sizeof *vars);
    if (!vars) return NULL;
    size_t n = 0;
    vars[n++] = (up_var){"WEFT_SERVICE", opt.service};
    vars[n++] = (up_var){"WEFT_NAMESPACE", opt.name_space};
    if (view->outbound) vars[n++] = (up_var){"WEFT_OUTBOUND", view->outbound};
    if (view->app) vars[n++] = (up_var){"WEFT_LISTEN", view->app};
    return vars;
}

/* What the file says, unless flags say otherwise. */
static int look(const cmd_args *in, bootstrap_view *view) {
    weft_diags diags;
    weft_diags_init(&diags, in->arena, 0);
    int rc = bootstrap_look(opt.config, in->arena, view, &diags);
    if (rc < 0) {
        weft_diags_print(&diags, stderr);
        if (diags.count == 0)
            cmd_error("cannot read %s: %s", opt.config,
                      rc == WEFT_EIO || rc == WEFT_ENOTFOUND ? strerror(errno) : weft_strerror(rc));
        return EXIT_USAGE;
    }
    if (opt.outbound) view->outbound = opt.outbound;
    if (opt.listen) view->app = opt.listen;
    return EXIT_OK;
}

static int check_flags(const cmd_args *in) {
    if (in->count)
        return cmd_usage_error(in->cmd, "the command comes after \"--\", got \"%s\" before it",
                               in->args[0]);
    if (!in->rest || !in->rest[0])
        return cmd_usage_error(in->cmd, "run what? write -- COMMAND at the end");
    if (!opt.service) return cmd_usage_error(in->cmd, "which service is it? say --service NAME");
    if (!opt.config)
        return cmd_usage_error(in->cmd, "the sidecar needs a file: say --sidecar-config FILE");
    if (!up_name_valid(opt.service))
        return cmd_usage_error(in->cmd, "\"%s\" is not a name of a service (a DNS label)",
                               opt.service);
    if (!up_name_valid(opt.name_space))
        return cmd_usage_error(in->cmd, "\"%s\" is not a namespace (a DNS label)", opt.name_space);
    return EXIT_OK;
}

static int run(const cmd_args *in) {
    bootstrap_view view;
    int code = check_flags(in);
    if (code == EXIT_OK) code = look(in, &view);
    if (code != EXIT_OK) return code;
    const char *bin_dir = cmd_program_dir(in->arena);
    if (!bin_dir) {
        cmd_error("cannot find the folder of this program in /proc");
        return EXIT_FAILED;
    }
    const char *address = view.outbound ? view.outbound : view.app ? view.app : "unix:/none";
    up_out out;
    up_options options = {.state_dir = ".",
                          .runtime_dir = ".",
                          .bin_dir = bin_dir,
                          .command = in->rest,
                          .command_grace_ns = opt.grace,
                          .run = true,
                          .variables = make_variables(in, &view),
                          .out = &out};
    up_plan *plan = make_plan(in, bin_dir, address);
    if (!plan || !options.variables) {
        cmd_error("out of memory");
        return EXIT_FAILED;
    }
    up_out_init(&out, STDERR_FILENO, opt.format == CMD_JSON, opt.quiet);
    code = up_run(plan, &options);
    up_out_free(&out);
    return code;
}

static const weft_flag flags[] = {
    {.name = "service",
     .letter = 's',
     .type = WEFT_FLAG_STRING,
     .to.string = &opt.service,
     .env = "WEFT_SERVICE",
     .value = "NAME",
     .help = "Which service the command is."},
    {.name = "namespace",
     .letter = 'n',
     .type = WEFT_FLAG_STRING,
     .to.string = &opt.name_space,
     .env = "WEFT_NAMESPACE",
     .value = "NAME",
     .initial = "default",
     .help = "Its namespace."},
    CMD_STRING("sidecar-config", 'c', &opt.config, "FILE",
               "Bootstrap file of the sidecar, as weft-sidecar -c takes it."),
    CMD_STRING(
        "outbound", 0, &opt.outbound, "ADDRESS",
        "What the command is told in WEFT_OUTBOUND. Default: the file's first listener that is "
        "not inbound."),
    CMD_STRING(
        "listen", 0, &opt.listen, "ADDRESS",
        "What the command is told in WEFT_LISTEN. Default: the endpoint that the file's first "
        "inbound listener leads to."),
    CMD_STRING("spans", 0, &opt.spans, "FILE",
               "Where the sidecar writes spans, a JSON object a line."),
    {.name = "grace",
     .type = WEFT_FLAG_DURATION,
     .to.duration = &opt.grace,
     .initial = "30s",
     .min = "1ms",
     .max = "24h",
     .help = "How long the command may go on after SIGTERM or SIGINT before it is killed."},
    CMD_OUTPUT(&opt.format,
               "The sidecar's logs, on standard error: for people, or one JSON object a line."),
    CMD_BOOL("quiet", 'q', &opt.quiet, "Only what fails."),
};

const struct cmd cmd_run = {
    .name = "run",
    .usage = "--service NAME --sidecar-config FILE -- COMMAND [ARGUMENT...]",
    .summary = "Run a program with its sidecar",
    .about =
        "Starts a sidecar, and once it is ready the command, which is told WEFT_SERVICE, "
        "WEFT_NAMESPACE, WEFT_OUTBOUND, where to dial, and WEFT_LISTEN, where to listen. When the "
        "command has ended the sidecar drains and ends; a sidecar that crashes is replaced without "
        "touching the command. Signals go to the command. Nothing is left running.",
    .more =
        "Examples:\n"
        "  weft run --service order -n shop -c order.yaml -- ./order --db order.db\n"
        "  weft run --service report -c report.yaml -- python3 report.py   a job: ends with it\n"
        "\n"
        "Exit codes: COMMAND's own, 128 + n when signal n killed it; 1 the sidecar did not become\n"
        "ready; 2 wrong flags or file; 126, 127 COMMAND could not be run.\n",
    .flags = flags,
    .flag_count = WEFT_COUNT(flags),
    .run = run,
};
