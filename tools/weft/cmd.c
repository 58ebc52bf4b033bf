#include "tools/weft/cmd.h"

#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "weft/buf.h"
#include "weft/diag.h"

const char *const cmd_formats[] = {[CMD_TEXT] = "text", [CMD_JSON] = "json", NULL};

/* In the order of the list that `weft help` prints. */
static const struct cmd *const commands[] = {
    &cmd_gen,  &cmd_up,        &cmd_run,        &cmd_call,    &cmd_trace,
    &cmd_logs, &cmd_dev_certs, &cmd_completion, &cmd_version, &cmd_help};
#define COMMANDS (sizeof commands / sizeof *commands)

const struct cmd *cmd_at(size_t index) { return index < COMMANDS ? commands[index] : NULL; }

const struct cmd *cmd_find(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

const char *cmd_suggest(const char *name) {
    const char *names[COMMANDS];
    for (size_t i = 0; i < COMMANDS; i++) names[i] = commands[i]->name;
    return weft_suggest(name, names, COMMANDS);
}

/* ---- help ------------------------------------------------------------------------------------------- */

static weft_flags flags_of(const struct cmd *cmd, char program[32]) {
    snprintf(program, 32, "weft %s", cmd->name);
    return (weft_flags){.program = program,
                        .usage = cmd->usage,
                        .about = cmd->about,
                        .table = cmd->flags,
                        .count = cmd->flag_count};
}

void cmd_print_help(const struct cmd *cmd, FILE *out) {
    if (cmd->raw) {
        char *argv[] = {(char *)(uintptr_t)cmd->name, (char[]){"--help"}, NULL};
        cmd->raw(2, argv);
        return;
    }
    char program[32];
    weft_flags flags = flags_of(cmd, program);
    weft_buf text;
    weft_buf_init(&text, 0);
    if (weft_flags_help(&flags, &text) == 0) fputs(weft_buf_str(&text), out);
    weft_buf_free(&text);
    if (cmd->more) fprintf(out, "\n%s", cmd->more);
}

void cmd_print_overview(FILE *out) {
    fputs(
        "weft: gRPC for C and the mesh that carries it\n\nUsage: weft COMMAND [ARGUMENT...]\n\nCommands:\n",
        out);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
    fputs(
        "\nExamples:\n"
        "  weft gen --out build/gen -I proto proto/shop/product/v1/product.proto\n"
        "  weft up deploy/demo/shop.yaml\n"
        "  weft call unix:/run/shop/product.sock ProductService/GetProduct '{\"productId\": \"gel-pen-0-5-mm-3-pcs\"}'\n"
        "\nweft help COMMAND or weft COMMAND --help tells more of one.\n",
        out);
}

/* ---- errors ----------------------------------------------------------------------------------------- */

int cmd_usage_error(const struct cmd *cmd, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "weft %s: ", cmd->name);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n(weft %s --help shows how it is used)\n", cmd->name);
    return EXIT_USAGE;
}

void cmd_error(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("error: ", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

const char *cmd_program_dir(weft_arena *arena) {
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    if (len <= 0) return NULL;
    path[len] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash) return NULL;
    *slash = '\0';
    return weft_arena_strdup(arena, path);
}

/* ---- running ---------------------------------------------------------------------------------------- */

static int parse_and_run(const struct cmd *cmd, int argc, char **argv, weft_arena *arena) {
    int own = 1;
    while (own < argc && strcmp(argv[own], "--") != 0) own++;
    char program[32];
    weft_flags flags = flags_of(cmd, program);
    weft_diags problems;
    weft_diags_init(&problems, arena, 0);
    int rc = weft_flags_load(&flags, arena, own, (const char *const *)argv, &problems);
    if (rc == WEFT_ENOMEM) {
        cmd_error("out of memory");
        return EXIT_FAILED;
    }
    if (rc == 0 && flags.help) {
        cmd_print_help(cmd, stdout);
        return EXIT_OK;
    }
    if (rc < 0) {
        for (const weft_diag *at = problems.first; at; at = at->next) {
            weft_buf line;
            weft_buf_init(&line, 0);
            weft_diag_format(at, &line);
            fprintf(stderr, "%s: %s\n", program, weft_buf_str(&line));
            weft_buf_free(&line);
        }
        fprintf(stderr, "(%s --help lists the flags)\n", program);
        return EXIT_USAGE;
    }
    cmd_args in = {.cmd = cmd, .arena = arena, .args = flags.args, .count = flags.args_count};
    if (own < argc) in.rest = (const char *const *)argv + own + 1;
    return cmd->run(&in);
}

int cmd_execute(const struct cmd *cmd, int argc, char **argv) {
    if (cmd->raw) return cmd->raw(argc, argv);
    weft_arena *arena = weft_arena_new(0);
    if (!arena) {
        cmd_error("out of memory");
        return EXIT_FAILED;
    }
    int code = parse_and_run(cmd, argc, argv, arena);
    weft_arena_free(arena);
    return code;
}

int cmd_main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!name) {
        cmd_print_overview(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) name = "version";
    const struct cmd *cmd = cmd_find(name);
    if (!cmd) {
        const char *near = cmd_suggest(name);
        fprintf(stderr, "weft: there is no command \"%s\"", name);
        if (near) fprintf(stderr, " (did you mean \"%s\"?)", near);
        fputs("\n(weft help lists the commands)\n", stderr);
        return EXIT_USAGE;
    }
    int code = cmd_execute(cmd, argc - 1, argv + 1);
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_OK) {
        cmd_error("cannot write the output");
        code = EXIT_FAILED;
    }
    return code;
}
