#include <stdio.h>
#include <unistd.h>

#include "tools/weft/cmd.h"

static const char *const formats[] = {"text", "json", NULL};
static int format;

static int run(const cmd_args *in) {
    if (in->count) return cmd_usage_error(in->cmd, "it takes no argument, got \"%s\"", in->args[0]);
    if (format == 1)
        printf("{\"version\":\"%s\",\"compiler\":\"%s\"}\n", WEFT_VERSION, __VERSION__);
    else
        printf("weft %s\n", WEFT_VERSION);
    return EXIT_OK;
}

static const weft_flag flags[] = {
    {.name = "output",
     .letter = 'o',
     .type = WEFT_FLAG_ENUM,
     .to.choice = &format,
     .choices = formats,
     .initial = "text",
     .help = "How to print."},
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
