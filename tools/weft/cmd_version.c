#include <stdio.h>
#include <unistd.h>

#include "tools/weft/cmd.h"

static int format;

static int run(const cmd_args *in) {
    if (in->count) return cmd_usage_error(in->cmd, "it takes no argument, got \"%s\"", in->args[0]);
    if (format == CMD_JSON)
        printf("{\"version\":\"%s\",\"compiler\":\"%s\"}\n", WEFT_VERSION, __VERSION__);
    else
        printf("weft %s\n", WEFT_VERSION);
    return EXIT_OK;
}

static const weft_flag flags[] = {
    CMD_OUTPUT(&format, "How to print."),
};

const struct cmd cmd_version = {
    .name = "version",
    .usage = "",
    .summary = "Print the version",
    .about = "Prints the version of weft.",
    .flags = flags,
    .flag_count = WEFT_COUNT(flags),
    .run = run,
};
