#include "tools/weft/cmd.h"

static int run(const cmd_args *in) {
    if (in->count == 0) {
        cmd_print_overview(stdout);
        return EXIT_OK;
    }
    const struct cmd *about = cmd_find(in->args[0]);
    if (!about) {
        const char *near = cmd_suggest(in->args[0]);
        return cmd_usage_error(in->cmd, "there is no command \"%s\"%s%s%s", in->args[0],
                               near ? " (did you mean \"" : "", near ? near : "",
                               near ? "\"?)" : "");
    }
    cmd_print_help(about, stdout);
    return EXIT_OK;
}

const struct cmd cmd_help = {
    .name = "help",
    .usage = "[COMMAND]",
    .summary = "List the commands, or tell about one",
    .about = "Lists the commands, or tells about one as COMMAND --help does.",
    .run = run,
};
